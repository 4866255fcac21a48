package sqlite

import (
	"sluice/internal/store"
	"sluice/limit"
)

// groupEntry is a group's row as the writer knows it.
type groupEntry struct {
	g, stored store.Group // as saved, and as written
	dirty     bool
	fresh     bool // not inserted yet
}

const groupCols = `id, taken, struck, launched, released, waiting, max_window_us, typical_us, key, max_waiting,
pruned_launches, pruned_releases, trimmed_launches, trimmed_releases, trimmed_order, trimmed_us,
over_n, over_window_us, over_mode, over_by, over_why, paused, pause_until_us, pause_by, pause_why`

func scanGroup(s *stmt, g *store.Group) {
	g.ID, g.Taken, g.Struck, g.Launched, g.Released = s.getInt(), s.getInt(), s.getInt(), s.getInt(), s.getInt()
	g.Waiting, g.MaxWindow, g.Typical, g.Key, g.MaxWaiting = s.getInt(), s.getDur(), s.getDur(), s.getStr(), s.getInt()
	g.PrunedLaunches, g.PrunedReleases = s.getInt(), s.getInt()
	g.TrimmedLaunches, g.TrimmedReleases, g.TrimmedOrder, g.TrimmedAt = s.getInt(), s.getInt(), s.getInt(), s.getAt()
	g.Override = s.getOverride()
	g.OverrideBy, g.OverrideWhy = s.getStr(), s.getStr()
	g.Pause = limit.Pause{Paused: s.getBool(), Until: s.getAt(), By: s.getStr(), Why: s.getStr()}
}

func (s *stmt) getOverride() (o limit.Override) {
	if s.isNull() {
		s.skip()
	} else {
		n := int(s.getInt())
		o.N = &n
	}
	if s.isNull() {
		s.skip()
	} else {
		w := s.getDur()
		o.Window = &w
	}
	if s.isNull() {
		s.skip()
	} else {
		m := limit.Mode(s.getStr())
		o.Mode = &m
	}
	return o
}

func (s *stmt) override(o limit.Override) *stmt {
	if o.N == nil {
		s.null()
	} else {
		s.int(int64(*o.N))
	}
	if o.Window == nil {
		s.null()
	} else {
		s.dur(*o.Window)
	}
	if o.Mode == nil {
		return s.null()
	}
	return s.str(string(*o.Mode))
}

// cloneGroup copies a group with all that it points to.
func cloneGroup(g *store.Group) store.Group {
	c := *g
	c.Override = cloneOverride(g.Override)
	return c
}

func cloneOverride(o limit.Override) limit.Override {
	if o.N != nil {
		n := *o.N
		o.N = &n
	}
	if o.Window != nil {
		w := *o.Window
		o.Window = &w
	}
	if o.Mode != nil {
		m := *o.Mode
		o.Mode = &m
	}
	return o
}

// active reports whether something of the group is under way or set.
func active(g *store.Group) bool {
	return g.Held() > 0 || g.Waiting > 0 || g.MaxWaiting > 0 || !g.Override.Empty() || g.Pause.Paused
}

var (
	qGroup     = sqlText(`SELECT ` + groupCols + ` FROM grp WHERE key = ?`)
	qGroupByID = sqlText(`SELECT ` + groupCols + ` FROM grp WHERE id = ?`)
)

// Group implements [store.Reader].
func (r *reader) Group(key string) (*store.Group, error) { return oneGroup(r.c.use(qGroup).blob(key)) }

// GroupByID implements [store.Reader].
func (r *reader) GroupByID(id int64) (*store.Group, error) {
	return oneGroup(r.c.use(qGroupByID).int(id))
}

func oneGroup(s *stmt) (*store.Group, error) {
	var g store.Group
	ok, err := s.one(func(s *stmt) { scanGroup(s, &g) })
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, store.ErrNotFound
	}
	return &g, nil
}

const defaultMost = 1000

var (
	qGroups = coldText(`SELECT ` + groupCols + ` FROM grp WHERE key > ?1 AND (?2 = x'' OR instr(key, ?2) > 0) ORDER BY key LIMIT ?3`)
	// An empty key is legal and comes before all others.
	qGroupsFrom = coldText(`SELECT ` + groupCols + ` FROM grp WHERE (?1 = x'' OR instr(key, ?1) > 0) ORDER BY key LIMIT ?2`)
	qActive     = coldText(`SELECT ` + groupCols + ` FROM grp WHERE active = 1 AND key > ?1 AND (?2 = x'' OR instr(key, ?2) > 0) ORDER BY key LIMIT ?3`)
	qActiveFrom = coldText(`SELECT ` + groupCols + ` FROM grp WHERE active = 1 AND (?1 = x'' OR instr(key, ?1) > 0) ORDER BY key LIMIT ?2`)
	// These read all groups: somebody looks at them, nobody's start does.
	qWaitingMost = coldText(`SELECT ` + groupCols + ` FROM grp WHERE active >= ?1 AND (?2 = x'' OR instr(key, ?2) > 0) ORDER BY waiting DESC, key LIMIT ?3`)
	qHeldMost    = coldText(`SELECT ` + groupCols + ` FROM grp WHERE active >= ?1 AND (?2 = x'' OR instr(key, ?2) > 0) ORDER BY taken - struck - released DESC, key LIMIT ?3`)
)

// Groups implements [store.Reader].
func (r *reader) Groups(f store.GroupFilter) ([]*store.Group, error) {
	var s *stmt
	switch {
	case f.Order == store.ByWaiting:
		s = r.c.use(qWaitingMost).bool(f.Active)
	case f.Order == store.ByHeld:
		s = r.c.use(qHeldMost).bool(f.Active)
	case f.Active && f.AfterKey != nil:
		s = r.c.use(qActive).blob(*f.AfterKey)
	case f.Active:
		s = r.c.use(qActiveFrom)
	case f.AfterKey != nil:
		s = r.c.use(qGroups).blob(*f.AfterKey)
	default:
		s = r.c.use(qGroupsFrom)
	}
	s.blob(f.KeyContains).int(int64(orDefault(f.Limit)))
	var list []*store.Group
	for s.next() {
		g := new(store.Group)
		scanGroup(s, g)
		list = append(list, g)
	}
	return list, s.end()
}

func orDefault(most int) int {
	if most <= 0 {
		return defaultMost
	}
	return most
}

// Groups implements [store.Reader].
func (t *tx) Groups(f store.GroupFilter) ([]*store.Group, error) {
	if err := t.flushGroups(); err != nil {
		return nil, err
	}
	return t.reader.Groups(f)
}

// Group implements [store.Reader].
func (t *tx) Group(key string) (*store.Group, error) {
	e := t.groupKeys[key]
	if e == nil {
		g, err := t.reader.Group(key)
		if err != nil {
			return nil, err
		}
		e = t.keepGroup(g)
	}
	g := cloneGroup(&e.g)
	return &g, nil
}

// GroupByID implements [store.Reader].
func (t *tx) GroupByID(id int64) (*store.Group, error) {
	e, err := t.groupEntry(id)
	if err != nil {
		return nil, err
	}
	g := cloneGroup(&e.g)
	return &g, nil
}

func (t *tx) groupEntry(id int64) (*groupEntry, error) {
	if e := t.groups[id]; e != nil {
		return e, nil
	}
	g, err := t.reader.GroupByID(id)
	if err != nil {
		return nil, err
	}
	return t.keepGroup(g), nil
}

// keepGroup takes over a group as it is stored.
func (t *tx) keepGroup(g *store.Group) *groupEntry {
	e := &groupEntry{g: *g, stored: *g}
	t.groups[g.ID] = e
	t.groupKeys[g.Key] = e
	return e
}

var qInsertGroup = sqlText(`INSERT INTO grp (id, key, active, taken, struck, launched, released, waiting, max_window_us, typical_us,
max_waiting, pruned_launches, pruned_releases, trimmed_launches, trimmed_releases, trimmed_order, trimmed_us, over_n,
over_window_us, over_mode, over_by, over_why, paused, pause_until_us, pause_by, pause_why)
VALUES (?,?,?,?,?,?,?,?,?,?, ?,?,?,?,?,?,?,?, ?,?,?,?,?,?,?,?)`)

// LockGroups implements [store.Tx]. The writer is alone, so that to read a
// group is to lock it.
func (t *tx) LockGroups(keys []string) ([]*store.Group, error) {
	list := make([]*store.Group, len(keys))
	for i, key := range keys {
		g, err := t.Group(key)
		if err == store.ErrNotFound { //nolint:errorlint // Group returns it unwrapped, and this is a hot path.
			g, err = t.makeGroup(key), nil
		}
		if err != nil {
			return nil, err
		}
		list[i] = g
	}
	return list, nil
}

// makeGroup makes a group; it is inserted when the caches are flushed.
func (t *tx) makeGroup(key string) *store.Group {
	t.wrote = true
	t.numbers.group++
	g := &store.Group{ID: t.numbers.group, Key: key}
	e := t.keepGroup(g)
	e.fresh, e.dirty = true, true
	t.dirtyGroup = append(t.dirtyGroup, e)
	t.groupLines[g.ID] = []*lineEntry{}
	return g
}

// LockGroupIDs implements [store.Tx].
func (t *tx) LockGroupIDs(ids []int64) ([]*store.Group, error) {
	list := make([]*store.Group, len(ids))
	for i, id := range ids {
		g, err := t.GroupByID(id)
		if err == store.ErrNotFound { //nolint:errorlint // GroupByID returns it unwrapped, and this is a hot path.
			continue
		}
		if err != nil {
			return nil, err
		}
		list[i] = g
	}
	return list, nil
}

// SaveGroup implements [store.Tx].
func (t *tx) SaveGroup(g *store.Group) error {
	e, err := t.groupEntry(g.ID)
	if err != nil {
		return err
	}
	t.wrote = true
	key := e.g.Key
	e.g = cloneGroup(g)
	e.g.Key = key
	if !e.dirty {
		e.dirty = true
		t.dirtyGroup = append(t.dirtyGroup, e)
	}
	return nil
}

var (
	qCountGroup = sqlText(`UPDATE grp SET taken = ?, struck = ?, launched = ?, released = ?, waiting = ?, max_window_us = ?,
typical_us = ? WHERE id = ?`)
	qActiveGroup = sqlText(`UPDATE grp SET active = ? WHERE id = ?`)
	qSaveGroup   = sqlText(`UPDATE grp SET max_waiting = ?, pruned_launches = ?, pruned_releases = ?, trimmed_launches = ?,
trimmed_releases = ?, trimmed_order = ?, trimmed_us = ?, over_n = ?, over_window_us = ?, over_mode = ?, over_by = ?, over_why = ?,
paused = ?, pause_until_us = ?, pause_by = ?, pause_why = ? WHERE id = ?`)
)

func (s *stmt) groupCounts(g *store.Group) *stmt {
	return s.int(g.Taken).int(g.Struck).int(g.Launched).int(g.Released).int(g.Waiting).dur(g.MaxWindow).dur(g.Typical)
}

func (s *stmt) groupRest(g *store.Group) *stmt {
	s.int(g.MaxWaiting).int(g.PrunedLaunches).int(g.PrunedReleases).int(g.TrimmedLaunches).int(g.TrimmedReleases).
		int(g.TrimmedOrder).at(g.TrimmedAt).override(g.Override).str(g.OverrideBy).str(g.OverrideWhy)
	p := &g.Pause
	return s.bool(p.Paused).at(p.Until).str(p.By).str(p.Why)
}

// flushGroups writes back groups. What an update does not name, its indexes
// need not be told.
func (t *tx) flushGroups() error {
	for _, e := range t.dirtyGroup {
		if err := t.flushGroup(e); err != nil {
			return err
		}
		e.stored, e.dirty, e.fresh = cloneGroup(&e.g), false, false
	}
	t.dirtyGroup = t.dirtyGroup[:0]
	return nil
}

func (t *tx) flushGroup(e *groupEntry) error {
	g := &e.g
	if e.fresh {
		_, err := t.c.use(qInsertGroup).int(g.ID).blob(g.Key).bool(active(g)).groupCounts(g).groupRest(g).run()
		return err
	}
	if _, err := t.c.use(qCountGroup).groupCounts(g).int(g.ID).run(); err != nil {
		return err
	}
	if active(g) != active(&e.stored) {
		if _, err := t.c.use(qActiveGroup).bool(active(g)).int(g.ID).run(); err != nil {
			return err
		}
	}
	if sameRest(g, &e.stored) {
		return nil
	}
	_, err := t.c.use(qSaveGroup).groupRest(g).int(g.ID).run()
	return err
}

// sameRest reports whether two versions of a group differ at most in what
// every start and end of a job changes.
func sameRest(a, b *store.Group) bool {
	return a.MaxWaiting == b.MaxWaiting && a.PrunedLaunches == b.PrunedLaunches && a.PrunedReleases == b.PrunedReleases &&
		a.TrimmedLaunches == b.TrimmedLaunches && a.TrimmedReleases == b.TrimmedReleases && a.TrimmedOrder == b.TrimmedOrder &&
		a.TrimmedAt.Equal(b.TrimmedAt) && samePtr(a.Override.N, b.Override.N) && samePtr(a.Override.Window, b.Override.Window) &&
		samePtr(a.Override.Mode, b.Override.Mode) && a.OverrideBy == b.OverrideBy && a.OverrideWhy == b.OverrideWhy &&
		a.Pause.Paused == b.Pause.Paused && a.Pause.Until.Equal(b.Pause.Until) && a.Pause.By == b.Pause.By && a.Pause.Why == b.Pause.Why
}

func samePtr[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

var qInsertEvent = sqlText(`INSERT INTO grp_event (group_id, key, at_us, kind, after_order, over_n, over_window_us, over_mode,
max_waiting, until_us, by, why) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`)

// AddGroupEvent implements [store.Tx].
func (t *tx) AddGroupEvent(e *store.GroupEvent) error {
	t.wrote = true
	s := t.c.use(qInsertEvent).int(e.GroupID).blob(e.Key).at(e.At).str(e.Kind).int(e.AfterOrder).override(e.Override)
	if _, err := s.int(e.MaxWaiting).at(e.Until).str(e.By).str(e.Why).run(); err != nil {
		return err
	}
	e.Seq = t.c.lastID()
	return nil
}

const eventCols = `seq, group_id, key, at_us, kind, after_order, over_n, over_window_us, over_mode, max_waiting, until_us, by, why`

var (
	qEvents   = sqlText(`SELECT ` + eventCols + ` FROM grp_event WHERE seq > ? ORDER BY seq LIMIT ?`)
	qEventsOf = sqlText(`SELECT ` + eventCols + ` FROM grp_event WHERE group_id = ? AND seq > ? ORDER BY seq LIMIT ?`)
)

// GroupEvents implements [store.Reader].
func (r *reader) GroupEvents(groupID, afterSeq int64, most int) ([]*store.GroupEvent, error) {
	s := (*stmt)(nil)
	if groupID == 0 {
		s = r.c.use(qEvents)
	} else {
		s = r.c.use(qEventsOf).int(groupID)
	}
	s.int(afterSeq).int(int64(most))
	var list []*store.GroupEvent
	for s.next() {
		e := &store.GroupEvent{Seq: s.getInt(), GroupID: s.getInt(), Key: s.getStr(), At: s.getAt(), Kind: s.getStr(), AfterOrder: s.getInt()}
		e.Override = s.getOverride()
		e.MaxWaiting, e.Until, e.By, e.Why = s.getInt(), s.getAt(), s.getStr(), s.getStr()
		list = append(list, e)
	}
	return list, s.end()
}
