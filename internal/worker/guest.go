package worker

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/worker/deps"
	"sluice/internal/worker/supervisor"
)

// A guest is an interpreter with its wrapper, behind the same walls as any job.
// It is started for a job, or ahead of one, and serves that one job; a dedicated
// one serves many jobs of one script.
type guest struct {
	begun
	dir       string
	asks      *os.File // where it is asked
	answers   *os.File // where it replies
	left      *io.LimitedReader
	lines     *bufio.Reader // of answers
	dedicated string        // script that it serves; "": one job
	served    bool          // it has served a job
	since     time.Time     // when it became idle
	packages  []*deps.Held  // that it uses, if it is dedicated
}

const (
	mostWarm = 4 // started ahead, of one kind
	// guestsKept is how long programs of a kind are started ahead after a job used
	// one, and how long a dedicated one waits for another job.
	guestsKept = 5 * time.Minute
)

// guests are those that wait for a job, and the templates.
type guests struct {
	mu        sync.Mutex
	next      int64
	warm      map[string][]*guest // by the name of their program, oldest first
	used      map[string]time.Time
	filling   map[string]bool
	dedicated map[string][]*guest // by script
	templates map[string]*supervisor.Process
	broken    map[string]bool // templates that do not work here
	closed    bool
	fills     sync.WaitGroup
}

func newGuests() *guests {
	return &guests{
		warm: make(map[string][]*guest), used: make(map[string]time.Time), filling: make(map[string]bool),
		dedicated: make(map[string][]*guest), templates: make(map[string]*supervisor.Process), broken: make(map[string]bool),
	}
}

// guest returns a program for a task: one that serves the task's script, one
// that was started ahead, or a new one.
func (w *Worker) guest(t *Task, p program) (*guest, error) {
	if t.Dedicated && p.warm != "" && t.Hash != "" {
		script := t.Workspace + "\n" + t.Hash
		if g := w.takeGuest(w.guests.dedicated, script); g != nil {
			return g, nil
		}
		p.stays = true
		g, err := w.startGuest(p)
		if err == nil {
			g.dedicated = script
		}
		return g, err
	}
	if p.warm != "" && len(p.read) == 0 {
		g := w.takeGuest(w.guests.warm, p.warm)
		w.fill(p)
		if g != nil {
			return g, nil
		}
	}
	return w.startGuest(p)
}

// takeGuest returns the newest guest of a kind that is still there.
func (w *Worker) takeGuest(kind map[string][]*guest, name string) *guest {
	s := w.guests
	s.mu.Lock()
	defer s.mu.Unlock()
	for list := kind[name]; len(list) > 0; list = kind[name] {
		g := list[len(list)-1]
		kind[name] = list[:len(list)-1]
		if len(kind[name]) == 0 {
			delete(kind, name)
		}
		select {
		case <-g.p.Gone():
			s.fills.Go(func() { w.dismiss(g) })
		default:
			return g
		}
	}
	return nil
}

// fill starts programs ahead until there are enough of them.
func (w *Worker) fill(p program) {
	s := w.guests
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[p.warm] = time.Now()
	if s.filling[p.warm] || s.closed {
		return
	}
	s.filling[p.warm] = true
	s.fills.Go(func() {
		for w.wantsMore(p.warm) {
			g, err := w.startGuest(p)
			if err != nil {
				w.log.Warn("a program could not be started ahead of its job", "program", p.warm, "err", err)
				wait(w.life, time.Second)
				continue
			}
			g.since = time.Now()
			s.mu.Lock()
			s.warm[p.warm] = append(s.warm[p.warm], g)
			s.mu.Unlock()
		}
	})
}

// wantsMore reports whether more programs of a kind are to be started ahead.
func (w *Worker) wantsMore(kind string) bool {
	s := w.guests
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filling[kind] = !s.closed && w.life.Err() == nil && len(s.warm[kind]) < min(w.cfg.Places, mostWarm) &&
		time.Since(s.used[kind]) < guestsKept
	return s.filling[kind]
}

// keep lets a dedicated guest wait for another job of its script.
func (w *Worker) keep(g *guest) {
	s := w.guests
	s.mu.Lock()
	idle := 0
	for _, list := range s.dedicated {
		idle += len(list)
	}
	if s.closed || idle >= 2*w.cfg.Places {
		s.mu.Unlock()
		w.dismiss(g)
		return
	}
	g.served, g.since = true, time.Now()
	s.dedicated[g.dedicated] = append(s.dedicated[g.dedicated], g)
	s.mu.Unlock()
}

// trim dismisses guests that have waited for too long.
func (w *Worker) trim(now time.Time) {
	for _, g := range w.guests.old(now) {
		w.dismiss(g)
	}
}

// old takes out what waits since before guestsKept, or is gone.
func (s *guests) old(now time.Time) []*guest {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*guest
	for _, kind := range []map[string][]*guest{s.warm, s.dedicated} {
		for name, list := range kind {
			rest := list[:0:0]
			for _, g := range list {
				select {
				case <-g.p.Gone():
					out = append(out, g)
					continue
				default:
				}
				if s.closed || now.Sub(g.since) > guestsKept && now.Sub(s.used[name]) > guestsKept {
					out = append(out, g)
				} else {
					rest = append(rest, g)
				}
			}
			if kind[name] = rest; len(rest) == 0 {
				delete(kind, name)
			}
		}
	}
	return out
}

// closeGuests dismisses all that wait.
func (w *Worker) closeGuests() {
	s := w.guests
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.fills.Wait()
	w.trim(time.Now())
}

// startGuest starts a program in a folder of its own.
func (w *Worker) startGuest(p program) (*guest, error) {
	if tpl := w.template(p); tpl != nil {
		g, err := w.launchGuest(p, tpl)
		if err != nil || g.began() {
			return g, err
		}
		w.log.Warn("a template does not fork; the program is executed instead", "program", p.warm, "err", g.p.Exit().Err)
		w.dismiss(g)
		w.dropTemplate(p.warm, tpl)
	}
	return w.launchGuest(p, nil)
}

// began waits until the guest is known to run, or not to.
func (g *guest) began() bool {
	select {
	case <-g.p.Launched():
		return true
	case <-g.p.Gone():
		return g.p.Exit().Launched || g.p.Exit().Err == nil
	}
}

func (w *Worker) launchGuest(p program, tpl *supervisor.Process) (g *guest, err error) {
	w.guests.mu.Lock()
	w.guests.next++
	dir := filepath.Join(w.dir, "g"+strconv.FormatInt(w.guests.next, 10))
	w.guests.mu.Unlock()
	if err := makeFolder(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	if p.files != nil && tpl == nil {
		if err := p.files(dir); err != nil {
			return nil, err
		}
	}
	stdin, asks, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for requests: %w", err)
	}
	answers, back, err := os.Pipe()
	if err != nil {
		stdin.Close()
		asks.Close()
		return nil, fmt.Errorf("make a pipe for replies: %w", err)
	}
	args := p.args
	if p.stays {
		args = append(args[:len(args):len(args)], "stay")
	}
	b, err := w.begin(supervisor.Command{
		Path: p.path, Args: args, Env: p.env, Dir: dir, Stdin: stdin, Reply: back, Linger: linger, Read: p.read, Template: tpl,
	})
	stdin.Close()
	back.Close()
	if err != nil {
		asks.Close()
		answers.Close()
		return nil, err
	}
	g = &guest{begun: b, dir: dir, asks: asks, answers: answers, left: &io.LimitedReader{R: answers, N: replyBounds + 1}}
	g.lines = bufio.NewReaderSize(g.left, 32<<10)
	return g, nil
}

// makeFolder makes a job's folder, with a folder for temporary files in it.
func makeFolder(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		if err = os.Mkdir(filepath.Join(dir, tmpName), 0o700); err != nil {
			_ = unix.Rmdir(dir)
		}
	}
	if err != nil {
		return fmt.Errorf("make the job's folder: %w", err)
	}
	return nil
}

// dismiss ends a guest, if it has not ended, and removes what it leaves.
func (w *Worker) dismiss(g *guest) {
	_ = g.p.Kill(0) // if the supervisor is gone, so is the tree
	<-g.p.Gone()
	g.asks.Close()
	g.answers.Close()
	g.reader.finish(g.out)
	w.removeTree(g.dir)
	for _, h := range g.packages {
		h.Release()
	}
}

// template returns the process that forks a program; nil: there is none.
func (w *Worker) template(p program) *supervisor.Process {
	if p.template == "" || !w.iso.PIDNamespace {
		return nil
	}
	s := w.guests
	s.mu.Lock()
	defer s.mu.Unlock()
	if tpl := s.templates[p.warm]; tpl != nil {
		select {
		case <-tpl.Gone():
		default:
			return tpl
		}
	}
	if s.broken[p.warm] || s.closed {
		return nil
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	defer null.Close()
	args := append(p.args[:len(p.args)-1:len(p.args)-1], "-c", p.template, p.wrapper, p.modules)
	tpl, err := w.launch(supervisor.Command{Path: p.path, Args: args, Env: p.env, Dir: "/", Stdout: null, Stderr: null, IsTemplate: true}, false)
	if err != nil {
		w.log.Warn("a template could not be started", "program", p.warm, "err", err)
		return nil
	}
	s.templates[p.warm] = tpl
	return tpl
}

// dropTemplate gives up a template that does not work. One that ended is
// started anew; one that lives and does not fork will not do so another time.
func (w *Worker) dropTemplate(name string, tpl *supervisor.Process) {
	w.guests.mu.Lock()
	defer w.guests.mu.Unlock()
	if w.guests.templates[name] != tpl {
		return
	}
	select {
	case <-tpl.Gone():
	default:
		w.guests.broken[name] = true
		_ = tpl.Kill(0)
	}
	delete(w.guests.templates, name)
}
