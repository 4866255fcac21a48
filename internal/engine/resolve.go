package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/store"
)

// A JSON string "$var:PATH" stands for the text of a variable, "$res:PATH" for
// the value of a resource, in which strings stand for others again. They are
// stored as they were sent, and resolved on the way to whom they are for.
const (
	varMark = "$var:"
	resMark = "$res:"
)

// Bounds on what is resolved at once.
const (
	maxReferences    = 1_000
	maxResolvedBytes = 8 << 20
	maxResolveDepth  = 16
)

// resolver puts values in the place of references, in somebody's name.
type resolver struct {
	e         *Engine
	r         store.Reader
	workspace string
	who       Who
	find      func() (Who, error)                          // finds who, once something is referred to; nil: who is known
	may       func(domain, path string, secret bool) error // refuses what must not be seen beside who; nil: nothing
	secrets   []string                                     // values of secrets that were seen
	opened    []string                                     // their paths
	count     int
	bytes     int
	open      []string // resources that the one being resolved stands in
}

// refers reports whether JSON may hold a reference.
func refers(raw []byte) bool {
	return bytes.Contains(raw, []byte(varMark)) || bytes.Contains(raw, []byte(resMark)) || bytes.Contains(raw, []byte(`\u`))
}

// reference returns what a JSON string, with its quotes, refers to.
func reference(token []byte) (string, bool) {
	text := string(token[1 : len(token)-1])
	if strings.Contains(text, `\`) && json.Unmarshal(token, &text) != nil {
		return "", false
	}
	return text, strings.HasPrefix(text, varMark) || strings.HasPrefix(text, resMark)
}

// expand replaces the references in a JSON value and leaves all else as it was
// written, byte for byte. An error says in which field of the object it is.
func (s *resolver) expand(raw json.RawMessage) (json.RawMessage, error) {
	if !refers(raw) || !json.Valid(raw) {
		return raw, nil
	}
	var out bytes.Buffer
	copied, depth, field := 0, 0, ""
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := stringEnd(raw, i)
			token := raw[i:end]
			if rest := bytes.TrimLeft(raw[end:], " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
				if depth == 1 {
					if err := json.Unmarshal(token, &field); err != nil {
						return nil, err
					}
				}
			} else if ref, ok := reference(token); ok {
				value, err := s.value(ref)
				if err != nil {
					return nil, inField(field, err)
				}
				out.Write(raw[copied:i])
				out.Write(value)
				copied = end
			}
			i = end - 1
		}
	}
	if copied == 0 {
		return raw, nil
	}
	out.Write(raw[copied:])
	return out.Bytes(), nil
}

// stringEnd returns the index after the JSON string that begins at i.
func stringEnd(raw []byte, i int) int {
	for i++; raw[i] != '"'; i++ {
		if raw[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// inField says in which field of an object something was wrong.
func inField(field string, err error) error {
	var e *sluice.Error
	if field == "" || !errors.As(err, &e) {
		return err
	}
	named := *e
	named.Field, named.Message = field, e.Error()
	return &named
}

// value returns what a reference stands for.
func (s *resolver) value(ref string) (json.RawMessage, error) {
	path := ref[len(varMark):]
	if s.find != nil {
		who, err := s.find()
		if err != nil {
			return nil, err
		}
		s.who, s.find = who, nil
	}
	if s.count++; s.count > maxReferences {
		return nil, sluice.Errorf(sluice.CodeInvalid, "more than %d variables and resources are named", maxReferences)
	}
	var v json.RawMessage
	var err error
	if strings.HasPrefix(ref, varMark) {
		v, err = s.variable(path)
	} else {
		v, err = s.resource(path)
	}
	if s.bytes += len(v); err == nil && s.bytes > maxResolvedBytes {
		err = sluice.Errorf(sluice.CodeTooLarge, "variables and resources of more than %d bytes are named", maxResolvedBytes)
	}
	return v, err
}

func (s *resolver) variable(path string) (json.RawMessage, error) {
	if err := s.who.allow(s.r, s.workspace, store.KindVariable, path, store.RightRead); err != nil {
		return nil, err
	}
	v, err := s.r.Variable(s.workspace, path)
	if err != nil {
		return nil, notFound(err, "there is no variable %s", path)
	}
	if s.may != nil {
		if err := s.may("variables", path, v.Secret()); err != nil {
			return nil, err
		}
	}
	text, err := s.e.reveal(s.r, v)
	if err != nil {
		return nil, err
	}
	if v.Secret() {
		s.secrets, s.opened = append(s.secrets, text), append(s.opened, path)
	}
	return asJSON(text)
}

// asJSON writes a text as JSON, with its letters as they are.
func asJSON(text string) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(text)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

func (s *resolver) resource(path string) (json.RawMessage, error) {
	if err := s.who.allow(s.r, s.workspace, store.KindResource, path, store.RightRead); err != nil {
		return nil, err
	}
	switch {
	case slices.Contains(s.open, path):
		return nil, sluice.Errorf(sluice.CodeInvalid, "resource %s refers to itself, by way of %s", path, strings.Join(s.open, ", "))
	case len(s.open) == maxResolveDepth:
		return nil, sluice.Errorf(sluice.CodeInvalid, "resources refer to each other more than %d deep", maxResolveDepth)
	}
	row, err := s.r.Resource(s.workspace, path)
	if err != nil {
		return nil, notFound(err, "there is no resource %s", path)
	}
	if s.may != nil {
		if err := s.may("resources", path, false); err != nil {
			return nil, err
		}
	}
	s.open = append(s.open, path)
	v, err := s.expand(row.Value)
	s.open = s.open[:len(s.open)-1]
	var e *sluice.Error
	if errors.As(err, &e) {
		within := *e
		within.Field, within.Message = "", "resource "+path+": "+e.Error()
		return nil, &within
	}
	return v, err
}

// ResourceValue returns the value of a resource with the variables and
// resources that it refers to, and the paths of the secrets in it. may refuses
// what the caller must not see of them, by "variables" or "resources", path, and
// whether it is a secret.
func (e *Engine) ResourceValue(ctx context.Context, workspace, path string, by Who, may func(domain, path string, secret bool) error) (v json.RawMessage, opened []string, err error) {
	var secrets []string
	err = e.store.View(ctx, func(r store.Reader) (err error) {
		s := &resolver{e: e, r: r, workspace: workspace, who: by, may: may}
		v, err = s.resource(path)
		opened, secrets = s.opened, s.secrets
		return err
	})
	if err == nil {
		err = e.giveSecrets(ctx, by.Execution, secrets...)
	}
	return v, opened, err
}
