package sqlite

import (
	"slices"

	"sluice"
	"sluice/internal/store"
)

// What becomes known of scripts and jobs only when something has run: locks,
// and arguments that a preprocessor makes.

var phaseNames = []sluice.Phase{sluice.PhaseNone, sluice.PhasePreprocess, sluice.PhasePreprocessed}

// phase gives the columns phase and queue_limit.
func (s *stmt) phase(j *sluice.Job) *stmt {
	s.int(int64(max(slices.Index(phaseNames, j.Phase), 0)))
	if j.QueueLimit == nil {
		return s.int(0)
	}
	return s.int(*j.QueueLimit + 1)
}

// getPhase reads them.
func getPhase(s *stmt, j *sluice.Job) {
	if n := s.getInt(); n >= 0 && n < int64(len(phaseNames)) {
		j.Phase = phaseNames[n]
	}
	if n := s.getInt() - 1; n >= 0 {
		j.QueueLimit = &n
	}
}

// getText reads a column that may be NULL.
func (s *stmt) getText() *string {
	if s.isNull() {
		s.skip()
		return nil
	}
	text := s.getStr()
	return &text
}

var (
	qScriptLock   = sqlText(`SELECT lock FROM script WHERE workspace = ? AND hash = ?`)
	qSaveLock     = sqlText(`UPDATE script SET lock = ?, lock_error = ? WHERE workspace = ? AND hash = ?`)
	qFlowLock     = sqlText(`SELECT lock FROM flow_lock WHERE n = ? AND step = ?`)
	qSaveFlowLock = sqlText(`INSERT INTO flow_lock (n, step, lock) SELECT n, ?, ? FROM flow_version WHERE n = ? AND workspace = ?
ON CONFLICT (n, step) DO UPDATE SET lock = excluded.lock`)
	qSaveArgs    = sqlText(`UPDATE job SET key = ?, key_hash = ?, phase = ?, queue_limit = ?, big = ?, content = ?, args = ? WHERE seq = ?`)
	qSavePayload = sqlText(`INSERT INTO payload (seq, content, args) VALUES (?, ?, ?)
ON CONFLICT (seq) DO UPDATE SET content = excluded.content, args = excluded.args`)
)

// ScriptLock implements [store.Reader].
func (r *reader) ScriptLock(workspace, hash string) (lock *string, err error) {
	found, err := r.c.use(qScriptLock).str(workspace).str(hash).one(func(s *stmt) { lock = s.getText() })
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return lock, err
}

// SaveLock implements [store.Tx].
func (t *tx) SaveLock(workspace, hash string, lock *string, why string) error {
	t.wrote = true
	s := t.c.use(qSaveLock)
	if lock == nil {
		s.null()
	} else {
		s.str(*lock)
	}
	n, err := s.str(why).str(workspace).str(hash).run()
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// FlowLock implements [store.Reader].
func (r *reader) FlowLock(n int64, step string) (lock *string, err error) {
	_, err = r.c.use(qFlowLock).int(n).str(step).one(func(s *stmt) { lock = s.getText() })
	return lock, err
}

// SaveFlowLock implements [store.Tx].
func (t *tx) SaveFlowLock(workspace string, n int64, step, lock string) error {
	t.wrote = true
	changed, err := t.c.use(qSaveFlowLock).str(step).str(lock).int(n).str(workspace).run()
	if err == nil && changed == 0 {
		err = store.ErrNotFound
	}
	return err
}

// SaveArgs implements [store.Tx].
func (t *tx) SaveArgs(j *sluice.Job) error {
	t.wrote = true
	delete(t.jobRows, j.Seq)
	s := t.c.use(qSaveArgs)
	if j.HasKey {
		s.blob(j.Key).int(keyHash(j.Key))
	} else {
		s.null().null()
	}
	s.phase(j)
	big := len(j.Content)+len(j.Args) > maxInline
	if big {
		s.int(1).str("").null()
	} else {
		s.int(0).str(j.Content).bytes(j.Args)
	}
	n, err := s.int(j.Seq).run()
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return err
	}
	if big {
		_, err = t.c.use(qSavePayload).int(j.Seq).str(j.Content).bytes(j.Args).run()
	} else {
		_, err = t.c.use(qDropBig).int(j.Seq).run()
	}
	return err
}
