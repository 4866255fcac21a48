package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/internal/mask"
	"sluice/internal/worker/deps"
	"sluice/internal/worker/supervisor"
)

// Config is what [New] needs.
type Config struct {
	Name     string   // unique among all workers, ever; required
	Instance string   // host or server process, for people
	Group    string   // worker group, for people; default "default"
	Version  string   // for people
	Address  string   // for people
	Tags     []string // default [DefaultTags]
	Places   int      // jobs at a time, 1 … 10,000; default 1
	// Dir holds a folder for the worker with one for each job; default: the
	// system's folder for temporary files. Several workers may share it.
	Dir     string
	Source  Source // required
	BaseURL string // where jobs reach the server
	// NewestURL is asked for that address for each job, where it may change; nil: it does not.
	NewestURL func() string

	// StopAfter is how long the worker's jobs live on after the sending of the
	// last acknowledged heartbeat; default 60 s.
	StopAfter      time.Duration
	HeartbeatEvery time.Duration // default StopAfter/6
	KillGrace      time.Duration // between TERM and KILL; default 5 s
	DefaultTimeout time.Duration // of jobs that give none; default 1 h
	TakeWait       time.Duration // how long a Take waits for work; default 30 s, at most 60 s

	// Dependencies says how packages are found. They are kept in Cache; the worker
	// sets what else the walls ask for.
	Dependencies deps.Config
	// Executors by language; default [Languages].
	Executors map[string]Executor
	// Isolation of the jobs' processes; nil: [supervisor.Probe] finds the
	// strongest up to Level, whose default is [supervisor.LevelBestEffort].
	Isolation *supervisor.Isolation
	Level     supervisor.Level
	NoNetwork bool              // jobs reach no network, the server included
	Limits    supervisor.Limits // of each job; default [DefaultLimits]
	DiskBytes int64             // that a job's folder may hold; default 1 GiB
	Read      []string          // paths that every job may read beside the system's
	// Cache holds what jobs share and cannot write, such as dependencies;
	// default: a folder in Dir.
	Cache string
	// InstanceLock is kept open by the supervisor until all process trees are
	// gone, whatever becomes of this process; may be nil.
	InstanceLock *os.File
	Logger       *slog.Logger // default [slog.Default]
}

func (c *Config) fill() error {
	if c.Name == "" || c.Source == nil {
		return errors.New("a worker needs a name and a source")
	}
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&c.StopAfter, time.Minute)
	set(&c.HeartbeatEvery, c.StopAfter/6)
	set(&c.KillGrace, 5*time.Second)
	set(&c.DefaultTimeout, time.Hour)
	set(&c.TakeWait, 30*time.Second)
	if c.StopAfter <= 0 || c.HeartbeatEvery <= 0 || c.HeartbeatEvery >= c.StopAfter {
		return fmt.Errorf("heartbeats every %v cannot keep a lease of %v", c.HeartbeatEvery, c.StopAfter)
	}
	c.Places = max(c.Places, 1)
	if c.NewestURL == nil {
		c.NewestURL = func() string { return c.BaseURL }
	}
	if c.Group == "" {
		c.Group = "default"
	}
	if len(c.Tags) == 0 {
		c.Tags = DefaultTags()
	}
	if c.Executors == nil {
		c.Executors = Languages()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Level == "" {
		c.Level = supervisor.LevelBestEffort
	}
	if c.Limits == (supervisor.Limits{}) {
		c.Limits = DefaultLimits
	}
	if c.DiskBytes <= 0 {
		c.DiskBytes = 1 << 30
	}
	return nil
}

// DefaultLimits bound a job unless the worker is told otherwise.
var DefaultLimits = supervisor.Limits{MemoryBytes: 2 << 30, Processes: 512, OpenFiles: 4096, FileBytes: 1 << 30}

// Worker runs jobs for one [Source]. Make it with [New], then call [Worker.Run] once.
type Worker struct {
	cfg       Config
	log       *slog.Logger
	iso       supervisor.Isolation
	dir       string // absolute
	cache     string // absolute
	deps      *deps.Cache
	guests    *guests
	languages []string
	missing   []string

	life    context.Context // ends when the last report is through
	end     context.CancelFunc
	taking  context.Context // ends when no more work is wanted
	stop    context.CancelFunc
	loops   sync.WaitGroup
	takeC   chan struct{} // something changed for the take loop
	clockC  chan struct{} // something changed for the clock
	reportC chan struct{} // a report is ready
	confC   chan struct{} // a confirmation is due

	procMu sync.Mutex // guards the three below, while they are being made
	sup    *supervisor.Supervisor
	online *supervisor.Supervisor // of tools that need the network, if jobs have none
	reader *outputReader

	mu       sync.Mutex
	changed  *sync.Cond // running or held shrank
	held     map[int64]*held
	running  int // held executions whose end is not yet known
	free     int // places neither running, nor asked for, nor waiting for a report to ask for them
	takeNo   int64
	takes    map[int64]struct{} // outstanding
	ready    []*held            // whose reports are to be sent
	confirms []*held            // launched, not yet confirmed
	jobsRun  int64
	lease    time.Duration // boot instant; 0: no heartbeat acknowledged yet
	draining bool

	takeRetry, launchRetry *backoff
}

// held is one execution that the worker holds, until the source has acknowledged
// its end. All but the first group is guarded by the worker's mutex.
type held struct {
	sluice.Assignment
	log     *jobLog
	stream  *jobLog
	secrets *mask.Set
	room    chan struct{} // the log's buffer has room again
	hurry   chan struct{} // closed: no grace any more
	ctx     context.Context
	cancel  context.CancelCauseFunc

	dir        string // of the job, while it runs; "" if it has none
	deadline   time.Time
	stop       *Stop
	forget     bool
	hurried    bool
	done       bool
	launched   bool
	launchedAt time.Time
	confirmed  bool
	report     sluice.Report
	place      bool // its place is still booked: the report asks for the next job
}

// New makes a worker. It finds out what isolation and which runtimes there are,
// and makes the worker's folder.
func New(cfg Config) (*Worker, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, log: cfg.Logger.With("worker", cfg.Name), free: cfg.Places,
		held: make(map[int64]*held), takes: make(map[int64]struct{}),
		takeC: make(chan struct{}, 1), clockC: make(chan struct{}, 1),
		reportC: make(chan struct{}, 1), confC: make(chan struct{}, 1), guests: newGuests(),
	}
	w.takeRetry = newBackoff(100*time.Millisecond, 10*time.Second)
	w.launchRetry = newBackoff(time.Second, 30*time.Second)
	w.changed = sync.NewCond(&w.mu)
	w.life, w.end = context.WithCancel(context.Background())
	w.taking, w.stop = context.WithCancel(w.life)
	for _, language := range slices.Sorted(maps.Keys(cfg.Executors)) {
		if r, ok := cfg.Executors[language].(Runtime); ok && r.Available() != nil {
			w.log.Warn("a language is missing: its jobs will fail", "language", language, "err", r.Available())
			w.missing = append(w.missing, language)
			continue
		}
		w.languages = append(w.languages, language)
	}
	if err := w.makeFolders(); err != nil {
		return nil, err
	}
	var err error
	if cfg.Isolation != nil {
		w.iso = *cfg.Isolation
	} else if w.iso, err = supervisor.Probe(cfg.Level, w.walls()); err != nil {
		_ = os.RemoveAll(w.dir)
		return nil, fmt.Errorf("find out how jobs can be isolated: %w", err)
	}
	if w.deps, err = w.openDependencies(); err != nil {
		_ = os.RemoveAll(w.dir)
		return nil, err
	}
	return w, nil
}

// walls is what every supervisor of the worker is started with.
func (w *Worker) walls() supervisor.Config {
	return supervisor.Config{
		Isolation: w.iso, InstanceLock: w.cfg.InstanceLock, Limits: w.cfg.Limits, NoNetwork: w.cfg.NoNetwork,
		Jobs: w.dir, Read: w.cfg.Read, Shared: append(w.cfg.Dependencies.Folders(), w.cache),
	}
}

// makeFolders makes the worker's own folder, and that of what its jobs share.
func (w *Worker) makeFolders() error {
	base := w.cfg.Dir
	if base == "" {
		base = os.TempDir()
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return fmt.Errorf("find the folder for jobs: %w", err)
	}
	if w.cache = w.cfg.Cache; w.cache == "" {
		w.cache = filepath.Join(base, "cache")
	}
	if w.cache, err = filepath.Abs(w.cache); err != nil {
		return fmt.Errorf("find the cache: %w", err)
	}
	for _, dir := range []string{base, w.cache} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the folder for jobs: %w", err)
		}
	}
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune("/*\x00", r) {
			return '_'
		}
		return r
	}, w.cfg.Name)
	if w.dir, err = os.MkdirTemp(base, plain[:min(len(plain), 64)]+"-"); err != nil {
		return fmt.Errorf("make the worker's folder: %w", err)
	}
	spread(w.dir)
	return nil
}

// spread asks the file system to put the folders made in dir far from one
// another, as those of different owners of a machine. An ext4 without a journal
// does not use a file's number again for a while, and where jobs' folders come
// and go by the hundred it searches long for one in the same place. What does
// not know the mark ignores it.
func spread(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	fd := int(f.Fd())
	if flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|topDir)
	}
}

const topDir = 0x20000 // FS_TOPDIR_FL

// Isolation says how the worker's jobs are walled off.
func (w *Worker) Isolation() supervisor.Isolation { return w.iso }

// Run takes and runs jobs until [Worker.Drain] has returned, or until ctx ends;
// then it ends the running jobs with the grace, reports them, and returns.
func (w *Worker) Run(ctx context.Context) error {
	for _, loop := range []func(){w.heartbeatLoop, w.takeLoop, w.ordersLoop, w.confirmLoop, w.reportLoop, w.clockLoop, w.diskLoop} {
		w.loops.Go(loop)
	}
	select {
	case <-ctx.Done():
		if err := w.Drain(ctx); err != nil && !errors.Is(err, ctx.Err()) {
			w.log.Warn("the worker ended before all was reported", "err", err)
		}
	case <-w.life.Done():
	}
	w.loops.Wait()
	w.closeGuests()
	w.deps.Close()
	var err error
	w.procMu.Lock()
	defer w.procMu.Unlock()
	for _, sup := range []*supervisor.Supervisor{w.sup, w.online} {
		if sup != nil {
			err = errors.Join(err, sup.Close())
		}
	}
	if w.reader != nil {
		w.reader.close()
	}
	if e := deps.RemoveAll(w.dir); e != nil && err == nil {
		err = fmt.Errorf("remove the worker's folder: %w", e)
	}
	return err
}

// reportGrace is how long a draining worker tries to report what has ended.
const reportGrace = 10 * time.Second

// Drain stops taking work, hands back what was not launched, and waits for the
// running jobs; when ctx ends it ends those that are left, with the grace. It
// returns when every end has been reported, after which Run returns, or ten
// seconds after the last job's end with an error if the source does not answer.
// If ctx ended first the error is that of ctx.
func (w *Worker) Drain(ctx context.Context) error {
	w.mu.Lock()
	w.draining = true
	w.mu.Unlock()
	w.stop()
	defer w.end()
	waited := w.waitUntil(ctx, func() bool { return w.running == 0 && len(w.takes) == 0 })
	if !waited {
		w.stopAll(Stop{Name: FailureShutdown, Reason: "The worker was shut down before the job had ended."})
		patience, cancel := context.WithTimeout(context.Background(), w.cfg.KillGrace+time.Minute)
		defer cancel()
		if !w.waitUntil(patience, func() bool { return w.running == 0 }) {
			return errors.New("some processes could not be ended")
		}
	}
	late, cancel := context.WithTimeout(context.Background(), reportGrace)
	defer cancel()
	if !w.waitUntil(late, func() bool { return len(w.held) == 0 }) {
		return errors.New("some ends could not be reported")
	}
	w.heartbeat(late) // the last word: nothing is held, every take is settled
	if !waited {
		return ctx.Err()
	}
	return nil
}

// waitUntil waits until a condition on the worker's state holds; false: ctx ended first.
func (w *Worker) waitUntil(ctx context.Context, holds func() bool) bool {
	defer context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed.Broadcast()
	})()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !holds() {
		if ctx.Err() != nil {
			return false
		}
		w.changed.Wait()
	}
	return true
}

// supervisor returns the running supervisor, and starts one if there is none.
// Online asks for one whose programs have a network, which jobs may not have.
func (w *Worker) supervisor(online bool) (*supervisor.Supervisor, error) {
	w.procMu.Lock()
	defer w.procMu.Unlock()
	at, cfg := &w.sup, w.walls()
	if online && cfg.NoNetwork {
		at, cfg.NoNetwork = &w.online, false
	}
	if *at != nil {
		select {
		case <-(*at).Done():
			w.log.Error("the supervisor process was killed; starting another")
			_ = (*at).Close()
			*at = nil
		default:
			return *at, nil
		}
	}
	sup, err := supervisor.Start(cfg)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	lease := w.lease
	w.mu.Unlock()
	if err := sup.Extend(lease); err != nil {
		_ = sup.Close()
		return nil, err
	}
	*at = sup
	return sup, nil
}

// launch launches a command; if the supervisor turns out to be dead, under another.
func (w *Worker) launch(c supervisor.Command, online bool) (*supervisor.Process, error) {
	sup, err := w.supervisor(online)
	if err != nil {
		return nil, err
	}
	p, err := sup.Launch(c)
	if errors.Is(err, supervisor.ErrDead) {
		<-sup.Done()
		if sup, err = w.supervisor(online); err == nil {
			p, err = sup.Launch(c)
		}
	}
	return p, err
}

func (w *Worker) outputReader() (*outputReader, error) {
	w.procMu.Lock()
	defer w.procMu.Unlock()
	if w.reader == nil {
		r, err := newOutputReader()
		if err != nil {
			return nil, err
		}
		w.reader = r
	}
	return w.reader, nil
}

// nudge wakes the loop that waits on c.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
