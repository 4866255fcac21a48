package postgres

import (
	"fmt"
	"sync"
	"testing"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// TestLocksNoMoreThanAsked: of many groups that are ready, a server locks as
// many as it asked for, of those that no other has locked, and reads nothing of
// the others; so several servers find work of their own.
func TestLocksNoMoreThanAsked(t *testing.T) {
	const groups, most = 64, 16
	a, b, dsn := two(t)
	c := open(t, dsn, Options{})
	t.Cleanup(func() { c.Close() })
	update(t, a, func(tx store.Tx) error {
		for i := range groups {
			gs, err := tx.LockGroups([]string{fmt.Sprintf("k%d", i)})
			if err != nil {
				return err
			}
			l, err := tx.EnsureLine(gs[0].ID, "", "", "bash")
			if err != nil {
				return err
			}
			j := newJob()
			j.HasKey, j.Key, j.Limit = true, gs[0].Key, &limit.Limit{N: 1, Mode: limit.End}
			if err := tx.InsertJobs([]*sluice.Job{j}); err != nil {
				return err
			}
			if err := tx.Stand(l.ID, []*sluice.Job{j}); err != nil {
				return err
			}
			l.Head, l.HeadLimit, l.Queued, l.Ready = j.Rank(), *j.Limit, 1, true
			if err := tx.SaveLine(l); err != nil {
				return err
			}
		}
		return nil
	})
	taken := map[int64]int{}
	var mu sync.Mutex
	inside, leave := make(chan int), make(chan bool)
	var all sync.WaitGroup
	for i, s := range []*Store{a, b, c} {
		all.Go(func() {
			update(t, s, func(tx store.Tx) error {
				before := s.Stats().RowsRead
				lines, err := tx.ReadyLines([]string{"bash"}, most)
				if err != nil {
					return err
				}
				read := int(s.Stats().RowsRead - before)
				mu.Lock()
				for _, l := range lines {
					if heads, err := tx.Heads(l.ID, 1); err != nil || len(heads) != 1 || heads[0].Seq != l.Head.Seq {
						t.Errorf("the first jobs of line %d are %v, %v", l.ID, heads, err)
					}
					taken[l.GroupID]++
				}
				mu.Unlock()
				if len(lines) != most {
					t.Errorf("server %d found %d lines, want %d", i, len(lines), most)
				}
				inside <- read
				<-leave
				return nil
			})
		})
		if read := <-inside; read > 10*most { // candidates of two looks, then groups, lines and jobs, and what every transaction reads
			t.Errorf("server %d read %d rows for %d lines", i, read, most)
		}
	}
	close(leave)
	all.Wait()
	if len(taken) != 3*most {
		t.Errorf("three servers found %d groups, want %d", len(taken), 3*most)
	}
}
