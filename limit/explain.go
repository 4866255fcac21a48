package limit

import (
	"container/heap"
	"math"
	"slices"
	"time"
)

// ProofProbe is [Group.Probe] for a proof instead of a decision: it counts
// only what cannot vanish. An execution that is not confirmed may be handed
// back and then counts nowhere, so in end mode it counts the confirmed ones
// that are held, in start mode none.
func (g *Group) ProofProbe(l Limit) Probe {
	if l.Mode == Start {
		return g.probe(Launches, int64(l.N))
	}
	return g.probe(Releases, int64(l.N)-(g.Launched-g.Released))
}

// NotBefore returns an instant before which no job with limit l can start,
// unless an override, a cancel or a prune comes between: a proof. It is the
// later of due and what the limit says; p and at come from [Group.ProofProbe].
// The zero time means that nothing can be said.
func NotBefore(now time.Time, l Limit, due time.Time, p Probe, at time.Time) time.Time {
	var t time.Time
	switch {
	case p.Full:
		t = now.Add(l.Window) // whoever ends, ends now or later, and counts for a window
	case !p.Full && !at.IsZero():
		t = at.Add(l.Window)
	}
	if due.After(t) {
		t = due
	}
	if !t.After(now) {
		return time.Time{}
	}
	return t
}

// Estimate guesses when the job at position n (from 1) starts. free holds the
// instants at which slots free, for slots that are taken or counted; slots
// that it does not list are free now. typical is how long an execution lasts.
// The guess takes all jobs ahead to have the same limit, and free places. One
// beyond 292 years is 292 years from the slot's instant.
func Estimate(now time.Time, l Limit, free []time.Time, n int64, typical time.Duration) time.Time {
	if n < 1 {
		n = 1
	}
	free = slices.Clone(free)
	slices.SortFunc(free, time.Time.Compare)
	if over := len(free) - l.N; over > 0 { // a lowered limit: the first ends free nothing
		free = free[over:]
	}
	period := l.Window
	if l.Mode != Start {
		period += typical
	}
	idle := int64(l.N - len(free))
	round, slot := (n-1)/int64(l.N), (n-1)%int64(l.N)
	at := now
	if slot >= idle {
		if f := free[slot-idle]; f.After(now) {
			at = f
		}
	}
	return at.Add(times(period, round))
}

// times returns d·n, or the longest duration there is if that is longer.
func times(d time.Duration, n int64) time.Duration {
	if d > 0 && n > math.MaxInt64/int64(d) {
		return math.MaxInt64
	}
	return d * time.Duration(n)
}

// Planned is one execution of a plan, relative to its beginning.
type Planned struct {
	Due, Start, End time.Duration
}

// Plan plays jobs against a limit with as many places as they need, and
// decides every start with [Decide]: what the limit would give. arrivals and
// durations have one entry a job; arrivals ascend.
func Plan(l Limit, arrivals, durations []time.Duration) []Planned {
	var (
		epoch    = time.Unix(0, 0).UTC()
		g        Group
		releases []time.Time
		launches []time.Time
		running  durationHeap
		out      = make([]Planned, 0, len(arrivals))
		now      = epoch
	)
	finish := func(until time.Time) {
		for len(running) > 0 && !epoch.Add(running[0]).After(until) {
			releases = append(releases, epoch.Add(heap.Pop(&running).(time.Duration)))
			g.Released++
		}
	}
	for i, due := range arrivals {
		if t := epoch.Add(due); t.After(now) {
			now = t
		}
		for {
			finish(now)
			p := g.Probe(l, 0)
			var at time.Time
			if p.No > 0 && p.Series == Launches {
				at = launches[p.No-1]
			} else if p.No > 0 {
				at = releases[p.No-1]
			}
			room := Decide(now, &g, l, p, at)
			if room.Now {
				break
			}
			now = room.From
			if now.IsZero() {
				now = epoch.Add(running[0])
			}
		}
		start := now.Sub(epoch)
		g.Taken++
		g.Launched++
		launches = append(launches, now)
		heap.Push(&running, start+durations[i])
		out = append(out, Planned{Due: due, Start: start, End: start + durations[i]})
	}
	return out
}

type durationHeap []time.Duration

func (h durationHeap) Len() int           { return len(h) }
func (h durationHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h durationHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *durationHeap) Push(x any)        { *h = append(*h, x.(time.Duration)) }
func (h *durationHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
