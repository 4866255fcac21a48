package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/time/rate"

	"sluice"
	"sluice/internal/engine"
)

// DefaultSessionLifetime is how long somebody stays signed in.
const DefaultSessionLifetime = 72 * time.Hour

// How often somebody may try to sign in: a few times at once, and then once in
// a while. An attack on one account keeps its owner from signing in with a
// password, not from using tokens and sessions.
const (
	accountBurst = 10
	accountEvery = 10 * time.Second
	addressBurst = 30
	addressEvery = time.Second
	limitersKept = 10_000
)

// How many jobs a token with scopes pushes, such as one that a webhook was given:
// so many at once, and then one in a while. Tokens of people have no such bound.
const (
	hookBurst = sluice.MaxBulk // so that the largest push of all can be made
	hookEvery = 10 * time.Millisecond
)

// attempts bounds how often something may be tried, by name.
type attempts struct {
	mu    sync.Mutex
	every time.Duration
	burst int
	m     map[string]*rate.Limiter
}

func newAttempts(burst int, every time.Duration) *attempts {
	return &attempts{every: every, burst: burst, m: map[string]*rate.Limiter{}}
}

// try counts an attempt, and reports whether it may be made.
func (t *attempts) try(name string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.m[name]
	if l == nil {
		t.makeRoom(now)
		l = rate.NewLimiter(rate.Every(t.every), t.burst)
		t.m[name] = l
	}
	return l.AllowN(now, 1)
}

// makeRoom forgets names that were not tried for long; if there are none, all:
// whoever has so many addresses is not held up by a count per address.
func (t *attempts) makeRoom(now time.Time) {
	if len(t.m) < limitersKept {
		return
	}
	for name, l := range t.m {
		if l.TokensAt(now) >= float64(t.burst) {
			delete(t.m, name)
		}
	}
	if len(t.m) >= limitersKept {
		clear(t.m)
	}
}

// network is what an address is counted as: of IPv6, one customer has a /64.
func network(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Is4() {
		return address
	}
	p, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}

// addSignIn registers signing in and out.
func (a *API) addSignIn() {
	text := &huma.Schema{Type: huma.TypeString}
	addRaw(a, "POST /api/auth/login", "login", "Sign in; answers with a token, which is also set as a cookie", contentText, text, a.login, public)
	addRaw(a, "POST /api/auth/logout", "logout", "Sign out: the session's token lets nobody in any more", contentText, text, a.logout)
}

type loginIn struct {
	Body struct {
		Email    string `json:"email" required:"true" maxLength:"254"`
		Password string `json:"password" required:"true" maxLength:"1024"`
	} `required:"true"`
}

var errTooOften = sluice.Errorf(sluice.CodeLimited, "too many attempts to sign in; wait a minute")

func (a *API) login(ctx context.Context, in *loginIn) (func(huma.Context), error) {
	now := deadline(0)
	// The address is counted first: it must not cost an account its attempts
	// to be asked from an address that has used up its own.
	from := callerOf(ctx).Address
	if !a.fromAddress.try(network(from), now) || !a.toAccount.try(engine.CanonicalEmail(in.Body.Email), now) {
		return nil, errTooOften
	}
	token, _, err := a.e.SignIn(ctx, in.Body.Email, in.Body.Password, a.o.SessionLifetime)
	if err != nil {
		if sluice.CodeOf(err) == sluice.CodeUnauthorized {
			a.log.Warn("somebody could not sign in", "address", from, "request", requestID(ctx))
		}
		return nil, err
	}
	return func(hc huma.Context) {
		r, _ := humago.Unwrap(hc)
		a.setCookie(hc, r, token, int(a.o.SessionLifetime/time.Second))
		writeBytes(contentText, []byte(token))(hc)
	}, nil
}

func (a *API) logout(ctx context.Context, _ *none) (func(huma.Context), error) {
	if c := callerOf(ctx); c.Kind == bySession {
		if err := a.e.SignOut(ctx, c.Hash); err != nil {
			return nil, err
		}
	}
	return func(hc huma.Context) {
		r, _ := humago.Unwrap(hc)
		a.setCookie(hc, r, "", -1)
		writeBytes(contentText, []byte("signed out"))(hc)
	}, nil
}

func (a *API) setCookie(hc huma.Context, r *http.Request, token string, maxAge int) {
	c := &http.Cookie{
		Name: "token", Value: token, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: a.overTLS(r), SameSite: http.SameSiteLaxMode,
	}
	hc.SetHeader("Set-Cookie", c.String())
}
