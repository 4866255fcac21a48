package postgres

import (
	"slices"
	"strings"

	"sluice"
	"sluice/internal/store"
)

// wants are locks that an update needs and that were not to be had without
// waiting. A lane takes them before anything else, in one order everywhere:
// groups by their keys, lines by their ids, runs of flows by their jobs.
type wants struct {
	keys   []string
	groups []int64
	lines  []int64
	names  []lineName
	runs   []int64
}

func (w *wants) none() bool {
	return len(w.keys)+len(w.groups)+len(w.lines)+len(w.names)+len(w.runs) == 0
}

// add joins two sets of locks.
func (w *wants) add(o wants) {
	w.keys = union(w.keys, o.keys, strings.Compare)
	w.groups = union(w.groups, o.groups, byNumber)
	w.lines = union(w.lines, o.lines, byNumber)
	w.runs = union(w.runs, o.runs, byNumber)
	w.names = union(w.names, o.names, lineName.compare)
}

func byNumber(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func union[T comparable](a, b []T, by func(a, b T) int) []T {
	out := slices.Concat(a, b)
	slices.SortFunc(out, by)
	return slices.Compact(out)
}

const (
	qWaitMakeKeys = `INSERT INTO grp (id, key, active, taken, struck, launched, released, waiting, max_window_us, typical_us, max_waiting,
pruned_launches, pruned_releases, trimmed_launches, trimmed_releases, trimmed_order, trimmed_us, over_by, over_why,
paused, pause_until_us, pause_by, pause_why)
SELECT nextval('number'), key, false, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', '', false, 0, '', ''
FROM unnest($1::bytea[]) AS new (key) WHERE NOT EXISTS (SELECT 1 FROM grp WHERE grp.key = new.key) ORDER BY key ON CONFLICT (key) DO NOTHING`
	qWaitGroups = `SELECT ` + groupCols + ` FROM grp WHERE key = ANY($1::bytea[]) OR id = ANY($2::bigint[]) ORDER BY key FOR UPDATE`
	qWaitNames  = `INSERT INTO line (id, group_id, workspace, path, tag, queued, scheduled, head_neg, head_due_us, head_seq, head_n, head_window_us,
head_mode, next_due_us, turn, ready, blocked_by, wake_us)
SELECT nextval('number'), 0, workspace, path, tag, 0, 0, 0, 0, 0, 0, 0, '', 0, nextval('number'), false, '', 0
FROM unnest($1::text[], $2::text[], $3::text[]) AS new (workspace, path, tag)
WHERE NOT EXISTS (SELECT 1 FROM line WHERE group_id = 0 AND (line.workspace, line.path, line.tag) = (new.workspace, new.path, new.tag))
ORDER BY workspace, path, tag ON CONFLICT (group_id, workspace, path, tag) DO NOTHING RETURNING id`
	qWaitLines = `SELECT ` + lineCols + ` FROM line WHERE id = ANY($1::bigint[]) OR id IN (SELECT l.id FROM unnest($2::text[], $3::text[], $4::text[])
AS u (workspace, path, tag) JOIN line AS l ON l.group_id = 0 AND l.workspace = u.workspace AND l.path = u.path AND l.tag = u.tag)
ORDER BY id FOR UPDATE`
	qWaitRuns     = `SELECT ` + flowRunCols + ` FROM flow_run WHERE job_seq = ANY($1::bigint[]) ORDER BY job_seq FOR UPDATE`
	qLinesOfWaits = `SELECT ` + lineCols + ` FROM line WHERE group_id IN (SELECT id FROM grp WHERE key = ANY($1::bytea[]) OR id = ANY($2::bigint[]))`
)

// lockWanted adds to the beginning of a lane's transaction the locks that it
// wants; there it waits for them.
func (t *tx) lockWanted(p *pipe) {
	w := &t.wants
	if w.none() {
		return
	}
	keys, names := each(w.keys, raw), [3][]string{}
	for _, n := range w.names {
		names[0], names[1], names[2] = append(names[0], n.workspace), append(names[1], n.path), append(names[2], n.tag)
	}
	if len(keys) > 0 {
		p.count(func(n int) { t.wroteAny = t.wroteAny || n > 0 }, qWaitMakeKeys, keys)
	}
	var groups []int64
	if len(keys)+len(w.groups) > 0 {
		p.add(func(r *row) { groups = append(groups, t.keepGroup(scanGroup(r)).g.ID) }, qWaitGroups, keys, w.groups)
	}
	made := map[int64]bool{}
	if len(w.names) > 0 {
		p.add(func(r *row) { made[r.getInt()], t.wroteAny = true, true }, qWaitNames, names[0], names[1], names[2])
	}
	if len(w.names)+len(w.lines) > 0 {
		p.add(func(r *row) {
			e := t.keepLine(scanLine(r))
			e.locked, e.unasked = true, made[e.l.ID]
		}, qWaitLines, w.lines, names[0], names[1], names[2])
	}
	if len(w.runs) > 0 {
		p.add(func(r *row) { t.keepRun(scanRun(r)).locked = true }, qWaitRuns, w.runs)
	}
	var lines []*store.Line
	if len(keys)+len(w.groups) > 0 {
		p.add(func(r *row) { lines = append(lines, scanLine(r)) }, qLinesOfWaits, keys, w.groups)
	}
	p.after = append(p.after, func() { t.keepLinesOf(groups, lines); t.wants = wants{} })
}

// lockOptions say how rows are locked.
type lockOptions struct {
	skip  bool       // leave out what somebody else has locked
	most  int        // so many groups, and as many lines, the first of those that nobody else has locked; 0: all
	heads int        // first jobs to read of each line
	known []int64    // lines that are locked already, of which to read them too
	names []lineName // lines that are looked for, without locks
	flows []string   // jobs of flows that are read, with their runs locked as far as nobody else has
}

// sees returns what must be sent before, so that what is read is seen as it is.
func (o *lockOptions) sees() kinds {
	switch {
	case o.heads > 0:
		return lineRows | jobRows | standRows
	case len(o.flows) > 0:
		return jobRows
	}
	return 0
}

const (
	qTryGroups = `SELECT ` + groupCols + ` FROM unnest($1::bigint[]) WITH ORDINALITY AS u (wanted, n) JOIN grp ON grp.id = u.wanted
ORDER BY u.n LIMIT $2::bigint FOR UPDATE OF grp SKIP LOCKED`
	qGroupsHere = `SELECT id FROM grp WHERE id = ANY($1::bigint[])`
	qTryLines   = `SELECT ` + lineCols + ` FROM unnest($1::bigint[]) WITH ORDINALITY AS u (wanted, n) JOIN line ON line.id = u.wanted
ORDER BY u.n LIMIT $2::bigint FOR UPDATE OF line SKIP LOCKED`
	qLinesHere = `SELECT id FROM line WHERE id = ANY($1::bigint[])`
	// Of what others have locked nothing more is read: a row that this transaction
	// has locked bears its number, as one that it has written does.
	qLinesOfLocked = `SELECT ` + lineCols + `, grp.id FROM grp LEFT JOIN line ON line.group_id = grp.id
WHERE grp.id = ANY($1::bigint[]) AND pg_current_xact_id()::xid IN (grp.xmax, grp.xmin)`
	qHeadsOf = `SELECT st.line_id, ` + jobCols + ` FROM (
SELECT line.id FROM grp JOIN line ON line.group_id = grp.id WHERE grp.id = ANY($1::bigint[]) AND pg_current_xact_id()::xid IN (grp.xmax, grp.xmin)
UNION SELECT id FROM line WHERE id = ANY($2::bigint[]) AND pg_current_xact_id()::xid IN (xmax, xmin)
UNION SELECT unnest($4::bigint[])) AS mine CROSS JOIN LATERAL (SELECT * FROM stand WHERE stand.line_id = mine.id
ORDER BY neg, due_us, job_seq LIMIT $3::bigint) AS st JOIN job ON job.seq = st.job_seq JOIN job_state ON job_state.seq = job.seq
ORDER BY st.line_id, st.neg, st.due_us, st.job_seq`
)

// lockRows locks groups, and lines by themselves, without waiting, and reads
// the lines of the groups and first jobs of all lines; one round trip. A row
// that somebody else has locked ends the update, unless it may be skipped; one
// that is gone does not.
func (t *tx) lockRows(groupIDs, lineIDs []int64, o lockOptions) error {
	groupIDs, lineIDs = missing(groupIDs, t.groups, nil), missing(lineIDs, t.lines, func(e *lineEntry) bool { return !e.locked })
	if len(groupIDs)+len(lineIDs)+len(o.known)+len(o.flows)+len(o.names) == 0 {
		return t.begin()
	}
	var groups, groupsHere, linesHere []int64
	var lines []*store.Line
	heads, mine := map[int64][]*sluice.Job{}, map[int64]bool{}
	most := any(nil) // without a limit
	if o.most > 0 {
		most = int64(o.most)
	}
	p := &pipe{}
	if len(groupIDs) > 0 {
		p.add(func(r *row) { groups = append(groups, t.keepGroup(scanGroup(r)).g.ID) }, qTryGroups, groupIDs, most)
		if !o.skip {
			p.add(func(r *row) { groupsHere = append(groupsHere, r.getInt()) }, qGroupsHere, groupIDs)
		}
		p.add(func(r *row) {
			if l := scanLine(r); l.ID != 0 {
				lines = append(lines, l)
			}
			mine[r.getInt()] = true
		}, qLinesOfLocked, groupIDs)
	}
	if len(lineIDs) > 0 {
		p.add(func(r *row) { t.keepLine(scanLine(r)).locked = true }, qTryLines, lineIDs, most)
		if !o.skip {
			p.add(func(r *row) { linesHere = append(linesHere, r.getInt()) }, qLinesHere, lineIDs)
		}
	}
	if len(groupIDs)+len(lineIDs)+len(o.known) == 0 {
		o.heads = 0
	}
	if o.heads > 0 {
		p.add(func(r *row) {
			line := r.getInt()
			heads[line] = append(heads[line], scanJob(r))
		}, qHeadsOf, groupIDs, lineIDs, int64(o.heads), o.known)
	}
	t.lookFor(p, o.names)
	flows := t.lockFlows(p, o.flows)
	t.draw(p)
	if err := t.send(p, o.sees()); err != nil {
		return err
	}
	flows()
	t.keepLinesOf(groups, lines)
	for _, id := range groups {
		if !mine[id] {
			t.lost = sluice.Errorf(sluice.CodeInternal, "group %d is locked, but does not say by whom", id)
			return t.lost
		}
		for _, e := range t.groupLines[id] {
			o.known = append(o.known, e.l.ID)
		}
	}
	if o.heads > 0 {
		t.keepHeads(append(o.known, lineIDs...), heads, o.heads)
	}
	if o.skip { // one that is gone counts, too; it is not looked for again
		t.skipped = t.skipped || len(except(groupIDs, t.groups))+len(except(lineIDs, t.lines)) > 0
		return nil
	}
	left := wants{groups: except(groupsHere, t.groups), lines: except(linesHere, t.lines)}
	if left.none() {
		return nil
	}
	t.wants.add(left)
	return t.blocked()
}

// missing returns the distinct ids that are not in a map, or that still lack
// something there, in the order of ids.
func missing[E any](ids []int64, in map[int64]E, lacks func(E) bool) []int64 {
	var out []int64
	seen := make(map[int64]bool, len(ids))
	for _, id := range ids {
		if e, known := in[id]; id != 0 && !seen[id] && (!known || lacks != nil && lacks(e)) {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

func except[E any](ids []int64, in map[int64]E) (out []int64) {
	for _, id := range ids {
		if _, known := in[id]; !known {
			out = append(out, id)
		}
	}
	return out
}
