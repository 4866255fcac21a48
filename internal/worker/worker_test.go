package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/internal/worker/supervisor"
)

// blocker is an in-process language whose jobs end when told.
type blocker struct {
	started chan int64
	end     chan struct{}
}

func newBlocker() *blocker {
	return &blocker{started: make(chan int64, 1000), end: make(chan struct{})}
}

func (b *blocker) Run(ctx context.Context, t *Task) Outcome {
	t.Launched()
	b.started <- t.Execution
	select {
	case <-b.end:
		return Outcome{Result: []byte(`"done"`)}
	case <-ctx.Done():
		return failed("Ended", "ended")
	}
}

func inProcess(e Executor) func(*Config) {
	return func(c *Config) { c.Executors = map[string]Executor{"go": e} }
}

func goJob(id int64) sluice.Assignment {
	return sluice.Assignment{Execution: id, JobID: fmt.Sprint(id), Language: "go", Args: []byte("{}")}
}

func both(fs ...func(*Config)) func(*Config) {
	return func(c *Config) {
		for _, f := range fs {
			f(c)
		}
	}
}

func TestPlaceThatBecomesFreeIsAskedForAtOnce(t *testing.T) {
	f, b := newFakeSource(), newBlocker()
	startWorker(t, f, both(inProcess(b), func(c *Config) { c.Places = 3 }))
	f.until(t, "first take", func() bool { return len(f.takes) == 1 })
	f.push(goJob(1))
	<-b.started
	f.until(t, "take for the two places that were not used", func() bool { return len(f.takes) == 2 && f.takes[1].Places == 2 })
	b.end <- struct{}{} // while that Take is outstanding
	f.until(t, "take for the freed place", func() bool { return len(f.takes) >= 3 && f.takes[2].Places == 1 })
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, req := range f.takes {
		if req.TakeNo != int64(i+1) || req.Worker != "w1" {
			t.Errorf("take %d: %+v", i, req)
		}
	}
}

// TestEndsAskForTheNextJob: the report of an end asks for work for its place,
// and what it is given runs.
func TestEndsAskForTheNextJob(t *testing.T) {
	f, b := newFakeSource(), newBlocker()
	settled := map[int64]bool{}
	f.onSettle = func(rs []sluice.Report, req sluice.TakeRequest) bool {
		for _, r := range rs {
			settled[r.Execution] = true
		}
		if req.Places != len(rs) || req.TakeNo <= f.takes[len(f.takes)-1].TakeNo {
			t.Errorf("%d ends ask for %d places, take %d", len(rs), req.Places, req.TakeNo)
		}
		return false
	}
	f.push(goJob(1))
	startWorker(t, f, both(inProcess(b), func(c *Config) { c.Places = 1 }))
	for id := int64(1); id <= 5; id++ {
		if got := <-b.started; got != id {
			t.Fatalf("%d began, want %d", got, id)
		}
		f.push(goJob(id + 1))
		b.end <- struct{}{}
		f.until(t, "the end is reported", func() bool { return settled[id] && f.reports[id].Success })
	}
	<-b.started
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.takes) != 6 { // the first, and one with each end
		t.Errorf("%d requests for 6 jobs", len(f.takes))
	}
	b.end <- struct{}{}
}

// TestLostAnswerToAnEnd: the answer to a report with a request is lost. The
// report is sent again, the place is asked for anew, and what was in the answer
// is not run but settled.
func TestLostAnswerToAnEnd(t *testing.T) {
	f, b := newFakeSource(), newBlocker()
	lost := int64(0)
	f.onSettle = func(_ []sluice.Report, req sluice.TakeRequest) bool {
		if lost == 0 {
			lost = req.TakeNo
			return true
		}
		return false
	}
	f.push(goJob(1))
	startWorker(t, f, both(inProcess(b), func(c *Config) { c.Places, c.HeartbeatEvery = 1, 20*time.Millisecond }))
	<-b.started
	f.push(goJob(2)) // what is lost
	b.end <- struct{}{}
	f.until(t, "asked anew, and the end reported again", func() bool {
		return lost > 0 && f.takes[len(f.takes)-1].TakeNo > lost && f.tries >= 2
	})
	f.until(t, "settled, and not held", func() bool {
		hb := f.beats[len(f.beats)-1]
		return hb.SettledTake >= lost && len(hb.Holds) == 0
	})
	f.push(goJob(3))
	if id := <-b.started; id != 3 {
		t.Errorf("%d began", id)
	}
	b.end <- struct{}{}
	f.result(t, 3)
}

func TestHeartbeats(t *testing.T) {
	f, b := newFakeSource(), newBlocker()
	var refuse atomic.Bool
	refuse.Store(true)
	f.onReport = func(sluice.Report) error {
		if refuse.Load() {
			return errors.New("away")
		}
		return nil
	}
	f.push(goJob(1), goJob(2))
	startWorker(t, f, both(inProcess(b), func(c *Config) { c.HeartbeatEvery = 20 * time.Millisecond }))
	last := func() sluice.Heartbeat { return f.beats[len(f.beats)-1] }
	f.until(t, "both held", func() bool { return len(f.beats) > 0 && slices.Equal(last().Holds, []int64{1, 2}) })
	b.end <- struct{}{}
	b.end <- struct{}{}
	f.until(t, "reports tried", func() bool { return f.tries >= 2 })
	beats := 0
	f.until(t, "reported but unacknowledged ones are held", func() bool {
		if beats == 0 {
			beats = len(f.beats)
		}
		return len(f.beats) > beats+1
	})
	f.mu.Lock()
	if hb := last(); !slices.Equal(hb.Holds, []int64{1, 2}) || hb.Places != 4 || !slices.Equal(hb.Languages, []string{"go"}) {
		t.Errorf("%+v", hb)
	}
	// Outstanding Takes are not settled.
	answered := int64(1)
	if hb := last(); hb.SettledTake < answered || hb.SettledTake >= f.takes[len(f.takes)-1].TakeNo {
		t.Errorf("settled %d of %d", hb.SettledTake, len(f.takes))
	}
	f.mu.Unlock()
	refuse.Store(false)
	f.until(t, "nothing held", func() bool { return len(last().Holds) == 0 && last().JobsRun == 2 })
}

func TestLostTakeAnswerIsSettled(t *testing.T) {
	f, b := newFakeSource(), newBlocker()
	lost := false
	f.onTake = func(as []sluice.Assignment) ([]sluice.Assignment, error) {
		if !lost {
			lost = true
			return nil, errors.New("connection reset")
		}
		return as, nil
	}
	f.push(goJob(1))
	startWorker(t, f, both(inProcess(b), func(c *Config) { c.HeartbeatEvery = 20 * time.Millisecond }))
	f.until(t, "settled, and not held", func() bool {
		hb := f.beats[max(0, len(f.beats)-1):]
		return len(hb) == 1 && hb[0].SettledTake >= 1 && len(hb[0].Holds) == 0
	})
	f.push(goJob(2))
	if id := <-b.started; id != 2 {
		t.Errorf("started %d", id)
	}
}

func TestNothingIsTakenWithoutALease(t *testing.T) {
	f, b := newFakeSource(), newBlocker()
	var away atomic.Bool
	f.onHeartbeat = func() error {
		if away.Load() {
			return errors.New("away")
		}
		return nil
	}
	away.Store(true)
	startWorker(t, f, both(inProcess(b), func(c *Config) { c.StopAfter = 500 * time.Millisecond }))
	f.push(goJob(1))
	time.AfterFunc(100*time.Millisecond, func() { away.Store(false) })
	<-b.started
	f.mu.Lock()
	if len(f.beats) == 0 {
		t.Error("took work before the first heartbeat was acknowledged")
	}
	f.mu.Unlock()
	away.Store(true)
	if r := f.result(t, 1); failure(t, r).Name != FailureLease || !r.Lost {
		t.Errorf("%+v", r)
	}
	f.push(goJob(2)) // a Take from before is still outstanding
	f.until(t, "hand-back", func() bool { return slices.Contains(f.handed, 2) })
	if n := len(b.started); n != 0 {
		t.Errorf("%d started without a lease", n)
	}
}

func TestConfirm(t *testing.T) {
	f, b := newFakeSource(), newBlocker()
	startWorker(t, f, both(inProcess(b), func(c *Config) { c.Places = 3 }))
	prompt := goJob(1)
	prompt.Prompt = true
	f.push(prompt)
	f.until(t, "prompt confirmation", func() bool { return f.confirmed(1) })
	f.push(goJob(2))
	f.until(t, "late confirmation", func() bool { return f.confirmed(2) })
	f.push(goJob(3))
	for range 3 {
		<-b.started
	}
	for range 3 {
		b.end <- struct{}{}
	}
	if r := f.result(t, 3); !r.Launched || !r.Success || string(r.Result) != `"done"` {
		t.Errorf("%+v", r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.confirmed(3) {
		t.Error("a short job was confirmed by a call of its own")
	}
}

func TestReportIsRetriedUntilConflict(t *testing.T) {
	f, b := newFakeSource(), newBlocker()
	tries := map[int64]int{}
	f.onReport = func(r sluice.Report) error {
		tries[r.Execution]++
		switch {
		case r.Execution == 1 && tries[1] < 4:
			return sluice.Errorf(sluice.CodeUnavailable, "later")
		case r.Execution == 2:
			return sluice.Errorf(sluice.CodeConflict, "lost")
		case r.Execution == 3 && r.Success:
			return sluice.Errorf(sluice.CodeInvalid, "such a result is not taken")
		}
		return nil
	}
	startWorker(t, f, both(inProcess(b), func(c *Config) { c.HeartbeatEvery = 10 * time.Millisecond }))
	f.push(goJob(1), goJob(2), goJob(3))
	for range 3 {
		b.end <- struct{}{}
	}
	f.result(t, 1)
	if g := failure(t, f.result(t, 3)); g.Name != FailureResult {
		t.Errorf("%+v", g)
	}
	f.until(t, "nothing held", func() bool {
		return tries[2] > 0 && len(f.beats[len(f.beats)-1].Holds) == 0 && f.beats[len(f.beats)-1].JobsRun == 3
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if tries[2] != 1 || tries[1] != 4 {
		t.Errorf("tries: %v", tries)
	}
}

func TestUnknownLanguageFailsAlone(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	bad := bashJob(1, "x", "")
	bad.Language = "cobol"
	f.push(bad, bashJob(2, "echo fine", ""))
	r := f.result(t, 1)
	if g := failure(t, r); g.Name != FailureUnsupported || !strings.Contains(g.Message, `"cobol"`) || r.Launched {
		t.Errorf("%+v, launched %v", g, r.Launched)
	}
	if r := f.result(t, 2); string(r.Result) != `"fine"` {
		t.Errorf("%s", r.Result)
	}
}

// A language without its runtime is named when the worker starts and in every
// heartbeat; its jobs fail with a sentence that says what to do, and only they.
func TestMissingRuntime(t *testing.T) {
	f := newFakeSource()
	var said strings.Builder
	gone := errors.New("python3 is in none of the folders /nowhere")
	startWorker(t, f, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&said, nil))
		c.Executors = map[string]Executor{"bash": NewBash(), "python3": &Python{err: gone}, "bun": &Bun{err: gone}}
	})
	for id, language := range []string{"python3", "bun", "bash"} {
		a := bashJob(int64(id)+1, "echo fine", "")
		a.Language = language
		f.push(a)
	}
	for id, want := range map[int64]string{1: "apt install python3", 2: "npm install -g bun"} {
		r := f.result(t, id)
		if g := failure(t, r); g.Name != FailureUnsupported || !strings.Contains(g.Message, want) || r.Launched {
			t.Errorf("job %d: %+v, launched %v", id, g, r.Launched)
		}
	}
	if r := f.result(t, 3); string(r.Result) != `"fine"` {
		t.Errorf("the language that is there: %s", r.Result)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if hb := f.beats[0]; !slices.Equal(hb.Missing, []string{"bun", "python3"}) || !slices.Equal(hb.Languages, []string{"bash"}) {
		t.Errorf("heartbeat: missing %v, found %v", hb.Missing, hb.Languages)
	}
	if n := strings.Count(said.String(), gone.Error()); n != 2 {
		t.Errorf("said %d times at the start: %s", n, said.String())
	}
}

func TestPanicFailsAlone(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, inProcess(ExecutorFunc(func(_ context.Context, t *Task) Outcome {
		if t.Execution == 1 {
			panic("oh")
		}
		return Outcome{}
	})))
	f.push(goJob(1), goJob(2))
	if g := failure(t, f.result(t, 1)); g.Name != FailureWorker {
		t.Errorf("%+v", g)
	}
	if r := f.result(t, 2); string(r.Result) != "null" || !r.Success {
		t.Errorf("%s", r.Result)
	}
}

func TestHandBack(t *testing.T) {
	f := newFakeSource()
	w, _ := startWorker(t, f, nil)
	if err := os.Mkdir(w.dir+"/1", 0o700); err != nil { // in the way of the job's folder
		t.Fatal(err)
	}
	f.push(bashJob(1, "echo never", ""), bashJob(2, "echo fine", ""))
	f.until(t, "hand-back", func() bool { return slices.Contains(f.handed, 1) })
	if r := f.result(t, 2); string(r.Result) != `"fine"` {
		t.Errorf("%s", r.Result)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, reported := f.reports[1]; reported {
		t.Error("reported what was handed back")
	}
}

func TestTimeoutAndTermAndGrace(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	polite := bashJob(1, "trap 'echo bye; exit 0' TERM; while :; do sleep 0.02; done", "")
	polite.Timeout = 200 * time.Millisecond
	deaf := bashJob(2, "trap '' TERM; echo start; while :; do sleep 0.05; done", "")
	deaf.Timeout = 200 * time.Millisecond
	f.push(polite, deaf)
	start := time.Now()
	if g := failure(t, f.result(t, 1)); g.Name != FailureTimeout || !strings.Contains(g.Message, "200ms") {
		t.Errorf("%+v", g)
	}
	if got := f.logOf(1); !strings.HasSuffix(got, "bye\n") { // bash says first that its child was terminated
		t.Errorf("log %q", got)
	}
	if g := failure(t, f.result(t, 2)); g.Name != FailureTimeout {
		t.Errorf("%+v", g)
	}
	if d := time.Since(start); d < 500*time.Millisecond { // time-out and grace
		t.Errorf("a job that ignores TERM was gone after %v", d)
	}
}

func TestKillAndForgetOrders(t *testing.T) {
	f := newFakeSource()
	_, stop := startWorker(t, f, func(c *Config) { c.HeartbeatEvery = 20 * time.Millisecond; c.KillGrace = time.Hour })
	f.push(bashJob(1, "echo up; sleep 100", ""), bashJob(2, "trap '' TERM; echo up; while :; do sleep 0.05; done", ""))
	f.until(t, "both run", func() bool { return len(f.logs[1]) > 0 && len(f.logs[2]) > 0 })
	f.order(sluice.Order{Execution: 1, Kill: true, Reason: "ann cancelled it"})
	if g := failure(t, f.result(t, 1)); g.Name != FailureCanceled || g.Message != "ann cancelled it" {
		t.Errorf("%+v", g)
	}
	f.order(sluice.Order{Execution: 2, Kill: true}, sluice.Order{Execution: 2, Forget: true}) // an hour of grace, cut short
	f.until(t, "forgotten", func() bool { return len(f.beats[len(f.beats)-1].Holds) == 0 })
	stop()
	if _, reported := f.reports[2]; reported {
		t.Error("reported what was to be forgotten")
	}
}

func TestConflictOfALogEndsTheJob(t *testing.T) {
	f := newFakeSource()
	f.onAppend = func(sluice.LogChunk) error { return sluice.Errorf(sluice.CodeConflict, "not yours") }
	startWorker(t, f, func(c *Config) { c.HeartbeatEvery = 20 * time.Millisecond })
	f.push(bashJob(1, "echo x; sleep 100", ""))
	f.until(t, "held", func() bool {
		return slices.ContainsFunc(f.beats, func(h sluice.Heartbeat) bool { return len(h.Holds) > 0 })
	})
	f.until(t, "forgotten", func() bool { return len(f.beats[len(f.beats)-1].Holds) == 0 })
}

func TestDrainWaitsForJobs(t *testing.T) {
	f := newFakeSource()
	w, _ := startWorker(t, f, nil)
	f.push(bashJob(1, "echo up; until [ -e go ]; do sleep 0.01; done; echo end", ""))
	f.until(t, "it runs", func() bool { return len(f.logs[1]) > 0 })
	drained := make(chan error)
	go func() { drained <- w.Drain(context.Background()) }()
	eventually(t, "no take any more", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.takes) == 0 })
	f.push(bashJob(2, "echo never", ""))
	if err := os.WriteFile(filepath.Join(w.dir, "1", "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if r := f.reports[1]; string(r.Result) != `"end"` {
		t.Errorf("%s", r.Result)
	}
	if hb := f.beats[len(f.beats)-1]; len(hb.Holds) != 0 || hb.SettledTake != f.takes[len(f.takes)-1].TakeNo {
		t.Errorf("last word: %+v", hb)
	}
	if len(f.queue) != 1 || len(f.reports) != 1 {
		t.Error("took work while draining")
	}
}

func TestDrainEndsJobsWhenItMust(t *testing.T) {
	f := newFakeSource()
	w, _ := startWorker(t, f, nil)
	f.push(bashJob(1, "echo up; sleep 100", ""))
	f.until(t, "it runs", func() bool { return len(f.logs[1]) > 0 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if r := f.result(t, 1); failure(t, r).Name != FailureShutdown || !r.Lost {
		t.Errorf("%+v", r)
	}
}

// A Take that is answered although it was given up: what it brings goes back.
func TestAnswerDuringDrainIsHandedBack(t *testing.T) {
	f, b := newFakeSource(), newBlocker()
	asked, answer := make(chan struct{}), make(chan struct{})
	f.onTake = func(as []sluice.Assignment) ([]sluice.Assignment, error) {
		f.mu.Unlock()
		defer f.mu.Lock()
		close(asked)
		<-answer
		return as, nil
	}
	w, _ := startWorker(t, f, inProcess(b))
	f.push(goJob(1), goJob(2))
	<-asked
	drained := make(chan error)
	go func() { drained <- w.Drain(context.Background()) }()
	eventually(t, "draining", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.draining })
	close(answer)
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.handed, []int64{1, 2}) || len(b.started) != 0 {
		t.Errorf("handed back %v, started %d", f.handed, len(b.started))
	}
}

func TestNothingLeaksOver500Jobs(t *testing.T) {
	f := newFakeSource()
	w, _ := startWorker(t, f, nil)
	f.push(bashJob(1, "true", ""))
	f.result(t, 1)
	count := func(pid int) int {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	sup := w.sup.PID()
	if os.Getuid() != 0 {
		sup = os.Getpid() // the supervisor's files are nobody's to see
	}
	ours, theirs := count(os.Getpid()), count(sup)
	for id := int64(2); id <= 501; id++ {
		f.push(bashJob(id, "echo $((6*7)); sleep 0 & exit 0", ""))
	}
	for id := int64(2); id <= 501; id++ {
		if r := f.result(t, id); string(r.Result) != `"42"` {
			t.Fatalf("%s", r.Result)
		}
	}
	theirs += 100 // three for each of its blocks, of which there are a few more than places
	eventually(t, "the same number of files", func() bool { return count(os.Getpid()) <= ours && count(sup) <= theirs })
	eventually(t, "no child of the supervisor", func() bool { return len(childrenOf(t, w.sup.PID())) == 0 })
}

func TestSupervisorThatIsKilled(t *testing.T) {
	f := newFakeSource()
	w, _ := startWorker(t, f, nil)
	f.push(bashJob(1, "setsid sleep 1234.5 & echo up; sleep 100", ""))
	f.until(t, "it runs", func() bool { return len(f.logs[1]) > 0 })
	if p, err := os.FindProcess(w.sup.PID()); err != nil || p.Kill() != nil {
		t.Fatal("the supervisor could not be killed")
	}
	if r := f.result(t, 1); failure(t, r).Name != FailureLease || !r.Lost {
		t.Errorf("%+v", r)
	}
	if n := running(t, "1234.5"); n != 0 {
		t.Errorf("%d processes of the job are left", n)
	}
	f.push(bashJob(2, "echo again", ""))
	if r := f.result(t, 2); string(r.Result) != `"again"` {
		t.Errorf("%s", r.Result)
	}
}

// The executor works without namespaces, too.
func TestWithoutNamespaces(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, func(c *Config) { c.Isolation = &supervisor.Isolation{} })
	f.push(bashJob(1, "setsid sleep 2345.6 & setsid bash -c 'setsid sleep 2345.6 & disown; sleep 2345.6' & echo $(( $$ > 2 ))", ""))
	if r := f.result(t, 1); string(r.Result) != `"1"` {
		t.Errorf("%s", r.Result)
	}
	if n := running(t, "2345.6"); n != 0 {
		t.Errorf("%d processes of the job are left", n)
	}
}
