package worker

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// naive masks a whole text, byte by byte.
func naive(text string, secrets [][]byte) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		longest := 0
		for _, s := range secrets {
			if strings.HasPrefix(text[i:], string(s)) {
				longest = max(longest, len(s))
			}
		}
		if longest == 0 {
			out.WriteByte(text[i])
			i++
			continue
		}
		out.WriteString(maskText)
		i += longest
	}
	return out.String()
}

// inPieces masks a text that comes in pieces, and checks that no more is ever
// held back than what may become a secret.
func inPieces(t interface{ Errorf(string, ...any) }, set *secretSet, text string, piece func() int) string {
	m := masker{set: set}
	var out strings.Builder
	for rest := text; rest != ""; {
		n := min(piece(), len(rest))
		out.Write(m.feed([]byte(rest[:n])))
		rest = rest[n:]
		begins := len(m.held) == 0
		for _, s := range set.texts() {
			begins = begins || len(m.held) < len(s) && bytes.HasPrefix(s, m.held)
		}
		if !begins {
			t.Errorf("%q is held back, with which no secret of %q begins", m.held, set.texts())
		}
	}
	out.Write(m.flush())
	return out.String()
}

// M1: pieces are masked as the whole text is.
func TestMaskAgainstTheWholeText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[ab"\n]{4,9}`)
		secrets := rapid.SliceOfN(secret, 1, 4).Draw(t, "secrets")
		parts := rapid.SliceOf(rapid.OneOf(rapid.StringMatching(`[abc"\n]{0,6}`), rapid.SampledFrom(secrets))).Draw(t, "parts")
		text := strings.Join(parts, "")
		set := newSecretSet(secrets)
		got := inPieces(t, set, text, func() int { return rapid.IntRange(1, 7).Draw(t, "piece") })
		if want := naive(text, set.texts()); got != want {
			t.Fatalf("%q with %q: %q, want %q", text, set.texts(), got, want)
		}
		if whole := set.whole(text); whole != got {
			t.Fatalf("%q as a whole is %q, in pieces %q", text, whole, got)
		}
	})
}

func FuzzMask(f *testing.F) {
	f.Add("a hunter22 b", "hunter22", "hunter", uint64(1))
	f.Add("aaaaaaaaaa", "aaaab", "aaaa", uint64(2))
	f.Fuzz(func(t *testing.T, text, one, two string, seed uint64) {
		set := newSecretSet([]string{one, two})
		r := rand.New(rand.NewPCG(seed, 0))
		got := inPieces(t, set, text, func() int { return 1 + r.IntN(5) })
		if want := naive(text, set.texts()); got != want {
			t.Fatalf("%q with %q: %q, want %q", text, set.texts(), got, want)
		}
	})
}

// TestMaskAcrossEveryCut (M1, M2): no cut of a text gets a secret out, nor a
// part of it beyond what was said before it became one.
func TestMaskAcrossEveryCut(t *testing.T) {
	set := newSecretSet([]string{"hunter22"})
	const text = "the password is hunter22, hunter2 is none"
	for i := range len(text) {
		for j := i; j < len(text); j++ {
			m := masker{set: set}
			var out, before strings.Builder
			for n, piece := range []string{text[:i], text[i:j], text[j:]} {
				out.Write(m.feed([]byte(piece)))
				if n == 1 {
					before.WriteString(out.String())
				}
			}
			out.Write(m.flush())
			if got := out.String(); got != "the password is *****, hunter2 is none" {
				t.Fatalf("cut at %d and %d: %q", i, j, got)
			}
			if j <= 24 && strings.Contains(before.String(), "hun") {
				t.Fatalf("cut at %d and %d: %q came before it was certain", i, j, before.String())
			}
		}
	}
}

func TestMaskForms(t *testing.T) {
	key := "-----BEGIN KEY-----\nabcdefghijkl\nmn\n"
	long := strings.Repeat("0123456789abcdef", 1000)
	set := newSecretSet([]string{`qu"ote\d`, key, long, "naïve-ключ"})
	for _, tc := range []struct{ name, text, want string }{
		{"plain", `x qu"ote\d x`, "x ***** x"},
		{"in JSON", `{"a":"qu\"ote\\d"}`, `{"a":"*****"}`},
		{"a line of it", "line: abcdefghijkl.", "line: *****."},
		{"base64", base64.StdEncoding.EncodeToString([]byte("naïve-ключ")), "*****="},
		{"long", "<" + long + ">", "<" + strings.Repeat(maskText, 4) + ">"},
		{"not at all", "mn quote", "mn quote"},
	} {
		got := set.whole(tc.text)
		if tc.name == "base64" {
			if !strings.HasPrefix(got, maskText) || len(got) > len(maskText)+4 {
				t.Errorf("%s: %q", tc.name, got)
			}
			continue
		}
		if got != tc.want {
			t.Errorf("%s: %.200q, want %q", tc.name, got, tc.want)
		}
	}
	if got := newSecretSet([]string{"hunt", "hunter22", "hunter"}).whole("hunter22 hunter2 hunt"); got != "***** *****2 *****" {
		t.Errorf("the longest of those that begin together: %q", got)
	}
	raw := json.RawMessage(`{"name":"E","message":"bad qu\"ote\\d","stack":["at qu\"ote\\d",1.50]}`)
	if got := string(set.object(raw)); got != `{"message":"bad *****","name":"E","stack":["at *****",1.50]}` {
		t.Errorf("an error: %s", got)
	}
	clean := json.RawMessage(`{"z":1,"a":2}`)
	if got := string(set.object(clean)); got != string(clean) {
		t.Errorf("without a secret: %s", got)
	}
}

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
