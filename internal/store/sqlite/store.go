package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver that migrations run through

	"sluice"
	"sluice/internal/store"
)

const (
	busyTimeout  = 10 * time.Second
	readers      = 4
	readerKB     = 8 << 10
	defaultCache = 64 << 10
)

// Options of [Open]. The zero value is what a server runs with.
type Options struct {
	Clock       Clock               // nil: the machine's clocks
	Synchronous string              // "full" (default), "normal" or "off"; with less than full, a loss of power may undo the newest updates
	Logger      *slog.Logger        // nil: slog.Default()
	OnClockStep func(time.Duration) // called once per step of the wall clock that is larger than 250 ms, with its sign; it must return at once
	CacheKB     int                 // page cache of the writer; 0: 64 MB
}

// Store is one SQLite file, or one database in memory. It implements
// [store.Store].
type Store struct {
	opts  Options
	log   *slog.Logger
	lock  *os.File // nil in memory
	clock *clock
	tx    *tx // the writer's

	ops        chan *op
	batchTime  time.Duration
	batchOps   []*op // of the transaction under way; the writer's
	writerDone chan struct{}
	mu         sync.RWMutex // guards closed against pending.Add
	closed     bool
	pending    sync.WaitGroup
	pool       chan *conn    // readers; nil in memory
	fold       chan struct{} // asks for a checkpoint; nil in memory
	folded     chan struct{}
	foldAsked  int32      // pages in the log when it was last asked for; the writer's
	memory     sync.Mutex // in memory there is one connection, for one at a time

	subs       subscribers
	statements atomic.Int64
	rows       atomic.Int64
	commits    atomic.Int64
	latency    ring
}

var _ store.Store = (*Store)(nil)

//go:embed migrations/*.sql
var migrations embed.FS

var memories atomic.Int64

// Open opens the database file at path, or one in memory if path is
// ":memory:". It makes the file (mode 0600) and its folder (0700) where there
// are none, and brings the schema up to date. A file that another process has
// open is refused with code unavailable.
func Open(ctx context.Context, path string, opts Options) (*Store, error) {
	s := &Store{opts: opts, log: opts.Logger, ops: make(chan *op, 1024), batchTime: batchTime, writerDone: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.opts.Synchronous == "" {
		s.opts.Synchronous = "full"
	}
	if s.opts.CacheKB <= 0 {
		s.opts.CacheKB = defaultCache
	}
	switch s.opts.Synchronous {
	case "full", "normal", "off":
	default:
		return nil, sluice.Invalid("synchronous", "must be full, normal or off")
	}
	if err := s.open(ctx, path); err != nil {
		_ = s.release()
		return nil, err
	}
	go s.write()
	return s, nil
}

func (s *Store) open(ctx context.Context, path string) error {
	uri, inMemory := "", path == ":memory:"
	if inMemory {
		uri = fmt.Sprintf("file:sluice-%d?mode=memory&cache=shared", memories.Add(1))
	} else {
		if err := s.claim(path); err != nil {
			return err
		}
		uri = (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String()
	}
	c, err := openConn(uri, s)
	if err != nil {
		return err
	}
	s.tx = newTx(s, c)
	if err := s.setup(c, s.opts.CacheKB, inMemory); err != nil {
		return err
	}
	if err := migrate(ctx, uri); err != nil {
		return fmt.Errorf("migrate %s: %w", path, err)
	}
	if !inMemory {
		if err := s.openRest(uri); err != nil {
			return err
		}
	}
	return s.tx.load()
}

// openRest opens the connections beside the writer's.
func (s *Store) openRest(uri string) error {
	if err := s.tx.c.watchLog(); err != nil {
		return err
	}
	c, err := openConn(uri, s)
	if err != nil {
		return err
	}
	s.fold, s.folded = make(chan struct{}, 1), make(chan struct{})
	go s.folder(c)
	if err := s.setup(c, readerKB, false); err != nil {
		return err
	}
	s.pool = make(chan *conn, readers)
	for range readers {
		r, err := openConn(uri, s)
		if err != nil {
			return err
		}
		s.pool <- r
		if err := s.setup(r, readerKB, false); err != nil {
			return err
		}
		if err := r.watchStop(); err != nil {
			return err
		}
	}
	return nil
}

// claim makes the folder and the file and locks it against other processes.
func (s *Store) claim(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the database's folder: %w", err)
	}
	var err error
	if s.lock, err = os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("open the lock file: %w", err)
	}
	if err := flock(s.lock); err != nil {
		return &sluice.Error{
			Code:    sluice.CodeUnavailable,
			Message: fmt.Sprintf("the database %s is in use by another process; stop it, or choose another file", path),
			Err:     err,
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	return f.Close()
}

func (s *Store) setup(c *conn, cacheKB int, inMemory bool) error {
	pragmas := []string{
		fmt.Sprintf("PRAGMA cache_size = -%d", cacheKB),
		"PRAGMA temp_store = memory",
		"PRAGMA synchronous = " + s.opts.Synchronous,
	}
	if inMemory {
		pragmas = append(pragmas, "PRAGMA journal_mode = memory")
	} else {
		pragmas = append(pragmas, "PRAGMA journal_mode = wal", "PRAGMA wal_autocheckpoint = 0",
			"PRAGMA journal_size_limit = 67108864")
	}
	for _, p := range pragmas {
		if err := c.exec(p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

func migrate(ctx context.Context, uri string) error {
	db, err := sql.Open("sqlite", uri)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// View implements [store.Store]. In memory it waits for updates under way.
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) (err error) {
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
	if s.pool == nil {
		s.memory.Lock()
		defer s.memory.Unlock()
		return fn(&s.tx.reader)
	}
	var c *conn
	select {
	case c = <-s.pool:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.pool <- c }()
	return s.snapshot(ctx, c, fn)
}

var (
	qBeginRead = sqlText("BEGIN")
	qCommit    = sqlText("COMMIT")
	qRollback  = sqlText("ROLLBACK")
)

// snapshot runs fn in a read transaction, whose statements stop when the context
// ends.
func (s *Store) snapshot(ctx context.Context, c *conn, fn func(store.Reader) error) (err error) {
	if _, err := c.use(qBeginRead).run(); err != nil {
		return err
	}
	stopped := make(chan struct{})
	forget := context.AfterFunc(ctx, func() { c.setStop(1); close(stopped) })
	defer func() {
		if !forget() {
			<-stopped
		}
		c.setStop(0)
		broken := c.failed != nil
		c.failed = nil
		if _, e := c.use(qRollback).run(); e != nil && err == nil {
			err = e
		}
		c.failed = nil
		if broken && err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
	}()
	return fn(&reader{c: c, s: s})
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

// Close implements [store.Store]. It folds the write-ahead log into the file.
// A second call does nothing.
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
	return s.release()
}

func (s *Store) release() error {
	var errs []error
	if s.fold != nil {
		close(s.fold)
		<-s.folded
	}
	for len(s.pool) > 0 {
		errs = append(errs, (<-s.pool).close())
	}
	if s.tx != nil {
		if s.pool != nil {
			errs = append(errs, s.tx.c.exec("PRAGMA wal_checkpoint(TRUNCATE)"))
		}
		errs = append(errs, s.tx.c.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

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
