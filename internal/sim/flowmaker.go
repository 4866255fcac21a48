package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// flowMaker draws flows.
type flowMaker struct {
	r  *rand.Rand
	id int
}

type jsonObject = map[string]any

// flow draws the value of a flow; the first calls no other.
func (m *flowMaker) flow(no int) jsonObject {
	v := jsonObject{"modules": m.body(no, 2, nil)}
	if m.r.IntN(2) == 0 {
		v["concurrent_limit"] = 1 + m.r.IntN(2)
	}
	if m.r.IntN(3) == 0 {
		v["failure_module"] = jsonObject{"id": "failure", "value": m.raw("failure", nil)}
	}
	return v
}

// body draws a list of modules; seen are steps whose results they may use.
func (m *flowMaker) body(no, depth int, seen []string) []jsonObject {
	var list []jsonObject
	for range 1 + m.r.IntN(3) {
		module := m.module(no, depth, seen)
		list = append(list, module)
		seen = append(slices.Clip(seen), module["id"].(string))
	}
	return list
}

func (m *flowMaker) module(no, depth int, seen []string) jsonObject {
	m.id++
	id := fmt.Sprint("s", m.id)
	kind := m.r.IntN(10)
	if depth == 0 {
		kind = m.r.IntN(5)
	}
	switch {
	case kind < 4, kind == 4 && no == 0:
		return m.leaf(id, seen)
	case kind == 4:
		return jsonObject{"id": id, "value": jsonObject{
			"type": "flow", "path": fmt.Sprintf("f/x/flow%d", m.r.IntN(no)), "input_transforms": m.inputs(seen),
		}}
	case kind < 7:
		items := make([]int, m.r.IntN(5))
		for i := range items {
			items[i] = i * 10
		}
		loop := jsonObject{
			"type": "forloopflow", "iterator": jsonObject{"type": "static", "value": items}, "skip_failures": m.r.IntN(3) == 0,
			"parallel": m.r.IntN(2) == 0, "modules": m.body(no, depth-1, seen),
		}
		if m.r.IntN(3) == 0 {
			loop["parallelism"] = jsonObject{"type": "static", "value": 2}
		}
		return jsonObject{"id": id, "value": loop}
	case kind == 7:
		return jsonObject{"id": id, "value": jsonObject{"type": "branchone", "branches": []jsonObject{
			{"expr": "flow_input.n", "modules": m.body(no, depth-1, seen)},
		}, "default": m.body(no, depth-1, seen)}}
	case kind == 8:
		return jsonObject{"id": id, "value": jsonObject{"type": "branchall", "parallel": m.r.IntN(2) == 0, "branches": []jsonObject{
			{"modules": m.body(no, depth-1, seen), "skip_failure": true}, {"modules": m.body(no, depth-1, seen)},
		}}}
	}
	return m.leaf(id, seen)
}

// leaf draws a step that runs something.
func (m *flowMaker) leaf(id string, seen []string) jsonObject {
	module := jsonObject{"id": id}
	switch m.r.IntN(8) {
	case 0:
		id = "retry" + id
		module["retry"] = jsonObject{"constant": jsonObject{"attempts": 2, "seconds": m.r.IntN(2)}}
	case 1:
		id = "bad" + id
		module["continue_on_error"] = m.r.IntN(4) > 0
	case 2:
		module["sleep"] = jsonObject{"type": "static", "value": 1}
	case 3:
		module["stop_after_if"] = jsonObject{"expr": "result.never"}
	}
	module["id"] = id
	switch m.r.IntN(3) {
	case 0:
		module["value"] = jsonObject{"type": "script", "path": []string{"f/s/one", "f/s/free"}[m.r.IntN(2)], "input_transforms": m.inputs(seen)}
	default:
		module["value"] = m.raw(id, seen)
	}
	return module
}

func (m *flowMaker) raw(_ string, seen []string) jsonObject {
	v := jsonObject{"type": "rawscript", "language": "bash", "content": "x", "input_transforms": m.inputs(seen)}
	switch m.r.IntN(4) {
	case 0:
		v["concurrent_limit"] = 1 + m.r.IntN(2)
	case 1:
		v["concurrent_limit"], v["custom_concurrency_key"] = 2, "shared"
	}
	return v
}

// inputs draws arguments: of the flow, of steps before, some by JavaScript.
func (m *flowMaker) inputs(seen []string) jsonObject {
	in := jsonObject{"n": jsonObject{"type": "javascript", "expr": "flow_input.n"}}
	for i, id := range seen {
		expr := "results." + id
		switch m.r.IntN(6) {
		case 0:
			expr += " || 0" // more than a path
		case 1, 2:
			continue
		}
		in[fmt.Sprint("r", i)] = jsonObject{"type": "javascript", "expr": expr}
	}
	if m.r.IntN(4) == 0 {
		in["i"] = jsonObject{"type": "javascript", "expr": "flow_input.iter ? flow_input.iter.value : null"}
	}
	return in
}
