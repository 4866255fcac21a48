package expr

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func pool(t testing.TB, o Options) *Pool {
	t.Helper()
	p := New(o)
	t.Cleanup(p.Close)
	return p
}

var values = map[string]json.RawMessage{
	"flow_input":      json.RawMessage(`{"n":3,"name":"Ada","list":[1,2,3],"deep":{"a":{"b":null}},"big":9007199254740993}`),
	"results":         json.RawMessage(`{"a":{"rows":[{"id":1},{"id":2}]},"b":"x"}`),
	"previous_result": json.RawMessage(`"before"`),
	"result":          json.RawMessage(`{"error":{"message":"no"}}`),
}

func TestMeaning(t *testing.T) {
	p := pool(t, Options{})
	for _, c := range []struct{ expr, value, err string }{
		{expr: "1 + 2", value: "3"},
		{expr: "flow_input.n > 2 && results.b === 'x'", value: "true"},
		{expr: "results.a.rows.map(r => r.id * 10)", value: "[10,20]"},
		{expr: "{ x: flow_input.n, y: [flow_input.name] }", value: `{"x":3,"y":["Ada"]}`},
		{expr: "({ ...flow_input.deep, z: 1 })", value: `{"a":{"b":null},"z":1}`},
		{expr: "undefined", value: "null"},
		{expr: "flow_input.nothing", value: "null"},
		{expr: "[undefined, () => 1]", value: "[null,null]"},
		{expr: "const n = flow_input.n;\nreturn n + 1", value: "4"},
		{expr: "const n = flow_input.n;\nn * 2", value: "6"},
		{expr: "let s = 0; for (const x of flow_input.list) s += x; s", value: "6"},
		{expr: "if (flow_input.n > 1) { return 'many' } else { return 'one' }", value: `"many"`},
		{expr: "await Promise.resolve(flow_input.n)", value: "3"},
		{expr: "await (async () => { let x = 0; for (let i = 0; i < 5; i++) x += await i; return x })()", value: "10"},
		{expr: "// a comment\nflow_input.n // another", value: "3"},
		{expr: "10n + 1n", value: "11"},
		{expr: "2n ** 70n", value: `"1180591620717411303424"`},
		{expr: "new Date(0)", value: `"1970-01-01T00:00:00.000Z"`},
		{expr: "new Map([[1, 2]])", value: `{}`},
		{expr: "`${flow_input.name} \U0001F600 ${flow_input.list.length}`", value: "\"Ada \U0001F600 3\""},
		{expr: "previous_result + result.error.message", value: `"beforeno"`},
		{expr: "flow_input.nothing.more", err: "TypeError"},
		{expr: "nobody", err: "ReferenceError"},
		{expr: "1 +", err: "SyntaxError"},
		{expr: "throw new Error('so what')", err: "Error: so what"},
		{expr: "throw { code: 3 }", err: `thrown: {"code":3}`},
		{expr: "const a = {}; a.a = a; return a", err: "circular"},
		{expr: "await new Promise(() => {})", err: "never comes"},
		{expr: "variable('f/x/none')", err: "variable(\"f/x/none\") cannot be read: write its path out"},
		{expr: "typeof require + typeof process + typeof std + typeof os + typeof scriptArgs + typeof fetch", value: `"undefinedundefinedundefinedundefinedundefinedundefined"`},
	} {
		got, err := p.Eval(t.Context(), values, []Request{{Expr: c.expr}})
		if err != nil {
			t.Fatal(err)
		}
		if r := got[0]; string(r.Value) != c.value || (r.Error == "") != (c.err == "") || !strings.Contains(r.Error, c.err) {
			t.Errorf("%s\n got %s %q\nwant %s %q", c.expr, r.Value, r.Error, c.value, c.err)
		}
	}
}

// Each expression has an engine of its own, and its own iter.
func TestApart(t *testing.T) {
	p := pool(t, Options{Children: 1})
	asks := []Request{
		{Expr: "globalThis.seen = 1; Array.prototype.map = null; flow_input.list.push(9); flow_input.list.length"},
		{Expr: "[typeof seen, flow_input.list.map(x => x).length, flow_input.iter.value]", Own: map[string]json.RawMessage{"iter": json.RawMessage(`{"index":4,"value":"four"}`)}},
		{Expr: "flow_input.iter"},
	}
	got, err := p.Eval(t.Context(), values, asks)
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%s %s %s", got[0].Value, got[1].Value, got[2].Value); s != `4 ["undefined",3,"four"] null` {
		t.Error(s, got)
	}
}

// Hostile expressions cost themselves and nothing else.
func TestHostile(t *testing.T) {
	o := Options{Limits: Limits{Time: 200 * time.Millisecond}}
	p := pool(t, o)
	for _, c := range []struct{ name, expr, err string }{
		{"endless", "while (true) {}", "longer than 200ms"},
		{"endless, caught", "try { while (true) {} } catch { return 1 }", "longer than 200ms"},
		{"endless after a wait", "await 1; while (true) {}", "longer than 200ms"},
		{"endless waits", "const f = async () => { for (;;) await 0 }; await f()", "longer than 200ms"},
		{"regular expression", "/^(a+)+$/.test('a'.repeat(40) + 'b')", "longer than 200ms"},
		{"memory", "const a = []; for (;;) a.push(new Array(1e5).fill(7))", ""},
		{"one array", "new Array(1e8).fill(0).length", ""},
		{"text", "'x'.repeat(2 ** 29)", ""},
		{"recursion", "const f = () => f() + 1; f()", ""},
		{"nested", "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; a", ""},
		{"toJSON", "({ toJSON() { while (true) {} } })", "longer than 200ms"},
		{"the machinery", "JSON.stringify = () => 'bad'; Promise.prototype.then = null; AsyncFunction = null; 1", ""},
	} {
		got, err := p.Eval(t.Context(), values, []Request{{Expr: c.expr}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !strings.Contains(got[0].Error, c.err) || c.err != "" && got[0].Error == "" {
			t.Errorf("%s: %s %q", c.name, clip(string(got[0].Value)), got[0].Error)
		}
		after, err := p.Eval(t.Context(), values, []Request{{Expr: "flow_input.list.map(x => x + 1)"}})
		if err != nil || string(after[0].Value) != "[2,3,4]" {
			t.Errorf("after %s: %s %q %v", c.name, after[0].Value, after[0].Error, err)
		}
	}
}

// A child that dies costs the evaluation that it was at; the others of the same
// call are evaluated again.
func TestDeath(t *testing.T) {
	p := pool(t, Options{Children: 1, Limits: Limits{Time: 300 * time.Millisecond}})
	if _, err := p.Eval(t.Context(), values, []Request{{Expr: "1"}}); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	pid := p.idle[0].cmd.Process.Pid
	p.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	got, err := p.Eval(t.Context(), values, []Request{{Expr: "1 + 1"}, {Expr: "2 + 2"}})
	if err != nil || string(got[0].Value) != "2" || string(got[1].Value) != "4" {
		t.Errorf("%v %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Eval(ctx, values, []Request{{Expr: "while (true) {}"}}); err == nil {
		t.Error("a call that was given up is answered")
	}
	if got, err := p.Eval(t.Context(), values, []Request{{Expr: "3"}}); err != nil || string(got[0].Value) != "3" {
		t.Errorf("%v %v", got, err)
	}
	p.Close()
	if _, err := p.Eval(t.Context(), values, []Request{{Expr: "3"}}); err == nil {
		t.Error("a closed pool answers")
	}
}

func TestTogether(t *testing.T) {
	p := pool(t, Options{Children: 3})
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			got, err := p.Eval(t.Context(), map[string]json.RawMessage{"n": json.RawMessage(fmt.Sprint(i))}, []Request{{Expr: "n * n"}, {Expr: "n + 0.5"}})
			if err != nil || string(got[0].Value) != fmt.Sprint(i*i) || string(got[1].Value) != fmt.Sprintf("%d.5", i) {
				t.Errorf("%d: %v %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestBounds(t *testing.T) {
	p := pool(t, Options{Limits: Limits{Input: 1000, Time: 60 * time.Millisecond}})
	got, err := p.Eval(t.Context(), map[string]json.RawMessage{"x": json.RawMessage(`"` + strings.Repeat("y", 1000) + `"`)}, []Request{{Expr: "1"}})
	if err != nil || !strings.Contains(got[0].Error, "at most 1000") {
		t.Errorf("%v %v", got, err)
	}
	slow := Request{Expr: "for(;;);"}
	got, err = p.Eval(t.Context(), nil, []Request{slow, slow, slow, slow, {Expr: "1"}})
	if err != nil || string(got[4].Value) != "1" {
		t.Errorf("%v %v", got, err)
	}
	many := make([]Request, 60)
	for i := range many {
		many[i] = slow
	}
	got, err = p.Eval(t.Context(), nil, many)
	if err != nil || !strings.Contains(got[59].Error, "in all") {
		t.Errorf("%v %v", got[59], err)
	}
	p = pool(t, Options{Limits: Limits{Time: 20 * time.Second}})
	if got, err = p.Eval(t.Context(), nil, []Request{{Expr: "'x'.repeat(3 << 20)"}}); err != nil || !strings.Contains(got[0].Error, "at most") {
		t.Errorf("%v %v", got, err)
	}
	if got, err = p.Eval(t.Context(), nil, []Request{{Expr: strings.Repeat(" ", maxSource) + "1"}}); err != nil || !strings.Contains(got[0].Error, "at most") {
		t.Errorf("%v %v", got, err)
	}
}

// Many expressions of one step, with large values, are evaluated in as many
// trips as it takes.
func TestMany(t *testing.T) {
	p := pool(t, Options{Limits: Limits{Time: 20 * time.Second}})
	for _, c := range []struct {
		n      int
		expr   string
		length int
	}{{300, "x", 4}, {12, "'y'.repeat(1e6)", 1e6 + 2}} { // one answer holds less than either
		asks := make([]Request, c.n)
		for i := range asks {
			asks[i] = Request{Expr: c.expr, Own: map[string]json.RawMessage{"x": json.RawMessage(fmt.Sprint(1000 + i%9000))}}
		}
		got, err := p.Eval(t.Context(), nil, asks)
		if err != nil || len(got) != c.n {
			t.Fatalf("%d replies, %v", len(got), err)
		}
		for i, r := range got {
			if len(r.Value) != c.length {
				t.Fatalf("%s, %d: %s %q", c.expr, i, clip(string(r.Value)), r.Error)
			}
		}
	}
}

// The child sees nothing of the server's environment and opens no files.
func TestConfined(t *testing.T) {
	t.Setenv("SLUICE_SECRET", "s3cret")
	p := pool(t, Options{Children: 1})
	if _, err := p.Eval(t.Context(), nil, []Request{{Expr: "1"}}); err != nil {
		t.Fatal(err)
	}
	pid := p.idle[0].cmd.Process.Pid
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || strings.Contains(string(env), "s3cret") {
		t.Errorf("%q %v", env, err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max file size 0 0 bytes") {
		t.Errorf("%s %v", limits, err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	confined := 0
	for _, thread := range threads {
		if status, err := os.ReadFile(thread); err == nil && strings.Contains(string(status), "NoNewPrivs:\t1") {
			confined++
		}
	}
	_, _, errno := syscall.AllThreadsSyscall(syscall.SYS_GETPID, 0, 0, 0)
	if all := errno == 0; confined == 0 || all && confined < len(threads) {
		t.Errorf("%d of %d threads can get no new privileges", confined, len(threads))
	}
}

func BenchmarkEval(b *testing.B) {
	p := pool(b, Options{})
	for b.Loop() {
		if _, err := p.Eval(b.Context(), values, []Request{{Expr: "results.a.rows.filter(r => r.id > 1).length"}}); err != nil {
			b.Fatal(err)
		}
	}
}
