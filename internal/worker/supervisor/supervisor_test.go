package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const helperMarker = "__helper"

func TestMain(m *testing.M) {
	Main()
	if len(os.Args) > 1 && os.Args[1] == helperMarker {
		runHelper(os.Args[2:])
	}
	goleak.VerifyTestMain(m)
}

// runHelper is a worker that launches one script, says so, and renews its lease
// for as long as it lives: helper <pid|proc|none> <lease> <lock file> <script>.
func runHelper(args []string) {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	lease, err := time.ParseDuration(args[1])
	check(err)
	lock, err := os.OpenFile(args[2], os.O_RDWR, 0)
	check(err)
	check(unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	jobs, err := os.MkdirTemp("", "jobs")
	check(err)
	s, err := Start(Config{Isolation: modes[args[0]], InstanceLock: lock, Jobs: jobs})
	check(err)
	check(s.Extend(BootNow() + lease))
	p, err := s.Launch(Command{
		Path: "/bin/bash", Args: []string{"bash", "-c", args[3]}, Env: []string{"PATH=" + os.Getenv("PATH")},
		Dir: "/", Stdout: os.Stdout, Stderr: os.Stdout, Linger: time.Second,
	})
	check(err)
	<-p.Launched()
	fmt.Fprintln(os.Stdout, "supervisor", s.PID())
	for range time.Tick(lease / 10) {
		check(s.Extend(BootNow() + lease))
	}
}

var modes = map[string]Isolation{
	"walls": {
		PIDNamespace: true, OwnProc: true, UserNamespace: os.Geteuid() != 0,
		Walls: true, OwnUser: os.Geteuid() == 0, Landlock: landlockABI(),
	},
	"proc": {PIDNamespace: true, OwnProc: true, UserNamespace: os.Geteuid() != 0},
	"pid":  {PIDNamespace: true, UserNamespace: os.Geteuid() != 0},
	"none": {},
}

// eachMode runs a test with each isolation that works here. Namespaces work
// wherever this project is tested; a machine without them fails the test.
func eachMode(t *testing.T, f func(t *testing.T, mode string)) {
	for mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f(t, mode)
		})
	}
}

func start(t testing.TB, iso Isolation) *Supervisor {
	t.Helper()
	s, err := Start(Config{Isolation: iso, Jobs: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Extend(BootNow() + time.Hour); err != nil {
		t.Fatal(err)
	}
	return s
}

// bash launches a script; the function returns what it has printed, once all
// its writers are gone.
func bash(t testing.TB, s *Supervisor, script string) (*Process, func() string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Launch(Command{
		Path: "/bin/bash", Args: []string{"bash", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/",
		Stdout: w, Stderr: w, Linger: 600 * time.Millisecond,
	})
	w.Close()
	if err != nil {
		r.Close()
		t.Fatal(err)
	}
	return p, sync.OnceValue(func() string {
		defer r.Close()
		text, _ := io.ReadAll(r)
		return string(text)
	})
}

// tag makes an argument by which a test's processes can be found: a number of
// seconds that nobody else sleeps.
func tag(t testing.TB) string {
	t.Helper()
	tagMu.Lock()
	defer tagMu.Unlock()
	tagNext++
	return fmt.Sprintf("%d.%04d", 1000+tagNext, os.Getpid()%10000)
}

var (
	tagMu   sync.Mutex
	tagNext int
)

func running(arg string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	n := 0
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for _, a := range strings.Split(string(text), "\x00") {
			if a == arg {
				n++
			}
		}
	}
	return n
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit, poll := time.NewTimer(10*time.Second), time.NewTicker(5*time.Millisecond)
	defer limit.Stop()
	defer poll.Stop()
	for !holds() {
		select {
		case <-poll.C:
		case <-limit.C:
			t.Fatalf("waited too long: %s", what)
		}
	}
}

// tree is a script with children of every kind: in its process group, in a
// session of their own, orphaned, stopped, and deaf to TERM.
func tree(tag string) (script string, processes int) {
	return strings.ReplaceAll(`
sleep TAG &
setsid sleep TAG &
( setsid bash -c 'trap "" TERM HUP; (sleep TAG &); sleep TAG; sleep TAG' & )
bash -c 'kill -STOP $$; sleep TAG' TAG &
nohup sleep TAG >/dev/null 2>&1 &
disown -a
echo ready
sleep TAG`, "TAG", tag), 6
}

func TestProbe(t *testing.T) {
	iso, err := Probe(LevelBestEffort, Config{})
	if err != nil || iso != modes["walls"] {
		t.Fatalf("%+v, %v", iso, err)
	}
	if !strings.Contains(iso.String(), "nothing of a job can outlive it") || !strings.Contains(Isolation{}.String(), "not available") {
		t.Error(iso, Isolation{})
	}
	if strict, err := Probe(LevelRequired, Config{}); err != nil || strict != iso {
		t.Errorf("required: %+v, %v", strict, err)
	}
	if open, err := Probe(LevelNone, Config{}); err != nil || open != modes["proc"] {
		t.Errorf("none: %+v, %v", open, err)
	}
}

func TestExit(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		s := start(t, modes[mode])
		p, out := bash(t, s, "echo hello; exit 3")
		<-p.Gone()
		select {
		case <-p.Launched():
		default:
			t.Error("gone, but never launched")
		}
		if e := p.Exit(); e.Status.ExitStatus() != 3 || !e.Launched || e.Cause != CauseNone || e.MaxRSSKB <= 0 || e.Err != nil {
			t.Errorf("%+v", e)
		}
		if got := out(); got != "hello\n" {
			t.Errorf("%q", got)
		}
		p, _ = bash(t, s, "kill -ABRT $$")
		<-p.Gone()
		if e := p.Exit(); e.Status.Signal() != syscall.SIGABRT || e.Cause != CauseNone {
			t.Errorf("%+v", e)
		}
	})
}

func TestExecThatFails(t *testing.T) {
	s := start(t, modes["proc"])
	for _, c := range []Command{
		{Path: "/nonexistent", Args: []string{"x"}, Dir: "/"},
		{Path: "/bin/true", Args: []string{"x"}, Dir: "/nonexistent"},
	} {
		c.Stdout, c.Stderr = os.Stderr, os.Stderr
		p, err := s.Launch(c)
		if err != nil {
			t.Fatal(err)
		}
		<-p.Gone()
		if e := p.Exit(); e.Launched || !errors.Is(e.Err, syscall.ENOENT) {
			t.Errorf("%+v", e)
		}
		select {
		case <-p.Launched():
			t.Error("said to be launched")
		default:
		}
	}
	long := Command{Path: "/bin/true", Args: []string{"x", strings.Repeat("y", maxText)}, Dir: "/", Stdout: os.Stderr, Stderr: os.Stderr}
	if _, err := s.Launch(long); !errors.Is(err, errTooBig) {
		t.Errorf("too long: %v", err)
	}
	long.Args[1] = "a\x00b"
	if _, err := s.Launch(long); err == nil {
		t.Error("a NUL was taken")
	}
}

func TestKillEndsTheWholeTree(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		tag := tag(t)
		s := start(t, modes[mode])
		script, n := tree(tag)
		p, out := bash(t, s, script)
		eventually(t, "the tree is complete", func() bool { return running(tag) >= n })
		if err := p.Kill(0); err != nil {
			t.Fatal(err)
		}
		<-p.Gone()
		if left := running(tag); left != 0 {
			t.Errorf("%d left when gone was said", left)
		}
		if e := p.Exit(); e.Cause != CauseOrder {
			t.Errorf("%+v", e)
		}
		out()
	})
}

func TestGrace(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		tag := tag(t)
		s := start(t, modes[mode])
		polite, out := bash(t, s, "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done")
		deaf, _ := bash(t, s, "trap '' TERM; exec 1>&- 2>&-; bash -c 'while :; do sleep 0.05; done' "+tag)
		eventually(t, "deaf one runs", func() bool { return running(tag) > 0 })
		<-polite.Launched()
		begin := time.Now()
		grace := 400 * time.Millisecond
		for _, p := range []*Process{polite, deaf} {
			if err := p.Kill(grace); err != nil {
				t.Fatal(err)
			}
		}
		<-polite.Gone()
		if e := polite.Exit(); e.Status.ExitStatus() != 7 && e.Status.Signal() != syscall.SIGTERM { // the trap may not be set yet
			t.Errorf("%+v", e)
		}
		select {
		case <-deaf.Gone():
			t.Errorf("gone %v after TERM, which it ignores", time.Since(begin))
		default:
		}
		<-deaf.Gone()
		if d := time.Since(begin); d < grace || running(tag) != 0 {
			t.Errorf("gone after %v with %d left", d, running(tag))
		}
		if e := deaf.Exit(); e.Status.Signal() != syscall.SIGKILL || e.Cause != CauseOrder {
			t.Errorf("%+v", e)
		}
		out()
	})
}

func TestKillNowCutsTheGraceShort(t *testing.T) {
	s := start(t, modes["proc"])
	p, _ := bash(t, s, "trap '' TERM; while :; do sleep 0.02; done")
	<-p.Launched()
	for _, grace := range []time.Duration{time.Hour, 0} {
		if err := p.Kill(grace); err != nil {
			t.Fatal(err)
		}
	}
	<-p.Gone()
}

func TestWhatAProgramLeavesIsEndedAfterTheLinger(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		tag := tag(t)
		s := start(t, modes[mode])
		begin := time.Now()
		p, out := bash(t, s, "setsid sleep "+tag+" & sleep 0.05 && echo late & echo first")
		<-p.Gone()
		if d := time.Since(begin); d < 600*time.Millisecond || d > 5*time.Second || running(tag) != 0 {
			t.Errorf("gone after %v with %d left", d, running(tag))
		}
		if e := p.Exit(); e.Status != 0 || e.Cause != CauseNone || out() != "first\nlate\n" {
			t.Errorf("%+v %q", e, out())
		}
	})
}

func TestLease(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		tag := tag(t)
		s := start(t, modes[mode])
		p, out := bash(t, s, "trap '' TERM; sleep "+tag+"; sleep "+tag)
		eventually(t, "it runs", func() bool { return running(tag) > 0 })
		until := BootNow() + 300*time.Millisecond
		if err := s.Extend(until); err != nil {
			t.Fatal(err)
		}
		// The init's timer is set to the old instant: it learns of a shorter lease
		// only when it wakes, so wake it. (A worker never shortens a lease.)
		if err := p.Kill(time.Hour); err != nil {
			t.Fatal(err)
		}
		<-p.Gone()
		if early := until - BootNow(); early > 0 {
			t.Errorf("ended %v early", early)
		}
		if e := p.Exit(); running(tag) != 0 || e.Cause == CauseNone {
			t.Errorf("%+v with %d left", e, running(tag))
		}
		out()
		late, _ := bash(t, s, "echo never")
		<-late.Gone()
		if e := late.Exit(); e.Launched && e.Cause != CauseLease {
			t.Errorf("launched without a lease: %+v", e)
		}
	})
}

// helper starts a worker process with a script under it, and waits until the
// script has said "ready".
func helper(t *testing.T, mode, lease, script string) (worker *exec.Cmd, supervisorPID int, lock string) {
	t.Helper()
	lock = filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", helperMarker, mode, lease, lock, script)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines, ready := bufio.NewScanner(out), false
	for (!ready || supervisorPID == 0) && lines.Scan() {
		if pid, ok := strings.CutPrefix(lines.Text(), "supervisor "); ok {
			supervisorPID, _ = strconv.Atoi(pid)
		}
		ready = ready || lines.Text() == "ready"
	}
	if supervisorPID == 0 || !ready {
		t.Fatal("the helper did not start")
	}
	return cmd, supervisorPID, lock
}

func locked(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}

// lockOutlivesTree watches that the lock is free only when the tree is gone.
func lockOutlivesTree(t *testing.T, lock, tag string) {
	t.Helper()
	eventually(t, "the lock is free", func() bool { return !locked(t, lock) })
	if n := running(tag); n != 0 {
		t.Errorf("the lock is free, and %d processes are left", n)
	}
}

func TestWorkerIsKilled(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		tag := tag(t)
		script, n := tree(tag)
		worker, _, lock := helper(t, mode, "1h", script)
		eventually(t, "the tree is complete", func() bool { return running(tag) > n }) // and the helper's own argument
		if !locked(t, lock) {
			t.Error("the lock is not held")
		}
		if err := worker.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		lockOutlivesTree(t, lock, tag)
	})
}

func TestWorkerIsStopped(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		tag := tag(t)
		script, _ := tree(tag)
		worker, _, _ := helper(t, mode, "1s", script)
		// Renewed leases hold for longer than one.
		hold := time.NewTimer(1500 * time.Millisecond)
		<-hold.C
		before := running(tag)
		begin := BootNow()
		if err := worker.Process.Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the tree is gone", func() bool { return running(tag) == 0 })
		if d := BootNow() - begin; before == 0 || d < 800*time.Millisecond || d > 3*time.Second {
			t.Errorf("%d processes; ended after %v", before, d)
		}
	})
}

func TestSupervisorIsStoppedAndTheWorkerKilled(t *testing.T) {
	tag := tag(t)
	script, _ := tree(tag)
	worker, pid, lock := helper(t, "proc", "1s", script)
	for _, f := range []func() error{
		func() error { return unix.Kill(pid, unix.SIGSTOP) },
		worker.Process.Kill,
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the tree is gone", func() bool { return running(tag) == 0 })
	if !locked(t, lock) {
		t.Error("the stopped supervisor does not hold the lock")
	}
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	lockOutlivesTree(t, lock, tag)
}

func TestWorkerAndSupervisorAreKilled(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		tag := tag(t)
		script, n := tree(tag)
		worker, pid, lock := helper(t, mode, "1h", script)
		eventually(t, "the tree is complete", func() bool { return running(tag) > n })
		if err := errors.Join(worker.Process.Kill(), unix.Kill(pid, unix.SIGKILL)); err != nil {
			t.Fatal(err)
		}
		lockOutlivesTree(t, lock, tag)
	})
}

// The init holds the lock, too: it is the last to go if the other two are killed.
func TestInitHoldsTheLockUntilItsTreeIsGone(t *testing.T) {
	tag := tag(t)
	script, n := tree(tag)
	worker, pid, lock := helper(t, "proc", "1h", script)
	eventually(t, "the tree is complete", func() bool { return running(tag) > n })
	init := onlyChild(t, pid)
	if err := errors.Join(unix.Kill(init, unix.SIGSTOP), worker.Process.Kill(), unix.Kill(pid, unix.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	_ = worker.Wait()
	eventually(t, "the supervisor is gone", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(text), ") Z ")
	})
	if !locked(t, lock) || running(tag) == 0 {
		t.Error("the lock is not held by a stopped init with a living tree")
	}
	if err := unix.Kill(init, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	lockOutlivesTree(t, lock, tag)
}

// onlyChild returns the process id of the one init of a supervisor.
func onlyChild(t *testing.T, supervisor int) int {
	t.Helper()
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", supervisor))
	for _, f := range threads {
		text, _ := os.ReadFile(f)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return pid
		}
	}
	t.Fatal("init not found")
	return 0
}

func TestInitIsKilled(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		tag := tag(t)
		s := start(t, modes[mode])
		script, n := tree(tag)
		p, out := bash(t, s, script)
		eventually(t, "the tree is complete", func() bool { return running(tag) >= n })
		<-p.Launched()
		if err := unix.Kill(onlyChild(t, s.PID()), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-p.Gone()
		if e := p.Exit(); e.Cause != CauseLost || !e.Launched || running(tag) != 0 {
			t.Errorf("%+v with %d left", e, running(tag))
		}
		out()
		again, _ := bash(t, s, "true")
		<-again.Gone()
		if e := again.Exit(); e.Status != 0 || e.Cause != CauseNone {
			t.Errorf("the next job: %+v", e)
		}
	})
}

func TestSupervisorIsKilled(t *testing.T) {
	s := start(t, modes["proc"])
	tag := tag(t)
	script, n := tree(tag)
	p, _ := bash(t, s, script)
	eventually(t, "the tree is complete", func() bool { return running(tag) >= n })
	if err := unix.Kill(s.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Gone()
	if n := running(tag); n != 0 {
		t.Errorf("%d left when gone was said", n)
	}
	<-s.Done()
	if _, err := s.Launch(Command{Path: "/bin/true", Args: []string{"true"}, Dir: "/", Stdout: os.Stderr, Stderr: os.Stderr}); !errors.Is(err, ErrDead) {
		t.Errorf("%v", err)
	}
}

func TestPoliteSignalsDoNotReachTheSupervisor(t *testing.T) {
	s := start(t, modes["proc"])
	first, _ := bash(t, s, "true") // so that the supervisor has set itself up
	<-first.Gone()
	for _, sig := range ignored {
		if err := unix.Kill(s.PID(), sig.(unix.Signal)); err != nil {
			t.Fatal(err)
		}
	}
	p, out := bash(t, s, "echo fine; grep -E '^Sig(Ign|Blk)' /proc/self/status")
	<-p.Gone()
	if got := out(); got != "fine\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n" {
		t.Errorf("%q", got)
	}
	if sid, err := unix.Getsid(s.PID()); err != nil || sid != s.PID() {
		t.Errorf("session %d of %d, %v", sid, s.PID(), err)
	}
}

func TestJobHasNoFilesOfOurs(t *testing.T) {
	lock, err := os.CreateTemp(t.TempDir(), "lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	s, err := Start(Config{Isolation: modes["proc"], InstanceLock: lock})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Extend(BootNow() + time.Hour); err != nil {
		t.Fatal(err)
	}
	other, _ := bash(t, s, "sleep 100")
	<-other.Launched()
	p, out := bash(t, s, "for ((i=0; i<64; i++)); do [ -e /proc/$$/fd/$i ] && echo -n \"$i \"; done; echo; readlink /proc/$$/fd/0; ps -e -o pid= | wc -l; echo $$ $PPID")
	<-p.Gone()
	if got := out(); got != "0 1 2 \n/dev/null\n4\n2 1\n" {
		t.Errorf("%q", got)
	}
}

// Many at once, ended in every way at once; run with -race.
func TestManyAtOnce(t *testing.T) {
	s := start(t, modes["proc"])
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			p, out := bash(t, s, []string{"echo hi", "sleep 100", "setsid sleep 100 & exit 4", "trap '' TERM; while :; do sleep 0.1; done"}[i%4])
			defer out()
			if i%2 == 1 {
				<-p.Launched()
				_ = p.Kill(time.Duration(i%3) * 10 * time.Millisecond)
			}
			<-p.Gone()
			if e := p.Exit(); i%4 == 0 && (e.Status != 0 || e.Cause != CauseNone) {
				t.Errorf("%d: %+v", i, e)
			}
		})
	}
	wg.Wait()
}

func TestUserNamespace(t *testing.T) {
	// As root, a user namespace is not needed; it must work all the same, since
	// it is what other users get, in every other test already.
	iso := modes["proc"]
	iso.UserNamespace = true
	s := start(t, iso)
	p, out := bash(t, s, "grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status; echo $$; ls /proc | grep -c '^[0-9]'")
	<-p.Gone()
	got := out()
	if e := p.Exit(); e.Status != 0 || !strings.Contains(got, "CapAmb:\t0000000000000000\n2\n") {
		t.Errorf("%+v %q", e, got)
	}
}

func TestStdinAndReply(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		s := start(t, modes[mode])
		for name, with := range map[string]bool{"given": true, "absent": false} {
			inR, inW, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			outR, outW, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			replyR, replyW, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			c := Command{
				Path: "/bin/bash", Args: []string{"bash", "-c", `cat; { echo reply >&3; } 2>/dev/null || echo none; ls /proc/self/fd | wc -l`},
				Dir: "/", Stdout: outW, Stderr: outW,
			}
			want := "none\n4\n"
			if with {
				c.Stdin, c.Reply, want = inR, replyW, "asked\n5\n"
			}
			p, err := s.Launch(c)
			for _, f := range []*os.File{inR, outW, replyW} {
				f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			_, _ = inW.WriteString("asked\n")
			inW.Close()
			<-p.Gone()
			out, _ := io.ReadAll(outR)
			reply, _ := io.ReadAll(replyR)
			if string(out) != want {
				t.Errorf("%s: the program printed %q, not %q", name, out, want)
			}
			if (string(reply) == "reply\n") != with {
				t.Errorf("%s: the reply is %q", name, reply)
			}
		}
	})
}

// An init has nothing to do while its job runs, and does nothing.
func TestInitSleeps(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		s := start(t, modes[mode])
		p, out := bash(t, s, "sleep 1")
		<-p.Launched()
		init := onlyChild(t, s.PID())
		var busy int64
		for gone := false; !gone; {
			select {
			case <-p.Gone():
				gone = true
			case <-time.After(20 * time.Millisecond):
			}
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", init)); err == nil {
				fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
				user, _ := strconv.ParseInt(fields[11], 10, 64)
				system, _ := strconv.ParseInt(fields[12], 10, 64)
				busy = max(busy, user+system)
			}
		}
		out()
		if busy > 20 {
			t.Errorf("it was busy for %d ms in a second", busy*10)
		}
	})
}
