package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// stream is an open event stream.
type stream struct {
	t    testing.TB
	scan *bufio.Scanner
	stop func()
}

type event struct {
	rev int64
	job jobJSON
}

func (r *rig) stream(path string, headers ...string) *stream {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	req := r.request("GET", path, "", append([]string{"Authorization", "Bearer " + testToken}, headers...)...)
	resp, err := http.DefaultClient.Do(req.WithContext(ctx))
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != contentSSE {
		r.t.Fatalf("%s: %d %s", path, resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	s := &stream{t: r.t, scan: bufio.NewScanner(resp.Body), stop: func() { cancel(); resp.Body.Close() }}
	r.t.Cleanup(s.stop)
	return s
}

// next returns the next event, or false at the end of the stream.
func (s *stream) next(r *rig) (event, bool) {
	s.t.Helper()
	var e event
	kind, data := "", ""
	for s.scan.Scan() {
		line := s.scan.Text()
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && data != "":
			if kind != "job" || e.rev == 0 {
				s.t.Fatalf("event %q with id %d", kind, e.rev)
			}
			r.read(data, &e.job)
			return e, true
		case line == "":
			kind = ""
		case name == "id":
			e.rev, _ = strconv.ParseInt(value, 10, 64)
		case name == "event":
			kind = value
		case name == "data":
			data = value
		}
	}
	return e, false
}

func (e event) state() string {
	switch {
	case e.job.Success != nil:
		return "completed"
	case e.job.Running != nil && *e.job.Running:
		return "running"
	}
	return "waiting"
}

func TestJobEvents(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	id := r.run("f/a", `{"secret":1}`)
	s := r.stream("/api/w/main/jobs_u/events/" + id)
	var revs []int64
	want := func(state string) {
		t.Helper()
		e, ok := s.next(r)
		if !ok || e.job.ID != id || e.state() != state || e.job.Args != nil || e.job.Result != nil {
			t.Fatalf("%v %+v, want %s", ok, e, state)
		}
		if n := len(revs); n > 0 && e.rev <= revs[n-1] {
			t.Errorf("rev %d after %d", e.rev, revs[n-1])
		}
		revs = append(revs, e.rev)
	}
	want("waiting")
	a := r.take(1)[0]
	want("running")
	other := r.run("f/a", "") // another job is no event here
	r.finish(a, true, `"done"`)
	want("completed")
	if e, ok := s.next(r); ok {
		t.Errorf("an event after the end: %+v", e)
	}
	// From an earlier change, by header and by parameter: its newest state, then the end.
	for _, s2 := range []*stream{
		r.stream("/api/w/main/jobs_u/events/"+id, "Last-Event-ID", fmt.Sprint(revs[0])),
		r.stream(fmt.Sprintf("/api/w/main/jobs_u/events/%s?rev=%d", id, revs[0])),
		r.stream("/api/w/main/jobs_u/events/"+id+"?rev=0", "Last-Event-ID", ""),
	} {
		if e, ok := s2.next(r); !ok || e.state() != "completed" || e.rev != revs[2] {
			t.Errorf("%v %+v", ok, e)
		}
		if e, ok := s2.next(r); ok {
			t.Errorf("%+v", e)
		}
	}
	// From its last change: nothing, and the end.
	if e, ok := r.stream("/api/w/main/jobs_u/events/"+id, "Last-Event-ID", fmt.Sprint(revs[2])).next(r); ok {
		t.Errorf("%+v", e)
	}
	_ = other
	if got := r.do("GET", "/api/w/main/jobs_u/events/"+id, "", "Last-Event-ID", "x"); got.status != 400 {
		t.Errorf("%d", got.status)
	}
}

// TestReconnectMissesNothing cuts a reader of a workspace off again and again
// while jobs go by; with the last id that it saw it sees each job's end.
func TestReconnectMissesNothing(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	ended := map[string]bool{}
	last := int64(0)
	s := r.stream("/api/w/main/events")
	const rounds = 12
	for i := range rounds {
		id := r.ended("f/a", "", "", "1", true)
		if i%3 == 1 { // this one goes by while nobody reads
			s.stop()
			r.ended("f/a", "", "", "2", true)
			s = r.stream("/api/w/main/events", "Last-Event-ID", fmt.Sprint(last))
		}
		for !ended[id] {
			e, ok := s.next(r)
			if !ok {
				t.Fatalf("round %d: the stream ended", i)
			}
			if e.rev <= last {
				t.Errorf("rev %d again after %d", e.rev, last)
			}
			last = e.rev
			if e.state() == "completed" {
				if ended[e.job.ID] {
					t.Errorf("job %s ended twice", e.job.ID)
				}
				ended[e.job.ID] = true
			}
		}
	}
	final := r.ended("f/a", "", "", "3", true)
	for !ended[final] {
		e, ok := s.next(r)
		if !ok {
			t.Fatal("the stream ended")
		}
		if e.state() == "completed" {
			ended[e.job.ID] = true
		}
	}
	if want := rounds + rounds/3 + 1; len(ended) != want {
		t.Errorf("saw %d ends, want %d", len(ended), want)
	}
}

// TestNothingIsMissedAfterTheHead: what happens after the answer has begun is
// seen, also in a workspace with a past.
func TestNothingIsMissedAfterTheHead(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	r.ended("f/a", "", "", "1", true)
	for range 5 {
		s := r.stream("/api/w/main/events")
		id := r.run("f/a", "")
		if e, ok := s.next(r); !ok || e.job.ID != id {
			t.Fatalf("%v %+v, want %s", ok, e, id)
		}
		s.stop()
	}
	// The same without the luck of the first read: the watcher knows where it
	// begins before anybody asks it.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	w, err := r.e.Watch(ctx, "main", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	id := r.run("f/a", "")
	if changes, err := w.Next(ctx); err != nil || changes[0].Job.ID != id {
		t.Errorf("%v %v", changes, err)
	}
}

func TestEventsKeepToTheirWorkspace(t *testing.T) {
	r := newRig(t)
	r.ok(201, "POST", "/api/workspaces/create", `{"id":"two"}`)
	r.ok(201, "POST", "/api/w/two/scripts/create", `{"path":"f/a","content":"","language":"bash"}`)
	r.script("f/a", "")
	r.run("f/a", "")
	s := r.stream("/api/w/main/events")
	r.ok(201, "POST", "/api/w/two/jobs/run/p/f/a", "")
	id := r.run("f/a", "")
	if e, ok := s.next(r); !ok || e.job.ID != id {
		t.Errorf("%v %+v", ok, e)
	}
}

// stuck asks for something and reads the first byte of the answer alone. The
// channel is closed when the server has cut it off.
func (r *rig) stuck(path string) <-chan struct{} {
	r.t.Helper()
	closed := make(chan struct{})
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewServer("", r.api)
	srv.Config.ConnState = func(c net.Conn, st http.ConnState) {
		if st == http.StateNew {
			_ = c.(*net.TCPConn).SetWriteBuffer(4096) // so that little is enough to fill it
		}
		if st == http.StateClosed {
			close(closed)
		}
	}
	srv.Start()
	r.t.Cleanup(srv.Close)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, testToken)
	one := make([]byte, 1)
	if _, err := io.ReadFull(conn, one); err != nil { // the head is there, and that is all that it reads
		r.t.Fatal(err)
	}
	return closed
}

// TestAStuckReaderIsCutOff has a reader that never reads: its stream ends, and
// nobody else waits for it.
func TestAStuckReaderIsCutOff(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	r.run("f/a", "")
	r.api.slowest = time.Second
	closed := r.stuck("/api/w/main/events?rev=1")
	const pushed = 2000
	other := r.stream("/api/w/main/events")
	read := make(chan int)
	go func() {
		n := 0
		for n < pushed {
			if _, ok := other.next(r); !ok {
				break
			}
			n++
		}
		read <- n
	}()
	r.ok(201, "POST", "/api/w/main/jobs/run/bulk", `{"jobs":[`+strings.TrimSuffix(strings.Repeat(`{"path":"f/a"},`, pushed), ",")+`]}`)
	if n := <-read; n != pushed {
		t.Errorf("a reader that reads was cut off after %d", n)
	}
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("the stuck reader still has its stream")
	}
	other.stop()
}

// TestStreamsEndWithTheServer shuts down under open streams and long polls.
func TestStreamsEndWithTheServer(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	id := r.run("f/a", "")
	job, all := r.stream("/api/w/main/jobs_u/events/"+id), r.stream("/api/w/main/events")
	if _, ok := job.next(r); !ok {
		t.Fatal("no first event")
	}
	polled := make(chan reply)
	go func() { polled <- r.do("POST", "/api/w/main/jobs/run_wait_result/p/f/a?timeout_s=600", "") }()
	if _, ok := all.next(r); !ok {
		t.Fatal("no event of the second push")
	}
	r.api.Close()
	if _, ok := job.next(r); ok {
		t.Error("an event after the close")
	}
	if _, ok := all.next(r); ok {
		t.Error("an event after the close")
	}
	if got := <-polled; got.status != 504 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := r.raw("GET", "/ready", ""); got.status != 503 {
		t.Errorf("ready while shutting down: %d", got.status)
	}
	if got := r.raw("GET", "/health", ""); got.status != 200 {
		t.Errorf("health: %d", got.status)
	}
}
