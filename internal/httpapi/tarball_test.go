package httpapi

import (
	"archive/tar"
	"archive/zip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"sluice/internal/engine"
)

// unzipped returns the entries of an archive.
func (r *rig) unzipped(query string) map[string]string {
	r.t.Helper()
	body := r.ok(200, "GET", "/api/w/main/workspaces/tarball?"+query, "")
	z, err := zip.NewReader(strings.NewReader(body), int64(len(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			r.t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			r.t.Fatal(err)
		}
		out[f.Name] = string(data)
	}
	return out
}

// sameText compares JSON texts by what they say.
func (r *rig) sameText(what, got, want string) {
	r.t.Helper()
	var g, w any
	if err := errors.Join(json.Unmarshal([]byte(got), &g), json.Unmarshal([]byte(want), &w)); err != nil {
		r.t.Errorf("%s: %v: %s", what, err, got)
		return
	}
	gs, _ := json.Marshal(g)
	ws, _ := json.Marshal(w)
	if string(gs) != string(ws) {
		r.t.Errorf("%s: %s, want %s", what, gs, ws)
	}
}

// fill pushes one thing of each kind, as the command line does.
func (r *rig) fill() {
	r.t.Helper()
	for path, body := range map[string]string{
		"scripts/create?skip_if_noop=true": `{"path":"f/a/all","content":"echo","language":"bash","summary":"S","description":"","kind":"script","lock":"","schema":{"type":"object","x-concurrency_window_from":"start"},
"tag":null,"envs":null,"priority":2,"concurrent_limit":3,"concurrency_time_window_s":4,"concurrency_key":"k","ws_error_handler_muted":false,"auto_parent":true,"deployment_message":"m","skip_draft_deletion":true}`,
		"scripts/create": `{"path":"u/admin/bare","content":"export async function main() {}","language":"bun"}`,
	} {
		r.ok(201, "POST", "/api/w/main/"+path, body)
	}
	r.ok(201, "POST", "/api/w/main/scripts/create", `{"path":"f/a/deno","content":"export async function main() {}","language":"deno","lock":""}`)
	r.ok(201, "POST", "/api/w/main/scripts/create", `{"path":"f/a/gone","content":"","language":"bash"}`)
	r.ok(200, "POST", "/api/w/main/scripts/archive/p/f/a/gone", "")
	r.ok(201, "POST", "/api/w/main/flows/create", `{"path":"f/a/flow","summary":"F","value":{"modules":[],"concurrent_limit":1,"x":1.0},"tag":"flow","skip_draft_deletion":true}`)
	r.ok(200, "POST", "/api/w/main/schedules/create", `{"path":"f/a/each","schedule":"0 0 12 * * *","timezone":"UTC","script_path":"f/a/all","is_flow":false,"enabled":true,"email":"x@y.z","permissioned_as":"u/x"}`)
	r.ok(200, "POST", "/api/w/main/schedules/setenabled/f/a/each", `{"enabled":false}`)
	r.ok(200, "POST", "/api/w/main/folders/create", `{"name":"a","owners":[],"display_name":"A"}`)
	r.ok(201, "POST", "/api/w/main/variables/create", `{"path":"f/a/open","value":"v","is_secret":false,"description":"D"}`)
	r.ok(201, "POST", "/api/w/main/resources/create", `{"path":"f/a/db","resource_type":"postgresql","value":{"port":5432,"password":"$var:f/a/hidden"},"description":""}`)
	r.ok(201, "POST", "/api/w/main/resources/create", `{"path":"f/a/last","resource_type":"state","value":1}`)
}

// TestTarball names the quirk that the archive is compared key by key: what was
// pushed is in it and nothing else, neither null nor what the server adds.
func TestTarball(t *testing.T) {
	r := newRig(t)
	r.fill()
	got := r.unzipped("include_schedules=true")
	want := map[string]string{
		"f/a/folder.meta.json": `{"owners":[],"display_name":"A"}`,
		"f/a/all.script.json": `{"summary":"S","description":"","kind":"script","lock":"","schema":{"type":"object","x-concurrency_window_from":"start"},
"priority":2,"concurrent_limit":3,"concurrency_time_window_s":4,"concurrency_key":"k","ws_error_handler_muted":false}`,
		"u/admin/bare.script.json": `{"summary":"","description":""}`,
		"f/a/deno.script.json":     `{"summary":"","description":"","lock":""}`,
		"f/a/flow.flow.json":       `{"summary":"F","value":{"modules":[],"concurrent_limit":1,"x":1.0},"tag":"flow"}`,
		"f/a/open.variable.json":   `{"value":"v","is_secret":false,"description":"D"}`,
		"f/a/db.resource.json":     `{"value":{"port":5432,"password":"$var:f/a/hidden"},"description":"","resource_type":"postgresql"}`,
		"f/a/each.schedule.json":   `{"schedule":"0 0 12 * * *","timezone":"UTC","script_path":"f/a/all","is_flow":false,"enabled":false}`,
	}
	for name, text := range want {
		r.sameText(name, got[name], text)
		delete(got, name)
	}
	if got["f/a/all.sh"] != "echo" || got["u/admin/bare.ts"] == "" || got["f/a/deno.deno.ts"] == "" || len(got) != 3 {
		t.Errorf("code: %v", got)
	}
	names := slices.Sorted(maps.Keys(r.unzipped("default_ts=deno&skip_variables=true&skip_resources=true")))
	if want := "f/a/all.script.json f/a/all.sh f/a/deno.script.json f/a/deno.ts f/a/flow.flow.json f/a/folder.meta.json u/admin/bare.bun.ts u/admin/bare.script.json"; strings.Join(names, " ") != want {
		t.Errorf("with default_ts=deno, without schedules: %s", names)
	}
}

// TestTarballAsTar: the other form has the same entries.
func TestTarballAsTar(t *testing.T) {
	r := newRig(t)
	r.fill()
	zipped := r.unzipped("include_schedules=true")
	in := tar.NewReader(strings.NewReader(r.ok(200, "GET", "/api/w/main/workspaces/tarball?archive_type=tar&include_schedules=true", "")))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if zipped[h.Name] != string(data) {
			t.Errorf("%s: %q, want %q", h.Name, data, zipped[h.Name])
		}
		delete(zipped, h.Name)
	}
	if len(zipped) > 0 {
		t.Errorf("not in the tar: %v", zipped)
	}
}

// TestTarballNeedsEveryRight: who may read scripts alone gets no flows in an archive.
func TestTarballNeedsEveryRight(t *testing.T) {
	r := newRig(t)
	r.user("root@x.org", true)
	all := []string{"workspaces:read", "scripts:read", "flows:read", "folders:read", "schedules:read", "variables:read", "resources:read"}
	ask := func(scopes []string) int {
		token := r.token(engine.NewToken{Email: "root@x.org", Scopes: scopes})
		return r.raw("GET", "/api/w/main/workspaces/tarball?include_schedules=true", "", "Authorization", "Bearer "+token).status
	}
	if got := ask(all); got != 200 {
		t.Errorf("with all rights: %d", got)
	}
	for i := range all {
		if got := ask(slices.Delete(slices.Clone(all), i, i+1)); got != 403 {
			t.Errorf("without %s: %d", all[i], got)
		}
	}
}

// TestFolders: a folder is what was said of it, a change replaces what it names,
// and scripts stand under folders that nobody made.
func TestFolders(t *testing.T) {
	r := newRig(t)
	r.user("root@x.org", true)
	r.script("f/nobody/made", "")
	const base = "/api/w/main/folders/"
	r.ok(200, "POST", base+"create", `{"name":"a","summary":"S","owners":["u/x"],"extra_perms":{"u/x":true},"more":[1]}`)
	r.ok(409, "POST", base+"create", `{"name":"a"}`)
	r.ok(200, "POST", base+"update/a", `{"owners":[]}`)
	got := r.object(r.ok(200, "GET", base+"get/a", ""))
	if got["summary"] != "S" || len(got["owners"].([]any)) != 0 || got["name"] != "a" || got["created_by"] != "admin" || got["more"] == nil {
		t.Errorf("changed: %v", got)
	}
	for _, bad := range []string{`{"name":""}`, `{"name":"a/b"}`, `{"name":".."}`, `{"name":"` + strings.Repeat("x", 101) + `"}`, `{"name":"b","owners":"u/x"}`, `[]`} {
		if got := r.do("POST", base+"create", bad); got.status != 400 && got.status != 422 {
			t.Errorf("%s: %d", bad, got.status)
		}
	}
	r.ok(404, "POST", base+"update/none", `{}`)
	r.ok(404, "DELETE", base+"delete/none", "")
	if got := r.ok(200, "GET", base+"exists/a", ""); got != "true" {
		t.Errorf("exists: %s", got)
	}
	if got := r.ok(200, "GET", base+"listnames", ""); got != `["a"]` {
		t.Errorf("names: %s", got)
	}
	token := r.token(engine.NewToken{Email: "root@x.org", Scopes: []string{"folders:write:f/b/*"}})
	for name, status := range map[string]int{"a": 403, "b": 404} {
		if got := r.raw("DELETE", base+"delete/"+name, "", "Authorization", "Bearer "+token).status; got != status {
			t.Errorf("delete %s by a token for f/b: %d", name, got)
		}
	}
	r.ok(200, "DELETE", base+"delete/a", "")
	if got := r.ok(200, "GET", base+"exists/a", ""); got != "false" {
		t.Errorf("exists after the end: %s", got)
	}
}
