package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/history"
	"sluice/internal/store"
)

// FlowWorld plays random flows, under limits, through an engine whose store
// breaks off and whose workers die, until all of them have ended. What a step
// gives is a pure function of its arguments, so that every world of a seed must
// give the same results, whatever happens in it.
type FlowWorld struct {
	seed  uint64
	clock *clock
	store *faulty
	e     *engine.Engine
	rand  *rand.Rand // of what happens; the flows themselves have their own
	roots []string
	work  []*flowWorker
}

// flowWorker is a worker of a flow world: it needs no time, only rounds.
type flowWorker struct {
	name  string
	takes int64
	held  []flowJob
}

type flowJob struct {
	a    sluice.Assignment
	ends int // round in which it ends
}

// FlowOutcome is what became of a flow world.
type FlowOutcome struct {
	Results []string // of the flows, in the order of their push: outcome and result
	Calls   int      // Update calls since the flows were saved
	Steps   int      // executions that workers ran
	Report  *history.Report
}

// PlayFlows plays a flow world; with trouble, calls fail and workers die at
// random, beside the one crash. The store that open gives must be empty, and is
// closed.
func PlayFlows(open func(Clock) (store.Store, error), seed uint64, c Crash, trouble bool) (*FlowOutcome, error) {
	w := &FlowWorld{seed: seed, clock: newClock(), rand: rand.New(rand.NewPCG(seed, 0))}
	s, err := open(w.clock)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	w.store = &faulty{Store: s}
	if err := w.setUp(); err != nil {
		return nil, err
	}
	w.store.begin(c, trouble, w.rand)
	defer func() { w.e.Close() }()
	return w.play()
}

// boot starts an engine, as a new server would.
func (w *FlowWorld) boot() error {
	if w.e != nil {
		w.e.Close()
	}
	e, err := engine.New(ctx, w.store, engine.Options{
		StopAfter: stopAfter, LostAfter: lostAfter, KillGrace: killGrace, Margin: lostAfter - stopAfter - killGrace - retry,
		Uptime: w.clock.Boot, Logger: quiet, Evaluator: echo{},
	})
	if err == nil {
		w.e = e
	}
	return err
}

// echo gives an expression's variables for its value.
type echo struct{}

func (echo) Eval(_ context.Context, shared map[string]json.RawMessage, list []engine.Expression) ([]engine.ExprValue, error) {
	out := make([]engine.ExprValue, len(list))
	for i, x := range list {
		over := map[string]json.RawMessage{}
		if strings.Contains(x.Text, "flow_input") { // others of its batch may see more
			over["flow_input"] = shared["flow_input"]
		}
		maps.Copy(over, x.Own)
		raw, err := json.Marshal(over)
		if err != nil {
			return nil, err
		}
		out[i] = engine.ExprValue{Value: raw}
	}
	return out, nil
}

func (w *FlowWorld) setUp() error {
	if err := w.boot(); err != nil {
		return err
	}
	if err := w.e.CreateWorkspace(ctx, store.Workspace{ID: "main"}); err != nil {
		return err
	}
	for _, path := range []string{"f/s/one", "f/s/free"} {
		body := map[string]any{"path": path, "content": "x", "language": "bash"}
		if path == "f/s/one" {
			body["concurrent_limit"], body["concurrency_key"] = 1, "shared"
		}
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		if _, err := w.e.SaveScript(ctx, "main", engine.NewScript{Body: raw, CreatedBy: "sim"}); err != nil {
			return err
		}
	}
	maker := &flowMaker{r: rand.New(rand.NewPCG(w.seed, 1))}
	for i := range 3 {
		body, err := json.Marshal(map[string]any{"path": fmt.Sprintf("f/x/flow%d", i), "value": maker.flow(i)})
		if err != nil {
			return err
		}
		if _, err := w.e.SaveFlow(ctx, "main", engine.NewFlow{Body: body, EditedBy: "sim"}); err != nil {
			return fmt.Errorf("save %s: %w", body, err)
		}
	}
	for i := range 2 {
		w.work = append(w.work, &flowWorker{name: fmt.Sprint("w", i)})
	}
	return nil
}

// rounds bounds a world.
const rounds = 4000

func (w *FlowWorld) play() (*FlowOutcome, error) {
	out := &FlowOutcome{}
	for i := range 5 {
		id := fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1)
		n := engine.NewJob{ID: id, Workspace: "main", FlowPath: fmt.Sprintf("f/x/flow%d", i%3), Args: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))}
		w.roots = append(w.roots, id)
		if err := w.again(func() error { _, err := w.e.Submit(ctx, []engine.NewJob{n}); return err }); err != nil {
			return nil, err
		}
	}
	for round := range rounds {
		if err := w.round(round, out); err != nil {
			return nil, err
		}
		if done, err := w.done(); err != nil || done {
			out.Calls = w.store.calls
			if err != nil {
				return nil, err
			}
			return out, w.judge(out)
		}
		w.clock.advance(100 * time.Millisecond)
	}
	return nil, fmt.Errorf("the flows have not ended after %d rounds: %s", rounds, w.state())
}

// again makes a call until it is answered, as a careful client would; a server
// that died of it is started anew.
func (w *FlowWorld) again(f func() error) error {
	for range 50 {
		err := f()
		if !errors.Is(err, errCrash) && sluice.CodeOf(err) != sluice.CodeInternal {
			return err
		}
		if err := w.revive(); err != nil {
			return err
		}
	}
	return errors.New("a call is never answered")
}

// revive starts a server in the place of one that died.
func (w *FlowWorld) revive() error {
	if !w.store.died() {
		return nil
	}
	for range 50 {
		if err := w.boot(); !errors.Is(err, errCrash) {
			return err
		}
	}
	return errors.New("no server starts")
}

// broken says whether an error is one that was made on purpose.
func (w *FlowWorld) broken(err error) error {
	if err != nil && !errors.Is(err, errCrash) && sluice.CodeOf(err) != sluice.CodeUnavailable {
		return err
	}
	return w.revive()
}

// round has everybody do a little.
func (w *FlowWorld) round(no int, out *FlowOutcome) error {
	if _, err := w.e.MoveFlows(ctx); w.broken(err) != nil {
		return err
	}
	if _, err := w.e.Reap(ctx); w.broken(err) != nil {
		return err
	}
	for _, k := range w.work {
		if w.store.chance(0.01) { // killed with -9; one of another name comes
			k.name, k.held, k.takes = fmt.Sprint("w", no, k.name), nil, 0
		}
		if err := w.serve(k, no, out); err != nil {
			return err
		}
	}
	return nil
}

// serve does a worker's round: reports, heartbeat, request.
func (w *FlowWorld) serve(k *flowWorker, no int, out *FlowOutcome) error {
	for len(k.held) > 0 && k.held[0].ends <= no {
		a := k.held[0].a
		success, result, err := w.run(a)
		if err != nil {
			return err
		}
		var refused error
		r := sluice.Report{Execution: a.Execution, Worker: k.name, Success: success, Launched: true, Result: result}
		if err := w.again(func() error {
			refused = w.e.Report(ctx, []sluice.Report{r})[0]
			if sluice.CodeOf(refused) == sluice.CodeConflict {
				return nil
			}
			return refused
		}); err != nil {
			return err
		}
		k.held = k.held[1:]
		out.Steps++
	}
	hb := sluice.Heartbeat{Worker: k.name, Tags: []string{"bash"}, Places: 3, SettledTake: k.takes}
	for _, h := range k.held {
		hb.Holds = append(hb.Holds, h.a.Execution)
	}
	orders, err := w.e.Heartbeat(ctx, hb)
	if w.broken(err) != nil {
		return err
	}
	for _, o := range orders {
		k.held = slices.DeleteFunc(k.held, func(h flowJob) bool { return o.Forget && h.a.Execution == o.Execution })
	}
	free := 3 - len(k.held)
	if free == 0 {
		return nil
	}
	k.takes++
	got, err := w.e.TakeNow(ctx, sluice.TakeRequest{Worker: k.name, TakeNo: k.takes, Tags: []string{"bash"}, Places: free})
	if w.broken(err) != nil {
		return err
	}
	for _, a := range got {
		k.held = append(k.held, flowJob{a, no + w.rand.IntN(4)})
	}
	slices.SortStableFunc(k.held, func(a, b flowJob) int { return a.ends - b.ends })
	return nil
}

// run is what a step does: a function of its arguments, and of whether it is
// the first attempt of a step that fails once.
func (w *FlowWorld) run(a sluice.Assignment) (bool, json.RawMessage, error) {
	if strings.HasPrefix(a.FlowStep, "bad") {
		return false, json.RawMessage(`{"error":{"name":"Bad","message":"` + a.FlowStep + `"}}`), nil
	}
	if strings.HasPrefix(a.FlowStep, "retry") {
		first := false
		err := w.store.View(ctx, func(r store.Reader) error {
			j, err := r.Job(a.JobID)
			if err != nil {
				return err
			}
			all, err := r.Children(j.ParentJob, j.Step, j.StepN, 100)
			first = len(all) > 0 && all[0].ID == j.ID
			return err
		})
		if err != nil || first {
			return false, json.RawMessage(`{"error":{"name":"Once","message":"again"}}`), err
		}
	}
	h := fnv.New32a()
	h.Write(a.Args)
	return true, json.RawMessage(fmt.Sprintf(`{"of":%q,"args":%d}`, a.FlowStep, h.Sum32())), nil
}

// done reports whether all flows have ended and nothing of them is open.
func (w *FlowWorld) done() (bool, error) {
	var n int64
	err := w.store.View(ctx, func(r store.Reader) (err error) {
		n, err = r.CountJobs(store.JobFilter{States: []sluice.State{sluice.StateScheduled, sluice.StateQueued, sluice.StateRunning}})
		return err
	})
	return n == 0, err
}

// judge reads what became of the flows, and has the checker judge the rows.
func (w *FlowWorld) judge(out *FlowOutcome) error {
	err := w.store.Store.Update(ctx, func(tx store.Tx) error {
		for _, id := range w.roots {
			j, err := tx.Job(id)
			if err != nil {
				return err
			}
			result, err := tx.Result(j.Seq)
			if err != nil {
				return err
			}
			out.Results = append(out.Results, string(j.Outcome)+" "+string(result))
		}
		due, err := tx.DueFlowRuns(tx.Now().Add(1000*time.Hour), 10)
		if err == nil && len(due) > 0 {
			err = fmt.Errorf("%d runs of flows are due though all have ended", len(due))
		}
		if err != nil {
			return err
		}
		groups, err := tx.Groups(store.GroupFilter{})
		for _, g := range groups {
			if g.Held() != 0 || g.Waiting != 0 {
				return fmt.Errorf("the group %q counts %d held and %d waiting though all has ended", g.Key, g.Held(), g.Waiting)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	out.Report, err = history.Check(ctx, w.store.Store, history.Options{})
	if err == nil && len(out.Report.Violations) > 0 {
		err = fmt.Errorf("the history: %v", out.Report.Violations[0])
	}
	return err
}

// state tells what is open.
func (w *FlowWorld) state() string {
	var b strings.Builder
	err := w.store.View(ctx, func(r store.Reader) error {
		jobs, err := r.Jobs(store.JobFilter{OldestFirst: true, States: []sluice.State{sluice.StateScheduled, sluice.StateQueued, sluice.StateRunning}})
		for _, j := range jobs[:min(len(jobs), 10)] {
			fmt.Fprintf(&b, "\n  %s %s %s step %s/%d %s key %q worker %q", j.ID, j.Kind, j.Path, j.Step, j.StepN, j.State, j.Key, j.Worker)
			if row, err := r.FlowRun(j.Seq); err == nil {
				fmt.Fprintf(&b, " due %v events %s state %s", row.Due, row.Events, row.State)
			}
		}
		return err
	})
	if err != nil {
		b.WriteString(err.Error())
	}
	return b.String()
}

// faulty is a store that breaks calls off.
type faulty struct {
	store.Store
	mu      sync.Mutex
	on      bool
	calls   int
	crash   Crash
	trouble bool
	rand    *rand.Rand
	dead    bool // the server died of the call
}

func (f *faulty) begin(c Crash, trouble bool, r *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on, f.crash, f.trouble, f.rand = true, c, trouble, r
}

// chance draws whether something goes wrong.
func (f *faulty) chance(p float64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble && f.rand.Float64() < p
}

// died reports whether the server died, and forgets it.
func (f *faulty) died() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dead
	f.dead = false
	return d
}

// Update implements [store.Store].
func (f *faulty) Update(ctx context.Context, fn func(store.Tx) error) error {
	f.mu.Lock()
	if !f.on {
		f.mu.Unlock()
		return f.Store.Update(ctx, fn)
	}
	f.calls++
	before, after := false, false
	if f.calls == f.crash.Call {
		before, after, f.dead = !f.crash.After, f.crash.After, f.crash.Die
	} else if f.trouble && f.rand.IntN(200) == 0 {
		before = f.rand.IntN(2) == 0
		after, f.dead = !before, f.rand.IntN(2) == 0
	}
	f.mu.Unlock()
	if before {
		return errCrash
	}
	err := f.Store.Update(ctx, fn)
	if err == nil && after {
		return errCrash
	}
	return err
}

// Close does nothing: the world closes its store itself.
func (f *faulty) Close() error { return nil }
