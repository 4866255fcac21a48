package engine

import (
	"bytes"
	"encoding/json"

	"sluice"
)

// Bounds on the secrets of one job. What exceeds them is not masked.
const (
	minSecret      = 4 // bytes: anything shorter would mask half of every log
	maxSecrets     = 256
	maxSecretBytes = 256 << 10
	maxSchemaDepth = 16
)

// secretArgs says which parts of a value are secret.
type secretArgs struct {
	whole  bool
	fields map[string]*secretArgs
	items  *secretArgs
}

// readSecretArgs reads from a script's schema which arguments are secret; nil:
// none. A schema that is none says nothing.
func readSecretArgs(schema json.RawMessage, depth int) *secretArgs {
	var s struct {
		Password   any             `json:"password"`
		Sensitive  any             `json:"x-sensitive"`
		Format     any             `json:"format"`
		Properties json.RawMessage `json:"properties"`
		Items      json.RawMessage `json:"items"`
	}
	if depth > maxSchemaDepth || json.Unmarshal(schema, &s) != nil {
		return nil
	}
	out := &secretArgs{whole: s.Password == true || s.Sensitive == true || s.Format == "password"}
	var fields map[string]json.RawMessage
	if json.Unmarshal(s.Properties, &fields) == nil {
		for name, f := range fields {
			if of := readSecretArgs(f, depth+1); of != nil {
				if out.fields == nil {
					out.fields = map[string]*secretArgs{}
				}
				out.fields[name] = of
			}
		}
	}
	if len(s.Items) > 0 {
		out.items = readSecretArgs(s.Items, depth+1)
	}
	if !out.whole && out.fields == nil && out.items == nil {
		return nil
	}
	return out
}

// secretTexts gathers texts without repetition, within the bounds.
type secretTexts struct {
	list  []string
	bytes int
}

func (t *secretTexts) add(s string) {
	if len(s) < minSecret || len(t.list) >= maxSecrets || t.bytes+len(s) > maxSecretBytes {
		return
	}
	for _, known := range t.list {
		if known == s {
			return
		}
	}
	t.list, t.bytes = append(t.list, s), t.bytes+len(s)
}

// from adds the secret leaves of a value, in which references are resolved:
// strings as they are, numbers as they were sent.
func (t *secretTexts) from(v any, of *secretArgs, secret bool) {
	secret = secret || of != nil && of.whole
	if of == nil {
		if !secret {
			return
		}
		of = &secretArgs{}
	}
	switch v := v.(type) {
	case string:
		if secret {
			t.add(v)
		}
	case json.Number:
		if secret {
			t.add(v.String())
		}
	case []any:
		for _, e := range v {
			t.from(e, of.items, secret)
		}
	case map[string]any:
		for name, e := range v {
			t.from(e, of.fields[name], secret)
		}
	}
}

// secretsOf returns the texts of a job that must not show: its token, the
// secret variables that its arguments refer to, and its secret arguments.
func secretsOf(token string, variables []string, of *secretArgs, args json.RawMessage) []string {
	t := &secretTexts{}
	t.add(token)
	for _, v := range variables {
		t.add(v)
	}
	if of != nil {
		d := json.NewDecoder(bytes.NewReader(args))
		d.UseNumber()
		var v any
		if d.Decode(&v) == nil {
			t.from(v, of, false)
		}
	}
	return t.list
}

// equip gives an assignment what its job needs while it runs.
func (u *unit) equip(a *sluice.Assignment, variables []string) error {
	key, err := u.jobKey()
	if err != nil {
		return err
	}
	a.Token = jobToken(key, a.Execution, a.Attempt)
	var of *secretArgs
	if a.Hash != "" && a.Kind != sluice.KindDependencies { // those have no arguments, and the hash may be that of a flow
		c, err := u.e.compiledByHash(u.tx, a.Workspace, a.Hash)
		if err != nil {
			return err
		}
		of = c.secret
	}
	a.Secrets = secretsOf(a.Token, variables, of, a.Args)
	return nil
}
