package supervisor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Places of the descriptors of an init. The first four are the program's; the
// others are closed on exec.
const (
	fdIn = iota
	fdOut
	fdErr
	fdReply  // where an interpreter answers; may be absent
	fdOrders // read end: 8 bytes per order; end of file means kill
	fdStatus // write end of the pipe of records to the worker
	fdLock   // instance lock; may be absent
	fdMemory // a control group's file that takes a process; may be absent
	fdPids   // likewise
	fdOOM    // says how many processes were killed for lack of memory; may be absent
	fdRules  // Landlock ruleset; may be absent
	fdAdopt  // socket on which the process that a template forks for the init announces itself; may be absent
	fdCount
)

// Places in an init's poll set.
const (
	pollOrders = iota
	pollSignal
	pollTimer
	pollExec
	pollStatus
	pollCount
)

// Bounds of one command: its strings must fit into one message to the
// supervisor, whose size the kernel bounds (net.core.wmem_default).
const (
	maxText    = 128 << 10
	maxStrings = 1024
)

// block is all that an init knows. It lives in memory outside the Go heap; the
// supervisor fills it, and it is the init's until the init was reaped.
// Addresses are uintptr: nothing here may be moved or followed by the collector.
type block struct {
	// Set by the supervisor, for each job.
	path, dir uintptr
	argv      [maxStrings]uintptr
	envv      [maxStrings]uintptr
	files     [fdCount]int32 // the supervisor's numbers; -1: absent
	null      int32          // likewise, of /dev/null
	job       uint64
	linger    int64
	plan      plan
	adopt     bool // the program is forked from a template, not executed
	template  bool // the program is one: it is no job and keeps its rights

	// Set by the supervisor, once.
	index      int32
	group      cgroup
	lease      *int64 // in the shared page: the boot instant at which the lease ends, ns
	cloneFlags uintptr
	namespaces bool // the init is PID 1 of its namespace; set for each job

	// Constants, as C strings and as the kernel's structures.
	name                              [16]byte
	children                          [32]byte
	allSignals, savedSignals, chldSet uint64
	action                            [8]uint64 // struct sigaction; zero: default

	initState
	initStack, jobStack [stackSize]byte
	text                [maxText]byte
}

// stackSize is far more than the linker lets a chain of nosplit functions use.
const stackSize = 4096

// lastSignal is the highest number of a signal.
const lastSignal = 64

// ignored are the signals that the supervisor ignores and a job shall not.
var ignored = [...]os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
}

// initState is the init's own; the supervisor sets it to zero before the fork.
type initState struct {
	timer, signals, main int32 // main: process id of the program, in the init's namespace; -1: none
	execPipe             [2]int32
	mainDone             bool     // the program has ended, with status
	status, waited       int32    // wait statuses
	execRead, launched   bool     // the outcome of exec is known; it succeeded
	adopted              [2]int32 // what an adopted process says: an error number, its process id
	said                 bool     // "launched" is written
	killing, treeGone    bool
	cause                uint32
	execErrno            int32
	killAt, lingerAt     int64 // boot instants in ns; 0: none
	armed                int64 // what the timer is set to
	nowNS                int64
	maxRSS               int64 // KiB
	kills                int64 // processes killed for lack of memory before this job
	poll                 [pollCount]pollFD
	rec                  record
	num                  int64
	spec                 [4]int64 // struct itimerspec
	now                  [2]int64 // struct timespec
	rusage               syscall.Rusage
	buf                  [4096]byte
}

type pollFD struct {
	fd      int32
	events  int16
	revents int16
}

// record is what travels on the status pipe; pipes keep writes of this size whole.
type record struct {
	job    uint64
	kind   uint32
	cause  uint32
	status int32
	errno  int32
	rssKB  int64
}

const recordSize = 32

// The kinds of record.
const (
	recLaunched = 1
	recGone     = 2
)

// memoryMark is added to the cause of an end before which the kernel killed a
// process of the tree for lack of memory.
const memoryMark = 1 << 8

// The causes of an end that the init itself brought about.
const (
	causeNone   = 0
	causeOrder  = 1
	causeLease  = 2
	causeClosed = 3
	causeLost   = 4 // the init itself was killed; written by the supervisor
)

func decodeRecord(p []byte) record {
	le := binary.NativeEndian
	return record{
		job: le.Uint64(p), kind: le.Uint32(p[8:]), cause: le.Uint32(p[12:]),
		status: int32(le.Uint32(p[16:])), errno: int32(le.Uint32(p[20:])), rssKB: int64(le.Uint64(p[24:])),
	}
}

func (r record) encode() []byte {
	le, p := binary.NativeEndian, make([]byte, recordSize)
	le.PutUint64(p, r.job)
	le.PutUint32(p[8:], r.kind)
	le.PutUint32(p[12:], r.cause)
	le.PutUint32(p[16:], uint32(r.status))
	le.PutUint32(p[20:], uint32(r.errno))
	le.PutUint64(p[24:], uint64(r.rssKB))
	return p
}

// newLease maps the page of the lease.
func newLease() (*int64, error) {
	page, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map the page of the lease: %w", err)
	}
	return (*int64)(unsafe.Pointer(&page[0])), nil
}

// newBlock maps a block and fills in what never changes.
func newBlock(m *mode, lease *int64) (*block, error) {
	mem, err := unix.Mmap(-1, 0, int(unsafe.Sizeof(block{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map the block of the inits: %w", err)
	}
	b := (*block)(unsafe.Pointer(&mem[0]))
	b.lease = lease
	b.cloneFlags = uintptr(unix.SIGCHLD) | unix.CLONE_VM
	if m.OwnProc || m.Walls {
		b.cloneFlags |= unix.CLONE_NEWNS
	}
	if m.Walls {
		b.cloneFlags |= unix.CLONE_NEWIPC
	}
	copy(b.children[:], "/proc/thread-self/children")
	copy(b.name[:], "sluice-init")
	b.allSignals = ^uint64(0)
	b.chldSet = 1 << (uint(unix.SIGCHLD) - 1)
	return b, nil
}

var errTooBig = errors.New("the command's arguments and environment are too large")

// setText lays out path, working directory, arguments and environment, each
// ended by a NUL in text.
func (b *block) setText(text []byte, args, env int) error {
	if len(text) > len(b.text) || args >= maxStrings || env >= maxStrings || args < 1 || env < 0 {
		return errTooBig
	}
	copy(b.text[:], text)
	at := uintptr(0)
	next := func() (uintptr, error) {
		start := at
		for ; at < uintptr(len(text)); at++ {
			if text[at] == 0 {
				at++
				return uintptr(unsafe.Pointer(&b.text[0])) + start, nil
			}
		}
		return 0, errors.New("malformed command")
	}
	for i, n := 0, 2+args+env; i < n; i++ {
		p, err := next()
		switch {
		case err != nil:
			return err
		case i == 0:
			b.path = p
		case i == 1:
			b.dir = p
		case i < 2+args:
			b.argv[i-2] = p
		default:
			b.envv[i-2-args] = p
		}
	}
	b.argv[args], b.envv[env] = 0, 0
	return nil
}
