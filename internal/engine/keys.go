package engine

import (
	"context"
	"errors"

	"sluice"
	"sluice/internal/store"
	"sluice/internal/vault"
)

// Rotation says what a change of keys has done.
type Rotation struct {
	Workspaces int // whose key was changed, or wrapped anew
	Secrets    int // that were sealed anew
}

// RotateKeys gives workspaces a new key and seals all their secrets under it;
// with master it wraps their keys by the current master key instead, those
// alone that another one wraps. workspace "" stands for all. Each workspace is
// one transaction: whenever the call ends, every secret opens, and it may be
// repeated. One that fails does not keep the others from it.
func (e *Engine) RotateKeys(ctx context.Context, workspace string, master bool) (Rotation, error) {
	var done Rotation
	if e.o.Keys.Wraps() == nil {
		return done, sluice.Errorf(sluice.CodeConflict, "this server has no key for secrets; start it with --key-file or SLUICE_KEY")
	}
	list := []string{workspace}
	if workspace == "" {
		all, err := view(ctx, e, store.Reader.Workspaces)
		if err != nil {
			return done, err
		}
		list = list[:0]
		for _, w := range all {
			list = append(list, w.ID)
		}
	}
	var failed error
	for _, id := range list {
		changed, secrets := false, 0
		err := e.store.Update(ctx, func(tx store.Tx) (err error) {
			if workspace != "" {
				if err := needWorkspace(tx, id); err != nil {
					return err
				}
			}
			changed, secrets, err = e.rotate(tx, id, master)
			return err
		})
		if err != nil { // of one workspace: the others' keys change all the same
			failed = errors.Join(failed, err)
			continue
		}
		if changed {
			done.Workspaces++
			done.Secrets += secrets
		}
	}
	return done, failed
}

func (e *Engine) rotate(tx store.Tx, workspace string, master bool) (changed bool, secrets int, err error) {
	row, err := tx.LockWorkspaceKey(workspace)
	if errors.Is(err, store.ErrNotFound) { // it has no secrets
		return false, 0, nil
	} else if err != nil {
		return false, 0, err
	}
	m := e.o.Keys.Wraps()
	if master && row.Master == m.ID() {
		return false, 0, nil
	}
	key, err := e.keyOf(row)
	if err != nil {
		return false, 0, err
	}
	if !master {
		old := key
		if key, err = vault.NewKey(workspace, row.ID+1); err != nil {
			return false, 0, err
		}
		if secrets, err = reseal(tx, workspace, old, key); err != nil {
			return false, 0, err
		}
		row.ID, row.CreatedAt = key.ID(), tx.Now()
	}
	row.Master = m.ID()
	if row.Wrapped, err = m.Wrap(key); err != nil {
		return false, 0, err
	}
	return true, secrets, tx.SaveWorkspaceKey(row)
}

// reseal seals all secrets of a workspace under another key. Nobody seals
// anything meanwhile: the key is locked.
func reseal(tx store.Tx, workspace string, from, to *vault.Key) (int, error) {
	const piece = 500
	n := 0
	for {
		list, err := tx.Variables(store.VariableFilter{Workspace: workspace, Secrets: true, Offset: n, Limit: piece})
		if err != nil {
			return n, err
		}
		for _, v := range list {
			plain, err := from.Open(v.Path, v.Value)
			if err != nil {
				return n, damaged(v, err)
			}
			v.KeyID, v.Value = to.ID(), to.Seal(v.Path, plain)
			if err := tx.SaveVariable(v); err != nil {
				return n, err
			}
			n++
		}
		if len(list) < piece {
			return n, nil
		}
	}
}

// MissingKeys returns the workspaces whose secrets this server cannot open,
// since it does not have the master key that wraps their own, and whether any
// workspace has secrets.
func (e *Engine) MissingKeys(ctx context.Context) (missing []string, any bool, err error) {
	err = e.store.View(ctx, func(r store.Reader) error {
		missing, any = nil, false // it may be read more than once
		list, err := r.Workspaces()
		if err != nil {
			return err
		}
		for _, w := range list {
			row, err := r.WorkspaceKey(w.ID)
			if errors.Is(err, store.ErrNotFound) {
				continue
			} else if err != nil {
				return err
			}
			any = true
			if e.o.Keys.Named(row.Master) == nil {
				missing = append(missing, w.ID)
			}
		}
		return nil
	})
	return missing, any, err
}
