package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice"
)

// User is a user of the instance.
type User struct {
	Email      string `json:"email"`
	Username   string `json:"username"`
	SuperAdmin bool   `json:"super_admin"` // administrator of the instance
	Disabled   bool   `json:"disabled"`    // its tokens let nobody in
}

// WhoAmI returns the token's user; code unauthorized if the token is unknown.
func (c *Client) WhoAmI(ctx context.Context) (*User, error) {
	return fetch[*User](ctx, c, get("users/whoami", nil))
}

// SignIn returns a token for whoever knows a user's password; code
// unauthorized if it is wrong, limited after too many attempts. The token ends
// after the server's --session-lifetime, with [Client.SignOut] and with a new
// password. The client goes on with its own token.
func (c *Client) SignIn(ctx context.Context, email, password string) (string, error) {
	token, err := fetch[string](ctx, c, post("auth/login", map[string]string{"email": email, "password": password}))
	return strings.TrimSpace(token), err
}

// SignOut ends the client's token if it came from [Client.SignIn]; other
// tokens stay.
func (c *Client) SignOut(ctx context.Context) error {
	return c.do(ctx, post("auth/logout", nil))
}

// SetPassword gives the token's user a new password of 8 to 1024 bytes. All
// its sessions end.
func (c *Client) SetPassword(ctx context.Context, password string) error {
	return c.do(ctx, post("users/setpassword", map[string]string{"password": password}))
}

// NewUser is a user to be made.
type NewUser struct {
	Email      string `json:"email"`
	Username   string `json:"username,omitempty"` // "": made from Email
	Password   string `json:"password,omitempty"` // "": nobody can sign in as the user
	SuperAdmin bool   `json:"super_admin,omitempty"`
}

// CreateUser makes a user and returns its username; code conflict if there is
// one.
func (c *Client) CreateUser(ctx context.Context, u NewUser) (string, error) {
	name, err := fetch[string](ctx, c, post("users/create", u))
	return strings.TrimSpace(name), err
}

// Users lists the users of the instance in the order of their addresses, at
// most 1000 a page; page counts from 1.
func (c *Client) Users(ctx context.Context, page, perPage int) ([]User, error) {
	return fetch[[]User](ctx, c, get("users/list_as_super_admin", paging(page, perPage)))
}

// UserChange says what to change of a user; nil fields stay.
type UserChange struct {
	SuperAdmin *bool   `json:"is_super_admin,omitempty"`
	Disabled   *bool   `json:"disabled,omitempty"`
	Password   *string `json:"password,omitempty"`
}

// UpdateUser changes a user.
func (c *Client) UpdateUser(ctx context.Context, email string, change UserChange) error {
	return c.do(ctx, post("users/update/"+escapeSegment(email), change))
}

// DeleteUser deletes a user, its memberships and its tokens; its jobs stay.
func (c *Client) DeleteUser(ctx context.Context, email string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "users/delete/" + escapeSegment(email)})
}

// Token is what can be known of a token, which is not the token itself.
type Token struct {
	Label      string     `json:"label,omitempty"`
	Prefix     string     `json:"token_prefix"` // how it begins
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`         // written now and then
	Expiration *time.Time `json:"expiration,omitempty"` // nil: never
	Scopes     []string   `json:"scopes,omitempty"`     // nil: all rights of its user
	Workspace  string     `json:"workspace_id,omitempty"`
	Email      string     `json:"email"`
	Session    bool       `json:"session,omitempty"` // made by signing in
}

// NewToken is a token to be made; zero fields do not restrict it.
type NewToken struct {
	Label      string     `json:"label,omitempty"`
	Expiration *time.Time `json:"expiration,omitempty"`
	Scopes     []string   `json:"scopes,omitempty"`       // such as jobs:read or jobs:run:scripts:f/a/b
	Workspace  string     `json:"workspace_id,omitempty"` // the only one that it is good for
}

// CreateToken makes a token of the caller and returns it; it cannot be read
// again.
func (c *Client) CreateToken(ctx context.Context, n NewToken) (string, error) {
	token, err := fetch[string](ctx, c, post("users/tokens/create", n))
	return strings.TrimSpace(token), err
}

// Tokens lists the caller's tokens, newest first, at most 1000.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	return fetch[[]Token](ctx, c, get("users/tokens/list", nil))
}

// DeleteToken revokes the token of the caller that begins with a prefix.
func (c *Client) DeleteToken(ctx context.Context, prefix string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "users/tokens/delete/" + escapeSegment(prefix)})
}

// Workspace is a tenant of the server.
type Workspace struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Owner string `json:"owner,omitempty"`
}

// Workspaces lists all that the caller may see.
func (c *Client) Workspaces(ctx context.Context) ([]Workspace, error) {
	return fetch[[]Workspace](ctx, c, get("workspaces/list", nil))
}

// CreateWorkspace makes a workspace; code conflict if the id is taken.
func (c *Client) CreateWorkspace(ctx context.Context, id, name string) error {
	return c.do(ctx, post("workspaces/create", map[string]string{"id": id, "name": name}))
}

// Member is a user in a workspace.
type Member struct {
	Email     string    `json:"email"`
	Username  string    `json:"username"`
	IsAdmin   bool      `json:"is_admin"`
	Operator  bool      `json:"operator"`
	Disabled  bool      `json:"disabled"`
	CreatedAt time.Time `json:"created_at"` // when it became a member
}

// Role returns what the member may do.
func (m *Member) Role() sluice.Role {
	switch {
	case m.IsAdmin:
		return sluice.RoleAdmin
	case m.Operator:
		return sluice.RoleOperator
	}
	return sluice.RoleDeveloper
}

// Members lists the members of the workspace.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	return fetch[[]Member](ctx, c, get(c.in("users/list"), nil))
}

// roleSwitches are the two by which the wire says a role; neither is a developer.
type roleSwitches struct {
	Email    string `json:"email,omitempty"`
	IsAdmin  bool   `json:"is_admin"`
	Operator bool   `json:"operator"`
}

// AddMember makes a user a member of the workspace.
func (c *Client) AddMember(ctx context.Context, email string, role sluice.Role) error {
	return c.do(ctx, post(c.in("workspaces/add_user"), roleSwitches{email, role == sluice.RoleAdmin, role == sluice.RoleOperator}))
}

// SetRole changes the role of a member.
func (c *Client) SetRole(ctx context.Context, username string, role sluice.Role) error {
	return c.do(ctx, post(c.in("users/update/"+escapeSegment(username)), roleSwitches{"", role == sluice.RoleAdmin, role == sluice.RoleOperator}))
}

// RemoveMember takes a member out of the workspace.
func (c *Client) RemoveMember(ctx context.Context, username string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: c.in("users/delete/" + escapeSegment(username))})
}

// AuditEntry says who changed what.
type AuditEntry struct {
	ID         int64           `json:"id"`
	Timestamp  time.Time       `json:"timestamp"`
	Workspace  string          `json:"workspace_id"` // "": the instance as a whole
	Username   string          `json:"username"`
	Email      string          `json:"email"`
	Operation  string          `json:"operation"` // such as scripts.create
	ActionKind string          `json:"action_kind"`
	Resource   string          `json:"resource,omitempty"`
	Address    string          `json:"address,omitempty"`      // from where
	Token      string          `json:"token_prefix,omitempty"` // how its token begins
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// AuditFilter selects entries of the audit log; zero fields do not select.
type AuditFilter struct {
	Username  string
	Operation string
	Resource  string
	Page      int // from 1
	PerPage   int // at most 1000
}

// Audit lists the audit log of the workspace, newest first; in the workspace
// admins that of all workspaces and of the instance.
func (c *Client) Audit(ctx context.Context, f AuditFilter) ([]AuditEntry, error) {
	q := paging(f.Page, f.PerPage)
	for name, value := range map[string]string{"username": f.Username, "operation": f.Operation, "resource": f.Resource} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return fetch[[]AuditEntry](ctx, c, get(c.in("audit/list"), q))
}

// paging asks for a page; zero values leave it to the server.
func paging(page, perPage int) url.Values {
	q := url.Values{}
	if page != 0 {
		q.Set("page", strconv.Itoa(page))
	}
	if perPage != 0 {
		q.Set("per_page", strconv.Itoa(perPage))
	}
	return q
}
