package engine

import "testing"

// TestExtensionsInSchema names the quirk of Windmill's command line that a
// script's fields which it does not know never arrive, but in the schema.
func TestExtensionsInSchema(t *testing.T) {
	const script = `{"path":"f/a/b","content":"","language":"bash","concurrent_limit":1,"concurrency_time_window_s":5,`
	for _, c := range []struct{ fields, mode, onLimit string }{
		{`"schema":{"x-on_concurrency_limit":"fail","x-concurrency_window_from":"start"}`, "start", "fail"},
		{`"concurrency_window_from":"end","on_concurrency_limit":"queue","schema":{"x-on_concurrency_limit":"fail","x-concurrency_window_from":"start"}`, "end", "queue"},
		{`"concurrency_window_from":null,"schema":{"x-concurrency_window_from":"start"}`, "start", ""},
		{`"schema":"what people like"`, "end", ""},
	} {
		b, s, err := readScript([]byte(script + c.fields + "}"))
		if err != nil {
			t.Errorf("%s: %v", c.fields, err)
			continue
		}
		onLimit := ""
		if b.OnLimit != nil {
			onLimit = *b.OnLimit
		}
		if got := string(s.Limit.Mode); got != c.mode || onLimit != c.onLimit {
			t.Errorf("%s: window from %s, at the limit %q; want %s, %q", c.fields, got, onLimit, c.mode, c.onLimit)
		}
	}
	for _, bad := range []string{`{"x-on_concurrency_limit":"drop"}`, `{"x-concurrency_window_from":"middle"}`} {
		if _, _, err := readScript([]byte(script + `"schema":` + bad + "}")); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
