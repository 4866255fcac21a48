package engine

import (
	"context"
	"encoding/json"
	"errors"

	"sluice"
	"sluice/internal/store"
)

// ResourceChange says what becomes of a resource; nil leaves a field as it is.
type ResourceChange struct {
	Path        *string // another one: it moves there
	Type        *string
	Value       json.RawMessage // any JSON value, kept as it is
	Description *string
}

func (c *ResourceChange) check() error {
	if c.Path != nil {
		if err := checkPath("path", *c.Path); err != nil {
			return err
		}
	}
	if c.Type != nil && !resourceType.MatchString(*c.Type) {
		return sluice.Invalid("resource_type", "must be 1 to 100 letters, digits, _ . or -, such as postgresql")
	}
	if c.Value != nil {
		switch most := MaxResourceBytes; {
		case len(c.Value) > most:
			return sluice.Invalid("value", "has %d bytes; at most %d are allowed", len(c.Value), most)
		case !json.Valid(c.Value):
			return sluice.Invalid("value", "must be JSON")
		}
	}
	if c.Description != nil {
		return checkDescription(*c.Description)
	}
	return nil
}

func (c *ResourceChange) apply(tx store.Tx, s *store.Resource, by Who) {
	s.EditedBy, s.EditedAt = by.Username, tx.Now()
	if c.Path != nil {
		s.Path = *c.Path
	}
	if c.Type != nil {
		s.Type = *c.Type
	}
	if c.Value != nil {
		s.Value = c.Value
	}
	if c.Description != nil {
		s.Description = *c.Description
	}
}

// needs returns the right that it takes to write a resource of a type: what
// scripts remember, whoever runs them writes.
func (w Who) needs(kind string) store.Right {
	if w.Job && kind == StateType {
		return store.RightRead
	}
	return store.RightWrite
}

// putResource refuses to save a resource where somebody may not.
func (w Who) putResource(r store.Reader, workspace, path, kind string) error {
	if w.needs(kind) == store.RightRead && w.allow(r, workspace, store.KindResource, path, store.RightRead) == nil {
		return nil
	}
	return w.put(r, workspace, store.KindResource, path)
}

// CreateResource saves a new resource; with replace, one that is there is
// changed. Path and Type are required, a Value that is missing is null.
// Conflict: there is one at its path. may, if it is not nil, refuses by what is
// there.
func (e *Engine) CreateResource(ctx context.Context, workspace string, c ResourceChange, replace bool, by Who, may func(*store.Resource) error) error {
	switch {
	case c.Path == nil:
		return sluice.Invalid("path", "is required")
	case c.Type == nil:
		return sluice.Invalid("resource_type", "is required")
	case c.Value == nil:
		c.Value = json.RawMessage("null")
	}
	if err := c.check(); err != nil {
		return err
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
		if err := needWorkspace(tx, workspace); err != nil {
			return err
		}
		if err := by.putResource(tx, workspace, *c.Path, *c.Type); err != nil {
			return err
		}
		if replace {
			old, err := tx.LockResource(workspace, *c.Path)
			if err == nil && may != nil {
				err = may(old)
			}
			if err == nil {
				err = by.putResource(tx, workspace, old.Path, old.Type)
			}
			if err == nil {
				c.apply(tx, old, by)
				return tx.SaveResource(old)
			}
			if !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		n, err := tx.CountResources(workspace)
		if err != nil {
			return err
		}
		if n >= MaxResources {
			return sluice.Errorf(sluice.CodeConflict, "workspace %s has %d resources, which is the most; delete some first", workspace, n)
		}
		s := &store.Resource{Workspace: workspace, CreatedBy: by.Username}
		c.apply(tx, s, by)
		return takenAt("resource", s.Path, tx.InsertResource(s))
	})
}

// UpdateResource changes a resource. NotFound: there is none at the path. may,
// if it is not nil, refuses by what is there.
func (e *Engine) UpdateResource(ctx context.Context, workspace, path string, c ResourceChange, by Who, may func(*store.Resource) error) error {
	if err := c.check(); err != nil {
		return err
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
		if err := by.allow(tx, workspace, store.KindResource, path, store.RightRead); err != nil {
			return err
		}
		s, err := tx.LockResource(workspace, path)
		if err != nil {
			return notFound(err, "there is no resource %s", path)
		}
		if err := by.change(tx, workspace, store.KindResource, path, c.Path, by.needs(s.Type)); err != nil {
			return err
		}
		if may != nil {
			if err := may(s); err != nil {
				return err
			}
		}
		c.apply(tx, s, by)
		if s.Path == path {
			return tx.SaveResource(s)
		}
		if err := tx.DeleteResource(workspace, path); err != nil {
			return err
		}
		if err := tx.MoveGrants(workspace, store.KindResource, path, s.Path); err != nil {
			return err
		}
		return takenAt("resource", s.Path, tx.InsertResource(s))
	})
}

// DeleteResource deletes a resource. NotFound: there is none.
func (e *Engine) DeleteResource(ctx context.Context, workspace, path string, by Who) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		if err := by.allow(tx, workspace, store.KindResource, path, store.RightWrite); err != nil {
			return err
		}
		if err := notFound(tx.DeleteResource(workspace, path), "there is no resource %s", path); err != nil {
			return err
		}
		return tx.DropGrants(workspace, store.KindResource, path)
	})
}

// Resource returns a resource as it is stored.
func (e *Engine) Resource(ctx context.Context, workspace, path string, by Who) (*store.Resource, error) {
	s, err := view(ctx, e, func(r store.Reader) (*store.Resource, error) {
		if err := by.allow(r, workspace, store.KindResource, path, store.RightRead); err != nil {
			return nil, err
		}
		return r.Resource(workspace, path)
	})
	return s, notFound(err, "there is no resource %s", path)
}

// Resources lists the resources that somebody may see and that are kept, all if
// keep is nil.
func (e *Engine) Resources(ctx context.Context, f store.VariableFilter, by Who, keep func(*store.Resource) bool) ([]*store.Resource, error) {
	f.Sight = by.Sight()
	if keep == nil {
		return view(ctx, e, func(r store.Reader) ([]*store.Resource, error) { return r.Resources(f) })
	}
	return seen(ctx, e, f, store.Reader.Resources, keep)
}
