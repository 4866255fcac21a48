package main

import (
	"context"
	"encoding/json"
	"maps"

	"sluice/internal/engine"
	"sluice/internal/expr"
)

// expressions evaluates the JavaScript of flows for the engine.
type expressions struct{ pool *expr.Pool }

// Eval implements [engine.Evaluator].
func (x expressions) Eval(ctx context.Context, text string, over map[string]json.RawMessage) (json.RawMessage, error) {
	ask := expr.Request{Expr: text}
	if iter, ok := over["iter"]; ok {
		over = maps.Clone(over)
		delete(over, "iter")
		if string(iter) != "null" { // else flow_input has that of the scope
			ask.Own = map[string]json.RawMessage{"iter": iter}
		}
	}
	replies, err := x.pool.Eval(ctx, over, []expr.Request{ask})
	switch {
	case err != nil:
		return nil, err
	case replies[0].Error != "":
		return nil, &engine.ExprError{Message: replies[0].Error}
	}
	return replies[0].Value, nil
}
