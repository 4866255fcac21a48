package postgres

import "sluice/internal/store"

const (
	flowHead = `n, workspace, path, summary, description, edited_by, edited_us, archived, deleted, newest, settings`
	flowCols = flowHead + `, schema, value`
)

func scanFlow(r *row, whole bool) *store.Flow {
	f := &store.Flow{
		N: r.getInt(), Workspace: r.getStr(), Path: r.getStr(), Summary: r.getStr(), Description: r.getStr(),
		EditedBy: r.getStr(), EditedAt: r.getAt(), Archived: r.getBool(), Deleted: r.getBool(), Newest: r.getBool(), Settings: r.getBytes(),
	}
	if whole {
		f.Schema, f.Value = r.getBytes(), r.getBytes()
	}
	return f
}

// Flow implements [store.Reader].
func (r *reader) Flow(workspace, path string) (f *store.Flow, err error) {
	err = r.single(func(w *row) { f = scanFlow(w, true) }, `SELECT `+flowCols+` FROM flow_version
WHERE workspace = $1::text AND path = $2::text AND NOT deleted ORDER BY newest DESC LIMIT 1`, workspace, path)
	return f, err
}

// FlowVersion implements [store.Reader].
func (r *reader) FlowVersion(workspace string, n int64) (f *store.Flow, err error) {
	err = r.single(func(w *row) { f = scanFlow(w, true) }, `SELECT `+flowCols+` FROM flow_version
WHERE n = $1::bigint AND workspace = $2::text`, n, workspace)
	return f, err
}

// Flows implements [store.Reader].
func (r *reader) Flows(f store.FlowFilter) (list []*store.Flow, err error) {
	where, args := bySight("flow_version", store.KindFlow, f.Sight, `workspace = $1::text AND path >= $2::text AND starts_with(path, $2::text)
AND newest AND NOT deleted AND archived = $3::boolean`, f.Workspace, f.PathStart, f.Archived, orDefault(f.Limit), int64(f.Offset))
	err = r.rows(func(w *row) { list = append(list, scanFlow(w, false)) }, `SELECT `+flowHead+` FROM flow_version WHERE `+where+`
ORDER BY path LIMIT $4::bigint OFFSET $5::bigint`, args...)
	return list, err
}

// FlowVersions implements [store.Reader].
func (r *reader) FlowVersions(workspace, path string, most int) (list []*store.Flow, err error) {
	err = r.rows(func(w *row) { list = append(list, scanFlow(w, false)) }, `SELECT `+flowHead+` FROM flow_version
WHERE workspace = $1::text AND path = $2::text AND NOT deleted ORDER BY n DESC LIMIT $3::bigint`, workspace, path, int64(most))
	return list, err
}

// InsertFlow implements [store.Tx].
func (t *tx) InsertFlow(f *store.Flow) error {
	t.write()
	return t.single(func(r *row) { f.N = r.getInt() }, `INSERT INTO flow_version (workspace, path, summary, description, edited_by, edited_us,
archived, deleted, newest, settings, schema, value) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING n`,
		f.Workspace, f.Path, raw(f.Summary), raw(f.Description), f.EditedBy, micros(f.EditedAt), f.Archived, f.Deleted, f.Newest,
		[]byte(f.Settings), []byte(f.Schema), raw(string(f.Value)))
}

// SaveFlow implements [store.Tx].
func (t *tx) SaveFlow(f *store.Flow) error {
	return found(t.exec(`UPDATE flow_version SET archived = $1, deleted = $2, newest = $3 WHERE n = $4 AND workspace = $5`,
		f.Archived, f.Deleted, f.Newest, f.N, f.Workspace))
}

// DeleteFlow implements [store.Tx].
func (t *tx) DeleteFlow(workspace, path string) (int, error) {
	return t.exec(`UPDATE flow_version SET deleted = true WHERE workspace = $1 AND path = $2 AND NOT deleted`, workspace, path)
}

// EraseFlows implements [store.Tx].
func (t *tx) EraseFlows(most int) (int, error) {
	return t.exec(`DELETE FROM flow_version WHERE n IN (SELECT v.n FROM flow_version AS v WHERE v.deleted AND NOT EXISTS (
  SELECT 1 FROM job JOIN job_state ON job_state.seq = job.seq WHERE job_state.state < 3 AND job.kind = 'flow'
  AND job.workspace = v.workspace AND job.path = v.path) ORDER BY v.n LIMIT $1::bigint FOR UPDATE SKIP LOCKED)`, int64(most))
}
