package engine

import (
	"context"
	"errors"

	"sluice"
	"sluice/internal/store"
)

// Workspaces lists all, archived ones too.
func (e *Engine) Workspaces(ctx context.Context) ([]*store.Workspace, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.Workspace, error) { return r.Workspaces() })
}

// CreateWorkspace makes a workspace; conflict if the id is taken. Its owner, if
// it is a user, becomes an administrator of it.
func (e *Engine) CreateWorkspace(ctx context.Context, w store.Workspace) error {
	if !workspaceID.MatchString(w.ID) {
		return sluice.Invalid("id", "must be 1 to 50 lower-case letters, digits, - or _, beginning with a letter")
	}
	if w.Name == "" {
		w.Name = w.ID
	}
	return e.changePeople(ctx, func(tx store.Tx) error {
		w.CreatedAt = tx.Now()
		err := tx.SaveWorkspace(&w)
		if errors.Is(err, store.ErrExists) {
			return &sluice.Error{Code: sluice.CodeConflict, Field: "id", Message: "a workspace with this id exists already"}
		} else if err != nil {
			return err
		}
		u, err := tx.User(w.Owner)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		return tx.SaveMember(&store.Member{Workspace: w.ID, Role: sluice.RoleAdmin, Since: w.CreatedAt, User: *u})
	})
}

// ArchiveWorkspace closes a workspace to everybody, or opens it again. Its jobs
// go on.
func (e *Engine) ArchiveWorkspace(ctx context.Context, id string, archived bool) error {
	return e.changePeople(ctx, func(tx store.Tx) error {
		return notFound(tx.ArchiveWorkspace(id, archived), "there is no workspace %q", id)
	})
}
