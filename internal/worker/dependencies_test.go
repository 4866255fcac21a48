package worker

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/worker/deps"
	"sluice/internal/worker/deps/depstest"
	"sluice/internal/worker/supervisor"
)

// wheels lets a worker install Python packages from a folder alone.
func wheels(t *testing.T) func(*Config) {
	t.Helper()
	base := t.TempDir()
	t.Cleanup(func() { _ = deps.RemoveAll(base) })
	dir := filepath.Join(base, "wheels")
	depstest.Wheel(t, dir, "alpha", "1.0.0", "beta>=1")
	depstest.Wheel(t, dir, "alpha", "2.0.0", "beta>=1")
	depstest.Wheel(t, dir, "beta", "1.5.0")
	return func(c *Config) {
		c.Dir, c.Cache = filepath.Join(base, "jobs"), filepath.Join(base, "cache")
		c.Dependencies.PipFindLinks, c.Dependencies.PipNoIndex = []string{dir}, true
	}
}

func pythonJob(id int64, kind sluice.Kind, code string) sluice.Assignment {
	a := bashJob(id, code, "")
	a.Kind, a.Language = kind, "python3"
	return a
}

// pathPrinter is an executor that runs a line of Python in which the packages of
// the job's code are on the path.
func pathPrinter(line string) func(*Config) {
	return func(c *Config) {
		c.Executors = map[string]Executor{"python3": ExecutorFunc(func(ctx context.Context, t *Task) Outcome {
			packages, err := t.dependencies(ctx)
			if err != nil {
				return t.noDependencies(err)
			}
			dir, err := t.makeFolder()
			if err != nil {
				return Outcome{HandBack: err}
			}
			defer t.removeFolder(dir)
			cmd := supervisor.Command{
				Path: "/usr/bin/python3", Args: []string{"python3", "-c", line, packages}, Dir: dir,
				Env: []string{"PYTHONPATH=" + packages},
			}
			if packages != "" {
				cmd.Read = []string{packages}
			}
			exit, out, err := t.run(ctx, cmd)
			if err != nil {
				return Outcome{HandBack: err}
			}
			if o, ok := t.judge(exit); !ok {
				return o
			}
			text, _ := json.Marshal(string(out))
			return Outcome{Result: text}
		})}
	}
}

// A dependencies job answers with the lock, and the first run of the script
// finds the packages installed.
func TestLockJob(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, both(wheels(t), pathPrinter("import alpha; print(alpha.VERSION)")))
	f.push(pythonJob(1, sluice.KindDependencies, "import alpha"))
	r := f.result(t, 1)
	var v struct{ Lock string }
	if err := json.Unmarshal(r.Result, &v); err != nil || !r.Success || !strings.HasSuffix(v.Lock, "\nalpha==2.0.0\nbeta==1.5.0") {
		t.Fatalf("%+v %s", r, r.Result)
	}
	if log := f.logOf(1); !strings.HasPrefix(log, "Installed 2 packages in ") {
		t.Errorf("%q", log)
	}
	run := pythonJob(2, sluice.KindScript, "import alpha")
	run.Lock = &v.Lock
	f.push(run)
	if r := f.result(t, 2); string(r.Result) != `"2.0.0"` {
		t.Errorf("%s", r.Result)
	}
	if log := f.logOf(2); log != "2.0.0\n" {
		t.Errorf("%q", log)
	}
	f.push(pythonJob(3, sluice.KindDependencies, "import os"))
	if r := f.result(t, 3); string(r.Result) != `{"lock":""}` {
		t.Errorf("%s", r.Result)
	}
}

// A job without a lock gets its packages when it runs.
func TestDependenciesOnTheFly(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, both(wheels(t), pathPrinter("import alpha; print(alpha.VERSION)")))
	for id, lines := range []int{2, 0} {
		id := int64(id)
		f.push(pythonJob(id, sluice.KindPreview, "import alpha"))
		if r := f.result(t, id); string(r.Result) != `"2.0.0"` {
			t.Errorf("%s", r.Result)
		}
		if log := f.logOf(id); strings.Count(log, "\n") != lines+1 {
			t.Errorf("%q", log)
		}
	}
}

func TestDependenciesThatAreNotThere(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, both(wheels(t), pathPrinter("")))
	for id, kind := range map[int64]sluice.Kind{1: sluice.KindDependencies, 2: sluice.KindPreview} {
		f.push(pythonJob(id, kind, "import nosuchpackage"))
		g := failure(t, f.result(t, id))
		if g.Name != FailureDependencies || !strings.Contains(g.Message, "No matching distribution found for nosuchpackage") {
			t.Errorf("%s: %+v", kind, g)
		}
	}
}

// A job that is cancelled while its packages are installed ends, and so does
// what installs them.
func TestCancelWhileInstalling(t *testing.T) {
	f := newFakeSource()
	_, stop := startWorker(t, f, both(wheels(t), func(c *Config) {
		slow := filepath.Join(c.Dependencies.PipFindLinks[0], "python3") // where tools may read
		if err := os.WriteFile(slow, []byte("#!/bin/sh\nsleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		c.Dependencies.Python = slow
	}))
	f.push(pythonJob(1, sluice.KindDependencies, "import alpha"))
	f.until(t, "launch", func() bool { return f.confirmed(1) })
	f.order(sluice.Order{Execution: 1, Kill: true, Reason: "no more"})
	r := f.result(t, 1)
	if r.Success {
		t.Errorf("%s", r.Result)
	}
	stop() // waits for what installs
}

// No job can write to what others will read.
func TestPackagesAreReadOnly(t *testing.T) {
	f := newFakeSource()
	const line = `
import alpha, os, sys
d = sys.argv[1]
for what in (lambda: open(d + "/alpha/__init__.py", "a"), lambda: open(d + "/new", "w"), lambda: os.chmod(d, 0o777), lambda: os.remove(d + "/alpha/__init__.py")):
    try:
        what()
    except OSError:
        continue
    sys.exit("the packages could be changed")
print("kept")
`
	startWorker(t, f, both(wheels(t), pathPrinter(line)))
	f.push(pythonJob(1, sluice.KindPreview, "import alpha"))
	if r := f.result(t, 1); string(r.Result) != `"kept"` {
		t.Errorf("%s", r.Result)
	}
}

// Scripts of every language import packages: the lock is found and installed
// behind the walls, and the script finds them there.
func TestScriptsThatImport(t *testing.T) {
	base := t.TempDir()
	t.Cleanup(func() { _ = deps.RemoveAll(base) })
	depstest.Module(t, filepath.Join(base, "proxy"), "example.com/hello", "v1.2.0")
	depstest.Wheel(t, filepath.Join(base, "wheels"), "alpha", "2.0.0")
	npm := depstest.NPM(t)
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ language, cache, code, lock, want string }{
		{"python3", base, "import alpha\n\ndef main():\n    return alpha.VERSION\n", "alpha==2.0.0", `"2.0.0"`},
		{"bun", base, "import { version } from 'large';\nimport 'tiny';\nexport function main() { return version }", `"tiny": ["tiny@1.2.3"`, `"1.2.3"`},
		{
			"bun", base, "import { version } from 'large@1.2.3';\nimport * as same from 'large@1.2.3/index.js';\nimport * as tiny from '@scope/tiny@^1';\n" +
				"export function main() { return [version, same.version, tiny.version] }", `"large": "1.2.3"`, `["1.2.3","1.2.3","1.2.3"]`,
		},
		// The compiler's cache is filled once for all tests.
		{"go", user, "package inner\n\nimport \"example.com/hello\"\n\nfunc main() (string, error) { return hello.Version, nil }\n", "example.com/hello v1.2.0 h1:", `"v1.2.0"`},
	} {
		t.Run(tt.language, func(t *testing.T) {
			f := newFakeSource()
			startWorker(t, f, func(c *Config) {
				c.Dir, c.Cache = filepath.Join(base, "jobs"), filepath.Join(tt.cache, "sluice-tests")
				c.Dependencies.PipFindLinks, c.Dependencies.PipNoIndex = []string{filepath.Join(base, "wheels")}, true
				c.Dependencies.NPMRegistry = npm.URL
				c.Dependencies.GoProxy, c.Dependencies.GoSumDB = "file://"+filepath.Join(base, "proxy"), "off"
			})
			a := pythonJob(1, sluice.KindDependencies, tt.code)
			a.Language = tt.language
			f.push(a)
			r := f.result(t, 1)
			var v struct{ Lock string }
			if err := json.Unmarshal(r.Result, &v); err != nil || !strings.Contains(v.Lock, tt.lock) {
				t.Fatalf("%s", r.Result)
			}
			a.Execution, a.Kind, a.Lock = 2, sluice.KindScript, &v.Lock
			f.push(a)
			f.untilWithin(t, 5*time.Minute, "the first build", func() bool { _, ok := f.reports[2]; return ok })
			if r := f.result(t, 2); string(r.Result) != tt.want {
				t.Errorf("%s", r.Result)
			}
		})
	}
}
