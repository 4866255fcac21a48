package main

import (
	"cmp"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"sluice"
	"sluice/client"
)

const (
	defaultURL  = client.DefaultURL
	defaultData = "data"
	tokenFile   = "token"
	maxToken    = 4096
)

// remote says which server a command speaks to; every command that does embeds
// it. What is not given comes from the profile, and is filled in by connect.
type remote struct {
	URL       string `help:"Address of the server; else the profile's, else ${default_url}." env:"SLUICE_URL" aliases:"server" placeholder:"URL" group:"Server"`
	Token     string `help:"Token; else the profile's, else that of a server on this machine from ./data/token." env:"SLUICE_TOKEN" placeholder:"TOKEN" group:"Server"`
	Workspace string `help:"Workspace; else the profile's, else main." env:"SLUICE_WORKSPACE" placeholder:"ID" short:"w" group:"Server"`
	Profile   string `help:"Profile; else the one in use. See sluice login." env:"SLUICE_PROFILE" placeholder:"NAME" group:"Server"`
}

// output is how a command answers; every command that shows something embeds it.
type output struct {
	JSON bool `help:"Print JSON, for programs." name:"json"`
}

// connect makes a client for the server that flags, environment and profile name.
func (r *remote) connect(a *app) (*client.Client, error) {
	if err := r.settle(a); err != nil {
		return nil, err
	}
	return client.New(client.Config{URL: r.URL, Token: r.Token, Workspace: r.Workspace, Agent: "sluice/" + version})
}

// settle fills in what neither flags nor environment say. A token goes only to
// the server that it is for: that of a profile to the profile's address. This is
// no resolver of kong's, which would let the file win over the environment.
func (r *remote) settle(a *app) error {
	c, err := readConfig(a)
	if err != nil {
		return err
	}
	p, err := c.choose(r.Profile)
	if err != nil {
		return err
	}
	if p == nil {
		p = &profile{}
	}
	r.URL = cmp.Or(r.URL, p.URL, defaultURL)
	if sameServer(r.URL, p.URL) {
		r.Token = cmp.Or(r.Token, p.Token)
		r.Workspace = cmp.Or(r.Workspace, p.Workspace)
	}
	// Whoever has signed out does not become the owner of the server by that.
	signedOut := p.URL != "" && p.Token == "" && sameServer(r.URL, p.URL)
	if r.Token == "" && !signedOut && onThisMachine(r.URL) {
		r.Token = readToken(filepath.Join(dataFolder(a), tokenFile))
	}
	r.Workspace = cmp.Or(r.Workspace, client.DefaultWorkspace)
	return nil
}

func sameServer(a, b string) bool {
	return strings.TrimRight(a, "/") == strings.TrimRight(b, "/")
}

func dataFolder(a *app) string {
	if dir := a.env("SLUICE_DATA"); dir != "" {
		return dir
	}
	return defaultData
}

// readToken returns the token in a file, "" if it cannot be read: the server
// then says what is missing.
func readToken(path string) string {
	data, err := os.ReadFile(path)
	if err != nil || len(data) > maxToken {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// onThisMachine reports whether an address is of the loopback interface. The
// token of the local server is sent nowhere else.
func onThisMachine(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback()
}

// keyArg is the concurrency key that a command is about.
type keyArg struct {
	Key string `arg:"" help:"Concurrency key, such as main/script/f/demo/hello."`
}

func (k keyArg) check() error {
	if k.Key == "" {
		return sluice.Invalid("KEY", "must not be empty here; the group with the empty key can be changed through the API")
	}
	return nil
}
