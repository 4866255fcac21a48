package httpapi

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/internal/engine"
)

// flowStatusJSON is how far a flow is, as Windmill's clients know it.
type flowStatusJSON struct {
	Step         int                `json:"step" doc:"Index of the module that is at work; as many as there are: all are done"`
	Modules      []moduleJSON       `json:"modules" doc:"One for each module, from the first moment on"`
	Failure      moduleJSON         `json:"failure_module"`
	Preprocessor *moduleJSON        `json:"preprocessor_module,omitempty"`
	UserStates   map[string]anyJSON `json:"user_states,omitempty"`
	Retry        *flowRetryJSON     `json:"retry,omitempty"`
}

type flowRetryJSON struct {
	FailCount  int      `json:"fail_count"`
	FailedJobs []string `json:"failed_jobs"`
}

// moduleJSON is how far a module is.
type moduleJSON struct {
	Type            flow.Status     `json:"type" enum:"WaitingForPriorSteps,WaitingForExecutor,WaitingForEvents,InProgress,Success,Failure"`
	ID              string          `json:"id"`
	Job             string          `json:"job,omitempty" doc:"Id of its newest job"`
	Count           *int            `json:"count,omitempty" doc:"Of WaitingForEvents: approvals that are needed"`
	Until           *time.Time      `json:"until,omitempty" doc:"Ours: of WaitingForEvents: when it fails without them; left out: it waits for ever"`
	Iterator        *iteratorJSON   `json:"iterator,omitempty"`
	FlowJobs        []string        `json:"flow_jobs,omitempty" doc:"Of a loop or branchall: jobs of its iterations or branches, the first 1,000"`
	FlowJobsSuccess []*bool         `json:"flow_jobs_success,omitempty" doc:"Whether each succeeded; null: it has not ended"`
	BranchChosen    *branchJSON     `json:"branch_chosen,omitempty"`
	BranchAll       *branchAllJSON  `json:"branchall,omitempty"`
	Parallel        bool            `json:"parallel,omitempty"`
	Approvers       []approverJSON  `json:"approvers,omitempty"`
	FailedRetries   []string        `json:"failed_retries,omitempty" doc:"Jobs of attempts that failed"`
	Skipped         bool            `json:"skipped,omitempty"`
	Iterations      *iterationsJSON `json:"iterations,omitempty" doc:"Ours: of a loop or branchall"`
}

type iteratorJSON struct {
	Index  int       `json:"index" doc:"Of the iteration that was begun last"`
	Itered []anyJSON `json:"itered" doc:"Always empty: see iterations"`
}

type branchJSON struct {
	Type   string `json:"type" enum:"branch,default"`
	Branch *int   `json:"branch,omitempty"`
}

type branchAllJSON struct {
	Branch int `json:"branch"`
	Len    int `json:"len"`
}

type approverJSON struct {
	ResumeID int64  `json:"resume_id"`
	Approver string `json:"approver"`
}

type iterationsJSON struct {
	Total  *int `json:"total" nullable:"true" doc:"Null: not known yet"`
	Begun  int  `json:"begun"`
	Done   int  `json:"done"`
	Failed int  `json:"failed"`
}

func flowStatusForm(v *engine.FlowView) *flowStatusJSON {
	f := &flowStatusJSON{Step: v.Step, Modules: []moduleJSON{}, Failure: moduleJSON{Type: flow.WaitingForPriorSteps, ID: flow.FailureStep}}
	for i := range v.Modules {
		f.Modules = append(f.Modules, moduleForm(&v.Modules[i]))
	}
	if v.Failure != nil {
		f.Failure = moduleForm(v.Failure)
	}
	if v.Preprocessor != nil {
		m := moduleForm(v.Preprocessor)
		f.Preprocessor = &m
	}
	if v.UserStates != nil {
		f.UserStates = map[string]anyJSON{}
		for name, state := range v.UserStates {
			f.UserStates[name] = anyJSON(state)
		}
	}
	if v.Step < len(v.Modules) && v.Modules[v.Step].Attempt > 0 {
		at := v.Modules[v.Step]
		f.Retry = &flowRetryJSON{FailCount: at.Attempt, FailedJobs: orNone(at.FailedJobs)}
	}
	return f
}

func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func moduleForm(s *engine.StepView) moduleJSON {
	m := moduleJSON{Type: s.Status, ID: s.ID, Job: s.Job, Skipped: s.Skipped, FailedRetries: s.FailedJobs}
	for _, c := range s.Children {
		m.FlowJobs = append(m.FlowJobs, c.Job)
		var success *bool
		if c.Outcome != sluice.OutcomeNone {
			yes := c.Outcome == sluice.OutcomeSuccess
			success = &yes
		}
		m.FlowJobsSuccess = append(m.FlowJobsSuccess, success)
	}
	switch {
	case s.Many():
		m.addIterations(s)
	case s.Kind == flow.KindBranchOne:
		m.BranchChosen = chosenForm(s.Branch)
	}
	if s.Wait != nil {
		m.Count = &s.Wait.Required
		if !s.Wait.Until.IsZero() {
			m.Until = &s.Wait.Until
		}
		for _, r := range s.Resumes {
			m.Approvers = append(m.Approvers, approverJSON{ResumeID: r.ID, Approver: r.Approver})
		}
	}
	for _, name := range s.ApprovedBy {
		m.Approvers = append(m.Approvers, approverJSON{Approver: name})
	}
	return m
}

// addIterations says how far a loop or branchall is.
func (m *moduleJSON) addIterations(s *engine.StepView) {
	m.Parallel = s.Parallel
	switch {
	case s.Begun == 0:
	case s.Kind == flow.KindBranchAll:
		m.BranchAll = &branchAllJSON{Branch: s.Begun - 1, Len: s.Total}
	default:
		m.Iterator = &iteratorJSON{Index: s.Begun - 1, Itered: []anyJSON{}}
	}
	if s.Status == flow.WaitingForPriorSteps {
		return
	}
	m.Iterations = &iterationsJSON{Begun: s.Begun, Done: s.Done, Failed: s.Failed}
	if s.Total >= 0 {
		m.Iterations.Total = &s.Total
	}
}

func chosenForm(branch string) *branchJSON {
	if branch == "" {
		return nil
	}
	n, err := strconv.Atoi(branch)
	if err != nil {
		return &branchJSON{Type: "default"}
	}
	return &branchJSON{Type: "branch", Branch: &n}
}

// addFlowStatus adds to a flow's job what it runs and how far it is.
func (a *API) addFlowStatus(ctx context.Context, f *jobJSON, j *sluice.Job, code bool) error {
	if !j.Kind.IsFlow() {
		return nil
	}
	v, err := a.e.FlowView(ctx, j.Workspace, j.ID)
	if err != nil {
		return err
	}
	f.FlowStatus, f.RawCode = flowStatusForm(v), ""
	if code {
		f.RawFlow = anyJSON(v.Raw)
	}
	return nil
}

// flowStatusOf returns how far a flow's job is; null for every other job.
func (a *API) flowStatusOf(ctx context.Context, j *sluice.Job) (*anyJSON, error) {
	if !j.Kind.IsFlow() {
		return nil, nil
	}
	v, err := a.e.FlowView(ctx, j.Workspace, j.ID)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(flowStatusForm(v))
	status := anyJSON(b)
	return &status, err
}
