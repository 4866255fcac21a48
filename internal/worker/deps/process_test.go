package deps

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// helperEnv makes the test binary another process that uses a cache.
const helperEnv = "SLUICE_TEST_DEPS_HELPER"

type order struct {
	Cfg   Config
	Lock  string
	Hang  bool   // the install stops half done
	Count string // a file that gets a line per install
}

const pythonLocked = "alpha==1.0.0\nbeta==1.5.0"

// helper installs what it was told to as soon as it is told to go.
func helper() int {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(helperEnv)), &o); err != nil {
		return 3
	}
	r := &tools{}
	r.before = func(ctx context.Context, t Tool) error {
		if !slices.Contains(t.Args, "--target") {
			return nil
		}
		f, err := os.OpenFile(o.Count, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.WriteString("install\n"); err != nil {
			return err
		}
		if o.Hang {
			if err := os.WriteFile(filepath.Join(t.Dir, outName, "half"), nil, 0o600); err != nil {
				return err
			}
			fmt.Println("half")
			<-ctx.Done()
		}
		return nil
	}
	o.Cfg.Run = r.run
	c, err := Open(o.Cfg)
	if err != nil {
		return 4
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h, err := c.Hold(ctx, "python3", o.Lock)
	if err != nil {
		return 5
	}
	defer h.Release()
	fmt.Println(h.Dir)
	return 0
}

type process struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startHelper(t *testing.T, o order) *process {
	t.Helper()
	o.Cfg.Run = nil
	text, err := json.Marshal(map[string]any{"Lock": o.Lock, "Hang": o.Hang, "Count": o.Count, "Cfg": map[string]any{
		"Dir": o.Cfg.Dir, "PipFindLinks": o.Cfg.PipFindLinks, "PipNoIndex": true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(os.Args[0])}
	p.Env = append(os.Environ(), helperEnv+"="+string(text))
	p.Stderr = os.Stderr
	if p.in, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	return p
}

func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the other process said nothing: %v", err)
	}
	return strings.TrimSpace(line)
}

// Three processes that want one lock at the same time install it once.
func TestProcessesInstallOnce(t *testing.T) {
	w := newWorld(t)
	count := filepath.Join(t.TempDir(), "count")
	var all []*process
	for range 3 {
		all = append(all, startHelper(t, order{Cfg: w.cfg, Lock: pythonLocked, Count: count}))
	}
	for _, p := range all {
		if _, err := p.in.Write([]byte("go\n")); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range all {
		if got := use(t, "python3", p.line(t)); got != "1.0.0" {
			t.Errorf("the program printed %q", got)
		}
	}
	text, err := os.ReadFile(count)
	if err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("installs: %q, %v", text, err)
	}
}

// A process killed in the middle of an install harms nobody, and the next start
// removes what it has left.
func TestKilledMidway(t *testing.T) {
	w := newWorld(t)
	early := w.open(t) // runs on
	p := startHelper(t, order{Cfg: w.cfg, Lock: pythonLocked, Count: filepath.Join(t.TempDir(), "count"), Hang: true})
	if _, err := p.in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	if got := p.line(t); got != "half" {
		t.Fatalf("%q", got)
	}
	tmp := filepath.Join(w.cfg.Dir, tmpName)
	if w.open(t); len(names(t, tmp)) != 1 {
		t.Fatalf("a start removed the folder of a process that lives, or there was none: %v", names(t, tmp))
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	dir, err := early.Ensure(t.Context(), "python3", pythonLocked)
	if err != nil {
		t.Fatal(err)
	}
	if got := use(t, "python3", dir); got != "1.0.0" {
		t.Errorf("the program printed %q", got)
	}
	if w.open(t); len(names(t, tmp)) != 0 {
		t.Errorf("left after the next start: %v", names(t, tmp))
	}
}
