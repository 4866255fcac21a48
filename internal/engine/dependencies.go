package engine

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// A script in a language with packages has a lock, which names them. One that
// is pushed without gets it from a dependency job, which is pushed in the same
// transaction and stores what it found in that of its report. Until then, and
// if it fails, the script runs all the same: the worker finds the packages.

// tagDependency is the tag of dependency jobs of scripts that have none.
const tagDependency = "dependency"

// maxLockLog bounds how much of a job's log is kept with a lock that could not
// be made.
const maxLockLog = 64 << 10

// NeedsLock reports whether a language has packages that a lock names.
func NeedsLock(language string) bool {
	switch language {
	case "python3", "bun", "deno", "nativets", "go":
		return true
	}
	return false
}

// askDependencies pushes the job that finds the lock of a version just saved,
// if it was pushed without one. An empty lock is one: nothing is needed.
func (e *Engine) askDependencies(tx store.Tx, row *store.Script, body *ScriptBody, email string) error {
	if !NeedsLock(row.Language) || body.Lock != nil {
		return nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	n := NewJob{
		Workspace: row.Workspace, CreatedBy: row.CreatedBy, Email: email,
		Dependencies: &Dependencies{Language: row.Language, Path: row.Path, hash: row.Hash, tag: body.Tag},
	}
	n.Args = json.RawMessage("{}")
	p, err := e.build(tx, &n, id.String(), nil)
	if err != nil {
		return err
	}
	u := e.unit(tx)
	if err := u.enqueue([]*push{p}); err != nil {
		return err
	}
	return u.settle()
}

// buildDependencies makes a dependency job. Those of a path are run one after
// the other: two at a time would fetch the same things twice.
func buildDependencies(tx store.Tx, j *sluice.Job, d *Dependencies) error {
	if err := needWorkspace(tx, j.Workspace); err != nil {
		return err
	}
	switch {
	case !languageName.MatchString(d.Language):
		return sluice.Invalid("language", "must name a language, such as python3")
	case len(d.Content) > maxContent:
		return sluice.Invalid("raw_code", "has %d bytes; at most %d are allowed", len(d.Content), maxContent)
	}
	if err := checkPath("script_path", d.Path); err != nil {
		return err
	}
	j.Kind, j.Path, j.Hash, j.Language, j.Content = sluice.KindDependencies, d.Path, d.hash, d.Language, d.Content
	if j.Tag == "" {
		j.Tag = d.tag
	}
	if j.Tag == "" {
		j.Tag = tagDependency
	}
	j.Limit, j.HasKey, j.Key = &limit.Limit{N: 1, Mode: limit.End}, true, limit.DependenciesKey(j.Workspace, d.Path)
	return nil
}

// locked ends a dependency job with what it found.
func (u *unit) locked(j *sluice.Job, result json.RawMessage) error {
	var found struct {
		Lock *string `json:"lock"`
	}
	if err := json.Unmarshal(result, &found); err != nil || found.Lock == nil {
		return u.end(j, sluice.OutcomeFailure, errorResult("InvalidLock", `What was found has no field "lock" with a text.`, nil))
	}
	if err := u.saveLock(j, found.Lock, ""); err != nil {
		return err
	}
	return u.end(j, sluice.OutcomeSuccess, result)
}

// unlocked notes why a dependency job found nothing.
func (u *unit) unlocked(j *sluice.Job, result json.RawMessage) error {
	why, _, err := readLog(u.tx, j.Seq, 0, maxLockLog)
	if err != nil {
		return err
	}
	var r struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(result, &r) != nil || r.Error.Message == "" {
		r.Error.Message = "The dependencies were not found."
	}
	if why = strings.TrimRight(why, "\n"); why != "" {
		why += "\n"
	}
	return u.saveLock(j, nil, why+r.Error.Message)
}

// saveLock stores what became known of the version that a dependency job is
// of; jobs of code that is not saved have none.
func (u *unit) saveLock(j *sluice.Job, lock *string, why string) error {
	if j.Hash == "" {
		return nil
	}
	err := u.tx.SaveLock(j.Workspace, j.Hash, lock, why)
	if errors.Is(err, store.ErrNotFound) {
		return nil // gone meanwhile
	}
	return err
}

// lockOf returns the lock of a version: the pushed one, else the one that was
// found; nil: none is known.
func (u *unit) lockOf(c *compiled) (*string, error) {
	switch {
	case c.body.Lock != nil:
		return c.body.Lock, nil
	case !NeedsLock(c.row.Language):
		return nil, nil
	}
	if lock := c.made.Load(); lock != nil {
		return lock, nil
	}
	lock, ok := u.locks[c]
	if ok {
		return lock, nil
	}
	lock, err := u.tx.ScriptLock(c.row.Workspace, c.row.Hash)
	if err == nil {
		if u.locks == nil {
			u.locks = map[*compiled]*string{}
		}
		u.locks[c] = lock
	}
	return lock, err
}

// keepLocks remembers the locks that were read, which never change, once what
// was read is known to be committed.
func (u *unit) keepLocks() {
	for c, lock := range u.locks {
		if lock != nil {
			c.made.Store(lock)
		}
	}
}

func isTrue(b *bool) bool { return b != nil && *b }
