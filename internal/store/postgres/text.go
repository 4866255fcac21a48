package postgres

import (
	"slices"
	"unicode/utf8"

	"sluice/internal/store"
)

// maxPart is how much text one row of a log holds.
const maxPart = 32 << 10

// textTable is a pair of tables that keep texts of jobs in parts.
type textTable struct{ name, end, raw, add, addRaw, read string }

func newTextTable(name string) *textTable {
	return &textTable{
		name: name,
		end:  `SELECT end_utf16, end_byte FROM ` + name + ` WHERE job_seq = $1::bigint ORDER BY end_utf16 DESC LIMIT 1`,
		raw:  `SELECT raw_end FROM ` + name + `_raw WHERE job_seq = $1::bigint AND execution = $2::bigint`,
		add: `INSERT INTO ` + name + ` (job_seq, end_utf16, end_byte, utf16, byte, text)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[])`,
		addRaw: `INSERT INTO ` + name + `_raw (job_seq, execution, raw_end) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
ON CONFLICT (job_seq, execution) DO UPDATE SET raw_end = excluded.raw_end`,
		read: `SELECT byte, utf16, text, end_utf16, end_byte FROM ` + name + ` WHERE job_seq = $1::bigint AND end_utf16 > $2::bigint
ORDER BY end_utf16 LIMIT $3::bigint`,
	}
}

var (
	logTexts    = newTextTable("log")
	streamTexts = newTextTable("stream")
	textTables  = []*textTable{logTexts, streamTexts}
)

// textKey names a text, rawKey what is known of one execution's part in it.
type textKey struct {
	table  *textTable
	jobSeq int64
}

type rawKey struct {
	textKey
	execution int64
}

// textEnd is where a text ends.
type textEnd struct{ utf16, bytes int64 }

// textRow is a part of a text that is not sent yet.
type textRow struct {
	jobSeq     int64
	end, begin textEnd
	text       []byte
}

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
	return t.appendText(logTexts, jobSeq, execution, rawEnd, text)
}

// AppendStream implements [store.Tx].
func (t *tx) AppendStream(jobSeq, execution, rawEnd int64, text string) error {
	_, begun, err := t.rawEnd(streamTexts, jobSeq, execution)
	if err != nil {
		return err
	}
	if !begun {
		if _, err := t.exec(`WITH gone AS (DELETE FROM stream_raw WHERE job_seq = $1::bigint) DELETE FROM stream WHERE job_seq = $1::bigint`, jobSeq); err != nil {
			return err
		}
		delete(t.ends, textKey{streamTexts, jobSeq})
	}
	return t.appendText(streamTexts, jobSeq, execution, rawEnd, text)
}

// rawEnd returns how much of an execution's text was stored, and whether any was.
func (t *tx) rawEnd(q *textTable, jobSeq, execution int64) (end int64, begun bool, err error) {
	if end, begun = t.hold.raws[rawKey{textKey{q, jobSeq}, execution}]; begun {
		return end, true, nil
	}
	err = t.rows(func(r *row) { end, begun = r.getInt(), true }, q.raw, jobSeq, execution)
	return end, begun, err
}

// endOf returns where a text ends.
func (t *tx) endOf(q *textTable, jobSeq int64) (*textEnd, error) {
	k := textKey{q, jobSeq}
	if e := t.ends[k]; e != nil {
		return e, nil
	}
	e := &textEnd{}
	if err := t.rows(func(r *row) { e.utf16, e.bytes = r.getInt(), r.getInt() }, q.end, jobSeq); err != nil {
		return nil, err
	}
	t.ends[k] = e
	return e, nil
}

func (t *tx) appendText(q *textTable, jobSeq, execution, rawEnd int64, text string) error {
	end, err := t.endOf(q, jobSeq)
	if err != nil {
		return err
	}
	t.write()
	if t.hold.raws == nil {
		t.hold.raws, t.hold.texts = map[rawKey]int64{}, map[*textTable][]textRow{}
	}
	for text != "" {
		part := cut(text, maxPart)
		text = text[len(part):]
		begin := *end
		end.utf16, end.bytes = end.utf16+units(part), end.bytes+int64(len(part))
		t.hold.texts[q] = append(t.hold.texts[q], textRow{jobSeq: jobSeq, begin: begin, end: *end, text: raw(part)})
	}
	t.hold.raws[rawKey{textKey{q, jobSeq}, execution}] = rawEnd
	return nil
}

// flushTexts writes parts of texts. Two transactions that add to the same text
// at the same time meet in its key, and one of them runs again.
func (t *tx) flushTexts(p *pipe) {
	for _, q := range textTables {
		if list := t.hold.texts[q]; len(list) > 0 {
			n := func(of func(textRow) int64) []int64 { return each(list, of) }
			p.add(nil, q.add, n(func(r textRow) int64 { return r.jobSeq }), n(func(r textRow) int64 { return r.end.utf16 }),
				n(func(r textRow) int64 { return r.end.bytes }), n(func(r textRow) int64 { return r.begin.utf16 }),
				n(func(r textRow) int64 { return r.begin.bytes }), each(list, func(r textRow) []byte { return r.text }))
		}
		var keys []rawKey
		for k := range t.hold.raws {
			if k.table == q {
				keys = append(keys, k)
			}
		}
		if len(keys) == 0 {
			continue
		}
		slices.SortFunc(keys, func(a, b rawKey) int {
			if d := byNumber(a.jobSeq, b.jobSeq); d != 0 {
				return d
			}
			return byNumber(a.execution, b.execution)
		})
		p.add(nil, q.addRaw, each(keys, func(k rawKey) int64 { return k.jobSeq }), each(keys, func(k rawKey) int64 { return k.execution }),
			each(keys, func(k rawKey) int64 { return t.hold.raws[k] }))
	}
	t.hold.texts, t.hold.raws = nil, nil
}

// LogEnd implements [store.Tx].
func (t *tx) LogEnd(jobSeq, execution int64) (rawEnd, stored int64, err error) {
	return t.textEnd(logTexts, jobSeq, execution)
}

// StreamEnd implements [store.Tx].
func (t *tx) StreamEnd(jobSeq, execution int64) (rawEnd, stored int64, err error) {
	return t.textEnd(streamTexts, jobSeq, execution)
}

func (t *tx) textEnd(q *textTable, jobSeq, execution int64) (rawEnd, stored int64, err error) {
	k := textKey{q, jobSeq}
	e := t.ends[k]
	p := &pipe{}
	p.add(func(r *row) { rawEnd = r.getInt() }, q.raw, jobSeq, execution)
	if e == nil {
		e = &textEnd{}
		p.add(func(r *row) { e.utf16, e.bytes = r.getInt(), r.getInt() }, q.end, jobSeq)
	}
	if err := t.query(p); err != nil {
		return 0, 0, err
	}
	t.ends[k] = e
	return rawEnd, e.bytes, nil
}

// Log implements [store.Reader]. The first part is cut so that it begins at
// the position asked for, or at the rune that the position splits; the last so
// that no more than most bytes are returned, but at least one rune is.
func (r *reader) Log(seq, fromUTF16 int64, most int) ([]store.LogPart, error) {
	return r.texts(logTexts, seq, fromUTF16, most)
}

// Stream implements [store.Reader].
func (r *reader) Stream(seq, fromUTF16 int64, most int) ([]store.LogPart, error) {
	return r.texts(streamTexts, seq, fromUTF16, most)
}

// partsAtOnce is how many parts of a text one statement reads.
const partsAtOnce = 64

func (r *reader) texts(q *textTable, seq, fromUTF16 int64, most int) (parts []store.LogPart, err error) {
	left, from, full := most, fromUTF16, false
	for !full {
		n := 0
		err := r.rows(func(w *row) {
			n++
			p := store.LogPart{Offset: w.getInt(), UTF16: w.getInt(), Text: w.getStr(), EndsUTF16: w.getInt(), EndsOffset: w.getInt()}
			from = p.EndsUTF16
			if full = full || left <= 0 && len(parts) > 0; !full {
				parts, left, full = addPart(parts, p, fromUTF16, left)
			}
		}, q.read, seq, from, int64(partsAtOnce))
		if err != nil || n < partsAtOnce {
			return parts, err
		}
	}
	return parts, nil
}

// addPart adds a part to those that are returned, cut to what was asked for,
// and tells how many bytes are left and whether that was the last.
func addPart(parts []store.LogPart, p store.LogPart, from int64, left int) ([]store.LogPart, int, bool) {
	for _, c := range p.Text {
		wide := int64(utf8.RuneLen(c)) / 4 // four bytes are two code units
		if p.UTF16+1+wide > from {
			break
		}
		p.UTF16 += 1 + wide
		p.Offset += int64(utf8.RuneLen(c))
	}
	p.Text = p.Text[len(p.Text)-int(p.EndsOffset-p.Offset):]
	if text := cut(p.Text, left); len(text) < len(p.Text) {
		if len(text) > left && len(parts) > 0 {
			return parts, 0, true
		}
		p.Text = text
		p.EndsUTF16, p.EndsOffset = p.UTF16+units(text), p.Offset+int64(len(text))
		return append(parts, p), 0, true
	}
	return append(parts, p), left - len(p.Text), false
}
