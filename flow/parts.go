package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// startLoop begins a forloopflow.
func (m *machine) startLoop(i int) (over bool, err error) {
	mod := m.mods[i]
	raw, err := m.transform(i, mod, "iterator", -1, &mod.Iterator)
	if err != nil {
		return false, err
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil || items == nil {
		return false, failed("InvalidIterator", "step %s: the iterator must give an array, not %s", mod.ID, clip(raw))
	}
	if len(items) > MaxIterations {
		return false, failed("TooManyIterations", "step %s: the iterator gives %d elements; a loop may have %d iterations", mod.ID, len(items), MaxIterations)
	}
	ms := ModuleState{Status: InProgress, Total: len(items), AtOnce: 1}
	if mod.Parallel {
		ms.AtOnce = max(len(items), 1)
		if mod.Parallelism != nil {
			n, err := m.number(i, mod, "parallelism", mod.Parallelism)
			if err != nil {
				return false, err
			}
			if n >= 1 {
				ms.AtOnce = int(min(n, MaxIterations))
			}
		}
	}
	if err := m.takeOver(i, &ms); err != nil {
		return false, err
	}
	if len(items) == 0 {
		m.store(i, json.RawMessage("[]"))
		return true, nil
	}
	if ms.AtOnce < len(items) {
		m.save(itemsOf(mod), raw)
	} else {
		m.known(Ask{Kind: AskStored, Name: itemsOf(mod)}, raw)
	}
	return false, m.iterate(i)
}

// takeOver makes ms the state of a loop or a branchall that begins: behind the
// parts that are taken over from another run, if there are any.
func (m *machine) takeOver(i int, ms *ModuleState) error {
	from := m.st.Modules[i].From
	if from > 0 && ms.Total >= 0 && from >= ms.Total {
		return failed("InvalidRestart", "step %s: has %d iterations now; it was to begin with number %d, counted from 0", m.mods[i].ID, ms.Total, from)
	}
	ms.From, ms.Begun, ms.Done = from, from, from
	m.st.Modules[i] = *ms
	return nil
}

// itemsOf names the stored elements of a loop.
func itemsOf(mod *Module) string { return mod.ID + ":items" }

// iterate begins as many iterations or branches as may run now.
func (m *machine) iterate(i int) error {
	mod := m.mods[i]
	var items []json.RawMessage
	missing := false
	for ms := &m.st.Modules[i]; !ms.Halting && ms.Begun-ms.Done < ms.AtOnce && (ms.Total < 0 || ms.Begun < ms.Total); ms = &m.st.Modules[i] {
		if ms.Begun >= MaxIterations {
			return failed("TooManyIterations", "step %s has had %d iterations, as many as a loop may have", mod.ID, ms.Begun)
		}
		if mod.Kind == KindFor && items == nil {
			raw, err := m.know(Ask{Kind: AskStored, Name: itemsOf(mod)})
			if err != nil {
				return err
			}
			if err := json.Unmarshal(raw, &items); err != nil || len(items) != ms.Total {
				return fmt.Errorf("flow: the elements of loop %s are gone", mod.ID)
			}
		}
		c, err := m.part(i, ms.Begun, items)
		if err == errMissing { //nolint:errorlint // ours alone; the others are to be asked for in the same call
			missing = true
		} else if err != nil {
			return err
		}
		ms.Begun++
		if !missing {
			m.push(c)
		}
	}
	if missing {
		return errMissing
	}
	return nil
}

// part makes the job of an iteration or a branch.
func (m *machine) part(i, n int, items []json.RawMessage) (Child, error) {
	mod := m.mods[i]
	if mod.Kind == KindBranchAll {
		scope := mod.ID + "/" + strconv.Itoa(n)
		return Child{Module: mod, Step: mod.ID, N: n, Scope: &scope, Args: json.RawMessage("{}")}, nil
	}
	value := json.RawMessage(strconv.Itoa(n))
	if items != nil {
		value = items[n]
	}
	iter := json.RawMessage(fmt.Sprintf(`{"index":%d,"value":%s}`, n, value))
	if d := direct(mod.Body); d != nil {
		if m.out.Vars.Iter == nil {
			m.out.Vars.Iter = map[int]json.RawMessage{}
		}
		m.out.Vars.Iter[n] = iter
		return m.step(i, d, n)
	}
	scope := mod.ID
	return Child{Module: mod, Step: mod.ID, N: n, Scope: &scope, Args: json.RawMessage(`{"iter":` + string(iter) + `}`)}, nil
}

// choose begins the branch of a branchone that is to run.
func (m *machine) choose(i int) (over bool, err error) {
	mod := m.mods[i]
	branch := "default"
	for n, b := range mod.Branches {
		holds, err := m.holds(i, fmt.Sprintf("branches[%d].expr", n), -1, b.Expr, "", nil)
		if err != nil {
			return false, err
		}
		if holds {
			branch = strconv.Itoa(n)
			break
		}
	}
	ms := &m.st.Modules[i]
	ms.Branch, ms.Status = branch, InProgress
	body := mod.chosen(branch)
	if len(body) == 0 {
		return true, m.pass(i)
	}
	n := -1
	if branch != "default" {
		n, _ = strconv.Atoi(branch)
	}
	scope := mod.ID + "/" + branch
	c := Child{Module: mod, Step: mod.ID, N: n, Scope: &scope, Args: json.RawMessage("{}")}
	if d := direct(body); d != nil {
		if c, err = m.step(i, d, -1); err != nil {
			return false, err
		}
	}
	*ms = ModuleState{Status: InProgress, Branch: branch, Total: 1, Begun: 1, AtOnce: 1}
	m.push(c)
	return false, nil
}

// chosen returns the modules of a branch of branchone.
func (m *Module) chosen(branch string) []*Module {
	if branch == "default" {
		return m.Default
	}
	if n, err := strconv.Atoi(branch); err == nil && n >= 0 && n < len(m.Branches) {
		return m.Branches[n].Modules
	}
	return nil
}

// startAll begins a branchall.
func (m *machine) startAll(i int) (over bool, err error) {
	mod := m.mods[i]
	ms := ModuleState{Status: InProgress, Total: len(mod.Branches), AtOnce: 1}
	if mod.Parallel {
		ms.AtOnce = max(len(mod.Branches), 1)
	}
	if err := m.takeOver(i, &ms); err != nil {
		return false, err
	}
	if len(mod.Branches) == 0 {
		m.store(i, json.RawMessage("[]"))
		return true, nil
	}
	return false, m.iterate(i)
}

// partEnded deals with the end of an iteration or a branch.
func (m *machine) partEnded(i int, e *Event) error {
	mod, ms := m.mods[i], &m.st.Modules[i]
	ms.Done++
	ms.Job = e.Job
	if !e.Success {
		ms.Failed++
		if !mod.Forgives(e.N) {
			ms.Halting = true
			if ms.FailedJob == "" {
				ms.FailedJob = e.Job
			}
		}
	}
	if mod.Kind == KindBranchOne {
		return m.branchEnded(i, e)
	}
	if e.Stopped && mod.Loop() {
		ms.Halting = true
	}
	// Whichever branch ends last: one that stopped stops what it belongs to.
	ms.Stopped = ms.Stopped || e.Stopped && !mod.Loop()
	if mod.Loop() && mod.StopIf != nil && !ms.Halting && m.st.Error == nil {
		holds, err := m.holds(i, "stop_after_if", e.N, mod.StopIf.Expr, e.Job, nil)
		if err != nil {
			return m.failPart(i, err)
		}
		ms.Halting = holds
		if holds && mod.StopIf.Message != "" {
			return m.failPart(i, failed("EarlyStop", "%s", mod.StopIf.Message))
		}
	}
	if m.st.Error == nil {
		if err := m.iterate(i); err != nil {
			return m.failPart(i, err)
		}
	}
	ms = &m.st.Modules[i]
	if ms.Done < ms.Begun {
		return nil
	}
	if c := m.st.Error; c != nil {
		m.st.Error = nil
		return m.fail(i, *c, nil)
	}
	if ms.FailedJob != "" {
		return m.fail(i, Cause{Step: mod.ID, Job: ms.FailedJob}, nil)
	}
	return m.gather(i)
}

// gather ends a loop or a branchall with the results of its parts.
func (m *machine) gather(i int) error {
	mod, ms := m.mods[i], &m.st.Modules[i]
	all, err := m.know(Ask{Kind: AskChildren, Name: mod.PartStep(), N: ms.Begun})
	if err != nil {
		return err
	}
	if ms.From > 0 {
		if all, err = m.withTaken(i, all); err != nil {
			return err
		}
	}
	m.store(i, all)
	if m.st.Modules[i].Stopped {
		m.st.Step = i
		return m.finish(true, false)
	}
	if stop, err := m.after(i, ""); stop || err != nil {
		return err
	}
	return m.begin(i + 1)
}

// withTaken returns the results of all parts of a module, given those that ran.
func (m *machine) withTaken(i int, ran json.RawMessage) (json.RawMessage, error) {
	raw, err := m.know(Ask{Kind: AskStored, Name: PartsBefore(m.mods[i].ID)})
	if err != nil {
		return nil, err
	}
	var before, all []json.RawMessage
	if err := errors.Join(json.Unmarshal(raw, &before), json.Unmarshal(ran, &all)); err != nil {
		return nil, err
	}
	if from := m.st.Modules[i].From; len(before) != from || len(all) < from {
		return nil, fmt.Errorf("flow: %d results of step %s are taken over, not %d", len(before), m.mods[i].ID, from)
	}
	copy(all, before)
	var out bytes.Buffer
	out.WriteByte('[')
	for n, v := range all {
		if n > 0 {
			out.WriteByte(',')
		}
		out.Write(v)
	}
	out.WriteByte(']')
	return out.Bytes(), nil
}

// branchEnded deals with the end of the branch of a branchone.
func (m *machine) branchEnded(i int, e *Event) error {
	ms := &m.st.Modules[i]
	if !e.Success {
		return m.fail(i, Cause{Step: m.mods[i].ID, Job: e.Job}, nil)
	}
	ms.Status, ms.Value = Success, InJob
	if e.Stopped {
		m.st.Step = i
		return m.finish(true, e.Skipped)
	}
	if stop, err := m.after(i, e.Job); stop || err != nil {
		return err
	}
	return m.begin(i + 1)
}

// failPart fails a loop by an error of the flow itself, once the jobs of it
// that run have ended.
func (m *machine) failPart(i int, err error) error {
	ms := &m.st.Modules[i]
	if f, ok := err.(*failure); ok && ms.Done < ms.Begun { //nolint:errorlint // made here, never wrapped
		ms.Halting = true
		m.st.Error = &Cause{Step: m.mods[i].ID, Value: f.value()}
		return nil
	}
	return m.fail(i, Cause{}, err)
}

// PartStep returns the id under which the jobs of a loop's iterations, or of the
// branches of a branchall, are found: that of the one plain module of the body,
// else that of the module itself.
func (m *Module) PartStep() string {
	if d := direct(m.Body); m.Loop() && d != nil {
		return d.ID
	}
	return m.ID
}

// Forgives reports whether a part, an iteration or a branch, that fails does not
// fail the module.
func (m *Module) Forgives(n int) bool {
	if m.Loop() {
		return m.SkipFailed
	}
	return m.Kind == KindBranchAll && n >= 0 && n < len(m.Branches) && m.Branches[n].SkipFailure
}

// delay returns how long after a failure the next attempt is due, if `before`
// attempts have been made again already.
func (r *Retry) delay(before int, seed uint64) time.Duration {
	if before < r.Constant {
		return r.Delay
	}
	s := float64(r.Multiplier) * math.Pow(float64(r.Base), float64(before-r.Constant+1))
	if r.Jitter > 0 {
		// A number from -1 to 1 that depends on the run and on the attempt.
		x := (seed + uint64(before)) * 0x9e3779b97f4a7c15
		x ^= x >> 29
		x *= 0xbf58476d1ce4e5b9
		x ^= x >> 32
		s *= 1 + float64(r.Jitter)/100*(float64(x>>11)/(1<<52)-1)
	}
	return time.Duration(min(s, maxBackOff.Seconds()) * float64(time.Second))
}

// maxBackOff bounds the delay of a retry, as Windmill does.
const maxBackOff = 6 * time.Hour
