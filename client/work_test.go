package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice"
)

// A result that is as large as it may be, of nothing but what HTML would have
// escaped, travels in one call that a server takes; more travel in several.
func TestReportsFit(t *testing.T) {
	const most = 4 << 20 // bytes that a server takes
	var sizes, counts []int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("X-Sluice-Worker") != "1" {
			t.Errorf("%v, header %q", err, r.Header.Get("X-Sluice-Worker"))
		}
		var ask settleRequest
		if err := json.Unmarshal(b, &ask); err != nil {
			t.Error(err)
		}
		sizes, counts = append(sizes, len(b)), append(counts, len(ask.Reports))
		errs := make([]*struct{}, len(ask.Reports))
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(map[string]any{"errors": errs, "assignments": []any{}}); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	w, err := NewWork([]string{srv.URL}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	large := json.RawMessage(`"` + strings.Repeat("<", sluice.MaxResultBytes-2) + `"`)
	reports := []sluice.Report{{Result: large}, {Result: large}}
	for range 20_000 {
		reports = append(reports, sluice.Report{Result: json.RawMessage("1"), Worker: strings.Repeat("w", 60)})
	}
	for i, err := range w.Report(t.Context(), reports) {
		if err != nil {
			t.Fatalf("report %d: %v", i, err)
		}
	}
	total := 0
	for i, n := range sizes {
		total += counts[i]
		if n > most {
			t.Errorf("a call of %d bytes", n)
		}
	}
	if total != len(reports) {
		t.Errorf("%d reports arrived of %d", total, len(reports))
	}
}

// Who turns to another server does so because one is away, not because the
// caller gave up.
func TestWorkTurns(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[]")
	}))
	defer there.Close()
	w, err := NewWork([]string{gone.URL, there.URL}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	given, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Orders(given, "w"); err == nil || w.URL() != gone.URL {
		t.Errorf("given up: %v, now %s", err, w.URL())
	}
	if _, err := w.Orders(t.Context(), "w"); sluice.CodeOf(err) != sluice.CodeUnavailable || w.URL() != there.URL {
		t.Errorf("away: %v, now %s", err, w.URL())
	}
	if _, err := w.Orders(t.Context(), "w"); err != nil {
		t.Error(err)
	}
}
