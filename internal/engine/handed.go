package engine

import (
	"context"
	"errors"
	"sync"

	"sluice"
	"sluice/internal/mask"
	"sluice/internal/store"
)

// Secrets that a job fetches itself are masked in its log like those that it is
// given, and since its worker does not know them that is done here: before a
// secret is handed to a job's token it is noted, and what the job writes
// afterwards is masked on its way into the store. What may be the beginning of a
// secret is held back until more comes, or the job ends.
//
// All of it is in memory, so it holds for jobs whose worker and whose own calls
// come to the same server, and not for what a job writes after that server was
// started anew.

// Bounds of what is noted.
const (
	maxHandedBytes = 64 << 20 // of secrets, of all jobs; beyond that none are handed out
	leastSweep     = 64       // jobs that are noted before those that have ended are looked for
)

// handed are the secrets that one execution has fetched.
type handed struct {
	texts secretTexts
	log   mask.Stream
	over  bool // its end is recorded, with what was held back
}

// handedBook holds the secrets that running executions have fetched.
type handedBook struct {
	mu    sync.Mutex
	jobs  map[int64]*handed
	bytes int
	sweep int // look for those that have ended when there are so many
}

func newHandedBook() *handedBook { return &handedBook{jobs: map[int64]*handed{}, sweep: leastSweep} }

// giveSecrets notes that an execution is about to get secrets; nothing else does, so
// an error means that it must not get them.
func (e *Engine) giveSecrets(ctx context.Context, execution int64, secrets ...string) error {
	if execution == 0 || len(secrets) == 0 {
		return nil
	}
	full, many := e.handed.add(execution, secrets)
	if full || many {
		if err := e.sweepHanded(ctx); err != nil {
			return err
		}
	}
	if full {
		if full, _ = e.handed.add(execution, secrets); full {
			return sluice.Errorf(sluice.CodeLimited, "running jobs have fetched %d MiB of secrets, which is the most; try again when some have ended", maxHandedBytes>>20)
		}
	}
	return nil
}

// add notes secrets. full: there is no room for them; many: there may be jobs
// that have ended.
func (b *handedBook) add(execution int64, secrets []string) (full, many bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes >= maxHandedBytes {
		return true, true
	}
	h := b.jobs[execution]
	if h == nil {
		h = &handed{}
		b.jobs[execution] = h
	}
	before, n := h.texts.bytes, len(h.texts.list)
	for _, s := range secrets {
		h.texts.add(s)
	}
	if len(h.texts.list) > n {
		h.log = h.log.With(mask.NewSet(h.texts.list))
	}
	b.bytes += h.texts.bytes - before
	return false, len(b.jobs) >= b.sweep
}

// sweepHanded forgets executions that have ended.
func (e *Engine) sweepHanded(ctx context.Context) error {
	b := e.handed
	b.mu.Lock()
	ids := make([]int64, 0, len(b.jobs))
	for id := range b.jobs {
		ids = append(ids, id)
	}
	b.mu.Unlock()
	over, err := view(ctx, e, func(r store.Reader) (over []int64, err error) {
		for _, id := range ids {
			x, err := r.Execution(id)
			if errors.Is(err, store.ErrNotFound) || err == nil && !x.Held() {
				over = append(over, id)
			} else if err != nil {
				return nil, err
			}
		}
		return over, nil
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range over {
		if h := b.jobs[id]; h != nil {
			b.bytes -= h.texts.bytes
			delete(b.jobs, id)
		}
	}
	b.sweep = max(leastSweep, 2*len(b.jobs))
	return nil
}

// logged masks what follows in the log of an execution. What the log is after it
// counts once keep was called, which is when the text is stored.
func (b *handedBook) logged(execution int64, text []byte) (masked []byte, keep func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.jobs[execution]
	if h == nil || len(h.texts.list) == 0 {
		return text, func() {}
	}
	next := h.log.With(nil)
	if h.over {
		next = mask.NewStream(h.log.Set())
	}
	masked = next.Feed(text)
	return masked, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		h.log = next.With(h.log.Set()) // more secrets may have come meanwhile
	}
}

// ended returns what was held back of the log of an execution that ends.
func (b *handedBook) ended(execution int64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.jobs[execution]
	if h == nil {
		return nil
	}
	h.over = true
	last := h.log.With(nil)
	return last.Flush()
}

// failure masks what a report says of a failure.
func (b *handedBook) failure(r *sluice.Report) {
	b.mu.Lock()
	h := b.jobs[r.Execution]
	var set *mask.Set
	if h != nil {
		set = h.log.Set()
	}
	b.mu.Unlock()
	if set != nil && !r.Success {
		r.Result = set.Object(r.Result)
	}
}
