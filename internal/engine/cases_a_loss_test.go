package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/limit"
)

// A21: a worker that was cut off comes back after its attempt was declared
// lost: its report, confirmation and log are refused with conflict and noted,
// and neither end the new attempt nor free its slot. What else it confirms in
// the same call is recorded.
func TestA21_LateWordsOfALostWorker(t *testing.T) {
	t.Parallel()
	const key = "main/script/f/a/cut"
	var noted bytes.Buffer
	w := newWorldWith(t, engine.Options{Logger: slog.New(slog.NewTextHandler(&noted, nil))})
	w.script("f/a/cut", "concurrent_limit", 1)
	w.script("f/a/free")
	ids := w.pushN("f/a/cut", 2)
	w.beat("w1", 0)
	old := w.take("w1", 1)[0]
	w.confirm("w1", old)
	write := func(worker string, x int64, offset int64, text string) error {
		return w.AppendLog(w.ctx(), sluice.LogChunk{Execution: x, Worker: worker, Offset: offset, Text: []byte(text)})
	}
	w.must(write("w1", old.Execution, 0, "first attempt\n"))
	w.clock.advance(engine.DefaultLostAfter)
	w.reap(w.Engine)
	w.beat("w2", 0)
	renewed := w.take("w2", 5)
	if len(renewed) != 1 || renewed[0].JobID != ids[0] || renewed[0].Attempt != 2 {
		t.Fatalf("after the loss: %+v", renewed)
	}
	w.must(write("w2", renewed[0].Execution, 0, "second attempt\n"))

	wantCode(t, "late log", write("w1", old.Execution, 14, "late\n"), sluice.CodeConflict, "")
	wantCode(t, "late confirmation", w.Confirm(w.ctx(), "w1", []int64{old.Execution}), sluice.CodeConflict, "")
	late := w.Report(w.ctx(), []sluice.Report{{Execution: old.Execution, Worker: "w1", Success: true, Launched: true, Result: json.RawMessage(`"late"`)}})
	wantCode(t, "late report", late[0], sluice.CodeConflict, "")
	w.must(w.HandBack(w.ctx(), "w1", []int64{old.Execution}))
	wantCode(t, "another's report", w.tryReport("w1", renewed[0].Execution), sluice.CodeConflict, "")
	wantCode(t, "another's log", write("w1", renewed[0].Execution, 0, "late\n"), sluice.CodeConflict, "")
	for _, what := range []string{"refused a log", "refused a confirmation", "refused a report"} {
		if !strings.Contains(noted.String(), what) {
			t.Errorf("%q was not noted", what)
		}
	}
	if orders := w.beat("w1", w.takes, old); len(orders) != 1 || !orders[0].Forget {
		t.Fatalf("the worker that came back is told %+v", orders)
	}

	w.push("f/a/free")
	free := w.take("w1", 1)[0]
	wantCode(t, "a confirmation of two", w.Confirm(w.ctx(), "w1", []int64{old.Execution, free.Execution}), sluice.CodeConflict, "")
	if x := w.job(free.JobID).Execution; x.ConfirmedAt.IsZero() {
		t.Fatal("what was confirmed beside the lost one was not recorded")
	}

	w.mustTake("while the second attempt runs")
	if j := w.job(ids[0]); j.State != sluice.StateRunning || j.Attempt != 2 || j.Lost != 1 {
		t.Fatalf("the job is %s, attempt %d, lost %d times", j.State, j.Attempt, j.Lost)
	}
	w.report("w2", renewed...)
	j, err := w.Job(w.ctx(), "main", ids[0], true, false)
	w.must(err)
	if string(j.Result) != `"ok"` || j.Logs != "first attempt\nsecond attempt\n" {
		t.Fatalf("result %s, log %q", j.Result, j.Logs)
	}
	w.mustTake("after the second attempt", ids[1])
	w.auditRule(key)

	// The last attempt that is allowed: the job fails and is not run again.
	w.script("f/a/once", "concurrent_limit", 1, "max_lost_attempts", 0)
	once := w.push("f/a/once")
	w.beat("w3", 0)
	w.confirm("w3", w.take("w3", 1)...)
	w.beat("w3", w.takes)
	w.mustTake("a job that may run once only")
	if j := w.job(once); j.Outcome != sluice.OutcomeFailure || !strings.Contains(string(j.Result), `"WorkerLost"`) {
		t.Fatalf("lost with no attempt left: %s %s", j.Outcome, j.Result)
	}
}

// A22: a job that is cancelled by force is over for its callers at once; its
// slot stays with the process until the worker says that it is gone or is
// given up, and the next job says who stands in its way, though the job itself
// may be deleted by then. What was cancelled is not run again.
func TestA22_ForceKeepsTheSlot(t *testing.T) {
	t.Parallel()
	const key = "main/script/f/a/force"
	w := newWorldWith(t, engine.Options{Retention: time.Hour})
	w.script("f/a/force", "concurrent_limit", 1, "delete_after_use", true)
	ids := w.pushN("f/a/force", 4)
	force := func(id string) {
		t.Helper()
		r, err := w.Cancel(w.ctx(), "main", []string{id}, "admin", "stuck", true)
		w.must(err)
		if !r[0].Ended || !r[0].Ordered {
			t.Fatalf("forced: %+v", r[0])
		}
		if j := w.job(id); j.State != sluice.StateCompleted || j.Outcome != sluice.OutcomeCanceled {
			t.Fatalf("forced, but %s %s", j.State, j.Outcome)
		}
	}
	stands := func(what, in string, next string) {
		t.Helper()
		w.mustTake(what)
		if g := w.group(key); g.Running != 1 {
			t.Fatalf("%s: %d slots held", what, g.Running)
		}
		wait := w.job(next).Wait
		if wait.Reason != sluice.ReasonLimit || wait.SlotsTotal != 1 || len(wait.Slots) != 1 || wait.Slots[0].JobID != in || wait.Slots[0].FreesAt != nil {
			t.Fatalf("%s: the next one waits: %+v", what, wait)
		}
	}
	w.beat("w1", 0)
	a := w.mustTake("the first", ids[0])
	w.confirm("w1", a...)
	force(ids[0])
	stands("after force", ids[0], ids[1])
	w.clock.advance(time.Second)
	w.clean()
	if _, err := w.Job(w.ctx(), "main", ids[0], false, false); sluice.CodeOf(err) != sluice.CodeNotFound {
		t.Fatalf("the forced job is still there: %v", err)
	}
	stands("after it was deleted", ids[0], ids[1])
	for range 3 {
		w.clock.advance(30 * time.Second)
		if orders := w.beat("w1", w.takes, a...); len(orders) != 1 || !orders[0].Kill {
			t.Fatalf("orders: %+v", orders)
		}
		w.reap(w.Engine)
	}
	w.restart()
	stands("after a restart", ids[0], ids[1])
	w.report("w1", a...) // the process tree is gone at last
	a = w.mustTake("after its report", ids[1])

	w.beat("w1", w.takes, a...)
	force(ids[1])
	w.clock.advance(engine.DefaultLostAfter - time.Microsecond)
	w.reap(w.Engine)
	stands("while its worker may be heard", ids[1], ids[2])
	w.clock.advance(time.Microsecond)
	w.reap(w.Engine)
	a = w.mustTake("after its worker was given up", ids[2])
	if j := w.job(ids[1]); j.Outcome != sluice.OutcomeCanceled || j.Attempt != 1 {
		t.Fatalf("the forced job: %s, attempt %d", j.Outcome, j.Attempt)
	}

	// Cancelled without force, by a worker that cannot be reached: over when it is given up.
	w.confirm("w1", a...)
	_, err := w.Cancel(w.ctx(), "main", []string{ids[2]}, "admin", "", false)
	w.must(err)
	w.beat("w1", w.takes, a...)
	w.mustTake("while the cancelled one is being ended")
	w.clock.advance(engine.DefaultLostAfter)
	w.reap(w.Engine)
	w.mustTake("after that worker was given up", ids[3])
	if j := w.job(ids[2]); j.Outcome != sluice.OutcomeCanceled || j.Attempt != 1 {
		t.Fatalf("the cancelled job: %s, attempt %d", j.Outcome, j.Attempt)
	}
	if n := w.auditRule(key); n != 4 {
		t.Fatalf("%d starts, want 4", n)
	}
}

// A24: the server dies after a take was committed and before the worker heard
// of it. The next heartbeat after that take does not list what was taken: it
// is struck out, counts nowhere, and the job starts anew in its rank. A
// heartbeat sent before the answer was due strikes nothing.
func TestA24_TakenButNeverHeardOf(t *testing.T) {
	t.Parallel()
	const key = "main/script/f/a/unheard"
	for _, mode := range []string{"end", "start"} {
		for _, restart := range []bool{false, true} {
			w := newWorld(t)
			w.script("f/a/unheard", "concurrent_limit", 2, "concurrency_time_window_s", 3600, "concurrency_window_from", mode)
			ids := w.pushN("f/a/unheard", 3)
			w.beat("w1", 0)
			heard := w.take("w1", 1)
			unheard := w.take("w1", 1) // its answer never arrives
			takeNo := w.takes
			if restart {
				w.restart()
			}
			w.beat("w1", takeNo-1, heard...) // sent while the take was under way
			w.mustTake("while the answer may still come")
			if g := w.group(key); g.Running != 2 {
				t.Fatalf("%s: %d held while the answer may still come", mode, g.Running)
			}
			w.clock.advance(time.Second)
			w.beat("w1", takeNo, heard...)
			if g := w.group(key); g.Running != 1 || g.Waiting != 2 {
				t.Fatalf("%s: %d held, %d waiting after the heartbeat", mode, g.Running, g.Waiting)
			}
			if j := w.job(ids[1]); j.State != sluice.StateQueued || j.Lost != 0 || j.Execution.End != sluice.EndStruck {
				t.Fatalf("%s: the job that nobody heard of: %s, lost %d times, %q", mode, j.State, j.Lost, j.Execution.End)
			}
			a := w.mustTake("its place is free at once, and it is first", ids[1])
			if a[0].Attempt != 2 {
				t.Fatalf("%s: attempt %d", mode, a[0].Attempt)
			}
			wantCode(t, "a report of what was struck out", w.tryReport("w1", unheard[0].Execution), sluice.CodeConflict, "")
			if orders := w.beat("w1", w.takes, append(a, heard[0], unheard[0])...); len(orders) != 1 || !orders[0].Forget || orders[0].Execution != unheard[0].Execution {
				t.Fatalf("%s: the answer that came after all: told %+v", mode, orders)
			}
			w.auditRule(key)
		}
	}
}

// A25: a preview has a group only if the call carries a limit: without a path
// it must bring a key too; with a path it counts with the script there. A
// script's child that nobody waits for counts under its own key, beside its
// parent, and waits for its parent if it has the same.
func TestA25_PreviewsAndChildren(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/page", "concurrent_limit", 1)
	submit := func(p engine.Preview) (string, error) {
		t.Helper()
		p.Content, p.Language = "echo", "bash"
		ids, err := w.Submit(w.ctx(), []engine.NewJob{{Workspace: "main", Preview: &p, Args: json.RawMessage(`{"k": "v"}`)}})
		if err != nil {
			return "", err
		}
		return ids[0], nil
	}
	preview := func(path, key, n string) *engine.JobView {
		t.Helper()
		p := engine.Preview{Path: path}
		if n != "" {
			p.Limits.N = json.RawMessage(n)
		}
		if key != "" {
			p.Limits.Key = json.RawMessage(fmt.Sprintf("%q", key))
		}
		id, err := submit(p)
		w.must(err)
		return w.job(id)
	}
	saved := w.push("f/a/page")
	plain, atPath, keyOnly := preview("", "", ""), preview("f/a/page", "", ""), preview("", "main/script/f/a/page", "")
	for _, j := range []*engine.JobView{plain, atPath, keyOnly} {
		if j.HasKey || j.Limit != nil {
			t.Fatalf("a preview without a limit counts under %q", j.Key)
		}
	}
	limited, own := preview("f/a/page", "", "1"), preview("", "page-$args[k]", "1")
	if limited.Key != "main/script/f/a/page" || own.Key != "page-v" {
		t.Fatalf("keys of previews: %q and %q", limited.Key, own.Key)
	}
	_, err := submit(engine.Preview{Limits: limit.Fields{N: json.RawMessage("1")}})
	wantCode(t, "a limit without path and key", err, sluice.CodeInvalid, limit.FieldKey)
	_, err = submit(engine.Preview{Limits: limit.Fields{N: json.RawMessage("0"), Key: json.RawMessage(`"k"`)}})
	wantCode(t, "a preview with N = 0", err, sluice.CodeInvalid, limit.FieldN)

	as := w.take("w1", 50)
	got := jobsOf(as)
	for _, id := range []string{saved, plain.ID, atPath.ID, keyOnly.ID, own.ID} {
		if !slices.Contains(got, id) {
			t.Fatalf("started %v without %s", got, id)
		}
	}
	if len(got) != 5 {
		t.Fatalf("started %v; the preview at the path of the script that runs must wait", got)
	}

	w.script("f/a/parent", "concurrent_limit", 1)
	w.script("f/a/child", "concurrent_limit", 1)
	parent := w.push("f/a/parent")
	p := w.mustTake("the parent", parent)
	of := func(n *engine.NewJob) { n.ParentJob, n.RootJob = parent, parent }
	children := []string{w.push("f/a/child", of), w.push("f/a/child", of)}
	same := w.push("f/a/parent", of)
	c := w.mustTake("the first child, beside its parent", children[0])
	if wait := w.job(same).Wait; wait.Reason != sluice.ReasonLimit || wait.Slots[0].JobID != parent {
		t.Fatalf("the child with its parent's key waits: %+v", wait)
	}
	w.report("w1", p...) // the parent does not wait for its children
	w.mustTake("the child with its parent's key", same)
	w.report("w1", c...)
	w.mustTake("the second child", children[1])
	w.auditRule("main/script/f/a/parent")
	w.auditRule("main/script/f/a/child")
}

// A26: what is no whole number within bounds is refused as N or W, and a rate
// needs a window, on scripts, previews and overrides alike, by the name of the
// field; null is absent, and a key without a limit is no limit. A refusal
// leaves everything as it was.
func TestA26_BadLimitsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	save := func(fields string) error {
		_, err := w.SaveScript(w.ctx(), "main", engine.NewScript{
			Body: json.RawMessage(`{"path": "f/a/bad", "content": "echo", "language": "bash"` + fields + `}`), CreatedBy: "admin",
		})
		return err
	}
	w.must(save(`, "concurrent_limit": 2`))
	before, err := w.Script(w.ctx(), "main", "f/a/bad")
	w.must(err)
	w.push("f/a/bad")
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	everywhere := func(what string, f limit.Fields, field string) {
		t.Helper()
		text := ""
		for name, v := range map[string]json.RawMessage{limit.FieldN: f.N, limit.FieldWindow: f.Window, limit.FieldMode: f.Mode, limit.FieldKey: f.Key} {
			if v != nil {
				text += fmt.Sprintf(", %q: %s", name, v)
			}
		}
		wantCode(t, "script with "+what, save(text), sluice.CodeInvalid, field)
		_, err := w.Submit(w.ctx(), []engine.NewJob{{Workspace: "main", Preview: &engine.Preview{Content: "x", Language: "bash", Path: "f/a/bad", Limits: f}}})
		wantCode(t, "preview with "+what, err, sluice.CodeInvalid, field)
		if f.Key == nil {
			_, err = w.SetOverride(w.ctx(), "main/script/f/a/bad", engine.OverrideChange{Fields: f, By: "admin"})
			wantCode(t, "override with "+what, err, sluice.CodeInvalid, field)
		}
	}
	for _, v := range []string{"0", "-1", "1.5", `"5"`, "2147483648", "1000001", "true", "[1]", "{}", `""`, "1e400", "0.5"} {
		everywhere("N = "+v, limit.Fields{N: raw(v)}, limit.FieldN)
		if v != "0" && v != "1000001" {
			everywhere("W = "+v, limit.Fields{N: raw("1"), Window: raw(v)}, limit.FieldWindow)
		}
	}
	everywhere("W beyond 31 days", limit.Fields{N: raw("1"), Window: raw("2678401")}, limit.FieldWindow)
	everywhere("start without W", limit.Fields{N: raw("1"), Mode: raw(`"start"`)}, limit.FieldWindow)
	everywhere("start with W null", limit.Fields{N: raw("1"), Window: raw("null"), Mode: raw(`"start"`)}, limit.FieldWindow)
	everywhere("start with W 0", limit.Fields{N: raw("1"), Window: raw("0"), Mode: raw(`"start"`)}, limit.FieldWindow)
	everywhere("an unknown mode", limit.Fields{N: raw("1"), Window: raw("5"), Mode: raw(`"middle"`)}, limit.FieldMode)
	everywhere("a mode that is no text", limit.Fields{N: raw("1"), Window: raw("5"), Mode: raw("1")}, limit.FieldMode)
	everywhere("a key without its end", limit.Fields{N: raw("1"), Key: raw(`"$args[a"`)}, limit.FieldKey)
	everywhere("a key that is no text", limit.Fields{N: raw("1"), Key: raw("5")}, limit.FieldKey)
	for what, f := range map[string]limit.Fields{"nothing": {}, "null": {N: raw("null"), Window: raw("null"), Mode: raw("null")}} {
		_, err := w.SetOverride(w.ctx(), "main/script/f/a/bad", engine.OverrideChange{Fields: f})
		wantCode(t, "an override with "+what, err, sluice.CodeInvalid, limit.FieldN)
	}
	after, err := w.Script(w.ctx(), "main", "f/a/bad")
	w.must(err)
	if g := w.group("main/script/f/a/bad"); after.Hash != before.Hash || g.Override != nil || g.Limit.N != 2 {
		t.Fatalf("a refusal changed something: script %s, was %s; override %v, limit %v", after.Hash, before.Hash, g.Override, g.Limit)
	}

	for fields, want := range map[string]*limit.Limit{
		`, "concurrent_limit": null, "concurrency_time_window_s": null, "concurrency_key": null`:      nil,
		`, "concurrency_key": "k", "concurrency_time_window_s": 5`:                                    nil,
		`, "concurrent_limit": 1000000, "concurrency_time_window_s": 2678400`:                         {N: 1_000_000, Window: 31 * 24 * time.Hour, Mode: limit.End},
		`, "concurrent_limit": 1, "concurrency_time_window_s": null`:                                  {N: 1, Mode: limit.End},
		`, "concurrent_limit": 1, "concurrency_time_window_s": 1, "concurrency_window_from": "start"`: {N: 1, Window: time.Second, Mode: limit.Start},
	} {
		w.must(save(fields))
		j := w.job(w.push("f/a/bad"))
		if j.HasKey != (want != nil) || want != nil && *j.Limit != *want {
			t.Fatalf("%s became %v, want %v", fields, j.Limit, want)
		}
	}
}
