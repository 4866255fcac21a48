package sqlite

import (
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/store"
)

// reader implements [store.Reader] on a connection that has a transaction open.
type reader struct {
	c *conn
	s *Store
}

var _ store.Reader = (*reader)(nil)

// tx implements [store.Tx]. There is one, the writer's; it lives as long as the
// store and is in one transaction after the other.
//
// Rows of groups and lines change many times in a batch, so they are kept
// here, copies that are written back before a statement needs them and before
// the commit. Jobs and executions are written at once, and a copy is kept for
// the report that ends them. Whenever SQLite rolls back, all copies are
// forgotten.
type tx struct {
	reader
	numbers  numbers
	signal   signals
	wrote    bool // the update under way has written
	wroteAny bool // an update of this transaction has

	groups     map[int64]*groupEntry
	groupKeys  map[string]*groupEntry
	lines      map[int64]*lineEntry
	groupLines map[int64][]*lineEntry // all lines of a group, where known
	lineNames  map[lineName]*lineEntry
	dirtyGroup []*groupEntry
	dirtyLine  []*lineEntry
	tallies    map[place]*tally
	jobRows    map[int64]*sluice.Job       // small jobs that are not completed, as they are stored
	jobSeqs    map[string]int64            // of those jobs, by id; and of some that are there no more
	held       map[int64]*sluice.Execution // executions that hold their slot, as they are stored
	runRows    map[int64]*store.FlowRun    // as they are stored

	swept sweep // where DeleteExecutions and DeleteGroups stopped
}

var _ store.Tx = (*tx)(nil)

// numbers are those drawn last.
type numbers struct {
	seq, rev, turn, execution, group, line int64
}

const (
	maxCached     = 16384
	maxCachedRuns = 1024 // their states may have some kilobytes
)

func newTx(s *Store, c *conn) *tx {
	t := &tx{reader: reader{c: c, s: s}}
	t.forget()
	return t
}

var qLoadMeta = sqlText(`SELECT clock_us, seq, rev, turn, execution, grp, line FROM meta WHERE one = 1`)

// load reads the numbers drawn last and starts the clock.
func (t *tx) load() error {
	var newest int64
	n := &t.numbers
	_, err := t.c.use(qLoadMeta).one(func(s *stmt) {
		newest = s.getInt()
		n.seq, n.rev, n.turn = s.getInt(), s.getInt(), s.getInt()
		n.execution, n.group, n.line = s.getInt(), s.getInt(), s.getInt()
	})
	t.s.clock = newClock(t.s.opts.Clock, newest, t.s.log)
	return err
}

// forget empties the caches.
func (t *tx) forget() {
	t.groups = map[int64]*groupEntry{}
	t.groupKeys = map[string]*groupEntry{}
	t.lines = map[int64]*lineEntry{}
	t.lineNames = map[lineName]*lineEntry{}
	t.groupLines = map[int64][]*lineEntry{}
	t.dirtyGroup, t.dirtyLine = nil, nil
	t.tallies = map[place]*tally{}
	t.jobRows, t.jobSeqs = map[int64]*sluice.Job{}, map[string]int64{}
	t.held = map[int64]*sluice.Execution{}
	t.runRows = map[int64]*store.FlowRun{}
}

// trim bounds the caches after a commit, when nothing in them is dirty.
func (t *tx) trim() {
	if len(t.groups) > maxCached {
		clear(t.groups)
		clear(t.groupKeys)
	}
	if len(t.lines) > maxCached || len(t.groupLines) > maxCached {
		clear(t.lines)
		clear(t.lineNames)
		clear(t.groupLines)
	}
	if len(t.tallies) > maxCached {
		clear(t.tallies)
	}
	if len(t.jobSeqs) > maxCached {
		clear(t.jobRows)
		clear(t.jobSeqs)
	}
	if len(t.held) > maxCached {
		clear(t.held)
	}
	if len(t.runRows) > maxCachedRuns {
		clear(t.runRows)
	}
}

// flush writes back what the caches hold.
func (t *tx) flush() error {
	if err := t.flushGroups(); err != nil {
		return err
	}
	if err := t.flushLines(); err != nil {
		return err
	}
	return t.flushTallies()
}

// Now implements [store.Reader].
func (r *reader) Now() time.Time { return r.s.clock.now() }

// Signal implements [store.Tx].
func (t *tx) Signal(s store.Signal) { t.signal.add(s) }

// unique returns the distinct strings of a list, sorted; nil if there are none.
func unique(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// place is where jobs are counted.
type place struct{ workspace, tag string }

// tally is a change to the counts of a place that is not written yet.
type tally struct {
	n     [3]int64 // by state
	dirty bool
}

// count notes that a job came into a state from another; -1 is none.
func (t *tx) count(workspace, tag string, from, to int) {
	if from == to {
		return
	}
	p := place{workspace, tag}
	e := t.tallies[p]
	if e == nil {
		e = &tally{}
		t.tallies[p] = e
	}
	if from >= 0 && from < 3 {
		e.n[from]--
		e.dirty = true
	}
	if to >= 0 && to < 3 {
		e.n[to]++
		e.dirty = true
	}
}

var qSaveTally = sqlText(`INSERT INTO tally (workspace, tag, scheduled, queued, running) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (workspace, tag) DO UPDATE SET
  scheduled = scheduled + excluded.scheduled, queued = queued + excluded.queued, running = running + excluded.running`)

func (t *tx) flushTallies() error {
	for p, e := range t.tallies {
		if !e.dirty {
			continue
		}
		if e.n != [3]int64{} {
			if _, err := t.c.use(qSaveTally).str(p.workspace).str(p.tag).int(e.n[0]).int(e.n[1]).int(e.n[2]).run(); err != nil {
				return err
			}
		}
		*e = tally{}
	}
	return nil
}

var qTallies = coldText(`SELECT tag, sum(scheduled), sum(queued), sum(running) FROM tally
WHERE ?1 = '' OR workspace = ?1 GROUP BY tag HAVING sum(scheduled) + sum(queued) + sum(running) > 0`)

// JobCounts implements [store.Reader].
func (r *reader) JobCounts(workspace string) (map[string]store.Counts, error) {
	counts := map[string]store.Counts{}
	s := r.c.use(qTallies).str(workspace)
	for s.next() {
		counts[s.getStr()] = store.Counts{Scheduled: s.getInt(), Queued: s.getInt(), Running: s.getInt()}
	}
	return counts, s.end()
}

// JobCounts implements [store.Reader].
func (t *tx) JobCounts(workspace string) (map[string]store.Counts, error) {
	if err := t.flushTallies(); err != nil {
		return nil, err
	}
	return t.reader.JobCounts(workspace)
}

// MaxRev implements [store.Reader].
func (t *tx) MaxRev() (int64, error) { return t.numbers.rev, nil }

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
