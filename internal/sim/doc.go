// Package sim plays seeded worlds: one to three servers (each one engine after
// another) on one real store, many workers, clients and an administrator, on
// one fake clock, single-threaded. One seed gives one world, always the same.
// With several servers every call of a worker or a client may reach another
// one, as behind a balancer.
//
// A world is a list of [Op], drawn from the seed, that happen at given
// instants: pushes, cancels, overrides, pauses, and faults of every kind. All
// between them is done by simulated workers that keep the contract as the real
// ones must: they ask for work, launch, confirm, report, send heartbeats, and
// end what they run when they were out of touch for too long. Messages get
// lost, come late or twice.
//
// # Who judges
//
// Nothing here calls package limit. A recorder between engine and store keeps
// a second copy of all rows as the engine wrote them, change by change, so
// that every single start is judged in the very state in which it was made:
//
//	engine ──▶ recorder ──▶ store           rows: what was written
//	             │                            │
//	             └──── each change ───────────┴─▶ judge ◀── model: what was asked
//	                                                ▲        (limits, overrides, pauses)
//	workers ── lives: what really ran, and when ────┘
//
// The judge counts by brute force, over all executions and all jobs.
//
// # Crashes
//
// Every Update call of a world can be made to fail before its commit or after
// it, with the caller told of an error or with the whole server dying
// ([Crash]). A sweep plays one world again for every call.
//
// # When it fails
//
// A failing world is cut to few operations and printed as a story: one line an
// event, with the instant, who did what, and in the end what is wrong. Play a
// seed again with SLUICE_SIM_SEED=n go test ./internal/sim.
package sim
