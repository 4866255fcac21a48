package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sluice"
	"sluice/client"
)

type jobsCmd struct {
	List   jobsListCmd   `cmd:"" help:"List jobs, newest first."`
	Get    jobsGetCmd    `cmd:"" help:"Show one job."`
	Logs   jobsLogsCmd   `cmd:"" help:"Print the log of a job."`
	Tail   jobsTailCmd   `cmd:"" help:"Follow a job to its end, as run --follow does."`
	Cancel jobsCancelCmd `cmd:"" help:"Cancel jobs."`
	Why    jobsWhyCmd    `cmd:"" help:"Say why a job does not run, or what a flow waits for."`

	Approve    jobsApproveCmd    `cmd:"" help:"Approve the step that a flow waits for."`
	Disapprove jobsDisapproveCmd `cmd:"" help:"Refuse to approve the step that a flow waits for."`
}

// jobArg is the job that a command is about.
type jobArg struct {
	ID string `arg:"" help:"Id of the job."`
}

type jobsListCmd struct {
	Path  string `help:"Only jobs of this script or flow." placeholder:"PATH"`
	State string `help:"Only jobs that are waiting, running, succeeded, failed or canceled." enum:",waiting,running,succeeded,failed,canceled" default:"" placeholder:"STATE"`
	Key   string `help:"Only jobs of this concurrency group." placeholder:"KEY"`
	Tag   string `help:"Only jobs with this tag." placeholder:"TAG"`
	Steps bool   `help:"Steps of flows, too."`
	Limit int    `help:"How many; 20 if not given." default:"20" short:"n" placeholder:"N"`
	remote
	output
}

// Run lists jobs.
func (l *jobsListCmd) Run(ctx context.Context, a *app) error {
	const most = 10_000
	if l.Limit < 1 || l.Limit > most {
		return sluice.Invalid("--limit", "must be from 1 to %s", grouped(most))
	}
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	jobs, hidden, err := l.jobs(ctx, c)
	if err != nil {
		return err
	}
	if l.JSON {
		if jobs == nil {
			jobs = []client.Job{}
		}
		return writeJSON(a.out, jobs)
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	if len(jobs) == 0 {
		fmt.Fprintln(a.out, "No jobs here.")
	} else {
		a.showJobs(jobs, now)
	}
	if hidden > 0 {
		fmt.Fprintf(a.out, "And %s that you may not see.\n", count(int64(hidden), "job"))
	}
	return nil
}

// jobs asks for as many jobs as are wanted. What the server cannot select is
// selected here, page by page.
func (l *jobsListCmd) jobs(ctx context.Context, c *client.Client) ([]client.Job, int, error) {
	if l.Key != "" {
		jobs, hidden, err := c.GroupJobs(ctx, l.Key, 0)
		return l.selected(jobs), hidden, err
	}
	const perPage = 100
	yes, no := true, false
	f := client.JobFilter{Path: l.Path, Tag: l.Tag, PerPage: min(l.Limit, perPage)}
	if !l.Steps {
		f.Steps = &no
	}
	switch l.State {
	case "running":
		f.Running = &yes
	case "succeeded":
		f.Success = &yes
	case "failed":
		f.Success = &no
	}
	if l.State != "" {
		f.PerPage = perPage
	}
	var jobs []client.Job
	for f.Page = 1; len(jobs) < l.Limit; f.Page++ {
		page, err := c.Jobs(ctx, f)
		if err != nil {
			return nil, 0, err
		}
		jobs = append(jobs, page...)
		jobs = l.selected(jobs)
		if len(page) < f.PerPage {
			break
		}
	}
	return jobs, 0, nil
}

func (l *jobsListCmd) selected(jobs []client.Job) []client.Job {
	kept := jobs[:0]
	for _, j := range jobs {
		if (l.State == "" || stateOf(&j) == l.State) && (l.Path == "" || j.Path == l.Path) &&
			(l.Tag == "" || j.Tag == l.Tag) && len(kept) < l.Limit {
			kept = append(kept, j)
		}
	}
	return kept
}

// stateOf says where a job stands, in one word.
func stateOf(j *client.Job) string {
	switch j.Outcome() {
	case sluice.OutcomeSuccess:
		return "succeeded"
	case sluice.OutcomeFailure:
		return "failed"
	case sluice.OutcomeCanceled:
		return "canceled"
	case sluice.OutcomeNone:
	}
	if j.Running {
		return "running"
	}
	return "waiting"
}

func (a *app) showJobs(jobs []client.Job, now time.Time) {
	const leastPath = 10
	t := table{columns: []column{{head: "ID"}, {head: "STATE"}, {head: "SCRIPT", least: leastPath}, {head: "AGE", right: true}, {head: "TOOK", right: true}}}
	for _, j := range jobs {
		t.add(j.ID, stateOf(&j), jobName(&j), brief(now.Sub(j.CreatedAt)), took(&j, now))
	}
	t.write(a.out, a.width)
}

// jobName says what a job runs.
func jobName(j *client.Job) string {
	switch {
	case j.Path == "":
		return "(" + string(j.Kind) + ")"
	case j.Kind == sluice.KindDependencies:
		return j.Path + " (lock)"
	}
	return j.Path
}

// took says how long a job ran, or has been running.
func took(j *client.Job, now time.Time) string {
	switch {
	case j.DurationMS != nil && j.Completed():
		return brief(time.Duration(*j.DurationMS) * time.Millisecond)
	case j.Running && j.StartedAt != nil:
		return brief(now.Sub(*j.StartedAt))
	}
	return "-"
}

type jobsGetCmd struct {
	jobArg
	remote
	output
}

// Run shows a job.
func (g *jobsGetCmd) Run(ctx context.Context, a *app) error {
	c, err := g.connect(a)
	if err != nil {
		return err
	}
	j, err := c.Job(ctx, g.ID)
	if err != nil {
		return err
	}
	if g.JSON {
		return writeJSON(a.out, j)
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	a.showJob(j, now)
	if j.FlowStatus == nil {
		return nil
	}
	return a.showRun(ctx, c, j, now)
}

// runnable says what kind of thing a job runs.
func runnable(j *client.Job) string {
	if j.Kind.IsFlow() {
		return "flow"
	}
	return "script"
}

func (a *app) showJob(j *client.Job, now time.Time) {
	instant := func(t *time.Time) string {
		if t == nil || t.IsZero() {
			return ""
		}
		return a.when(*t, now)
	}
	state := stateOf(j)
	if j.Canceled {
		state += byAndWhy(j.CanceledBy, j.CanceledReason)
	}
	if j.Wait != nil {
		state += ": " + short(j.Wait)
	}
	due := ""
	if j.ScheduledFor != nil && j.ScheduledFor.Sub(j.CreatedAt) > time.Second {
		due = instant(j.ScheduledFor)
	}
	priority := ""
	if j.Priority != 0 {
		priority = fmt.Sprint(j.Priority)
	}
	version := ""
	if j.Hash != "" {
		version = " (version " + j.Hash + ")"
	}
	duration := ""
	if j.DurationMS != nil && j.Completed() {
		duration = spell(time.Duration(*j.DurationMS) * time.Millisecond)
	}
	writeFacts(a.out, a.width, "", []fact{
		{"job", j.ID},
		{"state", state},
		{runnable(j), j.Path + version},
		{"tag", j.Tag},
		{"labels", strings.Join(j.Labels, ", ")},
		{"priority", priority},
		{"pushed", a.when(j.CreatedAt, now) + byAndWhy(j.CreatedBy, "")},
		{"due", due},
		{"started", instant(j.StartedAt)},
		{"ended", instant(j.CompletedAt)},
		{"took", duration},
		{"worker", j.Worker},
		{"arguments", compact(j.Args)},
		{"result", compact(j.Result)},
	})
	if j.Wait != nil {
		fmt.Fprintf(a.out, "\nMore: sluice jobs why %s\n", j.ID)
	}
}

// compact writes JSON in one line that is not too long.
func compact(v json.RawMessage) string {
	const most = 1000
	if len(v) == 0 {
		return ""
	}
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return ""
	}
	return cut(b.String(), most)
}

type jobsLogsCmd struct {
	jobArg
	Follow bool `short:"f" help:"Go on until the job has ended." xor:"form"`
	JSON   bool `help:"Print JSON, for programs." name:"json" xor:"form"`
	remote
}

// Run prints the log of a job.
func (l *jobsLogsCmd) Run(ctx context.Context, a *app) error {
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	if l.Follow {
		return a.followLog(ctx, c, l.ID, a.out, nil, a.tty)
	}
	text, err := c.Logs(ctx, l.ID)
	if err != nil {
		return err
	}
	if l.JSON {
		return writeJSON(a.out, map[string]string{"logs": text})
	}
	fmt.Fprint(a.out, logText(text, a.tty))
	return nil
}

type jobsTailCmd struct {
	jobArg
	remote
	output
}

// Run prints the log of a job to standard error while it grows, then the
// result to standard output. The exit status is that of the job.
func (l *jobsTailCmd) Run(ctx context.Context, a *app) error {
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	err = a.followLog(ctx, c, l.ID, a.err, a.err, a.live)
	switch {
	case sluice.CodeOf(err) == sluice.CodeNotFound:
		return err
	case err != nil:
		return a.left(l.ID, err)
	}
	job, err := c.Completed(ctx, l.ID)
	if err != nil {
		return err
	}
	return a.result(job, l.JSON)
}

type jobsCancelCmd struct {
	IDs     []string `arg:"" optional:"" name:"id" help:"Ids of the jobs."`
	Key     string   `help:"Instead: all waiting jobs of this concurrency group." placeholder:"KEY"`
	Running bool     `help:"With --key: those that run, too."`
	Force   bool     `help:"Do not wait for a running job's process to end; its slot stays taken until it does."`
	Reason  string   `help:"Why, for those who ask later." placeholder:"TEXT"`
	remote
	output
}

// Run cancels jobs.
func (x *jobsCancelCmd) Run(ctx context.Context, a *app) error {
	if (x.Key == "") == (len(x.IDs) == 0) {
		return usage(sluice.Invalid("ID", "give the ids of jobs, or --key"))
	}
	c, err := x.connect(a)
	if err != nil {
		return err
	}
	if x.Key != "" {
		n, err := c.CancelGroup(ctx, x.Key, client.CancelGroup{Reason: x.Reason, Running: x.Running, Force: x.Force})
		if err != nil {
			return err
		}
		if x.JSON {
			return writeJSON(a.out, map[string]int{"canceled": n})
		}
		fmt.Fprintf(a.out, "Canceled %s.\n", count(int64(n), "job"))
		return nil
	}
	var first error
	for _, id := range x.IDs {
		err := c.Cancel(ctx, id, x.Reason, x.Force)
		if err != nil && len(x.IDs) == 1 {
			return err
		}
		first = firstOf(first, err)
		switch {
		case err != nil:
			fmt.Fprintf(a.err, "%s: %s\n", clean(id), clean(err.Error()))
		case !x.JSON:
			fmt.Fprintf(a.out, "Canceled %s.\n", clean(id))
		}
	}
	if x.JSON && first == nil {
		return writeJSON(a.out, map[string]int{"canceled": len(x.IDs)})
	}
	return first
}
