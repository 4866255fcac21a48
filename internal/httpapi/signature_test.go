package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestToSchema(t *testing.T) {
	r := newRig(t)
	ask := func(language, code string) reply {
		body, err := json.Marshal(code)
		if err != nil {
			t.Fatal(err)
		}
		return r.do("POST", "/api/scripts/"+language+"/tojsonschema", string(body))
	}
	const begin = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",`
	tests := []struct{ language, code, want string }{
		{
			"python3", "def main(a: str, *args, n: int = 3, **kw): ...\ndef preprocessor(event): ...",
			`{"type":"Valid","error":"","star_args":true,"star_kwargs":true,"args":[{"name":"a","typ":"str","default":null,"has_default":false},` +
				`{"name":"n","typ":"int","default":3,"has_default":true}],"no_main_func":false,"has_preprocessor":true,` +
				`"schema":` + begin + `"properties":{"a":{"type":"string"},"n":{"type":"integer","default":3}},"required":["a"],"order":["a","n"]}`,
		},
		{
			"bun", "export function main(c: 'a' | 'b', db: Postgresql, o?: { x: number[] }) {}",
			`"args":[{"name":"c","typ":{"str":["a","b"]},"default":null,"has_default":false},{"name":"db","typ":{"resource":"postgresql"},"default":null,"has_default":false},` +
				`{"name":"o","typ":{"object":[{"key":"x","typ":{"list":"float"}}]},"default":null,"has_default":true}],"no_main_func":false,"has_preprocessor":false`,
		},
		{"deno", "", `"args":[],"no_main_func":true`},
		{"bash", `who="${1:-you}"`, `"args":[{"name":"who","typ":"str","default":"you","has_default":true}],"no_main_func":null,"has_preprocessor":null`},
		{
			"bun", "import fs from 'node:fs'\nimport z from 'zod@3.1.0/v4'",
			`"imports":[{"kind":"builtin","spec":"node:fs","name":"node:fs"},{"kind":"package","spec":"zod@3.1.0/v4","name":"zod","version":"3.1.0","subpath":"v4"}]`,
		},
		{"go", "package inner\nfunc main(n int) {}", `{"name":"n","typ":"int"`},
		{"postgresql", "select $1::int", `{"name":"database","typ":{"resource":"postgresql"}`},
		{"python", "def main(a", `{"type":"Invalid","error":"line 1, column 9: this bracket is never closed","star_args":false,"star_kwargs":false,"args":[],"no_main_func":null,"has_preprocessor":null,"schema":null`},
	}
	for _, tt := range tests {
		got := ask(tt.language, tt.code)
		if got.status != 200 || got.mime != contentJSON || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s: %d %s\n got %s\nwant %s", tt.language, got.status, got.mime, got.body, tt.want)
		}
	}
	if got := ask("cobol", ""); got.status != 400 || !strings.HasPrefix(got.body, "language: must be one of bash, bun, deno, go, nativets, postgresql, python, python3") {
		t.Errorf("cobol: %d %s", got.status, got.body)
	}
	if got := r.do("POST", "/api/scripts/bash/tojsonschema", `{"code":1}`); got.status != 400 {
		t.Errorf("an object: %d %s", got.status, got.body)
	}
	if got := r.raw("POST", "/api/scripts/bash/tojsonschema", `""`); got.status != 401 {
		t.Errorf("a stranger: %d %s", got.status, got.body)
	}
}
