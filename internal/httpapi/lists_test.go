package httpapi

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice"
)

// TestPagingQuirk pages through scripts as the command line does, from 0, and
// as everybody else does, from 1 with 0 for 1.
func TestPagingQuirk(t *testing.T) {
	r := newRig(t)
	for i := range 23 {
		r.script(fmt.Sprintf("f/p/s%02d", i), "")
	}
	page := func(n int, headers ...string) (paths []string) {
		for _, s := range r.list(r.ok(200, "GET", fmt.Sprintf("/api/w/main/scripts/list?page=%d&per_page=10&show_archived=false&include_without_main=false&include_draft_only=true", n), "", headers...)) {
			paths = append(paths, s.(map[string]any)["path"].(string))
		}
		return paths
	}
	seen := map[string]bool{}
	for n, want := range []int{10, 10, 3, 0} {
		got := page(n, "X-Windmill-Client", "cli")
		if len(got) != want {
			t.Errorf("command line, page %d: %d rows, want %d", n, len(got), want)
		}
		for _, p := range got {
			if seen[p] {
				t.Errorf("%s came twice", p)
			}
			seen[p] = true
		}
	}
	if len(seen) != 23 {
		t.Errorf("%d scripts", len(seen))
	}
	if a, b := page(0), page(1); fmt.Sprint(a) != fmt.Sprint(b) || len(a) != 10 {
		t.Errorf("pages 0 and 1 differ for others: %v %v", a, b)
	}
	if got := page(3); len(got) != 3 {
		t.Errorf("page 3: %v", got)
	}
}

func TestLongListsComeWholeAndInOrder(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	const n = 3*listPiece + 7
	jobs := strings.TrimSuffix(strings.Repeat(`{"path":"f/a"},`, n), ",")
	var pushed idsJSON
	r.read(r.ok(201, "POST", "/api/w/main/jobs/run/bulk", `{"jobs":[`+jobs+`]}`), &pushed)
	listed := func(query string) (ids []string) {
		r.read(r.ok(200, "GET", "/api/w/main/jobs/queue/list_filtered_uuids?"+query, ""), &ids)
		return ids
	}
	all := listed("per_page=100000")
	if len(all) != n {
		t.Fatalf("%d jobs, want %d", len(all), n)
	}
	for i, id := range all {
		if id != pushed.IDs[n-1-i] {
			t.Fatalf("place %d: not newest first", i)
		}
	}
	if got := listed("per_page=100000&order_desc=false"); fmt.Sprint(got) != fmt.Sprint(pushed.IDs) {
		t.Error("not oldest first")
	}
	if got := listed("page=2&per_page=250"); fmt.Sprint(got) != fmt.Sprint(all[250:500]) {
		t.Errorf("page 2 of 250: %d rows", len(got))
	}
	if got := listed("page=3&per_page=300"); fmt.Sprint(got) != fmt.Sprint(all[600:]) {
		t.Errorf("the last page: %d rows", len(got))
	}
	if got := len(r.list(r.ok(200, "GET", "/api/w/main/jobs/list", ""))); got != defaultPerPage {
		t.Errorf("%d rows by default", got)
	}
}

func TestJobFilters(t *testing.T) {
	s := newScene(t)
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for query, want := range map[string]string{
		"":                                   "ENDED FAILED RUNNING WAITING",
		"script_path_exact=f/x/limited":      "RUNNING WAITING",
		"script_path_start=f/x/h":            "ENDED FAILED",
		"tag=other":                          "",
		"created_by=admin":                   "ENDED FAILED RUNNING WAITING",
		"created_by=ann":                     "",
		"worker=w1":                          "ENDED FAILED RUNNING",
		"job_kinds=!script":                  "",
		"job_kinds=preview,flow":             "",
		"running=false":                      "ENDED FAILED WAITING",
		"success=true":                       "ENDED",
		"status=success":                     "ENDED",
		"status=failure":                     "FAILED",
		"status=canceled":                    "",
		"status=failure&success=false":       "FAILED",
		"status=failure&success=true":        "",
		"script_hash=HASH":                   "ENDED FAILED",
		"created_after=" + future:            "",
		"created_or_started_after=" + future: "",
		"completed_before=" + future:         "ENDED FAILED",
		"started_before=" + future:           "ENDED FAILED RUNNING",
		"is_flow_step=true":                  "",
		"schedule_path=x":                    "",
		"suspended=true":                     "",
		"is_skipped=true":                    "",
		"is_skipped=false":                   "ENDED FAILED RUNNING WAITING",
		"has_null_parent=true":               "ENDED FAILED RUNNING WAITING",
		"has_null_parent=false":              "",
		"is_flow_step=false":                 "ENDED FAILED RUNNING WAITING",
		"schedule_path=!x":                   "ENDED FAILED RUNNING WAITING",
		"trigger_kind=webhook":               "",
		"trigger_kind=!schedule,http":        "ENDED FAILED RUNNING WAITING",
		"is_not_schedule=true":               "ENDED FAILED RUNNING WAITING",
		"tag=gpu,bash":                       "ENDED FAILED RUNNING WAITING",
		"tag=!gpu,bash":                      "",
		"tag=!gpu":                           "ENDED FAILED RUNNING WAITING",
		"tag=ba*":                            "",
		"tag=ba*&allow_wildcards=true":       "ENDED FAILED RUNNING WAITING",
		"script_path_exact=!f/x/limited":     "ENDED FAILED",
		"script_path_exact=f/x/limited,f/no": "RUNNING WAITING",
		"script_path_exact=*/limited&allow_wildcards=true": "RUNNING WAITING",
		"script_path_start=!f/x/h":                         "RUNNING WAITING",
		"script_path_start=f/x/h,f/x/l":                    "ENDED FAILED RUNNING WAITING",
		"created_by=!admin":                                "",
		"worker=!w2":                                       "ENDED FAILED RUNNING WAITING",
		"script_hash=!hash":                                "RUNNING WAITING",
		"job_kinds=!preview,flow":                          "ENDED FAILED RUNNING WAITING",
		"label=x":                                          "",
		"label=!x":                                         "ENDED FAILED RUNNING WAITING",
		"broad_filter=LIMIT":                               "RUNNING WAITING",
		`args={"name":"you"}`:                              "ENDED",
		`args={"n":12345678901234567890}`:                  "WAITING",
		`args={"n":12345678901234567891}`:                  "",
		`args={}`:                                          "ENDED FAILED RUNNING WAITING",
		`result={"error":{"name":"ExecutionErr"}}`:         "FAILED",
		`result={"said":"hi"}&args={"name":"you"}`:         "ENDED",
		`result={"said":"hi"}&args={"name":"x"}`:           "",
		"created_after_queue=" + future:                    "",
		"created_before_queue=" + future:                   "ENDED FAILED RUNNING WAITING",
		"parent_job=ENDED":                                 "",
		"scheduled_for_before_now=true":                    "ENDED FAILED RUNNING WAITING",
		"unknown_parameter=1":                              "ENDED FAILED RUNNING WAITING",
	} {
		body := s.ok(200, "GET", "/api/w/main/jobs/list?"+escapeQuery(strings.ReplaceAll(s.names.Replace(query), "!hash", "!"+s.names.Replace("HASH"))), "")
		var got []string
		for _, name := range []string{"ENDED", "FAILED", "RUNNING", "WAITING"} {
			if strings.Contains(body, `"id":"`+s.names.Replace(name)+`"`) {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %v, want %s", query, got, want)
		}
	}
	for _, query := range []string{"parent_job=x", "page=-1", "running=maybe", "created_after=now", "per_page=1000000", "args=[]", "args={", "result={\"a\":1,\"a\":2}", "tag=,", "tag=!", "worker=" + strings.Repeat("x,", 101)} {
		got := s.do("GET", "/api/w/main/jobs/list?"+escapeQuery(query), "")
		field, _, _ := strings.Cut(query, "=")
		if got.status != 400 || !strings.HasPrefix(got.body, field+": ") {
			t.Errorf("%q: %d %s", query, got.status, got.body)
		}
	}
}

// escapeQuery escapes what JSON holds and a query may not.
func escapeQuery(q string) string {
	return strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22", "[", "%5B", "]", "%5D").Replace(q)
}

// TestSearchIsBounded: a search without an index looks at so many jobs and no more.
func TestSearchIsBounded(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	jobs := strings.TrimSuffix(strings.Repeat(`{"path":"f/a"},`, 10_000), ",")
	for range 2 {
		r.ok(201, "POST", "/api/w/main/jobs/run/bulk", `{"jobs":[`+jobs+`]}`)
	}
	r.run("f/a", "")
	got := r.do("GET", "/api/w/main/jobs/list?args=%7B%22a%22:1%7D", "")
	if got.status != 400 || !strings.Contains(got.body, "more than 20000 jobs") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs/list?args=%7B%7D&per_page=2", ""); strings.Count(got, `"id"`) != 2 {
		t.Errorf("%s", got)
	}
}

// TestObscured checks what somebody who is no super-admin would see of jobs
// and holders in another workspace (row E2 of the cases).
func TestObscured(t *testing.T) {
	ann := caller{Username: "ann", Roles: map[string]sluice.Role{"main": sluice.RoleOperator}}
	admin := caller{Username: "admin", SuperAdmin: true}
	for _, tc := range []struct {
		c    caller
		at   string
		want bool
	}{{ann, "main", true}, {ann, "other", false}, {admin, "other", true}, {caller{}, "main", false}} {
		if tc.c.memberOf(tc.at) != tc.want {
			t.Errorf("%+v sees %s: %v", tc.c, tc.at, !tc.want)
		}
	}
	w := func() *sluice.Wait {
		return &sluice.Wait{Slots: []sluice.WaitSlot{{JobID: "a"}, {JobID: "b"}, {JobID: "gone"}}}
	}
	got := w()
	obscureWait(got, map[string]bool{"a": true, "b": false})
	if s := got.Slots; s[0].JobID != "a" || s[0].Obscured || s[1].JobID != "" || !s[1].Obscured || !s[2].Obscured || len(s) != 3 {
		t.Errorf("%+v", s)
	}
	b, _ := marshal(obscure(&sluice.Job{ID: "b", Workspace: "other", State: sluice.StateRunning, StartedAt: time.Unix(1, 0)}))
	if string(b) != `{"typ":"QueuedJob","started_at":"1970-01-01T00:00:01Z"}` {
		t.Errorf("%s", b)
	}
}

func TestListJobsOfAGroupInAllWorkspaces(t *testing.T) {
	s := newScene(t)
	s.ok(201, "POST", "/api/workspaces/create", `{"id":"two","name":"Two"}`)
	s.ok(201, "POST", "/api/w/two/scripts/create", `{"path":"f/y","content":"","language":"bash",`+limited+`}`)
	other := s.ok(201, "POST", "/api/w/two/jobs/run/p/f/y", "")
	body := s.ok(200, "GET", "/api/w/main/concurrency_groups/list_jobs?concurrency_key=k/1&row_limit=10", "")
	if !strings.Contains(body, other) || !strings.Contains(body, `"workspace_id":"two"`) {
		t.Errorf("the super-admin sees all jobs of a key: %s", body)
	}
	if body := s.ok(200, "GET", "/api/w/main/concurrency_groups/list_jobs", ""); strings.Contains(body, other) {
		t.Errorf("without a key: this workspace alone: %s", body)
	}
	if got := s.do("GET", "/api/w/main/jobs_u/get/"+other, ""); got.status != 404 {
		t.Errorf("a job of another workspace: %d", got.status)
	}
	if got := s.do("GET", "/api/w/main/jobs_u/events/"+other, ""); got.status != 404 {
		t.Errorf("events of a job of another workspace: %d", got.status)
	}
	if got := s.do("GET", "/api/w/main/concurrency_groups/list_jobs?success=true&running=true", ""); got.status != 400 {
		t.Errorf("%d", got.status)
	}
}

// TestListsOfAKey asks lists and counts for the jobs of one concurrency key,
// and for those that are not due yet.
func TestListsOfAKey(t *testing.T) {
	r := newRig(t)
	r.script("f/a", `"concurrent_limit":1,"concurrency_key":"k/$args[x]"`)
	r.script("f/b", "")
	one := r.run("f/a", `{"x":"1"}`)
	r.run("f/a", `{"x":"2"}`)
	r.run("f/b", "")
	later := r.ok(201, "POST", "/api/w/main/jobs/run/p/f/a?scheduled_in_secs=3600", `{"x":"1"}`)
	ids := func(route string) (out []string) {
		for _, j := range r.list(r.ok(200, "GET", route, "")) {
			out = append(out, j.(map[string]any)["id"].(string))
		}
		return out
	}
	for route, want := range map[string]string{
		"/api/w/main/jobs/list?concurrency_key=k/1":                                     fmt.Sprint([]string{later, one}),
		"/api/w/main/jobs/queue/list?concurrency_key=k/1&scheduled_for_before_now=true": fmt.Sprint([]string{one}),
		"/api/w/main/jobs/list?scheduled_for_after_now=true":                            fmt.Sprint([]string{later}),
		"/api/w/main/jobs/list?concurrency_key=":                                        "[]", // an empty key is a key
	} {
		if got := fmt.Sprint(ids(route)); got != want {
			t.Errorf("%s: %s, want %s", route, got, want)
		}
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs/queue/count?concurrency_key=k/2", ""); !strings.Contains(got, `"database_length":1`) {
		t.Errorf("counted %s", got)
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/get/"+one, ""); !strings.Contains(got, `"concurrency_key":"k/1"`) {
		t.Errorf("a job does not show its key: %s", got)
	}
}
