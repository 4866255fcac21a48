package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

// maxAhead bounds how far in the future a job may be due.
const maxAhead = 10 * 366 * 24 * time.Hour

// defaultLostAttempts is how many new attempts a job gets after lost workers.
const defaultLostAttempts = 3

// Submit pushes 1 … sluice.MaxBulk jobs in one transaction and returns their
// ids in order. It is all or nothing: an error names the job and the field. A
// job whose given ID is known in the workspace is not pushed again.
func (e *Engine) Submit(ctx context.Context, news []NewJob) ([]string, error) {
	if len(news) < 1 || len(news) > sluice.MaxBulk {
		return nil, sluice.Invalid("jobs", "must be 1 to %d jobs, not %d", sluice.MaxBulk, len(news))
	}
	ids := make([]string, len(news))
	for i := range news {
		var err error
		if ids[i], err = checkNew(&news[i]); err != nil {
			return nil, nth(err, i, len(news))
		}
	}
	err := e.store.Update(ctx, func(tx store.Tx) error { return e.submit(tx, news, ids) })
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// nth says which job of several an error is about.
func nth(err error, i, of int) error {
	var se *sluice.Error
	if of == 1 || !errors.As(err, &se) {
		return err
	}
	named := *se
	named.Field = fmt.Sprintf("jobs[%d]", i)
	if se.Field != "" {
		named.Field += "." + se.Field
	}
	return &named
}

// checkNew checks what can be checked without the store and returns the job's id.
func checkNew(n *NewJob) (string, error) {
	id := n.ID
	if id == "" {
		v, err := uuid.NewV7()
		if err != nil {
			return "", err
		}
		id = v.String()
	} else {
		v, err := uuid.Parse(id)
		if err != nil {
			return "", sluice.Invalid("job_id", "must be a UUID")
		}
		id = v.String()
	}
	named := 0
	for _, set := range []bool{
		n.Path != "", n.Hash != "", n.Preview != nil, n.Dependencies != nil, n.FlowPath != "" || n.FlowVersion != 0, n.FlowPreview != nil,
	} {
		if set {
			named++
		}
	}
	switch {
	case named != 1:
		return "", sluice.Invalid("path", "name what to run by exactly one of path, hash and preview, or as a flow")
	case n.Priority != nil && (*n.Priority < sluice.MinPriority || *n.Priority > sluice.MaxPriority):
		return "", sluice.Invalid("priority", "must be %d to %d", sluice.MinPriority, sluice.MaxPriority)
	case n.ScheduledIn < 0 || n.ScheduledIn > maxAhead:
		return "", sluice.Invalid("scheduled_in_secs", "must be 0 to %d", int64(maxAhead/time.Second))
	case n.MaxWait < 0 || n.MaxWait > maxWaitSeconds*time.Second:
		return "", sluice.Invalid("max_wait_s", "must be 0 to %d", maxWaitSeconds)
	case n.Timeout < 0:
		return "", sluice.Invalid("timeout", "must not be negative")
	case n.QueueLimit != nil && *n.QueueLimit < 0:
		return "", sluice.Invalid("queue_limit", "must not be negative")
	case len(n.Tag) > maxTag || strings.ContainsAny(n.Tag, "\n\x00,"): // lists of tags are kept line by line
		return "", sluice.Invalid("tag", "must be at most %d characters without comma or line feed", maxTag)
	case n.MaxLostAttempts != nil && (*n.MaxLostAttempts < 0 || *n.MaxLostAttempts > 1000):
		return "", sluice.Invalid("max_lost_attempts", "must be 0 to 1000")
	}
	if len(bytes.TrimSpace(n.Args)) == 0 || bytes.Equal(bytes.TrimSpace(n.Args), []byte("null")) {
		n.Args = json.RawMessage("{}")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(n.Args, &object); err != nil {
		return "", sluice.Invalid("args", "must be a JSON object with one field per argument")
	}
	return id, nil
}

// push is a job on its way into the store.
type push struct {
	failed  json.RawMessage // why it cannot even wait; a step of a flow alone
	served  json.RawMessage // its result, kept from a step alike; a step of a flow alone
	job     *sluice.Job
	group   *group
	cap     int64         // jobs that may wait in its group; <0: as many as the group allows
	maxWait time.Duration // 0: for ever
}

func (e *Engine) submit(tx store.Tx, news []NewJob, ids []string) error {
	known, err := knownJobs(tx, news, ids)
	if err != nil {
		return err
	}
	var pushes []*push
	paths := map[string]*compiled{}
	for i := range news {
		if j, ok := known[ids[i]]; ok {
			if !sameAsker(j, &news[i]) {
				return nth(&sluice.Error{Code: sluice.CodeConflict, Field: "job_id", Message: "is in use by another job"}, i, len(news))
			}
			continue
		}
		known[ids[i]] = &sluice.Job{Workspace: news[i].Workspace, Email: news[i].Email}
		p, err := e.build(tx, &news[i], ids[i], paths)
		if err != nil {
			return nth(err, i, len(news))
		}
		pushes = append(pushes, p)
	}
	if len(pushes) == 0 {
		return nil
	}
	u := e.unit(tx)
	if err := u.enqueue(pushes); err != nil {
		return err
	}
	return u.settle()
}

// enqueue stores jobs and puts them in their lines. It works on the groups and
// lines that the unit has open already, so that jobs may be pushed within any
// transaction: a second unit would overwrite what the first has changed. The
// caller settles.
func (u *unit) enqueue(pushes []*push) error {
	var keys []string
	for _, p := range pushes {
		if p.job.HasKey {
			keys = append(keys, p.job.Key)
		}
	}
	groups, err := u.openKeys(keys)
	if err != nil {
		return err
	}
	jobs := make([]*sluice.Job, len(pushes))
	for i, p := range pushes {
		if p.job.HasKey {
			p.group, groups = groups[0], groups[1:]
		}
		if err := u.place(p); err != nil {
			return nth(err, i, len(pushes))
		}
		jobs[i] = p.job
	}
	if err := u.tx.InsertJobs(jobs); err != nil {
		if errors.Is(err, store.ErrExists) {
			return &sluice.Error{Code: sluice.CodeConflict, Field: "job_id", Message: "is in use by another job"}
		}
		return err
	}
	return u.line(pushes)
}

// sameAsker reports whether a job may be what somebody asks for once more: of
// others nobody gets to know by guessing ids.
func sameAsker(j *sluice.Job, n *NewJob) bool {
	return j.Workspace == n.Workspace && (n.By == nil || n.By.Admin || j.Email == n.Email)
}

// knownJobs returns the jobs whose client-given ids exist.
func knownJobs(tx store.Tx, news []NewJob, ids []string) (map[string]*sluice.Job, error) {
	known := map[string]*sluice.Job{}
	var given []string
	for i := range news {
		if news[i].ID != "" {
			given = append(given, ids[i])
		}
	}
	if len(given) == 0 {
		return known, nil
	}
	jobs, err := tx.Jobs(store.JobFilter{IDs: given, Limit: len(given)})
	for _, j := range jobs {
		known[j.ID] = j
	}
	return known, err
}

// build makes the job of a push: what to run, under which limit and key.
func (e *Engine) build(tx store.Tx, n *NewJob, id string, paths map[string]*compiled) (*push, error) {
	j := &sluice.Job{
		ID: id, Workspace: n.Workspace, Args: n.Args, Tag: n.Tag, CreatedBy: n.CreatedBy, Email: n.Email,
		ParentJob: n.ParentJob, RootJob: n.RootJob, Schedule: n.Schedule, ScheduledFor: n.ScheduledFor, MaxLostAttempts: defaultLostAttempts,
		OnLimit: sluice.OnLimitQueue, Timeout: n.Timeout, DeleteAfter: -1,
	}
	if n.ScheduledIn > 0 {
		j.ScheduledFor = tx.Now().Add(n.ScheduledIn)
	}
	var settings limit.Settings
	var ownWait time.Duration
	var err error
	switch {
	case n.Preview != nil:
		settings, err = e.buildPreview(tx, j, n)
	case n.Dependencies != nil:
		err = buildDependencies(tx, j, n.Dependencies)
	case n.FlowPreview != nil:
		settings, ownWait, err = e.buildFlowPreview(tx, j, n)
	case n.FlowPath != "" || n.FlowVersion != 0:
		settings, ownWait, err = e.buildFlow(tx, j, n)
	default:
		var c *compiled
		if c, err = e.buildScript(tx, j, n, paths); err == nil {
			settings, ownWait = c.limits, seconds(c.body.MaxWait)
		}
	}
	if err != nil {
		return nil, err
	}
	if n.Priority != nil {
		j.Priority = *n.Priority
	}
	if n.MaxLostAttempts != nil {
		j.MaxLostAttempts = *n.MaxLostAttempts
	}
	if j.Tag == "" {
		j.Tag = j.Language
	}
	if j.Timeout == 0 && !j.Kind.IsFlow() {
		j.Timeout = e.o.DefaultTimeout
	}
	p := &push{job: j, cap: -1, maxWait: n.MaxWait}
	if p.maxWait == 0 {
		p.maxWait = ownWait
	}
	if n.QueueLimit != nil {
		p.cap = *n.QueueLimit
	}
	if j.Phase == sluice.PhasePreprocess {
		if j.Limit = settings.Limit; j.Limit != nil {
			j.QueueLimit = n.QueueLimit
		}
		return p, nil
	}
	return p, resolveKey(j, settings)
}

func (e *Engine) buildScript(tx store.Tx, j *sluice.Job, n *NewJob, paths map[string]*compiled) (*compiled, error) {
	name := n.Workspace + "\n" + n.Hash + "\n" + n.Path
	c := paths[name]
	if c == nil {
		var err error
		if n.Hash != "" {
			c, err = e.freshByHash(tx, n.Workspace, n.Hash)
			err = notFound(err, NoHash, n.Hash, n.Workspace)
		} else {
			c, err = e.compiledByPath(tx, n.Workspace, n.Path)
			err = notFound(err, "there is no script %s in workspace %s", n.Path, n.Workspace)
		}
		if err != nil {
			return nil, err
		}
		if n.By != nil {
			err := n.By.allow(tx, n.Workspace, store.KindScript, c.row.Path, store.RightRead)
			if n.Hash != "" {
				err = Unnamed(err, NoHash, n.Hash, n.Workspace)
			}
			if err != nil {
				return nil, err
			}
		}
		if c.row.Archived {
			return nil, sluice.Errorf(sluice.CodeNotFound, "the script %s is archived; push it again to run it", c.row.Path)
		}
		paths[name] = c
	}
	b := &c.body
	j.Labels = c.labels
	j.Kind, j.Path, j.Hash, j.Language = sluice.KindScript, c.row.Path, c.row.Hash, c.row.Language
	if j.Tag == "" {
		j.Tag = b.Tag
	}
	if b.Priority != nil {
		j.Priority = *b.Priority
	}
	if b.MaxLostAttempts != nil {
		j.MaxLostAttempts = *b.MaxLostAttempts
	}
	if b.OnLimit != nil && *b.OnLimit != "" {
		j.OnLimit = sluice.OnLimit(*b.OnLimit)
	}
	if j.Timeout == 0 {
		j.Timeout = seconds(b.Timeout)
	}
	if b.DeleteAfterSecs != nil {
		j.DeleteAfter = time.Duration(*b.DeleteAfterSecs) * time.Second
	}
	if b.DeleteAfterUse != nil && *b.DeleteAfterUse {
		j.DeleteAfter = 0
	}
	return c, preprocess(c, j, n)
}

func (e *Engine) buildPreview(tx store.Tx, j *sluice.Job, n *NewJob) (limit.Settings, error) {
	p := n.Preview
	if err := needWorkspace(tx, n.Workspace); err != nil {
		return limit.Settings{}, err
	}
	switch {
	case !languageName.MatchString(p.Language):
		return limit.Settings{}, sluice.Invalid("language", "must name a language, such as bash")
	case len(p.Content) > maxContent:
		return limit.Settings{}, sluice.Invalid("content", "has %d bytes; at most %d are allowed", len(p.Content), maxContent)
	case p.OnLimit != "" && p.OnLimit != string(sluice.OnLimitQueue) && p.OnLimit != string(sluice.OnLimitFail):
		return limit.Settings{}, sluice.Invalid("on_concurrency_limit", `must be "queue" or "fail"`)
	}
	if p.Path != "" {
		if err := checkPath("path", p.Path); err != nil {
			return limit.Settings{}, err
		}
	}
	s, err := p.Limits.Validate()
	if err != nil {
		return s, fieldError(err)
	}
	if s.Limit != nil && s.Key == nil && p.Path == "" {
		return s, sluice.Invalid("concurrency_key", "is needed for a limit on code without a path")
	}
	if p.OnLimit != "" {
		j.OnLimit = sluice.OnLimit(p.OnLimit)
	}
	j.Kind, j.Path, j.Language, j.Content = sluice.KindPreview, p.Path, p.Language, p.Content
	return s, nil
}

// resolveKey fixes the limit and the key of a job.
func resolveKey(j *sluice.Job, s limit.Settings) error {
	own := limit.DefaultScriptKey
	if j.Kind.IsFlow() {
		own = limit.DefaultFlowKey
	}
	return resolveKeyOr(j, s, own(j.Workspace, j.Path))
}

// resolveKeyOr fixes the limit and the key of a job, which is own unless the
// settings name another.
func resolveKeyOr(j *sluice.Job, s limit.Settings, own string) error {
	if s.Limit == nil {
		return nil
	}
	l := *s.Limit
	j.Limit, j.HasKey = &l, true
	if s.Key == nil {
		j.Key = own
		return nil
	}
	key, err := s.Key.Resolve(j.Workspace, j.Args)
	if err != nil {
		return sluice.Invalid(limit.FieldKey, "cannot be resolved: %v", err)
	}
	j.Key = key
	return nil
}

// place fixes a job's instants and first state, and counts it in its group.
// The group is locked and the clock read.
func (u *unit) place(p *push) error {
	j := p.job
	j.CreatedAt = u.now
	if j.ScheduledFor.Before(u.now) {
		j.ScheduledFor = u.now
	}
	if j.ScheduledFor.Sub(u.now) > maxAhead {
		return sluice.Invalid("scheduled_for", "must be within ten years from now")
	}
	if p.maxWait > 0 {
		j.ExpiresAt = j.ScheduledFor.Add(p.maxWait)
	}
	j.State = sluice.StateQueued
	if j.ScheduledFor.After(u.now) {
		j.State = sluice.StateScheduled
	}
	g := p.group
	if g == nil {
		return nil
	}
	return g.admitWaiting(j, p.cap)
}

// admitWaiting counts one more job as waiting, unless as many as may wait
// already: then the error has code limited. most < 0: as many as the group
// allows.
func (g *group) admitWaiting(j *sluice.Job, most int64) error {
	may := g.MaxWaiting
	if may == 0 {
		may = sluice.DefaultMaxWait
	}
	if most >= 0 {
		may = min(may, most)
	}
	if g.Waiting >= may {
		return sluice.Errorf(sluice.CodeLimited, "%d jobs wait already under the key %q; at most %d may. Try again when it has drained.", g.Waiting, j.Key, may)
	}
	g.Waiting++
	g.changed = true
	g.MaxWindow = max(g.MaxWindow, j.Limit.Window)
	return nil
}

// line puts stored jobs in their lines, in order.
func (u *unit) line(pushes []*push) error {
	stand := map[*line][]*sluice.Job{}
	later := map[*line][]*sluice.Job{}
	var order []*line
	loose := map[[3]string]*line{}
	for _, p := range pushes {
		j := p.job
		name := [3]string{j.Workspace, j.Path, j.LineTag()}
		l := loose[name]
		if p.group != nil || l == nil {
			var err error
			if l, err = u.lineOf(p.group, j.Workspace, j.Path, j.LineTag()); err != nil {
				return err
			}
			if p.group == nil {
				loose[name] = l
			}
		}
		if len(stand[l]) == 0 && len(later[l]) == 0 {
			order = append(order, l)
		}
		switch {
		case j.State == sluice.StateScheduled:
			later[l] = append(later[l], j)
		case j.Schedule != "", j.OnLimit == sluice.OnLimitFail && p.group != nil, u.caches(j):
			if p.group != nil {
				if err := u.flush(p.group, stand); err != nil { // who came before it counts
					return err
				}
			}
			if err := u.arrive(l, j); err != nil {
				return err
			}
		default:
			stand[l] = append(stand[l], j)
		}
	}
	for _, l := range order {
		if err := u.stand(l, stand[l]); err != nil {
			return err
		}
		delete(stand, l)
		if err := u.postpone(l, later[l]); err != nil {
			return err
		}
		delete(later, l)
	}
	return nil
}

// flush puts what is gathered for a group's lines in them.
func (u *unit) flush(g *group, stand map[*line][]*sluice.Job) error {
	for _, l := range g.lines {
		if err := u.stand(l, stand[l]); err != nil {
			return err
		}
		delete(stand, l)
	}
	return nil
}

func (u *unit) postpone(l *line, jobs []*sluice.Job) error {
	if len(jobs) == 0 {
		return nil
	}
	if err := u.tx.Postpone(l.ID, jobs); err != nil {
		return err
	}
	for _, j := range jobs {
		if l.NextDue.IsZero() || j.ScheduledFor.Before(l.NextDue) {
			l.NextDue = j.ScheduledFor
		}
	}
	l.Scheduled += int64(len(jobs))
	u.touch(l)
	u.mindExpiry(l, jobs)
	return nil
}

// roomBehind asks whether a job has room behind everybody who is before it in
// its group. A pause does not count.
func (u *unit) roomBehind(g *group, j *sluice.Job) (limit.Room, error) {
	calm := *g.Group
	calm.Pause = limit.Pause{}
	var all int64
	for _, l := range g.lines {
		all += l.Queued
	}
	r, err := u.room(&calm, *j.Limit, all)
	if err != nil || r.Now || all == 0 {
		return r, err
	}
	in, _ := g.Override.Apply(*j.Limit)
	var ahead int64
	for _, l := range g.lines {
		if l.Queued == 0 {
			continue
		}
		n, err := u.tx.Ahead(l.ID, j.Rank(), int64(in.N)-ahead)
		if err != nil {
			return r, err
		}
		if ahead += n; ahead >= int64(in.N) {
			break
		}
	}
	return u.room(&calm, *j.Limit, ahead)
}
