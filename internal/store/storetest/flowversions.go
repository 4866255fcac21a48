package storetest

import (
	"encoding/json"
	"strings"
	"time"

	"sluice"
	"sluice/internal/store"
)

// listed is a version as lists have it.
func listed(all ...*store.Flow) []*store.Flow {
	out := make([]*store.Flow, len(all))
	for i, f := range all {
		short := *f
		short.Value, short.Schema = nil, nil
		out[i] = &short
	}
	return out
}

func flowVersions(w *world) {
	flow := func(path string) *store.Flow {
		return &store.Flow{
			Workspace: "main", Path: path, Summary: "sum ü", Description: "what 😀", EditedBy: "ann", EditedAt: w.clock.Wall(), Newest: true,
			Value: json.RawMessage(`{ "modules": [] , "a":"` + strings.Repeat("é", 10_000) + `"}`), Schema: json.RawMessage(` {"x": 1}`),
			Settings: json.RawMessage(`{"tag": null}`),
		}
	}
	one, two, other := flow("f/a%"), flow("f/a%"), flow("f/aXb")
	other.Schema, other.Settings = nil, nil
	w.update(func(tx store.Tx) {
		ok(tx.InsertFlow(one))
		one.Newest = false
		ok(tx.SaveFlow(one))
		ok(tx.InsertFlow(two))
		ok(tx.InsertFlow(other))
		w.isErr("save of none", tx.SaveFlow(&store.Flow{N: 1 << 40, Workspace: "main"}), store.ErrNotFound)
		w.isErr("save of another workspace's", tx.SaveFlow(&store.Flow{N: one.N, Workspace: "two"}), store.ErrNotFound)
	})
	w.equal("numbers ascend", one.N > 0 && one.N < two.N && two.N < other.N, true)
	w.both(func(r store.Reader) {
		w.equal("newest", must(r.Flow("main", "f/a%")), two)
		w.equal("by number", must(r.FlowVersion("main", one.N)), one)
		w.equal("without schema", must(r.FlowVersion("main", other.N)), other)
		w.equal("versions", must(r.FlowVersions("main", "f/a%", 9)), listed(two, one))
		w.equal("newest version", must(r.FlowVersions("main", "f/a%", 1)), listed(two))
		w.equal("list", must(r.Flows(store.FlowFilter{Workspace: "main"})), listed(two, other))
		w.equal("page", must(r.Flows(store.FlowFilter{Workspace: "main", Limit: 1, Offset: 1})), listed(other))
		w.equal("by start", must(r.Flows(store.FlowFilter{Workspace: "main", PathStart: "f/a%"})), listed(two))
		w.equal("another workspace", len(must(r.Flows(store.FlowFilter{Workspace: "two"}))), 0)
		for _, err := range []error{second(r.Flow("main", "f/b")), second(r.Flow("two", "f/a%")), second(r.FlowVersion("two", one.N))} {
			w.isErr("no flow", err, store.ErrNotFound)
		}
	})
	two.Archived = true
	w.update(func(tx store.Tx) { ok(tx.SaveFlow(two)) })
	w.both(func(r store.Reader) {
		w.equal("archived ones too", must(r.Flow("main", "f/a%")), two)
		w.equal("list", must(r.Flows(store.FlowFilter{Workspace: "main"})), listed(other))
		w.equal("archived", must(r.Flows(store.FlowFilter{Workspace: "main", Archived: true})), listed(two))
	})
}

// eraseFlows: what is deleted is seen by number alone, and goes when no run
// may need it.
func eraseFlows(w *world) {
	run := w.jobs(1, func(_ int, j *sluice.Job) { j.Kind, j.Path = sluice.KindFlow, "f/a" })[0]
	flow := func() *store.Flow {
		return &store.Flow{Workspace: run.Workspace, Path: "f/a", EditedAt: w.clock.Wall(), Newest: true, Value: json.RawMessage(`{}`)}
	}
	old, again, other := flow(), flow(), flow()
	other.Path = "f/b"
	w.update(func(tx store.Tx) {
		ok(tx.InsertFlow(old))
		ok(tx.InsertFlow(other))
		for _, f := range []*store.Flow{old, other} {
			ok(tx.SaveFlowLock(run.Workspace, f.N, "a", "first"))
			ok(tx.SaveFlowLock(run.Workspace, f.N, "a", "é=1\n"))
		}
		ok(tx.SaveFlowLock(run.Workspace, other.N, "b", ""))
		w.isErr("lock of another workspace's", tx.SaveFlowLock("two", other.N, "a", "x"), store.ErrNotFound)
		w.isErr("lock of none", tx.SaveFlowLock(run.Workspace, 1<<40, "a", "x"), store.ErrNotFound)
		w.equal("none deleted", must(tx.EraseFlows(9)), 0)
		w.equal("of another workspace", must(tx.DeleteFlow("two", "f/a")), 0)
		w.equal("deleted", must(tx.DeleteFlow(run.Workspace, "f/a")), 1)
		w.equal("again", must(tx.DeleteFlow(run.Workspace, "f/a")), 0)
		w.equal("a run is open", must(tx.EraseFlows(9)), 0)
	})
	old.Deleted = true
	w.both(func(r store.Reader) {
		w.equal("by number", must(r.FlowVersion(run.Workspace, old.N)), old)
		w.isErr("by path", second(r.Flow(run.Workspace, "f/a")), store.ErrNotFound)
		w.equal("list", must(r.Flows(store.FlowFilter{Workspace: run.Workspace})), listed(other))
		w.equal("versions", len(must(r.FlowVersions(run.Workspace, "f/a", 9))), 0)
	})
	w.update(func(tx store.Tx) {
		ok(tx.InsertFlow(again))
		j := must(tx.JobBySeq(run.Seq))
		j.State, j.Outcome, j.CompletedAt = sluice.StateCompleted, sluice.OutcomeSuccess, w.clock.Wall().Add(time.Second)
		ok(tx.SaveJob(j))
		w.equal("erased", must(tx.EraseFlows(9)), 1)
	})
	w.both(func(r store.Reader) {
		w.equal("its lock is gone", must(r.FlowLock(old.N, "a")), (*string)(nil))
		w.equal("a lock", must(r.FlowLock(other.N, "a")), ptr("é=1\n"))
		w.equal("an empty lock", must(r.FlowLock(other.N, "b")), ptr(""))
		w.isErr("gone", second(r.FlowVersion(run.Workspace, old.N)), store.ErrNotFound)
		w.equal("pushed anew", must(r.Flow(run.Workspace, "f/a")), again)
	})
	w.update(func(tx store.Tx) {
		w.equal("both", must(tx.DeleteFlow(run.Workspace, "f/a"))+must(tx.DeleteFlow(run.Workspace, "f/b")), 2)
		w.equal("one at a time", must(tx.EraseFlows(1)), 1)
		w.equal("the other", must(tx.EraseFlows(1)), 1)
		last := flow()
		ok(tx.InsertFlow(last))
		w.equal("a number is not used again", last.N > again.N, true)
	})
}
