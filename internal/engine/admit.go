package engine

import (
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// Bounds of one transaction of the dispatcher.
const (
	maxLinesPerRound = 1000
	maxWake          = 256
	maxPromote       = 1000
	maxReports       = 1000 // of several calls
	maxFruitless     = 1000 // a guard: rounds in a row in which no line that is ready gives a job
)

// takeCall is a worker's request while it waits for an answer.
type takeCall struct {
	req   sluice.TakeRequest
	tags  string // its tags, sorted and joined
	seen  time.Time
	got   []sluice.Assignment
	late  []time.Duration // lateness of each start
	flows int             // that were started; the engine's own calls alone
	done  chan struct{}
	over  bool // the caller has gone: answer at once
	err   error

	reports []sluice.Report // to record first; the call is answered at once, with work or without
	errs    []error         // one for each, once they are recorded
}

func (c *takeCall) free() int { return c.req.Places - len(c.got) - c.flows }

// admit hands jobs to calls, which all serve the same tags, until their places
// are filled or no line that they may take from has room.
func (u *unit) admit(calls []*takeCall) error {
	tags := calls[0].req.Tags
	for fruitless, before := 0, -1; fruitless < maxFruitless; fruitless++ {
		places := 0
		for _, c := range calls {
			places += c.free()
		}
		if places == 0 {
			return nil
		}
		if places != before {
			fruitless, before = 0, places
		}
		most := min(places<<min(fruitless, 8), maxLinesPerRound) // lines that only yield must not use it up
		rows, err := u.tx.ReadyLines(tags, most)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := u.round(rows, calls, places, len(rows) < most); err != nil {
			return err
		}
		if err := u.settle(); err != nil {
			return err
		}
		u.forget()
	}
	return sluice.Errorf(sluice.CodeInternal, "lines said to be ready gave no work in %d rounds", maxFruitless)
}

// forget empties the working set after it was settled, so that a long
// transaction stays small.
func (u *unit) forget() {
	clear(u.groups)
	clear(u.lines)
	u.order = u.order[:0]
}

// round serves the lines given, lowest turn first among equal priority. With
// all set, these are all the lines that are ready, and the rounds go on until
// the places are filled; else each is served once.
func (u *unit) round(rows []*store.Line, calls []*takeCall, places int, all bool) error {
	queue, err := u.openReady(rows)
	if err != nil {
		return err
	}
	tags := calls[0].req.Tags
	lowest := rows[len(rows)-1].Head.Priority
	u.ahead = min(places/len(rows)+1, maxLinesPerRound)
	defer func() { u.ahead = 0 }()
	next := 0
	for queue.Len() > 0 && places > 0 {
		l := heap.Pop(queue).(*line)
		c, err := u.candidate(l, tags)
		if err != nil {
			return err
		}
		if c == nil || c.Turn > l.Turn {
			if err := u.yield(queue, l, c, all, lowest); err != nil {
				return err
			}
			continue
		}
		j, err := u.head(c)
		if err != nil {
			return err
		}
		if !j.ExpiresAt.IsZero() && !j.ExpiresAt.After(u.now) {
			if err := errors.Join(u.expire(c, j), u.requeue(queue, l, true, 0)); err != nil {
				return err
			}
			continue
		}
		if c.group != nil {
			r, err := u.room(c.group.Group, *j.Limit, 0)
			if err != nil {
				return err
			}
			if !r.Now {
				u.touch(c)
				continue
			}
		}
		p, err := u.programOrEnd(c, j)
		if err != nil {
			return err
		}
		if p == nil {
			if err := u.requeue(queue, l, true, 0); err != nil {
				return err
			}
			continue
		}
		for calls[next%len(calls)].free() == 0 {
			next++
		}
		if err := u.start(c, j, *p, calls[next%len(calls)]); err != nil {
			return err
		}
		next++
		places--
		if err := u.served(queue, l, c, all, lowest); err != nil {
			return err
		}
	}
	return nil
}

// served draws the next turn of a line, c, that was served when the turn of l
// had come: of one that was served before its own came, that is over too.
func (u *unit) served(queue *turnQueue, l, c *line, all bool, lowest int) (err error) {
	if c.Turn, err = u.tx.NextTurn(); err != nil {
		return err
	}
	if i := slices.Index(*queue, c); i >= 0 {
		heap.Remove(queue, i)
	}
	for _, again := range slices.Compact([]*line{l, c}) {
		if err := u.requeue(queue, again, all, lowest); err != nil {
			return err
		}
	}
	return nil
}

// yield has a line wait whose first job is behind that of another line of its
// group, c, for these places: its turn comes when that of c does, or a group
// with many lines would be served that often in a round.
func (u *unit) yield(queue *turnQueue, l, c *line, all bool, lowest int) error {
	u.touch(l)
	if c == nil {
		return nil
	}
	l.Turn = c.Turn
	return errors.Join(u.requeue(queue, c, all, lowest), u.requeue(queue, l, all, lowest))
}

// requeue puts a line that was looked at back in the queue of its round, where
// its first job now belongs. Unless all lines are in the round, it comes back
// only for a job of higher priority than the lowest in it: lines that are not
// in the round come before it otherwise.
func (u *unit) requeue(queue *turnQueue, l *line, all bool, lowest int) error {
	j, err := u.head(l)
	switch i := slices.Index(*queue, l); {
	case err != nil:
		return err
	case i >= 0:
		heap.Fix(queue, i)
	case j != nil && (all || j.Priority > lowest):
		heap.Push(queue, l)
	}
	return nil
}

// openReady opens lines that were found ready and queues them by turn.
func (u *unit) openReady(rows []*store.Line) (*turnQueue, error) {
	queue := &turnQueue{}
	ids := make([]int64, 0, len(rows))
	for _, row := range rows {
		if row.GroupID != 0 {
			ids = append(ids, row.GroupID)
			continue
		}
		if err := u.openLoose(row.ID); err != nil {
			return nil, err
		}
	}
	if err := u.openIDs(ids); err != nil {
		return nil, err
	}
	for _, row := range rows {
		if l := u.lines[row.ID]; l != nil {
			*queue = append(*queue, l)
		}
	}
	heap.Init(queue)
	return queue, nil
}

// openLoose locks a line of jobs without a limit, if it is still there.
func (u *unit) openLoose(id int64) error {
	row, err := u.tx.LockLine(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		u.adoptLine(row, nil)
	}
	return err
}

// candidate returns the line whose first job is the only one that a place with
// these tags may take from l's group: that of the best rank. It is nil if
// there is none, or if not all jobs that are due stand in line yet.
func (u *unit) candidate(l *line, tags []string) (*line, error) {
	among := []*line{l}
	if l.group != nil {
		among = l.group.lines
	}
	var best *line
	for _, c := range among {
		if !slices.Contains(tags, c.Tag) {
			continue
		}
		if err := u.promote(c); err != nil {
			return nil, err
		}
		if u.lapsed(c) {
			return nil, nil
		}
		j, err := u.head(c)
		if err != nil {
			return nil, err
		}
		if j != nil && (best == nil || j.Rank().Compare(best.Head) < 0) {
			best = c
		}
	}
	return best, nil
}

// start hands the first job of a line to a worker, or to the engine itself if
// it is a flow.
func (u *unit) start(l *line, j *sluice.Job, p program, c *takeCall) error {
	due := j.ScheduledFor
	x := &sluice.Execution{Worker: c.req.Worker, TakeNo: c.req.TakeNo}
	prompt, err := u.occupy(l, j, x)
	if err != nil {
		return err
	}
	c.late = append(c.late, u.e.lateness(u.now, l.Line, due, c.seen))
	if j.Kind.IsFlow() {
		c.flows++
		return u.startFlow(j)
	}
	a := sluice.Assignment{
		Execution: x.ID, JobID: j.ID, Attempt: x.Attempt, Workspace: j.Workspace, Kind: j.Kind, Path: j.Path,
		Hash: j.Hash, Language: j.Language, Content: p.content, Args: p.args, Tag: j.Tag, CreatedBy: j.CreatedBy,
		Email: j.Email, ParentJob: j.ParentJob, RootJob: j.RootJob, Schedule: j.Schedule, FlowStep: j.Step, FlowPath: p.flowPath,
		Scheduled: j.ScheduledFor, Timeout: j.Timeout,
		Prompt: prompt, Lock: p.lock, Dedicated: p.dedicated, Entry: entry(j),
	}
	if err := u.equip(&a, p.secrets); err != nil {
		return err
	}
	c.got = append(c.got, a)
	return nil
}

// occupy takes a slot for the first job of a line: the one place where that
// happens. A flow, which the engine runs, is launched by that; of a job that is
// handed to a worker it returns whether somebody waits for its launch.
func (u *unit) occupy(l *line, j *sluice.Job, x *sluice.Execution) (prompt bool, err error) {
	if err := u.leave(l, j); err != nil {
		return false, err
	}
	x.JobSeq, x.JobID, x.Attempt, x.Tag, x.StartedAt = j.Seq, j.ID, j.Attempt+1, l.Tag, u.now
	if g := l.group; g != nil {
		x.InGroup, x.GroupID = true, g.ID
		x.Limit, x.Source = g.Override.Apply(*j.Limit)
		g.Taken++
		x.OrderNo = g.Taken
		g.changed, g.touched = true, true
		prompt = g.measuresStarts() || x.Limit.Mode == limit.Start
	}
	if j.Kind.IsFlow() {
		u.launch(x)
		x.ConfirmedAt = u.now
	}
	if err := u.tx.InsertExecution(x); err != nil {
		return false, err
	}
	j.State, j.Attempt, j.StartedAt, j.Worker = sluice.StateRunning, x.Attempt, u.now, x.Worker
	return prompt, u.tx.SaveJob(j)
}

// program is what a job runs.
type program struct {
	content   string
	lock      *string
	dedicated bool
	flowPath  string // of the flow of which it is a step
	ready
}

// programOrEnd returns what a job at the head of a line runs, with what. A job
// of which something is gone is ended; then it returns nil.
func (u *unit) programOrEnd(l *line, j *sluice.Job) (*program, error) {
	p, err := u.program(j)
	if errors.Is(err, store.ErrNotFound) {
		return nil, u.failMissing(l, j)
	} else if err != nil {
		return nil, err
	}
	var why json.RawMessage
	if p.ready, why, err = u.prepare(j, p.content); err != nil {
		return nil, err
	}
	if why != nil {
		return nil, u.failUnready(l, j, why)
	}
	return &p, nil
}

// program returns what a job runs.
func (u *unit) program(j *sluice.Job) (p program, err error) {
	var outer *sluice.Job
	if j.Step != "" {
		if outer, err = u.tx.Job(j.ParentJob); err != nil {
			return p, err
		}
		defer func() { p.flowPath = outer.Path }()
	}
	switch {
	case j.Kind.IsFlow():
		_, err := u.e.flowOf(u.tx, j)
		return p, err
	case j.Kind == sluice.KindFlowScript:
		return u.stepProgram(j, outer)
	case j.Hash == "", j.Kind == sluice.KindDependencies && ofInlineStep(j):
		return program{content: j.Content}, nil
	}
	c, err := u.e.compiledByHash(u.tx, j.Workspace, j.Hash)
	if err != nil {
		return program{}, err
	}
	if j.Kind == sluice.KindDependencies { // the lock is what it is to find
		return program{content: c.body.Content}, nil
	}
	lock, err := u.lockOf(c)
	return program{content: c.body.Content, lock: lock, dedicated: isTrue(c.body.Dedicated)}, err
}

// failMissing ends a job whose script or flow is gone, so that it holds up nobody.
func (u *unit) failMissing(l *line, j *sluice.Job) error {
	if err := u.leave(l, j); err != nil {
		return err
	}
	if j.Kind.IsFlow() {
		return u.end(j, sluice.OutcomeFailure, errorResult("FlowNotFound", flowIsGone(j), nil))
	}
	return u.end(j, sluice.OutcomeFailure, errorResult("ScriptNotFound", fmt.Sprintf(
		"Version %s of the script %s is gone. Push it again and run the job anew.", j.Hash, j.Path), nil))
}

// promote moves the jobs of a line that have fallen due into it, at most
// maxPromote; a job that would rather fail than wait is judged here.
func (u *unit) promote(l *line) error {
	if l.NextDue.IsZero() || l.NextDue.After(u.now) {
		return nil
	}
	jobs, err := u.tx.Postponed(l.ID, u.now, maxPromote)
	if err != nil {
		return err
	}
	l.due = true
	for _, j := range jobs {
		if _, err := u.tx.Unpostpone(l.ID, j); err != nil {
			return err
		}
		l.Scheduled--
		if err := u.arrive(l, j); err != nil {
			return err
		}
	}
	u.touch(l)
	return u.renew(l)
}

// arrive makes a job that is due stand in its line, or end at once: it is left
// out, its result is kept already, or it has no room and asked to fail then. The job counts as waiting in its group already.
func (u *unit) arrive(l *line, j *sluice.Job) error {
	if j.Schedule != "" {
		out, err := u.overlaps(j)
		if err != nil {
			return err
		}
		if out {
			u.turnAway(l)
			return u.leaveOut(j)
		}
	}
	if u.caches(j) {
		if served, err := u.serveFlow(l, j); served || err != nil {
			return err
		}
	}
	if j.OnLimit == sluice.OnLimitFail && l.group != nil {
		room, err := u.roomBehind(l.group, j)
		if err != nil {
			return err
		}
		if !room.Now {
			u.turnAway(l)
			return u.end(j, sluice.OutcomeFailure, limitExceeded(l.group, j, room))
		}
	}
	if j.State != sluice.StateQueued {
		j.State = sluice.StateQueued
		if err := u.tx.SaveJob(j); err != nil {
			return err
		}
	}
	return u.stand(l, []*sluice.Job{j})
}

// turnAway takes back that a job waits in its group, which is not to stand in
// its line.
func (u *unit) turnAway(l *line) {
	if l.group != nil {
		l.group.Waiting--
		l.group.changed = true
	}
	u.touch(l) // it may have been made for this job alone
}

// wake looks at lines whose instant has come, whoever serves their tags. It
// reports whether there may be more of them.
func (u *unit) wake() (bool, error) {
	u.now = u.tx.Now()
	rows, err := u.tx.DueLines(u.now, maxWake)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	ids := make([]int64, 0, len(rows))
	for _, row := range rows {
		ids = append(ids, row.GroupID)
		if row.GroupID == 0 {
			if err := u.openLoose(row.ID); err != nil {
				return false, err
			}
		}
	}
	if err := u.openIDs(ids); err != nil {
		return false, err
	}
	for _, row := range rows {
		l := u.lines[row.ID]
		if l == nil {
			continue
		}
		u.e.expected(row.ID, row.WakeAt)
		if err := u.promote(l); err != nil {
			return false, err
		}
		u.touch(l)
	}
	if err := u.settle(); err != nil {
		return false, err
	}
	u.forget()
	return len(rows) == maxWake, nil
}

// turnQueue is a heap of lines: highest priority of the first job, then lowest turn.
type turnQueue []*line

func (q turnQueue) Len() int { return len(q) }
func (q turnQueue) Less(i, j int) bool {
	if q[i].Head.Priority != q[j].Head.Priority {
		return q[i].Head.Priority > q[j].Head.Priority
	}
	return q[i].Turn < q[j].Turn
}
func (q turnQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *turnQueue) Push(x any)   { *q = append(*q, x.(*line)) }
func (q *turnQueue) Pop() any {
	old := *q
	l := old[len(old)-1]
	*q = old[:len(old)-1]
	return l
}
