package engine

import (
	"context"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// inWindowShown bounds how many counted executions a group's view counts.
const inWindowShown = 1000

// Groups lists groups.
func (e *Engine) Groups(ctx context.Context, f store.GroupFilter) ([]*GroupInfo, error) {
	return view(ctx, e, func(r store.Reader) ([]*GroupInfo, error) {
		rows, err := r.Groups(f)
		if err != nil {
			return nil, err
		}
		out := make([]*GroupInfo, len(rows))
		for i, g := range rows {
			if out[i], err = e.groupInfo(r, g); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
}

// Group shows one group.
func (e *Engine) Group(ctx context.Context, key string) (*GroupInfo, error) {
	return view(ctx, e, func(r store.Reader) (*GroupInfo, error) {
		g, err := r.Group(key)
		if err != nil {
			return nil, notFound(err, "no job ever used the concurrency key %q", key)
		}
		return e.groupInfo(r, g)
	})
}

// groupInfo describes a group by the limit of its first job in line, else of
// its newest execution.
func (e *Engine) groupInfo(r store.Reader, g *store.Group) (*GroupInfo, error) {
	info := &GroupInfo{
		Key: g.Key, Running: g.Held(), Waiting: g.Waiting, MaxWaiting: g.MaxWaiting, Pause: g.Pause, Typical: g.Typical,
	}
	now := r.Now()
	if !g.Pause.At(now) {
		info.Pause = limit.Pause{}
	}
	if !g.Override.Empty() {
		o := g.Override
		info.Override = &o
	}
	first, err := firstLine(r, g)
	if err != nil {
		return nil, err
	}
	if first != nil {
		info.FirstDue = first.Head.Due
	}
	l, err := e.shownLimit(r, g, first)
	if err != nil || l == nil {
		return info, err
	}
	in, source := g.Override.Apply(*l)
	info.Limit, info.Source = &in, source
	p := g.Probe(in, 0)
	at, err := instant(r, g, p)
	if err != nil {
		return nil, err
	}
	if room := limit.Decide(now, &g.Group, in, p, at); !room.Now {
		info.RoomAt = room.From
	}
	info.InWindow, err = countInWindow(r, g, in, now)
	return info, err
}

// firstLine returns the line whose first job is the first of its group; nil if
// nobody waits.
func firstLine(r store.Reader, g *store.Group) (first *store.Line, err error) {
	lines, err := r.LinesOf(g.ID)
	for _, l := range lines {
		if l.Head.Seq != 0 && (first == nil || l.Head.Compare(first.Head) < 0) {
			first = l
		}
	}
	return first, err
}

// shownLimit returns the pushed limit to show a group by, given its first line;
// nil if none is known.
func (e *Engine) shownLimit(r store.Reader, g *store.Group, first *store.Line) (*limit.Limit, error) {
	if first != nil {
		return &first.HeadLimit, nil
	}
	xs, err := r.History(g.ID, max(g.Taken-1, 0), 1)
	if err != nil {
		return nil, err
	}
	if len(xs) > 0 {
		newest := xs[len(xs)-1]
		if j, err := r.JobBySeq(newest.JobSeq); err == nil && j.Limit != nil {
			return j.Limit, nil // as pushed; the execution may have run under an override
		}
		return &newest.Limit, nil
	}
	if g.Override.N == nil {
		return nil, nil
	}
	l, _ := g.Override.Apply(limit.Limit{})
	return &l, nil
}

// instant looks a probe's instant up; a hole in the history is no instant.
func instant(r store.Reader, g *store.Group, p limit.Probe) (time.Time, error) {
	if p.No == 0 {
		return p.At, nil
	}
	return r.Instant(g.ID, p.Series, p.No)
}

// countInWindow counts history that still counts, by bisection over its
// numbers: instants ascend with them.
func countInWindow(r store.Reader, g *store.Group, l limit.Limit, now time.Time) (int64, error) {
	series, newest, oldest := limit.Releases, g.Released, max(g.PrunedReleases, g.TrimmedReleases)
	if l.Mode == limit.Start {
		series, newest, oldest = limit.Launches, g.Launched, max(g.PrunedLaunches, g.TrimmedLaunches)
	}
	oldest = max(oldest, newest-inWindowShown)
	lo, hi := oldest+1, newest+1 // the first number that counts lies in [lo, hi]
	for lo < hi {
		mid := (lo + hi) / 2
		at, err := r.Instant(g.ID, series, mid)
		if err != nil {
			return 0, err
		}
		if at.After(now.Add(-l.Window)) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return newest - lo + 1, nil
}

// changeGroup locks a group, making it if need be, lets f change it, logs the
// event that f returns and judges the group anew.
func (e *Engine) changeGroup(ctx context.Context, key string, f func(u *unit, g *group) (*store.GroupEvent, error)) (*GroupInfo, error) {
	var info *GroupInfo
	err := e.store.Update(ctx, func(tx store.Tx) error {
		u := e.unit(tx)
		gs, err := u.openKeys([]string{key})
		if err != nil {
			return err
		}
		g := gs[0]
		ev, err := f(u, g)
		if err != nil {
			return err
		}
		ev.GroupID, ev.Key, ev.At, ev.AfterOrder = g.ID, key, u.now, g.Taken
		if err := tx.AddGroupEvent(ev); err != nil {
			return err
		}
		g.changed, g.touched = true, true
		if err := u.settle(); err != nil {
			return err
		}
		info, err = e.groupInfo(tx, g.Group)
		return err
	})
	return info, err
}

// SetOverride replaces the override of a group. It holds for all its jobs at
// once, waiting ones included, and stops nobody who runs.
func (e *Engine) SetOverride(ctx context.Context, key string, c OverrideChange) (*GroupInfo, error) {
	o, err := c.Fields.ValidateOverride()
	if err != nil {
		return nil, fieldError(err)
	}
	if c.MaxWaiting != nil && (*c.MaxWaiting < 1 || *c.MaxWaiting > 100*sluice.DefaultMaxWait) {
		return nil, sluice.Invalid("max_waiting", "must be a whole number from 1 to %d; leave it out for the default", 100*sluice.DefaultMaxWait)
	}
	if o.Empty() && c.MaxWaiting == nil {
		return nil, sluice.Invalid(limit.FieldN, "give at least one of %s, %s, %s and max_waiting", limit.FieldN, limit.FieldWindow, limit.FieldMode)
	}
	return e.changeGroup(ctx, key, func(_ *unit, g *group) (*store.GroupEvent, error) {
		g.Override, g.OverrideBy, g.OverrideWhy = o, c.By, c.Why
		g.MaxWaiting = 0
		if c.MaxWaiting != nil {
			g.MaxWaiting = *c.MaxWaiting
		}
		if o.Window != nil {
			g.MaxWindow = max(g.MaxWindow, *o.Window)
		}
		return &store.GroupEvent{Kind: store.EventOverride, Override: o, MaxWaiting: g.MaxWaiting, By: c.By, Why: c.Why}, nil
	})
}

// ClearOverride removes the override of a group.
func (e *Engine) ClearOverride(ctx context.Context, key, by, why string) (*GroupInfo, error) {
	return e.changeGroup(ctx, key, func(_ *unit, g *group) (*store.GroupEvent, error) {
		g.Override, g.OverrideBy, g.OverrideWhy, g.MaxWaiting = limit.Override{}, "", "", 0
		return &store.GroupEvent{Kind: store.EventClear, By: by, Why: why}, nil
	})
}

// Pause holds a group back; running jobs go on and windows run on.
func (e *Engine) Pause(ctx context.Context, key string, c PauseChange) (*GroupInfo, error) {
	return e.changeGroup(ctx, key, func(u *unit, g *group) (*store.GroupEvent, error) {
		if !c.Until.IsZero() && !c.Until.After(u.now) {
			return nil, sluice.Invalid("until", "must lie in the future")
		}
		g.Pause = limit.Pause{Paused: true, Until: c.Until, By: c.By, Why: c.Why}
		return &store.GroupEvent{Kind: store.EventPause, Until: c.Until, By: c.By, Why: c.Why}, nil
	})
}

// Resume lifts a pause.
func (e *Engine) Resume(ctx context.Context, key, by, why string) (*GroupInfo, error) {
	return e.changeGroup(ctx, key, func(_ *unit, g *group) (*store.GroupEvent, error) {
		g.Pause = limit.Pause{}
		return &store.GroupEvent{Kind: store.EventResume, By: by, Why: why}, nil
	})
}

// Prune makes the history of a group count no longer. It is refused with
// conflict while a slot is held; waiting jobs stay.
func (e *Engine) Prune(ctx context.Context, key, by, why string) error {
	if _, err := e.Group(ctx, key); err != nil {
		return err
	}
	_, err := e.changeGroup(ctx, key, func(_ *unit, g *group) (*store.GroupEvent, error) {
		if n := g.Held(); n > 0 {
			return nil, sluice.Errorf(sluice.CodeConflict, "%d executions of the key %q still run; prune it when they have ended", n, key)
		}
		g.PrunedLaunches, g.PrunedReleases = g.Launched, g.Released
		return &store.GroupEvent{Kind: store.EventPrune, By: by, Why: why}, nil
	})
	return err
}
