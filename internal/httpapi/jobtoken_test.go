package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// jobRun is a running job with its token.
func (r *rig) jobRun() sluice.Assignment {
	r.t.Helper()
	id := r.run("f/a", "{}")
	as := r.take(1)
	if len(as) != 1 || as[0].JobID != id {
		r.t.Fatalf("took %v, want job %s", as, id)
	}
	return as[0]
}

// as sends a request with a token.
func (r *rig) as(token, method, path, body string) reply {
	r.t.Helper()
	return r.raw(method, path, body, "Authorization", "Bearer "+token)
}

// TestJobTokenMayDoNoMore walks the document: what is not named is forbidden,
// and what is named is good in the job's own workspace alone.
func TestJobTokenMayDoNoMore(t *testing.T) {
	r := newRig(t)
	if err := r.e.CreateWorkspace(context.Background(), store.Workspace{ID: "other"}); err != nil {
		t.Fatal(err)
	}
	r.script("f/a", "")
	a := r.jobRun()
	classes := map[string]int{}
	for path, methods := range r.document() {
		for method, op := range methods {
			url := strings.ReplaceAll(path, "{workspace}", "other")
			url = strings.ReplaceAll(url, "{id}", a.JobID)
			url = regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(url, "x")
			public := publicPaths[path]
			if !public {
				r.api.meters = newMeters() // the walk is longer than a burst
			}
			got := r.as(a.Token, strings.ToUpper(method), url, "{}")
			switch {
			case signedPath.MatchString(path): // the signature decides, whoever asks
			case public:
				classes["public"]++
				if got.status != 200 && path != loginPath {
					t.Errorf("%s %s: %d %s", method, url, got.status, got.body)
				}
			case rights[op.OperationID].person:
				classes["forbidden"]++
				if got.status != http.StatusForbidden || got.mime != textMime {
					t.Errorf("%s %s: %d %s", method, url, got.status, got.body)
				}
			case strings.Contains(path, "{workspace}"):
				classes["elsewhere"]++
				if got.status != http.StatusForbidden || !strings.Contains(got.body, "own workspace") {
					t.Errorf("%s %s: %d %s", method, url, got.status, got.body)
				}
			default:
				classes["global"]++
				if got.status != 200 {
					t.Errorf("%s %s: %d %s", method, url, got.status, got.body)
				}
			}
		}
	}
	if classes["public"] < 5 || classes["forbidden"] < 15 || classes["elsewhere"] < 25 || classes["global"] != 2 {
		t.Errorf("looked at %v", classes)
	}
}

// TestJobTokenClasses (T2): what a job may do while it runs, and where, and that
// all of it ends with the job, whatever the way.
func TestJobTokenClasses(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	r.script("f/b", "")
	calls := []struct {
		class, method, path, body string
		status                    int
		want                      string
	}{
		{"who am I", "GET", "/api/users/whoami", "", 200, `"super_admin":false`},
		{"who am I here", "GET", "/api/w/main/users/whoami", "", 200, `"is_admin":true,"is_super_admin":false`},
		{"own job", "GET", "/api/w/main/jobs_u/get/OWN", "", 200, `"running":true`},
		{"list", "GET", "/api/w/main/jobs/list", "", 200, `"id":"OWN"`},
		{"script", "GET", "/api/w/main/scripts/get/p/f/a", "", 200, `"path":"f/a"`},
		{"push", "POST", "/api/w/main/jobs/run/p/f/b?parent_job=OWN&root_job=OWN", `{}`, 201, ""},
		{"preview", "POST", "/api/w/main/jobs/run/preview", `{"content":"echo","language":"python3"}`, 201, ""},
		{"save a script", "POST", "/api/w/main/scripts/create", `{"path":"f/c","content":"echo","language":"bash"}`, 201, ""},
		{"say progress", "POST", "/api/w/main/job_metrics/set_progress/OWN", `{"percent":7,"flow_job_id":"OWN"}`, 200, "null"},
		{"read progress", "GET", "/api/w/main/job_metrics/get_progress/OWN", "", 200, "7"},
		{"another's progress", "POST", "/api/w/main/job_metrics/set_progress/ANOTHER", `{"percent":7}`, 403, "progress of that job"},
		{"all workspaces", "GET", "/api/w/admins/jobs/list?all_workspaces=true", "", 403, "own workspace"},
		{"another workspace", "GET", "/api/w/nowhere/jobs/list", "", 403, "own workspace"},
		{"all groups", "GET", "/api/concurrency_groups/list", "", 403, "job"},
		{"override", "PUT", "/api/concurrency_groups/override/k", `{"concurrent_limit":1}`, 403, "job"},
		{"pause", "POST", "/api/concurrency_groups/pause/k", `{}`, 403, "job"},
		{"prune", "DELETE", "/api/concurrency_groups/prune/k", ``, 403, "job"},
		{"workers", "GET", "/api/workers/list", "", 403, "job"},
		{"workspaces", "GET", "/api/workspaces/list", "", 403, "job"},
		{"a workspace", "POST", "/api/workspaces/create", `{"id":"mine"}`, 403, "job"},
		{"metrics", "GET", "/metrics", "", 403, "job"},
		{"nothing", "GET", "/api/nothing", "", 404, ""},
		{"version", "GET", "/api/version", "", 200, "CE v"},
	}
	another := r.jobRun().JobID
	ends := []struct {
		name string
		do   func(a sluice.Assignment)
	}{
		{"ended", func(a sluice.Assignment) { r.finish(a, true, `1`) }},
		{"failed", func(a sluice.Assignment) { r.finish(a, false, `{"error":{}}`) }},
		{"cancelled by force", func(a sluice.Assignment) {
			r.ok(200, "POST", "/api/w/main/jobs_u/queue/force_cancel/"+a.JobID, `{}`)
		}},
		{"lost", func(a sluice.Assignment) {
			if err := r.e.Confirm(context.Background(), "w1", []int64{a.Execution}); err != nil {
				t.Fatal(err)
			}
			_, err := r.e.Heartbeat(context.Background(), sluice.Heartbeat{Worker: "w1", Tags: []string{"bash"}, Places: 4, SettledTake: r.takes})
			if err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, end := range ends {
		a := r.jobRun()
		fill := strings.NewReplacer("OWN", a.JobID, "ANOTHER", another)
		for _, c := range calls {
			got := r.as(a.Token, c.method, fill.Replace(c.path), fill.Replace(c.body))
			if got.status != c.status || !strings.Contains(got.body, fill.Replace(c.want)) {
				t.Errorf("%s: %d %s, want %d with %s", c.class, got.status, got.body, c.status, c.want)
			}
			if c.class != "push" || got.status != 201 {
				continue
			}
			j := r.object(r.ok(200, "GET", "/api/w/main/jobs_u/get/"+got.body, ""))
			if j["created_by"] != "admin" || j["email"] != "admin@sluice.local" || j["parent_job"] != a.JobID || j["root_job"] != a.JobID {
				t.Errorf("a job pushed by a job: %v", j)
			}
			if got := r.as(a.Token, "POST", "/api/w/main/jobs_u/queue/cancel/"+got.body, `{}`); got.status != 200 {
				t.Errorf("cancelling it: %d %s", got.status, got.body)
			}
		}
		changed := a.Token[:len(a.Token)-1] + "x"
		if got := r.as(changed, "GET", "/api/users/whoami", ""); got.status != 401 {
			t.Errorf("%s: a changed token: %d", end.name, got.status)
		}
		end.do(a)
		for _, c := range calls {
			want := http.StatusUnauthorized
			if publicPaths[c.path] {
				want = 200
			}
			if got := r.as(a.Token, c.method, fill.Replace(c.path), fill.Replace(c.body)); got.status != want {
				t.Errorf("%s after it %s: %d %s", c.class, end.name, got.status, got.body)
			}
		}
		for _, again := range r.take(10) { // of the lost one, and of what was left
			r.finish(again, true, `1`)
		}
	}
	if log := r.log.String(); strings.Contains(log, "sj_") {
		t.Errorf("a token was logged: %s", log)
	}
}

// TestParentSpeaksForItsJobs: a job may say how far a job is that runs for it.
func TestParentSpeaksForItsJobs(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	parent := r.jobRun()
	for _, query := range []string{"parent_job", "root_job"} {
		id := r.ok(201, "POST", "/api/w/main/jobs/run/p/f/a?"+query+"="+parent.JobID, `{}`)
		child := r.take(1)[0]
		if got := r.as(parent.Token, "POST", "/api/w/main/job_metrics/set_progress/"+id, `{"percent":50.9}`); got.status != 200 {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
		if got := r.as(child.Token, "POST", "/api/w/main/job_metrics/set_progress/"+parent.JobID, `{"percent":50}`); got.status != 403 {
			t.Errorf("the other way: %d %s", got.status, got.body)
		}
		if got := r.ok(200, "GET", "/api/w/main/job_metrics/get_progress/"+id, ""); got != "50" {
			t.Errorf("progress %s", got)
		}
	}
}

// TestFloodingJob: a job that asks without end is told to wait, while a user's
// requests are all answered.
func TestFloodingJob(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	a := r.jobRun()
	b := r.jobRun()
	paths := []struct{ method, path, body string }{
		{"GET", "/api/w/main/jobs_u/getupdate/" + a.JobID + "?running=false", ""},
		{"GET", "/api/w/main/jobs_u/get_logs/" + a.JobID, ""},
		{"POST", "/api/w/main/job_metrics/set_progress/" + a.JobID, `{"percent":1}`},
	}
	var refused, served atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for n := range 30 {
				p := paths[(i+n)%len(paths)]
				got := r.as(a.Token, p.method, p.path, p.body)
				switch {
				case got.status == 200:
					served.Add(1)
				case got.status == 429 && got.header.Get("Retry-After") == "1":
					refused.Add(1)
				default:
					t.Errorf("%s: %d %s", p.path, got.status, got.body)
				}
			}
		})
	}
	for range 50 {
		if got := r.do("GET", "/api/w/main/jobs_u/get/"+a.JobID, ""); got.status != 200 {
			t.Errorf("a user: %d %s", got.status, got.body)
		}
		if got := r.as(b.Token, "GET", "/api/w/main/jobs_u/get/"+a.JobID, ""); got.status != 200 {
			t.Errorf("another job: %d %s", got.status, got.body)
		}
	}
	wg.Wait()
	if refused.Load() == 0 || served.Load() == 0 {
		t.Errorf("%d served, %d refused", served.Load(), refused.Load())
	}
}

// TestMeters: the bounds themselves.
func TestMeters(t *testing.T) {
	m := newMeters()
	job := caller{Job: &engine.JobCaller{Execution: 1}}
	n := 0
	for m.allow(1) {
		n++
	}
	if n < jobBurst || n > jobBurst+jobRate { // what a slow second lets through
		t.Errorf("a burst of %d", n)
	}
	if !m.allow(2) {
		t.Error("another job pays for it")
	}
	fill := func(c caller, waits bool) (leave []func()) {
		for {
			l, err := m.enter(c, waits)
			if err != nil {
				if sluice.CodeOf(err) != sluice.CodeLimited {
					t.Errorf("%v", err)
				}
				return leave
			}
			if leave = append(leave, l); len(leave) > 2*userWaits {
				return leave
			}
		}
	}
	waits := fill(job, true)
	rest := fill(job, false)
	if len(waits) != jobWaits || len(rest) != jobAtOnce-jobWaits {
		t.Errorf("%d waiting and %d others at once", len(waits), len(rest))
	}
	for _, l := range append(waits, rest...) {
		l()
	}
	if n := len(fill(job, false)); n != jobAtOnce {
		t.Errorf("after all have left %d", n)
	}
	if n := len(fill(caller{Username: "ann"}, true)); n != userWaits {
		t.Errorf("%d of a user", n)
	}
	if n := len(fill(caller{Username: "bob"}, false)); n <= userWaits {
		t.Errorf("%d of a user who does not wait", n)
	}
	for i := range int64(3 * keptMeters) {
		m.of(10 + i)
	}
	if len(m.jobs) > keptMeters+1 {
		t.Errorf("%d meters are kept", len(m.jobs))
	}
}

// TestUpdatesAsEvents: every text once, then the completed job.
func TestUpdatesAsEvents(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	a := r.jobRun()
	s := r.stream("/api/w/main/jobs_u/getupdate_sse/" + a.JobID)
	next := func() (u updateJSON) {
		for s.scan.Scan() {
			if data, ok := strings.CutPrefix(s.scan.Text(), "data: "); ok {
				r.read(data, &u)
				return u
			}
		}
		t.Fatal("the stream ended")
		return u
	}
	if u := next(); u.Type != "update" || !u.Running || u.Completed {
		t.Errorf("at first %+v", u)
	}
	r.logs(a, 0, "hello\n")
	if u := next(); u.NewLogs == nil || *u.NewLogs != "hello\n" || u.NewStream != nil {
		t.Errorf("then %+v", u)
	}
	r.as(a.Token, "POST", "/api/w/main/job_metrics/set_progress/"+a.JobID, `{"percent":30}`)
	err := r.e.AppendLog(context.Background(), sluice.LogChunk{Execution: a.Execution, Worker: "w1", Text: []byte("str\nx"), Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	if u := next(); u.NewStream == nil || *u.NewStream != "str\nx" || u.StreamOffset == nil || *u.StreamOffset != 5 || u.NewLogs != nil || u.Progress == nil || *u.Progress != 30 {
		t.Errorf("then %+v", u)
	}
	r.logs(a, 6, "bye\n")
	r.finish(a, true, `{"wm_labels":["l1"]}`)
	var got string
	u := next()
	for ; !u.Completed; u = next() {
		if u.NewLogs != nil {
			got += *u.NewLogs
		}
	}
	if got != "bye\n" || u.Job == nil || u.Job.Success == nil || !*u.Job.Success || fmt.Sprint(u.Job.Labels) != "[l1]" || u.Job.Logs != nil {
		t.Errorf("at last %q and %+v", got, u)
	}
	s.scan.Scan() // the empty line that ends an event
	if s.scan.Scan() {
		t.Error("it goes on after the end")
	}
	var after updateJSON
	r.read(r.ok(200, "GET", "/api/w/main/jobs_u/getupdate/"+a.JobID+"?running=true&stream_offset=4&log_offset=6", ""), &after)
	if after.NewStream == nil || *after.NewStream != "x" || *after.NewLogs != "bye\n" || *after.StreamOffset != 5 {
		t.Errorf("afterwards %+v", after)
	}
}

// TestLabelsInLists: they are shown, and find their jobs.
func TestLabelsInLists(t *testing.T) {
	r := newRig(t)
	r.script("f/a", `"labels":["of script"]`)
	id := r.ended("f/a", `{}`, "", `{"wm_labels":["of result"]}`, true)
	waiting := r.run("f/a", `{}`)
	for label, want := range map[string]string{"of script": waiting + " " + id, "of result": id, "of nobody": ""} {
		var got []string
		for _, j := range r.list(r.ok(200, "GET", "/api/w/main/jobs/list?label="+strings.ReplaceAll(label, " ", "%20"), "")) {
			got = append(got, j.(map[string]any)["id"].(string))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", label, got, want)
		}
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs/completed/count?label=of%20script", ""); !strings.Contains(got, `"database_length":1`) {
		t.Errorf("count %s", got)
	}
	done := r.object(r.ok(200, "GET", "/api/w/main/jobs_u/completed/get/"+id, ""))
	if fmt.Sprint(done["labels"]) != "[of script of result]" {
		t.Errorf("labels %v", done["labels"])
	}
}

// TestWaitsAreBounded: open streams of a job, one too many.
func TestWaitsAreBounded(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	a := r.jobRun()
	var open []*stream
	for range jobWaits {
		open = append(open, r.stream("/api/w/main/events", "Authorization", "Bearer "+a.Token))
	}
	if got := r.as(a.Token, "GET", "/api/w/main/events", ""); got.status != 429 || got.header.Get("Retry-After") == "" {
		t.Errorf("one more: %d %s", got.status, got.body)
	}
	if got := r.as(a.Token, "GET", "/api/users/whoami", ""); got.status != 200 {
		t.Errorf("something else: %d %s", got.status, got.body)
	}
	open[0].stop()
	r.within(10*time.Second, "a place", func() {
		for r.as(a.Token, "GET", "/api/w/main/jobs_u/getupdate/"+a.JobID, "").status != 200 {
		}
	})
}
