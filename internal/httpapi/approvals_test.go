package httpapi

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/engine"
)

// waitsForTwo is a flow that waits for two approvals after its first step.
const waitsForTwo = `{"path":"f/a/waits","value":{"modules":[
 {"id":"a","value":{"type":"rawscript","language":"bash","content":"echo a","input_transforms":{}},
  "suspend":{"required_events":2,"resume_form":{"schema":{"properties":{"why":{"type":"string"}}}}}},
 {"id":"b","value":{"type":"rawscript","language":"bash","content":"echo b","input_transforms":{"all":{"type":"javascript","expr":"resumes"}}}}]}}`

// TestApprovals: a step makes links with the token of its job; whoever has one
// follows it, without a token.
func TestApprovals(t *testing.T) {
	r := newRig(t)
	r.ok(201, "POST", "/api/w/main/flows/create", waitsForTwo)
	id := r.ok(201, "POST", "/api/w/main/jobs/run/f/f/a/waits", `{}`)
	other := r.ok(201, "POST", "/api/w/main/jobs/run/f/f/a/waits", `{}`)
	a := r.next()
	links := func(nonce, approver string) (l resumeURLsJSON) {
		got := r.as(a.Token, "GET", "/api/w/main/jobs/resume_urls/"+a.JobID+"/"+nonce+"?approver="+approver, "")
		if got.status != 200 {
			t.Fatalf("links: %d %s", got.status, got.body)
		}
		r.read(got.body, &l)
		return l
	}
	if a.ParentJob != id {
		id, other = other, id
	}
	ann, bob, eve := links("1", "ann"), links("2", "bob%20b"), links("3", "")
	if got := r.as(a.Token, "GET", "/api/w/main/jobs/job_signature/"+other+"/1", ""); got.status != http.StatusForbidden {
		t.Errorf("a job signs for another flow: %d %s", got.status, got.body)
	}
	follow := func(want int, method, link, body string) string {
		t.Helper()
		got := r.raw(method, link[strings.Index(link, "/api/"):], body)
		if got.status != want {
			t.Errorf("%s %s: %d %s; want %d", method, link, got.status, got.body, want)
		}
		return got.body
	}
	if got := follow(201, "POST", ann.Resume, `{"ok":1}`); !strings.Contains(got, "You have approved") { // while the step runs
		t.Error(got)
	}
	follow(403, "GET", strings.Replace(ann.Cancel, "approver=ann", "approver=eve", 1), "")
	follow(400, "GET", bob.Resume+"&payload=e", "")
	suspended := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(r.ok(200, "GET", "/api/w/main/jobs/list_filtered_uuids?suspended=true", "")); got != want {
			t.Errorf("suspended are %s, want %s", got, want)
		}
	}
	suspended(`[]`)
	r.finish(a, true, `"a"`)
	suspended(`["` + id + `"]`)
	place, _, _ := strings.Cut(strings.TrimPrefix(bob.Resume, "/api/w/main/jobs_u/resume/"), "?")
	parts := strings.Split(place, "/")
	if want := "/#/main/approve/" + parts[0] + "?approver=bob+b&n=2&signature=" + parts[2]; bob.ApprovalPage != want {
		t.Errorf("the page to approve: %s; want %s", bob.ApprovalPage, want)
	}
	page := follow(200, "GET", strings.Replace(bob.Resume, "/resume/", "/get_flow/", 1), "")
	for _, part := range []string{`"approvers":[{"resume_id":1,"approver":"ann"}]`, `"step":"a"`, `"count":2`, `"form_schema":{"properties":`, `"type":"WaitingForEvents"`, `"id":"` + id + `"`, `"args"`} {
		if has := strings.Contains(page, part); has != (part != `"args"`) {
			t.Errorf("what the link is about has %s: %v: %s", part, has, page)
		}
	}
	follow(200, "GET", bob.Resume+"&payload="+base64.URLEncoding.EncodeToString([]byte(`"~~~ü?"`)), "")
	suspended(`[]`)
	follow(409, "GET", eve.Cancel, "")
	var b sluice.Assignment
	for b = r.next(); b.ParentJob != id; b = r.next() {
		r.finish(b, true, `"other"`)
	}
	if string(b.Args) != `{"all":[{"ok":1},"~~~ü?"]}` {
		t.Errorf("the next step: %s", b.Args)
	}
}

// TestApproveAsOwner: who has started the flow, and administrators, need no link.
func TestApproveAsOwner(t *testing.T) {
	s := newScene(t)
	s.openFolders("main", "a")
	tokens := map[string]string{}
	for who, role := range map[string]sluice.Role{"owner": sluice.RoleOperator, "else": sluice.RoleOperator, "dev": sluice.RoleDeveloper, "boss": sluice.RoleAdmin} {
		s.user(who+"@x.org", false)
		if err := s.e.AddMember(t.Context(), "main", who+"@x.org", role); err != nil {
			t.Fatal(err)
		}
		tokens[who] = s.token(engine.NewToken{Email: who + "@x.org"})
	}
	s.ok(201, "POST", "/api/w/main/flows/create", waitsForTwo)
	id := s.as(tokens["owner"], "POST", "/api/w/main/jobs/run/f/f/a/waits", `{}`).body
	s.finish(s.next(), true, `"a"`)
	resume, cancel := "/api/w/main/jobs/flow/resume/"+id, "/api/w/main/jobs/flow/disapprove/"+id
	sign := "/api/w/main/jobs/job_signature/" + id + "/1"
	for _, c := range []struct {
		who, method, path string
		want              int
	}{
		{"else", "POST", resume, 403},
		{"dev", "POST", resume, 403},
		{"else", "POST", cancel, 403},
		{"else", "GET", sign, 403},
		{"dev", "GET", sign, 200},
		{"owner", "GET", sign, 200},
		{"owner", "POST", resume, 201},
		{"boss", "POST", cancel, 201},
		{"boss", "POST", resume, 409},
	} {
		if got := s.as(tokens[c.who], c.method, c.path, ""); got.status != c.want {
			t.Errorf("%s: %s %s: %d %s; want %d", c.who, c.method, c.path, got.status, got.body, c.want)
		}
	}
	if got := s.ok(200, "GET", "/api/w/main/jobs_u/completed/get/"+id, ""); !strings.Contains(got, "was disapproved by boss") {
		t.Error(got)
	}
}

// TestNobodySignsForAHiddenFlow: whoever may change the script that a flow calls
// may not make links for a flow that he may not even see.
func TestNobodySignsForAHiddenFlow(t *testing.T) {
	s := newTeam(t)
	for _, c := range [][2]string{
		{"scripts/create", `{"path":"anywhere","content":"","language":"bash"}`},
		{"flows/create", `{"path":"u/boss/waits","value":{"modules":[{"id":"a","value":{"type":"script","path":"anywhere","input_transforms":{}},"suspend":{"required_events":1}}]}}`},
		{"jobs/run/f/u/boss/waits", "{}"},
	} {
		if code, body := s.ask("boss", "POST", c[0], c[1]); code != 201 {
			t.Fatalf("%s: %d %s", c[0], code, body)
		}
	}
	step := s.next().JobID
	for who, want := range map[string]int{"stranger": 404, "op": 403, "boss": 200} {
		for _, what := range []string{"job_signature", "resume_urls"} {
			if code, body := s.ask(who, "GET", "jobs/"+what+"/"+step+"/1", ""); code != want {
				t.Errorf("%s by %s: %d %s; want %d", what, who, code, body, want)
			}
		}
	}
}
