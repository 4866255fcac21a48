package store

import (
	"encoding/json"
	"time"

	"sluice"
	"sluice/limit"
)

// Reader reads one consistent state of the database. Methods that return one
// row return [ErrNotFound] if there is none. Rows are copies: changing them
// changes nothing until they are saved.
type Reader interface {
	PeopleReader
	VariableReader
	FolderReader
	PermissionReader

	// Now reads the store's clock, to the microsecond, in UTC. Outside Update
	// it is for showing only: nothing may be decided by it.
	Now() time.Time
	// Job returns a job without its result. JobBySeq does the same by number.
	Job(id string) (*sluice.Job, error)
	JobBySeq(seq int64) (*sluice.Job, error)
	// Result returns the result of a completed job; nil if it has none.
	Result(seq int64) (json.RawMessage, error)
	// Jobs returns the jobs that a filter selects, newest arrival first unless
	// it says otherwise, without results. CountJobs ignores Limit and Offset.
	Jobs(f JobFilter) ([]*sluice.Job, error)
	CountJobs(f JobFilter) (int64, error)
	// ChangedJobs returns jobs whose newest change is numbered above rev, in
	// the order of those numbers. MaxRev returns a number up to which all changes
	// can be read: the newest one's, or a higher one that no change will have.
	ChangedJobs(rev int64, most int) ([]*sluice.Job, error)
	MaxRev() (int64, error)
	// JobCounts returns the jobs of each state by tag; CompletedByTag those
	// that ended since an instant. An empty workspace means all.
	JobCounts(workspace string) (map[string]Counts, error)
	CompletedByTag(workspace string, since time.Time) (map[string]int64, error)
	// Log returns the stored parts of a job's log that end after a position in
	// UTF-16 code units, at most `most` bytes of them.
	Log(seq int64, fromUTF16 int64, most int) ([]LogPart, error)
	// Stream does the same for a job's result stream.
	Stream(seq int64, fromUTF16 int64, most int) ([]LogPart, error)
	// Secret returns what was saved under a name.
	Secret(name string) ([]byte, error)

	// FlowRun returns what is kept of a flow's job. FlowResult returns a result
	// that was saved for it under a name. Children returns the jobs that a job
	// pushed for one of its steps, from a StepN on, in the order of StepN, then of
	// arrival, without results.
	FlowRun(jobSeq int64) (*FlowRun, error)
	FlowResult(jobSeq int64, name string) (json.RawMessage, error)
	Children(parent, step string, fromN, most int) ([]*sluice.Job, error)
	// Cached returns what is in a slot, over or not.
	Cached(slot int64) (*CacheEntry, error)

	// Group returns the group of a key, GroupByID that of an id.
	Group(key string) (*Group, error)
	GroupByID(id int64) (*Group, error)
	// Groups returns groups, in ascending byte order of their keys unless asked otherwise.
	Groups(f GroupFilter) ([]*Group, error)
	// Instant returns the instant of the launch or release with this number;
	// ErrNotFound if no row holds it. It is one index look-up.
	Instant(groupID int64, s limit.Series, no int64) (time.Time, error)
	// HeldExecutions returns executions of a group that hold a slot, those
	// taken first first. Recent returns those of a group, or of all if groupID
	// is 0, that were released after an instant, newest first.
	HeldExecutions(groupID int64, most int) ([]*sluice.Execution, error)
	Recent(groupID int64, after time.Time, most int) ([]*sluice.Execution, error)
	// Execution returns one execution. Attempts returns those of a job in order.
	Execution(id int64) (*sluice.Execution, error)
	Attempts(jobSeq int64) ([]*sluice.Execution, error)
	// History returns executions of a group in the order of their order numbers,
	// above afterOrder, struck out ones included; with groupID 0 executions of
	// all jobs in the order of their ids, above afterOrder as an id.
	History(groupID, afterOrder int64, most int) ([]*sluice.Execution, error)
	// HeldBy returns the executions that a worker holds. HeldByFlows returns those
	// with a group that no worker holds, in the order of their ids.
	HeldBy(worker string) ([]*sluice.Execution, error)
	HeldByFlows(most int) ([]*sluice.Execution, error)
	// LinesOf returns the lines of a group. LineFor returns the line of a group
	// and tag, or with groupID 0 that of a workspace, path and tag.
	LinesOf(groupID int64) ([]*Line, error)
	LineFor(groupID int64, workspace, path, tag string) (*Line, error)
	// LineCounts sums up all lines by what their first job waits for.
	LineCounts() ([]LineCount, error)
	// Ahead counts jobs of a line that come before a rank, up to most.
	Ahead(lineID int64, r sluice.Rank, most int64) (int64, error)
	// GroupEvents returns the log of a group (all groups if 0), oldest first.
	GroupEvents(groupID int64, afterSeq int64, most int) ([]*GroupEvent, error)

	// Workers returns the workers that were heard of since an instant.
	Workers(since time.Time) ([]*WorkerRow, error)

	Workspaces() ([]*Workspace, error)
	Workspace(id string) (*Workspace, error)
	Script(workspace, path string) (*Script, error) // newest version, archived ones too
	ScriptByHash(workspace, hash string) (*Script, error)
	// ScriptLock returns the Lock of a version alone.
	ScriptLock(workspace, hash string) (*string, error)
	// FlowLock returns the lock that was found for an inline step of a version of
	// a flow; nil: none was.
	FlowLock(n int64, step string) (*string, error)
	Scripts(f ScriptFilter) ([]*Script, error)
	ScriptVersions(workspace, path string) ([]*Script, error) // newest first
	// Flow returns the newest version at a path, archived ones too, deleted ones
	// not. FlowVersion returns one version, deleted or not. Flows lists newest
	// versions, and FlowVersions those at a path, newest first; neither lists
	// deleted ones, and both leave Value and Schema out.
	Flow(workspace, path string) (*Flow, error)
	FlowVersion(workspace string, n int64) (*Flow, error)
	Flows(f FlowFilter) ([]*Flow, error)
	FlowVersions(workspace, path string, most int) ([]*Flow, error)

	// Schedule returns the schedule at a path, Schedules lists them by path.
	Schedule(workspace, path string) (*Schedule, error)
	Schedules(f ScheduleFilter) ([]*Schedule, error)
}

// Tx reads and writes inside one update.
type Tx interface {
	Reader
	PeopleTx
	VariableTx
	FolderTx
	PermissionTx

	// Signal adds to what is told when this update is committed. Changes to
	// jobs add their Rev by themselves.
	Signal(Signal)

	// Foresee says that this update will ask for ReadyLines of these tags, after
	// whatever else it does first. It changes nothing: a driver may look ahead then,
	// together with something else, and leave out what becomes ready meanwhile by
	// another update, which has a signal of its own.
	Foresee(tags []string, most int)

	// LockGroups locks the groups of these keys and returns them in the order
	// of the keys given; it makes those that do not exist. LockGroupIDs locks
	// existing groups; the answer has nil for those that are gone.
	LockGroups(keys []string) ([]*Group, error)
	LockGroupIDs(ids []int64) ([]*Group, error)
	SaveGroup(*Group) error
	// LockExecutions locks the groups of these executions, then the executions,
	// and returns the executions in the order asked, nil for those that are
	// gone, and their groups by id.
	LockExecutions(ids []int64) ([]*sluice.Execution, map[int64]*Group, error)
	AddGroupEvent(*GroupEvent) error // draws Seq

	// EnsureLine locks and returns the line of a group and tag, or with
	// groupID 0 that of a workspace, path and tag; it makes it if there is none,
	// with the newest Turn drawn.
	EnsureLine(groupID int64, workspace, path, tag string) (*Line, error)
	// LockLine locks a line and returns it as it is now.
	LockLine(id int64) (*Line, error)
	SaveLine(*Line) error
	DeleteLine(id int64) error
	// ReadyLines returns lines that are ready, with a tag of tags, and blocked
	// by no tag of tags: highest priority of the head first, then lowest Turn.
	// Its cost does not depend on lines that it does not return. It may leave out
	// lines that another transaction has locked, and so may DueLines; if it leaves
	// out all, it signals their tags soon after.
	ReadyLines(tags []string, most int) ([]*Line, error)
	// DueLines returns lines, ready or not, whose WakeAt is set and at or
	// before now, earliest first. NextWake returns the earliest WakeAt of all
	// lines; zero: none.
	DueLines(now time.Time, most int) ([]*Line, error)
	NextWake() (time.Time, error)
	// NextTurn draws a number above every Turn.
	NextTurn() (int64, error)

	// InsertJobs stores new jobs and draws Seq and Rev of each. ErrExists means
	// that an ID is in use; nothing was stored then.
	InsertJobs([]*sluice.Job) error
	// SaveJob stores the fields of a job that change after its push (limit,
	// state, outcome, instants, attempt counters, worker, cancellation) and
	// draws a new Rev; a completed job is deleted by DeleteAfter as it is then. It
	// does not touch the result.
	SaveJob(*sluice.Job) error
	SaveResult(seq int64, result json.RawMessage) error
	// SaveArgs stores Args, Key, HasKey, Phase and QueueLimit of a job whose
	// arguments have become what they are to be, and draws no Rev: SaveJob follows.
	SaveArgs(*sluice.Job) error
	// SaveLabels replaces the labels of a job, without a new Rev. SaveProgress
	// stores how far a job is, in percent, and draws a new Rev. ErrNotFound:
	// there is no such job.
	SaveLabels(seq int64, labels []string) error
	SaveProgress(seq int64, percent int) error
	// SaveSecret saves a value under a name, once. ErrExists: it has one.
	SaveSecret(name string, value []byte) error
	// Stand puts queued jobs into a line; Leave takes one out, and reports
	// whether it stood there. Heads returns the first jobs of a line in order.
	Stand(lineID int64, jobs []*sluice.Job) error
	Leave(lineID int64, j *sluice.Job) (bool, error)
	Heads(lineID int64, most int) ([]*sluice.Job, error)
	// Postpone puts jobs that are due later beside a line; Unpostpone takes one
	// away. Postponed returns those of a line due at or before an instant,
	// ordered by due time, then rank; FirstPostponed the due time of the first.
	Postpone(lineID int64, jobs []*sluice.Job) error
	Unpostpone(lineID int64, j *sluice.Job) (bool, error)
	Postponed(lineID int64, due time.Time, most int) ([]*sluice.Job, error)
	FirstPostponed(lineID int64) (time.Time, error)
	// Expired returns waiting jobs whose ExpiresAt is at or before now, by ExpiresAt, then arrival;
	// NextExpiry the earliest ExpiresAt of a waiting job; zero: none.
	Expired(now time.Time, most int) ([]*sluice.Job, error)
	NextExpiry() (time.Time, error)
	// WaitingOf returns waiting jobs of a workspace's path, by arrival, after a Seq.
	WaitingOf(workspace, path string, afterSeq int64, most int) ([]*sluice.Job, error)

	// InsertExecution stores a new execution and draws its ID. SaveExecution
	// stores LaunchNo, EndNo, ConfirmedAt, ReleasedAt, End and KillAt.
	InsertExecution(*sluice.Execution) error
	SaveExecution(*sluice.Execution) error

	// InsertFlowRun stores what is kept of a flow's job; ErrExists. LockFlowRun
	// locks it and returns it as it is now. SaveFlowRun stores State, Events,
	// Due, WakeAt and Steps. A row that is Due, or whose WakeAt changes, signals
	// Flows.
	InsertFlowRun(*FlowRun) error
	LockFlowRun(jobSeq int64) (*FlowRun, error)
	SaveFlowRun(*FlowRun) error
	// DueFlowRuns returns the JobSeq of runs that are Due or whose WakeAt is at
	// or before now: those that are Due first, then by WakeAt. NextFlowWake
	// returns the earliest WakeAt; zero: none.
	DueFlowRuns(now time.Time, most int) ([]int64, error)
	NextFlowWake() (time.Time, error)
	// SaveFlowResult saves a result under a name, or replaces it.
	SaveFlowResult(jobSeq int64, name string, result json.RawMessage) error
	// SaveCached puts an entry into its slot. DeleteCached deletes entries that
	// are over at an instant.
	SaveCached(*CacheEntry) error
	DeleteCached(now time.Time, most int) (int, error)

	// LockWorker locks the row of a worker, if there is one. Whoever decides by what
	// a worker holds whether it has it still locks it first. SilentWorkers locks
	// what it returns, and may leave out what another transaction has locked.
	LockWorker(name string) error
	// SaveWorker stores what a worker said of itself; StartedAt stays what it was
	// when the worker was first saved. SilentWorkers returns
	// workers, those known to be gone first, by name, then the others by their last
	// word, then by name, that hold executions and whose last word is at or before an
	// instant, or that are known to be gone.
	SaveWorker(*WorkerRow) error
	SilentWorkers(before time.Time, most int) ([]*WorkerRow, error)
	// MarkGone marks the workers of an instance as dead.
	MarkGone(instance string) error
	DeleteWorkers(before time.Time, most int) (int, error)

	// AppendLog adds text, valid UTF-8, to a job's log. LogEnd returns how many
	// raw bytes of an execution's log were stored (as AppendLog was told in
	// rawEnd) and the stored size of the whole job's log.
	AppendLog(jobSeq, execution, rawEnd int64, text string) error
	LogEnd(jobSeq, execution int64) (rawEnd, stored int64, err error)
	// AppendStream and StreamEnd do the same for a job's result stream, which
	// is that of one execution: the first text of another begins it anew.
	AppendStream(jobSeq, execution, rawEnd int64, text string) error
	StreamEnd(jobSeq, execution int64) (rawEnd, stored int64, err error)

	SaveWorkspace(*Workspace) error // ErrExists
	InsertScript(*Script) error     // ErrExists: the hash is in use
	SaveScript(*Script) error       // Archived, Deleted, Newest
	// SaveLock stores Lock and LockError of a version. ErrNotFound: it is gone.
	SaveLock(workspace, hash string, lock *string, why string) error
	// SaveFlowLock stores the lock of an inline step of a version of a flow, or
	// replaces it. It goes with the version. ErrNotFound: that is gone.
	SaveFlowLock(workspace string, n int64, step, lock string) error
	// EraseScripts empties the code, summary and settings of a version, or of
	// all at a path if hash is "", marks them as archived and deleted, and
	// returns how many were not deleted before.
	EraseScripts(workspace, path, hash string) (int, error)

	InsertFlow(*Flow) error // draws N
	SaveFlow(*Flow) error   // Archived, Deleted, Newest
	// LockSchedule locks a schedule and returns it as it is now. SaveSchedule
	// stores it, whether it exists or not.
	LockSchedule(workspace, path string) (*Schedule, error)
	SaveSchedule(*Schedule) error
	DeleteSchedule(workspace, path string) error // ErrNotFound
	// DueSchedules returns schedules whose NextAt is at or before now, the
	// earliest first; NextSchedule the earliest NextAt; zero: none.
	DueSchedules(now time.Time, most int) ([]*Schedule, error)
	NextSchedule() (time.Time, error)
	// AddTick notes that a run was pushed for an instant. ErrExists: one was.
	// DropTick takes that back; it does nothing if there is none. DeleteTicks
	// deletes those of instants before one.
	AddTick(workspace, path string, due time.Time) error
	DropTick(workspace, path string, due time.Time) error
	DeleteTicks(before time.Time, most int) (int, error)

	// DeleteFlow marks all versions at a path as deleted, and returns how many
	// were not. EraseFlows removes versions that are deleted and of whose path no
	// job of kind flow is open, at most `most` of them.
	DeleteFlow(workspace, path string) (int, error)
	EraseFlows(most int) (int, error)

	// DeleteJobs deletes completed jobs that ended before an instant, or whose
	// own DeleteAfter has passed at now, with their logs and results and what was
	// kept of flows, at most `most` rows in all; steps of a flow whose outermost
	// flow is not completed stay. DeleteExecutions
	// deletes executions released before an instant whose group's longest
	// window has passed since, and notes in the groups what is gone.
	DeleteJobs(now, before time.Time, most int) (int, error)
	DeleteExecutions(now time.Time, atLeast time.Duration, most int) (int, error)
	// DeleteGroups deletes groups that hold nothing: no job, no execution row,
	// no override, no pause, no event newer than before.
	DeleteGroups(before time.Time, most int) (int, error)
}
