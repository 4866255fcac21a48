package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// obj is a JSON object in the making.
type obj = map[string]any

// raw is an inline step; settings are pairs of field and value of its code.
func raw(id string, settings ...any) obj {
	value := obj{"type": "rawscript", "language": "bash", "content": "echo " + id, "input_transforms": obj{}}
	for i := 0; i+1 < len(settings); i += 2 {
		value[settings[i].(string)] = settings[i+1]
	}
	return obj{"id": id, "value": value}
}

// calls is a step that calls a saved script or flow.
func calls(id, kind, path string) obj {
	return obj{"id": id, "value": obj{"type": kind, "path": path, "input_transforms": obj{}}}
}

// with sets fields of a step.
func with(step obj, settings ...any) obj {
	for i := 0; i+1 < len(settings); i += 2 {
		step[settings[i].(string)] = settings[i+1]
	}
	return step
}

// inputs has a step take arguments; an argument that begins with = is an
// expression.
func inputs(step obj, pairs ...any) obj {
	to := step["value"].(obj)["input_transforms"].(obj)
	for i := 0; i+1 < len(pairs); i += 2 {
		if s, ok := pairs[i+1].(string); ok && strings.HasPrefix(s, "=") {
			to[pairs[i].(string)] = obj{"type": "javascript", "expr": s[1:]}
		} else {
			to[pairs[i].(string)] = obj{"type": "static", "value": pairs[i+1]}
		}
	}
	return step
}

// loop is a loop over n numbers.
func loop(id string, n int, parallel bool, body ...obj) obj {
	items := make([]int, n)
	for i := range items {
		items[i] = i
	}
	return obj{"id": id, "value": obj{
		"type": "forloopflow", "iterator": obj{"type": "static", "value": items}, "skip_failures": false, "parallel": parallel, "modules": body,
	}}
}

// flow saves a flow; settings are pairs of field and value of its value.
func (w *world) flow(path string, modules []obj, settings ...any) int64 {
	w.t.Helper()
	value := obj{"modules": modules}
	for i := 0; i+1 < len(settings); i += 2 {
		value[settings[i].(string)] = settings[i+1]
	}
	body, err := json.Marshal(obj{"path": path, "summary": "", "value": value})
	w.must(err)
	old := ""
	if f, err := w.Flow(w.ctx(), "main", path); err == nil && !f.Archived {
		old = path
	}
	n, err := w.SaveFlow(w.ctx(), "main", engine.NewFlow{Body: body, EditedBy: "admin", Replaces: old})
	w.must(err)
	return n
}

// runFlow pushes a run of a flow.
func (w *world) runFlow(path string, change ...func(*engine.NewJob)) string {
	w.t.Helper()
	return w.push("", append(change, func(n *engine.NewJob) { n.FlowPath = path })...)
}

// steps lists the jobs of a flow's steps, and of the parts of it.
func (w *world) steps(id string) []*sluice.Job {
	w.t.Helper()
	jobs, err := w.Jobs(w.ctx(), store.JobFilter{ParentJob: id, Steps: true, OldestFirst: true})
	w.must(err)
	return jobs
}

// step returns the newest job of a step.
func (w *world) step(id, step string) *sluice.Job {
	w.t.Helper()
	var found *sluice.Job
	for _, j := range w.steps(id) {
		if j.Step == step {
			found = j
		}
	}
	if found == nil {
		w.t.Fatalf("flow %s has no job of step %s", id, step)
	}
	return found
}

// end reports the end of an execution.
func (w *world) ends(worker string, a sluice.Assignment, success bool, result string) {
	w.t.Helper()
	for _, err := range w.Report(w.ctx(), []sluice.Report{{
		Execution: a.Execution, Worker: worker, Success: success, Launched: true, Result: json.RawMessage(result),
	}}) {
		w.must(err)
	}
}

const failure = `{"error":{"name":"Oops","message":"no"}}`

// work runs jobs until none is left; each returns what do says, or its own
// name.
func (w *world) work(do func(a sluice.Assignment) (bool, string)) int {
	w.t.Helper()
	for n := 0; ; {
		got := w.take("w1", 1000)
		if len(got) == 0 {
			w.moveFlows()
			if got = w.take("w1", 1000); len(got) == 0 {
				return n
			}
		}
		for _, a := range got {
			success, result := true, fmt.Sprintf("%q", a.FlowStep)
			if do != nil {
				success, result = do(a)
			}
			w.ends("w1", a, success, result)
			n++
		}
	}
}

// moveFlows does what the loop of flows does until nothing is due.
func (w *world) moveFlows() {
	w.t.Helper()
	for {
		next, err := w.MoveFlows(w.ctx())
		w.must(err)
		if next != 0 {
			return
		}
	}
}

// result checks how a job ended.
func (w *world) result(id string, outcome sluice.Outcome, contains string) *engine.JobView {
	w.t.Helper()
	j := w.job(id)
	if j.State != sluice.StateCompleted || j.Outcome != outcome || !strings.Contains(string(j.Result), contains) {
		w.t.Fatalf("job %s (%s) is %s, %s: %s; want %s, %s", id, j.Path, j.State, j.Outcome, j.Result, outcome, contains)
	}
	return j
}

func TestFlow_Sequence(t *testing.T) {
	w := newWorld(t)
	w.script("f/x/last")
	w.flow("f/x/flow", []obj{
		inputs(raw("a"), "x", "=flow_input.n"),
		inputs(raw("b"), "y", "=results.a"),
		inputs(calls("c", "script", "f/x/last"), "z", "=results.b"),
	})
	id := w.runFlow("f/x/flow", args(`{"n": 7}`))
	if wait := w.job(id).Wait; wait == nil || wait.Tag != "flow" {
		t.Fatalf("wait of a flow that was pushed: %+v", wait)
	}
	var seen []string
	w.work(func(a sluice.Assignment) (bool, string) {
		if a.ParentJob != id || a.RootJob != id || a.FlowPath != "f/x/flow" {
			t.Errorf("step %s is a child of %s, %s, in %q", a.FlowStep, a.ParentJob, a.RootJob, a.FlowPath)
		}
		seen = append(seen, fmt.Sprintf("%s %s %s %s %s", a.FlowStep, a.Kind, a.Path, a.Content, a.Args))
		return true, `{"of":"` + a.FlowStep + `"}`
	})
	want := []string{
		`a flowscript f/x/flow/a echo a {"x":7}`, `b flowscript f/x/flow/b echo b {"y":{"of":"a"}}`, `c script f/x/last echo ok {"z":{"of":"b"}}`,
	}
	if !slices.Equal(seen, want) {
		t.Errorf("seen\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
	j := w.result(id, sluice.OutcomeSuccess, `{"of":"c"}`)
	if j.Execution == nil || j.Execution.Held() || j.Execution.ConfirmedAt.IsZero() || j.Execution.Worker != "" || j.Tag != "flow" {
		t.Errorf("the execution of the flow: %+v", j.Execution)
	}
}

func TestFlow_ParallelLoop(t *testing.T) {
	w := newWorld(t)
	w.flow("f/x/flow", []obj{loop("l", 20, true, inputs(raw("a"), "i", "=flow_input.iter"))})
	id := w.runFlow("f/x/flow")
	n := w.work(func(a sluice.Assignment) (bool, string) { return true, string(a.Args) })
	j := w.result(id, sluice.OutcomeSuccess, `"value":19`)
	var list []json.RawMessage
	if err := json.Unmarshal(j.Result, &list); err != nil || n != 20 || len(list) != 20 {
		t.Errorf("%d jobs, %d results: %v", n, len(list), err)
	}
}

func TestFlow_Scopes(t *testing.T) {
	w := newWorld(t)
	w.flow("f/x/flow", []obj{raw("before"), loop("l", 3, false, raw("a"), inputs(raw("b"), "i", "=flow_input.iter", "a", "=results.a", "o", "=results.before", "n", "=flow_input.n"))})
	id := w.runFlow("f/x/flow", args(`{"n":1}`))
	var seen []string
	w.work(func(a sluice.Assignment) (bool, string) {
		if a.FlowStep == "b" {
			seen = append(seen, string(a.Args))
		}
		if a.RootJob != id || a.FlowPath != "f/x/flow" {
			t.Errorf("step %s in %s, %q", a.FlowStep, a.RootJob, a.FlowPath)
		}
		return true, fmt.Sprintf("%q", a.FlowStep)
	})
	w.result(id, sluice.OutcomeSuccess, `["b","b","b"]`)
	want := `{"a":"a","i":{"index":2,"value":2},"n":1,"o":"before"}`
	if len(seen) != 3 || seen[2] != want {
		t.Errorf("arguments %v", seen)
	}
	for _, s := range w.steps(id) {
		if s.Step == "l" && (s.FlowScope != "l" || s.Attempt != 0 || s.State != sluice.StateCompleted) {
			t.Errorf("part of the flow: %+v", s)
		}
	}
}

func TestFlow_SubflowFails(t *testing.T) {
	w := newWorld(t)
	w.flow("f/x/inner", []obj{raw("a")})
	w.flow("f/x/outer", []obj{calls("s", "flow", "f/x/inner"), raw("never")})
	id := w.runFlow("f/x/outer")
	if n := w.work(func(sluice.Assignment) (bool, string) { return false, failure }); n != 1 {
		t.Errorf("%d jobs ran", n)
	}
	w.result(id, sluice.OutcomeFailure, "Oops")
	w.result(w.step(id, "s").ID, sluice.OutcomeFailure, "Oops")
}

// evaluator evaluates "1 + x" expressions that tests know of.
type evaluator struct {
	asked []string
	say   func(expr string, over map[string]json.RawMessage) engine.ExprValue
}

func (e *evaluator) Eval(_ context.Context, shared map[string]json.RawMessage, list []engine.Expression) ([]engine.ExprValue, error) {
	var out []engine.ExprValue
	for _, x := range list {
		e.asked = append(e.asked, x.Text)
		over := maps.Clone(shared)
		maps.Copy(over, x.Own)
		out = append(out, e.say(x.Text, over))
	}
	return out, nil
}

func TestFlow_Expressions(t *testing.T) {
	e := &evaluator{say: func(expr string, over map[string]json.RawMessage) engine.ExprValue {
		if strings.Contains(expr, "bad") {
			return engine.ExprValue{Error: "bad is not defined"}
		}
		raw, err := json.Marshal(over)
		if err != nil {
			t.Error(err)
		}
		return engine.ExprValue{Value: raw}
	}}
	w := newWorldWith(t, engine.Options{Evaluator: e})
	w.flow("f/x/flow", []obj{raw("a"), inputs(raw("b"), "x", "=results.a + flow_input.n")})
	w.flow("f/x/bad", []obj{raw("a"), inputs(raw("b"), "y", "=bad + 1")})
	id := w.runFlow("f/x/flow", args(`{"n":1}`))
	a := w.take("w1", 1)
	w.ends("w1", a[0], true, "5")
	if len(e.asked) != 0 {
		t.Error("evaluated within a transaction")
	}
	if got := w.take("w1", 1); len(got) != 0 {
		t.Fatalf("%v began before its arguments were there", got)
	}
	w.restart() // what is due is a row
	w.moveFlows()
	b := w.take("w1", 1)
	if len(b) != 1 || string(b[0].Args) != `{"x":{"flow_input":{"n":1},"results":{"a":5}}}` {
		t.Fatalf("arguments: %+v", b)
	}
	w.ends("w1", b[0], true, "6")
	w.result(id, sluice.OutcomeSuccess, "6")
	bad := w.runFlow("f/x/bad")
	w.work(nil)
	w.result(bad, sluice.OutcomeFailure, "step b: input_transforms.y: bad is not defined")
}

// A step may end in the transaction in which it would start, and its flow with
// it: the slot that this frees goes to the next flow, though nothing else happens.
func TestFlow_EndsAsItStarts(t *testing.T) {
	w := newWorld(t)
	w.flow("f/x/flow", []obj{raw("a", "input_transforms", obj{"x": obj{"type": "static", "value": "$var:f/x/none"}})}, "concurrent_limit", 1)
	var ids []string
	for range 5 {
		ids = append(ids, w.runFlow("f/x/flow"))
	}
	defer w.run()()
	ctx, cancel := context.WithTimeout(w.ctx(), 20*time.Second)
	defer cancel()
	var taking sync.WaitGroup
	taking.Go(func() {
		_, err := w.Take(ctx, sluice.TakeRequest{Worker: "w1", TakeNo: 1, Tags: []string{"bash"}, Places: 1, Wait: 20 * time.Second})
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	for i, id := range ids {
		v, err := w.Await(ctx, "main", id)
		if err != nil {
			t.Fatalf("flow %d of %d: %v", i+1, len(ids), err)
		}
		if v.Outcome != sluice.OutcomeFailure || !strings.Contains(string(v.Result), "Argument x: cannot be resolved") {
			t.Errorf("flow %d: %s %s", i+1, v.Outcome, v.Result)
		}
	}
	cancel()
	taking.Wait()
}

func TestFlow_Cancel(t *testing.T) {
	for _, force := range []bool{false, true} {
		t.Run(fmt.Sprint("force ", force), func(t *testing.T) {
			w := newWorld(t)
			w.flow("f/x/flow", []obj{loop("l", 2, true, raw("a"), loop("m", 700, true, raw("b")))}, "concurrent_limit", 1)
			id := w.runFlow("f/x/flow")
			for _, a := range w.take("w1", 2) {
				w.ends("w1", a, true, "1")
			}
			running := w.take("w1", 3)
			w.confirm("w1", running...)
			if len(running) != 3 {
				t.Fatalf("%d steps run", len(running))
			}
			_, err := w.Cancel(w.ctx(), "main", []string{id}, "eve", "enough", force)
			w.must(err)
			if force {
				w.result(id, sluice.OutcomeCanceled, "eve")
			} else if w.job(id).State != sluice.StateRunning {
				t.Error("the flow ended before its steps")
			}
			w.moveFlows()
			orders := w.beat("w1", w.takes, running...)
			if len(orders) != 3 {
				t.Errorf("orders: %v", orders)
			}
			if g := w.group("main/flow/f/x/flow"); g.Running != map[bool]int64{false: 1, true: 0}[force] {
				t.Errorf("%d slots of the flow are held", g.Running)
			}
			for _, a := range running {
				w.ends("w1", a, false, failure)
			}
			w.moveFlows()
			w.result(id, sluice.OutcomeCanceled, "eve")
			open, err := w.CountJobs(w.ctx(), store.JobFilter{States: []sluice.State{sluice.StateQueued, sluice.StateRunning, sluice.StateScheduled}})
			w.must(err)
			if open != 0 || w.group("main/flow/f/x/flow").Running != 0 {
				t.Errorf("%d jobs are open", open)
			}
		})
	}
}

func TestFlow_Bounds(t *testing.T) {
	w := newWorldWith(t, engine.Options{MaxFlowSteps: 5, MaxFlowDepth: 3})
	w.flow("f/x/long", []obj{loop("l", 6, true, raw("a"))})
	w.flow("f/x/deep", []obj{calls("s", "flow", "f/x/deep")})
	w.flow("f/x/nested", []obj{loop("l", 1, true, raw("a"), loop("m", 5, false, raw("b"), raw("c")))})
	long, deep, nested := w.runFlow("f/x/long"), w.runFlow("f/x/deep"), w.runFlow("f/x/nested")
	w.work(nil)
	w.result(long, sluice.OutcomeFailure, "FlowTooLong")
	w.result(deep, sluice.OutcomeFailure, "FlowTooDeep")
	w.result(nested, sluice.OutcomeFailure, "FlowTooLong")
	open, err := w.CountJobs(w.ctx(), store.JobFilter{States: []sluice.State{sluice.StateQueued, sluice.StateRunning}})
	w.must(err)
	if open != 0 {
		t.Errorf("%d jobs are open", open)
	}
}

func TestFlow_Retry(t *testing.T) {
	w := newWorld(t)
	retry := obj{"constant": obj{"attempts": 2, "seconds": 10}}
	w.flow("f/x/flow", []obj{with(inputs(raw("a", "concurrent_limit", 1, "custom_concurrency_key", "k-$args[x]"), "x", "=flow_input.n"), "retry", retry)})
	id := w.runFlow("f/x/flow", args(`{"n":1}`))
	for attempt := range 3 {
		got := w.take("w1", 1)
		if len(got) != 1 {
			t.Fatalf("attempt %d was not started", attempt)
		}
		w.ends("w1", got[0], attempt == 2, failure)
		if attempt == 2 {
			break
		}
		if s := w.step(id, "a"); s.State != sluice.StateScheduled || s.Key != "k-1" {
			t.Fatalf("the next attempt is %s under %q", s.State, s.Key)
		}
		if g := w.group("k-1"); g.Running != 0 {
			t.Errorf("back-off holds %d slots", g.Running)
		}
		w.clock.advance(10*time.Second - time.Microsecond)
		if early := w.take("w1", 1); len(early) != 0 {
			t.Fatal("an attempt began early")
		}
		w.clock.advance(time.Microsecond)
	}
	w.result(id, sluice.OutcomeSuccess, "Oops")
}

// What happens to a flow while it waits for an expression is kept, and dealt with
// in its order.
func TestFlow_MoreHappensWhileItWaits(t *testing.T) {
	e := &evaluator{say: func(string, map[string]json.RawMessage) engine.ExprValue {
		return engine.ExprValue{Value: json.RawMessage("false")}
	}}
	w := newWorldWith(t, engine.Options{Evaluator: e})
	l := with(loop("l", 3, true, raw("a")), "stop_after_if", obj{"expr": "result + 1 === 9", "skip_if_stopped": false})
	w.flow("f/x/flow", []obj{l, raw("b")})
	id := w.runFlow("f/x/flow")
	for i, a := range w.take("w1", 3) {
		w.ends("w1", a, true, fmt.Sprint(i))
	}
	if got := w.take("w1", 1); len(got) != 0 || len(e.asked) != 0 {
		t.Fatalf("before anything was evaluated: %v", jobsOf(got))
	}
	w.work(nil)
	w.result(id, sluice.OutcomeSuccess, "b")
	if len(e.asked) < 2 {
		t.Errorf("asked %q", e.asked)
	}
}
