package sqlite

import (
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// The write-ahead log is folded into the file, a checkpoint, by a goroutine
// with a connection of its own, so that nobody's commit waits for it. Under steady load that one
// never catches up with the newest pages, and only a log that is folded whole is begun
// anew; so when the log has grown long, the writer folds what little is left.
const (
	foldPages = 1000 // the goroutine folds whenever so many more were written
	longPages = 4000 // the writer helps; 16 MB
)

// watchLog has every commit note how many pages the log holds.
func (c *conn) watchLog() error {
	if c.logPages = libc.Xcalloc(c.tls, 1, 8); c.logPages == 0 {
		return errMemory
	}
	note := func(_ *libc.TLS, cell, _, _ uintptr, pages int32) int32 {
		*(*int32)(pointer(cell)) = pages
		return sqlite3.SQLITE_OK
	}
	hook := struct {
		f func(*libc.TLS, uintptr, uintptr, uintptr, int32) int32
	}{note}
	sqlite3.Xsqlite3_wal_hook(c.tls, c.db, *(*uintptr)(unsafe.Pointer(&hook)), c.logPages)
	return nil
}

// afterCommit has the log folded if it is time.
func (s *Store) afterCommit() {
	c := s.tx.c
	if c.logPages == 0 {
		return
	}
	pages := *(*int32)(pointer(c.logPages))
	if pages < s.foldAsked { // begun anew
		s.foldAsked = 0
	}
	if pages >= s.foldAsked+foldPages {
		s.foldAsked = pages
		select {
		case s.fold <- struct{}{}:
		default: // it is at it
		}
	}
	if pages >= longPages {
		*(*int32)(pointer(c.logPages)) = 0
		s.checkpoint(c)
	}
}

func (s *Store) checkpoint(c *conn) {
	if err := c.exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		s.log.Error("the log could not be folded into the database; it grows", "err", err)
		c.failed = nil
	}
}

// folder is the goroutine that folds the log.
func (s *Store) folder(c *conn) {
	defer close(s.folded)
	for range s.fold {
		s.checkpoint(c)
	}
	if err := c.close(); err != nil {
		s.log.Error("close", "err", err)
	}
}
