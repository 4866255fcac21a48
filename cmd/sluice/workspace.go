package main

import (
	"cmp"
	"context"
	"fmt"

	"sluice"
	"sluice/client"
)

type workspaceCmd struct {
	List    workspaceListCmd    `cmd:"" help:"List the workspaces that you may enter."`
	Create  workspaceCreateCmd  `cmd:"" help:"Make a workspace."`
	Members workspaceMembersCmd `cmd:"" help:"List the members of a workspace."`
	Add     workspaceAddCmd     `cmd:"" help:"Make a user a member."`
	Role    workspaceRoleCmd    `cmd:"" help:"Change the role of a member."`
	Remove  workspaceRemoveCmd  `cmd:"" help:"Take a member out."`
	Audit   workspaceAuditCmd   `cmd:"" help:"Say who changed what; in the workspace admins, of all workspaces."`
}

type workspaceListCmd struct {
	remote
	output
}

// Run lists workspaces.
func (l *workspaceListCmd) Run(ctx context.Context, a *app) error {
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	list, err := c.Workspaces(ctx)
	if err != nil {
		return err
	}
	if l.JSON {
		return writeJSON(a.out, list)
	}
	const least = 10
	t := table{columns: []column{{head: "ID"}, {head: "NAME", least: least}, {head: "OWNER", least: least}}}
	for _, w := range list {
		t.add(w.ID, w.Name, w.Owner)
	}
	t.write(a.out, a.width)
	return nil
}

type workspaceCreateCmd struct {
	ID   string `arg:"" help:"Lower-case letters, digits, - and _."`
	Name string `help:"Name for people; the id if not given." placeholder:"TEXT"`
	remote
	output
}

// Run makes a workspace.
func (w *workspaceCreateCmd) Run(ctx context.Context, a *app) error {
	c, err := w.connect(a)
	if err != nil {
		return err
	}
	if err := c.CreateWorkspace(ctx, w.ID, cmp.Or(w.Name, w.ID)); err != nil {
		return err
	}
	return a.done(w.JSON, fmt.Sprintf("Made workspace %s.", w.ID), map[string]string{"id": w.ID})
}

type workspaceMembersCmd struct {
	remote
	output
}

// Run lists members.
func (m *workspaceMembersCmd) Run(ctx context.Context, a *app) error {
	c, err := m.connect(a)
	if err != nil {
		return err
	}
	list, err := c.Members(ctx)
	if err != nil {
		return err
	}
	if m.JSON {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No members; administrators of the instance may do everything here.")
		return nil
	}
	const least = 10
	t := table{columns: []column{{head: "USERNAME", least: least}, {head: "EMAIL", least: least}, {head: "ROLE"}}}
	for _, one := range list {
		role := string(one.Role())
		if one.Disabled {
			role += ", disabled"
		}
		t.add(one.Username, one.Email, role)
	}
	t.write(a.out, a.width)
	return nil
}

type workspaceAddCmd struct {
	emailArg
	Role string `help:"operator runs what is saved; developer also saves scripts; admin also says who is a member." enum:"operator,developer,admin" default:"developer"`
	remote
	output
}

// Run makes a user a member.
func (w *workspaceAddCmd) Run(ctx context.Context, a *app) error {
	c, err := w.connect(a)
	if err != nil {
		return err
	}
	if err := c.AddMember(ctx, w.Email, sluice.Role(w.Role)); err != nil {
		return err
	}
	return a.done(w.JSON, fmt.Sprintf("Added %s to %s as %s.", w.Email, c.Workspace(), w.Role),
		map[string]string{"workspace_id": c.Workspace(), "email": w.Email, "role": w.Role})
}

type workspaceRoleCmd struct {
	Username string `arg:"" help:"Name of the member."`
	Role     string `arg:"" help:"operator, developer or admin." enum:"operator,developer,admin"`
	remote
	output
}

// Run changes a role.
func (w *workspaceRoleCmd) Run(ctx context.Context, a *app) error {
	c, err := w.connect(a)
	if err != nil {
		return err
	}
	if err := c.SetRole(ctx, w.Username, sluice.Role(w.Role)); err != nil {
		return err
	}
	return a.done(w.JSON, fmt.Sprintf("%s is now %s in %s.", w.Username, w.Role, c.Workspace()),
		map[string]string{"workspace_id": c.Workspace(), "username": w.Username, "role": w.Role})
}

type workspaceRemoveCmd struct {
	Username string `arg:"" help:"Name of the member."`
	remote
	output
}

// Run takes a member out.
func (w *workspaceRemoveCmd) Run(ctx context.Context, a *app) error {
	c, err := w.connect(a)
	if err != nil {
		return err
	}
	if err := c.RemoveMember(ctx, w.Username); err != nil {
		return err
	}
	return a.done(w.JSON, fmt.Sprintf("Removed %s from %s.", w.Username, c.Workspace()),
		map[string]string{"workspace_id": c.Workspace(), "username": w.Username})
}

type workspaceAuditCmd struct {
	User      string `help:"Only what this user changed." placeholder:"USERNAME"`
	Operation string `help:"Only this, such as scripts.create." placeholder:"OPERATION"`
	Resource  string `help:"Only what was done to this." placeholder:"RESOURCE"`
	Limit     int    `help:"How many; 20 if not given." default:"20" short:"n" placeholder:"N"`
	remote
	output
}

// Run shows the audit log.
func (w *workspaceAuditCmd) Run(ctx context.Context, a *app) error {
	const most = 1000
	if w.Limit < 1 || w.Limit > most {
		return sluice.Invalid("--limit", "must be from 1 to %s", grouped(most))
	}
	c, err := w.connect(a)
	if err != nil {
		return err
	}
	list, err := c.Audit(ctx, client.AuditFilter{Username: w.User, Operation: w.Operation, Resource: w.Resource, PerPage: w.Limit})
	if err != nil {
		return err
	}
	if w.JSON {
		return writeJSON(a.out, list)
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No changes here.")
		return nil
	}
	const least = 10
	t := table{columns: []column{{head: "WHEN"}, {head: "WHO", least: least}, {head: "DID", least: least}, {head: "TO", least: least}}}
	for _, e := range list {
		t.add(a.at(e.Timestamp, now), e.Username, e.Operation, e.Resource)
	}
	t.write(a.out, a.width)
	return nil
}
