package deps

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sluice"
)

const (
	goSplit  = "//go.sum\n" // between go.mod and go.sum
	goMod    = "go.mod"
	goSum    = "go.sum"
	goModule = "mymod" // Windmill's name for a script's module
	// goModCache is where the modules of a Go entry lie: its GOMODCACHE.
	goModCache = "mod"
	goMost     = 4 << 20 // bytes of go.mod and of go.sum
)

// resolveGo locks the modules that the code needs.
func (c *Cache) resolveGo(ctx context.Context, dir string, wanted []need, code string) (string, error) {
	const doing = "find the modules that the script needs"
	inner := filepath.Join(dir, "inner")
	if err := os.Mkdir(inner, 0o700); err != nil {
		return "", fmt.Errorf("make the script's folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(inner, "inner_main.go"), []byte(code), 0o600); err != nil {
		return "", fmt.Errorf("write the script: %w", err)
	}
	if err := c.golang(ctx, doing, dir, "mod", "init", goModule); err != nil {
		return "", err
	}
	edit := []string{"mod", "edit"}
	for _, w := range wanted {
		if w.version != "" {
			edit = append(edit, "-require="+w.name+"@"+w.version)
		}
	}
	if len(edit) > 2 {
		if err := c.golang(ctx, doing, dir, edit...); err != nil {
			return "", err
		}
	}
	if err := c.golang(ctx, doing, dir, "mod", "tidy"); err != nil {
		return "", err
	}
	mod, err := readBounded(filepath.Join(dir, goMod), goMost)
	if err != nil {
		return "", fmt.Errorf("read go.mod: %w", err)
	}
	sum, err := readBounded(filepath.Join(dir, goSum), goMost)
	if err != nil && !os.IsNotExist(err) {
		return "", fmt.Errorf("read go.sum: %w", err)
	}
	return string(mod) + "\n" + goSplit + string(sum), nil
}

func goParts(text string) (mod, sum string, err error) {
	mod, sum, ok := strings.Cut(text, "\n"+goSplit)
	if !ok {
		return "", "", sluice.Errorf(sluice.CodeInvalid, "The script's lock is not one of Go: a line %s is missing.", strings.TrimSpace(goSplit))
	}
	return mod, sum, nil
}

// installGo puts go.mod and go.sum into out, and the modules into out/mod.
func (c *Cache) installGo(ctx context.Context, dir, out, text string) (int, error) {
	mod, sum, err := goParts(text)
	if err != nil {
		return 0, err
	}
	for name, content := range map[string]string{goMod: mod, goSum: sum} {
		for _, folder := range []string{dir, out} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
				return 0, fmt.Errorf("write %s: %w", name, err)
			}
		}
	}
	if err := c.golang(ctx, "download the modules", dir, "mod", "download"); err != nil {
		return 0, err
	}
	cache := filepath.Join(dir, goModCache)
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return 0, fmt.Errorf("make the folder for modules: %w", err)
	}
	if err := os.Rename(cache, filepath.Join(out, goModCache)); err != nil {
		return 0, fmt.Errorf("keep the modules: %w", err)
	}
	return strings.Count(sum, "\n") - strings.Count(sum, "/go.mod h1:"), nil
}

func (c *Cache) golang(ctx context.Context, doing, dir string, args ...string) error {
	// Otherwise go leaves a process behind that gathers what it may report.
	telemetry := filepath.Join(dir, homeName, ".config", "go", "telemetry")
	if err := os.MkdirAll(telemetry, 0o700); err != nil {
		return fmt.Errorf("make go's folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(telemetry, "mode"), []byte("off"), 0o600); err != nil {
		return fmt.Errorf("turn go's telemetry off: %w", err)
	}
	inside := c.inside(dir)
	env := []string{
		"GOFLAGS=-mod=mod -modcacherw", "GOTOOLCHAIN=local", "GOWORK=off", "GO111MODULE=on", "CGO_ENABLED=0",
		"GOMODCACHE=" + filepath.Join(inside, goModCache), "GOCACHE=" + filepath.Join(inside, homeName, "build"),
		"GOPATH=" + filepath.Join(inside, homeName, "go"), "GOENV=off",
	}
	for name, value := range map[string]string{"GOPROXY": c.cfg.GoProxy, "GOSUMDB": c.cfg.GoSumDB, "GOPRIVATE": c.cfg.GoPrivate} {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return c.tool(ctx, doing, Tool{Path: c.cfg.Go, Dir: dir, Args: append([]string{"go"}, args...), Env: env, Read: c.cfg.goFolders()})
}

// goFolders returns the folders on this machine that are proxies of modules.
func (c *Config) goFolders() []string {
	var list []string
	for _, p := range strings.FieldsFunc(c.GoProxy, func(r rune) bool { return r == ',' || r == '|' }) {
		if path, ok := strings.CutPrefix(p, "file://"); ok {
			list = append(list, path)
		}
	}
	return list
}
