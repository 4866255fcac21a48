package httpapi

import (
	"context"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// WorkspaceRef names a workspace in the path of a call.
type WorkspaceRef struct {
	Workspace string `path:"workspace" doc:"Id of the workspace"`
}

type userJSON struct {
	Email         string  `json:"email"`
	LoginType     string  `json:"login_type"`
	SuperAdmin    bool    `json:"super_admin"`
	Verified      bool    `json:"verified"`
	Name          *string `json:"name" nullable:"true"`
	Company       *string `json:"company" nullable:"true"`
	Username      string  `json:"username"`
	OperatorOnly  bool    `json:"operator_only"`
	FirstTimeUser bool    `json:"first_time_user"`
	RoleSource    string  `json:"role_source"`
	Disabled      bool    `json:"disabled"`
}

type memberJSON struct {
	Workspace     string    `json:"workspace_id"`
	Email         string    `json:"email"`
	Username      string    `json:"username"`
	IsAdmin       bool      `json:"is_admin"`
	IsSuperAdmin  bool      `json:"is_super_admin"`
	CreatedAt     time.Time `json:"created_at"`
	Operator      bool      `json:"operator"`
	Disabled      bool      `json:"disabled"`
	Groups        []string  `json:"groups"`
	Folders       []string  `json:"folders"`
	FoldersRead   []string  `json:"folders_read"`
	FoldersOwners []string  `json:"folders_owners"`
}

// addPeople registers users and the members of workspaces.
func (a *API) addPeople() {
	addJSON(a, "GET /api/users/whoami", "globalWhoami", "Who the token belongs to", a.whoami)
	addJSON(a, "GET /api/w/{workspace}/users/whoami", "whoami", "Who the token belongs to, in a workspace", a.member, inAdmins)
	addText(a, "POST /api/users/create", "createUserGlobally", "Make a user; answers with its username", a.createUser, created)
	addJSON(a, "GET /api/users/list_as_super_admin", "listUsersAsSuperAdmin", "All users, in the order of their addresses", a.listUsers)
	addText(a, "POST /api/users/update/{email}", "globalUserUpdate", "Change a user", a.updateUser)
	addText(a, "DELETE /api/users/delete/{email}", "globalUserDelete", "Delete a user, its memberships and tokens; its jobs stay",
		func(ctx context.Context, in *emailIn) (string, error) {
			return "deleted user " + in.Email, a.e.DeleteUser(ctx, in.Email)
		})

	addJSON(a, "GET /api/w/{workspace}/users/list", "listUsers", "Members of a workspace", a.listMembers)
	addJSON(a, "GET /api/w/{workspace}/users/get/{username}", "getUser", "A member of a workspace",
		func(ctx context.Context, in *memberRef) (memberJSON, error) {
			u, err := a.e.Member(ctx, in.Workspace, in.Username)
			if err != nil {
				return memberJSON{}, err
			}
			m := memberForm(in.Workspace, &u.User, u.Role, u.Since)
			return m, a.addBelongings(ctx, &m)
		})
	addText(a, "GET /api/w/{workspace}/users/username_to_email/{username}", "usernameToEmail", "The address of a member", a.usernameToEmail)
	addText(a, "POST /api/w/{workspace}/workspaces/add_user", "addUser", "Make a user a member of a workspace", a.addMember)
	addText(a, "POST /api/w/{workspace}/users/update/{username}", "updateUser", "Change the role of a member", a.updateMember)
	addText(a, "DELETE /api/w/{workspace}/users/delete/{username}", "deleteUser", "Take a member out of a workspace",
		func(ctx context.Context, in *memberRef) (string, error) {
			return "removed " + in.Username, a.e.RemoveMember(ctx, in.Workspace, in.Username)
		})
}

func userForm(u *store.User) userJSON {
	return userJSON{
		Email: u.Email, LoginType: "password", SuperAdmin: u.SuperAdmin, Verified: true, Username: u.Username,
		RoleSource: "manual", Disabled: u.Disabled,
	}
}

func (a *API) whoami(ctx context.Context, _ *none) (userJSON, error) {
	c := callerOf(ctx)
	u := userForm(&store.User{Email: c.Email, Username: c.Username, SuperAdmin: c.SuperAdmin})
	u.OperatorOnly = !c.SuperAdmin && len(c.Roles) > 0
	for _, r := range c.Roles {
		u.OperatorOnly = u.OperatorOnly && r == sluice.RoleOperator
	}
	return u, nil
}

func memberForm(workspace string, u *store.User, r sluice.Role, since time.Time) memberJSON {
	return memberJSON{
		Workspace: workspace, Email: u.Email, Username: u.Username, IsAdmin: r == sluice.RoleAdmin, IsSuperAdmin: u.SuperAdmin,
		CreatedAt: since.UTC(), Operator: r == sluice.RoleOperator, Disabled: u.Disabled,
		Groups: []string{"all"}, Folders: []string{}, FoldersRead: []string{}, FoldersOwners: []string{},
	}
}

func (a *API) member(ctx context.Context, in *WorkspaceRef) (memberJSON, error) {
	c := callerOf(ctx)
	m := memberForm(in.Workspace, &store.User{Email: c.Email, Username: c.Username, SuperAdmin: c.SuperAdmin}, c.role(in.Workspace), time.Time{})
	if err := a.addBelongings(ctx, &m); err != nil {
		return m, err
	}
	list, err := a.e.Workspaces(ctx)
	for _, w := range list {
		if w.ID == in.Workspace {
			m.CreatedAt = w.CreatedAt.UTC()
		}
	}
	return m, err
}

// addBelongings adds the groups that a member is in, and the folders that it may
// read, write and owns by what was given to it.
func (a *API) addBelongings(ctx context.Context, m *memberJSON) error {
	role := sluice.RoleDeveloper // as of one who is no administrator: they may read all
	if m.Operator {
		role = sluice.RoleOperator
	}
	w, err := a.e.WhoIs(ctx, m.Workspace, engine.Member{Username: m.Username, Email: m.Email, Role: role})
	if err != nil {
		return err
	}
	m.Groups = w.GroupNames()
	m.FoldersRead, m.FoldersOwners = w.FolderNames(store.RightRead), w.FolderNames(store.RightOwn)
	if m.Folders = w.FolderNames(store.RightWrite); m.Operator {
		m.Folders, m.FoldersOwners = []string{}, []string{}
	}
	return nil
}

type emailIn struct {
	Email string `path:"email"`
}

type createUserIn struct {
	Body struct {
		Email      string  `json:"email" required:"true" maxLength:"254"`
		Password   string  `json:"password,omitempty" doc:"8 to 1024 bytes; without one nobody can sign in as the user"`
		SuperAdmin bool    `json:"super_admin,omitempty" doc:"Administrator of the instance"`
		Username   *string `json:"username,omitempty" nullable:"true" doc:"Ours: made from the address if left out"`
	} `required:"true"`
}

func (a *API) createUser(ctx context.Context, in *createUserIn) (string, error) {
	n := engine.NewUser{Email: in.Body.Email, Password: in.Body.Password, SuperAdmin: in.Body.SuperAdmin}
	if in.Body.Username != nil {
		n.Username = *in.Body.Username
	}
	named(ctx, engine.CanonicalEmail(n.Email))
	username, err := a.e.CreateUser(ctx, n)
	return username, err
}

func (a *API) listUsers(ctx context.Context, in *struct{ Paging }) ([]userJSON, error) {
	offset, most := in.window(1000, 1000)
	list, err := a.e.Users(ctx, "", offset+most)
	out := []userJSON{}
	for _, u := range list[min(offset, len(list)):] {
		out = append(out, userForm(u))
	}
	return out, err
}

type updateUserIn struct {
	Email string `path:"email"`
	Body  struct {
		SuperAdmin *bool   `json:"is_super_admin,omitempty" nullable:"true"`
		Disabled   *bool   `json:"disabled,omitempty" nullable:"true" doc:"Ours: the user keeps its tokens, but they let nobody in; its sessions end"`
		Password   *string `json:"password,omitempty" nullable:"true" doc:"Ours: a new password; the user's sessions end"`
	} `required:"true"`
}

func (a *API) updateUser(ctx context.Context, in *updateUserIn) (string, error) {
	noted(ctx, "is_super_admin", in.Body.SuperAdmin)
	noted(ctx, "disabled", in.Body.Disabled)
	err := a.e.UpdateUser(ctx, in.Email, engine.UserChange{
		SuperAdmin: in.Body.SuperAdmin, Disabled: in.Body.Disabled, Password: in.Body.Password,
	})
	return "updated user " + in.Email, err
}

func (a *API) listMembers(ctx context.Context, in *WorkspaceRef) ([]memberJSON, error) {
	list, err := a.e.Members(ctx, in.Workspace)
	out := make([]memberJSON, 0, len(list))
	for _, m := range list {
		out = append(out, memberForm(in.Workspace, &m.User, m.Role, m.Since))
	}
	return out, err
}

type memberRef struct {
	Workspace string `path:"workspace"`
	Username  string `path:"username"`
}

func (a *API) usernameToEmail(ctx context.Context, in *memberRef) (string, error) {
	m, err := a.e.Member(ctx, in.Workspace, in.Username)
	if err != nil {
		return "", err
	}
	return m.Email, nil
}

// roleOf reads Windmill's two switches; neither makes a developer.
func roleOf(isAdmin, operator *bool) (sluice.Role, error) {
	admin, op := isAdmin != nil && *isAdmin, operator != nil && *operator
	switch {
	case admin && op:
		return "", sluice.Invalid("operator", "an operator cannot be an administrator as well")
	case admin:
		return sluice.RoleAdmin, nil
	case op:
		return sluice.RoleOperator, nil
	}
	return sluice.RoleDeveloper, nil
}

type addMemberIn struct {
	WorkspaceRef
	Body struct {
		Email    string  `json:"email" required:"true"`
		Username *string `json:"username,omitempty" nullable:"true" doc:"Ignored: a user has one name in all workspaces"`
		IsAdmin  *bool   `json:"is_admin,omitempty" nullable:"true"`
		Operator *bool   `json:"operator,omitempty" nullable:"true"`
	} `required:"true"`
}

func (a *API) addMember(ctx context.Context, in *addMemberIn) (string, error) {
	role, err := roleOf(in.Body.IsAdmin, in.Body.Operator)
	if err != nil {
		return "", err
	}
	named(ctx, engine.CanonicalEmail(in.Body.Email))
	noted(ctx, "role", &role)
	return "added " + in.Body.Email, a.e.AddMember(ctx, in.Workspace, in.Body.Email, role)
}

type updateMemberIn struct {
	Workspace string `path:"workspace"`
	Username  string `path:"username"`
	Body      struct {
		IsAdmin  *bool `json:"is_admin,omitempty" nullable:"true"`
		Operator *bool `json:"operator,omitempty" nullable:"true"`
	} `required:"true"`
}

func (a *API) updateMember(ctx context.Context, in *updateMemberIn) (string, error) {
	role, err := roleOf(in.Body.IsAdmin, in.Body.Operator)
	if err != nil {
		return "", err
	}
	noted(ctx, "role", &role)
	return "updated " + in.Username, a.e.SetRole(ctx, in.Workspace, in.Username, role)
}
