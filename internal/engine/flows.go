package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
	"sluice/limit"
)

// maxFlowVersions bounds a list of the versions of a flow.
const maxFlowVersions = 1000

// NewFlow is a version of a flow to be saved.
type NewFlow struct {
	Body     json.RawMessage // the object as pushed; it is validated and stored as it is
	EditedBy string
	Email    string
	// Replaces is the path of the flow that this is a new version of; it is
	// archived if Body names another, which makes it a move. "": there must be
	// no flow at the path of Body yet, but an archived one.
	Replaces string
	// By is who saves it, and must be allowed to, and to read what its steps run;
	// nil: the server itself.
	By *Who
	// ApplyToWaiting gives jobs of the flow and of its inline steps that wait
	// already the new N, W and mode; their keys stay.
	ApplyToWaiting bool
}

// flowBody holds the fields of a pushed flow that mean something when it is
// saved. Everything else is stored and given back.
type flowBody struct {
	Path        string          `json:"path"`
	Summary     string          `json:"summary"`
	Description string          `json:"description"`
	Value       json.RawMessage `json:"value"`
	Schema      json.RawMessage `json:"schema"`
	flowSettings
}

// flowSettings are the fields beside the value of a flow that its jobs obey.
type flowSettings struct {
	Tag             string          `json:"tag"`
	Priority        *int            `json:"priority"`
	Timeout         *float64        `json:"timeout"`
	MaxWait         *float64        `json:"max_wait_s"`
	DeleteAfterSecs *int64          `json:"delete_after_secs"`
	DeleteAfterUse  *bool           `json:"delete_after_use"`
	Labels          json.RawMessage `json:"labels"`
}

// readFlow validates a pushed flow.
func readFlow(raw json.RawMessage) (*flowBody, error) {
	b := new(flowBody)
	if err := json.Unmarshal(raw, b); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) && te.Field != "" {
			return b, sluice.Invalid(te.Field, "must be a %s, not a %s", te.Type, te.Value)
		}
		return b, sluice.Errorf(sluice.CodeInvalid, "the flow is no JSON object: %v", err)
	}
	if err := checkPath("path", b.Path); err != nil {
		return b, err
	}
	if schema := bytes.TrimSpace(b.Schema); len(schema) > 0 && schema[0] != '{' && string(schema) != "null" {
		return b, sluice.Invalid("schema", "must be a JSON object")
	}
	// The settings of a flow are bounded as those of a script.
	return b, checkScript(&ScriptBody{
		Path: b.Path, Language: "flow", Tag: b.Tag, Priority: b.Priority, Timeout: b.Timeout, MaxWait: b.MaxWait, DeleteAfterSecs: b.DeleteAfterSecs,
	})
}

// SaveFlow validates and saves a version of a flow and returns its number. If
// nothing would change, it saves nothing and returns that of the newest.
func (e *Engine) SaveFlow(ctx context.Context, workspace string, f NewFlow) (int64, error) {
	body, err := readFlow(f.Body)
	if err != nil {
		return 0, err
	}
	if err := refuseFields(f.Body, FlowFields); err != nil {
		return 0, err
	}
	value, err := flow.Parse(body.Value)
	if err != nil {
		return 0, flowError(err)
	}
	limits := limitsOf(value)
	row, err := flowVersion(workspace, f, body)
	if err != nil {
		return 0, err
	}
	var n int64
	err = e.store.Update(ctx, func(tx store.Tx) error {
		if err := needWorkspace(tx, workspace); err != nil {
			return err
		}
		if err := f.allowed(tx, workspace, body.Path, value); err != nil {
			return err
		}
		next := *row
		if n, err = saveFlow(tx, &next, f.Replaces); err != nil {
			return err
		}
		if next.N != 0 { // it is a new version
			if err := e.askFlowDependencies(tx, &next, value, f.Email); err != nil {
				return err
			}
		}
		if !f.ApplyToWaiting {
			return nil
		}
		return e.applyFlowToWaiting(tx, workspace, body.Path, limits)
	})
	return n, err
}

// allowed refuses what whoever saves a flow may not do.
func (f *NewFlow) allowed(tx store.Tx, workspace, path string, v *flow.Value) error {
	if f.By == nil {
		return nil
	}
	if f.Replaces != "" {
		if err := f.By.allow(tx, workspace, store.KindFlow, f.Replaces, store.RightWrite); err != nil {
			return err
		}
	}
	if err := f.By.put(tx, workspace, store.KindFlow, path); err != nil {
		return err
	}
	return f.By.callsOf(tx, workspace, v)
}

// flowVersion makes the row of a pushed flow.
func flowVersion(workspace string, f NewFlow, body *flowBody) (*store.Flow, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(f.Body, &fields); err != nil {
		return nil, sluice.Errorf(sluice.CodeInvalid, "the flow is no JSON object: %v", err)
	}
	row := &store.Flow{
		Workspace: workspace, Path: body.Path, Summary: body.Summary, Description: body.Description,
		Value: fields["value"], Schema: fields["schema"], EditedBy: f.EditedBy, Newest: true,
	}
	delete(fields, "value")
	delete(fields, "schema")
	var err error
	row.Settings, err = json.Marshal(fields)
	return row, err
}

// saveFlow stores a version, unless it asks for what the newest one is, and
// returns its number.
func saveFlow(tx store.Tx, row *store.Flow, replaces string) (int64, error) {
	old, err := tx.Flow(row.Workspace, row.Path)
	switch {
	case errors.Is(err, store.ErrNotFound):
		old = nil
	case err != nil:
		return 0, err
	}
	if replaces != row.Path && old != nil && !old.Archived {
		return 0, &sluice.Error{Code: sluice.CodeConflict, Field: "path", Message: "there is a flow at " + row.Path + " already; update it"}
	}
	if replaces != "" && replaces != row.Path {
		if err := archiveFlow(tx, row.Workspace, replaces, true); err != nil {
			return 0, err
		}
		if err := tx.MoveGrants(row.Workspace, store.KindFlow, replaces, row.Path); err != nil {
			return 0, err
		}
	}
	if replaces == row.Path && old == nil {
		return 0, notFound(store.ErrNotFound, "there is no flow %s in workspace %s", row.Path, row.Workspace)
	}
	if old != nil {
		if !old.Archived && sameFlow(old, row) {
			return old.N, nil
		}
		old.Newest = false
		if err := tx.SaveFlow(old); err != nil {
			return 0, err
		}
	}
	row.EditedAt = tx.Now()
	err = tx.InsertFlow(row)
	return row.N, err
}

// sameFlow reports whether two versions ask for the same flow.
func sameFlow(a, b *store.Flow) bool {
	return sameJSON(a.Value, b.Value) && sameJSON(a.Schema, b.Schema) && sameSettings(a.Settings, b.Settings)
}

// sameJSON reports whether two texts are the same JSON value; an absent one is
// null.
func sameJSON(a, b json.RawMessage) bool {
	wrap := func(v json.RawMessage) json.RawMessage {
		if len(v) == 0 {
			v = json.RawMessage("null")
		}
		return slices.Concat(json.RawMessage(`{"v":`), v, json.RawMessage("}"))
	}
	return bytes.Equal(a, b) || sameSettings(wrap(a), wrap(b))
}

// applyFlowToWaiting gives the jobs of a flow and of its inline steps that
// wait already their new limits.
func (e *Engine) applyFlowToWaiting(tx store.Tx, workspace, path string, l flowLimits) error {
	if l.flow != nil {
		if err := e.applyToWaiting(tx, workspace, path, *l.flow, sluice.KindFlow); err != nil {
			return err
		}
	}
	for step, of := range l.steps {
		if err := e.applyToWaiting(tx, workspace, path+"/"+step, of, sluice.KindFlowScript); err != nil {
			return err
		}
	}
	return nil
}

// flowLimits are the limits of a flow and, by id, of its inline steps.
type flowLimits struct {
	flow  *limit.Limit
	steps map[string]limit.Limit
}

// Flow returns the newest version of the flow at a path, archived or not.
func (e *Engine) Flow(ctx context.Context, workspace, path string) (*store.Flow, error) {
	return view(ctx, e, func(r store.Reader) (*store.Flow, error) {
		f, err := r.Flow(workspace, path)
		return f, notFound(err, "there is no flow %s in workspace %s", path, workspace)
	})
}

// FlowVersion returns one version of a flow that is not deleted.
func (e *Engine) FlowVersion(ctx context.Context, workspace string, n int64) (*store.Flow, error) {
	return view(ctx, e, func(r store.Reader) (*store.Flow, error) {
		f, err := r.FlowVersion(workspace, n)
		if err == nil && f.Deleted {
			err = store.ErrNotFound
		}
		return f, notFound(err, NoVersion, n, workspace)
	})
}

// Flows lists newest versions, without their values and schemas.
func (e *Engine) Flows(ctx context.Context, f store.FlowFilter) ([]*store.Flow, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.Flow, error) { return r.Flows(f) })
}

// FlowVersions lists the newest 1,000 versions at a path, newest first, without
// their values and schemas.
func (e *Engine) FlowVersions(ctx context.Context, workspace, path string) ([]*store.Flow, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.Flow, error) { return r.FlowVersions(workspace, path, maxFlowVersions) })
}

// ArchiveFlow archives the flow at a path, so that nobody can run it, or takes
// it out of the archive. Jobs of it that wait or run go on.
func (e *Engine) ArchiveFlow(ctx context.Context, workspace, path string, archived bool) error {
	return e.store.Update(ctx, func(tx store.Tx) error { return archiveFlow(tx, workspace, path, archived) })
}

func archiveFlow(tx store.Tx, workspace, path string, archived bool) error {
	f, err := tx.Flow(workspace, path)
	if err != nil {
		return notFound(err, "there is no flow %s in workspace %s", path, workspace)
	}
	f.Archived = archived
	return tx.SaveFlow(f)
}

// DeleteFlow deletes all versions of the flow at a path, if there are any.
// Jobs of it that wait or run go on; its text is erased when none does.
func (e *Engine) DeleteFlow(ctx context.Context, workspace, path string) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.DeleteFlow(workspace, path); err != nil {
			return err
		}
		return tx.DropGrants(workspace, store.KindFlow, path)
	})
}

// limitsOf gathers the limits of a flow.
func limitsOf(v *flow.Value) flowLimits {
	l := flowLimits{flow: v.Limits.Limit, steps: map[string]limit.Limit{}}
	for _, m := range v.All() {
		if m.Raw != nil && m.Raw.Limits.Limit != nil {
			l.steps[m.ID] = *m.Raw.Limits.Limit
		}
	}
	return l
}

// flowError turns the error of a flow's value into the product's.
func flowError(err error) error {
	var fe *flow.Error
	if !errors.As(err, &fe) {
		return err
	}
	if fe.Module != "" {
		return sluice.Invalid(fe.Field, "step %s: %s", fe.Module, fe.Message)
	}
	return sluice.Invalid(fe.Field, "%s", fe.Message)
}
