package supervisor

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// What the worker asks of the supervisor; the first byte of a message.
const (
	msgLaunch = 'L' // with two files: standard output and standard error
	msgKill   = 'K'
	msgExtend = 'E'
)

// The files of the supervisor process.
const (
	supSocket = 3 + iota
	supStatus
	supLock // may be absent
)

// Exit statuses of the supervisor process.
const (
	exitUsage = 120
	exitSetUp = 121
)

const marker = "__supervise"

// Main is to be called first thing in main, and in TestMain. In a process that
// was executed as a supervisor it does that work and never returns; in any
// other process it does nothing.
func Main() {
	if len(os.Args) < 2 || os.Args[1] != marker {
		return
	}
	if len(os.Args) != 3 {
		unix.Exit(exitUsage)
	}
	if os.Args[2] == probeMode {
		runProbe()
	}
	m, err := decodeMode(os.Args[2])
	if err == nil {
		err = supervise(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "supervisor:", err)
		unix.Exit(exitSetUp)
	}
	unix.Exit(0) // at once, without what the runtime does at a usual exit
}

// mode is what the supervisor process is told on its command line, as JSON.
type mode struct {
	Isolation
	Lock   bool
	Jobs   string
	Read   []string
	Shared []string
	Limits Limits
}

func decodeMode(text string) (*mode, error) {
	m := &mode{}
	if err := json.Unmarshal([]byte(text), m); err != nil {
		return nil, fmt.Errorf("read the command line: %w", err)
	}
	return m, nil
}

// process is the state of the supervisor process: one loop in one thread.
type process struct {
	mode   *mode
	lease  *int64
	null   int
	lock   int
	poller int
	inits  map[int32]*initProc // by pidfd; an entry goes when its init is reaped
	jobs   map[uint64]*initProc
	free   []*block // those of reaped inits
	blocks int      // made so far
	buf    []byte

	firstUser int
	groups    *cgroups
	scopes    int // ruleset that all jobs behind walls share; -1: none
}

type initProc struct {
	job    uint64
	pid    int
	pidfd  int
	orders int // write end; -1: closed
	socket int // to the program, if it is a template; else -1
	block  *block
}

// supervise serves the worker until it is gone and all trees are, too.
func supervise(m *mode) error {
	// What ends a worker politely must not end its supervisor, which outlives it
	// for as long as there is something to end.
	signal.Ignore(ignored[:]...)
	runtime.LockOSThread() // forkInit changes the thread's signal mask
	for fd := supSocket; fd <= supLock; fd++ {
		unix.CloseOnExec(fd)
	}
	if err := unix.SetNonblock(supStatus, true); err != nil {
		return fmt.Errorf("set up the status pipe: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	// A job of the same user may not look into us.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become undumpable: %w", err)
	}
	p := &process{
		mode: m, lock: -1, scopes: -1, firstUser: firstUser(),
		inits: make(map[int32]*initProc), jobs: make(map[uint64]*initProc), buf: make([]byte, maxText+64),
	}
	if m.Lock {
		p.lock = supLock
	}
	var err error
	if p.lease, err = newLease(); err != nil {
		return err
	}
	if p.null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open /dev/null: %w", err)
	}
	if p.poller, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("make a poller: %w", err)
	}
	if err := p.watch(supSocket); err != nil {
		return err
	}
	if err := p.wallIn(); err != nil {
		return err
	}
	err = p.loop()
	p.groups.close(p.blocks)
	return err
}

// wallIn prepares what the walls of all jobs have in common.
func (p *process) wallIn() error {
	p.groups = openCgroups(p.mode.Limits)
	if p.mode.Landlock > 0 && p.mode.Walls {
		fd, err := newRuleset(p.mode.Landlock, false)
		if err != nil {
			return err
		}
		p.scopes = fd
	}
	if !p.mode.Walls {
		return nil
	}
	return makeRoot(p.mode)
}

func (p *process) watch(fd int) error {
	if err := unix.EpollCtl(p.poller, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("watch a file: %w", err)
	}
	return nil
}

// loop carries out the worker's messages and reaps inits. When the worker's end
// of the socket is closed it orders every init to end its tree, and ends when
// the last one is reaped. An init that does not answer within five seconds
// (somebody stopped it) is killed, and the kernel ends its namespace.
func (p *process) loop() error {
	const patience = 5000 // ms
	events, ending, timeout := make([]unix.EpollEvent, 64), false, -1
	for !ending || len(p.inits) > 0 {
		n, err := unix.EpollWait(p.poller, events, timeout)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait: %w", err) // every init ends its tree when we are gone
		case n == 0:
			for _, i := range p.inits {
				_ = unix.Kill(i.pid, unix.SIGKILL)
			}
		}
		for _, e := range events[:n] {
			if e.Fd != supSocket {
				p.reap(p.inits[e.Fd])
			} else if !ending && !p.serve() {
				ending, timeout = true, patience
				_ = unix.EpollCtl(p.poller, unix.EPOLL_CTL_DEL, supSocket, nil)
				for _, i := range p.inits {
					i.closeOrders()
				}
			}
		}
	}
	return nil
}

// serve carries out one message of the worker; false: there will be none any more.
func (p *process) serve() bool {
	var oob [64]byte
	n, oobn, _, _, err := unix.Recvmsg(supSocket, p.buf, oob[:], unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return true
	}
	if err != nil || n < 9 {
		return false
	}
	job := binary.LittleEndian.Uint64(p.buf[1:])
	switch p.buf[0] {
	case msgExtend:
		atomic.StoreInt64(p.lease, int64(job))
	case msgKill:
		if i := p.jobs[job]; i != nil && i.orders >= 0 && n == 17 {
			order := binary.NativeEndian.AppendUint64(nil, binary.LittleEndian.Uint64(p.buf[9:]))
			_, _ = unix.Write(i.orders, order) // an init that is ending needs no order
		}
	case msgLaunch:
		if err := p.launch(job, p.buf[9:n], oob[:oobn]); err != nil {
			errno := unix.E2BIG
			errors.As(err, &errno)
			p.say(record{job: job, kind: recGone, errno: int32(errno)})
		}
	}
	return true
}

// launch starts the init of a job. The body says which files came with it (1
// byte) and which template forks it (8 bytes); it holds linger (8 bytes), the
// numbers of arguments and variables (4 and 4), the shared paths, and the text
// of setText.
func (p *process) launch(job uint64, body, oob []byte) (err error) {
	files, err := receivedFiles(oob)
	defer func() { closeAll(files) }()
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if len(body) < 29 {
		return unix.EINVAL
	}
	has, template := body[0], le.Uint64(body[1:])
	std, err := p.standardFiles(has, files)
	if err != nil {
		return err
	}
	body = body[9:]
	b, err := p.takeBlock()
	if err != nil {
		return err
	}
	i := &initProc{job: job, block: b, pidfd: -1, orders: -1, socket: -1}
	defer func() {
		if err != nil {
			p.free = append(p.free, b)
			i.closeOrders()
		}
	}()
	text, shares, err := splitShares(body[16:])
	if err != nil {
		return err
	}
	if err := b.setText(text, int(le.Uint32(body[8:])), int(le.Uint32(body[12:]))); err != nil {
		return err
	}
	b.become(p.mode, has)
	link, err := p.link(has, template, &std)
	if err != nil {
		return err
	}
	defer link.close()
	rules, err := p.planJob(b, std, dirOf(text), shares)
	if err != nil {
		return err
	}
	if rules != p.scopes {
		defer closeAll([]int{rules})
	}
	var orders [2]int
	if err := unix.Pipe2(orders[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer closeAll(orders[:1])
	i.orders = orders[1]
	b.job, b.linger, b.null = job, int64(le.Uint64(body)), int32(p.null)
	b.files = [fdCount]int32{
		std[fdIn], std[fdOut], std[fdErr], std[fdReply], int32(orders[0]), supStatus, int32(p.lock),
		int32(b.group.memory), int32(b.group.pids), int32(b.group.oom), int32(rules), link.inits,
	}
	if err := p.fork(i); err != nil {
		return err
	}
	i.socket = link.keep()
	if b.adopt {
		// If it cannot be told, its end of the socket closes, and the init sees that.
		_ = unix.Sendmsg(link.template, p.order(b, p.inside(dirOf(text))), unix.UnixRights(link.files(std, i, b, rules)...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
	return nil
}

// fork starts the init and watches it.
func (p *process) fork(i *initProc) error {
	pid, errno := forkInit(i.block)
	if errno != 0 {
		return errno
	}
	var err error
	i.pid = pid
	if i.pidfd, err = unix.PidfdOpen(pid, 0); err == nil {
		err = p.watch(i.pidfd)
	}
	if err != nil { // out of files: the job cannot be watched, so it may not be
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
		p.endOrphans()
		closeAll([]int{i.pidfd})
		return err
	}
	p.inits[int32(i.pidfd)], p.jobs[i.job] = i, i
	return nil
}

// takeBlock returns a block that no init uses.
func (p *process) takeBlock() (*block, error) {
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		b.initState = initState{}
		return b, nil
	}
	b, err := newBlock(p.mode, p.lease)
	if err != nil {
		return nil, err
	}
	b.index = int32(p.blocks)
	p.blocks++
	b.group = p.groups.create(int(b.index), p.mode.Limits)
	return b, nil
}

func receivedFiles(oob []byte) ([]int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return nil, unix.EBADF
	}
	files, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return files, unix.EBADF
	}
	return files, nil
}

// standardFiles gives the files that came with a command their places.
func (p *process) standardFiles(has byte, files []int) (std [fdReply + 1]int32, err error) {
	std = [fdReply + 1]int32{fdIn: int32(p.null), fdReply: -1}
	places := []int{fdOut, fdErr}
	if has&hasStdin != 0 {
		places = append(places, fdIn)
	}
	if has&hasReply != 0 {
		places = append(places, fdReply)
	}
	if len(places) != len(files) {
		return std, unix.EBADF
	}
	for i, place := range places {
		std[place] = int32(files[i])
	}
	return std, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

func (i *initProc) closeOrders() {
	if i.orders >= 0 {
		closeAll([]int{i.orders})
		i.orders = -1
	}
}

// reap collects an init that has ended, and speaks for it if it could not.
func (p *process) reap(i *initProc) {
	if i == nil {
		return
	}
	var status unix.WaitStatus
	pid, err := unix.Wait4(i.pid, &status, unix.WNOHANG|unix.WALL, nil)
	if pid == 0 || errors.Is(err, unix.EINTR) {
		return
	}
	delete(p.inits, int32(i.pidfd))
	delete(p.jobs, i.job)
	i.closeOrders()
	closeAll([]int{i.pidfd})
	if i.socket >= 0 {
		closeAll([]int{i.socket})
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		p.endOrphans()
		p.say(record{job: i.job, kind: recGone, cause: causeLost, status: int32(status)})
	}
	p.free = append(p.free, i.block)
}

// endOrphans ends what an init that was killed from outside has left. With a
// namespace there is nothing: the kernel ended it before the init could be
// reaped. Without one, its children have become ours.
func (p *process) endOrphans() {
	if p.mode.PIDNamespace {
		return
	}
	known := make(map[int]bool, len(p.inits))
	for _, i := range p.inits {
		known[i.pid] = true
	}
	for {
		found := false
		for _, pid := range ownChildren() {
			if !known[pid] {
				found = true
				_ = unix.Kill(pid, unix.SIGKILL)
				_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
			}
		}
		if !found {
			return
		}
	}
}

// ownChildren lists the children of all threads of this process.
func ownChildren() []int {
	var pids []int
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		text, _ := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		for _, f := range strings.Fields(string(text)) {
			var pid int
			if _, err := fmt.Sscan(f, &pid); err == nil && pid > 1 {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// say writes a record to the worker. It may have to wait for room: never for
// long while the worker runs, and never at all once it is gone.
func (p *process) say(r record) {
	for {
		_, err := unix.Write(supStatus, r.encode())
		if err != unix.EAGAIN && err != unix.EINTR {
			return
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: supStatus, Events: unix.POLLOUT}}, -1)
	}
}
