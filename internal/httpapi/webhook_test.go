package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/engine"
)

// argsOf returns the arguments of a job as they are stored.
func (r *rig) argsOf(id string) string {
	r.t.Helper()
	var job struct {
		Args json.RawMessage `json:"args"`
	}
	r.read(r.ok(200, "GET", "/api/w/main/jobs_u/get/"+id, ""), &job)
	return string(job.Args)
}

// TestWebhookRate: a token with scopes pushes only so many jobs at once, in bulk
// too, and is told to come again; other tokens go on.
func TestWebhookRate(t *testing.T) {
	s := newScene(t, func(o *Options) { o.hookBurst = 3 })
	s.openFolders("main", "x")
	s.person("dev", sluice.RoleDeveloper)
	of := func(scopes ...string) string { return s.token(engine.NewToken{Email: "dev@x.org", Scopes: scopes}) }
	hook, other, free := of("jobs:run:scripts:f/x/hello"), of("jobs:run:scripts:f/x/*"), of()
	push := func(token string, want int) {
		t.Helper()
		if got := s.as(token, "POST", "/api/w/main/jobs/run/p/f/x/hello", ""); got.status != want || want == 429 && got.header.Get("Retry-After") == "" {
			t.Errorf("%d %s; want %d", got.status, got.body, want)
		}
	}
	push(hook, 201)
	if got := s.as(hook, "POST", "/api/w/main/jobs/run/bulk", `{"jobs":[`+strings.Repeat(`{"path":"f/x/hello"},`, 99)+`{"path":"f/x/hello"}]}`); got.status != 429 {
		t.Errorf("%d %s", got.status, got.body)
	}
	push(other, 201)
	for range 10 {
		push(free, 201)
	}
}

const formMime = "application/x-www-form-urlencoded"

// TestWebhookArguments sends what programs of others send and looks at the
// arguments that come of it, by path and by hash.
func TestWebhookArguments(t *testing.T) {
	r := newRig(t)
	hash := r.script("f/hook", "")
	parts := strings.ReplaceAll("--B\nContent-Disposition: form-data; name=\"a\"\n\nhi\n--B\nContent-Disposition: form-data; name=\"f\"; filename=\"x.bin\"\nContent-Type: image/png\n\n\x00\xff\n--B--\n", "\n", "\r\n")
	for _, tc := range []struct {
		name, query, mime, body, want string
		headers                       []string
	}{
		{"object", "", jsonMime, `{"b":1.0,"a":[ 1 ]}`, `{"b":1.0,"a":[1]}`, nil},
		{"no body", "", "", "", `{}`, nil},
		{"null", "", jsonMime, "null", `{}`, nil},
		{"list", "", jsonMime, `[1,{"x":2}]`, `{"body":[1,{"x":2}]}`, nil},
		{"string", "", jsonMime, `"s"`, `{"body":"s"}`, nil},
		{"number", "", jsonMime, `12345678901234567890`, `{"body":12345678901234567890}`, nil},
		{"wrapped object", "?wrap_body=true", jsonMime, `{"a":1}`, `{"body":{"a":1}}`, nil},
		{"json of a kind", "", "application/cloudevents+json", `{"a":1}`, `{"a":1}`, nil},
		{"curl's form that is JSON", "", formMime, ` {"a":"b&c=d"}`, `{"a":"b&c=d"}`, nil},
		{"form", "", formMime, "b=1&a=x+y%21&b=2&empty=&bare", `{"b":["1","2"],"a":"x y!","empty":"","bare":""}`, nil},
		{"parts", "", "multipart/form-data; boundary=B", parts, `{"a":"hi","f":{"name":"x.bin","content_type":"image/png","base64":"AP8="}}`, nil},
		{"text", "", "text/plain", `{"a":1} é`, `{"raw_string":"{\"a\":1} é"}`, nil},
		{"xml", "", "application/xml", `<a/>`, `{"raw_string":"<a/>"}`, nil},
		{"raw JSON", "?raw=true", jsonMime, `{"a": 1}`, `{"a":1,"raw_string":"{\"a\": 1}"}`, nil},
		{"raw bytes", "?raw=true", "application/pdf", "%PDF", `{"raw_string":"%PDF"}`, nil},
		{"payload", "?payload=" + base64.URLEncoding.EncodeToString([]byte(`{"a":1,"p":2}`)), jsonMime, `{"a":9}`, `{"a":9,"p":2}`, nil},
		{"query", "?include_query=q,none&q=1&other=2", jsonMime, `{"a":1}`, `{"a":1,"q":"1"}`, nil},
		{"headers", "?include_header=X-Sign,Foo,X-None", jsonMime, `{"a":1}`, `{"a":1,"x_sign":"s","foo":"bar"}`, []string{"X-Sign", "s", "Foo", "bar"}},
		{"a body cannot pretend to be a header", "?include_header=X-Sign", jsonMime, `{"x_sign":"forged","a":1}`, `{"x_sign":"true","a":1}`, []string{"X-Sign", "true"}},
		{"token in the query", "?token=" + testToken, jsonMime, `{"a":1}`, `{"a":1}`, nil},
	} {
		for _, target := range []string{"p/f/hook", "h/" + hash} {
			send := r.do
			if strings.Contains(tc.query, "token=") {
				send = r.raw
			}
			got := send("POST", "/api/w/main/jobs/run/"+target+tc.query, tc.body, append([]string{"Content-Type", tc.mime}, tc.headers...)...)
			if got.status != 201 || got.mime != textMime {
				t.Errorf("%s: %d %s %s", tc.name, got.status, got.mime, got.body)
				continue
			}
			if args := r.argsOf(got.body); args != tc.want {
				t.Errorf("%s: arguments %s, want %s", tc.name, args, tc.want)
			}
		}
	}
	id := r.ok(201, "GET", "/api/w/main/jobs/run/p/f/hook?include_query=q&q=7&payload=e30", "")
	if got := r.argsOf(id); got != `{"q":"7"}` {
		t.Errorf("GET: %s", got)
	}
}

// TestWebhookArgumentsRefused: each bad call gets a 4xx that names the trouble,
// and pushes nothing.
func TestWebhookArgumentsRefused(t *testing.T) {
	r := newRig(t)
	r.script("f/hook", "")
	huge := strings.Repeat("x", maxFileBytes+1)
	for _, tc := range []struct {
		name, query, mime, body, want string
		status                        int
	}{
		{"broken JSON", "", jsonMime, `{"a":`, "no JSON from byte", 400},
		{"two values", "", jsonMime, `{} {}`, "no JSON from byte", 400},
		{"a field twice", "", jsonMime, `{"a":{"x":1,"\u0078":2}}`, `"x" stands there twice`, 400},
		{"deep", "", jsonMime, `{"a":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, "nests deeper than 200", 400},
		{"very deep", "", jsonMime, strings.Repeat("[", 1_000_000), "nests deeper than 200", 400},
		{"no UTF-8", "", jsonMime, "{\"a\":\"\xff\"}", "no UTF-8 from byte 6", 400},
		{"text that is none", "", "text/plain", "\xff", "raw_string: ", 400},
		{"raw bytes that are no text", "?raw=true", "application/pdf", "a\xff", "raw_string: ", 400},
		{"some other type", "", "application/pdf", "%PDF", "Content-Type: application/pdf", 400},
		{"malformed type", "", "a/b/c;;", "x", "Content-Type: ", 400},
		{"malformed form", "", formMime, "a=%zz", "malformed", 400},
		{"form with no name", "", formMime, "=1", "malformed", 400},
		{"many fields", "", formMime, strings.Repeat("a=1&", 1001), "more than 1000", 400},
		{"no boundary", "", "multipart/form-data", "x", "boundary", 400},
		{"cut parts", "", "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nhi", "breaks off", 400},
		{"big part", "", "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" + huge + "\r\n--B--\r\n", "at most 1 MiB", 413},
		{"payload", "?payload=xx", "", "", "payload: ", 400},
		{"payload with a field twice", "?payload=" + base64.RawURLEncoding.EncodeToString([]byte(`{"a":1,"a":2}`)), "", "", "payload: ", 400},
		{"the token as argument", "?include_query=token&token=x", "", "", "include_query: ", 400},
		{"the token's header as argument", "?include_header=Authorization", "", "", "include_header: ", 400},
		{"many headers", "?include_header=" + strings.TrimSuffix(manyNames(60), ","), "", "", "include_header: ", 400},
	} {
		got := r.do("POST", "/api/w/main/jobs/run/p/f/hook"+tc.query, tc.body, "Content-Type", tc.mime)
		if got.status != tc.status || got.mime != textMime || !strings.Contains(got.body, tc.want) || len(got.body) > 300 {
			t.Errorf("%s: %d %s %.400s, want %d and %q", tc.name, got.status, got.mime, got.body, tc.status, tc.want)
		}
	}
	if got := r.ok(200, "GET", "/api/w/main/jobs/list", ""); got != "[]" {
		t.Errorf("something was pushed: %s", got)
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x%d,", i)
	}
	return b.String()
}

// TestWebhookLimitsApply: a full queue is refused with 429 on every way in.
func TestWebhookLimitsApply(t *testing.T) {
	r := newRig(t)
	hash := r.script("f/hook", limited)
	r.run("f/hook", "")
	for _, call := range []string{"POST run/p/f/hook", "GET run/p/f/hook", "POST run/h/" + hash, "POST run_wait_result/p/f/hook", "GET run_wait_result/h/" + hash} {
		method, target, _ := strings.Cut(call, " ")
		if got := r.do(method, "/api/w/main/jobs/"+target+"?queue_limit=1", ""); got.status != 429 || !strings.Contains(got.body, `"k/1"`) {
			t.Errorf("%s: %d %s", call, got.status, got.body)
		}
	}
}

// TestResultsAnswerThemselves: a result may set status, content type and
// headers of run_wait_result, within bounds.
func TestResultsAnswerThemselves(t *testing.T) {
	r := newRig(t)
	r.start()
	hash := r.script("f/a", "")
	long := strings.Repeat("v", maxAnswerHeaderBytes)
	for _, tc := range []struct {
		name, result, body, mime string
		status                   int
		headers                  map[string]string
	}{
		{"status", `{"windmill_status_code":201,"result":{"a":1}}`, `{"a":1}`, jsonMime, 201, nil},
		{"no result", `{"windmill_status_code":404}`, `null`, jsonMime, 404, nil},
		{"no content", `{"windmill_status_code":204,"result":1}`, ``, jsonMime, 204, nil},
		{"content type", `{"windmill_content_type":"text/csv","result":"a,b\n"}`, "a,b\n", "text/csv", 200, map[string]string{"Content-Security-Policy": "sandbox"}},
		{"content type, object", `{"windmill_content_type":"application/x","result":{"a":"b"}}`, `{"a":"b"}`, "application/x", 200, nil},
		{"headers", `{"windmill_headers":{"X-Mine":"1","content-type":"text/html"},"result":"x"}`, `"x"`, "text/html", 200, map[string]string{"X-Mine": "1", "X-Content-Type-Options": "nosniff"}},
		{"nothing asked", `{"windmill_status_code":null,"result":1}`, `{"windmill_status_code":null,"result":1}`, jsonMime, 200, nil},
		{"deeper down", `{"x":{"windmill_status_code":418}}`, `{"x":{"windmill_status_code":418}}`, jsonMime, 200, nil},
		{"no such status", `{"windmill_status_code":99}`, "200 to 599", textMime, 500, nil},
		{"no last answer", `{"windmill_status_code":101}`, "200 to 599", textMime, 500, nil},
		{"large status", `{"windmill_status_code":600}`, "200 to 599", textMime, 500, nil},
		{"huge status", `{"windmill_status_code":1e99}`, "200 to 599", textMime, 500, nil},
		{"status as text", `{"windmill_status_code":"x"}`, "a number", textMime, 500, nil},
		{"header injection", `{"windmill_headers":{"X-A":"1\r\nSet-Cookie: token=x"}}`, "one line", textMime, 500, map[string]string{"Set-Cookie": ""}},
		{"header name injection", `{"windmill_headers":{"X-A: 1\r\nX-B":"1"}}`, "a name that is none", textMime, 500, map[string]string{"X-B": ""}},
		{"content type injection", `{"windmill_content_type":"text/plain\r\nX-B: 1"}`, "one line", textMime, 500, map[string]string{"X-B": ""}},
		{"a cookie", `{"windmill_headers":{"set-cookie":"token=x"}}`, "must not set set-cookie", textMime, 500, map[string]string{"Set-Cookie": ""}},
		{"a length", `{"windmill_headers":{"Content-Length":"5"}}`, "must not set", textMime, 500, nil},
		{"our policy", `{"windmill_headers":{"content-security-policy":"x"}}`, "must not set", textMime, 500, nil},
		{"too much", `{"windmill_headers":{"X-A":"` + long + `"}}`, "too much", textMime, 500, nil},
		{"a number for a header", `{"windmill_headers":{"X-A":1}}`, "strings", textMime, 500, nil},
	} {
		done := make(chan reply)
		go func() { done <- r.do("POST", "/api/w/main/jobs/run_wait_result/h/"+hash, "") }()
		r.finish(r.takeOne(), true, tc.result)
		got := <-done
		if got.status != tc.status || got.mime != tc.mime || tc.mime == textMime && !strings.Contains(got.body, tc.body) || tc.mime != textMime && got.body != tc.body {
			t.Errorf("%s: %d %s %s", tc.name, got.status, got.mime, got.body)
		}
		for name, want := range tc.headers {
			if got.header.Get(name) != want {
				t.Errorf("%s: header %s is %q, want %q", tc.name, name, got.header.Get(name), want)
			}
		}
	}
}

// FuzzCallArguments: whatever a stranger sends becomes a JSON object or a
// sentence, and never more than a few times its size.
func FuzzCallArguments(f *testing.F) {
	for _, s := range []struct{ mime, body, query string }{
		{jsonMime, `{"a":[1,{"b":"\u0041"}],"c":1e9}`, ""},
		{jsonMime, `[1]`, "raw=true"},
		{formMime, "a=1&b=%20&a=2", "include_query=x&x=1"},
		{"multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\n\r\nhi\r\n--B--\r\n", "wrap_body=true"},
		{"text/plain", "hello", ""},
		{"", "{}", "payload=eyJhIjoxfQ"},
		{"x/y", "\xff", "raw=1"},
	} {
		f.Add(s.mime, []byte(s.body), s.query)
	}
	f.Fuzz(func(t *testing.T, mime string, body []byte, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		p := &CallParams{
			Payload: q.Get("payload"), IncludeQuery: q.Get("include_query"), IncludeHeader: q.Get("include_header"),
			Raw: q.Get("raw") != "", WrapBody: q.Get("wrap_body") != "", contentType: mime, query: q, headers: map[string]string{"X-A": query},
		}
		args, err := p.args(body)
		if err != nil {
			if err.Error() == "" || len(err.Error()) > 1000 {
				t.Errorf("%d bytes of error: %.200q", len(err.Error()), err)
			}
			return
		}
		if args == nil {
			return
		}
		if err := checkJSON(*args); err != nil || !isObject(json.RawMessage(*args)) {
			t.Errorf("arguments %q: %v", *args, err)
		}
		if most := 20*(len(body)+len(query)) + 200; len(*args) > most {
			t.Errorf("%d bytes became %d", len(body)+len(query), len(*args))
		}
	})
}

// FuzzCheckJSON holds the check to what it promises, against a reader that
// shares no code with it.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"b":{"a":2}}`, `{"a":1,"a":2}`, `[{"x":[]},{"x":1}]`, `"\ud800"`, `{"\u0061":1,"a":2}`, "\xff", `{"a\\":"\""}`, `1e999`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkJSON(b) != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q was let through", b)
		}
		m := map[string]json.RawMessage{}
		if json.Unmarshal(b, &m) != nil || m == nil {
			return
		}
		if list, err := readMembers(b); err != nil || len(list) != len(m) {
			t.Errorf("%q has %d fields, %d of them different: %v", b, len(list), len(m), err)
		}
	})
}

// FuzzResults: whatever a result asks for, the answer is within bounds.
func FuzzResults(f *testing.F) {
	for _, s := range []string{`{"windmill_status_code":201,"result":1}`, `{"windmill_headers":{"X":"y"}}`, `{"windmill_content_type":"a/b","result":"x"}`, `{"windmill_headers":{"a\r":"\n"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, result []byte) {
		c, bad := compositeOf(result)
		if c == nil || bad != "" {
			return
		}
		for name, value := range c.Headers {
			if strings.ContainsAny(name+value, "\r\n\x00") {
				t.Errorf("%q: %q", name, value)
			}
		}
		if c.Status != nil {
			if n, err := c.Status.Int64(); err != nil || n < 200 || n > 599 {
				t.Errorf("status %s", *c.Status)
			}
		}
	})
}
