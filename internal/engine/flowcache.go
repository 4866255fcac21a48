package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// A step with cache_ttl keeps its result for steps alike: those that run the
// same code with the same arguments in the same workspace. Each result has a
// slot that its hash names; another one with that slot puts it out. What is
// served from there never runs, so it takes no slot of a limit.
const (
	cacheSlots = 8192
	maxCached  = 256 << 10 // bytes of a result that is kept
)

// cacheHash says what a step is the result of.
func cacheHash(j *sluice.Job, m *flow.Module) (slot int64, hash []byte) {
	h := sha256.New()
	code := ""
	if m.Raw != nil {
		code = m.Raw.Content
	}
	for _, s := range []string{j.Workspace, string(m.Kind), m.Path, j.Hash, j.Language, code, string(j.Args)} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	sum := h.Sum(nil)
	return int64(binary.BigEndian.Uint64(sum) % cacheSlots), sum
}

// cached returns the kept result of a step alike; nil: there is none.
func (u *unit) cached(j *sluice.Job, m *flow.Module) (json.RawMessage, error) {
	slot, hash := cacheHash(j, m)
	e, err := u.tx.Cached(slot)
	if errors.Is(err, store.ErrNotFound) || err == nil && (!bytes.Equal(e.Hash, hash) || !e.Until.After(u.now)) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return e.Result, nil
}

// keepResult keeps the result of a step that asks for it and has run.
func (u *unit) keepResult(v *flow.Value, event flow.Event) error {
	m := v.Module(event.Step)
	if event.Kind != flow.Ended || !event.Success || m == nil || m.CacheTTL <= 0 {
		return nil
	}
	j, err := u.tx.Job(event.Job)
	if err != nil || j.Attempt == 0 { // served from here itself
		return err
	}
	result, err := u.tx.Result(j.Seq)
	if err != nil || len(result) == 0 || len(result) > maxCached {
		return err
	}
	slot, hash := cacheHash(j, m)
	return u.tx.SaveCached(&store.CacheEntry{Slot: slot, Hash: hash, Until: u.now.Add(m.CacheTTL), Result: result})
}
