package supervisor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is what a job executes. Path, Dir, Args and Env together are bounded
// by 128 KiB, Args and Env by 1,023 entries each; none may hold a NUL.
type Command struct {
	Path string   // absolute
	Args []string // from the program's name on; not empty
	Env  []string // NAME=value; nothing else is in the environment
	Dir  string   // working directory, absolute
	// Stdout and Stderr become the program's; the caller keeps its own copies.
	Stdout, Stderr *os.File
	// Stdin becomes the program's standard input; nil: /dev/null. Reply becomes
	// its descriptor 3; nil: none.
	Stdin, Reply *os.File
	// IsTemplate says that the program is no job but a template, which forks the
	// programs of other commands. It runs our own code alone and keeps the
	// supervisor's rights; its descriptor 3 is a socket on which the supervisor
	// tells it what to fork (see template.go).
	IsTemplate bool
	// Template is a process launched with IsTemplate that forks this program; Path
	// and Args are not looked at, and Env is not passed on. Nil: it is executed.
	Template *Process

	// Linger is how long what the program leaves running may go on after the
	// program's own end before it is killed, such as the reader of a process
	// substitution. Nothing left: no waiting.
	Linger time.Duration
	// Read and Write are absolute paths outside of the job's folder that the job
	// may read or write, beyond those that every job may read. They stand at the
	// same place inside. Without walls they change nothing.
	Read, Write []string
}

// Cause says why an init ended its tree of its own accord.
type Cause uint32

// The causes.
const (
	CauseNone   Cause = causeNone   // it did not: the program ended by itself
	CauseOrder  Cause = causeOrder  // [Process.Kill]
	CauseLease  Cause = causeLease  // the lease ran out
	CauseClosed Cause = causeClosed // the worker or the supervisor was going away
	CauseLost   Cause = causeLost   // the init or the supervisor was killed; the status is not known
)

// Exit is how a process tree ended.
type Exit struct {
	Launched bool               // exec succeeded
	Err      error              // why it did not; a [syscall.Errno]
	Status   syscall.WaitStatus // of the program; meaningful if Launched and not CauseLost
	Cause    Cause
	// MaxRSSKB is the greatest resident size, in KiB, of any one process of the
	// tree. It is never less than what the supervisor itself occupied (some MiB):
	// the kernel counts the moment between fork and exec.
	MaxRSSKB int64
	// OutOfMemory says that the kernel killed a process of the tree because the
	// tree used more memory than it may.
	OutOfMemory bool
}

// Process is one job's process tree.
type Process struct {
	sup          *Supervisor
	id           uint64
	launchedOnce sync.Once
	launched     chan struct{}
	gone         chan struct{}
	exit         Exit
}

// Launch starts a command under an init of its own. It returns when the command
// is on its way to the supervisor; whether exec succeeded is known when
// [Process.Launched] or [Process.Gone] is closed. An error means that nothing
// was started and nothing will be: [ErrDead], or an error about the command.
func (s *Supervisor) Launch(c Command) (*Process, error) {
	for _, list := range [][]string{c.Args, c.Env, {c.Path, c.Dir}, c.Read, c.Write} {
		for _, v := range list {
			if strings.IndexByte(v, 0) >= 0 {
				return nil, errors.New("a NUL byte cannot be part of an argument or variable")
			}
		}
	}
	p := &Process{sup: s, launched: make(chan struct{}), gone: make(chan struct{})}
	s.mu.Lock()
	if s.dead {
		s.mu.Unlock()
		return nil, ErrDead
	}
	s.next++
	p.id = s.next
	s.procs[p.id] = p
	s.mu.Unlock()

	msg, err := encodeLaunch(p.id, c)
	if err == nil {
		err = s.send(msg, unix.UnixRights(c.files()...))
	}
	runtime.KeepAlive(c)
	if err != nil {
		s.mu.Lock()
		delete(s.procs, p.id)
		s.mu.Unlock()
		return nil, err
	}
	return p, nil
}

// The files that may be there beside standard output and standard error.
const (
	hasStdin = 1 << iota
	hasReply
	isTemplate
	hasTemplate
)

// files are the descriptors that go with the command's message, in order.
func (c *Command) files() []int {
	fds := []int{int(c.Stdout.Fd()), int(c.Stderr.Fd())}
	for _, f := range []*os.File{c.Stdin, c.Reply} {
		if f != nil {
			fds = append(fds, int(f.Fd()))
		}
	}
	return fds
}

// shares are the paths outside of the job's folder that the job shall see, each
// after a letter that says whether it may write there, and before a NUL.
func (c *Command) shares() []byte {
	var text []byte
	for kind, list := range map[byte][]string{'r': c.Read, 'w': c.Write} {
		for _, path := range list {
			text = append(append(append(text, kind), path...), 0)
		}
	}
	return text
}

// splitShares separates the text of setText from the shared paths before it.
func splitShares(body []byte) (text []byte, shares []string, err error) {
	n := binary.LittleEndian.Uint32(body)
	body = body[4:]
	if uint64(n) > uint64(len(body)) {
		return nil, nil, errors.New("malformed command")
	}
	for _, s := range strings.Split(string(body[:n]), "\x00") {
		if len(s) > 1 {
			shares = append(shares, s)
		}
	}
	return body[n:], shares, nil
}

// dirOf returns the working directory, the second string of the text.
func dirOf(text []byte) string {
	_, rest, _ := bytes.Cut(text, []byte{0})
	dir, _, _ := bytes.Cut(rest, []byte{0})
	return string(dir)
}

func encodeLaunch(id uint64, c Command) ([]byte, error) {
	size := len(c.Path) + len(c.Dir) + 2
	for _, v := range c.Args {
		size += len(v) + 1
	}
	for _, v := range c.Env {
		size += len(v) + 1
	}
	shares := c.shares()
	size += len(shares)
	if size > maxText || len(c.Args) >= maxStrings || len(c.Env) >= maxStrings {
		return nil, fmt.Errorf("%w: %d bytes", errTooBig, size)
	}
	le := binary.LittleEndian
	has := byte(0)
	if c.Stdin != nil {
		has |= hasStdin
	}
	if c.Reply != nil {
		has |= hasReply
	}
	if c.IsTemplate {
		has |= isTemplate
	}
	template := uint64(0)
	if c.Template != nil {
		has |= hasTemplate
		template = c.Template.id
	}
	msg := make([]byte, 0, size+38)
	msg = append(msg, msgLaunch)
	msg = le.AppendUint64(msg, id)
	msg = append(msg, has)
	msg = le.AppendUint64(msg, template)
	msg = le.AppendUint64(msg, uint64(max(c.Linger, 1)))
	msg = le.AppendUint32(msg, uint32(len(c.Args)))
	msg = le.AppendUint32(msg, uint32(len(c.Env)))
	msg = le.AppendUint32(msg, uint32(len(shares)))
	msg = append(msg, shares...)
	msg = append(append(msg, c.Path...), 0)
	msg = append(append(msg, c.Dir...), 0)
	for _, v := range c.Args {
		msg = append(append(msg, v...), 0)
	}
	for _, v := range c.Env {
		msg = append(append(msg, v...), 0)
	}
	return msg, nil
}

// Launched is closed when exec has succeeded. It stays open if exec fails.
func (p *Process) Launched() <-chan struct{} { return p.launched }

// Gone is closed when every process of the tree is gone.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Exit says how the tree ended. It may be called once Gone is closed.
func (p *Process) Exit() Exit { return p.exit }

// Kill sends SIGTERM to the whole tree, and SIGKILL after the grace; with no
// grace SIGKILL at once. A tree that is gone is left alone; a second call with a
// grace changes nothing, one without shortens it.
func (p *Process) Kill(grace time.Duration) error {
	msg := binary.LittleEndian.AppendUint64([]byte{msgKill}, p.id)
	msg = binary.LittleEndian.AppendUint64(msg, uint64(max(grace, 0)))
	return p.sup.send(msg, nil)
}

func (p *Process) wasLaunched() bool {
	select {
	case <-p.launched:
		return true
	default:
		return false
	}
}

func (p *Process) end(e Exit) {
	if e.Launched {
		p.launchedOnce.Do(func() { close(p.launched) })
	}
	p.exit = e
	close(p.gone)
}
