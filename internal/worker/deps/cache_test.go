package deps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
)

// Every language: twenty want one lock at once, one install is made, it works,
// nothing of it can be written to, and it needs no registry any more.
func TestEnsureOnce(t *testing.T) {
	w := newWorld(t)
	c := w.open(t)
	installs := map[string]string{"python3": "--target", "bun": "--frozen-lockfile", "go": "mod download"}
	dirs := map[string]string{}
	locks := map[string]string{}
	for _, language := range slices.Sorted(maps.Keys(installs)) {
		lock, err := c.Resolve(t.Context(), language, scripts[language])
		if err != nil {
			t.Fatal(err)
		}
		locks[language] = lock
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				h, err := c.Hold(t.Context(), language, lock)
				if err != nil {
					t.Error(err)
					return
				}
				defer h.Release()
				if _, err := os.Stat(filepath.Join(h.Dir, markerName)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := w.count(installs[language]); n != 1 {
			t.Errorf("%s: %d installs", language, n)
		}
		if dirs[language], err = c.Ensure(t.Context(), language, lock); err != nil {
			t.Fatal(err)
		}
		if got := use(t, language, dirs[language]); got != versions[language] {
			t.Errorf("%s: the program printed %q", language, got)
		}
		readOnly(t, dirs[language])
	}
	if left := names(t, filepath.Join(w.cfg.Dir, tmpName)); len(left) > 0 {
		t.Errorf("temporary folders are left: %v", left)
	}

	// Another process that has no way to any registry.
	w.npm.Close()
	w.cfg.PipFindLinks, w.cfg.GoProxy, w.cfg.NPMRegistry = nil, "off", "http://127.0.0.1:1"
	before := w.count("")
	other := w.open(t)
	for language, lock := range locks {
		if dir, err := other.Ensure(t.Context(), language, lock); err != nil || dir != dirs[language] {
			t.Errorf("%s: %q, %v", language, dir, err)
		}
	}
	if n := w.count("") - before - w.count(" -I "); n > 0 {
		t.Errorf("%d tools were started for what was there", n)
	}
}

func readOnly(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode()&fs.ModeSymlink == 0 && info.Mode()&0o222 != 0 {
			t.Errorf("%s is %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// K1: the one used longest ago goes first, and never one in use, also if it is
// another process that uses it.
func TestEvict(t *testing.T) {
	w := newWorld(t)
	c := w.open(t)
	lock := func(n string) string {
		return n + "==" + map[string]string{"alpha": "1.0.0", "beta": "1.5.0", "gamma": "0.1.0", "PyYAML": "6.0.0"}[n]
	}
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(w.cfg.Dir, "python3", digest(familyPython, lock(name)), markerName))
		return err == nil
	}
	hold := func(c *Cache, name string, ago time.Duration) *Held {
		t.Helper()
		h, err := c.Hold(t.Context(), "python3", lock(name))
		if err != nil {
			t.Fatal(err)
		}
		h.Release()
		used := time.Now().Add(-ago)
		if err := os.Chtimes(h.Dir+lockSuffix, used, used); err != nil {
			t.Fatal(err)
		}
		return h
	}
	one := hold(c, "alpha", 3*time.Hour)
	hold(c, "beta", 2*time.Hour)
	hold(c, "gamma", time.Hour)
	m, err := readMarker(one.Dir)
	if err != nil || m.Bytes == 0 {
		t.Fatal(m, err)
	}

	// Room for three. Alpha is the oldest, but in use elsewhere.
	w.cfg.MaxBytes = 3*m.Bytes + m.Bytes/2
	small, other := w.open(t), w.open(t)
	held, err := other.Hold(t.Context(), "python3", lock("alpha"))
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-3 * time.Hour)
	if err := os.Chtimes(held.Dir+lockSuffix, long, long); err != nil {
		t.Fatal(err)
	}
	hold(small, "PyYAML", 0)
	if !there("alpha") || there("beta") || !there("gamma") || !there("PyYAML") {
		t.Errorf("alpha %v, beta %v, gamma %v, PyYAML %v", there("alpha"), there("beta"), there("gamma"), there("PyYAML"))
	}
	held.Release()

	// A use makes it young: gamma goes now.
	hold(small, "beta", 0)
	if !there("alpha") || there("gamma") {
		t.Errorf("after a use: alpha %v, gamma %v", there("alpha"), there("gamma"))
	}
	if _, err := os.Stat(filepath.Join(w.cfg.Dir, "python3", digest(familyPython, lock("gamma"))+lockSuffix)); err == nil {
		t.Error("the lock file of what was removed is still there")
	}

	w.cfg.MaxBytes = 100
	_, err = w.open(t).Ensure(t.Context(), "python3", lock("gamma"))
	if sluice.CodeOf(err) != sluice.CodeInvalid || !strings.Contains(err.Error(), "on disk") {
		t.Errorf("more than fits: %v", err)
	}
}

// An entry whose marker is gone is made anew.
func TestDamaged(t *testing.T) {
	w := newWorld(t)
	c := w.open(t)
	for _, damage := range []string{"", "{", `{"python":"2.7"}`} {
		dir, err := c.Ensure(t.Context(), "python3", "alpha==1.0.0\nbeta==1.5.0")
		if err != nil {
			t.Fatal(err)
		}
		marker := filepath.Join(dir, markerName)
		if err := errors.Join(os.Chmod(dir, 0o700), os.RemoveAll(filepath.Join(dir, "alpha")), os.Remove(marker)); err != nil {
			t.Fatal(err)
		}
		if damage != "" {
			writeFile(t, marker, damage)
		}
		if dir, err = c.Ensure(t.Context(), "python3", "alpha==1.0.0\nbeta==1.5.0"); err != nil {
			t.Fatal(err)
		}
		if got := use(t, "python3", dir); got != "1.0.0" {
			t.Errorf("after the damage %q: %q", damage, got)
		}
	}
}

// Who gives up does not take the install from others; when all have, it ends.
func TestGiveUp(t *testing.T) {
	w := newWorld(t)
	running, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	w.before = func(ctx context.Context, tool Tool) error {
		if !slices.Contains(tool.Args, "--target") {
			return nil
		}
		running <- struct{}{}
		select {
		case <-goOn:
			return nil
		case <-ctx.Done():
			ended <- struct{}{}
			return ctx.Err()
		}
	}
	c := w.open(t)
	ensure := func(lock string) (result chan error, giveUp func()) {
		ctx, cancel := context.WithCancel(t.Context())
		result = make(chan error, 1)
		go func() {
			_, err := c.Ensure(ctx, "python3", lock)
			result <- err
		}()
		return result, cancel
	}
	gaveUp := func(result chan error) {
		t.Helper()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
	}

	first, stopFirst := ensure("alpha==1.0.0\nbeta==1.5.0")
	<-running
	second, stopSecond := ensure("alpha==1.0.0\nbeta==1.5.0")
	defer stopSecond()
	until(t, func() bool { return c.usersOf() == 2 })
	stopFirst()
	gaveUp(first)
	goOn <- struct{}{}
	if err := <-second; err != nil {
		t.Errorf("who stayed got %v", err)
	}

	only, stopOnly := ensure("beta==1.5.0")
	<-running
	stopOnly()
	gaveUp(only)
	<-ended
	again, stopAgain := ensure("beta==1.5.0")
	defer stopAgain()
	<-running
	goOn <- struct{}{}
	if err := <-again; err != nil {
		t.Error(err)
	}
}

// usersOf returns how many use or wait for entries.
func (c *Cache) usersOf() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, e := range c.entries {
		n += e.users
	}
	return n
}

// until waits until something holds.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(15 * time.Second)
	defer limit.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("waited too long")
		}
	}
}

// What another process has installed in the meantime is not installed again.
func TestInstalledMeanwhile(t *testing.T) {
	w := newWorld(t)
	c := w.open(t)
	made, err := c.Ensure(t.Context(), "python3", pythonLocked)
	if err != nil {
		t.Fatal(err)
	}
	w.cfg.Dir += "-other"
	other := w.open(t)
	dir := filepath.Join(w.cfg.Dir, "python3", filepath.Base(made))
	lock, err := lockFile(t.Context(), dir+lockSuffix, syscall.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := other.Ensure(t.Context(), "python3", pythonLocked)
		result <- err
	}()
	use(t, "python3", made) // it takes longer than the other takes to see that there is nothing
	if err := errors.Join(os.Chmod(made, 0o700), os.Rename(made, dir), lock.Close(), <-result); err != nil {
		t.Fatal(err)
	}
	if n := w.count("--target"); n != 1 {
		t.Errorf("%d installs", n)
	}
}

// A failed install leaves nothing and does not stand in the way of the next.
func TestFailedInstall(t *testing.T) {
	w := newWorld(t)
	c := w.open(t)
	for range 2 {
		_, err := c.Ensure(t.Context(), "python3", "# py: 3.11\nalpha==9.9.9")
		if sluice.CodeOf(err) != sluice.CodeInvalid || !strings.Contains(err.Error(), "alpha==9.9.9") {
			t.Fatal(err)
		}
	}
	if n := w.count("--target"); n != 2 {
		t.Errorf("%d tries", n)
	}
	if left := names(t, filepath.Join(w.cfg.Dir, "python3")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := c.Ensure(t.Context(), "bun", "no lock"); sluice.CodeOf(err) != sluice.CodeInvalid {
		t.Error(err)
	}
	if _, err := c.Ensure(t.Context(), "go", "no lock"); sluice.CodeOf(err) != sluice.CodeInvalid {
		t.Error(err)
	}
	c.Close()
	if _, err := c.Ensure(t.Context(), "python3", "alpha==1.0.0"); sluice.CodeOf(err) != sluice.CodeUnavailable {
		t.Error(err)
	}
}

// Install scripts run only if the operator wants them, whatever a lock says.
func TestInstallScripts(t *testing.T) {
	w := newWorld(t)
	lock, err := w.open(t).Resolve(t.Context(), "bun", "import n from 'noisy'")
	if err != nil {
		t.Fatal(err)
	}
	lock = strings.Replace(lock, "{", `{ "scripts": {"postinstall": "echo ran > node_modules/mark"}, "trustedDependencies": ["noisy"],`, 1)
	untrusting := strings.Replace(lock, `"trustedDependencies": ["noisy"],`, "", 1)
	for _, allowed := range []bool{false, true} {
		w.cfg.AllowInstallScripts, w.cfg.Walled = allowed, allowed
		w.cfg.Dir = filepath.Join(t.TempDir(), "cache")
		t.Cleanup(func() { _ = RemoveAll(w.cfg.Dir) })
		c := w.open(t)
		for _, lock := range []string{lock, untrusting} {
			dir, err := c.Ensure(t.Context(), "bun", lock)
			if err != nil {
				t.Fatal(err)
			}
			for _, mark := range []string{"mark", "noisy/mark"} {
				_, err = os.Stat(filepath.Join(dir, "node_modules", mark))
				if ran := err == nil; ran != allowed {
					t.Errorf("%s: allowed: %v, ran: %v", mark, allowed, ran)
				}
			}
		}
	}
	w.cfg.Walled = false
	if _, err := Open(w.cfg); sluice.CodeOf(err) != sluice.CodeInvalid {
		t.Errorf("install scripts without walls: %v", err)
	}
}

// What tools say of registries is not for everybody.
func TestLastLines(t *testing.T) {
	c := &Cache{cfg: Config{PipIndexURL: "https://me:hush1@pip.example/simple", GoProxy: "off,https://you:hush2@go.example", Inside: "/job"}}
	said := ""
	for i := range 100 {
		said += fmt.Sprintf("line %d\n", i)
	}
	said += "GET https://me:hush1@pip.example/simple\nwrong password hush2\nin /job/out/a"
	want := "GET https://pip.example/simple\nwrong password ***\nin out/a"
	if got := c.lastLines(said, "/tmp/1"); !strings.HasSuffix(got, "\nline 99\n"+want) || strings.Count(got, "\n") != 19 {
		t.Errorf("%q", got)
	}
	said = ""
	for i := range 5 {
		said += fmt.Sprintf("WARNING: Retrying (Retry(total=%d, connect=None)) after connection broken by "+
			"'NewConnectionError('<pip.HTTPSConnection object at 0x7f%d>: Failed to establish a new connection: [Errno -2] Name not known')': /simple/a/\n", i, i)
	}
	want = "The registry cannot be reached: Failed to establish a new connection: [Errno -2] Name not known\nERROR: No matching distribution found for a"
	if got := c.lastLines(said+"ERROR: No matching distribution found for a\n", "/tmp/1"); got != want {
		t.Errorf("%q", got)
	}
}

// Whoever writes a lock names no file outside of it.
func TestLinkVersions(t *testing.T) {
	dir := t.TempDir()
	modules := filepath.Join(dir, "node_modules")
	if err := os.MkdirAll(filepath.Join(modules, "@s"), 0o700); err != nil {
		t.Fatal(err)
	}
	pkg := `{"dependencies": {"zod": "^3.2", "@s/a": "1.0.0", "@gone/a": "1.0.0", "../out": "1", "a/../../out": "1", "x": "../../y", "": "1", "plain": ""}}`
	for range 2 {
		if err := linkVersions(modules, pkg); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			to, _ := os.Readlink(path)
			got[strings.TrimPrefix(path, dir)] = to
		}
		return nil
	})
	if want := map[string]string{"/node_modules/zod@^3.2": "zod", "/node_modules/@s/a@1.0.0": "a"}; !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestMissingTool(t *testing.T) {
	w := newWorld(t)
	c := w.open(t)
	c.cfg.Python = ""
	_, err := c.Resolve(t.Context(), "python3", "import alpha")
	if sluice.CodeOf(err) != sluice.CodeUnavailable || !strings.Contains(err.Error(), "it has no python3") {
		t.Error(err)
	}
}
