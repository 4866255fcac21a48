package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice"
	"sluice/internal/store"
)

// Bounds of one group commit.
const (
	batchOps  = 256
	batchRevs = maxRevs / 4
	batchTime = 20 * time.Millisecond
)

// How long things may take. A server that stops within a transaction holds its
// locks no longer than idleTimeout; whoever waits for them waits a little longer.
const (
	idleTimeout      = 1500 * time.Millisecond
	tryTimeout       = 250 * time.Millisecond // for what is not expected to wait at all
	waitTimeout      = 2500 * time.Millisecond
	statementTimeout = 15 * time.Second
	rollbackTimeout  = 2 * time.Second
	giveUpAfter      = 15 * time.Second // of trying an update again
	connectTimeout   = 3 * time.Second
)

func (t *tx) lockTimeout() time.Duration {
	if t.lane {
		return waitTimeout
	}
	return tryTimeout
}

// op is one Update.
type op struct {
	ctx    context.Context
	fn     func(store.Tx) error
	state  atomic.Int32 // 0 queued, then either begun or given up
	err    error
	done   chan struct{}
	wants  wants
	tries  int
	since  time.Time
	fresh  bool // it failed on what this server remembers, or carelessly
	failed bool // err is its own and final
}

const (
	opBegun   = 1
	opGivenUp = 2
)

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return store.ErrClosed
	}
	s.pending.Add(1)
	s.mu.RUnlock()
	defer s.pending.Done()
	o := &op{ctx: ctx, fn: fn, done: make(chan struct{}), since: time.Now()}
	select {
	case s.ops <- o:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		if o.state.CompareAndSwap(0, opGivenUp) {
			return ctx.Err()
		}
		<-o.done // begun: it is completed
		return o.err
	}
}

// write is the goroutine that runs updates which find their locks free. What
// queues up while it commits makes up the next batch.
func (s *Store) write() {
	ended := false
	r := &run{s: s, slot: s.id << 8, more: s.ops}
	defer func() {
		if ended {
			close(s.writerDone)
			return
		}
		r.abandon() // an update called runtime.Goexit, as a failing test does
		go s.write()
	}()
	for o := range s.ops {
		r.ops = append(r.ops[:0], o)
		r.run()
	}
	ended = true
}

var errGoexit = errors.New("postgres: an update ended its goroutine")

// run is a number of updates that are to become one transaction.
type run struct {
	s       *Store
	slot    int64
	lane    bool
	more    chan *op // from which to gather more; nil: from nowhere
	ops     []*op    // nil: one that a lane runs
	wants   wants
	t       *tx
	conn    *pgxpool.Conn
	attempt int
}

// abandon answers everybody when a function has ended this goroutine.
func (r *run) abandon() {
	if r.conn != nil {
		_ = r.conn.Conn().Close(context.Background())
		r.conn.Release()
		r.conn = nil
	}
	for _, o := range r.ops {
		if o != nil {
			o.end(errGoexit)
		}
	}
	r.ops = nil
}

// run carries out all updates, in as many transactions as it takes, and
// answers them; those that have to wait for a lock it gives to a lane.
func (r *run) run() {
	for r.attempt = 0; len(r.ops) > 0; r.attempt++ {
		err := r.once()
		switch {
		case err == nil: // committed
			r.answer()
			return
		case errors.Is(err, errAgain): // without one of them
		default:
			if wait := r.sort(err); wait > 0 {
				time.Sleep(wait) //nolint:forbidigo // a pause before a lost connection or a collision is tried again.
			}
		}
	}
}

var errAgain = errors.New("postgres: run the others again")

// once runs all updates in one transaction.
func (r *run) once() (err error) {
	if err := r.connect(); err != nil {
		return err
	}
	defer r.release(&err)
	t := newTx(r.s, r.conn.Conn())
	t.lane, t.slot, t.wants = r.lane, r.slot, r.wants
	r.t = t
	start := time.Now()
	for i := 0; i < len(r.ops); i++ {
		if again := r.one(t, i); again {
			return errAgain
		}
		if t.lost != nil {
			return t.lost
		}
		if r.more != nil && r.attempt == 0 && len(r.ops) < batchOps && t.revs < batchRevs && time.Since(start) < batchTime {
			select {
			case o, ok := <-r.more:
				if ok {
					r.ops = append(r.ops, o)
				}
			default:
			}
		}
	}
	if r.lane {
		t.dropUnasked()
	}
	return r.s.settle(t, t.finish())
}

// settle finds out what became of a transaction whose commit was not answered.
func (s *Store) settle(t *tx, err error) error {
	var pg *pgconn.PgError
	if err == nil || !t.sent || errors.As(err, &pg) && pg.Severity != "FATAL" && pg.Severity != "PANIC" {
		return err
	}
	committed, known := s.resolve(t.xid, t.started)
	switch {
	case committed:
		return nil
	case known:
		return err
	}
	return errors.Join(errUnknown, err)
}

var errUnknown = errors.New("postgres: it is not known whether the transaction was committed")

// one runs one update. It reports whether the transaction has to be begun anew
// without it.
func (r *run) one(t *tx, i int) (again bool) {
	o := r.ops[i]
	if o == nil || o.failed || !o.begin() {
		return false
	}
	mark := t.signal.mark()
	t.wrote, t.recalled, t.fresh, t.careful, t.ahead = false, false, o.fresh, o.fresh, nil
	t.step = lineName{}
	revs := t.revs
	o.err = r.s.call(t, o.fn)
	switch {
	case t.lost == nil && o.err == nil:
		return false
	case errors.Is(t.lost, errBlocked) && !t.wrote && !r.lane: // nothing of it was written: it waits elsewhere
		t.lost = nil
		o.wants.add(t.wants)
		t.wants = wants{}
		t.signal.back(mark)
		r.ops[i] = nil
		r.s.enlist(o)
		return false
	case t.lost != nil:
		return false
	case t.recalled && !o.fresh: // perhaps what was remembered is no longer so
		o.fresh = true
		t.s.memory.forget(t)
		return true
	}
	t.signal.back(mark)
	o.failed = true
	return t.wrote || t.revs != revs
}

// begin reports whether an update is to be run.
func (o *op) begin() bool {
	if o.state.Load() == opBegun {
		return true
	}
	if o.ctx.Err() != nil || !o.state.CompareAndSwap(0, opBegun) {
		o.err, o.failed = o.ctx.Err(), true
		o.state.CompareAndSwap(0, opGivenUp)
		return false
	}
	return true
}

func (s *Store) call(t *tx, fn func(store.Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("an update panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("postgres: an update panicked: %v", p)
			t.wrote = true // whatever it was at
		}
	}()
	return fn(t)
}

func (r *run) connect() error {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	conn, err := r.s.pool.Acquire(ctx)
	r.conn = conn
	return err
}

// release ends the transaction, if it is not committed, and gives the
// connection back.
func (r *run) release(err *error) {
	if *err != nil {
		_ = r.t.rollback()
		r.s.memory.forget(r.t)
	}
	r.conn.Release()
	r.conn = nil
}

// answer tells everybody that the transaction is committed.
func (r *run) answer() {
	r.s.memory.learn(r.t)
	r.s.committed(r.t)
	for _, o := range r.ops {
		if o != nil {
			close(o.done)
		}
	}
	r.ops = r.ops[:0]
}

// end answers one update with an error.
func (o *op) end(err error) {
	o.err = err
	close(o.done)
}

// sort decides, after a transaction that failed as a whole, what becomes of its
// updates, and how long to wait before the rest are tried again.
func (r *run) sort(err error) (wait time.Duration) {
	kind := classify(err)
	left := r.ops[:0]
	for _, o := range r.ops {
		if o == nil {
			continue
		}
		o.tries++
		switch {
		case o.failed:
			close(o.done)
		case kind == final, time.Since(o.since) > giveUpAfter, kind == unreachable && o.tries > 3:
			o.end(r.s.explain(err))
		case kind == unknown:
			o.end(r.s.explain(err))
		case kind == blockedKind:
			o.wants.add(r.t.wants)
			left = append(left, o)
		default:
			o.fresh = true
			left = append(left, o)
		}
	}
	r.ops = left
	switch {
	case kind == unreachable:
		r.s.pool.Reset()
		return 50 * time.Millisecond << min(r.attempt, 4)
	case kind == blockedKind && !r.lane, kind == collision && r.attempt > 0 && !r.lane: // each by itself
		for _, o := range r.ops {
			r.s.enlist(o)
		}
		r.ops = nil
	case kind == blockedKind:
		r.wants.add(r.t.wants)
	case kind == collision:
		r.s.killIdlers(err)
		return time.Millisecond << min(r.attempt, 6)
	}
	return 0
}

// What an error means for the updates of a transaction.
type verdict int

const (
	final       verdict = iota // it would fail again
	collision                  // with another transaction: run it again
	blockedKind                // run it again with its locks taken first
	unreachable                // nothing was committed: run it again when the database is back
	unknown                    // it may be committed or not
)

// PostgreSQL's codes.
const (
	codeDivision     = "22012" // a condition of ours: see checked
	codeFuture       = "22023" // a transaction's number that has not been given out
	codeUnique       = "23505"
	codeDeadlock     = "40P01"
	codeSerialize    = "40001"
	codeLock         = "55P03"
	codeCanceled     = "57014"
	codeShutdown     = "57P01"
	codeCrash        = "57P02"
	codeStarting     = "57P03"
	codeIdle         = "25P03"
	codeDiskFull     = "53100"
	codeManyClients  = "53300"
	codeBadText      = "22021"
	codeNoStatement  = "26000"
	codeReadOnly     = "25006"
	codeAbortedBlock = "25P02"
)

func classify(err error) verdict {
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, errBlocked):
		return blockedKind
	case errors.Is(err, errConflict):
		return collision
	case errors.Is(err, errUnknown):
		return unknown
	case errors.As(err, &pg):
		switch pg.Code {
		case codeDivision, codeUnique, codeDeadlock, codeSerialize, codeLock, codeCanceled:
			return collision
		case codeShutdown, codeCrash, codeStarting, codeIdle, codeManyClients, codeReadOnly, codeAbortedBlock:
			return unreachable
		}
		return final
	case sluice.CodeOf(err) == sluice.CodeInternal && isOurs(err):
		return final
	}
	return unreachable // the connection is gone
}

func isOurs(err error) bool {
	var e *sluice.Error
	return errors.As(err, &e)
}

// explain turns an error of the database into one that says what to do.
func (s *Store) explain(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case codeDiskFull:
			return &sluice.Error{Code: sluice.CodeUnavailable, Message: "the database's disk is full; nothing was stored", Err: err}
		case codeBadText:
			return &sluice.Error{Code: sluice.CodeInvalid, Message: "a text holds a NUL character or is no valid UTF-8", Err: err}
		case codeNoStatement:
			return &sluice.Error{Code: sluice.CodeUnavailable, Message: "the connection pooler does not keep prepared statements; " +
				"add default_query_exec_mode=exec to the database's URL", Err: err}
		}
		if classify(err) == final {
			return err
		}
	}
	if isOurs(err) {
		return err
	}
	return &sluice.Error{Code: sluice.CodeUnavailable, Message: "the database does not answer, or is too busy; try again", Err: err}
}
