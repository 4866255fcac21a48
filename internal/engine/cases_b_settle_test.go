package engine_test

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/engine"
)

const settleKey = "main/script/f/b/api"

// ask is what a worker with one place asks for; ended are what it reports with it.
func ask(worker string, no int64, ended ...sluice.Assignment) engine.Ask {
	a := engine.Ask{TakeRequest: sluice.TakeRequest{Worker: worker, TakeNo: no, Tags: []string{"bash"}, Places: 1, Wait: time.Minute}}
	for _, x := range ended {
		a.Reports = append(a.Reports, sluice.Report{
			Execution: x.Execution, Worker: worker, Success: true, Launched: true, Result: json.RawMessage(`"ok"`),
		})
	}
	return a
}

func (w *world) settle(a engine.Ask) ([]sluice.Assignment, error) {
	got, errs := w.Settle(w.ctx(), a.Reports, a.TakeRequest)
	if len(errs) != len(a.Reports) {
		w.t.Fatalf("%d answers to %d reports", len(errs), len(a.Reports))
	}
	return got, errors.Join(errs...)
}

// B8: the end of a job and the start of the next in its slot are one commit.
func TestB8_AnEndAndTheNextStartAreOneCommit(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.script("f/b/api", "concurrent_limit", 1)
		ids := w.pushN("f/b/api", 3)
		defer w.run()()
		held := w.take("w1", 1)
		synctest.Wait()
		for i := 1; i < len(ids); i++ {
			before := w.store.Stats().Commits
			got, err := w.settle(ask("w1", w.takes+int64(i), held...))
			w.must(err)
			if len(got) != 1 || got[0].JobID != ids[i] {
				t.Fatalf("end %d was answered with %v, want %s", i, jobsOf(got), ids[i])
			}
			synctest.Wait()
			if n := w.store.Stats().Commits - before; n != 1 {
				t.Errorf("an end and the next start took %d commits", n)
			}
			w.holdersAre("after an end", settleKey, got...)
			held = got
		}
		w.auditRule(settleKey)
	})
}

// B8: a request that waited longer gets the slot that an end frees, though the
// end came with a request of its own.
func TestB8_WhoWaitedLongerIsFirstAtAnEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.script("f/b/api", "concurrent_limit", 1)
		ids := w.pushN("f/b/api", 3)
		defer w.run()()
		held := w.take("w1", 1)
		var first []sluice.Assignment
		var waiting sync.WaitGroup
		waiting.Go(func() {
			var err error
			first, err = w.Take(w.ctx(), ask("w2", 1).TakeRequest)
			w.must(err)
		})
		synctest.Wait()
		got, err := w.settle(ask("w1", 2, held...))
		w.must(err)
		waiting.Wait()
		if len(got) != 0 || len(first) != 1 || first[0].JobID != ids[1] {
			t.Fatalf("the one that waited was given %v, the other %v; %s was next", jobsOf(first), jobsOf(got), ids[1])
		}
		w.holdersAre("after the end", settleKey, first...)
	})
}

// B9: the answer to a report with a request is lost. Said again, nothing is
// counted twice; what the lost answer gave goes back to its place in the line
// with the next heartbeat, as if it had never been given.
func TestB9_LostAnswerToAnEndWithARequest(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.script("f/b/api", "concurrent_limit", 1)
		ids := w.pushN("f/b/api", 3)
		defer w.run()()
		held := w.take("w1", 1)
		lost, err := w.settle(ask("w1", 2, held...))
		w.must(err)
		for no := int64(3); no < 6; no++ {
			got, err := w.settle(ask("w1", no, held...))
			w.must(err)
			if len(got) != 0 {
				t.Fatalf("said again it was given %v beside %v", jobsOf(got), jobsOf(lost))
			}
			w.holdersAre("said again", settleKey, lost...)
		}
		w.beat("w1", 5)
		got := w.take("w1", 1)
		if len(got) != 1 || got[0].JobID != ids[1] {
			t.Fatalf("after the heartbeat it was given %v, want %s", jobsOf(got), ids[1])
		}
		w.report("w1", got...)
		last := w.take("w1", 1)
		w.report("w1", last...)
		if !slices.Equal(jobsOf(last), ids[2:]) {
			t.Fatalf("the last was %v", jobsOf(last))
		}
		for _, id := range ids {
			if j := w.job(id); j.State != sluice.StateCompleted || j.Lost != 0 {
				t.Errorf("job %s is %s, lost %d times", id, j.State, j.Lost)
			}
		}
		w.auditRule(settleKey)
	})
}

// B9: an end that comes with a request is recorded though work cannot be handed
// out, and though other ends in the same call are refused.
func TestB9_AnEndIsRecordedWhateverItCameWith(t *testing.T) {
	for _, where := range []string{breaksBefore, breaksInside, breaksAfter} {
		t.Run("the store breaks "+where, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				s := w.brittle()
				w.script("f/b/api", "concurrent_limit", 1)
				ids := w.pushN("f/b/api", 2)
				defer w.run()()
				held := w.take("w1", 1)
				synctest.Wait()
				s.next(where)
				got, err := w.settle(ask("w1", 2, held...))
				w.must(err)
				if len(got) != 0 {
					t.Fatalf("given %v, of which nobody knows whether it is so", jobsOf(got))
				}
				w.beat("w1", 2)
				w.holdersAre("after the end", settleKey)
				if next := w.take("w1", 1); len(next) != 1 || next[0].JobID != ids[1] {
					t.Errorf("then given %v", jobsOf(next))
				}
			})
		})
	}
	t.Run("another is refused", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.script("f/b/api", "concurrent_limit", 1)
			w.pushN("f/b/api", 2)
			defer w.run()()
			held := w.take("w1", 1)
			a := ask("w1", 2, sluice.Assignment{Execution: 999}, held[0])
			got, errs := w.Settle(w.ctx(), a.Reports, a.TakeRequest)
			if sluice.CodeOf(errs[0]) != sluice.CodeConflict || errs[1] != nil {
				t.Errorf("answers: %v", errs)
			}
			w.holdersAre("after the end", settleKey, got...)
			if len(got) != 1 {
				t.Errorf("given %v", jobsOf(got))
			}
		})
	})
}
