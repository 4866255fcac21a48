package sluice

import (
	"encoding/json"
	"time"

	"sluice/limit"
)

// State is where a job stands. On the wire it is shown in Windmill's terms
// (queued, running, completed).
type State string

// The states, in the order in which a job passes through them.
const (
	StateScheduled State = "scheduled" // due later
	StateQueued    State = "queued"    // due, waiting in its line
	StateRunning   State = "running"   // an execution of it is held by a worker
	StateCompleted State = "completed" // ended, whatever the outcome
)

// Outcome says how a completed job ended.
type Outcome string

// The outcomes.
const (
	OutcomeNone     Outcome = ""         // not completed
	OutcomeSuccess  Outcome = "success"  // exit status 0, result stored
	OutcomeFailure  Outcome = "failure"  // the result holds {"error": {...}}
	OutcomeCanceled Outcome = "canceled" // cancelled before or while running
)

// Kind is what a job runs; the names are Windmill's.
type Kind string

// The kinds.
const (
	KindScript       Kind = "script"
	KindPreview      Kind = "preview"
	KindDependencies Kind = "dependencies" // finds the lock of a script; its code is not run
	KindFlow         Kind = "flow"         // a flow, or a part of one with FlowScope set; the engine runs it
	KindFlowPreview  Kind = "flowpreview"  // a flow that is not saved
	KindFlowScript   Kind = "flowscript"   // an inline script that is a step of a flow
)

// IsFlow reports whether jobs of a kind are run by the engine, and not by a worker.
func (k Kind) IsFlow() bool { return k == KindFlow || k == KindFlowPreview }

// TagFlow is the tag of flows that name none. LineFlow is the tag of the lines in
// which flows wait, whatever their own tag: no worker can serve it, since tags
// hold no commas.
const (
	TagFlow  = "flow"
	LineFlow = ",flow"
)

// Phase says whether a job's arguments are final. Before that it has no key,
// and stands in no group.
type Phase string

// The phases.
const (
	PhaseNone         Phase = ""             // the arguments are as pushed
	PhasePreprocess   Phase = "preprocess"   // the script's preprocessor is to make them, or does
	PhasePreprocessed Phase = "preprocessed" // it has made them
)

// OnLimit says what becomes of a job that finds no room when it is due.
type OnLimit string

// The choices; the zero value means [OnLimitQueue].
const (
	OnLimitQueue OnLimit = "queue"
	OnLimitFail  OnLimit = "fail"
)

// Bounds on what a job may carry.
const (
	MaxResultBytes = 2 << 20  // of a result, as JSON
	MaxLogBytes    = 10 << 20 // of the log of one job; a mark says where it was cut
	MaxStreamBytes = 2 << 20  // of the result stream of one job; what exceeds it is dropped
	MaxLabels      = 32       // of one job
	MaxLabelBytes  = 100      // of one label
	MaxBulk        = 10_000   // jobs in one submission
	MinPriority    = -100
	MaxPriority    = 100
	DefaultMaxWait = 1_000_000 // jobs that may wait in one group
)

// Job is one asked-for run of a runnable. The zero value of an instant means
// that it has not happened.
type Job struct {
	Seq       int64  // arrival order, drawn by the store; unique
	ID        string // UUID, canonical text form
	Rev       int64  // number of the newest change to this job, drawn by the store
	Workspace string
	Kind      Kind
	Path      string // of the runnable; "" for a preview without one
	Hash      string // of the script version, 16 hex digits; "" for a preview
	Language  string
	Content   string          // code of a preview; "" if Hash names it
	Args      json.RawMessage // a JSON object
	Tag       string
	Priority  int // higher starts first within a group; MinPriority … MaxPriority
	CreatedBy string
	Email     string
	ParentJob string
	RootJob   string
	Step      string // id of the step of the parent flow that this is; "": of none
	StepN     int    // iteration or branch of the step, from 0; -1: it has none
	FlowScope string // part of the root flow that a job of kind flow runs; "": a whole flow

	CreatedAt    time.Time
	ScheduledFor time.Time // due time; waiting never changes it
	ExpiresAt    time.Time // the job fails with WaitedTooLong if not started by then; zero: never
	StartedAt    time.Time // taken_at of the newest execution
	CompletedAt  time.Time

	Key             string       // resolved concurrency key; "" with HasKey false: in no group
	HasKey          bool         // whether the job is in a group (an empty key is legal)
	Limit           *limit.Limit // as pushed; nil: none
	OnLimit         OnLimit
	Timeout         time.Duration // 0: the server's default
	MaxLostAttempts int           // new attempts after a lost worker; 0: at most one run
	DeleteAfter     time.Duration // kept this long after its end; <0: the server's retention

	State          State
	Outcome        Outcome
	Attempt        int      // number of the newest execution, from 1; 0: none yet
	Lost           int      // executions that ended in a lost worker
	Worker         string   // of the newest execution
	Labels         []string // of its script, then of its result; at most MaxLabels
	Progress       *int     // percent, as the running job said last; nil: it said nothing
	Phase          Phase
	QueueLimit     *int64 // in PhasePreprocess: how many may wait in the group that it will be in; nil: as many as the group allows
	Schedule       string // path of the schedule that it is a run of; "": none
	CanceledBy     string
	CanceledReason string
	Result         json.RawMessage // set only where a call says that it loads it
}

// Waiting reports whether the job has not started and not ended.
func (j *Job) Waiting() bool { return j.State == StateScheduled || j.State == StateQueued }

// LineTag returns the tag of the line in which the job waits: its own, or that
// of flows, which need no worker.
func (j *Job) LineTag() string {
	if j.Kind.IsFlow() {
		return LineFlow
	}
	return j.Tag
}

// Rank orders the waiting jobs of a group: priority (higher first), due time,
// arrival.
type Rank struct {
	Priority int
	Due      time.Time
	Seq      int64
}

// Compare returns a negative number if r comes before o, positive if after.
func (r Rank) Compare(o Rank) int {
	switch {
	case r.Priority != o.Priority:
		return o.Priority - r.Priority
	case !r.Due.Equal(o.Due):
		return r.Due.Compare(o.Due)
	case r.Seq < o.Seq:
		return -1
	case r.Seq > o.Seq:
		return 1
	}
	return 0
}

// Rank returns the job's rank.
func (j *Job) Rank() Rank { return Rank{Priority: j.Priority, Due: j.ScheduledFor, Seq: j.Seq} }

// How an execution ended.
const (
	EndReported = "reported" // the worker reported the end of its process tree
	EndLost     = "lost"     // the worker was declared lost
	EndStruck   = "struck"   // handed back before launch; counts nowhere
	// EndPrepared: the worker reported the end of the job's preprocessor, whose
	// result becomes the job's arguments. It was in no group.
	EndPrepared = "prepared"
)

// Execution is one attempt to run a job. It is the slot while ReleasedAt is
// zero, history afterwards, and evidence for the checker always.
type Execution struct {
	ID      int64 // drawn by the store, ascending in the order of taking
	JobSeq  int64
	JobID   string
	Attempt int
	Worker  string
	TakeNo  int64 // the worker's number of the Take that asked for it
	Tag     string

	InGroup  bool
	GroupID  int64
	Limit    limit.Limit  // in force when it was taken; meaningful if InGroup
	Source   limit.Source // where Limit came from
	OrderNo  int64        // drawn when taken; without gaps within a group
	LaunchNo int64        // drawn when confirmed, or released unconfirmed; 0: neither yet
	EndNo    int64        // drawn when released; 0: held

	StartedAt   time.Time // taken
	ConfirmedAt time.Time
	ReleasedAt  time.Time
	End         string // one of the End constants; "" while held
	KillAt      time.Time
}

// Held reports whether the execution holds its slot.
func (e *Execution) Held() bool { return e.End == "" }
