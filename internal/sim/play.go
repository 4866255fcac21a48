package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice/internal/store"
	"sluice/internal/store/sqlite"
)

// Host lends a store to one world after the other: to open one costs more than
// many a world. Worlds on one host differ in the names of all they make. A
// host is for one goroutine.
type Host struct {
	open   func(Clock) (store.Store, error)
	reopen bool // the store is opened again whenever a server dies
	clock  *clock
	store  store.Store
	worlds int
}

// Clock is what a store of a host tells the time by.
type Clock interface {
	Wall() time.Time
	Boot() time.Duration
}

// NewHost opens a store: in memory, or with a folder in a file there, which
// worlds close and open again whenever a server dies.
func NewHost(dir string) (*Host, error) {
	if dir == "" {
		return NewHostOn(false, InMemory)
	}
	return NewHostOn(true, func(c Clock) (store.Store, error) { return onSQLite(c, filepath.Join(dir, "sim.db")) })
}

// InMemory opens an empty store in memory.
func InMemory(c Clock) (store.Store, error) { return onSQLite(c, ":memory:") }

func onSQLite(c Clock, path string) (store.Store, error) {
	return sqlite.Open(ctx, path, sqlite.Options{Clock: c, Synchronous: "off", Logger: quiet, CacheKB: 2 << 10})
}

// NewHostOn opens a store with a function, and with reopen again whenever a
// server dies.
func NewHostOn(reopen bool, open func(Clock) (store.Store, error)) (*Host, error) {
	h := &Host{open: open, reopen: reopen, clock: newClock()}
	var err error
	h.store, err = open(h.clock)
	return h, err
}

// Store returns the store with all that its worlds have left.
func (h *Host) Store() store.Store { return h.store }

// Close closes the store.
func (h *Host) Close() error { return h.store.Close() }

// Options say what world to play.
type Options struct {
	Seed  uint64
	Ops   []Op // nil: those that the seed draws
	Crash Crash
	Quiet bool // no faults but the crash
	Tell  bool // keep the story
}

// Outcome is what became of a world.
type Outcome struct {
	Violation *Violation // nil: all promises were kept
	Story     string
	Ops       []Op
	Calls     int // Update calls, from which a crash may choose
	Pushes    int
	Starts    int
	Launches  int
	Lost      int // attempts declared lost
}

// Play plays one world to its end. An error means that it could not be set up.
func (h *Host) Play(o Options) (out *Outcome, err error) {
	h.worlds++
	w := h.world(o)
	if o.Ops == nil {
		o.Ops = w.drawAll(o)
	}
	out = &Outcome{Ops: o.Ops}
	defer func() {
		if p := recover(); p != nil {
			v, ok := p.(*Violation)
			if !ok {
				v = &Violation{Promise: "no panic", Text: fmt.Sprint(p)}
				if o.Tell {
					panic(p)
				}
			}
			v.Text = w.clean(v.Text)
			out.Violation = v
		}
		for _, s := range w.answering() {
			s.unsubscribe()
		}
		h.store = w.store
		out.Calls, out.Pushes, out.Starts, out.Launches, out.Lost = w.rec.calls, w.pushes, w.starts, w.launches, w.lost
		if w.story != nil {
			out.Story = w.story.String()
		}
	}()
	if err := w.setUp(); err != nil {
		return nil, fmt.Errorf("set up a world: %w", err)
	}
	w.rec.calls, w.rec.fired, w.rec.crash = 0, false, o.Crash
	last := time.Duration(0)
	for _, op := range o.Ops {
		last = max(last, op.At)
		w.after(op.At, "", func() { w.do(op) })
	}
	w.run(w.clock.boot+last+2*time.Second, nil)
	w.calm()
	return out, nil
}

func (h *Host) world(o Options) *World {
	prefix := fmt.Sprintf("w%04x-", h.worlds)
	r := newRows()
	w := &World{
		seed: o.Seed, prefix: prefix, space: prefix + "main", clock: h.clock, store: h.store, rows: r, model: newModel(r),
		lives: map[int64]*life{}, livesOf: map[string][]*life{}, livesByJob: map[string][]*life{},
		scriptOf: map[string]*script{}, queueLimit: map[string]*int64{}, passed: map[string]map[string]int{}, lineTag: map[string]string{}, streams: map[string]*rand.Rand{},
		crashDown: time.Duration(o.Seed%3) * 300 * time.Millisecond,
	}
	w.rec = &recorder{Store: h.store, committed: w.committed}
	servers := 1
	if w.chance("servers", 0.4) {
		servers += 1 + w.stream("servers").IntN(2)
	}
	for no := range servers {
		w.servers = append(w.servers, &server{w: w, no: no, lookAt: -1})
	}
	if h.reopen {
		w.reopen = func() (store.Store, error) { return h.open(h.clock) }
	}
	if o.Tell {
		w.story = &strings.Builder{}
	}
	w.begin, w.beginBoot = w.begun(), h.clock.boot
	h.clock.wall = w.begin // whatever steps the world before took
	if !o.Quiet && w.chance("trouble", 0.7) {
		w.trouble = 0.1
	}
	return w
}

func (w *World) begun() time.Time {
	var t time.Time
	if err := w.store.View(ctx, func(r store.Reader) error { t = r.Now(); return nil }); err != nil {
		w.fail("setup", "read the clock: %v", err)
	}
	return t
}

// drawAll draws a world's operations: most worlds are small, so that many fit
// in a minute, and some are not.
func (w *World) drawAll(o Options) []Op {
	r := w.stream("size")
	n := 6 + r.IntN(18)
	if r.IntN(16) == 0 {
		n *= 5
	}
	return draw(o.Seed, n, !o.Quiet && w.stream("faults").IntN(4) > 0)
}

// Shrink cuts the operations of a failing world to fewer with which it still
// breaks the same promise, and returns what it then is, with its story. It
// plays at most about `most` worlds, each on a store of its own.
func Shrink(o Options, promise string, most int) (*Outcome, error) {
	fails := func(ops []Op) (*Outcome, error) {
		dir := ""
		if o.onFile() {
			var err error
			if dir, err = os.MkdirTemp("", "sluice-sim"); err != nil {
				return nil, err
			}
			defer os.RemoveAll(dir)
		}
		h, err := NewHost(dir)
		if err != nil {
			return nil, err
		}
		o := o
		o.Ops, o.Tell = ops, true
		out, err := h.Play(o)
		if err = errors.Join(err, h.Close()); err != nil {
			return nil, err
		}
		if out.Violation == nil || out.Violation.Promise != promise {
			return nil, nil
		}
		return out, nil
	}
	best, err := fails(o.Ops)
	if best == nil || err != nil {
		return best, err
	}
	for size := max(len(best.Ops)/2, 1); size > 0 && most > 0; {
		cut := false
		for from := 0; from < len(best.Ops) && most > 0; most-- {
			to := min(from+size, len(best.Ops))
			ops := append(append([]Op{}, best.Ops[:from]...), best.Ops[to:]...)
			out, err := fails(ops)
			if err != nil {
				return nil, err
			}
			if out == nil {
				from = to
				continue
			}
			best, cut = out, true
		}
		if !cut || size == 1 {
			size /= 2
		}
		size = min(size, len(best.Ops))
	}
	return best, nil
}

// onFile reports whether a world is played on a file instead of in memory.
func (o Options) onFile() bool { return o.Seed%16 == 7 }
