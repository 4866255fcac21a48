package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

const treeValue = `{"modules":[
 {"id":"a","value":{"type":"rawscript","language":"bash","content":"","input_transforms":{}}},
 {"id":"b","value":{"type":"forloopflow","iterator":{"type":"static","value":[1,2]},"parallel":true,"skip_failures":true,"modules":[
   {"id":"c","value":{"type":"rawscript","language":"bash","content":"","input_transforms":{}}}]}},
 {"id":"d","value":{"type":"branchall","parallel":false,"branches":[
   {"modules":[{"id":"e","value":{"type":"identity"}},{"id":"f","value":{"type":"identity"}}]},
   {"modules":[{"id":"g","value":{"type":"identity"}}]}]}},
 {"id":"h","value":{"type":"branchone","branches":[{"expr":"true","modules":[{"id":"i","value":{"type":"identity"}}]}],"default":[]}},
 {"id":"j","value":{"type":"identity"},"suspend":{"required_events":2}}],
 "failure_module":{"id":"failure","value":{"type":"identity"}}}`

// flowScene is a flow's job with rows as a run leaves them.
type flowScene struct {
	*rig
	job *sluice.Job
}

func newFlowScene(t *testing.T) *flowScene {
	t.Helper()
	r := newRig(t)
	s := &flowScene{rig: r}
	f := &store.Flow{Workspace: "main", Path: "f/a", Value: json.RawMessage(treeValue), EditedAt: time.Unix(1e9, 0), Newest: true}
	s.update(func(tx store.Tx) error { return tx.InsertFlow(f) })
	s.job = s.insert(func(j *sluice.Job) {
		j.Kind, j.Path, j.Hash, j.Tag = sluice.KindFlow, "f/a", "0000000000000001", "flow"
	})
	return s
}

func (s *flowScene) update(f func(store.Tx) error) {
	s.t.Helper()
	if err := s.store.Update(s.t.Context(), f); err != nil {
		s.t.Fatal(err)
	}
}

func (s *flowScene) insert(change func(*sluice.Job)) *sluice.Job {
	s.t.Helper()
	at := time.Unix(1e9, 0).UTC()
	j := &sluice.Job{
		ID: uuid.NewString(), Workspace: "main", Kind: sluice.KindFlowScript, Path: "f/a/x", Language: "bash", Tag: "bash", Args: json.RawMessage(`{}`),
		CreatedBy: "admin", Email: "admin@sluice.local", CreatedAt: at, ScheduledFor: at, State: sluice.StateRunning, StartedAt: at, StepN: -1, DeleteAfter: -1,
	}
	change(j)
	s.update(func(tx store.Tx) error { return tx.InsertJobs([]*sluice.Job{j}) })
	return j
}

func (s *flowScene) step(id string, n int, change func(*sluice.Job)) *sluice.Job {
	s.t.Helper()
	return s.insert(func(j *sluice.Job) {
		j.ParentJob, j.RootJob, j.Step, j.StepN = s.job.ID, s.job.ID, id, n
		change(j)
	})
}

// status reads the flow's status, with ids of jobs replaced by names.
func (s *flowScene) status(names ...string) string {
	s.t.Helper()
	var got struct {
		Status json.RawMessage `json:"flow_status"`
	}
	s.read(s.ok(200, "GET", "/api/w/main/jobs_u/get/"+s.job.ID, ""), &got)
	return strings.NewReplacer(names...).Replace(string(got.Status))
}

func done(success bool) func(*sluice.Job) {
	return func(j *sluice.Job) {
		j.State, j.Outcome, j.CompletedAt = sluice.StateCompleted, sluice.OutcomeFailure, j.StartedAt.Add(time.Second)
		if success {
			j.Outcome = sluice.OutcomeSuccess
		}
	}
}

// TestFlowStatusBeforeTheStart: every module is there from the first moment on.
func TestFlowStatusBeforeTheStart(t *testing.T) {
	s := newFlowScene(t)
	const waits = `{"type":"WaitingForPriorSteps","id":"`
	want := `{"step":0,"modules":[` + waits + `a"},` + waits + `b","parallel":true},` + waits + `d"},` + waits + `h"},` + waits + `j"}],"failure_module":` + waits + `failure"}}`
	if got := s.status(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	whole := s.ok(200, "GET", "/api/w/main/jobs_u/get/"+s.job.ID, "")
	for _, part := range []string{`"raw_flow":{"modules":[{"id":"a",`, `"job_kind":"flow"`, `"type":"QueuedJob"`, `"is_flow_step":false`, `"script_path":"f/a"`} {
		if !strings.Contains(whole, part) {
			t.Errorf("lacks %s: %s", part, whole)
		}
	}
	if got := s.ok(200, "GET", "/api/w/main/jobs_u/get/"+s.job.ID+"?no_code=true", ""); strings.Contains(got, "raw_flow") {
		t.Errorf("without code: %s", got)
	}
}

func TestFlowStatusOfARun(t *testing.T) {
	s := newFlowScene(t)
	a := s.step("a", -1, done(true))
	first, second := s.step("c", 0, done(false)), s.step("c", 1, func(*sluice.Job) {})
	again := s.step("c", 0, done(true)) // a second attempt of the first
	part := s.step("d", 0, func(j *sluice.Job) { j.Kind, j.FlowScope, j.Path = sluice.KindFlow, "d/0", "f/a/d/0" })
	waits := s.step("j", -1, func(j *sluice.Job) { j.State = sluice.StateQueued })
	state := flow.State{Step: 1, Wait: &flow.Wait{Index: 4, Job: waits.ID, Required: 2}, Resumes: []flow.Resume{{ID: 5, Approver: "ann"}}, Modules: []flow.ModuleState{
		{Status: flow.Success, Job: a.ID, Value: flow.InJob},
		{Status: flow.InProgress, Job: second.ID, Total: 3, Begun: 2, Done: 1, Attempt: 1, FailedJobs: []string{first.ID}},
		{Status: flow.InProgress, Job: part.ID, Total: 2, Begun: 1},
		{Status: flow.Success, Branch: "default", Skipped: true},
		{Status: flow.WaitingForEvents, Job: waits.ID},
	}}
	raw, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	s.update(func(tx store.Tx) error {
		return tx.InsertFlowRun(&store.FlowRun{JobSeq: s.job.Seq, RootSeq: s.job.Seq, State: raw})
	})
	want := `{"step":1,"modules":[{"type":"Success","id":"a","job":"A"},` +
		`{"type":"InProgress","id":"b","job":"SECOND","iterator":{"index":1,"itered":[]},"flow_jobs":["AGAIN","SECOND"],"flow_jobs_success":[true,null],"parallel":true,` +
		`"failed_retries":["FIRST"],"iterations":{"total":3,"begun":2,"done":1,"failed":0}},` +
		`{"type":"InProgress","id":"d","job":"PART","flow_jobs":["PART"],"flow_jobs_success":[null],"branchall":{"branch":0,"len":2},"iterations":{"total":2,"begun":1,"done":0,"failed":0}},` +
		`{"type":"Success","id":"h","branch_chosen":{"type":"default"},"skipped":true},` +
		`{"type":"WaitingForEvents","id":"j","job":"WAITS","count":2,"approvers":[{"resume_id":5,"approver":"ann"}]}],` +
		`"failure_module":{"type":"WaitingForPriorSteps","id":"failure"},"retry":{"fail_count":1,"failed_jobs":["FIRST"]}}`
	got := s.status(a.ID, "A", first.ID, "FIRST", second.ID, "SECOND", again.ID, "AGAIN", part.ID, "PART", waits.ID, "WAITS")
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := s.ok(200, "GET", "/api/w/main/jobs_u/getupdate/"+s.job.ID+"?running=false", ""); !strings.Contains(got, `"flow_status":{"step":1,`) {
		t.Errorf("getupdate: %s", got)
	}
	inner := s.ok(200, "GET", "/api/w/main/jobs_u/get/"+part.ID, "")
	for _, want := range []string{
		`"raw_flow":{"modules":[{"id":"e","value":{"type":"identity"}},{"id":"f","value":{"type":"identity"}}]}`, `"flow_step_id":"d","flow_step_n":0`, `"is_flow_step":true`,
		`"flow_status":{"step":0,"modules":[{"type":"WaitingForPriorSteps","id":"e"},{"type":"WaitingForPriorSteps","id":"f"}]`,
	} {
		if !strings.Contains(inner, want) {
			t.Errorf("the branch lacks %s: %s", want, inner)
		}
	}
	count := func(query string, want int) {
		t.Helper()
		if n := len(s.list(s.ok(200, "GET", "/api/w/main/jobs/list?"+query, ""))); n != want {
			t.Errorf("%s: %d jobs, want %d", query, n, want)
		}
	}
	count("is_flow_step=true", 6)
	count("is_flow_step=false", 1)
	count("has_null_parent=true", 1)
	count("job_kinds=flowscript", 5)
	count("job_kinds=script,flow,singlestepflow&has_null_parent=true", 1)
	count("parent_job="+s.job.ID, 6)
	if got := s.ok(200, "GET", "/api/w/main/jobs_u/get_root_job_id/"+part.ID, ""); got != `"`+s.job.ID+`"` {
		t.Errorf("the root: %s", got)
	}
}

// TestDeletedFlowIsShown: what ran is known by its jobs when its text is gone.
func TestDeletedFlowIsShown(t *testing.T) {
	s := newFlowScene(t)
	s.update(func(tx store.Tx) error {
		if _, err := tx.DeleteFlow("main", "f/a"); err != nil {
			return err
		}
		done(true)(s.job)
		if err := tx.SaveJob(s.job); err != nil {
			return err
		}
		_, err := tx.EraseFlows(10)
		return err
	})
	got := s.ok(200, "GET", "/api/w/main/jobs_u/completed/get/"+s.job.ID, "")
	if !strings.Contains(got, `"raw_flow":{"modules":[]}`) || !strings.Contains(got, `"modules":[]`) {
		t.Errorf("%s", got)
	}
}
