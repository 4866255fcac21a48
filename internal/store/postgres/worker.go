package postgres

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/internal/store"
)

const (
	heldByWorker = `(SELECT count(*) FROM execution WHERE execution.worker = worker.name AND execution.ended = 0)`
	holds        = `EXISTS (SELECT 1 FROM execution WHERE execution.worker = worker.name AND execution.ended = 0)`
	qWorkers     = `SELECT worker.name, worker.instance, worker.started_us, worker.ping_us, worker.gone, worker.word, ` + heldByWorker + ` FROM worker WHERE `
)

func (r *reader) workers(where string, args ...any) (list []*store.WorkerRow, err error) {
	var bad error
	err = r.rows(func(w *row) {
		k := new(store.WorkerRow)
		name, instance := w.getStr(), w.getStr()
		k.StartedAt, k.LastPing, k.Gone = w.getAt(), w.getAt(), w.getBool()
		if e := json.Unmarshal([]byte(w.getStr()), &k.Heartbeat); e != nil {
			bad = fmt.Errorf("postgres: row of worker %s: %w", name, e)
		}
		k.Worker, k.Instance, k.Running = name, instance, int(w.getInt())
		list = append(list, k)
	}, qWorkers+where, args...)
	if err == nil {
		err = bad
	}
	return list, err
}

// Workers implements [store.Reader].
func (r *reader) Workers(since time.Time) ([]*store.WorkerRow, error) {
	return r.workers(`ping_us >= $1::bigint ORDER BY name`, micros(since))
}

// SaveWorker implements [store.Tx]. What the worker holds is not stored:
// [store.Reader.HeldBy] tells what it was given.
func (t *tx) SaveWorker(w *store.WorkerRow) error {
	t.write()
	if t.hold.workers == nil {
		t.hold.workers = map[string]*store.WorkerRow{}
	}
	c := *w
	c.Holds = nil
	if old := t.hold.workers[w.Worker]; old != nil {
		c.StartedAt = old.StartedAt
	}
	t.hold.workers[w.Worker] = &c
	return nil
}

const qSaveWorkers = `INSERT INTO worker (name, instance, started_us, ping_us, gone, word)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::boolean[], $6::text[])
ON CONFLICT (name) DO UPDATE SET instance = excluded.instance, ping_us = excluded.ping_us, gone = excluded.gone, word = excluded.word`

func (t *tx) flushWorkers(p *pipe) {
	if len(t.hold.workers) == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(t.hold.workers))
	list := each(names, func(name string) *store.WorkerRow { return t.hold.workers[name] })
	t.hold.workers = nil
	words := make([]string, len(list))
	for i, w := range list {
		text, err := json.Marshal(w.Heartbeat)
		if err != nil {
			text = []byte("{}") // texts and numbers always have a form
		}
		words[i] = string(text)
	}
	p.add(nil, qSaveWorkers, names, each(list, func(w *store.WorkerRow) string { return w.Instance }),
		each(list, func(w *store.WorkerRow) int64 { return micros(w.StartedAt) }),
		each(list, func(w *store.WorkerRow) int64 { return micros(w.LastPing) }), each(list, func(w *store.WorkerRow) bool { return w.Gone }), words)
}

// SilentWorkers implements [store.Tx]. Those that are known to be gone come
// first, then the others, silent for longest first.
func (t *tx) SilentWorkers(before time.Time, most int) ([]*store.WorkerRow, error) {
	return t.workers(`(gone OR ping_us <= $1::bigint) AND `+holds+` ORDER BY gone DESC, CASE WHEN gone THEN 0 ELSE ping_us END, name LIMIT $2::bigint
FOR UPDATE OF worker SKIP LOCKED`, micros(before), int64(most))
}

// LockWorker implements [store.Tx].
func (t *tx) LockWorker(name string) error {
	_, err := t.exec(`SELECT 1 FROM worker WHERE name = $1::text FOR UPDATE`, name)
	return err
}

// MarkGone implements [store.Tx].
func (t *tx) MarkGone(instance string) error {
	_, err := t.exec(`UPDATE worker SET gone = true WHERE instance = $1::text`, instance)
	return err
}

// DeleteWorkers implements [store.Tx]. A worker that holds an execution stays.
func (t *tx) DeleteWorkers(before time.Time, most int) (int, error) {
	return t.exec(`DELETE FROM worker WHERE name IN (SELECT name FROM worker WHERE ping_us < $1::bigint AND NOT `+holds+`
ORDER BY ping_us LIMIT $2::bigint FOR UPDATE SKIP LOCKED)`, micros(before), int64(most))
}
