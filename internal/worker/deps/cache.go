package deps

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice"
)

// Cache keeps locks installed. Its methods may be called from many goroutines,
// and its folder may be shared by several processes.
type Cache struct {
	cfg  Config
	life context.Context // ends when the cache is closed
	end  context.CancelFunc
	work sync.WaitGroup // what is being installed or resolved

	mu      sync.Mutex
	entries map[string]*entry
	flights map[string]*flight // locks being resolved
	python  string             // version; "": not known yet
}

// entry is a lock that somebody holds or waits for.
type entry struct {
	ready  chan struct{} // closed when the rest is set
	end    context.CancelCauseFunc
	users  int // guarded by the cache's mutex
	filled bool
	dir    string
	lock   *os.File // shared flock
	made   int      // packages installed just now; 0: they were there
	took   time.Duration
	err    error
}

// Held is an installed lock that is in use: it stays until it is released.
type Held struct {
	// Dir is "" if nothing is needed. Otherwise it is, for python3, a folder for
	// the module path; for bun, deno and nativets, a folder that holds
	// node_modules, package.json and bun.lock; for go, one that holds go.mod,
	// go.sum and mod, which is the GOMODCACHE to be used with -mod=readonly,
	// GOPROXY=off and GOSUMDB=off. It is read-only.
	Dir string
	// Installed is how many packages were installed for this call, in Took; 0 if
	// they were there.
	Installed int
	Took      time.Duration

	once  sync.Once
	cache *Cache
	key   string
	entry *entry
}

// Release says that the packages are no longer in use. A second call does nothing.
func (h *Held) Release() {
	h.once.Do(func() {
		if h.entry != nil {
			h.cache.drop(h.key, h.entry)
		}
	})
}

// Open opens a cache, makes its folder, and removes what processes that were
// killed have left half done.
func Open(cfg Config) (*Cache, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	c := &Cache{cfg: cfg, entries: make(map[string]*entry), flights: make(map[string]*flight)}
	c.life, c.end = context.WithCancel(context.Background())
	for _, d := range []string{familyPython, familyBun, familyGo, tmpName, locksName} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of dependencies: %w", err)
		}
	}
	if err := c.sweep(); err != nil {
		return nil, err
	}
	return c, c.tryRename()
}

// tryRename looks whether what is made in WorkDir can be moved into the cache.
func (c *Cache) tryRename() error {
	dir, done, err := c.workDir(c.life)
	if err != nil {
		return err
	}
	defer done()
	to := filepath.Join(c.cfg.Dir, tmpName, filepath.Base(dir)+"-moved")
	if err := os.Rename(dir, to); err != nil {
		return &sluice.Error{
			Code: sluice.CodeInvalid, Field: "--cache-dir", Err: err,
			Message: "must be on the file system of the jobs' folders, since what is installed there is moved into it",
		}
	}
	return os.Remove(to)
}

// Close ends what is being installed and waits until it has ended.
func (c *Cache) Close() {
	c.end()
	c.work.Wait()
}

// Ensure installs a lock unless it is there, and returns its folder as
// [Held.Dir] does. The folder may be removed at any later install: what is to
// use it calls [Cache.Hold].
func (c *Cache) Ensure(ctx context.Context, language, lock string) (dir string, err error) {
	h, err := c.Hold(ctx, language, lock)
	if err != nil {
		return "", err
	}
	defer h.Release()
	return h.Dir, nil
}

// Hold installs a lock unless it is there, and keeps it until it is released.
// Calls for one lock install it once. The error is a [sluice.Error] for the
// user: invalid if the lock or a package is to blame, unavailable if the worker
// is; or the cause of ctx's end.
func (c *Cache) Hold(ctx context.Context, language, lock string) (*Held, error) {
	f := family(language)
	if empty, err := c.isEmpty(f, lock); empty || err != nil {
		return &Held{}, err
	}
	key := f + "/" + digest(f, lock)
	c.mu.Lock()
	if c.life.Err() != nil {
		c.mu.Unlock()
		return nil, errClosed
	}
	e := c.entries[key]
	if e == nil {
		e = &entry{ready: make(chan struct{})}
		var work context.Context
		work, e.end = context.WithCancelCause(c.life)
		c.entries[key] = e
		c.work.Go(func() { c.fill(work, e, key, f, lock) })
	}
	e.users++
	c.mu.Unlock()

	h := &Held{cache: c, key: key, entry: e}
	select {
	case <-e.ready:
	case <-ctx.Done():
		h.Release()
		return nil, context.Cause(ctx)
	}
	if e.err != nil {
		h.Release()
		return nil, e.err
	}
	h.Dir, h.Installed, h.Took = e.dir, e.made, e.took
	return h, nil
}

var errClosed = sluice.Errorf(sluice.CodeUnavailable, "The worker is being shut down.")

// isEmpty reports whether a lock names nothing to install.
func (c *Cache) isEmpty(family, lock string) (bool, error) {
	switch family {
	case familyPython:
		return len(pythonLines(lock)) == 0, nil
	case familyBun:
		if lock == "" {
			return true, nil
		}
		_, text, err := bunParts(lock)
		return text == "", err
	case familyGo:
		if lock == "" {
			return true, nil
		}
		_, sum, err := goParts(lock)
		return sum == "", err
	}
	return true, nil
}

// digest names a lock on the disk. The 2 changes when installs change.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range append([]string{"2"}, parts...) {
		fmt.Fprintf(h, "%d\n%s\n", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// drop gives up a use of an entry. The last one ends its install, or lets others
// remove it.
func (c *Cache) drop(key string, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.users--
	if e.users > 0 {
		return
	}
	e.end(errUnwanted)
	if c.entries[key] == e {
		delete(c.entries, key)
	}
	if e.filled && e.lock != nil {
		touch(e.lock)
		e.lock.Close()
	}
}

var errUnwanted = errors.New("nobody waits for the packages any more")

// fill makes an entry ready.
func (c *Cache) fill(ctx context.Context, e *entry, key, family, lock string) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, errTimeout)
	defer cancel()
	i := install{c: c, family: family, lock: lock, dir: filepath.Join(c.cfg.Dir, key)}
	start := time.Now()
	held, err := i.open(ctx)
	if errors.Is(err, errTimeout) {
		err = sluice.Errorf(sluice.CodeUnavailable, "The packages were not installed within %v.", c.cfg.Timeout)
	}
	if err != nil && sluice.CodeOf(err) == sluice.CodeInternal {
		err = &sluice.Error{Code: sluice.CodeUnavailable, Message: "This worker could not install the packages; its log has the details.", Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e.filled, e.lock, e.err, e.dir, e.made, e.took = true, held, err, i.dir, i.made, time.Since(start)
	if e.users == 0 && held != nil {
		held.Close()
	}
	close(e.ready)
}
