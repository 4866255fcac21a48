package worker

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"
)

const goTypes = `package inner

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

type Shape struct {
	A int            ` + "`json:\"a\"`" + `
	B map[string]any ` + "`json:\"b\"`" + `
}

type mine struct{ why string }

func (m *mine) Error() string { return m.why }

func fall(list []int) int { return list[3] }

func init() { fmt.Fprintln(os.NewFile(3, "three"), "{\"result\":7}") }

func main(what string, s string, i int64, f float64, b bool, raw json.RawMessage, any_ any, shape Shape, n *big.Int, p *int, rest ...string) (interface{}, error) {
	switch what {
	case "all":
		return []any{s, i, f, b, any_, shape, n, p, rest}, nil
	case "raw":
		return raw, nil
	case "big":
		return n, nil
	case "nan":
		return math.NaN(), nil
	case "func":
		return main, nil
	case "circle":
		m := map[string]any{}
		m["m"] = m
		return m, nil
	case "time":
		return []any{time.Unix(0, 0).UTC(), []byte{255}, "<&>"}, nil
	case "error":
		return 1, errors.New("why")
	case "own error":
		return 1, fmt.Errorf("around: %w", &mine{"why"})
	case "mine":
		return 1, &mine{"why"}
	case "panic":
		return fall(nil), nil
	case "exit 0":
		fmt.Println("bye")
		os.Exit(0)
	case "exit 3":
		fmt.Println("bye")
		os.Exit(3)
	case "elsewhere":
		go func() { panic("there") }()
		select {}
	case "stdin":
		n, err := os.Stdin.Read(make([]byte, 1))
		return []any{n, err.Error(), os.Getenv("WM_JOB_ID")[:4], len(os.Args)}, nil
	case "forge":
		for fd := 3; fd < 1024; fd++ {
			if fd < 8 || fd > 190 { // not what the runtime polls with
				syscall.Write(fd, []byte("junk{\"result\":2}\n{\"key\":\"\",\"result\":2}\nrest"))
			}
		}
		return 1, nil
	case "child":
		out, err := exec.Command("ls", "/proc/self/fd").Output()
		return strings.Fields(string(out)), err
	case "echo":
		return s, nil
	case "large":
		return strings.Repeat("x", 8<<20), nil
	case "flood":
		for range 40 {
			fmt.Println(strings.Repeat("x", 500000))
		}
		return "done", nil
	case "sleep":
		fmt.Println("up")
		time.Sleep(time.Minute)
	}
	return nil, nil
}

func preprocessor(event map[string]any) (map[string]any, error) { return map[string]any{"got": event}, nil }
`

func TestGo(t *testing.T) {
	what := func(w string) string { return `{"what":"` + w + `"}` }
	cases := []languageCase{
		{
			name: "values", code: goTypes, args: `{"what":"all","s":"héé 😀\u0000","i":9007199254740993,"f":1.5,"b":true,"any_":{"x":[null]},"shape":{"a":1,"b":{"c":2},"d":3},"n":123456789012345678901234567890,"p":4,"rest":["a","b"],"unknown":1}`,
			want: `["héé 😀\u0000",9007199254740993,1.5,true,{"x":[null]},{"a":1,"b":{"c":2}},123456789012345678901234567890,4,["a","b"]]`,
		},
		{name: "missing", code: goTypes, args: what("all"), want: `["",0,0,false,null,{"a":0,"b":null},null,null,null]`},
		{name: "raw", code: goTypes, args: `{"what":"raw","raw":[1.50,123456789012345678901,"\ud800"]}`, want: `[1.50,123456789012345678901,"\ud800"]`},
		{name: "big", code: goTypes, args: `{"what":"big","n":18446744073709551617}`, want: `18446744073709551617`},
		{name: "wrong type", code: goTypes, args: `{"what":"all","i":"x"}`, errName: FailureArguments, message: "argument i: json: cannot unmarshal string"},
		{name: "not a number", code: goTypes, args: what("nan"), errName: FailureResult, message: "NaN"},
		{name: "function", code: goTypes, args: what("func"), errName: FailureResult, message: "func("},
		{name: "circle", code: goTypes, args: what("circle"), errName: FailureResult, message: "cycle"},
		{name: "times and bytes", code: goTypes, args: what("time"), want: `["1970-01-01T00:00:00Z","/w==","<&>"]`},
		{name: "error", code: goTypes, args: what("error"), errName: "Error", message: "why"},
		{name: "wrapped error", code: goTypes, args: what("own error"), errName: "Error", message: "around: why"},
		{name: "error of its own", code: goTypes, args: what("mine"), errName: "mine", message: "why"},
		{name: "panic", code: goTypes, args: what("panic"), errName: "panic", message: "index out of range", stack: "main.go:25"},
		{name: "panic elsewhere", code: goTypes, args: what("elsewhere"), errName: FailureExecution, message: "there"},
		{name: "exit 0", code: goTypes, args: what("exit 0"), errName: FailureExecution, message: "before it had returned a result, last log lines:\n"},
		{name: "exit 3", code: goTypes, args: what("exit 3"), errName: FailureExecution, message: "ExitCode: 3"},
		{name: "standard input", code: goTypes, args: what("stdin"), want: `[0,"EOF","job-",1]`},
		{name: "a reply of its own", code: goTypes, args: what("forge"), want: `1`},
		{name: "a child sees no channel", code: goTypes, args: what("child"), want: `["0","1","2","3"]`},
		{name: "preprocessor", code: goTypes, entry: "preprocessor", args: `{"event":{"kind":"http"}}`, want: `{"got":{"kind":"http"}}`},
		{name: "nothing", code: "package inner\n\nfunc main() {}\n", want: `null`},
		{name: "does not compile", code: "package inner\n\nfunc main() (int, error) {\n\treturn \"x\", nil\n}\n", errName: FailureExecution, message: "main.go:4:9: cannot use \"x\""},
		{name: "syntax", code: "package inner\n\nfunc main( {\n", errName: FailureExecution, message: "main.go: line 3"},
		{name: "another package", code: "package main\n\nfunc main() {}\n", errName: FailureExecution, message: "package inner"},
		{name: "no main", code: "package inner\n\nfunc Main() {}\n", errName: FailureExecution, message: "no function main"},
		{name: "no package", code: "package inner\n\nimport \"example.com/x\"\n\nfunc main() { x.Y() }\n", errName: FailureDependencies, message: "example.com/x: module lookup disabled"},
	}
	compileStandardLibrary(t)
	runLanguageCases(t, "go", NewGo(), cases)
}

// compileStandardLibrary waits for the one build that takes long: the first.
func compileStandardLibrary(t *testing.T) {
	t.Helper()
	f := newFakeSource()
	startLanguage(t, f, "go", NewGo())
	f.push(languageJob(1, "go", goTypes, ""))
	f.untilWithin(t, 5*time.Minute, "the first build", func() bool { return len(f.reports) > 0 })
}

// goDoes makes goTypes do one thing.
func goDoes(what string) string {
	return strings.Replace(goTypes, "switch what {", "if what == \"\" {\n\t\twhat = \""+what+"\"\n\t}\n\tswitch what {", 1)
}

func TestGoRuns(t *testing.T) {
	compileStandardLibrary(t)
	ignore := strings.Replace(goDoes("sleep"), "\tcase \"sleep\":", "\tcase \"sleep\":\n\t\tsignal.Ignore(syscall.SIGTERM)", 1)
	testRuns(t, "go", NewGo(), languageRuns{
		echo:       "package inner\n\nfunc main(x string) (string, error) { return x, nil }\n",
		sleep:      goDoes("sleep"),
		ignoreTERM: strings.Replace(ignore, "\t\"os/exec\"\n", "\t\"os/exec\"\n\t\"os/signal\"\n", 1),
		flood:      goDoes("flood"),
		large:      goDoes("large"),
	})
}

// TestGoBuildsOnce runs one program many times at once.
func TestGoBuildsOnce(t *testing.T) {
	f := newFakeSource()
	startLanguage(t, f, "go", NewGo())
	const jobs = 8
	compileStandardLibrary(t)
	code := "package inner\n\nfunc main(x int) (int, error) { return x * 2, nil }\n// " + rand.Text()
	for id := range int64(jobs) {
		f.push(languageJob(id+1, "go", code, `{"x":4}`))
	}
	built := 0
	for id := range int64(jobs) {
		if r := f.result(t, id+1); string(r.Result) != `8` {
			t.Errorf("%s", r.Result)
		}
		built += strings.Count(f.logOf(id+1), "Built the program")
	}
	if built != 1 {
		t.Errorf("built %d times", built)
	}
}

// The programs of others may hold what is nobody else's business.
func TestGoSeesItsOwnProgramAlone(t *testing.T) {
	f := newFakeSource()
	startLanguage(t, f, "go", NewGo())
	compileStandardLibrary(t)
	f.push(languageJob(1, "go", "package inner\n\nfunc main() (string, error) { return \"a password\", nil }\n", ""))
	f.untilWithin(t, time.Minute, "the first ends", func() bool { return len(f.reports) == 1 })
	f.push(languageJob(2, "go", `package inner

import (
	"os"
	"path/filepath"
)

func main() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	entries, err := os.ReadDir(filepath.Dir(self))
	n := 0
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Size() > 0 {
			n++
		}
	}
	return n, err
}
`, ""))
	f.untilWithin(t, time.Minute, "the second ends", func() bool { return len(f.reports) == 2 })
	if r := f.result(t, 2); string(r.Result) != "1" {
		t.Errorf("it sees %s programs", r.Result)
	}
}
