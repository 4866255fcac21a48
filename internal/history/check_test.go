package history

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// shelf is a store as far as the checker reads it, in pages of its own size.
type shelf struct {
	store.Reader
	groups     []*store.Group
	executions []*sluice.Execution
	log        []*store.GroupEvent
	jobs       []*sluice.Job
	fail       string
}

var errShelf = errors.New("the shelf fell down")

func (s *shelf) View(_ context.Context, fn func(store.Reader) error) error {
	if err := fn(s); err != nil {
		return err
	}
	return fn(s) // a driver may have to read again
}

func (s *shelf) Groups(f store.GroupFilter) ([]*store.Group, error) {
	var out []*store.Group
	for _, g := range s.groups {
		if (f.AfterKey == nil || g.Key > *f.AfterKey) && len(out) < f.Limit {
			out = append(out, g)
		}
	}
	return out, s.failing("groups")
}

func (s *shelf) failing(what string) error {
	if s.fail == what {
		return errShelf
	}
	return nil
}

func (s *shelf) History(groupID, after int64, most int) ([]*sluice.Execution, error) {
	var out []*sluice.Execution
	for _, e := range s.executions {
		no := e.OrderNo
		if groupID == 0 {
			no = e.ID
		}
		if (groupID == 0 || e.GroupID == groupID) && no > after && len(out) < most {
			out = append(out, e)
		}
	}
	if groupID == 0 {
		return out, s.failing("all executions")
	}
	return out, s.failing("executions")
}

func (s *shelf) GroupEvents(groupID, after int64, most int) ([]*store.GroupEvent, error) {
	var out []*store.GroupEvent
	for _, e := range s.log {
		if e.GroupID == groupID && e.Seq > after && len(out) < most {
			out = append(out, e)
		}
	}
	return out, s.failing("log")
}

func (s *shelf) Jobs(f store.JobFilter) ([]*sluice.Job, error) {
	var out []*sluice.Job
	for _, j := range s.jobs {
		if (f.Key == nil || j.HasKey && j.Key == *f.Key) && j.Seq > f.AfterSeq && len(out) < f.Limit {
			out = append(out, j)
		}
	}
	return out, s.failing("jobs")
}

// filled returns a shelf with n jobs of the group "k" under an override, two of
// which ran attempt after attempt, and one job in no group.
func filled(n int64) *shelf {
	window, mode := 10*time.Second, limit.Start
	sh := &shelf{
		groups: []*store.Group{
			{ID: 1, Key: "", Group: limit.Group{}},
			{ID: 7, Key: "k", Group: limit.Group{Taken: n, Launched: n, Released: n}},
		},
		log: []*store.GroupEvent{
			{Seq: 1, GroupID: 7, At: at(-s), Kind: store.EventOverride, Override: limit.Override{Window: &window, Mode: &mode}},
		},
	}
	for i := range n {
		start := at(time.Duration(i) * 5 * s)
		id := string(rune('A'+i%26)) + strings.Repeat("x", int(i/26))
		sh.executions = append(sh.executions, &sluice.Execution{
			ID: 3*i + 2, JobSeq: i + 1, JobID: id, Attempt: 1, Tag: "bash", InGroup: true, GroupID: 7,
			Limit: limit.Limit{N: 2, Window: window, Mode: mode}, Source: limit.FromOverride,
			OrderNo: i + 1, LaunchNo: i + 1, EndNo: i + 1, StartedAt: start, ConfirmedAt: start, ReleasedAt: start.Add(s), End: sluice.EndReported,
		})
		sh.jobs = append(sh.jobs, &sluice.Job{
			Seq: i + 1, ID: id, Tag: "bash", HasKey: true, Key: "k", Limit: &limit.Limit{N: 2, Mode: limit.End},
			CreatedAt: at(-s), ScheduledFor: at(-s), State: sluice.StateCompleted, Outcome: sluice.OutcomeSuccess, Attempt: 1, CompletedAt: start.Add(s),
		})
	}
	sh.executions = append(sh.executions, &sluice.Execution{ID: 3*n + 2, JobSeq: n + 1, JobID: "free", Attempt: 1, Tag: "bash", StartedAt: at(0), ReleasedAt: at(0), End: sluice.EndStruck})
	sh.jobs = append(sh.jobs, &sluice.Job{Seq: n + 1, ID: "free", Tag: "bash", State: sluice.StateQueued, Attempt: 1, CreatedAt: at(-s), ScheduledFor: at(-s)})
	return sh
}

// TestCheck reads all there is, page by page, and says what it judged.
func TestCheck(t *testing.T) {
	const n = 2*page + 3
	r, err := Check(t.Context(), filled(n), Options{})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, r.Violations)
	want := Report{Executions: n + 1, Struck: 1, Groups: 2, Starts: n, Ordered: n, Jobs: n + 1, Events: 1}
	got := *r
	got.Violations = nil
	if got.Executions != want.Executions || got.Struck != want.Struck || got.Groups != want.Groups || got.Starts != want.Starts ||
		got.Ordered != want.Ordered || got.Jobs != want.Jobs || got.Events != want.Events {
		t.Errorf("judged %+v, want %+v", got, want)
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil || !r.OK() || !strings.Contains(b.String(), "judged 10004 executions (1 handed back), 2 groups, 10003 starts") || !strings.HasSuffix(b.String(), "all promises were kept\n") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// TestCheckFinds what is wrong, wherever it was read from.
func TestCheckFinds(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*shelf)
		want   []Kind
	}{
		{"a start too early", func(sh *shelf) {
			e := sh.executions[2]
			e.StartedAt, e.ConfirmedAt = at(10*s-us), at(10*s-us)
		}, []Kind{KindOver}},
		{"the override was never set", func(sh *shelf) { sh.log = nil }, []Kind{KindLimit}},
		{"a row is gone", func(sh *shelf) { sh.executions = append(sh.executions[:1], sh.executions[2:]...) }, []Kind{KindNumbers}},
		{"a job ran and says it did not", func(sh *shelf) { sh.jobs[1].State = sluice.StateRunning }, []Kind{KindAttempt}},
		{"a group has no row of its own", func(sh *shelf) { sh.groups = sh.groups[:1] }, []Kind{KindNumbers}},
		{"a job was passed over", func(sh *shelf) { sh.jobs[3].Priority = 5 }, []Kind{KindOrder}},
		{"pruned while held", func(sh *shelf) {
			sh.log = append(sh.log, &store.GroupEvent{Seq: 2, GroupID: 7, At: at(500 * time.Millisecond), Kind: store.EventPrune, AfterOrder: 1})
		}, []Kind{KindPruned}},
		{"nothing ran", func(sh *shelf) { *sh = shelf{} }, []Kind{KindNothing}},
		{"trimmed", func(sh *shelf) {
			sh.executions = sh.executions[2:]
			g := sh.groups[1]
			g.TrimmedOrder, g.TrimmedLaunches, g.TrimmedReleases = 2, 2, 2
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			sh := filled(6)
			test.change(sh)
			r, err := Check(t.Context(), sh, Options{})
			if err != nil {
				t.Fatal(err)
			}
			expect(t, r.Violations, test.want...)
			var b strings.Builder
			if err := r.Write(&b); err != nil || r.OK() != (len(test.want) == 0) || r.OK() == strings.Contains(b.String(), "violations") {
				t.Errorf("%v\n%s", err, b.String())
			}
		})
	}
}

// TestCheckWithAWitness judges both sides.
func TestCheckWithAWitness(t *testing.T) {
	const good = `{"job":"A","attempt":1,"key":"k","event":"begin","mono_us":0}
{"job":"A","attempt":1,"key":"k","event":"end","mono_us":900000}
{"job":"B","attempt":1,"key":"k","event":"begin","mono_us":5000000}
{"job":"C","attempt":1,"key":"k","event":"begin","mono_us":10000000}
`
	early := strings.ReplaceAll(good, "10000000", "9999999")
	for _, test := range []struct {
		name, text string
		slack      time.Duration
		want       []Kind
	}{
		{"good", good, 0, nil},
		{"three in ten seconds", early, 0, []Kind{KindOver}},
		{"three in ten seconds, within the slack", early, us, nil},
		{"another key", strings.ReplaceAll(good, `"key":"k"`, `"key":"K"`), 0, []Kind{KindWitness}},
		{"a job that was handed back ran", strings.ReplaceAll(good, `"C"`, `"free"`), 0, []Kind{KindWitness}},
		{"contradictory", `{"job":"A","attempt":1,"key":"k","event":"end","mono_us":0}` + "\n", 0, []Kind{KindNothing, KindWitness}},
		{"empty", "", 0, []Kind{KindNothing}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Check(t.Context(), filled(6), Options{Witness: strings.NewReader(test.text), WitnessSlack: test.slack})
			if err != nil {
				t.Fatal(err)
			}
			if test.name == "good" && (r.Witnessed != 3 || r.Unended != 2) {
				t.Errorf("saw %d, %d without an end; want 3, 2", r.Witnessed, r.Unended)
			}
			expect(t, r.Violations, test.want...)
		})
	}
}

// TestCheckFails when it cannot read: no verdict is better than a wrong one.
func TestCheckFails(t *testing.T) {
	for _, what := range []string{"groups", "executions", "all executions", "log", "jobs"} {
		sh := filled(3)
		sh.fail = what
		if _, err := Check(t.Context(), sh, Options{}); !errors.Is(err, errShelf) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Check(t.Context(), filled(3), Options{Witness: strings.NewReader("no notes\n")}); err == nil {
		t.Error("notes that are none were read")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Check(ended, filled(3), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
