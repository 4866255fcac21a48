package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
	"sluice/limit"
)

// sized returns how large a test is: smaller under the race detector, which
// has nothing to find where one goroutine works.
func sized(full, race int) int {
	if underRace {
		return race
	}
	return full
}

// Where an update of a brittleStore breaks.
const (
	breaksBefore = "before it began"
	breaksInside = "before its commit"
	breaksAfter  = "after its commit"
)

var errDropped = errors.New("the connection was dropped")

// brittleStore breaks updates when it is told to.
type brittleStore struct {
	store.Store
	mu     sync.Mutex
	breaks []string // of the next updates, in order; "" does not break
	ahead  func()   // called ahead of every update
}

func (s *brittleStore) next(breaks ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breaks = breaks
}

func (s *brittleStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	s.mu.Lock()
	where := ""
	if len(s.breaks) > 0 {
		where, s.breaks = s.breaks[0], s.breaks[1:]
	}
	ahead := s.ahead
	s.mu.Unlock()
	if ahead != nil {
		ahead()
	}
	switch where {
	case breaksBefore:
		return errDropped
	case breaksInside:
		return s.Store.Update(ctx, func(tx store.Tx) error {
			if err := fn(tx); err != nil {
				return err
			}
			return errDropped
		})
	case breaksAfter:
		if err := s.Store.Update(ctx, fn); err != nil {
			return err
		}
		return errDropped
	}
	return s.Store.Update(ctx, fn)
}

// before has f called ahead of every update from now on.
func (s *brittleStore) before(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = f
}

// on starts the world's engine anew on another view of its store.
func (w *world) on(s store.Store) {
	w.t.Helper()
	w.Close()
	var err error
	w.Engine, err = engine.New(w.ctx(), s, w.o)
	w.must(err)
}

// brittle puts the world's engine on a brittleStore.
func (w *world) brittle() *brittleStore {
	s := &brittleStore{Store: w.store}
	w.on(s)
	return s
}

// bubble runs a test in which time passes only when everybody waits: who is
// not woken sleeps through, however fast the machine is.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

// read runs f on a snapshot.
func (w *world) read(f func(store.Reader) error) {
	w.t.Helper()
	w.must(w.store.View(w.ctx(), f))
}

// row returns a group as it is stored.
func (w *world) row(key string) *store.Group {
	w.t.Helper()
	var g *store.Group
	w.read(func(r store.Reader) (err error) { g, err = r.Group(key); return err })
	return g
}

// holders returns the rows that hold a slot of a key.
func (w *world) holders(key string) []int64 {
	w.t.Helper()
	ids := []int64{}
	w.read(func(r store.Reader) error {
		g, err := r.Group(key)
		if err != nil {
			return err
		}
		xs, err := r.HeldExecutions(g.ID, 1_000_000)
		for _, x := range xs {
			ids = append(ids, x.ID)
		}
		return err
	})
	slices.Sort(ids)
	return ids
}

// holdersAre fails unless exactly these executions hold slots of a key, by its
// rows, its numbers and what is shown of it.
func (w *world) holdersAre(what, key string, want ...sluice.Assignment) {
	w.t.Helper()
	ids := []int64{}
	for _, a := range want {
		ids = append(ids, a.Execution)
	}
	slices.Sort(ids)
	rows := w.holders(key)
	if !slices.Equal(rows, ids) {
		w.t.Fatalf("%s: executions %v hold a slot, want %v", what, rows, ids)
	}
	if g := w.row(key); g.Held() != int64(len(ids)) {
		w.t.Fatalf("%s: the group counts %d slots held, its rows are %d", what, g.Held(), len(ids))
	}
	if n := w.group(key).Running; n != int64(len(ids)) {
		w.t.Fatalf("%s: %d are shown as running, the rows are %d", what, n, len(ids))
	}
}

// cost returns the statements that f ran and the rows that they returned.
func (w *world) cost(f func()) (statements, rows int64) {
	before := w.store.Stats()
	f()
	after := w.store.Stats()
	return after.Statements - before.Statements, after.RowsRead - before.RowsRead
}

// completed fails unless each job ended in this way.
func (w *world) completed(o sluice.Outcome, ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		if j := w.job(id); j.State != sluice.StateCompleted || j.Outcome != o {
			w.t.Fatalf("job %s is %s %s, want completed %s", id, j.State, j.Outcome, o)
		}
	}
}

// reportAll reports executions of a worker in one call.
func (w *world) reportAll(worker string, as []sluice.Assignment) {
	w.t.Helper()
	reports := make([]sluice.Report, len(as))
	for i, a := range as {
		reports[i] = sluice.Report{Execution: a.Execution, Worker: worker, Success: true, Launched: true}
	}
	w.must(errors.Join(w.Report(w.ctx(), reports)...))
}

// drain takes and reports until nothing starts, and returns the jobs in the
// order of their starts.
func (w *world) drain(worker string, places int, tags ...string) []string {
	w.t.Helper()
	var order []string
	for {
		got := w.take(worker, places, tags...)
		if len(got) == 0 {
			return order
		}
		order = append(order, jobsOf(got)...)
		w.reportAll(worker, got)
	}
}

// countingNow counts by the rule, spelled out over the rows, what stands in
// the way of a start under l.
func (w *world) countingNow(key string, l limit.Limit, now time.Time) int64 {
	w.t.Helper()
	var n int64
	for _, x := range w.history(key) {
		at := x.ReleasedAt
		if l.Mode == limit.Start {
			at = launchOf(x)
		}
		if x.End != sluice.EndStruck && (at.IsZero() || at.After(now.Add(-l.Window))) {
			n++
		}
	}
	return n
}

// named gives a test's failures the seed that they come from.
func named(t *testing.T, seed uint64, f func(t *testing.T)) {
	t.Run(fmt.Sprintf("seed %d", seed), f)
}

func key(k string) func(*engine.NewJob) { return args(`{"k":%q}`, k) }
