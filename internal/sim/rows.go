package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice"
	"sluice/internal/store"
)

// rows is what the engine has written: a second copy of this world's part of
// the database.
type rows struct {
	jobs   map[int64]*sluice.Job
	byID   map[string]int64
	execs  map[int64]*sluice.Execution
	groups map[int64]*store.Group
	lines  map[int64]*store.Line
	stand  map[int64]map[int64]bool // by line: jobs that stand in it
	later  map[int64]map[int64]bool // by line: jobs that are due later
	byKey  map[string][]int64       // executions by key of their job
	byJob  map[int64][]int64        // executions by job
	ends   map[int64]string         // names of errors that jobs ended with
	forgot bool                     // retention has deleted executions
}

func newRows() *rows {
	return &rows{
		jobs: map[int64]*sluice.Job{}, byID: map[string]int64{}, execs: map[int64]*sluice.Execution{},
		groups: map[int64]*store.Group{}, lines: map[int64]*store.Line{}, stand: map[int64]map[int64]bool{},
		later: map[int64]map[int64]bool{}, byKey: map[string][]int64{}, byJob: map[int64][]int64{}, ends: map[int64]string{},
	}
}

// apply makes one change. The judge has looked at it before.
func (r *rows) apply(c *change) {
	switch {
	case c.group != nil:
		r.groups[c.group.ID] = c.group
	case c.line != nil:
		r.lines[c.line.ID] = c.line
	case c.gone != 0:
		delete(r.lines, c.gone)
	case c.pushed != nil:
		r.jobs[c.pushed.Seq], r.byID[c.pushed.ID] = c.pushed, c.pushed.Seq
	case c.job != nil:
		r.jobs[c.job.Seq] = c.job
	case c.result != nil:
		r.ends[c.result.seq] = c.result.name
	case c.stand != nil:
		at := r.stand
		if c.stand.later {
			at = r.later
		}
		if at[c.stand.line] == nil {
			at[c.stand.line] = map[int64]bool{}
		}
		if c.stand.leaves {
			delete(at[c.stand.line], c.stand.seq)
		} else {
			at[c.stand.line][c.stand.seq] = true
		}
	case c.taken != nil:
		r.execs[c.taken.ID] = c.taken
		r.byJob[c.taken.JobSeq] = append(r.byJob[c.taken.JobSeq], c.taken.ID)
		if j := r.jobs[c.taken.JobSeq]; j.HasKey {
			r.byKey[j.Key] = append(r.byKey[j.Key], c.taken.ID)
		}
	case c.execution != nil:
		r.execs[c.execution.ID] = c.execution
	}
}

func (r *rows) job(id string) *sluice.Job { return r.jobs[r.byID[id]] }

// sorted returns the keys of a map in order, so that nothing depends on Go's.
func sorted[K int64 | string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// waiting returns the waiting jobs in order of arrival.
func (r *rows) waiting() []*sluice.Job {
	var out []*sluice.Job
	for _, seq := range sorted(r.jobs) {
		if j := r.jobs[seq]; j.Waiting() {
			out = append(out, j)
		}
	}
	return out
}

// check proves that counters and lines are what the rows say (cases B9, B15).
func (r *rows) check() error {
	for _, id := range sorted(r.groups) {
		if err := r.checkGroup(r.groups[id]); err != nil {
			return fmt.Errorf("group %q: %w", r.groups[id].Key, err)
		}
	}
	stands := map[int64]int64{}
	for _, id := range sorted(r.lines) {
		if err := r.checkLine(r.lines[id], stands); err != nil {
			l := r.lines[id]
			return fmt.Errorf("line of group %d, path %q, tag %q: %w", l.GroupID, l.Path, l.Tag, err)
		}
	}
	for _, seq := range sorted(r.jobs) {
		if err := r.checkJob(r.jobs[seq], stands[seq] != 0); err != nil {
			return fmt.Errorf("job %s: %w", short(r.jobs[seq].ID), err)
		}
	}
	return nil
}

func (r *rows) checkGroup(g *store.Group) error {
	var taken, struck, launched, released, held, waiting int64
	launchAt, endAt := map[int64]time.Time{}, map[int64]time.Time{}
	for _, id := range r.byKey[g.Key] {
		x := r.execs[id]
		if x.GroupID != g.ID {
			continue
		}
		if taken++; x.OrderNo != taken+g.TrimmedOrder && g.TrimmedOrder == 0 {
			return fmt.Errorf("execution %d has order number %d, not %d", x.ID, x.OrderNo, taken)
		}
		at := x.ConfirmedAt
		if at.IsZero() {
			at = x.ReleasedAt
		}
		switch {
		case x.Held():
			held++
		case x.End == sluice.EndStruck:
			struck++
		default:
			released++
			endAt[x.EndNo] = x.ReleasedAt
		}
		if x.LaunchNo > 0 {
			launched++
			launchAt[x.LaunchNo] = at
		}
		if !x.ConfirmedAt.IsZero() && (x.ConfirmedAt.Before(x.StartedAt) || !x.ReleasedAt.IsZero() && x.ReleasedAt.Before(x.ConfirmedAt)) {
			return fmt.Errorf("execution %d was taken %s, confirmed %s, released %s", x.ID, x.StartedAt, x.ConfirmedAt, x.ReleasedAt)
		}
	}
	for _, j := range r.jobs {
		if j.HasKey && j.Key == g.Key && j.Waiting() {
			waiting++
		}
	}
	if g.Waiting != waiting {
		return fmt.Errorf("counts %d waiting, and %d jobs wait", g.Waiting, waiting)
	}
	if g.Held() != held {
		return fmt.Errorf("counts %d held, and %d executions hold a slot", g.Held(), held)
	}
	if g.TrimmedOrder > 0 {
		return nil
	}
	if g.Taken != taken || g.Struck != struck || g.Launched != launched || g.Released != released {
		return fmt.Errorf("counts %d taken, %d struck, %d launched, %d released; the rows say %d, %d, %d, %d",
			g.Taken, g.Struck, g.Launched, g.Released, taken, struck, launched, released)
	}
	return errors.Join(ascends("launch", launchAt, launched), ascends("release", endAt, released))
}

// ascends proves that numbers have no gap and ascend with their instants.
func ascends(what string, at map[int64]time.Time, n int64) error {
	for no := int64(1); no <= n; no++ {
		switch t, ok := at[no]; {
		case !ok:
			return fmt.Errorf("there is no %s number %d of %d", what, no, n)
		case no > 1 && t.Before(at[no-1]):
			return fmt.Errorf("%s %d is at %s, before number %d at %s", what, no, t, no-1, at[no-1])
		}
	}
	return nil
}

func (r *rows) checkLine(l *store.Line, stands map[int64]int64) error {
	queued, later := r.stand[l.ID], r.later[l.ID]
	if l.Queued != int64(len(queued)) || l.Scheduled != int64(len(later)) {
		return fmt.Errorf("counts %d queued and %d scheduled; %d and %d jobs stand there", l.Queued, l.Scheduled, len(queued), len(later))
	}
	if l.Queued+l.Scheduled == 0 {
		return errors.New("it is empty and still there")
	}
	var head *sluice.Job
	var due time.Time
	for _, seq := range slices.Concat(sorted(queued), sorted(later)) {
		j, want := r.jobs[seq], sluice.StateQueued
		if later[seq] {
			want = sluice.StateScheduled
		}
		switch {
		case stands[seq] != 0:
			return fmt.Errorf("job %s stands in two lines", short(j.ID))
		case j.State != want || j.Tag != l.Tag || j.HasKey != (l.GroupID != 0):
			return fmt.Errorf("job %s (%s, tag %q) does not belong there", short(j.ID), j.State, j.Tag)
		case j.HasKey && r.groups[l.GroupID].Key != j.Key, !j.HasKey && j.Path != l.Path:
			return fmt.Errorf("job %s has another key or path", short(j.ID))
		}
		stands[seq] = l.ID
		if want == sluice.StateScheduled {
			if due.IsZero() || j.ScheduledFor.Before(due) {
				due = j.ScheduledFor
			}
		} else if head == nil || before(j, head) {
			head = j
		}
	}
	switch {
	case head == nil && l.Head.Seq != 0, head != nil && l.Head != head.Rank():
		return fmt.Errorf("its first job is said to be %+v", l.Head)
	case head != nil && head.Limit != nil && l.HeadLimit != *head.Limit:
		return fmt.Errorf("the limit of its first job is said to be %v, not %v", l.HeadLimit, *head.Limit)
	case !l.NextDue.Equal(due):
		return fmt.Errorf("its next job is said to be due %s, not %s", l.NextDue, due)
	}
	return nil
}

func (r *rows) checkJob(j *sluice.Job, stands bool) error {
	if j.Waiting() != stands {
		return fmt.Errorf("it is %s, and in a line: %v", j.State, stands)
	}
	held, newest := 0, 0
	for _, id := range r.byJob[j.Seq] {
		x := r.execs[id]
		newest = max(newest, x.Attempt)
		if x.Held() {
			if held++; x.Attempt != j.Attempt {
				return fmt.Errorf("attempt %d holds a slot while the job is at attempt %d", x.Attempt, j.Attempt)
			}
		}
	}
	switch {
	case held > 1:
		return fmt.Errorf("%d attempts hold a slot", held)
	case j.State == sluice.StateRunning && held != 1, j.Waiting() && held != 0:
		return fmt.Errorf("it is %s and %d attempts hold a slot", j.State, held)
	case newest != j.Attempt && !r.forgot:
		return fmt.Errorf("it is at attempt %d; the newest execution is attempt %d", j.Attempt, newest)
	case j.State == sluice.StateCompleted && j.Outcome == sluice.OutcomeNone:
		return errors.New("it ended without an outcome")
	}
	return nil
}

// before is the order of a group: priority, due time, arrival.
func before(a, b *sluice.Job) bool {
	switch {
	case a.Priority != b.Priority:
		return a.Priority > b.Priority
	case !a.ScheduledFor.Equal(b.ScheduledFor):
		return a.ScheduledFor.Before(b.ScheduledFor)
	}
	return a.Seq < b.Seq
}

// compare proves that the database holds what the engine has written, and
// forgets what retention has deleted.
func (r *rows) compare(ctx context.Context, s store.Store, swept bool) error {
	return s.View(ctx, func(db store.Reader) error {
		for _, id := range sorted(r.groups) {
			g := r.groups[id]
			row, err := db.GroupByID(id)
			if errors.Is(err, store.ErrNotFound) && swept {
				delete(r.groups, id)
				continue
			}
			if err != nil {
				return fmt.Errorf("group %q: %w", g.Key, err)
			}
			if swept {
				r.groups[id] = row
			} else if row.Taken != g.Taken || row.Struck != g.Struck || row.Launched != g.Launched || row.Released != g.Released || row.Waiting != g.Waiting {
				return fmt.Errorf("group %q is stored as %+v, and was written as %+v", g.Key, row, g)
			}
		}
		for _, seq := range sorted(r.jobs) {
			if err := r.compareJob(db, r.jobs[seq], swept); err != nil {
				return fmt.Errorf("job %s: %w", short(r.jobs[seq].ID), err)
			}
		}
		return nil
	})
}

func (r *rows) compareJob(db store.Reader, j *sluice.Job, swept bool) error {
	row, err := db.JobBySeq(j.Seq)
	if errors.Is(err, store.ErrNotFound) && swept && j.State == sluice.StateCompleted {
		return nil // kept here: it has ended, and must stay so
	}
	if err != nil {
		return err
	}
	if row.Phase != j.Phase || row.HasKey != j.HasKey || row.Key != j.Key {
		return fmt.Errorf("is stored in phase %q with key %q, and was written in %q with %q", row.Phase, row.Key, j.Phase, j.Key)
	}
	if row.State != j.State || row.Outcome != j.Outcome || row.Attempt != j.Attempt || row.Lost != j.Lost {
		return fmt.Errorf("is stored as %s/%s attempt %d, and was written as %s/%s attempt %d",
			row.State, row.Outcome, row.Attempt, j.State, j.Outcome, j.Attempt)
	}
	xs, err := db.Attempts(j.Seq)
	if err != nil {
		return err
	}
	stored := map[int64]bool{}
	for _, x := range xs {
		stored[x.ID] = true
		if old := r.execs[x.ID]; old == nil || *old != *x {
			return fmt.Errorf("execution is stored as %+v, and was written as %+v", *x, old)
		}
	}
	for _, id := range slices.Clone(r.byJob[j.Seq]) {
		x := r.execs[id]
		if stored[id] {
			continue
		}
		if !swept || x.Held() {
			return fmt.Errorf("execution %d is not stored", id)
		}
		r.forget(x, j)
	}
	return nil
}

func (r *rows) forget(x *sluice.Execution, j *sluice.Job) {
	r.forgot = true
	delete(r.execs, x.ID)
	gone := func(id int64) bool { return id == x.ID }
	r.byKey[j.Key] = slices.DeleteFunc(r.byKey[j.Key], gone)
	r.byJob[j.Seq] = slices.DeleteFunc(r.byJob[j.Seq], gone)
}

// short shortens a job's id for people.
func short(id string) string {
	if len(id) < 4 {
		return id
	}
	return "#" + id[len(id)-3:]
}
