package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"sluice"
	"sluice/client"
)

type tokenCmd struct {
	List   tokenListCmd   `cmd:"" help:"List your tokens."`
	Create tokenCreateCmd `cmd:"" help:"Make a token, and print it."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke a token."`
}

type tokenListCmd struct {
	Sessions bool `help:"Also those that come from signing in."`
	remote
	output
}

// Run lists tokens.
func (l *tokenListCmd) Run(ctx context.Context, a *app) error {
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	all, err := c.Tokens(ctx)
	if err != nil {
		return err
	}
	list := []client.Token{}
	for _, t := range all {
		if l.Sessions || !t.Session {
			list = append(list, t)
		}
	}
	if l.JSON {
		return writeJSON(a.out, list)
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No tokens here.")
		return nil
	}
	a.showTokens(list, now)
	return nil
}

func (a *app) showTokens(list []client.Token, now time.Time) {
	const least = 8
	t := table{columns: []column{
		{head: "PREFIX"},
		{head: "LABEL", least: least},
		{head: "MAY", least: least},
		{head: "WORKSPACE", least: least},
		{head: "USED", right: true},
		{head: "EXPIRES", right: true},
	}}
	for _, k := range list {
		used, expires := "never", "never"
		if k.LastUsedAt != nil {
			used = brief(now.Sub(*k.LastUsedAt))
		}
		switch {
		case k.Expiration == nil:
		case k.Expiration.After(now):
			expires = "in " + brief(k.Expiration.Sub(now))
		default:
			expires = "expired"
		}
		label := k.Label
		if k.Session {
			label = cmp.Or(label, "(session)")
		}
		t.add(k.Prefix, label, cmp.Or(strings.Join(k.Scopes, " "), "all"), cmp.Or(k.Workspace, "all"), used, expires)
	}
	t.write(a.out, a.width)
}

type tokenCreateCmd struct {
	Label   string         `help:"What it is for." placeholder:"TEXT"`
	Scope   []string       `help:"What it may do, such as jobs:read or jobs:run:scripts:f/team/deploy; several times for more. All that you may if not given." sep:"none" placeholder:"SCOPE"`
	Expires *time.Duration `help:"It ends after this time, such as 720h; never if not given." placeholder:"TIME"`
	Bound   bool           `help:"It is good for the workspace alone that -w or the profile names."`
	remote
	output
}

// Run makes a token. It alone goes to standard output.
func (t *tokenCreateCmd) Run(ctx context.Context, a *app) error {
	if t.Expires != nil && *t.Expires <= 0 {
		return sluice.Invalid("--expires", "must be longer than nothing; leave it out for a token that never ends")
	}
	c, err := t.connect(a)
	if err != nil {
		return err
	}
	n := client.NewToken{Label: t.Label, Scopes: t.Scope}
	if t.Bound {
		n.Workspace = c.Workspace()
	}
	if t.Expires != nil {
		now, err := c.Now(ctx)
		if err != nil {
			return err
		}
		until := now.Add(*t.Expires)
		n.Expiration = &until
	}
	token, err := c.CreateToken(ctx, n)
	if err != nil {
		return err
	}
	if t.JSON {
		return writeJSON(a.out, map[string]string{"token": token})
	}
	if a.tty {
		fmt.Fprintln(a.err, "Keep it; it cannot be shown again.")
	}
	fmt.Fprintln(a.out, clean(token)) // in one line, however narrow the terminal is
	return nil
}

type tokenRevokeCmd struct {
	Prefix string `arg:"" help:"How the token begins, as the list shows it."`
	remote
	output
}

// Run revokes a token.
func (t *tokenRevokeCmd) Run(ctx context.Context, a *app) error {
	c, err := t.connect(a)
	if err != nil {
		return err
	}
	if err := c.DeleteToken(ctx, t.Prefix); err != nil {
		return err
	}
	return a.done(t.JSON, "Revoked token "+t.Prefix+".", map[string]string{"token_prefix": t.Prefix})
}
