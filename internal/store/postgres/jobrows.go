package postgres

import (
	"slices"
	"strings"

	"sluice"
)

const qInsertJobs = `INSERT INTO job (seq, id, workspace, kind, path, hash, language, tag, priority, created_us, scheduled_us, expires_us,
created_by, email, parent, root, key, on_limit, timeout_us, max_lost, delete_after_us, content, args, labels, phase, queue_limit, step, step_n, scope,
schedule)
SELECT seq, id::uuid, workspace, kind, path, hash, language, tag, priority, created_us, scheduled_us, expires_us, created_by, email,
nullif(parent, '')::uuid, nullif(root, '')::uuid, key, on_limit, timeout_us, max_lost, delete_after_us, content, args, labels, phase,
queue_limit, step, step_n, scope, schedule
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[],
$11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::text[], $17::bytea[], $18::text[], $19::bigint[], $20::bigint[],
$21::bigint[], $22::bytea[], $23::bytea[], $24::bytea[], $25::bigint[], $26::bigint[], $27::text[], $28::bigint[], $29::text[], $30::text[])
AS u (seq, id, workspace, kind, path, hash, language, tag, priority, created_us, scheduled_us, expires_us, created_by, email, parent, root,
key, on_limit, timeout_us, max_lost, delete_after_us, content, args, labels, phase, queue_limit, step, step_n, scope,
schedule)`

const stateUnnest = `unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
$10::text[], $11::bytea[], $12::bytea[], $13::bigint[], $14::bigint[], $15::text[], $16::bigint[], $17::bigint[], $18::bigint[])
AS u (seq, rev, state, outcome, attempt, lost, started_us, completed_us, worker, canceled_by, canceled_reason, limit_n, limit_window_us,
limit_mode, expiry_us, delete_us, was)`

var (
	qInsertStates = `INSERT INTO job_state (seq, rev, state, outcome, attempt, lost, started_us, completed_us, worker, canceled_by,
canceled_reason, limit_n, limit_window_us, limit_mode, expiry_us, delete_us)
SELECT seq, rev, state, outcome, attempt, lost, started_us, completed_us, worker, canceled_by, canceled_reason, limit_n, limit_window_us,
limit_mode, expiry_us, delete_us FROM ` + stateUnnest + ` WHERE $1::bigint > 0`
	qSaveStates = checked(`UPDATE job_state SET rev = u.rev, state = u.state, outcome = u.outcome, attempt = u.attempt, lost = u.lost,
started_us = u.started_us, completed_us = u.completed_us, worker = u.worker, canceled_by = u.canceled_by,
canceled_reason = u.canceled_reason, limit_n = u.limit_n, limit_window_us = u.limit_window_us, limit_mode = u.limit_mode,
expiry_us = u.expiry_us, delete_us = u.delete_us FROM ` + stateUnnest + ` WHERE job_state.seq = u.seq AND job_state.rev = u.was`)
	qAddLabels = `INSERT INTO label (label, job_seq) SELECT * FROM unnest($1::bytea[], $2::bigint[]) ON CONFLICT DO NOTHING`
)

// flushJobs writes jobs: new ones, and the state of those that changed, on the
// condition that nobody else has changed them since they were read.
func (t *tx) flushJobs(p *pipe) {
	if len(t.hold.jobs) == 0 {
		return
	}
	var made, saved []*jobEntry
	for _, e := range t.hold.jobs {
		if e.stored == 0 {
			made = append(made, e)
		} else {
			saved = append(saved, e)
		}
	}
	t.hold.jobs = nil
	bySeq := func(a, b *jobEntry) int { return byNumber(a.row.Seq, b.row.Seq) }
	if len(made) > 0 {
		slices.SortFunc(made, bySeq)
		p.add(nil, qInsertJobs, jobArgs(made)...)
		p.add(nil, qInsertStates, stateArgs(made)...)
		flushLabels(p, made)
	}
	if len(saved) > 0 {
		slices.SortFunc(saved, bySeq)
		p.add(nil, qSaveStates, stateArgs(saved)...)
	}
	for _, list := range [][]*jobEntry{made, saved} {
		for _, e := range list {
			e.stored, e.dirty, e.saved = e.row.Rev, false, true
		}
	}
}

func flushLabels(p *pipe, made []*jobEntry) {
	var labels [][]byte
	var seqs []int64
	for _, e := range made {
		for _, l := range e.row.Labels {
			labels, seqs = append(labels, raw(l)), append(seqs, e.row.Seq)
		}
	}
	if len(seqs) > 0 {
		p.add(nil, qAddLabels, labels, seqs)
	}
}

func jobArgs(list []*jobEntry) []any {
	n := func(of func(*sluice.Job) int64) []int64 {
		return each(list, func(e *jobEntry) int64 { return of(e.row) })
	}
	s := func(of func(*sluice.Job) string) []string {
		return each(list, func(e *jobEntry) string { return of(e.row) })
	}
	b := func(of func(*sluice.Job) []byte) [][]byte {
		return each(list, func(e *jobEntry) []byte { return of(e.row) })
	}
	return []any{
		n(func(j *sluice.Job) int64 { return j.Seq }), s(func(j *sluice.Job) string { return j.ID }),
		s(func(j *sluice.Job) string { return j.Workspace }), s(func(j *sluice.Job) string { return string(j.Kind) }),
		s(func(j *sluice.Job) string { return j.Path }), s(func(j *sluice.Job) string { return j.Hash }),
		s(func(j *sluice.Job) string { return j.Language }), s(func(j *sluice.Job) string { return j.Tag }),
		n(func(j *sluice.Job) int64 { return int64(j.Priority) }), n(func(j *sluice.Job) int64 { return micros(j.CreatedAt) }),
		n(func(j *sluice.Job) int64 { return micros(j.ScheduledFor) }), n(func(j *sluice.Job) int64 { return micros(j.ExpiresAt) }),
		s(func(j *sluice.Job) string { return j.CreatedBy }), s(func(j *sluice.Job) string { return j.Email }),
		s(func(j *sluice.Job) string { return uuidOf(j.ParentJob) }), s(func(j *sluice.Job) string { return uuidOf(j.RootJob) }),
		b(keyBytes), s(func(j *sluice.Job) string { return string(j.OnLimit) }),
		n(func(j *sluice.Job) int64 { return dur(j.Timeout) }), n(func(j *sluice.Job) int64 { return int64(j.MaxLostAttempts) }),
		n(keepFor), b(func(j *sluice.Job) []byte { return raw(j.Content) }), b(func(j *sluice.Job) []byte { return j.Args }),
		b(func(j *sluice.Job) []byte { return raw(strings.Join(j.Labels, "\n")) }), n(phaseCode), n(queueLimit),
		s(func(j *sluice.Job) string { return j.Step }), n(func(j *sluice.Job) int64 { return int64(j.StepN) }),
		s(func(j *sluice.Job) string { return j.FlowScope }), s(func(j *sluice.Job) string { return j.Schedule }),
	}
}

// keyBytes is a job's key; nil, which is NULL, if it has none.
func keyBytes(j *sluice.Job) []byte {
	if !j.HasKey {
		return nil
	}
	return raw(j.Key)
}

// keepFor is DeleteAfter in microseconds; what is below zero must not become
// zero, which means at once.
func keepFor(j *sluice.Job) int64 {
	if j.DeleteAfter < 0 {
		return -1
	}
	return dur(j.DeleteAfter)
}

func phaseCode(j *sluice.Job) int64 { return int64(max(slices.Index(phaseNames, j.Phase), 0)) }

func queueLimit(j *sluice.Job) int64 {
	if j.QueueLimit == nil {
		return 0
	}
	return *j.QueueLimit + 1
}

func stateArgs(list []*jobEntry) []any {
	n := func(of func(*sluice.Job) int64) []int64 {
		return each(list, func(e *jobEntry) int64 { return of(e.row) })
	}
	return []any{
		int64(len(list)),
		n(func(j *sluice.Job) int64 { return j.Seq }), n(func(j *sluice.Job) int64 { return j.Rev }),
		n(func(j *sluice.Job) int64 { return int64(stateCode(j.State)) }), n(func(j *sluice.Job) int64 { return int64(outcomeCode(j.Outcome)) }),
		n(func(j *sluice.Job) int64 { return int64(j.Attempt) }), n(func(j *sluice.Job) int64 { return int64(j.Lost) }),
		n(func(j *sluice.Job) int64 { return micros(j.StartedAt) }), n(func(j *sluice.Job) int64 { return micros(j.CompletedAt) }),
		each(list, func(e *jobEntry) string { return e.row.Worker }), each(list, func(e *jobEntry) []byte { return raw(e.row.CanceledBy) }),
		each(list, func(e *jobEntry) []byte { return raw(e.row.CanceledReason) }),
		n(func(j *sluice.Job) int64 {
			if j.Limit == nil {
				return 0
			}
			return int64(j.Limit.N)
		}),
		n(func(j *sluice.Job) int64 {
			if j.Limit == nil {
				return 0
			}
			return dur(j.Limit.Window)
		}),
		each(list, func(e *jobEntry) string {
			if e.row.Limit == nil {
				return ""
			}
			return string(e.row.Limit.Mode)
		}),
		n(expiry), n(deleteAt), each(list, func(e *jobEntry) int64 { return e.stored }),
	}
}
