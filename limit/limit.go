package limit

import (
	"fmt"
	"time"
)

// Bounds of the parameters.
const (
	MaxN      = 1_000_000
	MaxWindow = 31 * 24 * time.Hour
)

// Mode says from which instant of an execution its window runs.
type Mode string

// The modes.
const (
	End   Mode = "end"   // from its end: at most N per W + duration; safe whatever it does when
	Start Mode = "start" // from its launch: a plain rate of N per W
)

// Source says where the limit in force came from.
type Source string

// The sources.
const (
	FromJob      Source = "job"
	FromOverride Source = "override"
)

// Limit is a job's limit: at most N executions in any window. N is 1 … MaxN;
// Window is 0 … MaxWindow in whole seconds; the zero Mode means End. With
// Window 0, End limits what runs at once; Start needs a window.
type Limit struct {
	N      int
	Window time.Duration
	Mode   Mode
}

// String says the limit in words, for people.
func (l Limit) String() string {
	switch {
	case l.Window == 0:
		return fmt.Sprintf("at most %d at once", l.N)
	case l.Mode == Start:
		return fmt.Sprintf("at most %d starts in any %s", l.N, words(l.Window))
	}
	return fmt.Sprintf("at most %d in any %s, counted from the end", l.N, words(l.Window))
}

func words(d time.Duration) string {
	switch {
	case d%time.Hour == 0 && d > 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0 && d > 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// Override replaces the fields that it gives for every job of a group.
type Override struct {
	N      *int
	Window *time.Duration
	Mode   *Mode
}

// Empty reports whether the override replaces nothing.
func (o Override) Empty() bool { return o.N == nil && o.Window == nil && o.Mode == nil }

// Apply returns the limit in force for a job that was pushed with l. If what
// results is a start mode without a window, which no job and no complete
// override may ask for, it is read as end mode: the stricter of the two.
func (o Override) Apply(l Limit) (Limit, Source) {
	if l.Mode == "" {
		l.Mode = End
	}
	if o.Empty() {
		return l, FromJob
	}
	if o.N != nil {
		l.N = *o.N
	}
	if o.Window != nil {
		l.Window = *o.Window
	}
	if o.Mode != nil {
		l.Mode = *o.Mode
	}
	if l.Mode == Start && l.Window == 0 {
		l.Mode = End
	}
	return l, FromOverride
}

// Pause holds a whole group back. The zero value is no pause; a zero Until
// means until resumed.
type Pause struct {
	Paused bool
	Until  time.Time
	By     string
	Why    string
}

// At reports whether the pause is in force at now. It is free at exactly Until.
func (p Pause) At(now time.Time) bool {
	return p.Paused && (p.Until.IsZero() || now.Before(p.Until))
}

// Series names one of the two kinds of history instants of a group.
type Series string

// The series.
const (
	Releases Series = "releases" // numbered by end, instants released_at
	Launches Series = "launches" // numbered by launch, instants confirmed_at, else released_at
)

// Group is what is known of a group when it is asked for room: the newest
// number drawn of each kind, and what was forgotten. All numbers start at 1
// and have no gaps.
type Group struct {
	Taken    int64 // executions ever taken
	Struck   int64 // of those, struck out
	Launched int64 // of those, confirmed, or released unconfirmed
	Released int64 // of those, released

	// History up to these numbers was pruned by an administrator: it does not count.
	PrunedLaunches int64
	PrunedReleases int64
	// History up to these numbers was deleted by retention; every instant in it
	// is at or before TrimmedAt. It counts as if it had happened at TrimmedAt.
	TrimmedLaunches int64
	TrimmedReleases int64
	TrimmedAt       time.Time

	Override Override
	Pause    Pause
}

// Held returns the number of executions that hold a slot.
func (g *Group) Held() int64 { return g.Taken - g.Struck - g.Released }

// Unlaunched returns the number of executions that hold a slot and are not
// confirmed.
func (g *Group) Unlaunched() int64 { return g.Taken - g.Struck - g.Launched }

// Probe is what decides about room: that the group is full whatever its
// history, that nothing in its history counts, or one instant.
type Probe struct {
	Full   bool      // the slots held alone reach N
	Series Series    // which history decides; meaningful unless Full
	No     int64     // number of the instant that a store must look up; 0: none
	At     time.Time // the instant that decides, where it is known without a look-up
}

// Probe says what decides whether ahead jobs and then one more, all under l,
// find room at once. ahead is 0 for the first job in line. l is the limit in
// force (see [Override.Apply]).
func (g *Group) Probe(l Limit, ahead int64) Probe {
	if l.Mode == Start {
		return g.probe(Launches, int64(l.N)-g.Unlaunched()-ahead)
	}
	return g.probe(Releases, int64(l.N)-g.Held()-ahead)
}

// probe returns the probe when spare slots are left beside those held.
func (g *Group) probe(s Series, spare int64) Probe {
	if spare <= 0 {
		return Probe{Full: true, Series: s}
	}
	newest, pruned, trimmed := g.Released, g.PrunedReleases, g.TrimmedReleases
	if s == Launches {
		newest, pruned, trimmed = g.Launched, g.PrunedLaunches, g.TrimmedLaunches
	}
	no := newest - spare + 1
	switch {
	case no < 1 || no <= pruned:
		return Probe{Series: s}
	case no <= trimmed:
		return Probe{Series: s, At: g.TrimmedAt}
	}
	return Probe{Series: s, No: no}
}

// Room says from when on a limit leaves room, as far as can be told now.
type Room struct {
	Now  bool      // there is room
	From time.Time // without room: the first instant with room if nothing else happens; zero: only an event can make room
}

// Decide gives the verdict on a probe: at is the instant that the probe asked
// for, or its own At. An instant that was asked for and is not given means that
// nobody can tell, and then there is no room.
func Decide(now time.Time, g *Group, l Limit, p Probe, at time.Time) Room {
	room := decide(now, l, p, at)
	if !g.Pause.At(now) {
		return room
	}
	until := g.Pause.Until
	switch {
	case room.Now || until.IsZero():
		return Room{From: until}
	case room.From.IsZero() || room.From.After(until):
		return Room{From: room.From} // what the history says outlasts the pause
	}
	return Room{From: until}
}

// decide gives the verdict that a group has when it is not paused.
func decide(now time.Time, l Limit, p Probe, at time.Time) Room {
	switch {
	case p.Full:
		return Room{}
	case at.IsZero():
		return Room{Now: p.No == 0} // nothing in the history stands in the way, if nothing was asked for
	}
	if free := at.Add(l.Window); now.Before(free) {
		return Room{From: free}
	}
	return Room{Now: true}
}
