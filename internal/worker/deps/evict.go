package deps

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// stored is an entry on the disk.
type stored struct {
	dir   string
	bytes int64
	used  time.Time
}

// evict makes room for an entry of so many bytes: it removes the entries that
// were not used for the longest time, but none that is in use, here or in
// another process. If those in use leave too little room the cache is larger
// than its bound until a later install finds them free.
func (c *Cache) evict(ctx context.Context, room int64) error {
	dir, done, err := c.tempDir(ctx)
	if err != nil {
		return err
	}
	defer done()
	guard, err := lockFile(ctx, filepath.Join(c.cfg.Dir, mainLock), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer guard.Close()
	all, err := c.stored()
	if err != nil {
		return err
	}
	total := room
	for _, s := range all {
		total += s.bytes
	}
	for _, s := range all {
		if total <= c.cfg.MaxBytes {
			break
		}
		if s.remove(dir) {
			total -= s.bytes
		}
	}
	return nil
}

// stored lists the entries, the one used longest ago first.
func (c *Cache) stored() ([]stored, error) {
	var all []stored
	for _, f := range []string{familyPython, familyBun, familyGo} {
		names, err := os.ReadDir(filepath.Join(c.cfg.Dir, f))
		if err != nil {
			return nil, fmt.Errorf("list the packages: %w", err)
		}
		for _, n := range names {
			if strings.HasSuffix(n.Name(), lockSuffix) {
				continue
			}
			s := stored{dir: filepath.Join(c.cfg.Dir, f, n.Name())}
			m, err := readMarker(s.dir)
			if err != nil {
				m.Bytes = 0 // damaged: it goes first, since it has no time of use
			} else if info, err := os.Stat(s.dir + lockSuffix); err == nil {
				s.used = info.ModTime()
			}
			s.bytes = m.Bytes
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b stored) int { return a.used.Compare(b.used) })
	return all, nil
}

// remove removes an entry by way of a temporary folder, unless it is in use.
func (s stored) remove(tmp string) bool {
	f, err := os.OpenFile(s.dir+lockSuffix, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false
	}
	defer f.Close()
	if flock(f, syscall.LOCK_EX) != nil || !hasName(f) {
		return false
	}
	_ = os.Chmod(s.dir, 0o700) // a folder that is moved must be writable
	if os.Rename(s.dir, filepath.Join(tmp, filepath.Base(s.dir))) != nil {
		return false
	}
	_ = os.Remove(f.Name())
	return true
}
