package sluice

import (
	"encoding/json"
	"time"
)

// TakeRequest asks for work for the free places of one worker.
type TakeRequest struct {
	Worker string        // unique name of the worker process
	TakeNo int64         // ascending from 1 per worker; one number per request
	Tags   []string      // tags that the worker serves; not empty
	Places int           // free places, 1 … 10,000
	Wait   time.Duration // how long to wait for the first job; at most 60 s
}

// Assignment is one execution handed to a worker's free place. It holds all
// that the worker needs; the worker asks nobody else.
type Assignment struct {
	Execution int64 // id of the execution; names it in every later call
	JobID     string
	Attempt   int
	Workspace string
	Kind      Kind
	Path      string
	Hash      string
	Language  string
	Content   string
	Args      json.RawMessage // a JSON object
	Tag       string
	CreatedBy string
	Email     string
	ParentJob string
	Schedule  string // path of the schedule that it is a run of; "": none
	RootJob   string
	FlowStep  string    // id of the step of a flow that the job is; "": of none
	FlowPath  string    // of the flow whose step it is
	Scheduled time.Time // due time
	Timeout   time.Duration
	// Prompt is set if somebody may be waiting for the confirmation of the
	// launch (a start-mode limit): the worker then confirms at once. Without
	// it the confirmation may travel with the report.
	Prompt bool
	// Lock pins the packages that the code needs, in Windmill's format; nil: not
	// known, and the worker finds them.
	Lock *string
	// Token names the job in calls of the server's API. It is dead once the
	// execution has ended, whatever the way.
	Token string
	// Secrets are texts that must not show in the job's log or in what it says
	// of a failure: the token, and secret arguments of at least 4 bytes.
	Secrets []string
	// Entry is the function to call: EntryMain or EntryPreprocessor.
	Entry string
	// Dedicated asks for a process that is kept for the runs of this script.
	Dedicated bool
}

// The entries of a script.
const (
	EntryMain         = ""             // main, with the job's arguments
	EntryPreprocessor = "preprocessor" // makes the arguments of main out of what was sent
)

// Heartbeat is a worker's word on what it holds. An execution of a Take up to
// SettledTake that it does not list is one that it does not have and will not
// start.
type Heartbeat struct {
	Worker      string
	Instance    string // host or server process that the worker runs in
	Group       string // worker group
	Version     string
	Address     string
	Tags        []string
	Languages   []string // runtimes found on the worker
	Missing     []string // languages of its tags whose runtime was not found
	Isolation   string   // how jobs are walled off, for people
	Places      int
	JobsRun     int64
	SettledTake int64   // every Take up to this number was answered or given up
	Holds       []int64 // executions it holds, running or reported but not acknowledged
}

// Order tells a worker what to do with an execution that it holds.
type Order struct {
	Execution int64
	// Kill: end the process tree (TERM, grace, KILL) and report. Forget: the
	// server no longer counts this execution as the worker's; kill it at once
	// and do not report.
	Kill, Forget bool
	Reason       string
}

// Report is the end of one execution, sent when its process tree is gone.
type Report struct {
	Execution int64
	Worker    string
	Success   bool
	Result    json.RawMessage // JSON; on failure {"error": {...}}; at most MaxResultBytes
	Launched  bool            // whether the process was launched at all
	Lost      bool            // the job was ended for the worker's sake (out of touch, shut down, supervisor killed): it may run again
	MemPeakKB int64
	Streamed  bool // the execution sent a result stream
}

// LogChunk is a piece of an execution's log. Offset is the number of bytes
// sent before it, so that a repeated chunk is recognised.
type LogChunk struct {
	Execution int64
	Worker    string
	Offset    int64
	Text      []byte // any bytes; invalid UTF-8 is replaced when stored
	Stream    bool   // the text belongs to the result stream, whose offsets count by themselves
}

// WorkerInfo is what the server knows of a worker.
type WorkerInfo struct {
	Heartbeat
	StartedAt time.Time
	LastPing  time.Time
	Running   int // executions it holds
}
