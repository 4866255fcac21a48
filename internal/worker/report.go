package worker

import (
	"context"
	"slices"
	"time"

	"sluice"
)

const (
	// confirmLazy is how long a launch waits for its confirmation to travel with
	// the report, unless somebody waits for it.
	confirmLazy  = 100 * time.Millisecond
	reportBatch  = 500
	reportsBytes = 8 << 20
)

// launched books that an execution's program was launched.
func (w *Worker) launched(h *held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.launched {
		return
	}
	h.launched, h.launchedAt = true, time.Now()
	w.confirms = append(w.confirms, h)
	if h.Prompt {
		nudge(w.confC)
	}
}

// confirmLoop confirms launches: at once where somebody waits for it, in one
// call with all others that are known by then.
func (w *Worker) confirmLoop() {
	retry := newBackoff(50*time.Millisecond, 5*time.Second)
	for {
		select {
		case <-w.confC:
		case <-w.life.Done():
			return
		}
		for {
			ids := w.dueConfirms()
			if len(ids) == 0 {
				break
			}
			if err := w.confirm(ids); err != nil {
				w.log.Warn("confirming launches failed", "err", err)
				retry.wait(w.life)
			} else {
				retry.reset()
			}
		}
	}
}

// dueConfirms drops what needs no confirmation any more (the report of what is
// done carries it), and returns all others
// if one of them is due.
func (w *Worker) dueConfirms() []int64 {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.confirms = slices.DeleteFunc(w.confirms, func(h *held) bool {
		return h.confirmed || h.forget || h.done || w.held[h.Execution] != h
	})
	var ids []int64
	due := false
	for _, h := range w.confirms {
		due = due || h.Prompt || now.Sub(h.launchedAt) >= confirmLazy
		ids = append(ids, h.Execution)
	}
	if !due || w.life.Err() != nil {
		return nil
	}
	return ids
}

// confirm confirms launches in one call or, if one of them is no longer the
// worker's, one by one.
func (w *Worker) confirm(ids []int64) error {
	ctx, cancel := context.WithTimeout(w.life, callTimeout)
	defer cancel()
	err := w.cfg.Source.Confirm(ctx, w.cfg.Name, ids)
	switch {
	case err != nil && temporary(err):
		return err
	case err != nil && len(ids) > 1:
		for _, id := range ids {
			if err := w.confirm([]int64{id}); err != nil {
				return err
			}
		}
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if h := w.held[id]; h != nil {
			h.confirmed = true
		}
	}
	if isConflict(err) {
		w.stopOne(w.held[ids[0]], Stop{Name: FailureCanceled, Reason: err.Error(), forget: true})
	}
	return nil
}

// reportsAtOnce bounds the calls that report ends. With more than one, the end
// of one job does not wait for the answer to that of another.
const reportsAtOnce = 4

// reportLoop sends what is ready, all of it in one call, and again what was not
// acknowledged.
func (w *Worker) reportLoop() {
	retry := newBackoff(50*time.Millisecond, 5*time.Second)
	calls := make(chan struct{}, reportsAtOnce)
	for {
		select {
		case <-w.reportC:
		case <-w.life.Done():
			return
		}
		for {
			select {
			case calls <- struct{}{}:
			case <-w.life.Done():
				return
			}
			batch, places := w.nextReports()
			if len(batch) == 0 {
				<-calls
				break
			}
			w.loops.Go(func() {
				defer func() { <-calls }()
				w.reportBatch(batch, places, retry)
			})
		}
	}
}

// reportBatch sends reports, with a request for their places; what is to be sent
// again is ready again after a while.
func (w *Worker) reportBatch(batch []*held, places int, retry *backoff) {
	again := w.report(batch, places)
	if len(again) == 0 {
		retry.reset()
		return
	}
	retry.wait(w.life)
	w.mu.Lock()
	for _, h := range again {
		if w.held[h.Execution] == h {
			w.ready = append(w.ready, h)
		}
	}
	w.mu.Unlock()
	nudge(w.reportC)
}

// nextReports takes what is ready, as far as it fits into one call, and returns
// for how many of the places that are with it work can be asked for; the others
// are free.
func (w *Worker) nextReports() ([]*held, int) {
	now := bootNow()
	w.mu.Lock()
	defer w.mu.Unlock()
	n, size, places := 0, 0, 0
	for n < len(w.ready) && n < reportBatch && (n == 0 || size+len(w.ready[n].report.Result) <= reportsBytes) {
		h := w.ready[n]
		size += len(h.report.Result)
		if h.place {
			h.place = false
			places++
		}
		n++
	}
	batch := slices.Clone(w.ready[:n])
	w.ready = slices.Delete(w.ready, 0, n)
	if places > 0 && (w.draining || now >= w.lease) {
		w.free += places
		places = 0
		nudge(w.takeC)
	}
	return batch, places
}

// send makes the call for some reports, with a request for places if there are any.
func (w *Worker) send(reports []sluice.Report, places int) []error {
	ctx, cancel := context.WithTimeout(w.life, callTimeout)
	defer cancel()
	if places == 0 {
		return w.cfg.Source.Report(ctx, reports)
	}
	w.mu.Lock()
	req := w.newTake(places)
	w.mu.Unlock()
	as, errs := w.cfg.Source.Settle(ctx, reports, req)
	w.freePlaces(w.received(req, as))
	return errs
}

// report sends one batch and returns what is to be sent again.
func (w *Worker) report(batch []*held, places int) (again []*held) {
	reports := make([]sluice.Report, len(batch))
	for i, h := range batch {
		reports[i] = h.report
	}
	errs := w.send(reports, places)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, h := range batch {
		err := error(sluice.Errorf(sluice.CodeInternal, "the source did not answer for this report"))
		if i < len(errs) {
			err = errs[i]
		}
		switch {
		case w.held[h.Execution] != h: // forgotten meanwhile
		case err == nil:
			delete(w.held, h.Execution)
		case isConflict(err):
			w.log.Warn("a report came too late", "job", h.JobID, "err", err)
			delete(w.held, h.Execution)
		case temporary(err):
			w.log.Warn("reporting an end failed", "job", h.JobID, "err", err)
			again = append(again, h)
		case h.report.Success: // a result that the source will never take
			h.report.Success = false
			h.report.Result = (&Failure{FailureResult, "The result was refused: " + err.Error()}).json()
			again = append(again, h)
		default:
			w.log.Error("a report was refused", "job", h.JobID, "err", err)
			delete(w.held, h.Execution)
		}
	}
	w.changed.Broadcast()
	nudge(w.takeC)
	return again
}
