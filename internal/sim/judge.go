package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/limit"
)

// A Violation is a broken promise.
type Violation struct {
	Promise string // which one
	Text    string
}

// Error says what is wrong.
func (v *Violation) Error() string { return v.Promise + ": " + v.Text }

// fail ends a world: a promise was broken.
func (w *World) fail(promise, format string, args ...any) {
	panic(&Violation{Promise: promise, Text: fmt.Sprintf(format, args...)})
}

// judge looks at one change before it is made in the rows, which are as the
// engine saw them when it made it.
func (w *World) judge(c *change) {
	switch {
	case c.taken != nil:
		w.judgeStart(c.taken)
	case c.job != nil:
		w.judgeJob(w.rows.jobs[c.job.Seq], c.job)
	case c.result != nil:
		w.judgeEnding(w.rows.jobs[c.result.seq], c.result.name)
	case c.stand != nil && !c.stand.later && !c.stand.leaves:
		w.judgeStanding(w.rows.jobs[c.stand.seq])
	case c.execution != nil:
		w.judgeExecution(w.rows.execs[c.execution.ID], c.execution)
	}
}

// judgeStart judges the one moment that counts: a job is given to a worker.
func (w *World) judgeStart(x *sluice.Execution) {
	j, now := w.rows.jobs[x.JobSeq], x.StartedAt
	wk := w.worker(x.Worker)
	id := short(j.ID)
	w.starts++
	switch {
	case !j.Waiting():
		w.fail("one life at a time", "job %s is %s and was given to %s", id, j.State, x.Worker)
	case j.ScheduledFor.After(now):
		w.fail("order", "job %s is due at %s and was given to %s at %s", id, w.at(j.ScheduledFor), x.Worker, w.at(now))
	case !j.ExpiresAt.IsZero() && !j.ExpiresAt.After(now):
		w.fail("max_wait_s", "job %s was started at %s though its time was up at %s", id, w.at(now), w.at(j.ExpiresAt))
	case !slices.Contains(wk.tags, j.Tag):
		w.fail("tags", "job %s needs tag %q, and %s serves %v", id, j.Tag, x.Worker, wk.tags)
	case x.Attempt != j.Attempt+1:
		w.fail("one life at a time", "job %s gets attempt %d after %d", id, x.Attempt, j.Attempt)
	}
	if t, ok := w.model.told[j.ID]; ok && x.StartedAt.Before(t) {
		w.fail("wait", "job %s was told that it cannot start before %s, and starts at %s", id, w.at(t), w.at(now))
	}
	if j.HasKey {
		w.judgeRoom(j, x)
		w.judgeRealRoom(j)
	} else if x.InGroup {
		w.fail("key", "job %s has no limit and is in a group", id)
	}
	first := w.model.first(wk.tags, now)
	if b := first[line(j)]; b == nil || b.Seq != j.Seq {
		for _, o := range first {
			if o.HasKey == j.HasKey && o.Key == j.Key && (j.HasKey || line(o) == line(j)) {
				w.fail("order", "job %s was given to %s (tags %v), which must take %s first", id, wk.name, wk.tags, short(o.ID))
			}
		}
		w.fail("order", "job %s was given to %s and is no candidate", id, wk.name)
	}
	w.judgeTurn(j, wk, now)
}

// judgeRoom proves the rule by counting rows.
func (w *World) judgeRoom(j *sluice.Job, x *sluice.Execution) {
	r, over := w.model.inForce(j)
	got := rule{n: x.Limit.N, window: x.Limit.Window, start: x.Limit.Mode == limit.Start}
	if got != r || over != (x.Source == limit.FromOverride) {
		w.fail("limit in force", "job %s starts under %+v (%s); in force is %+v", short(j.ID), got, x.Source, r)
	}
	if w.model.isPaused(j.Key, x.StartedAt) {
		w.fail("pause", "job %s starts while its key %q is paused", short(j.ID), w.clean(j.Key))
	}
	if n := w.model.counted(j.Key, r, x.StartedAt); n >= r.n {
		w.fail("never over", "job %s starts at %s under %+v, and %d other executions of key %q count:%s",
			short(j.ID), w.at(x.StartedAt), r, n, w.clean(j.Key), w.evidence(j.Key))
	}
}

// judgeRealRoom proves the rule by what the workers lived: real launches and
// real ends of process trees.
func (w *World) judgeRealRoom(j *sluice.Job) {
	r, _ := w.model.inForce(j)
	now, n := w.tick(), 0
	for _, l := range w.livesOf[j.Key] {
		switch {
		case !l.launched || l.pruned:
			if x := w.rows.execs[l.x]; !l.launched && !l.over && x != nil && x.Held() {
				n++ // it may launch at any moment
			}
		case r.start && l.launchTick > now-r.window:
			n++
		case !r.start && (!l.ended || l.endTick > now-r.window):
			n++
		}
	}
	if n >= r.n {
		w.fail("never over", "job %s starts under %+v, and %d other processes of key %q run or ran in the window, whatever the rows say:%s",
			short(j.ID), r, n, w.clean(j.Key), w.evidence(j.Key))
	}
}

// judgeTurn proves fairness: while a line has a job that this place could have
// run, no other line of the same priority is served twice, and none of lower
// priority at all.
func (w *World) judgeTurn(j *sluice.Job, wk *worker, now time.Time) {
	able := w.model.startable(wk.tags, now)
	served := line(j)
	for _, name := range sorted(w.passed) {
		if o := able[name]; o == nil && slices.Contains(wk.tags, w.lineTag[name]) || name == served {
			delete(w.passed, name)
		}
	}
	for _, name := range sorted(able) {
		o := able[name]
		if name == served || o.Priority < j.Priority {
			continue
		}
		if o.Priority > j.Priority {
			w.fail("priority", "job %s (priority %d) was given to %s while %s (priority %d) had room there",
				short(j.ID), j.Priority, wk.name, short(o.ID), o.Priority)
		}
		if w.passed[name] == nil {
			w.passed[name] = map[string]int{}
		}
		w.lineTag[name] = o.Tag
		if w.passed[name][served]++; w.passed[name][served] > 1 {
			w.fail("fairness", "line (%s) was served twice while line (%s), first job %s, had room and was not served",
				w.clean(served), w.clean(name), short(o.ID))
		}
	}
}

// forgetPassed drops the count for lines that have no job to start any more.
func (w *World) forgetPassed() {
	if len(w.passed) == 0 {
		return
	}
	now := w.now()
	for _, name := range sorted(w.passed) {
		if w.model.startable([]string{w.lineTag[name]}, now)[name] == nil {
			delete(w.passed, name)
		}
	}
}

// judgeJob proves that a job ends once.
func (w *World) judgeJob(old, j *sluice.Job) {
	if old.State == sluice.StateCompleted && (j.State != old.State || j.Outcome != old.Outcome || !j.CompletedAt.Equal(old.CompletedAt)) {
		w.fail("one end", "job %s had ended (%s) and is now %s (%s)", short(j.ID), old.Outcome, j.State, j.Outcome)
	}
	if j.State == sluice.StateCompleted && old.State != sluice.StateCompleted {
		w.say("server", "job %s has ended: %s", short(j.ID), j.Outcome)
		if j.Outcome == sluice.OutcomeSuccess {
			if l := w.lives[w.newest(j)]; l == nil || !l.ended || !l.success || l.pre {
				w.fail("one end", "job %s is said to have succeeded, and no process of it did", short(j.ID))
			}
		}
	}
	if old.Phase != j.Phase {
		w.judgeMade(old, j)
	}
	if old.State == sluice.StateRunning && j.Waiting() {
		if j.CanceledBy != "" {
			w.fail("one end", "job %s was cancelled and waits for another attempt", short(j.ID))
		}
		if j.Lost > j.MaxLostAttempts {
			w.fail("max_lost_attempts", "job %s waits for another attempt after %d lost ones of %d", short(j.ID), j.Lost, j.MaxLostAttempts)
		}
	}
	if old.Waiting() && j.Limit != nil && old.Limit != nil && *j.Limit != *old.Limit {
		if r := w.model.rule[j.ID]; r == nil || r.n != j.Limit.N {
			w.fail("limit in force", "the limit of job %s became %v, which nobody asked for", short(j.ID), *j.Limit)
		}
	}
}

func (w *World) newest(j *sluice.Job) int64 {
	ids := w.rows.byJob[j.Seq]
	if len(ids) == 0 {
		return 0
	}
	return ids[len(ids)-1]
}

// judgeEnding proves that a job ended by the engine itself had to.
func (w *World) judgeEnding(j *sluice.Job, name string) {
	switch name {
	case "ConcurrencyLimitExceeded":
		r, _ := w.model.inForce(j)
		n := w.model.counted(j.Key, r, j.CompletedAt) + w.model.ahead(j, j.CompletedAt, j.CompletedAt.Equal(j.CreatedAt) || j.Phase == sluice.PhasePreprocessed)
		if n < r.n {
			w.fail("on_concurrency_limit", "job %s was refused under %+v with %d counted or ahead", short(j.ID), r, n)
		}
	case "WaitedTooLong":
		if j.ExpiresAt.IsZero() || j.CompletedAt.Before(j.ExpiresAt) {
			w.fail("max_wait_s", "job %s failed at %s; its time is up at %s", short(j.ID), w.at(j.CompletedAt), w.at(j.ExpiresAt))
		}
	case "TooManyWaiting", "InvalidPreprocessorResult":
		w.judgeMadeEnding(j, name)
	case "WorkerLost":
		if j.Lost != j.MaxLostAttempts+1 {
			w.fail("max_lost_attempts", "job %s failed after %d lost attempts of %d", short(j.ID), j.Lost, j.MaxLostAttempts)
		}
	}
}

// judgeStanding proves that a job that would rather fail than wait finds room
// when it is due, behind those who stand before it.
func (w *World) judgeStanding(j *sluice.Job) {
	if j.OnLimit != sluice.OnLimitFail || !j.HasKey {
		return
	}
	if l := w.lives[w.newest(j)]; j.Attempt > 0 && (l == nil || !l.pre) {
		return // it passed, and waits for another attempt
	}
	r, _ := w.model.inForce(j)
	now := w.now()
	if n := w.model.counted(j.Key, r, now) + w.model.standing(j); n >= r.n {
		w.fail("on_concurrency_limit", "job %s waits under %+v with %d counted or ahead", short(j.ID), r, n)
	}
}

// judgeExecution proves that what is written of an execution is what its
// worker lived.
func (w *World) judgeExecution(old, x *sluice.Execution) {
	l := w.lives[x.ID]
	running := l != nil && l.launched && !l.ended
	switch {
	case !old.Held() && (x.End != old.End || !x.ReleasedAt.Equal(old.ReleasedAt) || !x.ConfirmedAt.Equal(old.ConfirmedAt)):
		w.fail("one end", "execution %d was over (%s) and is changed to %s", x.ID, old.End, x.End)
	case x.End == sluice.EndStruck && l != nil && l.launched:
		w.fail("crash-safe", "execution %d of job %s is struck out, and its process was launched at %s", x.ID, short(x.JobID), w.at(l.launchedAt))
	case old.Held() && !x.Held() && running:
		w.fail("crash-safe", "the slot of execution %d (job %s) is released (%s) while its process runs", x.ID, short(x.JobID), x.End)
	case old.ConfirmedAt.IsZero() && !x.ConfirmedAt.IsZero() && (l == nil || !l.launched):
		w.fail("evidence", "execution %d is confirmed, and was never launched", x.ID)
	}
	if old.Held() && !x.Held() {
		w.say("server", "slot of job %s, attempt %d, is free (%s)", short(x.JobID), x.Attempt, x.End)
		if x.End == sluice.EndLost {
			w.judgeLoss(x)
		}
	}
}

// judgeLoss proves that an attempt is declared lost only when its worker was
// silent for lost_after while a server could have heard it, or is known to be
// dead.
func (w *World) judgeLoss(x *sluice.Execution) {
	w.lost++
	k := w.worker(x.Worker)
	if k.gone {
		return
	}
	if silent := w.boot() - max(k.heardAt, w.hearingSince()); silent < lostAfter {
		w.fail("loss of a worker", "job %s, attempt %d, is declared lost, and %s was silent for no more than %s", short(x.JobID), x.Attempt, k.name, silent)
	}
}

// hearingSince returns since when the server that has heard longest could.
func (w *World) hearingSince() time.Duration {
	since := w.boot()
	for _, s := range w.answering() {
		since = min(since, s.bootedAt)
	}
	return since
}

// evidence lists the newest executions of a key.
func (w *World) evidence(key string) string {
	var b strings.Builder
	ids := w.rows.byKey[key]
	for _, id := range ids[max(0, len(ids)-12):] {
		x := w.rows.execs[id]
		fmt.Fprintf(&b, "\n      job %s/%d taken %s confirmed %s released %s %s", short(x.JobID), x.Attempt,
			w.at(x.StartedAt), w.at(x.ConfirmedAt), w.at(x.ReleasedAt), x.End)
		if l := w.lives[id]; l != nil && l.launched {
			fmt.Fprintf(&b, " (launched %s, gone %s)", w.at(l.launchedAt), w.at(l.goneAt))
		}
	}
	return b.String()
}

// judgeIdle proves, after the server has done what it had to, that no place is
// free that could run something, and that nothing is overdue.
func (w *World) judgeIdle() {
	now := w.now()
	for _, s := range w.servers {
		for _, c := range s.calls {
			able := w.model.startable(c.w.tags, now)
			for _, name := range sorted(able) {
				j := able[name]
				w.fail("the next available slot", "%s asks %s for work for %d places with tags %v, and job %s (%s) has room and is not started",
					c.w.name, s, c.places, c.w.tags, short(j.ID), w.clean(name))
			}
		}
	}
	for _, j := range w.rows.jobs {
		if !j.Waiting() {
			continue
		}
		if !j.ExpiresAt.IsZero() && !j.ExpiresAt.After(now) {
			w.fail("max_wait_s", "job %s waits though its time was up at %s", short(j.ID), w.at(j.ExpiresAt))
		}
		if j.State == sluice.StateScheduled && !j.ScheduledFor.After(now) {
			w.fail("the next available slot", "job %s was due at %s and is still scheduled", short(j.ID), w.at(j.ScheduledFor))
		}
	}
}
