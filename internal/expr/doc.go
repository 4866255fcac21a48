// Package expr evaluates JavaScript expressions of flows, in child processes of
// our own: a fault, a hang or a memory blow-up costs the evaluation that caused
// it, and nothing else.
//
//	Pool.Eval ──▶ child (this program again, see Main) ──▶ a fresh engine for every expression
//	   │              no environment, no files, no network; ends when its input ends
//	   └─ kills a child that does not answer in time, and starts another
//
// # What an expression is
//
// An expression, or statements of which a return, or else the last line, gives
// the value. It may await. undefined becomes null, as does what JSON cannot
// hold; a BigInt becomes a number if it is safe and a string otherwise. Numbers
// are JavaScript's: beyond 2^53 they lose digits.
package expr
