package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// fixtureNow is the server's clock in the fixtures, in milliseconds.
const fixtureNow = 1_800_000_000_000

// fixtures maps "METHOD path" to an answer: the name of a fixture, or
// "status text".
type fixtures map[string]string

func (f fixtures) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/api/")
	answer, ok := f[r.Method+" "+path]
	if path == "concurrency_groups/plan" {
		body, _ := io.ReadAll(r.Body)
		answer, ok = "plan_end", true
		if bytes.Contains(body, []byte(`"concurrency_window_from":"start"`)) {
			answer = "plan_start"
		}
	}
	if path == "jobs/db_clock" {
		answer, ok = "clock", true
	}
	if !ok {
		http.Error(w, "no fixture for "+r.Method+" "+path, http.StatusTeapot)
		return
	}
	var status int
	if n, _ := fmt.Sscanf(answer, "%d", &status); n == 1 {
		http.Error(w, answer[4:], status)
		return
	}
	data, err := os.ReadFile(filepath.Join("testdata", "fixtures", answer+".json"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "%s", data)
}

// terminal is an app whose world is fixed: 80 columns, UTC, no environment.
func terminal(env map[string]string) (*app, *bytes.Buffer) {
	var out bytes.Buffer
	return &app{
		in: strings.NewReader(""), out: &out, err: &out,
		env:  func(name string) string { return env[name] },
		now:  func() time.Time { return time.UnixMilli(fixtureNow) },
		zone: time.UTC, width: 80, tty: true, self: "sluice",
	}, &out
}

const fixtureJob = "01900000-0000-4000-8000-000000000000"

func TestGolden(t *testing.T) {
	job := "GET w/main/jobs_u/get/" + fixtureJob
	group := "GET concurrency_groups/get/main%2Fscript%2Ff%2Fdemo%2Fhello"
	tests := map[string]struct {
		args    string
		answers fixtures
	}{
		"jobs_list":            {"jobs list", fixtures{"GET w/main/jobs/list": "jobs"}},
		"jobs_list_state":      {"jobs list --state failed --json", fixtures{"GET w/main/jobs/list": "jobs"}},
		"limits_set_none":      {"limits set main/script/f/demo/hello", nil},
		"jobs_list_weird":      {"jobs list --state weird", nil},
		"token_create_expired": {"token create --expires 0s", nil},
		"jobs_get":             {"jobs get " + fixtureJob, fixtures{job: "job_done"}},
		"jobs_get_waits":       {"jobs get " + fixtureJob, fixtures{job: "why_limit"}},
		"jobs_get_json":        {"jobs get --json " + fixtureJob, fixtures{job: "job_running"}},
		"jobs_get_none":        {"jobs get " + fixtureJob, fixtures{job: "404 there is no such job"}},
		"jobs_cancel":          {"jobs cancel " + fixtureJob, fixtures{"POST w/main/jobs_u/queue/cancel/" + fixtureJob: "409 the job has already ended"}},
		"why_approval":         {"jobs why " + fixtureJob, fixtures{job: "flow_suspended"}},
		"jobs_approve":         {"jobs approve " + fixtureJob, fixtures{"POST w/main/jobs/flow/resume/" + fixtureJob: "201 approved"}},
		"jobs_approve_late":    {"jobs approve " + fixtureJob, fixtures{"POST w/main/jobs/flow/resume/" + fixtureJob: "409 the flow does not wait for an approval"}},
		"jobs_approve_text":    {"jobs approve " + fixtureJob + " -d yes", fixtures{}},
		"jobs_disapprove":      {"jobs disapprove " + fixtureJob + " --json", fixtures{"POST w/main/jobs/flow/disapprove/" + fixtureJob: "201 disapproved"}},
		"help_approve":         {"jobs approve --help", fixtures{}},
		"why_limit":            {"jobs why " + fixtureJob, fixtures{job: "why_limit"}},
		"why_behind":           {"jobs why " + fixtureJob, fixtures{job: "why_behind"}},
		"why_paused":           {"jobs why " + fixtureJob, fixtures{job: "why_paused"}},
		"why_no_worker":        {"jobs why " + fixtureJob, fixtures{job: "why_no_worker"}},
		"why_busy":             {"jobs why " + fixtureJob, fixtures{job: "why_busy"}},
		"why_scheduled":        {"jobs why " + fixtureJob, fixtures{job: "why_scheduled"}},
		"why_running":          {"jobs why " + fixtureJob, fixtures{job: "job_running"}},
		"why_done":             {"jobs why " + fixtureJob, fixtures{job: "job_done"}},
		"limits_list":          {"limits list", fixtures{"GET concurrency_groups/groups": "groups"}},
		"limits_show":          {"limits show main/script/f/demo/hello", fixtures{group: "group"}},
		"limits_override":      {"limits show main/script/f/demo/hello", fixtures{group: "group_override"}},
		"limits_set": {
			"limits set main/script/f/demo/hello --limit 3 --window 10m",
			fixtures{"PUT concurrency_groups/override/main%2Fscript%2Ff%2Fdemo%2Fhello": "group_override"},
		},
		"limits_prune":      {"limits prune k", fixtures{"DELETE concurrency_groups/prune/k": "409 2 jobs of it run; cancel them or wait"}},
		"limits_plan":       {"limits plan --limit 10 --window 60 --from end --jobs 300 --duration 2s", fixtures{}},
		"help":              {"", fixtures{}},
		"help_run":          {"run --help", fixtures{}},
		"help_server":       {"server --help", fixtures{}},
		"help_set":          {"limits set --help", fixtures{}},
		"why_preprocessing": {"jobs why " + fixtureJob, fixtures{job: "why_preprocessing"}},
		"why_dependencies":  {"jobs why " + fixtureJob, fixtures{job: "why_dependencies"}},
		"jobs_get_lock":     {"jobs get " + fixtureJob, fixtures{job: "why_dependencies"}},
		"jobs_tail_failed": {"jobs tail " + fixtureJob, fixtures{
			"GET w/main/jobs_u/getupdate/" + fixtureJob:     "update_done",
			"GET w/main/jobs_u/completed/get/" + fixtureJob: "job_failed",
		}},
		"jobs_tail_none":         {"jobs tail " + fixtureJob, fixtures{"GET w/main/jobs_u/getupdate/" + fixtureJob: "404 there is no such job"}},
		"schedules_list":         {"schedules list", fixtures{"GET w/main/schedules/list": "schedules"}},
		"schedules_none":         {"schedule list", fixtures{"GET w/main/schedules/list": "none"}},
		"schedules_get":          {"schedules get f/demo/each_hour.schedule.yaml", fixtures{"GET w/main/schedules/get/f/demo/each_hour": "schedule"}},
		"schedules_enable":       {"schedules enable f/demo/each_hour", fixtures{"POST w/main/schedules/setenabled/f/demo/each_hour": "404 there is no schedule f/demo/each_hour"}},
		"schedules_disable":      {"schedules disable f/demo/each_hour", fixtures{"POST w/main/schedules/setenabled/f/demo/each_hour": "200 done"}},
		"schedules_delete":       {"schedules delete f/demo/each_hour", fixtures{"DELETE w/main/schedules/delete/f/demo/each_hour": "200 deleted"}},
		"schedules_preview":      {"schedules preview @daily -z Europe/Berlin", fixtures{"POST schedules/preview": "preview"}},
		"variable_list":          {"variable list", fixtures{"GET w/main/variables/list": "variables"}},
		"variable_none":          {"variable list", fixtures{"GET w/main/variables/list": "none"}},
		"variable_get":           {"variable get f/demo/token", fixtures{"GET w/main/variables/get/f/demo/token": "variable"}},
		"variable_set_secret":    {"variable set f/demo/token hunter22", fixtures{"GET w/main/variables/get/f/demo/token": "variable"}},
		"variable_set_new":       {"variable set f/demo/region eu", fixtures{"GET w/main/variables/get/f/demo/region": "404 there is no variable f/demo/region", "POST w/main/variables/create": "201 created"}},
		"variable_set_forbidden": {"variable set f/demo/token --secret", fixtures{"GET w/main/variables/get/f/demo/token": "variable", "POST w/main/variables/update/f/demo/token": "403 only a member with the role developer may do this; yours in main is operator"}},
		"variable_delete":        {"variable delete f/demo/token", fixtures{"DELETE w/main/variables/delete/f/demo/token": "404 there is no variable f/demo/token"}},
		"help_variable_set":      {"variable set --help", fixtures{}},
		"resource_list":          {"resource list", fixtures{"GET w/main/resources/list": "resources"}},
		"resource_get":           {"resource get f/demo/database", fixtures{"GET w/main/resources/get/f/demo/database": "resource"}},
		"resource_get_value":     {"resource get f/demo/database --value", fixtures{"GET w/main/resources/get/f/demo/database": "resource"}},
		"resource_set_no_type":   {"resource set f/demo/database", fixtures{"GET w/main/resources/get/f/demo/database": "404 there is no resource f/demo/database"}},
		"resource_set_no_json":   {"resource set f/demo/database", fixtures{"GET w/main/resources/get/f/demo/database": "resource"}},
		"resource_delete":        {"resource delete f/demo/database", fixtures{"DELETE w/main/resources/delete/f/demo/database": "200 deleted"}},
		"help_resource_set":      {"resource set --help", fixtures{}},
		"key_rotate":             {"key rotate", fixtures{"POST settings/rotate_keys": "rotation"}},
		"key_rotate_master":      {"key rotate --master", fixtures{"POST settings/rotate_keys": "rotation"}},
		"pipe_variable_list":     {"variable list", fixtures{"GET w/main/variables/list": "variables"}},
		"help_schedules":         {"schedules --help", fixtures{}},
		"flows_list":             {"flows list", fixtures{"GET w/main/flows/list": "flows"}},
		"flows_none":             {"flows list", fixtures{"GET w/main/flows/list": "none"}},
		"flows_get":              {"flows get f/demo/all.flow", fixtures{"GET w/main/flows/get/f/demo/all": "flow"}},
		"flows_get_json":         {"flows get --version 7 --json", fixtures{"GET w/main/flows/get/v/7": "flow"}},
		"flows_get_what":         {"flows get f/demo/all --version 7", fixtures{}},
		"jobs_get_flow": {"jobs get " + fixtureJob, fixtures{
			job: "flow_running", "GET w/main/jobs/list": "flow_steps",
			"GET w/main/jobs_u/wait/01900000-0000-4000-8000-0000000000c3": "wait_limit",
		}},
		"flows_restart": {"flows restart " + fixtureJob + " --step b", fixtures{"POST w/main/jobs/restart/f/" + fixtureJob: "409 job " + fixtureJob + " still runs"}},
		"flows_run":     {"flows run f/demo/all.flow", fixtures{"POST w/main/jobs/run/bulk": "404 there is no flow f/demo/all in workspace main"}},
		"flows_run_wait": {"flows run f/demo/all --follow", fixtures{
			"POST w/main/jobs/run/bulk": "flow_ids", "GET w/main/jobs_u/getupdate/" + fixtureJob: "flow_update", "GET w/main/jobs_u/completed/get/" + fixtureJob: "job_done",
		}},
		"help_flows_run":  {"flows run --help", fixtures{}},
		"flows_history":   {"flows history f/demo/all", fixtures{"GET w/main/flows/history/p/f/demo/all": "flow_history"}},
		"flows_archive":   {"flows archive f/demo/all", fixtures{"POST w/main/flows/archive/f/demo/all": "404 there is no flow f/demo/all in workspace main"}},
		"flows_undo":      {"flows archive f/demo/all --undo", fixtures{"POST w/main/flows/archive/f/demo/all": "200 done"}},
		"flows_delete":    {"flows delete f/demo/all", fixtures{"DELETE w/main/flows/delete/f/demo/all": "200 deleted"}},
		"help_flows":      {"flows --help", fixtures{}},
		"scripts_list":    {"scripts list", fixtures{"GET w/main/scripts/list": "scripts"}},
		"scripts_get":     {"scripts get f/demo/hello.sh", fixtures{"GET w/main/scripts/get/p/f/demo/hello": "script"}},
		"scripts_history": {"scripts history f/demo/hello", fixtures{"GET w/main/scripts/history/p/f/demo/hello": "history"}},
		"scripts_diff": {"scripts diff f/demo/hello", fixtures{
			"GET w/main/scripts/history/p/f/demo/hello":                 "history",
			"GET w/main/scripts/diff/29e067a27f63f6c3/29e067a27f63f6c4": "diff",
		}},
		"scripts_diff_one":  {"scripts diff f/demo/hello", fixtures{"GET w/main/scripts/history/p/f/demo/hello": "history_one"}},
		"scripts_delete":    {"scripts delete f/demo/hello", fixtures{"POST w/main/scripts/delete/p/f/demo/hello": "403 needs the role admin in main"}},
		"pipe_scripts_list": {"scripts list", fixtures{"GET w/main/scripts/list": "scripts"}},
		"pipe_scripts_get":  {"scripts get f/demo/hello", fixtures{"GET w/main/scripts/get/p/f/demo/hello": "script"}},
		"pipe_token_list":   {"token list", fixtures{"GET users/tokens/list": "tokens"}},
		"pipe_token_create": {"token create", fixtures{"POST users/tokens/create": "201 0123456789secret"}},
		"pipe_user_list":    {"user list", fixtures{"GET users/list_as_super_admin": "users"}},
		"pipe_audit":        {"workspace audit", fixtures{"GET w/main/audit/list": "audit"}},
		"pipe_why":          {"jobs why " + fixtureJob, fixtures{job: "why_preprocessing"}},
		"help_import":       {"import --help", fixtures{}},
		"login_nobody":      {"login", fixtures{}},
		"profiles_none":     {"profiles list", fixtures{}},
		"profile_none":      {"jobs list --profile away", fixtures{}},
		"logout_nobody":     {"logout", fixtures{}},
		"user_list":         {"user list", fixtures{"GET users/list_as_super_admin": "users"}},
		"user_list_json":    {"user list --json", fixtures{"GET users/list_as_super_admin": "users"}},
		"user_create":       {"user create --no-password eve@example.org", fixtures{"POST users/create": "201 eve"}},
		"user_update":       {"user update eve@example.org --no-admin --disabled", fixtures{"POST users/update/eve%40example%2Eorg": "200 updated"}},
		"user_nothing":      {"user update eve@example.org", fixtures{}},
		"user_delete":       {"user delete eve@example.org", fixtures{"DELETE users/delete/eve%40example%2Eorg": "404 there is no user eve@example.org"}},
		"token_list":        {"token list --sessions", fixtures{"GET users/tokens/list": "tokens"}},
		"token_create":      {"token create --label ci --scope jobs:read", fixtures{"POST users/tokens/create": "201 0123456789secret"}},
		"token_revoke":      {"token revoke 0123456789", fixtures{"DELETE users/tokens/delete/0123456789": "200 deleted"}},
		"workspace_list":    {"workspace list", fixtures{"GET workspaces/list": "workspaces"}},
		"workspace_new":     {"workspace create team", fixtures{"POST workspaces/create": "201 created"}},
		"workspace_who":     {"workspace members -w team", fixtures{"GET w/team/users/list": "members"}},
		"workspace_add":     {"workspace add eve@example.org --role operator", fixtures{"POST w/main/workspaces/add_user": "201 added"}},
		"workspace_role":    {"workspace role eve admin", fixtures{"POST w/main/users/update/eve": "200 updated"}},
		"workspace_out":     {"workspace remove eve --json", fixtures{"DELETE w/main/users/delete/eve": "200 removed"}},
		"workspace_log":     {"workspace audit", fixtures{"GET w/main/audit/list": "audit"}},
		"help_login":        {"login --help", fixtures{}},
		"help_token":        {"token create --help", fixtures{}},
		"help_workspace":    {"workspace --help", fixtures{}},
		"run_no_path":       {"run", fixtures{}},
		"run_no_token":      {"run f/demo/hello", fixtures{"POST w/main/jobs/run/bulk": "401 a token is needed"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			srv := httptest.NewServer(tt.answers)
			defer srv.Close()
			a, out := terminal(nil)
			piped := strings.HasPrefix(name, "pipe_")
			if piped {
				a.width, a.tty = 0, false
			}
			args := strings.Fields(tt.args)
			if len(args) > 1 && !strings.Contains(tt.args, "--help") && !strings.HasPrefix(tt.args, "profiles") {
				args = append(args, "--url", srv.URL)
			}
			status := a.run(context.Background(), args)
			got := fmt.Sprintf("$ sluice %s\n%s[exit status %d]\n", tt.args, out, status)
			compare(t, filepath.Join("testdata", "golden", name+".txt"), got)
			if strings.Contains(tt.args, "--json") || piped {
				return
			}
			for _, line := range strings.Split(out.String(), "\n") {
				if textWidth(line) > 80 {
					t.Errorf("wider than 80 columns: %q", line)
				}
				if strings.TrimRight(line, " ") != line {
					t.Errorf("white space at the end of %q", line)
				}
				if strings.ContainsAny(colours.ReplaceAllString(line, ""), "\x1b\u202e") {
					t.Errorf("something that a terminal would obey: %q", line)
				}
			}
		})
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run go test ./cmd/sluice -rewrite and look at the change.\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}
