package httpapi

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// twoSteps is a flow whose second step sees what the first one gave.
const twoSteps = `{"path":"f/a/two","value":{"modules":[
 {"id":"a","value":{"type":"rawscript","language":"bash","content":"echo a","input_transforms":{"x":{"type":"javascript","expr":"flow_input.x"}}}},
 {"id":"b","value":{"type":"rawscript","language":"bash","content":"echo b","input_transforms":{"y":{"type":"javascript","expr":"results.a.n"}}}}]}}`

// next takes the one job that is there to be taken.
func (r *rig) next() sluice.Assignment {
	r.t.Helper()
	for range 50 {
		if as := r.take(1); len(as) == 1 {
			return as[0]
		}
	}
	r.t.Fatal("nothing to take")
	return sluice.Assignment{}
}

// statuses are the types of the modules of a flow's job, in order.
func (r *rig) statuses(route, id string) string {
	r.t.Helper()
	var got struct {
		Status struct {
			Modules []struct {
				Type string `json:"type"`
				Job  string `json:"job"`
			} `json:"modules"`
		} `json:"flow_status"`
	}
	r.read(r.ok(200, "GET", "/api/w/main/"+route+id, ""), &got)
	var out []string
	for _, m := range got.Status.Modules {
		out = append(out, m.Type)
	}
	return strings.Join(out, " ")
}

func TestRunFlow(t *testing.T) {
	r := newRig(t)
	r.ok(201, "POST", "/api/w/main/flows/create", twoSteps)
	id := r.ok(201, "POST", "/api/w/main/jobs/run/f/f/a/two", `{"x":7}`)
	if got := r.statuses("jobs_u/get/", id); got != "WaitingForPriorSteps WaitingForPriorSteps" {
		t.Errorf("queued: %s", got)
	}
	a := r.next()
	if string(a.Args) != `{"x":7}` || a.Kind != sluice.KindFlowScript || a.Content != "echo a" || a.ParentJob != id {
		t.Errorf("the first step: %+v", a)
	}
	if got := r.statuses("jobs_u/get/", id); got != "InProgress WaitingForPriorSteps" {
		t.Errorf("in the first step: %s", got)
	}
	r.finish(a, true, `{"n":[1,2]}`)
	if got := r.statuses("jobs_u/get/", id); got != "Success WaitingForExecutor" {
		t.Errorf("between: %s", got)
	}
	b := r.next()
	if string(b.Args) != `{"y":[1,2]}` {
		t.Errorf("the second step: %s", b.Args)
	}
	r.ok(404, "GET", "/api/w/main/jobs_u/completed/get/"+id, "")
	r.finish(b, true, `"all"`)
	done := r.ok(200, "GET", "/api/w/main/jobs_u/completed/get/"+id, "")
	for _, part := range []string{`"success":true`, `"result":"all"`, `"job_kind":"flow"`, `"tag":"flow"`, `"args":{"x":7}`, `"script_path":"f/a/two"`} {
		if !strings.Contains(done, part) {
			t.Errorf("lacks %s: %s", part, done)
		}
	}
	if got := r.statuses("jobs_u/completed/get/", id); got != "Success Success" {
		t.Errorf("at the end: %s", got)
	}
	r.again(id)
}

// again runs a flow anew, whole and from its second step.
func (r *rig) again(id string) {
	r.t.Helper()
	again := r.ok(200, "POST", "/api/w/main/jobs/run/batch_rerun_jobs", `{"job_ids":["`+id+`"],"flow_options_by_path":{"f/a/two":{"use_latest_version":true,"input_transforms":{"x":{"type":"static","value":8}}}}}`)
	if a := r.next(); string(a.Args) != `{"x":8}` || a.ParentJob != again {
		r.t.Errorf("run again: %s of %s", a.Args, a.ParentJob)
	} else {
		r.finish(a, false, `{"error":{"message":"no"}}`)
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/completed/get/"+again, ""); !strings.Contains(got, `"success":false`) {
		r.t.Errorf("failed: %s", got)
	}
	from := r.ok(201, "POST", "/api/w/main/jobs/restart/f/"+id, `{"step_id":"b"}`)
	b := r.next()
	if string(b.Args) != `{"y":[1,2]}` || b.ParentJob != from {
		r.t.Errorf("from b: %s of %s", b.Args, b.ParentJob)
	}
	r.ok(200, "POST", "/api/w/main/jobs_u/queue/cancel/"+from, `{"reason":"enough"}`)
	r.finish(b, false, `{"error":{"message":"killed"}}`)
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/get/"+from, ""); !strings.Contains(got, `"canceled":true`) || !strings.Contains(got, `"canceled_reason":"enough"`) {
		r.t.Errorf("cancelled: %s", got)
	}
}

// TestFlowWaitsForResult: by every form of the call.
func TestFlowWaitsForResult(t *testing.T) {
	r := newRig(t)
	r.ok(201, "POST", "/api/w/main/flows/create", twoSteps)
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"x":"p"}`))
	for _, c := range []struct{ method, query, body, want string }{
		{"POST", "", `{"x":1}`, `{"x":1}`},
		{"POST", "?include_query=x&x=q", `{"x":1}`, `{"x":"q"}`},
		{"GET", "?payload=" + payload, "", `{"x":"p"}`},
	} {
		answer := make(chan reply, 1)
		go func() { answer <- r.do(c.method, "/api/w/main/jobs/run_wait_result/f/f/a/two"+c.query, c.body) }()
		var a sluice.Assignment
		r.within(20*time.Second, "the first step", func() {
			for a.Execution == 0 {
				if as := r.take(1); len(as) == 1 {
					a = as[0]
				}
			}
		})
		if string(a.Args) != c.want {
			t.Errorf("%s %s: %s, want %s", c.method, c.query, a.Args, c.want)
		}
		r.finish(a, true, `{"n":1}`)
		r.finish(r.next(), true, `{"windmill_status_code":202,"result":{"ok":true}}`)
		if got := <-answer; got.status != 202 || got.body != `{"ok":true}` {
			t.Errorf("%s %s: %d %s", c.method, c.query, got.status, got.body)
		}
	}
}

// TestFlowGivesResultEarly: who waits gets the result of the step that the flow
// names, while the flow goes on.
func TestFlowGivesResultEarly(t *testing.T) {
	r := newRig(t)
	r.ok(201, "POST", "/api/w/main/flows/create", strings.Replace(twoSteps, `{"modules"`, `{"early_return":"a","modules"`, 1))
	answer := make(chan reply, 1)
	go func() { answer <- r.do("POST", "/api/w/main/jobs/run_wait_result/f/f/a/two", `{"x":1}`) }()
	var a sluice.Assignment
	r.within(20*time.Second, "the first step", func() {
		for a.Execution == 0 {
			if as := r.take(1); len(as) == 1 {
				a = as[0]
			}
		}
	})
	r.finish(a, true, `{"n":"early"}`)
	if got := <-answer; got.status != 200 || got.body != `{"n":"early"}` {
		t.Errorf("%d %s", got.status, got.body)
	}
	r.ok(404, "GET", "/api/w/main/jobs_u/completed/get/"+a.ParentJob, "")
	r.finish(r.next(), true, `"late"`)
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/completed/get_result/"+a.ParentJob, ""); got != `"late"` {
		t.Errorf("at the end: %s", got)
	}
}

// TestFlowDependencies: the answer is the value as it was sent, and needs no
// worker.
func TestFlowDependencies(t *testing.T) {
	r := newRig(t)
	id := r.ok(201, "POST", "/api/w/main/jobs/run/flow_dependencies_async", `{"flow_value":{"z":1.0,"modules":[{"id":"a"}]},"path":"f/a"}`)
	r.take(1) // whoever asks for work has the engine start what waits
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/completed/get_result/"+id, ""); got != `{"updated_flow_value":{"z":1.0,"modules":[{"id":"a"}]}}` {
		t.Errorf("%s", got)
	}
}

// TestSkippedFlows: what a step has ended as not worth a mention is labelled, in
// lists too, and found by that.
func TestSkippedFlows(t *testing.T) {
	r := newRig(t)
	const value = `{"value":{"modules":[{"id":"a","value":{"type":"identity"},"stop_after_if":{"expr":"flow_input.stop","skip_if_stopped":true}},{"id":"b","value":{"type":"identity"}}]},"args":{"stop":`
	skipped := r.ok(201, "POST", "/api/w/main/jobs/run/preview_flow", value+"true}}")
	other := r.ok(201, "POST", "/api/w/main/jobs/run/preview_flow", value+"false}}")
	r.take(1)
	for query, want := range map[string]string{"is_skipped=true": skipped, "is_skipped=false": other, "": other + " " + skipped} {
		var list []struct {
			ID       string
			Type     string
			Skipped  *bool `json:"is_skipped"`
			Canceled bool
			Reason   string `json:"canceled_reason"`
		}
		r.read(r.ok(200, "GET", "/api/w/main/jobs/list?"+query, ""), &list)
		var ids []string
		for _, j := range list {
			ids = append(ids, j.ID)
			if j.Type != "CompletedJob" || j.Skipped == nil || *j.Skipped != (j.ID == skipped) || j.Canceled || j.Reason != "" {
				t.Errorf("%q: %+v", query, j)
			}
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%q finds %s, want %s", query, got, want)
		}
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/completed/get/"+skipped, ""); !strings.Contains(got, `"is_skipped":true`) || strings.Contains(got, "canceled_reason") {
		t.Error(got)
	}
}

// TestFlowUserStates: what steps keep together; a job's token reaches its own
// flow only.
func TestFlowUserStates(t *testing.T) {
	r := newRig(t)
	r.ok(201, "POST", "/api/w/main/flows/create", twoSteps)
	first := r.ok(201, "POST", "/api/w/main/jobs/run/f/f/a/two", `{}`)
	step := r.next()
	other := r.ok(201, "POST", "/api/w/main/jobs/run/f/f/a/two", `{}`)
	base := "/api/w/main/jobs/flow/user_states/"
	as := func(token, method, path, body string) reply {
		return r.raw(method, path, body, "Authorization", "Bearer "+token)
	}
	if got := as(step.Token, "POST", base+first+"/a/b", `{"z":1.0}`); got.status != 200 {
		t.Errorf("set by a step: %d %s", got.status, got.body)
	}
	if got := as(step.Token, "POST", base+other+"/a", `1`); got.status != 403 {
		t.Errorf("set by a step of another flow: %d %s", got.status, got.body)
	}
	r.ok(200, "POST", base+first+"/empty", `null`)
	for key, want := range map[string]string{"/a/b": `{"z":1.0}`, "/none": "null", "/empty": "null"} {
		if got := r.ok(200, "GET", base+first+key, ""); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs_u/get/"+first, ""); !strings.Contains(got, `"user_states":{"a/b":{"z":1.0},"empty":null}`) {
		t.Errorf("the flow: %s", got)
	}
	if got := r.do("POST", base+first+"/"+strings.Repeat("k", 300), `1`); got.status != 400 {
		t.Errorf("a long key: %d %s", got.status, got.body)
	}
	if got := r.do("POST", base+first+"/big", `"`+strings.Repeat("x", 1<<20)+`"`); got.status != 413 {
		t.Errorf("a large value: %d %s", got.status, got.body)
	}
	r.ok(200, "POST", "/api/w/main/jobs_u/queue/cancel/"+other, "")
	if got := r.do("POST", base+other+"/k", `1`); got.status != 409 {
		t.Errorf("after the end: %d %s", got.status, got.body)
	}
}

// TestFlowScopes: a token for the flows of a folder runs those alone.
func TestFlowScopes(t *testing.T) {
	r := newRig(t)
	r.openFolders("main", "a", "b")
	r.user("ann@x.org", false)
	if err := r.e.AddMember(t.Context(), "main", "ann@x.org", sluice.RoleDeveloper); err != nil {
		t.Fatal(err)
	}
	r.ok(201, "POST", "/api/w/main/flows/create", twoSteps)
	r.ok(201, "POST", "/api/w/main/flows/create", strings.Replace(twoSteps, "f/a/two", "f/b/two", 1))
	id := r.ok(201, "POST", "/api/w/main/jobs/run/f/f/b/two", `{}`)
	token := r.token(engine.NewToken{Email: "ann@x.org", Scopes: []string{"jobs:run:flows:f/a/*", "jobs:run:scripts", "flows:write:f/a/*"}})
	ask := func(method, path, body string) int {
		return r.raw(method, "/api/w/main/"+path, body, "Authorization", "Bearer "+token).status
	}
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{"jobs/run/f/f/a/two", `{}`, 201},
		{"jobs/run/f/f/b/two", `{}`, 403},
		{"jobs/run/bulk", `{"jobs":[{"flow_path":"f/a/two"}]}`, 201},
		{"jobs/run/bulk", `{"jobs":[{"flow_path":"f/b/two"}]}`, 403},
		{"jobs/run/preview_flow", `{"value":{"modules":[]}}`, 403},
		{"jobs/restart/f/" + id, `{"step_id":"b"}`, 403},
		{"flows/update/f/a/two", twoSteps, 200},
		{"flows/update/f/a/two", strings.Replace(twoSteps, "f/a/two", "f/b/three", 1), 403},
		{"flows/create", strings.Replace(twoSteps, "f/a/two", "f/b/three", 1), 403},
		{"flows/archive/f/b/two", "", 403},
	} {
		if got := ask("POST", c.path, c.body); got != c.want {
			t.Errorf("%s: %d, want %d", c.path, got, c.want)
		}
	}
	again := r.raw("POST", "/api/w/main/jobs/run/batch_rerun_jobs", `{"job_ids":["`+id+`"]}`, "Authorization", "Bearer "+token)
	if !strings.HasPrefix(again.body, "Error: ") {
		t.Errorf("run again: %s", again.body)
	}
}
