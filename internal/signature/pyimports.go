package signature

import "strings"

// pyImports lists the modules of import and from … import, wherever they stand.
func pyImports(list *importList, code string) {
	comments := pyComments{}
	l := newPyLexer(code)
	l.comment = comments.hear
	var found importList
	found.seen = map[string]bool{}
	for t := l.next(); t.kind != tokEOF && !found.full(); {
		switch {
		case t.first && t.is("import"):
			t = pyImport(&found, l)
		case t.first && t.is("from"):
			t = pyFrom(&found, l)
		default:
			t = l.next()
		}
	}
	for _, r := range comments.required {
		list.add(Import{Kind: Requirement, Spec: r, Name: requirementName(r)})
	}
	for _, i := range found.imports {
		if i.Kind != PackageImport || !comments.exclusive {
			list.add(i)
		}
	}
}

// pyImport reads import a.b, c as d and returns the token behind.
func pyImport(list *importList, l *pyLexer) token {
	t := l.next()
	for {
		var module string
		module, t = pyModule(l, t)
		list.addPython(module, nil)
		for t.kind != tokEOF && !t.first && !t.is(",") && !t.is(";") {
			t = l.next() // as d
		}
		if t.is(";") {
			return pyAfterSemicolon(l)
		}
		if !t.is(",") || t.first {
			return t
		}
		t = l.next()
	}
}

// pyFrom reads from a.b import c, d and returns the token behind.
func pyFrom(list *importList, l *pyLexer) token {
	module, t := pyModule(l, l.next())
	if !t.is("import") || t.first {
		return t
	}
	var names []string
	expect := true
	for t = l.next(); t.kind != tokEOF && !t.first; t = l.next() {
		if t.is(";") {
			list.addPython(module, names)
			return pyAfterSemicolon(l)
		}
		if expect && t.kind == tokName && len(names) < maxImports {
			names = append(names, t.text)
		}
		if !t.is("(") {
			expect = t.is(",")
		}
	}
	list.addPython(module, names)
	return t
}

// pyAfterSemicolon returns the next token as the first of a statement.
func pyAfterSemicolon(l *pyLexer) token {
	t := l.next()
	t.first = true
	return t
}

// pyModule reads a module's name with the dots before and in it.
func pyModule(l *pyLexer, t token) (string, token) {
	var b strings.Builder
	for ; t.kind != tokEOF && !t.first && b.Len() < 1000; t = l.next() {
		if t.is("import") || t.is("as") || t.kind != tokName && !t.is(".") && !t.is("...") {
			break
		}
		b.WriteString(t.text)
	}
	return b.String(), t
}

// addPython adds a module, or the names that are taken from it where they are
// scripts.
func (l *importList) addPython(module string, names []string) {
	bare := strings.TrimLeft(module, ".")
	dots := len(module) - len(bare)
	parts := strings.Split(bare, ".")
	switch {
	case dots > 0:
		base := "./"
		if dots > 1 {
			base = strings.Repeat("../", min(dots-1, maxDepth))
		}
		if bare != "" {
			l.add(Import{Kind: ScriptImport, Spec: module, Name: base + strings.Join(parts, "/")})
			return
		}
		for _, n := range names {
			l.add(Import{Kind: ScriptImport, Spec: module + n, Name: base + n})
		}
	case isScriptRoot(parts[0]) && len(parts) >= 3:
		l.add(Import{Kind: ScriptImport, Spec: module, Name: strings.Join(parts, "/")})
	case isScriptRoot(parts[0]) && len(parts) == 2:
		for _, n := range names {
			l.add(Import{Kind: ScriptImport, Spec: module + "." + n, Name: strings.Join(parts, "/") + "/" + n})
		}
	case pyModules[parts[0]]:
		l.add(Import{Kind: BuiltinImport, Spec: module, Name: parts[0]})
	default:
		i := Import{Kind: PackageImport, Spec: module, Name: parts[0]}
		i.Subpath = strings.Join(parts[1:], ".")
		if d := distributions[parts[0]]; d != "" {
			i.Name = d
		}
		l.add(i)
	}
}

// pyComments gathers what comments say of requirements.
type pyComments struct {
	required  []string
	exclusive bool // the code lists all that it requires
	block     pyBlock
	end       int // where the comment before ended
	list      bool
}

type pyBlock int

const (
	noBlock           pyBlock = iota
	requirementsBlock         // below # requirements: or # extra_requirements:
	metadataBlock             // between # /// script and # ///
)

// hear is called for each comment.
func (p *pyComments) hear(line string, at int) {
	near := at == p.end+1 || at == p.end+2 // on the next line
	p.end = at + 1 + len(line)
	line = strings.TrimSpace(line)
	if !near {
		p.block, p.list = noBlock, false
	}
	switch {
	case line == "requirements:":
		p.block, p.exclusive = requirementsBlock, true
	case line == "extra_requirements:":
		p.block = requirementsBlock
	case line == "/// script":
		p.block, p.exclusive = metadataBlock, true
	case line == "///":
		p.block, p.list = noBlock, false
	case p.block == requirementsBlock && line == "":
		p.block = noBlock
	case p.block == requirementsBlock:
		p.require(line)
	case p.block == metadataBlock:
		p.metadata(line)
	}
}

// metadata reads dependencies = ["a", "b"], on one line or on several.
func (p *pyComments) metadata(line string) {
	if !p.list {
		rest, ok := strings.CutPrefix(line, "dependencies")
		rest, ok2 := strings.CutPrefix(strings.TrimSpace(rest), "=")
		rest, ok3 := strings.CutPrefix(strings.TrimSpace(rest), "[")
		if !ok || !ok2 || !ok3 {
			return
		}
		p.list, line = true, rest
	}
	l := newPyLexer(line)
	for t := l.next(); t.kind != tokEOF; t = l.next() {
		if s, ok := pyString(t.text); ok && t.kind == tokString {
			p.require(s)
		}
	}
	if strings.HasSuffix(strings.TrimSpace(line), "]") {
		p.list = false
	}
}

func (p *pyComments) require(line string) {
	if len(p.required) < maxImports && len(line) <= 1000 {
		p.required = append(p.required, line)
	}
}

// requirementName returns the name of the distribution that a requirement such
// as pandas[all]>=2 begins with, or all of it if it has no name.
func requirementName(r string) string {
	end := strings.IndexFunc(r, func(c rune) bool {
		return c != '-' && c != '.' && (c >= 0x80 || !isNameByte(byte(c)))
	})
	if end <= 0 {
		return r
	}
	return r[:end]
}
