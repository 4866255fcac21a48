package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// CreateFolder saves a new folder and returns its name. Conflict: there is one
// of that name.
func (e *Engine) CreateFolder(ctx context.Context, workspace string, raw json.RawMessage, by Editor) error {
	name, fields, err := folderBody(raw)
	if err != nil {
		return err
	}
	if err := checkFolderName(name); err != nil {
		return err
	}
	f := &store.Folder{Workspace: workspace, Name: name, CreatedBy: by.Username, EditedBy: by.Username}
	if err := writeFolder(f, fields); err != nil {
		return err
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
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
		f.EditedAt = tx.Now()
		err = tx.InsertFolder(f)
		if errors.Is(err, store.ErrExists) {
			return &sluice.Error{Code: sluice.CodeConflict, Field: "name", Message: "there is a folder " + f.Name + " already; update it"}
		}
		return err
	})
}

// UpdateFolder replaces the fields of a folder that the change names. NotFound:
// there is none of that name.
func (e *Engine) UpdateFolder(ctx context.Context, workspace, name string, raw json.RawMessage, by Editor) error {
	_, change, err := folderBody(raw)
	if err != nil {
		return err
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
		f, err := tx.LockFolder(workspace, name)
		if err != nil {
			return notFound(err, "there is no folder %s", name)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(f.Body, &fields); err != nil {
			return fmt.Errorf("read folder %s: %w", name, err)
		}
		for field, v := range change {
			fields[field] = v
		}
		if err := writeFolder(f, fields); err != nil {
			return err
		}
		f.EditedBy, f.EditedAt = by.Username, tx.Now()
		return tx.SaveFolder(f)
	})
}

// DeleteFolder deletes a folder; what stands under it stays. NotFound: there is
// none of that name.
func (e *Engine) DeleteFolder(ctx context.Context, workspace, name string) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		return notFound(tx.DeleteFolder(workspace, name), "there is no folder %s", name)
	})
}

// Folder returns a folder. NotFound: there is none of that name.
func (e *Engine) Folder(ctx context.Context, workspace, name string) (*store.Folder, error) {
	return view(ctx, e, func(r store.Reader) (*store.Folder, error) {
		f, err := r.Folder(workspace, name)
		return f, notFound(err, "there is no folder %s", name)
	})
}

// Folders lists folders by name, at most limit from offset.
func (e *Engine) Folders(ctx context.Context, workspace string, offset, limit int) ([]*store.Folder, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.Folder, error) { return r.Folders(workspace, offset, limit) })
}
