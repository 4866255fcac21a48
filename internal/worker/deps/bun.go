package deps

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"sluice"
)

const (
	bunSplit   = "//bun.lock\n" // between package.json and bun.lock
	bunBinary  = "//bun.lockb"  // what older versions wrote instead
	bunEmpty   = "<empty>"
	bunPackage = "package.json"
	bunFile    = "bun.lock"
	bunMost    = 16 << 20 // bytes of a lock
)

// resolveBun locks npm packages.
func (c *Cache) resolveBun(ctx context.Context, dir string, wanted []need) (string, error) {
	packages := make(map[string]string)
	for _, w := range wanted {
		packages[w.name] = cmp.Or(w.version, "latest")
	}
	text, err := json.MarshalIndent(map[string]any{"dependencies": packages}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write package.json: %w", err)
	}
	if err := c.writeBun(dir, string(text), ""); err != nil {
		return "", err
	}
	if err := c.bun(ctx, "find the packages that the script needs", dir, "install", "--lockfile-only", "--ignore-scripts"); err != nil {
		return "", err
	}
	lock, err := readBounded(filepath.Join(dir, bunFile), bunMost)
	if err != nil {
		return "", fmt.Errorf("read the lock that bun wrote: %w", err)
	}
	return string(text) + "\n" + bunSplit + string(lock), nil
}

// bunParts returns what a lock consists of; no lock: there is nothing to install.
func bunParts(text string) (pkg, lock string, err error) {
	pkg, lock, ok := strings.Cut(text, "\n"+bunSplit)
	if !ok {
		if strings.Contains(text, bunBinary) {
			return "", "", sluice.Errorf(sluice.CodeInvalid, "The script's lock is in bun's old binary format; save the script again without it.")
		}
		return "", "", sluice.Errorf(sluice.CodeInvalid, "The script's lock is not one of bun: a line %s is missing.", strings.TrimSpace(bunSplit))
	}
	if !json.Valid([]byte(pkg)) {
		return "", "", sluice.Errorf(sluice.CodeInvalid, "The script's lock does not begin with a package.json.")
	}
	if lock = strings.TrimSpace(lock); lock == "" || lock == bunEmpty {
		return pkg, "", nil
	}
	return pkg, lock + "\n", nil
}

// installBun installs a lock into out/node_modules.
func (c *Cache) installBun(ctx context.Context, dir, out, text string) (int, error) {
	pkg, lock, err := bunParts(text)
	if err != nil {
		return 0, err
	}
	args := []string{"install", "--frozen-lockfile", "--linker", "hoisted"}
	if c.cfg.AllowInstallScripts {
		pkg = trustAll(pkg, lock)
	} else {
		args = append(args, "--ignore-scripts")
	}
	if err := c.writeBun(dir, pkg, lock); err != nil {
		return 0, err
	}
	if err := c.bun(ctx, "install the packages", dir, args...); err != nil {
		return 0, err
	}
	modules := filepath.Join(dir, "node_modules")
	if err := os.MkdirAll(modules, 0o700); err != nil { // a package.json without dependencies makes none
		return 0, fmt.Errorf("make node_modules: %w", err)
	}
	if err := linkVersions(modules, pkg); err != nil {
		return 0, err
	}
	for _, name := range []string{bunPackage, bunFile, "node_modules"} {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(out, name)); err != nil {
			return 0, fmt.Errorf("keep what bun installed: %w", err)
		}
	}
	return countModules(filepath.Join(out, "node_modules")), nil
}

var npmName = regexp.MustCompile(`^(@[A-Za-z0-9~_-][A-Za-z0-9._~-]*/)?[A-Za-z0-9~_-][A-Za-z0-9._~-]*$`)

// linkVersions lets scripts import a package with the version that they ask for
// ("zod@3.23.8"), which bun takes for a part of the name: NAME@VERSION becomes a
// link to NAME. Names and versions come from a lock that anybody may write.
func linkVersions(modules, pkg string) error {
	var p struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	if json.Unmarshal([]byte(pkg), &p) != nil {
		return nil // bun has understood what this does not
	}
	for name, version := range p.Dependencies {
		if version == "" || strings.ContainsAny(version, "/\x00") || !npmName.MatchString(name) {
			continue
		}
		link := filepath.Join(modules, name+"@"+version)
		if err := os.Symlink(filepath.Base(name), link); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("let %s be imported with its version: %w", name, err)
		}
	}
	return nil
}

var lockedPackage = regexp.MustCompile(`(?m)^\s*"[^"]+": \["(@?[^"@]+)@`)

// trustAll returns package.json with the names of all packages whose install
// scripts bun shall run: those that the lock has.
func trustAll(pkg, lock string) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(pkg), &fields) != nil || fields == nil {
		return pkg // bun says what is wrong with it
	}
	names := []string{}
	for _, m := range lockedPackage.FindAllStringSubmatch(lock, -1) {
		names = append(names, m[1])
	}
	var err error
	if fields["trustedDependencies"], err = json.Marshal(names); err != nil {
		return pkg
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return pkg
	}
	return string(text)
}

// countModules counts the packages in a node_modules folder.
func countModules(dir string) int {
	n := 0
	names, _ := os.ReadDir(dir) // for people alone
	for _, d := range names {
		switch {
		case !d.IsDir() || strings.HasPrefix(d.Name(), "."):
		case strings.HasPrefix(d.Name(), "@"):
			n += countModules(filepath.Join(dir, d.Name()))
		default:
			n++
		}
	}
	return n
}

func (c *Cache) writeBun(dir, pkg, lock string) error {
	files := map[string]string{bunPackage: pkg}
	if lock != "" {
		files[bunFile] = lock
	}
	// A registry's address may hold a password, which nobody else is to see.
	if c.cfg.NPMRegistry != "" {
		files["bunfig.toml"] = "[install]\nregistry = " + strconv.Quote(c.cfg.NPMRegistry) + "\n"
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

func (c *Cache) bun(ctx context.Context, doing, dir string, args ...string) error {
	return c.tool(ctx, doing, Tool{
		Path: c.cfg.Bun, Dir: dir, Args: append(append([]string{"bun"}, args...), "--no-progress", "--no-summary"),
		Env: []string{"BUN_INSTALL_CACHE_DIR=" + filepath.Join(c.inside(dir), homeName, "cache"), "DO_NOT_TRACK=1"},
	})
}
