package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// longestNote is how long a line to the witness may be.
const longestNote = 4 << 10

// note is a line of the witness's file.
type note struct {
	Job     string `json:"job"`
	Attempt int    `json:"attempt"`
	Key     string `json:"key"`
	Event   string `json:"event"` // "begin" or "end"
	MonoUS  int64  `json:"mono_us"`
}

const (
	noteBegin = "begin"
	noteEnd   = "end"
)

// Serve is a witness. A job connects, sends the line "JOB ATTEMPT KEY" (the
// key may hold spaces), is answered "ok", and holds the connection as long as
// it runs; in bash
//
//	exec 9<>/dev/tcp/127.0.0.1/PORT; echo "$JOB $ATTEMPT $KEY" >&9; read -r _ <&9
//
// The kernel closes it when the last process that holds it is gone, however it
// died. Serve writes to out a line of JSON for every begin and every end, with
// its own monotonic clock in microseconds; lines never go back in time. An end
// that the kernel knows of is written before a later begin, so that a job that
// was started because another one had ended is never seen beside it.
//
// A job that is gone before it was answered is not noted: nobody knows when it
// ended, and it has done nothing but connect.
//
// Serve returns when l is closed, with nil or the first error of out. Jobs that
// are connected then have no end written.
func Serve(l net.Listener, out io.Writer) error {
	began := time.Now() //nolint:forbidigo // a witness is worth what its own clock is
	w := &witness{out: out, guests: map[*guest]bool{}, clock: func() int64 {
		return time.Since(began).Microseconds() //nolint:forbidigo // as above
	}}
	var wg sync.WaitGroup
	for {
		conn, err := l.Accept()
		if err != nil {
			w.close()
			wg.Wait()
			if errors.Is(err, net.ErrClosed) {
				err = nil
			}
			return errors.Join(w.err, err)
		}
		wg.Go(func() { w.serve(conn) })
	}
}

// guest is a connected job.
type guest struct {
	conn    net.Conn
	job     string
	attempt int
	key     string
	there   bool // it has begun and not ended
}

type witness struct {
	clock func() int64

	mu     sync.Mutex
	out    io.Writer
	guests map[*guest]bool
	closed bool
	err    error
}

// serve listens to one job until it is gone.
func (w *witness) serve(conn net.Conn) {
	defer conn.Close()
	g := &guest{conn: conn}
	if !w.enter(g) {
		return
	}
	defer w.leave(g)
	in := bufio.NewReaderSize(conn, longestNote)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return
	}
	words := strings.SplitN(strings.TrimRight(string(line), "\r\n"), " ", 3)
	attempt, err := strconv.Atoi(words[min(1, len(words)-1)])
	if len(words) != 3 || err != nil {
		_, _ = io.WriteString(conn, "say JOB ATTEMPT KEY\n")
		return
	}
	g.job, g.attempt, g.key = words[0], attempt, words[2]
	w.begin(g)
	_, _ = io.WriteString(conn, "ok\n")
	_, _ = io.Copy(io.Discard, in)
}

func (w *witness) enter(g *guest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.guests[g] = true
	}
	return !w.closed
}

// begin notes that a job runs, after the ends of all that are gone by now.
func (w *witness) begin(g *guest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteGone()
	if gone(g.conn) {
		return
	}
	g.there = true
	w.write(g, noteBegin)
}

// noteGone notes the ends that the kernel knows of. w.mu is held.
func (w *witness) noteGone() {
	for g := range w.guests {
		if g.there && gone(g.conn) {
			w.end(g)
		}
	}
}

func (w *witness) leave(g *guest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end(g)
	delete(w.guests, g)
}

// end notes the end of a guest that is there. w.mu is held.
func (w *witness) end(g *guest) {
	if g.there && !w.closed {
		w.write(g, noteEnd)
	}
	g.there = false
}

// write writes a note. w.mu is held.
func (w *witness) write(g *guest, event string) {
	b, err := json.Marshal(note{Job: g.job, Attempt: g.attempt, Key: g.key, Event: event, MonoUS: w.clock()})
	if err == nil {
		_, err = w.out.Write(append(b, '\n'))
	}
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("write what the witness saw: %w", err)
	}
}

// close sends all guests away without noting an end of those that are there.
func (w *witness) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteGone()
	w.closed = true
	for g := range w.guests {
		g.conn.Close()
	}
}
