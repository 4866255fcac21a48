package flow

import (
	"encoding/json"
	"time"

	"sluice/limit"
)

// Kind is what a module does; the names are OpenFlow's.
type Kind string

// The kinds.
const (
	KindRaw       Kind = "rawscript"     // runs code that stands in the flow
	KindScript    Kind = "script"        // runs a saved script
	KindFlow      Kind = "flow"          // runs a saved flow
	KindFor       Kind = "forloopflow"   // runs its body once per element
	KindWhile     Kind = "whileloopflow" // runs its body until its stop_after_if holds
	KindBranchOne Kind = "branchone"     // runs the first branch whose expression holds
	KindBranchAll Kind = "branchall"     // runs all branches
	KindIdentity  Kind = "identity"      // passes the previous result on
)

// known are the kinds that are carried out.
var known = map[Kind]bool{
	KindRaw: true, KindScript: true, KindFlow: true, KindFor: true, KindWhile: true, KindBranchOne: true, KindBranchAll: true, KindIdentity: true,
}

// spoken is the kind in a sentence.
func (k Kind) spoken() string {
	if k == KindIdentity {
		return "an " + string(k)
	}
	return "a " + string(k)
}

// Bounds of a flow's value.
const (
	MaxModules    = 1000    // in all scopes together
	MaxDepth      = 32      // of loops and branches within each other
	MaxIterations = 10_000  // of one loop
	MaxBranches   = 200     // of one module
	MaxExpr       = 1 << 16 // bytes of one expression
	MaxAttempts   = 1000    // of a retry, all attempts together
	MaxEvents     = 100     // required_events of one approval
	MaxDelay      = 366 * 24 * time.Hour
	// FailureStep and PreprocessorStep are the ids of those modules if they
	// have none of their own.
	FailureStep      = "failure"
	PreprocessorStep = "preprocessor"
)

// Value is a parsed flow. It is immutable: do not change what it points to.
type Value struct {
	Modules      []*Module
	Failure      *Module // runs when a step of the flow has failed; nil: none
	Preprocessor *Module // makes the flow's input; nil: none

	Limits      limit.Settings // of the flow as a whole
	OnLimit     string         // "", "queue" or "fail"
	MaxWait     time.Duration  // 0: for ever
	Priority    *int           // nil: none was set
	EarlyReturn string         // id of the step whose result synchronous callers get; "": the last
	Env         json.RawMessage
	MaxLost     *int          // new attempts after lost workers; nil: the default
	CacheTTL    time.Duration // for which its result serves runs with the same arguments; 0: not at all

	scopes map[string][]*Module
	byID   map[string]*Module
	in     map[string]string // module id → name of its scope
}

// Module is a step of a flow.
type Module struct {
	ID      string
	Kind    Kind
	Summary string

	Inputs      []Named    // of rawscript, script and flow: arguments, by name
	Raw         *Raw       // of rawscript
	Path        string     // of script and flow
	Hash        string     // of script: a version, "" the newest
	Tag         string     // of rawscript and script; "": the runnable's own
	Iterator    Transform  // of forloopflow
	Body        []*Module  // of loops
	Parallel    bool       // of loops and branchall
	Parallelism *Transform // of forloopflow: iterations at once; nil: all
	SkipFailed  bool       // of loops: a failed iteration does not fail the loop
	Branches    []Branch   // of branchone and branchall
	Default     []*Module  // of branchone

	StopIf          *Stop // after the step; of a loop after each iteration, to leave it
	StopAfterAll    *Stop // of loops and branchall: after all of it
	SkipIf          string
	Sleep           *Transform // seconds between this step and the next
	Timeout         *Transform // seconds
	CacheTTL        time.Duration
	Retry           *Retry
	ContinueOnError bool
	Suspend         *Suspend
	Mock            *Mock
	Priority        *int
	DeleteAfterUse  bool
}

// Raw is code that stands in a flow.
type Raw struct {
	Content  string
	Language string
	Lock     *string // nil: not given
	Limits   limit.Settings
	OnLimit  string
	MaxWait  time.Duration
	MaxLost  *int
}

// Named is an argument of a step.
type Named struct {
	Name string
	Transform
}

// Transform says where a value comes from: Expr, if it is not "", else Static.
type Transform struct {
	Static json.RawMessage // nil: null
	Expr   string
}

// Branch is a branch of branchone (Expr) or branchall (SkipFailure).
type Branch struct {
	Summary     string
	Expr        string
	Modules     []*Module
	SkipFailure bool
}

// Stop ends the scope after a step when Expr holds.
type Stop struct {
	Expr    string
	Skipped bool   // the scope is then labelled as skipped
	Message string // not "": the scope fails with it
}

// Retry says when a failed step is tried again: Constant times after Delay,
// then Exponential times after Multiplier · Base^attempt seconds.
type Retry struct {
	Constant    int
	Delay       time.Duration
	Exponential int
	Multiplier  int
	Base        int
	Jitter      int    // percent by which the delay may differ, both ways
	If          string // expression over the failed step's result; "": always
}

// Suspend has the flow wait after a step until it was approved.
type Suspend struct {
	Required      int           // approvals
	Timeout       time.Duration // 0: for ever
	Form          json.RawMessage
	UserRequired  bool     // only who is signed in may approve
	Groups        []string // only members of one of them may
	NoSelf        bool     // not who started the flow
	GoOn          bool     // continue_on_disapprove_timeout
	GroupsDynamic string   // expression that gives the groups; "": Groups
}

// Mock has a step give a value instead of running.
type Mock struct{ Value json.RawMessage }

// Plain reports whether the module runs as one job without anything that the
// flow has to look after: a loop over it needs no scope per iteration.
func (m *Module) Plain() bool {
	return m.Leaf() && m.StopIf == nil && m.SkipIf == "" && m.Retry == nil && m.Suspend == nil && m.Mock == nil &&
		m.Sleep == nil && !m.ContinueOnError
}

// Leaf reports whether the module is run by one job of its own.
func (m *Module) Leaf() bool {
	return m.Kind == KindRaw || m.Kind == KindScript || m.Kind == KindFlow
}

// Loop reports whether the module runs a body several times.
func (m *Module) Loop() bool { return m.Kind == KindFor || m.Kind == KindWhile }

// direct returns the one plain module of a loop's body or of a branch, nil if
// it needs a scope.
func direct(body []*Module) *Module {
	if len(body) == 1 && body[0].Plain() {
		return body[0]
	}
	return nil
}

// Scope returns the modules of a scope, and whether there is such a scope.
func (v *Value) Scope(name string) ([]*Module, bool) {
	ms, ok := v.scopes[name]
	return ms, ok
}

// Module returns the module with an id, wherever it stands, the failure module
// and the preprocessor included; nil: there is none.
func (v *Value) Module(id string) *Module { return v.byID[id] }

// All returns all modules, however deep they stand, by their ids, the failure
// module and the preprocessor included.
func (v *Value) All() []*Module {
	all := make([]*Module, 0, len(v.byID))
	for _, id := range sortedKeys(v.byID) {
		all = append(all, v.byID[id])
	}
	return all
}

// ScopeOf returns the name of the scope that a module stands in.
func (v *Value) ScopeOf(id string) string { return v.in[id] }
