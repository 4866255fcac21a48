package deps

import (
	"cmp"
	"slices"
	"strings"

	"sluice/internal/signature"
)

// needs is what a script wants that is not built in.
type needs struct {
	family string
	list   []need // sorted
}

// need is one package: the requirement of Python, the npm package or the import
// path of Go.
type need struct {
	name    string
	version string // wanted; "": the newest. Python has it in the name.
}

func (n needs) empty() bool { return len(n.list) == 0 }

// words tells needs apart.
func (n needs) words() []string {
	w := []string{n.family}
	for _, p := range n.list {
		w = append(w, p.name+"@"+p.version)
	}
	return w
}

// needsOf finds what a script needs. What Deno fetches from an address is not a
// package, nor is another script.
func needsOf(language, code string) needs {
	n := needs{family: family(language)}
	if n.family == "" {
		return n
	}
	for _, i := range signature.Imports(language, code) {
		p := need{name: i.Name, version: i.Version}
		if n.family == familyPython && p.name == "main" {
			continue // the script itself
		}
		switch i.Kind {
		case signature.PackageImport:
		case signature.Requirement:
			if n.family == familyPython {
				p = need{name: strings.TrimSpace(i.Spec)}
			}
		case signature.BuiltinImport, signature.ScriptImport, signature.URLImport:
			continue
		}
		n.list = append(n.list, p)
	}
	// A version that is asked for somewhere holds everywhere.
	slices.SortFunc(n.list, func(a, b need) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(b.version, a.version))
	})
	n.list = slices.CompactFunc(n.list, func(a, b need) bool { return a.name == b.name })
	return n
}
