// Package engine moves jobs: Submit, Take, Confirm, Report, Cancel, Reap and
// Explain. Each reads rows, asks package limit, and writes rows in one
// transaction of the store.
//
// # One transaction's work
//
// Every state change works on a [unit]: the groups and lines that it touches,
// locked before the clock is read, changed in memory, and brought in step with
// their jobs when the transaction ends:
//
//	open groups, lines ─▶ read clock ─▶ change ─▶ settle: for each group, in order of
//	                                              its lines' first jobs, ask limit
//	                                              whether there is room, and write
//	                                              ready / wake at / blocked by
//
// # Taking
//
// Jobs start in one place only: [unit.admit]. It runs when a worker asks for
// work for free places, and asks limit anew for every single start; what is
// stored on a line (ready, wake at) only tells where looking is worth while.
//
// One loop per server ([dispatcher]) answers all workers that ask. It wakes on
// a commit that made a line ready, on a new request, and at the next instant
// at which a line gets room or a scheduled job falls due. It does not poll.
//
// # Order
//
// Within a group, the first job in rank whose tag a free place serves is the
// only candidate. A line remembers the tags of lines of its group that come
// before it and have no room (blocked by), so that places which serve such a
// tag pass it over without looking at it.
package engine
