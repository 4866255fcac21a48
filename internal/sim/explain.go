package sim

import (
	"slices"
	"time"

	"sluice"
)

// reason says why a job does not run, as far as its group goes; "" if its
// group does not stand in its way. With maybe, jobs of other tags are first:
// they are in the way of places that serve both tags, and of no others, so
// that it is a matter of which places are free.
func (m *model) reason(j *sluice.Job, now time.Time) (reason sluice.Reason, maybe bool) {
	switch {
	case j.ScheduledFor.After(now):
		return sluice.ReasonScheduled, false
	case j.Phase == sluice.PhasePreprocess:
		return sluice.ReasonPreprocessing, false
	case !j.HasKey:
		return "", false
	case m.isPaused(j.Key, now):
		return sluice.ReasonPaused, false
	case !m.room(j, now):
		return sluice.ReasonLimit, false
	}
	for _, o := range m.rows.jobs {
		if !o.HasKey || o.Key != j.Key || !queued(o, now) || !before(o, j) {
			continue
		}
		if o.Tag == j.Tag {
			return sluice.ReasonBehind, false
		}
		maybe = true
	}
	return "", maybe
}

// askAbout asks about the jobs that wait behind one that was given away, and
// will come back: what they are told must hold all the same.
func (w *World) askAbout(id string) {
	j := w.rows.job(id)
	if !j.HasKey {
		return
	}
	w.after(0, "", func() {
		w.settle()
		for _, o := range w.rows.waiting() {
			if o.HasKey && o.Key == j.Key {
				w.askWhy(o)
			}
		}
	})
}

// askWhy asks the engine why a job waits and holds the answer against the model.
func (w *World) askWhy(j *sluice.Job) {
	if !w.sound() {
		return
	}
	wait, err := w.anyone().e.Wait(ctx, w.space, j.ID)
	if err != nil {
		w.fail("explains itself", "job %s: %v", short(j.ID), err)
	}
	now := w.now()
	if wait == nil {
		w.fail("explains itself", "job %s waits, and there is no reason", short(j.ID))
	}
	want, maybe := w.model.reason(j, now)
	w.say("client", "why does %s wait? %s (also %v)", short(j.ID), wait.Reason, wait.Also)
	group := slices.Contains([]sluice.Reason{sluice.ReasonScheduled, sluice.ReasonPreprocessing, sluice.ReasonPaused, sluice.ReasonLimit, sluice.ReasonBehind}, wait.Reason)
	if maybe && wait.Reason == sluice.ReasonBehind {
		want = sluice.ReasonBehind
	}
	if want != "" && wait.Reason != want || want == "" && group {
		w.fail("explains itself", "job %s is said to wait because of %q; in truth it is %q", short(j.ID), wait.Reason, want)
	}
	if wait.NotBefore != nil {
		if t := w.model.told[j.ID]; wait.NotBefore.After(t) {
			w.model.told[j.ID] = *wait.NotBefore
		}
	}
}
