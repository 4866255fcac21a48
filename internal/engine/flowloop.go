package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// Evaluator evaluates JavaScript expressions of flows, each with bounds on time
// and memory of its own.
type Evaluator interface {
	// Eval returns one value for each of the expressions, which all see the
	// shared values. An error means that they could not be evaluated now.
	Eval(ctx context.Context, shared map[string]json.RawMessage, list []Expression) ([]ExprValue, error)
}

// Expression is an expression, or a body with return, and the values by name
// that it sees beside the shared ones. The name iter stands for flow_input.iter.
type Expression struct {
	Text string
	Own  map[string]json.RawMessage
}

// ExprValue is the value of an expression, null if it is undefined, or why it
// has none, in words for the user.
type ExprValue struct {
	Value json.RawMessage
	Error string
}

// Bounds of the loop of flows.
const (
	flowsPerLook = 64
	flowsAtOnce  = 4
	// maxAgain is how often one call tries a flow anew to which more happened
	// while it was evaluated.
	maxAgain = 100
)

// runFlows moves flows that wait for an expression or for time, until ctx ends.
func (e *Engine) runFlows(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.flowKick:
		case <-t.C:
		}
		next, err := e.MoveFlows(ctx)
		if err != nil && ctx.Err() == nil {
			e.log.Error("move flows", "error", err)
			next = retryAfter
		}
		if next >= 0 {
			t.Reset(next)
		} else {
			t.Stop()
		}
	}
}

// MoveFlows moves flows that are due once. It returns when to look again by
// itself; <0: not before a signal. Run calls it.
func (e *Engine) MoveFlows(ctx context.Context) (time.Duration, error) {
	var due []int64
	next := time.Duration(-1)
	err := e.store.Update(ctx, func(tx store.Tx) (err error) {
		now := tx.Now()
		if due, err = tx.DueFlowRuns(now, flowsPerLook); err != nil {
			return err
		}
		next = -1
		if len(due) > 0 {
			next = 0 // what follows is looked at anew
			return nil
		}
		at, err := tx.NextFlowWake()
		if err == nil && !at.IsZero() {
			next = max(at.Sub(now), 0)
		}
		return err
	})
	if err != nil || len(due) == 0 {
		return next, err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(due))
	places := make(chan struct{}, flowsAtOnce)
	for i, seq := range due {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			errs[i] = e.moveFlow(ctx, seq)
		})
	}
	wg.Wait()
	return next, errors.Join(errs...)
}

// moveFlow evaluates what a flow waits for, if it does, and moves it.
func (e *Engine) moveFlow(ctx context.Context, seq int64) error {
	for range maxAgain {
		seen, k, err := e.evaluate(ctx, seq)
		if err != nil || seen == nil {
			return err
		}
		again := false
		err = e.store.Update(ctx, func(tx store.Tx) error {
			again = false
			u := e.unit(tx)
			u.now = tx.Now()
			r, err := u.openRun(seq)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			} else if err != nil {
				return err
			}
			if again = !sameRun(r.row, seen.row); again {
				return nil
			}
			r.known = k
			if err := u.ring(r); err != nil {
				return err
			}
			r.sweep = !seen.waits && r.row.Due
			u.stir(r)
			return u.settle()
		})
		if err != nil || !again {
			return err
		}
	}
	return nil // it stays due
}

// ring tells a flow that the time has come for which it waits, or that it may
// run no longer.
func (u *unit) ring(r *flowRun) error {
	if r.row.WakeAt.IsZero() || r.row.WakeAt.After(u.now) {
		return nil
	}
	r.row.WakeAt = zeroTime
	j, err := u.tx.JobBySeq(r.row.JobSeq)
	if err != nil {
		return err
	}
	if up := timeIsUp(j); !up.IsZero() && !up.After(u.now) {
		return u.cutFlow(r, j, errorResult("ExecutionTimeout", fmt.Sprintf("The flow ran for %s, which is as long as it may.", j.Timeout), nil))
	}
	r.events = append(r.events, flow.Event{Kind: flow.Timer})
	return nil
}

// seenRun is a flow's run as it was evaluated.
type seenRun struct {
	row   *store.FlowRun
	waits bool // something happened to it that waits for an evaluation
}

// evaluate finds what a flow waits for. It returns nil if the flow is gone.
func (e *Engine) evaluate(ctx context.Context, seq int64) (*seenRun, *evaluated, error) {
	var seen *seenRun
	k := &evaluated{values: map[flow.Ask]json.RawMessage{}, failed: map[flow.Ask]string{}}
	for range maxRounds {
		var missing []*batch
		var err error
		seen, missing, err = e.look(ctx, seq, seen, k)
		switch {
		case err != nil || seen == nil:
			return nil, nil, err
		case !seen.waits:
			return seen, nil, nil
		case len(missing) == 0:
			return seen, k, nil
		}
		for _, b := range missing {
			if err := e.ask(ctx, b, k); err != nil {
				return nil, nil, err
			}
		}
	}
	return nil, nil, errors.New("a flow has more and more to evaluate")
}

// look reads a run and finds what must be evaluated for the first of what
// happened to it, given what is known. If the run is no longer as it was seen,
// nothing more is missing: whoever moves it sees that, too.
func (e *Engine) look(ctx context.Context, seq int64, before *seenRun, k *evaluated) (seen *seenRun, missing []*batch, err error) {
	err = e.store.View(ctx, func(r store.Reader) error {
		seen, missing = before, nil
		row, err := r.FlowRun(seq)
		if err != nil {
			return err
		}
		if before != nil && !sameRun(row, before.row) {
			return nil
		}
		if before == nil {
			seen = &seenRun{row: row}
		}
		j, err := r.JobBySeq(seq)
		if err != nil || j.State != sluice.StateRunning || len(row.Events) == 0 {
			return err
		}
		var events []flow.Event
		if err := json.Unmarshal(row.Events, &events); err != nil || len(events) == 0 {
			return err
		}
		seen.waits = true
		a, err := e.answersFor(r, seen.row, j)
		if errors.Is(err, store.ErrNotFound) {
			return nil // it is ended when it is moved
		} else if err != nil {
			return err
		}
		out, asks, err := a.next(events[0], k)
		var broken *brokenFlow
		if errors.As(err, &broken) {
			return nil // as above
		} else if err != nil {
			return err
		}
		missing, err = a.batches(asks, &out.Vars)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	return seen, missing, err
}

// sameRun reports whether what was found for the first of the events of a run,
// as it was, still holds: since then, nothing but more events.
func sameRun(now, then *store.FlowRun) bool {
	list := func(events json.RawMessage) []byte { return bytes.TrimSuffix(events, []byte("]")) }
	return bytes.Equal(now.State, then.State) && bytes.HasPrefix(list(now.Events), list(then.Events))
}

// ask evaluates expressions.
func (e *Engine) ask(ctx context.Context, b *batch, k *evaluated) error {
	if e.o.Evaluator == nil {
		for _, a := range b.asks {
			k.failed[a] = "this server evaluates no JavaScript"
		}
		return nil
	}
	values, err := e.o.Evaluator.Eval(ctx, b.shared, b.own)
	if err == nil && len(values) != len(b.asks) {
		err = errors.New("the evaluator gave too few answers")
	}
	if err != nil {
		return fmt.Errorf("evaluate expressions of a flow: %w", err)
	}
	for i, a := range b.asks {
		if v := values[i]; v.Error != "" {
			k.failed[a] = v.Error
		} else {
			k.values[a] = v.Value
		}
	}
	return nil
}
