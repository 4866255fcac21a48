package httpapi

import (
	"strings"
	"testing"
)

// TestRunsOfSchedules: the run that is due later shows among the jobs, says
// where it comes from, and lists select by that.
func TestRunsOfSchedules(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	r.ok(201, "POST", "/api/w/main/jobs/run/p/f/a", "{}")
	for _, path := range []string{"f/s", "f/t"} {
		r.ok(200, "POST", "/api/w/main/schedules/create", `{"path":"`+path+`","schedule":"0 0 0 1 1 *","timezone":"UTC","script_path":"f/a","enabled":true}`)
	}
	for query, want := range map[string]int{
		"": 3, "schedule_path=f/s": 1, "schedule_path=f/s,f/t": 2, "schedule_path=f/none": 0, "schedule_path=!f/s": 2,
		"is_not_schedule=true": 1, "trigger_kind=schedule": 2, "trigger_kind=!schedule": 1, "trigger_kind=http,schedule": 2, "trigger_kind=http": 0,
	} {
		if got := r.list(r.ok(200, "GET", "/api/w/main/jobs/list?"+query, "")); len(got) != want {
			t.Errorf("%s: %d jobs, want %d", query, len(got), want)
		}
	}
	run := r.ok(200, "GET", "/api/w/main/jobs/list?schedule_path=f/s", "")
	for _, field := range []string{`"schedule_path":"f/s"`, `"trigger_kind":"schedule"`, `"created_by":"schedule-f-s"`, `-01-01T00:00:00Z"`, `"running":false`} {
		if !strings.Contains(run, field) {
			t.Errorf("no %s in %s", field, run)
		}
	}
	r.ok(200, "POST", "/api/w/main/schedules/setenabled/f/s", `{"enabled":false}`)
	if got := r.ok(200, "GET", "/api/w/main/jobs/queue/list?schedule_path=f/s", ""); got != "[]" {
		t.Errorf("of a disabled schedule: %s", got)
	}
	if got := r.ok(200, "GET", "/api/w/main/schedules/get/f/s", ""); strings.Contains(got, "next_run") || !strings.Contains(got, `"enabled":false`) {
		t.Errorf("a disabled schedule: %s", got)
	}
	r.ok(200, "POST", "/api/w/main/schedules/update/f/s", `{"schedule":"0 0 0 1 1 *","timezone":"UTC"}`)
	if got := r.ok(200, "GET", "/api/w/main/schedules/get/f/s", ""); !strings.Contains(got, `"enabled":false`) || !strings.Contains(got, `"script_path":"f/a"`) {
		t.Errorf("a changed schedule: %s", got)
	}
}
