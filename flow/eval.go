package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// know returns a value that was asked for, or asks for it. Where the results
// of this scope's steps are it knows itself.
func (m *machine) know(a Ask) (json.RawMessage, error) {
	if a.Kind == AskResult && m.v.in[a.Name] == m.st.Scope && m.v.byID[a.Name] != nil {
		r, ok := m.st.Source(m.v, a.Name)
		switch {
		case !ok:
			return json.RawMessage("null"), nil
		case r.Job != "":
			a = Ask{Kind: AskJob, Name: r.Job}
		default:
			a = Ask{Kind: AskStored, Name: r.Stored}
		}
	}
	if v, ok := m.in.Known[a]; ok {
		return v, nil
	}
	if !m.asked[a] {
		m.asked[a] = true
		m.out.Asks = append(m.out.Asks, a)
	}
	return nil, errMissing
}

// step makes the job of a module with its arguments. i is the index of the
// module in this scope, or of that whose body mod is; n the iteration, -1 none.
func (m *machine) step(i int, mod *Module, n int) (Child, error) {
	c := Child{Module: mod, Step: mod.ID, N: n, CacheTTL: mod.CacheTTL}
	var b bytes.Buffer
	b.WriteByte('{')
	missing := false
	for k := range mod.Inputs {
		in := &mod.Inputs[k]
		v, err := m.transform(i, mod, "input_transforms."+in.Name, n, &in.Transform)
		if errors.Is(err, errMissing) {
			missing = true
			continue
		} else if err != nil {
			return c, err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(in.Name)
		if err != nil {
			return c, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	if mod.Timeout != nil {
		d, err := m.span(i, mod, "timeout", mod.Timeout)
		if errors.Is(err, errMissing) {
			missing = true
		} else if err != nil {
			return c, err
		}
		c.Timeout = d
	}
	if missing {
		return c, errMissing
	}
	c.Args = b.Bytes()
	return c, nil
}

// transform gives the value of an input transform.
func (m *machine) transform(i int, mod *Module, part string, n int, t *Transform) (json.RawMessage, error) {
	if t.Expr == "" {
		if null(t.Static) {
			return json.RawMessage("null"), nil
		}
		return t.Static, nil
	}
	return m.eval(i, mod.ID, part, n, t.Expr, "", nil)
}

// number gives the number of a transform.
func (m *machine) number(i int, mod *Module, part string, t *Transform) (float64, error) {
	v, err := m.transform(i, mod, part, -1, t)
	if err != nil {
		return 0, err
	}
	var f float64
	if null(v) {
		return 0, nil
	}
	if json.Unmarshal(v, &f) != nil {
		return 0, failed("InvalidNumber", "step %s: %s must give a number, not %s", mod.ID, part, clip(v))
	}
	return f, nil
}

// span gives the seconds of a transform, as a duration.
func (m *machine) span(i int, mod *Module, part string, t *Transform) (time.Duration, error) {
	f, err := m.number(i, mod, part, t)
	if err != nil {
		return 0, err
	}
	if f < 0 || f > MaxDelay.Seconds() {
		return 0, failed("InvalidNumber", "step %s: %s must give 0 to %d seconds", mod.ID, part, int64(MaxDelay/time.Second))
	}
	return time.Duration(f * float64(time.Second)), nil
}

// holds tells whether an expression of the module at an index is true, in
// JavaScript's sense.
func (m *machine) holds(i int, part string, n int, text, job string, result json.RawMessage) (bool, error) {
	v, err := m.eval(i, m.mods[i].ID, part, n, text, job, result)
	if err != nil {
		return false, err
	}
	switch t := string(bytes.TrimSpace(v)); t {
	case "false", "null", `""`, "0", "-0", "0.0":
		return false, nil
	}
	return true, nil
}

// eval gives the value of an expression of a step: job's result, or `result`,
// is what it sees as result.
func (m *machine) eval(i int, step, part string, n int, text, job string, result json.RawMessage) (json.RawMessage, error) {
	e := evaluation{m: m, n: n, job: job, result: result, prev: m.previous(i)}
	if p := parsePath(text); p != nil {
		v, err := p.value(&e)
		var te *typeError
		switch {
		case errors.As(err, &te):
			return nil, exprError(step, part, te.Error())
		case err == nil || errors.Is(err, errMissing):
			return v, err
		}
	}
	a := Ask{Kind: AskExpr, Name: text, N: n, Step: step, Part: part, Job: job, Prev: e.prev.Name}
	if why, ok := m.in.Failed[a]; ok {
		return nil, exprError(step, part, why)
	}
	m.out.Vars.Result = result
	return m.know(a)
}

func exprError(step, part, why string) error {
	return failed("ExpressionError", "step %s: %s: %s", step, part, why)
}

func clip(raw json.RawMessage) string {
	const most = 60
	if len(raw) <= most {
		return string(raw)
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(raw[cut]) {
		cut--
	}
	return string(raw[:cut]) + "…"
}

// evaluation is what a plain path may name.
type evaluation struct {
	m      *machine
	n      int
	job    string
	result json.RawMessage
	prev   Ask
}

// errScript means that an expression is for JavaScript.
var errScript = errors.New("flow: not a plain path")

// root gives the value of a name; of results, that of the step.
func (e *evaluation) root(name, step string) (json.RawMessage, error) {
	m := e.m
	switch name {
	case "flow_input":
		v, err := m.know(Ask{Kind: AskInput})
		if err != nil {
			return nil, err
		}
		return overlay(v, m.out.Vars.Iter[e.n])
	case "results":
		return m.know(Ask{Kind: AskResult, Name: step})
	case "previous_result":
		if m.out.Vars.Error != nil {
			return m.cause()
		}
		v, err := m.know(e.prev)
		if err != nil || e.prev.Kind != AskInput {
			return v, err
		}
		return overlay(v, m.out.Vars.Iter[e.n]) // the input, as a scope of the iteration's own would see it
	case "flow_env":
		if m.v.Env == nil {
			return json.RawMessage("{}"), nil
		}
		return m.v.Env, nil
	case "result":
		switch {
		case e.result != nil:
			return e.result, nil
		case e.job != "":
			return m.know(Ask{Kind: AskJob, Name: e.job})
		}
	case "error":
		if m.out.Vars.Error != nil {
			return m.errorOf()
		}
	case "resume", "resumes", "approvers":
		return Approvals(m.st.Resumes)[name], nil
	}
	return nil, errScript
}

// cause gives the result of what failed.
func (m *machine) cause() (json.RawMessage, error) {
	c := m.out.Vars.Error
	if c.Job == "" {
		return c.Value, nil
	}
	return m.know(Ask{Kind: AskJob, Name: c.Job})
}

// errorOf gives what the failure module sees as error.
func (m *machine) errorOf() (json.RawMessage, error) {
	v, err := m.cause()
	if err != nil {
		return nil, err
	}
	return ErrorOf(v, m.out.Vars.Error.Step), nil
}

// ErrorOf gives what the failure module sees as error: that of a failed
// result, with the id of the step.
func ErrorOf(result json.RawMessage, step string) json.RawMessage {
	var r struct {
		Error map[string]json.RawMessage `json:"error"`
	}
	if json.Unmarshal(result, &r) != nil || r.Error == nil {
		r.Error = map[string]json.RawMessage{"name": json.RawMessage(`"Error"`), "message": json.RawMessage(`"the step failed"`)}
	}
	id, err := json.Marshal(step)
	if err != nil {
		id = json.RawMessage(`""`)
	}
	r.Error["step_id"] = id
	b, err := json.Marshal(r.Error)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}

// Approvals gives the values of the names resume, resumes and approvers.
func Approvals(rs []Resume) map[string]json.RawMessage {
	values := make([]json.RawMessage, 0, len(rs))
	who := make([]string, 0, len(rs))
	last := json.RawMessage("null")
	for _, r := range rs {
		if last = r.Value; null(last) {
			last = json.RawMessage("null")
		}
		values = append(values, last)
		who = append(who, r.Approver)
	}
	out := map[string]json.RawMessage{"resume": last}
	for name, v := range map[string]any{"resumes": values, "approvers": who} {
		b, err := json.Marshal(v)
		if err != nil {
			b = json.RawMessage("[]")
		}
		out[name] = b
	}
	return out
}

// overlay sets iter in an object.
func overlay(object, iter json.RawMessage) (json.RawMessage, error) {
	if iter == nil {
		return object, nil
	}
	fields := map[string]json.RawMessage{}
	if !null(object) {
		if err := json.Unmarshal(object, &fields); err != nil {
			return nil, fmt.Errorf("flow: the input is no object: %w", err)
		}
	}
	fields["iter"] = iter
	return json.Marshal(fields)
}
