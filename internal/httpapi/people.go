package httpapi

import (
	"context"
	"time"

	"sluice"
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

type workerJSON struct {
	Worker        string    `json:"worker"`
	Instance      string    `json:"worker_instance"`
	Group         string    `json:"worker_group"`
	Tags          []string  `json:"custom_tags"`
	JobsExecuted  int64     `json:"jobs_executed"`
	LastPing      int64     `json:"last_ping" doc:"Seconds ago"`
	StartedAt     time.Time `json:"started_at"`
	IP            string    `json:"ip"`
	Version       string    `json:"wm_version"`
	OccupancyRate float64   `json:"occupancy_rate" doc:"Share of its places that are taken"`
	Places        int       `json:"places,omitempty" doc:"Ours: jobs that it runs at once"`
	Running       int       `json:"running,omitempty" doc:"Ours: jobs that it holds"`
	Languages     []string  `json:"languages,omitempty" doc:"Ours: runtimes found on it"`
	Missing       []string  `json:"missing_languages,omitempty" doc:"Ours: languages of its tags without a runtime"`
	Isolation     string    `json:"isolation,omitempty" doc:"Ours: how its jobs are walled off"`
}

type workerGroupJSON struct {
	Name   string         `json:"name"`
	Config map[string]any `json:"config"`
}

// addPeople registers users, workspaces and workers.
func (a *API) addPeople() {
	addJSON(a, "GET /api/users/whoami", "globalWhoami", "Who the token belongs to", a.whoami)
	addJSON(a, "GET /api/w/{workspace}/users/whoami", "whoami", "Who the token belongs to, in a workspace", a.member, inAdmins)
	addJSON(a, "GET /api/workspaces/list", "listWorkspaces", "Workspaces of the caller", a.workspaces)
	addJSON(a, "GET /api/workspaces/users", "listUserWorkspaces", "Workspaces of the caller, with the name that it has in each", a.memberships)
	addJSON(a, "POST /api/workspaces/exists", "existsWorkspace", "Whether there is a workspace",
		func(ctx context.Context, in *struct {
			Body struct {
				ID string `json:"id" required:"true" doc:"Id of the workspace"`
			} `required:"true"`
		},
		) (bool, error) {
			return a.workspaceExists(ctx, in.Body.ID)
		})
	addText(a, "POST /api/workspaces/create", "createWorkspace", "Make a workspace", a.createWorkspace, created)
	addJSON(a, "GET /api/settings/global/automate_username_creation", "automateUsernames", "Whether user names are made from addresses: they are",
		func(context.Context, *none) (bool, error) { return true, nil })
	addJSON(a, "GET /api/configs/list_worker_groups", "listWorkerGroups", "Worker groups",
		func(context.Context, *none) ([]workerGroupJSON, error) {
			return []workerGroupJSON{{Name: "default", Config: map[string]any{}}}, nil
		})
	addJSON(a, "GET /api/workers/list", "listWorkers", "Workers that were heard of", a.workers)
}

func (a *API) whoami(ctx context.Context, _ *none) (userJSON, error) {
	c := callerOf(ctx)
	return userJSON{
		Email: c.Email, LoginType: "password", SuperAdmin: c.SuperAdmin, Verified: true,
		Username: c.Username, RoleSource: "manual",
	}, nil
}

func (a *API) member(ctx context.Context, in *WorkspaceRef) (memberJSON, error) {
	c := callerOf(ctx)
	m := memberJSON{
		Workspace: in.Workspace, Email: c.Email, Username: c.Username, IsAdmin: c.SuperAdmin, IsSuperAdmin: c.SuperAdmin,
		Groups: []string{"all"}, Folders: []string{}, FoldersRead: []string{}, FoldersOwners: []string{},
	}
	list, err := a.e.Workspaces(ctx)
	for _, w := range list {
		if w.ID == in.Workspace {
			m.CreatedAt = w.CreatedAt.UTC()
		}
	}
	return m, err
}

func (a *API) workspaces(ctx context.Context, _ *none) ([]workspaceJSON, error) {
	list, err := a.e.Workspaces(ctx)
	out := make([]workspaceJSON, 0, len(list))
	for _, w := range list {
		out = append(out, workspaceJSON{ID: w.ID, Name: w.Name, Owner: w.Owner})
	}
	return out, err
}

func (a *API) memberships(ctx context.Context, _ *none) (membershipsJSON, error) {
	list, err := a.e.Workspaces(ctx)
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
		Username string `json:"username" doc:"Ignored: there is one user so far"`
	} `required:"true"`
}

func (a *API) createWorkspace(ctx context.Context, in *createWorkspaceIn) (string, error) {
	if in.Body.ID == adminsID {
		return "", sluice.Invalid("id", "%q stands for all workspaces; choose another", adminsID)
	}
	setDefault(&in.Body.Name, in.Body.ID)
	err := a.e.CreateWorkspace(ctx, store.Workspace{ID: in.Body.ID, Name: in.Body.Name, Owner: callerOf(ctx).Email})
	if err != nil {
		return "", err
	}
	return "created workspace " + in.Body.ID, nil
}

type workersIn struct {
	PingSince int `query:"ping_since" minimum:"0" maximum:"31536000" default:"300" doc:"Seconds"`
	Page      int `query:"page" minimum:"0" default:"1"`
	PerPage   int `query:"per_page" minimum:"0" maximum:"100000" default:"1000"`
}

func (a *API) workers(ctx context.Context, in *workersIn) ([]workerJSON, error) {
	now, err := a.e.Now(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := a.e.Workers(ctx, time.Duration(in.PingSince)*time.Second)
	if err != nil {
		return nil, err
	}
	out := []workerJSON{}
	for _, row := range rows {
		if !row.Gone {
			out = append(out, workerForm(row, now))
		}
	}
	from := min((max(in.Page, 1)-1)*in.PerPage, len(out))
	return out[from:min(from+in.PerPage, len(out))], nil
}

func workerForm(row *store.WorkerRow, now time.Time) workerJSON {
	w := workerJSON{
		Worker: row.Worker, Instance: row.Instance, Group: row.Group, Tags: row.Tags, JobsExecuted: row.JobsRun,
		LastPing: int64(max(now.Sub(row.LastPing), 0) / time.Second), StartedAt: row.StartedAt.UTC(),
		IP: row.Address, Version: row.Version, Places: row.Places, Running: row.Running,
		Languages: row.Languages, Missing: row.Missing, Isolation: row.Isolation,
	}
	setDefault(&w.Group, "default")
	if w.Tags == nil {
		w.Tags = []string{}
	}
	if row.Places > 0 {
		w.OccupancyRate = float64(row.Running) / float64(row.Places)
	}
	return w
}

// queueCountJSON counts jobs.
type queueCountJSON struct {
	DatabaseLength int64  `json:"database_length"`
	Suspended      *int64 `json:"suspended,omitempty"`
}

type tagCountJSON struct {
	Tag   string `json:"tag"`
	Count int64  `json:"count"`
}
