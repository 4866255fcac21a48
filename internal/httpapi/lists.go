package httpapi

import (
	"bufio"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

const (
	listPiece      = 200     // jobs read at once: a list is written while it is read
	defaultPerPage = 30      // jobs/list and the like
	mostPerPage    = 100_000 // Windmill's command line asks for so many
)

// Paging are the parameters of a page of a list. Pages count from 1; page 0 is
// page 1.
type Paging struct {
	Page    int `query:"page" minimum:"0" maximum:"1000000000" doc:"From 1; 0 is 1"`
	PerPage int `query:"per_page" minimum:"0" maximum:"100000" doc:"Entries of a page"`
}

// window returns where the page begins and how many entries it has.
func (p Paging) window(usual, most int) (offset, limit int) {
	limit = p.PerPage
	if limit == 0 {
		limit = usual
	}
	limit = min(limit, most)
	return (max(p.Page, 1) - 1) * limit, limit
}

func (p Paging) skipsFirst() bool { return p.Page > 1 }

// JobQuery are the parameters that select jobs.
type JobQuery struct {
	Paging
	AllWorkspaces          bool           `query:"all_workspaces" doc:"In the workspace admins: jobs of all workspaces"`
	CreatedBy              string         `query:"created_by" doc:"A list: a,b means one of them, !a,b none of them; so do path, hash, worker, tag and label"`
	ParentJob              string         `query:"parent_job"`
	PathExact              string         `query:"script_path_exact"`
	PathStart              string         `query:"script_path_start"`
	Hash                   string         `query:"script_hash"`
	Worker                 string         `query:"worker"`
	Tag                    string         `query:"tag"`
	Label                  string         `query:"label"`
	Broad                  string         `query:"broad_filter" maxLength:"255" doc:"A part of path, tag, creator or worker"`
	AllowWildcards         bool           `query:"allow_wildcards" doc:"In lists, * stands for any text"`
	Args                   string         `query:"args" doc:"JSON that the arguments contain"`
	Result                 string         `query:"result" doc:"JSON that the result contains"`
	JobKinds               string         `query:"job_kinds" doc:"Separated by commas; a leading ! means all others"`
	Running                optional[bool] `query:"running"`
	Success                optional[bool] `query:"success"`
	Status                 string         `query:"status" enum:"success,failure,canceled" doc:"Ours: jobs that ended so, and no others"`
	HasNullParent          optional[bool] `query:"has_null_parent"`
	IsFlowStep             optional[bool] `query:"is_flow_step"`
	ScheduledForBeforeNow  bool           `query:"scheduled_for_before_now"`
	ScheduledForAfterNow   bool           `query:"scheduled_for_after_now" doc:"Ours: jobs that are not due yet, and no others"`
	CreatedBefore          time.Time      `query:"created_before"`
	CreatedAfter           time.Time      `query:"created_after"`
	CreatedBeforeQueue     time.Time      `query:"created_before_queue"`
	CreatedAfterQueue      time.Time      `query:"created_after_queue"`
	StartedBefore          time.Time      `query:"started_before"`
	StartedAfter           time.Time      `query:"started_after"`
	CreatedOrStartedBefore time.Time      `query:"created_or_started_before"`
	CreatedOrStartedAfter  time.Time      `query:"created_or_started_after"`
	CompletedBefore        time.Time      `query:"completed_before"`
	CompletedAfter         time.Time      `query:"completed_after"`
	OrderDesc              optional[bool] `query:"order_desc" doc:"Newest first; true if left out"`
	SchedulePath           string         `query:"schedule_path"`
	TriggerKind            string         `query:"trigger_kind" doc:"schedule is the only one yet"`
	IsNotSchedule          bool           `query:"is_not_schedule"`
	IsSkipped              optional[bool] `query:"is_skipped" doc:"Runs that a schedule has left out, and flows that a step has stopped as skipped; false: all others"`
	Suspended              bool           `query:"suspended" doc:"Flows that wait for an approval"`
}

// selected makes a filter. none means that no job can match.
func (q *JobQuery) selected(workspace string) (f engine.Search, none bool, err error) {
	switch {
	case q.AllWorkspaces && workspace != adminsID && workspace != "":
		return f, false, sluice.Invalid("all_workspaces", "ask it in the workspace %q", adminsID)
	case q.Success.Set && q.Running.Set && q.Running.Value:
		return f, false, sluice.Invalid("success", "a job that runs has neither succeeded nor failed; leave success or running out")
	}
	f.JobFilter = store.JobFilter{
		Workspace: workspace, NoParent: q.HasNullParent.Set && q.HasNullParent.Value, HasParent: q.HasNullParent.Set && !q.HasNullParent.Value,
		Steps: q.IsFlowStep.Set && q.IsFlowStep.Value, NoSteps: q.IsFlowStep.Set && !q.IsFlowStep.Value,
		CreatedAfter: latest(q.CreatedAfter, q.CreatedAfterQueue, q.CreatedOrStartedAfter), CreatedBefore: earliest(q.CreatedBefore, q.CreatedBeforeQueue, q.CreatedOrStartedBefore),
		StartedAfter: q.StartedAfter, StartedBefore: q.StartedBefore,
		CompletedAfter: q.CompletedAfter, CompletedBefore: q.CompletedBefore,
		OldestFirst: q.OrderDesc.Set && !q.OrderDesc.Value,
	}
	if err := q.among(&f.JobFilter); err != nil {
		return f, false, err
	}
	if err := q.contains(&f); err != nil {
		return f, false, err
	}
	if q.AllWorkspaces {
		f.Workspace = ""
	}
	if q.ParentJob != "" {
		if f.ParentJob, err = canonicalID("parent_job", q.ParentJob); err != nil {
			return f, false, err
		}
	}
	none = q.nobody()
	f.States, f.Suspended = q.states(), q.Suspended
	if f.Kinds = kindsOf(q.JobKinds); f.Kinds != nil && len(f.Kinds) == 0 || len(f.States) == 0 {
		none = true
	}
	f.Outcomes = q.outcomes()
	return f, none || f.Outcomes != nil && len(f.Outcomes) == 0, nil
}

// outcomes returns how the jobs ended that the query asks for: nil means all,
// an empty list that it asks for what excludes itself.
func (q *JobQuery) outcomes() []sluice.Outcome {
	of := map[string]sluice.Outcome{"success": sluice.OutcomeSuccess, "failure": sluice.OutcomeFailure, "canceled": sluice.OutcomeCanceled}
	var asked []sluice.Outcome
	if q.Success.Set {
		asked = []sluice.Outcome{sluice.OutcomeFailure, sluice.OutcomeCanceled}
		if q.Success.Value {
			asked = []sluice.Outcome{sluice.OutcomeSuccess}
		}
	}
	switch {
	case q.Status == "":
		return asked
	case asked != nil && !slices.Contains(asked, of[q.Status]):
		return []sluice.Outcome{}
	}
	return []sluice.Outcome{of[q.Status]}
}

// selected makes a filter of what the caller may see.
func (a *API) selected(ctx context.Context, q *JobQuery, workspace string) (f engine.Search, none bool, err error) {
	if f, none, err = q.selected(workspace); err == nil {
		f.Sight = who(ctx, workspace).Sight()
	}
	return f, none, err
}

// states returns the states that the query leaves.
func (q *JobQuery) states() []sluice.State {
	states := []sluice.State{sluice.StateScheduled, sluice.StateQueued, sluice.StateRunning, sluice.StateCompleted}
	drop := func(gone ...sluice.State) {
		states = slices.DeleteFunc(states, func(s sluice.State) bool { return slices.Contains(gone, s) })
	}
	if q.Running.Set && q.Running.Value {
		drop(sluice.StateScheduled, sluice.StateQueued, sluice.StateCompleted)
	} else if q.Running.Set {
		drop(sluice.StateRunning)
	}
	if q.ScheduledForBeforeNow {
		drop(sluice.StateScheduled)
	}
	if q.ScheduledForAfterNow {
		drop(sluice.StateQueued, sluice.StateRunning, sluice.StateCompleted)
	}
	if q.Success.Set || q.Status != "" || q.IsSkipped.Set && q.IsSkipped.Value || !q.CompletedAfter.IsZero() || !q.CompletedBefore.IsZero() {
		drop(sluice.StateScheduled, sluice.StateQueued, sluice.StateRunning)
	}
	return states
}

// jobKinds are all kinds of jobs.
var jobKinds = []sluice.Kind{
	sluice.KindScript, sluice.KindPreview, sluice.KindDependencies, sluice.KindFlow, sluice.KindFlowPreview, sluice.KindFlowScript,
}

// kindsOf reads job_kinds: nil means all, an empty list none that we have.
func kindsOf(s string) []sluice.Kind {
	if s == "" {
		return nil
	}
	names, negated := strings.CutPrefix(s, "!")
	asked := splitList(names)
	out := []sluice.Kind{}
	for _, k := range jobKinds {
		if slices.Contains(asked, string(k)) != negated {
			out = append(out, k)
		}
	}
	return out
}

func latest(ts ...time.Time) (t time.Time) {
	for _, u := range ts {
		if u.After(t) {
			t = u
		}
	}
	return t
}

func earliest(ts ...time.Time) (t time.Time) {
	for _, u := range ts {
		if !u.IsZero() && (t.IsZero() || u.Before(t)) {
			t = u
		}
	}
	return t
}

// within keeps the states of a filter that are in those given.
func within(f *engine.Search, states ...sluice.State) (none bool) {
	f.States = slices.DeleteFunc(f.States, func(s sluice.State) bool { return !slices.Contains(states, s) })
	return len(f.States) == 0
}

type listIn struct {
	WorkspaceRef
	JobQuery
	KeyFilter
}

var (
	queueStates = []sluice.State{sluice.StateScheduled, sluice.StateQueued, sluice.StateRunning}
	allStates   = []sluice.State{sluice.StateScheduled, sluice.StateQueued, sluice.StateRunning, sluice.StateCompleted}
)

// addLists registers lists and counts of jobs.
func (a *API) addLists() {
	jobs := a.listSchema("Job", jobJSON{})
	ids := &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString, Format: "uuid"}}
	list := func(route, id, summary string, usual int, states ...sluice.State) {
		addRaw(a, route, id, summary, contentJSON, jobs, func(ctx context.Context, in *listIn) (func(huma.Context), error) {
			f, none, err := a.selected(ctx, &in.JobQuery, in.Workspace)
			if err != nil {
				return nil, err
			}
			f.Key = in.key
			return a.writeJobs(ctx, f, none || within(&f, states...), in.Paging, usual, func(j *sluice.Job) any { return jobForm(j) })
		}, inAdmins, keyParam)
	}
	list("GET /api/w/{workspace}/jobs/list", "listJobs", "Jobs in any state, newest first, without arguments and results", defaultPerPage, allStates...)
	list("GET /api/w/{workspace}/jobs/queue/list", "listQueue", "Jobs that have not ended, newest first", 1000, queueStates...)
	list("GET /api/w/{workspace}/jobs/completed/list", "listCompletedJobs", "Jobs that have ended, newest first", 1000, sluice.StateCompleted)

	uuids := func(route, id, summary string, states ...sluice.State) {
		addRaw(a, route, id, summary, contentJSON, ids, func(ctx context.Context, in *idsIn) (func(huma.Context), error) {
			f, none, err := a.selected(ctx, &in.JobQuery, in.Workspace)
			if err != nil {
				return nil, err
			}
			f.Key = in.key
			return a.writeJobs(ctx, f, none || within(&f, states...), in.Paging, 1000, func(j *sluice.Job) any { return j.ID })
		}, inAdmins, keyParam)
	}
	uuids("GET /api/w/{workspace}/jobs/list_filtered_uuids", "listFilteredJobsUuids", "Ids of jobs in any state", allStates...)
	uuids("GET /api/w/{workspace}/jobs/queue/list_filtered_uuids", "listFilteredQueueUuids", "Ids of jobs that have not ended", queueStates...)

	count := func(route, id, summary string, states ...sluice.State) {
		addJSON(a, route, id, summary, func(ctx context.Context, in *listIn) (queueCountJSON, error) {
			f, none, err := a.selected(ctx, &in.JobQuery, in.Workspace)
			if err != nil || none || within(&f, states...) {
				return queueCountJSON{}, err
			}
			f.Key = in.key
			n, err := a.e.SearchCount(ctx, f)
			return queueCountJSON{DatabaseLength: n}, err
		}, inAdmins, keyParam)
	}
	count("GET /api/w/{workspace}/jobs/queue/count", "getQueueCount", "How many jobs are due and wait", sluice.StateQueued)
	count("GET /api/w/{workspace}/jobs/completed/count", "getCompletedCount", "How many jobs have ended", sluice.StateCompleted)
	addJSON(a, "GET /api/w/{workspace}/jobs/completed/count_jobs", "countCompletedJobs", "How many jobs have ended lately", a.countCompleted, inAdmins)
	addJSON(a, "GET /api/jobs/completed/count_by_tag", "countCompletedJobsByTag", "How many jobs ended lately, by tag", a.countByTag)
}

func (a *API) listSchema(hint string, of any) *huma.Schema {
	return &huma.Schema{Type: huma.TypeArray, Items: a.schemaOf(hint, of)}
}

type countByTagIn struct {
	Horizon   int64  `query:"horizon_secs" minimum:"0" maximum:"315360000" default:"3600" doc:"Seconds to look back"`
	Workspace string `query:"workspace_id"`
}

func (a *API) countByTag(ctx context.Context, in *countByTagIn) ([]tagCountJSON, error) {
	switch c := callerOf(ctx); {
	case in.Workspace == "" && !c.SuperAdmin:
		return nil, sluice.Invalid("workspace_id", "is required: only an administrator of the instance sees all workspaces")
	case in.Workspace != "" && !c.memberOf(in.Workspace):
		return nil, noWorkspace(in.Workspace)
	}
	byTag, err := a.e.CompletedByTag(ctx, in.Workspace, seconds(in.Horizon))
	out := make([]tagCountJSON, 0, len(byTag))
	for tag, n := range byTag {
		out = append(out, tagCountJSON{Tag: tag, Count: n})
	}
	slices.SortFunc(out, func(x, y tagCountJSON) int {
		if x.Count != y.Count {
			return int(min(max(y.Count-x.Count, -1), 1))
		}
		return strings.Compare(x.Tag, y.Tag)
	})
	return out, err
}

// writeJobs returns what writes a list of jobs, reading it piece by piece, so
// that a long list takes no more memory than a short one.
func (a *API) writeJobs(ctx context.Context, f engine.Search, none bool, p Paging, usual int, form func(*sluice.Job) any) (func(huma.Context), error) {
	var left int
	f.Offset, left = p.window(usual, mostPerPage)
	next := func() ([]*sluice.Job, error) {
		f.Limit = min(left, listPiece)
		if none || f.Limit == 0 {
			return nil, nil
		}
		jobs, err := a.e.Search(ctx, f)
		left -= len(jobs)
		none = len(jobs) < f.Limit
		if len(jobs) > 0 {
			f.Offset, f.AfterSeq = 0, jobs[len(jobs)-1].Seq
		}
		return jobs, err
	}
	jobs, err := next() // before the status is sent
	if err != nil {
		return nil, err
	}
	return func(hc huma.Context) {
		hc.SetHeader("Content-Type", contentJSON)
		b := bufio.NewWriterSize(hc.BodyWriter(), writePiece)
		_ = b.WriteByte('[') // the error of a writer shows at Flush
		comma := false
		for len(jobs) > 0 {
			for _, j := range jobs {
				if comma {
					_ = b.WriteByte(',')
				}
				comma = true
				text, err := marshal(form(j))
				if err != nil {
					a.breakOff(ctx, err)
				}
				_, _ = b.Write(text)
			}
			if b.Flush() != nil {
				return
			}
			if jobs, err = next(); err != nil {
				a.breakOff(ctx, err)
			}
		}
		_ = b.WriteByte(']')
		_ = b.Flush() // whoever left does not read it
	}, nil
}
