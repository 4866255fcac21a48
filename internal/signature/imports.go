package signature

import "strings"

// ImportKind is the sort of an [Import].
type ImportKind string

// The kinds.
const (
	PackageImport ImportKind = "package"     // of a registry
	BuiltinImport ImportKind = "builtin"     // comes with the language
	ScriptImport  ImportKind = "script"      // another script
	URLImport     ImportKind = "url"         // fetched from an address
	Requirement   ImportKind = "requirement" // a line that the code gives as a comment
)

// maxImports bounds what [Imports] returns.
const maxImports = 1000

// Import is something that code needs beside itself.
type Import struct {
	Kind ImportKind
	// Spec is what the code says: "a.b", "pkg@1.2/sub", "pandas>=2".
	Spec string
	// Name is the package to be installed, without version and subpath; for
	// Python that of the distribution, which is not always that of the module.
	// For a script it is its path, such as f/folder/name, or one that begins with
	// ./ or ../ and is relative to the importing script's folder.
	Name    string
	Version string // as pinned, such as 1.2.3; or ""
	Subpath string // behind the package, without a slash before it; or ""
}

// Imports lists what code imports: every Spec once, in the order of the code, at
// most 1000. What cannot be read ends the list; unknown languages, and those
// without imports, have none.
//
// Python that lists its requirements (# requirements: and the lines below it, or
// dependencies in a # /// script block) imports no packages beside them; the
// lines of # extra_requirements: come in addition to imports.
func Imports(language, code string) []Import {
	if len(code) > MaxCodeBytes {
		return nil
	}
	list := importList{seen: map[string]bool{}}
	switch language {
	case "python", "python3":
		pyImports(&list, code)
	case "bun", "deno", "nativets":
		tsImports(&list, code)
	case "go":
		goImports(&list, code)
	}
	return list.imports
}

type importList struct {
	imports []Import
	seen    map[string]bool
}

func (l *importList) full() bool { return len(l.imports) >= maxImports }

func (l *importList) add(i Import) {
	key := string(i.Kind) + " " + i.Spec
	if i.Name == "" || l.full() || l.seen[key] {
		return
	}
	l.seen[key] = true
	l.imports = append(l.imports, i)
}

// isScriptRoot tells whether a path's first element is one that scripts have.
func isScriptRoot(element string) bool { return element == "f" || element == "u" }

// tsImports lists the modules of import, export from, import() and require()
// with a literal. What is imported for its types alone is not needed to run.
func tsImports(list *importList, code string) {
	l := newTSLexer(code)
	var before token
	for t := l.next(); t.kind != tokEOF && !list.full(); {
		start, previous := t, before
		before, t = t, l.next()
		if previous.is(".") || start.kind != tokName {
			continue
		}
		switch start.text {
		case "import", "require":
			if t.is("(") {
				before, t = t, l.next()
				list.addTS(t)
				continue
			}
			if start.text == "import" {
				before, t = tsClause(list, l, t)
			}
		case "export":
			if t.is("{") || t.is("*") {
				before, t = tsClause(list, l, t)
			}
		}
	}
}

// tsClause reads from behind import or export to the module's name. It returns
// the last two tokens that it read.
func tsClause(list *importList, l *tsLexer, t token) (before, next token) {
	if t.kind == tokString {
		list.addTS(t)
		return t, l.next()
	}
	types := t.is("type")
	for n := 0; n < maxDeclaredTokens && t.kind != tokEOF; n++ {
		before, t = t, l.next()
		switch {
		case before.is("from") && t.kind == tokString:
			if !types || n == 1 { // import type from "x" imports what is called type
				list.addTS(t)
			}
			return t, l.next()
		case t.is("="), t.is(";"), t.is("("), t.kind == tokOp && t.text != "{" && t.text != "}" && t.text != "," && t.text != "*":
			return before, t
		}
	}
	return before, t
}

// addTS adds the module that a string names.
func (l *importList) addTS(t token) {
	if t.kind != tokString && t.kind != tokTemplate {
		return
	}
	if spec, ok := tsString(t.text); ok {
		l.add(tsImport(spec))
	}
}

func tsImport(spec string) Import {
	i := Import{Kind: PackageImport, Spec: spec}
	name := strings.TrimPrefix(spec, "npm:")
	root, _, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	switch {
	case strings.HasPrefix(name, "./"), strings.HasPrefix(name, "../"), isScriptRoot(root) && strings.Count(name, "/") >= 2:
		i.Kind, i.Name = ScriptImport, scriptPath(strings.TrimPrefix(name, "/"))
		return i
	case strings.HasPrefix(name, "node:"), strings.HasPrefix(name, "bun:"), name == "bun",
		strings.HasPrefix(name, "/"): // a file of the worker's machine: no registry has it
		i.Kind, i.Name = BuiltinImport, name
		return i
	case strings.HasPrefix(name, "jsr:"), strings.Contains(name, "://"), strings.HasPrefix(name, "data:"):
		i.Kind, i.Name = URLImport, name
		return i
	}
	parts := strings.SplitN(name, "/", 2)
	if strings.HasPrefix(name, "@") && len(parts) == 2 {
		scoped := strings.SplitN(parts[1], "/", 2)
		parts = append([]string{parts[0] + "/" + scoped[0]}, scoped[1:]...)
	}
	i.Name = parts[0]
	if len(parts) == 2 {
		i.Subpath = parts[1]
	}
	if at := strings.LastIndexByte(i.Name, '@'); at > 0 {
		i.Name, i.Version = i.Name[:at], i.Name[at+1:]
	}
	if nodeModules[i.Name] && i.Version == "" && !strings.HasPrefix(spec, "npm:") {
		i.Kind = BuiltinImport
	}
	return i
}

// scriptPath returns a script's path without the extension of its language.
func scriptPath(path string) string {
	for _, ext := range []string{".ts", ".js", ".mts", ".mjs", ".tsx", ".jsx"} {
		if bare, ok := strings.CutSuffix(path, ext); ok {
			for _, kind := range []string{".bun", ".deno", ".fetch"} {
				bare = strings.TrimSuffix(bare, kind)
			}
			return bare
		}
	}
	return path
}
