package storetest

import (
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

func executionFields(w *world) {
	at := w.clock.Wall()
	g := w.group("g")
	j := w.jobs(1, nil)[0]
	full := &sluice.Execution{
		JobSeq: j.Seq, JobID: j.ID, Attempt: 2, Worker: "w😀", TakeNo: 7, Tag: "gpu", InGroup: true, GroupID: g.ID,
		Limit: limit.Limit{N: 3, Window: time.Minute, Mode: limit.Start}, Source: limit.FromOverride, OrderNo: 1, StartedAt: at,
	}
	loose := &sluice.Execution{JobSeq: j.Seq, JobID: j.ID, Attempt: 3, Worker: "w", Tag: "bash", StartedAt: at}
	w.update(func(tx store.Tx) {
		ok(tx.InsertExecution(full))
		ok(tx.InsertExecution(loose))
	})
	if loose.ID <= full.ID {
		w.Errorf("id %d after %d", loose.ID, full.ID)
	}
	check := func() {
		w.both(func(r store.Reader) {
			w.equal("in a group", must(r.Execution(full.ID)), full)
			w.equal("in none", must(r.Execution(loose.ID)), loose)
			_, err := r.Execution(1 << 40)
			w.isErr("no such execution", err, store.ErrNotFound)
		})
	}
	check()
	for _, e := range []*sluice.Execution{full, loose} {
		e.KillAt = at.Add(time.Hour)
		w.update(func(tx store.Tx) { ok(tx.SaveExecution(e)) })
		check()
		e.ConfirmedAt = at.Add(time.Second)
		if e.InGroup {
			e.LaunchNo = 1
		}
		w.update(func(tx store.Tx) { ok(tx.SaveExecution(e)) })
		check()
		changed := *e
		changed.ReleasedAt, changed.End = at.Add(time.Minute), sluice.EndLost
		if e.InGroup {
			changed.EndNo = 1
		} else {
			changed.End = sluice.EndPrepared
		}
		*e = changed
		changed.Worker, changed.OrderNo, changed.Attempt = "other", 99, 99
		w.update(func(tx store.Tx) { ok(tx.SaveExecution(&changed)) })
		check()
	}
	err := w.try(func(tx store.Tx) { ok(tx.SaveExecution(&sluice.Execution{ID: 1 << 40})) })
	w.isErr("save of no execution", err, store.ErrNotFound)
}

func executionLists(w *world) {
	g, h := w.group("g"), w.group("h")
	a, b, c, d := w.run(g, "w1"), w.run(g, "w2"), w.run(h, "w1"), w.run(nil, "w1")
	e, f := w.run(g, "w1"), w.run(g, "w1")
	w.clock.Pass(time.Second)
	w.confirm(b)
	w.end(b, sluice.EndReported)
	var mid time.Time
	w.update(func(tx store.Tx) { mid = tx.Now() })
	w.clock.Pass(time.Second)
	w.end(a, sluice.EndLost)
	w.end(e, sluice.EndStruck)
	w.clock.Pass(time.Second)
	w.end(d, sluice.EndReported)
	list := func(want ...*sluice.Execution) []int64 { return executionIDs(want) }
	w.both(func(r store.Reader) {
		w.equal("held in g", must(r.HeldExecutions(g.ID, 10)), []*sluice.Execution{f})
		w.equal("held in h", executionIDs(must(r.HeldExecutions(h.ID, 10))), list(c))
		w.equal("held by w1", executionIDs(must(r.HeldBy("w1"))), list(c, f))
		w.equal("held by nobody", len(must(r.HeldBy("w3"))), 0)
		w.equal("held by flows", len(must(r.HeldByFlows(10))), 0)
		w.equal("recent in g", must(r.Recent(g.ID, time.Time{}, 10)), []*sluice.Execution{a, b})
		w.equal("recent in g since", executionIDs(must(r.Recent(g.ID, mid, 10))), list(a))
		w.equal("after is after", executionIDs(must(r.Recent(g.ID, b.ReleasedAt, 10))), list(a))
		w.equal("at most", executionIDs(must(r.Recent(g.ID, time.Time{}, 1))), list(a))
		w.equal("recent in all", executionIDs(must(r.Recent(0, time.Time{}, 10))), list(d, a, b))
		w.equal("recent in all since", executionIDs(must(r.Recent(0, mid, 1))), list(d))
		w.equal("history of g", must(r.History(g.ID, 0, 10)), []*sluice.Execution{a, b, e, f})
		w.equal("history of g after", executionIDs(must(r.History(g.ID, 1, 2))), list(b, e))
		w.equal("history of all", executionIDs(must(r.History(0, a.ID, 4))), list(b, c, d, e))
	})
	two := *f
	two.Attempt, two.ID, two.OrderNo = 2, 0, 99
	w.update(func(tx store.Tx) { ok(tx.InsertExecution(&two)) })
	w.both(func(r store.Reader) {
		w.equal("attempts", executionIDs(must(r.Attempts(f.JobSeq))), list(f, &two))
		w.equal("held, first first", executionIDs(must(r.HeldExecutions(g.ID, 10))), list(f, &two))
		w.equal("held, at most", executionIDs(must(r.HeldExecutions(g.ID, 1))), list(f))
	})
	inH, inG := w.run(h, ""), w.run(g, "")
	over := w.run(g, "")
	w.run(nil, "")
	w.end(over, sluice.EndReported)
	w.both(func(r store.Reader) {
		w.equal("held by flows", must(r.HeldByFlows(10)), []*sluice.Execution{inH, inG})
		w.equal("held by flows, at most", executionIDs(must(r.HeldByFlows(1))), list(inH))
	})
}

func instantCase(w *world) {
	g, h := w.group("g"), w.group("h")
	a, b, c := w.run(g, "w"), w.run(g, "w"), w.run(g, "w")
	w.run(h, "w")
	w.clock.Pass(time.Second)
	w.confirm(b) // launch 1
	w.clock.Pass(time.Second)
	w.end(a, sluice.EndReported) // launch 2 (unconfirmed), release 1
	w.clock.Pass(time.Second)
	w.end(b, sluice.EndReported) // release 2
	w.end(c, sluice.EndStruck)
	w.both(func(r store.Reader) {
		for _, want := range []struct {
			series limit.Series
			no     int64
			at     time.Time
		}{
			{limit.Launches, 1, b.ConfirmedAt},
			{limit.Launches, 2, a.ReleasedAt},
			{limit.Releases, 1, a.ReleasedAt},
			{limit.Releases, 2, b.ReleasedAt},
		} {
			w.equal("instant", must(r.Instant(g.ID, want.series, want.no)), want.at)
		}
		for _, no := range []int64{0, -1, 3} {
			for _, s := range []limit.Series{limit.Launches, limit.Releases} {
				_, err := r.Instant(g.ID, s, no)
				w.isErr("a gap", err, store.ErrNotFound)
			}
		}
		_, err := r.Instant(h.ID, limit.Releases, 1)
		w.isErr("another group", err, store.ErrNotFound)
	})
}

func lockExecutions(w *world) {
	g, h := w.group("g"), w.group("h")
	a, b, c, d := w.run(g, "w"), w.run(h, "w"), w.run(nil, "w"), w.run(g, "w")
	w.update(func(tx store.Tx) {
		list, groups, err := tx.LockExecutions([]int64{d.ID, 1 << 40, c.ID, b.ID, a.ID})
		ok(err)
		w.equal("executions", list, []*sluice.Execution{d, nil, c, b, a})
		w.equal("groups", groups, map[int64]*store.Group{g.ID: must(tx.GroupByID(g.ID)), h.ID: must(tx.GroupByID(h.ID))})
		list, groups, err = tx.LockExecutions(nil)
		ok(err)
		w.equal("none", len(list)+len(groups), 0)
	})
}

func workers(w *world) {
	base := w.clock.Wall()
	row := func(name, instance string, ping time.Duration) *store.WorkerRow {
		r := &store.WorkerRow{}
		r.Worker, r.Instance, r.StartedAt, r.LastPing = name, instance, base, base.Add(ping)
		r.Group, r.Version, r.Address, r.Isolation, r.Places, r.JobsRun, r.SettledTake = "g", "1.2", "1.2.3.4", "none", 4, 9, 7
		r.Tags, r.Languages, r.Missing = []string{"bash", "gpu"}, []string{"bash"}, []string{"go"}
		return r
	}
	rows := []*store.WorkerRow{row("w1", "i1", 0), row("w2", "i1", time.Second), row("w3", "i2", 2*time.Second), row("w4", "i2", 3*time.Second)}
	w.update(func(tx store.Tx) {
		for _, r := range rows {
			ok(tx.SaveWorker(r))
		}
	})
	w.update(func(tx store.Tx) {
		again := *rows[1]
		again.StartedAt = base.Add(time.Hour) // stays what it was
		again.JobsRun, rows[1].JobsRun = 10, 10
		ok(tx.SaveWorker(&again))
	})
	for _, name := range []string{"w1", "w1", "w3", "w4"} {
		w.run(nil, name)
	}
	rows[0].Running, rows[2].Running, rows[3].Running = 2, 1, 1
	w.both(func(r store.Reader) {
		w.equal("all", must(r.Workers(time.Time{})), rows)
		w.equal("since", must(r.Workers(base.Add(2*time.Second))), rows[2:])
	})
	names := func(list []*store.WorkerRow) (out []string) {
		for _, r := range list {
			out = append(out, r.Worker)
		}
		return out
	}
	w.update(func(tx store.Tx) {
		w.equal("silent", must(tx.SilentWorkers(base.Add(2*time.Second), 10)), []*store.WorkerRow{rows[0], rows[2]})
		w.equal("at most", len(must(tx.SilentWorkers(base.Add(time.Hour), 2))), 2)
		w.equal("none", len(must(tx.SilentWorkers(base.Add(-1), 10))), 0)
		ok(tx.MarkGone("i2"))
		w.equal("gone", names(must(tx.SilentWorkers(base.Add(-1), 10))), []string{"w3", "w4"})
		rows[2].Gone = false
		ok(tx.SaveWorker(rows[2]))
		w.equal("back", names(must(tx.SilentWorkers(base.Add(-1), 10))), []string{"w4"})
		w.equal("deleted, at most", must(tx.DeleteWorkers(base, 10)), 0)
		w.equal("deleted", must(tx.DeleteWorkers(base.Add(time.Hour), 10)), 1)
		w.equal("those that hold something stay", names(must(tx.Workers(time.Time{}))), []string{"w1", "w3", "w4"})
	})
}

func workspaces(w *world) {
	at := w.clock.Wall()
	b := &store.Workspace{ID: "b", Name: "Bee", Owner: "ann", CreatedAt: at}
	a := &store.Workspace{ID: "a"}
	w.update(func(tx store.Tx) {
		ok(tx.SaveWorkspace(b))
		ok(tx.SaveWorkspace(a))
		w.isErr("again", tx.SaveWorkspace(&store.Workspace{ID: "b"}), store.ErrExists)
	})
	w.both(func(r store.Reader) {
		w.equal("one", must(r.Workspace("b")), b)
		w.equal("all", must(r.Workspaces()), []*store.Workspace{a, b})
		_, err := r.Workspace("c")
		w.isErr("none", err, store.ErrNotFound)
	})
}

func scripts(w *world) {
	at := w.clock.Wall()
	script := func(hash, path, parent string) *store.Script {
		return &store.Script{
			Hash: hash, Workspace: "main", Path: path, Parent: parent, Content: "echo '😀'\x00", Language: "bash", Summary: "s", Kind: "script",
			Settings: []byte(`{"tag": null}`), CreatedBy: "ann", CreatedAt: at, Newest: true,
		}
	}
	one, two, other := script("01", "f/a%", ""), script("02", "f/a%", "01"), script("03", "f/aXb", "")
	w.update(func(tx store.Tx) {
		ok(tx.InsertScript(one))
		one.Newest = false
		ok(tx.SaveScript(one))
		ok(tx.InsertScript(two))
		ok(tx.InsertScript(other))
		w.isErr("hash in use", tx.InsertScript(script("01", "f/else", "")), store.ErrExists)
		w.isErr("save of none", tx.SaveScript(script("09", "", "")), store.ErrNotFound)
	})
	all := []*store.Script{two, other}
	w.both(func(r store.Reader) {
		w.equal("newest", must(r.Script("main", "f/a%")), two)
		w.equal("by hash", must(r.ScriptByHash("main", "01")), one)
		w.equal("versions", must(r.ScriptVersions("main", "f/a%")), []*store.Script{two, one})
		w.equal("list", must(r.Scripts(store.ScriptFilter{Workspace: "main"})), all)
		w.equal("page", must(r.Scripts(store.ScriptFilter{Workspace: "main", Limit: 1, Offset: 1})), all[1:])
		w.equal("by start", must(r.Scripts(store.ScriptFilter{Workspace: "main", PathStart: "f/a%"})), all[:1])
		w.equal("another workspace", len(must(r.Scripts(store.ScriptFilter{Workspace: "two"}))), 0)
		for _, err := range []error{second(r.Script("main", "f/b")), second(r.Script("two", "f/a%")), second(r.ScriptByHash("two", "01"))} {
			w.isErr("no script", err, store.ErrNotFound)
		}
	})
	w.update(func(tx store.Tx) {
		two.Archived = true
		ok(tx.SaveScript(two))
		other.Deleted = true
		ok(tx.SaveScript(other))
	})
	w.both(func(r store.Reader) {
		w.equal("archived ones too", must(r.Script("main", "f/a%")), two)
		w.equal("list", len(must(r.Scripts(store.ScriptFilter{Workspace: "main"}))), 0)
		w.equal("archived", must(r.Scripts(store.ScriptFilter{Workspace: "main", Archived: true})), []*store.Script{two})
	})
	eraseScripts(w, one, two)
}

// eraseScripts empties one version, then all of its path.
func eraseScripts(w *world, one, two *store.Script) {
	erased := func(s *store.Script) *store.Script {
		e := *s
		e.Content, e.Summary, e.Settings, e.Archived, e.Deleted = "", "", []byte("{}"), true, true
		return &e
	}
	w.update(func(tx store.Tx) {
		w.equal("another workspace", must(tx.EraseScripts("two", one.Path, "")), 0)
		w.equal("another path", must(tx.EraseScripts("main", "f/none", one.Hash)), 0)
		w.equal("one", must(tx.EraseScripts("main", one.Path, one.Hash)), 1)
		w.equal("seen at once", must(tx.ScriptByHash("main", one.Hash)), erased(one))
		w.equal("the other", must(tx.ScriptByHash("main", two.Hash)), two)
		w.equal("the rest", must(tx.EraseScripts("main", one.Path, "")), 1)
		w.equal("again", must(tx.EraseScripts("main", one.Path, "")), 0)
	})
	w.both(func(r store.Reader) {
		w.equal("versions", must(r.ScriptVersions("main", one.Path)), []*store.Script{erased(two), erased(one)})
		w.equal("f/aXb stays", must(r.Script("main", "f/aXb")).Content != "", true)
	})
}

func second[T any](_ T, err error) error { return err }
