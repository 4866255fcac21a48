package worker

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// naiveLines does line by line what [streamLines] does piece by piece.
func naiveLines(text string) (log, stream string) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, streamMark); ok {
			stream += strings.ReplaceAll(strings.TrimSuffix(rest, "\n"), `\n`, "\n")
		} else {
			log += line
		}
	}
	return log, stream
}

func TestStreamLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.OneOf(rapid.SampledFrom([]string{streamMark, "WM_", "WM_STREAM", " ", "\n", `\n`, `\`, "n", "W"}), rapid.StringMatching(`[aWM]{0,3}`))
		text := strings.Join(rapid.SliceOf(part).Draw(t, "parts"), "")
		var x streamLines
		var log, stream string
		add := func(l, s []byte) { log, stream = log+string(l), stream+string(s) }
		for rest := text; rest != ""; {
			n := min(rapid.IntRange(1, 12).Draw(t, "piece"), len(rest))
			add(x.feed([]byte(rest[:n])))
			rest = rest[n:]
		}
		add(x.flush())
		if wantLog, wantStream := naiveLines(text); log != wantLog || stream != wantStream {
			t.Fatalf("%q: log %q, want %q; stream %q, want %q", text, log, wantLog, stream, wantStream)
		}
	})
}

// TestLongStreamLine: a line without end is not gathered without end.
func TestLongStreamLine(t *testing.T) {
	var x streamLines
	var got int
	x.feed([]byte(streamMark))
	for range 100 {
		_, s := x.feed(bytes.Repeat([]byte(`a\`), 10_000))
		got += len(s)
		if len(x.line) > maxStreamLine+20_000 {
			t.Fatalf("%d bytes are kept", len(x.line))
		}
	}
	_, s := x.feed([]byte("n\n"))
	if got += len(s); got != 2_000_000 || !bytes.HasSuffix(s, []byte("\n")) || bytes.Contains(s, []byte(`\n`)) {
		t.Errorf("%d bytes", got)
	}
}
