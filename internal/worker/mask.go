package worker

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
)

const (
	maskText = "*****"
	// maxMask is how long one text that is looked for may be; a longer secret is
	// looked for piece by piece, so that little of a log is ever held back.
	maxMask = 4 << 10
	// minMaskForm is how long a secret must be for its lines and its encoded
	// forms to be looked for too.
	minMaskForm = 8
)

// secretSet is what must not show in a job's log. It does not change.
// Most jobs say nothing, so the texts are made when they are first needed.
type secretSet struct{ texts func() [][]byte }

func newSecretSet(secrets []string) *secretSet {
	return &secretSet{texts: sync.OnceValue(func() [][]byte { return formsOf(secrets) })}
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

// whole masks a whole text.
func (s *secretSet) whole(text string) string {
	m := masker{set: s}
	out := string(m.feed([]byte(text)))
	return out + string(m.flush())
}

// object masks every string in a JSON value; a value without secrets stays as it is.
func (s *secretSet) object(raw json.RawMessage) json.RawMessage {
	if s.whole(string(raw)) == string(raw) {
		return raw
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return []byte(`"` + maskText + `"`)
	}
	out, err := json.Marshal(s.value(v))
	if err != nil {
		return []byte(`"` + maskText + `"`)
	}
	return out
}

func (s *secretSet) value(v any) any {
	switch v := v.(type) {
	case string:
		return s.whole(v)
	case json.Number:
		if masked := s.whole(v.String()); masked != v.String() {
			return masked
		}
	case []any:
		for i := range v {
			v[i] = s.value(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			out[s.whole(name)] = s.value(e)
		}
		return out
	}
	return v
}

// outcome masks what an outcome says of a failure.
func (s *secretSet) outcome(o Outcome) Outcome {
	if o.Failure != nil {
		o.Failure = &Failure{Name: s.whole(o.Failure.Name), Message: s.whole(o.Failure.Message)}
	}
	if o.Error != nil {
		o.Error = s.object(o.Error)
	}
	return o
}

// masker masks one stream, however it is cut into pieces: of two secrets that
// overlap the first, of two that begin together the longer. It holds back the
// end of a piece only if that may be the beginning of a secret, and as long as
// it may: a program that pauses in the middle of a secret does not get it out.
type masker struct {
	set  *secretSet
	held []byte
	out  []byte
	next []int // where each text is found next; -1: nowhere
}

// feed returns what is certain after p; it is valid until the next call.
func (m *masker) feed(p []byte) []byte { return m.run(p, false) }

// flush returns what was held back, at the end of the stream.
func (m *masker) flush() []byte { return m.run(nil, true) }

func (m *masker) run(p []byte, final bool) []byte {
	b := p
	if len(m.held) > 0 {
		b = append(m.held, p...)
	}
	if len(b) == 0 {
		return nil
	}
	m.next = m.next[:0]
	for _, text := range m.set.texts() {
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
		m.out = append(append(m.out, b[pos:at]...), maskText...)
		pos = at + n
	}
}

// match returns where the first secret from pos on begins, and how long the
// longest is that begins there; -1: nowhere.
func (m *masker) match(b []byte, pos int) (at, n int) {
	at = -1
	for i, text := range m.set.texts() {
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
func (m *masker) opening(b []byte, pos int) int {
	first := len(b)
	for _, text := range m.set.texts() {
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
