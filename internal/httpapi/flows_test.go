package httpapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"sluice/internal/engine"
)

// oddFlow is a flow in a form that a round trip through Go's own types would
// change.
const oddFlow = `{"path":"f/a/flow","summary":"Sé <b>&","description":"# t\n","value":{"modules":[{"id":"a","value":{"type":"rawscript","language":"bash",` +
	`"content":"echo <&> 😀","input_transforms":{"z":{"type":"static","value":12345678901234567890},"a":{"type":"javascript","expr":"flow_input.x"}}}}],"x_y":1.0},` +
	`"schema":{"z":1.0,"a":{"e":1e3}},"tag":null,"labels":["b","a"],"ws_error_handler_muted":false,"deployment_message":"why","skip_draft_deletion":true}`

// TestFlowComesBackAsPushed: value and schema to the letter, and every other
// field of the file, null or not, so that a client that compares finds nothing.
func TestFlowComesBackAsPushed(t *testing.T) {
	r := newRig(t)
	if got := r.ok(201, "POST", "/api/w/main/flows/create", oddFlow); got != "f/a/flow" {
		t.Errorf("answered %q", got)
	}
	got := r.ok(200, "GET", "/api/w/main/flows/get/f/a/flow", "")
	for _, part := range []string{
		oddFlow[strings.Index(oddFlow, `"value":`):strings.Index(oddFlow, `,"schema"`)], `"schema":{"z":1.0,"a":{"e":1e3}}`, `"tag":null`,
		`"labels":["b","a"]`, `"ws_error_handler_muted":false`, `"summary":"Sé <b>&"`, `"edited_by":"admin"`,
	} {
		if !strings.Contains(got, part) {
			t.Errorf("lacks %s: %s", part, got)
		}
	}
	for _, name := range []string{"deployment_message", "skip_draft_deletion"} {
		if strings.Contains(got, name) {
			t.Errorf("shows %s: %s", name, got)
		}
	}
	list := r.ok(200, "GET", "/api/w/main/flows/list", "")
	if strings.Contains(list, "modules") || strings.Contains(list, "schema") || !strings.Contains(list, `"labels":["b","a"]`) {
		t.Errorf("the list: %s", list)
	}
}

func TestFlowVersions(t *testing.T) {
	r := newRig(t)
	flow := func(path, value, extra string) string {
		return fmt.Sprintf(`{"path":%q,"value":%s%s}`, path, value, extra)
	}
	history := func(path string) []any {
		t.Helper()
		return r.list(r.ok(200, "GET", "/api/w/main/flows/history/p/"+path, ""))
	}
	r.ok(201, "POST", "/api/w/main/flows/create", flow("f/a", `{"modules":[]}`, `,"deployment_message":"first"`))
	if got := r.do("POST", "/api/w/main/flows/create", flow("f/a", `{"modules":[]}`, "")); got.status != 409 || !strings.Contains(got.body, "f/a") {
		t.Errorf("created twice: %d %s", got.status, got.body)
	}
	if got := r.do("POST", "/api/w/main/flows/update/f/none", flow("f/none", `{"modules":[]}`, "")); got.status != 404 {
		t.Errorf("update of none: %d %s", got.status, got.body)
	}
	r.ok(200, "POST", "/api/w/main/flows/update/f/a", flow("f/a", ` { "modules" : [] } `, `,"deployment_message":"nothing new","tag":null`))
	if n := len(history("f/a")); n != 1 {
		t.Errorf("%d versions, though nothing was new", n)
	}
	r.ok(200, "POST", "/api/w/main/flows/update/f/a", flow("f/a", `{"modules":[],"priority":1.0}`, ""))
	r.ok(200, "POST", "/api/w/main/flows/update/f/a", flow("f/a", `{"modules":[],"priority":1}`, `,"tag":"x"`))
	versions := history("f/a")
	if len(versions) != 3 {
		t.Fatalf("%v", versions)
	}
	first := versions[2].(map[string]any)
	if first["deployment_msg"] != "first" || first["created_by"] != "admin" || versions[0].(map[string]any)["deployment_msg"] != nil {
		t.Errorf("%v", versions)
	}
	if got := r.ok(200, "GET", fmt.Sprintf("/api/w/main/flows/get/v/%v", first["id"]), ""); !strings.Contains(got, `"value":{"modules":[]}`) {
		t.Errorf("the first version: %s", got)
	}
	r.ok(404, "GET", "/api/w/main/flows/get/v/999", "")

	r.ok(201, "POST", "/api/w/main/flows/create", flow("f/b", `{"modules":[]}`, ""))
	if got := r.do("POST", "/api/w/main/flows/update/f/a", flow("f/b", `{"modules":[]}`, "")); got.status != 409 {
		t.Errorf("moved over another: %d %s", got.status, got.body)
	}
	r.ok(200, "POST", "/api/w/main/flows/update/f/a", flow("f/c", `{"modules":[]}`, ""))
	if got := r.ok(200, "GET", "/api/w/main/flows/list_paths", ""); got != `["f/b","f/c"]` {
		t.Errorf("after a move: %s", got)
	}
	if got := r.ok(200, "GET", "/api/w/main/flows/get/f/a", ""); !strings.Contains(got, `"archived":true`) {
		t.Errorf("where it was: %s", got)
	}
}

func TestArchiveAndDeleteFlows(t *testing.T) {
	r := newRig(t)
	const body = `{"path":"f/a","value":{"modules":[]}}`
	is := func(path, want string) {
		t.Helper()
		if got := r.ok(200, "GET", path, ""); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	r.ok(201, "POST", "/api/w/main/flows/create", body)
	r.ok(200, "POST", "/api/w/main/flows/archive/f/a", `{"archived":true}`)
	is("/api/w/main/flows/list", "[]")
	is("/api/w/main/flows/exists/f/a", "true")
	if got := r.ok(200, "GET", "/api/w/main/flows/list?show_archived=true", ""); len(r.list(got)) != 1 {
		t.Errorf("archived: %s", got)
	}
	r.ok(200, "POST", "/api/w/main/flows/archive/f/a", `{"archived":false}`)
	is("/api/w/main/flows/list_paths", `["f/a"]`)
	r.ok(200, "POST", "/api/w/main/flows/archive/f/a", "")
	r.ok(200, "POST", "/api/w/main/flows/update/f/a", body) // the same again: it is there again
	is("/api/w/main/flows/list_paths", `["f/a"]`)
	for range 2 { // the command line deletes once for each file of a flow
		r.ok(200, "DELETE", "/api/w/main/flows/delete/f/a", "")
		is("/api/w/main/flows/exists/f/a", "false")
		r.ok(404, "GET", "/api/w/main/flows/get/f/a", "")
		r.ok(404, "GET", "/api/w/main/flows/history/p/f/a", "")
	}
	r.ok(404, "POST", "/api/w/main/flows/archive/f/a", "")
	r.ok(201, "POST", "/api/w/main/flows/create", body)
}

func TestFlowIsRefused(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ body, want string }{
		{`{"path":"f/a#b","value":{"modules":[]}}`, "path: "},
		{`{"path":"f/a"}`, "value"},
		{`{"path":"f/a","value":{}}`, "value"},
		{`{"path":"f/a","value":[]}`, "value"},
		{`{"path":"f/a","value":{"modules":1}}`, "value"},
		{`{"path":"f/a","value":{"modules":[]},"schema":[]}`, "schema: "},
		{`{"path":"f/a","value":{"modules":[]},"tag":"a,b"}`, "tag: "},
		{`{"path":"f/a","value":{"modules":[]},"timeout":-1}`, "timeout: "},
		{`{"path":"f/a","value":{"modules":[]},"visible_to_runner_only":true}`, "visible_to_runner_only: "},
		{`{"path":"f/a","value":{"modules":[]},"draft_only":true}`, "draft_only: "},
	} {
		if got := r.do("POST", "/api/w/main/flows/create", c.body); got.status != 400 || !strings.Contains(got.body, c.want) {
			t.Errorf("%s: %d %s, want %q", c.body, got.status, got.body, c.want)
		}
	}
	got := r.do("POST", "/api/w/main/flows/create", `{"path":"f/a","value":{"modules":[]},"dedicated_worker":true,"draft_only":false,"unknown":1}`)
	if got.status != 201 || !strings.Contains(got.header.Get(warningHeader), "dedicated_worker") {
		t.Errorf("%d %s %v", got.status, got.body, got.header)
	}
}

// TestEveryFlowFieldIsDescribed: what is honoured, inert or refused stands in
// the document.
func TestEveryFlowFieldIsDescribed(t *testing.T) {
	r := newRig(t)
	var doc struct {
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	r.read(r.ok(200, "GET", "/openapi.json", ""), &doc)
	described := doc.Components.Schemas["FlowDoc"].Properties
	for _, name := range slices.Sorted(maps.Keys(engine.FlowFields)) {
		if described[name] == nil && name != "on_behalf_of" && name != "preserve_on_behalf_of" {
			t.Errorf("%s is not in the document", name)
		}
	}
}
