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
	code := ""
	if m.Raw != nil {
		code = m.Raw.Content
	}
	return cacheName(j.Workspace, string(m.Kind), m.Path, j.Hash, j.Language, code, string(j.Args))
}

// cacheName says what is kept by what decides about it.
func cacheName(parts ...string) (slot int64, hash []byte) {
	h := sha256.New()
	for _, s := range parts {
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
	return u.kept(cacheHash(j, m))
}

// kept returns what is kept under a name and not too old; nil: nothing.
func (u *unit) kept(slot int64, hash []byte) (json.RawMessage, error) {
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

// A flow with cache_ttl keeps its result, too, for runs of the same version with
// the same arguments. They are looked for when a run would take its place in
// line, so that one that is due later, or whose arguments are made first, is
// served by what is kept then. A run that is restarted is never served.

// flowCacheName says what a run gives: its result, or what it gives early.
func flowCacheName(j *sluice.Job, what string) (slot int64, hash []byte) {
	return cacheName(j.Workspace, "whole"+what, j.Path, j.Hash, j.Content, string(j.Args))
}

// caches reports whether a job is the run of a flow that may be served.
func (u *unit) caches(j *sluice.Job) bool {
	if u.anew || !j.Kind.IsFlow() || j.Phase == sluice.PhasePreprocess {
		return false
	}
	v, err := u.e.flowOf(u.tx, j)
	return err == nil && v.CacheTTL > 0 // one that is gone says so when its turn has come
}

// serveFlow ends a run that has not begun with the result of one alike, if it is
// kept. It reports whether it is.
func (u *unit) serveFlow(l *line, j *sluice.Job) (bool, error) {
	v, err := u.e.flowOf(u.tx, j)
	if err != nil {
		return false, err
	}
	result, err := u.kept(flowCacheName(j, ""))
	if result == nil || err != nil {
		return false, err
	}
	if v.EarlyReturn != "" {
		early, err := u.kept(flowCacheName(j, earlyResult))
		if early == nil || err != nil {
			return false, err
		}
		if err := u.tx.SaveFlowResult(j.Seq, earlyResult, early); err != nil {
			return false, err
		}
	}
	u.turnAway(l)
	return true, u.end(j, sluice.OutcomeSuccess, result)
}

// keepFlow keeps the result of a flow that asks for it and has ended well.
func (u *unit) keepFlow(v *flow.Value, j *sluice.Job, result json.RawMessage) error {
	if v.CacheTTL <= 0 || j.FlowScope != "" || len(result) > maxCached {
		return nil
	}
	keep := map[string]json.RawMessage{"": result}
	if v.EarlyReturn != "" {
		early, err := u.tx.FlowResult(j.Seq, earlyResult)
		if errors.Is(err, store.ErrNotFound) || len(early) > maxCached {
			return nil // it ended before that step
		} else if err != nil {
			return err
		}
		keep[earlyResult] = early
	}
	for what, value := range keep {
		slot, hash := flowCacheName(j, what)
		if err := u.tx.SaveCached(&store.CacheEntry{Slot: slot, Hash: hash, Until: u.now.Add(v.CacheTTL), Result: value}); err != nil {
			return err
		}
	}
	return nil
}
