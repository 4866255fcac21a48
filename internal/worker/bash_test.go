package worker

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/worker/supervisor"
)

func TestBashValues(t *testing.T) {
	args := json.RawMessage(`{"s":"a b\n\n","n":1.50,"o":{ "x" : [1, 2] },"z":null,"b":true,"e":"","nul":"a\u0000b","big":123456789012345678901}`)
	got, err := bashValues([]string{"s", "n", "o", "z", "", "b", "absent", "e", "big"}, args)
	want := []string{"a b\n\n", "1.50", `{"x":[1,2]}`, "", "", "true", "", "", "123456789012345678901"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := bashValues([]string{"nul"}, args); err == nil || !strings.Contains(err.Error(), `"nul"`) {
		t.Errorf("NUL: %v", err)
	}
	if _, err := bashValues([]string{"s"}, json.RawMessage(`[1]`)); err == nil {
		t.Error("an array was taken for arguments")
	}
}

func TestBashResults(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	big := fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", sluice.MaxResultBytes)
	tests := []struct {
		name, code, args string
		want             string // result of a success
		failure, message string // name of a failure, part of its message
	}{
		{"last line", "echo one; echo two", "", `"two"`, "", ""},
		{"no newline at the end", "printf 'one\\ntwo'", "", `"two"`, "", ""},
		{"nothing", "true", "", `""`, "", ""},
		{"stderr is no result", "echo out; echo err >&2", "", `"out"`, "", ""},
		{"stderr by name", "echo out; echo err >/dev/stderr", "", `"out"`, "", ""},
		{"stdout by name", "echo out >/dev/stdout", "", `"out"`, "", ""},
		{"result.json", "echo no; echo '{ \"a\": 1 }' >result.json", "", `{"a":1}`, "", ""},
		{"result.out", "echo no; printf 'some\\ntext' >result.out", "", `"some\ntext"`, "", ""},
		{"json before out", "echo 1 >result.json; echo 2 >result.out", "", `1`, "", ""},
		{"bad json", "echo '{' >result.json", "", "", FailureResult, "result.json is not valid JSON"},
		{"a link", "ln -s /etc/passwd result.json", "", "", FailureResult, "could not be read"},
		{"a fifo", "mkfifo result.json", "", "", FailureResult, "not a regular file"},
		{"line too long", big + "; echo", "", "", FailureResult, "The last line of standard output is larger"},
		{"file too large", big + " >result.out", "", "", FailureResult, "result.out is larger"},
		{"exit status", "echo before; echo why >&2; exit 3", "", "", FailureExecution, "ExitCode: 3, last log lines:\nbefore\nwhy\n"},
		{"signal", "kill -SEGV $$", "", "", FailureExecution, "SIGSEGV"},
		{"TERM to itself", "kill -TERM $$; sleep 5", "", "", FailureExecution, "SIGTERM"},
		{"syntax", "if then", "", "", FailureExecution, "ExitCode: 2"},
		{"arguments", `a="$1"; b="${2:-dflt}"; c="${3}"; echo "$a|$b|$c|$#"`, `{"a":"x  y","c":{"k": [1]}}`, `"x  y|dflt|{\"k\":[1]}|3"`, "", ""},
		{"name of the script", `a=$1; echo "$0 ${BASH_SOURCE[0]}"`, "", `"./main.sh ./main.sh"`, "", ""},
		{"NUL argument", "a=$1", `{"a":"\u0000"}`, "", FailureArguments, "NUL"},
		{"process substitution is not cut short", "echo x > >(read l; sleep 0.05; echo \"got $l\" > result.out)", "", `"got x\n"`, "", ""},
		{"closed output", "exec >&- 2>&-; true", "", `""`, "", ""},
	}
	for i, tt := range tests {
		f.push(bashJob(int64(i+1), tt.code, tt.args))
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := f.result(t, int64(i+1))
			if tt.failure == "" {
				if !r.Success || string(r.Result) != tt.want || !r.Launched {
					t.Errorf("got %.200s %+v, want %s", r.Result, r.Success, tt.want)
				}
				return
			}
			if g := failure(t, r); g.Name != tt.failure || !strings.Contains(g.Message, tt.message) {
				t.Errorf("got %+v", g)
			}
			if want := tt.failure != FailureArguments; r.Launched != want {
				t.Errorf("launched: %v", r.Launched)
			}
		})
	}
}

func TestBashLargeArguments(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	large := strings.Repeat("it's \"big\" $HOME \\ \n", 1<<20/20) + "\n\n"
	args, err := json.Marshal(map[string]any{"a": large, "b": large, "c": "small"})
	if err != nil {
		t.Fatal(err)
	}
	f.push(bashJob(1, `a="$1"; b=$2; c=$3
[[ "${BASH_SOURCE[0]}" == "$0" ]] || exit 9
printf %s "$a" | sha256sum >sum; printf %s "$b" | sha256sum >>sum
echo "${#a} ${#b} $c $(uniq sum | wc -l) $(tail -c 2 <<<"$a" | wc -l)"`, string(args)))
	want := fmt.Sprintf(`"%d %d small 1 2"`, len(large), len(large))
	if r := f.result(t, 1); string(r.Result) != want {
		t.Errorf("got %.300s, want %s", r.Result, want)
	}
}

func TestEnvironmentIsMinimal(t *testing.T) {
	t.Setenv("SECRET_OF_THE_SERVER", "x")
	f := newFakeSource()
	w, _ := startWorker(t, f, func(c *Config) { c.BaseURL = "http://127.0.0.1:8000" })
	f.push(bashJob(7, "env | sort; ls -a; pwd; umask; cat /proc/self/status | grep -E '^Sig(Ign|Blk)'; ls /proc/self/fd", ""))
	f.result(t, 7)
	dir := w.dir + "/7"
	if w.iso.Walls {
		dir = supervisor.JobDir
	}
	want := strings.Join([]string{
		"BASE_INTERNAL_URL=http://127.0.0.1:8000",
		"BASE_URL=http://127.0.0.1:8000",
		"HOME=" + dir,
		"LANG=C.UTF-8",
		"PATH=" + jobPath,
		"PWD=" + dir,
		"SHLVL=1",
		"SLUICE_ATTEMPT=1",
		"TMPDIR=" + dir + "/tmp",
		"WM_BASE_URL=http://127.0.0.1:8000",
		"WM_EMAIL=ann@example.com",
		"WM_FLOW_JOB_ID=",
		"WM_FLOW_PATH=",
		"WM_FLOW_STEP_ID=",
		"WM_JOB_ID=job-7",
		"WM_JOB_PATH=f/x/a",
		"WM_OBJECT_PATH=f_x_a/job-7",
		"WM_PERMISSIONED_AS=u/ann",
		"WM_ROOT_FLOW_JOB_ID=",
		"WM_SCHEDULED_FOR=2026-01-02T03:04:05Z",
		"WM_SCHEDULE_PATH=",
		"WM_STATE_PATH=f/x/a_state",
		"WM_STATE_PATH_NEW=f/x/a_state",
		"WM_TOKEN=",
		"WM_USERNAME=ann",
		"WM_WORKSPACE=demo",
		"_=/usr/bin/env",
		".", "..", "main.sh", "tmp",
		dir,
		"0022",
		"SigBlk:\t0000000000000000",
		"SigIgn:\t0000000000000000",
		"0", "1", "2", "3", "",
	}, "\n")
	if got := f.logOf(7); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if left, _ := os.ReadDir(w.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLogOrder(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&want, "%d\n", i)
	}
	for id := range int64(4) {
		f.push(bashJob(id+1, "for ((i=0; i<1000; i+=2)); do echo $i; echo $((i+1)) >&2; done", ""))
	}
	for id := range int64(4) {
		r := f.result(t, id+1)
		if got := f.logOf(id + 1); got != want.String() {
			t.Errorf("job %d: out of order, or not all: %d bytes", id+1, len(got))
		}
		if string(r.Result) != `"998"` {
			t.Errorf("result %s", r.Result)
		}
	}
}

func TestLogIsPromptAndTakesAnyBytes(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	f.push(bashJob(1, `printf 'a\0\xff\xfe\r\n'; until [ -e go ]; do sleep 0.01; done; echo end`, ""))
	start := time.Now()
	f.until(t, "the first line", func() bool { return len(f.logs[1]) > 0 })
	if d := time.Since(start); d > time.Second { // 250 ms, and the start of the job on a busy machine
		t.Errorf("the log came after %v", d)
	}
	if got := f.logOf(1); got != "a\x00\xff\xfe\r\n" {
		t.Errorf("got %q", got)
	}
	f.order(sluice.Order{Execution: 1, Kill: true})
	f.result(t, 1)
}

func TestLogIsCutAndTheJobGoesOn(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f.push(bashJob(1, "head -c "+flood+" /dev/zero; echo; echo the end", ""))
	r := f.result(t, 1)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if string(r.Result) != `"the end"` {
		t.Errorf("result %.100s", r.Result)
	}
	log := f.logOf(1)
	if len(log) != sluice.MaxLogBytes || !strings.HasSuffix(log, cutMark()) {
		t.Errorf("%d bytes, ending in %q", len(log), log[max(0, len(log)-100):])
	}
	// The source of this test keeps the log itself, twice.
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 120<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

func TestAppendLogIsRetried(t *testing.T) {
	f := newFakeSource()
	fails := 3
	f.onAppend = func(sluice.LogChunk) error {
		if fails--; fails >= 0 {
			return sluice.Errorf(sluice.CodeUnavailable, "not now")
		}
		return nil
	}
	startWorker(t, f, nil)
	f.push(bashJob(1, "for ((i=0; i<20000; i++)); do echo $i some more text to fill the buffer; done; head -c 3M /dev/zero | tr '\\0' '\\n'", ""))
	if r := f.result(t, 1); !r.Success {
		t.Fatalf("%s", r.Result)
	}
	lines := strings.Split(f.logOf(1), "\n")
	if len(lines) != 20000+3<<20+1 || !strings.HasPrefix(lines[19999], "19999 ") {
		t.Errorf("%d lines", len(lines))
	}
}

func TestLogThatIsRefusedDoesNotStopTheJob(t *testing.T) {
	f := newFakeSource()
	f.onAppend = func(sluice.LogChunk) error { return sluice.Errorf(sluice.CodeInvalid, "no") }
	startWorker(t, f, nil)
	f.push(bashJob(1, "head -c 5M /dev/zero; echo; echo done", ""))
	if r := f.result(t, 1); string(r.Result) != `"done"` {
		t.Errorf("%s", r.Result)
	}
}

func TestLastLine(t *testing.T) {
	text := "one\ntwo\n\nthree\nfo"
	for cut := range len(text) {
		for end := cut; end <= len(text); end++ {
			var l lastLine
			l.feed([]byte(text[:cut]))
			l.feed([]byte(text[cut:end]))
			got, _ := l.result()
			lines := strings.Split(strings.TrimSuffix(text[:end], "\n"), "\n")
			if want := lines[len(lines)-1]; string(got) != want {
				t.Fatalf("%q + %q: got %q, want %q", text[:cut], text[cut:end], got, want)
			}
		}
	}
	var l lastLine
	for range 3 {
		l.feed(make([]byte, sluice.MaxResultBytes/2))
	}
	if _, ok := l.result(); ok {
		t.Error("a line that is too long was taken")
	}
	l.feed([]byte("\nok\n"))
	if got, ok := l.result(); !ok || !reflect.DeepEqual(got, []byte("ok")) {
		t.Errorf("%q %v", got, ok)
	}
}
