package engine

import (
	"context"

	"sluice"
	"sluice/internal/store"
)

// MaxContents bounds the bytes of what a workspace holds that are read at once.
const MaxContents = 256 << 20

// Contents is what a workspace holds at one instant, each kind in the order of
// its paths, without what is archived.
type Contents struct {
	Scripts   []*store.Script
	Flows     []*store.Flow
	Schedules []*store.Schedule
	Folders   []*store.Folder
	Variables []*store.Variable // those that the caller may see
	Resources []*store.Resource // those that the caller may see
	// Perms says who was given a right on scripts, flows and variables, by kind
	// and path: whether they may write.
	Perms   map[string]map[string]map[string]bool
	Groups  []*store.UserGroup         // without that of everybody
	Manages map[string]map[string]bool // who may change a group, by its name
	Members []*store.Member
}

// ContentsWanted says what of Contents is read that need not be.
type ContentsWanted struct{ Variables, Resources, Perms, Groups, Members bool }

// Contents reads what a workspace holds, in one snapshot. TooLarge: it is more
// than MaxContents.
func (e *Engine) Contents(ctx context.Context, workspace string, by Who, want ContentsWanted) (*Contents, error) {
	return view(ctx, e, func(r store.Reader) (*Contents, error) {
		var c Contents
		room, sight := MaxContents, by.Sight()
		err := eachPage(func(at, n int) ([]*store.Script, error) {
			return r.Scripts(store.ScriptFilter{Workspace: workspace, Sight: sight, Offset: at, Limit: n})
		}, func(s *store.Script) error {
			c.Scripts = append(c.Scripts, s)
			return take(&room, len(s.Content)+len(s.Settings))
		})
		if err != nil {
			return nil, err
		}
		err = eachPage(func(at, n int) ([]*store.Flow, error) {
			return r.Flows(store.FlowFilter{Workspace: workspace, Sight: sight, Offset: at, Limit: n})
		}, func(f *store.Flow) error {
			f, err := r.Flow(workspace, f.Path) // lists leave out its value
			if err != nil {
				return err
			}
			c.Flows = append(c.Flows, f)
			return take(&room, len(f.Value)+len(f.Schema)+len(f.Settings))
		})
		if err != nil {
			return nil, err
		}
		err = eachPage(func(at, n int) ([]*store.Schedule, error) {
			return r.Schedules(store.ScheduleFilter{Workspace: workspace, Sight: sight, Offset: at, Limit: n})
		}, func(s *store.Schedule) error {
			c.Schedules = append(c.Schedules, s)
			return take(&room, len(s.Body))
		})
		if err != nil {
			return nil, err
		}
		c.Folders, err = r.Folders(workspace, by.folderNames(), 0, MaxFolders)
		for _, f := range c.Folders {
			if err == nil {
				err = take(&room, len(f.Body))
			}
		}
		if err == nil {
			err = c.values(r, workspace, by, want, &room)
		}
		if err == nil {
			err = c.people(r, workspace, want)
		}
		return &c, err
	})
}

// values reads variables and resources.
func (c *Contents) values(r store.Reader, workspace string, by Who, want ContentsWanted, room *int) error {
	f := store.VariableFilter{Workspace: workspace, Sight: by.Sight()}
	if want.Variables {
		err := eachPage(func(at, n int) ([]*store.Variable, error) {
			f.Offset, f.Limit = at, n
			return r.Variables(f)
		}, func(v *store.Variable) error {
			c.Variables = append(c.Variables, v)
			return take(room, len(v.Value)+len(v.Description))
		})
		if err != nil {
			return err
		}
	}
	if !want.Resources {
		return nil
	}
	return eachPage(func(at, n int) ([]*store.Resource, error) {
		f.Offset, f.Limit = at, n
		return r.Resources(f)
	}, func(s *store.Resource) error {
		c.Resources = append(c.Resources, s)
		return take(room, len(s.Value)+len(s.Description))
	})
}

// people reads groups, members, and who was given which right.
func (c *Contents) people(r store.Reader, workspace string, want ContentsWanted) (err error) {
	if want.Members {
		if c.Members, err = r.Members(workspace); err != nil {
			return err
		}
	}
	if want.Groups {
		if c.Groups, err = r.UserGroups(workspace); err != nil {
			return err
		}
		if c.Manages, err = permsOn(r, workspace, store.KindGroup, c.Groups, func(g *store.UserGroup) string { return g.Name }); err != nil {
			return err
		}
	}
	if !want.Perms {
		return nil
	}
	c.Perms = map[string]map[string]map[string]bool{}
	if c.Perms[store.KindScript], err = permsOn(r, workspace, store.KindScript, c.Scripts, func(s *store.Script) string { return s.Path }); err != nil {
		return err
	}
	if c.Perms[store.KindFlow], err = permsOn(r, workspace, store.KindFlow, c.Flows, func(f *store.Flow) string { return f.Path }); err != nil {
		return err
	}
	c.Perms[store.KindVariable], err = permsOn(r, workspace, store.KindVariable, c.Variables, func(v *store.Variable) string { return v.Path })
	return err
}

// permsOn returns who was given a right on things of a list, by path.
func permsOn[T any](r store.Reader, workspace, kind string, list []T, path func(T) string) (map[string]map[string]bool, error) {
	paths := make([]string, len(list))
	for i, x := range list {
		paths[i] = path(x)
	}
	all, err := r.Grants(workspace, kind, paths...)
	out := map[string]map[string]bool{}
	for path, grants := range all {
		out[path] = extraPerms(grants)
	}
	return out, err
}

// eachPage calls each with all that a list holds.
func eachPage[T any](list func(offset, limit int) ([]T, error), each func(T) error) error {
	const page = 100 // scripts are listed with their code
	for at := 0; ; at += page {
		some, err := list(at, page)
		if err != nil {
			return err
		}
		for _, x := range some {
			if err := each(x); err != nil {
				return err
			}
		}
		if len(some) < page {
			return nil
		}
	}
}

func take(room *int, n int) error {
	if *room -= n; *room < 0 {
		return sluice.Errorf(sluice.CodeTooLarge, "the workspace holds more than %d bytes, which is the most that is read at once", MaxContents)
	}
	return nil
}
