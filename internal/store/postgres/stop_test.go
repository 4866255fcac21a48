package postgres

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/pgtest"
	"sluice/internal/store"
)

// gate stands between a server and the database. Once it is armed it counts
// what the server sends, and at one of these pieces something happens: it stops
// for good, for all connections, as if the server had been stopped by a signal
// just there; or the answer to that piece is lost with its connection.
type gate struct {
	l       net.Listener
	mu      sync.Mutex
	left    int           // pieces until then; 0: it is not armed
	part    float64       // how much of the last piece still comes through
	lose    bool          // the answer instead
	stopped chan struct{} // closed when it stops
	over    chan struct{} // closed at the end of the test
}

// newGate returns a gate before the database of a connection text, and the text
// that leads through it.
func newGate(t *testing.T, dsn string) (*gate, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{l: l, stopped: make(chan struct{}), over: make(chan struct{})}
	t.Cleanup(func() { close(g.over); l.Close() })
	to := u.Host
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			lost := new(atomic.Bool)
			go g.pass(out, in, func(n int) int { return g.cut(n, lost) })
			go g.pass(in, out, func(n int) int {
				if lost.Load() {
					return -1
				}
				return n
			})
		}
	}()
	u.Host = l.Addr().String()
	return g, u.String()
}

// pass copies what cut says of each piece, a negative number: nothing more, as long as the gate is open. What is stopped stays connected
// until the end of the test.
func (g *gate) pass(to, from net.Conn, cut func(int) int) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-g.stopped:
			<-g.over
			return
		default:
		}
		if n > 0 {
			most := cut(n)
			if most < 0 {
				from.Close()
				return
			}
			if _, err := to.Write(buf[:most]); err != nil {
				return
			}
		}
		select {
		case <-g.stopped:
			<-g.over
			return
		default:
		}
		if err != nil {
			return
		}
	}
}

// cut says how much of a piece of n bytes comes through.
func (g *gate) cut(n int, lost *atomic.Bool) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.stopped:
		return 0
	default:
	}
	if g.left == 0 {
		return n
	}
	if g.left--; g.left > 0 {
		return n
	}
	if g.lose {
		lost.Store(true)
		return n
	}
	close(g.stopped)
	return int(float64(n) * g.part)
}

func (g *gate) arm(pieces int, part float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.part = pieces, part
}

// TestB11_StoppedAtEachStep: wherever in what it says to the database a server
// is stopped, in the middle of a message too, the group that it was at is held
// up for two seconds at most.
func TestB11_StoppedAtEachStep(t *testing.T) {
	const most = 7 // pieces: more than there are
	reached := make([]bool, most+1)
	var mu sync.Mutex
	t.Run("steps", func(t *testing.T) {
		dsn := pgtest.Database(t)
		b := open(t, dsn, Options{})
		t.Cleanup(func() { b.Close() })
		for pieces := 1; pieces <= most; pieces++ {
			for _, part := range []float64{0, 0.5, 1} {
				t.Run(fmt.Sprintf("%d and %v of it", pieces, part), func(t *testing.T) {
					t.Parallel()
					if stopAt(t, dsn, b, pieces, part) {
						mu.Lock()
						defer mu.Unlock()
						reached[pieces] = true
					}
				})
			}
		}
	})
	if !reached[2] || reached[most] {
		t.Errorf("steps that were reached: %v; the last must not be, or some were not tried", reached[1:])
	}
}

// stopAt stops a server at a piece while b goes on, and reports whether it came
// so far.
func stopAt(t *testing.T, dsn string, b *Store, pieces int, part float64) bool {
	g, through := newGate(t, dsn)
	a := open(t, through, Options{})
	key := fmt.Sprint(pieces, part)
	ctx, giveUp := context.WithCancel(context.Background())
	change := func(s *Store, ctx context.Context) error { return count(ctx, s, key) }
	for range 2 { // what it remembers and prepares is as in the middle of a day
		for _, s := range []*Store{a, b} {
			if err := change(s, ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.arm(pieces, part)
	done := make(chan error, 1)
	go func() { done <- change(a, ctx) }()
	came := false
	select {
	case <-g.stopped:
		came = true
	case err := <-done:
		if err != nil {
			t.Errorf("undisturbed: %v", err)
		}
	}
	began := time.Now()
	if err := change(b, context.Background()); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 2*time.Second+time.Second { // the last for a slow machine
		t.Errorf("the group was held up for %v", d)
	}
	taken, err := counted(b, key)
	if err != nil || taken < 5 || taken > 6 || !came && taken != 6 {
		t.Errorf("%d were counted, %v", taken, err)
	}
	giveUp()
	go a.Close() // nobody waits for what is stopped
	return came
}

// count counts in a group, in several steps.
func count(ctx context.Context, s *Store, key string) error {
	return s.Update(ctx, func(tx store.Tx) error {
		got, err := tx.LockGroups([]string{key})
		if err != nil {
			return err
		}
		got[0].Taken++
		if err := tx.SaveGroup(got[0]); err != nil {
			return err
		}
		_, err = tx.CountJobs(store.JobFilter{}) // sends what is held back
		return err
	})
}

func counted(s *Store, key string) (taken int64, err error) {
	err = s.View(context.Background(), func(r store.Reader) error {
		g, err := r.Group(key)
		if err == nil {
			taken = g.Taken
		}
		return err
	})
	return taken, err
}

// TestB2_AnswersLost: whichever answer of the database is lost with its
// connection, that to a commit too, what was asked for is done once, and the
// caller is told so.
func TestB2_AnswersLost(t *testing.T) {
	const most = 5
	dsn := pgtest.Database(t)
	for pieces := 1; pieces <= most; pieces++ {
		g, through := newGate(t, dsn)
		g.lose = true
		s := open(t, through, Options{})
		key := fmt.Sprint(pieces)
		for i := range 3 {
			if i == 2 {
				g.arm(pieces, 1)
			}
			if err := count(context.Background(), s, key); err != nil {
				t.Errorf("piece %d: %v", pieces, err)
			}
		}
		if n, err := counted(s, key); n != 3 || err != nil {
			t.Errorf("piece %d: counted %d instead of 3, %v", pieces, n, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestB2_CommittedBeforeACrash: that a transaction was committed is believed as
// long as the database has not come up anew since, with its server or because
// one of its processes crashed. One of which nothing is left was not committed.
func TestB2_CommittedBeforeACrash(t *testing.T) {
	dsn := pgtest.Database(t)
	s := open(t, dsn, Options{})
	t.Cleanup(func() { s.Close() })
	durable := func() *pgx.Conn {
		c := other(t, dsn)
		exec(t, c, "SET synchronous_commit = on")
		return c
	}
	exec(t, durable(), "CREATE TABLE mark (n int)")
	crashes := map[string]func(c *pgx.Conn){
		"the server":          func(*pgx.Conn) { pgtest.Restart(t) },
		"one of its children": func(c *pgx.Conn) { crash(t, dsn, c) },
	}
	for what, crash := range crashes {
		c := durable()
		var xid, started int64
		err := c.QueryRow(t.Context(), "INSERT INTO mark VALUES (1) RETURNING pg_current_xact_id()::text::bigint, "+startedUS).Scan(&xid, &started)
		if err != nil {
			t.Fatal(err)
		}
		if committed, known := s.resolve(xid, started); !committed || !known {
			t.Errorf("before %s crashed: committed %t, known %t", what, committed, known)
		}
		crash(c)
		if committed, known := s.resolve(xid, started); committed || known {
			t.Errorf("after %s crashed: committed %t, known %t", what, committed, known)
		}
		if committed, known := s.resolve(xid+1_000_000, started); committed || !known {
			t.Errorf("after %s crashed, of what was not written: committed %t, known %t", what, committed, known)
		}
		if err := count(t.Context(), s, what); err != nil {
			t.Errorf("after %s crashed: %v", what, err)
		}
	}
}

// crash ends the process behind a connection by force. The database's server ends
// all others then and comes up anew, which is over when this returns.
func crash(t *testing.T, dsn string, c *pgx.Conn) {
	t.Helper()
	watch := other(t, dsn)
	if err := syscall.Kill(int(c.PgConn().PID()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for watch.Ping(t.Context()) == nil { // until it is ended, too
	}
	for {
		again, err := pgx.Connect(t.Context(), dsn)
		if err == nil {
			again.Close(t.Context())
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}
