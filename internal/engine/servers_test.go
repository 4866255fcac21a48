package engine_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/pgtest"
	"sluice/internal/store"
	"sluice/internal/store/postgres"
)

// host is one server of several on one database, on the machine's own clock.
type host struct {
	*engine.Engine
	store *postgres.Store
}

// hosts starts servers on one database.
func hosts(t *testing.T, n int, o postgres.Options) []host {
	t.Helper()
	dsn := pgtest.Database(t)
	o.Logger = slog.New(slog.DiscardHandler)
	list := make([]host, n)
	for i := range list {
		s, err := postgres.Open(t.Context(), dsn, o)
		if err != nil {
			t.Fatal(err)
		}
		e, err := engine.New(t.Context(), s, engine.Options{Logger: o.Logger})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() {
			if err := e.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(func() {
			stop()
			running.Wait()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		list[i] = host{e, s}
	}
	if err := list[0].CreateWorkspace(t.Context(), store.Workspace{ID: "main"}); err != nil {
		t.Fatal(err)
	}
	return list
}

func (h host) script(t *testing.T, path string, n int) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"path": path, "content": "true", "language": "bash", "concurrent_limit": n})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.SaveScript(t.Context(), "main", engine.NewScript{Body: body, CreatedBy: "ann"}); err != nil {
		t.Fatal(err)
	}
}

func (h host) push(t *testing.T, path string, n int) {
	t.Helper()
	news := make([]engine.NewJob, n)
	for i := range news {
		news[i] = engine.NewJob{Workspace: "main", Path: path}
	}
	if _, err := h.Submit(t.Context(), news); err != nil {
		t.Error(err)
	}
}

// TestServersShareALimit has four servers work off many groups at once: no
// limit is exceeded by our own count, and every job runs once.
func TestServersShareALimit(t *testing.T) {
	all := hosts(t, 4, postgres.Options{})
	const groups, each, limit = 6, 30, 2
	var running [groups]atomic.Int64
	var done atomic.Int64
	var takes atomic.Int64
	seen := sync.Map{}
	path := func(g int) string { return "f/s/g" + string(rune('a'+g)) }
	for g := range groups {
		all[0].script(t, path(g), limit)
	}
	ctx, finish := context.WithTimeout(t.Context(), time.Minute)
	defer finish()
	var workers sync.WaitGroup
	for w := range 12 {
		h, name := all[w%len(all)], "w"+string(rune('a'+w))
		workers.Go(func() {
			for done.Load() < groups*each && ctx.Err() == nil {
				got, err := h.Take(ctx, sluice.TakeRequest{Worker: name, TakeNo: takes.Add(1), Tags: []string{"bash"}, Places: 2, Wait: 2 * time.Second})
				if err != nil && ctx.Err() == nil {
					t.Log(err)
				}
				for _, a := range got {
					g := int(a.Path[len(a.Path)-1] - 'a')
					if n := running[g].Add(1); n > limit {
						t.Errorf("%d of %s run at once", n, a.Path)
					}
					if _, twice := seen.LoadOrStore(a.JobID, true); twice {
						t.Errorf("job %s was handed out twice", a.JobID)
					}
				}
				for _, a := range got {
					running[int(a.Path[len(a.Path)-1]-'a')].Add(-1)
					if err := h.Report(ctx, []sluice.Report{{Execution: a.Execution, Worker: name, Success: true, Launched: true}})[0]; err != nil {
						t.Error(err)
					}
					if done.Add(1) == groups*each {
						finish()
					}
				}
			}
		})
	}
	for g := range groups {
		h := all[g%len(all)]
		for range each / 10 {
			h.push(t, path(g), 10)
		}
	}
	workers.Wait()
	if n := done.Load(); n != groups*each {
		t.Errorf("%d of %d jobs ran", n, groups*each)
	}
}

// TestIdleServers: 200 free places on 4 servers before one full group ask the
// database for nothing.
func TestIdleServers(t *testing.T) {
	all := hosts(t, 4, postgres.Options{})
	all[0].script(t, "f/s/full", 1)
	all[0].push(t, "f/s/full", 100)
	if got, err := all[0].TakeNow(t.Context(), sluice.TakeRequest{Worker: "holder", TakeNo: 1, Tags: []string{"bash"}, Places: 1}); err != nil || len(got) != 1 {
		t.Fatalf("%d jobs, %v", len(got), err)
	}
	ctx, leave := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for i, h := range all {
		waiting.Go(func() {
			got, err := h.Take(ctx, sluice.TakeRequest{Worker: "w" + string(rune('a'+i)), TakeNo: 1, Tags: []string{"bash"}, Places: 50, Wait: time.Minute})
			if len(got) > 0 || err != nil {
				t.Errorf("%d jobs, %v", len(got), err)
			}
		})
	}
	count := func() (n int64) {
		for _, h := range all {
			n += h.store.Stats().Statements
		}
		return n
	}
	last, since := count(), time.Now()
	for until := since.Add(20 * time.Second); time.Since(since) < 2*time.Second; { // quiet for so long
		if time.Now().After(until) {
			t.Error("the servers do not come to rest")
			break
		}
		<-time.After(50 * time.Millisecond)
		if n := count(); n != last {
			last, since = n, time.Now()
		}
	}
	leave()
	waiting.Wait()
}

// TestNotToldAtAll: a worker at one server gets what was pushed at another,
// although not a single notification arrives.
func TestNotToldAtAll(t *testing.T) {
	all := hosts(t, 2, postgres.Options{Deaf: true, Sweep: 100 * time.Millisecond})
	all[0].script(t, "f/s/one", 1)
	got := make(chan int, 1)
	go func() {
		as, err := all[1].Take(t.Context(), sluice.TakeRequest{Worker: "w", TakeNo: 1, Tags: []string{"bash"}, Places: 1, Wait: 30 * time.Second})
		if err != nil {
			t.Error(err)
		}
		got <- len(as)
	}()
	all[0].push(t, "f/s/one", 1)
	if n := <-got; n != 1 {
		t.Errorf("got %d jobs", n)
	}
}
