package httpapi

import (
	"context"
	"time"

	"sluice/internal/store"
)

type workerJSON struct {
	Worker        string    `json:"worker"`
	Instance      string    `json:"worker_instance"`
	Group         string    `json:"worker_group"`
	Tags          []string  `json:"custom_tags"`
	JobsExecuted  int64     `json:"jobs_executed"`
	LastPing      int64     `json:"last_ping" doc:"Seconds ago"`
	StartedAt     time.Time `json:"started_at"`
	IP            string    `json:"ip"`
	Version       string    `json:"wm_version"`
	OccupancyRate float64   `json:"occupancy_rate" doc:"Share of its places that are taken"`
	Places        int       `json:"places,omitempty" doc:"Ours: jobs that it runs at once"`
	Running       int       `json:"running,omitempty" doc:"Ours: jobs that it holds"`
	Languages     []string  `json:"languages,omitempty" doc:"Ours: runtimes found on it"`
	Missing       []string  `json:"missing_languages,omitempty" doc:"Ours: languages of its tags without a runtime"`
	Isolation     string    `json:"isolation,omitempty" doc:"Ours: how its jobs are walled off"`
}

type workerGroupJSON struct {
	Name   string         `json:"name"`
	Config map[string]any `json:"config"`
}

// addWorkers registers workers.
func (a *API) addWorkers() {
	addJSON(a, "GET /api/configs/list_worker_groups", "listWorkerGroups", "Worker groups",
		func(context.Context, *none) ([]workerGroupJSON, error) {
			return []workerGroupJSON{{Name: "default", Config: map[string]any{}}}, nil
		})
	addJSON(a, "GET /api/workers/list", "listWorkers", "Workers that were heard of", a.workers)
}

type workersIn struct {
	PingSince int `query:"ping_since" minimum:"0" maximum:"31536000" default:"300" doc:"Seconds"`
	Page      int `query:"page" minimum:"0" default:"1"`
	PerPage   int `query:"per_page" minimum:"0" maximum:"100000" default:"1000"`
}

func (a *API) workers(ctx context.Context, in *workersIn) ([]workerJSON, error) {
	now, err := a.e.Now(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := a.e.Workers(ctx, time.Duration(in.PingSince)*time.Second)
	if err != nil {
		return nil, err
	}
	out := []workerJSON{}
	for _, row := range rows {
		if !row.Gone {
			out = append(out, workerForm(row, now))
		}
	}
	from := min((max(in.Page, 1)-1)*in.PerPage, len(out))
	return out[from:min(from+in.PerPage, len(out))], nil
}

func workerForm(row *store.WorkerRow, now time.Time) workerJSON {
	w := workerJSON{
		Worker: row.Worker, Instance: row.Instance, Group: row.Group, Tags: row.Tags, JobsExecuted: row.JobsRun,
		LastPing: int64(max(now.Sub(row.LastPing), 0) / time.Second), StartedAt: row.StartedAt.UTC(),
		IP: row.Address, Version: row.Version, Places: row.Places, Running: row.Running,
		Languages: row.Languages, Missing: row.Missing, Isolation: row.Isolation,
	}
	setDefault(&w.Group, "default")
	if w.Tags == nil {
		w.Tags = []string{}
	}
	if row.Places > 0 {
		w.OccupancyRate = float64(row.Running) / float64(row.Places)
	}
	return w
}

// queueCountJSON counts jobs.
type queueCountJSON struct {
	DatabaseLength int64  `json:"database_length"`
	Suspended      *int64 `json:"suspended,omitempty"`
}

type tagCountJSON struct {
	Tag   string `json:"tag"`
	Count int64  `json:"count"`
}
