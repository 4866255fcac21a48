package engine

import (
	"encoding/json"
	"regexp"

	"sluice/flow"
)

// batch is expressions that see the same values, and what each sees alone.
type batch struct {
	shared map[string]json.RawMessage
	asks   []flow.Ask
	own    []Expression
	steps  map[string]bool // whose results they see
}

// words are the names that may stand in an expression.
var words = regexp.MustCompile(`[A-Za-z_]+`)

// batches finds the values that expressions see, of which it reads only those
// whose names stand in them.
func (a *answers) batches(asks []flow.Ask, vars *flow.Vars) ([]*batch, error) {
	var list []*batch
	by := map[string]*batch{}
	for _, ask := range asks {
		b := by[ask.Prev]
		if b == nil {
			b = &batch{shared: map[string]json.RawMessage{}, steps: map[string]bool{}}
			by[ask.Prev] = b
			list = append(list, b)
		}
		b.asks = append(b.asks, ask)
		own, err := a.see(b, ask, vars)
		if err != nil {
			return nil, err
		}
		b.own = append(b.own, own)
	}
	for _, b := range list {
		if b.shared["results"] == nil {
			continue
		}
		var err error
		if b.shared["results"], err = a.resultsOf(b.steps); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// see adds what an expression sees to its batch, and returns what it sees alone.
func (a *answers) see(b *batch, ask flow.Ask, vars *flow.Vars) (Expression, error) {
	own := Expression{Text: ask.Name, Own: map[string]json.RawMessage{}}
	if iter := vars.Iter[ask.N]; iter != nil {
		own.Own["iter"] = iter
	}
	for _, name := range words.FindAllString(ask.Name, -1) {
		if b.shared[name] != nil && name != "results" || own.Own[name] != nil {
			continue
		}
		var v json.RawMessage
		var err error
		to := b.shared
		switch name {
		case "flow_input":
			v, err = a.flowInput()
		case "results":
			v, err = null, a.named(ask.Name, b.steps)
		case "previous_result":
			v, err = a.previous(ask, vars)
			if iter := vars.Iter[ask.N]; err == nil && ask.Prev == "" && vars.Error == nil && iter != nil {
				to = own.Own // each iteration has an input of its own
				v, err = withField(v, "iter", iter)
			}
		case "resume", "resumes", "approvers":
			v = flow.Approvals(vars.Resumes)[name]
		case "flow_env":
			v = a.env()
		case "variable", "resource":
			to = own.Own
			v, err = a.readable(ask, name)
		case "result":
			to = own.Own
			v, err = a.own(ask, vars)
		case "error":
			to = own.Own
			v, err = a.failure(ask, vars)
		default:
			continue
		}
		if err != nil {
			return own, err
		}
		if len(v) == 0 {
			v = null
		}
		to[name] = v
	}
	return own, nil
}

func (a *answers) env() json.RawMessage {
	if a.v.Env == nil {
		return json.RawMessage("{}")
	}
	return a.v.Env
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

// named adds the steps whose results an expression names; all that it can see,
// if it does not say which.
func (a *answers) named(expr string, ids map[string]bool) error {
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
		return a.visible(ids)
	}
	return nil
}

// resultsOf returns the results of steps, as an object.
func (a *answers) resultsOf(ids map[string]bool) (json.RawMessage, error) {
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
