package sqlite

import (
	"encoding/json"
	"time"

	"sluice"
	"sluice/internal/store"
)

const flowRunCols = `job_seq, root_seq, depth, state, events, due, wake_us, steps`

var (
	qFlowRun       = sqlText(`SELECT ` + flowRunCols + ` FROM flow_run WHERE job_seq = ?`)
	qInsertFlowRun = sqlText(`INSERT INTO flow_run (state, events, due, wake_us, steps, root_seq, depth, job_seq) VALUES (?,?,?,?,?,?,?,?)`)
	qSaveFlowRun   = sqlText(`UPDATE flow_run SET state = ?, events = ?, due = ?, wake_us = ?, steps = ? WHERE job_seq = ?`)
	qKeepFlowRun   = sqlText(`UPDATE flow_run SET state = ?, events = ?, steps = ? WHERE job_seq = ?`)
	qDueRuns       = sqlText(`SELECT job_seq FROM flow_run WHERE due = 1 LIMIT ?`)
	qWakingRuns    = sqlText(`SELECT job_seq FROM flow_run WHERE wake_us > 0 AND wake_us <= ? AND due = 0 ORDER BY wake_us LIMIT ?`)
	qFlowWake      = sqlText(`SELECT wake_us FROM flow_run WHERE wake_us > 0 ORDER BY wake_us LIMIT 1`)
	qFlowResult    = sqlText(`SELECT result FROM flow_result WHERE job_seq = ? AND name = ?`)
	qSaveStep      = sqlText(`INSERT INTO flow_result (job_seq, name, result) VALUES (?, ?, ?)
ON CONFLICT (job_seq, name) DO UPDATE SET result = excluded.result`)
	qChildren = sqlText(`SELECT ` + jobCols + ` FROM job WHERE parent = ? AND parent IS NOT NULL AND step = ? AND step_n >= ?
ORDER BY step_n, seq LIMIT ?`)
	qCached       = sqlText(`SELECT slot, hash, until_us, result FROM cached WHERE slot = ?`)
	qSaveCached   = sqlText(`INSERT OR REPLACE INTO cached (slot, hash, until_us, result) VALUES (?, ?, ?, ?)`)
	qDeleteCached = coldText(`DELETE FROM cached WHERE slot IN (SELECT slot FROM cached WHERE until_us <= ? LIMIT ?)`)
)

// FlowRun implements [store.Reader].
func (r *reader) FlowRun(jobSeq int64) (*store.FlowRun, error) {
	f := new(store.FlowRun)
	found, err := r.c.use(qFlowRun).int(jobSeq).one(func(s *stmt) {
		f.JobSeq, f.RootSeq, f.Depth = s.getInt(), s.getInt(), int(s.getInt())
		f.State, f.Events, f.Due, f.WakeAt, f.Steps = s.getBytes(), s.getBytes(), s.getBool(), s.getAt(), s.getInt()
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// FlowRun implements [store.Reader].
func (t *tx) FlowRun(jobSeq int64) (*store.FlowRun, error) {
	if row := t.runRows[jobSeq]; row != nil {
		f := *row
		return &f, nil
	}
	f, err := t.reader.FlowRun(jobSeq)
	if err == nil {
		t.keepRun(f)
	}
	return f, err
}

// keepRun keeps a copy of a row as it is stored. State and Events are never
// changed in place.
func (t *tx) keepRun(f *store.FlowRun) {
	row := *f
	row.WakeAt = instant(micros(f.WakeAt))
	t.runRows[f.JobSeq] = &row
}

// LockFlowRun implements [store.Tx]. The writer is alone, so that to read is to
// lock.
func (t *tx) LockFlowRun(jobSeq int64) (*store.FlowRun, error) { return t.FlowRun(jobSeq) }

// InsertFlowRun implements [store.Tx].
func (t *tx) InsertFlowRun(f *store.FlowRun) error {
	t.wrote = true
	s := t.c.use(qInsertFlowRun).bytes(f.State).bytes(f.Events).bool(f.Due).at(f.WakeAt).int(f.Steps)
	if err := exists(s.int(f.RootSeq).int(int64(f.Depth)).int(f.JobSeq).run()); err != nil {
		return err
	}
	t.keepRun(f)
	t.signal.flows = t.signal.flows || f.Due || !f.WakeAt.IsZero()
	return nil
}

// SaveFlowRun implements [store.Tx]. It names only what changes, for the sake
// of the indexes.
func (t *tx) SaveFlowRun(f *store.FlowRun) error {
	old, err := t.FlowRun(f.JobSeq)
	if err != nil {
		return err
	}
	t.wrote = true
	moved := old.Due != f.Due || !old.WakeAt.Equal(instant(micros(f.WakeAt)))
	var s *stmt
	if moved {
		s = t.c.use(qSaveFlowRun).bytes(f.State).bytes(f.Events).bool(f.Due).at(f.WakeAt).int(f.Steps)
	} else {
		s = t.c.use(qKeepFlowRun).bytes(f.State).bytes(f.Events).int(f.Steps)
	}
	if _, err := s.int(f.JobSeq).run(); err != nil {
		return err
	}
	row := *f
	row.RootSeq, row.Depth = old.RootSeq, old.Depth
	t.keepRun(&row)
	t.signal.flows = t.signal.flows || f.Due || moved && !f.WakeAt.IsZero()
	return nil
}

// DueFlowRuns implements [store.Tx].
func (t *tx) DueFlowRuns(now time.Time, most int) ([]int64, error) {
	due, err := ints(t.c.use(qDueRuns).int(int64(most)))
	if err != nil || len(due) >= most {
		return due, err
	}
	waking, err := ints(t.c.use(qWakingRuns).at(now).int(int64(most - len(due))))
	return append(due, waking...), err
}

// NextFlowWake implements [store.Tx].
func (t *tx) NextFlowWake() (at time.Time, err error) {
	_, err = t.c.use(qFlowWake).one(func(s *stmt) { at = s.getAt() })
	return at, err
}

// FlowResult implements [store.Reader].
func (r *reader) FlowResult(jobSeq int64, name string) (result json.RawMessage, err error) {
	found, err := r.c.use(qFlowResult).int(jobSeq).str(name).one(func(s *stmt) { result = s.getBytes() })
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return result, err
}

// SaveFlowResult implements [store.Tx].
func (t *tx) SaveFlowResult(jobSeq int64, name string, result json.RawMessage) error {
	t.wrote = true
	_, err := t.c.use(qSaveStep).int(jobSeq).str(name).bytes(result).run()
	return err
}

// Children implements [store.Reader].
func (r *reader) Children(parent, step string, fromN, most int) ([]*sluice.Job, error) {
	return r.jobs(r.c.use(qChildren).blob(uuidBytes(parent)).str(step).int(int64(fromN)).int(int64(most)))
}

// Cached implements [store.Reader].
func (r *reader) Cached(slot int64) (*store.CacheEntry, error) {
	c := new(store.CacheEntry)
	found, err := r.c.use(qCached).int(slot).one(func(s *stmt) {
		c.Slot, c.Hash, c.Until, c.Result = s.getInt(), s.getBytes(), s.getAt(), s.getBytes()
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// SaveCached implements [store.Tx].
func (t *tx) SaveCached(c *store.CacheEntry) error {
	t.wrote = true
	_, err := t.c.use(qSaveCached).int(c.Slot).bytes(c.Hash).at(c.Until).bytes(c.Result).run()
	return err
}

// DeleteCached implements [store.Tx].
func (t *tx) DeleteCached(now time.Time, most int) (int, error) {
	n, err := t.c.use(qDeleteCached).at(now).int(int64(most)).run()
	t.wrote = t.wrote || n > 0
	return n, err
}
