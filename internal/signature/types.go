package signature

import (
	"encoding/json"
	"slices"
	"strings"
)

// typeOf returns the type of a literal: that of an argument that has a default
// and no type.
func typeOf(literal json.RawMessage) Type {
	var v any
	if json.Unmarshal(literal, &v) != nil {
		return Type{Kind: Unknown}
	}
	return typeOfValue(v, literal)
}

func typeOfValue(v any, literal []byte) Type {
	switch v := v.(type) {
	case string:
		return Type{Kind: Str}
	case bool:
		return Type{Kind: Bool}
	case float64:
		if strings.ContainsAny(string(literal), ".eE") || literal == nil && v != float64(int64(v)) {
			return Type{Kind: Float}
		}
		return Type{Kind: Int}
	case []any:
		elem := Type{Kind: Unknown}
		if len(v) > 0 {
			elem = typeOfValue(v[0], nil)
		}
		return listOf(elem)
	case map[string]any:
		return Type{Kind: Object}
	}
	return Type{Kind: Unknown}
}

// unionOf returns the type of a value that is of one of several types.
func unionOf(types []Type) Type {
	if len(types) == 0 {
		return Type{Kind: Unknown}
	}
	first := types[0]
	enum, plain := slices.Clone(first.Enum), len(first.Enum) == 0
	seen := map[string]bool{}
	for _, v := range enum {
		seen[v] = true
	}
	for _, t := range types[1:] {
		switch {
		case t.Kind == Str && first.Kind == Str:
			plain = plain || len(t.Enum) == 0
			for _, v := range t.Enum {
				if !seen[v] {
					seen[v] = true
					enum = append(enum, v)
				}
			}
		case t.Kind == Int && first.Kind == Float, t.Kind == Float && first.Kind == Int:
			first.Kind = Float
		case t.Kind == first.Kind && t.Kind != List && t.Kind != Object && t.Kind != Resource:
		case same(t, first):
		default:
			return Type{Kind: Unknown}
		}
	}
	if first.Kind == Str {
		first.Enum = enum
		if plain {
			first.Enum = nil
		}
	}
	return first
}

// same tells whether two types are written alike.
func same(a, b Type) bool {
	if a.Kind != b.Kind || a.Name != b.Name || !slices.Equal(a.Enum, b.Enum) || (a.Elem == nil) != (b.Elem == nil) || len(a.Props) != len(b.Props) {
		return false
	}
	for i, p := range a.Props {
		if q := b.Props[i]; p.Name != q.Name || p.Optional != q.Optional || !same(p.Type, q.Type) {
			return false
		}
	}
	return a.Elem == nil || same(*a.Elem, *b.Elem)
}
