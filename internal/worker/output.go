package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/mask"
)

// The two streams of a program.
const (
	streamOut = iota
	streamErr
	streams
)

// Output of a program is read through two pipes, so that the two streams can be
// told apart, and yet in the order in which it was written:
//
//   - Each pipe is in packet mode and has room for one packet (a write of up to
//     4 KiB), so a stream never holds more than one write that was not yet read.
//   - One edge-triggered epoll instance watches all pipes. Its list of what is
//     ready is in the order in which the pipes became ready, which is the order
//     of the writes, since every write was to an empty pipe.
//
// The price is a switch of processes per write. Once a log is cut, order is
// worth nothing any more, and the pipes are made larger.
//
// A stream that a program opens anew by name (/dev/stderr) is not in packet
// mode; its bytes are told apart as well, but are in order only write by write.
type outputReader struct {
	epoll int
	poll  syscall.RawConn // waits for epoll without a thread of its own
	file  *os.File        // owns epoll
	wake  int             // eventfd
	buf   [64 << 10]byte
	ended chan struct{}

	mu     sync.Mutex
	next   int32
	byID   map[int32]*output
	calls  []func() // to be made by the reading goroutine
	closed bool
}

// output is what one program prints.
type output struct {
	id      int32
	ctx     context.Context
	fds     [streams]int
	log     *jobLog // nil: it is nobody's yet, and is not read
	stream  *jobLog // the result stream
	lines   streamLines
	last    lastLine // of standard output
	masks   [streams]mask.Stream
	waiting []int // streams that became ready and were not read yet, in order
	stalled bool  // the log has no room
	wide    bool  // the pipes were made larger: read until empty
	queued  bool  // a call of advance is on its way
	closed  bool
}

const wakeID = -1

func newOutputReader() (*outputReader, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a poller for output: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: wakeID})
	}
	if err == nil {
		err = unix.SetNonblock(ep, true) // for os.NewFile
	}
	file := os.NewFile(uintptr(ep), "poller for output")
	poll, err2 := file.SyscallConn()
	if err = errors.Join(err, err2); err != nil {
		file.Close()
		return nil, fmt.Errorf("make a poller for output: %w", err)
	}
	r := &outputReader{epoll: ep, file: file, poll: poll, wake: wake, byID: make(map[int32]*output), ended: make(chan struct{})}
	go r.run()
	return r, nil
}

// open makes the pipes of a program and returns their write ends, which are to
// be closed when the program has them.
func (r *outputReader) open(ctx context.Context) (*output, [streams]*os.File, error) {
	o := &output{ctx: ctx}
	var ends [streams]*os.File
	for s := range streams {
		var p [2]int
		err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_DIRECT)
		if err != nil {
			if s == streamErr {
				_ = unix.Close(o.fds[streamOut])
				ends[streamOut].Close()
			}
			return nil, ends, fmt.Errorf("make a pipe for output: %w", err)
		}
		_, _ = unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, 4096)
		_ = unix.SetNonblock(p[0], true)
		o.fds[s], ends[s] = p[0], os.NewFile(uintptr(p[1]), "output")
	}
	r.mu.Lock()
	r.next = (r.next + 1) & (1<<30 - 1)
	o.id = r.next
	r.byID[o.id] = o
	r.mu.Unlock()
	for s, fd := range o.fds {
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: o.id, Pad: int32(s)}
		if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			ends[streamOut].Close()
			ends[streamErr].Close()
			r.finish(o)
			return nil, ends, fmt.Errorf("watch a pipe for output: %w", err)
		}
	}
	return o, ends, nil
}

// attach makes the output that of a job.
func (r *outputReader) attach(o *output, h *held) {
	resume := func() { r.resume(o) }
	h.log.notifyRoom(resume)
	h.stream.notifyRoom(resume)
	r.do(func() {
		o.log, o.stream, o.masks = h.log, h.stream, [streams]mask.Stream{mask.NewStream(h.secrets), mask.NewStream(h.secrets)}
		o.lines, o.last, o.stalled = streamLines{}, lastLine{}, false
		r.advance(o)
	})
}

// detach reads what its job has written, and makes the output nobody's.
func (r *outputReader) detach(o *output) {
	r.settle(o, func() {
		for s := range o.fds {
			for !o.stalled && r.read(o, s) {
			}
		}
		o.flush()
		o.log, o.stream = nil, nil
	})
}

// settle has last called when what is ready was read, or when the log has had no
// room for it for logGrace.
func (r *outputReader) settle(o *output, last func()) {
	done := make(chan struct{})
	deadline := time.Now().Add(logGrace)
	var try func()
	try = func() {
		r.advance(o)
		if o.log != nil && o.stalled && time.Now().Before(deadline) {
			time.AfterFunc(5*time.Millisecond, func() { r.do(try) })
			return
		}
		last()
		close(done)
	}
	r.do(try)
	<-done
}

// finish reads what is left in the pipes of a program that is gone, closes them
// and returns when the log has all of it, or has had no room for it for logGrace:
// output that nobody takes must not keep a job from its end.
func (r *outputReader) finish(o *output) {
	r.settle(o, func() {
		r.mu.Lock()
		delete(r.byID, o.id)
		r.mu.Unlock()
		o.wide, o.closed = true, true
		for s, fd := range o.fds {
			for !o.stalled && r.read(o, s) {
			}
			_ = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_DEL, fd, nil)
			_ = unix.Close(fd)
		}
		if o.log != nil {
			o.flush()
		}
	})
}

// resume reads on for a log that has room again.
func (r *outputReader) resume(o *output) { r.do(func() { o.stalled = false; r.advance(o) }) }

// do has f called by the reading goroutine, after what became ready before.
func (r *outputReader) do(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, f)
	_, _ = unix.Write(r.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// close ends the reading goroutine; every output must have been finished.
func (r *outputReader) close() {
	r.do(func() { r.closed = true })
	<-r.ended
	r.file.Close()
	_ = unix.Close(r.wake)
}

func (r *outputReader) run() {
	defer close(r.ended)
	events := make([]unix.EpollEvent, 128)
	for !r.closed {
		n := 0
		err := r.poll.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0)
			return err == nil && n > 0
		})
		if err != nil {
			return // the file was closed, which only close does
		}
		for _, e := range events[:n] {
			if e.Fd == wakeID {
				r.runCalls()
				continue
			}
			r.mu.Lock()
			o := r.byID[e.Fd]
			r.mu.Unlock()
			if o != nil && (!o.wide || !slices.Contains(o.waiting, int(e.Pad))) {
				o.waiting = append(o.waiting, int(e.Pad))
				r.advance(o)
			}
		}
	}
}

func (r *outputReader) runCalls() {
	var count [8]byte
	_, _ = unix.Read(r.wake, count[:])
	r.mu.Lock()
	calls := r.calls
	r.calls = nil
	r.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

// advance reads the streams that are ready, in order, until the log is full.
func (r *outputReader) advance(o *output) {
	for len(o.waiting) > 0 && !o.stalled && !o.closed {
		s := o.waiting[0]
		more := r.read(o, s)
		if o.stalled {
			return
		}
		if o.wide && more {
			if !o.queued { // others have their turn first
				o.queued = true
				r.do(func() { o.queued = false; r.advance(o) })
			}
			return
		}
		o.waiting = append(o.waiting[:0], o.waiting[1:]...)
	}
}

// read reads once from a stream, or several times if its pipe is wide, and
// reports whether there may be more. If the log is full it reads nothing.
func (r *outputReader) read(o *output, s int) bool {
	if o.log == nil {
		o.stalled = true
		return true
	}
	if !o.wide && o.log.discards() {
		o.wide = true
		for _, fd := range o.fds { // may be refused; it is only faster
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, len(r.buf))
		}
	}
	for range 16 {
		if !o.log.write(o.ctx, nil, time.Time{}) || !o.stream.write(o.ctx, nil, time.Time{}) {
			o.stalled = true
			return true
		}
		n, err := unix.Read(o.fds[s], r.buf[:])
		if n <= 0 || err != nil {
			return false
		}
		o.take(s, r.buf[:n])
		if !o.wide {
			return false
		}
	}
	return true
}

// take sends what a stream brought where it belongs. There is room for it.
func (o *output) take(s int, p []byte) {
	if s == streamOut {
		log, stream := o.lines.feed(p)
		o.out(log, stream)
		return
	}
	o.write(o.masks[s].Feed(p))
}

func (o *output) out(log, stream []byte) {
	if len(stream) > 0 {
		o.stream.write(o.ctx, stream, time.Now())
	}
	if len(log) > 0 {
		o.last.feed(log)
		o.write(o.masks[streamOut].Feed(log))
	}
}

func (o *output) write(p []byte) {
	if len(p) > 0 {
		o.log.write(o.ctx, p, time.Now())
	}
}

// flush sends what was held back, at the end of the output.
func (o *output) flush() {
	o.out(o.lines.flush())
	for s := range o.masks {
		o.write(o.masks[s].Flush())
	}
}
