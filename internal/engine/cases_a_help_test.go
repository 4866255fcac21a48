package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
	"sluice/limit"
)

// nudgedStore calls before ahead of every update that begins through it: what
// it does has been committed when the update looks.
type nudgedStore struct {
	store.Store
	before func()
}

func (s *nudgedStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	if s.before != nil {
		s.before()
	}
	return s.Store.Update(ctx, fn)
}

// nudged starts a second engine on the world's store, through a nudgedStore.
func (w *world) nudged() (*engine.Engine, *nudgedStore) {
	w.t.Helper()
	s := &nudgedStore{Store: w.second()}
	e, err := engine.New(w.ctx(), s, w.o)
	w.must(err)
	w.t.Cleanup(e.Close)
	return e, s
}

// run starts the engine's loops and returns what ends them.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.ctx())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	return func() { cancel(); <-done }
}

// atOnce calls f(0) … f(n−1), each in a goroutine, all let go together.
func atOnce(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-gate
			f(i)
		})
	}
	ready.Wait()
	close(gate)
	done.Wait()
}

// jammed does the same while the store's writer is held up, so that the
// callers' updates queue up and share a commit.
func (w *world) jammed(n int, f func(i int)) {
	w.t.Helper()
	held, open := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var jam sync.WaitGroup
	jam.Go(func() {
		err := w.store.Update(w.ctx(), func(store.Tx) error {
			once.Do(func() { close(held) })
			<-open
			return nil
		})
		if err != nil {
			w.t.Error(err)
		}
	})
	<-held
	var called atomic.Int64
	jam.Go(func() {
		for called.Load() < int64(n) {
			runtime.Gosched()
		}
		for range 50 {
			runtime.Gosched()
		}
		close(open)
	})
	atOnce(n, func(i int) {
		called.Add(1)
		f(i)
	})
	jam.Wait()
}

// takeOne asks for one job from any goroutine; nil if there is none.
func takeOne(t testing.TB, e *engine.Engine, worker string, takeNo int64) *sluice.Assignment {
	got, err := e.TakeNow(context.Background(), sluice.TakeRequest{Worker: worker, TakeNo: takeNo, Tags: []string{"bash"}, Places: 1})
	if err != nil {
		t.Error(err)
	}
	if len(got) == 0 {
		return nil
	}
	return &got[0]
}

// history returns the executions of a key in the order of their taking.
func (w *world) history(key string) []*sluice.Execution {
	w.t.Helper()
	var xs []*sluice.Execution
	w.must(w.store.View(w.ctx(), func(r store.Reader) error {
		g, err := r.Group(key)
		if err != nil {
			return err
		}
		xs, err = r.History(g.ID, 0, 1_000_000)
		return err
	}))
	return xs
}

// auditRule judges every start of a key by the rule, spelled out over the rows,
// and the numbers of the group by the instants that they stand for. It returns
// how many starts it judged. A release at the very instant of a start is taken
// to have come first.
func (w *world) auditRule(key string) int {
	w.t.Helper()
	xs := w.history(key)
	judged := 0
	for i, x := range xs {
		if x.OrderNo != int64(i+1) {
			w.t.Fatalf("order number %d at place %d", x.OrderNo, i+1)
		}
		if i > 0 && x.StartedAt.Before(xs[i-1].StartedAt) {
			w.t.Fatalf("start %d at %s lies before the one ahead of it", x.OrderNo, x.StartedAt)
		}
		if x.End == sluice.EndStruck {
			continue
		}
		judged++
		if n := countedAgainst(x, xs[:i]); n >= x.Limit.N {
			w.t.Fatalf("start %d (job %s) at %s: %d others count, the limit is %s", x.OrderNo, x.JobID, x.StartedAt, n, x.Limit)
		}
	}
	ascending(w.t, "releases", xs, func(x *sluice.Execution) (int64, time.Time) { return x.EndNo, x.ReleasedAt })
	ascending(w.t, "launches", xs, func(x *sluice.Execution) (int64, time.Time) { return x.LaunchNo, launchOf(x) })
	if judged == 0 {
		w.t.Fatal("nothing to judge")
	}
	return judged
}

func launchOf(x *sluice.Execution) time.Time {
	if x.ConfirmedAt.IsZero() {
		return x.ReleasedAt
	}
	return x.ConfirmedAt
}

// countedAgainst counts the executions that stand in the way of x's start.
func countedAgainst(x *sluice.Execution, others []*sluice.Execution) int {
	n := 0
	for _, y := range others {
		if y.End == sluice.EndStruck {
			continue
		}
		at := y.ReleasedAt
		if x.Limit.Mode == limit.Start {
			at = launchOf(y)
		}
		if at.IsZero() || at.After(x.StartedAt) || at.After(x.StartedAt.Add(-x.Limit.Window)) {
			n++
		}
	}
	return n
}

// ascending fails unless numbers have no gaps and instants ascend with them.
func ascending(t testing.TB, what string, xs []*sluice.Execution, of func(*sluice.Execution) (int64, time.Time)) {
	t.Helper()
	var list []*sluice.Execution
	for _, x := range xs {
		if no, _ := of(x); no > 0 {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b *sluice.Execution) int {
		x, _ := of(a)
		y, _ := of(b)
		return int(x - y)
	})
	var last time.Time
	for i, x := range list {
		no, at := of(x)
		if no != int64(i+1) {
			t.Fatalf("%s: number %d at place %d", what, no, i+1)
		}
		if at.Before(last) {
			t.Fatalf("%s: number %d happened at %s, before the one ahead of it", what, no, at)
		}
		last = at
	}
}

// mostWithin returns the most instants that any window (t − d, t] holds.
func mostWithin(instants []time.Time, d time.Duration) int {
	slices.SortFunc(instants, time.Time.Compare)
	most, first := 0, 0
	for i, at := range instants {
		for !instants[first].After(at.Add(-d)) {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// mustTake takes with many places and wants exactly these jobs, in this order.
func (w *world) mustTake(what string, want ...string) []sluice.Assignment {
	w.t.Helper()
	got := w.take("w1", 50)
	if !slices.Equal(jobsOf(got), want) {
		w.t.Fatalf("%s: took %v, want %v", what, jobsOf(got), want)
	}
	return got
}

// wantCode fails unless err has a code and, if one is given, names a field.
func wantCode(t testing.TB, what string, err error, code sluice.Code, field string) {
	t.Helper()
	if got := sluice.CodeOf(err); got != code {
		t.Fatalf("%s: %v (code %q), want code %q", what, err, got, code)
	}
	if field != "" && !fieldIs(err, field) {
		t.Fatalf("%s: %v does not name the field %s", what, err, field)
	}
}

func fieldIs(err error, field string) bool {
	e, ok := err.(*sluice.Error) //nolint:errorlint // a caller sees this very error
	return ok && e.Field == field
}

func (w *world) reap(e *engine.Engine) {
	w.t.Helper()
	_, err := e.Reap(w.ctx())
	w.must(err)
}

// clean looks after retention until there is no more of it.
func (w *world) clean() {
	w.t.Helper()
	for next := time.Duration(0); next == 0; {
		var err error
		next, err = w.Clean(w.ctx())
		w.must(err)
	}
}

func keyed(template string) func(*engine.NewJob) {
	return args("%s", fmt.Sprintf(`{"k": %q}`, template))
}
