// Package wire is built into every job in Go, between the worker and the user's
// package.
//
// Requests come in on descriptor 0, replies go out on descriptor 3, one JSON
// document a line. Both are moved before the user's package is initialised: it
// reads nothing, and it finds 3 free. A reply carries the key of its request, so
// that nothing else that gets into the pipe is taken for one.
package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"syscall"
)

const high = 200 // above what programs count on

var source, target = move(0, high), move(3, high+1)

func init() {
	if null, err := os.Open(os.DevNull); err == nil && null.Fd() != 0 {
		_ = syscall.Dup3(int(null.Fd()), 0, 0)
		null.Close()
	}
	_ = syscall.Close(3)
}

func move(from, to int) *os.File {
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(from), syscall.F_DUPFD_CLOEXEC, uintptr(to))
	if errno != 0 {
		return nil
	}
	return os.NewFile(fd, "wire")
}

type request struct {
	Key   string                     `json:"key"`
	Args  map[string]json.RawMessage `json:"args"`
	Env   map[string]string          `json:"env"`
	Entry string                     `json:"entry"`
	Names []string                   `json:"names"`
	More  bool                       `json:"more"`
}

// thrown is an error as the server shows it.
type thrown struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	Stack   string `json:"stack,omitempty"`
}

// Serve answers requests by calling the entry points, and ends the program.
func Serve(entries map[string]any) {
	lines := bufio.NewReader(source)
	for first := true; ; first = false {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		var q request
		if err := json.Unmarshal(line, &q); err != nil {
			fmt.Fprintln(os.Stderr, "a request cannot be read:", err)
			os.Exit(1)
		}
		if first {
			os.Clearenv()
			for name, value := range q.Env {
				_ = os.Setenv(name, value)
			}
		}
		send(q.Key, "started", []byte("true"))
		result, failure := call(entries[q.Entry], q)
		if failure != nil {
			text, err := json.Marshal(failure)
			if err != nil {
				text = []byte(`{"name":"Error","message":""}`)
			}
			send(q.Key, "error", text)
		} else {
			send(q.Key, "result", result)
		}
		if !q.More {
			os.Exit(0)
		}
	}
}

func send(key, name string, value []byte) {
	if _, err := fmt.Fprintf(target, "\n{\"key\":%q,%q:%s}\n", key, name, value); err != nil {
		fmt.Fprintln(os.Stderr, "The script has closed the descriptor on which its result is reported.")
		os.Exit(1)
	}
}

// call calls an entry point with the arguments of its names.
func call(f any, q request) (result []byte, failure *thrown) {
	defer func() {
		if p := recover(); p != nil {
			failure = &thrown{"panic", fmt.Sprint(p), stack(string(debug.Stack()))}
		}
	}()
	v := reflect.ValueOf(f)
	in := make([]reflect.Value, v.Type().NumIn())
	for i := range in {
		arg := reflect.New(v.Type().In(i))
		if raw := q.Args[q.Names[i]]; raw != nil {
			if err := json.Unmarshal(raw, arg.Interface()); err != nil {
				return nil, &thrown{Name: "InvalidArguments", Message: fmt.Sprintf("argument %s: %v", q.Names[i], err)}
			}
		}
		in[i] = arg.Elem()
	}
	invoke := v.Call
	if v.Type().IsVariadic() {
		invoke = v.CallSlice
	}
	out := invoke(in)
	if n := len(out); n > 0 && v.Type().Out(n-1) == reflect.TypeFor[error]() {
		if err, _ := out[n-1].Interface().(error); err != nil {
			return nil, &thrown{Name: nameOf(err), Message: err.Error()}
		}
		out = out[:n-1]
	}
	if len(out) == 0 {
		return []byte("null"), nil
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out[0].Interface()); err != nil {
		return nil, &thrown{Name: "InvalidResult", Message: fmt.Sprintf("The result cannot be written as JSON: %v.", err)}
	}
	return bytes.TrimSpace(text.Bytes()), nil
}

func nameOf(err error) string {
	t := reflect.TypeOf(err)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() == "" || t.PkgPath() == "errors" || t.PkgPath() == "fmt" {
		return "Error"
	}
	return t.Name()
}

// stack leaves the user's own frames of a stack: a line with the function, one
// with the place.
func stack(all string) string {
	const job = "sluice.local/job/"
	lines := strings.Split(all, "\n")
	kept := lines[:1:1]
	for i := 1; i+1 < len(lines); i += 2 {
		if !strings.HasPrefix(lines[i], job+"inner.") {
			continue
		}
		at, _, _ := strings.Cut(lines[i+1], " +0x")
		kept = append(kept, strings.ReplaceAll(lines[i], job, ""), strings.ReplaceAll(at, job+"inner/", ""))
	}
	return strings.Join(kept, "\n")
}
