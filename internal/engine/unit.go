package engine

import (
	"errors"
	"slices"
	"sort"
	"strings"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
	"sluice/limit"
)

// unit is one transaction's working set.
type unit struct {
	e         *Engine
	tx        store.Tx
	now       time.Time // read after everything opened so far was locked
	groups    map[int64]*group
	lines     map[int64]*line       // with and without a group
	order     []*line               // lines without a group, in the order of opening
	key       []byte                // of job tokens, if it was read or drawn here
	locks     map[*compiled]*string // of versions, as read here
	stepLocks map[string]*string    // of inline steps, by version and id, as read here
	runs      map[int64]*flowRun    // of flows, by the number of the job
	stirred   []*flowRun            // to which something happened that was not dealt with yet
	endings   map[int64]flow.End    // of flows that ended here, by the number of the job
	cancelled int                   // steps that were cancelled with their flows
	flowReady bool                  // a line of flows became ready
	ran       []ran                 // runs of schedules that have ended
	anew      bool                  // flows that are pushed here run, whatever is kept of runs like them
	tell      map[int64]told        // lines of which something may have to be told at the end; nil: it is told at once
	ahead     int                   // how many first jobs of a line without a group are likely to be taken
}

// group is a locked group with all its lines.
type group struct {
	*store.Group
	lines   []*line
	changed bool // its row must be written
	touched bool // its lines must be judged anew
}

// line is a locked line. group is nil if its jobs have no limit.
type line struct {
	*store.Line
	group *group
	heads []*sluice.Job // its first jobs, as far as they were loaded
	stale bool          // Head is no longer the first job
	due   bool          // NextDue is no longer the first scheduled job
	saved store.Line    // as it stands in the store
	fresh bool          // not yet judged, though it exists
}

func (e *Engine) unit(tx store.Tx) *unit {
	return &unit{e: e, tx: tx, groups: map[int64]*group{}, lines: map[int64]*line{}}
}

// openKeys locks the groups of keys, making those that do not exist, and
// reads the clock.
func (u *unit) openKeys(keys []string) ([]*group, error) {
	rows, err := u.tx.LockGroups(keys)
	if err != nil {
		return nil, err
	}
	out := make([]*group, len(rows))
	for i, row := range rows {
		if out[i], err = u.adopt(row); err != nil {
			return nil, err
		}
	}
	u.now = u.tx.Now()
	return out, nil
}

// openIDs locks groups by id and reads the clock; groups that are gone are
// left out.
func (u *unit) openIDs(ids []int64) error {
	var missing []int64
	for _, id := range ids {
		if id != 0 && u.groups[id] == nil && !slices.Contains(missing, id) {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		rows, err := u.tx.LockGroupIDs(missing)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if row == nil {
				continue
			}
			if _, err := u.adopt(row); err != nil {
				return err
			}
		}
	}
	u.now = u.tx.Now()
	return nil
}

// adopt takes a locked group's row into the working set.
func (u *unit) adopt(row *store.Group) (*group, error) {
	if g := u.groups[row.ID]; g != nil {
		return g, nil
	}
	lines, err := u.tx.LinesOf(row.ID)
	if err != nil {
		return nil, err
	}
	g := &group{Group: row}
	for _, l := range lines {
		g.lines = append(g.lines, u.adoptLine(l, g))
	}
	u.groups[row.ID] = g
	return g, nil
}

func (u *unit) adoptLine(row *store.Line, g *group) *line {
	if l := u.lines[row.ID]; l != nil {
		return l
	}
	l := &line{Line: row, group: g, saved: *row}
	u.lines[row.ID] = l
	if g == nil {
		u.order = append(u.order, l)
	}
	return l
}

// lineOf returns the line that a job belongs in, and makes it if need be. The
// job's group, if it has one, is open.
func (u *unit) lineOf(g *group, workspace, path, tag string) (*line, error) {
	if g != nil {
		for _, l := range g.lines {
			if l.Tag == tag {
				return l, nil
			}
		}
		row, err := u.tx.EnsureLine(g.ID, "", "", tag)
		if err != nil {
			return nil, err
		}
		l := u.adoptLine(row, g)
		g.lines = append(g.lines, l)
		return l, nil
	}
	row, err := u.tx.EnsureLine(0, workspace, path, tag)
	if err != nil {
		return nil, err
	}
	return u.adoptLine(row, nil), nil
}

// openJob opens a job's group, nil without a limit, and the line that it
// waits in, nil if it does not wait.
func (u *unit) openJob(j *sluice.Job) (g *group, l *line, err error) {
	if j.HasKey {
		gs, err := u.openKeys([]string{j.Key})
		if err != nil {
			return nil, nil, err
		}
		g = gs[0]
	}
	if j.Waiting() {
		l, err = u.lineOf(g, j.Workspace, j.Path, j.LineTag())
	}
	u.now = u.tx.Now()
	return g, l, err
}

// stand puts queued jobs of one line in it.
func (u *unit) stand(l *line, jobs []*sluice.Job) error {
	if len(jobs) == 0 {
		return nil
	}
	if err := u.tx.Stand(l.ID, jobs); err != nil {
		return err
	}
	for _, j := range jobs {
		if l.Head.Seq == 0 || j.Rank().Compare(l.Head) < 0 {
			l.Head, l.heads = j.Rank(), nil
			if j.Limit != nil {
				l.HeadLimit = *j.Limit
			}
		} else {
			l.heads = before(l.heads, j.Rank())
		}
	}
	l.Queued += int64(len(jobs))
	u.touch(l)
	u.mindExpiry(l, jobs)
	return nil
}

// mindExpiry has the dispatcher look up when the next waiting job's time is up.
func (u *unit) mindExpiry(l *line, jobs []*sluice.Job) {
	if slices.ContainsFunc(jobs, func(j *sluice.Job) bool { return !j.ExpiresAt.IsZero() }) {
		u.tx.Signal(store.Signal{Tags: []string{l.Tag}})
	}
}

// before cuts a list of jobs in rank order where r would stand.
func before(jobs []*sluice.Job, r sluice.Rank) []*sluice.Job {
	i := sort.Search(len(jobs), func(i int) bool { return r.Compare(jobs[i].Rank()) < 0 })
	return jobs[:i]
}

// leave takes a waiting job out of its line, wherever it stands.
func (u *unit) leave(l *line, j *sluice.Job) error {
	if j.State == sluice.StateScheduled {
		ok, err := u.tx.Unpostpone(l.ID, j)
		if err != nil || !ok {
			return errors.Join(err, missing(ok, j))
		}
		l.Scheduled--
		l.due = true
	} else {
		ok, err := u.tx.Leave(l.ID, j)
		if err != nil || !ok {
			return errors.Join(err, missing(ok, j))
		}
		l.Queued--
		switch {
		case len(l.heads) > 0 && l.heads[0].Seq == j.Seq:
			l.heads = l.heads[1:]
			l.stale = true
		case j.Seq == l.Head.Seq:
			l.heads, l.stale = nil, true
		default:
			l.heads = before(l.heads, j.Rank())
		}
	}
	u.touch(l)
	if l.group != nil {
		l.group.Waiting--
		l.group.changed = true
	}
	return nil
}

func missing(ok bool, j *sluice.Job) error {
	if ok {
		return nil
	}
	return sluice.Errorf(sluice.CodeInternal, "job %s stands in no line", j.ID)
}

func (u *unit) touch(l *line) {
	if l.group != nil {
		l.group.touched = true
	}
	l.fresh = true
}

// head returns the first job of a line, nil if it has none.
func (u *unit) head(l *line) (*sluice.Job, error) {
	if l.Queued == 0 {
		l.Head, l.stale, l.heads = sluice.Rank{}, false, nil
		return nil, nil
	}
	if len(l.heads) == 0 {
		if err := u.loadHeads(l); err != nil {
			return nil, err
		}
		if len(l.heads) == 0 {
			return nil, sluice.Errorf(sluice.CodeInternal, "line %d counts %d jobs and holds none", l.ID, l.Queued)
		}
	}
	j := l.heads[0]
	l.Head, l.stale = j.Rank(), false
	if j.Limit != nil {
		l.HeadLimit = *j.Limit
	}
	return j, nil
}

// loadHeads loads the first job of a line, and more of one whose jobs nothing
// but places holds back.
func (u *unit) loadHeads(l *line) error {
	most := 1
	if l.group == nil {
		most = max(most, u.ahead)
	}
	if l.Head.Seq != 0 && !l.stale && (most == 1 || l.Queued == 1) { // its number is known
		j, err := u.tx.JobBySeq(l.Head.Seq)
		l.heads = []*sluice.Job{j}
		return err
	}
	var err error
	l.heads, err = u.tx.Heads(l.ID, most)
	return err
}

// room asks whether a limit as pushed leaves room for one more execution,
// after `ahead` others.
func (u *unit) room(g *store.Group, pushed limit.Limit, ahead int64) (limit.Room, error) {
	l, _ := g.Override.Apply(pushed)
	p := g.Probe(l, ahead)
	at := p.At
	if p.No > 0 { // in a pause too: what the history says may outlast it
		var err error
		at, err = u.tx.Instant(g.ID, p.Series, p.No)
		if errors.Is(err, store.ErrNotFound) { // fail closed, and let the others go on
			u.e.log.Error("history of a group has a hole; its jobs wait", "group", g.ID, "series", p.Series, "no", p.No)
			return limit.Room{}, nil
		} else if err != nil {
			return limit.Room{}, err
		}
	}
	return limit.Decide(u.now, &g.Group, l, p, at), nil
}

// settle has flows go on to which something happened, brings all that was
// touched in step and writes it.
func (u *unit) settle() error {
	if err := u.moveFlows(); err != nil {
		return err
	}
	if len(u.ran) > 0 {
		if err := u.handleRuns(); err != nil {
			return err
		}
	}
	for _, g := range u.groups {
		if g.touched {
			if err := u.judge(g); err != nil {
				return err
			}
		}
		if g.changed {
			if err := u.tx.SaveGroup(g.Group); err != nil {
				return err
			}
			g.changed = false
		}
	}
	for _, l := range slices.Clone(u.order) {
		if !l.fresh {
			continue
		}
		if err := u.renew(l); err != nil {
			return err
		}
		l.Ready, l.WakeAt = l.Head.Seq != 0 && !u.lapsed(l), l.NextDue
		if err := u.saveLine(l); err != nil {
			return err
		}
	}
	return nil
}

// renew makes a line's first job and first due time what they are.
func (u *unit) renew(l *line) error {
	if l.stale {
		if _, err := u.head(l); err != nil {
			return err
		}
	}
	if l.due {
		t, err := u.tx.FirstPostponed(l.ID)
		if err != nil {
			return err
		}
		l.NextDue, l.due = t, false
	}
	return nil
}

// lapsed reports whether a scheduled job of the line is due and does not
// stand in it yet: then nobody knows who is first.
func (u *unit) lapsed(l *line) bool {
	return !l.NextDue.IsZero() && !l.NextDue.After(u.now)
}

// judge decides, line by line in the order of the first jobs, who has room.
func (u *unit) judge(g *group) error {
	g.touched = false
	for _, l := range g.lines {
		if err := u.renew(l); err != nil {
			return err
		}
	}
	slices.SortStableFunc(g.lines, func(a, b *line) int {
		switch x, y := u.lapsed(a), u.lapsed(b); {
		case x != y && x:
			return -1
		case x != y:
			return 1
		case (a.Head.Seq == 0) != (b.Head.Seq == 0):
			if a.Head.Seq == 0 {
				return 1
			}
			return -1
		}
		return a.Head.Compare(b.Head)
	})
	var blocked []string
	for _, l := range g.lines {
		l.BlockedBy = ""
		if len(blocked) > 0 {
			slices.Sort(blocked)
			l.BlockedBy = strings.Join(blocked, "\n") + "\n"
		}
		l.Ready, l.WakeAt = false, time.Time{}
		if l.Head.Seq != 0 && !u.lapsed(l) {
			r, err := u.room(g.Group, l.HeadLimit, 0)
			if err != nil {
				return err
			}
			l.Ready, l.WakeAt = r.Now, r.From
			if !r.Now && r.From.IsZero() {
				u.e.mayKnot()
			}
		}
		if !l.NextDue.IsZero() && (l.WakeAt.IsZero() || l.NextDue.Before(l.WakeAt)) {
			l.WakeAt = l.NextDue
		}
		if !l.Ready && (l.Head.Seq != 0 || u.lapsed(l)) {
			blocked = append(blocked, l.Tag)
		}
		if err := u.saveLine(l); err != nil {
			return err
		}
	}
	g.lines = slices.DeleteFunc(g.lines, func(l *line) bool { return l.Queued == 0 && l.Scheduled == 0 })
	return nil
}

// told is a line that changed in a unit, as it stands, and whether one of its
// changes was news.
type told struct {
	line store.Line
	news bool
}

// news reports whether the dispatchers, of all servers, must know of a change:
// there may be work that was not there before.
func news(was, is *store.Line) bool {
	return is.Ready && (!was.Ready || is.BlockedBy != was.BlockedBy) || !is.WakeAt.IsZero() && !is.WakeAt.Equal(was.WakeAt)
}

// noteLine has others be told of a line that changes: at once, or, where more may
// follow, when it is known what it comes to.
func (u *unit) noteLine(was, is *store.Line) {
	switch {
	case u.tell != nil:
		u.tell[was.ID] = told{line: *is, news: u.tell[was.ID].news || news(was, is)}
	case news(was, is):
		u.tx.Signal(store.Signal{Tags: []string{is.Tag}})
	}
}

// signal tells of the lines that were noted: one that became ready and then gave
// all that it could, to this unit itself, is no news.
func (u *unit) signal() {
	for _, c := range u.tell {
		if l := &c.line; c.news && (l.Ready || !l.WakeAt.IsZero()) {
			u.tx.Signal(store.Signal{Tags: []string{l.Tag}})
		}
	}
}

// saveLine writes a line if it differs from its row, and tells of what the
// dispatcher must know.
func (u *unit) saveLine(l *line) error {
	l.fresh = false
	if l.Queued == 0 && l.Scheduled == 0 {
		delete(u.lines, l.ID)
		if l.group == nil {
			u.order = slices.DeleteFunc(u.order, func(o *line) bool { return o == l })
		}
		u.noteLine(&l.saved, &store.Line{})
		return u.tx.DeleteLine(l.ID)
	}
	if *l.Line == l.saved {
		return nil
	}
	u.noteLine(&l.saved, l.Line)
	u.flowReady = u.flowReady || l.Ready && l.Tag == sluice.LineFlow
	l.saved = *l.Line
	return u.tx.SaveLine(l.Line)
}
