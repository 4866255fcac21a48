package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// scriptDoc describes the fields of a script that mean something here. All
// others are accepted, stored and given back.
type scriptDoc struct {
	Path                 string          `json:"path" required:"true" doc:"Such as f/folder/name"`
	Content              string          `json:"content" required:"true"`
	Language             string          `json:"language" required:"true" doc:"Such as bash"`
	Summary              string          `json:"summary,omitempty"`
	Description          string          `json:"description,omitempty"`
	Kind                 string          `json:"kind,omitempty" doc:"script if left out"`
	Lock                 *string         `json:"lock,omitempty" nullable:"true"`
	Schema               json.RawMessage `json:"schema,omitempty" doc:"A JSON schema of the arguments, for people and forms"`
	Tag                  *string         `json:"tag,omitempty" nullable:"true" doc:"Runs on workers that serve it; the language if left out"`
	Priority             *int            `json:"priority,omitempty" nullable:"true" minimum:"-100" maximum:"100"`
	Timeout              *float64        `json:"timeout,omitempty" nullable:"true" doc:"Seconds that a job may run"`
	OnLimit              *string         `json:"on_concurrency_limit,omitempty" nullable:"true" enum:"queue,fail" doc:"Ours: what becomes of a job that finds no room when it is due"`
	MaxWaitS             *float64        `json:"max_wait_s,omitempty" nullable:"true" minimum:"0" doc:"Ours: a job that has not started so long after it is due fails"`
	MaxLostAttempts      *int            `json:"max_lost_attempts,omitempty" nullable:"true" minimum:"0" doc:"Ours: new attempts after a lost worker; 3 if left out"`
	ApplyLimitsToWaiting bool            `json:"apply_limits_to_waiting,omitempty" doc:"Ours: jobs of this path that wait already take the new limit; their key stays"`
	ParentHash           *string         `json:"parent_hash,omitempty" nullable:"true" doc:"Hash of the version that this one replaces: refused with 409 if it is not the newest any more"`
	AutoParent           bool            `json:"auto_parent,omitempty" doc:"Replace whatever is newest, whatever parent_hash says"`
	DeleteAfterSecs      *int64          `json:"delete_after_secs,omitempty" nullable:"true" doc:"Seconds for which a job is kept after its end"`
	DeleteAfterUse       *bool           `json:"delete_after_use,omitempty" nullable:"true" doc:"A job is deleted when it has ended"`
	HasPreprocessor      *bool           `json:"has_preprocessor,omitempty" nullable:"true"`
	DedicatedWorker      *bool           `json:"dedicated_worker,omitempty" nullable:"true" doc:"A worker keeps a process for the runs of this script, in languages whose programs can stay"`
	Labels               json.RawMessage `json:"labels,omitempty" doc:"Labels of its jobs"`
	InertFields
	RefusedFields
	DeploymentMessage *string `json:"deployment_message,omitempty" nullable:"true"`
	LimitFields
}

// InertFields describes fields that are stored and have no effect.
type InertFields struct {
	CacheTTL          json.RawMessage `json:"cache_ttl,omitempty" doc:"No effect yet: stored, and answered with a warning"`
	CacheIgnoreS3Path json.RawMessage `json:"cache_ignore_s3_path,omitempty" doc:"No effect yet: stored, and answered with a warning"`
	HandlerMuted      json.RawMessage `json:"ws_error_handler_muted,omitempty" doc:"No effect yet: stored, and answered with a warning"`
	OnBehalfOfEmail   json.RawMessage `json:"on_behalf_of_email,omitempty" doc:"No effect yet: stored, and answered with a warning"`
	OnBehalfOf        json.RawMessage `json:"on_behalf_of,omitempty" doc:"No effect yet: stored, and answered with a warning"`
	PreserveOnBehalf  json.RawMessage `json:"preserve_on_behalf_of,omitempty" doc:"No effect yet: answered with a warning"`
	SkipDraftDeletion json.RawMessage `json:"skip_draft_deletion,omitempty" doc:"There are no drafts"`
}

// RefusedFields describes fields that are refused if they ask for anything.
type RefusedFields struct {
	Envs                json.RawMessage `json:"envs,omitempty" doc:"Refused if not empty: not supported yet"`
	Codebase            json.RawMessage `json:"codebase,omitempty" doc:"Refused if not empty: not supported yet"`
	Modules             json.RawMessage `json:"modules,omitempty" doc:"Refused if not empty: not supported yet"`
	Restart             json.RawMessage `json:"restart_unless_cancelled,omitempty" doc:"Refused if true: not supported yet"`
	VisibleToRunnerOnly json.RawMessage `json:"visible_to_runner_only,omitempty" doc:"Refused if true: not supported yet"`
	DebounceKey         json.RawMessage `json:"debounce_key,omitempty" doc:"Refused if set: not supported yet"`
	DebounceDelay       json.RawMessage `json:"debounce_delay_s,omitempty" doc:"Refused if set: not supported yet"`
	DebounceArgs        json.RawMessage `json:"debounce_args_to_accumulate,omitempty" doc:"Refused if set: not supported yet"`
	MaxDebouncingTime   json.RawMessage `json:"max_total_debouncing_time,omitempty" doc:"Refused if set: not supported yet"`
	MaxDebouncesAmount  json.RawMessage `json:"max_total_debounces_amount,omitempty" doc:"Refused if set: not supported yet"`
}

// scriptJSON is a script as it is shown: what was pushed, and what the server
// knows beside it.
type scriptJSON map[string]any

// Schema describes the script.
func (scriptJSON) Schema(r huma.Registry) *huma.Schema {
	return echoed[scriptDoc, scriptKnown](r)
}

// scriptKnown is what the server adds to what was pushed.
type scriptKnown struct {
	Workspace           string         `json:"workspace_id"`
	Hash                string         `json:"hash" doc:"16 hex digits"`
	ParentHashes        []string       `json:"parent_hashes" nullable:"true"`
	CreatedBy           string         `json:"created_by"`
	CreatedAt           time.Time      `json:"created_at"`
	Archived            bool           `json:"archived"`
	Deleted             bool           `json:"deleted"`
	IsTemplate          bool           `json:"is_template"`
	ExtraPerms          map[string]any `json:"extra_perms"`
	Starred             bool           `json:"starred"`
	HasPreprocessor     bool           `json:"has_preprocessor"`
	WSErrorHandlerMuted bool           `json:"ws_error_handler_muted"`
	LockErrorLogs       string         `json:"lock_error_logs,omitempty" doc:"Why the lock could not be made"`
}

// requestOnly are fields of a push that say how to save, not what.
var requestOnly = []string{
	"apply_limits_to_waiting", "auto_parent", "deployment_message", "parent_hash", "preserve_on_behalf_of",
	"preserve_permissioned_as", "skip_draft_deletion", "skip_if_noop",
}

// scriptForm echoes a script as it was pushed. What was null is left out:
// clients that compare take null for a difference.
func scriptForm(s *store.Script, withContent bool) (scriptJSON, error) {
	f := scriptJSON{
		"summary": "", "description": "", "kind": "script", "is_template": false, "extra_perms": map[string]any{},
		"starred": false, "has_preprocessor": false, "ws_error_handler_muted": false,
	}
	var pushed map[string]json.RawMessage
	if len(s.Settings) > 0 {
		if err := json.Unmarshal(s.Settings, &pushed); err != nil {
			return nil, fmt.Errorf("read the settings of script %s: %w", s.Hash, err)
		}
	}
	for name, v := range pushed {
		if string(v) != "null" {
			f[name] = v
		}
	}
	for _, name := range requestOnly {
		delete(f, name)
	}
	showLock(f, s)
	f["workspace_id"], f["hash"], f["path"] = s.Workspace, s.Hash, s.Path
	f["content"], f["language"] = s.Content, s.Language
	f["created_by"], f["created_at"] = s.CreatedBy, s.CreatedAt.UTC()
	f["archived"], f["deleted"] = s.Archived, s.Deleted
	f["parent_hashes"] = nil
	if s.Parent != "" {
		f["parent_hashes"] = []string{s.Parent}
	}
	if !withContent {
		delete(f, "content")
		delete(f, "schema")
		delete(f, "lock")
	}
	return f, nil
}

// ScriptRef is a script, named in the path of a call.
type ScriptRef struct {
	Workspace string `path:"workspace"`
	Path      string `path:"path" doc:"Path of the script"`
}

// Resolve checks the path.
func (in *ScriptRef) Resolve(huma.Context) []error {
	if err := checkPath(in.Path); err != nil {
		return []error{err}
	}
	return nil
}

const warningHeader = "X-Sluice-Warning"

// warn tells the caller of something that is accepted and has no effect.
func warn(hc huma.Context, text string) { hc.AppendHeader(warningHeader, text) }

// warnInert tells the caller that a field or parameter has no effect.
func warnInert(hc huma.Context, name string) { warn(hc, name+" has no effect here yet") }

// warns documents that an answer may carry warnings.
func warns(op *huma.Operation) { setMeta(op, metaWarns) }

// addScripts registers scripts.
func (a *API) addScripts() {
	addText(a, "POST /api/w/{workspace}/scripts/create", "createScript", "Save a version of a script; answers with its hash", a.createScript, created, warns)
	addText(a, "POST /api/w/{workspace}/scripts/create_snapshot", "createScriptSnapshot", "Not supported yet: save a script with a bundle",
		func(context.Context, *WorkspaceRef) (string, error) {
			return "", sluice.Errorf(sluice.CodeInvalid, "bundled codebases are not supported yet; push the script without a codebase")
		}, created)
	addJSON(a, "GET /api/w/{workspace}/scripts/get/p/{path...}", "getScriptByPath", "The newest version of a script",
		func(ctx context.Context, in *ScriptRef) (scriptJSON, error) {
			s, err := a.e.Script(ctx, in.Workspace, in.Path)
			if err != nil {
				return nil, err
			}
			if s.Deleted {
				return nil, notFound("there is no script %s", in.Path)
			}
			return a.showScript(ctx, s)
		})
	addJSON(a, "GET /api/w/{workspace}/scripts/get/h/{hash}", "getScriptByHash", "One version of a script",
		func(ctx context.Context, in *RunHash) (scriptJSON, error) {
			s, err := a.e.ScriptByHash(ctx, in.Workspace, strings.ToLower(in.Hash))
			if err != nil {
				return nil, err
			}
			if err := a.mayReadVersion(ctx, s); err != nil {
				return nil, err
			}
			if err := callerOf(ctx).may(scope{domain: "scripts", action: "read", paths: s.Path}); err != nil {
				return nil, err
			}
			return a.showScript(ctx, s)
		})
	addJSON(a, "GET /api/w/{workspace}/scripts/list", "listScripts", "The newest versions of scripts, without their code", a.listScripts)
	a.addVersions()
	a.addDrafts()
	addJSON(a, "POST /api/w/{workspace}/scripts/raw_temp/diff", "diffRawTemp", "Which local scripts differ from the saved ones, or are not saved", a.diffTemp)
	addText(a, "POST /api/w/{workspace}/scripts/raw_temp/store", "storeRawTemp", "Name the content of a local script by its hash; it is not kept", a.storeTemp, warns)
}

// addVersions registers what concerns versions of a script.
func (a *API) addVersions() {
	addJSON(a, "GET /api/w/{workspace}/scripts/history/p/{path...}", "getScriptHistoryByPath", "The versions of a script, newest first", a.scriptHistory)
	addJSON(a, "GET /api/w/{workspace}/scripts/diff/{hash_a}/{hash_b}", "diffScripts", "Ours: what differs between two versions", a.diffScripts)
	addText(a, "POST /api/w/{workspace}/scripts/archive/p/{path...}", "archiveScriptByPath", "Archive a script: nobody can run it then",
		func(ctx context.Context, in *ScriptRef) (string, error) {
			return "archived " + in.Path, a.e.ArchiveScript(ctx, in.Workspace, in.Path)
		})
	addJSON(a, "POST /api/w/{workspace}/scripts/archive/h/{hash}", "archiveScriptByHash", "Archive one version of a script: nobody can run it then",
		func(ctx context.Context, in *RunHash) (scriptJSON, error) {
			if err := a.mayWriteVersion(ctx, in); err != nil {
				return nil, err
			}
			s, err := a.e.ArchiveScriptHash(ctx, in.Workspace, strings.ToLower(in.Hash))
			if err != nil {
				return nil, err
			}
			return scriptForm(s, true)
		})
	addText(a, "POST /api/w/{workspace}/scripts/delete/p/{path...}", "deleteScriptByPath", "Erase all versions of a script; jobs of it that wait fail",
		func(ctx context.Context, in *ScriptRef) (string, error) {
			return "deleted " + in.Path, a.e.DeleteScript(ctx, in.Workspace, in.Path)
		})
	addJSON(a, "POST /api/w/{workspace}/scripts/delete/h/{hash}", "deleteScriptByHash", "Erase one version of a script; jobs of it that wait fail",
		func(ctx context.Context, in *RunHash) (scriptJSON, error) {
			if err := a.mayWriteVersion(ctx, in); err != nil {
				return nil, err
			}
			s, err := a.e.DeleteScriptHash(ctx, in.Workspace, strings.ToLower(in.Hash))
			if err != nil {
				return nil, err
			}
			return scriptForm(s, true)
		})
}

// addDrafts registers the calls about drafts, which say that there are none.
func (a *API) addDrafts() {
	const none = "Not supported: there are no drafts"
	addText(a, "POST /api/w/{workspace}/drafts/create", "createDraft", none, func(context.Context, *WorkspaceRef) (string, error) {
		return "", sluice.Errorf(sluice.CodeInvalid, "drafts are not supported; push the script itself")
	}, created)
	addText(a, "DELETE /api/w/{workspace}/drafts/delete/{kind}/{path...}", "deleteDraft", none, func(_ context.Context, in *struct {
		Workspace string `path:"workspace"`
		Kind      string `path:"kind"`
		Path      string `path:"path"`
	},
	) (string, error) {
		return "", notFound("there is no draft of %s: drafts are not supported", in.Path)
	})
	addJSON(a, "GET /api/w/{workspace}/scripts/get/draft/{path...}", "getScriptByPathWithDraft", none, func(_ context.Context, in *ScriptRef) (scriptJSON, error) {
		return nil, notFound("there is no draft of %s: drafts are not supported; get the script itself", in.Path)
	})
}

// showScript shows a version of a script with its code, and who may what with it.
func (a *API) showScript(ctx context.Context, s *store.Script) (scriptJSON, error) {
	f, err := scriptForm(s, true)
	if err != nil {
		return nil, err
	}
	perms, err := a.e.ExtraPerms(ctx, s.Workspace, store.KindScript, s.Path)
	f["extra_perms"] = permsOf(perms[s.Path])
	return f, err
}

// permsOf returns a map that is not nil.
func permsOf(perms map[string]bool) map[string]bool {
	if perms == nil {
		return map[string]bool{}
	}
	return perms
}

// mayWriteVersion asks whether the caller may change the script that a version
// is one of.
func (a *API) mayWriteVersion(ctx context.Context, in *RunHash) error {
	s, err := a.e.ScriptByHash(ctx, in.Workspace, in.hash())
	if err != nil {
		return err
	}
	err = a.e.Allow(ctx, in.Workspace, store.KindScript, s.Path, who(ctx, in.Workspace), store.RightWrite)
	return engine.Unnamed(err, engine.NoHash, s.Hash, s.Workspace)
}

// pathsOf returns the paths of things in a list.
func pathsOf[T any](list []T, path func(T) string) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = path(x)
	}
	return out
}

func ptr[T any](v T) *T { return &v }

type createScriptIn struct {
	WorkspaceRef
	SkipIfNoop bool                `query:"skip_if_noop" doc:"If nothing would change, save nothing and answer with the newest version's hash"`
	Body       verbatim[scriptDoc] `required:"true"`
}

// Resolve tells which of the pushed settings have no effect.
func (in *createScriptIn) Resolve(hc huma.Context) []error {
	for _, name := range engine.InertFields(in.Body.Raw) {
		warnInert(hc, name)
	}
	return nil
}

func (a *API) createScript(ctx context.Context, in *createScriptIn) (string, error) {
	doc := &in.Body.Value
	if err := checkPath(doc.Path); err != nil {
		return "", err
	}
	named(ctx, doc.Path)
	if err := callerOf(ctx).may(scope{domain: "scripts", action: "write", paths: doc.Path}); err != nil {
		return "", err
	}
	if _, err := doc.fields().Validate(); err != nil {
		return "", err
	}
	return a.e.SaveScript(ctx, in.Workspace, engine.NewScript{
		Body: in.Body.Raw, CreatedBy: callerOf(ctx).Username, Email: callerOf(ctx).Email, By: ptr(who(ctx, in.Workspace)),
		ApplyToWaiting: doc.ApplyLimitsToWaiting, SkipIfNoop: in.SkipIfNoop,
	})
}

type listScriptsIn struct {
	WorkspaceRef
	Paging
	ShowArchived bool   `query:"show_archived" doc:"The archived ones instead of the others"`
	PathStart    string `query:"path_start"`
	PathExact    string `query:"path_exact"`
	Client       string `header:"X-Windmill-Client" doc:"cli counts pages from 0"`
}

func (a *API) listScripts(ctx context.Context, in *listScriptsIn) ([]scriptJSON, error) {
	out := []scriptJSON{}
	if in.PathExact != "" {
		s, err := a.e.Script(ctx, in.Workspace, in.PathExact)
		if err == nil {
			err = a.mayRead(ctx, in.Workspace, store.KindScript, in.PathExact)
		}
		if sluice.CodeOf(err) == sluice.CodeNotFound || err == nil && (s.Deleted || s.Archived != in.ShowArchived) || in.skipsFirst() {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		f, err := scriptForm(s, false)
		return append(out, f), err
	}
	offset, most := in.window(100, 1000)
	if in.Client == "cli" {
		// The command line asks for page 0, 1, 2…; page 0 and 1 are the same to
		// everybody else.
		offset = in.Page * most
	}
	list, err := a.e.Scripts(ctx, store.ScriptFilter{
		Workspace: in.Workspace, Sight: who(ctx, in.Workspace).Sight(), Archived: in.ShowArchived, PathStart: in.PathStart, Offset: offset, Limit: most,
	})
	if err != nil {
		return nil, err
	}
	perms, err := a.e.ExtraPerms(ctx, in.Workspace, store.KindScript, pathsOf(list, func(s *store.Script) string { return s.Path })...)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		f, err := scriptForm(s, false)
		if err != nil {
			return nil, err
		}
		f["extra_perms"] = permsOf(perms[s.Path])
		out = append(out, f)
	}
	return out, nil
}

type versionJSON struct {
	Hash          string    `json:"script_hash"`
	DeploymentMsg *string   `json:"deployment_msg" nullable:"true"`
	CreatedAt     time.Time `json:"created_at"`
	CreatedBy     string    `json:"created_by"`
}

func (a *API) scriptHistory(ctx context.Context, in *ScriptRef) ([]versionJSON, error) {
	list, err := a.e.ScriptVersions(ctx, in.Workspace, in.Path)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(s *store.Script) bool { return s.Deleted })
	if len(list) == 0 {
		return nil, notFound("there is no script %s", in.Path)
	}
	out := make([]versionJSON, 0, len(list))
	for _, s := range list {
		var pushed struct {
			Message *string `json:"deployment_message"`
		}
		if err := json.Unmarshal(s.Settings, &pushed); err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) {
			return nil, fmt.Errorf("read the settings of script %s: %w", s.Hash, err)
		}
		out = append(out, versionJSON{Hash: s.Hash, DeploymentMsg: pushed.Message, CreatedAt: s.CreatedAt.UTC(), CreatedBy: s.CreatedBy})
	}
	return out, nil
}
