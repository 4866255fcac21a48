package postgres

import (
	"encoding/json"
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
)

// runEntry is the run of a flow that this transaction has locked or written.
type runEntry struct {
	row    store.FlowRun
	locked bool
	made   bool // not inserted yet
	dirty  bool
}

// stepKey names a result of a flow.
type stepKey struct {
	jobSeq int64
	name   string
}

const flowRunCols = `job_seq, root_seq, depth, state, events, due, wake_us, steps`

func scanRun(r *row) *store.FlowRun {
	return &store.FlowRun{
		JobSeq: r.getInt(), RootSeq: r.getInt(), Depth: int(r.getInt()), State: r.getBytes(), Events: r.getBytes(),
		Due: r.getBool(), WakeAt: r.getAt(), Steps: r.getInt(),
	}
}

// FlowRun implements [store.Reader].
func (r *reader) FlowRun(jobSeq int64) (f *store.FlowRun, err error) {
	err = r.single(func(w *row) { f = scanRun(w) }, `SELECT `+flowRunCols+` FROM flow_run WHERE job_seq = $1::bigint`, jobSeq)
	return f, err
}

// FlowRun implements [store.Reader].
func (t *tx) FlowRun(jobSeq int64) (*store.FlowRun, error) {
	if e := t.runs[jobSeq]; e != nil {
		f := e.row
		return &f, nil
	}
	return t.reader.FlowRun(jobSeq)
}

// keepRun takes over a run that was just locked. State and Events are never
// changed in place.
func (t *tx) keepRun(f *store.FlowRun) *runEntry {
	e := t.runs[f.JobSeq]
	if e == nil {
		e = &runEntry{row: *f}
		t.runs[f.JobSeq] = e
	}
	return e
}

const (
	qTryRun  = `SELECT ` + flowRunCols + ` FROM flow_run WHERE job_seq = $1::bigint FOR UPDATE SKIP LOCKED`
	qRunHere = `SELECT 1 FROM flow_run WHERE job_seq = $1::bigint`
)

// LockFlowRun implements [store.Tx].
func (t *tx) LockFlowRun(jobSeq int64) (*store.FlowRun, error) {
	e := t.runs[jobSeq]
	if e == nil {
		here := false
		p := &pipe{}
		p.add(func(r *row) { e = t.keepRun(scanRun(r)) }, qTryRun, jobSeq)
		p.add(func(*row) { here = true }, qRunHere, jobSeq)
		t.draw(p)
		if err := t.send(p, 0); err != nil {
			return nil, err
		}
		if e == nil && here {
			t.wants.runs = append(t.wants.runs, jobSeq)
			return nil, t.blocked()
		}
		if e == nil {
			return nil, store.ErrNotFound
		}
		e.locked = true
	}
	f := e.row
	return &f, nil
}

const (
	qTryRuns   = `SELECT ` + flowRunCols + ` FROM flow_run WHERE job_seq IN (SELECT seq FROM job WHERE id = ANY($1::text[]::uuid[])) FOR UPDATE SKIP LOCKED`
	qJobsByIDs = `SELECT ` + jobCols + fromJobs + `WHERE job.id = ANY($1::text[]::uuid[])`
)

// lockFlows adds to a pipe what locks runs of flows, as far as nobody else has,
// and then reads their jobs. A flow's job changes under the lock of its run alone
// as long as it runs, so that what is read behind that stays true. The function
// returned takes over what was read.
func (t *tx) lockFlows(p *pipe, ids []string) (keep func()) {
	if len(ids) == 0 {
		return func() {}
	}
	var jobs []*sluice.Job
	p.add(func(r *row) { t.keepRun(scanRun(r)).locked = true }, qTryRuns, ids)
	p.add(func(r *row) { jobs = append(jobs, scanJob(r)) }, qJobsByIDs, ids)
	return func() {
		for _, j := range jobs {
			if e, run := t.keepJob(j), t.runs[j.Seq]; run != nil && run.locked {
				e.safe = true
			}
		}
	}
}

// flowsOf returns the jobs of the flows of which executions that are known here
// run steps, as far as they are not known here themselves.
func (t *tx) flowsOf(execs []int64) (ids []string) {
	for _, id := range execs {
		e := t.execs[id]
		if e == nil || t.jobs[e.row.JobSeq] == nil {
			continue
		}
		if j := t.jobs[e.row.JobSeq].row; j.Step != "" && e.row.End == "" && t.known(t.jobIDs[j.ParentJob]) == nil {
			ids = append(ids, uuidOf(j.ParentJob))
		}
	}
	return unique(ids)
}

// InsertFlowRun implements [store.Tx].
func (t *tx) InsertFlowRun(f *store.FlowRun) error {
	if t.runs[f.JobSeq] != nil {
		return store.ErrExists
	}
	if j := t.jobs[f.JobSeq]; j == nil || j.stored != 0 && !j.saved { // a job that was not made here may have one
		if _, err := t.FlowRun(f.JobSeq); err == nil {
			return store.ErrExists
		} else if err != store.ErrNotFound { //nolint:errorlint // FlowRun returns it unwrapped.
			return err
		}
	}
	t.write()
	e := t.keepRun(f)
	e.row.WakeAt = instant(micros(f.WakeAt))
	e.locked, e.made = true, true
	t.changedRun(e)
	t.signal.flows = t.signal.flows || f.Due || !f.WakeAt.IsZero()
	return nil
}

func (t *tx) changedRun(e *runEntry) {
	if !e.dirty {
		e.dirty = true
		t.hold.runs = append(t.hold.runs, e)
	}
}

// SaveFlowRun implements [store.Tx].
func (t *tx) SaveFlowRun(f *store.FlowRun) error {
	if _, err := t.LockFlowRun(f.JobSeq); err != nil {
		return err
	}
	t.write()
	e := t.runs[f.JobSeq]
	at := instant(micros(f.WakeAt))
	moved := e.row.Due != f.Due || !e.row.WakeAt.Equal(at)
	root, depth := e.row.RootSeq, e.row.Depth
	e.row = *f
	e.row.RootSeq, e.row.Depth, e.row.WakeAt = root, depth, at
	t.changedRun(e)
	t.signal.flows = t.signal.flows || f.Due || moved && !f.WakeAt.IsZero()
	return nil
}

const (
	qInsertRuns = `INSERT INTO flow_run (job_seq, root_seq, depth, state, events, due, wake_us, steps) SELECT * FROM
unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::boolean[], $7::bigint[], $8::bigint[])`
	qSaveRuns = `UPDATE flow_run SET state = u.state, events = u.events, due = u.due, wake_us = u.wake_us, steps = u.steps
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::boolean[], $7::bigint[], $8::bigint[])
AS u (job_seq, root_seq, depth, state, events, due, wake_us, steps) WHERE flow_run.job_seq = u.job_seq`
	qSaveSteps = `INSERT INTO flow_result (job_seq, name, result) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])
ON CONFLICT (job_seq, name) DO UPDATE SET result = excluded.result`
)

func (t *tx) flushRuns(p *pipe) {
	var made, saved []*runEntry
	for _, e := range t.hold.runs {
		if e.made {
			made = append(made, e)
		} else {
			saved = append(saved, e)
		}
		e.made, e.dirty = false, false
	}
	t.hold.runs = nil
	for sql, list := range map[string][]*runEntry{qInsertRuns: made, qSaveRuns: saved} {
		if len(list) == 0 {
			continue
		}
		slices.SortFunc(list, func(a, b *runEntry) int { return byNumber(a.row.JobSeq, b.row.JobSeq) })
		n := func(of func(*store.FlowRun) int64) []int64 {
			return each(list, func(e *runEntry) int64 { return of(&e.row) })
		}
		p.add(nil, sql, n(func(f *store.FlowRun) int64 { return f.JobSeq }), n(func(f *store.FlowRun) int64 { return f.RootSeq }),
			n(func(f *store.FlowRun) int64 { return int64(f.Depth) }), each(list, func(e *runEntry) []byte { return raw(string(e.row.State)) }),
			each(list, func(e *runEntry) []byte { return e.row.Events }), each(list, func(e *runEntry) bool { return e.row.Due }),
			n(func(f *store.FlowRun) int64 { return micros(f.WakeAt) }), n(func(f *store.FlowRun) int64 { return f.Steps }))
	}
	if len(t.hold.steps) == 0 {
		return
	}
	var seqs []int64
	var names []string
	var results [][]byte
	for k, v := range t.hold.steps {
		seqs, names, results = append(seqs, k.jobSeq), append(names, k.name), append(results, v)
	}
	t.hold.steps = nil
	p.add(nil, qSaveSteps, seqs, names, results)
}

// DueFlowRuns implements [store.Tx].
func (t *tx) DueFlowRuns(now time.Time, most int) (due []int64, err error) {
	read := func(r *row) { due = append(due, r.getInt()) }
	p := &pipe{}
	p.add(read, `SELECT job_seq FROM flow_run WHERE due ORDER BY job_seq LIMIT $1::bigint`, int64(most))
	p.add(read, `SELECT job_seq FROM flow_run WHERE wake_us > 0 AND wake_us <= $1::bigint AND NOT due ORDER BY wake_us LIMIT $2::bigint`,
		micros(now), int64(most))
	err = t.query(p)
	return due[:min(len(due), most)], err
}

// NextFlowWake implements [store.Tx].
func (t *tx) NextFlowWake() (at time.Time, err error) {
	err = t.rows(func(r *row) { at = r.getAt() }, `SELECT wake_us FROM flow_run WHERE wake_us > 0 ORDER BY wake_us LIMIT 1`)
	return at, err
}

// FlowResult implements [store.Reader].
func (r *reader) FlowResult(jobSeq int64, name string) (result json.RawMessage, err error) {
	err = r.single(func(w *row) { result = w.getBytes() }, `SELECT result FROM flow_result WHERE job_seq = $1::bigint AND name = $2::text`,
		jobSeq, name)
	return result, err
}

// SaveFlowResult implements [store.Tx].
func (t *tx) SaveFlowResult(jobSeq int64, name string, result json.RawMessage) error {
	t.write()
	if t.hold.steps == nil {
		t.hold.steps = map[stepKey][]byte{}
	}
	t.hold.steps[stepKey{jobSeq, name}] = raw(string(result))
	return nil
}

// Children implements [store.Reader].
func (r *reader) Children(parent, step string, fromN, most int) ([]*sluice.Job, error) {
	parent = uuidOf(parent)
	if parent == "" {
		return nil, nil
	}
	return r.jobList(`SELECT `+jobCols+fromJobs+`WHERE job.parent = $1::text::uuid AND job.step = $2::text AND job.step_n >= $3::bigint
ORDER BY job.step_n, job.seq LIMIT $4::bigint`, parent, step, int64(fromN), int64(most))
}

// Children implements [store.Reader].
func (t *tx) Children(parent, step string, fromN, most int) ([]*sluice.Job, error) {
	list, err := t.reader.Children(parent, step, fromN, most)
	return t.keepJobs(list), err
}

// Cached implements [store.Reader].
func (r *reader) Cached(slot int64) (*store.CacheEntry, error) {
	c := new(store.CacheEntry)
	err := r.single(func(w *row) {
		c.Slot, c.Hash, c.Until, c.Result = w.getInt(), w.getBytes(), w.getAt(), w.getBytes()
	}, `SELECT slot, hash, until_us, result FROM cached WHERE slot = $1::bigint`, slot)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// SaveCached implements [store.Tx].
func (t *tx) SaveCached(c *store.CacheEntry) error {
	_, err := t.exec(`INSERT INTO cached (slot, hash, until_us, result) VALUES ($1, $2, $3, $4)
ON CONFLICT (slot) DO UPDATE SET hash = excluded.hash, until_us = excluded.until_us, result = excluded.result`,
		c.Slot, raw(string(c.Hash)), micros(c.Until), raw(string(c.Result)))
	return err
}

// DeleteCached implements [store.Tx].
func (t *tx) DeleteCached(now time.Time, most int) (int, error) {
	return t.exec(`DELETE FROM cached WHERE slot IN (SELECT slot FROM cached WHERE until_us <= $1::bigint LIMIT $2::bigint FOR UPDATE SKIP LOCKED)`,
		micros(now), int64(most))
}
