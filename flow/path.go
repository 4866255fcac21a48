package flow

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// path is an expression that needs no JavaScript: a literal, names after each
// other, or a template string of those.
type path struct {
	literal  json.RawMessage // not nil: a literal
	template []part          // not nil: a template string
	root     string
	step     string // of results: which
	keys     []key
}

type part struct {
	text string
	path *path // nil: text
}

type key struct {
	name     string
	index    int // if name is ""
	optional bool
}

// typeError is JavaScript's.
type typeError struct{ message string }

func (e *typeError) Error() string { return e.message }

var (
	name    = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*`)
	index   = regexp.MustCompile(`^\[\s*(0|[1-9][0-9]{0,8})\s*\]`)
	quoted  = regexp.MustCompile(`^\[\s*(?:"([^"\\\n]*)"|'([^'\\\n]*)')\s*\]`)
	literal = regexp.MustCompile(`^(?:-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?|true|false|null|undefined|"[^"\\\n]*"|'[^'\\\n]*')$`)
	plain   = regexp.MustCompile(`^-?(?:0|[1-9][0-9]{0,14})$`)
)

// inherited are names that objects have without having them.
var inherited = map[string]bool{
	"constructor": true, "toString": true, "valueOf": true, "hasOwnProperty": true, "isPrototypeOf": true,
	"propertyIsEnumerable": true, "toLocaleString": true, "__proto__": true, "__defineGetter__": true, "__defineSetter__": true,
	"__lookupGetter__": true, "__lookupSetter__": true,
}

// parsePath reads an expression; nil: it is for JavaScript.
func parsePath(text string) *path {
	text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), ";"))
	switch {
	case literal.MatchString(text):
		return &path{literal: literalValue(text)}
	case len(text) >= 2 && text[0] == '`' && strings.HasSuffix(text, "`"):
		return parseTemplate(text[1 : len(text)-1])
	}
	return parseNames(text)
}

func literalValue(text string) json.RawMessage {
	switch {
	case text == "undefined":
		return json.RawMessage("null")
	case text[0] == '"' || text[0] == '\'':
		b, err := json.Marshal(text[1 : len(text)-1])
		if err != nil {
			return json.RawMessage("null")
		}
		return b
	}
	return json.RawMessage(text)
}

func parseTemplate(text string) *path {
	p := &path{template: []part{}}
	for {
		at := strings.Index(text, "${")
		if strings.ContainsAny(text[:max(at, 0)], "`\\") || at < 0 && strings.ContainsAny(text, "`\\") {
			return nil
		}
		if at < 0 {
			p.template = append(p.template, part{text: text})
			return p
		}
		end := strings.IndexByte(text[at:], '}')
		if end < 0 {
			return nil
		}
		inner := parseNames(strings.TrimSpace(text[at+2 : at+end]))
		if inner == nil {
			return nil
		}
		p.template = append(p.template, part{text: text[:at]}, part{path: inner})
		text = text[at+end+1:]
	}
}

func parseNames(text string) *path {
	p := &path{root: name.FindString(text)}
	text = text[len(p.root):]
	switch p.root {
	case "flow_input", "results", "previous_result", "flow_env", "result", "error", "resume", "resumes", "approvers":
	default:
		return nil
	}
	for text != "" {
		k := key{}
		if strings.HasPrefix(text, "?.") {
			k.optional = true
			if text = text[2:]; text != "" && text[0] != '[' {
				text = "." + text
			}
		}
		switch m, q := index.FindStringSubmatch(text), quoted.FindStringSubmatch(text); {
		case m != nil:
			k.index, _ = strconv.Atoi(m[1])
			text = text[len(m[0]):]
		case q != nil:
			if k.name = q[1] + q[2]; k.name == "" {
				return nil
			}
			text = text[len(q[0]):]
		case text != "" && text[0] == '.':
			if k.name = name.FindString(text[1:]); k.name == "" {
				return nil
			}
			text = text[1+len(k.name):]
		default:
			return nil
		}
		if inherited[k.name] {
			return nil
		}
		p.keys = append(p.keys, k)
	}
	if p.root == "results" {
		if len(p.keys) == 0 || p.keys[0].name == "" {
			return nil
		}
		p.step, p.keys = p.keys[0].name, p.keys[1:]
	}
	return p
}

// value evaluates a path. What only JavaScript can tell gives errScript.
func (p *path) value(e *evaluation) (json.RawMessage, error) {
	if p.literal != nil {
		return p.literal, nil
	}
	if p.template != nil {
		return p.text(e)
	}
	v, err := p.find(e)
	if v == nil && err == nil {
		v = json.RawMessage("null")
	}
	return v, err
}

func (p *path) text(e *evaluation) (json.RawMessage, error) {
	var b strings.Builder
	for _, part := range p.template {
		if part.path == nil {
			b.WriteString(part.text)
			continue
		}
		v, err := part.path.find(e)
		if err != nil {
			return nil, err
		}
		s, ok := asText(v)
		if !ok {
			return nil, errScript
		}
		b.WriteString(s)
	}
	return json.Marshal(b.String())
}

// asText is what a template string makes of a value, nil being undefined.
func asText(v json.RawMessage) (string, bool) {
	switch t := string(bytes.TrimSpace(v)); {
	case v == nil:
		return "undefined", true
	case t == "true" || t == "false" || t == "null" || plain.MatchString(t) && t != "-0":
		return t, true
	case t != "" && t[0] == '"':
		var s string
		err := json.Unmarshal(v, &s)
		return s, err == nil
	}
	return "", false
}

// find follows the names; nil is undefined.
func (p *path) find(e *evaluation) (json.RawMessage, error) {
	v, err := e.root(p.root, p.step)
	if err != nil {
		return nil, err
	}
	for _, k := range p.keys {
		if v == nil || null(v) {
			if k.optional {
				return nil, nil
			}
			what := "null"
			if v == nil {
				what = "undefined"
			}
			n := k.name
			if n == "" {
				n = strconv.Itoa(k.index)
			}
			return nil, &typeError{"TypeError: Cannot read properties of " + what + " (reading '" + n + "')"}
		}
		if v, err = k.of(v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// of gives a property; nil is undefined.
func (k key) of(v json.RawMessage) (json.RawMessage, error) {
	switch bytes.TrimSpace(v)[0] {
	case '{':
		var o map[string]json.RawMessage
		if err := json.Unmarshal(v, &o); err != nil {
			return nil, err
		}
		n := k.name
		if n == "" {
			n = strconv.Itoa(k.index)
		}
		return o[n], nil
	case '[':
		var a []json.RawMessage
		if err := json.Unmarshal(v, &a); err != nil {
			return nil, err
		}
		switch {
		case k.name == "length":
			return json.RawMessage(strconv.Itoa(len(a))), nil
		case k.name != "":
			return nil, errScript
		case k.index < len(a):
			return a[k.index], nil
		}
		return nil, nil
	case '"':
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return nil, err
		}
		if k.name == "length" {
			return json.RawMessage(strconv.Itoa(len(utf16.Encode([]rune(s))))), nil
		}
	}
	return nil, errScript
}
