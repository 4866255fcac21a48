package history

import (
	"fmt"
	"time"
)

// newest is what is remembered of a job's executions while they pass by.
type newest struct {
	attempt  int
	started  time.Time
	released time.Time
	end      string
	prepared bool // its arguments were made by this attempt or one before
}

// attempts judges the executions of jobs, in groups or not.
type attempts struct {
	f    *findings
	jobs map[int64]newest
	// late says of a row whether attempts before it may have been deleted.
	late func(*Row) bool
}

// CheckAttempts judges that the attempts of each job are numbered from 1
// without gaps and never overlap, and that each of the jobs that ended has one
// end. rows are all executions, in the order in which they were taken.
func CheckAttempts(rows []Row, jobs []Job) []Violation {
	a := newAttempts(func(*Row) bool { return false })
	for i := range rows {
		a.row(&rows[i])
	}
	for i := range jobs {
		a.job(&jobs[i])
	}
	return a.f.all()
}

func newAttempts(late func(*Row) bool) *attempts {
	return &attempts{f: newFindings(""), jobs: map[int64]newest{}, late: late}
}

// row takes the next execution.
func (a *attempts) row(r *Row) {
	last, known := a.jobs[r.JobSeq]
	if r.End == endPrepared && (r.InGroup || last.prepared) {
		a.f.add(KindAttempt, []fmt.Stringer{r}, "job %s: attempt %d made its arguments in a group, or a second time", r.JobID, r.Attempt)
	}
	switch {
	case !known && r.Attempt != 1 && !a.late(r), known && r.Attempt != last.attempt+1:
		a.f.add(KindAttempt, []fmt.Stringer{r}, "job %s: attempt %d follows attempt %d", r.JobID, r.Attempt, last.attempt)
	case !known:
	case last.end == endHeld:
		a.f.add(KindAttempt, []fmt.Stringer{r}, "job %s: attempt %d began while attempt %d, started %s, was held", r.JobID, r.Attempt, last.attempt, stamp(last.started))
	case last.end == endReported:
		a.f.add(KindAttempt, []fmt.Stringer{r}, "job %s: attempt %d began after attempt %d had reported its end", r.JobID, r.Attempt, last.attempt)
	case r.Started.Before(last.released):
		a.f.add(KindAttempt, []fmt.Stringer{r}, "job %s: attempt %d began at %s, attempt %d was gone at %s", r.JobID, r.Attempt, stamp(r.Started), last.attempt, stamp(last.released))
	}
	a.jobs[r.JobSeq] = newest{attempt: r.Attempt, started: r.Started, released: r.Released, end: r.End, prepared: last.prepared || r.End == endPrepared}
}

// job judges a job by its newest execution, after all rows.
func (a *attempts) job(j *Job) {
	last, ran := a.jobs[j.Seq]
	tell := func(format string, args ...any) {
		a.f.add(KindAttempt, []fmt.Stringer{j}, "job %s %s", j.ID, fmt.Sprintf(format, args...))
	}
	completed := j.State == stateCompleted
	if completed == j.Completed.IsZero() || completed == (j.Outcome == "") {
		tell("is %s, with the outcome %q and completed %s", j.State, j.Outcome, stamp(j.Completed))
	}
	if !ran {
		if !j.Unheld && (j.State == stateRunning || completed && j.Outcome == outcomeSuccess && j.Attempt == 0) {
			tell("is %s, with the outcome %q, and has no execution", j.State, j.Outcome)
		}
		return // its executions may have been deleted
	}
	if j.Attempt != last.attempt {
		tell("counts %d attempts, the newest execution is attempt %d", j.Attempt, last.attempt)
		return
	}
	switch j.State {
	case stateRunning:
		if last.end != endHeld {
			tell("is running, and no execution of it is held")
		}
	case stateCompleted:
		switch {
		case last.end == endHeld && j.Outcome != outcomeCanceled:
			tell("completed, and attempt %d is held", last.attempt)
		case last.end != endReported && j.Outcome == outcomeSuccess:
			tell("succeeded, and attempt %d did not report an end (%q)", last.attempt, last.end)
		case j.Completed.Before(last.started):
			tell("completed before attempt %d started at %s", last.attempt, stamp(last.started))
		}
	default:
		if last.end == endHeld || last.end == endReported {
			tell("is %s, and attempt %d is held or had reported its end (%q)", j.State, last.attempt, last.end)
		}
	}
}
