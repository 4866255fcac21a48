package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/limit"
)

// seen is a request as a server got it.
type seen struct {
	Method, Path, Query, Body, Auth, Agent string
}

// server answers every request with answer and notes them all.
func server(t *testing.T, answer http.HandlerFunc) (*Client, func() []seen) {
	t.Helper()
	var (
		mu   sync.Mutex
		list []seen
	)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		list = append(list, seen{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(body), r.Header.Get("Authorization"), r.UserAgent()})
		mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		answer(w, r)
	}))
	t.Cleanup(srv.Close)
	c, err := New(Config{URL: srv.URL + "/", Token: "secret", Workspace: "demo", HTTP: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	c.pause = time.Millisecond
	return c, func() []seen {
		mu.Lock()
		defer mu.Unlock()
		return append([]seen(nil), list...)
	}
}

func says(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, body)
	}
}

func TestRequestsOnTheWire(t *testing.T) {
	yes := true
	n, windowS, start := 3, 60, limit.Start
	key := "a/../b%\x00\xff é"
	escaped := "a%2F%2E%2E%2Fb%25%00%FF%20%C3%A9"
	tests := map[string]struct {
		call   func(context.Context, *Client) error
		answer string
		want   seen
	}{
		"job": {
			func(ctx context.Context, c *Client) error { _, err := c.Job(ctx, "id/1"); return err }, `{}`,
			seen{Method: "GET", Path: "/api/w/demo/jobs_u/get/id%2F1", Query: "no_logs=true"},
		},
		"jobs": {
			func(ctx context.Context, c *Client) error {
				_, err := c.Jobs(ctx, JobFilter{Path: "f/a b", Success: &yes, Page: 2, PerPage: 10})
				return err
			}, `[]`,
			seen{Method: "GET", Path: "/api/w/demo/jobs/list", Query: "page=2&per_page=10&script_path_exact=f%2Fa+b&success=true"},
		},
		"script": {
			func(ctx context.Context, c *Client) error { _, err := c.Script(ctx, "f/de mo/hello"); return err }, `{}`,
			seen{Method: "GET", Path: "/api/w/demo/scripts/get/p/f/de%20mo/hello"},
		},
		"save": {
			func(ctx context.Context, c *Client) error {
				_, err := c.SaveScript(ctx, json.RawMessage(`{"path":"f/a"}`))
				return err
			}, `29e067a27f63f6c3`,
			seen{Method: "POST", Path: "/api/w/demo/scripts/create", Query: "skip_if_noop=true", Body: `{"path":"f/a"}`},
		},
		"override": {
			func(ctx context.Context, c *Client) error {
				_, err := c.SetOverride(ctx, key, Override{N: &n, WindowS: &windowS, WindowFrom: &start, Why: "quota"})
				return err
			}, `{}`,
			seen{
				Method: "PUT", Path: "/api/concurrency_groups/override/" + escaped,
				Body: `{"concurrent_limit":3,"concurrency_time_window_s":60,"concurrency_window_from":"start","why":"quota"}`,
			},
		},
		"clear": {
			func(ctx context.Context, c *Client) error { _, err := c.ClearOverride(ctx, "k", "no more"); return err }, `{}`,
			seen{Method: "DELETE", Path: "/api/concurrency_groups/override/k", Query: "why=no+more"},
		},
		"pause": {
			func(ctx context.Context, c *Client) error { _, err := c.Pause(ctx, "k", Pause{ForS: 60}); return err }, `{}`,
			seen{Method: "POST", Path: "/api/concurrency_groups/pause/k", Body: `{"for_s":60}`},
		},
		"prune": {
			func(ctx context.Context, c *Client) error { return c.Prune(ctx, "k") }, `{}`,
			seen{Method: "DELETE", Path: "/api/concurrency_groups/prune/k"},
		},
		"force cancel": {
			func(ctx context.Context, c *Client) error { return c.Cancel(ctx, "1", "why", true) }, `1`,
			seen{Method: "POST", Path: "/api/w/demo/jobs_u/queue/force_cancel/1", Body: `{"reason":"why"}`},
		},
		"update": {
			func(ctx context.Context, c *Client) error {
				_, err := c.Update(ctx, "1", Seen{Running: true, LogOffset: 7, StreamOffset: 9})
				return err
			}, `{}`,
			seen{Method: "GET", Path: "/api/w/demo/jobs_u/getupdate/1", Query: "log_offset=7&running=true&stream_offset=9"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, all := server(t, says("application/json", tt.answer))
			if err := tt.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			tt.want.Auth, tt.want.Agent = "Bearer secret", "sluice-client"
			if got := all(); len(got) != 1 || got[0] != tt.want {
				t.Errorf("sent %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestErrorsByStatus(t *testing.T) {
	tests := []struct {
		status      int
		mime, body  string
		code        sluice.Code
		message     string
		wantContain string
	}{
		{400, "text/plain", "concurrent_limit: must be a whole number\n", sluice.CodeInvalid, "concurrent_limit: must be a whole number", ""},
		{401, "text/plain", "unknown token", sluice.CodeUnauthorized, "unknown token", ""},
		{403, "text/plain", "no", sluice.CodeForbidden, "no", ""},
		{404, "text/plain", "no such job", sluice.CodeNotFound, "no such job", ""},
		{409, "text/plain", "it runs", sluice.CodeConflict, "it runs", ""},
		{413, "text/plain", "too large", sluice.CodeTooLarge, "too large", ""},
		{422, "application/json", `{"message":"wrong"}`, sluice.CodeInvalid, "wrong", ""},
		{429, "text/plain", "full", sluice.CodeLimited, "full", ""},
		{500, "application/json", `{"error":{"name":"E","message":"boom"}}`, sluice.CodeInternal, "boom", ""},
		{500, "text/html", "<html>nginx</html>", sluice.CodeInternal, "", "answered 500"},
		{504, "application/json", `{"error":"still waiting","job_id":"1"}`, sluice.CodeUnavailable, "still waiting", ""},
		{503, "text/plain", "", sluice.CodeUnavailable, "", "answered 503"},
	}
	for _, tt := range tests {
		c, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tt.mime)
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		})
		err := c.Prune(t.Context(), "k")
		var e *sluice.Error
		if !errors.As(err, &e) || e.Code != tt.code {
			t.Errorf("%d: error %v with code %q, want %q", tt.status, err, sluice.CodeOf(err), tt.code)
			continue
		}
		if tt.message != "" && e.Message != tt.message || !strings.Contains(e.Message, tt.wantContain) {
			t.Errorf("%d: message %q, want %q%s", tt.status, e.Message, tt.message, tt.wantContain)
		}
		if s := (*StatusError)(nil); !errors.As(err, &s) || s.Status != tt.status {
			t.Errorf("%d: the cause is %v", tt.status, s)
		}
	}
}

// What changes something is sent once; what does not, or is recognised, again.
func TestOnlyWhatIsSafeIsRepeated(t *testing.T) {
	tests := map[string]struct {
		call  func(context.Context, *Client) error
		twice bool
	}{
		"read": {func(ctx context.Context, c *Client) error { _, err := c.WhoAmI(ctx); return err }, true},
		"run":  {func(ctx context.Context, c *Client) error { _, err := c.Run(ctx, RunRequest{Path: "f/a"}); return err }, true},
		"plan": {func(ctx context.Context, c *Client) error { _, err := c.Plan(ctx, PlanRequest{}); return err }, true},
		"save": {func(ctx context.Context, c *Client) error {
			_, err := c.SaveScript(ctx, json.RawMessage(`{}`))
			return err
		}, false},
		"cancel": {func(ctx context.Context, c *Client) error { return c.Cancel(ctx, "1", "", false) }, false},
		"pause":  {func(ctx context.Context, c *Client) error { _, err := c.Pause(ctx, "k", Pause{}); return err }, false},
		"prune":  {func(ctx context.Context, c *Client) error { return c.Prune(ctx, "k") }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			c, all := server(t, func(w http.ResponseWriter, r *http.Request) {
				switch n.Add(1) {
				case 1:
					w.WriteHeader(http.StatusServiceUnavailable)
				case 2: // the connection breaks
					panic(http.ErrAbortHandler)
				default:
					says("application/json", `{"ids":["1"]}`)(w, r)
				}
			})
			err := tt.call(t.Context(), c)
			got := all()
			switch {
			case tt.twice && (err != nil || len(got) != 3):
				t.Errorf("%d requests, error %v", len(got), err)
			case !tt.twice && (err == nil || len(got) != 1):
				t.Errorf("%d requests, error %v", len(got), err)
			}
			for _, s := range got {
				if s.Body != got[0].Body {
					t.Errorf("the repetition differs: %s and %s", got[0].Body, s.Body)
				}
			}
		})
	}
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	c, all := server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	if _, err := c.Job(t.Context(), "1"); sluice.CodeOf(err) != sluice.CodeNotFound {
		t.Error(err)
	}
	if n := len(all()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestRunBulkDrawsIDs(t *testing.T) {
	c, all := server(t, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Jobs []struct {
				ID string `json:"job_id"`
			} `json:"jobs"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		ids := []string{}
		for _, j := range body.Jobs {
			ids = append(ids, j.ID)
		}
		w.WriteHeader(http.StatusCreated)
		if err := json.NewEncoder(w).Encode(map[string][]string{"ids": ids}); err != nil {
			t.Error(err)
		}
	})
	given := []RunRequest{{Path: "f/a", Args: json.RawMessage(`{"n":12345678901234567890}`)}, {Path: "f/b", ID: "mine"}}
	ids, err := c.RunBulk(t.Context(), given)
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != 2 || len(ids[0]) != 36 || ids[1] != "mine" || given[0].ID != "" {
		t.Errorf("ids %v, given %v", ids, given)
	}
	if body := all()[0].Body; !strings.Contains(body, "12345678901234567890") {
		t.Errorf("the number was changed: %s", body)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	c, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 1<<20)
		for range maxAnswer>>20 + 1 {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	if _, err := c.Logs(t.Context(), "1"); sluice.CodeOf(err) != sluice.CodeTooLarge {
		t.Error(err)
	}
}

func TestNoServer(t *testing.T) {
	srv := httptest.NewServer(nil)
	url := srv.URL
	srv.Close()
	c, err := New(Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	c.pause = time.Millisecond
	_, err = c.WhoAmI(t.Context())
	if sluice.CodeOf(err) != sluice.CodeUnavailable || !strings.Contains(err.Error(), "cannot reach a server at "+url) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.WhoAmI(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestNotASluiceServer(t *testing.T) {
	c, _ := server(t, says("text/html", "<!doctype html>"))
	if _, err := c.WhoAmI(t.Context()); err == nil || !strings.Contains(err.Error(), "is it one?") {
		t.Error(err)
	}
	if _, err := c.Events(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "is it a Sluice server?") {
		t.Error(err)
	}
}

func TestBadURLs(t *testing.T) {
	for _, url := range []string{"localhost:8000", "ftp://x", "http://", "::"} {
		if _, err := New(Config{URL: url}); sluice.CodeOf(err) != sluice.CodeInvalid {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := New(Config{Token: "two\nlines"}); sluice.CodeOf(err) != sluice.CodeInvalid {
		t.Errorf("a token of two lines: %v", err)
	}
}

func TestOutcome(t *testing.T) {
	tests := map[string]sluice.Outcome{
		`{"type":"QueuedJob","running":true}`:                     sluice.OutcomeNone,
		`{"type":"CompletedJob","success":true}`:                  sluice.OutcomeSuccess,
		`{"type":"CompletedJob","success":false}`:                 sluice.OutcomeFailure,
		`{"type":"CompletedJob","success":false,"canceled":true}`: sluice.OutcomeCanceled,
	}
	for text, want := range tests {
		var j Job
		if err := json.Unmarshal([]byte(text), &j); err != nil || j.Outcome() != want {
			t.Errorf("%s: %q, error %v, want %q", text, j.Outcome(), err, want)
		}
	}
}

func TestGroupLimit(t *testing.T) {
	var g Group
	if g.Limit() != nil {
		t.Error("a group without a limit has one")
	}
	if err := json.Unmarshal([]byte(`{"concurrent_limit":2,"concurrency_time_window_s":60,"concurrency_window_from":"start"}`), &g); err != nil {
		t.Fatal(err)
	}
	if want := (&limit.Limit{N: 2, Window: time.Minute, Mode: limit.Start}); !reflect.DeepEqual(g.Limit(), want) {
		t.Errorf("got %v, want %v", g.Limit(), want)
	}
}
