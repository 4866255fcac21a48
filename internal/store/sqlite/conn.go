package sqlite

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// query is one hand-written statement. All are registered when the package is
// initialised, so that each connection can hold its prepared statements in a
// plain slice, and a test can ask for the plan of every one of them.
type query struct {
	id   int
	text string
	cold bool // not part of taking and reporting work: may scan what is small
}

var queries []*query

func sqlText(text string) *query {
	q := &query{id: len(queries), text: text}
	queries = append(queries, q)
	return q
}

func coldText(text string) *query {
	q := sqlText(text)
	q.cold = true
	return q
}

// conn is one connection, used by one goroutine at a time. It talks to SQLite
// without database/sql between: a statement is bound from an arena and its
// columns are read straight into fields. To read a job takes an eighth of the
// processor time that way, to update one three quarters.
type conn struct {
	tls    *libc.TLS
	db     uintptr
	stmts  []*stmt
	active int   // statements between use and end
	failed error // first error that was not a broken constraint
	arena  uintptr
	used   int
	cell   uintptr // room for one pointer that a call returns

	stop     uintptr // whether statements are to stop; see watchStop
	logPages uintptr // of the write-ahead log after the newest commit; see watchLog

	statements *atomic.Int64
	rows       *atomic.Int64
}

const arenaSize = 256 << 10

// sqlError is an error of SQLite with its extended result code.
type sqlError struct {
	code int32
	msg  string
}

func (e *sqlError) Error() string { return fmt.Sprintf("sqlite: %s (%d)", e.msg, e.code) }

var errMemory = errors.New("sqlite: out of memory")

// isUnique reports whether err says that a unique index or key refused a row.
func isUnique(err error) bool {
	var e *sqlError
	return errors.As(err, &e) &&
		(e.code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

func openConn(path string, s *Store) (*conn, error) {
	c := &conn{tls: libc.NewTLS(), statements: &s.statements, rows: &s.rows}
	c.cell = libc.Xmalloc(c.tls, 8)
	c.arena = libc.Xmalloc(c.tls, arenaSize)
	name, err := libc.CString(path)
	if err != nil || c.cell == 0 || c.arena == 0 {
		return nil, errMemory
	}
	defer libc.Xfree(c.tls, name)
	const flags = sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_CREATE | sqlite3.SQLITE_OPEN_URI |
		sqlite3.SQLITE_OPEN_NOMUTEX
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, c.cell, flags, 0)
	c.db = *(*uintptr)(pointer(c.cell))
	if rc != sqlite3.SQLITE_OK {
		err := c.fail(rc)
		c.close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	sqlite3.Xsqlite3_busy_timeout(c.tls, c.db, int32(busyTimeout/time.Millisecond))
	return c, nil
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		if s != nil {
			sqlite3.Xsqlite3_finalize(c.tls, s.p)
		}
	}
	c.stmts = nil
	var err error
	if c.db != 0 {
		if rc := sqlite3.Xsqlite3_close_v2(c.tls, c.db); rc != sqlite3.SQLITE_OK {
			err = fmt.Errorf("close: %w", c.fail(rc))
		}
	}
	libc.Xfree(c.tls, c.cell)
	libc.Xfree(c.tls, c.arena)
	for _, p := range []uintptr{c.stop, c.logPages} {
		if p != 0 {
			libc.Xfree(c.tls, p)
		}
	}
	c.tls.Close()
	c.db = 0
	return err
}

// pointer turns an address in SQLite's memory, which the garbage collector
// neither moves nor frees, into a pointer.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

func bytesAt(p uintptr, n int) []byte { return unsafe.Slice((*byte)(pointer(p)), n) }

func (c *conn) fail(rc int32) error {
	msg := "out of memory"
	if c.db != 0 {
		msg = libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))
	}
	return &sqlError{code: rc, msg: msg}
}

// inTransaction reports whether a transaction is open. SQLite ends one by
// itself after some errors.
func (c *conn) inTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

func (c *conn) prepare(text string, flags uint32) (*stmt, error) {
	z, err := libc.CString(text)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, z)
	if rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, z, -1, flags, c.cell, 0); rc != sqlite3.SQLITE_OK {
		return nil, fmt.Errorf("prepare %q: %w", text, c.fail(rc))
	}
	p := *(*uintptr)(pointer(c.cell))
	return &stmt{c: c, p: p, params: sqlite3.Xsqlite3_bind_parameter_count(c.tls, p), text: text}, nil
}

// use readies the prepared statement of a query. Values are bound in order;
// then either run, or next until it is false and end.
func (c *conn) use(q *query) *stmt {
	if q.id >= len(c.stmts) {
		c.stmts = append(c.stmts, make([]*stmt, len(queries)-len(c.stmts))...)
	}
	s := c.stmts[q.id]
	if s == nil {
		var err error
		if s, err = c.prepare(q.text, sqlite3.SQLITE_PREPARE_PERSISTENT); err != nil {
			return c.broken(q.text, err)
		}
		c.stmts[q.id] = s
	}
	return c.begin(s)
}

// once prepares a statement that is made up as it goes, for one use.
func (c *conn) once(text string) *stmt {
	s, err := c.prepare(text, 0)
	if err != nil {
		return c.broken(text, err)
	}
	s.once = true
	return c.begin(s)
}

func (c *conn) broken(text string, err error) *stmt {
	if c.failed == nil {
		c.failed = err
	}
	c.active++
	return &stmt{c: c, text: text, err: err, active: true}
}

func (c *conn) begin(s *stmt) *stmt {
	if s.active {
		panic("sqlite: statement used while its rows are being read: " + s.text)
	}
	s.active, s.err, s.bound, s.stepped = true, nil, 0, false
	c.active++
	c.statements.Add(1)
	return s
}

// exec runs a statement without parameters, and reads away its rows.
func (c *conn) exec(text string) error {
	s := c.once(text)
	for s.next() {
		continue
	}
	return s.end()
}

// stmt is a prepared statement.
type stmt struct {
	c       *conn
	p       uintptr
	text    string
	params  int32
	bound   int32
	col     int32
	once    bool
	active  bool
	stepped bool
	err     error
	big     []uintptr // values that did not fit into the arena
}

// int binds an integer.
func (s *stmt) int(v int64) *stmt {
	s.bound++
	if s.p != 0 {
		sqlite3.Xsqlite3_bind_int64(s.c.tls, s.p, s.bound, v)
	}
	return s
}

func (s *stmt) bool(v bool) *stmt {
	if v {
		return s.int(1)
	}
	return s.int(0)
}

// at binds an instant as microseconds, 0 for the zero time.
func (s *stmt) at(t time.Time) *stmt { return s.int(micros(t)) }

// dur binds a duration as microseconds.
func (s *stmt) dur(d time.Duration) *stmt { return s.int(int64(d / time.Microsecond)) }

func (s *stmt) null() *stmt {
	s.bound++
	if s.p != 0 {
		sqlite3.Xsqlite3_bind_null(s.c.tls, s.p, s.bound)
	}
	return s
}

// keep copies a value to memory that SQLite may read until the statement ends.
func (s *stmt) keep(v string) uintptr {
	c := s.c
	var p uintptr
	if c.used+len(v)+1 <= arenaSize {
		p = c.arena + uintptr(c.used)
		c.used += len(v) + 1
	} else {
		if p = libc.Xmalloc(c.tls, libc.Tsize_t(len(v)+1)); p == 0 {
			s.err = errMemory
			return 0
		}
		s.big = append(s.big, p)
	}
	copy(bytesAt(p, len(v)+1), v)
	return p
}

// str binds text.
func (s *stmt) str(v string) *stmt {
	s.bound++
	if s.p == 0 {
		return s
	}
	if p := s.keep(v); p != 0 {
		sqlite3.Xsqlite3_bind_text(s.c.tls, s.p, s.bound, p, int32(len(v)), 0)
	}
	return s
}

// blob binds bytes; an empty value is not NULL.
func (s *stmt) blob(v string) *stmt {
	s.bound++
	if s.p == 0 {
		return s
	}
	if p := s.keep(v); p != 0 {
		sqlite3.Xsqlite3_bind_blob(s.c.tls, s.p, s.bound, p, int32(len(v)), 0)
	}
	return s
}

// bytes binds bytes; nil is NULL.
func (s *stmt) bytes(v []byte) *stmt {
	if v == nil {
		return s.null()
	}
	return s.blob(unsafe.String(unsafe.SliceData(v), len(v)))
}

// next steps to the next row.
func (s *stmt) next() bool {
	if s.err != nil {
		return false
	}
	if !s.stepped {
		s.stepped = true
		if s.bound != s.params {
			s.err = fmt.Errorf("sqlite: %d values for %d parameters: %s", s.bound, s.params, s.text)
			return false
		}
	}
	switch rc := sqlite3.Xsqlite3_step(s.c.tls, s.p); rc {
	case sqlite3.SQLITE_ROW:
		s.col = 0
		s.c.rows.Add(1)
		return true
	case sqlite3.SQLITE_DONE:
		return false
	default:
		s.err = s.c.fail(rc)
		return false
	}
}

// end finishes a statement and returns its error.
func (s *stmt) end() error {
	c := s.c
	if s.p != 0 {
		if s.once {
			sqlite3.Xsqlite3_finalize(c.tls, s.p)
			s.p = 0
		} else {
			sqlite3.Xsqlite3_reset(c.tls, s.p)
		}
	}
	for _, p := range s.big {
		libc.Xfree(c.tls, p)
	}
	s.big = nil
	s.active = false
	if c.active--; c.active == 0 {
		c.used = 0
	}
	if s.err != nil && c.failed == nil && !isUnique(s.err) {
		c.failed = s.err
	}
	return s.err
}

// run runs a statement that returns no rows and tells how many it changed.
func (s *stmt) run() (int, error) {
	for s.next() {
		continue
	}
	n := 0
	if s.err == nil {
		n = int(sqlite3.Xsqlite3_changes(s.c.tls, s.c.db))
	}
	return n, s.end()
}

// one runs a statement and tells whether it returned a row, which read reads.
func (s *stmt) one(read func(*stmt)) (bool, error) {
	ok := s.next()
	if ok {
		read(s)
	}
	err := s.end()
	return ok && err == nil, err
}

// getInt reads the next column of the row; so do the other readers.
func (s *stmt) getInt() int64 {
	s.col++
	return sqlite3.Xsqlite3_column_int64(s.c.tls, s.p, s.col-1)
}

func (s *stmt) getBool() bool         { return s.getInt() != 0 }
func (s *stmt) getAt() time.Time      { return instant(s.getInt()) }
func (s *stmt) getDur() time.Duration { return time.Duration(s.getInt()) * time.Microsecond }
func (s *stmt) isNull() bool {
	return sqlite3.Xsqlite3_column_type(s.c.tls, s.p, s.col) == sqlite3.SQLITE_NULL
}
func (s *stmt) skip() { s.col++ }
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func (s *stmt) raw() []byte {
	i := s.col
	s.col++
	p := sqlite3.Xsqlite3_column_blob(s.c.tls, s.p, i)
	if p == 0 {
		return nil
	}
	return bytesAt(p, int(sqlite3.Xsqlite3_column_bytes(s.c.tls, s.p, i)))
}

func (s *stmt) getStr() string { return string(s.raw()) }

// getBytes returns nil for NULL and for an empty value.
func (s *stmt) getBytes() []byte {
	b := s.raw()
	if len(b) == 0 {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

// abandon ends the statements that a panic left open.
func (c *conn) abandon() {
	for _, s := range c.stmts {
		if s != nil && s.active {
			_ = s.end()
		}
	}
	c.active, c.used = 0, 0
}

func (c *conn) lastID() int64 { return sqlite3.Xsqlite3_last_insert_rowid(c.tls, c.db) }

// stopSteps is how many steps of SQLite's machine pass between two looks at
// whether to stop: some tens of microseconds.
const stopSteps = 1000

// watchStop has statements stop with an error while stop is set. SQLite's own
// interrupt would miss a statement that is just about to begin.
func (c *conn) watchStop() error {
	if c.stop = libc.Xcalloc(c.tls, 1, 8); c.stop == 0 {
		return errMemory
	}
	look := func(_ *libc.TLS, cell uintptr) int32 { return atomic.LoadInt32((*int32)(pointer(cell))) }
	handler := struct {
		f func(*libc.TLS, uintptr) int32
	}{look}
	sqlite3.Xsqlite3_progress_handler(c.tls, c.db, stopSteps, *(*uintptr)(unsafe.Pointer(&handler)), c.stop)
	return nil
}

// setStop sets what watchStop watches. Any goroutine may call it.
func (c *conn) setStop(v int32) { atomic.StoreInt32((*int32)(pointer(c.stop)), v) }
