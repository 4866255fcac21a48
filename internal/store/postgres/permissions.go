package postgres

import (
	"sluice"
	"sluice/internal/store"
)

// Grants implements [store.Reader].
func (r *reader) Grants(workspace, kind string, paths ...string) (map[string][]store.Grant, error) {
	out := map[string][]store.Grant{}
	if len(paths) == 0 {
		return out, nil
	}
	err := r.rows(func(w *row) {
		path := w.getStr()
		out[path] = append(out[path], store.Grant{Who: w.getStr(), Right: store.Right(w.getInt())})
	}, `SELECT path, who, level::bigint FROM acl WHERE workspace = $1::text AND kind = $2::text AND path = ANY($3::text[]) ORDER BY path, who`, workspace, kind, paths)
	return out, err
}

// Granted implements [store.Reader].
func (r *reader) Granted(workspace, kind string, names []string) (map[string]store.Right, error) {
	out := map[string]store.Right{}
	err := r.rows(func(w *row) {
		path := w.getStr()
		out[path] = store.Right(w.getInt())
	}, `SELECT path, max(level)::bigint FROM acl WHERE workspace = $1::text AND kind = $2::text AND who = ANY($3::text[]) GROUP BY path`, workspace, kind, names)
	return out, err
}

// SetGrant implements [store.Tx].
func (t *tx) SetGrant(workspace, kind, path string, g store.Grant) (err error) {
	if g.Right == store.RightNone {
		_, err = t.exec(`DELETE FROM acl WHERE workspace = $1 AND kind = $2 AND path = $3 AND who = $4`, workspace, kind, path, g.Who)
		return err
	}
	_, err = t.exec(`INSERT INTO acl (workspace, kind, path, who, level) VALUES ($1, $2, $3, $4, $5::bigint)
ON CONFLICT (workspace, kind, path, who) DO UPDATE SET level = excluded.level`, workspace, kind, path, g.Who, int64(g.Right))
	return err
}

// DropGrants implements [store.Tx].
func (t *tx) DropGrants(workspace, kind, path string) error {
	_, err := t.exec(`DELETE FROM acl WHERE workspace = $1 AND kind = $2 AND path = $3`, workspace, kind, path)
	return err
}

// MoveGrants implements [store.Tx].
func (t *tx) MoveGrants(workspace, kind, from, to string) error {
	if err := t.DropGrants(workspace, kind, to); err != nil {
		return err
	}
	_, err := t.exec(`UPDATE acl SET path = $4 WHERE workspace = $1 AND kind = $2 AND path = $3`, workspace, kind, from, to)
	return err
}

// DropGrantee implements [store.Tx].
func (t *tx) DropGrantee(workspace, who string) error {
	_, err := t.exec(`DELETE FROM acl WHERE workspace = $1 AND who = $2`, workspace, who)
	return err
}

// userGroups returns groups; of name "": all.
func (r *reader) userGroups(workspace, name string) (list []*store.UserGroup, err error) {
	var last *store.UserGroup
	err = r.rows(func(w *row) {
		g := &store.UserGroup{Workspace: workspace, Name: w.getStr(), Summary: w.getStr()}
		if last == nil || last.Name != g.Name {
			list, last = append(list, g), g
		}
		if member := w.getStr(); member != "" {
			last.Members = append(last.Members, member)
		}
	}, `SELECT g.name, g.summary, coalesce(account.username, '') FROM usergroup AS g
LEFT JOIN usergroup_member AS m ON m.workspace = g.workspace AND m.name = g.name LEFT JOIN account ON account.email = m.email
WHERE g.workspace = $1::text AND ($2::text = '' OR g.name = $2::text) ORDER BY g.name, account.username`, workspace, name)
	return list, err
}

// UserGroup implements [store.Reader].
func (r *reader) UserGroup(workspace, name string) (*store.UserGroup, error) {
	if name == "" {
		return nil, store.ErrNotFound
	}
	return first(r.userGroups(workspace, name))
}

// UserGroups implements [store.Reader].
func (r *reader) UserGroups(workspace string) ([]*store.UserGroup, error) {
	return r.userGroups(workspace, "")
}

// GroupsOf implements [store.Reader].
func (r *reader) GroupsOf(workspace, email string) (names []string, err error) {
	err = r.rows(func(w *row) { names = append(names, w.getStr()) },
		`SELECT name FROM usergroup_member WHERE email = $1::text AND workspace = $2::text ORDER BY name`, email, workspace)
	return names, err
}

// InsertUserGroup implements [store.Tx].
func (t *tx) InsertUserGroup(g *store.UserGroup) error {
	return t.insert(`INSERT INTO usergroup (workspace, name, summary) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, g.Workspace, g.Name, g.Summary)
}

// SaveUserGroup implements [store.Tx].
func (t *tx) SaveUserGroup(g *store.UserGroup) error {
	return found(t.exec(`UPDATE usergroup SET summary = $3 WHERE workspace = $1 AND name = $2`, g.Workspace, g.Name, g.Summary))
}

// DeleteUserGroup implements [store.Tx].
func (t *tx) DeleteUserGroup(workspace, name string) error {
	return found(t.exec(`WITH m AS (DELETE FROM usergroup_member WHERE workspace = $1::text AND name = $2::text)
DELETE FROM usergroup WHERE workspace = $1::text AND name = $2::text`, workspace, name))
}

// JoinGroup implements [store.Tx].
func (t *tx) JoinGroup(workspace, name, email string) error {
	_, err := t.exec(`INSERT INTO usergroup_member (workspace, name, email) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, workspace, name, email)
	return err
}

// LeaveGroup implements [store.Tx].
func (t *tx) LeaveGroup(workspace, name, email string) error {
	return found(t.exec(`DELETE FROM usergroup_member WHERE workspace = $1 AND name = $2 AND email = $3`, workspace, name, email))
}

// seen is the condition of what somebody may see: of things of a kind with a
// path, in a table. It has two question marks, for the values of a sight.
func seen(table, kind, path string) string {
	of := table + ".path"
	return "left(" + of + ", 2) NOT IN ('u/', 'f/', 'g/') AND " + of + " <> ''" +
		" OR split_part(" + of + ", '/', 1) || '/' || split_part(" + of + ", '/', 2) = ANY(?::text[])" +
		" OR EXISTS (SELECT 1 FROM acl WHERE acl.workspace = " + table + ".workspace AND acl.kind = " + kind + " AND acl.path = " + path +
		" AND acl.who = ANY(?::text[]))"
}

// bySight adds to the condition of a list of things by path that somebody may
// see them; it takes the next two numbers after those of args.
func bySight(table, kind string, v *store.Sight, condition string, args ...any) (string, []any) {
	if v == nil {
		return condition, args
	}
	w := &where{args: args}
	return condition + " AND (" + w.bind(seen(table, "'"+kind+"'", table+".path"), orEmpty(v.Roots), orEmpty(v.Names)) + ")", w.args
}

// sight selects jobs that somebody may see.
func (w *where) sight(v *store.Sight) {
	if v != nil {
		w.add("(job.email = ?::text OR "+seen("job", runKind, runPath)+")", v.Email, orEmpty(v.Roots), orEmpty(v.Names))
	}
}

// orEmpty returns an empty list for none: nothing is ANY of null.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// What a job is a run of: the script or flow that rights were given on.
const (
	runKind = "CASE WHEN job.kind IN ('" + string(sluice.KindFlow) + "', '" + string(sluice.KindFlowPreview) + "', '" +
		string(sluice.KindFlowScript) + "') THEN 'flow' ELSE 'script' END"
	runPath = "CASE WHEN job.kind = '" + string(sluice.KindFlowScript) + "' THEN left(job.path, length(job.path) - length(job.step) - 1) ELSE job.path END"
)
