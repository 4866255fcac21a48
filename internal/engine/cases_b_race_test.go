//go:build race

package engine_test

// underRace says that the race detector is on, under which SQLite is some
// thirty times slower: what counts statements and rows is then smaller.
const underRace = true
