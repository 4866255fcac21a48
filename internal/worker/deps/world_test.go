package deps

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"sluice/internal/worker/deps/depstest"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		os.Exit(helper())
	}
	goleak.VerifyTestMain(m)
}

// tools runs tools without walls and counts them.
type tools struct {
	mu     sync.Mutex
	starts []string // the words of each command that say what it does
	before func(ctx context.Context, t Tool) error
}

func (r *tools) run(ctx context.Context, t Tool) (string, error) {
	r.mu.Lock()
	r.starts = append(r.starts, strings.Join(t.Args, " "))
	before := r.before
	r.mu.Unlock()
	if before != nil {
		if err := before(ctx, t); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, t.Path, t.Args[1:]...)
	cmd.Env, cmd.Dir = t.Env, t.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrTool, err)
	}
	return string(out), err
}

func (r *tools) count(word string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.starts {
		if strings.Contains(s, word) {
			n++
		}
	}
	return n
}

// world is three registries on this machine and a cache that uses them.
type world struct {
	*tools
	cfg Config
	npm *httptest.Server
}

func newWorld(t testing.TB) *world {
	t.Helper()
	base := t.TempDir()
	t.Cleanup(func() { _ = RemoveAll(base) })
	w := &world{tools: &tools{}}
	wheels := filepath.Join(base, "wheels")
	depstest.Wheel(t, wheels, "alpha", "1.0.0", "beta>=1")
	depstest.Wheel(t, wheels, "alpha", "2.0.0", "beta>=1")
	depstest.Wheel(t, wheels, "beta", "1.5.0")
	depstest.Wheel(t, wheels, "gamma", "0.1.0", "beta==1.5.0")
	depstest.Wheel(t, wheels, "PyYAML", "6.0.0")
	w.npm = depstest.NPM(t)
	proxy := filepath.Join(base, "proxy")
	depstest.Module(t, proxy, "example.com/hello", "v1.2.0")
	w.cfg = Config{
		Dir: filepath.Join(base, "cache"), Run: w.run, PipFindLinks: []string{wheels}, PipNoIndex: true,
		NPMRegistry: w.npm.URL, GoProxy: "file://" + proxy, GoSumDB: "off",
	}
	return w
}

func (w *world) open(t testing.TB) *Cache {
	t.Helper()
	c, err := Open(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// script is a program of each language that needs one package and prints its version.
var scripts = map[string]string{
	"python3": "import os\nimport alpha\n\ndef main():\n    return alpha.VERSION\n",
	"bun":     "import { version } from 'large';\n\nexport async function main() { return version; }\n",
	"go":      "package inner\n\nimport (\n\t\"fmt\"\n\n\t\"example.com/hello\"\n)\n\nfunc main() (string, error) {\n\tfmt.Println()\n\treturn hello.Version, nil\n}\n",
}

var versions = map[string]string{"python3": "2.0.0", "bun": "1.2.3", "go": "v1.2.0"}

// use runs a program that uses the installed package and returns what it printed.
func use(t testing.TB, language, dir string) string {
	t.Helper()
	work := t.TempDir()
	var cmd *exec.Cmd
	env := []string{"PATH=/usr/local/go/bin:/usr/bin:/bin", "HOME=" + work}
	switch language {
	case "python3":
		cmd = exec.Command("/usr/bin/python3", "-c", "import alpha, beta; print(alpha.VERSION)")
		env = append(env, "PYTHONPATH="+dir)
	case "bun":
		if err := os.Symlink(filepath.Join(dir, "node_modules"), filepath.Join(work, "node_modules")); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(work, "main.ts"), "import { version } from 'large'; import 'tiny'; console.log(version)")
		cmd = exec.Command("bun", "run", "main.ts")
	case "go":
		for _, name := range []string{"go.mod", "go.sum"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(work, name), string(text))
		}
		writeFile(t, filepath.Join(work, "main.go"), "package main\n\nimport \"example.com/hello\"\n\nfunc main() { print(hello.Version) }\n")
		cmd = exec.Command("go", "run", ".")
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, "GOMODCACHE="+filepath.Join(dir, "mod"), "GOFLAGS=-mod=readonly", "GOPROXY=off", "GOSUMDB=off",
			"GOTOOLCHAIN=local", "GOENV=off", "GOCACHE="+filepath.Join(cache, "go-build"))
	}
	cmd.Dir, cmd.Env = work, env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s with what was installed: %v\n%s", language, err, out)
	}
	return strings.TrimSpace(string(out))
}

// names lists a folder.
func names(t testing.TB, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range list {
		all = append(all, d.Name())
	}
	slices.Sort(all)
	return all
}
