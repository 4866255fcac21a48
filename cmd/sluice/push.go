package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"sluice"
	"sluice/client"
)

const (
	settingsExt  = ".script.yaml"
	inlineMark   = "!inline "
	noteIndent   = "           " // below the path
	maxFileBytes = 4 << 20
)

// scriptLanguages are the endings of scripts and their languages, as in Windmill;
// the first that fits counts.
var scriptLanguages = [][2]string{
	{".sh", "bash"},
	{".py", "python3"},
	{".bun.ts", "bun"},
	{".deno.ts", "deno"},
	{".fetch.ts", "nativets"},
	{".ts", "bun"},
	{".go", "go"},
	{".pg.sql", "postgresql"},
}

// otherLanguages are endings of Windmill's scripts that no worker runs yet;
// push says so instead of leaving them out in silence.
var otherLanguages = []string{".ps1", ".sql", ".php", ".rs", ".rb", ".java", ".cs", ".nu", ".gql"}

// splitScript returns the path and the language of a script's file; "" for
// another file.
func splitScript(name string) (where, language string) {
	for _, l := range scriptLanguages {
		if where, ok := strings.CutSuffix(name, l[0]); ok {
			return where, l[1]
		}
	}
	return "", ""
}

// withoutExt returns the path of a script that may be given as that of its file.
func withoutExt(path string) string {
	if where, language := splitScript(path); language != "" {
		return where
	}
	return path
}

type pushCmd struct {
	Dir            string `arg:"" type:"existingdir" help:"Folder with scripts in Windmill's layout, such as f/demo/hello.sh beside f/demo/hello.script.yaml."`
	ApplyToWaiting bool   `help:"Give jobs that wait already the new limits, too."`
	remote
	output
}

// pushed is what became of one file.
type pushed struct {
	Path  string `json:"path"`
	What  string `json:"what"` // new, updated, unchanged or failed
	Hash  string `json:"hash,omitempty"`
	Error string `json:"error,omitempty"`
	// Notes say which settings will not do what their author expects.
	Notes []string `json:"notes,omitempty"`
}

// Run saves every script below the folder. One that fails does not stop the
// others.
func (p *pushCmd) Run(ctx context.Context, a *app) error {
	c, err := p.connect(a)
	if err != nil {
		return err
	}
	root := os.DirFS(p.Dir)
	found, left, err := findScripts(root)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return sluice.Invalid("DIR", "there is no script, such as hello.sh or hello.py, below %s", p.Dir)
	}
	bar := a.progress("Pushing", int64(len(found)))
	var (
		list  = make([]pushed, 0, len(found))
		first error
	)
	for i, name := range found {
		bar.set(int64(i), "")
		one, err := p.push(ctx, c, root, name)
		if err != nil {
			if ctx.Err() != nil || !aboutOne(err) {
				bar.done()
				return err
			}
			first = firstOf(first, err)
		}
		list = append(list, one)
	}
	bar.done()
	if p.JSON {
		if err := writeJSON(a.out, list); err != nil {
			return err
		}
	} else {
		a.showPushed(list, left)
	}
	return first
}

// aboutOne reports whether an error concerns one script, not the way to the
// server.
func aboutOne(err error) bool {
	ofAll := []sluice.Code{sluice.CodeUnavailable, sluice.CodeUnauthorized, sluice.CodeForbidden}
	return !slices.Contains(ofAll, sluice.CodeOf(err))
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (a *app) showPushed(list []pushed, left []string) {
	numbers := map[string]int64{}
	for _, one := range list {
		numbers[one.What]++
		line := fmt.Sprintf("%-9s  %s", one.What, clean(one.Path))
		if one.Error != "" {
			line += ": " + clean(one.Error)
		}
		fmt.Fprintln(a.out, line)
		for _, note := range one.Notes {
			for _, line := range wrap(clean(note), a.width-textWidth(noteIndent)) {
				fmt.Fprintln(a.out, noteIndent+line)
			}
		}
	}
	var parts []string
	for _, what := range []string{"new", "updated", "unchanged", "failed"} {
		if n := numbers[what]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", grouped(n), what))
		}
	}
	fmt.Fprintf(a.out, "%s: %s.\n", count(int64(len(list)), "script"), strings.Join(parts, ", "))
	if len(left) > 0 {
		fmt.Fprintf(a.err, "Left out: %s in languages that no worker runs yet, such as %s.\n", count(int64(len(left)), "file"), clean(left[0]))
	}
}

// findScripts lists the scripts below a folder, and the files that look like
// scripts but cannot be pushed, each in order.
func findScripts(root fs.FS) (found, left []string, err error) {
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		_, language := splitScript(name)
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() && (strings.HasSuffix(name, ".flow") || strings.HasSuffix(name, "__flow")):
			return fs.SkipDir // steps of a flow are no scripts
		case d.IsDir():
		case language != "":
			found = append(found, name)
		default:
			for _, ext := range otherLanguages {
				if strings.HasSuffix(name, ext) {
					left = append(left, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, sluice.Invalid("DIR", "cannot be read: %v", err)
	}
	return found, left, nil
}

func (p *pushCmd) push(ctx context.Context, c *client.Client, root fs.FS, name string) (pushed, error) {
	where, _ := splitScript(name)
	one := pushed{Path: where, What: "failed"}
	fail := func(err error) (pushed, error) {
		one.Error = err.Error()
		return one, err
	}
	body, err := readScript(root, name)
	if err != nil {
		return fail(err)
	}
	notes := notesOn(body)
	before, err := c.Script(ctx, where)
	if err != nil && sluice.CodeOf(err) != sluice.CodeNotFound {
		return fail(err)
	}
	what := "new"
	if before != nil && err == nil {
		what = "updated"
		body["parent_hash"] = before.Hash
	}
	if p.ApplyToWaiting {
		body["apply_limits_to_waiting"] = true
	}
	data, err := json.Marshal(body)
	if err != nil {
		return fail(fmt.Errorf("make JSON of the settings: %w", err))
	}
	hash, err := c.SaveScript(ctx, data)
	if err != nil {
		return fail(err)
	}
	if before != nil && before.Hash == hash {
		what = "unchanged"
	}
	return pushed{Path: where, What: what, Hash: hash, Notes: notes}, nil
}

// readScript makes the object that saves a script out of its files: the code,
// and beside it the settings, if there are any.
func readScript(root fs.FS, name string) (map[string]any, error) {
	where, language := splitScript(name)
	code, err := readFile(root, name)
	if err != nil {
		return nil, err
	}
	body := map[string]any{"summary": "", "description": "", "kind": "script", "schema": map[string]any{}}
	settings, err := readFile(root, where+settingsExt)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		given, err := decodeYAML(settings)
		if err != nil {
			return nil, sluice.Invalid(where+settingsExt, "%v", err)
		}
		for field, value := range given {
			body[field] = value
		}
	}
	if lock, ok := body["lock"].(string); ok && strings.HasPrefix(lock, inlineMark) {
		content, err := readFile(root, path.Clean(strings.TrimPrefix(lock, inlineMark)))
		if err != nil {
			return nil, err
		}
		body["lock"] = content
	}
	body["path"] = where
	body["content"] = code
	body["language"] = language
	return body, nil
}

func readFile(root fs.FS, name string) (string, error) {
	info, err := fs.Stat(root, name)
	if err != nil {
		return "", &sluice.Error{Code: sluice.CodeInvalid, Field: name, Message: "cannot be read: " + plainCause(err), Err: err}
	}
	if info.Size() > maxFileBytes {
		return "", sluice.Errorf(sluice.CodeTooLarge, "%s is larger than %d MiB", name, maxFileBytes>>20)
	}
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return "", &sluice.Error{Code: sluice.CodeInvalid, Field: name, Message: "cannot be read: " + plainCause(err), Err: err}
	}
	return string(data), nil
}

// plainCause leaves the operation and the path out of a file error.
func plainCause(err error) string {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
