package postgres

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// pipe is a number of statements that are sent together and answered together:
// one round trip, whatever they are.
type pipe struct {
	batch pgx.Batch
	calls []call
	after []func() // called when all answers were read
	draws bool     // the clock is read in it
}

// call says what is done with the answer to one statement.
type call struct {
	row  func(*row)  // for each row; nil: there are none that matter
	done func(n int) // with how many rows were changed or returned; nil: it does not matter
}

// add adds a statement. read is called for each of its rows.
func (p *pipe) add(read func(*row), sql string, args ...any) {
	p.batch.Queue(sql, args...)
	p.calls = append(p.calls, call{row: read})
}

// count adds a statement of which it matters how many rows it changes.
func (p *pipe) count(done func(n int), sql string, args ...any) {
	p.batch.Queue(sql, args...)
	p.calls = append(p.calls, call{done: done})
}

// send sends a pipe and reads its answers, until one is an error.
func (s *Store) send(ctx context.Context, c *pgx.Conn, p *pipe) error {
	s.statements.Add(int64(len(p.calls)))
	s.trips.Add(1)
	answers := c.SendBatch(ctx, &p.batch)
	var first error
	for i := range p.calls {
		if first = s.answer(answers, &p.calls[i]); first != nil {
			break
		}
	}
	if err := answers.Close(); first == nil {
		first = err
	}
	return first
}

func (s *Store) answer(answers pgx.BatchResults, c *call) error {
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	if r := (&row{fields: rows.FieldDescriptions()}); c.row != nil {
		for rows.Next() {
			s.rows.Add(1)
			r.values, r.at = rows.RawValues(), 0
			c.row(r)
			if r.err != nil {
				return r.err
			}
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	if c.done != nil {
		c.done(int(rows.CommandTag().RowsAffected()))
	}
	return nil
}

// row reads the columns of a row from left to right. Columns are integers,
// booleans, texts, bytes and UUIDs, in PostgreSQL's binary or its text form.
type row struct {
	fields []pgconn.FieldDescription
	values [][]byte
	at     int
	err    error
}

func (r *row) next() (value []byte, binary bool) {
	if r.at >= len(r.values) {
		r.err = errors.New("postgres: a statement returned fewer columns than are read")
		return nil, false
	}
	value, binary = r.values[r.at], r.fields[r.at].Format == pgx.BinaryFormatCode
	r.at++
	return value, binary
}

func (r *row) isNull() bool { return r.at < len(r.values) && r.values[r.at] == nil }

func (r *row) skip() { r.at++ }

// getInt reads an integer; NULL is 0.
func (r *row) getInt() int64 {
	v, bin := r.next()
	switch {
	case v == nil:
		return 0
	case !bin:
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			r.err = fmt.Errorf("postgres: an integer: %w", err)
		}
		return n
	case len(v) == 8:
		return int64(binary.BigEndian.Uint64(v))
	case len(v) == 4:
		return int64(int32(binary.BigEndian.Uint32(v)))
	case len(v) == 2:
		return int64(int16(binary.BigEndian.Uint16(v)))
	}
	r.err = fmt.Errorf("postgres: an integer of %d bytes", len(v))
	return 0
}

func (r *row) getBool() bool {
	v, _ := r.next()
	return len(v) == 1 && (v[0] == 1 || v[0] == 't')
}

func (r *row) getAt() time.Time      { return instant(r.getInt()) }
func (r *row) getDur() time.Duration { return time.Duration(r.getInt()) * time.Microsecond }

// getStr reads a text, or bytes as a string.
func (r *row) getStr() string {
	if r.at < len(r.fields) && r.fields[r.at].DataTypeOID == pgtype.ByteaOID {
		return string(r.getBytes())
	}
	v, _ := r.next()
	return string(v)
}

// getBytes returns nil for NULL and for an empty value.
func (r *row) getBytes() []byte {
	v, bin := r.next()
	if len(v) == 0 {
		return nil
	}
	if bin || len(v) < 2 || v[0] != '\\' || v[1] != 'x' {
		return append(make([]byte, 0, len(v)), v...)
	}
	out, err := hex.DecodeString(string(v[2:]))
	if err != nil {
		r.err = fmt.Errorf("postgres: bytes: %w", err)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// getText reads a column that may be NULL.
func (r *row) getText() *string {
	if r.isNull() {
		r.skip()
		return nil
	}
	text := r.getStr()
	return &text
}

func (r *row) getUUID() string {
	v, bin := r.next()
	if v == nil {
		return ""
	}
	if !bin {
		return string(v)
	}
	u, err := uuid.FromBytes(v)
	if err != nil {
		r.err = fmt.Errorf("postgres: a UUID: %w", err)
	}
	return u.String()
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func dur(d time.Duration) int64 { return int64(d / time.Microsecond) }

// uuidOf returns a canonical UUID as it is, and "" for anything else, which no
// row has.
func uuidOf(s string) string {
	if _, err := uuid.Parse(s); err != nil || len(s) != 36 {
		return ""
	}
	return s
}

// each makes a list of one property of many.
func each[T, V any](list []T, of func(T) V) []V {
	out := make([]V, len(list))
	for i, v := range list {
		out[i] = of(v)
	}
	return out
}

// raw is a string as bytes, never nil: nil would be NULL.
func raw(s string) []byte { return append(make([]byte, 0, len(s)), s...) }
