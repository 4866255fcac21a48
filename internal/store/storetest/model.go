package storetest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/store"
)

// modelLine is a line in the dumb model.
type modelLine struct {
	row   store.Line
	stand []*sluice.Job
	later []*sluice.Job
}

// modelLines are lines by id.
type modelLines map[int64]*modelLine

func (m modelLines) clone() modelLines {
	c := modelLines{}
	for id, l := range m {
		c[id] = &modelLine{row: l.row, stand: slices.Clone(l.stand), later: slices.Clone(l.later)}
	}
	return c
}

// modelStep is what one update does. All of it is drawn before, since an update
// may be run more than once.
type modelStep struct {
	do, line, job   int
	tag             string
	new             *sluice.Job
	stand, ready    bool
	head            int
	blocked         string
	wake, lookAfter bool
}

func drawStep(t *rapid.T, w *world) modelStep {
	s := modelStep{
		do: rapid.IntRange(0, 6).Draw(t, "do"), line: rapid.IntRange(0, 1<<20).Draw(t, "line"), job: rapid.IntRange(0, 1<<20).Draw(t, "job"),
		tag: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tag"), new: w.job(), stand: rapid.Bool().Draw(t, "stand"), ready: rapid.Bool().Draw(t, "ready"),
		head: rapid.IntRange(-1, 1).Draw(t, "head"), blocked: rapid.SampledFrom([]string{"", "a\n", "b\nc\n", "d\n"}).Draw(t, "blocked"),
		wake: rapid.Bool().Draw(t, "wake"), lookAfter: rapid.Bool().Draw(t, "look inside"),
	}
	s.new.Priority = rapid.IntRange(-1, 1).Draw(t, "priority")
	s.new.ScheduledFor = s.new.ScheduledFor.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "due")) * time.Second)
	return s
}

// play does a step on a store and on the model, and returns the jobs that wait.
func (s *modelStep) play(w *world, tx store.Tx, group int64, lines modelLines, waiting []*sluice.Job) []*sluice.Job {
	var m *modelLine
	if all := slices.Sorted(maps.Keys(lines)); len(all) > 0 {
		m = lines[all[s.line%len(all)]]
	}
	switch {
	case s.do <= 1:
		l := must(tx.EnsureLine(group, "", "", s.tag))
		if lines[l.ID] == nil {
			lines[l.ID] = &modelLine{row: *l}
		}
	case m == nil:
	case s.do == 2:
		ok(tx.InsertJobs([]*sluice.Job{s.new}))
		if s.stand {
			ok(tx.Stand(m.row.ID, []*sluice.Job{s.new}))
			m.stand = append(m.stand, s.new)
		} else {
			ok(tx.Postpone(m.row.ID, []*sluice.Job{s.new}))
			m.later = append(m.later, s.new)
		}
		waiting = append(waiting, s.new)
	case s.do == 3 && len(waiting) > 0:
		j := waiting[s.job%len(waiting)]
		stood, put := slices.Contains(m.stand, j), slices.Contains(m.later, j)
		is := func(x *sluice.Job) bool { return x == j }
		m.stand, m.later = slices.DeleteFunc(m.stand, is), slices.DeleteFunc(m.later, is)
		same("leave", must(tx.Leave(m.row.ID, j)), stood)
		same("unpostpone", must(tx.Unpostpone(m.row.ID, j)), put)
	case s.do == 4 || s.do == 5:
		m.row.Ready, m.row.Turn, m.row.Head.Priority, m.row.BlockedBy, m.row.WakeAt = s.ready, must(tx.NextTurn()), s.head, s.blocked, time.Time{}
		if s.wake {
			m.row.WakeAt = w.clock.Wall().Add(time.Duration(m.row.Turn) * time.Second)
		}
		ok(tx.SaveLine(&m.row))
	case s.do == 6 && len(m.stand)+len(m.later) == 0:
		ok(tx.DeleteLine(m.row.ID))
		delete(lines, m.row.ID)
	}
	if s.lookAfter {
		lookAtLines(w, tx, group, lines)
	}
	return waiting
}

// lineModel plays random stands, leaves, saves and reads against plain slices.
func lineModel(w *world) {
	rounds := 0
	rapid.Check(w.T, func(t *rapid.T) {
		rounds++ // what a round that failed has left must not be found by the next
		lines := modelLines{}
		var waiting []*sluice.Job
		group := w.group(fmt.Sprint(rounds, rapid.StringN(8, 8, 16).Draw(t, "group"))).ID
		steps := rapid.IntRange(5, 40).Draw(t, "steps")
		for range steps {
			s := drawStep(t, w)
			var after modelLines
			var wait []*sluice.Job
			err := w.try(func(tx store.Tx) {
				after = lines.clone()
				wait = s.play(w, tx, group, after, waiting[:len(waiting):len(waiting)])
			})
			if err != nil {
				t.Fatal(err)
			}
			lines, waiting = after, wait
		}
		err := w.try(func(tx store.Tx) {
			lookAtLines(w, tx, group, lines)
			for id, m := range lines { // leave nothing to the next round
				for _, j := range m.stand {
					must(tx.Leave(id, j))
				}
				ok(tx.DeleteLine(id))
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// same ends the update with an error if two values differ.
func same(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		panic(failure{fmt.Errorf("%s: got %s, want %s", what, show(got), show(want))})
	}
}

func lookAtLines(w *world, tx store.Tx, group int64, lines modelLines) {
	var all []*store.Line
	for id, m := range lines {
		all = append(all, &m.row)
		sorted := slices.SortedFunc(slices.Values(m.stand), func(a, b *sluice.Job) int { return a.Rank().Compare(b.Rank()) })
		same("heads", seqs(must(tx.Heads(id, 3))), seqs(sorted[:min(3, len(sorted))]))
		var first time.Time
		for _, j := range m.later {
			if first.IsZero() || j.ScheduledFor.Before(first) {
				first = j.ScheduledFor
			}
		}
		same("first postponed", must(tx.FirstPostponed(id)), first)
	}
	byID := func(a, b *store.Line) int { return int(a.ID - b.ID) }
	slices.SortFunc(all, byID)
	got := must(tx.LinesOf(group))
	slices.SortFunc(got, byID)
	if len(got)+len(all) > 0 {
		same("lines", got, all)
	}
	for _, tags := range [][]string{{"a"}, {"b", "a"}, {"c", "b"}} {
		var ready []*store.Line
		for _, l := range all {
			if l.Ready && slices.Contains(tags, l.Tag) && !blocks(l.BlockedBy, tags) {
				ready = append(ready, l)
			}
		}
		slices.SortFunc(ready, func(a, b *store.Line) int {
			if a.Head.Priority != b.Head.Priority {
				return b.Head.Priority - a.Head.Priority
			}
			return int(a.Turn - b.Turn)
		})
		same("ready", lineIDs(must(tx.ReadyLines(tags, 10))), lineIDs(ready))
	}
	slices.SortFunc(all, func(a, b *store.Line) int { return a.WakeAt.Compare(b.WakeAt) })
	all = slices.DeleteFunc(all, func(l *store.Line) bool { return l.WakeAt.IsZero() })
	same("due", lineIDs(must(tx.DueLines(w.clock.Wall().Add(1_000_000*time.Hour), 10))), lineIDs(all))
}

func blocks(list string, tags []string) bool {
	for _, t := range tags {
		if slices.Contains(slices.Collect(splitLines(list)), t) {
			return true
		}
	}
	return false
}

func splitLines(list string) func(func(string) bool) {
	return func(yield func(string) bool) {
		from := 0
		for i := range len(list) {
			if list[i] == '\n' {
				if !yield(list[from:i]) {
					return
				}
				from = i + 1
			}
		}
	}
}
