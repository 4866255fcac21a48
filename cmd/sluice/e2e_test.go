package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/expr"
	"sluice/internal/worker/pgjob"
	"sluice/internal/worker/supervisor"
)

func TestMain(m *testing.M) {
	expr.Main()
	pgjob.Main()
	supervisor.Main() // a server inside a test executes this program to probe what isolates jobs
	status := m.Run()
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
	os.Exit(status)
}

var buildDir string

// patience is how long anything in an end-to-end test may take.
const patience = 30 * time.Second

var build = sync.OnceValues(func() (string, error) {
	var err error
	if buildDir, err = os.MkdirTemp("", "sluice-e2e-"); err != nil {
		return "", err
	}
	binary := filepath.Join(buildDir, "sluice")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
})

// place is a folder in which servers are started and called, as a user does.
type place struct {
	t      *testing.T
	dir    string
	binary string
	url    string // of the newest server
}

func newPlace(t *testing.T) *place {
	t.Helper()
	clearEnvironment(t)
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return &place{t: t, dir: t.TempDir(), binary: binary}
}

// instance is a running server.
type instance struct {
	t    *testing.T
	cmd  *exec.Cmd
	logs shared
}

// shared is a buffer that is read while a process writes to it.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start starts a server and waits until it has greeted.
func (p *place) start(args ...string) *instance {
	p.t.Helper()
	s := &instance{t: p.t, cmd: exec.Command(p.binary, append([]string{"server", "--addr", "127.0.0.1:0"}, args...)...)}
	s.cmd.Dir = p.dir
	s.cmd.Stderr = &s.logs
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.kill()
			_ = s.cmd.Wait() // it was killed
		}
		if p.t.Failed() {
			p.t.Logf("log of the server:\n%s", &s.logs)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "URL     "); ok {
			p.url = url
		}
		if strings.Contains(lines.Text(), "Ctrl-C") {
			go func() { _, _ = io.Copy(io.Discard, out) }() // until the server ends
			return s
		}
	}
	p.t.Fatalf("the server ended before it greeted: %v\n%s", s.cmd.Wait(), &s.logs)
	return nil
}

// end waits for the end of the server's process and returns its exit status.
func (s *instance) end() int {
	s.t.Helper()
	late := time.AfterFunc(patience, s.kill)
	defer late.Stop()
	if err := s.cmd.Wait(); err != nil {
		s.t.Logf("the server ended with %v", err)
	}
	return s.cmd.ProcessState.ExitCode()
}

// kill ends the server's process at once, and it alone.
func (s *instance) kill() {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("kill the server: %v", err)
	}
}

func (s *instance) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// sluice runs a command and returns what it printed on both outputs.
func (p *place) sluice(status int, args ...string) string {
	p.t.Helper()
	cmd := exec.Command(p.binary, args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "SLUICE_URL="+p.url, "COLUMNS=80")
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("sluice %s: exit status %d, want %d:\n%s", strings.Join(args, " "), got, status, out)
	}
	return string(out)
}

func (p *place) mustSay(out string, want ...string) {
	p.t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			p.t.Errorf("%q is not in:\n%s", w, out)
		}
	}
}

func (p *place) job(id string) client.Job {
	p.t.Helper()
	var j client.Job
	if err := json.Unmarshal([]byte(p.sluice(0, "jobs", "get", "--json", id)), &j); err != nil {
		p.t.Fatal(err)
	}
	return j
}

// witness is called by jobs, each over a connection that lasts as long as it.
type witness struct {
	t *testing.T
	l *net.TCPListener
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &witness{t: t, l: l}
}

func (w *witness) args() string { return fmt.Sprintf(`{"port": "%d"}`, w.l.Addr().(*net.TCPAddr).Port) }

// wait returns the next job that calls.
func (w *witness) wait() *net.TCPConn {
	w.t.Helper()
	if err := w.l.SetDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	c, err := w.l.AcceptTCP()
	if err != nil {
		w.t.Fatalf("no job called: %v", err)
	}
	w.t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "here\n" {
		w.t.Fatalf("the job said %q, error %v", line, err)
	}
	return c
}

// gone waits until the job at the other end is no more, within the patience
// that began when it called.
func (w *witness) gone(c *net.TCPConn) {
	w.t.Helper()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatalf("the job lives on: %v", err)
	}
}

// release lets a job end.
func (w *witness) release(c *net.TCPConn) {
	w.t.Helper()
	if _, err := io.WriteString(c, "go\n"); err != nil {
		w.t.Fatal(err)
	}
}

// saveWitnessed saves a script that calls a witness and ends when told to, one at a time, one at a time.
func (p *place) saveWitnessed() {
	p.t.Helper()
	dir := filepath.Join(p.dir, "scripts", "f", "e2e")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	code := "port=\"$1\"\nexec 3<>\"/dev/tcp/127.0.0.1/$port\"\necho here >&3\nread -r word <&3\necho \"told to $word\"\n"
	for name, text := range map[string]string{"call.sh": code, "call.script.yaml": "summary: Calls a witness\nconcurrent_limit: 1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	p.mustSay(p.sluice(0, "push", "scripts"), "f/e2e/call", "1 script: 1 new.")
}

func TestEndToEnd(t *testing.T) {
	p := newPlace(t)
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	server := p.start()
	p.mustSay(p.sluice(0, "push", examples), "new        f/demo/hello", "new.")
	p.mustSay(p.sluice(0, "push", examples), "unchanged  f/demo/hello")
	if got := p.sluice(0, "run", "f/demo/hello", "--wait", "-d", `{"name": "tester"}`); got != "Hello, tester!\n" {
		t.Errorf("hello said %q", got)
	}
	p.mustSay(p.sluice(0, "run", "f/demo/hello", "--count", "5", "--wait"), "5 succeeded, 0 failed")
	p.mustSay(p.sluice(0, "jobs", "list", "--path", "f/demo/hello"), "ID ", "succeeded", "f/demo/hello")
	p.mustSay(p.sluice(3, "run", "f/demo/nothing"), "sluice push DIR")

	const key = "main/script/f/e2e/call"
	p.saveWitnessed()
	w := newWitness(t)
	first := strings.TrimSpace(p.sluice(0, "run", "f/e2e/call", "-d", w.args()))
	one := w.wait()
	second := strings.TrimSpace(p.sluice(0, "run", "f/e2e/call", "-d", w.args()))
	p.mustSay(p.sluice(0, "jobs", "why", second), "Its limit has no room: at most 1 at once.", key, first, "1 of 1 taken", "first in line")
	p.mustSay(p.sluice(0, "jobs", "why", first), "It does not wait: it has been running")
	p.mustSay(p.sluice(0, "limits", "list"), key, "1 at once")
	p.mustSay(p.sluice(6, "limits", "prune", key), "sluice: ")
	p.mustSay(p.sluice(0, "limits", "set", key, "--limit", "2", "--why", "a test"), "at most 2 at once (by an override)")
	two := w.wait() // the raised limit lets it start
	third := strings.TrimSpace(p.sluice(0, "run", "f/e2e/call", "-d", w.args(), "--in", "1h"))
	p.mustSay(p.sluice(0, "jobs", "why", third), "It is not due yet")
	p.mustSay(p.sluice(0, "jobs", "cancel", third), "Canceled")
	p.mustSay(p.sluice(6, "jobs", "cancel", third), "sluice: ")
	p.mustSay(p.sluice(1, "run", "f/demo/call_api_unlimited", "--wait", "-d", `{"url": "http://127.0.0.1:1"}`), "the job failed", "sluice jobs logs ")

	server.signal(syscall.SIGTERM)
	w.release(one)
	w.release(two)
	if status := server.end(); status != 0 {
		t.Errorf("stopped with exit status %d", status)
	}
	p.mustSay(p.sluice(9, "jobs", "list"), "Is it running?")

	server = p.start() // the same folder
	for _, id := range []string{first, second} {
		if j := p.job(id); j.Success == nil || !*j.Success || string(j.Result) != `"told to go"` {
			t.Errorf("after the restart job %s is %+v", id, j)
		}
	}
	server.signal(os.Interrupt)
	if status := server.end(); status != 0 {
		t.Errorf("interrupted with exit status %d", status)
	}
	p.mustSay(p.sluice(0, "check-history"), "judged ", "all promises were kept")
	for _, left := range []string{"instances", "jobs"} {
		if entries, err := os.ReadDir(filepath.Join(p.dir, "data", left)); err != nil || len(entries) > 0 {
			t.Errorf("left in %s: %v, error %v", left, entries, err)
		}
	}
}

// A server is killed while a job runs. The job dies with it, and the next
// server runs it again as soon as that is known, not after lost_after.
func TestServerKilled(t *testing.T) {
	p := newPlace(t)
	server := p.start()
	p.saveWitnessed()
	w := newWitness(t)
	id := strings.TrimSpace(p.sluice(0, "run", "f/e2e/call", "-d", w.args()))
	old := w.wait()
	server.kill()
	server.end()

	begun := time.Now()
	server = p.start()
	again := w.wait()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the job was run again after %v", took)
	}
	w.gone(old)
	w.release(again)
	if _, err := again.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the job's connection ended with %v", err)
	}
	waited := make(chan string)
	go func() { waited <- p.sluice(0, "jobs", "logs", "--follow", id) }()
	if got := <-waited; !strings.Contains(got, "told to go") {
		t.Errorf("log: %q", got)
	}
	if j := p.job(id); j.Success == nil || !*j.Success {
		t.Errorf("the job is %+v", j)
	}
	server.signal(syscall.SIGTERM)
	if status := server.end(); status != 0 {
		t.Errorf("stopped with exit status %d", status)
	}
}

// Two servers never work on one database.
func TestSecondServerIsRefused(t *testing.T) {
	p := newPlace(t)
	p.mustSay(p.sluice(3, "check-history"), "cannot be opened")
	server := p.start("--workers", "0")
	p.mustSay(p.sluice(9, "server", "--addr", "127.0.0.1:0"), "sluice: ")
	p.mustSay(p.sluice(9, "check-history"), "in use")
	server.signal(syscall.SIGTERM)
	if status := server.end(); status != 0 {
		t.Errorf("stopped with exit status %d", status)
	}
}
