package engine_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/expr"
	"sluice/internal/store"
)

func (w *world) resource(path, kind, value string) {
	w.t.Helper()
	w.must(w.CreateResource(w.ctx(), "main", engine.ResourceChange{Path: &path, Type: &kind, Value: json.RawMessage(value)}, false, chief, nil))
}

// by has a job be pushed in somebody's name.
func by(name, email string) func(*engine.NewJob) {
	return func(n *engine.NewJob) { n.CreatedBy, n.Email = name, email }
}

var byChief = by("chief", engine.DefaultEmail)

// member makes a user with a role in main.
func (w *world) member(name string, role sluice.Role) func(*engine.NewJob) {
	w.t.Helper()
	email := name + "@x.org"
	_, err := w.CreateUser(w.ctx(), engine.NewUser{Email: email, Username: name})
	w.must(err)
	if role != sluice.RoleNone {
		w.must(w.AddMember(w.ctx(), "main", email, role))
	}
	return by(name, email)
}

// TestReferences: what a worker gets for arguments, byte by byte, and what it
// is told to mask.
func TestReferences(t *testing.T) {
	t.Parallel()
	w := newVaultWorld(t)
	w.variable("f/x/secret", `hunter"22`, true)
	w.variable("f/x/plain", "a <b> & c", false)
	w.resource("f/x/db", "postgresql", `{"port": 5432, "b":1.0, "password":"$var:f/x/secret","in":["$res:f/x/in"], "a":null}`)
	w.resource("f/x/in", "x", `"$var:f/x/plain"`)
	w.resource("f/x/loop", "x", `{"me":["$res:f/x/loop"]}`)
	w.script("f/x/s")
	quoted := `"hunter\"22"`
	for _, tc := range []struct {
		args, want string
		secrets    []string
	}{
		{`{"z": 1.0, "a":"x"}`, `{"z": 1.0, "a":"x"}`, nil},
		{`{"z": "$var:f/x/secret", "a":"$var:f/x/plain"}`, `{"z": ` + quoted + `, "a":"a <b> & c"}`, []string{`hunter"22`}},
		{`{"a":"\u0024var:f\/x/secret"}`, `{"a":` + quoted + `}`, []string{`hunter"22`}},
		{`{"a":" $var:f/x/secret","$var:f/x/secret":"x$res:f/x/db"}`, `{"a":" $var:f/x/secret","$var:f/x/secret":"x$res:f/x/db"}`, nil},
		{`{"a":{"b":[1,"$res:f/x/db"]}}`, `{"a":{"b":[1,{"port": 5432, "b":1.0, "password":` + quoted + `,"in":["a <b> & c"], "a":null}]}}`, []string{`hunter"22`}},
		{`{"a":"q\\","b":"$var:f/x/plain"}`, `{"a":"q\\","b":"a <b> & c"}`, nil},
	} {
		id := w.push("f/x/s", args("%s", tc.args), byChief)
		got := w.take("w1", 1)
		if len(got) != 1 || string(got[0].Args) != tc.want || !slices.Equal(got[0].Secrets[1:], tc.secrets) {
			t.Errorf("%s:\n got %+v\nwant %s, %q", tc.args, got, tc.want, tc.secrets)
			continue
		}
		if j := w.job(id); string(j.Args) != tc.args {
			t.Errorf("the job shows %s, want %s", j.Args, tc.args)
		}
		w.ends("w1", got[0], true, "1")
	}
	for _, tc := range []struct{ args, want string }{
		{`{"k":1,"who":"$var:f/x/none"}`, "Argument who: there is no variable f/x/none."},
		{`{"a":{"deep":["$res:f/x/none"]}}`, "Argument a: there is no resource f/x/none."},
		{`{"a":"$res:f/x/loop"}`, "Argument a: resource f/x/loop: me: resource f/x/loop refers to itself"},
		{`{"a":"$var:"}`, "Argument a: there is no variable "},
	} {
		id := w.push("f/x/s", args("%s", tc.args), byChief)
		if got := w.take("w1", 1); len(got) != 0 {
			t.Errorf("%s: a worker got %s", tc.args, got[0].Args)
		}
		if text := string(w.result(id, sluice.OutcomeFailure, "UnresolvedArgument").Result); !strings.Contains(text, tc.want) {
			t.Errorf("%s: %s", tc.args, text)
		}
	}
	w.close()
	files, err := filepath.Glob(filepath.Join(w.dir, "*"))
	w.must(err)
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || strings.Contains(string(b), "hunter") {
			t.Errorf("%s holds a secret (%v)", f, err)
		}
	}
	w.open()
}

// TestReferencesBounded: a few lines of resources must not become gigabytes.
func TestReferencesBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.resource("f/x/r0", "x", `"`+strings.Repeat("x", 1<<10)+`"`)
	for i := 1; i < 5; i++ {
		ten := strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`"$res:f/x/r%d",`, i-1), 10), ",")
		w.resource(fmt.Sprint("f/x/r", i), "x", "["+ten+"]")
	}
	for i := range 20 {
		w.resource(fmt.Sprint("f/y/r", i), "x", fmt.Sprintf(`"$res:f/y/r%d"`, i+1))
	}
	w.script("f/x/s")
	for ref, want := range map[string]string{"f/x/r4": "more than 1000", "f/y/r0": "more than 16 deep"} {
		id := w.push("f/x/s", args(`{"a":"$res:%s"}`, ref), byChief)
		w.take("w1", 1)
		w.result(id, sluice.OutcomeFailure, want)
	}
}

// TestReferencesRights: references are resolved in the job's name.
func TestReferencesRights(t *testing.T) {
	t.Parallel()
	w := newVaultWorld(t)
	w.variable("f/x/v", "shared", true)
	w.variable("u/dev/v", "private", true)
	w.variable("f/y/v", "of others", true)
	w.must(w.CreateFolder(w.ctx(), "main", json.RawMessage(`{"name":"x","extra_perms":{"g/all":false}}`), chief))
	w.script("f/x/s")
	dev, op, admin := w.member("dev", sluice.RoleDeveloper), w.member("op", sluice.RoleOperator), w.member("boss", sluice.RoleAdmin)
	stranger := w.member("stranger", sluice.RoleNone)
	for _, tc := range []struct {
		name string
		who  func(*engine.NewJob)
		path string
		want string // "": it runs
	}{
		{"developer", dev, "f/x/v", ""},
		{"developer, own", dev, "u/dev/v", ""},
		{"developer, a folder of others", dev, "f/y/v", "there is no variable f/y/v"},
		{"operator", op, "f/x/v", ""},
		{"operator, another's", op, "u/dev/v", "there is no variable u/dev/v"},
		{"admin, another's", admin, "u/dev/v", ""},
		{"server's token", byChief, "u/dev/v", ""},
		{"no member", stranger, "f/x/v", "no member of the workspace main"},
		{"no user", by("ghost", "ghost@x.org"), "f/x/v", "ghost@x.org, is no user"},
		{"no email", by("ghost", ""), "f/x/v", "is no user"},
	} {
		id := w.push("f/x/s", args(`{"a":"$var:%s"}`, tc.path), tc.who)
		got := w.take("w1", 1)
		if (len(got) == 1) != (tc.want == "") {
			t.Errorf("%s: %d are taken", tc.name, len(got))
			continue
		}
		if tc.want != "" {
			w.result(id, sluice.OutcomeFailure, tc.want)
			continue
		}
		w.ends("w1", got[0], true, "1")
	}
}

// TestConnectionOfStatement: a comment in SQL names the resource that connects.
func TestConnectionOfStatement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.resource("f/x/db", "postgresql", `{"host":"h"}`)
	w.script("f/x/named", "language", "postgresql", "content", "-- database f/x/db\nSELECT 1")
	w.script("f/x/gone", "language", "postgresql", "content", "-- database f/x/none\nSELECT 1")
	for args1, want := range map[string]string{
		`{"n":1}`: `{"database":{"host":"h"},"n":1}`, `{"database":"postgres://x/y"}`: `{"database":"postgres://x/y"}`, `{"database":"$res:f/x/db"}`: `{"database":{"host":"h"}}`,
	} {
		w.push("f/x/named", args("%s", args1), byChief)
		got := w.take("w1", 1, "postgresql")
		if len(got) != 1 || string(got[0].Args) != want {
			t.Fatalf("%s: %+v, want %s", args1, got, want)
		}
		w.ends("w1", got[0], true, "1")
	}
	id := w.push("f/x/gone", byChief)
	w.take("w1", 1, "postgresql")
	w.result(id, sluice.OutcomeFailure, "Argument database: there is no resource f/x/none")
}

// TestVariablesInFlows: static references, expressions, and what is stored.
func TestVariablesInFlows(t *testing.T) {
	t.Parallel()
	p := expr.New(expr.Options{})
	t.Cleanup(p.Close)
	w := newVaultWorld(t)
	w.close()
	w.o.Evaluator = pool{p}
	w.open()
	w.variable("f/x/secret", "hunter22", true)
	w.variable("f/x/plain", "open", false)
	w.resource("f/x/db", "x", `{"host":"h","password":"$var:f/x/secret"}`)
	for i, c := range []struct {
		name, input string
		stored      string // arguments of the step's job
		want        string // outcome and result
	}{
		{"static", "$var:f/x/secret", `{"x":"$var:f/x/secret"}`, `success {"x":"hunter22"}`},
		{"of the flow's input", "=flow_input.v", `{"x":"$var:f/x/secret"}`, `success {"x":"hunter22"}`},
		{"a secret by itself", "=variable('f/x/secret')", `{"x":"$var:f/x/secret"}`, `success {"x":"hunter22"}`},
		{"awaited", "=return await variable(\"f/x/secret\");", `{"x":"$var:f/x/secret"}`, `success {"x":"hunter22"}`},
		{"a resource by itself", "=resource(`f/x/db`)", `{"x":"$res:f/x/db"}`, `success {"x":{"host":"h","password":"hunter22"}}`},
		{"computed", "=variable('f/x/plain').length + resource('f/x/db').host", `{"x":"4h"}`, `success {"x":"4h"}`},
		{"a secret of a resource", "=resource('f/x/db').password", `{"x":"$var:f/x/secret"}`, `success {"x":"hunter22"}`},
		{"a secret computed with", "='Bearer ' + variable('f/x/secret')", "", `failure {"error":{"message":"step a: input_transforms.x: Error: variable(\"f/x/secret\"): it is a secret`},
		{"missing", "=variable('f/x/none') + 1", "", `failure {"error":{"message":"step a: input_transforms.x: Error: variable(\"f/x/none\"): there is no variable f/x/none`},
		{"missing by itself", "=variable('f/x/none')", `{"x":"$var:f/x/none"}`, `failure {"error":{"message":"The job did not start. Argument x: there is no variable f/x/none.`},
		{"a path that is made", "=variable('f/x/' + 'plain')", "", `failure {"error":{"message":"step a: input_transforms.x: Error: variable(\"f/x/plain\") cannot be read: write its path out`},
	} {
		path := fmt.Sprint("f/v/flow", i)
		w.flow(path, []obj{inputs(raw("a"), "x", c.input)})
		id := w.runFlow(path, args(`{"v":"$var:f/x/secret"}`), byChief)
		w.work(func(a sluice.Assignment) (bool, string) { return true, string(a.Args) })
		w.clock.advance(time.Second)
		j := w.job(id)
		if got := string(j.Outcome) + " " + string(j.Result); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if c.stored != "" {
			if got := string(w.step(id, "a").Args); got != c.stored {
				t.Errorf("%s: the step's row has %s, want %s", c.name, got, c.stored)
			}
		}
	}
	w.flow("f/v/branch", []obj{with(inputs(raw("a"), "x", 1), "skip_if", obj{"expr": "variable('f/x/plain') === 'open'"}), inputs(raw("b"), "y", 2)})
	id := w.runFlow("f/v/branch", byChief)
	w.work(func(a sluice.Assignment) (bool, string) { return true, string(a.Args) })
	w.result(id, sluice.OutcomeSuccess, `{"y":2}`)
	if jobs, err := w.Jobs(w.ctx(), store.JobFilter{ParentJob: id, Steps: true}); err != nil || len(jobs) != 1 {
		t.Errorf("a step was not skipped: %d jobs, %v", len(jobs), err)
	}
}
