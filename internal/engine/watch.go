package engine

import (
	"context"
	"sync"
	"time"

	"sluice"
	"sluice/internal/store"
)

// Bounds of watching.
const (
	changesPerRead = 500
	// recheck is how often a watcher looks without having been told: the net
	// against a lost signal.
	recheck = 10 * time.Second
)

// hub tells those who wait that something was committed. What was committed
// they read themselves, from where they stand: a slow one costs nothing and
// misses nothing.
type hub struct {
	mu      sync.Mutex
	rev     int64
	changed chan struct{} // closed and replaced when rev grows
	told    map[string]map[chan struct{}]bool
}

func newHub() *hub {
	return &hub{changed: make(chan struct{}), told: map[string]map[chan struct{}]bool{}}
}

func (h *hub) signal(s store.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.Rev > h.rev {
		h.rev = s.Rev
		close(h.changed)
		h.changed = make(chan struct{})
	}
	for _, w := range s.Workers {
		for ch := range h.told[w] {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
}

// beyond returns a channel that is closed once the newest change is above rev.
func (h *hub) beyond(rev int64) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rev > rev {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return h.changed
}

// workers subscribes to orders for a worker.
func (h *hub) workers(name string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	if h.told[name] == nil {
		h.told[name] = map[chan struct{}]bool{}
	}
	h.told[name][ch] = true
	h.mu.Unlock()
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.told[name], ch)
		if len(h.told[name]) == 0 {
			delete(h.told, name)
		}
	}
}

// Watcher yields changes to jobs in the order in which they were made. It is
// for one goroutine.
type Watcher struct {
	e         *Engine
	workspace string
	job       string
	rev       int64
	begin     bool // rev is yet to be set to the newest
}

// Watch follows changes of a workspace ("" for all), or of one job of it,
// above rev; with rev 0, from the first call of Next on.
func (e *Engine) Watch(workspace, job string, rev int64) (*Watcher, error) {
	if rev < 0 {
		return nil, sluice.Invalid("rev", "must not be negative")
	}
	return &Watcher{e: e, workspace: workspace, job: job, rev: rev, begin: rev == 0}, nil
}

// Rev returns the number of the newest change that Next has passed.
func (w *Watcher) Rev() int64 { return w.rev }

// Close ends the watcher. It holds nothing, so that forgetting it is no leak.
func (w *Watcher) Close() {}

// Next returns the next changes, at least one and at most 500, or the error of
// ctx. It shows each job's newest state: of several changes to a job between
// two calls the last is seen.
func (w *Watcher) Next(ctx context.Context) ([]Change, error) {
	if w.begin {
		rev, err := view(ctx, w.e, func(r store.Reader) (int64, error) { return r.MaxRev() })
		if err != nil {
			return nil, err
		}
		w.rev, w.begin = rev, false
	}
	t := time.NewTimer(recheck)
	defer t.Stop()
	for {
		more := w.e.hub.beyond(w.rev)
		jobs, err := view(ctx, w.e, func(r store.Reader) ([]*sluice.Job, error) { return r.ChangedJobs(w.rev, changesPerRead) })
		if err != nil {
			return nil, err
		}
		var out []Change
		for _, j := range jobs {
			w.rev = j.Rev
			if w.workspace != "" && j.Workspace != w.workspace || w.job != "" && j.ID != w.job {
				continue
			}
			seen := *j
			seen.Args, seen.Content, seen.Result = nil, "", nil
			out = append(out, Change{Job: &seen})
		}
		if len(out) > 0 {
			return out, nil
		}
		if len(jobs) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-more:
		case <-t.C:
			t.Reset(recheck)
		}
	}
}

// awaitJob reads a job, again after every commit that touched any job, until
// done says that it is enough. It returns early, without an error, when hold
// has passed; hold 0 means as long as ctx.
func (e *Engine) awaitJob(ctx context.Context, workspace, id string, hold time.Duration, done func(store.Reader, *sluice.Job) (bool, error)) error {
	var limit <-chan time.Time
	if hold > 0 {
		t := time.NewTimer(hold)
		defer t.Stop()
		limit = t.C
	}
	again := time.NewTicker(recheck)
	defer again.Stop()
	var seen int64 = -1
	for {
		var enough bool
		var rev int64
		err := e.store.View(ctx, func(r store.Reader) error {
			j, err := jobIn(r, workspace, id)
			if err != nil {
				return err
			}
			if rev, err = r.MaxRev(); err != nil {
				return err
			}
			if j.Rev == seen { // nothing about this job
				return nil
			}
			seen = j.Rev
			enough, err = done(r, j)
			return err
		})
		if err != nil || enough {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return nil
		case <-again.C:
		case <-e.hub.beyond(rev):
		}
	}
}
