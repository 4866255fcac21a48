package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"sluice"
	"sluice/examples"
	"sluice/internal/engine"
)

// seed saves the examples that are not there yet and returns how many. A
// script or flow that exists, in whatever version, stays as it is.
func seed(ctx context.Context, e *engine.Engine) (int, error) {
	found, err := findFiles(examples.Files)
	if err != nil {
		return 0, err
	}
	saved := 0
	for _, name := range found.scripts {
		where, _ := splitScript(name)
		_, err := e.Script(ctx, mainWorkspace, where)
		if err == nil {
			continue
		}
		if sluice.CodeOf(err) != sluice.CodeNotFound {
			return saved, fmt.Errorf("look for the example %s: %w", name, err)
		}
		body, err := readScript(examples.Files, name)
		if err != nil {
			return saved, err
		}
		data, err := json.Marshal(body)
		if err != nil {
			return saved, fmt.Errorf("make JSON of the example %s: %w", name, err)
		}
		if _, err := e.SaveScript(ctx, mainWorkspace, engine.NewScript{Body: data, CreatedBy: "admin"}); err != nil {
			return saved, fmt.Errorf("save the example %s: %w", name, err)
		}
		saved++
	}
	for _, dir := range found.flows {
		isNew, err := seedFlow(ctx, e, dir)
		if err != nil {
			return saved, fmt.Errorf("save the example %s: %w", dir, err)
		}
		if isNew {
			saved++
		}
	}
	for _, name := range found.schedules {
		isNew, err := seedSchedule(ctx, e, name)
		if err != nil {
			return saved, fmt.Errorf("save the example %s: %w", name, err)
		}
		if isNew {
			saved++
		}
	}
	if saved == 0 {
		return 0, nil
	}
	return saved, openDemo(ctx, e)
}

// seeder is in whose name examples are saved.
var seeder = engine.Who{Editor: engine.Editor{Username: "admin"}, Admin: true}

// openDemo makes the folder of the examples, which is everybody's, unless there
// is one.
func openDemo(ctx context.Context, e *engine.Engine) error {
	err := e.CreateFolder(ctx, mainWorkspace, json.RawMessage(`{"name":"demo","summary":"Examples","owners":[],"extra_perms":{"g/all":true}}`), seeder)
	if err != nil && sluice.CodeOf(err) != sluice.CodeConflict {
		return fmt.Errorf("make the folder of the examples: %w", err)
	}
	return nil
}

// seedSchedule saves an example schedule unless there is one at its path.
func seedSchedule(ctx context.Context, e *engine.Engine, name string) (bool, error) {
	where := strings.TrimSuffix(name, scheduleExt)
	_, err := e.Schedule(ctx, mainWorkspace, where, seeder)
	if err == nil || sluice.CodeOf(err) != sluice.CodeNotFound {
		return false, err
	}
	body, err := readSchedule(examples.Files, name, where)
	if err != nil {
		return false, err
	}
	data, err := json.Marshal(body)
	if err != nil {
		return false, err
	}
	err = e.CreateSchedule(ctx, mainWorkspace, data, seeder)
	if sluice.CodeOf(err) == sluice.CodeConflict { // another server was first
		return false, nil
	}
	return err == nil, err
}

// seedFlow saves an example flow unless there is one at its path.
func seedFlow(ctx context.Context, e *engine.Engine, dir string) (bool, error) {
	where := splitFlow(dir)
	_, err := e.Flow(ctx, mainWorkspace, where)
	if err == nil || sluice.CodeOf(err) != sluice.CodeNotFound {
		return false, err
	}
	body, err := readFlow(examples.Files, dir, where)
	if err != nil {
		return false, err
	}
	data, err := json.Marshal(body)
	if err != nil {
		return false, err
	}
	_, err = e.SaveFlow(ctx, mainWorkspace, engine.NewFlow{Body: data, EditedBy: "admin"})
	if sluice.CodeOf(err) == sluice.CodeConflict { // another server was first
		return false, nil
	}
	return err == nil, err
}
