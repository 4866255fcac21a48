//go:build !portable

package supervisor

import "unsafe"

// On this architecture new processes share the memory of their parent, which
// saves copying and tearing down its page tables twice per job.

// clone is the system call of that name; see spawn_amd64.s.
//
//go:noescape
func clone(flags, stack uintptr, b *block, entry uintptr) (pid, errno uintptr)

// The addresses of the functions' code. (A plain call from assembly would go
// through a wrapper, which the race detector instruments.)
var initEntry, jobEntry uintptr

func init() { initEntry, jobEntry = codeOf(runInit), codeOf(execJob) }

func codeOf(f func(*block)) uintptr { return **(**uintptr)(unsafe.Pointer(&f)) }

// spawnInit starts a process that calls runInit(b).
//
//go:nosplit
//go:norace
//go:nocheckptr
func spawnInit(flags, stack uintptr, b *block) (pid, errno uintptr) {
	return clone(flags, stack, b, initEntry)
}

// spawnJob starts a process that calls execJob(b), and waits until it has
// executed its program or ended.
//
//go:nosplit
//go:norace
//go:nocheckptr
func spawnJob(flags, stack uintptr, b *block) (pid, errno uintptr) {
	return clone(flags, stack, b, jobEntry)
}
