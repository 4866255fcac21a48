package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/internal/worker/deps"
	"sluice/internal/worker/supervisor"
)

// Executor runs the jobs of one language. A worker calls it from many
// goroutines at once.
type Executor interface {
	// Run runs one job to its end: it returns when every process of the job is
	// gone. When ctx ends it ends the job; [StopOf] says why and how fast. It
	// calls [Task.Launched] when the job's program has been launched, and not
	// later than it knows.
	Run(ctx context.Context, t *Task) Outcome
}

// ExecutorFunc is an [Executor] that is one function, for jobs that need no
// process of their own.
type ExecutorFunc func(ctx context.Context, t *Task) Outcome

// Run calls f.
func (f ExecutorFunc) Run(ctx context.Context, t *Task) Outcome { return f(ctx, t) }

// Runtime is implemented by executors that need something installed.
type Runtime interface {
	// Available returns an error that says what is missing, or nil.
	Available() error
}

// Outcome is how a job ended.
type Outcome struct {
	Result  json.RawMessage // of a success: JSON of at most [sluice.MaxResultBytes]; nil: null
	Failure *Failure        // nil: success
	// Error is the error of a failure as the user's code raised it, an object that
	// becomes the result in place of the failure; nil: the failure says it all.
	Error     json.RawMessage
	MemPeakKB int64
	// HandBack says that the job was not launched, for a reason that is not the
	// job's: it goes back to its place in the line.
	HandBack error
}

// Failure is why a job failed; it becomes the result {"error": {"name", "message"}}.
type Failure struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// The names of failures that a worker gives.
const (
	FailureExecution   = "ExecutionErr"     // the program failed
	FailureTimeout     = "ExecutionTimeout" // it ran longer than it may
	FailureCanceled    = "Canceled"         // the server ordered its end
	FailureShutdown    = "WorkerShutdown"   // the worker could not wait for its end
	FailureLease       = "WorkerLost"       // the worker lost the server for too long, or the job's supervisor was killed
	FailureUnsupported = "UnsupportedLanguage"
	FailureArguments   = "InvalidArguments"
	FailureResult      = "InvalidResult"
	FailureWorker      = "WorkerErr" // a fault of ours
	FailureMemory      = "OutOfMemory"
	FailureDisk        = "DiskLimit" // its folder holds more than it may
)

func failed(name, format string, args ...any) Outcome {
	return Outcome{Failure: &Failure{Name: name, Message: fmt.Sprintf(format, args...)}}
}

// json returns the failure as a result of at most [sluice.MaxResultBytes].
func (f *Failure) json() json.RawMessage {
	const most = 64 << 10 // so that escapes cannot exceed the bound
	g := *f
	if len(g.Message) > most {
		g.Message = g.Message[:most]
	}
	p, err := json.Marshal(struct {
		Error Failure `json:"error"`
	}{g})
	if err != nil {
		panic(fmt.Sprintf("marshal two strings: %v", err))
	}
	return p
}

// Stop is why a running job is ended. It is the cause of its context's end.
type Stop struct {
	Name   string        // the failure that the job ends with
	Reason string        // for the user
	Grace  time.Duration // between TERM and KILL; 0: KILL at once
	forget bool          // nothing is to be reported
}

// Error returns the reason.
func (s *Stop) Error() string { return s.Reason }

// StopOf returns why ctx, that of an [Executor]'s Run, has ended.
func StopOf(ctx context.Context) *Stop {
	var s *Stop
	if errors.As(context.Cause(ctx), &s) {
		return s
	}
	return &Stop{Name: FailureShutdown, Reason: "the worker was shut down"}
}

// Task is one execution as its [Executor] sees it.
type Task struct {
	sluice.Assignment
	// Dir is the worker's own folder, in which the executor makes one for the job.
	Dir string
	// BaseURL is where the job reaches the server; "" if it cannot.
	BaseURL string

	w    *Worker
	h    *held
	held []*deps.Held // packages in use
}

// Launched says that the job's program has been launched.
func (t *Task) Launched() { t.w.launched(t.h) }

// Log appends to the job's log: any bytes, secrets masked. It waits while the
// source is slower than the job, until ctx ends.
func (t *Task) Log(ctx context.Context, p []byte) {
	p = []byte(t.h.secrets.Whole(string(p)))
	for len(p) > 0 {
		n := min(len(p), logChunk)
		for !t.h.log.write(t.w.life, p[:n], time.Now()) {
			select {
			case <-t.h.room:
			case <-ctx.Done():
				return
			}
		}
		p = p[n:]
	}
}

// hasSecrets reports whether an argument is secret.
func (t *Task) hasSecrets() bool {
	return slices.ContainsFunc(t.Secrets, func(s string) bool { return s != t.Token })
}

// LastLines returns the end of the job's log, at most 4 KiB.
func (t *Task) LastLines() string { return t.h.log.lastLines() }

// run launches a command under the worker's supervisor, with its output as the
// job's log, and waits until its whole tree is gone. It returns the last line of
// standard output (nil if that is longer than a result may be). An error means
// that nothing was launched.
func (t *Task) run(ctx context.Context, c supervisor.Command) (supervisor.Exit, []byte, error) {
	r, err := t.w.begin(c)
	if err != nil {
		return supervisor.Exit{}, nil, err
	}
	r.reader.attach(r.out, t.h)
	t.attend(ctx, r.p, r.p.Launched())
	r.reader.finish(r.out)
	line, ok := r.out.last.result()
	if !ok {
		line = nil
	} else if line == nil {
		line = []byte{}
	}
	return r.p.Exit(), line, nil
}

// begun is a program that was launched, and its output.
type begun struct {
	p      *supervisor.Process
	out    *output
	reader *outputReader
}

// begin launches a command whose output is nobody's yet. An error means that
// nothing was launched.
func (w *Worker) begin(c supervisor.Command) (begun, error) {
	reader, err := w.outputReader()
	if err != nil {
		return begun{}, err
	}
	out, ends, err := reader.open(w.life)
	if err != nil {
		return begun{}, err
	}
	c.Stdout, c.Stderr = ends[streamOut], ends[streamErr]
	p, err := w.launch(c, false)
	ends[streamOut].Close()
	ends[streamErr].Close()
	if err != nil {
		reader.finish(out)
		return begun{}, err
	}
	return begun{p, out, reader}, nil
}

// attend waits until a job's tree is gone, and ends it when the job is to end.
// launched is closed when the job's program was launched; nil: somebody else
// says so.
func (t *Task) attend(ctx context.Context, p *supervisor.Process, launched <-chan struct{}) {
	stop := ctx.Done()
	var hurry <-chan struct{}
	for gone := false; !gone; {
		select {
		case <-launched:
			t.Launched()
			launched = nil
		case <-stop:
			_ = p.Kill(StopOf(ctx).Grace) // if the supervisor is gone, so is the tree
			stop, hurry = nil, t.h.hurry
		case <-hurry:
			_ = p.Kill(0)
			hurry = nil
		case <-p.Gone():
			gone = true
		}
	}
	if p.Exit().Launched {
		t.Launched()
	}
}
