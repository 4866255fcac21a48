package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// measuresStarts reports whether somebody who waits counts launches.
func (g *group) measuresStarts() bool {
	for _, l := range g.lines {
		if l.Head.Seq == 0 {
			continue
		}
		if in, _ := g.Override.Apply(l.HeadLimit); in.Mode == limit.Start {
			return true
		}
	}
	return false
}

// openExecutions locks executions with their groups and reads the clock.
func (u *unit) openExecutions(ids []int64) ([]*sluice.Execution, error) {
	xs, groups, err := u.tx.LockExecutions(ids)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if _, err := u.adopt(g); err != nil {
			return nil, err
		}
	}
	seen := make(map[int64]*sluice.Execution, len(ids))
	for i, id := range ids { // one that is named twice is one row, not two copies of it
		if x := seen[id]; x != nil {
			xs[i] = x
		}
		seen[id] = xs[i]
	}
	u.now = u.tx.Now()
	return xs, nil
}

// owned returns an error if an execution is not, or no longer, this worker's.
func owned(x *sluice.Execution, id int64, worker string) error {
	if x == nil || x.Worker != worker || worker == "" { // those of no worker are flows
		return sluice.Errorf(sluice.CodeConflict, "execution %d is not held by worker %s", id, worker)
	}
	if x.End == sluice.EndLost || x.End == sluice.EndStruck {
		return sluice.Errorf(sluice.CodeConflict, "execution %d is over (%s); end its processes and forget it", id, x.End)
	}
	return nil
}

// Confirm records that executions were launched. Those that were confirmed or
// released before are left alone. If one is not, or no longer, the worker's,
// the others are recorded and the error has code conflict.
func (e *Engine) Confirm(ctx context.Context, worker string, ids []int64) error {
	var late error
	err := e.store.Update(ctx, func(tx store.Tx) error {
		late = nil
		u := e.unit(tx)
		xs, err := u.openExecutions(ids)
		if err != nil {
			return err
		}
		for i, x := range xs {
			if err := owned(x, ids[i], worker); err != nil {
				late = err
				continue
			}
			if !x.Held() || !x.ConfirmedAt.IsZero() {
				continue
			}
			u.launch(x)
			x.ConfirmedAt = u.now
			if err := tx.SaveExecution(x); err != nil {
				return err
			}
			if g := u.groups[x.GroupID]; g != nil && g.measuresStarts() {
				g.touched = true
			}
		}
		return u.settle()
	})
	if err == nil && late != nil {
		return e.refused("a confirmation", worker, late)
	}
	return err
}

// refused notes that a call about an execution that is over came too late.
func (e *Engine) refused(what, worker string, err error) error {
	e.log.Warn("refused "+what, "worker", worker, "error", err)
	return err
}

// launch draws the number of a launch.
func (u *unit) launch(x *sluice.Execution) {
	if g := u.groups[x.GroupID]; x.InGroup && g != nil && x.LaunchNo == 0 {
		g.Launched++
		x.LaunchNo = g.Launched
		g.changed = true
	}
}

// release frees the slot of an execution that is held. It happens once: the
// row has a release instant afterwards.
func (u *unit) release(x *sluice.Execution, end string) error {
	u.launch(x)
	x.ReleasedAt, x.End = u.now, end
	if g := u.groups[x.GroupID]; x.InGroup && g != nil {
		g.Released++
		x.EndNo = g.Released
		g.changed, g.touched = true, true
		if end == sluice.EndReported {
			const weight = 8
			if took := x.ReleasedAt.Sub(x.StartedAt); g.Typical == 0 {
				g.Typical = took
			} else {
				g.Typical += (took - g.Typical) / weight
			}
		}
	}
	return u.tx.SaveExecution(x)
}

// strike takes an execution back that never began: it counts nowhere, and its
// job waits again in its old rank.
func (u *unit) strike(x *sluice.Execution) error {
	x.End, x.ReleasedAt = sluice.EndStruck, u.now // an instant for the record; it counts nowhere
	if g := u.groups[x.GroupID]; x.InGroup && g != nil {
		g.Struck++
		g.changed, g.touched = true, true
	}
	if err := u.tx.SaveExecution(x); err != nil {
		return err
	}
	j, err := u.tx.JobBySeq(x.JobSeq)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return u.again(j, x)
}

// again puts a job whose newest execution x came to nothing back in line, or
// ends it if it was cancelled meanwhile.
func (u *unit) again(j *sluice.Job, x *sluice.Execution) error {
	if j.State != sluice.StateRunning || j.Attempt != x.Attempt {
		return u.tx.SaveJob(j) // it ended by force; only counters may have changed
	}
	if j.CanceledBy != "" {
		return u.end(j, sluice.OutcomeCanceled, canceledResult(j))
	}
	j.State, j.StartedAt, j.Worker = sluice.StateQueued, time.Time{}, ""
	if err := u.tx.SaveJob(j); err != nil {
		return err
	}
	g := u.groups[x.GroupID]
	l, err := u.lineOf(g, j.Workspace, j.Path, j.LineTag())
	if err != nil {
		return err
	}
	if g != nil {
		g.Waiting++
		g.changed = true
	}
	return u.stand(l, []*sluice.Job{j})
}

// lose declares an execution lost: its slot is released, and its job gets a
// new attempt in its old rank, or fails if it has had enough of them.
func (u *unit) lose(x *sluice.Execution) error {
	if err := u.release(x, sluice.EndLost); err != nil {
		return err
	}
	u.e.lost.Add(1)
	j, err := u.tx.JobBySeq(x.JobSeq)
	if errors.Is(err, store.ErrNotFound) {
		return nil // deleted after it was cancelled by force
	} else if err != nil {
		return err
	}
	j.Lost++
	if j.State == sluice.StateRunning && j.Attempt == x.Attempt && j.CanceledBy == "" && j.Lost > j.MaxLostAttempts {
		return u.end(j, sluice.OutcomeFailure, errorResult("WorkerLost", fmt.Sprintf(
			"The worker %s was lost while it ran this job (attempt %d of at most %d). The job was not run again because it may be what ended the worker.",
			x.Worker, j.Lost, j.MaxLostAttempts+1), nil))
	}
	return u.again(j, x)
}

// end completes a job.
func (u *unit) end(j *sluice.Job, o sluice.Outcome, result json.RawMessage) error {
	if j.Kind == sluice.KindDependencies && o != sluice.OutcomeSuccess {
		if err := u.unlocked(j, result); err != nil {
			return err
		}
	}
	j.State, j.Outcome, j.CompletedAt = sluice.StateCompleted, o, u.now
	if err := u.tx.SaveJob(j); err != nil {
		return err
	}
	if len(result) > 0 {
		if err := u.tx.SaveResult(j.Seq, result); err != nil {
			return err
		}
	}
	if j.Schedule != "" {
		u.ran = append(u.ran, ran{j, result})
	}
	if j.Step == "" {
		return nil
	}
	return u.stepEnded(j)
}

// expire fails a job that waited longer than it was allowed to.
func (u *unit) expire(l *line, j *sluice.Job) error {
	if err := u.leave(l, j); err != nil {
		return err
	}
	return u.end(j, sluice.OutcomeFailure, errorResult("WaitedTooLong", fmt.Sprintf(
		"The job was not started within the %s it was allowed to wait.", j.ExpiresAt.Sub(j.ScheduledFor)), nil))
}

// HandBack strikes executions out that were not launched.
func (e *Engine) HandBack(ctx context.Context, worker string, ids []int64) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		u := e.unit(tx)
		xs, err := u.openExecutions(ids)
		if err != nil {
			return err
		}
		for i, x := range xs {
			if owned(x, ids[i], worker) != nil || !x.Held() {
				continue
			}
			if !x.ConfirmedAt.IsZero() {
				return sluice.Errorf(sluice.CodeConflict, "execution %d was confirmed, so it cannot be handed back; report its end", x.ID)
			}
			if err := u.strike(x); err != nil {
				return err
			}
		}
		return u.settle()
	})
}

// Report records ends. A report that was recorded before is accepted again.
func (e *Engine) Report(ctx context.Context, reports []sluice.Report) []error {
	reports = e.bounded(reports)
	var errs []error
	err := e.store.Update(ctx, func(tx store.Tx) (err error) {
		errs, err = e.unit(tx).recordAll(reports)
		return err
	})
	if err != nil {
		return slices.Repeat([]error{err}, len(reports))
	}
	return e.refusedReports(reports, errs)
}

// bounded returns the reports with the results that are to be stored. It looks
// at every byte of them, so it is for outside transactions.
func (e *Engine) bounded(reports []sluice.Report) []sluice.Report {
	out := slices.Clone(reports)
	for i := range out {
		out[i].Result = e.boundResult(&out[i])
		e.handed.failure(&out[i])
	}
	return out
}

// recordAll records ends, whose results are bounded, judges their groups anew and writes all of it. The
// list has an error, or nil, for each report.
func (u *unit) recordAll(reports []sluice.Report) ([]error, error) {
	ids := make([]int64, len(reports))
	for i := range reports {
		ids[i] = reports[i].Execution
	}
	xs, err := u.openExecutions(ids)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(reports))
	for i, x := range xs {
		if errs[i] = owned(x, ids[i], reports[i].Worker); errs[i] != nil || !x.Held() {
			continue
		}
		if err := u.report(x, &reports[i]); err != nil {
			return nil, err
		}
	}
	return errs, u.settle()
}

// refusedReports notes which reports came too late, and returns errs.
func (e *Engine) refusedReports(reports []sluice.Report, errs []error) []error {
	for i, err := range errs {
		if err != nil {
			errs[i] = e.refused("a report", reports[i].Worker, err)
		}
	}
	return errs
}

func (u *unit) report(x *sluice.Execution, r *sluice.Report) error {
	if r.Launched && x.ConfirmedAt.IsZero() {
		x.ConfirmedAt = u.now
	}
	if r.Lost {
		return u.lose(x)
	}
	j, err := u.tx.JobBySeq(x.JobSeq)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if j != nil {
		if err := u.endLog(j, x); err != nil {
			return err
		}
	}
	how := sluice.EndReported
	if j != nil && r.Success && preparing(j, x) {
		how = sluice.EndPrepared
	}
	if err := u.release(x, how); err != nil || j == nil {
		return err
	}
	switch {
	case j.State != sluice.StateRunning || j.Attempt != x.Attempt:
		return nil // it ended by force; the slot is what was left of it
	case j.CanceledBy != "":
		return u.end(j, sluice.OutcomeCanceled, canceledResult(j))
	case how == sluice.EndPrepared:
		return u.prepared(j, r.Result)
	case r.Success && j.Kind == sluice.KindDependencies:
		return u.locked(j, r.Result)
	case r.Success:
		return u.succeed(j, x, r)
	}
	return u.end(j, sluice.OutcomeFailure, r.Result)
}

func (u *unit) succeed(j *sluice.Job, x *sluice.Execution, r *sluice.Report) error {
	if err := u.saveLabels(j, x, r.Result); err != nil {
		return err
	}
	result, err := u.streamed(j, r)
	if err != nil {
		return err
	}
	return u.end(j, sluice.OutcomeSuccess, result)
}

// boundResult returns the result to store: the report's own, or what to say
// about one that is too large or no JSON.
func (e *Engine) boundResult(r *sluice.Report) json.RawMessage {
	switch {
	case len(r.Result) == 0 && r.Success:
		return json.RawMessage("null")
	case len(r.Result) == 0:
		return errorResult("ExecutionErr", "The job failed and gave no reason.", nil)
	case len(r.Result) > sluice.MaxResultBytes:
		r.Success = false
		return errorResult("ResultTooLarge", fmt.Sprintf(
			"The result has %d bytes; at most %d are allowed. Store it elsewhere and return where it is.", len(r.Result), sluice.MaxResultBytes), nil)
	case !json.Valid(r.Result):
		r.Success = false
		return errorResult("InvalidResult", "The result is no JSON.", nil)
	}
	return r.Result
}

// errorResult is the result of a job that failed, in Windmill's form.
func errorResult(name, message string, more map[string]any) json.RawMessage {
	fields := map[string]any{"name": name, "message": message}
	for k, v := range more {
		fields[k] = v
	}
	b, err := json.Marshal(map[string]any{"error": fields})
	if err != nil {
		return json.RawMessage(`{"error":{"name":"` + name + `","message":"no details"}}`)
	}
	return b
}

func canceledResult(j *sluice.Job) json.RawMessage {
	m := "The job was cancelled by " + j.CanceledBy
	if j.CanceledReason != "" {
		m += ": " + j.CanceledReason
	}
	return errorResult("Canceled", m, nil)
}

// limitExceeded is the result of a job that would rather fail than wait.
func limitExceeded(g *group, j *sluice.Job, r limit.Room) json.RawMessage {
	in, _ := g.Override.Apply(*j.Limit)
	more := map[string]any{
		"key": j.Key, limit.FieldN: in.N, limit.FieldWindow: int64(in.Window / time.Second), limit.FieldMode: in.Mode,
	}
	m := fmt.Sprintf("No room under the key %q: %s.", j.Key, in)
	if !r.From.IsZero() {
		more["retry_at"] = r.From
		m += " There will be room at " + r.From.Format(time.RFC3339Nano) + " at the earliest."
	}
	return errorResult("ConcurrencyLimitExceeded", m, more)
}
