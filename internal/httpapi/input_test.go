package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/limit"
)

// TestLimitFieldsA26 is row A26 of the cases: null, 0, −1, 1.5, "5", 2^31 as N
// and W, a key without a limit, start without a window.
func TestLimitFieldsA26(t *testing.T) {
	r := newRig(t)
	bad := func(field string) string { return field }
	const n, w = "concurrent_limit", "concurrency_time_window_s"
	for i, tc := range []struct {
		fields   string
		script   string // the field that an error names; "": saved
		override string
	}{
		{`"concurrent_limit":null`, "", bad(n)}, // an override must replace something
		{`"concurrent_limit":0`, bad(n), bad(n)},
		{`"concurrent_limit":-1`, bad(n), bad(n)},
		{`"concurrent_limit":1.5`, bad(n), bad(n)},
		{`"concurrent_limit":"5"`, bad(n), bad(n)},
		{`"concurrent_limit":2147483648`, bad(n), bad(n)},
		{`"concurrent_limit":true`, bad(n), bad(n)},
		{`"concurrent_limit":[1]`, bad(n), bad(n)},
		{`"concurrent_limit":1000000`, "", ""},
		{`"concurrent_limit":1000001`, bad(n), bad(n)},
		{`"concurrent_limit":5.0`, "", ""},
		{`"concurrent_limit":1,"concurrency_time_window_s":null`, "", ""},
		{`"concurrent_limit":1,"concurrency_time_window_s":0`, "", ""},
		{`"concurrent_limit":1,"concurrency_time_window_s":-1`, bad(w), bad(w)},
		{`"concurrent_limit":1,"concurrency_time_window_s":1.5`, bad(w), bad(w)},
		{`"concurrent_limit":1,"concurrency_time_window_s":"5"`, bad(w), bad(w)},
		{`"concurrent_limit":1,"concurrency_time_window_s":2147483648`, bad(w), bad(w)},
		{`"concurrent_limit":1,"concurrency_time_window_s":2678400`, "", ""},
		{`"concurrent_limit":1,"concurrency_time_window_s":2678401`, bad(w), bad(w)},
		{`"concurrency_key":"k"`, "", bad(n)}, // a key without a limit has no effect; an override knows no key
		{`"concurrency_time_window_s":5`, "", ""},
		{`"concurrent_limit":1,"concurrency_window_from":"start"`, bad(w), bad(w)},
		{`"concurrent_limit":1,"concurrency_window_from":"start","concurrency_time_window_s":0`, bad(w), bad(w)},
		{`"concurrent_limit":1,"concurrency_window_from":"start","concurrency_time_window_s":1`, "", ""},
		{`"concurrent_limit":1,"concurrency_window_from":"middle"`, "concurrency_window_from", "concurrency_window_from"},
		{`"concurrent_limit":1,"concurrency_window_from":null`, "", ""},
	} {
		path := fmt.Sprintf("f/limits/s%d", i)
		got := r.do("POST", "/api/w/main/scripts/create", `{"path":"`+path+`","content":"echo","language":"bash",`+tc.fields+`}`)
		r.names("scripts/create "+tc.fields, got, 201, tc.script)
		got = r.do("PUT", fmt.Sprintf("/api/concurrency_groups/override/key%d", i), `{`+tc.fields+`}`)
		r.names("override "+tc.fields, got, 200, tc.override)
		got = r.do("POST", "/api/w/main/jobs/run/preview", `{"content":"echo","language":"bash",`+tc.fields+`,"path":"`+path+`"}`)
		r.names("preview "+tc.fields, got, 201, tc.script)
	}
	// A key without a limit: the job is in no group.
	r.script("f/keyed", `"concurrency_key":"alone"`)
	if got := r.ok(200, "GET", "/api/concurrency_groups/"+r.run("f/keyed", "")+"/key", ""); got != "null" {
		t.Errorf("key %s", got)
	}
	got := r.do("POST", "/api/w/main/scripts/create", `{"path":"f/x","content":"","language":"bash","concurrent_limit":1,"concurrency_key":"$args["}`)
	r.names("template", got, 201, "concurrency_key")
}

// names checks an answer: good, or 400 text that begins with the field.
func (r *rig) names(what string, got reply, good int, field string) {
	r.t.Helper()
	if field == "" {
		if got.status != good {
			r.t.Errorf("%s: %d %s", what, got.status, got.body)
		}
		return
	}
	if got.status != 400 || got.mime != textMime || !strings.HasPrefix(got.body, field+": ") {
		r.t.Errorf("%s: %d %s %q, want 400 that names %s", what, got.status, got.mime, got.body, field)
	}
}

func TestBodiesOverTheBound(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxBody = 1000 })
	r.script("f/a", "")
	body := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
	if len(body(1000)) != 1000 {
		t.Fatal("the test counts wrong")
	}
	r.ok(201, "POST", "/api/w/main/jobs/run/p/f/a", body(1000))
	chunked := func(n int) reply {
		req := r.request("POST", "/api/w/main/jobs/run/p/f/a", body(n), "Authorization", "Bearer "+testToken)
		req.ContentLength = -1
		return r.send(req)
	}
	if got := chunked(1000); got.status != 201 {
		t.Errorf("1000 bytes in chunks: %d %s", got.status, got.body)
	}
	for name, got := range map[string]reply{
		"with a length":    r.do("POST", "/api/w/main/jobs/run/p/f/a", body(1001)),
		"in chunks":        chunked(1001),
		"far over":         r.do("POST", "/api/w/main/scripts/create", body(200_000)),
		"far over, chunks": chunked(200_000),
	} {
		if got.status != 413 || got.mime != textMime || !strings.Contains(got.body, "larger") {
			t.Errorf("%s: %d %s %s", name, got.status, got.mime, got.body)
		}
	}
	// A bulk push has its own bound.
	jobs := strings.Repeat(`{"path":"f/a","args":{"x":"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}},`, 100)
	r.ok(201, "POST", "/api/w/main/jobs/run/bulk", `{"jobs":[`+strings.TrimSuffix(jobs, ",")+`]}`)
}

func TestBodiesWhateverTheyAreCalled(t *testing.T) {
	r := newRig(t)
	r.script("f/a", "")
	for _, mime := range []string{"application/x-www-form-urlencoded", "application/json", "application/json; charset=utf-8", "application/octet-stream", ""} {
		id := r.ok(201, "POST", "/api/w/main/jobs/run/p/f/a", `{"big":12345678901234567890}`, "Content-Type", mime, "Accept", "text/html, */*")
		if got := r.ok(200, "GET", "/api/w/main/jobs_u/get/"+id, "", "Accept", "text/plain"); !strings.Contains(got, `"args":{"big":12345678901234567890}`) {
			t.Errorf("%s: %s", mime, got)
		}
	}
}

func TestPathsThatAMuxWouldRedirect(t *testing.T) {
	r := newRig(t)
	for _, p := range []string{"//api/version", "/api//version", "/api/./version", "/api/x/../version", "/api/w/main//jobs/list", "/api/w/main/jobs/run/p/f/../x", "/api/w/main/jobs/run/p//f/a", "/.."} {
		for _, method := range []string{"GET", "POST"} {
			if got := r.do(method, p, ""); got.status != 400 || got.mime != textMime {
				t.Errorf("%s %s: %d %s", method, p, got.status, got.body)
			}
		}
	}
	if got := r.do("DELETE", "/api/version", ""); got.status != 405 {
		t.Errorf("405: %d", got.status)
	}
}

// TestKeysOfAnyBytes is row A12 of the cases, over HTTP.
func TestKeysOfAnyBytes(t *testing.T) {
	r := newRig(t)
	for _, key := range []string{"a", "A", "a/b", "a//b", "/", "..", "../x", ".", "", "a b+c&d=e?f#g", "%", "%2F", "100%", "'\"\\`", "*", "_", "\x00", "\r\n", "🎉", "\u202eright-to-left", strings.Repeat("x", 255), "get/", "key", "{key...}"} {
		path := func(verb string) string { return "/api/concurrency_groups/" + verb + "/" + escapeAll(key) }
		var shown struct {
			Key string `json:"concurrency_key"`
			N   int    `json:"concurrent_limit"`
		}
		r.read(r.ok(200, "PUT", path("override"), `{"concurrent_limit":3}`), &shown)
		if shown.Key != key || shown.N != 3 {
			t.Errorf("key %q came back as %q with %d", key, shown.Key, shown.N)
		}
		r.read(r.ok(200, "GET", path("get"), ""), &shown)
		if shown.Key != key {
			t.Errorf("key %q came back as %q", key, shown.Key)
		}
		r.ok(200, "DELETE", path("override"), "")
	}
	// As browsers escape it.
	r.ok(200, "PUT", "/api/concurrency_groups/override/"+url.PathEscape("x/y z"), `{"concurrent_limit":3}`)
	r.ok(200, "GET", "/api/concurrency_groups/get/x/y%20z", "")
	// Bytes that are no text.
	r.ok(200, "PUT", "/api/concurrency_groups/override/%FF%FE", `{"concurrent_limit":3}`)
	if got := r.do("GET", "/api/concurrency_groups/get/%FF", ""); got.status != 404 {
		t.Errorf("another key: %d", got.status)
	}
}

func TestErrorTable(t *testing.T) {
	r := newRig(t)
	for code, want := range map[sluice.Code]int{
		sluice.CodeInvalid: 400, sluice.CodeUnauthorized: 401, sluice.CodeForbidden: 403, sluice.CodeNotFound: 404, sluice.CodeConflict: 409,
		sluice.CodeTooLarge: 413, sluice.CodeLimited: 429, sluice.CodeInternal: 500, sluice.CodeUnavailable: 503, "": 500,
	} {
		e := r.api.present(context.Background(), fmt.Errorf("wrapped: %w", &sluice.Error{Code: code, Field: "f", Message: "said", Err: errors.New("hidden")}))
		if e.status != want || strings.Contains(e.text, "hidden") || (e.text == "f: said") != (want != 500) {
			t.Errorf("%q: %d %q", code, e.status, e.text)
		}
	}
	if e := r.api.present(context.Background(), &limit.FieldError{Field: "n", Message: "no"}); e.status != 400 || e.text != "n: no" {
		t.Errorf("%v", e)
	}
	ctx := context.WithValue(context.Background(), requestIDKey, "r-1")
	e := r.api.present(ctx, errors.New("disk on fire"))
	if e.status != 500 || strings.Contains(e.text, "disk") || !strings.Contains(e.text, "r-1") {
		t.Errorf("%v", e)
	}
	if log := r.log.String(); !strings.Contains(log, "disk on fire") || !strings.Contains(log, "request=r-1") {
		t.Errorf("log %s", log)
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	r := newRig(t)
	r.api.router.main.HandleFunc("GET /api/panic", func(http.ResponseWriter, *http.Request) { panic("oh no") })
	got := r.do("GET", "/api/panic", "")
	if got.status != 500 || strings.Contains(got.body, "oh no") || !strings.Contains(r.log.String(), "oh no") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestJSONWithoutSurprises(t *testing.T) {
	b, err := marshal(map[string]any{"html": "<b>&", "raw": anyJSON(nil)})
	if err != nil || !bytes.Equal(b, []byte(`{"html":"<b>&","raw":null}`)) {
		t.Errorf("%s %v", b, err)
	}
}

// TestRunsTellWhatHasNoEffect: what a call asks for and does not get is told,
// once, by every call that pushes jobs.
func TestRunsTellWhatHasNoEffect(t *testing.T) {
	r := newRig(t)
	hash := r.script("f/a", "")
	both := []string{"cache_ttl has no effect here yet", "invisible_to_owner has no effect here yet"}
	const ask = "?cache_ttl=60&invisible_to_owner=true"
	type call struct{ method, path, body string }
	calls := []call{{"POST", "run/preview", `{"content":"","language":"bash"}`}}
	for _, path := range []string{"run/p/f/a", "run/h/" + hash, "run_wait_result/p/f/a", "run_wait_result/h/" + hash} {
		calls = append(calls, call{"POST", path, "{}"}, call{"GET", path, ""})
	}
	for _, c := range calls {
		for query, want := range map[string][]string{
			ask: both, "?cache_ttl=1": both[:1], "?invisible_to_owner=true": both[1:], "": nil, "?cache_ttl=0&invisible_to_owner=false": nil,
		} {
			if strings.Contains(c.path, "wait") {
				query = cmp.Or(query, "?") + "&timeout_s=0"
			}
			got := r.do(c.method, "/api/w/main/jobs/"+c.path+query, c.body)
			if warned := got.header.Values(warningHeader); !slices.Equal(warned, want) || got.status >= 400 && got.status != 504 {
				t.Errorf("%s %s%s: %d %s, warned of %q, want %q", c.method, c.path, query, got.status, got.body, warned, want)
			}
		}
	}
	for body, want := range map[string][]string{
		`,"temp_script_refs":{"f/b":"00"}`: {"temp_script_refs has no effect here yet"},
		`,"temp_script_refs":null`:         nil,
		`,"temp_script_refs":{}`:           nil,
		`,"modules":{"m":{}}`:              {"modules has no effect here yet"},
	} {
		got := r.do("POST", "/api/w/main/jobs/run/preview", `{"content":"","language":"bash"`+body+`}`)
		if warned := got.header.Values(warningHeader); !slices.Equal(warned, want) || got.status != 201 {
			t.Errorf("%s: %d %s, warned of %q, want %q", body, got.status, got.body, warned, want)
		}
	}
}

// An instant that cannot be read is answered with one that can.
func TestInstantsAreShown(t *testing.T) {
	r := newRig(t)
	got := r.do("POST", "/api/w/main/jobs/run/p/f/a?scheduled_for=tomorrow", "{}")
	if want := "scheduled_for: must be an instant such as 2026-01-31T12:00:00Z"; got.status != 400 || got.body != want {
		t.Errorf("%d %s", got.status, got.body)
	}
}
