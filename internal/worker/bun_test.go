package worker

import "testing"

var bunEcho = "export function main(x: any) { return x }\n"

func TestBun(t *testing.T) {
	values := []string{
		`null`, `true`, `false`, `0`, `-7`, `9007199254740991`, `1.5`, `1e+300`, `""`, `"a b"`, `"héé 😀"`, `"nul \u0000 end"`,
		`"lone \ud800 half"`, `[]`, `[1,[2,[3,null]]]`, `{}`, `{"a":{"b":[{"c":1}]},"":2}`,
	}
	cases := []languageCase{
		{name: "default", code: "export async function main(a: number, b = 3, c: string = ')\"') { return [a, b, c] }", args: `{"a":1}`, want: `[1,3,")\""]`},
		{name: "by name", code: "export const main = async (a: number, b: { c: string } = { c: 'x,y' }, d?: string): Promise<any> => [a, b, d]", args: `{"d":"4","b":{"c":"z"},"a":1}`, want: `[1,{"c":"z"},"4"]`},
		{name: "one name", code: "export const main = async x => x", args: `{"x":1}`, want: `1`},
		{name: "missing", code: "export function main(a: any, b: any) { return [a, typeof b] }", args: `{"a":1,"c":2}`, want: `[1,"undefined"]`},
		{name: "of the prototype", code: "export function main(toString: any) { return typeof toString }", args: `{}`, want: `"undefined"`},
		{name: "taken apart", code: "export function main({ a, b }: any) { return a + b }", args: `{"a":1,"b":2}`, want: `3`},
		{name: "rest", code: "export function main(a: any, ...xs: any[]) { return [a, xs] }", args: `{"a":1,"xs":[2,3]}`, want: `[1,[2,3]]`},
		{name: "bigint", code: "export function main() { return [2n ** 64n, 1] }", want: `["18446744073709551616",1]`},
		{name: "not a number", code: "export function main() { return [NaN, Infinity, 1.5] }", want: `[null,null,1.5]`},
		{name: "nothing", code: "export function main() { return undefined }", want: `null`},
		{name: "undefined inside", code: "export function main() { return { a: undefined, b: [undefined] } }", want: `{"a":null,"b":[null]}`},
		{name: "function", code: "export function main() { return () => 1 }", want: `null`},
		{name: "objects of classes", code: "export function main() { return [new Date(0), new Map([[1, 2]]), new Set([1]), Symbol.iterator, Buffer.from('a').length] }", want: `["1970-01-01T00:00:00.000Z",{},{},null,1]`},
		{name: "circle", code: "export function main() { const a: any = {}; a.a = a; return a }", errName: FailureResult, message: "cyclic"},
		{name: "thrown", code: "class Mine extends Error { name = 'Mine' }\nfunction f() {\n  throw new Mine('why')\n}\nexport function main() {\n  f()\n}", errName: "Mine", message: "why", stack: "main.ts:6"},
		{name: "rejected", code: "export async function main() { await Promise.reject(new TypeError('no')) }", errName: "TypeError", message: "no", stack: "main.ts:1"},
		{name: "named like ours", code: "export function main() { const e = new Error('no'); e.name = 'WorkerLost'; throw e }", errName: "WorkerLost", message: "no"},
		{name: "a text is thrown", code: "export function main() { throw 'why' }", errName: "Error", message: "why"},
		{name: "an object is thrown", code: "export function main() { throw { code: 7 } }", errName: "Error", message: `{"code":7}`},
		{name: "thrown while loading", code: "throw new RangeError('early')\nexport function main() {}", errName: "RangeError", message: "early"},
		{name: "exit 0", code: "export function main() { console.log('bye'); process.exit(0) }", errName: FailureExecution, message: "before it had returned a result, last log lines:\nbye"},
		{name: "exit 3", code: "export function main() { console.error('bye'); process.exit(3) }", errName: FailureExecution, message: "ExitCode: 3, last log lines:\nbye"},
		{name: "rejection that nobody awaits", code: "export async function main() { Promise.reject(new Error('lonely')); await Bun.sleep(10); return 1 }", want: `1`},
		{name: "syntax", code: "export function main() {\n  return (1\n}", errName: "SyntaxError", message: "main.ts:3:1"},
		{name: "no package", code: "import x from 'nowhere-to-be-found'\nexport function main() { return x }", errName: "DependenciesErr", message: "nowhere-to-be-found"},
		{name: "await at the top", code: "(globalThis as any).n = ((globalThis as any).n ?? 0) + 1\nconst x = await Promise.resolve(5)\nexport function main() { return [x, (globalThis as any).n] }", want: `[5,1]`},
		{name: "an error that speaks of an async module", code: "throw new Error('async module')", errName: "Error", message: "async module"},
		{name: "no main", code: "export function other() {}", errName: "ReferenceError", message: "exports no function main"},
		{name: "main is not exported", code: "function main() {}", errName: "ReferenceError", message: "exports no function main"},
		{name: "preprocessor", entry: "preprocessor", code: "export async function preprocessor(event: any) { return { got: event } }\nexport function main() {}", args: `{"event":{"kind":"http"}}`, want: `{"got":{"kind":"http"}}`},
		{name: "preprocessor of plain arguments", entry: "preprocessor", code: "export async function preprocessor(event: any) { return event }\nexport function main() {}", args: `{"a":1}`, want: `{"a":1}`},
		{name: "no preprocessor", entry: "preprocessor", code: "export function main() {}", errName: "ReferenceError", message: "no function preprocessor"},
		{name: "standard input", code: "import { readFileSync } from 'node:fs'\nexport async function main() { return [readFileSync(0, 'utf8'), await Bun.stdin.text()] }", want: `["",""]`},
		{name: "environment", code: "export function main() { return [process.env.WM_JOB_ID!.slice(0, 4), process.env.HOME, Bun.env.HOME, process.env.BUN_RUNTIME_TRANSPILER_CACHE_PATH].map((x, i) => i == 1 || i == 2 ? x === process.cwd() : x) }", want: `["job-",true,true,null]`},
		{name: "a reply of its own", code: "import { writeSync } from 'node:fs'\nexport function main() { for (let fd = 3; fd < 1024; fd++) { try { writeSync(fd, 'junk{\"result\":2}\\n{\"key\":\"\",\"result\":2}\\nrest') } catch {} } return 1 }", want: `1`},
		{name: "junk on descriptor 3", code: "import { writeSync } from 'node:fs'\nexport function main() { try { writeSync(3, 'x'.repeat(3 << 20)) } catch (e) {} return 1 }", errName: FailureResult, message: "larger than a result may be"},
		{name: "a child sees no channel", code: "export function main() { return Bun.spawnSync(['ls', '/proc/self/fd']).stdout.toString().split('\\n') }", want: `["0","1","2","3",""]`},
		{name: "something stays open", code: "export function main() { setInterval(() => {}, 1000); return 1 }", want: `1`},
		{name: "a node module", code: "import * as path from 'path'\nimport { createHash } from 'node:crypto'\nexport function main() { return [path.basename('/a/b'), createHash('md5').update('').digest('hex').length] }", want: `["b",32]`},
	}
	for _, v := range values {
		cases = append(cases, languageCase{name: "value " + v, code: bunEcho, args: `{"x":` + v + `}`, want: v})
	}
	runLanguageCases(t, "bun", NewBun(), cases)
}

func TestBunRuns(t *testing.T) {
	testRuns(t, "bun", NewBun(), languageRuns{
		echo:       bunEcho,
		sleep:      "export async function main() { console.log('up'); await Bun.sleep(60000) }",
		ignoreTERM: "export async function main() { process.on('SIGTERM', () => {}); console.log('up'); for (;;) await Bun.sleep(60000) }",
		flood:      "export function main() { for (let i = 0; i < 40; i++) console.log('x'.repeat(500000)); return 'done' }",
		large:      "export function main() { return 'x'.repeat(8 << 20) }",
	})
}

// The bound on a job's memory leaves room for compiled code.
func TestTypeScriptIsCompiled(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	f.push(script(1, "bun", `
import { numberOfDFGCompiles } from "bun:jsc";
function hot(n: number): number { return n < 2 ? n : hot(n - 1) + hot(n - 2); }
export function main() {
  const end = Date.now() + 10_000;
  while (numberOfDFGCompiles(hot) === 0 && Date.now() < end) hot(15);
  const n = numberOfDFGCompiles(hot);
  return n > 0 && n < 1000; // a million says that there is no compiler
}
`))
	if got := string(f.result(t, 1).Result); got != "true" {
		t.Errorf("compiled: %s", got)
	}
}
