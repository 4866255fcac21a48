package worker

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"sluice"
)

// backoff spaces repeated calls: it doubles from first to most, and each wait
// is between half of that and all of it, so that many workers do not call as one.
// It may be used from many goroutines.
type backoff struct {
	first, most time.Duration

	mu   sync.Mutex
	next time.Duration
}

func newBackoff(first, most time.Duration) *backoff {
	return &backoff{first: first, most: most, next: first}
}

func (b *backoff) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = b.first
}

// delay returns how long to wait now.
func (b *backoff) delay() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.next/2 + rand.N(b.next/2+1)
	b.next = min(2*b.next, b.most)
	return d
}

// wait waits for the delay or until ctx ends.
func (b *backoff) wait(ctx context.Context) { wait(ctx, b.delay()) }

// wait waits for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// temporary reports whether a call that failed with err may succeed if repeated.
// Errors without a code are those of the way to the source.
func temporary(err error) bool {
	switch sluice.CodeOf(err) {
	case sluice.CodeUnavailable, sluice.CodeInternal, sluice.CodeLimited, sluice.CodeUnauthorized:
		return true
	case sluice.CodeInvalid, sluice.CodeNotFound, sluice.CodeConflict, sluice.CodeForbidden, sluice.CodeTooLarge:
		return false
	}
	return true
}

func isConflict(err error) bool { return sluice.CodeOf(err) == sluice.CodeConflict }
