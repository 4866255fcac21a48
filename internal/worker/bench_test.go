package worker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
)

// BenchmarkBash compares the whole path of a bash job (take, folder, launch,
// log, result, report) with a bare fork and exec of bash in new namespaces of
// the same kinds (but without a /proc of its own, which favours the latter),
// with two at a time.
func BenchmarkBash(b *testing.B) {
	const code = "echo \"hello $((6*7))\"\n"
	b.Run("bare", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "main.sh")
		if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
			b.Fatal(err)
		}
		left := make(chan struct{}, b.N)
		for range b.N {
			left <- struct{}{}
		}
		close(left)
		var wg sync.WaitGroup
		b.ResetTimer()
		for range 2 {
			wg.Go(func() {
				for range left {
					c := exec.Command("/bin/bash", path)
					c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
					if err := c.Run(); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
	b.Run("whole", func(b *testing.B) {
		f := newFakeSource()
		f.keepLogs = false
		_, stop := startWorker(b, f, func(c *Config) { c.Places = 2 })
		f.push(bashJob(0, code, ""))
		f.result(b, 0)
		jobs := make([]sluice.Assignment, b.N)
		for i := range jobs {
			jobs[i] = bashJob(int64(i+1), code, "")
		}
		b.ResetTimer()
		f.push(jobs...)
		drainBench(f, b.N+1)
		b.StopTimer()
		if r := f.reports[int64(b.N)]; string(r.Result) != `"hello 42"` {
			b.Errorf("%s", r.Result)
		}
		stop()
	})
}

// BenchmarkNoop measures the worker's own loops: 600 places, jobs that do
// nothing, or wait for 5 ms, in the worker's process.
func BenchmarkNoop(b *testing.B) {
	for name, run := range map[string]ExecutorFunc{
		"nothing": func(_ context.Context, t *Task) Outcome {
			t.Launched()
			return Outcome{}
		},
		"5ms": func(ctx context.Context, t *Task) Outcome {
			t.Launched()
			wait(ctx, 5*time.Millisecond)
			return Outcome{}
		},
	} {
		b.Run(name, func(b *testing.B) {
			f := newFakeSource()
			_, stop := startWorker(b, f, both(inProcess(run), func(c *Config) { c.Places = 600 }))
			jobs := make([]sluice.Assignment, b.N)
			for i := range jobs {
				jobs[i] = goJob(int64(i))
			}
			b.ReportAllocs()
			b.ResetTimer()
			f.push(jobs...)
			drainBench(f, b.N)
			b.StopTimer()
			stop()
		})
	}
}

func drainBench(f *fakeSource, n int) {
	for {
		f.mu.Lock()
		have, change := len(f.reports), f.change
		f.mu.Unlock()
		if have >= n {
			return
		}
		<-change
	}
}

// BenchmarkLines measures what the order of output costs: one write per line.
func BenchmarkLines(b *testing.B) {
	f := newFakeSource()
	f.keepLogs = false
	_, stop := startWorker(b, f, nil)
	f.push(bashJob(1, "n=$1; for ((i=0; i<n; i++)); do echo line; done", fmt.Sprintf(`{"n":%d}`, b.N)))
	b.ResetTimer()
	f.result(b, 1)
	b.StopTimer()
	stop()
}
