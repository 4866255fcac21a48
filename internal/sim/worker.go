package sim

import (
	"errors"
	"slices"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// worker is a simulated worker process with its supervisors. It keeps the
// contract; the world around it does not.
type worker struct {
	world    *World
	name     string
	tags     []string
	places   int
	embedded bool    // lives in a server's process
	home     *server // that server; nil: it talks to any
	instance string
	alive    bool
	frozen   bool // stopped; its supervisors are not
	cut      bool // no message arrives, either way
	careless bool // asks for work before its first heartbeat

	asking   bool // a request is under way
	takeNo   int64
	lastAck  time.Duration // sending of the last heartbeat that was answered
	epoch    int           // counts the times that it was out of touch: what it asked for before is void
	askEpoch int           // when it asked
	lives    []*life       // that it holds: received, and not yet settled with the server
	held     []func()      // what it does when it thaws
	draining bool
	heardAt  time.Duration // when a heartbeat of it was last recorded
	gone     bool          // the server was told that its instance is dead
}

// life is one execution as its worker lives it.
type life struct {
	x          int64
	job        string
	key        string
	attempt    int
	w          *worker
	prompt     bool
	pre        bool   // it runs the preprocessor
	made       string // the argument t that this makes
	void       bool   // it makes no arguments
	launched   bool
	ended      bool // its process tree is gone, or will never be
	settles    bool // its end is reported together with a request for work
	success    bool
	over       bool // settled: the server knows its end, or has given it up
	confirmed  bool
	pruned     bool
	launchTick time.Duration
	endTick    time.Duration
	launchedAt time.Time
	goneAt     time.Time
}

func (k *worker) say(format string, args ...any) { k.world.say(k.name, format, args...) }

// later does something when d has passed, or when the worker thaws, unless it
// is dead by then.
func (k *worker) later(d time.Duration, f func()) {
	var run func()
	run = func() {
		switch {
		case !k.alive:
		case k.frozen:
			k.held = append(k.held, run)
		default:
			f()
		}
	}
	k.world.after(d, "", run)
}

// reaches reports whether the worker and a server can talk.
func (k *worker) reaches() bool { return k.alive && !k.frozen && !k.cut && k.server() != nil }

// server returns whom the worker's next call reaches; nil: nobody.
func (k *worker) server() *server {
	if k.home == nil {
		return k.world.anyone()
	}
	if k.home.e == nil {
		return nil
	}
	return k.home
}

// call makes one call of the worker.
func (k *worker) call(f func() error) error { return k.world.callAt(k.server(), f) }

// inTouch reports whether it may launch and go on: the deadline of its
// supervisors has not passed.
func (k *worker) inTouch() bool { return k.world.boot() < k.lastAck+stopAfter }

func (k *worker) start() {
	k.alive, k.lastAck = true, k.world.boot()
	k.say("starts, with %d places for %v", k.places, k.tags)
	k.watch()
	if k.careless {
		k.ask()
		k.later(beatEvery, k.beat)
		return
	}
	k.beat()
	k.ask()
}

// watch has the supervisors end everything when the deadline passes.
func (k *worker) watch() {
	sent := k.lastAck
	k.world.after(stopAfter, "", func() {
		if k.lastAck != sent {
			return
		}
		for _, l := range slices.Clone(k.lives) {
			if l.launched && !l.ended {
				k.say("the supervisor of %s ends it: out of touch for %s", l, stopAfter)
				l.end(false)
			}
		}
	})
}

// ask asks for work for the free places, if there are any.
func (k *worker) ask() { k.askWith(nil) }

// askWith asks in one call with the report of an end, and tells whether it did.
func (k *worker) askWith(ended *life) bool {
	if k.asking || k.draining || !k.reaches() || !k.inTouch() {
		return false
	}
	free := k.places
	for _, l := range k.lives {
		if !l.ended {
			free--
		}
	}
	if free <= 0 {
		return false
	}
	k.asking, k.askEpoch = true, k.epoch
	k.takeNo++
	s := k.server()
	s.calls = append(s.calls, &call{w: k, no: k.takeNo, places: free, ended: ended})
	key := ""
	for i, t := range k.tags {
		if i > 0 {
			key += "\n"
		}
		key += t
	}
	if !s.empty[key] || ended != nil {
		s.kicked = true
	}
	return true
}

// giveUp ends a request that is not answered. The server may not notice.
func (k *worker) giveUp() {
	if !k.asking {
		return
	}
	k.asking = false
	if k.world.chance(k.name+"/noticed", 0.5) {
		for _, s := range k.world.servers {
			s.calls = slices.DeleteFunc(s.calls, func(c *call) bool { return c.w == k })
		}
	}
}

// answer is what the server sends: it may be lost, or late.
func (k *worker) answer(no int64, as []sluice.Assignment) {
	w := k.world
	for _, a := range as {
		w.say("server", "gives job %s, attempt %d, to %s%s", short(a.JobID), a.Attempt, k.name, entry(a))
		w.judgeEntry(a)
	}
	switch {
	case !k.alive || k.cut || w.chance(k.name+"/lost", w.trouble/2):
		w.say("fault", "the answer never reaches %s", k.name)
		w.askAbout(as[0].JobID)
		k.later(time.Second, func() {
			if k.takeNo == no {
				k.giveUp()
				k.ask()
			}
		})
	case w.chance(k.name+"/slow", w.trouble):
		k.later(w.delay(k.name, 3*time.Second), func() { k.receive(no, as) })
		k.later(1500*time.Millisecond, func() {
			if k.takeNo == no && k.asking {
				k.giveUp()
				k.ask()
			}
		})
	default:
		k.later(0, func() { k.receive(no, as) })
	}
}

func (k *worker) receive(no int64, as []sluice.Assignment) {
	if !k.asking || k.takeNo != no {
		return // given up: these it will not start
	}
	k.asking = false
	if k.askEpoch != k.epoch {
		k.say("drops what it asked for before it was out of touch")
		k.ask()
		return
	}
	for _, a := range as {
		j := k.world.rows.job(a.JobID)
		l := &life{x: a.Execution, job: a.JobID, key: j.Key, attempt: a.Attempt, w: k, prompt: a.Prompt, pre: a.Entry == sluice.EntryPreprocessor}
		k.lives = append(k.lives, l)
		k.world.lives[l.x] = l
		k.world.livesOf[j.Key] = append(k.world.livesOf[j.Key], l)
		k.world.livesByJob[a.JobID] = append(k.world.livesByJob[a.JobID], l)
		var d time.Duration
		if k.world.chance(k.name+"/stall", k.world.trouble) {
			d = k.world.delay(k.name, 3*time.Second)
		}
		k.later(d, l.launch)
	}
	k.ask()
}

// kill ends the worker process: its supervisors end all trees at once.
func (k *worker) kill(why string) {
	if !k.alive {
		return
	}
	k.say("is dead: %s", why)
	for _, l := range k.lives {
		l.end(false)
		l.over = true
	}
	k.alive, k.lives, k.held = false, nil, nil
	k.giveUp()
}

// thaw lets a stopped worker go on.
func (k *worker) thaw() {
	if !k.frozen || !k.alive {
		return
	}
	k.frozen = false
	k.say("goes on")
	held := k.held
	k.held = nil
	for _, f := range held {
		f()
	}
}

// beat sends a heartbeat, which may come late, or not at all, or whose answer
// may be lost; and again, as long as the worker lives.
func (k *worker) beat() {
	w := k.world
	k.later(beatEvery, k.beat)
	settled := k.takeNo
	if k.asking {
		settled--
	}
	hb := sluice.Heartbeat{Worker: k.name, Instance: k.instance, Tags: k.tags, Places: k.places, SettledTake: settled}
	for _, l := range k.lives {
		hb.Holds = append(hb.Holds, l.x)
	}
	sent := w.boot()
	lost := w.chance(k.name+"/beat", w.trouble/2)
	if lost || !k.reaches() {
		return
	}
	if w.chance(k.name+"/late", w.trouble/2) {
		w.after(w.delay(k.name, time.Second), "", func() { k.deliver(hb, sent) })
		return
	}
	k.deliver(hb, sent)
}

func (k *worker) deliver(hb sluice.Heartbeat, sent time.Duration) {
	w := k.world
	s := k.server()
	if s == nil || k.cut {
		return
	}
	var orders []sluice.Order
	err := w.callAt(s, func() (err error) { orders, err = w.e.Heartbeat(ctx, hb); return err })
	if err != nil {
		s.deaf = s.deaf || w.rec.down
		if !broken(err) {
			w.fail("crash-safe", "heartbeat of %s: %v", k.name, err)
		}
		return
	}
	k.heardAt, k.gone = w.boot(), false
	if !k.alive || k.frozen || k.cut || w.chance(k.name+"/ack", w.trouble/2) {
		return
	}
	if sent > k.lastAck {
		if !k.inTouch() {
			k.void()
			k.later(0, k.ask)
		}
		k.lastAck = sent
		k.watch()
	}
	for _, o := range orders {
		k.obey(o)
	}
}

// void gives up what was received and not launched before the worker was out
// of touch: the server may have given it to somebody else meanwhile, and the
// heartbeat that ends the silence must not make it look sound again.
func (k *worker) void() {
	k.epoch++
	for _, l := range slices.Clone(k.lives) {
		if !l.launched && !l.ended {
			k.say("gives %s up: out of touch before its launch", l)
			l.ended = true
			k.later(0, l.handBack)
		}
	}
}

func (k *worker) obey(o sluice.Order) {
	for _, l := range slices.Clone(k.lives) {
		switch {
		case l.x != o.Execution:
		case o.Forget:
			l.end(false)
			l.settle()
		case o.Kill && !l.ended:
			k.later(k.world.delay(k.name, killGrace), func() {
				if !l.ended {
					l.end(false)
					k.later(0, l.report)
				}
			})
		}
	}
}

// String names the job.
func (l *life) String() string { return "job " + short(l.job) }

// launch starts the process, or hands the job back.
func (l *life) launch() {
	k, w := l.w, l.w.world
	x := w.rows.execs[l.x]
	switch {
	case l.ended:
		return
	case !k.inTouch():
		k.say("does not launch %s: out of touch", l)
		l.ended = true
		k.later(0, l.report)
		return
	case w.chance(l.job+"/back", w.trouble/2) || k.draining:
		k.say("hands %s back", l)
		w.askAbout(l.job)
		l.ended = true
		k.later(0, l.handBack)
		return
	case x == nil || !x.Held():
		w.fail("crash-safe", "%s launches %s, attempt %d, though the server has given it up (%s)", k.name, l, l.attempt, x.End)
	}
	for _, o := range w.livesByJob[l.job] {
		if o.launched && !o.ended {
			w.fail("one life at a time", "%s launches %s, attempt %d, while attempt %d runs on %s", k.name, l, l.attempt, o.attempt, o.w.name)
		}
	}
	l.launched, l.launchTick, l.launchedAt = true, w.tick(), w.now()
	w.launches++
	k.say("launches %s, attempt %d", l, l.attempt)
	if l.prompt || w.chance(l.job+"/confirm", 0.3) {
		k.later(0, l.confirm)
	}
	k.later(w.duration(l.job), func() {
		if !l.ended {
			l.end(!w.chance(l.job+"/bad", 0.2))
			k.later(0, l.report)
		}
	})
}

// end is the end of the process tree.
func (l *life) end(success bool) {
	if l.ended {
		return
	}
	w := l.w.world
	l.ended, l.success, l.endTick, l.goneAt = true, success, w.tick(), w.now()
	if l.launched {
		l.w.say("%s, attempt %d, ends", l, l.attempt)
	}
	l.settles = w.chance(l.job+"/settles", 0.5)
	if l.w.alive && !l.w.frozen && !l.settles {
		l.w.later(0, l.w.ask)
	}
	if l.w.alive && !success { // killed by its supervisor, or told to: it is reported like any end
		l.w.later(retry, l.report)
	}
}

// settle strikes an execution off the worker's list.
func (l *life) settle() {
	l.over = true
	l.w.lives = slices.DeleteFunc(l.w.lives, func(o *life) bool { return o == l })
}

// send makes a call about a life, and repeats it until it is answered.
func (l *life) send(what string, f func() error, again func(), answered func(error)) {
	k, w := l.w, l.w.world
	if l.over {
		return
	}
	if !k.reaches() || w.chance(k.name+"/out", w.trouble/2) {
		k.later(retry, again)
		return
	}
	err := k.call(f)
	if broken(err) || w.chance(k.name+"/in", w.trouble/2) {
		k.later(retry, again)
		return
	}
	if err != nil {
		k.say("%s %s: %v", what, l, err)
	}
	answered(err)
}

func (l *life) confirm() {
	if l.confirmed || l.over {
		return
	}
	w := l.w.world
	l.send("confirms", func() error { return w.e.Confirm(ctx, l.w.name, []int64{l.x}) }, l.confirm, func(error) { l.confirmed = true })
}

func (l *life) handBack() {
	w := l.w.world
	l.send("hands back", func() error { return w.e.HandBack(ctx, l.w.name, []int64{l.x}) }, l.handBack, func(error) {
		l.settle()
		l.w.ask()
	})
}

// word is the report of its end.
func (l *life) word() sluice.Report {
	return sluice.Report{Execution: l.x, Worker: l.w.name, Success: l.success, Launched: l.launched, Result: l.result()}
}

// settleAsking reports an end and asks for work in one call, which is repeated
// in two if it is not answered in time. It tells whether it made the call.
func (l *life) settleAsking() bool {
	k := l.w
	if l.over || k.world.chance(k.name+"/out", k.world.trouble/2) || !k.askWith(l) {
		return false
	}
	no := k.takeNo
	k.later(1500*time.Millisecond, func() {
		if k.takeNo == no {
			k.giveUp()
		}
		l.report()
		k.ask()
	})
	return true
}

// answerBoth answers a report that came with a request for work; it may be
// lost, or late.
func (k *worker) answerBoth(c *call, got engine.Given) {
	w := k.world
	for _, a := range got.Work {
		w.say("server", "gives job %s, attempt %d, to %s%s for the report of %s", short(a.JobID), a.Attempt, k.name, entry(a), c.ended)
		w.judgeEntry(a)
	}
	w.judgeAnswer(c.ended.x, errors.Join(got.Errs...))
	var late time.Duration
	switch {
	case !k.alive || k.cut || w.chance(k.name+"/lost", w.trouble/2):
		w.say("fault", "the answer never reaches %s", k.name)
		return
	case w.chance(k.name+"/slow", w.trouble):
		late = w.delay(k.name, 3*time.Second)
	}
	k.later(late, func() {
		c.ended.settle()
		k.receive(c.no, got.Work)
	})
}

func (l *life) report() {
	w := l.w.world
	if l.settles {
		l.settles = false
		if l.settleAsking() {
			return
		}
	}
	r := l.word()
	again := func() { w.tell(r) }
	l.send("reports", func() error { return errors.Join(w.e.Report(ctx, []sluice.Report{r})...) }, l.report, func(err error) {
		w.judgeAnswer(l.x, err)
		l.settle()
		l.w.ask()
		if w.chance(l.job+"/twice", w.trouble) {
			w.after(w.delay(l.job, 6*time.Second), "", again)
		}
	})
}

// tell sends a report that was answered long ago once more.
func (w *World) tell(r sluice.Report) {
	if !w.up() {
		return
	}
	w.say(r.Worker, "reports %s once more", short(w.rows.execs[r.Execution].JobID))
	err := w.call(func() error { return errors.Join(w.e.Report(ctx, []sluice.Report{r})...) })
	if !broken(err) {
		w.judgeAnswer(r.Execution, err)
	}
}

// judgeAnswer proves that a report is accepted, however often it comes, unless
// the execution was given up: then it is refused with conflict.
func (w *World) judgeAnswer(execution int64, err error) {
	x := w.rows.execs[execution]
	switch {
	case x == nil: // deleted by retention
	case (err == nil) != (x.End == sluice.EndReported || x.End == sluice.EndPrepared):
		w.fail("crash-safe", "a report of job %s, attempt %d, which is over (%s), is answered with: %v", short(x.JobID), x.Attempt, x.End, err)
	case err != nil && sluice.CodeOf(err) != sluice.CodeConflict:
		w.fail("crash-safe", "a late report of job %s: %v", short(x.JobID), err)
	}
}
