package engine

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"

	"sluice"
	"sluice/internal/store"
)

// maxGrants bounds the rights that are given on one thing.
const maxGrants = 1000

// granteeForm is the form of a user or group that a right is given to.
var granteeForm = regexp.MustCompile(`^[ug]/[^/\s]{1,100}$`)

func checkGrantee(who string) error {
	if !granteeForm.MatchString(who) {
		return sluice.Invalid("owner", "must be a user, such as u/ann, or a group, such as g/devs")
	}
	return nil
}

// readOwners reads the owners and extra_perms of a folder's fields.
func readOwners(fields map[string]json.RawMessage) (owners []string, perms map[string]bool, err error) {
	perms = map[string]bool{}
	for name, into := range map[string]any{"owners": &owners, "extra_perms": &perms} {
		if raw := fields[name]; len(raw) > 0 {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, nil, sluice.Invalid(name, "cannot be read: %v", err)
			}
		}
	}
	if perms == nil {
		perms = map[string]bool{}
	}
	return owners, perms, nil
}

// setField sets a field of a folder.
func setField(fields map[string]json.RawMessage, name string, v any) error {
	raw, err := json.Marshal(v)
	fields[name] = raw
	return err
}

// addOwner makes somebody an owner in a folder's fields.
func addOwner(fields map[string]json.RawMessage, who string) error {
	owners, _, err := readOwners(fields)
	if err != nil || slices.Contains(owners, who) {
		return err
	}
	return setField(fields, "owners", append(owners, who))
}

// grantFolder stores the rights that follow from a folder's owners and
// extra_perms. What names neither a user nor a group gives nothing.
func grantFolder(tx store.Tx, f *store.Folder, fields map[string]json.RawMessage) error {
	owners, perms, err := readOwners(fields)
	if err != nil {
		return err
	}
	if len(owners)+len(perms) > maxGrants {
		return sluice.Invalid("extra_perms", "must name at most %d users and groups, owners included", maxGrants)
	}
	all := map[string]store.Right{}
	for who, write := range perms {
		all[who] = rightOf(write)
	}
	for _, who := range owners {
		all[who] = store.RightOwn
	}
	if err := tx.DropGrants(f.Workspace, store.KindFolder, f.Name); err != nil {
		return err
	}
	for _, who := range slices.Sorted(maps.Keys(all)) {
		if !granteeForm.MatchString(who) {
			continue
		}
		if err := tx.SetGrant(f.Workspace, store.KindFolder, f.Name, store.Grant{Who: who, Right: all[who]}); err != nil {
			return err
		}
	}
	return nil
}

func rightOf(write bool) store.Right {
	if write {
		return store.RightWrite
	}
	return store.RightRead
}

// AddFolderOwner makes somebody an owner of a folder.
func (e *Engine) AddFolderOwner(ctx context.Context, workspace, name, who string, by Who) error {
	if err := checkGrantee(who); err != nil {
		return err
	}
	return e.changeFolder(ctx, workspace, name, by, func(fields map[string]json.RawMessage) error { return addOwner(fields, who) })
}

// RemoveFolderOwner makes somebody an owner of a folder no longer. write says
// what right it keeps: true to write, false to read; nil: what extra_perms says.
func (e *Engine) RemoveFolderOwner(ctx context.Context, workspace, name, who string, write *bool, by Who) error {
	return e.changeFolder(ctx, workspace, name, by, func(fields map[string]json.RawMessage) error {
		owners, perms, err := readOwners(fields)
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(owners, func(o string) bool { return o == who })
		if write != nil {
			perms[who] = *write
		}
		if left == nil {
			left = []string{}
		}
		return errors.Join(setField(fields, "owners", left), setField(fields, "extra_perms", perms))
	})
}

// there refuses to give rights on what there is not.
func there(r store.Reader, workspace, kind, path string) error {
	var err error
	switch kind {
	case store.KindScript:
		var s *store.Script
		if s, err = r.Script(workspace, path); err == nil && s.Deleted {
			err = store.ErrNotFound
		}
	case store.KindFlow:
		_, err = r.Flow(workspace, path)
	case store.KindSchedule:
		_, err = r.Schedule(workspace, path)
	case store.KindVariable:
		_, err = r.Variable(workspace, path)
	case store.KindResource:
		_, err = r.Resource(workspace, path)
	case store.KindGroup:
		_, err = r.UserGroup(workspace, path)
	default:
		return sluice.Invalid("kind", "must be script, flow, schedule, variable, resource, folder or group_")
	}
	return notFound(err, "there is no %s %s", kind, path)
}

// extraPerms are grants as people see them: whether somebody may write.
func extraPerms(list []store.Grant) map[string]bool {
	out := map[string]bool{}
	for _, g := range list {
		if g.Who != former {
			out[g.Who] = g.Right >= store.RightWrite
		}
	}
	return out
}

// ExtraPerms returns the rights that were given on things of a kind, by path:
// of each user or group whether it may write. Nobody is asked whether he may.
func (e *Engine) ExtraPerms(ctx context.Context, workspace, kind string, paths ...string) (map[string]map[string]bool, error) {
	out := map[string]map[string]bool{}
	if len(paths) == 0 {
		return out, nil
	}
	all, err := view(ctx, e, func(r store.Reader) (map[string][]store.Grant, error) { return r.Grants(workspace, kind, paths...) })
	for path, list := range all {
		out[path] = extraPerms(list)
	}
	return out, err
}

// GetGrants returns the rights that were given on a thing that somebody may see.
func (e *Engine) GetGrants(ctx context.Context, workspace, kind, path string, by Who) (map[string]bool, error) {
	return view(ctx, e, func(r store.Reader) (map[string]bool, error) {
		switch kind {
		case store.KindGroup:
		case store.KindFolder:
			if by.at("f/"+path) < store.RightRead {
				return nil, noFolder(path)
			}
		default:
			if err := by.allow(r, workspace, kind, path, store.RightRead); err != nil {
				return nil, err
			}
		}
		if kind != store.KindFolder { // in use, a folder need not be stored
			if err := there(r, workspace, kind, path); err != nil {
				return nil, err
			}
		}
		all, err := r.Grants(workspace, kind, path)
		return extraPerms(all[path]), err
	})
}

// SetGrant gives somebody a right on a thing, or takes it away with RightNone:
// on what he may write, on a folder that he owns, on a group that he manages.
func (e *Engine) SetGrant(ctx context.Context, workspace, kind, path string, g store.Grant, by Who) error {
	if err := checkGrantee(g.Who); err != nil {
		return err
	}
	if kind == store.KindFolder {
		return e.setFolderPerm(ctx, workspace, path, g, by)
	}
	return e.changePeople(ctx, func(tx store.Tx) error {
		if kind == store.KindGroup {
			if err := by.manages(tx, workspace, path); err != nil {
				return err
			}
		} else if err := by.allow(tx, workspace, kind, path, store.RightWrite); err != nil {
			return err
		}
		if err := there(tx, workspace, kind, path); err != nil {
			return err
		}
		all, err := tx.Grants(workspace, kind, path)
		if err != nil {
			return err
		}
		if g.Right != store.RightNone && len(all[path]) >= maxGrants {
			return sluice.Errorf(sluice.CodeConflict, "%s has %d rights of its own, which is the most; take some away first", path, maxGrants)
		}
		return tx.SetGrant(workspace, kind, path, g)
	})
}

// setFolderPerm sets what the extra_perms of a folder say of somebody.
func (e *Engine) setFolderPerm(ctx context.Context, workspace, name string, g store.Grant, by Who) error {
	return e.changeFolder(ctx, workspace, name, by, func(fields map[string]json.RawMessage) error {
		_, perms, err := readOwners(fields)
		if err != nil {
			return err
		}
		delete(perms, g.Who)
		if g.Right != store.RightNone {
			perms[g.Who] = g.Right >= store.RightWrite
		}
		return setField(fields, "extra_perms", perms)
	})
}
