//go:build !race

package worker

// flood is how much a test job prints.
const flood = "1G"
