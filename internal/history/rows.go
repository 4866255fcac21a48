package history

import (
	"fmt"
	"strings"
	"time"
)

// Modes and sources, as rows carry them.
const (
	modeEnd      = "end"
	modeStart    = "start"
	fromJob      = "job"
	fromOverride = "override"
)

// How an execution ended, as rows carry it.
const (
	endHeld     = ""
	endReported = "reported"
	endLost     = "lost"
	endStruck   = "struck"
	endPrepared = "prepared" // a preprocessor has made the job's arguments
)

// Limit is N, the window and the mode ("end" or "start"; empty means end).
type Limit struct {
	N      int
	Window time.Duration
	Mode   string
}

// String says the limit as violations show it.
func (l Limit) String() string {
	return fmt.Sprintf("N = %d, window %s, from the %s", l.N, l.Window, l.mode())
}

func (l Limit) mode() string {
	if l.Mode == "" {
		return modeEnd
	}
	return l.Mode
}

// Row is one execution. A zero instant has not happened; numbers begin at 1,
// and 0 means not drawn.
type Row struct {
	ID      int64
	JobSeq  int64
	JobID   string
	Attempt int
	Tag     string

	InGroup bool
	GroupID int64
	Limit   Limit  // in force when it was taken
	Source  string // "job" or "override"
	OrderNo int64
	// LaunchNo and EndNo number launches and releases of the group.
	LaunchNo, EndNo int64

	Started, Confirmed, Released time.Time
	End                          string // "", "reported", "lost", "struck", "prepared"
}

func (r *Row) struck() bool { return r.End == endStruck }

// launched returns the instant of the launch: the confirmation, else the
// release; zero: neither yet.
func (r *Row) launched() time.Time {
	if !r.Confirmed.IsZero() {
		return r.Confirmed
	}
	return r.Released
}

// String shows the row on one line.
func (r *Row) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#%d job %s attempt %d", r.OrderNo, r.JobID, r.Attempt)
	fmt.Fprintf(&b, ", started %s", stamp(r.Started))
	if !r.Confirmed.IsZero() {
		fmt.Fprintf(&b, ", confirmed %s", stamp(r.Confirmed))
	}
	if !r.Released.IsZero() {
		fmt.Fprintf(&b, ", released %s", stamp(r.Released))
	}
	if r.End == endHeld {
		b.WriteString(", held")
	} else {
		fmt.Fprintf(&b, " (%s)", r.End)
	}
	if r.InGroup {
		fmt.Fprintf(&b, ", %v (%s)", r.Limit, r.Source)
	}
	return b.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// Override replaces the fields that it gives.
type Override struct {
	N      *int
	Window *time.Duration
	Mode   *string
}

func (o Override) empty() bool { return o.N == nil && o.Window == nil && o.Mode == nil }

// over returns what is in force for a job pushed with l. A start mode that is
// left without a window is read as end mode.
func (o Override) over(l Limit) Limit {
	l.Mode = l.mode()
	if o.N != nil {
		l.N = *o.N
	}
	if o.Window != nil {
		l.Window = *o.Window
	}
	if o.Mode != nil {
		l.Mode = *o.Mode
	}
	if !o.empty() && l.Mode == modeStart && l.Window == 0 {
		l.Mode = modeEnd
	}
	return l
}

// Kinds of events.
const (
	eventOverride = "override"
	eventClear    = "clear"
	eventPause    = "pause"
	eventResume   = "resume"
	eventPrune    = "prune"
)

// Event is an entry of a group's log. AfterOrder is the newest order number
// that was drawn when it happened.
type Event struct {
	Seq        int64
	At         time.Time
	Kind       string // "override", "clear", "pause", "resume", "prune"
	AfterOrder int64
	Override   Override
	Until      time.Time // of a pause; zero: until resumed
}

// Job is what is judged of a job that still exists.
type Job struct {
	Seq      int64
	ID       string
	Tag      string
	Priority int
	Limit    *Limit // as pushed; nil: none
	State    string // "scheduled", "queued", "running", "completed"
	Outcome  string // "", "success", "failure", "canceled"
	Attempt  int    // number of its newest execution; 0: none
	Unheld   bool   // it runs without an execution: a part of a flow

	Created, Due, Expires, Completed time.Time
}

// The states and outcomes that matter here.
const (
	stateScheduled  = "scheduled"
	stateQueued     = "queued"
	stateRunning    = "running"
	stateCompleted  = "completed"
	outcomeSuccess  = "success"
	outcomeCanceled = "canceled"
)

// before reports whether j comes before o: priority, due time, arrival.
func (j *Job) before(o *Job) bool {
	if j.Priority != o.Priority {
		return j.Priority > o.Priority
	}
	if !j.Due.Equal(o.Due) {
		return j.Due.Before(o.Due)
	}
	return j.Seq < o.Seq
}

// String shows the job on one line.
func (j *Job) String() string {
	s := fmt.Sprintf("job %s (arrival %d, priority %d, tag %q), pushed %s, due %s", j.ID, j.Seq, j.Priority, j.Tag, stamp(j.Created), stamp(j.Due))
	if !j.Completed.IsZero() {
		s += ", completed " + stamp(j.Completed)
	}
	return s
}
