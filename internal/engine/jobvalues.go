package engine

import (
	"encoding/json"
	"errors"
	"strings"

	"sluice"
	"sluice/internal/signature"
	"sluice/internal/store"
)

// DefaultEmail is that of who uses the server's own token, unless Options say
// otherwise. No user needs to have it.
const DefaultEmail = "admin@sluice.local"

// ready is what a job is given when a worker takes it. It is not stored: the
// row keeps the references that it was pushed with.
type ready struct {
	args    json.RawMessage
	secrets []string // values of secret variables in args
}

// prepare resolves what a job's arguments refer to, in the name of its creator.
// why is the result of a job that must fail, since something is missing.
func (u *unit) prepare(j *sluice.Job, content string) (r ready, why json.RawMessage, err error) {
	r.args = j.Args
	if j.Language == "postgresql" && j.Kind != sluice.KindDependencies {
		r.args = withConnection(r.args, content)
	}
	// A preprocessor gets what was sent; what it returns is resolved for main.
	if j.Kind.IsFlow() || j.Phase == sluice.PhasePreprocess || !refers(r.args) {
		return r, nil, nil
	}
	s := &resolver{e: u.e, r: u.tx, workspace: j.Workspace, find: func() (Who, error) { return u.e.creatorOf(u.tx, j) }}
	r.args, err = s.expand(r.args)
	var refused *sluice.Error
	if errors.As(err, &refused) && refused.Code != sluice.CodeInternal {
		if refused.Err != nil {
			u.e.log.Error("resolve the arguments of a job", "job", j.ID, "error", refused.Err)
		}
		return r, errorResult("UnresolvedArgument", "The job did not start. Argument "+refused.Error()+".", nil), nil
	}
	r.secrets = s.secrets
	return r, nil, err
}

// creatorOf returns in whose name a job reads variables: as its token would.
func (e *Engine) creatorOf(r store.Reader, j *sluice.Job) (Who, error) {
	id, err := e.orOwner(j.CreatedBy, j.Email)(identityOf(r, j.Email))
	if sluice.CodeOf(err) == sluice.CodeUnauthorized {
		return Who{}, sluice.Errorf(sluice.CodeForbidden, "cannot be resolved: who started the job, %s, is no user, or is disabled", j.Email)
	} else if err != nil {
		return Who{}, err
	}
	w := Member{Username: id.User.Username, Email: j.Email, Role: id.RoleIn(j.Workspace), Job: true}
	if !w.Role.AtLeast(sluice.RoleOperator) {
		return Who{}, sluice.Errorf(sluice.CodeForbidden, "cannot be resolved: %s is no member of the workspace %s any more", j.Email, j.Workspace)
	}
	return e.whoIn(r, j.Workspace, w)
}

// withConnection adds to the arguments of a statement the resource that a
// comment in its code names as its connection, unless they have one.
func withConnection(args json.RawMessage, code string) json.RawMessage {
	var given struct {
		Database json.RawMessage `json:"database"`
	}
	if !strings.Contains(code, "database ") || json.Unmarshal(args, &given) != nil || given.Database != nil {
		return args
	}
	sig, err := signature.Parse("postgresql", code)
	if err != nil || sig.Database == "" {
		return args // the worker says what is wrong
	}
	ref, err := asJSON(resMark + strings.TrimPrefix(sig.Database, resMark))
	if err != nil {
		return args
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(args, &fields) != nil || fields == nil {
		return args
	}
	fields["database"] = ref
	with, err := json.Marshal(fields)
	if err != nil {
		return args
	}
	return with
}

// failUnready ends a job that cannot be given what it was promised, before any
// worker has heard of it, so that it holds up nobody.
func (u *unit) failUnready(l *line, j *sluice.Job, why json.RawMessage) error {
	if err := u.leave(l, j); err != nil {
		return err
	}
	return u.end(j, sluice.OutcomeFailure, why)
}
