package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// unknown stands for a counter that nobody gave.
const unknown = math.MinInt64

// numbered is a row seen through one of its numbers.
type numbered struct {
	no  int64
	at  time.Time
	row *Row
}

// checkNumbers judges the three series of numbers of the group.
func (g *Group) checkNumbers(f *findings) {
	orders := make([]numbered, 0, len(g.Rows))
	launches, releases := make([]numbered, 0, len(g.Rows)), make([]numbered, 0, len(g.Rows))
	var struck int64
	for i := range g.Rows {
		r := &g.Rows[i]
		orders = append(orders, numbered{r.OrderNo, r.Started, r})
		if r.struck() {
			struck++
			if r.LaunchNo != 0 || r.EndNo != 0 || !r.Confirmed.IsZero() {
				f.add(KindNumbers, []fmt.Stringer{r}, "execution #%d was struck out after it was launched", r.OrderNo)
			}
			continue
		}
		if at := r.launched(); r.LaunchNo != 0 || !at.IsZero() {
			launches = append(launches, numbered{r.LaunchNo, at, r})
		}
		if r.EndNo != 0 || !r.Released.IsZero() {
			releases = append(releases, numbered{r.EndNo, r.Released, r})
		}
	}
	newest := Counters{unknown, unknown, unknown, unknown}
	if g.Counters != nil {
		newest = *g.Counters
	}
	checkSeries(f, "order", orders, g.TrimmedOrder, newest.Taken)
	checkSeries(f, "launch", launches, g.TrimmedLaunches, newest.Launched)
	checkSeries(f, "release", releases, g.TrimmedReleases, newest.Released)
	if g.TrimmedOrder == 0 && newest.Struck != unknown && newest.Struck != struck {
		f.add(KindNumbers, nil, "the group counts %d executions as struck out, its rows say %d", newest.Struck, struck)
	}
}

// checkSeries judges one series: no gap and no duplicate above what was
// trimmed, up to the newest number (unless unknown), and instants that ascend
// with the numbers.
func checkSeries(f *findings, name string, s []numbered, trimmed, newest int64) {
	slices.SortStableFunc(s, func(a, b numbered) int { return cmp.Compare(a.no, b.no) })
	var last numbered
	for _, x := range s {
		switch {
		case x.no < 1:
			f.add(KindNumbers, []fmt.Stringer{x.row}, "an execution has no %s number", name)
			continue
		case x.at.IsZero():
			f.add(KindNumbers, []fmt.Stringer{x.row}, "%s number %d has no instant", name, x.no)
		case last.row != nil && x.no == last.no:
			f.add(KindNumbers, []fmt.Stringer{last.row, x.row}, "%s number %d was drawn twice", name, x.no)
		case x.no > max(last.no, trimmed)+1:
			f.add(KindNumbers, []fmt.Stringer{x.row}, "%s numbers %d … %d are missing", name, max(last.no, trimmed)+1, x.no-1)
		}
		if last.row != nil && x.at.Before(last.at) {
			f.add(KindNumbers, []fmt.Stringer{last.row, x.row}, "%s number %d lies before number %d", name, x.no, last.no)
		}
		last = x
	}
	if found := max(last.no, trimmed); newest != unknown && newest != found {
		f.add(KindNumbers, nil, "the newest %s number that was drawn is %d, that of the rows %d", name, newest, found)
	}
}

// checkRows judges that each row's instants ascend and fit its end.
func (g *Group) checkRows(f *findings) {
	for i := range g.Rows {
		r := &g.Rows[i]
		switch {
		case r.Started.IsZero():
			f.add(KindNumbers, []fmt.Stringer{r}, "execution #%d has no start", r.OrderNo)
		case !r.Confirmed.IsZero() && r.Confirmed.Before(r.Started):
			f.add(KindNumbers, []fmt.Stringer{r}, "execution #%d was confirmed before it was taken", r.OrderNo)
		case !r.Released.IsZero() && (r.Released.Before(r.Started) || r.Released.Before(r.Confirmed)):
			f.add(KindNumbers, []fmt.Stringer{r}, "execution #%d was released before it was confirmed or taken", r.OrderNo)
		case r.End == endHeld && !r.Released.IsZero():
			f.add(KindNumbers, []fmt.Stringer{r}, "execution #%d is held and has a release", r.OrderNo)
		case (r.End == endReported || r.End == endLost) && r.Released.IsZero():
			f.add(KindNumbers, []fmt.Stringer{r}, "execution #%d ended and has no release", r.OrderNo)
		case r.End != endHeld && r.End != endReported && r.End != endLost && r.End != endStruck:
			f.add(KindNumbers, []fmt.Stringer{r}, "execution #%d ended in a way that is none: %q", r.OrderNo, r.End)
		}
	}
}

// checkLog judges that the entries of the log lie between the executions
// between which they say they do: what is concluded from their order numbers
// rests on it.
func (g *Group) checkLog(f *findings) {
	next, last := 0, int64(0)
	for i := range g.Events {
		e := &g.Events[i]
		if e.AfterOrder < last {
			f.add(KindNumbers, nil, "log entry %d (%s) lies after execution #%d, the one before it after #%d", e.Seq, e.Kind, e.AfterOrder, last)
		}
		last = max(last, e.AfterOrder)
		for next < len(g.Rows) && g.Rows[next].OrderNo <= last {
			next++
		}
		if next > 0 && g.Rows[next-1].Started.After(e.At) {
			f.add(KindNumbers, []fmt.Stringer{&g.Rows[next-1]}, "log entry %d (%s) of %s says it came after execution #%d", e.Seq, e.Kind, stamp(e.At), g.Rows[next-1].OrderNo)
		}
		if next < len(g.Rows) && g.Rows[next].Started.Before(e.At) {
			f.add(KindNumbers, []fmt.Stringer{&g.Rows[next]}, "log entry %d (%s) of %s says it came before execution #%d", e.Seq, e.Kind, stamp(e.At), g.Rows[next].OrderNo)
		}
	}
}
