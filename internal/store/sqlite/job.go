package sqlite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

var (
	stateNames   = []sluice.State{sluice.StateScheduled, sluice.StateQueued, sluice.StateRunning, sluice.StateCompleted}
	outcomeNames = []sluice.Outcome{sluice.OutcomeNone, sluice.OutcomeSuccess, sluice.OutcomeFailure, sluice.OutcomeCanceled}
)

func stateCode(s sluice.State) int { return slices.Index(stateNames, s) }

func outcomeCode(o sluice.Outcome) int { return slices.Index(outcomeNames, o) }

// maxInline is how large content and arguments may be in the job's own row,
// which is written again at each change of state.
const maxInline = 1024

const jobCols = `job.seq, job.rev, job.state, job.outcome, job.attempt, job.lost, job.started_us, job.completed_us,
job.worker, job.canceled_by, job.canceled_reason, job.limit_n, job.limit_window_us, job.limit_mode, job.id, job.workspace,
job.kind, job.path, job.hash, job.language, job.tag, job.priority, job.created_us, job.scheduled_us, job.expires_us,
job.created_by, job.email, job.parent, job.root, job.key, job.on_limit, job.timeout_us, job.max_lost,
job.delete_after_us, job.big, job.content, job.args, job.labels, job.progress, job.phase, job.queue_limit,
job.step, job.step_n, job.scope, job.schedule`

// uuidBytes returns the 16 bytes of a canonical UUID as a string; "" for
// anything else, which no row has.
func uuidBytes(s string) string {
	u, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return ""
	}
	return string(u[:])
}

func (s *stmt) uuid(v string) *stmt {
	if v == "" {
		return s.null()
	}
	return s.blob(uuidBytes(v))
}

func (s *stmt) getUUID() string {
	u, err := uuid.FromBytes(s.raw())
	if err != nil {
		return ""
	}
	return u.String()
}

func keyHash(key string) int64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	return int64(h.Sum64())
}

// scanJob reads the columns of jobCols. big says that content and arguments
// are elsewhere.
func scanJob(s *stmt) (j *sluice.Job, big bool) {
	j = &sluice.Job{Seq: s.getInt(), Rev: s.getInt()}
	j.State, j.Outcome = stateNames[s.getInt()&3], outcomeNames[s.getInt()&3]
	j.Attempt, j.Lost = int(s.getInt()), int(s.getInt())
	j.StartedAt, j.CompletedAt = s.getAt(), s.getAt()
	j.Worker, j.CanceledBy, j.CanceledReason = s.getStr(), s.getStr(), s.getStr()
	l := limit.Limit{N: int(s.getInt()), Window: s.getDur(), Mode: limit.Mode(s.getStr())}
	if l.N != 0 {
		j.Limit = &l
	}
	j.ID, j.Workspace, j.Kind = s.getUUID(), s.getStr(), sluice.Kind(s.getStr())
	j.Path, j.Hash, j.Language, j.Tag = s.getStr(), s.getStr(), s.getStr(), s.getStr()
	j.Priority = int(s.getInt())
	j.CreatedAt, j.ScheduledFor, j.ExpiresAt = s.getAt(), s.getAt(), s.getAt()
	j.CreatedBy, j.Email = s.getStr(), s.getStr()
	j.ParentJob, j.RootJob = s.getUUID(), s.getUUID()
	j.HasKey = !s.isNull()
	j.Key = s.getStr()
	j.OnLimit = sluice.OnLimit(s.getStr())
	j.Timeout, j.MaxLostAttempts, j.DeleteAfter = s.getDur(), int(s.getInt()), s.getDur()
	if j.DeleteAfter < 0 {
		j.DeleteAfter = -1
	}
	if big = s.getBool(); !big {
		j.Content, j.Args = s.getStr(), s.getBytes()
	} else {
		s.skip()
		s.skip()
	}
	j.Labels, j.Progress = splitLabels(s.getStr()), getProgress(s)
	getPhase(s, j)
	j.Step, j.StepN, j.FlowScope, j.Schedule = s.getStr(), int(s.getInt()), s.getStr(), s.getStr()
	return j, big
}

var qPayload = sqlText(`SELECT content, args FROM payload WHERE seq = ?`)

// jobs reads all rows of a statement that selects jobCols.
func (r *reader) jobs(s *stmt) ([]*sluice.Job, error) {
	var list, bigs []*sluice.Job
	for s.next() {
		j, big := scanJob(s)
		list = append(list, j)
		if big {
			bigs = append(bigs, j)
		}
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	for _, j := range bigs {
		if _, err := r.c.use(qPayload).int(j.Seq).one(func(s *stmt) {
			j.Content, j.Args = s.getStr(), s.getBytes()
		}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (r *reader) job(s *stmt) (*sluice.Job, error) {
	list, err := r.jobs(s)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return list[0], nil
}

var (
	qJob      = sqlText(`SELECT ` + jobCols + ` FROM job WHERE id = ?`)
	qJobBySeq = sqlText(`SELECT ` + jobCols + ` FROM job WHERE seq = ?`)
	qChanged  = sqlText(`SELECT ` + jobCols + ` FROM job WHERE rev > ? ORDER BY rev LIMIT ?`)
	qMaxRev   = sqlText(`SELECT rev FROM meta WHERE one = 1`)
	qResult   = sqlText(`SELECT result FROM result WHERE seq = ?`)
)

// Job implements [store.Reader].
func (r *reader) Job(id string) (*sluice.Job, error) { return r.job(r.c.use(qJob).blob(uuidBytes(id))) }

// JobBySeq implements [store.Reader].
func (r *reader) JobBySeq(seq int64) (*sluice.Job, error) { return r.job(r.c.use(qJobBySeq).int(seq)) }

// ChangedJobs implements [store.Reader].
func (r *reader) ChangedJobs(rev int64, most int) ([]*sluice.Job, error) {
	return r.jobs(r.c.use(qChanged).int(rev).int(int64(most)))
}

// MaxRev implements [store.Reader].
func (r *reader) MaxRev() (rev int64, err error) {
	_, err = r.c.use(qMaxRev).one(func(s *stmt) { rev = s.getInt() })
	return rev, err
}

// Result implements [store.Reader].
func (r *reader) Result(seq int64) (result json.RawMessage, err error) {
	_, err = r.c.use(qResult).int(seq).one(func(s *stmt) { result = s.getBytes() })
	return result, err
}

// Job implements [store.Reader].
func (t *tx) Job(id string) (*sluice.Job, error) {
	if row := t.jobRows[t.jobSeqs[id]]; row != nil {
		return cloneJob(row), nil
	}
	return t.keepJob(t.reader.Job(id))
}

// JobBySeq implements [store.Reader].
func (t *tx) JobBySeq(seq int64) (*sluice.Job, error) {
	if row := t.jobRows[seq]; row != nil {
		return cloneJob(row), nil
	}
	return t.keepJob(t.reader.JobBySeq(seq))
}

// cloneJob copies a job with all that it points to.
func cloneJob(j *sluice.Job) *sluice.Job {
	c := *j
	if j.Limit != nil {
		l := *j.Limit
		c.Limit = &l
	}
	c.Args, c.Labels = bytes.Clone(j.Args), slices.Clone(j.Labels)
	if j.QueueLimit != nil {
		q := *j.QueueLimit
		c.QueueLimit = &q
	}
	return &c
}

// keepJob keeps a copy of a job that was just read.
func (t *tx) keepJob(j *sluice.Job, err error) (*sluice.Job, error) {
	if err == nil && j.State != sluice.StateCompleted && len(j.Content)+len(j.Args) <= maxInline {
		t.jobRows[j.Seq], t.jobSeqs[j.ID] = cloneJob(j), j.Seq
	}
	return j, err
}

func (t *tx) keepJobs(list []*sluice.Job, err error) ([]*sluice.Job, error) {
	for _, j := range list {
		_, _ = t.keepJob(j, nil)
	}
	return list, err
}

var (
	qInsertJob = sqlText(`INSERT OR FAIL INTO job (seq, rev, state, outcome, attempt, lost, started_us, completed_us, worker,
canceled_by, canceled_reason, limit_n, limit_window_us, limit_mode, open, expiry_us, delete_us, id, workspace, kind, path, hash,
language, tag, priority, created_us, scheduled_us, expires_us, created_by, email, parent, root, key, key_hash, on_limit,
timeout_us, max_lost, delete_after_us, big, content, args, labels, phase, queue_limit, step, step_n, scope, schedule)
VALUES (?,?,?,?,?,?,?,?,?, ?,?,?,?,?,?,?,?,?,?,?,?,?, ?,?,?,?,?,?,?,?,?,?,?,?,?, ?,?,?,?,?,?,?,?,?,?,?,?,?)`)
	qInsertPayload = sqlText(`INSERT INTO payload (seq, content, args) VALUES (?, ?, ?)`)
	qUninsertJobs  = sqlText(`DELETE FROM job WHERE seq >= ?`)
	qUninsertBig   = sqlText(`DELETE FROM payload WHERE seq >= ?`)
	qUninsertLabel = sqlText(`DELETE FROM label WHERE job_seq >= ?`)
)

// InsertJobs implements [store.Tx].
func (t *tx) InsertJobs(jobs []*sluice.Job) error {
	t.wrote = true
	seq, rev := t.numbers.seq, t.numbers.rev
	for i, j := range jobs {
		err := t.insertJob(j, seq+1+int64(i), rev+1+int64(i))
		if err == nil {
			continue
		}
		if !isUnique(err) {
			return err
		}
		for _, q := range []*query{qUninsertJobs, qUninsertBig, qUninsertLabel} {
			if _, err := t.c.use(q).int(seq + 1).run(); err != nil {
				return err
			}
		}
		return store.ErrExists
	}
	for i, j := range jobs {
		j.Seq, j.Rev = seq+1+int64(i), rev+1+int64(i)
		t.count(j.Workspace, j.Tag, -1, stateCode(j.State))
	}
	t.numbers.seq += int64(len(jobs))
	t.numbers.rev += int64(len(jobs))
	t.signal.rev = t.numbers.rev
	return nil
}

func (t *tx) insertJob(j *sluice.Job, seq, rev int64) error {
	id := uuidBytes(j.ID)
	if id == "" {
		return fmt.Errorf("sqlite: job id %q is not a UUID in its canonical form", j.ID)
	}
	s := t.c.use(qInsertJob).int(seq).int(rev).int(int64(stateCode(j.State))).int(int64(outcomeCode(j.Outcome))).
		int(int64(j.Attempt)).int(int64(j.Lost)).at(j.StartedAt).at(j.CompletedAt).str(j.Worker).
		str(j.CanceledBy).str(j.CanceledReason)
	s.limit(j.Limit).bool(j.State != sluice.StateCompleted).at(expiry(j)).int(deleteAt(j)).blob(id).
		str(j.Workspace).str(string(j.Kind)).str(j.Path).str(j.Hash).str(j.Language).str(j.Tag).int(int64(j.Priority)).
		at(j.CreatedAt).at(j.ScheduledFor).at(j.ExpiresAt).str(j.CreatedBy).str(j.Email).uuid(j.ParentJob).uuid(j.RootJob)
	if j.HasKey {
		s.blob(j.Key).int(keyHash(j.Key))
	} else {
		s.null().null()
	}
	s.str(string(j.OnLimit)).dur(j.Timeout).int(int64(j.MaxLostAttempts)).int(keepFor(j))
	big := len(j.Content)+len(j.Args) > maxInline
	if big {
		s.int(1).str("").null()
	} else {
		s.int(0).str(j.Content).bytes(j.Args)
	}
	if _, err := s.str(strings.Join(j.Labels, "\n")).phase(j).str(j.Step).int(int64(j.StepN)).str(j.FlowScope).str(j.Schedule).run(); err != nil {
		return err
	}
	if big {
		if _, err := t.c.use(qInsertPayload).int(seq).str(j.Content).bytes(j.Args).run(); err != nil {
			return err
		}
	}
	return t.insertLabels(seq, j.Labels)
}

// keepFor is DeleteAfter in microseconds; what is below zero must not become
// zero, which means at once.
func keepFor(j *sluice.Job) int64 {
	if j.DeleteAfter < 0 {
		return -1
	}
	return int64(j.DeleteAfter / time.Microsecond)
}

func (s *stmt) limit(l *limit.Limit) *stmt {
	if l == nil {
		return s.int(0).int(0).str("")
	}
	return s.int(int64(l.N)).dur(l.Window).str(string(l.Mode))
}

// expiry is when a job gives up waiting; zero if it does not wait.
func expiry(j *sluice.Job) time.Time {
	if !j.Waiting() {
		return time.Time{}
	}
	return j.ExpiresAt
}

// deleteAt is when a completed job is to go by its own wish, in microseconds.
func deleteAt(j *sluice.Job) int64 {
	if j.CompletedAt.IsZero() || j.DeleteAfter < 0 {
		return 0
	}
	return micros(j.CompletedAt.Add(j.DeleteAfter))
}

const saveJobCols = `rev = ?, state = ?, outcome = ?, attempt = ?, lost = ?, started_us = ?, completed_us = ?, worker = ?,
canceled_by = ?, canceled_reason = ?, limit_n = ?, limit_window_us = ?, limit_mode = ?`

const moveJobCols = `rev = ?, state = ?, outcome = ?, attempt = ?, lost = ?, started_us = ?, worker = ?,
canceled_by = ?, canceled_reason = ?, limit_n = ?, limit_window_us = ?, limit_mode = ?`

var (
	// An update that does not name a column leaves the indexes on it alone, so
	// there is one for jobs that go on and one for those that end.
	qMoveJob      = sqlText(`UPDATE job SET ` + moveJobCols + ` WHERE seq = ?`)
	qMoveExpiring = sqlText(`UPDATE job SET ` + moveJobCols + `, expiry_us = ? WHERE seq = ?`)
	qEndJob       = sqlText(`UPDATE job SET ` + saveJobCols + `, open = ?, expiry_us = ?, delete_us = ? WHERE seq = ?`)
	qState        = sqlText(`SELECT state FROM job WHERE seq = ?`)
)

// SaveJob implements [store.Tx].
func (t *tx) SaveJob(j *sluice.Job) error {
	old, err := t.stateOf(j.Seq)
	if err != nil {
		return err
	}
	t.wrote = true
	rev := t.numbers.rev + 1
	goesOn := old != sluice.StateCompleted && j.State != sluice.StateCompleted && j.CompletedAt.IsZero()
	q := qEndJob
	switch {
	case goesOn && j.ExpiresAt.IsZero():
		q = qMoveJob
	case goesOn:
		q = qMoveExpiring
	}
	s := t.c.use(q).int(rev).int(int64(stateCode(j.State))).int(int64(outcomeCode(j.Outcome))).
		int(int64(j.Attempt)).int(int64(j.Lost)).at(j.StartedAt)
	if q == qEndJob {
		s.at(j.CompletedAt)
	}
	s.str(j.Worker).str(j.CanceledBy).str(j.CanceledReason).limit(j.Limit)
	switch q {
	case qMoveExpiring:
		s.at(expiry(j))
	case qEndJob:
		s.bool(j.State != sluice.StateCompleted).at(expiry(j)).int(deleteAt(j))
	}
	n, err := s.int(j.Seq).run()
	if err != nil {
		return err
	}
	if n == 0 {
		return store.ErrNotFound
	}
	t.numbers.rev, t.signal.rev, j.Rev = rev, rev, rev
	t.count(j.Workspace, j.Tag, stateCode(old), stateCode(j.State))
	t.saved(j)
	return nil
}

func (t *tx) stateOf(seq int64) (old sluice.State, err error) {
	if row := t.jobRows[seq]; row != nil {
		return row.State, nil
	}
	found, err := t.c.use(qState).int(seq).one(func(s *stmt) { old = stateNames[s.getInt()&3] })
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return old, err
}

// saved brings the copy of a job up to date.
func (t *tx) saved(j *sluice.Job) {
	row := t.jobRows[j.Seq]
	if row == nil {
		return
	}
	if j.State == sluice.StateCompleted {
		delete(t.jobRows, j.Seq)
		return
	}
	row.Rev, row.State, row.Outcome, row.Attempt, row.Lost = j.Rev, j.State, j.Outcome, j.Attempt, j.Lost
	row.StartedAt, row.CompletedAt, row.Worker = instant(micros(j.StartedAt)), instant(micros(j.CompletedAt)), j.Worker
	row.CanceledBy, row.CanceledReason, row.Limit = j.CanceledBy, j.CanceledReason, nil
	if j.Limit != nil && j.Limit.N != 0 {
		l := *j.Limit
		row.Limit = &l
	}
}

var qSaveResult = sqlText(`INSERT INTO result (seq, result) VALUES (?, ?) ON CONFLICT (seq) DO UPDATE SET result = excluded.result`)

// SaveResult implements [store.Tx].
func (t *tx) SaveResult(seq int64, result json.RawMessage) error {
	t.wrote = true
	_, err := t.c.use(qSaveResult).int(seq).blob(string(result)).run()
	return err
}

var (
	qExpired = sqlText(`SELECT ` + jobCols + ` FROM job WHERE expiry_us > 0 AND expiry_us <= ? ORDER BY expiry_us, seq LIMIT ?`)
	qExpiry  = sqlText(`SELECT expiry_us FROM job WHERE expiry_us > 0 ORDER BY expiry_us LIMIT 1`)
	qWaiting = sqlText(`SELECT ` + jobCols + ` FROM job WHERE open = 1 AND workspace = ? AND seq > ? AND path = ? AND state < 2
ORDER BY seq LIMIT ?`)
)

// Expired implements [store.Tx].
func (t *tx) Expired(now time.Time, most int) ([]*sluice.Job, error) {
	return t.keepJobs(t.jobs(t.c.use(qExpired).at(now).int(int64(most))))
}

// NextExpiry implements [store.Tx].
func (t *tx) NextExpiry() (at time.Time, err error) {
	_, err = t.c.use(qExpiry).one(func(s *stmt) { at = s.getAt() })
	return at, err
}

// WaitingOf implements [store.Tx].
func (t *tx) WaitingOf(workspace, path string, afterSeq int64, most int) ([]*sluice.Job, error) {
	return t.keepJobs(t.jobs(t.c.use(qWaiting).str(workspace).int(afterSeq).str(path).int(int64(most))))
}
