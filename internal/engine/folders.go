package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"sluice"
	"sluice/internal/store"
)

// Bounds of folders.
const (
	MaxFolders     = 10_000 // in a workspace
	MaxFolderBytes = 256 << 10
)

// folderFields are those of a folder whose kind is checked. All are stored and
// given back.
type folderFields struct {
	Name        string          `json:"name"`
	Summary     *string         `json:"summary"`
	DisplayName *string         `json:"display_name"`
	Owners      []string        `json:"owners"`
	ExtraPerms  map[string]bool `json:"extra_perms"`
}

// folderBody validates what is pushed of a folder and returns its name, and its
// fields, less those that say how to save it.
func folderBody(raw json.RawMessage) (name string, fields map[string]json.RawMessage, err error) {
	var known folderFields
	if err := errors.Join(json.Unmarshal(raw, &known), json.Unmarshal(raw, &fields)); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) && te.Field != "" {
			return "", nil, sluice.Invalid(te.Field, "must be a %s, not a %s", te.Type, te.Value)
		}
		return "", nil, sluice.Errorf(sluice.CodeInvalid, "the folder is no JSON object: %v", err)
	}
	if fields == nil {
		return "", nil, sluice.Errorf(sluice.CodeInvalid, "the folder is no JSON object")
	}
	for _, name := range []string{"name", "workspace_id", "created_by", "edited_at", "deployment_message"} {
		delete(fields, name)
	}
	return known.Name, fields, nil
}

func checkFolderName(name string) error {
	switch err := checkPath("name", name); {
	case err != nil:
		return err
	case strings.Contains(name, "/"):
		return sluice.Invalid("name", "must be one word of a path, without f/ and without slashes")
	case len(name) > 100:
		return sluice.Invalid("name", "must be at most 100 bytes long")
	}
	return nil
}

func writeFolder(f *store.Folder, fields map[string]json.RawMessage) (err error) {
	if f.Body, err = json.Marshal(fields); err == nil && len(f.Body) > MaxFolderBytes {
		return sluice.Errorf(sluice.CodeInvalid, "the folder has %d bytes; at most %d are allowed", len(f.Body), MaxFolderBytes)
	}
	return err
}

// owner names somebody in lists of owners and grants.
func (w Who) owner() string { return "u/" + w.Username }

// folderNames are the folders that somebody may see; nil: all.
func (w Who) folderNames() []string {
	if w.Admin {
		return nil
	}
	return w.FolderNames(store.RightRead)
}

// ownsFolder refuses to change a folder to whoever does not own it.
func (w Who) ownsFolder(name string) error {
	switch right := w.at("f/" + name); {
	case right >= store.RightOwn:
		return nil
	case right == store.RightNone:
		return noFolder(name)
	}
	return sluice.Errorf(sluice.CodeForbidden, "only its owners and administrators may change the folder %s", name)
}

func noFolder(name string) error {
	return sluice.Errorf(sluice.CodeNotFound, "there is no folder %s", name)
}

// CreateFolder saves a new folder. Whoever makes one and is no administrator is
// one of its owners. Conflict: there is one of that name.
func (e *Engine) CreateFolder(ctx context.Context, workspace string, raw json.RawMessage, by Who) error {
	name, fields, err := folderBody(raw)
	if err != nil {
		return err
	}
	if err := checkFolderName(name); err != nil {
		return err
	}
	f := &store.Folder{Workspace: workspace, Name: name, CreatedBy: by.Username, EditedBy: by.Username}
	if !by.Admin {
		if err := addOwner(fields, by.owner()); err != nil {
			return err
		}
	}
	return e.changePeople(ctx, func(tx store.Tx) error {
		if err := needWorkspace(tx, workspace); err != nil {
			return err
		}
		n, err := tx.CountFolders(workspace)
		if err != nil {
			return err
		}
		if n >= MaxFolders {
			return sluice.Errorf(sluice.CodeConflict, "workspace %s has %d folders, which is the most; delete some first", workspace, n)
		}
		if err := carryOver(tx, workspace, name, fields); err != nil {
			return err
		}
		if err := writeFolder(f, fields); err != nil {
			return err
		}
		f.EditedAt = tx.Now()
		err = tx.InsertFolder(f)
		if errors.Is(err, store.ErrExists) {
			return &sluice.Error{Code: sluice.CodeConflict, Field: "name", Message: "there is a folder " + f.Name + " already; update it"}
		}
		if err == nil && !by.Admin {
			err = unused(tx, workspace, store.KindFolder, name)
		}
		if err != nil {
			return err
		}
		return grantFolder(tx, f, fields)
	})
}

// carryOver writes into a folder's fields what everybody may do there although
// they do not say so, as in folders of before there were rights.
func carryOver(r store.Reader, workspace, name string, fields map[string]json.RawMessage) error {
	const all = "g/" + everyone
	given, err := r.Grants(workspace, store.KindFolder, name)
	if err != nil {
		return err
	}
	_, perms, err := readOwners(fields)
	if err != nil {
		return err
	}
	for _, g := range given[name] {
		if _, said := perms[all]; g.Who == all && !said {
			perms[all] = g.Right >= store.RightWrite
			return setField(fields, "extra_perms", perms)
		}
	}
	return nil
}

// former stands where a folder or a group was deleted: whoever makes another of
// that name would get what the first one left behind, as the runs of its scripts.
const former = "-"

// unused refuses to make a folder or group where something stands or stood
// already: whoever owns it may do everything with what is in it.
func unused(r store.Reader, workspace, kind, name string) error {
	start := "f/" + name + "/"
	if kind == store.KindGroup {
		start = "g/" + name + "/"
	}
	given, err := r.Grants(workspace, kind, name)
	if err != nil {
		return err
	}
	for _, g := range given[name] {
		if g.Who == former {
			return sluice.Errorf(sluice.CodeForbidden, "there was a %s %s before, so that an administrator has to make it again", kind, name)
		}
	}
	found := 0
	count := func(n int, err error) error { found += n; return err }
	err = errors.Join(
		count(length(r.Scripts(store.ScriptFilter{Workspace: workspace, PathStart: start, Limit: 1}))),
		count(length(r.Scripts(store.ScriptFilter{Workspace: workspace, PathStart: start, Archived: true, Limit: 1}))),
		count(length(r.Flows(store.FlowFilter{Workspace: workspace, PathStart: start, Limit: 1}))),
		count(length(r.Flows(store.FlowFilter{Workspace: workspace, PathStart: start, Archived: true, Limit: 1}))),
		count(length(r.Schedules(store.ScheduleFilter{Workspace: workspace, PathStart: start, Limit: 1}))),
		count(length(r.Variables(store.VariableFilter{Workspace: workspace, PathStart: start, Limit: 1}))),
		count(length(r.Resources(store.VariableFilter{Workspace: workspace, PathStart: start, Limit: 1, Bare: true}))))
	if err == nil && found > 0 {
		err = sluice.Errorf(sluice.CodeForbidden, "there are things below %s already, so that an administrator has to make the %s", start, kind)
	}
	return err
}

func length[T any](list []T, err error) (int, error) { return len(list), err }

// changeFolder changes the fields of a folder, and what follows from them.
func (e *Engine) changeFolder(ctx context.Context, workspace, name string, by Who, change func(fields map[string]json.RawMessage) error) error {
	if err := by.ownsFolder(name); err != nil {
		return err
	}
	return e.changePeople(ctx, func(tx store.Tx) error {
		f, err := tx.LockFolder(workspace, name)
		if err != nil {
			return notFound(err, "there is no folder %s", name)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(f.Body, &fields); err != nil {
			return fmt.Errorf("read folder %s: %w", name, err)
		}
		if err := carryOver(tx, workspace, name, fields); err != nil {
			return err
		}
		if err := change(fields); err != nil {
			return err
		}
		if err := writeFolder(f, fields); err != nil {
			return err
		}
		f.EditedBy, f.EditedAt = by.Username, tx.Now()
		if err := tx.SaveFolder(f); err != nil {
			return err
		}
		return grantFolder(tx, f, fields)
	})
}

// UpdateFolder replaces the fields of a folder that the change names. NotFound:
// there is none of that name.
func (e *Engine) UpdateFolder(ctx context.Context, workspace, name string, raw json.RawMessage, by Who) error {
	_, change, err := folderBody(raw)
	if err != nil {
		return err
	}
	return e.changeFolder(ctx, workspace, name, by, func(fields map[string]json.RawMessage) error {
		maps.Copy(fields, change)
		return nil
	})
}

// DeleteFolder deletes a folder; what stands under it stays. NotFound: there is
// none of that name.
func (e *Engine) DeleteFolder(ctx context.Context, workspace, name string, by Who) error {
	if err := by.ownsFolder(name); err != nil {
		return err
	}
	return e.changePeople(ctx, func(tx store.Tx) error {
		if err := notFound(tx.DeleteFolder(workspace, name), "there is no folder %s", name); err != nil {
			return err
		}
		return bury(tx, workspace, store.KindFolder, name)
	})
}

// bury takes all rights on a folder or group that is deleted, and notes that it
// was there.
func bury(tx store.Tx, workspace, kind, name string) error {
	return errors.Join(tx.DropGrants(workspace, kind, name), tx.SetGrant(workspace, kind, name, store.Grant{Who: former, Right: store.RightRead}))
}

// Folder returns a folder that somebody may see. NotFound: there is none of that name.
func (e *Engine) Folder(ctx context.Context, workspace, name string, by Who) (*store.Folder, error) {
	if by.at("f/"+name) < store.RightRead {
		return nil, noFolder(name)
	}
	return view(ctx, e, func(r store.Reader) (*store.Folder, error) {
		f, err := r.Folder(workspace, name)
		return f, notFound(err, "there is no folder %s", name)
	})
}

// OwnsFolder reports whether somebody may change a folder and say who may what in it.
func (w Who) OwnsFolder(name string) bool { return w.ownsFolder(name) == nil }

// Folders lists folders that somebody may see by name, at most limit from offset.
func (e *Engine) Folders(ctx context.Context, workspace string, offset, limit int, by Who) ([]*store.Folder, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.Folder, error) {
		return r.Folders(workspace, by.folderNames(), offset, limit)
	})
}
