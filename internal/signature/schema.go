package signature

import (
	"bytes"
	"encoding/json"
)

// draft names the version of JSON Schema.
const draft = "https://json-schema.org/draft/2020-12/schema"

type schema struct {
	Schema     string     `json:"$schema"`
	Type       string     `json:"type"`
	Properties properties `json:"properties"`
	Required   []string   `json:"required"`
	Order      []string   `json:"order"`
}

// property describes one value; empty, any value.
type property struct {
	Type            string          `json:"type,omitempty"`
	Format          string          `json:"format,omitempty"`
	ContentEncoding string          `json:"contentEncoding,omitempty"`
	Enum            []string        `json:"enum,omitempty"`
	Items           *property       `json:"items,omitempty"`
	Properties      properties      `json:"properties,omitempty"`
	Required        []string        `json:"required,omitempty"`
	Default         json.RawMessage `json:"default,omitempty"`
}

// properties is a JSON object that keeps its order.
type properties []named

type named struct {
	name string
	property
}

// MarshalJSON writes the properties; of two with one name the first counts.
func (ps properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	seen := make(map[string]bool, len(ps))
	for _, p := range ps {
		if seen[p.name] {
			continue
		}
		if len(seen) > 0 {
			b.WriteByte(',')
		}
		seen[p.name] = true
		name, err := json.Marshal(p.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(p.property)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Schema returns the JSON schema of the arguments, as Windmill's editor infers
// it: properties in the order of the code, required ones, and the order once
// more, since JSON objects have none. A default that is not known stays out.
func (s Signature) Schema() json.RawMessage {
	out := schema{Schema: draft, Type: "object", Properties: properties{}, Required: []string{}, Order: []string{}}
	for _, a := range s.Args {
		p := a.Type.property()
		if a.HasDefault && string(a.Default) != "null" {
			p.Default = a.Default
		}
		out.Properties = append(out.Properties, named{a.Name, p})
		out.Order = append(out.Order, a.Name)
		if !a.HasDefault {
			out.Required = append(out.Required, a.Name)
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		// Only a default that is no JSON could do this, and parsers make none.
		return json.RawMessage("{}")
	}
	return text
}

func (t Type) property() property {
	switch t.Kind {
	case Str:
		return property{Type: "string", Enum: t.Enum}
	case Int:
		return property{Type: "integer"}
	case Float:
		return property{Type: "number"}
	case Bool:
		return property{Type: "boolean"}
	case Bytes:
		return property{Type: "string", ContentEncoding: "base64"}
	case Datetime:
		return property{Type: "string", Format: "date-time"}
	case Date, Email, SQL:
		return property{Type: "string", Format: string(t.Kind)}
	case Resource:
		return property{Type: "object", Format: "resource-" + t.Name}
	case List:
		p := property{Type: "array"}
		if t.Elem != nil {
			items := t.Elem.property()
			p.Items = &items
		}
		return p
	case Object:
		p := property{Type: "object"}
		for _, prop := range t.Props {
			p.Properties = append(p.Properties, named{prop.Name, prop.Type.property()})
			if !prop.Optional {
				p.Required = append(p.Required, prop.Name)
			}
		}
		return p
	case Unknown:
	}
	return property{}
}
