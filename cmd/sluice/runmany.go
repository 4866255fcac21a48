package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sluice"
	"sluice/client"
)

// tally is how many jobs ended how.
type tally struct {
	Jobs      int   `json:"jobs"`
	Succeeded int   `json:"succeeded"`
	Failed    int   `json:"failed"`
	Canceled  int   `json:"canceled"`
	TookMS    int64 `json:"took_ms"` // from the first push to the last end that was seen

	IDs []string `json:"ids,omitempty"`
}

// many pushes a script several times, and with --wait waits for all of them.
func (r *runCmd) many(ctx context.Context, a *app, c *client.Client, request client.RunRequest) error {
	var stream *client.Stream
	if r.Wait {
		var err error
		if stream, err = c.Events(ctx, 0); err != nil { // before the push, so that no end is missed
			return err
		}
		defer stream.Close()
	}
	begun := a.now()
	ids, err := r.pushMany(ctx, a, c, request)
	if err != nil {
		return err
	}
	if !r.Wait {
		if r.JSON {
			return writeJSON(a.out, tally{Jobs: len(ids), IDs: ids})
		}
		where := clean(request.Path + request.FlowPath)
		fmt.Fprintf(a.out, "Pushed %s of %s.\n", count(int64(len(ids)), "run"), where)
		fmt.Fprintf(a.err, "  See them: sluice jobs list --path %s\n", where)
		return nil
	}
	t, err := a.awaitAll(ctx, c, stream, ids)
	if err != nil {
		fmt.Fprintf(a.err, "The jobs go on: sluice jobs list --path %s\n", clean(request.Path+request.FlowPath))
		return err
	}
	t.TookMS = a.now().Sub(begun).Milliseconds()
	return r.report(a, t)
}

func (r *runCmd) pushMany(ctx context.Context, a *app, c *client.Client, request client.RunRequest) ([]string, error) {
	bar := a.progress("Pushing", int64(r.Count))
	defer bar.done()
	ids := make([]string, 0, r.Count)
	for len(ids) < r.Count {
		batch := make([]client.RunRequest, min(r.Count-len(ids), sluice.MaxBulk))
		for i := range batch {
			batch[i] = request
		}
		taken, err := c.RunBulk(ctx, batch)
		if err != nil {
			bar.done()
			if len(ids) > 0 {
				fmt.Fprintf(a.err, "sluice: %s of %s were pushed before this:\n", grouped(int64(len(ids))), grouped(int64(r.Count)))
			}
			return nil, r.explain(err)
		}
		ids = append(ids, taken...)
		bar.set(int64(len(ids)), "")
	}
	return ids, nil
}

// awaitAll counts the ends of jobs as the stream tells them.
func (a *app) awaitAll(ctx context.Context, c *client.Client, stream *client.Stream, ids []string) (*tally, error) {
	pending := make(map[string]bool, len(ids))
	for _, id := range ids {
		pending[id] = true
	}
	t := &tally{Jobs: len(ids)}
	ended := func(j *client.Job) {
		if !pending[j.ID] || !j.Completed() {
			return
		}
		delete(pending, j.ID)
		switch j.Outcome() {
		case sluice.OutcomeSuccess:
			t.Succeeded++
		case sluice.OutcomeCanceled:
			t.Canceled++
		case sluice.OutcomeFailure, sluice.OutcomeNone:
			t.Failed++
		}
	}
	bar := a.progress("Running", int64(len(ids)))
	defer bar.done()
	for len(pending) > 0 {
		bar.set(int64(len(ids)-len(pending)), t.trouble())
		e, err := stream.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, sluice.Errorf(sluice.CodeUnavailable, "the server ended the stream of events")
		case err != nil:
			return nil, err
		case e.Gap:
			if err := catchUp(ctx, c, pending, ended); err != nil {
				return nil, err
			}
		default:
			ended(&e.Job)
		}
	}
	return t, nil
}

// catchUp reads every job that is still waited for.
func catchUp(ctx context.Context, c *client.Client, pending map[string]bool, ended func(*client.Job)) error {
	for id := range pending {
		j, err := c.Job(ctx, id)
		if err != nil {
			return err
		}
		ended(j)
	}
	return nil
}

func (t *tally) trouble() string {
	if t.Failed+t.Canceled == 0 {
		return ""
	}
	return fmt.Sprintf("(%s failed)", grouped(int64(t.Failed+t.Canceled)))
}

func (r *runCmd) report(a *app, t *tally) error {
	if r.JSON {
		if err := writeJSON(a.out, t); err != nil {
			return err
		}
	} else {
		took := time.Duration(t.TookMS) * time.Millisecond
		fmt.Fprintf(a.out, "%s in %s (%.1f a second): %s succeeded, %s failed, %s canceled.\n",
			count(int64(t.Jobs), "run"), spell(took), float64(t.Jobs)/max(took.Seconds(), 0.001),
			grouped(int64(t.Succeeded)), grouped(int64(t.Failed)), grouped(int64(t.Canceled)))
	}
	if t.Succeeded < t.Jobs {
		return errJobFailed
	}
	return nil
}
