// Package signature reads the entry point of a script: which arguments it
// takes, of which types, with which defaults. From that it makes the JSON
// schema that a form for the arguments is drawn from, and it lists what a
// script imports, from which its dependencies are found.
//
// The package is pure: text in, values out. It reads no files and no clock and
// it never runs what it reads. It looks for one function and skips the rest, so
// code that does not compile elsewhere still has a signature. What it accepts is
// bounded: [MaxCodeBytes] of code, a nesting depth, a number of arguments. The
// time that it takes grows with the length of the code and no faster.
//
//	sig, err := signature.Parse("python3", "def main(who: str, times: int = 1): ...")
//	sig.Args       // who: str; times: int, default 1
//	sig.Schema()   // {"type":"object","properties":{"who":{"type":"string"},…},"required":["who"],…}
package signature
