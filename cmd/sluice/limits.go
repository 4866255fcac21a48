package main

import (
	"context"
	"fmt"
	"time"

	"sluice"
	"sluice/client"
	"sluice/limit"
)

type limitsCmd struct {
	List   limitsListCmd   `cmd:"" help:"List concurrency groups."`
	Show   limitsShowCmd   `cmd:"" help:"Show one group."`
	Set    limitsSetCmd    `cmd:"" help:"Override the limit of a group, for jobs that wait already, too."`
	Clear  limitsClearCmd  `cmd:"" help:"Remove the override of a group."`
	Pause  limitsPauseCmd  `cmd:"" help:"Start nothing of a group for a while; what runs goes on."`
	Resume limitsResumeCmd `cmd:"" help:"Lift a pause."`
	Prune  limitsPruneCmd  `cmd:"" help:"Forget what a group has run, so that it counts no longer."`
	Plan   limitsPlanCmd   `cmd:"" help:"Show what a limit would give, without running anything."`
}

type limitsListCmd struct {
	Contains string `arg:"" optional:"" help:"Only keys with this in them."`
	All      bool   `help:"Also groups without jobs, override and pause." short:"a"`
	Limit    int    `help:"How many; 50 if not given." default:"50" short:"n" placeholder:"N"`
	remote
	output
}

// Run lists groups.
func (l *limitsListCmd) Run(ctx context.Context, a *app) error {
	if l.Limit < 1 {
		return sluice.Invalid("--limit", "must be at least 1")
	}
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	groups, next, err := c.Groups(ctx, client.GroupFilter{Contains: l.Contains, Active: !l.All, Limit: l.Limit})
	if err != nil {
		return err
	}
	if l.JSON {
		if groups == nil {
			groups = []client.Group{}
		}
		return writeJSON(a.out, groups)
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	if len(groups) == 0 {
		fmt.Fprintln(a.out, "No group has jobs, an override or a pause (--all shows the others, too).")
		return nil
	}
	a.showGroups(groups, now)
	if next != nil {
		fmt.Fprintf(a.out, "There are more: --limit %d shows twice as many.\n", 2*l.Limit)
	}
	return nil
}

func (a *app) showGroups(groups []client.Group, now time.Time) {
	const leastKey = 12
	t := table{columns: []column{
		{head: "KEY", least: leastKey},
		{head: "LIMIT"},
		{head: "RUNNING", right: true},
		{head: "COUNTED", right: true},
		{head: "WAITING", right: true},
		{head: "ROOM"},
	}}
	overrides := false
	for _, g := range groups {
		words := shortLimit(&g)
		if g.Source == limit.FromOverride {
			words += " *"
			overrides = true
		}
		t.add(shownKey(g.Key), words, grouped(g.Running), grouped(g.InWindow), grouped(g.Waiting), roomWords(&g, now))
	}
	t.write(a.out, a.width)
	if overrides {
		fmt.Fprintln(a.out, "* by an override")
	}
}

// shortLimit says a limit in a few characters.
func shortLimit(g *client.Group) string {
	l := g.Limit()
	switch {
	case l == nil:
		return "none"
	case l.Window == 0:
		return fmt.Sprintf("%d at once", l.N)
	}
	s := fmt.Sprintf("%d in %s", l.N, spell(l.Window))
	if l.Mode == limit.Start {
		s += " start"
	}
	return s
}

// roomWords says when the next job of a group can start.
func roomWords(g *client.Group, now time.Time) string {
	switch {
	case g.Paused:
		return "paused"
	case g.RoomAt != nil && g.RoomAt.After(now):
		return "in " + brief(g.RoomAt.Sub(now))
	}
	return ""
}

type limitsShowCmd struct {
	keyArg
	remote
	output
}

// Run shows a group.
func (s *limitsShowCmd) Run(ctx context.Context, a *app) error {
	return change(ctx, a, s.keyArg, s.remote, s.output, "", func(c *client.Client) (*client.Group, error) {
		return c.Group(ctx, s.Key)
	})
}

// change carries out a call about a group and shows the group after it.
func change(ctx context.Context, a *app, key keyArg, r remote, o output, said string, call func(*client.Client) (*client.Group, error)) error {
	if err := key.check(); err != nil {
		return err
	}
	c, err := r.connect(a)
	if err != nil {
		return err
	}
	g, err := call(c)
	if err != nil {
		return err
	}
	if o.JSON {
		return writeJSON(a.out, g)
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	if said != "" {
		fmt.Fprintf(a.out, "%s\n\n", said)
	}
	a.showGroup(g, now)
	return nil
}

func (a *app) showGroup(g *client.Group, now time.Time) {
	words := "none: no job of it has a limit"
	if l := g.Limit(); l != nil {
		words = l.String() + sourceWords(g.Source)
	}
	typical := ""
	if g.TypicalMS > 0 {
		typical = spell(time.Duration(g.TypicalMS)*time.Millisecond) + " a job"
	}
	room := ""
	if g.RoomAt != nil && g.RoomAt.After(now) {
		room = a.when(*g.RoomAt, now)
	}
	paused := ""
	if g.Paused {
		paused = "yes" + byAndWhy(g.PausedBy, g.PausedWhy)
		if g.PausedTill != nil {
			paused += "; until " + a.when(*g.PausedTill, now)
		}
	}
	waiting := grouped(g.Waiting)
	if g.MaxWaiting > 0 {
		waiting += fmt.Sprintf(" (at most %s may)", grouped(g.MaxWaiting))
	}
	writeFacts(a.out, a.width, "", []fact{
		{"key", shownKey(g.Key)},
		{"limit", words},
		{"override", overrideWords(g.Override)},
		{"paused", paused},
		{"running", grouped(g.Running)},
		{"counted", grouped(g.InWindow) + " more in the window"},
		{"waiting", waiting},
		{"room", room},
		{"typical", typical},
	})
}

func overrideWords(o *client.Override) string {
	if o == nil {
		return ""
	}
	s := ""
	add := func(name, value string) {
		if s != "" {
			s += ", "
		}
		s += name + " " + value
	}
	if o.N != nil {
		add("limit", fmt.Sprint(*o.N))
	}
	if o.WindowS != nil {
		add("window", spell(time.Duration(*o.WindowS)*time.Second))
	}
	if o.WindowFrom != nil {
		add("from", string(*o.WindowFrom))
	}
	if o.MaxWaiting != nil {
		add("max waiting", grouped(*o.MaxWaiting))
	}
	if o.Why != "" {
		s += ": " + o.Why
	}
	return s
}

type limitsSetCmd struct {
	keyArg
	Limit      *int    `help:"At most so many." placeholder:"N"`
	Window     *window `help:"In any time so long, such as 60 (seconds), 60s or 10m; 0: at once." placeholder:"W"`
	From       *string `help:"Count from the end or from the start of jobs." placeholder:"end|start"`
	MaxWaiting *int64  `help:"Refuse pushes while so many wait." placeholder:"N"`
	Why        string  `help:"Why, for those who ask later." placeholder:"TEXT"`
	remote
	output
}

// Run sets an override.
func (s *limitsSetCmd) Run(ctx context.Context, a *app) error {
	o := client.Override{N: s.Limit, MaxWaiting: s.MaxWaiting, Why: s.Why}
	if s.Window != nil {
		seconds := int(time.Duration(*s.Window) / time.Second)
		o.WindowS = &seconds
	}
	if s.From != nil {
		mode := limit.Mode(*s.From)
		o.WindowFrom = &mode
	}
	if o.N == nil && o.WindowS == nil && o.WindowFrom == nil && o.MaxWaiting == nil {
		return usage(sluice.Errorf(sluice.CodeInvalid, "say what to set: --limit, --window, --from or --max-waiting"))
	}
	return change(ctx, a, s.keyArg, s.remote, s.output, "Set. It holds from now on, for jobs that wait already, too.", func(c *client.Client) (*client.Group, error) {
		return c.SetOverride(ctx, s.Key, o)
	})
}

type limitsClearCmd struct {
	keyArg
	Why string `help:"Why, for those who ask later." placeholder:"TEXT"`
	remote
	output
}

// Run removes an override.
func (x *limitsClearCmd) Run(ctx context.Context, a *app) error {
	return change(ctx, a, x.keyArg, x.remote, x.output, "Cleared. Every job has the limit that it was pushed with.", func(c *client.Client) (*client.Group, error) {
		return c.ClearOverride(ctx, x.Key, x.Why)
	})
}

type limitsPauseCmd struct {
	keyArg
	For   time.Duration `help:"For so long, such as 10m; else until it is resumed." placeholder:"TIME" xor:"until"`
	Until *time.Time    `help:"Until then, such as 2026-01-31T12:00:00Z." placeholder:"INSTANT" xor:"until" format:"2006-01-02T15:04:05Z07:00"`
	Why   string        `help:"Why, for those who ask later." placeholder:"TEXT"`
	remote
	output
}

// Run pauses a group.
func (p *limitsPauseCmd) Run(ctx context.Context, a *app) error {
	if p.For < 0 || p.For%time.Second != 0 {
		return sluice.Invalid("--for", "must be a whole number of seconds, such as 30s or 10m")
	}
	return change(ctx, a, p.keyArg, p.remote, p.output, "Paused. Nothing of it starts; what runs goes on.", func(c *client.Client) (*client.Group, error) {
		return c.Pause(ctx, p.Key, client.Pause{Until: p.Until, ForS: int64(p.For / time.Second), Why: p.Why})
	})
}

type limitsResumeCmd struct {
	keyArg
	Why string `help:"Why, for those who ask later." placeholder:"TEXT"`
	remote
	output
}

// Run lifts a pause.
func (x *limitsResumeCmd) Run(ctx context.Context, a *app) error {
	return change(ctx, a, x.keyArg, x.remote, x.output, "Resumed.", func(c *client.Client) (*client.Group, error) {
		return c.Resume(ctx, x.Key, x.Why)
	})
}

type limitsPruneCmd struct {
	keyArg
	remote
	output
}

// Run makes a group's history count no longer.
func (x *limitsPruneCmd) Run(ctx context.Context, a *app) error {
	return change(ctx, a, x.keyArg, x.remote, x.output, "Pruned. What it has run counts no longer.", func(c *client.Client) (*client.Group, error) {
		if err := c.Prune(ctx, x.Key); err != nil {
			return nil, err
		}
		return c.Group(ctx, x.Key)
	})
}
