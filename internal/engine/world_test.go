package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/pgtest"
	"sluice/internal/store"
	"sluice/internal/store/postgres"
	"sluice/internal/store/sqlite"
	"sluice/limit"
)

// fakeClock is a clock that moves when it is told to. Wall may be stepped away
// from boot.
type fakeClock struct {
	mu   sync.Mutex
	wall time.Time
	boot time.Duration
}

func newClock() *fakeClock {
	return &fakeClock{wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), boot: time.Hour}
}

func (c *fakeClock) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *fakeClock) Boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.boot = c.wall.Add(d), c.boot+d
}

// step moves the wall clock alone.
func (c *fakeClock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

// world is an engine on a real SQLite file, driven by hand: nothing runs in
// the background unless a test starts it.
type world struct {
	t      testing.TB
	dir    string
	dsn    string // of a database of PostgreSQL
	driver string // "": that of the flag
	clock  *fakeClock
	store  store.Store
	*engine.Engine
	o     engine.Options
	takes int64
}

func newWorld(t testing.TB) *world { return newWorldWith(t, engine.Options{}) }

func newWorldWith(t testing.TB, o engine.Options) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: newClock(), o: o}
	if w.o.Uptime == nil {
		w.o.Uptime = w.clock.Boot
	}
	w.open()
	t.Cleanup(func() { w.close() })
	w.must(w.CreateWorkspace(w.ctx(), store.Workspace{ID: "main"}))
	return w
}

func (w *world) ctx() context.Context { return context.Background() }

func (w *world) open() {
	w.t.Helper()
	w.store = w.openStore()
	var err error
	w.Engine, err = engine.New(w.ctx(), w.store, w.o)
	w.must(err)
}

// driver is the store that all worlds are on; make test runs the tests on both.
var driver = flag.String("store", "sqlite", "sqlite or postgres")

func (w *world) openStore() store.Store {
	w.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	if *driver == "postgres" || w.driver == "postgres" {
		if w.dsn == "" {
			w.dsn = pgtest.Database(w.t)
		}
		s, err := postgres.Open(w.ctx(), w.dsn, postgres.Options{Clock: w.clock, Logger: quiet, Deaf: true, Sweep: -1})
		w.must(err)
		return s
	}
	s, err := sqlite.Open(w.ctx(), filepath.Join(w.dir, "test.db"), sqlite.Options{Clock: w.clock, Synchronous: "off", Logger: quiet})
	w.must(err)
	return s
}

func (w *world) close() {
	w.Close()
	w.must(w.store.Close())
}

// restart closes everything and opens it again, as after a stop.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.open()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// script saves a bash script; settings are pairs of field and value.
func (w *world) script(path string, settings ...any) string {
	w.t.Helper()
	body := map[string]any{"path": path, "content": "echo ok", "language": "bash"}
	for i := 0; i+1 < len(settings); i += 2 {
		body[settings[i].(string)] = settings[i+1]
	}
	raw, err := json.Marshal(body)
	w.must(err)
	hash, err := w.SaveScript(w.ctx(), "main", engine.NewScript{Body: raw, CreatedBy: "admin"})
	w.must(err)
	return hash
}

// push submits one job of a script for each of the changes, in one call each.
func (w *world) push(path string, change ...func(*engine.NewJob)) string {
	w.t.Helper()
	n := engine.NewJob{Workspace: "main", Path: path}
	for _, c := range change {
		c(&n)
	}
	ids, err := w.Submit(w.ctx(), []engine.NewJob{n})
	w.must(err)
	return ids[0]
}

// pushN submits n jobs in one call.
func (w *world) pushN(path string, n int, change ...func(*engine.NewJob)) []string {
	w.t.Helper()
	news := make([]engine.NewJob, n)
	for i := range news {
		news[i] = engine.NewJob{Workspace: "main", Path: path}
		for _, c := range change {
			c(&news[i])
		}
	}
	ids, err := w.Submit(w.ctx(), news)
	w.must(err)
	return ids
}

func args(format string, a ...any) func(*engine.NewJob) {
	return func(n *engine.NewJob) { n.Args = json.RawMessage(fmt.Sprintf(format, a...)) }
}

func in(d time.Duration) func(*engine.NewJob) {
	return func(n *engine.NewJob) { n.ScheduledIn = d }
}

func priority(p int) func(*engine.NewJob) { return func(n *engine.NewJob) { n.Priority = &p } }

func tag(s string) func(*engine.NewJob) { return func(n *engine.NewJob) { n.Tag = s } }

// take asks for work for a worker's free places, without waiting.
func (w *world) take(worker string, places int, tags ...string) []sluice.Assignment {
	w.t.Helper()
	if len(tags) == 0 {
		tags = []string{"bash"}
	}
	w.takes++
	got, err := w.TakeNow(w.ctx(), sluice.TakeRequest{Worker: worker, TakeNo: w.takes, Tags: tags, Places: places})
	w.must(err)
	return got
}

func (w *world) confirm(worker string, as ...sluice.Assignment) {
	w.t.Helper()
	var ids []int64
	for _, a := range as {
		ids = append(ids, a.Execution)
	}
	w.must(w.Confirm(w.ctx(), worker, ids))
}

// report ends executions with success.
func (w *world) report(worker string, as ...sluice.Assignment) {
	w.t.Helper()
	for _, a := range as {
		w.must(w.tryReport(worker, a.Execution))
	}
}

func (w *world) tryReport(worker string, execution int64) error {
	return errors.Join(w.Report(w.ctx(), []sluice.Report{{
		Execution: execution, Worker: worker, Success: true, Launched: true, Result: json.RawMessage(`"ok"`),
	}})...)
}

func (w *world) beat(worker string, settled int64, as ...sluice.Assignment) []sluice.Order {
	w.t.Helper()
	hb := sluice.Heartbeat{Worker: worker, Tags: []string{"bash"}, Places: 10, SettledTake: settled}
	for _, a := range as {
		hb.Holds = append(hb.Holds, a.Execution)
	}
	orders, err := w.Heartbeat(w.ctx(), hb)
	w.must(err)
	return orders
}

func (w *world) job(id string) *engine.JobView {
	w.t.Helper()
	j, err := w.Job(w.ctx(), "main", id, false, true)
	w.must(err)
	return j
}

func (w *world) group(key string) *engine.GroupInfo {
	w.t.Helper()
	g, err := w.Group(w.ctx(), key)
	w.must(err)
	return g
}

// jobsOf lists the job ids of assignments.
func jobsOf(as []sluice.Assignment) []string {
	out := make([]string, len(as))
	for i, a := range as {
		out[i] = a.JobID
	}
	return out
}

// override sets an override; nil leaves a field out.
func (w *world) override(key string, n, window any, mode string) {
	w.t.Helper()
	raw := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		w.must(err)
		return b
	}
	f := limit.Fields{N: raw(n), Window: raw(window)}
	if mode != "" {
		f.Mode = raw(mode)
	}
	_, err := w.SetOverride(w.ctx(), key, engine.OverrideChange{Fields: f, By: "admin"})
	w.must(err)
}

// second is the store as a second server sees it: on PostgreSQL one of its own,
// on the same database.
func (w *world) second() store.Store {
	w.t.Helper()
	if w.dsn == "" {
		return w.store
	}
	s := w.openStore()
	w.t.Cleanup(func() { w.must(s.Close()) })
	return s
}

// newWorldOn is newWorld on a driver, whatever the tests run on.
func newWorldOn(t testing.TB, name string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: newClock(), driver: name}
	w.o.Uptime = w.clock.Boot
	w.open()
	t.Cleanup(func() { w.close() })
	w.must(w.CreateWorkspace(w.ctx(), store.Workspace{ID: "main"}))
	return w
}

// pushPaths pushes n jobs in one call, of one path after the other, so many
// times.
func (w *world) pushPaths(n, times int, path func(i int) string) {
	w.t.Helper()
	for range times {
		news := make([]engine.NewJob, n)
		for i := range news {
			news[i] = engine.NewJob{Workspace: "main", Path: path(i)}
		}
		_, err := w.Submit(w.ctx(), news)
		w.must(err)
	}
}

// endAll ends executions in one call.
func (w *world) endAll(worker string, as []sluice.Assignment) {
	w.t.Helper()
	reports := make([]sluice.Report, len(as))
	for i, a := range as {
		reports[i] = sluice.Report{Execution: a.Execution, Worker: worker, Success: true, Launched: true, Result: json.RawMessage(`"ok"`)}
	}
	w.must(errors.Join(w.Report(w.ctx(), reports)...))
}
