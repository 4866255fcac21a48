package limit_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/limit"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios say now into testdata")

// answer begins every line that the code under test said.
const answer = "      => "

// TestScenarios plays testdata/*.txt. A line is an instant, a verb and what it
// is about; what follows # is for the reader. The verbs:
//
//	limit NAME N [per WINDOW [from start|end]]   names a limit
//	take JOB NAME                                takes a job under a limit, if there is room
//	confirm JOB, release JOB, strike JOB         what becomes of it
//	ask NAME [ahead N] [due T]                   may a job of this limit start, and if not, when?
//	override [N] [per WINDOW] [from MODE], clear replaces fields of every job's limit
//	pause [until T], resume, prune, trim T       what an administrator and retention do
//
// Lines that begin with => hold the answers; go test -run Scenarios -rewrite
// writes them anew.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := playStory(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if got == string(text) {
				return
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s: the story goes otherwise now (-rewrite accepts it):\n%s", file, firstDifference(string(text), got))
		})
	}
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("line %d\n  was: %s\n  is:  %s", i+1, a[i], strings.Join(b[min(i, len(b)):min(i+1, len(b))], ""))
		}
	}
	return "more lines than before"
}

// story is a scenario under way.
type story struct {
	*world
	limits map[string]limit.Limit
}

// playStory returns the text with the answers as they are now.
func playStory(text string) (string, error) {
	s := story{newWorld(), map[string]limit.Limit{}}
	var out []string
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, answer) {
			continue
		}
		out = append(out, line)
		said, _, _ := strings.Cut(line, "#")
		words := strings.Fields(said)
		if len(words) == 0 {
			continue
		}
		answers, err := s.line(words)
		if err != nil {
			return "", fmt.Errorf("line %d: %q: %w", i+1, line, err)
		}
		for _, a := range answers {
			out = append(out, answer+a)
		}
	}
	return strings.Join(out, "\n"), nil
}

func (s story) line(words []string) ([]string, error) {
	if words[0] == "limit" {
		l, err := parseLimit(limit.Limit{Mode: limit.End}, words[2:])
		s.limits[words[1]] = l
		return []string{l.String()}, err
	}
	d, err := time.ParseDuration(words[0])
	if err != nil {
		return nil, err
	}
	if at(d).Before(s.now) {
		return nil, fmt.Errorf("time goes back")
	}
	s.now = at(d)
	verb, rest := words[1], words[2:]
	switch verb {
	case "take", "ask":
		return s.question(verb, rest)
	case "confirm":
		s.confirm(s.find(rest[0]))
	case "release":
		s.release(s.find(rest[0]))
	case "strike":
		s.strike(s.find(rest[0]))
	default:
		return nil, s.administer(verb, rest)
	}
	return nil, nil
}

// administer plays what an administrator or retention does.
func (s story) administer(verb string, rest []string) error {
	g := &s.group
	switch verb {
	case "override":
		l, err := parseLimit(limit.Limit{N: -1, Window: -1}, rest)
		g.Override = limit.Override{}
		if l.N >= 0 {
			g.Override.N = &l.N
		}
		if l.Window >= 0 {
			g.Override.Window = &l.Window
		}
		if l.Mode != "" {
			g.Override.Mode = &l.Mode
		}
		return err
	case "clear":
		g.Override = limit.Override{}
	case "pause":
		g.Pause = limit.Pause{Paused: true}
		if len(rest) == 2 {
			d, err := time.ParseDuration(rest[1])
			g.Pause.Until = at(d)
			return err
		}
	case "resume":
		g.Pause = limit.Pause{}
	case "prune":
		s.prune()
	case "trim":
		d, err := time.ParseDuration(rest[0])
		var launches, releases int64
		for _, x := range s.launches {
			if !x.After(at(d)) {
				launches++
			}
		}
		for _, x := range s.releases {
			if !x.After(at(d)) {
				releases++
			}
		}
		s.trim(launches, releases, at(d))
		return err
	default:
		return fmt.Errorf("no verb %q", verb)
	}
	return nil
}

// question plays "take JOB NAME" and "ask NAME [ahead N] [due T]".
func (s story) question(verb string, rest []string) ([]string, error) {
	var job string
	if verb == "take" {
		job, rest = rest[0], rest[1:]
	}
	pushed, ok := s.limits[rest[0]]
	if !ok {
		return nil, fmt.Errorf("no limit %q", rest[0])
	}
	var ahead int64
	due := epoch
	for i := 1; i+1 < len(rest); i += 2 {
		switch rest[i] {
		case "ahead":
			ahead, _ = strconv.ParseInt(rest[i+1], 10, 64)
		case "due":
			d, err := time.ParseDuration(rest[i+1])
			if err != nil {
				return nil, err
			}
			due = at(d)
		default:
			return nil, fmt.Errorf("what is %q?", rest[i])
		}
	}
	l, source := s.group.Override.Apply(pushed)
	room := s.ask(s.now, l, ahead)
	var out []string
	if source == limit.FromOverride {
		out = append(out, "in force: "+l.String())
	}
	switch {
	case room.Now && job != "":
		s.take(job)
		return append(out, "taken"), nil
	case room.Now:
		return append(out, "room"), nil
	case room.From.IsZero():
		out = append(out, fmt.Sprintf("no room until something happens (%d held, %d unlaunched)", s.group.Held(), s.group.Unlaunched()))
	default:
		out = append(out, "no room before "+say(room.From)+", if nothing happens")
	}
	if t := s.notBefore(s.now, l, due); !t.IsZero() {
		out = append(out, "whatever happens, not before "+say(t))
	}
	return out, nil
}

func say(t time.Time) string { return t.Sub(epoch).String() }

// parseLimit reads "[N] [per WINDOW] [from MODE]" over a limit.
func parseLimit(l limit.Limit, words []string) (limit.Limit, error) {
	var err error
	for i := 0; i < len(words) && err == nil; i++ {
		switch {
		case words[i] == "per" && i+1 < len(words):
			i++
			l.Window, err = time.ParseDuration(words[i])
		case words[i] == "from" && i+1 < len(words):
			i++
			l.Mode = limit.Mode(words[i])
		default:
			l.N, err = strconv.Atoi(words[i])
		}
	}
	return l, err
}
