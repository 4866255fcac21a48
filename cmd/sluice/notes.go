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
	var notes []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		use, known := engine.ScriptFields[name]
		if near := nearestField(name); !known && near != "" {
			notes = append(notes, fmt.Sprintf("%s is no setting and has no effect; is %s meant?", name, near))
		}
		if use == engine.FieldInert && settings[name] != nil && settings[name] != false {
			notes = append(notes, name+" has no effect here")
		}
	}
	if settings["concurrent_limit"] != nil {
		return notes
	}
	for _, name := range []string{"concurrency_key", "concurrency_time_window_s", "concurrency_window_from", "on_concurrency_limit"} {
		if settings[name] != nil && settings[name] != "" {
			notes = append(notes, name+" has no effect without concurrent_limit: the script has no limit")
		}
	}
	return notes
}

// nearestField returns the setting that a name is at most two letters away
// from; "" if none is.
func nearestField(name string) string {
	const shortest, most = 5, 2
	if len(name) < shortest {
		return ""
	}
	best, found := most+1, ""
	for _, field := range slices.Sorted(maps.Keys(engine.ScriptFields)) {
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
