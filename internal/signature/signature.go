package signature

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice"
)

// Bounds of what is read.
const (
	MaxCodeBytes = 4 << 20 // of code
	MaxArgs      = 1000    // of an entry point

	maxDepth = 64 // of types and values inside each other
)

// Main and Preprocessor are the names of the two entry points.
const (
	Main         = "main"
	Preprocessor = "preprocessor"
)

// Signature is what an entry point takes. The zero value takes nothing.
type Signature struct {
	Args            []Arg
	StarArgs        bool   // takes further arguments by position
	StarKwargs      bool   // takes further arguments by name
	HasPreprocessor bool   // the code has a preprocessor beside main
	NoMain          bool   // the language wants an entry point and the code has none
	Database        string // path of the resource that SQL names in a comment, else ""
	Functions       bool   // entry points are functions in this language
}

// Arg is one argument. Args keep the order of the code.
type Arg struct {
	Name string
	Type Type
	// HasDefault tells that the argument may be left out: it has a default, or
	// its type allows for nothing (Optional, null, undefined, a pointer).
	HasDefault bool
	// Default is the default as JSON; null if it is no literal, or if leaving the
	// argument out means nothing. It is empty if HasDefault is not set.
	Default json.RawMessage
	// Position is the number of a positional parameter such as $1 in bash and
	// SQL; 0 in other languages.
	Position int
	// Variadic tells that Go takes the elements of the list one by one.
	Variadic bool
}

// Kind is the sort of a [Type]. Its text is the one of Windmill's API.
type Kind string

// The kinds.
const (
	Unknown  Kind = "unknown" // any value
	Str      Kind = "str"     // Enum lists the values if there are only some
	Int      Kind = "int"
	Float    Kind = "float"
	Bool     Kind = "bool"
	Bytes    Kind = "bytes"    // Base64 in JSON
	Datetime Kind = "datetime" // RFC 3339 in JSON
	Date     Kind = "date"
	Email    Kind = "email"
	SQL      Kind = "sql"      // a string to be edited as SQL
	List     Kind = "list"     // of Elem
	Object   Kind = "object"   // with Props; none: of any shape
	Resource Kind = "resource" // an object of the resource type Name
)

// Type is the type of an argument. The zero value is no type; [Unknown] is the
// one of any value.
type Type struct {
	Kind  Kind
	Enum  []string
	Elem  *Type
	Name  string
	Props []Prop
}

// Prop is a property of an object.
type Prop struct {
	Name     string
	Type     Type
	Optional bool
}

// MarshalJSON writes a type as Windmill's API does: "int", {"list":"int"},
// {"str":["a","b"]}, {"resource":"postgresql"}, {"object":[{"key","typ"}]}.
func (t Type) MarshalJSON() ([]byte, error) {
	type prop struct {
		Key string `json:"key"`
		Typ Type   `json:"typ"`
	}
	switch {
	case t.Kind == Str && len(t.Enum) > 0:
		return json.Marshal(map[Kind]any{Str: t.Enum})
	case t.Kind == List && t.Elem != nil:
		return json.Marshal(map[Kind]any{List: t.Elem})
	case t.Kind == Resource:
		return json.Marshal(map[Kind]any{Resource: t.Name})
	case t.Kind == Object:
		props := make([]prop, len(t.Props))
		for i, p := range t.Props {
			props[i] = prop{p.Name, p.Type}
		}
		return json.Marshal(map[Kind]any{Object: props})
	case t.Kind == "":
		return json.Marshal(Unknown)
	}
	return json.Marshal(string(t.Kind))
}

// Error says what is wrong with code, and where. Line and Column begin with 1;
// columns count characters.
type Error struct {
	Line, Column int
	Message      string
}

// Error returns the place and the message.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// errorAt makes an [Error] for a place in the code.
func errorAt(code string, at int, format string, args ...any) *Error {
	before := code[:min(max(at, 0), len(code))]
	start := strings.LastIndexByte(before, '\n') + 1
	return &Error{
		Line:    strings.Count(before, "\n") + 1,
		Column:  utf8.RuneCountInString(before[start:]) + 1,
		Message: fmt.Sprintf(format, args...),
	}
}

// languages maps what a language may be called to the function that reads it.
var languages = map[string]func(code, entry string) (Signature, error){
	"bash":       func(code, _ string) (Signature, error) { return parseBash(code), nil },
	"bun":        parseTypeScript,
	"deno":       parseTypeScript,
	"go":         parseGo,
	"nativets":   parseTypeScript,
	"python":     parsePython,
	"python3":    parsePython,
	"postgresql": func(code, _ string) (Signature, error) { return parsePostgres(code), nil },
}

// Languages returns the names of the languages that [Parse] reads, sorted.
func Languages() []string {
	names := make([]string, 0, len(languages))
	for name := range languages {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Parse reads the signature of main. Code without main is no error: NoMain
// tells. It returns an [Error] for code that cannot be read that far, and a
// [sluice.Error] that names the field for an unknown language or too much code.
func Parse(language, code string) (Signature, error) {
	return ParseEntry(language, code, Main)
}

// ParseEntry is [Parse] for another entry point, such as [Preprocessor]. NoMain
// then tells that the code has no such function. Languages without functions
// have one entry point, whatever it is called.
func ParseEntry(language, code, entry string) (Signature, error) {
	read := languages[language]
	if read == nil {
		return Signature{}, sluice.Invalid("language", "must be one of %s", strings.Join(Languages(), ", "))
	}
	if len(code) > MaxCodeBytes {
		return Signature{}, sluice.Invalid("content", "must be at most %d MiB long", MaxCodeBytes>>20)
	}
	return read(code, entry)
}

func itoa(n int) string { return strconv.Itoa(n) }

var null = json.RawMessage("null")

func listOf(elem Type) Type { return Type{Kind: List, Elem: &elem} }
