package httpapi

import (
	"context"
	"time"

	"sluice"
	"sluice/internal/engine"
)

// usualHistory is how far back executions are shown if nobody says.
const usualHistory = time.Hour

type executionsIn struct {
	KeyRef
	After time.Time `query:"released_after" doc:"Executions that hold a slot, and those released after this instant; an hour ago if left out"`
	Limit int       `query:"limit" minimum:"1" maximum:"2000" default:"1000" doc:"Of those that were released, the newest; of those that hold a slot, the oldest"`
}

type executionJSON struct {
	ID          int64      `json:"id"`
	JobID       string     `json:"job_id"`
	Attempt     int        `json:"attempt"`
	Workspace   string     `json:"workspace_id,omitempty" doc:"Of the job, as is what follows; absent if the job was deleted"`
	Path        string     `json:"script_path,omitempty"`
	Kind        string     `json:"job_kind,omitempty"`
	Status      string     `json:"status,omitempty" enum:"success,failure,canceled" doc:"How the job ended"`
	DueAt       *time.Time `json:"scheduled_for,omitempty"`
	StartedAt   time.Time  `json:"started_at" doc:"Slot taken"`
	ConfirmedAt *time.Time `json:"confirmed_at,omitempty" doc:"Process launched"`
	ReleasedAt  *time.Time `json:"released_at,omitempty" doc:"Slot free; absent while it is held, even if the job has ended by force"`
	Lost        bool       `json:"lost,omitempty" doc:"The worker was lost"`
}

type executionsJSON struct {
	Executions []executionJSON `json:"executions" doc:"In the order in which they were taken"`
	Cut        bool            `json:"cut" doc:"There are more than were asked for"`
}

// groupExecutions shows who held the slots of a group.
func (a *API) groupExecutions(ctx context.Context, in *executionsIn) (executionsJSON, error) {
	after := in.After
	if after.IsZero() {
		now, err := a.e.Now(ctx)
		if err != nil {
			return executionsJSON{}, err
		}
		after = now.Add(-usualHistory)
	}
	list, cut, err := a.e.GroupExecutions(ctx, in.key, after, in.Limit)
	out := executionsJSON{Executions: make([]executionJSON, len(list)), Cut: cut}
	for i, x := range list {
		out.Executions[i] = executionForm(x)
	}
	return out, err
}

func executionForm(x engine.GroupExecution) executionJSON {
	f := executionJSON{
		ID: x.ID, JobID: x.JobID, Attempt: x.Attempt, StartedAt: x.StartedAt.UTC(),
		ConfirmedAt: instant(x.ConfirmedAt), ReleasedAt: instant(x.ReleasedAt), Lost: x.End == sluice.EndLost,
	}
	if j := x.Job; j != nil {
		f.Workspace, f.Path, f.Kind, f.Status, f.DueAt = j.Workspace, j.Path, string(j.Kind), string(j.Outcome), instant(j.ScheduledFor)
	}
	return f
}
