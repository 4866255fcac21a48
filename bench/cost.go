package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sluice"
	"sluice/internal/worker"
)

// perStart is what one cycle of report and take costs.
type perStart struct{ statements, rows, cpu float64 }

// cycles reports and takes one job after another in a group in which n slots
// are held and `waiting` jobs wait, and returns the mean cost of a start.
func cycles(n, waiting int) perStart {
	const rounds = 400
	w := openWorld("")
	defer w.remove()
	ctx := context.Background()
	w.script("f/b/x", limited(n, 0, "end", ""))
	w.push("f/b/x", n, nil)
	take := int64(0)
	next := func(places int) []sluice.Assignment {
		take++
		return check1(w.e.TakeNow(ctx, sluice.TakeRequest{Worker: "w", TakeNo: take, Tags: []string{"noop"}, Places: places}))
	}
	var held []sluice.Assignment
	for len(held) < n {
		held = append(held, next(min(n-len(held), 5000))...)
	}
	w.push("f/b/x", waiting, nil)
	before, cpu := w.store.Stats(), cpuTime()
	for i := range rounds {
		for _, err := range w.e.Report(ctx, []sluice.Report{{Execution: held[i%n].Execution, Worker: "w", Success: true, Result: json.RawMessage("null")}}) {
			check(err)
		}
		got := next(1)
		if len(got) != 1 {
			panic(fmt.Sprintf("%d jobs were handed out for one slot", len(got)))
		}
		held[i%n] = got[0]
	}
	after := w.store.Stats()
	return perStart{
		statements: float64(after.Statements-before.Statements) / rounds,
		rows:       float64(after.RowsRead-before.RowsRead) / rounds,
		cpu:        (cpuTime() - cpu).Seconds() / rounds,
	}
}

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var r syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func costWaiting() []value {
	small, large := cycles(1, 1_000), cycles(1, 1_000_000)
	return []value{
		{Name: "one start behind 1,000,000 ÷ 1,000 waiting: rows read", Got: large.rows / small.rows, Bound: 1.1, AtMost: true},
		{Name: "one start behind 1,000,000 ÷ 1,000 waiting: CPU", Got: large.cpu / small.cpu, Bound: 1.5, AtMost: true, Note: fmt.Sprintf("%.0f µs, commit included", large.cpu*1e6)},
	}
}

func costOfN() []value {
	small, large := cycles(10, 1_000), cycles(10_000, 1_000)
	return []value{
		{Name: "one start with N = 10,000 ÷ N = 10: rows read", Got: large.rows / small.rows, Bound: 1.1, AtMost: true},
		{Name: "one start with N = 10,000 ÷ N = 10: CPU", Got: large.cpu / small.cpu, Bound: 1.5, AtMost: true, Note: fmt.Sprintf("%.0f statements a start", large.statements)},
	}
}

// beats passes a worker's calls on and counts the statements of heartbeats.
type beats struct {
	worker.Source
	w          *world
	statements atomic.Int64
	count      atomic.Int64
}

func (b *beats) Heartbeat(ctx context.Context, hb sluice.Heartbeat) ([]sluice.Order, error) {
	before := b.w.store.Stats().Statements
	orders, err := b.Source.Heartbeat(ctx, hb)
	time.Sleep(200 * time.Millisecond) // the checkpoint that its commit asks for
	b.statements.Add(b.w.store.Stats().Statements - before)
	b.count.Add(1)
	return orders, err
}

// idle counts what 200 free places cost while the only group is full.
func idle() []value {
	w := openWorld("")
	defer w.remove()
	w.script("f/b/x", limited(1, 0, "end", ""))
	w.push("f/b/x", 1000, nil)
	begun := make(chan struct{}, 1)
	source := &beats{Source: w.e, w: w}
	drain := w.workFrom(source, worker.Config{
		Name: "w", Places: 201, Tags: []string{"noop"},
		Executors: map[string]worker.Executor{"noop": worker.ExecutorFunc(func(ctx context.Context, t *worker.Task) worker.Outcome {
			t.Launched()
			begun <- struct{}{}
			<-ctx.Done()
			return worker.Outcome{Result: json.RawMessage("null")}
		})},
	})
	<-begun
	time.Sleep(2 * time.Second) // until the confirmation is stored
	before, beat := w.store.Stats().Statements, source.statements.Load()
	time.Sleep(time.Minute)
	got := w.store.Stats().Statements - before - (source.statements.Load() - beat)
	w.stop()
	drain()
	return []value{{Name: "200 free places before one full group, 60 s: statements", Got: float64(got), AtMost: true, Note: fmt.Sprintf("beyond those of %d heartbeats", source.count.Load())}}
}

// manyGroups fills 100,000 groups in one process, and drains them in another.
func manyGroups() []value {
	dir := check1(os.MkdirTemp(scratch, "groups-"))
	defer func() { check(os.RemoveAll(dir)) }()
	child(dir, "fill")
	out := child(dir, "drain")
	var first, total, rss float64
	_, err := fmt.Sscan(out, &first, &total, &rss)
	check(err)
	return []value{
		{Name: "100,000 groups × 10 waiting: restart → first start", Got: first, Bound: 3, AtMost: true, Unit: "s"},
		{Name: "100,000 groups × 10 waiting: peak RSS while they drain", Got: rss, Bound: 300, AtMost: true, Unit: "MB"},
		{Name: "100,000 groups × 10 waiting: drained at", Got: 1e6 / total, Unit: "jobs/s"},
	}
}

// child runs a part of a row in a process of its own and returns what it printed.
func child(dir, part string) string {
	c := exec.Command(check1(os.Executable()))
	c.Env = append(os.Environ(), "BENCH_CHILD="+part, "BENCH_DIR="+dir)
	c.Stderr = os.Stderr
	return string(check1(c.Output()))
}

// runChild is the main function of a child.
func runChild(part, dir string) {
	began := time.Now()
	w := openWorld(dir)
	switch part {
	case "fill":
		w.script("f/b/x", limited(1, 0, "end", "k-$args[k]"))
		w.push("f/b/x", 1_000_000, func(i int) int { return i % 100_000 })
	case "drain":
		s := newSpans(1_000_000)
		first := make(chan time.Duration, 1)
		drain := w.work("w", 256, worker.ExecutorFunc(func(ctx context.Context, t *worker.Task) worker.Outcome {
			select {
			case first <- time.Since(began):
			default:
			}
			t.Launched()
			s.count()
			return worker.Outcome{Result: json.RawMessage("null")}
		}))
		start := <-first
		<-s.done
		fmt.Println(start.Seconds(), time.Since(began).Seconds(), peakRSS())
		drain()
	}
	w.close()
}

// peakRSS returns the most memory that this process had resident, in MB.
func peakRSS() float64 {
	f := check1(os.Open("/proc/self/status"))
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			var kb float64
			_, err := fmt.Sscan(rest, &kb)
			check(err)
			return kb / 1024
		}
	}
	return 0
}
