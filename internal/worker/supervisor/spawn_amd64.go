package supervisor

import "unsafe"

// sharedMemory says whether spawn makes processes that share the memory of
// their parent, which saves copying and tearing down its page tables twice per
// job.
const sharedMemory = true

// clone is the system call of that name; see spawn_amd64.s.
//
//go:noescape
func clone(flags, stack uintptr, b *block, entry uintptr) (pid, errno uintptr)

// entries are the addresses of the code of the functions. (A plain call from
// assembly would go through a wrapper, which the race detector instruments.)
var entries [2]uintptr

func init() { entries[entryInit], entries[entryJob] = codeOf(runInit), codeOf(execJob) }

func codeOf(f func(*block)) uintptr { return **(**uintptr)(unsafe.Pointer(&f)) }

//go:nosplit
//go:norace
//go:nocheckptr
func spawn(flags, stack uintptr, b *block, entry int) (pid, errno uintptr) {
	return clone(flags, stack, b, entries[entry])
}
