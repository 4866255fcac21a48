package worker

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// environment is all that a job finds in its environment, whatever runs it; dir
// is its folder as it sees it.
func (t *Task) environment(dir string) []string {
	vars := append([][2]string{
		{"PATH", jobPath},
		{"HOME", dir},
		{"TMPDIR", filepath.Join(dir, tmpName)},
		{"LANG", "C.UTF-8"},
	}, t.variables()...)
	env := make([]string, len(vars))
	for i, v := range vars {
		env[i] = v[0] + "=" + strings.ReplaceAll(v[1], "\x00", "")
	}
	return env
}

// variables tell a job who and where it is, by Windmill's names. What does not
// apply is there and empty.
func (t *Task) variables() [][2]string {
	root := t.RootJob
	if root == "" {
		root = t.ParentJob
	}
	return [][2]string{
		{"WM_TOKEN", t.Token},
		{"WM_WORKSPACE", t.Workspace},
		{"WM_JOB_ID", t.JobID},
		{"WM_JOB_PATH", t.Path},
		{"WM_FLOW_JOB_ID", t.ParentJob},
		{"WM_ROOT_FLOW_JOB_ID", root},
		{"WM_FLOW_PATH", t.FlowPath},
		{"WM_FLOW_STEP_ID", t.FlowStep},
		{"WM_SCHEDULE_PATH", t.Schedule},
		{"WM_SCHEDULED_FOR", t.Scheduled.UTC().Format(time.RFC3339Nano)},
		{"WM_STATE_PATH", t.statePath()},
		{"WM_STATE_PATH_NEW", t.statePath()},
		{"WM_OBJECT_PATH", t.objectPath()},
		{"WM_USERNAME", t.CreatedBy},
		{"WM_EMAIL", t.Email},
		{"WM_PERMISSIONED_AS", "u/" + t.CreatedBy},
		{"WM_BASE_URL", t.BaseURL},
		{"BASE_INTERNAL_URL", t.BaseURL},
		{"BASE_URL", t.BaseURL},
		{"SLUICE_ATTEMPT", strconv.Itoa(t.Attempt)}, // ours: Windmill's jobs cannot tell a second attempt
	}
}

// statePath is the path of the resource in which the runnable may keep its
// state: beside it, or with its user if it has no path.
func (t *Task) statePath() string {
	if t.Path == "" {
		return "u/" + t.CreatedBy + "/preview_state"
	}
	parts := strings.SplitN(t.Path, "/", 3)
	if len(parts) == 3 {
		parts[2] = strings.ReplaceAll(parts[2], "/", "_")
	}
	return strings.Join(parts, "/") + "_state"
}

// objectPath is where in a store of objects the job may keep its own.
func (t *Task) objectPath() string {
	path := t.Path
	if path == "" {
		path = "u/" + t.CreatedBy + "/preview"
	}
	return strings.ReplaceAll(path, "/", "_") + "/" + t.JobID
}
