package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// deployed returns the files that people set Sluice up with: those of deploy, and the guide.
func deployed(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := filepath.Join("..", "..")
	read := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.ToSlash(name)] = string(text)
	}
	err := filepath.WalkDir(filepath.Join(root, "deploy"), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "check": // tests, not files for people
			return fs.SkipDir
		case !d.IsDir():
			read(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	read(filepath.Join(root, "docs", "production.md"))
	return files
}

var (
	// a line of a shell, a comment or a unit that calls the program
	calledInLine = regexp.MustCompile(`(?m)^(?:#?\s*|ExecStart=.*/|.*: |.*\$\()(sluice (?:[a-z][a-z-]*)(?: .*)?)$`)
	// a list of arguments: of an image, of Compose, of Kubernetes
	calledAsList = regexp.MustCompile(`(?m)^\s*(?:CMD|args:|command:) (\["(?:server|worker)".*\])$`)
	variable     = regexp.MustCompile(`\bSLUICE_[A-Z_]*[A-Z]\b`)
	// a setting with a value that is known: in a unit or image, and in YAML
	setting     = regexp.MustCompile(`(?m)\b(SLUICE_[A-Z_]+)=([^\s$\x60)"]+)`)
	settingYAML = regexp.MustCompile(`(?m)name: (SLUICE_[A-Z_]+)\n\s*value: "?([^"{\s]+)"?$`)
)

// notFlags are variables that are read otherwise, or by others.
var notFlags = []string{
	"SLUICE_PASSWORD", "SLUICE_CONFIG", keyEnv,
	"SLUICE_VERSION", // of the compose file
}

// words splits a command as a shell would, up to what is the shell's own.
func words(line string) []string {
	line, _, _ = strings.Cut(line, "   #")
	for _, end := range []string{" > ", " | ", " && ", "; ", " &"} {
		line, _, _ = strings.Cut(line, end)
	}
	line = strings.TrimSuffix(strings.TrimSpace(line), ")")
	var out []string
	for _, w := range strings.Fields(line) {
		out = append(out, strings.Trim(w, `"'`))
	}
	return out
}

// commandLines returns the commands in a text, without the program's name.
func commandLines(t *testing.T, text string) [][]string {
	t.Helper()
	var out [][]string
	for _, m := range calledInLine.FindAllStringSubmatch(text, -1) {
		out = append(out, words(m[1])[1:])
	}
	for _, m := range calledAsList.FindAllStringSubmatch(text, -1) {
		var args []string
		if err := json.Unmarshal([]byte(m[1]), &args); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
		out = append(out, args)
	}
	return out
}

// TestDeployFilesNameWhatThereIs parses each command line of the files in deploy
// and of the guide with the parser of the command line, under the settings that
// the same file makes, and looks for each variable among those that are read.
func TestDeployFilesNameWhatThereIs(t *testing.T) {
	a, _ := terminal(nil)
	total := 0
	for name, text := range deployed(t) {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			known := slices.Clone(notFlags)
			for _, m := range append(setting.FindAllStringSubmatch(text, -1), settingYAML.FindAllStringSubmatch(text, -1)...) {
				t.Setenv(m[1], m[2])
			}
			if name != "docs/production.md" { // those of a person come from elsewhere
				t.Setenv("SLUICE_URL", "http://127.0.0.1:8000")
			}
			parser, err := a.parser(t.Context(), &cli{})
			if err != nil {
				t.Fatal(err)
			}
			for _, args := range commandLines(t, text) {
				total++
				t.Logf("sluice %s", strings.Join(args, " "))
				if _, err := parser.Parse(args); err != nil {
					t.Errorf("sluice %s: %v", strings.Join(args, " "), err)
				}
			}
			_ = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
				if flag, ok := node.(*kong.Flag); ok {
					known = append(known, flag.Envs...)
				}
				return next(nil)
			})
			for _, v := range variable.FindAllString(text, -1) {
				if !slices.Contains(known, v) {
					t.Errorf("nobody reads %s", v)
				}
			}
		})
	}
	if total < 15 {
		t.Errorf("only %d command lines were found", total)
	}
}

var (
	metric    = regexp.MustCompile(`\bsluice_[a-z_]*[a-z]\b`)
	described = regexp.MustCompile(`desc\("([a-z_]+)"`)
)

// TestGuideNamesMetrics looks for each metric of the guide among those that a
// server has.
func TestGuideNamesMetrics(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("..", "..", "internal", "httpapi", "metrics.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range described.FindAllStringSubmatch(string(source), -1) {
		names = append(names, "sluice_"+m[1])
	}
	found := 0
	for name, text := range deployed(t) {
		for _, m := range metric.FindAllString(text, -1) {
			if found++; !slices.Contains(names, m) && m != "sluice_new" { // a database's
				t.Errorf("%s: there is no metric %s", name, m)
			}
		}
	}
	if found == 0 {
		t.Error("the guide names no metric")
	}
}
