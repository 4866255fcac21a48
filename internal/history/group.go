package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Group is what was written down of one concurrency group.
type Group struct {
	Key    string
	Rows   []Row   // all executions, struck out ones too
	Events []Event // the log
	Jobs   []Job   // those that still exist, waiting ones too

	// Counters of the group, if the caller knows them.
	Counters *Counters
	// Executions, launches and releases up to these numbers were deleted.
	TrimmedOrder, TrimmedLaunches, TrimmedReleases int64

	ordered int64 // starts judged against the jobs ahead
}

// Counters are the newest numbers that the group drew.
type Counters struct {
	Taken, Struck, Launched, Released int64
}

// CheckGroup judges the executions of one group, none of which was deleted, by
// its log. See [Group.Check] for all that can be judged.
func CheckGroup(rows []Row, events []Event) []Violation {
	g := Group{Rows: rows, Events: events}
	return g.Check()
}

// Check judges the group. It sorts the slices that it was given. Its cost is
// n log n in the rows.
func (g *Group) Check() []Violation {
	f := newFindings(g.Key)
	byOrder := func(a, b Row) int { return cmp.Compare(a.OrderNo, b.OrderNo) }
	if !slices.IsSortedFunc(g.Rows, byOrder) { // it mostly is, and rows are large
		slices.SortStableFunc(g.Rows, byOrder)
	}
	slices.SortStableFunc(g.Events, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	g.checkNumbers(f)
	g.checkRows(f)
	g.checkLog(f)
	g.checkRule(f)
	g.checkLimits(f)
	g.checkPauses(f)
	g.checkOrder(f)
	return f.all()
}

// checkRule counts, for every start, the other executions as they stood then.
func (g *Group) checkRule(f *findings) {
	releases, launches := make([]time.Time, 0, len(g.Rows)), make([]time.Time, 0, len(g.Rows))
	for i := range g.Rows {
		releases = append(releases, g.Rows[i].Released)
		launches = append(launches, g.Rows[i].launched())
	}
	released, launched := newTally(releases), newTally(launches)
	prunes := g.events(eventPrune)
	counted := make([]int, 0, len(g.Rows)) // rows that count, by index
	for i := range g.Rows {
		r := &g.Rows[i]
		for len(prunes) > 0 && prunes[0].AfterOrder < r.OrderNo {
			counted = g.forget(f, &prunes[0], counted, released, launched)
			prunes = prunes[1:]
		}
		n := released.after(r.Started.Add(-r.Limit.Window))
		if r.Limit.Mode == modeStart {
			n = launched.after(r.Started.Add(-r.Limit.Window))
		}
		if n >= r.Limit.N {
			g.tellOver(f, r, counted, n)
		}
		if !r.struck() {
			released.add(r.Released, 1)
			launched.add(r.launched(), 1)
			counted = append(counted, i)
		}
	}
}

// forget takes out of the count what a prune made stop counting, and returns
// the rows that still count: those that held a slot when it happened.
func (g *Group) forget(f *findings, prune *Event, counted []int, released, launched *tally) []int {
	var held []int
	for _, i := range counted {
		r := &g.Rows[i]
		if r.Released.IsZero() || r.Released.After(prune.At) {
			held = append(held, i)
			f.add(KindPruned, []fmt.Stringer{r}, "pruned at %s while a slot was held", stamp(prune.At))
			continue
		}
		released.add(r.Released, -1)
		launched.add(r.launched(), -1)
	}
	return held
}

// tellOver tells of a start that found n others, and which.
func (g *Group) tellOver(f *findings, r *Row, counted []int, n int) {
	if !f.room(KindOver) {
		f.add(KindOver, nil, "")
		return
	}
	evidence := []fmt.Stringer{r}
	left := r.Started.Add(-r.Limit.Window)
	for _, i := range slices.Backward(counted) {
		instant := g.Rows[i].Released
		if r.Limit.Mode == modeStart {
			instant = g.Rows[i].launched()
		}
		if instant.IsZero() || instant.After(left) {
			evidence = append(evidence, &g.Rows[i])
		}
		if len(evidence) > n || len(evidence) > mostEvidence {
			break
		}
	}
	f.add(KindOver, evidence, "execution #%d started at %s under %v while %d others counted", r.OrderNo, stamp(r.Started), r.Limit, n)
}

// checkLimits judges what the rows say was in force by the log of overrides
// and by what the jobs were pushed with.
func (g *Group) checkLimits(f *findings) {
	jobs := map[int64]*Job{}
	for i := range g.Jobs {
		jobs[g.Jobs[i].Seq] = &g.Jobs[i]
	}
	changes := g.events(eventOverride, eventClear)
	var override Override
	for i := range g.Rows {
		r := &g.Rows[i]
		for len(changes) > 0 && changes[0].AfterOrder < r.OrderNo {
			override = changes[0].Override
			if changes[0].Kind == eventClear {
				override = Override{}
			}
			changes = changes[1:]
		}
		if r.Limit.N < 1 || r.Limit.Window < 0 || r.Limit.mode() != modeEnd && (r.Limit.Mode != modeStart || r.Limit.Window == 0) {
			f.add(KindLimit, []fmt.Stringer{r}, "execution #%d was taken under a limit that is none", r.OrderNo)
		}
		source := fromJob
		if !override.empty() {
			source = fromOverride
		}
		if r.Source != source {
			f.add(KindLimit, []fmt.Stringer{r}, "execution #%d was taken under the limit of the %s; in force was that of the %s", r.OrderNo, r.Source, source)
			continue
		}
		pushed := r.Limit // where the job cannot tell, the row must at least not contradict the override
		if j := jobs[r.JobSeq]; j != nil && j.Limit != nil && tells(j, r) {
			pushed = *j.Limit
		}
		if want, got := override.over(pushed), (Limit{r.Limit.N, r.Limit.Window, r.Limit.mode()}); got != want {
			f.add(KindLimit, []fmt.Stringer{r}, "execution #%d was taken under %v; in force was %v", r.OrderNo, got, want)
		}
	}
}

// tells reports whether the job's limit is still the one with which it started
// this execution: the newest, after which it has not waited again. (A save may
// change the limits of jobs while they wait.)
func tells(j *Job, r *Row) bool {
	return r.Attempt == j.Attempt && (r.End == endHeld || r.End == endReported) &&
		j.State != stateQueued && j.State != stateScheduled
}

// checkPauses judges that nothing started while the group was paused.
func (g *Group) checkPauses(f *findings) {
	changes := g.events(eventPause, eventResume)
	var pause *Event
	for i := range g.Rows {
		r := &g.Rows[i]
		for len(changes) > 0 && changes[0].AfterOrder < r.OrderNo {
			pause = &changes[0]
			changes = changes[1:]
		}
		if pause == nil || pause.Kind == eventResume || !pause.Until.IsZero() && !r.Started.Before(pause.Until) {
			continue
		}
		until := "until resumed"
		if !pause.Until.IsZero() {
			until = "until " + stamp(pause.Until)
		}
		f.add(KindPaused, []fmt.Stringer{r}, "execution #%d started at %s; paused from %s %s", r.OrderNo, stamp(r.Started), stamp(pause.At), until)
	}
}

// events returns the entries of these kinds in their order.
func (g *Group) events(kinds ...string) []Event {
	var out []Event
	for _, e := range g.Events {
		if slices.Contains(kinds, e.Kind) {
			out = append(out, e)
		}
	}
	return out
}
