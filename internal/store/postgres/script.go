package postgres

import "sluice/internal/store"

func scanWorkspace(r *row) *store.Workspace {
	return &store.Workspace{ID: r.getStr(), Name: r.getStr(), Owner: r.getStr(), CreatedAt: r.getAt(), Archived: r.getBool()}
}

const qWorkspaces = `SELECT id, name, owner, created_us, archived FROM workspace `

// Workspaces implements [store.Reader].
func (r *reader) Workspaces() (list []*store.Workspace, err error) {
	err = r.rows(func(w *row) { list = append(list, scanWorkspace(w)) }, qWorkspaces+`ORDER BY id`)
	return list, err
}

// Workspace implements [store.Reader].
func (r *reader) Workspace(id string) (ws *store.Workspace, err error) {
	err = r.single(func(w *row) { ws = scanWorkspace(w) }, qWorkspaces+`WHERE id = $1::text`, id)
	return ws, err
}

// SaveWorkspace implements [store.Tx].
func (t *tx) SaveWorkspace(w *store.Workspace) error {
	return t.insert(`INSERT INTO workspace (id, name, owner, created_us) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		w.ID, raw(w.Name), raw(w.Owner), micros(w.CreatedAt))
}

const qScripts = `SELECT hash, workspace, path, parent, content, language, summary, kind, settings, created_by, created_us, archived, deleted,
newest, lock, lock_error FROM script WHERE workspace = $1::text AND `

func scanScript(r *row) *store.Script {
	return &store.Script{
		Hash: r.getStr(), Workspace: r.getStr(), Path: r.getStr(), Parent: r.getStr(), Content: r.getStr(),
		Language: r.getStr(), Summary: r.getStr(), Kind: r.getStr(), Settings: r.getBytes(), CreatedBy: r.getStr(),
		CreatedAt: r.getAt(), Archived: r.getBool(), Deleted: r.getBool(), Newest: r.getBool(),
		Lock: r.getText(), LockError: r.getStr(),
	}
}

func (r *reader) scriptList(where string, args ...any) (list []*store.Script, err error) {
	err = r.rows(func(w *row) { list = append(list, scanScript(w)) }, qScripts+where, args...)
	return list, err
}

func (r *reader) script(where string, args ...any) (sc *store.Script, err error) {
	err = r.single(func(w *row) { sc = scanScript(w) }, qScripts+where, args...)
	return sc, err
}

// Script implements [store.Reader].
func (r *reader) Script(workspace, path string) (*store.Script, error) {
	return r.script(`path = $2::text ORDER BY newest DESC, n DESC LIMIT 1`, workspace, path)
}

// ScriptByHash implements [store.Reader].
func (r *reader) ScriptByHash(workspace, hash string) (*store.Script, error) {
	return r.script(`hash = $2::text`, workspace, hash)
}

// Script implements [store.Reader]. All updates of a transaction see the same
// version, unless one of them changes it.
func (t *tx) Script(workspace, path string) (*store.Script, error) {
	k := "path\n" + workspace + "\n" + path
	if sc := t.scripts[k]; sc != nil {
		c := *sc
		return &c, nil
	}
	sc, err := t.reader.Script(workspace, path)
	if err == nil {
		c := *sc
		t.scripts[k] = &c
	}
	return sc, err
}

// ScriptByHash implements [store.Reader].
func (t *tx) ScriptByHash(workspace, hash string) (*store.Script, error) {
	k := "hash\n" + workspace + "\n" + hash
	if sc := t.scripts[k]; sc != nil {
		c := *sc
		return &c, nil
	}
	sc, err := t.reader.ScriptByHash(workspace, hash)
	if err == nil {
		c := *sc
		t.scripts[k] = &c
	}
	return sc, err
}

// Scripts implements [store.Reader].
func (r *reader) Scripts(f store.ScriptFilter) ([]*store.Script, error) {
	where, args := bySight("script", store.KindScript, f.Sight, `path >= $2::text AND starts_with(path, $2::text) AND newest AND NOT deleted
AND archived = $3::boolean`, f.Workspace, f.PathStart, f.Archived, orDefault(f.Limit), int64(f.Offset))
	return r.scriptList(where+` ORDER BY path LIMIT $4::bigint OFFSET $5::bigint`, args...)
}

// ScriptVersions implements [store.Reader].
func (r *reader) ScriptVersions(workspace, path string) ([]*store.Script, error) {
	return r.scriptList(`path = $2::text ORDER BY n DESC`, workspace, path)
}

// InsertScript implements [store.Tx].
func (t *tx) InsertScript(sc *store.Script) error {
	clear(t.scripts)
	return t.insert(`INSERT INTO script (hash, workspace, path, parent, content, language, summary, kind, settings, created_by, created_us,
archived, deleted, newest) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (workspace, hash) DO NOTHING`,
		sc.Hash, sc.Workspace, sc.Path, sc.Parent, raw(sc.Content), sc.Language, raw(sc.Summary), sc.Kind, []byte(sc.Settings), sc.CreatedBy,
		micros(sc.CreatedAt), sc.Archived, sc.Deleted, sc.Newest)
}

// SaveScript implements [store.Tx].
func (t *tx) SaveScript(sc *store.Script) error {
	clear(t.scripts)
	return found(t.exec(`UPDATE script SET archived = $1, deleted = $2, newest = $3 WHERE workspace = $4 AND hash = $5`,
		sc.Archived, sc.Deleted, sc.Newest, sc.Workspace, sc.Hash))
}

// EraseScripts implements [store.Tx].
func (t *tx) EraseScripts(workspace, path, hash string) (int, error) {
	clear(t.scripts)
	return t.exec(`UPDATE script SET content = '', summary = '', settings = '{}', archived = true, deleted = true
WHERE workspace = $1::text AND path = $2::text AND NOT deleted AND ($3::text = '' OR hash = $3::text)`, workspace, path, hash)
}
