package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sluice"
	"sluice/internal/store"
)

// errCrash is what a caller gets whose call was broken off.
var errCrash = errors.New("sim: the database broke the call off")

// Crash breaks the k-th Update of a world off. The zero value breaks nothing.
type Crash struct {
	Call  int  // from 1; counted from the first Update after the world was set up
	After bool // after its commit, not before
	Die   bool // the server process dies of it; else only the caller gets an error
}

// recorder stands between an engine and its store. It breaks calls off and
// keeps a copy of what was committed.
type recorder struct {
	store.Store
	calls int
	crash Crash
	down  bool // the database is away: every call fails
	fired bool // the crash has happened
	// committed tells of the changes of an update, in order, once it was made.
	committed func(changes []change)
}

// Update implements [store.Store].
func (f *recorder) Update(ctx context.Context, fn func(store.Tx) error) error {
	f.calls++
	hit := f.calls == f.crash.Call
	f.fired = f.fired || hit
	if f.down || hit && !f.crash.After {
		return errCrash
	}
	var t *recordTx
	err := f.Store.Update(ctx, func(tx store.Tx) error {
		t = &recordTx{Tx: tx}
		return fn(t)
	})
	if err != nil {
		return err
	}
	f.committed(t.log)
	if hit {
		return errCrash
	}
	return nil
}

// View implements [store.Store].
func (f *recorder) View(ctx context.Context, fn func(store.Reader) error) error {
	if f.down {
		return errCrash
	}
	return f.Store.View(ctx, fn)
}

// Close does nothing: the world closes its store itself.
func (f *recorder) Close() error { return nil }

// change is one write of an engine: exactly one of its fields is set.
type change struct {
	group     *store.Group
	line      *store.Line
	gone      int64 // line deleted
	pushed    *sluice.Job
	job       *sluice.Job
	result    *ending
	stand     *standing
	taken     *sluice.Execution
	execution *sluice.Execution
	swept     bool // retention deleted something
}

// ending is the result of a job, as far as it names an error of ours.
type ending struct {
	seq  int64
	name string // of the error; "" for any other result
}

// standing is a job that came to stand in a line or beside it, or left.
type standing struct {
	line, seq int64
	later     bool
	leaves    bool
}

// recordTx notes what is written.
type recordTx struct {
	store.Tx
	log []change
}

func (t *recordTx) note(err error, c change) error {
	if err == nil {
		t.log = append(t.log, c)
	}
	return err
}

// LockGroups implements [store.Tx].
func (t *recordTx) LockGroups(keys []string) ([]*store.Group, error) {
	gs, err := t.Tx.LockGroups(keys)
	for _, g := range gs {
		row := *g
		t.log = append(t.log, change{group: &row})
	}
	return gs, err
}

// SaveGroup implements [store.Tx].
func (t *recordTx) SaveGroup(g *store.Group) error {
	row := *g
	return t.note(t.Tx.SaveGroup(g), change{group: &row})
}

// EnsureLine implements [store.Tx].
func (t *recordTx) EnsureLine(groupID int64, workspace, path, tag string) (*store.Line, error) {
	l, err := t.Tx.EnsureLine(groupID, workspace, path, tag)
	if err != nil {
		return nil, err
	}
	row := *l
	return l, t.note(nil, change{line: &row})
}

// SaveLine implements [store.Tx].
func (t *recordTx) SaveLine(l *store.Line) error {
	row := *l
	return t.note(t.Tx.SaveLine(l), change{line: &row})
}

// DeleteLine implements [store.Tx].
func (t *recordTx) DeleteLine(id int64) error { return t.note(t.Tx.DeleteLine(id), change{gone: id}) }

// InsertJobs implements [store.Tx].
func (t *recordTx) InsertJobs(jobs []*sluice.Job) error {
	if err := t.Tx.InsertJobs(jobs); err != nil {
		return err
	}
	for _, j := range jobs {
		row := *j
		t.log = append(t.log, change{pushed: &row})
	}
	return nil
}

// SaveJob implements [store.Tx].
func (t *recordTx) SaveJob(j *sluice.Job) error {
	row := *j
	return t.note(t.Tx.SaveJob(j), change{job: &row})
}

// SaveArgs implements [store.Tx].
func (t *recordTx) SaveArgs(j *sluice.Job) error {
	row := *j
	return t.note(t.Tx.SaveArgs(j), change{job: &row})
}

// SaveResult implements [store.Tx].
func (t *recordTx) SaveResult(seq int64, result json.RawMessage) error {
	var r struct {
		Error struct{ Name string }
	}
	if err := json.Unmarshal(result, &r); err != nil {
		r.Error.Name = ""
	}
	return t.note(t.Tx.SaveResult(seq, result), change{result: &ending{seq: seq, name: r.Error.Name}})
}

func (t *recordTx) moved(err error, line int64, jobs []*sluice.Job, later bool) error {
	if err != nil {
		return err
	}
	for _, j := range jobs {
		t.log = append(t.log, change{stand: &standing{line: line, seq: j.Seq, later: later}})
	}
	return nil
}

// Stand implements [store.Tx].
func (t *recordTx) Stand(line int64, jobs []*sluice.Job) error {
	return t.moved(t.Tx.Stand(line, jobs), line, jobs, false)
}

// Postpone implements [store.Tx].
func (t *recordTx) Postpone(line int64, jobs []*sluice.Job) error {
	return t.moved(t.Tx.Postpone(line, jobs), line, jobs, true)
}

// Leave implements [store.Tx].
func (t *recordTx) Leave(line int64, j *sluice.Job) (bool, error) {
	ok, err := t.Tx.Leave(line, j)
	if ok {
		t.log = append(t.log, change{stand: &standing{line: line, seq: j.Seq, leaves: true}})
	}
	return ok, err
}

// Unpostpone implements [store.Tx].
func (t *recordTx) Unpostpone(line int64, j *sluice.Job) (bool, error) {
	ok, err := t.Tx.Unpostpone(line, j)
	if ok {
		t.log = append(t.log, change{stand: &standing{line: line, seq: j.Seq, later: true, leaves: true}})
	}
	return ok, err
}

// InsertExecution implements [store.Tx].
func (t *recordTx) InsertExecution(x *sluice.Execution) error {
	if err := t.Tx.InsertExecution(x); err != nil {
		return err
	}
	row := *x
	return t.note(nil, change{taken: &row})
}

// SaveExecution implements [store.Tx].
func (t *recordTx) SaveExecution(x *sluice.Execution) error {
	row := *x
	return t.note(t.Tx.SaveExecution(x), change{execution: &row})
}

// DeleteJobs implements [store.Tx].
func (t *recordTx) DeleteJobs(now, before time.Time, most int) (int, error) {
	n, err := t.Tx.DeleteJobs(now, before, most)
	return n, t.note(err, change{swept: true})
}

// DeleteExecutions implements [store.Tx].
func (t *recordTx) DeleteExecutions(now time.Time, atLeast time.Duration, most int) (int, error) {
	n, err := t.Tx.DeleteExecutions(now, atLeast, most)
	return n, t.note(err, change{swept: true})
}

// DeleteGroups implements [store.Tx].
func (t *recordTx) DeleteGroups(before time.Time, most int) (int, error) {
	n, err := t.Tx.DeleteGroups(before, most)
	return n, t.note(err, change{swept: true})
}

// String says what a crash does.
func (c Crash) String() string {
	if c.Call == 0 {
		return "no crash"
	}
	when, what := "before", "the caller gets an error"
	if c.After {
		when = "after"
	}
	if c.Die {
		what = "the server dies"
	}
	return fmt.Sprintf("crash %s the commit of call %d; %s", when, c.Call, what)
}
