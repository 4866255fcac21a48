package engine

import (
	"encoding/json"
	"errors"
	"fmt"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// A flow is run by the engine, and belongs to somebody at every moment:
//
//	waiting in a line of flows ─▶ started by the dispatcher: its slot is taken,
//	                              its first steps are pushed, in one transaction
//	a step ends ─▶ in the transaction that records it: what comes next is asked of
//	               package flow, and pushed; or the flow ends and frees its slot,
//	               which may be the end of a step of the flow around it
//	JavaScript is needed for that ─▶ what happened is stored, the run is due, and
//	               the loop of flows evaluates outside of any transaction
//
// What is due is a row, so a server that dies leaves nothing behind that
// another does not find.

// Bounds of flows.
const (
	maxFlowStarts = 256 // flows that one transaction starts
	// maxRounds is a guard: how often package flow is asked about one batch of
	// events before it has all that it needs.
	maxRounds = 10_000
)

// flowRun is a flow's run as a unit has it open.
type flowRun struct {
	row     *store.FlowRun
	events  []flow.Event // happened in this transaction, not dealt with yet
	stirred bool         // it is in the unit's list
	fresh   bool         // its row is not stored yet
	force   bool         // what is open in it is cancelled by force
	left    bool         // more is open in it than one transaction may cancel
	sweep   bool         // that was so when its row was read
	known   *evaluated   // what was evaluated for the first of the row's events; nil: nothing
}

// evaluated is what was evaluated for an event of a flow.
type evaluated struct {
	values map[flow.Ask]json.RawMessage
	failed map[flow.Ask]string
}

// openRun locks the run of a flow.
func (u *unit) openRun(seq int64) (*flowRun, error) {
	if r := u.runs[seq]; r != nil {
		return r, nil
	}
	row, err := u.tx.LockFlowRun(seq)
	if err != nil {
		return nil, err
	}
	r := &flowRun{row: row}
	u.keepRun(r)
	return r, nil
}

func (u *unit) keepRun(r *flowRun) {
	if u.runs == nil {
		u.runs = map[int64]*flowRun{}
	}
	u.runs[r.row.JobSeq] = r
}

// stir has a run looked at before the unit settles.
func (u *unit) stir(r *flowRun) {
	if !r.stirred {
		r.stirred = true
		u.stirred = append(u.stirred, r)
	}
}

// startFlow begins what the dispatcher has just given a slot.
func (u *unit) startFlow(j *sluice.Job) error {
	root, depth := j.Seq, 0
	if j.Step != "" {
		outer, err := u.tx.Job(j.ParentJob)
		if err != nil {
			return err
		}
		r, err := u.openRun(outer.Seq)
		if err != nil {
			return err
		}
		root, depth = r.row.RootSeq, r.row.Depth+1
	}
	r, err := u.openRun(j.Seq)
	if errors.Is(err, store.ErrNotFound) {
		r = &flowRun{row: &store.FlowRun{JobSeq: j.Seq, RootSeq: root, Depth: depth, State: json.RawMessage(`{}`)}, fresh: true}
		u.keepRun(r)
	} else if err != nil {
		return err
	}
	if j.Phase == sluice.PhasePreprocess {
		return u.pushPreprocessor(r, j)
	}
	r.events = append(r.events, flow.Event{Kind: flow.Started})
	u.stir(r)
	return nil
}

// stepEnded tells the flow that a step of it has ended.
func (u *unit) stepEnded(j *sluice.Job) error {
	outer, err := u.tx.Job(j.ParentJob)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	if outer.State != sluice.StateRunning {
		return nil // it ended by force
	}
	r, err := u.openRun(outer.Seq)
	if err != nil {
		return fmt.Errorf("run of the flow of a step: %w", err)
	}
	end := u.endings[j.Seq]
	r.events = append(r.events, flow.Event{
		Kind: flow.Ended, Step: j.Step, N: j.StepN, Job: j.ID, Success: j.Outcome == sluice.OutcomeSuccess,
		Stopped: end.Stopped, Skipped: end.Skipped,
	})
	u.stir(r)
	return nil
}

// moveFlows deals with all that has happened to flows, and with what follows
// from it, and writes their rows.
func (u *unit) moveFlows() error {
	for len(u.stirred) > 0 {
		r := u.stirred[0]
		u.stirred = u.stirred[1:]
		r.stirred = false
		if err := u.move(r); err != nil {
			return err
		}
	}
	return nil
}

// move deals with what happened to one flow.
func (u *unit) move(r *flowRun) error {
	j, err := u.tx.JobBySeq(r.row.JobSeq)
	if err != nil {
		return err
	}
	happened := r.events
	r.events = nil
	if r.sweep {
		r.sweep, r.force = false, j.State != sluice.StateRunning && j.Outcome == sluice.OutcomeCanceled
		if err := u.cancelSteps(r, j); err != nil {
			return err
		}
	}
	switch {
	case j.State != sluice.StateRunning:
		return u.rest(r)
	case j.Phase == sluice.PhasePreprocess:
		return u.flowPrepared(r, j, happened)
	}
	var before []flow.Event
	if len(r.row.Events) > 0 {
		if err := json.Unmarshal(r.row.Events, &before); err != nil {
			return fmt.Errorf("read what happened to a flow: %w", err)
		}
	}
	k := r.known
	r.known = nil
	events := append(before, happened...)
	if len(before) > 0 && k == nil { // it waits for what is evaluated elsewhere
		return u.await(r, events)
	}
	for ; len(events) > 0; events, k = events[1:], nil {
		ok, err := u.advance(r, j, events[0], k)
		if err != nil {
			return err
		}
		if !ok {
			return u.await(r, events)
		}
		if j.State != sluice.StateRunning {
			return u.rest(r)
		}
	}
	r.row.Events, r.row.Due = nil, r.left
	return u.saveRun(r)
}

// await stores what happened to a flow until what it needs was evaluated.
func (u *unit) await(r *flowRun, events []flow.Event) error {
	raw, err := json.Marshal(events)
	if err != nil {
		return err
	}
	r.row.Events, r.row.Due = raw, true
	return u.saveRun(r)
}

// rest ends what there is to do for a flow that has ended.
func (u *unit) rest(r *flowRun) error {
	r.row.Events, r.row.Due, r.row.WakeAt = nil, r.left, zeroTime
	return u.saveRun(r)
}

func (u *unit) saveRun(r *flowRun) error {
	if r.fresh {
		r.fresh = false
		return u.tx.InsertFlowRun(r.row)
	}
	return u.tx.SaveFlowRun(r.row)
}
