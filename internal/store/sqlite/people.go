package sqlite

import (
	"encoding/json"
	"fmt"
	"time"

	"sluice"
	"sluice/internal/store"
)

const userCols = `account.email, account.username, account.password, account.super_admin, account.disabled, account.created_us`

var (
	qUser       = sqlText(`SELECT ` + userCols + ` FROM account WHERE email = ?`)
	qUserNamed  = sqlText(`SELECT ` + userCols + ` FROM account WHERE username = ?`)
	qUsers      = sqlText(`SELECT ` + userCols + ` FROM account WHERE email > ? ORDER BY email LIMIT ?`)
	qInsertUser = sqlText(`INSERT INTO account (email, username, password, super_admin, disabled, created_us) VALUES (?, ?, ?, ?, ?, ?)`)
	qSaveUser   = sqlText(`UPDATE account SET password = ?, super_admin = ?, disabled = ? WHERE email = ?`)
	qDropUser   = sqlText(`DELETE FROM account WHERE email = ?`)
)

func readUser(s *stmt) store.User {
	return store.User{
		Email: s.getStr(), Username: s.getStr(), Password: s.getStr(), SuperAdmin: s.getBool(), Disabled: s.getBool(), CreatedAt: s.getAt(),
	}
}

func oneUser(s *stmt) (*store.User, error) {
	var u store.User
	ok, err := s.one(func(s *stmt) { u = readUser(s) })
	if err == nil && !ok {
		err = store.ErrNotFound
	}
	return &u, err
}

// User implements [store.Reader].
func (r *reader) User(email string) (*store.User, error) { return oneUser(r.c.use(qUser).str(email)) }

// UserNamed implements [store.Reader].
func (r *reader) UserNamed(username string) (*store.User, error) {
	return oneUser(r.c.use(qUserNamed).str(username))
}

// Users implements [store.Reader].
func (r *reader) Users(after string, most int) ([]*store.User, error) {
	var list []*store.User
	s := r.c.use(qUsers).str(after).int(int64(most))
	for s.next() {
		u := readUser(s)
		list = append(list, &u)
	}
	return list, s.end()
}

// InsertUser implements [store.Tx].
func (t *tx) InsertUser(u *store.User) error {
	t.wrote = true
	return exists(t.c.use(qInsertUser).str(u.Email).str(u.Username).str(u.Password).bool(u.SuperAdmin).bool(u.Disabled).at(u.CreatedAt).run())
}

// SaveUser implements [store.Tx].
func (t *tx) SaveUser(u *store.User) error {
	t.wrote = true
	return found(t.c.use(qSaveUser).str(u.Password).bool(u.SuperAdmin).bool(u.Disabled).str(u.Email).run())
}

// found turns a change of no row into [store.ErrNotFound].
func found(n int, err error) error {
	if err == nil && n == 0 {
		return store.ErrNotFound
	}
	return err
}

// DeleteUser implements [store.Tx].
func (t *tx) DeleteUser(email string) error {
	t.wrote = true
	for _, q := range []*query{qDropMemberships, qDropTokensOf} {
		if _, err := t.c.use(q).str(email).run(); err != nil {
			return err
		}
	}
	if _, err := t.c.use(qLeaveGroups).str(email).str("").run(); err != nil {
		return err
	}
	return found(t.c.use(qDropUser).str(email).run())
}

const memberCols = `member.workspace, member.role, member.since_us, ` + userCols

var (
	qMembers     = coldText(`SELECT ` + memberCols + ` FROM member JOIN account USING (email) WHERE member.workspace = ? ORDER BY account.username`)
	qMemberships = sqlText(`SELECT ` + memberCols + ` FROM member JOIN account USING (email) WHERE member.email = ? ORDER BY member.workspace`)
	qSaveMember  = sqlText(`INSERT INTO member (workspace, email, role, since_us) VALUES (?, ?, ?, ?)
ON CONFLICT (workspace, email) DO UPDATE SET role = excluded.role`)
	qDropMember      = sqlText(`DELETE FROM member WHERE workspace = ? AND email = ?`)
	qDropMemberships = sqlText(`DELETE FROM member WHERE email = ?`)
)

func members(s *stmt) ([]*store.Member, error) {
	var list []*store.Member
	for s.next() {
		list = append(list, &store.Member{Workspace: s.getStr(), Role: sluice.Role(s.getStr()), Since: s.getAt(), User: readUser(s)})
	}
	return list, s.end()
}

// Members implements [store.Reader].
func (r *reader) Members(workspace string) ([]*store.Member, error) {
	return members(r.c.use(qMembers).str(workspace))
}

// Memberships implements [store.Reader].
func (r *reader) Memberships(email string) ([]*store.Member, error) {
	return members(r.c.use(qMemberships).str(email))
}

// SaveMember implements [store.Tx].
func (t *tx) SaveMember(m *store.Member) error {
	t.wrote = true
	_, err := t.c.use(qSaveMember).str(m.Workspace).str(m.Email).str(string(m.Role)).at(m.Since).run()
	return err
}

// DeleteMember implements [store.Tx].
func (t *tx) DeleteMember(workspace, email string) error {
	t.wrote = true
	if _, err := t.c.use(qLeaveGroups).str(email).str(workspace).run(); err != nil {
		return err
	}
	return found(t.c.use(qDropMember).str(workspace).str(email).run())
}

const tokenCols = `hash, prefix, email, label, session, workspace, scopes, created_us, expires_us, used_us`

var (
	qToken       = sqlText(`SELECT ` + tokenCols + ` FROM token WHERE hash = ?`)
	qTokensOf    = sqlText(`SELECT ` + tokenCols + ` FROM token WHERE email = ? ORDER BY created_us DESC, hash DESC`)
	qInsertToken = sqlText(`INSERT INTO token (` + tokenCols + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	qUseToken    = sqlText(`UPDATE token SET used_us = ?2 WHERE hash = ?1 AND used_us < ?2`)
	qDropToken   = sqlText(`DELETE FROM token WHERE hash = ?`)

	qDropTokensOf = sqlText(`DELETE FROM token WHERE email = ?`)
	qDropSessions = sqlText(`DELETE FROM token WHERE email = ? AND session = 1`)
	qDropExpired  = sqlText(`DELETE FROM token WHERE hash IN (SELECT hash FROM token WHERE expires_us > 0 AND expires_us <= ? ORDER BY expires_us LIMIT ?)`)
)

func tokens(s *stmt) ([]*store.Token, error) {
	var list []*store.Token
	for s.next() {
		k := &store.Token{
			Hash: s.getStr(), Prefix: s.getStr(), Email: s.getStr(), Label: s.getStr(), Session: s.getBool(), Workspace: s.getStr(),
		}
		if text := s.raw(); text != nil {
			if err := json.Unmarshal(text, &k.Scopes); err != nil {
				_ = s.end()
				return nil, fmt.Errorf("sqlite: scopes of token %s: %w", k.Prefix, err)
			}
		}
		k.CreatedAt, k.ExpiresAt, k.UsedAt = s.getAt(), s.getAt(), s.getAt()
		list = append(list, k)
	}
	return list, s.end()
}

// Token implements [store.Reader].
func (r *reader) Token(hash string) (*store.Token, error) {
	list, err := tokens(r.c.use(qToken).blob(hash))
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
	return tokens(r.c.use(qTokensOf).str(email))
}

// InsertToken implements [store.Tx].
func (t *tx) InsertToken(k *store.Token) error {
	t.wrote = true
	s := t.c.use(qInsertToken).blob(k.Hash).str(k.Prefix).str(k.Email).str(k.Label).bool(k.Session).str(k.Workspace)
	if k.Scopes == nil {
		s.null()
	} else {
		text, err := json.Marshal(k.Scopes)
		if err != nil {
			_ = s.end()
			return err
		}
		s.str(string(text))
	}
	return exists(s.at(k.CreatedAt).at(k.ExpiresAt).at(k.UsedAt).run())
}

// UseToken implements [store.Tx].
func (t *tx) UseToken(hash string, at time.Time) error {
	t.wrote = true
	_, err := t.c.use(qUseToken).blob(hash).at(at).run()
	return err
}

// DeleteToken implements [store.Tx].
func (t *tx) DeleteToken(hash string) error {
	t.wrote = true
	return found(t.c.use(qDropToken).blob(hash).run())
}

// DeleteSessions implements [store.Tx].
func (t *tx) DeleteSessions(email string) error {
	t.wrote = true
	_, err := t.c.use(qDropSessions).str(email).run()
	return err
}

// DeleteTokens implements [store.Tx].
func (t *tx) DeleteTokens(expired time.Time, most int) (int, error) {
	n, err := t.c.use(qDropExpired).at(expired).int(int64(most)).run()
	t.wrote = t.wrote || n > 0
	return n, err
}

var qArchiveWorkspace = sqlText(`UPDATE workspace SET archived = ? WHERE id = ?`)

// ArchiveWorkspace implements [store.Tx].
func (t *tx) ArchiveWorkspace(id string, archived bool) error {
	t.wrote = true
	return found(t.c.use(qArchiveWorkspace).bool(archived).str(id).run())
}
