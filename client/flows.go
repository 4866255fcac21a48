package client

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Flow is a version of a flow as the server shows it. Lists leave out Value
// and Schema.
type Flow struct {
	Path        string          `json:"path"`
	Summary     string          `json:"summary,omitempty"`
	Description string          `json:"description,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`  // an OpenFlow value, as it was pushed
	Schema      json.RawMessage `json:"schema,omitempty"` // describes the arguments, as it was pushed
	Version     int64           `json:"version_id"`
	EditedBy    string          `json:"edited_by,omitempty"`
	EditedAt    time.Time       `json:"edited_at"`
	Archived    bool            `json:"archived,omitempty"`
}

// Flow returns the newest version at a path.
func (c *Client) Flow(ctx context.Context, path string) (*Flow, error) {
	return fetch[*Flow](ctx, c, get(c.in("flows/get/"+escapePath(path)), nil))
}

// FlowVersion returns one version of a flow.
func (c *Client) FlowVersion(ctx context.Context, n int64) (*Flow, error) {
	return fetch[*Flow](ctx, c, get(c.in("flows/get/v/"+strconv.FormatInt(n, 10)), nil))
}

// FlowFields returns the newest version at a path with every field that the
// server shows, those that [Flow] does not name included.
func (c *Client) FlowFields(ctx context.Context, path string) (map[string]json.RawMessage, error) {
	return fetch[map[string]json.RawMessage](ctx, c, get(c.in("flows/get/"+escapePath(path)), nil))
}

// Flows lists the newest versions of the workspace's flows; page counts from 1.
func (c *Client) Flows(ctx context.Context, page, perPage int) ([]Flow, error) {
	return fetch[[]Flow](ctx, c, get(c.in("flows/list"), paging(page, perPage)))
}

// FlowHistoryEntry is one entry of a flow's history.
type FlowHistoryEntry struct {
	Version   int64     `json:"id"`
	Message   string    `json:"deployment_msg,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
}

// FlowHistory lists the versions of a flow, newest first.
func (c *Client) FlowHistory(ctx context.Context, path string) ([]FlowHistoryEntry, error) {
	return fetch[[]FlowHistoryEntry](ctx, c, get(c.in("flows/history/p/"+escapePath(path)), nil))
}

// CreateFlow saves a flow at a path where there is none; code conflict if there
// is. body is the object with path, value and all settings.
func (c *Client) CreateFlow(ctx context.Context, body json.RawMessage) error {
	return c.do(ctx, post(c.in("flows/create"), body))
}

// UpdateFlow saves a version of the flow at a path. If it equals the newest
// one, nothing is saved. A body with another path moves the flow there.
func (c *Client) UpdateFlow(ctx context.Context, path string, body json.RawMessage) error {
	return c.do(ctx, post(c.in("flows/update/"+escapePath(path)), body))
}

// ArchiveFlow archives the flow at a path, so that nobody can run it, or takes
// it out of the archive. Its runs go on.
func (c *Client) ArchiveFlow(ctx context.Context, path string, archived bool) error {
	return c.do(ctx, post(c.in("flows/archive/"+escapePath(path)), map[string]bool{"archived": archived}))
}

// DeleteFlow deletes all versions of a flow, if there are any. Its runs go on.
func (c *Client) DeleteFlow(ctx context.Context, path string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: c.in("flows/delete/" + escapePath(path)), repeat: true})
}

// Approve approves the step that a flow waits for, or the step whose job id is.
// value, a JSON value, goes to the steps after it as resume; empty: null. Only
// who has started the flow and administrators may; others need a signed link.
// Code conflict: it does not wait for an approval.
func (c *Client) Approve(ctx context.Context, id string, value json.RawMessage) error {
	return c.decide(ctx, "jobs/flow/resume/", id, value)
}

// Disapprove refuses to approve it, which ends the flow, unless its step says
// that it goes on.
func (c *Client) Disapprove(ctx context.Context, id string, value json.RawMessage) error {
	return c.decide(ctx, "jobs/flow/disapprove/", id, value)
}

func (c *Client) decide(ctx context.Context, route, id string, value json.RawMessage) error {
	r := post(c.in(route+escapeSegment(id)), nil)
	if len(value) > 0 {
		r.body = value
	}
	return c.do(ctx, r)
}
