package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice/internal/engine"
	"sluice/internal/store"
)

// flowDoc describes the fields of a flow that mean something here. All others
// are accepted, stored and given back.
type flowDoc struct {
	Path                 string          `json:"path" required:"true" doc:"Such as f/folder/name"`
	Summary              string          `json:"summary,omitempty" nullable:"true"`
	Description          string          `json:"description,omitempty" nullable:"true"`
	Value                json.RawMessage `json:"value" required:"true" doc:"An OpenFlow value: modules, limits, options; kept as it was sent"`
	Schema               json.RawMessage `json:"schema,omitempty" doc:"A JSON schema of the arguments, for people and forms"`
	Tag                  *string         `json:"tag,omitempty" nullable:"true" doc:"Shown with its runs, and used by steps that name none; flow if left out"`
	Priority             *int            `json:"priority,omitempty" nullable:"true" minimum:"-100" maximum:"100"`
	Timeout              *float64        `json:"timeout,omitempty" nullable:"true" doc:"Seconds that a run may take; no effect yet"`
	MaxWaitS             *float64        `json:"max_wait_s,omitempty" nullable:"true" minimum:"0" doc:"Ours: a run that has not started so long after it is due fails"`
	ApplyLimitsToWaiting bool            `json:"apply_limits_to_waiting,omitempty" doc:"Ours: runs of this flow and of its inline steps that wait already take the new limits; their keys stay"`
	DeleteAfterSecs      *int64          `json:"delete_after_secs,omitempty" nullable:"true" doc:"Seconds for which a run is kept after its end"`
	DeleteAfterUse       *bool           `json:"delete_after_use,omitempty" nullable:"true" doc:"A run is deleted when it has ended"`
	Labels               json.RawMessage `json:"labels,omitempty" doc:"Labels of its runs"`
	DedicatedWorker      *bool           `json:"dedicated_worker,omitempty" nullable:"true" doc:"No effect yet: stored, and answered with a warning"`
	HandlerMuted         json.RawMessage `json:"ws_error_handler_muted,omitempty" doc:"No effect yet: stored, and answered with a warning"`
	OnBehalfOfEmail      json.RawMessage `json:"on_behalf_of_email,omitempty" doc:"No effect yet: stored, and answered with a warning"`
	VisibleToRunnerOnly  json.RawMessage `json:"visible_to_runner_only,omitempty" doc:"Refused if true: not supported yet"`
	DraftOnly            json.RawMessage `json:"draft_only,omitempty" doc:"Refused if true: there are no drafts"`
	DeploymentMessage    *string         `json:"deployment_message,omitempty" nullable:"true"`
	SkipDraftDeletion    json.RawMessage `json:"skip_draft_deletion,omitempty" doc:"There are no drafts"`
}

// flowKnown is what the server adds to what was pushed.
type flowKnown struct {
	Workspace  string         `json:"workspace_id"`
	VersionID  int64          `json:"version_id" doc:"Number of the version"`
	EditedBy   string         `json:"edited_by"`
	EditedAt   time.Time      `json:"edited_at"`
	Archived   bool           `json:"archived"`
	ExtraPerms map[string]any `json:"extra_perms"`
}

// flowJSON is a flow as it is shown: what was pushed, and what the server
// knows beside it.
type flowJSON map[string]any

// Schema describes the flow.
func (flowJSON) Schema(r huma.Registry) *huma.Schema {
	return echoed[flowDoc, flowKnown](r)
}

// flowForm echoes a flow as it was pushed, value and schema to the letter.
func flowForm(f *store.Flow) (flowJSON, error) {
	out := flowJSON{}
	var pushed map[string]json.RawMessage
	if len(f.Settings) > 0 {
		if err := json.Unmarshal(f.Settings, &pushed); err != nil {
			return nil, fmt.Errorf("read the settings of version %d of flow %s: %w", f.N, f.Path, err)
		}
	}
	for name, v := range pushed {
		out[name] = v
	}
	for _, name := range requestOnly {
		delete(out, name)
	}
	out["workspace_id"], out["path"], out["summary"], out["description"] = f.Workspace, f.Path, f.Summary, f.Description
	out["version_id"], out["edited_by"], out["edited_at"] = f.N, f.EditedBy, f.EditedAt.UTC()
	out["archived"], out["extra_perms"] = f.Archived, map[string]any{}
	if len(f.Value) > 0 {
		out["value"] = f.Value
	}
	if len(f.Schema) > 0 {
		out["schema"] = f.Schema
	}
	return out, nil
}

// FlowRef is a flow, named in the path of a call.
type FlowRef struct {
	Workspace string `path:"workspace"`
	Path      string `path:"path" doc:"Path of the flow"`
}

// Resolve checks the path.
func (in *FlowRef) Resolve(huma.Context) []error {
	if err := checkPath(in.Path); err != nil {
		return []error{err}
	}
	return nil
}

// FlowVersionRef is a version of a flow, named in the path of a call.
type FlowVersionRef struct {
	Workspace string `path:"workspace"`
	Version   int64  `path:"version" minimum:"1" doc:"Number of the version"`
}

// addFlows registers flows.
func (a *API) addFlows() {
	addText(a, "POST /api/w/{workspace}/flows/create", "createFlow", "Save a new flow; answers with its path",
		func(ctx context.Context, in *createFlowIn) (string, error) {
			return in.Body.Value.Path, a.saveFlow(ctx, in.Workspace, "", &in.Body)
		}, created, warns)
	addText(a, "POST /api/w/{workspace}/flows/update/{path...}", "updateFlow", "Save a version of a flow; answers with its path. With another path in the body it is moved there",
		func(ctx context.Context, in *updateFlowIn) (string, error) {
			return in.Body.Value.Path, a.saveFlow(ctx, in.Workspace, in.Path, &in.Body)
		}, warns)
	addJSON(a, "GET /api/w/{workspace}/flows/get/{path...}", "getFlowByPath", "The newest version of a flow",
		func(ctx context.Context, in *FlowRef) (flowJSON, error) {
			f, err := a.e.Flow(ctx, in.Workspace, in.Path)
			if err != nil {
				return nil, err
			}
			return a.showFlow(ctx, f)
		})
	addJSON(a, "GET /api/w/{workspace}/flows/get/v/{version}", "getFlowVersion", "One version of a flow", a.flowVersion)
	addJSON(a, "GET /api/w/{workspace}/flows/list", "listFlows", "The newest versions of flows, without their values", a.listFlows)
	addJSON(a, "GET /api/w/{workspace}/flows/list_paths", "listFlowPaths", "The paths of all flows that are not archived", a.listFlowPaths)
	addJSON(a, "GET /api/w/{workspace}/flows/exists/{path...}", "existsFlowByPath", "Whether there is a flow at a path, archived or not",
		func(ctx context.Context, in *FlowRef) (bool, error) {
			if err := a.mayRead(ctx, in.Workspace, store.KindFlow, in.Path); err != nil {
				return exists(err)
			}
			_, err := a.e.Flow(ctx, in.Workspace, in.Path)
			return exists(err)
		})
	addJSON(a, "GET /api/w/{workspace}/flows/history/p/{path...}", "getFlowHistory", "The versions of a flow, newest first", a.flowHistory)
	addText(a, "POST /api/w/{workspace}/flows/archive/{path...}", "archiveFlowByPath", "Archive a flow, so that nobody can run it, or take it out of the archive; its runs go on", a.archiveFlow)
	addText(a, "DELETE /api/w/{workspace}/flows/delete/{path...}", "deleteFlowByPath", "Delete all versions of a flow, if there are any; its runs go on",
		func(ctx context.Context, in *FlowRef) (string, error) {
			return "Flow " + in.Path + " deleted", a.e.DeleteFlow(ctx, in.Workspace, in.Path)
		})
}

type createFlowIn struct {
	WorkspaceRef
	Body verbatim[flowDoc] `required:"true"`
}

// Resolve tells which of the pushed settings have no effect.
func (in *createFlowIn) Resolve(hc huma.Context) []error { return warnFlow(hc, in.Body.Raw) }

type updateFlowIn struct {
	FlowRef
	Body verbatim[flowDoc] `required:"true"`
}

// Resolve does the same for an update.
func (in *updateFlowIn) Resolve(hc huma.Context) []error {
	return append(in.FlowRef.Resolve(hc), warnFlow(hc, in.Body.Raw)...)
}

func warnFlow(hc huma.Context, raw json.RawMessage) []error {
	for _, name := range engine.InertFlowFields(raw) {
		warnInert(hc, name)
	}
	return nil
}

// saveFlow saves a flow in place of the one at a path; "": as a new one.
func (a *API) saveFlow(ctx context.Context, workspace, replaces string, body *verbatim[flowDoc]) error {
	doc := &body.Value
	if err := checkPath(doc.Path); err != nil {
		return err
	}
	named(ctx, doc.Path)
	if err := callerOf(ctx).may(scope{domain: "flows", action: "write", paths: doc.Path}); err != nil {
		return err
	}
	_, err := a.e.SaveFlow(ctx, workspace, engine.NewFlow{
		Body: body.Raw, EditedBy: callerOf(ctx).Username, Email: callerOf(ctx).Email, By: ptr(who(ctx, workspace)), Replaces: replaces, ApplyToWaiting: doc.ApplyLimitsToWaiting,
	})
	return err
}

func (a *API) flowVersion(ctx context.Context, in *FlowVersionRef) (flowJSON, error) {
	f, err := a.e.FlowVersion(ctx, in.Workspace, in.Version)
	if err != nil {
		return nil, err
	}
	if err := a.mayRead(ctx, in.Workspace, store.KindFlow, f.Path); err != nil {
		return nil, engine.Unnamed(err, engine.NoVersion, in.Version, in.Workspace)
	}
	if err := callerOf(ctx).may(scope{domain: "flows", action: "read", paths: f.Path}); err != nil {
		return nil, err
	}
	return a.showFlow(ctx, f)
}

// showFlow shows a version of a flow, and who may what with it.
func (a *API) showFlow(ctx context.Context, f *store.Flow) (flowJSON, error) {
	out, err := flowForm(f)
	if err != nil {
		return nil, err
	}
	perms, err := a.e.ExtraPerms(ctx, f.Workspace, store.KindFlow, f.Path)
	out["extra_perms"] = permsOf(perms[f.Path])
	return out, err
}

type listFlowsIn struct {
	WorkspaceRef
	Paging
	ShowArchived bool   `query:"show_archived" doc:"The archived ones instead of the others"`
	PathStart    string `query:"path_start"`
	PathExact    string `query:"path_exact"`
	Client       string `header:"X-Windmill-Client" doc:"cli counts pages from 0"`
}

func (a *API) listFlows(ctx context.Context, in *listFlowsIn) ([]flowJSON, error) {
	out := []flowJSON{}
	offset, most := in.window(100, 1000)
	if in.Client == "cli" { // as in listScripts
		offset = in.Page * most
	}
	f := store.FlowFilter{Workspace: in.Workspace, Sight: who(ctx, in.Workspace).Sight(), Archived: in.ShowArchived, PathStart: in.PathStart, Offset: offset, Limit: most}
	if in.PathExact != "" {
		f.PathStart, f.Limit = in.PathExact, 1 // it comes before all that it begins
	}
	list, err := a.e.Flows(ctx, f)
	if err != nil {
		return nil, err
	}
	perms, err := a.e.ExtraPerms(ctx, in.Workspace, store.KindFlow, pathsOf(list, func(f *store.Flow) string { return f.Path })...)
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if in.PathExact != "" && f.Path != in.PathExact {
			continue
		}
		form, err := flowForm(f)
		if err != nil {
			return nil, err
		}
		form["extra_perms"] = permsOf(perms[f.Path])
		out = append(out, form)
	}
	return out, nil
}

func (a *API) listFlowPaths(ctx context.Context, in *WorkspaceRef) ([]string, error) {
	const piece = 1000
	paths := []string{}
	for {
		list, err := a.e.Flows(ctx, store.FlowFilter{Workspace: in.Workspace, Sight: who(ctx, in.Workspace).Sight(), Offset: len(paths), Limit: piece})
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			paths = append(paths, f.Path)
		}
		if len(list) < piece {
			return paths, nil
		}
	}
}

type flowVersionJSON struct {
	ID            int64     `json:"id"`
	CreatedAt     time.Time `json:"created_at"`
	CreatedBy     string    `json:"created_by" doc:"Ours"`
	DeploymentMsg *string   `json:"deployment_msg" nullable:"true"`
}

func (a *API) flowHistory(ctx context.Context, in *FlowRef) ([]flowVersionJSON, error) {
	list, err := a.e.FlowVersions(ctx, in.Workspace, in.Path)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, notFound("there is no flow %s", in.Path)
	}
	out := make([]flowVersionJSON, 0, len(list))
	for _, f := range list {
		var pushed struct {
			Message *string `json:"deployment_message"`
		}
		if err := json.Unmarshal(f.Settings, &pushed); err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) {
			return nil, fmt.Errorf("read the settings of version %d of flow %s: %w", f.N, f.Path, err)
		}
		out = append(out, flowVersionJSON{ID: f.N, CreatedAt: f.EditedAt.UTC(), CreatedBy: f.EditedBy, DeploymentMsg: pushed.Message})
	}
	return out, nil
}

type archiveFlowIn struct {
	FlowRef
	Body *struct {
		Archived *bool `json:"archived" doc:"False takes it out of the archive; true if left out"`
	}
}

func (a *API) archiveFlow(ctx context.Context, in *archiveFlowIn) (string, error) {
	archived := in.Body == nil || in.Body.Archived == nil || *in.Body.Archived
	said := "archived " + in.Path
	if !archived {
		said = "took " + in.Path + " out of the archive"
	}
	return said, a.e.ArchiveFlow(ctx, in.Workspace, in.Path, archived)
}
