package supervisor

import "golang.org/x/sys/unix"

// Limits bound what one job may use; zero: no bound.
type Limits struct {
	// MemoryBytes bounds the private memory of each process of a job and, where
	// control groups can be used, the memory of the whole tree.
	MemoryBytes int64
	// Processes bounds the processes and threads of a job. Where a job has
	// neither a control group nor a user of its own it bounds those of all jobs
	// of the supervisor together.
	Processes int
	OpenFiles int   // of one process
	FileBytes int64 // of one file
}

// resources are the bounds that each process of a job has of the kernel, as pairs
// of a resource's number and the bound.
func (l Limits) resources() [][2]uint64 {
	var list [][2]uint64
	for _, b := range [][2]int64{
		{unix.RLIMIT_DATA, l.MemoryBytes}, {unix.RLIMIT_NPROC, int64(l.Processes)}, {unix.RLIMIT_NOFILE, int64(l.OpenFiles)}, {unix.RLIMIT_FSIZE, l.FileBytes},
	} {
		if b[1] > 0 {
			list = append(list, [2]uint64{uint64(b[0]), uint64(b[1])})
		}
	}
	return list
}

// planJob writes down all that is to be done for a job before its program is
// executed, and returns the ruleset that it shall be under; -1: none.
func (p *process) planJob(b *block, std [fdReply + 1]int32, dir string, shares []string) (rules int, err error) {
	pl := &b.plan
	pl.reset()
	rules = p.scopes
	switch {
	case b.template:
		p.planTemplate(pl)
		return -1, pl.err()
	case p.mode.Walls:
		if err := p.planWalls(pl, dir, shares); err != nil {
			return -1, err
		}
		b.dir = pl.str(p.inside(dir))
	case p.mode.OwnProc:
		pl.mount("/", "/", "", unix.MS_REC|unix.MS_PRIVATE)
		// Should it fail, the job sees the /proc that was there.
		pl.inInit(step{nr: unix.SYS_MOUNT, a1: pl.str("proc"), a2: pl.str("/proc"), a3: pl.str("proc"), a4: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, may: true})
	}
	if p.mode.Landlock > 0 && !p.mode.Walls {
		if rules, err = p.rulesetFor(dir, shares); err != nil {
			return -1, err
		}
	}
	user := p.userOf(b)
	if user != 0 {
		if err := p.own(dir, user); err != nil {
			return -1, err
		}
		ownPipes(std, user)
	}
	if !b.adopt {
		p.planBounds(pl, b, user, rules)
	}
	return rules, pl.err()
}

// inside returns where a job finds its working directory.
func (p *process) inside(dir string) string {
	if _, ok := below(p.mode.Jobs, dir); ok && p.mode.Walls {
		return jobDir
	}
	return dir
}

// ownPipes lets a job's user open its pipes anew by name, as /dev/stderr.
func ownPipes(std [fdReply + 1]int32, user int) {
	for _, fd := range std {
		var st unix.Stat_t
		if fd >= 0 && unix.Fstat(int(fd), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
			_ = unix.Fchown(int(fd), user, user)
		}
	}
}

// planBounds writes down what the job's process does to itself.
func (p *process) planBounds(pl *plan, b *block, user, rules int) {
	pl.inJob(step{nr: unix.SYS_PRCTL, a1: unix.PR_CAP_AMBIENT, a2: unix.PR_CAP_AMBIENT_CLEAR_ALL})
	self := pl.str("0")
	for fd, have := range map[uintptr]int{fdMemory: b.group.memory, fdPids: b.group.pids} {
		if have >= 0 {
			pl.inJob(step{nr: unix.SYS_WRITE, a1: fd, a2: self, a3: 1})
		}
	}
	for _, bound := range p.mode.Limits.resources() {
		pl.rlimit(int(bound[0]), bound[1])
	}
	if user != 0 {
		pl.inJob(step{nr: unix.SYS_SETGROUPS})
		pl.inJob(step{nr: unix.SYS_SETRESGID, a1: uintptr(user), a2: uintptr(user), a3: uintptr(user)})
		pl.inJob(step{nr: unix.SYS_SETRESUID, a1: uintptr(user), a2: uintptr(user), a3: uintptr(user)})
	}
	if p.mode.Walls || rules >= 0 {
		pl.inJob(step{nr: unix.SYS_PRCTL, a1: unix.PR_SET_NO_NEW_PRIVS, a2: 1})
	}
	if rules >= 0 {
		pl.inJob(step{nr: unix.SYS_LANDLOCK_RESTRICT_SELF, a1: fdRules})
	}
}
