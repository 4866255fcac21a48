// Package postgres keeps everything in one database of PostgreSQL, which any
// number of servers use at once. It decides nothing.
//
// # Locks
//
// Whoever decides about a group holds its row's lock, and so does whoever
// decides about a line of jobs without a limit. Locks are taken without waiting
// (SKIP LOCKED). An update that finds one taken is undone and goes to a *lane*,
// where it runs again with all locks that it is known to need taken first, in
// one order: groups by their keys, lines and runs of flows by their numbers. If
// it turns out to need one more that is taken, it is undone again, and that one
// joins the others. So no transaction of ours waits for a lock while it holds
// one that comes later, and nobody else waits with one that waits.
//
// Rows of jobs and executions are not locked. They are written on the condition
// that they are as they were read; if one is not, the transaction fails as a
// whole, and its updates run again.
//
// # Group commit
//
// One writer per server runs all updates that are queued in one transaction, as
// in package sqlite. What they write is held back and goes, a few statements for
// any number of rows, in one round trip with the commit, or with the next
// statement that has to see it.
//
// What an update is likely to ask for is read with the statements that begin it:
// lines that are ready, first jobs of the groups of executions that have ended,
// the flows of steps, and whether the line of a flow's next step is there. So the
// end of a step and the start of the next one take two round trips. A guess that
// is wrong costs one more.
//
// # The clock
//
// The clock is the database's, clock_timestamp(), read in a statement that
// follows those that lock. The same statement reads the newest instant that any
// committed transaction has recorded: each writer of each server keeps it in a row
// of its own (table clock), written in the transaction. Whoever held one of our
// locks before us has committed by then, so our clock is never before his, even
// after a fail-over to a host that is behind: then the clock stands still until
// the host has caught up.
//
// # Numbers
//
// Seq, ID and Turn come from one sequence, in blocks that are drawn after the
// locks. Rev is the number of the transaction (xid8), followed by 14 bits that
// count its changes. A reader takes from its snapshot the number of the oldest
// transaction that is not over (pg_snapshot_xmin): all that have lower numbers
// are over, and all that will ever commit something have higher ones. It reads
// up to there, and so it misses nothing, in whatever order transactions commit.
// A signal with a Rev is given when that Rev can be read.
//
// # What is lost
//
// A connection that is lost before the commit was sent costs a repetition. One
// that is lost behind it is asked for its transaction (pg_xact_status): only if that
// cannot be known does the caller get an error. After a restart of the database
// its number may be another's, so that only "aborted" is believed. Notifications may be lost;
// every 30 s everybody looks again.
package postgres
