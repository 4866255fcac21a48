package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
)

// Bounds on what one expression reads.
const (
	maxReadPaths = 100
	maxReadBytes = 2 << 20
)

// readsPath finds calls of variable and resource with a path that is written out.
var readsPath = regexp.MustCompile("\\b(variable|resource)\\s*\\(\\s*(?:\"([^\"\\\\]*)\"|'([^'\\\\]*)'|`([^`$\\\\]*)`)\\s*\\)")

// found is what an expression gets for a path.
type found struct {
	Value any    `json:"value"`
	Error string `json:"error,omitempty"`
}

// readable returns what an expression may read by variable or resource, by the
// paths that stand in it. An input of a step that is nothing but such a call
// becomes a reference, which is resolved for the worker that takes the step, so
// that the value stands in no row. With secrets an expression cannot compute:
// what came out would be stored for everybody to read.
func (a *answers) readable(ask flow.Ask, function string) (json.RawMessage, error) {
	calls := readsPath.FindAllStringSubmatch(ask.Name, maxReadPaths+1)
	if len(calls) > maxReadPaths {
		return nil, fmt.Errorf("an expression reads more than %d variables", maxReadPaths)
	}
	values := map[string]found{}
	alone := strings.HasPrefix(ask.Part, "input_transforms.") && len(calls) == 1 && calls[0][0] == bare(ask.Name)
	s := &resolver{e: a.e, r: a.r, workspace: a.j.Workspace, may: noSecrets}
	var who error
	if !alone {
		s.who, who = a.e.creatorOf(a.r, a.j)
	}
	for _, c := range calls {
		path := c[2] + c[3] + c[4]
		if _, known := values[path]; known || c[1] != function {
			continue
		}
		mark := "$" + function[:3] + ":"
		if alone {
			values[path] = found{Value: mark + path}
			continue
		}
		v, err := json.RawMessage(nil), who
		if err == nil {
			v, err = s.stored(mark + path)
		}
		var refused *sluice.Error
		switch {
		case errors.As(err, &refused) && refused.Code != sluice.CodeInternal:
			values[path] = found{Error: refused.Error()}
		case err != nil:
			return nil, err
		default:
			values[path] = found{Value: v}
		}
	}
	return json.Marshal(values)
}

var errSecretComputed = sluice.Errorf(sluice.CodeForbidden,
	"it is a secret, and an expression that computes with it would store it readably; make it an input of the step by itself")

func noSecrets(_, _ string, secret bool) error {
	if secret {
		return errSecretComputed
	}
	return nil
}

// bare returns an expression without what may stand around a call.
func bare(expr string) string {
	expr = strings.Trim(expr, " \t\r\n;")
	if rest, ok := strings.CutPrefix(expr, "return "); ok {
		expr = strings.TrimSpace(rest)
	}
	if rest, ok := strings.CutPrefix(expr, "await "); ok {
		expr = strings.TrimSpace(rest)
	}
	return expr
}

// stored returns what a reference stands for; within a resource references
// stay as they are: an input that is one is resolved for the step.
func (s *resolver) stored(ref string) (json.RawMessage, error) {
	path := ref[len(varMark):]
	var v json.RawMessage
	var err error
	if strings.HasPrefix(ref, varMark) {
		v, err = s.variable(path)
	} else if err = s.who.allow(s.r, s.workspace, store.KindResource, path, store.RightRead); err == nil {
		row, e := s.r.Resource(s.workspace, path)
		if err = notFound(e, "there is no resource %s", path); err == nil {
			v = row.Value
		}
	}
	if s.bytes += len(v); err == nil && s.bytes > maxReadBytes {
		err = sluice.Errorf(sluice.CodeTooLarge, "an expression reads more than %d bytes of variables and resources", maxReadBytes)
	}
	return v, err
}
