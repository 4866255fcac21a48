package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/store"
	"sluice/internal/store/storetest"
)

func newJob() *sluice.Job {
	return &sluice.Job{ID: uuid.NewString(), Workspace: "main", Tag: "bash", State: sluice.StateQueued, DeleteAfter: -1}
}

// TestGroupCommit queues updates while one is under way: they share a commit,
// and no caller is answered before it.
func TestGroupCommit(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s.db"), Options{})
	defer s.Close()
	s.batchTime = time.Hour
	const n = 40
	hold, begun := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	update := func(fn func(store.Tx) error) {
		all.Go(func() {
			if err := s.Update(context.Background(), fn); err != nil {
				t.Error(err)
			}
		})
	}
	update(func(tx store.Tx) error {
		close(begun)
		<-hold
		return tx.InsertJobs([]*sluice.Job{newJob()})
	})
	<-begun
	before := s.Stats().Commits
	for range n {
		update(func(tx store.Tx) error { return tx.InsertJobs([]*sluice.Job{newJob()}) })
	}
	for len(s.ops) < n {
		runtime.Gosched()
	}
	close(hold)
	all.Wait()
	if got := s.Stats().Commits - before; got != 1 {
		t.Errorf("%d updates that were queued at once made %d commits, want 1", n+1, got)
	}
}

// TestOnlyReading makes no commit.
func TestOnlyReading(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s.db"), Options{})
	defer s.Close()
	before := s.Stats().Commits
	err := s.Update(context.Background(), func(tx store.Tx) error {
		tx.Now()
		_, err := tx.ReadyLines([]string{"bash"}, 10)
		return err
	})
	if got := s.Stats().Commits - before; err != nil || got != 0 {
		t.Errorf("an update that wrote nothing made %d commits: %v", got, err)
	}
}

// TestGoexit has a function end the writer's goroutine, as t.FailNow would.
func TestGoexit(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s.db"), Options{})
	defer s.Close()
	err := s.Update(context.Background(), func(tx store.Tx) error {
		if err := tx.InsertJobs([]*sluice.Job{newJob()}); err != nil {
			return err
		}
		runtime.Goexit()
		return nil
	})
	if !errors.Is(err, errGoexit) {
		t.Errorf("error %v", err)
	}
	err = s.Update(context.Background(), func(tx store.Tx) error {
		n, err := tx.CountJobs(store.JobFilter{})
		if n != 0 {
			t.Errorf("%d jobs are left", n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestBrokenStatement commits nothing although the function does not mind.
func TestBrokenStatement(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s.db"), Options{})
	defer s.Close()
	err := s.Update(context.Background(), func(tx store.Tx) error {
		if err := tx.InsertJobs([]*sluice.Job{newJob()}); err != nil {
			return err
		}
		_ = s.tx.c.exec("INSERT INTO job (seq) VALUES (1)")
		return nil
	})
	if err == nil {
		t.Error("an update with a broken statement was committed")
	}
	if err := s.View(context.Background(), func(r store.Reader) error {
		n, err := r.CountJobs(store.JobFilter{})
		if n != 0 {
			t.Errorf("%d jobs are left", n)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestViewInterrupted ends the context of a view whose statement never ends.
func TestViewInterrupted(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s.db"), Options{})
	defer s.Close()
	for i := range 5 * readers { // no reader may come back broken
		ctx, cancel := context.WithCancel(context.Background())
		err := s.View(ctx, func(r store.Reader) error {
			if i%2 == 0 {
				cancel() // before the statement begins
			} else {
				time.AfterFunc(time.Millisecond, cancel)
			}
			return r.(*reader).c.exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
	}
	if err := s.View(context.Background(), func(r store.Reader) error { _, err := r.MaxRev(); return err }); err != nil {
		t.Error(err)
	}
}

func TestSecondOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "s.db")
	s := open(t, path, Options{})
	_, err := Open(context.Background(), path, Options{})
	if sluice.CodeOf(err) != sluice.CodeUnavailable || !strings.Contains(err.Error(), path) {
		t.Errorf("a second open: %v", err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700, path + "-wal": 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode().Perm(), want, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		t.Errorf("%d bytes of the log are left after Close", info.Size())
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	open(t, path, Options{}).Close()
}

// TestCloseFinishes closes while updates are queued: all that begin are
// finished, the others are refused.
func TestCloseFinishes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s := open(t, path, Options{})
	var mu sync.Mutex
	done := 0
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			err := s.Update(context.Background(), func(tx store.Tx) error { return tx.InsertJobs([]*sluice.Job{newJob()}) })
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				done++
			} else if !errors.Is(err, store.ErrClosed) {
				t.Error(err)
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	s = open(t, path, Options{})
	defer s.Close()
	if err := s.View(context.Background(), func(r store.Reader) error {
		n, err := r.CountJobs(store.JobFilter{})
		if int(n) != done {
			t.Errorf("%d updates were answered, %d are stored", done, n)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestKilled kills a process that inserts jobs, with signal 9, and looks for
// every job that it had acknowledged.
func TestKilled(t *testing.T) {
	if path := os.Getenv("SLUICE_TEST_KILLED"); path != "" {
		insertForever(path)
	}
	path := filepath.Join(t.TempDir(), "s.db")
	for round := range 3 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "SLUICE_TEST_KILLED="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var acknowledged []string
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			acknowledged = append(acknowledged, lines.Text())
			if len(acknowledged) == 100*(round+1) {
				if err := child.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = child.Wait()
		s := open(t, path, Options{})
		err = s.View(context.Background(), func(r store.Reader) error {
			n, err := r.CountJobs(store.JobFilter{IDs: acknowledged})
			if n != int64(len(acknowledged)) || n < 100 {
				t.Errorf("%d jobs were acknowledged, %d are stored", len(acknowledged), n)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func insertForever(path string) {
	s, err := Open(context.Background(), path, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for range 8 {
		go func() {
			for {
				j := newJob()
				if err := s.Update(context.Background(), func(tx store.Tx) error { return tx.InsertJobs([]*sluice.Job{j}) }); err == nil {
					fmt.Println(j.ID) // one write each, so that lines do not mix
				}
			}
		}()
	}
	select {}
}

// TestClockSteps moves the wall clock under a running store.
func TestClockSteps(t *testing.T) {
	var log strings.Builder
	var steps []time.Duration
	clock := storetest.NewClock()
	s := open(t, ":memory:", Options{
		Clock: clock, Logger: slog.New(slog.NewTextHandler(&log, nil)), OnClockStep: func(d time.Duration) { steps = append(steps, d) },
	})
	defer s.Close()
	now := func() (at time.Time) {
		if err := s.Update(context.Background(), func(tx store.Tx) error { at = tx.Now(); return nil }); err != nil {
			t.Fatal(err)
		}
		return at
	}
	last := now()
	for _, c := range []struct {
		what       string
		wall, pass time.Duration
		moves      time.Duration // of our clock
		step       time.Duration // told; 0: none
		largest    time.Duration
	}{
		{"time passes", 0, time.Second, time.Second, 0, 0},
		{"a small step forward is not followed", 250 * time.Millisecond, 0, 0, 0, 0},
		{"nor one back", -500 * time.Millisecond, time.Second, time.Second, 0, 0},
		{"back at the start", 250 * time.Millisecond, 0, 0, 0, 0},
		{"a large step forward is", time.Minute, time.Second, time.Minute + time.Second, time.Minute, time.Minute},
		{"a large step back is noted", -time.Hour, time.Second, time.Second, -time.Hour, time.Hour},
		{"once", 0, time.Second, time.Second, 0, time.Hour},
		{"the wall clock catches up in part", 30 * time.Minute, time.Second, time.Second, 30 * time.Minute, time.Hour},
		{"and all the way", 30 * time.Minute, time.Second, time.Second, 30 * time.Minute, time.Hour},
		{"and overtakes", time.Second, 0, time.Second, time.Second, time.Hour},
	} {
		log.Reset()
		steps = nil
		clock.Step(c.wall)
		clock.Pass(c.pass)
		at := now()
		if d := at.Sub(last); d != c.moves {
			t.Errorf("%s: the clock moved by %v, want %v", c.what, d, c.moves)
		}
		if told := len(steps) == 1 && steps[0] == c.step; told != (c.step != 0) || len(steps) > 1 {
			t.Errorf("%s: told %v, want %v", c.what, steps, c.step)
		}
		if logged := strings.Count(log.String(), "\n"); logged != len(steps) {
			t.Errorf("%s: %d lines were logged", c.what, logged)
		}
		if got := s.Stats().ClockStep; got != c.largest {
			t.Errorf("%s: largest step %v, want %v", c.what, got, c.largest)
		}
		last = at
	}
}

// TestClockBehindAtOpen opens with the wall clock an hour behind: that is a
// step too.
func TestClockBehindAtOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	clock := storetest.NewClock()
	var at time.Time
	insert := func(s *Store) {
		if err := s.Update(context.Background(), func(tx store.Tx) error {
			at = tx.Now()
			return tx.InsertJobs([]*sluice.Job{newJob()})
		}); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, path, Options{Clock: clock})
	insert(s)
	before := at
	s.Close()
	clock.Step(-time.Hour)
	clock.Pass(time.Minute)
	var steps []time.Duration
	s = open(t, path, Options{Clock: clock, OnClockStep: func(d time.Duration) { steps = append(steps, d) }})
	defer s.Close()
	clock.Pass(time.Second)
	insert(s)
	if d := at.Sub(before); d != time.Second {
		t.Errorf("the clock went on by %v, want 1s", d)
	}
	if len(steps) != 1 || steps[0] != -59*time.Minute {
		t.Errorf("told %v, want -59m", steps)
	}
}
