package engine_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/engine"
)

// playRestart runs what there is, says which steps ran with which arguments, and
// fails those that are named.
func (w *world) playRestart(gives string, fails ...string) string {
	var ran []string
	w.work(func(a sluice.Assignment) (bool, string) {
		name := a.FlowStep + strings.Trim(string(a.Args), "{}")
		ran = append(ran, name)
		for _, f := range fails {
			if f == name {
				return false, `{"error":{"name":"Oops"}}`
			}
		}
		return true, fmt.Sprintf(`"%s%s"`, gives, strings.NewReplacer(`"`, "", ":", "").Replace(name))
	})
	return strings.Join(ran, " ")
}

// A run that is restarted from an iteration or a branch takes over those before
// it, and so does a restart of that one.
func TestFlow_RestartFromAPart(t *testing.T) {
	w := newWorldWith(t, engine.Options{Evaluator: gridEvaluator(t)})
	body := func(id string) obj { return inputs(raw(id), "n", "=flow_input.iter.index") }
	while := obj{"id": "l", "value": obj{"type": "whileloopflow", "skip_failures": false, "modules": []obj{body("b")}}, "stop_after_if": obj{"expr": "result.last", "skip_if_stopped": false}}
	all := obj{"id": "l", "value": obj{"type": "branchall", "parallel": false, "branches": []obj{
		{"modules": []obj{raw("b0")}}, {"modules": []obj{raw("b1"), raw("c1")}, "skip_failure": true}, {"modules": []obj{raw("b2")}},
	}}}
	skips := loop("l", 4, false, body("b"))
	skips["value"].(obj)["skip_failures"] = true
	last := inputs(raw("z"), "l", "=results.l")
	for _, c := range []struct {
		name         string
		step         obj
		fails        string
		ran          string
		part         int
		again        string // what runs then
		gives        string // the argument of z
		second       int    // the second restart, of the restarted run
		againAgain   string
		givesAtLast  string
		refused, why string
	}{
		{
			"for", loop("l", 4, false, body("b")), `b"n":2`, `a b"n":0 b"n":1 b"n":2`, 2, `b"n":2 b"n":3`, `"l":["1bn0","1bn1","2bn2","2bn3"]`,
			3, `b"n":3`, `"l":["1bn0","1bn1","2bn2","3bn3"]`, "3", "must be below 3",
		},
		{
			"for, parallel", loop("l", 4, true, body("b")), `b"n":2`, `a b"n":0 b"n":1 b"n":2 b"n":3`, 1, `b"n":1 b"n":2 b"n":3`, `"l":["1bn0","2bn1","2bn2","2bn3"]`,
			2, `b"n":2 b"n":3`, `"l":["1bn0","2bn1","3bn2","3bn3"]`, "3", "must be at most 2",
		},
		{
			"for, a body of two", loop("l", 3, false, body("b"), body("c")), `c"n":1`, `a b"n":0 c"n":0 b"n":1 c"n":1`, 1, `b"n":1 c"n":1 b"n":2 c"n":2`, `"l":["1cn0","2cn1","2cn2"]`,
			1, `b"n":1 c"n":1 b"n":2 c"n":2`, `"l":["1cn0","3cn1","3cn2"]`, "2", "must be below 2",
		},
		{
			"for, skip_failures", skips, `b"n":1`, `a b"n":0 b"n":1 b"n":2 b"n":3 z"l":["1bn0",{"error":{"name":"Oops"}},"1bn2","1bn3"]`, 2, `b"n":2 b"n":3`, `"l":["1bn0",{"error":{"name":"Oops"}},"2bn2","2bn3"]`,
			1, `b"n":1 b"n":2 b"n":3`, `"l":["1bn0","3bn1","3bn2","3bn3"]`, "4", "must be below 4",
		},
		{"branchall", all, `b2`, `a b0 b1 c1 b2`, 2, `b2`, `"l":["1b0","1c1","2b2"]`, 1, `b1 c1 b2`, `"l":["1b0","3c1","3b2"]`, "3", "must be below 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			path := "f/r/" + strings.NewReplacer(" ", "", ",", "").Replace(c.name)
			w.flow(path, []obj{raw("a"), c.step, last})
			id := w.runFlow(path)
			check := func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s: ran %s\nwant %s", what, got, want)
				}
			}
			check("at first", w.playRestart("1", c.fails), c.ran)
			restart := func(id string, n int) (string, error) {
				return w.RestartFlow(w.ctx(), "main", id, engine.Restart{Step: "l", Part: n})
			}
			n, err := strconv.Atoi(c.refused)
			w.must(err)
			if _, err := restart(id, n); err == nil || !strings.Contains(err.Error(), c.why) || sluice.CodeOf(err) != sluice.CodeInvalid {
				t.Errorf("from %d: %v", n, err)
			}
			second, err := restart(id, c.part)
			w.must(err)
			check("again", w.playRestart("2"), c.again+" z"+c.gives)
			w.result(second, sluice.OutcomeSuccess, `"2z`)
			third, err := restart(second, c.second)
			w.must(err)
			check("again and again", w.playRestart("3"), c.againAgain+" z"+c.givesAtLast)
			w.result(third, sluice.OutcomeSuccess, `"3z`)
		})
	}
	w.t = t
	w.flow("f/r/while", []obj{while})
	var ran []string
	fails := true
	turn := func(a sluice.Assignment) (bool, string) {
		ran = append(ran, string(a.Args))
		if fails && len(ran) == 3 {
			return false, failure
		}
		return true, fmt.Sprintf(`{"r":%d,"last":%v}`, len(ran), len(ran) == 5)
	}
	loops := w.runFlow("f/r/while")
	w.work(turn)
	w.result(loops, sluice.OutcomeFailure, "Oops")
	fails = false
	loops, err := w.RestartFlow(w.ctx(), "main", loops, engine.Restart{Step: "l", Part: 2})
	w.must(err)
	w.work(turn)
	w.result(loops, sluice.OutcomeSuccess, `[{"r":1,"last":false},{"r":2,"last":false},{"r":4,"last":false},{"r":5,"last":true}]`)
	if got := strings.Join(ran, " "); got != `{"n":0} {"n":1} {"n":2} {"n":2} {"n":3}` {
		t.Errorf("the whileloopflow ran %s", got)
	}
	w.flow("f/r/plain", []obj{raw("a"), raw("b")})
	plain := w.runFlow("f/r/plain")
	w.playRestart("1")
	if _, err := w.RestartFlow(w.ctx(), "main", plain, engine.Restart{Step: "b", Part: 1}); err == nil || !strings.Contains(err.Error(), "is for loops and branchall") {
		t.Errorf("a step that is none: %v", err)
	}
}
