// Package demoapi is a stand-in for somebody else's rate-limited service: it
// lets N calls through in any trailing window, refuses those beyond, and counts
// both. The tour and the examples call it, so that a limit that works can be
// told from one that does not.
package demoapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"sluice"
)

// Bounds on what [New] accepts. A server keeps one instant for each call that
// its window may hold, and nothing else that grows.
const (
	MaxLimit  = 1_000_000
	MinWindow = time.Millisecond
)

// Server is an [http.Handler]. GET /stats answers with [Stats], POST /reset
// forgets every call, and any other path, with any method, is a call: 200
// within the limit, 429 with Retry-After beyond it. Refused calls do not count
// against the limit. All methods may be called from many goroutines.
//
// A window is half-open: a call that was let through at t no longer counts at
// exactly t + Window. The fields must not change once the server is in use.
type Server struct {
	Limit  int              // calls in any trailing window, 1 … MaxLimit
	Window time.Duration    // at least MinWindow
	Now    func() time.Time // the clock; an instant before one already seen is taken for that one

	mu     sync.Mutex
	latest time.Time   // newest instant seen
	ring   []time.Time // when call n was let through, at n mod Limit; at most Limit of them
	oldest int         // number of the first call that is still in the window
	stats  Stats
}

// Stats is what a server has seen since it started or was reset.
type Stats struct {
	Limit       int        `json:"limit"`
	WindowMS    int64      `json:"window_ms"`
	OK          int        `json:"ok"`            // calls let through
	Rejected    int        `json:"rejected"`      // calls refused
	MaxInWindow int        `json:"max_in_window"` // most calls let through in any one window
	FirstAt     *time.Time `json:"first_at"`      // first call of either kind, UTC; nil: none
	LastAt      *time.Time `json:"last_at"`       // last call of either kind, UTC; nil: none
}

// answer is the body of a call.
type answer struct {
	OK           bool   `json:"ok"`
	InWindow     int    `json:"in_window"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
	Error        string `json:"error,omitempty"`
}

// New returns a server on the machine's monotonic clock. The error has code
// invalid and names the argument that is out of bounds.
func New(limit int, window time.Duration) (*Server, error) {
	if limit < 1 || limit > MaxLimit {
		return nil, sluice.Invalid("limit", "must be from 1 to %d, not %d", MaxLimit, limit)
	}
	if window < MinWindow {
		return nil, sluice.Invalid("window", "must be at least %s, not %s", MinWindow, window)
	}
	return &Server{Limit: limit, Window: window, Now: time.Now}, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	want := map[string]string{"/stats": http.MethodGet, "/reset": http.MethodPost}[r.URL.Path]
	switch {
	case want != "" && r.Method != want:
		w.Header().Set("Allow", want)
		writeJSON(w, http.StatusMethodNotAllowed, answer{Error: r.URL.Path + " wants " + want})
	case r.URL.Path == "/stats":
		writeJSON(w, http.StatusOK, s.Stats())
	case r.URL.Path == "/reset":
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	default:
		s.serveCall(w)
	}
}

func (s *Server) serveCall(w http.ResponseWriter) {
	inWindow, retry := s.call()
	if retry == 0 {
		writeJSON(w, http.StatusOK, answer{OK: true, InWindow: inWindow})
		return
	}
	w.Header().Set("Retry-After", strconv.FormatInt(ceilDiv(retry, time.Second), 10))
	writeJSON(w, http.StatusTooManyRequests, answer{
		InWindow:     inWindow,
		RetryAfterMS: ceilDiv(retry, time.Millisecond),
		Error:        "too many calls: at most " + strconv.Itoa(s.Limit) + " in any " + s.Window.String(),
	})
}

// call judges one call. It returns how many calls the window now holds, this
// one included if it was let through, and how long until there is room: 0 if
// it was.
func (s *Server) call() (inWindow int, retry time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The clock is read under the lock, so that calls are judged in its order.
	if now := s.Now(); now.After(s.latest) {
		s.latest = now
	}
	at := s.latest
	utc := at.UTC()
	s.stats.LastAt = &utc
	if s.stats.FirstAt == nil {
		s.stats.FirstAt = &utc
	}

	for s.oldest < s.stats.OK && at.Sub(s.ring[s.oldest%s.Limit]) >= s.Window {
		s.oldest++
	}
	if held := s.stats.OK - s.oldest; held >= s.Limit {
		s.stats.Rejected++
		return held, s.Window - at.Sub(s.ring[s.oldest%s.Limit])
	}
	if len(s.ring) < s.Limit {
		s.ring = append(s.ring, at)
	} else {
		s.ring[s.stats.OK%s.Limit] = at
	}
	s.stats.OK++
	inWindow = s.stats.OK - s.oldest
	s.stats.MaxInWindow = max(s.stats.MaxInWindow, inWindow)
	return inWindow, 0
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Limit, stats.WindowMS = s.Limit, s.Window.Milliseconds()
	return stats
}

// Reset forgets every call, those of the running window too: the server is as
// good as new.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring, s.oldest, s.stats = nil, 0, Stats{}
}

// ceilDiv returns how many units cover d.
func ceilDiv(d, unit time.Duration) int64 { return int64((d + unit - 1) / unit) }

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // cannot happen: the bodies are the structs above
		http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the caller has gone; nobody is left to tell
}
