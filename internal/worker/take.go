package worker

import (
	"context"
	"fmt"
	"time"

	"sluice"
	"sluice/internal/mask"
)

const (
	// takePace is the least time between two Takes of a worker with many places,
	// so that places that become free at about the same time are asked for
	// together; placePace that of a worker with one place.
	takePace  = time.Millisecond
	placePace = 10 * time.Microsecond
	// With manyTakes outstanding, further ones wait only shortTake, so that their
	// places come together again.
	manyTakes = 8
	shortTake = time.Second
)

// takeLoop asks for work for every free place. Several Takes may be outstanding:
// a place that becomes free does not wait for the answer to an older Take.
func (w *Worker) takeLoop() {
	last, pace := time.Time{}, min(takePace, time.Duration(w.cfg.Places)*placePace)
	for {
		select {
		case <-w.takeC:
		case <-w.taking.Done():
			return
		}
		if rest := pace - time.Since(last); rest > 0 {
			wait(w.taking, rest)
		}
		if req, ok := w.nextTake(); ok {
			last = time.Now()
			w.loops.Go(func() { w.take(req) })
		}
	}
}

// nextTake books all free places for a new Take. There is none without a lease,
// nor while too many ends wait for their acknowledgement.
func (w *Worker) nextTake() (sluice.TakeRequest, bool) {
	now := bootNow()
	w.mu.Lock()
	defer w.mu.Unlock()
	places := min(w.free, 2*w.cfg.Places-len(w.held))
	if places <= 0 || w.draining || now >= w.lease {
		return sluice.TakeRequest{}, false
	}
	w.free -= places
	return w.newTake(places), true
}

// newTake books a request for places that are free no more. The worker's mutex is held.
func (w *Worker) newTake(places int) sluice.TakeRequest {
	w.takeNo++
	req := sluice.TakeRequest{Worker: w.cfg.Name, TakeNo: w.takeNo, Tags: w.cfg.Tags, Places: places, Wait: w.cfg.TakeWait}
	if len(w.takes) >= manyTakes {
		req.Wait = min(req.Wait, shortTake)
	}
	w.takes[req.TakeNo] = struct{}{}
	return req
}

func (w *Worker) take(req sluice.TakeRequest) {
	as, err := w.cfg.Source.Take(w.taking, req)
	unused := w.received(req, as)
	if err != nil && w.taking.Err() == nil {
		w.log.Warn("taking work failed", "err", err)
		w.takeRetry.wait(w.taking)
	} else if err == nil {
		w.takeRetry.reset()
	}
	w.freePlaces(unused)
}

// received starts what a request was given, and returns how many of its places
// are left over.
func (w *Worker) received(req sluice.TakeRequest, as []sluice.Assignment) int {
	var start, back []*held
	now := bootNow()
	w.mu.Lock()
	delete(w.takes, req.TakeNo)
	for _, a := range as {
		if w.held[a.Execution] != nil {
			continue // an answer that came twice
		}
		h := w.hold(a)
		if w.draining || now >= w.lease || len(start) == req.Places {
			h.done = true
			back = append(back, h)
			continue
		}
		w.running++
		start = append(start, h)
	}
	w.changed.Broadcast()
	w.mu.Unlock()

	for _, h := range start {
		w.loops.Go(func() { w.runOne(h) })
	}
	nudge(w.clockC)
	w.handBack(back)
	return req.Places - len(start)
}

// hold books an assignment. The worker's mutex is held.
func (w *Worker) hold(a sluice.Assignment) *held {
	h := &held{Assignment: a, room: make(chan struct{}, 1), hurry: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancelCause(w.life)
	h.log = newJobLog(a.Execution, w.appendLog)
	h.log.notifyRoom(func() { nudge(h.room) })
	h.stream = newResultStream(a.Execution, w.appendStream)
	timeout := a.Timeout
	if timeout <= 0 {
		timeout = w.cfg.DefaultTimeout
	}
	h.deadline = time.Now().Add(timeout)
	w.held[a.Execution] = h
	return h
}

func (w *Worker) appendLog(ctx context.Context, execution, offset int64, text []byte) error {
	return w.appendText(ctx, sluice.LogChunk{Execution: execution, Worker: w.cfg.Name, Offset: offset, Text: text})
}

func (w *Worker) appendStream(ctx context.Context, execution, offset int64, text []byte) error {
	return w.appendText(ctx, sluice.LogChunk{Execution: execution, Worker: w.cfg.Name, Offset: offset, Text: text, Stream: true})
}

func (w *Worker) appendText(ctx context.Context, c sluice.LogChunk) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := w.cfg.Source.AppendLog(ctx, c)
	if isConflict(err) {
		w.forget(c.Execution, "the server no longer knows this execution as this worker's")
	}
	return err
}

// runOne runs one execution to its end.
func (w *Worker) runOne(h *held) {
	var o Outcome
	h.secrets = mask.NewSet(h.Secrets)
	executor := w.cfg.Executors[h.Language]
	if h.Kind == sluice.KindDependencies {
		executor = ExecutorFunc(lockJob)
	}
	if executor == nil {
		o = failed(FailureUnsupported, "This worker cannot run the language %q; it can run %v.", h.Language, w.languages)
	} else {
		o = maskOutcome(h.secrets, w.guard(executor, h))
	}
	h.cancel(nil)
	w.mu.Lock()
	forget := h.forget
	back := o.HandBack != nil && !h.launched && h.stop == nil
	w.mu.Unlock()
	if back {
		w.goesBack(h, o.HandBack)
		return
	}
	w.launchRetry.reset()
	// A place is worth waiting for until the report if that is sent at once.
	stays := !forget && h.log.finished() && h.stream.finished()
	if !stays {
		w.freePlaces(1)
	}
	if !forget {
		grace, cancel := context.WithTimeout(w.life, logGrace)
		h.log.finish(grace, w.life)
		h.stream.finish(grace, w.life)
		cancel()
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	w.jobsRun++
	h.done = true
	if h.forget {
		delete(w.held, h.Execution)
		if stays {
			w.free++
			nudge(w.takeC)
		}
	} else {
		h.report, h.place = w.reportOf(h, o), stays
		w.ready = append(w.ready, h)
		nudge(w.reportC)
	}
	w.changed.Broadcast()
}

// maskOutcome masks what an outcome says of a failure.
func maskOutcome(s *mask.Set, o Outcome) Outcome {
	if o.Failure != nil {
		o.Failure = &Failure{Name: s.Whole(o.Failure.Name), Message: s.Whole(o.Failure.Message)}
	}
	if o.Error != nil {
		o.Error = s.Object(o.Error)
	}
	return o
}

// goesBack hands back a job that the worker could not launch. Its place stays
// empty for a while: the next job would fare no better.
func (w *Worker) goesBack(h *held, why error) {
	w.log.Warn("a job could not be launched and goes back", "job", h.JobID, "err", why)
	w.mu.Lock()
	w.running--
	h.done = true
	w.changed.Broadcast()
	w.mu.Unlock()
	w.handBack([]*held{h})
	w.launchRetry.wait(w.taking)
	w.freePlaces(1)
}

// freePlaces has the take loop ask for work for places.
func (w *Worker) freePlaces(n int) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	w.free += n
	w.mu.Unlock()
	nudge(w.takeC)
}

// guard turns a panic of an executor into the failure of its job alone.
func (w *Worker) guard(e Executor, h *held) (o Outcome) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("an executor panicked", "job", h.JobID, "panic", h.secrets.Whole(fmt.Sprint(p)))
			o = failed(FailureWorker, "The worker had an internal error; its log has the details.")
		}
	}()
	t := &Task{Assignment: h.Assignment, Dir: w.dir, BaseURL: w.cfg.NewestURL(), w: w, h: h}
	defer t.release()
	return e.Run(h.ctx, t)
}

// reportOf composes the report. That a job was stopped explains its end better
// than what its end looked like; but one that had ended well before the worker
// saw that its lease was over did end well. The worker's mutex is held.
func (w *Worker) reportOf(h *held, o Outcome) sluice.Report {
	if o.HandBack != nil {
		o = failed(FailureWorker, "The job could not be launched: %v.", o.HandBack)
	}
	if s := h.stop; s != nil && (s.Name != FailureLease || o.Failure != nil) {
		o.Failure, o.Error = &Failure{Name: s.Name, Message: s.Reason}, nil
	}
	r := sluice.Report{
		Execution: h.Execution, Worker: w.cfg.Name, Success: o.Failure == nil,
		Result: o.Result, Launched: h.launched, MemPeakKB: o.MemPeakKB, Streamed: h.stream.used(),
		Lost: o.Failure != nil && (o.Failure.Name == FailureLease || o.Failure.Name == FailureShutdown),
	}
	switch {
	case o.Failure != nil && o.Error != nil:
		r.Result = errorJSON(o)
	case o.Failure != nil:
		r.Result = o.Failure.json()
	case len(r.Result) == 0:
		r.Result = []byte("null")
	case len(r.Result) > sluice.MaxResultBytes:
		r.Success = false
		r.Result = (&Failure{FailureResult, fmt.Sprintf("The result is larger than it may be (%d bytes).", sluice.MaxResultBytes)}).json()
	}
	return r
}

// handBack gives back executions that were not launched, and forgets them when
// the source has taken them.
func (w *Worker) handBack(list []*held) {
	if len(list) == 0 {
		return
	}
	ids := make([]int64, len(list))
	for i, h := range list {
		ids[i] = h.Execution
		h.cancel(nil)
	}
	retry := newBackoff(50*time.Millisecond, 5*time.Second)
	for w.life.Err() == nil {
		ctx, cancel := context.WithTimeout(w.life, callTimeout)
		err := w.cfg.Source.HandBack(ctx, w.cfg.Name, ids)
		cancel()
		if err == nil || !temporary(err) {
			break
		}
		w.log.Warn("handing work back failed", "err", err)
		retry.wait(w.life)
	}
	w.mu.Lock()
	for _, id := range ids {
		delete(w.held, id)
	}
	w.changed.Broadcast()
	w.mu.Unlock()
}
