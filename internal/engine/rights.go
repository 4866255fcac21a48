package engine

import (
	"context"
	"errors"
	"slices"
	"strings"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// Who asks for something of a workspace, with what it may do there. Below
// u/NAME/ all is NAME's, below f/NAME/ the folder's rights count, below g/NAME/
// members of the group write, and all other paths are open to every member.
// Things may have rights of their own beside that ([store.Grant]).
type Who struct {
	Editor
	Admin bool // of the workspace, or of the instance: may everything
	// Reader may read and run and change nothing, whatever was given to it.
	Reader bool
	// Job: it asks by the token of a job, which may write what scripts remember
	// wherever it may read.
	Job bool
	// Execution is the job's, in whose log the secrets that it gets are masked; 0: none.
	Execution int64
	Groups    []string               // that it is a member of, all but "all"
	Folders   map[string]store.Right // by name
}

// Member is somebody in a workspace, before it is known what belongs to it.
type Member struct {
	Username string
	Email    string
	Role     sluice.Role
	Job      bool // it asks by the token of a job
	// Execution is that job's; 0: there is none.
	Execution int64
}

// belongings are what a member has rights by.
type belongings struct {
	groups  []string
	folders map[string]store.Right
}

// WhoIs returns what a member may do in a workspace. What it is in is looked up
// as [Engine.Identify] looks up roles: changes that are made here are seen at
// once, others after identityTTL.
func (e *Engine) WhoIs(ctx context.Context, workspace string, m Member) (Who, error) {
	w := m.who()
	if w.Admin {
		return w, nil
	}
	key := belongKey(workspace, m)
	k, ok, gen := e.people.get(&e.people.belongs, key, e.o.Uptime())
	if !ok {
		b, err := view(ctx, e, func(r store.Reader) (*belongings, error) { return belongingsOf(r, workspace, m) })
		if err != nil {
			return Who{}, err
		}
		k = known{belongs: b, until: e.o.Uptime() + identityTTL}
		e.people.put(&e.people.belongs, key, k, gen)
	}
	w.Groups, w.Folders = k.belongs.groups, k.belongs.folders
	return w, nil
}

// whoIn is WhoIs within a transaction, which may hold what is not committed.
func (e *Engine) whoIn(r store.Reader, workspace string, m Member) (Who, error) {
	w := m.who()
	if w.Admin {
		return w, nil
	}
	k, ok, _ := e.people.get(&e.people.belongs, belongKey(workspace, m), e.o.Uptime())
	if !ok {
		b, err := belongingsOf(r, workspace, m)
		if err != nil {
			return Who{}, err
		}
		k.belongs = b
	}
	w.Groups, w.Folders = k.belongs.groups, k.belongs.folders
	return w, nil
}

func (m Member) who() Who {
	return Who{
		Editor: Editor{Username: m.Username, Email: m.Email}, Job: m.Job, Execution: m.Execution, Admin: m.Role.AtLeast(sluice.RoleAdmin),
		Reader: !m.Role.AtLeast(sluice.RoleDeveloper),
	}
}

func belongKey(workspace string, m Member) string {
	return workspace + "\n" + m.Username + "\n" + m.Email
}

func belongingsOf(r store.Reader, workspace string, m Member) (*belongings, error) {
	b := &belongings{}
	var err error
	if b.groups, err = r.GroupsOf(workspace, m.Email); err != nil {
		return nil, err
	}
	w := Who{Editor: Editor{Username: m.Username}, Groups: b.groups}
	b.folders, err = r.Granted(workspace, store.KindFolder, w.names())
	return b, err
}

// StateType is the resource type of what scripts remember from run to run.
const StateType = "state"

// everyone is the group that every member of a workspace is in.
const everyone = "all"

// names are what grants call somebody.
func (w Who) names() []string {
	out := []string{"u/" + w.Username, "g/" + everyone}
	for _, g := range w.Groups {
		out = append(out, "g/"+g)
	}
	return out
}

// GroupNames are the groups that somebody is in, that of everybody first.
func (w Who) GroupNames() []string { return append([]string{everyone}, w.Groups...) }

// FolderNames are the folders on which somebody has at least a right, by name.
func (w Who) FolderNames(least store.Right) []string {
	names := []string{}
	for name, right := range w.Folders {
		if right >= least {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// rooted splits a path that belongs to somebody: u, f or g, and a name.
func rooted(path string) (of byte, name string) {
	if len(path) < 2 || path[1] != '/' || !strings.Contains("ufg", path[:1]) {
		return 0, ""
	}
	name, _, _ = strings.Cut(path[2:], "/")
	return path[0], name
}

// at returns what somebody may do by the path of a thing alone.
func (w Who) at(path string) store.Right {
	right := store.RightNone
	switch of, name := rooted(path); {
	case w.Admin:
		return store.RightOwn
	case of == 'u' && name == w.Username, of == 'g' && (name == everyone || slices.Contains(w.Groups, name)), of == 0 && path != "":
		right = store.RightWrite
	case of == 'f':
		right = w.Folders[name]
	}
	return w.bounded(right)
}

func (w Who) bounded(r store.Right) store.Right {
	if w.Reader {
		return min(r, store.RightRead)
	}
	return r
}

// right returns what somebody may do with a thing. The thing's own grants are
// read only if its path does not give what is needed.
func (w Who) right(r store.Reader, workspace, kind, path string, need store.Right) (store.Right, error) {
	right := w.at(path)
	if right >= need || path == "" {
		return right, nil
	}
	all, err := r.Grants(workspace, kind, path)
	if err != nil {
		return right, err
	}
	names := w.names()
	for _, g := range all[path] {
		if slices.Contains(names, g.Who) {
			right = max(right, w.bounded(g.Right))
		}
	}
	return right, nil
}

// allow refuses what somebody may not do with a thing: what it may not even read
// is not there (not_found), the rest is forbidden.
func (w Who) allow(r store.Reader, workspace, kind, path string, need store.Right) error {
	right, err := w.right(r, workspace, kind, path, need)
	switch {
	case err != nil || right >= need:
		return err
	case right == store.RightNone:
		return noThing(workspace, kind, path)
	}
	return cannotWrite(path)
}

// noThing says of what may not be read just what is said of what is not there.
func noThing(workspace, kind, path string) error {
	if kind == store.KindScript || kind == store.KindFlow {
		return sluice.Errorf(sluice.CodeNotFound, "there is no %s %s in workspace %s", kind, path, workspace)
	}
	return sluice.Errorf(sluice.CodeNotFound, "there is no %s %s", kind, path)
}

// What is said of versions that are not there: hash or number, and workspace.
const (
	NoHash    = "there is no script with hash %s in workspace %s"
	NoVersion = "there is no version %d of a flow in workspace %s"
)

// Unnamed hides the path in a refusal of what was asked for by a number: it says
// what is said of a number that is not there.
func Unnamed(err error, format string, args ...any) error {
	if sluice.CodeOf(err) == sluice.CodeNotFound {
		return sluice.Errorf(sluice.CodeNotFound, format, args...)
	}
	return err
}

// put refuses to save a thing where somebody may not write.
func (w Who) put(r store.Reader, workspace, kind, path string) error {
	right, err := w.right(r, workspace, kind, path, store.RightWrite)
	if err == nil && right < store.RightWrite {
		err = cannotWrite(path)
	}
	return err
}

// change refuses to change a thing, and to move it where somebody may not write.
func (w Who) change(r store.Reader, workspace, kind, path string, to *string, need store.Right) error {
	if err := w.allow(r, workspace, kind, path, need); err != nil || to == nil || *to == path {
		return err
	}
	if w.at(*to) < store.RightWrite { // rights on what is there now say nothing of it
		return cannotWrite(*to)
	}
	return nil
}

func cannotWrite(path string) error {
	e := &sluice.Error{Code: sluice.CodeForbidden, Field: "path"}
	switch of, name := rooted(path); of {
	case 'u':
		e.Message = "below u/" + name + "/ only " + name + " and administrators may write"
	case 'f':
		e.Message = "you may not write in the folder " + name + "; those may whom it names as owners or writers, and administrators; if there is no such folder, make it first"
	case 'g':
		e.Message = "below g/" + name + "/ only members of the group " + name + " and administrators may write"
	default:
		e.Message = "an operator may not write"
	}
	return e
}

// Sight returns what bounds lists to what somebody may see; nil: nothing does.
func (w Who) Sight() *store.Sight {
	if w.Admin {
		return nil
	}
	v := &store.Sight{Email: w.Email, Roots: []string{"u/" + w.Username, "g/" + everyone}, Names: w.names()}
	for _, name := range w.FolderNames(store.RightRead) {
		v.Roots = append(v.Roots, "f/"+name)
	}
	for _, g := range w.Groups {
		v.Roots = append(v.Roots, "g/"+g)
	}
	return v
}

// runOf returns what a job is a run of.
func runOf(j *sluice.Job) (kind, path string) {
	switch {
	case j.Kind == sluice.KindFlowScript:
		return store.KindFlow, strings.TrimSuffix(strings.TrimSuffix(j.Path, j.Step), "/")
	case j.Kind.IsFlow():
		return store.KindFlow, j.Path
	}
	return store.KindScript, j.Path
}

// onJob returns what somebody may do with a job: everything with those that run
// in its name, with others what it may do with what they are runs of.
func (w Who) onJob(r store.Reader, j *sluice.Job, need store.Right) (store.Right, error) {
	if w.Admin || j.Email == w.Email {
		return store.RightOwn, nil
	}
	if right := w.at(j.Path); right >= need {
		return right, nil
	}
	kind, path := runOf(j)
	return w.right(r, j.Workspace, kind, path, need)
}

// AllowJob refuses what somebody may not do with a job: read what it is and what
// came of it, or steer it, which takes the right to write. NotFound: it is not
// there, or may not be read.
func (e *Engine) AllowJob(ctx context.Context, workspace, id string, by Who, need store.Right) error {
	return e.store.View(ctx, func(r store.Reader) error {
		j, err := jobIn(r, workspace, id)
		if err != nil {
			return err
		}
		right, err := by.onJob(r, j, need)
		switch {
		case err != nil || right >= need:
			return err
		case right == store.RightNone:
			return sluice.Errorf(sluice.CodeNotFound, "there is no job %s", id)
		}
		return sluice.Errorf(sluice.CodeForbidden, "job %s is not yours, and you may not change what it runs", id)
	})
}

// SeesJob reports whether somebody may read a job of its workspace. Which rights
// there are on what it runs is remembered as [Engine.WhoIs] remembers: streams
// of changes ask for every job.
func (e *Engine) SeesJob(ctx context.Context, j *sluice.Job, by Who) (bool, error) {
	if by.Admin || j.Email == by.Email || by.at(j.Path) >= store.RightRead {
		return true, nil
	}
	kind, path := runOf(j)
	key := strings.Join([]string{by.Username, by.Email, j.Workspace, kind, path}, "\n")
	k, ok, gen := e.people.get(&e.people.sights, key, e.o.Uptime())
	if ok {
		return k.sees, nil
	}
	right, err := view(ctx, e, func(r store.Reader) (store.Right, error) {
		return by.right(r, j.Workspace, kind, path, store.RightRead)
	})
	if err != nil {
		return false, err
	}
	k = known{sees: right >= store.RightRead, until: e.o.Uptime() + identityTTL}
	e.people.put(&e.people.sights, key, k, gen)
	return k.sees, nil
}

// Allow refuses what somebody may not do with a thing, as [Engine.AllowJob] does.
func (e *Engine) Allow(ctx context.Context, workspace, kind, path string, by Who, need store.Right) error {
	if by.at(path) >= need {
		return nil
	}
	return e.store.View(ctx, func(r store.Reader) error { return by.allow(r, workspace, kind, path, need) })
}

// AllowPut refuses to save a thing at a path where somebody may not write.
func (e *Engine) AllowPut(ctx context.Context, workspace, kind, path string, by Who) error {
	if by.at(path) >= store.RightWrite {
		return nil
	}
	return e.store.View(ctx, func(r store.Reader) error { return by.put(r, workspace, kind, path) })
}

// calls refuses a flow with steps that run what its author may not read: whoever
// runs the flow runs them, too.
func (w Who) calls(r store.Reader, workspace string, modules []*flow.Module) error {
	if w.Admin {
		return nil
	}
	for _, m := range modules {
		if err := w.call(r, workspace, m); err != nil {
			return err
		}
		for _, within := range append([][]*flow.Module{m.Body, m.Default}, branches(m)...) {
			if err := w.calls(r, workspace, within); err != nil {
				return err
			}
		}
	}
	return nil
}

func branches(m *flow.Module) (all [][]*flow.Module) {
	for _, b := range m.Branches {
		all = append(all, b.Modules)
	}
	return all
}

func (w Who) call(r store.Reader, workspace string, m *flow.Module) error {
	kind, paths := store.KindScript, []string{m.Path}
	if m.Kind == flow.KindFlow {
		kind = store.KindFlow
	}
	if m.Hash != "" {
		s, err := r.ScriptByHash(workspace, strings.ToLower(m.Hash))
		switch {
		case err == nil:
			paths = append(paths, s.Path)
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		right, err := w.right(r, workspace, kind, path, store.RightRead)
		if err != nil {
			return err
		}
		if right < store.RightRead {
			return sluice.Errorf(sluice.CodeForbidden, "step %s: you may not run the %s %s", m.ID, kind, path)
		}
	}
	return nil
}

// callsOf does so for a flow as a whole.
func (w Who) callsOf(r store.Reader, workspace string, v *flow.Value) error {
	all := v.Modules
	for _, m := range []*flow.Module{v.Failure, v.Preprocessor} {
		if m != nil {
			all = append(slices.Clip(all), m)
		}
	}
	return w.calls(r, workspace, all)
}

// Steers returns those of some jobs that somebody may steer, and those that are
// not there.
func (e *Engine) Steers(ctx context.Context, workspace string, ids []string, by Who) ([]string, error) {
	if by.Admin || len(ids) == 0 {
		return ids, nil
	}
	return view(ctx, e, func(r store.Reader) ([]string, error) {
		jobs, err := r.Jobs(store.JobFilter{Workspace: workspace, IDs: ids, Limit: len(ids)})
		if err != nil {
			return nil, err
		}
		not := map[string]bool{}
		for _, j := range jobs {
			right, err := by.onJob(r, j, store.RightWrite)
			if err != nil {
				return nil, err
			}
			not[j.ID] = right < store.RightWrite
		}
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return not[id] }), nil
	})
}
