package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Script is a version of a script as the server shows it. Lists leave out
// Content.
type Script struct {
	Hash            string    `json:"hash"`
	Path            string    `json:"path"`
	Summary         string    `json:"summary,omitempty"`
	Description     string    `json:"description,omitempty"`
	Content         string    `json:"content,omitempty"`
	Language        string    `json:"language,omitempty"`
	Kind            string    `json:"kind,omitempty"`
	Tag             string    `json:"tag,omitempty"`
	CreatedBy       string    `json:"created_by,omitempty"`
	CreatedAt       time.Time `json:"created_at"`
	Archived        bool      `json:"archived,omitempty"`
	ConcurrentLimit *int      `json:"concurrent_limit,omitempty"`
	WindowS         *int      `json:"concurrency_time_window_s,omitempty"`
	Key             string    `json:"concurrency_key,omitempty"`
	WindowFrom      string    `json:"concurrency_window_from,omitempty"`
	// Schema describes the arguments, as it was pushed.
	Schema json.RawMessage `json:"schema,omitempty"`
}

// Script returns the newest version at a path.
func (c *Client) Script(ctx context.Context, path string) (*Script, error) {
	return fetch[*Script](ctx, c, get(c.in("scripts/get/p/"+escapePath(path)), nil))
}

// Scripts lists the newest versions of the workspace's scripts; page counts
// from 1.
func (c *Client) Scripts(ctx context.Context, page, perPage int) ([]Script, error) {
	q := url.Values{"page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(perPage)}}
	return fetch[[]Script](ctx, c, get(c.in("scripts/list"), q))
}

// SaveScript saves a version of a script and returns its hash. body is the
// object with path, content, language and all settings. If it equals the
// newest version, nothing is saved and that version's hash is returned.
func (c *Client) SaveScript(ctx context.Context, body json.RawMessage) (string, error) {
	r := post(c.in("scripts/create"), body)
	r.query = url.Values{"skip_if_noop": {"true"}}
	hash, err := fetch[string](ctx, c, r)
	return strings.TrimSpace(hash), err
}

// ArchiveScript archives the script at a path; nobody can run it then.
func (c *Client) ArchiveScript(ctx context.Context, path string) error {
	return c.do(ctx, post(c.in("scripts/archive/p/"+escapePath(path)), nil))
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

// User is who the token belongs to.
type User struct {
	Email      string `json:"email"`
	Username   string `json:"username"`
	SuperAdmin bool   `json:"super_admin"`
}

// WhoAmI returns the token's user; code unauthorized if the token is unknown.
func (c *Client) WhoAmI(ctx context.Context) (*User, error) {
	return fetch[*User](ctx, c, get("users/whoami", nil))
}

// Worker is a worker that the server heard of.
type Worker struct {
	Name         string    `json:"worker"`
	Instance     string    `json:"worker_instance"`
	Group        string    `json:"worker_group"`
	Tags         []string  `json:"custom_tags"`
	JobsExecuted int64     `json:"jobs_executed"`
	LastPingS    float64   `json:"last_ping"` // seconds ago
	StartedAt    time.Time `json:"started_at"`
	Places       int       `json:"places"`
	Running      int       `json:"running"` // jobs that it holds
	Languages    []string  `json:"languages"`
	Isolation    string    `json:"isolation"` // how its jobs are walled off
}

// Workers lists workers heard of in the last d, in whole seconds.
func (c *Client) Workers(ctx context.Context, d time.Duration) ([]Worker, error) {
	q := url.Values{"ping_since": {strconv.Itoa(int(d / time.Second))}}
	return fetch[[]Worker](ctx, c, get("workers/list", q))
}
