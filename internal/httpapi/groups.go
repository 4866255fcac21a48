package httpapi

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
	"sluice/limit"
)

const groupPiece = 1000

// KeyRef is a concurrency key, named by the rest of a path: any bytes, none
// included, which is why huma does not read it.
type KeyRef struct{ key string }

// Resolve reads the key.
func (in *KeyRef) Resolve(ctx huma.Context) []error {
	in.key = ctx.Param("key")
	return nil
}

func keyPath(op *huma.Operation) {
	op.Parameters = append(op.Parameters, &huma.Param{
		Name: "key", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
		Description: "The concurrency key, escaped: the rest of the path, any bytes",
	})
}

// KeyFilter is the query parameter that selects a group; an empty key is one.
type KeyFilter struct{ key *string }

// Resolve reads the key.
func (in *KeyFilter) Resolve(ctx huma.Context) []error {
	if key, ok := rawQuery(ctx.URL(), "concurrency_key"); ok {
		in.key = &key
	}
	return nil
}

func keyParam(op *huma.Operation) {
	op.Parameters = append(op.Parameters, &huma.Param{
		Name: "concurrency_key", In: "query", Schema: &huma.Schema{Type: huma.TypeString},
		Description: "Jobs of this concurrency key; an empty one is a key, too",
	})
}

type idsIn struct {
	WorkspaceRef
	JobQuery
	KeyFilter
}

type overrideJSON struct {
	N          *int        `json:"concurrent_limit,omitempty"`
	Window     *int64      `json:"concurrency_time_window_s,omitempty"`
	Mode       *limit.Mode `json:"concurrency_window_from,omitempty" enum:"end,start"`
	MaxWaiting *int64      `json:"max_waiting,omitempty"`
}

// groupJSON is a concurrency group.
type groupJSON struct {
	Key          string        `json:"concurrency_key"`
	TotalRunning int64         `json:"total_running" doc:"Slots held"`
	Waiting      int64         `json:"waiting"`
	InWindow     int64         `json:"in_window" doc:"Executions that have ended, or in start mode begun, and still count; at most 1,000 are counted"`
	N            *int          `json:"concurrent_limit,omitempty" doc:"Of the limit in force for the first job in line, or for the newest execution"`
	Window       *int64        `json:"concurrency_time_window_s,omitempty"`
	Mode         limit.Mode    `json:"concurrency_window_from,omitempty" enum:"end,start"`
	Source       limit.Source  `json:"source,omitempty" enum:"job,override"`
	Override     *overrideJSON `json:"override,omitempty"`
	MaxWaiting   int64         `json:"max_waiting,omitempty"`
	Paused       bool          `json:"paused"`
	PausedBy     string        `json:"paused_by,omitempty"`
	PausedUntil  *time.Time    `json:"paused_until,omitempty"`
	PausedWhy    string        `json:"paused_why,omitempty"`
	TypicalMS    int64         `json:"typical_ms,omitempty" doc:"How long its executions last"`
	RoomAt       *time.Time    `json:"room_at,omitempty" doc:"Next instant with room, if one is known"`
	FirstDue     *time.Time    `json:"first_due,omitempty" doc:"When the first in line was due; absent if nobody waits"`
	Used         []float64     `json:"used,omitempty" doc:"With usage_s: how many executions ran or still counted, on the average of each part of the time, the newest part last; of a busy group fewer parts are known"`
}

func groupForm(g *engine.GroupInfo, now time.Time) groupJSON {
	f := groupJSON{
		Key: g.Key, TotalRunning: g.Running, Waiting: g.Waiting, InWindow: g.InWindow,
		MaxWaiting: g.MaxWaiting, TypicalMS: g.Typical.Milliseconds(), RoomAt: instant(g.RoomAt), FirstDue: instant(g.FirstDue), Used: g.Used,
	}
	if g.Limit != nil {
		n, window := g.Limit.N, int64(g.Limit.Window/time.Second)
		f.N, f.Window, f.Mode, f.Source = &n, &window, g.Limit.Mode, g.Source
		if f.Mode == "" {
			f.Mode = limit.End
		}
	}
	if g.Override != nil && !g.Override.Empty() || g.MaxWaiting > 0 {
		o := &overrideJSON{}
		if g.Override != nil {
			o.N, o.Mode = g.Override.N, g.Override.Mode
			if g.Override.Window != nil {
				s := int64(*g.Override.Window / time.Second)
				o.Window = &s
			}
		}
		if g.MaxWaiting > 0 {
			o.MaxWaiting = &g.MaxWaiting
		}
		f.Override = o
	}
	if g.Pause.At(now) {
		f.Paused, f.PausedBy, f.PausedWhy, f.PausedUntil = true, g.Pause.By, g.Pause.Why, instant(g.Pause.Until)
	}
	return f
}

// addGroups registers concurrency groups: Windmill's calls, and ours.
func (a *API) addGroups() {
	addJSON(a, "GET /api/concurrency_groups/list", "listConcurrencyGroups", "Groups with a job that runs or waits, an override or a pause", a.listGroups)
	addJSON(a, "GET /api/concurrency_groups/{id}/key", "getConcurrencyKey", "The concurrency key of a job; null if it has none",
		func(ctx context.Context, in *jobKeyIn) (*string, error) {
			id, err := canonicalID("id", in.ID)
			if err != nil {
				return nil, err
			}
			j, err := a.row(ctx, "", id)
			if err != nil {
				return nil, err
			}
			sees, err := a.seesJob(ctx, j)
			switch {
			case err != nil:
				return nil, err
			case !sees:
				return nil, notFound("there is no job %s", id)
			case !j.HasKey:
				return nil, nil
			}
			return &j.Key, nil
		})
	addJSON(a, "GET /api/w/{workspace}/concurrency_groups/list_jobs", "listExtendedJobs", "Jobs of a group; those that the caller may not read are obscured", a.listGroupJobs, inAdmins, keyParam)
	addJSON(a, "DELETE /api/concurrency_groups/prune/{key...}", "deleteConcurrencyGroup", "Let a group's history count no longer; refused while a job of it runs",
		func(ctx context.Context, in *whyIn) (struct{}, error) {
			return struct{}{}, a.e.Prune(ctx, in.key, callerOf(ctx).Username, in.Why)
		}, keyPath)

	addJSON(a, "GET /api/concurrency_groups/groups", "listGroups", "Ours: groups in the order of their keys", a.groups, afterParam)
	addJSON(a, "GET /api/concurrency_groups/get/{key...}", "getGroup", "Ours: a group",
		func(ctx context.Context, in *KeyRef) (groupJSON, error) {
			return a.shown(ctx, func() (*engine.GroupInfo, error) { return a.e.Group(ctx, in.key) })
		}, keyPath)
	addJSON(a, "GET /api/concurrency_groups/executions/{key...}", "listGroupExecutions", "Ours: who holds the slots of a group, and who held them lately", a.groupExecutions, keyPath)
	addJSON(a, "PUT /api/concurrency_groups/override/{key...}", "setOverride", "Ours: replace fields of the limit for every job of a group", a.setOverride, keyPath)
	addJSON(a, "DELETE /api/concurrency_groups/override/{key...}", "clearOverride", "Ours: remove an override",
		func(ctx context.Context, in *whyIn) (groupJSON, error) {
			return a.shown(ctx, func() (*engine.GroupInfo, error) {
				return a.e.ClearOverride(ctx, in.key, callerOf(ctx).Username, in.Why)
			})
		}, keyPath)
	addJSON(a, "POST /api/concurrency_groups/pause/{key...}", "pauseGroup", "Ours: let nothing of a group start", a.pause, keyPath)
	addJSON(a, "POST /api/concurrency_groups/resume/{key...}", "resumeGroup", "Ours: lift a pause", a.resume, keyPath)
	addJSON(a, "POST /api/concurrency_groups/cancel/{key...}", "cancelGroup", "Ours: cancel the jobs of a group", a.cancelGroup, keyPath)
	addJSON(a, "POST /api/concurrency_groups/plan", "planLimit", "Ours: what a limit would give, without running anything", a.plan)
}

type jobKeyIn struct {
	ID string `path:"id" doc:"Id of the job, a UUID"`
}

// shown makes the answer of a call that shows a group.
func (a *API) shown(ctx context.Context, do func() (*engine.GroupInfo, error)) (groupJSON, error) {
	g, err := do()
	if err != nil {
		return groupJSON{}, err
	}
	now, err := a.e.Now(ctx)
	return groupForm(g, now), err
}

type runningJSON struct {
	Key          string `json:"concurrency_key"`
	TotalRunning int64  `json:"total_running"`
}

func (a *API) listGroups(ctx context.Context, _ *none) ([]runningJSON, error) {
	out := []runningJSON{}
	f := store.GroupFilter{Active: true, Limit: groupPiece}
	for {
		list, err := a.e.Groups(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, g := range list {
			out = append(out, runningJSON{Key: g.Key, TotalRunning: g.Running})
		}
		if len(list) < groupPiece {
			return out, nil
		}
		f.AfterKey = &list[len(list)-1].Key
	}
}

type groupsIn struct {
	AfterKey
	Contains string `query:"contains" doc:"Keys that hold this text"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Active   bool   `query:"active" doc:"Only groups with a job that runs or waits, an override or a pause"`
	Order    string `query:"order_by" enum:"key,waiting,running" default:"key" doc:"By waiting or running: those with the most first; only the first of them are listed, next is null"`
	UsageS   int64  `query:"usage_s" minimum:"60" maximum:"86400" doc:"Tell how much of each limit was used in so many seconds until now"`
	Parts    int    `query:"usage_parts" minimum:"1" maximum:"60" default:"30" doc:"In so many equal parts"`
}

// AfterKey is the query parameter that continues a list of keys.
type AfterKey struct{ key *string }

// Resolve reads the key.
func (in *AfterKey) Resolve(ctx huma.Context) []error {
	if key, ok := rawQuery(ctx.URL(), "after"); ok {
		in.key = &key
	}
	return nil
}

func afterParam(op *huma.Operation) {
	op.Parameters = append(op.Parameters, &huma.Param{
		Name: "after", In: "query", Schema: &huma.Schema{Type: huma.TypeString},
		Description: "Keys after this one, which may be empty; from the first if left out",
	})
}

type groupsJSON struct {
	Groups []groupJSON `json:"groups"`
	Next   *string     `json:"next" nullable:"true" doc:"Ask for the rest with after=next; null at the end"`
}

func (a *API) groups(ctx context.Context, in *groupsIn) (groupsJSON, error) {
	f := store.GroupFilter{KeyContains: in.Contains, AfterKey: in.key, Active: in.Active, Limit: in.Limit}
	switch in.Order {
	case "waiting":
		f.Order = store.ByWaiting
	case "running":
		f.Order = store.ByHeld
	}
	if f.Order != store.ByKey && in.key != nil {
		return groupsJSON{}, sluice.Invalid("after", "continues a list in the order of keys alone")
	}
	var list []*engine.GroupInfo
	var err error
	if in.UsageS > 0 {
		list, err = a.e.GroupsUsed(ctx, f, engine.Usage{Span: seconds(in.UsageS), Parts: in.Parts})
	} else {
		list, err = a.e.Groups(ctx, f)
	}
	if err != nil {
		return groupsJSON{}, err
	}
	now, err := a.e.Now(ctx)
	out := groupsJSON{Groups: make([]groupJSON, 0, len(list))}
	for _, g := range list {
		out.Groups = append(out.Groups, groupForm(g, now))
	}
	if len(list) == in.Limit && f.Order == store.ByKey {
		out.Next = &list[len(list)-1].Key
	}
	return out, err
}

type whyIn struct {
	KeyRef
	Why string `query:"why" maxLength:"1000"`
}

type overrideIn struct {
	KeyRef
	Body struct {
		N          rawInt    `json:"concurrent_limit,omitempty" minimum:"1" maximum:"1000000"`
		Window     rawInt    `json:"concurrency_time_window_s,omitempty" minimum:"0" maximum:"2678400"`
		Mode       rawString `json:"concurrency_window_from,omitempty" enum:"end,start"`
		MaxWaiting *int64    `json:"max_waiting,omitempty" nullable:"true" minimum:"1" maximum:"100000000" doc:"Jobs that may wait in the group"`
		Why        string    `json:"why,omitempty" maxLength:"1000"`
	} `required:"true"`
}

func (a *API) setOverride(ctx context.Context, in *overrideIn) (groupJSON, error) {
	b := &in.Body
	fields := limit.Fields{N: b.N.raw, Window: b.Window.raw, Mode: b.Mode.raw}
	o, err := fields.ValidateOverride()
	if err != nil {
		return groupJSON{}, err
	}
	if o.Empty() && b.MaxWaiting == nil {
		return groupJSON{}, sluice.Invalid(limit.FieldN, "give it, %s, %s or max_waiting: an override replaces something", limit.FieldWindow, limit.FieldMode)
	}
	return a.shown(ctx, func() (*engine.GroupInfo, error) {
		return a.e.SetOverride(ctx, in.key, engine.OverrideChange{Fields: fields, MaxWaiting: b.MaxWaiting, By: callerOf(ctx).Username, Why: b.Why})
	})
}

type pauseIn struct {
	KeyRef
	Body *struct {
		Until *time.Time `json:"until,omitempty" doc:"Until resumed if left out"`
		ForS  *int64     `json:"for_s,omitempty" minimum:"1" maximum:"315360000" doc:"Instead of until: seconds from now"`
		Why   string     `json:"why,omitempty" maxLength:"1000"`
	}
}

func (a *API) pause(ctx context.Context, in *pauseIn) (groupJSON, error) {
	p := engine.PauseChange{By: callerOf(ctx).Username}
	if b := in.Body; b != nil {
		if b.Until != nil && b.ForS != nil {
			return groupJSON{}, sluice.Invalid("for_s", "give it or until, not both")
		}
		now, err := a.e.Now(ctx)
		if err != nil {
			return groupJSON{}, err
		}
		p.Why = b.Why
		switch {
		case b.ForS != nil:
			p.Until = now.Add(seconds(*b.ForS))
		case b.Until != nil && !b.Until.After(now):
			return groupJSON{}, sluice.Invalid("until", "must lie in the future")
		case b.Until != nil:
			p.Until = b.Until.UTC()
		}
	}
	return a.shown(ctx, func() (*engine.GroupInfo, error) { return a.e.Pause(ctx, in.key, p) })
}

type resumeIn struct {
	KeyRef
	Body *struct {
		Why string `json:"why,omitempty" maxLength:"1000"`
	}
}

func (a *API) resume(ctx context.Context, in *resumeIn) (groupJSON, error) {
	why := ""
	if in.Body != nil {
		why = in.Body.Why
	}
	return a.shown(ctx, func() (*engine.GroupInfo, error) { return a.e.Resume(ctx, in.key, callerOf(ctx).Username, why) })
}

type cancelGroupIn struct {
	KeyRef
	Body *struct {
		Reason  string `json:"reason,omitempty" maxLength:"1000"`
		Running bool   `json:"running,omitempty" doc:"Those that run, too"`
		Force   bool   `json:"force,omitempty" doc:"End them for their callers at once"`
	}
}

type canceledJSON struct {
	Canceled int `json:"canceled"`
}

func (a *API) cancelGroup(ctx context.Context, in *cancelGroupIn) (canceledJSON, error) {
	reason, running, force := "", false, false
	if b := in.Body; b != nil {
		reason, running, force = b.Reason, b.Running, b.Force
	}
	n, err := a.e.CancelKey(ctx, in.key, callerOf(ctx).Username, reason, running, force)
	return canceledJSON{Canceled: n}, err
}
