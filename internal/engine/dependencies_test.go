package engine_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// py saves a python3 script.
func (w *world) py(path string, settings ...any) string {
	w.t.Helper()
	return w.script(path, append([]any{"language", "python3", "content", "def main(): pass"}, settings...)...)
}

// lockJob returns the only job at hand of kind dependencies of a path.
func (w *world) lockJobs(path string) []*sluice.Job {
	w.t.Helper()
	jobs, err := w.Jobs(w.ctx(), store.JobFilter{
		Workspace: "main", PathExact: path, Kinds: []sluice.Kind{sluice.KindDependencies}, OldestFirst: true,
	})
	w.must(err)
	return jobs
}

// end reports the end of an execution with a result.
func (w *world) end(worker string, a sluice.Assignment, success bool, result string) {
	w.t.Helper()
	w.must(w.Report(w.ctx(), []sluice.Report{{
		Execution: a.Execution, Worker: worker, Success: success, Launched: true, Result: json.RawMessage(result),
	}})[0])
}

func (w *world) version(hash string) *store.Script {
	w.t.Helper()
	s, err := w.ScriptByHash(w.ctx(), "main", hash)
	w.must(err)
	return s
}

func TestLockIsMadeAtTheSave(t *testing.T) {
	w := newWorld(t)
	hash := w.py("f/a/p", "concurrent_limit", 1)
	jobs := w.lockJobs("f/a/p")
	if len(jobs) != 1 {
		t.Fatalf("%d dependency jobs", len(jobs))
	}
	j := jobs[0]
	if j.Hash != hash || j.Tag != "dependency" || j.Language != "python3" || j.CreatedBy != "admin" || j.Priority != 0 ||
		!j.HasKey || j.Key != "main/dependencies/f/a/p" || j.Limit == nil || j.Limit.N != 1 || j.Limit.Window != 0 {
		t.Errorf("%+v", j)
	}
	run := w.push("f/a/p")
	before := w.take("w1", 1, "python3")
	if got := jobsOf(before); !slices.Equal(got, []string{run}) || before[0].Lock != nil || before[0].Entry != sluice.EntryMain {
		t.Fatalf("a script runs without a lock: %+v", before)
	}
	got := w.take("w2", 5, "dependency")
	if len(got) != 1 || got[0].JobID != j.ID || got[0].Kind != sluice.KindDependencies || got[0].Content != "def main(): pass" || got[0].Lock != nil {
		t.Fatalf("%+v", got)
	}
	if g := w.group("main/script/f/a/p"); g.Running != 1 || g.Waiting != 0 {
		t.Errorf("the script's own key counts %+v", g)
	}
	w.end("w2", got[0], true, `{"lock":"requests==2"}`)
	w.report("w1", before...)
	if s := w.version(hash); s.Lock == nil || *s.Lock != "requests==2" || s.LockError != "" || strings.Contains(string(s.Settings), "requests") {
		t.Errorf("%+v", s)
	}
	for range 2 { // read, and remembered
		w.push("f/a/p")
		as := w.take("w1", 1, "python3")
		if len(as) != 1 || as[0].Lock == nil || *as[0].Lock != "requests==2" {
			t.Fatalf("%+v", as)
		}
		w.report("w1", as...)
	}
}

func TestLockIsAskedForOnlyWhereItIsMissing(t *testing.T) {
	w := newWorld(t)
	w.script("f/a/bash")
	w.py("f/a/given", "lock", "")
	w.py("f/a/tagged", "tag", "gpu", "dedicated_worker", true, "lock", nil)
	for path, want := range map[string]int{"f/a/bash": 0, "f/a/given": 0, "f/a/tagged": 1} {
		if jobs := w.lockJobs(path); len(jobs) != want {
			t.Errorf("%s: %d dependency jobs", path, len(jobs))
		}
	}
	if j := w.lockJobs("f/a/tagged")[0]; j.Tag != "gpu" {
		t.Errorf("tag %q", j.Tag)
	}
	w.push("f/a/given")
	w.push("f/a/tagged")
	for _, a := range w.take("w1", 3, "python3", "gpu") {
		given, dedicated := a.Lock != nil, a.Path == "f/a/tagged" && a.Kind == sluice.KindScript
		if given != (a.Path == "f/a/given") || given && *a.Lock != "" || a.Dedicated != dedicated {
			t.Errorf("%+v", a)
		}
	}
	// what would change nothing is not saved, and asks for nothing
	raw := json.RawMessage(`{"path":"f/a/tagged","content":"def main(): pass","language":"python3","tag":"gpu","dedicated_worker":true}`)
	_, err := w.SaveScript(w.ctx(), "main", engine.NewScript{Body: raw, CreatedBy: "admin", SkipIfNoop: true})
	w.must(err)
	if n := len(w.lockJobs("f/a/tagged")); n != 1 {
		t.Errorf("%d dependency jobs", n)
	}
}

// L1: one path's locks are made one after the other, in order, and each is stored
// on its own version; an administrator may hold them back.
func TestLocksOfAPathOneAtATime(t *testing.T) {
	w := newWorld(t)
	first, second := w.py("f/a/p"), w.py("f/a/p", "summary", "x")
	w.py("f/a/q")
	got := w.take("w1", 9, "dependency")
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	_, err := w.Pause(w.ctx(), "main/dependencies/f/a/p", engine.PauseChange{By: "admin"})
	w.must(err)
	for _, a := range got {
		w.end("w1", a, true, `{"lock":"of `+a.Hash+`"}`)
	}
	if more := w.take("w1", 9, "dependency"); len(more) != 0 {
		t.Fatalf("taken while paused: %+v", more)
	}
	_, err = w.Resume(w.ctx(), "main/dependencies/f/a/p", "admin", "")
	w.must(err)
	more := w.take("w1", 9, "dependency")
	if len(more) != 1 || more[0].Hash != second {
		t.Fatalf("%+v", more)
	}
	w.end("w1", more[0], true, `{"lock":""}`)
	if l := w.version(first).Lock; l == nil || *l != "of "+first {
		t.Errorf("%v", l)
	}
	if l := w.version(second).Lock; l == nil || *l != "" {
		t.Errorf("%v", l)
	}
}

func TestLockThatIsNotFound(t *testing.T) {
	for name, end := range map[string]struct {
		act  func(w *world, a sluice.Assignment)
		want string
	}{
		"failure": {func(w *world, a sluice.Assignment) {
			w.must(w.AppendLog(w.ctx(), sluice.LogChunk{Execution: a.Execution, Worker: "w1", Text: []byte("looking\n")}))
			w.end("w1", a, false, `{"error":{"name":"X","message":"no such package"}}`)
		}, "looking\nno such package"},
		"no lock": {func(w *world, a sluice.Assignment) { w.end("w1", a, true, `{"lock":5}`) }, `What was found has no field "lock" with a text.`},
		"cancelled": {func(w *world, a sluice.Assignment) {
			_, err := w.Cancel(w.ctx(), "main", []string{a.JobID}, "ann", "", true)
			w.must(err)
		}, "The job was cancelled by ann"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			hash := w.py("f/a/p")
			end.act(w, w.take("w1", 1, "dependency")[0])
			if j := w.lockJobs("f/a/p")[0]; j.State != sluice.StateCompleted || j.Outcome == sluice.OutcomeSuccess {
				t.Errorf("%+v", j)
			}
			if s := w.version(hash); s.Lock != nil || s.LockError != end.want {
				t.Errorf("lock %v, error %q", s.Lock, s.LockError)
			}
			w.push("f/a/p")
			if as := w.take("w1", 1, "python3"); len(as) != 1 || as[0].Lock != nil {
				t.Errorf("the script does not run: %+v", as)
			}
		})
	}
}

// Lost while it ran, a dependency job is run again like any job.
func TestLockAfterALostWorker(t *testing.T) {
	w := newWorld(t)
	hash := w.py("f/a/p")
	a := w.take("w1", 1, "dependency")[0]
	w.must(w.Report(w.ctx(), []sluice.Report{{Execution: a.Execution, Worker: "w1", Launched: true, Lost: true}})[0])
	if s := w.version(hash); s.LockError != "" {
		t.Errorf("error %q", s.LockError)
	}
	again := w.take("w2", 1, "dependency")
	if len(again) != 1 || again[0].Attempt != 2 {
		t.Fatalf("%+v", again)
	}
	w.end("w2", again[0], true, `{"lock":"x"}`)
	if l := w.version(hash).Lock; l == nil || *l != "x" {
		t.Errorf("%v", l)
	}
}

// New limits for the jobs of a path that wait are not for what finds its lock.
func TestLockJobsKeepTheirLimit(t *testing.T) {
	w := newWorld(t)
	w.py("f/a/p", "concurrent_limit", 1)
	raw := json.RawMessage(`{"path":"f/a/p","content":"x","language":"python3","concurrent_limit":7,"lock":""}`)
	_, err := w.SaveScript(w.ctx(), "main", engine.NewScript{Body: raw, CreatedBy: "admin", ApplyToWaiting: true})
	w.must(err)
	if l := w.lockJobs("f/a/p")[0].Limit; l.N != 1 {
		t.Errorf("%v", l)
	}
}

func TestDependenciesOfCodeThatIsNotSaved(t *testing.T) {
	w := newWorld(t)
	ask := func(path string) (string, error) {
		ids, err := w.Submit(w.ctx(), []engine.NewJob{{
			Workspace: "main", CreatedBy: "ann", Dependencies: &engine.Dependencies{Content: "import x", Language: "python3", Path: path},
		}})
		if err != nil {
			return "", err
		}
		return ids[0], nil
	}
	id, err := ask("f/a/new")
	w.must(err)
	got := w.take("w1", 1, "dependency")
	if len(got) != 1 || got[0].JobID != id || got[0].Content != "import x" || got[0].Hash != "" {
		t.Fatalf("%+v", got)
	}
	w.end("w1", got[0], true, `{"lock":"x==1"}`)
	if j := w.job(id); j.Outcome != sluice.OutcomeSuccess || string(j.Result) != `{"lock":"x==1"}` || j.Key != "main/dependencies/f/a/new" {
		t.Errorf("%+v", j)
	}
	if _, err := ask(""); sluice.CodeOf(err) != sluice.CodeInvalid {
		t.Errorf("no path: %v", err)
	}
}

// An inline step that is pushed without a lock gets one from a dependency job of
// its own, pushed with the version; every step that starts after that runs with
// it, of this version alone.
func TestLocksOfInlineStepsAreMadeAtTheSave(t *testing.T) {
	w := newWorld(t)
	python := func(id string, settings ...any) obj {
		return raw(id, append([]any{"language", "python3", "content", "import x # " + id}, settings...)...)
	}
	steps := []obj{
		python("a"), loop("l", 1, false, python("b", "tag", "gpu"), raw("c")), python("given", "lock", ""), python("none", "content", ""),
	}
	w.flow("f/a/flow", steps, "failure_module", python("failure"))
	w.flow("f/a/flow", steps, "failure_module", python("failure")) // the same: no version, no jobs
	found := w.take("w1", 9, "dependency", "gpu")
	if len(found) != 1 {
		t.Fatalf("%d at a time", len(found))
	}
	for range 3 {
		a := found[0]
		if a.Kind != sluice.KindDependencies || a.Language != "python3" || a.Content != "import x # "+a.Path[len("f/a/flow/"):] || a.Lock != nil {
			t.Errorf("what finds the lock: %+v", a)
		}
		if a.Path == "f/a/flow/failure" {
			w.end("w1", a, false, failure)
		} else {
			w.end("w1", a, true, `{"lock":"of `+a.Path+`"}`)
		}
		found = w.take("w1", 9, "dependency", "gpu")
	}
	if len(found) != 0 {
		t.Fatalf("%d more", len(found))
	}
	locks := func() string {
		t.Helper()
		var out []string
		id := w.runFlow("f/a/flow")
		for {
			got := w.take("w1", 9, "bash", "python3", "gpu")
			if len(got) == 0 {
				break
			}
			lock := "-"
			if got[0].Lock != nil {
				lock = *got[0].Lock
			}
			out = append(out, got[0].FlowStep+": "+lock)
			w.end("w1", got[0], got[0].FlowStep != "none", failure)
		}
		w.result(id, sluice.OutcomeFailure, "")
		return strings.Join(out, ", ")
	}
	const want = "a: of f/a/flow/a, b: of f/a/flow/b, c: -, given: , none: -, failure: -"
	for range 2 {
		if got := locks(); got != want {
			t.Errorf("locks %s\nwant  %s", got, want)
		}
	}
	w.flow("f/a/flow", steps, "failure_module", python("failure"), "priority", 1)
	old := w.take("w1", 1, "dependency")
	if got := locks(); got != "a: -, b: -, c: -, given: , none: -, failure: -" {
		t.Errorf("another version begins with locks %s", got)
	}
	w.must(w.DeleteFlow(w.ctx(), "main", "f/a/flow"))
	w.clean()
	w.end("w1", old[0], true, `{"lock":"too late"}`)
}
