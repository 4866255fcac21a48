package engine_test

import (
	"testing"
	"time"

	"sluice"
)

func TestStory(t *testing.T) {
	w := newWorld(t)
	w.script("f/demo/api", "concurrent_limit", 2, "concurrency_time_window_s", 10)
	ids := w.pushN("f/demo/api", 4)
	got := w.take("w1", 10)
	if len(got) != 2 || got[0].JobID != ids[0] || got[1].JobID != ids[1] {
		t.Fatalf("first take: %v", jobsOf(got))
	}
	if wait := w.job(ids[2]).Wait; wait == nil || wait.Reason != sluice.ReasonLimit || wait.Position.N != 1 {
		t.Fatalf("wait of the third: %+v", wait)
	}
	w.confirm("w1", got...)
	w.clock.advance(time.Second)
	w.report("w1", got...)
	if more := w.take("w1", 10); len(more) != 0 {
		t.Fatalf("started within the window: %v", jobsOf(more))
	}
	w.clock.advance(10*time.Second - time.Microsecond)
	if more := w.take("w1", 10); len(more) != 0 {
		t.Fatalf("started a microsecond early: %v", jobsOf(more))
	}
	w.clock.advance(time.Microsecond)
	if more := w.take("w1", 10); len(more) != 2 || more[0].JobID != ids[2] {
		t.Fatalf("second take: %v", jobsOf(more))
	}
	if j := w.job(ids[0]); j.State != sluice.StateCompleted || string(j.Result) != `"ok"` {
		t.Fatalf("first job: %+v", j.Job)
	}
}
