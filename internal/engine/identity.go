package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"sync"
	"time"

	"sluice"
	"sluice/internal/store"
)

const (
	// identityTTL is how long what is known of a token is used without a look
	// at the store: what another server changes is seen after it. Changes made
	// here are seen at once.
	identityTTL  = 5 * time.Second
	identityKept = 4096
	// noteUseEvery is how often the last uses of tokens are written.
	noteUseEvery = 30 * time.Second
)

// Identity is who somebody is, and by which token. It is shared: nobody may
// change it.
type Identity struct {
	User  store.User  // without its password's hash
	Token store.Token // zero if asked for by email
	Roles map[string]sluice.Role
}

// identities remembers who is who. forget empties it after every change to
// people; a look at the store that began before the change is not kept.
type identities struct {
	mu      sync.Mutex
	gen     int64
	tokens  map[string]known // by hash
	persons map[string]known // by email
	open    map[string]known // workspaces that are not archived, by id
	belongs map[string]known // groups and folders of a member, by workspace, username and email
	sights  map[string]known // what members may see that their paths do not say
	used    map[string]time.Time
}

type known struct {
	id      *Identity
	belongs *belongings
	sees    bool
	until   time.Duration // uptime
}

func (c *identities) get(m *map[string]known, key string, now time.Duration) (known, bool, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := (*m)[key]
	return k, ok && now < k.until, c.gen
}

func (c *identities) put(m *map[string]known, key string, k known, gen int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gen != c.gen {
		return
	}
	if *m == nil || len(*m) >= identityKept {
		*m = map[string]known{}
	}
	(*m)[key] = k
}

func (c *identities) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	c.tokens, c.persons, c.open, c.belongs, c.sights = nil, nil, nil, nil, nil
}

func (c *identities) noteUse(hash string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used == nil || len(c.used) >= identityKept {
		c.used = map[string]time.Time{} // better a use that is not noted than a map without bound
	}
	c.used[hash] = at
}

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return string(sum[:])
}

// Identify returns whom a token lets in. The error has code unauthorized if it
// is unknown or has expired, or its owner is disabled.
func (e *Engine) Identify(ctx context.Context, token string) (*Identity, error) {
	hash := tokenHash(token)
	k, ok, gen := e.people.get(&e.people.tokens, hash, e.o.Uptime())
	if ok {
		return k.id, nil
	}
	var now time.Time
	id, err := view(ctx, e, func(r store.Reader) (*Identity, error) {
		now = r.Now()
		t, err := r.Token(hash)
		if errors.Is(err, store.ErrNotFound) {
			return nil, sluice.Errorf(sluice.CodeUnauthorized, "the token is unknown")
		} else if err != nil {
			return nil, err
		}
		if !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) {
			return nil, sluice.Errorf(sluice.CodeUnauthorized, "the token has expired")
		}
		id, err := identityOf(r, t.Email)
		if err != nil {
			return nil, err
		}
		id.Token = *t
		return id, nil
	})
	if err != nil {
		return nil, err
	}
	e.people.noteUse(hash, now)
	ttl := identityTTL
	if !id.Token.ExpiresAt.IsZero() {
		ttl = min(ttl, id.Token.ExpiresAt.Sub(now))
	}
	e.people.put(&e.people.tokens, hash, known{id: id, until: e.o.Uptime() + ttl}, gen)
	return id, nil
}

// Person returns who has an email, for those who act in somebody's name. The
// error has code unauthorized if there is no such user, or it is disabled.
func (e *Engine) Person(ctx context.Context, email string) (*Identity, error) {
	k, ok, gen := e.people.get(&e.people.persons, email, e.o.Uptime())
	if ok {
		return k.id, nil
	}
	id, err := view(ctx, e, func(r store.Reader) (*Identity, error) { return identityOf(r, email) })
	if err == nil {
		e.people.put(&e.people.persons, email, known{id: id, until: e.o.Uptime() + identityTTL}, gen)
	}
	return id, err
}

// Creator returns in whose name a job runs, whatever has become of it: the
// rights of a job are those of its creator. Whoever uses the server's own token
// is no user that could be deleted or disabled. The error has code unauthorized
// if there is no such user any more, or it is disabled.
func (e *Engine) Creator(ctx context.Context, username, email string) (*Identity, error) {
	return e.orOwner(username, email)(e.Person(ctx, email))
}

// orOwner stands in for the owner of the server's own token, if nobody else has
// the email.
func (e *Engine) orOwner(username, email string) func(*Identity, error) (*Identity, error) {
	return func(id *Identity, err error) (*Identity, error) {
		if sluice.CodeOf(err) == sluice.CodeUnauthorized && email == e.o.Email {
			return &Identity{User: store.User{Email: email, Username: username, SuperAdmin: true}}, nil
		}
		return id, err
	}
}

// RoleIn returns what somebody is in a workspace.
func (id *Identity) RoleIn(workspace string) sluice.Role {
	if id.User.SuperAdmin {
		return sluice.RoleAdmin
	}
	return id.Roles[workspace]
}

func identityOf(r store.Reader, email string) (*Identity, error) {
	u, err := r.User(email)
	if errors.Is(err, store.ErrNotFound) {
		return nil, sluice.Errorf(sluice.CodeUnauthorized, "there is no such user any more")
	} else if err != nil {
		return nil, err
	}
	if u.Disabled {
		return nil, sluice.Errorf(sluice.CodeUnauthorized, "this user is disabled")
	}
	list, err := r.Memberships(email)
	if err != nil {
		return nil, err
	}
	id := &Identity{User: *u, Roles: make(map[string]sluice.Role, len(list))}
	id.User.Password = ""
	for _, m := range list {
		id.Roles[m.Workspace] = m.Role
	}
	return id, nil
}

// WorkspaceOpen reports whether there is a workspace that is not archived.
func (e *Engine) WorkspaceOpen(ctx context.Context, id string) (bool, error) {
	_, ok, gen := e.people.get(&e.people.open, id, e.o.Uptime())
	if ok {
		return true, nil
	}
	w, err := view(ctx, e, func(r store.Reader) (*store.Workspace, error) { return r.Workspace(id) })
	if errors.Is(err, store.ErrNotFound) || err == nil && w.Archived {
		return false, nil
	}
	if err == nil {
		e.people.put(&e.people.open, id, known{until: e.o.Uptime() + identityTTL}, gen)
	}
	return err == nil, err
}

// NoteTokenUse writes when tokens were used last. It returns when to do it next.
func (e *Engine) NoteTokenUse(ctx context.Context) (time.Duration, error) {
	e.people.mu.Lock()
	used := maps.Clone(e.people.used)
	clear(e.people.used)
	e.people.mu.Unlock()
	if len(used) == 0 {
		return noteUseEvery, nil
	}
	err := e.store.Update(ctx, func(tx store.Tx) error {
		for hash, at := range used {
			if err := tx.UseToken(hash, at); err != nil {
				return err
			}
		}
		return nil
	})
	return noteUseEvery, err
}

// changePeople runs an update after which everybody is looked at anew.
func (e *Engine) changePeople(ctx context.Context, fn func(store.Tx) error) error {
	defer e.people.forget() // after an error, too: nobody knows whether the change was made
	return e.store.Update(ctx, fn)
}
