package sqlite

import "sluice/internal/store"

const (
	flowHead = `n, workspace, path, summary, description, edited_by, edited_us, archived, deleted, newest, settings`
	flowCols = flowHead + `, schema, value`
)

var (
	qFlow        = sqlText(`SELECT ` + flowCols + ` FROM flow_version WHERE workspace = ? AND path = ? AND deleted = 0 ORDER BY newest DESC LIMIT 1`)
	qFlowVersion = sqlText(`SELECT ` + flowCols + ` FROM flow_version WHERE n = ? AND workspace = ?`)
	qFlows       = listText(`SELECT `+flowHead+` FROM flow_version WHERE workspace = ?1 AND path >= ?2 AND substr(path, 1, length(?2)) = ?2
AND newest = 1 AND deleted = 0 AND archived = ?3 ORDER BY path LIMIT ?4 OFFSET ?5`, "flow_version", store.KindFlow)
	qFlowVersions = coldText(`SELECT ` + flowHead + ` FROM flow_version WHERE workspace = ? AND path = ? AND deleted = 0 ORDER BY n DESC LIMIT ?`)
	qInsertFlow   = sqlText(`INSERT INTO flow_version (workspace, path, summary, description, edited_by, edited_us, archived, deleted, newest,
settings, schema, value) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`)
	qSaveFlow   = sqlText(`UPDATE flow_version SET archived = ?, deleted = ?, newest = ? WHERE n = ? AND workspace = ?`)
	qDeleteFlow = sqlText(`UPDATE flow_version SET deleted = 1 WHERE workspace = ? AND path = ? AND deleted = 0`)
	qEraseFlows = coldText(`DELETE FROM flow_version WHERE n IN (SELECT v.n FROM flow_version AS v WHERE v.deleted = 1
AND NOT EXISTS (SELECT 1 FROM job WHERE job.open = 1 AND job.kind = 'flow' AND job.workspace = v.workspace AND job.path = v.path) LIMIT ?)`)
)

func (r *reader) flows(s *stmt, whole bool) ([]*store.Flow, error) {
	var list []*store.Flow
	for s.next() {
		f := &store.Flow{
			N: s.getInt(), Workspace: s.getStr(), Path: s.getStr(), Summary: s.getStr(), Description: s.getStr(),
			EditedBy: s.getStr(), EditedAt: s.getAt(), Archived: s.getBool(), Deleted: s.getBool(), Newest: s.getBool(), Settings: s.getBytes(),
		}
		if whole {
			f.Schema, f.Value = s.getBytes(), s.getBytes()
		}
		list = append(list, f)
	}
	return list, s.end()
}

func (r *reader) flow(s *stmt) (*store.Flow, error) {
	list, err := r.flows(s, true)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return list[0], nil
}

// Flow implements [store.Reader].
func (r *reader) Flow(workspace, path string) (*store.Flow, error) {
	return r.flow(r.c.use(qFlow).str(workspace).str(path))
}

// FlowVersion implements [store.Reader].
func (r *reader) FlowVersion(workspace string, n int64) (*store.Flow, error) {
	return r.flow(r.c.use(qFlowVersion).int(n).str(workspace))
}

// Flows implements [store.Reader].
func (r *reader) Flows(f store.FlowFilter) ([]*store.Flow, error) {
	return r.flows(r.page(qFlows, f.Sight, func(s *stmt) {
		s.str(f.Workspace).str(f.PathStart).bool(f.Archived).int(int64(orDefault(f.Limit))).int(int64(f.Offset))
	}), false)
}

// FlowVersions implements [store.Reader].
func (r *reader) FlowVersions(workspace, path string, most int) ([]*store.Flow, error) {
	return r.flows(r.c.use(qFlowVersions).str(workspace).str(path).int(int64(most)), false)
}

// InsertFlow implements [store.Tx].
func (t *tx) InsertFlow(f *store.Flow) error {
	t.wrote = true
	_, err := t.c.use(qInsertFlow).str(f.Workspace).str(f.Path).str(f.Summary).str(f.Description).str(f.EditedBy).at(f.EditedAt).
		bool(f.Archived).bool(f.Deleted).bool(f.Newest).bytes(f.Settings).bytes(f.Schema).bytes(f.Value).run()
	if err == nil {
		f.N = t.c.lastID()
	}
	return err
}

// SaveFlow implements [store.Tx].
func (t *tx) SaveFlow(f *store.Flow) error {
	t.wrote = true
	n, err := t.c.use(qSaveFlow).bool(f.Archived).bool(f.Deleted).bool(f.Newest).int(f.N).str(f.Workspace).run()
	if err == nil && n == 0 {
		return store.ErrNotFound
	}
	return err
}

// DeleteFlow implements [store.Tx].
func (t *tx) DeleteFlow(workspace, path string) (int, error) {
	t.wrote = true
	return t.c.use(qDeleteFlow).str(workspace).str(path).run()
}

// EraseFlows implements [store.Tx].
func (t *tx) EraseFlows(most int) (int, error) {
	n, err := t.c.use(qEraseFlows).int(int64(most)).run()
	t.wrote = t.wrote || n > 0
	return n, err
}
