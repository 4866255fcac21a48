package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// maxShownChildren bounds the iterations of a loop that a view lists.
const maxShownChildren = 1000

// FlowView is how far a flow's job is.
type FlowView struct {
	Raw          json.RawMessage // the flow's value; of a loop's body or a branch {"modules": …} of it
	Step         int             // index of the module that is at work
	Modules      []StepView      // one for each, from the first moment on
	Failure      *StepView       // nil: the flow has no such module
	Preprocessor *StepView
	UserStates   map[string]json.RawMessage // nil: none were set
}

// StepView is how far a module is.
type StepView struct {
	ID   string
	Kind flow.Kind
	flow.ModuleState
	Wait     *flow.Wait    // it has run, and waits for approvals
	Resumes  []flow.Resume // approvals so far
	Parallel bool
	Children []ChildView // of loops and branchall: iterations begun, the first 1,000
}

// Many reports whether the module runs several jobs: a loop, or all branches.
func (s *StepView) Many() bool {
	return s.Kind == flow.KindFor || s.Kind == flow.KindWhile || s.Kind == flow.KindBranchAll
}

// ChildView is an iteration of a loop, or a branch.
type ChildView struct {
	N       int
	Job     string
	Outcome sluice.Outcome
}

// rawModule is what a view needs of a module that is as it was pushed.
type rawModule struct {
	ID    string `json:"id"`
	Value struct {
		Type     flow.Kind         `json:"type"`
		Parallel bool              `json:"parallel"`
		Modules  []json.RawMessage `json:"modules"`
		Default  []json.RawMessage `json:"default"`
		Branches []struct {
			Modules []json.RawMessage `json:"modules"`
		} `json:"branches"`
	} `json:"value"`
}

// rawFlow is what it needs of a value.
type rawFlow struct {
	Modules      []json.RawMessage `json:"modules"`
	Failure      json.RawMessage   `json:"failure_module"`
	Preprocessor json.RawMessage   `json:"preprocessor_module"`
}

// FlowView says how far a flow's job is; nil if the job is no flow's.
func (e *Engine) FlowView(ctx context.Context, workspace, id string) (*FlowView, error) {
	return view(ctx, e, func(r store.Reader) (*FlowView, error) {
		j, err := jobIn(r, workspace, id)
		if err != nil || !j.Kind.IsFlow() {
			return nil, err
		}
		return flowView(r, j)
	})
}

func flowView(r store.Reader, j *sluice.Job) (*FlowView, error) {
	raw, err := rawFlowOf(r, j)
	if err != nil {
		return nil, err
	}
	var parsed rawFlow
	if err := json.Unmarshal(raw, &parsed); err != nil {
		return nil, fmt.Errorf("read the value of the flow %s: %w", j.Path, err)
	}
	state := new(flow.State)
	row, err := r.FlowRun(j.Seq)
	switch {
	case errors.Is(err, store.ErrNotFound): // it has not begun
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(row.State, state); err != nil {
			return nil, fmt.Errorf("read the state of the flow %s: %w", j.ID, err)
		}
	}
	v := &FlowView{Raw: raw, Step: state.Step}
	for i, m := range parsed.Modules {
		var ms flow.ModuleState
		if i < len(state.Modules) {
			ms = state.Modules[i]
		}
		s, err := stepView(r, j, m, ms)
		if err != nil {
			return nil, err
		}
		if state.Wait != nil && state.Wait.Index == i {
			s.Status, s.Wait, s.Resumes = flow.WaitingForEvents, state.Wait, state.Resumes
		}
		v.Modules = append(v.Modules, *s)
	}
	return v, v.others(r, j, &parsed, state)
}

// others fills in what belongs to a whole flow.
func (v *FlowView) others(r store.Reader, j *sluice.Job, parsed *rawFlow, state *flow.State) (err error) {
	if isModule(parsed.Failure) {
		var ms flow.ModuleState
		if state.Failure != nil {
			ms = *state.Failure
		}
		if v.Failure, err = stepView(r, j, parsed.Failure, ms); err != nil {
			return err
		}
		v.Failure.ID = cmp.Or(v.Failure.ID, flow.FailureStep)
	}
	if isModule(parsed.Preprocessor) {
		var ms flow.ModuleState
		switch {
		case j.Phase == sluice.PhasePreprocessed:
			ms.Status = flow.Success
		case j.Phase == sluice.PhasePreprocess && j.State == sluice.StateCompleted:
			ms.Status = flow.Failure
		case j.Phase == sluice.PhasePreprocess && j.State == sluice.StateRunning:
			ms.Status = flow.InProgress
		}
		if v.Preprocessor, err = stepView(r, j, parsed.Preprocessor, ms); err != nil {
			return err
		}
		v.Preprocessor.ID = cmp.Or(v.Preprocessor.ID, flow.PreprocessorStep)
		jobs, err := r.Children(j.ID, flow.PreprocessorStep, -1, 1)
		if err != nil {
			return err
		}
		if len(jobs) > 0 {
			v.Preprocessor.Job = jobs[0].ID
		}
	}
	v.UserStates, err = userStates(r, j)
	return err
}

// earlyPoll is how often a flow is looked at that may give its result before
// its end.
const earlyPoll = 100 * time.Millisecond

// AwaitResult is Await for who wants a result and nothing else: a flow that
// gives it early (early_return) is returned with that, as if it had ended well.
func (e *Engine) AwaitResult(ctx context.Context, workspace, id string) (*JobView, error) {
	early, err := view(ctx, e, func(r store.Reader) (bool, error) {
		j, err := jobIn(r, workspace, id)
		if err != nil || !j.Kind.IsFlow() {
			return false, err
		}
		v, err := e.flowOf(r, j)
		return err == nil && v.EarlyReturn != "", nil // a flow that is gone has none
	})
	if err != nil || !early {
		if err != nil {
			return nil, err
		}
		return e.Await(ctx, workspace, id)
	}
	for {
		var v *JobView
		err := e.awaitJob(ctx, workspace, id, earlyPoll, func(r store.Reader, j *sluice.Job) (bool, error) {
			result, err := r.FlowResult(j.Seq, earlyResult)
			switch {
			case err == nil && j.State != sluice.StateCompleted:
				j.Outcome, j.Result = sluice.OutcomeSuccess, result
				v = &JobView{Job: j}
				return true, nil
			case err != nil && !errors.Is(err, store.ErrNotFound):
				return false, err
			case j.State != sluice.StateCompleted:
				return false, nil
			}
			v, err = e.jobView(r, j, false, false)
			return true, err
		})
		if err != nil || v != nil {
			return v, err
		}
	}
}

func isModule(raw json.RawMessage) bool {
	return strings.HasPrefix(strings.TrimSpace(string(raw)), "{")
}

func stepView(r store.Reader, j *sluice.Job, raw json.RawMessage, ms flow.ModuleState) (*StepView, error) {
	var m rawModule
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read a module of the flow %s: %w", j.Path, err)
	}
	if ms.Status == "" {
		ms.Status = flow.WaitingForPriorSteps
	}
	s := &StepView{ID: m.ID, Kind: m.Value.Type, ModuleState: ms, Parallel: m.Value.Parallel}
	if s.Many() {
		if ms.Begun == 0 {
			return s, nil
		}
		return s, s.children(r, j, &m)
	}
	if ms.Job == "" || ms.Status != flow.InProgress && ms.Status != flow.WaitingForExecutor {
		return s, nil
	}
	child, err := r.Job(ms.Job)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return s, nil
	case err != nil:
		return nil, err
	}
	s.Status = flow.InProgress
	if child.Waiting() {
		s.Status = flow.WaitingForExecutor
	}
	return s, nil
}

// children lists the iterations of a loop, or the branches: jobs of the module,
// or, where a body is one plain module, that module's own.
func (s *StepView) children(r store.Reader, j *sluice.Job, m *rawModule) error {
	names := []string{s.ID}
	bodies := [][]json.RawMessage{m.Value.Modules}
	for _, b := range m.Value.Branches {
		bodies = append(bodies, b.Modules)
	}
	for _, body := range bodies {
		var only rawModule
		if len(body) == 1 && json.Unmarshal(body[0], &only) == nil {
			names = append(names, only.ID)
		}
	}
	newest := map[int]*sluice.Job{}
	for _, name := range names {
		jobs, err := r.Children(j.ID, name, 0, maxShownChildren)
		if err != nil {
			return err
		}
		for _, c := range jobs {
			if old := newest[c.StepN]; old == nil || old.Seq < c.Seq {
				newest[c.StepN] = c
			}
		}
	}
	for n := range maxShownChildren {
		if c := newest[n]; c != nil {
			s.Children = append(s.Children, ChildView{N: n, Job: c.ID, Outcome: c.Outcome})
		}
	}
	return nil
}

// rawFlowOf returns the value that a flow's job runs, as it was pushed.
func rawFlowOf(r store.Reader, j *sluice.Job) (json.RawMessage, error) {
	whole := j
	for whole.FlowScope != "" {
		outer, err := r.Job(whole.ParentJob)
		if errors.Is(err, store.ErrNotFound) {
			return json.RawMessage(`{"modules":[]}`), nil
		}
		if err != nil {
			return nil, err
		}
		whole = outer
	}
	raw := json.RawMessage(whole.Content)
	if whole.Hash != "" {
		n, err := strconv.ParseInt(whole.Hash, 16, 64)
		if err != nil {
			return nil, fmt.Errorf("read the version of the flow %s: %w", whole.Path, err)
		}
		row, err := r.FlowVersion(whole.Workspace, n)
		switch {
		case errors.Is(err, store.ErrNotFound): // deleted since
			return json.RawMessage(`{"modules":[]}`), nil
		case err != nil:
			return nil, err
		}
		raw = row.Value
	}
	if j.FlowScope == "" {
		return raw, nil
	}
	var f rawFlow
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("read the value of the flow %s: %w", whole.Path, err)
	}
	modules, _ := rawScope(f.Modules, j.FlowScope)
	if modules == nil {
		modules = []json.RawMessage{}
	}
	return json.Marshal(rawScopeValue{modules})
}

type rawScopeValue struct {
	Modules []json.RawMessage `json:"modules"`
}

// rawScope finds the modules of a scope; see package flow for its names.
func rawScope(modules []json.RawMessage, scope string) ([]json.RawMessage, bool) {
	id, branch, _ := strings.Cut(scope, "/")
	for _, raw := range modules {
		var m rawModule
		if json.Unmarshal(raw, &m) != nil {
			continue
		}
		if m.ID == id {
			switch n, err := strconv.Atoi(branch); {
			case branch == "":
				return m.Value.Modules, true
			case branch == "default":
				return m.Value.Default, true
			case err == nil && n >= 0 && n < len(m.Value.Branches):
				return m.Value.Branches[n].Modules, true
			}
			return nil, false
		}
		inner := [][]json.RawMessage{m.Value.Modules, m.Value.Default}
		for _, b := range m.Value.Branches {
			inner = append(inner, b.Modules)
		}
		for _, body := range inner {
			if found, ok := rawScope(body, scope); ok {
				return found, true
			}
		}
	}
	return nil, false
}

// userStatesName is the name under which what the steps of a flow keep together
// is stored, beside results of its steps.
const userStatesName = "$user_states"

// Bounds of what the steps of one flow keep together.
const (
	maxUserStates     = 100
	maxUserStateKey   = 200
	maxUserStatesSize = 1 << 20
)

func userStates(r store.Reader, j *sluice.Job) (map[string]json.RawMessage, error) {
	raw, err := r.FlowResult(j.Seq, userStatesName)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var states map[string]json.RawMessage
	if err := json.Unmarshal(raw, &states); err != nil {
		return nil, fmt.Errorf("read the user states of the flow %s: %w", j.ID, err)
	}
	return states, nil
}

// FlowUserState returns what the steps of a flow keep under a key; null if they
// keep nothing.
func (e *Engine) FlowUserState(ctx context.Context, workspace, id, key string) (json.RawMessage, error) {
	return view(ctx, e, func(r store.Reader) (json.RawMessage, error) {
		j, err := flowJob(r, workspace, id)
		if err != nil {
			return nil, err
		}
		states, err := userStates(r, j)
		if v, ok := states[key]; ok {
			return v, err
		}
		return json.RawMessage("null"), err
	})
}

// SetFlowUserState keeps a value under a key for the steps of a flow that has
// not ended.
func (e *Engine) SetFlowUserState(ctx context.Context, workspace, id, key string, value json.RawMessage) error {
	if key == "" || len(key) > maxUserStateKey {
		return sluice.Invalid("key", "must have 1 to %d bytes", maxUserStateKey)
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
		j, err := flowJob(tx, workspace, id)
		if err != nil {
			return err
		}
		if j.State == sluice.StateCompleted {
			return sluice.Errorf(sluice.CodeConflict, "the flow %s has ended", id)
		}
		states, err := userStates(tx, j)
		if err != nil {
			return err
		}
		next := maps.Clone(states)
		if next == nil {
			next = map[string]json.RawMessage{}
		}
		next[key] = value
		raw, err := json.Marshal(next)
		switch {
		case err != nil:
			return sluice.Invalid("", "must be a JSON value")
		case len(next) > maxUserStates:
			return &sluice.Error{Code: sluice.CodeTooLarge, Field: "key", Message: fmt.Sprintf("a flow keeps at most %d", maxUserStates)}
		case len(raw) > maxUserStatesSize:
			return sluice.Errorf(sluice.CodeTooLarge, "what a flow keeps would have %d bytes; at most %d are allowed", len(raw), maxUserStatesSize)
		}
		return tx.SaveFlowResult(j.Seq, userStatesName, raw)
	})
}

func flowJob(r store.Reader, workspace, id string) (*sluice.Job, error) {
	j, err := jobIn(r, workspace, id)
	if err == nil && !j.Kind.IsFlow() {
		err = sluice.Errorf(sluice.CodeInvalid, "job %s is no run of a flow", id)
	}
	return j, err
}
