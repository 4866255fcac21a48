package history

import (
	"cmp"
	"slices"
	"time"
)

// tally counts instants after a bound: a Fenwick tree over all instants that
// may be added. The zero instant never came and lies after every bound.
type tally struct {
	instants []int64 // microseconds, sorted, each once
	tree     []int32
	total    int
}

// newTally makes an empty tally for these instants.
func newTally(instants []time.Time) *tally {
	t := &tally{instants: make([]int64, 0, len(instants))}
	for _, x := range instants {
		if !x.IsZero() {
			t.instants = append(t.instants, x.UnixMicro())
		}
	}
	slices.SortFunc(t.instants, cmp.Compare[int64])
	t.instants = slices.Compact(t.instants)
	t.tree = make([]int32, len(t.instants)+1)
	return t
}

// add adds an instant d times.
func (t *tally) add(x time.Time, d int32) {
	t.total += int(d)
	if x.IsZero() {
		return
	}
	i, _ := slices.BinarySearch(t.instants, x.UnixMicro())
	for i++; i < len(t.tree); i += i & -i {
		t.tree[i] += d
	}
}

// after counts the instants after x.
func (t *tally) after(x time.Time) int {
	i, found := slices.BinarySearch(t.instants, x.UnixMicro())
	if found {
		i++
	}
	n := t.total
	for ; i > 0; i -= i & -i {
		n -= int(t.tree[i])
	}
	return n
}
