package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/client"
)

// scheduleExt ends the name of the file of a schedule, as in Windmill.
const scheduleExt = ".schedule.yaml"

type schedulesCmd struct {
	Push    schedulesPushCmd    `cmd:"" help:"Save the schedule of one file."`
	List    schedulesListCmd    `cmd:"" help:"List the schedules of the workspace."`
	Get     schedulesGetCmd     `cmd:"" help:"Show a schedule."`
	Enable  schedulesEnableCmd  `cmd:"" help:"Enable a schedule."`
	Disable schedulesDisableCmd `cmd:"" help:"Disable a schedule: its next run is removed."`
	Delete  schedulesDeleteCmd  `cmd:"" help:"Delete a schedule. Runs that have fallen due go on."`
	Preview schedulesPreviewCmd `cmd:"" help:"Show when a cron pattern falls due."`
}

// scheduleArg is the schedule that a command is about.
type scheduleArg struct {
	Path string `arg:"" help:"Path of the schedule, such as f/demo/each_hour."`
}

func (s scheduleArg) path() string { return strings.TrimSuffix(s.Path, scheduleExt) }

type schedulesPushCmd struct {
	File string `arg:"" type:"existingfile" help:"File of the schedule, such as f/demo/each_hour.schedule.yaml."`
	Path string `arg:"" optional:"" help:"Path of the schedule; that of the file if not given."`
	remote
	output
}

// Run saves one schedule.
func (p *schedulesPushCmd) Run(ctx context.Context, a *app) error {
	dir, name := filepath.Split(p.File)
	where, ok := strings.CutSuffix(filepath.ToSlash(filepath.Clean(p.File)), scheduleExt)
	if where = cmp.Or(p.Path, where); p.Path == "" && !ok {
		return usage(sluice.Invalid("PATH", "is needed: the name of the file does not end in %s", scheduleExt))
	}
	body, err := readSchedule(os.DirFS(cmp.Or(dir, ".")), name, where)
	if err != nil {
		return err
	}
	c, err := p.connect(a)
	if err != nil {
		return err
	}
	one := pushed{Path: where, Schedule: true}
	if one.What, err = saveSchedule(ctx, c, body); err != nil {
		return err
	}
	if p.JSON {
		return writeJSON(a.out, one)
	}
	a.showPushed([]pushed{one}, nil)
	return nil
}

// readSchedule makes the object that saves a schedule out of its file.
func readSchedule(root fs.FS, name, where string) (map[string]any, error) {
	text, err := readFile(root, name)
	if err != nil {
		return nil, err
	}
	body, err := decodeYAML(text)
	if err != nil {
		return nil, sluice.Invalid(name, "%v", err)
	}
	body["path"] = where
	return body, nil
}

// saveSchedule saves a schedule unless the server has it as it is, and says
// which.
func saveSchedule(ctx context.Context, c *client.Client, body map[string]any) (what string, err error) {
	where, _ := body["path"].(string)
	data, err := json.Marshal(body)
	if err != nil {
		return "", fmt.Errorf("make JSON of the schedule: %w", err)
	}
	shown, err := c.ScheduleFields(ctx, where)
	switch {
	case sluice.CodeOf(err) == sluice.CodeNotFound:
		return "new", c.CreateSchedule(ctx, data)
	case err != nil:
		return "", err
	}
	same, err := sameFlow(shown, body)
	if err != nil || same {
		return "unchanged", err
	}
	return "updated", c.UpdateSchedule(ctx, where, data)
}

// pushSchedule saves the schedule in a file, unless the server has it as it is.
func (p *pushCmd) pushSchedule(ctx context.Context, c *client.Client, root fs.FS, name string) (pushed, error) {
	one := pushed{Path: strings.TrimSuffix(name, scheduleExt), Schedule: true}
	body, err := readSchedule(root, name, one.Path)
	if err == nil {
		one.What, err = saveSchedule(ctx, c, body)
	}
	if err != nil {
		one.What, one.Error = "failed", err.Error()
	}
	return one, err
}

type schedulesListCmd struct {
	remote
	output
}

// Run lists schedules.
func (l *schedulesListCmd) Run(ctx context.Context, a *app) error {
	c, err := l.connect(a)
	if err != nil {
		return err
	}
	list, err := everyPage(func(page, perPage int) ([]client.Schedule, error) { return c.Schedules(ctx, page, perPage) })
	if err != nil {
		return err
	}
	if l.JSON {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No schedules here. Save some with: sluice push DIR")
		return nil
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	const leastPath, least = 16, 10
	t := table{columns: []column{{head: "PATH", least: leastPath}, {head: "SCHEDULE"}, {head: "ZONE", least: least}, {head: "RUNS", least: leastPath}, {head: "NEXT RUN"}}}
	for _, s := range list {
		t.add(s.Path, s.Schedule, s.Timezone, s.ScriptPath, a.nextRun(&s, now))
	}
	t.write(a.out, a.width)
	return nil
}

// nextRun says when a schedule falls due, or that it does not.
func (a *app) nextRun(s *client.Schedule, now time.Time) string {
	switch {
	case !s.Enabled && s.Error != "":
		return "disabled by itself"
	case !s.Enabled:
		return "disabled"
	case s.NextRun == nil:
		return "none"
	}
	return a.at(*s.NextRun, now)
}

type schedulesGetCmd struct {
	scheduleArg
	remote
	output
}

// Run shows a schedule.
func (g *schedulesGetCmd) Run(ctx context.Context, a *app) error {
	c, err := g.connect(a)
	if err != nil {
		return err
	}
	if g.JSON {
		fields, err := c.ScheduleFields(ctx, g.path())
		if err != nil {
			return err
		}
		return writeJSON(a.out, fields)
	}
	s, err := c.Schedule(ctx, g.path())
	if err != nil {
		return err
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	runs, next, overlap := "script "+s.ScriptPath, a.nextRun(s, now), ""
	if s.IsFlow {
		runs = "flow " + s.ScriptPath
	}
	if s.Enabled && s.NextRun != nil {
		next = a.when(*s.NextRun, now)
	}
	if s.NoOverlap {
		overlap = "a run is skipped if an earlier one has not ended"
	}
	writeFacts(a.out, a.width, "", []fact{
		{"schedule", s.Path},
		{"summary", s.Summary},
		{"runs", runs},
		{"at", s.Schedule + " in " + cmp.Or(s.Timezone, "UTC")},
		{"next run", next},
		{"overlap", overlap},
		{"on failure", s.OnFailure},
		{"on recovery", s.OnRecovery},
		{"on success", s.OnSuccess},
		{"saved", a.when(s.EditedAt, now) + byAndWhy(s.EditedBy, "")},
		{"error", s.Error},
	})
	return nil
}

type schedulesEnableCmd struct {
	scheduleArg
	remote
	output
}

// Run enables a schedule.
func (x *schedulesEnableCmd) Run(ctx context.Context, a *app) error {
	c, err := x.connect(a)
	if err != nil {
		return err
	}
	if err := c.EnableSchedule(ctx, x.path(), true); err != nil {
		return err
	}
	return a.done(x.JSON, "Enabled "+x.path()+".", map[string]any{"path": x.path(), "enabled": true})
}

type schedulesDisableCmd struct {
	scheduleArg
	remote
	output
}

// Run disables a schedule.
func (x *schedulesDisableCmd) Run(ctx context.Context, a *app) error {
	c, err := x.connect(a)
	if err != nil {
		return err
	}
	if err := c.EnableSchedule(ctx, x.path(), false); err != nil {
		return err
	}
	return a.done(x.JSON, "Disabled "+x.path()+".", map[string]any{"path": x.path(), "enabled": false})
}

type schedulesDeleteCmd struct {
	scheduleArg
	remote
	output
}

// Run deletes a schedule.
func (x *schedulesDeleteCmd) Run(ctx context.Context, a *app) error {
	c, err := x.connect(a)
	if err != nil {
		return err
	}
	if err := c.DeleteSchedule(ctx, x.path()); err != nil {
		return err
	}
	return a.done(x.JSON, "Deleted "+x.path()+".", map[string]string{"path": x.path()})
}

type schedulesPreviewCmd struct {
	Pattern  string `arg:"" help:"Cron pattern, such as '0 */15 * * * *': second, minute, hour, day of the month, month, day of the week, and perhaps year."`
	Timezone string `short:"z" help:"Time zone, such as Europe/Berlin." default:"UTC"`
	remote
	output
}

// Run shows the next instants of a pattern.
func (x *schedulesPreviewCmd) Run(ctx context.Context, a *app) error {
	c, err := x.connect(a)
	if err != nil {
		return err
	}
	list, err := c.PreviewSchedule(ctx, x.Pattern, x.Timezone)
	if err != nil {
		return err
	}
	if x.JSON {
		return writeJSON(a.out, list)
	}
	zone, err := time.LoadLocation(x.Timezone)
	if err != nil { // the server knows more zones than this machine
		zone = time.UTC
	}
	for _, t := range list {
		fmt.Fprintln(a.out, t.In(zone).Format("Mon 2006-01-02 15:04:05 -07:00"))
	}
	return nil
}

// scheduleFiles adds the files of the workspace's schedules.
func scheduleFiles(ctx context.Context, c *client.Client, out map[string][]byte) (int64, error) {
	list, err := everyPage(func(page, perPage int) ([]client.Schedule, error) { return c.Schedules(ctx, page, perPage) })
	if err != nil {
		return 0, err
	}
	added := []string{"path", "workspace_id", "edited_by", "edited_at", "email", "permissioned_as", "extra_perms", "error", "next_run"}
	for _, s := range list {
		fields, err := c.ScheduleFields(ctx, s.Path)
		if err != nil {
			return 0, err
		}
		for name, v := range fields {
			if slices.Contains(added, name) || string(v) == "null" {
				delete(fields, name)
			}
		}
		doc, err := yamlFields(fields, "summary", "schedule", "timezone", "script_path", "is_flow", "enabled", "args")
		if err != nil {
			return 0, sluice.Invalid(s.Path, "has settings that cannot be written: %v", err)
		}
		if out[s.Path+scheduleExt], err = encodeYAML(doc); err != nil {
			return 0, err
		}
	}
	return int64(len(list)), nil
}
