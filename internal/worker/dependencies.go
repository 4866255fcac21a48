package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"sluice"
	"sluice/internal/worker/deps"
	"sluice/internal/worker/supervisor"
)

// FailureDependencies is the name of the failure of a job whose packages could
// not be found or installed.
const FailureDependencies = "DependenciesErr"

// openDependencies opens the cache of packages.
func (w *Worker) openDependencies() (*deps.Cache, error) {
	cfg := w.cfg.Dependencies
	cfg.Dir, cfg.WorkDir, cfg.Run, cfg.Walled = filepath.Join(w.cache, "packages"), w.dir, w.runTool, w.iso.Walls
	if w.iso.Walls {
		cfg.Inside = supervisor.JobDir
	}
	return deps.Open(cfg)
}

// dependencies returns the folder with the packages that the job's code imports,
// laid out as [deps.Held] says; "" if it needs none. It installs them if they are
// not there, and says so in the job's log. They stay until the executor returns.
// An executor ends the job with [noDependencies] of the error.
func (t *Task) dependencies(ctx context.Context) (string, error) {
	var lock string
	if t.Lock != nil {
		lock = *t.Lock
	}
	if lock == "" {
		var took time.Duration
		var err error
		if lock, took, err = t.w.deps.LockOf(ctx, t.Language, t.Content); err != nil {
			return "", err
		}
		if took > 0 {
			t.say(ctx, "Found the packages that the script needs in %.1f s.", took.Seconds())
		}
	}
	h, err := t.install(ctx, lock)
	if err != nil {
		return "", err
	}
	return h.Dir, nil
}

// install holds the packages of a lock until the task ends.
func (t *Task) install(ctx context.Context, lock string) (*deps.Held, error) {
	h, err := t.w.deps.Hold(ctx, t.Language, lock)
	if err != nil {
		return nil, err
	}
	t.held = append(t.held, h)
	switch {
	case h.Installed == 1:
		t.say(ctx, "Installed 1 package in %.1f s.", h.Took.Seconds())
	case h.Installed > 1:
		t.say(ctx, "Installed %d packages in %.1f s.", h.Installed, h.Took.Seconds())
	}
	return h, nil
}

// say writes a line of ours into the job's log.
func (t *Task) say(ctx context.Context, format string, args ...any) {
	t.Log(ctx, fmt.Appendf(nil, format+"\n", args...))
}

// release gives back what the task held.
func (t *Task) release() {
	for _, h := range t.held {
		h.Release()
	}
	t.held = nil
}

// noDependencies is the outcome of a job whose packages could not be had.
func (t *Task) noDependencies(err error) Outcome {
	var known *sluice.Error
	if !errors.As(err, &known) { // such as the end of the job's context
		return failed(FailureDependencies, "The packages that the script needs were not installed: %v.", err)
	}
	if known.Err != nil {
		t.w.log.Error("packages could not be installed", "job", t.JobID, "err", known.Err)
	}
	return failed(FailureDependencies, "%s", known.Message)
}

// lockJob runs a job of kind dependencies: it finds the lock of a script, and
// installs it so that the script's first run need not. The result is
// {"lock": "…"}; "" if the script needs no packages.
func lockJob(ctx context.Context, t *Task) Outcome {
	t.Launched()
	lock, err := t.w.deps.Resolve(ctx, t.Language, t.Content)
	if err == nil {
		_, err = t.install(ctx, lock)
	}
	if err != nil {
		o := t.noDependencies(err)
		t.say(ctx, "%s", o.Failure.Message)
		return o
	}
	result, err := json.Marshal(struct {
		Lock string `json:"lock"`
	}{lock})
	if err != nil {
		return failed(FailureWorker, "The lock could not be written down: %v.", err)
	}
	return Outcome{Result: result}
}

// runTool runs a tool of the cache of packages as a job runs: under the
// supervisor, behind its walls. It is a [deps.Run].
func (w *Worker) runTool(ctx context.Context, t deps.Tool) (string, error) {
	c := supervisor.Command{Path: t.Path, Args: t.Args, Env: t.Env, Dir: t.Dir, Read: t.Read}
	tail, exit, err := w.tool(ctx, c, true)
	text := string(tail)
	switch {
	case err != nil:
		return "", err
	case ctx.Err() != nil:
		return text, context.Cause(ctx)
	case exit.Err != nil:
		return text, fmt.Errorf("start %s: %w", t.Path, exit.Err)
	case exit.Cause != supervisor.CauseNone:
		return text, fmt.Errorf("%s was ended by its supervisor (%d)", t.Path, exit.Cause)
	case exit.OutOfMemory:
		return text, fmt.Errorf("%w: it used more memory than a job may", deps.ErrTool)
	case exit.Status.Signaled():
		return text, fmt.Errorf("%w: killed by signal %d", deps.ErrTool, exit.Status.Signal())
	case exit.Status.ExitStatus() != 0:
		return text, fmt.Errorf("%w: exit status %d", deps.ErrTool, exit.Status.ExitStatus())
	}
	return text, nil
}
