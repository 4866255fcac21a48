package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/client"
	"sluice/internal/engine"
	"sluice/internal/httpapi"
	"sluice/internal/store"
	"sluice/internal/store/sqlite"
	"sluice/internal/vault"
)

const realToken = "token-of-the-administrator"

// realServer is the real API on a database of its own, with the workspaces
// main and other; nothing runs jobs.
func realServer(t *testing.T) (url string) {
	t.Helper()
	clearEnvironment(t)
	ctx := t.Context()
	s, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "test.db"), sqlite.Options{Synchronous: "off", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	master, err := vault.ParseMaster(vault.NewMaster())
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(ctx, s, engine.Options{Keys: &vault.Ring{Current: master}})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"main", "other"} {
		if err := e.CreateWorkspace(ctx, store.Workspace{ID: id, Name: id}); err != nil {
			t.Fatal(err)
		}
	}
	api, err := httpapi.New(httpapi.Options{Engine: e, Token: realToken, Version: "1.0.0", Instance: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = httpapi.NewServer("", api)
	srv.Start()
	t.Cleanup(func() {
		api.Close()
		srv.CloseClientConnections()
		srv.Close()
		e.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("SLUICE_URL", srv.URL)
	t.Setenv("SLUICE_TOKEN", realToken)
	return srv.URL
}

// A workspace goes into an archive and out of it, and a second time changes
// nothing.
func TestExportAndImport(t *testing.T) {
	c, err := client.New(client.Config{URL: realServer(t), Token: realToken})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		`{"path":"f/a/sh","language":"bash","content":"echo é","summary":"s","concurrent_limit":2,"concurrency_key":"k","a_field_of_tomorrow":{"n":12345678901234567890}}`,
		`{"path":"f/a/ts","language":"bun","content":"export function main() {}","lock":"","tag":null,"has_preprocessor":false}`,
		`{"path":"f/a/sql","language":"postgresql","content":"select 1"}`,
		`{"path":"f/a/x.deno","language":"bun","content":"export function main() {}","lock":"pinned"}`,
	} {
		if _, err := c.SaveScript(t.Context(), json.RawMessage(body)); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "main.zip")
	if out := say(t, dir, "", 0, "export", "-o", file); !strings.Contains(out, "Wrote 4 scripts of workspace main") {
		t.Error(out)
	}
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
	}
	want := "f/a/sh.sh f/a/sh.script.json f/a/sql.pg.sql f/a/sql.script.json f/a/ts.ts f/a/ts.script.json f/a/x.deno.bun.ts f/a/x.deno.script.json"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("entries:\n%s\nwant\n%s", got, want)
	}
	settings, err := fs.ReadFile(z, "f/a/sh.script.json")
	if err != nil || !strings.Contains(string(settings), "12345678901234567890") || strings.Contains(string(settings), "created") {
		t.Errorf("%s, %v", settings, err)
	}
	steps := []struct {
		args []string
		want string
	}{
		{[]string{"import", file, "--dry-run"}, "4 scripts: 4 unchanged."},
		{[]string{"import", file}, "4 scripts: 4 unchanged."},
		{[]string{"import", file, "-w", "other", "--dry-run"}, "4 scripts: 4 new."},
		{[]string{"import", file, "-w", "other"}, "4 scripts: 4 new."},
		{[]string{"import", file, "-w", "other"}, "4 scripts: 4 unchanged."},
		{[]string{"scripts", "archive", "f/a/sh", "-w", "other"}, "Archived f/a/sh."},
		{[]string{"import", file, "-w", "other"}, "4 scripts: 1 updated, 3 unchanged."},
	}
	for _, step := range steps {
		if out := say(t, dir, "", 0, step.args...); !strings.Contains(out, step.want) {
			t.Errorf("%v: %s; want %s", step.args, out, step.want)
		}
	}
	if _, err := c.SaveScript(t.Context(), json.RawMessage(`{"path":"f/a/sql","language":"postgresql","content":"select 2","auto_parent":true}`)); err != nil {
		t.Fatal(err)
	}
	if out := say(t, dir, "", 0, "import", file); !strings.Contains(out, "updated    f/a/sql\n") || !strings.Contains(out, "1 updated, 3 unchanged") {
		t.Error(out)
	}
	if out := say(t, dir, "", 0, "scripts", "diff", "f/a/sql"); !strings.Contains(out, "-select 2") || !strings.Contains(out, "+select 1") {
		t.Error(out)
	}
}

// archive makes an archive of names and their contents, one after the other.
func archive(t *testing.T, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		h := &zip.FileHeader{Name: entries[i], Method: zip.Deflate}
		if strings.HasSuffix(entries[i], "link") {
			h.SetMode(fs.ModeSymlink | 0o777)
		}
		f, err := z.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(entries[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestArchivesThatAreRefused(t *testing.T) {
	var many []string
	for range maxEntries + 1 {
		many = append(many, "f/a", "")
	}
	zeros := strings.Repeat("\x00", maxFileBytes)
	var large []string
	for i := range maxUnpacked/maxFileBytes + 1 {
		large = append(large, "f/"+string(rune('a'+i))+".sh", zeros)
	}
	tests := map[string]struct {
		data []byte
		want string
		code sluice.Code
	}{
		"no archive":             {[]byte("PK"), "is no zip archive", sluice.CodeInvalid},
		"a way up":               {archive(t, "../f/a.sh", "x"), "no plain path", sluice.CodeInvalid},
		"a way up further in":    {archive(t, "f/../../a.sh", "x"), "no plain path", sluice.CodeInvalid},
		"from the root":          {archive(t, "/f/a.sh", "x"), "no plain path", sluice.CodeInvalid},
		"the other slash":        {archive(t, `f\a.sh`, "x"), "no plain path", sluice.CodeInvalid},
		"a link":                 {archive(t, "f/link", "/etc/passwd"), "is no file", sluice.CodeInvalid},
		"a name twice":           {archive(t, "f/a.sh", "x", "f/a.sh", "y"), "two entries of one name", sluice.CodeInvalid},
		"two languages":          {archive(t, "f/a.sh", "x", "f/a.py", "y"), "in two languages", sluice.CodeInvalid},
		"settings that are none": {archive(t, "f/a.sh", "x", "f/a.script.json", "[]"), "is no JSON object", sluice.CodeInvalid},
		"settings that are null": {archive(t, "f/a.sh", "x", "f/a.script.json", "null"), "is no JSON object", sluice.CodeInvalid},
		"too many entries":       {archive(t, many...), "more than 20,000 entries", sluice.CodeTooLarge},
		"an entry too large":     {archive(t, "f/a.sh", zeros+"x"), "larger than 4 MiB", sluice.CodeTooLarge},
		"a bomb":                 {archive(t, large...), "unpacks to more than 64 MiB", sluice.CodeTooLarge},
		"a bomb of a tar":        {foreignTar(t, true, large...), "unpacks to more than 64 MiB", sluice.CodeTooLarge},
		"a way up in a tar":      {foreignTar(t, false, "../f/a.sh", "x"), "no plain path", sluice.CodeInvalid},
		"a link in a tar":        {foreignTar(t, false, "f/link", "/etc/passwd"), "is no file", sluice.CodeInvalid},
		"a name twice in a tar":  {foreignTar(t, false, "f/a.sh", "x", "f/a.sh", "y"), "two entries of one name", sluice.CodeInvalid},
		"half of a tar":          {foreignTar(t, false, "f/a.sh", "x", "f/b.sh", "y")[:1600], "after the entry ./f/b.sh", sluice.CodeInvalid},
		"half of a compressed":   {foreignTar(t, true, "f/a.sh", "x")[:60], "is compressed, and cannot be read", sluice.CodeInvalid},
		"a variable of numbers":  {archive(t, "f/a.variable.json", `{"value":1}`), "f/a.variable.json: is no variable", sluice.CodeInvalid},
		"a variable of nothing":  {archive(t, "f/a.variable.json", `{"value":null}`), "it has no value", sluice.CodeInvalid},
		"a resource of no type":  {archive(t, "f/a.resource.json", `{"value":1}`), "it has no resource_type", sluice.CodeInvalid},
		"a flow of no value":     {archive(t, "f/a.flow.json", `{"summary":"s"}`), "it has no value", sluice.CodeInvalid},
		"a schedule of no time":  {archive(t, "f/a.schedule.json", `{"script_path":"f/a"}`), "it has no schedule", sluice.CodeInvalid},
		"a folder that is none":  {archive(t, "f/a/folder.meta.json", `[]`), "f/a/folder.meta.json: is no JSON object", sluice.CodeInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := readArchive(tt.data)
			if sluice.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %s", err, tt.want)
			}
		})
	}
}

// foreign is an archive as Windmill writes it, with all that one may hold.
var foreign = []string{
	"f/a/folder.meta.json", `{"display_name":"A","owners":["u/admin"],"extra_perms":{"u/admin":true},"summary":null}`,
	"f/a/x.py", "def main(): pass", "f/a/x.script.json", `{"summary":"s","lock":null,"has_preprocessor":false,"hash":"theirs"}`,
	"f/a/page.php", "<?php function main() {}", "f/a/page.script.json", `{"summary":"","kind":"script"}`,
	"f/a/y.flow.json", `{"value":{"modules":[]},"summary":"f","tag":null}`,
	"f/a/plain.variable.json", `{"value":"v","is_secret":false,"description":""}`,
	"f/a/token.variable.json", `{"value":"hunter22 é","is_secret":true,"description":"d"}`,
	"f/a/locked.variable.json", `{"value":"q0hZ0qVYzVbGZbq4gT3w9A==","is_secret":true,"description":null}`,
	"f/a/db.resource.json", `{"value":{"password":"$var:f/a/token","port":5432},"description":null,"resource_type":"postgresql"}`,
	"c_mine.resource-type.json", `{"schema":{},"description":""}`,
	"f/a/each.schedule.json", `{"schedule":"0 0 12 * * *","timezone":"Etc/UTC","script_path":"f/a/x","is_flow":false,"args":{},"enabled":false,"on_failure":null,"summary":"noon"}`,
	"f/a/z.app.json", "{}", "f/a/hook.http_trigger.json", "{}", "users/a@b.c.user.json", "{}", "groups/all.group.json", "{}", "settings.json", "{}",
	"f/a/odd.txt", "x",
}

// foreignTar is that archive as tar writes it, compressed or not.
func foreignTar(t *testing.T, compressed bool, entries ...string) []byte {
	t.Helper()
	var b, packed bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		h := &tar.Header{Name: "./" + entries[i], Mode: 0o644, Size: int64(len(entries[i+1])), Typeflag: tar.TypeReg}
		if strings.HasSuffix(entries[i], "link") {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, entries[i+1], 0
		}
		err := w.WriteHeader(h)
		if err == nil && h.Size > 0 {
			_, err = w.Write([]byte(entries[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !compressed {
		return b.Bytes()
	}
	z := gzip.NewWriter(&packed)
	_, err := z.Write(b.Bytes())
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// TestImportOfWindmillsArchive: all that we have too is saved, the rest is named,
// and a second time changes nothing.
func TestImportOfWindmillsArchive(t *testing.T) {
	c, err := client.New(client.Config{URL: realServer(t), Token: realToken})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"x.zip": archive(t, foreign...), "x.tar": foreignTar(t, false, foreign...), "x.tar.gz": foreignTar(t, true, foreign...)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const all = "2 scripts, 1 flow, 1 schedule, 1 folder, 2 variables and 1 resource: 8 "
	for _, step := range []struct {
		args []string
		want []string
	}{
		{[]string{"x.zip", "--dry-run"}, []string{all + "new, 8 skipped."}},
		{[]string{"x.zip"}, []string{all + "new, 8 skipped.", "new        f/a/each (schedule)", "skipped    f/a/locked (variable)", "skipped    f/a/odd.txt (file)", "skipped    users/a@b.c (user)", "Skipped 1 HTTP trigger and 1 app", "plain_secret=true"}},
		{[]string{"x.tar"}, []string{all + "unchanged, 8 skipped."}},
		{[]string{"x.tar.gz", "--plain-secrets"}, []string{"3 variables and 1 resource: 1 new, 8 unchanged, 7 skipped."}},
		{[]string{"x.zip", "-w", "other"}, []string{all + "new, 8 skipped."}},
	} {
		step.args[0] = filepath.Join(dir, step.args[0])
		out := say(t, dir, "", exitJobFailed, append([]string{"import"}, step.args...)...)
		for _, want := range step.want {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(want), " ")) {
				t.Errorf("%v: no %q in\n%s", step.args, want, out)
			}
		}
		for line := range strings.Lines(out) {
			if len(line) > 81 {
				t.Errorf("%v: wider than 80 columns: %s", step.args, line)
			}
		}
	}
	if v, err := c.VariableValue(t.Context(), "f/a/token"); v != "hunter22 é" {
		t.Error(v, err)
	}
	if r, err := c.Resource(t.Context(), "f/a/db"); err != nil || r.Type != "postgresql" || string(canonical(r.Value)) != `{"password":"$var:f/a/token","port":5432}` {
		t.Error(r, err)
	}
	if s, err := c.Schedule(t.Context(), "f/a/each"); err != nil || s.Enabled || s.Summary != "noon" {
		t.Error(s, err)
	}
	if s, err := c.Script(t.Context(), "f/a/page"); err != nil || s.Language != "php" {
		t.Error(s, err)
	}
	say(t, dir, "", 0, "export", "-o", filepath.Join(dir, "again.zip"))
	if out := say(t, dir, "", 0, "import", filepath.Join(dir, "again.zip")); !strings.Contains(out, "2 scripts and 1 flow: 3 unchanged.") {
		t.Error(out)
	}
}

// TestImportOfOurTarball: what our server gives for Windmill's call is taken
// whole, by another workspace with secrets in plain text, by its own as it is.
func TestImportOfOurTarball(t *testing.T) {
	url := realServer(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "x")
	write := func(data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(archive(t, foreign...))
	say(t, dir, "", exitJobFailed, "import", file)
	for _, step := range []struct{ query, workspace, want string }{
		{"archive_type=zip&plain_secret=true", "other", "2 variables and 1 resource: 8 new."},
		{"archive_type=tar&plain_secret=true", "other", "2 variables and 1 resource: 8 unchanged."},
		{"archive_type=tar", "main", "2 variables and 1 resource: 8 unchanged."},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/w/main/workspaces/tarball?include_schedules=true&"+step.query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+realToken)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, err)
		}
		write(data)
		if out := say(t, dir, "", 0, "import", file, "-w", step.workspace); !strings.Contains(strings.Join(strings.Fields(out), " "), step.want) {
			t.Errorf("%s: %s", step.query, out)
		}
	}
}

// TestFlowsTravel: what is exported and imported elsewhere is the same, and to
// import it again changes nothing.
func TestFlowsTravel(t *testing.T) {
	realServer(t)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "s", "f", "x.flow"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "summary: X\nvalue: {modules: [{id: a, value: {type: identity}}], concurrent_limit: 3.0}\nlabels: [b]\n"
	if err := os.WriteFile(filepath.Join(dir, "s", "f", "x.flow", "flow.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x.zip")
	say(t, dir, "", 0, "push", filepath.Join(dir, "s"))
	say(t, dir, "", 0, "export", "-o", file)
	if got := say(t, dir, "", 0, "import", file); !strings.Contains(got, "unchanged  f/x (flow)") {
		t.Errorf("where it is already: %s", got)
	}
	say(t, dir, "", 0, "flows", "delete", "f/x")
	if got := say(t, dir, "", 0, "import", "--dry-run", file); !strings.Contains(got, "new        f/x (flow)") {
		t.Errorf("a dry run: %s", got)
	}
	if got := say(t, dir, "", 0, "import", file); !strings.Contains(got, "new        f/x (flow)") {
		t.Errorf("where it is not: %s", got)
	}
	if got := say(t, dir, "", 0, "import", file); !strings.Contains(got, "unchanged  f/x (flow)") {
		t.Errorf("again: %s", got)
	}
}

func TestNoArchive(t *testing.T) {
	realServer(t)
	dir := t.TempDir()
	say(t, dir, "", 2, "import", filepath.Join(dir, "none.zip"))
	say(t, dir, "x", 2, "import", "-")
	say(t, dir, "", 2, "export", "-o", filepath.Join(dir, "none", "x.zip"))
	say(t, dir, "", 0, "export", "-o", filepath.Join(dir, "x.zip"))
	if left, err := filepath.Glob(filepath.Join(dir, ".export-*")); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "x.zip")); err != nil || info.Size() == 0 {
		t.Error(info, err)
	}
}

// Whatever an archive is, it is read within its bounds or refused, and what is
// read could be written again.
func FuzzReadArchive(f *testing.F) {
	f.Add([]byte("PK"))
	for _, entries := range [][]string{
		{"f/a.sh", "echo", "f/a.script.json", `{"summary":"s"}`},
		{"../a.sh", "x"},
		{"f/a.bun.ts", "x", "f/link", "y"},
		{".sh", "x", "f/.py", "y"},
	} {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for i := 0; i < len(entries); i += 2 {
			if w, err := z.Create(entries[i]); err != nil {
				f.Fatal(err)
			} else if _, err := w.Write([]byte(entries[i+1])); err != nil {
				f.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := readArchive(data)
		if err != nil {
			if code := sluice.CodeOf(err); code != sluice.CodeInvalid && code != sluice.CodeTooLarge {
				t.Errorf("refused with %q: %v", code, err)
			}
			return
		}
		for _, p := range all.scripts {
			if !fs.ValidPath(p.path) {
				t.Errorf("the path %q", p.path)
			}
			if _, err := p.file(); err != nil {
				t.Error(err)
			}
		}
	})
}
