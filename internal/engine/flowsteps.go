package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
	"sluice/limit"
)

var zeroTime time.Time

// stepID draws the id of the n-th job that is pushed in a flow: a UUID of
// version 7, which what is done again draws again.
func stepID(root string, n int64, now time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", root, n))
	var id uuid.UUID
	copy(id[:], sum[:])
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// pushSteps pushes jobs of a flow. A job that cannot be pushed as it should be
// is pushed and has failed at once. Beyond the number of jobs that a run may
// have, all of it fails. The state notes the newest job of its step.
func (u *unit) pushSteps(r *flowRun, j *sluice.Job, children []flow.Child, state *flow.State) error {
	root, err := u.openRun(r.row.RootSeq)
	if err != nil {
		return err
	}
	rootJob := j
	if root != r {
		if rootJob, err = u.tx.JobBySeq(root.row.JobSeq); err != nil {
			return err
		}
	}
	if most := u.e.o.MaxFlowSteps; root.row.Steps+int64(len(children)) > most {
		why := fmt.Sprintf("A run of a flow may have at most %d steps, iterations counted; this one was ended because it had more.", most)
		if root != r {
			if err := u.breakFlow(r, j, "FlowTooLong", why); err != nil {
				return err
			}
		}
		if rootJob.State == sluice.StateRunning {
			if err := u.breakFlow(root, rootJob, "FlowTooLong", why); err != nil {
				return err
			}
		}
		return u.rest(root)
	}
	b := stepBuilder{u: u, run: r, j: j, root: rootJob}
	var scopes []*sluice.Job
	for i := range children {
		root.row.Steps++
		p, err := b.build(&children[i], stepID(rootJob.ID, root.row.Steps, u.now))
		if err != nil {
			return err
		}
		switch {
		case state.Error != nil && state.Failure != nil:
			state.Failure.Job = p.job.ID
		case state.Step < len(state.Modules):
			state.Modules[state.Step].Job = p.job.ID
		}
		if p.job.FlowScope != "" {
			scopes = append(scopes, p.job)
			continue
		}
		b.pushes = append(b.pushes, p)
	}
	if root != r {
		if err := u.saveRun(root); err != nil {
			return err
		}
	}
	if err := u.enqueueSteps(j, b.pushes); err != nil {
		return err
	}
	return u.startScopes(r, scopes)
}

// startScopes begins parts of a flow, which have no limit and no slot.
func (u *unit) startScopes(r *flowRun, jobs []*sluice.Job) error {
	if len(jobs) == 0 {
		return nil
	}
	for _, j := range jobs {
		j.CreatedAt, j.ScheduledFor, j.StartedAt, j.State = u.now, u.now, u.now, sluice.StateRunning
	}
	if err := u.tx.InsertJobs(jobs); err != nil {
		return err
	}
	for _, j := range jobs {
		row := &store.FlowRun{JobSeq: j.Seq, RootSeq: r.row.RootSeq, Depth: r.row.Depth + 1, State: json.RawMessage(`{}`)}
		part := &flowRun{row: row, fresh: true, events: []flow.Event{{Kind: flow.Started}}}
		u.keepRun(part)
		if row.Depth > u.e.o.MaxFlowDepth {
			if err := u.saveRun(part); err != nil {
				return err
			}
			part.events = nil
			if err := u.end(j, sluice.OutcomeFailure, u.tooDeep()); err != nil {
				return err
			}
			continue
		}
		u.stir(part)
	}
	return nil
}

func (u *unit) tooDeep() json.RawMessage {
	return errorResult("FlowTooDeep", fmt.Sprintf("Flows, loops and branches may be nested %d deep.", u.e.o.MaxFlowDepth), nil)
}

// enqueueSteps pushes jobs, those among them that have ended before they could
// wait: they failed, or a result was kept for them.
func (u *unit) enqueueSteps(j *sluice.Job, pushes []*push) error {
	if len(pushes) == 0 {
		return nil
	}
	chain := &chain{from: j}
	var able, failed []*push
	var keys []string
	for _, p := range pushes {
		if p.waits() && p.job.HasKey {
			keys = append(keys, p.job.Key)
		}
	}
	groups, err := u.openKeys(keys)
	if err != nil {
		return err
	}
	for _, p := range pushes {
		if p.waits() && p.job.HasKey {
			p.group, groups = groups[0], groups[1:]
			if p.failed, err = u.heldByChain(p.group, p.job, chain); err != nil {
				return err
			}
		}
		if p.waits() {
			if err := u.place(p); err != nil { // nothing was counted then
				p.failed = errorResult("TooManyWaiting", err.Error(), nil)
			}
		}
		if !p.waits() {
			p.job.CreatedAt, p.job.State, p.job.HasKey, p.job.Key, p.job.Limit = u.now, sluice.StateQueued, false, "", nil
			if p.job.ScheduledFor.IsZero() {
				p.job.ScheduledFor = u.now
			}
			failed = append(failed, p)
			continue
		}
		able = append(able, p)
	}
	jobs := make([]*sluice.Job, len(pushes))
	for i, p := range pushes {
		jobs[i] = p.job
	}
	if err := u.tx.InsertJobs(jobs); err != nil {
		return err
	}
	if err := u.line(able); err != nil {
		return err
	}
	for _, p := range failed {
		o, result := sluice.OutcomeFailure, p.failed
		if p.failed == nil {
			o, result = sluice.OutcomeSuccess, p.served
		}
		if err := u.end(p.job, o, result); err != nil {
			return err
		}
	}
	return nil
}

// waits reports whether a step is to run at all.
func (p *push) waits() bool { return p.failed == nil && p.served == nil }

// stepBuilder makes the jobs of a flow's steps.
type stepBuilder struct {
	u       *unit
	run     *flowRun
	j       *sluice.Job // of the flow, or of the part of it, that pushes
	root    *sluice.Job
	pushes  []*push
	scripts map[string]*compiled
}

// build makes the job of a step.
func (b *stepBuilder) build(c *flow.Child, id string) (*push, error) {
	j := &sluice.Job{
		ID: id, Workspace: b.j.Workspace, ParentJob: b.j.ID, RootJob: b.root.ID, Step: c.Step, StepN: c.N, Args: c.Args,
		CreatedBy: b.j.CreatedBy, Email: b.j.Email, Timeout: c.Timeout, Priority: b.j.Priority,
		MaxLostAttempts: defaultLostAttempts, OnLimit: sluice.OnLimitQueue, DeleteAfter: -1,
	}
	gone := b.j.DeleteAfter == 0 // what is deleted after its use leaves no steps behind
	if gone {
		j.DeleteAfter = 0
	}
	if len(j.Args) == 0 {
		j.Args = json.RawMessage("{}")
	}
	if c.Delay > 0 {
		j.ScheduledFor = b.u.now.Add(c.Delay)
	}
	p := &push{job: j, cap: -1}
	if c.Scope != nil {
		j.Kind, j.FlowScope, j.Path, j.Hash, j.Tag = sluice.KindFlow, *c.Scope, b.j.Path, b.j.Hash, sluice.TagFlow
		return p, nil
	}
	var err error
	m := c.Module
	if c.RetryOf != "" {
		if again, err := b.again(p, c.RetryOf); again || err != nil {
			return p, err
		}
	}
	switch m.Kind {
	case flow.KindRaw:
		err = b.rawScript(p, m)
	case flow.KindScript:
		err = b.script(p, m)
	case flow.KindFlow:
		err = b.flow(p, m)
	case flow.KindFor, flow.KindWhile, flow.KindBranchOne, flow.KindBranchAll, flow.KindIdentity:
		return nil, fmt.Errorf("a step of kind %q has no job", m.Kind)
	}
	var refused *sluice.Error
	if errors.As(err, &refused) && refused.Code != sluice.CodeInternal {
		name := "InvalidStep"
		if refused.Code == sluice.CodeNotFound {
			name = "NotFound"
		}
		p.failed, err = errorResult(name, fmt.Sprintf("The step %s cannot run: %s", c.Step, refused.Error()), nil), nil
	}
	if m.Priority != nil {
		j.Priority = *m.Priority
	}
	if m.DeleteAfterUse || gone {
		j.DeleteAfter = 0 // not before the outermost flow has ended
	}
	if j.Tag == "" {
		j.Tag = j.Language
	}
	if err == nil && p.failed == nil && c.CacheTTL > 0 {
		p.served, err = b.u.cached(j, m)
	}
	return p, err
}

// again makes the next attempt of a step: what it runs, its arguments, its limit
// and its key are those of the first. It reports false if that one never came
// as far as to have them; then the job has its arguments alone.
func (b *stepBuilder) again(p *push, first string) (bool, error) {
	old, err := b.u.tx.Job(first)
	if err != nil {
		return false, err
	}
	j := p.job
	j.Args, j.Timeout = old.Args, old.Timeout
	if old.Attempt == 0 && !old.HasKey {
		return false, nil
	}
	j.Kind, j.Path, j.Hash, j.Language, j.Tag = old.Kind, old.Path, old.Hash, old.Language, old.Tag
	j.Priority, j.Labels, j.OnLimit, j.MaxLostAttempts = old.Priority, old.Labels, old.OnLimit, old.MaxLostAttempts
	j.DeleteAfter, j.Key, j.HasKey, j.Limit = old.DeleteAfter, old.Key, old.HasKey, old.Limit
	if !old.ExpiresAt.IsZero() {
		p.maxWait = old.ExpiresAt.Sub(old.ScheduledFor)
	}
	return true, nil
}

// rawScript makes the job of an inline script. Its code stays in the flow.
func (b *stepBuilder) rawScript(p *push, m *flow.Module) error {
	j := p.job
	j.Kind, j.Language, j.Tag = sluice.KindFlowScript, m.Raw.Language, m.Tag
	if b.j.Path != "" {
		j.Path = b.j.Path + "/" + m.ID
	}
	if m.Raw.OnLimit != "" {
		j.OnLimit = sluice.OnLimit(m.Raw.OnLimit)
	}
	if m.Raw.MaxLost != nil {
		j.MaxLostAttempts = *m.Raw.MaxLost
	}
	p.maxWait = m.Raw.MaxWait
	if b.j.Path == "" && m.Raw.Limits.Key == nil {
		return nil // code without a path has no key of its own
	}
	return resolveKeyOr(j, m.Raw.Limits, limit.DefaultStepKey(j.Workspace, b.j.Path, m.ID))
}

// script makes the job of a step that calls a saved script, under that one's
// limit and key.
func (b *stepBuilder) script(p *push, m *flow.Module) error {
	j := p.job
	if b.scripts == nil {
		b.scripts = map[string]*compiled{}
	}
	priority, timeout := j.Priority, j.Timeout
	n := &NewJob{Workspace: j.Workspace, Path: m.Path, Hash: m.Hash}
	if n.Hash != "" {
		n.Path = ""
	}
	j.Tag = m.Tag
	c, err := b.u.e.buildScript(b.u.tx, j, n, b.scripts)
	if err != nil {
		j.Kind, j.Path = sluice.KindScript, m.Path
		return err
	}
	if c.body.Priority == nil {
		j.Priority = priority
	}
	if timeout != 0 {
		j.Timeout = timeout
	}
	p.maxWait = seconds(c.body.MaxWait)
	return resolveKey(j, c.limits)
}

// flow makes the job of a step that calls a saved flow.
func (b *stepBuilder) flow(p *push, m *flow.Module) error {
	j := p.job
	j.Kind, j.Path, j.Tag = sluice.KindFlow, m.Path, m.Tag
	if b.run.row.Depth+1 > b.u.e.o.MaxFlowDepth {
		p.failed = b.u.tooDeep()
		return nil
	}
	s, maxWait, err := b.u.e.buildFlow(b.u.tx, j, &NewJob{Workspace: j.Workspace, FlowPath: m.Path})
	if err != nil {
		return err
	}
	p.maxWait = maxWait
	return resolveKey(j, s)
}
