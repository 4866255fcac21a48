package worker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
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
	// warm names a program that is worth starting ahead; "": it is not.
	warm  string
	stays bool // it is told so as its last argument: it may be asked more than once
	// template is the code of a template that forks the program, wrapper what it
	// forks, and modules what it loads first; "": it is executed. See
	// wrappers/template.py.
	template, wrapper, modules string
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
	Types []string          `json:"types,omitempty"` // kinds of [signature.Type], as Names
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
	g, err := t.w.guest(t, p)
	if err != nil {
		return Outcome{HandBack: err}
	}
	t.setFolder(g.dir)
	if files != nil && !g.served {
		if err := files(g.dir); err != nil {
			t.w.dismiss(g)
			return Outcome{HandBack: err}
		}
	}
	q.Env = make(map[string]string)
	for _, v := range t.environment(t.inside(g.dir)) {
		name, value, _ := strings.Cut(v, "=")
		q.Env[name] = value
	}
	return t.converse(ctx, g, q)
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

// converse asks a program one thing. Unless the program stays for another
// request it waits until its tree is gone.
func (t *Task) converse(ctx context.Context, g *guest, q request) Outcome {
	q.Key, q.More = rand.Text(), g.dedicated != ""
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(q); err != nil {
		t.w.dismiss(g)
		return failed(FailureArguments, "The arguments cannot be passed on: %v.", err)
	}
	asked := make(chan struct{})
	go func() { // a program that does not read does not keep us: it ends, and its end of the pipe with it
		defer close(asked)
		if _, err := g.asks.Write(line.Bytes()); err == nil && !q.More {
			g.asks.Close()
		}
	}()
	g.reader.attach(g.out, t.h)
	heard := make(chan said, 1)
	go func() { heard <- g.hear(q.Key, t.Launched) }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	var got said
	go func() {
		defer close(over)
		if got = <-heard; errors.Is(got.err, errReplyTooLong) {
			cancel(&Stop{Name: FailureResult, Reason: "The result is too large."})
		}
	}()
	if q.More && t.attendReply(ctx, g, over, asked) && got.final() {
		g.reader.detach(g.out)
		g.packages, t.held = append(g.packages, t.held...), nil // it goes on using them
		t.w.keep(g)
		return t.answer(supervisor.Exit{Launched: true}, got.reply)
	}
	t.attend(ctx, g.p, nil)
	<-over
	<-asked
	t.setFolder("")
	t.w.dismiss(g)
	if errors.Is(got.err, errReplyTooLong) {
		return resultTooLarge(g.p.Exit())
	}
	return t.answer(g.p.Exit(), got.reply)
}

// attendReply waits for the reply of a program that stays, and until it has read
// the whole request; false: it will not.
func (t *Task) attendReply(ctx context.Context, g *guest, over, asked <-chan struct{}) bool {
	for _, done := range []<-chan struct{}{over, asked} {
		select {
		case <-done:
		case <-ctx.Done():
			return false
		case <-g.p.Gone():
			return false
		}
	}
	select {
	case <-g.p.Gone():
		return false
	default:
		return ctx.Err() == nil
	}
}

// said is what came back for one request.
type said struct {
	reply
	err error
}

func (r *reply) final() bool { return r.Result != nil || r.Error != nil }

// hear reads the replies to one request. What does not carry its key is passed
// over. A program that does not stay is heard to its end.
func (g *guest) hear(key string, started func()) said {
	var final said
	g.left.N = replyBounds + 1
	for {
		line, err := g.lines.ReadBytes('\n')
		var r reply
		if len(line) > 1 && json.Unmarshal(line, &r) == nil && r.Key == key {
			switch {
			case r.Started:
				started()
			case !final.final():
				final.reply = r
			}
		}
		switch {
		case g.left.N <= 0:
			return said{err: errReplyTooLong}
		case err != nil, g.dedicated != "" && final.final():
			return final
		}
	}
}

// putWrapper returns what puts a wrapper into a working folder.
func putWrapper(name string) func(dir string) error {
	code := []byte(wrapperCode(name))
	return func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "."+name), code, 0o644); err != nil {
			return fmt.Errorf("write the wrapper: %w", err)
		}
		return nil
	}
}

func wrapperCode(name string) string {
	code, err := wrappers.ReadFile("wrappers/" + name)
	if err != nil {
		panic(fmt.Sprintf("read an embedded file: %v", err))
	}
	return string(code)
}

// putCode returns what puts the user's code into a working folder.
func putCode(name, code string) func(dir string) error {
	return func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(code), 0o644); err != nil { // the folder is the job's alone
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
