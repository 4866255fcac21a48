package httpapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the part of the document that the page stands on anew")

const pageDocument = "../../ui/openapi.json"

// TestPageStandsOnTheDocument compares the part of the served document that the
// page calls with the one that its types were made from. After a change:
//
//	go test ./internal/httpapi -run TestPageStandsOnTheDocument -rewrite && npm --prefix ui run types
func TestPageStandsOnTheDocument(t *testing.T) {
	r := newRig(t)
	var doc map[string]any
	r.read(r.ok(200, "GET", "/openapi.json", ""), &doc)
	list, err := os.ReadFile("../../ui/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	var wanted []string
	for line := range strings.Lines(string(list)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			wanted = append(wanted, line)
		}
	}
	part, missing := partOf(doc, wanted)
	if len(missing) > 0 {
		t.Fatalf("the page calls what is not served: %v", missing)
	}
	got, err := json.MarshalIndent(part, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *rewrite {
		if err := os.WriteFile(pageDocument, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(pageDocument)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs from the served document (%v): run this test with -rewrite, then `make types`", pageDocument, err)
	}
}

// partOf returns what a document says of some operations, with the schemas
// that they name, and the operations that it does not know.
func partOf(doc map[string]any, operations []string) (part map[string]any, missing []string) {
	paths, found := map[string]any{}, []string{}
	for path, item := range doc["paths"].(map[string]any) {
		kept := map[string]any{}
		for method, op := range item.(map[string]any) {
			id, _ := op.(map[string]any)["operationId"].(string)
			if slices.Contains(operations, id) {
				kept[method] = op
				found = append(found, id)
			}
		}
		if len(kept) > 0 {
			paths[path] = kept
		}
	}
	all := doc["components"].(map[string]any)["schemas"].(map[string]any)
	schemas := map[string]any{}
	addNamed(schemas, all, paths)
	for _, id := range operations {
		if !slices.Contains(found, id) {
			missing = append(missing, id)
		}
	}
	return map[string]any{
		"openapi": doc["openapi"], "info": map[string]any{"title": "What the page calls", "version": "0"},
		"paths": paths, "components": map[string]any{"schemas": schemas},
	}, missing
}

// addNamed adds the schemas that v names, and those that they name.
func addNamed(to, all map[string]any, v any) {
	switch v := v.(type) {
	case map[string]any:
		if v["properties"] != nil && v["additionalProperties"] == true {
			delete(v, "additionalProperties") // or a slip in a field's name would be no error of types
		}
		if ref, ok := v["$ref"].(string); ok {
			name := strings.TrimPrefix(ref, schemaPrefix)
			if _, known := to[name]; !known && all[name] != nil {
				to[name] = all[name]
				addNamed(to, all, all[name])
			}
		}
		for _, child := range v {
			addNamed(to, all, child)
		}
	case []any:
		for _, child := range v {
			addNamed(to, all, child)
		}
	}
}
