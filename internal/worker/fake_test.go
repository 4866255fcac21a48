package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/worker/pgjob"
	"sluice/internal/worker/supervisor"
)

func TestMain(m *testing.M) {
	pgjob.Main()
	supervisor.Main()
	goleak.VerifyTestMain(m)
}

// fakeSource is a source in memory. Its hooks, if set, decide what a call answers.
type fakeSource struct {
	mu       sync.Mutex
	queue    []sluice.Assignment
	takes    []sluice.TakeRequest
	confirms [][]int64
	handed   []int64
	beats    []sluice.Heartbeat
	logs     map[int64][]byte
	appends  []sluice.LogChunk
	streams  map[int64][]byte
	reports  map[int64]sluice.Report
	tries    int // calls of Report
	orders   []sluice.Order
	change   chan struct{} // closed and replaced at every change

	onTake      func([]sluice.Assignment) ([]sluice.Assignment, error)
	onHeartbeat func() error
	onAppend    func(sluice.LogChunk) error
	onReport    func(sluice.Report) error
	onSettle    func([]sluice.Report, sluice.TakeRequest) (lost bool)
	keepLogs    bool
}

func newFakeSource() *fakeSource {
	return &fakeSource{logs: map[int64][]byte{}, streams: map[int64][]byte{}, reports: map[int64]sluice.Report{}, change: make(chan struct{}), keepLogs: true}
}

// changed is to be called with the mutex held.
func (f *fakeSource) changed() {
	close(f.change)
	f.change = make(chan struct{})
}

// until waits until holds, called with the mutex held, is true.
func (f *fakeSource) until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	f.untilWithin(t, time.Minute, what, holds)
}

func (f *fakeSource) untilWithin(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	limit := time.NewTimer(within)
	defer limit.Stop()
	for {
		f.mu.Lock()
		ok, change := holds(), f.change
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-change:
		case <-limit.C:
			t.Fatalf("waited too long: %s", what)
		}
	}
}

func (f *fakeSource) push(as ...sluice.Assignment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, as...)
	f.changed()
}

func (f *fakeSource) order(o ...sluice.Order) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, o...)
	f.changed()
}

func (f *fakeSource) Take(ctx context.Context, req sluice.TakeRequest) ([]sluice.Assignment, error) {
	limit := time.NewTimer(req.Wait)
	defer limit.Stop()
	f.mu.Lock()
	f.takes = append(f.takes, req)
	f.changed()
	for len(f.queue) == 0 {
		change := f.change
		f.mu.Unlock()
		select {
		case <-change:
			f.mu.Lock()
		case <-limit.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer f.mu.Unlock()
	n := min(req.Places, len(f.queue))
	as := append([]sluice.Assignment(nil), f.queue[:n]...)
	f.queue = f.queue[n:]
	f.changed()
	if f.onTake != nil {
		return f.onTake(as)
	}
	return as, nil
}

func (f *fakeSource) Confirm(_ context.Context, _ string, ids []int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.confirms = append(f.confirms, ids)
	f.changed()
	return nil
}

func (f *fakeSource) confirmed(id int64) bool {
	for _, ids := range f.confirms {
		for _, c := range ids {
			if c == id {
				return true
			}
		}
	}
	return false
}

func (f *fakeSource) HandBack(_ context.Context, _ string, ids []int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handed = append(f.handed, ids...)
	f.changed()
	return nil
}

func (f *fakeSource) Heartbeat(_ context.Context, hb sluice.Heartbeat) ([]sluice.Order, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onHeartbeat != nil {
		if err := f.onHeartbeat(); err != nil {
			return nil, err
		}
	}
	f.beats = append(f.beats, hb)
	f.changed()
	return nil, nil
}

func (f *fakeSource) Orders(ctx context.Context, _ string) ([]sluice.Order, error) {
	for {
		f.mu.Lock()
		var due []sluice.Order
		for _, o := range f.orders {
			if _, done := f.reports[o.Execution]; !done {
				due = append(due, o)
			}
			if o.Forget { // told once
				f.orders = nil
			}
		}
		change := f.change
		f.mu.Unlock()
		if len(due) > 0 {
			return due, nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

func (f *fakeSource) AppendLog(_ context.Context, c sluice.LogChunk) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onAppend != nil {
		if err := f.onAppend(c); err != nil {
			return err
		}
	}
	if c.Stream {
		if have := int64(len(f.streams[c.Execution])); c.Offset != have {
			return sluice.Errorf(sluice.CodeInvalid, "stream offset %d instead of %d", c.Offset, have)
		}
		f.streams[c.Execution] = append(f.streams[c.Execution], c.Text...)
		f.changed()
		return nil
	}
	if have := int64(len(f.logs[c.Execution])); f.keepLogs && c.Offset != have {
		return sluice.Errorf(sluice.CodeInvalid, "offset %d instead of %d", c.Offset, have)
	}
	if f.keepLogs {
		f.logs[c.Execution] = append(f.logs[c.Execution], c.Text...)
		f.appends = append(f.appends, c)
	}
	f.changed()
	return nil
}

func (f *fakeSource) Report(_ context.Context, rs []sluice.Report) []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries++
	errs := make([]error, len(rs))
	for i, r := range rs {
		if f.onReport != nil {
			errs[i] = f.onReport(r)
		}
		if errs[i] == nil {
			f.reports[r.Execution] = r
		}
	}
	f.changed()
	return errs
}

func (f *fakeSource) Settle(ctx context.Context, rs []sluice.Report, req sluice.TakeRequest) ([]sluice.Assignment, []error) {
	f.mu.Lock()
	lost := f.onSettle != nil && f.onSettle(rs, req)
	f.mu.Unlock()
	errs := f.Report(ctx, rs)
	req.Wait = 0
	as, err := f.Take(ctx, req)
	if err != nil {
		as = nil
	}
	if lost {
		return nil, slices.Repeat([]error{errors.New("the answer was lost")}, len(rs))
	}
	return as, errs
}

// result waits for the report of an execution.
func (f *fakeSource) result(t testing.TB, id int64) sluice.Report {
	t.Helper()
	var r sluice.Report
	f.until(t, fmt.Sprintf("report of %d", id), func() bool {
		var ok bool
		r, ok = f.reports[id]
		return ok
	})
	return r
}

func (f *fakeSource) logOf(id int64) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.logs[id])
}

// failure decodes the failure of a report.
func failure(t testing.TB, r sluice.Report) Failure {
	t.Helper()
	var v struct{ Error Failure }
	if err := json.Unmarshal(r.Result, &v); err != nil || r.Success {
		t.Fatalf("not a failure: %+v %s", r, r.Result)
	}
	return v.Error
}

func bashJob(id int64, code string, args string) sluice.Assignment {
	if args == "" {
		args = "{}"
	}
	return sluice.Assignment{
		Execution: id, JobID: fmt.Sprintf("job-%d", id), Attempt: 1, Workspace: "demo", Language: "bash", Content: code,
		Args: json.RawMessage(args), Tag: "bash", CreatedBy: "ann", Email: "ann@example.com", Path: "f/x/a",
		Scheduled: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

// startWorker runs a worker until the end of the test, or until the function
// that it returns is called.
func startWorker(t testing.TB, f *fakeSource, change func(*Config)) (*Worker, func()) {
	t.Helper()
	iso := isolation(t)
	cfg := Config{
		Name: "w1", Places: 4, Dir: t.TempDir(), Source: f, Isolation: &iso, KillGrace: 300 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return w, stop
}

var probed = sync.OnceValues(func() (supervisor.Isolation, error) {
	return supervisor.Probe(supervisor.LevelBestEffort, supervisor.Config{})
})

func isolation(t testing.TB) supervisor.Isolation {
	iso, err := probed()
	if err != nil {
		t.Fatal(err)
	}
	return iso
}

// eventually polls a condition that nothing announces.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit, poll := time.NewTimer(10*time.Second), time.NewTicker(5*time.Millisecond)
	defer limit.Stop()
	defer poll.Stop()
	for !holds() {
		select {
		case <-poll.C:
		case <-limit.C:
			t.Fatalf("waited too long: %s", what)
		}
	}
}
