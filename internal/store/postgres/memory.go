package postgres

import (
	"sync"
	"time"

	"sluice"
)

// memory is what this server remembers of rows that it committed: executions
// that it handed out and that are held, with their jobs, and instants. Whatever
// is written because of it is written on the condition that it is still true.
type memory struct {
	mu       sync.Mutex
	execs    map[int64]*sluice.Execution
	jobs     map[int64]*sluice.Job // by Seq; jobs that run
	instants map[instantKey]time.Time
	follows  map[lineName]lineName // by the line of a flow's step, that of the step behind it, when that was last seen
}

// Bounds of the memory, in entries, and of a job in it, in bytes.
const (
	maxRemembered = 1 << 15
	maxInstants   = 1 << 17
	maxJobBytes   = 4 << 10
	maxFollows    = 1 << 12
)

func newMemory() *memory {
	return &memory{execs: map[int64]*sluice.Execution{}, jobs: map[int64]*sluice.Job{}, instants: map[instantKey]time.Time{}, follows: map[lineName]lineName{}}
}

// follow notes that behind a step of a flow in one line comes one in another.
func (m *memory) follow(step, next lineName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.follows) > maxFollows {
		clear(m.follows)
	}
	m.follows[step] = next
}

// following is a guess, from what was noted.
func (m *memory) following(step lineName) (next lineName, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, known = m.follows[step]
	return next, known
}

// execution returns an execution that is held and its job; nil if one of them is
// not remembered.
func (m *memory) execution(id int64) (*sluice.Execution, *sluice.Job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.execs[id]
	if x == nil || m.jobs[x.JobSeq] == nil {
		return nil, nil
	}
	c := *x
	return &c, m.jobs[x.JobSeq]
}

func (m *memory) instant(k instantKey) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, known := m.instants[k]
	return at, known
}

// forget forgets what a transaction that did not come to its end has read here.
func (m *memory) forget(t *tx) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, e := range t.execs {
		delete(m.execs, id)
		delete(m.jobs, e.row.JobSeq)
	}
	for seq := range t.jobs {
		delete(m.jobs, seq)
	}
	for _, seq := range t.forgotten {
		delete(m.jobs, seq)
	}
}

// learn takes over what a transaction has committed.
func (m *memory) learn(t *tx) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.execs) > maxRemembered || len(m.jobs) > maxRemembered {
		clear(m.execs)
		clear(m.jobs)
	}
	if len(m.instants) > maxInstants {
		clear(m.instants)
	}
	for k, at := range t.instants {
		m.instants[k] = at
	}
	for _, seq := range t.forgotten {
		delete(m.jobs, seq)
	}
	for id, e := range t.execs {
		switch {
		case !e.row.Held():
			delete(m.execs, id)
		case e.saved:
			x := e.row
			m.execs[id] = &x
		case m.execs[id] != nil && *m.execs[id] != e.row: // one of the two is older, and who knows which
			delete(m.execs, id)
		}
	}
	for seq, e := range t.jobs {
		switch {
		case e.row.State != sluice.StateRunning || len(e.row.Args)+len(e.row.Content) > maxJobBytes:
			delete(m.jobs, seq)
		case e.saved:
			m.jobs[seq] = e.row
		case m.jobs[seq] != nil && m.jobs[seq].Rev != e.row.Rev:
			delete(m.jobs, seq)
		}
	}
}
