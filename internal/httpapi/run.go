package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
)

const defaultResultWait = 60 * time.Second

// RunParams are the query parameters of calls that push a job.
type RunParams struct {
	ScheduledFor    time.Time       `query:"scheduled_for" doc:"When it is due; now if left out or past"`
	ScheduledInSecs int64           `query:"scheduled_in_secs" minimum:"0" maximum:"315360000" doc:"Instead of scheduled_for: seconds from now"`
	Priority        optional[int]   `query:"priority" minimum:"-100" maximum:"100" doc:"Ours: higher starts first within a group"`
	Tag             string          `query:"tag" maxLength:"255" doc:"Runs on workers that serve it; the script's if left out"`
	JobID           string          `query:"job_id" doc:"A UUID drawn by the caller: pushing it again changes nothing"`
	ParentJob       string          `query:"parent_job"`
	RootJob         string          `query:"root_job"`
	QueueLimit      optional[int64] `query:"queue_limit" minimum:"0" doc:"Refuse with 429 if more than this many would wait in the group"`
	MaxWaitS        int64           `query:"max_wait_s" minimum:"0" maximum:"315360000" doc:"Ours: fail if not started so long after it is due"`
	TimeoutS        int64           `query:"timeout" minimum:"0" maximum:"315360000" doc:"Ours: seconds that it may run"`
	CacheTTL        int64           `query:"cache_ttl" doc:"No effect yet: answered with a warning"`
	Invisible       bool            `query:"invisible_to_owner" doc:"No effect yet: answered with a warning"`
}

// Resolve tells which of the parameters have no effect.
func (p *RunParams) Resolve(hc huma.Context) []error {
	if p.CacheTTL != 0 {
		warnInert(hc, "cache_ttl")
	}
	if p.Invisible {
		warnInert(hc, "invisible_to_owner")
	}
	return nil
}

// apply puts the parameters into a job.
func (p *RunParams) apply(n *engine.NewJob) error {
	if !p.ScheduledFor.IsZero() && p.ScheduledInSecs > 0 {
		return sluice.Invalid("scheduled_in_secs", "give it or scheduled_for, not both")
	}
	n.ScheduledFor, n.ScheduledIn = p.ScheduledFor, seconds(p.ScheduledInSecs)
	n.Tag, n.MaxWait, n.Timeout = p.Tag, seconds(p.MaxWaitS), seconds(p.TimeoutS)
	if p.Priority.Set {
		n.Priority = &p.Priority.Value
	}
	if p.QueueLimit.Set {
		n.QueueLimit = &p.QueueLimit.Value
	}
	for _, id := range []struct {
		field, from string
		to          *string
	}{{"job_id", p.JobID, &n.ID}, {"parent_job", p.ParentJob, &n.ParentJob}, {"root_job", p.RootJob, &n.RootJob}} {
		if id.from == "" {
			continue
		}
		var err error
		if *id.to, err = canonicalID(id.field, id.from); err != nil {
			return err
		}
	}
	return nil
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// RunTarget is a script, named in the path of a call.
type RunTarget struct {
	Workspace string `path:"workspace"`
	Path      string `path:"path" doc:"Path of the script"`
}

// RunHash is a version of a script, named in the path of a call.
type RunHash struct {
	Workspace string `path:"workspace"`
	Hash      string `path:"hash" pattern:"^[0-9a-fA-F]{16}$" patternDescription:"16 hex digits" doc:"Hash of the script's version"`
}

type runPathIn struct {
	RunTarget
	RunParams
	CallParams
	RawBody []byte
}

type runHashIn struct {
	RunHash
	RunParams
	CallParams
	RawBody []byte
}

type runPathGetIn struct {
	RunTarget
	RunParams
	CallParams
}

type runHashGetIn struct {
	RunHash
	RunParams
	CallParams
}

// ResultParams are the query parameters of calls that wait for a result.
type ResultParams struct {
	TimeoutS optional[int] `query:"timeout_s" minimum:"0" maximum:"600" doc:"Ours: seconds to wait for the result; 60 if left out. The job goes on when they are over"`
}

type resultPathIn struct {
	RunTarget
	RunParams
	ResultParams
	CallParams
	RawBody []byte
}

type resultHashIn struct {
	RunHash
	RunParams
	ResultParams
	CallParams
	RawBody []byte
}

type resultPathGetIn struct {
	RunTarget
	RunParams
	ResultParams
	CallParams
}

type resultHashGetIn struct {
	RunHash
	RunParams
	ResultParams
	CallParams
}

// argsBody documents a body that becomes arguments.
func argsBody(op *huma.Operation) {
	object := &huma.Schema{Type: huma.TypeObject, Nullable: true, AdditionalProperties: true}
	text := &huma.Schema{Type: huma.TypeString}
	op.RequestBody = &huma.RequestBody{
		Description: "The arguments: a JSON object or a form. Other JSON becomes the argument body, text the argument raw_string.",
		Content: map[string]*huma.MediaType{
			contentJSON:                         {Schema: object},
			"application/x-www-form-urlencoded": {Schema: object},
			"multipart/form-data":               {Schema: object},
			"text/plain":                        {Schema: text},
		},
	}
	op.SkipValidateBody = true
	setMeta(op, metaArgs)
}

// addRuns registers the calls that push jobs.
func (a *API) addRuns() {
	const newest, version = "Push a job that runs the newest version of a script; answers with its id", "Push a job that runs one version of a script; answers with its id"
	addText(a, "POST /api/w/{workspace}/jobs/run/p/{path...}", "runScriptByPath", newest,
		func(ctx context.Context, in *runPathIn) (string, error) {
			return a.pushCall(ctx, in.job(), &in.CallParams, in.RawBody, &in.RunParams)
		}, created, warns, argsBody)
	addText(a, "POST /api/w/{workspace}/jobs/run/h/{hash}", "runScriptByHash", version,
		func(ctx context.Context, in *runHashIn) (string, error) {
			return a.pushCall(ctx, in.job(), &in.CallParams, in.RawBody, &in.RunParams)
		}, created, warns, argsBody)
	addText(a, "GET /api/w/{workspace}/jobs/run/p/{path...}", "runScriptByPathGet", newest,
		func(ctx context.Context, in *runPathGetIn) (string, error) {
			return a.pushCall(ctx, in.job(), &in.CallParams, nil, &in.RunParams)
		}, created, warns)
	addText(a, "GET /api/w/{workspace}/jobs/run/h/{hash}", "runScriptByHashGet", version,
		func(ctx context.Context, in *runHashGetIn) (string, error) {
			return a.pushCall(ctx, in.job(), &in.CallParams, nil, &in.RunParams)
		}, created, warns)
	addText(a, "POST /api/w/{workspace}/jobs/run/preview", "runScriptPreview", "Push a job that runs code which is not saved; answers with its id", a.runPreview, created, warns)
	a.addBulk()
	a.addRerun()
	a.addDependencies()

	anything := &huma.Schema{Description: "The result. With status 500 {\"error\": {…}} of a failed job; with status 504 {\"error\", \"job_id\", \"wait\"}: the job goes on. " +
		"A result with windmill_status_code, windmill_headers or windmill_content_type sets those, and its field result is the body."}
	addRaw(a, "POST /api/w/{workspace}/jobs/run_wait_result/p/{path...}", "runWaitResultByPath", "Run a script and wait for its result", contentJSON, anything,
		func(ctx context.Context, in *resultPathIn) (func(huma.Context), error) {
			return a.runResult(ctx, in.job(), &in.CallParams, in.RawBody, &in.RunParams, &in.ResultParams)
		}, warns, argsBody)
	addRaw(a, "POST /api/w/{workspace}/jobs/run_wait_result/h/{hash}", "runWaitResultByHash", "Run one version of a script and wait for its result", contentJSON, anything,
		func(ctx context.Context, in *resultHashIn) (func(huma.Context), error) {
			return a.runResult(ctx, in.job(), &in.CallParams, in.RawBody, &in.RunParams, &in.ResultParams)
		}, warns, argsBody)
	addRaw(a, "GET /api/w/{workspace}/jobs/run_wait_result/p/{path...}", "runWaitResultByPathGet", "Run a script and wait for its result", contentJSON, anything,
		func(ctx context.Context, in *resultPathGetIn) (func(huma.Context), error) {
			return a.runResult(ctx, in.job(), &in.CallParams, nil, &in.RunParams, &in.ResultParams)
		}, warns)
	addRaw(a, "GET /api/w/{workspace}/jobs/run_wait_result/h/{hash}", "runWaitResultByHashGet", "Run one version of a script and wait for its result", contentJSON, anything,
		func(ctx context.Context, in *resultHashGetIn) (func(huma.Context), error) {
			return a.runResult(ctx, in.job(), &in.CallParams, nil, &in.RunParams, &in.ResultParams)
		}, warns)
	a.addFlowRuns(anything)
}

func (t *RunTarget) job() engine.NewJob { return engine.NewJob{Workspace: t.Workspace, Path: t.Path} }

func (h *RunHash) job() engine.NewJob {
	return engine.NewJob{Workspace: h.Workspace, Hash: h.hash()}
}

func (h *RunHash) hash() string { return strings.ToLower(h.Hash) }

// pushCall pushes a job with the arguments of a call.
func (a *API) pushCall(ctx context.Context, n engine.NewJob, cp *CallParams, body []byte, p *RunParams) (string, error) {
	args, err := cp.args(body)
	if err != nil {
		return "", err
	}
	n.Event = cp.event(body, args)
	return a.push(ctx, n, args, p)
}

// push pushes one job and returns its id.
func (a *API) push(ctx context.Context, n engine.NewJob, args *jsonObject, p *RunParams) (string, error) {
	if n.Path != "" || n.Hash == "" && n.Preview == nil && n.Dependencies == nil && !isFlow(&n) {
		if err := checkPath(n.Path); err != nil {
			return "", err
		}
	}
	if args != nil {
		n.Args = json.RawMessage(*args)
	}
	if err := p.apply(&n); err != nil {
		return "", err
	}
	if err := a.mayRun(ctx, &n); err != nil {
		return "", err
	}
	ids, err := a.e.Submit(ctx, []engine.NewJob{n})
	if err != nil {
		return "", single(err)
	}
	return ids[0], nil
}

// mayRun signs a job with its caller's name, if that may run it. It is asked
// for every job that is pushed: what is narrowed to a path by a token's scope
// can be named by a hash, too.
func (a *API) mayRun(ctx context.Context, n *engine.NewJob) error {
	c := callerOf(ctx)
	n.CreatedBy, n.Email, n.By = c.Username, c.Email, ptr(who(ctx, n.Workspace))
	want := scope{domain: "jobs", action: "run", kind: "scripts", paths: n.Path}
	switch {
	case n.Preview != nil || n.Dependencies != nil || n.FlowPreview != nil:
		want.kind = "preview"
		if !c.role(n.Workspace).AtLeast(sluice.RoleDeveloper) {
			return sluice.Errorf(sluice.CodeForbidden, "an operator may run only what is saved")
		}
	case isFlow(n):
		want.kind, want.paths = "flows", n.FlowPath
		if n.FlowVersion != 0 && c.Scoped {
			f, err := a.e.FlowVersion(ctx, n.Workspace, n.FlowVersion)
			if err != nil {
				return err
			}
			want.paths = f.Path
		}
	case n.Hash != "" && c.Scoped:
		s, err := a.e.ScriptByHash(ctx, n.Workspace, n.Hash)
		if err != nil {
			return err
		}
		want.paths = s.Path
	}
	if err := c.may(want); err != nil {
		return err
	}
	if c.Scoped && c.Job == nil && !a.byHook.try(c.Hash, deadline(0)) {
		return sluice.Errorf(sluice.CodeLimited, "this token has scopes, and such tokens push %d jobs at once and then one each %v; try again later", a.o.hookBurst, hookEvery)
	}
	return nil
}

// isFlow reports whether a job runs a saved flow or one that is not saved.
func isFlow(n *engine.NewJob) bool {
	return n.FlowPath != "" || n.FlowVersion != 0 || n.FlowPreview != nil
}

// PreviewFields are code that is run without being saved.
type PreviewFields struct {
	Content  string  `json:"content"`
	Language string  `json:"language" doc:"Such as bash"`
	Path     string  `json:"path" nullable:"true" doc:"Shown with the job; without a limit it means nothing"`
	OnLimit  *string `json:"on_concurrency_limit,omitempty" nullable:"true" enum:"queue,fail" doc:"Ours: what becomes of a job that finds no room"`
	LimitFields
}

func (f *PreviewFields) preview() (*engine.Preview, error) {
	if f.Language == "" {
		return nil, sluice.Invalid("language", "is required, such as bash")
	}
	if f.Path != "" {
		if err := checkPath(f.Path); err != nil {
			return nil, err
		}
	}
	p := &engine.Preview{Content: f.Content, Language: f.Language, Path: f.Path, Limits: f.fields()}
	if f.OnLimit != nil {
		p.OnLimit = *f.OnLimit
	}
	return p, nil
}

type previewIn struct {
	WorkspaceRef
	RunParams
	Body struct {
		PreviewFields
		Args    jsonObject `json:"args,omitempty" doc:"A JSON object"`
		Tag     *string    `json:"tag,omitempty" nullable:"true"`
		Modules anyJSON    `json:"modules,omitempty" doc:"No effect yet: answered with a warning, if it is not empty"`
		Temp    anyJSON    `json:"temp_script_refs,omitempty" doc:"No effect yet: answered with a warning, if it is not empty"`
	} `required:"true"`
}

// Resolve tells what has no effect.
func (in *previewIn) Resolve(hc huma.Context) []error {
	for _, f := range []struct {
		name string
		v    anyJSON
	}{{"modules", in.Body.Modules}, {"temp_script_refs", in.Body.Temp}} {
		if len(f.v) > 0 && engine.Asks(json.RawMessage(f.v)) {
			warnInert(hc, f.name)
		}
	}
	return in.RunParams.Resolve(hc)
}

func (a *API) runPreview(ctx context.Context, in *previewIn) (string, error) {
	p, err := in.Body.preview()
	if err != nil {
		return "", err
	}
	if in.Body.Tag != nil && in.Tag == "" {
		in.Tag = *in.Body.Tag
	}
	return a.push(ctx, engine.NewJob{Workspace: in.Workspace, Preview: p}, &in.Body.Args, &in.RunParams)
}

type lateJSON struct {
	Error string       `json:"error"`
	JobID string       `json:"job_id"`
	Wait  *sluice.Wait `json:"wait" doc:"Why it does not run; null if it runs"`
}

// runResult pushes a job and waits for its end. It returns what writes the answer.
func (a *API) runResult(ctx context.Context, n engine.NewJob, cp *CallParams, body []byte, p *RunParams, rp *ResultParams) (func(huma.Context), error) {
	id, err := a.pushCall(ctx, n, cp, body, p)
	if err != nil {
		return nil, err
	}
	return a.awaitResult(ctx, n.Workspace, id, rp)
}

// awaitResult waits for the end of a job. It returns what writes the answer.
func (a *API) awaitResult(ctx context.Context, workspace, id string, rp *ResultParams) (func(huma.Context), error) {
	giveRoom(ctx)
	hold := defaultResultWait
	if rp.TimeoutS.Set {
		hold = seconds(int64(rp.TimeoutS.Value))
	}
	v, err := a.awaitEnd(ctx, workspace, id, hold)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return a.late(ctx, workspace, id)
	}
	status := http.StatusOK
	if v.Outcome != sluice.OutcomeSuccess {
		status = http.StatusInternalServerError
	}
	return writeResult(status, resultOf(v.Job))
}

// late answers for a job that has not ended in time.
func (a *API) late(ctx context.Context, workspace, id string) (func(huma.Context), error) {
	w, err := a.getWait(ctx, &JobRef{Workspace: workspace, ID: id})
	if err != nil {
		return nil, err
	}
	text := "job " + id + " has not ended in time; it goes on"
	if w != nil {
		text = "job " + id + " has not started in time; it goes on waiting: " + w.Message
	}
	return writeJSON(http.StatusGatewayTimeout, lateJSON{Error: text, JobID: id, Wait: w})
}

func writeJSON(status int, v any) (func(huma.Context), error) {
	b, err := marshal(v)
	if err != nil {
		return nil, err
	}
	return func(hc huma.Context) {
		hc.SetHeader("Content-Type", contentJSON)
		hc.SetStatus(status)
		_, _ = hc.BodyWriter().Write(b) // whoever left does not read it
	}, nil
}
