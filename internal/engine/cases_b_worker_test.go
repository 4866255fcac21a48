package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// B1: a worker is killed while its job runs, while it was handed the job and
// has not confirmed the launch, and while it reports the end, with the report
// lost or only its answer. The slot comes back at exactly lost_after, once; the
// job runs again in its old rank unless its end was recorded; what the dead
// worker still says is refused.
func TestB1_WorkerKilledInEveryPhase(t *testing.T) {
	t.Parallel()
	const window = 10 * time.Second
	for _, phase := range []struct {
		name      string
		confirmed bool
		reports   string // where its report breaks
	}{
		{name: "while running", confirmed: true},
		{name: "while taken and not confirmed"},
		{name: "while reporting, report lost", confirmed: true, reports: breaksInside},
		{name: "while reporting, answer lost", confirmed: true, reports: breaksAfter},
	} {
		t.Run(phase.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.brittle()
			k := "main/script/f/b/one"
			w.script("f/b/one", "concurrent_limit", 1, "concurrency_time_window_s", 10)
			ids := w.pushN("f/b/one", 2)
			w.beat("w1", 0)
			first := w.mustTake("the worker that dies", ids[0])[0]
			if phase.confirmed {
				w.confirm("w1", first)
			}
			if phase.reports != "" {
				s.next(phase.reports)
				if w.tryReport("w1", first.Execution) == nil {
					t.Fatal("the report was answered")
				}
			}
			recorded := phase.reports == breaksAfter

			w.clock.advance(engine.DefaultLostAfter - time.Microsecond)
			w.reap(w.Engine)
			if !recorded {
				w.holdersAre("a microsecond before lost_after", k, first)
				w.mustTake("while the slot is held")
			}
			w.clock.advance(time.Microsecond)
			w.reap(w.Engine)
			w.reap(w.Engine)
			w.holdersAre("at lost_after", k)
			if g := w.row(k); g.Released != 1 || g.Launched != 1 {
				t.Fatalf("one execution was released %d times, launched %d times", g.Released, g.Launched)
			}

			next := ids[1] // its window ran while its worker was waited for
			if !recorded {
				next = ids[0]
				w.clock.advance(window - time.Microsecond)
				w.mustTake("a lost attempt counts for its window")
				w.clock.advance(time.Microsecond)
			}
			second := w.take("w2", 5)
			if len(second) != 1 || second[0].JobID != next {
				t.Fatalf("took %v, want %s", jobsOf(second), next)
			}
			if err := w.tryReport("w1", first.Execution); recorded != (err == nil) || !recorded && sluice.CodeOf(err) != sluice.CodeConflict {
				t.Fatalf("a report of the dead worker: %v", err)
			}
			if _, err := w.Heartbeat(w.ctx(), sluice.Heartbeat{Worker: "w1", SettledTake: 1}); err != nil {
				t.Fatal(err)
			}
			w.holdersAre("after the dead worker's words", k, second...)
			w.report("w2", second...)
			w.clock.advance(window)
			w.drain("w2", 5)
			w.completed(sluice.OutcomeSuccess, ids...)
			w.auditRule(k)
		})
	}
}

// B1, with many workers: one whose process is known to be gone loses what it
// holds at once, however many others hold something and were heard of earlier.
func TestB1_OneOfManyWorkersIsGone(t *testing.T) {
	t.Parallel()
	const workers = 30
	w := newWorld(t)
	w.script("f/b/many", "concurrent_limit", workers)
	w.pushN("f/b/many", workers)
	var held []sluice.Assignment
	for i := range workers {
		w.clock.advance(time.Millisecond)
		worker := fmt.Sprintf("w%d", i)
		_, err := w.Heartbeat(w.ctx(), sluice.Heartbeat{Worker: worker, Instance: "host of " + worker, Tags: []string{"bash"}, Places: 1})
		w.must(err)
		held = append(held, w.take(worker, 1)...)
	}
	w.must(w.InstanceGone(w.ctx(), fmt.Sprintf("host of w%d", workers-1)))
	w.holdersAre("after the last one went", "main/script/f/b/many", held[:workers-1]...)
}

// B2: the store refuses or drops the connection in the middle of a release, by
// report or by loss, once or three times running. The release is repeated, and
// the slot comes back once.
func TestB2_ConnectionDroppedInTheRelease(t *testing.T) {
	t.Parallel()
	for _, where := range []string{breaksBefore, breaksInside, breaksAfter} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, lost %v", where, lost), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				s := w.brittle()
				k := "main/script/f/b/one"
				w.script("f/b/one", "concurrent_limit", 1)
				ids := w.pushN("f/b/one", 4)
				w.beat("w1", 0)
				held := w.mustTake("first", ids[0])
				w.confirm("w1", held...)
				release := func() error { return w.tryReport("w1", held[0].Execution) }
				next := ids[1]
				if lost {
					next = ids[0]
					w.clock.advance(engine.DefaultLostAfter)
					release = func() error { _, err := w.Reap(w.ctx()); return err }
				}
				s.next(where, where, where)
				for range 3 {
					if err := release(); err == nil {
						t.Fatal("the release was answered")
					}
				}
				for range 3 {
					if err := release(); err != nil {
						t.Fatalf("the release, repeated: %v", err)
					}
					w.clock.advance(engine.DefaultLostAfter) // from when the store answers again
				}
				w.holdersAre("after the release", k)
				if g := w.row(k); g.Taken != 1 || g.Launched != 1 || g.Released != 1 {
					t.Fatalf("%d taken, %d launched, %d released", g.Taken, g.Launched, g.Released)
				}
				if n := w.job(ids[0]).Lost; lost && n != 1 {
					t.Fatalf("one attempt was lost, %d are noted", n)
				}
				got := w.take("w2", 10)
				if len(got) != 1 || got[0].JobID != next {
					t.Fatalf("took %v, want %s alone", jobsOf(got), next)
				}
				w.holdersAre("after the next start", k, got...)
			})
		}
	}
}

// B10: the server is stopped for longer than a part of the history counts, and
// started again. What is older than W counts no longer, what is younger does,
// to the microsecond; a slot that is held stays held.
func TestB10_StoppedForLongerThanTheWindow(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"end", "start"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.script("f/b/api", "concurrent_limit", 3, "concurrency_time_window_s", 60, "concurrency_window_from", mode)
			ids := w.pushN("f/b/api", 6)
			k := "main/script/f/b/api"
			held := w.mustTake("at 0 s", ids[:3]...)
			w.confirm("w1", held[0])
			w.report("w1", held[0])
			w.clock.advance(30 * time.Second)
			w.confirm("w1", held[1])
			w.report("w1", held[1])
			w.close()
			w.clock.advance(30*time.Second - time.Microsecond)
			w.open()
			w.holdersAre("after the stop", k, held[2])
			w.mustTake("a microsecond before the oldest end is W old")
			w.close()
			w.clock.advance(15*time.Second + time.Microsecond)
			w.open()
			second := w.mustTake("the oldest end is older than W", ids[3])
			w.report("w1", second...)
			w.clock.advance(15*time.Second - time.Microsecond)
			w.mustTake("a microsecond before the other end is W old")
			w.clock.advance(time.Microsecond)
			w.mustTake("the other end is W old", ids[4])
			w.auditRule(k)
		})
	}
}

// B12: a job kills its worker every time, N = 1, and 100 good jobs are behind
// it. It gets max_lost_attempts new attempts, each in its old rank, then fails
// with WorkerLost, and the good ones run, in order, nothing lost.
func TestB12_JobThatKillsItsWorker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ settings, attempts int }{{-1, 4}, {0, 1}, {2, 3}} {
		t.Run(fmt.Sprintf("max_lost_attempts %d", c.settings), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			k := "main/script/f/b/killer"
			settings := []any{"concurrent_limit", 1}
			if c.settings >= 0 {
				settings = append(settings, "max_lost_attempts", c.settings)
			}
			w.script("f/b/killer", settings...)
			ids := w.pushN("f/b/killer", 101)
			attempts := 0
			for attempts < 10 {
				worker := fmt.Sprintf("w%d", attempts)
				w.beat(worker, 0)
				got := w.take(worker, 10)
				if len(got) != 1 {
					t.Fatalf("after %d lost attempts: took %v", attempts, jobsOf(got))
				}
				if got[0].JobID != ids[0] {
					w.reportAll(worker, got)
					break
				}
				if attempts++; got[0].Attempt != attempts {
					t.Fatalf("attempt %d is numbered %d", attempts, got[0].Attempt)
				}
				w.confirm(worker, got...)
				w.clock.advance(engine.DefaultLostAfter)
				w.reap(w.Engine)
				w.holdersAre("after a loss", k)
			}
			if attempts != c.attempts {
				t.Fatalf("the job was attempted %d times, want %d", attempts, c.attempts)
			}
			if bad := w.job(ids[0]); bad.Outcome != sluice.OutcomeFailure || errorName(t, bad.Result) != "WorkerLost" || bad.Lost != attempts {
				t.Fatalf("the job ended as %s with %s after %d losses", bad.Outcome, bad.Result, bad.Lost)
			}
			order := w.drain("w", 10)
			if strings.Join(order, " ") != strings.Join(ids[2:], " ") {
				t.Fatalf("the jobs behind it ran as %v", order)
			}
			w.completed(sluice.OutcomeSuccess, ids[1:]...)
			w.auditRule(k)
		})
	}
}

// errorName returns the name of the error that a result holds.
func errorName(t testing.TB, result json.RawMessage) string {
	t.Helper()
	var r struct{ Error struct{ Name string } }
	if err := json.Unmarshal(result, &r); err != nil {
		t.Fatalf("result %s: %v", result, err)
	}
	return r.Error.Name
}

// B13: a worker dies between asking for work and the answer. What it was given
// meanwhile comes back: struck out at the first heartbeat that was sent after
// the answer was due and does not list it, and not at one sent before; or lost
// when it is silent, also if it was never heard of at all.
func TestB13_WorkerDiesBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	t.Run("its heartbeat does not list it", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		k := "main/script/f/b/api"
		w.script("f/b/api", "concurrent_limit", 1, "concurrency_time_window_s", 3600)
		ids := w.pushN("f/b/api", 2)
		w.beat("w1", 0)
		lost := w.mustTake("an answer that never arrives", ids[0])
		w.beat("w1", w.takes-1)
		w.holdersAre("after a heartbeat sent before the answer was due", k, lost...)
		w.beat("w1", w.takes)
		w.holdersAre("after one sent later", k)
		got := w.take("w2", 5)
		if len(got) != 1 || got[0].JobID != ids[0] || got[0].Attempt != 2 {
			t.Fatalf("what was struck out counts, or lost its rank: took %+v", got)
		}
		if g := w.row(k); g.Struck != 1 || g.Launched != 0 {
			t.Fatalf("%d struck out, %d launched", g.Struck, g.Launched)
		}
	})
	for _, heard := range []bool{true, false} {
		t.Run(fmt.Sprintf("silent from then on, heard of before %v", heard), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			k := "main/script/f/b/api"
			w.script("f/b/api", "concurrent_limit", 1)
			ids := w.pushN("f/b/api", 2)
			w.clock.advance(time.Hour)
			if heard {
				w.beat("w1", 0)
			}
			lost := w.mustTake("an answer that never arrives", ids[0])
			w.clock.advance(engine.DefaultLostAfter - time.Microsecond)
			w.reap(w.Engine)
			w.holdersAre("before lost_after", k, lost...)
			w.clock.advance(time.Microsecond)
			w.reap(w.Engine)
			w.holdersAre("at lost_after", k)
			if got := w.take("w2", 5); len(got) != 1 || got[0].JobID != ids[0] {
				t.Fatalf("took %v, want the lost job %s", jobsOf(got), ids[0])
			}
		})
	}
	t.Run("it goes while the answer is made", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.brittle()
			w.script("f/b/api", "concurrent_limit", 1)
			defer w.run()()
			synctest.Wait()
			id := w.push("f/b/api")
			synctest.Wait()
			made := make(chan struct{})
			s.before(func() { <-made })
			ctx, leave := context.WithCancel(w.ctx())
			var got []sluice.Assignment
			var asking sync.WaitGroup
			asking.Go(func() {
				var err error
				got, err = w.Take(ctx, sluice.TakeRequest{Worker: "w1", TakeNo: 1, Tags: []string{"bash"}, Places: 1, Wait: time.Minute})
				w.must(err)
			})
			synctest.Wait() // the dispatcher is at it
			leave()
			synctest.Wait()
			s.before(nil)
			close(made)
			asking.Wait()
			if len(got) != 1 || got[0].JobID != id {
				t.Fatalf("it was told of %v, and holds %s", jobsOf(got), id)
			}
			w.holdersAre("after it left", "main/script/f/b/api", got...)
		})
	})
}

// B13, second half: the last worker of a tag leaves. Jobs of the tag then say
// that nobody serves it, jobs of other tags do not.
func TestB13_LastWorkerOfATagLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/b/free")
	w.script("f/b/gpu", "tag", "gpu", "concurrent_limit", 1)
	beat := func(worker string, tags ...string) {
		_, err := w.Heartbeat(w.ctx(), sluice.Heartbeat{Worker: worker, Instance: "host of " + worker, Tags: tags, Places: 1})
		w.must(err)
	}
	reason := func(id string) sluice.Reason { t.Helper(); return w.job(id).Wait.Reason }
	beat("w1", "bash")
	beat("w2", "gpu")
	beat("w3", "gpu")
	ids := w.pushN("f/b/gpu", 2)
	other := w.push("f/b/free")
	if r := reason(ids[0]); r != sluice.ReasonWorkersBusy {
		t.Fatalf("with two workers: %s", r)
	}
	w.must(w.InstanceGone(w.ctx(), "host of w2"))
	if r := reason(ids[0]); r != sluice.ReasonWorkersBusy {
		t.Fatalf("with one worker left: %s", r)
	}
	w.must(w.InstanceGone(w.ctx(), "host of w3"))
	if r := reason(ids[0]); r != sluice.ReasonNoWorker {
		t.Fatalf("the last worker is known to be gone: %s", r)
	}
	if r := reason(ids[1]); r != sluice.ReasonBehind {
		t.Fatalf("the second in line: %s", r)
	}
	if r := reason(other); r != sluice.ReasonWorkersBusy {
		t.Fatalf("another tag: %s", r)
	}
	beat("w4", "gpu")
	if r := reason(ids[0]); r != sluice.ReasonWorkersBusy {
		t.Fatalf("a new worker came: %s", r)
	}
	w.clock.advance(engine.DefaultStopAfter - time.Microsecond)
	beat("w1", "bash")
	if r := reason(ids[0]); r != sluice.ReasonWorkersBusy {
		t.Fatalf("within stop_after: %s", r)
	}
	w.clock.advance(2 * time.Microsecond)
	if r := reason(ids[0]); r != sluice.ReasonNoWorker {
		t.Fatalf("its last worker fell silent: %s", r)
	}
	if r := reason(other); r != sluice.ReasonWorkersBusy {
		t.Fatalf("another tag: %s", r)
	}
}

// B14: the server, or its database, is away for longer than lost_after, and
// back. Nothing is declared lost before lost_after has passed since it could
// hear again; who speaks up in time keeps its job and reports it; who does not
// is lost then, and only then is its job attempted anew.
func TestB14_AwayForLongerThanLostAfter(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"server", "database, as reaping sees", "database, as heartbeats see"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.brittle()
			k := "main/script/f/b/api"
			w.script("f/b/api", "concurrent_limit", 2)
			ids := w.pushN("f/b/api", 3)
			w.beat("w1", 0)
			w.beat("w2", 0)
			a, b := w.take("w1", 1), w.take("w2", 1)
			w.confirm("w1", a...)
			w.confirm("w2", b...)
			if what == "server" {
				w.close()
			}
			for range 60 { // longer than lost_after
				w.clock.advance(10 * time.Second)
				switch what {
				case "database, as reaping sees":
					s.next(breaksInside)
					if _, err := w.Reap(w.ctx()); err == nil {
						t.Fatal("the database was there")
					}
				case "database, as heartbeats see":
					s.next(breaksBefore)
					if _, err := w.Heartbeat(w.ctx(), sluice.Heartbeat{Worker: "w1"}); err == nil {
						t.Fatal("a heartbeat was heard")
					}
				}
			}
			if what == "server" {
				w.open()
			}
			w.reap(w.Engine)
			w.holdersAre("just back", k, a[0], b[0])
			w.clock.advance(engine.DefaultLostAfter - time.Microsecond)
			w.beat("w1", w.takes, a...)
			w.reap(w.Engine)
			w.holdersAre("before lost_after has passed since", k, a[0], b[0])
			w.clock.advance(time.Microsecond)
			w.reap(w.Engine)
			w.holdersAre("when it has", k, a[0])
			w.report("w1", a...)
			w.completed(sluice.OutcomeSuccess, ids[0])
			again := w.take("w3", 5)
			if len(again) != 2 || again[0].JobID != ids[1] || again[0].Attempt != 2 || again[1].JobID != ids[2] {
				t.Fatalf("started then: %+v", again)
			}
			w.auditRule(k)
		})
	}
}
