package engine_test

import (
	"testing"

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
		{name: "without a limit", jobs: 200, scripts: 1, pushes: 6, take: 9, report: 3},
		{name: "in 20 groups", limit: []any{"concurrent_limit", 50}, jobs: 200, scripts: 20, pushes: 6, take: 9, report: 4},
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
