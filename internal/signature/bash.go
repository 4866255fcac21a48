package signature

import (
	"encoding/json"
	"strings"
)

// BashParams finds the arguments that bash code declares and returns their
// names by position: the first element is the name for $1. A position that no
// declaration names is "". A declaration is an assignment of a plain positional
// parameter, at the place of a command:
//
//	name="$1"   name=$1   name="${2}"   name="${3:-default}"   local name=$4
//
// also with - := = :? ? in place of :-, which give a default or complain. $10 is
// ${1} followed by 0, as in bash, and therefore no declaration. Code inside
// comments, quotes, here-documents, functions' bodies and substitutions is not
// looked at: there, the positional parameters may be others'. The first
// declaration of a position names it.
func BashParams(code string) []string {
	s := bashScanner{src: code, atCommand: true}
	s.scan()
	var names []string
	for _, p := range s.params {
		names = append(names, p.name)
	}
	return names
}

// parseBash returns the declared parameters. Two positions of one name are one
// argument, which the executor gives to both.
func parseBash(code string) Signature {
	s := bashScanner{src: code, atCommand: true}
	s.scan()
	var sig Signature
	seen := map[string]bool{}
	for i, p := range s.params {
		if p.name == "" || seen[p.name] {
			continue
		}
		seen[p.name] = true
		arg := Arg{Name: p.name, Type: Type{Kind: Str}, Position: i + 1}
		if p.hasDefault {
			arg.HasDefault, arg.Default = true, bashLiteral(p.value)
		}
		sig.Args = append(sig.Args, arg)
	}
	return sig
}

// bashParam is a positional parameter; without a name, nothing declares it.
type bashParam struct {
	name, value string
	hasDefault  bool
}

// bashLiteral returns the value of a word as JSON; null if bash would have to
// expand it.
func bashLiteral(word string) json.RawMessage {
	var b strings.Builder
	var quote byte
	for i := 0; i < len(word); i++ {
		switch c := word[i]; {
		case quote != '\'' && (c == '$' || c == '`'):
			return null
		case c == quote && quote != 0:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == '\\' && quote != '\'' && i+1 < len(word):
			i++
			if quote == '"' && strings.IndexByte("$`\"\\}", word[i]) < 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(word[i])
		default:
			b.WriteByte(c)
		}
	}
	return text(b.String())
}

// text returns a string as JSON.
func text(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil { // strings always have a form
		return null
	}
	return b
}

// bashScanner walks over the words of bash code without understanding more of
// it than where commands begin.
type bashScanner struct {
	src       string
	at        int
	depth     int  // of braces that open a function's body
	atCommand bool // the next word may be an assignment
	heredocs  []heredoc
	params    []bashParam
}

type heredoc struct {
	end  string
	tabs bool // <<-: leading tabs do not count
}

func (s *bashScanner) scan() {
	for s.at < len(s.src) {
		c := s.src[s.at]
		switch {
		case c == '\n':
			s.at++
			s.skipHeredocs()
			s.atCommand = true
		case c == ' ' || c == '\t' || c == '\r':
			s.at++
		case strings.HasPrefix(s.src[s.at:], "\\\n"): // the line goes on
			s.at += len("\\\n")
		case c == ';' || c == '&' || c == '|':
			s.at++
			s.atCommand = true
		case c == '#':
			s.skipLine()
		case c == '(':
			s.skipParen()
			s.atCommand = false
		case c == '<' || c == '>':
			s.redirection()
		case c == ')': // ends a pattern of case
			s.at++
			s.atCommand = true
		default:
			s.word()
		}
	}
}

// word reads one word and looks whether it declares something.
func (s *bashScanner) word() {
	start := s.at
	s.skipWord()
	w := s.src[start:s.at]
	switch w {
	case "{":
		if s.depth > 0 {
			s.depth++
		}
		s.atCommand = true
		return
	case "}":
		s.depth = max(s.depth-1, 0)
		return
	case "if", "then", "else", "elif", "do", "while", "until", "!", "time":
		s.atCommand = true
		return
	case "local", "declare", "typeset", "export", "readonly":
		return // assignments may follow, and so may options
	case "function":
		s.skipSpace()
		s.skipWord()
		s.functionBody()
		return
	}
	if s.atCommand && strings.HasPrefix(s.src[s.at:], "()") {
		s.at += len("()")
		s.functionBody()
		return
	}
	if !s.atCommand || strings.HasPrefix(w, "-") {
		return
	}
	name, value, ok := strings.Cut(w, "=")
	if !ok || !isBashName(name) {
		s.atCommand = false // a command: what follows are its arguments
		return
	}
	n, word, hasDefault := positional(value)
	if n == 0 || s.depth > 0 {
		return
	}
	for len(s.params) < n {
		s.params = append(s.params, bashParam{})
	}
	if p := &s.params[n-1]; p.name == "" {
		*p = bashParam{name, word, hasDefault}
	}
}

// functionBody skips to the brace that opens a function's body and enters it.
func (s *bashScanner) functionBody() {
	s.skipSpace()
	if strings.HasPrefix(s.src[s.at:], "()") {
		s.at += len("()")
		s.skipSpace()
	}
	switch {
	case strings.HasPrefix(s.src[s.at:], "{"):
		s.at++
		s.depth++
	case strings.HasPrefix(s.src[s.at:], "("):
		s.skipParen()
	}
	s.atCommand = true
}

func (s *bashScanner) skipSpace() {
	for s.at < len(s.src) && strings.IndexByte(" \t\r\n", s.src[s.at]) >= 0 {
		s.at++
	}
}

func (s *bashScanner) skipLine() {
	for s.at < len(s.src) && s.src[s.at] != '\n' {
		s.at++
	}
}

// skipWord moves to the end of the word that begins here. It always moves.
func (s *bashScanner) skipWord() {
	for first := true; s.at < len(s.src); first = false {
		switch c := s.src[s.at]; {
		case strings.IndexByte(" \t\r\n;&|<>)", c) >= 0:
			if first {
				s.at++
			}
			return
		case c == '(':
			// A function's parentheses end its name; others belong to the word: a=(…).
			if strings.HasPrefix(s.src[s.at:], "()") {
				return
			}
			s.skipParen()
		default:
			s.skipPart()
		}
	}
}

// skipPart moves over one character, quoted string or substitution.
func (s *bashScanner) skipPart() {
	rest := s.src[s.at:]
	switch {
	case rest[0] == '\\':
		s.at = min(s.at+2, len(s.src))
	case rest[0] == '\'':
		s.skipQuoted(1, '\'', false)
	case strings.HasPrefix(rest, "$'"):
		s.skipQuoted(2, '\'', true)
	case rest[0] == '"':
		s.skipDouble()
	case rest[0] == '`':
		s.skipQuoted(1, '`', true)
	case strings.HasPrefix(rest, "${"):
		s.skipBrace()
	case strings.HasPrefix(rest, "$("):
		s.at++
		s.skipParen()
	default:
		s.at++
	}
}

// skipQuoted moves over a string that begins with open bytes and ends at end.
func (s *bashScanner) skipQuoted(open int, end byte, escapes bool) {
	for s.at += open; s.at < len(s.src); s.at++ {
		switch c := s.src[s.at]; {
		case c == end:
			s.at++
			return
		case c == '\\' && escapes:
			s.at++
		}
	}
	s.at = len(s.src)
}

func (s *bashScanner) skipDouble() {
	for s.at++; s.at < len(s.src); {
		if c := s.src[s.at]; c == '"' {
			s.at++
			return
		} else if c == '\'' { // not special inside double quotes
			s.at++
		} else {
			s.skipPart()
		}
	}
}

func (s *bashScanner) skipBrace() {
	for s.at += len("${"); s.at < len(s.src); {
		if s.src[s.at] == '}' {
			s.at++
			return
		}
		s.skipPart()
	}
}

// skipParen moves over what stands between parentheses, which may be nested.
func (s *bashScanner) skipParen() {
	for depth := 0; s.at < len(s.src); {
		switch s.src[s.at] {
		case '(':
			depth++
			s.at++
		case ')':
			s.at++
			if depth--; depth == 0 {
				return
			}
		case '#':
			if p := s.src[s.at-1]; p == ' ' || p == '\t' || p == '\n' {
				s.skipLine()
			} else {
				s.at++
			}
		default:
			s.skipPart()
		}
	}
}

// redirection moves over an operator such as > or <<, and notes a here-document.
func (s *bashScanner) redirection() {
	rest := s.src[s.at:]
	switch {
	case strings.HasPrefix(rest, "<<<"):
		s.at += len("<<<")
	case strings.HasPrefix(rest, "<<"):
		s.at += len("<<")
		h := heredoc{}
		if strings.HasPrefix(s.src[s.at:], "-") {
			h.tabs = true
			s.at++
		}
		for s.at < len(s.src) && (s.src[s.at] == ' ' || s.src[s.at] == '\t') {
			s.at++
		}
		start := s.at
		s.skipWord()
		h.end = strings.NewReplacer(`'`, "", `"`, "", `\`, "").Replace(s.src[start:s.at])
		s.heredocs = append(s.heredocs, h)
	case strings.HasPrefix(rest, "<(") || strings.HasPrefix(rest, ">("):
		s.at++
		s.skipParen()
	default:
		s.at++
		if s.at < len(s.src) && strings.IndexByte("<>&|", s.src[s.at]) >= 0 {
			s.at++
		}
		atCommand := s.atCommand
		s.skipTarget()
		s.atCommand = atCommand
	}
}

// skipTarget moves over the word that a redirection names.
func (s *bashScanner) skipTarget() {
	for s.at < len(s.src) && (s.src[s.at] == ' ' || s.src[s.at] == '\t') {
		s.at++
	}
	if s.at < len(s.src) && s.src[s.at] != '\n' && s.src[s.at] != '<' && s.src[s.at] != '>' {
		s.skipWord()
	}
}

// skipHeredocs moves over the bodies that begin on this line.
func (s *bashScanner) skipHeredocs() {
	for _, h := range s.heredocs {
		for s.at < len(s.src) {
			start := s.at
			s.skipLine()
			line := s.src[start:s.at]
			s.at = min(s.at+1, len(s.src))
			if h.tabs {
				line = strings.TrimLeft(line, "\t")
			}
			if line == h.end {
				break
			}
		}
	}
	s.heredocs = nil
}

// positional returns n if the word is exactly $n or ${n…word}, quoted or not;
// otherwise 0. In ${n-word} and ${n:-word} the word is a default, taken as it
// stands; quotes around the whole belong to it, since a default inside of
// double quotes is read by their rules.
func positional(w string) (n int, word string, hasDefault bool) {
	quoted := len(w) >= 2 && w[0] == '"' && w[len(w)-1] == '"'
	if quoted {
		w = w[1 : len(w)-1]
	}
	if len(w) == 2 && w[0] == '$' {
		return number(w[1:]), "", false
	}
	if !strings.HasPrefix(w, "${") || !strings.HasSuffix(w, "}") {
		return 0, "", false
	}
	w = w[2 : len(w)-1]
	end := 0
	for end < len(w) && w[end] >= '0' && w[end] <= '9' {
		end++
	}
	n, rest := number(w[:end]), strings.TrimPrefix(w[end:], ":")
	if end == len(w) {
		return n, "", false
	}
	if rest == "" || strings.IndexByte("-=?", rest[0]) < 0 {
		return 0, "", false
	}
	if rest[0] != '-' {
		return n, "", false
	}
	word = rest[1:]
	if quoted && !strings.Contains(word, `"`) {
		word = `"` + word + `"` // so that its single quotes are text
	}
	return n, word, true
}

// number reads a position of 1 … MaxArgs; anything else is 0.
func number(digits string) int {
	if len(digits) == 0 || len(digits) > 4 {
		return 0
	}
	n := 0
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	if n > MaxArgs {
		return 0
	}
	return n
}

func isBashName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
