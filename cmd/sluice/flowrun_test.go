package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/client"
)

// A flow runs through everything: pushed from a folder, its steps on real
// workers, its expressions in real processes, its limits in the history.
func TestFlowEndToEnd(t *testing.T) {
	p := newPlace(t)
	dir := filepath.Join(p.dir, "ws", "f", "e2e", "all.flow")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	flow := `summary: all
value:
  concurrent_limit: 1
  modules:
    - id: list
      value:
        type: rawscript
        language: bash
        content: |
          n="$1"
          for i in $(seq "$n"); do s="$s${s:+,}$i"; done
          echo "{\"n\": [$s]}" > result.json
        input_transforms:
          n: { type: javascript, expr: 'flow_input.n + 1' }
    - id: each
      value:
        type: forloopflow
        parallel: true
        skip_failures: false
        iterator: { type: javascript, expr: 'results.list.n.map(x => x * 2)' }
        modules:
          - id: one
            value:
              type: rawscript
              language: bash
              concurrent_limit: 2
              content: |
                v="$1"
                echo "$WM_FLOW_STEP_ID $WM_FLOW_PATH $v"
              input_transforms:
                v: { type: javascript, expr: flow_input.iter.value }
    - id: sum
      value:
        type: rawscript
        language: bash
        content: |
          all="$1"
          echo "got $all"
        input_transforms:
          all: { type: javascript, expr: 'results.each.join(";")' }
`
	if err := os.WriteFile(filepath.Join(dir, "flow.yaml"), []byte(flow), 0o644); err != nil {
		t.Fatal(err)
	}
	server := p.start("--workers", "4")
	p.mustSay(p.sluice(0, "push", filepath.Join(p.dir, "ws")), "f/e2e/all")
	var ids []string
	for range 3 {
		ids = append(ids, p.runFlow("f/e2e/all", `{"n": 4}`))
	}
	for _, id := range ids {
		j := p.until(id, ended)
		want := `"got one f/e2e/all 2;one f/e2e/all 4;one f/e2e/all 6;one f/e2e/all 8;one f/e2e/all 10"`
		if string(bytes.TrimSpace(j.Result)) != want {
			t.Errorf("the flow gave %s, want %s", j.Result, want)
		}
	}
	server.signal(os.Interrupt)
	if status := server.end(); status != 0 {
		t.Errorf("interrupted with exit status %d", status)
	}
	p.mustSay(p.sluice(0, "check-history"), "all promises were kept")
}

// A server is killed at random moments of flows; each new one goes on with them.
func TestFlowsOfAKilledServer(t *testing.T) {
	p := newPlace(t)
	dir := filepath.Join(p.dir, "ws", "f", "e2e", "steps.flow")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("summary: steps\nvalue:\n  concurrent_limit: 2\n  modules:\n")
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		b.WriteString("    - id: " + id + "\n      value:\n        type: rawscript\n        language: bash\n        concurrent_limit: 1\n" +
			"        content: |\n          v=\"$1\"\n          echo \"${v}" + id + "\"\n        input_transforms:\n" +
			"          v: { type: javascript, expr: \"(previous_result.v ?? previous_result) + ''\" }\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "flow.yaml"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	server := p.start("--workers", "2")
	p.mustSay(p.sluice(0, "push", filepath.Join(p.dir, "ws")), "f/e2e/steps")
	var ids []string
	for _, v := range []string{"x", "y", "z"} {
		ids = append(ids, p.runFlow("f/e2e/steps", `{"v": "`+v+`"}`))
	}
	for round := range 5 {
		p.until(ids[round%2], func(j *client.Job) bool { return ended(j) || j.Running })
		server.kill()
		_ = server.cmd.Wait() // it was killed
		server = p.start("--workers", "2")
	}
	for i, id := range ids {
		want := `"` + string("xyz"[i]) + `abcdef"`
		if j := p.until(id, ended); string(bytes.TrimSpace(j.Result)) != want {
			t.Errorf("flow %d gave %s, want %s", i, j.Result, want)
		}
	}
	server.signal(os.Interrupt)
	server.end()
	p.mustSay(p.sluice(0, "check-history"), "all promises were kept")
}

// runFlow starts a run of a flow over HTTP.
func (p *place) runFlow(path, args string) string {
	p.t.Helper()
	token, err := os.ReadFile(filepath.Join(p.dir, "data", "token"))
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url+"/api/w/main/jobs/run/f/"+path, strings.NewReader(args))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	id, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		p.t.Fatalf("run %s: %s: %s, %v", path, resp.Status, id, err)
	}
	return string(id)
}

// until looks at a job again and again until it is as wanted.
func (p *place) until(id string, done func(j *client.Job) bool) client.Job {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.t.Context(), patience)
	defer stop()
	for {
		j := p.job(id)
		if done(&j) {
			return j
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("job %s is not as wanted: %+v", id, j)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ended(j *client.Job) bool { return j.Success != nil }
