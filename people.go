package sluice

// Role is what a member may do in a workspace. Each role may do what those
// before it may.
type Role string

// The roles, least first.
const (
	RoleNone      Role = ""          // no member
	RoleOperator  Role = "operator"  // reads, and runs what is saved
	RoleDeveloper Role = "developer" // also saves scripts and runs code that is not saved
	RoleAdmin     Role = "admin"     // also says who is a member, and reads the audit log
)

var ranks = map[Role]int{RoleNone: 0, RoleOperator: 1, RoleDeveloper: 2, RoleAdmin: 3}

// AtLeast reports whether a role may do what another may.
func (r Role) AtLeast(o Role) bool { return ranks[r] >= ranks[o] }
