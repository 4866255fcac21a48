package signature

import (
	"encoding/json"
	"slices"
	"strings"
)

// parsePostgres reads the parameters of a statement. They are declared by
// comments at the beginning of a line, and used as $1, $2, …:
//
//	-- $1 name
//	-- $2 age (int) = 3
//	-- database f/folder/connection
//	SELECT $1::text, $2
//
// A type in a comment wins over the one of a cast in the code; without either
// it is text. A parameter that is used and not declared is called "$1". The
// connection is an argument, database, unless a comment names a resource.
func parsePostgres(code string) Signature {
	s := sqlScanner{src: code, params: map[int]*sqlParam{}}
	s.scan()
	sig := Signature{Database: s.database}
	seen := map[string]bool{}
	if sig.Database == "" {
		sig.Args = append(sig.Args, Arg{Name: "database", Type: Type{Kind: Resource, Name: "postgresql"}})
		seen["database"] = true
	}
	numbers := make([]int, 0, len(s.params))
	for n := range s.params {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		p := s.params[n]
		if p.name == "" {
			p.name = "$" + itoa(n)
		}
		if seen[p.name] || len(sig.Args) >= MaxArgs {
			continue
		}
		seen[p.name] = true
		typ := p.declared
		if typ == "" {
			typ = p.cast
		}
		a := Arg{Name: p.name, Type: sqlType(typ), Position: n}
		if p.hasDefault {
			a.HasDefault, a.Default = true, sqlDefault(a.Type, p.value)
		}
		sig.Args = append(sig.Args, a)
	}
	return sig
}

type sqlParam struct {
	name, declared, cast, value string
	hasDefault                  bool
}

// sqlScanner walks over SQL and finds parameters and comments, outside of
// strings.
type sqlScanner struct {
	src      string
	at       int
	params   map[int]*sqlParam
	database string
}

func (s *sqlScanner) scan() {
	for s.at < len(s.src) {
		rest := s.src[s.at:]
		switch c := rest[0]; {
		case strings.HasPrefix(rest, "--"):
			line, _, _ := strings.Cut(rest, "\n")
			s.comment(strings.TrimRight(line[2:], " \t\r"))
			s.at += len(line)
		case strings.HasPrefix(rest, "/*"):
			s.skipBlock()
		case c == '\'':
			s.skipQuoted('\'', false)
		case c == '"':
			s.skipQuoted('"', false)
		case c == '$':
			s.dollar()
		case isNameByte(c):
			start := s.at
			for s.at < len(s.src) && (isNameByte(s.src[s.at]) || s.src[s.at] == '$') {
				s.at++
			}
			if s.at == start+1 && c|0x20 == 'e' && strings.HasPrefix(s.src[s.at:], "'") {
				s.skipQuoted('\'', true)
			}
		default:
			s.at++
		}
	}
}

func isNameByte(c byte) bool {
	return c == '_' || c >= 0x80 || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

func (s *sqlScanner) skipQuoted(quote byte, escapes bool) {
	for s.at++; s.at < len(s.src); s.at++ {
		switch c := s.src[s.at]; {
		case c == quote: // a doubled one ends one string and begins the next
			s.at++
			return
		case c == '\\' && escapes:
			s.at++
		}
	}
	s.at = len(s.src)
}

// skipBlock moves over a comment; they nest.
func (s *sqlScanner) skipBlock() {
	for depth := 0; s.at < len(s.src); {
		switch rest := s.src[s.at:]; {
		case strings.HasPrefix(rest, "/*"):
			depth++
			s.at += 2
		case strings.HasPrefix(rest, "*/"):
			s.at += 2
			if depth--; depth == 0 {
				return
			}
		default:
			s.at++
		}
	}
}

// dollar reads $1 or moves over $tag$…$tag$.
func (s *sqlScanner) dollar() {
	start := s.at
	s.at++
	for s.at < len(s.src) && isNameByte(s.src[s.at]) {
		s.at++
	}
	word := s.src[start+1 : s.at]
	if n := number(word); n > 0 {
		p := s.param(n)
		if cast, ok := strings.CutPrefix(s.src[s.at:], "::"); ok && p.cast == "" {
			p.cast = sqlTypeName(cast[:min(len(cast), maxTypeName)])
		}
		return
	}
	if word != "" && word[0] >= '0' && word[0] <= '9' || !strings.HasPrefix(s.src[s.at:], "$") {
		return
	}
	s.at++
	if _, after, ok := strings.Cut(s.src[s.at:], "$"+word+"$"); ok {
		s.at = len(s.src) - len(after)
		return
	}
	s.at = len(s.src)
}

func (s *sqlScanner) param(n int) *sqlParam {
	p := s.params[n]
	if p == nil {
		p = &sqlParam{}
		s.params[n] = p
	}
	return p
}

// comment reads what follows -- on a line.
func (s *sqlScanner) comment(text string) {
	text = strings.TrimSpace(text)
	if path, ok := strings.CutPrefix(text, "database "); ok {
		if path = strings.TrimSpace(path); s.database == "" && path != "" && !strings.ContainsAny(path, " \t") {
			s.database = path
		}
		return
	}
	digits, rest, ok := strings.Cut(strings.TrimPrefix(text, "$"), " ")
	n := number(digits)
	if !ok || n == 0 || text[0] != '$' {
		return
	}
	rest = strings.TrimSpace(rest)
	end := 0
	for end < len(rest) && isNameByte(rest[end]) {
		end++
	}
	declared := sqlParam{name: rest[:end]}
	rest = strings.TrimSpace(rest[end:])
	if strings.HasPrefix(rest, "(") {
		inner, after, ok := strings.Cut(rest[1:], ")")
		if depth := strings.Count(inner, "("); ok && depth == 1 { // numeric(10, 2)
			more, a, o := strings.Cut(after, ")")
			inner, after, ok = inner+")"+more, a, o
		}
		if !ok {
			return
		}
		declared.declared, rest = sqlTypeName(inner), strings.TrimSpace(after)
	}
	if value, ok := strings.CutPrefix(rest, "="); ok {
		declared.value, declared.hasDefault = strings.TrimSpace(value), true
	} else if rest != "" {
		return // a sentence that happens to begin with a parameter
	}
	p := s.param(n)
	if declared.name != "" && p.name == "" {
		declared.cast = p.cast
		*p = declared
	}
}

// maxTypeName bounds how far is looked for the end of a type in a cast.
const maxTypeName = 200

// sqlTypeName returns the type at the beginning of a text in one spelling:
// small letters, single spaces, no precision, [] for an array.
func sqlTypeName(text string) string {
	end := 0
	for end < len(text) && isNameByte(text[end]) {
		end++
	}
	name := strings.ToLower(text[:end])
	rest := text[end:]
	if after, ok := strings.CutPrefix(strings.ToLower(strings.TrimLeft(rest, " ")), "precision"); ok && name == "double" {
		rest = after
	}
	if after, ok := strings.CutPrefix(rest, "("); ok {
		if _, after, ok = strings.Cut(after, ")"); ok {
			rest = after
		}
	}
	if rest = strings.TrimLeft(rest, " "); strings.HasPrefix(rest, "[") {
		name += "[]"
	}
	return name
}

func sqlType(name string) Type {
	if elem, ok := strings.CutSuffix(name, "[]"); ok {
		return listOf(sqlType(elem))
	}
	switch name {
	case "int", "integer", "smallint", "bigint", "int2", "int4", "int8", "serial", "bigserial", "smallserial", "serial2", "serial4", "serial8", "oid":
		return Type{Kind: Int}
	case "real", "double", "float", "float4", "float8", "numeric", "decimal":
		return Type{Kind: Float}
	case "bool", "boolean":
		return Type{Kind: Bool}
	case "date", "timestamp", "timestamptz":
		return Type{Kind: Datetime}
	case "json", "jsonb":
		return Type{Kind: Object}
	case "bytea":
		return Type{Kind: Bytes}
	}
	return Type{Kind: Str}
}

// sqlDefault returns the default that a comment gives as JSON. A string may
// stand in single quotes or in none.
func sqlDefault(t Type, value string) json.RawMessage {
	if strings.EqualFold(value, "null") {
		return null
	}
	bare := value
	if len(value) >= 2 && value[0] == '\'' && value[len(value)-1] == '\'' {
		bare = strings.ReplaceAll(value[1:len(value)-1], "''", "'")
	}
	switch t.Kind {
	case Int, Float, Object, List, Bool, Unknown:
		if lower := strings.ToLower(bare); t.Kind == Bool && (lower == "true" || lower == "false") {
			return json.RawMessage(lower)
		}
		if json.Valid([]byte(bare)) {
			return json.RawMessage(bare)
		}
	case Str, Bytes, Datetime, Date, Email, SQL, Resource:
	}
	return text(bare)
}
