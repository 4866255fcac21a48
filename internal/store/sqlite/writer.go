package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"sluice/internal/store"
)

// Bounds of one group commit.
const (
	batchOps  = 256
	batchTime = 20 * time.Millisecond
)

// op is one Update.
type op struct {
	ctx   context.Context
	fn    func(store.Tx) error
	state atomic.Int32 // 0 queued, then either begun or given up
	err   error
	done  chan struct{}
}

const (
	opBegun   = 1
	opGivenUp = 2
)

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return store.ErrClosed
	}
	s.pending.Add(1)
	s.mu.RUnlock()
	defer s.pending.Done()
	o := &op{ctx: ctx, fn: fn, done: make(chan struct{})}
	select {
	case s.ops <- o:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		if o.state.CompareAndSwap(0, opGivenUp) {
			return ctx.Err()
		}
		<-o.done // begun: it is completed
		return o.err
	}
}

// write is the only goroutine that writes. It never waits for company: what
// queues up while one commit is flushed to the disk makes up the next.
func (s *Store) write() {
	ended := false
	defer func() {
		if ended {
			close(s.writerDone)
			return
		}
		// An update called runtime.Goexit, as a failing test does.
		s.tx.c.abandon()
		s.tx.rollback()
		s.memory.Unlock()
		for _, o := range s.batchOps {
			o.err = errGoexit
			close(o.done)
		}
		go s.write()
	}()
	for o := range s.ops {
		s.memory.Lock()
		s.batch(o)
		s.memory.Unlock()
		s.answer(s.batchOps)
		s.afterCommit()
	}
	ended = true
}

var errGoexit = errors.New("sqlite: an update ended its goroutine")

// answer tells the subscribers, then the callers.
func (s *Store) answer(batch []*op) {
	for _, step := range s.clock.takeSteps() {
		if s.opts.OnClockStep != nil {
			s.opts.OnClockStep(step)
		}
	}
	if sig, ok := s.tx.signal.take(); ok {
		s.subs.tell(sig)
	}
	for _, o := range batch {
		close(o.done)
	}
}

var (
	qBegin     = sqlText("BEGIN IMMEDIATE")
	qSavepoint = sqlText("SAVEPOINT op")
	qReleaseOp = sqlText("RELEASE op")
	qBack      = sqlText("ROLLBACK TO op")
)

// batch runs an update and those that are queued behind it in one
// transaction. It hopes that none fails after it has written: a savepoint
// around each would copy every page it touches. If one does, all of it is
// rolled back and the others run again, then with savepoints.
func (s *Store) batch(first *op) {
	t := s.tx
	start := time.Now()
	s.batchOps = append(s.batchOps[:0], first)
	err := t.begin()
	for i := 0; err == nil && i < len(s.batchOps); i++ {
		o := s.batchOps[i]
		if t.attempt(o) && o.err != nil && t.dirty() {
			err = t.rerun(s.batchOps)
			break
		}
		if len(s.batchOps) < batchOps && time.Since(start) < s.batchTime {
			select {
			case o, ok := <-s.ops:
				if ok {
					s.batchOps = append(s.batchOps, o)
				}
			default:
			}
		}
	}
	if err == nil {
		err = t.commit()
	}
	if err != nil {
		t.rollback()
		for _, o := range s.batchOps {
			if o.err == nil {
				o.err = err
			}
		}
	}
}

// attempt runs one update, unless its context has ended, and reports whether
// it ran.
func (t *tx) attempt(o *op) bool {
	if o.state.Load() != opBegun {
		if o.ctx.Err() != nil || !o.state.CompareAndSwap(0, opBegun) {
			o.err = o.ctx.Err()
			o.state.CompareAndSwap(0, opGivenUp)
			return false
		}
	}
	t.wrote = false
	mark := t.signal.mark()
	o.err = t.call(o.fn)
	if o.err == nil && t.c.failed != nil {
		o.err = t.c.failed // a broken statement that the function let pass
	}
	if o.err != nil {
		t.signal.back(mark)
	}
	t.wroteAny = t.wroteAny || t.wrote
	return true
}

func (t *tx) call(fn func(store.Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.s.log.Error("an update panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("sqlite: an update panicked: %v", p)
			t.c.abandon()
		}
	}()
	return fn(t)
}

// dirty reports whether the failed update left a trace that must be removed.
func (t *tx) dirty() bool { return t.wrote || t.c.failed != nil }

// rerun runs all updates of a batch again but the one that failed, which
// is the last that ran; each now has a savepoint.
func (t *tx) rerun(ops []*op) error {
	t.rollback()
	if err := t.begin(); err != nil {
		return err
	}
	for _, o := range ops {
		if o.err != nil && o.state.Load() != 0 {
			continue // failed or given up; it is not in the transaction
		}
		if err := t.flush(); err != nil {
			return err
		}
		if _, err := t.c.use(qSavepoint).run(); err != nil {
			return err
		}
		if t.attempt(o) && o.err != nil && t.dirty() {
			t.c.failed = nil
			if !t.c.inTransaction() {
				return fmt.Errorf("transaction lost: %w", o.err)
			}
			if _, err := t.c.use(qBack).run(); err != nil {
				return err
			}
			t.forget()
		}
		if err := t.flush(); err != nil {
			return err
		}
		if _, err := t.c.use(qReleaseOp).run(); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) begin() error {
	t.c.failed = nil
	t.wroteAny = false
	_, err := t.c.use(qBegin).run()
	return err
}

var qSaveMeta = sqlText(`UPDATE meta SET clock_us = ?, seq = ?, rev = ?, turn = ?, execution = ?, grp = ?, line = ? WHERE one = 1`)

// commit flushes the caches and makes the transaction durable.
func (t *tx) commit() error {
	if err := t.flush(); err != nil {
		return err
	}
	if t.wroteAny {
		n := &t.numbers
		if _, err := t.c.use(qSaveMeta).int(t.s.clock.newest()).int(n.seq).int(n.rev).int(n.turn).
			int(n.execution).int(n.group).int(n.line).run(); err != nil {
			return err
		}
	}
	start := time.Now()
	if _, err := t.c.use(qCommit).run(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if t.wroteAny {
		t.s.latency.add(time.Since(start))
		t.s.commits.Add(1)
	}
	t.trim()
	return nil
}

// rollback undoes the transaction. Numbers drawn in it are not drawn again.
func (t *tx) rollback() {
	t.c.failed = nil
	if t.c.inTransaction() {
		if _, err := t.c.use(qRollback).run(); err != nil {
			t.s.log.Error("rollback failed", "err", err)
		}
		t.c.failed = nil
	}
	t.signal.take()
	t.forget()
}

// signals gathers what a transaction has to tell.
type signals struct {
	tags, workers []string
	rev           int64
	flows         bool
}

func (g *signals) add(s store.Signal) {
	g.tags = append(g.tags, s.Tags...)
	g.workers = append(g.workers, s.Workers...)
	g.rev, g.flows = max(g.rev, s.Rev), g.flows || s.Flows
}

func (g *signals) mark() signals { return *g }

func (g *signals) back(to signals) {
	g.tags, g.workers, g.rev, g.flows = g.tags[:len(to.tags)], g.workers[:len(to.workers)], to.rev, to.flows
}

// take returns the signal, each name once, and starts anew.
func (g *signals) take() (store.Signal, bool) {
	s := store.Signal{Tags: unique(g.tags), Rev: g.rev, Workers: unique(g.workers), Flows: g.flows}
	g.tags, g.workers, g.rev, g.flows = g.tags[:0], g.workers[:0], 0, false
	return s, s.Rev != 0 || s.Tags != nil || s.Workers != nil || s.Flows
}
