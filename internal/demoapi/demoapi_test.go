package demoapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that stands where it is put.
type clock struct{ at time.Duration }

func (c *clock) now() time.Time { return epoch.Add(c.at) }

func request(t testing.TB, s *Server, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
	return rec
}

func TestEdges(t *testing.T) {
	const ms = time.Millisecond
	type call struct {
		at    time.Duration
		want  int
		retry string // Retry-After
		ms    int64  // retry_after_ms
	}
	tests := []struct {
		name   string
		limit  int
		window time.Duration
		calls  []call
		max    int
	}{
		{"room again at exactly the window's end, not a nanosecond earlier", 1, time.Second, []call{
			{0, 200, "", 0}, {time.Second - 1, 429, "1", 1}, {time.Second, 200, "", 0}, {time.Second, 429, "1", 1000},
		}, 1},
		{"a trailing window, not an aligned one", 2, time.Second, []call{
			{900 * ms, 200, "", 0}, {950 * ms, 200, "", 0}, {1100 * ms, 429, "1", 800}, {1900 * ms, 200, "", 0}, {1910 * ms, 429, "1", 40}, {1950 * ms, 200, "", 0},
		}, 2},
		{"refused calls do not count", 1, time.Second, []call{
			{0, 200, "", 0}, {500 * ms, 429, "1", 500}, {900 * ms, 429, "1", 100}, {1000 * ms, 200, "", 0},
		}, 1},
		{"a burst at one instant", 3, time.Second, []call{
			{0, 200, "", 0}, {0, 200, "", 0}, {0, 200, "", 0}, {0, 429, "1", 1000}, {1000 * ms, 200, "", 0}, {1000 * ms, 200, "", 0}, {1000 * ms, 200, "", 0}, {1000 * ms, 429, "1", 1000},
		}, 3},
		{"an idle stretch empties the window; seconds are rounded up", 2, 90 * time.Second, []call{
			{0, 200, "", 0}, {time.Hour, 200, "", 0}, {time.Hour, 200, "", 0}, {time.Hour + 500*ms, 429, "90", 89_500},
		}, 2},
		{"never full", 5, time.Second, []call{{0, 200, "", 0}, {600 * ms, 200, "", 0}, {1200 * ms, 200, "", 0}}, 2},
		{"a clock that goes back frees nothing and takes nothing", 1, time.Second, []call{
			{time.Second, 200, "", 0}, {0, 429, "1", 1000}, {1999 * ms, 429, "1", 1}, {2 * time.Second, 200, "", 0},
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &clock{}
			s := &Server{Limit: tt.limit, Window: tt.window, Now: c.now}
			ok := 0
			for i, call := range tt.calls {
				c.at = call.at
				rec := request(t, s, "POST", "/anything")
				var body answer
				if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
					t.Fatalf("call %d: %v in %q", i, err, rec.Body)
				}
				if rec.Code != call.want || rec.Header().Get("Retry-After") != call.retry || body.RetryAfterMS != call.ms {
					t.Errorf("call %d at %s: %d, Retry-After %q, %d ms; want %d, %q, %d ms",
						i, call.at, rec.Code, rec.Header().Get("Retry-After"), body.RetryAfterMS, call.want, call.retry, call.ms)
				}
				if body.OK != (call.want == 200) || (body.Error == "") != body.OK {
					t.Errorf("call %d: body %s does not say what its status says", i, rec.Body)
				}
				if call.want == 200 {
					ok++
				}
			}
			got := s.Stats()
			if got.OK != ok || got.Rejected != len(tt.calls)-ok || got.MaxInWindow != tt.max {
				t.Errorf("stats %+v; want %d ok, %d rejected, %d at most", got, ok, len(tt.calls)-ok, tt.max)
			}
		})
	}
}

// TestAgainstBruteForce judges every answer by counting all calls ever let
// through: one may be let through only if the window before it holds fewer than
// N, and refused only if it holds N.
func TestAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{}
		s := &Server{
			Limit:  rapid.IntRange(1, 6).Draw(t, "limit"),
			Window: time.Duration(rapid.IntRange(1, 20).Draw(t, "window")) * time.Millisecond,
			Now:    c.now,
		}
		var let []time.Duration
		calls, most := 0, 0
		inWindow := func() (n int) {
			for _, at := range let {
				if at > c.at-s.Window {
					n++
				}
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"call": func(t *rapid.T) {
				before := inWindow()
				calls++
				got, retry := s.call()
				if retry == 0 {
					let = append(let, c.at)
				}
				if letThrough := retry == 0; letThrough != (before < s.Limit) {
					t.Fatalf("at %s with %d of %d in the window: let through %v", c.at, before, s.Limit, letThrough)
				}
				if now := inWindow(); got != now {
					t.Fatalf("at %s: says %d in the window, not %d", c.at, got, now)
				}
				most = max(most, got)
				if retry == 0 {
					return
				}
				// The wait it names is exact: full a nanosecond before, room at it.
				back := c.at
				if c.at = back + retry - 1; inWindow() < s.Limit {
					t.Fatalf("retry after %s is too long", retry)
				}
				if c.at = back + retry; inWindow() >= s.Limit {
					t.Fatalf("retry after %s is too short", retry)
				}
				c.at = back
			},
			"wait": func(t *rapid.T) {
				c.at += rapid.OneOf(
					rapid.Just(s.Window), rapid.Just(s.Window-1), rapid.Just(time.Nanosecond),
					rapid.Map(rapid.IntRange(0, 30), func(n int) time.Duration { return time.Duration(n) * time.Millisecond }),
				).Draw(t, "wait")
			},
			"reset": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "reset") == 0 {
					s.Reset()
					let, calls, most = nil, 0, 0
				}
			},
			"": func(t *rapid.T) {
				got := s.Stats()
				if got.OK != len(let) || got.OK+got.Rejected != calls || got.MaxInWindow != most || most > s.Limit {
					t.Fatalf("stats %+v after %d calls, %d let through, %d at most", got, calls, len(let), most)
				}
				if len(s.ring) > s.Limit {
					t.Fatalf("keeps %d instants for a limit of %d", len(s.ring), s.Limit)
				}
			},
		})
	})
}

func TestConcurrentCallsAreNeverOver(t *testing.T) {
	s, err := New(25, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				response, err := http.Get(server.URL)
				if err != nil {
					t.Error(err)
					return
				}
				response.Body.Close()
				s.Stats()
			}
		})
	}
	wg.Wait()
	if got := s.Stats(); got.OK != 25 || got.Rejected != 175 || got.MaxInWindow != 25 {
		t.Errorf("stats %+v; want 25 ok, 175 rejected", got)
	}
}

func TestStatsAndReset(t *testing.T) {
	c := &clock{}
	s := &Server{Limit: 1, Window: 1500 * time.Millisecond, Now: c.now}
	stats := func(want string) {
		t.Helper()
		rec := request(t, s, "GET", "/stats")
		if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/json" || rec.Body.String() != want+"\n" {
			t.Errorf("%d %s\n got %s want %s", rec.Code, rec.Header().Get("Content-Type"), rec.Body, want)
		}
	}
	stats(`{"limit":1,"window_ms":1500,"ok":0,"rejected":0,"max_in_window":0,"first_at":null,"last_at":null}`)
	request(t, s, "GET", "/")
	c.at = time.Second
	request(t, s, "GET", "/")
	stats(`{"limit":1,"window_ms":1500,"ok":1,"rejected":1,"max_in_window":1,"first_at":"2026-03-01T12:00:00Z","last_at":"2026-03-01T12:00:01Z"}`)

	for path, method := range map[string]string{"/stats": "POST", "/reset": "GET"} {
		if rec := request(t, s, method, path); rec.Code != 405 || rec.Header().Get("Allow") == "" {
			t.Errorf("%s %s: %d", method, path, rec.Code)
		}
	}
	if got := s.Stats(); got.OK+got.Rejected != 2 {
		t.Errorf("a wrong method was counted as a call: %+v", got)
	}
	if rec := request(t, s, "POST", "/reset"); rec.Code != 204 {
		t.Errorf("reset: %d", rec.Code)
	}
	stats(`{"limit":1,"window_ms":1500,"ok":0,"rejected":0,"max_in_window":0,"first_at":null,"last_at":null}`)
	if rec := request(t, s, "GET", "/"); rec.Code != 200 {
		t.Errorf("first call after a reset: %d", rec.Code)
	}
}

func TestNewRefusesWhatIsOutOfBounds(t *testing.T) {
	for _, tt := range []struct {
		limit  int
		window time.Duration
		field  string
	}{
		{0, time.Second, "limit"},
		{-1, time.Second, "limit"},
		{MaxLimit + 1, time.Second, "limit"},
		{1, 0, "window"},
		{1, -time.Second, "window"},
		{1, MinWindow - 1, "window"},
		{1, MinWindow, ""},
		{MaxLimit, time.Hour, ""},
	} {
		_, err := New(tt.limit, tt.window)
		var e *sluice.Error
		field := ""
		if errors.As(err, &e) && e.Code == sluice.CodeInvalid {
			field = e.Field
		}
		if field != tt.field || (err == nil) != (tt.field == "") {
			t.Errorf("New(%d, %s): %v; want the field %q", tt.limit, tt.window, err, tt.field)
		}
	}
}
