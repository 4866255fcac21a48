package engine

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf16"

	"sluice"
	"sluice/internal/store"
)

// logPoll is how often a log is looked at while somebody follows it: half of
// how late a line may be seen.
const logPoll = 100 * time.Millisecond

// view runs one read.
func view[T any](ctx context.Context, e *Engine, f func(store.Reader) (T, error)) (T, error) {
	var out T
	err := e.store.View(ctx, func(r store.Reader) (err error) {
		out, err = f(r)
		return err
	})
	return out, err
}

// jobIn returns a job of a workspace ("" for any).
func jobIn(r store.Reader, workspace, id string) (*sluice.Job, error) {
	j, err := r.Job(strings.ToLower(id))
	if errors.Is(err, store.ErrNotFound) || err == nil && workspace != "" && j.Workspace != workspace {
		return nil, sluice.Errorf(sluice.CodeNotFound, "there is no job %s", id)
	}
	return j, err
}

// Job returns a job with its result; with logs also its log, with wait also
// why it waits.
func (e *Engine) Job(ctx context.Context, workspace, id string, logs, wait bool) (*JobView, error) {
	return view(ctx, e, func(r store.Reader) (*JobView, error) {
		j, err := jobIn(r, workspace, id)
		if err != nil {
			return nil, err
		}
		return e.jobView(r, j, logs, wait)
	})
}

func (e *Engine) jobView(r store.Reader, j *sluice.Job, logs, wait bool) (*JobView, error) {
	e.progress.bring(j)
	v := &JobView{Job: j}
	var err error
	if j.State == sluice.StateCompleted {
		if j.Result, err = r.Result(j.Seq); err != nil {
			return nil, err
		}
	}
	if logs {
		if v.Logs, v.LogEnd, err = readLog(r, j.Seq, 0, sluice.MaxLogBytes+len(logMark)); err != nil {
			return nil, err
		}
	}
	if wait {
		if v.Wait, err = e.explain(r, j); err != nil {
			return nil, err
		}
	}
	xs, err := r.Attempts(j.Seq)
	if err == nil && len(xs) > 0 {
		v.Execution = xs[len(xs)-1]
	}
	return v, err
}

// Jobs lists jobs without results.
func (e *Engine) Jobs(ctx context.Context, f store.JobFilter) ([]*sluice.Job, error) {
	return view(ctx, e, func(r store.Reader) ([]*sluice.Job, error) { return r.Jobs(f) })
}

// Results returns the results of completed jobs by sequence number.
func (e *Engine) Results(ctx context.Context, jobs []*sluice.Job) error {
	return e.store.View(ctx, func(r store.Reader) (err error) {
		for _, j := range jobs {
			if j.Result, err = r.Result(j.Seq); err != nil {
				return err
			}
		}
		return nil
	})
}

// CountJobs counts jobs.
func (e *Engine) CountJobs(ctx context.Context, f store.JobFilter) (int64, error) {
	return view(ctx, e, func(r store.Reader) (int64, error) { return r.CountJobs(f) })
}

// Await returns a job with its result when it is completed, or ctx's error.
func (e *Engine) Await(ctx context.Context, workspace, id string) (*JobView, error) {
	var v *JobView
	err := e.awaitJob(ctx, workspace, id, 0, func(r store.Reader, j *sluice.Job) (bool, error) {
		if j.State != sluice.StateCompleted {
			return false, nil
		}
		var err error
		v, err = e.jobView(r, j, false, false)
		return true, err
	})
	return v, err
}

// AwaitUpdate returns as soon as the log or the result stream grew beyond what
// the caller has seen, the job is completed, whether it runs is no longer what
// the caller knows, or hold has passed.
func (e *Engine) AwaitUpdate(ctx context.Context, workspace, id string, seen Seen, hold time.Duration) (*Update, error) {
	deadline := time.NewTimer(hold)
	defer deadline.Stop()
	for {
		u := &Update{}
		changed := false
		err := e.awaitJob(ctx, workspace, id, logPoll, func(r store.Reader, j *sluice.Job) (bool, error) {
			changed = j.State == sluice.StateCompleted || seen.Running != (j.State == sluice.StateRunning)
			return changed, nil
		})
		if err != nil {
			return nil, err
		}
		err = e.store.View(ctx, func(r store.Reader) (err error) {
			if u.Job, err = jobIn(r, workspace, id); err != nil {
				return err
			}
			if u.NewLogs, u.LogEnd, err = readLog(r, u.Job.Seq, seen.FromLog, 1<<20); err != nil {
				return err
			}
			u.NewStream, u.StreamEnd, err = readStream(r, u.Job.Seq, seen.FromStream, 1<<20)
			e.progress.bring(u.Job)
			return err
		})
		if err != nil || changed || u.NewLogs != "" || u.NewStream != "" {
			return u, err
		}
		select {
		case <-deadline.C:
			return u, nil
		default:
		}
	}
}

// Log returns the log from an offset in UTF-16 code units on, at most about
// `most` bytes, and the offset after it.
func (e *Engine) Log(ctx context.Context, workspace, id string, fromUTF16 int64, most int) (string, int64, error) {
	var text string
	var end int64
	err := e.store.View(ctx, func(r store.Reader) error {
		j, err := jobIn(r, workspace, id)
		if err != nil {
			return err
		}
		text, end, err = readLog(r, j.Seq, fromUTF16, most)
		return err
	})
	return text, end, err
}

// readLog joins the parts of a log from an offset on. An offset inside a
// surrogate pair is taken to be before it.
func readLog(r store.Reader, seq, from int64, most int) (string, int64, error) {
	parts, err := r.Log(seq, max(from, 0), most)
	return joinParts(parts, from, err)
}

func joinParts(parts []store.LogPart, from int64, err error) (string, int64, error) {
	if err != nil || len(parts) == 0 {
		return "", max(from, 0), err
	}
	var b strings.Builder
	for _, p := range parts {
		text := p.Text
		if skip := from - p.UTF16; skip > 0 {
			text = text[utf16Prefix(text, skip):]
		}
		b.WriteString(text)
	}
	return b.String(), parts[len(parts)-1].EndsUTF16, nil
}

// utf16Prefix returns how many bytes of s make up n UTF-16 code units.
func utf16Prefix(s string, n int64) int {
	for i, c := range s {
		w := int64(utf16.RuneLen(c))
		if n < w {
			return i
		}
		n -= w
	}
	return len(s)
}

// Workers lists workers heard of in the last d.
func (e *Engine) Workers(ctx context.Context, d time.Duration) ([]*store.WorkerRow, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.WorkerRow, error) { return r.Workers(r.Now().Add(-d)) })
}

// Now reads the store's clock.
func (e *Engine) Now(ctx context.Context) (time.Time, error) {
	return view(ctx, e, func(r store.Reader) (time.Time, error) { return r.Now(), nil })
}

// CompletedByTag counts jobs that ended in the last d.
func (e *Engine) CompletedByTag(ctx context.Context, workspace string, d time.Duration) (map[string]int64, error) {
	return view(ctx, e, func(r store.Reader) (map[string]int64, error) {
		return r.CompletedByTag(workspace, r.Now().Add(-d))
	})
}
