package signature

import "strings"

// parseTypeScript reads the exported function main of a module: a function, a
// constant that holds one, something exported under that name, or else what
// the module exports by default.
func parseTypeScript(code, entry string) (Signature, error) {
	r := newTSReader(code)
	if err := r.scan(); err != nil {
		return Signature{}, err
	}
	sig := Signature{NoMain: true, Functions: true, HasPreprocessor: r.exports[Preprocessor].at > 0}
	f := r.exports[entry]
	if f.at == 0 && entry == Main {
		f = r.exports["default"]
	}
	if f.local != "" {
		f = r.functions[f.local]
	}
	if f.at == 0 {
		return sig, nil
	}
	sig.NoMain = false
	if err := r.readFunction(&sig, f.at); err != nil {
		return Signature{}, err
	}
	return sig, nil
}

// tsFunction is where a function begins, or the name that it has in the file.
// The zero value is none.
type tsFunction struct {
	at    int
	local string
}

// tsReader reads one module.
type tsReader struct {
	src       string
	exports   map[string]tsFunction // main, preprocessor and default
	functions map[string]tsFunction // all at the top, by their name
	declared  map[string]tsDeclaration
	known     map[string]Type
}

// tsDeclaration is where the type behind a name begins.
type tsDeclaration struct {
	at     int
	isEnum bool
}

func newTSReader(code string) *tsReader {
	return &tsReader{
		src: code, exports: map[string]tsFunction{}, functions: map[string]tsFunction{},
		declared: map[string]tsDeclaration{}, known: map[string]Type{},
	}
}

// scan notes what stands at the top of the module.
func (r *tsReader) scan() error {
	l := newTSLexer(r.src)
	for t := l.next(); t.kind != tokEOF; {
		if l.depth() > 0 || t.kind != tokName {
			t = l.next()
			continue
		}
		switch t.text {
		case "export":
			t = r.export(l)
		case "function", "const", "let", "var", "async":
			t = r.function(l, t, "")
		case "type", "enum":
			t = r.declaration(l, t)
		default:
			t = l.next()
		}
	}
	return l.err
}

// export reads what follows the word and returns the token behind.
func (r *tsReader) export(l *tsLexer) token {
	t := l.next()
	switch {
	case t.is("default"):
		at := l.at
		if t = l.next(); t.is("function") || t.is("async") || t.is("(") || t.is("<") {
			r.note("default", tsFunction{at: at})
		} else if t.kind == tokName {
			r.note("default", tsFunction{at: 1, local: t.text})
			return l.next()
		}
		if t.is("function") || t.is("async") {
			return r.function(l, t, "")
		}
		return t
	case t.is("{"):
		return r.exportList(l)
	case t.is("function"), t.is("const"), t.is("let"), t.is("var"), t.is("async"):
		return r.function(l, t, "export")
	}
	return t
}

// exportList reads { a, b as main }.
func (r *tsReader) exportList(l *tsLexer) token {
	names, ok := collect(l)
	next := l.next()
	if !ok || next.is("from") {
		return next
	}
	for c := (&cursor{tokens: names}); !c.done(); c.accept(",") {
		local := c.next().text
		name := local
		if c.accept("as") {
			name = c.next().text
		}
		r.note(name, tsFunction{at: 1, local: local})
	}
	return next
}

func (r *tsReader) note(name string, f tsFunction) {
	if _, ok := r.exports[name]; !ok && (name == Main || name == Preprocessor || name == "default") {
		r.exports[name] = f
	}
}

// function reads async function name or const name = and notes where it goes
// on. It returns the token behind the name.
func (r *tsReader) function(l *tsLexer, t token, export string) token {
	at := t.at
	if t.is("async") {
		if t = l.next(); !t.is("function") {
			return t
		}
	}
	variable := !t.is("function")
	if t = l.next(); t.is("*") {
		t = l.next()
	}
	if variable && t.is("enum") {
		return r.declaration(l, t)
	}
	if t.kind != tokName {
		return t
	}
	name := t.text
	if variable {
		if t = l.next(); t.is(":") {
			for t.kind != tokEOF && (l.depth() > 0 || !t.is("=") && !t.is(";")) {
				t = l.next()
			}
		}
		if !t.is("=") {
			return t
		}
		at = l.at
	}
	if len(r.functions) < maxDeclared {
		r.functions[name] = tsFunction{at: max(at, 1)}
	}
	if export != "" {
		r.note(name, tsFunction{at: 1, local: name})
	}
	return l.next()
}

// declaration notes type name = … and enum name {…}.
func (r *tsReader) declaration(l *tsLexer, t token) token {
	isEnum := t.is("enum")
	name := l.next()
	if name.kind != tokName {
		return name
	}
	at := l.at
	next := l.next()
	if !isEnum {
		at = l.at
	}
	if (isEnum && next.is("{") || !isEnum && next.is("=")) && len(r.declared) < maxDeclared {
		r.declared[name.text] = tsDeclaration{at, isEnum}
	}
	return next
}

// lexAt returns a lexer for the code from a place on.
func (r *tsReader) lexAt(at int) *tsLexer {
	l := newTSLexer(r.src)
	l.at = at
	if at <= 1 {
		l.at = 0
	}
	return l
}

// readFunction reads the parameters of the function that begins at a place.
// What is no function, such as a call that makes one, takes nothing we know.
func (r *tsReader) readFunction(sig *Signature, at int) error {
	l := r.lexAt(at)
	t := l.next()
	declared := false
	for t.is("async") || t.is("function") || t.is("*") || t.is("export") || declared && t.kind == tokName {
		declared = declared || t.is("function")
		t = l.next()
	}
	generics := map[string]bool{}
	if t.is("<") {
		for depth := 1; depth > 0; {
			before := t
			t = l.next()
			switch {
			case t.kind == tokEOF:
				return l.err
			case t.is("<"):
				depth++
			case t.is(">"):
				depth--
			case t.kind == tokName && depth == 1 && (before.is("<") || before.is(",")):
				generics[t.text] = true
			}
		}
		t = l.next()
	}
	if t.kind == tokName && !declared { // x => …
		if l.next().is("=>") {
			sig.Args = append(sig.Args, Arg{Name: t.text, Type: Type{Kind: Unknown}})
		}
		return nil
	}
	if !t.is("(") {
		return nil
	}
	tokens, ok := collect(l)
	if !ok {
		if l.err != nil {
			return l.err
		}
		return errorAt(r.src, t.at, "the parameters are too long")
	}
	end := l.at - 1
	if behind := l.next(); !declared && !behind.is("=>") && !behind.is(":") {
		return nil
	}
	p := tsTypes{r: r, cursor: cursor{tokens: tokens, end: end}, generics: generics}
	return p.params(sig)
}

// params reads the parameters of a function.
func (p *tsTypes) params(sig *Signature) error {
	src := p.r.src
	unnamed := 0
	for !p.done() {
		t := p.peek(0)
		switch {
		case t.is("..."):
			sig.StarArgs = true
			skipTo(&p.cursor, ",")
		case t.is("this") && p.peek(1).is(":"):
			skipTo(&p.cursor, ",")
		case t.is("{"), t.is("["):
			unnamed++
			pattern := p.inside()
			a := p.arg("anon" + itoa(unnamed))
			if a.Type.Kind == Unknown {
				a.Type = patternType(t, pattern)
			}
			sig.Args = append(sig.Args, a)
		case t.kind == tokName:
			p.next()
			sig.Args = append(sig.Args, p.arg(t.text))
		default:
			return errorAt(src, t.at, "expected the name of a parameter")
		}
		if len(sig.Args) > MaxArgs {
			return errorAt(src, t.at, "more than %d arguments", MaxArgs)
		}
		if t := p.peek(0); !p.done() && !p.accept(",") {
			return errorAt(src, t.at, "expected a comma or the end of the parameters")
		}
	}
	return repeated(src, p.end, sig.Args)
}

// arg reads what follows the name of a parameter.
func (p *tsTypes) arg(name string) Arg {
	a := Arg{Name: name, Type: Type{Kind: Unknown}}
	if p.accept("?") {
		a.HasDefault, a.Default = true, null
	}
	if p.accept(":") {
		var nullable bool
		if a.Type, nullable = p.union(0); nullable {
			a.HasDefault, a.Default = true, null
		}
		if !p.done() && !p.peek(0).is(",") && !p.peek(0).is("=") {
			a.Type = Type{Kind: Unknown}
			skipTo(&p.cursor, ",", "=")
		}
	}
	if !p.accept("=") {
		return a
	}
	start := p.i
	p.skipValue()
	a.HasDefault, a.Default = true, tsLiteral(&cursor{tokens: p.tokens[:p.i], i: start})
	if a.Type.Kind == Unknown {
		a.Type = typeOf(a.Default)
	}
	return a
}

// maxAhead bounds how far is looked for the end of type arguments in a value.
const maxAhead = 200

// skipValue moves over a default. A comma between type arguments, as in
// new Map<string, number>(), does not end it.
func (p *tsTypes) skipValue() {
	for !p.done() && !p.peek(0).is(",") {
		if p.peek(0).is("<") {
			if n := p.typeArguments(); n > 0 {
				p.i += n
				continue
			}
		}
		p.skip()
	}
}

// typeArguments returns how many tokens <…> takes here if ( follows; else 0.
func (p *tsTypes) typeArguments() int {
	depth := 0
	for n := range maxAhead {
		switch t := p.peek(n); {
		case t.kind == tokEOF, t.kind == tokNumber:
			return 0
		case t.is("<"):
			depth++
		case t.is(">"):
			if depth--; depth == 0 {
				if p.peek(n + 1).is("(") {
					return n + 1
				}
				return 0
			}
		}
	}
	return 0
}

// patternType returns the type of what a pattern takes apart: its names are the
// properties.
func patternType(open token, in *cursor) Type {
	if open.is("[") {
		return listOf(Type{Kind: Unknown})
	}
	t := Type{Kind: Object}
	for !in.done() {
		name := in.next()
		skipTo(in, ",", "=")
		prop := Prop{Name: tsKey(name), Type: Type{Kind: Unknown}}
		if in.accept("=") {
			start := in.i
			skipTo(in, ",")
			prop.Optional = true
			prop.Type = typeOf(tsLiteral(&cursor{tokens: in.tokens[:in.i], i: start}))
		}
		if name.kind == tokName || name.kind == tokString {
			t.Props = append(t.Props, prop)
		}
		in.accept(",")
	}
	return t
}

// tsKey returns the name that a property's key stands for.
func tsKey(t token) string {
	if t.kind == tokString {
		if s, ok := tsString(t.text); ok {
			return s
		}
	}
	return strings.TrimSpace(t.text)
}
