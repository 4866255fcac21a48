package worker

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Bounds of the programs that are kept.
const (
	maxPrograms     = 500
	maxProgramBytes = 2 << 30
	// programRest is how long a program stays after its last use by any process.
	programRest = time.Minute
)

// programCache keeps built programs in a folder. Several processes may share the
// folder; one process builds one program once at a time.
type programCache struct {
	mu   sync.Mutex
	made map[string]*madeProgram // by path; those in use or being built
}

type madeProgram struct {
	users int
	ready chan struct{} // closed when it is built, or is not to be had
	err   error         // why it is not; set before ready is closed, and then it is in no map
}

// get returns the path of a program and holds it until it is released. If it is
// not there, make is to put it at a path that get gives.
func (c *programCache) get(ctx context.Context, folder, name string, make func(to string) error) (string, error) {
	path := filepath.Join(folder, name)
	for {
		p, first := c.hold(path)
		if !first {
			select {
			case <-p.ready:
			case <-ctx.Done():
				c.leave(path, p)
				return "", context.Cause(ctx)
			}
			if p.err == nil {
				return path, nil
			}
			continue // whoever built it failed, or was stopped
		}
		err := c.build(folder, path, make)
		if err != nil {
			c.mu.Lock()
			p.err = err
			delete(c.made, path)
			c.mu.Unlock()
		}
		close(p.ready)
		return path, err
	}
}

func (c *programCache) hold(path string) (p *madeProgram, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		c.made = map[string]*madeProgram{}
	}
	p = c.made[path]
	if p == nil {
		p = &madeProgram{ready: make(chan struct{})}
		c.made[path], first = p, true
	}
	p.users++
	return p, first
}

// release gives back a program.
func (c *programCache) release(path string) {
	c.mu.Lock()
	p := c.made[path]
	c.mu.Unlock()
	c.leave(path, p)
}

func (c *programCache) leave(path string, p *madeProgram) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.users--; p.users == 0 && c.made[path] == p {
		delete(c.made, path)
	}
}

func (c *programCache) build(folder, path string, make func(to string) error) error {
	now := time.Now()
	if os.Chtimes(path, now, now) == nil {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make the folder of programs: %w", err)
	}
	c.evict(folder, now)
	temporary := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	defer os.Remove(temporary)
	if err := make(temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("keep a program: %w", err)
	}
	return nil
}

// evict removes the programs that were used longest ago, as many as are too many.
func (c *programCache) evict(folder string, now time.Time) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	var list []fs.FileInfo
	var total int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			list, total = append(list, info), total+info.Size()
		}
	}
	slices.SortFunc(list, func(a, b fs.FileInfo) int { return cmp.Compare(a.ModTime().UnixNano(), b.ModTime().UnixNano()) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := len(list); len(list) > 0 && (n >= maxPrograms || total > maxProgramBytes); list = list[1:] {
		path := filepath.Join(folder, list[0].Name())
		if now.Sub(list[0].ModTime()) < programRest || c.made[path] != nil {
			continue
		}
		if os.Remove(path) == nil {
			n, total = n-1, total-list[0].Size()
		}
	}
}
