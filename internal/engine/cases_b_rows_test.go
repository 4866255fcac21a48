package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
	"sluice/limit"
)

// crew is three workers, with what they hold by their own account.
type crew struct {
	*world
	t    *testing.T
	rnd  *rand.Rand
	hold map[int64]held
	jobs []string
}

type held struct {
	sluice.Assignment
	worker    string
	confirmed bool
}

var crewNames = []string{"w1", "w2", "w3"}

func newCrew(t *testing.T, seed uint64) *crew {
	c := &crew{world: newWorld(t), t: t, rnd: rand.New(rand.NewPCG(seed, 0)), hold: map[int64]held{}}
	c.beatAll()
	return c
}

// of returns what a worker holds, in the order of taking.
func (c *crew) of(worker string) []sluice.Assignment {
	var as []sluice.Assignment
	for _, h := range c.hold {
		if h.worker == worker {
			as = append(as, h.Assignment)
		}
	}
	slices.SortFunc(as, func(a, b sluice.Assignment) int { return int(a.Execution - b.Execution) })
	return as
}

func (c *crew) someone() string { return crewNames[c.rnd.IntN(len(crewNames))] }

func (c *crew) beatAll() {
	for _, name := range crewNames {
		c.say(name, c.of(name))
	}
}

// say sends a worker's heartbeat, listing only these of its executions.
func (c *crew) say(worker string, list []sluice.Assignment) {
	hb := sluice.Heartbeat{Worker: worker, Instance: "host of " + worker, Tags: []string{"bash", "gpu"}, Places: 50, SettledTake: c.takes}
	for _, a := range list {
		hb.Holds = append(hb.Holds, a.Execution)
	}
	_, err := c.Heartbeat(c.ctx(), hb)
	c.must(err)
	for _, a := range c.of(worker) {
		if !slices.ContainsFunc(list, func(b sluice.Assignment) bool { return a.Execution == b.Execution }) {
			delete(c.hold, a.Execution)
		}
	}
}

// fetch takes jobs and keeps account of them.
func (c *crew) fetch(worker string, places int, tags ...string) []sluice.Assignment {
	got := c.take(worker, places, tags...)
	for _, a := range got {
		c.hold[a.Execution] = held{Assignment: a, worker: worker}
	}
	return got
}

// one returns one execution that a worker holds.
func (c *crew) one(worker string) (held, bool) {
	as := c.of(worker)
	if len(as) == 0 {
		return held{}, false
	}
	return c.hold[as[c.rnd.IntN(len(as))].Execution], true
}

// work does one thing that a worker does with what it holds.
func (c *crew) work() string {
	worker := c.someone()
	h, ok := c.one(worker)
	switch n := c.rnd.IntN(20); {
	case n < 6:
		c.fetch(worker, 1+c.rnd.IntN(4), []string{"bash", "gpu"}[c.rnd.IntN(2)])
		return worker + " takes of one tag"
	case n < 8:
		c.fetch(worker, 1+c.rnd.IntN(4), "bash", "gpu")
		return worker + " takes of both tags"
	case !ok:
		return ""
	case n < 11:
		c.confirm(worker, h.Assignment)
		h.confirmed = true
		c.hold[h.Execution] = h
		return worker + " confirms"
	case n < 16:
		c.report(worker, h.Assignment)
		delete(c.hold, h.Execution)
		return worker + " reports"
	case n < 17 && !h.confirmed:
		c.must(c.HandBack(c.ctx(), worker, []int64{h.Execution}))
		delete(c.hold, h.Execution)
		return worker + " hands back"
	case n < 18:
		c.say(worker, c.of(worker)[1:])
		return worker + " does not list its oldest"
	case n < 19:
		_, err := c.Cancel(c.ctx(), "", []string{h.JobID}, "admin", "", c.rnd.IntN(2) == 0)
		c.must(err)
		return "a job of " + worker + " is cancelled"
	default:
		c.must(c.InstanceGone(c.ctx(), "host of "+worker))
		for _, a := range c.of(worker) {
			delete(c.hold, a.Execution)
		}
		c.say(worker, nil)
		return worker + " dies, and comes back"
	}
}

// holding returns the executions that hold slots of a key by the crew's account.
func (c *crew) holding(key string) []sluice.Assignment {
	var as []sluice.Assignment
	for _, h := range c.hold {
		x := h.Assignment
		c.read(func(r store.Reader) error {
			j, err := r.Job(x.JobID)
			if err == nil && j.HasKey && j.Key == key {
				as = append(as, x)
			}
			return err
		})
	}
	return as
}

// B9: what is reported as running and waiting is, after every step of random
// runs, what the rows say and what is enforced: no start is over the limit, and
// when places are free nothing that has room is left in line.
func TestB9_ReportedIsEnforced(t *testing.T) {
	t.Parallel()
	for seed := range uint64(sized(10, 2)) {
		named(t, seed, func(t *testing.T) {
			t.Parallel()
			c := newCrew(t, seed)
			keys := []string{"end", "start", "once"}
			c.script("f/end", "concurrent_limit", 2, "concurrency_time_window_s", 5, "concurrency_key", "end")
			c.script("f/start", "concurrent_limit", 3, "concurrency_time_window_s", 4, "concurrency_window_from", "start", "concurrency_key", "start")
			c.script("f/once", "concurrent_limit", 2, "concurrency_key", "once")
			c.script("f/fail", "concurrent_limit", 4, "concurrency_key", "once", "on_concurrency_limit", "fail")
			for _, p := range []string{"f/end", "f/start", "f/once"} {
				c.jobs = append(c.jobs, c.push(p))
			}
			for step := range sized(120, 60) {
				what := c.disturb(keys)
				if what == "" {
					if what = c.work(); what == "" {
						continue
					}
				}
				for _, k := range keys {
					c.reported(fmt.Sprintf("step %d (%s), key %s", step, what, k), k)
				}
				c.tallied(fmt.Sprintf("step %d (%s)", step, what))
			}
			for _, k := range keys {
				c.resume(k)
				c.auditRule(k)
			}
		})
	}
}

func (c *crew) resume(key string) {
	_, err := c.Resume(c.ctx(), key, "admin", "")
	c.must(err)
}

// disturb does one thing that a user does; "" if it is a worker's turn.
func (c *crew) disturb(keys []string) string {
	key := keys[c.rnd.IntN(len(keys))]
	switch n := c.rnd.IntN(24); {
	case n < 6:
		path := []string{"f/end", "f/start", "f/once", "f/fail"}[c.rnd.IntN(4)]
		changes := []func(*engine.NewJob){priority(c.rnd.IntN(3)), tag([]string{"bash", "gpu"}[c.rnd.IntN(2)])}
		if c.rnd.IntN(4) == 0 {
			changes = append(changes, in(time.Duration(c.rnd.IntN(4))*time.Second))
		}
		c.jobs = append(c.jobs, c.push(path, changes...))
		return "push to " + path
	case n < 10:
		d := time.Duration(c.rnd.IntN(2500)) * time.Millisecond
		c.clock.advance(d)
		return "time goes on by " + d.String()
	case n < 11:
		_, err := c.Cancel(c.ctx(), "main", []string{c.jobs[c.rnd.IntN(len(c.jobs))]}, "admin", "", false)
		c.must(err)
		return "cancel"
	case n < 12:
		c.override(key, 1+c.rnd.IntN(4), c.rnd.IntN(4), "end")
		return "override of " + key
	case n < 13:
		_, err := c.ClearOverride(c.ctx(), key, "admin", "")
		c.must(err)
		return "no override of " + key
	case n < 14 && c.rnd.IntN(2) == 0:
		p := engine.PauseChange{By: "admin"}
		if c.rnd.IntN(2) == 0 {
			p.Until = c.clock.Wall().Add(2 * time.Second)
		}
		_, err := c.Pause(c.ctx(), key, p)
		c.must(err)
		return "pause of " + key
	case n < 15:
		c.resume(key)
		return "resume " + key
	case n < 17:
		c.fetch(c.someone(), 50, "bash", "gpu")
		c.nothingLeft(keys)
		return "take with 50 places"
	}
	return ""
}

// reported compares what is shown of a key with its rows.
func (c *crew) reported(what, key string) {
	c.t.Helper()
	c.holdersAre(what, key, c.holding(key)...)
	now := c.clock.Wall()
	info, row := c.group(key), c.row(key)
	waiting, err := c.CountJobs(c.ctx(), store.JobFilter{Key: &key, States: []sluice.State{sluice.StateScheduled, sluice.StateQueued}})
	c.must(err)
	var lines []*store.Line
	c.read(func(r store.Reader) (err error) { lines, err = r.LinesOf(row.ID); return err })
	var standing int64
	for _, l := range lines {
		standing += l.Queued + l.Scheduled
	}
	if info.Waiting != waiting || standing != waiting {
		c.t.Fatalf("%s: %d are shown as waiting, %d stand in lines, the rows are %d", what, info.Waiting, standing, waiting)
	}
	if info.Limit != nil {
		rest := int64(0)
		if info.Limit.Mode == limit.Start {
			rest = row.Unlaunched()
		} else {
			rest = row.Held()
		}
		if n := c.countingNow(key, *info.Limit, now) - rest; info.InWindow != n {
			c.t.Fatalf("%s: %d are shown in the window of %s, the rows are %d", what, info.InWindow, info.Limit, n)
		}
	}
	jobs, err := c.Jobs(c.ctx(), store.JobFilter{Key: &key, States: []sluice.State{sluice.StateQueued}})
	c.must(err)
	for _, j := range jobs {
		wait := c.job(j.ID).Wait
		in, _ := row.Override.Apply(*j.Limit)
		n := c.countingNow(key, in, now)
		if wait.SlotsTotal != n {
			c.t.Fatalf("%s: job %s is told of %d slots, %d count", what, j.ID, wait.SlotsTotal, n)
		}
		limited := wait.Reason == sluice.ReasonLimit || slices.Contains(wait.Also, sluice.ReasonLimit)
		if limited != (n >= int64(in.N)) {
			c.t.Fatalf("%s: job %s is told %s, also %v, and %d count against %s", what, j.ID, wait.Reason, wait.Also, n, in)
		}
		if paused := wait.Reason == sluice.ReasonPaused; paused != row.Pause.At(now) {
			c.t.Fatalf("%s: job %s is told %s, the pause says %v", what, j.ID, wait.Reason, row.Pause)
		}
	}
}

// nothingLeft fails if the first job of a key could start and did not, though
// there were places for all.
func (c *crew) nothingLeft(keys []string) {
	c.t.Helper()
	now := c.clock.Wall()
	for _, key := range keys {
		row := c.row(key)
		jobs, err := c.Jobs(c.ctx(), store.JobFilter{Key: &key, States: []sluice.State{sluice.StateQueued, sluice.StateScheduled}})
		c.must(err)
		var first *sluice.Job
		for _, j := range jobs {
			if !j.ScheduledFor.After(now) && (first == nil || j.Rank().Compare(first.Rank()) < 0) {
				first = j
			}
		}
		if first == nil || row.Pause.At(now) {
			continue
		}
		in, _ := row.Override.Apply(*first.Limit)
		if n := c.countingNow(key, in, now); n < int64(in.N) {
			c.t.Fatalf("job %s is first in line of %s, %d count against %s, places are free, and it waits", first.ID, key, n, in)
		}
	}
}

// tallied compares the counts by state and tag with the rows.
func (c *crew) tallied(what string) {
	c.t.Helper()
	jobs, err := c.Jobs(c.ctx(), store.JobFilter{Limit: 100_000})
	c.must(err)
	want := map[string]store.Counts{}
	for _, j := range jobs {
		n := want[j.Tag]
		switch j.State {
		case sluice.StateScheduled:
			n.Scheduled++
		case sluice.StateQueued:
			n.Queued++
		case sluice.StateRunning:
			n.Running++
		case sluice.StateCompleted:
		}
		want[j.Tag] = n
	}
	m, err := c.Metrics(c.ctx())
	c.must(err)
	for tag, n := range want {
		if got := m.Counts[tag]; got != n {
			c.t.Fatalf("%s: tag %s is shown as %+v, the rows are %+v", what, tag, got, n)
		}
	}
}

// B15: attempts that are lost, handed back and not listed, forced cancels and
// restarts of the server in one group: after every step the holders by the
// workers' own account are the rows that hold a slot.
func TestB15_HoldersAreRows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(sized(10, 2)) {
		named(t, seed, func(t *testing.T) {
			t.Parallel()
			c := newCrew(t, seed)
			const k = "main/script/f/b/one"
			c.script("f/b/one", "concurrent_limit", 3, "max_lost_attempts", 5)
			for range 10 {
				c.push("f/b/one", tag([]string{"bash", "gpu"}[c.rnd.IntN(2)]))
			}
			for step := range sized(150, 60) {
				var what string
				switch n := c.rnd.IntN(30); {
				case n < 3:
					what = "push"
					c.push("f/b/one", tag([]string{"bash", "gpu"}[c.rnd.IntN(2)]))
				case n < 4:
					what = "restart"
					c.restart()
				case n < 6:
					what = "a worker falls silent"
					c.beatAll()
					c.clock.advance(engine.DefaultLostAfter - time.Second)
					silent := c.someone()
					for _, name := range crewNames {
						if name != silent {
							c.say(name, c.of(name))
						}
					}
					c.clock.advance(time.Second)
					c.reap(c.Engine)
					for _, a := range c.of(silent) {
						delete(c.hold, a.Execution)
					}
					c.say(silent, nil) // it is back
				default:
					what = c.work()
				}
				c.holdersAre(fmt.Sprintf("step %d: %s", step, what), k, c.holding(k)...)
				for _, name := range crewNames {
					c.heldBy(fmt.Sprintf("step %d: %s", step, what), name)
				}
			}
			for range 100 {
				for _, name := range crewNames {
					c.reportAll(name, c.of(name))
				}
				clear(c.hold)
				if c.fetch("w1", 10, "bash", "gpu") == nil {
					break
				}
			}
			c.holdersAre("in the end", k)
			if g := c.row(k); g.Waiting != 0 || g.Taken != g.Struck+g.Released || g.Launched != g.Released {
				t.Fatalf("in the end: %d wait, %d taken, %d struck out, %d launched, %d released", g.Waiting, g.Taken, g.Struck, g.Launched, g.Released)
			}
			c.auditRule(k)
		})
	}
}

// heldBy compares what a worker holds by its own account with its rows.
func (c *crew) heldBy(what, worker string) {
	c.t.Helper()
	var rows []int64
	c.read(func(r store.Reader) error {
		xs, err := r.HeldBy(worker)
		for _, x := range xs {
			rows = append(rows, x.ID)
		}
		return err
	})
	var own []int64
	for _, a := range c.of(worker) {
		own = append(own, a.Execution)
	}
	if !slices.Equal(rows, own) {
		c.t.Fatalf("%s: %s holds %v, the rows are %v", what, worker, own, rows)
	}
}
