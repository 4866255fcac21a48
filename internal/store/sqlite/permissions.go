package sqlite

import (
	"encoding/json"
	"strings"

	"sluice"
	"sluice/internal/store"
)

var (
	qGrants = coldText(`SELECT path, who, level FROM acl WHERE workspace = ? AND kind = ? AND path IN (SELECT value FROM json_each(?))
ORDER BY path, who`)
	qGranted = coldText(`SELECT path, max(level) FROM acl WHERE workspace = ? AND kind = ? AND who IN (SELECT value FROM json_each(?))
GROUP BY path`)
	qSetGrant = sqlText(`INSERT INTO acl (workspace, kind, path, who, level) VALUES (?,?,?,?,?)
ON CONFLICT DO UPDATE SET level = excluded.level`)
	qDropGrant   = sqlText(`DELETE FROM acl WHERE workspace = ? AND kind = ? AND path = ? AND who = ?`)
	qDropGrants  = sqlText(`DELETE FROM acl WHERE workspace = ? AND kind = ? AND path = ?`)
	qMoveGrants  = sqlText(`UPDATE acl SET path = ?4 WHERE workspace = ?1 AND kind = ?2 AND path = ?3`)
	qDropGrantee = sqlText(`DELETE FROM acl WHERE workspace = ? AND who = ?`)

	qUserGroups   = sqlText(`SELECT workspace, name, summary FROM usergroup WHERE workspace = ?1 AND (?2 = '' OR name = ?2) ORDER BY name`)
	qGroupMembers = coldText(`SELECT m.name, account.username FROM usergroup_member AS m JOIN account USING (email)
WHERE m.workspace = ?1 AND (?2 = '' OR m.name = ?2) ORDER BY m.name, account.username`)
	qGroupsOf        = sqlText(`SELECT name FROM usergroup_member WHERE email = ? AND workspace = ? ORDER BY name`)
	qInsertUserGroup = sqlText(`INSERT INTO usergroup (workspace, name, summary) VALUES (?,?,?) ON CONFLICT DO NOTHING`)
	qSaveUserGroup   = sqlText(`UPDATE usergroup SET summary = ? WHERE workspace = ? AND name = ?`)
	qDropUserGroup   = sqlText(`DELETE FROM usergroup WHERE workspace = ? AND name = ?`)
	qEmptyGroup      = sqlText(`DELETE FROM usergroup_member WHERE workspace = ? AND name = ?`)
	qJoinGroup       = sqlText(`INSERT INTO usergroup_member (workspace, name, email) VALUES (?,?,?) ON CONFLICT DO NOTHING`)
	qLeaveGroup      = sqlText(`DELETE FROM usergroup_member WHERE workspace = ? AND name = ? AND email = ?`)
	qLeaveGroups     = sqlText(`DELETE FROM usergroup_member WHERE email = ?1 AND (?2 = '' OR workspace = ?2)`)
)

// jsonList is a list as a statement takes it.
func jsonList(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	b, _ := json.Marshal(list) // strings never fail
	return string(b)
}

// Grants implements [store.Reader].
func (r *reader) Grants(workspace, kind string, paths ...string) (map[string][]store.Grant, error) {
	out := map[string][]store.Grant{}
	if len(paths) == 0 {
		return out, nil
	}
	s := r.c.use(qGrants).str(workspace).str(kind).str(jsonList(paths))
	for s.next() {
		path := s.getStr()
		out[path] = append(out[path], store.Grant{Who: s.getStr(), Right: store.Right(s.getInt())})
	}
	return out, s.end()
}

// Granted implements [store.Reader].
func (r *reader) Granted(workspace, kind string, names []string) (map[string]store.Right, error) {
	out := map[string]store.Right{}
	s := r.c.use(qGranted).str(workspace).str(kind).str(jsonList(names))
	for s.next() {
		path := s.getStr()
		out[path] = store.Right(s.getInt())
	}
	return out, s.end()
}

// SetGrant implements [store.Tx].
func (t *tx) SetGrant(workspace, kind, path string, g store.Grant) (err error) {
	t.wrote = true
	if g.Right == store.RightNone {
		_, err = t.c.use(qDropGrant).str(workspace).str(kind).str(path).str(g.Who).run()
		return err
	}
	_, err = t.c.use(qSetGrant).str(workspace).str(kind).str(path).str(g.Who).int(int64(g.Right)).run()
	return err
}

// DropGrants implements [store.Tx].
func (t *tx) DropGrants(workspace, kind, path string) error {
	n, err := t.c.use(qDropGrants).str(workspace).str(kind).str(path).run()
	t.wrote = t.wrote || n > 0
	return err
}

// MoveGrants implements [store.Tx].
func (t *tx) MoveGrants(workspace, kind, from, to string) error {
	if err := t.DropGrants(workspace, kind, to); err != nil {
		return err
	}
	n, err := t.c.use(qMoveGrants).str(workspace).str(kind).str(from).str(to).run()
	t.wrote = t.wrote || n > 0
	return err
}

// DropGrantee implements [store.Tx].
func (t *tx) DropGrantee(workspace, who string) error {
	t.wrote = true
	_, err := t.c.use(qDropGrantee).str(workspace).str(who).run()
	return err
}

func (r *reader) userGroups(workspace, name string) ([]*store.UserGroup, error) {
	var list []*store.UserGroup
	byName := map[string]*store.UserGroup{}
	s := r.c.use(qUserGroups).str(workspace).str(name)
	for s.next() {
		g := &store.UserGroup{Workspace: s.getStr(), Name: s.getStr(), Summary: s.getStr()}
		list, byName[g.Name] = append(list, g), g
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	s = r.c.use(qGroupMembers).str(workspace).str(name)
	for s.next() {
		if g := byName[s.getStr()]; g != nil {
			g.Members = append(g.Members, s.getStr())
		}
	}
	return list, s.end()
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
	s := r.c.use(qGroupsOf).str(email).str(workspace)
	for s.next() {
		names = append(names, s.getStr())
	}
	return names, s.end()
}

// InsertUserGroup implements [store.Tx].
func (t *tx) InsertUserGroup(g *store.UserGroup) error {
	t.wrote = true
	return stored(t.c.use(qInsertUserGroup).str(g.Workspace).str(g.Name).str(g.Summary).run())
}

// SaveUserGroup implements [store.Tx].
func (t *tx) SaveUserGroup(g *store.UserGroup) error {
	t.wrote = true
	return found(t.c.use(qSaveUserGroup).str(g.Summary).str(g.Workspace).str(g.Name).run())
}

// DeleteUserGroup implements [store.Tx].
func (t *tx) DeleteUserGroup(workspace, name string) error {
	t.wrote = true
	if _, err := t.c.use(qEmptyGroup).str(workspace).str(name).run(); err != nil {
		return err
	}
	return found(t.c.use(qDropUserGroup).str(workspace).str(name).run())
}

// JoinGroup implements [store.Tx].
func (t *tx) JoinGroup(workspace, name, email string) error {
	t.wrote = true
	_, err := t.c.use(qJoinGroup).str(workspace).str(name).str(email).run()
	return err
}

// LeaveGroup implements [store.Tx].
func (t *tx) LeaveGroup(workspace, name, email string) error {
	t.wrote = true
	return found(t.c.use(qLeaveGroup).str(workspace).str(name).str(email).run())
}

// rootOf is the first two segments of a path.
func rootOf(path string) string {
	return "substr(" + path + ", 1, 1 + instr(substr(" + path + ", 3) || '/', '/'))"
}

// seen is the condition of what somebody may see: of things of a kind with a
// path, in a table. roots and names are where the values of a sight are bound.
func seen(table, kind, path, roots, names string) string {
	of := table + ".path"
	return "substr(" + of + ", 1, 2) NOT IN ('u/', 'f/', 'g/') AND " + of + " <> ''" +
		" OR " + rootOf(of) + " IN (SELECT value FROM json_each(" + roots + "))" +
		" OR EXISTS (SELECT 1 FROM acl WHERE acl.workspace = " + table + ".workspace AND acl.kind = " + kind + " AND acl.path = " + path +
		" AND acl.who IN (SELECT value FROM json_each(" + names + ")))"
}

// listQuery is a list of things by path: of all, and of what somebody may see.
type listQuery struct{ all, seen *query }

// listText makes the queries of a list that binds six values at most.
func listText(text, table, kind string) listQuery {
	head, order, _ := strings.Cut(text, " ORDER BY ")
	return listQuery{coldText(text), coldText(head + " AND (" + seen(table, "'"+kind+"'", table+".path", "?7", "?8") + ") ORDER BY " + order)}
}

// page begins a list; the caller binds its values, six with those of no meaning.
func (r *reader) page(q listQuery, v *store.Sight, bind func(*stmt)) *stmt {
	if v == nil {
		s := r.c.use(q.all)
		bind(s)
		return s
	}
	s := r.c.use(q.seen)
	bind(s)
	for s.bound < 6 {
		s.null()
	}
	return s.str(jsonList(v.Roots)).str(jsonList(v.Names))
}

// sight selects jobs that somebody may see.
func (w *where) sight(v *store.Sight) {
	if v != nil {
		w.add("(job.email = ? OR "+seen("job", runKind, runPath, "?", "?")+")", func(s *stmt) {
			s.str(v.Email).str(jsonList(v.Roots)).str(jsonList(v.Names))
		})
	}
}

// What a job is a run of: the script or flow that rights were given on.
var (
	runKind = "CASE WHEN job.kind IN ('" + string(sluice.KindFlow) + "', '" + string(sluice.KindFlowPreview) + "', '" +
		string(sluice.KindFlowScript) + "') THEN 'flow' ELSE 'script' END"
	runPath = "CASE WHEN job.kind = '" + string(sluice.KindFlowScript) + "' THEN substr(job.path, 1, length(job.path) - length(job.step) - 1) ELSE job.path END"
)
