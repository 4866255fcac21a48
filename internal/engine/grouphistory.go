package engine

import (
	"context"
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
)

// MostExecutions bounds what GroupExecutions returns of a group's history, and
// of what is held in it.
const MostExecutions = 2000

// jobsAtOnce is how many jobs are asked for by their ids in one statement.
const jobsAtOnce = 500

// GroupExecution is an execution of a group with the job that it is of; nil if
// that was deleted. A slot is held until the execution is released, whatever
// became of the job.
type GroupExecution struct {
	*sluice.Execution
	Job *sluice.Job
}

// GroupExecutions returns the executions of a group that hold a slot, and those
// that were released after an instant, in the order in which they were taken:
// of each kind at most so many, the newest of those that were released. cut
// says that there are more. What was struck out never counted and is left out.
func (e *Engine) GroupExecutions(ctx context.Context, key string, after time.Time, most int) (list []GroupExecution, cut bool, err error) {
	most = min(max(most, 1), MostExecutions)
	err = e.store.View(ctx, func(r store.Reader) error {
		g, err := r.Group(key)
		if err != nil {
			return notFound(err, "no job ever used the concurrency key %q", key)
		}
		held, err := r.HeldExecutions(g.ID, most+1)
		if err != nil {
			return err
		}
		ended, err := r.Recent(g.ID, after, most+1)
		if err != nil {
			return err
		}
		cut = len(held) > most || len(ended) > most
		ended = slices.DeleteFunc(ended[:min(len(ended), most)], func(x *sluice.Execution) bool { return x.End == sluice.EndStruck })
		list, err = withJobs(r, append(held[:min(len(held), most)], ended...))
		return err
	})
	slices.SortFunc(list, func(a, b GroupExecution) int { return int(min(max(a.OrderNo-b.OrderNo, -1), 1)) })
	return list, cut, err
}

// withJobs finds the jobs of executions.
func withJobs(r store.Reader, xs []*sluice.Execution) ([]GroupExecution, error) {
	jobs := map[string]*sluice.Job{}
	for some := range slices.Chunk(xs, jobsAtOnce) {
		f := store.JobFilter{Limit: jobsAtOnce}
		for _, x := range some {
			f.IDs = append(f.IDs, x.JobID)
		}
		found, err := r.Jobs(f)
		if err != nil {
			return nil, err
		}
		for _, j := range found {
			jobs[j.ID] = j
		}
	}
	out := make([]GroupExecution, len(xs))
	for i, x := range xs {
		out[i] = GroupExecution{Execution: x, Job: jobs[x.JobID]}
	}
	return out, nil
}
