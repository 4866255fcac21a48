package engine_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// C1: 100,000 jobs (2,000 under the race detector) of 100 full groups are at
// the head of the queue, half of them held by a window, and one job without a
// limit is behind them. It starts as on an empty queue: by the same statements,
// which return the same rows.
func TestC1_FullGroupsAtTheHead(t *testing.T) {
	t.Parallel()
	const groups = 100
	start := func(full bool) (statements, rows int64) {
		w := newWorld(t)
		w.script("f/c/full", "concurrent_limit", 1, "concurrency_time_window_s", 3600, "concurrency_key", "$args[k]")
		w.script("f/c/free")
		w.report("w1", w.mustOne("the first of all, which draws the key of job tokens", w.push("f/c/free")))
		if full {
			for g := range groups {
				w.pushN("f/c/full", sized(100_000, 2_000)/groups, key(fmt.Sprint(g)), priority(g%3))
			}
			got := w.take("w0", 2*groups)
			if len(got) != groups {
				t.Fatalf("%d of %d groups started a job", len(got), groups)
			}
			w.reportAll("w0", got[:groups/2])
		}
		w.mustTake("nothing has room")
		id := w.push("f/c/free")
		statements, rows = w.cost(func() { w.mustOne("the free one", id) })
		w.mustTake("and then nothing has room")
		return statements, rows
	}
	s0, r0 := start(false)
	s, r := start(true)
	t.Logf("on an empty queue %d statements, %d rows; behind full groups %d and %d", s0, r0, s, r)
	if s != s0 || r > r0+1 { // one row more: when the next line is to be looked at
		t.Fatalf("behind full groups it took %d statements and %d rows, on an empty queue %d and %d", s, r, s0, r0)
	}
}

// C2: one key floods the queue, with as many due jobs as it takes and N ≥
// places, while others trickle one job a second each. In simulated time the
// p95 of the others' start delays is at most three times that without the
// flood. Sizes: 100,000 of the flood, 1,000 others for 5 s, 102 places, jobs of
// 50 to 150 ms: the others alone take 98 % of the places, so that they wait for
// each other and there is something to compare with. (Where places are plenty
// they wait for nobody alone, and for one round, some 30 ms, beside the flood.)
// Under the race detector there are 600, 107 others and 11 places.
func TestC2_FloodDelaysOthersByARound(t *testing.T) {
	t.Parallel()
	calm := trickle(t, 0)
	flooded := trickle(t, sized(100_000, 600))
	t.Logf("p95 of the start delay: %s alone, %s beside the flood", calm, flooded)
	if calm < 10*time.Millisecond {
		t.Fatalf("p95 alone is %s: nothing to compare with", calm)
	}
	if flooded > 3*calm {
		t.Fatalf("p95 of the start delay is %s beside the flood and %s alone", flooded, calm)
	}
}

// trickle plays the others beside a flood and returns the p95 of their delays.
func trickle(t *testing.T, flood int) time.Duration {
	const tick, seconds = 10 * time.Millisecond, 5
	others, places := sized(1000, 107), sized(102, 11)
	w := newWorld(t)
	rnd := rand.New(rand.NewPCG(2, 2))
	w.script("f/c/flood", "concurrent_limit", places, "concurrency_key", "flood")
	w.script("f/c/other", "concurrent_limit", 2, "concurrency_key", "$args[k]")
	for left := flood; left > 0; left -= min(left, sluice.MaxBulk) {
		w.pushN("f/c/flood", min(left, sluice.MaxBulk))
	}
	arrivals := map[time.Duration][]engine.NewJob{} // by tick
	for k := range others {
		for s := range seconds {
			at := time.Duration(s)*time.Second + time.Duration(rnd.IntN(100))*tick
			arrivals[at] = append(arrivals[at], engine.NewJob{Workspace: "main", Path: "f/c/other", Args: fmt.Appendf(nil, `{"k":"%d"}`, k)})
		}
	}
	var delays []time.Duration
	var running endHeap
	began := w.clock.Wall()
	for now := time.Duration(0); len(delays) < others*seconds; now += tick {
		var ended []sluice.Assignment
		for len(running) > 0 && !running[0].at.After(began.Add(now)) {
			ended = append(ended, heap.Pop(&running).(ending).Assignment)
		}
		w.reportAll("w1", ended)
		if news := arrivals[now]; len(news) > 0 {
			_, err := w.Submit(w.ctx(), news)
			w.must(err)
		}
		if free := places - len(running); free > 0 {
			for _, a := range w.take("w1", free) {
				lasts := time.Duration(50+rnd.IntN(100)) * time.Millisecond
				heap.Push(&running, ending{began.Add(now + lasts), a})
				if a.Path == "f/c/other" {
					delays = append(delays, began.Add(now).Sub(a.Scheduled))
				}
			}
		}
		if flood > 0 && len(running) < places {
			t.Fatalf("%d of %d places are taken beside a flood", len(running), places)
		}
		w.clock.advance(tick)
	}
	slices.Sort(delays)
	return delays[len(delays)*95/100]
}
