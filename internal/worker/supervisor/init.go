package supervisor

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const atCWD = ^uintptr(99) // AT_FDCWD, -100

// This file runs in processes that were cloned from the supervisor and never
// executed anew. On amd64 they share its memory, running on stacks of their own
// (as posix_spawn does, but for longer); elsewhere they have a copy of it, in
// which only the cloning thread exists. Either way there is no scheduler and no
// collector for them, and a lock may be held by a thread that will never release
// it. Hence the rules of this file, which are those of the fork inside package
// syscall: raw system calls only, no allocation, no growing of the stack (every
// function is nosplit, and the linker proves that the chain fits), no
// instrumentation, no channel, map, interface, closure, defer or panic; all
// memory is the block, which nobody else touches until the init was reaped.
// (RawSyscall6 everywhere, because RawSyscall is one more frame.)

// forkInit starts an init that runs b and returns its process id. The calling
// goroutine must be locked to its thread.
//
//go:nosplit
//go:norace
//go:nocheckptr
func forkInit(b *block) (int, syscall.Errno) {
	// No handler of the Go runtime may run in the child, ever.
	sigmask(&b.allSignals, &b.savedSignals)
	pid, errno := spawnInit(b.cloneFlags, stackEnd(&b.initStack), b)
	sigmask(&b.savedSignals, nil)
	return int(pid), syscall.Errno(errno)
}

// stackEnd leaves room for one argument above the end, as clone expects.
//
//go:nosplit
//go:norace
//go:nocheckptr
func stackEnd(stack *[stackSize]byte) uintptr {
	return (uintptr(unsafe.Pointer(stack)) + stackSize - 64) &^ 15
}

//go:nosplit
//go:norace
//go:nocheckptr
func runInit(b *block) {
	takeFiles(b)
	prepareInit(b)
	switch {
	case b.execErrno != 0:
		b.treeGone = true
	case b.adopt:
		awaitJob(b)
	default:
		startJob(b)
	}
	for !b.treeGone {
		armTimer(b)
		_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&b.poll[0])), pollCount, 0, 0, 0, 0)
		bootNow(b)
		readOrders(b)
		readExec(b)
		drain(b, b.signals, b.poll[pollSignal].revents)
		drain(b, b.timer, b.poll[pollTimer].revents)
		reap(b)
		judge(b)
		sayLaunched(b)
	}
	sayGone(b)
	exit(0)
}

// takeFiles moves the init's files to their places and closes all others, such
// as the supervisor's ends of the pipes of other inits.
//
//go:nosplit
//go:norace
//go:nocheckptr
func takeFiles(b *block) {
	null := int32(fcntl(b.null, unix.F_DUPFD_CLOEXEC, 2*fdCount))
	for i := range b.files {
		if b.files[i] >= 0 {
			b.files[i] = int32(fcntl(b.files[i], unix.F_DUPFD_CLOEXEC, 2*fdCount))
		}
	}
	for i := range b.files {
		from, flags := b.files[i], uintptr(0)
		if i > fdReply || from < 0 {
			flags = unix.O_CLOEXEC
		}
		if from < 0 {
			from = null // so that nothing else comes to have this number
		}
		if _, _, e := syscall.RawSyscall6(unix.SYS_DUP3, uintptr(from), uintptr(i), flags, 0, 0, 0); e != 0 {
			exit(125)
		}
	}
	if _, _, e := syscall.RawSyscall6(unix.SYS_CLOSE_RANGE, fdCount, 1<<31-1, 0, 0, 0, 0); e != 0 {
		for fd := uintptr(fdCount); fd < 65536; fd++ {
			_, _, _ = syscall.RawSyscall6(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
		}
	}
}

//go:nosplit
//go:norace
//go:nocheckptr
func prepareInit(b *block) {
	prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b.name)))
	prctl(unix.PR_SET_DUMPABLE, 0) // the job may not look into its init
	if !b.namespaces {
		prctl(unix.PR_SET_CHILD_SUBREAPER, 1)
	}
	b.kills = killsSoFar(b)
	if e := carryOut(&b.plan.init, b.plan.inits); e != 0 {
		b.execErrno = int32(e)
	}
	sig, _, e1 := syscall.RawSyscall6(unix.SYS_SIGNALFD4, ^uintptr(0), uintptr(unsafe.Pointer(&b.chldSet)), 8,
		unix.SFD_CLOEXEC|unix.SFD_NONBLOCK, 0, 0)
	tim, _, e2 := syscall.RawSyscall6(unix.SYS_TIMERFD_CREATE, unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK, 0, 0, 0, 0)
	_, _, e3 := syscall.RawSyscall6(unix.SYS_PIPE2, uintptr(unsafe.Pointer(&b.execPipe)), unix.O_CLOEXEC, 0, 0, 0, 0)
	if e1 != 0 || e2 != 0 || e3 != 0 {
		exit(125)
	}
	b.signals, b.timer = int32(sig), int32(tim)
	b.poll[pollOrders] = pollFD{fd: fdOrders, events: unix.POLLIN}
	b.poll[pollSignal] = pollFD{fd: b.signals, events: unix.POLLIN}
	b.poll[pollTimer] = pollFD{fd: b.timer, events: unix.POLLIN}
	b.poll[pollExec] = pollFD{fd: b.execPipe[0], events: unix.POLLIN}
	b.poll[pollStatus] = pollFD{fd: -1, events: unix.POLLOUT}
}

// startJob forks the job's program and lets go of its files.
//
//go:nosplit
//go:norace
//go:nocheckptr
func startJob(b *block) {
	// With shared memory this waits until exec has succeeded or failed.
	pid, errno := spawnJob(uintptr(unix.SIGCHLD)|unix.CLONE_VM|unix.CLONE_VFORK, stackEnd(&b.jobStack), b)
	b.main = int32(pid)
	if errno != 0 {
		b.main, b.mainDone, b.execRead, b.execErrno = -1, true, true, int32(errno)
		b.poll[pollExec].fd = -1
	}
	closeFD(b.execPipe[1])
	for fd := int32(fdIn); fd <= fdReply; fd++ {
		closeFD(fd)
	}
}

// awaitJob lets the process begin that a template forks into the init's
// namespaces: everything is in place. The process says on the socket who it is;
// the template, whose child it is, says there how it ended.
//
//go:nosplit
//go:norace
//go:nocheckptr
func awaitJob(b *block) {
	b.main = -1
	closeFD(b.execPipe[0])
	closeFD(b.execPipe[1])
	b.poll[pollExec].fd = fdAdopt
	_, _, _ = syscall.RawSyscall6(unix.SYS_WRITE, fdAdopt, uintptr(unsafe.Pointer(&b.num)), 1, 0, 0, 0)
	for fd := int32(fdIn); fd <= fdReply; fd++ {
		closeFD(fd)
	}
}

// readAdopted learns first who the job's process is (until it has said so it
// does nothing of the job), then how it ended. If the template is gone nobody
// will say that, and the tree is ended.
//
//go:nosplit
//go:norace
//go:nocheckptr
func readAdopted(b *block) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_READ, fdAdopt, uintptr(unsafe.Pointer(&b.adopted)), 8, 0, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0 || n != 8:
		if !b.execRead {
			b.execErrno = int32(unix.ESTALE)
		} else if b.cause == causeNone {
			b.cause = causeLost
		}
		b.killing = true
		signalTree(b, uintptr(unix.SIGKILL))
	case !b.execRead:
		b.execRead = true
		b.execErrno, b.main = b.adopted[0], b.adopted[1]
		b.launched = b.execErrno == 0
		if b.launched {
			return
		}
	default:
		b.status, b.lingerAt = b.adopted[0], b.nowNS+b.linger
		if rss := int64(b.adopted[1]); rss > b.maxRSS {
			b.maxRSS = rss
		}
	}
	b.execRead, b.mainDone = true, true
	b.poll[pollExec].fd = -1
	closeFD(fdAdopt)
}

// execJob becomes the job's program, in a session of its own and with the
// signals as a program expects them.
//
//go:nosplit
//go:norace
//go:nocheckptr
func execJob(b *block) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_SETSID, 0, 0, 0, 0, 0, 0)
	// All of them: exec resets those that have a handler, but not those that are
	// ignored, by the supervisor or by whoever started it (make ignores 32).
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&b.action)), 0, 8, 0, 0)
	}
	none := &b.num // zero
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(none)), 0, 8, 0, 0)
	errno := carryOut(&b.plan.job, b.plan.jobs)
	if errno == 0 {
		_, _, errno = syscall.RawSyscall6(unix.SYS_CHDIR, b.dir, 0, 0, 0, 0, 0)
	}
	// Without a helper: the chain of calls is at its deepest here.
	_, _, _ = syscall.RawSyscall6(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&b.now)), 0, 0, 0, 0)
	if b.now[0]*1e9+b.now[1] >= *b.lease {
		errno = unix.ETIME // the way here was too long
	}
	if errno == 0 {
		_, _, errno = syscall.RawSyscall6(unix.SYS_EXECVE, b.path,
			uintptr(unsafe.Pointer(&b.argv)), uintptr(unsafe.Pointer(&b.envv)), 0, 0, 0)
	}
	b.execErrno = int32(errno)
	_, _, _ = syscall.RawSyscall6(unix.SYS_WRITE, uintptr(b.execPipe[1]), uintptr(unsafe.Pointer(&b.execErrno)), 4, 0, 0, 0)
	exit(127)
}

// armTimer sets the timer to the first instant at which there is something to
// do. The lease may have moved since: that only makes the timer early.
//
//go:nosplit
//go:norace
//go:nocheckptr
func armTimer(b *block) {
	at := *b.lease
	if b.killAt != 0 && b.killAt < at {
		at = b.killAt
	}
	if b.lingerAt != 0 && b.lingerAt < at {
		at = b.lingerAt
	}
	if at < 1 {
		at = 1 // zero would disarm
	}
	if b.killing || at == b.armed {
		return
	}
	b.armed = at
	b.spec[2], b.spec[3] = at/1e9, at%1e9
	_, _, _ = syscall.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(b.timer), unix.TFD_TIMER_ABSTIME,
		uintptr(unsafe.Pointer(&b.spec)), 0, 0, 0)
}

// readOrders reads one order: the grace in ns, 0 for none.
//
//go:nosplit
//go:norace
//go:nocheckptr
func readOrders(b *block) {
	if b.poll[pollOrders].revents == 0 {
		return
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_READ, fdOrders, uintptr(unsafe.Pointer(&b.num)), 8, 0, 0, 0)
	switch {
	case errno != 0 || n != 8:
		b.poll[pollOrders].fd = -1
		kill(b, causeClosed)
	case b.num <= 0:
		kill(b, causeOrder)
	case b.killAt == 0:
		b.killAt = b.nowNS + b.num
		signalTree(b, uintptr(unix.SIGTERM))
		signalTree(b, uintptr(unix.SIGCONT)) // a stopped process would not see the TERM
		if b.cause == causeNone {
			b.cause = causeOrder
		}
	}
}

// readExec learns from the pipe that exec closes whether exec succeeded. A
// program that was killed on its way to exec passes for launched, which is the
// safe reading.
//
//go:nosplit
//go:norace
//go:nocheckptr
func readExec(b *block) {
	if b.adopt {
		if b.poll[pollExec].revents != 0 {
			readAdopted(b)
		}
		return
	}
	if b.execRead || (b.poll[pollExec].revents == 0 && !b.mainDone) {
		return
	}
	n, _, _ := syscall.RawSyscall6(unix.SYS_READ, uintptr(b.execPipe[0]), uintptr(unsafe.Pointer(&b.execErrno)), 4, 0, 0, 0)
	b.execRead, b.launched = true, n == 0
	b.poll[pollExec].fd = -1
	closeFD(b.execPipe[0])
}

// reap collects every child that has ended. That there is none left is the one
// proof that the tree is gone: orphans become children of the init.
//
//go:nosplit
//go:norace
//go:nocheckptr
func reap(b *block) {
	reaped := false
	for {
		pid, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(&b.waited)),
			unix.WNOHANG|unix.WALL, uintptr(unsafe.Pointer(&b.rusage)), 0, 0)
		switch {
		case errno == unix.ECHILD && b.adopt:
			reapAdopted(b)
			return
		case errno == unix.ECHILD:
			b.mainDone = true
			readExec(b) // does not wait: its only writer is gone
			b.treeGone = true
			return
		case errno != 0 || pid == 0:
			if reaped && b.killing {
				signalTree(b, uintptr(unix.SIGKILL)) // those that the dead left to us
			}
			return
		}
		reaped = true
		if b.rusage.Maxrss > b.maxRSS {
			b.maxRSS = b.rusage.Maxrss
		}
		if int32(pid) == b.main {
			b.mainDone, b.status = true, b.waited
			b.lingerAt = b.nowNS + b.linger
		}
	}
}

// reapAdopted is for an init that has no child. The process that a template
// forked is not one, nor is what that puts beside itself (CLONE_PARENT): they are
// gone when the namespace holds nothing but the init, zombies included.
//
//go:nosplit
//go:norace
//go:nocheckptr
func reapAdopted(b *block) {
	if !b.execRead {
		// It is still to come, unless it is not wanted any more: it has not begun,
		// and the kernel ends it with the namespace.
		b.treeGone = b.killing
		return
	}
	if !b.mainDone {
		return
	}
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_KILL, ^uintptr(0), uintptr(unix.SIGKILL), 0, 0, 0, 0)
		if errno != 0 {
			b.treeGone = true
			return
		}
		b.now[0], b.now[1] = 0, 1e5
		_, _, _ = syscall.RawSyscall6(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&b.now)), 0, 0, 0, 0, 0)
		_, _, _ = syscall.RawSyscall6(unix.SYS_WAIT4, ^uintptr(0), 0, unix.WNOHANG|unix.WALL, 0, 0, 0)
	}
}

// judge ends the tree when one of the instants has come.
//
//go:nosplit
//go:norace
//go:nocheckptr
func judge(b *block) {
	switch {
	case b.treeGone || b.killing:
	case b.nowNS >= *b.lease:
		kill(b, causeLease)
	case b.killAt != 0 && b.nowNS >= b.killAt, b.lingerAt != 0 && b.nowNS >= b.lingerAt:
		kill(b, b.cause)
	}
}

//go:nosplit
//go:norace
//go:nocheckptr
func kill(b *block, cause uint32) {
	b.killing = true
	if b.cause == causeNone && !b.mainDone {
		b.cause = cause
	}
	signalTree(b, uintptr(unix.SIGKILL))
	if b.adopt && !b.execRead {
		readAdopted(b)
		b.treeGone = !b.execRead
	}
}

// signalTree signals all processes of the job. In a namespace -1 names exactly
// those, and no fork can slip through: the kernel refuses it to a process that
// has a signal pending. Without one, the job's process group and the init's own
// children are reached; reap repeats it for those that they leave behind.
//
//go:nosplit
//go:norace
//go:nocheckptr
func signalTree(b *block, sig uintptr) {
	if b.namespaces {
		_, _, _ = syscall.RawSyscall6(unix.SYS_KILL, ^uintptr(0), sig, 0, 0, 0, 0)
		return
	}
	if b.main > 0 && !b.mainDone {
		_, _, _ = syscall.RawSyscall6(unix.SYS_KILL, uintptr(-int(b.main)), sig, 0, 0, 0, 0)
	}
	fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, atCWD, uintptr(unsafe.Pointer(&b.children)), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return
	}
	pid := 0
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&b.buf)), uintptr(len(b.buf)), 0, 0, 0)
		if errno != 0 || n == 0 || n > uintptr(len(b.buf)) {
			break
		}
		for i := uintptr(0); i < n; i++ {
			if c := b.buf[i]; c >= '0' && c <= '9' {
				pid = pid*10 + int(c-'0')
			} else if pid > 1 {
				_, _, _ = syscall.RawSyscall6(unix.SYS_KILL, uintptr(pid), sig, 0, 0, 0, 0)
				pid = 0
			}
		}
	}
	closeFD(int32(fd))
}

// sayLaunched writes the record as soon as the pipe takes it; a worker that is
// stopped must not keep the init from its duties.
//
//go:nosplit
//go:norace
//go:nocheckptr
func sayLaunched(b *block) {
	if !b.launched || b.said || b.treeGone {
		return
	}
	b.rec = record{job: b.job, kind: recLaunched}
	_, _, errno := syscall.RawSyscall6(unix.SYS_WRITE, fdStatus, uintptr(unsafe.Pointer(&b.rec)), recordSize, 0, 0, 0)
	b.said = errno != unix.EAGAIN
	b.poll[pollStatus].fd = fdStatus
	if b.said {
		b.poll[pollStatus].fd = -1
	}
}

// sayGone writes the last record, waiting for room if need be: nothing is left to do.
//
//go:nosplit
//go:norace
//go:nocheckptr
func sayGone(b *block) {
	if killsSoFar(b) > b.kills {
		b.cause |= memoryMark
	}
	b.rec = record{job: b.job, kind: recGone, cause: b.cause, status: b.status, errno: b.execErrno, rssKB: b.maxRSS}
	b.poll[0] = pollFD{fd: fdStatus, events: unix.POLLOUT}
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_WRITE, fdStatus, uintptr(unsafe.Pointer(&b.rec)), recordSize, 0, 0, 0)
		if errno != unix.EAGAIN {
			return
		}
		_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&b.poll)), 1, 0, 0, 0, 0)
	}
}

// killsSoFar returns how many processes of the control group were killed for
// lack of memory: the last number of memory.oom_control.
//
//go:nosplit
//go:norace
//go:nocheckptr
func killsSoFar(b *block) int64 {
	n, _, errno := syscall.RawSyscall6(unix.SYS_PREAD64, fdOOM, uintptr(unsafe.Pointer(&b.buf)), uintptr(len(b.buf)), 0, 0, 0)
	if errno != 0 || n > uintptr(len(b.buf)) {
		return 0
	}
	last, before := int64(0), byte(' ')
	for i := uintptr(0); i < n; i++ {
		c := b.buf[i]
		if c >= '0' && c <= '9' {
			if before < '0' || before > '9' {
				last = 0
			}
			last = last*10 + int64(c-'0')
		}
		before = c
	}
	return last
}

//go:nosplit
//go:norace
//go:nocheckptr
func bootNow(b *block) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&b.now)), 0, 0, 0, 0)
	b.nowNS = b.now[0]*1e9 + b.now[1]
}

//go:nosplit
//go:norace
//go:nocheckptr
func drain(b *block, fd int32, revents int16) {
	if revents != 0 {
		_, _, _ = syscall.RawSyscall6(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b.buf)), uintptr(len(b.buf)), 0, 0, 0)
	}
}

//go:nosplit
//go:norace
func sigmask(set, old *uint64) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
}

//go:nosplit
//go:norace
func fcntl(fd int32, cmd, arg uintptr) uintptr {
	r, _, _ := syscall.RawSyscall6(unix.SYS_FCNTL, uintptr(fd), cmd, arg, 0, 0, 0)
	return r
}

//go:nosplit
//go:norace
func prctl(option, arg uintptr) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_PRCTL, option, arg, 0, 0, 0, 0)
}

//go:nosplit
//go:norace
func closeFD(fd int32) { _, _, _ = syscall.RawSyscall6(unix.SYS_CLOSE, uintptr(fd), 0, 0, 0, 0, 0) }

//go:nosplit
//go:norace
func exit(code uintptr) {
	for {
		_, _, _ = syscall.RawSyscall6(unix.SYS_EXIT_GROUP, code, 0, 0, 0, 0, 0)
	}
}
