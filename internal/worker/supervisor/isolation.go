package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Isolation says with what a supervisor holds its jobs together. The zero value
// is the least: child subreaper and process groups.
type Isolation struct {
	PIDNamespace  bool // each job has a PID namespace
	UserNamespace bool // the supervisor needs a user namespace for that (it is not root)
	OwnProc       bool // each job has a mount namespace with its own /proc
}

// String says it in a sentence for people.
func (i Isolation) String() string {
	switch {
	case i.OwnProc:
		return "Each job runs in a PID namespace of its own, with its own /proc; nothing of it can outlive it."
	case i.PIDNamespace:
		return "Each job runs in a PID namespace of its own, but sees the machine's /proc; nothing of it can outlive it."
	}
	return "PID namespaces are not available here: jobs are held together by process groups and a subreaper, " +
		"and processes that a job daemonises may be missed if the job's supervisor is killed."
}

const probeMode = "probe"

// Probe finds the strongest isolation that works here, by trying. It takes some
// milliseconds. An error means that no job can be run under a supervisor at all.
func Probe() (Isolation, error) {
	user := os.Geteuid() != 0
	tries := []Isolation{
		{PIDNamespace: true, OwnProc: true, UserNamespace: user},
		{PIDNamespace: true, UserNamespace: user},
		{},
	}
	var errs []error
	for _, iso := range tries {
		err := try(iso)
		if err == nil {
			return iso, nil
		}
		errs = append(errs, fmt.Errorf("%+v: %w", iso, err))
	}
	return Isolation{}, fmt.Errorf("run a process under a supervisor: %w", errors.Join(errs...))
}

// try runs this binary as a job that looks where it is.
func try(iso Isolation) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this binary: %w", err)
	}
	s, err := Start(Config{Isolation: iso})
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
	p, err := s.Launch(Command{Path: self, Args: []string{"sluice", marker, probeMode}, Dir: "/", Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		return err
	}
	line, _ := bufio.NewReader(r).ReadString('\n')
	<-p.Gone()
	if e := p.Exit(); !e.Launched || e.Cause != CauseNone || e.Status != 0 {
		return fmt.Errorf("the process ended with %+v: %s", e, line)
	}
	var pid, seen int
	if _, err := fmt.Sscan(line, &pid, &seen); err != nil {
		return fmt.Errorf("read what the process said (%q): %w", line, err)
	}
	if iso.PIDNamespace && pid != 2 {
		return fmt.Errorf("the process has number %d instead of 2", pid)
	}
	if iso.OwnProc && seen != pid {
		return fmt.Errorf("/proc/self is %d instead of %d", seen, pid)
	}
	return nil
}

// runProbe says which number the process has, and which one /proc gives it.
func runProbe() {
	link, _ := os.Readlink("/proc/self")
	fmt.Fprintln(os.Stdout, os.Getpid(), link)
	unix.Exit(0)
}
