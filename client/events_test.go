package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
)

// connection is what a server does with one connection of a stream: it sends
// the text, and then ends it or stays silent.
type connection struct {
	status int // 0: 200
	text   string
	hang   bool
}

// streamServer answers the n-th request for a stream with the n-th connection.
func streamServer(t *testing.T, list ...connection) (*Client, func() []string) {
	t.Helper()
	var n atomic.Int32
	resumed := make(chan string, 100)
	c, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		i := int(n.Add(1)) - 1
		if i >= len(list) {
			w.WriteHeader(http.StatusGone)
			return
		}
		resumed <- r.Header.Get("Last-Event-ID")
		if list[i].status != 0 {
			w.WriteHeader(list[i].status)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, list[i].text)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		if list[i].hang {
			<-r.Context().Done()
		}
	})
	return c, func() []string {
		var all []string
		for {
			select {
			case s := <-resumed:
				all = append(all, s)
			default:
				return all
			}
		}
	}
}

func event(rev int, job string) string {
	return fmt.Sprintf(": a comment\r\nid: %d\r\nevent: job\r\ndata: %s\r\n\r\n", rev, job)
}

const (
	queued  = `{"id":"1","type":"QueuedJob"}`
	running = `{"id":"1","type":"QueuedJob","running":true}`
	done    = `{"id":"1","type":"CompletedJob","success":true}`
)

func TestStreamResumesAfterWhatItHasSeen(t *testing.T) {
	c, resumed := streamServer(
		t,
		connection{text: event(5, queued) + "id: 6\ndata: {\"id\":"}, // broken off inside an event
		connection{status: http.StatusBadGateway},
		connection{text: "event: other\ndata: x\n\n" + event(7, running) + event(9, done), hang: true},
	)
	s, err := c.JobEvents(t.Context(), "1", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, want := range []int64{5, 7, 9} {
		e, err := s.Next()
		if err != nil || e.Rev != want || e.Gap {
			t.Fatalf("got %+v, error %v, want %d", e, err, want)
		}
	}
	if _, err := s.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end of the job: %v", err)
	}
	if got, want := fmt.Sprint(resumed()), "[ 5 5]"; got != want {
		t.Errorf("resumed at %s, want %s", got, want)
	}
}

func TestStreamTellsAGap(t *testing.T) {
	c, _ := streamServer(t, connection{}, connection{text: event(3, done), hang: true})
	s, err := c.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if e, err := s.Next(); err != nil || !e.Gap {
		t.Fatalf("got %+v, error %v, want a gap", e, err)
	}
	if e, err := s.Next(); err != nil || e.Gap || e.Rev != 3 {
		t.Fatalf("got %+v, error %v", e, err)
	}
}

func TestSilentStreamIsReplaced(t *testing.T) {
	c, _ := streamServer(t, connection{text: event(1, queued), hang: true}, connection{text: event(2, done), hang: true})
	c.silence = 50 * time.Millisecond
	s, err := c.JobEvents(t.Context(), "1", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, want := range []int64{1, 2} {
		if e, err := s.Next(); err != nil || e.Rev != want {
			t.Fatalf("got %+v, error %v, want %d", e, err, want)
		}
	}
}

func TestStreamEndsWithARefusal(t *testing.T) {
	c, _ := streamServer(t, connection{text: event(1, queued)})
	s, err := c.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(); sluice.CodeOf(err) != sluice.CodeNotFound {
		t.Errorf("got %v", err)
	}
}

func TestCloseEndsNext(t *testing.T) {
	c, _ := streamServer(t, connection{hang: true})
	s, err := c.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error)
	go func() { _, err := s.Next(); over <- err }()
	s.Close()
	if err := <-over; err == nil {
		t.Error("Next returned an event")
	}
	s.Close()
}

func TestAwait(t *testing.T) {
	var n atomic.Int32
	c, all := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/w/demo/jobs_u/completed/get/1" {
			says("application/json", `{"id":"1","success":true,"result":"Hello"}`)(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		if n.Add(1) == 1 {
			fmt.Fprint(w, event(1, running))
			return // as a server that is restarted
		}
		fmt.Fprint(w, event(2, done))
	})
	j, err := c.Await(t.Context(), "1")
	if err != nil || string(j.Result) != `"Hello"` || !j.Completed() {
		t.Fatalf("got %+v, error %v", j, err)
	}
	if len(all()) != 3 {
		t.Errorf("requests: %+v", all())
	}
}
