package engine

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// approvalKeyName is the secret that signs links to approve a step.
const approvalKeyName = "approval"

// Bounds of an approval.
const (
	MaxApprover      = 200       // bytes of who approves, by name
	MaxApprovalBytes = 64 << 10  // of the value that comes with it
	MaxResumeID      = 1<<32 - 1 // as Windmill's
	maxApprovals     = 1 << 20   // bytes of the values of all approvals of a step
	// maxParts bounds how many parts of a flow are looked through for the one
	// that waits.
	maxParts = 1000
)

// Approval is somebody's word on a step of a flow, or on a flow: then on the
// step of it that waits.
type Approval struct {
	Workspace string
	JobID     string
	// ResumeID tells approvals of a step apart: the same one counts once.
	ResumeID int64
	Approver string          // by name; "": nobody says who it is
	Value    json.RawMessage // what the steps after it see as resume; empty: null
	Refused  bool
	// User is who is signed in and a member of the workspace; "": nobody is.
	User string
	// Signature is that of SignApproval. It is not asked for if Owned.
	Signature string
	// Owned: the caller has made sure that the user may, for who he is: an
	// administrator, or who started the flow. Then ResumeID 0 stands for one of
	// its own.
	Owned bool
}

// AwaitedStep is a step of a flow that is to be approved, as those see it who may.
type AwaitedStep struct {
	FlowID  string // of the outermost flow's job
	Step    string
	Waits   *flow.Wait      // nil: the step still runs
	Form    json.RawMessage // JSON schema of the value that is asked for; nil: none is
	Resumes []flow.Resume   // approvals so far
}

// SignApproval signs the right to approve a step, or to refuse to. It lasts as
// long as the job.
func (e *Engine) SignApproval(ctx context.Context, workspace, jobID string, resumeID int64, approver string) (string, error) {
	if err := checkApprover(resumeID, approver); err != nil {
		return "", err
	}
	sign := func(r store.Reader) (string, error) {
		j, err := jobIn(r, workspace, jobID)
		if err != nil {
			return "", err
		}
		if j.Step == "" && !j.Kind.IsFlow() {
			return "", sluice.Errorf(sluice.CodeInvalid, "job %s is neither a flow nor a step of one: there is nothing to approve", j.ID)
		}
		key, err := r.Secret(approvalKeyName)
		if err != nil {
			return "", err
		}
		return approvalMAC(key, j.ID, resumeID, approver), nil
	}
	s, err := view(ctx, e, sign)
	if !errors.Is(err, store.ErrNotFound) {
		return s, err
	}
	err = e.store.Update(ctx, func(tx store.Tx) error { // the first of this database
		if _, err := tx.Secret(approvalKeyName); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		key := make([]byte, sha256.Size)
		_, _ = rand.Read(key) // never fails
		return tx.SaveSecret(approvalKeyName, key)
	})
	if err != nil {
		return "", err
	}
	return view(ctx, e, sign)
}

// approvalMAC signs its arguments, none of which can run into the next.
func approvalMAC(key []byte, jobID string, resumeID int64, approver string) string {
	mac := hmac.New(sha256.New, key)
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], uint64(resumeID))
	_, _ = io.WriteString(mac, jobID+"\n"+string(id[:])+approver) // never fails; ids hold no line feed
	return hex.EncodeToString(mac.Sum(nil))
}

func checkApprover(resumeID int64, approver string) error {
	switch {
	case resumeID < 0 || resumeID > MaxResumeID:
		return sluice.Invalid("resume_id", "must be from 0 to %d", int64(MaxResumeID))
	case len(approver) > MaxApprover:
		return sluice.Invalid("approver", "has %d bytes; at most %d are allowed", len(approver), MaxApprover)
	}
	return nil
}

var errBadSignature = sluice.Errorf(sluice.CodeForbidden, "the link is not one of this server: its signature does not fit the job, the resume id and the approver")

// checkSignature comes before everything else: who has none learns nothing,
// not even whether there is such a job.
func (a *Approval) checkSignature(r store.Reader) error {
	if a.Owned {
		return nil
	}
	key, err := r.Secret(approvalKeyName)
	if errors.Is(err, store.ErrNotFound) {
		return errBadSignature
	} else if err != nil {
		return err
	}
	want := approvalMAC(key, strings.ToLower(a.JobID), a.ResumeID, a.Approver)
	if !hmac.Equal([]byte(want), []byte(strings.ToLower(a.Signature))) {
		return errBadSignature
	}
	return nil
}

// Approve gives an approval, or a refusal, to the flow that waits for it, or
// will, if the step still runs. The same one again changes nothing, and is no
// error as long as the flow waits. Forbidden: the signature is wrong, or the
// step asks for somebody else. Conflict: the flow has ended, or no longer waits
// for this. Invalid: the step asks for no approval.
func (e *Engine) Approve(ctx context.Context, a *Approval) error {
	if err := checkApprover(a.ResumeID, a.Approver); err != nil {
		return err
	}
	if len(a.Value) > MaxApprovalBytes {
		return &sluice.Error{Code: sluice.CodeTooLarge, Field: "payload", Message: fmt.Sprintf(
			"has %d bytes; at most %d are allowed", len(a.Value), MaxApprovalBytes)}
	}
	if len(a.Value) > 0 && !json.Valid(a.Value) {
		return sluice.Invalid("payload", "must be a JSON value")
	}
	if len(a.Value) == 0 {
		a.Value = null
	}
	if a.Owned && a.ResumeID == 0 {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		a.ResumeID = int64(binary.BigEndian.Uint32(b[:]))
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
		if err := a.checkSignature(tx); err != nil {
			return err
		}
		p, err := e.awaited(tx, a.Workspace, a.JobID)
		if err != nil {
			return err
		}
		if err := a.mayDecide(p); err != nil {
			return err
		}
		u := e.unit(tx)
		r, err := u.openRun(p.flow.Seq)
		if err != nil {
			return err
		}
		u.now = tx.Now()
		// The run is locked now: it may have moved on since.
		if p, err = e.awaited(tx, a.Workspace, a.JobID); err != nil {
			return err
		}
		if p.flow.Seq != r.row.JobSeq {
			return errMovedOn
		}
		known, err := a.known(p)
		if err != nil || known {
			return err
		}
		kind := flow.Resumed
		if a.Refused {
			kind = flow.Refused
		}
		who := a.Approver
		if who == "" {
			who = a.User
		}
		r.events = append(r.events, flow.Event{
			Kind: kind, Step: p.module.ID, Job: p.stepJob,
			Resume: &flow.Resume{ID: a.ResumeID, Approver: who, Value: a.Value},
		})
		u.stir(r)
		return u.settle()
	})
}

var errMovedOn = sluice.Errorf(sluice.CodeConflict, "the flow moves on just now; try again")

// AwaitedStep returns what a link to approve a step is about.
func (e *Engine) AwaitedStep(ctx context.Context, a *Approval) (*AwaitedStep, error) {
	return view(ctx, e, func(r store.Reader) (*AwaitedStep, error) {
		if err := a.checkSignature(r); err != nil {
			return nil, err
		}
		p, err := e.awaited(r, a.Workspace, a.JobID)
		if err != nil {
			return nil, err
		}
		return &AwaitedStep{FlowID: p.root.ID, Step: p.module.ID, Waits: p.state.Wait, Form: p.module.Suspend.Form, Resumes: p.state.Resumes}, nil
	})
}

// awaited is a part of a flow with the step that is to be approved.
type awaited struct {
	root, flow *sluice.Job // the outermost flow's job, and that of the part
	state      *flow.State
	module     *flow.Module // nil: none asks for approvals now
	value      *flow.Value
	stepJob    string // "": the step has none
	events     []flow.Event
}

// awaited finds the step that an approval is for.
func (e *Engine) awaited(r store.Reader, workspace, id string) (*awaited, error) {
	j, err := jobIn(r, workspace, id)
	if err != nil {
		return nil, err
	}
	if j.Kind.IsFlow() && j.State == sluice.StateRunning {
		if p, err := e.awaitedIn(r, j); err != nil || p != nil {
			return p, err
		}
	}
	switch {
	case j.Step != "":
		return e.awaitedStep(r, j)
	case !j.Kind.IsFlow():
		return nil, sluice.Errorf(sluice.CodeInvalid, "job %s is neither a flow nor a step of one: there is nothing to approve", j.ID)
	case j.State == sluice.StateCompleted:
		return nil, flowHasEnded(j)
	}
	return nil, sluice.Errorf(sluice.CodeConflict, "the flow %s does not wait for an approval", j.ID)
}

func flowHasEnded(j *sluice.Job) error {
	return sluice.Errorf(sluice.CodeConflict, "the flow %s has ended: there is nothing left to approve", j.ID)
}

// awaitedStep finds the part of a flow that has pushed a step.
func (e *Engine) awaitedStep(r store.Reader, j *sluice.Job) (*awaited, error) {
	outer, err := jobIn(r, j.Workspace, j.ParentJob)
	if err != nil {
		return nil, err
	}
	if outer.State == sluice.StateCompleted {
		return nil, flowHasEnded(outer)
	}
	p, err := e.partOf(r, outer)
	if err != nil {
		return nil, err
	}
	m := p.value.Module(j.Step)
	switch {
	case m == nil || m.Suspend == nil:
		return nil, sluice.Errorf(sluice.CodeInvalid, "step %s has no suspend: there is nothing to approve", j.Step)
	case p.module != m:
		return nil, sluice.Errorf(sluice.CodeConflict, "the flow does not wait for an approval of step %s, or no longer", j.Step)
	case p.stepJob != j.ID:
		return nil, sluice.Errorf(sluice.CodeConflict, "step %s was tried again since: approve its job %s", j.Step, p.stepJob)
	}
	return p, nil
}

// partOf reads where a part of a flow stands. Its module is nil if none is at
// work that asks for approvals.
func (e *Engine) partOf(r store.Reader, j *sluice.Job) (*awaited, error) {
	p := &awaited{flow: j, root: j, state: &flow.State{}}
	if j.RootJob != "" {
		root, err := jobIn(r, j.Workspace, j.RootJob)
		if err != nil {
			return nil, err
		}
		p.root = root
	}
	v, err := e.flowOf(r, j)
	if errors.Is(err, store.ErrNotFound) {
		return nil, sluice.Errorf(sluice.CodeConflict, "the flow that job %s runs was deleted", j.ID)
	} else if err != nil {
		return nil, err
	}
	p.value = v
	row, err := r.FlowRun(j.Seq)
	if errors.Is(err, store.ErrNotFound) {
		return p, nil
	} else if err != nil {
		return nil, err
	}
	if p.state, err = readState(row, j); err != nil {
		return nil, err
	}
	if len(row.Events) > 0 {
		if err := json.Unmarshal(row.Events, &p.events); err != nil {
			return nil, fmt.Errorf("read what happened to the flow %s: %w", j.ID, err)
		}
	}
	at := p.state.Step
	if w := p.state.Wait; w != nil {
		at = w.Index
	}
	list, _ := v.Scope(j.FlowScope)
	if at < len(list) && at < len(p.state.Modules) && list[at].Suspend != nil && p.state.Error == nil {
		p.module, p.stepJob = list[at], p.state.Modules[at].Job
	}
	return p, nil
}

// awaitedIn finds the one step of a flow, and of its parts, that waits; nil:
// none does.
func (e *Engine) awaitedIn(r store.Reader, j *sluice.Job) (*awaited, error) {
	var found *awaited
	parts := []*sluice.Job{j}
	for i := 0; i < len(parts) && i < maxParts; i++ {
		p, err := e.partOf(r, parts[i])
		if err != nil {
			return nil, err
		}
		if p.module != nil && p.state.Wait != nil {
			if found != nil {
				return nil, sluice.Errorf(sluice.CodeConflict, "several steps of the flow %s wait for approvals: approve one by the id of its job, such as %s", j.ID, p.stepJob)
			}
			found = p
		}
		inner, err := r.Jobs(store.JobFilter{ParentJob: parts[i].ID, Steps: true, States: []sluice.State{sluice.StateRunning}, Limit: maxParts})
		if err != nil {
			return nil, err
		}
		for _, c := range inner {
			if c.Kind.IsFlow() {
				parts = append(parts, c)
			}
		}
	}
	return found, nil
}

// mayDecide refuses who may not decide on a step.
func (a *Approval) mayDecide(p *awaited) error {
	s := p.module.Suspend
	switch {
	case (s.UserRequired || s.NoSelf) && a.User == "":
		return sluice.Errorf(sluice.CodeForbidden, "step %s is to be approved by somebody who is signed in to the workspace", p.module.ID)
	case s.NoSelf && a.User == p.root.CreatedBy:
		return sluice.Errorf(sluice.CodeForbidden, "%s has started the flow, and may not approve it: step %s asks for somebody else", a.User, p.module.ID)
	}
	return nil
}

// known reports whether an approval was given already. It is an error if no
// more of its kind can count: what a flow keeps of them is bounded by that.
func (a *Approval) known(p *awaited) (bool, error) {
	given := slices.Clone(p.state.Resumes)
	for _, ev := range p.events {
		if (ev.Kind == flow.Resumed || ev.Kind == flow.Refused) && ev.Resume != nil {
			r := *ev.Resume
			r.Refused = ev.Kind == flow.Refused
			given = append(given, r)
		}
	}
	size, yes := len(a.Value), 0
	for _, r := range given {
		if r.ID == a.ResumeID {
			return true, nil
		}
		size += len(r.Value)
		switch {
		case !r.Refused:
			yes++
		case a.Refused:
			return false, sluice.Errorf(sluice.CodeConflict, "step %s was disapproved already", p.module.ID)
		}
	}
	switch {
	case !a.Refused && yes >= p.module.Suspend.Required:
		return false, sluice.Errorf(sluice.CodeConflict, "step %s has all the approvals that it needs", p.module.ID)
	case size > maxApprovals:
		return false, sluice.Errorf(sluice.CodeTooLarge, "the values of all approvals of step %s would have %d bytes; at most %d are allowed", p.module.ID, size, maxApprovals)
	}
	return false, nil
}
