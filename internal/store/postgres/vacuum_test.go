package postgres

import (
	"context"
	"testing"

	"sluice"
	"sluice/internal/pgtest"
	"sluice/internal/store"
)

// TestCleansUp: what a queue leaves behind is counted and can be cleaned up; who
// has a table for something like that at the moment is not waited for.
func TestCleansUp(t *testing.T) {
	dsn := pgtest.Database(t)
	s := open(t, dsn, Options{})
	t.Cleanup(func() { s.Close() })
	update(t, s, func(tx store.Tx) error {
		l, err := tx.EnsureLine(0, "main", "f/a/one", "bash")
		if err != nil {
			return err
		}
		j := newJob()
		if err := tx.InsertJobs([]*sluice.Job{j}); err != nil {
			return err
		}
		return tx.Stand(l.ID, []*sluice.Job{j})
	})
	if n := s.added.Load(); n != 1 {
		t.Errorf("%d rows that are to be summed up are counted, want 1", n)
	}
	before := s.dead.Load()
	update(t, s, func(tx store.Tx) error {
		l, err := tx.LineFor(0, "main", "f/a/one", "bash")
		if err != nil {
			return err
		}
		if l, err = tx.LockLine(l.ID); err != nil {
			return err
		}
		heads, err := tx.Heads(l.ID, 1)
		if err != nil {
			return err
		}
		if left, err := tx.Leave(l.ID, heads[0]); err != nil || !left {
			t.Errorf("the job left its line: %v, %v", left, err)
		}
		return tx.SaveLine(l)
	})
	if n := s.dead.Load() - before; n != 2 {
		t.Errorf("%d dead rows are counted, want 2", n)
	}
	c := other(t, dsn)
	for _, q := range []string{"BEGIN", "LOCK TABLE stand IN SHARE UPDATE EXCLUSIVE MODE"} {
		if _, err := c.Exec(context.Background(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.vacuum(t.Context()); err != nil {
		t.Errorf("while somebody has one of the tables: %v", err)
	}
	if _, err := c.Exec(context.Background(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := s.vacuum(t.Context()); err != nil {
		t.Error(err)
	}
	var vacuums int
	if err := c.QueryRow(context.Background(), `SELECT count(*) FROM pg_class WHERE relname IN ('stand', 'line') AND relallvisible = relpages AND relpages > 0`).Scan(&vacuums); err != nil || vacuums != 2 {
		t.Errorf("%d of 2 tables are clean: %v", vacuums, err)
	}
}
