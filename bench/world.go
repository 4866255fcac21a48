package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
	"sluice/internal/store/sqlite"
	"sluice/internal/worker"
	"sluice/internal/worker/supervisor"
)

// world is a server's inside on a new database: store, engine and its loops.
type world struct {
	dir    string
	store  store.Store
	e      *engine.Engine
	stop   context.CancelFunc
	loops  sync.WaitGroup
	takes  int64
	beaten time.Time
	url    string   // of its database, if that is PostgreSQL's
	others []*world // further servers on it
	drop   func()   // the database; nil: it is in dir
}

// maker opens a world on a new database.
type maker func() *world

// inFile opens a world on a new file of SQLite.
func inFile() *world { return openWorld("") }

// openWorld opens a world on SQLite in dir; "" makes a new folder under the bench's own.
func openWorld(dir string) *world {
	if dir == "" {
		dir = check1(os.MkdirTemp(scratch, "world-"))
	}
	return newWorld(dir, check1(sqlite.Open(context.Background(), filepath.Join(dir, "bench.db"), sqlite.Options{Logger: quiet})), engine.Options{})
}

var quiet = slog.New(slog.DiscardHandler)

// newWorld starts a server's inside on a store.
func newWorld(dir string, s store.Store, o engine.Options) *world {
	ctx, stop := context.WithCancel(context.Background())
	w := &world{dir: dir, store: s, stop: stop}
	o.Logger = quiet
	w.e = check1(engine.New(ctx, s, o))
	w.loops.Go(func() { check(w.e.Run(ctx)) })
	_ = w.e.CreateWorkspace(ctx, store.Workspace{ID: "main"}) // it exists after a restart
	return w
}

func (w *world) close() {
	w.stop()
	w.loops.Wait()
	check(w.store.Close())
}

func (w *world) remove() {
	for _, o := range w.others {
		o.remove()
	}
	w.close()
	check(os.RemoveAll(w.dir))
	if w.drop != nil {
		w.drop()
	}
}

// settings of a script, by field.
type settings map[string]any

func (w *world) script(path string, s settings) {
	body := settings{"path": path, "content": "true", "language": "noop"}
	for k, v := range s {
		body[k] = v
	}
	_, err := w.e.SaveScript(context.Background(), "main", engine.NewScript{Body: check1(json.Marshal(body))})
	check(err)
}

// limited are the settings of a limit.
func limited(n, windowS int, mode, key string) settings {
	s := settings{"concurrent_limit": n, "concurrency_time_window_s": windowS, "concurrency_window_from": mode}
	if key != "" {
		s["concurrency_key"] = key
	}
	return s
}

// push submits n jobs of a path in calls of at most 10,000; arg gives the
// argument k of the i-th.
func (w *world) push(path string, n int, arg func(i int) int) {
	const call = 10_000
	for from := 0; from < n; from += call {
		news := make([]engine.NewJob, min(call, n-from))
		for i := range news {
			news[i] = engine.NewJob{Workspace: "main", Path: path}
			if arg != nil {
				news[i].Args = json.RawMessage(fmt.Sprintf(`{"k":%d}`, arg(from+i)))
			}
		}
		_, err := w.e.Submit(context.Background(), news)
		check(err)
	}
}

// beat sends a heartbeat of the worker that takes with its own hands, while it
// holds nothing, if the last was a while ago: it would be given up otherwise.
func (w *world) beat() {
	if time.Since(w.beaten) < 10*time.Second {
		return
	}
	w.beaten = time.Now()
	check1(w.e.Heartbeat(context.Background(), sluice.Heartbeat{Worker: "w", Tags: []string{"noop"}, Places: maxTake, SettledTake: w.takes}))
}

// maxTake is the most that such a worker takes at once.
const maxTake = 1000

// span is when the body of a job ran, by the monotonic clock.
type span struct {
	key        string
	start, end time.Time
}

// spans collects what jobs did.
type spans struct {
	mu   sync.Mutex
	all  []span
	want int
	done chan struct{}
}

func newSpans(want int) *spans { return &spans{want: want, done: make(chan struct{})} }

func (s *spans) add(x span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, x)
	if len(s.all) == s.want {
		close(s.done)
	}
}

// count notes an end without keeping it. It is not for use beside add.
func (s *spans) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want--; s.want == 0 {
		close(s.done)
	}
}

// wait returns all spans by start, or ends the program if they do not come.
func (s *spans) wait(most time.Duration) []span {
	select {
	case <-s.done:
	case <-time.After(most):
		s.mu.Lock()
		defer s.mu.Unlock()
		panic(fmt.Sprintf("only %d of %d jobs ended within %s", len(s.all), s.want, most))
	}
	slices.SortFunc(s.all, func(a, b span) int { return a.start.Compare(b.start) })
	return s.all
}

// lasting is a job that lasts d and notes its first and last instruction.
func lasting(d time.Duration, s *spans) worker.ExecutorFunc {
	return func(ctx context.Context, t *worker.Task) worker.Outcome {
		x := span{start: time.Now()}
		t.Launched()
		if d > 0 {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
		}
		x.key = string(t.Args)
		x.end = time.Now()
		s.add(x)
		return worker.Outcome{Result: json.RawMessage("null")}
	}
}

// work starts a worker with places for the language noop, and for bash. The
// function returned drains it.
func (w *world) work(name string, places int, run worker.Executor, tags ...string) func() {
	if len(tags) == 0 {
		tags = []string{"noop"}
	}
	return w.workWith(worker.Config{Executors: map[string]worker.Executor{"noop": run}, Name: name, Places: places, Tags: tags})
}

func (w *world) workWith(c worker.Config) func() { return w.workFrom(w.e, c) }

func (w *world) workFrom(source worker.Source, c worker.Config) func() {
	c.Dir, c.Source, c.Instance = filepath.Join(w.dir, "jobs-"+c.Name), source, "bench"
	c.Logger = quiet
	wk := check1(worker.New(c))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = wk.Run(ctx)
	}()
	return func() {
		drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = wk.Drain(drain)
		stop()
		<-done
	}
}

// commits returns the p50 and p99 latency of the newest commits; on PostgreSQL
// that of bare transactions now.
func (w *world) commits() (p50, p99 time.Duration) {
	if w.url != "" {
		return w.bareCommits()
	}
	return quantiles(w.store.Stats().CommitLatency)
}

func quantiles(took []time.Duration) (p50, p99 time.Duration) {
	sorted := slices.Clone(took)
	slices.Sort(sorted)
	return quantile(sorted, 0.5), quantile(sorted, 0.99)
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func check1[T any](v T, err error) T {
	check(err)
	return v
}

func init() { supervisor.Main() }
