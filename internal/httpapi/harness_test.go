package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
	"sluice/internal/store/sqlite"
)

const testToken = "secret-token"

// rig is the API on a real engine and a real SQLite file, behind a real
// server. Nothing takes jobs unless a test does.
type rig struct {
	t     testing.TB
	e     *engine.Engine
	store store.Store
	api   *API
	url   string
	log   *lockedBuffer
	takes int64
}

// lockedBuffer is a log that a test reads while others write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	r := newServerless(t, change...)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewServer("", r.api)
	srv.Start()
	t.Cleanup(func() {
		r.api.Close()
		srv.CloseClientConnections()
		srv.Close()
	})
	r.url = srv.URL
	return r
}

// newServerless is a rig without a server, whose requests are handed to the API
// as they are: fake time stands still while a goroutine waits for a socket.
func newServerless(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	ctx := context.Background()
	s, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "test.db"), sqlite.Options{Synchronous: "off", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(ctx, s, engine.Options{Keys: testKeys(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.CreateWorkspace(ctx, store.Workspace{ID: "main", Name: "Main", Owner: "admin@sluice.local"}); err != nil {
		t.Fatal(err)
	}
	log := &lockedBuffer{}
	o := Options{Engine: e, Token: testToken, Version: "1.2.3", Instance: "here", Logger: slog.New(slog.NewTextHandler(log, nil))}
	for _, c := range change {
		c(&o)
	}
	api, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		api.Close()
		e.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{t: t, e: e, store: s, api: api, log: log}
}

// openFolders makes folders in which every member may write.
func (r *rig) openFolders(workspace string, names ...string) {
	r.t.Helper()
	for _, name := range names {
		body := json.RawMessage(`{"name":"` + name + `","owners":[],"extra_perms":{"g/all":true}}`)
		if err := r.e.CreateFolder(context.Background(), workspace, body, engine.Who{Admin: true}); err != nil {
			r.t.Fatal(err)
		}
	}
}

const rigPassword = "the password of everybody"

// user makes a user that may sign in.
func (r *rig) user(email string, super bool) {
	r.t.Helper()
	_, err := r.e.CreateUser(context.Background(), engine.NewUser{Email: email, Password: rigPassword, SuperAdmin: super})
	if err != nil {
		r.t.Fatal(err)
	}
}

// token makes a token of a user.
func (r *rig) token(n engine.NewToken) string {
	r.t.Helper()
	token, err := r.e.CreateToken(context.Background(), n)
	if err != nil {
		r.t.Fatal(err)
	}
	return token
}

// reply is an answer, read to its end.
type reply struct {
	status int
	mime   string
	body   string
	header http.Header
}

// request sends a request as it is; headers are pairs. The path is sent as it
// is written.
func (r *rig) request(method, path, body string, headers ...string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	p, query, _ := strings.Cut(path, "?")
	req.URL.Opaque, req.URL.RawQuery = strings.TrimPrefix(r.url, "http:")+p, query
	if body == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

// raw sends a request without a token.
func (r *rig) raw(method, path, body string, headers ...string) reply {
	r.t.Helper()
	return r.send(r.request(method, path, body, headers...))
}

func (r *rig) send(req *http.Request) reply {
	r.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply{status: resp.StatusCode, mime: resp.Header.Get("Content-Type"), body: string(b), header: resp.Header}
}

// do sends a request with the token.
func (r *rig) do(method, path, body string, headers ...string) reply {
	r.t.Helper()
	return r.raw(method, path, body, append([]string{"Authorization", "Bearer " + testToken}, headers...)...)
}

// ok sends a request with the token and wants this status.
func (r *rig) ok(status int, method, path, body string, headers ...string) string {
	r.t.Helper()
	got := r.do(method, path, body, headers...)
	if got.status != status {
		r.t.Fatalf("%s %s: status %d, want %d: %s", method, path, got.status, status, got.body)
	}
	return got.body
}

// object reads an answer as a JSON object.
func (r *rig) object(body string) map[string]any {
	r.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		r.t.Fatalf("not a JSON object: %v: %s", err, body)
	}
	return v
}

func (r *rig) list(body string) []any {
	r.t.Helper()
	var v []any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		r.t.Fatalf("not a JSON list: %v: %s", err, body)
	}
	return v
}

// script saves a bash script through the API and returns its hash.
func (r *rig) script(path, extra string) string {
	r.t.Helper()
	if extra != "" {
		extra = "," + extra
	}
	return r.ok(201, "POST", "/api/w/main/scripts/create", `{"path":"`+path+`","content":"echo ok","language":"bash"`+extra+`}`)
}

// run pushes a job through the API and returns its id.
func (r *rig) run(path, args string) string {
	r.t.Helper()
	return r.ok(201, "POST", "/api/w/main/jobs/run/p/"+path, args)
}

// take takes jobs for a worker's free places.
func (r *rig) take(places int) []sluice.Assignment {
	r.t.Helper()
	r.takes++
	as, err := r.e.TakeNow(context.Background(), sluice.TakeRequest{Worker: "w1", TakeNo: r.takes, Tags: []string{"bash"}, Places: places})
	if err != nil {
		r.t.Fatal(err)
	}
	return as
}

func (r *rig) beat() {
	r.t.Helper()
	_, err := r.e.Heartbeat(context.Background(), sluice.Heartbeat{Worker: "w1", Instance: "here", Tags: []string{"bash"}, Places: 4, Version: "1.2.3", Address: "127.0.0.1", Languages: []string{"bash"}, Missing: []string{"python3"}, Isolation: "Walls."})
	if err != nil {
		r.t.Fatal(err)
	}
}

// logs adds to the log of an execution.
func (r *rig) logs(a sluice.Assignment, offset int64, text string) {
	r.t.Helper()
	err := r.e.AppendLog(context.Background(), sluice.LogChunk{Execution: a.Execution, Worker: "w1", Offset: offset, Text: []byte(text)})
	if err != nil {
		r.t.Fatal(err)
	}
}

// finish reports the end of an execution.
func (r *rig) finish(a sluice.Assignment, success bool, result string) {
	r.t.Helper()
	errs := r.e.Report(context.Background(), []sluice.Report{{
		Execution: a.Execution, Worker: "w1", Success: success, Launched: true, Result: json.RawMessage(result),
	}})
	for _, err := range errs {
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// ended runs one job to its end and returns its id.
func (r *rig) ended(path, args, log, result string, success bool) string {
	r.t.Helper()
	id := r.run(path, args)
	as := r.take(1)
	if len(as) != 1 || as[0].JobID != id {
		r.t.Fatalf("took %v, want job %s", as, id)
	}
	if log != "" {
		r.logs(as[0], 0, log)
	}
	r.finish(as[0], success, result)
	return id
}

// within fails the test if f takes longer than d.
func (r *rig) within(d time.Duration, what string, f func()) {
	r.t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		r.t.Errorf("%s took longer than %s", what, d)
	}
}

// read reads JSON.
func (r *rig) read(body string, v any) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(body), v); err != nil {
		r.t.Fatalf("%v: %s", err, body)
	}
}
