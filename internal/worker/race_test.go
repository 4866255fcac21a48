//go:build race

package worker

// flood is how much a test job prints; the race detector looks at every byte.
const flood = "100M"
