package signature

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sluice"
)

// shape writes a signature on one line: the form in which tests expect it.
//
//	who: "str", times: "int" = 1, tag?: …   a default; one that is not known
//	*args **kwargs, preprocessor, no main
func shape(s Signature) string {
	var parts []string
	for _, a := range s.Args {
		typ, err := json.Marshal(a.Type)
		if err != nil {
			return err.Error()
		}
		part := a.Name
		if a.Position > 0 {
			part = fmt.Sprintf("%d:%s", a.Position, a.Name)
		}
		if a.HasDefault && string(a.Default) == "null" {
			part += "?"
		}
		part += " " + strings.ReplaceAll(string(typ), `"`, "")
		if a.HasDefault && string(a.Default) != "null" {
			part += " = " + string(a.Default)
		}
		if a.Variadic {
			part += " ..."
		}
		parts = append(parts, part)
	}
	for _, flag := range []struct {
		set  bool
		word string
	}{{s.StarArgs, "*"}, {s.StarKwargs, "**"}, {s.HasPreprocessor, "preprocessor"}, {s.NoMain, "no main"}} {
		if flag.set {
			parts = append(parts, flag.word)
		}
	}
	return strings.Join(parts, ", ")
}

// check compares the shape of code with what is wanted; a wanted text that
// begins with "line " is an error.
func check(t *testing.T, language, code, want string) {
	t.Helper()
	sig, err := Parse(language, code)
	got := shape(sig)
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("%s\n got %s\nwant %s", code, got, want)
	}
	sound(t, sig)
}

// sound checks what holds of every signature.
func sound(t *testing.T, sig Signature) {
	t.Helper()
	if s := sig.Schema(); !json.Valid(s) || string(s) == "{}" {
		t.Errorf("the schema is not JSON: %s", s)
	}
	seen := map[string]bool{}
	for _, a := range sig.Args {
		if a.HasDefault != json.Valid(a.Default) {
			t.Errorf("%s: default %q", a.Name, a.Default)
		}
		if a.Name == "" || seen[a.Name] {
			t.Errorf("the name %q", a.Name)
		}
		seen[a.Name] = true
		if _, err := json.Marshal(a.Type); err != nil {
			t.Error(err)
		}
	}
	if len(sig.Args) > MaxArgs {
		t.Errorf("%d arguments", len(sig.Args))
	}
}

// fuzz parses any code of a language, and lists its imports.
func fuzz(f *testing.F, language string, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, code string) {
		for _, entry := range []string{Main, Preprocessor} {
			sig, err := ParseEntry(language, code, entry)
			var where *Error
			if err != nil && (!errors.As(err, &where) || where.Line < 1 || where.Column < 1 || where.Message == "") {
				t.Errorf("error %v", err)
			}
			sound(t, sig)
		}
		for _, i := range Imports(language, code) {
			if i.Kind == "" || i.Name == "" || i.Spec == "" {
				t.Errorf("import %+v", i)
			}
		}
	})
}

func TestParseRefuses(t *testing.T) {
	if _, err := Parse("cobol", ""); sluice.CodeOf(err) != sluice.CodeInvalid || !strings.Contains(err.Error(), "language: must be one of bash") {
		t.Errorf("unknown language: %v", err)
	}
	big := strings.Repeat(" ", MaxCodeBytes+1)
	for _, l := range Languages() {
		if _, err := Parse(l, big); sluice.CodeOf(err) != sluice.CodeInvalid || !strings.Contains(err.Error(), "content: must be at most 4 MiB") {
			t.Errorf("%s: too much code: %v", l, err)
		}
	}
}

func TestSchema(t *testing.T) {
	str := Type{Kind: Str}
	sig := Signature{Args: []Arg{
		{Name: "z", Type: str},
		{Name: "color", Type: Type{Kind: Str, Enum: []string{"red", "blue"}}, HasDefault: true, Default: json.RawMessage(`"red"`)},
		{Name: "n", Type: Type{Kind: Int}, HasDefault: true, Default: null},
		{Name: "f", Type: Type{Kind: Float}},
		{Name: "b", Type: Type{Kind: Bool}},
		{Name: "raw", Type: Type{Kind: Bytes}},
		{Name: "at", Type: Type{Kind: Datetime}},
		{Name: "day", Type: Type{Kind: Date}},
		{Name: "db", Type: Type{Kind: Resource, Name: "postgresql"}},
		{Name: "l", Type: listOf(listOf(str))},
		{Name: "o", Type: Type{Kind: Object, Props: []Prop{{"b", str, false}, {"a", Type{Kind: Int}, true}}}},
		{Name: "any", Type: Type{Kind: Unknown}},
		{Name: "dict", Type: Type{Kind: Object}},
	}}
	want := `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{` +
		`"z":{"type":"string"},"color":{"type":"string","enum":["red","blue"],"default":"red"},"n":{"type":"integer"},` +
		`"f":{"type":"number"},"b":{"type":"boolean"},"raw":{"type":"string","contentEncoding":"base64"},` +
		`"at":{"type":"string","format":"date-time"},"day":{"type":"string","format":"date"},` +
		`"db":{"type":"object","format":"resource-postgresql"},"l":{"type":"array","items":{"type":"array","items":{"type":"string"}}},` +
		`"o":{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"integer"}},"required":["b"]},"any":{},"dict":{"type":"object"}},` +
		`"required":["z","f","b","raw","at","day","db","l","o","any","dict"],` +
		`"order":["z","color","n","f","b","raw","at","day","db","l","o","any","dict"]}`
	if got := string(sig.Schema()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{},"required":[],"order":[]}`
	if got := string(Signature{}.Schema()); got != want {
		t.Errorf("got %s", got)
	}
}
