package postgres

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/internal/store"
)

const (
	channel       = "sluice"
	maxPayload    = 7000 // PostgreSQL takes 7,999 bytes
	defaultSweep  = 30 * time.Second
	helloEvery    = 20 * time.Second
	peerLife      = 65 * time.Second
	horizonFirst  = 2 * time.Millisecond
	horizonLately = 25 * time.Millisecond
	horizonMost   = 250 * time.Millisecond
	reconnectMost = 5 * time.Second
	tallyRows     = 2000    // are summed up
	tallySum      = 100_000 // at once, see qSumTallies
)

// signals gathers what a transaction has to tell.
type signals struct {
	tags, workers []string
	rev           int64
	flows         bool
}

func (g *signals) add(s store.Signal) {
	g.tags = append(g.tags, s.Tags...)
	g.workers = append(g.workers, s.Workers...)
	g.rev, g.flows = max(g.rev, s.Rev), g.flows || s.Flows
}

func (g *signals) mark() signals { return *g }

func (g *signals) back(to signals) {
	g.tags, g.workers, g.rev, g.flows = g.tags[:len(to.tags)], g.workers[:len(to.workers)], to.rev, to.flows
}

// peek returns the signal, each name once.
func (g *signals) peek() store.Signal {
	return store.Signal{Tags: unique(g.tags), Rev: g.rev, Workers: unique(g.workers), Flows: g.flows}
}

// message is what servers tell each other.
type message struct {
	From    int64    `json:"f"`
	Hello   bool     `json:"h,omitempty"` // a server is here, and wants to hear who else is
	Here    bool     `json:"i,omitempty"` // the answer
	All     bool     `json:"a,omitempty"`
	Tags    []string `json:"t,omitempty"`
	Rev     int64    `json:"r,omitempty"`
	Workers []string `json:"w,omitempty"`
	Flows   bool     `json:"l,omitempty"`
}

// payloads returns what other servers are to be told, in pieces that are small
// enough; nothing if there are none.
func (s *Store) payloads(sig store.Signal) []string {
	if s.peers.none() || sig.Rev == 0 && !sig.Flows && len(sig.Tags)+len(sig.Workers) == 0 {
		return nil
	}
	m := message{From: s.id, Tags: sig.Tags, Rev: sig.Rev, Workers: sig.Workers, Flows: sig.Flows}
	if text := encode(m); len(text) <= maxPayload {
		return []string{text}
	}
	return []string{encode(message{From: s.id, All: true, Rev: sig.Rev})}
}

func encode(m message) string {
	text, err := json.Marshal(m)
	if err != nil {
		return `{"a":true}` // a message of texts and numbers always has a form
	}
	return string(text)
}

// peers are the other servers that were heard of lately. While there are none,
// nothing is told: a notification makes commits queue up behind each other.
type peers struct {
	mu   sync.Mutex
	deaf bool // this server does not listen, so that there may be some
	seen map[int64]time.Time
}

func (p *peers) none() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, at := range p.seen {
		if time.Since(at) > peerLife {
			delete(p.seen, id)
		}
	}
	return !p.deaf && len(p.seen) == 0
}

func (p *peers) heard(id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[int64]time.Time{}
	}
	p.seen[id] = time.Now()
}

func (p *peers) setDeaf(deaf bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = deaf
}

// committed tells what a transaction of this server has changed.
func (s *Store) committed(t *tx) {
	for _, step := range s.clock.takeSteps() {
		if s.opts.OnClockStep != nil {
			s.opts.OnClockStep(step)
		}
	}
	s.dead.Add(t.dead)
	s.added.Add(t.tallied)
	sig := t.signal.peek()
	sig.Tags = unique(append(sig.Tags, s.looks.released(t)...))
	if sig.Rev > 0 {
		sig.Rev = s.revs.passed(sig.Rev, s.belowHorizon(t.horizon))
	}
	if sig.Rev != 0 || sig.Flows || len(sig.Tags)+len(sig.Workers) > 0 {
		s.tell(sig)
	}
	if len(t.relook.lists) > 0 {
		s.lookAgain(t.relook, t.lookedAt)
	} else if t.looked {
		s.looks.calm()
	}
}

// tell tells everybody here.
func (s *Store) tell(sig store.Signal) {
	s.looks.told(sig)
	s.subs.tell(sig)
}

// revTeller tells of changes once they can be read: when no transaction is open
// any more that might still commit one with a lower number.
type revTeller struct {
	mu     sync.Mutex
	wanted int64
	told   int64
	heard  time.Time // when a commit last said how far changes can be read
	kick   chan struct{}
}

// want notes that a change is to be told of.
func (v *revTeller) want(rev int64) {
	v.mu.Lock()
	v.wanted = max(v.wanted, rev)
	open := v.wanted > v.told
	v.mu.Unlock()
	if open {
		select {
		case v.kick <- struct{}{}:
		default:
		}
	}
}

// passed takes note that changes up to horizon can be read, and returns the
// newest of those that are to be told of, rev among them; 0: none. What cannot be
// read yet is told of later.
func (v *revTeller) passed(rev, horizon int64) int64 {
	v.mu.Lock()
	v.heard = time.Now()
	v.wanted = max(v.wanted, rev)
	ready := min(horizon, v.wanted)
	if ready > v.told {
		v.told = ready
	} else {
		ready = 0
	}
	open := v.wanted > v.told
	v.mu.Unlock()
	if open {
		select {
		case v.kick <- struct{}{}:
		default:
		}
	}
	return ready
}

// open reports whether something is still to be told of, and whether a commit
// has said lately how far changes can be read.
func (v *revTeller) open() (open, lately bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.wanted > v.told, time.Since(v.heard) < horizonLately
}

// tellRevs looks how far changes can be read, while somebody is to be told and
// no commit of this server says it anyway.
func (s *Store) tellRevs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.revs.kick:
		}
		for wait := horizonFirst; ; wait = min(wait*3, horizonMost) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			open, lately := s.revs.open()
			if !open {
				break
			}
			if lately {
				continue
			}
			var xmin int64
			if err := s.ask(ctx, func(p *pipe) { p.add(func(r *row) { xmin = r.getInt() }, qHorizon) }); err != nil {
				continue
			}
			if rev := s.revs.passed(0, s.belowHorizon(xmin)); rev > 0 {
				s.tell(store.Signal{Rev: rev})
			}
		}
	}
}

// ask sends statements that stand by themselves.
func (s *Store) ask(ctx context.Context, fill func(*pipe)) error {
	return s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		p := &pipe{}
		fill(p)
		return s.send(ctx, c.Conn(), p)
	})
}

// listen starts what hears of other servers, and the nets below.
func (s *Store) listen(ctx context.Context, config *pgx.ConnConfig) {
	s.revs.kick = make(chan struct{}, 1)
	s.loops.Go(func() { s.tellRevs(ctx) })
	s.loops.Go(func() { s.sweepLoop(ctx) })
	s.loops.Go(func() { s.vacuumLoop(ctx) })
	if s.opts.Deaf {
		s.peers.setDeaf(true)
		return
	}
	// What listens cannot go through a pooler that hands out connections by the
	// transaction; it is this one connection alone.
	s.loops.Go(func() {
		for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(wait*2, reconnectMost) {
			began := time.Now()
			err := s.hear(ctx, config)
			s.peers.setDeaf(true)
			if ctx.Err() != nil {
				return
			}
			if time.Since(began) > reconnectMost {
				wait = 50 * time.Millisecond
			}
			s.log.Warn("the connection that listens for other servers broke off; everybody looks again once it is back", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(wait + rand.N(wait)):
			}
		}
	})
}

// hear listens until the connection breaks off.
func (s *Store) hear(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		_ = conn.Close(end)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	s.peers.setDeaf(false)
	s.lookEverywhere() // what was told meanwhile was not heard
	hello := time.Time{}
	for {
		if time.Since(hello) > helloEvery {
			if err := s.say(ctx, conn, message{From: s.id, Hello: true}); err != nil {
				return err
			}
			hello = time.Now()
		}
		wait, cancel := context.WithDeadline(ctx, hello.Add(helloEvery))
		n, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			if err := s.heard(ctx, conn, n.Payload); err != nil {
				return err
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case wait.Err() == nil || conn.IsClosed():
			return err
		}
	}
}

func (s *Store) say(ctx context.Context, conn *pgx.Conn, m message) error {
	_, err := conn.Exec(ctx, `SELECT pg_notify($1, $2)`, pgx.QueryExecModeExec, channel, encode(m))
	return err
}

// heard passes on what another server told.
func (s *Store) heard(ctx context.Context, conn *pgx.Conn, payload string) error {
	var m message
	if err := json.Unmarshal([]byte(payload), &m); err != nil || m.From == s.id {
		return nil // nobody of ours, or ourselves
	}
	s.peers.heard(m.From)
	if m.All {
		s.lookEverywhere()
	} else if m.Flows || len(m.Tags)+len(m.Workers) > 0 {
		s.tell(store.Signal{Tags: m.Tags, Workers: m.Workers, Flows: m.Flows})
	}
	if m.Rev > 0 {
		s.revs.want(m.Rev)
	}
	if m.Hello {
		return s.say(ctx, conn, message{From: s.id, Here: true})
	}
	return nil
}

// lookEverywhere has everybody look again at everything.
func (s *Store) lookEverywhere() { s.tell(store.Signal{All: true, Flows: true}) }

// sweepLoop is the net below lost notifications, and sums up what is counted.
func (s *Store) sweepLoop(ctx context.Context) {
	every := s.opts.Sweep
	if every == 0 {
		every = defaultSweep
	}
	if every < 0 {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every - every/20 + rand.N(every/20)):
		}
		s.lookEverywhere()
		for n := s.added.Load(); n > tallyRows && ctx.Err() == nil; n = s.added.Add(-min(n, tallySum)) {
			if err := s.ask(ctx, func(p *pipe) { p.add(nil, qSumTallies) }); err != nil && ctx.Err() == nil {
				s.log.Warn("sum up what is counted", "err", err)
			}
		}
	}
}

// qSumTallies replaces rows by their sums; two servers at once take different ones.
const qSumTallies = `WITH gone AS (DELETE FROM tally WHERE ctid = ANY(ARRAY(SELECT ctid FROM tally LIMIT 100000 FOR UPDATE SKIP LOCKED))
RETURNING workspace, tag, scheduled, queued, running)
INSERT INTO tally SELECT workspace, tag, sum(scheduled), sum(queued), sum(running) FROM gone GROUP BY workspace, tag
HAVING sum(scheduled) <> 0 OR sum(queued) <> 0 OR sum(running) <> 0`

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
