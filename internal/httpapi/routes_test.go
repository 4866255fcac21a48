package httpapi

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// scene is a workspace with something of everything.
type scene struct {
	*rig
	names *strings.Replacer
}

const limited = `"concurrent_limit":1,"concurrency_time_window_s":0,"concurrency_key":"k/1"`

func newScene(t *testing.T, change ...func(*Options)) *scene {
	r := newRig(t, change...)
	r.user("admin@sluice.local", true)
	r.script("f/x/old", "")
	r.ok(200, "POST", "/api/w/main/scripts/archive/p/f/x/old", "")
	hash := r.script("f/x/hello", `"summary":"Says hello","schema":{"z":1,"a":{}},"envs":null,"tag":null,"deployment_message":"first"`)
	r.script("f/x/limited", limited)
	ended := r.ended("f/x/hello", `{"name":"you"}`, "hi 🎉\n", `{"said":"hi"}`, true)
	failed := r.ended("f/x/hello", "", "", `{"error":{"name":"ExecutionErr","message":"ExitCode: 3"}}`, false)
	running := r.run("f/x/limited", "")
	if as := r.take(1); len(as) != 1 {
		t.Fatal("nothing to take")
	}
	waiting := r.run("f/x/limited", `{"n":12345678901234567890}`)
	r.beat()
	return &scene{rig: r, names: strings.NewReplacer(
		"ENDED", ended, "FAILED", failed, "RUNNING", running, "WAITING", waiting, "HASH", hash, "UNKNOWN", "00000000-0000-4000-8000-000000000000",
	)}
}

const (
	jsonMime = "application/json"
	textMime = "text/plain; charset=utf-8"
	uuidRE   = `^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`
	hashRE   = `^[0-9a-f]{16}$`
	// Of the code of the scene's scripts.
	shaOfEchoOK = "7d10fced96b38c84f90db07708f266e83da48ca763189eaed7fe1a00348385eb"
	// What a list shows of the scene.
	noArgs = "!12345678901234567890"
)

// Rows of the table: a route as the mux knows it, a request, and what the
// answer is: parts of its body, a part that must not be there after "!", or a
// pattern between slashes.
var routeTable = []struct {
	route, path, body string
	status            int
	mime              string
	want              []string
}{
	{"GET /health", "/health", "", 200, jsonMime, []string{`"status":"ok"`}},
	{"GET /api/health", "/api/health", "", 200, jsonMime, []string{`"status":"ok"`}},
	{"GET /ready", "/ready", "", 200, textMime, []string{"ready"}},
	{"GET /api/ready", "/api/ready", "", 200, textMime, []string{"ready"}},
	{"GET /api/version", "/api/version", "", 200, textMime, []string{`/^CE v\d+\.\d+\.\d+$/`}},
	{"GET /openapi", "/openapi", "", 200, jsonMime, []string{`"openapi":"3.1.0"`}},
	{"GET /openapi.json", "/openapi.json", "", 200, jsonMime, []string{`"/api/w/{workspace}/scripts/get/p/{path}"`, "!{path...}", "!{$}"}},
	{"GET /openapi.yaml", "/openapi.yaml", "", 200, contentYAML, []string{"/api/version:"}},
	{"GET /metrics", "/metrics", "", 200, "", []string{`sluice_jobs{state="queued"} 1`, `sluice_jobs{state="running"} 1`, `sluice_jobs_waiting{reason="limit"} 1`, `sluice_executions_taken_total 3`, `sluice_store_commits_total`, `sluice_start_lateness_seconds{quantile="0.5"}`, "!k/1", "!f/x"}},

	{"GET /api/users/whoami", "/api/users/whoami", "", 200, jsonMime, []string{`"email":"admin@sluice.local"`, `"super_admin":true`, `"name":null`, `"username":"admin"`}},
	{"GET /api/w/{workspace}/users/whoami", "/api/w/main/users/whoami", "", 200, jsonMime, []string{`"is_admin":true`, `"groups":["all"]`, `"folders":[]`}},
	{"GET /api/w/{workspace}/users/whoami", "/api/w/nowhere/users/whoami", "", 404, textMime, []string{"nowhere"}},
	{"GET /api/workspaces/list", "/api/workspaces/list", "", 200, jsonMime, []string{`[{"id":"main","name":"Main","owner":"admin@sluice.local"}]`}},
	{"GET /api/workspaces/users", "/api/workspaces/users", "", 200, jsonMime, []string{`"workspaces":[{"id":"main"`, `"parent_workspace_id":null`}},
	{"POST /api/workspaces/exists", "/api/workspaces/exists", `{"id":"main"}`, 200, jsonMime, []string{"/^true$/"}},
	{"POST /api/workspaces/exists", "/api/workspaces/exists", `{"id":"nowhere"}`, 200, jsonMime, []string{"/^false$/"}},
	{"POST /api/workspaces/exists", "/api/workspaces/exists", `{}`, 400, textMime, []string{"id is required"}},
	{"POST /api/workspaces/create", "/api/workspaces/create", `{"id":"two","name":"Two","username":"x"}`, 201, textMime, []string{"two"}},
	{"POST /api/workspaces/create", "/api/workspaces/create", `{"id":"main"}`, 409, textMime, []string{"exists"}},
	{"POST /api/workspaces/create", "/api/workspaces/create", `{"id":"A b"}`, 400, textMime, []string{"id: must be"}},
	{"POST /api/workspaces/create", "/api/workspaces/create", `{"id":"admins"}`, 400, textMime, []string{"id: "}},
	{"POST /api/w/{workspace}/workspaces/archive", "/api/w/two/workspaces/archive", "", 200, textMime, []string{"two"}},
	{"GET /api/w/{workspace}/users/whoami", "/api/w/two/users/whoami", "", 404, textMime, []string{"two"}},
	{"POST /api/workspaces/unarchive/{id}", "/api/workspaces/unarchive/two", "", 200, textMime, []string{"two"}},
	{"POST /api/workspaces/unarchive/{id}", "/api/workspaces/unarchive/none", "", 404, textMime, []string{"none"}},
	{"GET /api/settings/global/automate_username_creation", "/api/settings/global/automate_username_creation", "", 200, jsonMime, []string{"/^true$/"}},
	{"GET /api/configs/list_worker_groups", "/api/configs/list_worker_groups", "", 200, jsonMime, []string{`[{"name":"default","config":{}}]`}},
	// Calls of workers name the protocol in a header, which these lack.
	{"GET /api/work/terms", "/api/work/terms", "", 400, textMime, []string{"X-Sluice-Worker: "}},
	{"GET /api/work/orders", "/api/work/orders?worker=w1", "", 400, textMime, []string{"X-Sluice-Worker: "}},
	{"POST /api/work/take", "/api/work/take", `{}`, 400, textMime, []string{"X-Sluice-Worker: "}},
	{"POST /api/work/settle", "/api/work/settle", `{}`, 400, textMime, []string{"X-Sluice-Worker: "}},
	{"POST /api/work/confirm", "/api/work/confirm", `{}`, 400, textMime, []string{"X-Sluice-Worker: "}},
	{"POST /api/work/hand_back", "/api/work/hand_back", `{}`, 400, textMime, []string{"X-Sluice-Worker: "}},
	{"POST /api/work/heartbeat", "/api/work/heartbeat", `{}`, 400, textMime, []string{"X-Sluice-Worker: "}},
	{"POST /api/work/log", "/api/work/log", `{}`, 400, textMime, []string{"X-Sluice-Worker: "}},
	{"POST /api/work/gone", "/api/work/gone", `{"instance":"x"}`, 400, textMime, []string{"X-Sluice-Worker: "}},
	{"GET /api/workers/list", "/api/workers/list?ping_since=10", "", 200, jsonMime, []string{`"worker":"w1"`, `"worker_group":"default"`, `"custom_tags":["bash"]`, `/"last_ping":\d+,/`, `"wm_version":"1.2.3"`, `"languages":["bash"]`, `"missing_languages":["python3"]`, `"isolation":"Walls."`}},

	{"POST /api/auth/login", "/api/auth/login", `{"email":"admin@sluice.local","password":"` + rigPassword + `"}`, 200, textMime, []string{"/^[0-9a-f]{64}$/"}},
	{"POST /api/auth/login", "/api/auth/login", `{"email":"admin@sluice.local","password":"wrong"}`, 401, textMime, []string{"email or password is wrong"}},
	{"POST /api/auth/login", "/api/auth/login", `{"email":"admin@sluice.local"}`, 400, textMime, []string{"password is required"}},
	{"POST /api/auth/logout", "/api/auth/logout", "", 200, textMime, []string{"signed out"}},
	{"POST /api/users/tokens/create", "/api/users/tokens/create", `{"label":"ci","scopes":["jobs:run:scripts:f/x/hello"],"expiration":"2100-01-01T00:00:00Z","workspace_id":"main"}`, 201, textMime, []string{"/^[0-9a-f]{64}$/"}},
	{"POST /api/users/tokens/create", "/api/users/tokens/create", `{"scopes":["everything"]}`, 400, textMime, []string{"scopes: "}},
	{"POST /api/users/tokens/create", "/api/users/tokens/create", `{"scopes":[]}`, 400, textMime, []string{"scopes: "}},
	{"POST /api/users/tokens/create", "/api/users/tokens/create", `{"expiration":"2000-01-01T00:00:00Z"}`, 400, textMime, []string{"expiration: "}},
	{"GET /api/users/tokens/list", "/api/users/tokens/list?exclude_ephemeral=true", "", 200, jsonMime, []string{`"label":"ci"`, `/"token_prefix":"[0-9a-f]{10}"/`, `"scopes":["jobs:run:scripts:f/x/hello"]`, `"expiration":"2100-01-01T00:00:00Z"`, `"last_used_at":null`, `!"session"`}},
	{"DELETE /api/users/tokens/delete/{prefix}", "/api/users/tokens/delete/0123456789", "", 404, textMime, []string{"0123456789"}},
	{"POST /api/users/setpassword", "/api/users/setpassword", `{"password":"short"}`, 400, textMime, []string{"password: must be at least 8"}},
	{"POST /api/users/setpassword", "/api/users/setpassword", `{"password":"long enough"}`, 200, textMime, []string{"password updated"}},
	{"POST /api/users/create", "/api/users/create", `{"email":"Ann@x.org","password":"long enough","super_admin":false,"name":"Ann"}`, 201, textMime, []string{"/^ann$/"}},
	{"POST /api/users/create", "/api/users/create", `{"email":"ann@x.org"}`, 409, textMime, []string{"email: "}},
	{"POST /api/users/update/{email}", "/api/users/update/ann@x.org", `{"is_super_admin":true}`, 200, textMime, []string{"ann@x.org"}},
	{"POST /api/users/update/{email}", "/api/users/update/none@x.org", `{"is_super_admin":true}`, 404, textMime, []string{"none@x.org"}},
	{"GET /api/users/list_as_super_admin", "/api/users/list_as_super_admin?page=1&per_page=2", "", 200, jsonMime, []string{`"email":"admin@sluice.local"`, `"email":"ann@x.org"`, `"login_type":"password"`, "!argon"}},
	{"POST /api/w/{workspace}/workspaces/add_user", "/api/w/main/workspaces/add_user", `{"email":"ann@x.org","username":"ann","is_admin":false,"operator":true}`, 200, textMime, []string{"ann@x.org"}},
	{"POST /api/w/{workspace}/workspaces/add_user", "/api/w/main/workspaces/add_user", `{"email":"none@x.org"}`, 404, textMime, []string{"none@x.org"}},
	{"POST /api/w/{workspace}/workspaces/add_user", "/api/w/main/workspaces/add_user", `{"email":"ann@x.org","is_admin":true,"operator":true}`, 400, textMime, []string{"operator: "}},
	{"GET /api/w/{workspace}/users/list", "/api/w/main/users/list", "", 200, jsonMime, []string{`"email":"ann@x.org","username":"ann","is_admin":false,"is_super_admin":true`, `"operator":true`, "!argon"}},
	{"GET /api/w/{workspace}/users/username_to_email/{username}", "/api/w/main/users/username_to_email/ann", "", 200, textMime, []string{"/^ann@x.org$/"}},
	{"GET /api/w/{workspace}/users/username_to_email/{username}", "/api/w/main/users/username_to_email/none", "", 404, textMime, []string{"none"}},
	{"POST /api/w/{workspace}/users/update/{username}", "/api/w/main/users/update/ann", `{"is_admin":true,"operator":false}`, 200, textMime, []string{"ann"}},
	{"POST /api/w/{workspace}/users/update/{username}", "/api/w/main/users/update/none", `{"is_admin":true}`, 404, textMime, []string{"none"}},
	{"DELETE /api/w/{workspace}/users/delete/{username}", "/api/w/main/users/delete/ann", "", 200, textMime, []string{"ann"}},
	{"DELETE /api/w/{workspace}/users/delete/{username}", "/api/w/main/users/delete/ann", "", 404, textMime, []string{"ann"}},
	{"DELETE /api/users/delete/{email}", "/api/users/delete/ann@x.org", "", 200, textMime, []string{"ann@x.org"}},
	{"DELETE /api/users/delete/{email}", "/api/users/delete/ann@x.org", "", 404, textMime, []string{"ann@x.org"}},
	{"GET /api/w/{workspace}/audit/list", "/api/w/main/audit/list?username=admin&page=1&per_page=100", "", 200, jsonMime, []string{`"operation":"users.delete","action_kind":"Delete","resource":"ann"`, `"parameters":{"role":"admin"}`, `"token_prefix":"instance"`, `"address":"127.0.0.1"`, `!"workspace_id":""`}},
	{"GET /api/w/{workspace}/audit/list", "/api/w/admins/audit/list?operation=users.create", "", 200, jsonMime, []string{`"operation":"users.create","action_kind":"Create","resource":"ann@x.org"`, "!scripts.create"}},
	{"GET /api/w/{workspace}/audit/list", "/api/w/main/audit/list?after=2100-01-01T00:00:00Z", "", 200, jsonMime, []string{`/^\[\]$/`}},
	{"GET /api/w/{workspace}/audit/list", "/api/w/main/audit/list?all_workspaces=true", "", 400, textMime, []string{"all_workspaces: "}},

	{"POST /api/w/{workspace}/scripts/create", "/api/w/main/scripts/create", `{"path":"f/n/new","content":"echo","language":"bash","skip_draft_deletion":true,"labels":["x"]}`, 201, textMime, []string{"/" + hashRE + "/"}},
	{"POST /api/w/{workspace}/scripts/create", "/api/w/main/scripts/create", `{"path":"f/n/new","content":"echo"}`, 400, textMime, []string{"language is required"}},
	{"POST /api/w/{workspace}/scripts/create_snapshot", "/api/w/main/scripts/create_snapshot", "whatever", 400, textMime, []string{"not supported yet"}},
	{"GET /api/w/{workspace}/scripts/get/p/{path...}", "/api/w/main/scripts/get/p/f/x/hello", "", 200, jsonMime, []string{`"ws_error_handler_muted":false`, `"kind":"script"`, `"schema":{"z":1,"a":{}}`, `"lock":""`, `"hash":"HASH"`, "!envs", `!"tag"`, "!deployment_message"}},
	{"GET /api/w/{workspace}/scripts/get/p/{path...}", "/api/w/main/scripts/get/p/f%2Fx%2Flimited", "", 200, jsonMime, []string{`"concurrent_limit":1`, `"concurrency_key":"k/1"`}},
	{"GET /api/w/{workspace}/scripts/get/p/{path...}", "/api/w/main/scripts/get/p/f/x/old", "", 200, jsonMime, []string{`"archived":true`}},
	{"GET /api/w/{workspace}/scripts/get/p/{path...}", "/api/w/main/scripts/get/p/f/x/none", "", 404, textMime, []string{"f/x/none"}},
	{"GET /api/w/{workspace}/scripts/get/p/{path...}", "/api/w/main/scripts/get/p/f/%2e%2e/x", "", 400, textMime, []string{"path"}},
	{"GET /api/w/{workspace}/scripts/get/p/{path...}", "/api/w/main/scripts/get/p/f/a%00b", "", 400, textMime, []string{"path: ", "NUL"}},
	{"GET /api/w/{workspace}/scripts/get/p/{path...}", "/api/w/main/scripts/get/p/f/a%23b", "", 400, textMime, []string{"path: ", "#"}},
	{"GET /api/w/{workspace}/scripts/get/p/{path...}", "/api/w/main/scripts/get/p/", "", 400, textMime, []string{"path"}},
	{"GET /api/w/{workspace}/scripts/get/p/{path...}", "/api/w/main/scripts/get/p", "", 400, textMime, []string{"path"}},
	{"GET /api/w/{workspace}/scripts/get/h/{hash}", "/api/w/main/scripts/get/h/HASH", "", 200, jsonMime, []string{`"path":"f/x/hello"`}},
	{"GET /api/w/{workspace}/scripts/get/h/{hash}", "/api/w/main/scripts/get/h/xyz", "", 400, textMime, []string{"hash: must be 16 hex digits"}},
	{"GET /api/w/{workspace}/scripts/list", "/api/w/main/scripts/list", "", 200, jsonMime, []string{`"path":"f/x/hello"`, `"path":"f/x/limited"`, "!f/x/old", `!"content"`}},
	{"GET /api/w/{workspace}/scripts/list", "/api/w/main/scripts/list?show_archived=true", "", 200, jsonMime, []string{"f/x/old", "!f/x/hello"}},
	{"GET /api/w/{workspace}/scripts/list", "/api/w/main/scripts/list?path_exact=f/x/hello", "", 200, jsonMime, []string{"f/x/hello", "!limited"}},
	{"GET /api/w/{workspace}/scripts/diff/{hash_a}/{hash_b}", "/api/w/main/scripts/diff/HASH/HASH", "", 200, jsonMime, []string{`/^\{"diff":"","settings":\{\}\}$/`}},
	{"POST /api/w/{workspace}/drafts/create", "/api/w/main/drafts/create", `{"path":"f/x/hello","typ":"script"}`, 400, textMime, []string{"drafts are not supported"}},
	{"DELETE /api/w/{workspace}/drafts/delete/{kind}/{path...}", "/api/w/main/drafts/delete/script/f/x/hello", "", 404, textMime, []string{"drafts are not supported"}},
	{"GET /api/w/{workspace}/scripts/get/draft/{path...}", "/api/w/main/scripts/get/draft/f/x/hello", "", 404, textMime, []string{"drafts are not supported"}},
	{"POST /api/w/{workspace}/scripts/raw_temp/diff", "/api/w/main/scripts/raw_temp/diff", `{"scripts":{"f/x/hello":"` + shaOfEchoOK + `","f/x/limited":"00","f/x/old":"","f/x/none":""},"workspace_deps":[]}`, 200, jsonMime, []string{`/^\["f/x/limited","f/x/none","f/x/old"\]$/`}},
	{"POST /api/w/{workspace}/scripts/raw_temp/store", "/api/w/main/scripts/raw_temp/store", `"echo ok"`, 200, textMime, []string{"/^" + shaOfEchoOK + "$/"}},
	{"POST /api/w/{workspace}/scripts/archive/h/{hash}", "/api/w/main/scripts/archive/h/0000000000000000", "", 404, textMime, nil},
	{"POST /api/w/{workspace}/scripts/delete/h/{hash}", "/api/w/main/scripts/delete/h/0000000000000000", "", 404, textMime, nil},
	{"POST /api/w/{workspace}/scripts/delete/p/{path...}", "/api/w/main/scripts/delete/p/f/x/none", "", 404, textMime, nil},
	{"GET /api/w/{workspace}/scripts/history/p/{path...}", "/api/w/main/scripts/history/p/f/x/hello", "", 200, jsonMime, []string{`"script_hash":"HASH"`, `"deployment_msg":"first"`}},
	{"GET /api/w/{workspace}/scripts/history/p/{path...}", "/api/w/main/scripts/history/p/f/x/none", "", 404, textMime, nil},
	{"POST /api/w/{workspace}/scripts/archive/p/{path...}", "/api/w/main/scripts/archive/p/f/n/new", "", 200, textMime, []string{"f/n/new"}},
	{"POST /api/w/{workspace}/scripts/archive/p/{path...}", "/api/w/main/scripts/archive/p/f/x/none", "", 404, textMime, nil},

	{"POST /api/w/{workspace}/flows/create", "/api/w/main/flows/create", `{"path":"f/n/flow","summary":"A flow","value":{"modules":[]},"schema":{"z":1},"tag":null}`, 201, textMime, []string{"/^f/n/flow$/"}},
	{"POST /api/w/{workspace}/flows/create", "/api/w/main/flows/create", `{"path":"f/n/flow","value":{"modules":[]}}`, 409, textMime, []string{"f/n/flow"}},
	{"POST /api/w/{workspace}/flows/create", "/api/w/main/flows/create", `{"path":"f/n/flow"}`, 400, textMime, []string{"value is required"}},
	{"POST /api/w/{workspace}/flows/update/{path...}", "/api/w/main/flows/update/f/n/flow", `{"path":"f/n/flow","value":{"modules":[],"priority":1}}`, 200, textMime, []string{"/^f/n/flow$/"}},
	{"POST /api/w/{workspace}/flows/update/{path...}", "/api/w/main/flows/update/f/n/none", `{"path":"f/n/none","value":{"modules":[]}}`, 404, textMime, []string{"f/n/none"}},
	{"GET /api/w/{workspace}/flows/get/{path...}", "/api/w/main/flows/get/f/n/flow", "", 200, jsonMime, []string{`"value":{"modules":[],"priority":1}`, `"archived":false`, `/"version_id":\d+/`}},
	{"GET /api/w/{workspace}/flows/get/{path...}", "/api/w/main/flows/get/f/n/none", "", 404, textMime, []string{"f/n/none"}},
	{"GET /api/w/{workspace}/flows/get/v/{version}", "/api/w/main/flows/get/v/1", "", 200, jsonMime, []string{`"value":{"modules":[]}`, `"schema":{"z":1}`, `"tag":null`}},
	{"GET /api/w/{workspace}/flows/get/v/{version}", "/api/w/main/flows/get/v/none", "", 400, textMime, []string{"version: "}},
	{"GET /api/w/{workspace}/flows/list", "/api/w/main/flows/list?path_exact=f/n/flow", "", 200, jsonMime, []string{`"path":"f/n/flow"`, `"summary":""`, "!modules"}},
	{"GET /api/w/{workspace}/flows/list", "/api/w/main/flows/list?path_exact=f/n", "", 200, jsonMime, []string{`/^\[\]$/`}},
	{"GET /api/w/{workspace}/flows/list_paths", "/api/w/main/flows/list_paths", "", 200, jsonMime, []string{`["f/n/flow"]`}},
	{"GET /api/w/{workspace}/flows/exists/{path...}", "/api/w/main/flows/exists/f/n/flow", "", 200, jsonMime, []string{"/^true$/"}},
	{"GET /api/w/{workspace}/flows/exists/{path...}", "/api/w/main/flows/exists/f/n/none", "", 200, jsonMime, []string{"/^false$/"}},
	{"GET /api/w/{workspace}/flows/history/p/{path...}", "/api/w/main/flows/history/p/f/n/flow", "", 200, jsonMime, []string{`"deployment_msg":null`, `"id":1`}},
	{"POST /api/w/{workspace}/jobs/run/f/{path...}", "/api/w/main/jobs/run/f/f/n/flow?tag=t&priority=5", `{"x":1}`, 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/run/f/{path...}", "/api/w/main/jobs/run/f/f/n/none", "", 404, textMime, []string{"f/n/none"}},
	{"POST /api/w/{workspace}/jobs/run/f/{path...}", "/api/w/main/jobs/run/f/f/n/flow", "{", 400, textMime, []string{"JSON"}},
	{"GET /api/w/{workspace}/jobs/run/f/{path...}", "/api/w/main/jobs/run/f/f/n/flow?payload=e30", "", 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/run_wait_result/f/{path...}", "/api/w/main/jobs/run_wait_result/f/f/n/none", "", 404, textMime, []string{"f/n/none"}},
	{"GET /api/w/{workspace}/jobs/run_wait_result/f/{path...}", "/api/w/main/jobs/run_wait_result/f/f/n/none", "", 404, textMime, []string{"f/n/none"}},
	{"POST /api/w/{workspace}/jobs/run/preview_flow", "/api/w/main/jobs/run/preview_flow", `{"value":{"modules":[]},"path":null,"args":{"a":1}}`, 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/run/preview_flow", "/api/w/main/jobs/run/preview_flow", `{"value":{"modules":[{"id":"a b"}]}}`, 400, textMime, []string{"value.modules[0]"}},
	{"POST /api/w/{workspace}/jobs/run/preview_flow", "/api/w/main/jobs/run/preview_flow", `{"path":"f/a"}`, 400, textMime, []string{"value"}},
	{"POST /api/w/{workspace}/jobs/run/flow_dependencies_async", "/api/w/main/jobs/run/flow_dependencies_async", `{"flow_value":{"modules":[]},"path":"f/a"}`, 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/restart/f/{id}", "/api/w/main/jobs/restart/f/ENDED", `{"step_id":"a"}`, 400, textMime, []string{"no run of a flow"}},
	{"POST /api/w/{workspace}/jobs/restart/f/{id}", "/api/w/main/jobs/restart/f/ENDED", `{"step_id":"a","branch_or_iteration_n":-1}`, 400, textMime, []string{"branch_or_iteration_n"}},
	{"POST /api/w/{workspace}/jobs/flow/user_states/{id}/{key...}", "/api/w/main/jobs/flow/user_states/ENDED/k", `1`, 400, textMime, []string{"no run of a flow"}},
	{"GET /api/w/{workspace}/jobs/flow/user_states/{id}/{key...}", "/api/w/main/jobs/flow/user_states/UNKNOWN/k", "", 404, textMime, nil},
	{"POST /api/w/{workspace}/flows/archive/{path...}", "/api/w/main/flows/archive/f/n/flow", `{"archived":true}`, 200, textMime, []string{"f/n/flow"}},
	{"DELETE /api/w/{workspace}/flows/delete/{path...}", "/api/w/main/flows/delete/f/n/flow", "", 200, textMime, []string{"f/n/flow"}},

	{"POST /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/hello", "", 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/hello?scheduled_in_secs=3600&priority=5&tag=t&max_wait_s=9000&timeout=5&queue_limit=100&parent_job=ENDED", "null", 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/hello?job_id=ENDED", "{}", 201, textMime, []string{"/^ENDED$/"}},
	{"POST /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/none", "{}", 404, textMime, nil},
	{"POST /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/hello", "[1]", 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/hello", "{", 400, textMime, []string{"JSON"}},
	{"POST /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/hello?priority=1000", "{}", 400, textMime, []string{"priority: must be at most 100"}},
	{"POST /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/hello?job_id=nope", "{}", 400, textMime, []string{"job_id: must be a UUID"}},
	{"POST /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/hello?scheduled_for=yesterday", "{}", 400, textMime, []string{"scheduled_for: "}},
	{"POST /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/limited?queue_limit=0", "{}", 429, textMime, []string{"k/1"}},
	{"POST /api/w/{workspace}/jobs/run/h/{hash}", "/api/w/main/jobs/run/h/HASH", "{}", 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/run/h/{hash}", "/api/w/main/jobs/run/h/0000000000000000", "{}", 404, textMime, nil},
	{"POST /api/w/{workspace}/jobs/run/preview", "/api/w/main/jobs/run/preview", `{"content":"echo","language":"bash","args":{"a":1},"path":null,"modules":null}`, 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/run/preview", "/api/w/main/jobs/run/preview", `{"content":"echo","args":{}}`, 400, textMime, []string{"language"}},
	{"POST /api/w/{workspace}/jobs/run/preview", "/api/w/main/jobs/run/preview", `{"content":"echo","language":"bash","args":[]}`, 400, textMime, []string{"args: must be a JSON object"}},
	{"GET /api/w/{workspace}/jobs/run/p/{path...}", "/api/w/main/jobs/run/p/f/x/hello?payload=e30", "", 201, textMime, []string{"/" + uuidRE + "/"}},
	{"GET /api/w/{workspace}/jobs/run/h/{hash}", "/api/w/main/jobs/run/h/HASH", "", 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/run/bulk", "/api/w/main/jobs/run/bulk", `{"jobs":[{"path":"f/x/hello","args":{"a":1}},{"hash":"HASH"},{"preview":{"content":"echo","language":"bash"}}]}`, 201, jsonMime, []string{`/^\{"ids":\["[0-9a-f-]{36}","[0-9a-f-]{36}","[0-9a-f-]{36}"\]\}$/`}},
	{"POST /api/w/{workspace}/jobs/run/bulk", "/api/w/main/jobs/run/bulk", `{"jobs":[{"path":"f/x/hello"},{"path":"f/x/none"}]}`, 404, textMime, []string{"jobs[1]"}},
	{"POST /api/w/{workspace}/jobs/run/bulk", "/api/w/main/jobs/run/bulk", `{"jobs":[{"path":"f/x/hello"},{"path":"f/x/hello","priority":"high"}]}`, 400, textMime, []string{"jobs[1].priority: "}},
	{"POST /api/w/{workspace}/jobs/run/bulk", "/api/w/main/jobs/run/bulk", `{"jobs":[{"path":"f/x/hello","hash":"HASH"}]}`, 400, textMime, []string{"jobs[0].path: "}},
	{"POST /api/w/{workspace}/jobs/run/bulk", "/api/w/main/jobs/run/bulk", `{"jobs":[{"flow_path":"f/n/none"},{"flow_preview":{"value":{"modules":[]}}}]}`, 404, textMime, []string{"jobs[0]", "f/n/none"}},
	{"POST /api/w/{workspace}/jobs/run/bulk", "/api/w/main/jobs/run/bulk", `{"jobs":[{"flow_path":"f//n"}]}`, 400, textMime, []string{"jobs[0].flow_path: "}},
	{"POST /api/w/{workspace}/jobs/run/bulk", "/api/w/main/jobs/run/bulk", `{"jobs":[{"flow_preview":{"value":{"modules":[]}}}]}`, 201, jsonMime, []string{"ids"}},
	{"POST /api/w/{workspace}/jobs/run/bulk", "/api/w/main/jobs/run/bulk", `{"jobs":[]}`, 400, textMime, []string{"jobs: "}},
	{"POST /api/w/{workspace}/jobs/run_wait_result/p/{path...}", "/api/w/main/jobs/run_wait_result/p/f/x/limited?timeout_s=0", "{}", 504, jsonMime, []string{`"job_id":"`, `"wait":{"reason":"limit"`, `"error":"`}},
	{"POST /api/w/{workspace}/jobs/run_wait_result/p/{path...}", "/api/w/main/jobs/run_wait_result/p/f/x/hello?job_id=ENDED", "{}", 200, jsonMime, []string{`/^\{"said":"hi"\}$/`}},
	{"POST /api/w/{workspace}/jobs/run_wait_result/h/{hash}", "/api/w/main/jobs/run_wait_result/h/HASH?job_id=FAILED", "", 500, jsonMime, []string{`/^\{"error":\{"name":"ExecutionErr"/`}},
	{"GET /api/w/{workspace}/jobs/run_wait_result/p/{path...}", "/api/w/main/jobs/run_wait_result/p/f/x/hello?job_id=ENDED&payload=eyJhIjogMX0%3D", "", 200, jsonMime, []string{`"said"`}},
	{"GET /api/w/{workspace}/jobs/run_wait_result/p/{path...}", "/api/w/main/jobs/run_wait_result/p/f/x/hello?payload=xx", "", 400, textMime, []string{"payload: "}},
	{"GET /api/w/{workspace}/jobs/run_wait_result/h/{hash}", "/api/w/main/jobs/run_wait_result/h/HASH?job_id=ENDED", "", 200, jsonMime, []string{`"said"`}},

	{"GET /api/w/{workspace}/jobs_u/get/{id}", "/api/w/main/jobs_u/get/WAITING", "", 200, jsonMime, []string{`"type":"QueuedJob"`, `"running":false`, `"wait":{"reason":"limit"`, `"slots":[{"job_id":"RUNNING"`, `"args":{"n":12345678901234567890}`, `"scheduled_for":"`, `!"success"`}},
	{"GET /api/w/{workspace}/jobs_u/get/{id}", "/api/w/main/jobs_u/get/RUNNING", "", 200, jsonMime, []string{`"running":true`, `"started_at":"`, `!"wait"`}},
	{"GET /api/w/{workspace}/jobs_u/get/{id}", "/api/w/main/jobs_u/get/ENDED", "", 200, jsonMime, []string{`"type":"CompletedJob"`, `"success":true`, `"result":{"said":"hi"}`, `"logs":"hi 🎉\n"`, `"duration_ms":`, `!"running"`, `!"wait"`}},
	{"GET /api/w/{workspace}/jobs_u/get/{id}", "/api/w/main/jobs_u/get/ENDED?no_logs=true", "", 200, jsonMime, []string{`!"logs"`}},
	{"GET /api/w/{workspace}/jobs_u/get/{id}", "/api/w/main/jobs_u/get/UNKNOWN", "", 404, textMime, []string{"UNKNOWN"}},
	{"GET /api/w/{workspace}/jobs_u/get/{id}", "/api/w/main/jobs_u/get/undefined", "", 400, textMime, []string{"id: must be a UUID"}},
	{"GET /api/w/{workspace}/jobs_u/get_logs/{id}", "/api/w/main/jobs_u/get_logs/ENDED", "", 200, textMime, []string{"/^hi 🎉\n$/"}},
	{"GET /api/w/{workspace}/jobs_u/get_logs/{id}", "/api/w/main/jobs_u/get_logs/WAITING", "", 200, textMime, []string{"/^$/"}},
	{"GET /api/w/{workspace}/jobs_u/get_logs/{id}", "/api/w/main/jobs_u/get_logs/UNKNOWN", "", 404, textMime, nil},
	{"GET /api/w/{workspace}/jobs_u/completed/get/{id}", "/api/w/main/jobs_u/completed/get/ENDED", "", 200, jsonMime, []string{`"logs":"hi 🎉\n"`, `"completed_at":"`, `"is_skipped":false`, `"permissioned_as":"u/admin"`}},
	{"GET /api/w/{workspace}/jobs_u/completed/get/{id}", "/api/w/main/jobs_u/completed/get/RUNNING", "", 404, textMime, []string{"has not ended"}},
	{"GET /api/w/{workspace}/jobs_u/completed/get_result/{id}", "/api/w/main/jobs_u/completed/get_result/FAILED", "", 200, jsonMime, []string{`/^\{"error":/`}},
	{"GET /api/w/{workspace}/jobs_u/completed/get_result/{id}", "/api/w/main/jobs_u/completed/get_result/WAITING", "", 404, textMime, nil},
	{"GET /api/w/{workspace}/jobs_u/completed/get_result_maybe/{id}", "/api/w/main/jobs_u/completed/get_result_maybe/ENDED", "", 200, jsonMime, []string{`{"completed":true,"success":true,"started":true,"result":{"said":"hi"}}`}},
	{"GET /api/w/{workspace}/jobs_u/completed/get_result_maybe/{id}", "/api/w/main/jobs_u/completed/get_result_maybe/WAITING?get_started=false", "", 200, jsonMime, []string{`{"completed":false,"success":null,"started":null,"result":null}`}},
	{"GET /api/w/{workspace}/jobs_u/completed/get_result_maybe/{id}", "/api/w/main/jobs_u/completed/get_result_maybe/RUNNING?get_started=true", "", 200, jsonMime, []string{`"started":true`}},
	{"GET /api/w/{workspace}/jobs_u/completed/get_result_maybe/{id}", "/api/w/main/jobs_u/completed/get_result_maybe/UNKNOWN", "", 404, textMime, nil},
	{"GET /api/w/{workspace}/jobs_u/getupdate/{id}", "/api/w/main/jobs_u/getupdate/ENDED?running=true&log_offset=0", "", 200, jsonMime, []string{`{"running":false,"completed":true,"new_logs":"hi 🎉\n","log_offset":6,"mem_peak":0,"flow_status":null}`}},
	{"GET /api/w/{workspace}/jobs_u/getupdate/{id}", "/api/w/main/jobs_u/getupdate/UNKNOWN", "", 404, textMime, nil},
	{"GET /api/w/{workspace}/jobs_u/getupdate_sse/{id}", "/api/w/main/jobs_u/getupdate_sse/ENDED", "", 200, contentSSE, []string{`"new_logs":"hi 🎉\n"`, `"completed":true`, `"type":"CompletedJob"`}},
	{"GET /api/w/{workspace}/jobs_u/getupdate_sse/{id}", "/api/w/main/jobs_u/getupdate_sse/UNKNOWN", "", 404, textMime, nil},
	{"POST /api/w/{workspace}/job_metrics/set_progress/{id}", "/api/w/main/job_metrics/set_progress/RUNNING", `{"percent":42}`, 200, jsonMime, []string{"/^null$/"}},
	{"POST /api/w/{workspace}/job_metrics/set_progress/{id}", "/api/w/main/job_metrics/set_progress/RUNNING", `{"percent":101}`, 400, textMime, []string{"percent: must be at most 100"}},
	{"POST /api/w/{workspace}/job_metrics/set_progress/{id}", "/api/w/main/job_metrics/set_progress/RUNNING", `{"percent":1,"flow_job_id":"x"}`, 400, textMime, []string{"flow_job_id: "}},
	{"POST /api/w/{workspace}/job_metrics/set_progress/{id}", "/api/w/main/job_metrics/set_progress/ENDED", `{"percent":1}`, 409, textMime, []string{"does not run"}},
	{"POST /api/w/{workspace}/job_metrics/set_progress/{id}", "/api/w/main/job_metrics/set_progress/UNKNOWN", `{"percent":1}`, 404, textMime, nil},
	{"GET /api/w/{workspace}/job_metrics/get_progress/{id}", "/api/w/main/job_metrics/get_progress/RUNNING", "", 200, jsonMime, []string{"/^42$/"}},
	{"GET /api/w/{workspace}/job_metrics/get_progress/{id}", "/api/w/main/job_metrics/get_progress/ENDED", "", 200, jsonMime, []string{"/^null$/"}},
	{"GET /api/w/{workspace}/jobs_u/wait/{id}", "/api/w/main/jobs_u/wait/WAITING", "", 200, jsonMime, []string{`"reason":"limit"`}},
	{"GET /api/w/{workspace}/jobs_u/wait/{id}", "/api/w/main/jobs_u/wait/RUNNING", "", 200, jsonMime, []string{"/^null$/"}},
	{"GET /api/w/{workspace}/jobs_u/events/{id}", "/api/w/main/jobs_u/events/ENDED", "", 200, contentSSE, []string{"event: job\n", `"type":"CompletedJob"`, `!"args"`, `!"result"`}},
	{"GET /api/w/{workspace}/jobs_u/events/{id}", "/api/w/main/jobs_u/events/UNKNOWN", "", 404, textMime, nil},
	{"GET /api/w/{workspace}/events", "/api/w/nowhere/events", "", 404, textMime, nil},
	{"GET /api/w/{workspace}/jobs/queue/position/{scheduled_for}", "/api/w/main/jobs/queue/position/32503680000000", "", 200, jsonMime, []string{`{"position":`}},
	{"GET /api/w/{workspace}/jobs/queue/scheduled_for/{id}", "/api/w/main/jobs/queue/scheduled_for/WAITING", "", 200, jsonMime, []string{`/^\d{13}$/`}},
	{"GET /api/w/{workspace}/jobs/queue/scheduled_for/{id}", "/api/w/main/jobs/queue/scheduled_for/ENDED", "", 404, textMime, nil},
	{"GET /api/jobs/db_clock", "/api/jobs/db_clock", "", 200, jsonMime, []string{`/^\d{13}$/`}},

	{"GET /api/w/{workspace}/workspaces/list_ws_specific", "/api/w/main/workspaces/list_ws_specific", "", 200, jsonMime, []string{`/^\[\]$/`}},
	{"GET /api/w/{workspace}/jobs_u/get_root_job_id/{id}", "/api/w/main/jobs_u/get_root_job_id/ENDED", "", 200, jsonMime, []string{`/^"ENDED"$/`}},
	{"GET /api/w/{workspace}/jobs_u/get_root_job_id/{id}", "/api/w/main/jobs_u/get_root_job_id/UNKNOWN", "", 404, textMime, nil},
	{"GET /api/health/detailed", "/api/health/detailed", "", 200, jsonMime, []string{`"pending_jobs":`, `"running_jobs":1`, `"status":"healthy"`}},
	{"GET /api/w/{workspace}/jobs/completed/count_jobs", "/api/w/main/jobs/completed/count_jobs?success=true&tags=bash,gpu&completed_after_s_ago=60", "", 200, jsonMime, []string{"/^1$/"}},
	{"GET /api/w/{workspace}/jobs/completed/count_jobs", "/api/w/admins/jobs/completed/count_jobs?all_workspaces=true", "", 200, jsonMime, []string{"/^2$/"}},
	{"POST /api/w/{workspace}/jobs/run/batch_rerun_jobs", "/api/w/main/jobs/run/batch_rerun_jobs", `{"job_ids":["UNKNOWN","x"],"script_options_by_path":{},"flow_options_by_path":{}}`, 200, textMime, []string{"/^Error: there is no job UNKNOWN\nError: job_ids: must be a UUID/"}},
	{"GET /api/w/{workspace}/jobs/list", "/api/w/main/jobs/list?job_kinds=script%2Cflow%2Csinglestepflow&per_page=30&has_null_parent=true", "", 200, jsonMime, []string{"ENDED", "FAILED", "RUNNING", "WAITING", noArgs, `!"result"`, `!"wait"`}},
	{"GET /api/w/{workspace}/jobs/list", "/api/w/main/jobs/list?success=false", "", 200, jsonMime, []string{"FAILED", "!ENDED", "!RUNNING"}},
	{"GET /api/w/{workspace}/jobs/list", "/api/w/main/jobs/list?running=true", "", 200, jsonMime, []string{"RUNNING", "!WAITING", "!ENDED"}},
	{"GET /api/w/{workspace}/jobs/list", "/api/w/main/jobs/list?success=true&running=true", "", 400, textMime, []string{"success: "}},
	{"GET /api/w/{workspace}/jobs/list", "/api/w/main/jobs/list?args=7", "", 400, textMime, []string{"args: "}},
	{"GET /api/w/{workspace}/jobs/list", "/api/w/main/jobs/list?label=x", "", 200, jsonMime, []string{`/^\[\]$/`}},
	{"GET /api/w/{workspace}/jobs/queue/list", "/api/w/admins/jobs/queue/list?per_page=100000&all_workspaces=true", "", 200, jsonMime, []string{"WAITING", "RUNNING", `!"id":"ENDED"`}},
	{"GET /api/w/{workspace}/jobs/queue/list", "/api/w/main/jobs/queue/list?all_workspaces=false&script_path_exact=f/x/limited", "", 200, jsonMime, []string{"WAITING", "RUNNING"}},
	{"GET /api/w/{workspace}/jobs/queue/list", "/api/w/main/jobs/queue/list?all_workspaces=true", "", 400, textMime, []string{"all_workspaces: "}},
	{"GET /api/w/{workspace}/jobs/queue/list", "/api/w/main/jobs/queue/list?job_kinds=dependencies&created_after=2020-01-01T00:00:00Z", "", 200, jsonMime, []string{`/^\[\]$/`}},
	{"GET /api/w/{workspace}/jobs/completed/list", "/api/w/main/jobs/completed/list", "", 200, jsonMime, []string{"ENDED", "FAILED", "!WAITING"}},
	{"GET /api/w/{workspace}/jobs/list_filtered_uuids", "/api/w/main/jobs/list_filtered_uuids?success=true", "", 200, jsonMime, []string{`/^\["ENDED"\]$/`}},
	{"GET /api/w/{workspace}/jobs/queue/list_filtered_uuids", "/api/w/main/jobs/queue/list_filtered_uuids?concurrency_key=k/1&running=false", "", 200, jsonMime, []string{`"WAITING"`, "!RUNNING"}},
	{"GET /api/w/{workspace}/jobs/queue/count", "/api/w/main/jobs/queue/count?script_path_exact=f/x/limited&tag=bash", "", 200, jsonMime, []string{`"database_length":`}},
	{"GET /api/w/{workspace}/jobs/completed/count", "/api/w/main/jobs/completed/count", "", 200, jsonMime, []string{`{"database_length":2}`}},
	{"GET /api/jobs/completed/count_by_tag", "/api/jobs/completed/count_by_tag?horizon_secs=300", "", 200, jsonMime, []string{`[{"tag":"bash","count":2}]`}},
	{"GET /api/jobs/completed/count_by_tag", "/api/jobs/completed/count_by_tag?horizon_secs=300&workspace_id=two", "", 200, jsonMime, []string{`/^\[\]$/`}},

	{"GET /api/concurrency_groups/list", "/api/concurrency_groups/list", "", 200, jsonMime, []string{`{"concurrency_key":"k/1","total_running":1}`}},
	{"GET /api/concurrency_groups/{id}/key", "/api/concurrency_groups/WAITING/key", "", 200, jsonMime, []string{`/^"k/1"$/`}},
	{"GET /api/concurrency_groups/{id}/key", "/api/concurrency_groups/ENDED/key", "", 200, jsonMime, []string{`/^null$/`}},
	{"GET /api/concurrency_groups/{id}/key", "/api/concurrency_groups/UNKNOWN/key", "", 404, textMime, nil},
	{"GET /api/w/{workspace}/concurrency_groups/list_jobs", "/api/w/main/concurrency_groups/list_jobs?concurrency_key=k%2F1", "", 200, jsonMime, []string{"WAITING", "RUNNING", "!ENDED", `"obscured_jobs":[]`}},
	{"GET /api/concurrency_groups/groups", "/api/concurrency_groups/groups?contains=k&limit=1", "", 200, jsonMime, []string{`"concurrency_key":"k/1"`, `"next":"k/1"`, `"source":"job"`}},
	{"GET /api/concurrency_groups/groups", "/api/concurrency_groups/groups?after=k/1", "", 200, jsonMime, []string{`{"groups":[],"next":null}`}},
	{"GET /api/concurrency_groups/groups", "/api/concurrency_groups/groups?order_by=waiting&limit=1&usage_s=60&usage_parts=2", "", 200, jsonMime, []string{`"concurrency_key":"k/1"`, `"next":null`, `"first_due":`, `/"used":\[0,0\.\d+\]|"used":\[0,[01]\]/`}},
	{"GET /api/concurrency_groups/groups", "/api/concurrency_groups/groups?order_by=running&after=k/1", "", 400, textMime, []string{"after"}},
	{"GET /api/concurrency_groups/executions/{key...}", "/api/concurrency_groups/executions/k%2F1?limit=10", "", 200, jsonMime, []string{`"script_path":"f/x/limited"`, `!"released_at"`, `"cut":false`, `"attempt":1`}},
	{"GET /api/concurrency_groups/executions/{key...}", "/api/concurrency_groups/executions/nothing", "", 404, textMime, nil},
	{"GET /api/concurrency_groups/get/{key...}", "/api/concurrency_groups/get/k%2F1", "", 200, jsonMime, []string{`"concurrency_key":"k/1"`, `"total_running":1`, `"concurrent_limit":1`, `"concurrency_window_from":"end"`, `!"override"`}},
	{"GET /api/concurrency_groups/get/{key...}", "/api/concurrency_groups/get/nothing", "", 404, textMime, nil},
	{"PUT /api/concurrency_groups/override/{key...}", "/api/concurrency_groups/override/k/1", `{"concurrent_limit":2,"max_waiting":7,"why":"test"}`, 200, jsonMime, []string{`"concurrent_limit":2`, `"source":"override"`, `"override":{"concurrent_limit":2,"max_waiting":7}`}},
	{"PUT /api/concurrency_groups/override/{key...}", "/api/concurrency_groups/override/k/1", `{"why":"test"}`, 400, textMime, []string{"concurrent_limit: "}},
	{"DELETE /api/concurrency_groups/override/{key...}", "/api/concurrency_groups/override/k/1?why=over", "", 200, jsonMime, []string{`"source":"job"`, `!"override":{`}},
	{"POST /api/concurrency_groups/pause/{key...}", "/api/concurrency_groups/pause/k/1", `{"for_s":60,"why":"calm"}`, 200, jsonMime, []string{`"paused":true`, `"paused_by":"admin"`, `"paused_why":"calm"`, `"paused_until":"`}},
	{"POST /api/concurrency_groups/pause/{key...}", "/api/concurrency_groups/pause/k/1", `{"for_s":60,"until":"2100-01-01T00:00:00Z"}`, 400, textMime, []string{"for_s: "}},
	{"POST /api/concurrency_groups/pause/{key...}", "/api/concurrency_groups/pause/k/1", `{"until":"2000-01-01T00:00:00Z"}`, 400, textMime, []string{"until: "}},
	{"POST /api/concurrency_groups/resume/{key...}", "/api/concurrency_groups/resume/k/1", ``, 200, jsonMime, []string{`"paused":false`}},
	{"DELETE /api/concurrency_groups/prune/{key...}", "/api/concurrency_groups/prune/k/1", "", 409, textMime, []string{"k/1"}},
	{"POST /api/scripts/{language}/tojsonschema", "/api/scripts/bash/tojsonschema", `"x=\"$1\""`, 200, jsonMime, []string{`"name":"x"`, `"required":["x"]`}},
	{"POST /api/scripts/{language}/tojsonschema", "/api/scripts/cobol/tojsonschema", `""`, 400, textMime, []string{"language: "}},
	{"POST /api/concurrency_groups/plan", "/api/concurrency_groups/plan", `{"concurrent_limit":10,"concurrency_time_window_s":1,"concurrency_window_from":"start","jobs":30,"duration_ms":5}`, 200, jsonMime, []string{`"makespan_ms":2005`, `"first_start_ms":0`, `"last_start_ms":2000`, `"per_second":14.5`, `"words":"30 jobs of 5ms`}},
	{"POST /api/concurrency_groups/plan", "/api/concurrency_groups/plan", `{"concurrent_limit":1,"concurrency_time_window_s":2678400,"jobs":100000,"duration_ms":5}`, 400, textMime, []string{"jobs: "}},

	{"GET /api/w/{workspace}/jobs_u/resume/{id}/{resume_id}/{signature}", "/api/w/main/jobs_u/resume/ENDED/1/00?approver=ann", "", 403, textMime, []string{"signature"}},
	{"GET /api/w/{workspace}/jobs_u/cancel/{id}/{resume_id}/{signature}", "/api/w/main/jobs_u/cancel/ENDED/1/00?approver=ann", "", 403, textMime, []string{"signature"}},
	{"POST /api/w/{workspace}/jobs_u/resume/{id}/{resume_id}/{signature}", "/api/w/main/jobs_u/resume/ENDED/1/00?approver=ann", "", 403, textMime, []string{"signature"}},
	{"POST /api/w/{workspace}/jobs_u/cancel/{id}/{resume_id}/{signature}", "/api/w/main/jobs_u/cancel/ENDED/1/00?approver=ann", "", 403, textMime, []string{"signature"}},
	{"GET /api/w/{workspace}/jobs_u/get_flow/{id}/{resume_id}/{signature}", "/api/w/main/jobs_u/get_flow/ENDED/1/00", "", 403, textMime, []string{"signature"}},
	{"GET /api/w/{workspace}/jobs/resume_urls/{id}/{resume_id}", "/api/w/main/jobs/resume_urls/ENDED/1", "", 400, textMime, []string{"neither a flow"}},
	{"GET /api/w/{workspace}/jobs/job_signature/{id}/{resume_id}", "/api/w/main/jobs/job_signature/UNKNOWN/1", "", 404, textMime, nil},
	{"POST /api/w/{workspace}/jobs/flow/resume/{id}", "/api/w/main/jobs/flow/resume/ENDED", `{"x":1}`, 400, textMime, []string{"neither a flow"}},
	{"POST /api/w/{workspace}/jobs/flow/disapprove/{id}", "/api/w/main/jobs/flow/disapprove/UNKNOWN", "", 404, textMime, nil},

	{"POST /api/w/{workspace}/jobs_u/queue/cancel/{id}", "/api/w/main/jobs_u/queue/cancel/ENDED", `{"reason":"x"}`, 409, textMime, []string{"already ended"}},
	{"POST /api/w/{workspace}/jobs_u/queue/cancel/{id}", "/api/w/main/jobs_u/queue/cancel/UNKNOWN", ``, 404, textMime, nil},
	{"POST /api/w/{workspace}/jobs_u/queue/cancel/{id}", "/api/w/main/jobs_u/queue/cancel/WAITING", `{"reason":"enough"}`, 200, textMime, []string{"/^WAITING$/"}},
	{"GET /api/w/{workspace}/jobs_u/completed/get/{id}", "/api/w/main/jobs_u/completed/get/WAITING", "", 200, jsonMime, []string{`"canceled":true`, `"canceled_by":"admin"`, `"canceled_reason":"enough"`, `"success":false`, `"result":{"error":`}},
	{"POST /api/w/{workspace}/jobs_u/queue/force_cancel/{id}", "/api/w/main/jobs_u/queue/force_cancel/RUNNING", "", 200, textMime, []string{"/^RUNNING$/"}},
	{"POST /api/w/{workspace}/jobs/queue/cancel_selection", "/api/w/main/jobs/queue/cancel_selection?force_cancel=false", `["ENDED","UNKNOWN"]`, 200, jsonMime, []string{`/^\[\]$/`}},
	{"POST /api/w/{workspace}/jobs/queue/cancel_selection", "/api/w/main/jobs/queue/cancel_selection", `["x"]`, 400, textMime, []string{"[0]: must be a UUID"}},
	{"POST /api/concurrency_groups/cancel/{key...}", "/api/concurrency_groups/cancel/k/1", `{"running":true}`, 200, jsonMime, []string{`/^\{"canceled":\d+\}$/`}},

	{"POST /api/w/{workspace}/jobs/run/dependencies_async", "/api/w/main/jobs/run/dependencies_async", askLock, 201, textMime, []string{"/" + uuidRE + "/"}},
	{"POST /api/w/{workspace}/jobs/run/dependencies_async", "/api/w/nowhere/jobs/run/dependencies_async", askLock, 404, textMime, []string{"nowhere"}},
	{"POST /api/w/{workspace}/jobs/run/dependencies", "/api/w/main/jobs/run/dependencies?timeout_s=0", askLock, 504, jsonMime, []string{`"job_id":`, `"reason":"behind"`}},
	{"GET /api/w/{workspace}/scripts/deployment_status/h/{hash}", "/api/w/main/scripts/deployment_status/h/HASH", "", 200, jsonMime, []string{`{"lock":"","lock_error_logs":null}`}},
	{"GET /api/w/{workspace}/scripts/deployment_status/h/{hash}", "/api/w/main/scripts/deployment_status/h/0000000000000000", "", 404, textMime, []string{"no script"}},
	{"POST /api/w/{workspace}/schedules/create", "/api/w/main/schedules/create", `{"path":"f/n/each","schedule":"0 0 12 * * *","timezone":"UTC","script_path":"f/x/hello","enabled":true,"z":null}`, 200, textMime, []string{"/^f/n/each$/"}},
	{"POST /api/w/{workspace}/schedules/create", "/api/w/main/schedules/create", `{"path":"f/n/each","schedule":"0 0 12 * * *","timezone":"UTC","script_path":"f/x/hello"}`, 409, textMime, []string{"f/n/each"}},
	{"POST /api/w/{workspace}/schedules/create", "/api/w/main/schedules/create", `{"path":"f/n/bad","schedule":"0 0 25 * * *","timezone":"UTC","script_path":"f/x/hello"}`, 400, textMime, []string{"schedule: hour: 25"}},
	{"POST /api/w/{workspace}/schedules/update/{path...}", "/api/w/main/schedules/update/f/n/each", `{"schedule":"0 0 13 * * *","timezone":"UTC"}`, 200, textMime, []string{"/^f/n/each$/"}},
	{"POST /api/w/{workspace}/schedules/update/{path...}", "/api/w/main/schedules/update/f/n/none", `{"schedule":"0 0 13 * * *","timezone":"UTC"}`, 404, textMime, []string{"f/n/none"}},
	{"GET /api/w/{workspace}/schedules/get/{path...}", "/api/w/main/schedules/get/f/n/each", "", 200, jsonMime, []string{`"schedule":"0 0 13 * * *"`, `"script_path":"f/x/hello"`, `"enabled":true`}},
	{"GET /api/w/{workspace}/schedules/get/{path...}", "/api/w/main/schedules/get/f/n/none", "", 404, textMime, []string{"f/n/none"}},
	{"GET /api/w/{workspace}/schedules/exists/{path...}", "/api/w/main/schedules/exists/f/n/each", "", 200, jsonMime, []string{"/^true$/"}},
	{"GET /api/w/{workspace}/schedules/exists/{path...}", "/api/w/main/schedules/exists/f/n/none", "", 200, jsonMime, []string{"/^false$/"}},
	{"GET /api/w/{workspace}/schedules/list", "/api/w/main/schedules/list?path=f/x/hello&is_flow=false", "", 200, jsonMime, []string{`"path":"f/n/each"`}},
	{"GET /api/w/{workspace}/schedules/list", "/api/w/main/schedules/list?is_flow=true", "", 200, jsonMime, []string{`/^\[\]$/`}},
	{"GET /api/w/{workspace}/schedules/list_with_jobs", "/api/w/main/schedules/list_with_jobs", "", 200, jsonMime, []string{`"path":"f/n/each"`, `"jobs":[]`}},
	{"POST /api/schedules/preview", "/api/schedules/preview", `{"schedule":"0 0 12 * * *","timezone":"Europe/Berlin"}`, 200, jsonMime, []string{`/^\["\d{4}-\d\d-\d\dT1[01]:00:00Z",/`}},
	{"POST /api/schedules/preview", "/api/schedules/preview", `{"schedule":"0 0 0 30 2 *","timezone":"Europe/Berlin"}`, 400, textMime, []string{"never"}},
	{"POST /api/w/{workspace}/schedules/setenabled/{path...}", "/api/w/main/schedules/setenabled/f/n/each", `{"enabled":false}`, 200, textMime, []string{"f/n/each"}},
	{"POST /api/w/{workspace}/schedules/setenabled/{path...}", "/api/w/main/schedules/setenabled/f/n/none", `{"enabled":false}`, 404, textMime, []string{"f/n/none"}},
	{"DELETE /api/w/{workspace}/schedules/delete/{path...}", "/api/w/main/schedules/delete/f/n/each", "", 200, textMime, []string{"f/n/each"}},
	{"DELETE /api/w/{workspace}/schedules/delete/{path...}", "/api/w/main/schedules/delete/f/n/each", "", 404, textMime, []string{"f/n/each"}},
}

func TestRoutes(t *testing.T) {
	s := newScene(t)
	covered := map[string]bool{}
	for _, row := range slices.Concat(routeTable, variableRoutes, folderRoutes) {
		method, _, _ := strings.Cut(row.route, " ")
		path, body := s.names.Replace(row.path), s.names.Replace(row.body)
		covered[row.route] = true
		var got reply
		s.within(30*time.Second, path, func() { got = s.do(method, path, body) })
		if got.status != row.status {
			t.Errorf("%s %s: status %d, want %d: %s", method, path, got.status, row.status, got.body)
			continue
		}
		if row.mime != "" && got.mime != row.mime {
			t.Errorf("%s %s: content type %q, want %q", method, path, got.mime, row.mime)
		}
		for _, want := range row.want {
			s.matches(method+" "+path, got.body, s.names.Replace(want))
		}
		if got.status >= 400 && strings.Contains(got.mime, "text/plain") && (len(got.body) > 300 || strings.TrimSpace(got.body) == "") {
			t.Errorf("%s %s: an error must be a short sentence: %q", method, path, got.body)
		}
	}
	for _, p := range s.api.router.patterns {
		if !covered[p] {
			t.Errorf("no row for %s", p)
		}
	}
	for route := range covered {
		if !slices.Contains(s.api.router.patterns, route) {
			t.Errorf("a row for %s, which is not served", route)
		}
	}
	if log := s.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("faults were logged:\n%s", log)
	}
}

func (s *scene) matches(what, body, want string) {
	s.t.Helper()
	switch {
	case strings.HasPrefix(want, "!"):
		if strings.Contains(body, want[1:]) {
			s.t.Errorf("%s: the body must not hold %s: %s", what, want[1:], body)
		}
	case strings.HasPrefix(want, "/") && strings.HasSuffix(want, "/"):
		if !regexp.MustCompile(want[1 : len(want)-1]).MatchString(body) {
			s.t.Errorf("%s: the body does not match %s: %s", what, want, body)
		}
	case !strings.Contains(body, want):
		s.t.Errorf("%s: the body must hold %s: %s", what, want, body)
	}
}
