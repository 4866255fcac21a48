package postgres

import (
	"slices"
	"sort"
	"time"

	"sluice"
)

// standing is a job's place in a line, or beside one.
type standing struct {
	line, due, seq int64
	neg            int64 // negated priority
}

func placeOf(lineID int64, j *sluice.Job) standing {
	return standing{line: lineID, due: micros(j.ScheduledFor), seq: j.Seq, neg: int64(-j.Priority)}
}

func (a standing) compare(b standing) int {
	for _, d := range []int{byNumber(a.line, b.line), byNumber(a.neg, b.neg), byNumber(a.due, b.due), byNumber(a.seq, b.seq)} {
		if d != 0 {
			return d
		}
	}
	return 0
}

const standUnnest = `unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS u (line_id, neg, due_us, job_seq)`

var (
	qLeave = checked(`DELETE FROM stand USING ` + standUnnest + ` WHERE stand.line_id = u.line_id AND stand.neg = u.neg
AND stand.due_us = u.due_us AND stand.job_seq = u.job_seq`)
	qStand = `INSERT INTO stand (line_id, neg, due_us, job_seq) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])`
	qLater = `INSERT INTO later (line_id, neg, due_us, job_seq) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])`
)

func standArgs(list []standing) []any {
	slices.SortFunc(list, standing.compare)
	return []any{
		each(list, func(s standing) int64 { return s.line }), each(list, func(s standing) int64 { return s.neg }),
		each(list, func(s standing) int64 { return s.due }), each(list, func(s standing) int64 { return s.seq }),
	}
}

func (t *tx) flushStands(p *pipe) {
	h := &t.hold
	if n := len(h.leave); n > 0 {
		t.dead += int64(n)
		p.add(nil, qLeave, append([]any{int64(n)}, standArgs(h.leave)...)...)
	}
	if len(h.stand) > 0 {
		p.add(nil, qStand, standArgs(h.stand)...)
	}
	if len(h.later) > 0 {
		p.add(nil, qLater, standArgs(h.later)...)
	}
	h.leave, h.stand, h.later = nil, nil, nil
}

// guarded returns the entry of a line that nobody else can change now; nil if
// the line is not locked.
func (t *tx) guarded(lineID int64) *lineEntry {
	if e := t.lines[lineID]; e != nil && !e.gone {
		return e
	}
	return nil
}

// Stand implements [store.Tx].
func (t *tx) Stand(lineID int64, jobs []*sluice.Job) error {
	if len(jobs) == 0 {
		return nil
	}
	t.write()
	e := t.guarded(lineID)
	for _, j := range jobs {
		t.hold.stand = append(t.hold.stand, placeOf(lineID, j))
		if e == nil || t.jobs[j.Seq] == nil {
			continue
		}
		i := sort.Search(len(e.heads), func(i int) bool { return j.Rank().Compare(t.jobs[e.heads[i]].row.Rank()) < 0 })
		if i < len(e.heads) || e.whole {
			e.heads = slices.Insert(e.heads, i, j.Seq)
		}
	}
	if e != nil && slices.ContainsFunc(jobs, func(j *sluice.Job) bool { return t.jobs[j.Seq] == nil }) {
		e.heads, e.whole = nil, false
	}
	return nil
}

// Leave implements [store.Tx]. That a job stands in a line is known if it was
// read there under the line's lock; else the database is asked.
func (t *tx) Leave(lineID int64, j *sluice.Job) (bool, error) {
	s := placeOf(lineID, j)
	e := t.guarded(lineID)
	known := false
	if e != nil {
		if i := slices.Index(e.heads, j.Seq); i >= 0 {
			known = true
			e.heads = slices.Delete(e.heads, i, i+1)
		} else if known = e.l.Head.Seq == j.Seq && e.heads == nil && !e.whole && !e.left; known {
			e.left = true
		}
	}
	if i := slices.Index(t.hold.stand, s); i >= 0 {
		t.hold.stand = slices.Delete(t.hold.stand, i, i+1)
		return true, nil
	}
	if known {
		t.write()
		t.hold.leave = append(t.hold.leave, s)
		return true, nil
	}
	n, err := t.exec(`DELETE FROM stand WHERE line_id = $1::bigint AND neg = $2::bigint AND due_us = $3::bigint AND job_seq = $4::bigint`,
		s.line, s.neg, s.due, s.seq)
	return n > 0, err
}

const (
	qHeads = `SELECT ` + jobCols + ` FROM (SELECT * FROM stand WHERE line_id = $1::bigint ORDER BY neg, due_us, job_seq LIMIT $2::bigint) AS st
JOIN job ON job.seq = st.job_seq JOIN job_state ON job_state.seq = job.seq ORDER BY st.neg, st.due_us, st.job_seq`
	qAhead = `SELECT count(*) FROM (SELECT 1 FROM stand WHERE line_id = $1::bigint AND (neg, due_us, job_seq) < ($2::bigint, $3::bigint, $4::bigint)
LIMIT $5::bigint) AS before`
	qPostponed = `SELECT ` + jobCols + ` FROM (SELECT * FROM later WHERE line_id = $1::bigint AND due_us <= $2::bigint
ORDER BY due_us, neg, job_seq LIMIT $3::bigint) AS l JOIN job ON job.seq = l.job_seq JOIN job_state ON job_state.seq = job.seq
ORDER BY l.due_us, l.neg, l.job_seq`
)

// Heads implements [store.Tx].
func (t *tx) Heads(lineID int64, most int) ([]*sluice.Job, error) {
	e := t.guarded(lineID)
	if e != nil && (e.whole || len(e.heads) >= most) {
		list := make([]*sluice.Job, min(most, len(e.heads)))
		for i := range list {
			list[i] = cloneJob(t.jobs[e.heads[i]].row)
		}
		return list, nil
	}
	var list []*sluice.Job
	ask := max(most, 2)
	p := &pipe{}
	p.add(func(r *row) { list = append(list, scanJob(r)) }, qHeads, lineID, int64(ask))
	if err := t.send(p, jobRows|standRows); err != nil {
		return nil, err
	}
	list = t.keepJobs(list)
	if e != nil {
		e.heads, e.whole = seqsOf(list), len(list) < ask
	}
	return list[:min(most, len(list))], nil
}

func seqsOf(list []*sluice.Job) []int64 {
	return each(list, func(j *sluice.Job) int64 { return j.Seq })
}

// Ahead implements [store.Reader].
func (r *reader) Ahead(lineID int64, rank sluice.Rank, most int64) (n int64, err error) {
	err = r.rows(func(w *row) { n = w.getInt() }, qAhead, lineID, int64(-rank.Priority), micros(rank.Due), rank.Seq, most)
	return n, err
}

// Postpone implements [store.Tx].
func (t *tx) Postpone(lineID int64, jobs []*sluice.Job) error {
	for _, j := range jobs {
		t.write()
		t.hold.later = append(t.hold.later, placeOf(lineID, j))
	}
	return nil
}

// Unpostpone implements [store.Tx].
func (t *tx) Unpostpone(lineID int64, j *sluice.Job) (bool, error) {
	s := placeOf(lineID, j)
	n, err := t.exec(`DELETE FROM later WHERE line_id = $1::bigint AND due_us = $2::bigint AND neg = $3::bigint AND job_seq = $4::bigint`,
		s.line, s.due, s.neg, s.seq)
	return n > 0, err
}

// Postponed implements [store.Tx].
func (t *tx) Postponed(lineID int64, due time.Time, most int) ([]*sluice.Job, error) {
	return t.jobsKept(qPostponed, lineID, micros(due), int64(most))
}

// FirstPostponed implements [store.Tx].
func (t *tx) FirstPostponed(lineID int64) (at time.Time, err error) {
	err = t.rows(func(r *row) { at = r.getAt() }, `SELECT due_us FROM later WHERE line_id = $1::bigint ORDER BY due_us LIMIT 1`, lineID)
	return at, err
}
