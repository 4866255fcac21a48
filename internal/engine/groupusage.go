package engine

import (
	"context"
	"time"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// Bounds of what is read to tell how groups were used: executions of all groups
// of a list together, and of one group at least and at most.
const (
	usageRows   = 25_000
	usageFewest = 20
	usageMost   = 500
)

// MostUsageParts bounds the parts of a [Usage].
const MostUsageParts = 60

// Usage asks how groups were used lately: over a span that ends now, in so many
// equal parts, at most MostUsageParts.
type Usage struct {
	Span  time.Duration
	Parts int
}

// GroupsUsed lists groups as [Engine.Groups] does, each with its Used. What is
// read of a group is bounded, so that a busy group has fewer parts than asked
// for: the newest ones.
func (e *Engine) GroupsUsed(ctx context.Context, f store.GroupFilter, u Usage) ([]*GroupInfo, error) {
	u.Parts = min(u.Parts, MostUsageParts)
	return view(ctx, e, func(r store.Reader) ([]*GroupInfo, error) {
		rows, err := r.Groups(f)
		if err != nil {
			return nil, err
		}
		most := min(max(usageRows/max(len(rows), 1), usageFewest), usageMost)
		out := make([]*GroupInfo, len(rows))
		for i, g := range rows {
			if out[i], err = e.groupInfo(r, g); err != nil {
				return nil, err
			}
			if out[i].Limit == nil {
				continue
			}
			if out[i].Used, err = groupUsage(r, g, *out[i].Limit, u, most); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
}

// groupUsage reads how a group was used, from at most so many executions that
// hold a slot and so many that were released.
func groupUsage(r store.Reader, g *store.Group, l limit.Limit, u Usage, most int) ([]float64, error) {
	if g.Held() > int64(most) {
		return nil, nil
	}
	now := r.Now()
	held, err := r.HeldExecutions(g.ID, most)
	if err != nil {
		return nil, err
	}
	ended, err := r.Recent(g.ID, now.Add(-u.Span-l.Window), most+1)
	if err != nil {
		return nil, err
	}
	var since time.Time
	if len(ended) > most {
		since = ended[most-1].ReleasedAt.Add(l.Window) // an older one counts until then at the latest
	}
	return used(append(held, ended[:min(len(ended), most)]...), l, now, since, u), nil
}

// used divides the time before now into parts and says of each how many
// executions occupied the limit on the average: held it or, by its window, still
// counted. Parts that begin before since are left out.
func used(xs []*sluice.Execution, l limit.Limit, now, since time.Time, u Usage) []float64 {
	part := u.Span / time.Duration(u.Parts)
	from := now.Add(-part * time.Duration(u.Parts))
	sums := make([]time.Duration, u.Parts)
	for _, x := range xs {
		if x.End == sluice.EndStruck {
			continue
		}
		begin, end := max(x.StartedAt.Sub(from), 0), min(countsUntil(x, l, now).Sub(from), u.Span)
		for i := int(begin / part); i < u.Parts && time.Duration(i)*part < end; i++ {
			sums[i] += min(end, time.Duration(i+1)*part) - max(begin, time.Duration(i)*part)
		}
	}
	out := []float64{}
	for i, s := range sums {
		if !from.Add(part * time.Duration(i)).Before(since) {
			out = append(out, float64(s)/float64(part))
		}
	}
	return out
}

// countsUntil returns the instant from which an execution counts no longer
// under a limit, or now if it still does.
func countsUntil(x *sluice.Execution, l limit.Limit, now time.Time) time.Time {
	from := x.ReleasedAt
	if l.Mode == limit.Start && !x.ConfirmedAt.IsZero() {
		from = x.ConfirmedAt
	}
	if from.IsZero() {
		return now
	}
	if until := from.Add(l.Window); until.Before(now) {
		return until
	}
	return now
}
