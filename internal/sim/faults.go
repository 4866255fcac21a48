package sim

import (
	"math/rand/v2"
	"time"

	"sluice/internal/engine"
	"sluice/internal/store"
)

// living returns the workers that live.
func (w *World) living() []*worker {
	var out []*worker
	for _, k := range w.workers {
		if k.alive {
			out = append(out, k)
		}
	}
	return out
}

func (w *World) addWorker(r *rand.Rand) {
	k := &worker{world: w, name: w.name("w", len(w.workers)+1), places: 1 + r.IntN(3), careless: r.IntN(5) == 0}
	for len(k.tags) == 0 {
		for _, t := range w.tags() {
			if r.IntN(2) == 0 {
				k.tags = append(k.tags, t)
			}
		}
	}
	if list := w.answering(); r.IntN(3) == 0 && len(list) > 0 {
		k.embedded, k.home = true, list[r.IntN(len(list))]
		k.instance = k.home.instance
	}
	w.workers = append(w.workers, k)
	k.start()
}

func (w *World) opWorker(r *rand.Rand) { w.addWorker(r) }

func (w *World) opKill(r *rand.Rand) {
	if list := w.living(); len(list) > 0 {
		oneOf(r, list).kill("killed with -9")
	}
}

func (w *World) opFreeze(r *rand.Rand) {
	list := w.living()
	if len(list) == 0 {
		return
	}
	k, d := oneOf(r, list), time.Duration(1+r.IntN(60))*100*time.Millisecond
	if k.frozen {
		return
	}
	k.say("is stopped for %s", d)
	k.frozen = true
	w.after(d, "", k.thaw)
}

func (w *World) opCut(r *rand.Rand) {
	list := w.living()
	if len(list) == 0 {
		return
	}
	k, d := oneOf(r, list), time.Duration(1+r.IntN(60))*100*time.Millisecond
	if k.cut {
		return
	}
	k.say("is cut off for %s", d)
	k.cut = true
	k.later(1500*time.Millisecond, func() {
		if k.cut {
			k.giveUp()
		}
	})
	w.after(d, "", func() {
		k.cut = false
		k.later(0, k.ask)
	})
}

func (w *World) opDrain(r *rand.Rand) {
	if list := w.living(); len(list) > 1 {
		k := oneOf(r, list)
		k.say("drains")
		k.draining = true
		k.giveUp()
	}
}

func (w *World) opDie(r *rand.Rand) {
	w.servers[r.IntN(len(w.servers))].kill(time.Duration(r.IntN(60)) * 100 * time.Millisecond)
}

func (w *World) opAway(r *rand.Rand) {
	d := time.Duration(1+r.IntN(60)) * 100 * time.Millisecond
	if w.rec.down {
		return
	}
	w.say("fault", "the database is away for %s", d)
	w.rec.down = true
	w.after(d, "", w.back)
}

// back ends the absence of the database.
func (w *World) back() {
	if !w.rec.down {
		return
	}
	w.say("fault", "the database is back")
	w.rec.down = false
	for _, s := range w.servers {
		if s.deaf {
			s.deaf, s.bootedAt = false, w.boot()
		}
	}
}

func (w *World) opStep(r *rand.Rand) {
	d := time.Duration(1+r.IntN(60)) * time.Minute
	if r.IntN(2) == 0 {
		d = -d
	}
	w.say("fault", "the wall clock steps by %s", d)
	w.clock.step(d)
	w.now()
	for _, s := range w.servers {
		s.kicked = s.e != nil // the store tells of the step, and the loop looks again
	}
}

func (w *World) opClean(_ *rand.Rand) {
	w.say("server", "looks after retention")
	w.must("retention", func() error { _, err := w.e.Clean(ctx); return err })
}

// reopenStore closes the database and opens it again, as a new process would.
func (w *World) reopenStore() {
	if err := w.store.Close(); err != nil {
		w.fail("setup", "close the store: %v", err)
	}
	s, err := w.reopen()
	if err != nil {
		w.fail("setup", "open the store: %v", err)
	}
	w.store, w.rec.Store = s, s
	w.now()
}

// setUp makes the workspace, the scripts and the first workers, before any
// fault.
func (w *World) setUp() error {
	r := rand.New(rand.NewPCG(w.seed, 3))
	e, err := engine.New(ctx, w.store, engine.Options{StopAfter: stopAfter, LostAfter: lostAfter, KillGrace: killGrace, Margin: time.Second, Logger: quiet})
	if err != nil {
		return err
	}
	defer e.Close()
	if err := e.CreateWorkspace(ctx, store.Workspace{ID: w.space}); err != nil {
		return err
	}
	for i := range 2 + r.IntN(4) {
		s := drawScript(w, r, "f/"+string(rune('p'+i)))
		w.scripts = append(w.scripts, s)
		w.say("admin", "saves %s", s.body())
		if _, err := e.SaveScript(ctx, w.space, engine.NewScript{Body: s.body(), CreatedBy: "admin"}); err != nil {
			return err
		}
		w.keys = append(w.keys, w.space+"/script/"+s.path)
	}
	w.keys = append(w.keys, w.prefix+"shared", w.prefix+"shared", w.prefix+"shared", w.prefix+"of-x", w.prefix+"of-y")
	for _, s := range w.servers {
		s.boot()
	}
	for range 1 + r.IntN(4) {
		w.addWorker(r)
	}
	return nil
}
