package deps

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sluice"
)

const (
	pyHeader   = "# py: " // the first line of a Python lock
	pyFile     = "requirements.txt"
	pyReport   = "report.json"
	pyMostSize = 16 << 20 // of pip's report
)

// resolvePython pins what the requirements need.
func (c *Cache) resolvePython(ctx context.Context, dir string, wanted []need) (string, error) {
	lines := make([]string, len(wanted))
	for i, w := range wanted {
		lines[i] = w.name
		if err := c.checkRequirement(w.name); err != nil {
			return "", err
		}
	}
	if err := c.writeRequirements(dir, lines); err != nil {
		return "", err
	}
	err := c.pip(ctx, "find the packages that the script needs", dir, "--dry-run", "--ignore-installed", "--report", pyReport)
	if err != nil {
		return "", err
	}
	text, err := readBounded(filepath.Join(dir, pyReport), pyMostSize)
	if err != nil {
		return "", fmt.Errorf("read what pip found: %w", err)
	}
	return pythonLock(text)
}

// pythonLock writes pip's report down as a lock.
func pythonLock(report []byte) (string, error) {
	var r struct {
		Install []struct {
			Download struct {
				URL string `json:"url"`
			} `json:"download_info"`
			Direct   bool `json:"is_direct"`
			Metadata struct {
				Name    string `json:"name"`
				Version string `json:"version"`
			} `json:"metadata"`
		} `json:"install"`
		Environment struct {
			Python string `json:"python_version"`
		} `json:"environment"`
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return "", fmt.Errorf("understand what pip found: %w", err)
	}
	lines := make([]string, 0, len(r.Install))
	for _, p := range r.Install {
		name := strings.ToLower(p.Metadata.Name)
		if p.Direct {
			lines = append(lines, name+" @ "+p.Download.URL)
		} else {
			lines = append(lines, name+"=="+p.Metadata.Version)
		}
	}
	slices.Sort(lines)
	return pyHeader + r.Environment.Python + "\n" + strings.Join(lines, "\n"), nil
}

// pythonLines returns the requirements of a lock.
func pythonLines(lock string) []string {
	var lines []string
	for line := range strings.Lines(lock) {
		line, _, _ = strings.Cut(line, " #")
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// installPython installs a lock into out.
func (c *Cache) installPython(ctx context.Context, dir, out, lock string) (int, error) {
	lines := pythonLines(lock)
	for _, line := range lines {
		if err := c.checkRequirement(line); err != nil {
			return 0, err
		}
	}
	if err := c.writeRequirements(dir, lines); err != nil {
		return 0, err
	}
	return len(lines), c.pip(ctx, "install the packages", dir, "--no-deps", "--target", filepath.Base(out))
}

var requirementForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])?\s*((===|==|~=|!=|<=|>=|<|>)[A-Za-z0-9.*+!_-]+\s*,?\s*)*(;[^\r\n]*)?$`)

// checkRequirement refuses what is no plain requirement. Options would choose
// registries, which the operator does, and what is not a wheel runs code of its
// own when it is built, whatever pip is told about wheels.
func (c *Cache) checkRequirement(line string) error {
	if requirementForm.MatchString(line) {
		return nil
	}
	if name, address, ok := strings.Cut(line, "@"); ok && requirementForm.MatchString(strings.TrimSpace(name)) {
		u, err := url.Parse(strings.TrimSpace(address))
		wheel := err == nil && strings.HasSuffix(u.Path, ".whl")
		if err == nil && (u.Scheme == "https" || u.Scheme == "http") && (wheel || c.cfg.AllowInstallScripts) {
			return nil
		}
	}
	return sluice.Errorf(sluice.CodeInvalid, "%.200q is not a requirement that this worker installs: give name==version, or name @ https://…/file.whl.", line)
}

// writeRequirements writes pip's input. The registries stand in it rather than
// on the command line, which everybody on the machine can read.
func (c *Cache) writeRequirements(dir string, lines []string) error {
	var b strings.Builder
	if c.cfg.PipNoIndex {
		b.WriteString("--no-index\n")
	} else if c.cfg.PipIndexURL != "" {
		b.WriteString("--index-url " + c.cfg.PipIndexURL + "\n")
	}
	for _, l := range c.cfg.pipLinks() {
		b.WriteString("--find-links " + l + "\n")
	}
	if !c.cfg.AllowInstallScripts {
		b.WriteString("--only-binary :all:\n")
	}
	b.WriteString(strings.Join(lines, "\n") + "\n")
	if err := os.WriteFile(filepath.Join(dir, pyFile), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write the requirements: %w", err)
	}
	return nil
}

func (c *Cache) pip(ctx context.Context, doing, dir string, args ...string) error {
	t := Tool{Path: c.cfg.Python, Dir: dir, Args: append([]string{
		"python3", "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--no-color",
		"install", "--quiet", "--progress-bar", "off", "--root-user-action", "ignore", "-r", pyFile,
	}, args...)}
	t.Read = c.cfg.pipFolders()
	return c.tool(ctx, doing, t)
}

// pipFolders returns the folders on this machine that pip is to look into.
func (c *Config) pipFolders() []string {
	var list []string
	for _, l := range c.pipLinks() {
		if l = strings.TrimPrefix(l, "file://"); filepath.IsAbs(l) {
			list = append(list, l)
		}
	}
	return list
}

// pipLinks returns PipFindLinks with absolute paths.
func (c *Config) pipLinks() []string {
	list := make([]string, len(c.PipFindLinks))
	for i, l := range c.PipFindLinks {
		list[i] = l
		if path, err := filepath.Abs(l); err == nil && !strings.Contains(l, "://") {
			list[i] = path
		}
	}
	return list
}

// pythonVersion returns the version of the worker's Python, such as 3.11: what
// is compiled for one does not work with another.
func (c *Cache) pythonVersion(ctx context.Context) (string, error) {
	c.mu.Lock()
	version := c.python
	c.mu.Unlock()
	if version != "" {
		return version, nil
	}
	dir, done, err := c.workDir(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	const name = "version"
	err = c.tool(ctx, "find out the version of Python", Tool{Path: c.cfg.Python, Dir: dir, Args: []string{
		"python3", "-I", "-c", `import sys; open("` + name + `", "w").write("%d.%d" % sys.version_info[:2])`,
	}})
	if err != nil {
		return "", err
	}
	text, err := readBounded(filepath.Join(dir, name), 64)
	if err != nil {
		return "", fmt.Errorf("read the version of Python: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.python = string(text)
	return c.python, nil
}
