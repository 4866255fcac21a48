package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice"
)

const (
	streamSilence = 45 * time.Second // three times the server's heartbeat
	maxEventLine  = 4 << 20          // bytes of one line of a stream
)

// Event is a change to a job.
type Event struct {
	// Rev is the number of the change. A stream opened with it goes on after it.
	Rev int64
	// Job is the job as it was then, or is by now, without arguments, result
	// and log.
	Job Job
	// Gap: the connection was lost before any event gave a number to resume
	// at, so that changes may have been missed. Job is empty; whoever needs to
	// know reads the jobs again.
	Gap bool
}

// Stream is a sequence of events. It reconnects by itself and resumes after
// the last event that it returned. It is for one goroutine; Close is for any.
type Stream struct {
	c      *Client
	ctx    context.Context
	cancel context.CancelFunc
	call   call
	single bool // of one job: it ends when that job has ended
	ended  bool
	rev    int64

	drop func()         // closes the connection
	scan *bufio.Scanner // reads it; nil: there is none
	idle *time.Timer    // cuts a connection that says nothing
}

// JobEvents follows one job, from its state at rev or, with 0, from its state
// now. The stream ends with [io.EOF] after the job has ended. It lives until
// ctx ends or it is closed.
func (c *Client) JobEvents(ctx context.Context, id string, rev int64) (*Stream, error) {
	return c.stream(ctx, c.in("jobs_u/events/"+escapeSegment(id)), rev, true)
}

// Events follows all jobs of the workspace, from rev or, with 0, from now on.
// Whatever changes after it returned is seen. It lives until ctx ends or it is
// closed.
func (c *Client) Events(ctx context.Context, rev int64) (*Stream, error) {
	return c.stream(ctx, c.in("events"), rev, false)
}

func (c *Client) stream(ctx context.Context, path string, rev int64, single bool) (*Stream, error) {
	s := &Stream{c: c, call: get(path, nil), single: single, rev: rev}
	s.ctx, s.cancel = context.WithCancel(ctx)
	if err := s.connectPatiently(); err != nil {
		s.cancel()
		return nil, err
	}
	return s, nil
}

// Close ends the stream; a Next that waits returns.
func (s *Stream) Close() { s.cancel() }

// connectPatiently connects, several times if need be.
func (s *Stream) connectPatiently() error {
	pause := s.c.pause
	for n := 1; ; n++ {
		err := s.connect()
		if err == nil || n == attempts || !passing(err) || s.ctx.Err() != nil {
			return err
		}
		if sleep(s.ctx, max(jitter(pause), retryAfter(err))) != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

func (s *Stream) connect() error {
	last := ""
	if s.rev > 0 {
		last = strconv.FormatInt(s.rev, 10)
	}
	// A context of its own, so that silence can cut this connection alone.
	ctx, cut := context.WithCancel(s.ctx)
	resp, err := s.c.send(ctx, s.call, nil, last)
	if err != nil {
		cut()
		return err
	}
	if mime := resp.Header.Get("Content-Type"); !strings.HasPrefix(mime, "text/event-stream") {
		cut()
		resp.Body.Close()
		return sluice.Errorf(sluice.CodeInternal, "%s did not answer with an event stream; is it a Sluice server?", s.c.base)
	}
	s.idle = time.AfterFunc(s.c.silence, cut)
	s.drop = func() {
		s.idle.Stop()
		cut()
		resp.Body.Close()
		s.scan = nil
	}
	s.scan = bufio.NewScanner(resp.Body)
	s.scan.Buffer(make([]byte, 0, 4096), maxEventLine)
	return nil
}

// Next returns the next event, reconnecting where needed. It returns [io.EOF]
// when a stream of one job has ended with it, and a [sluice.Error] when
// the server refuses or stays out of reach, or ctx or the stream has ended.
func (s *Stream) Next() (Event, error) {
	for {
		if s.ended {
			return Event{}, io.EOF
		}
		if s.scan == nil {
			if err := s.connectPatiently(); err != nil {
				return Event{}, err
			}
			if s.rev == 0 {
				return Event{Gap: true}, nil
			}
		}
		e, err := s.read()
		if err == nil {
			if e.Rev > s.rev {
				s.rev = e.Rev
			}
			s.ended = s.single && e.Job.Completed()
			return e, nil
		}
		s.drop()
		if s.ctx.Err() != nil {
			return Event{}, s.c.unreachable(s.ctx.Err())
		}
		if bad := (*sluice.Error)(nil); errors.As(err, &bad) {
			return Event{}, err
		}
		if sleep(s.ctx, jitter(s.c.pause)) != nil {
			return Event{}, s.c.unreachable(s.ctx.Err())
		}
	}
}

// read returns the next event of the connection, or what ended it.
func (s *Stream) read() (Event, error) {
	var (
		kind, id string
		data     []string
	)
	for s.scan.Scan() {
		s.idle.Reset(s.c.silence)
		line := strings.TrimSuffix(s.scan.Text(), "\r")
		if line == "" {
			if len(data) > 0 && (kind == "" || kind == "job") {
				return parseEvent(id, strings.Join(data, "\n"))
			}
			kind, id, data = "", "", nil
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			kind = value
		case "id":
			id = value
		case "data":
			data = append(data, value)
		}
	}
	if err := s.scan.Err(); err != nil {
		return Event{}, err
	}
	return Event{}, io.ErrUnexpectedEOF
}

func parseEvent(id, data string) (Event, error) {
	var e Event
	if id != "" {
		rev, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return e, sluice.Errorf(sluice.CodeInternal, "the server sent an event with the id %q, which is no number", id)
		}
		e.Rev = rev
	}
	if err := json.Unmarshal([]byte(data), &e.Job); err != nil {
		return e, &sluice.Error{Code: sluice.CodeInternal, Message: "the server sent an event that is no job", Err: err}
	}
	return e, nil
}

// Await returns a job with result and log when it has ended. It outlives
// restarts of the server that are shorter than its patience, some seconds.
func (c *Client) Await(ctx context.Context, id string) (*Job, error) {
	s, err := c.JobEvents(ctx, id, 0)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for {
		e, err := s.Next()
		switch {
		case errors.Is(err, io.EOF):
			return c.Completed(ctx, id)
		case err != nil:
			return nil, err
		case e.Gap:
			j, err := c.Completed(ctx, id)
			if err == nil || !missing(err) {
				return j, err
			}
		}
	}
}

func missing(err error) bool {
	status := (*StatusError)(nil)
	return errors.As(err, &status) && status.Status == http.StatusNotFound
}
