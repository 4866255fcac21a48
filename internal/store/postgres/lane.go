package postgres

import (
	"fmt"
)

// lanes run updates that have to wait for a lock, beside the writer, so that
// nobody else waits with them. Updates that wait for the same lock share a lane,
// and a transaction.
type lane struct {
	queue []*op
}

// name is what updates that wait for the same lock have in common.
func (w *wants) name() string {
	switch {
	case len(w.keys) > 0:
		return "key " + w.keys[0]
	case len(w.groups) > 0:
		return fmt.Sprint("group ", w.groups[0])
	case len(w.lines) > 0:
		return fmt.Sprint("line ", w.lines[0])
	case len(w.names) > 0:
		return fmt.Sprint("name ", w.names[0])
	case len(w.runs) > 0:
		return fmt.Sprint("run ", w.runs[0])
	}
	return "" // each of those that collided runs by itself, one after the other
}

// enlist gives an update to the lane of the lock that it waits for.
func (s *Store) enlist(o *op) {
	s.laneMu.Lock()
	defer s.laneMu.Unlock()
	name := o.wants.name()
	l := s.lanes[name]
	if l == nil {
		l = &lane{}
		s.lanes[name] = l
		go s.runLane(name, l)
	}
	l.queue = append(l.queue, o)
}

// runLane runs until nobody waits in a lane.
func (s *Store) runLane(name string, l *lane) {
	ended := false
	var r *run
	defer func() {
		if ended {
			return
		}
		if r != nil { // an update called runtime.Goexit
			r.abandon()
			s.laneSlots <- r.slot
		}
		go s.runLane(name, l)
	}()
	for {
		ops := s.nextInLane(name, l)
		if len(ops) == 0 {
			ended = true
			return
		}
		r = &run{s: s, slot: <-s.laneSlots, lane: true, ops: ops}
		for _, o := range ops {
			r.wants.add(o.wants)
		}
		r.run()
		s.laneSlots <- r.slot
		r = nil
	}
}

// nextInLane takes what waits in a lane; the lane ends if that is nothing.
func (s *Store) nextInLane(name string, l *lane) []*op {
	s.laneMu.Lock()
	defer s.laneMu.Unlock()
	n := min(len(l.queue), batchOps)
	if name == "" {
		n = min(n, 1)
	}
	ops := append([]*op(nil), l.queue[:n]...)
	l.queue = l.queue[n:]
	if n == 0 {
		delete(s.lanes, name)
	}
	return ops
}
