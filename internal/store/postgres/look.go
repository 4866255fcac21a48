package postgres

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/store"
)

const (
	relook     = 5 * time.Millisecond
	relookMost = 100 * time.Millisecond
	relookRows = maxAsk // are asked for, of those that were somebody else's
)

// foreign are lines that gave no work because other transactions have locked
// all of them, by what is locked.
type foreign struct {
	lists         [][]string // of tags for which they are all that is ready
	groups, lines []int64
}

func (f *foreign) add(o foreign) {
	f.lists = append(f.lists, o.lists...)
	f.groups = append(f.groups, o.groups[:min(len(o.groups), max(relookRows-len(f.groups), 0))]...)
	f.lines = append(f.lines, o.lines[:min(len(o.lines), max(relookRows-len(f.lines), 0))]...)
}

// looks are what is to be looked at again.
type looks struct {
	mu      sync.Mutex
	waits   foreign
	pending bool                // a timer runs
	inVain  int                 // in a row
	gen     int64               // counts what was told of
	quiet   map[string][]string // lists of tags for which nothing is ready but waits, by what they are joined to
}

// known reports whether it is known of tags that others have locked all lines that
// are ready for them, and nothing was told of since.
func (l *looks) known(tags []string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quiet[strings.Join(tags, "\n")] != nil
}

// told takes note of a signal: there may be more that is ready.
func (l *looks) told(sig store.Signal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sig.All || len(sig.Tags) > 0 {
		l.gen++
	}
	for key, tags := range l.quiet {
		if sig.All || slices.ContainsFunc(tags, func(t string) bool { return slices.Contains(sig.Tags, t) }) {
			delete(l.quiet, key)
		}
	}
}

// released returns the tags for which nothing was ready but what another
// transaction of this server had locked, which now has come to its end.
func (l *looks) released(t *tx) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := func(id int64) bool { return t.lines[id] != nil }
	in := func(id int64) bool { return t.groups[id] != nil }
	if !slices.ContainsFunc(l.waits.groups, in) && !slices.ContainsFunc(l.waits.lines, of) {
		return nil
	}
	tags := slices.Concat(l.waits.lists...)
	l.waits = foreign{} // the timer finds nothing left to look at
	clear(l.quiet)
	return tags
}

// calm notes a look that was not in vain.
func (l *looks) calm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inVain = 0
}

// pause is how long to wait before the next look. The more often one was in
// vain, the longer. The looks' mutex is held.
func (l *looks) pause() time.Duration {
	wait := min(relook<<min(l.inVain, 5), relookMost)
	l.inVain++
	return wait + rand.N(wait)
}

// now returns how often something was told of.
func (l *looks) now() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gen
}

// lookAgain tells that there may be work after all, once one of the rows that
// others had locked is free again. gen is what was told of before they were found.
func (s *Store) lookAgain(f foreign, gen int64) {
	l := &s.looks
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits.add(f)
	if l.quiet == nil {
		l.quiet = map[string][]string{}
	}
	for _, tags := range f.lists {
		if l.gen == gen {
			l.quiet[strings.Join(tags, "\n")] = tags
		}
	}
	if l.pending {
		return
	}
	l.pending = true
	time.AfterFunc(l.pause(), s.peekAgain)
}

// peekAgain looks whether one of the rows is free: that costs one statement,
// where a transaction that finds nothing costs many.
func (s *Store) peekAgain() {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return
	}
	s.pending.Add(1)
	s.mu.RUnlock()
	defer s.pending.Done()
	l := &s.looks
	l.mu.Lock()
	f := foreign{groups: distinct(l.waits.groups), lines: distinct(l.waits.lines)}
	l.mu.Unlock()
	busy := s.allBusy(f)
	l.mu.Lock()
	if busy {
		time.AfterFunc(l.pause(), s.peekAgain)
		l.mu.Unlock()
		return
	}
	tags := unique(slices.Concat(l.waits.lists...))
	l.waits, l.pending = foreign{}, false
	clear(l.quiet)
	l.mu.Unlock()
	if len(tags) > 0 {
		s.tell(store.Signal{Tags: tags})
	}
}

// allBusy reports whether others have locked all of the rows; false if it cannot tell.
func (s *Store) allBusy(f foreign) (busy bool) {
	if len(f.groups)+len(f.lines) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	err := s.ask(ctx, func(p *pipe) {
		p.add(func(r *row) { busy = r.getInt() >= int64(len(f.groups)+len(f.lines)) }, qBusy, f.groups, f.lines)
	})
	return busy && err == nil
}

func distinct(ids []int64) []int64 {
	out := slices.Clone(ids)
	slices.Sort(out)
	return slices.Compact(out)
}

// qBusy counts which of some groups and lines are locked by a transaction that is
// under way. It is a guess, and locks nothing.
const qBusy = `WITH open AS MATERIALIZED (SELECT x::xid AS x FROM pg_snapshot_xip(pg_current_snapshot()) AS x)
SELECT (SELECT count(*) FROM grp WHERE id = ANY($1::bigint[]) AND xmax IN (SELECT x FROM open)) +
(SELECT count(*) FROM line WHERE id = ANY($2::bigint[]) AND xmax IN (SELECT x FROM open))`
