package httpapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// login signs somebody in.
func (r *rig) login(email, password string, headers ...string) reply {
	r.t.Helper()
	return r.raw("POST", "/api/auth/login", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password), headers...)
}

// person makes a user with a role in main and a token of all its rights.
func (r *rig) person(name string, role sluice.Role) (token string) {
	r.t.Helper()
	email := name + "@x.org"
	r.user(email, false)
	if err := r.e.AddMember(r.t.Context(), "main", email, role); err != nil {
		r.t.Fatal(err)
	}
	return r.token(engine.NewToken{Email: email})
}

func (r *rig) wants(status int, got reply, what string) {
	r.t.Helper()
	if got.status != status {
		r.t.Errorf("%s: status %d, want %d: %s", what, got.status, status, got.body)
	}
}

func TestSignInAndOut(t *testing.T) {
	r := newRig(t)
	r.person("ann", sluice.RoleDeveloper)
	got := r.login("Ann@x.org", rigPassword)
	r.wants(200, got, "login")
	cookie := got.header.Get("Set-Cookie")
	if want := "token=" + got.body + "; Path=/; Max-Age=259200; HttpOnly; SameSite=Lax"; cookie != want {
		t.Errorf("cookie %q, want %q", cookie, want)
	}
	me := r.raw("GET", "/api/users/whoami", "", "Cookie", "token="+got.body)
	if me.status != 200 || !strings.Contains(me.body, `"email":"ann@x.org"`) || !strings.Contains(me.body, `"super_admin":false`) {
		t.Errorf("whoami: %d %s", me.status, me.body)
	}
	r.wants(403, r.raw("POST", "/api/auth/logout", "", "Cookie", "token="+got.body, "Origin", "https://evil.example"), "logout by another site")
	out := r.raw("POST", "/api/auth/logout", "", "Cookie", "token="+got.body)
	r.wants(200, out, "logout")
	if c := out.header.Get("Set-Cookie"); !strings.HasPrefix(c, "token=; Path=/; Max-Age=0; HttpOnly") {
		t.Errorf("cookie after logout %q", c)
	}
	r.wants(401, r.as(got.body, "GET", "/api/users/whoami", ""), "after logout")

	first, second := r.login("ann@x.org", rigPassword).body, r.login("ann@x.org", rigPassword, "Cookie", "token=stale").body
	r.wants(200, r.as(first, "POST", "/api/users/setpassword", `{"password":"quite another"}`), "setpassword")
	r.wants(401, r.as(first, "GET", "/api/users/whoami", ""), "a session before the password changed")
	r.wants(401, r.as(second, "GET", "/api/users/whoami", ""), "another")
	r.wants(401, r.login("ann@x.org", rigPassword), "the old password")
	r.wants(200, r.login("ann@x.org", "quite another"), "the new password")
	r.wants(403, r.login("ann@x.org", "quite another", "Origin", "https://evil.example"), "a login form of another site")
	r.wants(403, r.login("ann@x.org", "quite another", "Sec-Fetch-Site", "cross-site"), "the same, of a new browser")
}

func TestBehindAProxy(t *testing.T) {
	r := newRig(t, func(o *Options) { o.TrustProxy, o.SessionLifetime = true, time.Hour })
	r.person("ann", sluice.RoleAdmin)
	for proto, secure := range map[string]bool{"https": true, "http": false} {
		got := r.login("ann@x.org", rigPassword, "X-Forwarded-Proto", proto, "X-Forwarded-For", "6.6.6.6, 203.0.113.7")
		if c := got.header.Get("Set-Cookie"); strings.Contains(c, "Secure") != secure || !strings.Contains(c, "Max-Age=3600") {
			t.Errorf("over %s: %q", proto, c)
		}
	}
	entries, err := r.e.AuditEntries(t.Context(), store.AuditFilter{Operation: "users.login"})
	if err != nil || len(entries) != 2 || entries[0].Address != "203.0.113.7" || entries[0].Username != "ann" {
		t.Errorf("%+v, %v", entries, err)
	}
	plain := newRig(t)
	plain.person("ann", sluice.RoleAdmin)
	got := plain.login("ann@x.org", rigPassword, "X-Forwarded-Proto", "https", "X-Forwarded-For", "203.0.113.7")
	if strings.Contains(got.header.Get("Set-Cookie"), "Secure") {
		t.Error("a header is believed that anybody can send")
	}
	entries, err = plain.e.AuditEntries(t.Context(), store.AuditFilter{Operation: "users.login"})
	if err != nil || len(entries) != 1 || entries[0].Address != "127.0.0.1" {
		t.Errorf("%+v, %v", entries, err)
	}
}

// TestGuessingIsBounded (S1): by account, whoever asks; other accounts go on.
func TestGuessingIsBounded(t *testing.T) {
	r := newRig(t)
	r.person("ann", sluice.RoleAdmin)
	r.person("bob", sluice.RoleAdmin)
	statuses := map[int]int{}
	for i := range accountBurst + 2 {
		statuses[r.login([]string{"ann@x.org", "ANN@x.org "}[i%2], "guess").status]++
	}
	if statuses[429] < 1 || statuses[401] < accountBurst || statuses[401]+statuses[429] != accountBurst+2 {
		t.Errorf("statuses %v", statuses)
	}
	r.wants(200, r.login("bob@x.org", rigPassword), "another account")
	if log := r.log.String(); strings.Contains(log, "guess") || !strings.Contains(log, "could not sign in") {
		t.Errorf("log: %s", log)
	}
}

func TestAttempts(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAttempts(2, time.Second)
	for i, want := range []bool{true, true, false} {
		if a.try("x", now) != want {
			t.Errorf("attempt %d: %v", i, !want)
		}
	}
	if !a.try("y", now) || !a.try("x", now.Add(time.Second)) || a.try("x", now.Add(time.Second)) {
		t.Error("a name pays for another, or time does not count")
	}
	for i := range 3 * limitersKept {
		a.try(fmt.Sprint(i), now)
	}
	if len(a.m) > limitersKept {
		t.Errorf("%d names are kept", len(a.m))
	}
	for address, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "pipe": "pipe",
	} {
		if got := network(address); got != want {
			t.Errorf("%s is counted as %s", address, got)
		}
	}
}

// TestNarrowScopes (R2): what a scope is narrowed to holds whatever way a script
// is named.
func TestNarrowScopes(t *testing.T) {
	s := newScene(t)
	s.openFolders("main", "x", "y")
	s.person("dev", sluice.RoleDeveloper)
	of := func(scopes ...string) string { return s.token(engine.NewToken{Email: "dev@x.org", Scopes: scopes}) }
	limitedHash := s.object(s.ok(200, "GET", "/api/w/main/scripts/get/p/f/x/limited", ""))["hash"].(string)
	hash := s.names.Replace("HASH")
	hook, reader, writer := of("jobs:run:scripts:f/x/hello"), of("scripts:read:f/x/hello"), of("scripts:write:f/y/*")
	for _, tc := range []struct {
		token, method, path, body string
		status                    int
	}{
		{hook, "POST", "/api/w/main/jobs/run/p/f/x/hello", "", 201},
		{hook, "POST", "/api/w/main/jobs/run/p/f%2Fx%2Fhello", "", 201},
		{hook, "POST", "/api/w/main/jobs/run/p/f/x/limited", "", 403},
		{hook, "POST", "/api/w/main/jobs/run/h/" + hash, "", 201},
		{hook, "POST", "/api/w/main/jobs/run/h/" + limitedHash, "", 403},
		{hook, "GET", "/api/w/main/jobs/run_wait_result/h/" + limitedHash, "", 403},
		{hook, "POST", "/api/w/main/jobs/run/bulk", `{"jobs":[{"path":"f/x/hello"},{"hash":"` + hash + `"}]}`, 201},
		{hook, "POST", "/api/w/main/jobs/run/bulk", `{"jobs":[{"path":"f/x/hello"},{"path":"f/x/limited"}]}`, 403},
		{hook, "POST", "/api/w/main/jobs/run/bulk", `{"jobs":[{"preview":{"content":"echo","language":"bash"}}]}`, 403},
		{hook, "POST", "/api/w/main/jobs/run/preview", `{"content":"echo","language":"bash"}`, 403},
		{hook, "GET", "/api/w/main/jobs/list", "", 403},
		{reader, "GET", "/api/w/main/scripts/get/h/" + hash, "", 200},
		{reader, "GET", "/api/w/main/scripts/get/h/" + limitedHash, "", 403},
		{reader, "GET", "/api/w/main/scripts/list", "", 403},
		{writer, "POST", "/api/w/main/scripts/create", `{"path":"f/y/new","content":"","language":"bash"}`, 201},
		{writer, "POST", "/api/w/main/scripts/create", `{"path":"f/x/new","content":"","language":"bash"}`, 403},
		{writer, "POST", "/api/w/main/scripts/archive/h/" + hash, "", 403},
		{writer, "POST", "/api/users/tokens/create", "{}", 403},
	} {
		s.wants(tc.status, s.as(tc.token, tc.method, tc.path, tc.body), tc.method+" "+tc.path+" "+tc.body)
	}
}

// TestOperators run what is saved, whatever way they ask, and cancel their own
// jobs.
func TestOperators(t *testing.T) {
	s := newScene(t)
	s.openFolders("main", "x")
	op := s.person("op", sluice.RoleOperator)
	dev := s.person("dev", sluice.RoleDeveloper)
	const preview = `{"jobs":[{"preview":{"content":"echo","language":"bash"}}]}`
	s.wants(403, s.as(op, "POST", "/api/w/main/jobs/run/bulk", preview), "code that is not saved, in bulk")
	s.wants(201, s.as(dev, "POST", "/api/w/main/jobs/run/bulk", preview), "the same by a developer")
	own := s.as(op, "POST", "/api/w/main/jobs/run/p/f/x/hello", "")
	s.wants(201, own, "what is saved")
	j := s.object(s.as(op, "GET", "/api/w/main/jobs_u/get/"+own.body, "").body)
	if j["created_by"] != "op" || j["email"] != "op@x.org" {
		t.Errorf("pushed by %v, %v", j["created_by"], j["email"])
	}
	s.wants(403, s.as(op, "POST", s.names.Replace("/api/w/main/jobs_u/queue/cancel/WAITING"), ""), "another's job")
	s.wants(403, s.as(op, "POST", s.names.Replace("/api/w/main/jobs_u/queue/force_cancel/RUNNING"), ""), "by force")
	s.wants(200, s.as(op, "POST", "/api/w/main/jobs_u/queue/cancel/"+own.body, ""), "its own job")
	s.wants(200, s.as(dev, "POST", s.names.Replace("/api/w/main/jobs_u/queue/cancel/WAITING"), ""), "another's job by a developer")
	if me := s.as(op, "GET", "/api/w/main/users/whoami", ""); !strings.Contains(me.body, `"is_admin":false,"is_super_admin":false`) || !strings.Contains(me.body, `"operator":true`) {
		t.Errorf("whoami: %s", me.body)
	}
}

// TestTwoWorkspaces (row E2): what somebody may not read is not there for it,
// but counts where a key is shared.
func TestTwoWorkspaces(t *testing.T) {
	s := newScene(t)
	ann := s.person("ann", sluice.RoleOperator)
	s.ok(201, "POST", "/api/workspaces/create", `{"id":"two","name":"Two"}`)
	s.ok(201, "POST", "/api/w/two/scripts/create", `{"path":"f/y","content":"","language":"bash",`+limited+`}`)
	s.openFolders("main", "x")
	s.openFolders("two", "y")
	other := s.ok(201, "POST", "/api/w/two/jobs/run/p/f/y", "")
	if got := s.as(ann, "GET", "/api/workspaces/list", "").body; strings.Contains(got, `"two"`) || !strings.Contains(got, `"main"`) {
		t.Errorf("workspaces: %s", got)
	}
	if got := s.as(ann, "GET", "/api/workspaces/users", "").body; strings.Contains(got, `"two"`) || !strings.Contains(got, `"username":"ann"`) {
		t.Errorf("memberships: %s", got)
	}
	if got := s.as(ann, "POST", "/api/workspaces/exists", `{"id":"two"}`).body; got != "false" {
		t.Errorf("exists: %s", got)
	}
	s.wants(404, s.as(ann, "GET", "/api/w/two/jobs_u/get/"+other, ""), "a job of another workspace")
	s.wants(404, s.as(ann, "GET", "/api/w/main/jobs_u/get/"+other, ""), "asked here")
	s.wants(404, s.as(ann, "GET", "/api/jobs/completed/count_by_tag?workspace_id=two", ""), "counts of another workspace")
	s.wants(400, s.as(ann, "GET", "/api/jobs/completed/count_by_tag", ""), "counts of all")
	s.wants(200, s.as(ann, "GET", "/api/jobs/completed/count_by_tag?workspace_id=main", ""), "counts")
	s.wants(404, s.as(ann, "GET", "/api/concurrency_groups/"+other+"/key", ""), "its key")
	s.wants(403, s.as(ann, "GET", "/api/w/admins/jobs/list?all_workspaces=true", ""), "all workspaces")
	list := s.as(ann, "GET", "/api/w/main/concurrency_groups/list_jobs?concurrency_key=k/1", "").body
	if strings.Contains(list, other) || !strings.Contains(list, `"obscured_jobs":[{"typ":"QueuedJob"`) || !strings.Contains(list, s.names.Replace("WAITING")) {
		t.Errorf("jobs of the key: %s", list)
	}
	filtered := s.as(ann, "GET", "/api/w/main/concurrency_groups/list_jobs?concurrency_key=k/1&created_by=admin", "").body
	if strings.Contains(filtered, `"typ"`) || !strings.Contains(filtered, `"omitted_obscured_jobs":true`) {
		t.Errorf("filtered: %s", filtered)
	}
	if err := s.e.AddMember(t.Context(), "two", "ann@x.org", sluice.RoleOperator); err != nil {
		t.Fatal(err)
	}
	if list := s.as(ann, "GET", "/api/w/main/concurrency_groups/list_jobs?concurrency_key=k/1", "").body; !strings.Contains(list, other) {
		t.Errorf("a member of both: %s", list)
	}
	s.wants(200, s.as(ann, "GET", "/api/concurrency_groups/"+other+"/key", ""), "its key")
}

// unrecorded are changes that leave no entry in the audit log, and why.
var unrecorded = map[string]string{
	"plan": "changes nothing", "previewSchedule": "changes nothing", "exists": "changes nothing",
	"JsonSchema": "changes nothing", "RawTemp": "stores nothing", "Draft": "refused", "Snapshot": "refused", "Progress": "a job speaks of itself",
	"work": "a worker does its work", "UserState": "a flow takes a note",
	"SuspendedJob": "who has the link is nobody known; the flow's job names who approved",
}

// TestEveryChangeIsRecorded plays the table of routes: a change that was made
// leaves one entry, nothing else any, and none holds a secret.
func TestEveryChangeIsRecorded(t *testing.T) {
	s := newScene(t)
	ids := map[string]string{}
	for path, item := range s.api.huma.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete} {
			if op == nil {
				continue
			}
			ids[method+" "+path] = op.OperationID
			// A job names who pushed it.
			explained := rights[op.OperationID].scope.action == "run" || slices.ContainsFunc(slices.Collect(maps.Keys(unrecorded)), func(part string) bool { return strings.Contains(op.OperationID, part) })
			if method != "GET" && rights[op.OperationID].audit == "" && !explained {
				t.Errorf("%s %s (%s) changes something and is not recorded", method, path, op.OperationID)
			}
		}
	}
	count := func() int {
		list, err := s.e.AuditEntries(context.Background(), store.AuditFilter{Limit: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if text := string(e.Parameters) + e.Resource; strings.Contains(text, rigPassword) || strings.Contains(text, "long enough") {
				t.Errorf("an entry holds a secret: %+v", e)
			}
		}
		return len(list)
	}
	recorded, before := 0, count()
	for _, row := range routeTable {
		method, _, _ := strings.Cut(row.route, " ")
		got := s.do(method, s.names.Replace(row.path), s.names.Replace(row.body))
		want, id := 0, ids[strings.TrimSuffix(strings.ReplaceAll(row.route, "...}", "}"), "{$}")]
		if rights[id].audit != "" && got.status < http.StatusBadRequest {
			want = 1
		}
		now := count()
		if now-before != want {
			t.Errorf("%s %s (%s, status %d) left %d entries, want %d", method, row.path, id, got.status, now-before, want)
		}
		recorded, before = recorded+want, now
	}
	if recorded < 20 {
		t.Errorf("only %d changes were recorded", recorded)
	}
}
