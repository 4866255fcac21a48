package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/store"
)

// reapChunk is how many silent workers one transaction looks at.
const reapChunk = 20

// ordersHold is how long Orders waits at most.
const ordersHold = 30 * time.Second

// Heartbeat records what a worker says of itself and what it holds. An
// execution that the server thinks is the worker's, handed out by a Take that
// the worker has settled, and that it does not list, is one that it does not
// have: struck out if it was never launched, lost otherwise. The answer lists
// orders for executions that the worker does list.
func (e *Engine) Heartbeat(ctx context.Context, hb sluice.Heartbeat) ([]sluice.Order, error) {
	if hb.Worker == "" {
		return nil, sluice.Invalid("worker", "must not be empty")
	}
	var orders []sluice.Order
	err := e.store.Update(ctx, func(tx store.Tx) error {
		orders = orders[:0]
		u := e.unit(tx)
		if err := tx.LockWorker(hb.Worker); err != nil { // who gives it up is done, or sees that it was heard
			return err
		}
		held, err := tx.HeldBy(hb.Worker)
		if err != nil {
			return err
		}
		known := make(map[int64]bool, len(held))
		var unlisted []int64
		for _, x := range held {
			known[x.ID] = true
			switch {
			case slices.Contains(hb.Holds, x.ID):
				if !x.KillAt.IsZero() {
					orders = append(orders, sluice.Order{Execution: x.ID, Kill: true, Reason: "cancelled"})
				}
			case x.TakeNo <= hb.SettledTake:
				unlisted = append(unlisted, x.ID)
			}
		}
		for _, id := range hb.Holds {
			if !known[id] {
				orders = append(orders, sluice.Order{Execution: id, Forget: true, Reason: "no longer this worker's"})
			}
		}
		if err := u.dropUnlisted(unlisted); err != nil {
			return err
		}
		u.now = tx.Now()
		row := &store.WorkerRow{WorkerInfo: sluice.WorkerInfo{Heartbeat: hb, StartedAt: u.now, LastPing: u.now}}
		return tx.SaveWorker(row)
	})
	var refused *sluice.Error
	switch {
	case err == nil:
		e.known.Store(hb.Worker, true)
	case ctx.Err() == nil && !errors.As(err, &refused):
		e.deaf.Store(true)
	}
	return orders, err
}

func (u *unit) dropUnlisted(ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	xs, err := u.openExecutions(ids)
	if err != nil {
		return err
	}
	for _, x := range xs {
		if x == nil || !x.Held() {
			continue
		}
		if x.ConfirmedAt.IsZero() {
			err = u.strike(x)
		} else {
			err = u.lose(x)
		}
		if err != nil {
			return err
		}
	}
	return u.settle()
}

// Orders waits for an order for a worker, at most ordersHold. It reads the
// store only if there may be one: heartbeats are the net below.
func (e *Engine) Orders(ctx context.Context, worker string) ([]sluice.Order, error) {
	ctx, stop := context.WithTimeout(ctx, ordersHold)
	defer stop()
	told, cancel := e.hub.workers(worker)
	defer cancel()
	_, quiet := e.quiet.Load(worker)
	for {
		if !quiet {
			orders, err := e.ordersFor(context.WithoutCancel(ctx), worker)
			if err != nil || len(orders) > 0 {
				return orders, err
			}
		}
		e.quiet.Store(worker, true)
		select {
		case <-told:
			quiet = false
			e.quiet.Delete(worker)
		case <-ctx.Done():
			select {
			case <-told: // for the next call
				e.quiet.Delete(worker)
			default:
			}
			return nil, nil
		}
	}
}

func (e *Engine) ordersFor(ctx context.Context, worker string) ([]sluice.Order, error) {
	return view(ctx, e, func(r store.Reader) ([]sluice.Order, error) {
		held, err := r.HeldBy(worker)
		var orders []sluice.Order
		for _, x := range held {
			if !x.KillAt.IsZero() {
				orders = append(orders, sluice.Order{Execution: x.ID, Kill: true, Reason: "cancelled"})
			}
		}
		return orders, err
	})
}

// Reap declares executions of silent workers lost. It returns how long until
// the next worker could be silent for too long if it stayed silent from now
// on. Until LostAfter has passed since this server became ready to hear
// heartbeats, only workers that are known to be gone are reaped. It is not
// ready while it cannot write, and begins anew when the store's clock has
// jumped: by that clock, everybody was silent for as long.
func (e *Engine) Reap(ctx context.Context) (time.Duration, error) {
	e.reapMu.Lock()
	defer e.reapMu.Unlock()
	next, readyAt, lead, deaf := e.o.LostAfter, e.readyAt, e.lead, e.deaf.Swap(false)
	err := e.store.Update(ctx, func(tx store.Tx) error {
		next = e.o.LostAfter
		u := e.unit(tx)
		u.now = tx.Now()
		if lead = leadOf(u.now, e.o.Uptime()); deaf || lead-e.lead > clockStep {
			readyAt = u.now
		}
		workers, err := tx.SilentWorkers(u.now, reapChunk)
		if err != nil {
			return err
		}
		for _, w := range workers {
			heard := w.LastPing
			if heard.Before(readyAt) {
				heard = readyAt
			}
			if left := heard.Add(e.o.LostAfter).Sub(u.now); !w.Gone && left > 0 {
				next = min(next, left)
				continue
			}
			if err := u.loseAll(w.Worker); err != nil {
				return err
			}
			if len(workers) == reapChunk {
				next = 0
			}
		}
		return u.settle()
	})
	if err != nil {
		e.deaf.Store(deaf || ctx.Err() == nil)
		return next, err
	}
	e.readyAt, e.lead = readyAt, lead
	return next, nil
}

// clockStep is how far the store's clock may run away from the uptime from one
// look at silent workers to the next before it is taken to have jumped.
const clockStep = 250 * time.Millisecond

// leadOf returns by how much the store's clock is ahead of an uptime.
func leadOf(now time.Time, uptime time.Duration) time.Duration {
	return now.Sub(time.Unix(0, 0)) - uptime
}

func (u *unit) loseAll(worker string) error {
	held, err := u.tx.HeldBy(worker)
	if err != nil {
		return err
	}
	ids := make([]int64, len(held))
	for i, x := range held {
		ids[i] = x.ID
	}
	xs, err := u.openExecutions(ids)
	if err != nil {
		return err
	}
	for _, x := range xs {
		if x == nil || !x.Held() {
			continue
		}
		if err := u.lose(x); err != nil {
			return err
		}
	}
	return nil
}

// InstanceGone says that a server process and every process tree that its
// workers started are known to be gone: what they held is lost at once.
func (e *Engine) InstanceGone(ctx context.Context, instance string) error {
	err := e.store.Update(ctx, func(tx store.Tx) error { return tx.MarkGone(instance) })
	if err != nil {
		return err
	}
	for {
		next, err := e.Reap(ctx)
		if err != nil || next > 0 {
			return err
		}
	}
}

// logMark ends a log that was cut.
const logMark = "\n[log cut: it reached its bound of 10 MiB]\n"

// AppendLog stores a piece of an execution's log or result stream. A piece that was stored
// before is skipped, as far as it was; one beyond a gap is refused with
// conflict. Logs of an execution that is not the worker's are refused.
func (e *Engine) AppendLog(ctx context.Context, c sluice.LogChunk) error {
	keep := func() {}
	err := e.store.Update(ctx, func(tx store.Tx) error {
		keep = func() {} // it may run more than once
		x, err := tx.Execution(c.Execution)
		if err != nil {
			return sluice.Errorf(sluice.CodeConflict, "execution %d is unknown", c.Execution)
		}
		if err := owned(x, c.Execution, c.Worker); err != nil {
			return e.refused("a log", c.Worker, err)
		}
		read, add, most, mark := tx.LogEnd, tx.AppendLog, int64(sluice.MaxLogBytes), logMark
		if c.Stream {
			read, add, most, mark = tx.StreamEnd, tx.AppendStream, sluice.MaxStreamBytes, ""
		}
		end, stored, err := read(x.JobSeq, x.ID)
		if err != nil {
			return err
		}
		if c.Offset > end {
			return sluice.Errorf(sluice.CodeConflict, "log of execution %d is stored up to byte %d; send from there, not from %d", x.ID, end, c.Offset)
		}
		skip := end - c.Offset
		if skip >= int64(len(c.Text)) || stored >= most {
			return nil
		}
		written := c.Text[skip:]
		if !c.Stream {
			written, keep = e.handed.logged(x.ID, written)
		}
		text := strings.ToValidUTF8(string(written), "\uFFFD")
		if room := most - stored; int64(len(text)) > room {
			text = strings.ToValidUTF8(text[:room], "") + mark
		}
		return add(x.JobSeq, x.ID, c.Offset+int64(len(c.Text)), text)
	})
	if err == nil {
		keep()
	}
	return err
}
