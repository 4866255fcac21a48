package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

const mainWorkspace = "main"

// banner greets whoever started the server. On a terminal it shows secrets; what
// is written elsewhere others may read, so there it says where they are kept.
func (v *server) banner(a *app) {
	s := v.cmd
	url, token := v.url(), v.token
	if !a.tty {
		token = "kept in " + filepath.Join(s.Data, tokenFile)
	}
	places := "none; jobs wait for a worker"
	if s.Workers > 0 {
		places = fmt.Sprintf("%d, for jobs tagged %s", s.Workers, strings.Join(s.Tags, ", "))
	}
	fmt.Fprintf(a.out, "\nSluice %s is running.\n\n", version)
	writeFacts(a.out, 0, "  ", []fact{
		{"URL", url},
		{"token", token},
		{"data", shown(s.Database, filepath.Join(s.Data, databaseFile))},
		{"places", places},
	})
	if v.password != "" && !a.tty {
		fmt.Fprintf(a.out, "\nThe first user is %s; its password is kept in %s\n", adminEmail, filepath.Join(s.Data, passwordFile))
	}
	if v.password != "" && a.tty {
		fmt.Fprintf(a.out, "\nThe first user is %s, password %s\n", adminEmail, v.password)
		fmt.Fprintf(a.out, "(shown this once; it is kept in %s)\n", filepath.Join(s.Data, passwordFile))
	}
	fmt.Fprintf(a.out, "\nTry this in another terminal:\n\n")
	for _, line := range v.firstSteps(a, url) {
		fmt.Fprintf(a.out, "  %s\n", line)
	}
	fmt.Fprintf(a.out, "\nCtrl-C stops it; running jobs then have %s to end.\n\n", spell(s.Grace))
}

// firstSteps are three commands to try, after what they need to find the server.
func (v *server) firstSteps(a *app, url string) []string {
	var lines []string
	if url != defaultURL {
		lines = append(lines, "export SLUICE_URL="+url)
	}
	switch dir := filepath.Clean(v.cmd.Data); {
	case !onThisMachine(url) && a.tty:
		lines = append(lines, "export SLUICE_TOKEN="+v.token)
	case !onThisMachine(url):
		lines = append(lines, "export SLUICE_TOKEN=…")
	case dir != defaultData:
		lines = append(lines, "export SLUICE_DATA="+shellWord(dir))
	}
	first := a.self + " push DIR"
	if v.cmd.Seed {
		first = a.self + " run f/demo/hello --wait -d '{\"name\": \"you\"}'"
	}
	return append(
		lines, first,
		a.self+" jobs list",
		a.self+" limits plan --limit 10 --window 60 --jobs 300 --duration 2s",
	)
}
