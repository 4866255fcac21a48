package postgres

import "sluice/internal/store"

const (
	variableCols = `workspace, path, key_id, value, description, created_by, edited_by, edited_us`
	resourceCols = `workspace, path, type, value, description, created_by, edited_by, edited_us`

	qVariables     = `SELECT ` + variableCols + ` FROM variable WHERE workspace = $1::text AND `
	qResources     = `SELECT ` + resourceCols + ` FROM resource WHERE workspace = $1::text AND `
	atPath         = `path = $2::text`
	fromPath       = `path >= $2::text AND starts_with(path, $2::text)`
	pageOfPaths    = ` ORDER BY path LIMIT $4::bigint OFFSET $5::bigint`
	qWorkspaceKey  = `SELECT workspace, id, created_us, master, wrapped FROM workspace_key WHERE workspace = $1::text`
	qInsertWorkKey = `INSERT INTO workspace_key (workspace, id, created_us, master, wrapped) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
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

func (r *reader) variables(sql string, args ...any) (list []*store.Variable, err error) {
	err = r.rows(func(w *row) {
		list = append(list, &store.Variable{
			Workspace: w.getStr(), Path: w.getStr(), KeyID: w.getInt(), Value: w.getBytes(), Description: w.getStr(),
			CreatedBy: w.getStr(), EditedBy: w.getStr(), EditedAt: w.getAt(),
		})
	}, sql, args...)
	return list, err
}

// Variable implements [store.Reader].
func (r *reader) Variable(workspace, path string) (*store.Variable, error) {
	return first(r.variables(qVariables+atPath, workspace, path))
}

// Variables implements [store.Reader].
func (r *reader) Variables(f store.VariableFilter) ([]*store.Variable, error) {
	where, args := bySight("variable", store.KindVariable, f.Sight, fromPath+` AND (key_id <> 0 OR NOT $3::boolean)`,
		f.Workspace, f.PathStart, f.Secrets, orDefault(f.Limit), int64(f.Offset))
	return r.variables(qVariables+where+pageOfPaths, args...)
}

// CountVariables implements [store.Reader].
func (r *reader) CountVariables(workspace string) (n int64, err error) {
	err = r.single(func(w *row) { n = w.getInt() }, `SELECT count(*) FROM variable WHERE workspace = $1::text`, workspace)
	return n, err
}

// LockVariable implements [store.Tx].
func (t *tx) LockVariable(workspace, path string) (*store.Variable, error) {
	return first(t.variables(qVariables+atPath+` FOR UPDATE`, workspace, path))
}

// InsertVariable implements [store.Tx].
func (t *tx) InsertVariable(v *store.Variable) error {
	return t.insert(`INSERT INTO variable (`+variableCols+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		v.Workspace, v.Path, v.KeyID, raw(string(v.Value)), raw(v.Description), v.CreatedBy, v.EditedBy, micros(v.EditedAt))
}

// SaveVariable implements [store.Tx].
func (t *tx) SaveVariable(v *store.Variable) error {
	return found(t.exec(`UPDATE variable SET key_id = $3, value = $4, description = $5, edited_by = $6, edited_us = $7 WHERE workspace = $1 AND path = $2`,
		v.Workspace, v.Path, v.KeyID, raw(string(v.Value)), raw(v.Description), v.EditedBy, micros(v.EditedAt)))
}

// DeleteVariable implements [store.Tx].
func (t *tx) DeleteVariable(workspace, path string) error {
	return found(t.exec(`DELETE FROM variable WHERE workspace = $1 AND path = $2`, workspace, path))
}

func (r *reader) resources(sql string, args ...any) (list []*store.Resource, err error) {
	err = r.rows(func(w *row) {
		list = append(list, &store.Resource{
			Workspace: w.getStr(), Path: w.getStr(), Type: w.getStr(), Value: w.getBytes(), Description: w.getStr(),
			CreatedBy: w.getStr(), EditedBy: w.getStr(), EditedAt: w.getAt(),
		})
	}, sql, args...)
	return list, err
}

// Resource implements [store.Reader].
func (r *reader) Resource(workspace, path string) (*store.Resource, error) {
	return first(r.resources(qResources+atPath, workspace, path))
}

// Resources implements [store.Reader].
func (r *reader) Resources(f store.VariableFilter) ([]*store.Resource, error) {
	where, args := bySight("resource", store.KindResource, f.Sight, fromPath, f.Workspace, f.PathStart, f.Bare, orDefault(f.Limit), int64(f.Offset))
	return r.resources(`SELECT workspace, path, type, CASE WHEN $3::boolean THEN ''::bytea ELSE value END, description, created_by, edited_by, edited_us
FROM resource WHERE workspace = $1::text AND `+where+pageOfPaths, args...)
}

// CountResources implements [store.Reader].
func (r *reader) CountResources(workspace string) (n int64, err error) {
	err = r.single(func(w *row) { n = w.getInt() }, `SELECT count(*) FROM resource WHERE workspace = $1::text`, workspace)
	return n, err
}

// LockResource implements [store.Tx].
func (t *tx) LockResource(workspace, path string) (*store.Resource, error) {
	return first(t.resources(qResources+atPath+` FOR UPDATE`, workspace, path))
}

// InsertResource implements [store.Tx].
func (t *tx) InsertResource(v *store.Resource) error {
	return t.insert(`INSERT INTO resource (`+resourceCols+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		v.Workspace, v.Path, v.Type, raw(string(v.Value)), raw(v.Description), v.CreatedBy, v.EditedBy, micros(v.EditedAt))
}

// SaveResource implements [store.Tx].
func (t *tx) SaveResource(v *store.Resource) error {
	return found(t.exec(`UPDATE resource SET type = $3, value = $4, description = $5, edited_by = $6, edited_us = $7 WHERE workspace = $1 AND path = $2`,
		v.Workspace, v.Path, v.Type, raw(string(v.Value)), raw(v.Description), v.EditedBy, micros(v.EditedAt)))
}

// DeleteResource implements [store.Tx].
func (t *tx) DeleteResource(workspace, path string) error {
	return found(t.exec(`DELETE FROM resource WHERE workspace = $1 AND path = $2`, workspace, path))
}

func (r *reader) workspaceKey(sql, workspace string) (*store.WorkspaceKey, error) {
	var k store.WorkspaceKey
	err := r.single(func(w *row) {
		k = store.WorkspaceKey{Workspace: w.getStr(), ID: w.getInt(), CreatedAt: w.getAt(), Master: w.getStr(), Wrapped: w.getBytes()}
	}, sql, workspace)
	if err != nil {
		return nil, err
	}
	return &k, nil
}

// WorkspaceKey implements [store.Reader].
func (r *reader) WorkspaceKey(workspace string) (*store.WorkspaceKey, error) {
	return r.workspaceKey(qWorkspaceKey, workspace)
}

// LockWorkspaceKey implements [store.Tx].
func (t *tx) LockWorkspaceKey(workspace string) (*store.WorkspaceKey, error) {
	return t.workspaceKey(qWorkspaceKey+` FOR UPDATE`, workspace)
}

// InsertWorkspaceKey implements [store.Tx].
func (t *tx) InsertWorkspaceKey(k *store.WorkspaceKey) error {
	return t.insert(qInsertWorkKey, k.Workspace, k.ID, micros(k.CreatedAt), k.Master, raw(string(k.Wrapped)))
}

// SaveWorkspaceKey implements [store.Tx].
func (t *tx) SaveWorkspaceKey(k *store.WorkspaceKey) error {
	return found(t.exec(`UPDATE workspace_key SET id = $2, created_us = $3, master = $4, wrapped = $5 WHERE workspace = $1`,
		k.Workspace, k.ID, micros(k.CreatedAt), k.Master, raw(string(k.Wrapped))))
}
