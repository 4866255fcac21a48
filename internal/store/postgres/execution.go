package postgres

import (
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

var endNames = []string{"", sluice.EndReported, sluice.EndLost, sluice.EndStruck, sluice.EndPrepared}

// execEntry is an execution that this transaction has read or written.
type execEntry struct {
	row    sluice.Execution
	stored execKey // what the database holds, as far as it changes
	made   bool    // not inserted yet
	dirty  bool
	saved  bool // written by this transaction
	epoch  int64
}

// execKey is what tells whether an execution has changed.
type execKey struct{ ended, launchNo, confirmed, kill int64 }

func keyOf(x *sluice.Execution) execKey {
	return execKey{int64(slices.Index(endNames, x.End)), x.LaunchNo, micros(x.ConfirmedAt), micros(x.KillAt)}
}

const executionCols = `id, ended, launch_no, end_no, confirmed_us, released_us, kill_us, group_id, order_no, job_seq, job_id, attempt,
worker, take_no, tag, limit_n, limit_window_us, limit_mode, source, started_us`

func scanExecution(r *row) *sluice.Execution {
	x := &sluice.Execution{ID: r.getInt(), End: sluice.EndLost}
	if n := r.getInt(); n >= 0 && n < int64(len(endNames)) {
		x.End = endNames[n]
	}
	x.LaunchNo, x.EndNo = r.getInt(), r.getInt()
	x.ConfirmedAt, x.ReleasedAt, x.KillAt = r.getAt(), r.getAt(), r.getAt()
	x.GroupID, x.OrderNo = r.getInt(), r.getInt()
	x.InGroup = x.GroupID != 0
	x.JobSeq, x.JobID, x.Attempt = r.getInt(), r.getUUID(), int(r.getInt())
	x.Worker, x.TakeNo, x.Tag = r.getStr(), r.getInt(), r.getStr()
	x.Limit = limit.Limit{N: int(r.getInt()), Window: r.getDur(), Mode: limit.Mode(r.getStr())}
	x.Source, x.StartedAt = limit.Source(r.getStr()), r.getAt()
	return x
}

const fromExecutions = `SELECT ` + executionCols + ` FROM execution WHERE `

func (r *reader) executions(where string, args ...any) (list []*sluice.Execution, err error) {
	err = r.rows(func(w *row) { list = append(list, scanExecution(w)) }, fromExecutions+where, args...)
	return list, err
}

// instantKey names a launch or a release of a group.
type instantKey struct {
	group  int64
	series limit.Series
	no     int64
}

const (
	qRelease = `SELECT released_us FROM execution WHERE group_id = $1::bigint AND end_no = $2::bigint AND end_no > 0`
	qLaunch  = `SELECT CASE WHEN confirmed_us > 0 THEN confirmed_us ELSE released_us END FROM execution
WHERE group_id = $1::bigint AND launch_no = $2::bigint AND launch_no > 0`
)

// Instant implements [store.Reader].
func (r *reader) Instant(groupID int64, series limit.Series, no int64) (at time.Time, err error) {
	sql := qRelease
	if series == limit.Launches {
		sql = qLaunch
	}
	err = r.single(func(w *row) { at = w.getAt() }, sql, groupID, no)
	return at, err
}

// Instant implements [store.Reader]. An instant never changes once it is
// recorded, so the server remembers those that it wrote or read.
func (t *tx) Instant(groupID int64, series limit.Series, no int64) (time.Time, error) {
	k := instantKey{groupID, series, no}
	if at, known := t.instants[k]; known {
		return at, nil
	}
	if at, known := t.s.memory.instant(k); known {
		return at, nil
	}
	at, err := t.reader.Instant(groupID, series, no)
	if err == nil && !at.IsZero() {
		t.instants[k] = at
	}
	return at, err
}

// HeldExecutions implements [store.Reader].
func (r *reader) HeldExecutions(groupID int64, most int) ([]*sluice.Execution, error) {
	return r.executions(`group_id = $1::bigint AND group_id > 0 AND ended = 0 ORDER BY order_no LIMIT $2::bigint`, groupID, int64(most))
}

// Recent implements [store.Reader].
func (r *reader) Recent(groupID int64, after time.Time, most int) ([]*sluice.Execution, error) {
	if groupID == 0 {
		return r.executions(`done_us > 0 AND done_us > $1::bigint AND released_us > 0 AND ended <> 3 ORDER BY done_us DESC LIMIT $2::bigint`,
			micros(after), int64(most))
	}
	list, err := r.executions(`group_id = $1::bigint AND end_no > 0 ORDER BY end_no DESC LIMIT $2::bigint`, groupID, int64(most))
	for i, x := range list { // numbers and instants descend together
		if !x.ReleasedAt.After(after) {
			return list[:i], err
		}
	}
	return list, err
}

// Execution implements [store.Reader].
func (r *reader) Execution(id int64) (x *sluice.Execution, err error) {
	err = r.single(func(w *row) { x = scanExecution(w) }, fromExecutions+`id = $1::bigint`, id)
	return x, err
}

// Attempts implements [store.Reader].
func (r *reader) Attempts(jobSeq int64) ([]*sluice.Execution, error) {
	return r.executions(`job_seq = $1::bigint ORDER BY attempt, id`, jobSeq)
}

// History implements [store.Reader].
func (r *reader) History(groupID, afterOrder int64, most int) ([]*sluice.Execution, error) {
	if groupID == 0 {
		return r.executions(`id > $1::bigint ORDER BY id LIMIT $2::bigint`, afterOrder, int64(most))
	}
	return r.executions(`group_id = $1::bigint AND group_id > 0 AND order_no > $2::bigint ORDER BY order_no LIMIT $3::bigint`,
		groupID, afterOrder, int64(most))
}

// HeldBy implements [store.Reader].
func (r *reader) HeldBy(worker string) ([]*sluice.Execution, error) {
	return r.executions(`worker = $1::text AND ended = 0 ORDER BY id`, worker)
}

// HeldByFlows implements [store.Reader].
func (r *reader) HeldByFlows(most int) ([]*sluice.Execution, error) {
	return r.executions(`worker = '' AND ended = 0 AND group_id > 0 ORDER BY id LIMIT $1::bigint`, int64(most))
}

// knownExec returns the entry of an execution if what it says is still true.
func (t *tx) knownExec(id int64) *execEntry {
	if e := t.execs[id]; e != nil && (e.made || e.dirty || e.saved || e.epoch == t.epoch) {
		return e
	}
	return nil
}

func (t *tx) keepExec(x *sluice.Execution) *execEntry {
	if e := t.knownExec(x.ID); e != nil {
		return e
	}
	e := t.execs[x.ID]
	if e == nil {
		e = &execEntry{}
		t.execs[x.ID] = e
	}
	e.row, e.stored, e.epoch = *x, keyOf(x), t.epoch
	return e
}

// Execution implements [store.Reader].
func (t *tx) Execution(id int64) (*sluice.Execution, error) {
	e := t.knownExec(id)
	if e == nil {
		x, err := t.reader.Execution(id)
		if err != nil {
			return nil, err
		}
		e = t.keepExec(x)
	}
	x := e.row
	return &x, nil
}

func (t *tx) keepExecs(list []*sluice.Execution, err error) ([]*sluice.Execution, error) {
	for _, x := range list {
		t.keepExec(x)
	}
	return list, err
}

// Attempts implements [store.Reader].
func (t *tx) Attempts(jobSeq int64) ([]*sluice.Execution, error) {
	return t.keepExecs(t.reader.Attempts(jobSeq))
}

// HeldBy implements [store.Reader].
func (t *tx) HeldBy(worker string) ([]*sluice.Execution, error) {
	return t.keepExecs(t.reader.HeldBy(worker))
}

// HeldByFlows implements [store.Reader].
func (t *tx) HeldByFlows(most int) ([]*sluice.Execution, error) {
	return t.keepExecs(t.reader.HeldByFlows(most))
}

const (
	groupsOfExecs = `(SELECT group_id FROM execution WHERE id = ANY($1::bigint[]) AND group_id > 0)`
	qTryGroupsOf  = `SELECT ` + groupCols + ` FROM grp WHERE id IN ` + groupsOfExecs + ` ORDER BY key FOR UPDATE SKIP LOCKED`
	qLinesOfExecs = `SELECT ` + lineCols + ` FROM line WHERE group_id IN ` + groupsOfExecs
	qExecs        = fromExecutions + `id = ANY($1::bigint[])`
	qJobsOfExecs  = `SELECT ` + jobCols + fromJobs + `WHERE job.seq IN (SELECT job_seq FROM execution WHERE id = ANY($1::bigint[]))`
)

// fewExecs is of how many executions' groups the first jobs are read together
// with the locks.
const fewExecs = 8

// LockExecutions implements [store.Tx]. It locks the groups; the executions are
// written on condition. What this server remembers of executions that it handed
// out itself, and of their jobs, needs not be read.
func (t *tx) LockExecutions(ids []int64) ([]*sluice.Execution, map[int64]*store.Group, error) {
	var groups, ask []int64
	for _, id := range ids {
		e := t.knownExec(id)
		if e == nil && !t.fresh {
			e = t.recall(id)
		}
		if e == nil || t.known(t.jobs[e.row.JobSeq]) == nil { // all jobs at once, not each when it is asked for
			ask = append(ask, id)
		} else if e.row.GroupID != 0 {
			groups = append(groups, e.row.GroupID)
		}
	}
	o := lockOptions{flows: t.flowsOf(ids)}
	if t.ahead != nil && len(ids) <= fewExecs { // then the next jobs of the groups are wanted soon
		o.heads = len(ids) + 1
		o.names = t.ended(ids)
	}
	if err := t.lockRows(groups, nil, o); err != nil {
		return nil, nil, err
	}
	for len(ask) > 0 { // behind the other locks: what is read before a lock has to be read again
		if err := t.readExecs(ask); err != nil {
			return nil, nil, err
		}
		held := len(t.groups)
		groups = groups[:0]
		for _, id := range ask {
			if e := t.execs[id]; e != nil && e.row.GroupID != 0 {
				groups = append(groups, e.row.GroupID)
			}
		}
		if err := t.lockRows(groups, nil, lockOptions{}); err != nil {
			return nil, nil, err
		}
		if len(t.groups) == held { // no lock more than when they were read
			break
		}
	}
	list := make([]*sluice.Execution, len(ids))
	of := map[int64]*store.Group{}
	for i, id := range ids {
		e := t.execs[id]
		if e == nil {
			continue
		}
		x := e.row
		list[i] = &x
		if g := t.groups[x.GroupID]; g != nil && of[x.GroupID] == nil {
			of[x.GroupID] = cloneGroup(&g.g)
		}
	}
	return list, of, nil
}

// readExecs locks the groups of executions as far as nobody else has, then reads
// the executions and their jobs.
func (t *tx) readExecs(ids []int64) error {
	var groups []int64
	var lines []*store.Line
	var execs []*sluice.Execution
	var jobs []*sluice.Job
	p := &pipe{}
	p.add(func(r *row) {
		if g := scanGroup(r); t.groups[g.ID] == nil {
			groups = append(groups, t.keepGroup(g).g.ID)
		}
	}, qTryGroupsOf, ids)
	p.add(func(r *row) { execs = append(execs, scanExecution(r)) }, qExecs, ids)
	p.add(func(r *row) { lines = append(lines, scanLine(r)) }, qLinesOfExecs, ids)
	p.add(func(r *row) { jobs = append(jobs, scanJob(r)) }, qJobsOfExecs, ids)
	t.draw(p)
	if err := t.send(p, jobRows|execRows); err != nil {
		return err
	}
	t.keepLinesOf(groups, lines)
	for _, x := range execs {
		t.keepExec(x)
	}
	for _, j := range jobs {
		t.keepJob(j)
	}
	return nil
}

// recall takes over an execution that this server handed out, and its job, as
// they were when it last wrote them.
func (t *tx) recall(id int64) *execEntry {
	x, j := t.s.memory.execution(id)
	if x == nil || t.execs[id] != nil || t.jobs[x.JobSeq] != nil {
		return nil
	}
	t.recalled = true
	e := t.keepExec(x)
	e.saved = true // until the condition says otherwise
	t.keepJob(cloneJob(j)).safe = true
	return e
}

// InsertExecution implements [store.Tx].
func (t *tx) InsertExecution(x *sluice.Execution) error {
	id, err := t.number()
	if err != nil {
		return err
	}
	t.write()
	x.ID = id
	e := &execEntry{row: *x, made: true, dirty: true}
	if !x.InGroup {
		e.row.GroupID = 0
	}
	e.row.InGroup = e.row.GroupID != 0
	t.execs[id] = e
	e.normal()
	t.hold.execs = append(t.hold.execs, e)
	t.noteInstants(&e.row)
	return nil
}

// normal makes the instants of an execution what they will be when they are
// read again.
func (e *execEntry) normal() {
	x := &e.row
	for _, at := range []*time.Time{&x.StartedAt, &x.ConfirmedAt, &x.ReleasedAt, &x.KillAt} {
		*at = instant(micros(*at))
	}
}

// noteInstants keeps the instants that an execution gives to its group.
func (t *tx) noteInstants(x *sluice.Execution) {
	if x.GroupID == 0 {
		return
	}
	if x.EndNo > 0 && !x.ReleasedAt.IsZero() {
		t.instants[instantKey{x.GroupID, limit.Releases, x.EndNo}] = x.ReleasedAt
	}
	if x.LaunchNo > 0 {
		at := x.ConfirmedAt
		if at.IsZero() {
			at = x.ReleasedAt
		}
		if !at.IsZero() {
			t.instants[instantKey{x.GroupID, limit.Launches, x.LaunchNo}] = at
		}
	}
}

// SaveExecution implements [store.Tx].
func (t *tx) SaveExecution(x *sluice.Execution) error {
	e := t.execs[x.ID]
	if e == nil {
		if _, err := t.Execution(x.ID); err != nil {
			return err
		}
		e = t.execs[x.ID]
	}
	t.write()
	row := &e.row
	row.LaunchNo, row.EndNo, row.ConfirmedAt, row.ReleasedAt, row.End, row.KillAt = x.LaunchNo, x.EndNo, x.ConfirmedAt, x.ReleasedAt, x.End, x.KillAt
	e.normal()
	if !e.dirty {
		e.dirty = true
		t.hold.execs = append(t.hold.execs, e)
	}
	t.noteInstants(row)
	return nil
}

// doneAt is the instant from which an execution is history; 0 while held.
func doneAt(x *sluice.Execution) int64 {
	if x.ReleasedAt.IsZero() && x.End == sluice.EndStruck {
		return micros(x.StartedAt)
	}
	return micros(x.ReleasedAt)
}

const (
	qInsertExecs = `INSERT INTO execution (id, ended, launch_no, end_no, confirmed_us, released_us, done_us, kill_us, group_id, order_no, job_seq,
job_id, attempt, worker, take_no, tag, limit_n, limit_window_us, limit_mode, source, started_us)
SELECT id, ended, launch_no, end_no, confirmed_us, released_us, done_us, kill_us, group_id, order_no, job_seq, nullif(job_id, '')::uuid, attempt,
worker, take_no, tag, limit_n, limit_window_us, limit_mode, source, started_us
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
$10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::text[], $15::bigint[], $16::text[], $17::bigint[], $18::bigint[], $19::text[],
$20::text[], $21::bigint[]) AS u (id, ended, launch_no, end_no, confirmed_us, released_us, done_us, kill_us, group_id, order_no, job_seq,
job_id, attempt, worker, take_no, tag, limit_n, limit_window_us, limit_mode, source, started_us)`
)

var qSaveExecs = checked(`UPDATE execution SET ended = u.ended, launch_no = u.launch_no, end_no = u.end_no, confirmed_us = u.confirmed_us,
released_us = u.released_us, done_us = u.done_us, kill_us = u.kill_us
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
$11::bigint[], $12::bigint[], $13::bigint[])
AS u (id, ended, launch_no, end_no, confirmed_us, released_us, done_us, kill_us, was_ended, was_launch_no, was_confirmed, was_kill)
WHERE execution.id = u.id AND execution.ended = was_ended AND execution.launch_no = was_launch_no
AND execution.confirmed_us = was_confirmed AND execution.kill_us = was_kill`)

// flushExecs writes executions: new ones, and those that changed, on the
// condition that nobody else has changed them since they were read.
func (t *tx) flushExecs(p *pipe) {
	var made, saved []*execEntry
	for _, e := range t.hold.execs {
		if e.made {
			made = append(made, e)
		} else {
			saved = append(saved, e)
		}
	}
	t.hold.execs = nil
	byID := func(a, b *execEntry) int { return byNumber(a.row.ID, b.row.ID) }
	slices.SortFunc(made, byID)
	slices.SortFunc(saved, byID)
	if len(saved) > 0 {
		args := append([]any{int64(len(saved))}, execArgs(saved)...)
		for _, of := range []func(execKey) int64{
			func(k execKey) int64 { return k.ended }, func(k execKey) int64 { return k.launchNo },
			func(k execKey) int64 { return k.confirmed }, func(k execKey) int64 { return k.kill },
		} {
			args = append(args, each(saved, func(e *execEntry) int64 { return of(e.stored) }))
		}
		p.add(nil, qSaveExecs, args...)
	}
	if len(made) > 0 {
		n := func(of func(*sluice.Execution) int64) []int64 {
			return each(made, func(e *execEntry) int64 { return of(&e.row) })
		}
		s := func(of func(*sluice.Execution) string) []string {
			return each(made, func(e *execEntry) string { return of(&e.row) })
		}
		type x = sluice.Execution
		p.add(nil, qInsertExecs, append(execArgs(made), n(func(x *x) int64 { return x.GroupID }), n(func(x *x) int64 { return x.OrderNo }),
			n(func(x *x) int64 { return x.JobSeq }), s(func(x *x) string { return uuidOf(x.JobID) }), n(func(x *x) int64 { return int64(x.Attempt) }),
			s(func(x *x) string { return x.Worker }), n(func(x *x) int64 { return x.TakeNo }), s(func(x *x) string { return x.Tag }),
			n(func(x *x) int64 { return int64(x.Limit.N) }), n(func(x *x) int64 { return dur(x.Limit.Window) }),
			s(func(x *x) string { return string(x.Limit.Mode) }), s(func(x *x) string { return string(x.Source) }),
			n(func(x *x) int64 { return micros(x.StartedAt) }))...)
	}
	for _, list := range [][]*execEntry{made, saved} {
		for _, e := range list {
			e.stored, e.made, e.dirty, e.saved = keyOf(&e.row), false, false, true
		}
	}
}

// execArgs are the columns of executions that change, behind their id.
func execArgs(list []*execEntry) []any {
	n := func(of func(*sluice.Execution) int64) []int64 {
		return each(list, func(e *execEntry) int64 { return of(&e.row) })
	}
	return []any{
		n(func(x *sluice.Execution) int64 { return x.ID }), n(func(x *sluice.Execution) int64 { return int64(slices.Index(endNames, x.End)) }),
		n(func(x *sluice.Execution) int64 { return x.LaunchNo }), n(func(x *sluice.Execution) int64 { return x.EndNo }),
		n(func(x *sluice.Execution) int64 { return micros(x.ConfirmedAt) }), n(func(x *sluice.Execution) int64 { return micros(x.ReleasedAt) }),
		n(doneAt), n(func(x *sluice.Execution) int64 { return micros(x.KillAt) }),
	}
}
