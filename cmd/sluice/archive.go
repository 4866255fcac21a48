package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"sluice"
)

// The bounds of an archive that is read. What its headers say of sizes is not
// believed.
const (
	maxArchive    = 64 << 20 // bytes of the file
	maxUnpacked   = 64 << 20 // bytes of all its entries
	maxEntries    = 20_000
	archiveExt    = ".script.json"
	archiveIndent = "  "
)

// serverFields are fields of a script that the server makes; they are no part
// of an archive, nor are those that stand elsewhere in it.
var serverFields = []string{
	"archived", "content", "created_at", "created_by", "deleted", "extra_perms", "hash", "is_template", "language",
	"lock_error_logs", "parent_hash", "parent_hashes", "path", "starred", "workspace_id",
}

// falseDefaults are fields that are left out where they are false.
var falseDefaults = []string{"has_preprocessor", "ws_error_handler_muted"}

// packed is a script in an archive.
type packed struct {
	path, language, content string
	settings                map[string]json.RawMessage
}

// pack makes the archive's form of a script as the server shows it.
func pack(fields map[string]json.RawMessage) (packed, error) {
	p := packed{settings: map[string]json.RawMessage{
		"summary": json.RawMessage(`""`), "description": json.RawMessage(`""`), "kind": json.RawMessage(`"script"`), "schema": json.RawMessage(`{}`),
	}}
	for name, into := range map[string]*string{"path": &p.path, "language": &p.language, "content": &p.content} {
		if err := json.Unmarshal(fields[name], into); err != nil {
			return p, &sluice.Error{Code: sluice.CodeInternal, Field: name, Message: "is not what a server shows of a script", Err: err}
		}
	}
	for name, v := range fields {
		if !slices.Contains(serverFields, name) {
			p.settings[name] = v
		}
	}
	p.settle()
	return p, nil
}

// settle leaves out what says nothing.
func (p *packed) settle() {
	for name, v := range p.settings {
		if string(v) == "null" || string(v) == "false" && slices.Contains(falseDefaults, name) {
			delete(p.settings, name)
		}
	}
}

// file returns the name of the code; code invalid if there is none from which
// path and language could be read again.
func (p *packed) file() (string, error) {
	for _, list := range [][][2]string{scriptLanguages, keptLanguages} {
		for _, l := range slices.Backward(list) { // .ts before .bun.ts
			name := p.path + l[0]
			if where, language := splitArchived(name); l[1] == p.language && where == p.path && language == p.language {
				return name, nil
			}
		}
	}
	return "", sluice.Invalid(p.path, "has a language that no file can stand for: %s", p.language)
}

// same reports whether two scripts are the same in all that an archive holds.
func (p *packed) same(o *packed) bool {
	return p.path == o.path && p.language == o.language && p.content == o.content &&
		maps.EqualFunc(p.settings, o.settings, func(a, b json.RawMessage) bool { return bytes.Equal(canonical(a), canonical(b)) })
}

// canonical writes JSON so that equal values are equal bytes; numbers keep
// their digits.
func canonical(v json.RawMessage) []byte {
	var x any
	d := json.NewDecoder(bytes.NewReader(v))
	d.UseNumber()
	if d.Decode(&x) != nil {
		return v
	}
	data, err := json.Marshal(x)
	if err != nil {
		return v
	}
	return data
}

// writeArchive writes scripts and flows in the layout of Windmill's exports.
func writeArchive(w io.Writer, scripts []packed, flows []packedFlow) error {
	z := zip.NewWriter(w)
	for _, f := range flows {
		text, err := json.MarshalIndent(f.settings, "", archiveIndent)
		if err != nil {
			return fmt.Errorf("make JSON of %s: %w", f.path, err)
		}
		into, err := z.Create(f.path + flowJSON)
		if err == nil {
			_, err = into.Write(append(text, '\n'))
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	for _, p := range scripts {
		name, err := p.file()
		if err != nil {
			return err
		}
		settings, err := json.MarshalIndent(p.settings, "", archiveIndent)
		if err != nil {
			return fmt.Errorf("make JSON of the settings of %s: %w", p.path, err)
		}
		for _, entry := range []struct {
			name string
			data []byte
		}{{name, []byte(p.content)}, {p.path + archiveExt, append(settings, '\n')}} {
			f, err := z.Create(entry.name)
			if err == nil {
				_, err = f.Write(entry.data)
			}
			if err != nil {
				return fmt.Errorf("write %s: %w", entry.name, err)
			}
		}
	}
	return z.Close()
}

// readSettings reads what stands beside the code, if anything does.
func (p *packed) readSettings(entries map[string][]byte) error {
	empty, err := pack(map[string]json.RawMessage{"path": []byte(`""`), "language": []byte(`""`), "content": []byte(`""`)})
	if err != nil {
		return err
	}
	p.settings = empty.settings
	data, ok := entries[p.path+archiveExt]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(data, &p.settings); err != nil || p.settings == nil {
		return sluice.Invalid(p.path+archiveExt, "is no JSON object")
	}
	for _, name := range serverFields {
		delete(p.settings, name)
	}
	p.settle()
	return nil
}
