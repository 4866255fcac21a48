package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Bounds on the headers that a result may set.
const (
	maxAnswerHeaders     = 50
	maxAnswerHeaderBytes = 8 << 10
)

// composite is a result that says how it wants to be answered.
type composite struct {
	Status      *json.Number      `json:"windmill_status_code"`
	ContentType *string           `json:"windmill_content_type"`
	Headers     map[string]string `json:"windmill_headers"`
	Result      json.RawMessage   `json:"result"`
}

// keptHeaders are headers that are the server's own, or those of the
// connection; a result does not set them. Cookies of this address sign people
// in here.
var keptHeaders = map[string]bool{
	"Connection": true, "Content-Length": true, "Content-Security-Policy": true, "Date": true, "Keep-Alive": true,
	"Proxy-Authenticate": true, "Proxy-Connection": true, "Server": true, "Set-Cookie": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "X-Content-Type-Options": true, "X-Request-Id": true, "Clear-Site-Data": true,
	"Strict-Transport-Security": true, "Service-Worker-Allowed": true,
}

// compositeOf reads a result that sets status, headers or content type; nil if
// it sets none. bad says what is wrong with it.
func compositeOf(result []byte) (c *composite, bad string) {
	if !bytes.HasPrefix(bytes.TrimSpace(result), []byte("{")) || !bytes.Contains(result, []byte(`"windmill_`)) {
		return nil, ""
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(result, &top) != nil {
		return nil, ""
	}
	asked := false
	for _, name := range []string{"windmill_status_code", "windmill_content_type", "windmill_headers"} {
		v, ok := top[name]
		asked = asked || ok && string(v) != "null"
	}
	if !asked {
		return nil, ""
	}
	c = &composite{}
	if json.Unmarshal(result, c) != nil {
		return nil, "windmill_status_code must be a number, windmill_content_type a string, windmill_headers an object of strings"
	}
	return c, c.check()
}

func (c *composite) check() string {
	if c.Status != nil {
		if n, err := c.Status.Int64(); err != nil || n < 200 || n > 599 {
			return "windmill_status_code must be 200 to 599"
		}
	}
	if c.ContentType != nil && !oneLine(*c.ContentType) {
		return "windmill_content_type must be one line of text"
	}
	size := 0
	for name, value := range c.Headers {
		size += len(name) + len(value)
		switch {
		case !isToken(name):
			return "windmill_headers has a name that is none"
		case !oneLine(value):
			return "windmill_headers: the value of " + name + " must be one line of text"
		case keptHeaders[http.CanonicalHeaderKey(name)] || strings.HasPrefix(strings.ToLower(name), "sec-"):
			return "windmill_headers must not set " + name
		}
	}
	if len(c.Headers) > maxAnswerHeaders || size > maxAnswerHeaderBytes {
		return "windmill_headers holds too much: at most 50 headers and 8 KiB"
	}
	return ""
}

// oneLine reports whether a text may be the value of a header.
func oneLine(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// isToken reports whether a text may be the name of a header.
func isToken(s string) bool {
	const others = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune(others, r)
	})
}

// writeResult returns what answers with the result of a completed job. A
// result that asks for its own status, headers or content type gets them.
func writeResult(status int, result []byte) (func(huma.Context), error) {
	c, bad := compositeOf(result)
	switch {
	case bad != "":
		return nil, &httpError{status: http.StatusInternalServerError, text: "the script's result cannot be answered: " + bad}
	case c == nil:
		return writeJSON(status, anyJSON(result))
	}
	if c.Status != nil {
		n, _ := c.Status.Int64() // checked
		status = int(n)
	}
	body, mime := []byte(c.Result), contentJSON
	if len(body) == 0 {
		body = []byte("null")
	}
	if c.ContentType != nil {
		mime = *c.ContentType
		var text string
		if json.Unmarshal(body, &text) == nil && bytes.HasPrefix(bytes.TrimSpace(body), []byte(`"`)) {
			body = []byte(text)
		}
	}
	return func(hc huma.Context) {
		// What a script writes is not our page: a browser that shows it keeps it
		// away from whoever is signed in here.
		hc.SetHeader("Content-Security-Policy", "sandbox")
		hc.SetHeader("Content-Type", mime)
		for name, value := range c.Headers {
			if c.ContentType == nil || !strings.EqualFold(name, "Content-Type") {
				hc.SetHeader(name, value)
			}
		}
		hc.SetStatus(status)
		if status != http.StatusNoContent && status != http.StatusNotModified {
			_, _ = hc.BodyWriter().Write(body) // whoever left does not read it
		}
	}, nil
}
