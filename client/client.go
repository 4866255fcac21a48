// Package client speaks to a Sluice server over HTTP. The command line and
// remote programs use nothing else.
//
//	c, err := client.New(client.Config{URL: "http://127.0.0.1:8000", Token: token})
//	id, err := c.Run(ctx, client.RunRequest{Path: "f/demo/hello", Args: json.RawMessage(`{"name":"you"}`)})
//	job, err := c.Await(ctx, id)
//
// Every error that comes from the server or the way to it is a
// [sluice.Error]; its code comes from the HTTP status. A call is repeated, with
// growing and jittered pauses, only where a repetition changes nothing: reads,
// and pushes of jobs whose ids were drawn by the caller. That is done when the
// server cannot be reached or answers 502, 503 or 504, and when it answers 429
// and says in Retry-After when to come again; a 429 without it, such as that
// of a group in which too many jobs wait, is an answer.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice"
)

// Defaults of [Config].
const (
	DefaultURL       = "http://127.0.0.1:8000"
	DefaultWorkspace = "main"
)

const (
	maxAnswer     = 64 << 20 // bytes of any answer that is read whole
	maxErrorText  = 8 << 10  // bytes of an answer that says what went wrong
	attempts      = 5        // of a call that may be repeated
	firstPause    = 100 * time.Millisecond
	longestPause  = 2 * time.Second
	longestAfter  = 30 * time.Second // that a server may ask for; if it asks for more, its error is returned
	headerTimeout = 90 * time.Second // until a server begins to answer; long polls are shorter
	dialTimeout   = 10 * time.Second
)

// Config says which server to speak to, and as whom.
type Config struct {
	URL       string // of the server, without /api; "": DefaultURL
	Token     string // bearer token; "": none
	Workspace string // "": DefaultWorkspace
	Agent     string // User-Agent; "": "sluice-client"
	// HTTP sends the requests; nil: a client of its own. It must not have an
	// overall timeout, which would cut event streams.
	HTTP *http.Client
}

// Client calls one server in one workspace. It is safe for concurrent use.
type Client struct {
	base      string // without a slash at its end
	token     string
	workspace string
	agent     string
	http      *http.Client
	pause     time.Duration // before the second attempt
	silence   time.Duration // of an event stream that is taken for dead
}

// New makes a client. It fails with code invalid if the URL is none; it sends
// nothing.
func New(c Config) (*Client, error) {
	if c.URL == "" {
		c.URL = DefaultURL
	}
	if c.Workspace == "" {
		c.Workspace = DefaultWorkspace
	}
	if c.Agent == "" {
		c.Agent = "sluice-client"
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, sluice.Invalid("url", "%q is no address of a server; write it as http://host:port", c.URL)
	}
	if strings.ContainsAny(c.Token, "\r\n") {
		return nil, sluice.Invalid("token", "must be a single line")
	}
	u.RawQuery, u.Fragment = "", ""
	if c.HTTP == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
		t.ResponseHeaderTimeout = headerTimeout
		t.MaxIdleConnsPerHost = 16
		c.HTTP = &http.Client{Transport: t}
	}
	return &Client{
		base:      strings.TrimRight(u.String(), "/"),
		token:     strings.TrimSpace(c.Token),
		workspace: c.Workspace,
		agent:     c.Agent,
		http:      c.HTTP,
		pause:     firstPause,
		silence:   streamSilence,
	}, nil
}

// URL returns the server's address, without a slash at its end.
func (c *Client) URL() string { return c.base }

// Workspace returns the workspace that the client works in.
func (c *Client) Workspace() string { return c.workspace }

// call is one request and what is expected of its answer.
type call struct {
	method string
	path   string // below /api/, escaped
	query  url.Values
	body   any  // sent as JSON; nil: none
	repeat bool // sending it twice does what sending it once does
	work   bool // a worker's call
	// into takes the answer: *string the text of it, anything else its JSON;
	// nil: it is not looked at.
	into any
}

func get(path string, query url.Values) call {
	return call{method: http.MethodGet, path: path, query: query, repeat: true}
}

func post(path string, body any) call {
	return call{method: http.MethodPost, path: path, body: body}
}

// fetch carries out a call and returns its answer.
func fetch[T any](ctx context.Context, c *Client, r call) (T, error) {
	var v T
	r.into = &v
	err := c.do(ctx, r)
	return v, err
}

// in returns the path of something in the client's workspace.
func (c *Client) in(path string) string { return "w/" + escapeSegment(c.workspace) + "/" + path }

// do carries out a call, and repeats it where that is safe.
func (c *Client) do(ctx context.Context, r call) error {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = encode(r.body); err != nil {
			return &sluice.Error{Code: sluice.CodeInvalid, Message: "what is to be sent is no JSON: " + err.Error(), Err: err}
		}
	}
	pause := c.pause
	for n := 1; ; n++ {
		err := c.once(ctx, r, body)
		if err == nil || !r.repeat || n == attempts || !passing(err) || ctx.Err() != nil {
			return err
		}
		if sleep(ctx, max(jitter(pause), retryAfter(err))) != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// encode makes JSON of a body, without the escapes for HTML that would make
// some results six times as long.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (c *Client) once(ctx context.Context, r call, body []byte) error {
	resp, err := c.send(ctx, r, body, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	most := int64(maxAnswer)
	if r.work {
		most = maxWorkAnswer
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return c.unreachable(err)
	}
	if int64(len(data)) > most {
		return sluice.Errorf(sluice.CodeTooLarge, "the answer is longer than %d MiB; ask for less at once", most>>20)
	}
	switch into := r.into.(type) {
	case nil:
		return nil
	case *string:
		*into = string(data)
		return nil
	default:
		if err := json.Unmarshal(data, into); err != nil {
			return &sluice.Error{
				Code: sluice.CodeInternal, Err: err,
				Message: fmt.Sprintf("%s did not answer as a Sluice server does; is it one?", c.base),
			}
		}
		return nil
	}
}

// send sends one request and returns an answer with a status below 300;
// every other answer becomes an error. lastEvent is for streams.
func (c *Client) send(ctx context.Context, r call, body []byte, lastEvent string) (*http.Response, error) {
	target := c.base + "/api/" + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, reader)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.CodeInvalid, Message: "no request can be made of this: " + err.Error(), Err: err}
	}
	req.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if lastEvent != "" {
		req.Header.Set("Last-Event-ID", lastEvent)
	}
	if r.work {
		req.Header.Set("X-Sluice-Worker", workProtocol)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, c.refusal(resp)
	}
	return resp, nil
}

// unreachable classifies an error of the way to the server.
func (c *Client) unreachable(err error) error {
	cause := err // the innermost says it in the fewest words
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		cause = inner
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &sluice.Error{Code: sluice.CodeUnavailable, Message: "interrupted", Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &sluice.Error{Code: sluice.CodeUnavailable, Message: c.base + " did not answer in time", Err: err}
	}
	return &sluice.Error{
		Code: sluice.CodeUnavailable, Err: err,
		Message: fmt.Sprintf("cannot reach a server at %s (%v)", c.base, cause),
	}
}

// refusal makes an error of an answer with another status than 2xx.
func (c *Client) refusal(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorText)) // what could be read of it has to do
	text := strings.TrimSpace(string(data))
	mime := resp.Header.Get("Content-Type")
	switch {
	case strings.HasPrefix(mime, "application/json"):
		if said := messageIn(data); said != "" {
			text = said
		}
	case strings.HasPrefix(mime, "text/html"):
		text = ""
	}
	if text == "" {
		text = fmt.Sprintf("%s answered %s", c.base, resp.Status)
	}
	return &sluice.Error{Code: CodeOfStatus(resp.StatusCode), Message: text, Err: &StatusError{
		Status: resp.StatusCode, Body: data, RetryAfter: secondsOf(resp.Header.Get("Retry-After")),
	}}
}

// messageIn finds the sentence in a JSON answer: {"error":"…"},
// {"error":{"message":"…"}} or {"message":"…"}.
func messageIn(data []byte) string {
	var v struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	if json.Unmarshal(data, &v) != nil {
		return ""
	}
	var s string
	if json.Unmarshal(v.Error, &s) == nil && s != "" {
		return s
	}
	if said := messageInObject(v.Error); said != "" {
		return said
	}
	return v.Message
}

func messageInObject(data json.RawMessage) string {
	var v struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(data, &v) != nil {
		return ""
	}
	return v.Message
}

// StatusError is the cause inside the [sluice.Error] of an answer with a
// status other than 2xx.
type StatusError struct {
	Status int    // HTTP status
	Body   []byte // the first bytes of the answer
	// RetryAfter is the time after which the server wants to be asked again; 0
	// if it named none.
	RetryAfter time.Duration
}

// Error returns the status in words.
func (e *StatusError) Error() string {
	return fmt.Sprintf("status %d %s", e.Status, http.StatusText(e.Status))
}

// CodeOfStatus is the table from HTTP status to code. It returns "" for a
// status below 400.
func CodeOfStatus(status int) sluice.Code {
	switch status {
	case http.StatusUnauthorized:
		return sluice.CodeUnauthorized
	case http.StatusForbidden:
		return sluice.CodeForbidden
	case http.StatusNotFound, http.StatusGone:
		return sluice.CodeNotFound
	case http.StatusConflict:
		return sluice.CodeConflict
	case http.StatusRequestEntityTooLarge:
		return sluice.CodeTooLarge
	case http.StatusTooManyRequests:
		return sluice.CodeLimited
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return sluice.CodeUnavailable
	}
	switch {
	case status >= 500:
		return sluice.CodeInternal
	case status >= 400:
		return sluice.CodeInvalid
	}
	return ""
}

// passing reports whether the same call may fare better in a moment.
func passing(err error) bool {
	after := retryAfter(err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), after > longestAfter:
		return false
	case sluice.CodeOf(err) == sluice.CodeUnavailable:
		return true
	}
	return sluice.CodeOf(err) == sluice.CodeLimited && after > 0
}

// retryAfter returns how long the server wants to be left alone.
func retryAfter(err error) time.Duration {
	if e := (*StatusError)(nil); errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// secondsOf reads a Retry-After in seconds, as a Sluice server writes it; 0
// for all else.
func secondsOf(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// jitter returns a duration between a half and the whole of d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// escapeSegment escapes any bytes for one segment of a path: all but letters,
// digits, - and _, so that no server and no proxy finds anything to tidy up.
func escapeSegment(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch ch := s[i]; {
		case ch >= 'a' && ch <= 'z', ch >= 'A' && ch <= 'Z', ch >= '0' && ch <= '9', ch == '-', ch == '_':
			b.WriteByte(ch)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[ch>>4])
			b.WriteByte(hex[ch&15])
		}
	}
	return b.String()
}

// escapePath escapes a path whose slashes separate segments.
func escapePath(s string) string {
	parts := strings.Split(s, "/")
	for i, p := range parts {
		parts[i] = escapeSegment(p)
	}
	return strings.Join(parts, "/")
}
