package sqlite

import "sluice/internal/store"

var (
	qWorkspaces    = coldText(`SELECT id, name, owner, created_us, archived FROM workspace ORDER BY id`)
	qWorkspace     = sqlText(`SELECT id, name, owner, created_us, archived FROM workspace WHERE id = ?`)
	qSaveWorkspace = sqlText(`INSERT INTO workspace (id, name, owner, created_us) VALUES (?, ?, ?, ?)`)
)

func (r *reader) workspaces(s *stmt) ([]*store.Workspace, error) {
	var list []*store.Workspace
	for s.next() {
		list = append(list, &store.Workspace{ID: s.getStr(), Name: s.getStr(), Owner: s.getStr(), CreatedAt: s.getAt(), Archived: s.getBool()})
	}
	return list, s.end()
}

// Workspaces implements [store.Reader].
func (r *reader) Workspaces() ([]*store.Workspace, error) { return r.workspaces(r.c.use(qWorkspaces)) }

// Workspace implements [store.Reader].
func (r *reader) Workspace(id string) (*store.Workspace, error) {
	list, err := r.workspaces(r.c.use(qWorkspace).str(id))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return list[0], nil
}

// SaveWorkspace implements [store.Tx].
func (t *tx) SaveWorkspace(w *store.Workspace) error {
	t.wrote = true
	return exists(t.c.use(qSaveWorkspace).str(w.ID).str(w.Name).str(w.Owner).at(w.CreatedAt).run())
}

// exists turns a refusal by a unique index into [store.ErrExists].
func exists(_ int, err error) error {
	if isUnique(err) {
		return store.ErrExists
	}
	return err
}

const scriptCols = `hash, workspace, path, parent, content, language, summary, kind, settings, created_by, created_us, archived, deleted, newest,
lock, lock_error`

var (
	qScript       = sqlText(`SELECT ` + scriptCols + ` FROM script WHERE workspace = ? AND path = ? ORDER BY newest DESC, n DESC LIMIT 1`)
	qScriptByHash = sqlText(`SELECT ` + scriptCols + ` FROM script WHERE workspace = ? AND hash = ?`)
	qVersions     = coldText(`SELECT ` + scriptCols + ` FROM script WHERE workspace = ? AND path = ? ORDER BY n DESC`)
	qScripts      = listText(`SELECT `+scriptCols+` FROM script WHERE workspace = ?1 AND path >= ?2 AND substr(path, 1, length(?2)) = ?2
AND newest = 1 AND deleted = 0 AND archived = ?3 ORDER BY path LIMIT ?4 OFFSET ?5`, "script", store.KindScript)
	qInsertScript = sqlText(`INSERT INTO script (hash, workspace, path, parent, content, language, summary, kind, settings, created_by,
created_us, archived, deleted, newest) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`)
	qEraseScripts = sqlText(`UPDATE script SET content = '', summary = '', settings = x'7b7d', archived = 1, deleted = 1
WHERE workspace = ?1 AND path = ?2 AND deleted = 0 AND (?3 = '' OR hash = ?3)`)
	qSaveScript = sqlText(`UPDATE script SET archived = ?, deleted = ?, newest = ? WHERE workspace = ? AND hash = ?`)
)

func (r *reader) scripts(s *stmt) ([]*store.Script, error) {
	var list []*store.Script
	for s.next() {
		list = append(list, &store.Script{
			Hash: s.getStr(), Workspace: s.getStr(), Path: s.getStr(), Parent: s.getStr(), Content: s.getStr(),
			Language: s.getStr(), Summary: s.getStr(), Kind: s.getStr(), Settings: s.getBytes(), CreatedBy: s.getStr(),
			CreatedAt: s.getAt(), Archived: s.getBool(), Deleted: s.getBool(), Newest: s.getBool(),
			Lock: s.getText(), LockError: s.getStr(),
		})
	}
	return list, s.end()
}

func (r *reader) script(s *stmt) (*store.Script, error) {
	list, err := r.scripts(s)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return list[0], nil
}

// Script implements [store.Reader].
func (r *reader) Script(workspace, path string) (*store.Script, error) {
	return r.script(r.c.use(qScript).str(workspace).str(path))
}

// ScriptByHash implements [store.Reader].
func (r *reader) ScriptByHash(workspace, hash string) (*store.Script, error) {
	return r.script(r.c.use(qScriptByHash).str(workspace).str(hash))
}

// Scripts implements [store.Reader].
func (r *reader) Scripts(f store.ScriptFilter) ([]*store.Script, error) {
	return r.scripts(r.page(qScripts, f.Sight, func(s *stmt) {
		s.str(f.Workspace).str(f.PathStart).bool(f.Archived).int(int64(orDefault(f.Limit))).int(int64(f.Offset))
	}))
}

// ScriptVersions implements [store.Reader].
func (r *reader) ScriptVersions(workspace, path string) ([]*store.Script, error) {
	return r.scripts(r.c.use(qVersions).str(workspace).str(path))
}

// InsertScript implements [store.Tx].
func (t *tx) InsertScript(sc *store.Script) error {
	t.wrote = true
	return exists(t.c.use(qInsertScript).str(sc.Hash).str(sc.Workspace).str(sc.Path).str(sc.Parent).str(sc.Content).
		str(sc.Language).str(sc.Summary).str(sc.Kind).bytes(sc.Settings).str(sc.CreatedBy).at(sc.CreatedAt).
		bool(sc.Archived).bool(sc.Deleted).bool(sc.Newest).run())
}

// SaveScript implements [store.Tx].
func (t *tx) SaveScript(sc *store.Script) error {
	t.wrote = true
	n, err := t.c.use(qSaveScript).bool(sc.Archived).bool(sc.Deleted).bool(sc.Newest).str(sc.Workspace).str(sc.Hash).run()
	if err == nil && n == 0 {
		return store.ErrNotFound
	}
	return err
}

// EraseScripts implements [store.Tx].
func (t *tx) EraseScripts(workspace, path, hash string) (int, error) {
	t.wrote = true
	return t.c.use(qEraseScripts).str(workspace).str(path).str(hash).run()
}
