package signature

import (
	"strings"
	"testing"
)

func TestPostgres(t *testing.T) {
	const db = "database {resource:postgresql}"
	tests := []struct{ code, want string }{
		{"SELECT 1", db},
		{"-- $1 name\nSELECT $1", db + ", 1:name str"},
		{"-- $1 name = ann\n-- $2 n (int) = 3\nSELECT $1, $2", db + `, 1:name str = "ann", 2:n int = 3`},
		{"--$1 a (text) = 'it''s'\nSELECT $1", db + `, 1:a str = "it's"`},
		{"SELECT $2::int, $1", db + ", 1:$1 str, 2:$2 int"},
		{"-- $1 a\n-- $2 b (text)\nSELECT $1::bigint, $2::int", db + ", 1:a int, 2:b str"},
		{
			"-- $1 a\nSELECT $1::int[], $2::double precision, $3::numeric(10,2), $4::jsonb, $5::timestamptz, $6::bytea, $7::boolean, $8::uuid",
			db + ", 1:a {list:int}, 2:$2 float, 3:$3 float, 4:$4 {object:[]}, 5:$5 datetime, 6:$6 bytes, 7:$7 bool, 8:$8 str",
		},
		{
			"-- $1 a (numeric(10, 2)) = 1.5\n-- $2 b (varchar(20)[]) = [\"x\"]\n-- $3 c (BOOL) = TRUE\n-- $4 d (jsonb) = {\"k\":1}",
			db + `, 1:a float = 1.5, 2:b {list:str} = ["x"], 3:c bool = true, 4:d {object:[]} = {"k":1}`,
		},
		{"-- $1 a = NULL\n-- $2 b (int) = now", db + `, 1:a? str, 2:b int = "now"`},
		{"-- $1 is the name, $2 the age\nSELECT 'x'", db},
		{"SELECT '$1 -- $2 x', \"$3\", $$ $4 $$, $t$ $5 $$ $t$, E'\\'$6', a$7 /* $8 /* $9 */ $10 */, $11", db + ", 11:$11 str"},
		{"-- database f/x/res\n-- $1 a\n", "1:a str"},
		{"-- $1 a\n-- $1 b\n-- $2 a\nselect $1", db + ", 1:a str"},
		{"-- $1 database\nselect $1", db},
		{"select $0, $1001, $99999999999999999999, $, $$", db},
		{"-- $1 x\r\n-- $2 y = 'z'\r\nselect $1, $2", db + `, 1:x str, 2:y str = "z"`},
		{"select $1::INT , $1::text", db + ", 1:$1 int"},
	}
	for _, tt := range tests {
		check(t, "postgresql", tt.code, tt.want)
	}
	if sig, err := Parse("postgresql", "-- database u/ann/db \n"); err != nil || sig.Database != "u/ann/db" {
		t.Errorf("database %q, %v", sig.Database, err)
	}
	var b strings.Builder
	for n := range 3000 {
		b.WriteString("$" + itoa(n) + ",")
	}
	if sig, _ := Parse("postgresql", b.String()); len(sig.Args) != MaxArgs {
		t.Errorf("%d arguments", len(sig.Args))
	}
}

func FuzzPostgres(f *testing.F) {
	fuzz(f, "postgresql", "-- $1 name (int[]) = 3\n-- database f/a/b\nselect $1::numeric(1,2), $a$ ' $a$, E'\\'', /* /* */ */ \"$2\"", "-- $2 (text)\n-- $3 x = null")
}
