package sim

import (
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// Times of all worlds. They stand to each other as those of a real server do.
const (
	stopAfter = 2 * time.Second
	killGrace = 300 * time.Millisecond
	lostAfter = 4 * time.Second
	beatEvery = 800 * time.Millisecond
	retry     = 200 * time.Millisecond
)

// server is the process that an engine runs in, with its loops, of which the
// world does the steps.
type server struct {
	calls    []*call
	kicked   bool            // the Take loop was woken
	lookAt   time.Duration   // uptime at which it looks again by itself; <0: never
	retry    bool            // it waits after an error
	empty    map[string]bool // tags, joined, for which nothing was ready
	reaps    int             // numbers the timers of the reaper
	instance string
}

// call is a worker's request for work, as the server has it.
type call struct {
	w      *worker
	no     int64
	places int
	ended  *life // whose end it reports; nil: none
}

// ask is what the engine is called with.
func (c *call) ask() engine.Ask {
	a := engine.Ask{TakeRequest: sluice.TakeRequest{Worker: c.w.name, TakeNo: c.no, Tags: c.w.tags, Places: c.places}}
	if c.ended != nil {
		a.Reports = []sluice.Report{c.ended.word()}
	}
	return a
}

// bootServer starts an engine on the store, as soon as that can be reached, and
// the workers turn to it.
func (w *World) bootServer() {
	if w.up() {
		return
	}
	w.incarnation++
	e, err := engine.New(ctx, w.rec, engine.Options{
		StopAfter: stopAfter, LostAfter: lostAfter, KillGrace: killGrace, Margin: lostAfter - stopAfter - killGrace - retry,
		Retention: 10 * time.Second, Uptime: w.clock.Boot, Logger: quiet,
	})
	if err != nil {
		if w.rec.down {
			w.after(retry, "", func() { w.bootServer() })
			return
		}
		w.fail("setup", "new engine: %v", err)
	}
	w.e, w.bootedAt = e, w.boot()
	w.server = server{kicked: true, lookAt: -1, empty: map[string]bool{}, instance: w.name("server", w.incarnation)}
	w.unsubscribe = w.store.Subscribe(w.signal)
	w.reapAfter(0)
	if w.incarnation > 1 {
		w.say("server", "a new engine starts")
	}
	for _, k := range w.workers {
		k.ask()
	}
}

// signal wakes the Take loop as the engine's own does.
func (w *World) signal(s store.Signal) {
	if len(s.Tags) == 0 {
		return
	}
	w.server.kicked = true
	for key := range w.server.empty {
		for _, t := range strings.Split(key, "\n") {
			if slices.Contains(s.Tags, t) {
				delete(w.server.empty, key)
			}
		}
	}
}

// up reports whether somebody answers.
func (w *World) up() bool { return w.e != nil }

// killServer ends the server process at once. What it was doing is gone; what
// was committed is not.
func (w *World) killServer(downFor time.Duration) {
	if !w.up() {
		return
	}
	w.say("fault", "the server dies; the next starts in %s", downFor)
	w.e.Close()
	w.unsubscribe()
	w.e = nil
	old := w.server.instance
	w.server = server{lookAt: -1}
	for _, k := range w.workers {
		if k.embedded && k.instance == old {
			k.kill("its server died")
		} else {
			k.asking = false
		}
	}
	if w.reopen != nil {
		w.reopenStore()
	}
	gone := w.chance("gone", 0.7)
	w.after(downFor, "", func() {
		w.bootServer()
		if gone {
			w.must("instance gone", func() error {
				for _, k := range w.workers {
					k.gone = k.gone || k.instance == old
				}
				return w.e.InstanceGone(ctx, old)
			})
		}
	})
}

// reapAfter sets the reaper's timer.
func (w *World) reapAfter(d time.Duration) {
	w.server.reaps++
	e, no := w.e, w.server.reaps
	w.after(max(d, time.Millisecond), "", func() {
		if w.e != e || w.server.reaps != no || !w.up() {
			return
		}
		var next time.Duration
		err := w.call(func() (err error) { next, err = w.e.Reap(ctx); return err })
		if err != nil {
			next = retry
		}
		if w.e == e && w.up() {
			w.reapAfter(next)
		}
	})
}

// call makes one call to the server, and has it die of it if the crash says so.
func (w *World) call(f func() error) error {
	if !w.up() {
		return errCrash
	}
	before := w.rec.fired
	err := f()
	if w.rec.fired && !before {
		w.say("fault", "%s", w.rec.crash)
		if w.rec.crash.Die {
			w.killServer(w.crashDown)
			return errCrash
		}
	}
	return err
}

// must makes a call that is repeated until it is answered, as a careful client
// would. Answers other than a broken call are answers.
func (w *World) must(what string, f func() error) {
	err := w.call(f)
	if err == nil {
		return
	}
	if broken(err) {
		w.after(retry, "", func() { w.must(what, f) })
		return
	}
	w.say("client", "%s: %v", what, err)
}

// dispatch does what the Take loop does until it has nothing to do now.
func (w *World) dispatch() {
	for range 200 {
		s := &w.server
		due := s.lookAt >= 0 && s.lookAt <= w.boot()
		if !w.up() || !due && (!s.kicked || s.retry) {
			return
		}
		s.kicked, s.retry, s.lookAt = false, false, -1
		calls := slices.Clone(s.calls)
		asks := make([]engine.Ask, len(calls))
		for i, c := range calls {
			asks[i] = c.ask()
		}
		var got []engine.Given
		var next time.Duration
		err := w.call(func() (err error) { got, next, err = w.e.Hand(ctx, asks); return err })
		if !w.up() {
			return
		}
		s = &w.server
		if err != nil {
			if !broken(err) {
				w.fail("the next available slot", "handing out fails: %v", err)
			}
			s.retry, s.lookAt, s.calls = true, w.boot()+retry, nil
			for _, c := range calls { // all are told of the error
				c.w.asking = false
				c.w.later(retry, c.w.ask)
			}
			return
		}
		if next >= 0 {
			s.lookAt = w.boot() + next
		}
		for i, c := range calls {
			if len(got[i].Work) == 0 && c.ended == nil {
				if !s.kicked {
					s.empty[strings.Join(c.w.tags, "\n")] = true
				}
				continue
			}
			s.calls = slices.DeleteFunc(s.calls, func(o *call) bool { return o == c })
			if c.ended != nil {
				c.w.answerBoth(c, got[i])
			} else {
				c.w.answer(c.no, got[i].Work)
			}
		}
	}
	w.fail("costs nothing while it waits", "the Take loop spins")
}
