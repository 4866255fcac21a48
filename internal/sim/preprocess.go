package sim

import (
	"encoding/json"

	"sluice"
	"sluice/internal/engine"
)

// asksFirst reports whether a preprocessor makes a job's arguments.
func asksFirst(n *engine.NewJob, s *script) bool { return n.Event != nil && s.pre }

// maybeEvent has a push ask for the preprocessor of its script.
func (w *World) maybeEvent(n *engine.NewJob, s *script) {
	if s.pre && w.chance("events", 0.7) {
		n.Event = func() (json.RawMessage, error) { return json.RawMessage(`{"event":{}}`), nil }
	}
}

// result is what the process of a life has left: of a preprocessor, arguments,
// or what is none.
func (l *life) result() json.RawMessage {
	if !l.pre || !l.success {
		return result(l.success)
	}
	if l.made == "" && !l.void {
		l.void = l.w.world.chance(l.job+"/void", 0.1)
		l.made = oneOf(l.w.world.stream(l.job+"/made"), []string{"x", "y"})
	}
	if l.void {
		return json.RawMessage(`null`)
	}
	return json.RawMessage(`{"t":"` + l.made + `"}`)
}

// judgeMade proves that arguments become final once, of what a preprocessor
// has made, and the key with them.
func (w *World) judgeMade(old, j *sluice.Job) {
	l, s := w.lives[w.newest(j)], w.scriptOf[j.ID]
	switch {
	case old.Phase != sluice.PhasePreprocess || j.Phase != sluice.PhasePreprocessed || old.HasKey:
		w.fail("key", "job %s was in phase %q, and is in phase %q", short(j.ID), old.Phase, j.Phase)
	case l == nil || !l.pre || !l.success || l.void:
		w.fail("key", "job %s has its arguments, and no preprocessor has made any", short(j.ID))
	case j.HasKey != (w.model.rule[j.ID] != nil), j.HasKey && j.Key != w.keyOf(s, l.made):
		w.fail("key", "job %s gets key %q, not %q", short(j.ID), j.Key, w.keyOf(s, l.made))
	}
	w.say("server", "job %s has its arguments: %s", short(j.ID), w.about(j))
}

// judgeEntry proves that main is not run before its arguments are made, and
// that they are not made twice.
func (w *World) judgeEntry(a sluice.Assignment) {
	j := w.rows.job(a.JobID)
	if pre := a.Entry == sluice.EntryPreprocessor; pre != (j.Phase == sluice.PhasePreprocess) || pre && j.HasKey {
		w.fail("key", "job %s, in phase %q, is given out to run %q", short(j.ID), j.Phase, a.Entry)
	}
}

func entry(a sluice.Assignment) string {
	if a.Entry == sluice.EntryPreprocessor {
		return ", to make its arguments"
	}
	return ""
}

// mayWait is how many jobs may wait when a job whose arguments are made joins
// them.
func (w *World) mayWait(j *sluice.Job) int64 {
	most := int64(sluice.DefaultMaxWait)
	if o := w.model.over[j.Key]; o != nil && o.cap != nil {
		most = *o.cap
	}
	if q := w.queueLimit[j.ID]; q != nil {
		most = min(most, *q)
	}
	return most
}

// judgeMadeEnding proves that a job ended for what its preprocessor made had to.
func (w *World) judgeMadeEnding(j *sluice.Job, name string) {
	switch name {
	case "TooManyWaiting":
		if w.model.waitingIn(j.Key) < w.mayWait(j) {
			w.fail("queue_limit", "job %s was refused, though there was room in line", short(j.ID))
		}
	case "InvalidPreprocessorResult":
		if l := w.lives[w.newest(j)]; l == nil || !l.pre || !l.void {
			w.fail("key", "job %s failed for want of arguments, and its preprocessor has made some", short(j.ID))
		}
	}
}
