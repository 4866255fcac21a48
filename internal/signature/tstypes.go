package signature

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf16"
)

// tsTypes reads types of TypeScript.
type tsTypes struct {
	r *tsReader
	cursor
	generics map[string]bool // type parameters: any type
}

// in returns a reader for what is inside the bracket that is next.
func (p *tsTypes) in() *tsTypes {
	return &tsTypes{r: p.r, cursor: *p.inside(), generics: p.generics}
}

// union reads a type. The second result tells that null or undefined are among
// its values.
func (p *tsTypes) union(depth int) (Type, bool) {
	var types []Type
	nullable := false
	p.accept("|")
	for {
		t, null := p.intersection(depth)
		nullable = nullable || null
		if t.Kind != "" {
			types = append(types, t)
		}
		if !p.accept("|") {
			break
		}
	}
	if p.peek(0).is("extends") && !p.peek(0).first && depth <= maxDepth { // A extends B ? C : D
		p.next()
		p.union(depth + 1)
		if p.accept("?") {
			p.union(depth + 1)
			if p.accept(":") {
				p.union(depth + 1)
			}
		}
		return Type{Kind: Unknown}, false
	}
	return unionOf(types), nullable
}

// intersection reads A & B. Objects are put together.
func (p *tsTypes) intersection(depth int) (Type, bool) {
	p.accept("&")
	t, null := p.array(depth)
	for p.accept("&") {
		other, _ := p.array(depth)
		switch {
		case t.Kind == Object && other.Kind == Object:
			t.Props = append(t.Props, other.Props...)
		case (t.Kind == Object || t.Kind == Resource) && (other.Kind == Object || other.Kind == Resource):
			t = Type{Kind: Object}
		case other.Kind == Object: // a string & {} that is only marked
		default:
			t = Type{Kind: Unknown}
		}
	}
	return t, null
}

// array reads a type and the brackets behind it.
func (p *tsTypes) array(depth int) (Type, bool) {
	t, null := p.single(depth)
	for n := 0; p.peek(0).is("[") && !p.peek(0).first; n++ {
		in := p.in()
		switch {
		case !in.done(), n > maxDepth:
			t = Type{Kind: Unknown}
		case t.Kind == "":
			t = listOf(Type{Kind: Unknown})
		default:
			t = listOf(t)
		}
		null = false
	}
	return t, null
}

// single reads one type; its kind is "" if it is null or undefined.
func (p *tsTypes) single(depth int) (Type, bool) {
	unknown := Type{Kind: Unknown}
	t := p.peek(0)
	if depth > maxDepth || p.done() {
		p.skip()
		return unknown, false
	}
	switch {
	case t.kind == tokString:
		p.next()
		s, ok := tsString(t.text)
		if !ok {
			return Type{Kind: Str}, false
		}
		return Type{Kind: Str, Enum: []string{s}}, false
	case t.kind == tokTemplate:
		for nested := true; nested && !p.done(); {
			nested = p.peek(0).kind != tokTemplate || strings.HasSuffix(p.peek(0).text, "${")
			p.next()
		}
		return Type{Kind: Str}, false
	case t.kind == tokNumber, t.is("-") && p.peek(1).kind == tokNumber:
		p.accept("-")
		n := p.next()
		return typeOf(tsLiteral(&cursor{tokens: []token{n}})), false
	case t.is("{"):
		return p.in().object(depth + 1), false
	case t.is("["):
		return p.in().tuple(depth + 1), false
	case t.is("("):
		return p.parenthesis(depth)
	case t.is("<"):
		p.skipAngles()
		return p.single(depth + 1)
	case t.kind == tokName:
		p.next()
		return p.named(t, depth+1)
	}
	if !t.is(",") && !t.is(";") && !t.is("=") && !t.is(">") {
		p.skip()
	}
	return unknown, false
}

// parenthesis reads (type) or a function's type.
func (p *tsTypes) parenthesis(depth int) (Type, bool) {
	in := p.in()
	if p.accept("=>") {
		p.union(depth + 1)
		return Type{Kind: Unknown}, false
	}
	return in.union(depth + 1)
}

// named reads a type that begins with a name.
func (p *tsTypes) named(t token, depth int) (Type, bool) {
	switch t.text {
	case "null", "undefined", "void":
		return Type{}, true
	case "true", "false":
		return Type{Kind: Bool}, false
	case "readonly":
		return p.array(depth)
	case "keyof", "unique", "infer", "typeof", "asserts", "new", "abstract":
		if next := p.peek(0); next.kind == tokName || next.is("(") || next.is("<") || next.is("[") || next.is("{") {
			p.array(depth)
			return Type{Kind: Unknown}, false
		}
	case "import":
		if p.peek(0).is("(") {
			p.skip()
		}
	}
	name, qualifier := t.text, ""
	for p.peek(0).is(".") && p.peek(1).kind == tokName {
		p.next()
		name, qualifier = p.next().text, name
	}
	if p.peek(0).is("<") {
		return p.generic(name, depth), false
	}
	if p.accept("is") { // a predicate
		p.union(depth)
		return Type{Kind: Bool}, false
	}
	if qualifier == "" {
		if p.generics[name] {
			return Type{Kind: Unknown}, false
		}
		if d, ok := p.r.declared[name]; ok {
			return p.r.lookUp(name, d, depth), false
		}
	} else if d, ok := p.r.declared[qualifier]; ok && d.isEnum { // Color.Red
		return p.r.lookUp(qualifier, d, depth), false
	}
	return tsNamed(name), false
}

// generic reads a type with others in angle brackets.
func (p *tsTypes) generic(name string, depth int) Type {
	start := p.cursor
	p.next()
	first, _ := p.union(depth)
	p.cursor = start
	p.skipAngles()
	switch name {
	case "Array", "ReadonlyArray", "Set", "ReadonlySet", "Iterable":
		return listOf(first)
	case "Promise", "Awaited", "Readonly", "NonNullable", "NoInfer":
		return first
	case "Record", "Map", "Partial", "Required", "Pick", "Omit", "ReadonlyMap":
		return Type{Kind: Object}
	case "Resource":
		if len(first.Enum) == 1 {
			return Type{Kind: Resource, Name: first.Enum[0]}
		}
	case "Exclude", "Extract", "ReturnType", "Parameters", "Uppercase", "Lowercase", "Capitalize", "Uncapitalize":
		return Type{Kind: Unknown}
	}
	return tsNamed(name)
}

// skipAngles moves over <…>, or to the end if it is never closed.
func (p *tsTypes) skipAngles() {
	for depth := 0; !p.done(); {
		t := p.peek(0)
		p.skip()
		if t.is("<") {
			depth++
		} else if t.is(">") {
			if depth--; depth == 0 {
				return
			}
		}
	}
}

// object reads the members of an object's type.
func (p *tsTypes) object(depth int) Type {
	t := Type{Kind: Object}
	for !p.done() {
		if p.accept(";") || p.accept(",") {
			continue
		}
		key := p.next()
		if key.is("readonly") && !p.memberEnds() {
			key = p.next()
		}
		prop := Prop{Name: tsKey(key), Type: Type{Kind: Unknown}}
		if key.kind == tokOp { // an index, a call, a mapped type
			p.i--
			p.skip()
			p.skipMember()
			continue
		}
		prop.Optional = p.accept("?")
		if p.accept(":") {
			var nullable bool
			prop.Type, nullable = p.union(depth)
			prop.Optional = prop.Optional || nullable
			t.Props = append(t.Props, prop)
			if !p.done() && !p.peek(0).first && !p.peek(0).is(";") && !p.peek(0).is(",") {
				t.Props[len(t.Props)-1].Type = Type{Kind: Unknown}
				p.skipMember()
			}
			continue
		}
		if p.memberEnds() && !p.peek(0).is("(") || p.peek(0).first {
			t.Props = append(t.Props, prop)
			continue
		}
		p.skipMember() // a method
	}
	return t
}

// memberEnds tells whether the word before is a whole key.
func (p *tsTypes) memberEnds() bool {
	t := p.peek(0)
	return p.done() || t.is(":") || t.is("?") || t.is(";") || t.is(",") || t.is("(")
}

// skipMember moves to the end of a member.
func (p *tsTypes) skipMember() {
	for !p.done() && !p.peek(0).is(";") && !p.peek(0).is(",") && !p.peek(0).first {
		p.skip()
	}
}

// tuple reads the elements of [A, b: B, ...C[]].
func (p *tsTypes) tuple(depth int) Type {
	var types []Type
	for !p.done() {
		start := p.i
		p.accept("...")
		if p.peek(0).kind == tokName && (p.peek(1).is(":") || p.peek(1).is("?") && p.peek(2).is(":")) {
			p.next()
			p.accept("?")
			p.next()
		}
		t, _ := p.union(depth)
		types = append(types, t)
		skipTo(&p.cursor, ",")
		p.accept(",")
		if p.i == start {
			break
		}
	}
	return listOf(unionOf(types))
}

// lookUp returns the type of a name that the module declares: the values of an
// enum, or what an alias stands for. Objects are resource types by the name.
func (r *tsReader) lookUp(name string, d tsDeclaration, depth int) Type {
	if t, ok := r.known[name]; ok {
		return t
	}
	t := tsNamed(name)
	if depth > maxDepth || len(r.known) >= MaxArgs {
		return t
	}
	r.known[name] = t // for a name that stands for itself
	l := r.lexAt(d.at)
	if d.isEnum {
		l.next()
		if tokens, ok := collect(l); ok {
			t = enumMembers(&cursor{tokens: tokens})
		}
	} else {
		p := tsTypes{r: r, cursor: cursor{tokens: collectSome(l, maxDeclaredTokens)}}
		alias, _ := p.union(depth)
		if alias.Kind != Object && alias.Kind != Unknown && alias.Kind != Resource {
			t = withoutProps(alias)
		}
	}
	r.known[name] = t
	return t
}

// withoutProps returns a type without the properties of the objects in its
// lists. Aliases that name each other twice would double with every step.
func withoutProps(t Type) Type {
	if t.Elem != nil {
		return listOf(withoutProps(*t.Elem))
	}
	t.Props = nil
	return t
}

// enumMembers reads the members of an enum: strings with values, or numbers.
func enumMembers(c *cursor) Type {
	var types []Type
	for !c.done() {
		c.skip()
		t := Type{Kind: Int}
		if c.accept("=") {
			start := c.i
			skipTo(c, ",")
			var s string
			literal := tsLiteral(&cursor{tokens: c.tokens[:c.i], i: start})
			if t = typeOf(literal); t.Kind == Str && json.Unmarshal(literal, &s) == nil {
				t.Enum = []string{s}
			}
		}
		types = append(types, t)
		skipTo(c, ",")
		c.accept(",")
	}
	return unionOf(types)
}

// tsNamed returns the type of a name that the code does not declare. A name
// that we do not know is a resource type, in the spelling of those.
func tsNamed(name string) Type {
	switch name {
	case "string", "String":
		return Type{Kind: Str}
	case "number", "Number":
		return Type{Kind: Float}
	case "bigint":
		return Type{Kind: Int}
	case "boolean", "Boolean":
		return Type{Kind: Bool}
	case "Date":
		return Type{Kind: Datetime}
	case "Base64":
		return Type{Kind: Bytes}
	case "Email":
		return Type{Kind: Email}
	case "Sql":
		return Type{Kind: SQL}
	case "object", "Object", "Record":
		return Type{Kind: Object}
	case "Array":
		return listOf(Type{Kind: Unknown})
	case "any", "unknown", "never", "symbol", "Function", "this", "RegExp", "Error":
		return Type{Kind: Unknown}
	}
	return Type{Kind: Resource, Name: snakeCase(name)}
}

// snakeCase writes SomeName as some_name and S3Object as s3_object.
func snakeCase(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, c := range runes {
		if i > 0 && unicode.IsUpper(c) && runes[i-1] != '_' &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// tsLiteral returns the literal that the tokens are as JSON; null if they are
// anything else.
func tsLiteral(c *cursor) json.RawMessage {
	var b bytes.Buffer
	if !tsValue(&b, c, 0) || !c.done() && !c.peek(0).is("as") && !c.peek(0).is("satisfies") {
		return null
	}
	return b.Bytes()
}

func tsValue(b *bytes.Buffer, c *cursor, depth int) bool {
	t := c.peek(0)
	switch {
	case depth > maxDepth:
	case t.is("("):
		in := c.inside()
		return tsValue(b, in, depth+1) && in.done()
	case t.is("null"), t.is("undefined"):
		c.next()
		b.WriteString("null")
		return true
	case t.is("true"), t.is("false"):
		b.WriteString(c.next().text)
		return true
	case t.kind == tokNumber:
		c.next()
		return writeNumber(b, strings.TrimSuffix(strings.ReplaceAll(t.text, "_", ""), "n"))
	case t.is("-"):
		c.next()
		b.WriteByte('-')
		n := c.next()
		return n.kind == tokNumber && writeNumber(b, strings.TrimSuffix(strings.ReplaceAll(n.text, "_", ""), "n"))
	case t.kind == tokString, t.kind == tokTemplate:
		c.next()
		s, ok := tsString(t.text)
		b.Write(text(s))
		return ok
	case t.is("["):
		in := c.inside()
		b.WriteByte('[')
		for n := 0; !in.done(); n++ {
			if n > 0 {
				b.WriteByte(',')
			}
			if !tsValue(b, in, depth+1) || !in.accept(",") && !in.done() {
				return false
			}
		}
		b.WriteByte(']')
		return true
	case t.is("{"):
		return tsObject(b, c.inside(), depth+1)
	}
	return false
}

func tsObject(b *bytes.Buffer, in *cursor, depth int) bool {
	seen := map[string]bool{}
	b.WriteByte('{')
	for n := 0; !in.done(); n++ {
		key := in.next()
		name := tsKey(key)
		if key.kind != tokName && key.kind != tokString || !in.accept(":") || seen[name] {
			return false
		}
		seen[name] = true
		if n > 0 {
			b.WriteByte(',')
		}
		b.Write(text(name))
		b.WriteByte(':')
		if !tsValue(b, in, depth) || !in.accept(",") && !in.done() {
			return false
		}
	}
	b.WriteByte('}')
	return true
}

// tsString returns what a string or a template without values stands for.
func tsString(literal string) (string, bool) {
	if len(literal) < 2 || literal[0] != literal[len(literal)-1] {
		return "", false // a template with values
	}
	body := literal[1 : len(literal)-1]
	if strings.IndexByte(body, '\\') < 0 {
		return body, true
	}
	var b strings.Builder
	for i := 0; i < len(body); {
		if body[i] != '\\' {
			b.WriteByte(body[i])
			i++
			continue
		}
		n, ok := tsEscape(&b, body[i:])
		if !ok {
			return "", false
		}
		i += n
	}
	return b.String(), true
}

// tsEscape writes what the escape at the beginning of s stands for and returns
// its length.
func tsEscape(b *strings.Builder, s string) (int, bool) {
	if len(s) < 2 {
		return 0, false
	}
	if i := strings.IndexByte("bfnrtv0", s[1]); i >= 0 {
		b.WriteByte("\b\f\n\r\t\v\x00"[i])
		return 2, true
	}
	switch s[1] {
	case '\n':
		return 2, true
	case 'x':
		return hexEscape(b, s, 2)
	case 'u':
		if strings.HasPrefix(s, `\u{`) {
			digits, _, ok := strings.Cut(s[3:], "}")
			if !ok || len(digits) > 6 || len(digits) == 0 {
				return 0, false
			}
			_, ok = hexEscape(b, `\u`+digits, len(digits))
			return len(digits) + 4, ok
		}
		var single strings.Builder
		n, ok := hexEscape(&single, s, 4)
		if ok && len(s) >= 12 && s[6] == '\\' && s[7] == 'u' { // perhaps two halves of one character
			if r := surrogates(s[2:6], s[8:12]); r > 0 {
				b.WriteRune(r)
				return 12, true
			}
		}
		b.WriteString(single.String())
		return n, ok
	}
	b.WriteByte(s[1])
	return 2, true
}

// surrogates returns the character that two halves in hex stand for, else 0.
func surrogates(high, low string) rune {
	var pair [2]rune
	for i, digits := range []string{high, low} {
		var n rune
		for _, c := range []byte(digits) {
			v := strings.IndexByte("0123456789abcdef", c|0x20)
			if c <= '9' {
				v = int(c) - '0'
			}
			if v < 0 || v > 15 {
				return 0
			}
			n = n<<4 | rune(v)
		}
		pair[i] = n
	}
	if r := utf16.DecodeRune(pair[0], pair[1]); r != unicode.ReplacementChar {
		return r
	}
	return 0
}
