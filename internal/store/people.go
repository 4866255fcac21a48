package store

import (
	"encoding/json"
	"time"

	"sluice"
)

// User is somebody who may sign in.
type User struct {
	Email      string // lower case; names the user
	Username   string // unique
	Password   string // its hash, as the engine writes it; "": there is none
	SuperAdmin bool
	Disabled   bool
	CreatedAt  time.Time
}

// Member is a user in a workspace.
type Member struct {
	Workspace string
	Role      sluice.Role
	Since     time.Time
	User
}

// Token lets its owner in. The token itself is not stored, only its hash.
type Token struct {
	Hash      string // 32 bytes
	Prefix    string // how people tell it from others
	Email     string // of its owner
	Label     string
	Session   bool     // made by signing in
	Workspace string   // "": not bound to one
	Scopes    []string // nil: all that its owner may
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	UsedAt    time.Time // written now and then, not with every use; zero: never
}

// AuditEntry is what somebody changed.
type AuditEntry struct {
	ID         int64 // drawn by the store, ascending
	At         time.Time
	Workspace  string // "": the instance as a whole
	Username   string
	Email      string
	Operation  string // such as scripts.create
	Kind       string // Create, Update, Delete or Execute
	Resource   string // what it was done to
	Address    string // from where
	Token      string // prefix of the token; "": of the server itself
	Parameters json.RawMessage
}

// AuditFilter selects entries; zero fields do not select. Instants are bounds
// that are themselves included.
type AuditFilter struct {
	Workspace *string
	Username  string
	Operation string
	Kind      string
	Resource  string
	After     time.Time
	Before    time.Time
	Offset    int
	Limit     int // 0: 1,000
}

// PeopleReader reads who may do what.
type PeopleReader interface {
	// User returns a user by its email, UserNamed by its username. Users
	// returns those with emails after one, in byte order.
	User(email string) (*User, error)
	UserNamed(username string) (*User, error)
	Users(after string, most int) ([]*User, error)
	// Members returns the members of a workspace in the order of their
	// usernames, Memberships those of a user in the order of the workspaces.
	Members(workspace string) ([]*Member, error)
	Memberships(email string) ([]*Member, error)
	// Token returns the token with a hash, TokensOf those of a user, newest
	// first. Neither looks at whether it has expired.
	Token(hash string) (*Token, error)
	TokensOf(email string) ([]*Token, error)
	// AuditEntries returns entries, newest first.
	AuditEntries(f AuditFilter) ([]*AuditEntry, error)
}

// PeopleTx writes who may do what.
type PeopleTx interface {
	InsertUser(*User) error // ErrExists: the email or the username is in use
	SaveUser(*User) error   // Password, SuperAdmin, Disabled; ErrNotFound
	// DeleteUser deletes a user with its memberships, also those of groups, and
	// its tokens; ErrNotFound.
	DeleteUser(email string) error
	// SaveMember stores the role of a user in a workspace; Since stays what it
	// was when the member was first saved.
	SaveMember(*Member) error
	// DeleteMember takes a user out of a workspace and its groups; ErrNotFound.
	DeleteMember(workspace, email string) error

	InsertToken(*Token) error // ErrExists
	// UseToken notes that a token was used at an instant; it does nothing if
	// the token is gone.
	UseToken(hash string, at time.Time) error
	DeleteToken(hash string) error // ErrNotFound
	// DeleteSessions deletes the tokens of a user that were made by signing in.
	DeleteSessions(email string) error
	// DeleteTokens deletes tokens that expired at or before an instant.
	DeleteTokens(expired time.Time, most int) (int, error)

	// ArchiveWorkspace sets whether a workspace is archived; ErrNotFound.
	ArchiveWorkspace(id string, archived bool) error

	AddAudit(*AuditEntry) error // draws ID
	// DeleteAudit deletes entries from before an instant.
	DeleteAudit(before time.Time, most int) (int, error)
}
