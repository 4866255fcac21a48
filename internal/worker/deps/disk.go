package deps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sluice"
)

// Names in the cache's folder.
const (
	tmpName    = "tmp"
	locksName  = "locks"
	mainLock   = "lock"
	lockSuffix = ".lock"
	outName    = "out"                   // within a folder for tools: what becomes the entry
	markerName = ".sluice-complete.json" // within an entry
)

// marker says that an entry is whole.
type marker struct {
	Bytes    int64  `json:"bytes"` // on disk
	Packages int    `json:"packages"`
	Python   string `json:"python,omitempty"` // the version that they were compiled for
}

func readMarker(dir string) (marker, error) {
	text, err := readBounded(filepath.Join(dir, markerName), 4096)
	if err != nil {
		return marker{}, err
	}
	var m marker
	return m, json.Unmarshal(text, &m)
}

// install makes one entry.
type install struct {
	c            *Cache
	family, lock string
	dir          string
	made         int // packages; 0: the entry was there
}

// open returns the entry's lock file, held for use, once the entry is whole.
func (i *install) open(ctx context.Context) (*os.File, error) {
	for {
		f, err := lockFile(ctx, i.dir+lockSuffix, syscall.LOCK_SH)
		if err != nil {
			return nil, err
		}
		if whole, err := i.whole(ctx); whole || err != nil {
			if err != nil {
				f.Close()
				return nil, err
			}
			return f, nil
		}
		f.Close()
		if f, err = lockFile(ctx, i.dir+lockSuffix, syscall.LOCK_EX); err != nil {
			return nil, err
		}
		whole, err := i.whole(ctx)
		if err == nil && !whole {
			err = i.make(ctx)
		}
		if err != nil {
			_ = os.Remove(f.Name()) // we hold it, so it is still ours
		}
		// Between the two locks another process may remove the entry: look again.
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// whole reports whether the entry is complete and fits this worker.
func (i *install) whole(ctx context.Context) (bool, error) {
	m, err := readMarker(i.dir)
	if err != nil || i.family != familyPython {
		return err == nil, nil //nolint:nilerr // an entry whose marker cannot be read is made anew
	}
	version, err := i.c.pythonVersion(ctx)
	return m.Python == version, err
}

// make installs the lock in a folder of its own and gives the result its name.
// The entry's lock file is held exclusively.
func (i *install) make(ctx context.Context) (err error) {
	dir, done, err := i.c.workDir(ctx)
	if err != nil {
		return err
	}
	defer done()
	out := filepath.Join(dir, outName)
	if err := os.Mkdir(out, 0o700); err != nil {
		return fmt.Errorf("make a folder for packages: %w", err)
	}
	var m marker
	switch i.family {
	case familyPython:
		if m.Python, err = i.c.pythonVersion(ctx); err == nil {
			m.Packages, err = i.c.installPython(ctx, dir, out, i.lock)
		}
	case familyBun:
		m.Packages, err = i.c.installBun(ctx, dir, out, i.lock)
	case familyGo:
		m.Packages, err = i.c.installGo(ctx, dir, out, i.lock)
	}
	if err != nil {
		return err
	}
	if m.Bytes, err = freeze(out); err != nil {
		return err
	}
	if m.Bytes > i.c.cfg.MaxBytes {
		return sluice.Errorf(sluice.CodeInvalid, "The packages take %d MB on disk; this worker keeps at most %d MB.", m.Bytes>>20, i.c.cfg.MaxBytes>>20)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write down that the packages are there: %w", err)
	}
	if err := writeNew(filepath.Join(out, markerName), text); err != nil {
		return fmt.Errorf("write down that the packages are there: %w", err)
	}
	if err := i.c.evict(ctx, m.Bytes); err != nil {
		return err
	}
	_ = os.Chmod(i.dir, 0o700) // a folder that is moved must be writable
	if err := os.Rename(i.dir, filepath.Join(dir, "broken")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put damaged packages away: %w", err)
	}
	if err := os.Rename(out, i.dir); err != nil {
		return fmt.Errorf("name the packages: %w", err)
	}
	if err := os.Chmod(i.dir, 0o555); err != nil {
		return fmt.Errorf("make the packages read-only: %w", err)
	}
	i.made = m.Packages
	return nil
}

// workDir makes a folder for tools.
func (c *Cache) workDir(ctx context.Context) (dir string, done func(), err error) {
	if c.cfg.WorkDir == "" {
		return c.tempDir(ctx)
	}
	if dir, err = os.MkdirTemp(c.cfg.WorkDir, "deps-"); err != nil {
		return "", nil, fmt.Errorf("make a folder for a tool: %w", err)
	}
	return dir, func() { _ = RemoveAll(dir) }, nil // what is left, the folder's owner removes
}

// tempDir makes a temporary folder in the cache. It is locked for as long as it
// is in use, so that others see whether its process still lives.
func (c *Cache) tempDir(ctx context.Context) (dir string, done func(), err error) {
	guard, err := lockFile(ctx, filepath.Join(c.cfg.Dir, mainLock), syscall.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer guard.Close()
	dir, err = os.MkdirTemp(filepath.Join(c.cfg.Dir, tmpName), "")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for a tool: %w", err)
	}
	f, err := os.Open(dir)
	if err == nil {
		err = flock(f, syscall.LOCK_EX)
	}
	if err != nil {
		return "", nil, fmt.Errorf("lock a folder for a tool: %w", err)
	}
	return dir, func() {
		_ = RemoveAll(dir) // what is left, the next start removes
		f.Close()
	}, nil
}

// sweep removes folders of tools whose process is gone, and locks resolved too
// long ago.
func (c *Cache) sweep() error {
	ctx, cancel := context.WithTimeout(c.life, time.Minute)
	defer cancel()
	guard, err := lockFile(ctx, filepath.Join(c.cfg.Dir, mainLock), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer guard.Close()
	tmp := filepath.Join(c.cfg.Dir, tmpName)
	names, err := os.ReadDir(tmp)
	if err != nil {
		return fmt.Errorf("look for half-finished installs: %w", err)
	}
	for _, n := range names {
		dir := filepath.Join(tmp, n.Name())
		f, err := os.Open(dir)
		if err != nil {
			continue // its owner has just removed it
		}
		if flock(f, syscall.LOCK_EX) == nil {
			_ = RemoveAll(dir) // a tool that is just being ended may still write: the next start does the rest
		}
		f.Close()
	}
	return c.sweepLocks()
}

// flock tries to lock an open file.
func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// lockFile opens a file, makes it if need be, and waits until it is locked and
// still the one that has the name.
func lockFile(ctx context.Context, path string, how int) (*os.File, error) {
	pause := time.Millisecond
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open a lock file: %w", err)
		}
		err = flock(f, how)
		if err == nil && hasName(f) {
			return f, nil
		}
		f.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock a file: %w", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			pause = min(2*pause, 50*time.Millisecond)
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// hasName reports whether an open file is still the one under its name.
func hasName(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(f.Name())
	return err == nil && os.SameFile(mine, named)
}

// touch notes that an entry is in use now.
func touch(f *os.File) {
	now := time.Now()
	_ = os.Chtimes(f.Name(), now, now) // it only orders evictions
}

// freeze makes all below dir read-only and ours, and returns what it takes on
// disk. Dir itself stays writable until it has its name. The tools are gone, so
// nothing changes meanwhile; but what they left may be anything.
func freeze(dir string) (bytes int64, err error) {
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return 0, errors.New("a tool put something else in the place of its folder")
	}
	me, root := os.Getuid(), os.Geteuid() == 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes += st.Blocks * 512
			if root && st.Uid != uint32(me) { // tools may run under a user of their own
				if err := os.Lchown(path, me, os.Getgid()); err != nil {
					return err
				}
			}
		}
		switch {
		case path == dir || info.Mode()&fs.ModeSymlink != 0:
			return nil
		case d.IsDir() || info.Mode()&0o111 != 0:
			return os.Chmod(path, 0o555)
		case info.Mode().IsRegular():
			return os.Chmod(path, 0o444)
		}
		return os.Remove(path) // no package needs a pipe or a device
	})
	if err != nil {
		return 0, fmt.Errorf("make the packages read-only: %w", err)
	}
	return bytes, nil
}

// writeNew writes a file that must not be there, nor a link in its place.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// readBounded reads a file that may not be larger than most.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", filepath.Base(path), most)
	}
	return text, err
}
