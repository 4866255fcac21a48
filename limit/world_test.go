package limit_test

import (
	"fmt"
	"slices"
	"time"

	"sluice/limit"
)

const us = time.Microsecond

// epoch is when the tests' time begins.
var epoch = time.Date(2026, 3, 29, 0, 59, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// execution is one attempt as the model remembers it.
type execution struct {
	name                      string
	confirmed, released       time.Time
	launchNo, endNo           int64
	struck                    bool
	launchPruned, endPruned   bool // does not count any more
	launchTrimmed, endTrimmed bool // counts as if it had happened at trimmedAt
}

// world is what really happened in a group, beside the few numbers that a
// store keeps of it. The model counts executions one by one and calls nothing
// of package limit.
type world struct {
	now        time.Time
	executions []*execution
	trimmedAt  time.Time

	launches, releases []time.Time // by number, from 1
	group              limit.Group
}

func newWorld() *world { return &world{now: epoch} }

func (w *world) find(name string) *execution {
	for _, e := range w.executions {
		if e.name == name {
			return e
		}
	}
	panic("no execution " + name)
}

// those returns the executions for which want holds.
func (w *world) those(want func(*execution) bool) []*execution {
	var out []*execution
	for _, e := range w.executions {
		if want(e) {
			out = append(out, e)
		}
	}
	return out
}

func (e *execution) held() bool       { return !e.struck && e.released.IsZero() }
func (e *execution) unlaunched() bool { return e.held() && e.confirmed.IsZero() }

// launched returns the instant from which a start window runs; zero: not yet.
func (e *execution) launched() time.Time {
	if !e.confirmed.IsZero() {
		return e.confirmed
	}
	return e.released
}

func (w *world) take(name string) *execution {
	e := &execution{name: name}
	w.executions = append(w.executions, e)
	w.group.Taken++
	return e
}

func (w *world) confirm(e *execution) {
	e.confirmed = w.now
	w.launch(e)
}

func (w *world) launch(e *execution) {
	w.group.Launched++
	e.launchNo = w.group.Launched
	w.launches = append(w.launches, w.now)
}

func (w *world) release(e *execution) {
	if e.unlaunched() {
		w.launch(e)
	}
	e.released = w.now
	w.group.Released++
	e.endNo = w.group.Released
	w.releases = append(w.releases, w.now)
}

func (w *world) strike(e *execution) {
	e.struck = true
	w.group.Struck++
}

// prune makes all history stop counting. Nothing may be held.
func (w *world) prune() {
	for _, e := range w.executions {
		e.launchPruned, e.endPruned = true, true
	}
	w.group.PrunedLaunches, w.group.PrunedReleases = w.group.Launched, w.group.Released
}

// trim deletes the oldest launches and releases up to these numbers.
func (w *world) trim(launches, releases int64, at time.Time) {
	for _, e := range w.executions {
		e.launchTrimmed = e.launchTrimmed || e.launchNo > 0 && e.launchNo <= launches
		e.endTrimmed = e.endTrimmed || e.endNo > 0 && e.endNo <= releases
	}
	w.trimmedAt, w.group.TrimmedAt = at, at
	w.group.TrimmedLaunches, w.group.TrimmedReleases = launches, releases
}

// asker is a limit as it was pushed, in the model's own words.
type asker struct {
	n      int
	window time.Duration
	start  bool
}

func (a asker) limit() limit.Limit {
	l := limit.Limit{N: a.n, Window: a.window, Mode: limit.End}
	if a.start {
		l.Mode = limit.Start
	}
	return l
}

func (a asker) String() string { return fmt.Sprintf("{N %d, W %s, start %t}", a.n, a.window, a.start) }

// count counts the other executions as the rule says it. truth leaves what
// retention deleted where it really was.
func (w *world) count(t time.Time, a asker, truth bool) int {
	var n int
	left := t.Add(-a.window)
	for _, e := range w.executions {
		if e.struck {
			continue
		}
		var instant time.Time
		var pruned, trimmed bool
		if a.start {
			instant, pruned, trimmed = e.launched(), e.launchPruned, e.launchTrimmed
		} else {
			instant, pruned, trimmed = e.released, e.endPruned, e.endTrimmed
		}
		if pruned {
			continue
		}
		if trimmed && !truth {
			instant = w.trimmedAt
		}
		if instant.IsZero() || instant.After(left) {
			n++
		}
	}
	return n
}

// paused says whether the group's pause is in force.
func (w *world) paused(t time.Time) bool {
	p := w.group.Pause
	return p.Paused && (p.Until.Equal(time.Time{}) || t.UnixNano() < p.Until.UnixNano())
}

// mayStart is the rule, word for word.
func (w *world) mayStart(t time.Time, a asker, ahead int) bool {
	return !w.paused(t) && w.count(t, a, false)+ahead < a.n
}

// edges returns, in order, every instant from t on at which mayStart can turn
// to yes if nothing happens.
func (w *world) edges(t time.Time, a asker) []time.Time {
	out := []time.Time{t}
	add := func(x time.Time) {
		if x.After(t) {
			out = append(out, x)
		}
	}
	for _, e := range w.executions {
		for _, x := range []time.Time{e.released, e.launched(), w.trimmedAt} {
			if !x.IsZero() {
				add(x.Add(a.window))
			}
		}
	}
	add(w.group.Pause.Until)
	slices.SortFunc(out, time.Time.Compare)
	return slices.CompactFunc(out, time.Time.Equal)
}

// firstYes returns the first instant from t on at which the rule says yes if
// nothing happens; zero: never.
func (w *world) firstYes(t time.Time, a asker, ahead int) time.Time {
	for _, x := range w.edges(t, a) {
		if w.mayStart(x, a, ahead) {
			return x
		}
	}
	return time.Time{}
}

// instant is a store's look-up: what a probe asks for.
func (w *world) instant(p limit.Probe) time.Time {
	switch {
	case p.No == 0:
		return p.At
	case p.Series == limit.Launches:
		return w.launches[p.No-1]
	}
	return w.releases[p.No-1]
}

// ask puts the question to the code under test.
func (w *world) ask(t time.Time, l limit.Limit, ahead int64) limit.Room {
	p := w.group.Probe(l, ahead)
	return limit.Decide(t, &w.group, l, p, w.instant(p))
}

// notBefore asks the code under test for a proof.
func (w *world) notBefore(t time.Time, l limit.Limit, due time.Time) time.Time {
	p := w.group.ProofProbe(l)
	return limit.NotBefore(t, l, due, p, w.instant(p))
}
