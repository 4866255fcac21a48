package sqlite

import (
	"strings"

	"sluice/internal/store"
)

// What running jobs say of themselves, and what the server keeps to itself.

var (
	qSaveLabels   = sqlText(`UPDATE job SET labels = ? WHERE seq = ?`)
	qAddLabel     = sqlText(`INSERT OR IGNORE INTO label (label, job_seq) VALUES (?, ?)`)
	qSaveProgress = sqlText(`UPDATE job SET rev = ?, progress = ? WHERE seq = ?`)
	qSecret       = sqlText(`SELECT value FROM secret WHERE name = ?`)
	qSaveSecret   = sqlText(`INSERT INTO secret (name, value) VALUES (?, ?)`)
)

func splitLabels(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// getProgress reads the column progress.
func getProgress(s *stmt) *int {
	n := int(s.getInt())
	if n == 0 {
		return nil
	}
	n--
	return &n
}

func (t *tx) insertLabels(seq int64, labels []string) error {
	for _, l := range labels {
		if _, err := t.c.use(qAddLabel).str(l).int(seq).run(); err != nil {
			return err
		}
	}
	return nil
}

// SaveLabels implements [store.Tx].
func (t *tx) SaveLabels(seq int64, labels []string) error {
	t.wrote = true
	n, err := t.c.use(qSaveLabels).str(strings.Join(labels, "\n")).int(seq).run()
	if err != nil {
		return err
	}
	if n == 0 {
		return store.ErrNotFound
	}
	delete(t.jobRows, seq)
	if _, err := t.c.use(qDropLabels).int(seq).run(); err != nil {
		return err
	}
	return t.insertLabels(seq, labels)
}

// SaveProgress implements [store.Tx].
func (t *tx) SaveProgress(seq int64, percent int) error {
	t.wrote = true
	rev := t.numbers.rev + 1
	n, err := t.c.use(qSaveProgress).int(rev).int(int64(percent) + 1).int(seq).run()
	if err != nil {
		return err
	}
	if n == 0 {
		return store.ErrNotFound
	}
	t.numbers.rev, t.signal.rev = rev, rev
	delete(t.jobRows, seq)
	return nil
}

// Secret implements [store.Reader].
func (r *reader) Secret(name string) (value []byte, err error) {
	found, err := r.c.use(qSecret).str(name).one(func(s *stmt) { value = s.getBytes() })
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return value, err
}

// SaveSecret implements [store.Tx].
func (t *tx) SaveSecret(name string, value []byte) error {
	t.wrote = true
	return exists(t.c.use(qSaveSecret).str(name).bytes(value).run())
}
