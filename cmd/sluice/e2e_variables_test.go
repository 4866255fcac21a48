package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// e2eState counts its runs as getState and setState of Windmill's client do,
// with the requests that it sends.
const e2eState = `import json, os, urllib.error, urllib.request

def call(path, body=None):
    url = f"{os.environ['BASE_INTERNAL_URL']}/api/w/{os.environ['WM_WORKSPACE']}/{path}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Authorization": "Bearer " + os.environ["WM_TOKEN"], "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        text = answer.read().decode()
        return json.loads(text) if answer.headers.get_content_type() == "application/json" else text

def main():
    path = os.environ["WM_STATE_PATH_NEW"]
    try:
        state = call("resources/get_value_interpolated/" + path)
    except urllib.error.HTTPError as e:
        assert e.code == 404, e.code
        state = 0
    if call("resources/exists/" + path):
        call("resources/update_value/" + path, {"value": state + 1})
    else:
        call("resources/create", {"path": path, "value": state + 1, "resource_type": "state"})
    return [state, call("variables/get_value/f/e2e/token")]
`

// stdin runs a command with a text on its standard input.
func (p *place) stdin(text string, args ...string) string {
	p.t.Helper()
	cmd := exec.Command(p.binary, args...)
	cmd.Dir, cmd.Stdin = p.dir, strings.NewReader(text)
	cmd.Env = append(os.Environ(), "SLUICE_URL="+p.url, "COLUMNS=80")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("sluice %s: %v:\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestSecrets goes with a secret through a server: from standard input to a
// job, whose log does not show it, over a kill, and over a change of all keys.
func TestSecrets(t *testing.T) {
	p := newPlace(t)
	for name, text := range map[string]string{
		"scripts/f/e2e/show.sh":  "token=\"$1\"\ndb=\"$2\"\necho \"the token is $token\"\necho \"the database is $db\"\necho ${#token}\n",
		"scripts/f/e2e/count.py": e2eState,
	} {
		if err := os.MkdirAll(filepath.Join(p.dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := p.start()
	p.sluice(0, "push", "scripts")
	const secret = "hunter2-hunter2"
	p.mustSay(p.stdin(secret+"\n", "variable", "set", "f/e2e/token", "--secret"), "Made the secret f/e2e/token.")
	p.mustSay(p.stdin(`{"host":"h","password":"$var:f/e2e/token"}`, "resource", "set", "f/e2e/db", "--type", "postgresql"), "Made the resource")
	p.mustSay(p.sluice(2, "variable", "set", "f/e2e/token", secret), "must not be that of a secret")
	list := p.sluice(0, "variable", "list") + p.sluice(0, "variable", "get", "f/e2e/token") + p.sluice(0, "resource", "get", "f/e2e/db")
	if strings.Contains(list, "hunter2") {
		t.Errorf("the secret shows:\n%s", list)
	}
	if got := p.sluice(0, "variable", "get", "f/e2e/token", "--value"); got != secret+"\n" {
		t.Errorf("the value is %q", got)
	}

	run := func(args, want string) string {
		t.Helper()
		id := strings.TrimSpace(p.sluice(0, "run", "f/e2e/show", "-d", args))
		log := p.sluice(0, "jobs", "tail", id)
		p.mustSay(log, want)
		if shown := log + p.sluice(0, "jobs", "get", "--json", id); strings.Contains(shown, "hunter2") {
			t.Errorf("the secret shows:\n%s", shown)
		}
		return log
	}
	const args = `{"token":"$var:f/e2e/token","db":"$res:f/e2e/db"}`
	p.mustSay(run(args, "the token is *****"), "15", `the database is {"host":"h","password":"*****"}`)
	id := strings.TrimSpace(p.sluice(0, "run", "f/e2e/show", "-d", `{"token":"$var:f/e2e/none"}`))
	p.sluice(1, "jobs", "tail", id)
	p.mustSay(p.sluice(0, "jobs", "get", "--json", id), "Argument token: there is no variable f/e2e/none")
	for _, want := range []string{"[0", "[1"} {
		got := strings.Join(strings.Fields(p.sluice(0, "run", "f/e2e/count", "--wait")), "")
		p.mustSay(got, want, secret)
	}

	server.signal(syscall.SIGKILL)
	server.end()
	server = p.start()
	run(args, "the token is *****")
	p.mustSay(p.sluice(0, "key", "rotate"), "Changed the keys of 1 workspace; 1 secret encrypted anew.")
	run(args, "the token is *****")
	server.signal(syscall.SIGTERM)
	server.end()

	old := filepath.Join(p.dir, "data", keyFile)
	info, err := os.Stat(old)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key's file: %v, %v", info, err)
	}
	fresh := filepath.Join(p.dir, "new.key")
	if _, err := makeKey(fresh); err != nil {
		t.Fatal(err)
	}
	server = p.start("--key-file", fresh)
	p.mustSay(p.sluice(6, "variable", "get", "f/e2e/token", "--value"), "--previous-key-file")
	server.signal(syscall.SIGTERM)
	server.end()
	server = p.start("--key-file", fresh, "--previous-key-file", old)
	run(args, "the token is *****")
	p.mustSay(p.sluice(0, "key", "rotate", "--master"), "Wrapped the keys of 1 workspace by the newest master key.")
	server.signal(syscall.SIGTERM)
	server.end()
	server = p.start("--key-file", fresh)
	run(args, "the token is *****")
	server.signal(syscall.SIGTERM)
	server.end()

	// A database with secrets gets no other key behind its owner's back.
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	p.start()
	p.mustSay(p.sluice(6, "variable", "get", "f/e2e/token", "--value"), "--key-file")
	if exists(old) {
		t.Error("a new key was made")
	}
}
