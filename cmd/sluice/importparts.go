package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"sluice"
	"sluice/client"
)

// importStep saves one thing of an archive.
type importStep struct {
	path, kind string
	save       func(ctx context.Context) (pushed, error)
}

// steps are what is to be done for an archive, each thing after those that it may name.
func (i *importCmd) steps(c *client.Client, all *contents) (steps []importStep) {
	plain := func(kind, path string, save func(context.Context) (string, error)) {
		steps = append(steps, importStep{path, kind, func(ctx context.Context) (one pushed, err error) {
			one.What, err = save(ctx)
			return one, err
		}})
	}
	parts := func(kind string, save func(context.Context, *client.Client, *part) (string, error)) {
		for n := range all.parts[kind] {
			p := &all.parts[kind][n]
			plain(kind, p.path, func(ctx context.Context) (string, error) { return save(ctx, c, p) })
		}
	}
	parts(kindFolder, i.saveFolder)
	parts(kindVariable, i.saveVariable)
	parts(kindResource, i.saveResource)
	for n := range all.scripts {
		p := &all.scripts[n]
		steps = append(steps, importStep{p.path, "", func(ctx context.Context) (pushed, error) { return i.save(ctx, c, p) }})
	}
	for n := range all.flows {
		f := &all.flows[n]
		plain(kindFlow, f.path, func(ctx context.Context) (string, error) { return i.saveFlow(ctx, c, f) })
	}
	parts(kindSchedule, i.saveSchedule)
	return steps
}

// put saves something that is there, as shown with missing nil, or is not there,
// unless it is there already with all that body says.
func (i *importCmd) put(shown map[string]json.RawMessage, missing error, body map[string]any, create, update func(data json.RawMessage) error) (what string, err error) {
	what = "new"
	switch {
	case missing == nil:
		same, err := sameFlow(shown, body)
		if err != nil || same {
			return "unchanged", err
		}
		what, create = "updated", update
	case sluice.CodeOf(missing) != sluice.CodeNotFound:
		return "", missing
	}
	if i.DryRun {
		return what, nil
	}
	data, err := json.Marshal(body)
	if err != nil {
		return "", fmt.Errorf("make JSON of what is imported: %w", err)
	}
	return what, create(data)
}

// body returns the fields of a part, less those that the server makes.
func (p *part) body(without ...string) map[string]any {
	body := map[string]any{}
	for name, v := range p.fields {
		if !slices.Contains(without, name) {
			body[name] = v
		}
	}
	return body
}

func (i *importCmd) saveFolder(ctx context.Context, c *client.Client, p *part) (what string, err error) {
	body := p.body("workspace_id", "created_by", "edited_at", "name")
	shown, err := c.FolderFields(ctx, p.path)
	return i.put(shown, err, body,
		func(json.RawMessage) error {
			body["name"] = p.path
			data, err := json.Marshal(body)
			if err != nil {
				return fmt.Errorf("make JSON of the folder: %w", err)
			}
			return c.CreateFolder(ctx, data)
		},
		func(data json.RawMessage) error { return c.UpdateFolder(ctx, p.path, data) })
}

func (i *importCmd) saveResource(ctx context.Context, c *client.Client, p *part) (what string, err error) {
	var kind, description *string
	for name, into := range map[string]**string{"resource_type": &kind, "description": &description} {
		if v := p.fields[name]; v != nil {
			if err := json.Unmarshal(v, into); err != nil {
				return "", fmt.Errorf("read %s of resource %s: %w", name, p.path, err)
			}
		}
	}
	there, missing := c.Resource(ctx, p.path)
	change := client.ResourceChange{Type: kind, Value: p.fields["value"], Description: description}
	switch {
	case sluice.CodeOf(missing) == sluice.CodeNotFound:
		if i.DryRun {
			return "new", nil
		}
		change.Path = &p.path
		return "new", c.CreateResource(ctx, change)
	case missing != nil:
		return "", missing
	}
	if kind != nil && *kind == there.Type && (description == nil || *description == there.Description) &&
		string(canonical(there.Value)) == string(canonical(change.Value)) {
		return "unchanged", nil
	}
	if i.DryRun {
		return "updated", nil
	}
	return "updated", c.UpdateResource(ctx, p.path, change)
}

// saveVariable saves a variable. A secret that is encrypted is left out, unless
// it is there as it is.
func (i *importCmd) saveVariable(ctx context.Context, c *client.Client, p *part) (what string, err error) {
	v, err := readVariable(p)
	if err != nil {
		return "", err
	}
	there, missing := c.Variable(ctx, p.path)
	if missing != nil && sluice.CodeOf(missing) != sluice.CodeNotFound {
		return "", missing
	}
	if v.Secret && !i.PlainSecrets && sealed(*v.Value) {
		if missing == nil && there.IsSecret {
			if text, err := c.SealedVariable(ctx, p.path); err != nil || text == *v.Value {
				return "unchanged", err
			}
		}
		return skipped, nil
	}
	change := client.VariableChange{Value: v.Value, IsSecret: &v.Secret, Description: v.Description}
	if missing == nil {
		same, err := i.sameVariable(ctx, c, there, &v)
		switch {
		case err != nil || same:
			return "unchanged", err
		case i.DryRun:
			return "updated", nil
		}
		return "updated", c.UpdateVariable(ctx, p.path, change)
	}
	if i.DryRun {
		return "new", nil
	}
	change.Path = &p.path
	return "new", c.CreateVariable(ctx, change)
}

// sameVariable reports whether a variable is there as it is in the archive; the
// value of a secret is read for that.
func (i *importCmd) sameVariable(ctx context.Context, c *client.Client, there *client.Variable, v *variableEntry) (bool, error) {
	if there.IsSecret != v.Secret || v.Description != nil && *v.Description != there.Description {
		return false, nil
	}
	if there.Value != nil {
		return *there.Value == *v.Value, nil
	}
	value, err := c.VariableValue(ctx, there.Path)
	return value == *v.Value, err
}

// serverScheduleFields are fields of a schedule that the server makes.
var serverScheduleFields = []string{"path", "workspace_id", "edited_by", "edited_at", "extra_perms", "permissioned_as", "error", "email", "next_run"}

func (i *importCmd) saveSchedule(ctx context.Context, c *client.Client, p *part) (what string, err error) {
	body := p.body(serverScheduleFields...)
	body["path"] = p.path
	shown, err := c.ScheduleFields(ctx, p.path)
	return i.put(shown, err, body,
		func(data json.RawMessage) error { return c.CreateSchedule(ctx, data) },
		func(data json.RawMessage) error { return c.UpdateSchedule(ctx, p.path, data) })
}
