package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

const (
	updateHold = 800 * time.Millisecond // the command line asks again at once
	logPiece   = 1 << 20
)

// JobRef names a job in the path of a call. It is exported, as every embedded
// part of an input is, because huma passes over unexported ones.
type JobRef struct {
	Workspace string `path:"workspace"`
	ID        string `path:"id" doc:"Id of the job, a UUID"`
}

// Resolve brings the id into the form in which it is stored.
func (in *JobRef) Resolve(huma.Context) []error {
	id, err := canonicalID("id", in.ID)
	if err != nil {
		return []error{err}
	}
	in.ID = id
	return nil
}

// addJobs registers single jobs.
func (a *API) addJobs() {
	addJSON(a, "GET /api/w/{workspace}/jobs_u/get/{id}", "getJob", "A job, waiting, running or completed", a.getJob)
	addRaw(a, "GET /api/w/{workspace}/jobs_u/get_logs/{id}", "getJobLogs", "The log of a job", contentText,
		&huma.Schema{Type: huma.TypeString}, a.getLogs)
	addJSON(a, "GET /api/w/{workspace}/jobs_u/completed/get/{id}", "getCompletedJob", "A completed job; 404 until it is", a.getCompleted)
	addJSON(a, "GET /api/w/{workspace}/jobs_u/completed/get_result/{id}", "getCompletedJobResult", "The result of a completed job; 404 until it is", a.getResult)
	addJSON(a, "GET /api/w/{workspace}/jobs_u/completed/get_result_maybe/{id}", "getCompletedJobResultMaybe", "The result of a job, if it has one", a.getResultMaybe)
	addJSON(a, "GET /api/w/{workspace}/jobs_u/wait/{id}", "getJobWait", "Ours: why a job does not run; null if it does not wait", a.getWait)
	addJSON(a, "GET /api/w/{workspace}/jobs_u/get_root_job_id/{id}", "getRootJobId", "The id of the job at the top of a job's chain of parents", a.rootOf)
	addText(a, "POST /api/w/{workspace}/jobs_u/queue/cancel/{id}", "cancelQueuedJob", "Cancel a job, waiting or running",
		func(ctx context.Context, in *cancelIn) (string, error) { return a.cancel(ctx, in, false) })
	addText(a, "POST /api/w/{workspace}/jobs_u/queue/force_cancel/{id}", "forceCancelQueuedJob",
		"Cancel a job and end it for its callers at once; its slot stays with its process",
		func(ctx context.Context, in *cancelIn) (string, error) { return a.cancel(ctx, in, true) })
	addJSON(a, "POST /api/w/{workspace}/jobs/queue/cancel_selection", "cancelSelection", "Cancel jobs; answers with the ids of those that it cancelled", a.cancelSelection, inAdmins)
	addJSON(a, "GET /api/w/{workspace}/jobs/queue/position/{scheduled_for}", "getQueuePosition", "How many waiting jobs are due up to an instant", a.queuePosition)
	addJSON(a, "GET /api/w/{workspace}/jobs/queue/scheduled_for/{id}", "getScheduledFor", "When a job is due, in milliseconds since 1970", a.scheduledFor)
	addJSON(a, "GET /api/jobs/db_clock", "getDbClock", "The database's clock, in milliseconds since 1970",
		func(ctx context.Context, _ *none) (int64, error) {
			now, err := a.e.Now(ctx)
			return now.UnixMilli(), err
		})
}

// row returns a job without result and log. An empty workspace means any.
func (a *API) row(ctx context.Context, workspace, id string) (*sluice.Job, error) {
	jobs, err := a.e.Jobs(ctx, store.JobFilter{Workspace: workspace, IDs: []string{id}, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(jobs) == 0 {
		return nil, notFound("there is no job %s", id)
	}
	return jobs[0], nil
}

// ended returns a completed job.
func (a *API) ended(ctx context.Context, in *JobRef, logs bool) (*engine.JobView, error) {
	j, err := a.row(ctx, in.Workspace, in.ID)
	if err != nil {
		return nil, err
	}
	if j.State != sluice.StateCompleted {
		return nil, notFound("job %s has not ended yet", in.ID)
	}
	return a.e.Job(ctx, in.Workspace, in.ID, logs, false)
}

type getJobIn struct {
	JobRef
	NoLogs bool `query:"no_logs" doc:"Leave the log out"`
	NoCode bool `query:"no_code" doc:"Leave the code of a preview out"`
}

func (a *API) getJob(ctx context.Context, in *getJobIn) (jobJSON, error) {
	v, err := a.e.Job(ctx, in.Workspace, in.ID, !in.NoLogs, true)
	if err != nil {
		return jobJSON{}, err
	}
	if v.Wait != nil {
		if err := a.hideHolders(ctx, v.Wait); err != nil {
			return jobJSON{}, err
		}
	}
	f := fullForm(v, !in.NoLogs, !in.NoCode)
	return f, a.addFlowStatus(ctx, &f, v.Job, !in.NoCode)
}

// hideHolders obscures the holders in a wait that the caller may not see.
func (a *API) hideHolders(ctx context.Context, w *sluice.Wait) error {
	c := callerOf(ctx)
	if c.SuperAdmin || len(w.Slots) == 0 {
		return nil
	}
	var ids []string
	for _, s := range w.Slots {
		if s.JobID != "" {
			ids = append(ids, s.JobID)
		}
	}
	jobs, err := a.e.Jobs(ctx, store.JobFilter{IDs: ids, Limit: len(ids)})
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, j := range jobs {
		if seen[j.ID], err = a.seesJob(ctx, j); err != nil {
			return err
		}
	}
	obscureWait(w, seen)
	return nil
}

func (a *API) getLogs(ctx context.Context, in *JobRef) (func(huma.Context), error) {
	text, next, err := a.e.Log(ctx, in.Workspace, in.ID, 0, logPiece)
	if err != nil {
		return nil, err
	}
	return func(hc huma.Context) {
		hc.SetHeader("Content-Type", contentText)
		for text != "" {
			if _, err := io.WriteString(hc.BodyWriter(), text); err != nil {
				return
			}
			if text, next, err = a.e.Log(ctx, in.Workspace, in.ID, next, logPiece); err != nil {
				a.breakOff(ctx, err)
			}
		}
	}, nil
}

// breakOff ends an answer that has begun, so that its reader sees that it is
// not whole.
func (a *API) breakOff(ctx context.Context, err error) {
	if ctx.Err() == nil {
		a.log.Error("an answer broke off", "request", requestID(ctx), "error", err)
	}
	panic(http.ErrAbortHandler)
}

func (a *API) getCompleted(ctx context.Context, in *JobRef) (jobJSON, error) {
	v, err := a.ended(ctx, in, true)
	if err != nil {
		return jobJSON{}, err
	}
	f := fullForm(v, true, true)
	return f, a.addFlowStatus(ctx, &f, v.Job, true)
}

func (a *API) getResult(ctx context.Context, in *JobRef) (anyJSON, error) {
	v, err := a.ended(ctx, in, false)
	if err != nil {
		return nil, err
	}
	return resultOf(v.Job), nil
}

type maybeIn struct {
	JobRef
	GetStarted bool `query:"get_started"`
}

type maybeJSON struct {
	Completed bool    `json:"completed"`
	Success   *bool   `json:"success" nullable:"true"`
	Started   *bool   `json:"started" nullable:"true"`
	Result    anyJSON `json:"result"`
}

func (a *API) getResultMaybe(ctx context.Context, in *maybeIn) (maybeJSON, error) {
	j, err := a.row(ctx, in.Workspace, in.ID)
	if err != nil {
		return maybeJSON{}, err
	}
	if j.State != sluice.StateCompleted {
		out := maybeJSON{}
		if in.GetStarted {
			running := j.State == sluice.StateRunning
			out.Started = &running
		}
		return out, nil
	}
	v, err := a.e.Job(ctx, in.Workspace, in.ID, false, false)
	if err != nil {
		return maybeJSON{}, err
	}
	yes, success := true, v.Outcome == sluice.OutcomeSuccess
	return maybeJSON{Completed: true, Success: &success, Started: &yes, Result: resultOf(v.Job)}, nil
}

// whileOpen returns a context that also ends when the API is closed.
func (a *API) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(a.closed, cancel)
	return ctx, func() { stop(); cancel() }
}

func (a *API) getWait(ctx context.Context, in *JobRef) (*sluice.Wait, error) {
	w, err := a.e.Wait(ctx, in.Workspace, in.ID)
	if err != nil || w == nil {
		return nil, err
	}
	return w, a.hideHolders(ctx, w)
}

type cancelIn struct {
	JobRef
	Body *struct {
		Reason string `json:"reason" maxLength:"1000"`
	}
}

func (a *API) cancel(ctx context.Context, in *cancelIn, force bool) (string, error) {
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	noted(ctx, "reason", &reason)
	results, err := a.e.Cancel(ctx, in.Workspace, []string{in.ID}, callerOf(ctx).Username, reason, force)
	switch {
	case err != nil:
		return "", err
	case len(results) == 0:
		return "", notFound("there is no job %s", in.ID)
	case results[0].Already:
		return "", sluice.Errorf(sluice.CodeConflict, "job %s has already ended", in.ID)
	}
	return in.ID, nil
}

type selectionIn struct {
	Workspace    string   `path:"workspace"`
	ForceCancel  bool     `query:"force_cancel"`
	AllWorkspace bool     `query:"all_workspaces" doc:"In the workspace admins: jobs of any workspace"`
	Body         []string `required:"true" maxItems:"10000" doc:"Ids of jobs"`
}

func (a *API) cancelSelection(ctx context.Context, in *selectionIn) ([]string, error) {
	workspace := in.Workspace
	if workspace == adminsID {
		workspace = ""
	}
	ids := make([]string, 0, len(in.Body))
	for i, s := range in.Body {
		id, err := canonicalID(fmt.Sprintf("[%d]", i), s)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	out := []string{}
	ids, err := a.e.Steers(ctx, workspace, ids, who(ctx, in.Workspace))
	if err != nil || len(ids) == 0 {
		return out, err
	}
	results, err := a.e.Cancel(ctx, workspace, ids, callerOf(ctx).Username, "", in.ForceCancel)
	for _, r := range results {
		if !r.Already {
			out = append(out, r.ID)
		}
	}
	if sluice.CodeOf(err) == sluice.CodeNotFound {
		err = nil // the others were cancelled, and the answer says which
	}
	return out, err
}

type positionIn struct {
	Workspace    string `path:"workspace"`
	ScheduledFor int64  `path:"scheduled_for" doc:"Milliseconds since 1970"`
}

type queuePositionJSON struct {
	Position *int64 `json:"position,omitempty"`
}

func (a *API) queuePosition(ctx context.Context, in *positionIn) (queuePositionJSON, error) {
	n, err := a.e.CountJobs(ctx, store.JobFilter{
		States: []sluice.State{sluice.StateQueued}, DueBefore: time.UnixMilli(in.ScheduledFor + 1).Add(-time.Microsecond),
	})
	if err != nil || n == 0 {
		return queuePositionJSON{}, err
	}
	return queuePositionJSON{Position: &n}, nil
}

func (a *API) scheduledFor(ctx context.Context, in *JobRef) (int64, error) {
	j, err := a.row(ctx, in.Workspace, in.ID)
	if err != nil {
		return 0, err
	}
	if !j.Waiting() {
		return 0, notFound("job %s does not wait", in.ID)
	}
	return j.ScheduledFor.UnixMilli(), nil
}

// awaitEnd returns a job when it has ended, or a flow that gives its result
// before; nil if that takes longer than d.
func (a *API) awaitEnd(ctx context.Context, workspace, id string, d time.Duration) (*engine.JobView, error) {
	open, stop := a.whileOpen(ctx)
	defer stop()
	wait, cancel := context.WithTimeout(open, d)
	defer cancel()
	v, err := a.e.AwaitResult(wait, workspace, id)
	if err == nil {
		return v, nil
	}
	if wait.Err() != nil && ctx.Err() == nil && (errors.Is(err, wait.Err()) || errors.Is(err, context.Canceled)) {
		return nil, nil
	}
	return nil, err
}

// splitList reads a list that is separated by commas.
func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
