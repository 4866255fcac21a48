package engine_test

import (
	"testing"
	"time"

	"sluice"
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
