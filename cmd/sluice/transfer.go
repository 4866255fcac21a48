package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	File         string `arg:"" help:"Archive that Windmill or \"sluice export\" wrote, zip or tar; - for standard input."`
	DryRun       bool   `help:"Only say what would be done."`
	PlainSecrets bool   `help:"Take secrets as they stand in the archive, also those that look encrypted."`
	remote
	output
}

// Help says what is done, and what is refused.
func (importCmd) Help() string {
	return `Folders, variables, resources, scripts, flows and schedules are each new, updated, unchanged or failed; to import an archive again changes nothing. What is not in it stays. What Sluice has not, such as apps, is skipped, and so are secrets that are encrypted in the archive: each is named, and the exit status is 1. The secrets that are here already are read to compare them, which is recorded.

Nothing is saved unless the whole archive can be read: names that lead out of it, links, names that stand in it twice, entries that are not what their name says, and more than 4 MiB in a file, 64 MiB in all or 20,000 entries are refused. If the server is lost in between, what was saved is said, and the same command goes on.

Windmill makes the archive, as an administrator:

    curl -H "Authorization: Bearer $TOKEN" -o export.zip -G \
      -d archive_type=zip -d default_ts=bun -d include_schedules=true \
      -d plain_secret=true "$URL/api/w/$WORKSPACE/workspaces/tarball"`
}

// Run saves what is in an archive. Nothing is saved unless all of it can be
// read; what is there already stays as it is.
func (i *importCmd) Run(ctx context.Context, a *app) error {
	data, err := i.read(a)
	if err != nil {
		return err
	}
	all, err := readArchive(data)
	if err != nil {
		return err
	}
	if all.nothing() {
		return sluice.Invalid("FILE", "there is nothing in the archive")
	}
	c, err := i.connect(a)
	if err != nil {
		return err
	}
	list, first, broken := i.saveAll(ctx, a, i.steps(c, all))
	if broken != nil {
		if len(list) > 0 && !i.JSON && !i.DryRun {
			a.showImported(list) // this much is in
		}
		return broken
	}
	list = append(list, all.skipped...)
	if i.JSON {
		err = writeJSON(a.out, list)
	} else {
		a.showImported(list)
	}
	if slices.ContainsFunc(list, func(one pushed) bool { return one.What == skipped }) {
		first = firstOf(first, errSkipped)
	}
	return firstOf(first, err)
}

// saveAll takes step after step. One that fails does not stop the others; first
// is why the first one did. err says why all that follow were not taken: list is
// what was done before.
func (i *importCmd) saveAll(ctx context.Context, a *app, steps []importStep) (list []pushed, first, err error) {
	bar := a.progress("Importing", int64(len(steps)))
	defer bar.done()
	for n, s := range steps {
		bar.set(int64(n), "")
		one, err := s.save(ctx)
		one.Path, one.Flow, one.Schedule = s.path, s.kind == kindFlow, s.kind == kindSchedule
		if !one.Flow && !one.Schedule {
			one.Kind = s.kind
		}
		if one.What == skipped {
			one.Error = whySealed
		}
		if err != nil {
			if ctx.Err() != nil || !aboutOne(err) {
				return list, nil, err
			}
			one.What, one.Error = "failed", err.Error()
			first = firstOf(first, err)
		}
		list = append(list, one)
	}
	return list, first, nil
}

// showImported shows what became of each thing, and at the end why some were
// skipped.
func (a *app) showImported(list []pushed) {
	a.showPushed(list, nil)
	kinds, whys := map[string]map[string]int64{}, []string{}
	for _, one := range list {
		if one.What != skipped {
			continue
		}
		if kinds[one.Error] == nil {
			kinds[one.Error] = map[string]int64{}
			whys = append(whys, one.Error)
		}
		kinds[one.Error][one.Kind]++
	}
	for _, why := range whys {
		var parts []string
		for _, kind := range slices.Sorted(maps.Keys(kinds[why])) {
			parts = append(parts, count(kinds[why][kind], kind))
		}
		writeWrapped(a.err, a.width, "Skipped "+listed(parts)+": "+why)
	}
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
