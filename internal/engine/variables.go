package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice"
	"sluice/internal/store"
	"sluice/internal/vault"
)

// Bounds on variables and resources.
const (
	MaxVariableBytes = 64 << 10 // of one value
	MaxResourceBytes = 1 << 20  // of one value
	MaxVariables     = 5_000    // of one workspace, so that their key can be changed in one transaction
	MaxResources     = 20_000   // of one workspace
	maxDescription   = 10_000   // bytes
)

// VariableChange says what becomes of a variable; nil leaves a field as it is.
type VariableChange struct {
	Path        *string // another one: it moves there
	Value       *string
	Secret      *bool
	Description *string
	Sealed      bool // Value is what [Engine.SealedText] returned for it
}

var errNoKey = &sluice.Error{
	Code: sluice.CodeInvalid, Field: "is_secret",
	Message: "this server has no key for secrets; start it with --key-file or SLUICE_KEY",
}

// keyOf unwraps the key of a workspace.
func (e *Engine) keyOf(k *store.WorkspaceKey) (*vault.Key, error) {
	m := e.o.Keys.Named(k.Master)
	if m == nil {
		return nil, sluice.Errorf(sluice.CodeConflict,
			"the secrets of workspace %s need the master key named %s, which this server does not have; start it with --key-file, --previous-key-file or SLUICE_KEY", k.Workspace, k.Master)
	}
	key, err := m.Unwrap(k.Workspace, k.ID, k.Wrapped)
	if err != nil {
		return nil, &sluice.Error{
			Code: sluice.CodeConflict, Err: fmt.Errorf("unwrap key %d of workspace %s: %w", k.ID, k.Workspace, err),
			Message: "the key of workspace " + k.Workspace + " cannot be opened: the database was changed by other hands",
		}
	}
	return key, nil
}

// lockKey locks the key of a workspace; the first secret makes it. With no key
// that could wrap it the error names is_secret.
func (e *Engine) lockKey(tx store.Tx, workspace string) (*vault.Key, error) {
	row, err := tx.LockWorkspaceKey(workspace)
	if err == nil {
		return e.keyOf(row)
	}
	m := e.o.Keys.Wraps()
	if m == nil || !errors.Is(err, store.ErrNotFound) {
		if errors.Is(err, store.ErrNotFound) {
			err = errNoKey
		}
		return nil, err
	}
	key, err := vault.NewKey(workspace, 1)
	if err != nil {
		return nil, err
	}
	wrapped, err := m.Wrap(key)
	if err != nil {
		return nil, err
	}
	err = tx.InsertWorkspaceKey(&store.WorkspaceKey{Workspace: workspace, ID: key.ID(), CreatedAt: tx.Now(), Master: m.ID(), Wrapped: wrapped})
	if errors.Is(err, store.ErrExists) { // another server was first
		if row, err = tx.LockWorkspaceKey(workspace); err == nil {
			return e.keyOf(row)
		}
	}
	return key, err
}

// reveal returns the value of a variable that was read. A secret that does not
// open is an error of code conflict: whoever asks for it fails, and nobody else.
func (e *Engine) reveal(r store.Reader, v *store.Variable) (string, error) {
	for range 3 {
		if !v.Secret() {
			return string(v.Value), nil
		}
		row, err := r.WorkspaceKey(v.Workspace)
		if errors.Is(err, store.ErrNotFound) {
			return "", damaged(v, errors.New("the workspace has no key"))
		} else if err != nil {
			return "", err
		}
		if row.ID == v.KeyID {
			key, err := e.keyOf(row)
			if err != nil {
				return "", err
			}
			plain, err := key.Open(v.Path, v.Value)
			if err != nil {
				return "", damaged(v, err)
			}
			return string(plain), nil
		}
		// The key was changed between the two reads.
		if v, err = r.Variable(v.Workspace, v.Path); err != nil {
			return "", notFound(err, "the variable was deleted")
		}
	}
	return "", damaged(v, fmt.Errorf("it is sealed under key %d, which is not the workspace's", v.KeyID))
}

// damaged says that a secret does not open.
func damaged(v *store.Variable, err error) error {
	return &sluice.Error{
		Code: sluice.CodeConflict, Err: fmt.Errorf("open the secret %s of workspace %s: %w", v.Path, v.Workspace, err),
		Message: "the secret " + v.Path + " of workspace " + v.Workspace + " cannot be opened: the database was changed by other hands; save it again",
	}
}

func checkDescription(d string) error {
	switch {
	case len(d) > maxDescription:
		return sluice.Invalid("description", "has %d bytes; at most %d are allowed", len(d), maxDescription)
	case !utf8.ValidString(d):
		return sluice.Invalid("description", "must be UTF-8")
	}
	return nil
}

func (c *VariableChange) check() error {
	if c.Path != nil {
		if err := checkPath("path", *c.Path); err != nil {
			return err
		}
	}
	if c.Value != nil {
		if !utf8.ValidString(*c.Value) {
			return sluice.Invalid("value", "must be UTF-8")
		}
	}
	if c.Description != nil {
		return checkDescription(*c.Description)
	}
	return nil
}

// CreateVariable saves a new variable. Path and Value are required. Conflict:
// there is one at its path.
func (e *Engine) CreateVariable(ctx context.Context, workspace string, c VariableChange, by Who) error {
	switch {
	case c.Path == nil:
		return sluice.Invalid("path", "is required")
	case c.Value == nil:
		return sluice.Invalid("value", "is required")
	}
	if err := c.check(); err != nil {
		return err
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
		if err := needWorkspace(tx, workspace); err != nil {
			return err
		}
		if err := by.put(tx, workspace, store.KindVariable, *c.Path); err != nil {
			return err
		}
		n, err := tx.CountVariables(workspace)
		if err != nil {
			return err
		}
		if n >= MaxVariables {
			return sluice.Errorf(sluice.CodeConflict, "workspace %s has %d variables, which is the most; delete some first", workspace, n)
		}
		v := &store.Variable{Workspace: workspace, Path: *c.Path, CreatedBy: by.Username}
		if err := e.apply(tx, v, c, by); err != nil {
			return err
		}
		return takenAt("variable", v.Path, tx.InsertVariable(v))
	})
}

// takenAt says that there is something at a path already.
func takenAt(what, path string, err error) error {
	if errors.Is(err, store.ErrExists) {
		return &sluice.Error{Code: sluice.CodeConflict, Field: "path", Message: "there is a " + what + " at " + path + " already; update it"}
	}
	return err
}

// apply changes a variable that is not saved yet.
func (e *Engine) apply(tx store.Tx, v *store.Variable, c VariableChange, by Who) error {
	secret := v.Secret()
	if c.Secret != nil {
		secret = *c.Secret
	}
	v.EditedBy, v.EditedAt = by.Username, tx.Now()
	if c.Description != nil {
		v.Description = *c.Description
	}
	path := v.Path
	if c.Path != nil {
		path = *c.Path
	}
	if c.Value == nil && secret == v.Secret() && path == v.Path {
		return nil
	}
	if v.Secret() && !secret && c.Value == nil {
		return sluice.Invalid("is_secret", "a secret becomes readable together with a new value only")
	}
	value := v.Value
	if c.Value != nil {
		value = []byte(*c.Value)
	}
	if n := len(value); n > MaxVariableBytes && (!secret || !c.Sealed) { // openText sees to what is sealed
		return sluice.Invalid("value", "has %d bytes; at most %d are allowed", n, MaxVariableBytes)
	}
	if !secret {
		v.Path, v.KeyID, v.Value = path, 0, value
		return nil
	}
	key, err := e.lockKey(tx, v.Workspace)
	if err != nil {
		return err
	}
	switch {
	case c.Value != nil && c.Sealed:
		if _, err := openText(key, path, *c.Value); err != nil {
			return err
		}
		_, sealed, _ := readSealed(*c.Value)
		v.Path, v.KeyID, v.Value = path, key.ID(), sealed // as it was, so that nothing seems to have changed
		return nil
	case c.Value == nil && v.Secret():
		if value, err = key.Open(v.Path, v.Value); err != nil {
			return damaged(v, err)
		}
	}
	v.Path, v.KeyID, v.Value = path, key.ID(), key.Seal(path, value)
	return nil
}

// SealedText returns a secret's value as it is stored, for files: it can be
// given back to its own workspace and path, until the workspace's key is
// changed. It tells nothing of the secret but its length. "" of what is no secret.
func (e *Engine) SealedText(v *store.Variable) string {
	if !v.Secret() {
		return ""
	}
	return strconv.FormatInt(v.KeyID, 10) + ":" + base64.StdEncoding.EncodeToString(v.Value)
}

func readSealed(text string) (id int64, sealed []byte, err error) {
	number, rest, _ := strings.Cut(text, ":")
	id, err = strconv.ParseInt(number, 10, 64)
	if err == nil {
		sealed, err = base64.StdEncoding.DecodeString(rest)
	}
	return id, sealed, err
}

// openText opens what SealedText returned.
func openText(key *vault.Key, path, text string) ([]byte, error) {
	id, sealed, err := readSealed(text)
	if err != nil {
		return nil, sluice.Invalid("value", "is said to be encrypted already, and is not as this server encrypts; send it as it is, with already_encrypted=false (wmill: --plain-secrets)")
	}
	if id != key.ID() {
		return nil, sluice.Invalid("value", "was encrypted under key %d of the workspace, which was changed since; pull it again", id)
	}
	plain, err := key.Open(path, sealed)
	if err != nil {
		return nil, sluice.Invalid("value", "was not encrypted by this workspace for the path %s; send it as it is, with already_encrypted=false (wmill: --plain-secrets)", path)
	}
	return plain, nil
}

// holdKey locks the key of a workspace, if it has one. Whoever changes or
// deletes a variable does that first: a change of the key goes through all
// secrets, and none may come, go or change meanwhile.
func holdKey(tx store.Tx, workspace string) error {
	_, err := tx.LockWorkspaceKey(workspace)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// UpdateVariable changes a variable. NotFound: there is none at the path.
func (e *Engine) UpdateVariable(ctx context.Context, workspace, path string, c VariableChange, by Who) error {
	if err := c.check(); err != nil {
		return err
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
		if err := by.change(tx, workspace, store.KindVariable, path, c.Path, store.RightWrite); err != nil {
			return err
		}
		if err := holdKey(tx, workspace); err != nil {
			return err
		}
		v, err := tx.LockVariable(workspace, path)
		if err != nil {
			return notFound(err, "there is no variable %s", path)
		}
		if err := e.apply(tx, v, c, by); err != nil {
			return err
		}
		if v.Path == path {
			return tx.SaveVariable(v)
		}
		if err := tx.DeleteVariable(workspace, path); err != nil {
			return err
		}
		if err := tx.MoveGrants(workspace, store.KindVariable, path, v.Path); err != nil {
			return err
		}
		return takenAt("variable", v.Path, tx.InsertVariable(v))
	})
}

// DeleteVariable deletes a variable. NotFound: there is none.
func (e *Engine) DeleteVariable(ctx context.Context, workspace, path string, by Who) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		if err := by.allow(tx, workspace, store.KindVariable, path, store.RightWrite); err != nil {
			return err
		}
		if err := holdKey(tx, workspace); err != nil {
			return err
		}
		if err := notFound(tx.DeleteVariable(workspace, path), "there is no variable %s", path); err != nil {
			return err
		}
		return tx.DropGrants(workspace, store.KindVariable, path)
	})
}

// Variable returns a variable as it is stored: the value of a secret is sealed.
func (e *Engine) Variable(ctx context.Context, workspace, path string, by Who) (*store.Variable, error) {
	v, err := view(ctx, e, func(r store.Reader) (*store.Variable, error) {
		if err := by.allow(r, workspace, store.KindVariable, path, store.RightRead); err != nil {
			return nil, err
		}
		return r.Variable(workspace, path)
	})
	return v, notFound(err, "there is no variable %s", path)
}

// VariableValue returns a variable and its value, that of a secret, too.
func (e *Engine) VariableValue(ctx context.Context, workspace, path string, by Who) (v *store.Variable, value string, err error) {
	err = e.store.View(ctx, func(r store.Reader) error {
		if err = by.allow(r, workspace, store.KindVariable, path, store.RightRead); err != nil {
			return err
		}
		if v, err = r.Variable(workspace, path); err == nil {
			value, err = e.reveal(r, v)
		}
		return err
	})
	if err != nil {
		return v, value, notFound(err, "there is no variable %s", path)
	}
	if v.Secret() {
		err = e.giveSecrets(ctx, by.Execution, value)
	}
	return v, value, err
}

// Variables lists the variables that somebody may see, as they are stored.
func (e *Engine) Variables(ctx context.Context, f store.VariableFilter, by Who) ([]*store.Variable, error) {
	f.Sight = by.Sight()
	return view(ctx, e, func(r store.Reader) ([]*store.Variable, error) { return r.Variables(f) })
}

// seen lists what is kept of a list, page by page.
func seen[T any](ctx context.Context, e *Engine, f store.VariableFilter, list func(store.Reader, store.VariableFilter) ([]T, error), keep func(T) bool) ([]T, error) {
	const piece = 100 // values may be large
	most, skip := f.Limit, f.Offset
	if most == 0 {
		most = 1000
	}
	return view(ctx, e, func(r store.Reader) (out []T, err error) {
		left := skip // it may be read more than once
		for f.Offset, f.Limit = 0, piece; ; f.Offset += piece {
			rows, err := list(r, f)
			if err != nil {
				return nil, err
			}
			for _, row := range rows {
				if !keep(row) {
					continue
				}
				if left--; left < 0 {
					out = append(out, row)
				}
				if len(out) == most {
					return out, nil
				}
			}
			if len(rows) < piece {
				return out, nil
			}
		}
	})
}

// resourceType is the form of the name of a resource type.
var resourceType = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)
