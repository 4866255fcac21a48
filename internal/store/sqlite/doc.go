// Package sqlite keeps everything in one SQLite file. It decides nothing.
//
// # One writer
//
// One goroutine writes. It takes all updates that are queued, at most 256 or
// 20 ms of work, runs them one after the other in one transaction, makes that
// durable with one flush, and only then answers all callers. While the disk
// is flushed the next updates queue up; a single update never waits for
// company. Views read snapshots on connections of their own.
//
// An update that fails before it has written costs nothing. If one fails
// after it has written, the transaction is rolled back and the others run
// again, so an update's function must bear being run twice.
//
// # The clock
//
// The store's clock starts, when the store is opened, at the wall clock or at
// the newest instant ever recorded, whichever is later, and then goes on with
// the machine's boot clock, which no one sets and which goes on while the
// machine sleeps. It has microseconds, never goes back, and never stands still for longer
// than the boot clock does. The newest instant that it gave out is written
// with every commit that changes something.
//
// If the wall clock is found to be ahead by more than 250 ms, it has stepped
// forward: the store's clock follows at once, since what the wall says is what
// people schedule by, and a window that began before the step may end early by that
// much. That is logged, kept in Stats.ClockStep and told to OnClockStep. If
// the wall clock is found to be behind by more than 250 ms, that is noted in
// the same way, once per step, and the store's clock goes on as it was:
// windows keep their length, and instants stay ahead of the wall until it has
// caught up. Differences up to 250 ms are never followed.
package sqlite
