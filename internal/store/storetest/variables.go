package storetest

import (
	"time"

	"sluice/internal/store"
)

func variables(w *world) {
	at := w.clock.Wall()
	plain := &store.Variable{Workspace: "one", Path: "f/a/plain", Value: []byte("värde\x00"), Description: "d\x00", CreatedBy: "ann", EditedBy: "ann", EditedAt: at}
	secret := &store.Variable{Workspace: "one", Path: "f/b/secret", KeyID: 3, Value: []byte{0, 255, 1}, CreatedBy: "bob", EditedBy: "ann", EditedAt: at}
	empty := &store.Variable{Workspace: "one", Path: "f/b/zero", EditedAt: at}
	other := &store.Variable{Workspace: "two", Path: "f/a/plain", Value: []byte("2"), EditedAt: at}
	w.update(func(tx store.Tx) {
		for _, v := range []*store.Variable{empty, secret, other, plain} {
			ok(tx.InsertVariable(v))
		}
		w.isErr("again", tx.InsertVariable(&store.Variable{Workspace: "one", Path: "f/a/plain"}), store.ErrExists)
		w.isErr("save none", tx.SaveVariable(&store.Variable{Workspace: "one", Path: "f/c"}), store.ErrNotFound)
		w.isErr("delete none", tx.DeleteVariable("two", "f/b/secret"), store.ErrNotFound)
		w.equal("locked", must(tx.LockVariable("one", "f/b/secret")), secret)
		_, err := tx.LockVariable("one", "f/c")
		w.isErr("lock none", err, store.ErrNotFound)
	})
	w.both(func(r store.Reader) {
		w.equal("plain", must(r.Variable("one", "f/a/plain")), plain)
		w.equal("secret", must(r.Variable("one", "f/b/secret")), secret)
		_, err := r.Variable("one", "f/b")
		w.isErr("none", err, store.ErrNotFound)
		w.equal("count", must(r.CountVariables("one")), int64(3))
		w.equal("all", must(r.Variables(store.VariableFilter{Workspace: "one"})), []*store.Variable{plain, secret, empty})
		w.equal("start", must(r.Variables(store.VariableFilter{Workspace: "one", PathStart: "f/b/"})), []*store.Variable{secret, empty})
		w.equal("secrets", must(r.Variables(store.VariableFilter{Workspace: "one", Secrets: true})), []*store.Variable{secret})
		w.equal("page", must(r.Variables(store.VariableFilter{Workspace: "one", Offset: 1, Limit: 1})), []*store.Variable{secret})
	})
	secret.KeyID, secret.Value, secret.Description, secret.EditedBy, secret.EditedAt = 0, []byte("open"), "new", "zoe", at.Add(time.Second)
	w.update(func(tx store.Tx) {
		ok(tx.SaveVariable(secret))
		ok(tx.DeleteVariable("one", "f/a/plain"))
	})
	w.both(func(r store.Reader) {
		w.equal("saved", must(r.Variables(store.VariableFilter{Workspace: "one"})), []*store.Variable{secret, empty})
		w.equal("of another workspace", must(r.Variable("two", "f/a/plain")), other)
	})
}

func resources(w *world) {
	at := w.clock.Wall()
	db := &store.Resource{Workspace: "one", Path: "f/a/db", Type: "postgresql", Value: []byte(`{"b":1, "a":1.0}`), Description: "d", CreatedBy: "ann", EditedBy: "ann", EditedAt: at}
	state := &store.Resource{Workspace: "one", Path: "u/ann/state", Type: "state", Value: []byte("null"), CreatedBy: "bob", EditedBy: "ann", EditedAt: at}
	other := &store.Resource{Workspace: "two", Path: "f/a/db", Type: "mysql", Value: []byte("{}"), EditedAt: at}
	w.update(func(tx store.Tx) {
		for _, v := range []*store.Resource{state, other, db} {
			ok(tx.InsertResource(v))
		}
		w.isErr("again", tx.InsertResource(&store.Resource{Workspace: "one", Path: "f/a/db"}), store.ErrExists)
		w.isErr("save none", tx.SaveResource(&store.Resource{Workspace: "one", Path: "f/c"}), store.ErrNotFound)
		w.isErr("delete none", tx.DeleteResource("one", "f/a"), store.ErrNotFound)
		w.equal("locked", must(tx.LockResource("one", "f/a/db")), db)
	})
	w.both(func(r store.Reader) {
		w.equal("db", must(r.Resource("one", "f/a/db")), db)
		_, err := r.Resource("one", "f/a")
		w.isErr("none", err, store.ErrNotFound)
		w.equal("count", must(r.CountResources("one")), int64(2))
		w.equal("all", must(r.Resources(store.VariableFilter{Workspace: "one"})), []*store.Resource{db, state})
		w.equal("start", must(r.Resources(store.VariableFilter{Workspace: "one", PathStart: "f/"})), []*store.Resource{db})
		bare := *db
		bare.Value = nil
		w.equal("bare", must(r.Resources(store.VariableFilter{Workspace: "one", PathStart: "f/", Bare: true})), []*store.Resource{&bare})
		w.equal("page", must(r.Resources(store.VariableFilter{Workspace: "one", Offset: 1, Limit: 5})), []*store.Resource{state})
	})
	state.Type, state.Value, state.Description, state.EditedBy, state.EditedAt = "cache", []byte(`[1]`), "new", "zoe", at.Add(time.Second)
	w.update(func(tx store.Tx) {
		ok(tx.SaveResource(state))
		ok(tx.DeleteResource("one", "f/a/db"))
	})
	w.both(func(r store.Reader) {
		w.equal("saved", must(r.Resources(store.VariableFilter{Workspace: "one"})), []*store.Resource{state})
		w.equal("of another workspace", must(r.Resource("two", "f/a/db")), other)
	})
}

func workspaceKeys(w *world) {
	key := &store.WorkspaceKey{Workspace: "one", ID: 1, CreatedAt: w.clock.Wall(), Master: "abcd", Wrapped: []byte{0, 255}}
	w.update(func(tx store.Tx) {
		_, err := tx.LockWorkspaceKey("one")
		w.isErr("none", err, store.ErrNotFound)
		w.isErr("save none", tx.SaveWorkspaceKey(key), store.ErrNotFound)
		ok(tx.InsertWorkspaceKey(key))
		w.isErr("again", tx.InsertWorkspaceKey(key), store.ErrExists)
	})
	w.both(func(r store.Reader) {
		w.equal("key", must(r.WorkspaceKey("one")), key)
		_, err := r.WorkspaceKey("two")
		w.isErr("of another workspace", err, store.ErrNotFound)
	})
	key.ID, key.CreatedAt, key.Master, key.Wrapped = 2, key.CreatedAt.Add(time.Second), "ef", []byte("w")
	w.update(func(tx store.Tx) {
		ok(tx.SaveWorkspaceKey(key))
		w.equal("locked", must(tx.LockWorkspaceKey("one")), key)
	})
	w.both(func(r store.Reader) { w.equal("saved", must(r.WorkspaceKey("one")), key) })
}
