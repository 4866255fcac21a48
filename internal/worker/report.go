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

// reportLoop sends what is ready, all of it in one call, until it is acknowledged.
func (w *Worker) reportLoop() {
	retry := newBackoff(50*time.Millisecond, 5*time.Second)
	for {
		select {
		case <-w.reportC:
		case <-w.life.Done():
			return
		}
		for {
			batch := w.nextReports()
			if len(batch) == 0 {
				break
			}
			if w.report(batch) {
				retry.reset()
				continue
			}
			retry.wait(w.life)
			if w.life.Err() != nil {
				return
			}
		}
	}
}

// nextReports takes what is ready, as far as it fits into one call.
func (w *Worker) nextReports() []*held {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, size := 0, 0
	for n < len(w.ready) && n < reportBatch && (n == 0 || size+len(w.ready[n].report.Result) <= reportsBytes) {
		size += len(w.ready[n].report.Result)
		n++
	}
	batch := slices.Clone(w.ready[:n])
	w.ready = slices.Delete(w.ready, 0, n)
	return batch
}

// report sends one batch; what was not acknowledged is ready again. False: the
// source could not be reached, or some of it is to be sent again.
func (w *Worker) report(batch []*held) bool {
	reports := make([]sluice.Report, len(batch))
	for i, h := range batch {
		reports[i] = h.report
	}
	ctx, cancel := context.WithTimeout(w.life, callTimeout)
	errs := w.cfg.Source.Report(ctx, reports)
	cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	ok := true
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
			w.ready = append(w.ready, h)
			ok = false
		case h.report.Success: // a result that the source will never take
			h.report.Success = false
			h.report.Result = (&Failure{FailureResult, "The result was refused: " + err.Error()}).json()
			w.ready = append(w.ready, h)
		default:
			w.log.Error("a report was refused", "job", h.JobID, "err", err)
			delete(w.held, h.Execution)
		}
	}
	w.changed.Broadcast()
	nudge(w.takeC)
	return ok
}
