package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// answers finds in the rows what package flow asks for.
type answers struct {
	e     *Engine
	r     store.Reader
	now   time.Time
	row   *store.FlowRun
	j     *sluice.Job
	v     *flow.Value
	state *flow.State
	made  map[string]json.RawMessage // what is about to be stored, by name

	input json.RawMessage // the flow's arguments, if they were made already
}

// answersFor reads what a flow's job runs and where it stands. The error is
// [store.ErrNotFound] if the flow is gone.
func (e *Engine) answersFor(r store.Reader, row *store.FlowRun, j *sluice.Job) (*answers, error) {
	v, err := e.flowOf(r, j)
	if err != nil {
		return nil, err
	}
	a := &answers{e: e, r: r, now: r.Now(), row: row, j: j, v: v}
	a.state, err = readState(row, j)
	return a, err
}

// readState reads where a flow stands.
func readState(row *store.FlowRun, j *sluice.Job) (*flow.State, error) {
	s := &flow.State{Scope: j.FlowScope}
	if err := json.Unmarshal(row.State, s); err != nil {
		return nil, fmt.Errorf("read the state of the flow %s: %w", j.ID, err)
	}
	return s, nil
}

// find returns what is asked for, other than expressions.
func (a *answers) find(ask flow.Ask) (json.RawMessage, error) {
	switch ask.Kind {
	case flow.AskInput:
		return a.flowInput()
	case flow.AskResult:
		return a.result(ask.Name)
	case flow.AskJob:
		return a.value(flow.Result{Job: ask.Name})
	case flow.AskStored:
		return a.value(flow.Result{Stored: ask.Name})
	case flow.AskChildren:
		return a.children(ask.Name, ask.N)
	case flow.AskExpr:
	}
	return nil, fmt.Errorf("package flow asks for %q", ask.Kind)
}

var null = json.RawMessage("null")

// value returns a value that package flow names.
func (a *answers) value(r flow.Result) (json.RawMessage, error) {
	if v := a.made[r.Stored]; r.Stored != "" && v != nil {
		return v, nil
	}
	return valueOf(a.r, a.j, r)
}

// after has what is asked for be found as it is once an output of package flow
// is carried out.
func (a *answers) after(out *flow.Output) {
	if out.State != nil {
		a.state = out.State
	}
	a.made = map[string]json.RawMessage{}
	for _, s := range out.Store {
		a.made[s.Name] = s.Value
	}
}

func valueOf(r store.Reader, j *sluice.Job, of flow.Result) (json.RawMessage, error) {
	var v json.RawMessage
	var err error
	switch {
	case of.Job != "":
		var step *sluice.Job
		if step, err = r.Job(of.Job); err == nil {
			v, err = r.Result(step.Seq)
		}
	case of.Stored != "":
		v, err = r.FlowResult(j.Seq, of.Stored)
	default:
		v = of.Value
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && len(v) == 0 {
		return null, nil
	}
	return v, err
}

// flowInput returns the arguments of the whole flow that a job is a part of;
// within a loop, with the iteration of the innermost.
func (a *answers) flowInput() (json.RawMessage, error) {
	if a.input != nil {
		return a.input, nil
	}
	var iter json.RawMessage
	j := a.j
	for j.FlowScope != "" {
		if iter == nil {
			var args struct {
				Iter json.RawMessage `json:"iter"`
			}
			if err := json.Unmarshal(j.Args, &args); err != nil {
				return nil, err
			}
			iter = args.Iter
		}
		outer, err := a.r.Job(j.ParentJob)
		if err != nil {
			return nil, err
		}
		j = outer
	}
	a.input = j.Args
	if iter != nil {
		var err error
		if a.input, err = withField(j.Args, "iter", iter); err != nil {
			return nil, err
		}
	}
	return a.input, nil
}

// withField returns an object with a field set, the others as they were sent.
func withField(object json.RawMessage, name string, value json.RawMessage) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, err
	}
	fields[name] = value
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(fields)
	return bytes.TrimSpace(b.Bytes()), err
}

// result returns the result of a step: in the part of the flow that asks, else
// in that around it. Null stands for that of a step that has none.
func (a *answers) result(step string) (json.RawMessage, error) {
	j, state := a.j, a.state
	if of, ok := state.Source(a.v, step); ok {
		return a.value(of)
	}
	for {
		if of, ok := state.Source(a.v, step); ok {
			return valueOf(a.r, j, of)
		}
		if j.FlowScope == "" {
			return null, nil
		}
		outer, err := a.r.Job(j.ParentJob)
		if err != nil {
			return nil, err
		}
		row, err := a.r.FlowRun(outer.Seq)
		if err != nil {
			return nil, err
		}
		if state, err = readState(row, outer); err != nil {
			return nil, err
		}
		j = outer
	}
}

// childrenPage is how many jobs of a step are read at once.
const childrenPage = 500

// children returns the results of the newest jobs of a step, by iteration, from
// 0 to below n. Beyond the bound of a result it says so instead, which the bound
// of whatever it becomes a part of will refuse.
func (a *answers) children(step string, n int) (json.RawMessage, error) {
	var out bytes.Buffer
	out.WriteByte('[')
	next := 0
	add := func(until int, result json.RawMessage) {
		for ; next < until; next++ { // those that never ran
			if next > 0 {
				out.WriteByte(',')
			}
			if next == until-1 && len(result) > 0 {
				out.Write(result)
			} else {
				out.WriteString("null")
			}
		}
	}
	var newest *sluice.Job
	flush := func() error {
		if newest == nil || newest.StepN >= n {
			return nil
		}
		result, err := a.r.Result(newest.Seq)
		if err != nil {
			return err
		}
		add(newest.StepN, nil)
		add(newest.StepN+1, result)
		return nil
	}
	for from, more := 0, true; more && from < n && out.Len() <= sluice.MaxResultBytes; {
		jobs, err := a.r.Children(a.j.ID, step, from, childrenPage)
		if err != nil {
			return nil, err
		}
		more = len(jobs) == childrenPage
		for _, j := range jobs {
			if newest != nil && newest.StepN != j.StepN {
				if err := flush(); err != nil {
					return nil, err
				}
			}
			newest = j
		}
		if more {
			if from == newest.StepN { // more attempts of one iteration than a page holds
				from++
				continue
			}
			from = newest.StepN
			newest = nil
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	add(n, nil)
	out.WriteByte(']')
	return out.Bytes(), nil
}
