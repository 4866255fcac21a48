package sqlite

import (
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
)

// sweep is where the two sweeps below stopped: rows that must stay would
// otherwise be looked at again by every call.
type sweep struct {
	doneUS, execution int64
	group             int64
}

// sweepFactor is how many rows a sweep looks at for each that it may delete.
const sweepFactor = 4

// unneeded is no step of a flow that still runs.
const unneeded = ` (job.step = '' OR NOT EXISTS (SELECT 1 FROM job AS outer_flow WHERE outer_flow.id = job.root AND outer_flow.open = 1))`

var (
	qOldJobs    = sqlText(`SELECT seq FROM job WHERE completed_us > 0 AND completed_us < ? AND` + unneeded + ` ORDER BY completed_us LIMIT ?`)
	qOverdue    = sqlText(`SELECT seq FROM job WHERE delete_us > 0 AND delete_us <= ? AND` + unneeded + ` ORDER BY delete_us LIMIT ?`)
	qDropLog    = sqlText(`DELETE FROM log WHERE rowid IN (SELECT rowid FROM log WHERE job_seq = ? LIMIT ?)`)
	qDropRaw    = sqlText(`DELETE FROM log_raw WHERE job_seq = ?`)
	qDropText   = sqlText(`DELETE FROM stream WHERE job_seq = ?`)
	qDropTexts  = sqlText(`DELETE FROM stream_raw WHERE job_seq = ?`)
	qDropLabels = sqlText(`DELETE FROM label WHERE job_seq = ?`)
	qDropResult = sqlText(`DELETE FROM result WHERE seq = ?`)
	qDropBig    = sqlText(`DELETE FROM payload WHERE seq = ?`)
	qDropRun    = sqlText(`DELETE FROM flow_run WHERE job_seq = ?`)
	qDropSteps  = sqlText(`DELETE FROM flow_result WHERE job_seq = ?`)
	qDropJob    = sqlText(`DELETE FROM job WHERE seq = ?`)
)

// ints reads a column of numbers.
func ints(s *stmt) ([]int64, error) {
	var list []int64
	for s.next() {
		list = append(list, s.getInt())
	}
	return list, s.end()
}

// DeleteJobs implements [store.Tx].
func (t *tx) DeleteJobs(now, before time.Time, most int) (int, error) {
	seqs, err := ints(t.c.use(qOverdue).at(now).int(int64(most)))
	if err != nil {
		return 0, err
	}
	old, err := ints(t.c.use(qOldJobs).at(before).int(int64(most)))
	if err != nil {
		return 0, err
	}
	deleted := 0
	for _, seq := range append(seqs, old...) {
		n, err := t.deleteJob(seq, most-deleted)
		if err != nil {
			return deleted, err
		}
		if deleted += n; deleted >= most {
			break
		}
	}
	return deleted, nil
}

// deleteJob deletes a job with what belongs to it, its log first; a log that
// is longer than room leaves the job for the next call.
func (t *tx) deleteJob(seq int64, room int) (deleted int, err error) {
	t.wrote = true
	if deleted, err = t.c.use(qDropLog).int(seq).int(int64(room)).run(); err != nil || deleted >= room {
		return deleted, err
	}
	for _, q := range []*query{qDropRaw, qDropText, qDropTexts, qDropLabels, qDropResult, qDropBig, qDropRun, qDropSteps, qDropJob} {
		n, err := t.c.use(q).int(seq).run()
		if err != nil {
			return deleted, err
		}
		deleted += n
	}
	delete(t.jobRows, seq)
	delete(t.runRows, seq)
	return deleted, nil
}

var (
	qDone = sqlText(`SELECT id, ended, launch_no, end_no, done_us, released_us, group_id, order_no FROM execution
WHERE done_us > 0 AND (done_us, id) > (?, ?) AND done_us <= ? ORDER BY done_us, id LIMIT ?`)
	qDropExecution = sqlText(`DELETE FROM execution WHERE id = ?`)
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
// if launched at TrimmedAt: later than in truth, never earlier.
func (t *tx) DeleteExecutions(now time.Time, atLeast time.Duration, most int) (int, error) {
	rows, err := t.doneRows(micros(now.Add(-atLeast)), most*sweepFactor)
	if err != nil {
		return 0, err
	}
	deleted := 0
	for _, d := range rows {
		if deleted >= most {
			return deleted, nil
		}
		ok, err := t.deleteExecution(d, now)
		if err != nil {
			return deleted, err
		}
		if ok {
			deleted++
		}
		t.swept.doneUS, t.swept.execution = d.doneUS, d.id
	}
	if len(rows) < most*sweepFactor { // the end; the next call starts over
		t.swept.doneUS, t.swept.execution = 0, 0
	}
	return deleted, nil
}

func (t *tx) doneRows(cut int64, most int) ([]done, error) {
	var rows []done
	s := t.c.use(qDone).int(t.swept.doneUS).int(t.swept.execution).int(cut).int(int64(most))
	for s.next() {
		d := done{id: s.getInt(), struck: s.getEnd() == sluice.EndStruck, launchNo: s.getInt(), endNo: s.getInt(), doneUS: s.getInt()}
		s.skip()
		d.group, d.orderNo = s.getInt(), s.getInt()
		rows = append(rows, d)
	}
	return rows, s.end()
}

// deleteExecution deletes an execution if the longest window that was ever
// asked of its group has passed since, and notes it in the group.
func (t *tx) deleteExecution(d done, now time.Time) (bool, error) {
	if d.group != 0 {
		e, err := t.groupEntry(d.group)
		switch {
		case err == store.ErrNotFound: //nolint:errorlint // groupEntry returns it unwrapped.
		case err != nil:
			return false, err
		case instant(d.doneUS).Add(e.g.MaxWindow).After(now):
			return false, nil
		default:
			g := cloneGroup(&e.g)
			g.TrimmedOrder = max(g.TrimmedOrder, d.orderNo)
			if !d.struck {
				g.TrimmedLaunches = max(g.TrimmedLaunches, d.launchNo)
				g.TrimmedReleases = max(g.TrimmedReleases, d.endNo)
				if at := instant(d.doneUS); at.After(g.TrimmedAt) {
					g.TrimmedAt = at
				}
			}
			if err := t.SaveGroup(&g); err != nil {
				return false, err
			}
		}
	}
	t.wrote = true
	_, err := t.c.use(qDropExecution).int(d.id).run()
	return err == nil, err
}

var (
	qGroupsAfter = sqlText(`SELECT id FROM grp WHERE id > ? ORDER BY id LIMIT ?`)
	// A group is in use while any row speaks of it.
	qGroupUsed = sqlText(`SELECT EXISTS (SELECT 1 FROM execution WHERE group_id = ?1 AND group_id > 0)
OR EXISTS (SELECT 1 FROM line WHERE group_id = ?1)
OR EXISTS (SELECT 1 FROM grp_event WHERE group_id = ?1 AND at_us >= ?2)
OR EXISTS (SELECT 1 FROM job WHERE key_hash = ?3 AND key = ?4)`)
	qDropEvents = sqlText(`DELETE FROM grp_event WHERE group_id = ?`)
	qDropGroup  = sqlText(`DELETE FROM grp WHERE id = ?`)
)

// DeleteGroups implements [store.Tx]. A group whose trimmed history is not yet
// older than before stays too: it may count for a longer window that is asked
// later. Events older than before go with their group.
func (t *tx) DeleteGroups(before time.Time, most int) (int, error) {
	if err := t.flushGroups(); err != nil {
		return 0, err
	}
	ids, err := ints(t.c.use(qGroupsAfter).int(t.swept.group).int(int64(most * sweepFactor)))
	if err != nil {
		return 0, err
	}
	deleted := 0
	for _, id := range ids {
		if deleted >= most {
			return deleted, nil
		}
		t.swept.group = id
		e, err := t.groupEntry(id)
		if err != nil {
			return deleted, err
		}
		if active(&e.g) || e.g.TrimmedAt.After(before) {
			continue
		}
		used := true
		if _, err := t.c.use(qGroupUsed).int(id).at(before).int(keyHash(e.g.Key)).blob(e.g.Key).
			one(func(s *stmt) { used = s.getBool() }); err != nil {
			return deleted, err
		}
		if used {
			continue
		}
		if err := t.deleteGroup(e); err != nil {
			return deleted, err
		}
		deleted++
	}
	if len(ids) < most*sweepFactor {
		t.swept.group = 0
	}
	return deleted, nil
}

func (t *tx) deleteGroup(e *groupEntry) error {
	t.wrote = true
	id := e.g.ID
	for _, q := range []*query{qDropEvents, qDropGroup} {
		if _, err := t.c.use(q).int(id).run(); err != nil {
			return err
		}
	}
	delete(t.groups, id)
	delete(t.groupKeys, e.g.Key)
	t.dirtyGroup = slices.DeleteFunc(t.dirtyGroup, func(d *groupEntry) bool { return d == e })
	return nil
}
