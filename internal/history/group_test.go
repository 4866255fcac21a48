package history

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	s  = time.Second
	us = time.Microsecond
)

var epoch = time.Date(2026, 10, 25, 0, 59, 59, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// ran makes a row of a job of its own that was taken, confirmed at once, and
// released; a negative end means held. Numbers of launches and releases are
// drawn by finish.
func ran(order int64, from, to time.Duration, l Limit) Row {
	r := Row{
		ID: order, JobSeq: order, JobID: fmt.Sprintf("j%d", order), Attempt: 1, Tag: "bash",
		InGroup: true, GroupID: 1, Limit: l, Source: fromJob, OrderNo: order, Started: at(from), Confirmed: at(from),
	}
	if to >= 0 {
		r.Released, r.End = at(to), endReported
	}
	return r
}

func (r Row) with(change func(*Row)) Row {
	change(&r)
	return r
}

func struckOut(r *Row) {
	r.Confirmed, r.End = time.Time{}, endStruck
}

// finish draws the launch and release numbers of rows as a store would.
func finish(rows []Row) []Row {
	var launches, releases []*Row
	for i := range rows {
		if r := &rows[i]; !r.struck() {
			if !r.launched().IsZero() {
				launches = append(launches, r)
			}
			if !r.Released.IsZero() {
				releases = append(releases, r)
			}
		}
	}
	slices.SortStableFunc(launches, func(a, b *Row) int { return a.launched().Compare(b.launched()) })
	slices.SortStableFunc(releases, func(a, b *Row) int { return a.Released.Compare(b.Released) })
	for i, r := range launches {
		r.LaunchNo = int64(i + 1)
	}
	for i, r := range releases {
		r.EndNo = int64(i + 1)
	}
	return rows
}

// expect fails unless the violations are of exactly these kinds.
func expect(t *testing.T, got []Violation, want ...Kind) {
	t.Helper()
	var kinds []Kind
	for _, v := range got {
		if !slices.Contains(kinds, v.Kind) {
			kinds = append(kinds, v.Kind)
		}
	}
	slices.Sort(kinds)
	slices.Sort(want)
	if !slices.Equal(kinds, want) {
		var b strings.Builder
		for _, v := range got {
			fmt.Fprintln(&b, v)
		}
		t.Errorf("found %v, want %v\n%s", kinds, want, b.String())
	}
}

func ptr[T any](v T) *T { return &v }

// TestRule: starts at the edges of the rule.
func TestRule(t *testing.T) {
	one, two := Limit{N: 1, Window: 10 * s}, Limit{N: 2, Window: 10 * s}
	atOnce := Limit{N: 1, Mode: modeEnd}
	rate := Limit{N: 1, Window: 10 * s, Mode: modeStart}
	const held = -1
	for _, test := range []struct {
		name   string
		rows   []Row
		events []Event
		want   []Kind
	}{
		{name: "one", rows: []Row{ran(1, 0, s, one)}},
		{name: "at exactly the end of the window", rows: []Row{ran(1, 0, s, one), ran(2, 11*s, 12*s, one)}},
		{name: "a microsecond early", rows: []Row{ran(1, 0, s, one), ran(2, 11*s-us, 12*s, one)}, want: []Kind{KindOver}},
		{name: "while the other runs", rows: []Row{ran(1, 0, 5*s, atOnce), ran(2, 5*s-us, 6*s, atOnce)}, want: []Kind{KindOver}},
		{name: "as soon as the other is gone", rows: []Row{ran(1, 0, 5*s, atOnce), ran(2, 5*s, 6*s, atOnce)}},
		{name: "while the other is held for ever", rows: []Row{ran(1, 0, held, atOnce), ran(2, time.Hour, held, atOnce)}, want: []Kind{KindOver}},
		{name: "two of two", rows: []Row{ran(1, 0, 4*s, two), ran(2, s, 6*s, two), ran(3, 14*s, 15*s, two)}},
		{name: "three of two", rows: []Row{ran(1, 0, 4*s, two), ran(2, s, 6*s, two), ran(3, 14*s-us, 15*s, two)}, want: []Kind{KindOver}},
		{name: "a slow job's end is later than a fast one's (A17)", rows: []Row{ran(1, 0, 8*s, two), ran(2, s, 2*s, two), ran(3, 12*s, 13*s, two), ran(4, 17*s, 18*s, two)}, want: []Kind{KindOver}},
		{name: "each by its own limit (A15, A23)", rows: []Row{ran(1, 0, s, Limit{N: 5}), ran(2, 0, s, Limit{N: 5}), ran(3, 2*s, 3*s, Limit{N: 3, Window: 60 * s})}},
		{name: "a strict one among lax ones", rows: []Row{ran(1, 0, s, Limit{N: 5}), ran(2, 0, s, Limit{N: 5}), ran(3, 2*s, 3*s, Limit{N: 2, Window: 60 * s})}, want: []Kind{KindOver}},
		{name: "a rate", rows: []Row{ran(1, 0, time.Minute, rate), ran(2, 10*s, time.Minute, rate)}},
		{name: "a rate, a microsecond early", rows: []Row{ran(1, 0, time.Minute, rate), ran(2, 10*s-us, time.Minute, rate)}, want: []Kind{KindOver}},
		{
			name: "a rate runs from the confirmation (A18)",
			rows: []Row{ran(1, 0, 9*s, rate).with(func(r *Row) { r.Confirmed = at(3 * s) }), ran(2, 12*s, 13*s, rate)}, want: []Kind{KindOver},
		},
		{
			name: "a rate holds what is not confirmed yet",
			rows: []Row{ran(1, 0, 30*s, rate).with(func(r *Row) { r.Confirmed = at(25 * s) }), ran(2, 20*s, 21*s, rate)}, want: []Kind{KindOver},
		},
		{
			name: "a rate runs from the release of what was never confirmed",
			rows: []Row{ran(1, 0, 5*s, rate).with(func(r *Row) { r.Confirmed = time.Time{} }), ran(2, 14*s, 15*s, rate)}, want: []Kind{KindOver},
		},
		{name: "struck out counts nowhere", rows: []Row{ran(1, 0, s, one).with(struckOut), ran(2, s, 2*s, one)}},
		{
			name: "pruned history does not count", rows: []Row{ran(1, 0, s, one), ran(2, 3*s, 4*s, one)},
			events: []Event{{Seq: 1, At: at(2 * s), Kind: eventPrune, AfterOrder: 1}},
		},
		{
			name: "what came after the prune does", rows: []Row{ran(1, 0, s, one), ran(2, 3*s, 4*s, one), ran(3, 5*s, 6*s, one)},
			events: []Event{{Seq: 1, At: at(2 * s), Kind: eventPrune, AfterOrder: 1}}, want: []Kind{KindOver},
		},
		{
			name: "pruned while held", rows: []Row{ran(1, 0, 5*s, one), ran(2, 30*s, 31*s, one)},
			events: []Event{{Seq: 1, At: at(2 * s), Kind: eventPrune, AfterOrder: 1}}, want: []Kind{KindPruned},
		},
		{
			name: "pruned while held counts on", rows: []Row{ran(1, 0, 5*s, one), ran(2, 14*s, 15*s, one)},
			events: []Event{{Seq: 1, At: at(2 * s), Kind: eventPrune, AfterOrder: 1}}, want: []Kind{KindOver, KindPruned},
		},
		{
			name: "two prunes", rows: []Row{ran(1, 0, s, rate), ran(2, 3*s, 4*s, rate), ran(3, 5*s, 6*s, rate)},
			events: []Event{{Seq: 1, At: at(2 * s), Kind: eventPrune, AfterOrder: 1}, {Seq: 2, At: at(4 * s), Kind: eventPrune, AfterOrder: 2}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			expect(t, CheckGroup(finish(test.rows), test.events), test.want...)
		})
	}
}

// TestLimits: what a row says was in force, against the log and the job.
func TestLimits(t *testing.T) {
	five := Limit{N: 5}
	job := func(j Job) []Job {
		j.Seq, j.ID, j.Tag, j.Attempt, j.Created, j.Due = 1, "j1", "bash", 1, at(0), at(0)
		return []Job{j}
	}
	tried := func(j []Job) []Job {
		j[0].Attempt = 2
		return j
	}
	under := func(l Limit, source string) []Row {
		return []Row{ran(1, s, 2*s, l).with(func(r *Row) { r.Source = source })}
	}
	set := func(o Override) []Event { return []Event{{Seq: 1, At: at(0), Kind: eventOverride, Override: o}} }
	done := Job{State: stateCompleted, Outcome: outcomeSuccess, Completed: at(2 * s), Limit: &five}
	for _, test := range []struct {
		name   string
		rows   []Row
		events []Event
		jobs   []Job
		want   []Kind
	}{
		{name: "the job's own", rows: under(five, fromJob), jobs: job(done)},
		{name: "not the job's own", rows: under(Limit{N: 6}, fromJob), jobs: job(done), want: []Kind{KindLimit}},
		{name: "not the job's own window", rows: under(Limit{N: 5, Window: s}, fromJob), jobs: job(done), want: []Kind{KindLimit}},
		{name: "not the job's own mode", rows: under(Limit{N: 5, Mode: modeStart}, fromJob), jobs: job(done), want: []Kind{KindLimit}},
		{name: "the job waits again: its limit may be another now", rows: under(Limit{N: 6}, fromJob), jobs: job(Job{State: stateQueued, Limit: &five})},
		{name: "an override", rows: under(Limit{N: 2}, fromOverride), events: set(Override{N: ptr(2)}), jobs: job(done)},
		{name: "an override that the row ignores", rows: under(five, fromJob), events: set(Override{N: ptr(2)}), want: []Kind{KindLimit}},
		{name: "another N than the override's", rows: under(five, fromOverride), events: set(Override{N: ptr(2)}), want: []Kind{KindLimit}},
		{name: "an override that nobody set", rows: under(five, fromOverride), want: []Kind{KindLimit}},
		{name: "a field that the override leaves", rows: under(Limit{N: 2, Window: s}, fromOverride), events: set(Override{N: ptr(2)}), jobs: job(done), want: []Kind{KindLimit}},
		{name: "an override of nothing but the depth", rows: under(five, fromJob), events: set(Override{})},
		{name: "start without a window becomes end", rows: under(Limit{N: 5, Mode: modeEnd}, fromOverride), events: set(Override{Mode: ptr(modeStart)}), jobs: job(done)},
		{name: "a start mode override", rows: under(Limit{N: 5, Mode: modeStart, Window: s}, fromOverride), events: set(Override{Mode: ptr(modeStart), Window: ptr(s)}), jobs: job(done)},
		{name: "cleared", rows: under(five, fromJob), events: append(set(Override{N: ptr(2)}), Event{Seq: 2, At: at(0), Kind: eventClear})},
		{name: "cleared, noting what was cleared", rows: under(five, fromJob), events: append(set(Override{N: ptr(2)}), Event{Seq: 2, At: at(0), Kind: eventClear, Override: Override{N: ptr(2)}})},
		{name: "an attempt before the newest may have had another limit", rows: under(Limit{N: 6}, fromJob), jobs: tried(job(done))},
		{name: "cleared too late", rows: under(five, fromJob), events: append(set(Override{N: ptr(2)}), Event{Seq: 2, At: at(3 * s), Kind: eventClear, AfterOrder: 1}), want: []Kind{KindLimit}},
		{name: "set later", rows: under(five, fromJob), events: []Event{{Seq: 1, At: at(3 * s), Kind: eventOverride, AfterOrder: 1, Override: Override{N: ptr(2)}}}},
		{name: "no N at all", rows: under(Limit{}, fromJob), want: []Kind{KindLimit, KindOver}},
		{name: "a window below nothing", rows: under(Limit{N: 1, Window: -s}, fromJob), want: []Kind{KindLimit}},
		{name: "start without a window", rows: under(Limit{N: 1, Mode: modeStart}, fromJob), want: []Kind{KindLimit}},
		{name: "an unknown mode", rows: under(Limit{N: 1, Mode: "both"}, fromJob), want: []Kind{KindLimit}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := Group{Rows: finish(test.rows), Events: test.events, Jobs: test.jobs}
			expect(t, g.Check(), test.want...)
		})
	}
}

// TestPauses: nothing starts while a group is paused.
func TestPauses(t *testing.T) {
	l := Limit{N: 9}
	pause := func(until time.Time) Event {
		return Event{Seq: 1, At: at(2 * s), Kind: eventPause, AfterOrder: 1, Until: until}
	}
	for _, test := range []struct {
		name   string
		second time.Duration
		events []Event
		want   []Kind
	}{
		{"until resumed", 3 * s, []Event{pause(time.Time{})}, []Kind{KindPaused}},
		{"resumed", 3 * s, []Event{pause(time.Time{}), {Seq: 2, At: at(3 * s), Kind: eventResume, AfterOrder: 1}}, nil},
		{"resumed too late", 3 * s, []Event{pause(time.Time{}), {Seq: 2, At: at(3 * s), Kind: eventResume, AfterOrder: 2}}, []Kind{KindPaused}},
		{"until T, at T", 5 * s, []Event{pause(at(5 * s))}, nil},
		{"until T, a microsecond early", 5*s - us, []Event{pause(at(5 * s))}, []Kind{KindPaused}},
		{"paused longer", 5 * s, []Event{pause(at(5 * s)), {Seq: 2, At: at(3 * s), Kind: eventPause, AfterOrder: 1, Until: at(6 * s)}}, []Kind{KindPaused}},
		{"paused shorter", 5 * s, []Event{pause(time.Time{}), {Seq: 2, At: at(3 * s), Kind: eventPause, AfterOrder: 1, Until: at(4 * s)}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			expect(t, CheckGroup(finish([]Row{ran(1, 0, 9*s, l), ran(2, test.second, 9*s, l)}), test.events), test.want...)
		})
	}
}

// TestNumbers: the three series of a group, and instants that ascend.
func TestNumbers(t *testing.T) {
	l := Limit{N: 9}
	three := func(change func(r []Row)) []Row {
		rows := finish([]Row{ran(1, 0, 4*s, l), ran(2, s, 6*s, l), ran(3, 2*s, 5*s, l)})
		if change != nil {
			change(rows)
		}
		return rows
	}
	all := &Counters{Taken: 3, Launched: 3, Released: 3}
	for _, test := range []struct {
		name string
		g    Group
		want []Kind
	}{
		{"good", Group{Rows: three(nil)}, nil},
		{"good, in any order", Group{Rows: three(func(r []Row) { slices.Reverse(r) })}, nil},
		{"good counters", Group{Rows: three(nil), Counters: all}, nil},
		{"a row is gone", Group{Rows: slices.Delete(three(nil), 1, 2)}, []Kind{KindNumbers}},
		{"the first row is gone", Group{Rows: three(nil)[1:]}, []Kind{KindNumbers}},
		{"the last row is gone", Group{Rows: three(nil)[:2], Counters: all}, []Kind{KindNumbers}},
		{"trimmed", Group{Rows: three(nil)[1:], Counters: all, TrimmedOrder: 1, TrimmedLaunches: 1, TrimmedReleases: 1}, nil},
		{"all trimmed", Group{Counters: all, TrimmedOrder: 3, TrimmedLaunches: 3, TrimmedReleases: 3}, nil},
		{"more is gone than was trimmed", Group{Rows: three(nil)[2:], Counters: all, TrimmedOrder: 1, TrimmedLaunches: 1, TrimmedReleases: 1}, []Kind{KindNumbers}},
		{"an order number twice", Group{Rows: three(func(r []Row) { r[2].OrderNo = 2 })}, []Kind{KindNumbers}},
		{"no order number", Group{Rows: three(func(r []Row) { r[0].OrderNo = 0 })}, []Kind{KindNumbers}},
		{"a gap", Group{Rows: three(func(r []Row) { r[2].OrderNo = 4 })}, []Kind{KindNumbers}},
		{"a launch number twice", Group{Rows: three(func(r []Row) { r[2].LaunchNo = 2 })}, []Kind{KindNumbers}},
		{"a release number too many", Group{Rows: three(func(r []Row) { r[2].EndNo = 7 })}, []Kind{KindNumbers}},
		{"a release without a number", Group{Rows: three(func(r []Row) { r[1].EndNo = 0 })}, []Kind{KindNumbers}},
		{"a number without a release", Group{Rows: three(func(r []Row) { r[1].End, r[1].Released = endHeld, time.Time{} })}, []Kind{KindNumbers}},
		{"releases against their numbers", Group{Rows: three(func(r []Row) { r[1].EndNo, r[2].EndNo = 2, 3 })}, []Kind{KindNumbers}},
		{"launches against their numbers", Group{Rows: three(func(r []Row) { r[1].LaunchNo, r[2].LaunchNo = 3, 2 })}, []Kind{KindNumbers}},
		{"starts against their numbers", Group{Rows: three(func(r []Row) { r[1].Started = at(-s) })}, []Kind{KindNumbers}},
		{"confirmed before taken", Group{Rows: three(func(r []Row) { r[0].Confirmed = at(-us) })}, []Kind{KindNumbers}},
		{"released before confirmed", Group{Rows: finish([]Row{ran(1, 0, 4*s, l).with(func(r *Row) { r.Confirmed = at(5 * s) })})}, []Kind{KindNumbers}},
		{"released before taken", Group{Rows: finish([]Row{ran(1, 5*s, 4*s, l).with(func(r *Row) { r.Confirmed = time.Time{} })})}, []Kind{KindNumbers}},
		{"no start", Group{Rows: finish([]Row{{OrderNo: 1, Limit: l, Source: fromJob}})}, []Kind{KindNumbers}},
		{"held, with a release", Group{Rows: three(func(r []Row) { r[0].End = endHeld })}, []Kind{KindNumbers}},
		{"lost, without a release", Group{Rows: finish([]Row{ran(1, 0, -1, l).with(func(r *Row) { r.End = endLost })})}, []Kind{KindNumbers}},
		{"an end that is none", Group{Rows: three(func(r []Row) { r[0].End = "gone" })}, []Kind{KindNumbers}},
		{"struck out", Group{Rows: finish([]Row{ran(1, 0, s, l).with(struckOut)}), Counters: &Counters{Taken: 1, Struck: 1}}, nil},
		{"struck out, and not counted as such", Group{Rows: finish([]Row{ran(1, 0, s, l).with(struckOut)}), Counters: &Counters{Taken: 1}}, []Kind{KindNumbers}},
		{"struck out after launch", Group{Rows: finish([]Row{ran(1, 0, s, l).with(func(r *Row) { r.End = endStruck })})}, []Kind{KindNumbers}},
		{"a log entry too early", Group{Rows: three(nil), Events: []Event{{Seq: 1, At: at(s - us), Kind: eventResume, AfterOrder: 2}}}, []Kind{KindNumbers}},
		{"a log entry too late", Group{Rows: three(nil), Events: []Event{{Seq: 1, At: at(s + us), Kind: eventResume, AfterOrder: 1}}}, []Kind{KindNumbers}},
		{"a log out of order", Group{Rows: three(nil), Events: []Event{{Seq: 1, At: at(2 * s), Kind: eventResume, AfterOrder: 3}, {Seq: 2, At: at(2 * s), Kind: eventResume, AfterOrder: 2}}}, []Kind{KindNumbers}},
		{"a log in place", Group{Rows: three(nil), Events: []Event{{Seq: 2, At: at(s), Kind: eventResume, AfterOrder: 2}, {Seq: 1, At: at(s), Kind: eventResume, AfterOrder: 1}}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) { expect(t, test.g.Check(), test.want...) })
	}
}

// TestManyViolations: the first of a kind are told, the rest is counted.
func TestManyViolations(t *testing.T) {
	var rows []Row
	for i := range int64(100) {
		rows = append(rows, ran(i+1, time.Duration(i)*us, -1, Limit{N: 1}))
	}
	got := CheckGroup(finish(rows), nil)
	expect(t, got, KindOver)
	if last := got[len(got)-1].String(); len(got) != mostOfAKind+1 || !strings.Contains(last, "79 more") {
		t.Errorf("%d violations, the last %q", len(got), last)
	}
	if text := got[3].String(); !strings.Contains(text, "execution #5 ") || strings.Count(text, "\n") != 5 {
		t.Errorf("a violation without its rows: %s", text)
	}
}
