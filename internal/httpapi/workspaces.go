package httpapi

import (
	"context"
	"slices"

	"sluice"
	"sluice/internal/store"
)

type workspaceJSON struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Owner string `json:"owner"`
}

type membershipJSON struct {
	ID             string  `json:"id"`
	Name           string  `json:"name"`
	Username       string  `json:"username"`
	Color          string  `json:"color"`
	IsDevWorkspace bool    `json:"is_dev_workspace"`
	Disabled       bool    `json:"disabled"`
	Parent         *string `json:"parent_workspace_id" nullable:"true"`
}

type membershipsJSON struct {
	Email      string           `json:"email"`
	Workspaces []membershipJSON `json:"workspaces"`
}

// addWorkspaces registers workspaces.
func (a *API) addWorkspaces() {
	addJSON(a, "GET /api/workspaces/list", "listWorkspaces", "Workspaces of the caller", a.workspaces)
	addJSON(a, "GET /api/workspaces/users", "listUserWorkspaces", "Workspaces of the caller, with the name that it has in each", a.memberships)
	addJSON(a, "POST /api/workspaces/exists", "existsWorkspace", "Whether there is a workspace that the caller may see",
		func(ctx context.Context, in *struct {
			Body struct {
				ID string `json:"id" required:"true" doc:"Id of the workspace"`
			} `required:"true"`
		},
		) (bool, error) {
			if !callerOf(ctx).memberOf(in.Body.ID) {
				return false, nil
			}
			return a.e.WorkspaceOpen(ctx, in.Body.ID)
		})
	addText(a, "POST /api/workspaces/create", "createWorkspace", "Make a workspace; the caller becomes its administrator", a.createWorkspace, created)
	addText(a, "POST /api/w/{workspace}/workspaces/archive", "archiveWorkspace", "Close a workspace to everybody; its jobs go on",
		func(ctx context.Context, in *WorkspaceRef) (string, error) {
			return "archived workspace " + in.Workspace, a.e.ArchiveWorkspace(ctx, in.Workspace, true)
		})
	addText(a, "POST /api/workspaces/unarchive/{id}", "unarchiveWorkspace", "Open an archived workspace again",
		func(ctx context.Context, in *struct {
			ID string `path:"id"`
		},
		) (string, error) {
			return "unarchived workspace " + in.ID, a.e.ArchiveWorkspace(ctx, in.ID, false)
		})
	addJSON(a, "GET /api/settings/global/automate_username_creation", "automateUsernames", "Whether user names are made from addresses: they are",
		func(context.Context, *none) (bool, error) { return true, nil })
}

// visible returns the workspaces that the caller may enter.
func (a *API) visible(ctx context.Context) ([]*store.Workspace, error) {
	list, err := a.e.Workspaces(ctx)
	c := callerOf(ctx)
	return slices.DeleteFunc(list, func(w *store.Workspace) bool { return w.Archived || !c.memberOf(w.ID) }), err
}

func (a *API) workspaces(ctx context.Context, _ *none) ([]workspaceJSON, error) {
	list, err := a.visible(ctx)
	out := make([]workspaceJSON, 0, len(list))
	for _, w := range list {
		out = append(out, workspaceJSON{ID: w.ID, Name: w.Name, Owner: w.Owner})
	}
	return out, err
}

func (a *API) memberships(ctx context.Context, _ *none) (membershipsJSON, error) {
	list, err := a.visible(ctx)
	c := callerOf(ctx)
	out := membershipsJSON{Email: c.Email, Workspaces: make([]membershipJSON, 0, len(list))}
	for _, w := range list {
		out.Workspaces = append(out.Workspaces, membershipJSON{ID: w.ID, Name: w.Name, Username: c.Username})
	}
	return out, err
}

type createWorkspaceIn struct {
	Body struct {
		ID       string `json:"id" required:"true" pattern:"^[a-z][a-z0-9_-]{0,49}$" patternDescription:"1 to 50 lower-case letters, digits, - or _, beginning with a letter" doc:"Id of the workspace"`
		Name     string `json:"name" maxLength:"100" doc:"Name for people; the id if left out"`
		Username string `json:"username" doc:"Ignored: a user has one name in all workspaces"`
	} `required:"true"`
}

func (a *API) createWorkspace(ctx context.Context, in *createWorkspaceIn) (string, error) {
	if in.Body.ID == adminsID {
		return "", sluice.Invalid("id", "%q stands for all workspaces; choose another", adminsID)
	}
	setDefault(&in.Body.Name, in.Body.ID)
	named(ctx, in.Body.ID)
	err := a.e.CreateWorkspace(ctx, store.Workspace{ID: in.Body.ID, Name: in.Body.Name, Owner: callerOf(ctx).Email})
	if err != nil {
		return "", err
	}
	return "created workspace " + in.Body.ID, nil
}
