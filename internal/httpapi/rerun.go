package httpapi

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

type rerunOptions struct {
	Latest bool `json:"use_latest_version" doc:"Run the newest version instead of the one that ran"`
	Inputs map[string]struct {
		Type  string  `json:"type"`
		Value anyJSON `json:"value"`
	} `json:"input_transforms" doc:"Arguments to replace; only those of type static are supported"`
}

type rerunIn struct {
	WorkspaceRef
	Body struct {
		IDs     []string                `json:"job_ids" required:"true" minItems:"1" maxItems:"1000"`
		Scripts map[string]rerunOptions `json:"script_options_by_path"`
		Flows   map[string]rerunOptions `json:"flow_options_by_path"`
	} `required:"true"`
}

// addRerun registers the call that runs jobs again.
func (a *API) addRerun() {
	addText(a, "POST /api/w/{workspace}/jobs/run/batch_rerun_jobs", "batchReRunJobs", "Run jobs of scripts and flows again; answers with an id or an error a line",
		func(ctx context.Context, in *rerunIn) (string, error) {
			lines := make([]string, 0, len(in.Body.IDs))
			for _, id := range in.Body.IDs {
				again, err := a.rerun(ctx, in, id)
				switch {
				case err == nil:
					lines = append(lines, again)
				case sluice.CodeOf(err) == sluice.CodeInternal:
					return "", err
				default:
					lines = append(lines, "Error: "+a.present(ctx, err).text)
				}
			}
			return strings.Join(lines, "\n"), nil
		})
}

// rerun runs one job again, with its arguments but for those that are replaced.
func (a *API) rerun(ctx context.Context, in *rerunIn, text string) (string, error) {
	id, err := canonicalID("job_ids", text)
	if err != nil {
		return "", err
	}
	if err := a.e.AllowJob(ctx, in.Workspace, id, who(ctx, in.Workspace), store.RightRead); err != nil {
		return "", err
	}
	j, err := a.row(ctx, in.Workspace, id)
	if err != nil {
		return "", err
	}
	n, o, err := in.again(j)
	if err != nil {
		return "", err
	}
	args, err := readMembers(orObject(j.Args))
	if err != nil {
		return "", err
	}
	for name, input := range o.Inputs {
		if input.Type != "static" {
			return "", sluice.Invalid("input_transforms", "%s: only static values are supported, no expressions", name)
		}
		if err := args.set(name, json.RawMessage(orNull(input.Value))); err != nil {
			return "", err
		}
	}
	object, err := args.object()
	if err != nil {
		return "", err
	}
	body := jsonObject(object)
	return a.push(ctx, n, &body, &RunParams{})
}

// again says what is to be run of which a job was a run.
func (in *rerunIn) again(j *sluice.Job) (n engine.NewJob, o rerunOptions, err error) {
	n.Workspace = in.Workspace
	switch {
	case j.Kind == sluice.KindScript:
		if o = in.Body.Scripts[j.Path]; o.Latest {
			n.Path = j.Path
		} else {
			n.Hash = j.Hash
		}
		return n, o, nil
	case j.Kind == sluice.KindFlow && j.FlowScope == "":
		if o = in.Body.Flows[j.Path]; o.Latest {
			n.FlowPath = j.Path
			return n, o, nil
		}
		n.FlowVersion, err = strconv.ParseInt(j.Hash, 16, 64)
		return n, o, err
	}
	return n, o, sluice.Invalid("job_ids", "job %s is no run of a script or flow, but a %s; it cannot be run again", j.ID, j.Kind)
}

func orObject(v json.RawMessage) json.RawMessage {
	if len(v) == 0 {
		return json.RawMessage("{}")
	}
	return v
}

func orNull(v anyJSON) anyJSON {
	if len(v) == 0 {
		return anyJSON("null")
	}
	return v
}

type countJobsIn struct {
	WorkspaceRef
	SinceS  int64          `query:"completed_after_s_ago" minimum:"0" maximum:"315360000" doc:"Seconds to look back; all if left out"`
	Success optional[bool] `query:"success"`
	Tags    string         `query:"tags" doc:"Separated by commas"`
	All     bool           `query:"all_workspaces" doc:"In the workspace admins: jobs of all workspaces"`
}

// countCompleted counts jobs that have ended.
func (a *API) countCompleted(ctx context.Context, in *countJobsIn) (int64, error) {
	q := JobQuery{Tag: in.Tags, Success: in.Success, AllWorkspaces: in.All}
	f, none, err := a.selected(ctx, &q, in.Workspace)
	if err != nil || none || within(&f, sluice.StateCompleted) {
		return 0, err
	}
	if in.SinceS > 0 {
		now, err := a.e.Now(ctx)
		if err != nil {
			return 0, err
		}
		f.CompletedAfter = now.Add(-seconds(in.SinceS))
	}
	return a.e.SearchCount(ctx, f)
}

// rootOf returns the id of the job at the top of a job's chain of parents.
func (a *API) rootOf(ctx context.Context, in *JobRef) (string, error) {
	const longest = 100
	id := in.ID
	for range longest {
		j, err := a.row(ctx, in.Workspace, id)
		switch {
		case sluice.CodeOf(err) == sluice.CodeNotFound && id != in.ID:
			return id, nil // a parent that was deleted, or is none of ours
		case err != nil:
			return "", err
		case j.RootJob != "":
			return j.RootJob, nil
		case j.ParentJob == "":
			return j.ID, nil
		}
		id = j.ParentJob
	}
	return id, nil
}

type queueHealthJSON struct {
	Pending int64 `json:"pending_jobs" doc:"Jobs that are due and wait"`
	Running int64 `json:"running_jobs"`
}

type detailedHealthJSON struct {
	Status string `json:"status" doc:"healthy, or degraded if no worker lives"`
	Checks struct {
		Database struct {
			Healthy bool `json:"healthy"`
		} `json:"database"`
		Workers struct {
			Healthy bool `json:"healthy"`
			Active  int  `json:"active_count"`
		} `json:"workers"`
		Queue queueHealthJSON `json:"queue"`
	} `json:"checks"`
}

// detailedHealth tells how the parts of the server are.
func (a *API) detailedHealth(ctx context.Context, _ *none) (detailedHealthJSON, error) {
	var h detailedHealthJSON
	m, err := a.e.Metrics(ctx)
	if err != nil {
		return h, err
	}
	for _, c := range m.Counts {
		h.Checks.Queue.Pending += c.Queued
		h.Checks.Queue.Running += c.Running
	}
	h.Checks.Database.Healthy, h.Checks.Workers.Active = true, m.Workers
	h.Checks.Workers.Healthy = m.Workers > 0
	h.Status = "healthy"
	if !h.Checks.Workers.Healthy {
		h.Status = "degraded"
	}
	return h, nil
}
