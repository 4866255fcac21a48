package limit_test

import (
	"strconv"
	"testing"
	"time"

	"sluice/limit"
)

const (
	none    = time.Duration(-1) // there is room
	anEvent = time.Duration(-2) // only an event can make room
)

// build plays steps such as "take a", "release a" in the world.
type step struct {
	at   time.Duration
	what string // take, confirm, release, strike, prune
	name string
}

func play(t *testing.T, w *world, steps []step) {
	t.Helper()
	for _, s := range steps {
		w.now = at(s.at)
		switch s.what {
		case "take":
			w.take(s.name)
		case "confirm":
			w.confirm(w.find(s.name))
		case "release":
			w.release(w.find(s.name))
		case "strike":
			w.strike(w.find(s.name))
		case "prune":
			w.prune()
		default:
			t.Fatalf("no step %q", s.what)
		}
	}
}

// steps returns n executions, taken and confirmed at the start of the times,
// released at the end of them; a negative end means held.
func ran(times ...[2]time.Duration) []step {
	var out []step
	for i, x := range times {
		name := strconv.Itoa(i)
		out = append(out, step{x[0], "take", name}, step{x[0], "confirm", name})
		if x[1] >= 0 {
			out = append(out, step{x[1], "release", name})
		}
	}
	return out
}

// TestEdges are the edges of the rule (A14, A17, A23): each row asks at some
// instants and says from when on there is room.
func TestEdges(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	type question struct {
		at   time.Duration
		want time.Duration // none, anEvent, or the instant from which there is room
	}
	held := time.Duration(-1)
	for _, test := range []struct {
		name  string
		steps []step
		group func(*limit.Group)
		asker asker
		ahead int
		ask   []question
	}{
		{
			name: "nothing ever ran", asker: asker{n: 1, window: 10 * s},
			ask: []question{{0, none}, {5 * s, none}},
		}, {
			name: "no window: the slot is free when it is released, even in the same microsecond", steps: ran([2]time.Duration{0, 5 * s}),
			asker: asker{n: 1},
			ask:   []question{{5*s - us, 5 * s}, {5 * s, none}, {5*s + us, none}},
		}, {
			name: "no window: held", steps: ran([2]time.Duration{0, held}), asker: asker{n: 1},
			ask: []question{{0, anEvent}, {time.Hour, anEvent}},
		}, {
			name: "no window: one of two held", steps: ran([2]time.Duration{0, held}), asker: asker{n: 2},
			ask: []question{{0, none}},
		}, {
			name: "end: free at exactly the end of the window", steps: ran([2]time.Duration{0, 5 * s}),
			asker: asker{n: 1, window: 10 * s},
			ask:   []question{{5 * s, 15 * s}, {15*s - us, 15 * s}, {15 * s, none}, {15*s + us, none}},
		}, {
			name: "end: a release in the future counts", steps: ran([2]time.Duration{0, 50 * s}),
			asker: asker{n: 1, window: 10 * s},
			ask:   []question{{0, 60 * s}, {49 * s, 60 * s}, {60*s - us, 60 * s}, {60 * s, none}},
		}, {
			name: "end: held and history together", steps: ran([2]time.Duration{0, 1 * s}, [2]time.Duration{0, 2 * s}, [2]time.Duration{0, held}),
			asker: asker{n: 3, window: 10 * s},
			ask:   []question{{3 * s, 11 * s}, {11*s - us, 11 * s}, {11 * s, none}},
		}, {
			name: "end: a slow job's end is later than that of a fast one that started after it (A17)",
			steps: []step{
				{0, "take", "slow"}, {1 * s, "take", "fast"}, {2 * s, "release", "fast"}, {8 * s, "release", "slow"},
			},
			asker: asker{n: 1, window: 10 * s},
			ask:   []question{{9 * s, 18 * s}, {12 * s, 18 * s}, {18*s - us, 18 * s}, {18 * s, none}},
		}, {
			name: "end: two released in one microsecond count twice (A4)", steps: ran([2]time.Duration{0, 1 * s}, [2]time.Duration{0, 1 * s}),
			asker: asker{n: 2, window: 10 * s},
			ask:   []question{{11*s - us, 11 * s}, {11 * s, none}},
		}, {
			name: "end: N lowered below what is held (B8)", steps: ran([2]time.Duration{0, held}, [2]time.Duration{0, held}, [2]time.Duration{0, held}),
			asker: asker{n: 1, window: 10 * s}, ask: []question{{1 * s, anEvent}},
		}, {
			name: "end: N lowered below what is counted", steps: ran([2]time.Duration{0, 1 * s}, [2]time.Duration{0, 2 * s}, [2]time.Duration{0, 3 * s}),
			asker: asker{n: 1, window: 10 * s}, ask: []question{{4 * s, 13 * s}, {13 * s, none}},
		}, {
			name: "end: struck out counts nowhere", steps: []step{{0, "take", "a"}, {1 * s, "strike", "a"}},
			asker: asker{n: 1, window: 10 * s}, ask: []question{{1 * s, none}},
		}, {
			name: "end: a strict asker and a lax one see one history (A15, A23)", steps: ran([2]time.Duration{0, 1 * s}, [2]time.Duration{0, 2 * s}),
			asker: asker{n: 2, window: 60 * s}, ask: []question{{3 * s, 61 * s}, {61 * s, none}},
		}, {
			name: "end: one ahead takes the one slot", steps: ran([2]time.Duration{0, 1 * s}, [2]time.Duration{0, 2 * s}),
			asker: asker{n: 2, window: 10 * s}, ahead: 1, ask: []question{{3 * s, 12 * s}, {12*s - us, 12 * s}, {12 * s, none}},
		}, {
			name: "end: as many ahead as slots", asker: asker{n: 2, window: 10 * s}, ahead: 2, ask: []question{{0, anEvent}},
		}, {
			name: "start: from the confirmation, not from the take (A18)",
			steps: []step{
				{0, "take", "a"}, {7 * s, "confirm", "a"},
			},
			asker: asker{n: 1, window: 10 * s, start: true},
			ask:   []question{{7 * s, 17 * s}, {17*s - us, 17 * s}, {17 * s, none}},
		}, {
			name: "start: taken and not confirmed holds the slot for ever", steps: []step{{0, "take", "a"}},
			asker: asker{n: 1, window: 1 * s, start: true}, ask: []question{{time.Hour, anEvent}},
		}, {
			name:  "start: released unconfirmed counts from the release",
			steps: []step{{0, "take", "a"}, {4 * s, "release", "a"}},
			asker: asker{n: 1, window: 10 * s, start: true}, ask: []question{{5 * s, 14 * s}, {14*s - us, 14 * s}, {14 * s, none}},
		}, {
			name: "start: a long job does not hold its slot (A5)", steps: ran([2]time.Duration{0, held}),
			asker: asker{n: 1, window: 10 * s, start: true}, ask: []question{{10*s - us, 10 * s}, {10 * s, none}},
		}, {
			name: "start: a launch in the future counts", steps: ran([2]time.Duration{30 * s, held}),
			asker: asker{n: 1, window: 10 * s, start: true}, ask: []question{{0, 40 * s}, {40 * s, none}},
		}, {
			name: "pruned history does not count", steps: append(ran([2]time.Duration{0, 1 * s}, [2]time.Duration{0, 2 * s}), step{3 * s, "prune", ""}),
			asker: asker{n: 1, window: 10 * s}, ask: []question{{3 * s, none}},
		}, {
			name:  "what is released after a prune counts",
			steps: append(append(ran([2]time.Duration{0, 1 * s}), step{3 * s, "prune", ""}), step{3 * s, "take", "b"}, step{4 * s, "release", "b"}),
			asker: asker{n: 1, window: 10 * s}, ask: []question{{5 * s, 14 * s}, {14 * s, none}},
		}, {
			name: "pruned launches do not count", steps: append(ran([2]time.Duration{0, 1 * s}), step{3 * s, "prune", ""}),
			asker: asker{n: 1, window: 10 * s, start: true}, ask: []question{{3 * s, none}},
		}, {
			name: "paused until resumed", group: func(g *limit.Group) { g.Pause = limit.Pause{Paused: true} },
			asker: asker{n: 1}, ask: []question{{0, anEvent}, {time.Hour, anEvent}},
		}, {
			name: "paused until exactly T", group: func(g *limit.Group) { g.Pause = limit.Pause{Paused: true, Until: at(5 * s)} },
			asker: asker{n: 1}, ask: []question{{0, 5 * s}, {5*s - us, 5 * s}, {5 * s, none}},
		}, {
			name: "an instant without a pause is none", group: func(g *limit.Group) { g.Pause = limit.Pause{Until: at(5 * s)} },
			asker: asker{n: 1}, ask: []question{{0, none}},
		}, {
			name: "paused, and the window ends later", steps: ran([2]time.Duration{0, 1 * s}),
			group: func(g *limit.Group) { g.Pause = limit.Pause{Paused: true, Until: at(5 * s)} },
			asker: asker{n: 1, window: 10 * s}, ask: []question{{2 * s, 11 * s}, {5 * s, 11 * s}, {11 * s, none}},
		}, {
			name: "paused, and the window ends earlier", steps: ran([2]time.Duration{0, 1 * s}),
			group: func(g *limit.Group) { g.Pause = limit.Pause{Paused: true, Until: at(50 * s)} },
			asker: asker{n: 1, window: 10 * s}, ask: []question{{2 * s, 50 * s}, {50 * s, none}},
		}, {
			name: "paused until T, and full: the pause's end alone makes no room", steps: ran([2]time.Duration{0, held}),
			group: func(g *limit.Group) { g.Pause = limit.Pause{Paused: true, Until: at(5 * s)} },
			asker: asker{n: 1}, ask: []question{{2 * s, anEvent}, {5 * s, anEvent}},
		}, {
			name: "paused until resumed, with history", steps: ran([2]time.Duration{0, 1 * s}),
			group: func(g *limit.Group) { g.Pause = limit.Pause{Paused: true} },
			asker: asker{n: 1, window: 10 * s}, ask: []question{{2 * s, anEvent}},
		}, {
			name: "milliseconds matter", steps: ran([2]time.Duration{0, 1 * ms}),
			asker: asker{n: 1, window: 1 * s}, ask: []question{{1*s + ms - us, 1*s + ms}, {1*s + ms, none}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			play(t, w, test.steps)
			if test.group != nil {
				test.group(&w.group)
			}
			for _, q := range test.ask {
				room := w.ask(at(q.at), test.asker.limit(), int64(test.ahead))
				want := limit.Room{Now: q.want == none}
				if q.want >= 0 {
					want.From = at(q.want)
				}
				if room.Now != want.Now || !room.From.Equal(want.From) {
					t.Errorf("at %s: %+v, want %+v", q.at, room, want)
				}
				if model := w.mayStart(at(q.at), test.asker, test.ahead); model != want.Now {
					t.Errorf("at %s: the model says %t, the table %t", q.at, model, want.Now)
				}
			}
		})
	}
}

// TestTrimmed: what retention deleted counts as if it had happened at
// TrimmedAt, for whoever asks with a window longer than history is kept (A20).
func TestTrimmed(t *testing.T) {
	const s = time.Second
	w := newWorld()
	play(t, w, ran([2]time.Duration{0, 1 * s}, [2]time.Duration{0, 2 * s}, [2]time.Duration{5 * s, 6 * s}))
	w.trim(2, 2, at(4*s))
	for _, test := range []struct {
		l    limit.Limit
		no   int64
		from time.Time
	}{
		{limit.Limit{N: 1, Window: 10 * s}, 3, at(16 * s)},
		{limit.Limit{N: 2, Window: 10 * s}, 0, at(14 * s)}, // number 2 was deleted
		{limit.Limit{N: 3, Window: 10 * s}, 0, at(14 * s)}, // number 1 too
		{limit.Limit{N: 1, Window: 10 * s, Mode: limit.Start}, 3, at(15 * s)},
		{limit.Limit{N: 2, Window: 10 * s, Mode: limit.Start}, 0, at(14 * s)},
	} {
		p := w.group.Probe(test.l, 0)
		if p.Full || p.No != test.no {
			t.Errorf("%v: probe %+v, want number %d", test.l, p, test.no)
		}
		if room := w.ask(at(7*s), test.l, 0); room.Now || !room.From.Equal(test.from) {
			t.Errorf("%v: %+v, want room from %s", test.l, room, test.from)
		}
		if room := w.ask(test.from, test.l, 0); !room.Now {
			t.Errorf("%v: no room at %s", test.l, test.from)
		}
	}
	if room := w.ask(at(7*s), limit.Limit{N: 4, Window: time.Hour}, 0); !room.Now {
		t.Errorf("three of four counted, and no room: %+v", room)
	}
}

// TestProbeNames which number decides: the example of the package comment.
func TestProbeNamesTheNumber(t *testing.T) {
	g := limit.Group{Taken: 9, Struck: 3, Launched: 6, Released: 5}
	if g.Held() != 1 || g.Unlaunched() != 0 {
		t.Fatalf("held %d, unlaunched %d; want 1, 0", g.Held(), g.Unlaunched())
	}
	p := g.Probe(limit.Limit{N: 3, Window: 10 * time.Second}, 0)
	if p.Full || p.Series != limit.Releases || p.No != 4 {
		t.Errorf("N = 3, one held, five releases: %+v, want release 4", p)
	}
	if p := g.Probe(limit.Limit{N: 3, Window: time.Second, Mode: limit.Start}, 0); p.Series != limit.Launches || p.No != 4 {
		t.Errorf("start mode: %+v, want launch 4", p)
	}
	if p := g.Probe(limit.Limit{N: limit.MaxN}, 0); p.No != 0 || p.Full || !p.At.IsZero() {
		t.Errorf("a limit wider than history: %+v, want nothing to look up", p)
	}
	pruned := limit.Group{Taken: 9, Launched: 9, Released: 6, PrunedLaunches: 8, PrunedReleases: 5}
	if p := pruned.Probe(limit.Limit{N: 2, Window: time.Second, Mode: limit.Start}, 0); p.Full || p.No != 0 {
		t.Errorf("launch 8 was pruned: %+v, want nothing to look up", p)
	}
	if p := pruned.Probe(limit.Limit{N: 1, Window: time.Second, Mode: limit.Start}, 0); p.No != 9 {
		t.Errorf("launch 9 was not pruned: %+v", p)
	}
	if p := g.Probe(limit.Limit{N: 1}, 0); !p.Full {
		t.Errorf("N = 1, one held: %+v, want full", p)
	}
}

// TestUnknownInstant: when the engine cannot tell, the job waits (promise 11).
func TestUnknownInstant(t *testing.T) {
	var g limit.Group
	if room := limit.Decide(epoch, &g, limit.Limit{N: 1, Window: time.Second}, limit.Probe{No: 7, Series: limit.Releases}, time.Time{}); room.Now || !room.From.IsZero() {
		t.Errorf("an instant that was asked for and is not known: %+v, want no room", room)
	}
}

// TestOverride: an override replaces the fields that it gives.
func TestOverride(t *testing.T) {
	n, ten, zero := 7, 10*time.Second, time.Duration(0)
	start, end := limit.Start, limit.End
	for _, test := range []struct {
		name   string
		o      limit.Override
		l      limit.Limit
		want   limit.Limit
		source limit.Source
		empty  bool
	}{
		{"none", limit.Override{}, limit.Limit{N: 2, Window: ten}, limit.Limit{N: 2, Window: ten, Mode: end}, limit.FromJob, true},
		{"none, start", limit.Override{}, limit.Limit{N: 2, Window: ten, Mode: start}, limit.Limit{N: 2, Window: ten, Mode: start}, limit.FromJob, true},
		{"N", limit.Override{N: &n}, limit.Limit{N: 2, Window: ten, Mode: start}, limit.Limit{N: 7, Window: ten, Mode: start}, limit.FromOverride, false},
		{"window", limit.Override{Window: &ten}, limit.Limit{N: 2}, limit.Limit{N: 2, Window: ten, Mode: end}, limit.FromOverride, false},
		{"mode", limit.Override{Mode: &start}, limit.Limit{N: 2, Window: ten}, limit.Limit{N: 2, Window: ten, Mode: start}, limit.FromOverride, false},
		{"mode, without a window", limit.Override{Mode: &start}, limit.Limit{N: 2}, limit.Limit{N: 2, Mode: end}, limit.FromOverride, false},
		{"window 0 of a start limit", limit.Override{Window: &zero}, limit.Limit{N: 2, Window: ten, Mode: start}, limit.Limit{N: 2, Mode: end}, limit.FromOverride, false},
		{"all", limit.Override{N: &n, Window: &ten, Mode: &end}, limit.Limit{N: 2, Window: 1, Mode: start}, limit.Limit{N: 7, Window: ten, Mode: end}, limit.FromOverride, false},
	} {
		got, source := test.o.Apply(test.l)
		if got != test.want || source != test.source || test.o.Empty() != test.empty {
			t.Errorf("%s: %+v from %s, want %+v from %s", test.name, got, source, test.want, test.source)
		}
	}
}

// TestWords: how a limit is said to people.
func TestWords(t *testing.T) {
	for want, l := range map[string]limit.Limit{
		"at most 3 at once":                             {N: 3},
		"at most 5 in any 10 s, counted from the end":   {N: 5, Window: 10 * time.Second, Mode: limit.End},
		"at most 1 in any 90 s, counted from the end":   {N: 1, Window: 90 * time.Second},
		"at most 5 starts in any 2 min":                 {N: 5, Window: 2 * time.Minute, Mode: limit.Start},
		"at most 60 starts in any 36 h":                 {N: 60, Window: 36 * time.Hour, Mode: limit.Start},
		"at most 2 in any 744 h, counted from the end":  {N: 2, Window: limit.MaxWindow},
		"at most 2 in any 3601 s, counted from the end": {N: 2, Window: time.Hour + time.Second},
	} {
		if got := l.String(); got != want {
			t.Errorf("%+v: %q, want %q", l, got, want)
		}
	}
}
