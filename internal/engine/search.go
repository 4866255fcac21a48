package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// Bounds of a search by what arguments and results hold, for which there is no
// index.
const (
	searchChunk = 200
	maxSearched = 20_000     // jobs that one call looks at
	maxSteps    = 50_000_000 // values that one call compares
)

// Search selects jobs by a filter and by what their arguments and results hold.
type Search struct {
	store.JobFilter
	// Args and Result are JSON that the job's must contain: objects field by
	// field, lists each entry somewhere, other values as they are; empty: any.
	Args, Result json.RawMessage
	// Suspended selects flows that wait for an approval.
	Suspended bool
}

// plain reports whether the filter alone selects.
func (s *Search) plain() bool { return len(s.Args) == 0 && len(s.Result) == 0 && !s.Suspended }

// Search lists jobs without results. One that looks into arguments or results
// fails with code invalid if it would have to look at too many jobs.
func (e *Engine) Search(ctx context.Context, s Search) ([]*sluice.Job, error) {
	if s.plain() {
		return e.Jobs(ctx, s.JobFilter)
	}
	skip := s.Offset
	var out []*sluice.Job
	err := e.eachMatch(ctx, s, func(j *sluice.Job) bool {
		if skip > 0 {
			skip--
			return true
		}
		out = append(out, j)
		return len(out) < s.Limit
	})
	return out, err
}

// SearchCount counts what Search would list, all pages of it.
func (e *Engine) SearchCount(ctx context.Context, s Search) (n int64, err error) {
	if s.plain() {
		return e.CountJobs(ctx, s.JobFilter)
	}
	err = e.eachMatch(ctx, s, func(*sluice.Job) bool { n++; return true })
	return n, err
}

// eachMatch calls fn with each job that the search selects, in its order,
// until fn returns false.
func (e *Engine) eachMatch(ctx context.Context, s Search, fn func(*sluice.Job) bool) error {
	m := &matcher{steps: maxSteps}
	var err error
	if m.args, err = decodeNumber(s.Args); err != nil {
		return sluice.Invalid("args", "must be JSON")
	}
	if m.result, err = decodeNumber(s.Result); err != nil {
		return sluice.Invalid("result", "must be JSON")
	}
	f := s.JobFilter
	f.Offset, f.Limit = 0, searchChunk
	for seen := 0; ; seen += searchChunk {
		jobs, err := e.Jobs(ctx, f)
		if err != nil || len(jobs) == 0 {
			return err
		}
		if len(s.Result) > 0 {
			if err := e.Results(ctx, jobs); err != nil {
				return err
			}
		}
		var suspended map[int64]bool
		if s.Suspended {
			if suspended, err = e.suspended(ctx, jobs); err != nil {
				return err
			}
		}
		for _, j := range jobs {
			if s.Suspended && !suspended[j.Seq] {
				continue
			}
			if (len(s.Args) == 0 || m.holds(j.Args, m.args)) && (len(s.Result) == 0 || j.State == sluice.StateCompleted && m.holds(j.Result, m.result)) {
				j.Result = nil
				if !fn(j) {
					return nil
				}
			}
		}
		if len(jobs) < searchChunk {
			return nil
		}
		if f.AfterSeq = jobs[len(jobs)-1].Seq; seen+searchChunk >= maxSearched || m.steps <= 0 {
			return sluice.Errorf(sluice.CodeInvalid, "args, result and suspended: more than %d jobs would have to be looked at; narrow it down, by script_path_exact or created_after", maxSearched)
		}
	}
}

// suspended returns which of some jobs are flows that wait for an approval.
func (e *Engine) suspended(ctx context.Context, jobs []*sluice.Job) (map[int64]bool, error) {
	return view(ctx, e, func(r store.Reader) (map[int64]bool, error) {
		waits := map[int64]bool{}
		for _, j := range jobs {
			if j.State != sluice.StateRunning || !j.Kind.IsFlow() {
				continue
			}
			row, err := r.FlowRun(j.Seq)
			if errors.Is(err, store.ErrNotFound) {
				continue // it has not begun, or is over by now
			} else if err != nil {
				return nil, err
			}
			var state struct {
				Wait *flow.Wait `json:"wait"`
			}
			if err := json.Unmarshal(row.State, &state); err != nil {
				return nil, fmt.Errorf("read the state of the flow %s: %w", j.ID, err)
			}
			waits[j.Seq] = state.Wait != nil
		}
		return waits, nil
	})
}

// decodeNumber reads JSON with its numbers as they were sent.
func decodeNumber(raw json.RawMessage) (v any, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// matcher compares values, a bounded number of them.
type matcher struct {
	args, result any
	steps        int
}

func (m *matcher) holds(raw json.RawMessage, want any) bool {
	have, err := decodeNumber(raw)
	return err == nil && m.contains(have, want)
}

// contains reports whether a value holds another.
func (m *matcher) contains(have, want any) bool {
	if m.steps--; m.steps <= 0 {
		return false
	}
	switch want := want.(type) {
	case map[string]any:
		object, ok := have.(map[string]any)
		for name, v := range want {
			h, there := object[name]
			if !there || !m.contains(h, v) {
				return false
			}
		}
		return ok
	case []any:
		list, ok := have.([]any)
		for _, v := range want {
			if !m.somewhere(list, v) {
				return false
			}
		}
		return ok
	case json.Number:
		n, ok := have.(json.Number)
		return ok && sameNumber(n, want)
	}
	switch have.(type) {
	case map[string]any, []any:
		return false
	}
	return have == want
}

func (m *matcher) somewhere(list []any, want any) bool {
	for _, h := range list {
		if m.contains(h, want) {
			return true
		}
	}
	return false
}

// sameNumber compares numbers as they are written, and as floats where a float
// holds them whole.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	const whole = 1 << 53
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && x == y && math.Abs(x) < whole
}
