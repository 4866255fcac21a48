package sqlite

import (
	"unicode/utf8"

	"sluice/internal/store"
)

// maxPart is how much text one row of a log holds.
const maxPart = 32 << 10

// textTable is a pair of tables that keep texts of jobs in parts.
type textTable struct{ end, raw, add, addRaw, read *query }

func newTextTable(name string) textTable {
	return textTable{
		end: sqlText(`SELECT end_utf16, end_byte FROM ` + name + ` WHERE job_seq = ? ORDER BY end_utf16 DESC LIMIT 1`),
		raw: sqlText(`SELECT raw_end FROM ` + name + `_raw WHERE job_seq = ? AND execution = ?`),
		add: sqlText(`INSERT INTO ` + name + ` (job_seq, end_utf16, end_byte, utf16, byte, text) VALUES (?, ?, ?, ?, ?, ?)`),
		addRaw: sqlText(`INSERT INTO ` + name + `_raw (job_seq, execution, raw_end) VALUES (?, ?, ?)
ON CONFLICT (job_seq, execution) DO UPDATE SET raw_end = excluded.raw_end`),
		read: sqlText(`SELECT byte, utf16, text, end_utf16, end_byte FROM ` + name + ` WHERE job_seq = ? AND end_utf16 > ? ORDER BY end_utf16`),
	}
}

var (
	logTexts    = newTextTable("log")
	streamTexts = newTextTable("stream")
)

// units counts UTF-16 code units.
func units(text string) (n int64) {
	for _, r := range text {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// cut returns the longest prefix of text that has at most most bytes and ends
// between two runes; at least one rune.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	n := max(most, 0)
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	if n == 0 {
		_, n = utf8.DecodeRuneInString(text)
	}
	return text[:n]
}

// AppendLog implements [store.Tx].
func (t *tx) AppendLog(jobSeq, execution, rawEnd int64, text string) error {
	return t.appendText(&logTexts, jobSeq, execution, rawEnd, text)
}

// AppendStream implements [store.Tx].
func (t *tx) AppendStream(jobSeq, execution, rawEnd int64, text string) error {
	begun, err := t.c.use(streamTexts.raw).int(jobSeq).int(execution).one(func(*stmt) {})
	if err != nil {
		return err
	}
	if !begun {
		for _, q := range []*query{qDropText, qDropTexts} {
			if _, err := t.c.use(q).int(jobSeq).run(); err != nil {
				return err
			}
		}
	}
	return t.appendText(&streamTexts, jobSeq, execution, rawEnd, text)
}

func (t *tx) appendText(q *textTable, jobSeq, execution, rawEnd int64, text string) error {
	t.wrote = true
	var utf16, bytes int64
	if text != "" {
		if _, err := t.c.use(q.end).int(jobSeq).one(func(s *stmt) { utf16, bytes = s.getInt(), s.getInt() }); err != nil {
			return err
		}
	}
	for text != "" {
		part := cut(text, maxPart)
		text = text[len(part):]
		endUTF16, end := utf16+units(part), bytes+int64(len(part))
		if _, err := t.c.use(q.add).int(jobSeq).int(endUTF16).int(end).int(utf16).int(bytes).str(part).run(); err != nil {
			return err
		}
		utf16, bytes = endUTF16, end
	}
	_, err := t.c.use(q.addRaw).int(jobSeq).int(execution).int(rawEnd).run()
	return err
}

// LogEnd implements [store.Tx].
func (t *tx) LogEnd(jobSeq, execution int64) (rawEnd, stored int64, err error) {
	return t.textEnd(&logTexts, jobSeq, execution)
}

// StreamEnd implements [store.Tx].
func (t *tx) StreamEnd(jobSeq, execution int64) (rawEnd, stored int64, err error) {
	return t.textEnd(&streamTexts, jobSeq, execution)
}

func (t *tx) textEnd(q *textTable, jobSeq, execution int64) (rawEnd, stored int64, err error) {
	if _, err := t.c.use(q.raw).int(jobSeq).int(execution).one(func(s *stmt) { rawEnd = s.getInt() }); err != nil {
		return 0, 0, err
	}
	_, err = t.c.use(q.end).int(jobSeq).one(func(s *stmt) { s.skip(); stored = s.getInt() })
	return rawEnd, stored, err
}

// Log implements [store.Reader]. The first part is cut so that it begins at
// the position asked for, or at the rune that the position splits; the last so
// that no more than most bytes are returned, but at least one rune is.
func (r *reader) Log(seq, fromUTF16 int64, most int) ([]store.LogPart, error) {
	return r.texts(&logTexts, seq, fromUTF16, most)
}

// Stream implements [store.Reader].
func (r *reader) Stream(seq, fromUTF16 int64, most int) ([]store.LogPart, error) {
	return r.texts(&streamTexts, seq, fromUTF16, most)
}

func (r *reader) texts(q *textTable, seq, fromUTF16 int64, most int) ([]store.LogPart, error) {
	var parts []store.LogPart
	left := most
	s := r.c.use(q.read).int(seq).int(fromUTF16)
	for (left > 0 || len(parts) == 0) && s.next() {
		p := store.LogPart{Offset: s.getInt(), UTF16: s.getInt(), Text: s.getStr(), EndsUTF16: s.getInt(), EndsOffset: s.getInt()}
		for _, c := range p.Text {
			wide := int64(utf8.RuneLen(c)) / 4 // four bytes are two code units
			if p.UTF16+1+wide > fromUTF16 {
				break
			}
			p.UTF16 += 1 + wide
			p.Offset += int64(utf8.RuneLen(c))
		}
		p.Text = p.Text[len(p.Text)-int(p.EndsOffset-p.Offset):]
		if text := cut(p.Text, left); len(text) < len(p.Text) {
			if len(text) > left && len(parts) > 0 {
				break
			}
			p.Text = text
			p.EndsUTF16, p.EndsOffset = p.UTF16+units(text), p.Offset+int64(len(text))
			parts = append(parts, p)
			break
		}
		left -= len(p.Text)
		parts = append(parts, p)
	}
	return parts, s.end()
}
