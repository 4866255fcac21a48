package worker

import (
	"context"
	"encoding/json"
	"fmt"

	"sluice/internal/signature"
	"sluice/internal/worker/pgjob"
)

// Postgres runs SQL against the PostgreSQL database that the argument database
// names. Comments declare what $1, $2, … are called. The statements run in one
// session; the result is the rows of the last as an array of objects.
type Postgres struct{}

// Run runs one script.
func (Postgres) Run(ctx context.Context, t *Task) Outcome {
	sig, err := signature.Parse("postgresql", t.Content)
	if err != nil {
		return failed(FailureExecution, "%v", err)
	}
	q := t.request()
	q.Code = t.Content
	q.Names, q.Types = []string{}, []string{}
	for _, a := range sig.Args {
		for a.Position > len(q.Names) {
			q.Names, q.Types = append(q.Names, ""), append(q.Types, "")
		}
		if a.Position > 0 {
			q.Names[a.Position-1], q.Types[a.Position-1] = a.Name, string(a.Type.Kind)
		}
	}
	if q.Args, err = withDefaults(q.Args, sig); err != nil {
		return failed(FailureArguments, "The arguments are not a JSON object.")
	}
	return t.ask(ctx, program{
		path: "/proc/self/exe", args: []string{"sluice", pgjob.Marker}, env: []string{"PATH=" + jobPath, "GOMAXPROCS=1"},
	}, q, nil)
}

// withDefaults adds the defaults of arguments that are not there.
func withDefaults(args json.RawMessage, sig signature.Signature) (json.RawMessage, error) {
	values := make(map[string]json.RawMessage)
	if err := json.Unmarshal(args, &values); err != nil {
		return nil, fmt.Errorf("read the arguments: %w", err)
	}
	for _, a := range sig.Args {
		if _, given := values[a.Name]; !given && a.HasDefault {
			values[a.Name] = a.Default
		}
	}
	return json.Marshal(values)
}
