package flow

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Next decides what becomes of a run after something happened to it. It is
// pure: equal inputs give equal outputs. An error means that state and event
// do not belong to the flow; the run cannot go on then.
func Next(in Input) (Output, error) {
	mods, ok := in.Value.Scope(in.State.Scope)
	if !ok {
		return Output{}, fmt.Errorf("flow: there is no scope %q", in.State.Scope)
	}
	m := &machine{in: in, v: in.Value, mods: mods, st: in.State.clone(), asked: map[Ask]bool{}}
	m.out.Vars.Resumes = m.st.Resumes
	err := m.event()
	if len(m.out.Asks) > 0 {
		return Output{Asks: m.out.Asks, Vars: m.out.Vars, State: m.st, Store: m.out.Store}, nil
	}
	if err != nil {
		return Output{}, err
	}
	m.out.State = m.st
	return m.out, nil
}

func (s *State) clone() *State {
	c := *s
	c.Modules = slices.Clone(s.Modules)
	for i := range c.Modules {
		c.Modules[i].FailedJobs = slices.Clone(c.Modules[i].FailedJobs)
		c.Modules[i].ApprovedBy = slices.Clone(c.Modules[i].ApprovedBy)
	}
	if s.Failure != nil {
		f := *s.Failure
		c.Failure = &f
	}
	if s.Wait != nil {
		w := *s.Wait
		c.Wait = &w
	}
	c.Resumes = slices.Clone(s.Resumes)
	return &c
}

// machine is one call of Next.
type machine struct {
	in    Input
	v     *Value
	mods  []*Module
	st    *State
	out   Output
	delay time.Duration // before what is begun next
	asked map[Ask]bool
}

// errMissing stops the work on something that lacks a value that was asked for.
var errMissing = errors.New("flow: a value is missing")

// failure is an error of the flow itself, which fails a step.
type failure struct{ name, message string }

func (f *failure) Error() string { return f.message }

func failed(name, format string, args ...any) error {
	return &failure{name: name, message: fmt.Sprintf(format, args...)}
}

// value is the failure as the result of a step.
func (f *failure) value() json.RawMessage {
	b, err := json.Marshal(map[string]any{"error": map[string]any{"name": f.name, "message": f.message}})
	if err != nil {
		return json.RawMessage(`{"error":{"name":"InternalErr","message":"the error cannot be told"}}`)
	}
	return b
}

func (m *machine) event() error {
	e := &m.in.Event
	if m.st.Ended {
		return nil
	}
	if e.Kind == Ended {
		m.st.Open--
	}
	m.st.Cut = m.st.Cut || e.Kind == Cut
	if canceled := m.in.Canceled || e.Kind == Cancelled; canceled || m.st.Cut {
		m.out.CancelOpen = true
		if m.st.Open == 0 {
			m.end(End{Canceled: canceled, Cut: !canceled})
		}
		return nil
	}
	switch e.Kind {
	case Started:
		if m.st.Modules == nil {
			m.st.Modules = make([]ModuleState, len(m.mods))
		}
		return m.begin(m.st.Step)
	case Ended:
		return m.ended(e)
	case Timer:
		return m.timer()
	case Resumed, Refused:
		return m.resume(e)
	case Cancelled, Cut: // see above
	}
	return fmt.Errorf("flow: unknown event %q", e.Kind)
}

// end ends the run.
func (m *machine) end(e End) {
	m.st.Ended = true
	m.out.WakeAt = time.Time{}
	m.out.End = &e
}

// begin begins the module at an index, and goes on from it as long as no job
// is needed.
func (m *machine) begin(i int) error {
	for ; i < len(m.mods); i++ {
		m.st.Step = i
		on, err := m.start(i)
		if err != nil {
			return m.fail(i, Cause{}, err)
		}
		if !on {
			return nil
		}
		if stop, err := m.after(i, ""); stop || err != nil {
			return err
		}
	}
	return m.finish(false, false)
}

// finish ends the scope with the result of its last module.
func (m *machine) finish(stopped, skipped bool) error {
	at := m.st.Step
	if !stopped {
		at = len(m.mods) - 1
		m.st.Step = len(m.mods)
	}
	var r Result
	if at >= 0 && at < len(m.mods) {
		if s, ok := m.st.Source(m.v, m.mods[at].ID); ok {
			r = s
		}
	} else {
		input, err := m.know(m.previous(0))
		if err != nil {
			return err
		}
		r.Value = input
	}
	m.end(End{Success: true, Result: r, Stopped: stopped, Skipped: skipped})
	return nil
}

// previous names what a step at an index sees as previous_result.
func (m *machine) previous(i int) Ask {
	if i > 0 {
		return Ask{Kind: AskResult, Name: m.mods[i-1].ID}
	}
	return m.v.before(m.st.Scope)
}

// before names what the first step of a scope sees as previous_result: what
// the loop or branch that it belongs to sees.
func (v *Value) before(scope string) Ask {
	for scope != "" {
		id, _, _ := strings.Cut(scope, "/")
		scope = v.in[id]
		for i, mod := range v.scopes[scope] {
			if mod.ID == id && i > 0 {
				return Ask{Kind: AskResult, Name: v.scopes[scope][i-1].ID}
			}
		}
	}
	return Ask{Kind: AskInput}
}

// start does what a module does. It reports whether the module is over at once.
func (m *machine) start(i int) (over bool, err error) {
	mod, ms := m.mods[i], &m.st.Modules[i]
	if mod.SkipIf != "" {
		skip, err := m.holds(i, "skip_if", -1, mod.SkipIf, "", nil)
		if err != nil {
			return false, err
		}
		if skip {
			ms.Skipped = true
			return true, m.pass(i)
		}
	}
	if mod.Mock != nil {
		m.store(i, mod.Mock.Value)
		return true, nil
	}
	switch mod.Kind {
	case KindIdentity:
		return true, m.pass(i)
	case KindFor:
		return m.startLoop(i)
	case KindWhile:
		if err := m.takeOver(i, &ModuleState{Status: InProgress, Total: -1, AtOnce: 1}); err != nil {
			return false, err
		}
		return false, m.iterate(i)
	case KindBranchOne:
		return m.choose(i)
	case KindBranchAll:
		return m.startAll(i)
	case KindRaw, KindScript, KindFlow:
	}
	c, err := m.step(i, mod, -1)
	if err != nil {
		return false, err
	}
	ms.Status = WaitingForExecutor
	if mod.Suspend != nil {
		m.st.Resumes = nil // what comes now is for this step
	}
	m.push(c)
	return false, nil
}

// pass gives a module the previous result.
func (m *machine) pass(i int) error {
	v, err := m.know(m.previous(i))
	if err != nil {
		return err
	}
	m.store(i, v)
	return nil
}

// store ends a module with a value.
func (m *machine) store(i int, v json.RawMessage) {
	ms := &m.st.Modules[i]
	ms.Status, ms.Value = Success, InStored
	m.save(m.mods[i].ID, v)
}

// save stores a value.
func (m *machine) save(name string, v json.RawMessage) {
	m.out.Store = append(m.out.Store, Stored{Name: name, Value: v})
	m.known(Ask{Kind: AskStored, Name: name}, v)
}

// known notes a value that this very call has made.
func (m *machine) known(a Ask, v json.RawMessage) {
	known := make(map[Ask]json.RawMessage, len(m.in.Known)+1)
	for k, w := range m.in.Known {
		known[k] = w
	}
	known[a] = v
	m.in.Known = known
}

func (m *machine) push(c Child) {
	c.Delay += m.delay
	m.st.Open++
	m.st.Pushed++
	m.out.Push = append(m.out.Push, c)
}

// after is what comes after a module that has succeeded: job is what ran it,
// "" if none did. It reports whether the scope does not go on to the next.
func (m *machine) after(i int, job string) (stop bool, err error) {
	mod, ms := m.mods[i], &m.st.Modules[i]
	m.delay = 0
	if m.st.Scope == "" && mod.ID == m.v.EarlyReturn {
		if r, ok := m.st.Source(m.v, mod.ID); ok {
			m.out.Early = &r
		}
	}
	stopIf, part := mod.StopIf, "stop_after_if"
	if mod.Loop() || mod.Kind == KindBranchAll {
		stopIf, part = mod.StopAfterAll, "stop_after_all_iters_if"
	}
	if stopIf != nil && !ms.Skipped {
		holds, err := m.stops(i, part, stopIf, job)
		if err != nil {
			return true, m.fail(i, Cause{}, err)
		}
		if holds {
			return true, m.stop(i, stopIf)
		}
	}
	if mod.Suspend != nil && !ms.Skipped {
		if wait, err := m.suspend(i); wait || err != nil {
			return true, err
		}
	}
	if err := m.rest(i); err != nil {
		return true, m.fail(i, Cause{}, err)
	}
	return false, nil
}

// rest sets the delay that a module's sleep asks for.
func (m *machine) rest(i int) (err error) {
	m.delay = 0
	if mod := m.mods[i]; mod.Sleep != nil && i+1 < len(m.mods) {
		m.delay, err = m.span(i, mod, "sleep", mod.Sleep)
	}
	return err
}

func (m *machine) stops(i int, part string, s *Stop, job string) (bool, error) {
	var result json.RawMessage
	if job == "" {
		v, err := m.know(Ask{Kind: AskResult, Name: m.mods[i].ID})
		if err != nil {
			return false, err
		}
		result = v
	}
	return m.holds(i, part, -1, s.Expr, job, result)
}

// stop ends the scope early.
func (m *machine) stop(i int, s *Stop) error {
	m.st.Step = i
	if s.Message != "" {
		return m.failScope(i, Cause{Step: m.mods[i].ID, Value: (&failure{name: "EarlyStop", message: s.Message}).value()})
	}
	return m.finish(true, s.Skipped)
}

// ended deals with the end of a job.
func (m *machine) ended(e *Event) error {
	if f := m.v.Failure; f != nil && m.st.Scope == "" && e.Step == f.ID {
		m.st.Failure.Status, m.st.Failure.Job, m.st.Failure.Value = Success, e.Job, InJob
		if !e.Success {
			m.st.Failure.Status = Failure
		}
		m.end(End{Result: Result{Job: e.Job}})
		return nil
	}
	for i, mod := range m.mods {
		switch {
		case mod.ID == e.Step && mod.Leaf():
			return m.leafEnded(i, e)
		case mod.ID == e.Step, mod.Loop() && e.Step == directID(mod.Body):
			return m.partEnded(i, e)
		case mod.Kind == KindBranchOne && e.Step == directID(mod.chosen(m.st.Modules[i].Branch)):
			return m.partEnded(i, e)
		}
	}
	return fmt.Errorf("flow: the scope %q has no step %q", m.st.Scope, e.Step)
}

func directID(body []*Module) string {
	if d := direct(body); d != nil {
		return d.ID
	}
	return "\x00"
}

func (m *machine) leafEnded(i int, e *Event) error {
	mod, ms := m.mods[i], &m.st.Modules[i]
	ms.Job = e.Job
	if m.st.Error != nil || m.st.Step != i {
		return nil
	}
	if e.Success {
		ms.Status, ms.Value = Success, InJob
		ms.Skipped = ms.Skipped || e.Skipped
		if stop, err := m.after(i, e.Job); stop || err != nil {
			return err
		}
		return m.begin(i + 1)
	}
	again, delay, err := m.retry(i, e.Job)
	if err != nil {
		return m.fail(i, Cause{Step: mod.ID, Job: e.Job}, err)
	}
	if !again {
		return m.fail(i, Cause{Step: mod.ID, Job: e.Job}, nil)
	}
	ms.Attempt++
	ms.FailedJobs = append(ms.FailedJobs, e.Job)
	ms.Status = WaitingForExecutor
	m.push(Child{Module: mod, Step: mod.ID, N: -1, Delay: delay, Attempt: ms.Attempt, RetryOf: e.Job, Timeout: 0})
	return nil
}

// retry decides whether a failed step is tried again, and after how long.
func (m *machine) retry(i int, job string) (bool, time.Duration, error) {
	r, n := m.mods[i].Retry, m.st.Modules[i].Attempt
	if r == nil || n >= r.Constant+r.Exponential {
		return false, 0, nil
	}
	if r.If != "" {
		ok, err := m.holds(i, "retry.retry_if", -1, r.If, job, nil)
		if err != nil || !ok {
			return false, 0, err
		}
	}
	return true, r.delay(n, m.in.Seed), nil
}

// fail deals with a module that has failed: by a cause that a job has left, or
// by an error of the flow itself.
func (m *machine) fail(i int, c Cause, err error) error {
	if errors.Is(err, errMissing) {
		return errMissing
	}
	var f *failure
	if errors.As(err, &f) {
		c = Cause{Step: m.mods[i].ID, Value: f.value()}
	} else if err != nil {
		return err
	}
	mod, ms := m.mods[i], &m.st.Modules[i]
	ms.Status = Failure
	if !mod.ContinueOnError {
		return m.failScope(i, c)
	}
	ms.Value = InJob
	if c.Job != "" {
		ms.Job = c.Job
	} else {
		ms.Value = InStored
		m.save(mod.ID, c.Value)
	}
	if errors.Is(m.rest(i), errMissing) { // a sleep that cannot be told is none: the step has failed already
		return errMissing
	}
	return m.begin(i + 1)
}

// failScope ends the scope with a failure, after the failure module if the
// flow has one.
func (m *machine) failScope(i int, c Cause) error {
	m.st.Step, m.st.Error, m.st.Wait = i, &c, nil
	m.st.Modules[i].Status = Failure
	f := m.v.Failure
	if f == nil || m.st.Scope != "" || m.st.Failure != nil {
		m.end(End{Result: c.result()})
		return nil
	}
	m.out.Vars.Error = &c
	m.delay = 0
	child, err := m.step(i, f, -1)
	if errors.Is(err, errMissing) {
		return err
	}
	m.st.Failure = &ModuleState{Status: WaitingForExecutor}
	if err != nil { // its inputs cannot be made: what failed first is what counts
		m.st.Failure.Status = Failure
		m.end(End{Result: c.result()})
		return nil
	}
	m.push(child)
	return nil
}

func (c *Cause) result() Result {
	if c.Job != "" {
		return Result{Job: c.Job}
	}
	return Result{Value: c.Value}
}
