package storetest

import (
	"context"
	"sync"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// manyAtOnce has 50 goroutines draw numbers of one group.
func manyAtOnce(w *world) {
	const workers, each = 50, 20
	type draw struct {
		no, id, seq int64
		at          time.Time
	}
	draws := make([][]draw, workers)
	var all sync.WaitGroup
	for i := range workers {
		jobs := make([]*sluice.Job, each)
		for k := range jobs {
			jobs[k] = w.job()
		}
		all.Go(func() {
			for _, j := range jobs {
				var d draw
				err := w.try(func(tx store.Tx) {
					job := *j
					g := must(tx.LockGroups([]string{"busy"}))[0]
					d.at = tx.Now()
					ok(tx.InsertJobs([]*sluice.Job{&job}))
					g.Taken++
					e := &sluice.Execution{JobSeq: job.Seq, JobID: job.ID, Attempt: 1, InGroup: true, GroupID: g.ID, OrderNo: g.Taken, StartedAt: d.at}
					ok(tx.InsertExecution(e))
					ok(tx.SaveGroup(g))
					d.no, d.id, d.seq = g.Taken, e.ID, job.Seq
				})
				if err != nil {
					w.Error(err)
					return
				}
				w.clock.Pass(time.Millisecond)
				draws[i] = append(draws[i], d)
			}
		})
	}
	all.Wait()
	byNo := make([]draw, workers*each+1)
	for _, list := range draws {
		for _, d := range list {
			if d.no < 1 || d.no >= int64(len(byNo)) || byNo[d.no].no != 0 {
				w.Fatalf("number %d was drawn twice, or leaves a gap", d.no)
			}
			byNo[d.no] = d
		}
	}
	for no := 2; no < len(byNo); no++ {
		a, b := byNo[no-1], byNo[no]
		if b.at.Before(a.at) || b.id <= a.id || b.seq <= a.seq {
			w.Fatalf("numbers %d and %d do not ascend together: %+v, %+v", no-1, no, a, b)
		}
	}
	w.view(func(r store.Reader) {
		w.equal("taken", must(r.Group("busy")).Taken, int64(workers*each))
		w.equal("history", len(must(r.History(must(r.Group("busy")).ID, 0, 10_000))), workers*each)
	})
}

// dump is all that a small store holds, once all of its changes can be read.
func dump(w *world) (out map[string]any) {
	var newest int64
	w.view(func(r store.Reader) {
		newest = 0
		for _, j := range must(r.Jobs(store.JobFilter{})) {
			newest = max(newest, j.Rev)
		}
	})
	w.readable(newest)
	w.view(func(r store.Reader) {
		out = map[string]any{
			"jobs": must(r.Jobs(store.JobFilter{})), "groups": must(r.Groups(store.GroupFilter{})), "history": must(r.History(0, 0, 100)),
			"events": must(r.GroupEvents(0, 0, 100)), "workers": must(r.Workers(time.Time{})),
			"counts": must(r.JobCounts("")), "workspaces": must(r.Workspaces()), "changed": must(r.ChangedJobs(0, 100)),
		}
		for _, g := range must(r.Groups(store.GroupFilter{})) {
			out["lines of "+g.Key] = must(r.LinesOf(g.ID))
		}
		for _, j := range must(r.Jobs(store.JobFilter{})) {
			out["log of "+j.ID] = must(r.Log(j.Seq, 0, 1000))
			out["result of "+j.ID] = must(r.Result(j.Seq))
		}
	})
	return out
}

func reopen(w *world) {
	g := w.group("g")
	e := w.run(g, "w")
	w.confirm(e)
	w.end(e, sluice.EndReported)
	w.run(g, "w")
	l := w.line(g.ID, "bash")
	jobs := w.jobs(3, nil)
	w.update(func(tx store.Tx) {
		g := must(tx.GroupByID(g.ID))
		g.Override, g.Pause.Paused = limit.Override{N: ptr(2)}, true
		ok(tx.SaveGroup(g))
		ok(tx.AddGroupEvent(&store.GroupEvent{GroupID: g.ID, Kind: store.EventPause, At: tx.Now()}))
		ok(tx.Stand(l.ID, jobs))
		l.Queued, l.Ready = 3, true
		ok(tx.SaveLine(l))
		ok(tx.SaveResult(jobs[0].Seq, []byte(`{}`)))
		ok(tx.AppendLog(jobs[0].Seq, 1, 3, "log"))
		ok(tx.SaveWorkspace(&store.Workspace{ID: "main"}))
		row := &store.WorkerRow{}
		row.Worker = "w"
		ok(tx.SaveWorker(row))
	})
	before := dump(w)
	w.stop()
	w.start()
	after := dump(w)
	for name, want := range before {
		w.equal(name, after[name], want)
	}
	w.update(func(tx store.Tx) {
		w.equal("heads", must(tx.Heads(l.ID, 10)), jobs)
		w.equal("ready", must(tx.ReadyLines([]string{"bash"}, 10)), []*store.Line{l})
	})
}

// reopenNumbers deletes the rows with the highest numbers before it closes.
func reopenNumbers(w *world) {
	j := w.jobs(2, nil)[1]
	g := w.group("g")
	e := w.run(nil, "w")
	l := w.line(0, "bash")
	var turn, rev int64
	w.end(e, sluice.EndReported)
	w.update(func(tx store.Tx) {
		turn = must(tx.NextTurn())
		l.Turn = turn
		ok(tx.SaveLine(l))
		ok(tx.DeleteLine(l.ID))
		for _, j := range must(tx.Jobs(store.JobFilter{})) {
			j.State, j.CompletedAt = sluice.StateCompleted, tx.Now()
			ok(tx.SaveJob(j))
			rev = j.Rev
		}
	})
	w.clock.Pass(time.Hour)
	for range 20 {
		w.update(func(tx store.Tx) {
			now := tx.Now()
			must(tx.DeleteJobs(now, now, 100))
			must(tx.DeleteExecutions(now, 0, 100))
			must(tx.DeleteGroups(now, 100))
		})
	}
	w.view(func(r store.Reader) {
		w.equal("jobs", must(r.CountJobs(store.JobFilter{})), int64(0))
		w.equal("groups", len(must(r.Groups(store.GroupFilter{}))), 0)
	})
	w.stop()
	w.start()
	w.readable(rev)
	j2, g2, e2, l2 := w.jobs(1, nil)[0], w.group("g"), w.run(nil, "w"), w.line(0, "bash")
	w.update(func(tx store.Tx) { w.equal("turn", must(tx.NextTurn()) > turn && l2.Turn > turn, true) })
	if j2.Seq <= j.Seq || j2.Rev <= rev || g2.ID <= g.ID || e2.ID <= e.ID || l2.ID <= l.ID {
		w.Error("a number was drawn again")
	}
}

// clockAfterOpen opens with a wall clock that is behind what was recorded.
func clockAfterOpen(w *world) {
	var last time.Time
	note := func() {
		w.update(func(tx store.Tx) {
			now := tx.Now()
			if now.Before(last) {
				w.Errorf("the clock went back from %v to %v", last, now)
			}
			last = now
			j := w.job()
			j.CreatedAt = now
			ok(tx.InsertJobs([]*sluice.Job{j}))
		})
	}
	w.clock.Pass(time.Hour)
	note()
	for range 3 {
		w.stop()
		w.clock.Step(-time.Minute)
		w.start()
		note()
		before := last
		w.clock.Pass(time.Second)
		note()
		if d := last.Sub(before); d < time.Second || d > time.Second+time.Millisecond {
			w.Errorf("in a second the clock moved by %v", d)
		}
	}
	w.stop()
	w.clock.Step(time.Hour)
	w.start()
	note()
	w.equal("the wall clock, when it is ahead", last.Sub(w.clock.Wall()).Abs() < time.Millisecond, true)
}

// snapshot updates while a view is under way.
func snapshot(w *world) {
	jobs := w.jobs(2, nil)
	w.view(func(r store.Reader) {
		before := must(r.CountJobs(store.JobFilter{}))
		w.update(func(tx store.Tx) {
			ok(tx.InsertJobs([]*sluice.Job{w.job()}))
			jobs[0].State = sluice.StateRunning
			ok(tx.SaveJob(jobs[0]))
		})
		w.equal("jobs as they were", must(r.CountJobs(store.JobFilter{})), before)
		w.equal("state as it was", must(r.Job(jobs[0].ID)).State, sluice.StateQueued)
		w.view(func(r store.Reader) {
			w.equal("jobs in a new view", must(r.CountJobs(store.JobFilter{})), before+1)
			w.equal("state in a new view", must(r.Job(jobs[0].ID)).State, sluice.StateRunning)
		})
	})
}

// readersGoOn has views under way while updates are: each sees all that was
// answered before, and jobs and revs that agree.
func readersGoOn(w *world) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				w.view(func(r store.Reader) {
					n, changed := must(r.CountJobs(store.JobFilter{})), must(r.ChangedJobs(0, 100))
					if n < int64(len(changed)) || len(changed) > 0 && must(r.MaxRev()) < changed[len(changed)-1].Rev {
						w.Errorf("%d jobs, of which %d have changed", n, len(changed))
					}
				})
			}
		})
	}
	for i := range 50 {
		w.jobs(1, nil)
		w.view(func(r store.Reader) { w.equal("jobs", must(r.CountJobs(store.JobFilter{})), int64(i+1)) })
	}
	cancel()
	all.Wait()
}
