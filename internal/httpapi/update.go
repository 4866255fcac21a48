package httpapi

import (
	"context"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
)

// addUpdates registers what a running job says of itself, and how to follow it.
func (a *API) addUpdates() {
	addJSON(a, "GET /api/w/{workspace}/jobs_u/getupdate/{id}", "getJobUpdates", "What is new about a job; waits a moment if nothing is", a.getUpdate)
	addRaw(a, "GET /api/w/{workspace}/jobs_u/getupdate_sse/{id}", "getJobUpdatesSSE", "What is new about a job, as it happens, until it has ended", contentSSE,
		&huma.Schema{Type: huma.TypeString, Description: `data: {"type": "update", …} as getupdate answers, or {"type": "ping"}`}, a.followUpdates)
	addJSON(a, "POST /api/w/{workspace}/job_metrics/set_progress/{id}", "setJobProgress", "Say how far a running job is", a.setProgress)
	addJSON(a, "GET /api/w/{workspace}/job_metrics/get_progress/{id}", "getJobProgress", "How far a job is, in percent; null if it never said", a.getProgress)
}

type updateIn struct {
	JobRef
	Running      bool  `query:"running" doc:"Whether the caller knows that the job runs"`
	LogOffset    int64 `query:"log_offset" minimum:"0" doc:"UTF-16 code units of the log that the caller has"`
	StreamOffset int64 `query:"stream_offset" minimum:"0" doc:"UTF-16 code units of the result stream that the caller has"`
}

type updateJSON struct {
	Type         string   `json:"type,omitempty" doc:"Of an event: update"`
	Running      bool     `json:"running"`
	Completed    bool     `json:"completed"`
	NewLogs      *string  `json:"new_logs" nullable:"true"`
	LogOffset    int64    `json:"log_offset" doc:"UTF-16 code units"`
	NewStream    *string  `json:"new_result_stream,omitempty"`
	StreamOffset *int64   `json:"stream_offset,omitempty" doc:"UTF-16 code units"`
	MemPeak      int64    `json:"mem_peak"`
	Progress     *int     `json:"progress,omitempty" doc:"Percent"`
	FlowStatus   *anyJSON `json:"flow_status" doc:"Of a flow: how far it is; else null"`
	Job          *jobJSON `json:"job,omitempty" doc:"Of the last event: the completed job, without its log"`
}

func updateForm(u *engine.Update) updateJSON {
	out := updateJSON{
		Running: u.Job.State == sluice.StateRunning, Completed: u.Job.State == sluice.StateCompleted, LogOffset: u.LogEnd,
		Progress: u.Job.Progress,
	}
	if u.NewLogs != "" {
		out.NewLogs = &u.NewLogs
	}
	if u.NewStream != "" {
		out.NewStream = &u.NewStream
	}
	if u.StreamEnd > 0 {
		out.StreamOffset = &u.StreamEnd
	}
	return out
}

func (a *API) getUpdate(ctx context.Context, in *updateIn) (updateJSON, error) {
	ctx, cancel := a.whileOpen(ctx)
	defer cancel()
	u, err := a.e.AwaitUpdate(ctx, in.Workspace, in.ID, engine.Seen{Running: in.Running, FromLog: in.LogOffset, FromStream: in.StreamOffset}, updateHold)
	if err != nil {
		return updateJSON{}, err
	}
	f := updateForm(u)
	f.FlowStatus, err = a.flowStatusOf(ctx, u.Job)
	return f, err
}

func (a *API) followUpdates(ctx context.Context, in *updateIn) (func(huma.Context), error) {
	if _, err := a.row(ctx, in.Workspace, in.ID); err != nil {
		return nil, err
	}
	return func(hc huma.Context) {
		s := a.begin(hc)
		defer s.end()
		seen := engine.Seen{Running: in.Running, FromLog: in.LogOffset, FromStream: in.StreamOffset}
		for {
			u, err := a.e.AwaitUpdate(s.ctx, in.Workspace, in.ID, seen, heartbeat)
			if err != nil {
				if s.ctx.Err() == nil {
					a.log.Error("an event stream broke off", "request", requestID(s.ctx), "error", err)
				}
				return
			}
			out, last, err := a.nextUpdate(s.ctx, in, u)
			if err != nil || !s.data(out) || last {
				return
			}
			seen = engine.Seen{Running: u.Job.State == sluice.StateRunning, FromLog: u.LogEnd, FromStream: u.StreamEnd}
		}
	}, nil
}

// nextUpdate makes the event of an update. The last one says that the job is
// completed; all text has been sent before or goes with it.
func (a *API) nextUpdate(ctx context.Context, in *updateIn, u *engine.Update) (out any, last bool, err error) {
	f := updateForm(u)
	f.Type = "update"
	if f.FlowStatus, err = a.flowStatusOf(ctx, u.Job); err != nil {
		return nil, true, err
	}
	if !f.Completed {
		if f.NewLogs == nil && f.NewStream == nil && in.Running == f.Running && f.FlowStatus == nil {
			return map[string]string{"type": "ping"}, false, nil
		}
		in.Running = f.Running
		return f, false, nil
	}
	if f.NewLogs != nil || f.NewStream != nil { // there may be more than one answer holds
		f.Completed = false
		return f, false, nil
	}
	v, err := a.e.Job(ctx, in.Workspace, in.ID, false, false)
	if err != nil {
		return nil, true, err
	}
	full := fullForm(v, false, false)
	f.Job = &full
	return f, true, a.addFlowStatus(ctx, f.Job, v.Job, false)
}

// data writes an event without a name.
func (s *sseWriter) data(v any) bool {
	b, err := marshal(v)
	return err == nil && s.write(fmt.Appendf(nil, "data: %s\n\n", b))
}

type progressIn struct {
	JobRef
	Body struct {
		Percent   float64 `json:"percent" required:"true" minimum:"0" maximum:"100"`
		FlowJobID string  `json:"flow_job_id,omitempty" doc:"Id of the flow's job that this job is a step of"`
	} `required:"true"`
}

func (a *API) setProgress(ctx context.Context, in *progressIn) (anyJSON, error) {
	if in.Body.FlowJobID != "" {
		if _, err := canonicalID("flow_job_id", in.Body.FlowJobID); err != nil {
			return nil, err
		}
	}
	if err := a.mayReport(ctx, &in.JobRef); err != nil {
		return nil, err
	}
	return anyJSON("null"), a.e.SetProgress(ctx, in.Workspace, in.ID, int(in.Body.Percent))
}

func (a *API) getProgress(ctx context.Context, in *JobRef) (*int, error) {
	return a.e.Progress(ctx, in.Workspace, in.ID)
}
