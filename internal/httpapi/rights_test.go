package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// team is a workspace in which everybody has other rights.
type team struct {
	*rig
	tokens  map[string]string
	hash    string
	version string
}

var teamPersons = []string{"owner", "writer", "member", "reader", "aclr", "aclw", "stranger", "op"}

func newTeam(t *testing.T) *team {
	s := &team{rig: newServerless(t), tokens: map[string]string{}}
	for _, who := range append([]string{"boss"}, teamPersons...) {
		role := sluice.RoleDeveloper
		switch who {
		case "boss":
			role = sluice.RoleAdmin
		case "op":
			role = sluice.RoleOperator
		}
		email := who + "@x.org"
		s.user(email, false)
		s.must(s.e.AddMember(t.Context(), "main", email, role))
		s.tokens[who] = s.token(engine.NewToken{Email: email})
	}
	for _, c := range [][2]string{
		{"folders/create", `{"name":"team","owners":["u/owner"],"extra_perms":{"u/writer":true,"g/devs":true,"u/reader":false,"u/op":false}}`},
		{"groups/create", `{"name":"devs"}`},
		{"groups/adduser/devs", `{"username":"member"}`},
		{"scripts/create", `{"path":"f/team/secret","content":"","language":"bash"}`},
		{"scripts/create", `{"path":"u/boss/s","content":"","language":"bash"}`},
		{"scripts/create", `{"path":"f/open/s","content":"","language":"bash"}`},
	} {
		if code, body := s.ask("boss", "POST", c[0], c[1]); code >= 300 {
			t.Fatalf("%s: %d %s", c[0], code, body)
		}
	}
	return s
}

func (s *team) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *team) ask(who, method, path, body string) (int, string) {
	s.t.Helper()
	req := httptest.NewRequest(method, "/api/w/main/"+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+s.tokens[who])
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

// restore makes what the last call may have changed or deleted as it was.
func (s *team) restore() {
	ctx := s.t.Context()
	boss := engine.Who{Editor: engine.Editor{Username: "boss", Email: "boss@x.org"}, Admin: true}
	for _, who := range teamPersons { // their own
		_ = s.e.DeleteFlow(ctx, "main", "u/"+who+"/f")
		for _, name := range []string{"c", "d", "e"} {
			_ = s.e.DeleteSchedule(ctx, "main", "u/"+who+"/"+name, boss)
		}
	}
	for _, path := range []string{"f/team/new", "f/team/moved", "f/team/f"} {
		_ = s.e.DeleteFlow(ctx, "main", path)
		_ = s.e.DeleteVariable(ctx, "main", path, boss)
		_ = s.e.DeleteResource(ctx, "main", path, boss)
	}
	_ = s.e.DeleteSchedule(ctx, "main", "f/team/c", boss)
	_ = s.e.DeleteVariable(ctx, "main", "f/team/v", boss)
	_ = s.e.DeleteResource(ctx, "main", "f/team/r", boss)
	var err error
	s.hash, err = s.e.SaveScript(ctx, "main", engine.NewScript{Body: json.RawMessage(`{"path":"f/team/s","content":"echo","language":"bash"}`), CreatedBy: "boss"})
	s.must(err)
	n, err := s.e.SaveFlow(ctx, "main", engine.NewFlow{Body: json.RawMessage(`{"path":"f/team/f","value":{"modules":[{"id":"a","value":{"type":"identity"}}]}}`), EditedBy: "boss"})
	s.must(err)
	s.version = fmt.Sprint(n)
	path, secret, value, kind := "f/team/v", true, "hush-hush", "db"
	s.must(s.e.CreateVariable(ctx, "main", engine.VariableChange{Path: &path, Value: &value, Secret: &secret}, boss))
	resource := "f/team/r"
	s.must(s.e.CreateResource(ctx, "main", engine.ResourceChange{Path: &resource, Type: &kind, Value: json.RawMessage(`"$var:f/team/v"`)}, false, boss, nil))
	s.must(s.e.CreateSchedule(ctx, "main", json.RawMessage(`{"path":"f/team/c","schedule":"0 0 0 * * *","script_path":"f/team/s","args":{}}`), boss))
	for kind, path := range map[string]string{
		store.KindScript: "f/team/s", store.KindFlow: "f/team/f", store.KindSchedule: "f/team/c", store.KindVariable: "f/team/v", store.KindResource: "f/team/r",
	} {
		s.must(s.e.SetGrant(ctx, "main", kind, path, store.Grant{Who: "u/aclr", Right: store.RightRead}, boss))
		s.must(s.e.SetGrant(ctx, "main", kind, path, store.Grant{Who: "u/aclw", Right: store.RightWrite}, boss))
	}
}

// push pushes a job of boss.
func (s *team) push(n engine.NewJob) string {
	s.t.Helper()
	n.Workspace, n.CreatedBy, n.Email = "main", "boss", "boss@x.org"
	ids, err := s.e.Submit(context.Background(), []engine.NewJob{n})
	s.must(err)
	return ids[0]
}

// TestRightsOnThings asks for every kind of operation on every kind of thing as
// everybody; what is expected stands in a table that a person can read.
func TestRightsOnThings(t *testing.T) {
	f, err := os.Open("testdata/rights.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := newTeam(t)
	rows, changed := 0, true
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		w := strings.Fields(lines.Text())
		fixed := 2 + len(teamPersons)
		body := strings.Join(w[fixed:], " ")
		rows++
		for i, who := range teamPersons {
			if changed {
				s.restore()
			}
			names := strings.NewReplacer("HASH", s.hash, "VERSION", s.version, "ME", who)
			path := names.Replace(w[1])
			for name, n := range map[string]engine.NewJob{"JOB": {Path: "f/team/s"}, "PREVIEW": {Preview: &engine.Preview{Language: "bash"}}} {
				if start, end, found := strings.Cut(path, name); found {
					path = start + s.push(n) + end
				}
			}
			code, answer := s.ask(who, w[0], path, names.Replace(body))
			if fmt.Sprint(code) != w[2+i] {
				t.Errorf("%s by %s: %d, want %s: %s", lines.Text()[:60], who, code, w[2+i], answer)
			}
			changed = code < 300 && w[0] != "GET"
		}
	}
	if rows < 50 {
		t.Errorf("only %d rows", rows)
	}
}

// TestEveryThingIsAskedFor: an operation on a thing that its path names says
// what right it takes.
func TestEveryThingIsAskedFor(t *testing.T) {
	ours := map[string]bool{ // about nothing that somebody could have rights on, or let through by other means
		"deleteDraft": true, "getScriptByPathWithDraft": true, "getSuspendedJobFlow": true, "usernameToEmail": true, "getUser": true, "updateUser": true, "deleteUser": true,
		"resumeSuspendedJobGet": true, "resumeSuspendedJobPost": true, "cancelSuspendedJobGet": true, "cancelSuspendedJobPost": true, "getQueuePosition": true,
	}
	for path, methods := range newScene(t).document() {
		rest, inWorkspace := strings.CutPrefix(path, "/api/w/{workspace}/")
		for _, op := range methods {
			if r := rights[op.OperationID]; inWorkspace && strings.Contains(rest, "{") && r.thing == (thing{}) && !ours[op.OperationID] {
				t.Errorf("%s (%s): rights.go does not say what right on the thing it takes", path, op.OperationID)
			}
		}
	}
}

// TestListsByRight: lists, counts and archives hold what somebody may see, whole
// pages of it, and what only others may see does not show.
func TestListsByRight(t *testing.T) {
	s := newTeam(t)
	s.restore()
	for range 3 {
		s.push(engine.NewJob{Path: "f/team/s"})
		s.push(engine.NewJob{Path: "f/team/secret"})
		s.push(engine.NewJob{Path: "u/boss/s"})
	}
	if code, body := s.ask("stranger", "POST", "jobs/run/preview", `{"content":"","language":"bash","path":"f/team/s"}`); code != 201 {
		t.Fatalf("%d %s", code, body)
	}
	for _, c := range []struct {
		what, path                                    string
		owner, reader, aclr, stranger, op, boss, each int
	}{
		{"scripts", "scripts/list", 2, 2, 1, 0, 2, 4, 1},
		{"flows", "flows/list", 1, 1, 1, 0, 1, 1, 1},
		{"paths of flows", "flows/list_paths", 1, 1, 1, 0, 1, 1, 0},
		{"schedules", "schedules/list", 1, 1, 1, 0, 1, 1, 1},
		{"variables", "variables/list", 1, 1, 1, 0, 1, 1, 1},
		{"resources", "resources/list", 1, 1, 1, 0, 1, 1, 1},
		{"resources of a type", "resources/list?resource_type=db", 1, 1, 1, 0, 1, 1, 1},
		{"folders", "folders/list", 1, 1, 0, 0, 1, 1, 1},
		{"jobs", "jobs/list", 8, 8, 5, 1, 8, 11, 1}, // and a preview, and the run of the schedule that is pushed ahead
		{"queued jobs", "jobs/queue/list", 8, 8, 5, 1, 8, 11, 1},
		{"ids", "jobs/list_filtered_uuids", 8, 8, 5, 1, 8, 11, 0},
	} {
		for who, want := range map[string]int{"owner": c.owner, "reader": c.reader, "aclr": c.aclr, "stranger": c.stranger, "op": c.op, "boss": c.boss} {
			code, body := s.ask(who, "GET", c.path, "")
			var list []json.RawMessage
			if err := json.Unmarshal([]byte(body), &list); code != 200 || err != nil || len(list) != want {
				t.Errorf("%s of %s: %d, %d entries, want %d: %v %s", c.what, who, code, len(list), want, err, body)
			}
			if c.each == 0 || want < 2 {
				continue
			}
			code, body = s.ask(who, "GET", c.path+"?per_page=1&page="+fmt.Sprint(want), "")
			if err := json.Unmarshal([]byte(body), &list); code != 200 || err != nil || len(list) != 1 {
				t.Errorf("the last page of %s of %s: %d %v %s", c.what, who, code, err, body)
			}
		}
	}
	for who, want := range map[string]string{"stranger": `{"database_length":1}`, "boss": `{"database_length":10}`} {
		if code, body := s.ask(who, "GET", "jobs/queue/count", ""); code != 200 || strings.TrimSpace(body) != want {
			t.Errorf("jobs of %s: %d %s, want %s", who, code, body, want)
		}
	}
}

// TestArchivesByRight: so do archives, which hold groups, members and rights if
// they are asked for.
func TestArchivesByRight(t *testing.T) {
	s := newTeam(t)
	s.restore()
	if _, body := s.ask("stranger", "POST", "scripts/raw_temp/diff", `{"scripts":{"f/team/s":"`+strings.Repeat("0", 64)+`"}}`); !strings.Contains(body, "f/team/s") {
		t.Errorf("what cannot be seen counts as absent: %s", body)
	}
	archive := func(who string) string {
		code, body := s.ask(who, "GET", "workspaces/tarball?archive_type=tar&include_schedules=true&include_groups=true&include_users=true&preserve_extra_perms=true", "")
		if code != 200 {
			t.Fatalf("the archive of %s: %d %s", who, code, body)
		}
		return body
	}
	for name, in := range map[string]bool{
		"f/team/s.script.json": false, "f/team/f.flow.json": false, "f/team/c.schedule.json": false, "f/team/v.variable.json": false,
		"f/team/r.resource.json": false, "f/team/folder.meta.json": false, "groups/devs.group.json": true, "users/boss@x.org.user.json": true,
	} {
		if got := strings.Contains(archive("stranger"), name); got != in {
			t.Errorf("the archive of stranger has %s: %v", name, got)
		}
		if !strings.Contains(archive("boss"), name) {
			t.Errorf("the archive of boss has no %s", name)
		}
	}
	if a := archive("aclr"); !strings.Contains(a, "f/team/s.script.json") || strings.Contains(a, "f/team/secret") || !strings.Contains(a, `"u/aclr": false`) {
		t.Errorf("the archive of aclr: %s", a)
	}
}

// TestBelongings: who is in which group and folder is told, and seen at once
// when it changes; a job has the rights of its creator, and no more.
func TestBelongings(t *testing.T) {
	s := newTeam(t)
	s.restore()
	whoami := func(who string, want ...string) {
		t.Helper()
		_, body := s.ask(who, "GET", "users/whoami", "")
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s: %s, want %s", who, body, w)
			}
		}
	}
	whoami("owner", `"groups":["all"]`, `"folders":["team"]`, `"folders_read":["team"]`, `"folders_owners":["team"]`)
	whoami("member", `"groups":["all","devs"]`, `"folders":["team"]`, `"folders_owners":[]`)
	whoami("reader", `"folders":[]`, `"folders_read":["team"]`)
	whoami("stranger", `"folders_read":[]`)
	reads := func(who string, want int) {
		t.Helper()
		if code, body := s.ask(who, "GET", "scripts/get/p/f/team/s", ""); code != want {
			t.Errorf("%s: %d %s, want %d", who, code, body, want)
		}
	}
	for _, step := range []struct {
		path, body string
		who        string
		want       int
	}{
		{"groups/removeuser/devs", `{"username":"member"}`, "member", 404},
		{"groups/adduser/devs", `{"username":"member"}`, "member", 200},
		{"acls/add/folder/team", `{"owner":"g/all","write":false}`, "stranger", 200},
		{"acls/remove/folder/team", `{"owner":"g/all"}`, "stranger", 404},
		{"acls/add/script/f/team/s", `{"owner":"g/all"}`, "stranger", 200},
		{"acls/remove/script/f/team/s", `{"owner":"g/all"}`, "stranger", 404},
		{"folders/update/team", `{"extra_perms":{"g/devs":true}}`, "reader", 404},
		{"folders/removeowner/team", `{"owner":"u/owner"}`, "owner", 404},
	} {
		if code, body := s.ask("boss", "POST", step.path, step.body); code != 200 {
			t.Fatalf("%s: %d %s", step.path, code, body)
		}
		reads(step.who, step.want)
	}
	if code, _ := s.ask("boss", "DELETE", "groups/delete/devs", ""); code != 200 {
		t.Fatal(code)
	}
	reads("member", 404)
	if code, _ := s.ask("boss", "POST", "groups/create", `{"name":"devs"}`); code >= 300 {
		t.Fatal(code)
	}
	if code, _ := s.ask("boss", "POST", "groups/adduser/devs", `{"username":"member"}`); code != 200 {
		t.Fatal(code)
	}
	reads("member", 404) // a group that is made anew has nothing of the old one
	id := s.push(engine.NewJob{Path: "f/open/s"})
	if code, _ := s.ask("stranger", "POST", "scripts/create", `{"path":"anywhere","content":"","language":"bash"}`); code != 201 {
		t.Fatal(code)
	}
	if code, body := s.ask("stranger", "POST", "jobs/run/p/anywhere?job_id="+id, ""); code != 409 || strings.Contains(body, "boss") {
		t.Errorf("the id of a job of somebody else: %d %s", code, body)
	}
}

// TestNobodyTakesOver: a folder or group by a name that has rights already, or
// things or runs below it, is made by administrators alone; a group that is
// deleted is taken out of the folders that name it.
func TestNobodyTakesOver(t *testing.T) {
	s := newTeam(t)
	s.restore()
	for i, step := range []struct {
		who, method, path, body string
		want                    int
	}{
		{"boss", "POST", "folders/create", `{"name":"kept","owners":["g/ops"],"extra_perms":{"g/devs":true}}`, 200},
		{"boss", "POST", "resources/create", `{"path":"g/crew/r","resource_type":"x","value":1}`, 201},
		{"stranger", "POST", "groups/create", `{"name":"ops"}`, 403},
		{"stranger", "POST", "groups/create", `{"name":"crew"}`, 403},
		{"stranger", "POST", "groups/create", `{"name":"fresh"}`, 200},
		{"stranger", "DELETE", "groups/delete/fresh", "", 200},
		{"owner", "POST", "groups/create", `{"name":"fresh"}`, 403},
		{"boss", "POST", "groups/create", `{"name":"fresh"}`, 200},
		{"boss", "DELETE", "groups/delete/devs", "", 200},
		{"stranger", "POST", "groups/create", `{"name":"devs"}`, 403},
		{"boss", "POST", "folders/update/kept", `{"summary":"saved again"}`, 200},
		{"boss", "POST", "groups/create", `{"name":"devs"}`, 200},
		{"boss", "POST", "groups/adduser/devs", `{"username":"stranger"}`, 200},
		{"stranger", "GET", "folders/get/kept", "", 404},
		{"stranger", "POST", "folders/create", `{"name":"mine"}`, 200},
		{"stranger", "DELETE", "folders/delete/mine", "", 200},
		{"owner", "POST", "folders/create", `{"name":"mine"}`, 403},
		{"boss", "POST", "folders/create", `{"name":"mine"}`, 200},
	} {
		if code, body := s.ask(step.who, step.method, step.path, step.body); code != step.want {
			t.Errorf("%d: %s %s by %s: %d, want %d: %s", i, step.method, step.path, step.who, code, step.want, body)
		}
	}
}

// TestWhatIsHiddenIsNotThere: of what somebody may not read he is told what he
// is told of what is not there, whatever he asks by.
func TestWhatIsHiddenIsNotThere(t *testing.T) {
	s := newTeam(t)
	s.restore()
	same := func(method, path, body, hidden, absent string) {
		t.Helper()
		code, got := s.ask("stranger", method, strings.ReplaceAll(path, "THIS", hidden), strings.ReplaceAll(body, "THIS", hidden))
		wantCode, want := s.ask("stranger", method, strings.ReplaceAll(path, "THIS", absent), strings.ReplaceAll(body, "THIS", absent))
		if code != wantCode || strings.ReplaceAll(got, hidden, absent) != want || strings.Contains(got, "f/team") && !strings.Contains(hidden, "f/team") {
			t.Errorf("%s %s:\n%d %s\nof what is not there:\n%d %s", method, path, code, got, wantCode, want)
		}
	}
	none := strings.Repeat("0", len(s.hash)-1) + "1"
	for _, c := range [][2]string{{"GET", "scripts/get/h/THIS"}, {"GET", "scripts/deployment_status/h/THIS"}, {"POST", "jobs/run/h/THIS"}, {"POST", "scripts/archive/h/THIS"}} {
		same(c[0], c[1], "", s.hash, none)
	}
	same("GET", "flows/get/v/THIS", "", s.version, "99999")
	same("POST", "jobs/run/fv/THIS", "{}", s.version, "99999")
	same("POST", "jobs/run/p/THIS", "", "f/team/s", "f/team/absent")
	same("POST", "jobs/run/f/THIS", "", "f/team/f", "f/team/absent")
	same("POST", "schedules/create", `{"path":"THIS","schedule":"0 0 0 * * *","script_path":"u/stranger/s","args":{}}`, "f/team/c", "f/team/absent")
	same("POST", "schedules/update/THIS", `{"schedule":"0 0 0 * * *"}`, "f/team/c", "f/team/absent")
	same("POST", "scripts/create", `{"path":"THIS","content":"","language":"bash"}`, "f/team/s", "f/team/absent")
	same("POST", "flows/create", `{"path":"THIS","value":{"modules":[]}}`, "f/team/f", "f/team/absent")
	same("POST", "variables/create", `{"path":"THIS","value":"x"}`, "f/team/v", "f/team/absent")
	same("POST", "resources/create", `{"path":"THIS","resource_type":"x","value":1}`, "f/team/r", "f/team/absent")
}

// TestOperatorsJobsDoNotWrite: what an operator runs has no more rights than the
// operator.
func TestOperatorsJobsDoNotWrite(t *testing.T) {
	s := newTeam(t)
	s.restore()
	op := engine.Member{Username: "op", Email: "op@x.org", Role: sluice.RoleOperator, Job: true}
	s.must(s.e.SetGrant(t.Context(), "main", store.KindVariable, "f/team/v", store.Grant{Who: "u/op", Right: store.RightWrite}, engine.Who{Admin: true}))
	w, err := s.e.WhoIs(t.Context(), "main", op)
	s.must(err)
	if err := s.e.Allow(t.Context(), "main", store.KindVariable, "f/team/v", w, store.RightWrite); sluice.CodeOf(err) != sluice.CodeForbidden {
		t.Errorf("a job of an operator may write: %v", err)
	}
}
