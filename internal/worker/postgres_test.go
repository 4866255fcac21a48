package worker

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/pgtest"
)

// withDatabase adds the argument database to a JSON object.
func withDatabase(t *testing.T, dsn any, args string) string {
	t.Helper()
	values := map[string]any{}
	if args != "" {
		var raw map[string]json.RawMessage
		if err := json.Unmarshal([]byte(args), &raw); err != nil {
			t.Fatal(err)
		}
		for k, v := range raw {
			values[k] = v
		}
	}
	values["database"] = dsn
	p, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestPostgres(t *testing.T) {
	dsn := pgtest.Database(t)
	one := "-- $1 x (%)\nSELECT $1::% AS x"
	of := func(kind string) string { return strings.ReplaceAll(one, "%", kind) }
	cases := []languageCase{
		{name: "rows", code: "SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS t (n, s) ORDER BY n", want: `[{"n":1,"s":"a"},{"n":2,"s":null}]`},
		{name: "no rows", code: "SELECT 1 AS n WHERE false", want: `[]`},
		{name: "numbers", code: "SELECT 9007199254740993::int8 AS i, 123456789012345678901234567890.50::numeric AS n, 1.5::float8 AS f, 'NaN'::float8 AS x, '-Infinity'::float4 AS y, 'NaN'::numeric AS z", want: `[{"i":9007199254740993,"n":123456789012345678901234567890.50,"f":1.5,"x":null,"y":null,"z":null}]`},
		{name: "json", code: `SELECT '{"a": [1, null]}'::jsonb AS j, '[1.50]'::json AS k, 'null'::jsonb AS n`, want: `[{"j":{"a":[1,null]},"k":[1.50],"n":null}]`},
		{name: "arrays", code: `SELECT ARRAY[1,NULL,3] AS i, ARRAY['a"b','c,d','NULL',NULL,'{}','é\'] AS t, ARRAY[[1,2],[3,4]] AS m, '{}'::int[] AS e, ARRAY[true] AS b, ARRAY['{"a":1}'::jsonb] AS j, '[0:1]={5,6}'::int[] AS o`, want: `[{"i":[1,null,3],"t":["a\"b","c,d","NULL",null,"{}","é\\"],"m":[[1,2],[3,4]],"e":[],"b":[true],"j":[{"a":1}],"o":[5,6]}]`},
		{name: "times", code: "SET timezone = 'UTC'; SELECT '2026-01-02 03:04:05.5+00'::timestamptz AS a, '2026-01-02 03:04:05'::timestamp AS b, '2026-01-02'::date AS c, 'infinity'::timestamptz AS d, '1 day'::interval AS e", want: `[{"a":"2026-01-02T03:04:05.5Z","b":"2026-01-02T03:04:05","c":"2026-01-02","d":"infinity","e":"1 day"}]`},
		{name: "bytes and uuid", code: `SELECT '\xff00'::bytea AS b, ''::bytea AS e, '00000000-0000-0000-0000-000000000001'::uuid AS u, true AS t, inet '10.0.0.1' AS i`, want: `[{"b":"/wA=","e":"","u":"00000000-0000-0000-0000-000000000001","t":true,"i":"10.0.0.1"}]`},
		{name: "arguments", code: "-- $1 a\n-- $2 b (int) = 7\n-- $3 c\nSELECT $1::text AS a, $2::int + 1 AS b, $3::text AS c", args: `{"a":"x'; DROP TABLE y; --","d":1}`, want: `[{"a":"x'; DROP TABLE y; --","b":8,"c":null}]`},
		{name: "argument of json", code: of("jsonb"), args: `{"x":{"a":[1,"é"]}}`, want: `[{"x":{"a":[1,"é"]}}]`},
		{name: "argument of a json list", code: of("jsonb"), args: `{"x":[1,"a"]}`, want: `[{"x":[1,"a"]}]`},
		{name: "argument of an array", code: of("text[]"), args: `{"x":["a","b\"c",null,"d\\,"]}`, want: `[{"x":["a","b\"c",null,"d\\,"]}]`},
		{name: "argument of numbers", code: of("int[]"), args: `{"x":[1,2]}`, want: `[{"x":[1,2]}]`},
		{name: "argument of bytes", code: of("bytea"), args: `{"x":"/wA="}`, want: `[{"x":"/wA="}]`},
		{name: "argument of a number", code: of("numeric"), args: `{"x":123456789012345678901.5}`, want: `[{"x":123456789012345678901.5}]`},
		{name: "several statements", code: "CREATE TABLE t (a int, b text);\n-- a comment; with a semicolon\nINSERT INTO t VALUES (1, ';'), (2, $$;$$), (3, E'\\';');\nSELECT count(*) AS n, min(b) AS m FROM t; -- the end\n", want: `[{"n":3,"m":"';"}]`},
		{name: "body of a function", code: "DO $body$ BEGIN PERFORM 1; END $body$; SELECT 1 AS n", want: `[{"n":1}]`},
		{name: "nothing", code: "-- nothing\n", want: `[]`},
		{name: "changed", code: "CREATE TEMP TABLE q (a int); INSERT INTO q VALUES (1) RETURNING a", want: `[{"a":1}]`},
		{name: "wrong", code: "SELECT 1;\n\nSELECT é FROM nowhere", errName: "DatabaseError", message: "(SQLSTATE 42P01) at line 3, column 15"},
		{name: "syntax", code: "SELEC 1", errName: "DatabaseError", message: "(SQLSTATE 42601) at line 1, column 1"},
		{name: "division", code: "SELECT 1/0", errName: "DatabaseError", message: "SQLSTATE 22012"},
		{name: "too many rows", code: "SELECT repeat('x', 1000) AS x FROM generate_series(1, 5000)", errName: "Error", message: "add a LIMIT"},
	}
	for i := range cases {
		cases[i].args = withDatabase(t, dsn, cases[i].args)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	object := func(password string) map[string]any {
		return map[string]any{"host": u.Hostname(), "port": json.RawMessage(u.Port()), "user": "postgres", "password": password, "dbname": u.Path[1:], "sslmode": "disable"}
	}
	cases = append(
		cases,
		languageCase{name: "an object", code: "SELECT current_database() = '" + u.Path[1:] + "' AS ok", args: withDatabase(t, object(password), ""), want: `[{"ok":true}]`},
		languageCase{name: "wrong password", code: "SELECT 1", args: withDatabase(t, object("hush-hush"), ""), errName: "DatabaseError", message: "28P01"},
		languageCase{name: "no connection", code: "SELECT 1", args: `{}`, errName: "Error", message: `"database"`},
		languageCase{name: "no server", code: "SELECT 1", args: withDatabase(t, "postgres://u:hush-hush@127.0.0.1:1/x?sslmode=disable", ""), errName: "Error", message: "cannot be reached"},
		languageCase{name: "no url", code: "SELECT 1", args: withDatabase(t, "postgres://u:hush-hush@[::1/x", ""), errName: "Error", message: "must be a connection"},
	)
	runLanguageCases(t, "postgresql", Postgres{}, cases)
}

func TestPostgresKeepsPasswords(t *testing.T) {
	f := newFakeSource()
	startLanguage(t, f, "postgresql", Postgres{})
	for i, database := range []string{"postgres://u:hush-hush@127.0.0.1:1/x?sslmode=disable", "postgres://u:hush-hush@[::1/x", "postgres://u:hush-hush@127.0.0.1:1/x?sslmode=no"} {
		id := int64(i + 1)
		f.push(languageJob(id, "postgresql", "SELECT 1", withDatabase(t, database, "")))
		if r := f.result(t, id); r.Success || strings.Contains(string(r.Result)+f.logOf(id), "hush") {
			t.Errorf("%s %s", r.Result, f.logOf(id))
		}
	}
}

func TestPostgresIsStopped(t *testing.T) {
	dsn := pgtest.Database(t)
	f := newFakeSource()
	startLanguage(t, f, "postgresql", Postgres{})
	a := languageJob(1, "postgresql", "SELECT pg_sleep(60)", withDatabase(t, dsn, ""))
	a.Timeout = time.Second
	f.push(a)
	if got := thrownBy(t, f.result(t, 1)); got.Name != FailureTimeout {
		t.Errorf("%+v", got)
	}
	f.push(languageJob(2, "postgresql", "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active'", withDatabase(t, dsn, "")))
	var r sluice.Report
	if r = f.result(t, 2); string(r.Result) != `[{"n":0}]` {
		t.Errorf("the statement runs on: %s", r.Result)
	}
}
