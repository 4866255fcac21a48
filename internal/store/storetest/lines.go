package storetest

import (
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

func lineFields(w *world) {
	at := w.clock.Wall()
	l := w.line(0, "bash")
	steps := []func(l *store.Line){
		func(l *store.Line) {
			l.Queued, l.Scheduled, l.Turn, l.Ready, l.BlockedBy, l.WakeAt = 2, 3, 99, true, "gpu\npython3\n", at
			l.Head = sluice.Rank{Priority: -5, Due: at, Seq: 7}
			l.HeadLimit = limit.Limit{N: 2, Window: time.Minute, Mode: limit.Start}
			l.NextDue = at.Add(time.Hour)
		},
		func(l *store.Line) { l.Queued, l.Head.Seq = 1, 8 },
		func(l *store.Line) { l.Turn = 100 },
		func(l *store.Line) {
			l.Head, l.NextDue, l.WakeAt, l.Ready, l.BlockedBy = sluice.Rank{}, time.Time{}, time.Time{}, false, ""
		},
	}
	for _, step := range steps {
		step(l)
		w.update(func(tx store.Tx) {
			ok(tx.SaveLine(l))
			w.equal("locked", must(tx.LockLine(l.ID)), l)
		})
		w.both(func(r store.Reader) { w.equal("line", must(r.LineFor(0, "main", "f/a/b", "bash")), l) })
	}
	w.update(func(tx store.Tx) {
		ok(tx.DeleteLine(l.ID))
		_, err := tx.LockLine(l.ID)
		w.isErr("deleted", err, store.ErrNotFound)
	})
	w.both(func(r store.Reader) {
		_, err := r.LineFor(0, "main", "f/a/b", "bash")
		w.isErr("deleted", err, store.ErrNotFound)
	})
	err := w.try(func(tx store.Tx) { ok(tx.SaveLine(l)) })
	w.isErr("save of no line", err, store.ErrNotFound)
}

func lineNames(w *world) {
	g, h := w.group("g"), w.group("h")
	var first, second *store.Line
	w.update(func(tx store.Tx) {
		first = must(tx.EnsureLine(g.ID, "ignored", "ignored", "a"))
		second = must(tx.EnsureLine(g.ID, "", "", "b"))
		if second.Turn <= first.Turn {
			w.Errorf("turn %d after %d", second.Turn, first.Turn)
		}
		w.equal("turn above all", must(tx.NextTurn()) > second.Turn, true)
		must(tx.EnsureLine(h.ID, "", "", "a"))
		must(tx.EnsureLine(0, "main", "p", "a"))
		must(tx.EnsureLine(0, "main", "q", "a"))
		must(tx.EnsureLine(0, "two", "p", "a"))
	})
	w.equal("a group's line", []any{first.GroupID, first.Workspace, first.Path, first.Tag}, []any{g.ID, "", "", "a"})
	w.update(func(tx store.Tx) { w.equal("found again", must(tx.EnsureLine(g.ID, "", "", "a")), first) })
	w.both(func(r store.Reader) {
		got := must(r.LinesOf(g.ID))
		slices.SortFunc(got, func(a, b *store.Line) int { return int(a.ID - b.ID) })
		w.equal("lines of g", got, []*store.Line{first, second})
		w.equal("line for", must(r.LineFor(g.ID, "x", "y", "b")), second)
		w.equal("a loose line", must(r.LineFor(0, "main", "q", "a")).Path, "q")
		_, err := r.LineFor(0, "two", "q", "a")
		w.isErr("no such line", err, store.ErrNotFound)
		_, err = r.LineFor(h.ID, "", "", "b")
		w.isErr("no such line", err, store.ErrNotFound)
	})
}

// put makes a line that is ready.
func put(tx store.Tx, path, tag string, priority int, turn int64, blockedBy string) *store.Line {
	l := must(tx.EnsureLine(0, "main", path, tag))
	l.Queued, l.Ready, l.Turn, l.BlockedBy = 1, true, turn, blockedBy
	l.Head = sluice.Rank{Priority: priority, Seq: turn}
	ok(tx.SaveLine(l))
	return l
}

func readyLinesOrder(w *world) {
	w.update(func(tx store.Tx) {
		a := put(tx, "1", "a", 0, 50, "")
		b := put(tx, "2", "b", 0, 40, "")
		c := put(tx, "3", "a", 5, 90, "")
		d := put(tx, "4", "b", -5, 1, "")
		put(tx, "5", "c", 9, 1, "")
		idle := put(tx, "6", "a", 9, 1, "")
		idle.Ready = false
		ok(tx.SaveLine(idle))
		w.equal("two tags", lineIDs(must(tx.ReadyLines([]string{"b", "a"}, 10))), lineIDs([]*store.Line{c, b, a, d}))
		w.equal("whole rows", must(tx.ReadyLines([]string{"a"}, 10)), []*store.Line{c, a})
		w.equal("at most", lineIDs(must(tx.ReadyLines([]string{"a", "b"}, 2))), lineIDs([]*store.Line{c, b}))
		w.equal("a tag twice", lineIDs(must(tx.ReadyLines([]string{"b", "b"}, 10))), lineIDs([]*store.Line{b, d}))
		w.equal("no tags", len(must(tx.ReadyLines(nil, 10))), 0)
		w.equal("unknown tag", len(must(tx.ReadyLines([]string{"z"}, 10))), 0)
		b.Turn = 60
		ok(tx.SaveLine(b))
		w.equal("after its turn", lineIDs(must(tx.ReadyLines([]string{"b", "a"}, 10))), lineIDs([]*store.Line{c, a, b, d}))
		d.Head.Priority = 100
		ok(tx.SaveLine(d))
		w.equal("with a new head", lineIDs(must(tx.ReadyLines([]string{"b"}, 10))), lineIDs([]*store.Line{d, b}))
		ok(tx.DeleteLine(d.ID))
		w.equal("without it", lineIDs(must(tx.ReadyLines([]string{"b"}, 10))), lineIDs([]*store.Line{b}))
	})
}

// readyLinesForeseen changes lines after it was said that those that are ready
// will be asked for.
func readyLinesForeseen(w *world) {
	var a, b, c *store.Line
	w.update(func(tx store.Tx) {
		a, b, c = put(tx, "1", "a", 0, 10, ""), put(tx, "2", "a", 0, 20, ""), put(tx, "3", "a", 0, 30, "")
	})
	w.update(func(tx store.Tx) {
		tx.Foresee([]string{"a"}, 2)
		a, b := must(tx.LockLine(a.ID)), must(tx.LockLine(b.ID))
		a.Ready, b.Turn = false, 40
		ok(tx.SaveLine(a))
		ok(tx.SaveLine(b))
		d := put(tx, "4", "a", 0, 5, "")
		w.equal("the first two", lineIDs(must(tx.ReadyLines([]string{"a"}, 2))), lineIDs([]*store.Line{d, c}))
		w.equal("all", lineIDs(must(tx.ReadyLines([]string{"a"}, 10))), lineIDs([]*store.Line{d, c, b}))
		ok(tx.DeleteLine(must(tx.LockLine(c.ID)).ID))
		must(tx.LinesOf(0)) // what was written is seen by this at the latest
		w.equal("without one", lineIDs(must(tx.ReadyLines([]string{"a"}, 10))), lineIDs([]*store.Line{d, b}))
	})
}

func readyLinesBlocked(w *world) {
	w.update(func(tx store.Tx) {
		free := put(tx, "1", "a", 0, 5, "")
		byB := put(tx, "2", "a", 9, 4, "b\n")
		byBC := put(tx, "3", "a", 8, 3, "b\nc\n")
		byBB := put(tx, "4", "a", 7, 2, "bb\n")
		other := put(tx, "5", "d", 10, 1, "a\n")
		for _, c := range []struct {
			tags []string
			want []*store.Line
		}{
			{[]string{"a"}, []*store.Line{byB, byBC, byBB, free}},
			{[]string{"a", "b"}, []*store.Line{byBB, free}},
			{[]string{"c", "a"}, []*store.Line{byB, byBB, free}},
			{[]string{"a", "bb"}, []*store.Line{byB, byBC, free}},
			{[]string{"a", "d"}, []*store.Line{byB, byBC, byBB, free}},
			{[]string{"d"}, []*store.Line{other}},
			{[]string{"a", "b", "bb", "c"}, []*store.Line{free}},
		} {
			w.equal("ready for "+c.tags[0], lineIDs(must(tx.ReadyLines(c.tags, 10))), lineIDs(c.want))
		}
		w.equal("at most", lineIDs(must(tx.ReadyLines([]string{"a"}, 3))), lineIDs([]*store.Line{byB, byBC, byBB}))
	})
}

func dueLines(w *world) {
	base := w.clock.Wall()
	w.update(func(tx store.Tx) {
		w.equal("no line", must(tx.NextWake()), time.Time{})
		var lines []*store.Line
		for i, tag := range []string{"a", "b", "a", "c", "a"} {
			l := must(tx.EnsureLine(0, "main", string(rune('p'+i)), tag))
			l.WakeAt = base.Add(time.Duration(10-i) * time.Second)
			l.Ready = i == 2 // ready or not
			if i == 4 {
				l.WakeAt = time.Time{}
			}
			ok(tx.SaveLine(l))
			lines = append(lines, l)
		}
		w.equal("next", must(tx.NextWake()), lines[3].WakeAt)
		w.equal("too early", len(must(tx.DueLines(base.Add(7*time.Second-time.Microsecond), 10))), 0)
		w.equal("at the instant", must(tx.DueLines(base.Add(7*time.Second), 10)), []*store.Line{lines[3]})
		w.equal("earliest first", lineIDs(must(tx.DueLines(base.Add(time.Hour), 3))), lineIDs([]*store.Line{lines[3], lines[2], lines[1]}))
		lines[3].WakeAt = time.Time{}
		ok(tx.SaveLine(lines[3]))
		w.equal("next", must(tx.NextWake()), lines[2].WakeAt)
	})
}

func heads(w *world) {
	base := w.clock.Wall()
	jobs := w.jobs(6, func(i int, j *sluice.Job) {
		j.Priority = []int{0, 5, 0, 0, -5, 0}[i]
		j.ScheduledFor = base.Add(time.Duration([]int{3, 9, 1, 3, 0, 3}[i]) * time.Second)
	})
	l, other := w.line(0, "bash"), w.line(0, "gpu")
	w.update(func(tx store.Tx) {
		ok(tx.Stand(l.ID, jobs[3:]))
		ok(tx.Stand(l.ID, jobs[:3]))
		ok(tx.Stand(other.ID, nil))
		want := []*sluice.Job{jobs[1], jobs[2], jobs[0], jobs[3], jobs[5], jobs[4]}
		w.equal("heads", must(tx.Heads(l.ID, 10)), want)
		w.equal("at most", seqs(must(tx.Heads(l.ID, 2))), seqs(want[:2]))
		w.equal("other line", len(must(tx.Heads(other.ID, 10))), 0)
		w.equal("leave", must(tx.Leave(l.ID, jobs[1])), true)
		w.equal("leave again", must(tx.Leave(l.ID, jobs[1])), false)
		w.equal("leave another line", must(tx.Leave(other.ID, jobs[2])), false)
		w.equal("heads", seqs(must(tx.Heads(l.ID, 10))), seqs(want[1:]))
		ok(tx.Stand(l.ID, jobs[1:2]))
		w.equal("rank kept", seqs(must(tx.Heads(l.ID, 10))), seqs(want))
	})
}

func ahead(w *world) {
	jobs := w.jobs(10, func(i int, j *sluice.Job) { j.Priority = -(i / 5) })
	l := w.line(0, "bash")
	w.update(func(tx store.Tx) { ok(tx.Stand(l.ID, jobs)) })
	w.both(func(r store.Reader) {
		w.equal("first", must(r.Ahead(l.ID, jobs[0].Rank(), 100)), int64(0))
		w.equal("fourth", must(r.Ahead(l.ID, jobs[3].Rank(), 100)), int64(3))
		w.equal("eighth", must(r.Ahead(l.ID, jobs[7].Rank(), 100)), int64(7))
		w.equal("capped", must(r.Ahead(l.ID, jobs[7].Rank(), 5)), int64(5))
		w.equal("behind all", must(r.Ahead(l.ID, sluice.Rank{Priority: -9}, 100)), int64(10))
		w.equal("before all", must(r.Ahead(l.ID, sluice.Rank{Priority: 9}, 100)), int64(0))
	})
}

func postponed(w *world) {
	base := w.clock.Wall()
	jobs := w.jobs(5, func(i int, j *sluice.Job) {
		j.State = sluice.StateScheduled
		j.ScheduledFor = base.Add(time.Duration([]int{5, 3, 3, 9, 3}[i]) * time.Second)
		j.Priority = []int{0, 0, 0, 9, 4}[i]
	})
	l := w.line(0, "bash")
	w.update(func(tx store.Tx) {
		w.equal("nobody", must(tx.FirstPostponed(l.ID)), time.Time{})
		ok(tx.Postpone(l.ID, jobs))
		w.equal("first", must(tx.FirstPostponed(l.ID)), base.Add(3*time.Second))
		w.equal("too early", len(must(tx.Postponed(l.ID, base.Add(3*time.Second-time.Microsecond), 10))), 0)
		want := []*sluice.Job{jobs[4], jobs[1], jobs[2], jobs[0]}
		w.equal("due", must(tx.Postponed(l.ID, base.Add(5*time.Second), 10)), want)
		w.equal("at most", seqs(must(tx.Postponed(l.ID, base.Add(time.Hour), 2))), seqs(want[:2]))
		w.equal("they do not stand", len(must(tx.Heads(l.ID, 10))), 0)
		w.equal("take away", must(tx.Unpostpone(l.ID, jobs[4])), true)
		w.equal("again", must(tx.Unpostpone(l.ID, jobs[4])), false)
		w.equal("due", seqs(must(tx.Postponed(l.ID, base.Add(time.Hour), 10))), seqs([]*sluice.Job{jobs[1], jobs[2], jobs[0], jobs[3]}))
	})
}
