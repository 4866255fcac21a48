package httpapi

import "context"

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

// listGroupJobs lists the jobs of a group, whose key is global: those that
// the caller may not see, as all of most other workspaces, are obscured, but count.
func (a *API) listGroupJobs(ctx context.Context, in *extendedIn) (extendedJSON, error) {
	out := extendedJSON{Jobs: []jobJSON{}, Obscured: []obscuredJSON{}}
	f, none, err := a.selected(ctx, &in.JobQuery, in.Workspace)
	if err != nil {
		return out, err
	}
	c, home := callerOf(ctx), in.Workspace
	f.Key = in.key
	sight := f.Sight
	if f.Key != nil {
		f.Workspace, f.Sight = "", nil
	}
	usual := in.RowLimit
	f.Offset, f.Limit = in.window(usual, min(in.RowLimit, mostRows))
	out.Omitted = in.Key() && in.filtered() && !c.SuperAdmin
	if out.Omitted {
		f.Workspace, f.Sight = home, sight // nothing can be inferred from filtering what is hidden
	}
	if none {
		return out, nil
	}
	jobs, err := a.e.Search(ctx, f)
	for _, j := range jobs {
		sees, err := a.seesJob(ctx, j)
		switch {
		case err != nil:
			return out, err
		case sees:
			out.Jobs = append(out.Jobs, jobForm(j))
		default:
			out.Obscured = append(out.Obscured, obscure(j))
		}
	}
	return out, err
}

// Key reports whether a group is asked for.
func (in *KeyFilter) Key() bool { return in.key != nil }
