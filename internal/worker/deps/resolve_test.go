package deps

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
)

// A lock names what is needed in Windmill's format, and is the same every time.
func TestResolve(t *testing.T) {
	w := newWorld(t)
	c := w.open(t)
	wants := map[string][]string{
		"python3": {"# py: 3.", "\nalpha==2.0.0\nbeta==1.5.0"},
		"bun":     {"{\n  \"dependencies\": {\n    \"large\": \"latest\"\n  }\n}\n//bun.lock\n{", `"tiny": ["tiny@1.2.3"`},
		"go":      {"module mymod\n\ngo 1.", "require example.com/hello v1.2.0\n", "\n//go.sum\nexample.com/hello v1.2.0 h1:"},
	}
	for _, language := range slices.Sorted(maps.Keys(wants)) {
		lock, err := c.Resolve(t.Context(), language, scripts[language])
		if err != nil {
			t.Fatalf("%s: %v", language, err)
		}
		for _, want := range wants[language] {
			if !strings.Contains(lock, want) {
				t.Errorf("%s: the lock lacks %q:\n%s", language, want, lock)
			}
		}
		again, err := c.Resolve(t.Context(), language, scripts[language])
		if err != nil || again != lock {
			t.Errorf("%s: another lock the second time: %v\n%s", language, err, again)
		}
	}
}

func TestResolveMapsModulesToPackages(t *testing.T) {
	lock, err := newWorld(t).open(t).Resolve(t.Context(), "python3", "import yaml\n")
	if err != nil || !strings.HasSuffix(lock, "\npyyaml==6.0.0") {
		t.Fatalf("%q, %v", lock, err)
	}
}

// What needs nothing is answered without any tool.
func TestResolveNothing(t *testing.T) {
	w := newWorld(t)
	c := w.open(t)
	for language, code := range map[string]string{
		"python3":  "import os, sys, main\nimport json\n\ndef main():\n    pass\n",
		"bun":      "export function main() { return 1 }",
		"deno":     "export function main() { return 1 }",
		"nativets": "export function main() { return 1 }",
		"go":       "package inner\n\nimport \"fmt\"\n\nfunc main() { fmt.Println() }\n",
		"bash":     "import x",
	} {
		lock, err := c.Resolve(t.Context(), language, code)
		if lock != "" || err != nil {
			t.Errorf("%s: %q, %v", language, lock, err)
		}
	}
	for language, lock := range map[string]string{
		"python3": "# py: 3.11\n", "bun": "{\"dependencies\": {}}\n//bun.lock\n<empty>", "go": "module mymod\n\ngo 1.26\n\n//go.sum\n", "bash": "x",
	} {
		if dir, err := c.Ensure(t.Context(), language, lock); dir != "" || err != nil {
			t.Errorf("%s: the lock %q: %q, %v", language, lock, dir, err)
		}
	}
	if n := w.count(""); n != 0 {
		t.Errorf("%d tools were started", n)
	}
}

// Who is to blame is told by name, and no password of a registry is.
func TestResolveUnknownPackage(t *testing.T) {
	w := newWorld(t)
	w.cfg.NPMRegistry = strings.Replace(w.cfg.NPMRegistry, "http://", "http://me:hush1@", 1)
	c := w.open(t)
	for language, code := range map[string]string{
		"python3": "import nosuchpackage",
		"bun":     "import x from 'nosuchpackage'",
		"go":      "package inner\n\nimport \"example.com/nosuchpackage\"\n\nfunc main() { nosuchpackage.X() }\n",
	} {
		_, err := c.Resolve(t.Context(), language, code)
		if sluice.CodeOf(err) != sluice.CodeInvalid || !strings.Contains(err.Error(), "nosuchpackage") {
			t.Errorf("%s: %v", language, err)
			continue
		}
		if strings.Contains(err.Error(), "hush1") || strings.Contains(err.Error(), w.cfg.Dir) {
			t.Errorf("%s: the message tells too much: %v", language, err)
		}
	}
}

// Code without a lock gets the same one for a day, found once for all who ask.
func TestLockOf(t *testing.T) {
	w := newWorld(t)
	c := w.open(t)
	var all sync.WaitGroup
	locks := make([]string, 10)
	for i := range locks {
		all.Go(func() {
			var err error
			code := "import alpha\n# " + strings.Repeat("x", i)
			if locks[i], _, err = c.LockOf(t.Context(), "python3", code); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(slices.Compact(locks)) != 1 || locks[0] == "" {
		t.Errorf("the locks differ: %q", locks)
	}
	if _, took, err := w.open(t).LockOf(t.Context(), "python3", "import alpha"); err != nil || took != 0 {
		t.Fatal(took, err)
	}
	if n := w.count("--dry-run"); n != 1 {
		t.Errorf("pip was asked %d times", n)
	}
	kept := filepath.Join(w.cfg.Dir, locksName, names(t, filepath.Join(w.cfg.Dir, locksName))[0])
	old := time.Now().Add(-locksFor)
	if err := os.Chtimes(kept, old, old); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.LockOf(t.Context(), "python3", "import alpha"); err != nil {
		t.Fatal(err)
	}
	if n := w.count("--dry-run"); n != 2 {
		t.Errorf("an old lock was used: pip was asked %d times", n)
	}
}

func TestResolveEndsInTime(t *testing.T) {
	w := newWorld(t)
	w.cfg.Timeout = 50 * time.Millisecond
	w.before = func(ctx context.Context, _ Tool) error { <-ctx.Done(); return ctx.Err() }
	c := w.open(t)
	_, err := c.Resolve(t.Context(), "python3", "import alpha")
	if sluice.CodeOf(err) != sluice.CodeUnavailable || !strings.Contains(err.Error(), "within 50ms") {
		t.Error(err)
	}
	const lock = "alpha==1.0.0"
	held, err := lockFile(t.Context(), filepath.Join(w.cfg.Dir, "python3", digest(familyPython, lock)+lockSuffix), syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_, err = c.Ensure(t.Context(), "python3", lock)
	if sluice.CodeOf(err) != sluice.CodeUnavailable || !strings.Contains(err.Error(), "within 50ms") {
		t.Error(err)
	}
}

// A lock is a user's text: it may not choose registries, nor bring code that
// runs while it is installed.
func TestRequirements(t *testing.T) {
	c := &Cache{}
	for line, ok := range map[string]bool{
		"requests==2.32.3":                         true,
		"Flask-Cors":                               true,
		"a.b_c[x,y]>=1.0,<2":                       true,
		"a==1.0 ; python_version < '3.12'":         true,
		"a==1!2.0+local.1":                         true,
		"a @ https://example.com/a-1-py3-any.whl":  true,
		"a @ https://example.com/a-1.tar.gz":       false,
		"a @ file:///etc/a-1-py3-any.whl":          false,
		"a @ git+https://example.com/a.whl":        false,
		"git+https://example.com/a":                false,
		"--index-url https://example.com":          false,
		"-e .":                                     false,
		"a==1 --global-option=x":                   false,
		"./a":                                      false,
		"a==1\n--index-url https://example.com":    false,
		"a==1;\n--index-url https://example.com":   false,
		"https://example.com/a-1-py3-none-any.whl": false,
		"a==1 --hash=sha256:00000000000000000000":  false,
		"a @ https://example.com/a.whl --no-index": false,
	} {
		if err := c.checkRequirement(line); (err == nil) != ok {
			t.Errorf("%q: %v", line, err)
		}
	}
}
