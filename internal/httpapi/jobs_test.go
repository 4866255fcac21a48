package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"

	"sluice"
)

type update struct {
	Running   bool    `json:"running"`
	Completed bool    `json:"completed"`
	NewLogs   *string `json:"new_logs"`
	LogOffset int64   `json:"log_offset"`
}

func (r *rig) update(id string, running bool, offset int64) update {
	r.t.Helper()
	var u update
	r.read(r.ok(200, "GET", fmt.Sprintf("/api/w/main/jobs_u/getupdate/%s?running=%v&log_offset=%d", id, running, offset), ""), &u)
	return u
}

// TestLogOffsetsCountUTF16 reads a log as the command line does: it keeps its
// own count of UTF-16 code units and ignores the one in the answer.
func TestLogOffsetsCountUTF16(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	id := r.run("f/a", "")
	a := r.take(1)[0]
	whole := ""
	var own int64
	got := ""
	for i, piece := range []string{"one 🎉 line\n", "héllo\n", "👩‍👩‍👧 and\n", "e\u0301 ", "\U0010FFFF end\n"} {
		r.logs(a, int64(len(whole)), piece)
		whole += piece
		u := r.update(id, true, own)
		if u.NewLogs == nil || u.Completed || !u.Running {
			t.Fatalf("piece %d: %+v", i, u)
		}
		got += *u.NewLogs
		own += int64(len(utf16.Encode([]rune(*u.NewLogs))))
		if u.LogOffset != own {
			t.Errorf("piece %d: offset %d, the client counts %d", i, u.LogOffset, own)
		}
	}
	if got != whole {
		t.Errorf("read %q, want %q", got, whole)
	}
	r.finish(a, true, `1`)
	if u := r.update(id, true, own); !u.Completed || u.NewLogs != nil || u.LogOffset != own {
		t.Errorf("at the end: %+v", u)
	}
	if text := r.ok(200, "GET", "/api/w/main/jobs_u/get_logs/"+id, ""); text != whole {
		t.Errorf("log %q", text)
	}
}

// direct hands a request to the API, without a server.
func (r *rig) direct(method, path, body string) reply {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), method, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+testToken)
	w := httptest.NewRecorder()
	r.api.ServeHTTP(w, req)
	return reply{status: w.Code, body: w.Body.String(), header: w.Header()}
}

// TestGetUpdateHolds: the command line asks again as soon as it is answered. A
// job of which nothing is new holds each answer for its time, to the
// nanosecond, and no longer than until something is.
func TestGetUpdateHolds(t *testing.T) {
	if updateHold < 500*time.Millisecond || updateHold > time.Second {
		t.Errorf("held for %v, the contract says half a second to a second", updateHold)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newServerless(t)
		if got := r.direct("POST", "/api/w/main/scripts/create", `{"path":"f/a","content":"","language":"bash"}`); got.status != 201 {
			t.Fatal(got.body)
		}
		id := r.direct("POST", "/api/w/main/jobs/run/p/f/a", "").body
		ask := func() (u update) {
			r.read(r.direct("GET", "/api/w/main/jobs_u/getupdate/"+id+"?running=false&log_offset=0", "").body, &u)
			return u
		}
		for range 10 {
			start := time.Now()
			u := ask()
			if d := time.Since(start); d != updateHold || u.Running || u.Completed || u.NewLogs != nil {
				t.Errorf("nothing new was answered after %v: %+v", d, u)
			}
		}
		done := make(chan update)
		go func() { done <- ask() }()
		synctest.Wait()
		start := time.Now()
		a := r.take(1)[0]
		if u := <-done; !u.Running || u.Completed || time.Since(start) >= updateHold {
			t.Errorf("after %v: %+v", time.Since(start), u)
		}
		r.finish(a, true, `1`)
		start = time.Now()
		if u := ask(); !u.Completed || u.Running || time.Since(start) > 0 {
			t.Errorf("after %v: %+v", time.Since(start), u)
		}
	})
}

func TestALongLogComesWhole(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	id := r.run("f/a", "")
	a := r.take(1)[0]
	var whole strings.Builder
	for i := range 40 {
		piece := strings.Repeat(fmt.Sprintf("line %d 🎉 ", i), 8000)
		r.logs(a, int64(whole.Len()), piece)
		whole.WriteString(piece)
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/get_logs/"+id, ""); got != whole.String() {
		t.Errorf("%d bytes, want %d", len(got), whole.Len())
	}
}

func TestRunWaitResult(t *testing.T) {
	r := newRig(t)
	r.start()
	hash := r.script("f/a", "")
	for _, tc := range []struct {
		name, method, path, body string
		success                  bool
		result, want             string
		status                   int
	}{
		{"success", "POST", "p/f/a", `{"n":1}`, true, `{"big":12345678901234567890}`, `{"big":12345678901234567890}`, 200},
		{"null", "POST", "h/" + hash, "", true, `null`, `null`, 200},
		{"a string", "GET", "p/f/a?payload=e30", "", true, `"x"`, `"x"`, 200},
		{"failure", "GET", "h/" + hash, "", false, `{"error":{"name":"E","message":"m"}}`, `{"error":{"name":"E","message":"m"}}`, 500},
	} {
		done := make(chan reply)
		go func() { done <- r.do(tc.method, "/api/w/main/jobs/run_wait_result/"+tc.path, tc.body) }()
		a := r.takeOne()
		r.finish(a, tc.success, tc.result)
		if got := <-done; got.status != tc.status || got.body != tc.want || got.mime != jsonMime {
			t.Errorf("%s: %d %s %s", tc.name, got.status, got.mime, got.body)
		}
	}
	// Cancelled: an object with an error, too.
	done := make(chan reply)
	go func() { done <- r.do("POST", "/api/w/main/jobs/run_wait_result/p/f/a", "") }()
	a := r.takeOne()
	r.ok(200, "POST", "/api/w/main/jobs_u/queue/force_cancel/"+a.JobID, `{"reason":"enough"}`)
	if got := <-done; got.status != 500 || !strings.HasPrefix(got.body, `{"error":{`) || !strings.Contains(got.body, "enough") {
		t.Errorf("cancelled: %d %s", got.status, got.body)
	}
}

// takeOne takes the next job, however long it takes to come. The engine's
// loops must run.
func (r *rig) takeOne() sluice.Assignment {
	r.t.Helper()
	r.takes++
	as, err := r.e.Take(context.Background(), sluice.TakeRequest{Worker: "w1", TakeNo: r.takes, Tags: []string{"bash"}, Places: 1, Wait: 20 * time.Second})
	if err != nil || len(as) != 1 {
		r.t.Fatalf("took %v: %v", as, err)
	}
	return as[0]
}

// start runs the engine's loops until the test ends.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.e.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-done })
}

func TestRunWaitResultInTime(t *testing.T) {
	r := newRig(t)
	r.script("f/a", limited)
	var late struct {
		Error string       `json:"error"`
		JobID string       `json:"job_id"`
		Wait  *sluice.Wait `json:"wait"`
	}
	got := r.do("POST", "/api/w/main/jobs/run_wait_result/p/f/a?timeout_s=0", "")
	r.read(got.body, &late)
	if got.status != 504 || got.mime != jsonMime || late.Wait == nil || late.Wait.Reason != sluice.ReasonNoWorker || late.Error == "" {
		t.Errorf("%d %s", got.status, got.body)
	}
	// The job goes on.
	if as := r.take(1); len(as) != 1 || as[0].JobID != late.JobID {
		t.Errorf("took %v", as)
	}
	for _, q := range []string{"timeout_s=601", "timeout_s=-1", "timeout_s=x"} {
		if got := r.do("POST", "/api/w/main/jobs/run_wait_result/p/f/a?"+q, ""); got.status != 400 || !strings.HasPrefix(got.body, "timeout_s: ") {
			t.Errorf("%s: %d %s", q, got.status, got.body)
		}
	}
	// A caller that leaves does not cancel its job.
	ctx, leave := context.WithCancel(context.Background())
	r.script("f/b", "")
	r.start()
	req := r.request("POST", "/api/w/main/jobs/run_wait_result/p/f/b", "", "Authorization", "Bearer "+testToken)
	done := make(chan struct{})
	go func() { defer close(done); _, _ = http.DefaultClient.Do(req.WithContext(ctx)) }()
	a := r.takeOne()
	leave()
	<-done
	if j, err := r.e.Job(context.Background(), "main", a.JobID, false, false); err != nil || j.State != sluice.StateRunning || j.CanceledBy != "" {
		t.Errorf("%+v %v", j, err)
	}
}

// TestResultIsAlwaysAnErrorObject covers jobs that end without a result.
func TestResultIsAlwaysAnErrorObject(t *testing.T) {
	for _, tc := range []struct {
		job  sluice.Job
		want string
	}{
		{sluice.Job{Outcome: sluice.OutcomeSuccess}, `null`},
		{sluice.Job{Outcome: sluice.OutcomeSuccess, Result: json.RawMessage(`null`)}, `null`},
		{sluice.Job{Outcome: sluice.OutcomeFailure}, `"error":{`},
		{sluice.Job{Outcome: sluice.OutcomeFailure, Result: json.RawMessage(`null`)}, `"error":{`},
		{sluice.Job{Outcome: sluice.OutcomeCanceled, CanceledBy: "ann", CanceledReason: "why"}, `canceled by ann: why`},
	} {
		if got := string(resultOf(&tc.job)); !strings.Contains(got, tc.want) {
			t.Errorf("%+v: %s", tc.job, got)
		}
	}
}

func TestBulkIsAllOrNothing(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	for _, tc := range []struct{ jobs, field string }{
		{`{"path":"f/a"},{"path":"f/a","job_id":"x"}`, "jobs[1].job_id: "},
		{`{"path":"f/a"},{"path":"f/../a"}`, "jobs[1].path: "},
		{`{"path":"f/a"},{"path":"f/a","priority":101}`, "jobs[1].priority: "},
		{`{"path":"f/a"},{"path":"f/a","timeout":-1}`, "jobs[1].timeout: "},
		{`{"path":"f/a"},{"path":"f/a","args":[1]}`, "jobs[1].args"},
		{`{"path":"f/a"},{"path":"f/a","scheduled_in_secs":1.5}`, "jobs[1].scheduled_in_secs: "},
		{`{"path":"f/a"},{"path":"f/a","scheduled_in_secs":1,"scheduled_for":"2100-01-01T00:00:00Z"}`, "jobs[1].scheduled_in_secs: "},
		{`{"path":"f/a"},{"preview":{"content":"x"}}`, "jobs[1].preview.language: "},
		{`{"path":"f/a"},{"preview":{"content":"x","language":"bash","concurrent_limit":0}}`, "jobs[1]."},
		{`{"path":"f/a"},7`, "jobs[1]: "},
		{`{"path":"f/a"},{}`, "jobs[1].path: "},
	} {
		got := r.do("POST", "/api/w/main/jobs/run/bulk", `{"jobs":[`+tc.jobs+`]}`)
		if got.status != 400 || !strings.HasPrefix(got.body, tc.field) {
			t.Errorf("%s: %d %s", tc.jobs, got.status, got.body)
		}
	}
	for _, body := range []string{`[]`, `{"jobs":{}}`, `{`, `{"jobs":null}`} {
		if got := r.do("POST", "/api/w/main/jobs/run/bulk", body); got.status != 400 {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs/list", ""); got != "[]" {
		t.Errorf("something was pushed: %s", got)
	}
	id := "0190a000-0000-7000-8000-00000000000a"
	var answer idsJSON
	r.read(r.ok(201, "POST", "/api/w/main/jobs/run/bulk", `{"jobs":[{"path":"f/a","job_id":"`+strings.ToUpper(id)+`"},{"path":"f/a","scheduled_in_secs":60,"priority":-3,"tag":"t"}]}`), &answer)
	if len(answer.IDs) != 2 || answer.IDs[0] != id {
		t.Errorf("%v", answer.IDs)
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/get/"+answer.IDs[1], ""); !strings.Contains(got, `"priority":-3`) || !strings.Contains(got, `"tag":"t"`) || !strings.Contains(got, `"reason":"scheduled"`) {
		t.Errorf("%s", got)
	}
}

// TestScriptsAreEchoed pushes a script as the command line does and compares
// what comes back, as it does.
func TestScriptsAreEchoed(t *testing.T) {
	r := newRig(t)
	body := `{"path":"f/t/a","content":"echo 1\n","language":"bash","summary":"s","description":"d","kind":"script","lock":"","schema":{"$schema":"x","order":["b","a"],"properties":{"b":{"default":1.0},"a":{}}},
		"tag":"gpu","concurrent_limit":1,"concurrency_time_window_s":2,"concurrency_key":"hello-$args[name]","on_concurrency_limit":"fail","concurrency_window_from":"start",
		"timeout":null,"envs":null,"labels":["x"],"priority":3,"cache_ttl":60,"custom_field":{"kept":true},"deployment_message":"m","skip_draft_deletion":true}`
	create := "/api/w/main/scripts/create?skip_if_noop=true"
	hash := r.ok(201, "POST", create, body)
	if again := r.ok(201, "POST", create, body); again != hash {
		t.Errorf("a push that changes nothing made %s after %s", again, hash)
	}
	text := r.ok(200, "GET", "/api/w/main/scripts/get/p/f/t/a", "")
	got, pushed := r.object(text), r.object(body)
	for name, v := range pushed {
		want, _ := json.Marshal(v)
		have, _ := json.Marshal(got[name])
		switch name {
		case "deployment_message", "skip_draft_deletion", "timeout", "envs":
			if _, ok := got[name]; ok {
				t.Errorf("%s is there: %s", name, have)
			}
		default:
			if string(want) != string(have) {
				t.Errorf("%s: %s, want %s", name, have, want)
			}
		}
	}
	if muted, ok := got["ws_error_handler_muted"].(bool); !ok || muted {
		t.Errorf("ws_error_handler_muted: %v", got["ws_error_handler_muted"])
	}
	if !strings.Contains(text, `{"$schema":"x","order":["b","a"],"properties":{"b":{"default":1.0},"a":{}}}`) {
		t.Errorf("the schema is not as it was pushed: %s", text)
	}
	next := r.ok(201, "POST", create, strings.Replace(body, "echo 1", "echo 2", 1))
	got = r.object(r.ok(200, "GET", "/api/w/main/scripts/get/p/f/t/a", ""))
	if next == hash || got["hash"] != next || fmt.Sprint(got["parent_hashes"]) != "["+hash+"]" {
		t.Errorf("second version %s after %s: %v", next, hash, got["parent_hashes"])
	}
	if n := len(r.list(r.ok(200, "GET", "/api/w/main/scripts/history/p/f/t/a", ""))); n != 2 {
		t.Errorf("%d versions", n)
	}
	// Archived and pushed again.
	r.ok(200, "POST", "/api/w/main/scripts/archive/p/f/t/a", "")
	if got := r.do("POST", "/api/w/main/jobs/run/p/f/t/a", ""); got.status != 404 {
		t.Errorf("an archived script runs: %d %s", got.status, got.body)
	}
	if again := r.ok(201, "POST", create, body); again == next || again == hash {
		t.Errorf("hash %s", again)
	}
}

func TestApplyLimitsToWaiting(t *testing.T) {
	r := newRig(t)
	r.script("f/a", limited)
	r.run("f/a", "")
	second := r.run("f/a", "")
	if len(r.take(5)) != 1 {
		t.Fatal("the limit does not hold")
	}
	r.script("f/a", `"concurrent_limit":2,"concurrency_key":"k/1","apply_limits_to_waiting":true`)
	if as := r.take(5); len(as) != 1 || as[0].JobID != second {
		t.Errorf("took %v", as)
	}
	if got := r.ok(200, "GET", "/api/w/main/scripts/get/p/f/a", ""); strings.Contains(got, "apply_limits") {
		t.Errorf("%s", got)
	}
}

func TestRerunJobs(t *testing.T) {
	r := newRig(t)
	old := r.script("f/a", "")
	id := r.ended("f/a", `{"n":12345678901234567890,"x":1}`, "", `1`, true)
	newest := r.script("f/a", `"summary":"2"`)
	preview := r.ok(201, "POST", "/api/w/main/jobs/run/preview", `{"content":"echo","language":"bash"}`)
	again := func(options string) []string {
		return strings.Split(r.ok(200, "POST", "/api/w/main/jobs/run/batch_rerun_jobs", `{"job_ids":["`+id+`","`+preview+`"],"script_options_by_path":{"f/a":`+options+`}}`), "\n")
	}
	for options, want := range map[string]struct{ hash, args string }{
		`{}`: {old, `{"n":12345678901234567890,"x":1}`},
		`{"use_latest_version":true,"input_transforms":{"x":{"type":"static","value":[2]},"y":{"type":"static"}}}`: {newest, `{"n":12345678901234567890,"x":[2],"y":null}`},
	} {
		lines := again(options)
		if len(lines) != 2 || !strings.HasPrefix(lines[1], "Error: job_ids: job "+preview) {
			t.Fatalf("%s: %q", options, lines)
		}
		job := r.object(r.ok(200, "GET", "/api/w/main/jobs_u/get/"+lines[0], ""))
		if job["script_hash"] != want.hash || r.argsOf(lines[0]) != want.args {
			t.Errorf("%s: %v", options, job)
		}
	}
	if lines := again(`{"input_transforms":{"x":{"type":"javascript","expr":"1"}}}`); !strings.HasPrefix(lines[0], "Error: input_transforms: x") {
		t.Errorf("%q", lines)
	}
}

func TestRootJob(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	top := r.run("f/a", "")
	child := r.ok(201, "POST", "/api/w/main/jobs/run/p/f/a?parent_job="+top, "")
	grandchild := r.ok(201, "POST", "/api/w/main/jobs/run/p/f/a?parent_job="+child, "")
	told := r.ok(201, "POST", "/api/w/main/jobs/run/p/f/a?parent_job="+child+"&root_job="+child, "")
	for id, want := range map[string]string{top: top, child: top, grandchild: top, told: child} {
		if got := r.ok(200, "GET", "/api/w/main/jobs_u/get_root_job_id/"+id, ""); got != `"`+want+`"` {
			t.Errorf("%s of %s", got, id)
		}
	}
}
