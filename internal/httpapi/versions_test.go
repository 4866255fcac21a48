package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/engine"
)

// contractFields are the fields of NewScript that the contract names.
const contractFields = `path content language summary description kind lock schema tag envs concurrent_limit concurrency_time_window_s
concurrency_key cache_ttl cache_ignore_s3_path dedicated_worker ws_error_handler_muted priority timeout delete_after_secs
restart_unless_cancelled visible_to_runner_only has_preprocessor debounce_key debounce_delay_s debounce_args_to_accumulate
max_total_debouncing_time max_total_debounces_amount codebase on_behalf_of_email on_behalf_of preserve_on_behalf_of modules labels
deployment_message skip_draft_deletion parent_hash auto_parent on_concurrency_limit delete_after_use`

var hashForm = regexp.MustCompile(hashRE)

const ourFields = `concurrency_window_from max_wait_s max_lost_attempts apply_limits_to_waiting`

// fieldValues are values for every field, in forms that a round trip through
// Go's own types would change.
var fieldValues = map[string]string{
	"path": `"f/all/fields"`, "content": `"echo \"ü😀\"\n"`, "language": `"bash"`, "summary": `"Sé <b>&"`, "description": `"# title\n\u00e9"`, "kind": `"trigger"`,
	"lock": `"a==1\n"`, "schema": `{"z":1.0,"a":{"big":12345678901234567890},"order":["z","a"],"e":1e3}`, "tag": `"gpu"`,
	"concurrent_limit": `5.0`, "concurrency_time_window_s": `2`, "concurrency_key": `"k-$args[name]"`, "concurrency_window_from": `"start"`,
	"on_concurrency_limit": `"fail"`, "max_wait_s": `60`, "max_lost_attempts": `0`, "apply_limits_to_waiting": `false`,
	"priority": `-3`, "timeout": `60.0`, "delete_after_secs": `7`, "delete_after_use": `true`, "has_preprocessor": `true`, "labels": `["b","a"]`,
	"deployment_message": `"why"`, "auto_parent": `true`, "parent_hash": `null`, "skip_draft_deletion": `true`,
	"cache_ttl": `60.50`, "cache_ignore_s3_path": `true`, "dedicated_worker": `true`, "ws_error_handler_muted": `true`,
	"on_behalf_of_email": `"a@b.c"`, "on_behalf_of": `"u/ann"`, "preserve_on_behalf_of": `true`,
	"envs": `["A=b"]`, "codebase": `"x"`, "modules": `{"m":1}`, "restart_unless_cancelled": `true`, "visible_to_runner_only": `true`,
	"debounce_key": `"k"`, "debounce_delay_s": `5`, "debounce_args_to_accumulate": `["a"]`, "max_total_debouncing_time": `1`, "max_total_debounces_amount": `1`,
}

// TestEveryFieldHasOneUse: each field of the contract is honoured, inert or
// refused, and described in the document.
func TestEveryFieldHasOneUse(t *testing.T) {
	r := newRig(t)
	known := slices.Sorted(slices.Values(strings.Fields(contractFields + " " + ourFields)))
	if listed := slices.Sorted(maps.Keys(engine.ScriptFields)); !slices.Equal(listed, known) {
		t.Errorf("the lists hold %v\nthe contract names %v", listed, known)
	}
	if tried := slices.Sorted(maps.Keys(fieldValues)); !slices.Equal(tried, known) {
		t.Errorf("tried are %v\nthe contract names %v", tried, known)
	}
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
			}
		}
	}
	r.read(r.ok(200, "GET", "/openapi.json", ""), &doc)
	described := doc.Components.Schemas["ScriptDoc"].Properties
	for _, name := range known {
		if described[name] == nil {
			t.Errorf("%s is not in the document", name)
		}
	}
}

// TestFieldsComeBackAsPushed pushes all fields that can be pushed, and compares
// byte by byte; inert ones are told, refused ones refused by name.
func TestFieldsComeBackAsPushed(t *testing.T) {
	r := newRig(t)
	pushed := map[string]json.RawMessage{}
	var inert []string
	for name, v := range fieldValues {
		switch engine.ScriptFields[name] {
		case engine.FieldRefused:
			body := fmt.Sprintf(`{"path":"f/refused","content":"","language":"bash",%q:%s}`, name, v)
			got := r.do("POST", "/api/w/main/scripts/create", body)
			if got.status != 400 || !strings.HasPrefix(got.body, name+": ") {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
			for _, nothing := range []string{"null", "false", `""`, "0", "[]", "{}"} {
				r.ok(201, "POST", "/api/w/main/scripts/create", fmt.Sprintf(`{"path":"f/nothing","content":"","language":"bash",%q:%s}`, name, nothing))
			}
			continue
		case engine.FieldInert:
			inert = append(inert, name+" has no effect here yet")
		case engine.FieldHonoured:
		}
		pushed[name] = json.RawMessage(v)
	}
	body, err := marshal(pushed)
	if err != nil {
		t.Fatal(err)
	}
	got := r.do("POST", "/api/w/main/scripts/create", string(body))
	if got.status != 201 || !hashForm.MatchString(got.body) {
		t.Fatalf("%d %s", got.status, got.body)
	}
	slices.Sort(inert)
	if warned := got.header.Values(warningHeader); !slices.Equal(warned, inert) {
		t.Errorf("warned of %v, want %v", warned, inert)
	}
	for _, from := range []string{"p/f/all/fields", "h/" + got.body} {
		var shown map[string]json.RawMessage
		r.read(r.ok(200, "GET", "/api/w/main/scripts/get/"+from, ""), &shown)
		for name, v := range pushed {
			have, there := shown[name]
			switch {
			case slices.Contains(requestOnly, name):
				if there {
					t.Errorf("%s says how to save and came back: %s", name, have)
				}
			case name == "path" || name == "content" || name == "language": // columns: the same text
				if !sameJSON(have, v) {
					t.Errorf("%s: %s, pushed %s", name, have, v)
				}
			case !bytes.Equal(have, v):
				t.Errorf("%s: %s, pushed %s", name, have, v)
			}
		}
	}
	if got := r.do("POST", "/api/w/main/scripts/create", `{"path":"f/calm","content":"","language":"bash","ws_error_handler_muted":false,"cache_ttl":null,"dedicated_worker":true}`); got.header.Get(warningHeader) != "" {
		t.Errorf("warned of nothing: %s", got.header.Get(warningHeader))
	}
}

// TestParentHash: a push made for a version that is no longer the newest would
// undo what somebody else saved.
func TestParentHash(t *testing.T) {
	r := newRig(t)
	push := func(content, extra string) reply {
		return r.do("POST", "/api/w/main/scripts/create", `{"path":"f/a","content":"`+content+`","language":"bash"`+extra+`}`)
	}
	other := r.script("f/other", "")
	first := push("1", "").body
	second := push("2", `,"parent_hash":"`+strings.ToUpper(first)+`"`)
	if second.status != 201 {
		t.Fatalf("%d %s", second.status, second.body)
	}
	for _, tc := range []struct {
		extra  string
		status int
		want   string
	}{
		{`,"parent_hash":"` + first + `"`, 409, "parent_hash: " + first + " is not the newest"},
		{`,"parent_hash":"` + other + `"`, 400, "parent_hash: is a version of f/other"},
		{`,"parent_hash":"0000000000000000"`, 400, "parent_hash: there is no script"},
		{`,"parent_hash":"x"`, 400, "parent_hash: must be 16"},
		{`,"parent_hash":7`, 400, "parent_hash: "},
		{`,"parent_hash":"` + first + `","auto_parent":true`, 201, ""},
		{`,"parent_hash":null`, 201, ""},
	} {
		if got := push("3"+fmt.Sprint(len(tc.extra)), tc.extra); got.status != tc.status || !strings.HasPrefix(got.body, tc.want) {
			t.Errorf("%s: %d %s", tc.extra, got.status, got.body)
		}
	}
	// The chain has no gap and no fork.
	var history []versionJSON
	r.read(r.ok(200, "GET", "/api/w/main/scripts/history/p/f/a", ""), &history)
	for i, v := range history {
		want := "[]"
		if i+1 < len(history) {
			want = `["` + history[i+1].Hash + `"]`
		}
		var shown struct {
			Parents json.RawMessage `json:"parent_hashes"`
		}
		r.read(r.ok(200, "GET", "/api/w/main/scripts/get/h/"+v.Hash, ""), &shown)
		if string(shown.Parents) != want && (want != "[]" || string(shown.Parents) != "null") {
			t.Errorf("version %d: parents %s, want %s", i, shown.Parents, want)
		}
	}
	// As the command line updates: of an archived script, with the hash that it shows.
	r.ok(200, "POST", "/api/w/main/scripts/archive/p/f/a", "")
	if got := push("9", `,"parent_hash":"`+history[0].Hash+`"`); got.status != 201 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestBigNumbersAreNoNoop(t *testing.T) {
	r := newRig(t)
	push := func(n string) string {
		return r.ok(201, "POST", "/api/w/main/scripts/create?skip_if_noop=true", `{"path":"f/a","content":"","language":"bash","schema":{"n":`+n+`}}`)
	}
	if a, b := push("12345678901234567890"), push("12345678901234567891"); a == b {
		t.Error("a change of a number was taken for none")
	}
}

func TestArchiveAndDeleteVersions(t *testing.T) {
	r := newRig(t)
	old := r.script("f/a", "")
	newest := r.script("f/a", `"summary":"2"`)
	run := func(target string) int { return r.do("POST", "/api/w/main/jobs/run/"+target, "").status }
	if run("h/"+old) != 201 { // and so the version is in the cache
		t.Fatal("the old version does not run")
	}
	if got := r.ok(200, "POST", "/api/w/main/scripts/archive/h/"+old, ""); !strings.Contains(got, `"archived":true`) {
		t.Errorf("%s", got)
	}
	if run("h/"+old) != 404 || run("h/"+newest) != 201 || run("p/f/a") != 201 {
		t.Error("the archived version runs, or another does not")
	}
	// Deleting a version: nothing of it is left but that it was, and what waits
	// for it fails and holds up nobody.
	got := r.object(r.ok(200, "POST", "/api/w/main/scripts/delete/h/"+newest, ""))
	if got["deleted"] != true || got["content"] != "" || got["summary"] != "" || got["hash"] != newest {
		t.Errorf("%v", got)
	}
	if run("h/"+newest) != 404 || run("p/f/a") != 404 || r.do("GET", "/api/w/main/scripts/get/p/f/a", "").status != 404 {
		t.Error("the deleted version is there")
	}
	if as := r.take(5); len(as) != 1 || as[0].Hash != old { // pushed before it was archived
		t.Errorf("took %+v", as)
	}
	var failed []jobJSON
	r.read(r.ok(200, "GET", "/api/w/main/jobs/completed/list?success=false", ""), &failed)
	if len(failed) != 2 {
		t.Errorf("%d jobs of the deleted version failed, want 2", len(failed))
	}
	// Pushing again, then deleting all.
	again := r.script("f/a", "")
	if run("p/f/a") != 201 {
		t.Error("pushed again, it does not run")
	}
	r.ok(200, "POST", "/api/w/main/scripts/delete/p/f/a", "")
	for _, h := range []string{old, newest, again} {
		if run("h/"+h) != 404 {
			t.Errorf("version %s runs", h)
		}
	}
	if got := r.do("GET", "/api/w/main/scripts/history/p/f/a", ""); got.status != 404 {
		t.Errorf("history: %d %s", got.status, got.body)
	}
	if got := r.do("POST", "/api/w/main/scripts/archive/p/f/a", ""); got.status != 404 {
		t.Errorf("archive of nothing: %d", got.status)
	}
	if _, err := r.e.ScriptByHash(context.Background(), "main", old); sluice.CodeOf(err) != "" {
		t.Errorf("%v", err)
	}
}

func TestDiffOfVersions(t *testing.T) {
	r := newRig(t)
	push := func(content, extra string) string {
		b, _ := marshal(content)
		return r.ok(201, "POST", "/api/w/main/scripts/create", `{"path":"f/a","language":"bash","content":`+string(b)+extra+`}`)
	}
	a := push("one\ntwo\nthree\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", `,"timeout":5,"tag":null,"schema":{"a":1,"b":2},"deployment_message":"m"`)
	b := push("one\n2\nthree\n4\n5\n6\n7\n8\n9\n10\n11\n12", `,"timeout":6,"schema":{"b":2, "a":1},"summary":"new"`)
	var d diffJSON
	r.read(r.ok(200, "GET", "/api/w/main/scripts/diff/"+a+"/"+b, ""), &d)
	want := "--- f/a@" + a + "\n+++ f/a@" + b + `
@@ -1,5 +1,5 @@
 one
-two
+2
 three
 4
 5
@@ -9,4 +9,4 @@
 9
 10
 11
-12
+12
\ No newline at end of file
`
	if d.Diff != want {
		t.Errorf("got\n%swant\n%s", d.Diff, want)
	}
	if s, _ := marshal(d.Settings); string(s) != `{"summary":{"from":null,"to":"new"},"timeout":{"from":5,"to":6}}` {
		t.Errorf("%s", s)
	}
	for path, status := range map[string]int{a + "/0000000000000000": 404, "x/" + b: 400} {
		if got := r.do("GET", "/api/w/main/scripts/diff/"+path, ""); got.status != status {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// FuzzDiff: the edits make the one text of the other, and the shown hunks count
// their lines right.
func FuzzDiff(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nc\nd")
	f.Add("", "x")
	f.Add("x\nx\ny\nx\n", "x\ny\nx\nx\n")
	f.Add(strings.Repeat("a\n", 700), strings.Repeat("b\n", 700))
	f.Fuzz(func(t *testing.T, a, b string) {
		var oldText, newText strings.Builder
		for _, e := range diffLines(splitLines(a), splitLines(b)) {
			if e.op != '+' {
				oldText.WriteString(e.line)
			}
			if e.op != '-' {
				newText.WriteString(e.line)
			}
		}
		if oldText.String() != a || newText.String() != b {
			t.Fatalf("%q to %q: the edits go from %q to %q", a, b, oldText.String(), newText.String())
		}
		if (unifiedDiff("a", "b", a, b) == "") != (a == b) {
			t.Errorf("%q to %q: empty or not", a, b)
		}
	})
}
