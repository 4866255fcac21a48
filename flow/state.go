package flow

import (
	"encoding/json"
	"time"
)

// State is what is kept of a run of one scope. The zero value, with Scope set,
// is that of a run that has not begun; with Step and Modules set too, that of one
// that begins with a later step, where the results of those before it are. It is kept as JSON; its size depends on
// the number of modules and attempts, not on that of iterations.
type State struct {
	Scope   string        `json:"scope,omitempty"`
	Step    int           `json:"step"`    // index of the module that is at work; len(Modules): none is left
	Modules []ModuleState `json:"modules"` // one for each of the scope; nil: not begun
	Failure *ModuleState  `json:"failure,omitempty"`
	Open    int           `json:"open,omitempty"`  // jobs that were pushed and have not ended
	Error   *Cause        `json:"error,omitempty"` // why the scope fails, once it does
	Wait    *Wait         `json:"wait,omitempty"`  // for approvals
	Resumes []Resume      `json:"resumes,omitempty"`
	Pushed  int           `json:"pushed,omitempty"` // jobs that this scope has pushed
	Cut     bool          `json:"cut,omitempty"`    // it fails, and waits for what is open
	Ended   bool          `json:"ended,omitempty"`
}

// Status is how far a module is; the names are Windmill's.
type Status string

// The statuses.
const (
	WaitingForPriorSteps Status = "WaitingForPriorSteps"
	WaitingForExecutor   Status = "WaitingForExecutor"
	WaitingForEvents     Status = "WaitingForEvents"
	InProgress           Status = "InProgress"
	Success              Status = "Success"
	Failure              Status = "Failure"
)

// ModuleState is how far one module is.
type ModuleState struct {
	Status Status `json:"status,omitempty"` // "": WaitingForPriorSteps
	Job    string `json:"job,omitempty"`    // the newest one; of loops and branchall: of the newest iteration
	// Value says where the result is, once Status is Success: "" nowhere yet,
	// "job" it is that of Job, "stored" it is stored under the module's id.
	Value      string   `json:"value,omitempty"`
	Skipped    bool     `json:"skipped,omitempty"`
	Attempt    int      `json:"attempt,omitempty"` // failed attempts
	FailedJobs []string `json:"failed_jobs,omitempty"`
	// Of loops and branchall: how many there are, were begun, have ended, have
	// failed. Total < 0: not known yet (whileloopflow).
	Total      int      `json:"total,omitempty"`
	From       int      `json:"from,omitempty"` // parts before it are taken over from another run: see PartsBefore
	Begun      int      `json:"begun,omitempty"`
	Done       int      `json:"done,omitempty"`
	Failed     int      `json:"failed,omitempty"`
	AtOnce     int      `json:"at_once,omitempty"` // iterations that may run at once
	Halting    bool     `json:"halting,omitempty"` // no more of it is begun
	Stopped    bool     `json:"stopped,omitempty"` // of branchall: a stop_after_if has ended one of its branches
	FailedJob  string   `json:"failed_job,omitempty"`
	Branch     string   `json:"branch,omitempty"` // chosen in branchone: "0", "1" … or "default"
	ResumedAt  string   `json:"resumed_at,omitempty"`
	ApprovedBy []string `json:"approved_by,omitempty"`
}

// PartsBefore names the stored array of the results of those iterations or
// branches of a module that are taken over from another run: as many as From of
// its state says, with which the module begins.
func PartsBefore(id string) string { return id + ":before" }

// Where a result is.
const (
	InJob    = "job"
	InStored = "stored"
)

// Cause is why a scope fails: the result of Job, or the error itself.
type Cause struct {
	Step  string          `json:"step,omitempty"`
	Job   string          `json:"job,omitempty"`
	Value json.RawMessage `json:"value,omitempty"` // an object {"error": …}
}

// Wait is for approvals of a step that has run.
type Wait struct {
	Index    int       `json:"index"` // of the module
	Job      string    `json:"job"`   // of the step: approvals name it
	Required int       `json:"required"`
	Until    time.Time `json:"until,omitzero"` // zero: for ever
}

// Resume is an approval.
type Resume struct {
	ID       int64           `json:"id"` // the same approval twice has the same
	Refused  bool            `json:"refused,omitempty"`
	Approver string          `json:"approver,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
}

// EventKind is what happened to a run.
type EventKind string

// The events.
const (
	Started   EventKind = "started"   // the scope begins
	Ended     EventKind = "ended"     // one of its jobs has ended
	Timer     EventKind = "timer"     // Output.WakeAt has come
	Resumed   EventKind = "resumed"   // somebody approved
	Refused   EventKind = "refused"   // somebody disapproved
	Cancelled EventKind = "cancelled" // the run is to end: push nothing more
	Cut       EventKind = "cut"       // the same, and it fails
)

// Event is something that happened to a run.
type Event struct {
	Kind EventKind `json:"kind"`
	// Of Ended.
	Step    string `json:"step,omitempty"`
	N       int    `json:"n,omitempty"` // iteration or branch; -1: none
	Job     string `json:"job,omitempty"`
	Success bool   `json:"success,omitempty"`
	Skipped bool   `json:"skipped,omitempty"` // it ended early, and is labelled so
	Stopped bool   `json:"stopped,omitempty"` // a scope that a stop_after_if ended: what it belongs to stops, too
	// Of Resumed and Refused; Step and Job are those that it is for, if given.
	Resume *Resume `json:"resume,omitempty"`
}

// AskKind is a kind of value that Next may lack.
type AskKind string

// The kinds.
const (
	AskInput    AskKind = "input"    // the flow's input, as this scope sees it (with iter)
	AskResult   AskKind = "result"   // of the step Name of an enclosing scope, the innermost that has it; null if it has none
	AskJob      AskKind = "job"      // the result of the job Name
	AskStored   AskKind = "stored"   // the value stored under Name by this run
	AskChildren AskKind = "children" // an array of the results of the newest jobs of the step Name, by N, from 0 to below N
	AskExpr     AskKind = "expr"     // the value of the expression Name; see Ask.Vars
)

// Ask is a value that Next lacks. It is a key of [Input.Known].
type Ask struct {
	Kind AskKind
	Name string
	N    int    // of AskChildren: how many; of AskExpr: the iteration, for which iter is set; -1: none
	Step string // of AskExpr: the step that it belongs to
	Part string // of AskExpr: what of the step, such as "stop_after_if" or "input_transforms.x"
	// Job is, of AskExpr, the job whose result the expression sees as result:
	// "" none.
	Job string
	// Prev is, of AskExpr, the step whose result it sees as previous_result:
	// "" the flow's input.
	Prev string
}

// Input is what Next decides on.
type Input struct {
	Value *Value
	State *State // not changed
	Event Event
	Known map[Ask]json.RawMessage // answers; a JSON value each
	// Failed are expressions that were evaluated, and failed, with the message.
	Failed map[Ask]string
	Now    time.Time
	// Seed makes the jitter of retries: any number that is not the same for
	// all runs.
	Seed uint64
	// Canceled: the flow was cancelled; nothing more is pushed, and the run
	// ends with its last job.
	Canceled bool
}

// Output is what is to be done, all in one transaction.
type Output struct {
	// Asks, if there are any, are values that Next lacks. Nothing else of the
	// output counts then.
	Asks  []Ask
	Vars  Vars // what expressions asked for see beside what their Ask names
	State *State
	Push  []Child
	Store []Stored
	// CancelOpen: the jobs of this scope that have not ended are to be cancelled.
	CancelOpen bool
	WakeAt     time.Time // when a Timer event is to come; zero: none
	// Early: the result of Store or of the job that just ended is what
	// synchronous callers are to get.
	Early *Result
	End   *End
}

// Vars are variables of expressions.
type Vars struct {
	Previous *Ask // where previous_result is found; nil: the flow's input
	Resumes  []Resume
	Iter     map[int]json.RawMessage // by iteration: {"index", "value"}; overlays flow_input.iter
	Error    *Cause                  // of the failure module's inputs: error, with step_id
	Result   json.RawMessage         // not nil: what stop_after_if sees as result
}

// Child is a job to push.
type Child struct {
	Module *Module // what to run; of a scope, the loop or branch that it belongs to
	Step   string  // id of Module
	N      int     // iteration or branch; -1: none
	Scope  *string // not nil: the job runs this scope
	// Args of a step: its arguments. Of a scope: {} or {"iter": {"index", "value"}}.
	Args     json.RawMessage
	Delay    time.Duration // due this long from now
	Timeout  time.Duration // 0: as its runnable says
	CacheTTL time.Duration // 0: not cached
	Attempt  int           // failed attempts before it
	RetryOf  string        // not "": the job whose arguments and key it takes over; Args is nil
}

// Result names a value: the result of a job, one that was stored by this run,
// or the value itself.
type Result struct {
	Job    string
	Stored string
	Value  json.RawMessage
}

// Stored is a value to store under a name.
type Stored struct {
	Name  string
	Value json.RawMessage
}

// End is how a scope ends.
type End struct {
	Success  bool
	Canceled bool
	Cut      bool // by an event Cut: whoever sent it has the result
	Stopped  bool // by a stop_after_if
	Skipped  bool // by one that says so
	Result   Result
}

// Source says where the result of a step of this scope is; ok is false if it
// has none (yet) or the scope has no such step.
func (s *State) Source(v *Value, id string) (r Result, ok bool) {
	for i, m := range v.scopes[s.Scope] {
		if m.ID != id || i >= len(s.Modules) {
			continue
		}
		switch ms := s.Modules[i]; ms.Value {
		case InJob:
			return Result{Job: ms.Job}, true
		case InStored:
			return Result{Stored: m.ID}, true
		}
		return Result{}, false
	}
	return Result{}, false
}
