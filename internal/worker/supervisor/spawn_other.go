//go:build !amd64 || portable

package supervisor

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Here, a new process has a copy of its parent's memory: it needs neither a
// stack of its own nor assembly. The build tag "portable" selects this form on
// any architecture.

// spawnInit starts a process that calls runInit(b).
//
//go:nosplit
//go:norace
//go:nocheckptr
func spawnInit(flags, _ uintptr, b *block) (pid, errno uintptr) {
	p, _, e := syscall.RawSyscall6(unix.SYS_CLONE, flags&^unix.CLONE_VM, 0, 0, 0, 0, 0)
	if e == 0 && p == 0 {
		runInit(b)
	}
	return p, uintptr(e)
}

// spawnJob starts a process that calls execJob(b).
//
//go:nosplit
//go:norace
//go:nocheckptr
func spawnJob(flags, _ uintptr, b *block) (pid, errno uintptr) {
	p, _, e := syscall.RawSyscall6(unix.SYS_CLONE, flags&^(unix.CLONE_VM|unix.CLONE_VFORK), 0, 0, 0, 0, 0)
	if e == 0 && p == 0 {
		execJob(b)
	}
	return p, uintptr(e)
}
