package postgres

import (
	"bytes"
	"slices"

	"sluice/internal/store"
	"sluice/limit"
)

// groupEntry is a group that this transaction has locked.
type groupEntry struct {
	g     store.Group
	rest  groupRest // as it is stored
	dirty bool
}

// groupRest is what not every start and end of a job changes.
type groupRest struct {
	maxWaiting, prunedL, prunedR, trimmedL, trimmedR, trimmedO, trimmedUS, n, window, until int64
	mode, overBy, overWhy, by, why                                                          string
	paused                                                                                  bool
}

func rest(g *store.Group) groupRest {
	n, window, mode := overrideArgs(g.Override)
	p := &g.Pause
	r := groupRest{
		maxWaiting: g.MaxWaiting, prunedL: g.PrunedLaunches, prunedR: g.PrunedReleases, trimmedL: g.TrimmedLaunches,
		trimmedR: g.TrimmedReleases, trimmedO: g.TrimmedOrder, trimmedUS: micros(g.TrimmedAt), n: -1, window: -1, until: micros(p.Until),
		mode: "-", overBy: g.OverrideBy, overWhy: g.OverrideWhy, by: p.By, why: p.Why, paused: p.Paused,
	}
	if n != nil {
		r.n = *n
	}
	if window != nil {
		r.window = *window
	}
	if mode != nil {
		r.mode = *mode
	}
	return r
}

const groupCols = `id, taken, struck, launched, released, waiting, max_window_us, typical_us, key, max_waiting,
pruned_launches, pruned_releases, trimmed_launches, trimmed_releases, trimmed_order, trimmed_us,
over_n, over_window_us, over_mode, over_by, over_why, paused, pause_until_us, pause_by, pause_why`

func scanGroup(r *row) *store.Group {
	g := &store.Group{ID: r.getInt()}
	g.Taken, g.Struck, g.Launched, g.Released = r.getInt(), r.getInt(), r.getInt(), r.getInt()
	g.Waiting, g.MaxWindow, g.Typical, g.Key, g.MaxWaiting = r.getInt(), r.getDur(), r.getDur(), r.getStr(), r.getInt()
	g.PrunedLaunches, g.PrunedReleases = r.getInt(), r.getInt()
	g.TrimmedLaunches, g.TrimmedReleases, g.TrimmedOrder, g.TrimmedAt = r.getInt(), r.getInt(), r.getInt(), r.getAt()
	g.Override = r.getOverride()
	g.OverrideBy, g.OverrideWhy = r.getStr(), r.getStr()
	g.Pause = limit.Pause{Paused: r.getBool(), Until: r.getAt(), By: r.getStr(), Why: r.getStr()}
	return g
}

func (r *row) getOverride() (o limit.Override) {
	if r.isNull() {
		r.skip()
	} else {
		n := int(r.getInt())
		o.N = &n
	}
	if r.isNull() {
		r.skip()
	} else {
		w := r.getDur()
		o.Window = &w
	}
	if r.isNull() {
		r.skip()
	} else {
		m := limit.Mode(r.getStr())
		o.Mode = &m
	}
	return o
}

// overrideArgs are the three values of an override, nil for what it leaves out.
func overrideArgs(o limit.Override) (n, window *int64, mode *string) {
	if o.N != nil {
		v := int64(*o.N)
		n = &v
	}
	if o.Window != nil {
		v := dur(*o.Window)
		window = &v
	}
	if o.Mode != nil {
		v := string(*o.Mode)
		mode = &v
	}
	return n, window, mode
}

// cloneGroup copies a group with all that it points to.
func cloneGroup(g *store.Group) *store.Group {
	c := *g
	if o := g.Override; o.N != nil {
		n := *o.N
		c.Override.N = &n
	}
	if o := g.Override; o.Window != nil {
		w := *o.Window
		c.Override.Window = &w
	}
	if o := g.Override; o.Mode != nil {
		m := *o.Mode
		c.Override.Mode = &m
	}
	return &c
}

// active reports whether something of the group is under way or set.
func active(g *store.Group) bool {
	return g.Held() > 0 || g.Waiting > 0 || g.MaxWaiting > 0 || !g.Override.Empty() || g.Pause.Paused
}

// Group implements [store.Reader].
func (r *reader) Group(key string) (g *store.Group, err error) {
	err = r.single(func(w *row) { g = scanGroup(w) }, `SELECT `+groupCols+` FROM grp WHERE key = $1::bytea`, raw(key))
	return g, err
}

// GroupByID implements [store.Reader].
func (r *reader) GroupByID(id int64) (g *store.Group, err error) {
	err = r.single(func(w *row) { g = scanGroup(w) }, `SELECT `+groupCols+` FROM grp WHERE id = $1::bigint`, id)
	return g, err
}

// Group implements [store.Reader].
func (t *tx) Group(key string) (*store.Group, error) {
	if e := t.groupKeys[key]; e != nil {
		return cloneGroup(&e.g), nil
	}
	return t.reader.Group(key)
}

// GroupByID implements [store.Reader].
func (t *tx) GroupByID(id int64) (*store.Group, error) {
	if e := t.groups[id]; e != nil {
		return cloneGroup(&e.g), nil
	}
	return t.reader.GroupByID(id)
}

const defaultMost = 1000

func orDefault(most int) int64 {
	if most <= 0 {
		return defaultMost
	}
	return int64(most)
}

const qGroups = `SELECT ` + groupCols + ` FROM grp WHERE ($1::bytea IS NULL OR key > $1::bytea)
AND ($2::bytea = ''::bytea OR position($2::bytea in key) > 0) AND (NOT $3::boolean OR active) ORDER BY `

// Groups implements [store.Reader].
func (r *reader) Groups(f store.GroupFilter) ([]*store.Group, error) {
	var after []byte
	if f.AfterKey != nil {
		after = raw(*f.AfterKey)
	}
	sql := qGroups
	if f.Active {
		sql = qActiveGroups
	}
	switch f.Order {
	case store.ByKey:
	case store.ByWaiting:
		sql += `waiting DESC, `
	case store.ByHeld:
		sql += `taken - struck - released DESC, `
	}
	sql += `key LIMIT $4::bigint`
	var list []*store.Group
	err := r.rows(func(w *row) { list = append(list, scanGroup(w)) }, sql, after, raw(f.KeyContains), f.Active, orDefault(f.Limit))
	return list, err
}

const qActiveGroups = `SELECT ` + groupCols + ` FROM grp WHERE active AND ($1::bytea IS NULL OR key > $1::bytea)
AND ($2::bytea = ''::bytea OR position($2::bytea in key) > 0) AND $3::boolean ORDER BY `

// keepGroup takes over a group that was just locked.
func (t *tx) keepGroup(g *store.Group) *groupEntry {
	e := &groupEntry{g: *g, rest: rest(g)}
	t.groups[g.ID] = e
	t.groupKeys[g.Key] = e
	return e
}

// LockGroups implements [store.Tx].
func (t *tx) LockGroups(keys []string) ([]*store.Group, error) {
	var missing []string
	for _, key := range keys {
		if t.groupKeys[key] == nil {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		if err := t.lockKeys(slices.Compact(missing)); err != nil {
			return nil, err
		}
	}
	list := make([]*store.Group, len(keys))
	for i, key := range keys {
		list[i] = cloneGroup(&t.groupKeys[key].g)
	}
	return list, nil
}

const (
	qTryKeys = `SELECT ` + groupCols + ` FROM grp WHERE key = ANY($1::bytea[]) ORDER BY key FOR UPDATE SKIP LOCKED`
	// A key that is there already, and be it locked, is left alone.
	qMakeKeys = `INSERT INTO grp (id, key, active, taken, struck, launched, released, waiting, max_window_us, typical_us, max_waiting,
pruned_launches, pruned_releases, trimmed_launches, trimmed_releases, trimmed_order, trimmed_us, over_by, over_why,
paused, pause_until_us, pause_by, pause_why)
SELECT id, key, false, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', '', false, 0, '', ''
FROM unnest($1::bytea[], $2::bigint[]) AS new (key, id)
WHERE NOT EXISTS (SELECT 1 FROM grp WHERE grp.key = new.key) ORDER BY key ON CONFLICT (key) DO NOTHING RETURNING id, key`
	qLinesOfKeys = `SELECT ` + lineCols + ` FROM line WHERE group_id IN (SELECT id FROM grp WHERE key = ANY($1::bytea[]))`
)

// lockKeys locks groups, sorted and none of them locked yet, and makes those
// that do not exist.
func (t *tx) lockKeys(keys []string) error {
	if err := t.stock(len(keys)); err != nil {
		return err
	}
	ids := make([]int64, len(keys))
	for i := range ids {
		ids[i], _ = t.number() // in stock
	}
	list := each(keys, raw)
	var made []int64
	p := &pipe{}
	p.add(func(r *row) { t.keepGroup(scanGroup(r)) }, qTryKeys, list)
	p.add(func(r *row) {
		g := &store.Group{ID: r.getInt(), Key: r.getStr()}
		t.keepGroup(g)
		made = append(made, g.ID)
	}, qMakeKeys, list, ids)
	var lines []*store.Line
	p.add(func(r *row) { lines = append(lines, scanLine(r)) }, qLinesOfKeys, list)
	t.draw(p)
	if err := t.send(p, 0); err != nil {
		return err
	}
	if len(made) > 0 {
		t.write()
	}
	var got []int64
	for _, key := range keys {
		e := t.groupKeys[key]
		if e == nil {
			t.wants.keys = append(t.wants.keys, key)
			continue
		}
		got = append(got, e.g.ID)
	}
	t.keepLinesOf(got, lines)
	return t.blocked()
}

// blocked ends an update whose locks were not to be had.
func (t *tx) blocked() error {
	if t.lost == nil && !t.wants.none() {
		t.lost = errBlocked
	}
	return t.lost
}

// LockGroupIDs implements [store.Tx].
func (t *tx) LockGroupIDs(ids []int64) ([]*store.Group, error) {
	if err := t.lockRows(ids, nil, lockOptions{}); err != nil {
		return nil, err
	}
	list := make([]*store.Group, len(ids))
	for i, id := range ids {
		if e := t.groups[id]; e != nil {
			list[i] = cloneGroup(&e.g)
		}
	}
	return list, nil
}

// SaveGroup implements [store.Tx].
func (t *tx) SaveGroup(g *store.Group) error {
	e := t.groups[g.ID]
	if e == nil {
		if err := t.lockRows([]int64{g.ID}, nil, lockOptions{}); err != nil {
			return err
		}
		if e = t.groups[g.ID]; e == nil {
			return store.ErrNotFound
		}
	}
	t.write()
	key := e.g.Key
	e.g = *cloneGroup(g)
	e.g.Key = key
	e.g.TrimmedAt, e.g.Pause.Until = instant(micros(g.TrimmedAt)), instant(micros(g.Pause.Until))
	if !e.dirty {
		e.dirty = true
		t.hold.groups = append(t.hold.groups, e)
	}
	return nil
}

const qSaveGroups = `UPDATE grp SET taken = u.taken, struck = u.struck, launched = u.launched, released = u.released, waiting = u.waiting,
max_window_us = u.max_window, typical_us = u.typical, active = u.active
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::boolean[])
AS u (id, taken, struck, launched, released, waiting, max_window, typical, active) WHERE grp.id = u.id`

const qSaveGroup = `UPDATE grp SET max_waiting = $2, pruned_launches = $3, pruned_releases = $4, trimmed_launches = $5,
trimmed_releases = $6, trimmed_order = $7, trimmed_us = $8, over_n = $9, over_window_us = $10, over_mode = $11, over_by = $12,
over_why = $13, paused = $14, pause_until_us = $15, pause_by = $16, pause_why = $17
WHERE id = $1`

// flushGroups writes what every start and end of a job changes of groups in one
// statement, and the rest of those of which it may have changed.
func (t *tx) flushGroups(p *pipe) {
	list := t.hold.groups
	if len(list) == 0 {
		return
	}
	t.hold.groups = nil
	t.dead += int64(len(list))
	slices.SortFunc(list, func(a, b *groupEntry) int { return bytes.Compare([]byte(a.g.Key), []byte(b.g.Key)) })
	column := func(of func(*store.Group) int64) []int64 {
		return each(list, func(e *groupEntry) int64 { return of(&e.g) })
	}
	p.add(nil, qSaveGroups, column(func(g *store.Group) int64 { return g.ID }),
		column(func(g *store.Group) int64 { return g.Taken }), column(func(g *store.Group) int64 { return g.Struck }),
		column(func(g *store.Group) int64 { return g.Launched }), column(func(g *store.Group) int64 { return g.Released }),
		column(func(g *store.Group) int64 { return g.Waiting }), column(func(g *store.Group) int64 { return dur(g.MaxWindow) }),
		column(func(g *store.Group) int64 { return dur(g.Typical) }), each(list, func(e *groupEntry) bool { return active(&e.g) }))
	for _, e := range list {
		e.dirty = false
		if e.rest == rest(&e.g) {
			continue
		}
		e.rest = rest(&e.g)
		g := &e.g
		n, window, mode := overrideArgs(g.Override)
		p.add(nil, qSaveGroup, g.ID, g.MaxWaiting, g.PrunedLaunches, g.PrunedReleases, g.TrimmedLaunches, g.TrimmedReleases,
			g.TrimmedOrder, micros(g.TrimmedAt), n, window, mode, raw(g.OverrideBy), raw(g.OverrideWhy), g.Pause.Paused,
			micros(g.Pause.Until), raw(g.Pause.By), raw(g.Pause.Why))
	}
}

const qAddEvent = `INSERT INTO grp_event (group_id, key, at_us, kind, after_order, over_n, over_window_us, over_mode, max_waiting, until_us, by, why)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING seq`

// AddGroupEvent implements [store.Tx].
func (t *tx) AddGroupEvent(e *store.GroupEvent) error {
	t.write()
	n, window, mode := overrideArgs(e.Override)
	return t.single(func(r *row) { e.Seq = r.getInt() }, qAddEvent, e.GroupID, raw(e.Key), micros(e.At), e.Kind, e.AfterOrder,
		n, window, mode, e.MaxWaiting, micros(e.Until), raw(e.By), raw(e.Why))
}

const qEvents = `SELECT seq, group_id, key, at_us, kind, after_order, over_n, over_window_us, over_mode, max_waiting, until_us, by, why
FROM grp_event WHERE `

// GroupEvents implements [store.Reader].
func (r *reader) GroupEvents(groupID, afterSeq int64, most int) (list []*store.GroupEvent, err error) {
	sql := qEvents + `group_id = $1::bigint AND seq > $2::bigint ORDER BY seq LIMIT $3::bigint`
	if groupID == 0 {
		sql = qEvents + `$1::bigint = 0 AND seq > $2::bigint ORDER BY seq LIMIT $3::bigint`
	}
	err = r.rows(func(w *row) {
		e := &store.GroupEvent{Seq: w.getInt(), GroupID: w.getInt(), Key: w.getStr(), At: w.getAt(), Kind: w.getStr(), AfterOrder: w.getInt()}
		e.Override = w.getOverride()
		e.MaxWaiting, e.Until, e.By, e.Why = w.getInt(), w.getAt(), w.getStr(), w.getStr()
		list = append(list, e)
	}, sql, groupID, afterSeq, int64(most))
	return list, err
}
