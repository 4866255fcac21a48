package main

import (
	"fmt"
	"maps"
	"slices"

	"sluice/internal/engine"
)

// notesOn says which settings of a script will not do what their author expects:
// a slip of the pen would leave a script without its limit, in silence, since
// settings that nobody knows are kept for whoever does. Of those, only what is
// nearly one that counts is told.
func notesOn(settings map[string]any) []string {
	return append(notesOnFields(settings, engine.ScriptFields), notesOnLimit(settings, "script")...)
}

// limitNames are the fields of a limit.
var limitNames = map[string]engine.FieldUse{
	"concurrent_limit": engine.FieldHonoured, "concurrency_time_window_s": engine.FieldHonoured, "concurrency_key": engine.FieldHonoured,
	"concurrency_window_from": engine.FieldHonoured, "on_concurrency_limit": engine.FieldHonoured, "custom_concurrency_key": engine.FieldHonoured,
}

// notesOnFlow does the same for a flow: its own settings, its limit, and those
// of its inline steps.
func notesOnFlow(body map[string]any) []string {
	notes := notesOnFields(body, engine.FlowFields)
	value, _ := body["value"].(map[string]any)
	notes = append(notes, notesOnLimit(value, "flow")...)
	for name := range limitNames {
		if body[name] != nil {
			notes = append(notes, name+" has no effect beside the value of a flow; write it into the value")
		}
	}
	return append(notes, notesOnSteps(value, 0)...)
}

// notesOnSteps looks for inline scripts within a flow.
func notesOnSteps(v any, depth int) []string {
	var notes []string
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			notes = append(notes, notesOnSteps(item, depth+1)...)
		}
	case map[string]any:
		if depth > maxFlowNested {
			return nil
		}
		id, _ := v["id"].(string)
		inner, _ := v["value"].(map[string]any)
		if id != "" && inner["type"] == "rawscript" {
			for _, note := range notesOnLimit(inner, "step") {
				notes = append(notes, "step "+id+": "+note)
			}
			for _, name := range slices.Sorted(maps.Keys(inner)) {
				if near := nearestField(name, limitNames); near != "" && near != name {
					notes = append(notes, fmt.Sprintf("step %s: %s is no setting and has no effect; is %s meant?", id, name, near))
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			notes = append(notes, notesOnSteps(v[name], depth+1)...)
		}
	}
	return notes
}

func notesOnFields(settings map[string]any, fields map[string]engine.FieldUse) []string {
	var notes []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		use, known := fields[name]
		if near := nearestField(name, fields); !known && near != "" {
			notes = append(notes, fmt.Sprintf("%s is no setting and has no effect; is %s meant?", name, near))
		}
		if use == engine.FieldInert && settings[name] != nil && settings[name] != false {
			notes = append(notes, name+" has no effect here")
		}
	}
	return notes
}

// notesOnLimit says which fields of a limit there is none for. of is what it
// would limit.
func notesOnLimit(settings map[string]any, of string) []string {
	if settings["concurrent_limit"] != nil {
		return nil
	}
	var notes []string
	for _, name := range []string{"concurrency_key", "custom_concurrency_key", "concurrency_time_window_s", "concurrency_window_from", "on_concurrency_limit"} {
		if settings[name] != nil && settings[name] != "" {
			notes = append(notes, name+" has no effect without concurrent_limit: the "+of+" has no limit")
		}
	}
	return notes
}

// nearestField returns the setting that a name is at most two letters away
// from; "" if none is.
func nearestField(name string, fields map[string]engine.FieldUse) string {
	const shortest, most = 5, 2
	if len(name) < shortest {
		return ""
	}
	best, found := most+1, ""
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if n := distance(name, field); n < best && len(field) >= shortest {
			best, found = n, field
		}
	}
	return found
}

// distance counts the letters to be put in, taken out or exchanged to make b of
// a. It is bounded by the length of a setting's name, not by that of a.
func distance(a, b string) int {
	if len(a) > 2*len(b) {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
