package sim

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// scheduled plays two servers on one store, with a schedule that has a run every
// ten seconds, for a minute, and returns what runs there were and how many calls
// the store had. One call is broken off, and the server that made it dies of it
// if the crash says so.
func scheduled(open func(Clock) (store.Store, error), c Crash) (string, int, error) {
	clock := newClock()
	s, err := open(clock)
	if err != nil {
		return "", 0, err
	}
	defer s.Close()
	f := &faulty{Store: s}
	var servers [2]*engine.Engine
	boot := func(i int) error {
		if servers[i] != nil {
			servers[i].Close()
		}
		for {
			e, err := engine.New(ctx, f, engine.Options{
				StopAfter: stopAfter, LostAfter: lostAfter, KillGrace: killGrace, Margin: lostAfter - stopAfter - killGrace - retry,
				Uptime: clock.Boot, Logger: quiet,
			})
			if !errors.Is(err, errCrash) {
				servers[i] = e
				return err
			}
		}
	}
	for i := range servers {
		if err := boot(i); err != nil {
			return "", 0, err
		}
		defer func() { servers[i].Close() }()
	}
	e := servers[0]
	by := engine.Who{Editor: engine.Editor{Username: "ann", Email: "ann@example.com"}, Admin: true}
	err = errors.Join(
		e.CreateWorkspace(ctx, store.Workspace{ID: "main"}),
		func() error {
			_, err := e.SaveScript(ctx, "main", engine.NewScript{Body: json.RawMessage(`{"path":"f/s/job","content":"x","language":"bash"}`), CreatedBy: "ann"})
			return err
		}(),
		e.CreateSchedule(ctx, "main", json.RawMessage(`{"path":"f/s/every","schedule":"*/10 * * * * *","timezone":"UTC","script_path":"f/s/job","args":{}}`), by))
	if err != nil {
		return "", 0, err
	}
	f.begin(c, false, nil)
	takes := int64(0)
	for second := range 66 {
		i := second % 2
		for _, step := range []func() error{
			func() error { _, err := servers[i].Tick(ctx); return err },
			func() error {
				takes++
				got, err := servers[i].TakeNow(ctx, sluice.TakeRequest{Worker: "w", TakeNo: takes, Tags: []string{"bash"}, Places: 9})
				for _, a := range got {
					r := sluice.Report{Execution: a.Execution, Worker: "w", Success: true, Launched: true, Result: json.RawMessage(`1`)}
					err = errors.Join(append([]error{err}, servers[i].Report(ctx, []sluice.Report{r})...)...)
				}
				return err
			},
		} {
			if err := step(); err != nil && !errors.Is(err, errCrash) && sluice.CodeOf(err) != sluice.CodeInternal {
				return "", 0, err
			}
			if f.died() {
				if err := boot(i); err != nil {
					return "", 0, err
				}
			}
		}
		clock.advance(time.Second)
	}
	var runs []string
	err = s.View(ctx, func(r store.Reader) error {
		jobs, err := r.Jobs(store.JobFilter{Workspace: "main", Schedule: "f/s/every", OldestFirst: true})
		for _, j := range jobs {
			runs = append(runs, j.ScheduledFor.Format("05"))
		}
		return err
	})
	return strings.Join(runs, " "), f.calls, err
}

// TestScheduleCrashes: whatever call of whichever server is broken off, before
// its commit or after it, each instant of a schedule has one run.
func TestScheduleCrashes(t *testing.T) {
	const want = "10 20 30 40 50 00 10"
	runs, calls, err := scheduled(InMemory, Crash{})
	if err != nil || runs != want {
		t.Fatalf("undisturbed: %s, %v", runs, err)
	}
	every := 5
	switch {
	case fromEnv(t, "SLUICE_SIM_SEEDS", seeds) > seeds:
		every = 1
	case slow:
		every = 23
	}
	for k := 1; k <= calls; k += every {
		for i, after := range []bool{false, true} {
			c := Crash{Call: k, After: after, Die: (k+i)%2 == 0}
			if runs, _, err := scheduled(InMemory, c); err != nil || runs != want {
				t.Fatalf("%v: %s, %v", c, runs, err)
			}
		}
	}
	for _, k := range []int{calls / 4, calls / 3, calls / 2} {
		c := Crash{Call: k, After: k%2 == 0, Die: true}
		runs, made, err := scheduled(onPostgres(t), c)
		if err != nil || runs != want || made < c.Call {
			t.Fatalf("on PostgreSQL, %v of %d: %s, %v", c, made, runs, err)
		}
	}
	t.Logf("%d calls", calls)
}
