package postgres

import "sluice/internal/store"

const (
	folderCols = `workspace, name, body, created_by, edited_by, edited_us`
	qFolder    = `SELECT ` + folderCols + ` FROM folder WHERE workspace = $1::text AND name = $2::text`
	qFolders   = `SELECT ` + folderCols + ` FROM folder WHERE workspace = $1::text AND ($2::text[] IS NULL OR name = ANY($2::text[]))
ORDER BY name LIMIT $3::bigint OFFSET $4::bigint`
)

func (r *reader) folders(sql string, args ...any) (list []*store.Folder, err error) {
	err = r.rows(func(w *row) {
		list = append(list, &store.Folder{
			Workspace: w.getStr(), Name: w.getStr(), Body: w.getBytes(), CreatedBy: w.getStr(), EditedBy: w.getStr(), EditedAt: w.getAt(),
		})
	}, sql, args...)
	return list, err
}

// Folder implements [store.Reader].
func (r *reader) Folder(workspace, name string) (*store.Folder, error) {
	return first(r.folders(qFolder, workspace, name))
}

// Folders implements [store.Reader].
func (r *reader) Folders(workspace string, names []string, offset, limit int) ([]*store.Folder, error) {
	return r.folders(qFolders, workspace, names, int64(limit), int64(offset))
}

// CountFolders implements [store.Reader].
func (r *reader) CountFolders(workspace string) (n int64, err error) {
	err = r.single(func(w *row) { n = w.getInt() }, `SELECT count(*) FROM folder WHERE workspace = $1::text`, workspace)
	return n, err
}

// LockFolder implements [store.Tx].
func (t *tx) LockFolder(workspace, name string) (*store.Folder, error) {
	return first(t.folders(qFolder+` FOR UPDATE`, workspace, name))
}

// InsertFolder implements [store.Tx].
func (t *tx) InsertFolder(f *store.Folder) error {
	return t.insert(`INSERT INTO folder (`+folderCols+`) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		f.Workspace, f.Name, raw(string(f.Body)), f.CreatedBy, f.EditedBy, micros(f.EditedAt))
}

// SaveFolder implements [store.Tx].
func (t *tx) SaveFolder(f *store.Folder) error {
	return found(t.exec(`UPDATE folder SET body = $3, edited_by = $4, edited_us = $5 WHERE workspace = $1 AND name = $2`,
		f.Workspace, f.Name, raw(string(f.Body)), f.EditedBy, micros(f.EditedAt)))
}

// DeleteFolder implements [store.Tx].
func (t *tx) DeleteFolder(workspace, name string) error {
	return found(t.exec(`DELETE FROM folder WHERE workspace = $1 AND name = $2`, workspace, name))
}
