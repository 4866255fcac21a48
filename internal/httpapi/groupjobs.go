package httpapi

import (
	"context"

	"sluice"
)

const mostRows = 10_000

type extendedIn struct {
	WorkspaceRef
	JobQuery
	KeyFilter
	RowLimit int `query:"row_limit" minimum:"1" maximum:"10000" default:"1000" doc:"Jobs at most"`
}

type extendedJSON struct {
	Jobs     []jobJSON      `json:"jobs"`
	Obscured []obscuredJSON `json:"obscured_jobs"`
	Omitted  bool           `json:"omitted_obscured_jobs,omitempty" doc:"Obscured jobs were left out, because a filter is set"`
}

// listGroupJobs lists the jobs of a group, whose key is global: those of other
// workspaces are shown as the caller may see them, but count.
func (a *API) listGroupJobs(ctx context.Context, in *extendedIn) (extendedJSON, error) {
	out := extendedJSON{Jobs: []jobJSON{}, Obscured: []obscuredJSON{}}
	f, none, err := in.selected(in.Workspace)
	if err != nil {
		return out, err
	}
	c, home := callerOf(ctx), in.Workspace
	f.Key = in.key
	if f.Key != nil {
		f.Workspace = ""
	}
	usual := in.RowLimit
	f.Offset, f.Limit = in.window(usual, min(in.RowLimit, mostRows))
	out.Omitted = in.Key() && in.filtered() && !c.SuperAdmin
	if out.Omitted {
		f.Workspace = home // nothing can be inferred from filtering what is hidden
	}
	if none {
		return out, nil
	}
	jobs, err := a.e.Search(ctx, f)
	for _, j := range jobs {
		out.add(j, c)
	}
	return out, err
}

func (e *extendedJSON) add(j *sluice.Job, c caller) {
	if c.sees(j.Workspace) {
		e.Jobs = append(e.Jobs, jobForm(j))
		return
	}
	e.Obscured = append(e.Obscured, obscure(j))
}

// Key reports whether a group is asked for.
func (in *KeyFilter) Key() bool { return in.key != nil }
