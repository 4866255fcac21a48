package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

const maxNodes = 100_000 // of one document, repetitions by aliases included

// decodeYAML reads a document that must be a mapping into what JSON can say.
// Where YAML knows more than JSON, it does what Windmill's own command line
// does: dates stay text, numbers keep their digits.
func decodeYAML(text string) (map[string]any, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if doc.Kind == 0 || len(doc.Content) == 0 {
		return map[string]any{}, nil // empty
	}
	left := maxNodes
	v, err := plain(doc.Content[0], &left)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("must be a list of fields with their values")
	}
	return object, nil
}

func plain(n *yaml.Node, left *int) (any, error) {
	if *left--; *left < 0 {
		return nil, fmt.Errorf("holds more than %d values", maxNodes)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return plain(n.Alias, left)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			v, err := plain(item, left)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		return plainMapping(n, left)
	case yaml.ScalarNode:
		return plainScalar(n)
	case yaml.DocumentNode:
	}
	return nil, fmt.Errorf("line %d: this cannot stand inside a document", n.Line)
}

func plainMapping(n *yaml.Node, left *int) (any, error) {
	object := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			return nil, fmt.Errorf("line %d: a field must have a plain name", key.Line)
		}
		if _, twice := object[key.Value]; twice {
			return nil, fmt.Errorf("line %d: %s is given twice", key.Line, key.Value)
		}
		v, err := plain(n.Content[i+1], left)
		if err != nil {
			return nil, err
		}
		object[key.Value] = v
	}
	return object, nil
}

func plainScalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		err := n.Decode(&b)
		return b, err
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value), nil
		}
		var v any // 0x10, 1_000, +5
		if err := n.Decode(&v); err != nil {
			return nil, fmt.Errorf("line %d: %w", n.Line, err)
		}
		if _, err := json.Marshal(v); err != nil {
			return nil, fmt.Errorf("line %d: %s cannot be written as JSON", n.Line, n.Value)
		}
		return v, nil
	}
	return n.Value, nil
}
