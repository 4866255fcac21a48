package supervisor

import (
	"encoding/json"

	"golang.org/x/sys/unix"
)

// A template is a program that has loaded what an interpreter needs and forks a
// copy of itself for each job, which costs less than starting the interpreter.
// The job's init is made as for any other job, with its namespaces and its root.
// The template gets the init's pidfd and the job's files, and forks: the child is
// in the init's PID namespace and joins its other ones. It waits for the init's
// word on the socket that both have, bounds itself as the order says, announces
// itself, and only then begins.
//
//	supervisor ──order, files──▶ template ──fork──▶ the job's process
//	    └──fork──▶ init of the job ◀──{error, pid}, then {status, memory}── socket
//
// The process is the template's child, and only a parent learns how its child
// ended; so it is the template that tells the init. (To make it the init's child
// takes a second fork, which copies all that is loaded another time.) The tree
// is gone when the namespace holds nothing but the init.

// forkOrder is what a template is told: one message, with the files named.
type forkOrder struct {
	Files  []string    `json:"files"`  // of: in, out, err, reply, init (a pidfd), adopt, rules, group
	User   int         `json:"user"`   // user and group number; 0: the template's own
	Limits [][2]uint64 `json:"limits"` // resource, bound
	Dir    string      `json:"dir"`
	Root   string      `json:"root"`   // what to change into, which joining a mount namespace undoes; "": nothing
	Spaces int         `json:"spaces"` // namespaces to join, as flags of setns, beside that of processes
}

// link is the socket between an init and the process it adopts, or between the
// supervisor and a template.
type link struct {
	inits    int32 // the init's end, an end that only it needs; -1: none
	theirs   int   // the end of the process to be adopted; -1: none
	ours     int   // the supervisor's end to a template; -1: none
	template int   // the socket of the template that forks; -1: none
}

// link makes the socket that a command needs. A template finds its end in the
// place of the reply.
func (p *process) link(has byte, template uint64, std *[fdReply + 1]int32) (link, error) {
	l := link{inits: -1, theirs: -1, ours: -1, template: -1}
	switch {
	case has&hasTemplate != 0:
		t := p.jobs[template]
		if t == nil || t.socket < 0 || !p.mode.PIDNamespace {
			return l, unix.ESTALE
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return l, err
		}
		_ = unix.SetNonblock(pair[1], false)
		l.inits, l.theirs, l.template = int32(pair[0]), pair[1], t.socket
	case has&isTemplate != 0:
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return l, err
		}
		l.ours, l.theirs = pair[0], pair[1]
		std[fdReply] = int32(pair[1])
	}
	return l, nil
}

// keep hands the supervisor's end to the caller.
func (l *link) keep() int {
	fd := l.ours
	l.ours = -1
	return fd
}

func (l *link) close() {
	for _, fd := range []int{int(l.inits), l.theirs, l.ours} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// names and descriptors of what goes with an order, in one order.
func (l *link) files(std [fdReply + 1]int32, i *initProc, b *block, rules int) []int {
	fds := []int{int(std[fdIn]), int(std[fdOut]), int(std[fdErr]), int(std[fdReply]), i.pidfd, l.theirs}
	for _, fd := range []int{rules, b.group.memory, b.group.pids} {
		if fd >= 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}

// become sets what a block is for: a job that is executed, one that a template
// forks, or a template.
func (b *block) become(m *mode, has byte) {
	b.adopt, b.template = has&hasTemplate != 0, has&isTemplate != 0
	b.namespaces = m.PIDNamespace && !b.template
	b.cloneFlags &^= unix.CLONE_NEWPID
	if b.namespaces {
		b.cloneFlags |= unix.CLONE_NEWPID
	}
}

// order writes down what the forked process does to itself.
func (p *process) order(b *block, dir string) []byte {
	o := forkOrder{Files: []string{"in", "out", "err", "reply", "init", "adopt"}, User: p.userOf(b)}
	if b.files[fdRules] >= 0 {
		o.Files = append(o.Files, "rules")
	}
	for _, fd := range []int{b.group.memory, b.group.pids} {
		if fd >= 0 {
			o.Files = append(o.Files, "group")
		}
	}
	o.Limits = p.mode.Limits.resources()
	o.Spaces = int(b.cloneFlags & (unix.CLONE_NEWNS | unix.CLONE_NEWIPC))
	o.Dir = dir
	if p.mode.Walls {
		o.Root = innerRoot
	}
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // numbers and names
	}
	return text
}

// planTemplate hides from a template what is staged for jobs.
func (p *process) planTemplate(pl *plan) {
	if p.mode.Walls {
		pl.mount("/dev", stage, "", unix.MS_BIND)
	}
}
