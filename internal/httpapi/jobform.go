package httpapi

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/engine"
)

// Types of a job on the wire.
const (
	typeQueued    = "QueuedJob"
	typeCompleted = "CompletedJob"
)

// jobJSON is a job as Windmill's clients know it. What does not apply is left
// out, never null.
type jobJSON struct {
	Type           string       `json:"type" enum:"QueuedJob,CompletedJob"`
	ID             string       `json:"id" format:"uuid"`
	Workspace      string       `json:"workspace_id"`
	ParentJob      string       `json:"parent_job,omitempty"`
	RootJob        string       `json:"root_job,omitempty"`
	CreatedBy      string       `json:"created_by"`
	CreatedAt      time.Time    `json:"created_at"`
	ScheduledFor   *time.Time   `json:"scheduled_for,omitempty" doc:"When it is, or was, due"`
	StartedAt      *time.Time   `json:"started_at,omitempty"`
	CompletedAt    *time.Time   `json:"completed_at,omitempty"`
	DurationMS     *int64       `json:"duration_ms,omitempty"`
	Running        *bool        `json:"running,omitempty" doc:"Of a QueuedJob"`
	Success        *bool        `json:"success,omitempty" doc:"Of a CompletedJob"`
	Deleted        *bool        `json:"deleted,omitempty"`
	IsSkipped      *bool        `json:"is_skipped,omitempty"`
	Canceled       bool         `json:"canceled"`
	CanceledBy     string       `json:"canceled_by,omitempty"`
	CanceledReason string       `json:"canceled_reason,omitempty"`
	JobKind        sluice.Kind  `json:"job_kind"`
	ScriptPath     string       `json:"script_path,omitempty"`
	ScriptHash     string       `json:"script_hash,omitempty"`
	Language       string       `json:"language,omitempty"`
	RawCode        string       `json:"raw_code,omitempty"`
	PermissionedAs string       `json:"permissioned_as"`
	Email          string       `json:"email"`
	IsFlowStep     bool         `json:"is_flow_step"`
	Preprocessed   *bool        `json:"preprocessed,omitempty" doc:"True: a preprocessor has made the arguments; false: it is to"`
	VisibleToOwner bool         `json:"visible_to_owner"`
	Tag            string       `json:"tag"`
	Priority       int          `json:"priority,omitempty"`
	Worker         string       `json:"worker,omitempty"`
	Labels         []string     `json:"labels,omitempty"`
	Progress       *int         `json:"progress,omitempty" doc:"Percent, as the job said last"`
	Args           anyJSON      `json:"args,omitempty"`
	Result         anyJSON      `json:"result,omitempty" doc:"Of a CompletedJob; of a failed one {\"error\": {…}}"`
	Logs           *string      `json:"logs,omitempty"`
	Wait           *sluice.Wait `json:"wait,omitempty" doc:"Ours: why a waiting job does not run"`
	FlowStepID     string       `json:"flow_step_id,omitempty" doc:"Of a step of a flow: the id of its module"`
	FlowStepN      *int         `json:"flow_step_n,omitempty" doc:"Ours: the iteration or branch of that module, from 0"`
	Key            *string      `json:"concurrency_key,omitempty" doc:"Ours: left out if it is in no group"`
	SchedulePath   string       `json:"schedule_path,omitempty" doc:"Of a run of a schedule"`
	TriggerKind    string       `json:"trigger_kind,omitempty" enum:"schedule"`
	RawFlow        anyJSON      `json:"raw_flow,omitempty" doc:"Of a flow: its value; of a part of one the modules of that part"`

	FlowStatus *flowStatusJSON `json:"flow_status,omitempty" doc:"Of a flow: how far it is"`
}

// jobForm is a job as lists and event streams show it.
func jobForm(j *sluice.Job) jobJSON {
	f := jobJSON{
		Type: typeQueued, ID: j.ID, Workspace: j.Workspace, ParentJob: j.ParentJob, RootJob: j.RootJob,
		CreatedBy: j.CreatedBy, CreatedAt: j.CreatedAt.UTC(), StartedAt: instant(j.StartedAt),
		Canceled: j.CanceledBy != "", CanceledBy: j.CanceledBy,
		JobKind: j.Kind, ScriptPath: j.Path, ScriptHash: j.Hash, Language: j.Language,
		PermissionedAs: "u/" + j.CreatedBy, Email: j.Email, VisibleToOwner: true,
		Tag: j.Tag, Priority: j.Priority, Worker: j.Worker,
		ScheduledFor: instant(j.ScheduledFor), Labels: j.Labels, Progress: j.Progress, IsFlowStep: j.Step != "", FlowStepID: j.Step,
	}
	if f.Canceled {
		f.CanceledReason = j.CanceledReason
	}
	if j.HasKey {
		f.Key = &j.Key
	}
	if j.Schedule != "" {
		f.SchedulePath, f.TriggerKind = j.Schedule, triggerSchedule
	}
	if j.Step != "" && j.StepN >= 0 {
		f.FlowStepN = &j.StepN
	}
	if j.Phase != sluice.PhaseNone {
		made := j.Phase == sluice.PhasePreprocessed
		f.Preprocessed = &made
	}
	if j.State != sluice.StateCompleted {
		running := j.State == sluice.StateRunning
		f.Running = &running
		if !running {
			f.StartedAt = nil // of an attempt that was lost or handed back
		}
		return f
	}
	no, success := false, j.Outcome == sluice.OutcomeSuccess
	f.Type, f.Success, f.Deleted, f.IsSkipped = typeCompleted, &success, &no, &no
	f.Canceled = j.Outcome == sluice.OutcomeCanceled
	if skipped := engine.SkippedRun(j); skipped {
		f.IsSkipped = &skipped
	}
	f.CompletedAt = instant(j.CompletedAt)
	duration := durationOf(j)
	f.DurationMS = &duration
	return f
}

// durationOf returns how long a completed job ran, in milliseconds.
func durationOf(j *sluice.Job) int64 {
	if j.StartedAt.IsZero() || j.CompletedAt.IsZero() {
		return 0
	}
	return max(j.CompletedAt.Sub(j.StartedAt), 0).Milliseconds()
}

// fullForm is a job as a single look at it shows it.
func fullForm(v *engine.JobView, logs, code bool) jobJSON {
	f := jobForm(v.Job)
	f.Args = anyJSON(v.Args)
	if len(f.Args) == 0 {
		f.Args = anyJSON("{}")
	}
	if v.State == sluice.StateCompleted {
		f.Result = resultOf(v.Job)
	}
	if logs {
		f.Logs = &v.Logs
	}
	if code && v.Hash == "" {
		f.RawCode = v.Content
	}
	f.Wait = v.Wait
	return f
}

// resultOf returns the result of a completed job. That of a job without
// success is always an object with an error: clients read result.error.
func resultOf(j *sluice.Job) anyJSON {
	if len(j.Result) > 0 && string(j.Result) != "null" || j.Outcome == sluice.OutcomeSuccess {
		if len(j.Result) == 0 {
			return anyJSON("null")
		}
		return anyJSON(j.Result)
	}
	name, message := "ExecutionErr", "the job failed without a message"
	if j.Outcome == sluice.OutcomeCanceled {
		name, message = "Canceled", "canceled by "+j.CanceledBy
		if j.CanceledReason != "" {
			message += ": " + j.CanceledReason
		}
	}
	b, _ := marshal(map[string]any{"error": map[string]string{"name": name, "message": message}}) // strings never fail
	return b
}

// obscuredJSON is a job of somebody else: only that it is there.
type obscuredJSON struct {
	Type       string     `json:"typ" enum:"QueuedJob,CompletedJob"`
	StartedAt  *time.Time `json:"started_at,omitempty"`
	DurationMS *int64     `json:"duration_ms,omitempty"`
}

func obscure(j *sluice.Job) obscuredJSON {
	f := jobForm(j)
	return obscuredJSON{Type: f.Type, StartedAt: f.StartedAt, DurationMS: f.DurationMS}
}

// obscureWait hides the holders that the caller may not see.
func obscureWait(w *sluice.Wait, seen map[string]bool) {
	for i := range w.Slots {
		s := &w.Slots[i]
		if !seen[s.JobID] {
			s.JobID, s.Obscured = "", true
		}
	}
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// canonicalID returns a job's id in the form in which it is stored.
func canonicalID(field, s string) (string, error) {
	id, err := uuid.Parse(strings.TrimSpace(s))
	if err != nil || len(s) != 36 {
		return "", sluice.Invalid(field, "must be a UUID such as 018f0c1e-7b9a-7cc4-8000-000000000000")
	}
	return id.String(), nil
}

// isObject reports whether b is a JSON object.
func isObject(b json.RawMessage) bool {
	s := strings.TrimSpace(string(b))
	return strings.HasPrefix(s, "{") && json.Valid(b)
}
