package supervisor

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Config is what [Start] needs.
type Config struct {
	// Isolation is what [Probe] found; the zero value means none.
	Isolation Isolation
	// InstanceLock, if not nil, stays open in the supervisor and its inits, never
	// in a job, until every process tree is gone. A lock taken on it with flock is
	// therefore held that long, whatever becomes of the calling process.
	InstanceLock *os.File
	// Jobs is the folder below which the folders of jobs are; with walls it is
	// needed, and Shared are the folders that hold what [Command.Read] and
	// [Command.Write] name. Read are further paths that every job may read.
	Jobs         string
	Read, Shared []string
	NoNetwork    bool // jobs reach no network, not even this machine
	Limits       Limits
}

// Supervisor is a running supervisor process, as its worker sees it. Its methods
// may be called from any goroutine.
type Supervisor struct {
	cmd  *exec.Cmd
	conn *net.UnixConn
	done chan struct{}

	mu    sync.Mutex
	next  uint64
	procs map[uint64]*Process
	dead  bool
}

// ErrDead is what [Supervisor.Launch] returns when the supervisor process has ended.
var ErrDead = errors.New("the supervisor process has ended")

// Start starts a supervisor process. It runs until [Supervisor.Close], or until
// the calling process ends in any way. The lease is over from the beginning:
// call [Supervisor.Extend] before [Supervisor.Launch].
func Start(cfg Config) (*Supervisor, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make the supervisor's socket: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "supervisor socket")
	defer theirs.Close()
	_ = unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 4*maxText)
	ours := os.NewFile(uintptr(pair[0]), "supervisor socket")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, fmt.Errorf("use the supervisor's socket: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("make the status pipe: %w", err)
	}
	defer w.Close()
	m, err := json.Marshal(mode{cfg.Isolation, cfg.InstanceLock != nil, cfg.Jobs, cfg.Read, cfg.Shared, cfg.Limits})
	if err != nil {
		return nil, fmt.Errorf("tell the supervisor what to do: %w", err)
	}
	cmd := exec.Command("/proc/self/exe", marker, string(m))
	cmd.Args[0] = "sluice"
	cmd.Env = []string{"GOGC=400", "GOMAXPROCS=2", "GOTRACEBACK=single"}
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs, w}
	if cfg.InstanceLock != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, cfg.InstanceLock)
	}
	cmd.SysProcAttr = sysProcAttr(cfg)
	if err := cmd.Start(); err != nil {
		conn.Close()
		r.Close()
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	s := &Supervisor{cmd: cmd, conn: conn.(*net.UnixConn), done: make(chan struct{}), procs: make(map[uint64]*Process)}
	go s.readStatus(r)
	return s, nil
}

// sysProcAttr puts the supervisor into a session of its own, out of the reach of
// a terminal's signals, and, if need be, into a user namespace in which its user
// keeps its number but may make other namespaces. Jobs lose that right on exec.
func sysProcAttr(cfg Config) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if cfg.Isolation.Walls {
		a.Cloneflags |= unix.CLONE_NEWNS
	}
	if cfg.NoNetwork {
		a.Cloneflags |= unix.CLONE_NEWNET
	}
	if cfg.Isolation.UserNamespace {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		// The last two are for templates, which enter the namespaces of inits.
		a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT, unix.CAP_SYS_PTRACE}
	}
	return a
}

// readStatus hands the records to their processes until no process holds the
// pipe any more; then all trees are gone.
func (s *Supervisor) readStatus(r *os.File) {
	defer r.Close()
	buf := make([]byte, 64*recordSize)
	have := 0
	for {
		n, err := r.Read(buf[have:])
		have += n
		at := 0
		for ; have-at >= recordSize; at += recordSize {
			s.handle(decodeRecord(buf[at:]))
		}
		copy(buf, buf[at:have])
		have -= at
		if err != nil {
			break
		}
	}
	_ = s.cmd.Wait() // its status says nothing that the pipe has not said
	s.mu.Lock()
	s.dead = true
	procs := s.procs
	s.procs = nil
	s.mu.Unlock()
	close(s.done)
	for _, p := range procs {
		p.end(Exit{Launched: p.wasLaunched(), Cause: CauseLost})
	}
}

func (s *Supervisor) handle(r record) {
	s.mu.Lock()
	p := s.procs[r.job]
	if r.kind == recGone {
		delete(s.procs, r.job)
	}
	s.mu.Unlock()
	switch {
	case p == nil:
	case r.kind == recLaunched:
		p.launchedOnce.Do(func() { close(p.launched) })
	case r.kind == recGone:
		e := Exit{
			Status: syscall.WaitStatus(r.status), Cause: Cause(r.cause &^ memoryMark), MaxRSSKB: r.rssKB, Launched: true,
			OutOfMemory: r.cause&memoryMark != 0,
		}
		if e.Cause == CauseLost {
			e.Launched = p.wasLaunched()
		}
		if r.errno != 0 {
			e.Launched, e.Err = false, syscall.Errno(r.errno)
		}
		p.end(e)
	}
}

// Extend says that the lease now lasts until the given instant of [BootNow]. An
// instant before that of an earlier call shortens it.
func (s *Supervisor) Extend(until time.Duration) error {
	msg := binary.LittleEndian.AppendUint64([]byte{msgExtend}, uint64(until))
	return s.send(msg, nil)
}

func (s *Supervisor) send(msg, oob []byte) error {
	_, _, err := s.conn.WriteMsgUnix(msg, oob, nil)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		return ErrDead
	case errors.Is(err, syscall.EMSGSIZE):
		return errTooBig
	}
	return fmt.Errorf("send to the supervisor: %w", err)
}

// Close ends all process trees and the supervisor itself, and returns when they
// are gone. It may be called more than once.
func (s *Supervisor) Close() error {
	err := s.conn.Close()
	<-s.done
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the supervisor: %w", err)
	}
	return nil
}

// Done is closed when the supervisor and all its process trees are gone.
func (s *Supervisor) Done() <-chan struct{} { return s.done }

// PID returns the process id of the supervisor process.
func (s *Supervisor) PID() int { return s.cmd.Process.Pid }

// BootNow reads CLOCK_BOOTTIME: the time since the machine started, including
// the time in which it slept. All processes of a machine read the same.
func BootNow() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("read the boot clock: %v", err)) // cannot fail: Linux has had it since 2.6.39
	}
	return time.Duration(ts.Nano())
}

var _ io.Closer = (*Supervisor)(nil)
