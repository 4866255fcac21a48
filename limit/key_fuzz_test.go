package limit_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/limit"
)

var placeholder = regexp.MustCompile(`\$args\[([^\]]*)\]|\$workspace`)

// expand is the template language once more, as one substitution. ok is false
// for a malformed template.
func expand(template, workspace, value string) (key string, ok bool) {
	ok = len(template) <= 10_000
	for _, rest := range placeholder.Split(template, -1) {
		ok = ok && !strings.Contains(rest, "$args[")
	}
	key = placeholder.ReplaceAllStringFunc(template, func(m string) string {
		if m == "$workspace" {
			return workspace
		}
		name := m[len("$args[") : len(m)-1]
		ok = ok && !strings.Contains("."+name+".", "..")
		if name == "a" {
			return value
		}
		return ""
	})
	if len(key) > 255 {
		cut := 190
		for i := 190; i > 186; i-- {
			if utf8.RuneStart(key[i]) {
				cut = i
				break
			}
		}
		key = fmt.Sprintf("%s#%x", key[:cut], sha256.Sum256([]byte(key)))
	}
	return key, ok
}

// FuzzTemplate: no template, workspace or argument makes a panic, a key longer
// than 255 bytes, a split rune, a second expansion or another key the second
// time.
func FuzzTemplate(f *testing.F) {
	f.Add("$workspace/$args[a]", "w", "x")
	f.Add("$args[a]$args[a]$args[a.b]$args[c]", "$args[a]", "$workspace")
	f.Add("$args[$args[a]]", "w", "]")
	f.Add("$args[a]", "w", strings.Repeat("😀", 70))
	f.Add("$args[", "w", "x")
	f.Add("$args[a..b]", "w", "x")
	f.Add("$$args[a]$", "\x00", "\xff")
	f.Add("é$args[a\n]$args[]]", "w", "x")
	f.Fuzz(func(t *testing.T, template, workspace, value string) {
		args, err := json.Marshal(map[string]string{"a": value})
		if err != nil {
			return // such a text cannot be sent as JSON
		}
		value = strings.ToValidUTF8(value, "") // what the sender's JSON really says
		if s := (struct{ A string }{}); json.Unmarshal(args, &s) == nil {
			value = s.A
		}
		want, ok := expand(template, workspace, value)
		parsed, err := limit.ParseTemplate(template)
		if (err == nil) != ok {
			t.Fatalf("%q: error %v, want one: %t", template, err, !ok)
		}
		if err != nil {
			return
		}
		got, err := parsed.Resolve(workspace, args)
		if err != nil {
			t.Fatalf("%q: %v", template, err)
		}
		if got != want {
			t.Fatalf("%q: %q, want %q", template, got, want)
		}
		if len(got) > limit.MaxKey {
			t.Fatalf("%d bytes", len(got))
		}
		if utf8.ValidString(template) && utf8.ValidString(workspace) && !utf8.ValidString(got) {
			t.Fatalf("%q: split a rune: %q", template, got)
		}
		if again, err := parsed.Resolve(workspace, args); err != nil || again != got {
			t.Fatalf("resolved again: %q, %v; was %q", again, err, got)
		}
	})
}

// FuzzArguments: no arguments make a panic, and the key does not depend on
// white space between them.
func FuzzArguments(f *testing.F) {
	for _, args := range []string{`{"a":{"b":1.0}}`, `{"a":"x"}`, `null`, `{"a":[ 1, {"b":"\u0000"} ]}`, `{"a":{"b":{"c":null}}}`, "", `{"a"`} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, args string) {
		template, err := limit.ParseTemplate("$args[a]|$args[a.b]|$args[a.b.c]")
		if err != nil {
			t.Fatal(err)
		}
		got, err := template.Resolve("w", json.RawMessage(args))
		if blank := strings.TrimSpace(args) == ""; !blank && !json.Valid([]byte(args)) && err == nil {
			t.Fatalf("%q is no JSON, and its key is %q", args, got)
		}
		if err != nil {
			return
		}
		spaced := strings.NewReplacer("\r", "", "\n", " ").Replace(args)
		if again, err := template.Resolve("w", json.RawMessage(" "+spaced+"\n")); err != nil || again != got {
			t.Fatalf("%q: %q, with other white space %q (%v)", args, got, again, err)
		}
	})
}
