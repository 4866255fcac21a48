package engine_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/flow"
	"sluice/internal/engine"
	"sluice/internal/store"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

const gridDir = "testdata/grid"

// gridColumns are the options of the grid, each a file in gridDir.
var gridColumns = []string{
	"input_transforms_static", "input_transforms_javascript", "stop_after_if", "stop_after_if_error_message", "stop_after_all_iters_if",
	"skip_if", "sleep", "timeout", "cache_ttl", "retry_constant", "retry_exponential", "retry_if", "continue_on_error", "suspend",
	"suspend_disapproved", "suspend_timeout", "mock", "priority", "delete_after_use", "squash",
	"step_concurrent_limit", "step_concurrency_time_window_s", "step_concurrency_key", "step_on_concurrency_limit", "step_max_wait_s",
	"failure_module", "preprocessor_module", "early_return", "same_worker", "flow_env", "flow_priority", "flow_cache_ttl",
	"flow_concurrent_limit", "flow_concurrency_time_window_s", "flow_concurrency_key", "flow_on_concurrency_limit", "flow_max_wait_s",
}

// gridFields says which columns each field of a parsed flow has; "-" and why
// it has none. A field that is not here fails TestFlowGrid_IsWhole.
var gridFields = map[string]string{
	"Module.ID": "- not an option", "Module.Kind": "- the rows", "Module.Summary": "- shown, no more",
	"Module.Inputs": "input_transforms_static input_transforms_javascript", "Module.Raw": "- a row", "Module.Path": "- a row",
	"Module.Hash": "- which version a step calls", "Module.Tag": "- which workers serve it", "Module.Iterator": "- rows",
	"Module.Body": "- rows", "Module.Parallel": "- rows", "Module.Parallelism": "- a row", "Module.SkipFailed": "- a row",
	"Module.Branches": "- rows", "Module.Default": "- a row", "Module.StopIf": "stop_after_if stop_after_if_error_message",
	"Module.StopAfterAll": "stop_after_all_iters_if", "Module.SkipIf": "skip_if", "Module.Sleep": "sleep", "Module.Timeout": "timeout",
	"Module.CacheTTL": "cache_ttl", "Module.Retry": "retry_constant retry_exponential retry_if", "Module.ContinueOnError": "continue_on_error",
	"Module.Suspend": "suspend suspend_disapproved suspend_timeout", "Module.Mock": "mock", "Module.Priority": "priority", "Module.DeleteAfterUse": "delete_after_use",
	"Raw.Content": "- not an option", "Raw.Language": "- not an option", "Raw.Lock": "- not an option",
	"Raw.Limits":  "step_concurrent_limit step_concurrency_time_window_s step_concurrency_key",
	"Raw.OnLimit": "step_on_concurrency_limit", "Raw.MaxWait": "step_max_wait_s", "Raw.MaxLost": "- what is lost: TestFlow_Lost and the case B1",
	"Value.Modules": "- the rows", "Value.Failure": "failure_module", "Value.Preprocessor": "preprocessor_module",
	"Value.Limits":  "flow_concurrent_limit flow_concurrency_time_window_s flow_concurrency_key",
	"Value.OnLimit": "flow_on_concurrency_limit", "Value.MaxWait": "flow_max_wait_s", "Value.MaxLost": "- a flow has no worker to lose",
	"Value.Priority": "flow_priority", "Value.EarlyReturn": "early_return", "Value.Env": "flow_env", "Value.CacheTTL": "flow_cache_ttl",
}

// TestFlowGrid plays every option on every kind of step. A file of
// testdata/grid is an option: prose, how it is set, what is played, and a line
// for each kind with what happened, or with the words in which the flow is
// refused when it is saved. See testdata/grid/README.md.
func TestFlowGrid(t *testing.T) {
	t.Parallel()
	kinds := readKinds(t)
	w := newWorldWith(t, engine.Options{Evaluator: gridEvaluator(t)})
	w.script("f/grid/script")
	w.flow("f/grid/inner", []obj{raw("i")})
	for i, name := range gridColumns {
		t.Run(name, func(t *testing.T) {
			w.t = t
			c := readColumn(t, name)
			var got strings.Builder
			got.WriteString(c.head)
			for j, k := range kinds {
				if underRace && *driver == "sqlite" && (i+j)%4 != 0 && !*rewrite { // SQLite is slow then: every option and every kind, not all pairs
					got.WriteString(c.was[k.name])
					continue
				}
				fmt.Fprintf(&got, "%-27s %s\n", k.name+":", c.cell(w, k))
			}
			open, err := w.CountJobs(w.ctx(), store.JobFilter{States: []sluice.State{sluice.StateQueued, sluice.StateRunning, sluice.StateScheduled}})
			if err != nil || open != 0 {
				t.Errorf("%d jobs are left behind: %v", open, err)
			}
			file := filepath.Join(gridDir, name+".txt")
			switch want, err := os.ReadFile(file); {
			case err != nil:
				t.Fatal(err)
			case *rewrite:
				w.must(os.WriteFile(file, []byte(got.String()), 0o644))
			case got.String() != string(want):
				t.Errorf("%s: goes otherwise now (-rewrite accepts it):\n%s", file, difference(string(want), got.String()))
			}
		})
	}
	w.t = t
}

func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out strings.Builder
	for i := range max(len(a), len(b)) {
		was, is := "", ""
		if i < len(a) {
			was = a[i]
		}
		if i < len(b) {
			is = b[i]
		}
		if was != is {
			fmt.Fprintf(&out, "was %s\nis  %s\n", was, is)
		}
	}
	return out.String()
}

// TestFlowGrid_IsWhole fails on an option or a kind of flows that the grid
// does not know, on a file of no column, and on an empty cell.
func TestFlowGrid_IsWhole(t *testing.T) {
	t.Parallel()
	for _, typ := range []reflect.Type{reflect.TypeFor[flow.Module](), reflect.TypeFor[flow.Raw](), reflect.TypeFor[flow.Value]()} {
		for i := range typ.NumField() {
			f := typ.Field(i)
			columns := gridFields[typ.Name()+"."+f.Name]
			if f.IsExported() && columns == "" {
				t.Errorf("%s.%s has no column in the grid", typ.Name(), f.Name)
			}
			for _, c := range strings.Fields(columns) {
				if columns[0] != '-' && !slices.Contains(gridColumns, c) {
					t.Errorf("%s.%s: there is no column %s", typ.Name(), f.Name, c)
				}
			}
		}
	}
	kinds := readKinds(t)
	for _, k := range []flow.Kind{
		flow.KindRaw, flow.KindScript, flow.KindFlow, flow.KindFor, flow.KindWhile, flow.KindBranchOne, flow.KindBranchAll, flow.KindIdentity,
	} {
		if !slices.ContainsFunc(kinds, func(g gridKind) bool { return strings.Fields(g.name)[0] == string(k) }) {
			t.Errorf("%s has no row in the grid", k)
		}
	}
	files, err := filepath.Glob(gridDir + "/*.txt")
	if err != nil || len(files) != len(gridColumns)+1 { // and kinds.txt
		t.Errorf("%d files in %s for %d columns: %v", len(files), gridDir, len(gridColumns), err)
	}
	for _, name := range gridColumns {
		text, err := os.ReadFile(filepath.Join(gridDir, name+".txt"))
		if err != nil {
			t.Error(err)
		}
		for _, k := range kinds {
			cell := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(k.name) + `: +(\S.*)?(success|failure|refused|open)`)
			if !cell.Match(text) {
				t.Errorf("the cell %s × %s is empty", name, k.name)
			}
		}
	}
}

// gridKind is a row: a kind of step, which stands between a and z.
type gridKind struct {
	name string
	step string // JSON with macros
}

// kindLine is a line of kinds.txt: a name, some blanks, the step.
var kindLine = regexp.MustCompile(`^([a-z][a-z_0-9 ]*?) +([${].*)$`)

func readKinds(t *testing.T) []gridKind {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(gridDir, "kinds.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var out []gridKind
	for _, line := range strings.Split(string(text), "\n") {
		if m := kindLine.FindStringSubmatch(line); m != nil {
			out = append(out, gridKind{m[1], m[2]})
		} else if line != "" && line[0] != '#' {
			t.Fatalf("kinds.txt: what is %q?", line)
		}
	}
	return out
}

// gridColumn is an option: how it is set, and what is played.
type gridColumn struct {
	name, head        string
	step, value, flow string // JSON objects, merged into the step, its value and the flow's value
	inner             string // inputs of the steps within
	play              []string
	was               map[string]string // the lines of the kinds as they stand there
}

func readColumn(t *testing.T, name string) *gridColumn {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(gridDir, name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	head, cells, ok := strings.Cut(string(text), "\n---\n")
	if !ok {
		t.Fatalf("%s.txt: there is no line --- between its head and its cells", name)
	}
	c := &gridColumn{name: name, head: head + "\n---\n", was: map[string]string{}}
	for _, line := range strings.SplitAfter(cells, "\n") {
		kind, _, _ := strings.Cut(line, ":")
		c.was[kind] = line
	}
	for _, line := range strings.Split(head, "\n") {
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch word {
		case "", "#":
		case "step":
			c.step = rest
		case "value":
			c.value = rest
		case "flow":
			c.flow = rest
		case "inner":
			c.inner = rest
		case "play":
			for _, verb := range strings.Split(rest, ",") {
				c.play = append(c.play, strings.TrimSpace(verb))
			}
		default:
			t.Fatalf("%s.txt: what is %q?", name, line)
		}
	}
	return c
}

// inlineStep is how an inline step is written: $b, or $b(x: flow_input.n).
var inlineStep = regexp.MustCompile(`\$([a-z_]+)(\(([^)]*)\))?`)

// expand makes JSON of a text with inline steps.
func expand(t testing.TB, text, more string) string {
	t.Helper()
	return inlineStep.ReplaceAllStringFunc(text, func(s string) string {
		m := inlineStep.FindStringSubmatch(s)
		if m[1] == "workspace" || m[1] == "args" { // of a key
			return s
		}
		step := raw(m[1])
		for _, in := range strings.Split(m[3]+","+more, ",") {
			if name, expr, ok := strings.Cut(in, ":"); ok {
				inputs(step, strings.TrimSpace(name), "="+strings.TrimSpace(expr))
			}
		}
		b, err := json.Marshal(step)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	})
}

// object parses a JSON object.
func object(t testing.TB, text string) obj {
	t.Helper()
	var o obj
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	if err := d.Decode(&o); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

// merge sets the fields of an object in another.
func merge(t testing.TB, into obj, text string) {
	t.Helper()
	if text == "" {
		return
	}
	for k, v := range object(t, text) {
		into[k] = v
	}
}

// body makes what is saved for a cell: a, the step, z.
func (c *gridColumn) body(t testing.TB, k gridKind, path string) json.RawMessage {
	t.Helper()
	s := object(t, expand(t, k.step, c.inner))
	merge(t, s, c.step)
	merge(t, s["value"].(obj), c.value)
	value := obj{"modules": []obj{raw("a"), s, inputs(raw("z"), "s", "=results.s")}}
	merge(t, value, expand(t, c.flow, ""))
	b, err := json.Marshal(obj{"path": path, "summary": "", "value": value})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
