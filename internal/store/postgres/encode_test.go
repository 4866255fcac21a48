package postgres

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
)

// TestArraysAsTheDriver compares what is written here with the driver's own.
func TestArraysAsTheDriver(t *testing.T) {
	ours, theirs := pgtype.NewMap(), pgtype.NewMap()
	encodeArrays(ours)
	for _, c := range []struct {
		oid   uint32
		value any
	}{
		{pgtype.Int8ArrayOID, []int64{1, -1, 1 << 62, -1 << 63, 0}},
		{pgtype.Int8ArrayOID, []int64{}},
		{pgtype.Int8ArrayOID, []int64(nil)},
		{pgtype.TextArrayOID, []string{"a", "", "ü\n", "{\"x\"}"}},
		{pgtype.TextArrayOID, []string{}},
		{pgtype.TextArrayOID, []string(nil)},
		{pgtype.ByteaArrayOID, [][]byte{{0, 255}, {}, []byte("x")}},
		{pgtype.ByteaArrayOID, [][]byte{nil, {1}, nil}},
		{pgtype.ByteaArrayOID, [][]byte{}},
		{pgtype.ByteaArrayOID, [][]byte(nil)},
		{pgtype.Int8ArrayOID, []int32{1, 2}}, // the driver's
	} {
		for _, before := range [][]byte{nil, []byte("before")} {
			want, err := theirs.Encode(c.oid, pgtype.BinaryFormatCode, c.value, bytes.Clone(before))
			if err != nil {
				t.Fatal(err)
			}
			got, err := ours.Encode(c.oid, pgtype.BinaryFormatCode, c.value, bytes.Clone(before))
			if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
				t.Errorf("%#v is encoded as %v, %v; the driver says %v", c.value, got, err, want)
			}
		}
	}
}

func BenchmarkArrays(b *testing.B) {
	list := make([]int64, 1000)
	for _, c := range []struct {
		name string
		m    func() *pgtype.Map
	}{
		{"driver", pgtype.NewMap},
		{"ours", func() *pgtype.Map { m := pgtype.NewMap(); encodeArrays(m); return m }},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := c.m()
			for b.Loop() {
				if _, err := m.Encode(pgtype.Int8ArrayOID, pgtype.BinaryFormatCode, list, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
