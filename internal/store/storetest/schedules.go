package storetest

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/store"
)

func schedules(w *world) {
	at := w.clock.Wall()
	schedule := func(path string, next time.Time) *store.Schedule {
		return &store.Schedule{
			Workspace: "main", Path: path, Body: json.RawMessage(`{ "schedule": "ü" }`), Enabled: true, NextAt: next, NextJob: uuid.NewString(),
			Failed: -2, EditedBy: "ann", Email: "a@b.c", EditedAt: at, Error: "why",
		}
	}
	a, b, idle := schedule("f/a%", at.Add(2*time.Second)), schedule("f/aX", at.Add(time.Second)), schedule("f/b", time.Time{})
	idle.NextJob, idle.Enabled = "", false
	w.update(func(tx store.Tx) {
		for _, s := range []*store.Schedule{b, a, idle} {
			ok(tx.SaveSchedule(s))
		}
		w.equal("locked", must(tx.LockSchedule("main", "f/a%")), a)
		w.isErr("lock of none", second(tx.LockSchedule("two", "f/a%")), store.ErrNotFound)
		w.isErr("deletion of none", tx.DeleteSchedule("main", "f/c"), store.ErrNotFound)
		w.equal("due", must(tx.DueSchedules(at.Add(2*time.Second), 9)), []*store.Schedule{b, a})
		w.equal("first due", must(tx.DueSchedules(at.Add(2*time.Second), 1)), []*store.Schedule{b})
		w.equal("due before", len(must(tx.DueSchedules(at.Add(time.Second-time.Microsecond), 9))), 0)
		w.equal("next", must(tx.NextSchedule()), b.NextAt)
	})
	w.both(func(r store.Reader) {
		w.equal("one", must(r.Schedule("main", "f/a%")), a)
		w.isErr("none", second(r.Schedule("two", "f/a%")), store.ErrNotFound)
		w.equal("list", must(r.Schedules(store.ScheduleFilter{Workspace: "main"})), []*store.Schedule{a, b, idle})
		w.equal("page", must(r.Schedules(store.ScheduleFilter{Workspace: "main", Limit: 1, Offset: 1})), []*store.Schedule{b})
		w.equal("by start", must(r.Schedules(store.ScheduleFilter{Workspace: "main", PathStart: "f/a%"})), []*store.Schedule{a})
	})
	b.NextAt, b.NextJob, b.Error, b.Body = time.Time{}, "", "", json.RawMessage(`{}`)
	w.update(func(tx store.Tx) {
		ok(tx.SaveSchedule(b))
		ok(tx.DeleteSchedule("main", "f/a%"))
		w.equal("no next", must(tx.NextSchedule()), time.Time{})
	})
	w.both(func(r store.Reader) {
		w.equal("changed", must(r.Schedules(store.ScheduleFilter{Workspace: "main"})), []*store.Schedule{b, idle})
	})
}

func ticks(w *world) {
	at := w.clock.Wall()
	w.update(func(tx store.Tx) {
		ok(tx.AddTick("main", "f/a", at))
		w.isErr("the same instant again", tx.AddTick("main", "f/a", at), store.ErrExists)
		ok(tx.AddTick("main", "f/a", at.Add(time.Microsecond)))
		ok(tx.AddTick("main", "f/b", at))
		ok(tx.AddTick("two", "f/a", at))
	})
	w.isErr("in another transaction", w.try(func(tx store.Tx) { ok(tx.AddTick("main", "f/a", at)) }), store.ErrExists)
	w.update(func(tx store.Tx) {
		ok(tx.DropTick("main", "f/a", at))
		ok(tx.DropTick("main", "f/a", at))
		ok(tx.AddTick("main", "f/a", at))
		w.equal("deleted", must(tx.DeleteTicks(at.Add(time.Microsecond), 2)), 2)
		w.equal("deleted then", must(tx.DeleteTicks(at.Add(time.Microsecond), 2)), 1)
		w.equal("none is left", must(tx.DeleteTicks(at.Add(time.Microsecond), 2)), 0)
		w.isErr("a later one stays", tx.AddTick("main", "f/a", at.Add(time.Microsecond)), store.ErrExists)
	})
}

func scheduleJobs(w *world) {
	list := w.jobs(3, func(i int, j *sluice.Job) {
		if i > 0 {
			j.Schedule = "f/s"
		}
	})
	w.both(func(r store.Reader) {
		w.equal("runs", len(must(r.Jobs(store.JobFilter{Workspace: "main", Schedule: "f/s"}))), 2)
		w.equal("of another", len(must(r.Jobs(store.JobFilter{Workspace: "main", Schedule: "f/t"}))), 0)
		w.equal("no runs", must(r.Jobs(store.JobFilter{Workspace: "main", NoSchedule: true})), list[:1])
	})
}
