package main

import (
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

// remote says which server a command speaks to; every command that does embeds it.
type remote struct {
	URL       string `help:"Address of the server; ${default_url} if not given." default:"${default_url}" env:"SLUICE_URL" placeholder:"URL" group:"Server"`
	Token     string `help:"Token; else that of a server on this machine is read from ./data/token." env:"SLUICE_TOKEN" placeholder:"TOKEN" group:"Server"`
	Workspace string `help:"Workspace; main if not given." default:"main" env:"SLUICE_WORKSPACE" placeholder:"ID" short:"w" group:"Server"`
}

// output is how a command answers; every command that shows something embeds it.
type output struct {
	JSON bool `help:"Print JSON, for programs." name:"json"`
}

// connect makes a client for the server that the flags name.
func (r *remote) connect(a *app) (*client.Client, error) {
	token := r.Token
	if token == "" && onThisMachine(r.URL) {
		token = readToken(filepath.Join(dataFolder(a), tokenFile))
	}
	return client.New(client.Config{URL: r.URL, Token: token, Workspace: r.Workspace, Agent: "sluice/" + version})
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
