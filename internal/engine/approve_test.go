package engine_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// asks has a step ask for approvals; settings are pairs of field and value.
func asks(step obj, settings ...any) obj { return with(step, "suspend", with(obj{}, settings...)) }

// signed is an approval of a job, signed as a link is.
func (w *world) signed(job string, resumeID int64, approver string) *engine.Approval {
	w.t.Helper()
	s, err := w.SignApproval(w.ctx(), "main", job, resumeID, approver)
	w.must(err)
	return &engine.Approval{Workspace: "main", JobID: job, ResumeID: resumeID, Approver: approver, Signature: s}
}

func (w *world) approve(a *engine.Approval) {
	w.t.Helper()
	w.must(w.Approve(w.ctx(), a))
	w.moveFlows()
}

// refusal checks that an approval is refused with a code and with words.
func (w *world) refusal(what string, a *engine.Approval, code sluice.Code, words string) {
	w.t.Helper()
	if err := w.Approve(w.ctx(), a); sluice.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
		w.t.Errorf("%s: %v; want %s, %q", what, err, code, words)
	}
}

// doStep runs the next job, which must be of the step.
func (w *world) doStep(step string) sluice.Assignment {
	w.t.Helper()
	got := w.take("w1", 1)
	if len(got) != 1 || got[0].FlowStep != step {
		w.t.Fatalf("step %s is not there to be run: %v", step, jobsOf(got))
	}
	w.ends("w1", got[0], true, `"`+step+`"`)
	w.moveFlows()
	return got[0]
}

// B5: the slot of a flow is held once, through approvals, their repetition, a
// restart of the server and a sleep, and is released once.
func TestB5_AFlowHoldsOneSlotThroughApprovals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.flow("f/b/five", []obj{
		with(asks(raw("a"), "required_events", 2), "sleep", obj{"type": "static", "value": 10}),
		inputs(raw("b"), "all", "=resumes", "last", "=resume", "who", "=approvers"),
	}, "concurrent_limit", 1)
	const key = "main/flow/f/b/five"
	id, next := w.runFlow("f/b/five"), w.runFlow("f/b/five")
	a := w.doStep("a")
	w.heldIs("suspended", key, 1)
	one, two := w.signed(a.JobID, 1, "ann"), w.signed(a.JobID, 2, "bob")
	one.Value, two.Value = json.RawMessage(`{"n":1}`), json.RawMessage(`2`)
	w.approve(one)
	w.approve(one) // the same again counts once
	w.restart()
	w.moveFlows()
	w.heldIs("with one approval of two", key, 1)
	if v, err := w.FlowView(w.ctx(), "main", id); err != nil || v.Modules[0].Status != "WaitingForEvents" || v.Modules[0].Wait.Required != 2 ||
		len(v.Modules[0].Resumes) != 1 || v.Modules[0].Resumes[0].Approver != "ann" {
		t.Errorf("while it waits: %+v, %v", v, err)
	}
	w.approve(two)
	w.heldIs("asleep", key, 1)
	w.refusal("after all came", one, sluice.CodeConflict, "no longer")
	if got := w.take("w1", 1); len(got) != 0 {
		t.Fatal("it did not sleep")
	}
	w.clock.advance(10 * time.Second)
	w.moveFlows()
	b := w.take("w1", 1)
	if len(b) != 1 || string(b[0].Args) != `{"all":[{"n":1},2],"last":2,"who":["ann","bob"]}` {
		t.Fatalf("the step after the approval: %+v", b)
	}
	w.heldIs("in the last step", key, 1)
	w.ends("w1", b[0], true, "1")
	w.result(id, sluice.OutcomeSuccess, "1")
	w.doStep("a") // of the flow behind it, which has the slot now
	w.heldIs("the next one", key, 1)
	w.refusal("after the end", two, sluice.CodeConflict, "has ended")
	_, err := w.Cancel(w.ctx(), "main", []string{next}, "eve", "", false)
	w.must(err)
	w.moveFlows()
	w.result(next, sluice.OutcomeCanceled, "eve")
	w.heldIs("in the end", key, 0)
	w.auditRule(key)
}

func TestApprove_Refusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.flow("f/x/flow", []obj{raw("plain"), asks(raw("a"), "required_events", 2), raw("b")})
	w.flow("f/x/self", []obj{asks(raw("a"), "self_approval_disabled", true, "user_auth_required", true)})
	w.script("f/x/alone")
	alone := w.push("f/x/alone")
	w.ends("w1", w.take("w1", 1)[0], true, "1")
	w.refusal("before anything was signed", &engine.Approval{Workspace: "main", JobID: alone, Signature: "00"}, sluice.CodeForbidden, "signature")
	id := w.runFlow("f/x/flow")
	plain := w.doStep("plain")
	a := w.doStep("a")
	good := w.signed(a.JobID, 1, "ann")
	change := func(f func(*engine.Approval)) *engine.Approval {
		c := *good
		f(&c)
		return &c
	}
	w.refusal("another job", change(func(c *engine.Approval) { c.JobID = plain.JobID }), sluice.CodeForbidden, "signature")
	w.refusal("no job", change(func(c *engine.Approval) { c.JobID = "none" }), sluice.CodeForbidden, "signature")
	w.refusal("another id", change(func(c *engine.Approval) { c.ResumeID = 2 }), sluice.CodeForbidden, "signature")
	w.refusal("somebody else", change(func(c *engine.Approval) { c.Approver = "bob" }), sluice.CodeForbidden, "signature")
	w.refusal("no signature", change(func(c *engine.Approval) { c.Signature = "" }), sluice.CodeForbidden, "signature")
	w.refusal("owned, no job", &engine.Approval{Workspace: "main", JobID: "none", Owned: true}, sluice.CodeNotFound, "no job")
	w.refusal("another workspace", change(func(c *engine.Approval) { c.Workspace = "other" }), sluice.CodeNotFound, "no job")
	w.refusal("too large", change(func(c *engine.Approval) {
		c.Value = json.RawMessage(`"` + strings.Repeat("x", engine.MaxApprovalBytes) + `"`)
	}), sluice.CodeTooLarge, "payload")
	w.refusal("no JSON", change(func(c *engine.Approval) { c.Value = json.RawMessage(`{`) }), sluice.CodeInvalid, "payload")
	w.refusal("a wild id", change(func(c *engine.Approval) { c.ResumeID = -1 }), sluice.CodeInvalid, "resume_id")
	w.refusal("a long name", change(func(c *engine.Approval) { c.Approver = strings.Repeat("x", 201) }), sluice.CodeInvalid, "approver")
	w.refusal("no suspend", w.signed(plain.JobID, 1, ""), sluice.CodeInvalid, "no suspend")
	if _, err := w.SignApproval(w.ctx(), "main", alone, 1, ""); sluice.CodeOf(err) != sluice.CodeInvalid {
		t.Errorf("sign for a job that is in no flow: %v", err)
	}
	w.approve(good)
	w.approve(w.signed(id, 7, "")) // the flow stands for its step that waits
	w.doStep("b")
	w.refusal("after the end", good, sluice.CodeConflict, "has ended")

	self := w.runFlow("f/x/self", func(n *engine.NewJob) { n.CreatedBy = "ann" })
	s := w.signed(w.doStep("a").JobID, 1, "")
	w.refusal("nobody is signed in", s, sluice.CodeForbidden, "signed in")
	s.User = "ann"
	w.refusal("who started it", s, sluice.CodeForbidden, "has started the flow")
	w.refusal("and owns it", &engine.Approval{Workspace: "main", JobID: self, User: "ann", Owned: true}, sluice.CodeForbidden, "has started the flow")
	s.User = "bob"
	w.approve(s)
	w.result(self, sluice.OutcomeSuccess, "a")
}

// TestApprove_Ends: how a wait ends without the approval, and what the flow
// makes of it.
func TestApprove_Ends(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		goOn   bool
		refuse bool
		want   string
	}{
		{"time-out", false, false, "SuspendTimeout"},
		{"disapproved", false, true, "was disapproved by ann"},
		{"time-out, goes on", true, false, ""},
		{"disapproved, goes on", true, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.flow("f/x/flow", []obj{asks(raw("a"), "timeout", 60, "continue_on_disapprove_timeout", c.goOn), raw("b")}, "concurrent_limit", 1)
			id := w.runFlow("f/x/flow")
			a := w.doStep("a")
			switch {
			case c.refuse:
				no := w.signed(a.JobID, 1, "ann")
				no.Refused = true
				w.approve(no)
			default:
				w.clock.advance(60*time.Second - time.Microsecond)
				w.restart()
				w.moveFlows()
				if w.job(id).State != sluice.StateRunning || len(w.take("w1", 1)) != 0 {
					t.Fatal("the wait ended early")
				}
				w.clock.advance(time.Microsecond)
				w.moveFlows()
			}
			if c.goOn {
				w.doStep("b")
				w.result(id, sluice.OutcomeSuccess, "b")
			} else {
				w.result(id, sluice.OutcomeFailure, c.want)
			}
			w.heldIs("in the end", "main/flow/f/x/flow", 0)
		})
	}
}

// TestApprove_WhileTheStepRuns: what comes early counts, once, for this step and
// for none after it.
func TestApprove_WhileTheStepRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.flow("f/x/flow", []obj{asks(raw("a")), asks(obj{"id": "i", "value": obj{"type": "identity"}}), asks(raw("b"), "required_events", 2), raw("c")})
	id := w.runFlow("f/x/flow")
	a := w.take("w1", 1)[0]
	early := w.signed(a.JobID, 1, "ann")
	w.approve(early)
	w.approve(early)
	w.refusal("one more than it needs", w.signed(a.JobID, 2, ""), sluice.CodeConflict, "all the approvals")
	w.ends("w1", a, true, "1")
	w.moveFlows()
	v, err := w.FlowView(w.ctx(), "main", id)
	if err != nil || v.Modules[0].Status != "Success" || v.Modules[1].Wait == nil || len(v.Modules[1].Resumes) != 0 {
		t.Fatalf("the second wait has what the first one was given: %+v, %v", v, err)
	}
	w.approve(&engine.Approval{Workspace: "main", JobID: id, User: "admin", Owned: true})
	b := w.take("w1", 1)
	if len(b) != 1 || b[0].FlowStep != "b" {
		t.Fatalf("after the second wait: %v", jobsOf(b))
	}
	w.refusal("for the first step, late", early, sluice.CodeConflict, "no longer")
	w.approve(w.signed(b[0].JobID, 1, ""))
	w.restart()
	w.ends("w1", b[0], true, "2")
	w.moveFlows()
	if w.job(id).State != sluice.StateRunning || len(w.take("w1", 1)) != 0 {
		t.Fatal("it went on with one approval of two")
	}
	w.approve(w.signed(b[0].JobID, 2, ""))
	w.doStep("c")
	w.result(id, sluice.OutcomeSuccess, "c")
}

// TestApprove_InParts: a step in a loop is found by its job, and by the flow's
// as long as it is the only one.
func TestApprove_InParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.flow("f/x/flow", []obj{loop("l", 2, true, asks(raw("a")), raw("b"))})
	id := w.runFlow("f/x/flow")
	first := w.doStep("a")
	w.doStep("a")
	owned := &engine.Approval{Workspace: "main", JobID: id, User: "admin", Owned: true}
	w.refusal("two wait", owned, sluice.CodeConflict, "several steps")
	w.approve(w.signed(first.JobID, 1, ""))
	w.approve(owned)
	w.doStep("b")
	w.doStep("b")
	w.result(id, sluice.OutcomeSuccess, "b")
	again := w.runFlow("f/x/flow")
	w.refusal("none waits yet", &engine.Approval{Workspace: "main", JobID: again, Owned: true}, sluice.CodeConflict, "does not wait")
}
