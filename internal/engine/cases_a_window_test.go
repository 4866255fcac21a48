package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
	"sluice/limit"
)

// call is a job that runs from at to end, and calls the API that the limit
// protects at some moment between.
type call struct {
	a   sluice.Assignment
	at  time.Time
	end time.Time
}

// A14: whatever the moment at which each job calls an API, no trailing window,
// wherever it begins, holds more than N calls; and the first instant that is
// allowed is used, to the microsecond.
func TestA14_AnyTrailingWindow(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		random := rand.New(rand.NewPCG(14, seed))
		w := newWorld(t)
		n, window := 1+random.IntN(4), time.Duration(1+random.IntN(5))*time.Second
		w.script("f/a/edge", "concurrent_limit", n, "concurrency_time_window_s", int(window/time.Second))
		w.pushN("f/a/edge", 300)
		var running []call
		var calls []time.Time
		for range 120 {
			w.clock.advance(time.Duration(random.Int64N(3)) * time.Microsecond)
			now := w.clock.wall
			running = slices.DeleteFunc(running, func(c call) bool {
				if c.end.After(now) {
					return false
				}
				w.report("w1", c.a)
				calls = append(calls, c.at.Add(time.Duration(random.Int64N(int64(now.Sub(c.at))+1))))
				return true
			})
			for _, a := range w.take("w1", 50) {
				long := time.Duration(random.Int64N(int64(window)))
				if random.IntN(3) == 0 {
					long = 0
				}
				running = append(running, call{a: a, at: now, end: now.Add(long)})
			}
			w.clock.advance(nextMoment(w, random, running, "main/script/f/a/edge"))
		}
		if len(calls) < 30 {
			t.Fatalf("seed %d: only %d calls", seed, len(calls))
		}
		if most := mostWithin(calls, window); most > n {
			t.Fatalf("seed %d: %d calls within %s, the limit is %d", seed, most, window, n)
		}
		w.auditRule("main/script/f/a/edge")
	}

	w := newWorld(t)
	w.script("f/a/exact", "concurrent_limit", 2, "concurrency_time_window_s", 10)
	ids := w.pushN("f/a/exact", 4)
	as := w.mustTake("at first", ids[0], ids[1])
	w.clock.advance(3 * time.Second)
	w.report("w1", as[0])
	w.clock.advance(7 * time.Microsecond)
	w.report("w1", as[1])
	w.clock.advance(10*time.Second - 8*time.Microsecond)
	w.mustTake("a microsecond before the first window ends")
	w.clock.advance(time.Microsecond)
	w.mustTake("when the first window ends", ids[2])
	w.clock.advance(6 * time.Microsecond)
	w.mustTake("a microsecond before the second window ends")
	w.clock.advance(time.Microsecond)
	w.mustTake("when the second window ends", ids[3])
}

// nextMoment picks how far to go on: to an end, to the instant at which a
// window runs out or a microsecond ahead of it, or anywhere.
func nextMoment(w *world, random *rand.Rand, running []call, key string) time.Duration {
	now := w.clock.wall
	far := time.Duration(random.Int64N(int64(time.Second)))
	switch random.IntN(4) {
	case 0:
		return far
	case 1:
		for _, c := range running {
			if d := c.end.Sub(now); d > 0 {
				far = min(far, d)
			}
		}
		return far
	}
	if room := w.group(key).RoomAt; room.After(now) {
		return room.Sub(now) - time.Duration(random.IntN(2))*time.Microsecond
	}
	return far
}

// A15: scripts with N = 1 and N = 10 share a key. The strict one starts only
// when nothing else runs and is not passed by lax ones that came later, though
// those would have room all the time.
func TestA15_StrictAndLaxShareAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/strict", "concurrent_limit", 1, "concurrency_key", "shared")
	w.script("f/a/lax", "concurrent_limit", 10, "concurrency_key", "shared")
	lax := w.pushN("f/a/lax", 4)
	running := w.mustTake("the lax ones", lax...)
	strict := w.push("f/a/strict")
	for i := range 4 { // a stream of lax ones, and a lax one ends now and then
		w.pushN("f/a/lax", 3)
		w.mustTake("lax ones behind the strict one")
		w.clock.advance(time.Second)
		w.report("w1", running[i])
	}
	s := w.take("w1", 50)
	if len(s) != 10 || s[0].JobID != strict {
		t.Fatalf("after the last lax one's end: %v, want the strict one first and nine behind it", jobsOf(s))
	}
	w.report("w1", s[1:4]...)
	rest := append(s[4:], w.take("w1", 50)...)
	if len(rest) != 9 {
		t.Fatalf("%d lax ones beside the strict one, want 9", len(rest))
	}
	second := w.push("f/a/strict")
	w.push("f/a/lax")
	for _, a := range rest {
		w.clock.advance(time.Second)
		w.mustTake("the second strict one while others run")
		w.report("w1", a)
	}
	if wait := w.job(second).Wait; wait.Reason != sluice.ReasonLimit || wait.SlotsTotal != 1 {
		t.Fatalf("the second strict one waits: %+v", wait)
	}
	w.clock.advance(time.Second)
	w.report("w1", s[0])
	if last := w.take("w1", 50); len(last) != 2 || last[0].JobID != second {
		t.Fatalf("at last: %v, want the second strict one first", jobsOf(last))
	}
	if n := w.auditRule("shared"); n != 19 {
		t.Fatalf("%d starts, want 19", n)
	}
}

// A17: a slow job's end is later than that of a fast one which started after
// it. The window runs from the ends, in the order of the ends.
func TestA17_SlowEndsAfterFast(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/slow", "concurrent_limit", 2, "concurrency_time_window_s", 10)
	ids := w.pushN("f/a/slow", 4)
	slow := w.take("w1", 1)
	w.clock.advance(time.Second)
	fast := w.take("w1", 1)
	w.clock.advance(time.Second)
	w.report("w1", fast...) // at 2 s, the second to start
	w.clock.advance(18 * time.Second)
	w.report("w1", slow...) // at 20 s, the first to start
	third := w.mustTake("at 20 s, the fast one's window is over", ids[2])
	w.clock.advance(10*time.Second - time.Microsecond)
	w.mustTake("just before 30 s")
	w.clock.advance(time.Microsecond)
	w.mustTake("at 30 s, the slow one's window is over", ids[3])
	w.report("w1", third...)
	w.auditRule("main/script/f/a/slow")
}

// A18: in start mode a worker is stalled between being handed a job and
// launching it, for longer than the window too. A witness that sees the
// launches themselves never sees more than N in any window.
func TestA18_StalledBeforeTheLaunch(t *testing.T) {
	t.Parallel()
	const n, window = 5, 2 * time.Second
	for seed := range uint64(2) {
		random := rand.New(rand.NewPCG(18, seed))
		w := newWorld(t)
		w.script("f/a/rate", "concurrent_limit", n, "concurrency_time_window_s", 2, "concurrency_window_from", "start")
		w.pushN("f/a/rate", 300)
		type job struct {
			a                      sluice.Assignment
			launch, confirm, ended time.Time
		}
		var jobs []*job
		var launches []time.Time
		starts := 0
		for range 180 {
			w.clock.advance(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
			now := w.clock.wall
			jobs = slices.DeleteFunc(jobs, func(j *job) bool {
				if !j.launch.IsZero() && !now.Before(j.launch) {
					launches = append(launches, j.launch)
					j.launch = time.Time{}
				}
				switch {
				case j.launch.IsZero() && !j.confirm.IsZero() && !now.Before(j.confirm):
					w.confirm("w1", j.a)
					j.confirm = time.Time{}
				case j.launch.IsZero() && !now.Before(j.ended):
					w.report("w1", j.a) // with or without a confirmation ahead of it
					return true
				}
				return false
			})
			for _, a := range w.take("w1", 50) {
				if !a.Prompt {
					t.Fatal("the worker is not asked to confirm at once")
				}
				starts++
				stall := time.Duration(random.Int64N(int64(3 * window)))
				if random.IntN(2) == 0 {
					stall /= 100
				}
				j := &job{a: a, launch: now.Add(stall)}
				j.confirm = j.launch.Add(time.Duration(random.Int64N(int64(50 * time.Millisecond))))
				j.ended = j.launch.Add(time.Duration(random.Int64N(int64(2 * window))))
				jobs = append(jobs, j)
			}
		}
		if len(launches) < 20 {
			t.Fatalf("seed %d: only %d launches", seed, len(launches))
		}
		if most := mostWithin(launches, window); most > n {
			t.Fatalf("seed %d: %d launches within %s, the limit is %d", seed, most, window, n)
		}
		w.auditRule("main/script/f/a/rate")
	}
}

// A19: the wall clock steps by an hour, either way and both, and a server
// starts with a clock behind the newest instant it stored: nothing starts
// early, nothing waits for longer than its window, no instant goes back, and
// the step is seen.
func TestA19_ClockSteps(t *testing.T) {
	t.Parallel()
	const key, window = "main/script/f/a/step", time.Minute
	w := newWorld(t)
	w.script("f/a/step", "concurrent_limit", 1, "concurrency_time_window_s", 60)
	ids := w.pushN("f/a/step", 7)
	round := 0
	cycle := func(what string, step func()) {
		t.Helper()
		a := w.mustTake(what, ids[round])
		round++
		w.clock.advance(time.Second)
		w.report("w1", a...)
		step()
		w.mustTake(what + ", at once")
		w.clock.advance(window - time.Microsecond)
		w.mustTake(what + ", just before the window ends")
		w.clock.advance(time.Microsecond)
	}
	cycle("no step", func() {})
	cycle("an hour back", func() { w.clock.step(-time.Hour) })
	if got := w.store.Stats().ClockStep; got < time.Hour {
		t.Fatalf("the step is shown as %s", got)
	}
	cycle("back where it was", func() { w.clock.step(time.Hour) })
	cycle("back, then a start with the clock still behind", func() {
		w.close()
		w.clock.step(-2 * time.Hour)
		w.open()
	})
	if got := w.store.Stats().ClockStep; got < time.Hour {
		t.Fatalf("the clock that was behind at the start is shown as %s", got)
	}
	cycle("another start, and an hour further back", func() {
		w.restart()
		w.clock.step(-time.Hour)
	})
	// A step forward is the limit of the promise: it is seen, and what comes
	// after it is judged by the new clock.
	a := w.mustTake("the last but one", ids[round])
	w.clock.step(5 * time.Hour)
	w.clock.advance(time.Second)
	w.report("w1", a...)
	if got := w.store.Stats().ClockStep; got < 2*time.Hour {
		t.Fatalf("the step forward is shown as %s", got)
	}
	w.clock.step(-time.Hour) // and then back again
	w.clock.advance(window - time.Microsecond)
	w.mustTake("within the window, after a step forward and one back")
	w.clock.advance(time.Microsecond)
	w.mustTake("after the window", ids[round+1])
	if n := w.auditRule(key); n != len(ids) {
		t.Fatalf("%d starts, want %d", n, len(ids))
	}
}

// A20: jobs are deleted at once after use, by retention, while their window
// runs, over restarts too: what they did counts until it has run out, and the
// rows that prove it outlive them. What an administrator prunes counts no
// longer, and cannot be pruned while a slot is held.
func TestA20_DeletedWhileTheWindowRuns(t *testing.T) {
	t.Parallel()
	const key = "main/script/f/a/gone"
	w := newWorldWith(t, engine.Options{Retention: time.Second})
	w.script("f/a/gone", "concurrent_limit", 1, "concurrency_time_window_s", 3*3600, "delete_after_use", true)
	first := w.push("f/a/gone")
	a := w.mustTake("the first", first)
	w.report("w1", a...)
	for i := range 17 {
		w.clock.advance(10 * time.Minute)
		w.clean()
		if i == 9 {
			w.restart()
		}
	}
	if _, err := w.Job(w.ctx(), "main", first, false, false); sluice.CodeOf(err) != sluice.CodeNotFound {
		t.Fatalf("the job is still there: %v", err)
	}
	if xs := w.history(key); len(xs) != 1 || xs[0].JobID != first {
		t.Fatalf("evidence of the first job: %v", xs)
	}
	second := w.push("f/a/gone")
	w.clock.advance(10*time.Minute - time.Microsecond)
	w.clean()
	w.mustTake("just before the window of the deleted job ends")
	wait := w.job(second).Wait
	if wait.Reason != sluice.ReasonLimit || len(wait.Slots) != 1 || wait.Slots[0].JobID != first {
		t.Fatalf("why the second waits: %+v", wait)
	}
	w.clock.advance(time.Microsecond)
	w.clean()
	a = w.mustTake("after that window", second)

	third := w.push("f/a/gone")
	err := w.Prune(w.ctx(), key, "admin", "")
	wantCode(t, "prune while a slot is held", err, sluice.CodeConflict, "")
	w.report("w1", a...)
	w.clock.advance(time.Minute)
	w.mustTake("within the window")
	w.must(w.Prune(w.ctx(), key, "admin", "quota reset"))
	if !slices.ContainsFunc(w.history(key), func(x *sluice.Execution) bool { return x.JobID == second }) {
		t.Fatal("what was pruned is not kept for the checker")
	}
	w.restart()
	a = w.mustTake("after the prune", third)
	w.report("w1", a...)
	fourth := w.push("f/a/gone")
	w.clock.advance(3*time.Hour - time.Microsecond)
	w.clean()
	w.mustTake("within the window after the prune")
	w.clock.advance(time.Microsecond)
	w.mustTake("after it", fourth)
	w.must(w.store.View(w.ctx(), func(r store.Reader) error {
		events, err := r.GroupEvents(0, 0, 10)
		if err == nil && (len(events) != 1 || events[0].Kind != store.EventPrune || events[0].Key != key || events[0].By != "admin") {
			err = fmt.Errorf("the log of the group: %+v", events)
		}
		return err
	}))
}

// A23: one group with limits of all kinds, each job judged by its own; and a
// window that is longer than all before it arrives when the history is short,
// and when part of it has been deleted: what is not known any more counts.
func TestA23_MixedLimitsInOneGroup(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		random := rand.New(rand.NewPCG(23, seed))
		w := newWorld(t)
		mixed := func(name string, n, seconds int, mode string) {
			w.script("f/a/"+name, "concurrent_limit", n, "concurrency_time_window_s", seconds,
				"concurrency_window_from", mode, "concurrency_key", "mixed")
		}
		mixed("end60", 3, 6, "end")
		mixed("start10", 4, 1, "start")
		mixed("end0", 5, 0, "end")
		mixed("long", 30, 60, "end")
		names := []string{"end60", "start10", "end0", "long"}
		var running []sluice.Assignment
		tick := func() {
			w.clock.advance(time.Duration(1+random.Int64N(int64(300*time.Millisecond)/1000)) * time.Microsecond)
		}
		for range 110 {
			tick()
			if random.IntN(2) == 0 {
				w.push("f/a/" + names[random.IntN(len(names))])
			}
			tick()
			running = append(running, w.take("w1", 1+random.IntN(4))...)
			tick()
			if len(running) > 0 && random.IntN(3) > 0 {
				i := random.IntN(len(running))
				if random.IntN(2) == 0 {
					w.confirm("w1", running[i])
					tick()
				}
				if random.IntN(3) > 0 {
					w.report("w1", running[i])
					running = slices.Delete(running, i, i+1)
				}
			}
		}
		if n := w.auditRule("mixed"); n < 20 {
			t.Fatalf("seed %d: only %d starts", seed, n)
		}
	}
	longerWindowArrives(t)
}

func longerWindowArrives(t *testing.T) {
	w := newWorldWith(t, engine.Options{Retention: time.Second})
	mixed := func(name string, n, seconds int, mode limit.Mode) {
		w.script("f/a/"+name, "concurrent_limit", n, "concurrency_time_window_s", seconds,
			"concurrency_window_from", mode, "concurrency_key", "longer")
	}
	mixed("short", 2, 60, limit.End)
	mixed("longer", 1, 2*3600, limit.End)
	mixed("rate", 1, 2*3600, limit.Start)
	w.push("f/a/short", in(1000*time.Hour)) // so that the group stays
	id := w.push("f/a/short")
	a := w.mustTake("the first", id)
	w.clock.advance(time.Minute)
	w.report("w1", a...)
	w.clock.advance(2 * time.Minute)
	longer := w.push("f/a/longer") // the history is three minutes long
	w.mustTake("two minutes after the end")
	w.clock.advance(2*time.Hour - 2*time.Minute - time.Microsecond)
	w.clean()
	w.mustTake("just before the longer window ends")
	w.clock.advance(time.Microsecond)
	a = w.mustTake("when the longer window ends", longer)
	w.confirm("w1", a...)
	w.report("w1", a...)

	w.clock.advance(2*time.Hour + time.Second) // the longest window has passed: the history may go
	w.clean()
	if xs := w.history("longer"); len(xs) != 0 {
		t.Fatalf("%d executions are kept", len(xs))
	}
	for _, name := range []string{"later", "laterRate"} {
		mode := limit.End
		if name == "laterRate" {
			mode = limit.Start
		}
		mixed(name, 1, 4*3600, mode)
	}
	ended := w.push("f/a/later")
	w.mustTake("a longer window over deleted history")
	w.clock.advance(2*time.Hour - time.Second - time.Microsecond)
	w.mustTake("just before it ends")
	w.clock.advance(time.Microsecond)
	a = w.mustTake("when it ends", ended)
	w.report("w1", a...)
	rate := w.push("f/a/laterRate")
	w.clock.advance(4*time.Hour - time.Microsecond)
	w.mustTake("a rate over what the other mode did")
	w.clock.advance(time.Microsecond)
	w.mustTake("after its window", rate)
}
