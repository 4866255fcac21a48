package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"sluice"
	"sluice/internal/store/postgres"
)

// TestRoundTrips counts how often PostgreSQL is asked for many jobs at once:
// the number must not grow with theirs.
func TestRoundTrips(t *testing.T) {
	for _, c := range []struct {
		name                 string
		limit                []any
		pushes, take, report int64 // round trips at most
		jobs, scripts        int
	}{
		{name: "without a limit", jobs: 200, scripts: 1, pushes: 6, take: 5, report: 3},
		{name: "in 20 groups", limit: []any{"concurrent_limit", 50}, jobs: 200, scripts: 20, pushes: 6, take: 5, report: 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorldOn(t, "postgres")
			s := w.store.(*postgres.Store)
			path := func(i int) string { return "f/trips/s" + string(rune('a'+i%c.scripts)) }
			for i := range c.scripts {
				w.script(path(i), c.limit...)
			}
			count := func(what string, most int64, f func()) {
				t.Helper()
				trips, before := s.RoundTrips(), s.Stats()
				f()
				n, after := s.RoundTrips()-trips, s.Stats()
				t.Logf("%s of %d jobs: %d round trips, %d statements, %d rows, %d commits", what, c.jobs, n,
					after.Statements-before.Statements, after.RowsRead-before.RowsRead, after.Commits-before.Commits)
				if n > most {
					t.Errorf("%s took %d round trips, want at most %d", what, n, most)
				}
			}
			w.pushPaths(c.scripts, 2, path)
			w.endAll("w0", w.take("w0", c.jobs))
			count("push", c.pushes+int64(c.scripts), func() { w.pushPaths(c.jobs, 1, path) })
			got := w.take("w", 1) // makes the worker known
			count("take", c.take, func() { got = append(got, w.take("w", c.jobs-1)...) })
			if len(got) != c.jobs {
				t.Fatalf("took %d", len(got))
			}
			count("report", c.report, func() { w.endAll("w", got) })
		})
	}
}

// TestRoundTrips_FlowStep counts what lies between the end of a step and the
// start of the next, for a worker that reports the one and asks for the other:
// one transaction. Of many steps the least counts, as loops have work of their own.
func TestRoundTrips_FlowStep(t *testing.T) {
	const steps = 4
	for _, c := range []struct {
		name              string
		limit             []any
		trips, statements int64 // at most
	}{
		{name: "without a limit", trips: 2, statements: 19},
		{name: "with a limit", limit: []any{"concurrent_limit", 5}, trips: 3, statements: 27},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorldOn(t, "postgres")
			s := w.store.(*postgres.Store)
			modules := make([]obj, steps)
			for i := range modules {
				modules[i] = raw(fmt.Sprint("s", i), c.limit...)
			}
			w.flow("f/trips/x", modules)
			ctx, stop := context.WithCancel(w.ctx())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = w.Run(ctx)
			}()
			defer func() { stop(); <-done }()
			req := sluice.TakeRequest{Worker: "w", Tags: []string{"bash", "flow"}, Places: 1, Wait: time.Minute}
			trips, statements := int64(math.MaxInt64), int64(math.MaxInt64)
			var as []sluice.Assignment
			for i := range 2 * steps { // the second run finds the server knowing what follows what
				if i%steps == 0 {
					w.runFlow("f/trips/x")
					var err error
					req.TakeNo++
					as, err = w.Take(w.ctx(), req)
					w.must(err)
				}
				if len(as) != 1 {
					t.Fatalf("%d jobs for one place", len(as))
				}
				before, at := s.Stats().Statements, s.RoundTrips()
				req.TakeNo++
				var errs []error
				as, errs = w.Settle(w.ctx(), []sluice.Report{{
					Execution: as[0].Execution, Worker: "w", Success: true, Launched: true, Result: json.RawMessage("null"),
				}}, req)
				w.must(errs[0])
				if len(as) > 0 {
					trips, statements = min(trips, s.RoundTrips()-at), min(statements, s.Stats().Statements-before)
				}
			}
			t.Logf("%d round trips, %d statements", trips, statements)
			if trips > c.trips || statements > c.statements {
				t.Errorf("%d round trips and %d statements from step to step, want at most %d and %d", trips, statements, c.trips, c.statements)
			}
		})
	}
}
