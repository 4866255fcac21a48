package httpapi

import (
	"context"
	"encoding/json"
	"errors"

	"sluice/internal/signature"
)

func (a *API) addSignatures() {
	addJSON(a, "POST /api/scripts/{language}/tojsonschema", "scriptToJsonSchema",
		"The arguments of a script's main, and their JSON schema, from its code; nothing is run or kept", a.toSchema)
}

type toSchemaIn struct {
	Language string `path:"language" doc:"Such as python3"`
	Body     string `required:"true" doc:"The content of a script, as a JSON string"`
}

// signatureJSON is Windmill's MainArgSignature, and our schema and imports.
type signatureJSON struct {
	Type            string       `json:"type" enum:"Valid,Invalid"`
	Error           string       `json:"error" doc:"Why the code cannot be read, and where; empty if it can"`
	StarArgs        bool         `json:"star_args"`
	StarKwargs      bool         `json:"star_kwargs"`
	Args            []argJSON    `json:"args"`
	NoMainFunc      *bool        `json:"no_main_func" nullable:"true" doc:"null in languages without functions"`
	HasPreprocessor *bool        `json:"has_preprocessor" nullable:"true"`
	Schema          anyJSON      `json:"schema" doc:"Ours: the JSON schema of the arguments; null if the code cannot be read"`
	Imports         []importJSON `json:"imports" doc:"Ours: what the code imports, in its order"`
}

// importJSON is an import; see signature.Import.
type importJSON struct {
	Kind    string `json:"kind" enum:"package,builtin,script,url,requirement"`
	Spec    string `json:"spec" doc:"As the code says it"`
	Name    string `json:"name" doc:"The package, or the script's path"`
	Version string `json:"version,omitempty"`
	Subpath string `json:"subpath,omitempty"`
}

type argJSON struct {
	Name       string  `json:"name"`
	Typ        anyJSON `json:"typ" doc:"Such as \"int\", {\"list\":\"str\"}, {\"str\":[\"a\",\"b\"]}, {\"resource\":\"postgresql\"}, {\"object\":[{\"key\",\"typ\"}]}"`
	Default    anyJSON `json:"default" doc:"null if there is none that is known"`
	HasDefault bool    `json:"has_default"`
}

// toSchema answers with what main takes. Code that cannot be read is an answer
// too: whoever types it is not done yet.
func (a *API) toSchema(_ context.Context, in *toSchemaIn) (signatureJSON, error) {
	out := signatureJSON{Type: "Valid", Args: []argJSON{}, Imports: []importJSON{}}
	sig, err := signature.Parse(in.Language, in.Body)
	var wrong *signature.Error
	if errors.As(err, &wrong) {
		out.Type, out.Error = "Invalid", wrong.Error()
		return out, nil
	}
	if err != nil {
		return signatureJSON{}, err
	}
	for _, i := range signature.Imports(in.Language, in.Body) {
		out.Imports = append(out.Imports, importJSON{string(i.Kind), i.Spec, i.Name, i.Version, i.Subpath})
	}
	for _, arg := range sig.Args {
		typ, err := json.Marshal(arg.Type)
		if err != nil {
			return signatureJSON{}, err
		}
		out.Args = append(out.Args, argJSON{arg.Name, typ, anyJSON(arg.Default), arg.HasDefault})
	}
	out.StarArgs, out.StarKwargs, out.Schema = sig.StarArgs, sig.StarKwargs, anyJSON(sig.Schema())
	if sig.Functions {
		out.NoMainFunc, out.HasPreprocessor = &sig.NoMain, &sig.HasPreprocessor
	}
	return out, nil
}
