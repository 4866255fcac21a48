package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// Sizes of the throughput rows.
const (
	throughputJobs = 20_000
	pushBatch      = 1_000
	takeBatch      = 256
	manyKeysCount  = 10_000
)

// throughput runs jobs through the engine in batches, and the same batches
// through the bare store.
func throughput() []value {
	bare := bareQueue()
	one := engineQueue(inFile, nil, nil)
	paths := engineQueue(inFile, nil, func(n *engine.NewJob, i int) {
		n.Path, n.Preview = "", &engine.Preview{Content: "true", Language: "noop", Path: fmt.Sprintf("f/b/x%d", i%manyKeysCount)}
	})
	keys := engineQueue(inFile, limited(1000, 1, "end", "k-$args[k]"), func(n *engine.NewJob, i int) {
		n.Args = json.RawMessage(fmt.Sprintf(`{"k":%d}`, i%manyKeysCount))
	})
	return []value{
		{Name: "bare: insert, to running, to completed", Got: bare, Unit: "jobs/s"},
		{Name: "unlimited, one path", Got: one, Unit: "jobs/s"},
		{Name: "unlimited, 10,000 paths", Got: paths, Unit: "jobs/s"},
		{Name: "limited, 10,000 keys, room everywhere", Got: keys, Unit: "jobs/s"},
		{Name: "unlimited, batched ÷ bare", Got: one / bare, Bound: 0.5},
		{Name: "limited, 10,000 keys ÷ unlimited, one path", Got: keys / one, Bound: 0.7},
		{Name: "limited, 10,000 keys ÷ unlimited, 10,000 paths", Got: keys / paths, Bound: 0.7},
	}
}

// bareQueue is the least that a durable queue does: the same table, indexes,
// connection and batches, and nothing that waits in lines.
func bareQueue() float64 {
	w := openWorld("")
	defer w.remove()
	ctx := context.Background()
	began := time.Now()
	for done := 0; done < throughputJobs; done += pushBatch {
		check(w.store.Update(ctx, func(tx store.Tx) error {
			now := tx.Now()
			jobs := make([]*sluice.Job, pushBatch)
			for i := range jobs {
				jobs[i] = &sluice.Job{
					ID: check1(uuid.NewV7()).String(), Workspace: "main", Kind: sluice.KindPreview, Path: "f/b/x", Language: "noop",
					Tag: "noop", Content: "true", Args: json.RawMessage("{}"), State: sluice.StateQueued, CreatedAt: now, ScheduledFor: now,
				}
			}
			return tx.InsertJobs(jobs)
		}))
	}
	after := int64(0)
	for done := 0; done < throughputJobs; {
		var jobs []*sluice.Job
		check(w.store.Update(ctx, func(tx store.Tx) (err error) {
			jobs, err = tx.Jobs(store.JobFilter{OldestFirst: true, AfterSeq: after, Limit: takeBatch})
			for _, j := range jobs {
				j.State, j.StartedAt = sluice.StateRunning, tx.Now()
				if err := tx.SaveJob(j); err != nil {
					return err
				}
			}
			return err
		}))
		after = jobs[len(jobs)-1].Seq
		check(w.store.Update(ctx, func(tx store.Tx) error {
			for _, j := range jobs {
				j.State, j.Outcome, j.CompletedAt = sluice.StateCompleted, sluice.OutcomeSuccess, tx.Now()
				if err := tx.SaveJob(j); err != nil {
					return err
				}
				if err := tx.SaveResult(j.Seq, json.RawMessage("null")); err != nil {
					return err
				}
			}
			return nil
		}))
		done += len(jobs)
	}
	return throughputJobs / time.Since(began).Seconds()
}

// engineQueue pushes, takes and reports the same number of jobs in the same
// batches through the engine, after a round that makes what lasts: the groups.
func engineQueue(open maker, s settings, change func(n *engine.NewJob, i int)) float64 {
	w := open()
	defer w.remove()
	w.script("f/b/x", s)
	w.queue(manyKeysCount, change)
	began := time.Now()
	w.queue(throughputJobs, change)
	return throughputJobs / time.Since(began).Seconds()
}

// queue pushes jobs in batches, then takes and reports them in batches.
func (w *world) queue(jobs int, change func(n *engine.NewJob, i int)) {
	ctx := context.Background()
	for done := 0; done < jobs; done += pushBatch {
		news := make([]engine.NewJob, pushBatch)
		for i := range news {
			news[i] = engine.NewJob{Workspace: "main", Path: "f/b/x"}
			if change != nil {
				change(&news[i], done+i)
			}
		}
		_, err := w.e.Submit(ctx, news)
		check(err)
	}
	for done := 0; done < jobs; {
		w.beat()
		w.takes++
		got := check1(w.e.TakeNow(ctx, sluice.TakeRequest{Worker: "w", TakeNo: w.takes, Tags: []string{"noop"}, Places: takeBatch}))
		if len(got) == 0 {
			panic("no job was handed out, though there is room")
		}
		reports := make([]sluice.Report, len(got))
		for i, a := range got {
			reports[i] = sluice.Report{Execution: a.Execution, Worker: "w", Success: true, Launched: true, Result: json.RawMessage("null")}
		}
		for _, err := range w.e.Report(ctx, reports) {
			check(err)
		}
		done += len(got)
	}
}
