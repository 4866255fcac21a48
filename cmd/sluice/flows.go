package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"sluice"
	"sluice/client"
)

type flowsCmd struct {
	Push    flowsPushCmd    `cmd:"" help:"Save the flow of one folder."`
	List    flowsListCmd    `cmd:"" help:"List the flows of the workspace."`
	Get     flowsGetCmd     `cmd:"" help:"Show a flow and its steps."`
	History flowsHistoryCmd `cmd:"" help:"List the versions of a flow, newest first."`
	Run     flowsRunCmd     `cmd:"" help:"Run a flow."`
	Preview flowsPreviewCmd `cmd:"" help:"Run the flow of a folder without saving it."`
	Restart flowsRestartCmd `cmd:"" help:"Run a flow that has ended again, from one of its steps on."`
	Archive flowsArchiveCmd `cmd:"" help:"Archive a flow: nobody can run it then. Its runs go on."`
	Delete  flowsDeleteCmd  `cmd:"" help:"Delete all versions of a flow. Its runs go on."`
}

// flowArg is the flow that a command is about.
type flowArg struct {
	Path string `arg:"" help:"Path of the flow, such as f/demo/all."`
}

type flowsPushCmd struct {
	Dir            string `arg:"" help:"Folder of the flow, such as f/demo/all.flow, with flow.yaml in it."`
	Path           string `arg:"" optional:"" help:"Path of the flow; that of the folder if not given."`
	ApplyToWaiting bool   `help:"Give runs that wait already the new limits, too."`
	Message        string `short:"m" help:"Why, for the history of versions." placeholder:"TEXT"`
	remote
	output
}

// Run saves one flow.
func (p *flowsPushCmd) Run(ctx context.Context, a *app) error {
	where := cmp.Or(p.Path, pathOfFolder(p.Dir))
	if where == "" {
		return usage(sluice.Invalid("PATH", "is needed: %s is no relative path that ends in .flow or __flow", p.Dir))
	}
	body, err := readFlow(os.DirFS(p.Dir), ".", where)
	if err != nil {
		return err
	}
	c, err := p.connect(a)
	if err != nil {
		return err
	}
	one := pushed{Path: where, Flow: true, Notes: notesOnFlow(body)}
	how := pushCmd{ApplyToWaiting: p.ApplyToWaiting, Message: p.Message}
	if one.What, err = saveFlow(ctx, c, body, how.how); err != nil {
		return err
	}
	if p.JSON {
		return writeJSON(a.out, one)
	}
	a.showPushed([]pushed{one}, nil)
	return nil
}

// pathOfFolder returns the path of a flow whose folder is named as seen from the
// top of its repository; "" if it is not.
func pathOfFolder(dir string) string {
	where := splitFlow(filepath.ToSlash(filepath.Clean(dir)))
	if !fs.ValidPath(where) {
		return ""
	}
	return where
}

type flowsListCmd struct {
	remote
	output
}

// Run lists flows.
func (l *flowsListCmd) Run(ctx context.Context, a *app) error {
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	list, err := everyPage(func(page, perPage int) ([]client.Flow, error) { return c.Flows(ctx, page, perPage) })
	if err != nil {
		return err
	}
	if l.JSON {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No flows here. Save some with: sluice push DIR")
		return nil
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	const leastPath, least = 16, 10
	t := table{columns: []column{{head: "PATH", least: leastPath}, {head: "SUMMARY", least: least}, {head: "SAVED"}, {head: "BY", least: least}}}
	for _, f := range list {
		t.add(f.Path, f.Summary, a.at(f.EditedAt, now), f.EditedBy)
	}
	t.write(a.out, a.width)
	return nil
}

type flowsGetCmd struct {
	Path    string `arg:"" optional:"" help:"Path of the flow, such as f/demo/all."`
	Version int64  `help:"Instead: the version with this number." placeholder:"N"`
	remote
	output
}

// Run shows a flow: its steps, or with --json all of it.
func (g *flowsGetCmd) Run(ctx context.Context, a *app) error {
	if (g.Path == "") == (g.Version == 0) {
		return usage(sluice.Invalid("PATH", "give the path of a flow, or --version"))
	}
	c, err := g.connect(a)
	if err != nil {
		return err
	}
	where := withoutFlowExt(g.Path)
	if g.JSON && where != "" {
		fields, err := c.FlowFields(ctx, where)
		if err != nil {
			return err
		}
		return writeJSON(a.out, fields)
	}
	var f *client.Flow
	if where != "" {
		f, err = c.Flow(ctx, where)
	} else {
		f, err = c.FlowVersion(ctx, g.Version)
	}
	if err != nil {
		return err
	}
	if g.JSON {
		return writeJSON(a.out, f)
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	var v flowValue
	if err := json.Unmarshal(f.Value, &v); err != nil {
		return &sluice.Error{Code: sluice.CodeInternal, Field: "value", Message: "is not what a server shows of a flow", Err: err}
	}
	archived := ""
	if f.Archived {
		archived = "yes"
	}
	writeFacts(a.out, a.width, "", []fact{
		{"flow", f.Path},
		{"summary", f.Summary},
		{"version", fmt.Sprintf("%d, saved %s%s", f.Version, a.when(f.EditedAt, now), byAndWhy(f.EditedBy, ""))},
		{"archived", archived},
		{"limit", v.words()},
		{"key", v.key()},
	})
	fmt.Fprintln(a.out)
	a.showSteps(v.steps())
	return nil
}

type flowsHistoryCmd struct {
	flowArg
	remote
	output
}

// Run lists versions.
func (h *flowsHistoryCmd) Run(ctx context.Context, a *app) error {
	c, err := h.connect(a)
	if err != nil {
		return err
	}
	list, err := c.FlowHistory(ctx, withoutFlowExt(h.Path))
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
	t := table{columns: []column{{head: "VERSION", right: true}, {head: "SAVED"}, {head: "BY", least: least}, {head: "WHY", least: least}}}
	for _, v := range list {
		t.add(strconv.FormatInt(v.Version, 10), a.at(v.CreatedAt, now), v.CreatedBy, v.Message)
	}
	t.write(a.out, a.width)
	return nil
}

type flowsArchiveCmd struct {
	flowArg
	Undo bool `help:"Take it out of the archive again."`
	remote
	output
}

// Run archives a flow.
func (x *flowsArchiveCmd) Run(ctx context.Context, a *app) error {
	c, err := x.connect(a)
	if err != nil {
		return err
	}
	where := withoutFlowExt(x.Path)
	if err := c.ArchiveFlow(ctx, where, !x.Undo); err != nil {
		return err
	}
	said := "Archived " + where + "."
	if x.Undo {
		said = "Took " + where + " out of the archive."
	}
	return a.done(x.JSON, said, map[string]any{"path": where, "archived": !x.Undo})
}

type flowsDeleteCmd struct {
	flowArg
	remote
	output
}

// Run deletes a flow.
func (x *flowsDeleteCmd) Run(ctx context.Context, a *app) error {
	c, err := x.connect(a)
	if err != nil {
		return err
	}
	where := withoutFlowExt(x.Path)
	if err := c.DeleteFlow(ctx, where); err != nil {
		return err
	}
	return a.done(x.JSON, "Deleted "+where+".", map[string]string{"path": where})
}

type flowsRunCmd struct {
	flowArg
	runFlags
	remote
	output
}

// Run runs a flow as run does a script.
func (r *flowsRunCmd) Run(ctx context.Context, a *app) error {
	request := client.RunRequest{FlowPath: withoutFlowExt(r.Path)}
	return (&runCmd{runFlags: r.runFlags, remote: r.remote, output: r.output, flow: &request}).Run(ctx, a)
}

type flowsPreviewCmd struct {
	Dir  string `arg:"" help:"Folder of the flow, such as f/demo/all.flow, with flow.yaml in it."`
	Path string `help:"Path whose limits count; that of the folder if not given." placeholder:"PATH"`
	runFlags
	remote
	output
}

// Run runs the flow of a folder, with its path: its limits count with those of
// the saved flow.
func (r *flowsPreviewCmd) Run(ctx context.Context, a *app) error {
	body, err := readFlow(os.DirFS(r.Dir), ".", "")
	if err != nil {
		return err
	}
	value, err := json.Marshal(body["value"])
	if err != nil {
		return fmt.Errorf("make JSON of the flow: %w", err)
	}
	request := client.RunRequest{FlowPreview: &client.FlowPreview{Value: value, Path: cmp.Or(r.Path, pathOfFolder(r.Dir))}}
	return (&runCmd{runFlags: r.runFlags, remote: r.remote, output: r.output, flow: &request}).Run(ctx, a)
}

type flowsRestartCmd struct {
	jobArg
	Step   string `required:"" help:"Id of the step to begin with; those before it keep their results." placeholder:"ID"`
	Part   int    `name:"iteration" help:"Of a loop or a branchall: the iteration or branch to begin with, counted from 0; those before it keep their results." placeholder:"N"`
	Follow bool   `help:"Say how far it is (to standard error), then print the result." short:"f"`
	remote
	output
}

// Run runs a flow again.
func (r *flowsRestartCmd) Run(ctx context.Context, a *app) error {
	c, err := r.connect(a)
	if err != nil {
		return err
	}
	id, err := c.RestartFlow(ctx, r.ID, r.Step, r.Part)
	if err != nil {
		return err
	}
	if !r.Follow {
		if r.JSON {
			return writeJSON(a.out, map[string]string{"id": id})
		}
		fmt.Fprintln(a.out, id)
		return nil
	}
	if err := a.followLog(ctx, c, id, a.err, a.err, a.live); err != nil {
		return a.left(id, err)
	}
	job, err := c.Completed(ctx, id)
	if err != nil {
		return a.left(id, err)
	}
	return a.result(job, r.JSON)
}
