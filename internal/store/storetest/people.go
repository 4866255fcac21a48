package storetest

import (
	"bytes"
	"fmt"
	"time"

	"sluice"
	"sluice/internal/store"
)

func users(w *world) {
	at := w.clock.Wall()
	ann := &store.User{Email: "ann@x.org", Username: "ann", Password: "$hash", SuperAdmin: true, CreatedAt: at}
	bob := &store.User{Email: "bob@x.org", Username: "bob", Disabled: true}
	w.update(func(tx store.Tx) {
		ok(tx.InsertUser(bob))
		ok(tx.InsertUser(ann))
		w.isErr("email", tx.InsertUser(&store.User{Email: "bob@x.org", Username: "other"}), store.ErrExists)
		w.isErr("username", tx.InsertUser(&store.User{Email: "other@x.org", Username: "bob"}), store.ErrExists)
		w.isErr("save nobody", tx.SaveUser(&store.User{Email: "other@x.org"}), store.ErrNotFound)
		w.isErr("delete nobody", tx.DeleteUser("other@x.org"), store.ErrNotFound)
	})
	w.both(func(r store.Reader) {
		w.equal("user", must(r.User("ann@x.org")), ann)
		w.equal("named", must(r.UserNamed("bob")), bob)
		_, err := r.User("bob")
		w.isErr("nobody", err, store.ErrNotFound)
		_, err = r.UserNamed("ann@x.org")
		w.isErr("nobody named", err, store.ErrNotFound)
		w.equal("users", must(r.Users("", 10)), []*store.User{ann, bob})
		w.equal("first", must(r.Users("", 1)), []*store.User{ann})
		w.equal("rest", must(r.Users("ann@x.org", 10)), []*store.User{bob})
	})
	bob.Password, bob.SuperAdmin, bob.Disabled = "$new", true, false
	w.update(func(tx store.Tx) { ok(tx.SaveUser(bob)) })
	w.both(func(r store.Reader) { w.equal("saved", must(r.User("bob@x.org")), bob) })
}

func membersCase(w *world) {
	at := w.clock.Wall()
	ann, zoe := store.User{Email: "a@x.org", Username: "zann", Password: "$p"}, store.User{Email: "z@x.org", Username: "azoe", Disabled: true}
	annTwo := &store.Member{Workspace: "two", Role: sluice.RoleOperator, Since: at, User: ann}
	annOne := &store.Member{Workspace: "one", Role: sluice.RoleAdmin, Since: at, User: ann}
	zoeTwo := &store.Member{Workspace: "two", Role: sluice.RoleDeveloper, Since: at.Add(time.Second), User: zoe}
	w.update(func(tx store.Tx) {
		ok(tx.InsertUser(&ann))
		ok(tx.InsertUser(&zoe))
		for _, m := range []*store.Member{annTwo, annOne, zoeTwo} {
			ok(tx.SaveMember(m))
		}
		w.isErr("no member", tx.DeleteMember("one", "z@x.org"), store.ErrNotFound)
	})
	w.both(func(r store.Reader) {
		w.equal("members", must(r.Members("two")), []*store.Member{zoeTwo, annTwo})
		w.equal("memberships", must(r.Memberships("a@x.org")), []*store.Member{annOne, annTwo})
		w.equal("none", len(must(r.Members("three"))), 0)
	})
	w.update(func(tx store.Tx) {
		ok(tx.SaveMember(&store.Member{Workspace: "two", Role: sluice.RoleAdmin, Since: at.Add(time.Hour), User: ann}))
		ok(tx.DeleteMember("two", "z@x.org"))
		ok(tx.InsertToken(&store.Token{Hash: "h", Email: "a@x.org"}))
		ok(tx.InsertToken(&store.Token{Hash: "i", Email: "z@x.org"}))
	})
	annTwo.Role = sluice.RoleAdmin
	w.both(func(r store.Reader) { w.equal("changed", must(r.Members("two")), []*store.Member{annTwo}) })
	w.update(func(tx store.Tx) { ok(tx.DeleteUser("a@x.org")) })
	w.both(func(r store.Reader) {
		w.equal("gone with the user", len(must(r.Members("one"))), 0)
		w.equal("its memberships too", len(must(r.Memberships("a@x.org"))), 0)
		_, err := r.Token("h")
		w.isErr("its tokens too", err, store.ErrNotFound)
		must(r.Token("i"))
	})
}

func tokensCase(w *world) {
	at := w.clock.Wall()
	full := &store.Token{
		Hash: string(bytes.Repeat([]byte{0, 255}, 16)), Prefix: "0123456789", Email: "a@x.org", Label: "ci", Workspace: "main",
		Scopes: []string{"jobs:read", "jobs:run:scripts:f/a"}, CreatedAt: at, ExpiresAt: at.Add(time.Hour),
	}
	none := &store.Token{Hash: "none", Email: "a@x.org", Scopes: []string{}, CreatedAt: at.Add(time.Second)}
	session := &store.Token{Hash: "session", Email: "a@x.org", Session: true, CreatedAt: at.Add(2 * time.Second), ExpiresAt: at.Add(time.Minute)}
	theirs := &store.Token{Hash: "theirs", Email: "b@x.org", Session: true, CreatedAt: at, ExpiresAt: at.Add(time.Minute + 1000)}
	w.update(func(tx store.Tx) {
		for _, k := range []*store.Token{full, none, session, theirs} {
			ok(tx.InsertToken(k))
		}
		w.isErr("again", tx.InsertToken(&store.Token{Hash: "none"}), store.ErrExists)
		w.isErr("delete none", tx.DeleteToken("nothing"), store.ErrNotFound)
	})
	w.both(func(r store.Reader) {
		w.equal("token", must(r.Token(full.Hash)), full)
		w.equal("no scopes are not all", must(r.Token("none")), none)
		w.equal("tokens of", must(r.TokensOf("a@x.org")), []*store.Token{session, none, full})
		_, err := r.Token("nothing")
		w.isErr("none", err, store.ErrNotFound)
	})
	w.update(func(tx store.Tx) {
		ok(tx.UseToken(full.Hash, at.Add(time.Second)))
		ok(tx.UseToken(full.Hash, at)) // an older word that comes late
		ok(tx.UseToken("nothing", at))
	})
	full.UsedAt = at.Add(time.Second)
	w.both(func(r store.Reader) { w.equal("used", must(r.Token(full.Hash)), full) })
	w.update(func(tx store.Tx) {
		w.equal("expired, at most", must(tx.DeleteTokens(at.Add(2*time.Minute), 1)), 1)
		w.equal("expired", must(tx.DeleteTokens(at.Add(time.Minute), 10)), 0)
		must(tx.Token(theirs.Hash))
		ok(tx.InsertToken(session))
		ok(tx.DeleteSessions("a@x.org"))
		must(tx.Token(theirs.Hash))
		w.equal("what is no session stays", must(tx.TokensOf("a@x.org")), []*store.Token{none, full})
		ok(tx.DeleteToken("none"))
		w.equal("expired later", must(tx.DeleteTokens(at.Add(time.Hour), 10)), 2)
	})
}

func archive(w *world) {
	w.update(func(tx store.Tx) {
		ok(tx.SaveWorkspace(&store.Workspace{ID: "a"}))
		ok(tx.SaveWorkspace(&store.Workspace{ID: "b"}))
		ok(tx.ArchiveWorkspace("a", true))
		w.isErr("none", tx.ArchiveWorkspace("c", true), store.ErrNotFound)
	})
	w.both(func(r store.Reader) {
		w.equal("all", must(r.Workspaces()), []*store.Workspace{{ID: "a", Archived: true}, {ID: "b"}})
	})
	w.update(func(tx store.Tx) { ok(tx.ArchiveWorkspace("a", false)) })
	w.both(func(r store.Reader) { w.equal("back", must(r.Workspace("a")), &store.Workspace{ID: "a"}) })
}

func auditCase(w *world) {
	at := w.clock.Wall()
	var all []*store.AuditEntry
	w.update(func(tx store.Tx) {
		for i := range 6 {
			e := &store.AuditEntry{
				At: at.Add(time.Duration(i) * time.Second), Workspace: []string{"one", "two", ""}[i%3], Username: "ann", Email: "a@x.org",
				Operation: fmt.Sprintf("scripts.%d", i%2), Kind: "Create", Resource: fmt.Sprint("f/", i), Address: "::1", Token: "0123456789",
				Parameters: []byte(`{"a":"b"}`),
			}
			if i == 5 {
				e.Username, e.Kind = "bob", "Delete"
			}
			ok(tx.AddAudit(e))
			all = append([]*store.AuditEntry{e}, all...)
		}
	})
	if all[0].ID <= all[1].ID {
		w.Errorf("ids %d, %d do not ascend", all[1].ID, all[0].ID)
	}
	one, none := "one", ""
	for name, c := range map[string]struct {
		f    store.AuditFilter
		want []*store.AuditEntry
	}{
		"all":       {store.AuditFilter{}, all},
		"page":      {store.AuditFilter{Offset: 1, Limit: 2}, all[1:3]},
		"workspace": {store.AuditFilter{Workspace: &one}, []*store.AuditEntry{all[2], all[5]}},
		"instance":  {store.AuditFilter{Workspace: &none}, []*store.AuditEntry{all[0], all[3]}},
		"username":  {store.AuditFilter{Username: "bob"}, all[:1]},
		"kind":      {store.AuditFilter{Kind: "Delete"}, all[:1]},
		"operation": {store.AuditFilter{Operation: "scripts.0"}, []*store.AuditEntry{all[1], all[3], all[5]}},
		"resource":  {store.AuditFilter{Resource: "f/3"}, all[2:3]},
		"span":      {store.AuditFilter{After: at.Add(time.Second), Before: at.Add(2 * time.Second)}, all[3:5]},
	} {
		w.both(func(r store.Reader) { w.equal(name, must(r.AuditEntries(c.f)), c.want) })
	}
	w.update(func(tx store.Tx) {
		w.equal("deleted, at most", must(tx.DeleteAudit(at.Add(2*time.Second), 1)), 1)
		w.equal("deleted", must(tx.DeleteAudit(at.Add(2*time.Second), 10)), 1)
		w.equal("left", must(tx.AuditEntries(store.AuditFilter{})), all[:4])
	})
}
