package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"sluice"
	"sluice/internal/engine"
)

// tokenKind says by what somebody was let in.
type tokenKind int

const (
	byNothing  tokenKind = iota // nobody
	byInstance                  // the server's own token
	byToken                     // a token of a user
	bySession                   // signing in
	byJob                       // the token of a job
)

// caller is who asks. The zero value is nobody.
type caller struct {
	Email    string
	Username string
	// SuperAdmin: of the instance. Not with a token that is bound to a workspace.
	SuperAdmin bool
	// Roles by workspace; a super-admin is an administrator of all.
	Roles map[string]sluice.Role

	Kind      tokenKind
	Address   string // from where
	Prefix    string // of the token
	Hash      string // of the token of a user
	Workspace string // to which the token is bound; "": to none
	Scopes    []scope
	Scoped    bool              // the token may only what its scopes say
	Job       *engine.JobCaller // whose token it is; nil: no job's
}

// role returns the caller's role in a workspace.
func (c caller) role(workspace string) sluice.Role {
	if c.SuperAdmin {
		return sluice.RoleAdmin
	}
	return c.Roles[workspace]
}

// memberOf reports whether the caller has any role in a workspace.
func (c caller) memberOf(workspace string) bool {
	return c.role(workspace).AtLeast(sluice.RoleOperator)
}

// restricted reports whether the token has less than all rights of its owner.
func (c caller) restricted() bool { return c.Scoped || c.Workspace != "" || c.Kind == byJob }

// may checks the token's scopes.
func (c caller) may(want scope) error {
	if !c.Scoped {
		return nil
	}
	for _, s := range c.Scopes {
		if s.grants(want) {
			return nil
		}
	}
	return sluice.Errorf(sluice.CodeForbidden, "the token has no scope for %s", want)
}

// mayInPart reports whether the token has a scope for something of what is
// wanted: of which path will be known later.
func (c caller) mayInPart(want scope) bool {
	for _, s := range c.Scopes {
		s.paths = ""
		if want.kind == "" {
			s.kind = ""
		}
		if s.grants(want) {
			return true
		}
	}
	return !c.Scoped
}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey).(caller)
	return c
}

const loginPath = "/api/auth/login"

// publicPaths are answered to everybody.
var publicPaths = map[string]bool{
	"/api/version": true,
	"/health":      true,
	"/api/health":  true,
	"/ready":       true,
	"/api/ready":   true,
	loginPath:      true,
}

var (
	errNoToken = sluice.Errorf(sluice.CodeUnauthorized, "a token is needed: send the header Authorization: Bearer TOKEN")
	errForeign = sluice.Errorf(sluice.CodeForbidden, "another site sent this request; send the token as a bearer header instead of a cookie")
)

// identify returns who asks, or an error with code unauthorized. On a public
// path a missing or wrong token makes the caller nobody.
func (a *API) identify(r *http.Request) (caller, error) {
	if r.URL.Path == loginPath && foreign(r) { // or a page could sign its reader in as somebody else
		return caller{}, errForeign
	}
	token, fromCookie := tokenOf(r)
	c, err := a.owner(r.Context(), token)
	switch {
	case err != nil && sluice.CodeOf(err) == sluice.CodeUnauthorized && needsNoToken(r.URL.Path):
		return caller{}, nil
	case err != nil:
		return caller{}, err
	case fromCookie && foreign(r) && signedPath.MatchString(r.URL.Path): // a link in a mail: the cookie says nothing
		return caller{}, nil
	case fromCookie && foreign(r):
		return caller{}, errForeign
	}
	return c, nil
}

// foreign reports whether a page of another site had a browser send this. A
// browser sends cookies wherever a page points it to, and some calls that run
// something are a GET.
func foreign(r *http.Request) bool {
	cross := r.Header.Get("Sec-Fetch-Site") == "cross-site" && strings.HasPrefix(r.URL.Path, "/api/")
	return cross || (&http.CrossOriginProtection{}).Check(r) != nil
}

// owner returns whom a token lets in.
func (a *API) owner(ctx context.Context, token string) (caller, error) {
	if token == "" {
		return caller{}, errNoToken
	}
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], a.tokenHash[:]) == 1 {
		return caller{Email: a.o.Email, Username: a.o.Username, SuperAdmin: true, Kind: byInstance, Prefix: "instance"}, nil
	}
	if strings.HasPrefix(token, engine.JobTokenPrefix) {
		return a.identifyJob(ctx, token)
	}
	id, err := a.e.Identify(ctx, token)
	if err != nil {
		return caller{}, err
	}
	return callerFrom(id), nil
}

// callerFrom makes a caller of what the engine knows of a user's token.
func callerFrom(id *engine.Identity) caller {
	c := caller{
		Email: id.User.Email, Username: id.User.Username, SuperAdmin: id.User.SuperAdmin, Roles: id.Roles,
		Kind: byToken, Prefix: id.Token.Prefix, Hash: id.Token.Hash, Scoped: id.Token.Scopes != nil,
	}
	if id.Token.Session {
		c.Kind = bySession
	}
	for _, text := range id.Token.Scopes {
		if s, err := readScope(text); err == nil { // one that cannot be read gives nothing
			c.Scopes = append(c.Scopes, s)
		}
	}
	if id.Token.Workspace != "" {
		c = c.boundTo(id.Token.Workspace)
	}
	return c
}

// boundTo takes from a caller all but its role in one workspace.
func (c caller) boundTo(workspace string) caller {
	c.Roles = map[string]sluice.Role{workspace: c.role(workspace)}
	c.Workspace, c.SuperAdmin = workspace, false
	return c
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

// remote returns the address from which a request came: the peer's, or what
// the last proxy says if the server was told to trust one.
func (a *API) remote(r *http.Request) string {
	if a.o.TrustProxy {
		list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if addr, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1])); err == nil {
			return addr.Unmap().String()
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// overTLS reports whether the browser speaks to the server in secret.
func (a *API) overTLS(r *http.Request) bool {
	return r.TLS != nil || a.o.TrustProxy && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
