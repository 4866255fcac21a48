package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/worker"
	"sluice/internal/worker/supervisor"
)

// bash runs jobs of a bash script through the whole path, and the same script
// by fork and exec alone, both two at a time.
func bash() []value {
	isolation := check1(supervisor.Probe(supervisor.LevelBestEffort, supervisor.Config{}))
	bare := bareBash()
	var out []value
	for _, c := range []struct {
		name string
		iso  supervisor.Isolation
	}{{"same isolation", isolation}, {"no isolation", supervisor.Isolation{}}} {
		floor, whole := launchedBash(c.iso), wholePath(c.iso)
		out = append(out,
			value{Name: "bash, 2 places, whole path, " + c.name, Got: whole, Unit: "jobs/s"},
			value{Name: "bash, 2 at a time, launched alone, " + c.name, Got: floor, Unit: "jobs/s"},
			value{Name: "bash whole path ÷ fork+exec in the same isolation", Got: whole / floor, Bound: 0.6, Note: c.name},
			value{Name: "bash whole path ÷ plain fork+exec of bash", Got: whole / bare, Note: c.name},
		)
	}
	return out
}

const (
	bashJobs   = 600
	bashScript = "true"
)

// inPairs calls f so often, two at a time, and returns calls per second.
func inPairs(n int, f func()) float64 {
	began := time.Now()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range n / 2 {
				f()
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(began).Seconds()
}

// bareBash is fork and exec of bash by the standard library.
func bareBash() float64 {
	return inPairs(bashJobs, func() { check(exec.Command("/bin/bash", "-c", bashScript).Run()) })
}

// launchedBash is fork and exec of bash in an isolation, with nothing around it.
func launchedBash(iso supervisor.Isolation) float64 {
	jobs := check1(os.MkdirTemp(scratch, "launched-"))
	defer os.RemoveAll(jobs)
	s := check1(supervisor.Start(supervisor.Config{Isolation: iso, Jobs: jobs, Limits: worker.DefaultLimits}))
	defer s.Close()
	check(s.Extend(supervisor.BootNow() + time.Hour))
	null := check1(os.OpenFile(os.DevNull, os.O_RDWR, 0))
	defer null.Close()
	var next atomic.Int64
	return inPairs(bashJobs, func() {
		dir := filepath.Join(jobs, strconv.FormatInt(next.Add(1), 10))
		check(os.Mkdir(dir, 0o700))
		p := check1(s.Launch(supervisor.Command{
			Path: "/bin/bash", Args: []string{"bash", "-c", bashScript}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: dir, Stdout: null, Stderr: null,
		}))
		<-p.Gone()
		if x := p.Exit(); x.Err != nil || x.Status.ExitStatus() != 0 {
			panic(fmt.Sprintf("launched bash: %+v", x))
		}
		check(os.Remove(dir))
	})
}

// wholePath is the same script as jobs: pushed, taken, launched, logged, reported.
func wholePath(iso supervisor.Isolation) float64 {
	w := openWorld("")
	defer w.remove()
	w.script("f/b/x", settings{"language": "bash", "content": bashScript})
	w.push("f/b/x", bashJobs, nil)
	s := newSpans(bashJobs)
	began := time.Now()
	defer w.workWith(worker.Config{
		Name: "w", Places: 2, Tags: []string{"bash"}, Isolation: &iso,
		Executors: map[string]worker.Executor{"bash": counted{worker.NewBash(), s}},
	})()
	<-s.done
	return bashJobs / time.Since(began).Seconds()
}

// counted counts the ends of another executor's jobs.
type counted struct {
	worker.Executor
	s *spans
}

func (c counted) Run(ctx context.Context, t *worker.Task) worker.Outcome {
	defer c.s.count()
	o := c.Executor.Run(ctx, t)
	if o.Failure != nil {
		panic(o.Failure.Message)
	}
	return o
}
