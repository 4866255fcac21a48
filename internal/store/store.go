// Package store is the contract between the engine and a database: what each
// call promises. It holds no SQL and decides nothing.
//
// # Transactions
//
// All state changes happen inside [Store.Update]. A driver may run many
// updates in one database transaction (group commit), but each sees the
// effects of those before it, and one that fails leaves no trace. Update
// returns nil only when the change is durable: it survives kill -9 and loss of
// power. After an error other than the function's own, the caller does not
// know whether the change was made.
//
// # Locks and the clock
//
// Whoever decides about a group locks it first ([Tx.LockGroups] or
// [Tx.LockGroupIDs]; in whatever order a function asks for its locks, a driver
// sees to it that nobody waits for ever), and whoever puts jobs into a line or takes
// them out locks its group, or the line if it has none; then he reads the
// clock ([Tx.Now]), then looks at the group's rows. Now never goes back: it is
// never before an instant that any committed transaction has recorded, and
// it ascends within a transaction and between transactions.
//
// # Numbers
//
// Seq (jobs) and ID (executions) ascend in the order in which the store draws
// them, which for jobs and executions of one group is that of its lock; of two
// updates of which one returned before the other was asked for, the first has
// the lower numbers. Rev (changes to jobs) is unique, and grows with each change
// to a job that the reader of changes sees. Transactions may commit in another
// order than that of their Revs: what is not below the oldest that may still be
// committed cannot be read by ChangedJobs yet, and MaxRev stays below it. So a
// reader that has seen every Rev up to r and then reads those above r misses
// none. A Signal with a Rev is given when that can be read.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"sluice"
	"sluice/limit"
)

// Errors of the contract. Every other error is the driver's own and means
// that the call may be repeated.
var (
	ErrNotFound = errors.New("store: no such row")
	ErrExists   = errors.New("store: exists already")
	ErrClosed   = errors.New("store: closed")
)

// Store is one database. All methods may be called concurrently.
type Store interface {
	// Update runs fn in a transaction and returns when it is durable, or with
	// fn's error, unwrapped, when it left no trace. fn may be run more than
	// once and must have no effects outside Tx but on its own variables, which
	// it resets. A context that ends before fn began means that fn is not run.
	Update(ctx context.Context, fn func(Tx) error) error
	// View runs fn on a consistent snapshot that holds every update that
	// returned before View was called.
	View(ctx context.Context, fn func(Reader) error) error
	// Subscribe has fn called after every commit that had something to tell.
	// fn must return at once. Signals may be merged and may be lost; they are
	// hints. The returned function ends the subscription.
	Subscribe(fn func(Signal)) (cancel func())
	// Stats returns counters since the store was opened.
	Stats() Stats
	// Close ends the store. Updates under way are finished first.
	Close() error
}

// Signal tells what a commit touched.
type Signal struct {
	Tags    []string // lines with these tags became ready or wake at another time
	Rev     int64    // changes to jobs can be read up to it; 0: nothing new
	Workers []string // workers for whom there is an order
	Flows   bool     // the run of a flow is due, or wakes at another time, or a schedule has changed
	All     bool     // something may have been missed: look at everything again
}

// Stats are counters since the store was opened.
type Stats struct {
	Statements int64 // SQL statements run
	RowsRead   int64 // rows that statements returned
	Commits    int64
	// Commit latencies of the newest commits, at most 1,024, oldest first.
	CommitLatency []time.Duration
	ClockStep     time.Duration // largest step of the wall clock against the monotonic clock that was seen
}

// Group is the row of a concurrency group.
type Group struct {
	ID  int64
	Key string
	limit.Group
	Waiting    int64         // jobs queued or scheduled
	MaxWaiting int64         // 0: sluice.DefaultMaxWait
	MaxWindow  time.Duration // longest window that was ever asked of the group
	Typical    time.Duration // how long its executions last, smoothed; 0: unknown
	// Executions up to this order number were deleted by retention.
	TrimmedOrder int64
	OverrideBy   string
	OverrideWhy  string
}

// Line is the row of a line. A line exists while jobs stand in it or are
// scheduled for it.
type Line struct {
	ID        int64
	GroupID   int64  // 0: jobs with no limit
	Workspace string // set only without a limit
	Path      string // set only without a limit
	Tag       string
	Queued    int64 // jobs that stand in it
	Scheduled int64 // jobs that are due later

	Head      sluice.Rank // of the first job; Head.Seq 0: none
	HeadLimit limit.Limit // of the first job, as pushed; meaningless without a limit
	NextDue   time.Time   // of the first scheduled job; zero: none

	// Turn orders ready lines of equal priority: the lowest is served next.
	Turn int64
	// Ready: the first job was found to have room. BlockedBy lists the tags,
	// sorted, each followed by a line feed, of the lines of the same group
	// that have no room and come before it; "" if none.
	Ready     bool
	BlockedBy string
	// WakeAt is when the line, ready or not, is to be looked at again: it gets
	// room, or a scheduled job falls due; zero: not until an event.
	WakeAt time.Time
}

// GroupEvent is an entry of the log of a group, evidence for the checker.
type GroupEvent struct {
	Seq        int64
	GroupID    int64
	Key        string
	At         time.Time
	Kind       string // one of the Event constants
	AfterOrder int64  // newest order number drawn when it happened
	Override   limit.Override
	MaxWaiting int64
	Until      time.Time // of a pause
	By, Why    string
}

// Kinds of group events.
const (
	EventOverride = "override" // set or changed
	EventClear    = "clear"    // override removed
	EventPause    = "pause"
	EventResume   = "resume"
	EventPrune    = "prune"
)

// Script is one version of a script.
type Script struct {
	Hash      string // 16 hex digits
	Workspace string
	Path      string
	Parent    string // hash of the version before; "" for the first
	Content   string
	Language  string
	Summary   string
	Kind      string
	Settings  json.RawMessage // the object that was pushed, verbatim
	CreatedBy string
	CreatedAt time.Time
	Archived  bool
	Deleted   bool
	Newest    bool // whether no newer version exists at its path
	// Lock is what a dependency job found the version to depend on; nil: none
	// did. LockError says why, if one failed.
	Lock      *string
	LockError string
}

// Flow is one version of a flow.
type Flow struct {
	N           int64 // drawn by the store, ascending over all workspaces; never used again
	Workspace   string
	Path        string
	Summary     string
	Description string
	Value       json.RawMessage // as pushed, verbatim
	Schema      json.RawMessage // as pushed, verbatim; nil: none
	Settings    json.RawMessage // a JSON object of the other fields that were pushed, verbatim
	EditedBy    string
	EditedAt    time.Time
	Archived    bool
	Deleted     bool // nobody sees it; it stays as long as runs may need it
	Newest      bool // whether no newer version exists at its path
}

// Schedule has runs pushed at instants.
type Schedule struct {
	Workspace string
	Path      string
	Body      json.RawMessage // as it was pushed
	Enabled   bool
	NextAt    time.Time // when the run is due that is pushed and has not been due; zero: none is
	NextJob   string    // that run
	Failed    int       // runs in a row that have failed; <0: that have succeeded since, until it counts as recovered
	EditedBy  string
	Email     string // of who edited it: its runs have their rights
	EditedAt  time.Time
	Error     string // why it was disabled, for people; "": it was not
}

// ScheduleFilter selects schedules, by path.
type ScheduleFilter struct {
	Workspace string
	Sight     *Sight // nil: all
	PathStart string
	Offset    int
	Limit     int // 0: 1,000
}

// Workspace is a tenant.
type Workspace struct {
	ID, Name, Owner string
	CreatedAt       time.Time
	Archived        bool // nobody gets in; its jobs go on
}

// JobFilter selects jobs; zero fields do not select. All instants are bounds
// that are themselves included.
type JobFilter struct {
	Workspace       string
	Sight           *Sight // nil: all
	IDs             []string
	States          []sluice.State
	Outcomes        []sluice.Outcome
	Kinds           []sluice.Kind
	PathExact       string
	PathStart       string
	Hash            string
	Tag             string
	CreatedBy       string
	ParentJob       string
	NoParent        bool
	HasParent       bool
	Step            string  // id of a step
	Steps           bool    // only steps of flows
	Schedule        string  // runs of the schedule at a path
	NoSchedule      bool    // no runs of schedules
	NoSteps         bool    // no steps of flows
	Among           []Among // each must hold
	Key             *string
	Label           string
	Worker          string
	CreatedAfter    time.Time
	CreatedBefore   time.Time
	StartedAfter    time.Time
	StartedBefore   time.Time
	CompletedAfter  time.Time
	CompletedBefore time.Time
	DueBefore       time.Time
	OldestFirst     bool
	AfterSeq        int64 // jobs that arrived after it, or before it unless OldestFirst; 0: from the end
	Offset          int
	Limit           int // 0: 1,000
}

// Field is a field of a job that a filter compares with a list.
type Field int

// The fields.
const (
	FieldPath Field = iota
	FieldHash
	FieldTag
	FieldCreatedBy
	FieldWorker
	FieldLabel    // jobs with one of the labels
	FieldSchedule // path of the schedule that it is a run of; "" of none
	FieldReason   // why it was cancelled, or is labelled as skipped
	FieldAny      // path, tag, creator or worker
)

// How a filter compares.
type How int

// The ways; case counts, but for HowPart.
const (
	HowExact   How = iota
	HowStart       // the value begins the field
	HowPattern     // * stands for any text
	HowPart        // the value is a part of the field, whatever the case of ASCII
)

// Among selects jobs of which a field compares with one of some values, or
// with none of them.
type Among struct {
	Field  Field
	How    How
	Values []string // at least one
	Not    bool
}

// ScriptFilter selects the newest versions of scripts.
type ScriptFilter struct {
	Workspace string
	Sight     *Sight // nil: all
	Archived  bool   // archived ones instead of the others
	PathStart string
	Offset    int
	Limit     int // 0: 1,000
}

// FlowFilter selects the newest versions of flows.
type FlowFilter struct {
	Workspace string
	Sight     *Sight // nil: all
	Archived  bool   // archived ones instead of the others
	PathStart string
	Offset    int
	Limit     int // 0: 1,000
}

// GroupFilter selects groups.
type GroupFilter struct {
	KeyContains string
	AfterKey    *string // keys after it, in byte order
	Active      bool    // only groups with a job held or waiting, an override or a pause
	Order       GroupOrder
	Limit       int // 0: 1,000
}

// GroupOrder is the order of a list of groups. Under each but the first those
// with the most come first, of equals in the byte order of their keys, and
// AfterKey must be nil.
type GroupOrder string

// The orders: by key, by jobs that wait, by slots held.
const (
	ByKey     GroupOrder = ""
	ByWaiting GroupOrder = "waiting"
	ByHeld    GroupOrder = "held"
)

// FlowRun is what is kept of a flow's job beside the job, from its start on.
type FlowRun struct {
	JobSeq  int64
	RootSeq int64           // of the outermost flow's job; JobSeq if this is it
	Depth   int             // flows around it
	State   json.RawMessage // where it stands
	Events  json.RawMessage // what happened and was not dealt with yet; nil: nothing
	Due     bool            // it is to be looked at now
	WakeAt  time.Time       // when it is to be looked at by itself; zero: never
	Steps   int64           // of an outermost flow: the jobs that were pushed in it, however deep
}

// CacheEntry is a result that is kept for runs alike. There is one at most in
// each slot, so that there are never more of them than slots.
type CacheEntry struct {
	Slot   int64
	Hash   []byte // what it is the result of
	Until  time.Time
	Result json.RawMessage
}

// LogPart is a stored piece of a job's log.
type LogPart struct {
	Offset     int64 // bytes of stored text before it
	UTF16      int64 // UTF-16 code units before it
	Text       string
	EndsUTF16  int64
	EndsOffset int64
}

// WorkerRow is what is stored of a worker.
type WorkerRow struct {
	sluice.WorkerInfo
	Gone bool // its process is known to be dead
}

// Counts are jobs by state.
type Counts struct {
	Scheduled, Queued, Running int64
}

// LineCount sums up lines alike.
type LineCount struct {
	Tag       string
	InGroup   bool
	Paused    bool
	Ready     bool
	Queued    int64
	Scheduled int64
	OldestDue time.Time // earliest due time of a first job; zero: none
}
