//go:build race

package storetest

// bulk is how many jobs the bulk case stores: fewer under the race detector,
// which makes a driver that is written in Go many times slower.
const bulk = 1000
