package engine

import (
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
	By    string
	Email string
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
		state, results, err := a.restart(from.Step)
		if err != nil {
			return err
		}
		return e.pushAgain(tx, old, newID, from, state, results)
	})
	return newID, err
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
