package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" help:"bash, zsh or fish." enum:"bash,zsh,fish"`
}

// Each shell asks the program itself what may stand next, so that there is one
// answer: the words so far go in, candidates come out, one a line.
var completionScripts = map[string]string{
	"bash": `_sluice() {
	local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
	local IFS=$'\n'
	COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" complete -- "${words[@]}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _sluice sluice
`,
	"zsh": `#compdef sluice
_sluice() {
	local -a candidates
	candidates=("${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n "${candidates[1]}" ]]; then
		compadd -- "${candidates[@]}"
	else
		_files
	fi
}
compdef _sluice sluice
`,
	"fish": `function __sluice_complete
	set -l words (commandline -opc) (commandline -ct)
	$words[1] complete -- $words[2..-1] 2>/dev/null
end
complete -c sluice -a '(__sluice_complete)'
`,
}

// Help says how a shell is told.
func (completionCmd) Help() string {
	return `For bash, in ~/.bashrc: source <(sluice completion bash)

For zsh, in ~/.zshrc, after compinit: source <(sluice completion zsh)

For fish: sluice completion fish > ~/.config/fish/completions/sluice.fish`
}

// Run prints the script for a shell.
func (c *completionCmd) Run(a *app) error {
	if _, err := fmt.Fprint(a.out, completionScripts[c.Shell]); err != nil {
		return fmt.Errorf("write the script: %w", err)
	}
	return nil
}

type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:"" help:"What was typed after the program's name; the last is being typed."`
}

// Run prints what the word that is being typed may become.
func (c *completeCmd) Run(ctx context.Context, a *app) error {
	parser, err := a.parser(ctx, &cli{})
	if err != nil {
		return err
	}
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 {
		words = []string{""}
	}
	for _, candidate := range candidates(parser.Model.Node, words) {
		fmt.Fprintln(a.out, candidate)
	}
	return nil
}

// candidates returns what the last word may become: the commands, flags or
// values that may stand there and begin with what is typed of it. None: it is
// a file or free text.
func candidates(node *kong.Node, words []string) []string {
	// bash makes a word of the = between a flag and its value.
	done := slices.DeleteFunc(slices.Clone(words[:len(words)-1]), func(s string) bool { return s == "=" })
	typed := strings.TrimPrefix(words[len(words)-1], "=")
	var wants *kong.Flag // whose value comes next
	args := 0            // of the command, given already
	for _, word := range done {
		switch child := childOf(node, word); {
		case wants != nil:
			wants = nil
		case strings.HasPrefix(word, "-"):
			wants = flagOf(node, word)
		case child != nil:
			node = child
		default:
			args++
		}
	}
	var list []string
	switch {
	case wants != nil:
		list = enumOf(wants.Value)
	case strings.HasPrefix(typed, "-"):
		list = flagNames(node)
	case len(node.Children) > 0:
		for _, child := range node.Children {
			if !child.Hidden {
				list = append(list, child.Name)
			}
		}
	case args < len(node.Positional):
		list = enumOf(node.Positional[args])
	}
	list = slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, typed) })
	slices.Sort(list)
	return list
}

func childOf(node *kong.Node, word string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == word && !child.Hidden {
			return child
		}
	}
	return nil
}

// flagOf returns the flag that takes its value from the next word; nil if word
// is none such.
func flagOf(node *kong.Node, word string) *kong.Flag {
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			named := word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short)
			for _, alias := range f.Aliases {
				named = named || word == "--"+alias
			}
			if named && !f.IsBool() && !f.IsCounter() {
				return f
			}
		}
	}
	return nil
}

func flagNames(node *kong.Node) []string {
	var list []string
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			list = append(list, "--"+f.Name)
			if f.Tag.Negatable != "" {
				list = append(list, "--no-"+f.Name)
			}
		}
	}
	return list
}

// enumOf returns the values that are allowed; none if any is.
func enumOf(v *kong.Value) []string {
	var list []string
	for _, s := range v.EnumSlice() {
		if s != "" {
			list = append(list, s)
		}
	}
	return list
}
