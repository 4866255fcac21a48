package signature

import "strings"

const (
	maxNested = 10_000 // brackets open at once
	maxTokens = 50_000 // of one list of parameters
)

type tokenKind int

const (
	tokEOF      tokenKind = iota
	tokName               // names and keywords
	tokNumber             // as written
	tokString             // with its quotes, and in Python its prefix
	tokOp                 // brackets and operators
	tokTemplate           // `…` up to its end or to ${, and from } on
	tokRegex              // with its slashes
)

// token is a word of code. Tokens share the code's memory.
type token struct {
	kind  tokenKind
	text  string
	at    int  // in the code
	first bool // first of its line; in Python, of its logical line
	match int  // index of the bracket that closes this one, in a slice of collect
}

// is tells whether the token is this operator or name.
func (t token) is(text string) bool {
	return t.text == text && (t.kind == tokOp || t.kind == tokName)
}

// lexer cuts code into tokens. After an error it only returns tokEOF.
type lexer interface {
	next() token
	failure() error
}

// nesting are the brackets that are open.
type nesting struct {
	open []bracket
}

type bracket struct {
	char byte
	at   int
	note bracketNote
}

// bracketNote is what a lexer wants to remember of a bracket.
type bracketNote int

const (
	plainBracket    bracketNote = iota
	afterCondition              // ( of if (…): an expression may follow the closing one
	blockBracket                // { of statements
	templateBracket             // ${ of a template
)

// push notes an opening bracket. It returns what is wrong, or "".
func (n *nesting) push(b bracket) string {
	if len(n.open) >= maxNested {
		return "the code is nested too deeply"
	}
	n.open = append(n.open, b)
	return ""
}

// pop removes the bracket that char closes. It returns what is wrong, or "".
func (n *nesting) pop(char byte) (bracket, string) {
	if len(n.open) == 0 {
		return bracket{}, "nothing is open that " + string(char) + " could close"
	}
	top := n.open[len(n.open)-1]
	if closing(top.char) != char {
		return top, "expected " + string(closing(top.char)) + " before " + string(char)
	}
	n.open = n.open[:len(n.open)-1]
	return top, ""
}

func closing(char byte) byte {
	return ")]}"[strings.IndexByte("([{", char)]
}

// collect returns the tokens up to the one that closes the bracket open, both
// left out, with the indexes of matching brackets. The second result is false
// if there are too many or the code ends.
func collect(l lexer) ([]token, bool) {
	var tokens []token
	var open []int
	for len(tokens) < maxTokens {
		t := l.next()
		if t.kind == tokEOF {
			return nil, false
		}
		if t.kind == tokOp {
			switch t.text {
			case "(", "[", "{":
				open = append(open, len(tokens))
			case ")", "]", "}":
				if len(open) == 0 {
					return tokens, true
				}
				tokens[open[len(open)-1]].match = len(tokens)
				open = open[:len(open)-1]
			}
		}
		tokens = append(tokens, t)
	}
	return nil, false
}

// collectSome returns the tokens up to a limit of their number, of which only
// matching brackets are sure to be whole: for a type that begins here.
func collectSome(l lexer, limit int) []token {
	var tokens []token
	var open []int
	for len(tokens) < limit {
		t := l.next()
		if t.kind == tokEOF {
			break
		}
		if t.kind == tokOp {
			switch t.text {
			case "(", "[", "{":
				open = append(open, len(tokens))
			case ")", "]", "}":
				if len(open) == 0 {
					return tokens
				}
				tokens[open[len(open)-1]].match = len(tokens)
				open = open[:len(open)-1]
			}
		}
		tokens = append(tokens, t)
	}
	if len(open) > 0 { // cut off before the first bracket that is not whole
		tokens = tokens[:open[0]]
	}
	return tokens
}

// cursor reads collected tokens.
type cursor struct {
	tokens []token
	i      int
	end    int // where the code goes on behind the tokens
}

func (c *cursor) done() bool { return c.i >= len(c.tokens) }

// peek returns a token ahead without taking it.
func (c *cursor) peek(ahead int) token {
	if c.i+ahead >= len(c.tokens) {
		return token{at: c.end}
	}
	return c.tokens[c.i+ahead]
}

func (c *cursor) next() token {
	t := c.peek(0)
	if !c.done() {
		c.i++
	}
	return t
}

// accept takes the next token if it is this operator or name.
func (c *cursor) accept(text string) bool {
	if c.peek(0).is(text) {
		c.i++
		return true
	}
	return false
}

// skip takes the next token, and if it opens a bracket all up to its end.
func (c *cursor) skip() {
	if m := c.peek(0).match; m > c.i {
		c.i = m
	}
	c.next()
}

// inside takes a bracket and returns a cursor for what is in it.
func (c *cursor) inside() *cursor {
	open := c.next()
	if open.match < c.i || open.match >= len(c.tokens) {
		return &cursor{end: open.at}
	}
	in := &cursor{tokens: c.tokens[:open.match], i: c.i, end: c.tokens[open.match].at}
	c.i = open.match + 1
	return in
}
