package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"sluice"
)

// The endings of entries in an archive, as Windmill has them.
const (
	flowJSON     = ".flow.json"
	scheduleJSON = ".schedule.json"
	variableJSON = ".variable.json"
	resourceJSON = ".resource.json"
	folderJSON   = "/folder.meta.json"
)

// The kinds of what is pushed and imported, besides scripts.
const (
	kindFlow     = "flow"
	kindSchedule = "schedule"
	kindVariable = "variable"
	kindResource = "resource"
	kindFolder   = "folder"
)

// keptLanguages are those of scripts that a server keeps and no worker of ours
// runs, with the endings of their files in an archive.
var keptLanguages = [][2]string{
	{".ps1", "powershell"},
	{".my.sql", "mysql"},
	{".bq.sql", "bigquery"},
	{".sf.sql", "snowflake"},
	{".ms.sql", "mssql"},
	{".odb.sql", "oracledb"},
	{".duckdb.sql", "duckdb"},
	{".gql", "graphql"},
	{".php", "php"},
	{".rs", "rust"},
	{".playbook.yml", "ansible"},
	{".cs", "csharp"},
	{".nu", "nu"},
	{".java", "java"},
	{".rb", "ruby"},
}

// splitArchived is splitScript for all languages that an archive may hold.
func splitArchived(name string) (where, language string) {
	if where, language = splitScript(name); language != "" {
		return where, language
	}
	for _, l := range keptLanguages {
		if where, ok := strings.CutSuffix(name, l[0]); ok {
			return where, l[1]
		}
	}
	return "", ""
}

// part is something in an archive that is neither a script nor a flow.
type part struct {
	kind, path string
	fields     map[string]json.RawMessage
}

// contents are what an archive holds, each in the order of its path.
type contents struct {
	scripts []packed
	flows   []packedFlow
	parts   map[string][]part // by kind
	skipped []pushed          // what has no place here; Error says why
}

// The reasons for which something in an archive is left out.
const (
	whyNotHere = "Sluice has no such things."
	whyType    = "none is needed; any name is a type of resources here, and has no schema."
	whyPeople  = "made anew here, with \"sluice user\" and \"sluice workspace\"."
	whySetting = "the settings and the key of a workspace stay where they are."
	whyFile    = "not known as a part of anything."
	whySealed  = "encrypted in the archive under a key that is not here, or so it looks. Make the archive with plain_secret=true, or set each by hand: sluice variable set PATH --secret. If the values are right as they stand: --plain-secrets."
)

// strangers are the endings of what Windmill has and we have not, most special
// first.
var strangers = []struct{ end, kind, why string }{
	{".resource-type.json", "resource type", whyType},
	{".app.json", "app", whyNotHere},
	{".http_trigger.json", "HTTP trigger", whyNotHere},
	{".websocket_trigger.json", "websocket trigger", whyNotHere},
	{".kafka_trigger.json", "Kafka trigger", whyNotHere},
	{".nats_trigger.json", "NATS trigger", whyNotHere},
	{".postgres_trigger.json", "PostgreSQL trigger", whyNotHere},
	{".mqtt_trigger.json", "MQTT trigger", whyNotHere},
	{".sqs_trigger.json", "SQS trigger", whyNotHere},
	{".gcp_trigger.json", "Pub/Sub trigger", whyNotHere},
	{".email_trigger.json", "e-mail trigger", whyNotHere},
	{"_trigger.json", "trigger", whyNotHere},
	{".user.json", "user", whyPeople},
	{".group.json", "group", whyPeople},
	{"settings.json", "setting", whySetting},
	{"encryption_key.json", "setting", whySetting},
}

// stranger says of an entry that has no place here what it is, and why.
func stranger(name string) pushed {
	for _, s := range strangers {
		if where, ok := strings.CutSuffix(name, s.end); ok {
			if s.why == whySetting {
				where = path.Base(name)
			}
			return pushed{Path: where, Kind: s.kind, What: skipped, Error: s.why}
		}
	}
	return pushed{Path: name, Kind: "file", What: skipped, Error: whyFile}
}

// readArchive reads an archive whole, and refuses it before anything is done
// with it if it is not sound; the error names the entry.
func readArchive(data []byte) (*contents, error) {
	entries, err := unpack(data)
	if err != nil {
		return nil, err
	}
	c := &contents{parts: map[string][]part{}}
	used, names := map[string]bool{}, slices.Sorted(maps.Keys(entries))
	for _, name := range names {
		where, language := splitArchived(name)
		if language == "" || !fs.ValidPath(where) { // .sh alone names nothing
			continue
		}
		p := packed{path: where, language: language, content: string(entries[name])}
		if err := p.readSettings(entries); err != nil {
			return nil, err
		}
		if used[where+archiveExt] {
			return nil, sluice.Invalid(where, "is in the archive in two languages")
		}
		used[name], used[where+archiveExt] = true, true
		c.scripts = append(c.scripts, p)
	}
	for _, name := range names {
		if used[name] {
			continue
		}
		known, err := c.take(name, entries[name])
		if err != nil {
			return nil, err
		}
		if !known {
			c.skipped = append(c.skipped, stranger(name))
		}
	}
	return c, nil
}

// partForms are what every entry of a kind has at least, with the form of each
// field.
var partForms = []struct {
	end, kind string
	form      func() any
}{
	{flowJSON, kindFlow, func() any {
		return &struct {
			Value map[string]json.RawMessage `json:"value"`
		}{}
	}},
	{scheduleJSON, kindSchedule, func() any {
		return &struct {
			Schedule string `json:"schedule"`
			Script   string `json:"script_path"`
		}{}
	}},
	{variableJSON, kindVariable, func() any { return &variableEntry{} }},
	{resourceJSON, kindResource, func() any {
		return &struct {
			Type        string  `json:"resource_type"`
			Description *string `json:"description"`
		}{}
	}},
	{folderJSON, kindFolder, func() any { return &struct{}{} }},
}

// neededFields are those without which an entry of a kind says nothing.
var neededFields = map[string][]string{
	kindFlow: {"value"}, kindSchedule: {"schedule", "script_path"}, kindVariable: {"value"}, kindResource: {"value", "resource_type"},
}

// take reads one entry; known is false if it is of no kind that we have.
func (c *contents) take(name string, data []byte) (known bool, err error) {
	for _, k := range partForms {
		where, ok := strings.CutSuffix(name, k.end)
		if !ok || !fs.ValidPath(where) {
			continue
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
			return false, sluice.Invalid(name, "is no JSON object")
		}
		if err := json.Unmarshal(data, k.form()); err != nil {
			return false, sluice.Invalid(name, "is no %s as Windmill writes them: %v", k.kind, err)
		}
		for _, f := range neededFields[k.kind] {
			if fields[f] == nil || string(fields[f]) == "null" && k.kind != kindResource {
				return false, sluice.Invalid(name, "is no %s as Windmill writes them: it has no %s", k.kind, f)
			}
		}
		switch k.kind {
		case kindFlow:
			c.flows = append(c.flows, packedFlow{path: where, settings: fields})
			return true, nil
		case kindFolder:
			var inFolders bool
			if where, inFolders = strings.CutPrefix(where, "f/"); !inFolders || strings.Contains(where, "/") {
				return false, nil
			}
		}
		c.parts[k.kind] = append(c.parts[k.kind], part{k.kind, where, fields})
		return true, nil
	}
	return false, nil
}

// nothing reports whether an archive holds nothing, not even what is left out.
func (c *contents) nothing() bool {
	return len(c.scripts)+len(c.flows)+len(c.parts)+len(c.skipped) == 0
}

// variableEntry is a variable in an archive.
type variableEntry struct {
	Value       *string `json:"value"`
	Secret      bool    `json:"is_secret"`
	Description *string `json:"description"`
}

func readVariable(p *part) (v variableEntry, err error) {
	data, err := json.Marshal(p.fields)
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		err = fmt.Errorf("read variable %s: %w", p.path, err)
	}
	return v, err
}

// ownSealed is the form in which a server of ours gives away a sealed secret.
var ownSealed = regexp.MustCompile(`^[0-9]+:[A-Za-z0-9+/]{16,}={0,2}$`)

// sealed reports whether the value of a secret looks encrypted: as by a server of
// ours, or as by Windmill, in base64 of whole blocks of 16 bytes.
func sealed(value string) bool {
	const block = 16
	data, err := base64.StdEncoding.DecodeString(value)
	return ownSealed.MatchString(value) || err == nil && len(data) > 0 && len(data)%block == 0
}
