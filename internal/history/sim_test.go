package history

import (
	"fmt"
	"slices"
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// simulation makes valid histories: at every step something happens, and a job
// starts only if it is the first in its line and the rule, counted row by row,
// allows it.
type simulation struct {
	t     *rapid.T
	now   time.Time
	limit []Limit
	g     Group
	pause Event
}

func (m *simulation) job(seq int64) *Job { return &m.g.Jobs[seq-1] }

func (m *simulation) rowsOf(want func(*Row) bool) []*Row {
	var out []*Row
	for i := range m.g.Rows {
		if want(&m.g.Rows[i]) {
			out = append(out, &m.g.Rows[i])
		}
	}
	return out
}

func (m *simulation) push() {
	seq := int64(len(m.g.Jobs) + 1)
	l := m.limit[m.draw(len(m.limit))]
	due := m.now
	if m.draw(4) == 0 {
		due = due.Add(time.Duration(m.draw(4)) * s)
	}
	m.g.Jobs = append(m.g.Jobs, Job{
		Seq: seq, ID: fmt.Sprintf("j%d", seq), Tag: []string{"bash", "gpu"}[m.draw(2)], Priority: m.draw(3),
		Limit: &l, State: stateQueued, Created: m.now, Due: due,
	})
}

func (m *simulation) draw(n int) int { return rapid.IntRange(0, n-1).Draw(m.t, "which") }

// first returns the first job in line that needs a tag.
func (m *simulation) first(tag string) *Job {
	var first *Job
	for i := range m.g.Jobs {
		j := &m.g.Jobs[i]
		if j.State == stateQueued && j.Tag == tag && !j.Due.After(m.now) && (first == nil || j.before(first)) {
			first = j
		}
	}
	return first
}

func (m *simulation) override() Override {
	var o Override
	for _, e := range m.g.Events {
		switch e.Kind {
		case eventOverride:
			o = e.Override
		case eventClear:
			o = Override{}
		}
	}
	return o
}

// allowed is the rule, row by row.
func (m *simulation) allowed(l Limit) bool {
	n, pruned := 0, int64(0)
	for _, e := range m.g.Events {
		if e.Kind == eventPrune {
			pruned = e.AfterOrder
		}
	}
	for _, r := range m.g.Rows {
		if r.OrderNo <= pruned || r.End == endStruck {
			continue
		}
		x := r.Released
		if l.Mode == modeStart && !r.Confirmed.IsZero() {
			x = r.Confirmed
		}
		if x.IsZero() || x.Add(l.Window).After(m.now) {
			n++
		}
	}
	return n < l.N
}

func (m *simulation) take() {
	j := m.first([]string{"bash", "gpu"}[m.draw(2)])
	paused := m.pause.Kind == eventPause && (m.pause.Until.IsZero() || m.now.Before(m.pause.Until))
	if j == nil || paused {
		return
	}
	o := m.override()
	l, source := o.over(*j.Limit), fromJob
	if !o.empty() {
		source = fromOverride
	}
	if !m.allowed(l) {
		return
	}
	j.State = stateRunning
	j.Attempt++
	n := int64(len(m.g.Rows) + 1)
	m.g.Counters.Taken = n
	m.g.Rows = append(m.g.Rows, Row{
		ID: n, JobSeq: j.Seq, JobID: j.ID, Attempt: j.Attempt, Tag: j.Tag, InGroup: true, GroupID: 1,
		Limit: l, Source: source, OrderNo: n, Started: m.now,
	})
}

func (m *simulation) launch(r *Row) {
	m.g.Counters.Launched++
	r.LaunchNo = m.g.Counters.Launched
}

func (m *simulation) confirm() {
	if of := m.rowsOf(func(r *Row) bool { return r.End == endHeld && r.Confirmed.IsZero() }); len(of) > 0 {
		r := of[m.draw(len(of))]
		r.Confirmed = m.now
		m.launch(r)
	}
}

func (m *simulation) finish() {
	of := m.rowsOf(func(r *Row) bool { return r.End == endHeld })
	if len(of) == 0 {
		return
	}
	r := of[m.draw(len(of))]
	j := m.job(r.JobSeq)
	r.Released = m.now
	switch {
	case r.Confirmed.IsZero() && m.draw(2) == 0:
		r.End, j.State = endStruck, stateQueued
		m.g.Counters.Struck++
		return
	case m.draw(4) == 0:
		r.End, j.State = endLost, stateQueued
	default:
		r.End, j.State, j.Outcome, j.Completed = endReported, stateCompleted, outcomeSuccess, m.now
	}
	if r.Confirmed.IsZero() {
		m.launch(r)
	}
	m.g.Counters.Released++
	r.EndNo = m.g.Counters.Released
}

func (m *simulation) cancel() {
	for i := range m.g.Jobs {
		if j := &m.g.Jobs[i]; j.State == stateQueued && m.draw(4) == 0 {
			j.State, j.Outcome, j.Completed = stateCompleted, outcomeCanceled, m.now
			return
		}
	}
}

func (m *simulation) administer() {
	e := Event{Seq: int64(len(m.g.Events) + 1), At: m.now, AfterOrder: int64(len(m.g.Rows))}
	switch m.draw(5) {
	case 0:
		e.Kind = eventOverride
		l := m.limit[m.draw(len(m.limit))]
		if m.draw(2) == 0 {
			e.Override.N = &l.N
		}
		if m.draw(2) == 0 {
			e.Override.Window, e.Override.Mode = &l.Window, ptr(l.mode())
		}
	case 1:
		e.Kind = eventClear
	case 2:
		e.Kind = eventPause
		if m.draw(2) == 0 {
			e.Until = m.now.Add(2 * s)
		}
		m.pause = e
	case 3:
		e.Kind = eventResume
		m.pause = e
	case 4:
		if len(m.rowsOf(func(r *Row) bool { return r.End == endHeld })) > 0 {
			return
		}
		e.Kind = eventPrune
	}
	m.g.Events = append(m.g.Events, e)
}

func simulate(t *rapid.T) *simulation {
	m := &simulation{t: t, now: epoch, g: Group{Key: "k", Counters: &Counters{}}, limit: []Limit{
		{N: 1}, {N: 2, Window: s}, {N: 3, Window: 2 * s, Mode: modeEnd}, {N: 2, Window: 2 * s, Mode: modeStart}, {N: 6},
	}}
	for range rapid.IntRange(1, 120).Draw(t, "steps") {
		m.now = m.now.Add(rapid.SampledFrom([]time.Duration{0, us, us, 300 * time.Millisecond, s - us, s}).Draw(t, "step"))
		switch rapid.SampledFrom([]string{"push", "push", "take", "take", "take", "confirm", "confirm", "finish", "finish", "finish", "cancel", "administer"}).Draw(t, "what") {
		case "push":
			m.push()
		case "take":
			m.take()
		case "confirm":
			m.confirm()
		case "finish":
			m.finish()
		case "cancel":
			m.cancel()
		case "administer":
			m.administer()
		}
	}
	return m
}

// judge gives the checker a copy.
func (m *simulation) judge() []Violation {
	g := m.g
	g.Rows, g.Events, g.Jobs = slices.Clone(m.g.Rows), slices.Clone(m.g.Events), slices.Clone(m.g.Jobs)
	byID := slices.Clone(m.g.Rows)
	sort.SliceStable(byID, func(i, j int) bool { return byID[i].ID < byID[j].ID })
	return append(g.Check(), CheckAttempts(byID, g.Jobs)...)
}

// TestValidHistoriesPass: nobody is accused who kept the rules.
func TestValidHistoriesPass(t *testing.T) {
	starts := 0
	rapid.Check(t, func(t *rapid.T) {
		m := simulate(t)
		starts += len(m.g.Rows)
		for _, v := range m.judge() {
			t.Errorf("a valid history: %v", v)
		}
	})
	if starts == 0 {
		t.Error("no history had a start")
	}
}

// corruptions each break one promise, wherever they apply; each says whether
// it did something.
var corruptions = map[string]func(m *simulation) bool{
	"a row is lost": func(m *simulation) bool {
		if len(m.g.Rows) == 0 {
			return false
		}
		i := m.draw(len(m.g.Rows))
		m.g.Rows = slices.Delete(m.g.Rows, i, i+1)
		return true
	},
	"a row is there twice": func(m *simulation) bool {
		if len(m.g.Rows) == 0 {
			return false
		}
		m.g.Rows = append(m.g.Rows, m.g.Rows[m.draw(len(m.g.Rows))])
		return true
	},
	"N of a row is what others had filled": func(m *simulation) bool {
		for i := range m.g.Rows {
			r := &m.g.Rows[i]
			if i > 0 && m.g.Rows[i-1].End == endHeld && !m.pruned(r.OrderNo) {
				r.Limit = Limit{N: 1}
				return true
			}
		}
		return false
	},
	"a row of an override says job": func(m *simulation) bool {
		for i := range m.g.Rows {
			if m.g.Rows[i].Source == fromOverride {
				m.g.Rows[i].Source = fromJob
				return true
			}
		}
		return false
	},
	"two starts are swapped": func(m *simulation) bool {
		for i := 1; i < len(m.g.Rows); i++ {
			a, b := &m.g.Rows[i-1], &m.g.Rows[i]
			if !a.Started.Equal(b.Started) {
				a.OrderNo, b.OrderNo = b.OrderNo, a.OrderNo
				return true
			}
		}
		return false
	},
	"a release is forgotten": func(m *simulation) bool {
		for i := range m.g.Rows {
			if r := &m.g.Rows[i]; r.End == endReported {
				r.Released, r.End = time.Time{}, endHeld
				return true
			}
		}
		return false
	},
	"the first in line is passed over": func(m *simulation) bool {
		for i := range m.g.Rows {
			r := m.g.Rows[i]
			if r.Attempt == 1 && r.Started.After(epoch) {
				seq := int64(len(m.g.Jobs) + 1)
				m.g.Jobs = append(m.g.Jobs, Job{Seq: seq, ID: "ahead", Tag: r.Tag, Priority: 9, State: stateQueued, Created: r.Started.Add(-us), Due: epoch})
				return true
			}
		}
		return false
	},
	"a start while paused": func(m *simulation) bool {
		if len(m.g.Rows) == 0 {
			return false
		}
		r := m.g.Rows[m.draw(len(m.g.Rows))]
		for i := range m.g.Events { // the new entry comes after all that lie at its place
			if m.g.Events[i].AfterOrder >= r.OrderNo {
				m.g.Events[i].Seq++
			}
		}
		seq := int64(1)
		for _, e := range m.g.Events {
			if e.AfterOrder < r.OrderNo {
				seq = max(seq, e.Seq+1)
			}
		}
		m.g.Events = append(m.g.Events, Event{Seq: seq, At: r.Started, Kind: eventPause, AfterOrder: r.OrderNo - 1})
		return true
	},
	"an attempt is held beside the next": func(m *simulation) bool {
		for i := range m.g.Rows {
			if r := &m.g.Rows[i]; r.End == endLost && r.Attempt < m.job(r.JobSeq).Attempt {
				r.Released = m.now.Add(time.Hour)
				return true
			}
		}
		return false
	},
	"a job runs twice": func(m *simulation) bool {
		for i := range m.g.Jobs {
			if j := &m.g.Jobs[i]; j.State == stateCompleted && j.Outcome == outcomeSuccess {
				j.Attempt++
				return true
			}
		}
		return false
	},
	"a slot leaks": func(m *simulation) bool {
		m.g.Counters.Released--
		return true
	},
}

func (m *simulation) pruned(order int64) bool {
	return slices.ContainsFunc(m.g.Events, func(e Event) bool { return e.Kind == eventPrune && e.AfterOrder == order-1 })
}

// TestCorruptHistoriesFail: one thing changed, and the checker sees it.
func TestCorruptHistoriesFail(t *testing.T) {
	for name, corrupt := range corruptions {
		t.Run(name, func(t *testing.T) {
			tried := 0
			rapid.Check(t, func(t *rapid.T) {
				m := simulate(t)
				if !corrupt(m) {
					return
				}
				tried++
				if len(m.judge()) == 0 {
					t.Fatalf("nothing was found")
				}
			})
			if tried < 10 {
				t.Errorf("there was something to corrupt in %d histories only", tried)
			}
		})
	}
}

// million returns a valid history of one group: eight at a time, a window of a
// second.
func million(n int64) ([]Row, []Job) {
	l := Limit{N: 8, Window: s}
	rows, jobs := make([]Row, 0, n), make([]Job, 0, n)
	for i := range n {
		start := time.Duration(i/8)*(s+5*time.Millisecond) + time.Duration(i%8)*us
		r := ran(i+1, start, start+5*time.Millisecond, l)
		r.LaunchNo, r.EndNo = i+1, i+1
		rows = append(rows, r)
		jobs = append(jobs, Job{
			Seq: i + 1, ID: r.JobID, Tag: r.Tag, Limit: &l, State: stateCompleted, Outcome: outcomeSuccess, Attempt: 1,
			Created: epoch.Add(-s), Due: epoch.Add(-s), Completed: r.Released,
		})
	}
	return rows, jobs
}

// TestLargeHistories: cost grows with n log n; a second loop over all rows
// would take hours.
func TestLargeHistories(t *testing.T) {
	rows, jobs := million(50_000)
	g := Group{Rows: rows, Jobs: jobs}
	expect(t, g.Check())
	rows[40_000].Started = rows[40_000].Started.Add(-us)
	rows[40_000].Confirmed = rows[40_000].Started
	g = Group{Rows: rows, Jobs: jobs}
	if got := g.Check(); len(got) == 0 {
		t.Error("one start a microsecond early among 50,000 was not found")
	}
}

func BenchmarkGroup(b *testing.B) {
	rows, jobs := million(1_000_000)
	for b.Loop() {
		g := Group{Rows: rows, Jobs: jobs}
		if v := g.Check(); len(v) > 0 {
			b.Fatal(v[0])
		}
	}
}
