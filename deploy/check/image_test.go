package check

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// TestDockerfile reads the Dockerfile as BuildKit does and looks at its stages.
func TestDockerfile(t *testing.T) {
	f, err := os.Open("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range file.Warnings {
		t.Errorf("line %v: %s", w.Location, w.Short)
	}
	stages, _, err := instructions.Parse(file.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*instructions.Stage{}
	for i := range stages {
		s := &stages[i]
		base := byName[s.BaseName]
		if base == nil && (!strings.Contains(s.BaseName, ":") || strings.HasSuffix(s.BaseName, ":latest")) {
			t.Errorf("%s names no version", s.BaseName)
		}
		for _, c := range s.Commands {
			if c, ok := c.(*instructions.CopyCommand); ok && c.From != "" && byName[c.From] == nil {
				t.Errorf("there is no stage %s before %v", c.From, c)
			}
			if _, ok := c.(*instructions.AddCommand); ok {
				t.Errorf("%v: COPY does no more than it says", c)
			}
		}
		byName[s.Name] = s
	}
	final := stages[len(stages)-1]
	runtime := byName[final.BaseName]
	if runtime == nil || runtime.Name != "runtime" {
		t.Fatalf("the last stage is made from %s", final.BaseName)
	}
	user, entry := "", []string(nil)
	for _, c := range slices.Concat(runtime.Commands, final.Commands) {
		switch c := c.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.EntrypointCommand:
			entry = c.CmdLine
			if c.PrependShell {
				t.Error("a shell stands between the signals and the server")
			}
		}
	}
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("it runs as %q, which is not seen to be no root", user)
	}
	if len(entry) == 0 || entry[len(entry)-1] != "sluice" {
		t.Errorf("the entry point is %q", entry)
	}
}
