package sim

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/pgtest"
	"sluice/internal/store"
	"sluice/internal/store/postgres"
)

// onPostgres returns what opens a store on a new database of PostgreSQL.
func onPostgres(t *testing.T) func(Clock) (store.Store, error) {
	t.Helper()
	dsn := pgtest.Database(t)
	return func(c Clock) (store.Store, error) {
		return postgres.Open(ctx, dsn, postgres.Options{Clock: c, Logger: quiet, Deaf: true, Sweep: -1, Relaxed: true})
	}
}

// TestFlowsAgree: random flows give the same results on PostgreSQL as on SQLite,
// undisturbed, in trouble, and when a call is broken off.
func TestFlowsAgree(t *testing.T) {
	n := fromEnv(t, "SLUICE_SIM_TRACES", 2)
	if slow {
		n = 1
	}
	for seed := uint64(1); seed <= uint64(n); seed++ {
		want, err := PlayFlows(InMemory, seed, Crash{}, false)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i, c := range []Crash{{}, {}, {Call: 1 + want.Calls/3, Die: true}, {Call: 1 + want.Calls/2, After: true, Die: true}} {
			got, err := PlayFlows(onPostgres(t), seed, c, i == 1)
			if err != nil || !slices.Equal(got.Results, want.Results) {
				t.Fatalf("seed %d, %v, trouble %v: %v\n%+v\non SQLite\n%q", seed, c, i == 1, err, got, want.Results)
			}
		}
	}
}

// TestTracesAgree: the same seeded world, faults included, has the same story on
// SQLite and on PostgreSQL: every decision is the same, at the same instant.
func TestTracesAgree(t *testing.T) {
	pg, err := NewHostOn(false, onPostgres(t))
	if err != nil {
		t.Fatal(err)
	}
	lite, err := NewHost("")
	if err != nil {
		t.Fatal(err)
	}
	starts := 0
	for seed := uint64(1); seed <= uint64(fromEnv(t, "SLUICE_SIM_TRACES", 12)); seed++ {
		var outs [2]*Outcome
		for i, h := range []*Host{lite, pg} {
			if outs[i], err = h.Play(Options{Seed: seed, Tell: true}); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if v := outs[i].Violation; v != nil {
				t.Fatalf("seed %d, host %d: %v\n%s", seed, i, v, outs[i].Story)
			}
		}
		if a, b := unnumbered(outs[0].Story), unnumbered(outs[1].Story); a != b {
			t.Fatalf("seed %d: on SQLite and on PostgreSQL:\n%s", seed, parting(a, b))
		}
		starts += outs[0].Starts
	}
	checkHistory(t, pg)
	for _, h := range []*Host{lite, pg} {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if starts == 0 {
		t.Error("nothing was started")
	}
	t.Logf("%d starts", starts)
}

var numbers = regexp.MustCompile(`execution \d+`)

// unnumbered takes out what each store numbers in its own way.
func unnumbered(story string) string { return numbers.ReplaceAllString(story, "execution #") }

// parting shows where two stories part.
func parting(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			from := max(i-15, 0)
			return strings.Join(x[from:min(i+5, len(x))], "\n") + "\n  against\n" + strings.Join(y[i:min(i+5, len(y))], "\n")
		}
	}
	return "one is longer than the other"
}

// TestCrashesOnPostgres breaks calls of a small world off, before their commit
// and after it, with the server dying of it or not; with SLUICE_SIM_TRACES set,
// every call.
func TestCrashesOnPostgres(t *testing.T) {
	every := 5
	if fromEnv(t, "SLUICE_SIM_TRACES", 0) > 0 {
		every = 1
	}
	const seed = 1008
	h, err := NewHostOn(false, onPostgres(t))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Seed: seed, Quiet: true, Ops: draw(seed, 10, false)}
	calls := 1
	for k := 0; k < calls; k += every {
		if k > 0 {
			o.Crash = Crash{Call: k, After: k%2 == 0, Die: k%3 > 0}
		}
		out, err := h.Play(o)
		if err != nil || out.Violation != nil {
			t.Fatalf("%v: %v, %v", o.Crash, err, out.Violation)
		}
		if out.Calls < o.Crash.Call {
			t.Fatalf("%v never happened: there are %d calls", o.Crash, out.Calls)
		}
		if k == 0 {
			calls = out.Calls // without a crash; what a crash adds comes after it
		}
	}
	checkHistory(t, h)
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("%d calls", calls)
}
