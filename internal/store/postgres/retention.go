package postgres

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/store"
)

// sweep is where the two sweeps below stopped: rows that must stay would
// otherwise be looked at again by every call.
type sweep struct{ doneUS, execution, group int64 }

// sweeps keeps it between transactions.
type sweeps struct {
	mu sync.Mutex
	at sweep
}

func (s *sweeps) get() sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *sweeps) set(at sweep) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = at
}

// sweepFactor is how many rows a sweep looks at for each that it may delete.
const sweepFactor = 4

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// unneeded is no step of a flow that still runs.
const unneeded = ` (job.step = '' OR NOT EXISTS (SELECT 1 FROM job AS outer_flow JOIN job_state AS outer_state ON outer_state.seq = outer_flow.seq
WHERE outer_flow.id = job.root AND outer_state.state < 3))`

const (
	qOverdue = `SELECT job_state.seq FROM job_state JOIN job ON job.seq = job_state.seq WHERE delete_us > 0 AND delete_us <= $1::bigint AND` + unneeded + `
ORDER BY delete_us LIMIT $2::bigint FOR UPDATE OF job_state SKIP LOCKED`
	qOldJobs = `SELECT job_state.seq FROM job_state JOIN job ON job.seq = job_state.seq WHERE completed_us > 0 AND completed_us < $1::bigint AND` + unneeded + `
ORDER BY completed_us LIMIT $2::bigint FOR UPDATE OF job_state SKIP LOCKED`
	qLogRows = `SELECT job_seq, count(*) FROM log WHERE job_seq = ANY($1::bigint[]) GROUP BY job_seq`
	qDropLog = `DELETE FROM log WHERE ctid = ANY(ARRAY(SELECT ctid FROM log WHERE job_seq = $1::bigint LIMIT $2::bigint))`
)

// qDropJobs delete jobs with what belongs to them.
var qDropJobs = []string{
	`DELETE FROM log WHERE job_seq = ANY($1::bigint[])`, `DELETE FROM log_raw WHERE job_seq = ANY($1::bigint[])`,
	`DELETE FROM stream WHERE job_seq = ANY($1::bigint[])`, `DELETE FROM stream_raw WHERE job_seq = ANY($1::bigint[])`,
	`DELETE FROM label WHERE job_seq = ANY($1::bigint[])`, `DELETE FROM result WHERE seq = ANY($1::bigint[])`,
	`DELETE FROM flow_run WHERE job_seq = ANY($1::bigint[])`, `DELETE FROM flow_result WHERE job_seq = ANY($1::bigint[])`,
	`DELETE FROM job_state WHERE seq = ANY($1::bigint[])`, `DELETE FROM job WHERE seq = ANY($1::bigint[])`,
}

// DeleteJobs implements [store.Tx]. A log that is longer than what may be
// deleted leaves its job for the next call.
func (t *tx) DeleteJobs(now, before time.Time, most int) (int, error) {
	const rowsOfJob = 3 // at least: the job, its state, its result
	var seqs []int64
	read := func(r *row) { seqs = append(seqs, r.getInt()) }
	ask := int64(most/rowsOfJob + 1)
	p := &pipe{}
	p.add(read, qOverdue, micros(now), ask)
	p.add(read, qOldJobs, micros(before), ask)
	if err := t.query(p); err != nil || len(seqs) == 0 {
		return 0, err
	}
	slices.Sort(seqs)
	seqs = slices.Compact(seqs)
	logs := map[int64]int{}
	if err := t.rows(func(r *row) { seq := r.getInt(); logs[seq] = int(r.getInt()) }, qLogRows, seqs); err != nil {
		return 0, err
	}
	var whole []int64
	deleted, room := 0, most
	for _, seq := range seqs {
		if logs[seq] >= room {
			if len(whole) > 0 {
				break
			}
			return t.exec(qDropLog, seq, int64(room))
		}
		room -= logs[seq] + rowsOfJob
		whole = append(whole, seq)
		t.forgetJob(seq)
		if room <= 0 {
			break
		}
	}
	t.write()
	p = &pipe{}
	for _, sql := range qDropJobs {
		p.count(func(n int) { deleted += n }, sql, whole)
	}
	err := t.query(p)
	return deleted, err
}

const (
	qDone = `SELECT id, ended, launch_no, end_no, done_us, group_id, order_no FROM execution
WHERE done_us > 0 AND (done_us, id) > ($1::bigint, $2::bigint) AND done_us <= $3::bigint ORDER BY done_us, id LIMIT $4::bigint`
	qDropExecs = `DELETE FROM execution WHERE id = ANY($1::bigint[])`
)

// done is what the sweep needs of an execution that is history.
type done struct {
	id, launchNo, endNo, doneUS, group, orderNo int64
	struck                                      bool
}

// DeleteExecutions implements [store.Tx].
//
// Every number of a series up to one that is deleted has an instant at or
// before the release of the deleted row: releases because numbers and instants
// ascend together, launches because one with a lower number came before a
// launch that came before that release. So the trimmed numbers of a group are
// the highest that were deleted, and its TrimmedAt the latest release deleted;
// a row that stays although its number is lower (it is still held, say) counts as
// if launched at TrimmedAt: later than in truth, never earlier. Groups that
// somebody else has locked are left for the next time.
func (t *tx) DeleteExecutions(now time.Time, atLeast time.Duration, most int) (int, error) {
	var rows []done
	at := t.s.swept.get()
	err := t.rows(func(r *row) {
		d := done{id: r.getInt(), struck: endNames[r.getInt()%int64(len(endNames))] == sluice.EndStruck, launchNo: r.getInt(), endNo: r.getInt()}
		d.doneUS, d.group, d.orderNo = r.getInt(), r.getInt(), r.getInt()
		rows = append(rows, d)
	}, qDone, at.doneUS, at.execution, micros(now.Add(-atLeast)), int64(most*sweepFactor))
	if err != nil {
		return 0, err
	}
	if err := t.lockRows(each(rows, func(d done) int64 { return d.group }), nil, lockOptions{skip: true}); err != nil {
		return 0, err
	}
	gone := map[int64]bool{} // groups that are no more
	var drop []int64
	for _, d := range rows {
		if len(drop) == most {
			break
		}
		ok, err := t.trim(d, now, gone)
		if err != nil {
			return 0, err
		}
		if ok {
			drop = append(drop, d.id)
		}
		at.doneUS, at.execution = d.doneUS, d.id
	}
	if len(drop) < most && len(rows) < most*sweepFactor { // the end; the next call starts over
		at.doneUS, at.execution = 0, 0
	}
	t.s.swept.set(at)
	if len(drop) == 0 {
		return 0, nil
	}
	return t.exec(qDropExecs, drop)
}

// trim reports whether an execution may go: the longest window that was ever
// asked of its group has passed since. It notes that in the group.
func (t *tx) trim(d done, now time.Time, gone map[int64]bool) (bool, error) {
	if d.group == 0 || gone[d.group] {
		return true, nil
	}
	e := t.groups[d.group]
	if e == nil {
		if _, err := t.reader.GroupByID(d.group); err == store.ErrNotFound { //nolint:errorlint // GroupByID returns it unwrapped.
			gone[d.group] = true
			return true, nil
		} else if err != nil {
			return false, err
		}
		return false, nil // somebody else's
	}
	if instant(d.doneUS).Add(e.g.MaxWindow).After(now) {
		return false, nil
	}
	g := cloneGroup(&e.g)
	g.TrimmedOrder = max(g.TrimmedOrder, d.orderNo)
	if !d.struck {
		g.TrimmedLaunches = max(g.TrimmedLaunches, d.launchNo)
		g.TrimmedReleases = max(g.TrimmedReleases, d.endNo)
		if at := instant(d.doneUS); at.After(g.TrimmedAt) {
			g.TrimmedAt = at
		}
	}
	return true, t.SaveGroup(g)
}

const (
	qGroupsAfter = `SELECT ` + groupCols + ` FROM grp WHERE id > $1::bigint ORDER BY id LIMIT $2::bigint`
	// A group is in use while any row speaks of it.
	qUnused = `SELECT ` + groupCols + ` FROM grp WHERE id = ANY($1::bigint[]) AND NOT active AND trimmed_us <= $2::bigint
AND NOT EXISTS (SELECT 1 FROM execution WHERE group_id = grp.id AND group_id > 0) AND NOT EXISTS (SELECT 1 FROM line WHERE group_id = grp.id)
AND NOT EXISTS (SELECT 1 FROM grp_event WHERE group_id = grp.id AND at_us >= $2::bigint)
AND NOT EXISTS (SELECT 1 FROM job WHERE job.key = grp.key) ORDER BY key LIMIT $3::bigint FOR UPDATE SKIP LOCKED`
	qDropGroups = `WITH gone AS (DELETE FROM grp WHERE id = ANY($1::bigint[]) AND NOT active
AND NOT EXISTS (SELECT 1 FROM line WHERE group_id = grp.id) AND NOT EXISTS (SELECT 1 FROM execution WHERE group_id = grp.id AND group_id > 0)
AND NOT EXISTS (SELECT 1 FROM job WHERE job.key = grp.key) RETURNING id),
events AS (DELETE FROM grp_event USING gone WHERE grp_event.group_id = gone.id) SELECT id FROM gone`
)

// DeleteGroups implements [store.Tx]. A group whose trimmed history is not yet
// older than before stays too: it may count for a longer window that is asked
// later. Events older than before go with their group.
func (t *tx) DeleteGroups(before time.Time, most int) (int, error) {
	at := t.s.swept.get()
	var ids, free, drop []int64
	err := t.rows(func(r *row) {
		if g := scanGroup(r); !active(g) {
			ids = append(ids, g.ID)
		} else {
			free = append(free, g.ID)
		}
	}, qGroupsAfter, at.group, int64(most*sweepFactor))
	if err != nil {
		return 0, err
	}
	if n := len(ids) + len(free); n < most*sweepFactor {
		at.group = 0
	} else {
		at.group = max(slices.Max(append(ids, free...)), at.group)
	}
	if len(ids) == 0 {
		t.s.swept.set(at)
		return 0, nil
	}
	if err := t.rows(func(r *row) { drop = append(drop, scanGroup(r).ID) }, qUnused, ids, micros(before), int64(most)); err != nil {
		return 0, err
	}
	if len(drop) == most { // there may be more among them
		at.group = t.s.swept.get().group
	}
	t.s.swept.set(at)
	if len(drop) == 0 {
		return 0, nil
	}
	t.write()
	// The lock is ours now: nobody can begin to use one that still is unused.
	var gone []int64
	err = t.rows(func(r *row) { gone = append(gone, r.getInt()) }, qDropGroups, drop)
	for _, id := range gone {
		if e := t.groups[id]; e != nil {
			delete(t.groups, id)
			delete(t.groupKeys, e.g.Key)
			delete(t.groupLines, id)
		}
	}
	return len(gone), err
}
