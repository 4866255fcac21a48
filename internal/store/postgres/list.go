package postgres

import (
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/internal/store"
)

// where is the condition of a list and the values that it binds.
type where struct {
	terms []string
	args  []any
}

// bind numbers the question marks of a text, one for each value.
func (w *where) bind(text string, args ...any) string {
	for _, a := range args {
		w.args = append(w.args, a)
		text = strings.Replace(text, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	return text
}

func (w *where) add(term string, args ...any) { w.terms = append(w.terms, w.bind(term, args...)) }

func (w *where) text(column, v string) {
	if v != "" {
		w.add(column+" = ?::text", v)
	}
}

func (w *where) instant(term string, at time.Time) {
	if !at.IsZero() {
		w.add(term, micros(at))
	}
}

func (w *where) String() string {
	if len(w.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.terms, " AND ")
}

func whereJobs(f *store.JobFilter) *where {
	w := &where{}
	if len(f.IDs) > 0 {
		var ids []string
		for _, id := range f.IDs {
			if id = uuidOf(id); id != "" {
				ids = append(ids, id)
			}
		}
		w.add("job.id = ANY(?::text[]::uuid[])", ids)
	}
	w.text("job.workspace", f.Workspace)
	w.sight(f.Sight)
	if len(f.States) > 0 {
		codes, open := []int64{}, true
		for _, s := range f.States {
			codes, open = append(codes, int64(stateCode(s))), open && s != sluice.StateCompleted
		}
		w.add("job_state.state = ANY(?::bigint[])", codes)
		if open {
			w.add("job_state.state < 3")
		}
	}
	if len(f.Outcomes) > 0 {
		w.add("job_state.outcome = ANY(?::bigint[])", each(f.Outcomes, func(o sluice.Outcome) int64 { return int64(outcomeCode(o)) }))
	}
	if len(f.Kinds) > 0 {
		w.add("job.kind = ANY(?::text[])", each(f.Kinds, func(k sluice.Kind) string { return string(k) }))
	}
	w.text("job.path", f.PathExact)
	if f.PathStart != "" {
		w.add("starts_with(job.path, ?::text)", f.PathStart)
	}
	w.text("job.hash", f.Hash)
	w.text("job.tag", f.Tag)
	w.text("job.created_by", f.CreatedBy)
	w.text("job_state.worker", f.Worker)
	w.text("job.step", f.Step)
	w.text("job.schedule", f.Schedule)
	if f.ParentJob != "" {
		w.add("job.parent = nullif(?::text, '')::uuid", uuidOf(f.ParentJob))
	}
	for term, set := range map[string]bool{
		"job.parent IS NULL": f.NoParent, "job.parent IS NOT NULL": f.HasParent, "job.step <> ''": f.Steps, "job.step = ''": f.NoSteps,
		"job.schedule = ''": f.NoSchedule,
	} {
		if set {
			w.add(term)
		}
	}
	for _, a := range f.Among {
		w.among(a)
	}
	if f.Key != nil {
		w.add("job.key = ?::bytea", raw(*f.Key))
	}
	if f.Label != "" {
		w.add("job.seq IN (SELECT job_seq FROM label WHERE label = ?::bytea)", raw(f.Label))
	}
	whereInstants(w, f)
	return w
}

var columnOf = map[store.Field]string{
	store.FieldPath: "job.path", store.FieldHash: "job.hash", store.FieldTag: "job.tag", store.FieldCreatedBy: "job.created_by",
	store.FieldWorker: "job_state.worker", store.FieldSchedule: "job.schedule", store.FieldLabel: "convert_from(label, 'UTF8')",
	store.FieldReason: "encode(job_state.canceled_reason, 'escape')", // as it is, if it is ASCII
	store.FieldAny:    `(job.path || E'\n' || job.tag || E'\n' || job.created_by || E'\n' || job_state.worker)`,
}

// among selects rows by a list of values.
func (w *where) among(a store.Among) {
	column := columnOf[a.Field]
	one := column + " = v"
	switch a.How {
	case store.HowExact:
	case store.HowStart:
		one = "starts_with(" + column + ", v)"
	case store.HowPattern:
		one = column + ` LIKE v`
	case store.HowPart:
		one = "position(lower(v COLLATE \"C\") in lower(" + column + " COLLATE \"C\")) > 0"
	}
	values := a.Values
	if a.How == store.HowPattern {
		values = each(values, likeOf.Replace)
	}
	term := "EXISTS (SELECT 1 FROM unnest(?::text[]) AS u (v) WHERE " + one + ")"
	if a.Field == store.FieldLabel {
		term = "job.seq IN (SELECT job_seq FROM label WHERE " + term + ")"
	}
	if a.Not {
		term = "NOT " + term
	}
	w.add(term, values)
}

// likeOf turns * into what stands for any text, and escapes what else means
// something to LIKE.
var likeOf = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%")

func whereInstants(w *where, f *store.JobFilter) {
	w.instant("job.created_us >= ?::bigint", f.CreatedAfter)
	w.instant("job.created_us <= ?::bigint", f.CreatedBefore)
	w.instant("job_state.started_us >= ?::bigint", f.StartedAfter)
	w.instant("job_state.started_us > 0 AND job_state.started_us <= ?::bigint", f.StartedBefore)
	w.instant("job_state.completed_us > 0 AND job_state.completed_us >= ?::bigint", f.CompletedAfter)
	w.instant("job_state.completed_us > 0 AND job_state.completed_us <= ?::bigint", f.CompletedBefore)
	w.instant("job.scheduled_us <= ?::bigint", f.DueBefore)
	switch {
	case f.AfterSeq == 0:
	case f.OldestFirst:
		w.add("job.seq > ?::bigint", f.AfterSeq)
	default:
		w.add("job.seq < ?::bigint", f.AfterSeq)
	}
}

// Jobs implements [store.Reader].
func (r *reader) Jobs(f store.JobFilter) ([]*sluice.Job, error) {
	w := whereJobs(&f)
	order := " ORDER BY job.seq DESC"
	if f.OldestFirst {
		order = " ORDER BY job.seq"
	}
	sql := "SELECT " + jobCols + fromJobs + w.String() + order + " LIMIT " + w.bind("?::bigint", orDefault(f.Limit)) +
		" OFFSET " + w.bind("?::bigint", int64(f.Offset))
	return r.jobList(sql, w.args...)
}

// CountJobs implements [store.Reader].
func (r *reader) CountJobs(f store.JobFilter) (n int64, err error) {
	w := whereJobs(&f)
	err = r.rows(func(w *row) { n = w.getInt() }, "SELECT count(*)"+fromJobs+w.String(), w.args...)
	return n, err
}

const qCompletedByTag = `SELECT job.tag, count(*)` + fromJobs + `WHERE completed_us > 0 AND completed_us >= $1::bigint
AND ($2::text = '' OR workspace = $2::text) GROUP BY job.tag`

// CompletedByTag implements [store.Reader].
func (r *reader) CompletedByTag(workspace string, since time.Time) (map[string]int64, error) {
	counts := map[string]int64{}
	err := r.rows(func(w *row) {
		tag := w.getStr()
		counts[tag] = w.getInt()
	}, qCompletedByTag, micros(since), workspace)
	return counts, err
}
