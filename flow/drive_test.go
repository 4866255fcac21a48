package flow

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// world runs flows as an engine would, with steps that end when they are told
// to, and no JavaScript.
type world struct {
	t     *testing.T
	v     *Value
	input json.RawMessage
	runs  map[string]*run // by job
	open  []*open         // jobs of steps that run, in the order of their push
	done  map[string]json.RawMessage
	ok    map[string]bool
	jobs  int
	story strings.Builder
	now   time.Time
	js    json.RawMessage // what JavaScript answers to everything; nil: it fails
}

type run struct {
	job, parent, step string
	n                 int
	st                *State
	args              json.RawMessage
	stored            map[string]json.RawMessage
	children          map[string]map[int]string
	end               *End
	wake              time.Time
}

type open struct {
	job   string
	run   *run
	child Child
}

func newWorld(t *testing.T, value, input string) *world {
	t.Helper()
	return newWorldWith(t, value, input, nil)
}

func newWorldWith(t *testing.T, value, input string, js json.RawMessage) *world {
	t.Helper()
	v, err := Parse(json.RawMessage(value))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, v: v, input: json.RawMessage(input), runs: map[string]*run{}, done: map[string]json.RawMessage{}, ok: map[string]bool{},
		now: time.Unix(0, 0).UTC(), js: js,
	}
	w.begin("root", nil, "", -1, "", nil)
	return w
}

func (w *world) begin(job string, parent *run, step string, n int, scope string, args json.RawMessage) {
	r := &run{job: job, step: step, n: n, st: &State{Scope: scope}, args: args, stored: map[string]json.RawMessage{}, children: map[string]map[int]string{}}
	if parent != nil {
		r.parent = parent.job
	}
	w.runs[job] = r
	w.apply(r, Event{Kind: Started})
}

func (w *world) apply(r *run, e Event) {
	w.t.Helper()
	in := Input{Value: w.v, State: r.st, Event: e, Known: map[Ask]json.RawMessage{}, Failed: map[Ask]string{}, Now: w.now}
	for range 20 {
		out, err := Next(in)
		if err != nil {
			w.t.Fatalf("%v: %v\n%s", e, err, w.story.String())
		}
		if len(out.Asks) == 0 {
			w.carryOut(r, out)
			return
		}
		for _, a := range out.Asks {
			if a.Kind == AskExpr && w.js != nil {
				in.Known[a] = w.js
				continue
			}
			if a.Kind == AskExpr {
				in.Failed[a] = "no JavaScript here"
				continue
			}
			in.Known[a] = w.answer(r, a)
		}
	}
	w.t.Fatal("Next asks for ever")
}

func (w *world) answer(r *run, a Ask) json.RawMessage {
	switch a.Kind {
	case AskInput:
		v, err := overlay(w.input, w.iter(r))
		if err != nil {
			w.t.Fatal(err)
		}
		return v
	case AskJob:
		return w.done[a.Name]
	case AskStored:
		return r.stored[a.Name]
	case AskChildren:
		list := make([]json.RawMessage, a.N)
		for n := range list {
			list[n] = w.done[r.children[a.Name][n]]
		}
		b, err := json.Marshal(list)
		if err != nil {
			w.t.Fatal(err)
		}
		return b
	case AskResult, AskExpr: // below; none
	}
	for r = w.runs[r.parent]; r != nil; r = w.runs[r.parent] {
		if s, ok := r.st.Source(w.v, a.Name); ok {
			return w.result(r, s)
		}
	}
	return json.RawMessage("null")
}

func (w *world) iter(r *run) json.RawMessage {
	for ; r != nil; r = w.runs[r.parent] {
		var args struct {
			Iter json.RawMessage `json:"iter"`
		}
		if json.Unmarshal(r.args, &args) == nil && args.Iter != nil {
			return args.Iter
		}
	}
	return nil
}

func (w *world) result(r *run, s Result) json.RawMessage {
	switch {
	case s.Job != "":
		return w.done[s.Job]
	case s.Stored != "":
		return r.stored[s.Stored]
	}
	return s.Value
}

func (w *world) carryOut(r *run, out Output) {
	w.t.Helper()
	r.st, r.wake = out.State, out.WakeAt
	b, err := json.Marshal(r.st)
	if err != nil {
		w.t.Fatal(err)
	}
	again := &State{}
	if err := json.Unmarshal(b, again); err != nil {
		w.t.Fatal(err)
	}
	r.st = again
	for _, s := range out.Store {
		r.stored[s.Name] = s.Value
	}
	var scopes []func()
	for _, c := range out.Push {
		w.jobs++
		job := fmt.Sprintf("%s%d", c.Step, w.jobs)
		if r.children[c.Step] == nil {
			r.children[c.Step] = map[int]string{}
		}
		r.children[c.Step][c.N] = job
		if c.Scope != nil {
			fmt.Fprintf(&w.story, "%s/%d: ", *c.Scope, c.N)
			scopes = append(scopes, func() { w.begin(job, r, c.Step, c.N, *c.Scope, c.Args) })
			continue
		}
		fmt.Fprintf(&w.story, "%s%s", c.Step, c.Args)
		if c.Delay > 0 {
			fmt.Fprintf(&w.story, "+%s", c.Delay)
		}
		w.story.WriteString(" ")
		w.open = append(w.open, &open{job: job, run: r, child: c})
	}
	for _, f := range scopes {
		f()
	}
	if out.End == nil {
		return
	}
	r.end = out.End
	w.done[r.job], w.ok[r.job] = w.result(r, out.End.Result), out.End.Success
	if p := w.runs[r.parent]; p != nil {
		w.apply(p, Event{Kind: Ended, Step: r.step, N: r.n, Job: r.job, Success: out.End.Success, Stopped: out.End.Stopped, Skipped: out.End.Skipped})
	}
}

// finish ends the oldest running job of a step.
func (w *world) finish(step, result string, ok bool) {
	w.t.Helper()
	for i, o := range w.open {
		if o.child.Step != step {
			continue
		}
		w.open = append(w.open[:i:i], w.open[i+1:]...)
		w.done[o.job], w.ok[o.job] = json.RawMessage(result), ok
		w.apply(o.run, Event{Kind: Ended, Step: step, N: o.child.N, Job: o.job, Success: ok})
		return
	}
	w.t.Fatalf("step %s does not run\n%s", step, w.story.String())
}

// play ends jobs as said: "a=1" well, "a!1" not.
func (w *world) play(ends string) string {
	w.t.Helper()
	for _, e := range strings.Fields(ends) {
		if step, result, ok := strings.Cut(e, "="); ok {
			w.finish(step, result, true)
		} else if step, result, ok := strings.Cut(e, "!"); ok {
			w.finish(step, `{"error":{"name":"E","message":"`+result+`"}}`, false)
		}
	}
	story := w.story.String()
	if r := w.runs["root"]; r.end != nil {
		how := "fails"
		if r.end.Success {
			how = "ends"
		}
		story += "| " + how + " " + string(w.done["root"])
	}
	return strings.TrimSpace(story)
}

func script(id, inputs, more string) string {
	return `{"id":"` + id + `","value":{"type":"script","path":"f/x/` + id + `","input_transforms":{` + inputs + `}}` + more + `}`
}

func js(name, expr string) string {
	b, _ := json.Marshal(expr) //nolint:errchkjson // a string
	return `"` + name + `":{"type":"javascript","expr":` + string(b) + `}`
}

func flowOf(modules ...string) string { return `{"modules":[` + strings.Join(modules, ",") + `]}` }

func container(id, value, more string) string {
	return `{"id":"` + id + `","value":` + value + more + `}`
}

func TestNext(t *testing.T) {
	loop := func(opts string, body ...string) string {
		return `{"type":"forloopflow","iterator":{"type":"javascript","expr":"flow_input.xs"},"skip_failures":false,` + opts + `"modules":[` + strings.Join(body, ",") + `]}`
	}
	x := js("x", "flow_input.iter.value")
	for _, c := range []struct{ name, value, input, ends, want string }{
		{"nothing", flowOf(), `{"q":1}`, "", `| ends {"q":1}`},
		{"two steps", flowOf(script("a", js("x", "flow_input.q"), ""), script("b", js("y", "results.a.v")+","+js("z", "previous_result"), "")), `{"q":7}`, `a={"v":2} b=3`, `a{"x":7} b{"y":2,"z":{"v":2}} | ends 3`},
		{"a step fails", flowOf(script("a", "", ""), script("b", "", "")), `{}`, `a!no`, `a{} | fails {"error":{"name":"E","message":"no"}}`},
		{"it goes on", flowOf(script("a", "", `,"continue_on_error":true`), script("b", js("e", "results.a.error.message"), "")), `{}`, `a!no b=1`, `a{} b{"e":"no"} | ends 1`},
		{"it is tried again", flowOf(script("a", "", `,"retry":{"constant":{"attempts":1,"seconds":5},"exponential":{"attempts":1,"multiplier":2,"seconds":3}}`)), `{}`, `a!1 a!2 a=3`, `a{} a+5s a+6s | ends 3`},
		{"sleep is after the step", flowOf(script("a", "", `,"sleep":{"type":"static","value":3}`), script("b", "", "")), `{}`, `a=1 b=2`, `a{} b{}+3s | ends 2`},
		{"early stop", flowOf(script("a", "", `,"stop_after_if":{"expr":"result.done"}`), script("b", "", "")), `{}`, `a={"done":true}`, `a{} | ends {"done":true}`},
		{"no early stop", flowOf(script("a", "", `,"stop_after_if":{"expr":"result.done"}`), script("b", "", "")), `{}`, `a={} b=1`, `a{} b{} | ends 1`},
		{"stopped with a message", flowOf(script("a", "", `,"stop_after_if":{"expr":"true","error_message":"enough"}`)), `{}`, `a=1`, `a{} | fails {"error":{"message":"enough","name":"EarlyStop"}}`},
		{"skipped", flowOf(script("a", "", ""), script("b", "", `,"skip_if":{"expr":"results.a"}`), script("c", js("x", "results.b"), "")), `{}`, `a=5 c=1`, `a{} c{"x":5} | ends 1`},
		{"mock", flowOf(script("a", "", `,"mock":{"enabled":true,"return_value":{"k":1}}`), script("b", js("x", "results.a.k"), "")), `{}`, `b=1`, `b{"x":1} | ends 1`},
		{"identity", flowOf(script("a", "", ""), container("i", `{"type":"identity"}`, "")), `{}`, `a=4`, `a{} | ends 4`},
		{"a loop", flowOf(container("l", loop("", script("s", x, "")), ""), script("b", js("all", "results.l"), "")), `{"xs":[7,8]}`, `s=1 s=2 b=3`, `s{"x":7} s{"x":8} b{"all":[1,2]} | ends 3`},
		{"a loop over nothing", flowOf(container("l", loop("", script("s", x, "")), "")), `{"xs":[]}`, ``, `| ends []`},
		{"a parallel loop", flowOf(container("l", loop(`"parallel":true,`, script("s", x, "")), "")), `{"xs":[1,2,3]}`, `s=1 s=2 s=3`, `s{"x":1} s{"x":2} s{"x":3} | ends [1,2,3]`},
		{"two at once", flowOf(container("l", loop(`"parallel":true,"parallelism":2,`, script("s", x, "")), "")), `{"xs":[1,2,3]}`, `s=1 s=2 s=3`, `s{"x":1} s{"x":2} s{"x":3} | ends [1,2,3]`},
		{"a body of two steps", flowOf(container("l", loop("", script("s", x, ""), script("t", js("y", "results.s")+","+x, "")), "")), `{"xs":[7,8]}`, `s=1 t=2 s=3 t=4`, `l/0: s{"x":7} t{"x":7,"y":1} l/1: s{"x":8} t{"x":8,"y":3} | ends [2,4]`},
		{"an iteration fails", flowOf(container("l", loop("", script("s", x, "")), "")), `{"xs":[7,8]}`, `s!no`, `s{"x":7} | fails {"error":{"name":"E","message":"no"}}`},
		{"a failed iteration is skipped", flowOf(container("l", strings.Replace(loop("", script("s", x, "")), `"skip_failures":false`, `"skip_failures":true`, 1), "")), `{"xs":[7,8]}`, `s!no s=2`, `s{"x":7} s{"x":8} | ends [{"error":{"name":"E","message":"no"}},2]`},
		{"a parallel loop fails when all have ended", flowOf(container("l", loop(`"parallel":true,`, script("s", x, "")), "")), `{"xs":[1,2]}`, `s!no s=2`, `s{"x":1} s{"x":2} | fails {"error":{"name":"E","message":"no"}}`},
		{"a loop is left", flowOf(container("l", loop("", script("s", x, "")), `,"stop_after_if":{"expr":"result.stop"}`)), `{"xs":[1,2,3]}`, `s={} s={"stop":1}`, `s{"x":1} s{"x":2} | ends [{},{"stop":1}]`},
		{"a while loop is left by a step of its", flowOf(container("w", `{"type":"whileloopflow","skip_failures":false,"modules":[`+script("s", js("n", "flow_input.iter.index"), `,"stop_after_if":{"expr":"result"}`)+`]}`, ""), script("b", "", "")), `{}`, `s=false s=true b=1`, `w/0: s{"n":0} w/1: s{"n":1} b{} | ends 1`},
		{"a branch", flowOf(script("a", "", ""), container("c", `{"type":"branchone","branches":[{"expr":"results.a.x","modules":[`+script("s", js("p", "previous_result"), "")+`]}],"default":[`+script("d", "", "")+`]}`, "")), `{}`, `a={"x":1} s=2`, `a{} s{"p":{"x":1}} | ends 2`},
		{"the default branch", flowOf(container("c", `{"type":"branchone","branches":[{"expr":"false","modules":[]}],"default":[`+script("d", "", "")+`,`+script("e", "", "")+`]}`, "")), `{}`, `d=2 e=3`, `c/default/-1: d{} e{} | ends 3`},
		{"all branches", flowOf(script("a", "", ""), container("c", `{"type":"branchall","branches":[{"modules":[`+script("s", js("p", "previous_result"), "")+`]},{"modules":[]},{"skip_failure":true,"modules":[`+script("u", "", "")+`]}]}`, "")), `{}`, `a=9 u!no s=1`, `a{} c/0/0: c/1/1: c/2/2: s{"p":9} u{} | ends [1,9,{"error":{"name":"E","message":"no"}}]`},
		{"a branch that stopped counts, whichever ends last", flowOf(container("c", `{"type":"branchall","branches":[{"modules":[`+script("s", "", `,"stop_after_if":{"expr":"result"}`)+`]},{"modules":[`+script("u", "", "")+`]}]}`, ""), script("b", "", "")), `{}`, `s=true u=1`, `c/0/0: c/1/1: s{} u{} | ends [true,1]`},
		{"the first step of an iteration sees its input", flowOf(container("l", loop("", script("s", js("p", "previous_result.iter.value"), "")), "")), `{"xs":[7]}`, `s=1`, `s{"p":7} | ends [1]`},
		{"the failure module", `{"modules":[` + script("a", "", "") + `],"failure_module":` + script("failure", js("m", "error.message")+","+js("s", "error.step_id"), "") + `}`, `{}`, `a!no failure="told"`, `a{} failure{"m":"no","s":"a"} | fails "told"`},
		{"an expression fails", flowOf(script("a", js("x", "flow_input.p.q"), "")), `{}`, ``, `| fails {"error":{"message":"step a: input_transforms.x: TypeError: Cannot read properties of undefined (reading 'q')","name":"ExpressionError"}}`},
		{"a template string", flowOf(script("a", js("x", "`${flow_input.a} of ${flow_input.b}`"), "")), `{"a":3,"b":"four"}`, `a=1`, `a{"x":"3 of four"} | ends 1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := newWorld(t, c.value, c.input).play(c.ends); got != strings.TrimSpace(c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
