package signature

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/scanner"
	gotoken "go/token"
	"reflect"
	"strconv"
	"strings"
)

// maxGoTypes bounds the types that one signature is made of: types that name
// each other twice would double with every step.
const maxGoTypes = 10_000

// parseGo reads func main(a string, n int) (any, error) of a Go file.
func parseGo(code, entry string) (Signature, error) {
	files := gotoken.NewFileSet()
	file, err := parser.ParseFile(files, "main.go", code, parser.SkipObjectResolution)
	if err != nil {
		var list scanner.ErrorList
		if errors.As(err, &list) && len(list) > 0 {
			return Signature{}, errorAt(code, list[0].Pos.Offset, "%s", list[0].Msg)
		}
		return Signature{}, errorAt(code, 0, "this is no Go file: %v", err)
	}
	g := goReader{types: map[string]ast.Expr{}, open: map[string]bool{}}
	sig := Signature{NoMain: true, Functions: true}
	var found *ast.FuncType
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == entry && found == nil {
				found = d.Type
			}
			sig.HasPreprocessor = sig.HasPreprocessor || d.Recv == nil && d.Name.Name == Preprocessor
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok && t.TypeParams == nil {
					g.types[t.Name.Name] = t.Type
				}
			}
		}
	}
	if found == nil {
		return sig, nil
	}
	sig.NoMain = false
	for _, field := range found.Params.List {
		at := files.Position(field.Pos()).Offset
		if len(field.Names) == 0 {
			return Signature{}, errorAt(code, at, "give every parameter of %s a name: arguments are passed by name", entry)
		}
		for _, name := range field.Names {
			if name.Name == "_" {
				return Signature{}, errorAt(code, at, "_ is no name for an argument")
			}
			sig.Args = append(sig.Args, g.arg(name.Name, field.Type))
		}
		if len(sig.Args) > MaxArgs {
			return Signature{}, errorAt(code, at, "more than %d arguments", MaxArgs)
		}
		if g.made > maxGoTypes {
			return Signature{}, errorAt(code, at, "the types of the arguments are too large")
		}
	}
	if err := repeated(code, files.Position(found.Params.Pos()).Offset, sig.Args); err != nil {
		return Signature{}, err
	}
	return sig, nil
}

// repeated returns an error if two arguments have one name.
func repeated(code string, at int, args []Arg) error {
	seen := make(map[string]bool, len(args))
	for _, a := range args {
		if seen[a.Name] {
			return errorAt(code, at, "two arguments are called %s", a.Name)
		}
		seen[a.Name] = true
	}
	return nil
}

// goReader turns types of Go into ours.
type goReader struct {
	types map[string]ast.Expr
	open  map[string]bool // names that are being read: a type may hold itself
	made  int
}

func (g *goReader) arg(name string, e ast.Expr) Arg {
	a := Arg{Name: name}
	switch t := e.(type) {
	case *ast.Ellipsis:
		a.Type, a.Variadic, a.HasDefault, a.Default = listOf(g.read(t.Elt, 1)), true, true, null
	case *ast.StarExpr:
		a.Type, a.HasDefault, a.Default = g.read(t.X, 1), true, null
	default:
		a.Type = g.read(e, 0)
	}
	return a
}

func (g *goReader) read(e ast.Expr, depth int) Type {
	if g.made++; g.made > maxGoTypes || depth > maxDepth {
		return Type{Kind: Unknown}
	}
	switch e := e.(type) {
	case *ast.Ident:
		return g.named(e.Name, depth)
	case *ast.ParenExpr:
		return g.read(e.X, depth+1)
	case *ast.StarExpr:
		return g.read(e.X, depth+1)
	case *ast.ArrayType:
		if id, ok := e.Elt.(*ast.Ident); ok && e.Len == nil && (id.Name == "byte" || id.Name == "uint8") {
			return Type{Kind: Bytes}
		}
		return listOf(g.read(e.Elt, depth+1))
	case *ast.MapType:
		return Type{Kind: Object}
	case *ast.StructType:
		return Type{Kind: Object, Props: g.props(e, depth+1)}
	case *ast.SelectorExpr:
		if pkg, ok := e.X.(*ast.Ident); ok && pkg.Name == "time" && e.Sel.Name == "Time" {
			return Type{Kind: Datetime}
		}
	}
	return Type{Kind: Unknown}
}

func (g *goReader) named(name string, depth int) Type {
	if e := g.types[name]; e != nil {
		if g.open[name] {
			return Type{Kind: Object}
		}
		g.open[name] = true
		defer delete(g.open, name)
		return g.read(e, depth+1)
	}
	switch name {
	case "string":
		return Type{Kind: Str}
	case "bool":
		return Type{Kind: Bool}
	case "float32", "float64":
		return Type{Kind: Float}
	case "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "uintptr", "byte", "rune":
		return Type{Kind: Int}
	}
	return Type{Kind: Unknown}
}

// props returns the fields that encoding/json would fill.
func (g *goReader) props(s *ast.StructType, depth int) []Prop {
	var props []Prop
	for _, f := range s.Fields.List {
		tag, options := goTag(f.Tag)
		if tag == "-" {
			continue
		}
		_, pointer := f.Type.(*ast.StarExpr)
		optional := pointer || strings.Contains(options, "omit")
		if len(f.Names) == 0 {
			if t := g.read(f.Type, depth); tag == "" {
				props = append(props, t.Props...) // embedded: its fields are ours
			} else {
				props = append(props, Prop{tag, t, optional})
			}
		}
		for _, n := range f.Names {
			if !n.IsExported() {
				continue
			}
			name := tag
			if name == "" {
				name = n.Name
			}
			props = append(props, Prop{name, g.read(f.Type, depth), optional}) // read for each: what doubles must count
		}
	}
	return props
}

func goTag(lit *ast.BasicLit) (name, options string) {
	if lit == nil {
		return "", ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return "", ""
	}
	name, options, _ = strings.Cut(reflect.StructTag(s).Get("json"), ",")
	return name, options
}
