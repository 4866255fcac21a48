package worker

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/worker/supervisor"
)

// breakOut runs a script behind walls and returns its log and its result.
func breakOut(t *testing.T, change func(*Config), script string) (log, result string) {
	t.Helper()
	f := newFakeSource()
	startWorker(t, f, change)
	f.push(bashJob(1, script, ""))
	r := f.result(t, 1)
	return f.logOf(1), string(r.Result)
}

// W1, W2, W8: each row tries to pass one wall; what it prints says how far it came.
func TestWalls(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "sluice.db")
	if err := os.WriteFile(secret, []byte("the database"), 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := outside; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // only walls protect it
			t.Fatal(err)
		}
	}
	pid := strconv.Itoa(os.Getpid())
	for name, c := range map[string]struct{ script, want string }{
		"the database":        {"cat " + secret + " 2>&1 || true", "cat: " + secret + ": No such file or directory\n"},
		"the server's memory": {"cat /proc/" + pid + "/environ 2>&1 || true", "cat: /proc/" + pid + "/environ: No such file or directory\n"},
		"the init's memory":   {"cat /proc/1/environ >/dev/null 2>&1 || echo refused", "refused\n"},
		"processes outside":   {"ls /proc >f; grep -c '^[0-9]' f", "3\n"}, // init, bash, ls: no pipe, whose other end may not have begun
		"signals outside":     {"kill -0 " + pid + " 2>/dev/null || echo none", "none\n"},
		"what is at the root": {"ls -A /", ".stage\nbin\ndev\netc\njob\nlib\n" + ifThere("lib32") + ifThere("lib64") + ifThere("libx32") + "proc\nsbin\ntmp\nusr\nvar\n"},
		"the stage":           {"ls -A /.stage | grep -v -x -e null -e zero -e full -e random -e urandom -e fd -e std.* -e shm || echo nothing", "nothing\n"},
		"homes":               {"ls -d /root /home /srv /opt /sys 2>/dev/null || echo nothing", "nothing\n"},
		"shadow":              {"ls /etc/shadow /etc/sluice 2>/dev/null || echo nothing", "nothing\n"},
		"writing outside":     {"for d in / /usr /usr/bin /etc /dev /proc/sys/kernel /var; do { echo x >$d/sluice-test; } 2>/dev/null && echo $d; done; echo done", "done\n"},
		"kernel settings":     {"{ echo x >/proc/sys/kernel/hostname; } 2>/dev/null || echo refused", "refused\n"},
		"privileges":          {"grep -E '^(CapEff|CapPrm|CapAmb|NoNewPrivs)' /proc/self/status | tr -d '\\t'", "CapPrm:0000000000000000\nCapEff:0000000000000000\nCapAmb:0000000000000000\nNoNewPrivs:1\n"},
		"mounts":              {"mount -t tmpfs x /job/tmp 2>/dev/null || umount /proc 2>/dev/null || umount /.stage 2>/dev/null || echo refused", "refused\n"},
		"rights found anew":   {"for f in -Ur -Urm -Urp -UrC; do unshare $f true 2>/dev/null && echo $f; done; echo refused", "refused\n"},
		"devices":             {"mknod d b 254 0 2>/dev/null || echo refused", "refused\n"},
		"its own folder":      {"echo a >f && cat f && echo b >/tmp/g && cat tmp/g && rm f /tmp/g && pwd", "a\nb\n/job\n"},
		"programs":            {"echo x | sed s/x/y/ && [ -r /etc/passwd ] && head -c 1 /dev/zero | wc -c", "y\n1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("/var/tmp", "walls") // not in /tmp, which leads elsewhere for jobs
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			log, result := breakOut(t, func(c *Config) { c.Dir = dir }, c.script)
			if log != c.want {
				t.Errorf("printed %q instead of %q; result %s", log, c.want, result)
			}
		})
	}
}

func ifThere(name string) string {
	if _, err := os.Lstat("/" + name); err != nil {
		return ""
	}
	return name + "\n"
}

// W3: a job finds nothing of another one: neither its folder nor its processes.
func TestJobsDoNotSeeEachOther(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	f.push(bashJob(1, "echo secret >mark-of-one; echo up; until [ -e stop ]; do sleep 0.02; done", ""))
	f.until(t, "the first runs", func() bool { return len(f.logs[1]) > 0 })
	f.push(bashJob(2, `find / -name 'mark-of-*' 2>/dev/null; grep -l 'sec[r]et' /proc/[0-9]*/cwd/* 2>/dev/null; id -u`, ""))
	f.result(t, 2)
	user := strings.TrimSpace(f.logOf(2))
	if n, err := strconv.Atoi(user); err != nil || n == 0 {
		t.Errorf("it found %q", f.logOf(2))
	}
	f.push(bashJob(3, "id -u", ""))
	f.result(t, 3)
	if os.Geteuid() == 0 && f.logOf(3) == f.logOf(1) {
		t.Error("two jobs that run at once are the same user")
	}
}

func TestManyProcesses(t *testing.T) {
	small := func(c *Config) { c.Limits.Processes, c.Limits.MemoryBytes = 60, 1<<30 }
	log, _ := breakOut(t, small, `exec perl -e '
my $n = 0;
for (1..10000) { my $p = fork; last unless defined $p; if (!$p) { sleep 300; exit } $n++ }
print "began $n\n"'`)
	var n int
	if _, err := fmt.Sscanf(log, "began %d", &n); err != nil || n < 40 || n > 60 {
		t.Errorf("%d processes were begun: %.300q", n, log)
	}
}

func TestMuchMemory(t *testing.T) {
	small := func(c *Config) { c.Limits.MemoryBytes = 256 << 20 }
	for name, script := range map[string]string{
		"one process": `head -c 10G /dev/zero | tail -c 5G | wc -c`,
		"many processes": `for i in 1 2 3 4 5 6 7 8; do head -c 200M /dev/zero | tail -c 150M & done
wait; for p in 1 2 3 4 5 6 7 8; do :; done; dmesg >/dev/null 2>&1; exit 1`,
	} {
		t.Run(name, func(t *testing.T) {
			log, result := breakOut(t, small, "set -o pipefail\n"+script)
			if !strings.Contains(result, FailureMemory) && !strings.Contains(log+result, "memory exhausted") {
				t.Errorf("result %.300s, log %.300q", result, log)
			}
		})
	}
}

// W4: what a job writes is measured, in one file and in many.
func TestFullDisk(t *testing.T) {
	const most = 32 << 20
	f := newFakeSource()
	w, _ := startWorker(t, f, func(c *Config) { c.DiskBytes, c.Limits.FileBytes = most, most })
	var highest int64
	f.push(bashJob(1, "for ((i=0; i<1000; i++)); do head -c 1M /dev/zero >f$i; sleep 0.005; done", ""))
	f.until(t, "it ends", func() bool {
		bytes, _ := usage(filepath.Join(w.dir, "1"), 1<<40)
		highest = max(highest, bytes)
		return f.reports[1].Execution != 0
	})
	if r := f.result(t, 1); !strings.Contains(string(r.Result), FailureDisk) {
		t.Errorf("%.300s", r.Result)
	}
	if highest > 8*most {
		t.Errorf("%d bytes were on the disk", highest)
	}
	f.push(bashJob(2, "head -c 100M /dev/zero >f", ""))
	if r := f.result(t, 2); r.Success || !strings.Contains(f.logOf(2), "File size limit") {
		t.Errorf("one large file: %.300s %q", r.Result, f.logOf(2))
	}
}

// Neither does a job escape its bound below paths that are too long, nor can it
// leave behind what cannot be removed.
func TestDeepFolders(t *testing.T) {
	f := newFakeSource()
	w, _ := startWorker(t, f, nil)
	for id, c := range []struct {
		levels int
		last   string
	}{{300, "sleep 300"}, {19, `open F, ">", "d" x 255; sleep 300`}, {300, ""}, {300, "chmod 0, $_ for 'f', '.'"}} {
		f.push(bashJob(int64(id), `exec perl -e '
my $name = "d" x 200;
for (1..`+strconv.Itoa(c.levels)+`) { mkdir $name or die $!; chdir $name or die $!; open F, ">", "f" }
`+c.last+`'`, ""))
		r := f.result(t, int64(id))
		if deep := strings.Contains(string(r.Result), FailureDisk); deep != (id < 2) {
			t.Errorf("job %d: %s", id, r.Result)
		}
		if _, err := os.Lstat(filepath.Join(w.dir, strconv.Itoa(id))); !os.IsNotExist(err) {
			t.Errorf("job %d has left its folder: %v", id, err)
		}
	}
}

func TestDaemonsEndWithTheirJob(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	f.push(bashJob(1, "setsid bash -c 'trap \"\" TERM HUP; setsid sleep 4711.25 & sleep 4711.25' >/dev/null 2>&1 & disown -a; echo gone", ""))
	if r := f.result(t, 1); string(r.Result) != `"gone"` {
		t.Errorf("%s", r.Result)
	}
	if n := running(t, "4711.25"); n != 0 {
		t.Errorf("%d processes outlive the job", n)
	}
}

func TestNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello\n")
			c.Close()
		}
	}()
	script := fmt.Sprintf("exec 5<>/dev/tcp/127.0.0.1/%d && head -n 1 <&5", l.Addr().(*net.TCPAddr).Port)
	if log, _ := breakOut(t, nil, script); log != "hello\n" {
		t.Errorf("with a network: %q", log)
	}
	if log, _ := breakOut(t, func(c *Config) { c.NoNetwork = true }, script); strings.Contains(log, "hello") || !strings.Contains(log, "unreachable") && !strings.Contains(log, "refused") {
		t.Errorf("without a network: %q", log)
	}
}

// W2b: the walls stand for a worker that is not root, too: this test runs itself
// again as somebody else.
func TestWallsWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		return // then TestWalls has shown it
	}
	dir, err := os.MkdirTemp("", "walls")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const nobody = 65534
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "worker.test")
	text, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(program, text, 0o755)
	}
	for _, path := range []string{dir, program} {
		if err == nil {
			err = os.Chown(path, nobody, nobody)
		}
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "tmp"), 0o700)
	}
	if err == nil {
		err = os.Chown(filepath.Join(dir, "tmp"), nobody, nobody)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^(TestWalls|TestJobsDoNotSeeEachOther|TestDaemonsEndWithTheirJob|TestNetwork|TestFullDisk|TestDeepFolders|TestWarmProgramsServeOneJob|TestDedicatedPrograms)$", "-test.v")
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + filepath.Join(dir, "tmp"), "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestWalls/the_database") || !strings.Contains(string(out), "--- PASS: TestWarmProgramsServeOneJob/python3") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestLevels(t *testing.T) {
	for level, walls := range map[supervisor.Level]bool{supervisor.LevelRequired: true, supervisor.LevelBestEffort: true, supervisor.LevelNone: false} {
		w, err := New(Config{Name: "w", Source: newFakeSource(), Dir: t.TempDir(), Level: level, StopAfter: time.Minute})
		if err != nil || w.iso.Walls != walls || !w.iso.PIDNamespace {
			t.Errorf("%s: %v, %v", level, w.iso, err)
		}
	}
}

// Where namespaces are refused Landlock alone keeps a job's hands off files.
func TestLandlockAlone(t *testing.T) {
	iso := isolation(t)
	iso.Walls, iso.OwnUser = false, false
	outside := filepath.Join(t.TempDir(), "sluice.db")
	if err := os.WriteFile(outside, []byte("the database"), 0o644); err != nil {
		t.Fatal(err)
	}
	change := func(c *Config) { c.Isolation = &iso }
	log, result := breakOut(t, change, `
cat `+outside+` 2>/dev/null || echo no database
{ echo x >`+outside+`; } 2>/dev/null || echo no writing
ls `+filepath.Dir(outside)+` >/dev/null 2>&1 || echo no folder
ls / >/dev/null 2>&1 || echo no root
cat /etc/shadow 2>/dev/null || echo no shadow
{ echo x >/usr/sluice-test; } 2>/dev/null || echo no system
echo a >f && mkdir d && mv f d/g && cat d/g && echo b >"$TMPDIR/t" && cat tmp/t
echo c | sed s/c/programs/ >/dev/stdout
python3 -c 'import json, ssl; print("python")'`)
	want := "no database\nno writing\nno folder\nno root\nno shadow\nno system\na\nb\nprograms\npython\n"
	if log != want {
		t.Errorf("printed %q instead of %q; result %s", log, want, result)
	}
	f := newFakeSource()
	startWorker(t, f, change)
	f.push(bashJob(1, "echo secret >mark; pwd; until [ -e stop ]; do sleep 0.02; done", ""))
	f.until(t, "the first runs", func() bool { return strings.HasSuffix(string(f.logs[1]), "\n") })
	f.push(bashJob(2, "cat "+strings.TrimSpace(f.logOf(1))+"/mark 2>/dev/null || echo nothing", ""))
	f.result(t, 2)
	if got := f.logOf(2); got != "nothing\n" {
		t.Errorf("another job's folder: %q", got)
	}
}
