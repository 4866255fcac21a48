//go:build !linux

package sqlite

import "time"

// Boot reads Go's monotonic clock, which may stand still while the machine sleeps.
func (machine) Boot() time.Duration { return time.Since(started) }
