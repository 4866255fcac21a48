package sim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/limit"
)

// Op is one thing that clients, an administrator or bad luck do.
type Op struct {
	At   time.Duration // since the beginning
	Kind string
	Seed uint64 // of all that it chooses
}

// String names the operation.
func (o Op) String() string { return fmt.Sprintf("%.6g s %s", o.At.Seconds(), o.Kind) }

// kinds are the operations and how often each is drawn.
var kinds = []struct {
	name   string
	weight int
	do     func(w *World, r *rand.Rand)
}{
	{"push", 50, (*World).opPush},
	{"why", 22, (*World).opWhy},
	{"cancel", 6, (*World).opCancel},
	{"cancel key", 1, (*World).opCancelKey},
	{"override", 5, (*World).opOverride},
	{"clear override", 2, (*World).opClear},
	{"pause", 2, (*World).opPause},
	{"resume", 2, (*World).opResume},
	{"prune", 2, (*World).opPrune},
	{"save script", 3, (*World).opSave},
	{"kill worker", 2, (*World).opKill},
	{"freeze worker", 3, (*World).opFreeze},
	{"cut worker off", 3, (*World).opCut},
	{"drain worker", 1, (*World).opDrain},
	{"new worker", 3, (*World).opWorker},
	{"server dies", 2, (*World).opDie},
	{"database away", 2, (*World).opAway},
	{"clock step", 2, (*World).opStep},
	{"retention", 1, (*World).opClean},
}

// draw makes the operations of a world.
func draw(seed uint64, n int, faults bool) []Op {
	r := rand.New(rand.NewPCG(seed, 1))
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	ops := make([]Op, 0, n)
	at := time.Duration(0)
	for len(ops) < n {
		pick := r.IntN(total)
		name := ""
		for _, k := range kinds {
			if pick -= k.weight; pick < 0 {
				name = k.name
				break
			}
		}
		switch r.IntN(8) {
		case 0, 1, 2:
			at += time.Duration(r.IntN(10)) * 100 * time.Millisecond
		case 3:
			at += time.Duration(r.IntN(5)) * time.Second
		}
		op := Op{At: at, Kind: name, Seed: r.Uint64()}
		if !faults {
			switch name {
			case "server dies", "database away", "clock step", "freeze worker", "cut worker off", "kill worker":
				continue
			}
		}
		ops = append(ops, op)
	}
	return ops
}

func (w *World) do(o Op) {
	for _, k := range kinds {
		if k.name == o.Kind {
			k.do(w, rand.New(rand.NewPCG(o.Seed, 2)))
		}
	}
}

func oneOf[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// script is a script as it stands.
type script struct {
	path, tag, key string
	rule           *rule
	fail           bool
	maxWait        float64
	maxLost        int
	pre            bool // has a preprocessor
}

var letters = []string{"a", "b", "c"}

func (w *World) tags() []string {
	out := make([]string, len(letters))
	for i, l := range letters {
		out[i] = w.prefix + l
	}
	return out
}

func drawRule(r *rand.Rand) *rule {
	l := &rule{n: 1 + r.IntN(3), window: time.Duration(r.IntN(4)) * time.Second}
	if l.window > 0 {
		l.start = r.IntN(2) == 0
	}
	return l
}

func drawScript(w *World, r *rand.Rand, path string) *script {
	s := &script{path: path, tag: w.prefix + oneOf(r, letters), maxLost: r.IntN(3), fail: r.IntN(8) == 0}
	if r.IntN(5) > 0 {
		s.rule = drawRule(r)
	}
	switch r.IntN(4) {
	case 0, 1:
		s.key = w.prefix + "shared"
	case 2:
		s.key = w.prefix + "of-$args[t]"
	}
	if r.IntN(6) == 0 {
		s.maxWait = float64(1 + r.IntN(5))
	}
	s.pre = w.chance("preprocessors", 0.25)
	return s
}

// body is what is pushed to save a script.
func (s *script) body() json.RawMessage {
	m := map[string]any{"path": s.path, "content": "echo ok", "language": "bash", "tag": s.tag, "max_lost_attempts": s.maxLost}
	if l := s.rule; l != nil {
		m["concurrent_limit"], m["concurrency_time_window_s"] = l.n, int(l.window/time.Second)
		if l.start {
			m["concurrency_window_from"] = "start"
		}
	}
	if s.pre {
		m["language"], m["lock"], m["has_preprocessor"] = "python3", "", true
	}
	if s.key != "" {
		m["concurrency_key"] = s.key
	}
	if s.fail {
		m["on_concurrency_limit"] = "fail"
	}
	if s.maxWait > 0 {
		m["max_wait_s"] = s.maxWait
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// keyOf returns the key that a job of a script must get.
func (w *World) keyOf(s *script, t string) string {
	switch s.key {
	case "":
		return w.space + "/script/" + s.path
	case w.prefix + "shared":
		return s.key
	}
	return w.prefix + "of-" + t
}

// idPrefix begins the ids of all jobs.
const idPrefix = "51110000-"

func (w *World) opPush(r *rand.Rand) {
	news := make([]engine.NewJob, 1+r.IntN(2)*r.IntN(4))
	args := make([]string, len(news))
	for i := range news {
		s := oneOf(r, w.scripts)
		t := oneOf(r, []string{"x", "y"})
		w.pushes++
		n := &news[i]
		*n = engine.NewJob{
			ID:        fmt.Sprintf("%s%s-7000-8000-%09x%03x", idPrefix, w.prefix[1:5], w.seed&0xfffffffff, w.pushes),
			Workspace: w.space, Path: s.path, Args: json.RawMessage(`{"t":"` + t + `"}`),
		}
		args[i] = t
		w.maybeEvent(n, s)
		if r.IntN(4) == 0 {
			p := r.IntN(3) - 1
			n.Priority = &p
		}
		if r.IntN(5) == 0 {
			n.ScheduledIn = time.Duration(r.IntN(50)) * 100 * time.Millisecond
		}
		if r.IntN(6) == 0 {
			n.Tag = w.prefix + oneOf(r, letters)
		}
		if r.IntN(10) == 0 {
			n.MaxWait = time.Duration(1+r.IntN(40)) * 100 * time.Millisecond
		}
		if r.IntN(12) == 0 && len(news) == 1 {
			q := int64(r.IntN(4))
			n.QueueLimit = &q
		}
	}
	w.push(news, args)
}

// push submits jobs, again and again until there is an answer. What they run
// is what stands at their paths when they arrive.
func (w *World) push(news []engine.NewJob, args []string) {
	scripts, keys := make([]*script, len(news)), make([]string, len(news))
	for i := range news {
		for _, s := range w.scripts {
			if s.path == news[i].Path {
				scripts[i], keys[i] = s, w.keyOf(s, args[i])
			}
		}
	}
	known := w.rows.job(news[0].ID) != nil
	fits := known || w.fits(news, scripts, keys)
	learn := func() {
		for i := range news {
			if w.rows.job(news[i].ID) != nil {
				continue
			}
			w.scriptOf[news[i].ID], w.queueLimit[news[i].ID] = scripts[i], news[i].QueueLimit
			if scripts[i].rule != nil {
				l := *scripts[i].rule
				w.model.rule[news[i].ID] = &l
			}
		}
	}
	err := w.learning(learn, func() error { _, err := w.e.Submit(ctx, news); return err })
	switch {
	case broken(err):
		w.after(retry, "", func() { w.push(news, args) })
		return
	case err != nil && (fits || sluice.CodeOf(err) != sluice.CodeLimited):
		w.fail("queue_limit", "a push is refused, though there was room in line: %v", err)
	case err == nil && !fits:
		w.fail("queue_limit", "%d jobs are pushed beyond what may wait", len(news))
	case err != nil:
		w.refused++
		w.say("client", "a push is refused: %v", err)
		return
	}
	for i := range news {
		j := w.rows.job(news[i].ID)
		if j == nil {
			w.fail("no job is lost", "job %s was accepted and is not there", short(news[i].ID))
		}
		r, first := w.model.rule[j.ID], asksFirst(&news[i], scripts[i])
		switch {
		case known:
		case first != (j.Phase == sluice.PhasePreprocess):
			w.fail("key", "job %s is in phase %q", short(j.ID), j.Phase)
		case (r != nil && !first) != j.HasKey || j.HasKey && j.Key != keys[i]:
			w.fail("key", "job %s has key %q, not %q", short(j.ID), j.Key, keys[i])
		}
		w.say("client", "pushes %s: %s", short(j.ID), w.about(j))
	}
}

// fits reports whether no bound on waiting jobs stands in the way of a push.
func (w *World) fits(news []engine.NewJob, scripts []*script, keys []string) bool {
	more := map[string]int64{}
	for i := range news {
		if scripts[i].rule == nil || asksFirst(&news[i], scripts[i]) {
			continue
		}
		most, key := int64(sluice.DefaultMaxWait), keys[i]
		if o := w.model.over[key]; o != nil && o.cap != nil {
			most = *o.cap
		}
		if q := news[i].QueueLimit; q != nil {
			most = min(most, *q)
		}
		if w.model.waitingIn(key)+more[key] >= most {
			return false
		}
		more[key]++
	}
	return true
}

// about describes a job.
func (w *World) about(j *sluice.Job) string {
	s := j.Path + ", tag " + j.Tag
	if j.HasKey {
		s += fmt.Sprintf(", key %s, %v", j.Key, *j.Limit)
	}
	if j.Priority != 0 {
		s += fmt.Sprintf(", priority %d", j.Priority)
	}
	if j.ScheduledFor.After(j.CreatedAt) {
		s += ", due " + w.at(j.ScheduledFor)
	}
	if j.Phase == sluice.PhasePreprocess {
		s += ", its arguments are to be made"
	}
	if j.OnLimit == sluice.OnLimitFail {
		s += ", fails rather than waits"
	}
	if !j.ExpiresAt.IsZero() {
		s += ", waits until " + w.at(j.ExpiresAt)
	}
	return s
}

func (w *World) opWhy(r *rand.Rand) {
	w.settle()
	if list := w.rows.waiting(); len(list) > 0 {
		w.askWhy(oneOf(r, list))
	}
}

func (w *World) opCancel(r *rand.Rand) {
	var list []*sluice.Job
	for _, seq := range sorted(w.rows.jobs) {
		if j := w.rows.jobs[seq]; j.State != sluice.StateCompleted || r.IntN(10) == 0 {
			list = append(list, j)
		}
	}
	if len(list) == 0 {
		return
	}
	j, force := oneOf(r, list), r.IntN(3) == 0
	w.say("client", "cancels %s (%s, force %v)", short(j.ID), j.State, force)
	w.must("cancel", func() error {
		w.model.forgetTold(j.Key)
		_, err := w.e.Cancel(ctx, w.space, []string{j.ID}, "somebody", "", force)
		if sluice.CodeOf(err) == sluice.CodeNotFound {
			return nil // deleted since by retention
		}
		return err
	})
}

func (w *World) opCancelKey(r *rand.Rand) {
	key, running, force := oneOf(r, w.keys), r.IntN(2) == 0, r.IntN(2) == 0
	w.say("client", "cancels all of key %q (running too: %v, force %v)", key, running, force)
	w.must("cancel a key", func() error {
		w.model.forgetTold(key)
		_, err := w.e.CancelKey(ctx, key, "somebody", "", running, force)
		return err
	})
}

func raw(format string, args ...any) json.RawMessage { return fmt.Appendf(nil, format, args...) }

func (w *World) opOverride(r *rand.Rand) {
	key, o := oneOf(r, w.keys), &override{}
	var f limit.Fields
	if r.IntN(3) > 0 {
		n := 1 + r.IntN(4)
		o.n, f.N = &n, raw("%d", n)
	}
	if r.IntN(3) == 0 {
		d := time.Duration(r.IntN(4)) * time.Second
		o.window, f.Window = &d, raw("%d", d/time.Second)
	}
	if r.IntN(4) == 0 {
		start := r.IntN(2) == 0 && o.window != nil && *o.window > 0
		o.start, f.Mode = &start, raw(`"end"`)
		if start {
			f.Mode = raw(`"start"`)
		}
	}
	if r.IntN(6) == 0 || o.n == nil && o.window == nil && o.start == nil {
		c := int64(1 + r.IntN(8))
		o.cap = &c
	}
	w.say("admin", "overrides key %q: limit %s window %s mode %s", key, f.N, f.Window, f.Mode)
	w.admin("override", func() { w.model.over[key] = o; w.model.forgetTold(key) }, func() error {
		_, err := w.e.SetOverride(ctx, key, engine.OverrideChange{Fields: f, MaxWaiting: o.cap, By: "admin"})
		return err
	})
}

// admin makes a call that changes what is asked, until it is answered.
func (w *World) admin(what string, learn func(), f func() error) {
	err := w.learning(learn, f)
	if broken(err) {
		w.after(retry, "", func() { w.admin(what, learn, f) })
	} else if err != nil {
		w.say("admin", "%s: %v", what, err)
	}
}

func (w *World) opClear(r *rand.Rand) {
	key := oneOf(r, w.keys)
	w.say("admin", "clears the override of key %q", key)
	w.admin("clear the override", func() { delete(w.model.over, key); w.model.forgetTold(key) }, func() error {
		_, err := w.e.ClearOverride(ctx, key, "admin", "")
		return err
	})
}

func (w *World) opPause(r *rand.Rand) {
	key := oneOf(r, w.keys)
	var until time.Time
	if r.IntN(3) > 0 {
		until = w.now().Add(time.Duration(1+r.IntN(30)) * 100 * time.Millisecond)
	}
	w.say("admin", "pauses key %q until %s", key, w.at(until))
	w.admin("pause", func() { w.model.paused[key] = until }, func() error {
		_, err := w.e.Pause(ctx, key, engine.PauseChange{Until: until, By: "admin"})
		return err
	})
}

func (w *World) opResume(r *rand.Rand) { w.resume(oneOf(r, w.keys)) }

func (w *World) resume(key string) {
	w.say("admin", "resumes key %q", key)
	w.admin("resume", func() { delete(w.model.paused, key) }, func() error {
		_, err := w.e.Resume(ctx, key, "admin", "")
		return err
	})
}

func (w *World) opPrune(r *rand.Rand) {
	key := oneOf(r, w.keys)
	held := func() (n int) {
		for _, id := range w.rows.byKey[key] {
			if w.rows.execs[id].Held() {
				n++
			}
		}
		return n
	}
	w.say("admin", "prunes key %q, of which %d slots are held", key, held())
	w.admin("prune", func() {
		if held() > 0 {
			w.fail("prune", "key %q was pruned while a slot was held", key)
		}
		for _, id := range w.rows.byKey[key] {
			w.model.pruned[id] = true
		}
		for _, l := range w.livesOf[key] {
			l.pruned = true
		}
		w.model.forgetTold(key)
	}, func() error { return w.e.Prune(ctx, key, "admin", "") })
}

func (w *World) opSave(r *rand.Rand) {
	i := r.IntN(len(w.scripts))
	fresh := drawScript(w, r, w.scripts[i].path)
	apply := r.IntN(2) == 0
	w.say("admin", "saves %s anew: %s (apply to waiting: %v)", fresh.path, fresh.body(), apply)
	w.admin("save a script", func() {
		w.scripts[i] = fresh
		for _, j := range w.rows.waiting() {
			if apply && fresh.rule != nil && j.Path == fresh.path && w.model.rule[j.ID] != nil {
				l := *fresh.rule
				w.model.rule[j.ID] = &l
				w.model.forgetTold(j.Key)
			}
		}
	}, func() error {
		_, err := w.e.SaveScript(ctx, w.space, engine.NewScript{Body: fresh.body(), CreatedBy: "admin", ApplyToWaiting: apply})
		return err
	})
}
