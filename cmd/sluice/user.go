package main

import (
	"context"
	"fmt"

	"sluice"
	"sluice/client"
)

type userCmd struct {
	List     userListCmd     `cmd:"" help:"List the users of the instance."`
	Create   userCreateCmd   `cmd:"" help:"Make a user."`
	Update   userUpdateCmd   `cmd:"" help:"Change what a user may do."`
	Password userPasswordCmd `cmd:"" help:"Give yourself or a user a new password."`
	Delete   userDeleteCmd   `cmd:"" help:"Delete a user, its memberships and tokens; its jobs stay."`
}

// emailArg is the user that a command is about.
type emailArg struct {
	Email string `arg:"" help:"Address of the user."`
}

type userListCmd struct {
	remote
	output
}

// Run lists users.
func (l *userListCmd) Run(ctx context.Context, a *app) error {
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	users, err := everyPage(func(page, perPage int) ([]client.User, error) { return c.Users(ctx, page, perPage) })
	if err != nil {
		return err
	}
	if l.JSON {
		return writeJSON(a.out, users)
	}
	const least = 10
	t := table{columns: []column{{head: "EMAIL", least: least}, {head: "USERNAME", least: least}, {head: "ROLE"}}}
	for _, u := range users {
		role := "user"
		if u.SuperAdmin {
			role = "administrator"
		}
		if u.Disabled {
			role += ", disabled"
		}
		t.add(u.Email, u.Username, role)
	}
	t.write(a.out, a.width)
	return nil
}

// everyPage asks for pages until there is none left.
func everyPage[T any](page func(n, perPage int) ([]T, error)) ([]T, error) {
	const perPage, most = 1000, 1000
	list := []T{}
	for n := 1; n <= most; n++ {
		got, err := page(n, perPage)
		if err != nil {
			return nil, err
		}
		if list = append(list, got...); len(got) < perPage {
			break
		}
	}
	return list, nil
}

type userCreateCmd struct {
	emailArg
	Username   string `help:"Name in all workspaces; made from the address if not given." placeholder:"NAME"`
	Admin      bool   `help:"Make an administrator of the instance."`
	NoPassword bool   `help:"Ask for no password: nobody can sign in as the user."`
	remote
	output
}

// Run makes a user.
func (u *userCreateCmd) Run(ctx context.Context, a *app) error {
	c, err := u.connect(a)
	if err != nil {
		return err
	}
	n := client.NewUser{Email: u.Email, Username: u.Username, SuperAdmin: u.Admin}
	if !u.NoPassword {
		if n.Password, err = a.password(ctx, "Password of "+clean(u.Email)+": ", true); err != nil {
			return err
		}
	}
	name, err := c.CreateUser(ctx, n)
	if err != nil {
		return err
	}
	said := fmt.Sprintf("Made user %s (%s); it is in no workspace yet.", u.Email, name)
	if u.Admin {
		said = fmt.Sprintf("Made administrator %s (%s).", u.Email, name)
	}
	return a.done(u.JSON, said, map[string]string{"email": u.Email, "username": name})
}

type userUpdateCmd struct {
	emailArg
	Admin    *bool `help:"Make an administrator of the instance, or no longer one." negatable:""`
	Disabled *bool `help:"Let nobody in as the user, or let in again." negatable:""`
	remote
	output
}

// Run changes a user.
func (u *userUpdateCmd) Run(ctx context.Context, a *app) error {
	if u.Admin == nil && u.Disabled == nil {
		return usage(sluice.Invalid("--admin", "say what to change: --[no-]admin, --[no-]disabled"))
	}
	c, err := u.connect(a)
	if err != nil {
		return err
	}
	if err := c.UpdateUser(ctx, u.Email, client.UserChange{SuperAdmin: u.Admin, Disabled: u.Disabled}); err != nil {
		return err
	}
	return a.done(u.JSON, "Changed user "+u.Email+".", map[string]string{"email": u.Email})
}

type userPasswordCmd struct {
	Email string `arg:"" optional:"" help:"Address of the user; yourself if not given."`
	remote
	output
}

// Run sets a password.
func (u *userPasswordCmd) Run(ctx context.Context, a *app) error {
	c, err := u.connect(a)
	if err != nil {
		return err
	}
	password, err := a.password(ctx, "New password: ", true)
	if err != nil {
		return err
	}
	if u.Email == "" {
		err = c.SetPassword(ctx, password)
	} else {
		err = c.UpdateUser(ctx, u.Email, client.UserChange{Password: &password})
	}
	if err != nil {
		return err
	}
	return a.done(u.JSON, "Changed the password; all sessions have ended. Sign in with: sluice login", map[string]bool{"changed": true})
}

type userDeleteCmd struct {
	emailArg
	remote
	output
}

// Run deletes a user.
func (u *userDeleteCmd) Run(ctx context.Context, a *app) error {
	c, err := u.connect(a)
	if err != nil {
		return err
	}
	if err := c.DeleteUser(ctx, u.Email); err != nil {
		return err
	}
	return a.done(u.JSON, "Deleted user "+u.Email+".", map[string]string{"email": u.Email})
}
