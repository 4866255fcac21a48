package httpapi

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// laterRows are the calls of the contract that this server does not answer
// yet, and why. Nothing else may be missing.
var laterRows = map[string]string{}

// contractCases say what each row of the contract asks for: a request, and the
// status, content type and body of its answer. fields are those of the JSON
// object that is answered, or of each in the list.
var contractCases = []struct {
	row, path, body string
	status          int
	mime            string
	want            []string
	fields          string
}{
	{"GET /api/users/whoami", "/api/users/whoami", "", 200, jsonMime, []string{`"name":null`, `"company":null`}, "email login_type super_admin verified name company username operator_only first_time_user role_source disabled"},
	{"GET /api/version", "/api/version", "", 200, textMime, []string{`/^CE v\d+\.\d+\.\d+$/`}, ""},
	{"POST /api/workspaces/exists", "/api/workspaces/exists", `{"id":"main"}`, 200, jsonMime, []string{"/^true$/"}, ""},
	{"GET /api/workspaces/list", "/api/workspaces/list", "", 200, jsonMime, nil, "id name owner"},
	{"GET /api/workspaces/users", "/api/workspaces/users", "", 200, jsonMime, []string{`"parent_workspace_id":null`, `"is_dev_workspace":false`, `"color":""`}, "email workspaces"},
	{"GET /api/w/{}/users/whoami", "/api/w/main/users/whoami", "", 200, jsonMime, nil, "email username is_admin is_super_admin created_at operator disabled groups folders folders_read folders_owners"},

	{"GET /api/w/{}/scripts/get/p/{}", "/api/w/main/scripts/get/p/f/x/hello", "", 200, jsonMime, []string{`"ws_error_handler_muted":false`, `"kind":"script"`, "!envs"}, "workspace_id hash parent_hashes path summary description content language kind lock schema created_by created_at archived deleted is_template extra_perms starred has_preprocessor ws_error_handler_muted"},
	{"GET /api/w/{}/scripts/get/p/{}", "/api/w/main/scripts/get/p/f/x/none", "", 404, textMime, nil, ""},
	{"POST /api/w/{}/scripts/create", "/api/w/main/scripts/create?skip_if_noop=true", `{"path":"f/c/new","content":"","language":"bash","auto_parent":true}`, 201, textMime, []string{"/" + hashRE + "/"}, ""},
	{"GET /api/w/{}/scripts/list", "/api/w/main/scripts/list?page=0&per_page=10&show_archived=false&include_without_main=false&include_draft_only=true", "", 200, jsonMime, nil, "path hash summary language kind"},
	{"POST /api/w/{}/scripts/archive/p/{}", "/api/w/main/scripts/archive/p/f/c/new", "", 200, textMime, nil, ""},
	{"POST /api/w/{}/scripts/raw_temp/diff", "/api/w/main/scripts/raw_temp/diff", `{"scripts":{"f/x/none":"00"},"workspace_deps":[]}`, 200, jsonMime, []string{`/^\["f/x/none"\]$/`}, ""},
	{"POST /api/w/{}/scripts/raw_temp/store", "/api/w/main/scripts/raw_temp/store", `"echo ok"`, 200, textMime, []string{shaOfEchoOK}, ""},

	{"POST /api/w/{}/flows/create", "/api/w/main/flows/create", `{"path":"f/c/flow","summary":"S","description":"","value":{"modules":[]},"schema":{"a":1},"deployment_message":"m","skip_draft_deletion":true}`, 201, textMime, []string{"/^f/c/flow$/"}, ""},
	{"GET /api/w/{}/flows/get/{}", "/api/w/main/flows/get/f/c/flow", "", 200, jsonMime, []string{`"archived":false`, `"value":{"modules":[]}`, `"schema":{"a":1}`, "!deployment_message", "!null"}, "workspace_id path summary description value schema edited_by edited_at archived extra_perms"},
	{"GET /api/w/{}/flows/get/{}", "/api/w/main/flows/get/f/c/none", "", 404, textMime, nil, ""},
	{"GET /api/w/{}/flows/list", "/api/w/main/flows/list?page=0&per_page=10&show_archived=false&include_draft_only=false", "", 200, jsonMime, []string{"!modules"}, "path summary edited_by"},
	{"POST /api/w/{}/flows/update/{}", "/api/w/main/flows/update/f/c/flow", `{"path":"f/c/flow","value":{"modules":[],"same_worker":false}}`, 200, textMime, nil, ""},
	{"POST /api/w/{}/jobs/run/f/{}", "/api/w/main/jobs/run/f/f/c/flow?tag=gpu", `{"a":1}`, 201, textMime, []string{"/" + uuidRE + "/"}, ""},
	{"POST /api/w/{}/jobs/run/preview_flow", "/api/w/main/jobs/run/preview_flow", `{"value":{"modules":[]},"path":"f/c/flow","args":{},"temp_script_refs":null}`, 201, textMime, []string{"/" + uuidRE + "/"}, ""},
	{"DELETE /api/w/{}/flows/delete/{}", "/api/w/main/flows/delete/f/c/flow", "", 200, textMime, nil, ""},
	{"DELETE /api/w/{}/flows/delete/{}", "/api/w/main/flows/delete/f/c/flow", "", 200, textMime, nil, ""},

	{"GET /api/w/{}/workspaces/list_ws_specific", "/api/w/main/workspaces/list_ws_specific", "", 200, jsonMime, []string{`/^\[\]$/`}, ""},
	{"GET /api/w/{}/workspaces/tarball", "/api/w/main/workspaces/tarball?archive_type=zip&plain_secret=false&skip_variables=false&skip_resources=false&skip_secrets=false&include_schedules=true&include_triggers=false&include_users=false&include_groups=false&include_settings=false&include_key=false&include_workspace_dependencies=true&skip_datatable_migrations=false&default_ts=bun&skip_resource_types=false&settings_version=v2&preserve_extra_perms=true&sync_behavior_version=v1", "", 200, contentOctets, []string{"f/x/hello.script.json"}, ""},
	{"GET /api/w/{}/workspaces/tarball", "/api/w/main/workspaces/tarball?archive_type=rar", "", 400, textMime, []string{"Invalid Archive Type"}, ""},
	{"POST /api/w/{}/folders/create", "/api/w/main/folders/create", `{"name":"c","summary":"S","display_name":"C","owners":[],"extra_perms":{}}`, 200, textMime, []string{"/^c$/"}, ""},
	{"POST /api/w/{}/folders/update/{}", "/api/w/main/folders/update/c", `{"owners":["u/x"]}`, 200, textMime, nil, ""},
	{"GET /api/w/{}/folders/get/{}", "/api/w/main/folders/get/c", "", 200, jsonMime, []string{`"summary":"S"`, `"owners":["u/x"]`}, "name summary display_name owners extra_perms"},
	{"GET /api/w/{}/folders/get/{}", "/api/w/main/folders/get/none", "", 404, textMime, nil, ""},
	{"GET /api/w/{}/folders/list", "/api/w/main/folders/list", "", 200, jsonMime, nil, "name display_name owners"},
	{"DELETE /api/w/{}/folders/delete/{}", "/api/w/main/folders/delete/c", "", 200, textMime, nil, ""},
	{"GET /api/w/{}/shared_ui/get", "/api/w/main/shared_ui/get", "", 200, jsonMime, []string{`"files":{}`}, "files version edited_at edited_by"},
	{"GET /api/w/{}/workspaces/get_settings", "/api/w/main/workspaces/get_settings", "", 200, jsonMime, nil, "workspace_id"},
	{"POST /api/w/{}/jobs/run/dependencies_async", "/api/w/main/jobs/run/dependencies_async", `{"raw_scripts":[{"raw_code":"echo","language":"bash","script_path":"f/x/a"}],"raw_workspace_dependencies":null,"entrypoint":"f/x/a","temp_script_refs":null}`, 201, textMime, []string{"/" + uuidRE + "/"}, ""},
	{"POST /api/w/{}/jobs/run/flow_dependencies_async", "/api/w/main/jobs/run/flow_dependencies_async", `{"flow_value":{"modules":[]},"path":"f/x/b"}`, 201, textMime, []string{"/" + uuidRE + "/"}, ""},

	{"POST /api/w/{}/jobs/run/p/{}", "/api/w/main/jobs/run/p/f/x/hello?tag=gpu", `{"a":1}`, 201, textMime, []string{"/" + uuidRE + "/"}, ""},
	{"POST /api/w/{}/jobs/run/preview", "/api/w/main/jobs/run/preview", `{"content":"echo","path":"f/x/file","args":{},"language":"bash","temp_script_refs":null}`, 201, textMime, []string{"/" + uuidRE + "/"}, ""},
	{"GET /api/w/{}/jobs_u/completed/get/{}", "/api/w/main/jobs_u/completed/get/ENDED", "", 200, jsonMime, []string{`"logs":"hi 🎉\n"`}, "id workspace_id created_by created_at started_at completed_at duration_ms success script_path script_hash args result logs canceled job_kind permissioned_as email is_flow_step language is_skipped visible_to_owner tag"},
	{"GET /api/w/{}/jobs_u/completed/get/{}", "/api/w/main/jobs_u/completed/get/RUNNING", "", 404, textMime, nil, ""},
	{"GET /api/w/{}/jobs_u/completed/get/{}", "/api/w/main/jobs_u/completed/get/FAILED", "", 200, jsonMime, []string{`"success":false`, `"result":{"error":{`}, ""},
	{"GET /api/w/{}/jobs_u/getupdate/{}", "/api/w/main/jobs_u/getupdate/ENDED?running=true&log_offset=3", "", 200, jsonMime, []string{`"new_logs":"🎉\n"`, `"log_offset":6`, `"flow_status":null`}, "running completed new_logs log_offset mem_peak flow_status"},
	{"GET /api/w/{}/jobs_u/completed/get_result_maybe/{}", "/api/w/main/jobs_u/completed/get_result_maybe/WAITING?get_started=false", "", 200, jsonMime, []string{`"success":null`, `"started":null`}, "completed success started result"},
	{"GET /api/w/{}/jobs_u/completed/get_result_maybe/{}", "/api/w/main/jobs_u/completed/get_result_maybe/UNKNOWN", "", 404, textMime, nil, ""},
	{"GET /api/w/{}/jobs_u/get/{}", "/api/w/main/jobs_u/get/WAITING", "", 200, jsonMime, []string{`"type":"QueuedJob"`}, "id type running canceled job_kind script_path args scheduled_for created_at created_by tag email permissioned_as is_flow_step visible_to_owner"},
	{"GET /api/w/{}/jobs/queue/position/{}", "/api/w/main/jobs/queue/position/32503680000000", "", 200, jsonMime, nil, "position"},

	{"GET /api/w/{}/jobs/list", "/api/w/main/jobs/list?job_kinds=script%2Cflow%2Csinglestepflow&per_page=30&has_null_parent=true", "", 200, jsonMime, nil, "id type job_kind created_at script_path tag canceled"},
	{"GET /api/w/{}/jobs/list", "/api/w/main/jobs/list?success=false&running=true", "", 400, textMime, []string{"success: "}, ""},
	{"GET /api/w/{}/jobs_u/completed/get_result/{}", "/api/w/main/jobs_u/completed/get_result/FAILED", "", 200, jsonMime, nil, "error"},
	{"GET /api/w/{}/jobs_u/completed/get_result/{}", "/api/w/main/jobs_u/completed/get_result/RUNNING", "", 404, textMime, nil, ""},
	{"GET /api/w/{}/jobs_u/get_logs/{}", "/api/w/main/jobs_u/get_logs/ENDED", "", 200, textMime, []string{"hi 🎉\n"}, ""},
	{"POST /api/w/{}/jobs_u/queue/cancel/{}", "/api/w/main/jobs_u/queue/cancel/ENDED", `{"reason":"x"}`, 409, textMime, nil, ""},
	{"GET /api/w/{}/jobs/queue/list", "/api/w/admins/jobs/queue/list?per_page=100000&all_workspaces=true", "", 200, jsonMime, nil, "tag running scheduled_for"},
	{"GET /api/jobs/completed/count_by_tag", "/api/jobs/completed/count_by_tag?horizon_secs=86400", "", 200, jsonMime, nil, "tag count"},
	{"GET /api/jobs/db_clock", "/api/jobs/db_clock", "", 200, jsonMime, []string{`/^\d{13}$/`}, ""},
	{"GET /api/configs/list_worker_groups", "/api/configs/list_worker_groups", "", 200, jsonMime, nil, "name config"},
	{"GET /api/workers/list", "/api/workers/list?ping_since=10", "", 200, jsonMime, nil, "worker worker_instance worker_group custom_tags jobs_executed last_ping started_at ip wm_version occupancy_rate"},

	{"GET /api/concurrency_groups/list", "/api/concurrency_groups/list", "", 200, jsonMime, nil, "concurrency_key total_running"},
	{"GET /api/concurrency_groups/{}/key", "/api/concurrency_groups/WAITING/key", "", 200, jsonMime, []string{`/^"k/1"$/`}, ""},
	{"GET /api/concurrency_groups/{}/key", "/api/concurrency_groups/ENDED/key", "", 200, jsonMime, []string{"/^null$/"}, ""},
	{"GET /api/w/{}/concurrency_groups/list_jobs", "/api/w/main/concurrency_groups/list_jobs?concurrency_key=k/1", "", 200, jsonMime, nil, "jobs obscured_jobs"},
	{"DELETE /api/concurrency_groups/prune/{}", "/api/concurrency_groups/prune/k/1", "", 409, textMime, []string{"k/1"}, ""},
	{"DELETE /api/concurrency_groups/prune/{}", "/api/concurrency_groups/prune/f/none/1", "", 404, textMime, nil, ""},

	{"GET /api/w/{}/jobs/queue/count", "/api/w/main/jobs/queue/count", "", 200, jsonMime, nil, "database_length"},
	{"GET /api/w/{}/jobs/completed/list", "/api/w/main/jobs/completed/list", "", 200, jsonMime, nil, "id success duration_ms"},
	{"GET /api/w/{}/jobs/completed/count", "/api/w/main/jobs/completed/count", "", 200, jsonMime, nil, "database_length"},
	{"GET /api/w/{}/jobs/completed/count_jobs", "/api/w/main/jobs/completed/count_jobs", "", 200, jsonMime, []string{"/^2$/"}, ""},
	{"GET /api/w/{}/jobs/list_filtered_uuids", "/api/w/main/jobs/list_filtered_uuids?success=true", "", 200, jsonMime, []string{`/^\["ENDED"\]$/`}, ""},
	{"GET /api/w/{}/jobs/queue/list_filtered_uuids", "/api/w/main/jobs/queue/list_filtered_uuids?concurrency_key=k/1&running=false", "", 200, jsonMime, []string{`/^\["WAITING"\]$/`}, ""},
	{"POST /api/w/{}/jobs/queue/cancel_selection", "/api/w/main/jobs/queue/cancel_selection?force_cancel=false", `["ENDED"]`, 200, jsonMime, []string{`/^\[\]$/`}, ""},
	{"GET /api/w/{}/jobs/queue/scheduled_for/{}", "/api/w/main/jobs/queue/scheduled_for/WAITING", "", 200, jsonMime, []string{`/^\d{13}$/`}, ""},
	{"GET /api/health/detailed", "/api/health/detailed", "", 200, jsonMime, []string{`"queue":{"pending_jobs":`}, "status checks"},
	{"POST /api/w/{}/jobs_u/queue/cancel/{}", "/api/w/main/jobs_u/queue/cancel/WAITING", `{"reason":"x"}`, 200, textMime, nil, ""},
	{"POST /api/w/{}/schedules/create", "/api/w/main/schedules/create", `{"path":"f/c/each","schedule":"0 0 12 * * *","timezone":"Europe/Berlin","script_path":"f/x/hello","is_flow":false,"args":{},"enabled":true,"summary":"S"}`, 200, textMime, []string{"/^f/c/each$/"}, ""},
	{"GET /api/w/{}/schedules/get/{}", "/api/w/main/schedules/get/f/c/each", "", 200, jsonMime, []string{`"enabled":true`, `"summary":"S"`, "!error"}, "path schedule timezone script_path is_flow enabled args summary edited_by edited_at email permissioned_as extra_perms"},
	{"GET /api/w/{}/schedules/get/{}", "/api/w/main/schedules/get/f/c/none", "", 404, textMime, nil, ""},
	{"GET /api/w/{}/schedules/list", "/api/w/main/schedules/list", "", 200, jsonMime, nil, "path schedule timezone script_path is_flow enabled args summary edited_by edited_at email permissioned_as extra_perms"},
	{"POST /api/w/{}/schedules/update/{}", "/api/w/main/schedules/update/f/c/each", `{"schedule":"0 0 13 * * *","timezone":"Europe/Berlin","args":{},"enabled":false,"preserve_permissioned_as":true,"permissioned_as":"u/x"}`, 200, textMime, nil, ""},
	{"POST /api/w/{}/schedules/setenabled/{}", "/api/w/main/schedules/setenabled/f/c/each", `{"enabled":false}`, 200, textMime, nil, ""},
	{"POST /api/w/{}/schedules/setenabled/{}", "/api/w/main/schedules/setenabled/f/c/none", `{"enabled":false}`, 404, textMime, nil, ""},
	{"DELETE /api/w/{}/schedules/delete/{}", "/api/w/main/schedules/delete/f/c/each", "", 200, textMime, nil, ""},
}

var (
	contractCall = regexp.MustCompile("(GET|POST|PUT|DELETE) (?:\\*\\*)?((?:…|/)[^\\s`?\\[,;)|]*)")
	anyParam     = regexp.MustCompile(`\{[^}]*\}`)
)

// contractRows reads the calls of the contract that must be answered: MUST and
// soft ones, and all of sections 9 to 11.
func contractRows(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("testdata/windmill-contract.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, section := map[string]bool{}, ""
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section, _, _ = strings.Cut(title, ".")
		}
		all := slices.Contains([]string{"9", "10", "11"}, section)
		if !strings.HasPrefix(line, "|") || !all && !strings.Contains(line, "| MUST") && !strings.Contains(line, "| soft") {
			continue
		}
		for _, m := range contractCall.FindAllStringSubmatch(line, -1) {
			rows[m[1]+" "+contractPath(m[2])] = true
		}
	}
	return rows
}

// contractPath writes a path as all tables of this test do.
func contractPath(p string) string {
	p = strings.ReplaceAll(strings.TrimRight(p, "*`."), "**", "")
	if rest, ok := strings.CutPrefix(p, "…/"); ok {
		p = "/api/w/{w}/" + rest
	}
	if !strings.HasPrefix(p, "/api/") {
		p = "/api" + p
	}
	if rest, ok := strings.CutPrefix(p, "/api/w/admins/"); ok {
		p = "/api/w/{w}/" + rest
	}
	// The tables say what stands for a number where a name would do.
	p = regexp.MustCompile(`position/.*`).ReplaceAllString(p, "position/{}")
	return anyParam.ReplaceAllString(p, "{}")
}

// TestContract holds the server to the tables of the contract: a row without a
// case fails, and a case without a row.
func TestContract(t *testing.T) {
	rows := contractRows(t)
	if len(rows) < 40 {
		t.Fatalf("the tables have %d calls: they are not read as they are written", len(rows))
	}
	s := newScene(t)
	schemas := s.answerFields()
	done := map[string]bool{}
	for _, c := range contractCases {
		done[c.row] = true
		method, _, _ := strings.Cut(c.row, " ")
		got := s.do(method, s.names.Replace(c.path), s.names.Replace(c.body))
		what := method + " " + c.path
		if got.status != c.status || got.mime != c.mime {
			t.Errorf("%s: %d %s, want %d %s: %.300s", what, got.status, got.mime, c.status, c.mime, got.body)
			continue
		}
		for _, want := range c.want {
			s.matches(what, got.body, s.names.Replace(want))
		}
		s.hasFields(what, got.body, strings.Fields(c.fields))
		for _, f := range strings.Fields(c.fields) {
			if f != "error" && !slices.Contains(schemas[c.row], f) {
				t.Errorf("%s: the document does not describe the field %s: %v", what, f, schemas[c.row])
			}
		}
	}
	for row := range rows {
		if _, later := laterRows[row]; later == done[row] {
			t.Errorf("%s: has a case: %v, is left for later: %v", row, done[row], later)
		}
		if _, documented := schemas[row]; documented != done[row] {
			t.Errorf("%s: has a case: %v, is documented: %v", row, done[row], documented)
		}
	}
	for row := range done {
		if !rows[row] {
			t.Errorf("a case for %s, of which the tables say nothing", row)
		}
	}
	for row := range laterRows {
		if !rows[row] {
			t.Errorf("%s is left for later, and the tables say nothing of it", row)
		}
	}
}

// hasFields looks for fields in an object, or in each object of a list.
func (s *scene) hasFields(what, body string, fields []string) {
	s.t.Helper()
	if len(fields) == 0 {
		return
	}
	if strings.HasPrefix(body, "{") {
		body = "[" + body + "]"
	}
	var list []map[string]json.RawMessage
	s.read(body, &list)
	if len(list) == 0 {
		s.t.Errorf("%s: the list is empty", what)
	}
	for _, f := range fields {
		if !slices.ContainsFunc(list, func(o map[string]json.RawMessage) bool { _, ok := o[f]; return ok }) {
			s.t.Errorf("%s: no field %s: %.500s", what, f, body)
		}
	}
}

// answerFields returns the fields that the document describes of the good
// answer of each call, or of its entries.
func (r *rig) answerFields() map[string][]string {
	r.t.Helper()
	type schema struct {
		Ref        string `json:"$ref"`
		Items      *schema
		AllOf      []*schema
		Properties map[string]any
	}
	var doc struct {
		Components struct{ Schemas map[string]*schema }
		Paths      map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct{ Schema *schema }
			}
		}
	}
	r.read(r.ok(200, "GET", "/openapi.json", ""), &doc)
	var fields func(s *schema) []string
	fields = func(s *schema) (out []string) {
		if s == nil {
			return nil
		}
		if s.Ref != "" {
			return fields(doc.Components.Schemas[strings.TrimPrefix(s.Ref, schemaPrefix)])
		}
		for _, part := range append(s.AllOf, s.Items) {
			out = append(out, fields(part)...)
		}
		for name := range s.Properties {
			out = append(out, name)
		}
		return out
	}
	out := map[string][]string{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			row := strings.ToUpper(method) + " " + anyParam.ReplaceAllString(path, "{}")
			out[row] = []string{}
			for status, answer := range op.Responses {
				if strings.HasPrefix(status, "2") {
					out[row] = append(out[row], fields(answer.Content[contentJSON].Schema)...)
				}
			}
		}
	}
	return out
}
