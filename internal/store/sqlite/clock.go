package sqlite

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Clock is what the store's clock is made from.
type Clock interface {
	Wall() time.Time     // the wall clock, which may step
	Boot() time.Duration // a clock that only ever ascends, and goes on while the machine sleeps
}

type machine struct{}

var started = time.Now()

func (machine) Wall() time.Time { return time.Now() }

// maxStep is how far the wall clock may be away before it is called a step.
const maxStep = 250 * time.Millisecond

// clock is the store's clock; see the package comment. Views read it too.
type clock struct {
	mu      sync.Mutex
	src     Clock
	log     *slog.Logger
	base    int64 // our instant, in microseconds, at boot
	boot    time.Duration
	last    int64         // newest instant given out
	offset  time.Duration // of the wall clock against ours when it was last found to have stepped
	steps   []time.Duration
	largest atomic.Int64
}

// newClock starts a clock that is never behind the newest instant recorded.
func newClock(src Clock, newest int64, log *slog.Logger) *clock {
	if src == nil {
		src = machine{}
	}
	k := &clock{src: src, log: log, boot: src.Boot()}
	wall := src.Wall().UnixMicro()
	k.base = max(wall, newest)
	k.last = k.base
	if behind := time.Duration(k.base-wall) * time.Microsecond; behind > maxStep {
		k.stepped(-behind, -behind)
	}
	return k
}

func (k *clock) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	us := k.base + int64((k.src.Boot()-k.boot)/time.Microsecond)
	wall := time.Duration(k.src.Wall().UnixMicro()-us) * time.Microsecond
	if wall > maxStep {
		k.stepped(wall, wall-k.offset)
		k.base += int64(wall / time.Microsecond)
		us += int64(wall / time.Microsecond)
		k.offset = 0
	} else if moved := wall - k.offset; moved > maxStep || moved < -maxStep {
		k.stepped(wall, moved)
	}
	k.last = max(k.last, us)
	return time.UnixMicro(k.last).UTC()
}

// stepped notes that the wall clock, now at an offset to ours, moved by a step.
func (k *clock) stepped(offset, step time.Duration) {
	k.offset = offset
	if size := int64(step.Abs()); size > k.largest.Load() {
		k.largest.Store(size)
	}
	k.steps = append(k.steps, step)
	if offset > maxStep {
		k.log.Warn("the wall clock stepped forward; the store's clock follows", "step", step)
		return
	}
	k.log.Warn("the wall clock stepped; the store's clock goes on with the machine's uptime",
		"step", step, "wall_clock_is_behind_by", -offset)
}

// newest returns the newest instant given out, in microseconds.
func (k *clock) newest() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}

// takeSteps returns the steps that were seen since it was last called.
func (k *clock) takeSteps() []time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	steps := k.steps
	k.steps = nil
	return steps
}
