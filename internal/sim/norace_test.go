//go:build !race

package sim

// slow says that everything takes thirty times as long.
const slow = false
