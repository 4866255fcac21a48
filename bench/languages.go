package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"sluice/internal/engine"
	"sluice/internal/worker"
)

// interpreted is a language whose programs are started ahead of their jobs.
type interpreted struct {
	language string
	noop     string   // a script that does nothing
	clock    string   // a script whose result is the wall clock, in ns, at its first instruction
	bare     []string // the interpreter alone, doing nothing
	share    float64  // of what the interpreter alone reaches
}

var interpreters = []interpreted{
	{
		language: "python3", noop: "def main():\n    pass", bare: []string{"/usr/bin/python3", "-c", "pass"}, share: 1.5,
		clock: "import time\ndef main():\n    return time.time_ns()",
	},
	{
		language: "bun", noop: "export function main() {}", bare: []string{"bun", "-e", "0"}, share: 0.9,
		clock: "export function main() { return Math.round((performance.timeOrigin + performance.now()) * 1e6); }",
	},
}

// starts measures how long after its push a job's first instruction runs, on an
// idle server whose programs are warm, against a job that needs no process; and
// how many jobs a second get through, against the interpreter alone.
func starts() []value {
	var out []value
	noop := quantile(startsOf(interpreted{language: "noop"}), 0.5)
	for _, l := range interpreters {
		warm := startsOf(l)
		whole := whole(l, false, 600)
		alone := inPairs(400, func() { check(exec.Command(l.bare[0], l.bare[1:]...).Run()) })
		out = append(out,
			value{Name: l.language + ": start over the no-op path, p50", Got: ms(quantile(warm, 0.5) - noop), Bound: 5, AtMost: true, Unit: "ms"},
			value{Name: l.language + ": start over the no-op path, p99", Got: ms(quantile(warm, 0.99) - noop), Unit: "ms"},
			value{Name: l.language + ": whole path, 2 places", Got: whole, Unit: "jobs/s"},
			value{Name: l.language + ": interpreter alone, 2 at a time", Got: alone, Unit: "starts/s"},
			value{Name: l.language + ": whole path ÷ interpreter alone", Got: whole / alone, Bound: l.share},
		)
	}
	return append(out,
		value{Name: "python3: dedicated, 2 processes", Got: whole(interpreters[0], true, 10_000), Bound: 2000, Unit: "jobs/s"},
		value{Name: "bun: dedicated, 2 processes", Got: whole(interpreters[1], true, 10_000), Unit: "jobs/s"},
	)
}

// startsOf returns, for some jobs on an idle server, the time from the push to
// the first instruction.
func startsOf(l interpreted) []time.Duration {
	const jobs = 60
	w := openWorld("")
	defer w.remove()
	began := make(chan time.Time, 1)
	w.script("f/b/x", settings{"language": l.language, "content": l.clock, "lock": ""})
	c := worker.Config{Name: "w", Places: 2, Tags: []string{l.language}}
	if l.clock == "" {
		c.Executors = map[string]worker.Executor{l.language: worker.ExecutorFunc(func(_ context.Context, t *worker.Task) worker.Outcome {
			began <- time.Now()
			t.Launched()
			return worker.Outcome{}
		})}
	}
	defer w.workWith(c)()
	var took []time.Duration
	for i := range jobs + 10 {
		pushed := time.Now()
		ids := check1(w.e.Submit(context.Background(), []engine.NewJob{{Workspace: "main", Path: "f/b/x"}}))
		var at time.Time
		if l.clock == "" {
			at = <-began
		} else {
			at = time.Unix(0, w.resultOf(ids[0]))
		}
		if i >= 10 {
			took = append(took, at.Sub(pushed))
		}
		<-time.After(60 * time.Millisecond) // until another program is warm
	}
	slices.Sort(took)
	return took
}

// resultOf waits for a job's result, a number.
func (w *world) resultOf(id string) int64 {
	v := check1(w.e.Await(context.Background(), "main", id))
	var n float64
	if err := json.Unmarshal(v.Result, &n); err != nil {
		panic(fmt.Sprintf("the result is %s", v.Result))
	}
	return int64(n)
}

// whole returns how many no-op jobs a second get through two places.
func whole(l interpreted, dedicated bool, jobs int) float64 {
	w := openWorld("")
	defer w.remove()
	w.script("f/b/x", settings{"language": l.language, "content": l.noop, "lock": "", "dedicated_worker": dedicated})
	s := newSpans(jobs)
	executors := worker.Languages()
	stop := w.workWith(worker.Config{
		Name: "w", Places: 2, Tags: []string{l.language},
		Executors: map[string]worker.Executor{l.language: counted{executors[l.language], s}},
	})
	defer stop()
	began := time.Now()
	w.push("f/b/x", jobs, nil)
	<-s.done
	return float64(jobs) / time.Since(began).Seconds()
}
