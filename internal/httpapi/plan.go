package httpapi

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"sluice"
	"sluice/limit"
)

const (
	maxSampled  = 1000
	longestPlan = 100 * 365 * 24 * time.Hour
)

type planIn struct {
	Body struct {
		N          rawInt    `json:"concurrent_limit" required:"true" minimum:"1" maximum:"1000000"`
		Window     rawInt    `json:"concurrency_time_window_s,omitempty" minimum:"0" maximum:"2678400"`
		Mode       rawString `json:"concurrency_window_from,omitempty" enum:"end,start"`
		Jobs       int       `json:"jobs" required:"true" minimum:"1" maximum:"100000"`
		DurationMS float64   `json:"duration_ms" required:"true" minimum:"0" maximum:"2678400000" doc:"Of every job"`
		EveryMS    float64   `json:"every_ms,omitempty" minimum:"0" maximum:"2678400000" doc:"Between arrivals; 0: all at once"`
	} `required:"true"`
}

type planJSON struct {
	MakespanMS   int64   `json:"makespan_ms"`
	FirstStartMS int64   `json:"first_start_ms"`
	LastStartMS  int64   `json:"last_start_ms"`
	P50WaitMS    int64   `json:"p50_wait_ms"`
	P95WaitMS    int64   `json:"p95_wait_ms"`
	PerSecond    float64 `json:"per_second" doc:"Starts per second from the first to the last; 0 if all start at once"`
	StartsMS     []int64 `json:"starts_ms" doc:"Ascending; at most 1,000, evenly sampled"`
	Words        string  `json:"words"`
}

func (a *API) plan(_ context.Context, in *planIn) (planJSON, error) {
	b := &in.Body
	s, err := limit.Fields{N: b.N.raw, Window: b.Window.raw, Mode: b.Mode.raw}.Validate()
	if err != nil {
		return planJSON{}, err
	}
	if s.Limit == nil {
		return planJSON{}, sluice.Invalid(limit.FieldN, "is required")
	}
	l := *s.Limit
	duration, every := milliseconds(b.DurationMS), milliseconds(b.EveryMS)
	rounds := float64(b.Jobs)/float64(l.N) + 1
	if rounds*float64(l.Window+duration)+float64(b.Jobs)*float64(every) > float64(longestPlan) {
		return planJSON{}, sluice.Invalid("jobs", "would take longer than a hundred years; ask for fewer")
	}
	arrivals, durations := make([]time.Duration, b.Jobs), make([]time.Duration, b.Jobs)
	for i := range arrivals {
		arrivals[i], durations[i] = time.Duration(i)*every, duration
	}
	return planForm(l, duration, limit.Plan(l, arrivals, durations)), nil
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// planForm sums up a plan that has at least one job.
func planForm(l limit.Limit, duration time.Duration, planned []limit.Planned) planJSON {
	first, last := planned[0].Start, planned[len(planned)-1].Start
	waits := make([]time.Duration, len(planned))
	var makespan time.Duration
	for i, p := range planned {
		waits[i] = p.Start - p.Due
		makespan = max(makespan, p.End)
	}
	slices.Sort(waits)
	out := planJSON{
		MakespanMS: makespan.Milliseconds(), FirstStartMS: first.Milliseconds(), LastStartMS: last.Milliseconds(),
		P50WaitMS: share(waits, 0.5).Milliseconds(), P95WaitMS: share(waits, 0.95).Milliseconds(),
		StartsMS: sampled(planned),
	}
	if last > first {
		rate := float64(len(planned)-1) / (last - first).Seconds()
		out.PerSecond = math.Round(rate*1000) / 1000
	}
	out.Words = fmt.Sprintf("%d jobs of %v under %s: the last starts after %v, all have ended after %v; half wait %v or less.",
		len(planned), duration, l, rough(last), rough(makespan), rough(share(waits, 0.5)))
	if out.PerSecond > 0 {
		out.Words += fmt.Sprintf(" That is %.4g starts a second.", out.PerSecond)
	}
	return out
}

// share returns the duration up to which a share of sorted ones lie.
func share(sorted []time.Duration, q float64) time.Duration {
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

func sampled(planned []limit.Planned) []int64 {
	n := min(len(planned), maxSampled)
	out := make([]int64, n)
	for i := range out {
		j := i
		if n > 1 {
			j = i * (len(planned) - 1) / (n - 1)
		}
		out[i] = planned[j].Start.Milliseconds()
	}
	return out
}

func rough(d time.Duration) time.Duration {
	if d >= 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}
