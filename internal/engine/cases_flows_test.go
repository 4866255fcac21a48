package engine_test

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// The rows of limits-cases.md that speak of flows. Those of the other jobs are
// in cases_*_test.go.

// heldIs checks how many slots of a key are held, by rows and by the group's
// own numbers.
func (w *world) heldIs(what, key string, want int64) {
	w.t.Helper()
	if g := w.group(key); g.Running != want || int64(len(w.holders(key))) != want {
		w.t.Fatalf("%s: %d slots of %q are held by the numbers, %d by the rows; want %d", what, g.Running, key, len(w.holders(key)), want)
	}
}

// A8: a flow is under its limit however it was called: by its path, by its
// version, as a step of another flow, as a preview with its path, run again,
// restarted from a step.
func TestA8_EveryWayToRunAFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.flow("f/a/api", []obj{raw("a"), raw("b")}, "concurrent_limit", 1)
	w.flow("f/a/outer", []obj{calls("s", "flow", "f/a/api")})
	const key = "main/flow/f/a/api"
	value := json.RawMessage(`{"modules":[{"id":"a","value":{"type":"rawscript","language":"bash","content":"x","input_transforms":{}}}],"concurrent_limit":1}`)
	first := w.runFlow("f/a/api")
	w.runFlow("f/a/outer")
	w.push("", func(j *engine.NewJob) { j.FlowVersion = n })
	w.push("", func(j *engine.NewJob) { j.FlowPreview = &engine.FlowPreview{Value: value, Path: "f/a/api"} })
	w.runFlow("f/a/api", in(time.Second))
	w.clock.advance(time.Second)
	done := 0
	for {
		w.moveFlows()
		got := w.take("w1", 10)
		if len(got) == 0 {
			break
		}
		if len(got) > 1 {
			t.Fatalf("%d steps of flows run that are one at a time", len(got))
		}
		w.heldIs("while a step runs", key, 1)
		w.ends("w1", got[0], true, `"ok"`)
		done++
	}
	if done != 9 {
		t.Errorf("%d steps ran", done)
	}
	w.heldIs("in the end", key, 0)
	again, err := w.RestartFlow(w.ctx(), "main", first, engine.Restart{Step: "b", By: "ann"})
	w.must(err)
	held := w.runFlow("f/a/api")
	w.runFlow("f/a/api")
	got := w.take("w1", 10)
	if len(got) != 1 || got[0].ParentJob != again || got[0].FlowStep != "b" {
		t.Fatalf("after a restart: %v", jobsOf(got))
	}
	if j := w.job(held); j.Wait == nil || j.Wait.Reason != sluice.ReasonLimit || j.Wait.Slots[0].JobID != again {
		t.Errorf("wait of a flow behind it: %+v", j.Wait)
	}
	w.auditRule(key)
}

// A11: the next attempt of a step keeps the key of the first, whatever has
// become of its arguments.
func TestA11_ARetryOfAStepKeepsItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	step := inputs(raw("a", "concurrent_limit", 1, "custom_concurrency_key", "k-$args[x]"), "x", "=flow_input.big")
	w.flow("f/a/retry", []obj{with(step, "retry", obj{"constant": obj{"attempts": 2, "seconds": 0}})})
	id := w.runFlow("f/a/retry", args(`{"big": 12345678901234567890, "s": "a\u0062"}`))
	for range 3 {
		got := w.take("w1", 1)
		if s := w.step(id, "a"); s.Key != "k-12345678901234567890" || s.Limit == nil || s.Limit.N != 1 {
			t.Fatalf("the key is %q, the limit %v", s.Key, s.Limit)
		}
		w.ends("w1", got[0], false, failure)
		w.clock.advance(time.Second)
	}
	w.result(id, sluice.OutcomeFailure, "Oops")
	w.auditRule("k-12345678901234567890")

	// nor if the script that the step calls is saved anew in between
	w.script("f/a/called", "concurrent_limit", 1, "concurrency_key", "old")
	w.flow("f/a/calls", []obj{with(calls("a", "script", "f/a/called"), "retry", obj{"constant": obj{"attempts": 1, "seconds": 0}})})
	id = w.runFlow("f/a/calls")
	first := w.take("w1", 1)
	w.script("f/a/called", "concurrent_limit", 5, "concurrency_key", "new")
	w.ends("w1", first[0], false, failure)
	if s := w.step(id, "a"); s.Key != "old" || s.Limit.N != 1 || s.ID == first[0].JobID || s.Hash != first[0].Hash {
		t.Errorf("the second attempt: key %q, limit %v, version %s", s.Key, s.Limit, s.Hash)
	}
}

// An execution of a flow is the engine's: nobody else confirms, reports or hands
// it back, whatever name they give.
func TestFlow_IsNoWorkersToReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.flow("f/x/flow", []obj{raw("a")}, "concurrent_limit", 1)
	id := w.runFlow("f/x/flow")
	w.take("w1", 1)
	x := w.job(id).Execution
	wantCode(t, "a report", w.tryReport("", x.ID), sluice.CodeConflict, "")
	wantCode(t, "a confirmation", w.Confirm(w.ctx(), "", []int64{x.ID}), sluice.CodeConflict, "")
	w.must(w.HandBack(w.ctx(), "", []int64{x.ID}))
	if _, err := w.TakeNow(w.ctx(), sluice.TakeRequest{Worker: "w1", TakeNo: 9, Tags: []string{sluice.LineFlow}, Places: 1}); sluice.CodeOf(err) != sluice.CodeInvalid {
		t.Errorf("a worker that asks for flows: %v", err)
	}
	w.heldIs("after all that", "main/flow/f/x/flow", 1)
}

// A25: a preview of a flow without a path has no key of its own; one whose steps
// name keys is under those.
func TestA25_PreviewsOfFlows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/api", "concurrent_limit", 1, "concurrency_key", "shared")
	preview := func(path string) string {
		raw, err := json.Marshal(obj{"modules": []obj{raw("a", "concurrent_limit", 1), raw("b", "concurrent_limit", 1, "custom_concurrency_key", "shared")}, "concurrent_limit": 1})
		w.must(err)
		return w.push("", func(j *engine.NewJob) { j.FlowPreview = &engine.FlowPreview{Value: raw, Path: path} })
	}
	one, two := preview(""), preview("")
	direct := w.push("f/a/api")
	got := w.take("w1", 10)
	if len(got) != 3 {
		t.Fatalf("%d jobs run: both previews and the script have room", len(got))
	}
	if j := w.job(one); j.HasKey || w.step(one, "a").HasKey {
		t.Error("a preview without a path is in a group")
	}
	for _, a := range got {
		if a.JobID != direct {
			w.ends("w1", a, true, "1")
		}
	}
	if got := w.take("w1", 10); len(got) != 0 {
		t.Fatalf("%v share a key that is held", jobsOf(got))
	}
	if j := w.step(two, "b"); j.Key != "shared" {
		t.Errorf("key %q", j.Key)
	}
	with := preview("f/a/page")
	w.take("w1", 10)
	if j := w.job(with); j.Key != "main/flow/f/a/page" || w.step(with, "a").Key != "main/flow/f/a/page#a" {
		t.Errorf("keys %q and %q", j.Key, w.step(with, "a").Key)
	}
	w.auditRule("shared")
}

// B4: a step that needs a key which its own flows hold is refused at once, by
// name; a child of a script is not, nor where there is room for both.
func TestB4_AStepThatNeedsWhatItsFlowHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	held := func(n int) []any { return []any{"concurrent_limit", n, "concurrency_key", "k"} }
	step := func(n int, more ...any) obj {
		return raw("a", append([]any{"concurrent_limit", n, "custom_concurrency_key", "k"}, more...)...)
	}
	w.flow("f/b/own", []obj{step(1)}, held(1)...)
	w.flow("f/b/room", []obj{step(2)}, held(2)...)
	w.flow("f/b/rate", []obj{step(1, "concurrency_time_window_s", 1, "concurrency_window_from", "start")}, held(1)...)
	w.flow("f/b/looped", []obj{loop("l", 2, true, raw("x"), step(1))}, held(1)...)
	w.flow("f/b/middle", []obj{calls("s", "flow", "f/b/own2")}, held(2)...)
	w.flow("f/b/own2", []obj{step(2)}, held(2)...)

	id := w.runFlow("f/b/own")
	w.work(nil)
	j := w.result(id, sluice.OutcomeFailure, "SelfHeldKey")
	for _, word := range []string{`f/b/own`, id, `\"k\"`, `"key":"k"`} {
		w.result(id, sluice.OutcomeFailure, word)
	}
	if s := w.step(id, "a"); s.Attempt != 0 || s.HasKey {
		t.Errorf("the step that was refused: %+v", s)
	}
	w.heldIs("after a refusal", "k", 0)
	_ = j

	room := w.runFlow("f/b/room")
	w.work(nil)
	w.result(room, sluice.OutcomeSuccess, "a")
	looped := w.runFlow("f/b/looped")
	w.work(nil)
	w.result(looped, sluice.OutcomeFailure, "SelfHeldKey")
	middle := w.runFlow("f/b/middle") // holds one, the flow within another, and its step needs a third
	w.work(nil)
	w.result(middle, sluice.OutcomeFailure, "SelfHeldKey")
	w.heldIs("after all", "k", 0)

	rate := w.runFlow("f/b/rate") // launches are counted, and that of the flow is soon old enough
	w.clock.advance(2 * time.Second)
	w.take("w1", 1)
	w.clock.advance(2 * time.Second)
	w.work(nil)
	w.result(rate, sluice.OutcomeSuccess, "a")

	w.override("k", 2, nil, "") // then there is room for the flow and its step
	again := w.runFlow("f/b/own")
	w.work(nil)
	w.result(again, sluice.OutcomeSuccess, "a")
	w.auditRule("k")
}

// B4: a script of a flow that pushes a job of a key which the flow holds may not
// be waiting for it: that job waits as any other.
func TestB4_AChildOfAScriptIsNotRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/b/child", "concurrent_limit", 1, "concurrency_key", "k")
	w.flow("f/b/own", []obj{raw("a")}, "concurrent_limit", 1, "concurrency_key", "k")
	id := w.runFlow("f/b/own")
	a := w.take("w1", 1)[0]
	child := w.push("f/b/child", func(n *engine.NewJob) { n.ParentJob, n.RootJob = a.JobID, id })
	if got := w.take("w1", 1); len(got) != 0 {
		t.Fatal("it started while the flow holds the key")
	}
	w.ends("w1", a, true, "1")
	w.result(id, sluice.OutcomeSuccess, "1")
	if got := w.take("w1", 1); len(got) != 1 || got[0].JobID != child {
		t.Fatalf("after the flow's end: %v", jobsOf(got))
	}
}

// B6: a step that is cancelled fails its flow, which goes on to its end and
// frees its slot; one that is cancelled by force leaves its own slot to its
// process.
func TestB6_AStepIsCancelledWhileItsFlowWaits(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		w := newWorld(t)
		w.flow("f/b/flow", []obj{raw("a", "concurrent_limit", 1), raw("b")}, "concurrent_limit", 1)
		id, next := w.runFlow("f/b/flow"), w.runFlow("f/b/flow")
		a := w.take("w1", 1)
		if !running {
			w.must(w.HandBack(w.ctx(), "w1", []int64{a[0].Execution}))
		} else {
			w.confirm("w1", a...)
		}
		_, err := w.Cancel(w.ctx(), "main", []string{w.step(id, "a").ID}, "eve", "", running)
		w.must(err)
		w.result(id, sluice.OutcomeFailure, "eve")
		got := w.take("w1", 10)
		if running { // the next flow started, and its step waits for the process of the first
			if len(got) != 0 || w.job(next).State != sluice.StateRunning {
				t.Fatalf("%v, the next flow is %s", jobsOf(got), w.job(next).State)
			}
			w.ends("w1", a[0], false, failure)
			got = w.take("w1", 10)
		}
		if len(got) != 1 || got[0].ParentJob != next {
			t.Fatalf("then %v", jobsOf(got))
		}
		w.auditRule("main/flow/f/b/flow")
		w.auditRule("main/flow/f/b/flow#a")
	}
}

// B15: retries with back-off, lost attempts and restarts in one group: what is
// held equals the rows at every step.
func TestB15_RetriesLossesAndRestartsInOneGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const key = "one"
	retry := obj{"constant": obj{"attempts": 1, "seconds": 5}}
	w.flow("f/b/flow", []obj{with(raw("a", "concurrent_limit", 2, "custom_concurrency_key", key), "retry", retry), raw("b")},
		"concurrent_limit", 2, "concurrency_key", "flows")
	ids := []string{w.runFlow("f/b/flow"), w.runFlow("f/b/flow"), w.runFlow("f/b/flow")}
	as := w.take("w1", 10)
	w.heldIs("two steps run", key, 2)
	w.heldIs("two flows run", "flows", 2)
	w.confirm("w1", as...)
	w.ends("w1", as[0], false, failure)
	w.heldIs("one backs off", key, 1)
	w.heldIs("its flow goes on", "flows", 2)
	w.beat("w1", w.takes) // which holds nothing: the other is lost
	w.heldIs("one is lost", key, 0)
	again := w.take("w2", 10)
	if len(again) != 1 || again[0].JobID != as[1].JobID || again[0].Attempt != 2 {
		t.Fatalf("after the loss: %v", again)
	}
	w.clock.advance(5 * time.Second)
	second := w.take("w2", 10)
	if len(second) != 1 || second[0].ParentJob != as[0].ParentJob || second[0].Attempt != 1 {
		t.Fatalf("after the back-off: %v", second)
	}
	w.heldIs("both run again", key, 2)
	w.ends("w2", second[0], false, failure)
	w.heldIs("its flow has failed", "flows", 1)
	failed := second[0].ParentJob
	w.result(failed, sluice.OutcomeFailure, "Oops")
	restarted, err := w.RestartFlow(w.ctx(), "main", failed, engine.Restart{Step: "a"})
	w.must(err)
	for i := 0; i < 20; i++ {
		w.moveFlows()
		w.clock.advance(time.Second)
		for _, a := range append(again, w.take("w2", 1)...) {
			w.ends("w2", a, true, "1")
			again = nil
		}
		if held := w.group("flows").Running; held > 2 {
			t.Fatalf("%d flows run", held)
		}
	}
	for _, id := range append(slices.DeleteFunc(ids, func(id string) bool { return id == failed }), restarted) {
		w.result(id, sluice.OutcomeSuccess, "1")
	}
	w.heldIs("in the end", key, 0)
	w.heldIs("in the end", "flows", 0)
	w.auditRule(key)
	w.auditRule("flows")
}

// D5: a parallel loop of 1,000 steps, each limited to 5: five run at any time,
// all run, and a step's end costs the same whatever the number of the others.
func TestD5_AParallelLoopOfLimitedSteps(t *testing.T) {
	t.Parallel()
	cost := map[int]float64{}
	for _, n := range []int{100, sized(1000, 300)} {
		w := newWorld(t)
		w.flow("f/d/flow", []obj{loop("l", n, true, raw("a", "concurrent_limit", 5))})
		id := w.runFlow("f/d/flow")
		ran := 0
		statements, _ := w.cost(func() {
			for {
				got := w.take("w1", 50)
				if len(got) == 0 {
					return
				}
				if len(got) > 5 {
					t.Fatalf("%d steps at once", len(got))
				}
				w.reportAll("w1", got)
				ran += len(got)
			}
		})
		if ran != n {
			t.Fatalf("%d of %d steps ran", ran, n)
		}
		w.result(id, sluice.OutcomeSuccess, `null`)
		w.auditRule("main/flow/f/d/flow#a")
		cost[n] = float64(statements) / float64(n)
	}
	if few, many := cost[100], cost[sized(1000, 300)]; many > 1.2*few {
		t.Errorf("a step of many costs %.1f statements, one of few %.1f", many, few)
	}
}

// The preprocessor of a flow makes its arguments, and so its key, before the
// flow is under its limit.
func TestFlow_PreprocessorMakesTheKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.flow("f/x/flow", []obj{inputs(raw("a"), "x", "=flow_input.t")}, "concurrent_limit", 1, "concurrency_key", "of-$args[t]",
		"preprocessor_module", with(raw("preprocessor"), "id", "preprocessor"))
	first := w.runFlow("f/x/flow", args(`{"t":"x"}`))
	id := w.runFlow("f/x/flow", event)
	got := w.take("w1", 10)
	if len(got) != 2 {
		t.Fatalf("%d jobs run", len(got))
	}
	slices.SortFunc(got, func(a, b sluice.Assignment) int {
		if a.FlowStep < b.FlowStep {
			return -1
		}
		return 1
	})
	if j := w.job(id); j.HasKey || j.Execution.InGroup || string(got[1].Args) != `{"event":{"kind":"webhook"}}` {
		t.Fatalf("while it is prepared: %+v, %s", j.Job, got[1].Args)
	}
	w.ends("w1", got[1], true, `{"t":"x"}`)
	j := w.job(id)
	if j.Key != "of-x" || j.State != sluice.StateQueued || j.Wait == nil || j.Wait.Reason != sluice.ReasonLimit || j.Wait.Slots[0].JobID != first {
		t.Fatalf("prepared: %+v, wait %+v", j.Job, j.Wait)
	}
	w.ends("w1", got[0], true, `1`)
	w.work(func(a sluice.Assignment) (bool, string) { return true, string(a.Args) })
	w.result(id, sluice.OutcomeSuccess, `{"x":"x"}`)
	bad := w.runFlow("f/x/flow", event)
	w.work(func(sluice.Assignment) (bool, string) { return true, `7` })
	w.result(bad, sluice.OutcomeFailure, "InvalidPreprocessorResult")
	broken := w.runFlow("f/x/flow", event)
	w.work(func(sluice.Assignment) (bool, string) { return false, failure })
	w.result(broken, sluice.OutcomeFailure, "Oops")
	w.auditRule("of-x")
}

// Steps are kept as long as their flow runs, and deleted with it.
func TestFlow_RetentionSparesStepsOfOpenFlows(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, engine.Options{Retention: time.Hour})
	w.flow("f/x/flow", []obj{raw("a"), inputs(raw("b"), "x", "=results.a")})
	id := w.runFlow("f/x/flow")
	w.ends("w1", w.take("w1", 1)[0], true, `"first"`)
	w.clock.advance(3 * time.Hour)
	w.clean()
	got := w.take("w1", 1)
	if len(got) != 1 || len(w.steps(id)) != 2 {
		t.Fatalf("%d steps are left", len(w.steps(id)))
	}
	w.ends("w1", got[0], true, string(got[0].Args))
	w.result(id, sluice.OutcomeSuccess, "first")
	w.clock.advance(3 * time.Hour)
	w.clean()
	n, err := w.CountJobs(w.ctx(), store.JobFilter{})
	w.must(err)
	if n != 0 {
		t.Errorf("%d jobs are left", n)
	}
}

// A step of a flow costs the commit of its end, in which the next begins; and a
// parallel loop of steps that do nothing costs at most twice as many statements
// as that many jobs.
func TestFlow_WhatAStepCosts(t *testing.T) {
	n := sized(1000, 200)
	bubble(t, func(t *testing.T, w *world) {
		w.script("f/x/loose")
		w.flow("f/x/loop", []obj{loop("l", n, true, raw("a"))})
		var modules []obj
		for i := range 20 {
			modules = append(modules, raw("s"+string(rune('a'+i))))
		}
		w.flow("f/x/line", modules)
		drain := func() {
			for {
				got := w.take("w1", 50)
				if len(got) == 0 {
					return
				}
				w.reportAll("w1", got)
			}
		}
		loose, _ := w.cost(func() { w.pushN("f/x/loose", n); drain() })
		looped, _ := w.cost(func() { w.runFlow("f/x/loop"); drain() })
		t.Logf("%d jobs: %d statements loose, %d as steps", n, loose, looped)
		most := 2 * loose
		if *driver == "postgres" {
			most = 4 * loose // statements that travel together
		}
		if looped > most {
			t.Errorf("%d jobs cost %d statements, as steps of a loop %d", n, loose, looped)
		}

		defer w.run()()
		id := w.runFlow("f/x/line")
		synctest.Wait()
		held := w.take("w1", 1)
		for range modules[1:] {
			synctest.Wait()
			before := w.store.Stats().Commits
			w.takes++
			got, err := w.settle(ask("w1", w.takes, held...))
			w.must(err)
			if len(got) != 1 || got[0].ParentJob != id {
				t.Fatalf("the end of a step gave %v", jobsOf(got))
			}
			synctest.Wait()
			if c := w.store.Stats().Commits - before; c != 1 {
				t.Errorf("a step took %d commits", c)
			}
			held = got
		}
		w.report("w1", held...)
		w.result(id, sluice.OutcomeSuccess, "ok")
	})
}
