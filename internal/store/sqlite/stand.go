package sqlite

import (
	"time"

	"sluice"
)

var (
	qStand = sqlText(`INSERT INTO stand (line_id, neg, due_us, job_seq) VALUES (?, ?, ?, ?)`)
	qLeave = sqlText(`DELETE FROM stand WHERE line_id = ? AND neg = ? AND due_us = ? AND job_seq = ?`)
	qHeads = sqlText(`SELECT ` + jobCols + ` FROM stand CROSS JOIN job ON job.seq = stand.job_seq WHERE stand.line_id = ?
ORDER BY stand.neg, stand.due_us, stand.job_seq LIMIT ?`)
	qAhead = sqlText(`SELECT count(*) FROM (SELECT 1 FROM stand
WHERE line_id = ? AND (neg, due_us, job_seq) < (?, ?, ?) LIMIT ?)`)

	qPostpone   = sqlText(`INSERT INTO later (line_id, due_us, neg, job_seq) VALUES (?, ?, ?, ?)`)
	qUnpostpone = sqlText(`DELETE FROM later WHERE line_id = ? AND due_us = ? AND neg = ? AND job_seq = ?`)
	qPostponed  = sqlText(`SELECT ` + jobCols + ` FROM later CROSS JOIN job ON job.seq = later.job_seq
WHERE later.line_id = ? AND later.due_us <= ? ORDER BY later.due_us, later.neg, later.job_seq LIMIT ?`)
	qFirstPostponed = sqlText(`SELECT due_us FROM later WHERE line_id = ? ORDER BY due_us LIMIT 1`)
)

// Stand implements [store.Tx].
func (t *tx) Stand(lineID int64, jobs []*sluice.Job) error {
	t.wrote = true
	for _, j := range jobs {
		if _, err := t.c.use(qStand).int(lineID).int(int64(-j.Priority)).at(j.ScheduledFor).int(j.Seq).run(); err != nil {
			return err
		}
	}
	return nil
}

// Leave implements [store.Tx].
func (t *tx) Leave(lineID int64, j *sluice.Job) (bool, error) {
	n, err := t.c.use(qLeave).int(lineID).int(int64(-j.Priority)).at(j.ScheduledFor).int(j.Seq).run()
	t.wrote = t.wrote || n > 0
	return n > 0, err
}

// Heads implements [store.Tx].
func (t *tx) Heads(lineID int64, most int) ([]*sluice.Job, error) {
	return t.keepJobs(t.jobs(t.c.use(qHeads).int(lineID).int(int64(most))))
}

// Ahead implements [store.Reader].
func (r *reader) Ahead(lineID int64, rank sluice.Rank, most int64) (n int64, err error) {
	_, err = r.c.use(qAhead).int(lineID).int(int64(-rank.Priority)).at(rank.Due).int(rank.Seq).int(most).
		one(func(s *stmt) { n = s.getInt() })
	return n, err
}

// Postpone implements [store.Tx].
func (t *tx) Postpone(lineID int64, jobs []*sluice.Job) error {
	t.wrote = true
	for _, j := range jobs {
		if _, err := t.c.use(qPostpone).int(lineID).at(j.ScheduledFor).int(int64(-j.Priority)).int(j.Seq).run(); err != nil {
			return err
		}
	}
	return nil
}

// Unpostpone implements [store.Tx].
func (t *tx) Unpostpone(lineID int64, j *sluice.Job) (bool, error) {
	n, err := t.c.use(qUnpostpone).int(lineID).at(j.ScheduledFor).int(int64(-j.Priority)).int(j.Seq).run()
	t.wrote = t.wrote || n > 0
	return n > 0, err
}

// Postponed implements [store.Tx].
func (t *tx) Postponed(lineID int64, due time.Time, most int) ([]*sluice.Job, error) {
	return t.keepJobs(t.jobs(t.c.use(qPostponed).int(lineID).at(due).int(int64(most))))
}

// FirstPostponed implements [store.Tx].
func (t *tx) FirstPostponed(lineID int64) (at time.Time, err error) {
	_, err = t.c.use(qFirstPostponed).int(lineID).one(func(s *stmt) { at = s.getAt() })
	return at, err
}
