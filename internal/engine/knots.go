package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/flow/knot"
	"sluice/internal/store"
	"sluice/limit"
)

// Bounds of the search for flows that wait for each other.
const (
	// knotAfter is how long after a line was found without room it is asked
	// whether that will ever change.
	knotAfter = time.Second
	// knotShare bounds the time that is spent on it: a search is followed by
	// that many times its own length without one.
	knotShare    = 50
	knotFlows    = 10_000 // flows that hold a slot, and parts of them
	knotChildren = 1_000  // open steps of a flow; what is left out is taken to end
)

// mayKnot has the engine look, in a while, for flows that wait for each other.
func (e *Engine) mayKnot() {
	select {
	case e.knotKick <- struct{}{}:
	default: // it will look anyway
	}
}

// runKnots looks for flows that wait for each other's slots for ever, until ctx
// ends: a second after some line was left without room, and until none is found.
func (e *Engine) runKnots(ctx context.Context) {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	e.mayKnot()
	pause := knotAfter
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.knotKick:
		}
		t.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		began := e.o.Uptime()
		if err := e.CutKnots(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("look for flows that wait for each other", "error", err)
			e.mayKnot()
		}
		pause = max(knotAfter, knotShare*(e.o.Uptime()-began))
	}
}

// CutKnots ends flows that can never get on because each waits for slots that
// others of them hold, the youngest first, until there are none. Run calls it.
func (e *Engine) CutKnots(ctx context.Context) error {
	for {
		var found []knotted
		err := e.store.View(ctx, func(r store.Reader) (err error) {
			s := &knotSearch{r: r, groups: map[string]*store.Group{}, parts: map[int64]*knotted{}}
			found, err = s.find()
			return err
		})
		if err != nil || len(found) == 0 {
			return err
		}
		victim := found[len(found)-1]
		for i := len(found) - 1; i >= 0 && len(victim.Holds) == 0; i-- {
			victim = found[i] // to end one that holds nothing would free nothing
		}
		cut, err := e.cutKnot(ctx, victim, found)
		if err != nil || !cut {
			return err
		}
	}
}

// cutKnot ends one of the flows of a knot, if it still runs.
func (e *Engine) cutKnot(ctx context.Context, victim knotted, all []knotted) (bool, error) {
	cut := false
	err := e.store.Update(ctx, func(tx store.Tx) error {
		cut = false
		u := e.unit(tx)
		u.now = tx.Now()
		r, err := u.openRun(victim.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		j, err := tx.JobBySeq(victim.ID)
		if err != nil || j.State != sluice.StateRunning || j.CanceledBy != "" {
			return err
		}
		if ending, err := endsAnyway(tx, j); err != nil || ending {
			return err
		}
		cut = true
		if err := u.cutFlow(r, j, deadlockResult(all)); err != nil {
			return err
		}
		return u.settle()
	})
	if err == nil && cut {
		e.log.Warn("a flow was ended that could never get on: flows wait for each other's slots", "job", victim.job.ID, "flow", nameOfFlow(victim.job), "flows", len(all))
	}
	return cut, err
}

// deadlockResult says in words which flows wait for each other, and for what.
func deadlockResult(all []knotted) json.RawMessage {
	var said []string
	var holders []map[string]any
	for _, f := range all {
		waits := f.waitsFor()
		holders = append(holders, map[string]any{"job_id": f.job.ID, "path": f.job.Path, "holds": nonNil(f.Holds), "waits_for": nonNil(waits)})
		switch {
		case len(f.Holds) > 0 && len(waits) > 0:
			said = append(said, fmt.Sprintf("%s (job %s) holds %s and needs %s", nameOfFlow(f.job), f.job.ID, quoted(f.Holds), quoted(waits)))
		case len(f.Holds) > 0:
			said = append(said, fmt.Sprintf("%s (job %s) holds %s and waits for a part of it", nameOfFlow(f.job), f.job.ID, quoted(f.Holds)))
		}
	}
	return errorResult("ConcurrencyDeadlock", fmt.Sprintf(
		"Flows waited for each other's slots, and none could ever get on, so this one, the youngest, was ended: %s. Have all flows take keys in the same order, or raise a limit.",
		strings.Join(said, "; ")), map[string]any{"holders": holders})
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func quoted(keys []string) string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = fmt.Sprintf("%q", k)
	}
	return strings.Join(out, ", ")
}

// knotted is a flow that runs, as the search sees it.
type knotted struct {
	knot.Flow
	job *sluice.Job
}

// waitsFor lists the keys for which steps of the flow wait.
func (k *knotted) waitsFor() []string {
	var keys []string
	for _, c := range k.Awaits {
		if c.Flow == 0 && !slices.Contains(keys, c.Key) {
			keys = append(keys, c.Key)
		}
	}
	return keys
}

// knotSearch reads what a search needs from one snapshot.
type knotSearch struct {
	r      store.Reader
	groups map[string]*store.Group
	parts  map[int64]*knotted // flows read so far, by the number of the job; nil: it ends anyway
}

// find returns flows that wait for each other for ever, oldest first.
func (s *knotSearch) find() ([]knotted, error) {
	held, err := s.r.HeldByFlows(knotFlows)
	if err != nil {
		return nil, err
	}
	for _, x := range held {
		j, err := s.r.JobBySeq(x.JobSeq)
		if err != nil {
			return nil, err
		}
		g, err := s.group(j.Key)
		if err != nil {
			return nil, err
		}
		if g.Waiting == 0 {
			continue // nobody waits for what it holds
		}
		if err := s.add(j, []string{j.Key}); err != nil {
			return nil, err
		}
	}
	var flows []knot.Flow
	for _, f := range s.parts {
		if f != nil {
			flows = append(flows, f.Flow)
		}
	}
	var out []knotted
	for _, f := range knot.Tied(knot.Find(flows)) {
		out = append(out, *s.parts[f.ID])
	}
	return out, nil
}

// add reads a flow, and the parts of it and flows in it that run.
func (s *knotSearch) add(j *sluice.Job, holds []string) error {
	if f, known := s.parts[j.Seq]; known {
		if f != nil {
			f.Holds = holds // it was found as a step of another
		}
		return nil
	}
	s.parts[j.Seq] = nil
	if len(s.parts) > knotFlows {
		return nil
	}
	if ends, err := s.willEnd(j); err != nil || ends {
		return err
	}
	f := &knotted{job: j, Flow: knot.Flow{ID: j.Seq, Age: j.StartedAt.UnixMicro(), Holds: holds}}
	s.parts[j.Seq] = f
	steps, err := s.r.Jobs(store.JobFilter{ParentJob: j.ID, Steps: true, States: []sluice.State{sluice.StateQueued, sluice.StateRunning}, Limit: knotChildren})
	if err != nil {
		return err
	}
	for _, step := range steps {
		switch {
		case step.State == sluice.StateRunning && step.Kind.IsFlow() && step.Phase != sluice.PhasePreprocess:
			if err := s.add(step, nil); err != nil {
				return err
			}
			f.Awaits = append(f.Awaits, knot.Child{Flow: step.Seq})
		case step.State == sluice.StateQueued:
			if err := s.awaits(f, step); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaits adds a step that stands in line to what its flow waits for, unless
// something else than the end of a holder brings it on.
func (s *knotSearch) awaits(f *knotted, step *sluice.Job) error {
	if !step.HasKey || step.Limit == nil || step.Phase == sluice.PhasePreprocess || !step.ExpiresAt.IsZero() {
		return nil
	}
	g, err := s.group(step.Key)
	if err != nil {
		return err
	}
	if g.Pause.At(s.r.Now()) {
		return nil
	}
	in, _ := g.Override.Apply(*step.Limit)
	l, err := s.r.LineFor(g.ID, "", "", step.LineTag())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil && l.Head.Seq != 0 {
		if first, _ := g.Override.Apply(l.HeadLimit); first.Mode != limit.Start {
			in.N = min(in.N, first.N)
		}
	}
	f.Awaits = append(f.Awaits, knot.Child{Key: step.Key, Limit: in})
	return nil
}

// willEnd reports whether a flow, or one around it, ends by itself or is being
// ended.
func (s *knotSearch) willEnd(j *sluice.Job) (bool, error) {
	for {
		if ends, err := endsAnyway(s.r, j); err != nil || ends || j.Step == "" {
			return ends, err
		}
		outer, err := s.r.Job(j.ParentJob)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		j = outer
	}
}

// endsAnyway reports whether a flow ends whatever its steps do: it may run for
// a bounded time only, or is cancelled, or was cut.
func endsAnyway(r store.Reader, j *sluice.Job) (bool, error) {
	if j.State != sluice.StateRunning || j.CanceledBy != "" || !timeIsUp(j).IsZero() {
		return true, nil
	}
	row, err := r.FlowRun(j.Seq)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	if strings.Contains(string(row.Events), string(flow.Cut)) {
		return true, nil // at worst a name that looks like it: it is looked at again
	}
	var state flow.State
	if err := json.Unmarshal(row.State, &state); err != nil {
		return false, fmt.Errorf("read where the flow %s stands: %w", j.ID, err)
	}
	return state.Cut || state.Ended, nil
}

func (s *knotSearch) group(key string) (*store.Group, error) {
	if g := s.groups[key]; g != nil {
		return g, nil
	}
	g, err := s.r.Group(key)
	if err == nil {
		s.groups[key] = g
	}
	return g, err
}
