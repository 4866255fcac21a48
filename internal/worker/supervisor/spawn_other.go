//go:build !amd64

package supervisor

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// sharedMemory: here, a new process has a copy of its parent's memory.
const sharedMemory = false

// spawn is the portable form: it forks, so it needs neither the stack nor
// assembly.
//
//go:nosplit
//go:norace
//go:nocheckptr
func spawn(flags, _ uintptr, b *block, entry int) (pid, errno uintptr) {
	flags &^= unix.CLONE_VM | unix.CLONE_VFORK
	p, _, e := syscall.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	if e == 0 && p == 0 {
		if entry == entryInit {
			runInit(b)
		}
		execJob(b)
	}
	return p, uintptr(e)
}
