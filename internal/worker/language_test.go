package worker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
)

// languageCase is a script with what is to become of it.
type languageCase struct {
	name, code, args string
	entry            string
	want             string // result of a success, as text
	errName, message string // name of a failure's error, part of its message
	stack            string // part of the error's stack
}

type thrown struct{ Name, Message, Stack string }

func thrownBy(t testing.TB, r sluice.Report) thrown {
	t.Helper()
	var v struct{ Error thrown }
	if err := json.Unmarshal(r.Result, &v); err != nil || r.Success {
		t.Fatalf("not a failure: %v %.300s", r.Success, r.Result)
	}
	return v.Error
}

func languageJob(id int64, language, code, args string) sluice.Assignment {
	a := bashJob(id, code, args)
	a.Language, a.Tag = language, language
	return a
}

// startLanguage runs a worker that knows one language.
func startLanguage(t testing.TB, f *fakeSource, language string, e Executor) *Worker {
	t.Helper()
	if r, ok := e.(Runtime); ok && r.Available() != nil {
		t.Fatalf("%v; make setup installs it", r.Available())
	}
	cache, err := os.UserCacheDir() // compilers fill it once
	if err != nil {
		t.Fatal(err)
	}
	w, _ := startWorker(t, f, func(c *Config) {
		c.Cache = filepath.Join(cache, "sluice-tests")
		// No test asks a registry elsewhere.
		c.Dependencies.PipNoIndex, c.Dependencies.GoProxy, c.Dependencies.NPMRegistry = true, "off", "http://127.0.0.1:1"
		c.Tags, c.Executors = []string{language}, map[string]Executor{language: e}
	})
	return w
}

func runLanguageCases(t *testing.T, language string, e Executor, cases []languageCase) {
	t.Helper()
	f := newFakeSource()
	startLanguage(t, f, language, e)
	for i, c := range cases {
		a := languageJob(int64(i+1), language, c.code, c.args)
		a.Entry = c.entry
		f.push(a)
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := f.result(t, int64(i+1))
			if c.errName == "" {
				if !r.Success || string(r.Result) != c.want || !r.Launched {
					t.Errorf("success %v, launched %v\n got %.500s\nwant %.500s\nlog: %.1000s", r.Success, r.Launched, r.Result, c.want, f.logOf(int64(i+1)))
				}
				return
			}
			got := thrownBy(t, r)
			if got.Name != c.errName || !strings.Contains(got.Message, c.message) || !strings.Contains(got.Stack, c.stack) {
				t.Errorf("got %+v\nwant %s, %q, %q\nlog: %.1000s", got, c.errName, c.message, c.stack, f.logOf(int64(i+1)))
			}
			if strings.Contains(got.Stack, "wrapper") {
				t.Errorf("the stack shows what is ours:\n%s", got.Stack)
			}
		})
	}
}

// testRuns tries what is the same in every language: code is that of the language.
type languageRuns struct {
	echo       string // returns its argument x
	sleep      string // prints "up", then sleeps for ever
	ignoreTERM string // ignores TERM, prints "up", then sleeps for ever
	flood      string // prints much more than a log holds, then returns "done"
	large      string // returns a text of more than the bound
}

func testRuns(t *testing.T, language string, e Executor, runs languageRuns) {
	t.Helper()
	f := newFakeSource()
	startLanguage(t, f, language, e)
	t.Run("1 MiB in and out", func(t *testing.T) {
		args, err := json.Marshal(map[string]string{"x": strings.Repeat("0123456789abcdé<", 1<<16)})
		if err != nil {
			t.Fatal(err)
		}
		f.push(languageJob(1, language, runs.echo, string(args)))
		var v map[string]string
		_ = json.Unmarshal(args, &v)
		var got string
		if r := f.result(t, 1); !r.Success || json.Unmarshal(r.Result, &got) != nil || got != v["x"] {
			t.Errorf("%v %.200s %d bytes", r.Success, r.Result, len(r.Result))
		}
	})
	t.Run("too large", func(t *testing.T) {
		f.push(languageJob(2, language, runs.large, ""))
		if got := thrownBy(t, f.result(t, 2)); got.Name != FailureResult {
			t.Errorf("%+v", got)
		}
	})
	t.Run("flood", func(t *testing.T) {
		f.push(languageJob(3, language, runs.flood, ""))
		if r := f.result(t, 3); string(r.Result) != `"done"` {
			t.Errorf("%.300s", r.Result)
		}
		if log := f.logOf(3); len(log) != sluice.MaxLogBytes {
			t.Errorf("the log has %d bytes", len(log))
		}
	})
	for i, code := range []string{runs.sleep, runs.ignoreTERM} {
		t.Run([]string{"time-out", "TERM ignored"}[i], func(t *testing.T) {
			a := languageJob(int64(4+i), language, code, "")
			a.Timeout = 2 * time.Second
			f.push(a)
			if got := thrownBy(t, f.result(t, int64(4+i))); got.Name != FailureTimeout {
				t.Errorf("%+v", got)
			}
			if log := f.logOf(int64(4 + i)); !strings.HasSuffix(log, "up\n") {
				t.Errorf("log %q", log)
			}
		})
	}
	if dirs, err := os.ReadDir(t.TempDir()); err != nil || len(dirs) > 0 {
		t.Errorf("%v %v", dirs, err)
	}
}
