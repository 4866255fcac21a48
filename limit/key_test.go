package limit_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/limit"
)

func resolve(t *testing.T, template, workspace, args string) string {
	t.Helper()
	parsed, err := limit.ParseTemplate(template)
	if err != nil {
		t.Fatalf("ParseTemplate(%q): %v", template, err)
	}
	key, err := parsed.Resolve(workspace, json.RawMessage(args))
	if err != nil {
		t.Fatalf("Resolve(%q, %s): %v", template, args, err)
	}
	return key
}

// TestResolve: what a template makes of arguments (A12).
func TestResolve(t *testing.T) {
	for _, test := range []struct{ name, template, args, want string }{
		{"nothing to fill", "api", `{}`, "api"},
		{"empty template", "", `{}`, ""},
		{"workspace", "$workspace/x", `{}`, "ws/x"},
		{"workspace twice, and text that goes on", "$workspace$workspaces", `{}`, "wswss"},
		{"argument", "t-$args[tenant]", `{"tenant":"acme"}`, "t-acme"},
		{"two arguments", "$args[a]$args[b]", `{"a":"1","b":"2"}`, "12"},
		{"nested", "$args[a.b.c]", `{"a":{"b":{"c":"deep"}}}`, "deep"},
		{"nested, white space", "$args[a.b]", "{ \"a\" :\n{ \"b\" : \"x\" } }", "x"},
		{"through a string", "<$args[a.b]>", `{"a":"b"}`, "<>"},
		{"through an array", "<$args[a.0]>", `{"a":["x"]}`, "<>"},
		{"through null", "<$args[a.b]>", `{"a":null}`, "<>"},
		{"absent", "<$args[x]>", `{"a":1}`, "<>"},
		{"absent deep", "<$args[a.x]>", `{"a":{"b":1}}`, "<>"},
		{"no arguments at all", "<$args[x]>", ``, "<>"},
		{"white space for arguments", "<$args[x]>", " \n", "<>"},
		{"null", "<$args[x]>", `{"x":null}`, "<null>"},
		{"true", "<$args[x]>", `{"x": true }`, "<true>"},
		{"empty string", "<$args[x]>", `{"x":""}`, "<>"},
		{"number 1.0 stays", "$args[x]", `{"x":1.0}`, "1.0"},
		{"number 1e3 stays", "$args[x]", `{"x":1e3}`, "1e3"},
		{"number 1E+3 stays", "$args[x]", `{"x":1E+3}`, "1E+3"},
		{"minus nought stays", "$args[x]", `{"x":-0}`, "-0"},
		{"big integers keep every digit", "$args[x]", `{"x":123456789012345678901234567890}`, "123456789012345678901234567890"},
		{"number and string of one text share", "$args[x]", `{"x":"1e3"}`, "1e3"},
		{"object without white space", "$args[x]", `{"x":{ "b" : [ 1 , 2.50 ],  "a" : "  kept  " }}`, `{"b":[1,2.50],"a":"  kept  "}`},
		{"array", "$args[x]", "{\"x\":[ ]}", "[]"},
		{"escapes in a string are read", "$args[x]", `{"x":"a\"b\\c\n\u00e9\ud83d\ude00"}`, "a\"b\\c\né😀"},
		{"escapes inside an object stay the sender's", "$args[x]", `{"x":["\u00e9\/<&>"]}`, `["\u00e9\/<&>"]`},
		{"angle brackets are not escaped", "$args[x]", `{"x":["<&>"]}`, `["<&>"]`},
		{"the last of two fields of one name", "$args[x]", `{"x":1,"x":2}`, "2"},
		{"case of names matters", "<$args[X]>", `{"x":1}`, "<>"},
		{"case of values matters", "$args[x]", `{"x":"AcMe"}`, "AcMe"},
		{"one pass: an argument is not expanded", "$args[x]", `{"x":"$workspace $args[y]","y":"no"}`, "$workspace $args[y]"},
		{"one pass: two arguments make no placeholder", "$args[a]$args[b]", `{"a":"$work","b":"space"}`, "$workspace"},
		{"$var and $res stay text", "$args[x]", `{"x":"$var:u/me/secret"}`, "$var:u/me/secret"},
		{"other dollars stay", "$ $$ $x $arg[ $args $workspac", `{}`, "$ $$ $x $arg[ $args $workspac"},
		{"dollar before a placeholder", "$$workspace$$args[x]", `{"x":1}`, "$ws$1"},
		{"names hold anything but ] and .", "$args[a b-ü\"$args[]", `{"a b-ü\"$args[":"x"}`, "x"},
		{"closing bracket after", "$args[x]]", `{"x":1}`, "1]"},
		{"glob and LIKE signs", "$args[x]", `{"x":"*%_?[a-z]\\"}`, `*%_?[a-z]\`},
		{"quotes", "$args[x]", `{"x":"'; DROP TABLE jobs; --\""}`, `'; DROP TABLE jobs; --"`},
		{"newlines and NUL", "$args[x]", `{"x":"a\r\nb\u0000c\t"}`, "a\r\nb\x00c\t"},
		{"right to left", "$args[x]", `{"x":"שלום\u202e"}`, "שלום\u202e"},
		{"not normalised", "$args[x]", `{"x":"é"}`, "e\u0301"},
		{"white space kept", " $args[x] ", `{"x":" a "}`, "  a  "},
		{"template bytes are kept as they are", "\xff\x00$workspace", `{}`, "\xff\x00ws"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "not normalised" {
				test.args = "{\"x\":\"e\u0301\"}"
			}
			if got := resolve(t, test.template, "ws", test.args); got != test.want {
				t.Errorf("%q with %s: %q, want %q", test.template, test.args, got, test.want)
			}
		})
	}
	if got := resolve(t, "$workspace", "$args[x]", `{"x":1}`); got != "$args[x]" {
		t.Errorf("a workspace's id was expanded: %q", got)
	}
}

// TestUnresolvable: a job whose key cannot be resolved fails; it never runs
// without its limit.
func TestUnresolvable(t *testing.T) {
	for _, args := range []string{`null`, `[]`, `"x"`, `3`, `{"x":`, `{"x":1}}`, `{"x":01}`, strings.Repeat(`{"x":`, 20_000) + "1" + strings.Repeat("}", 20_000)} {
		template, err := limit.ParseTemplate("$args[x.y]")
		if err != nil {
			t.Fatal(err)
		}
		if key, err := template.Resolve("ws", json.RawMessage(args)); err == nil || !strings.Contains(err.Error(), "$args[x") {
			t.Errorf("%.20s: key %q, error %v; want an error that names the argument", args, key, err)
		}
	}
	// Without a placeholder the arguments do not matter.
	if got := resolve(t, "k", "ws", `null`); got != "k" {
		t.Error(got)
	}
}

// TestMalformedTemplates are refused when the runnable is saved.
func TestMalformedTemplates(t *testing.T) {
	for template, want := range map[string]string{
		"$args[":                                 "without its closing ]",
		"x$args[a":                               "without its closing ]",
		"$args[a]$args[b":                        "without its closing ]",
		"$args[" + strings.Repeat("é", 50):       "é…",
		"$args[]":                                "empty name",
		"$args[.]":                               "empty name",
		"$args[a.]":                              "empty name",
		"$args[.a]":                              "empty name",
		"$args[a..b]":                            "empty name",
		strings.Repeat("x", limit.MaxTemplate+1): "10001 bytes",
	} {
		if _, err := limit.ParseTemplate(template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: error %v, want one with %q", template, err, want)
		} else if !utf8.ValidString(err.Error()) || len(err.Error()) > 200 {
			t.Errorf("%.30q: the error is unreadable: %q", template, err)
		}
	}
	if _, err := limit.ParseTemplate(strings.Repeat("x", limit.MaxTemplate)); err != nil {
		t.Errorf("the longest template: %v", err)
	}
}

// TestLongKeys: longer than 255 bytes is cut at 190 at a rune boundary and
// ended with the SHA-256 of the whole (A12).
func TestLongKeys(t *testing.T) {
	key := func(s string) string {
		t.Helper()
		args, err := json.Marshal(map[string]string{"x": s})
		if err != nil {
			t.Fatal(err)
		}
		return resolve(t, "$args[x]", "ws", string(args))
	}
	if s := strings.Repeat("a", 255); key(s) != s {
		t.Error("255 bytes were shortened")
	}
	// printf 'a%.0s' {1..256} | sha256sum
	const sum256 = "02d7160d77e18c6447be80c2e355c7ed4388545271702c50253b0914c65ce5fe"
	if got, want := key(strings.Repeat("a", 256)), strings.Repeat("a", 190)+"#"+sum256; got != want {
		t.Errorf("256 bytes: %q, want %q", got, want)
	}
	long := strings.Repeat("k", 10_000)
	if key(long) == key(long[:9_999]+"K") || key(long) == key(long+"k") {
		t.Error("two 10 kB keys that differ at the end share a group")
	}
	for shift := range 8 {
		for _, r := range []string{"é", "€", "😀"} {
			got := key(strings.Repeat("a", shift) + strings.Repeat(r, 200))
			prefix, _, _ := strings.Cut(got, "#")
			if !utf8.ValidString(got) || len(got) > limit.MaxKey || len(prefix) <= 190-len(r) || len(prefix) > 190 {
				t.Errorf("%s after %d: cut at %d: %q", r, shift, len(prefix), got)
			}
		}
	}
	for _, b := range []string{"\x80", "\xff", "\xf0\x9f"} { // no UTF-8: any cut will do
		if got := resolve(t, strings.Repeat(b, 300), "ws", ""); len(got) < 187+65 || len(got) > limit.MaxKey {
			t.Errorf("%d bytes for a long key of %q", len(got), b)
		}
	}
}

// TestDefaultKeys: the keys of a script, a flow and its steps never collide
// (A13), and two templates that say the same share a group on purpose.
func TestDefaultKeys(t *testing.T) {
	if got := limit.DefaultScriptKey("w", "f/a/b"); got != "w/script/f/a/b" {
		t.Error(got)
	}
	if got := limit.DefaultFlowKey("w", "f/a/b"); got != "w/flow/f/a/b" {
		t.Error(got)
	}
	if got := limit.DefaultStepKey("w", "f/a/b", "c"); got != "w/flow/f/a/b#c" {
		t.Error(got)
	}
	seen := map[string]string{}
	add := func(key, of string) {
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s share the key %q", other, of, key)
		}
		if len(key) > limit.MaxKey {
			t.Errorf("%s: %d bytes", of, len(key))
		}
		seen[key] = of
	}
	long := "f/" + strings.Repeat("x", 300)
	paths := []string{"f/a", "f/A", "f/a/b", "script/a", "flow/a", "a", "f/a/a", long, long + "x", long[:255]}
	for _, w := range []string{"w", "W", "script", "flow"} {
		for _, p := range paths {
			add(limit.DefaultScriptKey(w, p), fmt.Sprint("script ", w, " ", p))
			add(limit.DefaultFlowKey(w, p), fmt.Sprint("flow ", w, " ", p))
			for _, step := range []string{"a", "b", "a#b", "script", ""} {
				add(limit.DefaultStepKey(w, p, step), fmt.Sprint("step ", w, " ", p, " ", step))
			}
		}
	}
	if resolve(t, "$args[a]-x", "w", `{"a":"p"}`) != resolve(t, "p-$args[b]", "w", `{"b":"x"}`) {
		t.Error("two templates that resolve to one text do not share a group")
	}
	if resolve(t, "$workspace/script/f/a", "w", "") != limit.DefaultScriptKey("w", "f/a") {
		t.Error("a template cannot name a default key")
	}
}
