// Package knot finds flows that wait for each other's slots for ever. It is
// pure: values in, values out.
//
// A cycle of waits proves nothing where a key has more than one slot: another
// holder of it may end. So flows are found by reduction. Every holder that is
// not held back by a limit is taken to end, which frees its slots; then, again
// and again, every flow whose children all have room in what that leaves. Who
// is left can get on only after somebody else who is left:
//
//	A holds a, awaits b (N = 1)     B holds b, awaits a (N = 1)     left: A, B
//	… (N = 2), and a script holds b, too: the script ends, A gets on, then B
package knot

import (
	"cmp"
	"slices"

	"sluice/limit"
)

// Flow is a flow that has started and not ended: a whole one, the body of a
// loop, or a branch.
type Flow struct {
	ID     int64    // unique among the flows, not 0
	Age    int64    // where it stands in the order of starts: the youngest has the highest
	Holds  []string // the keys of its slots, one entry a slot
	Awaits []Child  // the children that must all end before it gets on
}

// Child is what a flow waits for: either a job that a limit holds back, or a
// flow that has started. All else gets on by itself and is left out: what runs,
// sleeps, or waits for an event, a timer, a pause, a window or a worker.
type Child struct {
	Flow int64 // the flow that has started, or 0; one that is not given is taken to end

	// Key is the key for which a job waits, and Limit its limit in force. If
	// others stand before it in its line, N is the least of theirs and its own,
	// those in start mode left aside: nobody passes the first. A higher N than
	// that misses flows, but accuses none wrongly.
	Key   string
	Limit limit.Limit
}

// Find returns the flows that can never get on, whatever the others do, oldest
// first. Holders that are no flows are not asked for: they end. So is a flow
// that is not given taken to have ended, and that each job that gets a slot
// ends; both only miss flows. A wait in start mode never counts, since a flow's
// launch is confirmed as soon as it starts.
//
// It may take as many rounds over the flows as there are flows.
func Find(flows []Flow) []Flow {
	left := slices.Clone(flows)
	slices.SortFunc(left, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(a.Age, b.Age), cmp.Compare(a.ID, b.ID))
	})
	held := map[string]int{}
	stays := map[int64]bool{}
	for _, f := range left {
		stays[f.ID] = true
		for _, key := range f.Holds {
			held[key]++
		}
	}
	for {
		before := len(left)
		left = slices.DeleteFunc(left, func(f Flow) bool {
			for _, c := range f.Awaits {
				if stays[c.Flow] || c.heldBack(held) {
					return false
				}
			}
			delete(stays, f.ID)
			for _, key := range f.Holds {
				held[key]--
			}
			return true
		})
		if len(left) == before {
			return left
		}
	}
}

// heldBack reports whether those who hold slots leave no room for the job.
func (c Child) heldBack(held map[string]int) bool {
	return c.Flow == 0 && c.Limit.Mode != limit.Start && held[c.Key] >= c.Limit.N
}

// Tied returns those of what Find returned that wait, through others or not,
// for themselves, in the same order. It is empty only if nothing was found. The
// rest waits behind them and may hold nothing: to end one of the rest may help
// nobody, so the last of these is the one to end.
func Tied(found []Flow) []Flow {
	g := graph{byID: map[int64]int{}, holders: map[string][]int{}, keys: map[string]int{}, flows: found}
	for i, f := range found {
		g.byID[f.ID] = i
		for _, key := range f.Holds {
			g.holders[key] = append(g.holders[key], i)
		}
	}
	for key := range g.holders {
		g.keys[key] = len(found) + len(g.names)
		g.names = append(g.names, key)
	}
	n := len(found) + len(g.names)
	g.index, g.low, g.on = make([]int, n), make([]int, n), make([]bool, n)
	tied := make([]bool, n)
	for v := range found {
		if g.index[v] == 0 {
			g.visit(v, tied)
		}
	}
	var out []Flow
	for i, f := range found {
		if tied[i] {
			out = append(out, f)
		}
	}
	return out
}

// graph is who waits for whom: from flows to flows and to the keys that hold
// them back, and from keys to the flows that hold them. Keys are nodes of their
// own, or a key with many holders and many who wait would be as many edges as
// their product. Its strong components are found as R. E. Tarjan has it (Depth-first
// search and linear graph algorithms, 1972).
type graph struct {
	flows   []Flow
	byID    map[int64]int
	holders map[string][]int
	keys    map[string]int // nodes of keys, behind those of the flows
	names   []string       // the keys of those nodes

	index, low []int // 0: not visited
	on         []bool
	stack      []int
	visited    int
}

// visit goes on from a node, and marks the nodes of each component that it
// completes in which a node can reach itself. None does so without another: a
// flow waits for itself by way of a key or of a flow within it.
func (g *graph) visit(v int, tied []bool) {
	g.visited++
	g.index[v], g.low[v] = g.visited, g.visited
	g.stack, g.on[v] = append(g.stack, v), true
	for _, to := range g.from(v) {
		if g.index[to] == 0 {
			g.visit(to, tied)
			g.low[v] = min(g.low[v], g.low[to])
		} else if g.on[to] {
			g.low[v] = min(g.low[v], g.index[to])
		}
	}
	if g.low[v] != g.index[v] {
		return
	}
	at := len(g.stack) - 1
	for g.stack[at] != v {
		at--
	}
	for _, w := range g.stack[at:] {
		g.on[w] = false
		tied[w] = len(g.stack)-at > 1
	}
	g.stack = g.stack[:at]
}

// from returns the nodes that a node waits for.
func (g *graph) from(v int) []int {
	if v >= len(g.flows) {
		return g.holders[g.names[v-len(g.flows)]]
	}
	var out []int
	for _, c := range g.flows[v].Awaits {
		if i, is := g.byID[c.Flow]; is {
			out = append(out, i)
		}
		if c.Flow == 0 && c.Limit.Mode != limit.Start && len(g.holders[c.Key]) >= c.Limit.N {
			out = append(out, g.keys[c.Key])
		}
	}
	return out
}
