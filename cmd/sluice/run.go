package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf16"

	"sluice"
	"sluice/client"
)

const maxArgs = 4 << 20

type runCmd struct {
	Path string `arg:"" help:"Path of the script, such as f/demo/hello."`
	runFlags
	remote
	output

	flow *client.RunRequest // instead: this flow
}

// runFlags say how a script or flow is run.
type runFlags struct {
	Data     string        `short:"d" placeholder:"JSON" help:"Arguments, as a JSON object; @FILE reads them from a file, @- from standard input."`
	Wait     bool          `help:"Wait for the result and print it." xor:"wait"`
	Follow   bool          `help:"Print log and streamed result as they grow (to standard error), then the result." short:"f" xor:"wait"`
	Count    int           `help:"Push it so many times." default:"1" placeholder:"N"`
	In       time.Duration `help:"Start it no earlier than in this time, such as 10s or 2h." placeholder:"TIME"`
	Priority *int          `help:"Higher goes first within a limit; -100 to 100." placeholder:"N"`
	Tag      string        `help:"Tag of the workers that may run it." placeholder:"TAG"`
	MaxWait  time.Duration `help:"Fail it if it has not started so long after it was due." placeholder:"TIME"`
	Timeout  time.Duration `help:"End it if it runs longer." placeholder:"TIME"`
}

// Run pushes jobs, and waits for them if asked to.
func (r *runCmd) Run(ctx context.Context, a *app) error {
	request, err := r.request(a)
	if err != nil {
		return err
	}
	c, err := r.connect(a)
	if err != nil {
		return err
	}
	switch {
	case r.Count == 1 && r.Follow:
		return r.follow(ctx, a, c, request)
	case r.Count == 1:
		return r.single(ctx, a, c, request)
	case r.Follow:
		return sluice.Invalid("--follow", "follows one job; use --wait with --count")
	}
	return r.many(ctx, a, c, request)
}

func (r *runCmd) request(a *app) (client.RunRequest, error) {
	args, err := r.arguments(a)
	if err != nil {
		return client.RunRequest{}, err
	}
	const most = 1_000_000
	if r.Count < 1 || r.Count > most {
		return client.RunRequest{}, sluice.Invalid("--count", "must be from 1 to %s", grouped(most))
	}
	for _, d := range []struct {
		flag string
		time.Duration
	}{{"--in", r.In}, {"--max-wait", r.MaxWait}, {"--timeout", r.Timeout}} {
		if d.Duration < 0 || d.Duration%time.Second != 0 {
			return client.RunRequest{}, sluice.Invalid(d.flag, "must be a whole number of seconds, such as 10s or 5m")
		}
	}
	request := client.RunRequest{Path: withoutExt(r.Path)}
	if r.flow != nil {
		request = *r.flow
	}
	request.Args, request.Tag, request.Priority = args, r.Tag, r.Priority
	request.ScheduledIn, request.MaxWait, request.Timeout = int64(r.In/time.Second), int64(r.MaxWait/time.Second), int64(r.Timeout/time.Second)
	return request, nil
}

// arguments reads what -d says.
func (r *runFlags) arguments(a *app) (json.RawMessage, error) {
	text := []byte(r.Data)
	switch {
	case r.Data == "":
		return json.RawMessage(`{}`), nil
	case r.Data == "@-":
		read, err := io.ReadAll(io.LimitReader(a.in, maxArgs+1))
		if err != nil {
			return nil, sluice.Invalid("-d", "standard input cannot be read: %v", err)
		}
		text = read
	case strings.HasPrefix(r.Data, "@"):
		read, err := os.ReadFile(r.Data[1:])
		if err != nil {
			return nil, sluice.Invalid("-d", "the file %s cannot be read: %s", r.Data[1:], plainCause(err))
		}
		text = read
	}
	text = bytes.TrimSpace(text)
	if len(text) > maxArgs {
		return nil, sluice.Errorf(sluice.CodeTooLarge, "-d: the arguments are larger than %d MiB", maxArgs>>20)
	}
	if len(text) == 0 || text[0] != '{' || !json.Valid(text) {
		return nil, sluice.Invalid("-d", `must be a JSON object, such as {"name": "you"}`)
	}
	return text, nil
}

// single pushes one job, and waits for it with --wait.
func (r *runCmd) single(ctx context.Context, a *app, c *client.Client, request client.RunRequest) error {
	id, err := c.Run(ctx, request)
	if err != nil {
		return r.explain(err)
	}
	if !r.Wait {
		if r.JSON {
			return writeJSON(a.out, map[string]string{"id": id})
		}
		fmt.Fprintln(a.out, id)
		return nil
	}
	job, err := a.await(ctx, c, id)
	if err != nil {
		return a.left(id, err)
	}
	return a.result(job, r.JSON)
}

// explain adds to an error of a push what can be done about it.
func (r *runCmd) explain(err error) error {
	if sluice.CodeOf(err) != sluice.CodeNotFound {
		return err
	}
	return &sluice.Error{Code: sluice.CodeNotFound, Err: err, Message: err.Error() + "\n  Save scripts with: sluice push DIR"}
}

// left is an error of waiting for a job, which goes on without us.
func (a *app) left(id string, err error) error {
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(a.err, "The job goes on: sluice jobs get %s\n", id)
		return err
	}
	return &sluice.Error{Code: sluice.CodeOf(err), Err: err, Message: err.Error() + "\n  The job goes on: sluice jobs get " + id}
}

// await waits for a job and shows on a terminal what it waits for.
func (a *app) await(ctx context.Context, c *client.Client, id string) (*client.Job, error) {
	line := a.progress("", 0)
	defer line.done()
	if a.live {
		ctx, stop := context.WithCancel(ctx)
		over := make(chan struct{})
		defer func() { stop(); <-over }()
		go func() {
			defer close(over)
			a.narrate(ctx, c, id, line)
		}()
	}
	return c.Await(ctx, id)
}

// narrate says now and then why a job does not run, until ctx ends.
func (a *app) narrate(ctx context.Context, c *client.Client, id string, line *progress) {
	const every = time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w, err := c.Wait(ctx, id)
		switch {
		case err != nil:
			return
		case w == nil:
			line.say("running for " + spell(a.now().Sub(line.begun)))
		default:
			line.say(a.waitingLine(line, w))
		}
	}
}

// waitingLine says in one line of the terminal what a job waits for.
func (a *app) waitingLine(line *progress, w *sluice.Wait) string {
	const least = 40
	return cut("waiting for "+spell(a.now().Sub(line.begun))+": "+short(w), max(a.width, least)-1)
}

// result prints what a job gave. A job that did not succeed is an error.
func (a *app) result(job *client.Job, asJSON bool) error {
	switch {
	case asJSON:
		if err := writeJSON(a.out, job); err != nil {
			return err
		}
	case job.Outcome() == sluice.OutcomeSuccess:
		return a.writeResult(job.Result)
	}
	switch job.Outcome() {
	case sluice.OutcomeSuccess:
		return nil
	case sluice.OutcomeCanceled:
		fmt.Fprintf(a.err, "sluice: the job was canceled%s\n", byAndWhy(job.CanceledBy, job.CanceledReason))
	case sluice.OutcomeFailure, sluice.OutcomeNone:
		fmt.Fprintf(a.err, "sluice: the job failed: %s\n", cleanLines(failure(job.Result)))
	}
	fmt.Fprintf(a.err, "  Its log: sluice jobs logs %s\n", job.ID)
	return errJobFailed
}

func byAndWhy(by, why string) string {
	s := ""
	if by != "" {
		s += " by " + clean(by)
	}
	if why != "" {
		s += ": " + clean(why)
	}
	return s
}

// failure finds the message in the result of a failed job.
func failure(result json.RawMessage) string {
	var v struct {
		Error struct {
			Name    string `json:"name"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(result, &v) != nil || v.Error.Message == "" {
		return string(result)
	}
	if v.Error.Name != "" && v.Error.Name != "ExecutionErr" {
		return v.Error.Name + ": " + v.Error.Message
	}
	return v.Error.Message
}

// writeResult prints a result: a string as it is, all else as indented JSON.
func (a *app) writeResult(result json.RawMessage) error {
	var s string
	if json.Unmarshal(result, &s) == nil && len(result) > 0 && result[0] == '"' {
		fmt.Fprintln(a.out, logText(s, a.tty))
		return nil
	}
	if len(result) == 0 {
		result = json.RawMessage("null")
	}
	return writeJSON(a.out, result)
}

// follow pushes one job and prints its log while it runs.
func (r *runCmd) follow(ctx context.Context, a *app, c *client.Client, request client.RunRequest) error {
	id, err := c.Run(ctx, request)
	if err != nil {
		return r.explain(err)
	}
	if err := a.followLog(ctx, c, id, a.err, a.err, a.live); err != nil {
		return a.left(id, err)
	}
	job, err := c.Completed(ctx, id)
	if err != nil {
		return a.left(id, err)
	}
	return a.result(job, r.JSON)
}

// codeUnits counts the UTF-16 code units of a text, in which offsets are.
func codeUnits(s string) int64 { return int64(len(utf16.Encode([]rune(s)))) }

// followLog prints the log of a job until it has ended. The result that a job
// streams goes to stream, nil for nowhere. Of a flow it says how far it is, to
// standard error.
func (a *app) followLog(ctx context.Context, c *client.Client, id string, w, stream io.Writer, tty bool) error {
	var (
		line = a.progress("", 0)
		seen client.Seen
		open bool // the stream stands within a line
		told = map[string]string{}
	)
	defer line.done()
	for {
		u, err := c.Update(ctx, id, seen)
		if err != nil {
			return err
		}
		if u.NewStream != "" && stream != nil {
			line.done()
			fmt.Fprint(stream, logText(u.NewStream, tty))
			open = !strings.HasSuffix(u.NewStream, "\n")
		}
		if open && (u.NewLogs != "" || u.Completed) {
			fmt.Fprintln(stream)
			open = false
		}
		if u.NewLogs != "" {
			line.done()
			fmt.Fprint(w, logText(u.NewLogs, tty))
		}
		if u.FlowStatus != nil {
			a.tellSteps(line, u.FlowStatus, told)
		}
		seen.LogOffset += codeUnits(u.NewLogs)
		seen.StreamOffset += codeUnits(u.NewStream)
		if u.NewLogs != "" || u.NewStream != "" {
			continue // there may be more
		}
		if u.Completed {
			return nil
		}
		seen.Running = u.Running
		if !seen.Running && a.live {
			if why, err := c.Wait(ctx, id); err == nil && why != nil {
				line.say(a.waitingLine(line, why))
			}
		}
	}
}
