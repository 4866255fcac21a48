package worker

import (
	"maps"
	"slices"
)

// Languages returns a new executor for every language.
func Languages() map[string]Executor {
	bun := NewBun()
	return map[string]Executor{
		"bash":       NewBash(),
		"bun":        bun,
		"deno":       bun,
		"go":         NewGo(),
		"nativets":   bun,
		"postgresql": Postgres{},
		"python3":    NewPython(),
	}
}

// DefaultTags returns the tags of jobs that ask for none: their languages, and
// that of dependency jobs.
func DefaultTags() []string {
	return append(slices.Sorted(maps.Keys(Languages())), "dependency")
}
