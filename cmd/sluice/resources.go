package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"sluice"
	"sluice/client"
)

type resourceCmd struct {
	List   resourceListCmd   `cmd:"" help:"List the resources of the workspace."`
	Get    resourceGetCmd    `cmd:"" help:"Show a resource."`
	Set    resourceSetCmd    `cmd:"" help:"Make a resource, or change it."`
	Delete resourceDeleteCmd `cmd:"" help:"Delete a resource."`
}

// resourceArg is the resource that a command is about.
type resourceArg struct {
	Path string `arg:"" help:"Path of the resource, such as f/demo/database."`
}

type resourceListCmd struct {
	Type string `help:"Only those of this type." placeholder:"TYPE"`
	remote
	output
}

// Run lists resources.
func (l *resourceListCmd) Run(ctx context.Context, a *app) error {
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	list, err := everyPage(func(page, perPage int) ([]client.Resource, error) { return c.Resources(ctx, l.Type, page, perPage) })
	if err != nil {
		return err
	}
	if l.JSON {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No resources here. Make one with: sluice resource set PATH --type TYPE")
		return nil
	}
	const leastPath, least = 16, 10
	t := table{columns: []column{{head: "PATH", least: leastPath}, {head: "TYPE", least: least}, {head: "DESCRIPTION", least: least}}}
	for _, r := range list {
		t.add(r.Path, r.Type, r.Description)
	}
	t.write(a.out, a.width)
	return nil
}

type resourceGetCmd struct {
	resourceArg
	Value    bool `help:"Print the value alone, as it was saved."`
	Resolved bool `help:"Print the value alone, with the variables and resources that it refers to."`
	remote
	output
}

// Run shows a resource.
func (g *resourceGetCmd) Run(ctx context.Context, a *app) error {
	c, err := g.connect(a)
	if err != nil {
		return err
	}
	if g.Resolved {
		value, err := c.ResolvedResource(ctx, g.Path)
		if err != nil {
			return err
		}
		return writeJSON(a.out, value)
	}
	r, err := c.Resource(ctx, g.Path)
	switch {
	case err != nil:
		return err
	case g.Value:
		return writeJSON(a.out, r.Value)
	case g.JSON:
		return writeJSON(a.out, r)
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	var value bytes.Buffer
	if err := json.Compact(&value, r.Value); err != nil {
		return fmt.Errorf("read the value of %s: %w", r.Path, err)
	}
	writeFacts(a.out, a.width, "", []fact{
		{"resource", r.Path}, {"type", r.Type}, {"value", value.String()}, {"description", r.Description}, {"saved", a.when(r.EditedAt, now)},
	})
	return nil
}

type resourceSetCmd struct {
	resourceArg
	Type        *string `help:"Its type, such as postgresql; needed for a new one." placeholder:"TYPE"`
	File        string  `short:"f" help:"Read the value, JSON, from a file; else from standard input." placeholder:"FILE" type:"path"`
	Description *string `help:"What it is for." placeholder:"TEXT"`
	remote
	output
}

// Help says what a value may hold.
func (resourceSetCmd) Help() string {
	return `The value is any JSON. A string $var:PATH in it stands for a variable, and $res:PATH for another resource: keep passwords in secret variables.

    echo '{"host": "db", "user": "app", "password": "$var:f/demo/password"}' |
      sluice resource set f/demo/database --type postgresql`
}

// Run saves a resource.
func (s *resourceSetCmd) Run(ctx context.Context, a *app) error {
	c, err := s.connect(a)
	if err != nil {
		return err
	}
	_, err = c.Resource(ctx, s.Path)
	fresh := sluice.CodeOf(err) == sluice.CodeNotFound
	if err != nil && !fresh {
		return err
	}
	change := client.ResourceChange{Type: s.Type, Description: s.Description}
	if fresh && s.Type == nil {
		return usage(sluice.Invalid("--type", "is needed: there is no resource %s yet", s.Path))
	}
	if fresh || s.File != "" || s.Type == nil && s.Description == nil {
		text, err := a.value(ctx, s.File, "", maxArgs)
		if err != nil {
			return err
		}
		if !json.Valid([]byte(text)) {
			return sluice.Invalid("value", "must be JSON; write a text between quotes")
		}
		change.Value = json.RawMessage(text)
	}
	what := "Changed"
	if fresh {
		what, change.Path = "Made", &s.Path
		err = c.CreateResource(ctx, change)
	} else {
		err = c.UpdateResource(ctx, s.Path, change)
	}
	if err != nil {
		return err
	}
	return a.done(s.JSON, fmt.Sprintf("%s the resource %s.", what, s.Path), map[string]any{"path": s.Path, "created": fresh})
}

type resourceDeleteCmd struct {
	resourceArg
	remote
	output
}

// Run deletes a resource.
func (d *resourceDeleteCmd) Run(ctx context.Context, a *app) error {
	c, err := d.connect(a)
	if err != nil {
		return err
	}
	if err := c.DeleteResource(ctx, d.Path); err != nil {
		return err
	}
	return a.done(d.JSON, fmt.Sprintf("Deleted the resource %s.", d.Path), map[string]string{"path": d.Path})
}
