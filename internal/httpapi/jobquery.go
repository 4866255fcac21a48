package httpapi

import (
	"encoding/json"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// Bounds on what a filter may hold.
const (
	maxListed   = 100 // values of one filter
	maxContains = 4096
)

// among reads the filters that take lists: a,b means one of them, !a,b none of
// them, and with allow_wildcards * stands for any text.
func (q *JobQuery) among(f *store.JobFilter) error {
	for _, p := range []struct {
		name, value string
		field       store.Field
		how         store.How
		one         *string // where a single plain value goes, which an index may serve
	}{
		{"script_path_exact", q.PathExact, store.FieldPath, store.HowExact, &f.PathExact},
		{"script_path_start", q.PathStart, store.FieldPath, store.HowStart, &f.PathStart},
		{"script_hash", strings.ToLower(q.Hash), store.FieldHash, store.HowExact, &f.Hash},
		{"tag", q.Tag, store.FieldTag, store.HowExact, &f.Tag},
		{"created_by", q.CreatedBy, store.FieldCreatedBy, store.HowExact, &f.CreatedBy},
		{"worker", q.Worker, store.FieldWorker, store.HowExact, &f.Worker},
		{"label", q.Label, store.FieldLabel, store.HowExact, &f.Label},
		{"schedule_path", q.SchedulePath, store.FieldSchedule, store.HowExact, &f.Schedule},
		{"broad_filter", q.Broad, store.FieldAny, store.HowPart, nil},
	} {
		if p.value == "" {
			continue
		}
		names, not := strings.CutPrefix(p.value, "!")
		a := store.Among{Field: p.field, How: p.how, Values: splitList(names), Not: not}
		if p.field == store.FieldAny {
			a.Values, a.Not = []string{p.value}, false
		}
		if q.AllowWildcards && p.how == store.HowExact && strings.Contains(names, "*") {
			a.How = store.HowPattern
		}
		switch n := len(a.Values); {
		case n == 0 || n > maxListed:
			return sluice.Invalid(p.name, "must list 1 to %d values", maxListed)
		case n == 1 && !not && a.How == p.how && p.one != nil:
			*p.one = a.Values[0]
		default:
			f.Among = append(f.Among, a)
		}
	}
	q.amongTriggers(f)
	if q.IsSkipped.Set {
		f.Among = append(f.Among, store.Among{Field: store.FieldReason, Values: engine.SkipReasons, Not: !q.IsSkipped.Value})
	}
	return nil
}

// triggerSchedule is the kind of trigger that schedules are; there is no other.
const triggerSchedule = "schedule"

// amongTriggers selects by what started jobs.
func (q *JobQuery) amongTriggers(f *store.JobFilter) {
	kinds, not := strings.CutPrefix(q.TriggerKind, "!")
	scheduled := slices.Contains(splitList(kinds), triggerSchedule)
	f.NoSchedule = q.IsNotSchedule || scheduled && not
	if scheduled && !not {
		f.Among = append(f.Among, store.Among{Field: store.FieldSchedule, Values: []string{""}, Not: true})
	}
}

// contains reads the filters by what arguments and results hold.
func (q *JobQuery) contains(s *engine.Search) error {
	for _, p := range []struct {
		name, value string
		to          *json.RawMessage
	}{{"args", q.Args, &s.Args}, {"result", q.Result, &s.Result}} {
		if p.value == "" {
			continue
		}
		if len(p.value) > maxContains {
			return sluice.Invalid(p.name, "must be at most %d bytes", maxContains)
		}
		if err := checkJSON([]byte(p.value)); err != nil {
			return sluice.Invalid(p.name, "must be JSON, such as {\"name\":\"you\"}: %v", err)
		}
		*p.to = json.RawMessage(p.value)
	}
	if s.Args != nil && !isObject(s.Args) {
		return sluice.Invalid("args", "must be a JSON object")
	}
	return nil
}

// nobody reports whether the query asks for what no job has yet. None of them
// is what a negated list asks for.
func (q *JobQuery) nobody() bool {
	lists := func(s string) bool { return s != "" && !strings.HasPrefix(s, "!") }
	triggers := lists(q.TriggerKind) && !slices.Contains(splitList(q.TriggerKind), triggerSchedule)
	return triggers
}

// filtered reports whether the query selects by more than the state of jobs.
func (q *JobQuery) filtered() bool {
	s, none, err := q.selected("")
	if err != nil || none {
		return true
	}
	f := &s.JobFilter
	return f.PathExact != "" || f.PathStart != "" || f.Hash != "" || f.Tag != "" || f.CreatedBy != "" || f.NoParent || f.HasParent ||
		f.ParentJob != "" || f.Worker != "" || f.Label != "" || f.Kinds != nil || f.Outcomes != nil || len(f.Among) > 0 ||
		f.Steps || f.NoSteps || s.Args != nil || s.Result != nil || s.Suspended || anyInstant(f) || q.SchedulePath != "" || q.TriggerKind != ""
}

func anyInstant(f *store.JobFilter) bool {
	return !f.CreatedAfter.IsZero() || !f.CreatedBefore.IsZero() || !f.StartedAfter.IsZero() || !f.StartedBefore.IsZero() ||
		!f.CompletedAfter.IsZero() || !f.CompletedBefore.IsZero()
}
