package httpapi

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// The archive of a workspace is what the command line compares with its files,
// key by key: a field that it has and the file has not is a change that never
// goes away. So everything is in it as it was pushed, and nothing else is.

// maxTarballs is how many archives are made at once: each is made in memory.
const maxTarballs = 2

type tarballIn struct {
	WorkspaceRef
	Type          string `query:"archive_type" doc:"zip, if left out, or tar"`
	DefaultTS     string `query:"default_ts" doc:"The language of .ts: bun, if left out, or deno"`
	Schedules     bool   `query:"include_schedules" doc:"With schedules"`
	SkipVariables bool   `query:"skip_variables" doc:"Without variables"`
	SkipResources bool   `query:"skip_resources" doc:"Without resources"`
	SkipSecrets   bool   `query:"skip_secrets" doc:"Without variables that are secret"`
	PlainSecret   bool   `query:"plain_secret" doc:"Secrets as they are, for administrators, instead of sealed"`

	SkipTypes     bool   `query:"skip_resource_types" doc:"No effect: there are none"`
	Triggers      bool   `query:"include_triggers" doc:"No effect: there are none"`
	Users         bool   `query:"include_users" doc:"With the members of the workspace"`
	Groups        bool   `query:"include_groups" doc:"With groups of people"`
	Settings      bool   `query:"include_settings" doc:"No effect: there are none"`
	Key           bool   `query:"include_key" doc:"No effect: the key never leaves the server"`
	Dependencies  bool   `query:"include_workspace_dependencies" doc:"No effect: there are none"`
	SkipMigration bool   `query:"skip_datatable_migrations" doc:"No effect: there are none"`
	SettingsV     string `query:"settings_version" doc:"No effect"`
	ExtraPerms    bool   `query:"preserve_extra_perms" doc:"With the rights that were given on scripts, flows and variables"`
	SyncV         string `query:"sync_behavior_version" doc:"No effect: nothing is in the archive that v1 leaves out"`
}

// packedFile is an entry of an archive.
type packedFile struct {
	name string
	data []byte
}

// addTarball registers the archive of a workspace, and what else is asked for
// by whoever syncs files with it.
func (a *API) addTarball() {
	addRaw(a, "GET /api/w/{workspace}/workspaces/tarball", "tarballWorkspace",
		"An archive of what a workspace holds, as it was pushed", contentOctets, &huma.Schema{Type: huma.TypeString, Format: "binary"}, a.tarball)
	addJSON(a, "GET /api/w/{workspace}/workspaces/list_ws_specific", "listWsSpecific", "Things that are kept apart from syncing: none",
		func(context.Context, *WorkspaceRef) ([]string, error) { return []string{}, nil })
	addJSON(a, "GET /api/w/{workspace}/shared_ui/get", "getSharedUi", "Files of pages: there are none",
		func(context.Context, *WorkspaceRef) (sharedUIJSON, error) {
			return sharedUIJSON{Files: map[string]string{}}, nil
		})
	addJSON(a, "GET /api/w/{workspace}/workspaces/get_settings", "getSettings", "Settings of a workspace that clients look for",
		func(_ context.Context, in *WorkspaceRef) (settingsJSON, error) {
			return settingsJSON{Workspace: in.Workspace}, nil
		})
}

type sharedUIJSON struct {
	Files    map[string]string `json:"files"`
	Version  int               `json:"version"`
	EditedAt string            `json:"edited_at"`
	EditedBy string            `json:"edited_by"`
}

type settingsJSON struct {
	Workspace string `json:"workspace_id"`
}

func (a *API) tarball(ctx context.Context, in *tarballIn) (func(huma.Context), error) {
	write := map[string]func(io.Writer, []packedFile) error{"": writeZip, "zip": writeZip, "tar": writeTar}[in.Type]
	if write == nil {
		// The words are those that Windmill's clients look for.
		return nil, sluice.Errorf(sluice.CodeInvalid, "Invalid Archive Type: %s; ask for zip or tar", in.Type)
	}
	domains := []string{"scripts", "flows", "folders"}
	if in.Schedules {
		domains = append(domains, "schedules")
	}
	if !in.SkipVariables {
		domains = append(domains, "variables")
	}
	if !in.SkipResources {
		domains = append(domains, "resources")
	}
	if in.Users {
		domains = append(domains, "users")
	}
	if in.Groups {
		domains = append(domains, "groups")
	}
	for _, domain := range domains {
		if err := callerOf(ctx).may(scope{domain: domain, action: "read"}); err != nil {
			return nil, err
		}
	}
	if err := a.tarballs.Acquire(ctx, 1); err != nil {
		return nil, sluice.Errorf(sluice.CodeUnavailable, "the server makes too many archives at the moment; try again")
	}
	defer a.tarballs.Release(1)
	c, err := a.e.Contents(ctx, in.Workspace, who(ctx, in.Workspace), engine.ContentsWanted{
		Variables: !in.SkipVariables, Resources: !in.SkipResources, Perms: in.ExtraPerms, Groups: in.Groups, Members: in.Users,
	})
	if err != nil {
		return nil, err
	}
	files, err := packContents(in, c)
	if err != nil {
		return nil, err
	}
	people, err := packPeople(c)
	if err != nil {
		return nil, err
	}
	variables, err := a.packVariables(ctx, in, c)
	if err != nil {
		return nil, err
	}
	resources, err := packResources(c.Resources)
	if err != nil {
		return nil, err
	}
	files = slices.Concat(files, variables, resources, people)
	var b bytes.Buffer
	if err := write(&b, files); err != nil {
		return nil, fmt.Errorf("write the archive of workspace %s: %w", in.Workspace, err)
	}
	return writeBytes(contentOctets, b.Bytes()), nil
}

// packVariables packs the variables that the caller may see; a secret sealed,
// so that it can be given back here and nowhere else.
func (a *API) packVariables(ctx context.Context, in *tarballIn, c *engine.Contents) ([]packedFile, error) {
	var files []packedFile
	for _, v := range c.Variables {
		value := string(v.Value)
		switch {
		case v.Secret() && in.SkipSecrets:
			continue
		case v.Secret() && in.PlainSecret:
			// It asks whether the caller may, and leaves an entry in the audit log.
			var err error
			if _, value, err = a.variableValue(ctx, &VariableRef{Workspace: in.Workspace, Path: v.Path}); err != nil {
				return nil, err
			}
		case v.Secret():
			value = a.e.SealedText(v)
		}
		data, err := json.MarshalIndent(packedVariable{value, v.Secret(), v.Description, c.Perms[store.KindVariable][v.Path]}, "", "  ")
		if err != nil {
			return nil, err
		}
		files = append(files, packedFile{v.Path + ".variable.json", append(data, '\n')})
	}
	return files, nil
}

type packedVariable struct {
	Value       string `json:"value"`
	IsSecret    bool   `json:"is_secret"`
	Description string `json:"description"`

	ExtraPerms map[string]bool `json:"extra_perms,omitempty"`
}

// packPeople packs members and groups as Windmill's command line compares them.
func packPeople(c *engine.Contents) ([]packedFile, error) {
	var files []packedFile
	add := func(name string, v any) error {
		data, err := json.MarshalIndent(v, "", "  ")
		files = append(files, packedFile{name, append(data, '\n')})
		return err
	}
	for _, m := range c.Members {
		if err := add("users/"+m.Email+".user.json", packedUser{m.Username, string(m.Role), m.Disabled}); err != nil {
			return nil, err
		}
	}
	for _, g := range c.Groups {
		out := packedGroup{Summary: g.Summary, Admins: []string{}, Members: []string{}}
		for _, name := range g.Members {
			if who := "u/" + name; c.Manages[g.Name][who] {
				out.Admins = append(out.Admins, who)
			} else {
				out.Members = append(out.Members, who)
			}
		}
		if err := add("groups/"+g.Name+".group.json", out); err != nil {
			return nil, err
		}
	}
	return files, nil
}

type packedUser struct {
	Username string `json:"username"`
	Role     string `json:"role"`
	Disabled bool   `json:"disabled"`
}

type packedGroup struct {
	Summary string   `json:"summary"`
	Admins  []string `json:"admins"`
	Members []string `json:"members"`
}

// packResources packs resources, but for what scripts remember from run to run.
func packResources(list []*store.Resource) ([]packedFile, error) {
	var files []packedFile
	for _, s := range list {
		if s.Type == stateType || s.Type == "cache" {
			continue
		}
		data, err := json.MarshalIndent(packedResource{s.Value, s.Description, s.Type}, "", "  ")
		if err != nil {
			return nil, err
		}
		files = append(files, packedFile{s.Path + ".resource.json", append(data, '\n')})
	}
	return files, nil
}

type packedResource struct {
	Value       json.RawMessage `json:"value"`
	Description string          `json:"description"`
	Type        string          `json:"resource_type"`
}

func packContents(in *tarballIn, c *engine.Contents) ([]packedFile, error) {
	var files []packedFile
	add := func(name string, fields map[string]json.RawMessage) error {
		data, err := json.MarshalIndent(fields, "", "  ")
		files = append(files, packedFile{name, append(data, '\n')})
		return err
	}
	for _, f := range c.Folders {
		fields, err := pushedFields("folder "+f.Name, f.Body)
		if err != nil {
			return nil, err
		}
		if err := add("f/"+f.Name+"/folder.meta.json", fields); err != nil {
			return nil, err
		}
	}
	for _, s := range c.Scripts {
		ext, ok := scriptExt(s.Language, in.DefaultTS)
		if !ok {
			continue // no file could stand for it
		}
		fields, err := packedScript(s)
		if err == nil {
			err = addPerms(fields, c.Perms[store.KindScript][s.Path])
		}
		if err != nil {
			return nil, err
		}
		files = append(files, packedFile{s.Path + ext, []byte(s.Content)})
		if err := add(s.Path+".script.json", fields); err != nil {
			return nil, err
		}
	}
	for _, f := range c.Flows {
		fields, err := packedFlow(f)
		if err == nil {
			err = addPerms(fields, c.Perms[store.KindFlow][f.Path])
		}
		if err != nil {
			return nil, err
		}
		if err := add(f.Path+".flow.json", fields); err != nil {
			return nil, err
		}
	}
	for _, s := range c.Schedules {
		if !in.Schedules {
			break
		}
		fields, err := packedSchedule(s)
		if err != nil {
			return nil, err
		}
		if err := add(s.Path+".schedule.json", fields); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// pushedFields reads what was pushed, less what was null: null and nothing are
// the same here.
func pushedFields(what string, body json.RawMessage) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &fields); err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
	}
	for name, v := range fields {
		if string(v) == "null" {
			delete(fields, name)
		}
	}
	return fields, nil
}

// without removes what says how to save, and what files say by their names.
func without(fields map[string]json.RawMessage, more ...string) {
	for _, name := range append(more, requestOnly...) {
		delete(fields, name)
	}
}

// addPerms adds the rights that were given on a thing, if there are any.
func addPerms(fields map[string]json.RawMessage, perms map[string]bool) (err error) {
	delete(fields, "extra_perms")
	if len(perms) > 0 {
		fields["extra_perms"], err = json.Marshal(perms)
	}
	return err
}

// need adds fields that are always in an archive, empty.
func need(fields map[string]json.RawMessage, names ...string) {
	for _, name := range names {
		if fields[name] == nil {
			fields[name] = json.RawMessage(`""`)
		}
	}
}

func packedScript(s *store.Script) (map[string]json.RawMessage, error) {
	fields, err := pushedFields("script "+s.Path, s.Settings)
	if err != nil {
		return nil, err
	}
	without(fields, "path", "content", "language", "on_behalf_of")
	need(fields, "summary", "description")
	if fields["lock"] == nil && s.Lock != nil {
		fields["lock"], err = json.Marshal(*s.Lock)
	}
	return fields, err
}

func packedFlow(f *store.Flow) (map[string]json.RawMessage, error) {
	fields, err := pushedFields("flow "+f.Path, f.Settings)
	if err != nil {
		return nil, err
	}
	without(fields, "path", "on_behalf_of")
	fields["value"] = f.Value
	if len(f.Schema) > 0 {
		fields["schema"] = f.Schema
	}
	return fields, nil
}

func packedSchedule(s *store.Schedule) (map[string]json.RawMessage, error) {
	fields, err := pushedFields("schedule "+s.Path, s.Body)
	if err != nil {
		return nil, err
	}
	without(fields, "path", "edited_by", "edited_at", "extra_perms", "permissioned_as", "error", "email", "workspace_id")
	if _, said := fields["enabled"]; said || !s.Enabled {
		fields["enabled"], err = json.Marshal(s.Enabled)
	}
	return fields, err
}

// scriptExts are the endings of files by language, as Windmill has them.
var scriptExts = map[string]string{
	"bash": ".sh", "python3": ".py", "bun": ".ts", "deno": ".deno.ts", "nativets": ".fetch.ts", "go": ".go", "postgresql": ".pg.sql",
	"powershell": ".ps1", "mysql": ".my.sql", "bigquery": ".bq.sql", "snowflake": ".sf.sql", "mssql": ".ms.sql", "oracledb": ".odb.sql",
	"duckdb": ".duckdb.sql", "graphql": ".gql", "php": ".php", "rust": ".rs", "ansible": ".playbook.yml", "csharp": ".cs", "nu": ".nu",
	"java": ".java", "ruby": ".rb",
}

// scriptExt returns the ending of the file of a script.
func scriptExt(language, defaultTS string) (string, bool) {
	if defaultTS == "deno" {
		switch language {
		case "deno":
			return ".ts", true
		case "bun":
			return ".bun.ts", true
		}
	}
	ext, ok := scriptExts[language]
	return ext, ok
}

// unsafeName reports whether a path could leave the folder that an archive is
// unpacked in; no path that was ever accepted does.
func unsafeName(name string) bool {
	return strings.HasPrefix(name, "/") || slices.Contains(strings.Split(name, "/"), "..")
}

func writeZip(w io.Writer, files []packedFile) error {
	z := zip.NewWriter(w)
	for _, f := range files {
		if unsafeName(f.name) {
			continue
		}
		into, err := z.Create(f.name)
		if err == nil {
			_, err = into.Write(f.data)
		}
		if err != nil {
			return err
		}
	}
	return z.Close()
}

func writeTar(w io.Writer, files []packedFile) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		if unsafeName(f.name) {
			continue
		}
		err := t.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = t.Write(f.data)
		}
		if err != nil {
			return err
		}
	}
	return t.Close()
}
