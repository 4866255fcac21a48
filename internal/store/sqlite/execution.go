package sqlite

import (
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

var endNames = []string{"", sluice.EndReported, sluice.EndLost, sluice.EndStruck, sluice.EndPrepared}

// getEnd reads the column ended.
func (s *stmt) getEnd() string {
	if n := s.getInt(); n >= 0 && n < int64(len(endNames)) {
		return endNames[n]
	}
	return sluice.EndLost
}

const executionCols = `id, ended, launch_no, end_no, confirmed_us, released_us, kill_us, group_id, order_no, job_seq, job_id, attempt,
worker, take_no, tag, limit_n, limit_window_us, limit_mode, source, started_us`

func (r *reader) executions(s *stmt) ([]*sluice.Execution, error) {
	var list []*sluice.Execution
	for s.next() {
		e := &sluice.Execution{ID: s.getInt(), End: s.getEnd(), LaunchNo: s.getInt(), EndNo: s.getInt()}
		e.ConfirmedAt, e.ReleasedAt, e.KillAt = s.getAt(), s.getAt(), s.getAt()
		e.GroupID, e.OrderNo = s.getInt(), s.getInt()
		e.InGroup = e.GroupID != 0
		e.JobSeq, e.JobID, e.Attempt = s.getInt(), s.getUUID(), int(s.getInt())
		e.Worker, e.TakeNo, e.Tag = s.getStr(), s.getInt(), s.getStr()
		e.Limit = limit.Limit{N: int(s.getInt()), Window: s.getDur(), Mode: limit.Mode(s.getStr())}
		e.Source, e.StartedAt = limit.Source(s.getStr()), s.getAt()
		list = append(list, e)
	}
	return list, s.end()
}

var (
	qExecution = sqlText(`SELECT ` + executionCols + ` FROM execution WHERE id = ?`)
	qAttempts  = sqlText(`SELECT ` + executionCols + ` FROM execution WHERE job_seq = ? ORDER BY attempt, id`)
	qHeldBy    = sqlText(`SELECT ` + executionCols + ` FROM execution WHERE worker = ? AND ended = 0 ORDER BY id`)
	qHeldFlows = sqlText(`SELECT ` + executionCols + ` FROM execution WHERE worker = '' AND ended = 0 AND group_id > 0 ORDER BY id LIMIT ?`)
	qHeldIn    = sqlText(`SELECT ` + executionCols + ` FROM execution WHERE group_id = ? AND group_id > 0 AND ended = 0 ORDER BY order_no LIMIT ?`)
	qRecentIn  = sqlText(`SELECT ` + executionCols + ` FROM execution WHERE group_id = ? AND end_no > 0 ORDER BY end_no DESC LIMIT ?`)
	qRecent    = sqlText(`SELECT ` + executionCols + ` FROM execution WHERE done_us > 0 AND done_us > ? AND released_us > 0 AND ended <> 3
ORDER BY done_us DESC LIMIT ?`)
	qHistoryIn = sqlText(`SELECT ` + executionCols + ` FROM execution WHERE group_id = ? AND group_id > 0 AND order_no > ?
ORDER BY order_no LIMIT ?`)
	qHistory = sqlText(`SELECT ` + executionCols + ` FROM execution WHERE id > ? ORDER BY id LIMIT ?`)
	qRelease = sqlText(`SELECT released_us FROM execution WHERE group_id = ? AND end_no = ? AND end_no > 0`)
	qLaunch  = sqlText(`SELECT iif(confirmed_us > 0, confirmed_us, released_us) FROM execution WHERE group_id = ? AND launch_no = ? AND launch_no > 0`)
)

// Instant implements [store.Reader].
func (r *reader) Instant(groupID int64, series limit.Series, no int64) (at time.Time, err error) {
	q := qRelease
	if series == limit.Launches {
		q = qLaunch
	}
	ok, err := r.c.use(q).int(groupID).int(no).one(func(s *stmt) { at = s.getAt() })
	if err == nil && !ok {
		err = store.ErrNotFound
	}
	return at, err
}

// HeldExecutions implements [store.Reader].
func (r *reader) HeldExecutions(groupID int64, most int) ([]*sluice.Execution, error) {
	return r.executions(r.c.use(qHeldIn).int(groupID).int(int64(most)))
}

// Recent implements [store.Reader].
func (r *reader) Recent(groupID int64, after time.Time, most int) ([]*sluice.Execution, error) {
	if groupID == 0 {
		return r.executions(r.c.use(qRecent).at(after).int(int64(most)))
	}
	list, err := r.executions(r.c.use(qRecentIn).int(groupID).int(int64(most)))
	for i, e := range list { // numbers and instants descend together
		if !e.ReleasedAt.After(after) {
			return list[:i], err
		}
	}
	return list, err
}

// Execution implements [store.Reader].
func (r *reader) Execution(id int64) (*sluice.Execution, error) {
	list, err := r.executions(r.c.use(qExecution).int(id))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return list[0], nil
}

// Attempts implements [store.Reader].
func (r *reader) Attempts(jobSeq int64) ([]*sluice.Execution, error) {
	return r.executions(r.c.use(qAttempts).int(jobSeq))
}

// History implements [store.Reader].
func (r *reader) History(groupID, afterOrder int64, most int) ([]*sluice.Execution, error) {
	if groupID == 0 {
		return r.executions(r.c.use(qHistory).int(afterOrder).int(int64(most)))
	}
	return r.executions(r.c.use(qHistoryIn).int(groupID).int(afterOrder).int(int64(most)))
}

// HeldBy implements [store.Reader].
func (r *reader) HeldBy(worker string) ([]*sluice.Execution, error) {
	return r.executions(r.c.use(qHeldBy).str(worker))
}

// HeldByFlows implements [store.Reader].
func (r *reader) HeldByFlows(most int) ([]*sluice.Execution, error) {
	return r.executions(r.c.use(qHeldFlows).int(int64(most)))
}

// Execution implements [store.Reader].
func (t *tx) Execution(id int64) (*sluice.Execution, error) {
	if row := t.held[id]; row != nil {
		c := *row
		return &c, nil
	}
	e, err := t.reader.Execution(id)
	if err == nil && e.Held() {
		row := *e
		t.held[id] = &row
	}
	return e, err
}

// LockExecutions implements [store.Tx]. The writer is alone, so that to read
// is to lock.
func (t *tx) LockExecutions(ids []int64) ([]*sluice.Execution, map[int64]*store.Group, error) {
	list := make([]*sluice.Execution, len(ids))
	groups := map[int64]*store.Group{}
	for i, id := range ids {
		e, err := t.Execution(id)
		if err == store.ErrNotFound { //nolint:errorlint // Execution returns it unwrapped, and this is a hot path.
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		list[i] = e
		if e.GroupID == 0 || groups[e.GroupID] != nil {
			continue
		}
		if groups[e.GroupID], err = t.GroupByID(e.GroupID); err != nil {
			return nil, nil, fmt.Errorf("group of execution %d: %w", id, err)
		}
	}
	return list, groups, nil
}

var qInsertExecution = sqlText(`INSERT INTO execution (id, ended, launch_no, end_no, confirmed_us, released_us, done_us, kill_us, group_id,
order_no, job_seq, job_id, attempt, worker, take_no, tag, limit_n, limit_window_us, limit_mode, source, started_us)
VALUES (?,?,?,?,?,?,?,?,?, ?,?,?,?,?,?,?,?,?,?,?,?)`)

// InsertExecution implements [store.Tx].
func (t *tx) InsertExecution(e *sluice.Execution) error {
	t.wrote = true
	id := t.numbers.execution + 1
	group := e.GroupID
	if !e.InGroup {
		group = 0
	}
	s := t.c.use(qInsertExecution).int(id).int(int64(slices.Index(endNames, e.End))).int(e.LaunchNo).int(e.EndNo).
		at(e.ConfirmedAt).at(e.ReleasedAt).at(doneAt(e)).at(e.KillAt).int(group).
		int(e.OrderNo).int(e.JobSeq).uuid(e.JobID).int(int64(e.Attempt)).str(e.Worker).int(e.TakeNo).str(e.Tag)
	if _, err := s.limit(&e.Limit).str(string(e.Source)).at(e.StartedAt).run(); err != nil {
		return err
	}
	t.numbers.execution, e.ID = id, id
	if e.Held() {
		row := *e
		row.GroupID, row.InGroup, row.StartedAt = group, group != 0, instant(micros(e.StartedAt))
		t.held[id] = &row
		t.saveHeld(e)
	}
	return nil
}

// saveHeld brings the copy of an execution up to date.
func (t *tx) saveHeld(e *sluice.Execution) {
	row := t.held[e.ID]
	switch {
	case row == nil:
	case !e.Held():
		delete(t.held, e.ID)
	default:
		row.LaunchNo, row.EndNo = e.LaunchNo, e.EndNo
		row.ConfirmedAt, row.ReleasedAt, row.KillAt = instant(micros(e.ConfirmedAt)), instant(micros(e.ReleasedAt)), instant(micros(e.KillAt))
	}
}

// doneAt is the instant from which an execution is history; zero while held.
func doneAt(e *sluice.Execution) time.Time {
	if e.ReleasedAt.IsZero() && e.End == sluice.EndStruck {
		return e.StartedAt
	}
	return e.ReleasedAt
}

var (
	qKill    = sqlText(`UPDATE execution SET confirmed_us = ?, kill_us = ? WHERE id = ?`)
	qConfirm = sqlText(`UPDATE execution SET confirmed_us = ?, kill_us = ?, launch_no = ? WHERE id = ?`)
	qEnd     = sqlText(`UPDATE execution SET confirmed_us = ?, kill_us = ?, ended = ?, end_no = ?, released_us = ?, done_us = ? WHERE id = ?`)
	qEndAll  = sqlText(`UPDATE execution SET confirmed_us = ?, kill_us = ?, launch_no = ?, ended = ?, end_no = ?, released_us = ?, done_us = ? WHERE id = ?`)
)

// SaveExecution implements [store.Tx]. It names only what changes, for the sake
// of the indexes.
func (t *tx) SaveExecution(e *sluice.Execution) error {
	t.wrote = true
	row := t.held[e.ID]
	launched := row == nil || row.LaunchNo != e.LaunchNo
	held := e.Held() && e.EndNo == 0 && row != nil
	var s *stmt
	switch {
	case held && !launched:
		s = t.c.use(qKill)
	case held:
		s = t.c.use(qConfirm)
	case !launched:
		s = t.c.use(qEnd)
	default:
		s = t.c.use(qEndAll)
	}
	s.at(e.ConfirmedAt).at(e.KillAt)
	if launched {
		s.int(e.LaunchNo)
	}
	if !held {
		s.int(int64(slices.Index(endNames, e.End))).int(e.EndNo).at(e.ReleasedAt).at(doneAt(e))
	}
	n, err := s.int(e.ID).run()
	if err != nil {
		return err
	}
	if n == 0 {
		return store.ErrNotFound
	}
	t.saveHeld(e)
	return nil
}
