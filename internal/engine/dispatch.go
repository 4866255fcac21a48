package engine

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/internal/store"
)

// maxTakeWait bounds how long Take waits.
const maxTakeWait = time.Minute

// maxPlaces bounds the places of one request.
const maxPlaces = 10_000

// dispatcher answers the workers of this server that ask for work.
type dispatcher struct {
	mu    sync.Mutex
	calls []*takeCall
	// empty holds the tags, joined, for which no line is ready: a request with
	// these needs no look at the store until a signal clears it.
	empty map[string]bool
	gen   int64 // counts signals
	kick  chan struct{}
}

func newDispatcher() *dispatcher {
	return &dispatcher{empty: map[string]bool{}, kick: make(chan struct{}, 1)}
}

func (d *dispatcher) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// signal notes that lines with these tags changed.
func (d *dispatcher) signal(tags []string) {
	d.mu.Lock()
	d.gen++
	for key := range d.empty {
		for _, t := range strings.Split(key, "\n") {
			if slices.Contains(tags, t) {
				delete(d.empty, key)
				break
			}
		}
	}
	d.mu.Unlock()
	d.wake()
}

// idle reports whether no line is known to be ready for a list of tags, joined,
// and returns the number of signals so far.
func (d *dispatcher) idle(tags string) (bool, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.empty[tags], d.gen
}

// rest notes that no line was ready for tags, unless there was a signal since.
func (d *dispatcher) rest(tags string, gen int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gen == gen {
		d.empty[tags] = true
	}
}

// signalAll notes that any line may have changed.
func (d *dispatcher) signalAll() {
	d.mu.Lock()
	d.gen++
	clear(d.empty)
	d.mu.Unlock()
	d.wake()
}

// Take returns up to req.Places assignments, waiting up to req.Wait for the
// first. Assignments are the caller's even if ctx has ended meanwhile. After an
// error the request counts as answered, with nothing; ask again after a while.
func (e *Engine) Take(ctx context.Context, req sluice.TakeRequest) ([]sluice.Assignment, error) {
	c, err := newTakeCall(req)
	if err != nil {
		return nil, err
	}
	d := e.dispatch
	d.mu.Lock()
	d.calls = append(d.calls, c)
	known := d.empty[c.tags]
	d.mu.Unlock()
	if !known {
		d.wake()
	}
	t := time.NewTimer(min(max(req.Wait, 0), maxTakeWait))
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
		d.giveUp(c)
	case <-ctx.Done():
		d.giveUp(c)
	case <-e.stopped:
		d.giveUp(c)
	}
	return c.got, c.err
}

// Settle records ends as [Engine.Report] does and, in the same transaction,
// takes work as [Engine.Take] does, but without waiting for any; so a place
// costs one commit per job, and a slot that one of the ends frees is not idle in
// between. Requests that wait already come first: the place that asks here
// stands behind them, as it would with a request of its own.
//
// The list has an error, or nil, for each report. If work could not be handed
// out the ends are recorded all the same, and the request counts as answered.
// When reports are sent again, what the lost answer gave is not: a heartbeat
// that settles req.TakeNo without it hands it back.
func (e *Engine) Settle(ctx context.Context, reports []sluice.Report, req sluice.TakeRequest) ([]sluice.Assignment, []error) {
	c, err := newTakeCall(req)
	if err != nil || len(reports) == 0 {
		return nil, e.Report(ctx, reports)
	}
	c.reports = e.bounded(reports)
	d := e.dispatch
	d.mu.Lock()
	d.calls = append(d.calls, c)
	d.mu.Unlock()
	d.wake()
	select {
	case <-c.done:
	case <-ctx.Done():
		d.giveUp(c)
	case <-e.stopped:
		d.giveUp(c)
	}
	if c.errs == nil { // not known to be recorded: they are not held up by what may be wrong with the work
		return nil, e.Report(ctx, reports)
	}
	return c.got, e.refusedReports(reports, c.errs)
}

func newTakeCall(req sluice.TakeRequest) (*takeCall, error) {
	switch {
	case req.Worker == "":
		return nil, sluice.Invalid("worker", "must not be empty")
	case len(req.Tags) == 0:
		return nil, sluice.Invalid("tags", "must name at least one tag")
	case slices.ContainsFunc(req.Tags, func(tag string) bool { return strings.Contains(tag, "\n") }): // see tags below
		return nil, sluice.Invalid("tags", "must not hold line feeds")
	case slices.Contains(req.Tags, sluice.LineFlow):
		return nil, sluice.Invalid("tags", "must not hold %q: flows need no worker", sluice.LineFlow)
	case req.Places < 1 || req.Places > maxPlaces:
		return nil, sluice.Invalid("places", "must be 1 to %d", maxPlaces)
	}
	tags := slices.Clone(req.Tags)
	slices.Sort(tags)
	tags = slices.Compact(tags)
	req.Tags = tags
	return &takeCall{req: req, tags: strings.Join(tags, "\n"), done: make(chan struct{})}, nil
}

// giveUp withdraws a call, unless the dispatcher is at it: then it waits for
// what the dispatcher says, so that nothing is handed to nobody.
func (d *dispatcher) giveUp(c *takeCall) {
	d.mu.Lock()
	if i := slices.Index(d.calls, c); i >= 0 {
		d.calls = slices.Delete(d.calls, i, i+1)
		d.mu.Unlock()
		return
	}
	c.over = true
	d.mu.Unlock()
	<-c.done
}

// run is the Take loop.
func (e *Engine) runDispatcher(ctx context.Context) {
	d := e.dispatch
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.kick:
		case <-t.C:
		}
		next, err := e.dispatchOnce(ctx)
		if err != nil && ctx.Err() == nil {
			e.log.Error("hand out jobs", "error", err)
			next = retryAfter
		}
		if next >= 0 {
			t.Reset(next)
		} else {
			t.Stop()
		}
	}
}

// retryAfter is how long a loop waits after an error of the store.
const retryAfter = 200 * time.Millisecond

// dispatchOnce takes up the calls that wait, looks at what is due, and answers
// the calls that got work. It returns when to look again, <0: on an event.
func (e *Engine) dispatchOnce(ctx context.Context) (time.Duration, error) {
	d := e.dispatch
	d.mu.Lock()
	calls, gen := d.calls, d.gen
	d.calls = nil
	if n := few(calls); n < len(calls) {
		calls, d.calls = calls[:n:n], calls[n:]
		d.wake()
	}
	d.mu.Unlock()
	next, err := e.hand(ctx, calls)
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := calls[:0:0]
	for _, c := range calls {
		if err != nil {
			c.got, c.late, c.errs = nil, nil, nil
		}
		if err != nil && ctx.Err() == nil { // jobs may be on their way to it: once it knows, its heartbeat sorts that out
			c.err = &sluice.Error{Code: sluice.CodeUnavailable, Message: "work cannot be handed out now; ask again", Err: err}
			close(c.done)
			continue
		}
		if err == nil && d.gen == gen && c.free() > 0 { // there was no more
			d.empty[c.tags] = true
		}
		if len(c.got) > 0 || c.over || c.errs != nil {
			e.noteStarts(c.late)
			close(c.done)
			continue
		}
		waiting = append(waiting, c)
	}
	d.calls = append(waiting, d.calls...)
	if d.gen != gen {
		d.wake()
	}
	return next, err
}

// few returns how many calls, from the first, are dealt with in one transaction:
// all, unless they bring too many reports for one.
func few(calls []*takeCall) int {
	reports := 0
	for i, c := range calls {
		if reports += len(c.reports); reports > maxReports && i > 0 {
			return i
		}
	}
	return len(calls)
}

// TakeNow hands out what can start at once for one request, and does not wait.
func (e *Engine) TakeNow(ctx context.Context, req sluice.TakeRequest) ([]sluice.Assignment, error) {
	c, err := newTakeCall(req)
	if err != nil {
		return nil, err
	}
	if _, err := e.hand(ctx, []*takeCall{c}); err != nil {
		return nil, err
	}
	e.noteStarts(c.late)
	return c.got, nil
}

// hand does one transaction's work for calls. It returns when a line or an
// expiry is due next, <0 if none is.
func (e *Engine) hand(ctx context.Context, calls []*takeCall) (time.Duration, error) {
	var next time.Duration
	var u *unit
	idle, gen := e.dispatch.idle(sluice.LineFlow)
	flows := &takeCall{req: sluice.TakeRequest{Tags: []string{sluice.LineFlow}, Places: maxFlowStarts}}
	err := e.store.Update(ctx, func(tx store.Tx) error {
		u = e.unit(tx)
		u.tell = map[int64]told{}
		u.foresee(calls, !idle)
		if err := u.recordOf(calls); err != nil {
			return err
		}
		u.now = tx.Now()
		for _, c := range calls {
			c.got, c.late = nil, nil
			if c.seen.IsZero() {
				c.seen = u.now
			}
			if err := u.introduce(c); err != nil {
				return err
			}
		}
		expired, err := u.expireDue() // first: whose time is up is ahead of nobody
		if err != nil {
			return err
		}
		more, err := u.wake()
		if err != nil {
			return err
		}
		flows.late, flows.flows, flows.seen = nil, 0, u.now
		if !idle || u.flowReady { // first: what they push may be taken at once
			if err := u.admit([]*takeCall{flows}); err != nil {
				return err
			}
			more = more || flows.free() == 0
		}
		for rest := calls; len(rest) > 0; {
			same, others := split(rest)
			if err := u.admit(same); err != nil {
				return err
			}
			rest = others
		}
		u.signal()
		next, err = u.next(more || expired)
		return err
	})
	if err == nil {
		u.committed()
		u.keepLocks()
		for _, c := range calls {
			e.known.Store(c.req.Worker, true)
		}
		e.noteStarts(flows.late)
		if flows.flows == 0 {
			e.dispatch.rest(sluice.LineFlow, gen)
		}
	}
	return next, err
}

// foresee tells the store for what hand will ask it after the ends that came with
// requests.
func (u *unit) foresee(calls []*takeCall, flows bool) {
	if flows {
		u.tx.Foresee([]string{sluice.LineFlow}, maxFlowStarts)
	}
	for rest := calls; len(rest) > 0; {
		same, others := split(rest)
		places := 0
		for _, c := range same {
			places += c.req.Places
		}
		u.tx.Foresee(same[0].req.Tags, min(places, maxLinesPerRound))
		rest = others
	}
}

// recordOf records the ends that came with requests, before anything is handed
// out: what they free is there for all who ask.
func (u *unit) recordOf(calls []*takeCall) error {
	var all []sluice.Report
	for _, c := range calls {
		c.errs = nil
		all = append(all, c.reports...)
	}
	if len(all) == 0 {
		return nil
	}
	errs, err := u.recordAll(all)
	if err != nil {
		return err
	}
	for _, c := range calls {
		if n := len(c.reports); n > 0 {
			c.errs, errs = errs[:n:n], errs[n:]
		}
	}
	u.forget()
	return nil
}

// introduce makes the row of a worker that takes before its first heartbeat,
// so that it is missed if none comes.
func (u *unit) introduce(c *takeCall) error {
	if _, ok := u.e.known.Load(c.req.Worker); ok {
		return nil
	}
	rows, err := u.tx.Workers(time.Time{})
	if err != nil || slices.ContainsFunc(rows, func(w *store.WorkerRow) bool { return w.Worker == c.req.Worker }) {
		return err
	}
	hb := sluice.Heartbeat{Worker: c.req.Worker, Tags: c.req.Tags, Places: c.req.Places}
	return u.tx.SaveWorker(&store.WorkerRow{WorkerInfo: sluice.WorkerInfo{Heartbeat: hb, StartedAt: u.now, LastPing: u.now}})
}

// split divides calls into those with the tags of the first, and the others.
func split(calls []*takeCall) (same, others []*takeCall) {
	for _, c := range calls {
		if c.tags == calls[0].tags {
			same = append(same, c)
		} else {
			others = append(others, c)
		}
	}
	return same, others
}

// expireDue fails waiting jobs whose time is up.
func (u *unit) expireDue() (bool, error) {
	const most = 200
	u.now = u.tx.Now()
	jobs, err := u.tx.Expired(u.now, most)
	if err != nil || len(jobs) == 0 {
		return false, err
	}
	for _, j := range jobs {
		_, l, err := u.openJob(j)
		if err != nil {
			return false, err
		}
		if err := u.expire(l, j); err != nil {
			return false, err
		}
	}
	err = u.settle()
	u.forget()
	return len(jobs) == most, err
}

// next returns how long until something is due; 0 if there is more to do now.
func (u *unit) next(more bool) (time.Duration, error) {
	if more {
		return 0, nil
	}
	wake, err := u.tx.NextWake()
	if err != nil {
		return 0, err
	}
	expiry, err := u.tx.NextExpiry()
	if err != nil {
		return 0, err
	}
	if wake.IsZero() || !expiry.IsZero() && expiry.Before(wake) {
		wake = expiry
	}
	if wake.IsZero() {
		return -1, nil
	}
	return max(wake.Sub(u.tx.Now()), 0), nil
}
