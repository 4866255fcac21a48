package main

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/client"
	"sluice/limit"
)

const (
	chartRows = 10
	chartBar  = 40
)

// window is a time that may be given as a bare number of seconds.
type window time.Duration

// UnmarshalText reads 60, 60s or 10m; whole seconds only.
func (w *window) UnmarshalText(text []byte) error {
	if n, err := strconv.ParseInt(string(text), 10, 32); err == nil {
		*w = window(time.Duration(n) * time.Second)
	} else {
		d, err := time.ParseDuration(string(text))
		if err != nil {
			return fmt.Errorf("%q is no time; write 60, 60s or 10m", text)
		}
		*w = window(d)
	}
	if d := time.Duration(*w); d < 0 || d%time.Second != 0 {
		return fmt.Errorf("%q must be whole seconds", text)
	}
	return nil
}

type limitsPlanCmd struct {
	Limit    int           `required:"" help:"At most so many." placeholder:"N"`
	Window   window        `help:"In any time so long, such as 60 (seconds), 60s or 10m; 0: at once." default:"0" placeholder:"W"`
	From     string        `help:"Count from the end or from the start of jobs." default:"end" enum:"end,start"`
	Jobs     int           `help:"How many jobs." default:"100"`
	Duration time.Duration `help:"How long each takes." default:"1s"`
	Every    time.Duration `help:"Time between their arrivals; 0: all arrive at once." default:"0s"`
	remote
	output
}

// Run shows what a limit would give.
func (p *limitsPlanCmd) Run(ctx context.Context, a *app) error {
	if p.Duration < 0 || p.Every < 0 {
		return sluice.Invalid("--duration", "and --every must not be negative")
	}
	c, err := p.connect(a)
	if err != nil {
		return err
	}
	request := client.PlanRequest{
		N: p.Limit, WindowS: int(time.Duration(p.Window) / time.Second), WindowFrom: limit.Mode(p.From),
		Jobs: p.Jobs, DurationMS: p.Duration.Milliseconds(), EveryMS: p.Every.Milliseconds(),
	}
	plan, err := c.Plan(ctx, request)
	if err != nil {
		return err
	}
	if p.JSON {
		return writeJSON(a.out, plan)
	}
	var other *client.Plan
	if p.Window > 0 {
		request.WindowFrom = otherMode(request.WindowFrom)
		if other, err = c.Plan(ctx, request); err != nil {
			return err
		}
	}
	a.showPlan(p, plan, other)
	return nil
}

func otherMode(m limit.Mode) limit.Mode {
	if m == limit.Start {
		return limit.End
	}
	return limit.Start
}

func (a *app) showPlan(p *limitsPlanCmd, plan, other *client.Plan) {
	ms := func(n int64) string { return spell(time.Duration(n) * time.Millisecond) }
	l := limit.Limit{N: p.Limit, Window: time.Duration(p.Window), Mode: limit.Mode(p.From)}
	writeWrapped(a.out, a.width, fmt.Sprintf("%s of %s each, %s.", count(int64(p.Jobs), "job"), spell(p.Duration), l))
	fmt.Fprintln(a.out)
	facts := []fact{
		{"all done after", ms(plan.MakespanMS)},
		{"throughput", rate(plan.PerSecond)},
		{"last start", ms(plan.LastStartMS)},
		{"wait", fmt.Sprintf("half wait up to %s, 95 %% up to %s", ms(plan.P50WaitMS), ms(plan.P95WaitMS))},
	}
	if other != nil {
		facts = append(facts, fact{"with --from " + string(otherMode(l.Mode)), "all done after " + ms(other.MakespanMS)})
	}
	writeFacts(a.out, a.width, "  ", facts)
	a.showChart(p.Jobs, plan)
}

func rate(perSecond float64) string {
	switch {
	case perSecond <= 0:
		return "" // all start at once
	case perSecond >= 1:
		return strconv.FormatFloat(perSecond, 'f', 1, 64) + " jobs a second"
	case perSecond*60 >= 1:
		return strconv.FormatFloat(perSecond*60, 'f', 1, 64) + " jobs a minute"
	}
	return strconv.FormatFloat(perSecond*3600, 'f', 1, 64) + " jobs an hour"
}

// showChart draws how many jobs have started by when.
func (a *app) showChart(jobs int, plan *client.Plan) {
	if len(plan.StartsMS) < 2 || plan.LastStartMS <= 0 || jobs < 1 {
		return
	}
	fmt.Fprintln(a.out)
	t := table{indent: "  ", columns: []column{{head: "AFTER", right: true}, {head: "STARTED", right: true}, {head: ""}}}
	step := roundStep(time.Duration(plan.LastStartMS) * time.Millisecond / chartRows)
	for row := 0; ; row++ {
		until := time.Duration(row) * step
		n := sort.Search(len(plan.StartsMS), func(i int) bool { return plan.StartsMS[i] > until.Milliseconds() })
		started := int64(n) * int64(jobs) / int64(len(plan.StartsMS))
		t.add(spell(until), grouped(started), strings.Repeat("█", int(started*chartBar/int64(jobs))))
		if until.Milliseconds() >= plan.LastStartMS {
			break
		}
	}
	t.write(a.out, a.width)
}

// roundStep returns the first round time that is at least d.
func roundStep(d time.Duration) time.Duration {
	for unit := time.Millisecond; unit < time.Second; unit *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if n*unit >= d {
				return n * unit
			}
		}
	}
	for _, unit := range []time.Duration{time.Second, time.Minute} {
		for _, n := range []time.Duration{1, 2, 5, 10, 15, 30} {
			if n*unit >= d {
				return n * unit
			}
		}
	}
	for hours := time.Hour; ; hours *= 2 {
		if hours >= d {
			return hours
		}
	}
}
