package storetest

import (
	"fmt"
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

// lineModel plays random stands, leaves, saves and reads against plain slices.
func lineModel(w *world) {
	rapid.Check(w.T, func(t *rapid.T) {
		tags := []string{"a", "b", "c"}
		lines := map[int64]*modelLine{}
		var waiting []*sluice.Job
		pick := func(label string) *modelLine {
			var all []int64
			for id := range lines {
				all = append(all, id)
			}
			if len(all) == 0 {
				return nil
			}
			slices.Sort(all)
			return lines[rapid.SampledFrom(all).Draw(t, label)]
		}
		group := w.group(rapid.StringN(8, 8, 16).Draw(t, "group")).ID
		steps := rapid.IntRange(5, 40).Draw(t, "steps")
		for range steps {
			err := w.try(func(tx store.Tx) {
				switch rapid.IntRange(0, 6).Draw(t, "do") {
				case 0, 1:
					l := must(tx.EnsureLine(group, "", "", rapid.SampledFrom(tags).Draw(t, "tag")))
					if lines[l.ID] == nil {
						lines[l.ID] = &modelLine{row: *l}
					}
				case 2:
					if m := pick("line"); m != nil {
						j := w.job()
						j.Priority = rapid.IntRange(-1, 1).Draw(t, "priority")
						j.ScheduledFor = j.ScheduledFor.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "due")) * time.Second)
						ok(tx.InsertJobs([]*sluice.Job{j}))
						if rapid.Bool().Draw(t, "stand") {
							ok(tx.Stand(m.row.ID, []*sluice.Job{j}))
							m.stand = append(m.stand, j)
						} else {
							ok(tx.Postpone(m.row.ID, []*sluice.Job{j}))
							m.later = append(m.later, j)
						}
						waiting = append(waiting, j)
					}
				case 3:
					if m := pick("line"); m != nil && len(waiting) > 0 {
						j := rapid.SampledFrom(waiting).Draw(t, "job")
						stood, put := slices.Contains(m.stand, j), slices.Contains(m.later, j)
						is := func(x *sluice.Job) bool { return x == j }
						m.stand, m.later = slices.DeleteFunc(m.stand, is), slices.DeleteFunc(m.later, is)
						same("leave", must(tx.Leave(m.row.ID, j)), stood)
						same("unpostpone", must(tx.Unpostpone(m.row.ID, j)), put)
					}
				case 4, 5:
					if m := pick("line"); m != nil {
						m.row.Ready, m.row.Turn = rapid.Bool().Draw(t, "ready"), must(tx.NextTurn())
						m.row.Head.Priority = rapid.IntRange(-1, 1).Draw(t, "head")
						m.row.BlockedBy = rapid.SampledFrom([]string{"", "a\n", "b\nc\n", "d\n"}).Draw(t, "blocked")
						m.row.WakeAt = time.Time{}
						if rapid.Bool().Draw(t, "wake") {
							m.row.WakeAt = w.clock.Wall().Add(time.Duration(m.row.Turn) * time.Second)
						}
						ok(tx.SaveLine(&m.row))
					}
				case 6:
					if m := pick("line"); m != nil && len(m.stand)+len(m.later) == 0 {
						ok(tx.DeleteLine(m.row.ID))
						delete(lines, m.row.ID)
					}
				}
				if rapid.Bool().Draw(t, "look inside") {
					lookAtLines(w, tx, group, lines)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
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

func lookAtLines(w *world, tx store.Tx, group int64, lines map[int64]*modelLine) {
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
	same("due", lineIDs(must(tx.DueLines(w.clock.Wall().Add(1000*time.Hour), 10))), lineIDs(all))
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
