package engine

import (
	"encoding/json"
	"regexp"

	"sluice/flow"
)

// question is an expression that must be evaluated, with its variables.
type question struct {
	ask  flow.Ask
	over map[string]json.RawMessage
}

// words are the names that may stand in an expression.
var words = regexp.MustCompile(`[A-Za-z_]+`)

// question finds the variables of an expression, of which it reads only those
// whose names stand in it.
func (a *answers) question(ask flow.Ask, vars *flow.Vars) (question, error) {
	q := question{ask: ask, over: map[string]json.RawMessage{}}
	approvals := func(name string) func() (json.RawMessage, error) {
		return func() (json.RawMessage, error) { return flow.Approvals(vars.Resumes)[name], nil }
	}
	variables := map[string]func() (json.RawMessage, error){
		"flow_input":      func() (json.RawMessage, error) { return a.inputFor(ask, vars) },
		"results":         func() (json.RawMessage, error) { return a.results(ask.Name) },
		"previous_result": func() (json.RawMessage, error) { return a.previous(ask, vars) },
		"result":          func() (json.RawMessage, error) { return a.own(ask, vars) },
		"error":           func() (json.RawMessage, error) { return a.failure(ask, vars) },
		"iter":            func() (json.RawMessage, error) { return vars.Iter[ask.N], nil },
		"resume":          approvals("resume"),
		"resumes":         approvals("resumes"),
		"approvers":       approvals("approvers"),
		"flow_env":        func() (json.RawMessage, error) { return a.env(), nil },
	}
	for _, name := range words.FindAllString(ask.Name, -1) {
		find := variables[name]
		if find == nil || q.over[name] != nil {
			continue
		}
		v, err := find()
		if err != nil {
			return q, err
		}
		if len(v) == 0 {
			v = null
		}
		q.over[name] = v
	}
	return q, nil
}

func (a *answers) env() json.RawMessage {
	if a.v.Env == nil {
		return json.RawMessage("{}")
	}
	return a.v.Env
}

func (a *answers) inputFor(ask flow.Ask, vars *flow.Vars) (json.RawMessage, error) {
	input, err := a.flowInput()
	if iter := vars.Iter[ask.N]; err == nil && iter != nil {
		return withField(input, "iter", iter)
	}
	return input, err
}

func (a *answers) previous(ask flow.Ask, vars *flow.Vars) (json.RawMessage, error) {
	switch {
	case vars.Error != nil:
		return a.value(flow.Result{Job: vars.Error.Job, Value: vars.Error.Value})
	case ask.Prev == "":
		return a.flowInput()
	}
	return a.result(ask.Prev)
}

// own returns the result that an expression of a step sees as its own.
func (a *answers) own(ask flow.Ask, vars *flow.Vars) (json.RawMessage, error) {
	switch {
	case vars.Result != nil:
		return vars.Result, nil
	case ask.Job == "":
		return nil, nil
	}
	return a.value(flow.Result{Job: ask.Job})
}

// failure returns what an expression sees as error: for the failure module that
// of the step that failed, else that of the step's own result.
func (a *answers) failure(ask flow.Ask, vars *flow.Vars) (json.RawMessage, error) {
	if c := vars.Error; c != nil {
		result, err := a.value(flow.Result{Job: c.Job, Value: c.Value})
		return flow.ErrorOf(result, c.Step), err
	}
	result, err := a.own(ask, vars)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(result, &fields) != nil {
		return nil, nil //nolint:nilerr // it is no object, and so no error
	}
	return fields["error"], nil
}

var (
	resultDot   = regexp.MustCompile(`\bresults\s*(?:\?\s*)?\.\s*([A-Za-z_$][A-Za-z0-9_$]*)`)
	resultIndex = regexp.MustCompile(`\bresults\s*(?:\?\s*\.\s*)?\[\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*\]`)
	resultWord  = regexp.MustCompile(`\bresults\b`)
)

// results returns the results that an expression names, as an object; all that
// it can see, if it does not say which.
func (a *answers) results(expr string) (json.RawMessage, error) {
	ids := map[string]bool{}
	named := 0
	for _, m := range resultDot.FindAllStringSubmatch(expr, -1) {
		ids[m[1]] = true
		named++
	}
	for _, m := range resultIndex.FindAllStringSubmatch(expr, -1) {
		ids[m[1]+m[2]] = true
		named++
	}
	if named < len(resultWord.FindAllString(expr, -1)) {
		if err := a.visible(ids); err != nil {
			return nil, err
		}
	}
	out := map[string]json.RawMessage{}
	for id := range ids {
		if a.v.Module(id) == nil {
			continue // undefined, as in JavaScript
		}
		v, err := a.result(id)
		if err != nil {
			return nil, err
		}
		out[id] = v
	}
	return json.Marshal(out)
}

// visible adds the ids of the steps that can be seen from a part of a flow.
func (a *answers) visible(ids map[string]bool) error {
	for j := a.j; ; {
		modules, _ := a.v.Scope(j.FlowScope)
		for _, m := range modules {
			ids[m.ID] = true
		}
		if j.FlowScope == "" {
			return nil
		}
		outer, err := a.r.Job(j.ParentJob)
		if err != nil {
			return err
		}
		j = outer
	}
}
