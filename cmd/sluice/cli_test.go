package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"sluice"
	"sluice/client"
)

// kong reads the real environment; these tests must not.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "SLUICE_") || name == "SUPERADMIN_SECRET" {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
}

// The token comes from the flag, else the environment, else the file of the
// local server; and the file's is never sent to another machine.
func TestWhereTheTokenComesFrom(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, tokenFile), []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args, env string
		data      string
		want      string
	}{
		"flag before all":     {args: " --token from-flag", env: "from-env", data: dir, want: "Bearer from-flag"},
		"environment":         {env: "from-env", data: dir, want: "Bearer from-env"},
		"file of the server":  {data: dir, want: "Bearer from-file"},
		"nothing":             {data: t.TempDir(), want: ""},
		"a folder is no file": {data: filepath.Join(dir, tokenFile), want: ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			if tt.env != "" {
				t.Setenv("SLUICE_TOKEN", tt.env)
			}
			got := "no request"
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r.Header.Get("Authorization")
				fmt.Fprint(w, "[]")
			}))
			defer srv.Close()
			a, out := terminal(map[string]string{"SLUICE_DATA": tt.data})
			if status := a.run(t.Context(), strings.Fields("jobs list --json --url "+srv.URL+tt.args)); status != 0 {
				t.Fatalf("exit status %d: %s", status, out)
			}
			if got != tt.want {
				t.Errorf("sent %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTokenFileIsForThisMachine(t *testing.T) {
	for address, want := range map[string]bool{
		"http://127.0.0.1:8000": true, "http://localhost:1": true, "http://[::1]:8000": true, "http://127.9.9.9": true,
		"http://10.0.0.1:8000": false, "https://jobs.example.org": false, "http://127.0.0.1.example.org": false, "::": false,
	} {
		if got := onThisMachine(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func TestURLAndWorkspacePrecedence(t *testing.T) {
	clearEnvironment(t)
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.Path
		fmt.Fprint(w, "[]")
	}))
	defer srv.Close()
	t.Setenv("SLUICE_URL", srv.URL)
	t.Setenv("SLUICE_WORKSPACE", "from-env")
	for args, want := range map[string]string{
		"jobs list --json":              "/api/w/from-env/jobs/list",
		"jobs list --json -w from-flag": "/api/w/from-flag/jobs/list",
	} {
		a, out := terminal(nil)
		if status := a.run(t.Context(), strings.Fields(args)); status != 0 || got != want {
			t.Errorf("%s: asked for %s, exit status %d: %s", args, got, status, out)
		}
	}
	a, out := terminal(nil)
	if status := a.run(t.Context(), strings.Fields("jobs list --url http://127.0.0.1:1")); status != 9 {
		t.Errorf("the flag did not win: exit status %d: %s", status, out)
	}
}

func TestExitStatuses(t *testing.T) {
	codes := []sluice.Code{
		sluice.CodeInvalid, sluice.CodeNotFound, sluice.CodeUnauthorized, sluice.CodeForbidden, sluice.CodeConflict,
		sluice.CodeLimited, sluice.CodeTooLarge, sluice.CodeUnavailable, sluice.CodeInternal,
	}
	if len(exitOf) != len(codes)+1 {
		t.Errorf("the table has %d rows for %d codes and success", len(exitOf), len(codes))
	}
	used := map[int]bool{exitJobFailed: true, exitInterrupted: true}
	for _, code := range codes {
		status := exitStatus(fmt.Errorf("wrapped: %w", sluice.Errorf(code, "x")))
		if used[status] || status == 0 {
			t.Errorf("%s has the exit status %d, which is taken", code, status)
		}
		used[status] = true
		if !strings.Contains(about, fmt.Sprintf(" %d ", status)) {
			t.Errorf("the help does not mention %d", status)
		}
	}
	for err, want := range map[error]int{nil: 0, errors.New("x"): 10, errJobFailed: 1, fmt.Errorf("x: %w", errUsage): 2} {
		if got := exitStatus(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestInterruptedStatus(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer srv.Close()
	a, out := terminal(nil)
	if status := a.run(ctx, []string{"jobs", "list", "--url", srv.URL}); status != exitInterrupted {
		t.Errorf("exit status %d: %s", status, out)
	}
}

func TestKeepToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), tokenFile)
	first, err := keepToken(path, "")
	if err != nil || len(first) != 64 {
		t.Fatalf("drew %q, error %v", first, err)
	}
	steps := []struct{ given, want string }{{"", first}, {"mine", "mine"}, {"", "mine"}}
	for _, s := range steps {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := keepToken(path, s.given)
		info, statErr := os.Stat(path)
		if err != nil || statErr != nil || got != s.want || info.Mode().Perm() != 0o600 || readToken(path) != s.want {
			t.Errorf("given %q: got %q, error %v, mode %v, file %q", s.given, got, err, info.Mode(), readToken(path))
		}
	}
	if _, err := keepToken(path, "two words"); sluice.CodeOf(err) != sluice.CodeInvalid {
		t.Errorf("a token of two words: %v", err)
	}
}

func TestBanner(t *testing.T) {
	tests := map[string]struct {
		addr     string
		cmd      serverCmd
		password string
	}{
		"banner_default":   {"127.0.0.1:8000", serverCmd{Data: "./data", Workers: 4, Tags: []string{"bash"}, Seed: true, Grace: 10 * time.Second}, ""},
		"banner_elsewhere": {"0.0.0.0:9000", serverCmd{Data: "/srv/my jobs", Tags: []string{"bash"}, Grace: 90 * time.Second}, ""},
		"banner_first":     {"127.0.0.1:8000", serverCmd{Data: "./data", Workers: 4, Tags: []string{"bash"}, Grace: 10 * time.Second}, "abcdefghijklmnopqrstuvwxyz"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			address, err := net.ResolveTCPAddr("tcp", tt.addr)
			if err != nil {
				t.Fatal(err)
			}
			a, out := terminal(nil)
			v := &server{cmd: &tt.cmd, password: tt.password, token: strings.Repeat("0123456789abcdef", 4), listener: fakeListener{address}}
			v.banner(a)
			compare(t, filepath.Join("testdata", "golden", name+".txt"), out.String())
			for _, line := range strings.Split(out.String(), "\n") {
				if textWidth(line) > 80 {
					t.Errorf("wider than 80 columns: %q", line)
				}
			}
			out.Reset()
			a.tty = false // into the journal, which others read
			v.banner(a)
			if text := out.String(); strings.Contains(text, v.token) || tt.password != "" && strings.Contains(text, tt.password) {
				t.Errorf("a secret in a log: %s", text)
			}
		})
	}
}

type fakeListener struct{ addr net.Addr }

func (f fakeListener) Addr() net.Addr          { return f.addr }
func (fakeListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (fakeListener) Close() error              { return nil }

func TestServerFlagsAreChecked(t *testing.T) {
	clearEnvironment(t)
	for args, want := range map[string]string{
		"--workers -1":          "--workers",
		"--database mysql://x":  "--database",
		"--database sqlite:":    "--database",
		"--tls-cert cert.pem":   "--tls-cert",
		"--grace -1s":           "--grace",
		"--session-lifetime 1s": "--session-lifetime",
		"--addr 256.0.0.1:1":    "--addr",
		"--lost-after 61s":      "lost_after",
		"--log-level loud":      "--log-level",
	} {
		a, out := terminal(nil)
		line := append([]string{"server", "--data", t.TempDir()}, strings.Fields(args)...)
		if !strings.Contains(args, "--addr") {
			line = append(line, "--addr", "127.0.0.1:0")
		}
		if status := a.run(t.Context(), line); status != 2 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit status %d: %s", args, status, out)
		}
	}
}

func TestReadScript(t *testing.T) {
	root := fstest.MapFS{
		"f/a.sh": {Data: []byte("echo a\n")},
		"f/a.script.yaml": {Data: []byte(`summary: A
lock: '!inline f/a.script.lock'
concurrent_limit: 3
concurrency_key: 'k-$args[x]'
tag: null
since: 2026-01-02
big: 123456789012345678901234567890
hex: 0x10
schema:
  type: object
  properties: {x: {type: integer, default: 1.50}}
  required: [x]
`)},
		"f/a.script.lock": {Data: []byte("locked\n")},
		"f/bare.sh":       {Data: []byte("echo b\n")},
		"f/wrong.sh":      {Data: []byte("echo c\n")}, "f/wrong.script.yaml": {Data: []byte("a: 1\na: 2\n")},
		"f/list.sh": {Data: []byte("echo d\n")}, "f/list.script.yaml": {Data: []byte("- a\n")},
		"f/x.flow/step.sh": {Data: []byte("echo e\n")}, ".git/hook.sh": {Data: []byte("echo f\n")}, "f/later.php": {},
	}
	for name, language := range map[string]string{
		"a.sh": "bash", "a.py": "python3", "a.ts": "bun", "a.bun.ts": "bun", "a.deno.ts": "deno", "a.fetch.ts": "nativets", "a.go": "go", "a.pg.sql": "postgresql",
	} {
		root["f/of/"+name] = &fstest.MapFile{Data: []byte("code")}
		body, err := readScript(root, "f/of/"+name)
		if err != nil || body["language"] != language || body["path"] != "f/of/a" || body["content"] != "code" {
			t.Errorf("%s: %v, error %v", name, body, err)
		}
		delete(root, "f/of/"+name)
	}
	found, err := findFiles(root)
	want := files{scripts: []string{"f/a.sh", "f/bare.sh", "f/list.sh", "f/wrong.sh"}, flows: []string{"f/x.flow"}, left: []string{"f/later.php"}}
	if err != nil || !reflect.DeepEqual(found, want) {
		t.Errorf("found %v, error %v", found, err)
	}
	body, err := readScript(root, "f/a.sh")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	text := `{"big":123456789012345678901234567890,"concurrency_key":"k-$args[x]","concurrent_limit":3,"content":"echo a\n",` +
		`"description":"","hex":16,"kind":"script","language":"bash","lock":"locked\n","path":"f/a",` +
		`"schema":{"properties":{"x":{"default":1.50,"type":"integer"}},"required":["x"],"type":"object"},` +
		`"since":"2026-01-02","summary":"A","tag":null}`
	if string(got) != text {
		t.Errorf("got  %s\nwant %s", got, text)
	}
	if body, err = readScript(root, "f/bare.sh"); err != nil || body["content"] != "echo b\n" || body["kind"] != "script" {
		t.Errorf("without settings: %v, error %v", body, err)
	}
	for _, name := range []string{"f/wrong", "f/list"} {
		if _, err := readScript(root, name+".sh"); sluice.CodeOf(err) != sluice.CodeInvalid || !strings.HasPrefix(err.Error(), name+".script.yaml: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A document that repeats itself without end is refused, not unfolded.
func TestYAMLIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	if _, err := decodeYAML(b.String()); err == nil {
		t.Error("it was accepted")
	}
}

func TestArguments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "args.json")
	if err := os.WriteFile(file, []byte(" {\"a\": 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{
		"": "{}", `{"a":1}`: `{"a":1}`, "@" + file: `{"a": 1}`, "@-": `{"stdin":true}`,
		"[1]": "error", "{": "error", "@/nowhere": "error", "null": "error",
	} {
		a, _ := terminal(nil)
		a.in = strings.NewReader(`{"stdin":true}`)
		got, err := (&runFlags{Data: data}).arguments(a)
		if want == "error" && sluice.CodeOf(err) != sluice.CodeInvalid || want != "error" && string(got) != want {
			t.Errorf("-d %q: got %s, error %v", data, got, err)
		}
	}
}

func TestTextForTerminals(t *testing.T) {
	if got, want := clean("a\x1b[31m\n\xff\u202eé日"), `a\x1b[31m\n\xff\u202eé日`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := logText("\x1b[1;31mred\x1b[0m\x1b]0;title\a\r\n", true), "\x1b[1;31mred\x1b[0m\\x1b]0;title\\a\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if raw := "\x1b]0;title\a"; logText(raw, false) != raw {
		t.Error("what goes to a file was changed")
	}
	for s, want := range map[string]string{"plain/key-1.2": "plain/key-1.2", "": "''", "it's *": `'it'\''s *'`} {
		if got := shellWord(s); got != want {
			t.Errorf("%q for a shell: %s", s, got)
		}
	}
	for n := range 8 {
		for _, s := range []string{"abcdefghij", "日本語日本語", "a日b本c"} {
			for name, got := range map[string]string{"cut": cut(s, n+1), "cutMiddle": cutMiddle(s, n+1)} {
				if textWidth(got) > n+1 {
					t.Errorf("%s(%q, %d) = %q is too wide", name, s, n+1, got)
				}
			}
		}
	}
	if got := fmt.Sprint(wrap("one two three "+strings.Repeat("x", 45), 20)); got != "[one two three "+strings.Repeat("x", 20)+" "+strings.Repeat("x", 20)+" xxxxx]" {
		t.Error(got)
	}
}

func TestWords(t *testing.T) {
	spelled := map[time.Duration]string{
		-1: "0 s", 1: "1 ms", 420 * time.Millisecond: "420 ms", 1500 * time.Millisecond: "1.5 s", 2 * time.Second: "2 s",
		59*time.Second + 999*time.Millisecond: "59 s", 61 * time.Second: "1 min 1 s", time.Hour: "1 h", 25 * time.Hour: "1 d 1 h",
	}
	for d, want := range spelled {
		if got := spell(d); got != want {
			t.Errorf("spell(%v) = %q, want %q", d, got, want)
		}
	}
	for d := time.Millisecond; d < 9000*time.Hour; d = d*3/2 + 1 {
		if got := brief(d); len(got) > 5 {
			t.Errorf("brief(%v) = %q", d, got)
		}
	}
	for n, want := range map[int64]string{1: "1st", 2: "2nd", 3: "3rd", 11: "11th", 12: "12th", 113: "113th", 1021: "1,021st"} {
		if got := ordinal(n); got != want {
			t.Errorf("ordinal(%d) = %q", n, got)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q", n, got)
		}
	}
	for d, want := range map[time.Duration]time.Duration{
		0: time.Millisecond, 3 * time.Millisecond: 5 * time.Millisecond, 700 * time.Millisecond: time.Second, 179 * time.Second: 5 * time.Minute,
		31 * time.Minute: time.Hour, 3 * time.Hour: 4 * time.Hour,
	} {
		if got := roundStep(d); got != want {
			t.Errorf("roundStep(%v) = %v, want %v", d, got, want)
		}
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	a, out := terminal(nil)
	p := a.progress("Running", 10)
	p.set(5, "")
	p.done()
	if out.Len() > 0 {
		t.Errorf("drew %q without a terminal", out)
	}
	a.live = true
	p = a.progress("Running", 10)
	p.set(5, "(1 failed)")
	p.done()
	if want := "\r\x1b[KRunning ███████████████░░░░░░░░░░░░░░░  50 %  5 of 10  (1 failed)\r\x1b[K"; out.String() != want {
		t.Errorf("drew %q, want %q", out, want)
	}
}

// A lock that a dead server's processes still hold keeps its file; when it is
// free the instance is given up once, and the file goes.
func TestInstanceRecovery(t *testing.T) {
	dir := t.TempDir()
	dead, err := lockInstance(dir, "dead")
	if err != nil {
		t.Fatal(err)
	}
	alive, err := lockInstance(dir, "alive")
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		given []string
	)
	gone := func(_ context.Context, name string) error {
		mu.Lock()
		defer mu.Unlock()
		given = append(given, name)
		return nil
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if left, err := alive.recoverOnce(t.Context(), gone, log); left != 1 || err != nil || len(given) != 0 {
		t.Fatalf("while it is held: %d left, gave up %v, error %v", left, given, err)
	}
	dead.file.Close() // as when its last process ends
	alive.recover(t.Context(), gone, log)
	if !slices.Equal(given, []string{"dead"}) {
		t.Errorf("gave up %v", given)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "alive" {
		t.Errorf("files left: %v, error %v", left, err)
	}
	alive.release()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("files left at the end: %v", left)
	}
}

// Ends that the stream tells are counted once, and a gap is filled by reading.
func TestAwaitAll(t *testing.T) {
	var mu sync.Mutex
	connections := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, ok := strings.CutPrefix(r.URL.Path, "/api/w/main/jobs_u/get/"); ok {
			fmt.Fprintf(w, `{"id":%q,"type":"CompletedJob","success":false,"canceled":%v}`, id, id == "c")
			return
		}
		mu.Lock()
		connections++
		n := connections
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		if n == 2 {
			for range 2 {
				fmt.Fprint(w, "id: 7\nevent: job\ndata: {\"id\":\"a\",\"type\":\"CompletedJob\",\"success\":true}\n\n")
			}
		}
	}))
	defer srv.Close()
	c, err := client.New(client.Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := c.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	a, _ := terminal(nil)
	got, err := a.awaitAll(t.Context(), c, stream, []string{"b", "c"})
	if err != nil || got.Failed != 1 || got.Canceled != 1 || got.Succeeded != 0 {
		t.Errorf("got %+v, error %v", got, err)
	}
	var out bytes.Buffer
	a.out = &out
	if err := (&runCmd{}).report(a, got); !errors.Is(err, errJobFailed) {
		t.Errorf("reported %v", err)
	}
}

// What a job streams is asked for once, and shown beside its log.
func TestFollowShowsTheStream(t *testing.T) {
	clearEnvironment(t)
	asked := []string{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if !strings.Contains(r.URL.Path, "/getupdate/") {
			fmt.Fprint(w, `{"id":"`+fixtureJob+`","type":"CompletedJob","success":true,"result":"done"}`)
			return
		}
		q := r.URL.Query()
		asked = append(asked, q.Get("log_offset")+" "+q.Get("stream_offset"))
		switch {
		case q.Get("stream_offset") == "" && len(asked) == 1:
			fmt.Fprint(w, `{"running":true,"new_result_stream":"h\u00e9 😀","stream_offset":5}`)
		case q.Get("log_offset") == "0":
			fmt.Fprint(w, `{"running":true,"new_logs":"a line\n","log_offset":7,"stream_offset":5}`)
		default:
			fmt.Fprint(w, `{"completed":true,"log_offset":7,"stream_offset":5}`)
		}
	}))
	defer srv.Close()
	for command, want := range map[string]string{"tail": "hé 😀\na line\ndone\n", "logs -f": "a line\n"} {
		asked = asked[:0]
		a, out := terminal(nil)
		args := append(append([]string{"jobs"}, strings.Fields(command)...), fixtureJob, "--url", srv.URL)
		if status := a.run(t.Context(), args); status != 0 || out.String() != want {
			t.Errorf("%s: status %d, %q", command, status, out)
		}
		if got := strings.Join(asked, ", "); got != "0 , 0 5, 7 5" {
			t.Errorf("%s: asked for %s", command, got)
		}
	}
}
