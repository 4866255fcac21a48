package supervisor

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A plan is a list of system calls that the supervisor, which may allocate and
// read files, writes down, and that an init or a job's process, which may not,
// carries out.

const (
	maxSteps = 96
	planText = 48 << 10
)

// step is one system call. If it fails and must not, nothing is launched.
type step struct {
	nr, a1, a2, a3, a4, a5 uintptr
	may                    bool // it may fail
}

// plan is what the init does before it forks the job's process, and what that
// does before it executes the program. It lives in the block.
type plan struct {
	init, job       [maxSteps]step
	inits, jobs     int32
	limits          [maxLimits]unix.Rlimit
	limitCount, at  int32
	text            [planText]byte
	failed          bool // it had no room: a fault of ours, found by setPlan
	ruleset, joined int32
}

const maxLimits = 8

func (p *plan) reset() {
	p.inits, p.jobs, p.limitCount, p.at, p.failed = 0, 0, 0, 0, false
}

// str keeps a string, ended by a NUL, and returns its address.
func (p *plan) str(s string) uintptr {
	if int(p.at)+len(s)+1 > len(p.text) {
		p.failed = true
		return uintptr(unsafe.Pointer(&p.text[0]))
	}
	start := p.at
	copy(p.text[start:], s)
	p.text[int(start)+len(s)] = 0
	p.at += int32(len(s)) + 1
	return uintptr(unsafe.Pointer(&p.text[start]))
}

func (p *plan) inInit(s step) { p.failed = !add(&p.init, &p.inits, s) || p.failed }
func (p *plan) inJob(s step)  { p.failed = !add(&p.job, &p.jobs, s) || p.failed }

func add(list *[maxSteps]step, n *int32, s step) bool {
	if *n >= maxSteps {
		return false
	}
	list[*n] = s
	*n++
	return true
}

// mount plans a mount in the init.
func (p *plan) mount(source, target, kind string, flags uintptr) {
	p.inInit(step{nr: unix.SYS_MOUNT, a1: p.str(source), a2: p.str(target), a3: p.str(kind), a4: flags})
}

// rlimit plans a bound of the job's process.
func (p *plan) rlimit(resource int, n uint64) {
	if p.limitCount >= maxLimits {
		p.failed = true
		return
	}
	l := &p.limits[p.limitCount]
	p.limitCount++
	l.Cur, l.Max = n, n
	p.inJob(step{nr: unix.SYS_PRLIMIT64, a2: uintptr(resource), a3: uintptr(unsafe.Pointer(l))})
}

func (p *plan) err() error {
	if p.failed {
		return fmt.Errorf("%w: too much to prepare", errTooBig)
	}
	return nil
}

// carryOut does the steps and returns the error of the first that must not fail.
//
//go:nosplit
//go:norace
//go:nocheckptr
func carryOut(list *[maxSteps]step, n int32) syscall.Errno {
	for i := int32(0); i < n; i++ {
		s := &list[i]
		_, _, e := syscall.RawSyscall6(s.nr, s.a1, s.a2, s.a3, s.a4, s.a5, 0)
		if e != 0 && !s.may {
			return e
		}
	}
	return 0
}
