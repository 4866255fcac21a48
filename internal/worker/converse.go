package worker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/worker/supervisor"
)

// wrappers are the programs that interpreters run: they read requests, run the
// user's code and reply.
//
//go:embed wrappers
var wrappers embed.FS

// program is what to start for a job. Nothing of it belongs to one job, so that
// it can be started before its job is known.
type program struct {
	path string
	args []string // from the program's name on
	env  []string // NAME=value; all it has until a request gives it its environment
	read []string // paths that it reads beside the system's
	// files puts what the program needs into its working folder.
	files func(dir string) error
}

// request is what a program is asked. It is one line of JSON on its standard input.
type request struct {
	// Key is repeated in every reply, so that what user code writes into the
	// channel by mistake is not taken for one.
	Key   string            `json:"key"`
	Args  json.RawMessage   `json:"args"`
	Env   map[string]string `json:"env"`
	Entry string            `json:"entry"`           // "main" or "preprocessor"
	Names []string          `json:"names,omitempty"` // of the arguments, in the order of the code, where the program cannot know them
	Code  string            `json:"code,omitempty"`  // where it is no file of the working folder
	Paths []string          `json:"paths,omitempty"` // folders of packages
	More  bool              `json:"more,omitempty"`  // stay for another request
}

// reply is one line of JSON on a program's descriptor 3: Started just before
// user code runs, then one with a result or an error.
type reply struct {
	Key     string          `json:"key"`
	Started bool            `json:"started"`
	Result  json.RawMessage `json:"result"`
	Error   json.RawMessage `json:"error"` // {"name", "message", "stack"?}
}

// Bounds of what a program replies beside the result itself.
const (
	replySlack  = 64 << 10
	replyBounds = sluice.MaxResultBytes + replySlack
)

var errReplyTooLong = errors.New("the reply is too long")

// ask runs one job through a program that speaks the wrappers' protocol. files
// puts the job's own files into its folder.
func (t *Task) ask(ctx context.Context, p program, q request, files func(dir string) error) Outcome {
	dir, err := t.makeFolder()
	if err != nil {
		return Outcome{HandBack: err}
	}
	defer t.removeFolder(dir)
	for _, put := range []func(string) error{p.files, files} {
		if put == nil {
			continue
		}
		if err := put(dir); err != nil {
			return Outcome{HandBack: err}
		}
	}
	q.Env = make(map[string]string)
	for _, v := range t.environment(t.inside(dir)) {
		name, value, _ := strings.Cut(v, "=")
		q.Env[name] = value
	}
	exit, r, err := t.converse(ctx, p, dir, q)
	switch {
	case errors.Is(err, errReplyTooLong):
		return resultTooLarge(exit)
	case err != nil:
		return Outcome{HandBack: err}
	}
	return t.answer(exit, r)
}

// request is what a wrapper is asked for the task. Its environment is filled in
// by [Task.ask].
func (t *Task) request() request {
	q := request{Args: t.Args, Entry: cmp.Or(t.Entry, "main")}
	if len(q.Args) == 0 {
		q.Args = []byte("{}")
	}
	return q
}

// answer turns a program's reply and its end into an outcome.
func (t *Task) answer(exit supervisor.Exit, r reply) Outcome {
	o, ok := t.judge(exit)
	switch {
	case !ok:
		return o
	case r.Error != nil:
		o.Failure, o.Error = errorOf(r.Error), r.Error
	case r.Result == nil:
		o.Failure = &Failure{Name: FailureExecution, Message: "The program ended, with exit status 0, before it had returned a result, last log lines:\n" + t.LastLines()}
	case len(r.Result) > sluice.MaxResultBytes:
		return resultTooLarge(exit)
	default:
		o.Result = r.Result
	}
	return o
}

func resultTooLarge(exit supervisor.Exit) Outcome {
	o := failed(FailureResult, "The result is larger than a result may be (%d bytes).", sluice.MaxResultBytes)
	o.MemPeakKB = exit.MaxRSSKB
	return o
}

// errorOf is the failure of a program that replied with an error. Whatever the
// user's code calls its errors, to the worker it is an execution that failed.
func errorOf(raw json.RawMessage) *Failure {
	var e struct{ Name, Message string }
	_ = json.Unmarshal(raw, &e) // what is no such object has neither
	return &Failure{Name: FailureExecution, Message: e.Name + ": " + e.Message}
}

// errorJSON wraps the error of the user's code as a result; one that is too large
// is cut down to its name and message.
func errorJSON(o Outcome) json.RawMessage {
	if len(o.Error)+len(`{"error":}`) <= sluice.MaxResultBytes {
		return slices.Concat([]byte(`{"error":`), o.Error, []byte("}"))
	}
	var f Failure
	_ = json.Unmarshal(o.Error, &f) // what is no such object has neither
	return f.json()
}

// converse starts a program in a folder, asks it one thing, and waits for its
// end. The reply is empty if there was none. An error that is not
// [errReplyTooLong] means that nothing was launched.
func (t *Task) converse(ctx context.Context, p program, dir string, q request) (supervisor.Exit, reply, error) {
	q.Key = rand.Text()
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(q); err != nil {
		return supervisor.Exit{}, reply{}, fmt.Errorf("write a request: %w", err)
	}
	stdin, asks, err := os.Pipe()
	if err != nil {
		return supervisor.Exit{}, reply{}, fmt.Errorf("make a pipe for a request: %w", err)
	}
	answers, back, err := os.Pipe()
	if err != nil {
		stdin.Close()
		asks.Close()
		return supervisor.Exit{}, reply{}, fmt.Errorf("make a pipe for replies: %w", err)
	}
	asked := make(chan struct{})
	go func() { // a program that does not read does not keep us: it ends, and its end of the pipe with it
		defer close(asked)
		defer asks.Close()
		_, _ = asks.Write(line.Bytes())
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type said struct {
		reply
		err error
	}
	heard := make(chan said, 1)
	go func() {
		r, err := readReply(answers, q.Key, t.Launched)
		if errors.Is(err, errReplyTooLong) {
			cancel(&Stop{Name: FailureResult, Reason: "The result is too large."})
		}
		answers.Close()
		heard <- said{r, err}
	}()
	exit, _, err := t.run(ctx, supervisor.Command{
		Path: p.path, Args: p.args, Env: p.env, Dir: dir, Stdin: stdin, Reply: back, Read: p.read, Linger: linger,
	})
	stdin.Close()
	back.Close()
	<-asked
	got := <-heard
	if err != nil {
		return exit, reply{}, err
	}
	return exit, got.reply, got.err
}

// readReply reads to the end and returns the first final reply. What does not
// carry the key is passed over.
func readReply(from io.Reader, key string, started func()) (reply, error) {
	var (
		final reply
		found bool
		left  = &io.LimitedReader{R: from, N: replyBounds + 1}
		lines = bufio.NewReaderSize(left, 32<<10)
	)
	for {
		line, err := lines.ReadBytes('\n')
		var r reply
		if len(line) > 1 && json.Unmarshal(line, &r) == nil && r.Key == key {
			switch {
			case r.Started:
				started()
			case !found && (r.Result != nil || r.Error != nil):
				final, found = r, true
			}
		}
		switch {
		case left.N <= 0:
			return reply{}, errReplyTooLong
		case err != nil:
			return final, nil
		}
	}
}

// putWrapper returns what puts a wrapper into a working folder.
func putWrapper(name string) func(dir string) error {
	code, err := wrappers.ReadFile("wrappers/" + name)
	if err != nil {
		panic(fmt.Sprintf("read an embedded file: %v", err))
	}
	return func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "."+name), code, 0o600); err != nil {
			return fmt.Errorf("write the wrapper: %w", err)
		}
		return nil
	}
}

// putCode returns what puts the user's code into a working folder.
func putCode(name, code string) func(dir string) error {
	return func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(code), 0o600); err != nil {
			return fmt.Errorf("write the script: %w", err)
		}
		return nil
	}
}

// findProgram looks for a program in the folders that jobs look in, so that it
// is the system's and nobody's own.
func findProgram(name string) (string, error) {
	for _, dir := range filepath.SplitList(jobPath) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is in none of the folders %s", name, jobPath)
}
