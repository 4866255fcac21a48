package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// gate is a server that knows one user and notes what it was asked.
type gate struct {
	url  string
	seen []string // "METHOD path token"
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		g.seen = append(g.seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+token))
		switch r.URL.Path {
		case "/api/auth/login":
			var in struct{ Email, Password string }
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Email != "ada@example.org" || in.Password != "right" {
				http.Error(w, "the address or the password is wrong", http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, "session")
		case "/api/users/whoami":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"email":"ada@example.org"}`)
		default:
			fmt.Fprint(w, "[]")
		}
	}))
	t.Cleanup(srv.Close)
	g.url = srv.URL
	return g
}

// last returns what was asked last.
func (g *gate) last() string {
	if len(g.seen) == 0 {
		return ""
	}
	return g.seen[len(g.seen)-1]
}

// say runs a command line of somebody whose profiles are in dir.
func say(t *testing.T, dir, input string, want int, args ...string) string {
	t.Helper()
	a, out := terminal(map[string]string{"SLUICE_CONFIG": filepath.Join(dir, "sluice", "config.json"), "SLUICE_DATA": dir})
	a.in = strings.NewReader(input)
	if status := a.run(t.Context(), args); status != want {
		t.Fatalf("%v: exit status %d, want %d: %s", args, status, want, out)
	}
	return out.String()
}

func TestSignInAndOut(t *testing.T) {
	clearEnvironment(t)
	g, dir := newGate(t), t.TempDir()
	say(t, dir, "wrong\n", 4, "login", "--server", g.url, "--email", "ada@example.org")
	if out := say(t, dir, "", 0, "profiles"); !strings.Contains(out, "No profiles") {
		t.Errorf("a failure left a profile: %s", out)
	}
	out := say(t, dir, "right\n", 0, "login", "--server", g.url, "--email", "ada@example.org", "-w", "team")
	if !strings.Contains(strings.Join(strings.Fields(out), " "), "Signed in to "+g.url+" as ada@example.org; profile default is in use.") {
		t.Error(out)
	}
	file := filepath.Join(dir, "sluice", "config.json")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(data), "right") || !strings.Contains(string(data), "session") {
		t.Errorf("the file holds %s, %v", data, err)
	}
	say(t, dir, "", 0, "jobs", "list", "--json")
	if got := g.last(); got != "GET /api/w/team/jobs/list session" {
		t.Errorf("asked %q", got)
	}
	say(t, dir, "", 0, "logout")
	if got := g.last(); got != "POST /api/auth/logout session" {
		t.Errorf("asked %q", got)
	}
	if out := say(t, dir, "", 0, "profiles", "list"); !strings.Contains(out, "(signed out)") {
		t.Error(out)
	}
	if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), "session") {
		t.Errorf("the token is still there: %s, %v", data, err)
	}
	say(t, dir, "", 3, "logout")
	if err := os.WriteFile(filepath.Join(dir, tokenFile), []byte("of the server"), 0o600); err != nil {
		t.Fatal(err)
	}
	say(t, dir, "", 0, "scripts", "list")
	if got := g.last(); strings.Contains(got, "of the server") {
		t.Errorf("signed out, and the server's own token is used: %s", got)
	}
}

// Flags win over the environment, and that over the profile; a profile's token
// and workspace are for the profile's server alone.
func TestWhatWins(t *testing.T) {
	clearEnvironment(t)
	g, other, dir := newGate(t), newGate(t), t.TempDir()
	say(t, dir, "", 0, "login", "--server", g.url, "--token", "first", "-w", "one")
	say(t, dir, "second\n", 0, "login", "--server", g.url+"/", "--token", "@-", "--profile", "b", "-w", "two")
	say(t, dir, "", 0, "profiles", "use", "default")
	tests := []struct {
		name, args, env string
		at              *gate
		want            string
	}{
		{"the profile in use", "", "", g, "GET /api/w/one/jobs/list first"},
		{"another by a flag", "--profile b", "", g, "GET /api/w/two/jobs/list second"},
		{"another by the environment", "", "SLUICE_PROFILE=b", g, "GET /api/w/two/jobs/list second"},
		{"the flag before the environment", "--profile default", "SLUICE_PROFILE=b", g, "GET /api/w/one/jobs/list first"},
		{"the environment before the profile", "", "SLUICE_TOKEN=env", g, "GET /api/w/one/jobs/list env"},
		{"the flag before both", "--token flag -w x", "SLUICE_TOKEN=env", g, "GET /api/w/x/jobs/list flag"},
		{"another server does not get the token", "--url " + other.url, "", other, "GET /api/w/main/jobs/list"},
		{"the same server by another spelling does", "--url " + g.url + "/", "", g, "GET /api/w/one/jobs/list first"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clearEnvironment(t)
			if name, value, ok := strings.Cut(tt.env, "="); ok {
				t.Setenv(name, value)
			}
			say(t, dir, "", 0, append([]string{"jobs", "list", "--json"}, strings.Fields(tt.args)...)...)
			if got := tt.at.last(); got != tt.want {
				t.Errorf("asked %q, want %q", got, tt.want)
			}
		})
	}
	say(t, dir, "", 0, "profiles", "remove", "b")
	if out := say(t, dir, "", 2, "jobs", "list", "--profile", "b"); !strings.Contains(out, `there is no profile "b"`) {
		t.Error(out)
	}
}

func TestProfilesThatCannotBeTrusted(t *testing.T) {
	clearEnvironment(t)
	tests := map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"others may read it": {`{}`, 0o644, "chmod 600"},
		"no JSON":            {`x`, 0o600, "is no JSON"},
		"too large":          {strings.Repeat(" ", maxConfig+1), 0o600, "larger than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "sluice"), 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "sluice", "config.json")
			if err := os.WriteFile(file, []byte(tt.text), tt.mode); err != nil {
				t.Fatal(err)
			}
			if out := say(t, dir, "", 2, "profiles"); !strings.Contains(out, tt.want) {
				t.Error(out)
			}
		})
	}
}

func TestPasswordComesFromOutside(t *testing.T) {
	a, _ := terminal(map[string]string{passwordVariable: "from the environment"})
	if got, err := a.password(t.Context(), "", true); err != nil || got != "from the environment" {
		t.Error(got, err)
	}
	for input, want := range map[string]string{"a b \r\nrest": "a b ", "": "", strings.Repeat("x", maxSecret+1): ""} {
		a, _ := terminal(nil)
		a.in = strings.NewReader(input)
		if got, err := a.password(t.Context(), "", false); got != want || (err == nil) != (want != "") {
			t.Errorf("%.20q: %q, %v", input, got, err)
		}
	}
}
