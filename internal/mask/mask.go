// Package mask hides secrets in texts, however those are cut into pieces.
package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
)

const (
	// Text stands in the place of a secret.
	Text = "*****"
	// maxMask is how long one text that is looked for may be; a longer secret is
	// looked for piece by piece, so that little of a log is ever held back.
	maxMask = 4 << 10
	// minMaskForm is how long a secret must be for its lines and its encoded
	// forms to be looked for too.
	minMaskForm = 8
)

// Set is what must not show. It does not change, and may be used by many at once.
// Most jobs say nothing, so the texts are made when they are first needed. Nil is
// the empty set.
type Set struct{ texts func() [][]byte }

// NewSet returns the set of some secrets, in all forms in which they may show: as
// they are, as within JSON, line by line, in base64.
func NewSet(secrets []string) *Set {
	return &Set{texts: sync.OnceValue(func() [][]byte { return formsOf(secrets) })}
}

// all returns the texts that are looked for.
func (s *Set) all() [][]byte {
	if s == nil {
		return nil
	}
	return s.texts()
}

// formsOf returns the forms in which secrets may show.
func formsOf(secrets []string) (texts [][]byte) {
	seen := map[string]bool{"": true}
	add := func(text string) {
		for len(text) > maxMask {
			if !seen[text[:maxMask]] {
				seen[text[:maxMask]] = true
				texts = append(texts, []byte(text[:maxMask]))
			}
			text = text[maxMask:]
		}
		if !seen[text] {
			seen[text] = true
			texts = append(texts, []byte(text))
		}
	}
	for _, secret := range secrets {
		add(secret)
		if quoted := quote(secret); quoted != secret {
			add(quoted)
		}
		if len(secret) < minMaskForm {
			continue
		}
		if strings.Contains(secret, "\n") {
			for line := range strings.Lines(secret) {
				if line = strings.TrimRight(line, "\r\n"); len(line) >= minMaskForm {
					add(line)
				}
			}
		}
		// Up to the last whole group, so that it is found whatever follows.
		whole := []byte(secret[:len(secret)/3*3])
		add(base64.StdEncoding.EncodeToString(whole))
		add(base64.URLEncoding.EncodeToString(whole))
	}
	return texts
}

// quote returns a text as it stands within a JSON string.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return s
	}
	return strings.Trim(b.String(), "\"\n")
}

// Whole masks a whole text.
func (s *Set) Whole(text string) string {
	m := NewStream(s)
	out := string(m.Feed([]byte(text)))
	return out + string(m.Flush())
}

// Object masks every string in a JSON value; a value without secrets stays as it is.
func (s *Set) Object(raw json.RawMessage) json.RawMessage {
	if s.Whole(string(raw)) == string(raw) {
		return raw
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return []byte(`"` + Text + `"`)
	}
	out, err := json.Marshal(s.value(v))
	if err != nil {
		return []byte(`"` + Text + `"`)
	}
	return out
}

func (s *Set) value(v any) any {
	switch v := v.(type) {
	case string:
		return s.Whole(v)
	case json.Number:
		if masked := s.Whole(v.String()); masked != v.String() {
			return masked
		}
	case []any:
		for i := range v {
			v[i] = s.value(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			out[s.Whole(name)] = s.value(e)
		}
		return out
	}
	return v
}

// Stream masks one stream, however it is cut into pieces: of two secrets that
// overlap the first, of two that begin together the longer. It holds back the
// end of a piece only if that may be the beginning of a secret, and as long as
// it may: a program that pauses in the middle of a secret does not get it out.
type Stream struct {
	set  *Set
	held []byte
	out  []byte
	next []int // where each text is found next; -1: nowhere
}

// NewStream returns a stream at its beginning.
func NewStream(set *Set) Stream { return Stream{set: set} }

// With returns a copy that stands where m does and masks what is in set instead;
// nil leaves it as it is. The copy and m do not touch each other.
func (m *Stream) With(set *Set) Stream {
	if set == nil {
		set = m.set
	}
	return Stream{set: set, held: bytes.Clone(m.held)}
}

// Set returns what is masked.
func (m *Stream) Set() *Set { return m.set }

// Feed returns what is certain after p; it is valid until the next call.
func (m *Stream) Feed(p []byte) []byte { return m.run(p, false) }

// Flush returns what was held back, at the end of the stream.
func (m *Stream) Flush() []byte { return m.run(nil, true) }

func (m *Stream) run(p []byte, final bool) []byte {
	b := p
	if len(m.held) > 0 {
		b = append(m.held, p...)
	}
	if len(b) == 0 {
		return nil
	}
	m.next = m.next[:0]
	for _, text := range m.set.all() {
		m.next = append(m.next, bytes.Index(b, text))
	}
	m.out = m.out[:0]
	pos, open := 0, -1
	for {
		at, n := m.match(b, pos)
		if open < pos {
			open = len(b)
			if !final {
				open = m.opening(b, pos)
			}
		}
		if at < 0 || open <= at {
			out := b[pos:open]
			if pos > 0 {
				m.out = append(m.out, out...)
				out = m.out
			} else if len(m.held) > 0 {
				m.out = append(m.out[:0], out...) // held is about to be written over
				out = m.out
			}
			m.held = append([]byte(nil), b[open:]...)
			return out
		}
		m.out = append(append(m.out, b[pos:at]...), Text...)
		pos = at + n
	}
}

// match returns where the first secret from pos on begins, and how long the
// longest is that begins there; -1: nowhere.
func (m *Stream) match(b []byte, pos int) (at, n int) {
	at = -1
	for i, text := range m.set.all() {
		if m.next[i] >= 0 && m.next[i] < pos {
			if m.next[i] = bytes.Index(b[pos:], text); m.next[i] >= 0 {
				m.next[i] += pos
			}
		}
		switch j := m.next[i]; {
		case j < 0:
		case at < 0 || j < at:
			at, n = j, len(text)
		case j == at:
			n = max(n, len(text))
		}
	}
	return at, n
}

// opening returns the first position from pos on whose rest is the beginning
// of a secret; len(b) if there is none.
func (m *Stream) opening(b []byte, pos int) int {
	first := len(b)
	for _, text := range m.set.all() {
		for i := max(pos, len(b)-len(text)+1); i < first; i++ {
			j := bytes.IndexByte(b[i:first], text[0])
			if j < 0 {
				break
			}
			if i += j; bytes.HasPrefix(text, b[i:]) {
				first = i
			}
		}
	}
	return first
}
