package main

import (
	"context"
	"encoding/json"
	"fmt"

	"sluice"
	"sluice/examples"
	"sluice/internal/engine"
)

// seed saves the examples that are not there yet and returns how many. A
// script that exists, in whatever version, stays as it is.
func seed(ctx context.Context, e *engine.Engine) (int, error) {
	found, _, err := findScripts(examples.Files)
	if err != nil {
		return 0, err
	}
	saved := 0
	for _, name := range found {
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
	return saved, nil
}
