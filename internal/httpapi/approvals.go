package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// signedPath is the path of a call whose right is the signature in it: whoever
// has the link may follow it.
var signedPath = regexp.MustCompile(`^/api/w/[^/]+/jobs_u/(resume|cancel|get_flow)/[^/]+/[^/]+/[^/]+$`)

// needsNoToken reports whether a path is answered to everybody.
func needsNoToken(path string) bool { return publicPaths[path] || signedPath.MatchString(path) }

// ApprovalRef names an approval in the path of a call.
type ApprovalRef struct {
	JobRef
	ResumeID  int64  `path:"resume_id" minimum:"0" maximum:"4294967295" doc:"Tells approvals of one step apart: the same one counts once"`
	Signature string `path:"signature" maxLength:"200" doc:"Of job, resume_id and approver; it is what gives the right"`
	Approver  string `query:"approver" maxLength:"200" doc:"Who approves; signed with the rest"`
}

type resumeByGetIn struct {
	ApprovalRef
	Payload string `query:"payload" maxLength:"100000" doc:"A JSON value in base64, for the steps after it as resume"`
}

type resumeByPostIn struct {
	ApprovalRef
	RawBody []byte `contentType:"application/json"`
}

type ownerResumeIn struct {
	JobRef
	RawBody []byte `contentType:"application/json"`
}

// addApprovals registers approvals of steps of flows.
func (a *API) addApprovals() {
	const resume, cancel = "Approve a step of a flow, by a signed link", "Disapprove a step of a flow, by a signed link"
	for _, c := range []struct {
		name, id, summary string
		refused           bool
	}{{"resume", "resumeSuspendedJob", resume, false}, {"cancel", "cancelSuspendedJob", cancel, true}} {
		path := " /api/w/{workspace}/jobs_u/" + c.name + "/{id}/{resume_id}/{signature}"
		addText(a, "GET"+path, c.id+"Get", c.summary, func(ctx context.Context, in *resumeByGetIn) (string, error) {
			value, err := readPayload(in.Payload)
			if err != nil {
				return "", err
			}
			return a.decide(ctx, &in.ApprovalRef, value, c.refused)
		}, public)
		addText(a, "POST"+path, c.id+"Post", c.summary, func(ctx context.Context, in *resumeByPostIn) (string, error) {
			return a.decide(ctx, &in.ApprovalRef, in.RawBody, c.refused)
		}, public, valueBody, created)
	}
	addJSON(a, "GET /api/w/{workspace}/jobs_u/get_flow/{id}/{resume_id}/{signature}", "getSuspendedJobFlow", "What a signed link is about", a.suspendedFlow, public)
	addJSON(a, "GET /api/w/{workspace}/jobs/resume_urls/{id}/{resume_id}", "getResumeUrls", "Links to approve a step of a flow, and to disapprove it", a.resumeURLs)
	addJSON(a, "GET /api/w/{workspace}/jobs/job_signature/{id}/{resume_id}", "createJobSignature", "The signature of such links", a.jobSignature)
	addText(a, "POST /api/w/{workspace}/jobs/flow/resume/{id}", "resumeSuspendedFlowAsOwner", "Approve the step that a flow waits for, or a step by the id of its job",
		func(ctx context.Context, in *ownerResumeIn) (string, error) { return a.decideAsOwner(ctx, in, false) }, valueBody, created)
	addText(a, "POST /api/w/{workspace}/jobs/flow/disapprove/{id}", "disapproveSuspendedFlowAsOwner", "Ours: disapprove it",
		func(ctx context.Context, in *ownerResumeIn) (string, error) { return a.decideAsOwner(ctx, in, true) }, valueBody, created)
}

// valueBody documents a body that is any JSON value, and may be missing.
func valueBody(op *huma.Operation) {
	op.RequestBody = &huma.RequestBody{
		Description: "A JSON value, for the steps after it as resume",
		Content:     map[string]*huma.MediaType{contentJSON: {Schema: &huma.Schema{}}},
	}
	op.SkipValidateBody = true
	setMeta(op, metaArgs)
}

// readPayload reads the value in a link: JSON in base64, of either alphabet.
func readPayload(s string) (json.RawMessage, error) {
	if s == "" {
		return nil, nil
	}
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/", " ", "+").Replace(s), "=")
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || !json.Valid(b) {
		return nil, sluice.Invalid("payload", "must be a JSON value in base64")
	}
	return b, nil
}

// signedIn is who is signed in as a member of a workspace. The token of a job
// is nobody: a flow does not approve itself.
func signedIn(ctx context.Context, workspace string) string {
	c := callerOf(ctx)
	if c.Kind == byNothing || c.Kind == byJob || c.Scoped || c.Workspace != "" && c.Workspace != workspace || !c.memberOf(workspace) {
		return ""
	}
	return c.Username
}

func (a *API) decide(ctx context.Context, in *ApprovalRef, value json.RawMessage, refused bool) (string, error) {
	err := a.e.Approve(ctx, &engine.Approval{
		Workspace: in.Workspace, JobID: in.ID, ResumeID: in.ResumeID, Approver: in.Approver, Signature: in.Signature,
		Value: value, Refused: refused, User: signedIn(ctx, in.Workspace),
	})
	return decided(refused), err
}

func decided(refused bool) string {
	if refused {
		return "You have disapproved. The flow does not wait any longer."
	}
	return "You have approved. The flow goes on as soon as it has all the approvals that it needs."
}

// decideAsOwner approves for who has started the flow or is an administrator.
func (a *API) decideAsOwner(ctx context.Context, in *ownerResumeIn, refused bool) (string, error) {
	root, err := a.flowAround(ctx, &in.JobRef)
	if err != nil {
		return "", err
	}
	c := callerOf(ctx)
	if root.Email != c.Email && !c.role(in.Workspace).AtLeast(sluice.RoleAdmin) {
		return "", sluice.Errorf(sluice.CodeForbidden, "only who has started the flow and an administrator may do this; ask for a link")
	}
	err = a.e.Approve(ctx, &engine.Approval{
		Workspace: in.Workspace, JobID: in.ID, Approver: c.Username, User: c.Username, Owned: true, Value: in.RawBody, Refused: refused,
	})
	return decided(refused), err
}

// flowAround returns the outermost flow's job of a flow or step.
func (a *API) flowAround(ctx context.Context, in *JobRef) (*sluice.Job, error) {
	j, err := a.row(ctx, in.Workspace, in.ID)
	if err == nil && j.RootJob != "" {
		j, err = a.row(ctx, in.Workspace, j.RootJob)
	}
	return j, err
}

type signIn struct {
	JobRef
	ResumeID int64  `path:"resume_id" minimum:"0" maximum:"4294967295" doc:"Any number; the same one counts once"`
	Approver string `query:"approver" maxLength:"200" doc:"Who is to approve"`
}

// sign signs links, for a job those of its own flow alone.
func (a *API) sign(ctx context.Context, in *signIn) (string, error) {
	c := callerOf(ctx)
	root, err := a.flowAround(ctx, &in.JobRef)
	if err != nil {
		return "", err
	}
	switch {
	case c.Job == nil:
		err = a.e.AllowJob(ctx, in.Workspace, root.ID, who(ctx, in.Workspace), store.RightWrite)
	case root.ID != c.Job.RootJob:
		err = sluice.Errorf(sluice.CodeForbidden, "the token of a job may make links for the flow of that job only")
	}
	if err != nil {
		return "", err
	}
	return a.e.SignApproval(ctx, in.Workspace, in.ID, in.ResumeID, in.Approver)
}

type resumeURLsJSON struct {
	ApprovalPage string `json:"approvalPage" doc:"Shows what there is to approve, and asks; to open it decides nothing"`
	Resume       string `json:"resume"`
	Cancel       string `json:"cancel"`
}

func (a *API) resumeURLs(ctx context.Context, in *signIn) (resumeURLsJSON, error) {
	signature, err := a.sign(ctx, in)
	if err != nil {
		return resumeURLsJSON{}, err
	}
	link := func(what string) string {
		u := a.o.BaseURL + "/api/w/" + url.PathEscape(in.Workspace) + "/jobs_u/" + what + "/" + in.ID + "/" + strconv.FormatInt(in.ResumeID, 10) + "/" + signature
		if in.Approver != "" {
			u += "?approver=" + url.QueryEscape(in.Approver)
		}
		return u
	}
	return resumeURLsJSON{ApprovalPage: a.approvalPage(in, signature), Resume: link("resume"), Cancel: link("cancel")}, nil
}

// approvalPage is the place in the page for people that a link is about: what
// stands in the fragment never reaches a server's log.
func (a *API) approvalPage(in *signIn, signature string) string {
	q := url.Values{"n": {strconv.FormatInt(in.ResumeID, 10)}, "signature": {signature}}
	if in.Approver != "" {
		q.Set("approver", in.Approver)
	}
	return a.o.BaseURL + "/#/" + url.PathEscape(in.Workspace) + "/approve/" + in.ID + "?" + q.Encode()
}

func (a *API) jobSignature(ctx context.Context, in *signIn) (string, error) { return a.sign(ctx, in) }

type suspendedFlowJSON struct {
	Job       jobJSON        `json:"job" doc:"The flow's job"`
	Approvers []approverJSON `json:"approvers"`
	Step      string         `json:"step" doc:"Ours: the step that is to be approved"`
	Count     *int           `json:"count,omitempty" doc:"Ours: approvals that are needed; left out while the step runs"`
	Form      anyJSON        `json:"form_schema,omitempty" doc:"Ours: schema of the value that is asked for"`
}

func (a *API) suspendedFlow(ctx context.Context, in *ApprovalRef) (*suspendedFlowJSON, error) {
	s, err := a.e.AwaitedStep(ctx, &engine.Approval{
		Workspace: in.Workspace, JobID: in.ID, ResumeID: in.ResumeID, Approver: in.Approver, Signature: in.Signature,
	})
	if err != nil {
		return nil, err
	}
	j, err := a.row(ctx, in.Workspace, s.FlowID)
	if err != nil {
		return nil, err
	}
	out := &suspendedFlowJSON{Job: jobForm(j), Approvers: []approverJSON{}, Step: s.Step, Form: anyJSON(s.Form)}
	for _, r := range s.Resumes {
		out.Approvers = append(out.Approvers, approverJSON{ResumeID: r.ID, Approver: r.Approver})
	}
	if s.Waits != nil {
		out.Count = &s.Waits.Required
	}
	return out, a.addFlowStatus(ctx, &out.Job, j, false)
}
