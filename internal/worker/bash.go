package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/internal/signature"
	"sluice/internal/worker/deps"
	"sluice/internal/worker/supervisor"
)

// Bash runs bash scripts. The zero value is not usable; see [NewBash].
//
// Arguments become positional parameters, in the order in which the code
// declares them (name="$1", x="${2:-default}"): strings as they are, other
// values as their JSON text without insignificant white space, absent and null
// ones as the empty string. The result is the content of result.json (JSON) or
// else of result.out (text) in the working folder, if there is such a file and
// it is not empty; otherwise the last line of standard output, as a string.
type Bash struct {
	path string
	err  error
}

// NewBash looks for bash in the worker's PATH.
func NewBash() *Bash {
	path, err := exec.LookPath("bash")
	if err == nil {
		path, err = filepath.Abs(path)
	}
	return &Bash{path: path, err: err}
}

// Available returns an error if bash was not found.
func (b *Bash) Available() error { return b.err }

const (
	jobPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// linger is how long what a script leaves running may go on, such as the
	// reader of a process substitution.
	linger = time.Second
	// argvBytes is how much of arguments is passed on the command line. What is
	// longer is passed in a file: the kernel bounds one argument to 128 KiB.
	argvBytes = 32 << 10

	scriptName = "./main.sh"
	startName  = "./.start.sh"
	tmpName    = "tmp"
)

// Run runs one script.
func (b *Bash) Run(ctx context.Context, t *Task) Outcome {
	if b.err != nil {
		return failed(FailureUnsupported, "This worker cannot run bash: %v.", b.err)
	}
	params, err := bashValues(signature.BashParams(t.Content), t.Args)
	if err != nil {
		return failed(FailureArguments, "%v", err)
	}
	dir, err := t.makeFolder()
	if err != nil {
		return Outcome{HandBack: err}
	}
	defer t.removeFolder(dir)
	args, err := b.prepare(dir, t.Content, params, t.hasSecrets())
	if err != nil {
		return Outcome{HandBack: err}
	}
	exit, line, err := t.run(ctx, supervisor.Command{
		Path: b.path, Args: args, Env: t.environment(t.inside(dir)), Dir: dir, Linger: linger,
	})
	if err != nil {
		return Outcome{HandBack: err}
	}
	if o, ok := t.judge(exit); !ok {
		return o
	}
	o := readResult(dir, line)
	o.MemPeakKB = exit.MaxRSSKB
	return o
}

// prepare writes the script's files and returns the command line of bash, which
// everybody on the machine can read: hide keeps the parameters out of it.
func (b *Bash) prepare(dir, code string, params []string, hide bool) ([]string, error) {
	if err := os.WriteFile(filepath.Join(dir, scriptName), []byte(code), 0o600); err != nil {
		return nil, fmt.Errorf("write the script: %w", err)
	}
	total := 0
	for _, v := range params {
		total += len(v) + 1
	}
	if total <= argvBytes && !hide {
		return append([]string{"bash", scriptName}, params...), nil
	}
	var start strings.Builder
	start.Grow(total + 4*len(params) + 64)
	start.WriteString("BASH_ARGV0=" + scriptName + "\nset --")
	for _, v := range params {
		start.WriteString(" '" + strings.ReplaceAll(v, "'", `'\''`) + "'")
	}
	start.WriteString("\n. " + scriptName + "\n")
	if err := os.WriteFile(filepath.Join(dir, startName), []byte(start.String()), 0o600); err != nil {
		return nil, fmt.Errorf("write the arguments: %w", err)
	}
	return []string{"bash", startName}, nil
}

// bashValues returns the positional parameters for the declared names.
func bashValues(names []string, args json.RawMessage) ([]string, error) {
	values := make(map[string]json.RawMessage)
	if len(args) > 0 {
		if err := json.Unmarshal(args, &values); err != nil {
			return nil, errors.New("The arguments are not a JSON object.") //nolint:staticcheck // a sentence for the user
		}
	}
	params := make([]string, len(names))
	for i, name := range names {
		raw := bytes.TrimSpace(values[name])
		switch {
		case len(raw) == 0 || bytes.Equal(raw, []byte("null")):
		case raw[0] == '"':
			if err := json.Unmarshal(raw, &params[i]); err != nil {
				return nil, fmt.Errorf("The argument %q is not a valid string.", name) //nolint:staticcheck // a sentence for the user
			}
		default:
			var text bytes.Buffer
			if err := json.Compact(&text, raw); err != nil {
				return nil, fmt.Errorf("The argument %q is not valid JSON.", name) //nolint:staticcheck // a sentence for the user
			}
			params[i] = text.String()
		}
		if strings.IndexByte(params[i], 0) >= 0 {
			return nil, fmt.Errorf("The argument %q holds a NUL character, which bash cannot take.", name) //nolint:staticcheck // a sentence for the user
		}
	}
	return params, nil
}

// makeFolder makes the job's own folder, with a folder for temporary files in it.
func (t *Task) makeFolder() (string, error) {
	dir := filepath.Join(t.Dir, strconv.FormatInt(t.Execution, 10))
	if err := makeFolder(dir); err != nil {
		return "", err
	}
	t.setFolder(dir)
	return dir, nil
}

// setFolder says which folder is the job's, so that it is measured; "": none.
func (t *Task) setFolder(dir string) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.h.dir = dir
}

// inside returns where the job itself finds its folder.
func (t *Task) inside(dir string) string {
	if t.w.iso.Walls {
		return supervisor.JobDir
	}
	return dir
}

// removeFolder removes the job's folder.
func (t *Task) removeFolder(dir string) {
	t.setFolder("")
	t.w.removeTree(dir)
}

// removeTree removes the folder of a job that is gone, also if the job took away
// its own right to do so.
func (w *Worker) removeTree(dir string) {
	// What nearly every job leaves is removed without looking for more.
	_ = unix.Unlink(filepath.Join(dir, scriptName))
	_ = unix.Rmdir(filepath.Join(dir, tmpName))
	if unix.Rmdir(dir) == nil {
		return
	}
	if err := deps.RemoveAll(dir); err != nil {
		w.log.Warn("a job's folder could not be removed", "dir", dir, "err", err)
	}
}

// judge turns the end of a program that did not simply succeed into an outcome.
func (t *Task) judge(e supervisor.Exit) (Outcome, bool) {
	o := Outcome{MemPeakKB: e.MaxRSSKB}
	switch {
	case e.Err != nil:
		// Lack of memory or of processes is the machine's fault, not the job's.
		if errors.Is(e.Err, syscall.EAGAIN) || errors.Is(e.Err, syscall.ENOMEM) || errors.Is(e.Err, syscall.EMFILE) || errors.Is(e.Err, syscall.ETIME) {
			return Outcome{HandBack: e.Err}, false
		}
		return failed(FailureWorker, "The program could not be started: %v.", e.Err), false
	case e.Cause == supervisor.CauseLease:
		o.Failure = &Failure{FailureLease, "The worker could not reach the server for too long, and the job was ended."}
	case e.Cause == supervisor.CauseLost, e.Cause == supervisor.CauseClosed:
		o.Failure = &Failure{FailureLease, "The job's supervisor was killed, and the job with it."}
	case e.OutOfMemory && (e.Status.Signaled() || e.Status.ExitStatus() != 0):
		o.Failure = &Failure{FailureMemory, fmt.Sprintf("The job used more memory than it may (%d MiB), last log lines:\n%s", t.w.cfg.Limits.MemoryBytes>>20, t.LastLines())}
	case e.Status.Signaled():
		sig := e.Status.Signal()
		o.Failure = &Failure{FailureExecution, fmt.Sprintf("Killed by signal %d (%s), last log lines:\n%s", sig, unix.SignalName(sig), t.LastLines())}
	case e.Status.ExitStatus() != 0:
		o.Failure = &Failure{FailureExecution, fmt.Sprintf("ExitCode: %d, last log lines:\n%s", e.Status.ExitStatus(), t.LastLines())}
	}
	return o, o.Failure == nil
}

// readResult finds the result of a script that succeeded. A nil line is one that
// is too long.
func readResult(dir string, line []byte) Outcome {
	const file, text = "result.json", "result.out"
	tooLarge := func(what string) Outcome {
		return failed(FailureResult, "%s is larger than a result may be (%d bytes).", what, sluice.MaxResultBytes)
	}
	content, over, err := readBounded(filepath.Join(dir, file))
	switch {
	case err != nil:
		return failed(FailureResult, "%s could not be read: %v.", file, err)
	case over:
		return tooLarge(file)
	case len(content) > 0:
		var compact bytes.Buffer
		if err := json.Compact(&compact, content); err != nil {
			return failed(FailureResult, "%s is not valid JSON: %v.", file, err)
		}
		// Bytes that are no UTF-8 can stand in strings only.
		if clean := bytes.ToValidUTF8(compact.Bytes(), []byte("\ufffd")); len(clean) <= sluice.MaxResultBytes {
			return Outcome{Result: clean}
		}
		return tooLarge(file)
	}
	what := text
	content, over, err = readBounded(filepath.Join(dir, text))
	if err != nil {
		return failed(FailureResult, "%s could not be read: %v.", text, err)
	}
	if len(content) == 0 && !over {
		what, content, over = "The last line of standard output", line, line == nil
	}
	result, err := json.Marshal(string(content))
	if over || err != nil || len(result) > sluice.MaxResultBytes {
		return tooLarge(what)
	}
	return Outcome{Result: result}
}

// readBounded reads a regular file of at most MaxResultBytes; over says that it
// is larger. A file that does not exist is empty.
func readBounded(path string) (content []byte, over bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, errors.Unwrap(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, false, errors.New("it is not a regular file")
	}
	content, err = io.ReadAll(io.LimitReader(f, sluice.MaxResultBytes+1))
	if err != nil {
		return nil, false, errors.Unwrap(err)
	}
	return content, len(content) > sluice.MaxResultBytes, nil
}
