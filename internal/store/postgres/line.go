package postgres

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// lineEntry is a line that this transaction has locked, or of a group that it
// has.
type lineEntry struct {
	l       store.Line
	locked  bool // by itself
	unasked bool // made together with its lock, and not asked for yet
	dirty   bool
	fresh   bool // not inserted yet
	gone    bool // to be deleted, or deleted

	heads []int64 // its first jobs in order, as far as they are known
	whole bool    // heads are all that stand in it
	left  bool    // the job named as its first has left
}

// lineName is what a line is found by.
type lineName struct {
	group                int64
	workspace, path, tag string
}

func (n lineName) compare(o lineName) int {
	return cmp.Or(cmp.Compare(n.group, o.group), cmp.Compare(n.workspace, o.workspace), cmp.Compare(n.path, o.path), cmp.Compare(n.tag, o.tag))
}

// named makes a line's name; a group's line has no workspace and path.
func named(group int64, workspace, path, tag string) lineName {
	if group != 0 {
		workspace, path = "", ""
	}
	return lineName{group, workspace, path, tag}
}

func nameOf(l *store.Line) lineName { return lineName{l.GroupID, l.Workspace, l.Path, l.Tag} }

const lineCols = `line.id, line.queued, line.scheduled, line.head_neg, line.head_due_us, line.head_seq, line.head_n, line.head_window_us,
line.head_mode, line.next_due_us, line.turn, line.ready, line.blocked_by, line.wake_us, line.group_id, line.workspace, line.path, line.tag`

func scanLine(r *row) *store.Line {
	l := &store.Line{ID: r.getInt(), Queued: r.getInt(), Scheduled: r.getInt()}
	l.Head = sluice.Rank{Priority: -int(r.getInt()), Due: r.getAt(), Seq: r.getInt()}
	l.HeadLimit = limit.Limit{N: int(r.getInt()), Window: r.getDur(), Mode: limit.Mode(r.getStr())}
	l.NextDue, l.Turn, l.Ready, l.BlockedBy, l.WakeAt = r.getAt(), r.getInt(), r.getBool(), r.getStr(), r.getAt()
	l.GroupID, l.Workspace, l.Path, l.Tag = r.getInt(), r.getStr(), r.getStr(), r.getStr()
	return l
}

const (
	qLineNamed = `SELECT ` + lineCols + ` FROM line WHERE group_id = $1::bigint AND workspace = $2::text AND path = $3::text AND tag = $4::text`
	qLinesOf   = `SELECT ` + lineCols + ` FROM line WHERE group_id = $1::bigint ORDER BY workspace, path, tag`
)

// LinesOf implements [store.Reader].
func (r *reader) LinesOf(groupID int64) (list []*store.Line, err error) {
	err = r.rows(func(w *row) { list = append(list, scanLine(w)) }, qLinesOf, groupID)
	return list, err
}

// LinesOf implements [store.Reader].
func (t *tx) LinesOf(groupID int64) ([]*store.Line, error) {
	entries, known := t.groupLines[groupID]
	if !known {
		return t.reader.LinesOf(groupID)
	}
	list := make([]*store.Line, len(entries))
	for i, e := range entries {
		l := e.l
		list[i] = &l
	}
	return list, nil
}

// LineFor implements [store.Reader].
func (r *reader) LineFor(groupID int64, workspace, path, tag string) (l *store.Line, err error) {
	n := named(groupID, workspace, path, tag)
	err = r.single(func(w *row) { l = scanLine(w) }, qLineNamed, n.group, n.workspace, n.path, n.tag)
	return l, err
}

// LineFor implements [store.Reader].
func (t *tx) LineFor(groupID int64, workspace, path, tag string) (*store.Line, error) {
	n := named(groupID, workspace, path, tag)
	if e := t.lineNames[n]; e != nil && !e.gone {
		l := e.l
		return &l, nil
	}
	if _, known := t.groupLines[groupID]; known && groupID != 0 {
		return nil, store.ErrNotFound
	}
	return t.reader.LineFor(groupID, workspace, path, tag)
}

// keepLine takes over a line as it is stored, unless it is known already.
func (t *tx) keepLine(l *store.Line) *lineEntry {
	if e := t.lines[l.ID]; e != nil {
		return e
	}
	e := &lineEntry{l: *l}
	t.lines[l.ID] = e
	t.lineNames[nameOf(l)] = e
	return e
}

// keepLinesOf takes over all lines of groups that were just locked.
func (t *tx) keepLinesOf(groups []int64, lines []*store.Line) {
	for _, id := range groups {
		if t.groupLines[id] == nil {
			t.groupLines[id] = []*lineEntry{}
		}
	}
	for _, l := range lines {
		if of, locked := t.groupLines[l.GroupID]; locked && slices.Contains(groups, l.GroupID) {
			if e := t.keepLine(l); !e.gone && !slices.Contains(of, e) {
				t.groupLines[l.GroupID] = append(of, e)
			}
		}
	}
}

// keepHeads takes over the first jobs of lines that are locked, of which `most`
// were asked for.
func (t *tx) keepHeads(lines []int64, heads map[int64][]*sluice.Job, most int) {
	for _, id := range lines {
		e := t.lines[id]
		if e == nil || e.gone || e.fresh || e.heads != nil || e.whole {
			continue
		}
		jobs := heads[id]
		if len(jobs) < most && int64(len(jobs)) < e.l.Queued {
			continue // they were not read
		}
		e.whole = len(jobs) < most
		for _, j := range jobs {
			t.keepJob(j).safe = true
			e.heads = append(e.heads, j.Seq)
		}
	}
}

// lineEntry returns a line, locked.
func (t *tx) lineEntry(id int64) (*lineEntry, error) {
	if t.lines[id] == nil {
		if err := t.lockRows(nil, []int64{id}, lockOptions{}); err != nil {
			return nil, err
		}
	}
	e := t.lines[id]
	if e == nil || e.gone {
		return nil, store.ErrNotFound
	}
	e.unasked = false
	return e, nil
}

// LockLine implements [store.Tx].
func (t *tx) LockLine(id int64) (*store.Line, error) {
	e, err := t.lineEntry(id)
	if err != nil {
		return nil, err
	}
	l := e.l
	return &l, nil
}

const (
	qTryName = `SELECT ` + lineCols + ` FROM line WHERE group_id = $1::bigint AND workspace = $2::text AND path = $3::text AND tag = $4::text
FOR UPDATE SKIP LOCKED`
	qMakeName = `INSERT INTO line (group_id, workspace, path, tag, id, turn, queued, scheduled, head_neg, head_due_us, head_seq, head_n,
head_window_us, head_mode, next_due_us, ready, blocked_by, wake_us)
SELECT $1::bigint, $2::text, $3::text, $4::text, $5::bigint, $6::bigint, 0, 0, 0, 0, 0, 0, 0, '', 0, false, '', 0
WHERE NOT EXISTS (SELECT 1 FROM line WHERE group_id = $1::bigint AND workspace = $2::text AND path = $3::text AND tag = $4::text)
ON CONFLICT (group_id, workspace, path, tag) DO NOTHING RETURNING id`
)

// EnsureLine implements [store.Tx]. A new line of a group that is locked is
// inserted with the rest, and so is one that was looked for before; any other at
// once, since somebody else may make it too.
func (t *tx) EnsureLine(groupID int64, workspace, path, tag string) (*store.Line, error) {
	n := named(groupID, workspace, path, tag)
	if e := t.lineNames[n]; e != nil && !e.gone {
		e.unasked = false
		l := e.l
		return &l, nil
	}
	if err := t.stock(2); err != nil {
		return nil, err
	}
	id, _ := t.number() // both are in stock
	turn, _ := t.number()
	l := &store.Line{ID: id, GroupID: groupID, Workspace: n.workspace, Path: n.path, Tag: tag, Turn: turn}
	if _, locked := t.groupLines[groupID]; locked {
		t.groupLines[groupID] = append(t.groupLines[groupID], t.newLine(l))
		return l, nil
	}
	if t.absent[n] && !t.careful {
		t.newLine(l).locked = true
		return l, nil
	}
	if t.step != (lineName{}) && groupID == 0 {
		t.s.memory.follow(t.step, n)
	}
	var found *lineEntry
	p := &pipe{}
	p.add(func(r *row) { found = t.keepLine(scanLine(r)) }, qTryName, n.group, n.workspace, n.path, n.tag)
	p.add(func(r *row) {
		r.skip()
		t.write()
		found = t.keepLine(l)
		found.whole = true
	}, qMakeName, n.group, n.workspace, n.path, n.tag, id, turn)
	t.draw(p)
	if err := t.send(p, lineRows); err != nil {
		return nil, err
	}
	if found == nil {
		t.wants.names = append(t.wants.names, n)
		return nil, t.blocked()
	}
	found.locked = true
	c := found.l
	return &c, nil
}

// newLine takes over a line that is to be inserted.
func (t *tx) newLine(l *store.Line) *lineEntry {
	t.write()
	e := t.keepLine(l)
	e.fresh, e.dirty, e.whole = true, true, true
	t.hold.lines = append(t.hold.lines, e)
	return e
}

func (t *tx) changedLine(e *lineEntry) {
	t.write()
	if !e.dirty {
		e.dirty = true
		t.hold.lines = append(t.hold.lines, e)
	}
}

// SaveLine implements [store.Tx].
func (t *tx) SaveLine(l *store.Line) error {
	e, err := t.lineEntry(l.ID)
	if err != nil {
		return err
	}
	n := nameOf(&e.l)
	t.agenda.moved(&t.agenda.wake, micros(e.l.WakeAt), micros(l.WakeAt))
	e.left = e.left && l.Head.Seq == e.l.Head.Seq
	e.l = *l
	e.l.Head.Due, e.l.NextDue, e.l.WakeAt = instant(micros(l.Head.Due)), instant(micros(l.NextDue)), instant(micros(l.WakeAt))
	e.l.GroupID, e.l.Workspace, e.l.Path, e.l.Tag = n.group, n.workspace, n.path, n.tag
	t.changedLine(e)
	return nil
}

// DeleteLine implements [store.Tx].
func (t *tx) DeleteLine(id int64) error {
	e, err := t.lineEntry(id)
	if err != nil {
		return err
	}
	t.agenda.moved(&t.agenda.wake, micros(e.l.WakeAt), 0)
	e.gone = true
	t.changedLine(e)
	if of, known := t.groupLines[e.l.GroupID]; known {
		t.groupLines[e.l.GroupID] = slices.DeleteFunc(of, func(x *lineEntry) bool { return x == e })
	}
	return nil
}

const (
	qDropLines = `DELETE FROM line WHERE id = ANY($1::bigint[])`
	lineUnnest = `unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
$9::text[], $10::bigint[], $11::bigint[], $12::boolean[], $13::text[], $14::bigint[]`
	lineUnnested = `AS u (id, queued, scheduled, head_neg, head_due_us, head_seq, head_n, head_window_us, head_mode, next_due_us, turn, ready,
blocked_by, wake_us`
	qSaveLines = `UPDATE line SET queued = u.queued, scheduled = u.scheduled, head_neg = u.head_neg, head_due_us = u.head_due_us,
head_seq = u.head_seq, head_n = u.head_n, head_window_us = u.head_window_us, head_mode = u.head_mode, next_due_us = u.next_due_us,
turn = u.turn, ready = u.ready, blocked_by = u.blocked_by, wake_us = u.wake_us
FROM ` + lineUnnest + `) ` + lineUnnested + `) WHERE line.id = u.id`
	qMakeLines = `INSERT INTO line (id, queued, scheduled, head_neg, head_due_us, head_seq, head_n, head_window_us, head_mode, next_due_us, turn,
ready, blocked_by, wake_us, group_id, workspace, path, tag)
SELECT * FROM ` + lineUnnest + `, $15::bigint[], $16::text[], $17::text[], $18::text[])`
)

// flushLines writes lines, those that go first, so that their names are free.
func (t *tx) flushLines(p *pipe) {
	if len(t.hold.lines) == 0 {
		return
	}
	var drop []int64
	var made, saved []*lineEntry
	for _, e := range t.hold.lines {
		switch {
		case e.gone:
			delete(t.lines, e.l.ID)
			if n := nameOf(&e.l); t.lineNames[n] == e {
				delete(t.lineNames, n)
			}
			if !e.fresh {
				drop = append(drop, e.l.ID)
				t.dropped[e.l.ID] = true
			}
		case e.fresh:
			made = append(made, e)
		default:
			saved = append(saved, e)
		}
		e.dirty, e.fresh = false, false
	}
	t.hold.lines = nil
	t.dead += int64(len(drop) + len(saved))
	if len(drop) > 0 {
		slices.Sort(drop)
		p.add(nil, qDropLines, drop)
	}
	if len(saved) > 0 {
		slices.SortFunc(saved, func(a, b *lineEntry) int { return byNumber(a.l.ID, b.l.ID) })
		p.add(nil, qSaveLines, lineArgs(saved)...)
	}
	if len(made) > 0 { // in the order of names, for which two that make the same ones may wait
		slices.SortFunc(made, func(a, b *lineEntry) int { return nameOf(&a.l).compare(nameOf(&b.l)) })
		p.add(nil, qMakeLines, append(lineArgs(made),
			each(made, func(e *lineEntry) int64 { return e.l.GroupID }), each(made, func(e *lineEntry) string { return e.l.Workspace }),
			each(made, func(e *lineEntry) string { return e.l.Path }), each(made, func(e *lineEntry) string { return e.l.Tag }))...)
	}
}

// lineArgs are the columns of lines that change.
func lineArgs(list []*lineEntry) []any {
	n := func(of func(*store.Line) int64) []int64 {
		return each(list, func(e *lineEntry) int64 { return of(&e.l) })
	}
	return []any{
		n(func(l *store.Line) int64 { return l.ID }), n(func(l *store.Line) int64 { return l.Queued }),
		n(func(l *store.Line) int64 { return l.Scheduled }), n(func(l *store.Line) int64 { return int64(-l.Head.Priority) }),
		n(func(l *store.Line) int64 { return micros(l.Head.Due) }), n(func(l *store.Line) int64 { return l.Head.Seq }),
		n(func(l *store.Line) int64 { return int64(l.HeadLimit.N) }), n(func(l *store.Line) int64 { return dur(l.HeadLimit.Window) }),
		each(list, func(e *lineEntry) string { return string(e.l.HeadLimit.Mode) }), n(func(l *store.Line) int64 { return micros(l.NextDue) }),
		n(func(l *store.Line) int64 { return l.Turn }), each(list, func(e *lineEntry) bool { return e.l.Ready }),
		each(list, func(e *lineEntry) string { return e.l.BlockedBy }), n(func(l *store.Line) int64 { return micros(l.WakeAt) }),
	}
}

// dropUnasked deletes lines that were made together with their lock and that
// nobody asked for then.
func (t *tx) dropUnasked() {
	for _, e := range t.lines {
		if e.unasked && !e.gone {
			e.gone = true
			t.changedLine(e)
		}
	}
}

// NextTurn implements [store.Tx].
func (t *tx) NextTurn() (int64, error) { return t.number() }

// qReady jumps from one list of blocking tags to the next.
const qReady = `WITH RECURSIVE lists (tag, list) AS (
  SELECT tag COLLATE "C", ''::text COLLATE "C" FROM unnest($1::text[]) AS t (tag)
  UNION ALL
  SELECT tag, (SELECT blocked_by FROM line WHERE ready AND line.tag = lists.tag AND blocked_by > lists.list ORDER BY blocked_by LIMIT 1)
  FROM lists WHERE list IS NOT NULL)
SELECT found.id, found.group_id, found.head_neg, found.turn FROM lists CROSS JOIN LATERAL (
  SELECT id, group_id, head_neg, turn FROM line WHERE ready AND line.tag = lists.tag AND blocked_by = lists.list
  ORDER BY head_neg, turn LIMIT $2::bigint) AS found
WHERE list IS NOT NULL AND NOT string_to_array(list, E'\n') && $1::text[]
ORDER BY found.head_neg, found.turn LIMIT $2::bigint`

// candidate is a line that may give work, as it looked before it was locked.
type candidate struct{ id, group, neg, turn int64 }

func scanCandidate(r *row) candidate {
	return candidate{r.getInt(), r.getInt(), r.getInt(), r.getInt()}
}

func (t *tx) candidates(sql string, see kinds, args ...any) (list []candidate, err error) {
	p := &pipe{}
	p.add(func(r *row) { list = append(list, scanCandidate(r)) }, sql, args...)
	return list, t.send(p, see)
}

// ReadyLines implements [store.Tx]. It leaves out lines that another
// transaction has locked: that one gives the work, or the lines are looked at
// again soon.
func (t *tx) ReadyLines(tags []string, most int) ([]*store.Line, error) {
	tags = unique(tags)
	if t.s.looks.known(tags) && !t.readied(tags) {
		return nil, nil
	}
	for ask := t.s.wide(most); ; ask *= 4 {
		ask = min(ask, max(most, maxAsk))
		found, err := t.ready(tags, ask)
		if err != nil || len(found) == 0 {
			t.looked = t.looked || err == nil
			return nil, err
		}
		before := len(t.lines)
		if err := t.lockCandidates(found, most, most/min(len(found), most)+1); err != nil {
			return nil, err
		}
		var list []*store.Line
		for _, c := range found {
			if e := t.lines[c.id]; e != nil && !e.gone && offers(&e.l, tags) {
				l := e.l
				list = append(list, &l)
			}
		}
		t.s.crowded.Store(len(list) < min(most, len(found)))
		if len(list) == 0 && (len(found) == ask && ask < maxAsk || len(t.lines) > before) {
			continue // all of them were somebody else's, or have been served meanwhile
		}
		if len(list) == 0 && t.skipped {
			t.relook.add(t.foreign(tags, found))
		} else {
			t.looked = true
		}
		slices.SortFunc(list, func(a, b *store.Line) int {
			return cmp.Or(cmp.Compare(b.Head.Priority, a.Head.Priority), cmp.Compare(a.Turn, b.Turn))
		})
		return list[:min(len(list), most)], nil
	}
}

// readied reports whether this transaction has made a line ready for tags, or had one that was.
func (t *tx) readied(tags []string) bool {
	for _, e := range t.lines {
		if !e.gone && e.l.Ready && slices.Contains(tags, e.l.Tag) {
			return true
		}
	}
	return false
}

// foreign is what others have locked of lines that were found.
func (t *tx) foreign(tags []string, found []candidate) foreign {
	f := foreign{lists: [][]string{tags}}
	for _, c := range found {
		switch {
		case c.group != 0 && t.groups[c.group] == nil:
			f.groups = append(f.groups, c.group)
		case c.group == 0 && t.lines[c.id] == nil:
			f.lines = append(f.lines, c.id)
		}
	}
	return f
}

// maxAsk bounds how many lines are looked at for some that nobody has locked.
const maxAsk = 4096

// lockCandidates locks lines or their groups, the first `most` of those that
// nobody else has locked, and reads some of their first jobs.
func (t *tx) lockCandidates(list []candidate, most, heads int) error {
	var groups, lines []int64
	for _, c := range list {
		if c.group != 0 {
			groups = append(groups, c.group)
		} else {
			lines = append(lines, c.id)
		}
	}
	o := lockOptions{skip: true, most: most, heads: max(heads, 2)}
	for _, c := range list {
		if e := t.lines[c.id]; e != nil && !e.gone && !e.fresh && e.heads == nil && !e.whole {
			o.known = append(o.known, c.id)
		}
	}
	return t.lockRows(groups, lines, o)
}

const qDue = `SELECT id, group_id, head_neg, turn FROM line WHERE wake_us > 0 AND wake_us <= $1::bigint ORDER BY wake_us LIMIT $2::bigint`

// DueLines implements [store.Tx]. It leaves out lines as ReadyLines does.
func (t *tx) DueLines(now time.Time, most int) ([]*store.Line, error) {
	if err := t.planned(); err != nil {
		return nil, err
	}
	if t.agenda.wake == 0 || t.agenda.wake > micros(now) {
		return nil, nil
	}
	t.agenda.known = false
	found, err := t.candidates(qDue, lineRows, micros(now), int64(most))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if err := t.lockCandidates(found, most, 2); err != nil {
		return nil, err
	}
	var list []*store.Line
	for _, c := range found {
		if e := t.lines[c.id]; e != nil && !e.gone && !e.l.WakeAt.IsZero() && !e.l.WakeAt.After(now) {
			l := e.l
			list = append(list, &l)
		}
	}
	slices.SortStableFunc(list, func(a, b *store.Line) int { return a.WakeAt.Compare(b.WakeAt) })
	return list, nil
}

const qLineCounts = `SELECT line.tag, line.group_id > 0 AS in_group,
  coalesce(grp.paused AND (grp.pause_until_us = 0 OR grp.pause_until_us > $1::bigint), false) AS held_back, line.ready,
  sum(line.queued)::bigint, sum(line.scheduled)::bigint, coalesce(min(line.head_due_us) FILTER (WHERE line.head_seq > 0), 0)
FROM line LEFT JOIN grp ON grp.id = line.group_id GROUP BY line.tag, in_group, held_back, line.ready`

// LineCounts implements [store.Reader].
func (r *reader) LineCounts() (list []store.LineCount, err error) { return r.lineCounts(r.Now()) }

// LineCounts implements [store.Reader].
func (t *tx) LineCounts() ([]store.LineCount, error) { return t.lineCounts(t.Now()) }

func (r *reader) lineCounts(now time.Time) (list []store.LineCount, err error) {
	err = r.rows(func(w *row) {
		list = append(list, store.LineCount{
			Tag: w.getStr(), InGroup: w.getBool(), Paused: w.getBool(), Ready: w.getBool(),
			Queued: w.getInt(), Scheduled: w.getInt(), OldestDue: w.getAt(),
		})
	}, qLineCounts, micros(now))
	return list, err
}

// has reports whether a list of tags, each followed by a line feed, holds one
// of tags.
func has(list string, tags []string) bool {
	for list != "" {
		tag, rest, _ := strings.Cut(list, "\n")
		if slices.Contains(tags, tag) {
			return true
		}
		list = rest
	}
	return false
}

// unique returns the distinct strings of a list, sorted; nil if there are none.
func unique(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}
