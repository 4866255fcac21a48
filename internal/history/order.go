package history

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"math"
	"slices"
)

// stay is a stretch of time in which a job stood in line. Instants are in
// nanoseconds.
type stay struct {
	job   *Job
	from  int64 // first instant at which it must be seen
	until int64 // order number with which it started; math.MaxInt64: it did not
	gone  int64 // instant at which it ended without a start; math.MaxInt64: it did not
}

// checkOrder judges that at every start no job of the same tag that was due,
// waiting and ahead in rank had been passed over.
func (g *Group) checkOrder(f *findings) {
	rows := map[int64][]*Row{} // by job, in order
	tags := map[string][]*Row{}
	for i := range g.Rows {
		r := &g.Rows[i]
		rows[r.JobSeq] = append(rows[r.JobSeq], r)
		tags[r.Tag] = append(tags[r.Tag], r)
	}
	jobs := make(map[int64]*Job, len(g.Jobs))
	stays := map[string][]stay{}
	for i := range g.Jobs {
		j := &g.Jobs[i]
		jobs[j.Seq] = j
		stays[j.Tag] = append(stays[j.Tag], staysOf(j, rows[j.Seq])...)
	}
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		g.ordered += checkLine(f, tags[tag], stays[tag], jobs)
	}
}

// staysOf returns when a job stood in line. What lies before an execution that
// retention deleted is not known and left out.
func staysOf(j *Job, rows []*Row) []stay {
	gone := int64(math.MaxInt64)
	if !j.Completed.IsZero() {
		gone = j.Completed.UnixNano()
	}
	if !j.Expires.IsZero() { // from then on it must not start
		gone = min(gone, j.Expires.UnixNano())
	}
	var out []stay
	open := stay{job: j, from: max(j.Created.UnixNano()+1, j.Due.UnixNano()), until: math.MaxInt64, gone: gone}
	known := j.Attempt == 0 && len(rows) == 0 || len(rows) > 0 && rows[0].Attempt == 1
	for _, r := range rows {
		if known {
			open.until = r.OrderNo
			out = append(out, open)
		}
		// It stands in line again, with its old rank, if it was lost or handed back.
		known = (r.End == endLost || r.End == endStruck) && !r.Released.IsZero()
		open = stay{job: j, from: r.Released.UnixNano() + 1, until: math.MaxInt64, gone: gone}
	}
	if known {
		out = append(out, open)
	}
	return out
}

// checkLine judges the starts of one group and tag, in order, and returns how
// many it could judge.
func checkLine(f *findings, starts []*Row, stays []stay, jobs map[int64]*Job) (judged int64) {
	slices.SortStableFunc(stays, func(a, b stay) int { return cmp.Compare(a.from, b.from) })
	var waiting line
	for _, r := range starts {
		now := r.Started.UnixNano()
		for len(stays) > 0 && stays[0].from <= now {
			heap.Push(&waiting, stays[0])
			stays = stays[1:]
		}
		for len(waiting) > 0 && (waiting[0].until <= r.OrderNo || waiting[0].gone <= now) {
			heap.Pop(&waiting)
		}
		j := jobs[r.JobSeq]
		if j == nil {
			continue
		}
		judged++
		if len(waiting) > 0 && waiting[0].job.Seq != j.Seq && waiting[0].job.before(j) {
			f.add(KindOrder, []fmt.Stringer{r, j, waiting[0].job}, "execution #%d of job %s passed over job %s, which was due, waiting and ahead", r.OrderNo, j.ID, waiting[0].job.ID)
		}
	}
	return judged
}

// line is a heap of stays, the first in rank on top.
type line []stay

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return l[i].job.before(l[j].job) }
func (l line) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *line) Push(x any)        { *l = append(*l, x.(stay)) }
func (l *line) Pop() any {
	old := *l
	x := old[len(old)-1]
	*l = old[:len(old)-1]
	return x
}
