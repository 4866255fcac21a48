package engine

import (
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/limit"
)

// What a group's use was lately: what holds a slot and what still counts, on the
// average of each part.
func TestUsed(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	ran := func(start, launch, end int) *sluice.Execution {
		return &sluice.Execution{StartedAt: at(start), ConfirmedAt: at(launch), ReleasedAt: at(end), End: sluice.EndReported}
	}
	holds := func(start int) *sluice.Execution { return &sluice.Execution{StartedAt: at(start)} }
	window := func(s int, m limit.Mode) limit.Limit {
		return limit.Limit{N: 5, Window: time.Duration(s) * time.Second, Mode: m}
	}
	struck := ran(-40, -40, -1)
	struck.End = sluice.EndStruck
	for _, c := range []struct {
		name  string
		limit limit.Limit
		xs    []*sluice.Execution
		since int
		want  []float64
	}{
		{"nothing", window(0, limit.End), nil, -100, []float64{0, 0, 0, 0}},
		{"held since before", window(0, limit.End), []*sluice.Execution{holds(-60), holds(-5)}, -100, []float64{1, 1, 1, 1.5}},
		{"ended within a part", window(0, limit.End), []*sluice.Execution{ran(-35, -34, -25)}, -100, []float64{0.5, 0.5, 0, 0}},
		{"counts after its end", window(10, limit.End), []*sluice.Execution{ran(-35, -34, -25)}, -100, []float64{0.5, 1, 0.5, 0}},
		{"its end was before, and it still counts", window(30, limit.End), []*sluice.Execution{ran(-70, -69, -60)}, -100, []float64{1, 0, 0, 0}},
		{"counts from its launch", window(10, limit.Start), []*sluice.Execution{ran(-40, -35, -5)}, -100, []float64{1, 0.5, 0, 0}},
		{"not launched: held", window(10, limit.Start), []*sluice.Execution{holds(-20)}, -100, []float64{0, 0, 1, 1}},
		{"struck out", window(10, limit.End), []*sluice.Execution{struck}, -100, []float64{0, 0, 0, 0}},
		{"what is not known whole is left out", window(0, limit.End), []*sluice.Execution{holds(-40)}, -29, []float64{1, 1}},
	} {
		got := used(c.xs, c.limit, now, at(c.since), Usage{Span: 40 * time.Second, Parts: 4})
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
