package sqlite

import "sluice/internal/store"

const folderCols = `workspace, name, body, created_by, edited_by, edited_us`

var (
	qFolder  = sqlText(`SELECT ` + folderCols + ` FROM folder WHERE workspace = ? AND name = ?`)
	qFolders = coldText(`SELECT ` + folderCols + ` FROM folder WHERE workspace = ?1
AND (?2 IS NULL OR name IN (SELECT value FROM json_each(?2))) ORDER BY name LIMIT ?3 OFFSET ?4`)
	qCountFolders = coldText(`SELECT count(*) FROM folder WHERE workspace = ?`)
	qInsertFolder = sqlText(`INSERT INTO folder (` + folderCols + `) VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING`)
	qSaveFolder   = sqlText(`UPDATE folder SET body = ?, edited_by = ?, edited_us = ? WHERE workspace = ? AND name = ?`)
	qDropFolder   = sqlText(`DELETE FROM folder WHERE workspace = ? AND name = ?`)
)

func readFolders(s *stmt) (list []*store.Folder, err error) {
	for s.next() {
		list = append(list, &store.Folder{
			Workspace: s.getStr(), Name: s.getStr(), Body: s.getBytes(), CreatedBy: s.getStr(), EditedBy: s.getStr(), EditedAt: s.getAt(),
		})
	}
	return list, s.end()
}

// Folder implements [store.Reader].
func (r *reader) Folder(workspace, name string) (*store.Folder, error) {
	return first(readFolders(r.c.use(qFolder).str(workspace).str(name)))
}

// Folders implements [store.Reader].
func (r *reader) Folders(workspace string, names []string, offset, limit int) ([]*store.Folder, error) {
	s := r.c.use(qFolders).str(workspace)
	if names == nil {
		s.null()
	} else {
		s.str(jsonList(names))
	}
	return readFolders(s.int(int64(limit)).int(int64(offset)))
}

// CountFolders implements [store.Reader].
func (r *reader) CountFolders(workspace string) (int64, error) {
	return r.count(qCountFolders, workspace)
}

// LockFolder implements [store.Tx].
func (t *tx) LockFolder(workspace, name string) (*store.Folder, error) {
	return t.Folder(workspace, name)
}

// InsertFolder implements [store.Tx].
func (t *tx) InsertFolder(f *store.Folder) error {
	t.wrote = true
	return stored(t.c.use(qInsertFolder).str(f.Workspace).str(f.Name).blob(string(f.Body)).str(f.CreatedBy).str(f.EditedBy).at(f.EditedAt).run())
}

// SaveFolder implements [store.Tx].
func (t *tx) SaveFolder(f *store.Folder) error {
	t.wrote = true
	return found(t.c.use(qSaveFolder).blob(string(f.Body)).str(f.EditedBy).at(f.EditedAt).str(f.Workspace).str(f.Name).run())
}

// DeleteFolder implements [store.Tx].
func (t *tx) DeleteFolder(workspace, name string) error {
	t.wrote = true
	return found(t.c.use(qDropFolder).str(workspace).str(name).run())
}
