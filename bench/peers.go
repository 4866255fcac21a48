package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// openPool opens as many connections as each of the compared has.
func openPool(dsn string) *pgxpool.Pool {
	config := check1(pgxpool.ParseConfig(dsn))
	config.MaxConns = pgConns
	return check1(pgxpool.NewWithConfig(context.Background(), config))
}

// plain is what hand-written SQL gave: from the insertion, and from then on.
type plain struct {
	all  float64 // a second
	burn burnt
}

// plainSQL is the least that a queue in a table does: insert, claim, complete,
// in the same batches as ours, with no worker around it.
func plainSQL(n, connections int) plain {
	dsn, drop := newDatabase()
	defer drop()
	ctx := context.Background()
	pool := openPool(dsn)
	defer pool.Close()
	check1(pool.Exec(ctx, `CREATE TABLE plain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state smallint NOT NULL DEFAULT 0,
args bytea NOT NULL, result bytea, started timestamptz, completed timestamptz) WITH (fillfactor = 70)`))
	check1(pool.Exec(ctx, `CREATE INDEX ON plain (id) WHERE state = 0`))
	began := time.Now()
	for done := 0; done < n; done += pushBatch {
		check1(pool.Exec(ctx, `INSERT INTO plain (args) SELECT '{}' FROM generate_series(1, $1::int)`, min(pushBatch, n-done)))
	}
	inserted, cpu := time.Now(), cpuNow()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for left.Load() > 0 {
				rows := check1(pool.Query(ctx, `UPDATE plain SET state = 1, started = clock_timestamp() WHERE id IN
(SELECT id FROM plain WHERE state = 0 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING id, args`, takeBatch))
				var ids []int64
				for rows.Next() {
					var id int64
					var args []byte
					check(rows.Scan(&id, &args))
					ids = append(ids, id)
				}
				check(rows.Err())
				if len(ids) == 0 {
					return // the others are at what is left
				}
				check1(pool.Exec(ctx, `UPDATE plain SET state = 2, completed = clock_timestamp(), result = 'null' WHERE id = ANY($1::bigint[])`, ids))
				left.Add(-int64(len(ids)))
			}
		})
	}
	wg.Wait()
	p := plain{all: float64(n) / time.Since(began).Seconds(), burn: burnt{perSecond: float64(n) / time.Since(inserted).Seconds()}}
	p.burn.ours, p.burn.pg = cpuSince(cpu, n)
	return p
}

// riverNoop is a job of River that does nothing.
type riverNoop struct{}

func (riverNoop) Kind() string { return "noop" }

type riverWorker struct {
	river.WorkerDefaults[riverNoop]
	s *spans
}

func (r *riverWorker) Work(context.Context, *river.Job[riverNoop]) error {
	r.s.count()
	return nil
}

// riverBurnDown has River work off n jobs that were inserted before: from its
// start to the last completion that its table shows.
func riverBurnDown(n int) burnt {
	dsn, drop := newDatabase()
	defer drop()
	ctx := context.Background()
	pool := openPool(dsn)
	defer pool.Close()
	driver := riverpgxv5.New(pool)
	check1(check1(rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})).Migrate(ctx, rivermigrate.DirectionUp, nil))
	s := newSpans(n)
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverWorker{s: s})
	client := check1(river.NewClient(driver, &river.Config{
		Logger: quiet, Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: pgPlaces}},
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 10 * time.Millisecond,
	}))
	for done := 0; done < n; done += 10_000 {
		batch := make([]river.InsertManyParams, min(10_000, n-done))
		for i := range batch {
			batch[i].Args = riverNoop{}
		}
		check1(client.InsertManyFast(ctx, batch))
	}
	pgDo(dsn, "ANALYZE")
	forgetStatements(dsn)
	cpu := cpuNow()
	began := time.Now()
	check(client.Start(ctx))
	s.wait(10 * time.Minute)
	awaitRow(dsn, "SELECT NOT EXISTS (SELECT 1 FROM river_job WHERE state <> 'completed')")
	took := time.Since(began)
	b := burnt{perSecond: float64(n) / took.Seconds()}
	b.ours, b.pg = cpuSince(cpu, n)
	check(client.Stop(ctx))
	printDearest(dsn, n)
	return b
}

// limiter is what a peer's limiter did.
type limiter struct {
	utilisation float64
	worst       int // most starts within any window
	allowed     int
	over        int // starts that the limit forbade
	starts      int
}

func (l limiter) values(name string) []value {
	return []value{
		{Name: name + ": optimum ÷ makespan", Got: l.utilisation},
		{Name: "  its starts over the limit", Got: float64(l.over), Note: fmt.Sprintf("of %d; up to %d in a window of %d", l.starts, l.worst, l.allowed)},
	}
}

// dbosLimiter has DBOS run so many workflows for each key under a limiter of n
// per second from the start, polling every 10 ms.
func dbosLimiter(keys, n, each int, d time.Duration) limiter {
	dsn, drop := newDatabase()
	defer drop()
	pool := openPool(dsn)
	defer pool.Close()
	c := check1(dbos.NewContext(context.Background(), dbos.Config{AppName: "bench", SystemDBPool: pool, Logger: quiet}))
	s := newSpans(keys * each)
	sleep := func(ctx dbos.Context, key string) (string, error) {
		x := span{key: key, start: time.Now()}
		time.Sleep(d)
		x.end = time.Now()
		s.add(x)
		return "", nil
	}
	dbos.RegisterWorkflow(c, sleep)
	check(dbos.Launch(c))
	rate := &dbos.RateLimiter{Limit: n, Period: time.Second}
	options := []dbos.QueueOption{dbos.WithQueueBasePollingInterval(10 * time.Millisecond)}
	if keys > 1 {
		options = append(options, dbos.WithPartitionRateLimiter(rate))
	} else {
		options = append(options, dbos.WithRateLimiter(rate))
	}
	queue := check1(dbos.RegisterQueue(c, "limited", options...))
	for i := range keys * each {
		key := fmt.Sprintf("k%d", i%keys)
		with := []dbos.WorkflowOption{dbos.WithQueue(queue)}
		if keys > 1 {
			with = append(with, dbos.WithQueuePartitionKey(key))
		}
		check1(dbos.RunWorkflow(c, sleep, key, with...))
	}
	all := s.wait(5 * time.Minute)
	check(dbos.Shutdown(c, 10*time.Second))
	return judge(all, keys, n, each, d)
}

// judge counts the starts of each key that came while a window of a second
// held n starts already.
func judge(all []span, keys, n, each int, d time.Duration) limiter {
	l := limiter{allowed: n, starts: len(all), utilisation: optimum(each, n, time.Second, d, "start").Seconds() / makespan(all).Seconds()}
	byKey := map[string][]time.Time{}
	for _, x := range all {
		byKey[x.key] = append(byKey[x.key], x.start)
	}
	if len(byKey) != keys {
		panic(fmt.Sprintf("%d keys ran, not %d", len(byKey), keys))
	}
	for _, starts := range byKey {
		slices.SortFunc(starts, time.Time.Compare)
		first := 0
		for i, at := range starts {
			for !starts[first].After(at.Add(-time.Second)) {
				first++
			}
			within := i - first + 1
			l.worst = max(l.worst, within)
			if within > n {
				l.over++
			}
		}
	}
	return l
}
