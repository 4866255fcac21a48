package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// E1: eight goroutines commit changes to jobs, some of which end and some of
// which start or fail at once, while watchers that lose their connection after
// every answer come back from the number that they had reached. None misses
// the end of a job, sees numbers go back, or sees a job go back.
func TestE1_ReconnectingWatcherMissesNothing(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"each reads for itself", "one reads for all"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if how == "one reads for all" {
				defer w.run()()
			}
			w.missesNothing(t)
		})
	}
}

func (w *world) missesNothing(t *testing.T) {
	const writers = 8
	each := sized(100, 12)
	w.script("f/e/api", "concurrent_limit", 3)
	w.reportAll("w1", w.mustTake("the first change", w.push("f/e/api")))
	from := w.maxRev()
	ctx, giveUp := context.WithTimeout(w.ctx(), 30*time.Second)
	defer giveUp()
	outcomes := make(chan string, writers*each)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			worker, serves := fmt.Sprintf("w%d", i), fmt.Sprintf("tag%d", i%4)
			for n := range each {
				ids, err := w.Submit(ctx, []engine.NewJob{{Workspace: "main", Path: "f/e/api", Tag: serves}})
				if err != nil {
					t.Error(err)
					return
				}
				if n%10 == 9 {
					_, err = w.Cancel(ctx, "main", ids, "admin", "", false)
				}
				got, takeErr := w.TakeNow(ctx, sluice.TakeRequest{Worker: worker, TakeNo: int64(n + 1), Tags: []string{serves}, Places: 2})
				for _, a := range got {
					if repErr := w.tryReport(worker, a.Execution); repErr != nil {
						err = repErr
					}
				}
				if err != nil || takeErr != nil {
					t.Error(err, takeErr)
					return
				}
				outcomes <- ids[0]
			}
		})
	}
	seen := make([]map[string]*sluice.Job, 4)
	var watching sync.WaitGroup
	for i := range seen {
		seen[i] = map[string]*sluice.Job{}
		watching.Go(func() {
			ended, rev := 0, from
			for ended < writers*each {
				v, err := w.Watch(w.ctx(), "main", "", rev)
				if err != nil {
					t.Error(err)
					return
				}
				changes, err := v.Next(ctx)
				if err != nil {
					t.Errorf("watcher %d: %d of %d jobs ended, and then %v", i, ended, writers*each, err)
					return
				}
				for _, c := range changes {
					j, before := c.Job, seen[i][c.Job.ID]
					if j.Rev <= rev {
						t.Errorf("change %d came after %d", j.Rev, rev)
					}
					if before != nil && before.State == sluice.StateCompleted {
						t.Errorf("job %s went on after its end: %s", j.ID, j.State)
					}
					if j.State == sluice.StateCompleted {
						ended++
					}
					seen[i][j.ID], rev = j, j.Rev
				}
			}
		})
	}
	all.Wait()
	close(outcomes)
	for len(w.drainTags()) > 0 { // what the writers' places did not reach
	}
	watching.Wait()
	for id := range outcomes {
		stored := w.job(id)
		for i := range seen {
			if j := seen[i][id]; j == nil || j.Outcome != stored.Outcome || j.Rev != stored.Rev {
				t.Fatalf("watcher %d saw job %s as %+v, it is %s %s", i, id, j, stored.State, stored.Outcome)
			}
		}
	}
}

// drainTags runs what waits for the writers' tags.
func (w *world) drainTags() []string {
	return w.drain("last", 50, "tag0", "tag1", "tag2", "tag3")
}

// E2: two workspaces share a key. What a user of one sees of the other's jobs
// is counts, which are right, and holders that are named by an id that opens
// nothing and that every list marks with its workspace, for the API to obscure.
// No call that is given a workspace shows or touches a job of another.
func TestE2_OtherWorkspacesAreCountedNotShown(t *testing.T) {
	t.Parallel()
	const shared = "both of them"
	w := newWorld(t)
	w.must(w.CreateWorkspace(w.ctx(), store.Workspace{ID: "theirs"}))
	save := func(workspace, path string) {
		body := fmt.Appendf(nil, `{"path":%q,"content":"echo ok","language":"bash","concurrent_limit":2,"concurrency_time_window_s":60,"concurrency_key":%q}`, path, shared)
		_, err := w.SaveScript(w.ctx(), workspace, engine.NewScript{Body: body})
		w.must(err)
	}
	save("main", "f/e/ours")
	save("theirs", "f/e/secret")
	submit := func(workspace, path string, n int) []string {
		news := slices.Repeat([]engine.NewJob{{Workspace: workspace, Path: path, Args: json.RawMessage(`{"password":"hunter2"}`)}}, n)
		ids, err := w.Submit(w.ctx(), news)
		w.must(err)
		return ids
	}
	w.script("f/e/before")
	w.completed(sluice.OutcomeCanceled, w.cancelled(w.push("f/e/before")))
	from := w.maxRev()
	theirs := submit("theirs", "f/e/secret", 3)
	running := w.mustTake("theirs", theirs[:2]...)
	w.confirm("w1", running...)
	w.must(w.AppendLog(w.ctx(), sluice.LogChunk{Execution: running[0].Execution, Worker: "w1", Text: []byte("hunter2\n")}))
	w.report("w1", running[0])
	ours := submit("main", "f/e/ours", 2)

	wait, err := w.Wait(w.ctx(), "main", ours[0])
	w.must(err)
	if wait.Reason != sluice.ReasonLimit || wait.SlotsTotal != 2 || len(wait.Slots) != 2 || wait.Position.N != 2 {
		t.Fatalf("ours is told %+v, with one of theirs held, one counted and one ahead", wait)
	}
	listed, err := w.Jobs(w.ctx(), store.JobFilter{Key: ptr(shared)})
	w.must(err)
	of := map[string]string{}
	for _, j := range listed {
		of[j.ID] = j.Workspace
	}
	if len(of) != 5 {
		t.Fatalf("%d jobs of the key are listed, want 5", len(of))
	}
	for _, s := range wait.Slots {
		if of[s.JobID] != "theirs" {
			t.Fatalf("a holder's workspace is %q, so nobody would obscure it: %+v", of[s.JobID], s)
		}
	}
	if told, err := json.Marshal(wait); err != nil || containsAny(string(told), "hunter2", "secret", "f/e/") {
		t.Fatalf("ours is told %s (%v)", told, err)
	}
	if g := w.group(shared); g.Running != 1 || g.InWindow != 1 || g.Waiting != 3 {
		t.Fatalf("the group counts %d running, %d in its window, %d waiting", g.Running, g.InWindow, g.Waiting)
	}

	for _, id := range theirs {
		_, err := w.Job(w.ctx(), "main", id, true, true)
		wantCode(t, "look at their job", err, sluice.CodeNotFound, "")
		_, err = w.Wait(w.ctx(), "main", id)
		wantCode(t, "ask why it waits", err, sluice.CodeNotFound, "")
		_, _, err = w.Log(w.ctx(), "main", id, 0, 1<<20)
		wantCode(t, "read its log", err, sluice.CodeNotFound, "")
		_, err = w.Await(w.ctx(), "main", id)
		wantCode(t, "wait for its end", err, sluice.CodeNotFound, "")
		_, err = w.AwaitUpdate(w.ctx(), "main", id, engine.Seen{}, time.Millisecond)
		wantCode(t, "follow it", err, sluice.CodeNotFound, "")
		_, err = w.Cancel(w.ctx(), "main", []string{id}, "us", "", true)
		wantCode(t, "cancel it", err, sluice.CodeNotFound, "")
		_, err = w.Submit(w.ctx(), []engine.NewJob{{ID: id, Workspace: "main", Path: "f/e/ours"}})
		wantCode(t, "push with its id", err, sluice.CodeConflict, "job_id")
	}
	mine, err := w.Jobs(w.ctx(), store.JobFilter{Workspace: "main", Key: ptr(shared)})
	w.must(err)
	if len(mine) != 2 || mine[0].ID != ours[1] || mine[1].ID != ours[0] {
		t.Fatalf("a list of our workspace holds %d jobs", len(mine))
	}
	v, err := w.Watch(w.ctx(), "main", "", from)
	w.must(err)
	changes, err := v.Next(w.ctx())
	w.must(err)
	for _, c := range changes {
		if c.Job.Workspace != "main" || c.Job.Args != nil {
			t.Fatalf("our stream shows %+v", c.Job)
		}
	}
	if len(changes) != 2 {
		t.Fatalf("our stream shows %d jobs, not our 2", len(changes))
	}
	for _, id := range theirs[1:] {
		if j, err := w.Job(w.ctx(), "theirs", id, false, false); err != nil || j.State == sluice.StateCompleted {
			t.Fatalf("their job was touched: %v %v", j, err)
		}
	}
}

// cancelled cancels a job and returns it.
func (w *world) cancelled(id string) string {
	w.t.Helper()
	_, err := w.Cancel(w.ctx(), "main", []string{id}, "admin", "", false)
	w.must(err)
	return id
}

func (w *world) maxRev() (rev int64) {
	w.t.Helper()
	w.read(func(r store.Reader) (err error) { rev, err = r.MaxRev(); return err })
	return rev
}

func ptr[T any](v T) *T { return &v }

func containsAny(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, p) })
}
