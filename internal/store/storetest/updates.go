package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/store"
)

var errOwn = errors.New("the function's own error")

// updateLeavesNoTrace writes a bit of everything and fails.
func updateLeavesNoTrace(w *world) {
	g := w.group("kept")
	kept := w.jobs(1, nil)[0]
	l := w.line(g.ID, "bash")
	e := w.run(g, "w1")
	var rev int64
	var groups []*store.Group
	look := func(r store.Reader) {
		rev = must(r.MaxRev())
		groups = must(r.Groups(store.GroupFilter{}))
	}
	w.view(look)
	revBefore, groupsBefore := rev, groups

	err := w.s.Update(context.Background(), func(tx store.Tx) (err error) {
		defer caught(&err)
		ok(tx.InsertJobs([]*sluice.Job{w.job(), w.job()}))
		gs := must(tx.LockGroups([]string{"new", "kept"}))
		gs[1].Taken += 10
		ok(tx.SaveGroup(gs[1]))
		l := must(tx.LockLine(l.ID))
		l.Queued, l.Ready = 5, true
		ok(tx.SaveLine(l))
		must(tx.EnsureLine(gs[0].ID, "", "", "other"))
		j := must(tx.Job(kept.ID))
		j.State = sluice.StateRunning
		ok(tx.SaveJob(j))
		ok(tx.SaveResult(j.Seq, []byte(`1`)))
		ok(tx.Stand(l.ID, []*sluice.Job{j}))
		e := must(tx.Execution(e.ID))
		e.End, e.EndNo, e.LaunchNo, e.ReleasedAt = sluice.EndReported, 1, 1, tx.Now()
		ok(tx.SaveExecution(e))
		ok(tx.AppendLog(j.Seq, e.ID, 3, "abc"))
		ok(tx.SaveWorkspace(&store.Workspace{ID: "x"}))
		must(tx.ReadyLines([]string{"bash"}, 10)) // makes a driver write what it holds back
		return errOwn
	})
	if err != errOwn { //nolint:errorlint // The contract says unwrapped.
		w.Fatalf("error %v, want the function's own, unwrapped", err)
	}
	w.both(func(r store.Reader) {
		w.equal("groups", must(r.Groups(store.GroupFilter{})), groupsBefore)
		w.equal("jobs", must(r.CountJobs(store.JobFilter{})), int64(2))
		w.equal("state", must(r.Job(kept.ID)).State, sluice.StateQueued)
		w.equal("counts", must(r.JobCounts("")), map[string]store.Counts{"bash": {Queued: 2}})
		w.equal("result", must(r.Result(kept.Seq)), kept.Result)
		w.equal("held", len(must(r.HeldExecutions(g.ID, 10))), 1)
		w.equal("log", len(must(r.Log(kept.Seq, 0, 100))), 0)
		w.equal("workspaces", len(must(r.Workspaces())), 0)
		w.equal("line", must(r.LinesOf(g.ID))[0], l)
		changed := must(r.ChangedJobs(revBefore, 10))
		w.equal("changed jobs", len(changed), 0)
	})
	w.update(func(tx store.Tx) {
		w.equal("heads", len(must(tx.Heads(l.ID, 10))), 0)
		w.equal("ready", len(must(tx.ReadyLines([]string{"bash"}, 10))), 0)
	})
}

// updateFailsAlone lets updates fail amid others that are committed with them.
func updateFailsAlone(w *world) {
	g := w.group("g")
	const n = 60
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			errs[i] = w.s.Update(context.Background(), func(tx store.Tx) (err error) {
				defer caught(&err)
				g := must(tx.LockGroupIDs([]int64{g.ID}))[0]
				g.Taken++
				ok(tx.SaveGroup(g))
				must(tx.EnsureLine(g.ID, "", "", string(rune('A'+i))))
				if i%3 == 0 {
					return errOwn
				}
				return nil
			})
		})
	}
	all.Wait()
	for i, err := range errs {
		if (i%3 == 0) != (err == errOwn) || i%3 != 0 && err != nil { //nolint:errorlint // Unwrapped.
			w.Errorf("update %d: error %v", i, err)
		}
	}
	w.both(func(r store.Reader) {
		w.equal("taken", must(r.GroupByID(g.ID)).Taken, int64(40))
		w.equal("lines", len(must(r.LinesOf(g.ID))), 40)
	})
}

func updatePanics(w *world) {
	err := w.s.Update(context.Background(), func(tx store.Tx) error {
		if err := tx.InsertJobs([]*sluice.Job{w.job()}); err != nil {
			return err
		}
		panic("boom")
	})
	if err == nil {
		w.Error("a panic was no error")
	}
	w.jobs(1, nil)
	w.view(func(r store.Reader) { w.equal("jobs", must(r.CountJobs(store.JobFilter{})), int64(1)) })
}

func updateContext(w *world) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ran := false
	err := w.s.Update(ctx, func(store.Tx) error { ran = true; return nil })
	w.isErr("update", err, context.Canceled)
	w.isErr("view", w.s.View(ctx, func(store.Reader) error { ran = true; return nil }), context.Canceled)
	if ran {
		w.Error("a function ran although its context had ended")
	}
	// Once begun, it is completed, though its context ends meanwhile.
	ctx, cancel = context.WithCancel(context.Background())
	err = w.s.Update(ctx, func(tx store.Tx) (err error) {
		defer caught(&err)
		cancel()
		ok(tx.InsertJobs([]*sluice.Job{w.job()}))
		return nil
	})
	w.equal("error", err, error(nil))
	w.view(func(r store.Reader) { w.equal("jobs", must(r.CountJobs(store.JobFilter{})), int64(1)) })
}

func updateSeesItself(w *world) {
	w.update(func(tx store.Tx) {
		j := w.job()
		j.Key, j.HasKey = "k", true
		ok(tx.InsertJobs([]*sluice.Job{j}))
		g := must(tx.LockGroups([]string{"k"}))[0]
		g.Waiting = 1
		ok(tx.SaveGroup(g))
		l := must(tx.EnsureLine(g.ID, "", "", "bash"))
		l.Ready, l.Queued, l.WakeAt = true, 1, tx.Now()
		ok(tx.SaveLine(l))
		ok(tx.Stand(l.ID, []*sluice.Job{j}))
		w.equal("job", must(tx.Job(j.ID)), j)
		w.equal("group", must(tx.Group("k")), g)
		w.equal("groups", must(tx.Groups(store.GroupFilter{Active: true})), []*store.Group{g})
		w.equal("line", must(tx.LineFor(g.ID, "", "", "bash")), l)
		w.equal("lines", must(tx.LinesOf(g.ID)), []*store.Line{l})
		w.equal("ready", must(tx.ReadyLines([]string{"bash"}, 5)), []*store.Line{l})
		w.equal("due", must(tx.DueLines(tx.Now(), 5)), []*store.Line{l})
		w.equal("heads", must(tx.Heads(l.ID, 5)), []*sluice.Job{j})
		w.equal("rev", must(tx.MaxRev()), j.Rev)
		w.equal("counts", must(tx.JobCounts("main")), map[string]store.Counts{"bash": {Queued: 1}})
		ok(tx.DeleteLine(l.ID))
		w.equal("lines", len(must(tx.LinesOf(g.ID))), 0)
		w.equal("ready", len(must(tx.ReadyLines([]string{"bash"}, 5))), 0)
		_, err := tx.LockLine(l.ID)
		w.isErr("deleted line", err, store.ErrNotFound)
		again := must(tx.EnsureLine(g.ID, "", "", "bash"))
		if again.ID == l.ID {
			w.Error("a new line has the id of a deleted one")
		}
	})
}

func closed(w *world) {
	s := w.s
	w.stop()
	w.isErr("update", s.Update(context.Background(), func(store.Tx) error { return nil }), store.ErrClosed)
	w.isErr("view", s.View(context.Background(), func(store.Reader) error { return nil }), store.ErrClosed)
}

func signalsCase(w *world) {
	var mu sync.Mutex
	var got store.Signal
	told := make(chan int64, 100)
	cancel := w.s.Subscribe(func(s store.Signal) {
		mu.Lock()
		defer mu.Unlock()
		if s.Rev > 0 {
			told <- s.Rev
			return
		}
		got.Tags = append(got.Tags, s.Tags...)
		got.Workers = append(got.Workers, s.Workers...)
	})
	w.update(func(tx store.Tx) {
		tx.Signal(store.Signal{Tags: []string{"b", "a"}})
		tx.Signal(store.Signal{Tags: []string{"a"}, Workers: []string{"w"}})
	})
	slices.Sort(got.Tags)
	w.equal("signal, told before the caller is answered", got, store.Signal{Tags: []string{"a", "b"}, Workers: []string{"w"}})
	j := w.jobs(1, nil)[0]
	for rev := int64(0); rev < j.Rev; { // told when it can be read
		select {
		case rev = <-told:
		case <-time.After(10 * time.Second):
			w.Fatal("nobody was told of a change")
		}
	}
	got = store.Signal{}
	_ = w.s.Update(context.Background(), func(tx store.Tx) error {
		tx.Signal(store.Signal{Tags: []string{"c"}})
		return errOwn
	})
	w.update(func(store.Tx) {})
	w.equal("signal of an update that failed", got, store.Signal{})
	cancel()
	w.update(func(tx store.Tx) { tx.Signal(store.Signal{Tags: []string{"d"}}) })
	w.equal("signal after the end", got, store.Signal{})
}

func clockCase(w *world) {
	var last time.Time
	look := func(r store.Reader) {
		for range 3 {
			now := r.Now()
			if now.Before(last) {
				w.Errorf("the clock went back from %v to %v", last, now)
			}
			if now != now.Truncate(time.Microsecond) || now.Location() != time.UTC {
				w.Errorf("%v is not in microseconds of UTC", now)
			}
			last = now
		}
	}
	for _, step := range []time.Duration{0, time.Microsecond, time.Second, -time.Hour, 2 * time.Hour, -time.Millisecond} {
		w.clock.Step(step)
		w.clock.Pass(time.Millisecond)
		w.both(look)
	}
}

func statistics(w *world) {
	before := w.s.Stats()
	w.jobs(3, nil)
	w.view(func(r store.Reader) { must(r.Jobs(store.JobFilter{})) })
	after := w.s.Stats()
	if after.Statements <= before.Statements || after.RowsRead < before.RowsRead+3 || after.Commits <= before.Commits ||
		len(after.CommitLatency) == 0 {
		w.Errorf("statistics do not count: %+v, then %+v", before, after)
	}
}
