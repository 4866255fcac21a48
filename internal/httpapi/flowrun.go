package httpapi

import (
	"context"
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
)

type runFlowIn struct {
	FlowRef
	RunParams
	CallParams
	RawBody []byte
}

type runFlowGetIn struct {
	FlowRef
	RunParams
	CallParams
}

type resultFlowIn struct {
	FlowRef
	RunParams
	ResultParams
	CallParams
	RawBody []byte
}

type resultFlowGetIn struct {
	FlowRef
	RunParams
	ResultParams
	CallParams
}

func (in *FlowRef) job() engine.NewJob {
	return engine.NewJob{Workspace: in.Workspace, FlowPath: in.Path}
}

// addFlowRuns registers the calls that run flows.
func (a *API) addFlowRuns(anything *huma.Schema) {
	const newest = "Push a run of the newest version of a flow; answers with its id"
	addText(a, "POST /api/w/{workspace}/jobs/run/f/{path...}", "runFlowByPath", newest,
		func(ctx context.Context, in *runFlowIn) (string, error) {
			return a.pushCall(ctx, in.job(), &in.CallParams, in.RawBody, &in.RunParams)
		}, created, warns, argsBody)
	addText(a, "GET /api/w/{workspace}/jobs/run/f/{path...}", "runFlowByPathGet", newest,
		func(ctx context.Context, in *runFlowGetIn) (string, error) {
			return a.pushCall(ctx, in.job(), &in.CallParams, nil, &in.RunParams)
		}, created, warns)
	addRaw(a, "POST /api/w/{workspace}/jobs/run_wait_result/f/{path...}", "runWaitResultFlowByPath", "Run a flow and wait for its result", contentJSON, anything,
		func(ctx context.Context, in *resultFlowIn) (func(huma.Context), error) {
			return a.runResult(ctx, in.job(), &in.CallParams, in.RawBody, &in.RunParams, &in.ResultParams)
		}, warns, argsBody)
	addRaw(a, "GET /api/w/{workspace}/jobs/run_wait_result/f/{path...}", "runWaitResultFlowByPathGet", "Run a flow and wait for its result", contentJSON, anything,
		func(ctx context.Context, in *resultFlowGetIn) (func(huma.Context), error) {
			return a.runResult(ctx, in.job(), &in.CallParams, nil, &in.RunParams, &in.ResultParams)
		}, warns)
	addText(a, "POST /api/w/{workspace}/jobs/run/preview_flow", "runFlowPreview", "Push a run of a flow that is not saved; answers with its id", a.runFlowPreview, created, warns)
	addText(a, "POST /api/w/{workspace}/jobs/run/flow_dependencies_async", "runFlowDependenciesAsync",
		`Push a run whose result is {"updated_flow_value": …}, the value as it was sent; answers with its id`, a.flowDependencies, created)
	addText(a, "POST /api/w/{workspace}/jobs/restart/f/{id}", "restartFlowAtStep", "Run a flow again from one of its steps on; what ran before that step is taken over. Answers with the id of the new run",
		a.restartFlow, created)
	addText(a, "POST /api/w/{workspace}/jobs/flow/user_states/{id}/{key...}", "setFlowUserState", "Keep a value for the steps of a flow that runs", a.setFlowState)
	addJSON(a, "GET /api/w/{workspace}/jobs/flow/user_states/{id}/{key...}", "getFlowUserState", "A value that is kept for the steps of a flow; null if there is none",
		func(ctx context.Context, in *FlowStateRef) (anyJSON, error) {
			v, err := a.e.FlowUserState(ctx, in.Workspace, in.ID, in.Key)
			return anyJSON(v), err
		})
}

// flowPreviewFields are a flow that is run without being saved.
type flowPreviewFields struct {
	Value anyJSON `json:"value" required:"true" doc:"An OpenFlow value"`
	Path  *string `json:"path,omitempty" nullable:"true" doc:"Shown with the run; names the keys of its limits"`
}

func (f *flowPreviewFields) preview() (*engine.FlowPreview, error) {
	p := &engine.FlowPreview{Value: json.RawMessage(f.Value)}
	if f.Path != nil && *f.Path != "" {
		if err := checkPath(*f.Path); err != nil {
			return nil, err
		}
		p.Path = *f.Path
	}
	return p, nil
}

type flowPreviewBody struct {
	Value     anyJSON    `json:"value" required:"true" doc:"An OpenFlow value"`
	Path      *string    `json:"path,omitempty" nullable:"true" doc:"Shown with the run; names the keys of its limits"`
	Args      jsonObject `json:"args,omitempty" doc:"A JSON object"`
	Tag       *string    `json:"tag,omitempty" nullable:"true"`
	Restarted anyJSON    `json:"restarted_from,omitempty" doc:"Refused if set: restart a run that is there instead"`
	Temp      anyJSON    `json:"temp_script_refs,omitempty" doc:"No effect yet: answered with a warning, if it is not empty"`
}

type flowPreviewIn struct {
	WorkspaceRef
	RunParams
	Body flowPreviewBody `required:"true"`
}

// Resolve tells what has no effect.
func (in *flowPreviewIn) Resolve(hc huma.Context) []error {
	if len(in.Body.Temp) > 0 && engine.Asks(json.RawMessage(in.Body.Temp)) {
		warnInert(hc, "temp_script_refs")
	}
	return in.RunParams.Resolve(hc)
}

func (a *API) runFlowPreview(ctx context.Context, in *flowPreviewIn) (string, error) {
	if !empty(in.Body.Restarted) {
		return "", sluice.Invalid("restarted_from", "is not supported; restart a run by jobs/restart/f/{id}")
	}
	p, err := (&flowPreviewFields{Value: in.Body.Value, Path: in.Body.Path}).preview()
	if err != nil {
		return "", err
	}
	if in.Body.Tag != nil && in.Tag == "" {
		in.Tag = *in.Body.Tag
	}
	return a.push(ctx, engine.NewJob{Workspace: in.Workspace, FlowPreview: p}, &in.Body.Args, &in.RunParams)
}

type flowDependenciesIn struct {
	WorkspaceRef
	Body struct {
		Value anyJSON `json:"flow_value" required:"true"`
		Path  *string `json:"path,omitempty" nullable:"true"`
	} `required:"true"`
}

// flowDependencies pushes a run whose only step is what it is to give back:
// locks of inline scripts are found when they run.
func (a *API) flowDependencies(ctx context.Context, in *flowDependenciesIn) (string, error) {
	type object = map[string]any
	value, err := marshal(object{"modules": []object{{
		"id": "a", "value": object{"type": "identity"},
		"mock": object{"enabled": true, "return_value": object{"updated_flow_value": in.Body.Value}},
	}}})
	if err != nil {
		return "", err
	}
	return a.push(ctx, engine.NewJob{Workspace: in.Workspace, FlowPreview: &engine.FlowPreview{Value: value}}, nil, &RunParams{})
}

type restartIn struct {
	JobRef
	Body struct {
		Step    string `json:"step_id" required:"true" minLength:"1" maxLength:"100" doc:"Id of the module to begin with"`
		N       *int   `json:"branch_or_iteration_n,omitempty" nullable:"true" minimum:"0" doc:"Of a loop or branchall: the iteration or branch to begin with, from 0; the results of those before it are taken over. Null: 0"`
		Version *int64 `json:"flow_version,omitempty" nullable:"true" doc:"Refused if set: a run is restarted with the version that it ran"`
	} `required:"true"`
}

func (a *API) restartFlow(ctx context.Context, in *restartIn) (string, error) {
	if in.Body.Version != nil {
		return "", sluice.Invalid("flow_version", "is not supported: a run is restarted with the version that it ran")
	}
	j, err := a.row(ctx, in.Workspace, in.ID)
	if err != nil {
		return "", err
	}
	n := engine.NewJob{Workspace: in.Workspace, FlowPath: j.Path}
	if j.Kind == sluice.KindFlowPreview {
		n.FlowPath, n.FlowPreview = "", &engine.FlowPreview{Path: j.Path}
	}
	if err := a.mayRun(ctx, &n); err != nil {
		return "", err
	}
	from := engine.Restart{Step: in.Body.Step, By: n.CreatedBy, Email: n.Email, As: n.By}
	if in.Body.N != nil {
		from.Part = *in.Body.N
	}
	return a.e.RestartFlow(ctx, in.Workspace, in.ID, from)
}

// FlowStateRef names what the steps of a flow keep, in the path of a call.
type FlowStateRef struct {
	JobRef
	Key string `path:"key" doc:"Any name"`
}

type setFlowStateIn struct {
	FlowStateRef
	Body anyJSON `required:"true"`
}

func (a *API) setFlowState(ctx context.Context, in *setFlowStateIn) (string, error) {
	if err := a.mayKeep(ctx, &in.JobRef); err != nil {
		return "", err
	}
	return in.Key, a.e.SetFlowUserState(ctx, in.Workspace, in.ID, in.Key, json.RawMessage(in.Body))
}

// mayKeep refuses the token of a job another flow than its own.
func (a *API) mayKeep(ctx context.Context, in *JobRef) error {
	c := callerOf(ctx)
	if c.Job == nil {
		return nil
	}
	j, err := a.row(ctx, in.Workspace, c.Job.JobID)
	if err == nil && j.RootJob != in.ID && j.ParentJob != in.ID && j.ID != in.ID {
		err = sluice.Errorf(sluice.CodeForbidden, "the token of a job may keep values for the flow of that job only")
	}
	return err
}
