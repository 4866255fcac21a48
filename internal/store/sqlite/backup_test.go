package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sluice"
	"sluice/internal/store"
)

// A backup of a database that is in use opens as a database, holds what was
// committed, and is for its owner's eyes.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "odd name?#%.db"), filepath.Join(dir, "copy.db")
	s, err := Open(t.Context(), from, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := store.Workspace{ID: "main", Name: "before the backup"}
	if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.SaveWorkspace(&want) }); err != nil {
		t.Fatal(err)
	}
	if err := Backup(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, error %v", info, err)
	}
	copied, err := Open(t.Context(), to, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	err = copied.View(t.Context(), func(r store.Reader) error {
		got, err := r.Workspace("main")
		if err == nil && got.Name != want.Name {
			err = fmt.Errorf("the workspace is %+v", got)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A backup overwrites nothing, whether it is there before or appears meanwhile,
// and one that fails leaves nothing.
func TestBackupRefuses(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "sluice.db"), filepath.Join(dir, "copy.db")
	if err := Backup(t.Context(), from, to); sluice.CodeOf(err) != sluice.CodeNotFound {
		t.Errorf("of nothing: %v", err)
	}
	s, err := Open(t.Context(), from, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Backup(ended, from, to); !errors.Is(err, context.Canceled) {
		t.Errorf("when stopped: %v", err)
	}
	if err := Backup(t.Context(), from, filepath.Join(dir, "none", "copy.db")); sluice.CodeOf(err) != sluice.CodeInvalid {
		t.Errorf("into no folder: %v", err)
	}
	old := []byte("an older backup")
	if err := os.WriteFile(to, old, 0o600); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(dir, "part")
	if err := os.WriteFile(part, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for how, err := range map[string]error{"there before": Backup(t.Context(), from, to), "there meanwhile": publish(part, to)} {
		if sluice.CodeOf(err) != sluice.CodeConflict {
			t.Errorf("%s: %v", how, err)
		}
	}
	if got, err := os.ReadFile(to); err != nil || string(got) != string(old) {
		t.Errorf("the older backup is %q, error %v", got, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".backup-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}
