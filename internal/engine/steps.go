package engine

import (
	"context"
	"time"

	"sluice"
)

// Ask is a request for work; with reports it is what [Engine.Settle] is called with.
type Ask struct {
	sluice.TakeRequest
	Reports []sluice.Report
}

// Given is the answer to an [Ask].
type Given struct {
	Work []sluice.Assignment
	Errs []error // one, or nil, for each report
}

// Hand does one step of the Take loop for several requests at once. It returns
// what each was given, and how long until the loop looks again by itself; <0:
// not before an event. After an error nobody was told of anything. It is for whoever drives an
// engine by hand instead of running it.
func (e *Engine) Hand(ctx context.Context, asks []Ask) ([]Given, time.Duration, error) {
	calls := make([]*takeCall, len(asks))
	for i, a := range asks {
		var err error
		if calls[i], err = newTakeCall(a.TakeRequest); err != nil {
			return nil, 0, err
		}
		calls[i].reports = e.bounded(a.Reports)
	}
	next, err := e.hand(ctx, calls)
	if err != nil {
		return nil, 0, err
	}
	got := make([]Given, len(calls))
	for i, c := range calls {
		e.noteStarts(c.late)
		got[i] = Given{Work: c.got, Errs: e.refusedReports(c.reports, c.errs)}
	}
	return got, next, nil
}
