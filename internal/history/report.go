package history

import (
	"fmt"
	"io"
	"strings"
)

// Kind names what was broken.
type Kind string

// The kinds.
const (
	KindOver    Kind = "over"    // more than N
	KindLimit   Kind = "limit"   // another limit was in force than the row says
	KindNumbers Kind = "numbers" // a gap, a duplicate, or numbers against instants
	KindAttempt Kind = "attempt" // attempts overlap, have gaps, or a job has not one end
	KindOrder   Kind = "order"   // a job ahead was passed over
	KindPaused  Kind = "paused"  // a start while the group was paused
	KindPruned  Kind = "pruned"  // a prune while a slot was held
	KindWitness Kind = "witness" // the witness saw what no row says
	KindNothing Kind = "nothing" // there was nothing to judge
)

// Violation is one broken promise.
type Violation struct {
	Kind Kind   `json:"kind"`
	Key  string `json:"concurrency_key"` // of the group; "" for jobs in none
	Text string `json:"text"`            // one sentence
	// Evidence are the rows, jobs and log entries involved, a line each.
	Evidence []string `json:"evidence,omitempty"`
}

// String shows the violation with its evidence on lines of their own.
func (v Violation) String() string {
	s := string(v.Kind) + ": "
	if v.Key != "" {
		s += fmt.Sprintf("group %q: ", v.Key)
	}
	s += v.Text
	if len(v.Evidence) > 0 {
		s += "\n    " + strings.Join(v.Evidence, "\n    ")
	}
	return s
}

// mostOfAKind is how many violations of one kind are told of one group, and
// mostEvidence how many rows of one violation; the rest is counted.
const (
	mostOfAKind  = 20
	mostEvidence = 20
)

// findings collects violations.
type findings struct {
	key   string
	list  []Violation
	count map[Kind]int
}

func newFindings(key string) *findings { return &findings{key: key, count: map[Kind]int{}} }

// room reports whether another violation of this kind will be told; what is
// costly to show is only made if so.
func (f *findings) room(k Kind) bool { return f.count[k] < mostOfAKind }

func (f *findings) add(k Kind, evidence []fmt.Stringer, format string, args ...any) {
	f.count[k]++
	if f.count[k] > mostOfAKind {
		return
	}
	v := Violation{Kind: k, Key: f.key, Text: fmt.Sprintf(format, args...)}
	for i, e := range evidence {
		if i == mostEvidence {
			v.Evidence = append(v.Evidence, fmt.Sprintf("and %d more", len(evidence)-i))
			break
		}
		v.Evidence = append(v.Evidence, e.String())
	}
	f.list = append(f.list, v)
}

// all returns what was found, and how much more there is of each kind.
func (f *findings) all() []Violation {
	for i := range f.list {
		k := f.list[i].Kind
		if more := f.count[k] - mostOfAKind; more > 0 {
			f.list = append(f.list, Violation{Kind: k, Key: f.key, Text: fmt.Sprintf("and %d more of this kind", more)})
			f.count[k] = 0
		}
	}
	return f.list
}

// Report says what was judged and what was found.
type Report struct {
	Executions int64 `json:"executions"` // rows read, those in no group too
	Struck     int64 `json:"struck"`     // of those, handed back before they began
	Groups     int64 `json:"groups"`
	Starts     int64 `json:"starts"`    // starts judged against their limit
	Ordered    int64 `json:"ordered"`   // starts judged against the jobs ahead
	Jobs       int64 `json:"jobs"`      // jobs that still exist
	Events     int64 `json:"events"`    // entries of the logs of groups
	Trimmed    int64 `json:"trimmed"`   // order numbers whose rows retention has deleted
	Witnessed  int64 `json:"witnessed"` // executions that the witness saw
	Unended    int64 `json:"unended"`   // of those, without an end

	Violations []Violation `json:"violations"`
}

// OK reports whether all promises were kept.
func (r *Report) OK() bool { return len(r.Violations) == 0 }

// mostTold is how many violations are written for people.
const mostTold = 100

// Write writes the report for people.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "judged %d executions (%d handed back), %d groups, %d starts against their limits, %d against the order of their line, %d jobs, %d log entries\n",
		r.Executions, r.Struck, r.Groups, r.Starts, r.Ordered, r.Jobs, r.Events)
	if r.Trimmed > 0 {
		fmt.Fprintf(&b, "%d executions were deleted by retention and could not be judged\n", r.Trimmed)
	}
	if r.Witnessed > 0 {
		fmt.Fprintf(&b, "the witness saw %d executions, %d of them without an end\n", r.Witnessed, r.Unended)
	}
	told := min(len(r.Violations), mostTold)
	for _, v := range r.Violations[:told] {
		fmt.Fprintln(&b, v)
	}
	if more := len(r.Violations) - told; more > 0 {
		fmt.Fprintf(&b, "and %d more, which --json tells\n", more)
	}
	if r.OK() {
		b.WriteString("all promises were kept\n")
	} else {
		fmt.Fprintf(&b, "%d violations\n", len(r.Violations))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
