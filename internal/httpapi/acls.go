package httpapi

import (
	"context"

	"sluice"

	"sluice/internal/store"
)

// ACLRef is a thing that rights are given on, named in the path of a call.
type ACLRef struct {
	Workspace string `path:"workspace"`
	Kind      string `path:"kind" doc:"script, flow, schedule, variable, resource, folder or group_"`
	Path      string `path:"path" doc:"Path of the thing, or name of the folder or group"`
}

// of returns the kind as the engine names it.
func (in *ACLRef) of() (string, error) {
	switch in.Kind {
	case "group_":
		return store.KindGroup, nil
	case store.KindFolder, store.KindScript, store.KindFlow, store.KindSchedule, store.KindVariable, store.KindResource:
		return in.Kind, nil
	}
	return "", sluice.Invalid("kind", "must be script, flow, schedule, variable, resource, folder or group_")
}

type addACLIn struct {
	ACLRef
	Body struct {
		Owner string `json:"owner" required:"true" doc:"u/NAME or g/NAME"`
		Write *bool  `json:"write,omitempty" nullable:"true" doc:"May write; else only read and run. Of a group: may change it"`
	} `required:"true"`
}

type removeACLIn struct {
	ACLRef
	Body struct {
		Owner string `json:"owner" required:"true" doc:"u/NAME or g/NAME"`
	} `required:"true"`
}

// addACLs registers the rights that are given on single things.
func (a *API) addACLs() {
	addJSON(a, "GET /api/w/{workspace}/acls/get/{kind}/{path...}", "getGranularAcls", "Who was given a right on a thing: whether they may write",
		func(ctx context.Context, in *ACLRef) (map[string]bool, error) {
			kind, err := in.of()
			if err != nil {
				return nil, err
			}
			return a.e.GetGrants(ctx, in.Workspace, kind, in.Path, who(ctx, in.Workspace))
		})
	addText(a, "POST /api/w/{workspace}/acls/add/{kind}/{path...}", "addGranularAcls", "Give a user or a group a right on a thing",
		func(ctx context.Context, in *addACLIn) (string, error) {
			g := store.Grant{Who: in.Body.Owner, Right: store.RightRead}
			if in.Body.Write != nil && *in.Body.Write {
				g.Right = store.RightWrite
			}
			return "Successfully modified granular acl", a.setACL(ctx, &in.ACLRef, g)
		})
	addText(a, "POST /api/w/{workspace}/acls/remove/{kind}/{path...}", "removeGranularAcls", "Take from a user or a group the right on a thing",
		func(ctx context.Context, in *removeACLIn) (string, error) {
			return "Successfully removed granular acl", a.setACL(ctx, &in.ACLRef, store.Grant{Who: in.Body.Owner})
		})
}

func (a *API) setACL(ctx context.Context, in *ACLRef, g store.Grant) error {
	kind, err := in.of()
	if err != nil {
		return err
	}
	named(ctx, in.Kind+" "+in.Path)
	noted(ctx, "owner", &g.Who)
	if g.Right != store.RightNone {
		noted(ctx, "write", ptr(g.Right == store.RightWrite))
	}
	return a.e.SetGrant(ctx, in.Workspace, kind, in.Path, g, who(ctx, in.Workspace))
}

type userGroupJSON struct {
	Workspace  string          `json:"workspace_id"`
	Name       string          `json:"name"`
	Summary    string          `json:"summary"`
	Members    []string        `json:"members" doc:"Usernames"`
	ExtraPerms map[string]bool `json:"extra_perms" doc:"Who may change the group"`
}

// UserGroupRef is a group of people, named in the path of a call.
type UserGroupRef struct {
	Workspace string `path:"workspace"`
	Name      string `path:"name" doc:"Name of the group, without g/"`
}

type createUserGroupIn struct {
	WorkspaceRef
	Body struct {
		Name    string  `json:"name" required:"true"`
		Summary *string `json:"summary,omitempty" nullable:"true"`
	} `required:"true"`
}

type updateUserGroupIn struct {
	UserGroupRef
	Body struct {
		Summary *string `json:"summary,omitempty" nullable:"true"`
	} `required:"true"`
}

type groupMemberIn struct {
	UserGroupRef
	Body struct {
		Username string `json:"username" required:"true"`
	} `required:"true"`
}

type listUserGroupsIn struct {
	WorkspaceRef
	Paging
}

type groupNamesIn struct {
	WorkspaceRef
	OnlyMember bool `query:"only_member_of" doc:"Only those that the caller is in"`
}

// addUserGroups registers groups of people.
func (a *API) addUserGroups() {
	addText(a, "POST /api/w/{workspace}/groups/create", "createUserGroup", "Make a group of people; answers with its name",
		func(ctx context.Context, in *createUserGroupIn) (string, error) {
			named(ctx, in.Body.Name)
			return in.Body.Name, a.e.CreateUserGroup(ctx, in.Workspace, in.Body.Name, orBlank(in.Body.Summary), who(ctx, in.Workspace))
		})
	addText(a, "POST /api/w/{workspace}/groups/update/{name}", "updateUserGroup", "Change the summary of a group of people",
		func(ctx context.Context, in *updateUserGroupIn) (string, error) {
			return "updated group " + in.Name, a.e.UpdateUserGroup(ctx, in.Workspace, in.Name, orBlank(in.Body.Summary), who(ctx, in.Workspace))
		})
	addText(a, "DELETE /api/w/{workspace}/groups/delete/{name}", "deleteUserGroup", "Delete a group of people, and all rights that it was given",
		func(ctx context.Context, in *UserGroupRef) (string, error) {
			return "deleted group " + in.Name, a.e.DeleteUserGroup(ctx, in.Workspace, in.Name, who(ctx, in.Workspace))
		})
	addText(a, "POST /api/w/{workspace}/groups/adduser/{name}", "addUserToGroup", "Make a member of the workspace a member of a group",
		func(ctx context.Context, in *groupMemberIn) (string, error) {
			noted(ctx, "username", &in.Body.Username)
			return "added " + in.Body.Username + " to group " + in.Name, a.e.JoinGroup(ctx, in.Workspace, in.Name, in.Body.Username, who(ctx, in.Workspace))
		})
	addText(a, "POST /api/w/{workspace}/groups/removeuser/{name}", "removeUserToGroup", "Take a member out of a group",
		func(ctx context.Context, in *groupMemberIn) (string, error) {
			noted(ctx, "username", &in.Body.Username)
			return "removed " + in.Body.Username + " from group " + in.Name, a.e.LeaveGroup(ctx, in.Workspace, in.Name, in.Body.Username, who(ctx, in.Workspace))
		})
	addJSON(a, "GET /api/w/{workspace}/groups/get/{name}", "getUserGroup", "A group of people",
		func(ctx context.Context, in *UserGroupRef) (userGroupJSON, error) {
			g, err := a.e.UserGroup(ctx, in.Workspace, in.Name)
			if err != nil {
				return userGroupJSON{}, err
			}
			perms, err := a.e.ExtraPerms(ctx, in.Workspace, store.KindGroup, in.Name)
			return userGroupForm(g, perms[in.Name]), err
		})
	addJSON(a, "GET /api/w/{workspace}/groups/list", "listUserGroups", "Groups of people; all members of the workspace are the group all", a.listUserGroups)
	addJSON(a, "GET /api/w/{workspace}/groups/listnames", "listUserGroupNames", "Names of groups of people", a.userGroupNames)
}

func orBlank(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func userGroupForm(g *store.UserGroup, perms map[string]bool) userGroupJSON {
	out := userGroupJSON{Workspace: g.Workspace, Name: g.Name, Summary: g.Summary, Members: g.Members, ExtraPerms: permsOf(perms)}
	if out.Members == nil {
		out.Members = []string{}
	}
	return out
}

func (a *API) listUserGroups(ctx context.Context, in *listUserGroupsIn) ([]userGroupJSON, error) {
	list, err := a.e.UserGroups(ctx, in.Workspace)
	if err != nil {
		return nil, err
	}
	offset, n := in.window(1001, 1001) // all that there can be
	list = list[min(offset, len(list)):]
	list = list[:min(n, len(list))]
	perms, err := a.e.ExtraPerms(ctx, in.Workspace, store.KindGroup, pathsOf(list, func(g *store.UserGroup) string { return g.Name })...)
	out := make([]userGroupJSON, len(list))
	for i, g := range list {
		out[i] = userGroupForm(g, perms[g.Name])
	}
	return out, err
}

func (a *API) userGroupNames(ctx context.Context, in *groupNamesIn) ([]string, error) {
	if in.OnlyMember {
		return who(ctx, in.Workspace).GroupNames(), nil
	}
	list, err := a.e.UserGroups(ctx, in.Workspace)
	return pathsOf(list, func(g *store.UserGroup) string { return g.Name }), err
}

// seesChange returns what says whether the caller may see a job in a stream of
// changes. What it may do is looked at again and again, as long as it lasts.
func (a *API) seesChange(ctx context.Context, workspace string) func(*sluice.Job) bool {
	if who(ctx, workspace).Admin {
		return nil
	}
	return func(j *sluice.Job) bool {
		sees, err := a.seesJob(ctx, j)
		if err != nil && ctx.Err() == nil {
			a.log.Error("cannot tell whether a job may be seen", "request", requestID(ctx), "error", err)
		}
		return sees && err == nil
	}
}
