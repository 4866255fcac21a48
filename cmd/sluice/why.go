package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sluice"
	"sluice/client"
	"sluice/limit"
)

const slotsShown = 10

type jobsWhyCmd struct {
	jobArg
	remote
	output
}

// Run says why a job does not run.
func (y *jobsWhyCmd) Run(ctx context.Context, a *app) error {
	c, err := y.connect(a)
	if err != nil {
		return err
	}
	if y.JSON {
		w, err := c.Wait(ctx, y.ID)
		if err != nil {
			return err
		}
		return writeJSON(a.out, w)
	}
	j, err := c.Job(ctx, y.ID)
	if err != nil {
		return err
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	if j.Wait == nil {
		a.showNoWait(j, now)
		return a.showApprovals(ctx, c, j, now)
	}
	a.showWait(j, j.Wait, now)
	return nil
}

// showNoWait is the answer about a job that runs or has ended.
func (a *app) showNoWait(j *client.Job, now time.Time) {
	switch {
	case j.Completed():
		ago := ""
		if j.CompletedAt != nil {
			ago = " " + spell(now.Sub(*j.CompletedAt)) + " ago"
		}
		fmt.Fprintf(a.out, "It does not wait: it ended%s (%s).\n", ago, stateOf(j))
	case j.StartedAt != nil && j.Kind.IsFlow():
		fmt.Fprintf(a.out, "It has begun: the flow has been running for %s.\n", spell(now.Sub(*j.StartedAt)))
	case j.StartedAt != nil:
		fmt.Fprintf(a.out, "It does not wait: it has been running for %s on %s.\n", spell(now.Sub(*j.StartedAt)), clean(j.Worker))
	default:
		fmt.Fprintln(a.out, "It does not wait: it is running.")
	}
}

func (a *app) showWait(j *client.Job, w *sluice.Wait, now time.Time) {
	since := j.CreatedAt
	if w.ScheduledAt.After(since) {
		since = w.ScheduledAt
	}
	name := subject(j)
	opening := fmt.Sprintf("%s has waited for %s.", name, spell(now.Sub(since)))
	if w.Reason == sluice.ReasonScheduled {
		opening = fmt.Sprintf("%s was pushed %s ago.", name, spell(now.Sub(j.CreatedAt)))
	}
	writeWrapped(a.out, a.width, opening)
	writeWrapped(a.out, a.width, a.sentence(w, now))
	for _, reason := range w.Also {
		writeWrapped(a.out, a.width, also(reason, w))
	}
	fmt.Fprintln(a.out)
	facts := []fact{{"job", j.ID}}
	if w.Key != nil {
		facts = append(facts, fact{"key", shownKey(*w.Key)})
	}
	facts = append(facts, fact{"limit", limitWords(w.Limit)}, fact{"slots", slotsWords(w)}, fact{"position", positionWords(w.Position)})
	if w.NotBefore != nil {
		facts = append(facts, fact{"earliest", a.when(*w.NotBefore, now) + "; no start can be earlier"})
	}
	if w.Estimate != nil {
		estimate := a.when(*w.Estimate, now)
		if !w.Estimate.After(now) {
			estimate = "about now"
		}
		if w.EstimateBasis != "" {
			estimate += ": " + w.EstimateBasis
		}
		facts = append(facts, fact{"estimate", estimate})
	}
	writeFacts(a.out, a.width, "  ", facts)
	a.showSlots(w, now)
}

// subject says what a job runs, as a sentence begins.
func subject(j *client.Job) string {
	switch {
	case j.Kind == sluice.KindDependencies && j.Path != "":
		return "The lock of " + j.Path
	case j.Kind == sluice.KindDependencies:
		return "The search for a lock"
	case j.Path == "":
		return "A " + string(j.Kind)
	}
	return j.Path
}

// sentence says the reason in plain words, and what would change it.
func (a *app) sentence(w *sluice.Wait, now time.Time) string {
	switch w.Reason {
	case sluice.ReasonScheduled:
		return fmt.Sprintf("It is not due yet: it was scheduled for %s.", a.when(w.ScheduledAt, now))
	case sluice.ReasonPreprocessing:
		return "Its arguments are not final yet: the script's preprocessor makes them. That needs a place on a worker, but no room under the limit; only then does the job take its place in line."
	case sluice.ReasonPaused:
		return a.pausedSentence(w, now)
	case sluice.ReasonLimit:
		if w.Limit != nil {
			return fmt.Sprintf("Its limit has no room: %s.", limitOf(w.Limit))
		}
		return "Its limit has no room."
	case sluice.ReasonBehind:
		return "There is room, but other jobs of its group come first."
	case sluice.ReasonNoWorker:
		return fmt.Sprintf("No worker serves its tag %q. This is not the limit's doing: it starts when such a worker does. Start one with: sluice server --tags %s", w.Tag, w.Tag)
	case sluice.ReasonWorkersBusy:
		return fmt.Sprintf("Every worker for its tag %q is busy. This is not the limit's doing: it starts when a place becomes free.", w.Tag)
	}
	return w.Message
}

func (a *app) pausedSentence(w *sluice.Wait, now time.Time) string {
	s := "Its group is paused" + byAndWhy(w.PausedBy, w.PausedWhy)
	if w.PausedUntil != nil {
		s += fmt.Sprintf(". It goes on at %s", a.when(*w.PausedUntil, now))
	}
	s += "."
	if w.Key != nil {
		s += fmt.Sprintf(" Lift it with: sluice limits resume %s", shellWord(*w.Key))
	}
	return s
}

// also says a further reason, shorter.
func also(reason sluice.Reason, w *sluice.Wait) string {
	switch reason {
	case sluice.ReasonScheduled:
		return "Also, it is not due yet."
	case sluice.ReasonPreprocessing:
		return "Also, its preprocessor has yet to make its arguments."
	case sluice.ReasonPaused:
		return "Also, its group is paused."
	case sluice.ReasonLimit:
		return "Also, its limit has no room."
	case sluice.ReasonBehind:
		return "Also, other jobs of its group come first."
	case sluice.ReasonNoWorker:
		return fmt.Sprintf("Also, no worker serves its tag %q.", w.Tag)
	case sluice.ReasonWorkersBusy:
		return fmt.Sprintf("Also, every worker for its tag %q is busy.", w.Tag)
	}
	return "Also: " + string(reason) + "."
}

// short says the reason in a few words, for one line.
func short(w *sluice.Wait) string {
	place := ""
	if w.Position != nil {
		place = ", " + positionWords(w.Position)
	}
	switch w.Reason {
	case sluice.ReasonScheduled:
		return "not due yet"
	case sluice.ReasonPreprocessing:
		return "its preprocessor makes its arguments"
	case sluice.ReasonPaused:
		return "its group is paused" + place
	case sluice.ReasonLimit:
		return "its limit has no room" + place
	case sluice.ReasonBehind:
		return "others come first" + place
	case sluice.ReasonNoWorker:
		return fmt.Sprintf("no worker serves its tag %q", w.Tag)
	case sluice.ReasonWorkersBusy:
		return fmt.Sprintf("every worker for its tag %q is busy", w.Tag)
	}
	return w.Message
}

func limitOf(l *sluice.WaitLimit) limit.Limit {
	return limit.Limit{
		N: l.ConcurrentLimit, Window: time.Duration(l.ConcurrencyTimeWindowS) * time.Second, Mode: l.ConcurrencyWindowFrom,
	}
}

func limitWords(l *sluice.WaitLimit) string {
	if l == nil {
		return ""
	}
	return limitOf(l).String() + sourceWords(l.Source)
}

func sourceWords(s limit.Source) string {
	if s == limit.FromOverride {
		return " (by an override)"
	}
	return ""
}

func slotsWords(w *sluice.Wait) string {
	if w.Limit == nil {
		return ""
	}
	if n := int64(w.Limit.ConcurrentLimit); w.SlotsTotal <= n {
		return fmt.Sprintf("%s of %s taken", grouped(w.SlotsTotal), grouped(n))
	}
	return fmt.Sprintf("%s taken, more than the limit of %s allows by now", grouped(w.SlotsTotal), grouped(int64(w.Limit.ConcurrentLimit)))
}

func positionWords(p *sluice.Position) string {
	switch {
	case p == nil:
		return ""
	case p.Exact && p.N == 1:
		return "first in line"
	case p.Exact:
		return ordinal(p.N) + " in line"
	}
	return ordinal(p.N) + " in line, or later"
}

// showSlots says who holds the slots and when they free.
func (a *app) showSlots(w *sluice.Wait, now time.Time) {
	if len(w.Slots) == 0 {
		return
	}
	fmt.Fprintln(a.out)
	t := table{indent: "  ", columns: []column{{head: "SLOT HELD BY"}, {head: "STARTED"}, {head: "FREES"}}}
	for _, s := range w.Slots[:min(len(w.Slots), slotsShown)] {
		holder := s.JobID
		if s.Obscured || holder == "" {
			holder = "(a job that you may not see)"
		}
		t.add(holder, brief(now.Sub(s.Since))+" ago", a.freesWords(s, w.Limit, now))
	}
	t.write(a.out, a.width)
	if more := w.SlotsTotal - slotsShown; more > 0 && len(w.Slots) >= slotsShown {
		fmt.Fprintf(a.out, "  and %s more (--json shows up to 100)\n", grouped(more))
	}
}

func (a *app) freesWords(s sluice.WaitSlot, l *sluice.WaitLimit, now time.Time) string {
	switch {
	case s.FreesAt != nil && s.FreesAt.After(now):
		return "in " + spell(s.FreesAt.Sub(now))
	case s.FreesAt != nil:
		return "now"
	case s.ReleasedAt == nil && l != nil && l.ConcurrencyTimeWindowS > 0 && l.ConcurrencyWindowFrom != limit.Start:
		return spell(time.Duration(l.ConcurrencyTimeWindowS)*time.Second) + " after its end"
	}
	return "when it ends"
}

// shownKey quotes a key that would not be seen as it is.
func shownKey(key string) string {
	if key == "" || strings.TrimSpace(key) != key || clean(key) != key {
		return fmt.Sprintf("%q", key)
	}
	return key
}

// shellWord quotes text so that a shell takes it for one word.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+=,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
