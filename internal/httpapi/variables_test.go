package httpapi

import (
	"strings"
	"testing"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/vault"
)

// testKeys are the master keys of a rig.
func testKeys(t testing.TB) *vault.Ring {
	t.Helper()
	m, err := vault.ParseMaster(strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		t.Fatal(err)
	}
	return &vault.Ring{Current: m}
}

// variableRoutes are rows of the table of routes.
var variableRoutes = []struct {
	route, path, body string
	status            int
	mime              string
	want              []string
}{
	{"POST /api/w/{workspace}/variables/create", "/api/w/main/variables/create?already_encrypted=false", `{"path":"f/v/secret","value":"hunter22","is_secret":true,"description":"d","account":null}`, 201, textMime, []string{"f/v/secret"}},
	{"POST /api/w/{workspace}/variables/create", "/api/w/main/variables/create", `{"path":"f/v/plain","value":"open <&>","is_secret":false,"description":null}`, 201, textMime, []string{"f/v/plain"}},
	{"POST /api/w/{workspace}/variables/create", "/api/w/main/variables/create", `{"path":"f/v/plain","value":"x"}`, 409, textMime, []string{"path: ", "f/v/plain"}},
	{"POST /api/w/{workspace}/variables/create", "/api/w/main/variables/create", `{"value":"x"}`, 400, textMime, []string{"path: "}},
	{"POST /api/w/{workspace}/variables/create", "/api/w/main/variables/create", `{"path":"f/v/x"}`, 400, textMime, []string{"value: "}},
	{"POST /api/w/{workspace}/variables/create", "/api/w/main/variables/create?already_encrypted=true", `{"path":"f/v/x","value":"hunter22","is_secret":true}`, 400, textMime, []string{"value: ", "!hunter22"}},
	{"GET /api/w/{workspace}/variables/list", "/api/w/main/variables/list", "", 200, jsonMime, []string{`"path":"f/v/plain","value":"open <&>","is_secret":false`, `"path":"f/v/secret","value":null,"is_secret":true,"description":"d"`, "!hunter22"}},
	{"GET /api/w/{workspace}/variables/list", "/api/w/main/variables/list?path_start=f/w", "", 200, jsonMime, []string{`/^\[\]$/`}},
	{"GET /api/w/{workspace}/variables/get/{path...}", "/api/w/main/variables/get/f/v/secret", "", 200, jsonMime, []string{`"value":null`, `"extra_perms":{}`, `"workspace_id":"main"`}},
	{"GET /api/w/{workspace}/variables/get/{path...}", "/api/w/main/variables/get/f/v/secret?decrypt_secret=true", "", 200, jsonMime, []string{`"value":"hunter22"`}},
	{"GET /api/w/{workspace}/variables/get/{path...}", "/api/w/main/variables/get/f/v/secret?decrypt_secret=false&include_encrypted=true", "", 200, jsonMime, []string{`"value":"1:`, "!hunter22"}},
	{"GET /api/w/{workspace}/variables/get/{path...}", "/api/w/main/variables/get/f/v/none", "", 404, textMime, []string{"f/v/none"}},
	{"GET /api/w/{workspace}/variables/get_value/{path...}", "/api/w/main/variables/get_value/f/v/secret", "", 200, jsonMime, []string{`/^"hunter22"$/`}},
	{"GET /api/w/{workspace}/variables/get_value/{path...}", "/api/w/main/variables/get_value/f/v/none", "", 404, textMime, []string{"f/v/none"}},
	{"GET /api/w/{workspace}/variables/exists/{path...}", "/api/w/main/variables/exists/f/v/secret", "", 200, jsonMime, []string{"/^true$/"}},
	{"GET /api/w/{workspace}/variables/exists/{path...}", "/api/w/main/variables/exists/f/v/none", "", 200, jsonMime, []string{"/^false$/"}},
	{"POST /api/w/{workspace}/variables/update/{path...}", "/api/w/main/variables/update/f/v/secret", `{"value":"hunter33"}`, 200, textMime, []string{"f/v/secret"}},
	{"POST /api/w/{workspace}/variables/update/{path...}", "/api/w/main/variables/update/f/v/plain", `{"path":"f/v/moved"}`, 200, textMime, []string{"f/v/moved"}},
	{"POST /api/w/{workspace}/variables/update/{path...}", "/api/w/main/variables/update/f/v/none", `{"value":"x"}`, 404, textMime, []string{"f/v/none"}},
	{"POST /api/settings/rotate_keys", "/api/settings/rotate_keys", `{}`, 200, jsonMime, []string{`{"workspaces":1,"secrets":1}`}},
	{"POST /api/settings/rotate_keys", "/api/settings/rotate_keys", `{"workspace":"none"}`, 404, textMime, []string{"none"}},
	{"POST /api/settings/rotate_keys", "/api/settings/rotate_keys", `{"master":true}`, 200, jsonMime, []string{`{"workspaces":0,"secrets":0}`}},

	{"POST /api/w/{workspace}/resources/create", "/api/w/main/resources/create", `{"path":"f/v/db","resource_type":"postgresql","description":"d","value":{"b":1.0,"password":"$var:f/v/secret","a":[1]}}`, 201, textMime, []string{"f/v/db"}},
	{"POST /api/w/{workspace}/resources/create", "/api/w/main/resources/create", `{"path":"f/v/db","resource_type":"x","value":null}`, 409, textMime, []string{"path: "}},
	{"POST /api/w/{workspace}/resources/create", "/api/w/main/resources/create", `{"path":"f/v/x","value":1}`, 400, textMime, []string{"resource_type: "}},
	{"POST /api/w/{workspace}/resources/create", "/api/w/main/resources/create", `{"path":"f/v/state","resource_type":"state","value":null}`, 201, textMime, nil},
	{"POST /api/w/{workspace}/resources/create", "/api/w/main/resources/create?update_if_exists=true", `{"path":"f/v/state","resource_type":"state","value":[2]}`, 201, textMime, nil},
	{"GET /api/w/{workspace}/resources/list", "/api/w/main/resources/list", "", 200, jsonMime, []string{`"path":"f/v/db","resource_type":"postgresql","value":null,"description":"d"`, `"created_by":"admin"`}},
	{"GET /api/w/{workspace}/resources/list", "/api/w/main/resources/list?resource_type=state,cache&page=1&per_page=10", "", 200, jsonMime, []string{`/^\[\{[^{]*"path":"f/v/state"/`, "!f/v/db"}},
	{"GET /api/w/{workspace}/resources/list", "/api/w/main/resources/list?resource_type_exclude=state,cache", "", 200, jsonMime, []string{"f/v/db", "!f/v/state"}},
	{"GET /api/w/{workspace}/resources/get/{path...}", "/api/w/main/resources/get/f/v/db", "", 200, jsonMime, []string{`"value":{"b":1.0,"password":"$var:f/v/secret","a":[1]}`, `"resource_type":"postgresql"`}},
	{"GET /api/w/{workspace}/resources/get/{path...}", "/api/w/main/resources/get/f/v/none", "", 404, textMime, []string{"f/v/none"}},
	{"GET /api/w/{workspace}/resources/get_value/{path...}", "/api/w/main/resources/get_value/f/v/state", "", 200, jsonMime, []string{`/^\[2\]$/`}},
	{"GET /api/w/{workspace}/resources/get_value/{path...}", "/api/w/main/resources/get_value/f/v/none", "", 404, textMime, []string{"f/v/none"}},
	{"GET /api/w/{workspace}/resources/get_value_interpolated/{path...}", "/api/w/main/resources/get_value_interpolated/f/v/db?allow_cache=true", "", 200, jsonMime, []string{`{"b":1.0,"password":"hunter33","a":[1]}`}},
	{"GET /api/w/{workspace}/resources/get_value_interpolated/{path...}", "/api/w/main/resources/get_value_interpolated/f/v/none", "", 404, textMime, []string{"f/v/none"}},
	{"GET /api/w/{workspace}/resources/exists/{path...}", "/api/w/main/resources/exists/f/v/db", "", 200, jsonMime, []string{"/^true$/"}},
	{"GET /api/w/{workspace}/resources/exists/{path...}", "/api/w/main/resources/exists/f/v/none", "", 200, jsonMime, []string{"/^false$/"}},
	{"POST /api/w/{workspace}/resources/update_value/{path...}", "/api/w/main/resources/update_value/f/v/state", `{"value":{"n":12345678901234567890}}`, 200, textMime, []string{"f/v/state"}},
	{"GET /api/w/{workspace}/resources/get_value/{path...}", "/api/w/main/resources/get_value/f/v/state", "", 200, jsonMime, []string{`{"n":12345678901234567890}`}},
	{"POST /api/w/{workspace}/resources/update_value/{path...}", "/api/w/main/resources/update_value/f/v/none", `{"value":1}`, 404, textMime, []string{"f/v/none"}},
	{"POST /api/w/{workspace}/resources/update/{path...}", "/api/w/main/resources/update/f/v/db", `{"path":"f/v/db","description":"new","value":{"password":"$var:f/v/none"}}`, 200, textMime, []string{"f/v/db"}},
	{"GET /api/w/{workspace}/resources/get_value_interpolated/{path...}", "/api/w/main/resources/get_value_interpolated/f/v/db", "", 404, textMime, []string{"resource f/v/db: password: there is no variable f/v/none"}},
	{"POST /api/w/{workspace}/resources/update/{path...}", "/api/w/main/resources/update/f/v/none", `{"value":1}`, 404, textMime, []string{"f/v/none"}},
	{"GET /api/w/{workspace}/resources/type/list", "/api/w/main/resources/type/list", "", 200, jsonMime, []string{`/^\[\]$/`}},
	{"GET /api/w/{workspace}/resources/file_resource_type_to_file_ext_map", "/api/w/main/resources/file_resource_type_to_file_ext_map", "", 200, jsonMime, []string{`/^\{\}$/`}},
	{"DELETE /api/w/{workspace}/resources/delete/{path...}", "/api/w/main/resources/delete/f/v/db", "", 200, textMime, []string{"f/v/db"}},
	{"DELETE /api/w/{workspace}/resources/delete/{path...}", "/api/w/main/resources/delete/f/v/db", "", 404, textMime, []string{"f/v/db"}},
	{"DELETE /api/w/{workspace}/variables/delete/{path...}", "/api/w/main/variables/delete/f/v/secret", "", 200, textMime, []string{"f/v/secret"}},
	{"DELETE /api/w/{workspace}/variables/delete/{path...}", "/api/w/main/variables/delete/f/v/secret", "", 404, textMime, []string{"f/v/secret"}},
}

// TestResourcePages: the command line of Windmill counts the pages of resources
// from 0, everybody else from 1.
func TestResourcePages(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"f/a", "f/b", "f/c"} {
		r.ok(201, "POST", "/api/w/main/resources/create", `{"path":"`+path+`","resource_type":"x","value":1}`)
	}
	for _, tc := range []struct{ page, client, want string }{
		{"0", "cli", "f/a f/b"}, {"1", "cli", "f/c"}, {"2", "cli", ""}, {"0", "", "f/a f/b"}, {"1", "", "f/a f/b"}, {"2", "", "f/c"},
	} {
		got := r.do("GET", "/api/w/main/resources/list?per_page=2&page="+tc.page, "", "X-Windmill-Client", tc.client)
		var list []struct{ Path string }
		r.read(got.body, &list)
		var paths []string
		for _, e := range list {
			paths = append(paths, e.Path)
		}
		if strings.Join(paths, " ") != tc.want {
			t.Errorf("page %s of %q: %v, want %s", tc.page, tc.client, paths, tc.want)
		}
	}
}

// TestSecretRights: who sees a secret, and that it is recorded.
func TestSecretRights(t *testing.T) {
	s := newScene(t)
	s.openFolders("main", "v")
	tokens := map[string]string{}
	for _, role := range []string{"operator", "developer", "admin"} {
		email := role + "@x.org"
		s.user(email, false)
		if err := s.e.AddMember(t.Context(), "main", email, sluice.Role(role)); err != nil {
			t.Fatal(err)
		}
		tokens[role] = s.token(engine.NewToken{Email: email})
		tokens[role+"'s job"] = s.jobOf(email)
	}
	tokens["developer's token"] = s.token(engine.NewToken{Email: "developer@x.org", Scopes: []string{"resources:read"}})
	s.ok(201, "POST", "/api/w/main/variables/create", `{"path":"f/v/secret","value":"hunter22","is_secret":true}`)
	s.ok(201, "POST", "/api/w/main/variables/create", `{"path":"f/v/plain","value":"open"}`)
	s.ok(201, "POST", "/api/w/main/variables/create", `{"path":"u/developer/own","value":"mine","is_secret":true}`)
	s.ok(201, "POST", "/api/w/main/resources/create", `{"path":"f/v/db","resource_type":"x","value":["$var:f/v/secret"]}`)
	s.ok(201, "POST", "/api/w/main/resources/create", `{"path":"f/v/was","resource_type":"state","value":1}`)
	const variable, resource = "/api/w/main/variables/", "/api/w/main/resources/"
	for _, tc := range []struct {
		who, method, path, body string
		want                    int
	}{
		{"operator", "GET", variable + "get_value/f/v/plain", "", 200},
		{"operator", "GET", variable + "get_value/f/v/secret", "", 403},
		{"operator", "GET", variable + "get/f/v/secret", "", 200},
		{"operator", "GET", variable + "get/f/v/secret?decrypt_secret=true", "", 403},
		{"operator", "GET", resource + "get_value_interpolated/f/v/db", "", 403},
		{"operator", "GET", resource + "get_value/f/v/db", "", 200},
		{"operator", "POST", variable + "update/f/v/plain", `{"value":"x"}`, 403},
		{"operator", "POST", resource + "create", `{"path":"f/v/s","resource_type":"state","value":1}`, 403},
		{"operator", "POST", resource + "update_value/f/v/was", `{"value":2}`, 403},
		{"operator's job", "GET", variable + "get_value/f/v/secret", "", 200},
		{"operator's job", "GET", resource + "get_value_interpolated/f/v/db", "", 200},
		{"operator's job", "POST", variable + "create", `{"path":"f/v/s","value":"1"}`, 403},
		{"operator's job", "POST", resource + "create", `{"path":"f/v/s","resource_type":"state","value":1}`, 201},
		{"operator's job", "POST", resource + "create", `{"path":"f/v/t","resource_type":"postgresql","value":1}`, 403},
		{"operator's job", "POST", resource + "create?update_if_exists=true", `{"path":"f/v/db","resource_type":"state","value":1}`, 403},
		{"operator's job", "POST", resource + "update_value/f/v/was", `{"value":2}`, 200},
		{"operator's job", "POST", resource + "update_value/f/v/db", `{"value":2}`, 403},
		{"developer", "GET", variable + "get_value/f/v/secret", "", 200},
		{"developer", "GET", resource + "get_value_interpolated/f/v/db", "", 200},
		{"developer's token", "GET", resource + "get_value/f/v/db", "", 200},
		{"developer's token", "GET", resource + "get_value_interpolated/f/v/db", "", 403},
		{"developer", "GET", variable + "get_value/u/developer/own", "", 200},
		{"operator's job", "GET", variable + "get_value/u/developer/own", "", 404},
		{"developer's job", "GET", variable + "get_value/u/developer/own", "", 200},
		{"developer's job", "POST", variable + "update/f/v/plain", `{"value":"x"}`, 200},
		{"admin", "GET", variable + "get_value/u/developer/own", "", 200},
		{"admin's job", "POST", "/api/settings/rotate_keys", `{}`, 403},
	} {
		if got := s.do(tc.method, tc.path, tc.body, "Authorization", "Bearer "+tokens[tc.who]); got.status != tc.want {
			t.Errorf("%s: %s %s %s: %d, want %d: %s", tc.who, tc.method, tc.path, tc.body, got.status, tc.want, got.body)
		}
	}
	log := s.ok(200, "GET", "/api/w/main/audit/list?operation=variables.decrypt_secret", "")
	if strings.Count(log, `"resource":"f/v/secret"`) != 2 || strings.Contains(log, "operator") || !strings.Contains(log, "developer") {
		t.Errorf("of secrets that were seen the log says %s", log)
	}
	for _, op := range []string{"variables.create", "variables.update", "resources.create", "resources.update"} {
		if log := s.ok(200, "GET", "/api/w/main/audit/list?operation="+op, ""); !strings.Contains(log, `"f/v/`) || strings.Contains(log, "hunter22") {
			t.Errorf("%s: %s", op, log)
		}
	}
}

// TestSecretsThatAJobFetches: what a job gets of secrets with its token shows in
// its log no more than what it was given, wherever the log is cut; nor in its
// failure, nor when a piece comes twice. Another job's log stays as it is.
func TestSecretsThatAJobFetches(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	r.ok(201, "POST", "/api/w/main/variables/create", `{"path":"f/v/token","value":"hunter22","is_secret":true}`)
	r.ok(201, "POST", "/api/w/main/variables/create", `{"path":"f/v/other","value":"swordfish","is_secret":true}`)
	r.ok(201, "POST", "/api/w/main/variables/create", `{"path":"f/v/plain","value":"harmless","is_secret":false}`)
	r.ok(201, "POST", "/api/w/main/resources/create", `{"path":"f/v/db","resource_type":"postgresql","value":{"password":"$var:f/v/other"}}`)
	a, b := r.jobRun(), r.jobRun()
	log := func(a sluice.Assignment, want string) {
		t.Helper()
		if got := r.ok(200, "GET", "/api/w/main/jobs_u/get_logs/"+a.JobID, ""); got != want {
			t.Errorf("the log is %q, want %q", got, want)
		}
	}
	for path, want := range map[string]string{"variables/get_value/f/v/token": "hunter22", "variables/get_value/f/v/plain": "harmless"} {
		if got := r.as(a.Token, "GET", "/api/w/main/"+path, ""); got.status != 200 || got.body != `"`+want+`"`+"\n" && got.body != `"`+want+`"` {
			t.Fatalf("%s: %d %s", path, got.status, got.body)
		}
	}
	first, second := "harmless hunter22 hunt", "er22 swordfish"
	r.logs(a, 0, first)
	log(a, "harmless ***** ")
	if got := r.as(a.Token, "GET", "/api/w/main/resources/get_value_interpolated/f/v/db", ""); got.status != 200 || !strings.Contains(got.body, "swordfish") {
		t.Fatalf("%d %s", got.status, got.body)
	}
	r.logs(a, 0, first)
	r.logs(a, 0, first+second) // sent again with more
	r.logs(a, int64(len(first)), second)
	log(a, "harmless ***** ***** *****")
	r.logs(a, int64(len(first+second)), " sword")
	r.logs(b, 0, "hunter22 swordfish")
	log(b, "hunter22 swordfish")
	r.finish(a, false, `{"error":{"name":"E","message":"no hunter22"}}`)
	log(a, "harmless ***** ***** ***** sword")
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/completed/get_result/"+a.JobID, ""); strings.Contains(got, "hunter22") || !strings.Contains(got, "no *****") {
		t.Errorf("the failure is %s", got)
	}
}
