package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sluice"
	"sluice/internal/store"
)

// cancelChunk is how many jobs one transaction cancels.
const cancelChunk = 500

// Cancel cancels jobs of a workspace ("" for any). A job that waits ends at
// once. One that runs is ended by its worker (TERM, grace, KILL); with force
// it is over for its callers at once, while its slot stays with the process.
// An id that is unknown gives an error with code not_found, after the others
// were cancelled.
func (e *Engine) Cancel(ctx context.Context, workspace string, ids []string, by, reason string, force bool) ([]CancelResult, error) {
	var out []CancelResult
	var unknown error
	for len(ids) > 0 {
		n := min(len(ids), cancelChunk)
		var part []CancelResult
		err := e.store.Update(ctx, func(tx store.Tx) error {
			part = part[:0]
			u := e.unit(tx)
			for _, id := range ids[:n] {
				r, err := u.cancel(workspace, id, by, reason, force)
				if errors.Is(err, store.ErrNotFound) {
					unknown = sluice.Errorf(sluice.CodeNotFound, "there is no job %s", id)
					continue
				} else if err != nil {
					return err
				}
				part = append(part, r)
			}
			if !slices.ContainsFunc(part, func(r CancelResult) bool { return !r.Already }) {
				changedNothing(ctx)
			}
			return u.settle()
		})
		if err != nil {
			return out, err
		}
		out, ids = append(out, part...), ids[n:]
	}
	return out, unknown
}

func (u *unit) cancel(workspace, id, by, reason string, force bool) (CancelResult, error) {
	r := CancelResult{ID: id}
	j, err := u.tx.Job(id)
	if err == nil && workspace != "" && j.Workspace != workspace {
		err = store.ErrNotFound
	}
	if err != nil {
		return r, err
	}
	if j.State == sluice.StateCompleted {
		r.Already = true
		return r, nil
	}
	if by == "" {
		by = "somebody"
	}
	return u.cancelJob(j, by, reason, force)
}

// cancelJob cancels a job that is not completed.
func (u *unit) cancelJob(j *sluice.Job, by, reason string, force bool) (CancelResult, error) {
	r := CancelResult{ID: j.ID}
	_, l, err := u.openJob(j)
	if err != nil {
		return r, err
	}
	if j, err = u.tx.Job(j.ID); err != nil { // as it is now that its group is locked
		return r, err
	}
	j.CanceledBy, j.CanceledReason = by, reason
	switch {
	case j.State == sluice.StateCompleted:
		r.Already = true
		return r, nil
	case j.Waiting():
		if err := u.leave(l, j); err != nil {
			return r, err
		}
		r.Ended = true
		return r, u.end(j, sluice.OutcomeCanceled, canceledResult(j))
	}
	if j.Kind.IsFlow() {
		r.Ordered, r.Ended = true, force
		return r, u.cancelFlow(j, force)
	}
	if err := u.kill(j); err != nil {
		return r, err
	}
	r.Ordered = true
	if force {
		r.Ended = true
		return r, u.end(j, sluice.OutcomeCanceled, canceledResult(j))
	}
	return r, u.tx.SaveJob(j)
}

// kill orders the worker to end the newest execution of a job.
func (u *unit) kill(j *sluice.Job) error {
	xs, err := u.tx.Attempts(j.Seq)
	if err != nil {
		return err
	}
	for _, x := range xs {
		if x.Held() && x.KillAt.IsZero() {
			x.KillAt = u.now
			u.tx.Signal(store.Signal{Workers: []string{x.Worker}})
			if err := u.tx.SaveExecution(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// CancelKey cancels all jobs that wait in a group, and with running also those
// that run. It returns how many. Jobs that are pushed meanwhile may stay.
func (e *Engine) CancelKey(ctx context.Context, key, by, reason string, running, force bool) (int, error) {
	states := []sluice.State{sluice.StateScheduled, sluice.StateQueued}
	if running {
		states = append(states, sluice.StateRunning)
	}
	total, after := 0, int64(0)
	for {
		var jobs []*sluice.Job
		err := e.store.View(ctx, func(r store.Reader) (err error) {
			jobs, err = r.Jobs(store.JobFilter{Key: &key, States: states, OldestFirst: true, AfterSeq: after, Limit: cancelChunk})
			return err
		})
		if err != nil || len(jobs) == 0 {
			return total, err
		}
		ids := make([]string, len(jobs))
		for i, j := range jobs {
			ids[i] = j.ID
		}
		after = jobs[len(jobs)-1].Seq
		done, err := e.Cancel(ctx, "", ids, by, reason, force)
		for _, d := range done {
			if !d.Already {
				total++
			}
		}
		if err != nil && sluice.CodeOf(err) != sluice.CodeNotFound {
			return total, fmt.Errorf("cancel the jobs of a key: %w", err)
		}
	}
}
