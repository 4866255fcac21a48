package postgres

import (
	"context"
	"sync"
	"testing"

	"sluice/internal/pgtest"
)

// TestPooler: behind a pooler in transaction mode that keeps no prepared
// statements servers start, at once on an empty database, and count in groups
// that they lock in any order.
func TestPooler(t *testing.T) {
	pooled := pgtest.Pooler(t, pgtest.Database(t)) + "&default_query_exec_mode=exec"
	var stores [3]*Store
	var all sync.WaitGroup
	for i := range stores {
		all.Go(func() {
			s, err := Open(context.Background(), pooled, Options{Logger: quiet})
			if err != nil {
				t.Error(err)
				return
			}
			stores[i] = s
			t.Cleanup(func() { s.Close() })
		})
	}
	all.Wait()
	if !t.Failed() {
		if err := stores[2].vacuum(t.Context()); err != nil {
			t.Error(err)
		}
		manyServers(t, stores[0], stores[1])
	}
}
