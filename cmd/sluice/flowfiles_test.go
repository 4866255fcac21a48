package main

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"sluice"
)

const flowYAML = `summary: All of it
value:
  modules:
    - id: a
      value:
        type: rawscript
        language: bash
        content: '!inline a.inline_script.sh'
        lock: '!inline a.lock'
        concurrent_limit: 2
        input_transforms: {n: {type: static, value: '!inline stays'}}
    - id: b
      value:
        type: forloopflow
        iterator: {type: javascript, expr: '[1,2]'}
        modules:
          - id: c
            value: {type: branchone, branches: [], default: [{id: d, value: {type: rawscript, content: '!inline sub/d.py', language: python3}}]}
tag: null
big: 123456789012345678901234567890
`

func TestReadFlow(t *testing.T) {
	root := fstest.MapFS{
		"f/x.flow/flow.yaml": {Data: []byte(flowYAML)}, "f/x.flow/a.inline_script.sh": {Data: []byte("echo a\n")}, "f/x.flow/a.lock": {},
		"f/x.flow/sub/d.py":      {Data: []byte("def main(): pass\n")},
		"f/y__flow/flow.yaml":    {Data: []byte("value: {modules: []}\n")},
		"f/none.flow/other":      {},
		"f/wrong.flow/flow.yaml": {Data: []byte("a: [\n")}, "f/list.flow/flow.yaml": {Data: []byte("value: [1]\n")},
		"f/lost.flow/flow.yaml": {Data: []byte("value: {modules: [{id: a, value: {type: rawscript, content: '!inline gone.sh'}}]}\n")},
		"f/out.flow/flow.yaml":  {Data: []byte("value: {modules: [{id: a, value: {type: rawscript, content: '!inline ../../../etc/passwd'}}]}\n")},
	}
	body, err := readFlow(root, "f/x.flow", "f/x")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"big":123456789012345678901234567890,"description":"","path":"f/x","schema":{},"summary":"All of it","tag":null,"value":{"modules":[` +
		`{"id":"a","value":{"concurrent_limit":2,"content":"echo a\n","input_transforms":{"n":{"type":"static","value":"!inline stays"}},"language":"bash","lock":"","type":"rawscript"}},` +
		`{"id":"b","value":{"iterator":{"expr":"[1,2]","type":"javascript"},"modules":[{"id":"c","value":{"branches":[],"default":[{"id":"d","value":` +
		`{"content":"def main(): pass\n","language":"python3","type":"rawscript"}}],"type":"branchone"}}],"type":"forloopflow"}}]}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if body, err := readFlow(root, "f/y__flow", ""); err != nil || body["path"] != nil || body["summary"] != "" {
		t.Errorf("%v, error %v", body, err)
	}
	for dir, field := range map[string]string{
		"f/none.flow": "f/none.flow/flow.yaml", "f/wrong.flow": "f/wrong.flow/flow.yaml", "f/list.flow": "f/list.flow/flow.yaml",
		"f/lost.flow": "f/lost.flow/gone.sh", "f/out.flow": "../etc/passwd",
	} {
		if _, err := readFlow(root, dir, ""); sluice.CodeOf(err) != sluice.CodeInvalid || !strings.HasPrefix(err.Error(), field+": ") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestFlowNames(t *testing.T) {
	for name, want := range map[string]string{
		"f/x.flow": "f/x", "f/x__flow": "f/x", "f/x.flow/flow.yaml": "f/x", "f/x.flow/": "f/x", "f/x": "f/x", "f/.flow": "f/.flow", ".flow": ".flow",
	} {
		if got := withoutFlowExt(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestNotesOnFlow(t *testing.T) {
	body, err := decodeYAML(`concurrent_limit: 3
tagg: x
value:
  concurrency_key: k
  modules:
    - id: a
      value: {type: rawscript, concurent_limit: 2, custom_concurrency_key: k}
    - id: b
      value: {type: rawscript, concurrent_limit: 2, custom_concurrency_key: k, content: x}
`)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(notesOnFlow(body), "\n")
	want := `concurrency_key has no effect without concurrent_limit: the flow has no limit
concurrent_limit has no effect beside the value of a flow; write it into the value
step a: custom_concurrency_key has no effect without concurrent_limit: the step has no limit
step a: concurent_limit is no setting and has no effect; is concurrent_limit meant?`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
