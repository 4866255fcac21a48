package deps

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"sluice"
)

// Config is what [Open] needs.
type Config struct {
	Dir      string        // of the cache; required
	Run      Run           // required
	MaxBytes int64         // on disk; default 10 GiB
	Timeout  time.Duration // of one install or resolution; default 10 min
	// WorkDir is where tools work: on the file system of Dir, emptied by its
	// owner. Default: a folder in Dir, which [Open] empties. Inside is the path at
	// which a tool finds its working folder; default: the one that it has.
	WorkDir, Inside string
	// AllowInstallScripts lets packages run code of their own while they are
	// installed: build scripts of Python's source packages, install scripts of
	// npm's. It needs Walled.
	AllowInstallScripts bool
	Walled              bool // Run lets a tool write in its own folder alone

	// The tools; default: those in the PATH, for Python that of the system.
	Python, Bun, Go string

	PipIndexURL  string   // default: PyPI
	PipFindLinks []string // folders and pages with wheels
	PipNoIndex   bool     // use PipFindLinks alone
	NPMRegistry  string   // default: npm's
	GoProxy      string   // GOPROXY; default: Go's own
	GoSumDB      string   // GOSUMDB; default: Go's own
	GoPrivate    string   // GOPRIVATE
}

const (
	defaultMaxBytes = 10 << 30
	defaultTimeout  = 10 * time.Minute
)

// Tool is a command that is to run behind walls: it may read the system's
// programs and Read, and write in Dir alone.
type Tool struct {
	Path string   // absolute
	Args []string // from the program's name on
	Env  []string // its whole environment
	Dir  string   // working folder
	Read []string // further absolute paths
}

// Run runs a tool until all of it is gone, and returns the end of what it
// printed on both streams. The error is nil if the tool succeeded, and wraps
// [ErrTool] if it ran and failed. When ctx ends the tool is ended.
type Run func(ctx context.Context, t Tool) (tail string, err error)

// Folders returns the registries that are folders, which tools must be able to read.
func (c *Config) Folders() []string { return append(c.pipFolders(), c.goFolders()...) }

// ErrTool says that a tool ran and failed.
var ErrTool = errors.New("the tool failed")

// Languages that share their packages.
const (
	familyPython = "python3"
	familyBun    = "bun"
	familyGo     = "go"
)

// family returns under which language's name packages are kept; "" if the
// language has none.
func family(language string) string {
	switch language {
	case "python3":
		return familyPython
	case "bun", "deno", "nativets":
		return familyBun
	case "go":
		return familyGo
	}
	return ""
}

func (c *Config) fill() error {
	if c.Dir == "" || c.Run == nil {
		return errors.New("a cache of dependencies needs a folder and a way to run tools")
	}
	if c.AllowInstallScripts && !c.Walled {
		return sluice.Invalid("--allow-install-scripts", "needs a system on which jobs can be walled off, and this one is not")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("find the folder of dependencies: %w", err)
	}
	c.Dir = dir
	if c.MaxBytes <= 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	c.Python = find(c.Python, "/usr/bin/python3", "python3")
	c.Bun = find(c.Bun, "bun")
	c.Go = find(c.Go, "go", "/usr/local/go/bin/go")
	return nil
}

// find returns the absolute path of the first program that there is, or "".
func find(programs ...string) string {
	for _, p := range programs {
		if p == "" {
			continue
		}
		path, err := exec.LookPath(p)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err == nil {
			return path
		}
	}
	return ""
}

// tool runs a tool in dir. What went wrong is told in words for the user, doing
// being what was tried, such as "install the packages".
func (c *Cache) tool(ctx context.Context, doing string, t Tool) error {
	if t.Path == "" {
		return sluice.Errorf(sluice.CodeUnavailable, "This worker cannot %s: it has no %s.", doing, t.Args[0])
	}
	if err := os.MkdirAll(filepath.Join(t.Dir, homeName), 0o700); err != nil {
		return fmt.Errorf("make a folder for a tool: %w", err)
	}
	home := filepath.Join(c.inside(t.Dir), homeName)
	path := "/usr/local/bin:/usr/bin:/bin"
	if own := filepath.Dir(t.Path); own != "/usr/bin" && own != "/bin" {
		path = own + ":" + path
	}
	t.Env = append([]string{
		"PATH=" + path, "HOME=" + home, "TMPDIR=" + home,
		"LANG=C.UTF-8", "NO_COLOR=1", "CI=1", "GIT_TERMINAL_PROMPT=0",
	}, t.Env...)
	tail, err := c.cfg.Run(ctx, t)
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errTimeout):
		return sluice.Errorf(sluice.CodeUnavailable, "Could not %s within %v:\n%s", doing, c.cfg.Timeout, c.lastLines(tail, t.Dir))
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrTool):
		return sluice.Errorf(sluice.CodeInvalid, "Could not %s:\n%s", doing, c.lastLines(tail, t.Dir))
	}
	return &sluice.Error{Code: sluice.CodeUnavailable, Message: fmt.Sprintf("This worker could not run %s.", t.Args[0]), Err: err}
}

var errTimeout = errors.New("a tool took too long")

// inside returns the path at which a tool finds its working folder.
func (c *Cache) inside(dir string) string {
	if c.cfg.Inside != "" {
		return c.cfg.Inside
	}
	return dir
}

// homeName is a tool's own folder within its working folder.
const homeName = ".home"

// pipRetry is what pip says of each attempt to reach a registry, and then that
// there is no such package.
var pipRetry = regexp.MustCompile(`^WARNING: Retrying \(.* connection broken by '(?:.*>: )?(.*?)'?\)?': \S+$`)

// lastLines returns the end of a tool's output without what is the operator's
// alone: the folder it worked in, and passwords of registries. What it repeats is
// said once.
func (c *Cache) lastLines(tail, dir string) string {
	const most = 20
	for _, address := range append([]string{c.cfg.PipIndexURL, c.cfg.NPMRegistry, c.cfg.GoProxy}, c.cfg.PipFindLinks...) {
		for _, part := range strings.FieldsFunc(address, func(r rune) bool { return r == ',' || r == '|' }) {
			u, err := url.Parse(part)
			if err != nil || u.User == nil {
				continue
			}
			tail = strings.ReplaceAll(tail, u.User.String()+"@", "")
			if password, ok := u.User.Password(); ok && password != "" {
				tail = strings.ReplaceAll(tail, password, "***")
			}
		}
	}
	tail = strings.ReplaceAll(tail, c.inside(dir)+"/", "")
	lines := strings.Split(strings.TrimSpace(tail), "\n")
	for i, line := range lines {
		if m := pipRetry.FindStringSubmatch(line); m != nil {
			lines[i] = "The registry cannot be reached: " + m[1]
		}
	}
	lines = slices.Compact(lines)
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
