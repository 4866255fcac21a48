// Package depstest makes registries of packages on this machine, so that tests
// need no other.
package depstest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Wheel makes a pure Python package in dir, a folder for pip's find-links. Its
// module is named as the package in lower case without a leading py, and holds
// VERSION.
func Wheel(t testing.TB, dir, name, version string, requires ...string) {
	t.Helper()
	info := name + "-" + version + ".dist-info"
	meta := "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	for _, r := range requires {
		meta += "Requires-Dist: " + r + "\n"
	}
	writeZip(t, filepath.Join(dir, name+"-"+version+"-py3-none-any.whl"), [][2]string{
		{strings.TrimPrefix(strings.ToLower(name), "py") + "/__init__.py", "VERSION = \"" + version + "\"\n"},
		{info + "/METADATA", meta},
		{info + "/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "/RECORD", ""},
	})
}

func writeZip(t testing.TB, path string, files [][2]string) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.Create(f[0])
		if err == nil {
			_, err = w.Write([]byte(f[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, b.String())
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Module puts a Go module, whose package hello has the constant Version, into
// proxy, a folder for GOPROXY=file://….
func Module(t testing.TB, proxy, path, version string) {
	t.Helper()
	dir := filepath.Join(proxy, path, "@v")
	mod := "module " + path + "\n"
	writeFile(t, filepath.Join(dir, "list"), version+"\n")
	writeFile(t, filepath.Join(dir, version+".info"), `{"Version":"`+version+`","Time":"2026-01-01T00:00:00Z"}`)
	writeFile(t, filepath.Join(dir, version+".mod"), mod)
	writeZip(t, filepath.Join(dir, version+".zip"), [][2]string{
		{path + "@" + version + "/go.mod", mod},
		{path + "@" + version + "/hello.go", "package hello\n\nconst Version = \"" + version + "\"\n"},
	})
}

// NPM starts a registry of npm packages, each of version 1.2.3, that export
// version: tiny, @scope/tiny, large, which needs tiny, and noisy, whose install
// script leaves a file named mark in its own folder.
func NPM(t testing.TB) *httptest.Server {
	t.Helper()
	type pkg struct {
		deps    map[string]string
		scripts map[string]string
		tgz     []byte
	}
	packages := map[string]*pkg{
		"tiny":        {},
		"@scope/tiny": {},
		"large":       {deps: map[string]string{"tiny": "^1.0.0"}},
		"noisy":       {scripts: map[string]string{"postinstall": "echo ran > mark"}},
	}
	manifest := func(name string) map[string]any {
		p := packages[name]
		m := map[string]any{"name": name, "version": "1.2.3", "main": "index.js", "dependencies": p.deps}
		if p.scripts != nil {
			m["scripts"], m["hasInstallScript"] = p.scripts, true
		}
		return m
	}
	for name, p := range packages {
		text, err := json.Marshal(manifest(name))
		if err != nil {
			t.Fatal(err)
		}
		p.tgz = tarball(t, map[string]string{"package.json": string(text), "index.js": "exports.version = '1.2.3'\n"})
	}
	s := httptest.NewUnstartedServer(nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/-/")
		p := packages[name]
		switch {
		case p == nil:
			http.NotFound(w, r)
		case file != "":
			_, _ = w.Write(p.tgz)
		default:
			sum := sha512.Sum512(p.tgz)
			m := manifest(name)
			m["dist"] = map[string]string{
				"tarball":   "http://" + r.Host + "/" + name + "/-/package-1.2.3.tgz",
				"integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:]),
			}
			_ = json.NewEncoder(w).Encode(map[string]any{
				"name": name, "dist-tags": map[string]string{"latest": "1.2.3"}, "versions": map[string]any{"1.2.3": m},
			})
		}
	})
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func tarball(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: "package/" + name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
