package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

const longestParameter = 200 // bytes in the audit log

// audit has the change that an operation makes written into the audit log, in
// the transaction of the change; one that no update has recorded is recorded
// when it was answered. What failed leaves no entry.
func (a *API) audit(ctx huma.Context, next func(huma.Context)) {
	need := rights[ctx.Operation().OperationID]
	if need.audit == "" {
		next(ctx)
		return
	}
	act := actFrom(ctx, need)
	ctx = huma.WithContext(ctx, engine.WithAct(ctx.Context(), act))
	next(ctx)
	// An answer that is written piece by piece has no status here.
	if ctx.Status() < http.StatusBadRequest && !act.Recorded() {
		if err := a.e.Record(context.WithoutCancel(ctx.Context()), act); err != nil {
			a.log.Error("a change is not in the audit log", "request", requestID(ctx.Context()), "operation", act.Operation, "error", err)
		}
	}
}

// secretParameters are never recorded.
var secretParameters = map[string]bool{"token": true, "payload": true}

// actFrom describes a call: what it is done to are the parameters of its path.
// Bodies are not recorded; handlers note what matters of them.
func actFrom(ctx huma.Context, need right) *engine.Act {
	c := callerOf(ctx.Context())
	act := &engine.Act{
		Workspace: ctx.Param("workspace"), Username: c.Username, Email: c.Email, Operation: need.audit, Kind: need.kind,
		Address: c.Address, Token: c.Prefix, Parameters: map[string]string{},
	}
	for _, p := range ctx.Operation().Parameters {
		switch {
		case p.In == "path" && p.Name != "workspace":
			act.Resource = ctx.Param(p.Name)
		case p.In == "query" && !secretParameters[p.Name] && ctx.Query(p.Name) != "":
			act.Parameters[p.Name] = shortened(ctx.Query(p.Name))
		}
	}
	return act
}

func shortened(s string) string {
	if len(s) > longestParameter {
		s = s[:longestParameter] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// named says in the audit log what a call is done to, where its path does not.
func named(ctx context.Context, resource string) {
	if act := engine.ActOf(ctx); act != nil {
		act.Resource = shortened(resource)
	}
}

// noted adds a parameter to the entry of a call, unless it was left out.
func noted[T any](ctx context.Context, name string, value *T) {
	if act := engine.ActOf(ctx); act != nil && value != nil {
		act.Parameters[name] = shortened(fmt.Sprint(*value))
	}
}

type auditJSON struct {
	ID         int64           `json:"id"`
	Timestamp  time.Time       `json:"timestamp"`
	Workspace  string          `json:"workspace_id" doc:"Empty: the instance as a whole"`
	Username   string          `json:"username"`
	Email      string          `json:"email"`
	Operation  string          `json:"operation"`
	ActionKind string          `json:"action_kind" enum:"Create,Update,Delete,Execute"`
	Resource   string          `json:"resource,omitempty"`
	Address    string          `json:"address,omitempty" doc:"Ours: from where"`
	Token      string          `json:"token_prefix,omitempty" doc:"Ours: how the token begins"`
	Parameters json.RawMessage `json:"parameters"`
}

type auditIn struct {
	WorkspaceRef
	Paging
	Username      string    `query:"username"`
	Operation     string    `query:"operation" doc:"Such as scripts.create"`
	ActionKind    string    `query:"action_kind" enum:"Create,Update,Delete,Execute"`
	Resource      string    `query:"resource"`
	Before        time.Time `query:"before"`
	After         time.Time `query:"after"`
	AllWorkspaces bool      `query:"all_workspaces" doc:"In the workspace admins, where it is so anyway"`
}

// addAudit registers the audit log.
func (a *API) addAudit() {
	addJSON(a, "GET /api/w/{workspace}/audit/list", "listAuditLogs", "Who changed what, newest first", a.listAudit, inAdmins)
}

func (a *API) listAudit(ctx context.Context, in *auditIn) ([]auditJSON, error) {
	f := store.AuditFilter{
		Workspace: &in.Workspace, Username: in.Username, Operation: in.Operation, Kind: in.ActionKind, Resource: in.Resource,
		Before: in.Before, After: in.After,
	}
	if in.Workspace == adminsID {
		f.Workspace = nil
	} else if in.AllWorkspaces {
		return nil, sluice.Invalid("all_workspaces", "ask it in the workspace %q", adminsID)
	}
	f.Offset, f.Limit = in.window(100, 1000)
	list, err := a.e.AuditEntries(ctx, f)
	out := make([]auditJSON, 0, len(list))
	for _, e := range list {
		out = append(out, auditJSON{
			ID: e.ID, Timestamp: e.At.UTC(), Workspace: e.Workspace, Username: e.Username, Email: e.Email, Operation: e.Operation,
			ActionKind: e.Kind, Resource: e.Resource, Address: e.Address, Token: e.Token, Parameters: e.Parameters,
		})
	}
	return out, err
}
