package engine

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
	"sluice/internal/vault"
)

// Defaults of Options.
const (
	DefaultLostAfter = 75 * time.Second
	DefaultStopAfter = 60 * time.Second
	DefaultKillGrace = 5 * time.Second
	DefaultRetention = 30 * 24 * time.Hour
	// DefaultMaxFlowSteps and DefaultMaxFlowDepth bound one run of a flow.
	DefaultMaxFlowSteps = 100_000
	DefaultMaxFlowDepth = 50
	// lostMargin is what must lie between a worker's own stop and the moment
	// when the server gives it up, beside the grace of a kill.
	lostMargin = 5 * time.Second
	// minMargin replaces lostMargin where all times are cut short for tests.
	minMargin = 500 * time.Millisecond
)

// Options configure an engine; a zero field takes the default named.
type Options struct {
	StopAfter      time.Duration        // how long a worker may be out of touch before it ends its jobs; 60 s
	LostAfter      time.Duration        // how long before its executions are declared lost; 75 s
	KillGrace      time.Duration        // between TERM and KILL; 5 s
	DefaultTimeout time.Duration        // of a job that names none; 0: the worker's own default
	Retention      time.Duration        // of completed jobs and their logs; 30 days; <0: for ever
	AuditRetention time.Duration        // of the audit log; 365 days; <0: for ever
	CleanEvery     time.Duration        // how often retention is looked after; 5 min
	MaxFlowSteps   int64                // jobs that one run of a flow may push, however deep; 100,000
	MaxFlowDepth   int                  // how deep flows, loops and branches may be nested; 50
	Evaluator      Evaluator            // of JavaScript in flows; nil: such expressions fail
	Margin         time.Duration        // least distance of LostAfter from StopAfter + KillGrace; 5 s
	Email          string               // of who uses the server's own token; DefaultEmail
	Keys           *vault.Ring          // master keys of secrets; nil: there are none, and no secret can be written or read
	Uptime         func() time.Duration // a clock that only ascends, with the seconds' pace; the process's own
	Logger         *slog.Logger
}

// Engine runs jobs under limits on a store. Its methods may be called
// concurrently; those that change something return when the change is durable.
type Engine struct {
	store        store.Store
	o            Options
	log          *slog.Logger
	dispatch     *dispatcher
	jobKey       atomic.Pointer[[]byte] // signs job tokens; nil: not read yet
	progress     *progressBook
	handed       *handedBook
	hub          *hub
	scripts      scriptCache
	flows        flowCache[flow.Value]
	stepLocks    flowCache[string]
	flowKick     chan struct{} // a flow is due
	scheduleKick chan struct{} // schedules changed
	knotKick     chan struct{} // a line has no room
	people       identities
	hashes       chan struct{} // passwords that are being hashed
	reapMu       sync.Mutex
	readyAt      time.Time     // when this server became ready to hear heartbeats
	lead         time.Duration // of the store's clock before the uptime, when workers were last looked at
	deaf         atomic.Bool   // since then the store failed, so that somebody was not heard
	stopped      chan struct{}
	stop         sync.Once
	unsub        func()

	known  sync.Map // workers that have a row
	quiet  sync.Map // workers for whom there was no order when last looked, and no word of one since
	lost   atomic.Int64
	taken  atomic.Int64
	lateMu sync.Mutex
	late   []time.Duration
	due    map[int64]time.Time // line → instant at which it was to get room
}

var workspaceID = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,49}$`)

// New makes an engine. It refuses a LostAfter so short that a worker cut off
// could still be ending its jobs. The error has code invalid.
func New(ctx context.Context, s store.Store, o Options) (*Engine, error) {
	setDefault(&o.StopAfter, DefaultStopAfter)
	setDefault(&o.LostAfter, DefaultLostAfter)
	setDefault(&o.KillGrace, DefaultKillGrace)
	setDefault(&o.Retention, DefaultRetention)
	setDefault(&o.AuditRetention, DefaultAuditRetention)
	setDefault(&o.CleanEvery, 5*time.Minute)
	if o.Email == "" {
		o.Email = DefaultEmail
	}
	if o.MaxFlowSteps == 0 {
		o.MaxFlowSteps = DefaultMaxFlowSteps
	}
	if o.MaxFlowDepth == 0 {
		o.MaxFlowDepth = DefaultMaxFlowDepth
	}
	setDefault(&o.Margin, lostMargin)
	if least := o.StopAfter + o.KillGrace + max(o.Margin, minMargin); o.LostAfter < least {
		return nil, sluice.Invalid("lost_after", "must be at least %s: stop_after %s + kill grace %s + %s", least, o.StopAfter, o.KillGrace, o.Margin)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Uptime == nil {
		started := time.Now()                                          //nolint:forbidigo // only its monotonic part is used, to tell when the store's clock jumps.
		o.Uptime = func() time.Duration { return time.Since(started) } //nolint:forbidigo // as above
	}
	e := &Engine{
		store: audited{s}, hashes: make(chan struct{}, hashesAtOnce), o: o, log: o.Logger, dispatch: newDispatcher(), hub: newHub(), progress: newProgressBook(), handed: newHandedBook(), stopped: make(chan struct{}),
		due: map[int64]time.Time{}, flowKick: make(chan struct{}, 1), scheduleKick: make(chan struct{}, 1), knotKick: make(chan struct{}, 1),
	}
	now, err := e.Now(ctx)
	if err != nil {
		return nil, err
	}
	e.readyAt, e.lead = now, leadOf(now, o.Uptime())
	e.unsub = s.Subscribe(func(sig store.Signal) {
		if len(sig.Tags) > 0 {
			e.dispatch.signal(sig.Tags)
		}
		for _, w := range sig.Workers {
			e.quiet.Delete(w)
		}
		if sig.Flows || sig.All {
			e.kickSchedules()
			select {
			case e.flowKick <- struct{}{}:
			default:
			}
		}
		if sig.All {
			e.mayKnot()
			e.dispatch.signalAll()
			e.quiet.Clear()
		}
		if sig.Rev > 0 || len(sig.Workers) > 0 || sig.All {
			e.hub.signal(sig)
		}
	})
	return e, nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// Terms are the times that a worker keeps to.
type Terms struct{ StopAfter, KillGrace time.Duration }

// Terms returns the times that workers of this server keep to.
func (e *Engine) Terms() Terms { return Terms{StopAfter: e.o.StopAfter, KillGrace: e.o.KillGrace} }

// Run runs the engine's loops until ctx ends: handing out, reaping, retention.
// After it, Take answers nothing more.
func (e *Engine) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { e.runDispatcher(ctx) })
	wg.Go(func() { e.runFlows(ctx) })
	wg.Go(func() { e.runKnots(ctx) })
	wg.Go(func() { e.runHub(ctx) })
	wg.Go(func() { e.runProgress(ctx) })
	wg.Go(func() { e.runSchedules(ctx) })
	wg.Go(func() { e.every(ctx, "declare silent workers lost", e.Reap) })
	wg.Go(func() { e.every(ctx, "delete what is old", e.Clean) })
	wg.Go(func() { e.every(ctx, "note the use of tokens", e.NoteTokenUse) })
	<-ctx.Done()
	e.Close()
	wg.Wait()
	return nil
}

// Close releases those who wait in Take.
func (e *Engine) Close() {
	e.stop.Do(func() {
		close(e.stopped)
		e.unsub()
	})
}

// every calls f, and again after as long as it says.
func (e *Engine) every(ctx context.Context, what string, f func(context.Context) (time.Duration, error)) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		next, err := f(ctx)
		if err != nil && ctx.Err() == nil {
			e.log.Error(what, "error", err)
			next = retryAfter
		}
		t.Reset(max(next, time.Millisecond))
	}
}

// cleanRows is how many rows one transaction of retention deletes.
const cleanRows = 500

// idleGroup is how long a group that holds nothing is kept.
const idleGroup = time.Hour

// Clean does one small piece of retention. It returns when to do the next.
func (e *Engine) Clean(ctx context.Context) (time.Duration, error) {
	more := false
	err := e.store.Update(ctx, func(tx store.Tx) error {
		now := tx.Now()
		var before time.Time
		if e.o.Retention > 0 {
			before = now.Add(-e.o.Retention)
		}
		n, err := tx.DeleteJobs(now, before, cleanRows)
		more = n >= cleanRows
		return err
	})
	if err == nil && !more {
		err = e.store.Update(ctx, func(tx store.Tx) (err error) {
			more, err = e.cleanHistory(tx)
			return err
		})
	}
	if more {
		return 0, err
	}
	return e.o.CleanEvery, err
}

// cleanHistory deletes what outlives jobs, and reports whether there is more.
func (e *Engine) cleanHistory(tx store.Tx) (bool, error) {
	now := tx.Now()
	if e.o.Retention > 0 {
		n, err := tx.DeleteExecutions(now, max(e.o.Retention, idleGroup), cleanRows)
		if err != nil || n >= cleanRows {
			return true, err
		}
	}
	n, err := tx.DeleteGroups(now.Add(-idleGroup), cleanRows)
	if err != nil || n >= cleanRows {
		return true, err
	}
	if n, err = tx.EraseFlows(cleanRows); err != nil || n >= cleanRows {
		return true, err
	}
	if _, err = tx.DeleteWorkers(now.Add(-24*time.Hour), cleanRows); err != nil {
		return false, err
	}
	if n, err := tx.DeleteCached(now, cleanRows); err != nil || n >= cleanRows {
		return true, err
	}
	if n, err := tx.DeleteTicks(now.Add(-tickKept), cleanRows); err != nil || n >= cleanRows {
		return true, err
	}
	return e.cleanPeople(tx, now)
}

// cleanPeople deletes tokens that have expired and old entries of the audit log.
func (e *Engine) cleanPeople(tx store.Tx, now time.Time) (bool, error) {
	n, err := tx.DeleteTokens(now, cleanRows)
	if err != nil || n >= cleanRows || e.o.AuditRetention < 0 {
		return n >= cleanRows, err
	}
	n, err = tx.DeleteAudit(now.Add(-e.o.AuditRetention), cleanRows)
	return n >= cleanRows, err
}

// lateKept is how many latenesses are kept for metrics.
const lateKept = 1024

// expected notes when a line was to get room.
func (e *Engine) expected(line int64, at time.Time) {
	e.lateMu.Lock()
	defer e.lateMu.Unlock()
	if len(e.due) > lateKept {
		clear(e.due)
	}
	e.due[line] = at
}

// lateness returns how long after the first instant at which it could have
// started a job is started: its due time, its line's room, a free place.
func (e *Engine) lateness(now time.Time, l *store.Line, due, place time.Time) time.Duration {
	e.lateMu.Lock()
	room := e.due[l.ID]
	delete(e.due, l.ID)
	e.lateMu.Unlock()
	first := due
	for _, t := range []time.Time{room, place} {
		if t.After(first) {
			first = t
		}
	}
	return max(now.Sub(first), 0)
}

func (e *Engine) noteStarts(late []time.Duration) {
	e.taken.Add(int64(len(late)))
	e.lateMu.Lock()
	defer e.lateMu.Unlock()
	e.late = append(e.late, late...)
	if over := len(e.late) - lateKept; over > 0 {
		e.late = slices.Delete(e.late, 0, over)
	}
}

// Metrics returns counters.
func (e *Engine) Metrics(ctx context.Context) (*Metrics, error) {
	m := &Metrics{AttemptsLost: e.lost.Load(), Taken: e.taken.Load(), Store: e.store.Stats()}
	e.lateMu.Lock()
	m.Lateness = slices.Clone(e.late)
	e.lateMu.Unlock()
	err := e.store.View(ctx, func(r store.Reader) error {
		var err error
		if m.Lines, err = r.LineCounts(); err != nil {
			return err
		}
		for i := range m.Lines {
			if m.Lines[i].Tag == sluice.LineFlow { // which is nobody's to know
				m.Lines[i].Tag = sluice.TagFlow
			}
		}
		if m.Counts, err = r.JobCounts(""); err != nil {
			return err
		}
		m.ServedTags = append(m.ServedTags, sluice.TagFlow) // by the engine itself
		workers, err := r.Workers(r.Now().Add(-e.o.StopAfter))
		for _, w := range workers {
			if w.Gone {
				continue
			}
			m.Workers++
			m.Places += w.Places
			for _, t := range w.Tags {
				if !slices.Contains(m.ServedTags, t) {
					m.ServedTags = append(m.ServedTags, t)
				}
			}
		}
		return err
	})
	return m, err
}
