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
	return fetch[[]Script](ctx, c, get(c.in("scripts/list"), paging(page, perPage)))
}

// ScriptByHash returns one version of a script.
func (c *Client) ScriptByHash(ctx context.Context, hash string) (*Script, error) {
	return fetch[*Script](ctx, c, get(c.in("scripts/get/h/"+escapeSegment(hash)), nil))
}

// ScriptFields returns the newest version at a path with every field that the
// server shows, those that [Script] does not name included.
func (c *Client) ScriptFields(ctx context.Context, path string) (map[string]json.RawMessage, error) {
	return fetch[map[string]json.RawMessage](ctx, c, get(c.in("scripts/get/p/"+escapePath(path)), nil))
}

// ScriptVersion is one entry of a script's history.
type ScriptVersion struct {
	Hash      string    `json:"script_hash"`
	Message   string    `json:"deployment_msg,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
}

// ScriptHistory lists the versions of a script, newest first.
func (c *Client) ScriptHistory(ctx context.Context, path string) ([]ScriptVersion, error) {
	return fetch[[]ScriptVersion](ctx, c, get(c.in("scripts/history/p/"+escapePath(path)), nil))
}

// ScriptDiff says what differs between two versions.
type ScriptDiff struct {
	Diff     string                  `json:"diff"` // of the code, unified; "" if it is the same
	Settings map[string]SettingsDiff `json:"settings"`
}

// SettingsDiff is a field that differs; null stands for one that is not set.
type SettingsDiff struct {
	From json.RawMessage `json:"from"`
	To   json.RawMessage `json:"to"`
}

// DiffScripts compares two versions, named by their hashes.
func (c *Client) DiffScripts(ctx context.Context, from, to string) (*ScriptDiff, error) {
	return fetch[*ScriptDiff](ctx, c, get(c.in("scripts/diff/"+escapeSegment(from)+"/"+escapeSegment(to)), nil))
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

// DeleteScript erases all versions of a script; jobs of it that wait fail.
func (c *Client) DeleteScript(ctx context.Context, path string) error {
	return c.do(ctx, post(c.in("scripts/delete/p/"+escapePath(path)), nil))
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
