package engine

import (
	"encoding/json"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// NewJob asks for one run. Exactly one of Path, Hash, Preview, Dependencies,
// FlowPath or FlowVersion, and FlowPreview names what to run.
type NewJob struct {
	ID        string // UUID given by the client; "" draws one. A second push with a known ID changes nothing and returns it
	Workspace string
	Path      string // newest version of the script at a path
	Hash      string // one version, 16 hex digits
	Preview   *Preview
	// Dependencies asks what code that is not saved depends on; it is not run.
	Dependencies *Dependencies
	FlowPath     string          // newest version of the flow at a path
	FlowVersion  int64           // one version of a flow; with FlowPath, it must be one of that path
	FlowPreview  *FlowPreview    // a flow that is not saved
	Args         json.RawMessage // a JSON object; empty: {}
	// Event returns what called: the arguments of the script's preprocessor, a
	// JSON object, of which it makes those of main. It is asked only if the
	// script has one, and then Args count for nothing. Nil: main gets Args,
	// whatever the script has.
	Event func() (json.RawMessage, error)

	ScheduledFor time.Time     // due time; zero or past: now
	ScheduledIn  time.Duration // instead of ScheduledFor, from the store's clock
	Priority     *int          // nil: the script's, else 0
	Tag          string        // "": the script's, else its language
	CreatedBy    string
	Email        string
	// By is who asks, and must be allowed to run it; nil: the server itself.
	By        *Who
	ParentJob string
	RootJob   string
	Schedule  string // path of the schedule that it is a run of

	QueueLimit      *int64        // refuse if more than this many would wait in the group
	MaxWait         time.Duration // fail with WaitedTooLong if not started so long after it is due; 0: the script's
	Timeout         time.Duration // 0: the script's, else the server's
	MaxLostAttempts *int          // nil: the script's, else 3
}

// Preview is code that is run without being saved. It has a limit only if the
// call carries one.
type Preview struct {
	Content  string
	Language string
	Path     string
	Limits   limit.Fields
	OnLimit  string
}

// FlowPreview is a flow that is run without being saved. Its limits, and those
// of its steps, count if it has a path or names keys.
type FlowPreview struct {
	Value json.RawMessage
	Path  string
}

// Dependencies is code of which is asked what it depends on.
type Dependencies struct {
	Content  string
	Language string
	Path     string // of the script that it is, or may become
	hash     string // of the saved version that it is; Content counts for nothing then
	step     string // of an inline step: its id, with Path and hash of the flow that it stands in, and its Content
	tag      string
}

// NewScript is a version of a script to be saved, with the object that was
// pushed in Body.
type NewScript struct {
	Body      json.RawMessage // the object as pushed; it is validated and stored as it is
	CreatedBy string
	Email     string
	By        *Who // who saves it, and must be allowed to; nil: the server itself
	// ApplyToWaiting gives jobs of the path that wait already the new N, W and
	// mode; their key stays.
	ApplyToWaiting bool
	// SkipIfNoop returns the newest version's hash if nothing would change.
	SkipIfNoop bool
}

// ScriptBody holds the fields of a pushed script that mean something to the
// engine. Everything else is stored and given back.
type ScriptBody struct {
	Path            string          `json:"path"`
	Content         string          `json:"content"`
	Language        string          `json:"language"`
	Summary         string          `json:"summary"`
	Kind            string          `json:"kind"`
	Tag             string          `json:"tag"`
	ParentHash      string          `json:"parent_hash"`
	AutoParent      bool            `json:"auto_parent"`
	Priority        *int            `json:"priority"`
	Timeout         *float64        `json:"timeout"`
	N               json.RawMessage `json:"concurrent_limit"`
	Window          json.RawMessage `json:"concurrency_time_window_s"`
	Key             json.RawMessage `json:"concurrency_key"`
	Mode            json.RawMessage `json:"concurrency_window_from"`
	OnLimit         *string         `json:"on_concurrency_limit"`
	MaxWait         *float64        `json:"max_wait_s"`
	MaxLostAttempts *int            `json:"max_lost_attempts"`
	DeleteAfterSecs *int64          `json:"delete_after_secs"`
	DeleteAfterUse  *bool           `json:"delete_after_use"`
	Lock            *string         `json:"lock"`
	Dedicated       *bool           `json:"dedicated_worker"`
	Labels          json.RawMessage `json:"labels"` // of its jobs; what is no label is ignored
	Schema          json.RawMessage `json:"schema"` // says which arguments are secret
	Preprocessor    *bool           `json:"has_preprocessor"`
}

// CancelResult says what a cancel did to one job.
type CancelResult struct {
	ID      string
	Ended   bool // it waited, or was forced: it is completed now
	Ordered bool // it runs: its worker is told to end it
	Already bool // it was completed before
}

// GroupInfo is a group as it is shown.
type GroupInfo struct {
	Key        string
	Running    int64 // slots held
	InWindow   int64 // released or launched executions that still count for the newest limit; at most 1,000 are counted
	Waiting    int64 // queued and scheduled
	Limit      *limit.Limit
	Source     limit.Source // where Limit came from: an override, or the first job in line or newest execution
	Override   *limit.Override
	MaxWaiting int64
	Pause      limit.Pause
	Typical    time.Duration
	RoomAt     time.Time // next instant with room, if one is known; zero: now or unknown
	FirstDue   time.Time // when the first in line was due; zero: nobody waits

	// Used says how much of the limit was used lately, see [Engine.GroupsUsed]:
	// what ran and what still counted, on the average of each part, the newest last.
	Used []float64
}

// OverrideChange sets or clears an override.
type OverrideChange struct {
	Fields     limit.Fields // Key is ignored
	MaxWaiting *int64       // 0 … ; nil: the default
	By, Why    string
}

// PauseChange pauses a group.
type PauseChange struct {
	Until   time.Time // zero: until resumed
	By, Why string
}

// JobView is a job with what a single look at it shows.
type JobView struct {
	*sluice.Job
	Logs      string // only where asked for
	LogEnd    int64  // UTF-16 code units of the whole log
	Wait      *sluice.Wait
	Execution *sluice.Execution // newest, nil if none
}

// Update is what changed about a job since a caller last looked.
type Update struct {
	Job       *sluice.Job
	NewLogs   string
	LogEnd    int64 // UTF-16 code units: offset to ask from next time
	NewStream string
	StreamEnd int64 // the same, of the result stream
}

// Seen is what a caller knows of a job. Offsets are UTF-16 code units.
type Seen struct {
	Running    bool
	FromLog    int64
	FromStream int64
}

// Change is a change to a job, as event streams show it.
type Change struct {
	Job *sluice.Job // without arguments, content and result
}

// JobPage is a list of jobs; Key-filtered lists include jobs of other
// workspaces, which the caller must obscure.
type JobPage struct {
	Jobs []*sluice.Job
}

// Metrics are the counters that /metrics shows.
type Metrics struct {
	Lines        []store.LineCount
	Counts       map[string]store.Counts // by tag
	Workers      int
	Places       int
	Lateness     []time.Duration // newest starts: taken minus the instant at which the first job could start; at most 1,024
	AttemptsLost int64
	Taken        int64
	Store        store.Stats
	ServedTags   []string
}
