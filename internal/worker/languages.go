package worker

import (
	"maps"
	"slices"
)

// Languages returns a new executor for every language.
func Languages() map[string]Executor {
	return map[string]Executor{
		"bash":    NewBash(),
		"python3": NewPython(),
	}
}

// DefaultTags returns the tags of jobs that ask for none: their languages, and
// that of dependency jobs.
func DefaultTags() []string {
	return append(slices.Sorted(maps.Keys(Languages())), "dependency")
}
