package mask

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
		out.WriteString(Text)
		i += longest
	}
	return out.String()
}

// inPieces masks a text that comes in pieces, and checks that no more is ever
// held back than what may become a secret.
func inPieces(t interface{ Errorf(string, ...any) }, set *Set, text string, piece func() int) string {
	m := NewStream(set)
	var out strings.Builder
	for rest := text; rest != ""; {
		n := min(piece(), len(rest))
		out.Write(m.Feed([]byte(rest[:n])))
		rest = rest[n:]
		begins := len(m.held) == 0
		for _, s := range set.texts() {
			begins = begins || len(m.held) < len(s) && bytes.HasPrefix(s, m.held)
		}
		if !begins {
			t.Errorf("%q is held back, with which no secret of %q begins", m.held, set.texts())
		}
	}
	out.Write(m.Flush())
	return out.String()
}

// M1: pieces are masked as the whole text is.
func TestMaskAgainstTheWholeText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[ab"\n]{4,9}`)
		secrets := rapid.SliceOfN(secret, 1, 4).Draw(t, "secrets")
		parts := rapid.SliceOf(rapid.OneOf(rapid.StringMatching(`[abc"\n]{0,6}`), rapid.SampledFrom(secrets))).Draw(t, "parts")
		text := strings.Join(parts, "")
		set := NewSet(secrets)
		got := inPieces(t, set, text, func() int { return rapid.IntRange(1, 7).Draw(t, "piece") })
		if want := naive(text, set.texts()); got != want {
			t.Fatalf("%q with %q: %q, want %q", text, set.texts(), got, want)
		}
		if whole := set.Whole(text); whole != got {
			t.Fatalf("%q as a whole is %q, in pieces %q", text, whole, got)
		}
	})
}

func FuzzMask(f *testing.F) {
	f.Add("a hunter22 b", "hunter22", "hunter", uint64(1))
	f.Add("aaaaaaaaaa", "aaaab", "aaaa", uint64(2))
	f.Fuzz(func(t *testing.T, text, one, two string, seed uint64) {
		set := NewSet([]string{one, two})
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
	set := NewSet([]string{"hunter22"})
	const text = "the password is hunter22, hunter2 is none"
	for i := range len(text) {
		for j := i; j < len(text); j++ {
			m := NewStream(set)
			var out, before strings.Builder
			for n, piece := range []string{text[:i], text[i:j], text[j:]} {
				out.Write(m.Feed([]byte(piece)))
				if n == 1 {
					before.WriteString(out.String())
				}
			}
			out.Write(m.Flush())
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
	set := NewSet([]string{`qu"ote\d`, key, long, "naïve-ключ"})
	for _, tc := range []struct{ name, text, want string }{
		{"plain", `x qu"ote\d x`, "x ***** x"},
		{"in JSON", `{"a":"qu\"ote\\d"}`, `{"a":"*****"}`},
		{"a line of it", "line: abcdefghijkl.", "line: *****."},
		{"base64", base64.StdEncoding.EncodeToString([]byte("naïve-ключ")), "*****="},
		{"long", "<" + long + ">", "<" + strings.Repeat(Text, 4) + ">"},
		{"not at all", "mn quote", "mn quote"},
	} {
		got := set.Whole(tc.text)
		if tc.name == "base64" {
			if !strings.HasPrefix(got, Text) || len(got) > len(Text)+4 {
				t.Errorf("%s: %q", tc.name, got)
			}
			continue
		}
		if got != tc.want {
			t.Errorf("%s: %.200q, want %q", tc.name, got, tc.want)
		}
	}
	if got := NewSet([]string{"hunt", "hunter22", "hunter"}).Whole("hunter22 hunter2 hunt"); got != "***** *****2 *****" {
		t.Errorf("the longest of those that begin together: %q", got)
	}
	raw := json.RawMessage(`{"name":"E","message":"bad qu\"ote\\d","stack":["at qu\"ote\\d",1.50]}`)
	if got := string(set.Object(raw)); got != `{"message":"bad *****","name":"E","stack":["at *****",1.50]}` {
		t.Errorf("an error: %s", got)
	}
	clean := json.RawMessage(`{"z":1,"a":2}`)
	if got := string(set.Object(clean)); got != string(clean) {
		t.Errorf("without a secret: %s", got)
	}
}
