package ui

import (
	"compress/gzip"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func TestServe(t *testing.T) {
	script := strings.Repeat("export const a = 1;\n", 100)
	p := newPage(fstest.MapFS{
		"index.html":         {Data: []byte("<p>the page")},
		"assets/app-1234.js": {Data: []byte(script)},
		"icon.svg":           {Data: []byte("<svg/>")},
	})
	for _, tc := range []struct {
		method, path, mime, cache string
		want                      bool
	}{
		{"GET", "/", "text/html; charset=utf-8", "no-cache", true},
		{"HEAD", "/", "text/html; charset=utf-8", "no-cache", true},
		{"GET", "/assets/app-1234.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", true},
		{"GET", "/icon.svg", "image/svg+xml", "no-cache", true},
		{"POST", "/", "", "", false},
		{"GET", "/assets", "", "", false},
		{"GET", "/assets/", "", "", false},
		{"GET", "/assets/none.js", "", "", false},
		{"GET", "/assets/../embed.go", "", "", false},
		{"GET", "/api/version", "", "", false},
	} {
		w := httptest.NewRecorder()
		served := p.Serve(w, httptest.NewRequest(tc.method, tc.path, nil))
		if served != tc.want || w.Header().Get("Content-Type") != tc.mime || w.Header().Get("Cache-Control") != tc.cache {
			t.Errorf("%s %s: %v, %v", tc.method, tc.path, served, w.Header())
		}
		if csp := w.Header().Get("Content-Security-Policy"); served && (!strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe")) {
			t.Errorf("%s %s: policy %q", tc.method, tc.path, csp)
		}
		if tc.method == "HEAD" && w.Body.Len() > 0 {
			t.Errorf("HEAD has a body: %s", w.Body)
		}
	}
}

func TestServeCompressesAndCompares(t *testing.T) {
	text := strings.Repeat("body{margin:0}", 100)
	p := newPage(fstest.MapFS{"assets/a.css": {Data: []byte(text)}})
	for accept, compressed := range map[string]bool{"": false, "br, gzip;q=0.5": true, "gzip;q=0": false, "gzip": true} {
		r, w := httptest.NewRequest("GET", "/assets/a.css", nil), httptest.NewRecorder()
		r.Header.Set("Accept-Encoding", accept)
		p.Serve(w, r)
		got := io.Reader(w.Body)
		if is := w.Header().Get("Content-Encoding") == "gzip"; is != compressed {
			t.Fatalf("%q: compressed: %v", accept, is)
		}
		if compressed {
			z, err := gzip.NewReader(got)
			if err != nil {
				t.Fatal(err)
			}
			got = z
		}
		b, err := io.ReadAll(got)
		if err != nil || string(b) != text {
			t.Errorf("%q: %v, %d bytes", accept, err, len(b))
		}
		again := httptest.NewRecorder()
		r.Header.Set("If-None-Match", w.Header().Get("ETag"))
		p.Serve(again, r)
		if again.Code != 304 || again.Body.Len() > 0 {
			t.Errorf("%q: %d, %d bytes the second time", accept, again.Code, again.Body.Len())
		}
	}
}

// TestWithoutBuild sees to it that a program without the page says how to get it.
func TestWithoutBuild(t *testing.T) {
	p, w := newPage(fstest.MapFS{}), httptest.NewRecorder()
	if p.Built() || !p.Serve(w, httptest.NewRequest("GET", "/", nil)) || !strings.Contains(w.Body.String(), "make ui") {
		t.Errorf("%v: %s", p.Built(), w.Body)
	}
}

// TestKeepsItsPolicy looks at the page of this program, built or not: it loads
// from nowhere else, and works under any path.
func TestKeepsItsPolicy(t *testing.T) {
	p, w := New(), httptest.NewRecorder()
	p.Serve(w, httptest.NewRequest("GET", "/", nil))
	html := w.Body.String()
	if bad := regexp.MustCompile(`(?i)(src|href)="(https?:)?/|<script>|<style|style="| on[a-z]+="`).FindString(html); bad != "" {
		t.Errorf("the page holds %q", bad)
	}
}
