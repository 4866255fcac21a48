package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// Names under which a flow keeps what is no result of a step: ids of steps hold
// no $.
const (
	earlyResult = "$early" // what who waits for it gets before its end
	cutResult   = "$cut"   // the error with which a flow ends that was cut
)

// advance asks what follows from an event of a flow, and does it. It reports
// false, and has changed nothing, if something must be evaluated first.
func (u *unit) advance(r *flowRun, j *sluice.Job, event flow.Event, k *evaluated) (bool, error) {
	a, err := u.e.answersFor(u.tx, r.row, j)
	if errors.Is(err, store.ErrNotFound) {
		return true, u.breakFlow(r, j, "FlowNotFound", flowIsGone(j))
	} else if err != nil {
		return false, err
	}
	out, missing, err := a.next(event, k)
	var broken *brokenFlow
	switch {
	case errors.As(err, &broken):
		u.e.log.Error("a flow cannot go on", "job", j.ID, "event", event.Kind, "error", err)
		return true, u.breakFlow(r, j, "FlowBroken", "The server made a mistake in this flow and cannot go on with it; its log says more.")
	case err != nil || len(missing) > 0:
		return false, err
	}
	if err := u.keepResult(a.v, event); err != nil {
		return false, err
	}
	r.row.WakeAt = wakeOf(j, &out)
	for _, s := range out.Store {
		if err := u.tx.SaveFlowResult(j.Seq, s.Name, s.Value); err != nil {
			return false, err
		}
	}
	if out.Early != nil {
		early, err := a.value(*out.Early)
		if err != nil {
			return false, err
		}
		if err := u.tx.SaveFlowResult(j.Seq, earlyResult, early); err != nil {
			return false, err
		}
	}
	if out.CancelOpen {
		if err := u.cancelSteps(r, j); err != nil {
			return false, err
		}
	}
	if len(out.Push) > 0 {
		if err := u.pushSteps(r, j, out.Push, out.State); err != nil || j.State != sluice.StateRunning {
			return true, err
		}
	}
	if r.row.State, err = json.Marshal(out.State); err != nil {
		return false, err
	}
	if out.End == nil {
		return true, nil
	}
	var result json.RawMessage
	if out.End.Cut {
		result, err = u.tx.FlowResult(j.Seq, cutResult)
	} else {
		result, err = a.value(out.End.Result)
	}
	if err != nil {
		return false, err
	}
	if out.End.Success && !out.End.Skipped {
		if err := u.keepFlow(a.v, j, result); err != nil {
			return false, err
		}
	}
	return true, u.endFlow(r, j, out.End, result)
}

// wakeOf returns when a flow that runs is to be looked at by itself: when it
// asks for that, or when its time is up.
func wakeOf(j *sluice.Job, out *flow.Output) time.Time {
	up := timeIsUp(j)
	if up.IsZero() || out.State.Cut || j.CanceledBy != "" || !out.WakeAt.IsZero() && out.WakeAt.Before(up) {
		return out.WakeAt
	}
	return up
}

// timeIsUp returns when a flow that runs has run as long as it may; zero: never.
func timeIsUp(j *sluice.Job) time.Time {
	if j.Timeout == 0 || j.State != sluice.StateRunning || j.Phase == sluice.PhasePreprocess {
		return zeroTime
	}
	return j.StartedAt.Add(j.Timeout)
}

// cutFlow has a flow that runs fail with an error, once all that is open in it
// is cancelled and gone.
func (u *unit) cutFlow(r *flowRun, j *sluice.Job, result json.RawMessage) error {
	if err := u.tx.SaveFlowResult(j.Seq, cutResult, result); err != nil {
		return err
	}
	r.events = append(r.events, flow.Event{Kind: flow.Cut})
	u.stir(r)
	return nil
}

// brokenFlow says that a flow cannot go on.
type brokenFlow struct{ error }

// Unwrap returns why.
func (b *brokenFlow) Unwrap() error { return b.error }

// next asks package flow what follows from an event. What must be evaluated, and
// is not known, is missing; then nothing else counts. It is the same within a
// transaction and outside.
func (a *answers) next(event flow.Event, k *evaluated) (out flow.Output, missing []flow.Ask, err error) {
	in := flow.Input{
		Value: a.v, State: a.state, Event: event, Known: map[flow.Ask]json.RawMessage{}, Now: a.now,
		Seed: uint64(a.j.Seq), Canceled: a.j.CanceledBy != "",
	}
	if k != nil {
		in.Known, in.Failed = maps.Clone(k.values), k.failed
	}
	for range maxRounds {
		if out, err = flow.Next(in); err != nil {
			return out, nil, &brokenFlow{err}
		}
		a.after(&out)
		if len(out.Asks) == 0 {
			return out, nil, nil
		}
		for _, ask := range out.Asks {
			if ask.Kind == flow.AskExpr {
				missing = append(missing, ask)
				continue
			}
			if in.Known[ask], err = a.find(ask); err != nil {
				return out, nil, err
			}
		}
		if len(missing) > 0 {
			return out, missing, nil
		}
	}
	return out, nil, fmt.Errorf("flow %s asks without end", a.j.ID)
}

// endFlow completes a flow and frees its slot.
func (u *unit) endFlow(r *flowRun, j *sluice.Job, end *flow.End, result json.RawMessage) error {
	o := sluice.OutcomeFailure
	switch {
	case end.Canceled:
		o = sluice.OutcomeCanceled
	case end.Success:
		o = sluice.OutcomeSuccess
	}
	if len(result) > sluice.MaxResultBytes {
		o, result = sluice.OutcomeFailure, errorResult("ResultTooLarge", fmt.Sprintf(
			"The result has %d bytes; at most %d are allowed. Store it elsewhere and return where it is.", len(result), sluice.MaxResultBytes), nil)
	}
	if o == sluice.OutcomeCanceled && j.CanceledBy != "" {
		result = canceledResult(j)
	}
	if u.endings == nil {
		u.endings = map[int64]flow.End{}
	}
	u.endings[j.Seq] = *end
	if end.Skipped && o == sluice.OutcomeSuccess {
		j.CanceledReason = earlyReason
	}
	return u.completeFlow(r, j, o, result)
}

// completeFlow completes a flow that runs, whether or not steps of it do.
func (u *unit) completeFlow(r *flowRun, j *sluice.Job, o sluice.Outcome, result json.RawMessage) error {
	if err := u.releaseFlow(j, sluice.EndReported); err != nil {
		return err
	}
	r.row.WakeAt = zeroTime
	return u.end(j, o, result)
}

// releaseFlow frees the slot of a flow. A part of a flow has none.
func (u *unit) releaseFlow(j *sluice.Job, how string) error {
	if j.FlowScope != "" {
		return nil
	}
	all, err := u.tx.Attempts(j.Seq)
	if err != nil {
		return err
	}
	for _, x := range all {
		if !x.Held() {
			continue
		}
		held, err := u.openExecutions([]int64{x.ID})
		if err != nil {
			return err
		}
		if err := u.release(held[0], how); err != nil {
			return err
		}
	}
	return nil
}

// breakFlow fails a flow that cannot go on, with all that runs in it.
func (u *unit) breakFlow(r *flowRun, j *sluice.Job, name, message string) error {
	if err := u.completeFlow(r, j, sluice.OutcomeFailure, errorResult(name, message, nil)); err != nil {
		return err
	}
	return u.cancelSteps(r, j)
}
