package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"sluice/limit"
)

// flowValue is what the command line shows of a flow's value.
type flowValue struct {
	Modules      []flowModule `json:"modules"`
	Failure      *flowModule  `json:"failure_module"`
	Preprocessor *flowModule  `json:"preprocessor_module"`
	limitFields
}

// flowModule is what it shows of a module.
type flowModule struct {
	ID      string `json:"id"`
	Summary string `json:"summary"`
	Value   struct {
		Type     string       `json:"type"`
		Path     string       `json:"path"`
		Language string       `json:"language"`
		Modules  []flowModule `json:"modules"`
		Branches []struct {
			Summary string       `json:"summary"`
			Expr    string       `json:"expr"`
			Modules []flowModule `json:"modules"`
		} `json:"branches"`
		Default  []flowModule `json:"default"`
		Parallel bool         `json:"parallel"`
		limitFields
	} `json:"value"`
}

// limitFields are the fields of a limit, wherever they stand. They may hold
// what is no limit: a flow that is shown was checked by the server.
type limitFields struct {
	N         json.RawMessage `json:"concurrent_limit"`
	Window    json.RawMessage `json:"concurrency_time_window_s"`
	Mode      json.RawMessage `json:"concurrency_window_from"`
	Key       *string         `json:"concurrency_key"`
	CustomKey *string         `json:"custom_concurrency_key"`
}

// words says the limit in words; "" if there is none.
func (f limitFields) words() string {
	s, err := limit.Fields{N: f.N, Window: f.Window, Mode: f.Mode}.Validate()
	if err != nil || s.Limit == nil {
		return ""
	}
	return strings.TrimSuffix(s.Limit.String(), ", counted from the end")
}

func (f limitFields) key() string {
	switch {
	case f.CustomKey != nil:
		return *f.CustomKey
	case f.Key != nil:
		return *f.Key
	}
	return ""
}

// step is a line of a tree of steps.
type step struct {
	depth     int
	id, what  string
	state     string // of a run
	took, job string // of a run
	note      string // goes on in the next line
}

// steps lists the modules of a flow, those within others below them.
func (v *flowValue) steps() []step {
	var list []step
	for _, of := range []struct {
		m    *flowModule
		name string
	}{{v.Preprocessor, "preprocessor"}, {nil, ""}, {v.Failure, "failure"}} {
		switch {
		case of.name == "":
			list = addSteps(list, v.Modules, 0)
		case of.m != nil:
			m := *of.m
			if m.ID == "" {
				m.ID = of.name
			}
			list = addSteps(list, []flowModule{m}, 0)
		}
	}
	return list
}

func addSteps(list []step, modules []flowModule, depth int) []step {
	if depth > maxFlowNested {
		return list
	}
	for _, m := range modules {
		one := step{depth: depth, id: m.ID, what: m.what()}
		if words := m.Value.words(); words != "" {
			one.note = words
			if key := m.Value.key(); key != "" {
				one.note += ", key " + key
			}
		}
		list = append(list, one)
		list = addSteps(list, m.Value.Modules, depth+1)
		for i, b := range m.Value.Branches {
			name := b.Summary
			if name == "" {
				name = b.Expr
			}
			list = append(list, step{depth: depth + 1, id: fmt.Sprintf("branch %d", i+1), what: name})
			list = addSteps(list, b.Modules, depth+2)
		}
		if m.Value.Default != nil && m.Value.Type == "branchone" {
			list = append(list, step{depth: depth + 1, id: "default"})
			list = addSteps(list, m.Value.Default, depth+2)
		}
	}
	return list
}

// what says what a module does.
func (m *flowModule) what() string {
	kind := m.Value.Type
	switch kind {
	case "rawscript":
		kind = m.Value.Language
	case "script", "flow":
		kind += " " + m.Value.Path
	case "forloopflow":
		kind = "for each"
	case "whileloopflow":
		kind = "while"
	case "branchone":
		kind = "one branch"
	case "branchall":
		kind = "all branches"
	}
	if m.Value.Parallel {
		kind += ", in parallel"
	}
	if m.Summary != "" {
		return m.Summary + " (" + kind + ")"
	}
	return kind
}

// showSteps prints a tree of steps. Columns that no step fills are left out.
func (a *app) showSteps(list []step) {
	const leastName, leastWhat = 12, 10
	t := table{columns: []column{{head: "STEP", least: leastName}, {head: "WHAT", least: leastWhat}}}
	ran := false
	for _, s := range list {
		ran = ran || s.state != "" || s.job != ""
	}
	if ran {
		t.columns = append(t.columns, column{head: "STATE"}, column{head: "TOOK", right: true}, column{head: "JOB"})
	} else {
		t.columns = append(t.columns, column{head: "LIMIT", least: leastWhat})
	}
	for _, s := range list {
		name := strings.Repeat("  ", s.depth) + s.id
		if ran {
			t.add(name, s.what, s.state, s.took, s.job)
		} else {
			t.add(name, s.what, s.note)
		}
	}
	t.write(a.out, a.width)
	if !ran {
		return
	}
	for _, s := range list {
		if s.note != "" {
			writeWrapped(a.out, a.width, s.id+" "+s.note)
		}
	}
}
