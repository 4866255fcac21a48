package worker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Bun runs TypeScript and JavaScript with the system's bun; what Windmill calls
// bun, deno and nativets alike. The zero value is not usable; see [NewBun].
//
// The exported function main gets its arguments in the order of its parameters,
// by their names; what is missing is undefined. The result is what it returns,
// awaited, as JSON.stringify writes it; undefined becomes null and a BigInt its
// text. The program ends when main has returned, whatever is still open.
type Bun struct {
	program program
	err     error
}

// NewBun looks for bun in the system's folders.
func NewBun() *Bun {
	path, err := findProgram("bun")
	return &Bun{err: err, program: program{
		path: path,
		args: []string{"bun", "--no-install", ".wrapper.js"},
		env: []string{
			"PATH=" + jobPath, "LANG=C.UTF-8", "DO_NOT_TRACK=1",
			// Nothing that bun transpiled is kept: it would be kept in the job's folder.
			"BUN_RUNTIME_TRANSPILER_CACHE_PATH=0",
			// Machine code gets so many bytes, reserved at the start. Of its own accord
			// bun reserves 1 GiB, and if the bound on a job's memory does not leave that
			// it compiles nothing at all: code ran ten times as long.
			"BUN_JSC_jitMemoryReservationSize=134217728",
		},
		files: putWrapper("wrapper.js"), warm: "bun",
	}}
}

// Available returns an error if bun was not found.
func (b *Bun) Available() error { return b.err }

// Run runs one script.
func (b *Bun) Run(ctx context.Context, t *Task) Outcome {
	if b.err != nil {
		return failed(FailureUnsupported, "This worker cannot run TypeScript: %v. Install it, for example with: npm install -g bun@1.4.5.", b.err)
	}
	packages, err := t.dependencies(ctx)
	if err != nil {
		return t.noDependencies(err)
	}
	program, code := b.program, putCode("main.ts", t.Content)
	if packages == "" {
		return t.ask(ctx, program, t.request(), code)
	}
	program.read = []string{packages}
	return t.ask(ctx, program, t.request(), func(dir string) error {
		if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
			return fmt.Errorf("show the packages: %w", err)
		}
		return code(dir)
	})
}
