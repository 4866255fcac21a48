package signature

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDigits bounds a number that is given as a default.
const maxDigits = 400

// pyLiteral returns the literal that the tokens are as JSON; null if they are
// anything else.
func pyLiteral(c *cursor) json.RawMessage {
	var b bytes.Buffer
	if !pyValue(&b, c, 0) || !c.done() {
		return null
	}
	return b.Bytes()
}

func pyValue(b *bytes.Buffer, c *cursor, depth int) bool {
	if depth > maxDepth {
		return false
	}
	t := c.peek(0)
	switch {
	case t.is("None"), t.is("True"), t.is("False"):
		c.next()
		b.WriteString(map[string]string{"None": "null", "True": "true", "False": "false"}[t.text])
		return true
	case t.kind == tokNumber:
		c.next()
		return pyNumber(b, t.text)
	case t.is("-"), t.is("+"):
		c.next()
		if t.is("-") {
			b.WriteByte('-')
		}
		if n := c.next(); n.kind == tokNumber {
			return pyNumber(b, n.text)
		}
		return false
	case t.kind == tokString:
		var s strings.Builder
		for c.peek(0).kind == tokString {
			part, ok := pyString(c.next().text)
			if !ok {
				return false
			}
			s.WriteString(part)
		}
		b.Write(text(s.String()))
		return true
	case t.is("["), t.is("("):
		return pyList(b, c.inside(), t.text, depth+1)
	case t.is("{"):
		return pyDict(b, c.inside(), depth+1)
	}
	return false
}

// pyList writes the elements of a list or tuple. (x) is x, and (x,) a tuple.
func pyList(b *bytes.Buffer, in *cursor, open string, depth int) bool {
	var list bytes.Buffer
	commas, elements := 0, 0
	for ; !in.done(); elements++ {
		if elements > 0 {
			list.WriteByte(',')
		}
		if !pyValue(&list, in, depth) {
			return false
		}
		if in.accept(",") {
			commas++
		} else if !in.done() {
			return false
		}
	}
	if open == "(" && elements == 1 && commas == 0 {
		b.Write(list.Bytes())
		return true
	}
	b.WriteByte('[')
	b.Write(list.Bytes())
	b.WriteByte(']')
	return true
}

// pyDict writes a dict whose keys are strings.
func pyDict(b *bytes.Buffer, in *cursor, depth int) bool {
	seen := map[string]bool{}
	b.WriteByte('{')
	for n := 0; !in.done(); n++ {
		var key bytes.Buffer
		if in.peek(0).kind != tokString || !pyValue(&key, in, depth) || !in.accept(":") || seen[key.String()] {
			return false
		}
		seen[key.String()] = true
		if n > 0 {
			b.WriteByte(',')
		}
		b.Write(key.Bytes())
		b.WriteByte(':')
		if !pyValue(b, in, depth) || !in.accept(",") && !in.done() {
			return false
		}
	}
	b.WriteByte('}')
	return true
}

// pyNumber writes a number; complex ones are none.
func pyNumber(b *bytes.Buffer, digits string) bool {
	return writeNumber(b, strings.ReplaceAll(digits, "_", ""))
}

// writeNumber writes a number of Python or JavaScript as JSON does.
func writeNumber(b *bytes.Buffer, digits string) bool {
	if len(digits) > maxDigits {
		return false
	}
	if len(digits) > 2 && digits[0] == '0' && strings.IndexByte("xXoObB", digits[1]) >= 0 {
		n, ok := new(big.Int).SetString(digits, 0)
		if !ok {
			return false
		}
		b.WriteString(n.String())
		return true
	}
	mantissa, exponent := digits, ""
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		mantissa, exponent = digits[:i], digits[i:]
	}
	whole, fraction, point := strings.Cut(mantissa, ".")
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if point {
		if fraction == "" {
			fraction = "0"
		}
		whole += "." + fraction
	}
	if !json.Valid([]byte(whole + exponent)) {
		return false
	}
	if _, err := strconv.ParseFloat(whole+exponent, 64); err != nil {
		return false
	}
	b.WriteString(whole + exponent)
	return true
}

// pyString returns what a string token stands for. Bytes and strings that are
// put together at run time stand for nothing that is known.
func pyString(literal string) (string, bool) {
	i := strings.IndexAny(literal, `"'`)
	if i < 0 || strings.ContainsAny(literal[:i], "bBfFtT") {
		return "", false
	}
	raw := strings.ContainsAny(literal[:i], "rR")
	quote := literal[i : i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(literal[i:], triple) && len(literal) >= i+6 {
		quote = triple
	}
	body := strings.TrimSuffix(literal[i+len(quote):], quote)
	if raw || strings.IndexByte(body, '\\') < 0 {
		return body, true
	}
	var b strings.Builder
	for len(body) > 0 {
		plain := strings.IndexByte(body, '\\')
		if plain < 0 {
			plain = len(body)
		}
		b.WriteString(body[:plain])
		if body = body[plain:]; body == "" {
			break
		}
		n, ok := pyEscape(&b, body)
		if !ok {
			return "", false
		}
		body = body[n:]
	}
	return b.String(), true
}

// pyEscape writes what the escape at the beginning of s stands for and returns
// its length.
func pyEscape(b *strings.Builder, s string) (int, bool) {
	if len(s) < 2 {
		return 0, false
	}
	if i := strings.IndexByte(`\'"abfnrtv`, s[1]); i >= 0 {
		b.WriteByte("\\'\"\a\b\f\n\r\t\v"[i])
		return 2, true
	}
	switch c := s[1]; {
	case c == '\n':
		return 2, true
	case c == 'x':
		return hexEscape(b, s, 2)
	case c == 'u':
		return hexEscape(b, s, 4)
	case c == 'U':
		return hexEscape(b, s, 8)
	case c == 'N':
		return 0, false
	case c >= '0' && c <= '7':
		n, length := rune(0), 1
		for length < len(s) && length < 4 && s[length] >= '0' && s[length] <= '7' {
			n = n*8 + rune(s[length]-'0')
			length++
		}
		b.WriteRune(n)
		return length, true
	}
	b.WriteByte('\\') // no escape: the backslash stands for itself
	return 1, true
}

// hexEscape writes the character of an escape such as \xe9 with so many digits.
func hexEscape(b *strings.Builder, s string, digits int) (int, bool) {
	if len(s) < 2+digits {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:2+digits], 16, 32)
	if err != nil || n > utf8.MaxRune {
		return 0, false
	}
	b.WriteRune(rune(n))
	return 2 + digits, true
}
