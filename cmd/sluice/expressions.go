package main

import (
	"context"
	"encoding/json"

	"sluice/internal/engine"
	"sluice/internal/expr"
)

// expressions evaluates the JavaScript of flows for the engine.
type expressions struct{ pool *expr.Pool }

// Eval implements [engine.Evaluator].
func (x expressions) Eval(ctx context.Context, shared map[string]json.RawMessage, list []engine.Expression) ([]engine.ExprValue, error) {
	asks := make([]expr.Request, len(list))
	for i, e := range list {
		asks[i] = expr.Request{Expr: e.Text, Own: e.Own}
	}
	replies, err := x.pool.Eval(ctx, shared, asks)
	if err != nil {
		return nil, err
	}
	out := make([]engine.ExprValue, len(replies))
	for i, r := range replies {
		out[i] = engine.ExprValue{Value: r.Value, Error: r.Error}
	}
	return out, nil
}
