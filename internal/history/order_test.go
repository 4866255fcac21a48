package history

import (
	"testing"
	"time"
)

// story is a job with its executions.
type story struct {
	Job
	rows []Row
}

func waits(seq int64, created, due time.Duration, priority int) story {
	return story{Job: Job{
		Seq: seq, ID: string(rune('a' + seq - 1)), Tag: "bash", Priority: priority, Limit: &Limit{N: 9},
		Created: at(created), Due: at(due), State: stateQueued,
	}}
}

// runs adds an execution of the job.
func (j story) runs(order int64, from, to time.Duration, end string) story {
	r := ran(order, from, to, Limit{N: 9})
	r.JobSeq, r.JobID, r.Tag, r.End = j.Seq, j.ID, j.Tag, end
	if end == endStruck {
		r.Confirmed = time.Time{}
	}
	j.Attempt++
	r.Attempt = j.Attempt
	j.rows = append(j.rows[:len(j.rows):len(j.rows)], r)
	if end == endReported {
		j.State, j.Outcome, j.Completed = stateCompleted, outcomeSuccess, r.Released
	}
	return j
}

func (j story) with(change func(*Job)) story {
	change(&j.Job)
	for i := range j.rows {
		j.rows[i].Tag = j.Tag
	}
	return j
}

// loose puts all executions so far in no group.
func (j story) loose() story {
	for i := range j.rows {
		j.rows[i].InGroup = false
	}
	return j
}

// TestOrder: nobody who was due, waiting and ahead is passed over.
func TestOrder(t *testing.T) {
	const end = endReported
	for _, test := range []struct {
		name string
		jobs []story
		want []Kind
	}{
		{"in order", []story{waits(1, 0, 0, 0).runs(1, 5*s, 6*s, end), waits(2, 0, 0, 0).runs(2, 5*s, 6*s, end)}, nil},
		{"the later arrival first", []story{waits(1, 0, 0, 0).runs(2, 6*s, 7*s, end), waits(2, 0, 0, 0).runs(1, 5*s, 6*s, end)}, []Kind{KindOrder}},
		{"in one microsecond the numbers tell", []story{waits(1, 0, 0, 0).runs(2, 5*s, 7*s, end), waits(2, 0, 0, 0).runs(1, 5*s, 6*s, end)}, []Kind{KindOrder}},
		{"it never started", []story{waits(1, 0, 0, 0), waits(2, 0, 0, 0).runs(1, 5*s, 6*s, end)}, []Kind{KindOrder}},
		{"priority first", []story{waits(1, 0, 0, 0).runs(2, 6*s, 7*s, end), waits(2, 0, 0, 1).runs(1, 5*s, 6*s, end)}, nil},
		{"priority passed over (C6)", []story{waits(1, 0, 0, 0).runs(1, 5*s, 6*s, end), waits(2, 0, 0, 1).runs(2, 6*s, 7*s, end)}, []Kind{KindOrder}},
		{"due earlier", []story{waits(1, 0, 3*s, 0).runs(2, 6*s, 7*s, end), waits(2, 0, 2*s, 0).runs(1, 5*s, 6*s, end)}, nil},
		{"due earlier, passed over", []story{waits(1, 0, 3*s, 0).runs(1, 5*s, 6*s, end), waits(2, 0, 2*s, 0).runs(2, 6*s, 7*s, end)}, []Kind{KindOrder}},
		{"scheduled for later (C4)", []story{waits(1, 0, 8*s, 9).runs(2, 9*s, 10*s, end), waits(2, 0, 0, 0).runs(1, 5*s, 6*s, end)}, nil},
		{"scheduled for this very instant", []story{waits(1, 0, 5*s, 9).runs(2, 9*s, 10*s, end), waits(2, 0, 0, 0).runs(1, 5*s, 6*s, end)}, []Kind{KindOrder}},
		{"pushed in this very microsecond", []story{waits(1, 0, 0, 0).runs(1, 5*s, 6*s, end), waits(2, 5*s, 0, 9).runs(2, 9*s, 10*s, end)}, nil},
		{"pushed a microsecond before", []story{waits(1, 0, 0, 0).runs(1, 5*s, 6*s, end), waits(2, 5*s-us, 0, 9).runs(2, 9*s, 10*s, end)}, []Kind{KindOrder}},
		{"another tag (C5)", []story{waits(1, 0, 0, 9).with(func(j *Job) { j.Tag = "gpu" }), waits(2, 0, 0, 0).runs(1, 5*s, 6*s, end)}, nil},
		{
			"cancelled before", []story{
				waits(1, 0, 0, 9).with(func(j *Job) { j.State, j.Outcome, j.Completed = stateCompleted, outcomeCanceled, at(5*s) }),
				waits(2, 0, 0, 0).runs(1, 5*s, 6*s, end),
			}, nil,
		},
		{
			"cancelled after", []story{
				waits(1, 0, 0, 9).with(func(j *Job) { j.State, j.Outcome, j.Completed = stateCompleted, outcomeCanceled, at(5*s+us) }),
				waits(2, 0, 0, 0).runs(1, 5*s, 6*s, end),
			}, []Kind{KindOrder},
		},
		{"expired before", []story{waits(1, 0, 0, 9).with(func(j *Job) { j.Expires = at(4 * s) }), waits(2, 0, 0, 0).runs(1, 5*s, 6*s, end)}, nil},
		{"expires after", []story{waits(1, 0, 0, 9).with(func(j *Job) { j.Expires = at(6 * s) }), waits(2, 0, 0, 0).runs(1, 5*s, 6*s, end)}, []Kind{KindOrder}},
		{
			"a lost attempt keeps its rank", []story{
				waits(1, 0, 0, 0).runs(1, s, 4*s, endLost).runs(2, 5*s, 6*s, end), waits(2, 0, 0, 0).runs(3, 6*s, 7*s, end),
			}, nil,
		},
		{
			"a lost attempt passed over", []story{
				waits(1, 0, 0, 0).runs(1, s, 4*s, endLost).runs(3, 6*s, 7*s, end), waits(2, 0, 0, 0).runs(2, 5*s, 6*s, end),
			}, []Kind{KindOrder},
		},
		{
			"while the lost attempt was held", []story{
				waits(1, 0, 0, 0).runs(1, s, 4*s, endLost).runs(3, 6*s, 7*s, end), waits(2, 0, 0, 0).runs(2, 3*s, 4*s, end),
			}, nil,
		},
		{
			"handed back, and passed over", []story{
				waits(1, 0, 0, 0).runs(1, s, 4*s, endStruck), waits(2, 0, 0, 0).runs(2, 5*s, 6*s, end),
			}, []Kind{KindOrder},
		},
		{
			"handed back, nobody knows when", []story{
				waits(1, 0, 0, 0).runs(1, s, -1, endStruck), waits(2, 0, 0, 0).runs(2, 5*s, 6*s, end),
			}, nil,
		},
		{
			"three wait, the middle one is gone", []story{
				waits(1, 0, 0, 5).with(func(j *Job) { j.State, j.Outcome, j.Completed = stateCompleted, outcomeCanceled, at(2*s) }),
				waits(2, 0, 0, 3), waits(3, 0, 0, 1).runs(1, 5*s, 6*s, end),
			}, []Kind{KindOrder},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var g Group
			for _, j := range test.jobs {
				g.Jobs = append(g.Jobs, j.Job)
				g.Rows = append(g.Rows, j.rows...)
			}
			finish(g.Rows)
			expect(t, g.Check(), test.want...)
			if g.ordered != int64(len(g.Rows)) {
				t.Errorf("judged %d starts of %d", g.ordered, len(g.Rows))
			}
		})
	}
}

// TestOrderOfWhatIsKnown: jobs and executions that were deleted accuse nobody.
func TestOrderOfWhatIsKnown(t *testing.T) {
	deleted := waits(2, 0, 0, 0).runs(1, 5*s, 6*s, endReported)
	g := Group{Rows: finish(deleted.rows), Jobs: []Job{waits(1, 0, 0, 0).Job}}
	expect(t, g.Check())
	if g.ordered != 0 {
		t.Errorf("judged %d starts of jobs that are deleted", g.ordered)
	}
	// The first attempt of the first job was trimmed: where it stood is unknown.
	first := waits(1, 0, 0, 0).runs(1, s, 4*s, endLost).runs(3, 8*s, 9*s, endReported)
	second := waits(2, 0, 0, 0).runs(2, 5*s, 6*s, endReported)
	rows := finish(append(first.rows, second.rows...))
	g = Group{Rows: rows[1:], Jobs: []Job{first.Job, second.Job}, TrimmedOrder: 1, TrimmedLaunches: 1, TrimmedReleases: 1}
	expect(t, g.Check())
}

// TestAttempts: the executions of a job, and its end.
func TestAttempts(t *testing.T) {
	const end = endReported
	done := waits(1, 0, 0, 0).runs(1, s, 2*s, end)
	for _, test := range []struct {
		name string
		job  story
		want []Kind
	}{
		{"one", done, nil},
		{"none", waits(1, 0, 0, 0), nil},
		{"lost, then done", waits(1, 0, 0, 0).runs(1, s, 4*s, endLost).runs(2, 4*s, 5*s, end), nil},
		{"handed back, then done", waits(1, 0, 0, 0).runs(1, s, -1, endStruck).runs(2, 4*s, 5*s, end), nil},
		{"runs", waits(1, 0, 0, 0).runs(1, s, -1, endHeld).with(func(j *Job) { j.State = stateRunning }), nil},
		{"at once", waits(1, 0, 0, 0).runs(1, s, 4*s, endLost).runs(2, 4*s-us, 5*s, end), []Kind{KindAttempt}},
		{"at once, for ever", waits(1, 0, 0, 0).runs(1, s, -1, endHeld).runs(2, 4*s, 5*s, end), []Kind{KindAttempt}},
		{"its arguments made, then done", waits(1, 0, 0, 0).runs(1, s, 2*s, endPrepared).loose().runs(2, 4*s, 5*s, end), nil},
		{"its arguments made, and it waits", waits(1, 0, 0, 0).runs(1, s, 2*s, endPrepared).loose(), nil},
		{"its arguments made in a group", waits(1, 0, 0, 0).runs(1, s, 2*s, endPrepared).runs(2, 4*s, 5*s, end), []Kind{KindAttempt}},
		{"its arguments made twice", waits(1, 0, 0, 0).runs(1, s, 2*s, endPrepared).runs(2, 3*s, 4*s, endPrepared).loose(), []Kind{KindAttempt}},
		{"again after its end", waits(1, 0, 0, 0).runs(1, s, 2*s, end).runs(2, 4*s, 5*s, end), []Kind{KindAttempt}},
		{"a gap", done.with(func(j *Job) { j.Attempt++ }).runs(2, 4*s, 5*s, end), []Kind{KindAttempt}},
		{"a gap after a loss", waits(1, 0, 0, 0).runs(1, s, 2*s, endLost).with(func(j *Job) { j.Attempt++ }).runs(2, 4*s, 5*s, end), []Kind{KindAttempt}},
		{"it begins at two", waits(1, 0, 0, 0).with(func(j *Job) { j.Attempt++ }).runs(2, 4*s, 5*s, end), []Kind{KindAttempt}},
		{"it counts too many", done.with(func(j *Job) { j.Attempt = 2 }), []Kind{KindAttempt}},
		{"waits while held", waits(1, 0, 0, 0).runs(1, s, -1, endHeld), []Kind{KindAttempt}},
		{"waits after its end", done.with(func(j *Job) { j.State, j.Outcome, j.Completed = stateQueued, "", time.Time{} }), []Kind{KindAttempt}},
		{"runs, and nothing is held", waits(1, 0, 0, 0).runs(1, s, 2*s, endLost).with(func(j *Job) { j.State = stateRunning }), []Kind{KindAttempt}},
		{"runs, and has no execution", waits(1, 0, 0, 0).with(func(j *Job) { j.State = stateRunning }), []Kind{KindAttempt}},
		{"succeeded, and has no execution", waits(1, 0, 0, 0).with(func(j *Job) { j.State, j.Outcome, j.Completed = stateCompleted, outcomeSuccess, at(s) }), []Kind{KindAttempt}},
		{"succeeded, though lost", waits(1, 0, 0, 0).runs(1, s, 2*s, endLost).with(func(j *Job) { j.State, j.Outcome, j.Completed = stateCompleted, outcomeSuccess, at(2*s) }), []Kind{KindAttempt}},
		{"failed for being lost", waits(1, 0, 0, 0).runs(1, s, 2*s, endLost).with(func(j *Job) { j.State, j.Outcome, j.Completed = stateCompleted, "failure", at(2*s) }), nil},
		{"failed, and held", waits(1, 0, 0, 0).runs(1, s, -1, endHeld).with(func(j *Job) { j.State, j.Outcome, j.Completed = stateCompleted, "failure", at(2*s) }), []Kind{KindAttempt}},
		{"cancelled with force, and held", waits(1, 0, 0, 0).runs(1, s, -1, endHeld).with(func(j *Job) { j.State, j.Outcome, j.Completed = stateCompleted, outcomeCanceled, at(2*s) }), nil},
		{"completed without an outcome", done.with(func(j *Job) { j.Outcome = "" }), []Kind{KindAttempt}},
		{"completed, nobody knows when", done.with(func(j *Job) { j.Completed = time.Time{} }), []Kind{KindAttempt}},
		{"an outcome without an end", waits(1, 0, 0, 0).with(func(j *Job) { j.Outcome = outcomeSuccess }), []Kind{KindAttempt}},
		{"completed before it started", done.with(func(j *Job) { j.Completed = at(s - us) }), []Kind{KindAttempt}},
	} {
		t.Run(test.name, func(t *testing.T) {
			expect(t, CheckAttempts(test.job.rows, []Job{test.job.Job}), test.want...)
		})
	}
}
