package sqlite

import (
	"time"

	"sluice/internal/store"
)

const scheduleCols = `workspace, path, enabled, next_us, failed, next_job, edited_us, edited_by, email, error, body`

var (
	qSchedule  = sqlText(`SELECT ` + scheduleCols + ` FROM schedule WHERE workspace = ? AND path = ?`)
	qSchedules = listText(`SELECT `+scheduleCols+` FROM schedule WHERE workspace = ?1 AND path >= ?2 AND substr(path, 1, length(?2)) = ?2 ORDER BY path
LIMIT ?3 OFFSET ?4`, "schedule", store.KindSchedule)
	qSaveSchedule = sqlText(`INSERT OR REPLACE INTO schedule (` + scheduleCols + `) VALUES (?,?,?,?,?,?,?,?,?,?,?)`)
	qDropSchedule = sqlText(`DELETE FROM schedule WHERE workspace = ? AND path = ?`)
	qDueSchedules = sqlText(`SELECT ` + scheduleCols + ` FROM schedule WHERE next_us > 0 AND next_us <= ? ORDER BY next_us LIMIT ?`)
	qNextSchedule = sqlText(`SELECT next_us FROM schedule WHERE next_us > 0 ORDER BY next_us LIMIT 1`)
	qAddTick      = sqlText(`INSERT INTO tick (workspace, path, due_us) VALUES (?,?,?) ON CONFLICT DO NOTHING`)
	qDropTick     = sqlText(`DELETE FROM tick WHERE workspace = ? AND path = ? AND due_us = ?`)
	qOldTicks     = coldText(`DELETE FROM tick WHERE (workspace, path, due_us) IN (SELECT workspace, path, due_us FROM tick WHERE due_us < ? LIMIT ?)`)
)

func (r *reader) schedules(s *stmt) ([]*store.Schedule, error) {
	var list []*store.Schedule
	for s.next() {
		list = append(list, &store.Schedule{
			Workspace: s.getStr(), Path: s.getStr(), Enabled: s.getBool(), NextAt: s.getAt(), Failed: int(s.getInt()), NextJob: s.getUUID(),
			EditedAt: s.getAt(), EditedBy: s.getStr(), Email: s.getStr(), Error: s.getStr(), Body: s.getBytes(),
		})
	}
	return list, s.end()
}

// Schedule implements [store.Reader].
func (r *reader) Schedule(workspace, path string) (*store.Schedule, error) {
	list, err := r.schedules(r.c.use(qSchedule).str(workspace).str(path))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return list[0], nil
}

// Schedules implements [store.Reader].
func (r *reader) Schedules(f store.ScheduleFilter) ([]*store.Schedule, error) {
	return r.schedules(r.page(qSchedules, f.Sight, func(s *stmt) {
		s.str(f.Workspace).str(f.PathStart).int(int64(orDefault(f.Limit))).int(int64(f.Offset))
	}))
}

// LockSchedule implements [store.Tx].
func (t *tx) LockSchedule(workspace, path string) (*store.Schedule, error) {
	return t.Schedule(workspace, path)
}

// SaveSchedule implements [store.Tx].
func (t *tx) SaveSchedule(s *store.Schedule) error {
	t.wrote = true
	_, err := t.c.use(qSaveSchedule).str(s.Workspace).str(s.Path).bool(s.Enabled).at(s.NextAt).int(int64(s.Failed)).uuid(s.NextJob).
		at(s.EditedAt).str(s.EditedBy).str(s.Email).str(s.Error).bytes(s.Body).run()
	return err
}

// DeleteSchedule implements [store.Tx].
func (t *tx) DeleteSchedule(workspace, path string) error {
	t.wrote = true
	n, err := t.c.use(qDropSchedule).str(workspace).str(path).run()
	if err == nil && n == 0 {
		return store.ErrNotFound
	}
	return err
}

// DueSchedules implements [store.Tx].
func (t *tx) DueSchedules(now time.Time, most int) ([]*store.Schedule, error) {
	return t.schedules(t.c.use(qDueSchedules).at(now).int(int64(most)))
}

// NextSchedule implements [store.Tx].
func (t *tx) NextSchedule() (at time.Time, err error) {
	_, err = t.c.use(qNextSchedule).one(func(s *stmt) { at = s.getAt() })
	return at, err
}

// AddTick implements [store.Tx].
func (t *tx) AddTick(workspace, path string, due time.Time) error {
	t.wrote = true
	n, err := t.c.use(qAddTick).str(workspace).str(path).at(due).run()
	if err == nil && n == 0 {
		return store.ErrExists
	}
	return err
}

// DropTick implements [store.Tx].
func (t *tx) DropTick(workspace, path string, due time.Time) error {
	t.wrote = true
	_, err := t.c.use(qDropTick).str(workspace).str(path).at(due).run()
	return err
}

// DeleteTicks implements [store.Tx].
func (t *tx) DeleteTicks(before time.Time, most int) (int, error) {
	n, err := t.c.use(qOldTicks).at(before).int(int64(most)).run()
	t.wrote = t.wrote || n > 0
	return n, err
}
