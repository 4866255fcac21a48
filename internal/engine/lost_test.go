package engine_test

import (
	"encoding/json"
	"errors"
	"testing"

	"sluice"
)

// A worker that was out of touch ends its jobs, and says so if it comes back
// before it is given up: the attempt is as lost as if it had stayed away.
func TestReportOfALostAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a/lost", "concurrent_limit", 1, "max_lost_attempts", 1)
	ids := w.pushN("f/a/lost", 2)
	lost := func(a sluice.Assignment) {
		t.Helper()
		r := sluice.Report{Execution: a.Execution, Worker: "w1", Launched: true, Lost: true, Result: json.RawMessage(`{"error": {"name": "WorkerLost"}}`)}
		w.must(errors.Join(w.Report(w.ctx(), []sluice.Report{r})...))
	}
	lost(w.mustTake("at first", ids[0])[0])
	if j := w.job(ids[0]); j.State != sluice.StateQueued || j.Lost != 1 {
		t.Fatalf("after a loss the job is %s, lost %d times", j.State, j.Lost)
	}
	again := w.mustTake("in its old rank", ids[0])[0]
	if again.Attempt != 2 {
		t.Fatalf("attempt %d", again.Attempt)
	}
	lost(again)
	if j := w.job(ids[0]); j.Outcome != sluice.OutcomeFailure || j.Lost != 2 {
		t.Fatalf("after as many losses as may be the job is %s, lost %d times", j.Outcome, j.Lost)
	}
	canceled := w.mustTake("the next", ids[1])[0]
	_, err := w.Cancel(w.ctx(), "main", []string{ids[1]}, "admin", "", false)
	w.must(err)
	lost(canceled)
	if j := w.job(ids[1]); j.Outcome != sluice.OutcomeCanceled {
		t.Fatalf("cancelled, then lost: %s", j.Outcome)
	}
	w.mustTake("of nothing")
	w.auditRule("main/script/f/a/lost")
}
