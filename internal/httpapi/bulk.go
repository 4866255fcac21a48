package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
)

// bulkJob is one job of a bulk push. Exactly one of Path, Hash, Preview,
// FlowPath and FlowPreview names what to run.
type bulkJob struct {
	Path            string             `json:"path,omitempty"`
	Hash            string             `json:"hash,omitempty" doc:"16 hex digits"`
	Preview         *PreviewFields     `json:"preview,omitempty"`
	FlowPath        string             `json:"flow_path,omitempty"`
	FlowPreview     *flowPreviewFields `json:"flow_preview,omitempty"`
	Args            jsonObject         `json:"args,omitempty" doc:"A JSON object"`
	JobID           string             `json:"job_id,omitempty" doc:"A UUID"`
	ParentJob       string             `json:"parent_job,omitempty"`
	RootJob         string             `json:"root_job,omitempty"`
	ScheduledFor    *time.Time         `json:"scheduled_for,omitempty"`
	ScheduledInSecs int64              `json:"scheduled_in_secs,omitempty"`
	Priority        *int               `json:"priority,omitempty" minimum:"-100" maximum:"100"`
	Tag             string             `json:"tag,omitempty"`
	QueueLimit      *int64             `json:"queue_limit,omitempty" minimum:"0"`
	MaxWaitS        int64              `json:"max_wait_s,omitempty" minimum:"0"`
	TimeoutS        int64              `json:"timeout,omitempty" minimum:"0"`
}

type bulkBody struct {
	Jobs []bulkJob `json:"jobs" required:"true" minItems:"1" maxItems:"10000"`
}

// bulkIn has its body raw: a body of this size is read once, job by job,
// instead of being built up whole for the document's checks.
type bulkIn struct {
	WorkspaceRef
	RawBody []byte
}

type idsJSON struct {
	IDs []string `json:"ids" doc:"In the order of the jobs"`
}

// addBulk registers the push of many jobs.
func (a *API) addBulk() {
	body := &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		contentJSON: {Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[bulkBody](), true, "")},
	}}
	addJSON(a, "POST /api/w/{workspace}/jobs/run/bulk", "runBulk", "Ours: push up to 10,000 jobs in one transaction, all or none", a.runBulk,
		created, func(op *huma.Operation) {
			op.RequestBody, op.SkipValidateBody = body, true
			op.MaxBodyBytes, op.BodyReadTimeout = MaxBulkBody+1, bulkBodyTimeouts*a.o.bodyTimeout
		})
	delete(body.Content, "application/octet-stream") // how huma documents a raw body
}

func (a *API) runBulk(ctx context.Context, in *bulkIn) (idsJSON, error) {
	var body struct {
		Jobs []json.RawMessage `json:"jobs"`
	}
	if err := checkJSON(in.RawBody); err != nil {
		return idsJSON{}, sluice.Invalid("jobs", "must be a list of jobs in a JSON object: %v", err)
	}
	if err := json.Unmarshal(in.RawBody, &body); err != nil {
		return idsJSON{}, sluice.Invalid("jobs", "must be a list of jobs in a JSON object: %s", jsonProblem(err))
	}
	if n := len(body.Jobs); n < 1 || n > sluice.MaxBulk {
		return idsJSON{}, sluice.Invalid("jobs", "must have 1 to %d entries, not %d", sluice.MaxBulk, n)
	}
	jobs := make([]engine.NewJob, len(body.Jobs))
	for i, raw := range body.Jobs {
		n, err := readBulkJob(raw)
		if err != nil {
			return idsJSON{}, inField(fmt.Sprintf("jobs[%d]", i), err)
		}
		n.Workspace = in.Workspace
		if err := a.mayRun(ctx, &n); err != nil {
			return idsJSON{}, inField(fmt.Sprintf("jobs[%d]", i), err)
		}
		jobs[i] = n
		body.Jobs[i] = nil
	}
	ids, err := a.e.Submit(ctx, jobs)
	return idsJSON{IDs: ids}, err
}

func readBulkJob(raw json.RawMessage) (engine.NewJob, error) {
	var b bulkJob
	if err := json.Unmarshal(raw, &b); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) && te.Field != "" {
			return engine.NewJob{}, sluice.Invalid(te.Field, "must not be a %s", te.Value)
		}
		return engine.NewJob{}, sluice.Invalid("", "%s", jsonProblem(err))
	}
	n := engine.NewJob{Path: b.Path, Hash: strings.ToLower(b.Hash), FlowPath: b.FlowPath, Args: json.RawMessage(b.Args)}
	named := 0
	for _, is := range []bool{b.Path != "", b.Hash != "", b.Preview != nil, b.FlowPath != "", b.FlowPreview != nil} {
		if is {
			named++
		}
	}
	if named != 1 {
		return n, sluice.Invalid("path", "give exactly one of path, hash, preview, flow_path and flow_preview")
	}
	for field, path := range map[string]string{"path": b.Path, "flow_path": b.FlowPath} {
		if path == "" {
			continue
		}
		if err := checkPath(path); err != nil {
			return n, renamed(field, err)
		}
	}
	if b.Preview != nil {
		var err error
		if n.Preview, err = b.Preview.preview(); err != nil {
			return n, inField("preview", err)
		}
	}
	if b.FlowPreview != nil {
		var err error
		if n.FlowPreview, err = b.FlowPreview.preview(); err != nil {
			return n, inField("flow_preview", err)
		}
	}
	p, err := b.params()
	if err != nil {
		return n, err
	}
	return n, p.apply(&n)
}

// renamed puts another name in the place of the field that an error names.
func renamed(field string, err error) error {
	var e *sluice.Error
	if !errors.As(err, &e) {
		return err
	}
	named := *e
	named.Field = field
	return &named
}

// params checks what the document checks of other calls.
func (b *bulkJob) params() (*RunParams, error) {
	const longest = 315_360_000
	p := &RunParams{
		ScheduledInSecs: b.ScheduledInSecs, Tag: b.Tag, JobID: b.JobID, ParentJob: b.ParentJob, RootJob: b.RootJob,
		MaxWaitS: b.MaxWaitS, TimeoutS: b.TimeoutS,
	}
	for field, n := range map[string]int64{"scheduled_in_secs": b.ScheduledInSecs, "max_wait_s": b.MaxWaitS, "timeout": b.TimeoutS} {
		if n < 0 || n > longest {
			return nil, sluice.Invalid(field, "must be from 0 to %d seconds", longest)
		}
	}
	if b.ScheduledFor != nil {
		p.ScheduledFor = *b.ScheduledFor
	}
	if b.Priority != nil {
		if *b.Priority < sluice.MinPriority || *b.Priority > sluice.MaxPriority {
			return nil, sluice.Invalid("priority", "must be from %d to %d", sluice.MinPriority, sluice.MaxPriority)
		}
		p.Priority = optional[int]{Value: *b.Priority, Set: true}
	}
	if b.QueueLimit != nil {
		if *b.QueueLimit < 0 {
			return nil, sluice.Invalid("queue_limit", "must not be negative")
		}
		p.QueueLimit = optional[int64]{Value: *b.QueueLimit, Set: true}
	}
	return p, nil
}

// inField puts a prefix before the field that an error names.
func inField(prefix string, err error) error {
	var e *sluice.Error
	if !errors.As(err, &e) {
		return err
	}
	inner := *e
	if inner.Field == "" {
		inner.Field = prefix
	} else {
		inner.Field = prefix + "." + inner.Field
	}
	return &inner
}

// single takes the prefix of a list's first job from the field that an error
// of a push of one job names.
func single(err error) error {
	var e *sluice.Error
	if !errors.As(err, &e) || !strings.HasPrefix(e.Field, "jobs[0]") {
		return err
	}
	inner := *e
	inner.Field = strings.TrimPrefix(strings.TrimPrefix(inner.Field, "jobs[0]"), ".")
	return &inner
}

// jsonProblem says what is wrong with JSON, without repeating it.
func jsonProblem(err error) string {
	var (
		te *json.UnmarshalTypeError
		se *json.SyntaxError
	)
	switch {
	case errors.As(err, &te):
		return "a " + te.Value + " stands where something else must"
	case errors.As(err, &se):
		return fmt.Sprintf("it is no JSON from byte %d on", se.Offset)
	}
	return http.StatusText(http.StatusBadRequest)
}
