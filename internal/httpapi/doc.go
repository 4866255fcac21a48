// Package httpapi is the server's HTTP face: Windmill's paths and forms, and
// our own beside them, each described once, in code. The OpenAPI document is
// made from that description, and requests are validated by the document, so
// the two cannot drift apart.
//
// # How a request passes
//
//	ServeHTTP   request id, headers, one recover
//	  ├ clean   refuses paths that a mux would redirect ("//", "..")
//	  ├ identify  asks whose token it is, but for the few public paths
//	  └ router  the mux; concurrency keys (any bytes) have one of their own
//	      ├ authorize  asks [rights] whether that person may do this with that token
//	      ├ audit   has the change that follows written into the audit log with it
//	      └ huma    reads and validates parameters and body
//	          └ a handler: calls the engine, answers in Windmill's form
//
// Handlers return values and errors. [statusOf] is the one table from an
// error's code to a status, and every error is a short sentence of plain text:
// clients show it to their users as it is.
//
// # Event streams
//
// A stream carries changes to jobs, each with the number of the change as its
// event id. The engine's watcher is pulled: a reader that is slow or stuck
// costs one goroutine, never a queue, because a change that was overtaken by a
// newer one to the same job need not be kept. Whoever reconnects with the last
// id that it saw misses nothing.
//
//	id: 41            ← Last-Event-ID: 41 resumes after this
//	event: job
//	data: {"id":"…","type":"QueuedJob","running":true,…}
package httpapi
