package httpapi

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
)

// permission is a row of testdata/permissions.txt: who may call an operation.
type permission struct {
	route  string // "GET /api/version"
	level  string // anybody, signed, operator, developer, admin or super
	scope  string // that a token with scopes needs; "-": none
	tokens string // any; person: none of a job; whole: none that is restricted
	entry  string // its name in the audit log; "-": it leaves no entry
}

func readPermissions(t *testing.T) map[string]permission {
	t.Helper()
	f, err := os.Open("testdata/permissions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := map[string]permission{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") || strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		w := strings.Fields(lines.Text())
		if len(w) != 6 {
			t.Fatalf("not six words: %q", lines.Text())
		}
		route := w[0] + " " + w[1]
		if _, ok := rows[route]; ok {
			t.Errorf("two rows for %s", route)
		}
		rows[route] = permission{route, w[2], w[3], w[4], w[5]}
	}
	return rows
}

// Persons and tokens of the matrix.
const (
	scriptScope = "jobs:run:scripts:f/x/hello"
	allowedHere = 299 // what the test answers instead of a handler
)

var (
	persons    = []string{"nobody", "operator", "developer", "admin", "super", "other"}
	tokenForms = []string{"full", "read-only", "one-script", "one-workspace", "expired", "revoked", "job"}
	levels     = []string{"anybody", "signed", "operator", "developer", "admin", "super"}
)

// expected says what a person with a token is answered: 0 if it is let through.
func (p permission) expected(person, token string) int {
	at := slices.Index(levels, p.level)
	switch {
	case p.level == "anybody":
		return 0
	case person == "nobody", token == "expired", token == "revoked":
		return http.StatusUnauthorized
	case p.tokens == "person" && token == "job", p.tokens == "whole" && token != "full":
		return http.StatusForbidden
	case p.level == "super" && (person != "super" || token == "one-workspace" || token == "job"):
		return http.StatusForbidden
	case at >= slices.Index(levels, "operator") && p.level != "super" && person == "other":
		return http.StatusNotFound
	case p.level != "super" && p.level != "signed" && at > slices.Index(levels, person):
		return http.StatusForbidden
	case p.scope == "-":
		return 0
	case token == "read-only" && !strings.HasSuffix(p.scope, ":read"):
		return http.StatusForbidden
	case token == "one-script" && !strings.HasPrefix(scriptScope, p.scope):
		return http.StatusForbidden
	}
	return 0
}

// TestPermissions asks for every operation of the document as everybody, with
// every kind of token. What is expected follows from a table that a person can
// read; an operation that it does not list fails.
func TestPermissions(t *testing.T) {
	rows := readPermissions(t)
	s := newScene(t)
	s.api.Close()
	api, err := New(Options{Engine: s.e, Token: testToken, inTests: func(hc huma.Context, _ func(huma.Context)) {
		hc.SetStatus(allowedHere)
		_, _ = hc.BodyWriter().Write(nil)
	}})
	if err != nil {
		t.Fatal(err)
	}
	tokens := s.matrixTokens()
	asked := 0
	for path, methods := range s.document() {
		for method, op := range methods {
			route := strings.ToUpper(method) + " " + path
			row, ok := rows[route]
			if !ok {
				t.Errorf("testdata/permissions.txt has no row for %s; say who may call it", route)
				continue
			}
			delete(rows, route)
			if entry := rights[op.OperationID].audit; entry != strings.Trim(row.entry, "-") {
				t.Errorf("%s is recorded as %q, want %q", route, entry, row.entry)
			}
			for _, person := range persons {
				for _, form := range tokenForms {
					got := s.ask(api, route, tokens[person+" "+form])
					asked++
					want := row.expected(person, form)
					if want == 0 {
						want = allowedHere
					}
					if got != want {
						t.Errorf("%s by %s with a token that is %s: %d, want %d", route, person, form, got, want)
					}
				}
			}
		}
	}
	for route := range rows {
		t.Errorf("testdata/permissions.txt has a row for %s, which is not served", route)
	}
	if asked < 40*len(persons)*len(tokenForms) {
		t.Errorf("only %d questions were asked", asked)
	}
}

// matrixTokens makes the persons and their tokens, by "person form".
func (s *scene) matrixTokens() map[string]string {
	s.t.Helper()
	s.ok(201, "POST", "/api/workspaces/create", `{"id":"two"}`)
	tokens := map[string]string{}
	for _, person := range persons[1:] {
		email := person + "@x.org"
		s.user(email, person == "super")
		var err error
		switch person {
		case "other":
			err = s.e.AddMember(s.t.Context(), "two", email, sluice.RoleAdmin)
		case "super":
		default:
			err = s.e.AddMember(s.t.Context(), "main", email, sluice.Role(person))
		}
		if err != nil {
			s.t.Fatal(err)
		}
		for _, form := range tokenForms {
			n := engine.NewToken{Email: email}
			switch form {
			case "read-only":
				n.Scopes = []string{"*:read"}
			case "one-script":
				n.Scopes = []string{scriptScope}
			case "one-workspace":
				n.Workspace = "main"
			case "expired":
				n.Lifetime = time.Microsecond
			case "job":
				tokens[person+" job"] = s.jobOf(email)
				continue
			}
			token := s.token(n)
			tokens[person+" "+form] = token
			if form == "revoked" {
				if err := s.e.DeleteToken(s.t.Context(), email, token[:10]); err != nil {
					s.t.Fatal(err)
				}
			}
		}
	}
	return tokens
}

// jobOf returns the token of a job in main that runs in somebody's name.
func (s *scene) jobOf(email string) string {
	s.t.Helper()
	_, err := s.e.Submit(s.t.Context(), []engine.NewJob{{Workspace: "main", Path: "f/x/hello", CreatedBy: "x", Email: email}})
	if err != nil {
		s.t.Fatal(err)
	}
	as := s.take(1)
	if len(as) != 1 {
		s.t.Fatal("nothing to take")
	}
	return as[0].Token
}

// ask asks for an operation and returns the status of the answer. The path is
// one of things that exist, so that only what the caller may decides.
func (s *scene) ask(api *API, route, token string) int {
	s.t.Helper()
	method, path, _ := strings.Cut(route, " ")
	path = s.names.Replace(strings.NewReplacer(
		"{workspace}", "main", "{path}", "f/x/hello", "{hash}", "HASH", "{id}", "ENDED", "{key}", "k/1", "{email}", "super@x.org",
		"{username}", "operator", "{prefix}", "0123456789", "{scheduled_for}", "1", "{version}", "1",
		"{resume_id}", "1", "{signature}", "00",
	).Replace(path))
	r := s.request(method, path, "{}")
	r.URL.Opaque = ""
	r.URL.Path = path
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	return w.Code
}

// TestOperationWithoutARule (R1): an operation that rights does not list is not
// served, and if it were, nobody could call it.
func TestOperationWithoutARule(t *testing.T) {
	op := &huma.Operation{OperationID: "noSuchOperation", Method: http.MethodGet, Path: "/api/w/{workspace}/nothing"}
	root := caller{Kind: bySession, SuperAdmin: true}
	if err := allowed(root, rights[op.OperationID], op, func(string) string { return "main" }); sluice.CodeOf(err) != sluice.CodeForbidden {
		t.Errorf("an administrator of the instance is answered %v", err)
	}
	doc := &huma.OpenAPI{Paths: map[string]*huma.PathItem{op.Path: {Get: op}}}
	if got := unrighted(doc); len(got) != 1 || !strings.Contains(got[0], op.OperationID) {
		t.Errorf("without a rule: %v", got)
	}
}

func TestScopes(t *testing.T) {
	for _, tc := range []struct {
		has, wants string
		want       bool
	}{
		{"jobs:read", "jobs:read", true},
		{"jobs:read", "jobs:write", false},
		{"jobs:write", "jobs:read", true},
		{"jobs:write", "jobs:run:scripts:f/a", false},
		{"jobs:run", "jobs:read", false},
		{"jobs:run", "jobs:run:scripts:f/a", true},
		{"jobs:run", "jobs:run:preview", true},
		{"jobs:run:scripts", "jobs:run:scripts:f/a", true},
		{"jobs:run:scripts", "jobs:run:flows:f/a", false},
		{"jobs:run:scripts:f/a", "jobs:run:scripts:f/a", true},
		{"jobs:run:scripts:f/a", "jobs:run:scripts:f/ab", false},
		{"jobs:run:scripts:f/a", "jobs:run:scripts", false},
		{"jobs:run:scripts:f/a", "jobs:run:preview", false},
		{"jobs:run:scripts:f/a/*", "jobs:run:scripts:f/a/b/c", true},
		{"jobs:run:scripts:f/a/*", "jobs:run:scripts:f/ab", false},
		{"jobs:run:scripts:f/a,f/b/*", "jobs:run:scripts:f/b/c", true},
		{"scripts:write:f/a", "scripts:read:f/a", true},
		{"scripts:read:f/a", "scripts:read", false},
		{"scripts:read", "jobs:read", false},
		{"*:read", "audit_logs:read", true},
		{"*:read", "jobs:run:scripts:f/a", false},
		{"*:*", "jobs:run:preview", true},
	} {
		has, err := readScope(tc.has)
		if err != nil {
			t.Fatal(err)
		}
		wants, err := readScope(tc.wants)
		if err != nil {
			t.Fatal(err)
		}
		if has.grants(wants) != tc.want || wants.String() != tc.wants {
			t.Errorf("%s grants %s: %v", tc.has, wants, !tc.want)
		}
	}
	for _, bad := range []string{"", "jobs", "jobs:", ":read", "jobs:read:", "jobs:run:scripts:a:b", "scripts:read:a:b", "Jobs:read", "jobs:read:a b"} {
		if _, err := readScope(bad); err == nil {
			t.Errorf("%q is a scope", bad)
		}
	}
}
