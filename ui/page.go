package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

// policy lets the page load what comes from this server, and nothing else: no
// script and no style that stands in a document, no other host, no frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const (
	index = "index.html"
	// What lies in this folder is named by what it holds.
	hashed = "assets/"
)

// Page is the page's files. It is safe for concurrent use.
type Page struct {
	built fs.FS

	mu    sync.Mutex
	files map[string]*file // those that were asked for
}

// file is a file as it is sent.
type file struct {
	mime, tag   string
	plain, gzip []byte // gzip: nil if it would be no smaller
}

func newPage(built fs.FS) *Page { return &Page{built: built, files: map[string]*file{}} }

// Built reports whether the page is in this program.
func (p *Page) Built() bool {
	_, err := fs.Stat(p.built, index)
	return err == nil
}

// Serve answers a request for the page or one of its files, which anybody may
// see, and reports whether it was one. It takes / and the names of files that
// exist, and nothing below /api.
func (p *Page) Serve(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = index
	}
	f := p.file(name)
	if f == nil {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", f.mime)
	h.Set("ETag", f.tag)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache") // ask each time whether it has changed
	if strings.HasPrefix(name, hashed) {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	body := f.plain
	if f.gzip != nil && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = f.gzip
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // whoever left does not read it
	}
	return true
}

func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if strings.TrimSpace(name) == "gzip" {
			return strings.TrimSpace(weight) != "q=0"
		}
	}
	return false
}

// file returns a file by its name; nil if there is none. What was asked for
// once stays in memory: there are a few dozen, which the build bounds.
func (p *Page) file(name string) *file {
	if !fs.ValidPath(name) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.files[name]; ok {
		return f
	}
	b, err := fs.ReadFile(p.built, name)
	switch {
	case err != nil && name == index:
		b = placeholder
	case err != nil:
		return nil
	}
	f := newFile(name, b)
	p.files[name] = f
	return f
}

func newFile(name string, b []byte) *file {
	sum := sha256.Sum256(b)
	f := &file{mime: mimeOf(name), tag: `"` + hex.EncodeToString(sum[:12]) + `"`, plain: b}
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err != nil {
		panic("ui: " + err.Error()) // the level is one
	}
	if _, err := w.Write(b); err != nil || w.Close() != nil || z.Len() >= len(b) {
		return f
	}
	f.gzip = z.Bytes()
	return f
}

// mimeOf names the type of a file. The machine's own table is not asked where
// it matters: it differs from machine to machine.
func mimeOf(name string) string {
	switch ext := path.Ext(name); ext {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	default:
		if t := mime.TypeByExtension(ext); t != "" {
			return t
		}
		return "application/octet-stream"
	}
}
