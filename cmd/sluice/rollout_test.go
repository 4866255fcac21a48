package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/client"
	"sluice/internal/pgtest"
)

// before builds the version of this program that came before this one: that of
// the last tag; while there is none, the last with another schema. If its source
// is not to be had, as in a shallow clone, it is this version itself.
func before(t *testing.T) string {
	t.Helper()
	now, err := build()
	if err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = "../.."
		out, err := cmd.Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	rev := git("describe", "--tags", "--abbrev=0")
	if rev == "" {
		if rev = git("log", "-1", "--format=%H", "--", "internal/store/postgres/migrations"); rev != "" {
			rev = git("rev-parse", "--verify", "--quiet", rev+"^")
		}
	}
	dir := t.TempDir()
	if rev == "" {
		if git("rev-parse", "--is-shallow-repository") == "false" {
			t.Fatal("git does not say which version came before")
		}
		t.Log("the source of the version before is not here: this one takes its place")
		return now
	}
	archive := filepath.Join(dir, "source.tar")
	if git("archive", "--output", archive, rev); !exists(archive) {
		t.Fatalf("git archive %s failed", rev)
	}
	binary := filepath.Join(dir, "sluice-before")
	for _, step := range [][]string{{"tar", "-xf", archive}, {"go", "build", "-o", binary, "./cmd/sluice"}} {
		cmd := exec.Command(step[0], step[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", step, err, out)
		}
	}
	t.Logf("the version before is %s", rev)
	return binary
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestRollOut: servers and workers of this version and of the one before it
// share a database for the time of an upgrade. Nothing is lost, limits hold over
// both, and each serves workers of the other.
func TestRollOut(t *testing.T) {
	p := newPlace(t)
	now, old := p.binary, before(t)
	database := []string{"--database", pgtest.Database(t)}
	p.binary = old
	first := p.start(slices.Concat(withPlaces, database)...)
	oldURL := p.url
	d := prepare(p)
	for path, text := range map[string]string{
		"f/tags/old.sh": "echo served\n", "f/tags/old.script.yaml": "summary: ''\ntag: for-old\n",
		"f/tags/new.sh": "echo served\n", "f/tags/new.script.yaml": "summary: ''\ntag: for-new\n",
	} {
		path = filepath.Join(p.dir, "tagged", path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	p.mustSay(p.sluice(0, "push", "tagged"), "2 scripts: 2 new.")

	if err := os.Mkdir(filepath.Join(p.dir, "data2"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(p.dir, "data", tokenFile), filepath.Join(p.dir, "data2", tokenFile)); err != nil {
		t.Fatal(err)
	}
	p.binary = now
	second := p.start(slices.Concat(withPlaces, []string{"--data", "data2"}, database)...)
	newURL := p.url
	c := p.client()
	token, err := c.CreateToken(t.Context(), client.NewToken{Scopes: []string{"workers:write"}})
	if err != nil {
		t.Fatal(err)
	}
	// One of the version before is started, as after a crash, on the newer schema.
	p.binary = old
	third := p.start(slices.Concat([]string{"--workers", "0", "--data", "data3", "--token", clusterToken}, database)...)
	late, err := client.New(client.Config{URL: p.url, Token: clusterToken})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.WhoAmI(t.Context()); err != nil {
		t.Errorf("the version before, started on the newer schema: %v", err)
	}
	third.signal(os.Interrupt)
	third.end()
	p.url = newURL
	p.worker(token, "--server", newURL, "--data", "w-old", "--tags", "for-old")
	p.binary = now
	p.worker(token, "--server", oldURL, "--data", "w-new", "--tags", "for-new")
	for _, name := range []string{"old", "new"} {
		d.await(c, strings.TrimSpace(p.sluice(0, "run", "f/tags/"+name)))
	}

	d.open = append(d.open, strings.TrimSpace(p.sluice(0, "run", "f/e2e/call", "-d", d.witness.args())))
	d.witness.release(d.running)
	held := d.witness.wait()
	first.signal(os.Interrupt)
	d.witness.release(held)
	for range len(d.open) - 2 {
		d.witness.release(d.witness.wait())
	}
	for _, id := range d.open {
		d.await(c, id)
	}
	if status := first.end(); status != 0 {
		t.Errorf("the old server stopped with exit status %d", status)
	}
	second.signal(os.Interrupt)
	if status := second.end(); status != 0 {
		t.Errorf("the new server stopped with exit status %d", status)
	}
	p.mustSay(p.sluice(0, append([]string{"check-history"}, database...)...), "judged ", "all promises were kept")
}
