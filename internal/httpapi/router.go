package httpapi

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"sluice"
)

const keyBase = "/api/concurrency_groups/"

// keyRoutes are the calls below keyBase whose rest of the path is a
// concurrency key: any bytes, slashes and dots included.
var keyRoutes = []string{"executions/", "get/", "override/", "pause/", "resume/", "cancel/", "prune/"}

// router sends requests to operations. Keys have a mux of their own, because
// the pattern {id}/key overlaps with get/{key...}. It records what it serves.
type router struct {
	main, keys http.ServeMux
	patterns   []string
}

func newRouter() *router { return &router{} }

// HandleFunc registers an operation under a pattern with a method.
func (rt *router) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	rt.patterns = append(rt.patterns, pattern)
	_, p, _ := strings.Cut(pattern, " ")
	if isKeyPath(p) {
		rt.keys.HandleFunc(pattern, h)
		return
	}
	rt.main.HandleFunc(pattern, h)
	if bare, ok := strings.CutSuffix(pattern, "/{path...}"); ok {
		// A mux would redirect to the pattern with its slash.
		rt.main.HandleFunc(bare, func(w http.ResponseWriter, _ *http.Request) {
			writeText(w, http.StatusBadRequest, "path: is required")
		})
	}
}

// ServeHTTP sends a request to its operation.
func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isKeyPath(r.URL.Path) {
		rt.main.ServeHTTP(w, r)
		return
	}
	// Escape every byte of the key, so that the mux sees one plain segment and
	// finds nothing to tidy up.
	verb, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, keyBase), "/")
	u := *r.URL
	u.RawPath = keyBase + verb + "/" + escapeAll(key)
	r2 := *r
	r2.URL = &u
	rt.keys.ServeHTTP(w, &r2)
}

func isKeyPath(p string) bool {
	rest, ok := strings.CutPrefix(p, keyBase)
	if !ok {
		return false
	}
	for _, verb := range keyRoutes {
		if strings.HasPrefix(rest, verb) {
			return true
		}
	}
	return false
}

func escapeAll(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, 3*len(s))
	for i := range len(s) {
		b = append(b, '%', hex[s[i]>>4], hex[s[i]&15])
	}
	return string(b)
}

// cleanPath refuses paths that a mux would answer with a redirect, which
// clients do not follow with a body.
func cleanPath(r *http.Request) error {
	if r.Method == http.MethodConnect || r.URL.Path == "*" {
		return sluice.Errorf(sluice.CodeInvalid, "this is no proxy")
	}
	p := r.URL.EscapedPath()
	if !strings.HasPrefix(p, "/") {
		return sluice.Errorf(sluice.CodeInvalid, "the path must begin with /")
	}
	if err := checkQuery(r.URL.RawQuery); err != nil {
		return err
	}
	if isKeyPath(r.URL.Path) {
		return nil
	}
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	if p != clean {
		return sluice.Errorf(sluice.CodeInvalid, "the path has an empty, . or .. segment; a server address must not end in a slash")
	}
	return nil
}

const maxParameters = 500

// checkQuery refuses a query of which a part would be passed over in silence.
func checkQuery(raw string) error {
	if strings.Count(raw, "&") >= maxParameters {
		return sluice.Errorf(sluice.CodeInvalid, "the query has more than %d parameters", maxParameters)
	}
	if _, err := url.ParseQuery(raw); err != nil {
		return sluice.Errorf(sluice.CodeInvalid, "the query is malformed: escape %%, ; and what is no text, such as %%25")
	}
	return nil
}

// checkPath checks the path of a runnable: what can be written to a file, to a
// URL and into a default key.
func checkPath(p string) error {
	const field = "path"
	switch {
	case p == "":
		return sluice.Invalid(field, "is required")
	case len(p) > 255:
		return sluice.Invalid(field, "must be at most 255 bytes long")
	case strings.ContainsRune(p, 0):
		return sluice.Invalid(field, "must not hold a NUL byte")
	case !utf8.ValidString(p):
		return sluice.Invalid(field, "must be UTF-8")
	case strings.ContainsRune(p, '#'):
		return sluice.Invalid(field, "must not hold #, which separates a flow from its step in keys")
	case strings.ContainsAny(p, "\r\n"):
		return sluice.Invalid(field, "must be a single line")
	}
	for s := range strings.SplitSeq(p, "/") {
		if s == "" || s == "." || s == ".." {
			return sluice.Invalid(field, "must not have an empty, . or .. segment")
		}
	}
	return nil
}

// rawQuery returns a query parameter and whether it was given at all: an empty
// key is a key.
func rawQuery(u url.URL, name string) (string, bool) {
	v, ok := u.Query()[name]
	if !ok || len(v) == 0 {
		return "", false
	}
	return v[0], true
}
