package limit_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/limit"
)

func alike(n int, d time.Duration) []time.Duration {
	return slices.Repeat([]time.Duration{d}, n)
}

// TestPlanReachesTheOptimum: all jobs are there at once, all alike; no
// schedule that keeps the rule is shorter.
func TestPlanReachesTheOptimum(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	for _, test := range []struct {
		l    limit.Limit
		jobs int
		each time.Duration
		want time.Duration
	}{
		// 30 rounds of 10; each lasts a window and a run, the last only a run.
		{limit.Limit{N: 10, Window: s}, 300, 5 * ms, 29*(s+5*ms) + 5*ms},
		{limit.Limit{N: 10, Window: s, Mode: limit.Start}, 300, 5 * ms, 29*s + 5*ms},
		{limit.Limit{N: 10}, 300, 5 * ms, 30 * 5 * ms},
		{limit.Limit{N: 1, Window: 10 * s}, 3, 2 * s, 2*12*s + 2*s},
		{limit.Limit{N: 2, Window: s, Mode: limit.Start}, 4, time.Minute, s + time.Minute},
		{limit.Limit{N: 5, Window: s}, 5, 7 * s, 7 * s},
		{limit.Limit{N: 5, Window: s}, 6, 0, s},
		{limit.Limit{N: limit.MaxN, Window: s}, 1000, s, s},
	} {
		plan := limit.Plan(test.l, alike(test.jobs, 0), alike(test.jobs, test.each))
		if len(plan) != test.jobs {
			t.Fatalf("%v: %d planned of %d", test.l, len(plan), test.jobs)
		}
		var last time.Duration
		for _, p := range plan {
			last = max(last, p.End)
		}
		if last != test.want {
			t.Errorf("%v, %d jobs of %s: done after %s, want %s", test.l, test.jobs, test.each, last, test.want)
		}
	}
	if plan := limit.Plan(limit.Limit{N: 1}, nil, nil); len(plan) != 0 {
		t.Errorf("a plan for no jobs: %v", plan)
	}
}

// TestPlanKeepsTheRule: every start in a plan is allowed by the rule, counted
// one by one, and the instant before it is not, unless the job was not due or
// another one started then.
func TestPlanKeepsTheRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawAsker(t)
		n := rapid.IntRange(0, 40).Draw(t, "jobs")
		var due time.Duration
		arrivals, durations := make([]time.Duration, n), make([]time.Duration, n)
		for i := range n {
			due += drawStep(t)
			arrivals[i], durations[i] = due, drawStep(t)
		}
		plan := limit.Plan(a.limit(), arrivals, durations)
		allowed := func(i int, x time.Duration) bool {
			w := newWorld()
			for _, p := range plan[:i] {
				e := w.take("")
				e.confirmed, e.released = at(p.Start), at(p.End)
				if p.End > x && (!a.start || p.Start > x) {
					e.released = time.Time{}
				}
			}
			return w.mayStart(at(x), a, 0)
		}
		for i, p := range plan {
			if p.Due != arrivals[i] || p.End != p.Start+durations[i] || p.Start < p.Due {
				t.Fatalf("job %d: %+v", i, p)
			}
			if !allowed(i, p.Start) {
				t.Fatalf("%v: job %d starts at %s, over the limit: %+v", a, i, p.Start, plan[:i+1])
			}
			earliest := p.Due
			if i > 0 {
				earliest = max(earliest, plan[i-1].Start)
			}
			if p.Start > earliest && allowed(i, p.Start-1) {
				t.Fatalf("%v: job %d could start before %s: %+v", a, i, p.Start, plan[:i+1])
			}
		}
	})
}

// TestEstimate: a guess, in a table.
func TestEstimate(t *testing.T) {
	const s = time.Second
	free := func(d ...time.Duration) []time.Time {
		var out []time.Time
		for _, x := range d {
			out = append(out, at(x))
		}
		return out
	}
	for _, test := range []struct {
		name    string
		l       limit.Limit
		free    []time.Time
		n       int64
		typical time.Duration
		want    time.Duration
	}{
		{"first, nothing held", limit.Limit{N: 2}, nil, 1, s, 10 * s},
		{"second, nothing held", limit.Limit{N: 2}, nil, 2, s, 10 * s},
		{"third waits for a run", limit.Limit{N: 2}, nil, 3, 3 * s, 13 * s},
		{"third waits for a window and a run", limit.Limit{N: 2, Window: 60 * s}, nil, 3, 3 * s, 73 * s},
		{"start mode: a run costs nothing", limit.Limit{N: 2, Window: 60 * s, Mode: limit.Start}, nil, 3, 3 * s, 70 * s},
		{"one slot idle", limit.Limit{N: 2}, free(15 * s), 1, s, 10 * s},
		{"the idle one is gone", limit.Limit{N: 2}, free(15 * s), 2, s, 15 * s},
		{"the next round", limit.Limit{N: 2}, free(15 * s), 3, s, 11 * s},
		{"the round after", limit.Limit{N: 2}, free(15 * s), 6, s, 17 * s},
		{"all held, unsorted", limit.Limit{N: 2}, free(19*s, 15*s), 1, s, 15 * s},
		{"all held, second", limit.Limit{N: 2}, free(19*s, 15*s), 2, s, 19 * s},
		{"lowered: the first end frees nothing", limit.Limit{N: 1}, free(19*s, 15*s, 30*s), 1, s, 30 * s},
		{"lowered by one", limit.Limit{N: 1}, free(19*s, 15*s), 1, s, 19 * s},
		{"overdue: now", limit.Limit{N: 1}, free(5 * s), 1, s, 10 * s},
		{"a position below one is the first", limit.Limit{N: 1}, free(15 * s), 0, s, 15 * s},
	} {
		given := slices.Clone(test.free)
		got := limit.Estimate(at(10*s), test.l, test.free, test.n, test.typical)
		if !got.Equal(at(test.want)) {
			t.Errorf("%s: %s, want %s", test.name, got.Sub(epoch), test.want)
		}
		if !slices.Equal(given, test.free) {
			t.Errorf("%s: the caller's instants were moved", test.name)
		}
	}
	// A million jobs, one a month: the guess is far away, never in the past.
	far := limit.Estimate(epoch, limit.Limit{N: 1, Window: limit.MaxWindow}, nil, 1_000_000, time.Hour)
	if want := epoch.Add(math.MaxInt64); !far.Equal(want) {
		t.Errorf("far away: %s, want %s", far, want)
	}
}
