package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"sluice"
	"sluice/internal/pgtest"
	"sluice/internal/store"
)

func newJob() *sluice.Job {
	return &sluice.Job{ID: uuid.NewString(), Workspace: "main", Tag: "bash", State: sluice.StateQueued, DeleteAfter: -1}
}

// two opens a database in two servers.
func two(t *testing.T) (a, b *Store, dsn string) {
	t.Helper()
	dsn = pgtest.Database(t)
	a, b = open(t, dsn, Options{}), open(t, dsn, Options{})
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b, dsn
}

func update(t *testing.T, s *Store, fn func(store.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// other is a connection of somebody who is no server of ours.
func other(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func exec(t *testing.T, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// TestE1_CommitsInAnotherOrderThanNumbered: a change that was numbered first
// and committed last is missed by no reader.
func TestE1_CommitsInAnotherOrderThanNumbered(t *testing.T) {
	a, b, _ := two(t)
	ctx := context.Background()
	drawn, commit := make(chan bool), make(chan bool)
	var first, second *sluice.Job
	var slow sync.WaitGroup
	slow.Go(func() {
		update(t, a, func(tx store.Tx) error {
			first = newJob()
			if err := tx.InsertJobs([]*sluice.Job{first}); err != nil {
				return err
			}
			if _, err := tx.CountJobs(store.JobFilter{}); err != nil { // sends what is held back
				return err
			}
			drawn <- true
			<-commit
			return nil
		})
	})
	<-drawn
	second = newJob()
	update(t, b, func(tx store.Tx) error { return tx.InsertJobs([]*sluice.Job{second}) })
	if first.Rev >= second.Rev {
		t.Fatalf("the first drew %d, the second %d", first.Rev, second.Rev)
	}
	read := func(s *Store, from int64) (revs []int64, seen int64) {
		err := s.View(ctx, func(r store.Reader) error {
			list, err := r.ChangedJobs(from, 10)
			for _, j := range list {
				revs = append(revs, j.Rev)
			}
			if err == nil {
				seen, err = r.MaxRev()
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return revs, seen
	}
	revs, seen := read(b, 0)
	if len(revs) != 0 || seen >= first.Rev {
		t.Errorf("while %d is open, %v can be read, up to %d", first.Rev, revs, seen)
	}
	told := make(chan int64, 100)
	defer b.Subscribe(func(sig store.Signal) {
		if sig.Rev > 0 {
			told <- sig.Rev
		}
	})()
	commit <- true
	slow.Wait()
	for rev := int64(0); rev < second.Rev; {
		select {
		case rev = <-told:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody was told")
		}
	}
	if revs, _ = read(b, seen); !slices.Equal(revs, []int64{first.Rev, second.Rev}) {
		t.Errorf("from %d on %v can be read, want %d and %d", seen, revs, first.Rev, second.Rev)
	}
}

// TestClockNeverGoesBack: an instant that some server recorded is before all
// that are given out later, whatever the database's own clock says.
func TestClockNeverGoesBack(t *testing.T) {
	a, b, dsn := two(t)
	ahead := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	exec(t, other(t, dsn), `INSERT INTO clock VALUES (1, $1)`, ahead.UnixMicro())
	for _, s := range []*Store{a, b} {
		update(t, s, func(tx store.Tx) error {
			if _, err := tx.LockGroups([]string{"k"}); err != nil {
				return err
			}
			if now := tx.Now(); now.Before(ahead) {
				t.Errorf("it is %v, before %v", now, ahead)
			}
			return nil
		})
	}
}

// TestManyServers has servers count in groups that they lock in any order.
func TestManyServers(t *testing.T) {
	a, b, _ := two(t)
	manyServers(t, a, b)
}

func manyServers(t *testing.T, a, b *Store) {
	t.Helper()
	const each, keys = 40, 5
	var all sync.WaitGroup
	for w := range 8 {
		s := []*Store{a, b}[w%2]
		all.Go(func() {
			for i := range each {
				one, two := fmt.Sprint("g", (w+i)%keys), fmt.Sprint("g", (w*3+i*2+1)%keys)
				err := s.Update(context.Background(), func(tx store.Tx) error {
					for _, key := range []string{one, two} {
						g, err := tx.LockGroups([]string{key})
						if err != nil {
							return err
						}
						g[0].Taken++
						if err := tx.SaveGroup(g[0]); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	err := a.View(context.Background(), func(r store.Reader) error {
		list, err := r.Groups(store.GroupFilter{})
		total := int64(0)
		for _, g := range list {
			total += g.Taken
		}
		if total != 8*each*2 {
			t.Errorf("counted %d of %d", total, 8*each*2)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestB11_StoppedInATransaction: a group that somebody holds for ever, and
// somebody who does not go on in a transaction of his, cost others two seconds
// at most; other groups are not held up at all.
func TestB11_StoppedInATransaction(t *testing.T) {
	a, b, _ := two(t)
	lock := func(s *Store, key string, then func()) error {
		return s.Update(context.Background(), func(tx store.Tx) error {
			g, err := tx.LockGroups([]string{key})
			if err != nil {
				return err
			}
			g[0].Taken++
			then()
			return tx.SaveGroup(g[0])
		})
	}
	nothing := func() {}
	for _, key := range []string{"held", "free"} {
		if err := lock(a, key, nothing); err != nil {
			t.Fatal(err)
		}
	}
	held, goOn := make(chan bool), make(chan bool)
	var once sync.Once
	var stopped sync.WaitGroup
	stopped.Go(func() { // as a server that is stopped by a signal
		err := lock(b, "held", func() {
			once.Do(func() {
				held <- true
				<-goOn
			})
		})
		if err != nil {
			t.Errorf("the one that was stopped: %v", err)
		}
	})
	<-held
	var waiting sync.WaitGroup
	began := time.Now()
	waiting.Go(func() {
		if err := lock(a, "held", nothing); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > 2*time.Second+500*time.Millisecond {
			t.Errorf("the group was held up for %v", d)
		}
	})
	for range 20 {
		at := time.Now()
		if err := lock(a, "free", nothing); err != nil {
			t.Error(err)
		}
		if d := time.Since(at); d > time.Second {
			t.Errorf("another group was held up for %v", d)
		}
	}
	waiting.Wait()
	close(goOn)
	stopped.Wait()
	err := a.View(context.Background(), func(r store.Reader) error {
		g, err := r.Group("held")
		if err == nil && g.Taken != 3 {
			t.Errorf("counted %d, want 3", g.Taken)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLostConnections cuts all connections again and again: nothing is lost,
// nothing is done twice, and who is answered with an error knows nothing.
func TestB2_LostConnections(t *testing.T) {
	a, b, dsn := two(t)
	killer := other(t, dsn)
	const each = 60
	var mu sync.Mutex
	sure, unsure := 0, 0
	var all sync.WaitGroup
	stop := make(chan bool)
	for w := range 4 {
		s := []*Store{a, b}[w%2]
		all.Go(func() {
			for range each {
				err := s.Update(context.Background(), func(tx store.Tx) error {
					g, err := tx.LockGroups([]string{"k"})
					if err != nil {
						return err
					}
					g[0].Taken++
					return tx.SaveGroup(g[0])
				})
				mu.Lock()
				if err == nil {
					sure++
				} else {
					unsure++
				}
				mu.Unlock()
			}
		})
	}
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(30 * time.Millisecond):
			}
			exec(t, killer, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'sluice'`)
		}
	})
	all.Wait()
	close(stop)
	cutting.Wait()
	err := a.View(context.Background(), func(r store.Reader) error {
		g, err := r.Group("k")
		if err == nil && (g.Taken < int64(sure) || g.Taken > int64(sure+unsure)) {
			t.Errorf("%d were answered, %d with an error; %d were counted", sure, unsure, g.Taken)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d sure, %d unsure", sure, unsure)
	if sure == 0 {
		t.Error("nothing was done")
	}
}

// TestA9_WhoIsHeardIsNotGivenUp: while a server hears a worker, no other finds it
// silent; afterwards it has been heard.
func TestA9_WhoIsHeardIsNotGivenUp(t *testing.T) {
	a, b, _ := two(t)
	silent := func(s *Store) (names []string) {
		update(t, s, func(tx store.Tx) error {
			list, err := tx.SilentWorkers(tx.Now().Add(-time.Hour), 10)
			names = names[:0]
			for _, w := range list {
				names = append(names, w.Worker)
			}
			return err
		})
		return names
	}
	said := func(at time.Time) *store.WorkerRow {
		return &store.WorkerRow{WorkerInfo: sluice.WorkerInfo{Heartbeat: sluice.Heartbeat{Worker: "w"}, StartedAt: at, LastPing: at}}
	}
	update(t, a, func(tx store.Tx) error {
		j := newJob()
		if err := tx.InsertJobs([]*sluice.Job{j}); err != nil {
			return err
		}
		if err := tx.InsertExecution(&sluice.Execution{JobSeq: j.Seq, JobID: j.ID, Attempt: 1, Worker: "w", StartedAt: tx.Now()}); err != nil {
			return err
		}
		return tx.SaveWorker(said(tx.Now().Add(-2 * time.Hour)))
	})
	if got := silent(b); !slices.Equal(got, []string{"w"}) {
		t.Fatalf("silent are %v", got)
	}
	update(t, a, func(tx store.Tx) error {
		if err := tx.LockWorker("w"); err != nil {
			return err
		}
		if got := silent(b); len(got) != 0 {
			t.Errorf("while it is heard, %v are silent", got)
		}
		return tx.SaveWorker(said(tx.Now()))
	})
	if got := silent(b); len(got) != 0 {
		t.Errorf("after it was heard, %v are silent", got)
	}
}

// TestSignalsOfOthers: what one server commits, the other hears.
func TestSignalsOfOthers(t *testing.T) {
	a, b, _ := two(t)
	told := make(chan store.Signal, 1000)
	defer b.Subscribe(func(s store.Signal) {
		if !s.All {
			told <- s
		}
	})()
	for !b.hears() || a.peers.none() { // they have met
		time.Sleep(time.Millisecond) //nolint:forbidigo // the other side of a connection is not ours to signal from.
	}
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprint("tag", i)
	}
	update(t, a, func(tx store.Tx) error {
		tx.Signal(store.Signal{Tags: []string{"x"}, Workers: []string{"w"}, Flows: true})
		return tx.InsertJobs([]*sluice.Job{newJob()})
	})
	var got store.Signal
	for until := time.After(10 * time.Second); len(got.Tags) == 0 || got.Rev == 0; {
		select {
		case s := <-told:
			got.Tags, got.Workers, got.Rev, got.Flows = append(got.Tags, s.Tags...), append(got.Workers, s.Workers...), max(got.Rev, s.Rev), got.Flows || s.Flows
		case <-until:
			t.Fatalf("heard %+v", got)
		}
	}
	if !slices.Equal(got.Tags, []string{"x"}) || !slices.Equal(got.Workers, []string{"w"}) || !got.Flows {
		t.Errorf("heard %+v", got)
	}
	all := make(chan bool, 100)
	defer b.Subscribe(func(s store.Signal) {
		if s.All {
			all <- true
		}
	})()
	update(t, a, func(tx store.Tx) error { tx.Signal(store.Signal{Tags: many}); return nil })
	select {
	case <-all:
	case <-time.After(10 * time.Second):
		t.Error("more tags than a notification holds were not told")
	}
}

// TestSweep: whoever hears nothing looks again by himself.
func TestSweep(t *testing.T) {
	s := open(t, pgtest.Database(t), Options{Deaf: true, Sweep: 20 * time.Millisecond})
	defer s.Close()
	told := make(chan bool, 1)
	defer s.Subscribe(func(sig store.Signal) {
		if sig.All {
			select {
			case told <- true:
			default:
			}
		}
	})()
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Error("nobody looked again")
	}
}

// TestRestored: a database of another cluster, whose transactions had higher
// numbers, goes on numbering above them.
func TestRestored(t *testing.T) {
	dsn := pgtest.Database(t)
	s := open(t, dsn, Options{})
	j := newJob()
	update(t, s, func(tx store.Tx) error { return tx.InsertJobs([]*sluice.Job{j}) })
	s.Close()
	exec(t, other(t, dsn), `UPDATE job_state SET rev = rev + (1000000::bigint << 14)`)
	s = open(t, dsn, Options{})
	defer s.Close()
	k := newJob()
	update(t, s, func(tx store.Tx) error { return tx.InsertJobs([]*sluice.Job{k}) })
	if k.Rev <= j.Rev+1000000<<14 {
		t.Errorf("drew %d after %d", k.Rev, j.Rev+1000000<<14)
	}
}

// TestBadDatabase says what is wrong.
func TestBadDatabase(t *testing.T) {
	for _, dsn := range []string{"postgres://u:secret@127.0.0.1:1/none?connect_timeout=2", "postgres://%"} {
		_, err := Open(context.Background(), dsn, Options{Logger: quiet})
		var se *sluice.Error
		if !errors.As(err, &se) {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

// hears reports whether this server listens for others.
func (s *Store) hears() bool {
	s.peers.mu.Lock()
	defer s.peers.mu.Unlock()
	return !s.peers.deaf
}
