package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// claimers keep n long-polling requests for one place each open for a while,
// and return the executions that they were given.
func claimers(w *world, n int, polls int, wait time.Duration) func() []sluice.Assignment {
	var all sync.WaitGroup
	var mu sync.Mutex
	var got []sluice.Assignment
	for i := range n {
		all.Go(func() {
			for poll := range polls {
				as, err := w.Take(w.ctx(), sluice.TakeRequest{
					Worker: fmt.Sprintf("claimer %d", i), TakeNo: int64(poll + 1), Tags: []string{"bash"}, Places: 1, Wait: wait,
				})
				if err != nil {
					w.t.Error(err)
				}
				mu.Lock()
				got = append(got, as...)
				mu.Unlock()
			}
		})
	}
	return func() []sluice.Assignment { all.Wait(); return got }
}

// introduce has each claimer say that it is there.
func introduce(w *world, n int) {
	for i := range n {
		w.beat(fmt.Sprintf("claimer %d", i), 0)
	}
}

// D1: 200 claimers with a free place each before one full group, with the
// dispatcher running, for a minute: they cost the database not one statement,
// whether the group frees by an end or by a window that is long.
func TestD1_ClaimersOfAFullGroup(t *testing.T) {
	for _, window := range []int{0, 3600} {
		t.Run(fmt.Sprintf("window %d s", window), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.script("f/d/full", "concurrent_limit", 1, "concurrency_time_window_s", window)
				w.pushN("f/d/full", 100)
				held := w.take("w1", 1)
				if window > 0 {
					w.reportAll("w1", held)
				}
				w.o.LostAfter, w.o.CleanEvery = 2*time.Hour, 2*time.Hour // housekeeping is not what is counted
				w.on(w.store)
				defer w.run()()
				introduce(w, 200)
				claimers(w, 200, 1, time.Second)()
				synctest.Wait()
				statements, _ := w.cost(func() {
					if got := claimers(w, 200, 6, 10*time.Second)(); len(got) != 0 {
						t.Fatalf("%d started in a full group", len(got))
					}
				})
				if statements != 0 {
					t.Fatalf("200 claimers cost %d statements in a minute", statements)
				}
			})
		})
	}
}

// D2: a start behind 1,000,000 waiting jobs of one key (8,000 under the race
// detector) runs as many statements and reads as many rows as one behind 1,000,
// within a fifth and one; so do a push and a job that would rather fail than wait.
func TestD2_StartCostsTheSameBehindAMillion(t *testing.T) {
	t.Parallel()
	type costs struct{ startStatements, startRows, pushStatements, pushRows int64 }
	measure := func(waiting int) (c costs) {
		w := newWorld(t)
		w.script("f/d/api", "concurrent_limit", 5, "concurrency_key", "one")
		w.script("f/d/fail", "concurrent_limit", 5, "concurrency_key", "one", "on_concurrency_limit", "fail")
		for left := waiting; left > 0; left -= min(left, sluice.MaxBulk) {
			w.pushN("f/d/api", min(left, sluice.MaxBulk))
		}
		running := w.take("w1", 5)
		if len(running) != 5 {
			t.Fatalf("%d started", len(running))
		}
		const starts = 50
		c.startStatements, c.startRows = w.cost(func() {
			for range starts {
				w.clock.advance(time.Millisecond)
				w.report("w1", running[0])
				running = append(running[1:], w.take("w1", 5)...)
				if len(running) != 5 {
					t.Fatalf("%d run", len(running))
				}
			}
		})
		c.pushStatements, c.pushRows = w.cost(func() {
			for range starts {
				w.push("f/d/api")
				w.push("f/d/fail")
			}
		})
		return c
	}
	const each = 2 * 50 // pushes, and more than starts
	few, many := measure(1_000), measure(sized(1_000_000, 8_000))
	t.Logf("behind 1,000: %+v; behind many: %+v", few, many)
	for _, c := range []struct {
		what      string
		few, many int64
	}{
		{"statements of a start", few.startStatements, many.startStatements},
		{"rows of a start", few.startRows, many.startRows},
		{"statements of a push", few.pushStatements, many.pushStatements},
		{"rows of a push", few.pushRows, many.pushRows},
	} {
		if c.many*10 > c.few*12+each*10 || c.few == 0 {
			t.Errorf("%s: %d behind 1,000, %d behind many", c.what, c.few, c.many)
		}
	}
}

// D3: 10,000 groups of 10 jobs each become free at one instant (200 of 5 under
// the race detector). All drain, round by round: no group starts its next job
// before each has had its turn, and none goes over its limit.
func TestD3_ManyGroupsFreeAtOnce(t *testing.T) {
	t.Parallel()
	groups, each := sized(10_000, 200), sized(10, 5)
	w := newWorld(t)
	w.script("f/d/api", "concurrent_limit", 1, "concurrency_key", "$args[k]")
	news := make([]engine.NewJob, groups)
	due := w.clock.Wall().Add(time.Hour)
	for range each {
		for g := range news {
			news[g] = engine.NewJob{Workspace: "main", Path: "f/d/api", ScheduledFor: due, Args: fmt.Appendf(nil, `{"k":"k%d"}`, g)}
		}
		_, err := w.Submit(w.ctx(), news)
		w.must(err)
	}
	w.mustTake("an hour before")
	w.clock.advance(time.Hour)
	had := map[string]int{}
	started := 0
	var held []sluice.Assignment
	take := func(places int) int {
		got := w.take("w1", places)
		for _, a := range got {
			had[string(a.Args)]++
		}
		started += len(got)
		w.reportAll("w1", held)
		held = got
		return len(got)
	}
	for range groups/256 + 1 { // their lines wake, some in each transaction
		if take(1) != 1 {
			t.Fatal("nobody woke")
		}
	}
	for started < groups*each {
		if take(500) == 0 {
			t.Fatalf("%d of %d started, and then nothing", started, groups*each)
		}
		low, high := each, 0
		for _, n := range had {
			low, high = min(low, n), max(high, n)
		}
		if len(had) < groups {
			low = 0
		}
		if high-low > 2 { // one of the round, one of its waking
			t.Fatalf("after %d starts one group had %d, another %d", started, high, low)
		}
	}
	w.reportAll("w1", held)
	if len(had) != groups {
		t.Fatalf("%d of %d groups started anything", len(had), groups)
	}
	for k, n := range had {
		if n != each {
			t.Fatalf("%s had %d starts", k, n)
		}
	}
}

// D4: one slot frees. One waiting job is handed out and one waiting worker is
// answered, by as many statements behind 5,000 waiters as behind 500, and as
// many with 200 workers as with 10.
func TestD4_OneSlotWakesOne(t *testing.T) {
	measure := func(t *testing.T, waiting, workers int) (statements, rows int64) {
		bubble(t, func(t *testing.T, w *world) {
			w.script("f/d/api", "concurrent_limit", 3)
			ids := w.pushN("f/d/api", waiting+3)
			held := w.take("w1", 3)
			defer w.run()()
			introduce(w, workers)
			ctx, leave := context.WithCancel(w.ctx())
			var all sync.WaitGroup
			var mu sync.Mutex
			var got []string
			answered := 0
			for i := range workers {
				all.Go(func() {
					as, err := w.Take(ctx, sluice.TakeRequest{
						Worker: fmt.Sprintf("claimer %d", i), TakeNo: 2, Tags: []string{"bash"}, Places: 1, Wait: time.Minute,
					})
					mu.Lock()
					defer mu.Unlock()
					answered++
					got = append(got, jobsOf(as)...)
					if err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			statements, rows = w.cost(func() {
				w.report("w1", held[1])
				synctest.Wait()
			})
			mu.Lock()
			if answered != 1 || !slices.Equal(got, ids[3:4]) {
				t.Fatalf("one slot freed: %d workers were answered, and got %v", answered, got)
			}
			mu.Unlock()
			leave()
			all.Wait()
		})
		return statements, rows
	}
	s0, r0 := measure(t, 500, 10)
	for _, c := range []struct{ waiting, workers int }{{sized(5000, 1000), 10}, {500, 200}, {sized(5000, 1000), 200}} {
		s, r := measure(t, c.waiting, c.workers)
		t.Logf("%d waiting, %d workers: %d statements, %d rows", c.waiting, c.workers, s, r)
		if s != s0 || r != r0 {
			t.Errorf("%d waiting, %d workers: %d statements and %d rows; behind 500 with 10 workers %d and %d", c.waiting, c.workers, s, r, s0, r0)
		}
	}
}

// D6: 10,000 jobs in one call are one transaction, in their order; one more is
// refused, and of a call with one bad job nothing is stored.
func TestD6_TenThousandInOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/d/api", "concurrent_limit", 50)
	news := make([]engine.NewJob, sluice.MaxBulk+1)
	for i := range news {
		news[i] = engine.NewJob{Workspace: "main", Path: "f/d/api"}
	}
	_, err := w.Submit(w.ctx(), news)
	wantCode(t, "one more than is allowed", err, sluice.CodeInvalid, "jobs")
	news = news[:sluice.MaxBulk]
	news[sluice.MaxBulk-1].Path = "f/d/unknown"
	_, err = w.Submit(w.ctx(), news)
	wantCode(t, "the last names no script", err, sluice.CodeNotFound, fmt.Sprintf("jobs[%d]", sluice.MaxBulk-1))
	if n, err := w.CountJobs(w.ctx(), store.JobFilter{}); err != nil || n != 0 {
		t.Fatalf("%d jobs were stored (%v)", n, err)
	}
	news[sluice.MaxBulk-1].Path = "f/d/api"
	commits := w.store.Stats().Commits
	ids, err := w.Submit(w.ctx(), news)
	w.must(err)
	if n := w.store.Stats().Commits - commits; n != 1 {
		t.Fatalf("it took %d transactions", n)
	}
	jobs, err := w.Jobs(w.ctx(), store.JobFilter{OldestFirst: true, Limit: sluice.MaxBulk + 1})
	w.must(err)
	stored := make([]string, len(jobs))
	for i, j := range jobs {
		stored[i] = j.ID
	}
	if !slices.Equal(stored, ids) {
		t.Fatalf("%d are stored, or in another order than was answered", len(stored))
	}
	for at := 0; at < sized(10_000, 200); at += 50 {
		w.reportAll("w1", w.mustTake("in order", ids[at:at+50]...))
	}
}

// D7: N = 10,000 per 60 s on one key (200 under the race detector), 10,000
// overrides (200), and 1,000 watchers (100), every tenth of which never reads.
// A start deep in the window costs what one in a small window costs, with and
// without the overrides. The stuck watchers hold no memory and hold up neither
// jobs nor the others; when they read at last, they miss nothing.
func TestD7_LargeN_ManyOverrides_StuckWatchers(t *testing.T) {
	w := newWorld(t)
	n, overrides := sized(10_000, 200), sized(10_000, 200)
	w.script("f/d/big", "concurrent_limit", n, "concurrency_time_window_s", 60)
	w.script("f/d/small", "concurrent_limit", 10, "concurrency_time_window_s", 60)
	one := func(path string) [2]int64 {
		id := w.push(path)
		statements, rows := w.cost(func() { w.reportAll("w1", []sluice.Assignment{w.mustOne(path, id)}) })
		return [2]int64{statements, rows}
	}
	fill := func(path string, n int) {
		for left := n; left > 0; {
			w.pushN(path, min(left, 1000))
			left -= len(w.drain("w1", 1000))
		}
	}
	last := func(path string, n int) [2]int64 { // the last starts in a window; a cache may be emptied before any
		fill(path, n-3)
		least := one(path)
		for range 2 {
			if c := one(path); c[0] <= least[0] {
				least = c
			}
		}
		return least
	}
	lastOf := func(path string, n int) [2]int64 {
		fill(path, n)
		w.clock.advance(time.Minute)
		return last(path, n)
	}
	small, big := lastOf("f/d/small", 10), lastOf("f/d/big", n)
	if big != small {
		t.Errorf("the last start of %d costs %v statements and rows, that of 10 costs %v", n, big, small)
	}
	w.push("f/d/big")
	w.mustTake("one more than N within 60 s")
	for i := range overrides {
		w.override(fmt.Sprintf("key %d", i), 1+i%100, nil, "")
	}
	w.clock.advance(time.Minute)
	w.reportAll("w1", w.take("w1", 1))
	if with := last("f/d/small", 10); with != small {
		t.Errorf("beside %d overrides a start costs %v statements and rows, without them %v", overrides, with, small)
	}
	w.watched(sized(1000, 100))
}

// watched runs jobs beside watchers of which every tenth does not read.
func (w *world) watched(watchers int) {
	const last = "0198c0de-0000-7000-8000-000000000001"
	defer w.run()()
	w.script("f/d/free")
	rev := w.maxRev()
	before := liveHeap()
	var reading, late sync.WaitGroup
	var stuck []*engine.Watcher
	for i := range watchers {
		v, err := w.Watch(w.ctx(), "main", "", rev)
		w.must(err)
		if i%10 == 0 {
			stuck = append(stuck, v)
		} else {
			reading.Go(func() { w.readsUntil(v, last) })
		}
	}
	for range 20 {
		w.reportAll("w1", []sluice.Assignment{w.mustOne("beside watchers", w.push("f/d/free"))})
	}
	w.push("f/d/free", func(n *engine.NewJob) { n.ID = last })
	w.reportAll("w1", []sluice.Assignment{w.mustOne("beside watchers", last)})
	reading.Wait()
	if grown := liveHeap() - before; grown > int64(watchers)*4<<10 {
		w.t.Errorf("%d watchers, of which %d never read, hold %d bytes", watchers, len(stuck), grown)
	}
	for _, v := range stuck {
		late.Go(func() { w.readsUntil(v, last) })
	}
	late.Wait()
}

// readsUntil reads until it has seen a job end, and wants to have seen 20
// others end before.
func (w *world) readsUntil(v *engine.Watcher, id string) {
	ended := map[string]bool{}
	for !ended[id] {
		changes, err := v.Next(w.ctx())
		if err != nil {
			w.t.Error(err)
			return
		}
		for _, c := range changes {
			if c.Job.State == sluice.StateCompleted {
				ended[c.Job.ID] = true
			}
		}
	}
	if len(ended) != 21 {
		w.t.Errorf("a watcher saw %d jobs end, not 21", len(ended))
	}
}

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
