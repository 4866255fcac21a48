package httpapi

import (
	"context"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// stateType is the resource type of what scripts remember from run to run.
const stateType = engine.StateType

// resourceDoc is a resource as it is sent. Fields that are not described are
// accepted and have no effect.
type resourceDoc struct {
	Path        *string `json:"path,omitempty" doc:"Such as f/folder/name; of a change: where it moves to"`
	Type        *string `json:"resource_type,omitempty" doc:"Such as postgresql; any name"`
	Value       anyJSON `json:"value,omitempty" doc:"Any JSON, at most 1 MiB. A string $var:PATH in it stands for a variable, $res:PATH for another resource"`
	Description *string `json:"description,omitempty" nullable:"true"`
}

type resourceJSON struct {
	Workspace   string          `json:"workspace_id"`
	Path        string          `json:"path"`
	Type        string          `json:"resource_type"`
	Value       anyJSON         `json:"value" doc:"As it was sent; null in lists"`
	Description string          `json:"description"`
	ExtraPerms  map[string]bool `json:"extra_perms" doc:"Users and groups that were given a right on it: whether they may write"`
	CreatedBy   string          `json:"created_by"`
	EditedAt    time.Time       `json:"edited_at"`
	IsOauth     bool            `json:"is_oauth" doc:"Always false"`
}

func resourceForm(s *store.Resource) resourceJSON {
	return resourceJSON{
		Workspace: s.Workspace, Path: s.Path, Type: s.Type, Value: anyJSON(s.Value), Description: s.Description,
		ExtraPerms: map[string]bool{}, CreatedBy: s.CreatedBy, EditedAt: s.EditedAt.UTC(),
	}
}

func (d *resourceDoc) change() engine.ResourceChange {
	return engine.ResourceChange{Path: d.Path, Type: d.Type, Value: []byte(d.Value), Description: d.Description}
}

type createResourceIn struct {
	WorkspaceRef
	Replace bool `query:"update_if_exists" doc:"Change the one that is there"`
	Body    resourceDoc
}

type updateResourceIn struct {
	VariableRef
	Body resourceDoc
}

type updateResourceValueIn struct {
	VariableRef
	Body struct {
		Value anyJSON `json:"value" doc:"Any JSON, at most 1 MiB"`
	}
}

type listResourcesIn struct {
	WorkspaceRef
	Paging
	PathStart string `query:"path_start"`
	Type      string `query:"resource_type" doc:"One type, or several with commas between"`
	NoType    string `query:"resource_type_exclude" doc:"None of these types"`
	Client    string `header:"X-Windmill-Client" doc:"cli counts pages from 0"`
}

// addResources registers resources.
func (a *API) addResources() {
	addText(a, "POST /api/w/{workspace}/resources/create", "createResource", "Make a resource", a.createResource, created)
	addText(a, "POST /api/w/{workspace}/resources/update/{path...}", "updateResource", "Change a resource; what is left out stays", a.updateResource)
	addText(a, "POST /api/w/{workspace}/resources/update_value/{path...}", "updateResourceValue", "Change the value of a resource",
		func(ctx context.Context, in *updateResourceValueIn) (string, error) {
			if len(in.Body.Value) == 0 {
				in.Body.Value = anyJSON("null")
			}
			c := engine.ResourceChange{Value: []byte(in.Body.Value)}
			return "value of resource " + in.Path + " updated", a.e.UpdateResource(ctx, in.Workspace, in.Path, c, who(ctx, in.Workspace), a.mayWrite(ctx, in.Workspace))
		})
	addText(a, "DELETE /api/w/{workspace}/resources/delete/{path...}", "deleteResource", "Delete a resource",
		func(ctx context.Context, in *VariableRef) (string, error) {
			return "resource " + in.Path + " deleted", a.e.DeleteResource(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
		})
	addJSON(a, "GET /api/w/{workspace}/resources/get/{path...}", "getResource", "A resource, as it was sent",
		func(ctx context.Context, in *VariableRef) (resourceJSON, error) {
			s, err := a.e.Resource(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
			if err != nil {
				return resourceJSON{}, err
			}
			form := resourceForm(s)
			perms, err := a.e.ExtraPerms(ctx, in.Workspace, store.KindResource, s.Path)
			form.ExtraPerms = permsOf(perms[s.Path])
			return form, err
		})
	addJSON(a, "GET /api/w/{workspace}/resources/get_value/{path...}", "getResourceValue", "The value of a resource, as it was sent",
		func(ctx context.Context, in *VariableRef) (anyJSON, error) {
			s, err := a.e.Resource(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
			if err != nil {
				return nil, err
			}
			return anyJSON(s.Value), nil
		})
	addJSON(a, "GET /api/w/{workspace}/resources/get_value_interpolated/{path...}", "getResourceValueInterpolated",
		"The value of a resource, with the variables and resources that it refers to",
		func(ctx context.Context, in *VariableRef) (anyJSON, error) {
			may := func(domain, path string, secret bool) error {
				err := callerOf(ctx).may(scope{domain: domain, action: "read", paths: path})
				if err == nil && secret {
					err = secretsHidden(ctx, in.Workspace)
				}
				return err
			}
			v, opened, err := a.e.ResourceValue(ctx, in.Workspace, in.Path, who(ctx, in.Workspace), may)
			for _, path := range opened {
				if err == nil {
					err = a.recordLook(ctx, in.Workspace, path)
				}
			}
			return anyJSON(v), err
		})
	addJSON(a, "GET /api/w/{workspace}/resources/exists/{path...}", "existsResource", "Whether there is a resource at a path",
		func(ctx context.Context, in *VariableRef) (bool, error) {
			_, err := a.e.Resource(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
			return exists(err)
		})
	addJSON(a, "GET /api/w/{workspace}/resources/list", "listResource", "Resources by path, without their values", a.listResources)
	addJSON(a, "GET /api/w/{workspace}/resources/type/list", "listResourceType", "Resource types: none is kept, any name is one",
		func(context.Context, *WorkspaceRef) ([]struct{}, error) { return []struct{}{}, nil })
	addJSON(a, "GET /api/w/{workspace}/resources/file_resource_type_to_file_ext_map", "fileResourceTypeToFileExtMap", "Resource types whose values are files: none",
		func(context.Context, *WorkspaceRef) (map[string]string, error) { return map[string]string{}, nil })
}

// mayWrite says what a caller may do to a resource: a developer changes all, and
// what an operator runs changes states.
func (a *API) mayWrite(ctx context.Context, workspace string) func(*store.Resource) error {
	c := callerOf(ctx)
	return func(s *store.Resource) error {
		if c.role(workspace).AtLeast(sluice.RoleDeveloper) || c.Kind == byJob && s.Type == stateType {
			return nil
		}
		return sluice.Errorf(sluice.CodeForbidden, "only a member with the role %s may write resources; jobs of others may write those of type %s", sluice.RoleDeveloper, stateType)
	}
}

func (a *API) createResource(ctx context.Context, in *createResourceIn) (string, error) {
	path, err := pathOfBody(ctx, in.Body.Path, "resources")
	if err != nil {
		return "", err
	}
	kind := ""
	if in.Body.Type != nil {
		kind = *in.Body.Type
	}
	may := a.mayWrite(ctx, in.Workspace)
	if err := may(&store.Resource{Type: kind}); err != nil {
		return "", err
	}
	return "resource " + path + " created", a.e.CreateResource(ctx, in.Workspace, in.Body.change(), in.Replace, who(ctx, in.Workspace), may)
}

func (a *API) updateResource(ctx context.Context, in *updateResourceIn) (string, error) {
	if _, err := in.movesTo(ctx, in.Body.Path, "resources"); err != nil {
		return "", err
	}
	return "resource " + in.Path + " updated", a.e.UpdateResource(ctx, in.Workspace, in.Path, in.Body.change(), who(ctx, in.Workspace), nil)
}

func (a *API) listResources(ctx context.Context, in *listResourcesIn) ([]resourceJSON, error) {
	offset, n := in.window(100, 1000)
	if in.Client == "cli" { // as in listScripts
		offset = in.Page * n
	}
	f := store.VariableFilter{Workspace: in.Workspace, PathStart: in.PathStart, Bare: true, Offset: offset, Limit: n}
	types, others := words(in.Type), words(in.NoType)
	list, err := a.e.Resources(ctx, f, who(ctx, in.Workspace), func(s *store.Resource) bool {
		return (len(types) == 0 || slices.Contains(types, s.Type)) && !slices.Contains(others, s.Type)
	})
	if err != nil {
		return nil, err
	}
	perms, err := a.e.ExtraPerms(ctx, in.Workspace, store.KindResource, pathsOf(list, func(s *store.Resource) string { return s.Path })...)
	out := make([]resourceJSON, len(list))
	for i, s := range list {
		out[i] = resourceForm(s)
		out[i].ExtraPerms = permsOf(perms[s.Path])
	}
	return out, err
}

// words divides a list with commas; "" has none.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
