package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// e2eFlow lists in Python, calls a witness once for each element in bash, two
// at a time at most, and joins in Python.
const e2eFlow = `summary: Calls a witness for each
value:
  concurrent_limit: 1
  modules:
    - id: a
      value:
        type: rawscript
        language: python3
        content: '!inline list.py'
        input_transforms: {n: {type: javascript, expr: flow_input.n + 1}}
    - id: b
      value:
        type: forloopflow
        iterator: {type: javascript, expr: 'results.a.filter((x) => x > 0)'}
        parallel: true
        modules:
          - id: c
            summary: Call
            value:
              type: rawscript
              language: bash
              content: '!inline call.sh'
              concurrent_limit: 2
              custom_concurrency_key: e2e-witness
              input_transforms:
                port: {type: javascript, expr: flow_input.port}
                item: {type: javascript, expr: flow_input.iter.value}
    - id: d
      value:
        type: rawscript
        language: python3
        content: '!inline join.py'
        input_transforms: {said: {type: javascript, expr: results.b}, n: {type: javascript, expr: results.b.length}}
`

// saveFlow writes and pushes the flow.
func (p *place) saveFlow() {
	p.t.Helper()
	dir := filepath.Join(p.dir, "flows", "f", "e2e", "all.flow")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"flow.yaml": e2eFlow,
		"list.py":   "def main(n: int):\n    return list(range(n))\n",
		"call.sh":   "port=\"$1\"\nitem=\"$2\"\nexec 3<>\"/dev/tcp/127.0.0.1/$port\"\necho here >&3\nread -r word <&3\necho \"$item $word\"\n",
		"join.py":   "def main(said: list, n: int):\n    return f\"{n}: \" + \", \".join(said)\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	p.mustSay(p.sluice(0, "push", "flows"), "new        f/e2e/all (flow)", "1 flow: 1 new.")
	p.mustSay(p.sluice(0, "push", "flows"), "unchanged  f/e2e/all (flow)")
}

// A flow of Python and bash steps goes through the death of its server, twice,
// and ends with the result that it would have had without.
func TestFlowOutlivesServers(t *testing.T) {
	p := newPlace(t)
	server := p.start()
	p.saveFlow()
	w := newWitness(t)
	args := strings.Replace(w.args(), "{", `{"n": 3, `, 1)
	id := strings.TrimSpace(p.sluice(0, "flows", "run", "f/e2e/all", "-d", args))
	one, two := w.wait(), w.wait() // two of three: the limit of the step
	next := strings.TrimSpace(p.sluice(0, "flows", "run", "f/e2e/all.flow", "-d", args))
	p.mustSay(p.sluice(0, "jobs", "why", next), "Its limit has no room: at most 1 at once.", "main/flow/f/e2e/all", id)
	p.mustSay(p.sluice(0, "jobs", "get", id), "0 of 3 done", "#3 waits: its limit has no room, first in line")
	server.kill()
	server.end()
	w.gone(one)
	w.gone(two)

	server = p.start()
	one, two = w.wait(), w.wait()
	w.release(one)
	three := w.wait() // the slot that was freed is taken again
	server.kill()     // what the first one gave is kept, or it runs again
	server.end()
	w.gone(two)
	w.gone(three)

	server = p.start()
	p.mustSay(p.sluice(0, "jobs", "cancel", next), "Canceled")
	ended := make(chan string)
	go func() { ended <- p.sluice(0, "jobs", "tail", id) }()
	for range 2 {
		w.release(w.wait())
	}
	if got := <-ended; !strings.HasSuffix(got, "3: 1 go, 2 go, 3 go\n") {
		t.Errorf("the flow ended with %q", got)
	}
	p.mustSay(p.sluice(0, "jobs", "get", id), "flow       f/e2e/all", "3 of 3 done", "succeeded")
	again := strings.TrimSpace(p.sluice(0, "flows", "restart", id, "--step", "d"))
	p.mustSay(p.sluice(0, "jobs", "tail", again), "3: 1 go, 2 go, 3 go")
	p.mustSay(p.sluice(1, "flows", "preview", "flows/f/e2e/all.flow", "--wait", "-d", `{"n": "x", "port": 1}`), "the job failed")
	server.signal(syscall.SIGTERM)
	if status := server.end(); status != 0 {
		t.Errorf("stopped with exit status %d", status)
	}
	p.mustSay(p.sluice(0, "check-history"), "all promises were kept")
}
