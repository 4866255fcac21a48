package postgres

import (
	"cmp"
	"slices"
	"strings"

	"sluice/internal/store"
)

// ahead is a look at the lines that are ready, which travels with whatever is
// sent next, most often the beginning of the transaction. What it says of lines
// that this transaction has locked since does not count: those are known better
// here. The others are locked before they are used, as after any look.
type ahead struct {
	tags  []string
	ask   int
	sent  bool
	gen   int64 // what was told of before it was sent
	found []candidate
}

// maxMerged is with how many lines of its own a transaction still merges what
// the database says of the others. With more, its own are written first.
const maxMerged = 64

// Foresee implements [store.Tx].
func (t *tx) Foresee(tags []string, most int) {
	tags = unique(tags)
	if t.ahead == nil {
		t.ahead = map[string]*ahead{}
	}
	if !t.s.looks.known(tags) {
		t.ahead[strings.Join(tags, "\n")] = &ahead{tags: tags, ask: t.s.wide(most) + min(len(t.lines), maxMerged) + aheadMore}
	}
}

// wide is how many lines are looked at for `most`: more, if the first ones were
// somebody else's lately.
func (s *Store) wide(most int) int {
	if s.crowded.Load() {
		return most * 4
	}
	return most
}

// aheadMore is how many lines more than asked for are looked at: the transaction
// may lock some before it asks.
const aheadMore = 4

// lookAhead adds to a pipe the looks that were not sent yet.
func (t *tx) lookAhead(p *pipe) {
	for _, a := range t.ahead {
		if !a.sent {
			a.sent, a.gen = true, t.s.looks.now()
			p.add(func(r *row) { a.found = append(a.found, scanCandidate(r)) }, qReady, a.tags, int64(a.ask))
		}
	}
}

// ready returns lines that are ready for tags, with those that this transaction
// has locked as they are here, in the order of their turns: at least `ask`, or
// all.
func (t *tx) ready(tags []string, ask int) ([]candidate, error) {
	if len(t.lines) > maxMerged {
		t.lookedSince(t.s.looks.now())
		return t.candidates(qReady, lineRows, tags, int64(ask))
	}
	a := t.ahead[strings.Join(tags, "\n")]
	if a == nil || !a.enough(t, ask) {
		a = &ahead{tags: tags, ask: ask + len(t.lines) + len(t.dropped), gen: t.s.looks.now()}
		p := &pipe{}
		p.add(func(r *row) { a.found = append(a.found, scanCandidate(r)) }, qReady, tags, int64(a.ask))
		if err := t.send(p, 0); err != nil {
			return nil, err
		}
	}
	t.lookedSince(a.gen)
	var list []candidate
	for _, c := range a.found {
		if !t.own(c.id) {
			list = append(list, c)
		}
	}
	for _, e := range t.lines {
		if l := &e.l; !e.gone && offers(l, tags) {
			list = append(list, candidate{id: l.ID, group: l.GroupID, neg: int64(-l.Head.Priority), turn: l.Turn})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.neg, b.neg), cmp.Compare(a.turn, b.turn)) })
	return list[:min(len(list), ask)], nil
}

// lookedSince notes what had been told of before a look, if none before it was in vain.
func (t *tx) lookedSince(gen int64) {
	if len(t.relook.lists) == 0 {
		t.lookedAt = gen
	}
}

// own reports whether a line's row in the database is not what counts here.
func (t *tx) own(id int64) bool { return t.lines[id] != nil || t.dropped[id] }

// enough reports whether a look tells of `ask` lines beside those of the
// transaction, or of all.
func (a *ahead) enough(t *tx, ask int) bool {
	if !a.sent {
		return false
	}
	others := 0
	for _, c := range a.found {
		if !t.own(c.id) {
			others++
		}
	}
	return len(a.found) < a.ask || others >= ask
}

// offers reports whether a line may give work to places with tags.
func offers(l *store.Line, tags []string) bool {
	return l.Ready && slices.Contains(tags, l.Tag) && !has(l.BlockedBy, tags)
}

// ended notes that the update under way records the ends of executions, and
// returns the line in which the flow's next step is likely to stand, to be looked
// for together with what else is read.
func (t *tx) ended(execs []int64) []lineName {
	for _, id := range execs {
		e := t.execs[id]
		if e == nil || t.jobs[e.row.JobSeq] == nil {
			continue
		}
		if j := t.jobs[e.row.JobSeq].row; j.Step != "" && !j.HasKey {
			t.step = named(0, j.Workspace, j.Path, j.LineTag())
			next, known := t.s.memory.following(t.step)
			if known && t.lineNames[next] == nil {
				return []lineName{next}
			}
		}
	}
	return nil
}

const qNamed = `SELECT 1 FROM line WHERE group_id = 0 AND workspace = $1::text AND path = $2::text AND tag = $3::text`

// lookFor adds to a pipe what tells whether lines are there. One that is not is
// inserted with the rest, if it is wanted then, and if jobs still stand in it. If
// somebody else makes it meanwhile, its name is in use, and the update runs again,
// carefully.
func (t *tx) lookFor(p *pipe, names []lineName) {
	for _, n := range names {
		t.absent[n] = true
		p.add(func(*row) { t.absent[n] = false }, qNamed, n.workspace, n.path, n.tag)
	}
}
