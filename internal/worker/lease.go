package worker

import (
	"context"
	"slices"
	"time"

	"sluice"
	"sluice/internal/worker/supervisor"
)

// callTimeout bounds every call of the source that does not wait by design.
const callTimeout = 30 * time.Second

func bootNow() time.Duration { return supervisor.BootNow() }

// heartbeatLoop keeps the lease.
func (w *Worker) heartbeatLoop() {
	retry := newBackoff(min(100*time.Millisecond, w.cfg.HeartbeatEvery), w.cfg.HeartbeatEvery)
	for w.life.Err() == nil {
		ctx, cancel := context.WithTimeout(w.life, min(callTimeout, w.cfg.StopAfter/2))
		ok := w.heartbeat(ctx)
		cancel()
		if !ok {
			retry.wait(w.life)
			continue
		}
		retry.reset()
		wait(w.life, w.cfg.HeartbeatEvery)
	}
}

// heartbeat sends one heartbeat and, when it is acknowledged, extends the lease,
// counted from the sending.
func (w *Worker) heartbeat(ctx context.Context) bool {
	hb := w.word()
	until := bootNow() + w.cfg.StopAfter
	orders, err := w.cfg.Source.Heartbeat(ctx, hb)
	if err != nil {
		if w.life.Err() == nil {
			w.log.Warn("a heartbeat failed", "err", err)
		}
		return false
	}
	w.mu.Lock()
	first := bootNow() >= w.lease
	w.lease = max(w.lease, until)
	until = w.lease
	w.mu.Unlock()
	w.procMu.Lock()
	for _, sup := range []*supervisor.Supervisor{w.sup, w.online} {
		if sup != nil {
			_ = sup.Extend(until) // if it is gone there is nothing to keep alive
		}
	}
	w.procMu.Unlock()
	if first {
		nudge(w.takeC)
	}
	w.obey(orders)
	return true
}

// word says what the worker holds, as of one instant.
func (w *Worker) word() sluice.Heartbeat {
	w.mu.Lock()
	defer w.mu.Unlock()
	hb := sluice.Heartbeat{
		Worker: w.cfg.Name, Instance: w.cfg.Instance, Group: w.cfg.Group, Version: w.cfg.Version, Address: w.cfg.Address,
		Tags: w.cfg.Tags, Languages: w.languages, Missing: w.missing, Isolation: w.iso.String(),
		Places: w.cfg.Places, JobsRun: w.jobsRun, SettledTake: w.takeNo,
		Holds: make([]int64, 0, len(w.held)),
	}
	for no := range w.takes {
		hb.SettledTake = min(hb.SettledTake, no-1)
	}
	for id := range w.held {
		hb.Holds = append(hb.Holds, id)
	}
	slices.Sort(hb.Holds)
	return hb
}

// ordersLoop waits for orders, which come sooner this way than with a heartbeat.
func (w *Worker) ordersLoop() {
	retry := newBackoff(100*time.Millisecond, 10*time.Second)
	for w.life.Err() == nil {
		ctx, cancel := context.WithTimeout(w.life, 2*time.Minute)
		orders, err := w.cfg.Source.Orders(ctx, w.cfg.Name)
		cancel()
		if err != nil {
			if w.life.Err() == nil {
				w.log.Warn("waiting for orders failed", "err", err)
			}
			retry.wait(w.life)
			continue
		}
		retry.reset()
		if !w.obey(orders) && len(orders) > 0 {
			// They are being carried out, and are told again until they are.
			wait(w.life, 100*time.Millisecond)
		}
	}
}

// obey carries out orders and reports whether one of them was new.
func (w *Worker) obey(orders []sluice.Order) bool {
	fresh := false
	for _, o := range orders {
		s := Stop{Name: FailureCanceled, Reason: o.Reason, Grace: w.cfg.KillGrace}
		if s.Reason == "" {
			s.Reason = "The job was cancelled."
		}
		if o.Forget {
			s.forget, s.Grace = true, 0
		} else if !o.Kill {
			continue
		}
		w.mu.Lock()
		fresh = w.stopOne(w.held[o.Execution], s) || fresh
		w.mu.Unlock()
	}
	return fresh
}

// forget drops an execution that is no longer the worker's.
func (w *Worker) forget(execution int64, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopOne(w.held[execution], Stop{Name: FailureCanceled, Reason: reason, forget: true})
}

// stopOne has an execution ended and reports whether that was new. The worker's
// mutex is held.
func (w *Worker) stopOne(h *held, s Stop) bool {
	if h == nil {
		return false
	}
	fresh := false
	if s.forget && !h.forget {
		h.forget, fresh = true, true
		if h.done {
			w.drop(h)
			return true
		}
	}
	if h.done {
		return fresh
	}
	if h.stop == nil {
		h.stop, fresh = &s, true
		h.cancel(&s)
	} else if s.Grace == 0 && !h.hurried {
		h.hurried, fresh = true, true
		close(h.hurry)
	}
	return fresh
}

// drop forgets an execution that has ended. The worker's mutex is held.
func (w *Worker) drop(h *held) {
	delete(w.held, h.Execution)
	w.ready = slices.DeleteFunc(w.ready, func(o *held) bool { return o == h })
	if h.place {
		h.place = false
		w.free++
		nudge(w.takeC)
	}
	w.changed.Broadcast()
}

func (w *Worker) stopAll(s Stop) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Grace = w.cfg.KillGrace
	for _, h := range w.held {
		w.stopOne(h, s)
	}
}

// tick is how often the clock looks at the held executions.
const tick = 50 * time.Millisecond

// clockLoop does what is due at some time, for all executions with one timer:
// time-outs, the flushing of logs, late confirmations, the end of the lease.
func (w *Worker) clockLoop() {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-w.clockC:
		case <-t.C:
		case <-w.life.Done():
			return
		}
		if w.look(time.Now(), bootNow()) {
			t.Reset(tick)
		}
	}
}

// look does what is due and reports whether there is anything to look after.
func (w *Worker) look(now time.Time, boot time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.held {
		if h.done {
			continue
		}
		h.log.flushOlder(w.life, now)
		h.stream.flushOlder(w.life, now)
		switch {
		case boot >= w.lease:
			w.stopOne(h, Stop{Name: FailureLease, Reason: "The worker could not reach the server for too long, and the job was ended."})
		case h.stop == nil && now.After(h.deadline):
			w.stopOne(h, Stop{
				Name: FailureTimeout, Grace: w.cfg.KillGrace,
				Reason: "The job ran longer than it may (" + w.timeoutOf(h).String() + ") and was ended.",
			})
		}
	}
	for _, h := range w.confirms {
		if now.Sub(h.launchedAt) >= confirmLazy {
			nudge(w.confC)
			break
		}
	}
	return len(w.held) > 0
}

func (w *Worker) timeoutOf(h *held) time.Duration {
	if h.Timeout > 0 {
		return h.Timeout
	}
	return w.cfg.DefaultTimeout
}
