package engine_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// taker saves a flow that holds a slot of one key, does something under no
// limit, and then needs a slot of another.
func (w *world) taker(path, holds string, n int, needs string, m int, settings ...any) {
	w.flow(path, []obj{raw("x"), raw("y", append([]any{"concurrent_limit", m, "custom_concurrency_key", needs}, settings...)...)},
		"concurrent_limit", n, "concurrency_key", holds)
}

// holding starts flows one after the other, and then has each need its second
// slot.
func (w *world) holding(paths ...string) []string {
	w.t.Helper()
	var ids []string
	var first []sluice.Assignment
	for _, path := range paths {
		ids = append(ids, w.runFlow(path))
		first = append(first, w.take("w1", 10)...)
		w.clock.advance(time.Millisecond)
	}
	for _, a := range first {
		w.ends("w1", a, true, "1")
	}
	return ids
}

// running says which of some flows have not ended.
func (w *world) running(ids []string) string {
	var left []string
	for i, id := range ids {
		if w.job(id).State == sluice.StateRunning {
			left = append(left, string(rune('A'+i)))
		}
	}
	return strings.Join(left, "")
}

func (w *world) cutKnots() {
	w.t.Helper()
	w.must(w.CutKnots(w.ctx()))
}

// B4: of two flows of which each needs what the other holds, the younger ends
// and says who held what; the other goes on.
func TestB4_TwoFlowsThatNeedEachOthersKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.taker("f/b/one", "a", 1, "b", 1)
	w.taker("f/b/two", "b", 1, "a", 1)
	ids := w.holding("f/b/one", "f/b/two")
	if got := w.take("w1", 10); len(got) != 0 {
		t.Fatalf("%v run", jobsOf(got))
	}
	if at, err := w.MoveFlows(w.ctx()); err != nil || at >= 0 {
		t.Fatalf("something is due: %v, %v", at, err)
	}
	w.cutKnots()
	if left := w.running(ids); left != "A" {
		t.Fatalf("%q run", left)
	}
	for _, word := range []string{"ConcurrencyDeadlock", ids[0], ids[1], "f/b/one", `holds \"a\" and needs \"b\"`, `"holds":["b"]`, `"waits_for":["a"]`} {
		w.result(ids[1], sluice.OutcomeFailure, word)
	}
	if s := w.step(ids[1], "y"); s.Outcome != sluice.OutcomeCanceled {
		t.Errorf("the step of the flow that ended is %s, %s", s.State, s.Outcome)
	}
	w.work(nil)
	w.result(ids[0], sluice.OutcomeSuccess, "y")
	w.heldIs("after all", "a", 0)
	w.heldIs("after all", "b", 0)
	w.auditRule("a")
	w.auditRule("b")
}

// B4: a wait that something else than the end of a holder ends is none.
func TestB4_WaitsThatEndByThemselves(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world){
		"a rate": func(w *world) {
			w.taker("f/b/two", "b", 1, "a", 1, "concurrency_time_window_s", 1, "concurrency_window_from", "start")
		},
		"a bounded wait": func(w *world) { w.taker("f/b/two", "b", 1, "a", 1, "max_wait_s", 60) },
		"a raised limit": func(w *world) { w.override("a", 2, nil, "") },
		"a pause": func(w *world) {
			_, err := w.Pause(w.ctx(), "a", engine.PauseChange{By: "ann"})
			w.must(err)
		},
		"a flow that may not run for ever": func(w *world) {
			w.flow("f/b/one", []obj{raw("x"), calls("s", "flow", "f/b/inner")})
			w.taker("f/b/inner", "a", 1, "b", 1)
			w.flow("f/b/one", []obj{with(calls("s", "flow", "f/b/inner"), "timeout", obj{"type": "static", "value": 60})})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.taker("f/b/one", "a", 1, "b", 1)
			w.taker("f/b/two", "b", 1, "a", 1)
			if name != "a pause" {
				change(w)
			}
			ids := w.holding("f/b/one", "f/b/two")
			if name == "a pause" { // before, the flow would not have started
				change(w)
			}
			w.cutKnots()
			if left := w.running(ids); left != "AB" {
				t.Errorf("%q run", left)
			}
		})
	}
}

// C9: with more than one slot a ring of waits may be healthy; a knot is not, and
// ends with the end of one flow.
func TestC9_RingsAndKnots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.taker("f/c/one", "a", 2, "b", 2)
	w.taker("f/c/two", "b", 2, "a", 2)
	w.script("f/c/call", "concurrent_limit", 2, "concurrency_key", "b")
	w.push("f/c/call")
	script := w.take("w1", 1)
	ids := w.holding("f/c/one", "f/c/one", "f/c/two")
	w.cutKnots()
	if left := w.running(ids); left != "ABC" {
		t.Fatalf("a script that ends would free a slot, and yet only %q run", left)
	}
	w.ends("w1", script[0], true, "1")
	// The slot goes to the first flow's step, which ends.
	if got := w.take("w1", 1); len(got) != 1 || got[0].ParentJob != ids[0] {
		t.Fatalf("%v run", jobsOf(got))
	}
	w.cutKnots()
	if left := w.running(ids); left != "ABC" {
		t.Fatalf("a step that ends would free a slot, and yet only %q run", left)
	}

	w = newWorld(t)
	w.taker("f/c/one", "a", 2, "b", 2)
	w.taker("f/c/two", "b", 2, "a", 2)
	w.taker("f/c/behind", "c", 1, "a", 2)
	ids = w.holding("f/c/one", "f/c/one", "f/c/two", "f/c/two", "f/c/behind")
	w.cutKnots()
	if left := w.running(ids); left != "ABCE" {
		t.Fatalf("%q run: the youngest of the knot is to end, not who waits behind it, and one is enough", left)
	}
	w.work(nil)
	if left := w.running(ids); left != "" {
		t.Errorf("%q run on", left)
	}
	w.auditRule("a")
	w.auditRule("b")
}

// C9: a flow is held back by one of its parallel branches, whatever the others
// do, and its slot is free when all that runs in it is gone.
func TestC9_ParallelBranches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.taker("f/c/one", "a", 1, "b", 1)
	w.flow("f/c/two", []obj{{"id": "p", "value": obj{"type": "branchall", "parallel": true, "branches": []obj{
		{"modules": []obj{raw("long")}}, {"modules": []obj{raw("x"), raw("y", "concurrent_limit", 1, "custom_concurrency_key", "a")}},
	}}}}, "concurrent_limit", 1, "concurrency_key", "b")
	ids := w.holding("f/c/one")
	ids = append(ids, w.runFlow("f/c/two"))
	var long sluice.Assignment
	for _, a := range w.take("w1", 10) {
		if a.FlowStep == "long" {
			long = a
			w.confirm("w1", a)
			continue
		}
		w.ends("w1", a, true, "1")
	}
	w.cutKnots()
	if left := w.running(ids); left != "AB" {
		t.Fatalf("%q run: the branch that runs is not gone yet", left)
	}
	w.heldIs("while it is being ended", "b", 1)
	w.cutKnots() // it is ending: there is nothing more to find
	if orders := w.beat("w1", 0, long); len(orders) != 1 || orders[0].Execution != long.Execution {
		t.Fatalf("orders %+v: the branch that runs is to be stopped", orders)
	}
	w.ends("w1", long, false, failure)
	w.result(ids[1], sluice.OutcomeFailure, "ConcurrencyDeadlock")
	w.work(nil)
	w.result(ids[0], sluice.OutcomeSuccess, "y")
}

// A knot is looked for by itself, on a server that finds it there as well.
func TestC9_FoundWithoutBeingAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.taker("f/b/one", "a", 1, "b", 1)
	w.taker("f/b/two", "b", 1, "a", 1)
	ids := w.holding("f/b/one", "f/b/two")
	w.restart()
	ctx, cancel := context.WithCancel(w.ctx())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	ended, err := w.Await(ctx, "main", ids[1])
	if err != nil || !strings.Contains(string(ended.Result), "ConcurrencyDeadlock") {
		t.Errorf("it ended so: %+v, %v", ended, err)
	}
	cancel()
	w.must(<-done)
}

// A flow, and a step that calls one, may be given a time.
func TestFlow_MayNotRunLonger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	limited := func(seconds int) obj {
		return with(calls("s", "flow", "f/t/inner"), "timeout", obj{"type": "static", "value": seconds})
	}
	w.flow("f/t/inner", []obj{with(raw("a"), "sleep", obj{"type": "static", "value": 3600}), raw("b")}, "concurrent_limit", 1)
	w.flow("f/t/outer", []obj{with(limited(5), "continue_on_error", true), raw("then")})
	id := w.runFlow("f/t/outer")
	w.work(nil)
	inner := w.step(id, "s")
	for range 2 {
		w.clock.advance(2400 * time.Millisecond)
		w.moveFlows()
		w.heldIs("in time", "main/flow/f/t/inner", 1)
	}
	w.clock.advance(200 * time.Millisecond)
	w.work(nil)
	w.result(inner.ID, sluice.OutcomeFailure, "ExecutionTimeout")
	w.heldIs("after its time", "main/flow/f/t/inner", 0)
	w.result(id, sluice.OutcomeSuccess, "then")

	// A whole flow, of which a step runs.
	body, err := json.Marshal(obj{"path": "f/t/whole", "value": obj{"modules": []obj{raw("a")}}, "timeout": 5})
	w.must(err)
	_, err = w.SaveFlow(w.ctx(), "main", engine.NewFlow{Body: body, EditedBy: "admin"})
	w.must(err)
	id = w.runFlow("f/t/whole")
	got := w.take("w1", 1)
	w.confirm("w1", got...)
	w.clock.advance(5 * time.Second)
	w.moveFlows()
	if j := w.job(id); j.State != sluice.StateRunning {
		t.Fatalf("it is %s while its step runs", j.State)
	}
	if at, err := w.MoveFlows(w.ctx()); err != nil || at >= 0 {
		t.Fatalf("while it waits for its step something is due: %v, %v", at, err)
	}
	if orders := w.beat("w1", 0, got...); len(orders) != 1 {
		t.Fatalf("orders %+v", orders)
	}
	w.ends("w1", got[0], false, failure)
	w.result(id, sluice.OutcomeFailure, "ExecutionTimeout")
}
