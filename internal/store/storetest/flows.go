package storetest

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/store"
)

func steps(w *world) {
	parent, other := uuid.NewString(), uuid.NewString()
	jobs := w.jobs(8, func(i int, j *sluice.Job) {
		j.ParentJob, j.Step, j.StepN = parent, "a", []int{3, 1, 2, 2, 0, -1, 0, 0}[i]
		switch i {
		case 5:
			j.Step = "b"
		case 6:
			j.ParentJob = other
		case 7:
			j.Step, j.StepN = "", 0
		}
	})
	pick := func(n ...int) []int64 {
		var list []int64
		for _, i := range n {
			list = append(list, jobs[i].Seq)
		}
		return list
	}
	w.both(func(r store.Reader) {
		w.equal("of a", seqs(must(r.Children(parent, "a", 0, 10))), pick(4, 1, 2, 3, 0))
		w.equal("from 2 on", seqs(must(r.Children(parent, "a", 2, 10))), pick(2, 3, 0))
		w.equal("at most two", seqs(must(r.Children(parent, "a", 0, 2))), pick(4, 1))
		w.equal("without iterations", seqs(must(r.Children(parent, "b", -1, 10))), pick(5))
		w.equal("of the other", seqs(must(r.Children(other, "a", -1, 10))), pick(6))
		w.equal("of nobody", len(must(r.Children("", "a", -1, 10))), 0)
		w.equal("a row", must(r.Children(parent, "a", 3, 10))[0], jobs[0])
		w.equal("filter by step", seqs(must(r.Jobs(store.JobFilter{ParentJob: parent, Step: "a", OldestFirst: true}))), pick(0, 1, 2, 3, 4))
		w.equal("steps", must(r.CountJobs(store.JobFilter{Steps: true})), int64(7))
		w.equal("no steps", seqs(must(r.Jobs(store.JobFilter{NoSteps: true}))), pick(7))
	})
}

func flowRuns(w *world) {
	j := w.jobs(2, nil)
	full := &store.FlowRun{
		JobSeq: j[0].Seq, RootSeq: j[1].Seq, Depth: 3, State: json.RawMessage(`{"a": "é"}`), Events: json.RawMessage(`[1]`), Due: true,
		WakeAt: w.clock.Wall().Add(time.Minute), Steps: 1 << 40,
	}
	bare := &store.FlowRun{JobSeq: j[1].Seq, RootSeq: j[1].Seq, State: json.RawMessage(`{}`)}
	w.update(func(tx store.Tx) {
		ok(tx.InsertFlowRun(full))
		ok(tx.InsertFlowRun(bare))
		w.isErr("again", tx.InsertFlowRun(bare), store.ErrExists)
	})
	w.both(func(r store.Reader) {
		w.equal("full", must(r.FlowRun(full.JobSeq)), full)
		w.equal("bare", must(r.FlowRun(bare.JobSeq)), bare)
		_, err := r.FlowRun(1 << 40)
		w.isErr("none", err, store.ErrNotFound)
	})
	changed := &store.FlowRun{JobSeq: full.JobSeq, RootSeq: 77, Depth: 99, State: json.RawMessage(`{"b":1}`), Steps: 5}
	w.update(func(tx store.Tx) {
		w.equal("locked", must(tx.LockFlowRun(full.JobSeq)), full)
		ok(tx.SaveFlowRun(changed))
		_, err := tx.LockFlowRun(1 << 40)
		w.isErr("lock of none", err, store.ErrNotFound)
	})
	w.isErr("save of none", w.try(func(tx store.Tx) { ok(tx.SaveFlowRun(&store.FlowRun{JobSeq: 1 << 40, State: json.RawMessage(`1`)})) }), store.ErrNotFound)
	changed.RootSeq, changed.Depth = full.RootSeq, full.Depth // those stay
	w.both(func(r store.Reader) { w.equal("changed", must(r.FlowRun(full.JobSeq)), changed) })
	w.isErr("undone", w.try(func(tx store.Tx) {
		undone := *changed
		undone.Steps = 6
		ok(tx.SaveFlowRun(&undone))
		ok(store.ErrClosed)
	}), store.ErrClosed)
	w.both(func(r store.Reader) { w.equal("not changed", must(r.FlowRun(full.JobSeq)), changed) })
}

func flowRunsDue(w *world) {
	jobs := w.jobs(5, nil)
	at := w.clock.Wall()
	runs := make([]*store.FlowRun, len(jobs))
	w.update(func(tx store.Tx) {
		w.equal("no run", must(tx.NextFlowWake()), time.Time{})
		for i, j := range jobs {
			runs[i] = &store.FlowRun{JobSeq: j.Seq, RootSeq: j.Seq, State: json.RawMessage(`{}`)}
			switch i {
			case 1, 2:
				runs[i].WakeAt = at.Add(time.Duration(10-i) * time.Second)
			case 3:
				runs[i].Due, runs[i].WakeAt = true, at.Add(time.Hour)
			}
			ok(tx.InsertFlowRun(runs[i]))
		}
	})
	due := func(now time.Time, most int, want ...int) {
		w.Helper()
		list := []int64{}
		for _, i := range want {
			list = append(list, jobs[i].Seq)
		}
		w.update(func(tx store.Tx) {
			w.equal("due", slices.Concat([]int64{}, must(tx.DueFlowRuns(now, most))), list)
		})
	}
	due(at, 10, 3)
	due(at.Add(8*time.Second-time.Microsecond), 10, 3)
	due(at.Add(8*time.Second), 10, 3, 2)
	due(at.Add(time.Hour), 10, 3, 2, 1)
	due(at.Add(time.Hour), 2, 3, 2)
	due(at.Add(time.Hour), 1, 3)
	w.update(func(tx store.Tx) {
		w.equal("next wake", must(tx.NextFlowWake()), at.Add(8*time.Second))
		runs[2].WakeAt, runs[3].Due, runs[0].Due = time.Time{}, false, true
		for _, i := range []int{0, 2, 3} {
			ok(tx.SaveFlowRun(runs[i]))
		}
		w.equal("next wake", must(tx.NextFlowWake()), at.Add(9*time.Second))
	})
	due(at.Add(time.Hour), 10, 0, 1, 3)
	flowSignals(w, runs[4])
}

// flowSignals checks that whoever looks after runs is told of what is due.
func flowSignals(w *world, run *store.FlowRun) {
	told := make(chan store.Signal, 100)
	defer w.s.Subscribe(func(s store.Signal) {
		if s.Flows {
			told <- s
		}
	})()
	change := func(what string, tell bool, with func()) {
		w.Helper()
		with()
		w.update(func(tx store.Tx) { ok(tx.SaveFlowRun(run)) })
		if !tell {
			w.update(func(tx store.Tx) { tx.Signal(store.Signal{Flows: true}) }) // which comes after whatever was told before
		}
		select {
		case <-told:
		case <-time.After(10 * time.Second):
			w.Errorf("%s: nobody was told", what)
		}
	}
	change("due", true, func() { run.Due = true })
	change("no longer due", false, func() { run.Due = false })
	change("to wake", true, func() { run.WakeAt = w.clock.Wall().Add(time.Second) })
}

func flowResults(w *world) {
	large := json.RawMessage(`"` + strings.Repeat("é", 500_000) + `"`)
	w.update(func(tx store.Tx) {
		ok(tx.SaveFlowResult(1, "a", json.RawMessage(`[1, null]`)))
		ok(tx.SaveFlowResult(2, "a", json.RawMessage(`2`)))
		ok(tx.SaveFlowResult(1, "b", json.RawMessage(`3`)))
		ok(tx.SaveFlowResult(1, "b", large))
	})
	w.both(func(r store.Reader) {
		w.equal("a of 1", string(must(r.FlowResult(1, "a"))), "[1, null]")
		w.equal("a of 2", string(must(r.FlowResult(2, "a"))), "2")
		w.equal("b of 1", string(must(r.FlowResult(1, "b"))) == string(large), true)
		for _, name := range []string{"A", "", "c"} {
			_, err := r.FlowResult(1, name)
			w.isErr("result "+name, err, store.ErrNotFound)
		}
	})
}

// deleteFlows checks that steps outlive their retention while their outermost
// flow runs, and that nothing is left of a flow that is deleted.
func deleteFlows(w *world) {
	at := w.clock.Wall()
	ended := func(j *sluice.Job) { j.State, j.CompletedAt = sluice.StateCompleted, at }
	open := w.jobs(1, func(_ int, j *sluice.Job) { j.Kind = sluice.KindFlow })[0]
	done := w.jobs(1, func(_ int, j *sluice.Job) { j.Kind = sluice.KindFlow; ended(j) })[0]
	jobs := w.jobs(5, func(i int, j *sluice.Job) {
		ended(j)
		switch i {
		case 0: // a step of the open flow
			j.ParentJob, j.RootJob, j.Step = open.ID, open.ID, "a"
		case 1: // one that would go at once, deeper
			j.ParentJob, j.RootJob, j.Step, j.DeleteAfter = uuid.NewString(), open.ID, "b", 0
		case 2: // what a step pushed by itself
			j.ParentJob, j.RootJob = open.ID, open.ID
		case 3:
			j.ParentJob, j.RootJob, j.Step = done.ID, done.ID, "a"
		case 4: // of a flow that is gone
			j.ParentJob, j.RootJob, j.Step = uuid.NewString(), uuid.NewString(), "a"
		}
	})
	w.update(func(tx store.Tx) {
		for _, j := range []*sluice.Job{open, done} {
			ok(tx.InsertFlowRun(&store.FlowRun{JobSeq: j.Seq, RootSeq: j.Seq, State: json.RawMessage(`{}`), Due: true}))
			ok(tx.SaveFlowResult(j.Seq, "a", json.RawMessage(`1`)))
		}
		for n := 1; n > 0; {
			n = must(tx.DeleteJobs(at.Add(time.Hour), at.Add(time.Hour), 100))
		}
	})
	w.both(func(r store.Reader) {
		left := seqs(must(r.Jobs(store.JobFilter{OldestFirst: true})))
		w.equal("left", left, []int64{open.Seq, jobs[0].Seq, jobs[1].Seq})
		must(r.FlowRun(open.Seq))
		must(r.FlowResult(open.Seq, "a"))
		_, err := r.FlowRun(done.Seq)
		w.isErr("run", err, store.ErrNotFound)
		_, err = r.FlowResult(done.Seq, "a")
		w.isErr("result", err, store.ErrNotFound)
	})
	w.update(func(tx store.Tx) {
		w.equal("due", must(tx.DueFlowRuns(at, 10)), []int64{open.Seq})
		ended(open)
		ok(tx.SaveJob(open))
		for n := 1; n > 0; {
			n = must(tx.DeleteJobs(at.Add(time.Hour), at.Add(time.Hour), 100))
		}
	})
	w.both(func(r store.Reader) { w.equal("left at last", must(r.CountJobs(store.JobFilter{})), int64(0)) })
}

func cached(w *world) {
	at := w.clock.Wall()
	one := &store.CacheEntry{Slot: 7, Hash: []byte{1, 0, 255}, Until: at.Add(time.Second), Result: json.RawMessage(`{"a": 1}`)}
	two := &store.CacheEntry{Slot: 0, Hash: []byte{2}, Until: at.Add(time.Minute), Result: json.RawMessage(`2`)}
	w.update(func(tx store.Tx) {
		ok(tx.SaveCached(one))
		ok(tx.SaveCached(two))
	})
	w.both(func(r store.Reader) {
		w.equal("one", must(r.Cached(7)), one)
		w.equal("two", must(r.Cached(0)), two)
		_, err := r.Cached(1)
		w.isErr("an empty slot", err, store.ErrNotFound)
	})
	two.Slot = 7
	w.update(func(tx store.Tx) { ok(tx.SaveCached(two)) })
	w.both(func(r store.Reader) { w.equal("replaced", must(r.Cached(7)), two) })
	w.update(func(tx store.Tx) {
		w.equal("deleted", []int{
			must(tx.DeleteCached(at.Add(time.Minute-time.Microsecond), 10)), must(tx.DeleteCached(at.Add(time.Minute), 1)),
			must(tx.DeleteCached(at.Add(time.Minute), 10)), must(tx.DeleteCached(at.Add(time.Minute), 10)),
		}, []int{0, 1, 1, 0})
	})
}
