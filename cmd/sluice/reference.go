package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"sluice"
)

//go:generate go run sluice/cmd/sluice reference --form markdown --out ../../docs/cli.md
//go:generate go run sluice/cmd/sluice reference --form man --out ../../docs/sluice.1

// referenceCmd writes the reference of the command line, from the definition
// that reads it.
type referenceCmd struct {
	Form string `enum:"markdown,man" required:"" help:"markdown or man."`
	Out  string `required:"" help:"File to write."`
}

// Run writes the file.
func (r *referenceCmd) Run(ctx context.Context, a *app) error {
	parser, err := a.parser(ctx, &cli{})
	if err != nil {
		return err
	}
	text := markdown(parser.Model.Node)
	if r.Form == "man" {
		text = manPage(parser.Model.Node)
	}
	if err := os.WriteFile(r.Out, []byte(text), 0o644); err != nil {
		return sluice.Invalid("--out", "%s cannot be written: %s", r.Out, plainCause(err))
	}
	return nil
}

const serverGroup = "Server" // flags that are described once, for all commands

// profilesHelp is what no single command's help can say.
const profilesHelp = `A command asks a server. What is not said by a flag comes from the environment, else from the profile, else from a default.

"sluice login" keeps profiles in config.json in the folder sluice of the user's configuration ($XDG_CONFIG_HOME, else ~/.config), or in the file that SLUICE_CONFIG names. It holds tokens, never passwords; only its owner may read it, else it is refused. A profile's token and workspace are used for the profile's own server alone, whatever --url says. On the machine of the server, without any of these, its own token is read from data/token.`

// flagTerm writes a flag as it is typed.
func flagTerm(f *kong.Flag) string {
	s := "--" + f.Name
	if f.Tag.Negatable != "" {
		s = "--[no-]" + f.Name
	}
	if !f.IsBool() {
		s += "=" + strings.Trim(f.FormatPlaceHolder(), `"`)
	}
	if f.Short != 0 {
		s = "-" + string(f.Short) + ", " + s
	}
	return s
}

// flagHelp says what a flag does, and how else it can be given.
func flagHelp(f *kong.Flag) string {
	s := f.Help
	if len(f.Aliases) > 0 {
		s += " Also --" + strings.Join(f.Aliases, ", --") + "."
	}
	if f.HasDefault && f.Default != "" && !f.IsBool() {
		s += fmt.Sprintf(" Default: %s.", f.Default)
	}
	if len(f.Envs) > 0 {
		s += " Environment: " + strings.Join(f.Envs, ", ") + "."
	}
	return s
}

// eachFlag calls visit for the flags of a command that are shown; those of the
// server's group only if that is asked for.
func eachFlag(n *kong.Node, ofServer bool, visit func(f *kong.Flag)) {
	for _, f := range n.Flags {
		if !f.Hidden && f.Name != "help" && (f.Group != nil && f.Group.Key == serverGroup) == ofServer {
			visit(f)
		}
	}
}

// commands returns the commands that do something, in the order of the help.
func commands(root *kong.Node) []*kong.Node {
	var list []*kong.Node
	for _, n := range root.Leaves(true) {
		if !n.Hidden {
			list = append(list, n)
		}
	}
	return list
}

// serverFlags returns a command that has the flags of the server's group.
func serverFlags(root *kong.Node) *kong.Node {
	for _, n := range commands(root) {
		found := false
		eachFlag(n, true, func(*kong.Flag) { found = true })
		if found {
			return n
		}
	}
	return root
}

func speaksToServer(n *kong.Node) bool {
	found := false
	eachFlag(n, true, func(*kong.Flag) { found = true })
	return found
}

func markdown(root *kong.Node) string {
	var b strings.Builder
	cell := func(s string) string {
		return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "\n", " ").Replace(s)
	}
	flags := func(n *kong.Node, ofServer bool) {
		head := "| flag | what it does |\n|---|---|\n"
		eachFlag(n, ofServer, func(f *kong.Flag) {
			fmt.Fprintf(&b, "%s| `%s` | %s |\n", head, flagTerm(f), cell(flagHelp(f)))
			head = ""
		})
		if head == "" {
			b.WriteByte('\n')
		}
	}
	fmt.Fprintf(&b, "<!-- Written by go generate from cmd/sluice; do not edit. -->\n\n# The command line\n\n%s\n\n## Which server, and as whom\n\n%s\n\n", about, profilesHelp)
	flags(serverFlags(root), true)
	b.WriteString("## Commands\n\n")
	for _, n := range commands(root) {
		fmt.Fprintf(&b, "- [`%s`](#%s): %s\n", n.FullPath(), strings.ReplaceAll(n.FullPath(), " ", "-"), n.Help)
	}
	for _, n := range commands(root) {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", n.FullPath(), n.Help)
		if n.Detail != "" {
			fmt.Fprintf(&b, "%s\n\n", n.Detail)
		}
		fmt.Fprintf(&b, "    %s %s\n\n", root.Name, strings.TrimSpace(n.Summary()))
		for i, p := range n.Positional {
			if i == 0 {
				b.WriteString("| argument | what it is |\n|---|---|\n")
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", p.Name, cell(p.Help))
		}
		if len(n.Positional) > 0 {
			b.WriteByte('\n')
		}
		flags(n, false)
		if speaksToServer(n) {
			b.WriteString("And the flags that say [which server](#which-server-and-as-whom).\n")
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func manPage(root *kong.Node) string {
	var b strings.Builder
	text := func(s string) string {
		s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
		var lines []string
		for line := range strings.SplitSeq(s, "\n") {
			if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
				line = `\&` + line
			}
			if line == "" {
				line = ".PP"
			}
			lines = append(lines, line)
		}
		return strings.Join(lines, "\n")
	}
	item := func(term, help string) { fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", text(term), text(help)) }
	fmt.Fprintf(&b, ".\\\" Written by go generate from cmd/sluice; do not edit.\n.TH SLUICE 1 \"\" \"sluice\" \"Sluice\"\n")
	fmt.Fprintf(&b, ".SH NAME\nsluice \\- run jobs under exact concurrency limits\n.SH SYNOPSIS\n.B sluice\n.I command\n[flags]\n")
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n.SH SERVER AND PROFILES\n%s\n", text(about), text(profilesHelp))
	eachFlag(serverFlags(root), true, func(f *kong.Flag) { item(flagTerm(f), flagHelp(f)) })
	b.WriteString(".SH COMMANDS\n")
	for _, n := range commands(root) {
		fmt.Fprintf(&b, ".SS %s\n%s\n", text(root.Name+" "+strings.TrimSpace(n.Summary())), text(n.Help))
		if n.Detail != "" {
			fmt.Fprintf(&b, ".PP\n%s\n", text(n.Detail))
		}
		for _, p := range n.Positional {
			item(p.Name, p.Help)
		}
		eachFlag(n, false, func(f *kong.Flag) { item(flagTerm(f), flagHelp(f)) })
	}
	return b.String()
}
