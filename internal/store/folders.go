package store

import (
	"encoding/json"
	"time"
)

// Folder says something of the paths that begin with f/NAME/. Scripts, flows
// and schedules may stand under a folder that is not stored.
type Folder struct {
	Workspace string
	Name      string          // one segment of a path
	Body      json.RawMessage // an object: what people say of it
	CreatedBy string
	EditedBy  string
	EditedAt  time.Time
}

// FolderReader reads folders.
type FolderReader interface {
	Folder(workspace, name string) (*Folder, error) // ErrNotFound
	// Folders lists the folders of a workspace by name, at most limit from offset;
	// of names that are given, if that is not nil.
	Folders(workspace string, names []string, offset, limit int) ([]*Folder, error)
	CountFolders(workspace string) (int64, error)
}

// FolderTx writes folders.
type FolderTx interface {
	// LockFolder locks a folder and returns it as it is now. ErrNotFound.
	LockFolder(workspace, name string) (*Folder, error)
	InsertFolder(*Folder) error                // ErrExists
	SaveFolder(*Folder) error                  // all but CreatedBy; ErrNotFound
	DeleteFolder(workspace, name string) error // ErrNotFound
}
