package storetest

import (
	"fmt"
	"slices"
	"time"

	"sluice/internal/store"
	"sluice/limit"
)

func groupFields(w *world) {
	at := w.clock.Wall()
	g := w.group("key\x00 \xff 😀")
	w.both(func(r store.Reader) { w.equal("new", must(r.Group(g.Key)), &store.Group{ID: g.ID, Key: g.Key}) })
	full := &store.Group{
		ID: g.ID, Key: g.Key, Waiting: 1, MaxWaiting: 2, MaxWindow: 3 * time.Second, Typical: 4 * time.Millisecond, TrimmedOrder: 5,
		OverrideBy: "ann", OverrideWhy: "why",
		Group: limit.Group{
			Taken: 10, Struck: 1, Launched: 8, Released: 7, PrunedLaunches: 2, PrunedReleases: 3, TrimmedLaunches: 4, TrimmedReleases: 5,
			TrimmedAt: at, Override: limit.Override{N: ptr(4), Window: ptr(time.Minute), Mode: ptr(limit.Start)},
			Pause: limit.Pause{Paused: true, Until: at.Add(time.Hour), By: "bob", Why: "because"},
		},
	}
	steps := []func(g *store.Group){
		func(g *store.Group) { *g = *full },
		func(g *store.Group) { g.Taken, g.Released = 11, 8 },
		func(g *store.Group) { g.Override = limit.Override{Window: ptr(time.Duration(0))} },
		func(g *store.Group) { g.Override, g.Pause, g.OverrideBy = limit.Override{}, limit.Pause{}, "" },
		func(g *store.Group) { g.Pause = limit.Pause{Paused: true} },
	}
	for i, step := range steps {
		step(g)
		w.update(func(tx store.Tx) { ok(tx.SaveGroup(g)) })
		w.both(func(r store.Reader) {
			w.equal(fmt.Sprint("by key ", i), must(r.Group(g.Key)), g)
			w.equal(fmt.Sprint("by id ", i), must(r.GroupByID(g.ID)), g)
			w.equal(fmt.Sprint("in the list ", i), must(r.Groups(store.GroupFilter{})), []*store.Group{g})
		})
	}
	w.both(func(r store.Reader) {
		_, err := r.Group("other")
		w.isErr("no such key", err, store.ErrNotFound)
		_, err = r.GroupByID(g.ID + 1000)
		w.isErr("no such id", err, store.ErrNotFound)
	})
	err := w.try(func(tx store.Tx) { ok(tx.SaveGroup(&store.Group{ID: g.ID + 1000})) })
	w.isErr("save of no group", err, store.ErrNotFound)
}

func groupsInBulk(w *world) {
	old := w.group("g5")
	var keys []string
	for i := range 3000 {
		keys = append(keys, fmt.Sprint("g", i%2900))
	}
	w.update(func(tx store.Tx) {
		gs := must(tx.LockGroups(keys))
		seen := map[int64]string{}
		for i, g := range gs {
			if g.Key != keys[i] || seen[g.ID] != "" && seen[g.ID] != g.Key {
				w.Fatalf("place %d: key %q, want %q", i, g.Key, keys[i])
			}
			seen[g.ID] = g.Key
		}
		w.equal("groups", len(seen), 2900)
		w.equal("the one that was there", gs[5], old)
		got := must(tx.LockGroupIDs([]int64{gs[1].ID, 1 << 40, gs[0].ID}))
		w.equal("by id", got, []*store.Group{gs[1], nil, gs[0]})
		w.equal("no keys", len(must(tx.LockGroups(nil))), 0)
	})
	w.view(func(r store.Reader) { w.equal("stored", len(must(r.Groups(store.GroupFilter{Limit: 5000}))), 2900) })
}

func groupList(w *world) {
	keys := []string{"", "\x00", "B", "a", "a%b", "aXb", "b", "é", "\xff"}
	for i := len(keys) - 1; i >= 0; i-- {
		w.group(keys[i])
	}
	w.update(func(tx store.Tx) {
		for key, set := range map[string]func(*store.Group){
			"a": func(g *store.Group) { g.Taken = 1 }, "b": func(g *store.Group) { g.Waiting = 1 },
			"B": func(g *store.Group) { g.Override.N = ptr(1) }, "é": func(g *store.Group) { g.Pause.Paused = true },
			"\xff": func(g *store.Group) { g.Taken, g.Launched, g.Released = 1, 1, 1 },
		} {
			g := must(tx.Group(key))
			set(g)
			ok(tx.SaveGroup(g))
		}
	})
	list := func(r store.Reader, f store.GroupFilter) []string {
		got := []string{}
		for _, g := range must(r.Groups(f)) {
			got = append(got, g.Key)
		}
		return got
	}
	w.both(func(r store.Reader) {
		w.equal("all", list(r, store.GroupFilter{}), keys)
		w.equal("after", list(r, store.GroupFilter{AfterKey: ptr("a"), Limit: 2}), []string{"a%b", "aXb"})
		w.equal("after the empty one", list(r, store.GroupFilter{AfterKey: ptr(""), Limit: 1}), []string{"\x00"})
		w.equal("contains", list(r, store.GroupFilter{KeyContains: "%"}), []string{"a%b"})
		w.equal("contains", list(r, store.GroupFilter{KeyContains: "b"}), []string{"a%b", "aXb", "b"})
		w.equal("active", list(r, store.GroupFilter{Active: true}), []string{"B", "a", "b", "é"})
		w.equal("active after", list(r, store.GroupFilter{Active: true, AfterKey: ptr("B"), Limit: 1}), []string{"a"})
	})
	w.update(func(tx store.Tx) {
		g := must(tx.Group("aXb"))
		g.Taken, g.Struck, g.Launched, g.Released, g.Waiting = 5, 1, 4, 2, 1
		ok(tx.SaveGroup(g))
	})
	w.both(func(r store.Reader) {
		w.equal("most waiting first", list(r, store.GroupFilter{Order: store.ByWaiting, Limit: 3}), []string{"aXb", "b", ""})
		w.equal("most held first", list(r, store.GroupFilter{Order: store.ByHeld, Limit: 3}), []string{"aXb", "a", ""})
		w.equal("most held of the active", list(r, store.GroupFilter{Order: store.ByHeld, Active: true}), []string{"aXb", "a", "B", "b", "é"})
		w.equal("most waiting with a text", list(r, store.GroupFilter{Order: store.ByWaiting, KeyContains: "a"}), []string{"aXb", "a", "a%b"})
	})
	w.update(func(tx store.Tx) {
		g := must(tx.Group("aXb"))
		g.Taken, g.Struck, g.Launched, g.Released, g.Waiting = 4, 0, 4, 4, 0
		ok(tx.SaveGroup(g))
		g = must(tx.Group("a"))
		g.Launched, g.Released = 1, 1
		ok(tx.SaveGroup(g))
	})
	w.both(func(r store.Reader) {
		w.equal("active", list(r, store.GroupFilter{Active: true}), []string{"B", "b", "é"})
	})
}

func groupEvents(w *world) {
	at := w.clock.Wall()
	list := []*store.GroupEvent{
		{GroupID: 1, Key: "a\x00", At: at, Kind: store.EventOverride, AfterOrder: 7, Override: limit.Override{N: ptr(1)}, By: "ann", Why: "x"},
		{GroupID: 2, Key: "b", At: at, Kind: store.EventPause, Until: at.Add(time.Hour)},
		{GroupID: 1, Key: "a\x00", At: at, Kind: store.EventClear, MaxWaiting: 3, Override: limit.Override{Window: ptr(time.Second), Mode: ptr(limit.End)}},
	}
	for i, e := range list {
		w.update(func(tx store.Tx) { ok(tx.AddGroupEvent(e)) })
		if i > 0 && e.Seq <= list[i-1].Seq {
			w.Errorf("event %d drew %d after %d", i, e.Seq, list[i-1].Seq)
		}
	}
	w.both(func(r store.Reader) {
		w.equal("all", must(r.GroupEvents(0, 0, 10)), list)
		w.equal("of one", must(r.GroupEvents(1, 0, 10)), []*store.GroupEvent{list[0], list[2]})
		w.equal("after", must(r.GroupEvents(0, list[0].Seq, 1)), list[1:2])
		w.equal("of one after", must(r.GroupEvents(1, list[0].Seq, 10)), list[2:])
	})
}

// groupCopies changes rows without saving them.
func groupCopies(w *world) {
	g := w.group("g")
	l := w.line(g.ID, "bash")
	w.update(func(tx store.Tx) {
		got := must(tx.GroupByID(g.ID))
		got.Override.N = ptr(5)
		ok(tx.SaveGroup(got))
		*got.Override.N = 6
		*must(tx.Group("g")).Override.N = 7
		must(tx.LockGroups([]string{"g"}))[0].Taken = 8
		must(tx.LockLine(l.ID)).Queued = 9
		must(tx.LinesOf(g.ID))[0].Queued = 9
	})
	w.both(func(r store.Reader) {
		got := must(r.GroupByID(g.ID))
		w.equal("override", *got.Override.N, 5)
		w.equal("taken", got.Taken, int64(0))
		w.equal("queued", must(r.LinesOf(g.ID))[0].Queued, int64(0))
	})
}

func lineCounts(w *world) {
	base := w.clock.Wall()
	held, until := w.group("paused"), w.group("paused for a while")
	w.update(func(tx store.Tx) {
		for g, p := range map[*store.Group]limit.Pause{held: {Paused: true}, until: {Paused: true, Until: base.Add(time.Minute)}} {
			g.Pause = p
			ok(tx.SaveGroup(g))
		}
		for i, of := range []struct {
			group int64
			path  string
			ready bool
		}{{held.ID, "", false}, {until.ID, "", false}, {0, "p", true}, {0, "q", true}, {0, "r", false}} {
			l := must(tx.EnsureLine(of.group, "main", of.path, "bash"))
			l.Queued, l.Scheduled, l.Ready = int64(i+1), int64(10*i), of.ready
			if i != 4 {
				l.Head.Seq, l.Head.Due = int64(i+1), base.Add(-time.Duration(i)*time.Second)
			}
			ok(tx.SaveLine(l))
		}
	})
	check := func(want ...store.LineCount) {
		w.both(func(r store.Reader) {
			got := must(r.LineCounts())
			slices.SortFunc(got, func(a, b store.LineCount) int { return int(a.Queued - b.Queued) })
			w.equal("counts", got, want)
		})
	}
	loose := []store.LineCount{
		{Tag: "bash", Queued: 5, Scheduled: 40},
		{Tag: "bash", Ready: true, Queued: 7, Scheduled: 50, OldestDue: base.Add(-3 * time.Second)},
	}
	check(append([]store.LineCount{
		{Tag: "bash", InGroup: true, Paused: true, Queued: 3, Scheduled: 10, OldestDue: base.Add(-time.Second)},
	}, loose...)...)
	w.clock.Pass(time.Minute)
	check(append([]store.LineCount{
		{Tag: "bash", InGroup: true, Paused: true, Queued: 1, OldestDue: base},
		{Tag: "bash", InGroup: true, Queued: 2, Scheduled: 10, OldestDue: base.Add(-time.Second)},
	}, loose...)...)
}
