package httpapi

import (
	"regexp"
	"strings"

	"sluice"
)

// scope is a right of a token, in Windmill's form: domain:action, followed by
// what it is narrowed to. jobs:run may name a kind and a path, as in
// jobs:run:scripts:f/a/b; every other action may name a path. Paths may end in
// /* and stand for all below; several are separated by commas.
type scope struct {
	domain, action, kind, paths string
}

var scopeForm = regexp.MustCompile(`^([a-z_]+|\*):([a-z_]+|\*)(:[^\s:]+){0,2}$`)

// readScope reads a scope.
func readScope(s string) (scope, error) {
	if !scopeForm.MatchString(s) {
		return scope{}, sluice.Invalid("scopes", "must have the form domain:action or jobs:run:scripts:PATH, such as jobs:read")
	}
	parts := strings.Split(s, ":")
	out := scope{domain: parts[0], action: parts[1]}
	rest := parts[2:]
	if out.domain == "jobs" && out.action == "run" && len(rest) > 0 {
		out.kind, rest = rest[0], rest[1:]
	}
	switch len(rest) {
	case 0:
	case 1:
		out.paths = rest[0]
	default:
		return scope{}, sluice.Invalid("scopes", "%s:%s takes one path, not a kind and a path", out.domain, out.action)
	}
	return out, nil
}

// grants reports whether a token with the scope s may do what want says.
func (s scope) grants(want scope) bool {
	switch {
	case s.domain != "*" && s.domain != want.domain:
		return false
	case s.action != "*" && s.action != want.action && (s.action != "write" || want.action != "read"):
		return false
	case s.kind != "" && s.kind != want.kind:
		return false
	case s.paths == "":
		return true
	}
	for p := range strings.SplitSeq(s.paths, ",") {
		folder, all := strings.CutSuffix(p, "/*")
		if want.paths != "" && (p == want.paths || all && strings.HasPrefix(want.paths, folder+"/")) {
			return true
		}
	}
	return false
}

// String returns the scope as it is written.
func (s scope) String() string {
	text := s.domain + ":" + s.action
	for _, part := range []string{s.kind, s.paths} {
		if part != "" {
			text += ":" + part
		}
	}
	return text
}
