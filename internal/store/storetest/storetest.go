// Package storetest is the one suite that every driver of
// [sluice/internal/store] runs. Each case holds the driver to sentences of the
// contract; none knows what is behind it.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// Options say what a case wants of a driver.
type Options struct {
	Clock *Clock
	// Dir is an empty folder of the case's own. Opening it again after Close
	// gives the same database; a driver without files may use it as a name.
	Dir string
}

// Open opens a database; Run closes it.
type Open func(t *testing.T, opts Options) store.Store

// Run holds a driver to the whole contract.
func Run(t *testing.T, open Open) {
	RunVolatile(t, open)
	cases(t, open, map[string]func(*world){
		"Reopen":         reopen,
		"ReopenNumbers":  reopenNumbers,
		"ClockAfterOpen": clockAfterOpen,
		"Snapshot":       snapshot,
		"ReadersGoOn":    readersGoOn,
	})
}

// RunVolatile holds a driver to all of the contract but durability and
// snapshots beside updates, which a database in memory does not have.
func RunVolatile(t *testing.T, open Open) {
	cases(t, open, map[string]func(*world){
		"UpdateLeavesNoTrace":  updateLeavesNoTrace,
		"UpdateFailsAlone":     updateFailsAlone,
		"UpdatePanics":         updatePanics,
		"UpdateContext":        updateContext,
		"UpdateSeesItself":     updateSeesItself,
		"Closed":               closed,
		"Signals":              signalsCase,
		"Clock":                clockCase,
		"Statistics":           statistics,
		"JobFields":            jobFields,
		"JobExists":            jobExists,
		"Schedules":            schedules,
		"Ticks":                ticks,
		"ScheduleJobs":         scheduleJobs,
		"JobBulk":              jobBulk,
		"JobChanges":           jobChanges,
		"JobCounts":            jobCounts,
		"JobFilters":           jobFilters,
		"JobPages":             jobPages,
		"Results":              results,
		"Expiry":               expiry,
		"WaitingOf":            waitingOf,
		"GroupFields":          groupFields,
		"GroupsInBulk":         groupsInBulk,
		"GroupList":            groupList,
		"GroupEvents":          groupEvents,
		"GroupCopies":          groupCopies,
		"LineFields":           lineFields,
		"LineNames":            lineNames,
		"LineCounts":           lineCounts,
		"ReadyLinesOrder":      readyLinesOrder,
		"ReadyLinesBlocked":    readyLinesBlocked,
		"ReadyLinesForeseen":   readyLinesForeseen,
		"DueLines":             dueLines,
		"Heads":                heads,
		"Ahead":                ahead,
		"Postponed":            postponed,
		"ExecutionFields":      executionFields,
		"ExecutionLists":       executionLists,
		"Instant":              instantCase,
		"LockExecutions":       lockExecutions,
		"Logs":                 logs,
		"LogCuts":              logCuts,
		"Labels":               labels,
		"Progress":             progress,
		"Streams":              streams,
		"Secrets":              secrets,
		"DeleteSaid":           deleteSaid,
		"Steps":                steps,
		"FlowRuns":             flowRuns,
		"FlowRunsDue":          flowRunsDue,
		"FlowResults":          flowResults,
		"DeleteFlows":          deleteFlows,
		"Cached":               cached,
		"Workers":              workers,
		"Workspaces":           workspaces,
		"Users":                users,
		"Members":              membersCase,
		"Tokens":               tokensCase,
		"ArchiveWorkspace":     archive,
		"Audit":                auditCase,
		"Scripts":              scripts,
		"Variables":            variables,
		"Folders":              folders,
		"Grants":               grants,
		"UserGroups":           userGroups,
		"Sights":               sights,
		"Resources":            resources,
		"WorkspaceKeys":        workspaceKeys,
		"ScriptLocks":          scriptLocks,
		"Preprocessed":         preprocessed,
		"FlowVersions":         flowVersions,
		"EraseFlows":           eraseFlows,
		"DeleteJobs":           deleteJobs,
		"DeleteExecutions":     deleteExecutions,
		"DeleteExecutionsHeld": deleteExecutionsHeld,
		"DeleteGroups":         deleteGroups,
		"ManyAtOnce":           manyAtOnce,
		"LineModel":            lineModel,
	})
}

func cases(t *testing.T, open Open, list map[string]func(*world)) {
	for name, run := range list {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{T: t, open: open, dir: t.TempDir(), clock: NewClock()}
			w.start()
			t.Cleanup(w.stop)
			run(w)
		})
	}
}

// Clock is a clock whose hands the test moves.
type Clock struct {
	mu   sync.Mutex
	wall time.Time
	boot time.Duration
}

// NewClock returns a clock that stands at noon.
func NewClock() *Clock {
	return &Clock{wall: time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC), boot: time.Hour}
}

// Wall returns the wall clock.
func (c *Clock) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

// Boot returns the time since boot.
func (c *Clock) Boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot
}

// Pass lets time pass.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.boot = c.wall.Add(d), c.boot+d
}

// Step sets the wall clock alone.
func (c *Clock) Step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

// world is a case's store and what it needs to talk about it.
type world struct {
	*testing.T
	open  Open
	dir   string
	clock *Clock
	s     store.Store
	n     int
}

func (w *world) start() { w.s = w.open(w.T, Options{Clock: w.clock, Dir: w.dir}) }

func (w *world) stop() {
	if w.s != nil {
		if err := w.s.Close(); err != nil {
			w.Errorf("close: %v", err)
		}
		w.s = nil
	}
}

// readable waits until changes up to a number can be read, and returns the
// newest number.
func (w *world) readable(rev int64) (newest int64) {
	w.Helper()
	for until := time.Now().Add(10 * time.Second); newest < rev; {
		w.view(func(r store.Reader) { newest = must(r.MaxRev()) })
		if time.Now().After(until) {
			w.Fatalf("changes can be read up to %d, not %d", newest, rev)
		}
	}
	return newest
}

// failure carries an error out of an update; a test may not end inside one.
type failure struct{ err error }

func must[T any](v T, err error) T {
	ok(err)
	return v
}

func ok(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func caught(err *error) {
	if p := recover(); p != nil {
		f, is := p.(failure)
		if !is {
			panic(p)
		}
		*err = f.err
	}
}

func (w *world) try(fn func(tx store.Tx)) error {
	return w.s.Update(context.Background(), func(tx store.Tx) (err error) {
		defer caught(&err)
		fn(tx)
		return nil
	})
}

func (w *world) update(fn func(tx store.Tx)) {
	w.Helper()
	if err := w.try(fn); err != nil {
		w.Fatalf("update: %v", err)
	}
}

func (w *world) view(fn func(r store.Reader)) {
	w.Helper()
	err := w.s.View(context.Background(), func(r store.Reader) (err error) {
		defer caught(&err)
		fn(r)
		return nil
	})
	if err != nil {
		w.Fatalf("view: %v", err)
	}
}

// both runs a reading check inside an update and in a view.
func (w *world) both(fn func(r store.Reader)) {
	w.Helper()
	w.update(func(tx store.Tx) { fn(tx) })
	w.view(fn)
}

func (w *world) equal(what string, got, want any) {
	w.Helper()
	if !reflect.DeepEqual(got, want) {
		w.Errorf("%s:\n got %s\nwant %s", what, show(got), show(want))
	}
}

// show says what a value is, its pointers followed, at most 2,000 bytes of it.
func show(v any) string {
	text := fmt.Sprintf("%+v", v)
	if data, err := json.Marshal(v); err == nil {
		text = string(data)
	}
	return text[:min(len(text), 2000)]
}

func (w *world) isErr(what string, got, want error) {
	w.Helper()
	if !errors.Is(got, want) {
		w.Errorf("%s: error %v, want %v", what, got, want)
	}
}

// job returns a queued job that is not stored yet.
func (w *world) job() *sluice.Job {
	w.n++
	at := w.clock.Wall()
	return &sluice.Job{
		ID: uuid.NewString(), Workspace: "main", Kind: sluice.KindScript, Path: "f/a/b", Hash: fmt.Sprintf("%016x", w.n),
		Tag: "bash", CreatedBy: "ann", CreatedAt: at, ScheduledFor: at, State: sluice.StateQueued, DeleteAfter: -1,
	}
}

// jobs stores n jobs, each changed by with.
func (w *world) jobs(n int, with func(i int, j *sluice.Job)) []*sluice.Job {
	w.Helper()
	list := make([]*sluice.Job, n)
	for i := range list {
		list[i] = w.job()
		if with != nil {
			with(i, list[i])
		}
	}
	w.update(func(tx store.Tx) { ok(tx.InsertJobs(list)) })
	return list
}

// group returns the group of a key, made if need be.
func (w *world) group(key string) *store.Group {
	w.Helper()
	var g *store.Group
	w.update(func(tx store.Tx) { g = must(tx.LockGroups([]string{key}))[0] })
	return g
}

func (w *world) line(groupID int64, tag string) *store.Line {
	w.Helper()
	var l *store.Line
	w.update(func(tx store.Tx) { l = must(tx.EnsureLine(groupID, "main", "f/a/b", tag)) })
	return l
}

// run stores an execution of a group that was taken now; with no group if g is nil.
func (w *world) run(g *store.Group, worker string) *sluice.Execution {
	w.Helper()
	j := w.jobs(1, nil)[0]
	e := &sluice.Execution{JobSeq: j.Seq, JobID: j.ID, Attempt: 1, Worker: worker, TakeNo: 1, Tag: j.Tag}
	w.update(func(tx store.Tx) {
		e.StartedAt = tx.Now()
		if g != nil {
			*g = *must(tx.GroupByID(g.ID))
			g.Taken++
			e.InGroup, e.GroupID, e.OrderNo = true, g.ID, g.Taken
			e.Limit, e.Source = limit.Limit{N: 3, Mode: limit.End}, limit.FromJob
			ok(tx.SaveGroup(g))
		}
		ok(tx.InsertExecution(e))
	})
	return e
}

// end releases an execution now, confirming it if need be.
func (w *world) end(e *sluice.Execution, how string) {
	w.Helper()
	w.update(func(tx store.Tx) {
		now := tx.Now()
		e.End = how
		if how != sluice.EndStruck {
			e.ReleasedAt = now
		}
		if e.GroupID != 0 {
			g := must(tx.GroupByID(e.GroupID))
			if how == sluice.EndStruck {
				g.Struck++
			} else {
				g.Released++
				e.EndNo = g.Released
				if e.LaunchNo == 0 {
					g.Launched++
					e.LaunchNo = g.Launched
				}
			}
			ok(tx.SaveGroup(g))
		}
		ok(tx.SaveExecution(e))
	})
}

// confirm notes the launch of an execution now.
func (w *world) confirm(e *sluice.Execution) {
	w.Helper()
	w.update(func(tx store.Tx) {
		e.ConfirmedAt = tx.Now()
		if e.GroupID != 0 {
			g := must(tx.GroupByID(e.GroupID))
			g.Launched++
			e.LaunchNo = g.Launched
			ok(tx.SaveGroup(g))
		}
		ok(tx.SaveExecution(e))
	})
}

func ptr[T any](v T) *T { return &v }

func ids[T any](list []T, id func(T) int64) []int64 {
	out := make([]int64, 0, len(list))
	for _, v := range list {
		out = append(out, id(v))
	}
	return out
}

func seqs(list []*sluice.Job) []int64 { return ids(list, func(j *sluice.Job) int64 { return j.Seq }) }

func lineIDs(list []*store.Line) []int64 { return ids(list, func(l *store.Line) int64 { return l.ID }) }

func executionIDs(list []*sluice.Execution) []int64 {
	return ids(list, func(e *sluice.Execution) int64 { return e.ID })
}
