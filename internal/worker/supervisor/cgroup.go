package supervisor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Control groups bound what the whole tree of a job may use. Each block, and
// so each place, has its own; a job joins them before it executes its program.
// They are used where version 1 is mounted and the supervisor may write it.

// cgroups are the folders below which a supervisor makes its groups.
type cgroups struct {
	memory, pids cgroupDir
}

// cgroupDir is a folder of a supervisor's own groups of one controller.
type cgroupDir struct {
	parent, fd int // descriptors; -1: none
}

// cgroup is the group of one block.
type cgroup struct {
	memory, pids int // descriptors of the files that take a process; -1: none
	oom          int // descriptor of memory.oom_control; -1: none
}

const cgroupRoot = "/sys/fs/cgroup"

// openCgroups makes the supervisor's own folders. What cannot be had is -1.
func openCgroups(l Limits) *cgroups {
	none := cgroupDir{-1, -1}
	c := &cgroups{none, none}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil || os.Geteuid() != 0 {
		return c
	}
	open := func(controller string) cgroupDir {
		for _, line := range strings.Split(string(own), "\n") {
			parts := strings.SplitN(line, ":", 3)
			if len(parts) != 3 || parts[1] != controller {
				continue
			}
			base := filepath.Join(cgroupRoot, controller, parts[2])
			if _, err := os.Stat(filepath.Join(base, "tasks")); err != nil {
				base = filepath.Join(cgroupRoot, controller) // a container that sees its own part as the root
			}
			removeStale(base)
			d := cgroupDir{openAt(unix.AT_FDCWD, base, unix.O_PATH), -1}
			if unix.Mkdirat(d.parent, cgroupName(), 0o755) == nil {
				d.fd = openAt(d.parent, cgroupName(), unix.O_PATH)
			}
			return d
		}
		return none
	}
	if l.MemoryBytes > 0 {
		c.memory = open("memory")
	}
	if l.Processes > 0 {
		c.pids = open("pids")
	}
	return c
}

const cgroupPrefix = "sluice-"

func cgroupName() string { return cgroupPrefix + strconv.Itoa(os.Getpid()) }

// removeStale removes the groups of supervisors that were killed.
func removeStale(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, cgroupPrefix+"*"))
	for _, dir := range dirs {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), cgroupPrefix))
		if err != nil || unix.Kill(pid, 0) != unix.ESRCH {
			continue
		}
		children, _ := filepath.Glob(filepath.Join(dir, "*", "tasks"))
		for _, child := range children {
			_ = os.Remove(filepath.Dir(child))
		}
		_ = os.Remove(dir)
	}
}

// create makes the group of one block.
func (c *cgroups) create(index int, l Limits) cgroup {
	g := cgroup{memory: -1, pids: -1, oom: -1}
	name := strconv.Itoa(index)
	if c.memory.fd >= 0 && unix.Mkdirat(c.memory.fd, name, 0o755) == nil {
		if writeAt(c.memory.fd, name+"/memory.limit_in_bytes", l.MemoryBytes) == nil {
			g.memory = openAt(c.memory.fd, name+"/tasks", unix.O_WRONLY)
			g.oom = openAt(c.memory.fd, name+"/memory.oom_control", unix.O_RDONLY)
			// Swap would make the bound a soft one; not every kernel counts it.
			_ = writeAt(c.memory.fd, name+"/memory.memsw.limit_in_bytes", l.MemoryBytes)
		}
	}
	if c.pids.fd >= 0 && unix.Mkdirat(c.pids.fd, name, 0o755) == nil {
		if writeAt(c.pids.fd, name+"/pids.max", int64(l.Processes)) == nil {
			g.pids = openAt(c.pids.fd, name+"/tasks", unix.O_WRONLY)
		}
	}
	return g
}

// close removes the supervisor's groups; the jobs are gone.
func (c *cgroups) close(blocks int) {
	for _, dir := range []cgroupDir{c.memory, c.pids} {
		if dir.fd < 0 {
			continue
		}
		for i := range blocks {
			_ = unix.Unlinkat(dir.fd, strconv.Itoa(i), unix.AT_REMOVEDIR)
		}
		_ = unix.Unlinkat(dir.parent, cgroupName(), unix.AT_REMOVEDIR)
	}
}

func writeAt(dir int, name string, n int64) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, strconv.AppendInt(nil, n, 10))
	return err
}

func openAt(dir int, name string, flags int) int {
	fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}
