// Package flow decides what a flow does next. It is pure: values in, values
// out; no clock, no randomness, no I/O.
//
// A flow is a list of modules ([Value], [Module]), in Windmill's OpenFlow form.
// Who runs it keeps a [State] for it, which does not grow with the number of
// iterations, and calls [Next] whenever something happened to it:
//
//	        Started            Ended(step, job)         Timer, Resumed
//	           │                     │                        │
//	           ▼                     ▼                        ▼
//	State ──▶ Next(Input) ──▶ Output{State, Push, Store, WakeAt, End}
//	           ▲     │
//	           └─────┘ Output.Asks: values that Next lacks; look them up, call again
//
// # Scopes
//
// The body of a loop and a branch are flows of their own, called scopes: each
// iteration and each branch that is taken is run by a job that has a State of
// its own, and ends with a result as any step does. The name of a scope says
// which part of the flow's value it runs: "" is all of it, "b" the body of the
// loop b, "c/0" the first branch of c, "c/default" its default. A body that is
// one plain module (see [Module.Plain]) needs no scope: each iteration is the
// module's own job.
//
// # Asking
//
// Next never looks anything up. What it lacks it asks for ([Ask]): results of
// steps, the flow's input, stored values, and JavaScript expressions that are
// more than a path. Whoever runs it puts the answers in [Input.Known] and calls
// again with the same State. Expressions that are plain paths over known
// values, such as results.a.rows[0] or flow_input.iter.value, it evaluates
// itself.
//
// # Example
//
// A flow of two steps, a (a script) and b (code, with the input x: results.a):
//
//	Next(started)           → Push a
//	Next(ended a, success)  → Asks {AskResult a}
//	 … again, with its result known → Push b with the arguments {"x": …}
//	Next(ended b, success)  → End{Success, Result: the result of b's job}
package flow
