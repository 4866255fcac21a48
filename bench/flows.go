package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/engine"
	"sluice/internal/worker"
)

// code is an inline step. Its language is bash wherever it does nothing: an
// executor of the bench's own stands in for it.
func code(id, language, text string, inputs settings) settings {
	transforms := settings{}
	for name, v := range inputs {
		transforms[name] = settings{"type": "static", "value": v}
	}
	return settings{"id": id, "value": settings{
		"type": "rawscript", "language": language, "content": text, "lock": "", "input_transforms": transforms,
	}}
}

// loop is a loop over the numbers below n.
func loop(n int, parallel bool, body settings) settings {
	items := make([]int, n)
	for i := range items {
		items[i] = i
	}
	return settings{"id": "loop", "value": settings{
		"type": "forloopflow", "iterator": settings{"type": "static", "value": items}, "skip_failures": false,
		"parallel": parallel, "modules": []settings{body},
	}}
}

func (w *world) flow(path string, modules ...settings) {
	body := check1(json.Marshal(settings{"path": path, "summary": "", "value": settings{"modules": modules}}))
	check1(w.e.SaveFlow(context.Background(), "main", engine.NewFlow{Body: body}))
}

// runFlow runs a flow to its end and returns how long that took.
func (w *world) runFlow(path string) time.Duration {
	began := time.Now()
	ids := check1(w.e.Submit(context.Background(), []engine.NewJob{{Workspace: "main", FlowPath: path}}))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for {
		v := check1(w.e.Await(ctx, "main", ids[0]))
		check(ctx.Err())
		if v.Outcome != "" {
			if v.Outcome != "success" {
				panic(fmt.Sprintf("the flow ended as %s: %s", v.Outcome, v.Result))
			}
			return time.Since(began)
		}
	}
}

const flowSteps = 40

// flowOfSteps runs a flow of 40 steps that do nothing, one flow at a time, and
// the same as a workflow of the Temporal development server, if that is there.
func flowOfSteps(open maker, most float64) []value {
	const flows = 20
	w := open()
	defer w.remove()
	var modules []settings
	for i := range flowSteps {
		modules = append(modules, code("s"+strconv.Itoa(i), "bash", "true", nil))
	}
	w.flow("f/b/steps", modules...)
	s := newSpans(flows * flowSteps)
	defer w.workWith(worker.Config{
		Name: "w", Places: 4, Tags: []string{"bash", "flow"}, Executors: map[string]worker.Executor{"bash": lasting(0, s)},
	})()
	var took []time.Duration
	for range flows {
		took = append(took, w.runFlow("f/b/steps"))
	}
	all := s.wait(time.Minute)
	var gaps []time.Duration
	for i := range all {
		if i%flowSteps > 0 { // not from one flow to the next
			gaps = append(gaps, all[i].start.Sub(all[i-1].end))
		}
	}
	slices.Sort(gaps)
	slices.Sort(took)
	c50, c99 := w.commits()
	whole := quantile(took, 0.5)
	out := []value{
		{Name: "flow of 40 no-op steps: end of a step → next begins, p50", Got: ms(quantile(gaps, 0.5)), Bound: most + most*ms(c50), AtMost: true, Unit: "ms"},
		{Name: "flow of 40 no-op steps: end of a step → next begins, p99", Got: ms(quantile(gaps, 0.99)), Unit: "ms"},
		{Name: "flow of 40 no-op steps: whole, p50", Got: ms(whole), Unit: "ms"},
		{Name: "flow of 40 no-op steps: commit latency C50", Got: ms(c50), Unit: "ms"},
		{Name: "flow of 40 no-op steps: commit latency C99", Got: ms(c99), Unit: "ms"},
	}
	if w.url != "" { // the peer is on SQLite
		return out
	}
	if peer := temporal(); peer > 0 {
		out = append(out,
			value{Name: "Temporal, 40 no-op activities: whole, p50", Got: ms(peer), Unit: "ms"},
			value{Name: "flow of 40 no-op steps ÷ Temporal", Got: whole.Seconds() / peer.Seconds(), Bound: 1, AtMost: true},
		)
	}
	return out
}

// temporal runs the peer's program, which is a module of its own since its
// dependencies are many, and returns the median of a workflow with 40
// activities; 0: it was not built, which takes many minutes (`cd temporal && go
// build . && go build -o server github.com/temporalio/cli/cmd/temporal`).
func temporal() time.Duration {
	program := check1(filepath.Abs("temporal/temporal"))
	if _, err := os.Stat(program); err != nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, strconv.Itoa(flowSteps), filepath.Join(scratch, "temporal.db"))
	cmd.Stderr = os.Stderr
	return check1(time.ParseDuration(strings.TrimSpace(string(check1(cmd.Output())))))
}

// parallelLoop compares a loop of 1,000 parallel steps that do nothing with as
// many jobs that belong to nobody.
func parallelLoop() []value {
	const n = 1000
	run := func(begin func(w *world)) time.Duration {
		w := openWorld("")
		defer w.remove()
		w.script("f/b/x", settings{"language": "bash"})
		w.flow("f/b/loop", loop(n, true, code("a", "bash", "true", nil)))
		s := newSpans(n)
		defer w.workWith(worker.Config{
			Name: "w", Places: 4, Tags: []string{"bash", "flow"}, Executors: map[string]worker.Executor{"bash": lasting(0, s)},
		})()
		began := time.Now()
		begin(w)
		s.wait(time.Minute)
		return time.Since(began)
	}
	loose := run(func(w *world) { w.push("f/b/x", n, nil) })
	whole := run(func(w *world) { w.runFlow("f/b/loop") })
	return []value{
		{Name: "1,000 loose no-op jobs, 4 places", Got: ms(loose), Unit: "ms"},
		{Name: "loop of 1,000 parallel no-op steps, 4 places", Got: ms(whole), Unit: "ms"},
		{Name: "loop ÷ loose jobs", Got: whole.Seconds() / loose.Seconds(), Bound: 2, AtMost: true},
	}
}

// fibs are Windmill's published workloads.
var fibs = []struct {
	language, text string
}{
	{"python3", "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\ndef main(n: int):\n    return fib(n)\n"},
	{"bun", "function fib(n: number): number { return n < 2 ? n : fib(n - 1) + fib(n - 2) }\nexport function main(n: number) { return fib(n) }\n"},
	{"go", "package inner\n\nfunc fib(n int) int {\n\tif n < 2 {\n\t\treturn n\n\t}\n\treturn fib(n-1) + fib(n-2)\n}\n\nfunc main(n int) (int, error) { return fib(n), nil }\n"},
}

// fibonacci runs a loop of 40 × fib(10) and one of 10 × fib(33), one iteration
// after the other, on warm workers.
func fibonacci() []value {
	var out []value
	for _, l := range fibs {
		w := openWorld("")
		stop := w.workWith(worker.Config{
			Name: "w", Places: 1, Tags: []string{l.language, "flow"}, Executors: map[string]worker.Executor{l.language: worker.Languages()[l.language]},
		})
		for _, c := range []struct{ times, n int }{{40, 10}, {10, 33}} {
			path := fmt.Sprintf("f/b/fib%d", c.n)
			w.flow(path, loop(c.times, false, code("a", l.language, l.text, settings{"n": c.n})))
			if c.times == 40 {
				w.runFlow(path) // once, so that what is compiled or started ahead is there
			}
			out = append(out, value{Name: fmt.Sprintf("%s: flow of %d × fib(%d), one after the other", l.language, c.times, c.n), Got: w.runFlow(path).Seconds(), Unit: "s"})
		}
		stop()
		w.remove()
	}
	return out
}
