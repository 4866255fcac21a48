// Package sluice holds the words of the product: what a job, an execution, an
// event and an error are. It does no I/O and knows no database.
//
// # Glossary
//
//   - runnable: a script, a flow, or an inline script that is a step of a flow.
//   - job: one asked-for run of a runnable, with its arguments.
//   - execution: one attempt to run a job. Its row is slot, history and evidence in one.
//   - limit: at most N executions in a window W, counted from the end or the start of executions.
//   - key: the bytes under which executions are counted together; global to the instance.
//   - group: all jobs whose key is the same.
//   - slot: the right to execute; an execution that is not yet released.
//   - place: room for one job on a worker.
//   - line: the waiting jobs of one group that need one tag, in order. Jobs with no
//     limit stand in one line per workspace, path and tag, which always has room.
//   - taken, confirmed, released: the three instants of an execution. Taken is when it
//     was handed to a worker's free place, confirmed when the worker said that the
//     process was launched, released when the process tree was known to be gone.
//   - struck out: an execution that was taken and handed back before it began; it counts nowhere.
//
// # How a job moves
//
//	push ─▶ scheduled ─(due)─▶ queued ─(taken)─▶ running ─(reported)─▶ completed
//	            │                 │  ▲               │
//	            └──── cancelled ──┤  └─ handed back ─┤   before launch: rank kept
//	                              │  └─ lost ────────┘   a new attempt: rank kept
//	                              └─ refused or waited too long ─▶ completed
//
// A job whose arguments its script's preprocessor makes is queued and running
// twice: first for that, in no group, then for what it is for.
//
// A job is admitted by one function only, inside the transaction in which a worker
// with a free place takes it. There is no state between queued and running.
package sluice
