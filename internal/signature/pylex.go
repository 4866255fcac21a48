package signature

import "strings"

// pyLexer cuts Python into tokens.
type pyLexer struct {
	src     string
	at      int
	first   bool // the next token begins a logical line
	nesting nesting
	err     error
	comment func(text string, at int) // hears of comments, if set
}

func newPyLexer(src string) *pyLexer {
	return &pyLexer{src: src, first: true}
}

func (l *pyLexer) failure() error { return l.err }

func (l *pyLexer) fail(at int, message string) token {
	if l.err == nil {
		l.err = errorAt(l.src, at, "%s", message)
	}
	l.at = len(l.src)
	return token{at: at}
}

func (l *pyLexer) next() token {
	if l.err != nil {
		return token{at: len(l.src)}
	}
	l.skipSpace()
	start := l.at
	if start >= len(l.src) {
		if n := len(l.nesting.open); n > 0 {
			return l.fail(l.nesting.open[n-1].at, "this bracket is never closed")
		}
		return token{at: start}
	}
	t := token{at: start, first: l.first}
	l.first = false
	c := l.src[start]
	switch {
	case c == '"' || c == '\'':
		t.kind = tokString
		if !l.skipString("", 0) {
			return l.fail(start, "this string is never closed")
		}
	case isDigit(c) || c == '.' && start+1 < len(l.src) && isDigit(l.src[start+1]):
		t.kind = tokNumber
		l.skipNumber()
	case isNameByte(c):
		t.kind = tokName
		for l.at < len(l.src) && isNameByte(l.src[l.at]) {
			l.at++
		}
		if prefix := l.src[start:l.at]; l.at < len(l.src) && strings.IndexByte(`"'`, l.src[l.at]) >= 0 && isStringPrefix(prefix) {
			t.kind = tokString
			if !l.skipString(prefix, 0) {
				return l.fail(start, "this string is never closed")
			}
		}
	default:
		t.kind = tokOp
		if message := l.operator(c); message != "" {
			return l.fail(start, message)
		}
	}
	t.text = l.src[start:l.at]
	return t
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isStringPrefix(s string) bool {
	return len(s) <= 2 && strings.Trim(strings.ToLower(s), "rbuft") == ""
}

// skipSpace moves to the next token, over comments and line ends.
func (l *pyLexer) skipSpace() {
	if l.at == 0 {
		l.at += len(l.src) - len(strings.TrimPrefix(l.src, "\ufeff"))
	}
	for l.at < len(l.src) {
		switch c := l.src[l.at]; c {
		case ' ', '\t', '\f':
			l.at++
		case '\n', '\r':
			l.at++
			l.first = l.first || len(l.nesting.open) == 0
		case '\\':
			rest := strings.TrimPrefix(l.src[l.at+1:], "\r")
			if !strings.HasPrefix(rest, "\n") {
				return
			}
			l.at = len(l.src) - len(rest) + 1
		case '#':
			start := l.at
			for l.at < len(l.src) && l.src[l.at] != '\n' {
				l.at++
			}
			if l.comment != nil {
				l.comment(strings.TrimRight(l.src[start+1:l.at], "\r"), start)
			}
		default:
			return
		}
	}
}

func (l *pyLexer) skipNumber() {
	start := l.at
	for l.at < len(l.src) {
		c := l.src[l.at]
		exponent := (c == '+' || c == '-') && l.src[l.at-1]|0x20 == 'e' && l.src[start+1]|0x20 != 'x'
		if !isNameByte(c) && c != '.' && !exponent {
			return
		}
		l.at++
	}
}

// operator moves over an operator. It returns what is wrong, or "".
func (l *pyLexer) operator(c byte) string {
	switch c {
	case '(', '[', '{':
		l.at++
		return l.nesting.push(bracket{char: c, at: l.at - 1})
	case ')', ']', '}':
		l.at++
		_, message := l.nesting.pop(c)
		return message
	}
	for _, op := range []string{"...", "**", "->", "==", "!=", "<=", ">=", ":=", "//"} {
		if strings.HasPrefix(l.src[l.at:], op) {
			l.at += len(op)
			return ""
		}
	}
	l.at++
	return ""
}

// skipString moves over the string whose quote is here.
func (l *pyLexer) skipString(prefix string, depth int) bool {
	quote := l.src[l.at : l.at+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(l.src[l.at:], triple) {
		quote = triple
	}
	l.at += len(quote)
	format := strings.ContainsAny(prefix, "fFtT")
	for l.at < len(l.src) {
		rest := l.src[l.at:]
		switch c := rest[0]; {
		case strings.HasPrefix(rest, quote):
			l.at += len(quote)
			return true
		case c == '\\':
			l.at = min(l.at+2, len(l.src))
			if format && strings.HasPrefix(rest, `\{`) {
				l.at--
			} else if format && strings.HasPrefix(rest, `\N{`) && !strings.ContainsAny(prefix, "rR") {
				l.at++ // the brace belongs to a character's name
			}
		case c == '\n' && len(quote) == 1:
			return false
		case c == '{' && format && !strings.HasPrefix(rest, "{{"):
			l.at++
			if !l.skipField(quote, depth+1) {
				return false
			}
		case c == '{' && format:
			l.at += 2
		default:
			l.at++
		}
	}
	return false
}

// skipField moves over an expression in an f-string, up to its closing brace.
// Strings in it may use the quotes of the string around it.
func (l *pyLexer) skipField(quote string, depth int) bool {
	if depth > maxDepth {
		return false
	}
	for nested := 0; l.at < len(l.src); {
		switch c := l.src[l.at]; {
		case c == '"' || c == '\'':
			prefix := l.at
			for prefix > 0 && l.at-prefix < 2 && isNameByte(l.src[prefix-1]) {
				prefix--
			}
			if !l.skipString(l.src[prefix:l.at], depth+1) {
				return false
			}
		case c == '}' && nested == 0:
			l.at++
			return true
		case c == ':' && nested == 0:
			l.at++
			return l.skipSpec(quote, depth)
		case strings.IndexByte("([{", c) >= 0:
			nested++
			l.at++
		case strings.IndexByte(")]}", c) >= 0:
			nested--
			l.at++
		default:
			l.at++
		}
	}
	return false
}

// skipSpec moves over the format of a field, which may hold fields itself.
func (l *pyLexer) skipSpec(quote string, depth int) bool {
	for l.at < len(l.src) {
		switch rest := l.src[l.at:]; {
		case rest[0] == '}':
			l.at++
			return true
		case rest[0] == '{':
			l.at++
			if !l.skipField(quote, depth+1) {
				return false
			}
		case len(quote) == 1 && (rest[0] == '\n' || rest[0] == quote[0]):
			return false
		default:
			l.at++
		}
	}
	return false
}
