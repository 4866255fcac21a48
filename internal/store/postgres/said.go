package postgres

import (
	"strings"

	"sluice"
	"sluice/internal/store"
)

// What becomes known of jobs and scripts only when something has run, and what
// the server keeps to itself.

// forgetJob drops what is kept of a job that is written past it.
func (t *tx) forgetJob(seq int64) {
	if e := t.jobs[seq]; e != nil {
		delete(t.jobIDs, e.row.ID)
		delete(t.jobs, seq)
	}
	for id, e := range t.execs {
		if e.row.JobSeq == seq && e.saved && !e.dirty {
			delete(t.execs, id)
		}
	}
	t.forgotten = append(t.forgotten, seq)
}

// SaveLabels implements [store.Tx].
func (t *tx) SaveLabels(seq int64, labels []string) error {
	n, err := t.exec(`UPDATE job SET labels = $1::bytea WHERE seq = $2::bigint`, raw(strings.Join(labels, "\n")), seq)
	if err = found(n, err); err != nil {
		return err
	}
	list := each(labels, raw)
	seqs := make([]int64, len(list))
	for i := range seqs {
		seqs[i] = seq
	}
	p := &pipe{}
	p.add(nil, `DELETE FROM label WHERE job_seq = $1::bigint`, seq)
	p.add(nil, qAddLabels, list, seqs)
	if err := t.query(p); err != nil {
		return err
	}
	if e := t.jobs[seq]; e != nil {
		e.row.Labels = splitLabels(strings.Join(labels, "\n"))
	}
	return nil
}

// SaveProgress implements [store.Tx].
func (t *tx) SaveProgress(seq int64, percent int) error {
	if err := t.begin(); err != nil {
		return err
	}
	rev := (t.xid+t.s.revEpoch)<<revBits | (t.revs + 1)
	n, err := t.exec(`UPDATE job_state SET rev = $1::bigint, progress = $2::bigint WHERE seq = $3::bigint`, rev, int64(percent)+1, seq)
	if err = found(n, err); err != nil {
		return err
	}
	if _, err := t.rev(); err != nil {
		return err
	}
	t.forgetJob(seq)
	return nil
}

// SaveArgs implements [store.Tx].
func (t *tx) SaveArgs(j *sluice.Job) error {
	n, err := t.exec(`UPDATE job SET key = $1::bytea, phase = $2::bigint, queue_limit = $3::bigint, content = $4::bytea, args = $5::bytea WHERE seq = $6::bigint`,
		keyBytes(j), phaseCode(j), queueLimit(j), raw(j.Content), []byte(j.Args), j.Seq)
	if err = found(n, err); err != nil {
		return err
	}
	if e := t.jobs[j.Seq]; e != nil {
		c := normal(cloneJob(j))
		e.row.Key, e.row.HasKey, e.row.Phase, e.row.QueueLimit, e.row.Content, e.row.Args = c.Key, c.HasKey, c.Phase, c.QueueLimit, c.Content, c.Args
	}
	return nil
}

// Secret implements [store.Reader].
func (r *reader) Secret(name string) (value []byte, err error) {
	err = r.single(func(w *row) { value = w.getBytes() }, `SELECT value FROM secret WHERE name = $1::text`, name)
	return value, err
}

// insert runs an INSERT with ON CONFLICT DO NOTHING; [store.ErrExists] says that
// there was a row already.
func (t *tx) insert(sql string, args ...any) error {
	n, err := t.exec(sql, args...)
	if err == nil && n == 0 {
		err = store.ErrExists
	}
	return err
}

// SaveSecret implements [store.Tx].
func (t *tx) SaveSecret(name string, value []byte) error {
	return t.insert(`INSERT INTO secret (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, raw(string(value)))
}

// ScriptLock implements [store.Reader].
func (r *reader) ScriptLock(workspace, hash string) (lock *string, err error) {
	err = r.single(func(w *row) { lock = w.getText() }, `SELECT lock FROM script WHERE workspace = $1::text AND hash = $2::text`, workspace, hash)
	return lock, err
}

// SaveLock implements [store.Tx].
func (t *tx) SaveLock(workspace, hash string, lock *string, why string) error {
	var value []byte
	if lock != nil {
		value = raw(*lock)
	}
	clear(t.scripts)
	return found(t.exec(`UPDATE script SET lock = $1::bytea, lock_error = $2::bytea WHERE workspace = $3::text AND hash = $4::text`,
		value, raw(why), workspace, hash))
}

// FlowLock implements [store.Reader].
func (r *reader) FlowLock(n int64, step string) (lock *string, err error) {
	err = r.rows(func(w *row) { lock = w.getText() }, `SELECT lock FROM flow_lock WHERE n = $1::bigint AND step = $2::text`, n, step)
	return lock, err
}

// SaveFlowLock implements [store.Tx].
func (t *tx) SaveFlowLock(workspace string, n int64, step, lock string) error {
	t.write()
	return found(t.exec(`INSERT INTO flow_lock (n, step, lock) SELECT n, $1::text, $2::bytea FROM flow_version WHERE n = $3::bigint AND workspace = $4::text
ON CONFLICT (n, step) DO UPDATE SET lock = excluded.lock`, step, raw(lock), n, workspace))
}

// found turns a change of no row into [store.ErrNotFound].
func found(n int, err error) error {
	if err == nil && n == 0 {
		return store.ErrNotFound
	}
	return err
}
