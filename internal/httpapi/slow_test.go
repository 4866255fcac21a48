package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"
)

// drip writes text byte by byte until the other side has had enough of it.
func drip(t *testing.T, c net.Conn, text string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range len(text) {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			return
		}
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return
		}
	}
}

// endsConn reads a connection until the server has ended it.
func (r *rig) endsConn(what string, c net.Conn, from io.Reader) {
	r.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, from); errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Errorf("%s: the connection stays open", what)
	}
}

// TestSlowWriters: a body that does not arrive in time, or not to its end, is
// answered in words, ends its connection and leaves nothing.
func TestSlowWriters(t *testing.T) {
	r := newRig(t, func(o *Options) { o.bodyTimeout = 500 * time.Millisecond })
	r.script("f/a", "")
	const run, save, bulk = "/api/w/main/jobs/run/p/f/a", "/api/w/main/scripts/create", "/api/w/main/jobs/run/bulk"
	script := `{"path":"f/half","content":"","language":"bash"}` + strings.Repeat(" ", 10_000)
	const late, broken = "the body did not arrive in time", "the body could not be read to its end"
	var all sync.WaitGroup
	for _, tc := range []struct {
		name, path, head, body string
		how                    func(net.Conn, string)
		status                 int
		want                   string
	}{
		{"arguments, byte by byte", run, "Content-Length: 10000", script, func(c net.Conn, s string) { drip(t, c, s) }, 408, late},
		{"a script, byte by byte", save, "Content-Length: 10000", script, func(c net.Conn, s string) { drip(t, c, s) }, 408, late},
		{"a script, whole but for spaces", save, "Content-Length: 10000", script[:100], func(c net.Conn, s string) { _, _ = io.WriteString(c, s) }, 408, late},
		{"many jobs, and silence", bulk, "Content-Length: 10000", `{"jobs":[{"path":"f/a"}]}`, func(c net.Conn, s string) { _, _ = io.WriteString(c, s) }, 408, late},
		{"chunks, and silence", run, "Transfer-Encoding: chunked", "2\r\n{}\r\n", func(c net.Conn, s string) { _, _ = io.WriteString(c, s) }, 408, late},
		{"arguments that break off", run, "Content-Length: 10000", "{}", breakOff, 400, broken},
		{"a script that breaks off", save, "Content-Length: 10000", script[:100], breakOff, 400, broken},
		{"many jobs that break off", bulk, "Content-Length: 10000", `{"jobs":[{"path":"f/a"}]}`, breakOff, 400, broken},
		{"chunks that break off", run, "Transfer-Encoding: chunked", "2\r\n{}\r\n", breakOff, 400, broken},
		{"chunks that are none", run, "Transfer-Encoding: chunked", "zz\r\n{}\r\n", func(c net.Conn, s string) { _, _ = io.WriteString(c, s) }, 400, broken},
		{"one byte too many, not yet sent", run, fmt.Sprintf("Content-Length: %d", DefaultMaxBody+1), "", drop, 413, "the body is larger than this call accepts"},
		{"many jobs too many, not yet sent", bulk, fmt.Sprintf("Content-Length: %d", MaxBulkBody+1), "", drop, 413, "the body is larger than this call accepts"},
	} {
		c := r.dial()
		all.Go(func() {
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", tc.path, testToken, tc.head)
			go tc.how(c, tc.body)
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			answers := bufio.NewReader(c)
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
				return
			}
			text, err := io.ReadAll(resp.Body)
			if resp.StatusCode != tc.status || string(text) != tc.want || resp.Header.Get("Content-Type") != contentText || !resp.Close || err != nil {
				t.Errorf("%s: %d %s %q %v, closes: %v, want %d %q", tc.name, resp.StatusCode, resp.Header.Get("Content-Type"), text, err, resp.Close, tc.status, tc.want)
			}
			r.endsConn(tc.name, c, answers)
		})
	}
	all.Wait()
	if got := r.ok(200, "GET", "/api/w/main/jobs/list", ""); got != "[]" {
		t.Errorf("something was pushed: %s", got)
	}
	if got := r.do("GET", "/api/w/main/scripts/get/p/f/half", ""); got.status != 404 {
		t.Errorf("something was saved: %s", got.body)
	}
	if strings.Contains(r.log.String(), "level=ERROR") {
		t.Errorf("faults were logged: %s", r.log.String())
	}
	if usual := newRig(t); usual.api.o.bodyTimeout != bodyTimeout || bodyTimeout > time.Minute {
		t.Errorf("a body may take %v", usual.api.o.bodyTimeout)
	}
}

func drop(net.Conn, string) {}

// breakOff writes text and says that nothing comes any more.
func breakOff(c net.Conn, text string) {
	_, _ = io.WriteString(c, text)
	_ = c.(*net.TCPConn).CloseWrite()
}

// TestSlowHeaders: that a byte comes now and then does not move the deadline.
func TestSlowHeaders(t *testing.T) {
	r := newRig(t)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewServer("", r.api)
	srv.Config.ReadHeaderTimeout = 200 * time.Millisecond
	srv.Start()
	t.Cleanup(srv.Close)
	r.url = srv.URL
	c := r.dial()
	go drip(t, c, "GET /api/version HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", 10_000))
	r.endsConn("a byte at a time", c, c)
}

// peakHeap samples the heap while f runs and returns its largest growth. What is
// garbage already counts, too, so that it is collected soon, however busy the
// machine is.
func peakHeap(f func()) int64 {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	heapAfterGC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	before := int64(sample[0].Value.Uint64())
	peak, stop, done := before, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				metrics.Read(sample)
				peak = max(peak, int64(sample[0].Value.Uint64()))
			case <-stop:
				return
			}
		}
	}()
	f()
	close(stop)
	<-done
	return peak - before
}

// TestBigBodiesAtOnce: of a hundred bodies just under the bound, only as many
// are in memory at once as the budget has room for. All are answered.
func TestBigBodiesAtOnce(t *testing.T) {
	const budget = 16 << 20 // four bodies
	const most = 16 * budget
	r := newRig(t, func(o *Options) { o.bodyBudget, o.bodyTimeout = budget, 5*time.Minute })
	r.script("f/a", "")
	body := bytes.Repeat([]byte("["), DefaultMaxBody-100) // soon refused, so that most of the time goes into reading
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	peak := peakHeap(func() {
		var all sync.WaitGroup
		for i := range 100 {
			req := r.request("POST", "/api/w/main/jobs/run/p/f/a", "", "Authorization", "Bearer "+testToken)
			req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body)) // of which the client makes no copies
			if i%2 == 0 {
				req.ContentLength = -1 // in chunks
			}
			all.Go(func() {
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || !strings.Contains(string(text), "nests deeper") {
					t.Errorf("%d %.200s", resp.StatusCode, text)
				}
			})
		}
		all.Wait()
	})
	if peak > most {
		t.Errorf("the heap grew by %d MiB, want at most %d", peak>>20, most>>20)
	}
	t.Logf("peak %d MiB", peak>>20)
}

// TestNoRoomForBigBodies: while the budget is spent, a large body waits unread
// and is refused in the end; small ones are served, and whoever waits for a
// result takes no room.
func TestNoRoomForBigBodies(t *testing.T) {
	const budget = 1 << 20
	r := newRig(t, func(o *Options) { o.bodyTimeout, o.bodyBudget = 500*time.Millisecond, budget })
	r.script("f/a", "")
	if !r.api.bodies.TryAcquire(budget) {
		t.Fatal("the budget is spent")
	}
	const run = "/api/w/main/jobs/run/p/f/a"
	for _, length := range []string{"Content-Length: 300000", "Transfer-Encoding: chunked"} {
		c := r.dial()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", run, testToken, length)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 503 || !strings.Contains(string(text), "large bodies") || resp.Header.Get("Retry-After") == "" || !resp.Close {
			t.Errorf("%s: %d %s %v", length, resp.StatusCode, text, resp.Header)
		}
	}
	r.ok(201, "POST", run, `{"small":true}`)
	r.api.bodies.Release(budget)

	big := `{"x":"` + strings.Repeat("y", smallBody) + `"}`
	done := make(chan reply)
	for range 4 {
		go func() { done <- r.do("POST", "/api/w/main/jobs/run_wait_result/p/f/a?timeout_s=600", big) }()
	}
	r.within(20*time.Second, "the pushes", func() {
		for n := 0; n < 1+4 || !r.api.bodies.TryAcquire(budget); n += len(r.take(4)) {
			<-time.After(10 * time.Millisecond)
		}
	})
	r.api.Close() // ends the waits
	for range 4 {
		if got := <-done; got.status != 504 {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
}

// TestStuckReadersOfALog: whoever asks for a log of 10 MiB and does not read it
// is cut off, and has cost a piece of it. Others are served meanwhile.
func TestStuckReadersOfALog(t *testing.T) {
	const readers, most = 20, 20 * 8 << 20 // whole logs are 200 MiB, and some copies
	r := newRig(t)
	r.api.slowest = 500 * time.Millisecond
	r.script("f/a", "")
	id := r.run("f/a", "")
	a := r.take(1)[0]
	piece := strings.Repeat("a line of the log\n", 1<<20/18)
	for i := range int64(10) {
		r.logs(a, i*int64(len(piece)), piece)
	}
	peak := peakHeap(func() {
		var all []<-chan struct{}
		for range readers {
			all = append(all, r.stuck("/api/w/main/jobs_u/get_logs/"+id))
		}
		if got := r.do("GET", "/api/w/main/jobs_u/get/"+id, ""); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
		for _, closed := range all {
			r.within(20*time.Second, "a stuck reader", func() { <-closed })
		}
	})
	if peak > most {
		t.Errorf("the heap grew by %d MiB, want at most %d", peak>>20, most>>20)
	}
	if whole := r.ok(200, "GET", "/api/w/main/jobs_u/get_logs/"+id, ""); len(whole) != 10*len(piece) {
		t.Errorf("a reader that reads got %d bytes", len(whole))
	}
	t.Logf("peak %d MiB", peak>>20)
}
