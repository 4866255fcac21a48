package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"sluice/internal/pgtest"
)

// wmillVersion is the version of Windmill's command line that make setup
// installs.
const wmillVersion = "1.819.0"

// windmill is Windmill's own command line in a folder, with a profile for a
// server and nothing else of a machine's.
type windmill struct {
	*place
	folder string
	env    []string
}

// windmill returns the command line; the folder is made.
func (p *place) windmill(folder string) *windmill {
	p.t.Helper()
	if _, err := exec.LookPath("wmill"); err != nil {
		p.t.Fatalf("Windmill's command line is missing; make setup installs it: %v", err)
	}
	token, err := os.ReadFile(filepath.Join(p.dir, "data", "token"))
	if err != nil {
		p.t.Fatal(err)
	}
	w := &windmill{place: p, folder: folder, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.t.TempDir(), "WMILL_CONFIG_DIR=" + p.t.TempDir(), "NO_COLOR=1", "COLUMNS=200",
	}}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		p.t.Fatal(err)
	}
	w.says(0, "workspace add main main "+p.url+" --token "+strings.TrimSpace(string(token)), "Added workspace main")
	return w
}

var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

// wmill runs a command and returns what it printed on both outputs.
func (w *windmill) wmill(status int, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("wmill", args...)
	cmd.Dir, cmd.Env = w.folder, w.env
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	text := colour.ReplaceAllString(string(out), "")
	if got := cmd.ProcessState.ExitCode(); got != status {
		w.t.Fatalf("wmill %s: exit status %d, want %d:\n%s", strings.Join(args, " "), got, status, text)
	}
	return text
}

// says runs a command without blanks in its arguments, and looks for words.
func (w *windmill) says(status int, command string, want ...string) string {
	w.t.Helper()
	out := w.wmill(status, strings.Fields(command)...)
	for _, word := range want {
		if !strings.Contains(out, word) {
			w.t.Errorf("wmill %s does not say %q:\n%s", command, word, out)
		}
	}
	return out
}

func (w *windmill) write(files map[string]string) {
	w.t.Helper()
	for name, text := range files {
		name = filepath.Join(w.folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// settled expects that neither side has anything that the other has not.
func (w *windmill) settled(when string) {
	w.t.Helper()
	for _, way := range []string{"push", "pull"} {
		if out := w.says(0, "sync "+way+" --yes"); !strings.Contains(out, " 0 changes to apply") {
			w.t.Errorf("%s a second %s changes something:\n%s", when, way, out)
		}
	}
}

// filesIn reads a folder.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		out[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A repository below the folder that is pushed is not part of it.
func TestNestedRepository(t *testing.T) {
	found, err := findFiles(fstest.MapFS{
		"wmill.yaml": {}, "f/a/b.sh": {}, "repo/wmill.yaml": {}, "repo/f/a/c.sh": {}, "repo/f/a/d.schedule.yaml": {},
	})
	if err != nil || len(found.scripts) != 1 || found.scripts[0] != "f/a/b.sh" || len(found.schedules) != 0 {
		t.Errorf("found %+v, error %v", found, err)
	}
}

// TestWindmillRepository pushes a repository with Windmill's command line, runs
// all that is in it, and pulls it into an empty folder: byte by byte the same.
func TestWindmillRepository(t *testing.T) {
	p := newPlace(t)
	p.start()
	repo := filepath.Join(p.dir, "repo")
	if err := os.CopyFS(repo, os.DirFS("../../examples/repo")); err != nil {
		t.Fatal(err)
	}
	w := p.windmill(repo)
	w.says(0, "sync push --yes", "CLI version: "+wmillVersion, "changes pushed to the remote workspace")
	many := strings.TrimSpace(p.sluice(0, "flows", "run", "f/shop/many")) // it compiles, which takes its time
	w.settled("after the push")

	empty := p.windmill(filepath.Join(p.dir, "empty"))
	empty.write(map[string]string{"wmill.yaml": filesIn(t, repo)["wmill.yaml"]})
	empty.says(0, "sync pull --yes", "changes applied locally")
	want := filesIn(t, "../../examples/repo")
	got := filesIn(t, empty.folder)
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s was pulled as\n%s\nwant\n%s", name, got[name], text)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s was pulled and is not in the repository", name)
	}

	for path, result := range map[string]string{
		"shop/hello": "Hello, you", "shop/charge": "charged 100 to", "shop/refund": "refunded 1", "shop/price": "298", "shop/report": "prices are in EUR",
		"shop/stock": "milk", "shop/parse": "order 1", "shop/slug": "green-tea", "shop/convert": "110", "ops/clean": "older than 30 days",
	} {
		p.mustSay(p.sluice(0, "run", "--wait", "f/"+path), result)
	}
	p.mustSay(p.sluice(0, "run", "--wait", "f/shop/orders", "-d", `{"database":`+postgresResource(t)+`,"least":2}`), "200", "300")
	p.mustSay(p.sluice(0, "flows", "run", "--wait", "f/shop/order", "-d", `{"order":"7"}`), "charged 500 to shop-of-7")
	p.mustSay(p.sluice(0, "flows", "run", "--wait", "f/shop/choose", "-d", `{"back":true}`), "refunded 9")
	p.mustSay(p.sluice(0, "flows", "run", "--wait", "f/ops/nightly"), "prices are in EUR")
	p.sluice(0, "jobs", "tail", many)
	if j := p.job(many); string(j.Result) != "714" {
		t.Errorf("f/shop/many: %+v", j)
	}
}

// postgresResource is a resource of type postgresql, as JSON.
func postgresResource(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	b, err := json.Marshal(map[string]any{"host": u.Hostname(), "port": port, "user": u.User.Username(), "password": password, "dbname": strings.Trim(u.Path, "/"), "sslmode": "disable"})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const (
	wmillYAML = "defaultTs: bun\nincludes:\n  - f/**\nexcludes: []\nnonDottedPaths: true\nsyncBehavior: v1\nincludeSchedules: true\nskipVariables: false\nskipResources: false\nskipSecrets: false\n"
	// Everything that a script's file may say and that has a meaning here.
	allYAML = "summary: All\ndescription: of it\nlock: ''\nkind: script\nschema:\n  type: object\n  properties: {}\n  x-on_concurrency_limit: queue\n  x-concurrency_window_from: start\n" +
		"tag: bash\ntimeout: 20\npriority: 3\nconcurrent_limit: 2\nconcurrency_time_window_s: 1\nconcurrency_key: all-$args[name]\ndelete_after_secs: 3600\nlabels:\n  - a\nws_error_handler_muted: false\n"
	twoYAML = "summary: Two\ndescription: steps\nvalue:\n  modules:\n    - id: a\n      summary: greet\n      value:\n        type: rawscript\n        language: bash\n        content: '!inline greet.sh'\n        lock: ''\n" +
		"        input_transforms:\n          name:\n            type: javascript\n            expr: flow_input.name\n        concurrent_limit: 1\n        custom_concurrency_key: steps\n" +
		"    - id: b\n      value:\n        type: script\n        path: f/w/all\n        input_transforms:\n          name:\n            type: javascript\n            expr: results.a\n" +
		"  concurrent_limit: 3\n  concurrency_time_window_s: 1\n  concurrency_window_from: start\n  on_concurrency_limit: fail\nschema:\n  type: object\n  properties: {}\ntag: flow\npriority: 2\n"
	scheduleYAML = "summary: S\nschedule: 0 0 3 * * *\ntimezone: UTC\nscript_path: f/w/all\nis_flow: false\nenabled: true\nargs:\n  name: x\nno_flow_overlap: true\n"
)

// TestWindmillSync changes and deletes things of every kind with the command
// line; each time the second sync has nothing to do.
func TestWindmillSync(t *testing.T) {
	p := newPlace(t)
	p.start()
	w := p.windmill(filepath.Join(p.dir, "repo"))
	w.write(map[string]string{
		"wmill.yaml": wmillYAML, "f/w/folder.meta.yaml": "summary: W\ndisplay_name: w\nowners: []\nextra_perms: {}\n",
		"f/w/all.sh": "name=\"${1:-you}\"\necho \"hi $name 🎉\"\n", "f/w/all.script.yaml": allYAML,
		"f/none/bare.py":          "def main(n: int = 1):\n    return n + 1\n", // its folder is never made, and it has no file beside it
		"f/w/two__flow/flow.yaml": twoYAML, "f/w/two__flow/greet.sh": "name=\"$1\"\necho \"$name!\"\n",
		"f/w/each.schedule.yaml": scheduleYAML, "f/w/v.variable.yaml": "value: one\nis_secret: false\ndescription: ''\n",
		"f/w/r.resource.yaml": "value:\n  port: 1\ndescription: D\nresource_type: thing\n",
	})
	w.says(0, "generate-metadata --yes", "Updated 3 item(s)") // with the token in a cookie
	w.says(0, "sync push --yes", "Creating new folder: w", "Created new script f/none/bare", "Creating new flow", "Creating new schedule f/w/each", "Creating new variable f/w/v")
	w.settled("of new things")
	for name, want := range map[string][]string{
		"scripts/get/p/f/w/all": {`"concurrent_limit":2`, `"x-concurrency_window_from":"start"`}, "flows/get/f/w/two": {`"on_concurrency_limit":"fail"`, `"concurrency_window_from":"start"`},
	} {
		p.mustSay(p.get(name), want...)
	}

	// The command line does not push a flow that has merely lost a field.
	w.write(map[string]string{
		"f/w/folder.meta.yaml": "summary: changed\ndisplay_name: w\nowners: []\nextra_perms: {}\n", "f/w/all.sh": "name=\"$1\"\necho \"ho $name\"\n",
		"f/w/all.script.yaml": strings.Replace(allYAML, "priority: 3\n", "", 1), "f/w/two__flow/flow.yaml": strings.NewReplacer("\npriority: 2", "", "summary: Two", "summary: Both").Replace(twoYAML),
		"f/w/each.schedule.yaml": strings.Replace(scheduleYAML, "enabled: true", "enabled: false", 1), "f/w/v.variable.yaml": "value: two\nis_secret: false\ndescription: new\n",
		"f/w/r.resource.yaml": "value:\n  port: 2\ndescription: D\nresource_type: thing\n",
	})
	w.says(0, "generate-metadata --yes")
	w.says(0, "sync push --yes", "changes pushed")
	w.settled("of changes")
	p.mustSay(p.get("schedules/get/f/w/each"), `"enabled":false`)

	// A secret is sealed in files; given back, it is the same.
	p.post("variables/create", `{"path":"f/w/secret","value":"hidden","is_secret":true,"description":""}`)
	w.says(0, "sync pull --yes", "f/w/secret.variable.yaml")
	if got := filesIn(t, w.folder)["f/w/secret.variable.yaml"]; strings.Contains(got, "hidden") || !strings.Contains(got, "is_secret: true") {
		t.Errorf("the file of a secret: %s", got)
	}
	w.settled("of a secret")

	for _, name := range []string{"f/none", "f/w/two__flow", "f/w/each.schedule.yaml", "f/w/v.variable.yaml", "f/w/r.resource.yaml", "f/w/secret.variable.yaml", "f/w/all.sh", "f/w/all.script.yaml"} {
		if err := os.RemoveAll(filepath.Join(w.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.says(0, "sync push --yes", "changes pushed")
	w.settled("of what is gone")
}

// call asks the server as its administrator, and returns the answer.
func (p *place) call(method, path, body string) string {
	p.t.Helper()
	token, err := os.ReadFile(filepath.Join(p.dir, "data", "token"))
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.NewRequest(method, p.url+"/api/w/main/"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode > 299 {
		p.t.Fatalf("%s %s: %s %s %v", method, path, answer.Status, data, err)
	}
	return string(data)
}

func (p *place) get(path string) string { p.t.Helper(); return p.call("GET", path, "") }
func (p *place) post(path, body string) { p.t.Helper(); p.call("POST", path, body) }

var jobID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// TestWindmillCommands uses the commands of Windmill's command line for scripts,
// flows, schedules, and their jobs and workers.
func TestWindmillCommands(t *testing.T) {
	p := newPlace(t)
	p.start()
	w := p.windmill(filepath.Join(p.dir, "repo"))
	w.write(map[string]string{
		"wmill.yaml": wmillYAML, "f/w/all.sh": "name=\"${1:-you}\"\necho \"hi $name 🎉\"\n", "f/w/all.script.yaml": allYAML,
		"f/w/two__flow/flow.yaml": strings.Replace(twoYAML, "on_concurrency_limit: fail", "on_concurrency_limit: queue", 1), "f/w/two__flow/greet.sh": "name=\"$1\"\necho \"$name!\"\n",
	})
	w.says(0, "workspace whoami", `"email": "admin@sluice.local"`, "Active: main")
	w.says(0, "workspace list-remote", "main", "admin")
	w.says(0, "script push f/w/all.sh", "Created new script f/w/all")
	w.says(0, "script push f/w/all.sh", "up to date")
	w.says(0, "script list", "f/w/all", "bash")
	w.says(0, "script show f/w/all", "hi $name")
	w.says(0, "script run f/w/all -s -d {\"name\":\"ann\"}", `"hi ann 🎉"`)
	w.says(0, "script run f/w/all -d {\"name\":\"bob\"}", "hi bob 🎉\n", "Job Completed")
	w.says(0, "script preview f/w/all.sh -d {\"name\":\"eve\"}", "hi eve 🎉")
	w.says(1, "script run f/w/none -d {}", "not found")
	var version struct{ Hash string }
	if err := json.Unmarshal([]byte(p.get("scripts/get/p/f/w/all")), &version); err != nil || version.Hash == "" {
		t.Fatalf("the version: %v", err)
	}
	w.says(0, "script history f/w/all", version.Hash)
	w.says(0, "script bootstrap f/w/fresh bash")

	w.says(0, "flow push f/w/two__flow f/w/two", "Flow pushed")
	w.says(0, "flow push f/w/two__flow f/w/two", "up to date")
	w.says(0, "flow list", "f/w/two")
	w.says(0, "flow get f/w/two", "a: rawscript (bash)", "b: script (f/w/all)")
	w.says(0, "flow run f/w/two -d {\"name\":\"x\"}", "a: greet", "hi x! 🎉", "Flow ran to completion")
	w.says(0, "flow preview f/w/two__flow -d {\"name\":\"y\"}", "hi y! 🎉")
	w.says(0, "flow history f/w/two", "Version")

	run := strings.TrimSpace(p.sluice(0, "flows", "run", "--wait", "--json", "f/w/two", "-d", `{"name":"z"}`))
	var job struct{ ID string }
	if err := json.Unmarshal([]byte(run), &job); err != nil || job.ID == "" {
		t.Fatalf("%v: %s", err, run)
	}
	later := strings.TrimSpace(p.sluice(0, "run", "f/w/all", "--in", "1h"))
	w.says(0, "job list", later, "queued", job.ID, "success", "f/w/two")
	w.says(0, "job get "+later, "Status: queued")
	w.says(0, "job cancel "+later, "canceled")
	w.says(1, "job cancel "+later, "has already ended")
	w.says(0, "job get "+job.ID, "Status: success")
	w.says(0, "job result "+job.ID, "hi z! 🎉")
	w.says(0, "job logs "+job.ID, "a: greet", "hi z! 🎉")
	for _, command := range []string{"job rerun " + job.ID, "job restart " + job.ID + " --step b"} {
		again := jobID.FindString(strings.ReplaceAll(w.says(0, command), job.ID, ""))
		if j, err := p.client().Await(t.Context(), again); err != nil || string(j.Result) != `"hi z! 🎉"` {
			t.Errorf("wmill %s: job %q gives %s, %v", command, again, j.Result, err)
		}
	}
	w.says(0, "queues", "bash", "flow", "Waiting")
	w.says(0, "workers", "Worker Group: default (1 workers)", "bash")

	p.post("schedules/create", `{"path":"f/w/each","schedule":"0 0 3 * * *","timezone":"UTC","script_path":"f/w/all","is_flow":false,"enabled":true}`)
	w.says(0, "schedule list", "f/w/each", "0 0 3 * * *")
	w.says(0, "schedule get f/w/each", "Script Path: f/w/all", "Enabled: true")
	for _, state := range []string{"disable", "enable"} {
		w.says(0, "schedule "+state+" f/w/each", state+"d")
		if got := p.get("schedules/get/f/w/each"); strings.Contains(got, `"enabled":true`) != (state == "enable") {
			t.Errorf("after %s: %s", state, got)
		}
	}
	p.post("folders/create", `{"name":"warehouse","summary":"W"}`)
	w.says(0, "folder list", "warehouse")
	w.says(0, "folder get warehouse", "Summary: W")
}
