package httpapi

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"sluice"
)

// document reads the served OpenAPI document: methods by path, and what is
// said about each.
func (r *rig) document() map[string]map[string]struct {
	OperationID string
	Security    *[]map[string][]string
	Summary     string
} {
	r.t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			Security    *[]map[string][]string
			Summary     string
		}
	}
	if err := json.Unmarshal([]byte(r.ok(200, "GET", "/openapi.json", "")), &doc); err != nil {
		r.t.Fatal(err)
	}
	return doc.Paths
}

func TestDocumentListsEveryRoute(t *testing.T) {
	r := newRig(t)
	var documented, served []string
	ids := map[string]string{}
	for path, methods := range r.document() {
		for method, op := range methods {
			route := strings.ToUpper(method) + " " + path
			documented = append(documented, route)
			if op.OperationID == "" || op.Summary == "" || ids[op.OperationID] != "" {
				t.Errorf("%s: operation id %q (also of %s) and summary %q", route, op.OperationID, ids[op.OperationID], op.Summary)
			}
			ids[op.OperationID] = route
		}
	}
	for _, p := range r.api.router.patterns {
		served = append(served, strings.TrimSuffix(strings.ReplaceAll(p, "...}", "}"), "{$}"))
	}
	slices.Sort(documented)
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Errorf("documented and served differ:\n%v\n%v", documented, served)
	}
}

// TestDocumentIsWhole: every reference leads somewhere, and every parameter in
// a path is described.
func TestDocumentIsWhole(t *testing.T) {
	r := newRig(t)
	text := r.ok(200, "GET", "/openapi.json", "")
	var doc struct {
		OpenAPI    string
		Components struct{ Schemas map[string]any }
		Paths      map[string]map[string]struct {
			Parameters []struct {
				Name, In string
				Required bool
				Schema   map[string]any
			}
			RequestBody *struct{ Content map[string]any }
			Responses   map[string]struct{ Content map[string]any }
		}
	}
	r.read(text, &doc)
	for _, ref := range regexp.MustCompile(`"\$ref":"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(text, -1) {
		if doc.Components.Schemas[ref[1]] == nil {
			t.Errorf("a reference to %s leads nowhere", ref[1])
		}
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			var inPath, described []string
			for _, m := range regexp.MustCompile(`\{([a-z_]+)\}`).FindAllStringSubmatch(path, -1) {
				inPath = append(inPath, m[1])
			}
			for _, p := range op.Parameters {
				if p.Schema["type"] == nil {
					t.Errorf("%s %s: parameter %s has no type", method, path, p.Name)
				}
				if p.In == "path" && p.Required {
					described = append(described, p.Name)
				}
			}
			slices.Sort(inPath)
			slices.Sort(described)
			if !slices.Equal(inPath, described) {
				t.Errorf("%s %s: describes %v", method, path, described)
			}
			takesAny := strings.Contains(path, "/jobs/run/p/") || strings.Contains(path, "/jobs/run/h/") || strings.Contains(path, "/jobs/run/f/") || strings.Contains(path, "/jobs/run_wait_result/")
			if op.RequestBody != nil && (len(op.RequestBody.Content) != 1 && !takesAny || op.RequestBody.Content["application/json"] == nil) {
				t.Errorf("%s %s: body of %v", method, path, op.RequestBody.Content)
			}
			if op.Responses["default"].Content["text/plain"] == nil {
				t.Errorf("%s %s: errors are not described", method, path)
			}
		}
	}
}

// TestEveryRouteAsksForTheToken walks the document.
func TestEveryRouteAsksForTheToken(t *testing.T) {
	r := newRig(t)
	public := 0
	for path, methods := range r.document() {
		for method, op := range methods {
			url := regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(path, "x")
			documented := op.Security != nil
			if documented != needsNoToken(path) {
				t.Errorf("%s %s: documented as public: %v, is public: %v", method, path, documented, needsNoToken(path))
			}
			if signedPath.MatchString(path) { // the signature in it is the right
				url = strings.NewReplacer("{workspace}", "main", "{id}", uuid.NewString(), "{resume_id}", "1", "{signature}", "00").Replace(path)
				if got := r.raw(strings.ToUpper(method), url, ""); got.status != http.StatusForbidden || !strings.Contains(got.body, "signature") {
					t.Errorf("%s %s with a wrong signature: %d %s", method, url, got.status, got.body)
				}
				continue
			}
			if documented {
				public++
				if got := r.raw(strings.ToUpper(method), url, ""); got.status != 200 && path != loginPath {
					t.Errorf("%s %s without a token: %d", method, url, got.status)
				}
				continue
			}
			for _, headers := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", "Basic " + testToken}, {"Cookie", "token=wrong"}, {"Authorization", "Bearer " + testToken + "x"}} {
				got := r.raw(strings.ToUpper(method), url, "{}", headers...)
				if got.status != http.StatusUnauthorized || got.mime != textMime || !strings.Contains(got.body, "token") {
					t.Errorf("%s %s with %v: %d %s %s", method, url, headers, got.status, got.mime, got.body)
				}
			}
		}
	}
	if public != len(publicPaths) {
		t.Errorf("%d public operations, want %d", public, len(publicPaths))
	}
	for _, p := range []string{"/nothing", "/api/nothing", "/favicon.ico"} {
		if got := r.raw("GET", p, ""); got.status != 401 {
			t.Errorf("%s without a token: %d", p, got.status)
		}
	}
}

func TestTokenSources(t *testing.T) {
	r := newRig(t)
	for _, tc := range []struct {
		name    string
		query   string
		headers []string
		want    int
	}{
		{"bearer", "", []string{"Authorization", "Bearer " + testToken}, 200},
		{"bearer with blanks", "", []string{"Authorization", "bearer   " + testToken + " "}, 200},
		{"cookie", "", []string{"Cookie", "a=b; token=" + testToken}, 200},
		{"query", "?token=" + testToken, nil, 200},
		{"the header wins", "?token=" + testToken, []string{"Authorization", "Bearer x"}, 401},
		{"cookie from our own page", "", []string{"Cookie", "token=" + testToken, "Sec-Fetch-Site", "same-origin"}, 200},
		{"cookie from another site", "", []string{"Cookie", "token=" + testToken, "Sec-Fetch-Site", "cross-site"}, 403},
		{"bearer from another site", "", []string{"Authorization", "Bearer " + testToken, "Sec-Fetch-Site", "cross-site"}, 200},
	} {
		if got := r.raw("GET", "/api/users/whoami"+tc.query, "", tc.headers...); got.status != tc.want {
			t.Errorf("%s: %d, want %d: %s", tc.name, got.status, tc.want, got.body)
		}
	}
	got := r.raw("POST", "/api/workspaces/exists", `{"id":"main"}`, "Cookie", "token="+testToken, "Origin", "https://evil.example")
	if got.status != 403 {
		t.Errorf("a form of another site: %d", got.status)
	}
}

// TestPageIsForEverybody sees to it that nobody is asked for a token before
// the page is there that asks for a password.
func TestPageIsForEverybody(t *testing.T) {
	s := newScene(t)
	for _, headers := range [][]string{nil, {"Authorization", "Bearer wrong"}} {
		got := s.raw("GET", "/", "", headers...)
		if got.status != 200 || got.mime != contentHTML || !strings.HasPrefix(got.header.Get("Content-Security-Policy"), "default-src 'none'; ") {
			t.Errorf("%v: %d %s %v", headers, got.status, got.mime, got.header)
		}
	}
	if s.raw("POST", "/", "").status == 200 {
		t.Error("the page takes a POST")
	}
}

func TestNewNeedsEngineAndToken(t *testing.T) {
	r := newRig(t)
	for _, o := range []Options{{Engine: r.e}, {Engine: r.e, Token: "  "}, {Token: "x"}} {
		if _, err := New(o); sluice.CodeOf(err) != sluice.CodeInvalid {
			t.Errorf("%v", err)
		}
	}
}

// TestNothingSecretIsLogged sends secrets every way there is.
func TestNothingSecretIsLogged(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	r.raw("GET", "/api/users/whoami?token="+testToken, "")
	r.raw("GET", "/api/users/whoami", "", "Authorization", "Bearer hunter2")
	r.do("POST", "/api/w/main/jobs/run/p/f/a?priority=x", `{"password":"hunter2"}`)
	r.do("POST", "/api/w/main/jobs/run/p/f/a", `{"password":"hunter2"`)
	r.do("POST", "/api/w/main/jobs/run/preview", `{"content":"hunter2","language":7}`)
	if got := r.do("POST", "/api/w/main/jobs/run/preview", `{"content":7,"language":"hunter2"}`); strings.Contains(got.body, "hunter2") {
		t.Errorf("an error repeats what was sent: %s", got.body)
	}
	if log := r.log.String(); strings.Contains(log, "hunter2") || strings.Contains(log, testToken) {
		t.Errorf("the log holds a secret: %s", log)
	}
}
