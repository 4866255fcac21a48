package pgjob

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"sluice"
)

// errTooLarge says that the rows are more than a result may hold.
var errTooLarge = errors.New("the rows are more than a result may hold; select fewer, or add a LIMIT")

// toJSON reads rows, as the server's texts, into an array of objects.
func toJSON(rows pgx.Rows) (json.RawMessage, error) {
	defer rows.Close()
	fields := rows.FieldDescriptions()
	text := []byte{'['}
	for rows.Next() {
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(text, '{')
		values := rows.RawValues()
		for i, f := range fields {
			if i > 0 {
				text = append(text, ',')
			}
			text = append(append(text, str(f.Name)...), ':')
			text = append(text, value(f.DataTypeOID, values[i])...)
		}
		text = append(text, '}')
		if len(text) > sluice.MaxResultBytes {
			return nil, errTooLarge
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return append(text, ']'), nil
}

// arrays are the types whose texts are arrays, with the type of what is in them.
var arrays = map[uint32]uint32{
	pgtype.BoolArrayOID: pgtype.BoolOID, pgtype.Int2ArrayOID: pgtype.Int2OID, pgtype.Int4ArrayOID: pgtype.Int4OID,
	pgtype.Int8ArrayOID: pgtype.Int8OID, pgtype.Float4ArrayOID: pgtype.Float4OID, pgtype.Float8ArrayOID: pgtype.Float8OID,
	pgtype.NumericArrayOID: pgtype.NumericOID, pgtype.TextArrayOID: pgtype.TextOID, pgtype.VarcharArrayOID: pgtype.TextOID,
	pgtype.UUIDArrayOID: pgtype.TextOID, pgtype.JSONArrayOID: pgtype.JSONOID, pgtype.JSONBArrayOID: pgtype.JSONOID,
	pgtype.TimestampArrayOID: pgtype.TimestampOID, pgtype.TimestamptzArrayOID: pgtype.TimestamptzOID,
	pgtype.DateArrayOID: pgtype.TextOID, pgtype.ByteaArrayOID: pgtype.ByteaOID, pgtype.NameArrayOID: pgtype.TextOID,
	pgtype.BPCharArrayOID: pgtype.TextOID,
}

// value writes one value as JSON. Numbers keep their digits, instants become RFC
// 3339, bytes Base64; NaN and infinities become null, and what JSON has no word
// for stays text.
func value(oid uint32, raw []byte) []byte {
	if raw == nil {
		return []byte("null")
	}
	text := string(raw)
	switch oid {
	case pgtype.BoolOID:
		if text == "t" {
			return []byte("true")
		}
		return []byte("false")
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID, pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID:
		if !json.Valid(raw) { // NaN, Infinity
			return []byte("null")
		}
		return raw
	case pgtype.JSONOID, pgtype.JSONBOID:
		var compact bytes.Buffer
		if json.Compact(&compact, raw) != nil {
			return str(text)
		}
		return compact.Bytes()
	case pgtype.ByteaOID:
		var decoded []byte
		if _, err := fmt.Sscanf(strings.TrimPrefix(text, `\x`), "%x", &decoded); err != nil && len(text) > 2 {
			return str(text)
		}
		return str(base64.StdEncoding.EncodeToString(decoded))
	case pgtype.TimestampOID, pgtype.TimestamptzOID:
		return str(instant(text))
	}
	if elem, ok := arrays[oid]; ok {
		if list, rest, ok := array(elem, text); ok && rest == "" {
			return list
		}
	}
	return str(text)
}

// instant writes a timestamp in the ISO style of the server as RFC 3339.
func instant(text string) string {
	text = strings.Replace(text, " ", "T", 1)
	if n := len(text); n > 19 && (text[n-3] == '+' || text[n-3] == '-') {
		text += ":00"
	}
	return strings.Replace(text, "+00:00", "Z", 1)
}

// array reads the text of an array up to its end.
func array(elem uint32, s string) (list []byte, rest string, ok bool) {
	if strings.HasPrefix(s, "[") { // bounds that are not the usual ones
		_, s, _ = strings.Cut(s, "=")
	}
	if !strings.HasPrefix(s, "{") {
		return nil, s, false
	}
	list, s = []byte{'['}, s[1:]
	for !strings.HasPrefix(s, "}") {
		var one []byte
		switch {
		case s == "":
			return nil, s, false
		case s[0] == ',':
			list, s = append(list, ','), s[1:]
			continue
		case s[0] == '{':
			if one, s, ok = array(elem, s); !ok {
				return nil, s, false
			}
		case s[0] == '"':
			var text strings.Builder
			at := 1
			for ; at < len(s) && s[at] != '"'; at++ {
				if s[at] == '\\' && at+1 < len(s) {
					at++
				}
				text.WriteByte(s[at])
			}
			one, s = value(elem, []byte(text.String())), s[min(at+1, len(s)):]
		default:
			end := strings.IndexAny(s, ",}")
			if end < 0 {
				return nil, s, false
			}
			if word := s[:end]; strings.EqualFold(word, "NULL") {
				one = []byte("null")
			} else {
				one = value(elem, []byte(word))
			}
			s = s[end:]
		}
		list = append(list, one...)
	}
	return append(list, ']'), s[1:], true
}

func str(s string) []byte {
	p, err := json.Marshal(strings.ToValidUTF8(s, "\ufffd"))
	if err != nil {
		panic(fmt.Sprintf("marshal a string: %v", err))
	}
	return p
}

func fromBase64(s string) []byte {
	p, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return []byte(s)
	}
	return p
}
