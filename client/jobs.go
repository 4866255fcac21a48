package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice"
)

const typeCompleted = "CompletedJob"

// Job is a job as the server shows it. Which of its fields are filled depends
// on the call: lists and events leave out Args, Result, Logs and Wait.
type Job struct {
	ID             string          `json:"id"`
	Workspace      string          `json:"workspace_id,omitempty"`
	Type           string          `json:"type,omitempty"` // QueuedJob or CompletedJob
	Kind           sluice.Kind     `json:"job_kind,omitempty"`
	Path           string          `json:"script_path,omitempty"`
	Hash           string          `json:"script_hash,omitempty"`
	Language       string          `json:"language,omitempty"`
	Tag            string          `json:"tag,omitempty"`
	Priority       int             `json:"priority,omitempty"`
	CreatedBy      string          `json:"created_by,omitempty"`
	CreatedAt      time.Time       `json:"created_at"`
	ScheduledFor   *time.Time      `json:"scheduled_for,omitempty"`
	StartedAt      *time.Time      `json:"started_at,omitempty"`
	CompletedAt    *time.Time      `json:"completed_at,omitempty"`
	DurationMS     *int64          `json:"duration_ms,omitempty"`
	Running        bool            `json:"running,omitempty"`
	Success        *bool           `json:"success,omitempty"`
	Canceled       bool            `json:"canceled,omitempty"`
	CanceledBy     string          `json:"canceled_by,omitempty"`
	CanceledReason string          `json:"canceled_reason,omitempty"`
	Worker         string          `json:"worker,omitempty"`
	Labels         []string        `json:"labels,omitempty"`
	ParentJob      string          `json:"parent_job,omitempty"`
	RootJob        string          `json:"root_job,omitempty"`
	Args           json.RawMessage `json:"args,omitempty"`
	Result         json.RawMessage `json:"result,omitempty"`
	Logs           string          `json:"logs,omitempty"`
	Wait           *sluice.Wait    `json:"wait,omitempty"` // why it does not run, while it waits
	// Of a step of a flow: the module that it runs, and its iteration or branch.
	Step  string `json:"flow_step_id,omitempty"`
	StepN *int   `json:"flow_step_n,omitempty"`
	// Of a flow: what it runs, and how far it is.
	RawFlow    json.RawMessage `json:"raw_flow,omitempty"`
	FlowStatus *FlowStatus     `json:"flow_status,omitempty"`
}

// FlowStatus is how far a flow is.
type FlowStatus struct {
	Step         int            `json:"step"` // index of the module that is at work
	Modules      []ModuleStatus `json:"modules"`
	Failure      *ModuleStatus  `json:"failure_module,omitempty"`
	Preprocessor *ModuleStatus  `json:"preprocessor_module,omitempty"`
}

// ModuleStatus is how far a module of a flow is. Type is one of Windmill's:
// WaitingForPriorSteps, WaitingForExecutor, WaitingForEvents, InProgress,
// Success and Failure.
type ModuleStatus struct {
	Type    string   `json:"type"`
	ID      string   `json:"id"`
	Job     string   `json:"job,omitempty"`
	Jobs    []string `json:"flow_jobs,omitempty"`         // of a loop or branchall
	Success []*bool  `json:"flow_jobs_success,omitempty"` // of each; nil: it has not ended
	Retries []string `json:"failed_retries,omitempty"`    // jobs of attempts that failed
	Skipped bool     `json:"skipped,omitempty"`
	// Of WaitingForEvents: how many approvals it needs, when it fails without
	// them (nil: never), and those that have come.
	Needed    *int       `json:"count,omitempty"`
	Until     *time.Time `json:"until,omitempty"`
	Approvers []Approver `json:"approvers,omitempty"`
	// Of a loop or branchall.
	Iterations *Iterations `json:"iterations,omitempty"`
}

// Approver is somebody who has approved a step.
type Approver struct {
	ResumeID int64  `json:"resume_id"`
	Name     string `json:"approver"` // "": nobody said who it was
}

// Iterations counts those of a loop, or branches.
type Iterations struct {
	Total  *int `json:"total"` // nil: not known yet
	Begun  int  `json:"begun"`
	Done   int  `json:"done"`
	Failed int  `json:"failed"`
}

// Completed reports whether the job has ended.
func (j *Job) Completed() bool { return j.Type == typeCompleted || j.Success != nil }

// Outcome says how the job ended; [sluice.OutcomeNone] if it has not.
func (j *Job) Outcome() sluice.Outcome {
	switch {
	case !j.Completed():
		return sluice.OutcomeNone
	case j.Canceled:
		return sluice.OutcomeCanceled
	case j.Success != nil && !*j.Success:
		return sluice.OutcomeFailure
	}
	return sluice.OutcomeSuccess
}

// RunRequest asks for one run. Exactly one of Path, Hash, Preview, FlowPath and
// FlowPreview names what to run; everything else may be left zero.
type RunRequest struct {
	Path         string          `json:"path,omitempty"`
	Hash         string          `json:"hash,omitempty"`
	Preview      *Preview        `json:"preview,omitempty"`
	FlowPath     string          `json:"flow_path,omitempty"`
	FlowPreview  *FlowPreview    `json:"flow_preview,omitempty"`
	Args         json.RawMessage `json:"args,omitempty"`   // a JSON object
	ID           string          `json:"job_id,omitempty"` // a UUID, see [NewID]; pushing it twice is pushing it once
	ScheduledFor *time.Time      `json:"scheduled_for,omitempty"`
	ScheduledIn  int64           `json:"scheduled_in_secs,omitempty"`
	Priority     *int            `json:"priority,omitempty"`
	Tag          string          `json:"tag,omitempty"`
	QueueLimit   *int64          `json:"queue_limit,omitempty"` // refuse if more than this many would wait in the group
	MaxWait      int64           `json:"max_wait_s,omitempty"`  // fail if not started so long after it is due
	Timeout      int64           `json:"timeout,omitempty"`     // seconds that it may run
}

// Preview is code to run without saving it.
type Preview struct {
	Content         string `json:"content"`
	Language        string `json:"language"`
	Path            string `json:"path,omitempty"`
	ConcurrentLimit *int   `json:"concurrent_limit,omitempty"`
	WindowS         *int   `json:"concurrency_time_window_s,omitempty"`
	Key             string `json:"concurrency_key,omitempty"`
	WindowFrom      string `json:"concurrency_window_from,omitempty"`
}

// FlowPreview is a flow to run without saving it.
type FlowPreview struct {
	Value json.RawMessage `json:"value"`
	Path  string          `json:"path,omitempty"` // names the keys of its limits
}

// NewID draws a random UUID for [RunRequest.ID].
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Run pushes one job and returns its id. Without an id of the caller's it
// draws one, so that it can repeat the call.
func (c *Client) Run(ctx context.Context, r RunRequest) (string, error) {
	ids, err := c.RunBulk(ctx, []RunRequest{r})
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// RunBulk pushes 1 … [sluice.MaxBulk] jobs, all or none, and returns their
// ids in order. It draws the ids that are missing.
func (c *Client) RunBulk(ctx context.Context, jobs []RunRequest) ([]string, error) {
	body := struct {
		Jobs []RunRequest `json:"jobs"`
	}{append([]RunRequest(nil), jobs...)}
	for i := range body.Jobs {
		if body.Jobs[i].ID == "" {
			body.Jobs[i].ID = NewID()
		}
	}
	r := post(c.in("jobs/run/bulk"), body)
	r.repeat = true // every job has an id
	answer, err := fetch[struct {
		IDs []string `json:"ids"`
	}](ctx, c, r)
	if err != nil {
		return nil, singular(err, len(jobs))
	}
	if len(answer.IDs) != len(jobs) {
		return nil, sluice.Errorf(sluice.CodeInternal, "the server took %d jobs and named %d", len(jobs), len(answer.IDs))
	}
	return answer.IDs, nil
}

// singular takes the jobs[0]. out of the message about a single job.
func singular(err error, jobs int) error {
	e, ok := err.(*sluice.Error) //nolint:errorlint // the client's own, never wrapped
	if jobs == 1 && ok {
		e.Message = strings.Replace(e.Message, "jobs[0].", "", 1)
	}
	return err
}

// Job returns a job with its arguments, its result once it is completed, and
// why it waits while it does.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	return fetch[*Job](ctx, c, get(c.in("jobs_u/get/"+escapeSegment(id)), url.Values{"no_logs": {"true"}}))
}

// RestartFlow runs a flow that has ended again from one of its steps on, of a
// loop or a branchall from iteration or branch number part on, counted from 0;
// what ran before is taken over. It returns the id of the new run.
func (c *Client) RestartFlow(ctx context.Context, id, step string, part int) (string, error) {
	body := map[string]any{"step_id": step}
	if part > 0 {
		body["branch_or_iteration_n"] = part
	}
	again, err := fetch[string](ctx, c, post(c.in("jobs/restart/f/"+escapeSegment(id)), body))
	return strings.TrimSpace(again), err
}

// JobFilter selects jobs of the workspace; zero fields do not select.
type JobFilter struct {
	Path     string
	Parent   string // id of a job: those that it pushed
	Steps    *bool  // only steps of flows, or none of them
	Running  *bool
	Success  *bool
	Canceled *bool
	Tag      string
	Worker   string
	Page     int // from 1
	PerPage  int // 0: the server's default
}

// Jobs lists jobs, newest first, without arguments and results.
func (c *Client) Jobs(ctx context.Context, f JobFilter) ([]Job, error) {
	q := url.Values{}
	text := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	flag := func(name string, value *bool) {
		if value != nil {
			q.Set(name, strconv.FormatBool(*value))
		}
	}
	number := func(name string, value int) {
		if value != 0 {
			q.Set(name, strconv.Itoa(value))
		}
	}
	text("script_path_exact", f.Path)
	text("parent_job", f.Parent)
	flag("is_flow_step", f.Steps)
	text("tag", f.Tag)
	text("worker", f.Worker)
	flag("running", f.Running)
	flag("success", f.Success)
	flag("canceled", f.Canceled)
	number("page", f.Page)
	number("per_page", f.PerPage)
	return fetch[[]Job](ctx, c, get(c.in("jobs/list"), q))
}

// GroupJobs lists jobs of a concurrency group, newest first. Jobs that the
// caller may not read are left out; hidden says how many.
func (c *Client) GroupJobs(ctx context.Context, key string, most int) (jobs []Job, hidden int, err error) {
	q := url.Values{"concurrency_key": {key}}
	if most > 0 {
		q.Set("row_limit", strconv.Itoa(most))
	}
	answer, err := fetch[struct {
		Jobs     []Job             `json:"jobs"`
		Obscured []json.RawMessage `json:"obscured_jobs"`
	}](ctx, c, get(c.in("concurrency_groups/list_jobs"), q))
	return answer.Jobs, len(answer.Obscured), err
}

// Completed returns a job that has ended, with result and log; code not_found
// until then.
func (c *Client) Completed(ctx context.Context, id string) (*Job, error) {
	j, err := fetch[Job](ctx, c, get(c.in("jobs_u/completed/get/"+escapeSegment(id)), nil))
	if err != nil {
		return nil, err
	}
	j.Type = typeCompleted
	return &j, nil
}

// Logs returns the whole log of a job so far.
func (c *Client) Logs(ctx context.Context, id string) (string, error) {
	return fetch[string](ctx, c, get(c.in("jobs_u/get_logs/"+escapeSegment(id)), nil))
}

// Update is what changed about a job since a caller last looked.
type Update struct {
	Running   bool   `json:"running"`
	Completed bool   `json:"completed"`
	NewLogs   string `json:"new_logs"`
	NewStream string `json:"new_result_stream"` // of the result that it streams (WM_STREAM)
	LogOffset int64  `json:"log_offset"`        // UTF-16 code units; ask from here next time
	// StreamOffset is the same of the stream; 0: there is none.
	StreamOffset int64 `json:"stream_offset"`
	// FlowStatus is how far a flow is; nil for other jobs.
	FlowStatus *FlowStatus `json:"flow_status"`
}

// Seen is what a caller of [Client.Update] knows of a job already; the zero
// value: nothing.
type Seen struct {
	Running      bool
	LogOffset    int64 // UTF-16 code units
	StreamOffset int64 // UTF-16 code units
}

// Update waits, for about a second at most, until a job's log or the result that
// it streams is longer than what was seen, or its state is another.
func (c *Client) Update(ctx context.Context, id string, seen Seen) (*Update, error) {
	q := url.Values{"running": {strconv.FormatBool(seen.Running)}, "log_offset": {strconv.FormatInt(seen.LogOffset, 10)}}
	if seen.StreamOffset > 0 {
		q.Set("stream_offset", strconv.FormatInt(seen.StreamOffset, 10))
	}
	return fetch[*Update](ctx, c, get(c.in("jobs_u/getupdate/"+escapeSegment(id)), q))
}

// Wait says why a job does not run; nil if it does not wait.
func (c *Client) Wait(ctx context.Context, id string) (*sluice.Wait, error) {
	return fetch[*sluice.Wait](ctx, c, get(c.in("jobs_u/wait/"+escapeSegment(id)), nil))
}

// Cancel cancels a job: one that waits ends at once, one that runs is ended
// by its worker. With force, one that runs ends for its callers at once, while
// its slot stays with its process.
func (c *Client) Cancel(ctx context.Context, id, reason string, force bool) error {
	route := "jobs_u/queue/cancel/"
	if force {
		route = "jobs_u/queue/force_cancel/"
	}
	return c.do(ctx, post(c.in(route+escapeSegment(id)), map[string]string{"reason": reason}))
}

// Now reads the server's clock, to the millisecond.
func (c *Client) Now(ctx context.Context) (time.Time, error) {
	ms, err := fetch[int64](ctx, c, get("jobs/db_clock", nil))
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(ms).UTC(), nil
}

// Version returns the server's version line. It needs no token.
func (c *Client) Version(ctx context.Context) (string, error) {
	s, err := fetch[string](ctx, c, get("version", nil))
	return strings.TrimSpace(s), err
}
