package postgres

import (
	"time"

	"sluice/internal/store"
)

const (
	scheduleCols = `workspace, path, enabled, next_us, failed, next_job, edited_us, edited_by, email, error, body`
	qSchedules   = `SELECT ` + scheduleCols + ` FROM schedule WHERE `
)

func (r *reader) schedules(where string, args ...any) (list []*store.Schedule, err error) {
	err = r.rows(func(w *row) {
		list = append(list, &store.Schedule{
			Workspace: w.getStr(), Path: w.getStr(), Enabled: w.getBool(), NextAt: w.getAt(), Failed: int(w.getInt()), NextJob: w.getUUID(),
			EditedAt: w.getAt(), EditedBy: w.getStr(), Email: w.getStr(), Error: w.getStr(), Body: w.getBytes(),
		})
	}, qSchedules+where, args...)
	return list, err
}

func (r *reader) schedule(where string, args ...any) (*store.Schedule, error) {
	list, err := r.schedules(where, args...)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return list[0], nil
}

// Schedule implements [store.Reader].
func (r *reader) Schedule(workspace, path string) (*store.Schedule, error) {
	return r.schedule(`workspace = $1::text AND path = $2::text`, workspace, path)
}

// Schedules implements [store.Reader].
func (r *reader) Schedules(f store.ScheduleFilter) ([]*store.Schedule, error) {
	where, args := bySight("schedule", store.KindSchedule, f.Sight, `workspace = $1::text AND path >= $2::text AND starts_with(path, $2::text)`,
		f.Workspace, f.PathStart, orDefault(f.Limit), int64(f.Offset))
	return r.schedules(where+` ORDER BY path LIMIT $3::bigint OFFSET $4::bigint`, args...)
}

// LockSchedule implements [store.Tx]. It waits for the lock, but not for long:
// then the update runs again.
func (t *tx) LockSchedule(workspace, path string) (*store.Schedule, error) {
	return t.schedule(`workspace = $1::text AND path = $2::text FOR UPDATE`, workspace, path)
}

// SaveSchedule implements [store.Tx].
func (t *tx) SaveSchedule(s *store.Schedule) error {
	_, err := t.exec(`INSERT INTO schedule (`+scheduleCols+`) VALUES ($1, $2, $3, $4, $5, nullif($6::text, '')::uuid, $7, $8, $9, $10, $11)
ON CONFLICT (workspace, path) DO UPDATE SET enabled = excluded.enabled, next_us = excluded.next_us, failed = excluded.failed,
next_job = excluded.next_job, edited_us = excluded.edited_us, edited_by = excluded.edited_by, email = excluded.email,
error = excluded.error, body = excluded.body`, s.Workspace, s.Path, s.Enabled, micros(s.NextAt), int64(s.Failed), uuidOf(s.NextJob),
		micros(s.EditedAt), s.EditedBy, s.Email, raw(s.Error), raw(string(s.Body)))
	return err
}

// DeleteSchedule implements [store.Tx].
func (t *tx) DeleteSchedule(workspace, path string) error {
	return found(t.exec(`DELETE FROM schedule WHERE workspace = $1 AND path = $2`, workspace, path))
}

// DueSchedules implements [store.Tx]. It leaves out those that another
// transaction has locked.
func (t *tx) DueSchedules(now time.Time, most int) ([]*store.Schedule, error) {
	return t.schedules(`next_us > 0 AND next_us <= $1::bigint ORDER BY next_us LIMIT $2::bigint FOR UPDATE SKIP LOCKED`, micros(now), int64(most))
}

// NextSchedule implements [store.Tx].
func (t *tx) NextSchedule() (at time.Time, err error) {
	err = t.rows(func(r *row) { at = r.getAt() }, `SELECT next_us FROM schedule WHERE next_us > 0 ORDER BY next_us LIMIT 1`)
	return at, err
}

// AddTick implements [store.Tx].
func (t *tx) AddTick(workspace, path string, due time.Time) error {
	return t.insert(`INSERT INTO tick (workspace, path, due_us) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, workspace, path, micros(due))
}

// DropTick implements [store.Tx].
func (t *tx) DropTick(workspace, path string, due time.Time) error {
	_, err := t.exec(`DELETE FROM tick WHERE workspace = $1 AND path = $2 AND due_us = $3`, workspace, path, micros(due))
	return err
}

// DeleteTicks implements [store.Tx].
func (t *tx) DeleteTicks(before time.Time, most int) (int, error) {
	return t.exec(`DELETE FROM tick WHERE ctid = ANY(ARRAY(SELECT ctid FROM tick WHERE due_us < $1::bigint LIMIT $2::bigint FOR UPDATE SKIP LOCKED))`,
		micros(before), int64(most))
}
