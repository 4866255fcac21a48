package signature

import (
	"go/parser"
	gotoken "go/token"
	"strconv"
	"strings"
)

// goImports lists a file's imports, and its comments //require module version.
func goImports(list *importList, code string) {
	for line := range strings.Lines(code) {
		if rest, ok := strings.CutPrefix(line, "//require "); ok {
			if f := strings.Fields(rest); len(f) == 1 || len(f) == 2 {
				list.add(Import{Kind: Requirement, Spec: strings.Join(f, " "), Name: f[0], Version: strings.Join(f[1:], "")})
			}
		}
	}
	file, _ := parser.ParseFile(gotoken.NewFileSet(), "main.go", code, parser.ImportsOnly|parser.SkipObjectResolution)
	if file == nil { // not a Go file at all
		return
	}
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		i := Import{Kind: BuiltinImport, Spec: path, Name: path}
		if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
			i.Kind = PackageImport
		}
		list.add(i)
	}
}
