package sqlite

import "sluice/internal/store"

const (
	variableCols = `workspace, path, key_id, value, description, created_by, edited_by, edited_us`
	resourceCols = `workspace, path, type, value, description, created_by, edited_by, edited_us`
	keyCols      = `workspace, id, created_us, master, wrapped`
)

var (
	qVariable  = sqlText(`SELECT ` + variableCols + ` FROM variable WHERE workspace = ? AND path = ?`)
	qVariables = listText(`SELECT `+variableCols+` FROM variable WHERE workspace = ?1 AND path >= ?2 AND substr(path, 1, length(?2)) = ?2
AND (?3 = 0 OR key_id <> 0) ORDER BY path LIMIT ?4 OFFSET ?5`, "variable", store.KindVariable)
	qCountVariables = coldText(`SELECT count(*) FROM variable WHERE workspace = ?`)
	qInsertVariable = sqlText(`INSERT INTO variable (` + variableCols + `) VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`)
	qSaveVariable   = sqlText(`UPDATE variable SET key_id = ?, value = ?, description = ?, edited_by = ?, edited_us = ? WHERE workspace = ? AND path = ?`)
	qDropVariable   = sqlText(`DELETE FROM variable WHERE workspace = ? AND path = ?`)

	qResource  = sqlText(`SELECT ` + resourceCols + ` FROM resource WHERE workspace = ? AND path = ?`)
	qResources = listText(`SELECT workspace, path, type, CASE WHEN ?5 THEN x'' ELSE value END, description, created_by, edited_by, edited_us
FROM resource WHERE workspace = ?1 AND path >= ?2 AND substr(path, 1, length(?2)) = ?2 ORDER BY path LIMIT ?3 OFFSET ?4`, "resource", store.KindResource)
	qCountResources = coldText(`SELECT count(*) FROM resource WHERE workspace = ?`)
	qInsertResource = sqlText(`INSERT INTO resource (` + resourceCols + `) VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`)
	qSaveResource   = sqlText(`UPDATE resource SET type = ?, value = ?, description = ?, edited_by = ?, edited_us = ? WHERE workspace = ? AND path = ?`)
	qDropResource   = sqlText(`DELETE FROM resource WHERE workspace = ? AND path = ?`)

	qWorkspaceKey  = sqlText(`SELECT ` + keyCols + ` FROM workspace_key WHERE workspace = ?`)
	qInsertWorkKey = sqlText(`INSERT INTO workspace_key (` + keyCols + `) VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING`)
	qSaveWorkKey   = sqlText(`UPDATE workspace_key SET id = ?, created_us = ?, master = ?, wrapped = ? WHERE workspace = ?`)
)

// first returns the one row of a list that has one at most.
func first[T any](list []*T, err error) (*T, error) {
	if err == nil && len(list) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// stored turns an insertion of no row into [store.ErrExists].
func stored(n int, err error) error {
	if err == nil && n == 0 {
		return store.ErrExists
	}
	return err
}

func readVariables(s *stmt) (list []*store.Variable, err error) {
	for s.next() {
		list = append(list, &store.Variable{
			Workspace: s.getStr(), Path: s.getStr(), KeyID: s.getInt(), Value: s.getBytes(), Description: s.getStr(),
			CreatedBy: s.getStr(), EditedBy: s.getStr(), EditedAt: s.getAt(),
		})
	}
	return list, s.end()
}

// Variable implements [store.Reader].
func (r *reader) Variable(workspace, path string) (*store.Variable, error) {
	return first(readVariables(r.c.use(qVariable).str(workspace).str(path)))
}

// Variables implements [store.Reader].
func (r *reader) Variables(f store.VariableFilter) ([]*store.Variable, error) {
	return readVariables(r.page(qVariables, f.Sight, func(s *stmt) {
		s.str(f.Workspace).str(f.PathStart).bool(f.Secrets).int(int64(orDefault(f.Limit))).int(int64(f.Offset))
	}))
}

func (r *reader) count(q *query, workspace string) (n int64, err error) {
	_, err = r.c.use(q).str(workspace).one(func(s *stmt) { n = s.getInt() })
	return n, err
}

// CountVariables implements [store.Reader].
func (r *reader) CountVariables(workspace string) (int64, error) {
	return r.count(qCountVariables, workspace)
}

// LockVariable implements [store.Tx].
func (t *tx) LockVariable(workspace, path string) (*store.Variable, error) {
	return t.Variable(workspace, path)
}

// InsertVariable implements [store.Tx].
func (t *tx) InsertVariable(v *store.Variable) error {
	t.wrote = true
	return stored(t.c.use(qInsertVariable).str(v.Workspace).str(v.Path).int(v.KeyID).blob(string(v.Value)).str(v.Description).
		str(v.CreatedBy).str(v.EditedBy).at(v.EditedAt).run())
}

// SaveVariable implements [store.Tx].
func (t *tx) SaveVariable(v *store.Variable) error {
	t.wrote = true
	return found(t.c.use(qSaveVariable).int(v.KeyID).blob(string(v.Value)).str(v.Description).str(v.EditedBy).at(v.EditedAt).
		str(v.Workspace).str(v.Path).run())
}

// DeleteVariable implements [store.Tx].
func (t *tx) DeleteVariable(workspace, path string) error {
	t.wrote = true
	return found(t.c.use(qDropVariable).str(workspace).str(path).run())
}

func readResources(s *stmt) (list []*store.Resource, err error) {
	for s.next() {
		list = append(list, &store.Resource{
			Workspace: s.getStr(), Path: s.getStr(), Type: s.getStr(), Value: s.getBytes(), Description: s.getStr(),
			CreatedBy: s.getStr(), EditedBy: s.getStr(), EditedAt: s.getAt(),
		})
	}
	return list, s.end()
}

// Resource implements [store.Reader].
func (r *reader) Resource(workspace, path string) (*store.Resource, error) {
	return first(readResources(r.c.use(qResource).str(workspace).str(path)))
}

// Resources implements [store.Reader].
func (r *reader) Resources(f store.VariableFilter) ([]*store.Resource, error) {
	return readResources(r.page(qResources, f.Sight, func(s *stmt) {
		s.str(f.Workspace).str(f.PathStart).int(int64(orDefault(f.Limit))).int(int64(f.Offset)).bool(f.Bare)
	}))
}

// CountResources implements [store.Reader].
func (r *reader) CountResources(workspace string) (int64, error) {
	return r.count(qCountResources, workspace)
}

// LockResource implements [store.Tx].
func (t *tx) LockResource(workspace, path string) (*store.Resource, error) {
	return t.Resource(workspace, path)
}

// InsertResource implements [store.Tx].
func (t *tx) InsertResource(v *store.Resource) error {
	t.wrote = true
	return stored(t.c.use(qInsertResource).str(v.Workspace).str(v.Path).str(v.Type).blob(string(v.Value)).str(v.Description).
		str(v.CreatedBy).str(v.EditedBy).at(v.EditedAt).run())
}

// SaveResource implements [store.Tx].
func (t *tx) SaveResource(v *store.Resource) error {
	t.wrote = true
	return found(t.c.use(qSaveResource).str(v.Type).blob(string(v.Value)).str(v.Description).str(v.EditedBy).at(v.EditedAt).
		str(v.Workspace).str(v.Path).run())
}

// DeleteResource implements [store.Tx].
func (t *tx) DeleteResource(workspace, path string) error {
	t.wrote = true
	return found(t.c.use(qDropResource).str(workspace).str(path).run())
}

// WorkspaceKey implements [store.Reader].
func (r *reader) WorkspaceKey(workspace string) (*store.WorkspaceKey, error) {
	var k store.WorkspaceKey
	ok, err := r.c.use(qWorkspaceKey).str(workspace).one(func(s *stmt) {
		k = store.WorkspaceKey{Workspace: s.getStr(), ID: s.getInt(), CreatedAt: s.getAt(), Master: s.getStr(), Wrapped: s.getBytes()}
	})
	if err == nil && !ok {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &k, nil
}

// LockWorkspaceKey implements [store.Tx].
func (t *tx) LockWorkspaceKey(workspace string) (*store.WorkspaceKey, error) {
	return t.WorkspaceKey(workspace)
}

// InsertWorkspaceKey implements [store.Tx].
func (t *tx) InsertWorkspaceKey(k *store.WorkspaceKey) error {
	t.wrote = true
	return stored(t.c.use(qInsertWorkKey).str(k.Workspace).int(k.ID).at(k.CreatedAt).str(k.Master).blob(string(k.Wrapped)).run())
}

// SaveWorkspaceKey implements [store.Tx].
func (t *tx) SaveWorkspaceKey(k *store.WorkspaceKey) error {
	t.wrote = true
	return found(t.c.use(qSaveWorkKey).int(k.ID).at(k.CreatedAt).str(k.Master).blob(string(k.Wrapped)).str(k.Workspace).run())
}
