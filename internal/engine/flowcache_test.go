package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// A step with cache_ttl is served what a step alike has given, for as long as
// that says, and takes no slot then.
func TestFlow_Cache(t *testing.T) {
	w := newWorld(t)
	w.script("f/x/job", "concurrent_limit", 1)
	step := func(x int) []obj {
		return []obj{{"id": "a", "cache_ttl": 10, "value": obj{"type": "script", "path": "f/x/job", "input_transforms": obj{"x": obj{"type": "static", "value": x}}}}}
	}
	w.flow("f/x/one", step(1))
	w.flow("f/x/two", step(2))
	runs := 0
	run := func(path, want string, ran bool) {
		t.Helper()
		before := runs
		id := w.runFlow(path)
		w.work(func(sluice.Assignment) (bool, string) { runs++; return true, want })
		w.result(id, sluice.OutcomeSuccess, want)
		if (runs > before) != ran {
			t.Fatalf("%s: %d steps ran", path, runs-before)
		}
	}
	run("f/x/one", `"first"`, true)
	run("f/x/one", `"first"`, false)
	run("f/x/two", `"second"`, true) // other arguments
	w.clock.advance(10*time.Second - time.Microsecond)
	run("f/x/two", `"second"`, false)
	w.clock.advance(time.Microsecond)
	run("f/x/one", `"third"`, true)
	w.script("f/x/job", "concurrent_limit", 1, "summary", "another version")
	run("f/x/one", `"fourth"`, true)
	if g := w.row("main/script/f/x/job"); g.Taken != 4 || g.Released != 4 || g.Waiting != 0 {
		t.Errorf("%d taken, %d released, %d wait", g.Taken, g.Released, g.Waiting)
	}
}

// A flow with cache_ttl is served what a run of the same version with the same
// arguments has given, for as long as that says: it runs nothing and takes no
// slot then, though there is no room.
func TestFlow_CacheOfTheWhole(t *testing.T) {
	w := newWorld(t)
	steps := []obj{inputs(raw("a"), "x", "=flow_input.x"), raw("b")}
	save := func(summary string) {
		w.flow("f/x/flow", steps, "cache_ttl", 10, "concurrent_limit", 1, "on_concurrency_limit", "fail", "early_return", "a", "summary", summary)
	}
	save("")
	fails := ""
	does := func(a sluice.Assignment) (bool, string) {
		return a.FlowStep != fails, fmt.Sprintf(`"%s of %d"`, a.FlowStep, len(a.Args))
	}
	run := func(id, want string, ran int) string {
		t.Helper()
		if n := w.work(does); n != ran {
			t.Fatalf("%d steps ran, not %d", n, ran)
		}
		w.result(id, sluice.OutcomeSuccess, want)
		return id
	}
	push := func(x int) string { return w.runFlow("f/x/flow", args(`{"x":%d}`, x)) }
	first := run(push(1), `b of 2`, 2)
	later := w.runFlow("f/x/flow", args(`{"x":1}`), in(5*time.Second))
	busy := push(2) // other arguments
	got := w.take("w1", 1)
	served := run(push(1), `b of 2`, 0) // and its slot is held
	if early, err := w.AwaitResult(w.ctx(), "main", served); err != nil || string(early.Result) != `"b of 2"` {
		t.Errorf("who waits for a run that has ended gets %s, %v", early.Result, err)
	}
	w.ends("w1", got[0], true, `"a"`)
	run(busy, `b of 2`, 1)
	w.flow("f/x/outer", []obj{inputs(calls("o", "flow", "f/x/flow"), "x", 1), inputs(calls("p", "flow", "f/x/flow"), "x", 3)})
	run(w.runFlow("f/x/outer"), `b of 2`, 2) // as a step of another, too
	restarted, err := w.RestartFlow(w.ctx(), "main", first, engine.Restart{Step: "b"})
	w.must(err)
	run(restarted, `b of 2`, 1)
	w.clock.advance(5 * time.Second)
	run(later, `b of 2`, 0) // judged when it is due
	w.clock.advance(5 * time.Second)
	fails = "b"
	failing := push(1) // too old
	w.work(does)
	w.result(failing, sluice.OutcomeFailure, `b of 2`)
	fails = ""
	run(push(1), `b of 2`, 2) // what failed is not kept
	save("another version")
	run(push(1), `b of 2`, 2)
	if g := w.row("main/flow/f/x/flow"); g.Taken != 7 || g.Released != 7 || g.Waiting != 0 {
		t.Errorf("%d taken, %d released, %d wait", g.Taken, g.Released, g.Waiting)
	}
}

// A flow whose arguments are made first is served by those that were made; one
// that was stopped early as skipped is not kept.
func TestFlow_CacheOfTheWholeByMadeArguments(t *testing.T) {
	w := newWorldWith(t, engine.Options{Evaluator: gridEvaluator(t)})
	w.flow("f/x/pre", []obj{raw("a")}, "cache_ttl", 10, "preprocessor_module", raw("preprocessor"))
	w.flow("f/x/skip", []obj{with(raw("a"), "stop_after_if", obj{"expr": "flow_input.yes", "skip_if_stopped": true}), raw("b")}, "cache_ttl", 10)
	for _, c := range []struct {
		path string
		made int
		want string
	}{{"f/x/pre", 1, "preprocessor a"}, {"f/x/pre", 1, "preprocessor"}, {"f/x/pre", 2, "preprocessor a"}, {"f/x/skip", 0, "a"}, {"f/x/skip", 0, "a"}} {
		var ran []string
		w.runFlow(c.path, args(`{"yes":true}`), event)
		w.work(func(a sluice.Assignment) (bool, string) {
			ran = append(ran, a.FlowStep)
			return true, fmt.Sprintf(`{"n":%d}`, c.made)
		})
		if got := strings.Join(ran, " "); got != c.want {
			t.Errorf("%s with %d ran %q, not %q", c.path, c.made, got, c.want)
		}
	}
}

// A step with delete_after_use is deleted when the flow has ended, not before.
func TestFlow_DeleteAfterUse(t *testing.T) {
	w := newWorld(t)
	w.script("f/x/job")
	call := obj{"type": "script", "path": "f/x/job", "input_transforms": obj{}}
	w.flow("f/x/flow", []obj{{"id": "a", "delete_after_use": true, "value": call}, {"id": "b", "value": call}})
	id := w.runFlow("f/x/flow")
	a := w.take("w1", 1)
	w.ends("w1", a[0], true, `1`)
	w.clock.advance(time.Second)
	w.clean()
	if n := len(w.steps(id)); n != 2 {
		t.Fatalf("%d steps while the flow runs", n)
	}
	w.work(func(sluice.Assignment) (bool, string) { return true, `2` })
	w.result(id, sluice.OutcomeSuccess, `2`)
	w.clock.advance(time.Second)
	w.clean()
	if left := w.steps(id); len(left) != 1 || left[0].Step != "b" {
		t.Errorf("%d steps are left", len(left))
	}
}
