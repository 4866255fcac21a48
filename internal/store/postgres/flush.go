package postgres

import (
	"time"

	"sluice/internal/store"
)

// held is what was written and not yet sent.
type held struct {
	groups  []*groupEntry
	lines   []*lineEntry
	jobs    []*jobEntry
	execs   []*execEntry
	runs    []*runEntry
	leave   []standing
	stand   []standing
	later   []standing
	results map[int64]heldResult
	tallies map[place]*tally
	texts   map[*textTable][]textRow
	raws    map[rawKey]int64
	workers map[string]*store.WorkerRow
	steps   map[stepKey][]byte
}

// checked is a statement that changes rows on a condition, and fails, as a
// division by zero, unless it changed as many as $1 says.
func checked(sql string) string {
	return "WITH changed AS (" + sql + " RETURNING 1) SELECT 1 / (count(*) = $1::bigint)::int FROM changed"
}

// flush adds to a pipe what has to be seen of what is held back. Rows that go
// come first, so that their names are free.
func (t *tx) flush(p *pipe, see kinds) {
	if see&groupRows != 0 {
		t.flushGroups(p)
	}
	if see&lineRows != 0 {
		t.flushLines(p)
	}
	if see&jobRows != 0 {
		t.flushJobs(p)
	}
	if see&standRows != 0 {
		t.flushStands(p)
	}
	if see&execRows != 0 {
		t.flushExecs(p)
	}
	if see == everything {
		t.flushRest(p)
	}
}

// place is where jobs are counted.
type place struct{ workspace, tag string }

type tally [3]int64 // by state

// count notes that a job came into a state from another; -1 is none.
func (t *tx) count(workspace, tag string, from, to int) {
	if from == to {
		return
	}
	if t.hold.tallies == nil {
		t.hold.tallies = map[place]*tally{}
	}
	e := t.hold.tallies[place{workspace, tag}]
	if e == nil {
		e = &tally{}
		t.hold.tallies[place{workspace, tag}] = e
	}
	if from >= 0 && from < 3 {
		e[from]--
	}
	if to >= 0 && to < 3 {
		e[to]++
	}
}

const qAddTally = `INSERT INTO tally (workspace, tag, scheduled, queued, running)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])`

func (t *tx) flushTallies(p *pipe) {
	var workspaces, tags []string
	var n [3][]int64
	for at, e := range t.hold.tallies {
		if *e == (tally{}) {
			continue
		}
		workspaces, tags = append(workspaces, at.workspace), append(tags, at.tag)
		for i := range n {
			n[i] = append(n[i], e[i])
		}
	}
	t.hold.tallies = nil
	if len(tags) > 0 {
		t.tallied += int64(len(tags))
		p.add(nil, qAddTally, workspaces, tags, n[0], n[1], n[2])
	}
}

// flushRest sends what has no order among itself.
func (t *tx) flushRest(p *pipe) {
	t.flushTallies(p)
	t.flushResults(p)
	t.flushTexts(p)
	t.flushRuns(p)
	t.flushWorkers(p)
}

// heldResult is a result to be stored; first says that there is none yet.
type heldResult struct {
	result []byte
	first  bool
}

// A job that has just ended has no result yet, which saves the database looking
// for one. Should it have one after all, the statement fails and the update runs
// again, carefully.
const (
	qFirstResults = `INSERT INTO result (seq, result) SELECT * FROM unnest($1::bigint[], $2::bytea[])`
	qSaveResults  = qFirstResults + ` ON CONFLICT (seq) DO UPDATE SET result = excluded.result`
)

func (t *tx) flushResults(p *pipe) {
	for _, first := range []bool{true, false} {
		var seqs []int64
		var results [][]byte
		for _, seq := range sortedKeys(t.hold.results) {
			if r := t.hold.results[seq]; r.first == first {
				seqs, results = append(seqs, seq), append(results, r.result)
			}
		}
		switch {
		case len(seqs) == 0:
		case first:
			p.add(nil, qFirstResults, seqs, results)
		default:
			p.add(nil, qSaveResults, seqs, results)
		}
	}
	t.hold.results = nil
}

// qTallies sums up what is counted; what it finds to be many rows, the next
// sweep makes few of.
const qTallies = `SELECT tag, sum(scheduled)::bigint, sum(queued)::bigint, sum(running)::bigint FROM tally
WHERE $1::text = '' OR workspace = $1::text GROUP BY tag HAVING sum(scheduled) <> 0 OR sum(queued) <> 0 OR sum(running) <> 0`

// JobCounts implements [store.Reader].
func (r *reader) JobCounts(workspace string) (map[string]store.Counts, error) {
	counts := map[string]store.Counts{}
	err := r.rows(func(w *row) {
		tag := w.getStr()
		counts[tag] = store.Counts{Scheduled: w.getInt(), Queued: w.getInt(), Running: w.getInt()}
	}, qTallies, workspace)
	return counts, err
}

// agenda is when something is due next, as the database says and as this
// transaction has changed it.
type agenda struct {
	known        bool
	expiry, wake int64
}

const qAgenda = `SELECT (SELECT expiry_us FROM job_state WHERE expiry_us > 0 ORDER BY expiry_us LIMIT 1),
(SELECT wake_us FROM line WHERE wake_us > 0 ORDER BY wake_us LIMIT 1)`

// look adds to a pipe what reads the agenda.
func (t *tx) look(p *pipe) {
	p.add(func(r *row) { t.agenda = agenda{known: true, expiry: r.getInt(), wake: r.getInt()} }, qAgenda)
}

// planned makes sure that the agenda is known.
func (t *tx) planned() error {
	if err := t.begin(); err != nil || t.agenda.known {
		return err
	}
	p := &pipe{}
	t.look(p)
	return t.send(p, lineRows|jobRows)
}

// moved notes that something that was due at one instant is so at another.
func (a *agenda) moved(at *int64, from, to int64) {
	if from != to && from != 0 && from == *at {
		a.known = false // it may have been the only one
	}
	if to != 0 && (*at == 0 || to < *at) {
		*at = to
	}
}

// NextWake implements [store.Tx].
func (t *tx) NextWake() (time.Time, error) {
	err := t.planned()
	at := t.agenda.wake
	if t.skipped && at != 0 { // somebody else is at it: look again, but not at once
		at = max(at, t.last+dur(relook))
	}
	return instant(at), err
}

// NextExpiry implements [store.Tx].
func (t *tx) NextExpiry() (time.Time, error) {
	err := t.planned()
	return instant(t.agenda.expiry), err
}
