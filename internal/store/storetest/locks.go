package storetest

import (
	"encoding/json"
	"strings"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/store"
)

// scriptLocks: a lock belongs to one version, and nothing else of it changes.
func scriptLocks(w *world) {
	first := &store.Script{Hash: "00000000000000a1", Workspace: "main", Path: "f/a", Content: "x", Settings: []byte(`{"lock":null}`), CreatedAt: w.clock.Wall()}
	second := *first
	second.Hash, second.Newest = "00000000000000a2", true
	w.update(func(tx store.Tx) {
		ok(tx.InsertScript(first))
		ok(tx.InsertScript(&second))
		w.isErr("no such version", tx.SaveLock("main", "00000000000000a3", nil, ""), store.ErrNotFound)
		w.isErr("another workspace", tx.SaveLock("other", first.Hash, nil, ""), store.ErrNotFound)
	})
	for _, at := range []struct {
		lock *string
		why  string
	}{{nil, "no such package ü"}, {ptr(""), ""}, {ptr("a==1\nb==2 # 😀\n"), ""}, {ptr(strings.Repeat("x", 100_000)), ""}} {
		w.update(func(tx store.Tx) { ok(tx.SaveLock("main", first.Hash, at.lock, at.why)) })
		want := *first
		want.Lock, want.LockError = at.lock, at.why
		w.both(func(r store.Reader) {
			w.equal("version", must(r.ScriptByHash("main", first.Hash)), &want)
			w.equal("lock", must(r.ScriptLock("main", first.Hash)), at.lock)
			w.equal("the other version", must(r.Script("main", "f/a")), &second)
			_, err := r.ScriptLock("other", first.Hash)
			w.isErr("lock in another workspace", err, store.ErrNotFound)
		})
	}
}

// preprocessed: arguments, key and phase change together, and nothing else.
func preprocessed(w *world) {
	big := json.RawMessage(`{"x":"` + strings.Repeat("y", 5000) + `"}`)
	for i, args := range []json.RawMessage{json.RawMessage(`{"a": 1}`), big, json.RawMessage(`{}`)} {
		for _, first := range []json.RawMessage{json.RawMessage(`{"event":{}}`), big} {
			j := w.jobs(1, func(_ int, j *sluice.Job) {
				j.Args, j.Phase, j.QueueLimit, j.HasKey, j.Key = first, sluice.PhasePreprocess, ptr(int64(i)), false, ""
			})[0]
			w.both(func(r store.Reader) { w.equal("before", must(r.JobBySeq(j.Seq)), j) })
			key := uuid.NewString()
			w.update(func(tx store.Tx) {
				row := must(tx.JobBySeq(j.Seq))
				row.Args, row.Phase, row.QueueLimit, row.HasKey, row.Key = args, sluice.PhasePreprocessed, nil, true, key
				row.Worker = "not saved"
				ok(tx.SaveArgs(row))
				j.Args, j.Phase, j.QueueLimit, j.HasKey, j.Key = args, row.Phase, nil, true, key
				w.equal("within the update", must(tx.JobBySeq(j.Seq)), j)
			})
			w.both(func(r store.Reader) {
				w.equal("after", must(r.JobBySeq(j.Seq)), j)
				w.equal("by key", must(r.Jobs(store.JobFilter{Key: &key})), []*sluice.Job{j})
			})
		}
	}
	w.update(func(tx store.Tx) { w.isErr("no job", tx.SaveArgs(&sluice.Job{Seq: 1 << 40}), store.ErrNotFound) })
}
