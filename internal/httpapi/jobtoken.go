package httpapi

import (
	"context"
	"fmt"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/time/rate"

	"sluice"
	"sluice/internal/engine"
)

// Bounds on what one caller may ask of the server at a time, so that a job
// that floods it with its own token slows nobody down.
const (
	jobRate    = 200 // requests a second of one job
	jobBurst   = 400
	jobAtOnce  = 16   // requests of one job that are being answered
	jobWaits   = 8    // of them, long polls and event streams
	userWaits  = 1000 // the same, of one user
	keptMeters = 4096 // jobs whose rate is remembered although they are silent
)

// waitingOperations keep their caller waiting: long polls and event streams.
var waitingOperations = map[string]bool{
	"getJobUpdates": true, "getJobUpdatesSSE": true, "jobEvents": true, "workspaceEvents": true,
	"runWaitResultByPath": true, "runWaitResultByHash": true, "runWaitResultByPathGet": true, "runWaitResultByHashGet": true,
}

// identifyJob returns the caller whose job a token was made for, if that still
// runs. A job that asks too often is refused before the store is asked.
func (a *API) identifyJob(ctx context.Context, token string) (caller, error) {
	execution, err := a.e.CheckJobToken(ctx, token)
	if err != nil {
		return caller{}, err
	}
	if !a.meters.allow(execution) {
		return caller{}, sluice.Errorf(sluice.CodeLimited, "this job asks more often than %d times a second; wait a second", jobRate)
	}
	job, err := a.e.JobCaller(ctx, token)
	if err != nil {
		return caller{}, err
	}
	id, err := a.e.Creator(ctx, job.Username, job.Email)
	if err != nil {
		return caller{}, err
	}
	c := callerFrom(id).boundTo(job.Workspace)
	c.Kind, c.Prefix, c.Job = byJob, fmt.Sprint(engine.JobTokenPrefix, job.Execution), job
	return c, nil
}

// meter bounds how many requests of one caller are being answered.
func (a *API) meter(hc huma.Context, next func(huma.Context)) {
	leave, err := a.meters.enter(callerOf(hc.Context()), waitingOperations[hc.Operation().OperationID])
	if err != nil {
		r, w := humago.Unwrap(hc)
		a.refuse(w, r, err)
		return
	}
	defer leave()
	next(hc)
}

// mayReport says whether a caller may speak for a job: users may, and jobs for
// themselves and for those that run for them.
func (a *API) mayReport(ctx context.Context, in *JobRef) error {
	c := callerOf(ctx)
	if c.Job == nil || c.Job.JobID == in.ID {
		return nil
	}
	j, err := a.row(ctx, in.Workspace, in.ID)
	if err == nil && j.ParentJob != c.Job.JobID && j.RootJob != c.Job.JobID {
		err = sluice.Errorf(sluice.CodeForbidden, "the token of a job may set the progress of that job and of its steps only")
	}
	return err
}

// meters measure what callers ask for.
type meters struct {
	mu    sync.Mutex
	jobs  map[int64]*jobMeter // by execution
	waits map[string]int      // long polls and event streams, by user
}

type jobMeter struct {
	rate           *rate.Limiter
	running, waits int
}

func newMeters() *meters { return &meters{jobs: map[int64]*jobMeter{}, waits: map[string]int{}} }

// of returns the meter of an execution. Those that would begin anew as they
// stand are forgotten when there are many.
func (m *meters) of(execution int64) *jobMeter {
	j := m.jobs[execution]
	if j == nil {
		if len(m.jobs) >= keptMeters {
			for id, old := range m.jobs {
				if old.running == 0 && old.rate.Tokens() >= jobBurst {
					delete(m.jobs, id)
				}
			}
		}
		j = &jobMeter{rate: rate.NewLimiter(jobRate, jobBurst)}
		m.jobs[execution] = j
	}
	return j
}

// allow counts a request of a job and reports whether it is not one too many.
func (m *meters) allow(execution int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(execution).rate.Allow()
}

// enter counts a request that is being answered until the function that it
// returns is called.
func (m *meters) enter(c caller, waits bool) (leave func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Job != nil {
		return m.enterJob(c.Job, waits)
	}
	if !waits {
		return func() {}, nil
	}
	if m.waits[c.Username] >= userWaits {
		return nil, sluice.Errorf(sluice.CodeLimited, "%d long polls and event streams of this user are open; close some", userWaits)
	}
	m.waits[c.Username]++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.waits[c.Username]--; m.waits[c.Username] == 0 {
			delete(m.waits, c.Username)
		}
	}, nil
}

func (m *meters) enterJob(job *engine.JobCaller, waits bool) (leave func(), err error) {
	j, wait := m.of(job.Execution), 0
	if waits {
		wait = 1
	}
	switch {
	case j.running >= jobAtOnce:
		return nil, sluice.Errorf(sluice.CodeLimited, "%d requests of this job are being answered; wait for one of them", jobAtOnce)
	case j.waits+wait > jobWaits:
		return nil, sluice.Errorf(sluice.CodeLimited, "%d long polls and event streams of this job are open; close some", jobWaits)
	}
	j.running, j.waits = j.running+1, j.waits+wait
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		j.running, j.waits = j.running-1, j.waits-wait
	}, nil
}
