package store

import (
	"encoding/json"
	"time"
)

// Variable is a text that scripts read by its path.
type Variable struct {
	Workspace   string
	Path        string
	KeyID       int64  // of the workspace's key that the value is sealed under; 0: it is no secret
	Value       []byte // nil if it is empty
	Description string
	CreatedBy   string
	EditedBy    string
	EditedAt    time.Time
}

// Secret reports whether the value is sealed.
func (v *Variable) Secret() bool { return v.KeyID != 0 }

// Resource is a JSON value that scripts read by its path.
type Resource struct {
	Workspace   string
	Path        string
	Type        string
	Value       json.RawMessage // as it was sent
	Description string
	CreatedBy   string
	EditedBy    string
	EditedAt    time.Time
}

// WorkspaceKey is what the secrets of a workspace are sealed under.
type WorkspaceKey struct {
	Workspace string
	ID        int64 // ascends with every new key of the workspace; not 0
	CreatedAt time.Time
	Master    string // names the master key that wraps it
	Wrapped   []byte
}

// VariableFilter selects variables or resources of a workspace, by path.
type VariableFilter struct {
	Workspace string
	Sight     *Sight // nil: all
	PathStart string
	Secrets   bool // only secret variables
	Bare      bool // resources without their values
	Offset    int
	Limit     int // 0: 1,000
}

// VariableReader reads variables, resources and the keys of workspaces.
type VariableReader interface {
	// Variable returns the variable at a path, Variables lists them with their
	// values, CountVariables says how many a workspace has. The same goes for
	// resources.
	Variable(workspace, path string) (*Variable, error)
	Variables(f VariableFilter) ([]*Variable, error)
	CountVariables(workspace string) (int64, error)
	Resource(workspace, path string) (*Resource, error)
	Resources(f VariableFilter) ([]*Resource, error)
	CountResources(workspace string) (int64, error)
	// WorkspaceKey returns the key of a workspace. Outside of a transaction that
	// has locked it, it may be another one than that of a variable read before.
	WorkspaceKey(workspace string) (*WorkspaceKey, error)
}

// VariableTx writes variables, resources and the keys of workspaces. Whoever
// seals a value locks the key of the workspace before he reads or writes any
// variable of it.
type VariableTx interface {
	// LockVariable locks a variable and returns it as it is now; LockResource
	// does so with a resource.
	LockVariable(workspace, path string) (*Variable, error)
	InsertVariable(*Variable) error              // ErrExists
	SaveVariable(*Variable) error                // all but CreatedBy; ErrNotFound
	DeleteVariable(workspace, path string) error // ErrNotFound
	LockResource(workspace, path string) (*Resource, error)
	InsertResource(*Resource) error              // ErrExists
	SaveResource(*Resource) error                // all but CreatedBy; ErrNotFound
	DeleteResource(workspace, path string) error // ErrNotFound
	// LockWorkspaceKey locks the key of a workspace and returns it as it is now.
	LockWorkspaceKey(workspace string) (*WorkspaceKey, error)
	InsertWorkspaceKey(*WorkspaceKey) error // ErrExists
	SaveWorkspaceKey(*WorkspaceKey) error   // ErrNotFound
}
