package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice"
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
	knotTold     = 20     // flows that the error of the one that ends names
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
		moving := false
		err := e.store.View(ctx, func(r store.Reader) (err error) {
			s := &knotSearch{r: r, groups: map[string]*store.Group{}, parts: map[int64]*knotted{}}
			found, err = s.find()
			moving = s.moving
			return err
		})
		if moving {
			e.mayKnot()
		}
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
		state, err := readState(r.row, j)
		if err != nil || state.Cut || len(r.row.Events) > 0 { // it gets on; it is looked at again
			return err
		}
		cut = true
		if err := u.cutFlow(r, j, deadlockResult(victim, all)); err != nil {
			return err
		}
		return u.settle()
	})
	if err == nil && cut {
		e.log.Warn("a flow was ended that could never get on: flows wait for each other's slots", "job", victim.job.ID, "flow", nameOfFlow(victim.job), "flows", len(all))
	}
	return cut, err
}

// deadlockResult says in words which flows wait for each other, and for what:
// the one that ends, and the oldest of the others.
func deadlockResult(victim knotted, all []knotted) json.RawMessage {
	var said []string
	var holders []map[string]any
	tell := func(f knotted) {
		waits := f.waitsFor()
		holders = append(holders, map[string]any{"job_id": f.job.ID, "path": f.job.Path, "holds": append([]string{}, f.Holds...), "waits_for": waits})
		switch {
		case len(f.Holds) > 0 && len(waits) > 0:
			said = append(said, fmt.Sprintf("%s (job %s) holds %s and needs %s", nameOfFlow(f.job), f.job.ID, quoted(f.Holds), quoted(waits)))
		case len(f.Holds) > 0:
			said = append(said, fmt.Sprintf("%s (job %s) holds %s and waits for a part of it", nameOfFlow(f.job), f.job.ID, quoted(f.Holds)))
		}
	}
	tell(victim)
	for _, f := range all {
		if f.ID != victim.ID && len(holders) < knotTold {
			tell(f)
		}
	}
	if more := len(all) - len(holders); more > 0 {
		said = append(said, fmt.Sprintf("and %d more", more))
	}
	return errorResult("ConcurrencyDeadlock", fmt.Sprintf(
		"Flows waited for each other's slots, and none could ever get on, so this one, the youngest, was ended: %s. Have all flows take keys in the same order, or raise a limit.",
		strings.Join(said, "; ")), map[string]any{"holders": holders})
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
	keys := []string{}
	for _, c := range k.Awaits {
		if c.Flow == 0 {
			keys = append(keys, c.Key)
		}
	}
	return keys
}

// knotSearch reads what a search needs from one snapshot.
type knotSearch struct {
	r      store.Reader
	groups map[string]*store.Group
	parts  map[int64]*knotted // flows read so far, by the number of the job; nil: it ends, or gets on
	moving bool               // something has happened to one of them that was not dealt with yet
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
	if on, err := s.getsOn(j); err != nil || on {
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
	if in.Mode == limit.Start { // it waits for no end
		return nil
	}
	l, err := s.r.LineFor(g.ID, "", "", step.LineTag())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil && l.Head.Seq != 0 {
		if first, _ := g.Override.Apply(l.HeadLimit); first.Mode != limit.Start {
			in.N = min(in.N, first.N)
		}
	}
	for i := range f.Awaits { // of many that wait for one key the strictest counts
		if c := &f.Awaits[i]; c.Flow == 0 && c.Key == step.Key {
			c.Limit.N = min(c.Limit.N, in.N)
			return nil
		}
	}
	f.Awaits = append(f.Awaits, knot.Child{Key: step.Key, Limit: in})
	return nil
}

// getsOn reports whether a flow, or one around it, ends or gets on whatever its
// steps do: it may run for a bounded time only, is cancelled, was cut, or has
// yet to deal with something that happened.
func (s *knotSearch) getsOn(j *sluice.Job) (bool, error) {
	for {
		if j.State != sluice.StateRunning || j.CanceledBy != "" || !timeIsUp(j).IsZero() {
			return true, nil
		}
		row, err := s.r.FlowRun(j.Seq)
		if errors.Is(err, store.ErrNotFound) {
			return true, nil
		} else if err != nil {
			return false, err
		}
		if len(row.Events) > 0 {
			s.moving = true
			return true, nil
		}
		state, err := readState(row, j)
		if err != nil || state.Cut || j.Step == "" {
			return err == nil && state.Cut, err
		}
		if j, err = s.r.Job(j.ParentJob); errors.Is(err, store.ErrNotFound) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
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
