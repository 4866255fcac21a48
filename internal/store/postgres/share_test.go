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

// TestLooksNoMoreInVain: a server that finds all lines locked by another does not
// look again, at the cost of no statement, until it is told of something; and it
// is told when they are free.
func TestLooksNoMoreInVain(t *testing.T) {
	a, _, dsn := two(t)
	b := open(t, dsn, Options{Deaf: true, Sweep: -1})
	t.Cleanup(func() { b.Close() })
	var id int64
	ready := func(s *Store, path string) {
		update(t, s, func(tx store.Tx) error {
			l, err := tx.EnsureLine(0, "main", path, "bash")
			if err != nil {
				return err
			}
			j := newJob()
			if err := tx.InsertJobs([]*sluice.Job{j}); err != nil {
				return err
			}
			if err := tx.Stand(l.ID, []*sluice.Job{j}); err != nil {
				return err
			}
			id, l.Head, l.Queued, l.Ready = l.ID, j.Rank(), 1, true
			tx.Signal(store.Signal{Tags: []string{"bash"}})
			return tx.SaveLine(l)
		})
	}
	look := func(want int) (statements int64) {
		update(t, b, func(tx store.Tx) error {
			tx.Now()
			before := b.Stats().Statements
			lines, err := tx.ReadyLines([]string{"bash"}, 10)
			if len(lines) != want {
				t.Errorf("%d lines are ready, want %d", len(lines), want)
			}
			statements = b.Stats().Statements - before
			return err
		})
		return statements
	}
	ready(a, "f/a/one")
	told := make(chan struct{}, 100)
	defer b.Subscribe(func(s store.Signal) {
		if len(s.Tags) > 0 {
			told <- struct{}{}
		}
	})()
	update(t, a, func(tx store.Tx) error {
		if _, err := tx.LockLine(id); err != nil {
			return err
		}
		if look(0) == 0 {
			t.Error("the first look asked nothing")
		}
		b.looks.mu.Lock()
		busy := b.looks.pending
		b.looks.mu.Unlock()
		if !busy {
			t.Error("nobody looks whether the line is free again")
		}
		if n := look(0); n != 0 {
			t.Errorf("the second look in vain made %d statements", n)
		}
		if len(told) > 0 {
			t.Error("it was told of a line that is locked")
		}
		ready(b, "f/a/two")
		<-told // of its own
		look(1)
		return nil
	})
	<-told // by the look at what was locked: it hears of nothing
	look(2)
}

// TestJobsOfExecutionsAtOnce: executions that a heartbeat has read in the same
// transaction are recorded with as few statements as others, and what was handed
// out stays remembered when it was read meanwhile.
func TestJobsOfExecutionsAtOnce(t *testing.T) {
	const many = 50
	a, b, _ := two(t)
	var ids, seqs []int64
	update(t, a, func(tx store.Tx) error {
		ids, seqs = nil, nil
		jobs := make([]*sluice.Job, many)
		for i := range jobs {
			jobs[i] = newJob()
			jobs[i].State, jobs[i].Attempt = sluice.StateRunning, 1
		}
		if err := tx.InsertJobs(jobs); err != nil {
			return err
		}
		for _, j := range jobs {
			x := &sluice.Execution{JobSeq: j.Seq, JobID: j.ID, Attempt: 1, Worker: "w", Tag: "bash", StartedAt: tx.Now()}
			if err := tx.InsertExecution(x); err != nil {
				return err
			}
			ids, seqs = append(ids, x.ID), append(seqs, j.Seq)
		}
		return nil
	})
	record := func(s *Store) {
		t.Helper()
		update(t, s, func(tx store.Tx) error {
			if held, err := tx.HeldBy("w"); err != nil || len(held) != many {
				t.Errorf("%d are held, %v", len(held), err)
			}
			before := s.Stats().Statements
			if _, _, err := tx.LockExecutions(ids); err != nil {
				return err
			}
			for _, seq := range seqs {
				if _, err := tx.JobBySeq(seq); err != nil {
					return err
				}
			}
			if n := s.Stats().Statements - before; n > 10 {
				t.Errorf("%d statements for %d executions", n, many)
			}
			return nil
		})
	}
	record(a)
	record(b) // it has handed out nothing of it
	for _, id := range ids {
		if x, j := a.memory.execution(id); x == nil || j == nil {
			t.Fatalf("execution %d was read, and is remembered no more", id)
		}
	}
}

// TestLineThatAnotherMakesMeanwhile: a line that was looked for and not found is
// made by another server before the update that made it here is committed.
func TestLineThatAnotherMakesMeanwhile(t *testing.T) {
	a, b, _ := two(t)
	n := named(0, "main", "f/a/one", "bash")
	stands := func(tx store.Tx) error {
		l, err := tx.EnsureLine(0, n.workspace, n.path, n.tag)
		if err != nil {
			return err
		}
		j := newJob()
		if err := tx.InsertJobs([]*sluice.Job{j}); err != nil {
			return err
		}
		if err := tx.Stand(l.ID, []*sluice.Job{j}); err != nil {
			return err
		}
		l.Queued++
		return tx.SaveLine(l)
	}
	runs := 0
	update(t, a, func(tx store.Tx) error {
		if runs++; runs == 1 {
			at, p := inside(tx), &pipe{}
			at.lookFor(p, []lineName{n})
			if err := at.send(p, 0); err != nil || !at.absent[n] {
				t.Errorf("the line is there: %v", err)
			}
			update(t, b, stands)
		}
		return stands(tx)
	})
	update(t, b, func(tx store.Tx) error {
		l, err := tx.LineFor(0, n.workspace, n.path, n.tag)
		if err != nil {
			return err
		}
		if heads, err := tx.Heads(l.ID, 10); l.Queued != 2 || len(heads) != 2 || runs != 2 {
			t.Errorf("%d jobs in line, %d counted, after %d runs: %v", len(heads), l.Queued, runs, err)
		}
		return nil
	})
}

func inside(t store.Tx) *tx { return t.(*tx) }
