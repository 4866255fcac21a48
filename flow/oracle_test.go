package flow

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// outcome is what a step does in these tests: it depends on its id, its
// arguments and the attempt alone, so that the order of ends cannot matter.
func outcome(id string, args json.RawMessage, attempt int) (json.RawMessage, bool) {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %s %d", id, canonical(args), attempt)
	n := h.Sum32() >> 7
	if n%6 == 0 {
		return json.RawMessage(fmt.Sprintf(`{"error":{"name":"E","message":"%s%d"}}`, id, n%1000)), false
	}
	return json.RawMessage(fmt.Sprintf(`{"n":%d,"stop":%t}`, n%1000, n%3 == 0)), true
}

func canonical(raw json.RawMessage) string {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "broken: " + string(raw)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// sight is what the steps of a scope see.
type sight struct {
	outer   *sight
	input   map[string]any
	results map[string]json.RawMessage
	prev    json.RawMessage // nil: nothing was before, which is the input as this scope sees it
}

func (s *sight) previous() json.RawMessage {
	if s.prev == nil {
		return rawly(s.input)
	}
	return s.prev
}

func (s *sight) inner(iter map[string]any) *sight {
	in := &sight{outer: s, input: s.input, results: map[string]json.RawMessage{}, prev: s.prev}
	if iter != nil {
		in.input = map[string]any{"iter": iter}
		for k, v := range s.input {
			if k != "iter" {
				in.input[k] = v
			}
		}
	}
	return in
}

// look evaluates what the random flows are made of, and nothing else.
func (s *sight) look(expr string, result json.RawMessage) any {
	var v any
	names := strings.Split(expr, ".")
	switch names[0] {
	case "previous_result":
		v = plainly(s.previous())
	case "result":
		v = plainly(result)
	case "flow_input":
		v = s.input
	case "results":
		for at := s; at != nil; at = at.outer {
			if r, ok := at.results[names[1]]; ok {
				v = plainly(r)
				break
			}
		}
		names = names[1:]
	}
	for _, n := range names[1:] {
		o, _ := v.(map[string]any) // what is no object has no names
		v = o[n]
	}
	return v
}

func plainly(raw json.RawMessage) (v any) {
	if json.Unmarshal(raw, &v) != nil {
		return "broken"
	}
	return v
}

func rawly(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func truthy(v any) bool { return v != nil && v != false && v != 0.0 && v != "" }

// ending is how a scope or a step ends.
type ending struct {
	value       json.RawMessage
	ok, stopped bool
}

// interpret runs the modules of a scope to their end, one after the other. It
// knows nothing of states and events.
func interpret(mods []*Module, s *sight) ending {
	last := s.previous()
	for _, m := range mods {
		if m.SkipIf != "" && truthy(s.look(m.SkipIf, nil)) {
			last = s.previous()
			s.results[m.ID], s.prev = last, last
			continue
		}
		e := perform(m, s)
		if !e.ok && !m.ContinueOnError {
			return e
		}
		s.results[m.ID], s.prev, last = e.value, e.value, e.value
		stop := m.StopIf
		if m.Loop() || m.Kind == KindBranchAll {
			stop = m.StopAfterAll
		}
		if e.ok && (e.stopped || stop != nil && truthy(s.look(stop.Expr, e.value))) {
			return ending{value: e.value, ok: true, stopped: true}
		}
	}
	return ending{value: last, ok: true}
}

func perform(m *Module, s *sight) ending {
	switch m.Kind {
	case KindIdentity:
		return ending{value: s.previous(), ok: true}
	case KindFor, KindWhile:
		return loopOver(m, s)
	case KindBranchOne:
		for _, b := range m.Branches {
			if truthy(s.look(b.Expr, nil)) {
				return interpret(b.Modules, s.inner(nil))
			}
		}
		return interpret(m.Default, s.inner(nil))
	case KindBranchAll:
		all := ending{ok: true}
		values := []json.RawMessage{}
		for _, b := range m.Branches {
			e := interpret(b.Modules, s.inner(nil))
			if !e.ok && !b.SkipFailure {
				return e
			}
			values = append(values, e.value)
			all.stopped = all.stopped || e.stopped
		}
		all.value = rawly(values)
		return all
	case KindRaw, KindScript, KindFlow:
	}
	args := map[string]any{}
	for _, in := range m.Inputs {
		args[in.Name] = s.look(in.Expr, nil)
	}
	attempts := 0
	if m.Retry != nil {
		attempts = m.Retry.Constant + m.Retry.Exponential
	}
	for n := 0; ; n++ {
		value, ok := outcome(m.ID, rawly(args), n)
		if ok || n == attempts {
			return ending{value: value, ok: ok}
		}
	}
}

func loopOver(m *Module, s *sight) ending {
	var items []any
	if m.Kind == KindFor {
		items, _ = s.look(m.Iterator.Expr, nil).([]any) // the random flows name a list
	}
	values := []json.RawMessage{}
	for n := 0; m.Kind == KindWhile || n < len(items); n++ {
		var item any = float64(n)
		if m.Kind == KindFor {
			item = items[n]
		}
		e := interpret(m.Body, s.inner(map[string]any{"index": float64(n), "value": item}))
		if !e.ok && !m.SkipFailed {
			return e
		}
		values = append(values, e.value)
		if m.Parallel {
			continue // all of them run
		}
		if e.stopped || m.StopIf != nil && truthy(s.look(m.StopIf.Expr, e.value)) {
			break
		}
	}
	return ending{value: rawly(values), ok: true}
}

// trees makes random flows out of the kinds and options.
type trees struct {
	t      *rapid.T
	id     int
	goesOn int // > 0: within a loop of a few at once, where a stop leaves out what has not begun yet
}

func (g *trees) one(of ...string) string { return rapid.SampledFrom(of).Draw(g.t, "choice") }

func (g *trees) modules(depth int, seen []string, looped bool) string {
	var list []string
	for range rapid.IntRange(1, 3).Draw(g.t, "modules") {
		m, id := g.module(depth, seen, looped)
		list, seen = append(list, m), append(seen[:len(seen):len(seen)], id)
	}
	return "[" + strings.Join(list, ",") + "]"
}

func (g *trees) expr(seen []string, looped bool) string {
	of := []string{"flow_input.q", "previous_result"}
	if looped {
		of = append(of, "flow_input.iter.index", "flow_input.iter.value")
	}
	for _, id := range seen {
		of = append(of, "results."+id)
	}
	return g.one(of...)
}

func (g *trees) module(depth int, seen []string, looped bool) (text, id string) {
	g.id++
	id = fmt.Sprintf("s%d", g.id)
	more := g.one("", "", `,"skip_if":{"expr":"flow_input.no"}`, `,"skip_if":{"expr":"flow_input.q"}`)
	kind := "script"
	if depth > 0 {
		kind = g.one("script", "script", "identity", "for", "while", "one", "all")
	}
	if kind != "identity" {
		more += g.one("", `,"continue_on_error":true`)
	}
	body := func(looped bool) string { return g.modules(depth-1, seen, looped) }
	flag := func(name string) string { return `"` + name + `":` + g.one("true", "false") }
	value := `{"type":"identity"}`
	switch kind {
	case "script":
		if g.goesOn == 0 {
			more += g.one("", `,"stop_after_if":{"expr":"result.stop"}`)
		}
		more += g.one("", `,"retry":{"constant":{"attempts":2,"seconds":1}}`)
		return script(id, js("x", g.expr(seen, looped))+","+js("y", g.expr(seen, looped)), more), id
	case "for":
		how, few := flag("skip_failures"), 0
		if g.one("a", "b") == "a" { // which of several failures counts is not promised
			how = `"skip_failures":true,"parallel":true`
			if few = rapid.IntRange(0, 1).Draw(g.t, "few"); few > 0 {
				how += `,"parallelism":2`
			}
		} else {
			more += g.one("", `,"stop_after_if":{"expr":"result.stop"}`)
		}
		g.goesOn += few
		value = `{"type":"forloopflow",` + how + `,"iterator":{"type":"javascript","expr":"` + g.one("flow_input.xs", "flow_input.none") + `"},"modules":` + body(true) + `}`
		g.goesOn -= few
	case "while":
		g.id++
		value = `{"type":"whileloopflow",` + flag("skip_failures") + `,"modules":[` + script(fmt.Sprintf("s%d", g.id), js("i", "flow_input.iter.index"), "") + `]}`
		more += `,"stop_after_if":{"expr":"result.stop"}`
	case "one":
		value = `{"type":"branchone","branches":[{"expr":"` + g.expr(seen, looped) + `","modules":` + body(looped) + `}],"default":` + body(looped) + `}`
	case "all":
		par := g.one("true", "false")
		skip := `"skip_failure":true`
		if par == "false" {
			skip = flag("skip_failure")
		}
		value = `{"type":"branchall","parallel":` + par + `,"branches":[{` + skip + `,"modules":` + body(looped) + `},{` + skip + `,"modules":` + body(looped) + `}]}`
	}
	return container(id, value, more), id
}

// TestRandomFlows lets the jobs of random flows end in random order: each flow
// ends as the interpreter says.
func TestRandomFlows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := `{"modules":` + (&trees{t: rt}).modules(2, nil, false) + `}`
		input := map[string]any{"q": 5.0, "no": false, "xs": []any{"a", 0.0, "c"}, "none": []any{}}
		// All that is no path for Next is a property of a list here, and so undefined.
		w := newWorldWith(t, text, string(rawly(input)), json.RawMessage("null"))
		attempts := map[string]int{}
		args := map[string]json.RawMessage{}
		for len(w.open) > 0 {
			i := rapid.IntRange(0, len(w.open)-1).Draw(rt, "ends")
			o := w.open[i]
			w.open = append(w.open[:i:i], w.open[i+1:]...)
			if args[o.job] = o.child.Args; o.child.RetryOf != "" {
				args[o.job], attempts[o.job] = args[o.child.RetryOf], attempts[o.child.RetryOf]+1
			}
			value, ok := outcome(o.child.Step, args[o.job], attempts[o.job])
			w.done[o.job], w.ok[o.job] = value, ok
			w.apply(o.run, Event{Kind: Ended, Step: o.child.Step, N: o.child.N, Job: o.job, Success: ok})
		}
		root := w.runs["root"]
		if root.end == nil {
			rt.Fatalf("the flow stands still\n%s\n%s", text, w.story.String())
		}
		want := interpret(w.v.Modules, &sight{input: input, results: map[string]json.RawMessage{}})
		if got := canonical(w.done["root"]); root.end.Success != want.ok || got != canonical(want.value) {
			rt.Fatalf("%s\n%s\ngot  %t %s\nwant %t %s", text, w.story.String(), root.end.Success, got, want.ok, canonical(want.value))
		}
	})
}
