package storetest

import (
	"time"

	"sluice/internal/store"
)

func folders(w *world) {
	at := w.clock.Wall()
	a := &store.Folder{Workspace: "one", Name: "a", Body: []byte(`{"summary":"\u0000", "owners":[]}`), CreatedBy: "ann", EditedBy: "ann", EditedAt: at}
	b := &store.Folder{Workspace: "one", Name: "b", Body: []byte("{}"), CreatedBy: "bob", EditedBy: "bob", EditedAt: at}
	other := &store.Folder{Workspace: "two", Name: "a", Body: []byte(`{"summary":"2"}`), EditedAt: at}
	w.update(func(tx store.Tx) {
		for _, f := range []*store.Folder{b, other, a} {
			ok(tx.InsertFolder(f))
		}
		w.isErr("again", tx.InsertFolder(&store.Folder{Workspace: "one", Name: "a"}), store.ErrExists)
		w.isErr("save none", tx.SaveFolder(&store.Folder{Workspace: "one", Name: "c"}), store.ErrNotFound)
		w.isErr("delete none", tx.DeleteFolder("two", "b"), store.ErrNotFound)
		w.equal("locked", must(tx.LockFolder("one", "b")), b)
		_, err := tx.LockFolder("one", "c")
		w.isErr("lock none", err, store.ErrNotFound)
	})
	w.both(func(r store.Reader) {
		w.equal("a", must(r.Folder("one", "a")), a)
		_, err := r.Folder("two", "b")
		w.isErr("none", err, store.ErrNotFound)
		w.equal("all", must(r.Folders("one", nil, 0, 10)), []*store.Folder{a, b})
		w.equal("page", must(r.Folders("one", nil, 1, 1)), []*store.Folder{b})
		w.equal("named", must(r.Folders("one", []string{"b", "c"}, 0, 10)), []*store.Folder{b})
		w.equal("none named", len(must(r.Folders("one", []string{}, 0, 10))), 0)
		w.equal("count", must(r.CountFolders("one")), int64(2))
	})
	b.Body, b.EditedBy, b.EditedAt = []byte(`{"owners":["u/zoe"]}`), "zoe", at.Add(time.Second)
	w.update(func(tx store.Tx) {
		ok(tx.SaveFolder(b))
		ok(tx.DeleteFolder("one", "a"))
	})
	w.both(func(r store.Reader) {
		w.equal("saved", must(r.Folders("one", nil, 0, 10)), []*store.Folder{b})
		w.equal("of another workspace", must(r.Folder("two", "a")), other)
	})
}
