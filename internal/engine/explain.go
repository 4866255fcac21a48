package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// Bounds of an explanation.
const (
	slotsShown    = 100
	positionExact = 10_000
	// livingPings is how many stop-after periods a worker may be silent and
	// still count as alive.
	livingPings = 1
)

// Wait says why a job does not run; nil if it does not wait.
func (e *Engine) Wait(ctx context.Context, workspace, id string) (*sluice.Wait, error) {
	return view(ctx, e, func(r store.Reader) (*sluice.Wait, error) {
		j, err := jobIn(r, workspace, id)
		if err != nil {
			return nil, err
		}
		return e.explain(r, j)
	})
}

// explain is the one answer to "why does it wait".
func (e *Engine) explain(r store.Reader, j *sluice.Job) (*sluice.Wait, error) {
	now := r.Now()
	w := &sluice.Wait{Tag: j.Tag, ScheduledAt: j.ScheduledFor}
	if j.State == sluice.StateRunning && j.Phase == sluice.PhasePreprocess { // it runs, but not what it is for
		w.Reason = sluice.ReasonPreprocessing
		w.Message = inWords(w, now, j.Kind.IsFlow())
		return w, nil
	}
	if !j.Waiting() {
		return nil, nil
	}
	var reasons []sluice.Reason
	if j.ScheduledFor.After(now) {
		reasons = append(reasons, sluice.ReasonScheduled)
		at := j.ScheduledFor
		w.NotBefore, w.Estimate, w.EstimateBasis = &at, &at, "its due time"
	}
	if j.Phase == sluice.PhasePreprocess {
		reasons = append(reasons, sluice.ReasonPreprocessing)
	}
	var g *store.Group
	if j.HasKey && j.Limit != nil {
		var err error
		if g, err = r.Group(j.Key); err != nil {
			return nil, fmt.Errorf("read the group of a waiting job: %w", err)
		}
		more, err := e.explainGroup(r, j, g, now, w)
		if err != nil {
			return nil, err
		}
		reasons = append(reasons, more...)
	}
	served, free := true, true // a flow needs no worker
	if !j.Kind.IsFlow() {
		var err error
		if served, free, err = e.served(r, j.Tag, now); err != nil {
			return nil, err
		}
	}
	blocked := false
	if g != nil && j.State == sluice.StateQueued && free && len(reasons) == 0 {
		var err error
		if blocked, err = e.blocked(r, j, g); err != nil {
			return nil, err
		}
	}
	switch {
	case !served:
		reasons = append(reasons, sluice.ReasonNoWorker)
	case blocked:
		reasons = append(reasons, sluice.ReasonBehind)
	case !free || len(reasons) == 0:
		reasons = append(reasons, sluice.ReasonWorkersBusy)
	}
	w.Reason, w.Also = reasons[0], reasons[1:]
	w.Message = inWords(w, now, j.Kind.IsFlow())
	return w, nil
}

// explainGroup fills in what the job's group says.
func (e *Engine) explainGroup(r store.Reader, j *sluice.Job, g *store.Group, now time.Time, w *sluice.Wait) ([]sluice.Reason, error) {
	var reasons []sluice.Reason
	in, source := g.Override.Apply(*j.Limit)
	key := j.Key
	w.Key = &key
	w.Limit = &sluice.WaitLimit{
		ConcurrentLimit: in.N, ConcurrencyTimeWindowS: int(in.Window / time.Second), ConcurrencyWindowFrom: in.Mode, Source: source,
	}
	if g.Pause.At(now) {
		reasons = append(reasons, sluice.ReasonPaused)
		w.PausedBy, w.PausedWhy = g.Pause.By, g.Pause.Why
		if !g.Pause.Until.IsZero() {
			until := g.Pause.Until
			w.PausedUntil = &until
		}
	}
	free, err := e.slots(r, g, in, now, w)
	if err != nil {
		return nil, err
	}
	calm := *g
	calm.Pause = limit.Pause{}
	p := calm.Probe(in, 0)
	at, err := instant(r, &calm, p)
	if err != nil {
		return nil, err
	}
	room := limit.Decide(now, &calm.Group, in, p, at).Now
	if !room {
		reasons = append(reasons, sluice.ReasonLimit)
	}
	first, err := e.position(r, j, g, w)
	if err != nil {
		return nil, err
	}
	if !first {
		reasons = append(reasons, sluice.ReasonBehind)
	}
	return reasons, e.forecast(r, j, g, in, free, now, w)
}

// slots lists what is held and what still counts, those that free first, and
// returns when each slot frees, as far as can be guessed, at most N of them.
func (e *Engine) slots(r store.Reader, g *store.Group, in limit.Limit, now time.Time, w *sluice.Wait) ([]time.Time, error) {
	var free []time.Time
	history, err := r.Recent(g.ID, now.Add(-in.Window), slotsShown)
	if err != nil {
		return nil, err
	}
	held, err := r.HeldExecutions(g.ID, slotsShown)
	if err != nil {
		return nil, err
	}
	for _, x := range slices.Concat(history, held) {
		s := sluice.WaitSlot{JobID: x.JobID, Since: x.StartedAt}
		var frees time.Time
		switch {
		case in.Mode == limit.Start && !x.ConfirmedAt.IsZero():
			frees = x.ConfirmedAt.Add(in.Window)
		case !x.ReleasedAt.IsZero():
			frees = x.ReleasedAt.Add(in.Window)
		}
		if !x.ReleasedAt.IsZero() {
			released := x.ReleasedAt
			s.ReleasedAt = &released
			if x.EndNo <= g.PrunedReleases || x.End == sluice.EndStruck {
				continue
			}
		}
		switch {
		case !frees.IsZero() && !frees.After(now):
			continue // it counts no longer
		case !frees.IsZero():
			s.FreesAt = &frees
			free = append(free, frees)
		default:
			guess := max(x.StartedAt.Add(g.Typical).Sub(now), 0)
			if in.Mode == limit.Start {
				guess = 0
			}
			free = append(free, now.Add(guess+in.Window))
		}
		w.Slots = append(w.Slots, s)
	}
	slices.SortStableFunc(w.Slots, func(a, b sluice.WaitSlot) int {
		switch {
		case a.FreesAt == nil || b.FreesAt == nil:
			if a.FreesAt == b.FreesAt {
				return a.Since.Compare(b.Since)
			}
			if a.FreesAt != nil {
				return -1
			}
			return 1
		}
		return a.FreesAt.Compare(*b.FreesAt)
	})
	counted, err := countInWindow(r, g, in, now)
	if err != nil {
		return nil, err
	}
	w.SlotsTotal = g.Held() + counted
	if in.Mode == limit.Start {
		w.SlotsTotal = g.Unlaunched() + counted
	}
	w.Slots = w.Slots[:min(len(w.Slots), slotsShown)]
	return free, nil
}

// position says where a job stands among the jobs of its line, and whether
// nobody is before it.
func (e *Engine) position(r store.Reader, j *sluice.Job, g *store.Group, w *sluice.Wait) (bool, error) {
	if j.State != sluice.StateQueued {
		return true, nil
	}
	l, err := r.LineFor(g.ID, "", "", j.LineTag())
	if err != nil {
		return false, fmt.Errorf("find the line of a waiting job: %w", err)
	}
	n, err := r.Ahead(l.ID, j.Rank(), positionExact)
	if err != nil {
		return false, err
	}
	w.Position = &sluice.Position{N: n + 1, Exact: n < positionExact}
	return n == 0, nil
}

// blocked reports whether a line of another tag of the group comes before the
// job's and has no room: places that serve both tags wait for that one.
func (e *Engine) blocked(r store.Reader, j *sluice.Job, g *store.Group) (bool, error) {
	l, err := r.LineFor(g.ID, "", "", j.LineTag())
	if err != nil {
		return false, fmt.Errorf("find the line of a waiting job: %w", err)
	}
	return l.BlockedBy != "", nil
}

// forecast adds the proof and the guess.
func (e *Engine) forecast(r store.Reader, j *sluice.Job, g *store.Group, in limit.Limit, free []time.Time, now time.Time, w *sluice.Wait) error {
	p := g.ProofProbe(in)
	at, err := instant(r, g, p)
	if err != nil {
		return err
	}
	if t := limit.NotBefore(now, in, j.ScheduledFor, p, at); !t.IsZero() {
		w.NotBefore = &t
	}
	if w.Position == nil || g.Pause.At(now) && g.Pause.Until.IsZero() {
		return nil
	}
	if int64(len(free)) < min(int64(in.N), w.SlotsTotal) {
		return nil // more slots than are listed: no guess is better than a wrong one
	}
	t := limit.Estimate(now, in, free, w.Position.N, g.Typical)
	if g.Pause.At(now) && t.Before(g.Pause.Until) {
		t = g.Pause.Until
	}
	w.Estimate = &t
	w.EstimateBasis = estimateBasis(g.Typical, w.Position.N-1)
	return nil
}

// estimateBasis says what an estimate rests on.
func estimateBasis(typical time.Duration, ahead int64) string {
	if typical == 0 {
		return fmt.Sprintf("no execution of this key has ended yet, so it is taken to last no time, and %d are ahead", ahead)
	}
	return fmt.Sprintf("executions of this key last %s, and %d are ahead", spoken(typical), ahead)
}

// served reports whether a living worker serves a tag, and whether one that
// does has a free place.
func (e *Engine) served(r store.Reader, tag string, now time.Time) (served, free bool, err error) {
	workers, err := r.Workers(now.Add(-livingPings * e.o.StopAfter))
	if err != nil {
		return false, false, err
	}
	for _, w := range workers {
		if w.Gone || !slices.Contains(w.Tags, tag) {
			continue
		}
		served = true
		if w.Running < w.Places {
			return true, true, nil
		}
	}
	return served, false, nil
}

// spoken says how long something lasts.
func spoken(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// inWords says a wait in one sentence. A flow needs no worker.
func inWords(w *sluice.Wait, now time.Time, needsNone bool) string {
	in := func(t *time.Time) string {
		if t == nil {
			return "when a slot frees"
		}
		return "in " + spoken(max(t.Sub(now), 0))
	}
	switch w.Reason {
	case sluice.ReasonScheduled:
		return "It is scheduled for later: it is due " + in(&w.ScheduledAt) + "."
	case sluice.ReasonPreprocessing:
		return "Its arguments are being prepared."
	case sluice.ReasonPaused:
		m := fmt.Sprintf("The key %q is paused", *w.Key)
		if w.PausedBy != "" {
			m += " by " + w.PausedBy
		}
		if w.PausedUntil != nil {
			m += ", and resumes " + in(w.PausedUntil)
		}
		return m + "."
	case sluice.ReasonLimit:
		l := limit.Limit{N: w.Limit.ConcurrentLimit, Window: time.Duration(w.Limit.ConcurrencyTimeWindowS) * time.Second, Mode: w.Limit.ConcurrencyWindowFrom}
		return fmt.Sprintf("The key %q allows %s, and all of it is in use. It starts %s at the earliest.", *w.Key, l, in(w.NotBefore))
	case sluice.ReasonBehind:
		return fmt.Sprintf("There is room under the key %q, but other jobs are ahead of it.", *w.Key)
	case sluice.ReasonNoWorker:
		return fmt.Sprintf("No living worker serves the tag %q. Start one that does, or give the job another tag.", w.Tag)
	case sluice.ReasonWorkersBusy:
		if needsNone {
			return "It needs no worker, and starts as soon as the server comes to it."
		}
		return fmt.Sprintf("Every place that serves the tag %q is taken.", w.Tag)
	}
	return ""
}
