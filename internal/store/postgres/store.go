package postgres

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice"
	"sluice/internal/store"
)

// Connections of one server, beside the listener's own.
const (
	defaultConns = 16
	minConns     = 4
	maxLanes     = 6
)

// Options of [Open]. The zero value is what a server runs with.
type Options struct {
	Clock       Clock               // for tests; nil: the database's
	Logger      *slog.Logger        // nil: slog.Default()
	OnClockStep func(time.Duration) // called once per step of the database's clock that is larger than 250 ms, with its sign; it must return at once
	Relaxed     bool                // commits are answered before they are on disk: a loss of power of the database's host may undo the newest
	MaxConns    int                 // bound of connections beside the listener's; 0: pool_max_conns of the URL, else 16
	Sweep       time.Duration       // how often everybody looks again without having been told; 0: 30 s; <0: never
	Deaf        bool                // for tests: hear nothing of other servers
}

// Store is one database of PostgreSQL, used by one server of several. It
// implements [store.Store].
type Store struct {
	opts        Options
	log         *slog.Logger
	id          int64 // of this server, at random
	pool        *pgxpool.Pool
	views       chan struct{} // views under way
	clock       *clock
	memory      *memory
	revEpoch    int64
	synchronous string // synchronous_commit; "": the database's own

	ops        chan *op
	writerDone chan struct{}
	mu         sync.RWMutex // guards closed against pending.Add
	closed     bool
	pending    sync.WaitGroup
	laneMu     sync.Mutex
	lanes      map[string]*lane
	laneSlots  chan int64

	subs    subscribers
	revs    revTeller
	stopped context.CancelFunc
	loops   sync.WaitGroup
	peers   peers
	swept   sweeps
	looks   looks
	crowded atomic.Bool  // of lines that are ready, others have locked some
	dead    atomic.Int64 // rows of the queue since the last clean-up
	added   atomic.Int64 // rows of tally since they were last summed up

	statements atomic.Int64
	trips      atomic.Int64
	rows       atomic.Int64
	commits    atomic.Int64
	latency    ring
}

var _ store.Store = (*Store)(nil)

// Open connects to a database and brings its schema up to date. The URL is
// libpq's; PostgreSQL 15 or newer answers it.
func Open(ctx context.Context, dsn string, opts Options) (*Store, error) {
	s := &Store{
		opts: opts, log: opts.Logger, id: rand.Int64N(1 << 40), ops: make(chan *op, 1024), writerDone: make(chan struct{}),
		lanes: map[string]*lane{}, laneSlots: make(chan int64, maxLanes), memory: newMemory(),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.clock = &clock{test: opts.Clock, log: s.log}
	for i := range maxLanes {
		s.laneSlots <- s.id<<8 | int64(i+1)
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, sluice.Invalid("--database", "is no URL of a PostgreSQL database: %s", plain(err, dsn))
	}
	s.configure(config, dsn)
	if err := s.migrate(ctx, config.ConnConfig.Copy()); err != nil {
		return nil, err
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		s.pool.Close()
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopped = stop
	s.listen(background, config.ConnConfig.Copy())
	go s.write()
	return s, nil
}

// plain says what is wrong with a URL without its password.
func plain(err error, dsn string) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return strings.ReplaceAll(text, dsn, "the URL")
}

func (s *Store) configure(config *pgxpool.Config, dsn string) {
	switch {
	case s.opts.MaxConns > 0:
		config.MaxConns = int32(s.opts.MaxConns)
	case !strings.Contains(dsn, "pool_max_conns"):
		config.MaxConns = defaultConns
	}
	config.MaxConns = max(config.MaxConns, minConns)
	config.MaxConnIdleTime = 5 * time.Minute
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	config.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
		encodeArrays(c.TypeMap())
		return nil
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = applicationName
	}
	if s.opts.Relaxed {
		s.synchronous = "off"
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	lanes := min(maxLanes, int(config.MaxConns)/2-1)
	for range maxLanes - max(lanes, 1) {
		<-s.laneSlots
	}
	s.views = make(chan struct{}, int(config.MaxConns)-2-max(lanes, 1)) // one for the writer, one for what is asked beside
}

// applicationName is how connections of ours are known among others.
const applicationName = "sluice"

// load reads what does not change while the server runs.
func (s *Store) load(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	p := &pipe{}
	p.add(func(r *row) { s.revEpoch = r.getInt() }, `SELECT rev_epoch FROM meta WHERE one = 1`)
	p.add(func(r *row) { s.clock.now(s.clock.note(r.getInt(), r.getInt())) },
		`SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, (SELECT coalesce(max(newest_us), 0) FROM clock)`)
	return s.send(ctx, conn.Conn(), p)
}

// belowHorizon turns the number of the oldest open transaction into that of the
// newest change below which none can come any more.
func (s *Store) belowHorizon(xmin int64) int64 { return (xmin+s.revEpoch)<<revBits - 1 }

// view sends the statements of a view.
type view struct {
	r     *reader
	begun bool
}

func (v *view) query(p *pipe) error {
	all := p
	if !v.begun {
		all = &pipe{}
		all.add(nil, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
		all.add(nil, `SELECT set_config('statement_timeout', $1::text, true), set_config('idle_in_transaction_session_timeout', $2::text, true),
set_config('jit', 'off', true)`, ms(statementTimeout), ms(viewIdleTimeout))
		all.add(func(r *row) { v.r.clock = v.r.s.clock.note(r.getInt(), r.getInt()) },
			`SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, (SELECT coalesce(max(newest_us), 0) FROM clock)`)
		all.batch.QueuedQueries = append(all.batch.QueuedQueries, p.batch.QueuedQueries...)
		all.calls = append(all.calls, p.calls...)
		v.begun = true
	}
	return v.r.s.send(v.r.ctx, v.r.c, all)
}

// viewIdleTimeout is how long a view may think; it holds no locks.
const viewIdleTimeout = 30 * time.Second

// View implements [store.Store].
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) error {
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
	select {
	case s.views <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.views }()
	err := s.snapshot(ctx, fn)
	for try := 0; try < 2 && err != nil && ctx.Err() == nil && lostConnection(err); try++ {
		s.pool.Reset() // connections that died with a server that was restarted
		err = s.snapshot(ctx, fn)
	}
	var bare *brokenView
	if errors.As(err, &bare) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return s.explain(bare.err)
	}
	return err
}

// brokenView is an error of the database, in a view; fn's own are passed on.
type brokenView struct{ err error }

func (b *brokenView) Error() string { return b.err.Error() }
func (b *brokenView) Unwrap() error { return b.err }

func lostConnection(err error) bool {
	var b *brokenView
	return errors.As(err, &b) && classify(b.err) == unreachable
}

func (s *Store) snapshot(ctx context.Context, fn func(store.Reader) error) (err error) {
	acquire, cancel := context.WithTimeout(ctx, connectTimeout)
	conn, err := s.pool.Acquire(acquire)
	cancel()
	if err != nil {
		return &brokenView{err}
	}
	defer conn.Release()
	r := &reader{s: s, ctx: ctx, c: conn.Conn()}
	v := &view{r: r}
	failed := &failing{v: v}
	r.q = failed
	r.clock = s.clock.latest()
	defer func() {
		if v.begun && !r.c.IsClosed() {
			p := &pipe{}
			p.add(nil, "ROLLBACK")
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
			defer cancel()
			if e := s.send(end, r.c, p); e != nil {
				_ = r.c.Close(end)
			}
		}
	}()
	err = fn(r)
	if failed.err != nil && err != nil {
		return &brokenView{failed.err}
	}
	return err
}

// failing remembers the first error of the database.
type failing struct {
	v   *view
	err error
}

func (f *failing) query(p *pipe) error {
	if f.err != nil {
		return f.err
	}
	f.err = f.v.query(p)
	return f.err
}

// Subscribe implements [store.Store].
func (s *Store) Subscribe(fn func(store.Signal)) (cancel func()) { return s.subs.add(fn) }

// Stats implements [store.Store].
func (s *Store) Stats() store.Stats {
	return store.Stats{
		Statements:    s.statements.Load(),
		RowsRead:      s.rows.Load(),
		Commits:       s.commits.Load(),
		CommitLatency: s.latency.list(),
		ClockStep:     time.Duration(s.clock.largest.Load()),
	}
}

// RoundTrips returns how often the database was asked since the store was opened.
func (s *Store) RoundTrips() int64 { return s.trips.Load() }

// Close implements [store.Store]. A second call does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.writerDone
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.pending.Wait()
	close(s.ops)
	<-s.writerDone
	s.stopped()
	s.loops.Wait()
	s.pool.Close()
	return nil
}

// resolve finds out whether a transaction was committed whose answer was lost. If
// the database came up anew since, its number may be another's by now: what
// was not written before a crash leaves no trace. Then only that it was not
// committed is certain.
func (s *Store) resolve(xid, started int64) (committed, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), giveUpAfter)
	defer cancel()
	for ctx.Err() == nil {
		status, now := "", int64(0)
		err := s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
			p := &pipe{}
			p.add(func(r *row) { status, now = r.getStr(), r.getInt() }, `SELECT coalesce(pg_xact_status($1::text::xid8), ''), `+startedUS, decimal(xid))
			return s.send(ctx, c.Conn(), p)
		})
		switch {
		case err == nil && status == "committed":
			return now == started, now == started
		case err == nil && status == "aborted", hasCode(err, codeFuture): // of the latter nothing is left
			return false, true
		case err != nil:
			s.pool.Reset()
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false, false
}

func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}

// killIdlers ends connections of servers of ours that have a transaction open
// and have not said anything in it for longer than they may: a server that was
// stopped while it was sending is not caught by the database's own timeout.
func (s *Store) killIdlers(err error) {
	if !hasCode(err, codeLock) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	_ = s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		p := &pipe{}
		p.add(nil, qKillIdlers, c.Conn().Config().RuntimeParams["application_name"], ms(idleTimeout))
		return s.send(ctx, c.Conn(), p)
	})
}

const qKillIdlers = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user
AND application_name = $1::text AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL AND wait_event_type = 'Client'
AND greatest(query_start, state_change) < clock_timestamp() - $2::text::bigint * interval '1 millisecond'`

// subscribers are called after every commit that has something to tell.
type subscribers struct {
	mu   sync.Mutex
	next int
	fns  map[int]func(store.Signal)
}

func (b *subscribers) add(fn func(store.Signal)) (cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fns == nil {
		b.fns = map[int]func(store.Signal){}
	}
	id := b.next
	b.next++
	b.fns[id] = fn
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.fns, id)
	}
}

func (b *subscribers) tell(sig store.Signal) {
	b.mu.Lock()
	fns := make([]func(store.Signal), 0, len(b.fns))
	for _, fn := range b.fns {
		fns = append(fns, fn)
	}
	b.mu.Unlock()
	for _, fn := range fns {
		fn(sig)
	}
}

// ring keeps the newest durations.
type ring struct {
	mu   sync.Mutex
	next int
	full bool
	d    [1024]time.Duration
}

func (r *ring) add(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.d[r.next] = d
	if r.next++; r.next == len(r.d) {
		r.next, r.full = 0, true
	}
}

func (r *ring) list() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []time.Duration
	if r.full {
		out = append(out, r.d[r.next:]...)
	}
	return append(out, r.d[:r.next]...)
}
