package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/engine"
	"sluice/internal/pgtest"
	"sluice/internal/store/sqlite"
)

// TestFirstAdministrator: made once, with a password that is in a file for its
// owner alone, even over what somebody else left there.
func TestFirstAdministrator(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, passwordFile)
	if err := os.WriteFile(path, []byte("left behind"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), filepath.Join(dir, "s.db"), sqlite.Options{Synchronous: "off", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, err := engine.New(t.Context(), s, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	first := &server{cmd: &serverCmd{Data: dir}, engine: e}
	if err := first.firstAdmin(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(text)) != first.password || len(first.password) < 20 {
		t.Errorf("%q, want the password %q: %v", text, first.password, err)
	}
	_, u, err := e.SignIn(t.Context(), adminEmail, first.password, time.Hour)
	if err != nil || !u.SuperAdmin || u.Username != adminName {
		t.Errorf("%+v, %v", u, err)
	}
	second := &server{cmd: &serverCmd{Data: dir}, engine: e}
	if err := second.firstAdmin(t.Context()); err != nil || second.password != "" {
		t.Errorf("a second start: %q, %v", second.password, err)
	}
	again, err := os.ReadFile(path)
	if err != nil || string(again) != string(text) {
		t.Errorf("a second start wrote %q, %v", again, err)
	}
}

// TestFirstAdminOfSeveral starts servers at once on one database: one makes the
// user, and no other keeps a password that opens nothing.
func TestFirstAdminOfSeveral(t *testing.T) {
	dsn := pgtest.Database(t)
	var all sync.WaitGroup
	var made atomic.Int64
	for range 3 {
		all.Go(func() {
			s, err := openDatabase(t.Context(), dsn, "", "full", slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			e, err := engine.New(t.Context(), s, engine.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer e.Close()
			dir := t.TempDir()
			v := &server{cmd: &serverCmd{Data: dir}, engine: e}
			if err := v.firstAdmin(t.Context()); err != nil {
				t.Error(err)
			}
			_, err = os.Stat(filepath.Join(dir, passwordFile))
			if (err == nil) != (v.password != "") {
				t.Errorf("a password file: %v; a password: %v", err == nil, v.password != "")
			}
			if v.password != "" {
				made.Add(1)
			}
		})
	}
	all.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("%d servers made the first user", n)
	}
}
