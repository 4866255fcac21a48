package engine

import (
	"context"
	"time"

	"sluice"
)

// Hand does one step of the Take loop for several requests at once. It returns
// what each was given, and how long until the loop looks again by itself; <0:
// not before an event. After an error nobody was told of anything. It is for whoever drives an
// engine by hand instead of running it.
func (e *Engine) Hand(ctx context.Context, reqs []sluice.TakeRequest) ([][]sluice.Assignment, time.Duration, error) {
	calls := make([]*takeCall, len(reqs))
	for i, r := range reqs {
		var err error
		if calls[i], err = newTakeCall(r); err != nil {
			return nil, 0, err
		}
	}
	next, err := e.hand(ctx, calls)
	if err != nil {
		return nil, 0, err
	}
	got := make([][]sluice.Assignment, len(calls))
	for i, c := range calls {
		e.noteStarts(c.late)
		got[i] = c.got
	}
	return got, next, nil
}
