// Package limit decides whether a job may start under its concurrency limit.
//
// It is pure: plain values in, plain values out; no clock, context, goroutine,
// randomness, logger or metrics.
//
// # The rule
//
// A job with limit (N, W, mode) may start at t only if, counting all other
// executions of its group, whatever their own limits,
//
//	end    #{not released}                  + #{released_at > t−W}                          < N
//	start  #{neither confirmed nor released} + #{confirmed_at, else released_at, > t−W}     < N
//
// There is no upper bound on the right: an instant that lies in the future
// counts. A slot whose window ends at t is free at exactly t.
//
// # How it is decided with one look-up
//
// A group draws a number for every take, every launch (confirmation, or
// release of what was never confirmed) and every release, each under the
// group's lock, so that numbers and instants ascend together. Then
//
//	held       = taken − struck − released
//	unlaunched = taken − struck − launched
//
// and the rule in end mode holds if and only if the (N − held)-th newest
// release lies outside the window: #{released_at > t−W} < N − held. That is
// the release with number released − (N − held) + 1. [Group.Probe] names that
// number, a store fetches the one instant, [Decide] gives the verdict. Nothing
// is read that grows with N or with the jobs that wait.
//
// Example: N = 3, W = 10 s, one held, releases numbered 1…5. The 2nd newest
// release, number 4, decides: if it lies at 12:00:03, there is room from
// 12:00:13 on.
package limit
