package sim

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

var (
	ctx   = context.Background()
	quiet = slog.New(slog.DiscardHandler)
)

// World is one seeded world. It is for one goroutine.
type World struct {
	seed       uint64
	prefix     string // of all names of this world, so that worlds may share a store
	space      string // its workspace
	clock      *clock
	store      store.Store
	reopen     func() (store.Store, error) // nil: the store is in memory and outlives a server
	rec        *recorder
	servers    []*server
	e          *engine.Engine // that of the server which a call under way has reached
	scripts    []*script
	scriptOf   map[string]*script // by job: as it stood when it was pushed
	queueLimit map[string]*int64  // by job: as pushed
	keys       []string
	workers    []*worker

	rows       *rows
	model      *model
	lives      map[int64]*life
	livesOf    map[string][]*life // by key
	livesByJob map[string][]*life
	passed     map[string]map[string]int // by line that has room: lines served meanwhile
	lineTag    map[string]string
	onCommit   func() // what the model learns when the call under way is committed

	agenda      agenda
	events      int64
	streams     map[string]*rand.Rand
	trouble     float64 // how likely a message is lost, late or sent twice
	crashDown   time.Duration
	incarnation int
	begin       time.Time
	beginBoot   time.Duration
	lead        time.Duration // of the store's clock before the uptime
	jumped      time.Duration // sum of the store's clock's jumps forward
	dirty       bool
	swept       bool // retention has deleted rows since they were compared
	pushes      int
	refused     int
	starts      int
	launches    int
	lost        int
	story       *strings.Builder // nil: not told
}

// event is something that is to happen.
type event struct {
	at  time.Duration // uptime
	no  int64
	run func()
}

type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].no < a[j].no
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(event)) }
func (a *agenda) Pop() any {
	old := *a
	e := old[len(old)-1]
	*a = old[:len(old)-1]
	return e
}

// after has something happen when d has passed.
func (w *World) after(d time.Duration, _ string, f func()) {
	w.events++
	heap.Push(&w.agenda, event{at: w.clock.boot + d, no: w.events, run: f})
}

func (w *World) boot() time.Duration { return w.clock.boot }

// now reads the store's clock, and takes note of its jumps.
func (w *World) now() time.Time {
	var now time.Time
	err := w.store.View(ctx, func(r store.Reader) error { now = r.Now(); return nil })
	if err != nil {
		w.fail("setup", "read the clock: %v", err)
	}
	lead := now.Sub(w.begin) - (w.clock.boot - w.beginBoot)
	if lead > w.lead {
		w.jumped += lead - w.lead
	}
	w.lead = lead
	return now
}

// tick is the time that windows are measured by: the uptime, and the forward
// jumps of the store's clock, of which the promise says that it follows them.
func (w *World) tick() time.Duration {
	w.now()
	return w.clock.boot + w.jumped
}

// at shows an instant relative to the beginning of the world.
func (w *World) at(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%.6g", t.Sub(w.begin).Seconds())
}

// clean takes this world's prefix out of a text.
func (w *World) clean(s string) string { return strings.ReplaceAll(s, w.prefix, "") }

func (w *World) name(what string, n int) string { return fmt.Sprintf("%s%s%d", w.prefix, what, n) }

// say tells an event of the story.
func (w *World) say(who, format string, args ...any) {
	if w.story == nil {
		return
	}
	fmt.Fprintf(w.story, "%10.6g s  %-8s %s\n", (w.clock.boot - w.beginBoot).Seconds(), w.clean(who), w.clean(fmt.Sprintf(format, args...)))
}

// stream returns the source of randomness of one thing, which does not depend
// on what else happens.
func (w *World) stream(label string) *rand.Rand {
	label = strings.TrimPrefix(label, w.prefix)
	if strings.HasPrefix(label, idPrefix) {
		label = short(label[:36]) + label[36:]
	}
	r := w.streams[label]
	if r == nil {
		h := fnv.New64a()
		h.Write([]byte(label))
		r = rand.New(rand.NewPCG(w.seed, h.Sum64()))
		w.streams[label] = r
	}
	return r
}

func (w *World) chance(label string, p float64) bool { return p > 0 && w.stream(label).Float64() < p }

// delay draws a time up to most, mostly in tenths of a second, so that instants
// meet, and sometimes a hair beside them.
func (w *World) delay(label string, most time.Duration) time.Duration {
	r := w.stream(label + "/delay")
	d := time.Duration(r.Int64N(int64(most/(100*time.Millisecond))+1)) * 100 * time.Millisecond
	switch r.IntN(6) {
	case 0:
		d += time.Microsecond
	case 1:
		d = max(d-time.Microsecond, 0)
	}
	return d
}

// duration draws how long a job runs.
func (w *World) duration(label string) time.Duration {
	if w.chance(label+"/long", 0.05) {
		return w.delay(label, 8*time.Second)
	}
	return w.delay(label, 2*time.Second)
}

func (w *World) worker(name string) *worker {
	for _, k := range w.workers {
		if k.name == name {
			return k
		}
	}
	w.fail("setup", "there is no worker %s", name)
	return nil
}

func broken(err error) bool { return errors.Is(err, errCrash) }

func result(success bool) json.RawMessage {
	if success {
		return json.RawMessage(`"ok"`)
	}
	return json.RawMessage(`{"error":{"name":"ExecutionErr","message":"exit status 1"}}`)
}

// committed takes over what an update has changed, change by change.
func (w *World) committed(changes []change) {
	if w.onCommit != nil {
		w.onCommit()
	}
	for i := range changes {
		w.judge(&changes[i])
		w.rows.apply(&changes[i])
		w.swept = w.swept || changes[i].swept
	}
	w.dirty = w.dirty || len(changes) > 0
}

// learning has the model learn something at the moment at which a call is
// committed, and not if it is not.
func (w *World) learning(learn func(), f func() error) error {
	w.onCommit = learn
	defer func() { w.onCommit = nil }()
	return w.call(f)
}

// settle lets the server do what it has to, then judges how things stand.
func (w *World) settle() {
	w.dispatch()
	w.forgetPassed()
	if w.dirty {
		w.dirty = false
		if w.swept {
			w.compare(true)
		}
		if err := w.rows.check(); err != nil {
			w.fail("rows", "%v", err)
		}
	}
	if w.sound() {
		w.judgeIdle()
	}
}

// sound reports whether all servers that run, at least one, can do their work.
func (w *World) sound() bool {
	list := w.answering()
	return len(list) > 0 && !w.rec.down && !slices.ContainsFunc(list, func(s *server) bool { return s.retry })
}

func (w *World) compare(swept bool) {
	w.swept = false
	if err := w.rows.compare(ctx, w.store, swept); err != nil {
		w.fail("rows", "%v", err)
	}
}

// run plays until an uptime, or until done says so.
func (w *World) run(until time.Duration, done func() bool) {
	for {
		w.settle()
		if done != nil && done() {
			return
		}
		next := until
		if len(w.agenda) > 0 {
			next = min(next, w.agenda[0].at)
		}
		for _, s := range w.answering() {
			if s.lookAt >= 0 {
				next = min(next, s.lookAt)
			}
		}
		now := w.now()
		if t := w.model.next(now); !t.IsZero() {
			next = min(next, w.clock.boot+t.Sub(now))
		}
		if next > w.clock.boot {
			w.clock.advance(next - w.clock.boot)
		} else if len(w.agenda) == 0 || w.agenda[0].at > w.clock.boot {
			if next >= until {
				return
			}
			continue
		}
		if next >= until {
			return
		}
		if len(w.agenda) > 0 && w.agenda[0].at <= w.clock.boot {
			heap.Pop(&w.agenda).(event).run()
		}
	}
}

// calm ends all faults and has the world run until nothing is left to do.
func (w *World) calm() {
	w.say("world", "all faults end")
	w.trouble = 0
	w.back()
	w.rec.crash = Crash{}
	for _, s := range w.servers {
		s.boot()
	}
	for _, k := range w.workers {
		k.cut = false
		k.thaw()
	}
	w.run(w.clock.boot+time.Second, nil) // what clients and the administrator repeat is answered now
	for _, key := range sorted(w.model.paused) {
		w.resume(key)
	}
	all := &worker{world: w, name: w.name("w", len(w.workers)+1), tags: w.tags(), places: 3}
	w.workers = append(w.workers, all)
	all.start()
	w.run(w.clock.boot+10*time.Minute, func() bool {
		for _, j := range w.rows.jobs {
			if j.State != sluice.StateCompleted {
				return false
			}
		}
		for _, x := range w.rows.execs {
			if x.Held() {
				return false
			}
		}
		return true
	})
	w.judgeEnd()
}

// judgeEnd proves that everything came to its end, once.
func (w *World) judgeEnd() {
	for _, seq := range sorted(w.rows.jobs) {
		j := w.rows.jobs[seq]
		if j.State != sluice.StateCompleted {
			w.fail("no job is lost", "job %s is still %s after ten calm minutes", short(j.ID), j.State)
		}
		lost := 0
		for _, id := range w.rows.byJob[seq] {
			if w.rows.execs[id].End == sluice.EndLost {
				lost++
			}
		}
		if j.Lost != lost && !w.rows.forgot {
			w.fail("max_lost_attempts", "job %s counts %d lost attempts; there were %d", short(j.ID), j.Lost, lost)
		}
	}
	for _, id := range sorted(w.rows.groups) {
		if g := w.rows.groups[id]; g.Held() != 0 || g.Waiting != 0 {
			w.fail("no slot leaks", "group %q ends with %d held and %d waiting", w.clean(g.Key), g.Held(), g.Waiting)
		}
	}
	for id, x := range w.rows.execs {
		if x.Held() {
			w.fail("no slot leaks", "execution %d is still held", id)
		}
	}
	if len(w.rows.lines) > 0 {
		w.fail("rows", "%d lines are left, with nobody in them", len(w.rows.lines))
	}
	w.compare(true)
}
