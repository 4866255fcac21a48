package engine_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

var ann = engine.Who{Editor: engine.Editor{Username: "ann", Email: "ann@example.com"}, Admin: true}

func (w *world) schedule(path, script string, settings ...any) {
	w.t.Helper()
	w.must(w.CreateSchedule(w.ctx(), "main", scheduleBody(w, path, "*/10 * * * * *", script, settings...), ann))
}

func scheduleBody(w *world, path, cron, script string, settings ...any) json.RawMessage {
	o := obj{"path": path, "schedule": cron, "timezone": "UTC", "script_path": script, "args": obj{"x": 1}}
	for i := 0; i+1 < len(settings); i += 2 {
		o[settings[i].(string)] = settings[i+1]
	}
	b, err := json.Marshal(o)
	w.must(err)
	return b
}

func (w *world) runs(path string) []*sluice.Job {
	w.t.Helper()
	jobs, err := w.Jobs(w.ctx(), store.JobFilter{Workspace: "main", Schedule: path, OldestFirst: true})
	w.must(err)
	return jobs
}

func (w *world) tick() {
	w.t.Helper()
	_, err := w.Tick(w.ctx())
	w.must(err)
}

// dues shows when runs are due, in seconds from noon, and how they stand.
func dues(jobs []*sluice.Job) string {
	var out []string
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, j := range jobs {
		s := string(j.State)
		if j.State == sluice.StateCompleted {
			s = string(j.Outcome)
		}
		out = append(out, j.ScheduledFor.Sub(noon).String()+" "+s)
	}
	return strings.Join(out, ", ")
}

func (w *world) runsAre(path, want string) {
	w.t.Helper()
	if got := dues(w.runs(path)); got != want {
		w.t.Fatalf("runs of %s:\n got %s\nwant %s", path, got, want)
	}
}

func TestScheduleRuns(t *testing.T) {
	w := newWorld(t)
	w.script("f/a/job")
	w.schedule("f/a/every", "f/a/job", "tag", "gpu")
	w.runsAre("f/a/every", "10s scheduled")
	j := w.runs("f/a/every")[0]
	if j.Tag != "gpu" || string(j.Args) != `{"x":1}` || j.CreatedBy != "schedule-f-a-every" || j.Email != ann.Email || j.Path != "f/a/job" {
		t.Errorf("%+v", j)
	}
	w.tick() // changes nothing
	w.clock.advance(10*time.Second - time.Microsecond)
	w.tick()
	w.runsAre("f/a/every", "10s scheduled")
	w.clock.advance(time.Microsecond)
	w.tick()
	w.runsAre("f/a/every", "10s scheduled, 20s scheduled")
	if got := w.take("w1", 9, "gpu"); len(got) != 1 || got[0].JobID != j.ID || got[0].Schedule != "f/a/every" {
		t.Fatalf("%+v", got)
	}
	// What passes while nobody looks has one run: the one that was pushed.
	w.restart()
	w.clock.advance(55 * time.Second)
	w.tick()
	w.runsAre("f/a/every", "10s running, 20s scheduled, 1m10s scheduled")
	w.take("w1", 9, "gpu")
	w.runsAre("f/a/every", "10s running, 20s running, 1m10s scheduled")
}

func TestScheduleChanges(t *testing.T) {
	w := newWorld(t)
	w.script("f/a/job")
	w.schedule("f/a/s", "f/a/job")
	w.must(w.EnableSchedule(w.ctx(), "main", "f/a/s", false, ann))
	w.runsAre("f/a/s", "10s canceled")
	w.must(w.EnableSchedule(w.ctx(), "main", "f/a/s", true, ann))
	w.runsAre("f/a/s", "10s canceled, 10s scheduled")
	w.must(w.UpdateSchedule(w.ctx(), "main", "f/a/s", json.RawMessage(`{"schedule":"*/15 * * * * *","timezone":"UTC","args":{"x":2}}`), ann))
	w.runsAre("f/a/s", "10s canceled, 10s canceled, 15s scheduled")
	if j := w.runs("f/a/s")[2]; string(j.Args) != `{"x":2}` || j.Path != "f/a/job" {
		t.Errorf("%+v", j)
	}
	w.clock.advance(15 * time.Second)
	w.tick()
	// An instant that has had its run gets no other, whatever is changed.
	w.clock.advance(-15 * time.Second)
	w.must(w.UpdateSchedule(w.ctx(), "main", "f/a/s", json.RawMessage(`{"schedule":"*/15 * * * * *","timezone":"UTC"}`), ann))
	w.clock.advance(15 * time.Second)
	if runs := w.runs("f/a/s"); !strings.HasPrefix(dues(runs), "10s canceled, 10s canceled, 15s scheduled, 30s canceled, 30s scheduled") {
		t.Errorf("%s", dues(runs))
	}
	w.must(w.DeleteSchedule(w.ctx(), "main", "f/a/s", ann))
	for _, j := range w.runs("f/a/s")[3:] {
		if j.Outcome != sluice.OutcomeCanceled {
			t.Errorf("after the deletion: %s", dues(w.runs("f/a/s")))
		}
	}
	for _, err := range []error{
		w.DeleteSchedule(w.ctx(), "main", "f/a/s", ann), w.EnableSchedule(w.ctx(), "main", "f/a/s", true, ann),
		w.UpdateSchedule(w.ctx(), "main", "f/a/s", json.RawMessage(`{"schedule":"* * * * * *"}`), ann),
	} {
		if sluice.CodeOf(err) != sluice.CodeNotFound {
			t.Errorf("of none: %v", err)
		}
	}
}

// With no_flow_overlap a run is left out while another one runs or waits for
// its limit; without, both queue.
func TestScheduleOverlap(t *testing.T) {
	w := newWorld(t)
	w.script("f/a/job", "concurrent_limit", 1)
	w.schedule("f/a/alone", "f/a/job", "no_flow_overlap", true)
	w.clock.advance(10 * time.Second)
	w.tick()
	first := w.take("w1", 9)
	w.clock.advance(10 * time.Second)
	w.tick()
	w.take("w1", 9)
	w.runsAre("f/a/alone", "10s running, 20s canceled, 30s scheduled")
	if j := w.runs("f/a/alone")[1]; !strings.Contains(j.CanceledReason, "no_flow_overlap") {
		t.Errorf("%+v", j)
	}
	w.report("w1", first...)
	w.clock.advance(10 * time.Second)
	w.tick()
	if second := w.take("w1", 9); len(second) != 1 {
		t.Fatalf("%v", dues(w.runs("f/a/alone")))
	}
	// One that waits counts as well.
	w.script("f/b/job", "concurrent_limit", 1)
	w.push("f/b/job")
	w.take("w1", 9)
	w.schedule("f/b/alone", "f/b/job", "no_flow_overlap", true)
	w.schedule("f/b/both", "f/b/job")
	for range 2 {
		w.clock.advance(10 * time.Second)
		w.tick()
		w.take("w1", 9)
	}
	w.runsAre("f/b/alone", "40s queued, 50s canceled, 1m0s scheduled")
	w.runsAre("f/b/both", "40s queued, 50s queued, 1m0s scheduled")
	if g := w.row("main/script/f/b/job"); g.Waiting != 5 {
		t.Errorf("the group counts %d waiting", g.Waiting)
	}
}

func TestScheduleHandlers(t *testing.T) {
	w := newWorld(t)
	for _, p := range []string{"f/a/job", "f/a/bad", "f/a/well", "f/a/good"} {
		w.script(p, "tag", strings.TrimPrefix(p, "f/a/"))
	}
	w.schedule("f/a/s", "f/a/job",
		"on_failure", "script/f/a/bad", "on_failure_times", 2, "on_failure_exact", true, "on_failure_extra_args", obj{"more": 7},
		"on_recovery", "script/f/a/well", "on_recovery_times", 2, "on_success", "script/f/a/good")
	var got []string
	for _, success := range []bool{true, false, false, false, true, true, true} {
		w.clock.advance(10 * time.Second)
		w.tick()
		a := w.take("w1", 9, "job")
		if len(a) != 1 {
			t.Fatalf("%d runs", len(a))
		}
		w.ends("w1", a[0], success, map[bool]string{true: `"ok"`, false: failure}[success])
		got = append(got, "")
		for _, h := range w.take("w1", 9, "bad", "well", "good") {
			got[len(got)-1] += h.Path + " "
			if h.Path == "f/a/bad" && (!strings.Contains(string(h.Args), `"failed_times":2`) || !strings.Contains(string(h.Args), `"more":7`) || !strings.Contains(string(h.Args), "Oops")) {
				t.Errorf("%s", h.Args)
			}
		}
	}
	if want := []string{"f/a/good ", "", "f/a/bad ", "", "f/a/good ", "f/a/well ", "f/a/good "}; !slices.Equal(got, want) {
		t.Errorf(" got %q\nwant %q", got, want)
	}
}

func TestScheduleOfFlowAndRetry(t *testing.T) {
	w := newWorld(t)
	w.script("f/a/job")
	w.flow("f/a/flow", []obj{{"id": "a", "value": obj{"type": "script", "path": "f/a/job", "input_transforms": obj{}}}})
	w.schedule("f/a/s", "f/a/flow", "is_flow", true)
	w.schedule("f/a/r", "f/a/job", "retry", obj{"constant": obj{"attempts": 1, "seconds": 0}})
	w.clock.advance(10 * time.Second)
	w.tick()
	tries := 0
	w.work(func(a sluice.Assignment) (bool, string) {
		if strings.Contains(string(a.Args), `"x":1`) {
			tries++
			return tries > 1, map[bool]string{true: `"second"`, false: failure}[tries > 1]
		}
		return true, `"step"`
	})
	w.runsAre("f/a/s", "10s success, 20s scheduled")
	w.runsAre("f/a/r", "10s success, 20s scheduled")
	if tries != 2 {
		t.Errorf("%d tries", tries)
	}
}

// A schedule whose script is gone is disabled, and says why.
func TestScheduleOfNothing(t *testing.T) {
	w := newWorld(t)
	hash := w.script("f/a/job")
	w.schedule("f/a/s", "f/a/job")
	_ = hash
	w.must(w.ArchiveScript(w.ctx(), "main", "f/a/job"))
	w.clock.advance(10 * time.Second)
	w.tick()
	s, err := w.Schedule(w.ctx(), "main", "f/a/s", ann)
	w.must(err)
	if s.Enabled || !strings.Contains(s.Error, "archived") || !s.NextAt.IsZero() {
		t.Errorf("%+v", s)
	}
}

// From any number of servers at once there is one run for each instant.
func TestScheduleServers(t *testing.T) {
	w := newWorld(t)
	w.script("f/a/job")
	w.schedule("f/a/s", "f/a/job")
	var engines []*engine.Engine
	for range 3 {
		e, err := engine.New(w.ctx(), w.store, w.o)
		w.must(err)
		defer e.Close()
		engines = append(engines, e)
	}
	for range 20 {
		w.clock.advance(10 * time.Second)
		done := make(chan error)
		for _, e := range engines {
			go func() { _, err := e.Tick(w.ctx()); done <- err }()
		}
		for range engines {
			w.must(<-done)
		}
	}
	seen := map[time.Time]bool{}
	for _, j := range w.runs("f/a/s") {
		if seen[j.ScheduledFor] {
			t.Errorf("two runs at %s", j.ScheduledFor)
		}
		seen[j.ScheduledFor] = true
	}
	if len(seen) != 21 {
		t.Errorf("%d runs", len(seen))
	}
}

// The first run after a pause is the first one at its end or later.
func TestSchedulePause(t *testing.T) {
	w := newWorld(t)
	w.script("f/a/job")
	until := w.clock.Wall().UTC().Truncate(time.Second).Add(90 * time.Second)
	w.schedule("f/a/s", "f/a/job", "paused_until", until.Format(time.RFC3339))
	w.schedule("f/a/t", "f/a/job", "paused_until", until.Add(time.Second).Format(time.RFC3339))
	w.runsAre("f/a/s", "1m30s scheduled")
	w.runsAre("f/a/t", "1m40s scheduled")
}

// A run that is withdrawn is deleted soon.
func TestScheduleForgetsWithdrawn(t *testing.T) {
	w := newWorld(t)
	w.script("f/a/job", "concurrent_limit", 1)
	w.schedule("f/a/s", "f/a/job")
	w.must(w.EnableSchedule(w.ctx(), "main", "f/a/s", false, ann))
	if g := w.row("main/script/f/a/job"); g.Waiting != 0 {
		t.Errorf("the group counts %d waiting", g.Waiting)
	}
	_, err := w.Clean(w.ctx())
	w.must(err)
	w.runsAre("f/a/s", "")
}

func TestScheduleRefused(t *testing.T) {
	w := newWorld(t)
	w.script("f/a/job")
	w.schedule("f/a/s", "f/a/job")
	for field, b := range map[string]json.RawMessage{
		"schedule":         scheduleBody(w, "f/a/t", "61 * * * * *", "f/a/job"),
		"timezone":         scheduleBody(w, "f/a/t", "* * * * * *", "f/a/job", "timezone", "Mars"),
		"script_path":      scheduleBody(w, "f/a/t", "* * * * * *", "nowhere"),
		"path":             scheduleBody(w, "f/a/s", "* * * * * *", "f/a/job"),
		"on_failure":       scheduleBody(w, "f/a/t", "* * * * * *", "f/a/job", "on_failure", "f/a/job"),
		"on_failure_times": scheduleBody(w, "f/a/t", "* * * * * *", "f/a/job", "on_failure_times", 0),
		"args":             scheduleBody(w, "f/a/t", "* * * * * *", "f/a/job", "args", []int{1}),
		"dynamic_skip":     scheduleBody(w, "f/a/t", "* * * * * *", "f/a/job", "dynamic_skip", "f/a/job"),
	} {
		var se *sluice.Error
		if err := w.CreateSchedule(w.ctx(), "main", b, ann); err == nil || !asError(err, &se) || se.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := w.CreateSchedule(w.ctx(), "main", scheduleBody(w, "f/a/t", "0 0 0 30 2 *", "f/a/job"), ann); err == nil || !strings.Contains(err.Error(), "never") {
		t.Errorf("the 30th of February: %v", err)
	}
	if err := w.CreateSchedule(w.ctx(), "nowhere", scheduleBody(w, "f/a/t", "* * * * * *", "f/a/job"), ann); sluice.CodeOf(err) != sluice.CodeNotFound {
		t.Errorf("of another workspace: %v", err)
	}
}

func asError(err error, se **sluice.Error) bool { return errors.As(err, se) }
