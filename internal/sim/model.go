package sim

import (
	"slices"
	"time"

	"sluice"
)

// rule is a limit as the model has it, in its own words.
type rule struct {
	n      int
	window time.Duration
	start  bool // counted from the start, not the end
}

// override replaces fields of the rules of a group: nil fields leave the rule's.
type override struct {
	n      *int
	window *time.Duration
	start  *bool
	cap    *int64 // max_waiting
}

// model is what was asked of the engine, and what follows from it. It decides
// by counting everything, every time.
type model struct {
	rows   *rows
	rule   map[string]*rule // by job: as pushed; nil: no limit
	over   map[string]*override
	paused map[string]time.Time // by key: until; zero: until resumed
	pruned map[int64]bool       // executions that count no longer
	told   map[string]time.Time // by job: "no start can be earlier"
}

func newModel(r *rows) *model {
	return &model{
		rows: r, rule: map[string]*rule{}, over: map[string]*override{}, paused: map[string]time.Time{},
		pruned: map[int64]bool{}, told: map[string]time.Time{},
	}
}

// inForce returns the rule that holds for a job now.
func (m *model) inForce(j *sluice.Job) (r rule, overridden bool) {
	r = *m.rule[j.ID]
	o := m.over[j.Key]
	if o == nil || o.n == nil && o.window == nil && o.start == nil {
		return r, false
	}
	if o.n != nil {
		r.n = *o.n
	}
	if o.window != nil {
		r.window = *o.window
	}
	if o.start != nil {
		r.start = *o.start
	}
	if r.window == 0 {
		r.start = false
	}
	return r, true
}

func (m *model) isPaused(key string, now time.Time) bool {
	until, paused := m.paused[key]
	return paused && (until.IsZero() || now.Before(until))
}

// counted counts the executions of a key that stand in the way of a start at
// now under a rule.
func (m *model) counted(key string, r rule, now time.Time) int {
	n := 0
	for _, id := range m.rows.byKey[key] {
		x := m.rows.execs[id]
		if x.End == sluice.EndStruck || m.pruned[id] {
			continue
		}
		at := x.ReleasedAt
		if r.start && !x.ConfirmedAt.IsZero() {
			at = x.ConfirmedAt
		}
		if at.IsZero() || at.After(now.Add(-r.window)) {
			n++
		}
	}
	return n
}

// room reports whether one more execution of a job's key may start now, the
// jobs that wait aside.
func (m *model) room(j *sluice.Job, now time.Time) bool {
	if !j.HasKey {
		return true
	}
	r, _ := m.inForce(j)
	return m.counted(j.Key, r, now) < r.n
}

// line names what places go round: the jobs of a key and tag, or without a
// limit of a path and tag.
func line(j *sluice.Job) string {
	if j.HasKey {
		return "key " + j.Key + ", tag " + j.Tag
	}
	return "path " + j.Path + ", tag " + j.Tag
}

// queued reports whether a job could start now if there were room: it is due,
// and its time is not up.
func queued(j *sluice.Job, now time.Time) bool {
	return j.Waiting() && !j.ScheduledFor.After(now) && (j.ExpiresAt.IsZero() || j.ExpiresAt.After(now))
}

// first returns the jobs that are the only candidates of a place with these
// tags: one for each key, and one for each line without a limit, by line.
func (m *model) first(tags []string, now time.Time) map[string]*sluice.Job {
	best := map[string]*sluice.Job{}
	for _, j := range m.rows.jobs {
		if !queued(j, now) || !slices.Contains(tags, j.Tag) {
			continue
		}
		name := "key " + j.Key
		if !j.HasKey {
			name = line(j)
		}
		if b := best[name]; b == nil || before(j, b) {
			best[name] = j
		}
	}
	out := make(map[string]*sluice.Job, len(best))
	for _, j := range best {
		out[line(j)] = j
	}
	return out
}

// startable returns those candidates that have room now.
func (m *model) startable(tags []string, now time.Time) map[string]*sluice.Job {
	out := m.first(tags, now)
	for name, j := range out {
		if j.HasKey && (m.isPaused(j.Key, now) || !m.room(j, now)) {
			delete(out, name)
		}
	}
	return out
}

// next returns the first instant after now at which something may start or
// end by the passing of time alone; zero: none.
func (m *model) next(now time.Time) time.Time {
	var at time.Time
	consider := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	rules := map[string]map[rule]bool{}
	for _, j := range m.rows.jobs {
		if !j.Waiting() {
			continue
		}
		consider(j.ScheduledFor)
		consider(j.ExpiresAt)
		if !j.HasKey {
			continue
		}
		if rules[j.Key] == nil {
			rules[j.Key] = map[rule]bool{}
		}
		r, _ := m.inForce(j)
		rules[j.Key][r] = true
	}
	for key, rs := range rules {
		consider(m.paused[key])
		for _, id := range m.rows.byKey[key] {
			x := m.rows.execs[id]
			for r := range rs {
				if !x.ConfirmedAt.IsZero() && r.start {
					consider(x.ConfirmedAt.Add(r.window))
				}
				if !x.ReleasedAt.IsZero() {
					consider(x.ReleasedAt.Add(r.window))
				}
			}
		}
	}
	return at
}

// ahead counts jobs of a key that are due, wait and come before j; with
// expired, those too whose time is up and who were not yet told.
func (m *model) ahead(j *sluice.Job, now time.Time, expired bool) int {
	n := 0
	for _, o := range m.rows.jobs {
		if o.HasKey && o.Key == j.Key && o.Seq != j.Seq && before(o, j) && (queued(o, now) || expired && o.Waiting() && !o.ScheduledFor.After(now)) {
			n++
		}
	}
	return n
}

// standing counts jobs that stand in lines of j's key before j.
func (m *model) standing(j *sluice.Job) int {
	n := 0
	for _, l := range m.rows.lines {
		if g := m.rows.groups[l.GroupID]; g == nil || g.Key != j.Key {
			continue
		}
		for seq := range m.rows.stand[l.ID] {
			if o := m.rows.jobs[seq]; o.Seq != j.Seq && before(o, j) {
				n++
			}
		}
	}
	return n
}

// waitingIn counts the waiting jobs of a key.
func (m *model) waitingIn(key string) int64 {
	n := int64(0)
	for _, j := range m.rows.jobs {
		if j.HasKey && j.Key == key && j.Waiting() {
			n++
		}
	}
	return n
}

// forgetTold drops what was said about the jobs of a key: an administrator's
// act or a cancel has come between.
func (m *model) forgetTold(key string) {
	for id := range m.told {
		if j := m.rows.job(id); j != nil && j.HasKey && j.Key == key {
			delete(m.told, id)
		}
	}
}
