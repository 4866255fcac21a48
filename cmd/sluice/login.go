package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice"
	"sluice/client"
)

type loginCmd struct {
	URL       string `help:"Address of the server; else the profile's, else ${default_url}." env:"SLUICE_URL" aliases:"server" placeholder:"URL"`
	Email     string `help:"Sign in as this user. The password is asked for, or read from SLUICE_PASSWORD or the first line of standard input; it is not kept." xor:"who" placeholder:"EMAIL"`
	Token     string `help:"Keep this token instead; @- reads it from standard input." xor:"who" placeholder:"TOKEN"`
	Workspace string `help:"Workspace that the profile works in." env:"SLUICE_WORKSPACE" short:"w" placeholder:"ID"`
	Profile   string `help:"Name of the profile; default if not given." env:"SLUICE_PROFILE" placeholder:"NAME"`
	output
}

// Run signs in, and keeps the token in a profile that is in use from now on.
func (l *loginCmd) Run(ctx context.Context, a *app) error {
	kept, err := readConfig(a)
	if err != nil {
		return err
	}
	name := cmp.Or(l.Profile, defaultProfile)
	p := &profile{}
	if old := kept.Profiles[name]; old != nil {
		*p = *old
	}
	if l.URL != "" && !sameServer(l.URL, p.URL) {
		p = &profile{} // another server: nothing of the old one holds for it
	}
	p.URL = cmp.Or(l.URL, p.URL, defaultURL)
	p.Workspace = cmp.Or(l.Workspace, p.Workspace)
	if l.Token == "" {
		p.Email = cmp.Or(l.Email, p.Email)
	}
	if p.Token, err = l.token(ctx, a, p); err != nil {
		return err
	}
	c, err := client.New(client.Config{URL: p.URL, Token: p.Token, Agent: "sluice/" + version})
	if err != nil {
		return err
	}
	who, err := c.WhoAmI(ctx)
	if err != nil {
		return err
	}
	p.URL, p.Email = c.URL(), who.Email
	kept.Profiles[name], kept.Profile = p, name
	if err := kept.write(a); err != nil {
		return err
	}
	said := fmt.Sprintf("Signed in to %s as %s; profile %s is in use.", p.URL, p.Email, name)
	return a.done(l.JSON, said, map[string]string{"profile": name, "url": p.URL, "email": p.Email})
}

// token is the one that was given, or one for the user's password.
func (l *loginCmd) token(ctx context.Context, a *app, p *profile) (string, error) {
	switch {
	case l.Token == "@-":
		return a.line("--token")
	case l.Token != "":
		return l.Token, nil
	case p.Email == "":
		return "", usage(sluice.Invalid("--email", "say who signs in, or give a --token"))
	}
	if strings.HasPrefix(p.URL, "http://") && !onThisMachine(p.URL) {
		fmt.Fprintf(a.err, "sluice: the password goes to %s unencrypted\n", clean(p.URL))
	}
	c, err := client.New(client.Config{URL: p.URL, Agent: "sluice/" + version})
	if err != nil {
		return "", err
	}
	password, err := a.password(ctx, "Password of "+clean(p.Email)+": ", false)
	if err != nil {
		return "", err
	}
	token, err := c.SignIn(ctx, p.Email, password)
	if sluice.CodeOf(err) == sluice.CodeUnauthorized {
		return "", &sluice.Error{Code: sluice.CodeUnauthorized, Message: err.Error(), Err: errSignIn}
	}
	return token, err
}

type logoutCmd struct {
	Profile string `help:"Name of the profile; else the one in use." env:"SLUICE_PROFILE" placeholder:"NAME"`
	output
}

// Run ends the session and forgets the profile's token, also when the server
// does not answer.
func (l *logoutCmd) Run(ctx context.Context, a *app) error {
	kept, err := readConfig(a)
	if err != nil {
		return err
	}
	name := cmp.Or(l.Profile, kept.Profile)
	p, err := kept.choose(name)
	if err != nil {
		return err
	}
	if p == nil || p.Token == "" {
		return sluice.Errorf(sluice.CodeNotFound, "nobody is signed in")
	}
	c, err := client.New(client.Config{URL: p.URL, Token: p.Token, Agent: "sluice/" + version})
	if err == nil {
		err = c.SignOut(ctx)
	}
	if err != nil && sluice.CodeOf(err) != sluice.CodeUnauthorized {
		fmt.Fprintf(a.err, "sluice: the token is forgotten here, but the server was not told: %s\n", clean(err.Error()))
	}
	p.Token = ""
	if err := kept.write(a); err != nil {
		return err
	}
	return a.done(l.JSON, "Signed out of profile "+name+".", map[string]string{"profile": name})
}

type profilesCmd struct {
	List   profilesListCmd   `cmd:"" default:"1" help:"List the profiles."`
	Use    profilesUseCmd    `cmd:"" help:"Use another profile from now on."`
	Remove profilesRemoveCmd `cmd:"" help:"Forget a profile. Its session goes on; sign out first."`
}

// profileJSON is a profile without its token.
type profileJSON struct {
	Name      string `json:"name"`
	InUse     bool   `json:"in_use"`
	SignedIn  bool   `json:"signed_in"`
	URL       string `json:"url"`
	Workspace string `json:"workspace,omitempty"`
	Email     string `json:"email,omitempty"`
}

type profilesListCmd struct {
	output
}

// Run lists the profiles.
func (l *profilesListCmd) Run(a *app) error {
	kept, err := readConfig(a)
	if err != nil {
		return err
	}
	list := []profileJSON{}
	for _, name := range slices.Sorted(maps.Keys(kept.Profiles)) {
		p := kept.Profiles[name]
		list = append(list, profileJSON{name, name == kept.Profile, p.Token != "", p.URL, p.Workspace, p.Email})
	}
	if l.JSON {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No profiles. Make one with: sluice login")
		return nil
	}
	const least = 10
	t := table{columns: []column{{head: ""}, {head: "NAME", least: least}, {head: "SERVER", least: least}, {head: "WORKSPACE"}, {head: "USER", least: least}}}
	for _, p := range list {
		mark, who := "", p.Email
		if p.InUse {
			mark = "*"
		}
		if !p.SignedIn {
			who = "(signed out)"
		}
		t.add(mark, p.Name, p.URL, cmp.Or(p.Workspace, client.DefaultWorkspace), who)
	}
	t.write(a.out, a.width)
	return nil
}

type profilesUseCmd struct {
	Name string `arg:"" help:"Name of the profile."`
	output
}

// Run puts a profile to use.
func (u *profilesUseCmd) Run(a *app) error {
	kept, err := readConfig(a)
	if err != nil {
		return err
	}
	if _, err := kept.choose(u.Name); err != nil {
		return err
	}
	kept.Profile = u.Name
	if err := kept.write(a); err != nil {
		return err
	}
	return a.done(u.JSON, "Using profile "+u.Name+".", map[string]string{"profile": u.Name})
}

type profilesRemoveCmd struct {
	Name string `arg:"" help:"Name of the profile."`
	output
}

// Run forgets a profile.
func (r *profilesRemoveCmd) Run(a *app) error {
	kept, err := readConfig(a)
	if err != nil {
		return err
	}
	if _, err := kept.choose(r.Name); err != nil {
		return err
	}
	delete(kept.Profiles, r.Name)
	if kept.Profile == r.Name {
		kept.Profile = ""
	}
	if err := kept.write(a); err != nil {
		return err
	}
	return a.done(r.JSON, "Removed profile "+r.Name+".", map[string]string{"profile": r.Name})
}

// done says that something was done: a sentence, or a value for programs.
func (a *app) done(asJSON bool, sentence string, v any) error {
	if asJSON {
		return writeJSON(a.out, v)
	}
	writeWrapped(a.out, a.width, sentence)
	return nil
}
