package httpapi

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var contractQuery = regexp.MustCompile("(GET|POST) ((?:…|/)[^\\s`?\\[,;)|]*)\\[?\\?([a-z_]+=[^\\s`|]*)")

// unserved are query parameters that the clients send and that change nothing
// here.
var unserved = []string{"include_without_main", "include_draft_only"}

// TestContractParams: the document describes the query parameters that the
// tables name in the calls that are answered.
func TestContractParams(t *testing.T) {
	text, err := os.ReadFile("testdata/windmill-contract.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}
	r.read(r.ok(200, "GET", "/openapi.json", ""), &doc)
	described := map[string][]string{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			row := strings.ToUpper(method) + " " + anyParam.ReplaceAllString(path, "{}")
			described[row] = []string{}
			for _, p := range op.Parameters {
				if p.In == "query" {
					described[row] = append(described[row], p.Name)
				}
			}
		}
	}
	n := 0
	for _, m := range contractQuery.FindAllStringSubmatch(string(text), -1) {
		row := m[1] + " " + contractPath(m[2])
		known, served := described[row]
		if !served || strings.HasSuffix(row, "create_snapshot") { // which is refused, whatever it asks for
			continue
		}
		for pair := range strings.SplitSeq(m[3], "&") {
			name, _, _ := strings.Cut(pair, "=")
			if n++; !slices.Contains(known, name) && !slices.Contains(unserved, name) {
				t.Errorf("%s: the document does not describe the parameter %s", row, name)
			}
		}
	}
	if n < 15 {
		t.Errorf("the tables name %d parameters: they are not read as they are written", n)
	}
}
