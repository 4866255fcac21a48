package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// windmillClient is where make setup installs windmill-client, which scripts import.
const windmillClient = "/usr/local/lib/node_modules/windmill-client/dist/index.mjs"

// clientBody calls Windmill's library for everything that is promised of it; it
// needs wmill, and returns what it saw.
const clientBody = `
  const saw = {};
  saw.workspace = wmill.getWorkspace();
  saw.run = await wmill.runScriptByPath("f/sdk/child", { name: "ann" });
  const id = await wmill.runScriptByPathAsync("f/sdk/child", { name: "bob" });
  saw.wait = await wmill.waitJob(id);
  saw.result = await wmill.getResult(id);
  saw.maybe = (await wmill.getResultMaybe(id)).completed;
  try { await wmill.runScriptByPath("f/sdk/fails"); saw.failure = "none"; } catch (e) { saw.failure = String(e.message ?? e).includes("no way") ? "no way" : String(e); }
  try { await wmill.waitJob("01900000-0000-7000-8000-000000000000"); saw.unknown = "found"; } catch { saw.unknown = "thrown"; }
  saw.flow = await wmill.runFlow("f/sdk/small", { name: "eve" });
  const late = await wmill.runScriptByPathAsync("f/sdk/child", { name: "late" }, 600);
  saw.cancel = typeof await wmill.cancelJob(late, "not needed");
  saw.cancelled = (await wmill.getResult(late)).error.name;
  await wmill.setVariable("f/sdk/word", "green", false, "D");
  await wmill.setVariable("f/sdk/word", "blue");
  saw.variable = await wmill.getVariable("f/sdk/word");
  await wmill.setResource({ word: "$var:f/sdk/word", n: 1 }, "f/sdk/thing", "thing");
  saw.resource = await wmill.getResource("f/sdk/thing");
  saw.before = (await wmill.getState()) ?? "none";
  await wmill.setState({ at: 1 });
  await wmill.setState({ at: 2 });
  saw.state = await wmill.getState();
  await wmill.setProgress(42);
  saw.progress = await wmill.getProgress();
  await wmill.setFlowUserState("colour", { red: true }, true);
  saw.user = await wmill.getFlowUserState("colour", true);
  const urls = await wmill.getResumeUrls("ann");
  saw.urls = Object.keys(urls).sort().join();
  saw.email = await wmill.usernameToEmail("admin");
  wmill.appendToResultStream("one ");
  saw.wm_labels = ["seen"];
  return saw;
`

const clientSaw = `{"workspace":"main","run":"hi ann","wait":"hi bob","result":"hi bob","maybe":true,"failure":"no way","unknown":"thrown","flow":"hi eve",
"cancel":"string","cancelled":"Canceled","variable":"blue","resource":{"word":"blue","n":1},"before":"none","state":{"at":2},"progress":42,"user":{"red":true},
"urls":"approvalPage,cancel,resume","email":"admin@sluice.local","wm_labels":["seen"]}`

// TestWindmillClient runs a step of a flow that calls Windmill's library for
// JavaScript, under bun and under node.
func TestWindmillClient(t *testing.T) {
	if _, err := os.Stat(windmillClient); err != nil {
		t.Fatalf("Windmill's library is missing; make setup installs it: %v", err)
	}
	code := map[string]string{
		"bun":  "import wmill from \"" + windmillClient + "\";\nexport async function main() {" + clientBody + "}\n",
		"bash": "cat > client.mjs <<'END'\nimport wmill from \"" + windmillClient + "\";\nimport { writeFileSync } from \"node:fs\";\nasync function main() {" + clientBody + "}\nwriteFileSync(\"result.json\", JSON.stringify(await main()));\nEND\nnode client.mjs\n",
	}
	for language, content := range code {
		t.Run(language, func(t *testing.T) {
			p := newPlace(t)
			p.start()
			p.post("scripts/create", `{"path":"f/sdk/child","language":"bash","content":"name=\"$1\"\necho \"hi $name\"","lock":""}`)
			p.post("scripts/create", `{"path":"f/sdk/fails","language":"bash","content":"echo no way >&2; exit 3","lock":""}`)
			p.post("flows/create", `{"path":"f/sdk/small","value":{"modules":[{"id":"a","value":{"type":"script","path":"f/sdk/child","input_transforms":{"name":{"type":"javascript","expr":"flow_input.name"}}}}]}}`)
			value, err := json.Marshal(map[string]any{"modules": []any{map[string]any{"id": "a", "value": map[string]any{
				"type": "rawscript", "language": language, "content": content, "lock": "", "input_transforms": map[string]any{},
			}}}})
			if err != nil {
				t.Fatal(err)
			}
			p.post("flows/create", `{"path":"f/sdk/all","value":`+string(value)+`}`)
			run := strings.TrimSpace(p.sluice(0, "flows", "run", "f/sdk/all"))
			p.sluice(0, "jobs", "tail", run)
			var got, want any
			j := p.job(run)
			if err := json.Unmarshal(j.Result, &got); err != nil {
				t.Fatalf("%v: %s", err, j.Result)
			}
			if err := json.Unmarshal([]byte(clientSaw), &want); err != nil {
				t.Fatal(err)
			}
			g, _ := json.Marshal(got)
			s, _ := json.Marshal(want)
			if string(g) != string(s) {
				t.Errorf("the library saw\n%s\nwant\n%s\n%s", g, s, p.get("jobs_u/get_logs/"+run))
			}
		})
	}
}

// TestWindmillClientInPython calls what Python's package calls, by plain HTTP.
func TestWindmillClientInPython(t *testing.T) {
	p := newPlace(t)
	p.start()
	content, err := os.ReadFile(filepath.Join("testdata", "wmill_package.py"))
	if err != nil {
		t.Fatal(err)
	}
	p.post("scripts/create", `{"path":"f/sdk/child","language":"bash","content":"name=\"$1\"\necho \"hi $name\"","lock":""}`)
	body, err := json.Marshal(map[string]any{"path": "f/sdk/python", "language": "python3", "content": string(content), "lock": ""})
	if err != nil {
		t.Fatal(err)
	}
	p.post("scripts/create", string(body))
	p.post("flows/create", `{"path":"f/sdk/flow","value":{"modules":[{"id":"a","value":{"type":"script","path":"f/sdk/child",
		"input_transforms":{"name":{"type":"static","value":"flow"}}}}]}}`)
	p.mustSay(p.sluice(0, "run", "--wait", "f/sdk/python"), "hi ann", "blue", `"at": 2`, "admin@sluice.local", "CE v")
}
