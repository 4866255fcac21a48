package sim

import (
	"fmt"
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

// server is a process that an engine runs in, with its loops, of which the
// world does the steps. When it dies, its next process takes its place.
type server struct {
	w           *World
	no          int
	e           *engine.Engine // nil: it does not run
	unsubscribe func()
	calls       []*call
	kicked      bool            // the Take loop was woken
	lookAt      time.Duration   // uptime at which it looks again by itself; <0: never
	retry       bool            // it waits after an error
	empty       map[string]bool // tags, joined, for which nothing was ready
	reaps       int             // numbers the timers of the reaper
	instance    string
	bootedAt    time.Duration // when it became ready to hear workers
	deaf        bool          // the database is away, and a heartbeat to it was not heard
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

// boot starts an engine on the store, as soon as that can be reached, and the
// workers turn to it.
func (s *server) boot() {
	w := s.w
	if s.e != nil {
		return
	}
	w.incarnation++
	e, err := engine.New(ctx, w.rec, engine.Options{
		StopAfter: stopAfter, LostAfter: lostAfter, KillGrace: killGrace, Margin: lostAfter - stopAfter - killGrace - retry,
		Retention: 10 * time.Second, Uptime: w.clock.Boot, Logger: quiet,
	})
	if err != nil {
		if w.rec.down {
			w.after(retry, "", s.boot)
			return
		}
		w.fail("setup", "new engine: %v", err)
	}
	*s = server{
		w: w, no: s.no, e: e, kicked: true, lookAt: -1, empty: map[string]bool{}, instance: w.name("server", w.incarnation),
		bootedAt: w.boot(), reaps: s.reaps,
	}
	s.unsubscribe = w.store.Subscribe(s.signal)
	s.reapAfter(0)
	if w.incarnation > len(w.servers) {
		w.say(s.String(), "a new engine starts")
	}
	for _, k := range w.workers {
		k.ask()
	}
}

func (s *server) String() string {
	if len(s.w.servers) == 1 {
		return "server"
	}
	return fmt.Sprintf("server%c", 'A'+s.no)
}

// signal wakes the Take loop as the engine's own does.
func (s *server) signal(sig store.Signal) {
	if len(sig.Tags) == 0 {
		return
	}
	s.kicked = true
	for key := range s.empty {
		for _, t := range strings.Split(key, "\n") {
			if slices.Contains(sig.Tags, t) {
				delete(s.empty, key)
			}
		}
	}
}

// up reports whether somebody answers.
func (w *World) up() bool { return len(w.answering()) > 0 }

// answering returns the servers that run.
func (w *World) answering() []*server {
	var out []*server
	for _, s := range w.servers {
		if s.e != nil {
			out = append(out, s)
		}
	}
	return out
}

// anyone returns a server that runs: whoever calls may reach any of them, and
// another one with every call. It is nil if none runs.
func (w *World) anyone() *server {
	list := w.answering()
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return oneOf(w.stream("balancer"), list)
}

// kill ends the server process at once. What it was doing is gone; what was
// committed is not.
func (s *server) kill(downFor time.Duration) {
	w := s.w
	if s.e == nil {
		return
	}
	w.say("fault", "%s dies; the next starts in %s", s, downFor)
	s.e.Close()
	s.unsubscribe()
	old, calls := s.instance, s.calls
	*s = server{w: w, no: s.no, lookAt: -1, reaps: s.reaps}
	for _, k := range w.workers {
		switch {
		case k.embedded && k.instance == old:
			k.kill("its server died")
		case slices.ContainsFunc(calls, func(c *call) bool { return c.w == k && c.no == k.takeNo }):
			k.asking = false
			k.later(0, k.ask)
		}
	}
	if w.reopen != nil && !w.up() {
		w.reopenStore()
	}
	gone := w.chance("gone", 0.7)
	w.after(downFor, "", func() {
		s.boot()
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
func (s *server) reapAfter(d time.Duration) {
	s.reaps++
	w, no := s.w, s.reaps
	w.after(max(d, time.Millisecond), "", func() {
		if s.reaps != no || s.e == nil {
			return
		}
		var next time.Duration
		err := w.callAt(s, func() (err error) { next, err = w.e.Reap(ctx); return err })
		if err != nil {
			next = retry
		}
		if s.reaps == no && s.e != nil {
			s.reapAfter(next)
		}
	})
}

// call makes one call to one of the servers, and has it die of it if the crash
// says so. The call finds the engine in w.e.
func (w *World) call(f func() error) error { return w.callAt(w.anyone(), f) }

func (w *World) callAt(s *server, f func() error) error {
	if s == nil || s.e == nil {
		return errCrash
	}
	before := w.rec.fired
	outer := w.e
	w.e = s.e
	err := f()
	w.e = outer
	if w.rec.fired && !before {
		w.say("fault", "%s", w.rec.crash)
		if w.rec.crash.Die {
			s.kill(w.crashDown)
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

// dispatch does what the Take loops do until they have nothing to do now.
func (w *World) dispatch() {
	for range 200 {
		busy := false
		for _, s := range w.servers {
			busy = s.dispatch() || busy
		}
		if !busy {
			return
		}
	}
	w.fail("costs nothing while it waits", "a Take loop spins")
}

// dispatch does one round of the Take loop, and reports whether there was one
// to do.
func (s *server) dispatch() bool {
	w := s.w
	due := s.lookAt >= 0 && s.lookAt <= w.boot()
	if s.e == nil || !due && (!s.kicked || s.retry) {
		return false
	}
	s.kicked, s.retry, s.lookAt = false, false, -1
	calls := slices.Clone(s.calls)
	asks := make([]engine.Ask, len(calls))
	for i, c := range calls {
		asks[i] = c.ask()
	}
	var got []engine.Given
	var next time.Duration
	err := w.callAt(s, func() (err error) { got, next, err = w.e.Hand(ctx, asks); return err })
	if s.e == nil {
		return true
	}
	if err != nil {
		if !broken(err) {
			w.fail("the next available slot", "handing out fails: %v", err)
		}
		s.retry, s.lookAt, s.calls = true, w.boot()+retry, nil
		for _, c := range calls { // all are told of the error
			c.w.asking = false
			c.w.later(retry, c.w.ask)
		}
		return true
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
	return true
}
