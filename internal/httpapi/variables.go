package httpapi

import (
	"context"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// variableDoc is a variable as it is sent. Fields that are not described are
// accepted and have no effect.
type variableDoc struct {
	Path        *string `json:"path,omitempty" doc:"Such as f/folder/name; of a change: where it moves to"`
	Value       *string `json:"value,omitempty" doc:"At most 64 KiB"`
	IsSecret    *bool   `json:"is_secret,omitempty" doc:"Kept encrypted, and hidden in lists"`
	Description *string `json:"description,omitempty" nullable:"true"`
}

type variableJSON struct {
	Workspace   string          `json:"workspace_id"`
	Path        string          `json:"path"`
	Value       *string         `json:"value" nullable:"true" doc:"null: it is a secret"`
	IsSecret    bool            `json:"is_secret"`
	Description string          `json:"description"`
	ExtraPerms  map[string]bool `json:"extra_perms" doc:"Users and groups that were given a right on it: whether they may write"`
	Account     *int            `json:"account" nullable:"true" doc:"Always null"`
	IsOauth     bool            `json:"is_oauth" doc:"Always false"`
	IsExpired   bool            `json:"is_expired" doc:"Always false"`
}

func variableForm(v *store.Variable) variableJSON {
	out := variableJSON{Workspace: v.Workspace, Path: v.Path, IsSecret: v.Secret(), Description: v.Description, ExtraPerms: map[string]bool{}}
	if !v.Secret() {
		value := string(v.Value)
		out.Value = &value
	}
	return out
}

// VariableRef is a variable or a resource, named in the path of a call.
type VariableRef struct {
	Workspace string `path:"workspace"`
	Path      string `path:"path"`
}

// Resolve checks the path.
func (in *VariableRef) Resolve(huma.Context) []error {
	if err := checkPath(in.Path); err != nil {
		return []error{err}
	}
	return nil
}

// secretsOf says why a caller may not see secrets; nil: it may. What an operator
// runs uses them, and an operator does not read them.
func secretsHidden(ctx context.Context, workspace string) error {
	c := callerOf(ctx)
	if c.Kind == byJob || c.role(workspace).AtLeast(sluice.RoleDeveloper) {
		return nil
	}
	return sluice.Errorf(sluice.CodeForbidden, "only a member with the role %s may see secrets; yours in %s is %s", sluice.RoleDeveloper, workspace, c.role(workspace))
}

type createVariableIn struct {
	WorkspaceRef
	Sealed bool `query:"already_encrypted" doc:"The value of a secret is as get with include_encrypted returned it"`
	Body   variableDoc
}

type updateVariableIn struct {
	VariableRef
	Sealed bool `query:"already_encrypted" doc:"The value of a secret is as get with include_encrypted returned it"`
	Body   variableDoc
}

type getVariableIn struct {
	VariableRef
	Decrypt   bool `query:"decrypt_secret" doc:"Show a secret; it stands in the audit log"`
	Encrypted bool `query:"include_encrypted" doc:"Show a secret as it is encrypted"`
}

type listVariablesIn struct {
	WorkspaceRef
	Paging
	PathStart string `query:"path_start"`
}

func (d *variableDoc) change(sealed bool) engine.VariableChange {
	return engine.VariableChange{Path: d.Path, Value: d.Value, Secret: d.IsSecret, Description: d.Description, Sealed: sealed && d.Value != nil}
}

// addVariables registers variables.
func (a *API) addVariables() {
	addText(a, "POST /api/w/{workspace}/variables/create", "createVariable", "Make a variable", a.createVariable, created)
	addText(a, "POST /api/w/{workspace}/variables/update/{path...}", "updateVariable", "Change a variable; what is left out stays", a.updateVariable)
	addText(a, "DELETE /api/w/{workspace}/variables/delete/{path...}", "deleteVariable", "Delete a variable",
		func(ctx context.Context, in *VariableRef) (string, error) {
			return "variable " + in.Path + " deleted", a.e.DeleteVariable(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
		})
	addJSON(a, "GET /api/w/{workspace}/variables/get/{path...}", "getVariable", "A variable; a secret without its value unless it is asked for", a.getVariable)
	addJSON(a, "GET /api/w/{workspace}/variables/get_value/{path...}", "getVariableValue", "The value of a variable, that of a secret, too",
		func(ctx context.Context, in *VariableRef) (string, error) {
			_, value, err := a.variableValue(ctx, in)
			return value, err
		})
	addJSON(a, "GET /api/w/{workspace}/variables/exists/{path...}", "existsVariable", "Whether there is a variable at a path",
		func(ctx context.Context, in *VariableRef) (bool, error) {
			_, err := a.e.Variable(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
			return exists(err)
		})
	addJSON(a, "GET /api/w/{workspace}/variables/list", "listVariable", "Variables by path, without the values of secrets", a.listVariables)
	addJSON(a, "POST /api/settings/rotate_keys", "rotateKeys", "Give workspaces new keys, and encrypt all secrets anew; or wrap their keys by the server's newest master key", a.rotateKeys)
}

// exists turns the error of a look-up into an answer.
func exists(err error) (bool, error) {
	if sluice.CodeOf(err) == sluice.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

func (a *API) createVariable(ctx context.Context, in *createVariableIn) (string, error) {
	path, err := pathOfBody(ctx, in.Body.Path, "variables")
	if err != nil {
		return "", err
	}
	return "variable " + path + " created", a.e.CreateVariable(ctx, in.Workspace, in.Body.change(in.Sealed), who(ctx, in.Workspace))
}

// pathOfBody checks the path in a body, and the token's scope for it.
func pathOfBody(ctx context.Context, path *string, domain string) (string, error) {
	if path == nil {
		return "", sluice.Invalid("path", "is required")
	}
	if err := checkPath(*path); err != nil {
		return "", err
	}
	named(ctx, *path)
	return *path, callerOf(ctx).may(scope{domain: domain, action: "write", paths: *path})
}

// movesTo returns the path at which what a change names will be. The entry in
// the audit log goes on naming the old one.
func (v *VariableRef) movesTo(ctx context.Context, path *string, domain string) (string, error) {
	if path == nil {
		return v.Path, nil
	}
	to, err := pathOfBody(ctx, path, domain)
	named(ctx, v.Path)
	noted(ctx, "new_path", path)
	return to, err
}

func (a *API) updateVariable(ctx context.Context, in *updateVariableIn) (string, error) {
	to, err := in.movesTo(ctx, in.Body.Path, "variables")
	if err != nil {
		return "", err
	}
	return "variable " + in.Path + " updated (npath: " + to + ")", a.e.UpdateVariable(ctx, in.Workspace, in.Path, in.Body.change(in.Sealed), who(ctx, in.Workspace))
}

// variableValue reads a value. What a person sees of secrets is recorded.
func (a *API) variableValue(ctx context.Context, in *VariableRef) (*store.Variable, string, error) {
	v, err := a.e.Variable(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
	if err != nil || !v.Secret() {
		if err != nil {
			return nil, "", err
		}
		return v, string(v.Value), nil
	}
	if err := secretsHidden(ctx, in.Workspace); err != nil {
		return nil, "", err
	}
	v, value, err := a.e.VariableValue(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
	if err == nil {
		err = a.recordLook(ctx, in.Workspace, in.Path)
	}
	return v, value, err
}

// recordLook notes that a person sees a secret.
func (a *API) recordLook(ctx context.Context, workspace, path string) error {
	c := callerOf(ctx)
	if c.Kind == byJob {
		return nil
	}
	return a.e.Record(ctx, &engine.Act{
		Workspace: workspace, Username: c.Username, Email: c.Email, Operation: "variables.decrypt_secret", Kind: kindExecute,
		Resource: path, Address: c.Address, Token: c.Prefix,
	})
}

func (a *API) getVariable(ctx context.Context, in *getVariableIn) (variableJSON, error) {
	v, err := a.e.Variable(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
	if err != nil {
		return variableJSON{}, err
	}
	form := variableForm(v)
	switch {
	case !v.Secret():
	case in.Decrypt:
		v, value, err := a.variableValue(ctx, &in.VariableRef)
		if err != nil {
			return variableJSON{}, err
		}
		form = variableForm(v)
		form.Value = &value
	case in.Encrypted:
		text := a.e.SealedText(v)
		form.Value = &text
	}
	perms, err := a.e.ExtraPerms(ctx, in.Workspace, store.KindVariable, v.Path)
	form.ExtraPerms = permsOf(perms[v.Path])
	return form, err
}

func (a *API) listVariables(ctx context.Context, in *listVariablesIn) ([]variableJSON, error) {
	const most = 1000
	offset, n := in.window(most, most)
	list, err := a.e.Variables(ctx, store.VariableFilter{Workspace: in.Workspace, PathStart: in.PathStart, Offset: offset, Limit: n}, who(ctx, in.Workspace))
	if err != nil {
		return nil, err
	}
	perms, err := a.e.ExtraPerms(ctx, in.Workspace, store.KindVariable, pathsOf(list, func(v *store.Variable) string { return v.Path })...)
	out := make([]variableJSON, len(list))
	for i, v := range list {
		out[i] = variableForm(v)
		out[i].ExtraPerms = permsOf(perms[v.Path])
	}
	return out, err
}

type rotateKeysIn struct {
	Body struct {
		Master    bool   `json:"master,omitempty" doc:"Only wrap the keys of workspaces by the server's newest master key, where another one wraps them"`
		Workspace string `json:"workspace,omitempty" doc:"Of one workspace; of all if left out"`
	}
}

type rotationJSON struct {
	Workspaces int `json:"workspaces" doc:"Whose key was changed, or wrapped anew"`
	Secrets    int `json:"secrets" doc:"That were encrypted anew"`
}

func (a *API) rotateKeys(ctx context.Context, in *rotateKeysIn) (rotationJSON, error) {
	named(ctx, strings.TrimSpace("keys "+in.Body.Workspace))
	done, err := a.e.RotateKeys(ctx, in.Body.Workspace, in.Body.Master)
	return rotationJSON{Workspaces: done.Workspaces, Secrets: done.Secrets}, err
}
