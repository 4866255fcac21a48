package httpapi

import (
	"encoding/json"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// eventJSON is what a preprocessor gets of a call, in Windmill's form.
type eventJSON struct {
	Kind      string            `json:"kind"`
	Body      json.RawMessage   `json:"body"`       // the arguments that main would have got; null: none
	RawString *string           `json:"raw_string"` // the body as text, if the call asked for it
	Query     map[string]string `json:"query"`
	Headers   map[string]string `json:"headers"` // by name in lower case
}

// secretHeaders would be kept with the job.
var secretHeaders = map[string]bool{"authorization": true, "cookie": true, "proxy-authorization": true}

// event returns what makes the arguments of a preprocessor of a call; nil if
// the call wants none.
func (p *CallParams) event(body []byte, args *jsonObject) func() (json.RawMessage, error) {
	if p.SkipPreprocessor || p.call == nil {
		return nil
	}
	return func() (json.RawMessage, error) {
		e := eventJSON{Kind: "webhook", Query: map[string]string{}, Headers: headersOf(p.call)}
		if args != nil {
			e.Body = json.RawMessage(*args)
		}
		if p.Raw {
			text, err := bodyText(body)
			if err != nil {
				return nil, err
			}
			e.RawString = &text
		}
		for name, v := range p.query {
			if name != "token" && len(v) > 0 {
				e.Query[name] = strings.ToValidUTF8(v[0], "\uFFFD")
			}
		}
		return marshal(map[string]any{"event": e})
	}
}

func headersOf(hc huma.Context) map[string]string {
	headers := map[string]string{}
	hc.EachHeader(func(name, value string) {
		name = strings.ToLower(name)
		if _, known := headers[name]; !known && !secretHeaders[name] {
			headers[name] = strings.ToValidUTF8(value, "\uFFFD")
		}
	})
	if ct := contentTypeOf(hc.Context()); ct != "" { // as it was sent
		headers["content-type"] = ct
	}
	return headers
}
