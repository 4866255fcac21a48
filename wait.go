package sluice

import (
	"time"

	"sluice/limit"
)

// Reason says why a waiting job does not run. A job's reason is the first of
// these, in this order, that applies.
type Reason string

// The reasons.
const (
	ReasonScheduled     Reason = "scheduled"     // not yet due
	ReasonPreprocessing Reason = "preprocessing" // its arguments are not final
	ReasonPaused        Reason = "paused"        // its group is paused
	ReasonLimit         Reason = "limit"         // its group has no room under the job's limit
	ReasonBehind        Reason = "behind"        // there is room, but others are first
	ReasonNoWorker      Reason = "no_worker"     // no living worker serves its tag
	ReasonWorkersBusy   Reason = "workers_busy"  // every place that serves its tag is taken
)

// Wait is the one answer to "why does this job not run?", shown alike by API,
// page, CLI and metrics.
type Wait struct {
	Reason  Reason   `json:"reason"`
	Also    []Reason `json:"also,omitempty"`
	Message string   `json:"message"` // the same in a plain sentence

	Key        *string    `json:"key,omitempty"`
	Limit      *WaitLimit `json:"limit,omitempty"`
	Slots      []WaitSlot `json:"slots,omitempty"` // at most 100, those that free first
	SlotsTotal int64      `json:"slots_total"`     // held and still counted
	Position   *Position  `json:"position,omitempty"`

	// NotBefore is a proof: no start can be earlier, unless an override, a
	// cancel or a prune comes between. Nil: nothing can be said.
	NotBefore *time.Time `json:"not_before"`
	// Estimate is a guess, and EstimateBasis says what it rests on.
	Estimate      *time.Time `json:"estimate"`
	EstimateBasis string     `json:"estimate_basis,omitempty"`

	PausedBy    string     `json:"paused_by,omitempty"`
	PausedUntil *time.Time `json:"paused_until,omitempty"`
	PausedWhy   string     `json:"paused_why,omitempty"`
	Tag         string     `json:"tag"`
	ScheduledAt time.Time  `json:"scheduled_for"`
}

// WaitLimit is the limit that a waiting job is judged by.
type WaitLimit struct {
	ConcurrentLimit        int          `json:"concurrent_limit"`
	ConcurrencyTimeWindowS int          `json:"concurrency_time_window_s"`
	ConcurrencyWindowFrom  limit.Mode   `json:"concurrency_window_from"`
	Source                 limit.Source `json:"source"`
}

// WaitSlot is one slot that stands in the way: held, or still in the window.
type WaitSlot struct {
	JobID      string     `json:"job_id,omitempty"`
	Obscured   bool       `json:"obscured,omitempty"`
	Since      time.Time  `json:"since"`
	ReleasedAt *time.Time `json:"released_at,omitempty"`
	FreesAt    *time.Time `json:"frees_at,omitempty"`
}

// Position is a place in line, from 1. Where Exact is false, at least N−1 jobs
// are ahead.
type Position struct {
	N     int64 `json:"n"`
	Exact bool  `json:"exact"`
}
