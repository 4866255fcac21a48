package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/expr"
)

// TestMain lets the test's own program be the process that evaluates JavaScript.
func TestMain(m *testing.M) {
	expr.Main()
	os.Exit(m.Run())
}

// pool has real processes evaluate JavaScript.
type pool struct{ *expr.Pool }

func (p pool) Eval(ctx context.Context, shared map[string]json.RawMessage, list []engine.Expression) ([]engine.ExprValue, error) {
	asks := make([]expr.Request, len(list))
	for i, x := range list {
		asks[i] = expr.Request{Expr: x.Text, Own: x.Own}
	}
	replies, err := p.Pool.Eval(ctx, shared, asks)
	out := make([]engine.ExprValue, len(replies))
	for i, r := range replies {
		out[i] = engine.ExprValue{Value: r.Value, Error: r.Error}
	}
	return out, err
}

func js(expr string) obj    { return obj{"type": "javascript", "expr": expr} }
func static(v any) obj      { return obj{"type": "static", "value": v} }
func stops(expr string) obj { return obj{"expr": expr, "skip_if_stopped": false} }

// Flows through engine, store and real JavaScript; a step gives its arguments.
func TestFlow_WithJavaScript(t *testing.T) {
	p := expr.New(expr.Options{})
	t.Cleanup(p.Close)
	w := newWorldWith(t, engine.Options{Evaluator: pool{p}})
	over := func(iterator obj, parallel bool, body ...obj) obj {
		return obj{"type": "forloopflow", "iterator": iterator, "skip_failures": false, "parallel": parallel, "modules": body}
	}
	step := func(id string, value obj, more ...any) obj { return with(obj{"id": id, "value": value}, more...) }
	for i, c := range []struct {
		name     string
		modules  []obj
		settings []any
		want     string // outcome and result
	}{
		{"an input", []obj{inputs(raw("a"), "x", "=flow_input.n * 2 + 1")}, nil, `success {"x":7}`},
		{"a result and statements", []obj{inputs(raw("a"), "n", "=flow_input.n"), inputs(raw("b"), "x", "=const a = results.a; return [a.n, previous_result.n].map(v => v + 1)")}, nil, `success {"x":[4,4]}`},
		{"a loop over what JavaScript makes", []obj{step("l", over(js("Array.from({length: flow_input.n}, (_, i) => i * i)"), true, inputs(raw("a"), "x", "=flow_input.iter.value + flow_input.iter.index")))}, nil, `success [{"x":0},{"x":2},{"x":6}]`},
		{"a body of two steps", []obj{step("l", over(static([]int{5, 6}), false, inputs(raw("a"), "x", "=flow_input.iter.value * 10"), inputs(raw("b"), "y", "=results.a.x + flow_input.n")))}, nil, `success [{"y":53},{"y":63}]`},
		{"a branch", []obj{step("c", obj{"type": "branchone", "branches": []obj{{"expr": "flow_input.n > 5", "modules": []obj{raw("no")}}, {"expr": "flow_input.n > 2", "modules": []obj{inputs(raw("yes"), "x", 1)}}}, "default": []obj{raw("other")}})}, nil, `success {"x":1}`},
		{"a while loop", []obj{step("w", obj{"type": "whileloopflow", "skip_failures": false, "modules": []obj{inputs(raw("a"), "i", "=flow_input.iter.index")}}, "stop_after_if", stops("result.i >= 2"))}, nil, `success [{"i":0},{"i":1},{"i":2}]`},
		{"an early stop", []obj{with(inputs(raw("a"), "n", "=flow_input.n"), "stop_after_if", stops("result.n === 3")), raw("b")}, nil, `success {"n":3}`},
		{"no early stop", []obj{with(inputs(raw("a"), "n", "=flow_input.n"), "stop_after_if", stops("result.n === 4")), inputs(raw("b"), "x", 2)}, nil, `success {"x":2}`},
		{"a step that is skipped", []obj{with(raw("a"), "skip_if", obj{"expr": "flow_input.n % 2 === 1"}), inputs(raw("b"), "x", "=typeof results.a")}, nil, `success {"x":"object"}`},
		{"an error names step and expression", []obj{inputs(raw("a"), "x", "=nothing.at.all()")}, nil, `failure {"error":{"message":"step a: input_transforms.x: ReferenceError`},
		{"an expression without end", []obj{inputs(raw("a"), "x", "=(() => { for (;;) {} })()")}, nil, `failure {"error":{"message":"step a: input_transforms.x: `},
		{"the failure module", []obj{raw("bad")}, []any{"failure_module", with(inputs(raw("failure"), "m", "=error.message + '!' + error.step_id"), "id", "failure")}, `failure {"m":"no!bad"}`},
		{"results by name that is made up", []obj{inputs(raw("a"), "x", 1), inputs(raw("b"), "y", "=results['a'.toLowerCase()].x")}, nil, `success {"y":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := fmt.Sprint("f/js/flow", i)
			w.flow(path, c.modules, c.settings...)
			id := w.runFlow(path, args(`{"n": 3}`))
			w.work(func(a sluice.Assignment) (bool, string) {
				if a.FlowStep == "bad" {
					return false, failure
				}
				return true, string(a.Args)
			})
			w.clock.advance(time.Second)
			j := w.job(id)
			if got := string(j.Outcome) + " " + string(j.Result); !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
