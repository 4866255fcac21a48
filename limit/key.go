package limit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of keys, in bytes.
const (
	MaxKey         = 255
	MaxTemplate    = 10_000
	keyPrefix      = 190
	argsOpen       = "$args["
	workspaceParam = "$workspace"
)

// Template is a parsed concurrency key: text in which $workspace stands for
// the workspace id and $args[name], $args[a.b.c] for an argument.
type Template struct{ parts []part }

type part struct {
	text      string
	workspace bool
	arg       []string // path of an argument; nil: text or workspace
}

// ParseTemplate parses a concurrency key. It fails if an $args[ has no end or
// an empty name in it, or if the text is longer than MaxTemplate bytes. Any
// other $ stands for itself.
func ParseTemplate(s string) (Template, error) {
	if len(s) > MaxTemplate {
		return Template{}, fmt.Errorf("is %d bytes long; at most %d are allowed", len(s), MaxTemplate)
	}
	var t Template
	text := func(s string) {
		if s != "" {
			t.parts = append(t.parts, part{text: s})
		}
	}
	for s != "" {
		i := strings.IndexByte(s, '$')
		if i < 0 {
			text(s)
			break
		}
		text(s[:i])
		s = s[i:]
		switch {
		case strings.HasPrefix(s, argsOpen):
			end := strings.IndexByte(s, ']')
			if end < 0 {
				return Template{}, fmt.Errorf("has %q without its closing ]; write $args[name]", clip(s))
			}
			path := strings.Split(s[len(argsOpen):end], ".")
			for _, name := range path {
				if name == "" {
					return Template{}, fmt.Errorf("has %q with an empty name in it; write $args[name] or $args[a.b]", clip(s[:end+1]))
				}
			}
			t.parts = append(t.parts, part{arg: path})
			s = s[end+1:]
		case strings.HasPrefix(s, workspaceParam):
			t.parts = append(t.parts, part{workspace: true})
			s = s[len(workspaceParam):]
		default:
			text("$")
			s = s[1:]
		}
	}
	return t, nil
}

func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:runeBoundary(s, most)] + "…"
}

// Resolve fills the template for one job in one pass: text that an argument
// brings in is never expanded. A string argument stands as it is, any other
// value as the sender's own JSON without insignificant white space, an absent
// one as nothing. args must be a JSON object or empty. The result may hold any
// bytes; one longer than MaxKey is cut at a rune boundary and ended with the
// SHA-256 of the whole.
func (t Template) Resolve(workspace string, args json.RawMessage) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		switch {
		case p.workspace:
			b.WriteString(workspace)
		case p.arg != nil:
			s, err := lookup(args, p.arg)
			if err != nil {
				return "", err
			}
			b.WriteString(s)
		default:
			b.WriteString(p.text)
		}
	}
	return bound(b.String()), nil
}

// lookup returns the text of the argument at path, "" if it is absent.
func lookup(args json.RawMessage, path []string) (string, error) {
	if len(bytes.TrimSpace(args)) == 0 {
		return "", nil
	}
	v := args
	for i, name := range path {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(v, &object); err != nil || object == nil {
			if i == 0 {
				return "", fmt.Errorf("the arguments are not a JSON object, so %s… has no value", argsOpen+name)
			}
			return "", nil // a path through something that is no object leads nowhere
		}
		var ok bool
		if v, ok = object[name]; !ok {
			return "", nil
		}
	}
	v = bytes.TrimSpace(v)
	if len(v) > 0 && v[0] == '"' {
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return "", fmt.Errorf("the argument %s is no JSON: %w", strings.Join(path, "."), err)
		}
		return s, nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, v); err != nil {
		return "", fmt.Errorf("the argument %s is no JSON: %w", strings.Join(path, "."), err)
	}
	return b.String(), nil
}

// bound shortens a key that is longer than MaxKey.
func bound(key string) string {
	if len(key) <= MaxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return key[:runeBoundary(key, keyPrefix)] + "#" + hex.EncodeToString(sum[:])
}

// runeBoundary returns the largest i ≤ at at which cutting s splits no rune.
func runeBoundary(s string, at int) int {
	for i := at; i > at-utf8.UTFMax && i > 0; i-- {
		if utf8.RuneStart(s[i]) {
			return i
		}
	}
	return at // no UTF-8 here: any cut is as good
}

// DefaultScriptKey is the key of a script that has a limit and no template.
func DefaultScriptKey(workspace, path string) string { return bound(workspace + "/script/" + path) }

// DefaultFlowKey is the key of a flow that has a limit and no template.
func DefaultFlowKey(workspace, path string) string { return bound(workspace + "/flow/" + path) }

// DependenciesKey is the key of the jobs that find out what the code at a path
// depends on.
func DependenciesKey(workspace, path string) string {
	return bound(workspace + "/dependencies/" + path)
}

// DefaultStepKey is the key of an inline step that has a limit and no template.
func DefaultStepKey(workspace, path, step string) string {
	return bound(workspace + "/flow/" + path + "#" + step)
}
