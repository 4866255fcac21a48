package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

const goodPassword = "correct horse"

// user makes a user with a token of all rights.
func (w *world) user(email string) (token string) {
	w.t.Helper()
	_, err := w.CreateUser(w.ctx(), engine.NewUser{Email: email})
	w.must(err)
	token, err = w.CreateToken(w.ctx(), engine.NewToken{Email: email, Label: "all"})
	w.must(err)
	return token
}

func (w *world) identified(token string) *engine.Identity {
	w.t.Helper()
	id, err := w.Identify(w.ctx(), token)
	w.must(err)
	return id
}

func (w *world) refused(token, why string) {
	w.t.Helper()
	_, err := w.Identify(w.ctx(), token)
	if sluice.CodeOf(err) != sluice.CodeUnauthorized || !strings.Contains(err.Error(), why) {
		w.t.Fatalf("error %v, want unauthorized: %s", err, why)
	}
}

func TestSignIn(t *testing.T) {
	w := newWorld(t)
	name, err := w.CreateUser(w.ctx(), engine.NewUser{Email: " Ann@X.org", Password: goodPassword})
	w.must(err)
	if name != "ann" {
		t.Errorf("username %q", name)
	}
	token, u, err := w.SignIn(w.ctx(), "ANN@x.org ", goodPassword, time.Hour)
	w.must(err)
	if id := w.identified(token); u.Username != "ann" || id.User.Email != "ann@x.org" || id.User.Password != "" || !id.Token.Session {
		t.Errorf("%+v", id)
	}
	yes := true
	for _, tc := range []struct{ email, password string }{
		{"ann@x.org", "wrong"}, {"ann@x.org", ""}, {"bob@x.org", goodPassword}, {"", ""}, {"ann@x.org", strings.Repeat("x", 5000)},
	} {
		if _, _, err := w.SignIn(w.ctx(), tc.email, tc.password, time.Hour); sluice.CodeOf(err) != sluice.CodeUnauthorized || err.Error() != "email or password is wrong" {
			t.Errorf("%q: %v", tc.email, err)
		}
	}
	w.user("nopass@x.org")
	if _, _, err := w.SignIn(w.ctx(), "nopass@x.org", "", time.Hour); sluice.CodeOf(err) != sluice.CodeUnauthorized {
		t.Errorf("without a password: %v", err)
	}
	w.clock.advance(time.Hour)
	w.refused(token, "expired")

	token, _, err = w.SignIn(w.ctx(), "ann@x.org", goodPassword, time.Hour)
	w.must(err)
	other := "another password"
	w.must(w.UpdateUser(w.ctx(), "ann@x.org", engine.UserChange{Password: &other}))
	w.refused(token, "unknown")
	token, _, err = w.SignIn(w.ctx(), "ann@x.org", other, time.Hour)
	w.must(err)
	w.identified(token)
	w.must(w.UpdateUser(w.ctx(), "ann@x.org", engine.UserChange{Disabled: &yes}))
	w.refused(token, "unknown")
	if _, _, err := w.SignIn(w.ctx(), "ann@x.org", other, time.Hour); sluice.CodeOf(err) != sluice.CodeUnauthorized {
		t.Errorf("disabled: %v", err)
	}
}

// TestPasswordChangesWhileItIsHashed: a sign-in with the old password that was
// under way must not outlive the change.
func TestPasswordChangesWhileItIsHashed(t *testing.T) {
	w := newWorld(t)
	_, err := w.CreateUser(w.ctx(), engine.NewUser{Email: "ann@x.org", Password: goodPassword})
	w.must(err)
	var once sync.Once
	other := "another password"
	w.on(&changing{Store: w.store, before: func() {
		once.Do(func() {
			w.must(w.UpdateUser(context.Background(), "ann@x.org", engine.UserChange{Password: &other}))
		})
	}})
	token, _, err := w.SignIn(w.ctx(), "ann@x.org", goodPassword, time.Hour)
	if sluice.CodeOf(err) != sluice.CodeUnauthorized {
		t.Errorf("%q, %v", token, err)
	}
}

// changing is a store that lets something happen before its first update.
type changing struct {
	store.Store
	before  func()
	started bool
}

func (c *changing) Update(ctx context.Context, fn func(store.Tx) error) error {
	if !c.started {
		c.started = true
		c.before()
	}
	return c.Store.Update(ctx, fn)
}

func TestUsersAreChecked(t *testing.T) {
	w := newWorld(t)
	for field, n := range map[string]engine.NewUser{
		"email":    {Email: "no address"},
		"username": {Email: "a@x.org", Username: "no name"},
		"password": {Email: "a@x.org", Password: "short"},
	} {
		_, err := w.CreateUser(w.ctx(), n)
		var e *sluice.Error
		if !errors.As(err, &e) || e.Code != sluice.CodeInvalid || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for email, want := range map[string]string{"x.y@a.org": "x.y", "++@a.org": "user", "x.y@b.org": "x.y2"} {
		if email == "x.y@b.org" {
			continue
		}
		if got, err := w.CreateUser(w.ctx(), engine.NewUser{Email: email}); err != nil || got != want {
			t.Errorf("%s: %q, %v", email, got, err)
		}
	}
	if got, err := w.CreateUser(w.ctx(), engine.NewUser{Email: "x.y@b.org"}); err != nil || got != "x.y2" {
		t.Errorf("a second x.y is called %q, %v", got, err)
	}
	for _, n := range []engine.NewUser{{Email: "X.Y@a.org"}, {Email: "new@a.org", Username: "x.y"}} {
		if _, err := w.CreateUser(w.ctx(), n); sluice.CodeOf(err) != sluice.CodeConflict {
			t.Errorf("%+v: %v", n, err)
		}
	}
}

// TestIdentifyReadsNothing: a token that was seen a moment ago costs no look
// at the store, and a change made here is seen at once.
func TestIdentifyReadsNothing(t *testing.T) {
	w := newWorld(t)
	token := w.user("ann@x.org")
	w.identified(token)
	before := w.store.Stats().Statements
	for range 100 {
		w.identified(token)
	}
	if n := w.store.Stats().Statements - before; n != 0 {
		t.Errorf("%d statements for 100 requests", n)
	}
	w.must(w.AddMember(w.ctx(), "main", "ann@x.org", sluice.RoleOperator))
	if r := w.identified(token).Roles["main"]; r != sluice.RoleOperator {
		t.Errorf("role %q", r)
	}
	w.must(w.SetRole(w.ctx(), "main", "ann", sluice.RoleAdmin))
	if r := w.identified(token).Roles["main"]; r != sluice.RoleAdmin {
		t.Errorf("role %q", r)
	}
	w.must(w.RemoveMember(w.ctx(), "main", "ann"))
	if r := w.identified(token).Roles["main"]; r != sluice.RoleNone {
		t.Errorf("role %q", r)
	}
	person, err := w.Person(w.ctx(), "ann@x.org")
	w.must(err)
	if person.User.Username != "ann" || person.Token.Hash != "" {
		t.Errorf("%+v", person)
	}
	w.must(w.DeleteToken(w.ctx(), "ann@x.org", token[:10]))
	w.refused(token, "unknown")
	w.must(w.DeleteUser(w.ctx(), "ann@x.org"))
	if _, err := w.Person(w.ctx(), "ann@x.org"); sluice.CodeOf(err) != sluice.CodeUnauthorized {
		t.Errorf("a deleted user: %v", err)
	}
}

// TestAnotherServerRevokes changes the rows behind the engine's back.
func TestAnotherServerRevokes(t *testing.T) {
	w := newWorld(t)
	token := w.user("ann@x.org")
	hash := w.identified(token).Token.Hash
	w.must(w.store.Update(w.ctx(), func(tx store.Tx) error { return tx.DeleteToken(hash) }))
	w.clock.advance(5*time.Second - time.Millisecond)
	w.identified(token)
	w.clock.advance(time.Millisecond)
	w.refused(token, "unknown")
}

// TestExpiryInsideTheCache: a token that expires sooner than what is known of
// it is not used past its end.
func TestExpiryInsideTheCache(t *testing.T) {
	w := newWorld(t)
	w.user("ann@x.org")
	token, err := w.CreateToken(w.ctx(), engine.NewToken{Email: "ann@x.org", Lifetime: time.Second})
	w.must(err)
	w.identified(token)
	w.clock.advance(time.Second)
	w.refused(token, "expired")
	_, err = w.Clean(w.ctx())
	w.must(err)
	w.refused(token, "unknown")
}

func TestTokensAreCheckedAndBounded(t *testing.T) {
	w := newWorld(t)
	kept := w.user("ann@x.org")
	for field, n := range map[string]engine.NewToken{
		"label":      {Label: strings.Repeat("x", 101)},
		"scopes":     {Scopes: slices.Repeat([]string{"a:b"}, 101)},
		"expiration": {ExpiresAt: w.clock.Wall().Add(-time.Second)},
	} {
		n.Email = "ann@x.org"
		_, err := w.CreateToken(w.ctx(), n)
		var e *sluice.Error
		if !errors.As(err, &e) || e.Code != sluice.CodeInvalid || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, n := range []engine.NewToken{{Email: "bob@x.org"}, {Email: "ann@x.org", Workspace: "nowhere"}} {
		if _, err := w.CreateToken(w.ctx(), n); sluice.CodeOf(err) != sluice.CodeNotFound {
			t.Errorf("%+v: %v", n, err)
		}
	}
	w.must(w.store.Update(w.ctx(), func(tx store.Tx) error {
		for i := range 999 {
			err := tx.InsertToken(&store.Token{Hash: string(rune(1000 + i)), Email: "ann@x.org", Session: i == 500, CreatedAt: tx.Now()})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	if _, err := w.CreateToken(w.ctx(), engine.NewToken{Email: "ann@x.org"}); err != nil {
		t.Errorf("a session makes room: %v", err)
	}
	if _, err := w.CreateToken(w.ctx(), engine.NewToken{Email: "ann@x.org"}); sluice.CodeOf(err) != sluice.CodeConflict {
		t.Errorf("no more room: %v", err)
	}
	w.identified(kept)
}

func TestLastUseIsNoted(t *testing.T) {
	w := newWorld(t)
	token := w.user("ann@x.org")
	at := w.clock.Wall()
	for range 3 {
		w.identified(token)
		w.clock.advance(time.Second)
	}
	commits := w.store.Stats().Commits
	_, err := w.NoteTokenUse(w.ctx())
	w.must(err)
	_, err = w.NoteTokenUse(w.ctx())
	w.must(err)
	if n := w.store.Stats().Commits - commits; n != 1 {
		t.Errorf("%d commits for three uses", n)
	}
	list, err := w.Tokens(w.ctx(), "ann@x.org")
	w.must(err)
	if len(list) != 1 || list[0].UsedAt.Before(at) || list[0].UsedAt.After(at.Add(time.Second)) {
		t.Errorf("%+v", list)
	}
}

func (w *world) entries() []*store.AuditEntry {
	w.t.Helper()
	list, err := w.AuditEntries(w.ctx(), store.AuditFilter{})
	w.must(err)
	return list
}

// TestChangeAndEntryAreOne: an entry is written with the change, once, and not
// without it.
func TestChangeAndEntryAreOne(t *testing.T) {
	w := newWorld(t)
	act := &engine.Act{
		Workspace: "main", Username: "ann", Email: "ann@x.org", Operation: "scripts.create", Kind: "Create", Resource: "f/a",
		Address: "::1", Token: "0123456789", Parameters: map[string]string{"why": "because"},
	}
	ctx := engine.WithAct(w.ctx(), act)
	bad := engine.NewScript{Body: []byte(`{"path":"f/a","content":"","language":"bash"}`)}
	if _, err := w.SaveScript(ctx, "nowhere", bad); err == nil || act.Recorded() || len(w.entries()) != 0 {
		t.Fatalf("%v: a change that failed left an entry", err)
	}
	_, err := w.SaveScript(ctx, "main", bad)
	w.must(err)
	w.must(w.ArchiveScript(ctx, "main", "f/a"))
	w.must(w.Record(ctx, act))
	list := w.entries()
	if len(list) != 1 || !act.Recorded() {
		t.Fatalf("%d entries", len(list))
	}
	e := *list[0]
	if e.At.IsZero() || string(e.Parameters) != `{"why":"because"}` {
		t.Errorf("%+v %s", e, e.Parameters)
	}
	e.ID, e.At, e.Parameters = 0, time.Time{}, nil
	if want := (store.AuditEntry{
		Workspace: "main", Username: "ann", Email: "ann@x.org", Operation: "scripts.create", Kind: "Create", Resource: "f/a",
		Address: "::1", Token: "0123456789",
	}); e.Operation != want.Operation || e.Resource != want.Resource || e.Address != want.Address || e.Token != want.Token || e.Username != want.Username || e.Email != want.Email || e.Kind != want.Kind || e.Workspace != want.Workspace {
		t.Errorf("%+v", e)
	}
	lone := &engine.Act{Operation: "x"}
	w.must(w.Record(w.ctx(), lone))
	if len(w.entries()) != 2 {
		t.Error("an act without a change of its own is not recorded")
	}
}

func TestAuditRetention(t *testing.T) {
	w := newWorldWith(t, engine.Options{AuditRetention: time.Hour})
	w.must(w.Record(w.ctx(), &engine.Act{Operation: "old"}))
	w.clock.advance(time.Hour)
	w.must(w.Record(w.ctx(), &engine.Act{Operation: "new"}))
	w.clock.advance(time.Second)
	_, err := w.Clean(w.ctx())
	w.must(err)
	if list := w.entries(); len(list) != 1 || list[0].Operation != "new" {
		t.Errorf("%+v", list)
	}
}

func TestArchivedWorkspaces(t *testing.T) {
	w := newWorld(t)
	w.user("ann@x.org")
	w.must(w.CreateWorkspace(w.ctx(), store.Workspace{ID: "two", Owner: "ann@x.org"}))
	members, err := w.Members(w.ctx(), "two")
	w.must(err)
	if len(members) != 1 || members[0].Role != sluice.RoleAdmin {
		t.Errorf("the owner is no administrator: %+v", members)
	}
	for _, archived := range []bool{false, true, false} {
		w.must(w.ArchiveWorkspace(w.ctx(), "two", archived))
		if open, err := w.WorkspaceOpen(w.ctx(), "two"); err != nil || open == archived {
			t.Errorf("archived %v: open %v, %v", archived, open, err)
		}
	}
	if open, _ := w.WorkspaceOpen(w.ctx(), "none"); open {
		t.Error("there is no such workspace")
	}
}

// Nobody can take the only administrator from an instance, in whatever way.
func TestTheLastAdministratorStays(t *testing.T) {
	w := newWorld(t)
	yes, no := true, false
	for _, email := range []string{"ann@x.org", "bob@x.org", "eve@x.org"} {
		_, err := w.CreateUser(w.ctx(), engine.NewUser{Email: email, SuperAdmin: email != "eve@x.org"})
		w.must(err)
	}
	w.must(w.UpdateUser(w.ctx(), "bob@x.org", engine.UserChange{Disabled: &yes}))
	for name, err := range map[string]error{
		"deleted":  w.DeleteUser(w.ctx(), "Ann@x.org"),
		"disabled": w.UpdateUser(w.ctx(), "ann@x.org", engine.UserChange{Disabled: &yes}),
		"demoted":  w.UpdateUser(w.ctx(), "ann@x.org", engine.UserChange{SuperAdmin: &no}),
	} {
		if sluice.CodeOf(err) != sluice.CodeConflict || !strings.Contains(err.Error(), "only administrator") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.must(w.DeleteUser(w.ctx(), "bob@x.org")) // who is disabled does not count
	w.must(w.UpdateUser(w.ctx(), "eve@x.org", engine.UserChange{SuperAdmin: &yes}))
	w.must(w.DeleteUser(w.ctx(), "ann@x.org"))
}
