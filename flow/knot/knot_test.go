package knot_test

import (
	"slices"
	"testing"

	"sluice/flow/knot"
	"sluice/limit"
)

func needs(key string, n int) knot.Child {
	return knot.Child{Key: key, Limit: limit.Limit{N: n}}
}

func ids(flows []knot.Flow) []int64 {
	out := []int64{}
	for _, f := range flows {
		out = append(out, f.ID)
	}
	return out
}

// TestKnots has the shapes of rows B4 and C9, and what a reduction gets wrong
// most easily.
func TestKnots(t *testing.T) {
	keys := func(k ...string) []string { return k }
	all := func(c ...knot.Child) []knot.Child { return c }
	rate := knot.Child{Key: "a", Limit: limit.Limit{N: 1, Mode: limit.Start}}
	for _, c := range []struct {
		name        string
		flows       []knot.Flow
		found, tied []int64
	}{
		{"nobody", nil, nil, nil},
		{"each has what the other needs", []knot.Flow{
			{ID: 1, Age: 9, Holds: keys("a"), Awaits: all(needs("b", 1))},
			{ID: 2, Age: 8, Holds: keys("b"), Awaits: all(needs("a", 1))},
		}, []int64{2, 1}, []int64{2, 1}},
		{"the same ring, where one more slot is free or a script's", []knot.Flow{
			{ID: 1, Age: 1, Holds: keys("a"), Awaits: all(needs("b", 2))},
			{ID: 2, Age: 2, Holds: keys("b"), Awaits: all(needs("a", 1))},
		}, nil, nil},
		{"the same ring, where the second slot is a flow's that sleeps", []knot.Flow{
			{ID: 1, Age: 1, Holds: keys("a"), Awaits: all(needs("b", 2))},
			{ID: 2, Age: 2, Holds: keys("b"), Awaits: all(needs("a", 1))},
			{ID: 3, Age: 3, Holds: keys("b")},
		}, nil, nil},
		{"two slots each, all held in the ring", []knot.Flow{
			{ID: 1, Age: 1, Holds: keys("a"), Awaits: all(needs("b", 2))},
			{ID: 2, Age: 2, Holds: keys("a"), Awaits: all(needs("b", 2))},
			{ID: 3, Age: 3, Holds: keys("b"), Awaits: all(needs("a", 2))},
			{ID: 4, Age: 4, Holds: keys("b"), Awaits: all(needs("a", 2))},
		}, []int64{1, 2, 3, 4}, []int64{1, 2, 3, 4}},
		{"a branch has room, the one beside it never", []knot.Flow{
			{ID: 1, Age: 1, Holds: keys("a"), Awaits: all(needs("c", 1), needs("b", 1))},
			{ID: 2, Age: 2, Holds: keys("b"), Awaits: all(needs("a", 1))},
		}, []int64{1, 2}, []int64{1, 2}},
		{"through branches that are flows and hold nothing", []knot.Flow{
			{ID: 1, Age: 1, Holds: keys("a"), Awaits: all(knot.Child{Flow: 2}, knot.Child{Flow: 3})},
			{ID: 2, Age: 2},
			{ID: 3, Age: 3, Awaits: all(needs("b", 1))},
			{ID: 4, Age: 4, Holds: keys("b"), Awaits: all(needs("a", 1))},
		}, []int64{1, 3, 4}, []int64{1, 3, 4}},
		{"its own", []knot.Flow{{ID: 1, Holds: keys("a"), Awaits: all(needs("a", 1))}}, []int64{1}, []int64{1}},
		{"who waits behind a knot is not of it, though youngest", []knot.Flow{
			{ID: 1, Age: 1, Holds: keys("a"), Awaits: all(needs("b", 1))},
			{ID: 2, Age: 2, Holds: keys("b"), Awaits: all(needs("a", 1))},
			{ID: 3, Age: 3, Holds: keys("c"), Awaits: all(needs("a", 1))},
			{ID: 4, Age: 4, Awaits: all(needs("c", 1))},
		}, []int64{1, 2, 3, 4}, []int64{1, 2}},
		{"a rate is no wait for an end", []knot.Flow{
			{ID: 1, Age: 1, Holds: keys("a"), Awaits: all(needs("b", 1))},
			{ID: 2, Age: 2, Holds: keys("b"), Awaits: all(rate)},
		}, nil, nil},
		{"a flow that is not given ends", []knot.Flow{
			{ID: 1, Holds: keys("a"), Awaits: all(knot.Child{Flow: 7})},
		}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := knot.Find(c.flows)
			if got := ids(found); !slices.Equal(got, c.found) {
				t.Errorf("found %v, want %v", got, c.found)
			}
			if got := ids(knot.Tied(found)); !slices.Equal(got, c.tied) {
				t.Errorf("tied %v, want %v", got, c.tied)
			}
		})
	}
}

// A knot of thousands, each held back by all of the others' slots, is told apart
// in a blink: it must not cost the product of who waits and who holds.
func TestALargeKnot(t *testing.T) {
	const n = 3000
	var flows []knot.Flow
	for i := range 2 * n {
		holds, awaits := "a", "b"
		if i%2 == 1 {
			holds, awaits = "b", "a"
		}
		flows = append(flows, knot.Flow{ID: int64(i + 1), Age: int64(i), Holds: []string{holds}, Awaits: []knot.Child{needs(awaits, n)}})
	}
	flows = append(flows, knot.Flow{ID: 2*n + 1, Age: 2 * n, Holds: []string{"c"}, Awaits: []knot.Child{needs("a", n)}})
	found := knot.Find(flows)
	if tied := knot.Tied(found); len(found) != 2*n+1 || len(tied) != 2*n || tied[2*n-1].ID != 2*n {
		t.Errorf("%d found, %d tied", len(found), len(tied))
	}
}
