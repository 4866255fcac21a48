package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/internal/store"
)

const (
	diffContext = 3    // lines around a change
	maxDiffWork = 1000 // lines that differ, beyond which a file counts as rewritten
)

// VersionPair are two versions of a script, named in the path of a call.
type VersionPair struct {
	Workspace string `path:"workspace"`
	A         string `path:"hash_a" pattern:"^[0-9a-fA-F]{16}$" patternDescription:"16 hex digits" doc:"Hash of the version before"`
	B         string `path:"hash_b" pattern:"^[0-9a-fA-F]{16}$" patternDescription:"16 hex digits" doc:"Hash of the version after"`
}

type changeJSON struct {
	From anyJSON `json:"from"`
	To   anyJSON `json:"to"`
}

type diffJSON struct {
	Diff     string                `json:"diff" doc:"Of the code, unified; empty if it is the same"`
	Settings map[string]changeJSON `json:"settings" doc:"Fields that differ; null stands for a field that is not set"`
}

func (a *API) diffScripts(ctx context.Context, in *VersionPair) (diffJSON, error) {
	from, err := a.e.ScriptByHash(ctx, in.Workspace, strings.ToLower(in.A))
	if err != nil {
		return diffJSON{}, err
	}
	to, err := a.e.ScriptByHash(ctx, in.Workspace, strings.ToLower(in.B))
	if err != nil {
		return diffJSON{}, err
	}
	for _, s := range []*store.Script{from, to} {
		if err := a.mayReadVersion(ctx, s); err != nil {
			return diffJSON{}, err
		}
	}
	settings, err := changedSettings(from, to)
	return diffJSON{
		Diff:     unifiedDiff(from.Path+"@"+from.Hash, to.Path+"@"+to.Hash, from.Content, to.Content),
		Settings: settings,
	}, err
}

// changedSettings returns the fields that differ as JSON values do: their form
// does not count.
func changedSettings(from, to *store.Script) (map[string]changeJSON, error) {
	a, err := settingsOf(from)
	if err != nil {
		return nil, err
	}
	b, err := settingsOf(to)
	if err != nil {
		return nil, err
	}
	names := slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
	out := map[string]changeJSON{}
	for _, name := range names {
		if !sameJSON(a[name], b[name]) {
			out[name] = changeJSON{anyJSON(a[name]), anyJSON(b[name])}
		}
	}
	return out, nil
}

func settingsOf(s *store.Script) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(s.Settings, &m); err != nil {
		return nil, fmt.Errorf("read the settings of script %s: %w", s.Hash, err)
	}
	for _, name := range requestOnly {
		delete(m, name)
	}
	delete(m, "content")
	return m, nil
}

func sameJSON(a, b json.RawMessage) bool {
	norm := func(v json.RawMessage) string {
		if len(v) == 0 {
			return "null"
		}
		var x any
		dec := json.NewDecoder(strings.NewReader(string(v)))
		dec.UseNumber()
		if dec.Decode(&x) != nil {
			return string(v)
		}
		b, err := marshal(x)
		if err != nil {
			return string(v)
		}
		return string(b)
	}
	return norm(a) == norm(b)
}

// edit is a run of lines: kept (' '), taken out ('-') or put in ('+').
type edit struct {
	op   byte
	line string
}

// unifiedDiff compares two texts line by line; "" if they are the same.
func unifiedDiff(nameA, nameB, a, b string) string {
	if a == b {
		return ""
	}
	edits := diffLines(splitLines(a), splitLines(b))
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", nameA, nameB)
	lineA, lineB, done := 1, 1, 0
	for i := 0; i < len(edits); i++ {
		if edits[i].op == ' ' {
			continue
		}
		start, end := max(i-diffContext, done), hunkEnd(edits, i)
		lineA, lineB = lineA+start-done, lineB+start-done // all kept
		writeHunk(&out, edits[start:end], &lineA, &lineB)
		i, done = end-1, end
	}
	return out.String()
}

// hunkEnd returns where the hunk ends that holds the change at i: after its
// context, if no other change follows within twice of it.
func hunkEnd(edits []edit, i int) int {
	last := i
	for j := i; j < len(edits) && j-last <= 2*diffContext; j++ {
		if edits[j].op != ' ' {
			last = j
		}
	}
	return min(last+1+diffContext, len(edits))
}

func writeHunk(out *strings.Builder, edits []edit, lineA, lineB *int) {
	inA, inB := 0, 0
	for _, e := range edits {
		if e.op != '+' {
			inA++
		}
		if e.op != '-' {
			inB++
		}
	}
	// A side without lines is named by the line before it.
	before := func(line, n int) int {
		if n == 0 {
			return line - 1
		}
		return line
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", before(*lineA, inA), inA, before(*lineB, inB), inB)
	for _, e := range edits {
		out.WriteByte(e.op)
		out.WriteString(e.line)
		if !strings.HasSuffix(e.line, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
	*lineA, *lineB = *lineA+inA, *lineB+inB
}

// splitLines cuts a text after each line feed.
func splitLines(s string) []string {
	var out []string
	for line := range strings.SplitAfterSeq(s, "\n") {
		if line != "" {
			out = append(out, line)
		}
	}
	return out
}

// diffLines returns the edits that make b of a: the fewest, as Myers found, up
// to maxDiffWork of them; all lines out and in if it takes more.
func diffLines(a, b []string) []edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out []edit
	add := func(op byte, lines []string) {
		for _, l := range lines {
			out = append(out, edit{op, l})
		}
	}
	add(' ', a[:head])
	midA, midB := a[head:len(a)-tail], b[head:len(b)-tail]
	if mid, ok := shortestEdits(midA, midB); ok {
		out = append(out, mid...)
	} else {
		add('-', midA)
		add('+', midB)
	}
	add(' ', a[len(a)-tail:])
	return out
}

// shortestEdits walks the diagonals of the edit graph, furthest point first,
// and keeps each round so that the way back can be read from them.
func shortestEdits(a, b []string) ([]edit, bool) {
	most := min(len(a)+len(b), maxDiffWork)
	v := make([]int, 2*most+3)
	at := func(k int) *int { return &v[k+most+1] }
	var rounds [][]int
	for d := 0; d <= most; d++ {
		for k := -d; k <= d; k += 2 {
			x := *at(k - 1) + 1
			if k == -d || k != d && *at(k - 1) < *at(k + 1) {
				x = *at(k + 1)
			}
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			*at(k) = x
			if x >= len(a) && x-k >= len(b) {
				return walkBack(a, b, rounds, d), true
			}
		}
		rounds = append(rounds, slices.Clone(v[most+1-d:most+2+d])) // diagonals -d … d
	}
	return nil, false
}

// walkBack reads the edits from the kept rounds, last one first.
func walkBack(a, b []string, rounds [][]int, d int) []edit {
	var out []edit
	x, y := len(a), len(b)
	for ; d > 0; d-- {
		before := rounds[d-1]
		at := func(k int) int { // of the round before; nobody was outside of it
			if k < 1-d || k > d-1 {
				return -1
			}
			return before[k+d-1]
		}
		k := x - y
		prev := k - 1
		if k == -d || k != d && at(k-1) < at(k+1) {
			prev = k + 1
		}
		px := at(prev)
		py := px - prev
		for x > px && y > py && x > 0 && y > 0 && a[x-1] == b[y-1] {
			out = append(out, edit{' ', a[x-1]})
			x, y = x-1, y-1
		}
		if prev == k+1 {
			out = append(out, edit{'+', b[y-1]})
		} else {
			out = append(out, edit{'-', a[x-1]})
		}
		x, y = px, py
	}
	for ; x > 0; x-- {
		out = append(out, edit{' ', a[x-1]})
	}
	slices.Reverse(out)
	return out
}
