package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"sluice"
	"sluice/client"
)

type variableCmd struct {
	List   variableListCmd   `cmd:"" help:"List the variables of the workspace."`
	Get    variableGetCmd    `cmd:"" help:"Show a variable."`
	Set    variableSetCmd    `cmd:"" help:"Make a variable, or change it."`
	Delete variableDeleteCmd `cmd:"" help:"Delete a variable."`
}

// variableArg is the variable that a command is about.
type variableArg struct {
	Path string `arg:"" help:"Path of the variable, such as f/demo/token."`
}

type variableListCmd struct {
	remote
	output
}

// hidden stands for the value of a secret.
const hidden = "(secret)"

func shownValue(v *client.Variable) string {
	if v.Value == nil {
		return hidden
	}
	return *v.Value
}

// Run lists variables.
func (l *variableListCmd) Run(ctx context.Context, a *app) error {
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	list, err := everyPage(func(page, perPage int) ([]client.Variable, error) { return c.Variables(ctx, page, perPage) })
	if err != nil {
		return err
	}
	if l.JSON {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No variables here. Make one with: sluice variable set PATH VALUE")
		return nil
	}
	const leastPath, least = 16, 10
	t := table{columns: []column{{head: "PATH", least: leastPath}, {head: "VALUE", least: least}, {head: "DESCRIPTION", least: least}}}
	for i := range list {
		t.add(list[i].Path, shownValue(&list[i]), list[i].Description)
	}
	t.write(a.out, a.width)
	return nil
}

type variableGetCmd struct {
	variableArg
	Value bool `help:"Print the value alone, also that of a secret; that is recorded."`
	remote
	output
}

// Run shows a variable.
func (g *variableGetCmd) Run(ctx context.Context, a *app) error {
	c, err := g.connect(a)
	if err != nil {
		return err
	}
	if g.Value {
		value, err := c.VariableValue(ctx, g.Path)
		switch {
		case err != nil:
			return err
		case g.JSON:
			return writeJSON(a.out, value)
		case a.tty:
			value = clean(value)
		}
		fmt.Fprintln(a.out, value)
		return nil
	}
	v, err := c.Variable(ctx, g.Path)
	if err != nil {
		return err
	}
	if g.JSON {
		return writeJSON(a.out, v)
	}
	value := shownValue(v)
	if v.IsSecret {
		value += "; print it with --value"
	}
	writeFacts(a.out, a.width, "", []fact{{"variable", v.Path}, {"value", value}, {"description", v.Description}})
	return nil
}

type variableSetCmd struct {
	variableArg
	Value       *string `arg:"" optional:"" help:"Value of one that is no secret; else it is read from standard input or a file."`
	File        string  `short:"f" help:"Read the value from a file, as it is." placeholder:"FILE" type:"path"`
	Secret      *bool   `help:"Keep it encrypted, and hide it; a secret stays one unless --no-secret is given." negatable:""`
	Description *string `help:"What it is for." placeholder:"TEXT"`
	remote
	output
}

// Help says how a secret is set.
func (variableSetCmd) Help() string {
	return `The value of a secret is never an argument: everybody on the machine may see those, and shells remember them.

    sluice variable set f/demo/token --secret < token.txt
    pass show demo | sluice variable set f/demo/token --secret

A line feed at the end of standard input does not belong to the value.`
}

// Run saves a variable.
func (s *variableSetCmd) Run(ctx context.Context, a *app) error {
	c, err := s.connect(a)
	if err != nil {
		return err
	}
	if s.Value != nil && s.File != "" {
		return usage(sluice.Invalid("--file", "is given, and a value too"))
	}
	old, err := c.Variable(ctx, s.Path)
	fresh := sluice.CodeOf(err) == sluice.CodeNotFound
	if err != nil && !fresh {
		return err
	}
	secret := !fresh && old.IsSecret
	if s.Secret != nil {
		secret = *s.Secret
	}
	if secret && s.Value != nil {
		return usage(sluice.Invalid("VALUE", "must not be that of a secret; send it to standard input, or use --file"))
	}
	change := client.VariableChange{Value: s.Value, IsSecret: s.Secret, Description: s.Description}
	if s.Value == nil && (fresh || s.File != "" || s.Secret != nil || s.Description == nil) {
		text, err := a.value(ctx, s.File, "Value of "+clean(s.Path)+": ", maxVariable)
		if err != nil {
			return err
		}
		change.Value = &text
	}
	what := "Changed"
	if fresh {
		what, change.Path = "Made", &s.Path
		err = c.CreateVariable(ctx, change)
	} else {
		err = c.UpdateVariable(ctx, s.Path, change)
	}
	if err != nil {
		return err
	}
	kind := "variable"
	if secret {
		kind = "secret"
	}
	return a.done(s.JSON, fmt.Sprintf("%s the %s %s.", what, kind, s.Path), map[string]any{"path": s.Path, "is_secret": secret, "created": fresh})
}

// maxVariable is how long a value may be that is sent; the server has its own bound.
const maxVariable = 1 << 20

// value reads a value from a file, or from standard input. With a prompt a
// terminal is asked for it, without an echo.
func (a *app) value(ctx context.Context, file, prompt string, most int64) (string, error) {
	if f, ok := a.in.(*os.File); ok && file == "" && prompt != "" && isTerminal(f) {
		return a.ask(ctx, f, prompt)
	}
	in, name := a.in, "standard input"
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", sluice.Invalid("--file", "cannot be read: %s", plainCause(err))
		}
		defer f.Close()
		in, name = f, "--file"
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	switch {
	case err != nil:
		return "", sluice.Invalid(name, "cannot be read: %s", plainCause(err))
	case int64(len(text)) > most:
		return "", sluice.Errorf(sluice.CodeTooLarge, "%s: has more than %d bytes", name, most)
	case file != "":
		return string(text), nil
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

type variableDeleteCmd struct {
	variableArg
	remote
	output
}

// Run deletes a variable.
func (d *variableDeleteCmd) Run(ctx context.Context, a *app) error {
	c, err := d.connect(a)
	if err != nil {
		return err
	}
	if err := c.DeleteVariable(ctx, d.Path); err != nil {
		return err
	}
	return a.done(d.JSON, fmt.Sprintf("Deleted the variable %s.", d.Path), map[string]string{"path": d.Path})
}

type keyCmd struct {
	Rotate keyRotateCmd `cmd:"" help:"Give all workspaces new keys, and encrypt their secrets anew."`
}

type keyRotateCmd struct {
	Master bool `help:"Only wrap the keys of workspaces by the server's newest master key, so that the previous one is not needed any more."`
	remote
	output
}

// Help says how a master key is replaced.
func (keyRotateCmd) Help() string {
	return `To replace the master key: start the server with --key-file NEW --previous-key-file OLD, run this with --master, and start it without the old one.

It may be interrupted and repeated: every secret can be read at any time.`
}

// Run changes keys.
func (k *keyRotateCmd) Run(ctx context.Context, a *app) error {
	c, err := k.connect(a)
	if err != nil {
		return err
	}
	done, err := c.RotateKeys(ctx, k.Master)
	if err != nil {
		return err
	}
	sentence := fmt.Sprintf("Changed the keys of %s; %s encrypted anew.", count(int64(done.Workspaces), "workspace"), count(int64(done.Secrets), "secret"))
	if k.Master {
		sentence = fmt.Sprintf("Wrapped the keys of %s by the newest master key.", count(int64(done.Workspaces), "workspace"))
	}
	return a.done(k.JSON, sentence, done)
}
