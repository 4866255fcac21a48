package worker

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"sluice"
)

const (
	logChunk  = 64 << 10 // bytes in one AppendLog, at most
	logBuffer = 1 << 20  // bytes held until the source took them; a job that is faster waits
	logTail   = 4 << 10  // bytes kept for the message of a failure
	logLazy   = 100 * time.Millisecond
	// logPatience is how long appending may fail before a log is given up. If the
	// source is away altogether, the lease ends the job at about the same time.
	logPatience = 30 * time.Second
	// logGrace is how long the end of a job waits for the source to take its log.
	logGrace = 10 * time.Second
)

// logSink sends one chunk.
type logSink func(ctx context.Context, execution, offset int64, text []byte) error

// jobLog is the log of one execution on its way to the source: bounded, in
// order, each byte once.
type jobLog struct {
	execution int64
	send      logSink
	mark      string // written where the log is cut

	mu       sync.Mutex
	onRoom   func()
	buf      []byte    // accepted, not yet taken by the source
	offset   int64     // bytes that the source has taken
	since    time.Time // when the oldest byte of buf arrived
	flushing bool
	full     bool  // somebody waits for room
	room     int64 // bytes that the log may still take
	cut      bool  // the mark of the cut is written
	lost     bool  // the source refuses this log
	failing  time.Time
	tail     []byte
	drained  chan struct{} // closed when a flush ends; nil if nobody waits
}

func newJobLog(execution int64, send logSink) *jobLog {
	mark := cutMark()
	return &jobLog{execution: execution, send: send, mark: mark, room: sluice.MaxLogBytes - int64(len(mark))}
}

// newResultStream makes the result stream of an execution, which goes the way
// of a log.
func newResultStream(execution int64, send logSink) *jobLog {
	return &jobLog{execution: execution, send: send, room: sluice.MaxStreamBytes}
}

func cutMark() string {
	return fmt.Sprintf("\n[the log ends here: it is longer than %d bytes; the job goes on]\n", sluice.MaxLogBytes)
}

// write takes all of p, or nothing if the buffer is full; then the function given
// to notifyRoom is called once there is room. What exceeds the bound of the log is dropped.
func (l *jobLog) write(ctx context.Context, p []byte, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cut && !l.lost && len(l.buf) >= logBuffer {
		l.full = true
		return false
	}
	l.remember(p)
	switch {
	case l.cut || l.lost || len(p) == 0:
		return true
	case int64(len(p)) > l.room:
		p = append(p[:l.room:l.room], l.mark...)
		l.cut = true
	default:
		l.room -= int64(len(p))
	}
	if len(l.buf) == 0 {
		l.since = now
	}
	l.buf = append(l.buf, p...)
	if len(l.buf) >= logChunk/2 {
		l.startFlush(ctx)
	}
	return true
}

func (l *jobLog) remember(p []byte) {
	if len(p) > logTail {
		p = p[len(p)-logTail:]
	}
	if len(l.tail)+len(p) > 2*logTail {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-logTail:]...)
	}
	l.tail = append(l.tail, p...)
}

// lastLines returns the end of what was written, at most 4 KiB, beginning with
// a whole line if possible.
func (l *jobLog) lastLines() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tail
	if len(t) > logTail {
		t = t[len(t)-logTail:]
		for i, c := range t {
			if c == '\n' && i+1 < len(t) {
				t = t[i+1:]
				break
			}
		}
	}
	return string(t)
}

// discards reports whether further output goes nowhere.
func (l *jobLog) discards() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut || l.lost
}

// flushOlder starts to send what has waited long enough.
func (l *jobLog) flushOlder(ctx context.Context, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf) > 0 && now.Sub(l.since) >= logLazy {
		l.startFlush(ctx)
	}
}

func (l *jobLog) startFlush(ctx context.Context) {
	if !l.flushing {
		l.flushing = true
		go l.flush(ctx)
	}
}

// flush sends until the buffer is empty.
func (l *jobLog) flush(ctx context.Context) {
	retry := newBackoff(50*time.Millisecond, 2*time.Second)
	for {
		l.mu.Lock()
		n := wholeRunes(l.buf, logChunk)
		if n == 0 || l.lost || ctx.Err() != nil {
			l.flushing = false
			if l.drained != nil {
				close(l.drained)
				l.drained = nil
			}
			l.mu.Unlock()
			return
		}
		text, offset := append([]byte(nil), l.buf[:n]...), l.offset
		l.mu.Unlock()

		err := l.send(ctx, l.execution, offset, text)
		l.settle(n, err)
		if err != nil {
			retry.wait(ctx)
		} else {
			retry.reset()
		}
	}
}

// wholeRunes returns how many of the first most bytes to send: all, or a few
// less so that no character is cut in two.
func wholeRunes(p []byte, most int) int {
	if len(p) <= most {
		return len(p)
	}
	for n := most; n > most-utf8.UTFMax; n-- {
		if utf8.RuneStart(p[n]) {
			return n
		}
	}
	return most
}

// used reports whether anything was written.
func (l *jobLog) used() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.offset > 0 || len(l.buf) > 0 || l.lost
}

// settle books what became of the first n bytes of the buffer.
func (l *jobLog) settle(n int, err error) {
	l.mu.Lock()
	now := time.Now()
	switch {
	case err == nil:
		l.offset += int64(n)
		l.buf = append(l.buf[:0], l.buf[n:]...)
		l.since, l.failing = now, time.Time{}
	case !temporary(err) || (!l.failing.IsZero() && now.Sub(l.failing) > logPatience):
		l.lost, l.buf = true, nil
	case l.failing.IsZero():
		l.failing = now
	}
	var wake func()
	if l.full && len(l.buf) < logBuffer/2 {
		l.full, wake = false, l.onRoom
	}
	l.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// notifyRoom sets what is called, without the lock, when a full buffer has room again.
func (l *jobLog) notifyRoom(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onRoom = f
}

// finished reports whether there is nothing left to send.
func (l *jobLog) finished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buf) == 0 && !l.flushing
}

// finish sends what is left and waits for it, or until ctx ends; then the rest
// is given up. Sending goes on under the context life.
func (l *jobLog) finish(ctx, life context.Context) {
	l.mu.Lock()
	if len(l.buf) == 0 && !l.flushing {
		l.mu.Unlock()
		return
	}
	if l.drained == nil {
		l.drained = make(chan struct{})
	}
	drained := l.drained
	l.startFlush(life)
	l.mu.Unlock()
	select {
	case <-drained:
	case <-ctx.Done():
		l.mu.Lock()
		l.lost, l.buf = true, nil
		l.mu.Unlock()
	}
}

// lastLine finds the last line of a stream, as tail -n 1 does: the text after
// the last newline or, if there is none, the line before it.
type lastLine struct {
	line, open         []byte
	lineOver, openOver bool // longer than the bound
}

func (t *lastLine) feed(p []byte) {
	end := bytes.LastIndexByte(p, '\n')
	if end < 0 {
		t.open, t.openOver = appendBounded(t.open, p, t.openOver)
		return
	}
	if start := bytes.LastIndexByte(p[:end], '\n'); start >= 0 {
		t.line, t.lineOver = appendBounded(t.line[:0], p[start+1:end], false)
	} else {
		t.open, t.openOver = appendBounded(t.open, p[:end], t.openOver)
		t.line, t.open = t.open, t.line
		t.lineOver = t.openOver
	}
	t.open, t.openOver = appendBounded(t.open[:0], p[end+1:], false)
}

// result returns the line; false if it is longer than a result may be.
func (t *lastLine) result() ([]byte, bool) {
	if len(t.open) > 0 {
		return t.open, !t.openOver
	}
	return t.line, !t.lineOver
}

func appendBounded(dst, p []byte, over bool) ([]byte, bool) {
	if room := sluice.MaxResultBytes - len(dst); len(p) > room {
		return append(dst, p[:room]...), true
	}
	return append(dst, p...), over
}
