package store

// Right is what somebody may do with a thing; each includes those before it.
type Right int

// The rights, least first.
const (
	RightNone  Right = iota
	RightRead        // see it, and run it
	RightWrite       // change it
	RightOwn         // of folders and groups: also say who has which right
)

// Kinds of things that rights are given on. A folder is named by its name, a
// group by its own, everything else by its path.
const (
	KindFolder   = "folder"
	KindGroup    = "group"
	KindScript   = "script"
	KindFlow     = "flow"
	KindSchedule = "schedule"
	KindVariable = "variable"
	KindResource = "resource"
)

// Grant gives somebody a right on a thing.
type Grant struct {
	Who   string // u/NAME or g/NAME
	Right Right
}

// UserGroup is a group of members of a workspace.
type UserGroup struct {
	Workspace string
	Name      string
	Summary   string
	Members   []string // usernames, ascending
}

// Sight bounds a list to what somebody may see.
type Sight struct {
	Email string   // jobs that run in its name are seen
	Roots []string // the first two segments of paths that are seen: u/NAME, f/NAME, g/NAME
	Names []string // what grants call somebody: u/NAME, g/NAME, …
}

// PermissionReader reads who has which right.
type PermissionReader interface {
	// Grants returns the rights that are given on things of a kind, by their
	// paths, each in the order of Who.
	Grants(workspace, kind string, paths ...string) (map[string][]Grant, error)
	// Granted returns the things of a kind on which one of some names was given
	// a right, with the highest of these.
	Granted(workspace, kind string, names []string) (map[string]Right, error)
	// UserGroup returns a group of people, UserGroups lists those of a workspace
	// by name, GroupsOf the names of those that a user is a member of.
	UserGroup(workspace, name string) (*UserGroup, error) // ErrNotFound
	UserGroups(workspace string) ([]*UserGroup, error)
	GroupsOf(workspace, email string) ([]string, error)
}

// PermissionTx writes who has which right.
type PermissionTx interface {
	// SetGrant gives a right in place of the one that was given before;
	// RightNone takes it away.
	SetGrant(workspace, kind, path string, g Grant) error
	// DropGrants takes all rights on a thing, MoveGrants gives those on one to
	// another instead of its own, DropGrantee takes all rights from somebody.
	DropGrants(workspace, kind, path string) error
	MoveGrants(workspace, kind, from, to string) error
	DropGrantee(workspace, who string) error

	InsertUserGroup(*UserGroup) error // without members; ErrExists
	SaveUserGroup(*UserGroup) error   // Summary; ErrNotFound
	// DeleteUserGroup deletes a group with its memberships; ErrNotFound.
	DeleteUserGroup(workspace, name string) error
	// JoinGroup makes a user a member of a group, if it is none; LeaveGroup
	// takes it out. Whoever leaves the workspace leaves its groups.
	JoinGroup(workspace, name, email string) error
	LeaveGroup(workspace, name, email string) error // ErrNotFound
}
