package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
)

// Bounds on what becomes arguments, beside that of the whole body.
const (
	maxFormFields = 1000
	maxParts      = 100
	maxFileBytes  = 1 << 20
	maxIncluded   = 50 // headers, and query parameters
)

// contentTypeOf returns the Content-Type that the client sent. Everywhere but
// where arguments are read a body is JSON, whatever it is called.
func contentTypeOf(ctx context.Context) string {
	s, _ := ctx.Value(contentTypeKey).(string)
	return s
}

// CallParams are the query parameters that say how a call that anybody's
// program may send becomes arguments.
type CallParams struct {
	Payload       string `query:"payload" doc:"Arguments: a JSON object in base64; those in the body win"`
	IncludeHeader string `query:"include_header" maxLength:"2000" doc:"Headers, separated by commas, that become arguments: the name in lower case, - as _"`
	IncludeQuery  string `query:"include_query" maxLength:"2000" doc:"Query parameters, separated by commas, that become arguments"`
	Raw           bool   `query:"raw" doc:"The body as text becomes the argument raw_string, too"`
	WrapBody      bool   `query:"wrap_body" doc:"The body becomes the argument body, even if it is an object"`

	SkipPreprocessor bool `query:"skip_preprocessor" doc:"The arguments are for main, even if the script has a preprocessor"`

	call        huma.Context
	contentType string
	headers     map[string]string
	query       url.Values
}

// Resolve picks what the call wants to be included.
func (p *CallParams) Resolve(hc huma.Context) []error {
	p.call = hc
	p.contentType, p.headers = contentTypeOf(hc.Context()), map[string]string{}
	u := hc.URL()
	p.query = u.Query()
	for _, name := range splitList(p.IncludeHeader) {
		p.headers[name] = hc.Header(name)
	}
	return nil
}

// member is one argument.
type member struct {
	name  string
	value json.RawMessage
}

type members []member

// set adds an argument, or replaces the one of that name.
func (m *members) set(name string, value any) error {
	raw, ok := value.(json.RawMessage)
	if !ok {
		b, err := marshal(value)
		if err != nil {
			return err
		}
		raw = b
	}
	if i := slices.IndexFunc(*m, func(o member) bool { return o.name == name }); i >= 0 {
		(*m)[i].value = raw
		return nil
	}
	*m = append(*m, member{name, raw})
	return nil
}

// object writes the arguments as a JSON object.
func (m members) object() (json.RawMessage, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, a := range m {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := marshal(a.name)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(a.value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// readMembers reads the fields of a JSON object in their order.
func readMembers(object []byte) (members, error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var m members
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		a := member{}
		a.name, _ = t.(string)
		if err := dec.Decode(&a.value); err != nil {
			return nil, err
		}
		m = append(m, a)
	}
	return m, nil
}

// args makes the arguments of a call. A JSON object alone is kept as it was
// sent. What headers and query bring in wins over the body, so that a body
// cannot pretend to be a signature.
func (p *CallParams) args(body []byte) (*jsonObject, error) {
	fromBody, err := p.bodyArgs(body)
	if err != nil {
		return nil, err
	}
	if p.Payload == "" && p.IncludeHeader == "" && p.IncludeQuery == "" && !p.Raw {
		return fromBody, nil
	}
	var all members
	payload, err := p.payloadArgs()
	if err != nil {
		return nil, err
	}
	for _, o := range []*jsonObject{payload, fromBody} {
		if o == nil {
			continue
		}
		list, err := readMembers(*o)
		if err != nil {
			return nil, sluice.Invalid("", "the arguments: %s", jsonProblem(err))
		}
		if len(all) == 0 {
			all = list
			continue
		}
		for _, a := range list {
			if err := all.set(a.name, a.value); err != nil {
				return nil, err
			}
		}
	}
	if p.Raw {
		text, err := bodyText(body)
		if err != nil {
			return nil, err
		}
		if err := all.set("raw_string", text); err != nil {
			return nil, err
		}
	}
	if err := p.include(&all); err != nil {
		return nil, err
	}
	object, err := all.object()
	out := jsonObject(object)
	return &out, err
}

// include adds headers and query parameters.
func (p *CallParams) include(all *members) error {
	wanted := splitList(p.IncludeQuery)
	if len(wanted) > maxIncluded || len(p.headers) > maxIncluded {
		return sluice.Invalid("include_header", "it and include_query may name %d each", maxIncluded)
	}
	for _, name := range wanted {
		if name == "token" {
			return sluice.Invalid("include_query", "must not name token: it would be kept with the job")
		}
		if v, ok := p.query[name]; ok {
			if !utf8.ValidString(v[0]) {
				return sluice.Invalid(name, "must be UTF-8")
			}
			if err := all.set(name, v[0]); err != nil {
				return err
			}
		}
	}
	names := splitList(p.IncludeHeader)
	for _, name := range names {
		arg := strings.ReplaceAll(strings.ToLower(name), "-", "_")
		if arg == "authorization" || arg == "cookie" {
			return sluice.Invalid("include_header", "must not name %s: what signs a caller in would be kept with the job", arg)
		}
		if v := p.headers[name]; v != "" {
			if err := all.set(arg, strings.ToValidUTF8(v, "\uFFFD")); err != nil {
				return err
			}
		}
	}
	return nil
}

// payloadArgs reads the payload.
func (p *CallParams) payloadArgs() (*jsonObject, error) {
	if p.Payload == "" {
		return nil, nil
	}
	s := strings.TrimRight(p.Payload, "=")
	s = strings.NewReplacer("+", "-", "/", "_", " ", "-").Replace(s) // a + in a query is often a blank
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || !isObject(b) {
		return nil, sluice.Invalid("payload", "must be a JSON object in base64")
	}
	if err := checkJSON(b); err != nil {
		return nil, sluice.Invalid("payload", "%v", err)
	}
	args := jsonObject(b)
	return &args, nil
}

// bodyArgs reads a body by its content type. A JSON object is one under any
// name but text/plain: curl calls it a form.
func (p *CallParams) bodyArgs(body []byte) (*jsonObject, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	kind, params, err := mime.ParseMediaType(p.contentType)
	if err != nil && p.contentType != "" {
		return nil, sluice.Invalid("Content-Type", "is malformed; send application/json")
	}
	switch {
	case kind == "multipart/form-data":
		return multipartArgs(body, params["boundary"])
	case strings.HasPrefix(kind, "text/") || kind == "application/xml":
		text, err := bodyText(body)
		if err != nil {
			return nil, err
		}
		return oneArg("raw_string", text)
	case kind == "" || kind == contentJSON || strings.HasSuffix(kind, "+json") || isObject(body):
		return p.jsonArgs(body)
	case kind == "application/x-www-form-urlencoded":
		return formArgs(body)
	case p.Raw:
		return nil, nil // raw_string is all there is
	}
	return nil, sluice.Invalid("Content-Type", "%s cannot be read as arguments; send application/json, a form or text/plain, or ask with raw=true", kind)
}

func (p *CallParams) jsonArgs(body []byte) (*jsonObject, error) {
	if err := checkJSON(body); err != nil {
		return nil, sluice.Invalid("", "the body is not the JSON that this call expects: %v", err)
	}
	body = bytes.TrimSpace(body)
	switch {
	case p.WrapBody || body[0] != '{' && string(body) != "null":
		return oneArg("body", json.RawMessage(body))
	case string(body) == "null":
		return nil, nil
	}
	args := jsonObject(bytes.Clone(body)) // its buffer is used again
	return &args, nil
}

func oneArg(name string, value any) (*jsonObject, error) {
	var m members
	if err := m.set(name, value); err != nil {
		return nil, err
	}
	b, err := m.object()
	args := jsonObject(b)
	return &args, err
}

func bodyText(body []byte) (string, error) {
	if n := invalidUTF8(body); n >= 0 {
		return "", sluice.Invalid("raw_string", "the body must be UTF-8 text; it is not from byte %d on", n)
	}
	return string(body), nil
}

// formArgs reads a form: each field is a string, a repeated one a list.
func formArgs(body []byte) (*jsonObject, error) {
	if bytes.Count(body, []byte("&")) >= maxFormFields {
		return nil, sluice.Invalid("", "the form has more than %d fields", maxFormFields)
	}
	fields := map[string][]string{}
	var order []string
	for pair := range strings.SplitSeq(string(body), "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err != nil || err2 != nil || name == "" || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, sluice.Invalid("", "the form is malformed: names and values must be escaped UTF-8, and no name empty")
		}
		if fields[name] == nil {
			order = append(order, name)
		}
		fields[name] = append(fields[name], value)
	}
	return fieldArgs(order, fields)
}

func fieldArgs(order []string, fields map[string][]string) (*jsonObject, error) {
	m := make(members, 0, len(order))
	for _, name := range order {
		var value any = fields[name]
		if len(fields[name]) == 1 {
			value = fields[name][0]
		}
		b, err := marshal(value)
		if err != nil {
			return nil, err
		}
		m = append(m, member{name, b})
	}
	b, err := m.object()
	args := jsonObject(b)
	return &args, err
}

// fileJSON is a file of a form.
type fileJSON struct {
	Name        string `json:"name"`
	ContentType string `json:"content_type"`
	Base64      []byte `json:"base64"`
}

// multipartArgs reads a form in parts: fields are strings, files objects with
// name, content_type and base64.
func multipartArgs(body []byte, boundary string) (*jsonObject, error) {
	if boundary == "" {
		return nil, sluice.Invalid("Content-Type", "multipart/form-data needs a boundary")
	}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	var m members
	for n := 0; ; n++ {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, sluice.Invalid("", "the form is malformed: its parts cannot be told apart")
		}
		name := part.FormName()
		if n >= maxParts || name == "" || !utf8.ValidString(name) {
			return nil, sluice.Invalid("", "a form has at most %d parts, each with a name", maxParts)
		}
		if slices.ContainsFunc(m, func(o member) bool { return o.name == name }) {
			return nil, sluice.Invalid(name, "stands in the form twice")
		}
		value, err := partValue(part)
		if err != nil {
			return nil, err
		}
		if err := m.set(name, value); err != nil {
			return nil, err
		}
	}
	b, err := m.object()
	args := jsonObject(b)
	return &args, err
}

func partValue(part *multipart.Part) (any, error) {
	b, err := io.ReadAll(io.LimitReader(part, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, sluice.Invalid(part.FormName(), "breaks off")
	case len(b) > maxFileBytes:
		return nil, &sluice.Error{Code: sluice.CodeTooLarge, Field: part.FormName(), Message: "a part of a form holds at most 1 MiB"}
	case part.FileName() != "":
		ct := textproto.TrimString(part.Header.Get("Content-Type"))
		return fileJSON{strings.ToValidUTF8(part.FileName(), "\uFFFD"), strings.ToValidUTF8(ct, "\uFFFD"), b}, nil
	case !utf8.Valid(b):
		return nil, sluice.Invalid(part.FormName(), "must be UTF-8, or a file")
	}
	return string(b), nil
}
