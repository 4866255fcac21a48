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
	Dir            string `arg:"" type:"existingdir" help:"Folder with scripts, flows and schedules in Windmill's layout, such as f/demo/hello.sh beside f/demo/hello.script.yaml, f/demo/all.flow/flow.yaml, and f/demo/each_hour.schedule.yaml."`
	ApplyToWaiting bool   `help:"Give jobs that wait already the new limits, too."`
	Message        string `short:"m" help:"Why, for the history of versions." placeholder:"TEXT"`
	remote
	output
}

// skipped is what became of something in an archive that has no place here.
const skipped = "skipped"

// pushed is what became of one script, flow or schedule.
type pushed struct {
	Path     string `json:"path"`
	Flow     bool   `json:"flow,omitempty"`
	Schedule bool   `json:"schedule,omitempty"`
	Kind     string `json:"kind,omitempty"` // of anything else: folder, variable, resource, or what was skipped
	What     string `json:"what"`           // new, updated, unchanged, failed or skipped
	Hash     string `json:"hash,omitempty"`
	Error    string `json:"error,omitempty"`
	// Notes say which settings will not do what their author expects.
	Notes []string `json:"notes,omitempty"`
}

// Run saves every script, flow and schedule below the folder, in this order,
// since the later call the earlier. One that fails does not stop the others.
func (p *pushCmd) Run(ctx context.Context, a *app) error {
	c, err := p.connect(a)
	if err != nil {
		return err
	}
	root := os.DirFS(p.Dir)
	found, err := findFiles(root)
	if err != nil {
		return err
	}
	all := len(found.scripts) + len(found.flows) + len(found.schedules)
	if all == 0 {
		return sluice.Invalid("DIR", "there is neither a script, such as hello.sh or hello.py, nor a flow, such as all.flow/flow.yaml, below %s", p.Dir)
	}
	bar := a.progress("Pushing", int64(all))
	var (
		list  = make([]pushed, 0, all)
		first error
	)
	add := func(name string, push func(context.Context, *client.Client, fs.FS, string) (pushed, error)) error {
		bar.set(int64(len(list)), "")
		one, err := push(ctx, c, root, name)
		if err != nil && (ctx.Err() != nil || !aboutOne(err)) {
			bar.done()
			return err
		}
		first = firstOf(first, err)
		list = append(list, one)
		return nil
	}
	for _, kind := range []struct {
		names []string
		push  func(context.Context, *client.Client, fs.FS, string) (pushed, error)
	}{{found.scripts, p.push}, {found.flows, p.pushFlow}, {found.schedules, p.pushSchedule}} {
		for _, name := range kind.names {
			if err := add(name, kind.push); err != nil {
				return err
			}
		}
	}
	bar.done()
	if p.JSON {
		if err := writeJSON(a.out, list); err != nil {
			return err
		}
	} else {
		a.showPushed(list, found.left)
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

// kind names what was pushed.
func (p *pushed) kind() string {
	switch {
	case p.Flow:
		return kindFlow
	case p.Schedule:
		return kindSchedule
	case p.Kind != "":
		return p.Kind
	}
	return "script"
}

func (a *app) showPushed(list []pushed, left []string) {
	numbers, kinds := map[string]int64{}, map[string]int64{}
	for _, one := range list {
		numbers[one.What]++
		line := fmt.Sprintf("%-9s  %s", one.What, clean(one.Path))
		if one.What != skipped {
			kinds[one.kind()]++
		}
		if kind := one.kind(); kind != "script" {
			line += " (" + kind + ")"
		}
		if one.Error != "" && one.What != skipped {
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
	for _, what := range []string{"new", "updated", "unchanged", "failed", skipped} {
		if n := numbers[what]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", grouped(n), what))
		}
	}
	writeWrapped(a.out, a.width, fmt.Sprintf("%s: %s.", countKinds(kinds), strings.Join(parts, ", ")))
	if len(left) > 0 {
		fmt.Fprintf(a.err, "Left out: %s in languages that no worker runs yet, such as %s.\n", count(int64(len(left)), "file"), clean(left[0]))
	}
}

// counts says how many scripts, flows and schedules there are, of which there
// may be none.
func counts(scripts, flows, schedules int64) string {
	return countKinds(map[string]int64{"script": scripts, kindFlow: flows, kindSchedule: schedules})
}

// countKinds says how many there are of each kind that there is any of.
func countKinds(numbers map[string]int64) string {
	var parts []string
	for _, kind := range []string{"script", kindFlow, kindSchedule, kindFolder, kindVariable, kindResource} {
		if n := numbers[kind]; n > 0 {
			parts = append(parts, count(n, kind))
		}
	}
	if len(parts) == 0 {
		return count(0, "script")
	}
	return listed(parts)
}

// listed writes a list of words, of which there is at least one.
func listed(parts []string) string {
	last := len(parts) - 1
	if last == 0 {
		return parts[0]
	}
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// files are what is found below a folder, each in order.
type files struct {
	scripts   []string // names of their code
	flows     []string // their folders
	schedules []string // their files
	left      []string // what looks like a script but cannot be pushed
}

// findFiles lists the scripts, flows and schedules below a folder. A folder
// below it that has a wmill.yaml is a repository of its own and is left alone.
func findFiles(root fs.FS) (found files, err error) {
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		_, language := splitScript(name)
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() && name != "." && isRepository(root, name):
			return fs.SkipDir
		case d.IsDir() && splitFlow(name) != "":
			found.flows = append(found.flows, name)
			return fs.SkipDir // steps of a flow are no scripts
		case d.IsDir():
		case strings.HasSuffix(name, scheduleExt):
			found.schedules = append(found.schedules, name)
		case language != "":
			found.scripts = append(found.scripts, name)
		default:
			for _, ext := range otherLanguages {
				if strings.HasSuffix(name, ext) {
					found.left = append(found.left, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		return files{}, sluice.Invalid("DIR", "cannot be read: %v", err)
	}
	return found, nil
}

func isRepository(root fs.FS, dir string) bool {
	_, err := fs.Stat(root, path.Join(dir, "wmill.yaml"))
	return err == nil
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
	p.how(body)
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

// how adds to what is pushed how it is to be saved.
func (p *pushCmd) how(body map[string]any) {
	if p.ApplyToWaiting {
		body["apply_limits_to_waiting"] = true
	}
	if p.Message != "" {
		body["deployment_message"] = p.Message
	}
}

// pushFlow saves the flow in a folder, unless the server has it as it is.
func (p *pushCmd) pushFlow(ctx context.Context, c *client.Client, root fs.FS, dir string) (pushed, error) {
	where := splitFlow(dir)
	one := pushed{Path: where, Flow: true, What: "failed"}
	fail := func(err error) (pushed, error) {
		one.Error = err.Error()
		return one, err
	}
	body, err := readFlow(root, dir, where)
	if err != nil {
		return fail(err)
	}
	one.Notes = notesOnFlow(body)
	what, err := saveFlow(ctx, c, body, p.how)
	if err != nil {
		return fail(err)
	}
	one.What = what
	return one, nil
}

// saveFlow saves a flow unless the server has it as it is, and says which. how
// adds how it is to be saved.
func saveFlow(ctx context.Context, c *client.Client, body map[string]any, how func(map[string]any)) (what string, err error) {
	where, _ := body["path"].(string)
	shown, err := c.FlowFields(ctx, where)
	if err != nil && sluice.CodeOf(err) != sluice.CodeNotFound {
		return "", err
	}
	what = "new"
	if err == nil {
		what = "updated"
		same, err := sameFlow(shown, body)
		if err != nil {
			return "", err
		}
		if same && string(shown["archived"]) != "true" {
			what = "unchanged"
		}
	}
	how(body)
	if what == "unchanged" && body["apply_limits_to_waiting"] == nil {
		return what, nil
	}
	data, err := json.Marshal(body)
	if err != nil {
		return "", fmt.Errorf("make JSON of the flow: %w", err)
	}
	if what == "new" {
		return what, c.CreateFlow(ctx, data)
	}
	return what, c.UpdateFlow(ctx, where, data)
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
