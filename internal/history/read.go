package history

import (
	"context"
	"fmt"
	"io"
	"time"

	"sluice"
	"sluice/internal/store"
)

// page is how many rows are read at a time.
const page = 5_000

// Viewer gives a consistent snapshot; a store is one.
type Viewer interface {
	View(ctx context.Context, fn func(store.Reader) error) error
}

// Options say what else to judge by.
type Options struct {
	// Witness holds what [Serve] wrote; nil: there was no witness.
	Witness io.Reader
	// WitnessSlack is by how much the witness may have been late. Its clock
	// says when it noticed, not when it was: a busy machine notices late.
	WitnessSlack time.Duration
}

// Check judges everything that a store holds. An error means that it could not
// read; what it found is in the report. It keeps the rows of one group at a
// time in memory, and some bytes of every job.
func Check(ctx context.Context, v Viewer, o Options) (*Report, error) {
	var spans []Span
	var notes []Violation
	if o.Witness != nil {
		var err error
		if spans, notes, err = ReadWitness(o.Witness); err != nil {
			return nil, fmt.Errorf("read the witness's notes: %w", err)
		}
	}
	var c *checker
	err := v.View(ctx, func(r store.Reader) error {
		c = &checker{ctx: ctx, from: r, report: &Report{}, keys: map[int64]string{}, trimmed: map[int64]bool{}, seen: map[string]bool{}}
		for _, s := range spans {
			c.seen[s.Job] = true
		}
		return c.read()
	})
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	if o.Witness != nil {
		c.report.Violations = append(c.report.Violations, notes...)
		c.witnessed(spans, o.WitnessSlack)
	}
	if c.report.Executions == 0 {
		c.report.Violations = append(c.report.Violations, Violation{Kind: KindNothing, Text: "there are no executions, so nothing was proven"})
	}
	return c.report, nil
}

// checker reads a snapshot and judges it.
type checker struct {
	ctx     context.Context
	from    store.Reader
	report  *Report
	keys    map[int64]string
	trimmed map[int64]bool
	inGroup int64 // rows read of groups

	seen   map[string]bool // jobs that the witness saw
	rows   []Row           // their rows
	prunes map[string][]int64
}

func (c *checker) read() error {
	var last *string
	for {
		groups, err := c.from.Groups(store.GroupFilter{AfterKey: last, Limit: page})
		if err != nil {
			return fmt.Errorf("groups: %w", err)
		}
		for _, g := range groups {
			if err := c.group(g); err != nil {
				return fmt.Errorf("group %q: %w", g.Key, err)
			}
			last = &g.Key
		}
		if len(groups) < page {
			break
		}
	}
	return c.attempts()
}

// group reads one group and judges it.
func (c *checker) group(row *store.Group) error {
	g := Group{
		Key:      row.Key,
		Counters: &Counters{Taken: row.Taken, Struck: row.Struck, Launched: row.Launched, Released: row.Released},

		TrimmedOrder: row.TrimmedOrder, TrimmedLaunches: row.TrimmedLaunches, TrimmedReleases: row.TrimmedReleases,
	}
	c.keys[row.ID], c.trimmed[row.ID] = row.Key, row.TrimmedOrder > 0
	err := c.history(row.ID, func(r Row) {
		g.Rows = append(g.Rows, r)
		if c.seen[r.JobID] {
			c.rows = append(c.rows, r)
		}
	})
	if err != nil {
		return err
	}
	if g.Events, err = c.events(row.ID); err != nil {
		return err
	}
	err = c.jobs(store.JobFilter{Key: &row.Key}, func(j Job) { g.Jobs = append(g.Jobs, j) })
	if err != nil {
		return err
	}
	c.report.Violations = append(c.report.Violations, g.Check()...)
	c.report.Groups++
	c.report.Starts += int64(len(g.Rows))
	c.report.Ordered += g.ordered
	c.report.Events += int64(len(g.Events))
	c.report.Trimmed += row.TrimmedOrder
	c.inGroup += int64(len(g.Rows))
	for _, e := range g.events(eventPrune) {
		if c.prunes == nil {
			c.prunes = map[string][]int64{}
		}
		c.prunes[row.Key] = append(c.prunes[row.Key], e.AfterOrder)
	}
	return nil
}

// attempts reads all executions once more, in the order in which they were
// taken, then all jobs.
func (c *checker) attempts() error {
	a := newAttempts(func(r *Row) bool { return !r.InGroup || c.trimmed[r.GroupID] })
	inGroup := int64(0)
	err := c.history(0, func(r Row) {
		a.row(&r)
		c.report.Executions++
		if r.struck() {
			c.report.Struck++
		}
		if r.InGroup {
			inGroup++
		} else if c.seen[r.JobID] {
			c.rows = append(c.rows, r)
		}
	})
	if err != nil {
		return err
	}
	if inGroup != c.inGroup {
		a.f.add(KindNumbers, nil, "%d executions say that they are in a group, the groups hold %d", inGroup, c.inGroup)
	}
	err = c.jobs(store.JobFilter{}, func(j Job) {
		c.report.Jobs++
		a.job(&j)
	})
	c.report.Violations = append(c.report.Violations, a.f.all()...)
	return err
}

// history calls fn with the executions of a group, or with 0 with those of all.
func (c *checker) history(groupID int64, fn func(Row)) error {
	var after int64
	for {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		rows, err := c.from.History(groupID, after, page)
		if err != nil {
			return fmt.Errorf("executions: %w", err)
		}
		for _, e := range rows {
			fn(rowOf(e))
			after = e.OrderNo
			if groupID == 0 {
				after = e.ID
			}
		}
		if len(rows) < page {
			return nil
		}
	}
}

func (c *checker) events(groupID int64) ([]Event, error) {
	var out []Event
	var after int64
	for {
		events, err := c.from.GroupEvents(groupID, after, page)
		if err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
		for _, e := range events {
			out = append(out, eventOf(e))
			after = e.Seq
		}
		if len(events) < page {
			return out, nil
		}
	}
}

// jobs calls fn with the jobs of a filter, by arrival.
func (c *checker) jobs(f store.JobFilter, fn func(Job)) error {
	f.OldestFirst, f.Limit = true, page
	for {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		jobs, err := c.from.Jobs(f)
		if err != nil {
			return fmt.Errorf("jobs: %w", err)
		}
		for _, j := range jobs {
			fn(jobOf(j))
			f.AfterSeq = j.Seq
		}
		if len(jobs) < page {
			return nil
		}
	}
}

func rowOf(e *sluice.Execution) Row {
	return Row{
		ID: e.ID, JobSeq: e.JobSeq, JobID: e.JobID, Attempt: e.Attempt, Tag: e.Tag,
		InGroup: e.InGroup, GroupID: e.GroupID,
		Limit:  Limit{N: e.Limit.N, Window: e.Limit.Window, Mode: string(e.Limit.Mode)},
		Source: string(e.Source), OrderNo: e.OrderNo, LaunchNo: e.LaunchNo, EndNo: e.EndNo,
		Started: e.StartedAt, Confirmed: e.ConfirmedAt, Released: e.ReleasedAt, End: e.End,
	}
}

func eventOf(e *store.GroupEvent) Event {
	out := Event{Seq: e.Seq, At: e.At, Kind: e.Kind, AfterOrder: e.AfterOrder, Until: e.Until}
	out.Override.N, out.Override.Window = e.Override.N, e.Override.Window
	if e.Override.Mode != nil {
		mode := string(*e.Override.Mode)
		out.Override.Mode = &mode
	}
	return out
}

func jobOf(j *sluice.Job) Job {
	out := Job{
		Seq: j.Seq, ID: j.ID, Tag: j.LineTag(), Priority: j.Priority,
		State: string(j.State), Outcome: string(j.Outcome), Attempt: j.Attempt,
		Unheld:  j.FlowScope != "",
		Created: j.CreatedAt, Due: j.ScheduledFor, Expires: j.ExpiresAt, Completed: j.CompletedAt,
	}
	if j.Limit != nil {
		out.Limit = &Limit{N: j.Limit.N, Window: j.Limit.Window, Mode: string(j.Limit.Mode)}
	}
	return out
}
