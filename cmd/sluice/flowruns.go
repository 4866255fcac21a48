package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sluice/client"
)

// Statuses of modules, as Windmill names them, in one word.
var moduleStates = map[string]string{
	"WaitingForPriorSteps": "", "WaitingForExecutor": "waiting", "WaitingForEvents": "suspended", "InProgress": "running",
	"Success": "succeeded", "Failure": "failed",
}

// iterationsShown is how many iterations of a loop, the newest, are listed.
const iterationsShown = 10

// showRun prints the steps of a flow's job.
func (a *app) showRun(ctx context.Context, c *client.Client, j *client.Job, now time.Time) error {
	const most = 1000
	children, err := c.Jobs(ctx, client.JobFilter{Parent: j.ID, PerPage: most})
	if err != nil {
		return err
	}
	byID := map[string]*client.Job{}
	for i := range children {
		byID[children[i].ID] = &children[i]
	}
	var v flowValue
	_ = json.Unmarshal(j.RawFlow, &v) // what cannot be read has no names
	names := map[string]string{}
	for _, s := range v.steps() {
		names[s.id] = s.what
	}
	var list []step
	add := func(m *client.ModuleStatus, always bool) {
		if m != nil && (always || m.Type != "WaitingForPriorSteps") {
			list = append(list, runSteps(m, names[m.ID], byID, now)...)
		}
	}
	add(j.FlowStatus.Preprocessor, true)
	for i := range j.FlowStatus.Modules {
		add(&j.FlowStatus.Modules[i], true)
	}
	add(j.FlowStatus.Failure, false)
	if len(list) == 0 {
		return nil
	}
	const reasons = 3 // the first ones; those of a loop are much alike
	for i, left := 0, reasons; i < len(list) && left > 0; i++ {
		if a.addReason(ctx, c, &list[i]) {
			left--
		}
	}
	fmt.Fprintln(a.out)
	a.showSteps(list)
	return nil
}

// runSteps makes the lines of a module.
func runSteps(m *client.ModuleStatus, what string, jobs map[string]*client.Job, now time.Time) []step {
	s := step{id: m.ID, what: what, state: moduleStates[m.Type], job: m.Job}
	if j := jobs[m.Job]; j != nil && m.Iterations == nil {
		s.took = took(j, now)
	}
	if m.Skipped {
		s.state = "skipped"
	}
	if n := len(m.Retries); n > 0 {
		s.note = fmt.Sprintf("has had %s that failed", count(int64(n), "attempt"))
	}
	if m.Needed != nil {
		s.note = fmt.Sprintf("waits for %s", count(int64(*m.Needed), "approval"))
	}
	if m.Iterations == nil {
		return []step{s}
	}
	s.job = iterationWords(m.Iterations)
	list := []step{s}
	first := max(0, len(m.Jobs)-iterationsShown)
	for n := first; n < len(m.Jobs); n++ {
		one := step{depth: 1, id: fmt.Sprintf("#%d", n+1), job: m.Jobs[n], state: "running"}
		if j := jobs[m.Jobs[n]]; j != nil {
			one.state, one.took = stateOf(j), took(j, now)
		}
		list = append(list, one)
	}
	if first > 0 {
		list[0].note = fmt.Sprintf("shows its newest %d jobs", iterationsShown)
	}
	return list
}

// iterationWords says how far a loop is.
func iterationWords(n *client.Iterations) string {
	words := fmt.Sprintf("%s done", grouped(int64(n.Done)))
	if n.Total != nil {
		words = fmt.Sprintf("%s of %s done", grouped(int64(n.Done)), grouped(int64(*n.Total)))
	}
	if n.Failed > 0 {
		words += fmt.Sprintf(", %s failed", grouped(int64(n.Failed)))
	}
	return words
}

// addReason says why a step waits, and reports whether it does.
func (a *app) addReason(ctx context.Context, c *client.Client, s *step) bool {
	if s.state != "waiting" || s.job == "" || s.note != "" {
		return false
	}
	w, err := c.Wait(ctx, s.job)
	if err != nil || w == nil {
		return false
	}
	s.note = "waits: " + short(w)
	return true
}

// tellSteps prints what has become of steps since it was told last.
func (a *app) tellSteps(line *progress, f *client.FlowStatus, told map[string]string) {
	tell := func(m *client.ModuleStatus) {
		if m == nil {
			return
		}
		words := moduleStates[m.Type]
		if m.Skipped {
			words = "skipped"
		}
		if m.Iterations != nil {
			words += ", " + iterationWords(m.Iterations)
		}
		if words == "" || told[m.ID] == words {
			return
		}
		told[m.ID] = words
		line.done()
		fmt.Fprintf(a.err, "%s  %s\n", clean(m.ID), words)
	}
	tell(f.Preprocessor)
	for i := range f.Modules {
		tell(&f.Modules[i])
	}
	tell(f.Failure)
}
