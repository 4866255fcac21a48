package pgjob

import "strings"

// statement is one statement of a script.
type statement struct {
	text   string
	start  int // where it begins in the script
	params int // the highest $n in it
}

// split cuts a script at the semicolons outside of strings and comments. What
// holds nothing but comments is no statement.
func split(code string) []statement {
	var (
		list  []statement
		start int
		some  bool
		most  int
	)
	end := func(at int) {
		if some {
			lead := len(code[start:at]) - len(strings.TrimLeft(code[start:at], " \t\r\n"))
			list = append(list, statement{code[start+lead : at], start + lead, most})
		}
		start, some, most = at+1, false, 0
	}
	for at := 0; at < len(code); {
		rest := code[at:]
		switch c := rest[0]; {
		case strings.HasPrefix(rest, "--"):
			at += through(rest, "\n", 2)
		case strings.HasPrefix(rest, "/*"):
			at += comment(rest)
		case c == '\'':
			some = true
			at += quoted(rest, at > 0 && (code[at-1]|0x20) == 'e' && (at < 2 || !isWord(code[at-2])))
		case c == '"':
			some = true
			at += through(rest, `"`, 1)
		case c == '$':
			some = true
			n, size := dollar(rest, at > 0 && isWord(code[at-1]))
			most = max(most, n)
			at += size
		case c == ';':
			end(at)
			at++
		default:
			some = some || !strings.ContainsRune(" \t\r\n", rune(c))
			at++
		}
	}
	end(len(code))
	return list
}

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

// through returns the length up to and with an end that is looked for from an
// offset on.
func through(s, end string, from int) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

// comment returns the length of a comment; they nest.
func comment(s string) int {
	depth := 0
	for at := 0; at < len(s); {
		switch {
		case strings.HasPrefix(s[at:], "/*"):
			depth++
			at += 2
		case strings.HasPrefix(s[at:], "*/"):
			at += 2
			if depth--; depth == 0 {
				return at
			}
		default:
			at++
		}
	}
	return len(s)
}

// quoted returns the length of a string; a doubled quote begins another.
func quoted(s string, escapes bool) int {
	for at := 1; at < len(s); at++ {
		switch {
		case s[at] == '\\' && escapes:
			at++
		case s[at] == '\'':
			return at + 1
		}
	}
	return len(s)
}

// dollar reads $1 or moves over $tag$…$tag$.
func dollar(s string, inWord bool) (n, size int) {
	size = 1
	for size < len(s) && isWord(s[size]) {
		size++
	}
	word := s[1:size]
	if word != "" && word[0] >= '0' && word[0] <= '9' {
		for i := 0; i < len(word) && word[i] >= '0' && word[i] <= '9' && n < 1<<16; i++ {
			n = n*10 + int(word[i]-'0')
		}
		return n, size
	}
	if inWord || size >= len(s) || s[size] != '$' {
		return 0, size
	}
	return 0, through(s, "$"+word+"$", size+1)
}
