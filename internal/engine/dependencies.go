package engine

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
	"sluice/limit"
)

// A script in a language with packages has a lock, which names them, and so has
// an inline step of a flow. One that
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
	return e.pushDependencies(tx, []NewJob{{
		ID: id.String(), Workspace: row.Workspace, CreatedBy: row.CreatedBy, Email: email,
		Dependencies: &Dependencies{Language: row.Language, Path: row.Path, hash: row.Hash, tag: body.Tag},
	}})
}

// askFlowDependencies does the same for the inline steps of a version of a flow.
func (e *Engine) askFlowDependencies(tx store.Tx, row *store.Flow, v *flow.Value, email string) error {
	var news []NewJob
	for _, m := range v.All() {
		if m.Raw == nil || m.Raw.Lock != nil || m.Raw.Content == "" || !NeedsLock(m.Raw.Language) {
			continue
		}
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		news = append(news, NewJob{
			ID: id.String(), Workspace: row.Workspace, CreatedBy: row.EditedBy, Email: email, Dependencies: &Dependencies{
				Language: m.Raw.Language, Content: m.Raw.Content, Path: row.Path, hash: flowHash(row.N), step: m.ID, tag: m.Tag,
			},
		})
	}
	return e.pushDependencies(tx, news)
}

func (e *Engine) pushDependencies(tx store.Tx, news []NewJob) error {
	if len(news) == 0 {
		return nil
	}
	pushes := make([]*push, len(news))
	for i := range news {
		news[i].Args = json.RawMessage("{}")
		var err error
		if pushes[i], err = e.build(tx, &news[i], news[i].ID, nil); err != nil {
			return err
		}
	}
	u := e.unit(tx)
	if err := u.enqueue(pushes); err != nil {
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
	if d.step != "" {
		j.Path += "/" + d.step
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
	var err error
	if !ofInlineStep(j) {
		err = u.tx.SaveLock(j.Workspace, j.Hash, lock, why)
	} else if lock != nil {
		var n int64
		if n, err = strconv.ParseInt(j.Hash, 16, 64); err == nil {
			err = u.tx.SaveFlowLock(j.Workspace, n, j.Path[strings.LastIndexByte(j.Path, '/')+1:], *lock)
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil // gone meanwhile
	}
	return err
}

// ofInlineStep reports whether a dependency job is of an inline step of a saved
// flow: its code stands on the job, beside the version of the flow.
func ofInlineStep(j *sluice.Job) bool { return j.Hash != "" && j.Content != "" }

// stepLock returns the lock of an inline step that was pushed without; nil: none
// is known.
func (u *unit) stepLock(flowJob *sluice.Job, m *flow.Module) (*string, error) {
	if m.Raw.Lock != nil || flowJob.Hash == "" || !NeedsLock(m.Raw.Language) {
		return m.Raw.Lock, nil
	}
	n, err := strconv.ParseInt(flowJob.Hash, 16, 64)
	if err != nil {
		return nil, err
	}
	name := flowJob.Hash + m.ID
	if lock := u.e.stepLocks.get(name); lock != nil {
		return lock, nil
	}
	lock, ok := u.stepLocks[name]
	if ok {
		return lock, nil
	}
	if lock, err = u.tx.FlowLock(n, m.ID); err != nil {
		return nil, err
	}
	if u.stepLocks == nil {
		u.stepLocks = map[string]*string{}
	}
	u.stepLocks[name] = lock
	return lock, nil
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
	for name, lock := range u.stepLocks {
		if lock != nil {
			u.e.stepLocks.put(name, lock)
		}
	}
}

func isTrue(b *bool) bool { return b != nil && *b }
