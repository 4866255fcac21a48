package sqlite

import (
	"encoding/json"
	"fmt"
	"time"

	"sluice/internal/store"
)

const workerCols = `worker.name, worker.instance, worker.started_us, worker.ping_us, worker.gone, worker.word,
(SELECT count(*) FROM execution WHERE execution.worker = worker.name AND execution.ended = 0)`

var (
	qSaveWorker = sqlText(`INSERT INTO worker (name, instance, started_us, ping_us, gone, word) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET instance = excluded.instance, ping_us = excluded.ping_us,
  gone = excluded.gone, word = excluded.word`)
	qWorkers  = coldText(`SELECT ` + workerCols + ` FROM worker WHERE ping_us >= ? ORDER BY name`)
	qGoneOnes = sqlText(`SELECT ` + workerCols + ` FROM worker WHERE gone = 1
AND EXISTS (SELECT 1 FROM execution WHERE execution.worker = worker.name AND execution.ended = 0) ORDER BY name LIMIT ?`)
	qSilent = sqlText(`SELECT ` + workerCols + ` FROM worker WHERE ping_us <= ? AND gone = 0
AND EXISTS (SELECT 1 FROM execution WHERE execution.worker = worker.name AND execution.ended = 0) ORDER BY ping_us, name LIMIT ?`)
	qMarkGone      = sqlText(`UPDATE worker SET gone = 1 WHERE instance = ?`)
	qDeleteWorkers = sqlText(`DELETE FROM worker WHERE name IN (SELECT name FROM worker WHERE ping_us < ?
AND NOT EXISTS (SELECT 1 FROM execution WHERE execution.worker = worker.name AND execution.ended = 0) ORDER BY ping_us LIMIT ?)`)
)

func (r *reader) workers(s *stmt) ([]*store.WorkerRow, error) {
	var list []*store.WorkerRow
	for s.next() {
		w := new(store.WorkerRow)
		name, instance := s.getStr(), s.getStr()
		w.StartedAt, w.LastPing, w.Gone = s.getAt(), s.getAt(), s.getBool()
		if err := json.Unmarshal(s.raw(), &w.Heartbeat); err != nil {
			_ = s.end()
			return nil, fmt.Errorf("sqlite: row of worker %s: %w", name, err)
		}
		w.Worker, w.Instance, w.Running = name, instance, int(s.getInt())
		list = append(list, w)
	}
	return list, s.end()
}

// Workers implements [store.Reader].
func (r *reader) Workers(since time.Time) ([]*store.WorkerRow, error) {
	return r.workers(r.c.use(qWorkers).at(since))
}

// SaveWorker implements [store.Tx]. What the worker holds is not stored:
// [store.Reader.HeldBy] tells what it was given.
func (t *tx) SaveWorker(w *store.WorkerRow) error {
	word := w.Heartbeat
	word.Holds = nil
	text, err := json.Marshal(word)
	if err != nil {
		return err
	}
	t.wrote = true
	_, err = t.c.use(qSaveWorker).str(w.Worker).str(w.Instance).at(w.StartedAt).at(w.LastPing).bool(w.Gone).str(string(text)).run()
	return err
}

// SilentWorkers implements [store.Tx]. Those that are known to be gone come
// first, then the others, silent for longest first.
func (t *tx) SilentWorkers(before time.Time, most int) ([]*store.WorkerRow, error) {
	list, err := t.workers(t.c.use(qGoneOnes).int(int64(most)))
	if err != nil || len(list) >= most {
		return list, err
	}
	silent, err := t.workers(t.c.use(qSilent).at(before).int(int64(most - len(list))))
	return append(list, silent...), err
}

// LockWorker implements [store.Tx]. The writer is alone.
func (t *tx) LockWorker(string) error { return nil }

// MarkGone implements [store.Tx].
func (t *tx) MarkGone(instance string) error {
	t.wrote = true
	_, err := t.c.use(qMarkGone).str(instance).run()
	return err
}

// DeleteWorkers implements [store.Tx]. A worker that holds an execution stays.
func (t *tx) DeleteWorkers(before time.Time, most int) (int, error) {
	n, err := t.c.use(qDeleteWorkers).at(before).int(int64(most)).run()
	t.wrote = t.wrote || n > 0
	return n, err
}
