package history

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Span is an execution as the witness saw it, by the witness's clock in
// microseconds.
type Span struct {
	Job     string
	Attempt int
	Key     string
	Begin   int64
	End     int64
	Ended   bool // false: the witness went before the job did
}

// String shows the span on one line.
func (s *Span) String() string {
	end := "no end"
	if s.Ended {
		end = seconds(s.End)
	}
	return fmt.Sprintf("witness: job %s attempt %d, key %q, %s … %s", s.Job, s.Attempt, s.Key, seconds(s.Begin), end)
}

func seconds(us int64) string { return fmt.Sprintf("%d.%06d s", us/1e6, us%1e6) }

// ReadWitness reads what [Serve] wrote. A last line that was cut short is left
// out; any other line that is no note is an error. The violations are notes
// that contradict each other.
func ReadWitness(in io.Reader) ([]Span, []Violation, error) {
	type id struct {
		job     string
		attempt int
	}
	var (
		spans  []Span
		f      = newFindings("")
		open   = map[id]int{}
		buffer = bufio.NewReader(in)
		last   int64
	)
	for number := 1; ; number++ {
		line, err := buffer.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return spans, f.all(), nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", number, err)
		}
		var n note
		decode := json.NewDecoder(bytes.NewReader(line))
		decode.DisallowUnknownFields()
		if err := decode.Decode(&n); err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", number, err)
		}
		if n.MonoUS < last {
			f.add(KindWitness, nil, "line %d: the clock goes back", number)
		}
		last = n.MonoUS
		at, there := open[id{n.Job, n.Attempt}]
		switch {
		case n.Event == noteBegin && there:
			f.add(KindWitness, []fmt.Stringer{&spans[at]}, "line %d: job %s attempt %d begins a second time", number, n.Job, n.Attempt)
		case n.Event == noteBegin:
			open[id{n.Job, n.Attempt}] = len(spans)
			spans = append(spans, Span{Job: n.Job, Attempt: n.Attempt, Key: n.Key, Begin: n.MonoUS})
		case n.Event != noteEnd:
			return nil, nil, fmt.Errorf("line %d: no event %q", number, n.Event)
		case !there || spans[at].Ended:
			f.add(KindWitness, nil, "line %d: job %s attempt %d ends and is not there", number, n.Job, n.Attempt)
		default:
			spans[at].End, spans[at].Ended = n.MonoUS, true
		}
	}
}

// Record is what the store says of the executions that a witness saw.
type Record struct {
	Rows    []Row              // at least those of the jobs that were seen
	Keys    map[int64]string   // of groups, by their id
	Prunes  map[string][]int64 // by key: after which order numbers history was pruned
	Trimmed bool               // rows may have been deleted
}

// CheckWitness judges by the witness's clock alone when executions ran; from
// the record it takes their limits and the order of their taking. slack is by
// how much the witness may have been late to notice. It shortens windows; that
// two were there at once it never excuses, since ends are noted before begins.
//
// In end mode what it finds is always a broken promise, if the witness was
// prompt: an execution is taken before it begins and released after it ends. In
// start mode the window runs from the worker's word, which may come before the
// job has found its way to the witness; give it as much slack as that takes.
func CheckWitness(spans []Span, rec Record, slack time.Duration) []Violation {
	f := newFindings("")
	checkAlone(f, spans)
	groups := match(f, spans, rec)
	out := f.all()
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		f := newFindings(key)
		for _, part := range unpruned(groups[key], rec.Prunes[key]) {
			checkSeen(f, part, slack)
			checkWindows(f, part, slack)
		}
		out = append(out, f.all()...)
	}
	return out
}

// checkAlone judges that no two attempts of a job were there at once.
func checkAlone(f *findings, spans []Span) {
	jobs := map[string][]*Span{}
	for i := range spans {
		jobs[spans[i].Job] = append(jobs[spans[i].Job], &spans[i])
	}
	for i := range spans {
		all := jobs[spans[i].Job]
		if all[0] != &spans[i] {
			continue // judged already; spans stand in the order of their begins
		}
		for k, s := range all[1:] {
			if before := all[k]; !before.Ended || before.End > s.Begin {
				f.add(KindAttempt, []fmt.Stringer{before, s}, "the witness saw attempts %d and %d of job %s at once", before.Attempt, s.Attempt, s.Job)
			}
		}
	}
}

// seen is an execution that the witness saw, with its row.
type seen struct {
	*Span
	row *Row
}

// String shows both sides.
func (s seen) String() string { return s.Span.String() + "; " + s.row.String() }

// match finds the rows of spans, and returns those in a group by its key, in
// the order in which they were taken.
func match(f *findings, spans []Span, rec Record) map[string][]seen {
	type id struct {
		job     string
		attempt int
	}
	rows := make(map[id]*Row, len(rec.Rows))
	for i := range rec.Rows {
		rows[id{rec.Rows[i].JobID, rec.Rows[i].Attempt}] = &rec.Rows[i]
	}
	groups := map[string][]seen{}
	for i := range spans {
		s := &spans[i]
		r := rows[id{s.Job, s.Attempt}]
		if r == nil {
			if !rec.Trimmed {
				f.add(KindWitness, []fmt.Stringer{s}, "the witness saw attempt %d of job %s; there is no such execution", s.Attempt, s.Job)
			}
			continue
		}
		if r.struck() {
			f.add(KindWitness, []fmt.Stringer{seen{s, r}}, "the witness saw attempt %d of job %s, which was struck out as never begun", s.Attempt, s.Job)
		}
		if !r.InGroup {
			continue
		}
		key := rec.Keys[r.GroupID]
		if utf8.ValidString(key) && !strings.ContainsAny(key, "\r\n") && key != s.Key { // other bytes do not survive the way
			f.add(KindWitness, []fmt.Stringer{seen{s, r}}, "attempt %d of job %s ran under the key %q, its group is %q", s.Attempt, s.Job, s.Key, key)
		}
		groups[key] = append(groups[key], seen{s, r})
	}
	for _, g := range groups {
		slices.SortStableFunc(g, func(a, b seen) int { return cmp.Compare(a.row.OrderNo, b.row.OrderNo) })
	}
	return groups
}

// unpruned parts the executions of a group where its history was pruned.
func unpruned(all []seen, prunes []int64) [][]seen {
	var out [][]seen
	for _, after := range prunes {
		n := 0
		for n < len(all) && all[n].row.OrderNo <= after {
			n++
		}
		out = append(out, all[:n])
		all = all[n:]
	}
	return append(out, all)
}

// checkSeen judges each begin under its own limit: of the executions taken
// before it, fewer than N were still there, or within its window.
func checkSeen(f *findings, all []seen, slack time.Duration) {
	begins, ends := make([]time.Time, len(all)), make([]time.Time, len(all))
	for i, s := range all {
		begins[i] = time.UnixMicro(s.Begin)
		if s.Ended {
			ends[i] = time.UnixMicro(s.End)
		}
	}
	begun, ended := newTally(begins), newTally(ends)
	for i, s := range all {
		l := s.row.Limit
		left := begins[i].Add(-max(l.Window-slack, 0))
		n, instants := ended.after(left), ends
		if l.Mode == modeStart {
			left = begins[i].Add(slack - l.Window)
			n, instants = begun.after(left), begins
		}
		if n >= l.N {
			evidence := []fmt.Stringer{s}
			for k, other := range all[:i] {
				if instants[k].IsZero() || instants[k].After(left) {
					evidence = append(evidence, other)
				}
			}
			f.add(KindOver, evidence, "the witness saw job %s begin at %s under %v while %d taken before it counted", s.Job, seconds(s.Begin), l, n)
		}
		begun.add(begins[i], 1)
		ended.add(ends[i], 1)
	}
}

// checkWindows judges the same without the order of taking, where all
// executions have one mode: no window of the shortest W holds more than the
// largest N. (In any window the last one taken counted all others.)
func checkWindows(f *findings, all []seen, slack time.Duration) {
	if len(all) == 0 {
		return
	}
	widest := all[0].row.Limit
	for _, s := range all {
		l := s.row.Limit
		if l.mode() != widest.mode() {
			return
		}
		widest.N, widest.Window = max(widest.N, l.N), min(widest.Window, l.Window)
	}
	type edge struct {
		at int64
		up int
	}
	var edges []edge
	by := (widest.Window - slack).Microseconds()
	if widest.Mode != modeStart {
		by = max(by, 0)
	}
	for _, s := range all {
		until := s.Begin + by
		if widest.Mode != modeStart {
			until = s.End + by
		}
		edges = append(edges, edge{s.Begin, 1})
		if s.Ended || widest.Mode == modeStart {
			edges = append(edges, edge{max(until, s.Begin), -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), a.up-b.up) })
	n := 0
	for _, e := range edges {
		n += e.up
		if e.up > 0 && n > widest.N {
			f.add(KindOver, nil, "the witness saw %d executions in the window of %s that holds %s; at most %d are allowed", n, widest.Window, seconds(e.at), widest.N)
		}
	}
}

// witnessed judges what the witness saw by what was read.
func (c *checker) witnessed(spans []Span, slack time.Duration) {
	rec := Record{Rows: c.rows, Keys: c.keys, Prunes: c.prunes, Trimmed: c.report.Trimmed > 0}
	c.report.Violations = append(c.report.Violations, CheckWitness(spans, rec, slack)...)
	c.report.Witnessed = int64(len(spans))
	for _, s := range spans {
		if !s.Ended {
			c.report.Unended++
		}
	}
	if len(spans) == 0 {
		c.report.Violations = append(c.report.Violations, Violation{Kind: KindNothing, Text: "the witness saw no execution, so nothing was proven by its clock"})
	}
}
