package engine_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// pre saves a python3 script with a preprocessor; settings as in script.
func (w *world) pre(path string, settings ...any) {
	w.t.Helper()
	w.py(path, append([]any{"lock", "", "has_preprocessor", true}, settings...)...)
}

// event has a push ask for the preprocessor.
func event(n *engine.NewJob) {
	n.Event = func() (json.RawMessage, error) { return json.RawMessage(`{"event":{"kind":"webhook"}}`), nil }
}

// one takes the one job that is to be had.
func (w *world) one(worker string) sluice.Assignment {
	w.t.Helper()
	got := w.take(worker, 5, "python3")
	if len(got) != 1 {
		w.t.Fatalf("took %d jobs, not one: %+v", len(got), got)
	}
	return got[0]
}

// none expects nothing to be had.
func (w *world) none() {
	w.t.Helper()
	if got := w.take("w1", 5, "python3"); len(got) != 0 {
		w.t.Fatalf("took %+v", got)
	}
}

// failed expects a job to have ended with an error.
func (w *world) failed(id, name string) {
	w.t.Helper()
	var r struct {
		Error struct{ Name, Message string }
	}
	j := w.job(id)
	_ = json.Unmarshal(j.Result, &r)
	if j.State != sluice.StateCompleted || j.Outcome != sluice.OutcomeFailure || r.Error.Name != name || r.Error.Message == "" {
		w.t.Errorf("job is %s %s: %s; want the error %s", j.State, j.Outcome, j.Result, name)
	}
}

// limits.md, "The key": resolved once, when the job's arguments are final.
func TestPreprocessorMakesTheKey(t *testing.T) {
	w := newWorld(t)
	w.pre("f/a/p", "concurrent_limit", 1, "concurrency_key", "of-$args[t]")
	blocker := w.push("f/a/p", args(`{"t":"x"}`))
	held := w.one("w1")
	if held.JobID != blocker || held.Entry != sluice.EntryMain {
		t.Fatalf("a call that does not ask runs main: %+v", held)
	}
	id := w.push("f/a/p", event, args(`{"t":"x"}`))
	if j := w.job(id); j.HasKey || j.Phase != sluice.PhasePreprocess || string(j.Args) != `{"event":{"kind":"webhook"}}` ||
		j.Wait == nil || j.Wait.Reason != sluice.ReasonPreprocessing || j.Wait.Key != nil {
		t.Errorf("%+v, wait %+v", j.Job, j.Wait)
	}
	a := w.one("w1")
	if a.JobID != id || a.Entry != sluice.EntryPreprocessor || a.Prompt || string(a.Args) != `{"event":{"kind":"webhook"}}` {
		t.Fatalf("%+v", a)
	}
	if j := w.job(id); j.State != sluice.StateRunning || j.Wait == nil || j.Wait.Reason != sluice.ReasonPreprocessing || j.Execution.InGroup {
		t.Errorf("%+v, wait %+v", j.Job, j.Wait)
	}
	w.end("w1", a, true, `{"t": "x", "n": 1}`)
	j := w.job(id)
	if j.State != sluice.StateQueued || j.Phase != sluice.PhasePreprocessed || j.Key != "of-x" || string(j.Args) != `{"t": "x", "n": 1}` ||
		!j.StartedAt.IsZero() || j.Wait == nil || j.Wait.Reason != sluice.ReasonLimit {
		t.Errorf("%+v, wait %+v", j.Job, j.Wait)
	}
	if g := w.group("of-x"); g.Running != 1 || g.Waiting != 1 {
		t.Errorf("%+v", g)
	}
	w.none()
	w.report("w1", held)
	a = w.one("w1")
	if a.JobID != id || a.Entry != sluice.EntryMain || a.Attempt != 2 || string(a.Args) != `{"t": "x", "n": 1}` {
		t.Errorf("%+v", a)
	}
	w.report("w1", a)
	if j := w.job(id); j.Outcome != sluice.OutcomeSuccess || string(j.Result) != `"ok"` || j.Lost != 0 {
		t.Errorf("%+v", j.Job)
	}
}

// limits.md, "The key": the preprocessor runs before, unlimited: nothing is
// counted for it, and it waits for no limit.
func TestPreprocessorIsUnlimited(t *testing.T) {
	w := newWorld(t)
	w.pre("f/a/p", "concurrent_limit", 1, "concurrency_time_window_s", 3600)
	for range 3 {
		w.push("f/a/p", event)
	}
	got := w.take("w1", 5, "python3")
	if len(got) != 3 {
		t.Fatalf("%d preprocessors run at a time, not 3", len(got))
	}
	for _, a := range got {
		w.end("w1", a, true, `{}`)
	}
	main := w.one("w1")
	if g := w.group("main/script/f/a/p"); g.Running != 1 || g.Waiting != 2 || g.InWindow != 0 {
		t.Errorf("%+v", g)
	}
	w.report("w1", main)
	w.none()
}

// limits.md, promise 3: the job goes to its place by rank, not to the end.
func TestPreprocessedTakesItsRank(t *testing.T) {
	w := newWorld(t)
	w.pre("f/a/p", "concurrent_limit", 1)
	first := w.push("f/a/p", event)
	a := w.one("w1")
	w.clock.advance(time.Second)
	second := w.push("f/a/p")
	third := w.push("f/a/p", priority(1))
	w.end("w1", a, true, `{}`)
	var order []string
	for range 3 {
		a := w.one("w1")
		order = append(order, a.JobID)
		w.report("w1", a)
	}
	if want := []string{third, first, second}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

// limits.md, "The key": not resolvable: the job fails; it never runs without
// its limit. So does one whose preprocessor fails or makes no arguments.
func TestPreprocessorWithoutArguments(t *testing.T) {
	for _, result := range []string{`null`, `[1]`, `"x"`, `5`} {
		w := newWorld(t)
		w.pre("f/a/p", "concurrent_limit", 1)
		id := w.push("f/a/p", event)
		w.end("w1", w.one("w1"), true, result)
		w.failed(id, "InvalidPreprocessorResult")
		w.none()
	}
	w := newWorld(t)
	w.pre("f/a/p", "concurrent_limit", 1)
	id := w.push("f/a/p", event)
	w.end("w1", w.one("w1"), false, `{"error":{"name":"KeyError","message":"no"}}`)
	w.failed(id, "KeyError")
	w.none()
}

// limits.md, on_concurrency_limit "fail": judged once, when the job is due and
// its key is known.
func TestPreprocessedFailsAtTheLimit(t *testing.T) {
	w := newWorld(t)
	w.pre("f/a/p", "concurrent_limit", 1, "on_concurrency_limit", "fail")
	one, two := w.push("f/a/p", event), w.push("f/a/p", event)
	got := w.take("w1", 2, "python3")
	for _, a := range got {
		w.end("w1", a, true, `{}`)
	}
	w.failed(two, "ConcurrencyLimitExceeded")
	if a := w.one("w1"); a.JobID != one {
		t.Errorf("%+v", a)
	}
	if g := w.group("main/script/f/a/p"); g.Waiting != 0 || g.Running != 1 {
		t.Errorf("%+v", g)
	}
}

// limits.md, max_waiting and queue_limit: judged when the group is known.
func TestPreprocessedIsTooMany(t *testing.T) {
	w := newWorld(t)
	w.pre("f/a/p", "concurrent_limit", 1)
	w.push("f/a/p")
	w.one("w1")
	w.push("f/a/p")
	limited := func(n *engine.NewJob) { q := int64(1); n.QueueLimit = &q }
	refused, accepted := w.push("f/a/p", event, limited), w.push("f/a/p", event)
	for _, a := range w.take("w1", 2, "python3") {
		w.end("w1", a, true, `{}`)
	}
	w.failed(refused, "TooManyWaiting")
	if j := w.job(accepted); !j.Waiting() {
		t.Errorf("%+v", j.Job)
	}
	most := int64(1)
	_, err := w.SetOverride(w.ctx(), "main/script/f/a/p", engine.OverrideChange{MaxWaiting: &most, By: "admin"})
	w.must(err)
	again := w.push("f/a/p", event)
	w.end("w1", w.one("w1"), true, `{}`)
	w.failed(again, "TooManyWaiting")
	if g := w.group("main/script/f/a/p"); g.Waiting != 2 {
		t.Errorf("%+v", g)
	}
}

// limits.md, "Loss of a worker": lost while its arguments are made, the job is
// made them anew; handed back, nothing is counted.
func TestPreprocessorLost(t *testing.T) {
	w := newWorld(t)
	w.pre("f/a/p", "concurrent_limit", 1, "max_lost_attempts", 1)
	id := w.push("f/a/p", event)
	a := w.one("w1")
	w.must(w.HandBack(w.ctx(), "w1", []int64{a.Execution}))
	a = w.one("w1")
	w.confirm("w1", a)
	w.beat("w1", w.takes) // it no longer has it: lost
	if j := w.job(id); j.Lost != 1 || j.Phase != sluice.PhasePreprocess || j.HasKey {
		t.Errorf("%+v", j.Job)
	}
	w.restart()
	a = w.one("w2")
	if a.Entry != sluice.EntryPreprocessor || a.Attempt != 3 {
		t.Fatalf("%+v", a)
	}
	w.end("w2", a, true, `{}`)
	w.restart()
	a = w.one("w2")
	if a.Entry != sluice.EntryMain {
		t.Fatalf("%+v", a)
	}
	w.confirm("w2", a)
	w.beat("w2", w.takes)
	w.failed(id, "WorkerLost")
	if j := w.job(id); j.Lost != 2 {
		t.Errorf("%+v", j.Job)
	}
	if g := w.group("main/script/f/a/p"); g.Running != 0 || g.Waiting != 0 {
		t.Errorf("%+v", g)
	}
}

// limits.md, "What each event does": cancelled while waiting, while running,
// and by force, in each phase.
func TestPreprocessedIsCancelled(t *testing.T) {
	for _, force := range []bool{false, true} {
		for phase := range 4 {
			w := newWorld(t)
			w.pre("f/a/p", "concurrent_limit", 1)
			id := w.push("f/a/p", event)
			var a sluice.Assignment
			if phase > 0 {
				a = w.one("w1")
			}
			if phase > 1 {
				w.end("w1", a, true, `{}`)
			}
			if phase > 2 {
				a = w.one("w1")
			}
			_, err := w.Cancel(w.ctx(), "main", []string{id}, "ann", "", force)
			w.must(err)
			if phase == 1 || phase == 3 {
				if orders := w.beat("w1", w.takes, a); len(orders) != 1 || !orders[0].Kill {
					t.Errorf("orders %+v", orders)
				}
				w.end("w1", a, true, `{}`)
			}
			if j := w.job(id); j.Outcome != sluice.OutcomeCanceled {
				t.Errorf("phase %d, force %v: %s %s", phase, force, j.State, j.Outcome)
			}
			w.none()
			w.push("f/a/p")
			w.report("w1", w.one("w1"))
		}
	}
}

// A job that may not wait any longer has waited in both phases.
func TestPreprocessedWaitsTooLong(t *testing.T) {
	w := newWorld(t)
	w.pre("f/a/p", "concurrent_limit", 1, "max_wait_s", 10)
	w.push("f/a/p")
	w.one("w1")
	late, never := w.push("f/a/p", event), w.push("f/a/p", event, in(time.Hour))
	w.clock.advance(6 * time.Second)
	w.end("w1", w.one("w1"), true, `{}`)
	w.clock.advance(5 * time.Second)
	w.none()
	w.failed(late, "WaitedTooLong")
	if j := w.job(never); j.Wait.Reason != sluice.ReasonScheduled || !slices.Contains(j.Wait.Also, sluice.ReasonPreprocessing) {
		t.Errorf("%+v", j.Wait)
	}
	w.clock.advance(time.Hour)
	w.none()
	w.failed(never, "WaitedTooLong")
}

// limits.md, "runnable saved with another limit", with apply_limits_to_waiting:
// a job whose key is not known yet waits, too.
func TestPreprocessedGetsTheNewLimit(t *testing.T) {
	w := newWorld(t)
	w.pre("f/a/p", "concurrent_limit", 1, "concurrency_key", "k")
	id := w.push("f/a/p", event)
	raw := json.RawMessage(`{"path":"f/a/p","content":"x","language":"python3","concurrent_limit":5,"lock":""}`)
	_, err := w.SaveScript(w.ctx(), "main", engine.NewScript{Body: raw, CreatedBy: "admin", ApplyToWaiting: true})
	w.must(err)
	w.end("w1", w.one("w1"), true, `{}`)
	if j := w.job(id); j.Limit.N != 5 || j.Key != "k" {
		t.Errorf("%+v", j.Job)
	}
	if a := w.one("w1"); a.JobID != id {
		t.Errorf("%+v", a)
	}
}

// Code without a preprocessor is never run as one: it would run unlimited.
func TestNoPreprocessor(t *testing.T) {
	w := newWorld(t)
	w.py("f/a/py", "lock", "", "concurrent_limit", 1)
	w.script("f/a/bash", "has_preprocessor", true, "concurrent_limit", 1)
	for path, tag := range map[string]string{"f/a/py": "python3", "f/a/bash": "bash"} {
		id := w.push(path, event, args(`{"a":1}`))
		got := w.take("w1", 1, tag)
		if len(got) != 1 || got[0].Entry != sluice.EntryMain || string(got[0].Args) != `{"a":1}` || !w.job(id).HasKey {
			t.Errorf("%s: %+v", path, got)
		}
	}
	w.pre("f/a/free")
	id := w.push("f/a/free", event)
	w.end("w1", w.one("w1"), true, `{"a": 2}`)
	if a := w.one("w1"); a.JobID != id || a.Entry != sluice.EntryMain || string(a.Args) != `{"a": 2}` {
		t.Errorf("without a limit: %+v", a)
	}
}
