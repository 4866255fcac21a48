package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"sluice"
	"sluice/client"
)

type pullCmd struct {
	Dir    string `arg:"" help:"Folder to write to; it is made if it is not there."`
	DryRun bool   `help:"Only say what would be written."`
	remote
	output
}

// Help says what is written, and what is not.
func (pullCmd) Help() string {
	return `Writes every script, flow and schedule of the workspace in Windmill's layout, as "sluice push" reads it: PATH.EXT beside PATH.script.yaml, and PATH.flow/flow.yaml with a file for the code of each inline step; PATH.schedule.yaml. A flow whose folder is PATH__flow stays in it. Files that are there already are written anew if they differ; none is deleted.`
}

// pulled is what became of one file.
type pulled struct {
	File string `json:"file"`
	What string `json:"what"` // new, updated or unchanged
}

// Run writes the scripts, flows and schedules of the workspace to files.
func (p *pullCmd) Run(ctx context.Context, a *app) error {
	c, err := p.connect(a)
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
	out := map[string][]byte{}
	for _, s := range scripts {
		if err := scriptFiles(out, &s); err != nil {
			return err
		}
	}
	for _, f := range flows {
		dir := f.path + flowExt
		if _, err := os.Stat(filepath.Join(p.Dir, filepath.FromSlash(f.path+flowExtPlain))); err == nil {
			dir = f.path + flowExtPlain
		}
		if err := flowFiles(out, dir, f.settings); err != nil {
			return err
		}
	}
	schedules, err := scheduleFiles(ctx, c, out)
	if err != nil {
		return err
	}
	list, err := p.write(out)
	if err != nil {
		return err
	}
	if p.JSON {
		return writeJSON(a.out, list)
	}
	numbers := map[string]int64{}
	for _, one := range list {
		if numbers[one.What]++; one.What != "unchanged" {
			fmt.Fprintf(a.out, "%-9s  %s\n", one.What, clean(one.File))
		}
	}
	what := count(int64(len(scripts)), "script") + " and " + count(int64(len(flows)), "flow")
	if schedules > 0 {
		what = counts(int64(len(scripts)), int64(len(flows)), schedules)
	}
	fmt.Fprintf(a.out, "%s: %s new, %s updated, %s unchanged.\n", what,
		count(numbers["new"], "file"), grouped(numbers["updated"]), grouped(numbers["unchanged"]))
	return nil
}

// write writes what differs.
func (p *pullCmd) write(files map[string][]byte) ([]pulled, error) {
	list := make([]pulled, 0, len(files))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") {
			return nil, sluice.Invalid(name, "is no path that a file can have")
		}
		full := filepath.Join(p.Dir, filepath.FromSlash(name))
		one := pulled{File: name, What: "new"}
		old, err := os.ReadFile(full)
		switch {
		case err == nil && bytes.Equal(old, files[name]):
			one.What = "unchanged"
		case err == nil:
			one.What = "updated"
		case !errors.Is(err, fs.ErrNotExist):
			return nil, sluice.Invalid(full, "cannot be read: %s", plainCause(err))
		}
		list = append(list, one)
		if one.What == "unchanged" || p.DryRun {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return nil, sluice.Invalid(filepath.Dir(full), "cannot be made: %s", plainCause(err))
		}
		err = writeWhole(full, func(w io.Writer) error { _, err := w.Write(files[name]); return err })
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// scriptFiles adds the files of a script.
func scriptFiles(out map[string][]byte, p *packed) error {
	name, err := p.file()
	if err != nil {
		return err
	}
	settings := maps.Clone(p.settings)
	var lock string
	if json.Unmarshal(settings["lock"], &lock) == nil && lock != "" {
		file := p.path + ".script.lock"
		out[file] = []byte(lock)
		if settings["lock"], err = json.Marshal(inlineMark + file); err != nil {
			return err
		}
	}
	doc, err := yamlFields(settings, "summary", "description", "lock", "kind", "schema")
	if err != nil {
		return sluice.Invalid(p.path, "has settings that cannot be written: %v", err)
	}
	text, err := encodeYAML(doc)
	if err != nil {
		return err
	}
	out[name], out[p.path+settingsExt] = []byte(p.content), text
	return nil
}

// yamlFields writes fields in the order of the names given, then in that of
// their own.
func yamlFields(fields map[string]json.RawMessage, first ...string) (*yaml.Node, error) {
	names := slices.DeleteFunc(first, func(name string) bool { return fields[name] == nil })
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	doc := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, name := range names {
		v, err := yamlOf(fields[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		doc.Content = append(doc.Content, yamlText(name), v)
	}
	return doc, nil
}

// flowFiles adds the files of a flow: flow.yaml, and one for the code and one
// for the lock of each inline step.
func flowFiles(out map[string][]byte, dir string, settings map[string]json.RawMessage) error {
	doc, err := yamlFields(settings, "summary", "description", "value", "schema")
	if err != nil {
		return sluice.Invalid(dir, "cannot be written: %v", err)
	}
	mark := ".inline_script"
	if strings.HasSuffix(dir, flowExtPlain) {
		mark = ""
	}
	f := inlined{out: out, dir: dir, mark: mark, used: map[string]bool{}}
	f.take(field(doc, "value"), 0)
	text, err := encodeYAML(doc)
	if err != nil {
		return err
	}
	out[path.Join(dir, flowFile)] = text
	return nil
}

// inlined takes the code of inline steps out of a flow.
type inlined struct {
	out       map[string][]byte
	dir, mark string
	used      map[string]bool
}

// take goes through a flow's value. Files are named by the steps' summaries,
// else by their ids.
func (f *inlined) take(n *yaml.Node, depth int) {
	if n == nil || depth > maxFlowNested {
		return
	}
	if v := field(n, "value"); v != nil && field(n, "id") != nil {
		if kind := field(v, "type"); kind != nil && kind.Value == "rawscript" {
			name := field(n, "id").Value
			if s := field(n, "summary"); s != nil && slug(s.Value) != "" {
				name = slug(s.Value)
			}
			f.takeStep(v, name)
		}
	}
	for _, c := range n.Content {
		f.take(c, depth+1)
	}
}

func (f *inlined) takeStep(v *yaml.Node, name string) {
	ext := ".txt"
	if language := field(v, "language"); language != nil {
		for _, l := range slices.Backward(scriptLanguages) {
			if l[1] == language.Value {
				ext = l[0]
			}
		}
	}
	for n, base := 2, name; f.used[name]; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	f.used[name] = true
	for _, of := range []struct{ field, ext string }{{"content", ext}, {"lock", ".lock"}} {
		text := field(v, of.field)
		if text == nil || text.Tag != "!!str" || text.Value == "" {
			continue
		}
		file := name + f.mark + of.ext
		f.out[path.Join(f.dir, file)] = []byte(text.Value)
		*text = *yamlText(inlineMark + file)
	}
}

// slug makes the name of a file of a summary, as Windmill does.
func slug(summary string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(summary) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case r == ' ', r == '_', r == '-':
			b.WriteByte('_')
		}
	}
	const longest = 60
	s := strings.Trim(b.String(), "_")
	if len(s) > longest {
		s = s[:longest]
	}
	return s
}

// packedFlow is a flow in an archive or a folder.
type packedFlow struct {
	path     string
	settings map[string]json.RawMessage
}

// serverFlowFields are fields of a flow that the server makes, or that stand
// elsewhere.
var serverFlowFields = []string{"path", "workspace_id", "version_id", "edited_by", "edited_at", "archived", "extra_perms"}

// packFlow leaves out of a flow what the server adds to it.
func packFlow(fields map[string]json.RawMessage) (packedFlow, error) {
	f := packedFlow{settings: maps.Clone(fields)}
	if err := json.Unmarshal(fields["path"], &f.path); err != nil {
		return f, &sluice.Error{Code: sluice.CodeInternal, Field: "path", Message: "is not what a server shows of a flow", Err: err}
	}
	for _, name := range serverFlowFields {
		delete(f.settings, name)
	}
	for name, v := range f.settings {
		if string(v) == "null" || string(v) == "false" && slices.Contains(falseDefaults, name) {
			delete(f.settings, name)
		}
	}
	return f, nil
}

// allFlows reads every flow of the workspace.
func (a *app) allFlows(ctx context.Context, c *client.Client) ([]packedFlow, error) {
	list, err := everyPage(func(page, perPage int) ([]client.Flow, error) { return c.Flows(ctx, page, perPage) })
	if err != nil {
		return nil, err
	}
	bar := a.progress("Reading", int64(len(list)))
	defer bar.done()
	flows := make([]packedFlow, 0, len(list))
	for i, f := range list {
		bar.set(int64(i), "")
		fields, err := c.FlowFields(ctx, f.Path)
		if err != nil {
			return nil, err
		}
		p, err := packFlow(fields)
		if err != nil {
			return nil, err
		}
		flows = append(flows, p)
	}
	return flows, nil
}
