//go:build !race

package storetest

import "sluice"

// bulk is how many jobs the bulk case stores.
const bulk = sluice.MaxBulk
