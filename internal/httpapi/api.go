package httpapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/semaphore"

	"sluice"
	"sluice/internal/engine"
	"sluice/ui"
)

// Bounds and time-outs of the server.
const (
	// DefaultMaxBody is the largest request body that calls accept unless
	// Options say otherwise. A bulk push has its own bound, MaxBulkBody.
	DefaultMaxBody = 4 << 20
	MaxBulkBody    = 64 << 20

	maxHeaderBytes    = 64 << 10
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	bodyTimeout       = 30 * time.Second // for a whole body
	bulkBodyTimeouts  = 4                // for a bulk push, so many times as long

	// bodyBudget bounds the memory of large bodies: so many bytes of them are
	// worked on at once, and the others wait until there is room. Smaller ones
	// than smallBody do not count.
	bodyBudget = 256 << 20
	smallBody  = 256 << 10
)

// CompatVersion is what /api/version answers. Windmill's command line reads
// the version of the server from it and decides by it what to ask for.
const CompatVersion = "CE v1.819.0"

// Options say what the API stands on and who may use it.
type Options struct {
	Engine   *engine.Engine // required
	Token    string         // the super-admin's token; required
	Email    string         // of the super-admin; "admin@sluice.local" if empty
	Username string         // of the super-admin; "admin" if empty
	Version  string         // of this program; "dev" if empty
	BaseURL  string         // as users reach the server, without a slash at its end; may be empty
	MaxBody  int64          // bytes of a request body; DefaultMaxBody if 0
	Logger   *slog.Logger   // slog.Default() if nil
	Instance string         // name of this server process, shown to people
	// TrustProxy: a proxy of ours says in X-Forwarded-For and X-Forwarded-Proto
	// who asks, and how.
	TrustProxy      bool
	SessionLifetime time.Duration // of whoever signs in; DefaultSessionLifetime if 0

	bodyTimeout time.Duration // bodyTimeout, shorter in tests
	bodyBudget  int64         // bodyBudget, smaller in tests
	hookBurst   int           // hookBurst, smaller in tests

	inTests func(huma.Context, func(huma.Context)) // runs between the checks and the handlers
}

// API answers HTTP requests. It is safe for concurrent use.
type API struct {
	o         Options
	e         *engine.Engine
	log       *slog.Logger
	tokenHash [sha256.Size]byte
	router    *router
	huma      huma.API
	metrics   http.Handler
	meters    *meters
	page      *ui.Page
	streams   atomic.Int64
	bodies    *semaphore.Weighted // bytes of large bodies
	tarballs  *semaphore.Weighted // archives that are being made

	fromAddress, toAccount *attempts     // to sign in
	byHook                 *attempts     // to push, with a token that has scopes
	slowest                time.Duration // writeTimeout, shorter in tests

	closed context.Context // ends when the API is closed
	close  context.CancelFunc
}

// New makes the API. It fails with code invalid if Engine or Token is missing.
func New(o Options) (*API, error) {
	o.Token = strings.TrimSpace(o.Token)
	switch {
	case o.Engine == nil:
		return nil, sluice.Invalid("Engine", "is required")
	case o.Token == "":
		return nil, sluice.Invalid("Token", "is required: without one nobody could sign in")
	}
	setDefault(&o.Email, engine.DefaultEmail)
	setDefault(&o.Username, "admin")
	setDefault(&o.Version, "dev")
	o.BaseURL = strings.TrimRight(o.BaseURL, "/")
	if o.MaxBody <= 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.SessionLifetime <= 0 {
		o.SessionLifetime = DefaultSessionLifetime
	}
	if o.bodyTimeout <= 0 {
		o.bodyTimeout = bodyTimeout
	}
	if o.bodyBudget <= 0 {
		o.bodyBudget = bodyBudget
	}
	if o.hookBurst <= 0 {
		o.hookBurst = hookBurst
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	a := &API{
		o: o, e: o.Engine, log: o.Logger, tokenHash: sha256.Sum256([]byte(o.Token)), router: newRouter(), meters: newMeters(), page: ui.New(), slowest: writeTimeout,
		bodies:      semaphore.NewWeighted(o.bodyBudget),
		tarballs:    semaphore.NewWeighted(maxTarballs),
		fromAddress: newAttempts(addressBurst, addressEvery), toAccount: newAttempts(accountBurst, accountEvery),
		byHook: newAttempts(o.hookBurst, hookEvery),
	}
	a.closed, a.close = context.WithCancel(context.Background())
	a.metrics = newMetrics(a)
	a.describe()
	if missing := unrighted(a.huma.OpenAPI()); len(missing) > 0 {
		return nil, sluice.Errorf(sluice.CodeInternal, "rights.go does not say who may call %v", missing)
	}
	return a, nil
}

func setDefault(s *string, v string) {
	if *s == "" {
		*s = v
	}
}

// Close ends event streams and long polls, so that a server can shut down.
// Requests that arrive later are answered, but wait for nothing.
func (a *API) Close() { a.close() }

// NewServer returns a server for the API at an address, with bounds on headers
// and on the time that a silent client may take. It sets no deadline for whole
// answers, since event streams have no end: every write of a long answer has
// its own. Shutdown closes the API.
func NewServer(addr string, a *API) *http.Server {
	srv := &http.Server{
		Addr:              addr,
		Handler:           a,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	srv.RegisterOnShutdown(a.Close)
	return srv
}

type ctxKey int

const (
	requestIDKey ctxKey = iota
	callerKey
	whoKey
	contentTypeKey
	roomKey
)

// ServeHTTP answers one request.
func (a *API) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := newTimedWriter(rw, a.slowest)
	w.extend()
	defer w.extend() // for what is still to be flushed
	id := newRequestID()
	h := w.Header()
	h.Set("X-Request-Id", id)
	h.Set("Server", "sluice/"+a.o.Version)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	defer a.recoverFrom(w, r, id)

	r = r.WithContext(context.WithValue(r.Context(), requestIDKey, id))
	if err := cleanPath(r); err != nil {
		a.refuse(w, r, err)
		return
	}
	if a.page.Serve(w, r) { // to everybody: it holds no data
		return
	}
	c, err := a.identify(r)
	c.Address = a.remote(r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), callerKey, c))
	// Every body is JSON, whatever it is called: curl calls it a form. Calls
	// whose body becomes arguments look at what it is called.
	r = r.WithContext(context.WithValue(r.Context(), contentTypeKey, r.Header.Get("Content-Type")))
	r.Header.Set("Content-Type", "application/json")
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &closingBody{ReadCloser: r.Body, header: h}
	}
	a.router.ServeHTTP(w, r)
}

// recoverFrom answers a request whose handler panicked.
func (a *API) recoverFrom(w http.ResponseWriter, r *http.Request, id string) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	a.log.Error("a handler panicked", "request", id, "method", r.Method, "panic", p, "stack", string(debug.Stack()))
	writeText(w, http.StatusInternalServerError, internalSentence(id))
}

// refuse answers with an error, outside of any operation.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := a.present(r.Context(), err)
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeText(w, e.status, e.text)
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", contentText)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // whoever left does not read it
}

func newRequestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey).(string)
	return id
}

// deadline returns the instant d from now, for the machine's own sockets.
func deadline(d time.Duration) time.Time {
	return time.Now().Add(d) //nolint:forbidigo // a socket's deadline is the machine's time, not the store's
}
