package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTricks sends what nobody means. Each gets a 4xx that names the trouble,
// and nothing is written.
func TestTricks(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	const run = "/api/w/main/jobs/run/p/"
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", run + "f/%2e%2e/a", "", 400, "segment"},
		{"POST", run + "..%2f..%2fa", "", 400, "path: "},
		{"POST", run + "f%2F%2Fa", "", 400, "path: "},
		{"POST", run + "f/a%00", "", 400, "NUL"},
		{"POST", run + "f/a%0a", "", 400, "single line"},
		{"POST", run + "f/%ff", "", 400, "UTF-8"},
		{"POST", run + "f//a", "", 400, "segment"},
		{"POST", run + strings.Repeat("x", 300), "", 400, "255"},
		{"POST", "/api/w/%2e%2e/jobs/run/p/f/a", "", 404, "no workspace"},
		{"POST", "/api/w/main%00/jobs/run/p/f/a", "", 404, "no workspace"},
		{"POST", run + "f/a?tag=%zz", "", 400, "query is malformed"},
		{"POST", run + "f/a?a;b", "", 400, "query is malformed"},
		{"POST", run + "f/a?" + strings.Repeat("a&", 600), "", 400, "more than 500"},
		{"POST", run + "f/a?priority=99999999999999999999", "", 400, "priority: "},
		{"POST", run + "f/a?scheduled_in_secs=1e9", "", 400, "scheduled_in_secs: "},
		{"POST", run + "f/a?timeout=-9223372036854775808", "", 400, "timeout: "},
		{"POST", run + "f/a?tag=" + strings.Repeat("x", 10_000), "", 400, "tag: "},
		{"POST", run + "f/a?queue_limit=NaN", "", 400, "queue_limit: "},
		{"GET", "/api/w/main/jobs/list?page=99999999999999999999", "", 400, "page: "},
		{"GET", "/api/w/main/jobs_u/getupdate/00000000-0000-4000-8000-000000000000?log_offset=-1", "", 400, "log_offset: "},
		{"FOO", "/api/version", "", 405, ""},
		{"PATCH", run + "f/a", "", 405, ""},
		{"POST", "/api/w/main/scripts/create", `{"path":"f/b","content":"","language":"bash","timeout":1e400}`, 400, ""},
		{"POST", "/api/w/main/scripts/create", `{"path":"f/b","content":"","language":"bash","concurrent_limit":1,"concurrent_limit":9}`, 400, "stands there twice"},
		{"POST", "/api/w/main/scripts/create", "{\"path\":\"f/b\",\"content\":\"\xff\",\"language\":\"bash\"}", 400, "UTF-8"},
		{"POST", "/api/w/main/scripts/create", `{"path":"f/b","content":"","language":"bash","schema":` + strings.Repeat(`{"a":`, 300) + "1" + strings.Repeat("}", 300) + `}`, 400, "nests deeper"},
		{"POST", "/api/w/main/scripts/create", `[]`, 400, ""},
		{"POST", "/api/w/main/jobs/run/bulk", `{"jobs":[{"path":"f/a","path":"f/b"}]}`, 400, "stands there twice"},
		{"POST", "/api/w/main/jobs/run/bulk", `{"jobs":` + strings.Repeat("[", 100_000), 400, "nests deeper"},
	} {
		got := r.do(tc.method, tc.path, tc.body)
		if got.status != tc.status || !strings.Contains(got.body, tc.want) || len(got.body) > 400 || strings.Contains(got.mime, "html") {
			t.Errorf("%s %.80s %.60s: %d %s %.300s, want %d and %q", tc.method, tc.path, tc.body, got.status, got.mime, got.body, tc.status, tc.want)
		}
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs/list", ""); got != "[]" {
		t.Errorf("something was pushed: %s", got)
	}
	if got := r.do("GET", "/api/w/main/scripts/get/p/f/b", ""); got.status != 404 {
		t.Errorf("something was saved: %s", got.body)
	}
	if strings.Contains(r.log.String(), "level=ERROR") {
		t.Errorf("faults were logged: %s", r.log.String())
	}
}

func (r *rig) dial() net.Conn {
	r.t.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := net.DialTimeout("tcp", u.Host, 10*time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

func TestHugeHeaders(t *testing.T) {
	r := newRig(t)
	for name, head := range map[string]string{
		"one header":   "X-A: " + strings.Repeat("x", 200_000) + "\r\n",
		"many headers": strings.Repeat("X-A: b\r\n", 20_000),
		"a long line":  "",
	} {
		c := r.dial()
		path := "/api/version"
		if head == "" {
			path += "?" + strings.Repeat("x", 200_000)
		}
		go func() { _, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, head) }()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}

// TestIdleConnectionsAndSilentClients: a thousand of them cost little, and
// those that begin a request and never end it are cut off.
func TestIdleConnectionsAndSilentClients(t *testing.T) {
	r := newRig(t)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewServer("", r.api)
	if srv.Config.ReadHeaderTimeout != readHeaderTimeout || srv.Config.IdleTimeout == 0 || srv.Config.MaxHeaderBytes == 0 {
		t.Fatal("the server waits for ever")
	}
	srv.Config.ReadHeaderTimeout = 300 * time.Millisecond
	srv.Start()
	t.Cleanup(srv.Close)
	r.url = srv.URL
	before := heapAfterGC()
	var silent []net.Conn
	for i := range 1000 {
		c := r.dial()
		if i%10 == 0 {
			_, _ = io.WriteString(c, "GET /api/version HTTP/1.1\r\nHost:")
			silent = append(silent, c)
		}
	}
	if got := r.do("GET", "/api/version", ""); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if grown := heapAfterGC() - before; grown > 64<<20 {
		t.Errorf("1000 connections cost %d MiB", grown>>20)
	}
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatalf("a silent client was not cut off: %v", err)
		}
	}
}

func heapAfterGC() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestBigBodiesLeaveNothing: bodies at the bound from many clients at once are
// refused or taken, and their memory is given back.
func TestBigBodiesLeaveNothing(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	twice := `{"x":"` + strings.Repeat("y", DefaultMaxBody-100) + `","a":1,"a":2}`
	many := `{` + strings.TrimSuffix(strings.Repeat(`"a":1,`, 100_000), ",") + `}`
	before := heapAfterGC()
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			body := twice
			if i%2 == 0 {
				body = many
			}
			resp, err := http.DefaultClient.Do(r.request("POST", "/api/w/main/jobs/run/p/f/a", body, "Authorization", "Bearer "+testToken))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || !strings.Contains(string(b), "twice") {
				t.Errorf("%d %.200s", resp.StatusCode, b)
			}
		})
	}
	all.Wait()
	http.DefaultClient.CloseIdleConnections()
	heapAfterGC() // twice: pools give back at the second
	if grown := heapAfterGC() - before; grown > 64<<20 {
		t.Errorf("%d MiB stayed", grown>>20)
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs/list", ""); got != "[]" {
		t.Errorf("something was pushed: %s", got)
	}
}

// FuzzPaths: whatever path and query come, the answer is no fault of the
// server and no redirect.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{"/api/w/main/jobs/run/p/f/a", "/api/w/main/jobs/list?tag=!a,b&page=2", "/api/concurrency_groups/get/%2e%2e/x", "/api/w/main/scripts/get/h/00?x=%zz", "//", "/api/w/main/jobs/list?args=%7B%22a%22:1%7D&allow_wildcards=true&worker=*"} {
		f.Add(s)
	}
	r := newRig(f)
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || len(target) > 4000 {
			return
		}
		req := httptest.NewRequest("GET", "/", nil)
		req.URL, req.RequestURI = u, target
		req.Header.Set("Authorization", "Bearer "+testToken)
		if strings.HasSuffix(u.Path, "/events") || strings.Contains(u.Path, "getupdate") || strings.Contains(u.Path, "/run") {
			return // streams and waits
		}
		w := httptest.NewRecorder()
		r.api.ServeHTTP(w, req)
		if w.Code >= 500 || w.Code >= 300 && w.Code < 400 {
			t.Errorf("%q: %d %.200s", target, w.Code, w.Body.String())
		}
	})
}
