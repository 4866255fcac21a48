package engine_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// C3: 1,000 waiters, pushed in calls of any size, N = 3, random durations, with
// and without a window: they start in the order of their arrival, and none
// waits while a slot is free.
func TestC3_StartOrderIsArrivalOrder(t *testing.T) {
	t.Parallel()
	for _, window := range []int{0, 2} {
		t.Run(fmt.Sprintf("window %d s", window), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			rnd := rand.New(rand.NewPCG(3, 3))
			w.script("f/c/api", "concurrent_limit", 3, "concurrency_time_window_s", window)
			var ids, started []string
			jobs := sized(1000, 300)
			var running endHeap
			for len(started) < jobs {
				if n := min(1+rnd.IntN(50), jobs-len(ids)); n > 0 {
					ids = append(ids, w.pushN("f/c/api", n)...)
				}
				got := w.take("w1", 10)
				for _, a := range got {
					heap.Push(&running, ending{w.clock.Wall().Add(time.Duration(1+rnd.IntN(3000)) * time.Millisecond), a})
				}
				started = append(started, jobsOf(got)...)
				if window == 0 && len(running) < 3 && len(started) < len(ids) {
					t.Fatalf("%d run, and %d wait", len(running), len(ids)-len(started))
				}
				if len(running) > 0 {
					e := heap.Pop(&running).(ending)
					w.clock.advance(e.at.Sub(w.clock.Wall()))
					w.report("w1", e.Assignment)
				} else {
					w.clock.advance(100 * time.Millisecond)
				}
			}
			if !slices.Equal(started, ids) {
				t.Fatal("they did not start in the order of their arrival")
			}
			w.auditRule("main/script/f/c/api")
		})
	}
}

// ending is when an execution ends.
type ending struct {
	at time.Time
	sluice.Assignment
}

type endHeap []ending

func (h endHeap) Len() int           { return len(h) }
func (h endHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h endHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *endHeap) Push(x any)        { *h = append(*h, x.(ending)) }
func (h *endHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// C4: jobs of the group that are scheduled for later, of whatever priority and
// tag, change nothing for those that are due now; when they are due they stand
// where their rank is.
func TestC4_ScheduledForLaterChangesNothing(t *testing.T) {
	t.Parallel()
	play := func(later bool) (starts []string, w *world, scheduled []string) {
		w = newWorld(t)
		w.script("f/c/api", "concurrent_limit", 2, "concurrency_time_window_s", 10)
		if later {
			scheduled = append(scheduled, w.push("f/c/api", in(time.Hour), priority(100)))
			scheduled = append(scheduled, w.push("f/c/api", in(time.Hour)), w.push("f/c/api", in(time.Hour), tag("gpu")))
		}
		ids := w.pushN("f/c/api", 8)
		for second := range 60 {
			got := w.take("w1", 5, "bash", "gpu")
			for _, a := range got {
				starts = append(starts, fmt.Sprintf("%d s: job %d", second, slices.Index(ids, a.JobID)))
			}
			w.clock.advance(time.Second)
			w.reportAll("w1", got)
		}
		return starts, w, scheduled
	}
	alone, _, _ := play(false)
	beside, w, scheduled := play(true)
	if len(alone) != 8 || !slices.Equal(alone, beside) {
		t.Fatalf("with jobs scheduled for later\n%v, without\n%v", beside, alone)
	}
	for _, id := range scheduled {
		if wait := w.job(id).Wait; wait.Reason != sluice.ReasonScheduled || !wait.NotBefore.Equal(w.job(id).ScheduledFor) {
			t.Fatalf("a scheduled job is told %+v", wait)
		}
	}
	w.clock.advance(time.Hour - 60*time.Second - time.Microsecond)
	last := w.push("f/c/api")
	first := w.mustTake("a microsecond before they are due", last)
	w.clock.advance(time.Microsecond)
	w.mustTake("the first in rank, and one slot", scheduled[0])
	w.report("w1", first...)
}

// C5: the first jobs of a group need a tag that no worker serves. Neither other
// groups nor other tags of the same group wait for them, whether they have room
// or not; they keep their rank, and when a worker comes they are first.
func TestC5_TagThatNobodyServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/c/strict", "concurrent_limit", 1, "concurrency_key", "shared", "tag", "gpu")
	w.script("f/c/lax", "concurrent_limit", 3, "concurrency_key", "shared")
	w.script("f/c/other", "concurrent_limit", 2)
	w.script("f/c/free")
	gpu := w.pushN("f/c/strict", 50)
	lax := w.pushN("f/c/lax", 6)
	other := w.pushN("f/c/other", 2)
	free := w.push("f/c/free")
	got := w.take("w1", 50)
	want := slices.Concat(lax[:3], other, []string{free})
	if started := jobsOf(got); !sameSet(started, want) {
		t.Fatalf("started %v, want %v", started, want)
	}
	// The strict ones have no room now; the lax ones that do are not held back.
	w.report("w1", pick(got, lax[0])...)
	second := w.mustTake("one lax slot is free", lax[3])
	w.report("w1", slices.Concat(pick(got, lax[1]), pick(got, lax[2]), second)...)
	third := w.take("w2", 1, "bash", "gpu")
	if len(third) != 1 || third[0].JobID != gpu[0] {
		t.Fatalf("a place that serves both tags took %v, want the first in rank %s", jobsOf(third), gpu[0])
	}
	w.mustTake("beside the strict one", lax[4], lax[5])
	if got := w.take("w2", 5, "gpu"); len(got) != 0 {
		t.Fatalf("over the strict limit: %v", jobsOf(got))
	}
}

// pick returns the assignments of these jobs.
func pick(as []sluice.Assignment, ids ...string) []sluice.Assignment {
	return slices.DeleteFunc(slices.Clone(as), func(a sluice.Assignment) bool { return !slices.Contains(ids, a.JobID) })
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// C6: a job of high priority arrives behind 1,000 of low priority, in its own
// group, in another one, and without a limit. It is the next to start.
func TestC6_HighPriorityStartsNext(t *testing.T) {
	t.Parallel()
	low := sized(1000, 200)
	for _, where := range []string{"f/c/low", "f/c/other", "f/c/free"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.script("f/c/low", "concurrent_limit", 2)
			w.script("f/c/other", "concurrent_limit", 1)
			w.script("f/c/free")
			ids := w.pushN("f/c/low", low)
			behind := w.pushN("f/c/other", 2)
			free := w.push("f/c/free")
			first := w.mustOne("the oldest line", ids[0])
			w.mustOne("round by round", behind[0])
			w.report("w1", first)
			for _, p := range []int{1, 3, 2} { // the next to start is the highest, not the newest
				w.push(where, priority(p))
			}
			high := w.push(where, priority(5))
			if where == "f/c/other" {
				w.mustOne("its group is full: it holds up nobody else", free)
				w.reportAll("w1", w.assigned(behind[0]))
			}
			w.mustOne("the high one", high)
		})
	}
}

// mustOne takes with one place and wants this job.
func (w *world) mustOne(what, want string) sluice.Assignment {
	w.t.Helper()
	got := w.take("w1", 1)
	if len(got) != 1 || got[0].JobID != want {
		w.t.Fatalf("%s: took %v, want %s", what, jobsOf(got), want)
	}
	return got[0]
}

// assigned returns the newest execution of a job as an assignment.
func (w *world) assigned(job string) []sluice.Assignment {
	w.t.Helper()
	x := w.job(job).Execution
	return []sluice.Assignment{{Execution: x.ID, JobID: job, Attempt: x.Attempt}}
}

// C7: one key with a strict first job (N = 1) before lax ones (N = 10), tags
// mixed, and places that serve one tag or several. Who is first among those
// that a place could run decides for that place: a strict one without room lets
// nobody pass; where its tag is not served it is passed over.
func TestC7_StrictHeadBeforeLaxOnes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		serves []string
		full   []string // who starts while the strict one has no room
		free   []string // who starts when it has
	}{
		{"a place of its tag", []string{"a"}, nil, []string{"strict a", "lax a"}},
		{"a place of the other tag", []string{"b"}, []string{"lax b", "lax b 2"}, nil},
		{"a place of both tags", []string{"a", "b"}, nil, []string{"strict a", "lax a", "lax b", "lax b 2"}},
		{"a place of both and a third", []string{"a", "b", "c"}, nil, []string{"strict a", "lax a", "lax b", "lax b 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.script("f/c/strict", "concurrent_limit", 1, "concurrency_key", "shared", "tag", "a")
			w.script("f/c/lax", "concurrent_limit", 10, "concurrency_key", "shared", "tag", "a")
			names := map[string]string{}
			_, err := w.Heartbeat(w.ctx(), sluice.Heartbeat{Worker: "w1", Tags: c.serves, Places: 10})
			w.must(err)
			push := func(name, path, t string) { names[w.push(path, tag(t))] = name }
			push("holder", "f/c/lax", "a")
			holder := w.take("w1", 1, "a")
			push("strict a", "f/c/strict", "a")
			push("lax a", "f/c/lax", "a")
			push("lax b", "f/c/lax", "b")
			push("lax b 2", "f/c/lax", "b")
			started := func(what string, want []string) {
				t.Helper()
				var got []string
				for range 5 { // one place at a time, as many as there are jobs
					for _, a := range w.take("w1", 1, c.serves...) {
						got = append(got, names[a.JobID])
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%s: started %q, want %q", what, got, want)
				}
			}
			started("the strict one has no room", c.full)
			for id, name := range names {
				if name != "lax b" || len(c.serves) == 1 {
					continue
				}
				if wait := w.job(id).Wait; wait.Reason != sluice.ReasonBehind {
					t.Errorf("a lax one behind it is told %s, also %v", wait.Reason, wait.Also)
				}
			}
			w.report("w1", holder...)
			started("it has", c.free)
		})
	}
}

// C8: jobs that would rather fail than wait are judged once, when they are due:
// at the edge to the number and the microsecond, counting who is ahead of them
// and not who is behind, whoever serves their tag, paused or not.
func TestC8_FailInsteadOfWaiting(t *testing.T) {
	t.Parallel()
	const k = "shared"
	setup := func(t *testing.T, n, window int) *world {
		t.Parallel()
		w := newWorld(t)
		w.script("f/c/fail", "concurrent_limit", n, "concurrency_time_window_s", window, "concurrency_key", k, "on_concurrency_limit", "fail")
		w.script("f/c/wait", "concurrent_limit", n, "concurrency_time_window_s", window, "concurrency_key", k)
		return w
	}
	passes := func(w *world, what string, ids ...string) {
		w.t.Helper()
		for _, id := range ids {
			if j := w.job(id); j.State == sluice.StateCompleted {
				w.t.Fatalf("%s: it failed: %s", what, j.Result)
			}
		}
	}
	fails := func(w *world, what string, ids ...string) {
		w.t.Helper()
		for _, id := range ids {
			j := w.job(id)
			if j.State != sluice.StateCompleted || errorName(w.t, j.Result) != "ConcurrencyLimitExceeded" {
				w.t.Fatalf("%s: it is %s %s", what, j.State, j.Result)
			}
		}
	}
	t.Run("at the edge", func(t *testing.T) {
		w := setup(t, 2, 10)
		passes(w, "nothing counts", w.push("f/c/fail"))
		a := w.take("w1", 1)
		passes(w, "one is held of two", w.push("f/c/fail"))
		a = append(a, w.take("w1", 1)...)
		fails(w, "two are held of two", w.push("f/c/fail"))
		w.report("w1", a[0])
		fails(w, "one is held, one counts", w.push("f/c/fail"))
		w.clock.advance(10*time.Second - time.Microsecond)
		last := w.push("f/c/fail")
		fails(w, "a microsecond before its window ends", last)
		retry := w.clock.Wall().Add(time.Microsecond).Format(time.RFC3339Nano)
		if want := fmt.Sprintf(`"retry_at":%q`, retry); !containsAll(string(w.job(last).Result), want, `"key":"shared"`, `"concurrent_limit":2`, `"concurrency_time_window_s":10`) {
			t.Fatalf("it is told %s, not %s", w.job(last).Result, want)
		}
		w.clock.advance(time.Microsecond)
		passes(w, "when it has ended", w.push("f/c/fail"))
		if g := w.row(k); g.Taken != 2 || g.Waiting != 1 {
			t.Fatalf("%d were taken, %d wait: the refused ones count", g.Taken, g.Waiting)
		}
	})
	t.Run("waiters ahead, no worker", func(t *testing.T) {
		w := setup(t, 3, 0)
		w.pushN("f/c/wait", 2, tag("gpu")) // there is room for both, and nobody to run them
		second := w.push("f/c/fail")
		passes(w, "two are ahead of it, of three", second)
		fails(w, "three are ahead of it", w.push("f/c/fail"), w.push("f/c/fail", tag("gpu"), priority(-1)))
		passes(w, "who is behind it does not count", w.push("f/c/fail", priority(1)))
		w.override(k, 1, nil, "")
		w.clock.advance(time.Hour)
		w.take("w1", 1, "bash", "gpu")
		passes(w, "who passed is not failed later", second)
	})
	t.Run("paused", func(t *testing.T) {
		w := setup(t, 1, 0)
		_, err := w.Pause(w.ctx(), k, engine.PauseChange{By: "admin"})
		w.must(err)
		id := w.push("f/c/fail")
		passes(w, "a pause is no limit", id)
		fails(w, "one is ahead of it", w.push("f/c/fail"))
		w.mustTake("paused")
		_, err = w.Resume(w.ctx(), k, "admin", "")
		w.must(err)
		w.mustTake("resumed", id)
	})
	t.Run("many in one call", func(t *testing.T) {
		w := setup(t, 3, 0)
		ids := w.pushN("f/c/fail", 10)
		passes(w, "the first three", ids[:3]...)
		fails(w, "the others", ids[3:]...)
		w.mustTake("those that passed", ids[:3]...)
	})
	t.Run("many scheduled for one instant", func(t *testing.T) {
		w := setup(t, 3, 60)
		at := w.clock.Wall().Add(time.Hour)
		var ids []string
		for range 10 {
			ids = append(ids, w.push("f/c/fail", func(n *engine.NewJob) { n.ScheduledFor = at }))
		}
		urgent := w.push("f/c/fail", priority(1), func(n *engine.NewJob) { n.ScheduledFor = at })
		running := w.mustTake("before", w.push("f/c/wait"))
		w.clock.advance(time.Hour - time.Microsecond)
		w.mustTake("a microsecond before")
		passes(w, "a microsecond before", ids...)
		w.clock.advance(time.Microsecond)
		w.mustTake("one is held, so two start: the first in rank", urgent, ids[0])
		fails(w, "the others", ids[1:]...)
		w.report("w1", running...)
		fails(w, "the others, when there is room", ids[1:]...)
	})
}

func containsAll(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) })
}
