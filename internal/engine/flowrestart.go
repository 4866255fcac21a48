package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/google/uuid"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// Restart says from where a flow is run again.
type Restart struct {
	Step  string // id of a step of the flow itself, not of a loop's or a branch's
	Part  int    // of a loop or a branchall: the iteration or branch to begin with, from 0; those before it are taken over
	By    string
	Email string
	As    *Who // who asks, and must be allowed to run it; nil: the server itself
}

// RestartFlow pushes a new run of what a completed flow ran, with its arguments,
// that takes over the results of the steps before one and begins with that. It
// stands in line as any run does. It returns the id of the new job.
func (e *Engine) RestartFlow(ctx context.Context, workspace, id string, from Restart) (string, error) {
	v7, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	newID := v7.String()
	err = e.store.Update(ctx, func(tx store.Tx) error {
		old, err := jobIn(tx, workspace, id)
		if err != nil {
			return err
		}
		switch {
		case !old.Kind.IsFlow() || old.FlowScope != "":
			return sluice.Invalid("id", "job %s is no run of a flow, but a %s", id, old.Kind)
		case old.Phase == sluice.PhasePreprocess:
			return sluice.Errorf(sluice.CodeConflict, "job %s never had its arguments; run the flow anew", id)
		case old.State != sluice.StateCompleted:
			return sluice.Errorf(sluice.CodeConflict, "job %s still runs; cancel it or wait for its end", id)
		}
		row, err := tx.FlowRun(old.Seq)
		if errors.Is(err, store.ErrNotFound) {
			return sluice.Errorf(sluice.CodeConflict, "job %s never started; run the flow anew", id)
		} else if err != nil {
			return err
		}
		a, err := e.answersFor(tx, row, old)
		if errors.Is(err, store.ErrNotFound) {
			return sluice.Errorf(sluice.CodeNotFound, "the flow of job %s is gone", id)
		} else if err != nil {
			return err
		}
		if err := from.allowed(tx, old, a.v); err != nil {
			return err
		}
		state, results, err := a.restart(from.Step)
		if err != nil {
			return err
		}
		if from.Part > 0 {
			before, err := a.partsBefore(state.Step, from.Part)
			if err != nil {
				return err
			}
			state.Modules[state.Step].From, results[flow.PartsBefore(from.Step)] = from.Part, before
		}
		return e.pushAgain(tx, old, newID, from, state, results)
	})
	return newID, err
}

// allowed refuses to run again what somebody may not run.
func (from *Restart) allowed(r store.Reader, old *sluice.Job, v *flow.Value) error {
	switch {
	case from.As == nil:
		return nil
	case old.Kind == sluice.KindFlowPreview:
		return from.As.callsOf(r, old.Workspace, v)
	}
	return from.As.allow(r, old.Workspace, store.KindFlow, old.Path, store.RightRead)
}

// restart returns the state of a run that begins with a step, and the results
// that it takes over, by the ids of their steps.
func (a *answers) restart(step string) (*flow.State, map[string]json.RawMessage, error) {
	at := slices.IndexFunc(a.v.Modules, func(m *flow.Module) bool { return m.ID == step })
	if at < 0 {
		return nil, nil, sluice.Invalid("step_id", "the flow has no step %q of its own; one within a loop or a branch cannot be restarted from", step)
	}
	s := &flow.State{Step: at, Modules: make([]flow.ModuleState, len(a.v.Modules))}
	results := map[string]json.RawMessage{}
	for i, m := range a.v.Modules[:at] {
		from, ok := a.state.Source(a.v, m.ID)
		if !ok {
			return nil, nil, sluice.Invalid("step_id", "the run did not come as far as %q: the step %q before it has no result", step, m.ID)
		}
		v, err := a.value(from)
		if err != nil {
			return nil, nil, err
		}
		results[m.ID] = v
		s.Modules[i] = a.state.Modules[i]
		s.Modules[i].Value = flow.InStored
	}
	return s, results, nil
}

// partsBefore returns the results of the first n iterations or branches of a
// module, all of which must have ended in a way that lets the next begin.
func (a *answers) partsBefore(at, n int) (json.RawMessage, error) {
	const field = "branch_or_iteration_n"
	m := a.v.Modules[at]
	if !m.Loop() && m.Kind != flow.KindBranchAll {
		return nil, sluice.Invalid(field, "is for loops and branchall; step %s is a %s", m.ID, m.Kind)
	}
	var ms flow.ModuleState
	if at < len(a.state.Modules) {
		ms = a.state.Modules[at]
	}
	if n >= ms.Begun {
		return nil, sluice.Invalid(field, "must be below %d: so many iterations or branches of step %s the run has begun", ms.Begun, m.ID)
	}
	name, taken := m.PartStep(), min(ms.From, n)
	good := make([]bool, n)
	for i := range taken {
		good[i] = true
	}
	if err := a.partsEnded(name, good, m.Forgives); err != nil {
		return nil, err
	}
	if bad := slices.Index(good, false); bad >= 0 {
		return nil, sluice.Invalid(field, "must be at most %d: that iteration or branch of step %s did not succeed", bad, m.ID)
	}
	all, err := a.children(name, n)
	if err != nil {
		return nil, err
	}
	if len(all) > sluice.MaxResultBytes {
		return nil, sluice.Errorf(sluice.CodeTooLarge, "the results of the iterations before have more than %d bytes", sluice.MaxResultBytes)
	}
	if taken == 0 {
		return all, nil
	}
	before, err := a.value(flow.Result{Stored: flow.PartsBefore(m.ID)})
	if err != nil {
		return nil, err
	}
	return overlay(all, before, taken)
}

// partsEnded notes which of the first parts of a step have ended well, or badly
// without harm: the newest job of each counts.
func (a *answers) partsEnded(step string, good []bool, forgives func(n int) bool) error {
	for from, before := 0, -1; from < len(good); {
		jobs, err := a.r.Children(a.j.ID, step, from, childrenPage)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if j.StepN < len(good) {
				good[j.StepN] = j.Outcome == sluice.OutcomeSuccess || j.Outcome == sluice.OutcomeFailure && forgives(j.StepN)
			}
		}
		if len(jobs) < childrenPage {
			return nil
		}
		if from = jobs[len(jobs)-1].StepN; from == before { // more attempts of one than a page holds
			from++
		}
		before = from
	}
	return nil
}

// overlay puts the first n elements of one list over those of another.
func overlay(list, first json.RawMessage, n int) (json.RawMessage, error) {
	var all, before []json.RawMessage
	if err := errors.Join(json.Unmarshal(list, &all), json.Unmarshal(first, &before)); err != nil {
		return nil, err
	}
	copy(all[:n], before)
	return slices.Concat(json.RawMessage("["), bytes.Join(asBytes(all), []byte(",")), json.RawMessage("]")), nil
}

func asBytes(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

// pushAgain pushes the new run.
func (e *Engine) pushAgain(tx store.Tx, old *sluice.Job, id string, from Restart, state *flow.State, results map[string]json.RawMessage) error {
	j := &sluice.Job{
		ID: id, Workspace: old.Workspace, Kind: old.Kind, Path: old.Path, Hash: old.Hash, Content: old.Content, Args: old.Args, Tag: old.Tag,
		Priority: old.Priority, CreatedBy: from.By, Email: from.Email, Key: old.Key, HasKey: old.HasKey, Limit: old.Limit,
		OnLimit: old.OnLimit, MaxLostAttempts: old.MaxLostAttempts, DeleteAfter: old.DeleteAfter, Labels: old.Labels,
	}
	u := e.unit(tx)
	u.anew = true
	if err := u.enqueue([]*push{{job: j, cap: -1}}); err != nil {
		return err
	}
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if err := tx.InsertFlowRun(&store.FlowRun{JobSeq: j.Seq, RootSeq: j.Seq, State: raw}); err != nil {
		return err
	}
	for name, v := range results {
		if err := tx.SaveFlowResult(j.Seq, name, v); err != nil {
			return err
		}
	}
	return u.settle()
}
