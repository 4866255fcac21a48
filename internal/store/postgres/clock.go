package postgres

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Clock replaces the database's clock in tests.
type Clock interface {
	Wall() time.Time     // the wall clock, which may step
	Boot() time.Duration // a clock that only ever ascends
}

// maxStep is how far a clock may be away before it is called a step.
const maxStep = 250 * time.Millisecond

// clock is what this server knows of the database's clock. Its instants are
// read in statements that follow those that lock, together with the newest
// instant that any committed transaction has recorded (the table clock), so
// that none is ever before one of those. Within a transaction the instant goes
// on with this machine's monotonic clock: from the moment at which the answer
// came, so that it is never ahead of the database's.
type clock struct {
	mu     sync.Mutex
	test   Clock // nil: the database's
	base   int64 // of a test's clock: our instant at boot
	boot   time.Duration
	log    *slog.Logger
	newest int64 // given out by this server

	lead    time.Duration // of the database's clock before ours, when last read
	read    bool
	steps   []time.Duration
	largest atomic.Int64
}

var started = time.Now()

// reading is an instant of the database and when it came here.
type reading struct {
	us    int64
	came  time.Duration // on our monotonic clock
	floor int64
}

// note takes an answer of the database into account.
func (k *clock) note(us, floor int64) reading {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := reading{us: us, floor: floor, came: time.Since(started)}
	if k.test != nil {
		k.follow(floor)
		return r
	}
	lead := time.Duration(us)*time.Microsecond - r.came
	// An answer that was long on its way makes the lead look smaller, so that a
	// step backward is one only if the next is as far away.
	if moved := lead - k.lead; k.read && (moved > maxStep || moved < -maxStep) {
		k.stepped(moved)
		k.lead = lead
	} else if !k.read || lead > k.lead {
		k.lead = lead
	}
	k.read = true
	return r
}

// follow keeps a test's clock ahead of what was recorded.
func (k *clock) follow(floor int64) {
	if k.base == 0 {
		k.boot = k.test.Boot()
		k.base = max(k.test.Wall().UnixMicro(), floor)
	}
	us := k.base + dur(k.test.Boot()-k.boot)
	wall := time.Duration(k.test.Wall().UnixMicro()-us) * time.Microsecond
	moved := wall - k.lead
	if wall > maxStep {
		k.base += dur(wall)
		k.lead = 0
		k.stepped(moved)
	} else if moved > maxStep || moved < -maxStep {
		k.lead = wall
		k.stepped(moved)
	}
}

func (k *clock) stepped(step time.Duration) {
	if size := int64(step.Abs()); size > k.largest.Load() {
		k.largest.Store(size)
	}
	k.steps = append(k.steps, step)
	k.log.Warn("the database's clock stepped against this machine's", "step", step)
}

// takeSteps returns the steps that were seen since it was last called.
func (k *clock) takeSteps() []time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	steps := k.steps
	k.steps = nil
	return steps
}

// now returns the instant that a reading has become.
func (k *clock) now(r reading) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	us := r.us + dur(time.Since(started)-r.came)
	if k.test != nil {
		k.follow(r.floor)
		us = k.base + dur(k.test.Boot()-k.boot)
	}
	k.newest = max(k.newest, us, r.floor)
	return k.newest
}

// latest is a reading that says what this server knows without asking.
func (k *clock) latest() reading {
	k.mu.Lock()
	defer k.mu.Unlock()
	came := time.Since(started)
	return reading{us: dur(k.lead + came), came: came}
}
