package limit_test

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/limit"
)

// windows are few, so that edges of different limits fall on each other.
var windows = []time.Duration{0, time.Second, 2 * time.Second, 7 * time.Second}

func drawAsker(t *rapid.T) asker {
	a := asker{
		n:      rapid.IntRange(1, 6).Draw(t, "N"),
		window: rapid.SampledFrom(windows).Draw(t, "window"),
		start:  rapid.Bool().Draw(t, "start"),
	}
	a.start = a.start && a.window > 0
	return a
}

// drawStep returns how long nothing happens: often nothing, often just short
// of, at, or just after the end of a window.
func drawStep(t *rapid.T) time.Duration {
	d := rapid.SampledFrom([]time.Duration{0, 0, us, 300 * time.Millisecond, time.Second, 2 * time.Second, 7 * time.Second}).Draw(t, "step")
	d += rapid.SampledFrom([]time.Duration{0, 0, us, -us}).Draw(t, "nudge")
	return max(d, 0)
}

func pick(t *rapid.T, from []*execution) *execution {
	return from[rapid.IntRange(0, len(from)-1).Draw(t, "which")]
}

// event lets one thing happen in the world, whether the limit allows it or
// not: the rule is about whatever history there is.
func event(t *rapid.T, w *world, kinds ...string) {
	switch rapid.SampledFrom(kinds).Draw(t, "event") {
	case "take":
		w.take(strconv.Itoa(len(w.executions)))
	case "confirm":
		if of := w.those((*execution).unlaunched); len(of) > 0 {
			w.confirm(pick(t, of))
		}
	case "release":
		if of := w.those((*execution).held); len(of) > 0 {
			w.release(pick(t, of))
		}
	case "strike":
		if of := w.those((*execution).unlaunched); len(of) > 0 {
			w.strike(pick(t, of))
		}
	case "prune":
		if len(w.those((*execution).held)) == 0 {
			w.prune()
		}
	case "trim":
		trim(t, w)
	case "pause":
		w.group.Pause = limit.Pause{Paused: true}
		if rapid.Bool().Draw(t, "until") {
			w.group.Pause.Until = w.now.Add(drawStep(t))
		}
	case "resume":
		w.group.Pause = limit.Pause{}
	}
}

// trim deletes what happened before an instant, as retention does: all
// launches and releases up to it and none after it.
func trim(t *rapid.T, w *world) {
	upTo := w.now.Add(-drawStep(t))
	if upTo.Before(w.trimmedAt) {
		return
	}
	var launches, releases int64
	for _, x := range w.launches {
		if !x.After(upTo) {
			launches++
		}
	}
	for _, x := range w.releases {
		if !x.After(upTo) {
			releases++
		}
	}
	w.trim(launches, releases, upTo)
}

var allEvents = []string{
	"take", "take", "take", "take", "confirm", "confirm", "release", "release", "release", "strike",
	"prune", "trim", "pause", "resume",
}

func drawWorld(t *rapid.T) *world {
	w := newWorld()
	for range rapid.IntRange(0, 40).Draw(t, "events") {
		w.now = w.now.Add(drawStep(t))
		event(t, w, allEvents...)
	}
	return w
}

// overridden returns what is in force for the asker: the model's own reading.
func overridden(t *rapid.T, w *world, a asker) asker {
	w.group.Override = limit.Override{}
	for _, field := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"n", "window", "start"}), 0, 3, rapid.ID[string]).Draw(t, "override") {
		b := drawAsker(t)
		l := b.limit()
		switch field {
		case "n":
			a.n, w.group.Override.N = b.n, &l.N
		case "window":
			a.window, w.group.Override.Window = b.window, &l.Window
		case "start":
			a.start, w.group.Override.Mode = b.start, &l.Mode
		}
	}
	a.start = a.start && a.window > 0
	return a
}

// TestModel: Probe, one look-up and Decide agree with counting all executions
// one by one, at every instant at which the answer can change, one microsecond
// before it and one after it; and Room.From is exactly the first instant at
// which the rule says yes if nothing else happens (A14, A15, A23).
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		pushed := drawAsker(t)
		a := overridden(t, w, pushed)
		l, _ := w.group.Override.Apply(pushed.limit())
		ahead := rapid.SampledFrom([]int{0, 0, 0, 1, 2, 5}).Draw(t, "ahead")
		for _, edge := range w.edges(epoch, a) { // a clock that is behind sees instants in the future
			for _, now := range []time.Time{edge.Add(-us), edge, edge.Add(us)} {
				room := w.ask(now, l, int64(ahead))
				if want := w.mayStart(now, a, ahead); room.Now != want {
					t.Fatalf("at %s, %v, %d ahead: %+v, counted %d", now.Sub(epoch), a, ahead, room, w.count(now, a, false))
				}
				if room.Now {
					if !room.From.IsZero() {
						t.Fatalf("room now, and from %s", room.From.Sub(epoch))
					}
					if w.count(now, a, true)+ahead >= a.n {
						t.Fatalf("at %s, %v: room, though the deleted history counts", now.Sub(epoch), a)
					}
					continue
				}
				if want := w.firstYes(now, a, ahead); !room.From.Equal(want) {
					t.Fatalf("at %s, %v, %d ahead: room from %s, want %s", now.Sub(epoch), a, ahead, room.From.Sub(epoch), want.Sub(epoch))
				}
			}
		}
	})
}

// TestTrimmedNeverAdmits: whatever instant retention noted, as long as it is
// no earlier than what was deleted, nothing starts that the whole history
// forbids.
func TestTrimmedNeverAdmits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		if l, r := len(w.launches), len(w.releases); l > 0 {
			launches := rapid.IntRange(int(w.group.TrimmedLaunches), l).Draw(t, "launches")
			releases := rapid.IntRange(int(w.group.TrimmedReleases), r).Draw(t, "releases")
			noted := w.trimmedAt
			if launches > 0 && w.launches[launches-1].After(noted) {
				noted = w.launches[launches-1]
			}
			if releases > 0 && w.releases[releases-1].After(noted) {
				noted = w.releases[releases-1]
			}
			w.trim(int64(launches), int64(releases), noted.Add(drawStep(t)))
		}
		a := drawAsker(t)
		for _, edge := range w.edges(epoch, a) {
			for _, now := range []time.Time{edge.Add(-us), edge, edge.Add(us)} {
				if w.ask(now, a.limit(), 0).Now && w.count(now, a, true) >= a.n {
					t.Fatalf("at %s, %v: room, though %d count", now.Sub(epoch), a, w.count(now, a, true))
				}
			}
		}
	})
}

// TestNotBeforeIsAProof: in no continuation without an override, a cancel or a
// prune does a job of this limit start before the instant that it was told;
// hand-backs are among what may happen, and so is a pause that is lifted.
func TestNotBeforeIsAProof(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		a := drawAsker(t)
		due := w.now.Add(rapid.SampledFrom([]time.Duration{-time.Second, 0, us, 5 * time.Second}).Draw(t, "due"))
		told := w.notBefore(w.now, a.limit(), due)
		if !told.IsZero() && !told.After(w.now) {
			t.Fatalf("told %s, which is not in the future", told.Sub(epoch))
		}
		w.group.Pause = limit.Pause{}
		for range rapid.IntRange(1, 25).Draw(t, "continuation") {
			if !w.now.Before(due) && w.now.Before(told) && w.mayStart(w.now, a, 0) {
				t.Fatalf("told not before %s, and starts at %s", told.Sub(epoch), w.now.Sub(epoch))
			}
			if rapid.Bool().Draw(t, "wait") {
				w.now = w.now.Add(drawStep(t))
			}
			event(t, w, "take", "confirm", "release", "release", "release", "strike", "strike", "trim")
		}
	})
}

// TestNotBeforeIsTight: the instant that is told is the very one at which the
// job starts if all goes as well as it can: everything unconfirmed is handed
// back and everything else ends at once.
func TestNotBeforeIsTight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.group.Pause = limit.Pause{}
		a := drawAsker(t)
		due := w.now.Add(rapid.SampledFrom([]time.Duration{-time.Second, 0, us, 5 * time.Second}).Draw(t, "due"))
		told := w.notBefore(w.now, a.limit(), due)
		for _, e := range w.those((*execution).unlaunched) {
			w.strike(e)
		}
		for _, e := range w.those((*execution).held) {
			w.release(e)
		}
		from := w.now
		if due.After(from) {
			from = due
		}
		best := w.firstYes(from, a, 0)
		if best.Equal(w.now) {
			best = time.Time{}
		}
		if !told.Equal(best) {
			t.Fatalf("%v: told %s, at best it starts at %s", a, told.Sub(epoch), best.Sub(epoch))
		}
	})
}
