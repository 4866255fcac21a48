package httpapi

import (
	"bytes"
	"context"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// dependenciesBody asks what code that is not saved depends on.
type dependenciesBody struct {
	RawScripts []struct {
		Code     string `json:"raw_code"`
		Language string `json:"language" doc:"Such as python3"`
		Path     string `json:"script_path"`
	} `json:"raw_scripts" minItems:"1" maxItems:"1" doc:"The code, one script"`
	Entrypoint       string  `json:"entrypoint,omitempty" nullable:"true" doc:"Its path; that of the script if left out"`
	WorkspaceDeps    anyJSON `json:"raw_workspace_dependencies,omitempty" doc:"Not supported yet: must be empty"`
	TemporaryScripts anyJSON `json:"temp_script_refs,omitempty" doc:"Ignored: code that is imported is taken as it is saved"`
}

type dependenciesIn struct {
	WorkspaceRef
	Body dependenciesBody `required:"true"`
}

type dependenciesWaitIn struct {
	WorkspaceRef
	ResultParams
	Body dependenciesBody `required:"true"`
}

// addDependencies registers the calls that find locks.
func (a *API) addDependencies() {
	addText(a, "POST /api/w/{workspace}/jobs/run/dependencies_async", "runRawScriptDependenciesAsync",
		`Push a job that finds what code depends on; answers with its id. Its result is {"lock": "…"}`,
		func(ctx context.Context, in *dependenciesIn) (string, error) {
			return a.pushDependencies(ctx, in.Workspace, &in.Body)
		}, created)
	found := &huma.Schema{Description: `{"lock": "…"}; with status 500 {"error": {…}}; with status 504 {"error", "job_id", "wait"}: the job goes on`}
	addRaw(a, "POST /api/w/{workspace}/jobs/run/dependencies", "runRawScriptDependencies", "Find what code depends on, and wait for it", contentJSON, found,
		func(ctx context.Context, in *dependenciesWaitIn) (func(huma.Context), error) {
			id, err := a.pushDependencies(ctx, in.Workspace, &in.Body)
			if err != nil {
				return nil, err
			}
			return a.awaitResult(ctx, in.Workspace, id, &in.ResultParams)
		})
	addJSON(a, "GET /api/w/{workspace}/scripts/deployment_status/h/{hash}", "getScriptDeploymentStatus", "Whether the lock of a version is made",
		func(ctx context.Context, in *RunHash) (deploymentJSON, error) {
			s, err := a.e.ScriptByHash(ctx, in.Workspace, in.hash())
			if err != nil {
				return deploymentJSON{}, err
			}
			if err := a.mayReadVersion(ctx, s); err != nil {
				return deploymentJSON{}, err
			}
			f, err := scriptForm(s, true)
			return deploymentJSON{Lock: f["lock"], Errors: lockErrors(s)}, err
		})
}

type deploymentJSON struct {
	Lock   any     `json:"lock" doc:"Null: not made yet, or it could not be made"`
	Errors *string `json:"lock_error_logs" nullable:"true" doc:"Why it could not be made"`
}

func (a *API) pushDependencies(ctx context.Context, workspace string, b *dependenciesBody) (string, error) {
	if len(b.RawScripts) != 1 {
		return "", sluice.Invalid("raw_scripts", "must be one script")
	}
	s := b.RawScripts[0]
	switch {
	case !empty(b.WorkspaceDeps):
		return "", sluice.Invalid("raw_workspace_dependencies", "are not supported yet; leave them out")
	case s.Path == "":
		s.Path = b.Entrypoint
	case b.Entrypoint != "" && b.Entrypoint != s.Path:
		return "", sluice.Invalid("entrypoint", "must be the path of the script")
	}
	n := engine.NewJob{Workspace: workspace, Dependencies: &engine.Dependencies{Content: s.Code, Language: s.Language, Path: s.Path}}
	return a.push(ctx, n, nil, &RunParams{})
}

// empty reports whether a value is null, or has nothing in it.
func empty(v anyJSON) bool {
	switch string(bytes.TrimSpace(v)) {
	case "", "null", "{}", "[]":
		return true
	}
	return false
}

// showLock adds a version's lock: what was pushed is there already, if it was.
func showLock(f scriptJSON, s *store.Script) {
	if _, pushed := f["lock"]; !pushed {
		switch {
		case s.Lock != nil:
			f["lock"] = *s.Lock
		case engine.NeedsLock(s.Language):
			f["lock"] = nil // not made
		default:
			f["lock"] = ""
		}
	}
	if why := lockErrors(s); why != nil {
		f["lock_error_logs"] = *why
	}
}

func lockErrors(s *store.Script) *string {
	if s.LockError == "" {
		return nil
	}
	return &s.LockError
}
