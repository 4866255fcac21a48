package engine

import (
	"fmt"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// A flow with a preprocessor, called by somebody who asks for it, has no key at
// first: its first execution is in no group and runs the preprocessor, as that
// of a script does. What that returns becomes the flow's arguments, and the flow
// takes its place in the line of its group (see takePlace).

// pushPreprocessor pushes the job that makes the arguments of a flow.
func (u *unit) pushPreprocessor(r *flowRun, j *sluice.Job) error {
	v, err := u.e.flowOf(u.tx, j)
	if err != nil {
		return err
	}
	if err := u.pushSteps(r, j, []flow.Child{{Step: flow.PreprocessorStep, N: -1, Module: v.Preprocessor, Args: j.Args}}, &flow.State{}); err != nil {
		return err
	}
	return u.saveRun(r)
}

// flowPrepared takes what the preprocessor of a flow has made for its arguments.
func (u *unit) flowPrepared(r *flowRun, j *sluice.Job, events []flow.Event) error {
	var ended *flow.Event
	for i := range events {
		if events[i].Kind == flow.Ended && events[i].Step == flow.PreprocessorStep {
			ended = &events[i]
		}
	}
	if ended == nil {
		return nil
	}
	if err := u.saveRun(r); err != nil {
		return err
	}
	step, err := u.tx.Job(ended.Job)
	if err != nil {
		return err
	}
	result, err := u.tx.Result(step.Seq)
	if err != nil {
		return err
	}
	switch {
	case j.CanceledBy != "":
		return u.completeFlow(r, j, sluice.OutcomeCanceled, canceledResult(j))
	case !ended.Success:
		return u.completeFlow(r, j, sluice.OutcomeFailure, result)
	}
	if err := u.releaseFlow(j, sluice.EndPrepared); err != nil {
		return err
	}
	v, err := u.e.flowOf(u.tx, j)
	if err != nil {
		return err
	}
	return u.madeArgs(j, result, v.Limits)
}

// stepProgram returns what an inline step runs: its code stands in the flow.
func (u *unit) stepProgram(j, outer *sluice.Job) (program, error) {
	v, err := u.e.flowOf(u.tx, outer)
	if err != nil {
		return program{}, err
	}
	m := v.Module(j.Step)
	if j.Step == flow.PreprocessorStep {
		m = v.Preprocessor
	}
	if m == nil || m.Raw == nil {
		return program{}, fmt.Errorf("step %s of %s: %w", j.Step, outer.Path, store.ErrNotFound)
	}
	lock, err := u.stepLock(outer, m)
	return program{content: m.Raw.Content, lock: lock}, err
}
