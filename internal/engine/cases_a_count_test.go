package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// A1: workers look at the same count at the same moment and want different
// jobs of one key that is in use, while its only slot is being freed. One of
// them gets it, whether they wait in Take or ask once, in one commit or several.
func TestA1_TwoWorkersAtTheSameMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/one", "concurrent_limit", 1)
	w.pushN("f/a/one", 8)
	stop := w.run()
	defer stop()
	holder := takeOne(t, w.Engine, "w", 1)
	var running atomic.Int64 // by our own account, not the server's
	running.Store(1)
	var takes atomic.Int64
	takes.Store(1)
	for round := range 50 {
		w.push("f/a/one")
		w.clock.advance(time.Millisecond)
		ctx, giveUp := context.WithCancel(w.ctx())
		var mu sync.Mutex
		var got []sluice.Assignment
		won := func(as ...sluice.Assignment) {
			if len(as) > 0 && running.Add(int64(len(as))) > 1 {
				t.Errorf("round %d: %d run at once", round, running.Load())
			}
			mu.Lock()
			got = append(got, as...)
			mu.Unlock()
		}
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(func() {
				as, err := w.Take(ctx, sluice.TakeRequest{Worker: "w", TakeNo: takes.Add(1), Tags: []string{"bash"}, Places: 1, Wait: 20 * time.Second})
				if err != nil {
					t.Error(err)
				}
				won(as...)
				if len(as) > 0 {
					giveUp()
				}
			})
		}
		contend := atOnce
		if round%2 == 1 {
			contend = w.jammed
		}
		contend(4, func(i int) {
			if i == 0 {
				running.Add(-1)
				if err := w.tryReport("w", holder.Execution); err != nil {
					t.Error(err)
				}
				return
			}
			if a := takeOne(t, w.Engine, "w", takes.Add(1)); a != nil {
				won(*a)
				giveUp()
			}
		})
		waiting.Wait()
		giveUp()
		if len(got) != 1 || w.group("main/script/f/a/one").Running != 1 {
			t.Fatalf("round %d: %d started for one slot, %d are held", round, len(got), w.group("main/script/f/a/one").Running)
		}
		holder = &got[0]
	}
	w.auditRule("main/script/f/a/one")
}

// A2: nothing ever ran under the key, so there is no row whose lock could
// guard the count: fifty callers bring the first jobs of it and take at once.
func TestA2_FirstAdmissionsOfANewKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/new", "concurrent_limit", 3, "concurrency_key", "$args[k]")
	var takes atomic.Int64
	for round := range 8 {
		key := fmt.Sprintf("fresh-%d", round)
		var started atomic.Int64
		contend := atOnce
		if round%2 == 1 {
			contend = w.jammed
		}
		contend(50, func(int) {
			n := engine.NewJob{Workspace: "main", Path: "f/a/new"}
			keyed(key)(&n)
			if _, err := w.Submit(w.ctx(), []engine.NewJob{n}); err != nil {
				t.Error(err)
			}
			if takeOne(t, w.Engine, "w", takes.Add(1)) != nil {
				started.Add(1)
			}
		})
		if n := started.Load(); n != 3 {
			t.Fatalf("round %d: %d first admissions, want 3", round, n)
		}
		if g := w.group(key); g.Running != 3 || g.Waiting != 47 {
			t.Fatalf("round %d: %d held, %d waiting", round, g.Running, g.Waiting)
		}
	}
}

// A3: what is committed later was begun earlier, for each of take, confirm,
// report and push: numbers, instants and ranks follow the commits, so that the
// history that decides is in order.
func TestA3_CommitsInAnotherOrderThanTheyBegan(t *testing.T) {
	t.Parallel()
	const key = "main/script/f/a/order"
	w := newWorld(t)
	w.script("f/a/order", "concurrent_limit", 4, "concurrency_time_window_s", 1)
	ids := w.pushN("f/a/order", 2)
	late, s := w.nudged() // whatever begins here is overtaken by what the hook does
	overtake := func(what func()) {
		s.before = func() {
			s.before = nil
			w.clock.advance(time.Second)
			what()
			w.clock.advance(time.Second)
		}
	}
	var b []sluice.Assignment
	overtake(func() { b = w.take("w1", 1) })
	a := takeOne(t, late, "w2", 1)
	if a == nil || len(b) != 1 || b[0].JobID != ids[0] || a.JobID != ids[1] {
		t.Fatalf("takes: %v then %v", b, a)
	}
	overtake(func() { w.confirm("w1", b...) })
	w.must(late.Confirm(w.ctx(), "w2", []int64{a.Execution}))
	overtake(func() { w.report("w1", b...) })
	w.must(late.Report(w.ctx(), []sluice.Report{{Execution: a.Execution, Worker: "w2", Success: true, Launched: true}})[0])
	xs := w.history(key)
	for i, x := range xs {
		if x.OrderNo != int64(i+1) || x.LaunchNo != int64(i+1) || x.EndNo != int64(i+1) {
			t.Fatalf("execution %d: order %d, launch %d, end %d", i, x.OrderNo, x.LaunchNo, x.EndNo)
		}
	}
	if gap := xs[1].ReleasedAt.Sub(xs[0].ReleasedAt); gap != time.Second {
		t.Fatalf("the release that was overtaken lies %s after the other", gap)
	}

	// The same by force of numbers.
	w.pushN("f/a/order", 200)
	var takes atomic.Int64
	atOnce(8, func(i int) {
		random := rand.New(rand.NewPCG(3, uint64(i)))
		worker := fmt.Sprintf("many-%d", i)
		for range 25 {
			a := takeOne(t, w.Engine, worker, takes.Add(1))
			w.clock.advance(time.Duration(random.IntN(300_000)) * time.Microsecond)
			if a == nil {
				continue
			}
			if i%2 == 0 {
				if err := w.Confirm(w.ctx(), worker, []int64{a.Execution}); err != nil {
					t.Error(err)
				}
				w.clock.advance(time.Duration(random.IntN(300_000)) * time.Microsecond)
			}
			if err := w.tryReport(worker, a.Execution); err != nil {
				t.Error(err)
			}
		}
	})
	if n := w.auditRule(key); n < 20 {
		t.Fatalf("only %d executions to judge", n)
	}
	overtakenPushes(w)
}

// overtakenPushes sends jobs from many callers at once: of two pushes of which
// one was answered before the other was sent, the first starts first.
func overtakenPushes(w *world) {
	w.t.Helper()
	w.script("f/a/pushed")
	type push struct {
		id             string
		sent, answered int64
	}
	var clock atomic.Int64
	var mu sync.Mutex
	var pushes []push
	atOnce(8, func(int) {
		for range 10 {
			p := push{sent: clock.Add(1)}
			ids, err := w.Submit(w.ctx(), []engine.NewJob{{Workspace: "main", Path: "f/a/pushed", Tag: "pushed"}})
			if err != nil {
				w.t.Error(err)
				return
			}
			p.id, p.answered = ids[0], clock.Add(1)
			mu.Lock()
			pushes = append(pushes, p)
			mu.Unlock()
		}
	})
	place := map[string]int{}
	for i, id := range jobsOf(w.take("w1", 100, "pushed")) {
		place[id] = i
	}
	if len(place) != 80 {
		w.t.Fatalf("%d of 80 jobs started", len(place))
	}
	for _, a := range pushes {
		for _, b := range pushes {
			if a.answered < b.sent && place[a.id] > place[b.id] {
				w.t.Fatalf("a push answered before another was sent started after it")
			}
		}
	}
}

// A4: jobs that are due at the same microsecond start in the order in which
// they arrived, whether at once or later, in one call or several, and also
// where a group's jobs need different tags.
func TestA4_EqualDueTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/same", "concurrent_limit", 1)
	due := func(n *engine.NewJob) { n.ScheduledFor = w.clock.wall.Add(time.Minute) }
	var want []string
	want = append(want, w.pushN("f/a/same", 3)...)
	want = append(want, w.push("f/a/same", tag("other")), w.push("f/a/same"), w.push("f/a/same", tag("other")))
	for range 3 {
		want = append(want, w.push("f/a/same", due))
		want = append(want, w.push("f/a/same", due, tag("other")))
		want = append(want, w.pushN("f/a/same", 2, due)...)
	}
	w.clock.advance(time.Minute)
	var got []string
	for range want {
		as := w.take("w1", 5, "bash", "other")
		got = append(got, jobsOf(as)...)
		w.report("w1", as...)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("started %v, arrived %v", got, want)
	}
}

// A5: a job that outlives every lease, window and retention keeps its slot as
// long as its worker is heard.
func TestA5_LongerThanAnyLease(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, engine.Options{Retention: time.Hour})
	w.script("f/a/long", "concurrent_limit", 1, "concurrency_time_window_s", 60)
	ids := w.pushN("f/a/long", 2)
	w.beat("w1", 0)
	a := w.mustTake("the first", ids[0])
	w.confirm("w1", a...)
	for i := range 250 {
		w.clock.advance(engine.DefaultLostAfter - time.Microsecond)
		w.reap(w.Engine)
		if orders := w.beat("w1", w.takes, a...); len(orders) > 0 {
			t.Fatalf("after %d heartbeats the worker is told %+v", i, orders)
		}
		if i%20 == 0 {
			w.clean()
			w.mustTake("while it runs")
		}
	}
	w.report("w1", a...)
	w.clock.advance(time.Minute - time.Microsecond)
	w.mustTake("within the window of its end")
	w.clock.advance(time.Microsecond)
	w.mustTake("after its window", ids[1])
	if j := w.job(ids[0]); j.Lost != 0 || j.Outcome != sluice.OutcomeSuccess {
		t.Fatalf("the long job: lost %d times, %s", j.Lost, j.Outcome)
	}
}

// A6: an end that is told twice frees one slot: reported by two calls at once
// or twice in one call, reported while it is cancelled, with force too, and reported by a worker
// that is being given up. N = 1 stays 1 over a thousand rounds: 200 on each of
// five keys.
func TestA6_TheSameEndTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/twice", "concurrent_limit", 1, "concurrency_key", "$args[k]", "max_lost_attempts", 1)
	keys := []string{"a", "b", "c", "d", "e"}
	for _, key := range keys {
		w.pushN("f/a/twice", 203, keyed(key))
	}
	w.beat("w1", 0)
	late := 0
	for round := range 200 {
		w.clock.advance(time.Millisecond)
		as := w.take("w1", 3*len(keys))
		if len(as) != len(keys) {
			t.Fatalf("round %d: %d started, want one of each of %d keys", round, len(as), len(keys))
		}
		if round%8 == 0 { // and so they are lost below, and struck out when round%8 is 4
			w.confirm("w1", append(as, as...)...)
		}
		var first []error
		atOnce(2, func(i int) {
			switch {
			case i == 0:
				first = w.Report(w.ctx(), reportsOf(as))
			case round%4 == 0: // given up: a heartbeat that does not list them
				if _, err := w.Heartbeat(w.ctx(), sluice.Heartbeat{Worker: "w1", Tags: []string{"bash"}, Places: 9, SettledTake: w.takes}); err != nil {
					t.Error(err)
				}
			case round%4 == 1:
				if err := errors.Join(w.Report(w.ctx(), reportsOf(append(as, as...)))...); err != nil {
					t.Error(err)
				}
			default:
				if _, err := w.Cancel(w.ctx(), "main", jobsOf(as), "admin", "", round%4 == 3); err != nil {
					t.Error(err)
				}
			}
		})
		again := first
		if round%8 < 4 {
			again = w.Report(w.ctx(), reportsOf(as))
		}
		for i, err := range first {
			if err != nil {
				late++
				wantCode(t, "the late report", err, sluice.CodeConflict, "")
			}
			if err != nil && round%4 != 0 || (again[i] == nil) != (err == nil) {
				t.Fatalf("round %d: reported: %v, and again: %v", round, err, again[i])
			}
		}
	}
	starts := 0
	for _, key := range keys {
		if n := w.group(key).Running; n != 0 {
			t.Fatalf("%d slots held after all ends", n)
		}
		starts += w.auditRule(key)
		for _, x := range w.history(key) {
			if x.Held() || (x.EndNo == 0) != (x.End == sluice.EndStruck) {
				t.Fatalf("execution %+v", x)
			}
		}
	}
	if starts+late < 1000 {
		t.Fatalf("%d starts and %d late reports, want 1000 in all", starts, late)
	}
}

func reportsOf(as []sluice.Assignment) []sluice.Report {
	out := make([]sluice.Report, len(as))
	for i, a := range as {
		out[i] = sluice.Report{Execution: a.Execution, Worker: "w1", Success: true, Launched: true}
	}
	return out
}
