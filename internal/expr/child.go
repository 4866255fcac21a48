package expr

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/quickjs"
)

// Marker is the argument that makes a program of ours evaluate expressions.
const marker = "__expressions"

// Main is to be called first thing in main, and in TestMain. In a process that
// was executed to evaluate expressions it does that and never returns; in any
// other process it does nothing.
func Main() {
	if len(os.Args) != 2 || os.Args[1] != marker {
		return
	}
	if err := confine(); err != nil {
		fmt.Fprintln(os.Stderr, "expressions:", err)
		os.Exit(1)
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "expressions:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// confine takes from the process what it does not need.
func confine() error {
	os.Clearenv()
	if err := noNewPrivileges(); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	for what, most := range map[int]uint64{
		unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_NOFILE: 16, unix.RLIMIT_DATA: 4 << 30,
	} {
		if err := unix.Setrlimit(what, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("bound the process: %w", err)
		}
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("leave the folder: %w", err)
	}
	return nil
}

// noNewPrivileges holds for each thread by itself. A program that is built with
// cgo can only do so for the one that it is on.
func noNewPrivileges() error {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errno == syscall.ENOTSUP {
		return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// maxSource bounds the text of one expression.
const maxSource = 64 << 10

// batch is what the pool asks, on one line.
type batch struct {
	Shared map[string]json.RawMessage `json:"shared,omitempty"`
	Asks   []Request                  `json:"asks"`
	Limits Limits                     `json:"limits"`
	spare  spare
}

func serve(in io.Reader, out io.Writer) error {
	r, w := bufio.NewReaderSize(in, 1<<16), bufio.NewWriter(out)
	var next spare
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		b := batch{spare: next}
		if err := json.Unmarshal(line, &b); err != nil {
			return fmt.Errorf("read a batch: %w", err)
		}
		// Should whoever asked be gone, this process must not go on for ever.
		last := time.AfterFunc(tripTime+2*b.Limits.Time+time.Second, func() { os.Exit(1) })
		answer, err := json.Marshal(b.evaluate())
		last.Stop()
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		w.Write(answer)   //nolint:errcheck // Flush tells
		w.WriteByte('\n') //nolint:errcheck // Flush tells
		if err := w.Flush(); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if next = b.spare; next.vm == nil {
			next.limits = b.Limits
			if next.vm, err = b.Limits.engine(); err != nil {
				next.vm = nil
			}
		}
	}
}

// Bounds of one answer: what is not evaluated by then is asked for again.
const (
	tripTime  = time.Second
	tripBytes = 8 << 20
)

// evaluate evaluates the first of the batch, at least one, as far as one answer
// may go.
func (b *batch) evaluate() []Reply {
	var out []Reply
	began, size := time.Now(), 0
	for i := range b.Asks {
		if i > 0 && (time.Since(began) > tripTime || size > tripBytes) {
			break
		}
		r := b.one(&b.Asks[i])
		size += len(r.Value)
		out = append(out, r)
	}
	return out
}

//go:embed run.js
var script string

// spare is an engine made while there was nothing to do, and its bounds.
type spare struct {
	vm     *quickjs.VM
	limits Limits
}

// engine returns a fresh engine.
func (b *batch) engine() (*quickjs.VM, error) {
	if s := b.spare; s.vm != nil && s.limits == b.Limits {
		b.spare = spare{}
		return s.vm, nil
	}
	return b.Limits.engine()
}

func (l Limits) engine() (*quickjs.VM, error) {
	vm, err := quickjs.NewVM()
	if err != nil {
		return nil, err
	}
	vm.SetMemoryLimit(uintptr(l.Memory))
	vm.SetMaxStackSize(512 << 10)
	if err = vm.SetEvalTimeout(l.Time); err == nil {
		_, err = vm.Eval(script, quickjs.EvalGlobal)
	}
	if err != nil {
		vm.Close()
		return nil, err
	}
	return vm, nil
}

// one evaluates one expression in an engine of its own.
func (b *batch) one(q *Request) Reply {
	if len(q.Expr) > maxSource {
		return Reply{Error: fmt.Sprintf("it has %d bytes; at most %d are allowed", len(q.Expr), maxSource)}
	}
	vm, err := b.engine()
	if err != nil {
		return Reply{Error: "no JavaScript engine could be made: " + err.Error()}
	}
	defer vm.Close()
	context := make(map[string]json.RawMessage, len(b.Shared)+len(q.Own))
	for k, v := range b.Shared {
		context[k] = v
	}
	for k, v := range q.Own {
		context[k] = v
	}
	text, err := json.Marshal(context)
	if err != nil {
		return Reply{Error: "the values cannot be passed: " + err.Error()}
	}
	return b.run(vm, q.Expr, string(text))
}

func (b *batch) run(vm *quickjs.VM, expr, context string) Reply {
	began := time.Now()
	_, err := vm.Call("__run", expr, context)
	for n := 1; err == nil && n > 0 && time.Since(began) < b.Limits.Time; {
		n, err = vm.ExecutePendingJobs()
	}
	var outcome any
	if err == nil {
		outcome, err = vm.Call("__outcome")
	}
	if err != nil {
		return b.explain(err, time.Since(began))
	}
	s, _ := outcome.(string)
	kind, text, _ := strings.Cut(s, ":")
	switch {
	case kind == "error":
		return Reply{Error: clip(text)}
	case kind != "value" && time.Since(began) >= b.Limits.Time:
		return b.late()
	case kind != "value":
		return Reply{Error: "it awaits something that never comes"}
	case len(text) > b.Limits.Result:
		return Reply{Error: fmt.Sprintf("its value has %d bytes; at most %d are allowed", len(text), b.Limits.Result)}
	}
	return Reply{Value: json.RawMessage(text)}
}

// explain says in words what stopped the engine.
func (b *batch) explain(err error, took time.Duration) Reply {
	s := err.Error()
	switch {
	case strings.Contains(s, "interrupted") || took >= b.Limits.Time:
		return b.late()
	case strings.Contains(s, "out of memory") || s == "null" || s == "":
		return Reply{Error: fmt.Sprintf("it needs more than %d MiB of memory", b.Limits.Memory>>20)}
	}
	return Reply{Error: clip(s)}
}

func (b *batch) late() Reply {
	return Reply{Error: fmt.Sprintf("it took longer than %s", b.Limits.Time), Late: true}
}

func clip(s string) string {
	const most = 2000
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
