package signature

import (
	"strings"
	"testing"
)

func TestTypeScript(t *testing.T) {
	tests := []struct{ code, want string }{
		{"", "no main"},
		{"export async function main() {}", ""},
		{"function main(a: string) {}", "no main"},
		{
			"export function main(a: string, b: number, c: bigint, d: boolean, e: any, f: unknown, g, h: Date, i: Base64, j: wmill.Base64, k: object) {}",
			"a str, b float, c int, d bool, e unknown, f unknown, g unknown, h datetime, i bytes, j bytes, k {object:[]}",
		},
		{
			"export async function main(a?: string, b: number | null, c: undefined | string[], d: string | undefined = 'x') {}",
			`a? str, b? float, c? {list:str}, d str = "x"`,
		},
		{
			`export function main(a: "x" | 'y', b: | "p" | "q" | null = "p", c: ("x" | "y")[], d: "a" | string) {}`,
			`a {str:[x,y]}, b {str:[p,q]} = "p", c {list:{str:[x,y]}}, d str`,
		},
		{
			"export function main(a: string[][], b: Array<number>, c: Array<Array<string>>, d: ReadonlyArray<'x'>, e: readonly string[], f: [string, string], g: [a: string, b?: number], h: Array<string>= []) {}",
			"a {list:{list:str}}, b {list:float}, c {list:{list:str}}, d {list:{str:[x]}}, e {list:str}, f {list:str}, g {list:unknown}, h {list:str} = []",
		},
		{
			"export function main(a: { x: string; y?: number, 'z-z': { q: boolean }\n w: string | null }, b: Record<string, number>, c: { [k: string]: any }, d: { f(): void; g: string }, e: {}) {}",
			"a {object:[{key:x,typ:str},{key:y,typ:float},{key:z-z,typ:{object:[{key:q,typ:bool}]}},{key:w,typ:str}]}, b {object:[]}, c {object:[]}, d {object:[{key:g,typ:str}]}, e {object:[]}",
		},
		{
			"export function main(a: Postgresql, b: RT.CTemplates, c: S3Object, d: wmill.Resource<'my_res'>, e: Slack[]) {}",
			"a {resource:postgresql}, b {resource:c_templates}, c {resource:s3_object}, d {resource:my_res}, e {list:{resource:slack}}",
		},
		{
			"export function main(a = 1, b = 1.5, c = 'x', d = true, e = null, f = [1, 2], g = { k: [1], 'l': \"x\" }, h = -3, i = f(), j = `t`, k = `t${1}`, l = 0x1f, m = 1_000n, n = undefined, o = 'x' as const, p = {a, ...b}) {}",
			`a int = 1, b float = 1.5, c str = "x", d bool = true, e? unknown, f {list:int} = [1,2], g {object:[]} = {"k":[1],"l":"x"}, h int = -3, ` +
				`i? unknown, j str = "t", k? unknown, l int = 31, m int = 1000, n? unknown, o str = "x", p? unknown`,
		},
		{`export function main(a = 'it\'s \n \u00e9 \x41 \u{1F389} \ud83c\udf89 \q') {}`, `a str = "it's \n é A 🎉 🎉 q"`},
		{
			"export function main(cb: (a: string, b: number) => void, t: `a${string}b`, n: 1 | 2, k: keyof T, q: typeof x.y, c: A extends B ? C : D, m: new () => X, g: <T>(x: T) => T, last: string) {}",
			"cb unknown, t str, n int, k unknown, q unknown, c unknown, m unknown, g unknown, last str",
		},
		{
			"export function main({ a, b = 2 }: { a: string, b?: number }, { c, d: e = 'x' }, [f, g]: string[], [h]) {}",
			"anon1 {object:[{key:a,typ:str},{key:b,typ:float}]}, anon2 {object:[{key:c,typ:unknown},{key:d,typ:str}]}, anon3 {list:str}, anon4 {list:unknown}",
		},
		{"export function main(a: string, ...rest: number[]) {}", "a str, *"},
		{
			"export function main<T extends { a: X<Y> }, U = string>(this: Foo, a: T, b: U[], c: Map<string, number> = new Map<string, number>(), d: string) {}",
			"a unknown, b {list:unknown}, c? {object:[]}, d str",
		},
		{"export function main(a: A & B, b: { x: string } & { y: number }, c: string & {}) {}", "a {object:[]}, b {object:[{key:x,typ:str},{key:y,typ:float}]}, c str"},

		// Where main may be.
		{"export const main = async (a: string, b = 3): Promise<void> => {}", "a str, b int = 3"},
		{"export const main: (a: string) => Promise<{ x: 1 }> = async function (a: string) {}", "a str"},
		{"export const main = async a => a", "a unknown"},
		{"export const main = <T,>(a: T) => a", "a unknown"},
		{"export const main = wrap((a: string) => a)", ""},
		{"export const main = (1 + 2)", ""},
		{"export default async function (a: string) {}", "a str"},
		{"export default function main(a: string) {}", "a str"},
		{"export default (a: string) => a", "a str"},
		{"async function f(a: string) {}\nexport default f", "a str"},
		{"function run(a: string) {}\nexport { run as main, x }", "a str"},
		{"const main = (a: string) => a;\nexport { main };", "a str"},
		{"export { main } from './other'", "no main"},
		{"export function main(a: number) {}\nexport default function (b: string) {}", "a float"},
		{"export async function preprocessor(event: any) {}\nexport async function main(a: string) {}", "a str, preprocessor"},
		{"class A { main(a: string) {} }\n{ function main(b) {} }\nnamespace X { export function main(c) {} }", "no main"},
		{
			"#!/usr/bin/env bun\n// export function main(x) {}\n/* export function main(y) {} */\nconst s = 'export function main(z) {}', r = /export function main\\/[/](q) {/g, t = `export function main(w) {} ${ `}` + '}' }`\nexport function main(a: string /* the, first */, // )\n b: number,) {}",
			"a str, b float",
		},
		{"const x = a / b / c; if (x) /'/.test(y)\nconst y = (a) / 2; const z = '/'\nfunction f() {} /\"/.exec(q)\nlet o = { a: 1 } / 2; return /`/\nexport function main(a: string) {}", "a str"},
		{"\ufeffexport function main(é: string, $x: string, _y: string) {}\r\n", "é str, $x str, _y str"},

		// What the code declares.
		{
			"type Color = 'red' | 'blue'\ntype Count = number\nexport type List = Color[]\ninterface Db { host: string }\ntype Pg = { host: string }\nexport function main(c: Color, n?: Count, l: List, d: Db, p: Pg, s: Self) {}\ntype Self = Self[]",
			"c {str:[red,blue]}, n? float, l {list:{str:[red,blue]}}, d {resource:db}, p {resource:pg}, s {list:{resource:self}}",
		},
		{
			"enum Color { Red = 'red', Blue = \"blue\" }\nexport const enum N { A, B = 3 }\nexport function main(c: Color = Color.Red, n: N, r: Color.Red) {}",
			"c? {str:[red,blue]}, n int, r {str:[red,blue]}",
		},

		// What cannot be read.
		{"export function main(a: string, a: number) {}", "line 1, column 42: two arguments are called a"},
		{"export function main(a b) {}", "line 1, column 24: expected a comma or the end of the parameters"},
		{"export function main(1) {}", "line 1, column 22: expected the name of a parameter"},
		{"export function main(a: string {}", "line 1, column 21: this bracket is never closed"},
		{"export function main(a: string] {}", "line 1, column 31: expected ) before ]"},
		{"\nlet é = 'abc\n", "line 2, column 9: this string is never closed"},
		{"let x = `abc", "line 1, column 9: this template is never closed"},
		{"let x = /abc\n", "line 1, column 9: this regular expression is never closed"},
		{"/* abc", "line 1, column 1: this comment is never closed"},
	}
	for _, tt := range tests {
		check(t, "bun", tt.code, tt.want)
	}
}

func TestTypeScriptBounds(t *testing.T) {
	names := make([]string, MaxArgs+1)
	for i := range names {
		names[i] = "a" + itoa(i)
	}
	check(t, "deno", "export function main("+strings.Join(names, ",")+") {}", "line 1, column 4912: more than 1000 arguments")
	check(t, "nativets", "export function main(a = "+strings.Repeat("1+", maxTokens)+"1) {}", "line 1, column 21: the parameters are too long")
	var b strings.Builder
	for i := range 60 {
		b.WriteString("type T" + itoa(i) + " = { a: T" + itoa(i+1) + ", b: T" + itoa(i+1) + " }[]\n")
	}
	check(t, "bun", b.String()+"export function main(a: T0) {}", "a {list:{object:[]}}")
	for _, deep := range []string{
		"a: " + strings.Repeat("{a:", 5000) + "x" + strings.Repeat("}", 5000),
		"a: " + strings.Repeat("(", 5000) + "x" + strings.Repeat(")", 5000),
		"a: " + strings.Repeat("A<", 10_000) + "x" + strings.Repeat(">", 10_000),
		"a: " + strings.Repeat("A extends ", 10_000) + "x",
		"a: " + strings.Repeat("readonly ", 10_000) + "x",
		"a: x" + strings.Repeat("[]", 10_000),
		"a = " + strings.Repeat("b<", 20_000) + "1",
		"a = " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
	} {
		if sig, err := Parse("bun", "export function main("+deep+") {}"); err == nil {
			sound(t, sig)
		}
	}
}

func FuzzTypeScript(f *testing.F) {
	fuzz(f, "bun",
		"enum E { A = 'a' }\ntype T = 'x' | E\nexport async function main(a: T[], { b }: { b?: Array<{ c: string }> } = {}, ...d: any): Promise<X> { return `${/[/]/.exec(a)}` }",
		"export const main = async <T,>(a: (x: T) => `q${string}` | null = (x) => x, b: A extends B ? [C] : { [k in D]: E }) => 1 / 2",
		"export { f as main }; function f(a = { 'k': [1, -0x2n, '\\u{41}'] }, b = new Map<string, () => void>()) {}",
	)
}
