package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sluice"
	"sluice/internal/store"
)

// maxUserGroups bounds the groups of a workspace.
const maxUserGroups = 1000

// manages refuses to change a group to whoever was not given the right to.
func (w Who) manages(r store.Reader, workspace, name string) error {
	if w.Admin {
		return nil
	}
	all, err := r.Grants(workspace, store.KindGroup, name)
	if err != nil {
		return err
	}
	names := w.names()
	for _, g := range all[name] {
		if g.Right >= store.RightWrite && !w.Reader && slices.Contains(names, g.Who) {
			return nil
		}
	}
	return sluice.Errorf(sluice.CodeForbidden, "only administrators and who was given the right to may change the group %s", name)
}

func checkGroup(name, summary string) error {
	switch {
	case !usernameForm.MatchString(name):
		return sluice.Invalid("name", "must be 1 to 50 letters, digits, . _ or -, beginning with a letter or digit")
	case name == everyone:
		return &sluice.Error{Code: sluice.CodeConflict, Field: "name", Message: "every member of the workspace is in the group all; it cannot be changed"}
	}
	return checkSummary(summary)
}

func checkSummary(summary string) error {
	if err := checkDescription(summary); err != nil || slices.Contains([]byte(summary), 0) {
		return sluice.Invalid("summary", "must be at most %d bytes of UTF-8 without NUL", maxDescription)
	}
	return nil
}

// CreateUserGroup makes a group. Whoever makes one and is no administrator is a
// member of it and may change it. Conflict: there is one of that name.
func (e *Engine) CreateUserGroup(ctx context.Context, workspace, name, summary string, by Who) error {
	if err := checkGroup(name, summary); err != nil {
		return err
	}
	return e.changePeople(ctx, func(tx store.Tx) error {
		if err := needWorkspace(tx, workspace); err != nil {
			return err
		}
		all, err := tx.UserGroups(workspace)
		if err != nil {
			return err
		}
		if len(all) >= maxUserGroups {
			return sluice.Errorf(sluice.CodeConflict, "workspace %s has %d groups, which is the most; delete some first", workspace, len(all))
		}
		err = tx.InsertUserGroup(&store.UserGroup{Workspace: workspace, Name: name, Summary: summary})
		if errors.Is(err, store.ErrExists) {
			return &sluice.Error{Code: sluice.CodeConflict, Field: "name", Message: "there is a group " + name + " already; update it"}
		}
		if err != nil {
			return err
		}
		if by.Admin {
			return tx.SetGrant(workspace, store.KindGroup, name, store.Grant{Who: former})
		}
		if err := newGroup(tx, workspace, name); err != nil {
			return err
		}
		if err := tx.SetGrant(workspace, store.KindGroup, name, store.Grant{Who: by.owner(), Right: store.RightWrite}); err != nil {
			return err
		}
		return tx.JoinGroup(workspace, name, by.Email)
	})
}

// kindsOfThings are those that rights are given on.
var kindsOfThings = []string{
	store.KindFolder, store.KindGroup, store.KindScript, store.KindFlow, store.KindSchedule, store.KindVariable, store.KindResource,
}

// newGroup refuses to make a group that has rights already: whoever made it would
// give them to himself.
func newGroup(r store.Reader, workspace, name string) error {
	for _, kind := range kindsOfThings {
		given, err := r.Granted(workspace, kind, []string{"g/" + name})
		if err != nil {
			return err
		}
		if len(given) > 0 {
			return sluice.Errorf(sluice.CodeForbidden, "rights were given to g/%s already, so that an administrator has to make the group", name)
		}
	}
	return unused(r, workspace, store.KindGroup, name)
}

// changeUserGroup changes a group that is there, for somebody who may.
func (e *Engine) changeUserGroup(ctx context.Context, workspace, name string, by Who, change func(store.Tx) error) error {
	if name == everyone {
		return checkGroup(name, "")
	}
	return e.changePeople(ctx, func(tx store.Tx) error {
		if err := there(tx, workspace, store.KindGroup, name); err != nil {
			return err
		}
		if err := by.manages(tx, workspace, name); err != nil {
			return err
		}
		return change(tx)
	})
}

// UpdateUserGroup changes what is said of a group. NotFound: there is none.
func (e *Engine) UpdateUserGroup(ctx context.Context, workspace, name, summary string, by Who) error {
	if err := checkSummary(summary); err != nil {
		return err
	}
	return e.changeUserGroup(ctx, workspace, name, by, func(tx store.Tx) error {
		return tx.SaveUserGroup(&store.UserGroup{Workspace: workspace, Name: name, Summary: summary})
	})
}

// DeleteUserGroup deletes a group and all rights that were given to it.
func (e *Engine) DeleteUserGroup(ctx context.Context, workspace, name string, by Who) error {
	who := "g/" + name
	return e.changeUserGroup(ctx, workspace, name, by, func(tx store.Tx) error {
		folders, err := tx.Granted(workspace, store.KindFolder, []string{who})
		if err != nil {
			return err
		}
		for _, folder := range slices.Sorted(maps.Keys(folders)) {
			if err := forget(tx, workspace, folder, who); err != nil {
				return err
			}
		}
		if err := tx.DropGrantee(workspace, who); err != nil {
			return err
		}
		return errors.Join(tx.DeleteUserGroup(workspace, name), bury(tx, workspace, store.KindGroup, name))
	})
}

// forget takes somebody out of a folder's fields, which would give him his rights
// again when they are saved the next time.
func forget(tx store.Tx, workspace, name, who string) error {
	f, err := tx.LockFolder(workspace, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(f.Body, &fields); err != nil {
		return fmt.Errorf("read folder %s: %w", name, err)
	}
	owners, perms, err := readOwners(fields)
	if err != nil {
		return err
	}
	delete(perms, who)
	left := append([]string{}, slices.DeleteFunc(owners, func(o string) bool { return o == who })...)
	if err := errors.Join(setField(fields, "owners", left), setField(fields, "extra_perms", perms)); err != nil {
		return err
	}
	if err := writeFolder(f, fields); err != nil {
		return err
	}
	return tx.SaveFolder(f)
}

// JoinGroup makes a member of the workspace a member of a group.
func (e *Engine) JoinGroup(ctx context.Context, workspace, name, username string, by Who) error {
	return e.changeUserGroup(ctx, workspace, name, by, func(tx store.Tx) error {
		m, err := memberNamed(tx, workspace, username)
		if err != nil {
			return err
		}
		return tx.JoinGroup(workspace, name, m.Email)
	})
}

// LeaveGroup takes a member out of a group.
func (e *Engine) LeaveGroup(ctx context.Context, workspace, name, username string, by Who) error {
	return e.changeUserGroup(ctx, workspace, name, by, func(tx store.Tx) error {
		m, err := memberNamed(tx, workspace, username)
		if err != nil {
			return err
		}
		return notFound(tx.LeaveGroup(workspace, name, m.Email), "%s is not in the group %s", username, name)
	})
}

// allGroup is the group that everybody is in.
func allGroup(r store.Reader, workspace string) (*store.UserGroup, error) {
	g := &store.UserGroup{Workspace: workspace, Name: everyone, Summary: "All members of the workspace"}
	list, err := r.Members(workspace)
	for _, m := range list {
		g.Members = append(g.Members, m.Username)
	}
	return g, err
}

// UserGroup returns a group. NotFound: there is none.
func (e *Engine) UserGroup(ctx context.Context, workspace, name string) (*store.UserGroup, error) {
	return view(ctx, e, func(r store.Reader) (*store.UserGroup, error) {
		if name == everyone {
			return allGroup(r, workspace)
		}
		g, err := r.UserGroup(workspace, name)
		return g, notFound(err, "there is no group %s", name)
	})
}

// UserGroups lists the groups of a workspace, that of everybody first.
func (e *Engine) UserGroups(ctx context.Context, workspace string) ([]*store.UserGroup, error) {
	return view(ctx, e, func(r store.Reader) ([]*store.UserGroup, error) {
		all, err := allGroup(r, workspace)
		if err != nil {
			return nil, err
		}
		list, err := r.UserGroups(workspace)
		if err != nil {
			return nil, fmt.Errorf("list the groups of workspace %s: %w", workspace, err)
		}
		return append([]*store.UserGroup{all}, list...), nil
	})
}
