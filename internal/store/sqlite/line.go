package sqlite

import (
	"cmp"
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// lineEntry is a line's row as the writer knows it.
type lineEntry struct {
	l, stored store.Line
	dirty     bool
	fresh     bool // not inserted yet
	gone      bool // to be deleted, or deleted
}

// lineName is what a line is found by.
type lineName struct {
	group                int64
	workspace, path, tag string
}

// named makes a line's name; a group's line has no workspace and path.
func named(group int64, workspace, path, tag string) lineName {
	if group != 0 {
		workspace, path = "", ""
	}
	return lineName{group, workspace, path, tag}
}

func nameOf(l *store.Line) lineName { return lineName{l.GroupID, l.Workspace, l.Path, l.Tag} }

const lineCols = `id, queued, scheduled, head_neg, head_due_us, head_seq, head_n, head_window_us, head_mode, next_due_us, turn,
ready, blocked_by, wake_us, group_id, workspace, path, tag`

func scanLine(s *stmt, l *store.Line) {
	l.ID, l.Queued, l.Scheduled = s.getInt(), s.getInt(), s.getInt()
	l.Head = sluice.Rank{Priority: -int(s.getInt()), Due: s.getAt(), Seq: s.getInt()}
	l.HeadLimit = limit.Limit{N: int(s.getInt()), Window: s.getDur(), Mode: limit.Mode(s.getStr())}
	l.NextDue, l.Turn, l.Ready, l.BlockedBy, l.WakeAt = s.getAt(), s.getInt(), s.getBool(), s.getStr(), s.getAt()
	l.GroupID, l.Workspace, l.Path, l.Tag = s.getInt(), s.getStr(), s.getStr(), s.getStr()
}

func (r *reader) lines(s *stmt) ([]*store.Line, error) {
	var list []*store.Line
	for s.next() {
		l := new(store.Line)
		scanLine(s, l)
		list = append(list, l)
	}
	return list, s.end()
}

var (
	qLine      = sqlText(`SELECT ` + lineCols + ` FROM line WHERE id = ?`)
	qLineNamed = sqlText(`SELECT ` + lineCols + ` FROM line WHERE group_id = ? AND workspace = ? AND path = ? AND tag = ?`)
	qLinesOf   = sqlText(`SELECT ` + lineCols + ` FROM line WHERE group_id = ? ORDER BY workspace, path, tag`)
)

// LinesOf implements [store.Reader].
func (r *reader) LinesOf(groupID int64) ([]*store.Line, error) {
	return r.lines(r.c.use(qLinesOf).int(groupID))
}

// LinesOf implements [store.Reader].
func (t *tx) LinesOf(groupID int64) ([]*store.Line, error) {
	entries, known := t.groupLines[groupID]
	if !known || groupID == 0 {
		if err := t.flushLines(); err != nil {
			return nil, err
		}
		list, err := t.linesKept(t.c.use(qLinesOf).int(groupID))
		if err != nil || groupID == 0 {
			return list, err
		}
		entries = make([]*lineEntry, len(list))
		for i, l := range list {
			entries[i] = t.lines[l.ID]
		}
		t.groupLines[groupID] = entries
		return list, nil
	}
	list := make([]*store.Line, len(entries))
	for i, e := range entries {
		l := e.l
		list[i] = &l
	}
	return list, nil
}

// LineFor implements [store.Reader].
func (r *reader) LineFor(groupID int64, workspace, path, tag string) (*store.Line, error) {
	return r.named(named(groupID, workspace, path, tag))
}

func (r *reader) named(n lineName) (*store.Line, error) {
	list, err := r.lines(r.c.use(qLineNamed).int(n.group).str(n.workspace).str(n.path).str(n.tag))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return list[0], nil
}

// LineFor implements [store.Reader].
func (t *tx) LineFor(groupID int64, workspace, path, tag string) (*store.Line, error) {
	return t.named(named(groupID, workspace, path, tag))
}

func (t *tx) named(n lineName) (*store.Line, error) {
	if e := t.lineNames[n]; e != nil {
		if e.gone {
			return nil, store.ErrNotFound
		}
		l := e.l
		return &l, nil
	}
	if _, known := t.groupLines[n.group]; known {
		return nil, store.ErrNotFound
	}
	l, err := t.reader.named(n)
	if err != nil {
		return nil, err
	}
	t.keepLine(l)
	return l, nil
}

var qLineCounts = coldText(`SELECT line.tag, line.group_id > 0 AS in_group,
  coalesce(grp.paused = 1 AND (grp.pause_until_us = 0 OR grp.pause_until_us > ?), 0) AS held_back, line.ready,
  sum(line.queued), sum(line.scheduled), coalesce(min(iif(line.head_seq > 0, line.head_due_us, NULL)), 0)
FROM line LEFT JOIN grp ON grp.id = line.group_id GROUP BY line.tag, in_group, held_back, line.ready`)

// LineCounts implements [store.Reader].
func (r *reader) LineCounts() ([]store.LineCount, error) {
	var list []store.LineCount
	s := r.c.use(qLineCounts).at(r.Now())
	for s.next() {
		list = append(list, store.LineCount{
			Tag: s.getStr(), InGroup: s.getBool(), Paused: s.getBool(), Ready: s.getBool(),
			Queued: s.getInt(), Scheduled: s.getInt(), OldestDue: s.getAt(),
		})
	}
	return list, s.end()
}

// LineCounts implements [store.Reader].
func (t *tx) LineCounts() ([]store.LineCount, error) {
	if err := t.flush(); err != nil {
		return nil, err
	}
	return t.reader.LineCounts()
}

// keepLine takes over a line as it is stored.
func (t *tx) keepLine(l *store.Line) *lineEntry {
	e := &lineEntry{l: *l, stored: *l}
	t.lines[l.ID] = e
	t.lineNames[nameOf(l)] = e
	return e
}

func (t *tx) lineEntry(id int64) (*lineEntry, error) {
	if e := t.lines[id]; e != nil {
		if e.gone {
			return nil, store.ErrNotFound
		}
		return e, nil
	}
	list, err := t.reader.lines(t.c.use(qLine).int(id))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return t.keepLine(list[0]), nil
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

// EnsureLine implements [store.Tx]. A new line is inserted when the caches are
// flushed.
func (t *tx) EnsureLine(groupID int64, workspace, path, tag string) (*store.Line, error) {
	n := named(groupID, workspace, path, tag)
	l, err := t.named(n)
	if err != store.ErrNotFound { //nolint:errorlint // named returns it unwrapped, and this is a hot path.
		return l, err
	}
	t.wrote = true
	t.numbers.line++
	t.numbers.turn++
	l = &store.Line{ID: t.numbers.line, GroupID: groupID, Workspace: n.workspace, Path: n.path, Tag: tag, Turn: t.numbers.turn}
	e := t.keepLine(l)
	e.fresh, e.dirty = true, true
	t.dirtyLine = append(t.dirtyLine, e)
	if _, known := t.groupLines[groupID]; known {
		t.groupLines[groupID] = append(t.groupLines[groupID], e)
	}
	return l, nil
}

// SaveLine implements [store.Tx].
func (t *tx) SaveLine(l *store.Line) error {
	e, err := t.lineEntry(l.ID)
	if err != nil {
		return err
	}
	t.wrote = true
	n := nameOf(&e.l)
	e.l = *l
	e.l.GroupID, e.l.Workspace, e.l.Path, e.l.Tag = n.group, n.workspace, n.path, n.tag
	if !e.dirty {
		e.dirty = true
		t.dirtyLine = append(t.dirtyLine, e)
	}
	return nil
}

// DeleteLine implements [store.Tx].
func (t *tx) DeleteLine(id int64) error {
	e, err := t.lineEntry(id)
	if err != nil {
		return err
	}
	t.wrote = true
	e.gone = true
	if !e.dirty {
		e.dirty = true
		t.dirtyLine = append(t.dirtyLine, e)
	}
	if list, known := t.groupLines[e.l.GroupID]; known {
		t.groupLines[e.l.GroupID] = slices.DeleteFunc(list, func(x *lineEntry) bool { return x == e })
	}
	return nil
}

const saveLineCols = `queued = ?, scheduled = ?, head_due_us = ?, head_seq = ?, head_n = ?, head_window_us = ?, head_mode = ?, next_due_us = ?`

var (
	qCountLine = sqlText(`UPDATE line SET ` + saveLineCols + ` WHERE id = ?`)
	qTurnLine  = sqlText(`UPDATE line SET ` + saveLineCols + `, head_neg = ?, turn = ? WHERE id = ?`)
	qSaveLine  = sqlText(`UPDATE line SET ` + saveLineCols + `, head_neg = ?, turn = ?, ready = ?, blocked_by = ?, wake_us = ? WHERE id = ?`)
)

var (
	qDeleteLine = sqlText(`DELETE FROM line WHERE id = ?`)
	qInsertLine = sqlText(`INSERT INTO line (id, group_id, workspace, path, tag, queued, scheduled, head_due_us, head_seq, head_n,
head_window_us, head_mode, next_due_us, head_neg, turn, ready, blocked_by, wake_us)
VALUES (?,?,?,?,?,?,?,?,?,?, ?,?,?,?,?,?,?,?)`)
)

// flushLines writes back lines, those that are to go first, so that their
// names are free.
func (t *tx) flushLines() error {
	for _, e := range t.dirtyLine {
		if !e.gone {
			continue
		}
		delete(t.lines, e.l.ID)
		if n := nameOf(&e.l); t.lineNames[n] == e {
			delete(t.lineNames, n)
		}
		if e.fresh {
			continue
		}
		if _, err := t.c.use(qDeleteLine).int(e.l.ID).run(); err != nil {
			return err
		}
	}
	for _, e := range t.dirtyLine {
		if e.gone {
			continue
		}
		if err := t.flushLine(e); err != nil {
			return err
		}
		e.stored, e.dirty, e.fresh = e.l, false, false
	}
	t.dirtyLine = t.dirtyLine[:0]
	return nil
}

// flushLine writes one line. What an update does not name, its indexes need
// not be told.
func (t *tx) flushLine(e *lineEntry) error {
	l, old := &e.l, &e.stored
	moved := e.fresh || l.Ready != old.Ready || l.BlockedBy != old.BlockedBy || !l.WakeAt.Equal(old.WakeAt)
	turned := moved || l.Turn != old.Turn || l.Head.Priority != old.Head.Priority
	var s *stmt
	switch {
	case e.fresh:
		s = t.c.use(qInsertLine).int(l.ID).int(l.GroupID).str(l.Workspace).str(l.Path).str(l.Tag)
	case moved:
		s = t.c.use(qSaveLine)
	case turned:
		s = t.c.use(qTurnLine)
	default:
		s = t.c.use(qCountLine)
	}
	s.int(l.Queued).int(l.Scheduled).at(l.Head.Due).int(l.Head.Seq).
		int(int64(l.HeadLimit.N)).dur(l.HeadLimit.Window).str(string(l.HeadLimit.Mode)).at(l.NextDue)
	if turned {
		s.int(int64(-l.Head.Priority)).int(l.Turn)
	}
	if moved {
		s.bool(l.Ready).str(l.BlockedBy).at(l.WakeAt)
	}
	if !e.fresh {
		s.int(l.ID)
	}
	_, err := s.run()
	return err
}

// NextTurn implements [store.Tx].
func (t *tx) NextTurn() (int64, error) {
	t.numbers.turn++
	return t.numbers.turn, nil
}

var (
	qReady = sqlText(`SELECT ` + lineCols + ` FROM line WHERE ready = 1 AND tag = ? AND blocked_by = ?
ORDER BY head_neg, turn LIMIT ?`)
	qNextBlocked = sqlText(`SELECT blocked_by FROM line WHERE ready = 1 AND tag = ? AND blocked_by > ? ORDER BY blocked_by LIMIT 1`)
	qDue         = sqlText(`SELECT ` + lineCols + ` FROM line WHERE wake_us > 0 AND wake_us <= ? ORDER BY wake_us LIMIT ?`)
	qWake        = sqlText(`SELECT wake_us FROM line WHERE wake_us > 0 ORDER BY wake_us LIMIT 1`)
)

// Foresee implements [store.Tx]. To look ahead saves nothing here.
func (t *tx) Foresee([]string, int) {}

// ReadyLines implements [store.Tx]. For each tag it reads the lines that
// nobody blocks, then, jumping from one list of blocking tags to the next,
// those whose list has none of tags.
func (t *tx) ReadyLines(tags []string, most int) ([]*store.Line, error) {
	if err := t.flushLines(); err != nil {
		return nil, err
	}
	tags = unique(tags)
	var list []*store.Line
	for _, tag := range tags {
		for blocked, more := "", true; more; {
			if !has(blocked, tags) {
				part, err := t.linesKept(t.c.use(qReady).str(tag).str(blocked).int(int64(most)))
				if err != nil {
					return nil, err
				}
				list = append(list, part...)
			}
			var err error
			if more, err = t.c.use(qNextBlocked).str(tag).str(blocked).one(func(s *stmt) { blocked = s.getStr() }); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(list, func(a, b *store.Line) int {
		return cmp.Or(cmp.Compare(b.Head.Priority, a.Head.Priority), cmp.Compare(a.Turn, b.Turn))
	})
	return list[:min(len(list), most)], nil
}

// linesKept reads lines and keeps those that the cache does not know; nothing in
// it is dirty.
func (t *tx) linesKept(s *stmt) ([]*store.Line, error) {
	list, err := t.reader.lines(s)
	for _, l := range list {
		if t.lines[l.ID] == nil {
			t.keepLine(l)
		}
	}
	return list, err
}

// DueLines implements [store.Tx].
func (t *tx) DueLines(now time.Time, most int) ([]*store.Line, error) {
	if err := t.flushLines(); err != nil {
		return nil, err
	}
	return t.linesKept(t.c.use(qDue).at(now).int(int64(most)))
}

// NextWake implements [store.Tx].
func (t *tx) NextWake() (at time.Time, err error) {
	if err := t.flushLines(); err != nil {
		return at, err
	}
	_, err = t.c.use(qWake).one(func(s *stmt) { at = s.getAt() })
	return at, err
}
