package signature

import "encoding/json"

const (
	maxDeclared       = 10_000 // names whose declarations are remembered
	maxDeclaredTokens = 5000   // of one declaration
)

// lookUp returns the type of a name that the code declares: the values of an
// Enum class, or what an alias stands for. Classes and aliases of objects are
// resource types by the name.
func (r *pyReader) lookUp(name string, at, depth int) Type {
	if t, ok := r.known[name]; ok {
		return t
	}
	resource := Type{Kind: Resource, Name: name}
	if depth > maxDepth || len(r.known) >= MaxArgs {
		return resource
	}
	r.known[name] = resource // for a name that stands for itself
	l := newPyLexer(r.lex.src)
	l.at, l.first = at, false
	t := resource
	if isClass := classAt(r.lex.src, at, name); isClass {
		t = enumClass(l, resource)
	} else {
		tokens := collectSome(l, maxDeclaredTokens)
		for i, tok := range tokens {
			if tok.first {
				tokens = tokens[:i]
				break
			}
		}
		c := &cursor{tokens: tokens}
		if c.peek(0).is("TypeAlias") || c.peek(1).is(".") && c.peek(2).is("TypeAlias") {
			skipTo(c, "=")
			c.accept("=")
		}
		alias, _ := r.union(c, depth)
		if c.done() && alias.Kind != Object && alias.Kind != Unknown && alias.Kind != Resource {
			t = alias
		}
	}
	r.known[name] = t
	return t
}

// classAt tells whether what ends at a place is "class name".
func classAt(code string, at int, name string) bool {
	end := at - len(name)
	for end > 0 && (code[end-1] == ' ' || code[end-1] == '\t') {
		end--
	}
	const word = "class"
	return end >= len(word) && end <= len(code) && code[end-len(word):end] == word && code[at-len(name):at] == name
}

// enumClass reads a class behind its name: the values if it is an Enum.
func enumClass(l *pyLexer, otherwise Type) Type {
	t := l.next()
	if !t.is("(") {
		return otherwise
	}
	bases, ok := collect(l)
	isEnum := false
	for _, b := range bases {
		isEnum = isEnum || b.is("Enum") || b.is("StrEnum") || b.is("IntEnum")
	}
	if !ok || !isEnum {
		return otherwise
	}
	var types []Type
	margin := -1
	t = l.next()
	for n := 0; t.kind != tokEOF && n < maxDeclaredTokens; n++ {
		if !t.first {
			t = l.next()
			continue
		}
		column := columnOf(l.src, t.at)
		if margin < 0 {
			margin = column
		}
		if column == 0 || column < margin {
			break
		}
		name := t
		if t = l.next(); name.kind != tokName || column != margin || !t.is("=") || name.text[0] == '_' {
			continue
		}
		var value []token
		for t = l.next(); t.kind != tokEOF && !t.first && len(value) < maxDepth; t = l.next() {
			value = append(value, t)
		}
		types = append(types, enumValue(value))
	}
	if len(types) == 0 {
		return otherwise
	}
	return unionOf(types)
}

// enumValue returns the type of one member: a string with its value, a number,
// or a string of some value.
func enumValue(value []token) Type {
	literal := pyLiteral(&cursor{tokens: value})
	t := typeOf(literal)
	switch t.Kind {
	case Str:
		var s string
		if json.Unmarshal(literal, &s) == nil {
			t.Enum = []string{s}
		}
		return t
	case Int, Float:
		return t
	case Unknown, Bool, Bytes, Datetime, Date, Email, SQL, List, Object, Resource:
	}
	return Type{Kind: Unknown}
}

func columnOf(code string, at int) int {
	start := at
	for start > 0 && code[start-1] != '\n' {
		start--
	}
	return at - start
}
