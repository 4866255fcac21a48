package engine_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
	"sluice/internal/store/sqlite"
	"sluice/limit"
)

// A7: a running job that is cancelled keeps its slot until its processes are
// gone, and then exactly one takes its place; a waiting one that is cancelled
// lets nobody in.
func TestA7_KillARunningAndAWaitingJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/kill", "concurrent_limit", 2)
	ids := w.pushN("f/a/kill", 8)
	as := w.mustTake("the first two", ids[0], ids[1])
	cancel := func(id string) engine.CancelResult {
		t.Helper()
		r, err := w.Cancel(w.ctx(), "main", []string{id}, "admin", "enough", false)
		w.must(err)
		return r[0]
	}
	if r := cancel(ids[3]); !r.Ended || r.Ordered {
		t.Fatalf("cancelled while waiting: %+v", r)
	}
	w.mustTake("after a waiting one was cancelled")
	if r := cancel(ids[0]); r.Ended || !r.Ordered {
		t.Fatalf("cancelled while running: %+v", r)
	}
	w.mustTake("while the cancelled one still runs")
	if orders := w.beat("w1", w.takes, as...); len(orders) != 1 || orders[0].Execution != as[0].Execution || !orders[0].Kill {
		t.Fatalf("orders: %+v", orders)
	}
	w.report("w1", as[0])
	w.mustTake("after the cancelled one is gone", ids[2])
	if j := w.job(ids[0]); j.Outcome != sluice.OutcomeCanceled || j.CanceledBy != "admin" {
		t.Fatalf("the cancelled job: %s by %q", j.Outcome, j.CanceledBy)
	}
	if r := cancel(ids[0]); !r.Already {
		t.Fatalf("cancelled again: %+v", r)
	}
	w.mustTake("after it was cancelled again")
	w.report("w1", as[1])
	w.mustTake("after the other's end", ids[4])
	if g := w.group("main/script/f/a/kill"); g.Running != 2 || g.Waiting != 3 {
		t.Fatalf("%d held, %d waiting", g.Running, g.Waiting)
	}
}

// A8: by whatever way a job comes (by path, by version, run again, many at
// once, later, from a job, as a preview at the path or with the key, with
// another tag), it counts; only code that was run without a path and without
// limit fields has no group.
func TestA8_NoWayRoundTheLimit(t *testing.T) {
	t.Parallel()
	const key = "main/script/f/a/ways"
	w := newWorld(t)
	hash := w.script("f/a/ways", "concurrent_limit", 1, "concurrency_time_window_s", 5)
	by := func(change func(*engine.NewJob)) string {
		t.Helper()
		n := engine.NewJob{Workspace: "main"}
		change(&n)
		ids, err := w.Submit(w.ctx(), []engine.NewJob{n})
		w.must(err)
		return ids[0]
	}
	fields := func(key string) limit.Fields {
		f := limit.Fields{N: json.RawMessage("1"), Window: json.RawMessage("5")}
		if key != "" {
			f.Key = json.RawMessage(fmt.Sprintf("%q", key))
		}
		return f
	}
	preview := func(path string, f limit.Fields) func(*engine.NewJob) {
		return func(n *engine.NewJob) {
			n.Preview = &engine.Preview{Content: "echo", Language: "bash", Path: path, Limits: f}
		}
	}
	manual := w.push("f/a/ways", args(`{"x": 1}`))
	again := by(func(n *engine.NewJob) { n.Hash, n.Args = hash, w.job(manual).Args })
	want := []string{
		manual,
		again,
		w.push("f/a/ways", func(n *engine.NewJob) { n.ParentJob, n.RootJob = manual, manual }),
		w.push("f/a/ways", func(n *engine.NewJob) { n.ID = "00000000-0000-4000-8000-00000000000a" }),
		w.push("f/a/ways", tag("other")),
		by(preview("f/a/ways", fields(""))),
		by(preview("", fields("$workspace/script/f/a/ways"))),
		w.push("f/a/ways", in(10*time.Second)),
	}
	want = append(want, w.pushN("f/a/ways", 3)...)
	first := w.push("f/a/ways", priority(5))
	free := []string{by(preview("", limit.Fields{})), by(preview("f/a/ways", limit.Fields{}))}

	var got, loose []string
	for range 200 {
		var as []sluice.Assignment
		for _, a := range w.take("w1", 50, "bash", "other") {
			if slices.Contains(free, a.JobID) {
				loose = append(loose, a.JobID)
				w.report("w1", a)
				continue
			}
			as = append(as, a)
		}
		if len(as) > 1 {
			t.Fatalf("%d started at once: %v", len(as), jobsOf(as))
		}
		got = append(got, jobsOf(as)...)
		w.clock.advance(500 * time.Millisecond)
		w.report("w1", as...)
	}
	if len(loose) != 2 || w.job(free[0]).HasKey || w.job(free[1]).HasKey {
		t.Fatalf("previews without limit fields: %v started", loose)
	}
	want = append(want, first)
	slices.Sort(want)
	if got[0] != first || len(got) != len(want) {
		t.Fatalf("started %v, want %v", got, want)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("started %v, want %v", got, want)
	}
	if n := w.auditRule(key); n != len(want) {
		t.Fatalf("%d of %d starts counted", n, len(want))
	}
}

// A9: a heartbeat that arrives after the reaper has looked, at whatever point,
// saves its jobs or is told that they are gone, never neither; two reapers at
// once declare an attempt lost once.
func TestA9_ReaperWithAStaleRead(t *testing.T) {
	t.Parallel()
	const key = "main/script/f/a/stale"
	w := newWorld(t)
	w.script("f/a/stale", "concurrent_limit", 1, "max_lost_attempts", 1000)
	second, s := w.nudged()
	id := w.push("f/a/stale")
	lost := 0
	silent := func() []sluice.Assignment {
		t.Helper()
		w.beat("w1", 0)
		as := w.mustTake("the only job", id)
		w.confirm("w1", as...)
		w.beat("w1", w.takes, as...)
		w.clock.advance(engine.DefaultLostAfter)
		return as
	}
	// check compares what the worker was told with what became of the attempt.
	check := func(what string, told []sluice.Order) {
		t.Helper()
		gone := len(told) == 1 && told[0].Forget
		if gone {
			lost++
		}
		if j := w.job(id); j.Lost != lost || gone != (j.State == sluice.StateQueued) {
			t.Fatalf("%s: told %+v, but the job is %s and was lost %d times, want %d", what, told, j.State, j.Lost, lost)
		}
		if !gone { // end it by what is sure to: the worker says that it has nothing
			w.beat("w1", w.takes)
			lost++
		}
		if g := w.group(key); g.Running != 0 || g.Waiting != 1 {
			t.Fatalf("%s: %d held, %d waiting", what, g.Running, g.Waiting)
		}
	}
	for k := 1; k <= 3; k++ { // before the k-th update of the reaper, if it makes so many
		as, calls := silent(), 0
		var told []sluice.Order
		fired := false
		s.before = func() {
			if calls++; calls == k {
				told, fired = w.beat("w1", w.takes, as...), true
			}
		}
		w.reap(second)
		s.before = nil
		if !fired {
			told = w.beat("w1", w.takes, as...)
		}
		check(fmt.Sprintf("heartbeat before update %d", k), told)
	}
	as := silent()
	s.before = func() { w.reap(w.Engine) }
	w.reap(second)
	s.before = nil
	check("two reapers, one after the other's look", w.beat("w1", w.takes, as...))
	for range 30 {
		as := silent()
		var told []sluice.Order
		atOnce(3, func(i int) {
			var err error
			switch i {
			case 0:
				told, err = w.Heartbeat(w.ctx(), sluice.Heartbeat{Worker: "w1", Tags: []string{"bash"}, Places: 9, SettledTake: w.takes, Holds: []int64{as[0].Execution}})
			case 1:
				_, err = w.Reap(w.ctx())
			case 2:
				_, err = second.Reap(w.ctx())
			}
			if err != nil {
				t.Error(err)
			}
		})
		check("all at once", told)
	}
	w.auditRule(key)
}

// A10: in its first seconds a server knows what is held and counted, gives
// nobody up whom it could not have heard, and a second one that starts while
// it admits lets nobody in beside it.
func TestA10_FirstSecondsAfterStart(t *testing.T) {
	t.Parallel()
	const key = "main/script/f/a/boot"
	w := newWorld(t)
	w.script("f/a/boot", "concurrent_limit", 1, "concurrency_time_window_s", 600)
	ids := w.pushN("f/a/boot", 2)
	w.beat("silent", 0)
	a := w.take("silent", 5)
	w.confirm("silent", a...)
	w.beat("silent", w.takes, a...)
	w.close()
	w.clock.advance(10 * engine.DefaultLostAfter) // nobody could be heard meanwhile
	w.open()
	w.mustTake("at once after the start")
	w.reap(w.Engine)
	w.clock.advance(engine.DefaultLostAfter - time.Microsecond)
	w.reap(w.Engine)
	if j := w.job(ids[0]); j.Lost != 0 || j.State != sluice.StateRunning {
		t.Fatalf("given up before it could be heard: %s, lost %d times", j.State, j.Lost)
	}
	w.clock.advance(time.Microsecond)
	w.reap(w.Engine)
	w.mustTake("within the window of the lost attempt")
	w.restart()
	w.mustTake("after another start")
	w.clock.advance(600*time.Second - time.Microsecond)
	w.mustTake("just before the window ends")
	w.clock.advance(time.Microsecond)
	if b := w.mustTake("the lost one, in its old rank", ids[0]); b[0].Attempt != 2 {
		t.Fatalf("attempt %d", b[0].Attempt)
	}
	w.auditRule(key)

	second := w.second()
	if second == w.store { // a file lets no other server in
		_, err := sqlite.Open(w.ctx(), filepath.Join(w.dir, "test.db"), sqlite.Options{})
		wantCode(t, "a second server on the same file", err, sluice.CodeUnavailable, "")
	}

	w.script("f/a/boot2", "concurrent_limit", 3)
	w.pushN("f/a/boot2", 60, tag("bash"))
	var running, most, takes atomic.Int64
	takes.Store(1000)
	serve := func(e *engine.Engine, worker string) {
		for range 15 {
			a := takeOne(t, e, worker, takes.Add(1))
			if a == nil {
				continue
			}
			for n := running.Add(1); n > most.Load(); {
				most.Store(n)
			}
			running.Add(-1)
			if err := e.Report(w.ctx(), []sluice.Report{{Execution: a.Execution, Worker: worker, Success: true}})[0]; err != nil {
				t.Error(err)
			}
		}
	}
	atOnce(4, func(i int) {
		if i < 2 {
			serve(w.Engine, fmt.Sprintf("old-%d", i))
			return
		}
		e, err := engine.New(w.ctx(), second, engine.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		defer e.Close()
		if _, err := e.Reap(w.ctx()); err != nil {
			t.Error(err)
		}
		serve(e, fmt.Sprintf("new-%d", i))
	})
	if most.Load() > 3 {
		t.Fatalf("%d ran at once", most.Load())
	}
	w.auditRule("main/script/f/a/boot2")
}

// A11: an attempt after a lost worker counts under the key of the first one,
// although the script has another template by now and its arguments, written
// out anew, would give another text. A run again from the stored arguments
// gives the same key: they are the sender's own bytes.
func TestA11_KeyOfTheFirstAttempt(t *testing.T) {
	t.Parallel()
	const key = `k-1.0e2-{"b":1,"a":[1,2.50]}-<ü&>`
	w := newWorld(t)
	w.script("f/a/key", "concurrent_limit", 1, "concurrency_key", "k-$args[n]-$args[o]-$args[s]", "max_lost_attempts", 10)
	send := args(`{"s": "<\u00fc&>", "n": 1.0e2, "o": { "b": 1, "a": [1, 2.50] }}`)
	id := w.push("f/a/key", send)
	w.script("f/a/key", "concurrent_limit", 1, "concurrency_key", "changed-$args[n]")
	for attempt := 1; attempt <= 4; attempt++ {
		w.beat("w1", 0)
		a := w.mustTake("the job", id)
		w.confirm("w1", a...)
		if j := w.job(id); j.Key != key || a[0].Attempt != attempt {
			t.Fatalf("attempt %d: key %q", a[0].Attempt, j.Key)
		}
		if g := w.group(key); g.Running != 1 || g.Waiting != 0 {
			t.Fatalf("attempt %d: %d held, %d waiting under the first key", attempt, g.Running, g.Waiting)
		}
		w.restart()
		w.beat("w1", w.takes)
		if g := w.group(key); g.Running != 0 || g.Waiting != 1 {
			t.Fatalf("after attempt %d: %d held, %d waiting under the first key", attempt, g.Running, g.Waiting)
		}
	}
	if n := w.auditRule(key); n != 4 {
		t.Fatalf("%d executions under the first key, want 4", n)
	}
	w.script("f/a/key", "concurrent_limit", 1, "concurrency_key", "k-$args[n]-$args[o]-$args[s]")
	if again := w.push("f/a/key", func(n *engine.NewJob) { n.Args = w.job(id).Args }); w.job(again).Key != key {
		t.Fatalf("run again: key %q, want %q", w.job(again).Key, key)
	}
	groups, err := w.Groups(w.ctx(), store.GroupFilter{})
	w.must(err)
	if len(groups) != 1 {
		t.Fatalf("%d groups, want the one", len(groups))
	}
}

// oddKeys are legal keys that differ, though careless code takes some for
// others: by case, as patterns, cut at a NUL, normalised, trimmed or shortened.
func oddKeys() []string {
	long := strings.Repeat("k", 10<<10)
	return []string{
		"", " ", "*", "%", "_", "a", "A", "a ", "a*", "a%", "a_", "ab", "aB", "a/b", "a//b", "../a", `"`, `'`, `''`, "`", `\`, "\\n", "\n", "\r\n", "\t",
		"\x00", "a\x00", "a\x00b", "a\x00B", "x'00'", "NULL", "null", "0", "00", "ß", "SS", "ss", "é", "e\u0301", "שלום", "\u202eabc",
		"🚦", "🚦🚦", "\U0010ffff", "$args[k]", "$workspace", "; DROP TABLE grp; --", "?", "#", "a#b", "a,b", "[a-z]", "main/script/f/a/odd",
		long + "1", long + "2", strings.Repeat("é", 5000), strings.Repeat("é", 5001),
	}
}

// A12: odd keys are keys like others, end to end: each is a group of its own
// for admitting, looking up, listing, searching, pausing and cancelling.
func TestA12_OddKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/odd", "concurrent_limit", 1, "concurrency_key", "$args[k]")
	keys := oddKeys()
	jobs := map[string][]string{} // by the key that was asked for
	for _, k := range keys {
		raw, err := json.Marshal(map[string]string{"k": k})
		w.must(err)
		jobs[k] = w.pushN("f/a/odd", 3, args("%s", raw))
	}
	w.restart()
	got := w.take("w1", 1000)
	if len(got) != len(keys) {
		t.Fatalf("%d started under %d keys", len(got), len(keys))
	}
	full := map[string]bool{}
	for _, k := range keys {
		j := w.job(jobs[k][0])
		if j.State != sluice.StateRunning {
			t.Fatalf("the first job under %.40q is %s", k, j.State)
		}
		if len(j.Key) > limit.MaxKey || len(k) <= limit.MaxKey && j.Key != k || full[j.Key] {
			t.Fatalf("the key %.40q became %q", k, j.Key)
		}
		full[j.Key] = true
		if g := w.group(j.Key); g.Key != j.Key || g.Running != 1 || g.Waiting != 2 {
			t.Fatalf("group of %.40q: %d held, %d waiting", k, g.Running, g.Waiting)
		}
		if wait := w.job(jobs[k][1]).Wait; wait.Reason != sluice.ReasonLimit || *wait.Key != j.Key || wait.Slots[0].JobID != j.ID {
			t.Fatalf("wait under %.40q: %+v", k, wait)
		}
	}
	oddLists(w, full)

	// What is done to one touches no other.
	for _, k := range keys {
		key := w.job(jobs[k][0]).Key
		_, err := w.Pause(w.ctx(), key, engine.PauseChange{By: "admin"})
		w.must(err)
		n, err := w.CancelKey(w.ctx(), key, "admin", "", false, false)
		w.must(err)
		if n != 2 {
			t.Fatalf("%d jobs cancelled under %.40q, want 2", n, k)
		}
	}
	w.report("w1", got...)
	w.mustTake("after all were cancelled")
}

// oddLists checks lists and searches of groups.
func oddLists(w *world, keys map[string]bool) {
	w.t.Helper()
	list := func(f store.GroupFilter) []string {
		groups, err := w.Groups(w.ctx(), f)
		w.must(err)
		out := make([]string, len(groups))
		for i, g := range groups {
			out[i] = g.Key
		}
		return out
	}
	all := list(store.GroupFilter{})
	if len(all) != len(keys) || !slices.IsSorted(all) {
		w.t.Fatalf("%d of %d groups listed, sorted: %v", len(all), len(keys), slices.IsSorted(all))
	}
	var paged []string
	for after := (*string)(nil); ; after = &paged[len(paged)-1] {
		page := list(store.GroupFilter{AfterKey: after, Limit: 7, Active: true})
		paged = append(paged, page...)
		if len(page) == 0 {
			break
		}
	}
	if !slices.Equal(paged, all) {
		w.t.Fatalf("page by page: %q", paged)
	}
	for _, part := range []string{"%", "_", "*", "A", "\x00", "'", `\`, "é", "🚦"} {
		want := slices.DeleteFunc(slices.Clone(all), func(k string) bool { return !strings.Contains(k, part) })
		if found := list(store.GroupFilter{KeyContains: part}); !slices.Equal(found, want) {
			w.t.Fatalf("keys with %q in them: %q, want %q", part, found, want)
		}
	}
}

// A13: templates that resolve to one text share a group on purpose; the
// default keys of a script, a flow and a flow's steps at one path are never
// the same.
func TestA13_SharedAndDefaultKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.CreateWorkspace(w.ctx(), store.Workspace{ID: "flow"}))
	w.script("f/a/x", "concurrent_limit", 1)
	w.script("f/a/y", "concurrent_limit", 1, "concurrency_key", "$workspace/script/f/$args[k]")
	w.script("f/a/z", "concurrent_limit", 1, "concurrency_key", "$args[a]$args[b]")
	w.script("f/a/flow", "concurrent_limit", 1, "concurrency_key", limit.DefaultFlowKey("main", "f/a/x"))
	w.script("f/a/step", "concurrent_limit", 1, "concurrency_key", limit.DefaultStepKey("main", "f/a/x", "s"))
	ids := []string{
		w.push("f/a/x"),
		w.push("f/a/y", args(`{"k": "a/x"}`)),
		w.push("f/a/z", args(`{"a": "main/script", "b": "/f/a/x"}`)),
		w.push("f/a/z", args(`{"a": "main/scrip", "b": "t/f/a/x"}`)),
	}
	flow, step := w.push("f/a/flow"), w.push("f/a/step")
	a := w.mustTake("one of those that share, and the others", ids[0], flow, step)
	for _, next := range ids[1:] {
		w.report("w1", a[0])
		a = w.mustTake("the next that shares", next)
	}
	if g := w.group("main/script/f/a/x"); g.Running != 1 || len(w.history(g.Key)) != 4 {
		t.Fatalf("%d held, %d executions under the shared key", g.Running, len(w.history(g.Key)))
	}
	seen := map[string]string{}
	for _, ws := range []string{"main", "flow", "script", "f"} {
		for _, path := range []string{"f/a/x", "script/x", "flow/x", "x", "flow/script/x", strings.Repeat("x", 255), strings.Repeat("x", 254)} {
			for kind, key := range map[string]string{
				"script": limit.DefaultScriptKey(ws, path), "flow": limit.DefaultFlowKey(ws, path),
				"step": limit.DefaultStepKey(ws, path, "a"), "step a#b": limit.DefaultStepKey(ws, path, "a#b"),
			} {
				name := kind + " " + ws + " " + path
				if other, ok := seen[key]; ok {
					t.Fatalf("%s and %s have one default key %q", name, other, key)
				}
				seen[key] = name
			}
		}
	}
}
