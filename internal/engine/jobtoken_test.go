package engine_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// TestJobTokenLivesAsLongAsItsSlot (T1): it is alive from the hand-out on, and
// dead at once when its execution has ended, was lost or struck out, or its job
// was cancelled by force, also after a restart of the server.
func TestJobTokenLivesAsLongAsItsSlot(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		alive bool
		do    func(w *world, a sluice.Assignment)
	}{
		"nothing happens":   {true, func(*world, sluice.Assignment) {}},
		"confirmed":         {true, func(w *world, a sluice.Assignment) { w.confirm("w1", a) }},
		"restarted":         {true, func(w *world, _ sluice.Assignment) { w.restart() }},
		"cancelled, alive":  {true, func(w *world, a sluice.Assignment) { w.cancel(a.JobID, false) }},
		"cancelled, ended":  {false, func(w *world, a sluice.Assignment) { w.cancel(a.JobID, false); w.report("w1", a) }},
		"cancelled, forced": {false, func(w *world, a sluice.Assignment) { w.cancel(a.JobID, true) }},
		"reported":          {false, func(w *world, a sluice.Assignment) { w.report("w1", a) }},
		"reported, restart": {false, func(w *world, a sluice.Assignment) { w.report("w1", a); w.restart() }},
		"lost": {false, func(w *world, a sluice.Assignment) {
			w.confirm("w1", a)
			w.beat("w1", 1<<40)
		}},
		"lost, taken again": {false, func(w *world, a sluice.Assignment) {
			w.confirm("w1", a)
			w.beat("w1", 1<<40)
			again := w.take("w2", 1)[0]
			if again.JobID != a.JobID || again.Token == a.Token {
				w.t.Errorf("a second attempt of %s with token %s after %s", again.JobID, again.Token, a.Token)
			}
			if c, err := w.JobCaller(w.ctx(), again.Token); err != nil || c.JobID != a.JobID {
				w.t.Errorf("the token of the second attempt: %v %v", c, err)
			}
		}},
		"handed back": {false, func(w *world, a sluice.Assignment) { w.must(w.HandBack(w.ctx(), "w1", []int64{a.Execution})) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.script("f/a")
			parent, root := "018f0c1e-7b9a-7cc4-8000-000000000001", "018f0c1e-7b9a-7cc4-8000-000000000002"
			id := w.push("f/a", func(n *engine.NewJob) { n.CreatedBy, n.Email, n.ParentJob, n.RootJob = "ann", "ann@b.c", parent, root })
			a := w.take("w1", 1)[0]
			c, err := w.JobCaller(w.ctx(), a.Token)
			w.must(err)
			want := engine.JobCaller{Execution: a.Execution, JobID: id, Workspace: "main", ParentJob: parent, RootJob: root, Username: "ann", Email: "ann@b.c"}
			if *c != want {
				t.Fatalf("it speaks for %+v, want %+v", *c, want)
			}
			end.do(w, a)
			_, err = w.JobCaller(w.ctx(), a.Token)
			if end.alive && err != nil || !end.alive && sluice.CodeOf(err) != sluice.CodeUnauthorized {
				t.Errorf("alive: %v, want %v", err, end.alive)
			}
		})
	}
}

func (w *world) cancel(id string, force bool) {
	w.t.Helper()
	_, err := w.Cancel(w.ctx(), "main", []string{id}, "ann", "", force)
	w.must(err)
}

// TestJobTokenCannotBeMade: any changed character, another server's key, and a
// token from before anything was handed out are unknown.
func TestJobTokenCannotBeMade(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	for _, bad := range []string{"", "sj_", "sj_1_1_", "sj_1_1_" + strings.Repeat("0", 64)} {
		if _, err := w.JobCaller(w.ctx(), bad); sluice.CodeOf(err) != sluice.CodeUnauthorized {
			t.Errorf("%q before the first job: %v", bad, err)
		}
	}
	w.script("f/a")
	other.script("f/a")
	w.push("f/a")
	w.push("f/a")
	other.push("f/a")
	as := w.take("w1", 2)
	token := as[0].Token
	if foreign := other.take("w1", 1)[0]; foreign.Execution != as[0].Execution {
		t.Fatalf("executions %d and %d: nothing to compare", foreign.Execution, as[0].Execution)
	} else if _, err := w.JobCaller(w.ctx(), foreign.Token); sluice.CodeOf(err) != sluice.CodeUnauthorized {
		t.Errorf("the token of another server: %v", err)
	}
	for i := range len(token) {
		for _, c := range []byte{'0', '1', '2', 'f', 'F', '_', ' ', '+'} {
			changed := []byte(token)
			changed[i] = c
			if string(changed) == token {
				continue
			}
			if _, err := w.JobCaller(w.ctx(), string(changed)); sluice.CodeOf(err) != sluice.CodeUnauthorized {
				t.Fatalf("%s instead of %s: %v", changed, token, err)
			}
		}
	}
	_, rest, _ := strings.Cut(token, "_")
	for _, bad := range []string{token + "0", token[:len(token)-1], "sj_0" + rest, "sj_+" + rest, strings.ToUpper(token), rest} {
		if _, err := w.JobCaller(w.ctx(), bad); sluice.CodeOf(err) != sluice.CodeUnauthorized {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := w.JobCaller(w.ctx(), token); err != nil {
		t.Errorf("the token itself: %v", err)
	}
}

// TestJobTokenCostsNoWrite: handing out takes as many statements with the key
// known as for any job, and a check writes nothing.
func TestJobTokenCostsNoWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/a")
	w.push("f/a")
	w.push("f/a")
	w.take("w1", 1)
	a := w.take("w1", 1)[0]
	commits := w.store.Stats().Commits
	before, _ := w.cost(func() {
		_, err := w.JobCaller(w.ctx(), a.Token)
		w.must(err)
	})
	if n := w.store.Stats().Commits; n != commits || before > 4 {
		t.Errorf("%d commits and %d statements for a check", n-commits, before)
	}
}

// TestSecretsOfArguments: what a script's schema calls secret goes with the job.
func TestSecretsOfArguments(t *testing.T) {
	t.Parallel()
	schema := `{"type":"object","properties":{
		"plain":{"type":"string"},
		"p":{"type":"string","password":true},
		"x":{"x-sensitive":true},
		"f":{"type":"string","format":"password"},
		"o":{"type":"object","properties":{"in":{"password":true},"out":{}}},
		"l":{"type":"array","items":{"properties":{"k":{"password":true}}}},
		"no":{"password":false},"odd":{"password":"yes"},"broken":7}}`
	for _, tc := range []struct {
		name, schema, args string
		want               []string
	}{
		{"none", `null`, `{"p":"hunter22"}`, nil},
		{"no schema at all", `"x"`, `{"p":"hunter22"}`, nil},
		{"each way", schema, `{"plain":"visible","p":"hunter22","x":"sensitive","f":"formatted","no":"notsecret","odd":"notsecret2","broken":"notsecret3"}`, []string{"formatted", "hunter22", "sensitive"}},
		{"short", schema, `{"p":"abc","x":"abcd"}`, []string{"abcd"}},
		{"nested", schema, `{"o":{"in":"inner1","out":"outer"},"l":[{"k":"key1"},{"k":"key2","v":"value"}]}`, []string{"inner1", "key1", "key2"}},
		{"leaves", schema, `{"x":{"a":"leaf1","b":["leaf2",12345.60,true,null]}}`, []string{"12345.60", "leaf1", "leaf2"}},
		{"twice", schema, `{"p":"hunter22","x":"hunter22"}`, []string{"hunter22"}},
		{"references", schema, `{"p":"$var:f/v","x":"$res:f/r"}`, []string{"resolved1", "resolved2"}},
		{"another type", schema, `{"o":"text","l":"list","p":null}`, nil},
	} {
		w := newWorld(t)
		w.variable("f/v", "resolved1", false)
		w.resource("f/r", "x", `{"a":"resolved2"}`)
		w.script("f/s", "schema", json.RawMessage(tc.schema))
		w.push("f/s", args("%s", tc.args), byChief)
		a := w.take("w1", 1)[0]
		if len(a.Secrets) == 0 || a.Secrets[0] != a.Token {
			t.Errorf("%s: the token is not among %q", tc.name, a.Secrets)
			continue
		}
		got := slices.Clone(a.Secrets[1:])
		slices.Sort(got)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: secrets %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestSecretsAreBounded: more than the bound are left out, not sent.
func TestSecretsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/s", "schema", json.RawMessage(`{"properties":{"p":{"password":true}}}`))
	many := make([]string, 1000)
	for i := range many {
		many[i] = strings.Repeat("x", 4+i)
	}
	list, err := json.Marshal(map[string]any{"p": many})
	w.must(err)
	w.push("f/s", args("%s", list))
	if n := len(w.take("w1", 1)[0].Secrets); n != 256 {
		t.Errorf("%d secrets", n)
	}
}

// TestLabels: from the script and from the result.
func TestLabels(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, script, result string
		want                 []string
		note                 bool
	}{
		{"none", `null`, `"x"`, nil, false},
		{"of the script", `["a","b"]`, `1`, []string{"a", "b"}, false},
		{"of the result", `[]`, `{"wm_labels":["r","s"],"x":1}`, []string{"r", "s"}, false},
		{"both", `["a"]`, `{"wm_labels":["r","a"]}`, []string{"a", "r"}, false},
		{"empty", `null`, `{"wm_labels":[]}`, nil, false},
		{"no list", `["a"]`, `{"wm_labels":"r"}`, []string{"a"}, true},
		{"no strings", `null`, `{"wm_labels":[1,"r",null,{}]}`, []string{"r"}, true},
		{"empty and long", `null`, `{"wm_labels":["","` + strings.Repeat("x", 101) + `","` + strings.Repeat("y", 100) + `"]}`, []string{strings.Repeat("y", 100)}, true},
		{"two lines", `null`, `{"wm_labels":["a\nb","c"]}`, []string{"c"}, true},
		{"elsewhere", `null`, `{"x":{"wm_labels":["r"]}}`, nil, false},
		{"in a list", `null`, `["wm_labels",["r"]]`, nil, false},
		{"odd in the script", `{"a":1}`, `1`, nil, false},
	} {
		w := newWorld(t)
		w.script("f/l", "labels", json.RawMessage(tc.script))
		id := w.push("f/l")
		a := w.take("w1", 1)[0]
		w.must(w.AppendLog(w.ctx(), sluice.LogChunk{Execution: a.Execution, Worker: "w1", Text: []byte("hello")}))
		w.must(w.Report(w.ctx(), []sluice.Report{{Execution: a.Execution, Worker: "w1", Success: true, Launched: true, Result: json.RawMessage(tc.result)}})[0])
		v, err := w.Job(w.ctx(), "main", id, true, false)
		w.must(err)
		if !slices.Equal(v.Labels, tc.want) || string(v.Result) != tc.result {
			t.Errorf("%s: labels %q, want %q; result %s", tc.name, v.Labels, tc.want, v.Result)
		}
		if got := strings.Contains(v.Logs, "wm_labels"); got != tc.note || !strings.HasPrefix(v.Logs, "hello") {
			t.Errorf("%s: the log says %q", tc.name, v.Logs)
		}
	}
}

// TestLabelsAreBounded: 32 in all, those of the script first.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/l", "labels", []string{"script"})
	many := make([]string, 40)
	for i := range many {
		many[i] = strings.Repeat("l", i+1)
	}
	id := w.push("f/l")
	a := w.take("w1", 1)[0]
	result, err := json.Marshal(map[string]any{"wm_labels": many})
	w.must(err)
	w.must(w.Report(w.ctx(), []sluice.Report{{Execution: a.Execution, Worker: "w1", Success: true, Launched: true, Result: result}})[0])
	got := w.job(id).Labels
	if len(got) != sluice.MaxLabels || got[0] != "script" || got[1] != "l" {
		t.Errorf("%d labels: %q", len(got), got)
	}
}

// TestResultStream: it is read while the job runs, is that of the newest
// attempt, is bounded, and becomes the result of a job that returned nothing.
func TestResultStream(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, result, want string }{
		{"null", `null`, `"one\n<two>"`},
		{"empty", `""`, `"one\n<two>"`},
		{"a result", `{"a":1}`, `{"a":1}`},
		{"zero", `0`, `0`},
	} {
		w := newWorld(t)
		w.script("f/s")
		id := w.push("f/s")
		a := w.take("w1", 1)[0]
		stream := func(offset int64, text string) error {
			return w.AppendLog(w.ctx(), sluice.LogChunk{Execution: a.Execution, Worker: "w1", Offset: offset, Text: []byte(text), Stream: true})
		}
		w.must(stream(0, "one\n"))
		w.must(stream(0, "one\n<t")) // sent again, with more
		if err := stream(50, "x"); sluice.CodeOf(err) != sluice.CodeConflict {
			t.Errorf("beyond a gap: %v", err)
		}
		w.must(stream(6, "wo>"))
		u, err := w.AwaitUpdate(w.ctx(), "main", id, engine.Seen{Running: true, FromStream: 4}, time.Minute)
		w.must(err)
		if u.NewStream != "<two>" || u.StreamEnd != 9 || u.NewLogs != "" || u.LogEnd != 0 {
			t.Errorf("%s: while it runs: %+v", tc.name, u)
		}
		w.must(w.Report(w.ctx(), []sluice.Report{{Execution: a.Execution, Worker: "w1", Success: true, Launched: true, Result: json.RawMessage(tc.result), Streamed: true}})[0])
		if got := string(w.job(id).Result); got != tc.want {
			t.Errorf("%s: result %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestResultStreamIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/s")
	id := w.push("f/s")
	a := w.take("w1", 1)[0]
	piece := []byte(strings.Repeat("é", 300_000))
	for i := range 5 {
		w.must(w.AppendLog(w.ctx(), sluice.LogChunk{Execution: a.Execution, Worker: "w1", Offset: int64(i * len(piece)), Text: piece, Stream: true}))
	}
	got := ""
	for from := int64(0); ; {
		u, err := w.AwaitUpdate(w.ctx(), "main", id, engine.Seen{Running: true, FromStream: from}, time.Millisecond)
		w.must(err)
		if u.NewStream == "" {
			break
		}
		got, from = got+u.NewStream, u.StreamEnd
	}
	if len(got) != sluice.MaxStreamBytes || strings.Trim(got, "é") != "" {
		t.Errorf("%d bytes of a stream", len(got))
	}
	w.must(w.Report(w.ctx(), []sluice.Report{{Execution: a.Execution, Worker: "w1", Success: true, Launched: true, Streamed: true}})[0])
	if r := w.job(id).Result; string(r) != "null" {
		t.Errorf("a text longer than a result became one of %d bytes", len(r))
	}
}

// TestProgress: seen at once, stored at most once a second, dead with the job.
func TestProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("f/p")
	id := w.push("f/p")
	if err := w.SetProgress(w.ctx(), "main", id, 1); sluice.CodeOf(err) != sluice.CodeConflict {
		t.Errorf("of a job that waits: %v", err)
	}
	a := w.take("w1", 1)[0]
	get := func() int {
		p, err := w.Progress(w.ctx(), "main", id)
		w.must(err)
		if p == nil {
			return -1
		}
		return *p
	}
	if got := get(); got != -1 {
		t.Errorf("before the first word %d", got)
	}
	for _, bad := range []int{-1, 101} {
		if err := w.SetProgress(w.ctx(), "main", id, bad); sluice.CodeOf(err) != sluice.CodeInvalid {
			t.Errorf("%d: %v", bad, err)
		}
	}
	if err := w.SetProgress(w.ctx(), "other", id, 1); sluice.CodeOf(err) != sluice.CodeNotFound {
		t.Errorf("in another workspace: %v", err)
	}
	commits := w.store.Stats().Commits
	for p := range 101 {
		w.must(w.SetProgress(w.ctx(), "main", id, p))
		if got := get(); got != p {
			t.Fatalf("after %d it is %d", p, got)
		}
	}
	w.must(w.SetProgress(w.ctx(), "main", id, 42))
	if v := w.job(id); v.Progress == nil || *v.Progress != 42 {
		t.Errorf("a look at the job shows %v", v.Progress)
	}
	if n := w.store.Stats().Commits; n != commits {
		t.Errorf("%d commits before the store's turn", n-commits)
	}
	w.must(w.SaveProgress(w.ctx()))
	if n := w.store.Stats().Commits; n != commits+1 {
		t.Errorf("%d commits for all of it", n-commits)
	}
	w.restart()
	if got := get(); got != 42 {
		t.Errorf("after a restart %d", got)
	}
	w.report("w1", a)
	if err := w.SetProgress(w.ctx(), "main", id, 50); sluice.CodeOf(err) != sluice.CodeConflict {
		t.Errorf("of a job that has ended: %v", err)
	}
}
