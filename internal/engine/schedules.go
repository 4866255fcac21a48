package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/cron"
	"sluice/internal/store"
)

// A schedule that is enabled has one run pushed ahead: a job that is due at the
// schedule's next instant, and waits like any other. When it falls due, the
// loop of schedules pushes the one after it. A row for each instant of a
// schedule sees to it that there is one run, whoever pushes; instants that
// passed while nobody looked have none, but for the one that was pushed.
//
//	enabled ─▶ run pushed for the next instant ─▶ due ─▶ the next one is pushed
//	    │                                          └─▶ no_flow_overlap, and one runs or waits: cancelled
//	    └─ changed, disabled, deleted ─▶ the run that is not due yet is cancelled

// tickKept is how long it is remembered that an instant has had its run.
const tickKept = 48 * time.Hour

// ticksPerLook is how many schedules one transaction moves on.
const ticksPerLook = 100

// ScheduleBody holds the fields of a pushed schedule that mean something to
// the engine. Everything else is stored and given back.
type ScheduleBody struct {
	Path          string          `json:"path"`
	Schedule      string          `json:"schedule"`
	Version       string          `json:"cron_version"`
	Timezone      string          `json:"timezone"`
	ScriptPath    string          `json:"script_path"`
	IsFlow        bool            `json:"is_flow"`
	Args          json.RawMessage `json:"args"`
	Enabled       *bool           `json:"enabled"`
	NoFlowOverlap bool            `json:"no_flow_overlap"`
	Tag           string          `json:"tag"`
	PausedUntil   *time.Time      `json:"paused_until"`
	Retry         json.RawMessage `json:"retry"`

	OnFailure      string          `json:"on_failure"` // script/PATH or flow/PATH
	OnFailureTimes *int            `json:"on_failure_times"`
	OnFailureExact bool            `json:"on_failure_exact"`
	OnFailureArgs  json.RawMessage `json:"on_failure_extra_args"`
	OnRecovery     string          `json:"on_recovery"`
	OnRecoverTimes *int            `json:"on_recovery_times"`
	OnRecoveryArgs json.RawMessage `json:"on_recovery_extra_args"`
	OnSuccess      string          `json:"on_success"`
	OnSuccessArgs  json.RawMessage `json:"on_success_extra_args"`
}

// notSchedule are fields of a schedule that are refused, and what to do.
var notSchedule = map[string]string{
	"dynamic_skip": "let the script look by itself whether there is something to do",
}

// readSchedule validates a pushed schedule.
func readSchedule(raw json.RawMessage) (*ScheduleBody, *cron.Schedule, error) {
	b := new(ScheduleBody)
	var fields map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(raw, b), json.Unmarshal(raw, &fields)); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) && te.Field != "" {
			return nil, nil, sluice.Invalid(te.Field, "must be a %s, not a %s", te.Type, te.Value)
		}
		return nil, nil, sluice.Errorf(sluice.CodeInvalid, "the schedule is no JSON object: %v", err)
	}
	for name, hint := range notSchedule {
		if v := bytes.TrimSpace(fields[name]); len(v) > 0 && string(v) != "null" {
			return nil, nil, sluice.Invalid(name, "is not carried out here: %s", hint)
		}
	}
	if err := errors.Join(checkPath("path", b.Path), checkPath("script_path", b.ScriptPath)); err != nil {
		return nil, nil, err
	}
	if _, err := cron.Zone(b.Timezone); err != nil {
		return nil, nil, sluice.Invalid("timezone", "%v", err)
	}
	c, err := cron.Parse(b.Schedule, b.Timezone, b.Version)
	if err != nil {
		return nil, nil, sluice.Invalid("schedule", "%v", err)
	}
	for name, v := range map[string]string{"on_failure": b.OnFailure, "on_recovery": b.OnRecovery, "on_success": b.OnSuccess} {
		if v != "" && !strings.HasPrefix(v, "script/") && !strings.HasPrefix(v, "flow/") {
			return nil, nil, sluice.Invalid(name, "must be script/PATH or flow/PATH")
		}
	}
	for name, v := range map[string]*int{"on_failure_times": b.OnFailureTimes, "on_recovery_times": b.OnRecoverTimes} {
		if v != nil && (*v < 1 || *v > 1000) {
			return nil, nil, sluice.Invalid(name, "must be 1 to 1000")
		}
	}
	for name, v := range map[string]json.RawMessage{"args": b.Args, "on_failure_extra_args": b.OnFailureArgs, "on_recovery_extra_args": b.OnRecoveryArgs, "on_success_extra_args": b.OnSuccessArgs} {
		var o map[string]json.RawMessage
		if len(v) > 0 && json.Unmarshal(v, &o) != nil {
			return nil, nil, sluice.Invalid(name, "must be a JSON object")
		}
	}
	return b, c, nil
}

// PreviewSchedule returns the next instants at which a pattern is due in a time
// zone, at most ten.
func (e *Engine) PreviewSchedule(ctx context.Context, pattern, zone, version string) ([]time.Time, error) {
	const most = 10
	if _, err := cron.Zone(zone); err != nil {
		return nil, sluice.Invalid("timezone", "%v", err)
	}
	c, err := cron.Parse(pattern, zone, version)
	if err != nil {
		return nil, sluice.Invalid("schedule", "%v", err)
	}
	now, err := e.Now(ctx)
	if err != nil {
		return nil, err
	}
	list := c.Upcoming(now, most)
	if len(list) == 0 {
		return nil, sluice.Invalid("schedule", "it never falls due from now on")
	}
	return list, nil
}

// Editor is who changes something.
type Editor struct{ Username, Email string }

// CreateSchedule saves a new schedule: enabled, unless it says otherwise.
// Conflict: there is one at its path.
func (e *Engine) CreateSchedule(ctx context.Context, workspace string, raw json.RawMessage, by Who) error {
	b, _, err := readSchedule(raw)
	if err != nil {
		return err
	}
	return e.changeSchedule(ctx, workspace, b.Path, by, func(s *store.Schedule) error {
		if s.Body != nil {
			return &sluice.Error{Code: sluice.CodeConflict, Field: "path", Message: "there is a schedule at " + b.Path + " already; update it"}
		}
		s.Body, s.Enabled = raw, b.Enabled == nil || *b.Enabled
		return nil
	})
}

// UpdateSchedule replaces a schedule, and enables or disables it only if it
// says so. NotFound: there is none at the path.
func (e *Engine) UpdateSchedule(ctx context.Context, workspace, path string, raw json.RawMessage, by Who) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return sluice.Errorf(sluice.CodeInvalid, "the schedule is no JSON object")
	}
	name, err := json.Marshal(path)
	if err != nil {
		return err
	}
	fields["path"] = name
	return e.changeSchedule(ctx, workspace, path, by, func(s *store.Schedule) error {
		if s.Body == nil {
			return sluice.Errorf(sluice.CodeNotFound, "there is no schedule %s", path)
		}
		old := &ScheduleBody{}
		var kept map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(s.Body, old), json.Unmarshal(s.Body, &kept)); err != nil {
			return err
		}
		for _, must := range []string{"script_path", "is_flow"} { // Windmill's clients need not repeat these
			if _, ok := fields[must]; !ok && kept[must] != nil {
				fields[must] = kept[must]
			}
		}
		merged, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		b, _, err := readSchedule(merged)
		if err != nil {
			return err
		}
		s.Body = merged
		if b.Enabled != nil {
			s.Enabled = *b.Enabled
		}
		return nil
	})
}

// EnableSchedule enables or disables a schedule. NotFound: there is none.
func (e *Engine) EnableSchedule(ctx context.Context, workspace, path string, on bool, by Who) error {
	return e.changeSchedule(ctx, workspace, path, by, func(s *store.Schedule) error {
		if s.Body == nil {
			return sluice.Errorf(sluice.CodeNotFound, "there is no schedule %s", path)
		}
		s.Enabled = on
		return nil
	})
}

// changeSchedule changes a schedule, and what is pushed of it.
func (e *Engine) changeSchedule(ctx context.Context, workspace, path string, by Who, change func(*store.Schedule) error) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		if err := needWorkspace(tx, workspace); err != nil {
			return err
		}
		s, err := tx.LockSchedule(workspace, path)
		if errors.Is(err, store.ErrNotFound) {
			s = &store.Schedule{Workspace: workspace, Path: path}
		} else if err != nil {
			return err
		}
		if err := by.mayHave(tx, s, change); err != nil {
			return err
		}
		u := e.unit(tx)
		u.now = tx.Now()
		s.EditedAt, s.EditedBy, s.Email, s.Error, s.Failed = u.now, by.Username, by.Email, "", 0
		if err := u.withdraw(s, "the schedule was changed"); err != nil {
			return err
		}
		if s.Enabled {
			if err := u.pushTick(s, u.now); err != nil {
				return err
			}
			switch {
			case !s.Enabled:
				return sluice.Invalid("script_path", "no run can be pushed: %s", s.Error)
			case s.NextAt.IsZero():
				return sluice.Invalid("schedule", "it never falls due from now on")
			}
		}
		if err := tx.SaveSchedule(s); err != nil {
			return err
		}
		tx.Signal(store.Signal{Flows: true})
		return u.settle()
	})
}

// mayHave changes a schedule for somebody who may write it and read what it runs:
// its runs will have the rights of whoever changed it.
func (w Who) mayHave(tx store.Tx, s *store.Schedule, change func(*store.Schedule) error) error {
	if s.Body != nil {
		err := w.allow(tx, s.Workspace, store.KindSchedule, s.Path, store.RightWrite)
		if sluice.CodeOf(err) == sluice.CodeNotFound { // as if it were not there, which put says in the end
			*s = store.Schedule{Workspace: s.Workspace, Path: s.Path}
		} else if err != nil {
			return err
		}
	}
	if err := change(s); err != nil {
		return err
	}
	if err := w.put(tx, s.Workspace, store.KindSchedule, s.Path); err != nil {
		return err
	}
	b, _, err := readSchedule(s.Body)
	if err != nil {
		return err
	}
	own := "script/"
	if b.IsFlow {
		own = "flow/"
	}
	for _, run := range []struct{ field, what string }{
		{"script_path", own + b.ScriptPath}, {"on_failure", b.OnFailure}, {"on_recovery", b.OnRecovery}, {"on_success", b.OnSuccess},
	} {
		kind, path, _ := strings.Cut(run.what, "/")
		if path == "" {
			continue
		}
		right, err := w.right(tx, s.Workspace, kind, path, store.RightRead)
		if err != nil {
			return err
		}
		if right < store.RightRead {
			return &sluice.Error{Code: sluice.CodeForbidden, Field: run.field, Message: "you may not run the " + kind + " " + path}
		}
	}
	return nil
}

// DeleteSchedule deletes a schedule, and its run that is not due yet.
func (e *Engine) DeleteSchedule(ctx context.Context, workspace, path string, by Who) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		if err := by.allow(tx, workspace, store.KindSchedule, path, store.RightWrite); err != nil {
			return err
		}
		s, err := tx.LockSchedule(workspace, path)
		if err != nil {
			return notFound(err, "there is no schedule %s", path)
		}
		u := e.unit(tx)
		u.now = tx.Now()
		if err := u.withdraw(s, "the schedule was deleted"); err != nil {
			return err
		}
		if err := errors.Join(tx.DeleteSchedule(workspace, path), tx.DropGrants(workspace, store.KindSchedule, path)); err != nil {
			return err
		}
		return u.settle()
	})
}

// Schedule returns a schedule that somebody may see, Schedules lists them by path.
func (e *Engine) Schedule(ctx context.Context, workspace, path string, by Who) (*store.Schedule, error) {
	s, err := view(ctx, e, func(r store.Reader) (*store.Schedule, error) {
		if err := by.allow(r, workspace, store.KindSchedule, path, store.RightRead); err != nil {
			return nil, err
		}
		return r.Schedule(workspace, path)
	})
	return s, notFound(err, "there is no schedule %s", path)
}

// Schedules lists schedules.
func (e *Engine) Schedules(ctx context.Context, f store.ScheduleFilter) ([]*store.Schedule, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.Schedule, error) { return r.Schedules(f) })
}

// withdraw cancels the run of a schedule that is pushed and not due yet. The
// job is deleted by the next look at retention: it says nothing that matters.
func (u *unit) withdraw(s *store.Schedule, why string) error {
	if s.NextJob == "" {
		s.NextAt = time.Time{}
		return nil
	}
	j, err := u.tx.Job(s.NextJob)
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case err == nil && j.State == sluice.StateScheduled:
		if err := u.cancelUnstarted(j, why); err != nil {
			return err
		}
		if err := u.tx.DropTick(s.Workspace, s.Path, s.NextAt); err != nil {
			return err
		}
	}
	s.NextAt, s.NextJob = time.Time{}, ""
	return nil
}

func (u *unit) cancelUnstarted(j *sluice.Job, why string) error {
	_, l, err := u.openJob(j)
	if err != nil {
		return err
	}
	if j, err = u.tx.JobBySeq(j.Seq); err != nil || !j.Waiting() { // as it is now that its group is locked
		return err
	}
	if err := u.leave(l, j); err != nil {
		return err
	}
	j.CanceledBy, j.CanceledReason, j.DeleteAfter = "schedule", why, 0
	return u.end(j, sluice.OutcomeCanceled, canceledResult(j))
}

// pushTick pushes the first run of a schedule that is due after an instant. A
// schedule whose run cannot be pushed is disabled, and says why.
func (u *unit) pushTick(s *store.Schedule, after time.Time) error {
	b, c, err := readSchedule(s.Body)
	if err != nil {
		u.disable(s, err)
		return nil
	}
	if b.PausedUntil != nil && b.PausedUntil.After(after) {
		after = b.PausedUntil.Add(-time.Microsecond)
	}
	s.NextAt, s.NextJob = time.Time{}, ""
	for range 100 {
		next := c.Next(after)
		if next.IsZero() {
			return nil
		}
		err := u.tx.AddTick(s.Workspace, s.Path, next)
		if errors.Is(err, store.ErrExists) { // had its run before the schedule was changed
			after = next
			continue
		} else if err != nil {
			return err
		}
		s.NextAt = next
		if s.NextJob, err = u.pushRun(s, b, next); err != nil {
			var se *sluice.Error
			if !errors.As(err, &se) || se.Code == sluice.CodeInternal {
				return err
			}
			if se.Code == sluice.CodeLimited { // as many wait as may: this one has no run
				u.e.log.Warn("a run of a schedule is left out", "schedule", s.Path, "workspace", s.Workspace, "error", err)
				return nil
			}
			if err := u.tx.DropTick(s.Workspace, s.Path, next); err != nil {
				return err
			}
			u.disable(s, se)
			return nil
		}
		return nil
	}
	return nil
}

func (u *unit) disable(s *store.Schedule, why error) {
	s.Enabled, s.Error, s.NextAt, s.NextJob = false, why.Error(), time.Time{}, ""
	u.e.log.Warn("a schedule is disabled", "schedule", s.Path, "workspace", s.Workspace, "error", why)
}

// scheduleUser is who has created the runs of a schedule.
func scheduleUser(path string) string { return "schedule-" + strings.ReplaceAll(path, "/", "-") }

// pushRun pushes a run of a schedule.
func (u *unit) pushRun(s *store.Schedule, b *ScheduleBody, due time.Time) (string, error) {
	n := NewJob{
		Workspace: s.Workspace, Args: b.Args, Tag: b.Tag, ScheduledFor: due, CreatedBy: scheduleUser(s.Path), Email: s.Email, Schedule: s.Path,
	}
	switch {
	case len(bytes.TrimSpace(b.Retry)) > 0 && string(bytes.TrimSpace(b.Retry)) != "null":
		value, err := retried(b)
		if err != nil {
			return "", err
		}
		n.FlowPreview = &FlowPreview{Path: b.ScriptPath, Value: value}
	case b.IsFlow:
		n.FlowPath = b.ScriptPath
	default:
		n.Path = b.ScriptPath
	}
	return u.pushOne(&n)
}

// retried makes the flow of one step that tries a runnable again.
func retried(b *ScheduleBody) (json.RawMessage, error) {
	var args map[string]json.RawMessage
	if len(b.Args) > 0 {
		if err := json.Unmarshal(b.Args, &args); err != nil {
			return nil, err
		}
	}
	inputs := map[string]any{}
	for name, v := range args {
		inputs[name] = map[string]any{"type": "static", "value": v}
	}
	kind := "script"
	if b.IsFlow {
		kind = "flow"
	}
	return json.Marshal(map[string]any{"modules": []any{map[string]any{
		"id": "a", "retry": b.Retry, "value": map[string]any{"type": kind, "path": b.ScriptPath, "input_transforms": inputs},
	}}})
}

// pushOne pushes one job in the transaction at hand.
func (u *unit) pushOne(n *NewJob) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	n.ID = id.String()
	if _, err := checkNew(n); err != nil {
		return "", err
	}
	p, err := u.e.build(u.tx, n, n.ID, map[string]*compiled{})
	if err != nil {
		return "", err
	}
	return n.ID, u.enqueue([]*push{p})
}

// Tick pushes the next runs of schedules whose last one has fallen due. It
// returns when to look again by itself; <0: not before a signal. Run calls it.
func (e *Engine) Tick(ctx context.Context) (time.Duration, error) {
	next := time.Duration(-1)
	err := e.store.Update(ctx, func(tx store.Tx) error {
		next = -1
		now := tx.Now()
		due, err := tx.DueSchedules(now, ticksPerLook)
		if err != nil {
			return err
		}
		u := e.unit(tx)
		u.now = now
		for _, s := range due {
			if err := u.moveSchedule(s.Workspace, s.Path); err != nil {
				return err
			}
		}
		if err := u.settle(); err != nil {
			return err
		}
		at, err := tx.NextSchedule()
		if err == nil && !at.IsZero() {
			next = max(at.Sub(now), 0)
		}
		return err
	})
	return next, err
}

// moveSchedule pushes the run after the one that has fallen due.
func (u *unit) moveSchedule(workspace, path string) error {
	s, err := u.tx.LockSchedule(workspace, path)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	if now := u.tx.Now(); s.NextAt.IsZero() || s.NextAt.After(now) {
		return nil
	} else if err := u.pushTick(s, now); err != nil {
		return err
	}
	return u.tx.SaveSchedule(s)
}

func (e *Engine) kickSchedules() {
	select {
	case e.scheduleKick <- struct{}{}:
	default:
	}
}

// runSchedules is the loop of schedules.
func (e *Engine) runSchedules(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.scheduleKick:
		case <-t.C:
		}
		next, err := e.Tick(ctx)
		if err != nil && ctx.Err() == nil {
			e.log.Error("push runs of schedules", "error", err)
			next = retryAfter
		}
		if next >= 0 {
			t.Reset(max(next, time.Millisecond))
		} else {
			t.Stop()
		}
	}
}

// overlaps reports whether a run of a schedule that falls due is to be left
// out, since another one runs or waits.
func (u *unit) overlaps(j *sluice.Job) (bool, error) {
	s, err := u.tx.Schedule(j.Workspace, j.Schedule)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	var b ScheduleBody
	if err := json.Unmarshal(s.Body, &b); err != nil || !b.NoFlowOverlap {
		return false, err
	}
	others, err := u.tx.Jobs(store.JobFilter{
		Workspace: j.Workspace, Schedule: j.Schedule, States: []sluice.State{sluice.StateQueued, sluice.StateRunning}, Limit: 2,
	})
	for _, o := range others {
		if o.ID != j.ID {
			return true, err
		}
	}
	return false, err
}

// Why a job is labelled as skipped, as its row says in the place of why it was
// cancelled.
const (
	overlapReason = "the run before it had not ended (no_flow_overlap)"
	earlyReason   = "a step has stopped it early (skip_if_stopped)" // a flow, which has ended well
)

// SkipReasons are what a skipped job says as the reason of its cancelling.
var SkipReasons = []string{overlapReason, earlyReason}

// SkippedRun reports whether a job is a run of a schedule that was left out,
// since the one before it had not ended, or one of a flow that a step has ended
// as not worth a mention.
func SkippedRun(j *sluice.Job) bool {
	return j.Schedule != "" && j.Outcome == sluice.OutcomeCanceled && j.CanceledReason == overlapReason ||
		j.Kind.IsFlow() && j.Outcome == sluice.OutcomeSuccess && j.CanceledReason == earlyReason
}

// leaveOut ends a run that is not to overlap another one.
func (u *unit) leaveOut(j *sluice.Job) error {
	j.CanceledBy, j.CanceledReason = "schedule", overlapReason
	return u.end(j, sluice.OutcomeCanceled, canceledResult(j))
}

// ran is a run of a schedule that has ended.
type ran struct {
	job    *sluice.Job
	result json.RawMessage
}

// handleRuns counts the failures of schedules whose runs have ended, and
// pushes their handlers.
func (u *unit) handleRuns() error {
	for len(u.ran) > 0 {
		r := u.ran[0]
		u.ran = u.ran[1:]
		if err := u.handleRun(r.job, r.result); err != nil {
			return err
		}
	}
	return nil
}

func (u *unit) handleRun(j *sluice.Job, result json.RawMessage) error {
	s, err := u.tx.LockSchedule(j.Workspace, j.Schedule)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	var b ScheduleBody
	if err := json.Unmarshal(s.Body, &b); err != nil || j.Outcome == sluice.OutcomeCanceled {
		return err
	}
	before := s.Failed
	handler, extra := countRun(s, &b, j.Outcome == sluice.OutcomeSuccess)
	if s.Failed != before {
		if err := u.tx.SaveSchedule(s); err != nil {
			return err
		}
	}
	if handler == "" {
		return nil
	}
	return u.pushHandler(s, j, handler, handlerArgs(s, &b, j, before, result, extra))
}

// countRun counts how a run has ended, and returns the handler to push, if any.
// Failed counts failures in a row; below zero, successes since the schedule
// was failing, until it has recovered.
func countRun(s *store.Schedule, b *ScheduleBody, ok bool) (handler string, extra json.RawMessage) {
	times := orOne(b.OnFailureTimes)
	switch {
	case !ok:
		s.Failed = max(s.Failed, 0) + 1
		if s.Failed == times || s.Failed > times && !b.OnFailureExact {
			return b.OnFailure, b.OnFailureArgs
		}
		return "", nil
	case b.OnRecovery != "" && (s.Failed >= times || s.Failed < 0):
		s.Failed = min(s.Failed, 0) - 1
		if -s.Failed >= orOne(b.OnRecoverTimes) {
			s.Failed = 0
			return b.OnRecovery, b.OnRecoveryArgs
		}
	default:
		s.Failed = 0
	}
	return b.OnSuccess, b.OnSuccessArgs
}

func orOne(n *int) int {
	if n == nil {
		return 1
	}
	return *n
}

// handlerArgs are the arguments that Windmill gives handlers.
func handlerArgs(s *store.Schedule, b *ScheduleBody, j *sluice.Job, before int, result, extra json.RawMessage) map[string]any {
	args := map[string]any{
		"path": b.ScriptPath, "is_flow": b.IsFlow, "schedule_path": s.Path, "workspace_id": s.Workspace, "job_id": j.ID, "started_at": j.StartedAt,
	}
	if j.Outcome == sluice.OutcomeFailure {
		args["failed_times"] = s.Failed
		var e struct {
			Error json.RawMessage `json:"error"`
		}
		if json.Unmarshal(result, &e) == nil && e.Error != nil {
			args["error"] = e.Error
		}
	} else {
		args["success_result"], args["success_times"], args["success_started_at"] = result, 1-min(before, 0), j.StartedAt
		args["error_times"] = max(before, 0)
	}
	var more map[string]json.RawMessage
	if json.Unmarshal(extra, &more) == nil {
		for k, v := range more {
			args[k] = v
		}
	}
	return args
}

// pushHandler pushes a handler of a schedule. One that cannot be pushed is
// said in the log and on the schedule; the run has ended all the same.
func (u *unit) pushHandler(s *store.Schedule, j *sluice.Job, handler string, args map[string]any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	n := NewJob{Workspace: s.Workspace, Args: raw, CreatedBy: scheduleUser(s.Path), Email: s.Email, ParentJob: j.ID}
	if path, ok := strings.CutPrefix(handler, "flow/"); ok {
		n.FlowPath = path
	} else {
		n.Path = strings.TrimPrefix(handler, "script/")
	}
	_, err = u.pushOne(&n)
	var se *sluice.Error
	if errors.As(err, &se) && se.Code != sluice.CodeInternal {
		u.e.log.Warn("the handler of a schedule cannot be run", "schedule", s.Path, "workspace", s.Workspace, "handler", handler, "error", err)
		s.Error = fmt.Sprintf("the handler %s cannot be run: %v", handler, err)
		return u.tx.SaveSchedule(s)
	}
	return err
}
