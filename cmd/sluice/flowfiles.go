package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"sluice"
)

// The layout of a flow in Windmill's repositories: a folder with flow.yaml and
// the code of its inline steps.
const (
	flowFile      = "flow.yaml"
	flowExt       = ".flow"
	flowExtPlain  = "__flow" // with nonDottedPaths
	maxFlowNested = 100
)

// splitFlow returns the path of a flow whose folder this is; "" for another
// folder.
func splitFlow(dir string) string {
	for _, ext := range []string{flowExt, flowExtPlain} {
		if where, ok := strings.CutSuffix(dir, ext); ok && where != "" && !strings.HasSuffix(where, "/") {
			return where
		}
	}
	return ""
}

// withoutFlowExt returns the path of a flow that may be given as that of its
// folder or file.
func withoutFlowExt(p string) string {
	p = strings.TrimSuffix(strings.TrimSuffix(p, flowFile), "/")
	if where := splitFlow(p); where != "" {
		return where
	}
	return p
}

// readFlow makes the object that saves a flow out of the files in its folder.
// where is its path; "" leaves that out.
func readFlow(root fs.FS, dir, where string) (map[string]any, error) {
	name := path.Join(dir, flowFile)
	text, err := readFile(root, name)
	if err != nil {
		return nil, err
	}
	given, err := decodeYAML(text)
	if err != nil {
		return nil, sluice.Invalid(name, "%v", err)
	}
	if _, ok := given["value"].(map[string]any); !ok {
		return nil, sluice.Invalid(name, "must have a value with modules")
	}
	if err := inlineFiles(root, dir, given["value"], 0); err != nil {
		return nil, err
	}
	body := map[string]any{"summary": "", "description": "", "schema": map[string]any{}}
	for field, value := range given {
		body[field] = value
	}
	if where != "" {
		body["path"] = where
	}
	return body, nil
}

// inlineFiles puts the text of files in the place of their names, wherever an
// inline script of a flow names one.
func inlineFiles(root fs.FS, dir string, v any, depth int) error {
	if depth > maxFlowNested {
		return sluice.Invalid(path.Join(dir, flowFile), "is nested more than %d deep", maxFlowNested)
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := inlineFiles(root, dir, item, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		if v["type"] == "rawscript" {
			for _, field := range []string{"content", "lock"} {
				text, ok := v[field].(string)
				if !ok || !strings.HasPrefix(text, inlineMark) {
					continue
				}
				content, err := readFile(root, path.Join(dir, path.Clean(strings.TrimPrefix(text, inlineMark))))
				if err != nil {
					return err
				}
				v[field] = content
			}
		}
		for _, item := range v {
			if err := inlineFiles(root, dir, item, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// sameFlow reports whether a server shows each field of a flow as it would be
// pushed. How a flow is saved does not count.
func sameFlow(shown map[string]json.RawMessage, body map[string]any) (bool, error) {
	for field, value := range body {
		data, err := json.Marshal(value)
		if err != nil {
			return false, fmt.Errorf("make JSON of %s: %w", field, err)
		}
		if theirs := shown[field]; string(canonical(data)) != string(canonical(theirs)) && (string(data) != "null" || theirs != nil) {
			return false, nil
		}
	}
	return true, nil
}
