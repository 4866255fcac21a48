package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Isolation says with what a supervisor holds its jobs together and walls them
// off. The zero value is the least: child subreaper and process groups.
type Isolation struct {
	PIDNamespace  bool // each job has a PID namespace
	UserNamespace bool // the supervisor needs a user namespace for namespaces (it is not root)
	OwnProc       bool // each job has a mount namespace with its own /proc
	Walls         bool // each job has a root of its own, with its folder and the system's programs alone
	OwnUser       bool // each job runs under a user number of its own
	Landlock      int  // version of Landlock in use; 0: none
}

// String says it in a sentence for people.
func (i Isolation) String() string {
	var s []string
	switch {
	case i.Walls:
		s = append(s, "Each job has a root, processes and an IPC namespace of its own: it sees its folder, the system's programs and its dependencies, nothing else")
	case i.Landlock > 0:
		s = append(s, "Landlock bounds the files that a job may touch to its folder, the system's programs and its dependencies")
	default:
		s = append(s, "Jobs are not walled off: they see the files that the worker sees")
	}
	switch {
	case i.PIDNamespace && !i.OwnProc:
		s = append(s, "each job has a PID namespace, but sees the machine's /proc; nothing of it can outlive it")
	case i.PIDNamespace:
		s = append(s, "nothing of a job can outlive it")
	default:
		s = append(s, "PID namespaces are not available here: processes that a job daemonises may be missed if the job's supervisor is killed")
	}
	if i.OwnUser {
		s = append(s, "each job runs under a user number of its own")
	}
	return strings.Join(s, "; ") + "."
}

const probeMode = "probe"

// Level is how much isolation is asked for.
type Level string

// The levels.
const (
	LevelRequired   Level = "required"    // walls, or no worker
	LevelBestEffort Level = "best-effort" // the strongest that works here
	LevelNone       Level = "none"        // no walls; processes are held together all the same
)

// Probe finds the strongest isolation up to a level that works here with a
// configuration, by trying; the folder for jobs may be left out. It takes some
// milliseconds. An error means that the level cannot be had, or that no job can
// be run under a supervisor at all.
func Probe(level Level, cfg Config) (Isolation, error) {
	user := os.Geteuid() != 0
	abi := landlockABI()
	tries := []Isolation{
		{PIDNamespace: true, OwnProc: true, UserNamespace: user, Walls: true, OwnUser: !user, Landlock: abi},
		{PIDNamespace: true, OwnProc: true, UserNamespace: user, Landlock: abi},
		{PIDNamespace: true, UserNamespace: user, Landlock: abi},
		{Landlock: abi},
	}
	switch level {
	case LevelRequired:
		tries = tries[:1]
	case LevelNone:
		tries = tries[1:]
		for i := range tries {
			tries[i].Landlock = 0
		}
	case LevelBestEffort:
	}
	var errs []error
	for _, iso := range tries {
		cfg.Isolation = iso
		err := try(cfg)
		if err == nil {
			return iso, nil
		}
		errs = append(errs, fmt.Errorf("%+v: %w", iso, err))
	}
	return Isolation{}, fmt.Errorf("run a process under a supervisor: %w", errors.Join(errs...))
}

// try runs this binary as a job that looks where it is.
func try(cfg Config) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this binary: %w", err)
	}
	jobs, err := os.MkdirTemp(cfg.Jobs, "probe-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(jobs)
	dir := filepath.Join(jobs, "1")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	cfg.Jobs, cfg.Read, cfg.InstanceLock = jobs, append(slices.Clone(cfg.Read), self), nil
	s, err := Start(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Extend(BootNow() + 10*time.Second); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer r.Close()
	p, err := s.Launch(Command{Path: self, Args: []string{"sluice", marker, probeMode}, Dir: dir, Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		return err
	}
	line, _ := bufio.NewReader(r).ReadString('\n')
	<-p.Gone()
	if e := p.Exit(); !e.Launched || e.Cause != CauseNone || e.Status != 0 {
		return fmt.Errorf("the process ended with %+v: %s", e, line)
	}
	return cfg.Isolation.compare(line)
}

// compare looks at what a process said of itself.
func (i Isolation) compare(line string) error {
	var pid, seen, uid int
	var above string
	if _, err := fmt.Sscan(line, &pid, &seen, &uid, &above); err != nil {
		return fmt.Errorf("read what the process said (%q): %w", line, err)
	}
	switch {
	case i.PIDNamespace && pid != 2:
		return fmt.Errorf("the process has number %d instead of 2", pid)
	case i.OwnProc && seen != pid:
		return fmt.Errorf("/proc/self is %d instead of %d", seen, pid)
	case i.OwnUser && uid == 0:
		return errors.New("the process runs as root")
	case i.Walls && above != jobDir:
		return fmt.Errorf("the process is in %s instead of %s", above, jobDir)
	}
	return nil
}

// runProbe says which number the process has, which one /proc gives it, as whom
// it runs and where.
func runProbe() {
	link, _ := os.Readlink("/proc/self")
	dir, _ := os.Getwd()
	fmt.Fprintln(os.Stdout, os.Getpid(), link, os.Geteuid(), dir)
	unix.Exit(0)
}
