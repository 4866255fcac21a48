package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice"
	"sluice/client"
	"sluice/limit"
)

type scriptsCmd struct {
	List    scriptsListCmd    `cmd:"" help:"List the scripts of the workspace."`
	Get     scriptsGetCmd     `cmd:"" help:"Print the code of a script."`
	History scriptsHistoryCmd `cmd:"" help:"List the versions of a script, newest first."`
	Diff    scriptsDiffCmd    `cmd:"" help:"Show what differs between two versions."`
	Archive scriptsArchiveCmd `cmd:"" help:"Archive a script: nobody can run it then."`
	Delete  scriptsDeleteCmd  `cmd:"" help:"Erase all versions of a script; jobs of it that wait fail."`
}

// pathArg is the script that a command is about.
type pathArg struct {
	Path string `arg:"" help:"Path of the script, such as f/demo/hello."`
}

type scriptsListCmd struct {
	remote
	output
}

// Run lists scripts.
func (l *scriptsListCmd) Run(ctx context.Context, a *app) error {
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	list, err := everyPage(func(page, perPage int) ([]client.Script, error) { return c.Scripts(ctx, page, perPage) })
	if err != nil {
		return err
	}
	if l.JSON {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No scripts here. Save some with: sluice push DIR")
		return nil
	}
	const leastPath, leastLimit = 16, 10
	t := table{columns: []column{{head: "PATH", least: leastPath}, {head: "LANGUAGE"}, {head: "LIMIT", least: leastLimit}}}
	for _, s := range list {
		room := "none"
		if s.ConcurrentLimit != nil {
			w := sluice.WaitLimit{ConcurrentLimit: *s.ConcurrentLimit, ConcurrencyWindowFrom: limit.Mode(cmp.Or(s.WindowFrom, string(limit.End)))}
			if s.WindowS != nil {
				w.ConcurrencyTimeWindowS = *s.WindowS
			}
			room = strings.TrimSuffix(limitOf(&w).String(), ", counted from the end")
		}
		t.add(s.Path, s.Language, room)
	}
	t.write(a.out, a.width)
	return nil
}

type scriptsGetCmd struct {
	Path    string `arg:"" optional:"" help:"Path of the script, such as f/demo/hello."`
	Version string `help:"Instead: the version with this hash." placeholder:"HASH"`
	remote
	output
}

// Run prints a script: its code, or with --json all of it.
func (g *scriptsGetCmd) Run(ctx context.Context, a *app) error {
	if (g.Path == "") == (g.Version == "") {
		return usage(sluice.Invalid("PATH", "give the path of a script, or --version"))
	}
	c, err := g.connect(a)
	if err != nil {
		return err
	}
	if g.JSON && g.Version == "" {
		fields, err := c.ScriptFields(ctx, withoutExt(g.Path))
		if err != nil {
			return err
		}
		return writeJSON(a.out, fields)
	}
	var s *client.Script
	if g.Version != "" {
		s, err = c.ScriptByHash(ctx, g.Version)
	} else {
		s, err = c.Script(ctx, withoutExt(g.Path))
	}
	if err != nil {
		return err
	}
	if g.JSON {
		return writeJSON(a.out, s)
	}
	fmt.Fprint(a.out, logText(s.Content, a.tty))
	return nil
}

type scriptsHistoryCmd struct {
	pathArg
	remote
	output
}

// Run lists versions.
func (h *scriptsHistoryCmd) Run(ctx context.Context, a *app) error {
	c, err := h.connect(a)
	if err != nil {
		return err
	}
	list, err := c.ScriptHistory(ctx, withoutExt(h.Path))
	if err != nil {
		return err
	}
	if h.JSON {
		return writeJSON(a.out, list)
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	const least = 10
	t := table{columns: []column{{head: "VERSION"}, {head: "SAVED"}, {head: "BY", least: least}, {head: "WHY", least: least}}}
	for _, v := range list {
		t.add(v.Hash, a.at(v.CreatedAt, now), v.CreatedBy, v.Message)
	}
	t.write(a.out, a.width)
	return nil
}

type scriptsDiffCmd struct {
	From string `arg:"" help:"Hash of a version, or the path of a script: its version before."`
	To   string `arg:"" optional:"" help:"Hash of a version; the newest of a path if not given."`
	remote
	output
}

// Run compares two versions.
func (d *scriptsDiffCmd) Run(ctx context.Context, a *app) error {
	c, err := d.connect(a)
	if err != nil {
		return err
	}
	from, to := d.From, d.To
	if to == "" {
		list, err := c.ScriptHistory(ctx, withoutExt(d.From))
		if err != nil {
			return err
		}
		if len(list) < 2 {
			return sluice.Errorf(sluice.CodeNotFound, "%s has one version only", d.From)
		}
		from, to = list[1].Hash, list[0].Hash
	}
	diff, err := c.DiffScripts(ctx, from, to)
	if err != nil {
		return err
	}
	if d.JSON {
		return writeJSON(a.out, diff)
	}
	for _, name := range slices.Sorted(maps.Keys(diff.Settings)) {
		s := diff.Settings[name]
		writeWrapped(a.out, a.width, fmt.Sprintf("%s: %s -> %s", name, compact(s.From), compact(s.To)))
	}
	fmt.Fprint(a.out, logText(diff.Diff, a.tty))
	if diff.Diff == "" && len(diff.Settings) == 0 {
		fmt.Fprintln(a.out, "No difference.")
	}
	return nil
}

type scriptsArchiveCmd struct {
	pathArg
	remote
	output
}

// Run archives a script.
func (x *scriptsArchiveCmd) Run(ctx context.Context, a *app) error {
	c, err := x.connect(a)
	if err != nil {
		return err
	}
	path := withoutExt(x.Path)
	if err := c.ArchiveScript(ctx, path); err != nil {
		return err
	}
	return a.done(x.JSON, "Archived "+path+".", map[string]string{"path": path})
}

type scriptsDeleteCmd struct {
	pathArg
	remote
	output
}

// Run deletes a script.
func (x *scriptsDeleteCmd) Run(ctx context.Context, a *app) error {
	c, err := x.connect(a)
	if err != nil {
		return err
	}
	path := withoutExt(x.Path)
	if err := c.DeleteScript(ctx, path); err != nil {
		return err
	}
	return a.done(x.JSON, "Deleted "+path+".", map[string]string{"path": path})
}
