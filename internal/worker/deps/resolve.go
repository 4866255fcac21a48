package deps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sluice"
)

// Resolve returns the lock of a script: what its imports need, pinned as of now.
// It is "" if the imports are all built in, which is found without starting a
// tool, or if the language has no packages. Errors are as those of [Cache.Hold].
func (c *Cache) Resolve(ctx context.Context, language, code string) (string, error) {
	n := needsOf(language, code)
	if n.empty() {
		return "", nil
	}
	return c.resolve(ctx, n, code)
}

// locksFor is how long a lock that was resolved for code without one is good.
const locksFor = 24 * time.Hour

// flight is a lock being resolved.
type flight struct {
	ready chan struct{}
	lock  string
	took  time.Duration
	err   error
}

// LockOf returns the lock of a script that came without one, as [Cache.Resolve]
// does, but for a day the same one for the same needs. Took is how long tools
// were at work for it; 0: it was known.
func (c *Cache) LockOf(ctx context.Context, language, code string) (lock string, took time.Duration, err error) {
	n := needsOf(language, code)
	if n.empty() {
		return "", 0, nil
	}
	key := digest(append(n.words(), c.cfg.PipIndexURL, c.cfg.NPMRegistry, c.cfg.GoProxy)...)
	path := filepath.Join(c.cfg.Dir, locksName, key)
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) < locksFor {
		if text, err := readBounded(path, bunMost); err == nil && len(text) > 0 {
			return string(text), 0, nil
		}
	}
	c.mu.Lock()
	if c.life.Err() != nil {
		c.mu.Unlock()
		return "", 0, errClosed
	}
	f := c.flights[key]
	if f == nil {
		f = &flight{ready: make(chan struct{})}
		c.flights[key] = f
		c.work.Go(func() { c.fly(f, key, path, n, code) })
	}
	c.mu.Unlock()
	select {
	case <-f.ready:
		return f.lock, f.took, f.err
	case <-ctx.Done():
		return "", 0, context.Cause(ctx)
	}
}

// fly resolves a lock for all who wait for it, and keeps it.
func (c *Cache) fly(f *flight, key, path string, n needs, code string) {
	start := time.Now()
	f.lock, f.err = c.resolve(c.life, n, code)
	f.took = time.Since(start)
	if f.err == nil {
		_ = c.keepLock(path, f.lock) // it is only found anew
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, key)
	close(f.ready)
}

// keepLock writes a resolved lock by way of a temporary file.
func (c *Cache) keepLock(path, lock string) error {
	dir, done, err := c.tempDir(c.life)
	if err != nil {
		return err
	}
	defer done()
	temp := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(temp, []byte(lock), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// sweepLocks removes resolved locks that are too old.
func (c *Cache) sweepLocks() error {
	dir := filepath.Join(c.cfg.Dir, locksName)
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for old locks: %w", err)
	}
	for _, n := range names {
		if info, err := n.Info(); err == nil && time.Since(info.ModTime()) >= locksFor {
			_ = os.Remove(filepath.Join(dir, n.Name()))
		}
	}
	return nil
}

// resolve finds the lock for what a script needs.
func (c *Cache) resolve(ctx context.Context, n needs, code string) (lock string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, errTimeout)
	defer cancel()
	dir, done, err := c.workDir(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	switch n.family {
	case familyPython:
		lock, err = c.resolvePython(ctx, dir, n.list)
	case familyBun:
		lock, err = c.resolveBun(ctx, dir, n.list)
	case familyGo:
		lock, err = c.resolveGo(ctx, dir, n.list, code)
	}
	var known *sluice.Error
	if err != nil && !errors.As(err, &known) && ctx.Err() == nil {
		err = &sluice.Error{Code: sluice.CodeUnavailable, Message: "This worker could not find the packages that the script needs.", Err: err}
	}
	return lock, err
}
