package engine

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"

	"sluice"
	"sluice/internal/store"
)

// Bounds of watching.
const (
	changesPerRead = 500
	// ringKept is how many of the newest changes are kept for those who wait.
	ringKept = 4096
	// recheck is how often a watcher looks without having been told: the net
	// against a lost signal.
	recheck = 10 * time.Second
)

// hub tells those who wait that something was committed. While the engine
// runs, one goroutine reads each change once and keeps the newest in a ring,
// from which all who wait are served; who is behind the ring reads the store
// from where it stands. So a slow one costs nothing and misses nothing.
type hub struct {
	mu      sync.Mutex
	rev     int64         // newest change that was told
	changed chan struct{} // closed and replaced when rev grows
	told    map[string]map[chan struct{}]bool

	kick    chan struct{}
	running bool
	waiters int
	ring    []*sluice.Job // changes above base, in the order of their numbers
	base    int64
}

func newHub() *hub {
	return &hub{changed: make(chan struct{}), told: map[string]map[chan struct{}]bool{}, kick: make(chan struct{}, 1)}
}

func (h *hub) signal(s store.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range s.Workers {
		for ch := range h.told[w] {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
	if s.All {
		for _, of := range h.told {
			for ch := range of {
				select {
				case ch <- struct{}{}:
				default:
				}
			}
		}
	}
	if s.Rev <= h.rev && (!s.All || !h.running || h.waiters == 0) {
		return
	}
	if !h.running || h.waiters == 0 {
		h.ring, h.base = nil, s.Rev
		h.tell(s.Rev)
		return
	}
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// tell wakes those who wait for a change above the one told before.
func (h *hub) tell(rev int64) {
	h.rev = rev
	close(h.changed)
	h.changed = make(chan struct{})
}

// beyond returns a channel that is closed once a change above rev is told, and
// a function to be called when the caller no longer waits for it.
func (h *hub) beyond(rev int64) (<-chan struct{}, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rev > rev {
		closed := make(chan struct{})
		close(closed)
		return closed, func() {}
	}
	h.waiters++
	return h.changed, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.waiters--
	}
}

// since returns the changes above rev, at most changesPerRead, and the number
// that the caller has then seen; false if the ring does not reach back so far.
func (h *hub) since(rev int64) ([]*sluice.Job, int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.running || rev < h.base {
		return nil, rev, false
	}
	i := sort.Search(len(h.ring), func(i int) bool { return h.ring[i].Rev > rev })
	jobs := slices.Clone(h.ring[i:min(i+changesPerRead, len(h.ring))])
	if i+len(jobs) == len(h.ring) {
		return jobs, max(h.rev, rev), true
	}
	return jobs, jobs[len(jobs)-1].Rev, true
}

// runHub fills the ring until ctx ends.
func (e *Engine) runHub(ctx context.Context) {
	h := e.hub
	rev, err := view(ctx, e, func(r store.Reader) (int64, error) { return r.MaxRev() })
	if err != nil {
		e.log.Error("read the newest change; watchers read for themselves", "error", err)
		return
	}
	h.mu.Lock()
	h.running = true
	if rev > h.rev {
		h.tell(rev)
	}
	h.ring, h.base = nil, h.rev
	h.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			h.mu.Lock()
			h.running = false
			h.mu.Unlock()
			return
		case <-h.kick:
		}
		if err := e.fillRing(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("read changes", "error", err)
		}
	}
}

// fillRing reads what changed since the newest change told, and tells it.
func (e *Engine) fillRing(ctx context.Context) error {
	h := e.hub
	for {
		h.mu.Lock()
		from := h.rev
		h.mu.Unlock()
		jobs, rev, err := e.changesSince(ctx, from)
		if err != nil {
			return err
		}
		h.mu.Lock()
		if h.rev == from && rev > from { // nobody told of more meanwhile
			h.ring = append(h.ring, jobs...)
			if over := len(h.ring) - ringKept; over > 0 {
				h.base = h.ring[over-1].Rev
				h.ring = slices.Delete(h.ring, 0, over)
			}
			h.tell(rev)
		}
		h.mu.Unlock()
		if len(jobs) < changesPerRead {
			return nil
		}
	}
}

// changesSince reads changes above rev, at most changesPerRead, without
// arguments, content and results, and the number that is then seen.
func (e *Engine) changesSince(ctx context.Context, rev int64) ([]*sluice.Job, int64, error) {
	var jobs []*sluice.Job
	seen := rev
	err := e.store.View(ctx, func(r store.Reader) (err error) {
		if jobs, err = r.ChangedJobs(rev, changesPerRead); err != nil {
			return err
		}
		if len(jobs) == changesPerRead {
			seen = jobs[len(jobs)-1].Rev
			return nil
		}
		seen, err = r.MaxRev()
		return err
	})
	for _, j := range jobs {
		j.Args, j.Content, j.Result = nil, "", nil
	}
	return jobs, max(seen, rev), err
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
// for one goroutine, and holds nothing that would have to be closed.
type Watcher struct {
	e         *Engine
	workspace string
	job       string
	rev       int64
	// Sees says of each change whether it is shown; nil: all are.
	Sees func(*sluice.Job) bool
}

// Watch follows changes of a workspace ("" for all), or of one job of it,
// above rev; with rev 0, from now on.
func (e *Engine) Watch(ctx context.Context, workspace, job string, rev int64) (*Watcher, error) {
	if rev < 0 {
		return nil, sluice.Invalid("rev", "must not be negative")
	}
	if rev == 0 {
		var err error
		if rev, err = view(ctx, e, func(r store.Reader) (int64, error) { return r.MaxRev() }); err != nil {
			return nil, err
		}
	}
	return &Watcher{e: e, workspace: workspace, job: job, rev: rev}, nil
}

// Rev returns the number of the newest change that Next has passed.
func (w *Watcher) Rev() int64 { return w.rev }

// Next returns the next changes, at least one and at most 500, or the error of
// ctx. It shows each job's newest state: of several changes to a job between
// two calls the last is seen.
func (w *Watcher) Next(ctx context.Context) ([]Change, error) {
	for {
		before := w.rev
		jobs, err := w.e.changes(ctx, &w.rev)
		if err != nil {
			return nil, err
		}
		var out []Change
		for _, j := range jobs {
			if (w.workspace == "" || j.Workspace == w.workspace) && (w.job == "" || j.ID == w.job) && (w.Sees == nil || w.Sees(j)) {
				out = append(out, Change{Job: j})
			}
		}
		if len(out) > 0 {
			return out, nil
		}
		if w.rev > before {
			continue
		}
		if err := w.e.pause(ctx, w.rev, nil); err != nil {
			return nil, err
		}
	}
}

// changes returns changes above *rev, from the ring if it reaches back so far,
// and moves *rev on.
func (e *Engine) changes(ctx context.Context, rev *int64) ([]*sluice.Job, error) {
	jobs, seen, ok := e.hub.since(*rev)
	if !ok {
		var err error
		if jobs, seen, err = e.changesSince(ctx, *rev); err != nil {
			return nil, err
		}
	}
	*rev = seen
	return jobs, nil
}

// pause waits until a change above rev is told, or recheck has passed, or over
// fires, which is an error of kind errOver; or it returns ctx's error.
func (e *Engine) pause(ctx context.Context, rev int64, over <-chan time.Time) error {
	told, leave := e.hub.beyond(rev)
	defer leave()
	t := time.NewTimer(recheck)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
		return errOver
	case <-told:
	case <-t.C:
	}
	return nil
}

var errOver = errors.New("the time to wait is over")

// awaitJob reads a job, again after every change to it, until done says that
// it is enough. It returns early, without an error, when hold has passed; hold
// 0 means as long as ctx.
func (e *Engine) awaitJob(ctx context.Context, workspace, id string, hold time.Duration, done func(store.Reader, *sluice.Job) (bool, error)) error {
	var over <-chan time.Time
	if hold > 0 {
		t := time.NewTimer(hold)
		defer t.Stop()
		over = t.C
	}
	for {
		var enough bool
		var rev int64
		err := e.store.View(ctx, func(r store.Reader) error {
			j, err := jobIn(r, workspace, id)
			if err != nil {
				return err
			}
			id = j.ID
			if rev, err = r.MaxRev(); err != nil {
				return err
			}
			enough, err = done(r, j)
			return err
		})
		if err != nil || enough {
			return err
		}
		for touched := false; !touched; {
			if err := e.pause(ctx, rev, over); errors.Is(err, errOver) {
				return nil
			} else if err != nil {
				return err
			}
			before := rev
			jobs, err := e.changes(ctx, &rev)
			if err != nil {
				return err
			}
			touched = rev == before || slices.ContainsFunc(jobs, func(j *sluice.Job) bool { return j.ID == id })
		}
	}
}
