package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// pullServer shows one script, one flow and one schedule.
func pullServer(t *testing.T, flow map[string]any) *httptest.Server {
	t.Helper()
	script := map[string]any{
		"path": "f/x/hello", "content": "def main(): pass\n", "language": "python3", "summary": "Says: hello", "description": "", "kind": "script",
		"schema": map[string]any{"type": "object"}, "lock": "requests==2.0\n", "hash": "29e067a27f63f6c3", "concurrent_limit": 3, "archived": false,
		"ws_error_handler_muted": false, "tag": nil, "created_at": "2027-01-15T07:59:30Z", "edited_at": "2027-01-15T07:59:30Z",
	}
	schedule := map[string]any{
		"path": "f/x/each", "schedule": "0 0 * * * *", "timezone": "Europe/Berlin", "script_path": "f/x/hello", "is_flow": false, "enabled": true, "summary": nil,
		"args": map[string]any{"a": 1}, "workspace_id": "main", "edited_by": "ann", "edited_at": "2027-01-15T07:59:30Z", "email": "a@x", "permissioned_as": "u/ann",
		"extra_perms": map[string]any{}, "next_run": "2027-01-15T09:00:00Z",
	}
	answers := map[string]any{
		"/api/w/main/schedules/list": []any{schedule}, "/api/w/main/schedules/get/f/x/each": schedule,
		"/api/w/main/scripts/list": []any{script}, "/api/w/main/scripts/get/p/f/x/hello": script,
		"/api/w/main/flows/list": []any{flow}, "/api/w/main/flows/get/f/x/all": flow,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, ok := answers[r.URL.Path]
		if !ok {
			http.Error(w, "no such thing: "+r.URL.Path, http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// TestPullIsWhatPushReads: a flow that is pulled and read again is the same,
// whatever stands in it, and to pull again changes nothing.
func TestPullIsWhatPushReads(t *testing.T) {
	clearEnvironment(t)
	body, err := readFlow(fstest.MapFS{
		"f/x/all.flow/flow.yaml": {Data: []byte(flowYAML)}, "f/x/all.flow/a.inline_script.sh": {Data: []byte("echo a\n# : 'é'\n\tx\n")},
		"f/x/all.flow/a.lock": {Data: []byte("locked\n")}, "f/x/all.flow/sub/d.py": {Data: []byte("def main(): pass")},
	}, "f/x/all.flow", "f/x/all")
	if err != nil {
		t.Fatal(err)
	}
	delete(body, "tag") // null is not written
	body["labels"] = []string{"yes", "no", "1.0", "null", "a: b", " ", "2027-01-15"}
	shown := maps.Clone(body)
	maps.Copy(shown, map[string]any{"workspace_id": "main", "version_id": 3, "edited_by": "ann", "edited_at": "2027-01-15T07:59:30Z", "archived": false, "extra_perms": map[string]any{}})
	srv := pullServer(t, shown)
	dir := t.TempDir()
	pull := func(extra string) string {
		t.Helper()
		a, out := terminal(nil)
		if status := a.run(t.Context(), strings.Fields("pull "+dir+" --url "+srv.URL+extra)); status != 0 {
			t.Fatalf("exit status %d: %s", status, out)
		}
		return out.String()
	}
	if got := pull(" --dry-run"); !strings.Contains(got, "1 script, 1 flow and 1 schedule: 8 files new, 0 updated, 0 unchanged.") {
		t.Errorf("a dry run: %s", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a dry run wrote %v", left)
	}
	pull("")
	if got := pull(""); got != "1 script, 1 flow and 1 schedule: 0 files new, 0 updated, 8 unchanged.\n" {
		t.Errorf("again: %s", got)
	}
	found, err := findFiles(os.DirFS(dir))
	if err != nil || !slices.Equal(found.scripts, []string{"f/x/hello.py"}) || !slices.Equal(found.flows, []string{"f/x/all.flow"}) {
		t.Errorf("found %v, error %v", found, err)
	}
	written := "schedule: 0 0 * * * *\ntimezone: Europe/Berlin\nscript_path: f/x/hello\nis_flow: false\nenabled: true\nargs:\n  a: 1\n"
	if text, err := os.ReadFile(filepath.Join(dir, "f/x/each.schedule.yaml")); err != nil || string(text) != written {
		t.Errorf("the schedule is written as %s, error %v", text, err)
	}
	again, err := readFlow(os.DirFS(dir), "f/x/all.flow", "f/x/all")
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(body)
	if got, _ := json.Marshal(again); string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	script, err := readScript(os.DirFS(dir), "f/x/hello.py")
	if err != nil || script["lock"] != "requests==2.0\n" || script["summary"] != "Says: hello" || fmt.Sprint(script["concurrent_limit"]) != "3" || script["tag"] != nil {
		t.Errorf("%v, error %v", script, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "f/x/all.flow/a.inline_script.sh")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f/x/hello.py"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := pull(""); !strings.Contains(got, "updated    f/x/hello.py") {
		t.Errorf("after a change: %s", got)
	}
}

// TestPullKeepsPlainFolders: a folder in the layout without dots stays in it.
func TestPullKeepsPlainFolders(t *testing.T) {
	clearEnvironment(t)
	srv := pullServer(t, map[string]any{
		"path": "f/x/all", "value": map[string]any{"modules": []any{
			map[string]any{"id": "a", "summary": "Say, hello!", "value": map[string]any{"type": "rawscript", "language": "bash", "content": "echo 1"}},
			map[string]any{"id": "b", "summary": "Say hello", "value": map[string]any{"type": "rawscript", "language": "bash", "content": "echo 2"}},
		}}, "edited_at": "2027-01-15T07:59:30Z",
	})
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "f/x/all__flow"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, out := terminal(nil)
	if status := a.run(t.Context(), strings.Fields("pull "+dir+" --url "+srv.URL)); status != 0 {
		t.Fatalf("exit status %d: %s", status, out)
	}
	for name, want := range map[string]string{"flow.yaml": "", "say_hello.sh": "echo 1", "say_hello_2.sh": "echo 2"} {
		got, err := os.ReadFile(filepath.Join(dir, "f/x/all__flow", name))
		if err != nil || want != "" && string(got) != want {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
	}
}
