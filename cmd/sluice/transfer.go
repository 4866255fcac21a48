package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"sluice"
	"sluice/client"
)

type exportCmd struct {
	Output string `short:"o" help:"File to write; WORKSPACE.zip if not given, - for standard output." placeholder:"FILE"`
	remote
	output
}

// Help says what is in the archive.
func (exportCmd) Help() string {
	return `The archive has the layout of Windmill's exports: PATH.EXT holds the code of a script, PATH.script.json its settings, without those that are not set; PATH.flow.json holds a flow. A lock that the server made is in it like one that was pushed, so that an imported script runs with the same packages. Only the newest versions are in it, and neither people, tokens, jobs nor overrides.`
}

// Run writes the scripts and flows of a workspace into an archive.
func (e *exportCmd) Run(ctx context.Context, a *app) error {
	if e.Output == "-" && e.JSON {
		return usage(sluice.Invalid("--json", "cannot go to standard output beside the archive"))
	}
	c, err := e.connect(a)
	if err != nil {
		return err
	}
	scripts, err := a.allScripts(ctx, c)
	if err != nil {
		return err
	}
	flows, err := a.allFlows(ctx, c)
	if err != nil {
		return err
	}
	if e.Output == "-" {
		return writeArchive(a.out, scripts, flows)
	}
	name := e.Output
	if name == "" {
		name = c.Workspace() + ".zip"
	}
	if err := writeWhole(name, func(w io.Writer) error { return writeArchive(w, scripts, flows) }); err != nil {
		return err
	}
	said := fmt.Sprintf("Wrote %s of workspace %s to %s.", counts(int64(len(scripts)), int64(len(flows)), 0), c.Workspace(), name)
	return a.done(e.JSON, said, map[string]any{"file": name, "scripts": len(scripts), "flows": len(flows), "workspace_id": c.Workspace()})
}

// allScripts reads every script of the workspace.
func (a *app) allScripts(ctx context.Context, c *client.Client) ([]packed, error) {
	list, err := everyPage(func(page, perPage int) ([]client.Script, error) { return c.Scripts(ctx, page, perPage) })
	if err != nil {
		return nil, err
	}
	bar := a.progress("Reading", int64(len(list)))
	defer bar.done()
	scripts := make([]packed, 0, len(list))
	for i, s := range list {
		bar.set(int64(i), "")
		fields, err := c.ScriptFields(ctx, s.Path)
		if err != nil {
			return nil, err
		}
		p, err := pack(fields)
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, p)
	}
	return scripts, nil
}

// writeWhole writes a file that is there whole or not at all.
func writeWhole(name string, write func(io.Writer) error) error {
	fail := func(err error) error { return sluice.Invalid(name, "cannot be written: %s", plainCause(err)) }
	f, err := os.CreateTemp(filepath.Dir(name), ".export-*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name()) // once it has its name there is nothing to remove
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fail(err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fail(err)
	}
	return nil
}

type importCmd struct {
	File   string `arg:"" help:"Archive that \"sluice export\" or Windmill wrote; - for standard input."`
	DryRun bool   `help:"Only say what would be done."`
	remote
	output
}

// Help says what is done, and what is refused.
func (importCmd) Help() string {
	return `Each script and flow is new, updated, unchanged or failed; to import an archive again changes nothing. What is not in it stays. Nothing is saved unless the whole archive can be read: names that lead out of it, links, names that stand in it twice, and more than 4 MiB in a file, 64 MiB in all or 20,000 entries are refused. What is neither script nor flow, such as a resource, is left out, and that is said.`
}

// Run saves the scripts of an archive, then its flows. Nothing is saved unless all of it can
// be read; what is there already stays as it is.
func (i *importCmd) Run(ctx context.Context, a *app) error {
	data, err := i.read(a)
	if err != nil {
		return err
	}
	scripts, flows, left, err := readArchive(data)
	if err != nil {
		return err
	}
	if len(scripts)+len(flows) == 0 {
		return sluice.Invalid("FILE", "there is neither a script nor a flow in the archive")
	}
	c, err := i.connect(a)
	if err != nil {
		return err
	}
	list, first, err := i.saveAll(ctx, a, c, scripts, flows)
	if err != nil {
		return err
	}
	if i.JSON {
		err = writeJSON(a.out, list)
	} else {
		a.showPushed(list, nil)
		if len(left) > 0 {
			fmt.Fprintf(a.err, "Left out: %s that belong to no script or flow, such as %s.\n", count(int64(len(left)), "file"), clean(left[0]))
		}
	}
	return firstOf(first, err)
}

// saveAll saves scripts, then flows, since they call scripts. One that fails does
// not stop the others; first is why the first one did.
func (i *importCmd) saveAll(ctx context.Context, a *app, c *client.Client, scripts []packed, flows []packedFlow) (list []pushed, first, err error) {
	bar := a.progress("Importing", int64(len(scripts)+len(flows)))
	defer bar.done()
	for n := range len(scripts) + len(flows) {
		bar.set(int64(n), "")
		var one pushed
		var err error
		if n < len(scripts) {
			if one, err = i.save(ctx, c, &scripts[n]); err != nil {
				one = pushed{Path: scripts[n].path}
			}
		} else {
			f := flows[n-len(scripts)]
			one = pushed{Path: f.path, Flow: true}
			one.What, err = i.saveFlow(ctx, c, &f)
		}
		if err != nil {
			if ctx.Err() != nil || !aboutOne(err) {
				return nil, nil, err
			}
			one.What, one.Error = "failed", err.Error()
			first = firstOf(first, err)
		}
		list = append(list, one)
	}
	return list, first, nil
}

// saveFlow saves one flow unless it is there already as it is.
func (i *importCmd) saveFlow(ctx context.Context, c *client.Client, f *packedFlow) (what string, err error) {
	body := map[string]any{"path": f.path}
	for name, v := range f.settings {
		if !slices.Contains(serverFlowFields, name) {
			body[name] = v
		}
	}
	if !i.DryRun {
		return saveFlow(ctx, c, body, func(map[string]any) {})
	}
	shown, err := c.FlowFields(ctx, f.path)
	switch {
	case sluice.CodeOf(err) == sluice.CodeNotFound:
		return "new", nil
	case err != nil:
		return "", err
	}
	same, err := sameFlow(shown, body)
	if same && string(shown["archived"]) != "true" {
		return "unchanged", err
	}
	return "updated", err
}

func (i *importCmd) read(a *app) ([]byte, error) {
	in := a.in
	if i.File != "-" {
		f, err := os.Open(i.File)
		if err != nil {
			return nil, sluice.Invalid("FILE", "%s cannot be read: %s", i.File, plainCause(err))
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxArchive+1))
	if err != nil {
		return nil, sluice.Invalid("FILE", "%s cannot be read: %s", i.File, plainCause(err))
	}
	if len(data) > maxArchive {
		return nil, sluice.Errorf(sluice.CodeTooLarge, "the archive is larger than %d MiB", maxArchive>>20)
	}
	return data, nil
}

// save saves one script unless it is there already as it is.
func (i *importCmd) save(ctx context.Context, c *client.Client, p *packed) (pushed, error) {
	one := pushed{Path: p.path, What: "new"}
	body := map[string]any{}
	hash := ""
	fields, err := c.ScriptFields(ctx, p.path)
	switch {
	case err == nil:
		before, err := pack(fields)
		if err != nil {
			return one, err
		}
		if err := json.Unmarshal(fields["hash"], &hash); err != nil {
			return one, fmt.Errorf("read the hash of %s: %w", p.path, err)
		}
		if before.same(p) && string(fields["archived"]) != "true" {
			one.What, one.Hash = "unchanged", hash
			return one, nil
		}
		one.What = "updated"
		body["parent_hash"] = hash
	case sluice.CodeOf(err) != sluice.CodeNotFound:
		return one, err
	}
	if i.DryRun {
		return one, nil
	}
	for name, v := range p.settings {
		body[name] = v
	}
	body["path"], body["language"], body["content"] = p.path, p.language, p.content
	data, err := json.Marshal(body)
	if err != nil {
		return one, fmt.Errorf("make JSON of %s: %w", p.path, err)
	}
	one.Hash, err = c.SaveScript(ctx, data)
	if one.Hash == hash {
		one.What = "unchanged" // the archive said the same in other words
	}
	return one, err
}
