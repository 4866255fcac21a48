package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sluice/limit"
)

// Group is a concurrency group as the server shows it.
type Group struct {
	Key        string       `json:"concurrency_key"`
	Running    int64        `json:"total_running"`
	Waiting    int64        `json:"waiting"`
	InWindow   int64        `json:"in_window"` // ended or launched, and still counted
	N          *int         `json:"concurrent_limit"`
	WindowS    int          `json:"concurrency_time_window_s"`
	WindowFrom limit.Mode   `json:"concurrency_window_from"`
	Source     limit.Source `json:"source"` // where the limit came from
	Override   *Override    `json:"override,omitempty"`
	MaxWaiting int64        `json:"max_waiting,omitempty"`
	Paused     bool         `json:"paused"`
	PausedBy   string       `json:"paused_by,omitempty"`
	PausedWhy  string       `json:"paused_why,omitempty"`
	PausedTill *time.Time   `json:"paused_until,omitempty"`
	TypicalMS  int64        `json:"typical_ms,omitempty"` // how long its jobs last, smoothed
	RoomAt     *time.Time   `json:"room_at,omitempty"`    // next instant with room, if known
}

// Limit returns the limit in force; nil if the group has none yet.
func (g *Group) Limit() *limit.Limit {
	if g.N == nil || *g.N == 0 {
		return nil
	}
	return &limit.Limit{N: *g.N, Window: time.Duration(g.WindowS) * time.Second, Mode: g.WindowFrom}
}

// Override holds the fields that replace those of every job of a group; nil
// fields replace nothing.
type Override struct {
	N          *int        `json:"concurrent_limit,omitempty"`
	WindowS    *int        `json:"concurrency_time_window_s,omitempty"`
	WindowFrom *limit.Mode `json:"concurrency_window_from,omitempty"`
	MaxWaiting *int64      `json:"max_waiting,omitempty"`
	Why        string      `json:"why,omitempty"`
}

// GroupFilter selects groups; zero fields do not select.
type GroupFilter struct {
	Contains string // part of the key
	After    string // keys after this one
	Active   bool   // only groups with jobs, an override or a pause
	Limit    int    // 0: the server's default
}

// Groups lists groups in the order of their keys. next is the key to go on
// after; nil at the end.
func (c *Client) Groups(ctx context.Context, f GroupFilter) (groups []Group, next *string, err error) {
	q := url.Values{}
	if f.Contains != "" {
		q.Set("contains", f.Contains)
	}
	if f.After != "" {
		q.Set("after", f.After)
	}
	if f.Active {
		q.Set("active", "true")
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	answer, err := fetch[struct {
		Groups []Group `json:"groups"`
		Next   *string `json:"next"`
	}](ctx, c, get("concurrency_groups/groups", q))
	return answer.Groups, answer.Next, err
}

// Group returns one group; code not_found if no job ever had the key.
func (c *Client) Group(ctx context.Context, key string) (*Group, error) {
	return fetch[*Group](ctx, c, get("concurrency_groups/get/"+escapeSegment(key), nil))
}

// SetOverride replaces the fields that o gives for every job of the group,
// waiting ones included.
func (c *Client) SetOverride(ctx context.Context, key string, o Override) (*Group, error) {
	return fetch[*Group](ctx, c, call{
		method: http.MethodPut, path: "concurrency_groups/override/" + escapeSegment(key),
		body: o, repeat: true,
	})
}

// ClearOverride removes the override of a group.
func (c *Client) ClearOverride(ctx context.Context, key, why string) (*Group, error) {
	r := call{method: http.MethodDelete, path: "concurrency_groups/override/" + escapeSegment(key)}
	if why != "" {
		r.query = url.Values{"why": {why}}
	}
	return fetch[*Group](ctx, c, r)
}

// Pause says for how long a group is paused: until an instant, for a time, or
// until it is resumed if both are zero.
type Pause struct {
	Until *time.Time `json:"until,omitempty"`
	ForS  int64      `json:"for_s,omitempty"`
	Why   string     `json:"why,omitempty"`
}

// Pause holds a group back; what runs goes on.
func (c *Client) Pause(ctx context.Context, key string, p Pause) (*Group, error) {
	return fetch[*Group](ctx, c, post("concurrency_groups/pause/"+escapeSegment(key), p))
}

// Resume lifts a pause.
func (c *Client) Resume(ctx context.Context, key, why string) (*Group, error) {
	return fetch[*Group](ctx, c, post("concurrency_groups/resume/"+escapeSegment(key), map[string]string{"why": why}))
}

// CancelGroup says how to cancel the jobs of a group.
type CancelGroup struct {
	Reason  string `json:"reason,omitempty"`
	Running bool   `json:"running,omitempty"` // those that run, too
	Force   bool   `json:"force,omitempty"`
}

// CancelGroup cancels the waiting jobs of a group and returns how many.
func (c *Client) CancelGroup(ctx context.Context, key string, how CancelGroup) (int, error) {
	answer, err := fetch[struct {
		Canceled int `json:"canceled"`
	}](ctx, c, post("concurrency_groups/cancel/"+escapeSegment(key), how))
	return answer.Canceled, err
}

// Prune makes the group's history count no longer; code conflict while a job
// of it runs.
func (c *Client) Prune(ctx context.Context, key string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "concurrency_groups/prune/" + escapeSegment(key)})
}

// PlanRequest asks what a limit would give.
type PlanRequest struct {
	N          int        `json:"concurrent_limit"`
	WindowS    int        `json:"concurrency_time_window_s"`
	WindowFrom limit.Mode `json:"concurrency_window_from"`
	Jobs       int        `json:"jobs"`               // at most 100,000
	DurationMS int64      `json:"duration_ms"`        // of every job
	EveryMS    int64      `json:"every_ms,omitempty"` // between arrivals; 0: all arrive at once
}

// Plan is what a limit would give, with as many places as are needed.
type Plan struct {
	MakespanMS   int64   `json:"makespan_ms"`
	FirstStartMS int64   `json:"first_start_ms"`
	LastStartMS  int64   `json:"last_start_ms"`
	P50WaitMS    int64   `json:"p50_wait_ms"`
	P95WaitMS    int64   `json:"p95_wait_ms"`
	PerSecond    float64 `json:"per_second"`
	StartsMS     []int64 `json:"starts_ms"` // ascending; at most 1,000, evenly sampled
	Words        string  `json:"words"`
}

// Plan plays jobs against a limit without running any.
func (c *Client) Plan(ctx context.Context, p PlanRequest) (*Plan, error) {
	r := post("concurrency_groups/plan", p)
	r.repeat = true // it changes nothing
	return fetch[*Plan](ctx, c, r)
}
