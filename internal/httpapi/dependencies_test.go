package httpapi

import (
	"context"
	"strings"
	"testing"
	"time"

	"sluice"
)

// takeTag takes one job of a tag.
func (r *rig) takeTag(tag string) sluice.Assignment {
	r.t.Helper()
	r.takes++
	as, err := r.e.TakeNow(context.Background(), sluice.TakeRequest{Worker: "w1", TakeNo: r.takes, Tags: []string{tag}, Places: 1})
	if err != nil || len(as) != 1 {
		r.t.Fatalf("took %v with tag %s: %v", as, tag, err)
	}
	return as[0]
}

const askLock = `{"raw_scripts":[{"raw_code":"import x","language":"python3","script_path":"f/a/new"}],` +
	`"raw_workspace_dependencies":null,"entrypoint":"f/a/new","temp_script_refs":null}`

// The command line sends its token for this call in a cookie alone.
func TestDependenciesAsTheCommandLineAsks(t *testing.T) {
	r := newRig(t)
	got := r.raw("POST", "/api/w/main/jobs/run/dependencies_async", askLock, "Cookie", "token="+testToken, "Content-Type", "application/json")
	if got.status != 201 || !strings.HasPrefix(got.mime, "text/plain") {
		t.Fatalf("%+v", got)
	}
	if got := r.raw("POST", "/api/w/main/jobs/run/dependencies_async", askLock, "Cookie", "token=other"); got.status != 401 {
		t.Errorf("with another token: %+v", got)
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs/queue/list?job_kinds=dependencies&created_after=2020-01-01T00:00:00Z", ""); !strings.Contains(got, `"job_kind":"dependencies"`) {
		t.Error(got)
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs/queue/list?job_kinds=script,preview", ""); got != "[]" {
		t.Error(got)
	}
	a := r.takeTag("dependency")
	if a.JobID != got.body || a.Kind != sluice.KindDependencies || a.Content != "import x" || a.Path != "f/a/new" || a.CreatedBy != "admin" {
		t.Errorf("%+v", a)
	}
	r.finish(a, true, `{"lock":"x==1"}`)
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/completed/get_result_maybe/"+a.JobID, ""); !strings.Contains(got, `"result":{"lock":"x==1"}`) {
		t.Error(got)
	}
	for _, bad := range []string{
		`{"raw_scripts":[]}`, `{"raw_scripts":[{"raw_code":"","language":"python3","script_path":"a"},{"raw_code":"","language":"go","script_path":"b"}]}`,
		`{"raw_scripts":[{"raw_code":"","language":"python3","script_path":"f/a"}],"entrypoint":"f/b"}`,
		`{"raw_scripts":[{"raw_code":"","language":"python3"}]}`, `{"raw_scripts":[{"raw_code":"","language":"A b","script_path":"f/a"}]}`,
		`{"raw_scripts":[{"raw_code":"","language":"python3","script_path":"f/a"}],"raw_workspace_dependencies":{"a":1}}`,
	} {
		if got := r.do("POST", "/api/w/main/jobs/run/dependencies_async", bad); got.status != 400 {
			t.Errorf("%s: %+v", bad, got)
		}
	}
}

func TestDependenciesWaitedFor(t *testing.T) {
	r := newRig(t)
	done := make(chan reply)
	go func() {
		got := r.do("POST", "/api/w/main/jobs/run/dependencies?timeout_s=30", askLock)
		done <- got
	}()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	go func() { _ = r.e.Run(ctx) }()
	as, err := r.e.Take(ctx, sluice.TakeRequest{Worker: "w1", TakeNo: 1, Tags: []string{"dependency"}, Places: 1, Wait: 30 * time.Second})
	if err != nil || len(as) != 1 {
		t.Fatal(as, err)
	}
	r.finish(as[0], true, `{"lock":""}`)
	if got := <-done; got.status != 200 || got.body != `{"lock":""}` {
		t.Errorf("%+v", got)
	}
}

// scripts/get shows the pushed lock, else the one that was made, else null; the
// push is compared with what was pushed.
func TestLockOfAScriptIsShown(t *testing.T) {
	r := newRig(t)
	const push = `{"path":"f/a/p","content":"import x","language":"python3"}`
	save := func(body string) string {
		return r.ok(201, "POST", "/api/w/main/scripts/create?skip_if_noop=true", body)
	}
	shown := func(path string) map[string]any { return r.object(r.ok(200, "GET", "/api/w/main/"+path, "")) }
	hash := save(push)
	status := "scripts/deployment_status/h/" + hash
	for _, path := range []string{"scripts/get/p/f/a/p", "scripts/get/h/" + hash, status} {
		if got := shown(path); got["lock"] != nil || got["lock_error_logs"] != nil {
			t.Errorf("%s: %v", path, got)
		}
	}
	r.finish(r.takeTag("dependency"), false, `{"error":{"name":"X","message":"no such package"}}`)
	for _, path := range []string{"scripts/get/p/f/a/p", status} {
		if got := shown(path); got["lock"] != nil || got["lock_error_logs"] != "no such package" {
			t.Errorf("%s: %v", path, got)
		}
	}
	if got := r.list(r.ok(200, "GET", "/api/w/main/jobs/completed/list?job_kinds=dependencies&success=false&created_after=2020-01-01T00:00:00Z", "")); len(got) != 1 {
		t.Errorf("%v", got)
	}
	hash = save(strings.Replace(push, "{", `{"summary":"x",`, 1))
	r.finish(r.takeTag("dependency"), true, `{"lock":"x==1"}`)
	for _, path := range []string{"scripts/get/p/f/a/p", "scripts/get/h/" + hash, "scripts/deployment_status/h/" + hash} {
		if got := shown(path); got["lock"] != "x==1" || got["lock_error_logs"] != nil {
			t.Errorf("%s: %v", path, got)
		}
	}
	if again := save(strings.Replace(push, "{", `{"summary":"x","lock":null,`, 1)); again != hash {
		t.Errorf("the same push made %s of %s", again, hash)
	}
	save(strings.Replace(push, "{", `{"lock":"",`, 1))
	if got := shown("scripts/get/p/f/a/p"); got["lock"] != "" {
		t.Errorf("an empty lock is not shown as it was pushed: %v", got)
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs/queue/list?job_kinds=dependencies", ""); got != "[]" {
		t.Errorf("an empty lock is looked for: %s", got)
	}
	save(`{"path":"f/a/sh","content":"x","language":"bash"}`)
	if got := shown("scripts/get/p/f/a/sh"); got["lock"] != "" {
		t.Errorf("%v", got)
	}
}

// A call runs the script's preprocessor unless it says that it does not want it.
func TestCallsAndPreprocessors(t *testing.T) {
	r := newRig(t)
	r.ok(201, "POST", "/api/w/main/scripts/create", `{"path":"f/a/p","content":"x","language":"python3","lock":"","has_preprocessor":true,"concurrent_limit":1}`)
	id := r.ok(201, "POST", "/api/w/main/jobs/run/p/f/a/p?raw=true&x=1&token=secret-token", `{"a": 1}`, "X-Sig", "s", "Content-Type", "application/vnd.x+json", "Cookie", "a=b")
	if got := r.object(r.ok(200, "GET", "/api/w/main/jobs_u/get/"+id, "")); got["preprocessed"] != false || got["wait"].(map[string]any)["reason"] != "preprocessing" {
		t.Errorf("%v", got)
	}
	a := r.takeTag("python3")
	if a.Entry != sluice.EntryPreprocessor {
		t.Fatalf("%+v", a)
	}
	var args struct {
		Event struct {
			Kind           string
			Raw            string `json:"raw_string"`
			Body           map[string]any
			Query, Headers map[string]string
		}
	}
	r.read(string(a.Args), &args)
	e := args.Event
	if e.Kind != "webhook" || e.Raw != `{"a": 1}` || e.Body["a"] != float64(1) || e.Query["x"] != "1" || e.Headers["x-sig"] != "s" ||
		e.Headers["content-type"] != "application/vnd.x+json" {
		t.Errorf("%s", a.Args)
	}
	if strings.Contains(string(a.Args), testToken) || e.Headers["cookie"] != "" {
		t.Errorf("secrets become arguments: %s", a.Args)
	}
	r.finish(a, true, `{"b":2}`)
	got := r.object(r.ok(200, "GET", "/api/w/main/jobs_u/get/"+id, ""))
	if got["preprocessed"] != true || got["args"].(map[string]any)["b"] != float64(2) {
		t.Errorf("%v", got)
	}
	plain := r.ok(201, "POST", "/api/w/main/jobs/run/p/f/a/p?skip_preprocessor=true", `{"a":1}`)
	if got := r.object(r.ok(200, "GET", "/api/w/main/jobs_u/get/"+plain, "")); got["preprocessed"] != nil || got["args"].(map[string]any)["a"] != float64(1) {
		t.Errorf("%v", got)
	}
}
