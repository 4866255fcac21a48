package postgres

import (
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"
)

// Statements for many rows take their columns as arrays, which are most of what
// is sent. The driver encodes each element by itself, through an interface; these
// codecs write an array in one go.

// encodeArrays has a connection's arrays of numbers, texts and bytes encoded here.
func encodeArrays(m *pgtype.Map) {
	for _, oid := range []uint32{pgtype.Int8ArrayOID, pgtype.TextArrayOID, pgtype.ByteaArrayOID} {
		t, known := m.TypeForOID(oid)
		if !known {
			continue
		}
		if codec, is := t.Codec.(*pgtype.ArrayCodec); is {
			m.RegisterType(&pgtype.Type{Name: t.Name, OID: oid, Codec: arrayCodec{codec}})
		}
	}
}

// arrayCodec encodes the kinds of lists that are sent much; the driver's own does
// the rest.
type arrayCodec struct{ *pgtype.ArrayCodec }

// PlanEncode implements [pgtype.Codec].
func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode {
		switch value.(type) {
		case []int64:
			if oid == pgtype.Int8ArrayOID {
				return numberArray{}
			}
		case []string:
			if oid == pgtype.TextArrayOID {
				return textArray{}
			}
		case [][]byte:
			if oid == pgtype.ByteaArrayOID {
				return bytesArray{}
			}
		}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

type (
	numberArray struct{}
	textArray   struct{}
	bytesArray  struct{}
)

// Encode implements [pgtype.EncodePlan].
func (numberArray) Encode(value any, buf []byte) ([]byte, error) {
	list, _ := value.([]int64)
	if list == nil {
		return nil, nil
	}
	buf = arrayHead(slices.Grow(buf, headBytes+12*len(list)), pgtype.Int8OID, len(list), false)
	for _, n := range list {
		buf = binary.BigEndian.AppendUint32(buf, 8)
		buf = binary.BigEndian.AppendUint64(buf, uint64(n))
	}
	return buf, nil
}

// Encode implements [pgtype.EncodePlan].
func (textArray) Encode(value any, buf []byte) ([]byte, error) {
	list, _ := value.([]string)
	if list == nil {
		return nil, nil
	}
	size := headBytes
	for _, s := range list {
		size += 4 + len(s)
	}
	buf = arrayHead(slices.Grow(buf, size), pgtype.TextOID, len(list), false)
	for _, s := range list {
		buf = append(binary.BigEndian.AppendUint32(buf, uint32(len(s))), s...)
	}
	return buf, nil
}

// Encode implements [pgtype.EncodePlan]; nil within a list is NULL.
func (bytesArray) Encode(value any, buf []byte) ([]byte, error) {
	list, _ := value.([][]byte)
	if list == nil {
		return nil, nil
	}
	size, nulls := headBytes, false
	for _, b := range list {
		size += 4 + len(b)
		nulls = nulls || b == nil
	}
	buf = arrayHead(slices.Grow(buf, size), pgtype.ByteaOID, len(list), nulls)
	for _, b := range list {
		if b == nil {
			buf = binary.BigEndian.AppendUint32(buf, null)
			continue
		}
		buf = append(binary.BigEndian.AppendUint32(buf, uint32(len(b))), b...)
	}
	return buf, nil
}

const (
	headBytes = 20
	null      = 1<<32 - 1 // the length that says so
)

// arrayHead appends what comes before an array's elements.
func arrayHead(buf []byte, element uint32, n int, nulls bool) []byte {
	flags := uint32(0)
	if nulls {
		flags = 1
	}
	for _, v := range []uint32{1, flags, element, uint32(n), 1} { // one dimension, which begins at 1
		buf = binary.BigEndian.AppendUint32(buf, v)
	}
	return buf
}
