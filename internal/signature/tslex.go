package signature

import "strings"

// tsLexer cuts TypeScript and JavaScript into tokens. Whether a slash divides
// or begins a regular expression is told from the token before it.
type tsLexer struct {
	src     string
	at      int
	first   bool // the next token begins a line
	prev    token
	regex   bool // a slash here begins a regular expression
	nesting nesting
	err     error
	comment func(text string, at int)
}

func newTSLexer(src string) *tsLexer {
	return &tsLexer{src: src, first: true, regex: true}
}

func (l *tsLexer) failure() error { return l.err }

func (l *tsLexer) fail(at int, message string) token {
	if l.err == nil {
		l.err = errorAt(l.src, at, "%s", message)
	}
	l.at = len(l.src)
	return token{at: at}
}

// depth is the number of brackets that are open.
func (l *tsLexer) depth() int { return len(l.nesting.open) }

func (l *tsLexer) next() token {
	if l.err != nil {
		return token{at: len(l.src)}
	}
	if !l.skipSpace() {
		return l.fail(l.at, "this comment is never closed")
	}
	start := l.at
	if start >= len(l.src) {
		if n := len(l.nesting.open); n > 0 {
			return l.fail(l.nesting.open[n-1].at, "this bracket is never closed")
		}
		return token{at: start}
	}
	t := token{at: start, first: l.first}
	l.first = false
	message := ""
	switch c := l.src[start]; {
	case c == '"' || c == '\'':
		t.kind = tokString
		message = l.skipString(c)
	case c == '`':
		t.kind = tokTemplate
		l.at++
		message = l.skipTemplate()
	case isDigit(c) || c == '.' && start+1 < len(l.src) && isDigit(l.src[start+1]):
		t.kind = tokNumber
		l.skipNumber()
	case isTSName(c):
		t.kind = tokName
		for l.at < len(l.src) && (isTSName(l.src[l.at]) || isDigit(l.src[l.at])) {
			l.at++
		}
	case c == '/' && l.regex:
		t.kind = tokRegex
		message = l.skipRegex()
	default:
		t.kind = tokOp
		message = l.operator(c, &t)
	}
	if message != "" {
		return l.fail(start, message)
	}
	t.text = l.src[start:l.at]
	if t.kind != tokOp || strings.IndexByte("([{)]}", t.text[0]) < 0 {
		l.regex = regexAfter(l.prev, t)
	}
	l.prev = t
	return t
}

func isTSName(c byte) bool {
	return c == '$' || c == '#' || c == '@' || isNameByte(c) && !isDigit(c)
}

// regexAfter tells whether a slash behind this token begins a regular
// expression.
func regexAfter(before, t token) bool {
	switch t.kind {
	case tokOp:
		return t.text != "++" && t.text != "--"
	case tokTemplate:
		return strings.HasSuffix(t.text, "${")
	case tokName:
		if before.is(".") {
			return false
		}
		switch t.text {
		case "return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "do", "else", "instanceof", "yield", "await", "default", "extends":
			return true
		}
	case tokEOF, tokNumber, tokString, tokRegex:
	}
	return false
}

// skipSpace moves to the next token; it returns false in an endless comment.
func (l *tsLexer) skipSpace() bool {
	if l.at == 0 && strings.HasPrefix(l.src, "#!") {
		l.skipLine()
	}
	for l.at < len(l.src) {
		rest := l.src[l.at:]
		switch c := rest[0]; {
		case c == '\n' || c == '\r':
			l.first = true
			l.at++
		case c == ' ' || c == '\t' || c == '\f' || c == '\v':
			l.at++
		case strings.HasPrefix(rest, "\ufeff"):
			l.at += len("\ufeff")
		case strings.HasPrefix(rest, "\u00a0"):
			l.at += len("\u00a0")
		case strings.HasPrefix(rest, "//"):
			start := l.at
			l.skipLine()
			if l.comment != nil {
				l.comment(l.src[start+2:l.at], start)
			}
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				return false
			}
			l.first = l.first || strings.Contains(rest[:end+2], "\n")
			l.at += end + 4
		default:
			return true
		}
	}
	return true
}

func (l *tsLexer) skipLine() {
	for l.at < len(l.src) && l.src[l.at] != '\n' && l.src[l.at] != '\r' {
		l.at++
	}
}

func (l *tsLexer) skipNumber() {
	for l.at < len(l.src) {
		c := l.src[l.at]
		exponent := (c == '+' || c == '-') && l.src[l.at-1]|0x20 == 'e'
		if !isNameByte(c) && c != '.' && !exponent {
			return
		}
		l.at++
	}
}

func (l *tsLexer) skipString(quote byte) string {
	for l.at++; l.at < len(l.src); l.at++ {
		switch c := l.src[l.at]; c {
		case quote:
			l.at++
			return ""
		case '\\':
			l.at++
		case '\n':
			return "this string is never closed"
		}
	}
	l.at = len(l.src)
	return "this string is never closed"
}

// skipTemplate moves to the end of a template, or over ${ and into it.
func (l *tsLexer) skipTemplate() string {
	for ; l.at < len(l.src); l.at++ {
		switch c := l.src[l.at]; {
		case c == '`':
			l.at++
			return ""
		case c == '\\':
			l.at++
		case strings.HasPrefix(l.src[l.at:], "${"):
			l.at += 2
			return l.nesting.push(bracket{char: '{', at: l.at - 1, note: templateBracket})
		}
	}
	l.at = len(l.src)
	return "this template is never closed"
}

func (l *tsLexer) skipRegex() string {
	class := false
	for l.at++; l.at < len(l.src); l.at++ {
		switch c := l.src[l.at]; {
		case c == '/' && !class:
			l.at++
			for l.at < len(l.src) && isTSName(l.src[l.at]) {
				l.at++
			}
			return ""
		case c == '\\':
			l.at++
		case c == '[':
			class = true
		case c == ']':
			class = false
		case c == '\n':
			return "this regular expression is never closed"
		}
	}
	l.at = len(l.src)
	return "this regular expression is never closed"
}

// operator moves over an operator. It returns what is wrong, or "".
func (l *tsLexer) operator(c byte, t *token) string {
	switch c {
	case '(', '[', '{':
		l.at++
		l.regex = true
		return l.nesting.push(bracket{char: c, at: l.at - 1, note: l.noteOf(c)})
	case ')', ']', '}':
		l.at++
		open, message := l.nesting.pop(c)
		if message == "" && open.note == templateBracket {
			t.kind = tokTemplate
			return l.skipTemplate()
		}
		l.regex = open.note == afterCondition || open.note == blockBracket
		return message
	}
	// > stands alone, since it also closes type arguments.
	for _, op := range []string{"...", "=>", "===", "!==", "==", "!=", "++", "--", "&&", "||", "??", "?."} {
		if strings.HasPrefix(l.src[l.at:], op) {
			l.at += len(op)
			return ""
		}
	}
	l.at++
	return ""
}

// noteOf tells what an opening bracket is, from the token before it.
func (l *tsLexer) noteOf(c byte) bracketNote {
	p := l.prev
	switch {
	case c == '(' && (p.is("if") || p.is("while") || p.is("for") || p.is("with")):
		return afterCondition
	case c != '{':
	case p.kind == tokEOF, p.is(")"), p.is("=>"), p.is(";"), p.is("{"), p.is("}"), p.kind == tokName && !p.is("return") && !p.is("default") && !p.is("in") && !p.is("of"):
		return blockBracket
	}
	return plainBracket
}
