package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Schedule is a cron schedule of a script or a flow, as the server shows it.
type Schedule struct {
	Path        string          `json:"path"`
	Schedule    string          `json:"schedule"` // second, minute, hour, day of the month, month, day of the week, perhaps year
	Timezone    string          `json:"timezone"`
	ScriptPath  string          `json:"script_path"` // what it runs
	IsFlow      bool            `json:"is_flow"`
	Enabled     bool            `json:"enabled"`
	Summary     string          `json:"summary,omitempty"`
	Args        json.RawMessage `json:"args,omitempty"`
	NoOverlap   bool            `json:"no_flow_overlap,omitempty"`
	PausedUntil *time.Time      `json:"paused_until,omitempty"`
	OnFailure   string          `json:"on_failure,omitempty"`
	OnRecovery  string          `json:"on_recovery,omitempty"`
	OnSuccess   string          `json:"on_success,omitempty"`
	NextRun     *time.Time      `json:"next_run,omitempty"`
	Error       string          `json:"error,omitempty"` // why it was disabled by itself, or a handler could not be run
	EditedBy    string          `json:"edited_by,omitempty"`
	EditedAt    time.Time       `json:"edited_at"`
}

// Schedule returns the schedule at a path.
func (c *Client) Schedule(ctx context.Context, path string) (*Schedule, error) {
	return fetch[*Schedule](ctx, c, get(c.in("schedules/get/"+escapePath(path)), nil))
}

// ScheduleFields returns the schedule at a path with every field that the
// server shows.
func (c *Client) ScheduleFields(ctx context.Context, path string) (map[string]json.RawMessage, error) {
	return fetch[map[string]json.RawMessage](ctx, c, get(c.in("schedules/get/"+escapePath(path)), nil))
}

// Schedules lists the workspace's schedules by path; page counts from 1.
func (c *Client) Schedules(ctx context.Context, page, perPage int) ([]Schedule, error) {
	return fetch[[]Schedule](ctx, c, get(c.in("schedules/list"), paging(page, perPage)))
}

// CreateSchedule makes a schedule at a path where there is none; code conflict
// if there is. body is the object with path, schedule, script_path and all else.
func (c *Client) CreateSchedule(ctx context.Context, body json.RawMessage) error {
	return c.do(ctx, post(c.in("schedules/create"), body))
}

// UpdateSchedule changes the schedule at a path.
func (c *Client) UpdateSchedule(ctx context.Context, path string, body json.RawMessage) error {
	return c.do(ctx, post(c.in("schedules/update/"+escapePath(path)), body))
}

// EnableSchedule enables a schedule, or disables it: its next run is removed then.
func (c *Client) EnableSchedule(ctx context.Context, path string, enabled bool) error {
	return c.do(ctx, post(c.in("schedules/setenabled/"+escapePath(path)), map[string]bool{"enabled": enabled}))
}

// DeleteSchedule deletes a schedule; runs that have fallen due go on.
func (c *Client) DeleteSchedule(ctx context.Context, path string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: c.in("schedules/delete/" + escapePath(path))})
}

// PreviewSchedule returns the next instants at which a schedule would fall due,
// at most ten. timezone "" is UTC.
func (c *Client) PreviewSchedule(ctx context.Context, schedule, timezone string) ([]time.Time, error) {
	return fetch[[]time.Time](ctx, c, post("schedules/preview", map[string]string{"schedule": schedule, "timezone": timezone}))
}
