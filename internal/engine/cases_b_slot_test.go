package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
	"sluice/limit"
)

// B3: 500 times, a job is committed to a full group at the moment when the
// last holder ends, with a worker waiting for work. Whichever comes first, the
// worker is woken: within a second, and here time passes only if nobody is.
func TestB3_CommittedJustAsTheLastHolderEnds(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.script("f/b/one", "concurrent_limit", 1)
		defer w.run()()
		holder := w.mustTake("the first", w.push("f/b/one"))
		for round := range 500 {
			var got []sluice.Assignment
			var all sync.WaitGroup
			all.Go(func() {
				var err error
				got, err = w.Take(w.ctx(), sluice.TakeRequest{Worker: "w1", TakeNo: int64(round + 2), Tags: []string{"bash"}, Places: 1, Wait: time.Second})
				if err != nil {
					t.Error(err)
				}
			})
			if round%2 == 0 {
				synctest.Wait() // it sleeps already
			}
			var id string
			all.Go(func() { id = w.push("f/b/one") })
			all.Go(func() { w.report("w1", holder...) })
			all.Wait()
			if len(got) != 1 || got[0].JobID != id {
				t.Fatalf("round %d: within a second the worker got %v, not %s", round, jobsOf(got), id)
			}
			holder = got
		}
	})
}

// blindStore does not find one version of a script.
type blindStore struct {
	store.Store
	hash string
}

func (s blindStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error { return fn(blindTx{Tx: tx, hash: s.hash}) })
}

type blindTx struct {
	store.Tx
	hash string
}

func (tx blindTx) ScriptByHash(workspace, hash string) (*store.Script, error) {
	if hash == tx.hash {
		return nil, store.ErrNotFound
	}
	return tx.Tx.ScriptByHash(workspace, hash)
}

// B7: a poisoned job in front of 1,000 good ones under one key. It fails, with
// a reason, and takes no slot along; the others run in order.
func TestB7_PoisonedJobInFront(t *testing.T) {
	t.Parallel()
	good := sized(1000, 100)
	shared := []any{"concurrent_limit", 3, "concurrency_key", "shared"}
	behind := func(w *world) []string {
		w.script("f/b/good", shared...)
		return w.pushN("f/b/good", good)
	}
	check := func(w *world, poisoned string, ids, order []string, name string, executions int) {
		w.t.Helper()
		if !slices.Equal(order, ids) {
			w.t.Fatalf("the %d good ones ran as %d others, or in another order", len(ids), len(order))
		}
		w.completed(sluice.OutcomeFailure, poisoned)
		if got := errorName(w.t, w.job(poisoned).Result); got != name {
			w.t.Fatalf("the poisoned one failed with %s, want %s", got, name)
		}
		w.holdersAre("in the end", "shared")
		if g := w.row("shared"); g.Waiting != 0 || g.Taken != int64(executions) {
			w.t.Fatalf("%d wait, %d were taken, want %d", g.Waiting, g.Taken, executions)
		}
	}
	t.Run("its script is gone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		hash := w.script("f/b/gone", shared...)
		poisoned := w.push("f/b/gone")
		ids := behind(w)
		w.on(blindStore{Store: w.store, hash: hash})
		check(w, poisoned, ids, w.drain("w1", 10), "ScriptNotFound", good)
	})
	t.Run("no worker knows its language", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		poison := engine.NewJob{Workspace: "main", Tag: "bash", Preview: &engine.Preview{
			Content: "DISPLAY 'ok'.", Language: "cobol", Path: "f/b/cobol",
			Limits: limit.Fields{N: json.RawMessage("3"), Key: json.RawMessage(`"shared"`)},
		}}
		poisoned, err := w.Submit(w.ctx(), []engine.NewJob{poison})
		w.must(err)
		ids := behind(w)
		got := w.take("w1", 1)
		if len(got) != 1 || got[0].Language != "cobol" {
			t.Fatalf("took %+v", got)
		}
		w.must(errors.Join(w.Report(w.ctx(), []sluice.Report{{
			Execution: got[0].Execution, Worker: "w1", Result: json.RawMessage(`{"error":{"name":"UnknownLanguage"}}`),
		}})...))
		check(w, poisoned[0], ids, w.drain("w1", 10), "UnknownLanguage", good+1)
	})
	t.Run("it waited too long", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.script("f/b/good", shared...)
		poisoned := w.push("f/b/good", func(n *engine.NewJob) { n.MaxWait = time.Second })
		ids := behind(w)
		w.clock.advance(time.Second)
		check(w, poisoned, ids, w.drain("w1", 10), "WaitedTooLong", good)
	})
	t.Run("its arguments give no key", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.script("f/b/tenant", "concurrent_limit", 3, "concurrency_key", "$args[k]")
		news := make([]engine.NewJob, good)
		for i := range news {
			news[i] = engine.NewJob{Workspace: "main", Path: "f/b/tenant", Args: json.RawMessage(`{"k":"shared"}`)}
		}
		news[0].Args = json.RawMessage(`["no object"]`)
		_, err := w.Submit(w.ctx(), news)
		wantCode(t, "one bad among good ones", err, sluice.CodeInvalid, "jobs[0].args")
		if n, err := w.CountJobs(w.ctx(), store.JobFilter{}); err != nil || n != 0 {
			t.Fatalf("%d jobs were stored (%v)", n, err)
		}
		ids, err := w.Submit(w.ctx(), news[1:])
		w.must(err)
		if order := w.drain("w1", 10); !slices.Equal(order, ids) {
			t.Fatalf("%d of %d ran, or in another order", len(order), len(ids))
		}
	})
}

// B8: the limit of a group is lowered below what runs, raised, removed, set
// again and saved anew while 100 jobs wait. Nobody who runs is stopped; what
// holds is what was set last; the order stays; nothing is forgotten.
func TestB8_LimitChangedWhile100Wait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const k = "main/script/f/b/api"
	w.script("f/b/api", "concurrent_limit", 5)
	ids := w.pushN("f/b/api", 105)
	started := 0
	var running []sluice.Assignment
	// step ends `ends` of those that run and wants `starts` to start, in order.
	step := func(what string, ends, starts int) {
		t.Helper()
		w.reportAll("w1", running[:ends])
		running = running[ends:]
		running = append(running, w.mustTake(what, ids[started:started+starts]...)...)
		started += starts
		w.holdersAre(what, k, running...)
	}
	save := func(n any) {
		t.Helper()
		body, err := json.Marshal(map[string]any{"path": "f/b/api", "content": "echo ok", "language": "bash", "concurrent_limit": n})
		w.must(err)
		_, err = w.SaveScript(w.ctx(), "main", engine.NewScript{Body: body, ApplyToWaiting: true})
		w.must(err)
	}
	step("N = 5", 0, 5)
	w.override(k, 2, nil, "")
	step("lowered to 2 with 5 running", 0, 0)
	step("3 of them ended", 3, 0)
	step("one more ended", 1, 1)
	w.override(k, 8, nil, "")
	step("raised to 8", 0, 6)
	_, err := w.ClearOverride(w.ctx(), k, "admin", "")
	w.must(err)
	step("removed with 8 running: N = 5 again", 0, 0)
	step("3 of 8 ended", 3, 0)
	step("one more ended", 1, 1)
	w.override(k, 1, 3600, "end")
	step("1 per hour with 5 running", 0, 0)
	step("all ended", 5, 0)
	w.clock.advance(time.Hour - time.Microsecond)
	step("a microsecond before the hour", 0, 0)
	w.clock.advance(time.Microsecond)
	step("after the hour", 0, 1)
	_, err = w.ClearOverride(w.ctx(), k, "admin", "")
	w.must(err)
	step("removed once more", 0, 4)
	save(7)
	step("saved with 7, for those that wait", 0, 2)
	save(3)
	step("saved with 3, for those that wait", 4, 0)
	step("one more ended", 1, 1)
	save(nil)
	step("saved without a limit: those that wait keep theirs", 0, 0)
	free := w.pushN("f/b/api", 3)
	if got := w.take("w2", 10); !slices.Equal(jobsOf(got), free) {
		t.Fatalf("pushed without a limit: took %v, want %v", jobsOf(got), free)
	}
	w.holdersAre("jobs without a limit are in no group", k, running...)
	w.reportAll("w1", running)
	if rest := w.drain("w1", 50); !slices.Equal(rest, ids[started:]) {
		t.Fatalf("%d of %d that waited ran, or in another order", len(rest), len(ids)-started)
	}
	w.auditRule(k)
	var kinds []string
	w.read(func(r store.Reader) error {
		events, err := r.GroupEvents(w.row(k).ID, 0, 100)
		for _, e := range events {
			kinds = append(kinds, e.Kind)
		}
		return err
	})
	if want := []string{"override", "override", "clear", "override", "clear"}; !slices.Equal(kinds, want) {
		t.Fatalf("the log of the group says %v, want %v", kinds, want)
	}
}
