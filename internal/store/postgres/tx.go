package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice"
	"sluice/internal/store"
)

// reader implements [store.Reader] on a snapshot.
type reader struct {
	s   *Store
	ctx context.Context
	c   *pgx.Conn
	// q sends statements: in a view after its beginning, in an update after what
	// the update holds back.
	q     interface{ query(p *pipe) error }
	clock reading
}

var _ store.Reader = (*reader)(nil)

// one runs a statement and reads its rows.
func (r *reader) rows(read func(*row), sql string, args ...any) error {
	p := &pipe{}
	p.add(read, sql, args...)
	return r.q.query(p)
}

// single is rows for a statement that returns one row or none.
func (r *reader) single(read func(*row), sql string, args ...any) error {
	found := false
	err := r.rows(func(w *row) { read(w); found = true }, sql, args...)
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return err
}

// Why an update did not come to its end, beside the database's own errors.
var (
	errBlocked  = errors.New("postgres: a lock is held by another transaction")
	errConflict = errors.New("postgres: a row changed between reading and writing")
)

// tx implements [store.Tx]. It is one transaction of the database, of one
// writer or lane, in which several updates run one after the other.
//
// Groups and loose lines are locked before they are read; what is read of a
// group and its lines then stays true until the end, and is kept here. Rows of
// jobs and executions are not locked: they are written on the condition that
// they still are what was read, and if one is not, everything is rolled back
// and run again. All that is written is held back, and sent in a few statements
// for many rows, together with the next statement that has to see it or with
// the commit.
type tx struct {
	reader
	lane  bool // waits for the locks that it wants
	fresh bool // reads nothing from what this server remembers
	begun bool
	lost  error // the transaction cannot be committed
	wants wants // locks that were not to be had, or are to be taken at once

	wrote    bool // the update under way has written
	wroteAny bool
	recalled bool // the update under way read what this server remembers
	signal   signals

	xid     int64
	started int64 // when the database came up, in µs
	revs    int64 // drawn
	numbers []block
	last    int64 // newest instant given out
	epoch   int64 // counts locks, to tell what was read before one

	groups     map[int64]*groupEntry
	groupKeys  map[string]*groupEntry
	lines      map[int64]*lineEntry
	lineNames  map[lineName]*lineEntry
	groupLines map[int64][]*lineEntry
	jobs       map[int64]*jobEntry
	jobIDs     map[string]*jobEntry
	execs      map[int64]*execEntry
	runs       map[int64]*runEntry
	ends       map[textKey]*textEnd
	scripts    map[string]*store.Script
	instants   map[instantKey]time.Time
	agenda     agenda
	ahead      map[string]*ahead // looks at ready lines, by their tags, of the update under way
	dropped    map[int64]bool    // lines that this transaction has deleted
	step       lineName          // in which the step of a flow stood whose end the update under way records; zero: none
	absent     map[lineName]bool // lines without a group that were looked for and not found
	skipped    bool              // rows that somebody else has locked were left out
	relook     foreign           // such rows, where there was nothing else
	lookedAt   int64             // what was told of before the first of those looks
	looked     bool              // for lines that are ready, and not in vain
	hold       held
	slot       int64   // of the writer, in the table clock
	sent       bool    // the commit, whether it arrived or not
	horizon    int64   // oldest open transaction after the commit
	careful    bool    // looks before it inserts jobs
	dead       int64   // rows of the queue that were written anew or deleted
	tallied    int64   // rows of tally that were added
	forgotten  []int64 // jobs that were written past what is kept here
}

var _ store.Tx = (*tx)(nil)

// block is a range of numbers that was drawn.
type block struct{ next, end int64 }

// blockSize is the increment of the sequence.
const blockSize = 1024

// maxRevs is how many changes to jobs one transaction may make.
const (
	revBits = 14
	maxRevs = 1<<revBits - 1
)

func newTx(s *Store, c *pgx.Conn) *tx {
	t := &tx{
		groups: map[int64]*groupEntry{}, groupKeys: map[string]*groupEntry{}, lines: map[int64]*lineEntry{},
		lineNames: map[lineName]*lineEntry{}, groupLines: map[int64][]*lineEntry{}, jobs: map[int64]*jobEntry{},
		jobIDs: map[string]*jobEntry{}, execs: map[int64]*execEntry{}, runs: map[int64]*runEntry{},
		ends: map[textKey]*textEnd{}, scripts: map[string]*store.Script{}, instants: map[instantKey]time.Time{},
		dropped: map[int64]bool{}, absent: map[lineName]bool{},
	}
	t.reader = reader{s: s, ctx: context.Background(), c: c, q: t}
	return t
}

// What a statement has to see of what is held back.
type kinds uint8

const (
	groupRows kinds = 1 << iota
	lineRows
	jobRows
	standRows
	execRows
	everything kinds = 0xff
)

const qSettings = `SELECT set_config('lock_timeout', $1::text, true), set_config('statement_timeout', $2::text, true),
set_config('idle_in_transaction_session_timeout', $3::text, true), set_config('enable_seqscan', 'off', true),
set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true),
set_config('plan_cache_mode', 'force_generic_plan', true),
set_config('synchronous_commit', CASE WHEN $4::text = '' THEN current_setting('synchronous_commit') ELSE $4::text END, true)`

// The newest instant of all transactions that are committed is read after the
// locks, as the clock is: whoever held one of these locks before has written his
// by then.
const qDraw = `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, (SELECT coalesce(max(newest_us), 0) FROM clock),
nextval('number'), pg_current_xact_id()::text::bigint, ` + startedUS

// startedUS is when the database came up, with its server or after a crash of
// one of its processes, which makes it count anew.
const startedUS = `(extract(epoch FROM greatest(pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time())) * 1000000)::bigint`

// draw adds to a pipe what reads the clock and draws numbers. It belongs behind
// everything that locks.
func (t *tx) draw(p *pipe) {
	p.draws = true
	p.add(func(r *row) {
		us, floor, first := r.getInt(), r.getInt(), r.getInt()
		t.xid, t.started = r.getInt(), r.getInt()
		t.clock = t.s.clock.note(us, floor)
		t.numbers = []block{{first, first + blockSize}}
		t.epoch++
	}, qDraw)
}

// begin makes sure that the transaction is begun.
func (t *tx) begin() error {
	if t.begun || t.lost != nil {
		return t.lost
	}
	return t.send(&pipe{}, 0)
}

// send sends statements, before them what has to be seen of what is held back,
// and before that, if need be, the beginning of the transaction.
func (t *tx) send(p *pipe, see kinds) error {
	if t.lost != nil {
		return t.lost
	}
	all := &pipe{}
	if !t.begun {
		all.add(nil, "BEGIN ISOLATION LEVEL READ COMMITTED")
		all.add(nil, qSettings, ms(t.lockTimeout()), ms(statementTimeout), ms(idleTimeout), t.s.synchronous)
		t.lockWanted(all)
		if !p.draws {
			t.draw(all)
		}
		t.look(all)
	}
	t.flush(all, see)
	t.lookAhead(all)
	all.batch.QueuedQueries = append(all.batch.QueuedQueries, p.batch.QueuedQueries...)
	all.calls = append(all.calls, p.calls...)
	err := t.s.send(t.ctx, t.c, all)
	if err == nil {
		t.begun = true
		for _, f := range all.after {
			f()
		}
	}
	if err != nil && t.lost == nil {
		t.lost = err
	}
	return t.lost
}

func ms(d time.Duration) string { return fmt.Sprintf("%d", d.Milliseconds()) }

// query implements the sending of a reader: it sees everything.
func (t *tx) query(p *pipe) error { return t.send(p, everything) }

// exec runs a statement that writes, at once, and tells how many rows it changed.
func (t *tx) exec(sql string, args ...any) (n int, err error) {
	t.write()
	p := &pipe{}
	p.count(func(rows int) { n = rows }, sql, args...)
	return n, t.query(p)
}

// write notes that the update under way writes.
func (t *tx) write() { t.wrote, t.wroteAny = true, true }

// Now implements [store.Reader].
func (t *tx) Now() time.Time {
	if t.begin() == nil {
		t.last = max(t.last, t.s.clock.now(t.clock))
	}
	return time.UnixMicro(max(t.last, 1)).UTC()
}

// Now implements [store.Reader].
func (r *reader) Now() time.Time { return time.UnixMicro(r.s.clock.now(r.clock)).UTC() }

// Signal implements [store.Tx].
func (t *tx) Signal(s store.Signal) {
	t.write()
	t.signal.add(s)
}

// number draws a number above all that were drawn before.
func (t *tx) number() (int64, error) {
	if err := t.begin(); err != nil {
		return 0, err
	}
	for len(t.numbers) > 0 && t.numbers[0].next == t.numbers[0].end {
		t.numbers = t.numbers[1:]
	}
	if len(t.numbers) == 0 {
		if err := t.stock(1); err != nil {
			return 0, err
		}
	}
	n := t.numbers[0].next
	t.numbers[0].next++
	return n, nil
}

// stock sees to it that n numbers can be drawn without asking.
func (t *tx) stock(n int) error {
	if err := t.begin(); err != nil {
		return err
	}
	for _, b := range t.numbers {
		n -= int(b.end - b.next)
	}
	if n <= 0 {
		return nil
	}
	p := &pipe{}
	p.add(func(r *row) {
		first := r.getInt()
		t.numbers = append(t.numbers, block{first, first + blockSize})
	}, `SELECT nextval('number') FROM generate_series(1, $1::bigint)`, int64((n+blockSize-1)/blockSize))
	return t.send(p, 0)
}

// rev draws the number of a change to a job. Numbers of changes begin with that
// of their transaction, so that a reader can tell from its snapshot alone below
// which of them nothing is missing: see [reader.MaxRev].
func (t *tx) rev() (int64, error) {
	if err := t.begin(); err != nil {
		return 0, err
	}
	if t.revs == maxRevs {
		t.lost = sluice.Errorf(sluice.CodeInternal, "one transaction may make at most %d changes to jobs", maxRevs)
		return 0, t.lost
	}
	t.revs++
	rev := (t.xid+t.s.revEpoch)<<revBits | t.revs
	t.signal.rev = max(t.signal.rev, rev)
	return rev, nil
}

// finish sends what is held back and commits, in one round trip. A condition
// that does not hold is an error of its statement, behind which nothing is
// carried out any more, the commit included.
func (t *tx) finish() error {
	if t.lost != nil || !t.begun && !t.wroteAny {
		return t.lost
	}
	if !t.wroteAny {
		return t.rollback()
	}
	if err := t.begin(); err != nil { // all was held back so far
		return err
	}
	p := &pipe{}
	t.flush(p, everything)
	p.add(nil, qSaveClock, t.slot, max(t.last, t.s.clock.now(t.clock)))
	for _, payload := range t.s.payloads(t.signal.peek()) {
		p.add(nil, `SELECT pg_notify($1, $2)`, channel, payload)
	}
	committed := false
	p.count(func(int) { committed = true }, "COMMIT")
	p.add(func(r *row) { t.horizon = r.getInt() }, qHorizon)
	start := time.Now()
	t.sent = true
	err := t.s.send(t.ctx, t.c, p)
	if err != nil && !committed {
		t.lost = err
		return err
	}
	t.begun = false
	t.s.latency.add(time.Since(start))
	t.s.commits.Add(1)
	return nil
}

const qSaveClock = `INSERT INTO clock (writer, newest_us) VALUES ($1, $2)
ON CONFLICT (writer) DO UPDATE SET newest_us = greatest(clock.newest_us, excluded.newest_us)`

// qHorizon returns the number of the oldest transaction that is not over in this
// snapshot, and might be one of this database: others are known by their
// database, as far as we may see it. One that is over meanwhile counts as one of
// this database, for now.
const qHorizon = `SELECT CASE WHEN pg_snapshot_xmin(s) = pg_snapshot_xmax(s) THEN pg_snapshot_xmax(s)::text::bigint
ELSE coalesce((SELECT min(x::text::bigint) FROM pg_snapshot_xip(s) AS x WHERE NOT EXISTS (
  SELECT 1 FROM pg_stat_activity AS a WHERE a.backend_xid = x::xid
  AND a.datid <> (SELECT oid FROM pg_database WHERE datname = current_database()))), pg_snapshot_xmax(s)::text::bigint) END
FROM pg_current_snapshot() AS s`

// rollback undoes the transaction.
func (t *tx) rollback() error {
	if !t.begun && t.lost == nil {
		return nil
	}
	t.begun = false
	if t.c.IsClosed() {
		return nil
	}
	p := &pipe{}
	p.add(nil, "ROLLBACK")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), rollbackTimeout)
	defer cancel()
	if err := t.s.send(ctx, t.c, p); err != nil {
		_ = t.c.Close(ctx)
		return err
	}
	return nil
}
