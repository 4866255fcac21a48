package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sluice"
	"sluice/internal/engine"
)

const (
	heartbeat = 15 * time.Second // a comment line, so that proxies and readers see life
)

// RevParams say from where a stream goes on.
type RevParams struct {
	Rev         int64 `query:"rev" minimum:"0" doc:"Number of the last change that the reader has seen"`
	LastEventID int64 `header:"Last-Event-ID" minimum:"0" doc:"The same, as browsers send it; it wins"`
}

func (p RevParams) from() int64 {
	if p.LastEventID > 0 {
		return p.LastEventID
	}
	return p.Rev
}

type jobEventsIn struct {
	JobRef
	RevParams
}

type eventsIn struct {
	WorkspaceRef
	RevParams
}

// addEvents registers event streams.
func (a *API) addEvents() {
	stream := &huma.Schema{Type: huma.TypeString, Description: "event: job, id: the number of the change, data: the job without arguments and result, as JSON"}
	addRaw(a, "GET /api/w/{workspace}/jobs_u/events/{id}", "jobEvents", "Ours: what happens to a job, from its state now to its end", contentSSE, stream, a.jobEvents)
	addRaw(a, "GET /api/w/{workspace}/events", "workspaceEvents", "Ours: what happens to the jobs of a workspace, from now or from a change on", contentSSE, stream, a.workspaceEvents)
}

func (a *API) jobEvents(ctx context.Context, in *jobEventsIn) (func(huma.Context), error) {
	j, err := a.row(ctx, in.Workspace, in.ID)
	if err != nil {
		return nil, err
	}
	return func(hc huma.Context) {
		s := a.begin(hc)
		defer s.end()
		ended := j.State == sluice.StateCompleted
		if j.Rev > in.from() && !s.job(j) || ended {
			return
		}
		a.follow(s, in.Workspace, in.ID, max(j.Rev, in.from()))
	}, nil
}

func (a *API) workspaceEvents(ctx context.Context, in *eventsIn) (func(huma.Context), error) {
	w, err := a.e.Watch(ctx, in.Workspace, "", in.from())
	if err != nil {
		return nil, err
	}
	w.Sees = a.seesChange(ctx, in.Workspace)
	return func(hc huma.Context) {
		s := a.begin(hc)
		defer s.end()
		if !s.resumeAt(w.Rev()) {
			return
		}
		a.pump(s, w, false)
	}, nil
}

// follow writes changes of one job until it has ended.
func (a *API) follow(s *sseWriter, workspace, id string, rev int64) {
	w, err := a.e.Watch(s.ctx, workspace, id, rev)
	if err != nil {
		a.log.Error("cannot watch a job", "request", requestID(s.ctx), "error", err)
		return
	}
	a.pump(s, w, true)
}

// pump writes changes as long as there is a reader. It asks for the next ones
// only when the last ones are written.
func (a *API) pump(s *sseWriter, w *engine.Watcher, untilEnd bool) {
	for {
		wait, cancel := context.WithTimeout(s.ctx, heartbeat)
		changes, err := w.Next(wait)
		cancel()
		switch {
		case s.ctx.Err() != nil:
			return
		case errors.Is(err, context.DeadlineExceeded):
			if !s.comment("still here") {
				return
			}
			continue
		case err != nil:
			a.log.Error("an event stream broke off", "request", requestID(s.ctx), "error", err)
			return
		}
		if !s.jobs(changes) || untilEnd && changes[len(changes)-1].Job.State == sluice.StateCompleted {
			return
		}
	}
}

// sseWriter writes server-sent events to one reader.
type sseWriter struct {
	ctx context.Context // ends with the reader, or when the API is closed
	end func()
	w   http.ResponseWriter
}

// begin sends the head of a stream, so that its reader knows that it stands.
func (a *API) begin(hc huma.Context) *sseWriter {
	_, w := humago.Unwrap(hc)
	w.Header().Set("Content-Type", contentSSE)
	w.Header().Set("X-Accel-Buffering", "no")
	ctx, cancel := a.whileOpen(hc.Context())
	a.streams.Add(1)
	s := &sseWriter{ctx: ctx, w: w, end: func() { a.streams.Add(-1); cancel() }}
	s.comment("sluice")
	return s
}

func (s *sseWriter) comment(text string) bool { return s.write([]byte(": " + text + "\n\n")) }

// job writes an event; the numbers of changes are its ids.
func (s *sseWriter) job(j *sluice.Job) bool {
	data, err := marshal(jobForm(j))
	if err != nil {
		return false
	}
	return s.write(fmt.Appendf(nil, "id: %s\nevent: job\ndata: %s\n\n", strconv.FormatInt(j.Rev, 10), data))
}

func (s *sseWriter) jobs(changes []engine.Change) bool {
	for _, c := range changes {
		if !s.job(c.Job) {
			return false
		}
	}
	return true
}

// resumeAt tells the reader from where to resume, before anything happened.
func (s *sseWriter) resumeAt(rev int64) bool {
	return s.write(fmt.Appendf(nil, "id: %d\n\n", rev))
}

// write writes at once. It reports false if the reader is gone or too slow.
func (s *sseWriter) write(b []byte) bool {
	if _, err := s.w.Write(b); err != nil {
		return false
	}
	return http.NewResponseController(s.w).Flush() == nil
}
