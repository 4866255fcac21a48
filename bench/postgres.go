package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/engine"
	"sluice/internal/worker"
	"sluice/internal/worker/supervisor"
)

// share is how much of the jobs the rows on PostgreSQL take.
var share = 1.0

// size is the share of n.
func size(n int) int { return max(int(share*float64(n)), 1) }

// Sizes of the rows on PostgreSQL.
const (
	burnJobs  = 100_000
	burnKeys  = 10_000
	pgPlaces  = 1_000 // of each server, and of each peer
	freeJobs  = 20_000
	fullLines = 100
)

// noop is a job that does nothing and is counted in s.
func noop(s *spans) worker.ExecutorFunc {
	return func(_ context.Context, t *worker.Task) worker.Outcome {
		t.Launched()
		s.count()
		return worker.Outcome{Result: json.RawMessage("null")}
	}
}

// burnt is what a burn-down gave.
type burnt struct {
	perSecond  float64
	statements float64 // a job
	trips      float64 // a job
	rows       float64 // read, a job
	ours, pg   float64 // µs of processor time a job, here and in the database
}

func (b burnt) note() string {
	return fmt.Sprintf("%.3f statements, %.3f round trips, %.0f + %.0f µs of CPU a job", b.statements, b.trips, b.ours, b.pg)
}

func (b burnt) cpuNote() string { return fmt.Sprintf("%.0f + %.0f µs of CPU a job", b.ours, b.pg) }

// cpuNow is the processor time that this process and the database have used.
func cpuNow() [2]time.Duration { return [2]time.Duration{cpuTime(), pgCPU()} }

// cpuSince is what was used since, in µs for each of n jobs.
func cpuSince(before [2]time.Duration, n int) (ours, pg float64) {
	now := cpuNow()
	per := func(i int) float64 { return float64((now[i] - before[i]).Microseconds()) / float64(n) }
	return per(0), per(1)
}

// burn pushes n jobs, starts a worker at each server, and measures from there to the last durable completion.
func (w *world) burn(path string, n int, arg func(i int) int) burnt {
	var before int64
	pgQuery(w.url, "SELECT coalesce(max(seq), 0) FROM job_state", &before)
	w.push(path, n, arg)
	pgDo(w.url, "ANALYZE")
	forgetStatements(w.url)
	cpu := cpuNow()
	servers := append([]*world{w}, w.others...)
	s := newSpans(n)
	earlier := w.asked()
	began := time.Now()
	var drain []func()
	for i, o := range servers {
		drain = append(drain, o.workWith(worker.Config{
			Name: fmt.Sprintf("burn-%d-%d", i, began.UnixNano()), Places: pgPlaces, Tags: []string{"noop"},
			Executors: map[string]worker.Executor{"noop": noop(s)}, Isolation: &supervisor.Isolation{},
		}))
	}
	s.wait(10 * time.Minute)
	awaitRow(w.url, fmt.Sprintf("SELECT NOT EXISTS (SELECT 1 FROM job_state WHERE state < 3 AND seq > %d)", before))
	took := time.Since(began)
	asked := w.asked()
	per := func(i int) float64 { return float64(asked[i]-earlier[i]) / float64(n) }
	b := burnt{perSecond: float64(n) / took.Seconds(), statements: per(0), trips: per(1), rows: per(2)}
	b.ours, b.pg = cpuSince(cpu, n)
	for _, f := range drain {
		f()
	}
	printDearest(w.url, n)
	return b
}

// awaitRow waits until a query says true.
func awaitRow(dsn, query string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn := check1(pgx.Connect(ctx, dsn))
	defer conn.Close(context.Background())
	for done := false; !done; {
		check(conn.QueryRow(ctx, query).Scan(&done))
	}
}

// asked returns how many statements and round trips all servers of a database
// made, and how many rows they read.
func (w *world) asked() (n [3]int64) {
	for _, o := range append([]*world{w}, w.others...) {
		stats := o.store.Stats()
		n[0] += stats.Statements
		n[2] += stats.RowsRead
		if s, ok := o.store.(interface{ RoundTrips() int64 }); ok {
			n[1] += s.RoundTrips()
		}
	}
	return n
}

// join opens n more servers on a world's database.
func (w *world) join(n int) *world {
	for range n {
		w.others = append(w.others, openServer(w.url, pgConns, engine.Options{}))
	}
	return w
}

// pgOneKey is the row of one key, and the same of DBOS's queue.
func pgOneKey() []value {
	out := oneKey(inPostgres)
	peer := dbosLimiter(1, 10, 300, 5*time.Millisecond)
	return append(out, peer.values("DBOS, limiter of 10 per 1 s, 300 workflows of 5 ms")...)
}

// pgHundred is the row of 100 keys, and the same of DBOS's partitions with
// fewer jobs.
func pgHundred() []value {
	out := hundredFromEnd(inPostgres)
	peer := dbosLimiter(100, 5, 20, 5*time.Millisecond)
	return append(out, peer.values("DBOS, 100 partitions, 5 per 1 s, 20 workflows each")...)
}

// pgTwoServers lets a group with one slot be used by two servers: by both for
// all its jobs, and in turns, as one serves each second job and the other the rest.
func pgTwoServers() []value {
	shared := twoServers("f/b/x", "f/b/x", "noop", "noop")
	turns := twoServers("f/b/a", "f/b/b", "ta", "tb")
	c99 := max(shared.c99, turns.c99)
	bound := 20 + 2*ms(c99)
	return []value{
		{Name: "two servers: freed → next begins, p50", Got: ms(quantile(shared.gaps, 0.5)), Unit: "ms", Note: shared.note},
		{Name: "two servers: freed → next begins, p99", Got: ms(quantile(shared.gaps, 0.99)), Bound: bound, AtMost: true, Unit: "ms"},
		{Name: "two servers in turns: freed → next begins, p50", Got: ms(quantile(turns.gaps, 0.5)), Unit: "ms", Note: turns.note},
		{Name: "two servers in turns: freed → next begins, p99", Got: ms(quantile(turns.gaps, 0.99)), Bound: bound, AtMost: true, Unit: "ms"},
		{Name: "two servers: bare commit C50", Got: ms(max(shared.c50, turns.c50)), Unit: "ms"},
		{Name: "two servers: bare commit C99", Got: ms(c99), Unit: "ms"},
	}
}

// handed is how a slot went from job to job.
type handed struct {
	gaps     []time.Duration
	c50, c99 time.Duration
	note     string
}

// twoServers pushes jobs of two paths in turns, which share a group of one
// slot, and has a worker at each of two servers serve one tag.
func twoServers(pathA, pathB, tagA, tagB string) handed {
	const jobs = 400
	w := inPostgres().join(1)
	defer w.remove()
	for path, tag := range map[string]string{pathA: tagA, pathB: tagB} {
		s := limited(1, 0, "end", "one")
		s["tag"] = tag
		w.script(path, s)
	}
	s := newSpans(jobs)
	var first atomic.Int64
	run := lasting(0, s)
	counting := worker.ExecutorFunc(func(ctx context.Context, t *worker.Task) worker.Outcome {
		first.Add(1)
		return run(ctx, t)
	})
	defer w.work("a", 4, counting, tagA)()
	defer w.others[0].work("b", 4, run, tagB)()
	news := make([]engine.NewJob, jobs)
	for i := range news {
		news[i] = engine.NewJob{Workspace: "main", Path: []string{pathA, pathB}[i%2]}
	}
	check1(w.e.Submit(context.Background(), news))
	all := s.wait(2 * time.Minute)
	mustHold(all, 1, 0, "end")
	h := handed{gaps: gapsOf(all), note: fmt.Sprintf("%d of %d jobs ran at the first", first.Load(), jobs)}
	h.c50, h.c99 = w.commits()
	return h
}

// pgBatches is the row of throughput, and what plain SQL does in batches of
// the same sizes.
func pgBatches() []value {
	one := engineQueue(inPostgres, nil, nil)
	keys := engineQueue(inPostgres, limited(1000, 1, "end", "k-$args[k]"), func(n *engine.NewJob, i int) {
		n.Args = json.RawMessage(fmt.Sprintf(`{"k":%d}`, i%manyKeysCount))
	})
	plain := plainSQL(throughputJobs, 1)
	return []value{
		{Name: "plain SQL: insert, claim, complete in batches", Got: plain.all, Unit: "jobs/s"},
		{Name: "unlimited, one path, push, take, report in batches", Got: one, Unit: "jobs/s"},
		{Name: "limited, 10,000 keys, push, take, report in batches", Got: keys, Unit: "jobs/s"},
		{Name: "unlimited in batches ÷ plain SQL", Got: one / plain.all},
		{Name: "limited, 10,000 keys ÷ unlimited, in batches", Got: keys / one, Bound: 0.7},
	}
}

// pgBurnDown burns down what was pushed before, through a worker, and the same
// through peers with as many connections and places.
func pgBurnDown() []value {
	n := size(burnJobs)
	down := func(s settings, arg func(i int) int) burnt {
		w := inPostgres()
		defer w.remove()
		w.script("f/b/x", s)
		return w.burn("f/b/x", n, arg)
	}
	one := down(nil, nil)
	peer := riverBurnDown(n)
	keys := down(limited(1000, 1, "end", "k-$args[k]"), func(i int) int { return i % burnKeys })
	plain := plainSQL(n, 4)
	what := fmt.Sprintf("burn-down of %d: ", n)
	return []value{
		{Name: what + "plain SQL, claim and complete", Got: plain.burn.perSecond, Unit: "jobs/s", Note: plain.burn.cpuNote()},
		{Name: what + "River, tuned", Got: peer.perSecond, Unit: "jobs/s", Note: peer.cpuNote()},
		{Name: what + "unlimited", Got: one.perSecond, Unit: "jobs/s", Note: one.note()},
		{Name: what + "limited, 10,000 keys", Got: keys.perSecond, Unit: "jobs/s", Note: keys.note()},
		{Name: "unlimited ÷ River", Got: one.perSecond / peer.perSecond, Bound: 1},
		{Name: "unlimited ÷ twice River, the next mark", Got: one.perSecond / peer.perSecond / 2},
		{Name: "CPU a job: River ÷ unlimited", Got: (peer.ours + peer.pg) / (one.ours + one.pg)},
		{Name: "unlimited ÷ plain SQL, claim and complete", Got: one.perSecond / plain.burn.perSecond},
		{Name: "limited, 10,000 keys ÷ unlimited", Got: keys.perSecond / one.perSecond, Bound: 0.7},
	}
}

// pgServers burns down the same with one server and with three.
func pgServers() []value {
	n := size(burnJobs) / 2
	var out []value
	for _, c := range []struct {
		name string
		s    settings
		arg  func(i int) int
	}{
		{"unlimited, one path", nil, nil},
		{"limited, 10,000 keys", limited(1000, 1, "end", "k-$args[k]"), func(i int) int { return i % burnKeys }},
	} {
		down := func(more int) burnt {
			w := inPostgres().join(more)
			defer w.remove()
			w.script("f/b/x", c.s)
			return w.burn("f/b/x", n, c.arg)
		}
		one, three := down(0), down(2)
		out = append(out,
			value{Name: c.name + ": 3 servers ÷ 1 server, jobs/s", Got: three.perSecond / one.perSecond, Bound: 0.9, Note: fmt.Sprintf("%.0f and %.0f jobs/s", three.perSecond, one.perSecond)},
			value{Name: c.name + ": 3 servers ÷ 1 server, statements a job", Got: three.statements / one.statements, Bound: 1, AtMost: true, Note: fmt.Sprintf("%.3f and %.3f", three.statements, one.statements)},
		)
	}
	return out
}

// pgBehind burns down jobs that are free to start and were pushed behind those
// of groups that are full.
func pgBehind() []value {
	const few, many = 1_000, 200_000
	down := func(backlog int) burnt {
		w := inPostgres()
		defer w.remove()
		w.script("f/b/full", limited(1, 0, "end", "k-$args[k]"))
		w.script("f/b/x", nil)
		begun := make(chan struct{}, fullLines)
		hold, letGo := context.WithCancel(context.Background())
		drain := w.work("holder", fullLines, worker.ExecutorFunc(func(ctx context.Context, t *worker.Task) worker.Outcome {
			t.Launched()
			begun <- struct{}{}
			select {
			case <-ctx.Done():
			case <-hold.Done():
			}
			return worker.Outcome{Result: json.RawMessage("null")}
		}))
		w.push("f/b/full", fullLines, func(i int) int { return i })
		for range fullLines {
			<-begun
		}
		w.push("f/b/full", backlog, func(i int) int { return i % fullLines })
		got := w.burn("f/b/x", size(freeJobs), nil)
		w.stop() // before the slots come free
		letGo()
		drain()
		return got
	}
	short, long := down(few), down(size(many))
	return []value{
		{Name: "free jobs behind 1,000 of 100 full groups", Got: short.perSecond, Unit: "jobs/s", Note: short.note()},
		{Name: fmt.Sprintf("free jobs behind %d of 100 full groups", size(many)), Got: long.perSecond, Unit: "jobs/s", Note: long.note()},
		{Name: "free jobs: behind many ÷ behind few", Got: long.perSecond / short.perSecond, Bound: 0.95},
		{Name: "free jobs: behind many ÷ behind few, rows read a job", Got: long.rows / short.rows, Bound: 1.1, AtMost: true, Note: fmt.Sprintf("%.2f and %.2f", long.rows, short.rows)},
		{Name: "free jobs: behind many ÷ behind few, CPU a job", Got: (long.ours + long.pg) / (short.ours + short.pg)},
	}
}
