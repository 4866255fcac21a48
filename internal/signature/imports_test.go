package signature

import (
	"strings"
	"testing"
)

func TestImports(t *testing.T) {
	tests := []struct{ language, code, want string }{
		{"python3", "import os, pandas as pd, a.b.c\nfrom yaml import load\nimport os.path; import x\n", "builtin os; package pandas; package a/b.c; package PyYAML; builtin os; package x"},
		{"python3", "def main():\n  from PIL import (\n    Image, # one\n    Draw)\n  x.import_(y)\n'''\nimport no\n'''\n# import no\nyield_ = 1 # x\n", "package Pillow"},
		{
			"python3", "from . import a, b as c\nfrom .d import e\nfrom ..g.h import i\nfrom f.folder.script import x\nimport u.ann.lib\nfrom f.folder import one, two\nfrom __future__ import annotations",
			"script ./a; script ./b; script ./d; script ../g/h; script f/folder/script; script u/ann/lib; script f/folder/one; script f/folder/two; builtin __future__",
		},
		{"python3", "# requirements:\n# pandas[all]>=2\n#numpy==1.0\n\nimport requests, os\nfrom f.a.b import c", "requirement pandas; requirement numpy; builtin os; script f/a/b"},
		{"python3", "#extra_requirements:\n#numpy==1.0\nimport requests\n# other", "requirement numpy; package requests"},
		{"python3", "# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\n#   \"requests<3\",\n#   'rich',\n# ]\n# ///\nimport requests", "requirement requests; requirement rich"},
		{"python3", "# /// script\r\n# dependencies = [\"a\", \"b[c]\"]\r\n# ///\r\n", "requirement a; requirement b"},
		{"python3", "import a\nx = 'unclosed", "package a"},
		{
			"bun", `import a from "a"; import * as b from 'b@1.2.3'; import { c, type d } from "@s/c@^2/sub/x.js"; import "e/sub"; import f, { g } from "npm:f@1"; export * from "h"; export { i } from "i"`,
			"package a; package b@1.2.3; package @s/c@^2/sub/x.js; package e/sub; package f@1; package h; package i",
		},
		{
			"bun", `import fs from "fs"; import p from "node:path"; import { Database } from "bun:sqlite"; import $ from "bun"; import x from "fs/promises"; import y from "npm:url"`,
			"builtin fs; builtin node:path; builtin bun:sqlite; builtin bun; builtin fs/promises; package url",
		},
		{
			"bun", `import a from "./a.ts"; import b from "../x/b.bun.ts"; import c from "/f/x/c.ts"; import d from "f/x/d"; import e from "u/ann/e"; import g from "f"; import h from "/usr/lib/h.mjs"`,
			"script ./a; script ../x/b; script f/x/c; script f/x/d; script u/ann/e; package f; builtin /usr/lib/h.mjs",
		},
		{
			"deno", `import a from "https://x.y/a.ts"; import b from "jsr:@std/b"; const c = await import("c"), d = require('d'); x.require("no"); x.import("no"); import(e); import.meta.url; // import "no"`,
			"url https://x.y/a.ts; url jsr:@std/b; package c; package d",
		},
		{"bun", "import type { A } from 'no'; import type from 'yes'; export type { B } from 'no'; const s = `import 'no'`; export const x = 1; import 'last'", "package yes; package last"},
		{"go", "package inner\n//require github.com/x/y v1.2.3\nimport (\n \"fmt\"\n q \"github.com/x/y/z\"\n)\nimport \"net/http\"\nfunc", "requirement github.com/x/y@v1.2.3; builtin fmt; package github.com/x/y/z; builtin net/http"},
		{"go", "no go", ""},
		{"bash", "import os", ""},
		{"cobol", "import os", ""},
	}
	for _, tt := range tests {
		var parts []string
		for _, i := range Imports(tt.language, tt.code) {
			s := string(i.Kind) + " " + i.Name
			if i.Version != "" {
				s += "@" + i.Version
			}
			if i.Subpath != "" {
				s += "/" + i.Subpath
			}
			parts = append(parts, s)
		}
		if got := strings.Join(parts, "; "); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.code, got, tt.want)
		}
	}
	var b strings.Builder
	for i := range 3000 {
		b.WriteString("import m" + itoa(i) + "\n")
	}
	if n := len(Imports("python3", b.String())); n != maxImports {
		t.Errorf("%d imports", n)
	}
}
