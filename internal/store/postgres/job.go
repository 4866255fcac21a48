package postgres

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

var (
	stateNames   = []sluice.State{sluice.StateScheduled, sluice.StateQueued, sluice.StateRunning, sluice.StateCompleted}
	outcomeNames = []sluice.Outcome{sluice.OutcomeNone, sluice.OutcomeSuccess, sluice.OutcomeFailure, sluice.OutcomeCanceled}
	phaseNames   = []sluice.Phase{sluice.PhaseNone, sluice.PhasePreprocess, sluice.PhasePreprocessed}
)

func stateCode(s sluice.State) int { return slices.Index(stateNames, s) }

func outcomeCode(o sluice.Outcome) int { return slices.Index(outcomeNames, o) }

// jobEntry is a job that this transaction has read or written.
type jobEntry struct {
	row    *sluice.Job
	stored int64 // its Rev in the database; 0: not inserted yet
	dirty  bool
	safe   bool  // read under the lock of its line or execution
	epoch  int64 // locks taken when it was read
	saved  bool  // written by this transaction: nobody else can have changed it since
	ended  bool  // by this transaction
}

const jobCols = `job.seq, job_state.rev, job_state.state, job_state.outcome, job_state.attempt, job_state.lost, job_state.started_us,
job_state.completed_us, job_state.worker, job_state.canceled_by, job_state.canceled_reason, job_state.limit_n, job_state.limit_window_us,
job_state.limit_mode, job.id, job.workspace, job.kind, job.path, job.hash, job.language, job.tag, job.priority, job.created_us,
job.scheduled_us, job.expires_us, job.created_by, job.email, job.parent, job.root, job.key, job.on_limit, job.timeout_us, job.max_lost,
job.delete_after_us, job.content, job.args, job.labels, job_state.progress, job.phase, job.queue_limit, job.step, job.step_n, job.scope, job.schedule`

const fromJobs = ` FROM job JOIN job_state ON job_state.seq = job.seq `

func scanJob(r *row) *sluice.Job {
	j := &sluice.Job{Seq: r.getInt(), Rev: r.getInt()}
	j.State, j.Outcome = stateNames[r.getInt()&3], outcomeNames[r.getInt()&3]
	j.Attempt, j.Lost = int(r.getInt()), int(r.getInt())
	j.StartedAt, j.CompletedAt = r.getAt(), r.getAt()
	j.Worker, j.CanceledBy, j.CanceledReason = r.getStr(), r.getStr(), r.getStr()
	l := limit.Limit{N: int(r.getInt()), Window: r.getDur(), Mode: limit.Mode(r.getStr())}
	if l.N != 0 {
		j.Limit = &l
	}
	j.ID, j.Workspace, j.Kind = r.getUUID(), r.getStr(), sluice.Kind(r.getStr())
	j.Path, j.Hash, j.Language, j.Tag = r.getStr(), r.getStr(), r.getStr(), r.getStr()
	j.Priority = int(r.getInt())
	j.CreatedAt, j.ScheduledFor, j.ExpiresAt = r.getAt(), r.getAt(), r.getAt()
	j.CreatedBy, j.Email = r.getStr(), r.getStr()
	j.ParentJob, j.RootJob = r.getUUID(), r.getUUID()
	j.HasKey = !r.isNull()
	j.Key = r.getStr()
	j.OnLimit = sluice.OnLimit(r.getStr())
	j.Timeout, j.MaxLostAttempts, j.DeleteAfter = r.getDur(), int(r.getInt()), r.getDur()
	if j.DeleteAfter < 0 {
		j.DeleteAfter = -1
	}
	j.Content, j.Args = r.getStr(), r.getBytes()
	j.Labels, j.Progress = splitLabels(r.getStr()), getProgress(r)
	if n := r.getInt(); n >= 0 && n < int64(len(phaseNames)) {
		j.Phase = phaseNames[n]
	}
	if n := r.getInt() - 1; n >= 0 {
		j.QueueLimit = &n
	}
	j.Step, j.StepN, j.FlowScope, j.Schedule = r.getStr(), int(r.getInt()), r.getStr(), r.getStr()
	return j
}

func splitLabels(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

func getProgress(r *row) *int {
	n := int(r.getInt())
	if n == 0 {
		return nil
	}
	n--
	return &n
}

// jobList reads all jobs of a statement that selects jobCols.
func (r *reader) jobList(sql string, args ...any) (list []*sluice.Job, err error) {
	err = r.rows(func(w *row) { list = append(list, scanJob(w)) }, sql, args...)
	return list, err
}

func (r *reader) job(sql string, args ...any) (j *sluice.Job, err error) {
	err = r.single(func(w *row) { j = scanJob(w) }, sql, args...)
	return j, err
}

const (
	qJob      = `SELECT ` + jobCols + fromJobs + `WHERE job.id = $1::text::uuid`
	qJobBySeq = `SELECT ` + jobCols + fromJobs + `WHERE job.seq = $1::bigint`
	// No change below the horizon can still be committed: every transaction that
	// began before the oldest open one is over.
	qChanged = `SELECT ` + jobCols + fromJobs + `WHERE job_state.rev > $1::bigint AND job_state.rev < (least((` + qHorizon + `), $4::bigint) + $2::bigint) << 14
ORDER BY job_state.rev LIMIT $3::bigint`
)

// Job implements [store.Reader].
func (r *reader) Job(id string) (*sluice.Job, error) {
	if id = uuidOf(id); id == "" {
		return nil, store.ErrNotFound
	}
	return r.job(qJob, id)
}

// JobBySeq implements [store.Reader].
func (r *reader) JobBySeq(seq int64) (*sluice.Job, error) { return r.job(qJobBySeq, seq) }

// ChangedJobs implements [store.Reader].
func (r *reader) ChangedJobs(rev int64, most int) ([]*sluice.Job, error) {
	return r.jobList(qChanged, rev, r.s.revEpoch, int64(most), int64(math.MaxInt32)<<16)
}

// MaxRev implements [store.Reader]: below the numbers of the oldest transaction
// that is still open in this snapshot, nothing is missing and nothing will come.
func (r *reader) MaxRev() (rev int64, err error) {
	err = r.rows(func(w *row) { rev = r.s.belowHorizon(w.getInt()) }, qHorizon)
	return rev, err
}

// ChangedJobs implements [store.Reader]. A transaction sees its own changes,
// too, behind those of all before it.
func (t *tx) ChangedJobs(rev int64, most int) ([]*sluice.Job, error) {
	if err := t.begin(); err != nil {
		return nil, err
	}
	return t.jobList(qChanged, rev, t.s.revEpoch, int64(most), t.xid+1)
}

// MaxRev implements [store.Reader]. What others change later is numbered above
// what this transaction has changed or will change.
func (t *tx) MaxRev() (int64, error) {
	if err := t.begin(); err != nil {
		return 0, err
	}
	if t.revs > 0 {
		return (t.xid+t.s.revEpoch)<<revBits | t.revs, nil
	}
	rev, err := t.reader.MaxRev()
	return min(rev, t.s.belowHorizon(t.xid)), err
}

// Result implements [store.Reader].
func (r *reader) Result(seq int64) (result json.RawMessage, err error) {
	err = r.rows(func(w *row) { result = w.getBytes() }, `SELECT result FROM result WHERE seq = $1::bigint`, seq)
	return result, err
}

// SaveResult implements [store.Tx].
func (t *tx) SaveResult(seq int64, result json.RawMessage) error {
	t.write()
	if t.hold.results == nil {
		t.hold.results = map[int64]heldResult{}
	}
	e := t.jobs[seq]
	t.hold.results[seq] = heldResult{raw(string(result)), e != nil && e.ended && !t.careful}
	return nil
}

// known returns the entry of a job if what it says is still true.
func (t *tx) known(e *jobEntry) *jobEntry {
	if e != nil && (e.safe || e.saved || e.dirty || e.stored == 0 || e.epoch == t.epoch) {
		return e
	}
	return nil
}

// Job implements [store.Reader].
func (t *tx) Job(id string) (*sluice.Job, error) {
	if e := t.known(t.jobIDs[id]); e != nil {
		return cloneJob(e.row), nil
	}
	j, err := t.reader.Job(id)
	if err != nil {
		return nil, err
	}
	return cloneJob(t.keepJob(j).row), nil
}

// JobBySeq implements [store.Reader].
func (t *tx) JobBySeq(seq int64) (*sluice.Job, error) {
	e, err := t.jobEntry(seq)
	if err != nil {
		return nil, err
	}
	return cloneJob(e.row), nil
}

func (t *tx) jobEntry(seq int64) (*jobEntry, error) {
	if e := t.known(t.jobs[seq]); e != nil {
		return e, nil
	}
	j, err := t.reader.JobBySeq(seq)
	if err != nil {
		return nil, err
	}
	return t.keepJob(j), nil
}

// keepJob takes over a job that was just read.
func (t *tx) keepJob(j *sluice.Job) *jobEntry {
	e := t.jobs[j.Seq]
	if e != nil && t.known(e) != nil {
		return e
	}
	if e == nil {
		e = &jobEntry{}
	}
	e.row, e.stored, e.epoch = j, j.Rev, t.epoch
	t.jobs[j.Seq], t.jobIDs[j.ID] = e, e
	return e
}

// keepJobs takes over jobs that were just read and returns copies of them.
func (t *tx) keepJobs(list []*sluice.Job) []*sluice.Job {
	for i, j := range list {
		list[i] = cloneJob(t.keepJob(j).row)
	}
	return list
}

func (t *tx) jobsKept(sql string, args ...any) ([]*sluice.Job, error) {
	list, err := t.jobList(sql, args...)
	return t.keepJobs(list), err
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
	if j.Progress != nil {
		n := *j.Progress
		c.Progress = &n
	}
	return &c
}

// InsertJobs implements [store.Tx]. Whether an ID is in use is looked up unless
// it was drawn just now; if one of those is, which nobody does by accident, the
// statement fails and the update runs again, carefully.
func (t *tx) InsertJobs(jobs []*sluice.Job) error {
	var ask []string
	here := map[string]bool{}
	now := micros(t.Now())
	for _, j := range jobs {
		switch {
		case uuidOf(j.ID) == "":
			return fmt.Errorf("postgres: job id %q is not a UUID in its canonical form", j.ID)
		case here[j.ID] || t.jobIDs[j.ID] != nil:
			return store.ErrExists
		case t.careful || !drawnNow(j.ID, now):
			ask = append(ask, j.ID)
		}
		here[j.ID] = true
	}
	if len(ask) > 0 {
		taken := false
		if err := t.rows(func(*row) { taken = true }, `SELECT 1 FROM job WHERE id = ANY($1::text[]::uuid[]) LIMIT 1`, ask); err != nil {
			return err
		}
		if taken {
			return store.ErrExists
		}
	}
	if err := t.stock(len(jobs)); err != nil {
		return err
	}
	t.write()
	for _, j := range jobs {
		seq, _ := t.number() // in stock
		rev, err := t.rev()
		if err != nil {
			return err
		}
		j.Seq, j.Rev = seq, rev
		row := normal(cloneJob(j))
		e := &jobEntry{row: row, dirty: true, safe: true}
		t.jobs[seq], t.jobIDs[j.ID] = e, e
		t.hold.jobs = append(t.hold.jobs, e)
		t.count(j.Workspace, j.Tag, -1, stateCode(j.State))
		t.agenda.moved(&t.agenda.expiry, 0, expiry(row))
	}
	return nil
}

// drawnNow reports whether a UUID is of version 7 and of the last seconds.
func drawnNow(id string, nowUS int64) bool {
	const second = 1_000_000
	if id[14] != '7' {
		return false
	}
	var ms int64
	if _, err := fmt.Sscanf(id[:8]+id[9:13], "%x", &ms); err != nil {
		return false
	}
	d := ms*1000 - nowUS
	return d > -10*second && d < 10*second
}

// normal makes a job what it will be when it is read again.
func normal(j *sluice.Job) *sluice.Job {
	for _, at := range []*time.Time{&j.CreatedAt, &j.ScheduledFor, &j.ExpiresAt, &j.StartedAt, &j.CompletedAt} {
		*at = instant(micros(*at))
	}
	if j.DeleteAfter < 0 {
		j.DeleteAfter = -1
	}
	if j.Limit != nil && j.Limit.N == 0 {
		j.Limit = nil
	}
	if len(j.Args) == 0 {
		j.Args = nil
	}
	if len(j.Labels) == 0 {
		j.Labels = nil
	}
	j.Result = nil
	if !j.HasKey {
		j.Key = ""
	}
	return j
}

// expiry is when a job gives up waiting; 0 if it does not wait.
func expiry(j *sluice.Job) int64 {
	if !j.Waiting() {
		return 0
	}
	return micros(j.ExpiresAt)
}

// deleteAt is when a completed job is to go by its own wish; 0: not by that.
func deleteAt(j *sluice.Job) int64 {
	if j.CompletedAt.IsZero() || j.DeleteAfter < 0 {
		return 0
	}
	return micros(j.CompletedAt.Add(j.DeleteAfter))
}

// SaveJob implements [store.Tx].
func (t *tx) SaveJob(j *sluice.Job) error {
	e := t.jobs[j.Seq]
	if e == nil {
		var err error
		if e, err = t.jobEntry(j.Seq); err != nil {
			return err
		}
	}
	rev, err := t.rev()
	if err != nil {
		return err
	}
	t.write()
	row, old := e.row, e.row.State
	before := expiry(row)
	e.ended = e.ended || old != sluice.StateCompleted && j.State == sluice.StateCompleted
	j.Rev = rev
	row.Rev, row.State, row.Outcome, row.Attempt, row.Lost = rev, j.State, j.Outcome, j.Attempt, j.Lost
	row.StartedAt, row.CompletedAt, row.Worker = instant(micros(j.StartedAt)), instant(micros(j.CompletedAt)), j.Worker
	row.CanceledBy, row.CanceledReason, row.Limit = j.CanceledBy, j.CanceledReason, nil
	row.DeleteAfter = max(j.DeleteAfter, -1)
	if j.Limit != nil && j.Limit.N != 0 {
		l := *j.Limit
		row.Limit = &l
	}
	t.agenda.moved(&t.agenda.expiry, before, expiry(row))
	t.count(row.Workspace, row.Tag, stateCode(old), stateCode(j.State))
	if !e.dirty {
		e.dirty = true
		t.hold.jobs = append(t.hold.jobs, e)
	}
	return nil
}

// Expired implements [store.Tx].
func (t *tx) Expired(now time.Time, most int) ([]*sluice.Job, error) {
	if err := t.planned(); err != nil {
		return nil, err
	}
	if t.agenda.expiry == 0 || t.agenda.expiry > micros(now) {
		return nil, nil
	}
	t.agenda.known = false
	return t.jobsKept(`SELECT `+jobCols+fromJobs+`WHERE expiry_us > 0 AND expiry_us <= $1::bigint ORDER BY expiry_us, job_state.seq LIMIT $2::bigint`,
		micros(now), int64(most))
}

// WaitingOf implements [store.Tx].
func (t *tx) WaitingOf(workspace, path string, afterSeq int64, most int) ([]*sluice.Job, error) {
	return t.jobsKept(`SELECT `+jobCols+fromJobs+`WHERE job_state.state < 2 AND job_state.seq > $1::bigint AND job.workspace = $2::text
AND job.path = $3::text ORDER BY job_state.seq LIMIT $4::bigint`, afterSeq, workspace, path, int64(most))
}
