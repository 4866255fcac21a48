package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"sluice"
	"sluice/internal/engine"
)

// caller is who asks. The zero value is nobody.
type caller struct {
	Email      string
	Username   string
	SuperAdmin bool
	Job        *engine.JobCaller // the job whose token it is; nil: a user's
}

// sees reports whether the caller may read the jobs of a workspace when
// asking inside another, home. It is the one place where that is decided.
func (c caller) sees(home, workspace string) bool {
	return c.SuperAdmin || home == workspace && c.Username != ""
}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey).(caller)
	return c
}

// publicPaths are answered to everybody.
var publicPaths = map[string]bool{
	"/":            true,
	"/api/version": true,
	"/health":      true,
	"/api/health":  true,
	"/ready":       true,
	"/api/ready":   true,
}

// identify returns who asks, or an error with code unauthorized. On a public
// path a missing or wrong token makes the caller nobody.
func (a *API) identify(r *http.Request) (caller, error) {
	token, fromCookie := tokenOf(r)
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], a.tokenHash[:]) == 1 {
		if fromCookie {
			// A browser sends cookies wherever a page points it to. Some calls
			// that run something are a GET.
			foreign := r.Header.Get("Sec-Fetch-Site") == "cross-site" && strings.HasPrefix(r.URL.Path, "/api/")
			if foreign || (&http.CrossOriginProtection{}).Check(r) != nil {
				return caller{}, sluice.Errorf(sluice.CodeForbidden, "another site sent this request; send the token as a bearer header instead of a cookie")
			}
		}
		return caller{Email: a.o.Email, Username: a.o.Username, SuperAdmin: true}, nil
	}
	if publicPaths[r.URL.Path] {
		return caller{}, nil
	}
	if strings.HasPrefix(token, engine.JobTokenPrefix) {
		return a.identifyJob(r.Context(), token)
	}
	if token == "" {
		return caller{}, sluice.Errorf(sluice.CodeUnauthorized, "a token is needed: send the header Authorization: Bearer TOKEN")
	}
	return caller{}, sluice.Errorf(sluice.CodeUnauthorized, "the token is unknown")
}

// tokenOf returns the token of a request: the first of header, cookie and
// query that has one.
func tokenOf(r *http.Request) (token string, fromCookie bool) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(h), " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(rest), false
		}
		return "", false
	}
	if c, err := r.Cookie("token"); err == nil && c.Value != "" {
		return strings.TrimSpace(c.Value), true
	}
	return strings.TrimSpace(r.URL.Query().Get("token")), false
}
