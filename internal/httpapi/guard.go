package httpapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// guard finds out what the caller may do in the workspace that the path names,
// and lets through who may do what the operation asks for with the thing that
// the path names. Of things that the path does not name the handler asks.
func (a *API) guard(hc huma.Context, next func(huma.Context)) {
	workspace, c := hc.Param("workspace"), callerOf(hc.Context())
	if workspace == "" || c.Kind == byNothing {
		next(hc)
		return
	}
	w, err := a.whoIs(hc.Context(), c, workspace)
	if err == nil {
		err = a.mayTouch(hc, rights[hc.Operation().OperationID].thing, workspace, w)
	}
	if err != nil {
		r, rw := humago.Unwrap(hc)
		a.refuse(rw, r, err)
		return
	}
	next(huma.WithValue(hc, whoKey, inPlace{workspace, w}))
}

// inPlace is who the caller is in a workspace.
type inPlace struct {
	workspace string
	who       engine.Who
}

func (a *API) mayTouch(hc huma.Context, t thing, workspace string, w engine.Who) error {
	switch {
	case t.kind == "" || w.Admin:
		return nil
	case t.kind == kindJob:
		id, err := canonicalID("id", hc.Param("id"))
		if err != nil {
			return nil // the operation says what is wrong with it
		}
		return a.e.AllowJob(hc.Context(), workspace, id, w, t.need)
	}
	return a.e.Allow(hc.Context(), workspace, t.kind, hc.Param("path"), w, t.need)
}

// whoIs returns what a caller may do in a workspace.
func (a *API) whoIs(ctx context.Context, c caller, workspace string) (engine.Who, error) {
	m := engine.Member{Username: c.Username, Email: c.Email, Role: c.role(workspace), Job: c.Kind == byJob}
	if c.Job != nil {
		m.Execution = c.Job.Execution
	}
	return a.e.WhoIs(ctx, workspace, m)
}

// who is the caller in the workspace of the path; in another nobody.
func who(ctx context.Context, workspace string) engine.Who {
	if w, ok := ctx.Value(whoKey).(inPlace); ok && w.workspace == workspace {
		return w.who
	}
	return engine.Who{Reader: true}
}

// seesJob reports whether the caller may read a job of any workspace. It is the
// one place where that is decided; what somebody does not see is obscured
// where it counts, and not there elsewhere.
func (a *API) seesJob(ctx context.Context, j *sluice.Job) (bool, error) {
	c := callerOf(ctx)
	if !c.memberOf(j.Workspace) {
		return false, nil
	}
	w, err := a.whoIs(ctx, c, j.Workspace)
	if err != nil {
		return false, err
	}
	return a.e.SeesJob(ctx, j, w)
}

// mayReadVersion asks whether the caller may read a version that was asked for
// by its hash.
func (a *API) mayReadVersion(ctx context.Context, s *store.Script) error {
	return engine.Unnamed(a.mayRead(ctx, s.Workspace, store.KindScript, s.Path), engine.NoHash, s.Hash, s.Workspace)
}

// mayRead asks whether the caller may read a thing that the path does not name.
func (a *API) mayRead(ctx context.Context, workspace, kind, path string) error {
	return a.e.Allow(ctx, workspace, kind, path, who(ctx, workspace), store.RightRead)
}
