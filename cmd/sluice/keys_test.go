package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/vault"
)

// TestKeyRing reads master keys from everywhere that they may come from.
func TestKeyRing(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := vault.NewMaster(), vault.NewMaster()
	first, second := write("one", one+"\n"), write("two", two)
	id := func(text string) string {
		m, err := vault.ParseMaster(text)
		if err != nil {
			t.Fatal(err)
		}
		return m.ID()
	}
	for _, tc := range []struct {
		name     string
		flags    keyFlags
		env      string
		beside   string
		current  string
		previous int
		wrong    string
	}{
		{name: "nothing"},
		{name: "not made yet", beside: filepath.Join(dir, "none")},
		{name: "beside", beside: first, current: one},
		{name: "file", flags: keyFlags{KeyFile: second}, beside: first, current: two},
		{name: "environment", env: " " + two + " ", beside: first, current: two},
		{name: "previous", flags: keyFlags{KeyFile: second, PreviousKeyFile: []string{first}}, current: two, previous: 1},
		{name: "both", flags: keyFlags{KeyFile: second}, env: one, wrong: "--key-file"},
		{name: "no such file", flags: keyFlags{KeyFile: filepath.Join(dir, "none")}, wrong: "--key-file"},
		{name: "no key", flags: keyFlags{KeyFile: write("bad", "hunter22")}, wrong: "--key-file"},
		{name: "no key beside", beside: write("cut", one[2:]), wrong: "cut"},
		{name: "large", flags: keyFlags{KeyFile: write("large", strings.Repeat(one, 100))}, wrong: "too large"},
		{name: "no key in the environment", env: "hunter22", wrong: "SLUICE_KEY"},
	} {
		a := &app{env: func(name string) string {
			if name == keyEnv {
				return tc.env
			}
			return ""
		}}
		t.Setenv(keyEnv, "what a child must not see")
		r, err := tc.flags.ring(a, tc.beside)
		if left, there := os.LookupEnv(keyEnv); there && tc.name != "both" {
			t.Errorf("%s: the environment still has %q", tc.name, left)
		}
		switch {
		case tc.wrong != "":
			if err == nil || !strings.Contains(err.Error(), tc.wrong) || strings.Contains(err.Error(), "hunter22") {
				t.Errorf("%s: %v", tc.name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case len(r.Previous) != tc.previous, (r.Current == nil) != (tc.current == ""):
			t.Errorf("%s: %+v", tc.name, r)
		case r.Current != nil && r.Current.ID() != id(tc.current):
			t.Errorf("%s: another key", tc.name)
		}
	}
}

func TestMakeKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), keyFile)
	m, err := makeKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := readKey("--key-file", path)
	if err != nil || again.ID() != m.ID() || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", err, info.Mode())
	}
	if _, err := makeKey(path); err == nil {
		t.Error("a key was written over")
	}
	if keyBeside("postgres://x/y", "a/s.db") != "" || keyBeside("sqlite:/x/y.db", "a/s.db") != "/x/"+keyFile || keyBeside("", "a/s.db") != "a/"+keyFile {
		t.Error("the key is kept elsewhere")
	}
}
