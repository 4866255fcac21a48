package sim

import "time"

// clock is the one fake clock of a world: the machine's uptime, which only
// ascends, and its wall clock, which may step.
type clock struct {
	boot time.Duration
	wall time.Time
}

func newClock() *clock {
	return &clock{boot: time.Hour, wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

// Wall implements the store's clock.
func (c *clock) Wall() time.Time { return c.wall }

// Boot implements the store's clock.
func (c *clock) Boot() time.Duration { return c.boot }

func (c *clock) advance(d time.Duration) { c.boot, c.wall = c.boot+d, c.wall.Add(d) }

func (c *clock) step(d time.Duration) { c.wall = c.wall.Add(d) }
