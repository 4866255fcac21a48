package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth is how deep objects and lists may stand in each other: deeper than
// anything meant, shallower than what ends the parsers that scripts use.
const maxDepth = 200

// checkJSON reports what is wrong with a JSON text from a stranger: that it is
// none, is no UTF-8, nests too deep or names a field twice. The last is
// refused because readers differ in which of the two they take.
func checkJSON(b []byte) error {
	if n := invalidUTF8(b); n >= 0 {
		return fmt.Errorf("it is no UTF-8 from byte %d on", n)
	}
	if err := checkDepth(b); err != nil {
		return err
	}
	var whole json.RawMessage
	if err := json.Unmarshal(b, &whole); err != nil {
		return errors.New(jsonProblem(err))
	}
	return checkNames(b)
}

// invalidUTF8 returns where a text ceases to be UTF-8, or -1.
func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	n := 0
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if r == utf8.RuneError && size <= 1 {
			return n
		}
		n += size
	}
	return -1
}

func checkDepth(b []byte) error {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
		case '{', '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("it nests deeper than %d levels", maxDepth)
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}

// stringEnd returns the index of the quote that ends the string that begins at
// i, or the last index if none does.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(b) - 1
}

// names are the field names of one object so far. Most objects are small.
type names struct {
	isObject bool
	few      [][]byte
	many     map[string]bool
}

// add reports whether the name is new.
func (n *names) add(name []byte) bool {
	const small = 16
	if n.many != nil {
		if n.many[string(name)] {
			return false
		}
		n.many[string(name)] = true
		return true
	}
	for _, other := range n.few {
		if bytes.Equal(other, name) {
			return false
		}
	}
	if n.few = append(n.few, name); len(n.few) > small {
		n.many = make(map[string]bool, 4*small)
		for _, other := range n.few {
			n.many[string(other)] = true
		}
	}
	return true
}

// checkNames looks for a field that is named twice in one object of valid JSON.
func checkNames(b []byte) error {
	var open []names
	key := false // whether the next string names a field
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			key = b[i] == '{'
			open = append(open, names{isObject: key})
		case '}', ']':
			open, key = open[:len(open)-1], false
		case ',':
			key = open[len(open)-1].isObject
		case '"':
			end := stringEnd(b, i)
			if key {
				name := plainName(b[i : end+1])
				if !open[len(open)-1].add(name) {
					return fmt.Errorf("the field %.60q stands there twice", name)
				}
				key = false
			}
			i = end
		}
	}
	return nil
}

// plainName returns a quoted name without its escapes.
func plainName(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return quoted
	}
	return []byte(s)
}
