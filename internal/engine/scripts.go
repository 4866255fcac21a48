package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// Bounds of scripts.
const (
	maxPath        = 255
	maxContent     = 4 << 20
	maxTag         = 50
	maxWaitSeconds = 366 * 24 * 3600
	cachedScripts  = 4096
)

// compiled is a script version with its settings read.
type compiled struct {
	row    *store.Script
	body   ScriptBody
	limits limit.Settings
	labels []string
	secret *secretArgs
	made   *atomic.Pointer[string] // the lock that was found for it, once that is known
}

// scriptCache keeps versions, which never change, by workspace and hash.
type scriptCache struct {
	mu sync.Mutex
	m  map[string]*compiled
}

func (c *scriptCache) get(key string) *compiled {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[key]
}

func (c *scriptCache) put(key string, v *compiled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.m) >= cachedScripts || c.m == nil {
		c.m = map[string]*compiled{}
	}
	c.m[key] = v
}

// clear forgets all.
func (c *scriptCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m = nil
}

func (e *Engine) compiledByHash(r store.Reader, workspace, hash string) (*compiled, error) {
	if c := e.scripts.get(workspace + "\n" + hash); c != nil {
		return c, nil
	}
	row, err := r.ScriptByHash(workspace, hash)
	if err != nil {
		return nil, err
	}
	if row.Deleted {
		return nil, store.ErrNotFound
	}
	return e.compile(row)
}

// freshByHash is compiledByHash for a push: whether a version is archived may
// have changed since it was read.
func (e *Engine) freshByHash(r store.Reader, workspace, hash string) (*compiled, error) {
	row, err := r.ScriptByHash(workspace, hash)
	if err != nil {
		return nil, err
	}
	return e.freshen(row)
}

func (e *Engine) compiledByPath(r store.Reader, workspace, path string) (*compiled, error) {
	row, err := r.Script(workspace, path)
	if err != nil {
		return nil, err
	}
	return e.freshen(row)
}

// freshen joins a row that was just read with what is known of its version.
func (e *Engine) freshen(row *store.Script) (*compiled, error) {
	if row.Deleted {
		return nil, store.ErrNotFound
	}
	if c := e.scripts.get(row.Workspace + "\n" + row.Hash); c != nil {
		again := *c // archived or not may have changed
		again.row = row
		return &again, nil
	}
	return e.compile(row)
}

func (e *Engine) compile(row *store.Script) (*compiled, error) {
	body, limits, err := readScript(row.Settings)
	if err != nil {
		return nil, fmt.Errorf("read the stored script %s: %w", row.Path, err)
	}
	body.Content = row.Content
	c := &compiled{row: row, body: body, limits: limits, secret: readSecretArgs(body.Schema, 0), made: &atomic.Pointer[string]{}}
	if c.secret != nil {
		c.secret.whole = false // a schema is no argument
	}
	c.labels, _ = readLabels(body.Labels)
	e.scripts.put(row.Workspace+"\n"+row.Hash, c)
	return c, nil
}

// readScript validates a pushed script.
func readScript(raw json.RawMessage) (ScriptBody, limit.Settings, error) {
	var b ScriptBody
	if err := json.Unmarshal(raw, &b); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) && te.Field != "" {
			return b, limit.Settings{}, sluice.Invalid(te.Field, "must be a %s, not a %s", te.Type, te.Value)
		}
		return b, limit.Settings{}, sluice.Errorf(sluice.CodeInvalid, "the script is no JSON object: %v", err)
	}
	b.readExtensions()
	s, err := limit.Fields{N: b.N, Window: b.Window, Key: b.Key, Mode: b.Mode}.Validate()
	if err != nil {
		return b, s, fieldError(err)
	}
	return b, s, checkScript(&b)
}

// readExtensions takes fields that Windmill does not know from the schema, if
// they do not stand beside it: its command line sends a schema as it is and no
// field of a script that it does not know.
func (b *ScriptBody) readExtensions() {
	var schema struct {
		OnLimit *string         `json:"x-on_concurrency_limit"`
		Mode    json.RawMessage `json:"x-concurrency_window_from"`
	}
	if json.Unmarshal(b.Schema, &schema) != nil {
		return // a schema is for people and forms: it may be anything
	}
	if b.OnLimit == nil {
		b.OnLimit = schema.OnLimit
	}
	if len(b.Mode) == 0 || string(b.Mode) == "null" {
		b.Mode = schema.Mode
	}
}

// fieldError turns a limit's field error into the product's.
func fieldError(err error) error {
	var fe *limit.FieldError
	if errors.As(err, &fe) {
		return sluice.Invalid(fe.Field, "%s", fe.Message)
	}
	return err
}

var languageName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func checkScript(b *ScriptBody) error {
	if err := checkPath("path", b.Path); err != nil {
		return err
	}
	switch {
	case len(b.Content) > maxContent:
		return sluice.Invalid("content", "has %d bytes; at most %d are allowed", len(b.Content), maxContent)
	case !languageName.MatchString(b.Language):
		return sluice.Invalid("language", "must name a language, such as bash")
	case len(b.Tag) > maxTag || strings.ContainsAny(b.Tag, "\n\x00,"):
		return sluice.Invalid("tag", "must be at most %d characters without comma or line feed", maxTag)
	case b.OnLimit != nil && *b.OnLimit != "" && *b.OnLimit != string(sluice.OnLimitQueue) && *b.OnLimit != string(sluice.OnLimitFail):
		return sluice.Invalid("on_concurrency_limit", `must be "queue" or "fail"`)
	case b.Priority != nil && (*b.Priority < sluice.MinPriority || *b.Priority > sluice.MaxPriority):
		return sluice.Invalid("priority", "must be %d to %d", sluice.MinPriority, sluice.MaxPriority)
	case b.Timeout != nil && (*b.Timeout < 0 || *b.Timeout > maxWaitSeconds):
		return sluice.Invalid("timeout", "counts seconds, 0 to %d", maxWaitSeconds)
	case b.MaxWait != nil && (*b.MaxWait < 0 || *b.MaxWait > maxWaitSeconds):
		return sluice.Invalid("max_wait_s", "counts seconds, 0 to %d", maxWaitSeconds)
	case b.MaxLostAttempts != nil && (*b.MaxLostAttempts < 0 || *b.MaxLostAttempts > 1000):
		return sluice.Invalid("max_lost_attempts", "must be 0 to 1000")
	case b.DeleteAfterSecs != nil && (*b.DeleteAfterSecs < 0 || *b.DeleteAfterSecs > 100*maxWaitSeconds):
		return sluice.Invalid("delete_after_secs", "counts seconds and must not be negative")
	}
	return nil
}

func checkPath(field, path string) error {
	switch {
	case path == "":
		return sluice.Invalid(field, "must not be empty; write for example f/folder/name")
	case len(path) > maxPath:
		return sluice.Invalid(field, "has %d bytes; at most %d are allowed", len(path), maxPath)
	case strings.ContainsAny(path, "#\x00\n\\?%"):
		return sluice.Invalid(field, `must not hold any of # %% ? \, line feeds or NUL`)
	}
	for _, part := range strings.Split(path, "/") {
		if part == "" || part == "." || part == ".." {
			return sluice.Invalid(field, "must be names divided by single slashes, such as f/folder/name")
		}
	}
	return nil
}

// SaveScript validates and saves a version of a script and returns its hash.
func (e *Engine) SaveScript(ctx context.Context, workspace string, s NewScript) (string, error) {
	body, limits, err := readScript(s.Body)
	if err != nil {
		return "", err
	}
	if err := refuseFields(s.Body, ScriptFields); err != nil {
		return "", err
	}
	var hash string
	err = e.store.Update(ctx, func(tx store.Tx) error {
		if err := needWorkspace(tx, workspace); err != nil {
			return err
		}
		if s.By != nil {
			if err := s.By.put(tx, workspace, store.KindScript, body.Path); err != nil {
				return err
			}
		}
		row, noop, err := nextVersion(tx, workspace, s, &body)
		if err != nil {
			return err
		}
		hash = row.Hash
		if !noop {
			if err := tx.InsertScript(row); err != nil {
				return err
			}
			if err := e.askDependencies(tx, row, &body, s.Email); err != nil {
				return err
			}
		}
		if s.ApplyToWaiting && limits.Limit != nil {
			return e.applyToWaiting(tx, workspace, body.Path, *limits.Limit, sluice.KindScript, sluice.KindPreview)
		}
		return nil
	})
	return hash, err
}

// nextVersion makes the row of a new version; with SkipIfNoop and nothing new
// it returns the newest one and true. The version before loses Newest.
func nextVersion(tx store.Tx, workspace string, s NewScript, body *ScriptBody) (*store.Script, bool, error) {
	row := &store.Script{
		Workspace: workspace, Path: body.Path, Content: body.Content, Language: body.Language, Summary: body.Summary,
		Kind: body.Kind, Settings: s.Body, CreatedBy: s.CreatedBy, CreatedAt: tx.Now(), Newest: true,
	}
	if row.Kind == "" {
		row.Kind = "script"
	}
	old, err := tx.Script(workspace, body.Path)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, false, err
	}
	if old != nil {
		if s.SkipIfNoop && !old.Archived && !old.Deleted && sameSettings(old.Settings, s.Body) {
			return old, true, nil
		}
		row.Parent = old.Hash
	}
	if err := checkParent(tx, workspace, body, old); err != nil {
		return nil, false, err
	}
	if old != nil {
		old.Newest = false
		if err := tx.SaveScript(old); err != nil {
			return nil, false, err
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%d\n%s", workspace, body.Path, row.Parent, row.CreatedAt.UnixMicro(), s.Body))
	row.Hash = hex.EncodeToString(sum[:8])
	return row, false, nil
}

// checkParent refuses a push that was made for a version which is no longer
// the newest: it would undo what somebody else saved. With auto_parent, and
// without parent_hash, a push replaces whatever is newest.
func checkParent(r store.Reader, workspace string, body *ScriptBody, newest *store.Script) error {
	const field = "parent_hash"
	hash := strings.ToLower(body.ParentHash)
	switch {
	case hash == "" || body.AutoParent || newest != nil && newest.Hash == hash:
		return nil
	case !isHash(hash):
		return sluice.Invalid(field, "must be 16 hex digits")
	}
	parent, err := r.ScriptByHash(workspace, hash)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return sluice.Invalid(field, NoHash, hash, workspace)
	case err != nil:
		return err
	case parent.Path != body.Path:
		return sluice.Invalid(field, "is a version of %s, not of %s; archive the one and push the other without it", parent.Path, body.Path)
	}
	return &sluice.Error{Code: sluice.CodeConflict, Field: field, Message: fmt.Sprintf(
		"%s is not the newest version of %s any more, %s by %s is; look at it and push again", hash, body.Path, newest.Hash, newest.CreatedBy)}
}

func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 8
}

// bookkeeping are fields of a push that say how to save, not what.
var bookkeeping = []string{"parent_hash", "deployment_message", "skip_draft_deletion", "auto_parent", "preserve_on_behalf_of", "apply_limits_to_waiting"}

// sameSettings reports whether two pushes ask for the same script.
func sameSettings(a, b json.RawMessage) bool {
	return normalSettings(a) == normalSettings(b)
}

func normalSettings(raw json.RawMessage) string {
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // as they were sent, not as a float holds them
	if dec.Decode(&m) != nil {
		return string(raw)
	}
	for _, k := range bookkeeping {
		delete(m, k)
	}
	for k, v := range m {
		if v == nil {
			delete(m, k)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return string(raw)
	}
	return string(b)
}

// applyToWaiting gives the jobs of a path and of some kinds that wait already a
// new limit. Their keys stay, and so do jobs that were pushed without a limit.
func (e *Engine) applyToWaiting(tx store.Tx, workspace, path string, l limit.Limit, kinds ...sluice.Kind) error {
	const chunk = 1000
	u := e.unit(tx)
	for after := int64(0); ; {
		jobs, err := tx.WaitingOf(workspace, path, after, chunk)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			after = j.Seq
			if j.Limit == nil || !slices.Contains(kinds, j.Kind) {
				continue
			}
			g, ln, err := u.openJob(j)
			if err != nil {
				return err
			}
			j.Limit = &l
			if err := tx.SaveJob(j); err != nil {
				return err
			}
			if g != nil { // else its key is not known yet
				g.MaxWindow = max(g.MaxWindow, l.Window)
				g.changed = true
			}
			u.touch(ln)
			ln.heads, ln.stale = nil, true
		}
		if len(jobs) < chunk {
			return u.settle()
		}
	}
}

func needWorkspace(r store.Reader, id string) error {
	_, err := r.Workspace(id)
	if errors.Is(err, store.ErrNotFound) {
		return sluice.Errorf(sluice.CodeNotFound, "there is no workspace %q", id)
	}
	return err
}

// Script returns the newest version at a path, archived or not.
func (e *Engine) Script(ctx context.Context, workspace, path string) (*store.Script, error) {
	return view(ctx, e, func(r store.Reader) (*store.Script, error) {
		s, err := r.Script(workspace, path)
		return s, notFound(err, "there is no script %s in workspace %s", path, workspace)
	})
}

// ScriptByHash returns one version.
func (e *Engine) ScriptByHash(ctx context.Context, workspace, hash string) (*store.Script, error) {
	return view(ctx, e, func(r store.Reader) (*store.Script, error) {
		s, err := r.ScriptByHash(workspace, hash)
		return s, notFound(err, NoHash, hash, workspace)
	})
}

// Scripts lists newest versions.
func (e *Engine) Scripts(ctx context.Context, f store.ScriptFilter) ([]*store.Script, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.Script, error) { return r.Scripts(f) })
}

// ScriptVersions lists the versions at a path, newest first.
func (e *Engine) ScriptVersions(ctx context.Context, workspace, path string) ([]*store.Script, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.Script, error) { return r.ScriptVersions(workspace, path) })
}

// ArchiveScript archives the script at a path. Jobs of it that wait still run,
// those that find its dependencies too.
func (e *Engine) ArchiveScript(ctx context.Context, workspace, path string) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		s, err := tx.Script(workspace, path)
		if err != nil || s.Deleted {
			return notFound(orGone(err), "there is no script %s in workspace %s", path, workspace)
		}
		s.Archived = true
		return tx.SaveScript(s)
	})
}

// ArchiveScriptHash archives one version, and returns it. Jobs of it that wait
// still run.
func (e *Engine) ArchiveScriptHash(ctx context.Context, workspace, hash string) (*store.Script, error) {
	var s *store.Script
	err := e.store.Update(ctx, func(tx store.Tx) (err error) {
		if s, err = tx.ScriptByHash(workspace, hash); err != nil {
			return notFound(err, NoHash, hash, workspace)
		}
		s.Archived = true
		return tx.SaveScript(s)
	})
	return s, err
}

// DeleteScript erases the code and the settings of all versions at a path.
// Jobs of it that wait fail with ScriptNotFound.
func (e *Engine) DeleteScript(ctx context.Context, workspace, path string) error {
	err := e.store.Update(ctx, func(tx store.Tx) error {
		n, err := tx.EraseScripts(workspace, path, "")
		if err == nil && n == 0 {
			err = sluice.Errorf(sluice.CodeNotFound, "there is no script %s in workspace %s", path, workspace)
		}
		if err != nil {
			return err
		}
		return tx.DropGrants(workspace, store.KindScript, path)
	})
	e.scripts.clear()
	return err
}

// DeleteScriptHash erases the code and the settings of one version, and
// returns what is left of it. Jobs of it that wait fail with ScriptNotFound.
func (e *Engine) DeleteScriptHash(ctx context.Context, workspace, hash string) (*store.Script, error) {
	var s *store.Script
	err := e.store.Update(ctx, func(tx store.Tx) (err error) {
		if s, err = tx.ScriptByHash(workspace, hash); err != nil {
			return notFound(err, NoHash, hash, workspace)
		}
		if _, err = tx.EraseScripts(workspace, s.Path, hash); err != nil {
			return err
		}
		s, err = tx.ScriptByHash(workspace, hash)
		return err
	})
	e.scripts.clear()
	return s, err
}

func orGone(err error) error {
	if err == nil {
		return store.ErrNotFound
	}
	return err
}

func notFound(err error, format string, args ...any) error {
	if errors.Is(err, store.ErrNotFound) {
		return sluice.Errorf(sluice.CodeNotFound, format, args...)
	}
	return err
}

// seconds turns a number of seconds into a duration.
func seconds(s *float64) time.Duration {
	if s == nil {
		return 0
	}
	return time.Duration(*s * float64(time.Second))
}
