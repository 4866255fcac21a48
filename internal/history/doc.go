// Package history proves from what was written down that limits were kept. It
// is the judge of promises 1 and 3 of the limits contract, and so it shares no
// code with the limiter: it knows rows, not how they came to be, and counts
// them itself.
//
// # What is proven
//
// From the execution rows of a group, the log of what was done to the group,
// and the jobs that still exist ([Group.Check], [CheckAttempts]):
//
//   - over: at every start the rule held with the N, window and mode that were
//     in force for that job then, counting all executions with smaller order
//     numbers as they stood at that instant.
//   - limit: what a row says was in force is what the job was pushed with, or
//     the override of the log.
//   - numbers: order, launch and release numbers have no gap, no duplicate,
//     and ascend together with their instants.
//   - attempt: attempts of a job are numbered without gaps, never overlap, and
//     a job that ended has one end.
//   - order: at no start had a job of the same group and tag that was due,
//     waiting and ahead in rank been passed over.
//   - paused: nothing started while its group was paused.
//   - nothing: there was something to judge.
//
// From the notes of a witness ([Serve], [CheckWitness]), an independent
// process to which every job holds a connection as long as it runs, the same
// is proven once more by that process's own clock.
//
// # How it counts
//
// An execution is there from its order number on. In end mode it counts until
// a window has passed since its release, in start mode since its launch; an
// instant later than the start that is judged had not come yet, and so counts
// like one that never came. Both are one question: how many instants lie after
// started_at − W? A Fenwick tree over the sorted instants answers it whatever
// the instants are, so that nothing the limiter takes for granted (that
// numbers and instants ascend together) is taken for granted here.
//
// Worked example: N = 2, W = 10 s, end mode. Rows 1 (0 s … 4 s) and 2
// (1 s … 6 s); row 3 starts at 14 s. Instants after 14 s − 10 s = 4 s: the
// release at 6 s, not the one at 4 s. One is fewer than two: the rule held. Had
// row 3 started at 13.999999 s, both would count, and it would be reported.
//
// # What it cannot see
//
// Rows that retention has deleted count nowhere here; they are older than the
// longest window that was asked of the group when they went. A release in the
// very microsecond of a start counts as before it. Jobs that were deleted are
// judged by their rows alone. The order of jobs that need different tags
// depends on which worker asked, which no row says.
package history
