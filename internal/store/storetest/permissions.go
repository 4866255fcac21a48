package storetest

import (
	"fmt"

	"sluice"
	"sluice/internal/store"
)

func grants(w *world) {
	read, write := store.RightRead, store.RightWrite
	w.update(func(tx store.Tx) {
		for _, g := range []struct {
			workspace, kind, path, who string
			right                      store.Right
		}{
			{"one", store.KindScript, "f/a/x", "u/ann", read},
			{"one", store.KindScript, "f/a/x", "g/devs", write},
			{"one", store.KindFlow, "f/a/x", "u/bob", write},
			{"two", store.KindScript, "f/a/x", "u/zoe", read},
			{"one", store.KindScript, "f/a/y", "u/ann", read},
			{"one", store.KindFolder, "a", "u/ann", read},
			{"one", store.KindFolder, "a", "g/all", store.RightOwn},
			{"one", store.KindFolder, "b", "u/ann", write},
		} {
			ok(tx.SetGrant(g.workspace, g.kind, g.path, store.Grant{Who: g.who, Right: g.right}))
		}
	})
	w.both(func(r store.Reader) {
		w.equal("of things", must(r.Grants("one", store.KindScript, "f/a/x", "f/a/y", "f/a/z")), map[string][]store.Grant{
			"f/a/x": {{Who: "g/devs", Right: write}, {Who: "u/ann", Right: read}}, "f/a/y": {{Who: "u/ann", Right: read}},
		})
		w.equal("of none", len(must(r.Grants("one", store.KindScript))), 0)
		w.equal("granted", must(r.Granted("one", store.KindFolder, []string{"u/ann", "g/all"})), map[string]store.Right{"a": store.RightOwn, "b": write})
		w.equal("granted to nobody", len(must(r.Granted("one", store.KindFolder, nil))), 0)
	})
	w.update(func(tx store.Tx) {
		ok(tx.SetGrant("one", store.KindScript, "f/a/x", store.Grant{Who: "u/ann", Right: write}))
		ok(tx.SetGrant("one", store.KindScript, "f/a/x", store.Grant{Who: "g/devs"}))
		ok(tx.SetGrant("one", store.KindScript, "f/a/x", store.Grant{Who: "g/never"}))
		ok(tx.MoveGrants("one", store.KindScript, "f/a/x", "f/a/y"))
		ok(tx.DropGrants("one", store.KindFolder, "a"))
		ok(tx.DropGrants("one", store.KindFolder, "none"))
	})
	w.both(func(r store.Reader) {
		w.equal("moved", must(r.Grants("one", store.KindScript, "f/a/x", "f/a/y")), map[string][]store.Grant{"f/a/y": {{Who: "u/ann", Right: write}}})
		w.equal("another kind", len(must(r.Grants("one", store.KindFlow, "f/a/x"))), 1)
		w.equal("another workspace", len(must(r.Grants("two", store.KindScript, "f/a/x"))), 1)
		w.equal("dropped", must(r.Granted("one", store.KindFolder, []string{"u/ann", "g/all"})), map[string]store.Right{"b": write})
	})
	w.update(func(tx store.Tx) { ok(tx.DropGrantee("one", "u/ann")) })
	w.view(func(r store.Reader) {
		w.equal("of nobody any more", len(must(r.Granted("one", store.KindFolder, []string{"u/ann"}))), 0)
		w.equal("bob's", len(must(r.Grants("one", store.KindFlow, "f/a/x"))), 1)
	})
}

func userGroups(w *world) {
	w.update(func(tx store.Tx) {
		for _, name := range []string{"zoe", "ann"} {
			u := store.User{Email: name + "@x.org", Username: name}
			ok(tx.InsertUser(&u))
			ok(tx.SaveMember(&store.Member{Workspace: "one", Role: sluice.RoleDeveloper, User: u}))
		}
		for _, g := range []*store.UserGroup{{Workspace: "one", Name: "ops", Summary: "ü"}, {Workspace: "one", Name: "devs"}, {Workspace: "two", Name: "devs"}} {
			ok(tx.InsertUserGroup(g))
		}
		w.isErr("again", tx.InsertUserGroup(&store.UserGroup{Workspace: "one", Name: "ops"}), store.ErrExists)
		for _, name := range []string{"zoe", "ann", "zoe"} {
			ok(tx.JoinGroup("one", "devs", name+"@x.org"))
		}
		ok(tx.JoinGroup("one", "ops", "ann@x.org"))
		ok(tx.JoinGroup("two", "devs", "ann@x.org"))
		w.isErr("leave", tx.LeaveGroup("one", "ops", "zoe@x.org"), store.ErrNotFound)
		w.isErr("save none", tx.SaveUserGroup(&store.UserGroup{Workspace: "two", Name: "ops"}), store.ErrNotFound)
		w.isErr("delete none", tx.DeleteUserGroup("two", "ops"), store.ErrNotFound)
	})
	devs := &store.UserGroup{Workspace: "one", Name: "devs", Members: []string{"ann", "zoe"}}
	ops := &store.UserGroup{Workspace: "one", Name: "ops", Summary: "ü", Members: []string{"ann"}}
	w.both(func(r store.Reader) {
		w.equal("one", must(r.UserGroup("one", "devs")), devs)
		w.equal("all", must(r.UserGroups("one")), []*store.UserGroup{devs, ops})
		w.equal("of ann", must(r.GroupsOf("one", "ann@x.org")), []string{"devs", "ops"})
		w.equal("of nobody", len(must(r.GroupsOf("two", "zoe@x.org"))), 0)
		w.isErr("none", second(r.UserGroup("one", "x")), store.ErrNotFound)
		w.isErr("no name", second(r.UserGroup("one", "")), store.ErrNotFound)
	})
	w.update(func(tx store.Tx) {
		ops.Summary = "new"
		ok(tx.SaveUserGroup(ops))
		ok(tx.LeaveGroup("one", "devs", "zoe@x.org"))
		ok(tx.DeleteMember("one", "ann@x.org"))
	})
	w.view(func(r store.Reader) {
		w.equal("whoever leaves the workspace leaves its groups", must(r.UserGroups("one")),
			[]*store.UserGroup{{Workspace: "one", Name: "devs"}, {Workspace: "one", Name: "ops", Summary: "new"}})
		w.equal("and no others", must(r.GroupsOf("two", "ann@x.org")), []string{"devs"})
	})
	w.update(func(tx store.Tx) {
		ok(tx.JoinGroup("one", "ops", "ann@x.org"))
		ok(tx.DeleteUserGroup("one", "ops"))
		ok(tx.DeleteUser("ann@x.org"))
		ok(tx.InsertUser(&store.User{Email: "ann@x.org", Username: "ann"}))
	})
	w.view(func(r store.Reader) {
		w.equal("of who is new", len(must(r.GroupsOf("two", "ann@x.org"))), 0)
		w.equal("left", len(must(r.UserGroups("one"))), 1)
	})
}

// sightPaths are where things stand; ann sees those that are marked.
var sightPaths = []struct {
	path string
	seen bool
}{
	{"f/a/x", true},
	{"f/a/y/z", true},
	{"f/ab/x", false},
	{"f/b/granted", true},
	{"f/b/x", false},
	{"g/devs/x", true},
	{"g/ops/x", false},
	{"open", true},
	{"u/ann/x", true},
	{"u/anna/x", false},
	{"u/bob/x", false},
	{"über/x", true},
}

// sights: lists are bounded by what somebody may see before they are cut into pages.
func sights(w *world) {
	ann := &store.Sight{Email: "ann@x.org", Roots: []string{"u/ann", "f/a", "g/devs"}, Names: []string{"u/ann", "g/devs"}}
	var want []string
	jobs := map[string]bool{}
	w.update(func(tx store.Tx) {
		for i, p := range sightPaths {
			if p.seen {
				want = append(want, p.path)
			}
			ok(tx.InsertScript(&store.Script{Hash: fmt.Sprintf("%016x", i), Workspace: "main", Path: p.path, Settings: []byte("{}"), Newest: true}))
			ok(tx.InsertFlow(&store.Flow{Workspace: "main", Path: p.path, Value: []byte("{}"), Settings: []byte("{}"), Newest: true}))
			ok(tx.SaveSchedule(&store.Schedule{Workspace: "main", Path: p.path, Body: []byte("{}")}))
			ok(tx.InsertVariable(&store.Variable{Workspace: "main", Path: p.path}))
			ok(tx.InsertResource(&store.Resource{Workspace: "main", Path: p.path, Value: []byte("1")}))
		}
		for _, kind := range []string{store.KindScript, store.KindFlow, store.KindSchedule, store.KindVariable, store.KindResource} {
			ok(tx.SetGrant("main", kind, "f/b/granted", store.Grant{Who: "g/devs", Right: store.RightRead}))
			ok(tx.SetGrant("two", kind, "f/b/x", store.Grant{Who: "u/ann", Right: store.RightRead}))
			ok(tx.SetGrant("main", kind, "f/b/x", store.Grant{Who: "u/bob", Right: store.RightRead}))
		}
		sightJobs(w, tx, jobs)
	})
	w.view(func(r store.Reader) {
		for name, list := range map[string]func(offset, limit int) []string{
			"scripts": func(at, n int) (out []string) {
				for _, s := range must(r.Scripts(store.ScriptFilter{Workspace: "main", Sight: ann, Offset: at, Limit: n})) {
					out = append(out, s.Path)
				}
				return out
			},
			"flows": func(at, n int) (out []string) {
				for _, f := range must(r.Flows(store.FlowFilter{Workspace: "main", Sight: ann, Offset: at, Limit: n})) {
					out = append(out, f.Path)
				}
				return out
			},
			"schedules": func(at, n int) (out []string) {
				for _, s := range must(r.Schedules(store.ScheduleFilter{Workspace: "main", Sight: ann, Offset: at, Limit: n})) {
					out = append(out, s.Path)
				}
				return out
			},
			"variables": func(at, n int) (out []string) {
				for _, v := range must(r.Variables(store.VariableFilter{Workspace: "main", Sight: ann, Offset: at, Limit: n})) {
					out = append(out, v.Path)
				}
				return out
			},
			"resources": func(at, n int) (out []string) {
				for _, v := range must(r.Resources(store.VariableFilter{Workspace: "main", Sight: ann, Offset: at, Limit: n})) {
					out = append(out, v.Path)
				}
				return out
			},
		} {
			w.equal(name, list(0, 100), want)
			w.equal("a page of "+name, list(2, 3), want[2:5])
		}
		w.equal("nobody's", len(must(r.Scripts(store.ScriptFilter{Workspace: "main", Sight: &store.Sight{}}))), 2)
		seen := map[string]bool{}
		for _, j := range must(r.Jobs(store.JobFilter{Workspace: "main", Sight: ann})) {
			seen[j.ID] = true
		}
		w.equal("jobs", seen, jobs)
		w.equal("count", must(r.CountJobs(store.JobFilter{Workspace: "main", Sight: ann})), int64(len(jobs)))
		w.equal("page", len(must(r.Jobs(store.JobFilter{Workspace: "main", Sight: ann, Offset: 2, Limit: 3}))), 3)
	})
}

// sightJobs stores jobs, and notes which of them ann sees.
func sightJobs(w *world, tx store.Tx, seen map[string]bool) {
	var list []*sluice.Job
	add := func(sees bool, with func(*sluice.Job)) {
		j := w.job()
		j.Email = "bob@x.org"
		with(j)
		list = append(list, j)
		if sees {
			seen[j.ID] = true
		}
	}
	for _, p := range sightPaths {
		add(p.seen, func(j *sluice.Job) { j.Path = p.path })
		add(p.seen, func(j *sluice.Job) { j.Kind, j.Path, j.Step = sluice.KindFlowScript, p.path+"/é", "é" })
	}
	add(true, func(j *sluice.Job) { j.Path, j.Email = "f/b/x", "ann@x.org" })
	add(false, func(j *sluice.Job) { j.Kind, j.Path = sluice.KindPreview, "" })
	add(false, func(j *sluice.Job) { j.Kind, j.Path, j.Step = sluice.KindFlowScript, "", "a" })
	add(true, func(j *sluice.Job) { j.Kind, j.Path, j.Email = sluice.KindPreview, "", "ann@x.org" })
	ok(tx.InsertJobs(list))
}
