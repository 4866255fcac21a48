package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"sluice"
)

// Backup copies the database file at from, as it is at one instant, into a new
// file of mode 0600 at to. Servers may go on with it meanwhile: readers hold
// nobody up, though the write-ahead log grows until the copy is made. The new
// file has its name once it is whole and on the disk, and not before; one that
// is there already is refused with code conflict and not touched. A missing
// database has code not_found.
func Backup(ctx context.Context, from, to string) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := os.Stat(from); err != nil {
		return &sluice.Error{Code: sluice.CodeNotFound, Message: fmt.Sprintf("the database %s cannot be opened: %s", from, cause(err)), Err: err}
	}
	if to, err = filepath.Abs(to); err != nil { // SQLite must not take it for a URI
		return fmt.Errorf("name the backup: %w", err)
	}
	if _, err := os.Lstat(to); err == nil { // soon, not after a copy of an hour
		return taken(to, fs.ErrExist)
	}
	part, err := os.CreateTemp(filepath.Dir(to), ".backup-*") // mode 0600
	if err != nil {
		return sluice.Invalid("FILE", "cannot be written: %s", cause(err))
	}
	defer func() {
		part.Close()
		os.Remove(part.Name()) // its other name stays
	}()
	if err := copyInto(ctx, from, part.Name()); err != nil {
		return fmt.Errorf("back up %s: %w", from, err)
	}
	if err := part.Sync(); err != nil {
		return fmt.Errorf("back up %s: %w", from, err)
	}
	if err := publish(part.Name(), to); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(to))
}

// copyInto writes the rows that a snapshot holds into an empty file.
func copyInto(ctx context.Context, from, to string) (err error) {
	uri := url.URL{Scheme: "file", Opaque: (&url.URL{Path: from}).EscapedPath(), RawQuery: "mode=rw"} // never made
	c, err := openConn(uri.String(), &Store{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.watchStop(); err != nil {
		return err
	}
	stopped := make(chan struct{})
	forget := context.AfterFunc(ctx, func() { c.setStop(1); close(stopped) })
	_, err = c.once("VACUUM INTO ?").str(to).run()
	if !forget() {
		<-stopped
		if err != nil {
			err = ctx.Err()
		}
	}
	return err
}

// publish gives a file its second name, unless another file has it.
func publish(file, name string) error {
	err := os.Link(file, name)
	if errors.Is(err, fs.ErrExist) {
		return taken(name, err)
	}
	if err != nil {
		return fmt.Errorf("name the backup: %w", err)
	}
	return nil
}

func taken(name string, err error) error {
	return &sluice.Error{Code: sluice.CodeConflict, Field: "FILE", Err: err, Message: fmt.Sprintf("%s is there already, and a backup overwrites nothing; name another", name)}
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("keep the name of the backup: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("keep the name of the backup: %w", err)
	}
	return nil
}

// cause leaves out of an error what its reader knows.
func cause(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}
