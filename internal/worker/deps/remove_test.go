package deps_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/internal/worker/deps"
)

// A job may leave more levels than a process may have open files.
func TestRemoveAllOfWhatIsDeep(t *testing.T) {
	outside, dir := t.TempDir(), filepath.Join(t.TempDir(), "job")
	kept := filepath.Join(outside, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range 1000 {
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "d"} {
			if err := unix.Mkdirat(fd, name, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Symlinkat(outside, fd, "out"); err != nil {
			t.Fatal(err)
		}
		at := fd
		fd, err = unix.Openat(at, "d", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		_ = unix.Close(at)
	}
	_ = unix.Close(fd)

	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 200, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	err = deps.RemoveAll(dir)
	if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); e != nil {
		t.Fatal(e)
	}
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Lstat(kept); err != nil {
		t.Errorf("what a link led to is gone: %v", err)
	}
}
