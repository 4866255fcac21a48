package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// scheduleDoc describes the fields of a schedule that mean something here. All
// others are accepted, stored and given back.
type scheduleDoc struct {
	Path        string          `json:"path,omitempty" doc:"Such as f/folder/name; of a change: that of the call"`
	Schedule    string          `json:"schedule" required:"true" doc:"Second, minute, hour, day of the month, month, day of the week and perhaps year; five fields leave out the second" example:"0 */15 * * * *"`
	Timezone    string          `json:"timezone,omitempty" doc:"Such as Europe/Berlin; UTC if left out"`
	CronVersion string          `json:"cron_version,omitempty" nullable:"true" doc:"v2: 0 or 7 is Sunday; v1: 1 is Sunday"`
	ScriptPath  string          `json:"script_path,omitempty" doc:"What is run; a change may leave it out"`
	IsFlow      bool            `json:"is_flow,omitempty" doc:"Whether it is a flow"`
	Args        json.RawMessage `json:"args,omitempty" doc:"Arguments, an object"`
	Enabled     *bool           `json:"enabled,omitempty" nullable:"true" doc:"True for a new one if left out; a changed one stays as it is then"`
	Summary     string          `json:"summary,omitempty" nullable:"true"`
	Description string          `json:"description,omitempty" nullable:"true"`
	Tag         string          `json:"tag,omitempty" nullable:"true"`
	NoOverlap   bool            `json:"no_flow_overlap,omitempty" nullable:"true" doc:"A run is skipped if an earlier one has not ended: of scripts, too"`
	PausedUntil *time.Time      `json:"paused_until,omitempty" nullable:"true"`
	Retry       json.RawMessage `json:"retry,omitempty" doc:"As of a step of a flow"`

	OnFailure        string          `json:"on_failure,omitempty" nullable:"true" doc:"script/PATH or flow/PATH"`
	OnFailureTimes   *int            `json:"on_failure_times,omitempty" nullable:"true" doc:"After so many failures in a row"`
	OnFailureExact   bool            `json:"on_failure_exact,omitempty" nullable:"true" doc:"Only then, and not after each further one"`
	OnFailureExtra   json.RawMessage `json:"on_failure_extra_args,omitempty"`
	OnRecovery       string          `json:"on_recovery,omitempty" nullable:"true"`
	OnRecoveryTimes  *int            `json:"on_recovery_times,omitempty" nullable:"true"`
	OnRecoveryExtra  json.RawMessage `json:"on_recovery_extra_args,omitempty"`
	OnSuccess        string          `json:"on_success,omitempty" nullable:"true"`
	OnSuccessExtra   json.RawMessage `json:"on_success_extra_args,omitempty"`
	PermissionedAs   json.RawMessage `json:"permissioned_as,omitempty" doc:"No effect: runs have the rights of who saved the schedule last"`
	PreservePermAs   json.RawMessage `json:"preserve_permissioned_as,omitempty" doc:"No effect"`
	WsHandlerMuted   json.RawMessage `json:"ws_error_handler_muted,omitempty" doc:"No effect yet"`
	DynamicSkip      json.RawMessage `json:"dynamic_skip,omitempty" doc:"Refused: not supported"`
	DeploymentIgnore json.RawMessage `json:"deployment_message,omitempty" doc:"No effect"`
}

// scheduleKnown is what the server adds to what was pushed.
type scheduleKnown struct {
	Workspace      string         `json:"workspace_id"`
	EditedBy       string         `json:"edited_by"`
	EditedAt       time.Time      `json:"edited_at"`
	Email          string         `json:"email"`
	PermissionedAs string         `json:"permissioned_as"`
	ExtraPerms     map[string]any `json:"extra_perms"`
	Enabled        bool           `json:"enabled"`
	Error          string         `json:"error,omitempty" doc:"Why it was disabled by itself, or a handler could not be called"`
	NextRun        *time.Time     `json:"next_run,omitempty" doc:"Ours: when the next run falls due"`
	Jobs           []scheduleJob  `json:"jobs,omitempty" doc:"With list_with_jobs: the newest runs that have ended"`
}

type scheduleJob struct {
	ID         string `json:"id"`
	Success    bool   `json:"success"`
	DurationMS int64  `json:"duration_ms"`
}

// scheduleJSON is a schedule as it is shown.
type scheduleJSON map[string]any

// Schema describes the schedule.
func (scheduleJSON) Schema(r huma.Registry) *huma.Schema {
	return echoed[scheduleDoc, scheduleKnown](r)
}

func scheduleForm(s *store.Schedule) (scheduleJSON, error) {
	var pushed map[string]json.RawMessage
	if err := json.Unmarshal(s.Body, &pushed); err != nil {
		return nil, fmt.Errorf("read the body of schedule %s: %w", s.Path, err)
	}
	out := scheduleJSON{"is_flow": false, "args": map[string]any{}, "timezone": "UTC", "summary": nil}
	for name, v := range pushed {
		out[name] = v
	}
	for _, name := range []string{"preserve_permissioned_as", "deployment_message", "error"} {
		delete(out, name)
	}
	out["workspace_id"], out["path"], out["enabled"] = s.Workspace, s.Path, s.Enabled
	out["edited_by"], out["edited_at"], out["email"] = s.EditedBy, s.EditedAt.UTC(), s.Email
	out["permissioned_as"], out["extra_perms"] = "u/"+s.EditedBy, map[string]any{}
	if s.Error != "" {
		out["error"] = s.Error
	}
	if !s.NextAt.IsZero() {
		out["next_run"] = s.NextAt.UTC()
	}
	return out, nil
}

// ScheduleRef is a schedule, named in the path of a call.
type ScheduleRef struct {
	Workspace string `path:"workspace"`
	Path      string `path:"path" doc:"Path of the schedule"`
}

// Resolve checks the path.
func (in *ScheduleRef) Resolve(huma.Context) []error {
	if err := checkPath(in.Path); err != nil {
		return []error{err}
	}
	return nil
}

type createScheduleIn struct {
	WorkspaceRef
	Body verbatim[scheduleDoc] `required:"true"`
}

type updateScheduleIn struct {
	ScheduleRef
	Body verbatim[scheduleDoc] `required:"true"`
}

type enableScheduleIn struct {
	ScheduleRef
	Body struct {
		Enabled bool `json:"enabled" required:"true"`
	}
}

type previewScheduleIn struct {
	Body struct {
		Schedule    string `json:"schedule" required:"true"`
		Timezone    string `json:"timezone,omitempty"`
		CronVersion string `json:"cron_version,omitempty" nullable:"true"`
	}
}

// addSchedules registers schedules.
func (a *API) addSchedules() {
	addText(a, "POST /api/w/{workspace}/schedules/create", "createSchedule", "Make a schedule; answers with its path", a.createSchedule)
	addText(a, "POST /api/w/{workspace}/schedules/update/{path...}", "updateSchedule", "Change a schedule; it is enabled or disabled only if it says so",
		func(ctx context.Context, in *updateScheduleIn) (string, error) {
			return in.Path, a.e.UpdateSchedule(ctx, in.Workspace, in.Path, in.Body.Raw, who(ctx, in.Workspace))
		})
	addText(a, "POST /api/w/{workspace}/schedules/setenabled/{path...}", "setScheduleEnabled", "Enable a schedule, or disable it: its next run is removed then",
		func(ctx context.Context, in *enableScheduleIn) (string, error) {
			said := "disabled " + in.Path
			if in.Body.Enabled {
				said = "enabled " + in.Path
			}
			return said, a.e.EnableSchedule(ctx, in.Workspace, in.Path, in.Body.Enabled, who(ctx, in.Workspace))
		})
	addText(a, "DELETE /api/w/{workspace}/schedules/delete/{path...}", "deleteSchedule", "Delete a schedule; runs that have fallen due go on",
		func(ctx context.Context, in *ScheduleRef) (string, error) {
			return "schedule " + in.Path + " deleted", a.e.DeleteSchedule(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
		})
	addJSON(a, "GET /api/w/{workspace}/schedules/get/{path...}", "getSchedule", "A schedule",
		func(ctx context.Context, in *ScheduleRef) (scheduleJSON, error) {
			s, err := a.e.Schedule(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
			if err != nil {
				return nil, err
			}
			out, err := scheduleForm(s)
			if err != nil {
				return nil, err
			}
			return out, a.addSchedulePerms(ctx, in.Workspace, []scheduleJSON{out})
		})
	addJSON(a, "GET /api/w/{workspace}/schedules/exists/{path...}", "existsSchedule", "Whether there is a schedule at a path",
		func(ctx context.Context, in *ScheduleRef) (bool, error) {
			_, err := a.e.Schedule(ctx, in.Workspace, in.Path, who(ctx, in.Workspace))
			if sluice.CodeOf(err) == sluice.CodeNotFound {
				return false, nil
			}
			return err == nil, err
		})
	addJSON(a, "GET /api/w/{workspace}/schedules/list", "listSchedules", "Schedules by path; at most 1,000 unless per_page says less", a.listSchedules)
	addJSON(a, "GET /api/w/{workspace}/schedules/list_with_jobs", "listSchedulesWithJobs", "Schedules by path, with their newest runs that have ended", a.listSchedulesWithJobs)
	addJSON(a, "POST /api/schedules/preview", "previewSchedule", "The next instants at which a schedule would fall due, at most ten",
		func(ctx context.Context, in *previewScheduleIn) ([]time.Time, error) {
			return a.e.PreviewSchedule(ctx, in.Body.Schedule, in.Body.Timezone, in.Body.CronVersion)
		})
}

func (a *API) createSchedule(ctx context.Context, in *createScheduleIn) (string, error) {
	doc := &in.Body.Value
	if err := checkPath(doc.Path); err != nil {
		return "", err
	}
	named(ctx, doc.Path)
	if err := callerOf(ctx).may(scope{domain: "schedules", action: "write", paths: doc.Path}); err != nil {
		return "", err
	}
	return doc.Path, a.e.CreateSchedule(ctx, in.Workspace, in.Body.Raw, who(ctx, in.Workspace))
}

type listSchedulesIn struct {
	WorkspaceRef
	Paging
	Path      string         `query:"path" doc:"Of what is run"`
	PathStart string         `query:"path_start"`
	IsFlow    optional[bool] `query:"is_flow"`
}

// schedules returns one page of those that are asked for.
func (a *API) schedules(ctx context.Context, in *listSchedulesIn, usual, most int) ([]*store.Schedule, error) {
	const piece = 1000
	offset, n := in.window(usual, most)
	var out []*store.Schedule
	for f := (store.ScheduleFilter{Workspace: in.Workspace, Sight: who(ctx, in.Workspace).Sight(), PathStart: in.PathStart, Limit: piece}); ; f.Offset += piece {
		list, err := a.e.Schedules(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			var b engine.ScheduleBody
			if err := json.Unmarshal(s.Body, &b); err != nil {
				return nil, fmt.Errorf("read the body of schedule %s: %w", s.Path, err)
			}
			if in.Path != "" && b.ScriptPath != in.Path || in.IsFlow.Set && b.IsFlow != in.IsFlow.Value {
				continue
			}
			if offset--; offset < 0 {
				out = append(out, s)
			}
			if len(out) == n {
				return out, nil
			}
		}
		if len(list) < piece {
			return out, nil
		}
	}
}

func (a *API) listSchedules(ctx context.Context, in *listSchedulesIn) ([]scheduleJSON, error) {
	const most = 1000
	list, err := a.schedules(ctx, in, most, most)
	if err != nil {
		return nil, err
	}
	out := make([]scheduleJSON, len(list))
	for i, s := range list {
		if out[i], err = scheduleForm(s); err != nil {
			return nil, err
		}
	}
	return out, a.addSchedulePerms(ctx, in.Workspace, out)
}

// addSchedulePerms adds who was given which right on schedules.
func (a *API) addSchedulePerms(ctx context.Context, workspace string, list []scheduleJSON) error {
	path := func(s scheduleJSON) string { return fmt.Sprint(s["path"]) }
	perms, err := a.e.ExtraPerms(ctx, workspace, store.KindSchedule, pathsOf(list, path)...)
	for _, s := range list {
		s["extra_perms"] = permsOf(perms[path(s)])
	}
	return err
}

func (a *API) listSchedulesWithJobs(ctx context.Context, in *listSchedulesIn) ([]scheduleJSON, error) {
	const usual, most, runs = 30, 100, 20
	list, err := a.schedules(ctx, in, usual, most)
	if err != nil {
		return nil, err
	}
	out := make([]scheduleJSON, len(list))
	for i, s := range list {
		if out[i], err = scheduleForm(s); err != nil {
			return nil, err
		}
		jobs, err := a.e.Jobs(ctx, store.JobFilter{Workspace: s.Workspace, Sight: who(ctx, in.Workspace).Sight(), Schedule: s.Path, States: []sluice.State{sluice.StateCompleted}, Outcomes: []sluice.Outcome{sluice.OutcomeSuccess, sluice.OutcomeFailure}, Limit: runs})
		if err != nil {
			return nil, err
		}
		ended := []scheduleJob{}
		for _, j := range jobs {
			ended = append(ended, scheduleJob{ID: j.ID, Success: j.Outcome == sluice.OutcomeSuccess, DurationMS: durationOf(j)})
		}
		out[i]["jobs"] = ended
	}
	return out, a.addSchedulePerms(ctx, in.Workspace, out)
}
