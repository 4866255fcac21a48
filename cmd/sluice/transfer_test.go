package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io/fs"
	"log/slog"
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
	e, err := engine.New(ctx, s, engine.Options{})
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
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, _, err := readArchive(tt.data)
			if sluice.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %s", err, tt.want)
			}
		})
	}
}

// An archive of Windmill's holds more than scripts; that is left out, and said.
func TestForeignEntriesAreLeftOut(t *testing.T) {
	data := archive(t, "f/a/", "", "f/a/folder.meta.json", "{}", "f/a/x.py", "def main(): pass", "f/a/x.script.json",
		`{"summary":"s","lock":null,"has_preprocessor":false,"hash":"theirs"}`, "f/a/y.flow.json", `{"value":{"modules":[]},"summary":"f"}`, "f/a/z.app.json", "{}")
	scripts, flows, left, err := readArchive(data)
	if err != nil || len(scripts) != 1 || strings.Join(left, " ") != "f/a/folder.meta.json f/a/z.app.json" {
		t.Fatal(scripts, left, err)
	}
	if len(flows) != 1 || flows[0].path != "f/a/y" || string(flows[0].settings["summary"]) != `"f"` {
		t.Errorf("%+v", flows)
	}
	p := scripts[0]
	if p.path != "f/a/x" || p.language != "python3" || string(p.settings["summary"]) != `"s"` || len(p.settings) != 4 {
		t.Errorf("%+v", p)
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
		scripts, _, _, err := readArchive(data)
		if err != nil {
			if code := sluice.CodeOf(err); code != sluice.CodeInvalid && code != sluice.CodeTooLarge {
				t.Errorf("refused with %q: %v", code, err)
			}
			return
		}
		for _, p := range scripts {
			if !fs.ValidPath(p.path) {
				t.Errorf("the path %q", p.path)
			}
			if _, err := p.file(); err != nil {
				t.Error(err)
			}
		}
	})
}
