package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"sluice/internal/engine"
	"sluice/internal/worker"
)

// optimum is the least makespan that the rule allows for j jobs of duration d.
func optimum(j, n int, window, d time.Duration, mode string) time.Duration {
	rounds := time.Duration((j+n-1)/n - 1)
	if mode == "start" {
		return rounds*window + d
	}
	return rounds*(window+d) + d
}

func oneKey(open maker) []value {
	const n, jobs, d = 10, 300, 5 * time.Millisecond
	w := open()
	defer w.remove()
	w.script("f/b/x", limited(n, 1, "end", ""))
	s := newSpans(jobs)
	defer w.work("w", 20, lasting(d, s))()
	w.push("f/b/x", jobs, nil)
	all := s.wait(2 * time.Minute)
	took := makespan(all)
	mustHold(all, n, time.Second, "end")
	return []value{{Name: "N = 10 per 1 s, 300 jobs of 5 ms: optimum ÷ makespan", Got: optimum(jobs, n, time.Second, d, "end").Seconds() / took.Seconds(), Bound: 0.99}}
}

func makespan(all []span) time.Duration {
	last := all[0].end
	for _, x := range all {
		if x.end.After(last) {
			last = x.end
		}
	}
	return last.Sub(all[0].start)
}

// mustHold ends the program if any window holds too many: a figure is worth
// nothing where the limit did not hold.
func mustHold(all []span, n int, window time.Duration, mode string) {
	for i, x := range all {
		counted := 0
		for k := i - 1; k >= 0; k-- {
			from := all[k].end
			if mode == "start" {
				from = all[k].start
			}
			if from.After(x.start.Add(-window)) {
				counted++
			} else if mode == "start" {
				break
			}
		}
		if counted >= n {
			panic(fmt.Sprintf("job %d started while %d of %d counted", i, counted, n))
		}
	}
}

func manyKeys(open maker, mode string, d time.Duration, bound, worst float64) []value {
	const n, keys, each = 5, 100, 100
	w := open()
	defer w.remove()
	w.script("f/b/x", limited(n, 1, mode, "k-$args[k]"))
	s := newSpans(keys * each)
	defer w.work("w", 600, lasting(d, s))()
	w.push("f/b/x", keys*each, func(i int) int { return i % keys })
	all := s.wait(3 * time.Minute)
	best := optimum(each, n, time.Second, d, mode).Seconds()
	byKey := map[string][]span{}
	for _, x := range all {
		byKey[x.key] = append(byKey[x.key], x)
	}
	lowest := 2.0
	for _, of := range byKey {
		mustHold(of, n, time.Second, mode)
		lowest = min(lowest, best/makespan(of).Seconds())
	}
	name := fmt.Sprintf("100 keys, N = 5 per 1 s from %s, 100 jobs of %s each, 600 places", mode, d)
	out := []value{{Name: name, Got: best / makespan(all).Seconds(), Bound: bound}}
	return append(out, value{Name: "  its worst key", Got: lowest, Bound: worst})
}

func atOnce(open maker) []value {
	var out []value
	for _, c := range []struct {
		d     time.Duration
		bound float64
	}{{100 * time.Millisecond, 0.97}, {20 * time.Millisecond, 0.90}} {
		w := open()
		w.script("f/b/x", limited(2, 0, "end", ""))
		s := newSpans(100)
		drain := w.work("w", 4, lasting(c.d, s))
		w.push("f/b/x", 100, nil)
		all := s.wait(time.Minute)
		drain()
		w.remove()
		busy := 100 * c.d.Seconds()
		out = append(out, value{Name: fmt.Sprintf("N = 2, W = 0, 100 jobs of %s: busy ÷ (N × makespan)", c.d), Got: busy / (2 * makespan(all).Seconds()), Bound: c.bound})
	}
	return out
}

func freedByEnd(open maker) []value {
	const jobs = 400
	w := open()
	defer w.remove()
	w.script("f/b/x", limited(1, 0, "end", ""))
	s := newSpans(jobs)
	defer w.work("w", 4, lasting(0, s))()
	w.push("f/b/x", jobs, nil)
	all := s.wait(time.Minute)
	gaps := gapsOf(all)
	c50, c99 := w.commits()
	return []value{
		{Name: "freed by an end → next begins, idle, p50", Got: ms(quantile(gaps, 0.5)), Bound: 1.5 + 2*ms(c50), AtMost: true, Unit: "ms"},
		{Name: "freed by an end → next begins, idle, p99", Got: ms(quantile(gaps, 0.99)), Bound: 8 + 2*ms(c99), AtMost: true, Unit: "ms"},
		{Name: "commit latency C50", Got: ms(c50), Unit: "ms"},
		{Name: "commit latency C99", Got: ms(c99), Unit: "ms"},
	}
}

// gapsOf returns the times from the last instruction of each job to the first
// of the next, sorted.
func gapsOf(all []span) []time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(all); i++ {
		gaps = append(gaps, all[i].start.Sub(all[i-1].end))
	}
	slices.Sort(gaps)
	return gaps
}

// freedByWindow lets 1,000 groups tick once a second, a millisecond apart, and
// measures how late each next job of each group begins.
func freedByWindow(open maker) []value {
	const each, groups = 15, 1000
	w := open()
	defer w.remove()
	w.script("f/b/x", limited(1, 1, "end", "g-$args[k]"))
	news := make([]engine.NewJob, 0, groups*each)
	for range each {
		for k := range groups {
			news = append(news, engine.NewJob{
				Workspace: "main", Path: "f/b/x", Args: json.RawMessage(fmt.Sprintf(`{"k":%d}`, k)),
				ScheduledIn: 2*time.Second + time.Duration(k)*time.Millisecond,
			})
		}
	}
	for from := 0; from < len(news); from += 5000 {
		_, err := w.e.Submit(context.Background(), news[from:min(from+5000, len(news))])
		check(err)
	}
	s := newSpans(groups * each)
	defer w.work("w", 100, lasting(0, s))()
	byKey := map[string][]span{}
	for _, x := range s.wait(2 * time.Minute) {
		byKey[x.key] = append(byKey[x.key], x)
	}
	var late []time.Duration
	for _, of := range byKey {
		for _, g := range gapsOf(of) {
			if g < time.Second {
				panic(fmt.Sprintf("a window freed %s early", time.Second-g))
			}
			late = append(late, g-time.Second)
		}
	}
	slices.Sort(late)
	c50, c99 := w.commits()
	return []value{
		{Name: "freed by a window, 1,000 groups ticking: late p50", Got: ms(quantile(late, 0.5)), Bound: 2 + ms(c50), AtMost: true, Unit: "ms"},
		{Name: "freed by a window, 1,000 groups ticking: late p99", Got: ms(quantile(late, 0.99)), Bound: 10 + ms(c99), AtMost: true, Unit: "ms"},
		{Name: "freed by a window: early", Got: 0, AtMost: true, Note: "the run ends at the first"},
	}
}

func submitToStart(open maker) []value {
	const jobs = 200
	w := open()
	defer w.remove()
	w.script("f/b/x", nil)
	begun := make(chan time.Time, 1)
	defer w.work("w", 4, worker.ExecutorFunc(func(_ context.Context, t *worker.Task) worker.Outcome {
		begun <- time.Now()
		t.Launched()
		return worker.Outcome{Result: json.RawMessage("null")}
	}))()
	var took []time.Duration
	for range jobs {
		time.Sleep(5 * time.Millisecond) // idle in between
		at := time.Now()
		_, err := w.e.Submit(context.Background(), []engine.NewJob{{Workspace: "main", Path: "f/b/x"}})
		check(err)
		took = append(took, (<-begun).Sub(at))
	}
	slices.Sort(took)
	c50, _ := w.commits()
	return []value{
		{Name: "submit → first instruction, no limit, idle, p50", Got: ms(quantile(took, 0.5)), Bound: 1 + 2*ms(c50), AtMost: true, Unit: "ms"},
		{Name: "submit → first instruction, no limit, idle, p99", Got: ms(quantile(took, 0.99)), Unit: "ms"},
	}
}
