package sqlite

import (
	"strings"
	"time"

	"sluice"
	"sluice/internal/store"
)

// where is the condition of a list of jobs and the values that it binds.
type where struct {
	terms []string
	binds []func(*stmt)
}

func (w *where) add(term string, bind func(*stmt)) {
	w.terms = append(w.terms, term)
	w.binds = append(w.binds, bind)
}

func (w *where) text(column, v string) {
	if v != "" {
		w.add(column+" = ?", func(s *stmt) { s.str(v) })
	}
}

func (w *where) instant(term string, at time.Time) {
	if !at.IsZero() {
		w.add(term, func(s *stmt) { s.at(at) })
	}
}

// in selects rows with one of n values of a column.
func (w *where) in(column string, n int, bind func(*stmt)) {
	if n > 0 {
		w.add(column+" IN ("+strings.TrimSuffix(strings.Repeat("?,", n), ",")+")", bind)
	}
}

func (w *where) String() string {
	if len(w.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.terms, " AND ")
}

func (w *where) bind(s *stmt) *stmt {
	for _, b := range w.binds {
		b(s)
	}
	return s
}

func whereJobs(f *store.JobFilter) *where {
	w := &where{}
	w.in("job.id", len(f.IDs), func(s *stmt) {
		for _, id := range f.IDs {
			s.blob(uuidBytes(id))
		}
	})
	w.text("job.workspace", f.Workspace)
	w.sight(f.Sight)
	w.in("job.state", len(f.States), func(s *stmt) {
		for _, v := range f.States {
			s.int(int64(stateCode(v)))
		}
	})
	if len(f.States) > 0 && !hasState(f.States, sluice.StateCompleted) {
		w.add("job.open = 1", func(*stmt) {})
	}
	w.in("job.outcome", len(f.Outcomes), func(s *stmt) {
		for _, v := range f.Outcomes {
			s.int(int64(outcomeCode(v)))
		}
	})
	w.in("job.kind", len(f.Kinds), func(s *stmt) {
		for _, v := range f.Kinds {
			s.str(string(v))
		}
	})
	w.text("job.path", f.PathExact)
	if p := f.PathStart; p != "" {
		w.add("substr(job.path, 1, length(?)) = ?", func(s *stmt) { s.str(p).str(p) })
	}
	w.text("job.hash", f.Hash)
	w.text("job.tag", f.Tag)
	w.text("job.created_by", f.CreatedBy)
	w.text("job.worker", f.Worker)
	if p := f.ParentJob; p != "" {
		w.add("job.parent = ?", func(s *stmt) { s.blob(uuidBytes(p)) })
	}
	if f.NoParent {
		w.add("job.parent IS NULL", func(*stmt) {})
	}
	if f.HasParent {
		w.add("job.parent IS NOT NULL", func(*stmt) {})
	}
	if name := f.Schedule; name != "" {
		w.add("job.schedule = ? AND job.schedule <> ''", func(s *stmt) { s.str(name) })
		if len(f.States) == 1 && f.States[0] == sluice.StateCompleted { // so that the index gives them in order
			w.add("job.open = 0", func(*stmt) {})
		}
	}
	if f.NoSchedule {
		w.add("job.schedule = ''", func(*stmt) {})
	}
	w.text("job.step", f.Step)
	if f.Steps {
		w.add("job.step <> ''", func(*stmt) {})
	}
	if f.NoSteps {
		w.add("job.step = ''", func(*stmt) {})
	}
	for _, a := range f.Among {
		w.among(a)
	}
	if k := f.Key; k != nil {
		w.add("job.key_hash = ? AND job.key = ?", func(s *stmt) { s.int(keyHash(*k)).blob(*k) })
	}
	if l := f.Label; l != "" {
		w.add("job.seq IN (SELECT job_seq FROM label WHERE label = ?)", func(s *stmt) { s.str(l) })
	}
	whereInstants(w, f)
	return w
}

var columnOf = map[store.Field]string{
	store.FieldPath: "job.path", store.FieldHash: "job.hash", store.FieldTag: "job.tag", store.FieldCreatedBy: "job.created_by",
	store.FieldWorker: "job.worker", store.FieldSchedule: "job.schedule", store.FieldLabel: "label",
	store.FieldReason: "job.canceled_reason",
	store.FieldAny:    "job.path || char(10) || job.tag || char(10) || job.created_by || char(10) || job.worker",
}

// among selects rows by a list of values.
func (w *where) among(a store.Among) {
	column, times := columnOf[a.Field], 1
	one := column + " = ?"
	switch a.How {
	case store.HowExact:
	case store.HowStart:
		one, times = "substr("+column+", 1, length(?)) = ?", 2
	case store.HowPattern:
		one = column + " GLOB ?"
	case store.HowPart:
		one = "instr(lower(" + column + "), lower(?)) > 0"
	}
	term := "(" + strings.TrimSuffix(strings.Repeat(one+" OR ", len(a.Values)), " OR ") + ")"
	if a.Field == store.FieldLabel {
		term = "job.seq IN (SELECT job_seq FROM label WHERE " + term + ")"
	}
	if a.Not {
		term = "NOT " + term
	}
	w.add(term, func(s *stmt) {
		for _, v := range a.Values {
			if a.How == store.HowPattern {
				v = globOf.Replace(v)
			}
			for range times {
				s.str(v)
			}
		}
	})
}

// globOf keeps * and escapes what else means something to GLOB.
var globOf = strings.NewReplacer("[", "[[]", "?", "[?]")

func whereInstants(w *where, f *store.JobFilter) {
	w.instant("job.created_us >= ?", f.CreatedAfter)
	w.instant("job.created_us <= ?", f.CreatedBefore)
	w.instant("job.started_us >= ?", f.StartedAfter)
	w.instant("job.started_us > 0 AND job.started_us <= ?", f.StartedBefore)
	w.instant("job.completed_us > 0 AND job.completed_us >= ?", f.CompletedAfter)
	w.instant("job.completed_us > 0 AND job.completed_us <= ?", f.CompletedBefore)
	w.instant("job.scheduled_us <= ?", f.DueBefore)
	switch {
	case f.AfterSeq == 0:
	case f.OldestFirst:
		w.add("job.seq > ?", func(s *stmt) { s.int(f.AfterSeq) })
	default:
		w.add("job.seq < ?", func(s *stmt) { s.int(f.AfterSeq) })
	}
}

func hasState(list []sluice.State, s sluice.State) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// Jobs implements [store.Reader].
func (r *reader) Jobs(f store.JobFilter) ([]*sluice.Job, error) {
	w := whereJobs(&f)
	order := " ORDER BY job.seq DESC"
	if f.OldestFirst {
		order = " ORDER BY job.seq"
	}
	s := w.bind(r.c.once("SELECT " + jobCols + " FROM job" + w.String() + order + " LIMIT ? OFFSET ?"))
	return r.jobs(s.int(int64(orDefault(f.Limit))).int(int64(f.Offset)))
}

// CountJobs implements [store.Reader].
func (r *reader) CountJobs(f store.JobFilter) (n int64, err error) {
	w := whereJobs(&f)
	_, err = w.bind(r.c.once("SELECT count(*) FROM job" + w.String())).one(func(s *stmt) { n = s.getInt() })
	return n, err
}

var qCompletedByTag = coldText(`SELECT tag, count(*) FROM job WHERE completed_us > 0 AND completed_us >= ?1
AND (?2 = '' OR workspace = ?2) GROUP BY tag`)

// CompletedByTag implements [store.Reader].
func (r *reader) CompletedByTag(workspace string, since time.Time) (map[string]int64, error) {
	counts := map[string]int64{}
	s := r.c.use(qCompletedByTag).at(since).str(workspace)
	for s.next() {
		counts[s.getStr()] = s.getInt()
	}
	return counts, s.end()
}
