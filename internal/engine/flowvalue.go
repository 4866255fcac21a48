package engine

import (
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
	"sluice/limit"
)

// cachedFlows is how many of each kind are kept.
const cachedFlows = 512

// flowCache keeps what belongs to flows and never changes: parsed ones, versions by workspace and
// number, previews by the id of their job; locks of steps by version and id.
type flowCache[V any] struct {
	mu sync.Mutex
	m  map[string]*V
}

func (c *flowCache[V]) get(name string) *V {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[name]
}

func (c *flowCache[V]) put(name string, v *V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.m) >= cachedFlows || c.m == nil {
		c.m = map[string]*V{}
	}
	c.m[name] = v
}

// flowHash is how a job names the version of its flow.
func flowHash(n int64) string { return fmt.Sprintf("%016x", n) }

// flowOf returns the flow that a job is a run of, or a part of one. The error
// is [store.ErrNotFound] if it is gone.
func (e *Engine) flowOf(r store.Reader, j *sluice.Job) (*flow.Value, error) {
	for j.Hash == "" && j.Kind != sluice.KindFlowPreview { // a part of a preview
		outer, err := r.Job(j.ParentJob)
		if err != nil {
			return nil, err
		}
		j = outer
	}
	name := j.ID
	if j.Hash != "" {
		name = j.Workspace + "\n" + j.Hash
	}
	if v := e.flows.get(name); v != nil {
		return v, nil
	}
	raw := json.RawMessage(j.Content)
	if j.Hash != "" {
		n, err := strconv.ParseInt(j.Hash, 16, 64)
		if err != nil {
			return nil, store.ErrNotFound
		}
		row, err := r.FlowVersion(j.Workspace, n)
		if err != nil {
			return nil, err
		}
		raw = row.Value
	}
	v, err := flow.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("read the stored flow %s: %w", j.Path, err)
	}
	e.flows.put(name, v)
	return v, nil
}

// buildFlow makes the job of a saved flow.
func (e *Engine) buildFlow(tx store.Tx, j *sluice.Job, n *NewJob) (s limit.Settings, maxWait time.Duration, err error) {
	var row *store.Flow
	if n.FlowVersion != 0 {
		row, err = tx.FlowVersion(n.Workspace, n.FlowVersion)
		err = notFound(err, NoVersion, n.FlowVersion, n.Workspace)
	} else {
		row, err = tx.Flow(n.Workspace, n.FlowPath)
		err = notFound(err, "there is no flow %s in workspace %s", n.FlowPath, n.Workspace)
	}
	if err == nil && n.FlowPath != "" && row.Path != n.FlowPath {
		err = sluice.Errorf(sluice.CodeNotFound, "flow %s has no version %d", n.FlowPath, n.FlowVersion)
	}
	if err == nil && n.By != nil {
		err = n.By.allow(tx, n.Workspace, store.KindFlow, row.Path, store.RightRead)
		if n.FlowPath == "" {
			err = Unnamed(err, NoVersion, n.FlowVersion, n.Workspace)
		}
	}
	switch {
	case err != nil:
		return s, 0, err
	case row.Deleted:
		return s, 0, sluice.Errorf(sluice.CodeNotFound, "there is no flow %s in workspace %s", row.Path, n.Workspace)
	case row.Archived:
		return s, 0, sluice.Errorf(sluice.CodeNotFound, "the flow %s is archived; push it again to run it", row.Path)
	}
	var own flowSettings
	if len(row.Settings) > 0 {
		if err := json.Unmarshal(row.Settings, &own); err != nil {
			return s, 0, fmt.Errorf("read the settings of the stored flow %s: %w", row.Path, err)
		}
	}
	j.Kind, j.Path, j.Hash = sluice.KindFlow, row.Path, flowHash(row.N)
	if j.Tag == "" {
		j.Tag = own.Tag
	}
	if own.Priority != nil {
		j.Priority = *own.Priority
	}
	if j.Timeout == 0 {
		j.Timeout = seconds(own.Timeout)
	}
	if own.DeleteAfterSecs != nil {
		j.DeleteAfter = time.Duration(*own.DeleteAfterSecs) * time.Second
	}
	if isTrue(own.DeleteAfterUse) {
		j.DeleteAfter = 0
	}
	j.Labels, _ = readLabels(own.Labels)
	v, err := e.flowOf(tx, j)
	if err != nil {
		return s, 0, err
	}
	if maxWait = v.MaxWait; maxWait == 0 {
		maxWait = seconds(own.MaxWait)
	}
	return v.Limits, maxWait, asFlow(j, v, n)
}

// buildFlowPreview makes the job of a flow that is not saved.
func (e *Engine) buildFlowPreview(tx store.Tx, j *sluice.Job, n *NewJob) (s limit.Settings, maxWait time.Duration, err error) {
	if err := needWorkspace(tx, n.Workspace); err != nil {
		return s, 0, err
	}
	p := n.FlowPreview
	if p.Path != "" {
		if err := checkPath("path", p.Path); err != nil {
			return s, 0, err
		}
	}
	if len(p.Value) > maxContent {
		return s, 0, sluice.Invalid("value", "has %d bytes; at most %d are allowed", len(p.Value), maxContent)
	}
	v, err := flow.Parse(p.Value)
	if err != nil {
		return s, 0, flowError(err)
	}
	if n.By != nil {
		if err := n.By.callsOf(tx, n.Workspace, v); err != nil {
			return s, 0, err
		}
	}
	j.Kind, j.Path, j.Content = sluice.KindFlowPreview, p.Path, string(p.Value)
	if s = v.Limits; p.Path == "" && s.Key == nil {
		s = limit.Settings{} // a run without a path has no key of its own
	}
	return s, v.MaxWait, asFlow(j, v, n)
}

// asFlow gives a job what the value of its flow says of its runs.
func asFlow(j *sluice.Job, v *flow.Value, n *NewJob) error {
	if j.Tag == "" {
		j.Tag = sluice.TagFlow
	}
	if v.Priority != nil {
		j.Priority = *v.Priority
	}
	if v.OnLimit != "" {
		j.OnLimit = sluice.OnLimit(v.OnLimit)
	}
	if n.Event == nil || v.Preprocessor == nil {
		return nil
	}
	event, err := n.Event()
	if err != nil {
		return err
	}
	j.Phase, j.Args = sluice.PhasePreprocess, event
	return nil
}
