package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// loadMinutes is how long the row of the load lasts.
var loadMinutes float64

// The load: every tick so many jobs are pushed, as many taken, and these ended.
const (
	loadTick    = 100 * time.Millisecond
	loadBatch   = 100
	loadKeys    = 1_000
	loadBacklog = 10_000 // jobs that wait all the time, and as many in full groups
)

// pgLoad keeps a database busy for a while, with jobs deleted soon after their
// end, and compares how long claims take at its end with its beginning.
func pgLoad() []value {
	w := pgWorld(engine.Options{Retention: 30 * time.Second, CleanEvery: 5 * time.Second})
	defer w.remove()
	ctx := context.Background()
	w.script("f/b/free", nil)
	w.script("f/b/keys", limited(1000, 1, "end", "k-$args[k]"))
	w.script("f/b/full", limited(1, 86_400, "end", "full-$args[k]"))
	w.push("f/b/full", fullLines, func(i int) int { return i })
	check(w.cycle(ctx, fullLines, nil)) // their windows are full from now on
	w.push("f/b/full", size(loadBacklog), func(i int) int { return i % fullLines })
	pushed := 0
	push := func(n int) {
		news := make([]engine.NewJob, n)
		for i := range news {
			news[i] = engine.NewJob{Workspace: "main", Path: "f/b/free"}
			if pushed++; pushed%2 == 0 {
				news[i] = engine.NewJob{Workspace: "main", Path: "f/b/keys", Args: json.RawMessage(fmt.Sprintf(`{"k":%d}`, pushed%loadKeys))}
			}
		}
		check1(w.e.Submit(ctx, news))
	}
	push(size(loadBacklog))
	pgDo(w.url, "VACUUM ANALYZE")
	whole := time.Duration(loadMinutes * float64(time.Minute))
	part := whole / 10
	var first, last []time.Duration
	var early map[string]tableSize
	behind := time.Duration(0)
	began := time.Now()
	for tick := began; time.Since(began) < whole; tick = tick.Add(loadTick) {
		time.Sleep(time.Until(tick))
		behind = max(behind, time.Since(tick))
		push(loadBatch)
		var took time.Duration
		check(w.cycle(ctx, loadBatch, &took))
		switch at := time.Since(began); {
		case at < part:
			first = append(first, took)
		case at >= whole-part:
			last = append(last, took)
		}
		if early == nil && time.Since(began) >= part {
			early = sizes(w.url)
		}
	}
	late := sizes(w.url)
	f50, f99 := quantiles(first)
	l50, l99 := quantiles(last)
	what := fmt.Sprintf("load of %d jobs/s for %g minutes: ", loadBatch*int(time.Second/loadTick), loadMinutes)
	out := []value{
		{Name: what + "claim of 100, first tenth, p50", Got: ms(f50), Unit: "ms", Note: fmt.Sprintf("p99 %.1f ms", ms(f99))},
		{Name: what + "claim of 100, last tenth, p50", Got: ms(l50), Unit: "ms", Note: fmt.Sprintf("p99 %.1f ms; at most %.1f s behind its pace", ms(l99), behind.Seconds())},
		{Name: "claim latency: last ÷ first tenth of the load, p50", Got: l50.Seconds() / f50.Seconds(), Bound: 1.3, AtMost: true},
		{Name: "claim latency: last ÷ first tenth of the load, p99", Got: l99.Seconds() / f99.Seconds()},
	}
	return append(out, grown(early, late)...)
}

// cycle takes n jobs and ends them. It notes how long the claim took.
func (w *world) cycle(ctx context.Context, n int, took *time.Duration) error {
	w.beat()
	at := time.Now()
	w.takes++
	got, err := w.e.TakeNow(ctx, sluice.TakeRequest{Worker: "w", TakeNo: w.takes, Tags: []string{"noop"}, Places: n})
	if err != nil {
		return err
	}
	if len(got) != n {
		return fmt.Errorf("%d jobs were handed out, not %d", len(got), n)
	}
	if took != nil {
		*took = time.Since(at)
	}
	reports := make([]sluice.Report, len(got))
	for i, a := range got {
		reports[i] = sluice.Report{Execution: a.Execution, Worker: "w", Success: true, Launched: true, Result: json.RawMessage("null")}
	}
	for _, err := range w.e.Report(ctx, reports) {
		if err != nil {
			return err
		}
	}
	return nil
}

// tableSize is what a table and its indexes take, and how much of it is dead.
type tableSize struct {
	table, indexes, live, dead int64
}

// queueTables are those whose rows are as many all the time, so that growth is
// bloat, and job_state, whose rows come and go with retention.
var queueTables = []string{"stand", "line", "grp", "clock", "tally", "job_state"}

func sizes(dsn string) map[string]tableSize {
	all := map[string]tableSize{}
	for _, name := range queueTables {
		var s tableSize
		pgQuery(dsn, `SELECT pg_table_size(relid), pg_indexes_size(relid), n_live_tup, n_dead_tup FROM pg_stat_user_tables WHERE relname = '`+name+`'`,
			&s.table, &s.indexes, &s.live, &s.dead)
		all[name] = s
	}
	return all
}

// grown says how much tables and their indexes grew.
func grown(early, late map[string]tableSize) []value {
	var out []value
	for _, name := range queueTables {
		e, l := early[name], late[name]
		out = append(out, value{
			Name: "  " + name + ": size at the end ÷ after a tenth", Got: float64(l.table+l.indexes) / float64(max(e.table+e.indexes, 1)),
			Note: fmt.Sprintf("table %d → %d kB, indexes %d → %d kB, %d rows, %d dead", e.table/1024, l.table/1024, e.indexes/1024, l.indexes/1024, l.live, l.dead),
		})
	}
	return out
}
