package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What docs holds is what the program says of itself.
func TestReferenceIsFresh(t *testing.T) {
	clearEnvironment(t)
	for form, file := range map[string]string{"markdown": "cli.md", "man": "sluice.1"} {
		out := filepath.Join(t.TempDir(), file)
		say(t, t.TempDir(), "", 0, "reference", "--form", form, "--out", out)
		got, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("..", "..", "docs", file))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("docs/%s is not fresh; run go generate ./cmd/sluice", file)
		}
	}
}

// Every command has help that fits a terminal, and every one that speaks to a
// server can answer in JSON.
func TestEveryCommand(t *testing.T) {
	clearEnvironment(t)
	a, _ := terminal(nil)
	parser, err := a.parser(t.Context(), &cli{})
	if err != nil {
		t.Fatal(err)
	}
	list := commands(parser.Model.Node)
	if len(list) < 40 {
		t.Errorf("only %d commands", len(list))
	}
	for _, n := range list {
		out := say(t, t.TempDir(), "", 0, append(strings.Fields(n.FullPath())[1:], "--help")...)
		for line := range strings.SplitSeq(out, "\n") {
			if textWidth(line) > helpWidth {
				t.Errorf("%s: wider than %d columns: %q", n.FullPath(), helpWidth, line)
			}
		}
		if !strings.Contains(out, n.Help[:min(10, len(n.Help))]) {
			t.Errorf("%s: its help does not say what it does: %s", n.FullPath(), out)
		}
		if speaksToServer(n) && !strings.Contains(out, "--json") {
			t.Errorf("%s: cannot answer in JSON", n.FullPath())
		}
	}
}

func TestCandidates(t *testing.T) {
	clearEnvironment(t)
	for typed, want := range map[string]string{
		"jo":                             "jobs",
		"jobs ta":                        "tail",
		"jobs list --st":                 "--state --steps",
		"jobs list --state ":             "canceled failed running succeeded waiting",
		"jobs list --state = f":          "failed",
		"jobs list --path jobs --ta":     "--tag",
		"jobs list -w a --server b --ta": "--tag",
		"workspace role eve a":           "admin",
		"user update eve --no-a":         "--no-admin",
		"comp":                           "completion",
		"ref":                            "",
		"run f/demo/":                    "",
		"jobs nothing -":                 "--help",
		"push dir --json --apply":        "--apply-to-waiting",
		"completion ":                    "bash fish zsh",
		"token create --scope --exp":     "",
		"jobs list -n 3 --state runn":    "running",
	} {
		args := append([]string{"complete", "--"}, strings.Split(typed, " ")...)
		out := say(t, t.TempDir(), "", 0, args...)
		if got := strings.Join(strings.Fields(out), " "); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

// A real bash completes with what the program prints.
func TestCompletionInBash(t *testing.T) {
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"sluice wor":                "worker workspace",
		"sluice jobs list --state ": "canceled failed running succeeded waiting",
		"sluice limits p":           "pause plan prune",
		"sluice push ex":            "",
	} {
		script := `source <(sluice completion bash) || exit 1
complete -p sluice >/dev/null || exit 1
IFS=' ' read -ra COMP_WORDS <<<"$1"
[[ $1 == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_sluice
echo "${COMPREPLY[*]}"`
		cmd := exec.Command("bash", "-c", script, "bash", words)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", words, got, err, want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		if out := say(t, t.TempDir(), "", 0, "completion", shell); !strings.Contains(out, "complete --") {
			t.Errorf("%s: %s", shell, out)
		}
	}
}
