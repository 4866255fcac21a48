package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"sluice/internal/signature"
	"sluice/internal/worker/supervisor"
)

// Go runs scripts in Go with the machine's own toolchain: package inner with a
// function main. The zero value is not usable; see [NewGo].
//
// The arguments are decoded into the types of main's parameters by their names; a
// missing one is the zero value. The result is the first value; an error that is
// not nil fails the job. A program is built once for one code, lock and
// toolchain, and kept in the worker's cache.
type Go struct {
	path, root, version string
	err                 error
	programs            programCache
}

// NewGo looks for the go command in the system's folders, in /usr/local/go and
// in the worker's PATH.
func NewGo() *Go {
	g := &Go{}
	path, err := findProgram("go")
	if err != nil {
		if path = "/usr/local/go/bin/go"; !isFile(path) {
			path, err = exec.LookPath("go")
		} else {
			err = nil
		}
	}
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		g.err = errors.New("no go toolchain was found")
		return g
	}
	g.path, g.root = path, filepath.Dir(filepath.Dir(path))
	version, err := os.ReadFile(filepath.Join(g.root, "VERSION"))
	if err != nil {
		g.err = fmt.Errorf("the toolchain of %s does not say its version", path)
		return g
	}
	g.version, _, _ = strings.Cut(string(version), "\n")
	return g
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Available returns an error if no toolchain was found.
func (g *Go) Available() error { return g.err }

// Run builds one script, unless it was built before, and runs it.
func (g *Go) Run(ctx context.Context, t *Task) Outcome {
	if g.err != nil {
		return failed(FailureUnsupported, "This worker cannot run Go: %v. Install Go, so that go is in the worker's PATH.", g.err)
	}
	q := t.request()
	main, err := signature.ParseEntry("go", t.Content, signature.Main)
	if err == nil && q.Entry != signature.Main {
		main, err = signature.ParseEntry("go", t.Content, q.Entry)
	}
	switch {
	case err != nil:
		return failed(FailureExecution, "main.go: %v", err)
	case !goPackage.MatchString(t.Content):
		return failed(FailureExecution, "main.go must be of package inner: it begins with the line: package inner")
	case main.NoMain:
		return failed(FailureExecution, "main.go has no function %s. Define one, such as: func %s(name string) (any, error)", q.Entry, q.Entry)
	}
	q.Names = []string{}
	for _, a := range main.Args {
		q.Names = append(q.Names, a.Name)
	}
	built, o := g.build(ctx, t, main.HasPreprocessor)
	if built == "" {
		return o
	}
	defer g.programs.release(built)
	return t.ask(ctx, program{path: built, args: []string{"main"}, env: []string{"PATH=" + jobPath}, read: []string{built}}, q, nil)
}

// build returns the program of the task's code, held until it is released, or ""
// and the outcome of the task.
func (g *Go) build(ctx context.Context, t *Task, preprocessor bool) (string, Outcome) {
	var lock string
	if t.Lock != nil {
		lock = *t.Lock
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s\x00%s", g.version, len(lock), lock, t.Content))
	folder := filepath.Join(t.w.cache, "go")
	var o Outcome
	built, err := g.programs.get(ctx, filepath.Join(folder, "programs"), hex.EncodeToString(sum[:]), func(to string) (err error) {
		o, err = g.compile(ctx, t, folder, to, preprocessor)
		return err
	})
	switch {
	case err == nil:
		return built, Outcome{}
	case o.HandBack != nil, o.Failure != nil:
		return "", o
	case ctx.Err() != nil:
		return "", failed(FailureExecution, "The job was ended while its program was built.")
	}
	return "", Outcome{HandBack: err}
}

// goPackage finds the clause that a script must begin with, after comments.
var goPackage = regexp.MustCompile(`(?m)^\s*package[ \t]+inner\b`)

var errNotBuilt = errors.New("the program does not compile")

// compile builds a program at a path. An error with an outcome that failed is
// the code's.
func (g *Go) compile(ctx context.Context, t *Task, folder, to string, preprocessor bool) (Outcome, error) {
	dir, err := os.MkdirTemp(t.Dir, "build-")
	if err != nil {
		return Outcome{}, fmt.Errorf("make a folder to build in: %w", err)
	}
	defer t.removeFolder(dir)
	if err := g.writeModule(dir, t.Content, preprocessor); err != nil {
		return Outcome{}, err
	}
	packages, err := t.dependencies(ctx)
	if err == nil && packages != "" {
		err = putModules(dir, packages)
	}
	if err != nil {
		return t.noDependencies(err), errNotBuilt
	}
	cache := filepath.Join(folder, "build")
	if err := openCompilerCache(cache); err != nil {
		return Outcome{}, fmt.Errorf("make the compiler's cache: %w", err)
	}
	start := time.Now()
	text, exit, err := t.w.tool(ctx, g.command(dir, t.inside(dir), cache, packages), false)
	if err != nil {
		return Outcome{}, err
	}
	if !exit.Launched || exit.Status.Signaled() || ctx.Err() != nil {
		o, _ := t.judge(exit)
		return o, errNotBuilt
	}
	if exit.Status.ExitStatus() != 0 {
		return failed(FailureExecution, "The program does not compile:\n%s", compilerSays(text)), errNotBuilt
	}
	t.Log(ctx, fmt.Appendf(nil, "Built the program in %.1f s.\n", time.Since(start).Seconds()))
	if err := os.Rename(filepath.Join(dir, "program"), to); err != nil {
		return Outcome{}, fmt.Errorf("keep a program: %w", err)
	}
	return Outcome{}, nil
}

// openCompilerCache makes the folder in which the compiler keeps what it has
// compiled, for all users that jobs run as: a job's code does not run there, it is
// only read.
func openCompilerCache(dir string) error {
	all := []string{dir}
	for i := range 256 {
		all = append(all, filepath.Join(dir, fmt.Sprintf("%02x", i)))
	}
	for _, d := range all {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o777 {
			if err := os.Chmod(d, 0o777); err != nil {
				return err
			}
		}
	}
	_ = os.Chmod(filepath.Join(dir, "trim.txt"), 0o666) // who builds next may be somebody else
	return nil
}

// writeModule lays out the module that is built: the user's package, what gives
// access to its functions, and what speaks with the worker.
func (g *Go) writeModule(dir, code string, preprocessor bool) error {
	wire, err := wrappers.ReadFile("wrappers/wire/wire.go")
	if err != nil {
		panic(fmt.Sprintf("read an embedded file: %v", err))
	}
	entries := "package inner\n\nimport _ \"sluice.local/job/wire\"\n\n" +
		"// SluiceEntries are the functions that a job may call.\nvar SluiceEntries = map[string]any{\"main\": main"
	if preprocessor {
		entries += ", \"preprocessor\": preprocessor"
	}
	if err := os.Mkdir(filepath.Join(dir, tmpName), 0o700); err != nil {
		return fmt.Errorf("make a folder to build in: %w", err)
	}
	language, _, _ := strings.Cut(strings.TrimPrefix(g.version, "go"), " ")
	for name, text := range map[string]string{
		"go.mod":           "module sluice.local/job\n\ngo " + language + "\n",
		"main.go":          "package main\n\nimport (\n\t\"sluice.local/job/inner\"\n\t\"sluice.local/job/wire\"\n)\n\nfunc main() { wire.Serve(inner.SluiceEntries) }\n",
		"inner/main.go":    code,
		"inner/entries.go": entries + "}\n",
		"wire/wire.go":     string(wire),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("make a folder to build in: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the script: %w", err)
		}
	}
	return nil
}

var moduleClause = regexp.MustCompile(`(?m)^module .*$`)

// putModules has the module that is built require what its lock does.
func putModules(dir, packages string) error {
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(packages, name))
		if err != nil {
			return fmt.Errorf("read the lock: %w", err)
		}
		text = moduleClause.ReplaceAll(text, []byte("module sluice.local/job"))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return fmt.Errorf("write the lock: %w", err)
		}
	}
	return nil
}

// compilerSays names the user's file as the user does.
func compilerSays(text []byte) string {
	var said []string
	for line := range strings.Lines(string(bytes.ToValidUTF8(text, []byte("\ufffd")))) {
		if !strings.HasPrefix(line, "# ") { // the name of a package
			said = append(said, strings.ReplaceAll(strings.ReplaceAll(line, "inner/main.go", "main.go"), "./main.go", "main.go"))
		}
	}
	return strings.TrimSpace(strings.Join(said, ""))
}

// command is the one that builds the module in a folder, which is at home for it.
// Packages are those that the code needs, or "".
func (g *Go) command(dir, home, cache, packages string) supervisor.Command {
	c := supervisor.Command{
		Path: g.path, Dir: dir, Write: []string{cache},
		Args: []string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "program", "."},
		Env: []string{
			"PATH=" + jobPath, "LANG=C.UTF-8", "HOME=" + home, "TMPDIR=" + filepath.Join(home, tmpName), "GOROOT=" + g.root, "GOCACHE=" + cache,
			"GOPATH=" + filepath.Join(home, "gopath"), "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOTELEMETRY=off",
			"GOPROXY=off", "CGO_ENABLED=0",
		},
	}
	if packages == "" {
		c.Env = append(c.Env, "GOFLAGS=-mod=mod")
	} else {
		c.Read = []string{packages}
		c.Env = append(c.Env, "GOFLAGS=-mod=readonly", "GOSUMDB=off", "GOMODCACHE="+filepath.Join(packages, "mod"))
	}
	return c
}
