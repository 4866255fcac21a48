// Package worker runs jobs: it takes work for its free places, runs each job
// under a supervisor process, streams logs, sends heartbeats and reports.
package worker

import (
	"context"

	"sluice"
)

// Source is where a worker gets its work and says what became of it. The
// engine satisfies it inside the server; the HTTP client does so elsewhere.
//
// Every call may be repeated after an error: the source recognises what it
// has seen. An error with code conflict means that the execution is no longer
// this worker's (it was declared lost, or has been reported): the worker ends
// its process tree, if any, and forgets it.
type Source interface {
	// Take returns up to req.Places assignments, waiting up to req.Wait for
	// the first. None and no error means that the wait ran out.
	Take(ctx context.Context, req sluice.TakeRequest) ([]sluice.Assignment, error)
	// Confirm says that the processes of these executions were launched.
	Confirm(ctx context.Context, worker string, executions []int64) error
	// HandBack says that these executions were not launched and will not be.
	HandBack(ctx context.Context, worker string, executions []int64) error
	// Heartbeat says what the worker holds; the answer lists orders for them.
	// An answer without error is the acknowledgement that extends the lease.
	Heartbeat(ctx context.Context, hb sluice.Heartbeat) ([]sluice.Order, error)
	// Orders waits until there is an order for the worker, and returns it
	// again until it is carried out; it returns none when ctx ends or after
	// at most a minute.
	Orders(ctx context.Context, worker string) ([]sluice.Order, error)
	// AppendLog stores a piece of a log.
	AppendLog(ctx context.Context, chunk sluice.LogChunk) error
	// Report records ends; the answer has one error (or nil) for each report.
	Report(ctx context.Context, reports []sluice.Report) []error
	// Settle does what Report does and, in the same step, takes work for the
	// places that the ends freed, as Take does but without waiting for any. If
	// there was an error the request counts as answered, with what came; the
	// reports may be repeated.
	Settle(ctx context.Context, reports []sluice.Report, req sluice.TakeRequest) ([]sluice.Assignment, []error)
}
