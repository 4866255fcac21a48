package postgres

import (
	"encoding/json"
	"fmt"
	"time"

	"sluice"
	"sluice/internal/store"
)

const userCols = `account.email, account.username, account.password, account.super_admin, account.disabled, account.created_us`

func scanUser(r *row) store.User {
	return store.User{
		Email: r.getStr(), Username: r.getStr(), Password: r.getStr(), SuperAdmin: r.getBool(), Disabled: r.getBool(), CreatedAt: r.getAt(),
	}
}

func (r *reader) user(where, value string) (*store.User, error) {
	var u store.User
	err := r.single(func(w *row) { u = scanUser(w) }, `SELECT `+userCols+` FROM account WHERE `+where, value)
	return &u, err
}

// User implements [store.Reader].
func (r *reader) User(email string) (*store.User, error) { return r.user(`email = $1::text`, email) }

// UserNamed implements [store.Reader].
func (r *reader) UserNamed(username string) (*store.User, error) {
	return r.user(`username = $1::text`, username)
}

// Users implements [store.Reader].
func (r *reader) Users(after string, most int) (list []*store.User, err error) {
	err = r.rows(func(w *row) {
		u := scanUser(w)
		list = append(list, &u)
	}, `SELECT `+userCols+` FROM account WHERE email > $1::text ORDER BY email LIMIT $2::bigint`, after, int64(most))
	return list, err
}

// InsertUser implements [store.Tx].
func (t *tx) InsertUser(u *store.User) error {
	return t.insert(`INSERT INTO account (email, username, password, super_admin, disabled, created_us) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING`, u.Email, u.Username, u.Password, u.SuperAdmin, u.Disabled, micros(u.CreatedAt))
}

// SaveUser implements [store.Tx].
func (t *tx) SaveUser(u *store.User) error {
	return found(t.exec(`UPDATE account SET password = $1, super_admin = $2, disabled = $3 WHERE email = $4`,
		u.Password, u.SuperAdmin, u.Disabled, u.Email))
}

// DeleteUser implements [store.Tx].
func (t *tx) DeleteUser(email string) error {
	return found(t.exec(`WITH m AS (DELETE FROM member WHERE email = $1::text), k AS (DELETE FROM token WHERE email = $1::text),
g AS (DELETE FROM usergroup_member WHERE email = $1::text)
DELETE FROM account WHERE email = $1::text`, email))
}

func (r *reader) members(where, value string) (list []*store.Member, err error) {
	err = r.rows(func(w *row) {
		list = append(list, &store.Member{Workspace: w.getStr(), Role: sluice.Role(w.getStr()), Since: w.getAt(), User: scanUser(w)})
	}, `SELECT member.workspace, member.role, member.since_us, `+userCols+` FROM member JOIN account ON account.email = member.email WHERE `+where, value)
	return list, err
}

// Members implements [store.Reader].
func (r *reader) Members(workspace string) ([]*store.Member, error) {
	return r.members(`member.workspace = $1::text ORDER BY account.username`, workspace)
}

// Memberships implements [store.Reader].
func (r *reader) Memberships(email string) ([]*store.Member, error) {
	return r.members(`member.email = $1::text ORDER BY member.workspace`, email)
}

// SaveMember implements [store.Tx].
func (t *tx) SaveMember(m *store.Member) error {
	_, err := t.exec(`INSERT INTO member (workspace, email, role, since_us) VALUES ($1, $2, $3, $4)
ON CONFLICT (workspace, email) DO UPDATE SET role = excluded.role`, m.Workspace, m.Email, string(m.Role), micros(m.Since))
	return err
}

// DeleteMember implements [store.Tx].
func (t *tx) DeleteMember(workspace, email string) error {
	return found(t.exec(`WITH g AS (DELETE FROM usergroup_member WHERE workspace = $1::text AND email = $2::text)
DELETE FROM member WHERE workspace = $1::text AND email = $2::text`, workspace, email))
}

func (r *reader) tokens(where string, value any) (list []*store.Token, err error) {
	var bad error
	err = r.rows(func(w *row) {
		k := &store.Token{
			Hash: w.getStr(), Prefix: w.getStr(), Email: w.getStr(), Label: w.getStr(), Session: w.getBool(), Workspace: w.getStr(),
		}
		if scopes := w.getText(); scopes != nil {
			if e := json.Unmarshal([]byte(*scopes), &k.Scopes); e != nil {
				bad = fmt.Errorf("postgres: scopes of token %s: %w", k.Prefix, e)
			}
		}
		k.CreatedAt, k.ExpiresAt, k.UsedAt = w.getAt(), w.getAt(), w.getAt()
		list = append(list, k)
	}, `SELECT hash, prefix, email, label, session, workspace, scopes, created_us, expires_us, used_us FROM token WHERE `+where, value)
	if err == nil {
		err = bad
	}
	return list, err
}

// Token implements [store.Reader].
func (r *reader) Token(hash string) (*store.Token, error) {
	list, err := r.tokens(`hash = $1::bytea`, raw(hash))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return list[0], nil
}

// TokensOf implements [store.Reader].
func (r *reader) TokensOf(email string) ([]*store.Token, error) {
	return r.tokens(`email = $1::text ORDER BY created_us DESC, hash DESC`, email)
}

// InsertToken implements [store.Tx].
func (t *tx) InsertToken(k *store.Token) error {
	var scopes *string
	if k.Scopes != nil {
		text, err := json.Marshal(k.Scopes)
		if err != nil {
			return err
		}
		s := string(text)
		scopes = &s
	}
	return t.insert(`INSERT INTO token (hash, prefix, email, label, session, workspace, scopes, created_us, expires_us, used_us)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`, raw(k.Hash), k.Prefix, k.Email, raw(k.Label), k.Session,
		k.Workspace, scopes, micros(k.CreatedAt), micros(k.ExpiresAt), micros(k.UsedAt))
}

// UseToken implements [store.Tx].
func (t *tx) UseToken(hash string, at time.Time) error {
	_, err := t.exec(`UPDATE token SET used_us = $2::bigint WHERE hash = $1::bytea AND used_us < $2::bigint`, raw(hash), micros(at))
	return err
}

// DeleteToken implements [store.Tx].
func (t *tx) DeleteToken(hash string) error {
	return found(t.exec(`DELETE FROM token WHERE hash = $1`, raw(hash)))
}

// DeleteSessions implements [store.Tx].
func (t *tx) DeleteSessions(email string) error {
	_, err := t.exec(`DELETE FROM token WHERE email = $1 AND session`, email)
	return err
}

// DeleteTokens implements [store.Tx].
func (t *tx) DeleteTokens(expired time.Time, most int) (int, error) {
	return t.exec(`DELETE FROM token WHERE hash IN (SELECT hash FROM token WHERE expires_us > 0 AND expires_us <= $1::bigint
ORDER BY expires_us LIMIT $2::bigint FOR UPDATE SKIP LOCKED)`, micros(expired), int64(most))
}

// ArchiveWorkspace implements [store.Tx].
func (t *tx) ArchiveWorkspace(id string, archived bool) error {
	return found(t.exec(`UPDATE workspace SET archived = $1 WHERE id = $2`, archived, id))
}

const qAddAudit = `INSERT INTO audit (at_us, workspace, username, email, operation, kind, resource, address, token, parameters)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`

// AddAudit implements [store.Tx].
func (t *tx) AddAudit(e *store.AuditEntry) error {
	t.write()
	return t.single(func(r *row) { e.ID = r.getInt() }, qAddAudit, micros(e.At), e.Workspace, e.Username, e.Email, e.Operation, e.Kind,
		raw(e.Resource), e.Address, e.Token, raw(string(e.Parameters)))
}

// DeleteAudit implements [store.Tx].
func (t *tx) DeleteAudit(before time.Time, most int) (int, error) {
	return t.exec(`DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at_us < $1::bigint ORDER BY at_us LIMIT $2::bigint FOR UPDATE SKIP LOCKED)`,
		micros(before), int64(most))
}

// AuditEntries implements [store.Reader].
func (r *reader) AuditEntries(f store.AuditFilter) (list []*store.AuditEntry, err error) {
	w := &where{}
	if f.Workspace != nil {
		w.add("workspace = ?::text", *f.Workspace)
	}
	w.text("username", f.Username)
	w.text("operation", f.Operation)
	w.text("kind", f.Kind)
	if f.Resource != "" {
		w.add("resource = ?::bytea", raw(f.Resource))
	}
	w.instant("at_us >= ?::bigint", f.After)
	w.instant("at_us <= ?::bigint", f.Before)
	err = r.rows(func(w *row) {
		list = append(list, &store.AuditEntry{
			ID: w.getInt(), At: w.getAt(), Workspace: w.getStr(), Username: w.getStr(), Email: w.getStr(), Operation: w.getStr(),
			Kind: w.getStr(), Resource: w.getStr(), Address: w.getStr(), Token: w.getStr(), Parameters: w.getBytes(),
		})
	}, `SELECT id, at_us, workspace, username, email, operation, kind, resource, address, token, parameters FROM audit`+w.String()+
		` ORDER BY id DESC LIMIT `+w.bind("?::bigint", orDefault(f.Limit))+` OFFSET `+w.bind("?::bigint", int64(f.Offset)), w.args...)
	return list, err
}
