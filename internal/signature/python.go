package signature

import (
	"slices"
	"strings"
)

// parsePython reads the last def of the entry point that begins a line.
func parsePython(code, entry string) (Signature, error) {
	r := pyReader{lex: newPyLexer(code), declared: map[string]int{}, known: map[string]Type{}}
	sig := Signature{NoMain: true, Functions: true}
	var params []token
	var end int
	for t := r.lex.next(); t.kind != tokEOF; {
		if !t.first || !atMargin(code, t.at) || t.kind != tokName {
			t = r.lex.next()
			continue
		}
		start := t
		if t = r.lex.next(); start.text == "async" && t.is("def") {
			start, t = t, r.lex.next()
		}
		switch {
		case start.text == "def" && t.kind == tokName:
			sig.HasPreprocessor = sig.HasPreprocessor || t.text == Preprocessor
			if t.text != entry {
				continue
			}
			found, err := r.params()
			if err != nil {
				return Signature{}, err
			}
			sig.NoMain, params, end = false, found, r.lex.at-1
			t = r.lex.next()
		case start.text == "class" && t.kind == tokName:
			r.declare(t.text, r.lex.at)
		case start.text == "type" && t.kind == tokName && !t.first:
			name := t.text
			if t = r.lex.next(); t.is("=") {
				r.declare(name, r.lex.at)
			}
		case t.is("=") || t.is(":") && !isPyKeyword(start.text):
			r.declare(start.text, t.at+1)
		}
	}
	if r.lex.err != nil {
		return Signature{}, r.lex.err
	}
	if err := r.readParams(&sig, &cursor{tokens: params, end: end}); err != nil {
		return Signature{}, err
	}
	return sig, nil
}

// atMargin tells whether a place is the first of its line.
func atMargin(code string, at int) bool {
	return at == 0 || code[at-1] == '\n' || code[at-1] == '\r' || code[:at] == "\ufeff"
}

// isPyKeyword tells whether a colon after the word begins a block.
func isPyKeyword(word string) bool {
	switch word {
	case "else", "try", "finally", "except":
		return true
	}
	return false
}

// pyReader turns parameters of Python into arguments. What a name stands for is
// read when it is asked for.
type pyReader struct {
	lex      *pyLexer
	declared map[string]int // where a class, or what is assigned to a name, goes on
	known    map[string]Type
}

func (r *pyReader) declare(name string, at int) {
	if len(r.declared) < maxDeclared {
		r.declared[name] = at
	}
}

// params returns the tokens between the parentheses behind a function's name.
func (r *pyReader) params() ([]token, error) {
	t := r.lex.next()
	if t.is("[") { // type parameters
		if _, ok := collect(r.lex); !ok {
			return nil, r.tooLong(t)
		}
		t = r.lex.next()
	}
	if !t.is("(") {
		if r.lex.err != nil {
			return nil, r.lex.err
		}
		return nil, errorAt(r.lex.src, t.at, "expected ( and the parameters")
	}
	tokens, ok := collect(r.lex)
	if !ok {
		return nil, r.tooLong(t)
	}
	return tokens, nil
}

func (r *pyReader) tooLong(t token) error {
	if r.lex.err != nil {
		return r.lex.err
	}
	return errorAt(r.lex.src, t.at, "the parameters are too long")
}

func (r *pyReader) readParams(sig *Signature, c *cursor) error {
	for !c.done() {
		t := c.next()
		switch {
		case t.is("/"):
		case t.is("*") && (c.done() || c.peek(0).is(",")):
		case t.is("*") || t.is("**"):
			sig.StarArgs = sig.StarArgs || t.is("*")
			sig.StarKwargs = sig.StarKwargs || t.is("**")
			if name := c.next(); name.kind != tokName {
				return errorAt(r.lex.src, name.at, "expected a name behind %s", t.text)
			}
			if c.accept(":") {
				skipTo(c, ",")
			}
		case t.kind == tokName:
			sig.Args = append(sig.Args, r.arg(t.text, c))
			if len(sig.Args) > MaxArgs {
				return errorAt(r.lex.src, t.at, "more than %d arguments", MaxArgs)
			}
		default:
			return errorAt(r.lex.src, t.at, "expected the name of a parameter")
		}
		if t := c.peek(0); !c.done() && !c.accept(",") {
			return errorAt(r.lex.src, t.at, "expected a comma or the end of the parameters")
		}
	}
	return repeated(r.lex.src, c.end, sig.Args)
}

// arg reads what follows the name of a parameter.
func (r *pyReader) arg(name string, c *cursor) Arg {
	a := Arg{Name: name, Type: Type{Kind: Unknown}}
	if c.accept(":") {
		var nullable bool
		if a.Type, nullable = r.union(c, 0); nullable {
			a.HasDefault, a.Default = true, null
		}
		if !c.done() && !c.peek(0).is(",") && !c.peek(0).is("=") {
			a.Type = Type{Kind: Unknown} // an expression that is no type we know
			skipTo(c, ",", "=")
		}
	}
	if !c.accept("=") {
		return a
	}
	start := c.i
	skipTo(c, ",")
	value := &cursor{tokens: c.tokens[:c.i], i: start}
	a.HasDefault, a.Default = true, pyLiteral(value)
	if a.Type.Kind == Unknown {
		a.Type = typeOf(a.Default)
	}
	return a
}

// skipTo moves to one of the operators, outside of brackets and of the
// parameters of a lambda.
func skipTo(c *cursor, ops ...string) {
	for lambdas := 0; !c.done(); c.skip() {
		switch t := c.peek(0); {
		case t.is("lambda"):
			lambdas++
		case lambdas > 0 && t.is(":"):
			lambdas--
		case lambdas == 0 && t.kind == tokOp && slices.Contains(ops, t.text):
			return
		}
	}
}

// union reads a type and the alternatives to it: int | None. The second result
// tells that None is one of them. For None alone the type is unknown.
func (r *pyReader) union(c *cursor, depth int) (Type, bool) {
	var types []Type
	nullable := false
	for {
		t, none := r.single(c, depth)
		nullable = nullable || none
		if t.Kind != "" {
			types = append(types, t)
		}
		if !c.accept("|") {
			return unionOf(types), nullable
		}
	}
}

// single reads one type; its kind is "" if it is None.
func (r *pyReader) single(c *cursor, depth int) (Type, bool) {
	unknown := Type{Kind: Unknown}
	t := c.peek(0)
	switch {
	case depth > maxDepth || c.done():
		c.skip()
		return unknown, false
	case t.is("None"):
		c.next()
		return Type{}, true
	case t.kind == tokString:
		c.next()
		s, ok := pyString(t.text)
		if !ok {
			return unknown, false
		}
		inner := &cursor{tokens: collectSome(newPyLexer(s), maxDeclaredTokens)}
		return r.union(inner, depth+1)
	case t.is("("):
		return r.union(c.inside(), depth+1)
	case t.kind != tokName:
		c.skip()
		return unknown, false
	}
	name := c.next().text
	qualified := false
	for c.peek(0).is(".") && c.peek(1).kind == tokName {
		c.next()
		name, qualified = c.next().text, true
	}
	if c.peek(0).is("[") {
		return r.generic(name, c.inside(), depth+1)
	}
	if !qualified {
		if at, ok := r.declared[name]; ok {
			return r.lookUp(name, at, depth+1), false
		}
	}
	return pyNamed(name), false
}

// generic reads a type with others in brackets.
func (r *pyReader) generic(name string, in *cursor, depth int) (Type, bool) {
	if name == "Literal" {
		return literalType(in)
	}
	if name == "Annotated" || name == "Required" || name == "NotRequired" || name == "Final" || name == "ReadOnly" || name == "ClassVar" {
		return r.union(in, depth)
	}
	plain := pyNamed(name)
	if name != "Optional" && name != "Union" && plain.Kind != List {
		return plain, false
	}
	var types []Type
	nullable := name == "Optional"
	for !in.done() {
		if in.accept("...") {
			in.accept(",")
			continue
		}
		t, none := r.union(in, depth)
		skipTo(in, ",")
		in.accept(",")
		if nullable = nullable || none; t.Kind != Unknown || !none {
			types = append(types, t)
		}
	}
	if plain.Kind == List {
		return listOf(unionOf(types)), false
	}
	return unionOf(types), nullable
}

// literalType reads the values of Literal["a", "b"].
func literalType(in *cursor) (Type, bool) {
	var types []Type
	nullable := false
	for !in.done() {
		start := in.i
		skipTo(in, ",")
		value := pyLiteral(&cursor{tokens: in.tokens[:in.i], i: start})
		switch t := typeOf(value); {
		case string(value) == "null":
			nullable = true
		case t.Kind == Str:
			s, _ := pyString(in.tokens[start].text)
			types = append(types, Type{Kind: Str, Enum: []string{s}})
		default:
			types = append(types, t)
		}
		in.accept(",")
	}
	return unionOf(types), nullable
}

// pyNamed returns the type of a name that the code does not declare. A name
// that we do not know is a resource type.
func pyNamed(name string) Type {
	switch name {
	case "str", "LiteralString":
		return Type{Kind: Str}
	case "int":
		return Type{Kind: Int}
	case "float", "Decimal":
		return Type{Kind: Float}
	case "bool":
		return Type{Kind: Bool}
	case "bytes", "bytearray":
		return Type{Kind: Bytes}
	case "datetime":
		return Type{Kind: Datetime}
	case "date":
		return Type{Kind: Date}
	case "list", "List", "set", "Set", "frozenset", "FrozenSet", "tuple", "Tuple", "Sequence", "MutableSequence",
		"Iterable", "Collection", "AbstractSet", "deque", "Deque":
		return listOf(Type{Kind: Str})
	case "dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "DefaultDict", "defaultdict", "Counter", "TypedDict":
		return Type{Kind: Object}
	case "email":
		return Type{Kind: Email}
	case "sql":
		return Type{Kind: SQL}
	case "S3Object":
		return Type{Kind: Resource, Name: "s3_object"}
	case "Any", "object", "complex", "time", "timedelta", "Callable", "type", "Type", "TypeVar", "Iterator", "Generator",
		"AsyncIterator", "Never", "NoReturn", "Path", "UUID":
		return Type{Kind: Unknown}
	}
	return Type{Kind: Resource, Name: strings.TrimSpace(name)}
}
