package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"sluice"
	"sluice/internal/store"
)

// Bounds of people and tokens.
const (
	tokenBytes    = 32
	tokenPrefix   = 10 // characters of a token that are kept to tell it from others
	maxEmail      = 254
	maxLabel      = 100
	maxTokens     = 1000 // of one user
	maxScopes     = 100
	maxScopeBytes = 300
)

var (
	usernameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,49}$`)
	emailForm    = regexp.MustCompile(`^[^\s@/]+@[^\s@/]+$`)
	notInName    = regexp.MustCompile(`[^a-z0-9_.-]+`)
)

// NewUser asks for a user.
type NewUser struct {
	Email      string
	Username   string // "": made from the email
	Password   string // "": cannot sign in with one yet
	SuperAdmin bool
}

// UserChange says what to change of a user; nil leaves a field as it is.
type UserChange struct {
	SuperAdmin *bool
	Disabled   *bool
	Password   *string
}

// NewToken asks for a token.
type NewToken struct {
	Email     string
	Label     string
	Workspace string // "": not bound to one
	Scopes    []string
	ExpiresAt time.Time     // zero: never
	Lifetime  time.Duration // instead of ExpiresAt, from the store's clock
	Session   bool
}

func (n *NewToken) check() error {
	if len(n.Label) > maxLabel {
		return sluice.Invalid("label", "must be at most %d bytes long", maxLabel)
	}
	if len(n.Scopes) > maxScopes {
		return sluice.Invalid("scopes", "must be at most %d", maxScopes)
	}
	for _, s := range n.Scopes {
		if len(s) > maxScopeBytes {
			return sluice.Invalid("scopes", "must be at most %d bytes long each", maxScopeBytes)
		}
	}
	return nil
}

// CanonicalEmail brings an email into the form in which it names a user.
func CanonicalEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// CreateUser makes a user and returns its username; conflict if the email or
// the username is in use.
func (e *Engine) CreateUser(ctx context.Context, n NewUser) (string, error) {
	n.Email = CanonicalEmail(n.Email)
	if len(n.Email) > maxEmail || !emailForm.MatchString(n.Email) {
		return "", sluice.Invalid("email", "must be an address such as ann@example.org")
	}
	if n.Username != "" && !usernameForm.MatchString(n.Username) {
		return "", sluice.Invalid("username", "must be 1 to 50 letters, digits, . _ or -, beginning with a letter or digit")
	}
	u := store.User{Email: n.Email, Username: n.Username, SuperAdmin: n.SuperAdmin}
	if n.Password != "" {
		var err error
		if u.Password, err = e.hashPassword(ctx, n.Password); err != nil {
			return "", err
		}
	}
	err := e.changePeople(ctx, func(tx store.Tx) error {
		u.Username, u.CreatedAt = n.Username, tx.Now()
		if u.Username == "" {
			var err error
			if u.Username, err = freeUsername(tx, u.Email); err != nil {
				return err
			}
		}
		if _, err := tx.User(u.Email); err == nil {
			return &sluice.Error{Code: sluice.CodeConflict, Field: "email", Message: "there is a user with this address already"}
		}
		err := tx.InsertUser(&u)
		if errors.Is(err, store.ErrExists) {
			return &sluice.Error{Code: sluice.CodeConflict, Field: "username", Message: "this name is in use; choose another"}
		}
		return err
	})
	return u.Username, err
}

// freeUsername makes a username that nobody has from an email.
func freeUsername(r store.Reader, email string) (string, error) {
	name, _, _ := strings.Cut(email, "@")
	name = strings.Trim(notInName.ReplaceAllString(name, ""), "_.-")
	if name = name[:min(len(name), 40)]; name == "" {
		name = "user"
	}
	for i := 1; ; i++ {
		candidate := name
		if i > 1 {
			candidate = fmt.Sprint(name, i)
		}
		if _, err := r.UserNamed(candidate); errors.Is(err, store.ErrNotFound) {
			return candidate, nil
		} else if err != nil {
			return "", err
		}
	}
}

// UpdateUser changes a user. A new password and being disabled end what it is
// signed in to.
func (e *Engine) UpdateUser(ctx context.Context, email string, c UserChange) error {
	email = CanonicalEmail(email)
	hash := ""
	if c.Password != nil {
		var err error
		if hash, err = e.hashPassword(ctx, *c.Password); err != nil {
			return err
		}
	}
	return e.changePeople(ctx, func(tx store.Tx) error {
		u, err := tx.User(email)
		if err != nil {
			return notFound(err, "there is no user %s", email)
		}
		if c.SuperAdmin != nil {
			u.SuperAdmin = *c.SuperAdmin
		}
		if c.Disabled != nil {
			u.Disabled = *c.Disabled
		}
		if c.Password != nil {
			u.Password = hash
		}
		if !u.SuperAdmin || u.Disabled {
			if err := notTheLast(tx, email); err != nil {
				return err
			}
		}
		if err := tx.SaveUser(u); err != nil {
			return err
		}
		if c.Password == nil && !u.Disabled {
			return nil
		}
		return tx.DeleteSessions(email)
	})
}

// DeleteUser deletes a user, its memberships and its tokens. Its jobs stay.
func (e *Engine) DeleteUser(ctx context.Context, email string) error {
	email = CanonicalEmail(email)
	return e.changePeople(ctx, func(tx store.Tx) error {
		if err := notTheLast(tx, email); err != nil {
			return err
		}
		if err := dropGrants(tx, email); err != nil {
			return err
		}
		return notFound(tx.DeleteUser(email), "there is no user %s", email)
	})
}

// dropGrants takes from a user what it was given in its workspaces: somebody who
// has its name later does not inherit it.
func dropGrants(tx store.Tx, email string) error {
	list, err := tx.Memberships(email)
	for _, m := range list {
		if err == nil {
			err = tx.DropGrantee(m.Workspace, "u/"+m.Username)
		}
	}
	return err
}

// notTheLast refuses to take from an instance its only administrator.
func notTheLast(tx store.Tx, email string) error {
	const page = 1000
	last := false
	for after := ""; ; {
		list, err := tx.Users(after, page)
		if err != nil {
			return err
		}
		for _, u := range list {
			after = u.Email
			switch {
			case !u.SuperAdmin || u.Disabled:
			case u.Email == email:
				last = true
			default:
				return nil
			}
		}
		if len(list) < page {
			break
		}
	}
	if !last {
		return nil
	}
	return sluice.Errorf(sluice.CodeConflict, "%s is the only administrator; make another user one first", email)
}

// Users lists users with emails after one, in their order, without the hashes
// of their passwords.
func (e *Engine) Users(ctx context.Context, after string, most int) ([]*store.User, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.User, error) {
		list, err := r.Users(after, most)
		for _, u := range list {
			u.Password = ""
		}
		return list, err
	})
}

// Members lists the members of a workspace.
func (e *Engine) Members(ctx context.Context, workspace string) ([]*store.Member, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.Member, error) {
		list, err := r.Members(workspace)
		for _, m := range list {
			m.Password = ""
		}
		return list, err
	})
}

// AddMember gives a user a role in a workspace, and replaces the one that it
// has there.
func (e *Engine) AddMember(ctx context.Context, workspace, email string, role sluice.Role) error {
	email = CanonicalEmail(email)
	return e.changePeople(ctx, func(tx store.Tx) error {
		if err := needWorkspace(tx, workspace); err != nil {
			return err
		}
		u, err := tx.User(email)
		if err != nil {
			return notFound(err, "there is no user %s; an administrator of the instance has to create it first", email)
		}
		return tx.SaveMember(&store.Member{Workspace: workspace, Role: role, Since: tx.Now(), User: *u})
	})
}

// memberNamed returns the member of a workspace that has a username.
func memberNamed(r store.Reader, workspace, username string) (*store.Member, error) {
	u, err := r.UserNamed(username)
	if err != nil {
		return nil, notFound(err, "there is no user %s in workspace %s", username, workspace)
	}
	list, err := r.Memberships(u.Email)
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if m.Workspace == workspace {
			return m, nil
		}
	}
	return nil, sluice.Errorf(sluice.CodeNotFound, "there is no user %s in workspace %s", username, workspace)
}

// Member returns the member of a workspace that has a username.
func (e *Engine) Member(ctx context.Context, workspace, username string) (*store.Member, error) {
	return view(ctx, e, func(r store.Reader) (*store.Member, error) { return memberNamed(r, workspace, username) })
}

// SetRole changes the role of a member.
func (e *Engine) SetRole(ctx context.Context, workspace, username string, role sluice.Role) error {
	return e.changePeople(ctx, func(tx store.Tx) error {
		m, err := memberNamed(tx, workspace, username)
		if err != nil {
			return err
		}
		m.Role = role
		return tx.SaveMember(m)
	})
}

// RemoveMember takes a user out of a workspace.
func (e *Engine) RemoveMember(ctx context.Context, workspace, username string) error {
	return e.changePeople(ctx, func(tx store.Tx) error {
		m, err := memberNamed(tx, workspace, username)
		if err != nil {
			return err
		}
		if err := tx.DropGrantee(workspace, "u/"+username); err != nil {
			return err
		}
		return tx.DeleteMember(workspace, m.Email)
	})
}

// SignIn returns a token for whoever knows the password of a user, and the
// user. It takes as long for users that do not exist, and says nothing of why
// it refuses, with code unauthorized.
func (e *Engine) SignIn(ctx context.Context, email, password string, lifetime time.Duration) (string, *store.User, error) {
	email = CanonicalEmail(email)
	u, err := view(ctx, e, func(r store.Reader) (*store.User, error) {
		u, err := r.User(email)
		if errors.Is(err, store.ErrNotFound) {
			return &store.User{}, nil
		}
		return u, err
	})
	if err != nil {
		return "", nil, err
	}
	ok, err := e.isPassword(ctx, password, u.Password)
	if err != nil {
		return "", nil, err
	}
	if !ok || u.Disabled {
		return "", nil, errSignIn
	}
	if a := ActOf(ctx); a != nil {
		a.Username, a.Email = u.Username, u.Email
	}
	n := NewToken{Email: email, Label: "session", Session: true, Lifetime: lifetime}
	token, err := e.createToken(ctx, n, func(now *store.User) error {
		if now.Disabled || now.Password != u.Password { // changed while the password was hashed
			return errSignIn
		}
		return nil
	})
	return token, u, err
}

var errSignIn = sluice.Errorf(sluice.CodeUnauthorized, "email or password is wrong")

// CreateToken makes a token of a user and returns it: it can never be read
// again.
func (e *Engine) CreateToken(ctx context.Context, n NewToken) (string, error) {
	return e.createToken(ctx, n, func(*store.User) error { return nil })
}

func (e *Engine) createToken(ctx context.Context, n NewToken, check func(*store.User) error) (string, error) {
	if err := n.check(); err != nil {
		return "", err
	}
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	token := hex.EncodeToString(b[:])
	err := e.store.Update(ctx, func(tx store.Tx) error {
		t := &store.Token{
			Hash: tokenHash(token), Prefix: token[:tokenPrefix], Email: CanonicalEmail(n.Email), Label: n.Label, Session: n.Session,
			Workspace: n.Workspace, Scopes: n.Scopes, CreatedAt: tx.Now(), ExpiresAt: n.ExpiresAt,
		}
		if n.Lifetime > 0 {
			t.ExpiresAt = t.CreatedAt.Add(n.Lifetime)
		}
		if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(t.CreatedAt) {
			return sluice.Invalid("expiration", "must lie in the future")
		}
		if t.Workspace != "" {
			if err := needWorkspace(tx, t.Workspace); err != nil {
				return err
			}
		}
		u, err := tx.User(t.Email)
		if err != nil {
			return notFound(err, "there is no user %s", t.Email)
		}
		if err := check(u); err != nil {
			return err
		}
		if err := makeRoom(tx, t); err != nil {
			return err
		}
		return tx.InsertToken(t)
	})
	return token, err
}

// makeRoom keeps a user's tokens within their bound: the oldest session goes,
// other tokens are not taken from anybody.
func makeRoom(tx store.Tx, t *store.Token) error {
	list, err := tx.TokensOf(t.Email)
	if err != nil || len(list) < maxTokens {
		return err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Session {
			return tx.DeleteToken(list[i].Hash)
		}
	}
	return sluice.Errorf(sluice.CodeConflict, "%s has %d tokens; delete some first", t.Email, len(list))
}

// Tokens lists the tokens of a user, newest first.
func (e *Engine) Tokens(ctx context.Context, email string) ([]*store.Token, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.Token, error) { return r.TokensOf(CanonicalEmail(email)) })
}

// DeleteToken deletes the token of a user that begins with a prefix; it lets
// nobody in any more.
func (e *Engine) DeleteToken(ctx context.Context, email, prefix string) error {
	return e.changePeople(ctx, func(tx store.Tx) error {
		list, err := tx.TokensOf(CanonicalEmail(email))
		if err != nil {
			return err
		}
		for _, t := range list {
			if t.Prefix == prefix {
				return tx.DeleteToken(t.Hash)
			}
		}
		return sluice.Errorf(sluice.CodeNotFound, "you have no token that begins with %s", prefix)
	})
}

// SignOut deletes a token, whoever's it is. It does nothing if it is gone.
func (e *Engine) SignOut(ctx context.Context, hash string) error {
	return e.changePeople(ctx, func(tx store.Tx) error {
		if err := tx.DeleteToken(hash); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	})
}
