package httpapi

import (
	"net/http"
	"time"
)

const (
	// writeTimeout is how long a piece of an answer may take on its way to its
	// reader; whoever takes longer is cut off.
	writeTimeout = 20 * time.Second
	writePiece   = 64 << 10
)

// timedWriter gives every piece of an answer a deadline of its own: a whole
// answer may take as long as it needs, a reader that stands still may not.
type timedWriter struct {
	http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
}

func newTimedWriter(w http.ResponseWriter, timeout time.Duration) *timedWriter {
	return &timedWriter{ResponseWriter: w, rc: http.NewResponseController(w), timeout: timeout}
}

// Unwrap returns the writer beneath, for [http.ResponseController].
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// extend moves the deadline. It is also called before and after each request:
// a connection that is used again must not keep an old one.
func (w *timedWriter) extend() {
	_ = w.rc.SetWriteDeadline(deadline(w.timeout)) // a recorder has none
}

// Write writes b piece by piece.
func (w *timedWriter) Write(b []byte) (int, error) {
	n := 0
	for {
		w.extend()
		m, err := w.ResponseWriter.Write(b[n:min(n+writePiece, len(b))])
		n += m
		if err != nil || n == len(b) {
			return n, err
		}
	}
}
