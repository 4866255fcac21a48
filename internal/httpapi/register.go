package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Content types of answers.
const (
	contentText   = "text/plain; charset=utf-8"
	contentJSON   = "application/json"
	contentOctets = "application/octet-stream"
	contentHTML   = "text/html; charset=utf-8"
	contentSSE    = "text/event-stream"
	contentYAML   = "application/yaml"
	contentProm   = "text/plain; version=0.0.4; charset=utf-8"
	metaAdmins    = "admins" // the operation may be asked in the workspace "admins", which stands for all
	metaPublic    = "public"
	metaWarns     = "warns" // answers may carry warnings
	metaArgs      = "args"  // the body becomes arguments, and may be missing
	adminsID      = "admins"
	schemaPrefix  = "#/components/schemas/"
)

// option changes an operation before it is registered.
type option func(*huma.Operation)

func created(op *huma.Operation) { op.DefaultStatus = http.StatusCreated }

// inAdmins lets an operation be asked in the workspace "admins".
func inAdmins(op *huma.Operation) { setMeta(op, metaAdmins) }

// public documents that an operation needs no token; publicPaths is what makes
// it so.
func public(op *huma.Operation) {
	setMeta(op, metaPublic)
	op.Security = []map[string][]string{{}}
}

func setMeta(op *huma.Operation, key string) {
	if op.Metadata == nil {
		op.Metadata = map[string]any{}
	}
	op.Metadata[key] = true
}

// jsonOut is an answer in JSON, whatever the client says it accepts.
type jsonOut[T any] struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Body        T
}

// textOut is an answer of bytes that are written as they are.
type textOut struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Body        []byte
}

// streamOut is an answer that its handler writes by itself.
type streamOut struct {
	Body func(huma.Context)
}

// operation begins the description of an operation: "GET /api/version".
func (a *API) operation(route, id, summary string, opts []option) huma.Operation {
	method, path, _ := strings.Cut(route, " ")
	op := huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary,
		Tags:            []string{tagOf(path)},
		MaxBodyBytes:    a.o.MaxBody + 1, // a body of exactly the bound is read, one byte more is not
		BodyReadTimeout: a.o.bodyTimeout,
		Responses:       map[string]*huma.Response{},
	}
	for _, o := range opts {
		o(&op)
	}
	if op.DefaultStatus == 0 {
		op.DefaultStatus = http.StatusOK
	}
	return op
}

// tagOf names the part of the document that a path belongs to.
func tagOf(path string) string {
	path = strings.TrimPrefix(strings.TrimPrefix(path, "/api/"), "w/{workspace}/")
	tag, _, _ := strings.Cut(strings.Trim(path, "/"), "/")
	switch tag {
	case "jobs_u":
		return "jobs"
	case "", "{$}", "version", "health", "ready", "metrics", "openapi", "openapi.json", "openapi.yaml":
		return "server"
	}
	return tag
}

func answers(op *huma.Operation, contentType string, schema *huma.Schema) {
	op.Responses[strconv.Itoa(op.DefaultStatus)] = &huma.Response{
		Description: http.StatusText(op.DefaultStatus),
		Content:     map[string]*huma.MediaType{contentType: {Schema: schema}},
	}
}

// addJSON registers an operation that answers with JSON.
func addJSON[I, T any](a *API, route, id, summary string, h func(context.Context, *I) (T, error), opts ...option) {
	op := a.operation(route, id, summary, opts)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*jsonOut[T], error) {
		v, err := h(ctx, in)
		if err != nil {
			return nil, a.present(ctx, err)
		}
		return &jsonOut[T]{ContentType: contentJSON, Body: v}, nil
	})
}

// addText registers an operation that answers with one piece of plain text.
func addText[I any](a *API, route, id, summary string, h func(context.Context, *I) (string, error), opts ...option) {
	op := a.operation(route, id, summary, opts)
	answers(&op, "text/plain", &huma.Schema{Type: huma.TypeString})
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*textOut, error) {
		s, err := h(ctx, in)
		if err != nil {
			return nil, a.present(ctx, err)
		}
		return &textOut{ContentType: contentText, Body: []byte(s)}, nil
	})
}

// addRaw registers an operation whose handler returns the function that writes
// the answer. An error is answered as long as that function has not begun.
func addRaw[I any](a *API, route, id, summary, contentType string, schema *huma.Schema, h func(context.Context, *I) (func(huma.Context), error), opts ...option) {
	op := a.operation(route, id, summary, opts)
	mime, _, _ := strings.Cut(contentType, ";")
	answers(&op, mime, schema)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*streamOut, error) {
		write, err := h(ctx, in)
		if err != nil {
			return nil, a.present(ctx, err)
		}
		return &streamOut{Body: write}, nil
	})
}

// jsonFormat writes JSON without a line feed at its end, and reads it.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		b, err := marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	},
	Unmarshal: readJSON,
}

// readJSON reads a body. Huma reads each twice: first as what it is, to check
// it against the document, when a stranger's tricks are looked for, too.
func readJSON(b []byte, v any) error {
	if _, ok := v.(*any); ok {
		if err := checkJSON(b); err != nil {
			return err
		}
	}
	return json.Unmarshal(b, v)
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// textFormat writes errors.
var textFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		s := ""
		switch v := v.(type) {
		case error:
			s = v.Error()
		case string:
			s = v
		}
		_, err := io.WriteString(w, s)
		return err
	},
	Unmarshal: json.Unmarshal,
}

// describe registers all operations and finishes the document.
func (a *API) describe() {
	config := huma.DefaultConfig("Sluice", a.o.Version)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil
	config.AllowAdditionalPropertiesByDefault = true
	config.FieldsOptionalByDefault = true
	config.Formats = map[string]huma.Format{contentJSON: jsonFormat, "text/plain": textFormat}
	config.Components.Schemas = huma.NewMapRegistry(schemaPrefix, func(t reflect.Type, hint string) string {
		return strings.TrimSuffix(huma.DefaultSchemaNamer(t, hint), "JSON")
	})
	config.Info.Description = "An open job server: Windmill's API, with exact concurrency limits. " +
		"Parameters at the end of a path take the rest of it, slashes included."
	config.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer"},
		"cookie": {Type: "apiKey", In: "cookie", Name: "token"},
		"query":  {Type: "apiKey", In: "query", Name: "token"},
	}
	config.Security = []map[string][]string{{"bearer": {}}, {"cookie": {}}, {"query": {}}}
	if a.o.BaseURL != "" {
		config.Servers = []*huma.Server{{URL: a.o.BaseURL}}
	}
	a.huma = humago.New(a.router, config)
	a.huma.UseMiddleware(a.authorize, a.meter, a.checkLength, a.checkWorkspace, a.makeRoom)
	if a.o.inTests != nil {
		a.huma.UseMiddleware(a.o.inTests)
	}
	a.huma.UseMiddleware(a.guard, a.audit)

	a.addServer()
	a.addSignIn()
	a.addTokens()
	a.addPeople()
	a.addWorkspaces()
	a.addAudit()
	a.addWorkers()
	a.addWork()
	a.addScripts()
	a.addFlows()
	a.addSchedules()
	a.addVariables()
	a.addResources()
	a.addFolders()
	a.addUserGroups()
	a.addACLs()
	a.addTarball()
	a.addRuns()
	a.addJobs()
	a.addApprovals()
	a.addUpdates()
	a.addLists()
	a.addSignatures()
	a.addGroups()
	a.addEvents()

	tidyPaths(a.huma.OpenAPI().Paths)
}

// tidyPaths writes the mux's patterns as OpenAPI does, which has no wildcards,
// and the content type of errors without its character set.
func tidyPaths(paths map[string]*huma.PathItem) {
	for p, item := range paths {
		tidy := strings.TrimSuffix(strings.ReplaceAll(p, "...}", "}"), "{$}")
		if tidy != p {
			delete(paths, p)
			paths[tidy] = item
		}
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if op == nil || op.Responses["default"] == nil {
				continue
			}
			if r := op.Responses[strconv.Itoa(op.DefaultStatus)]; r != nil && op.Metadata[metaWarns] == true {
				setDefaultMap(&r.Headers)
				r.Headers[warningHeader] = &huma.Param{
					Description: "What was accepted and has no effect, one header for each", Schema: &huma.Schema{Type: huma.TypeString},
				}
			}
			if op.Metadata[metaArgs] == true {
				op.RequestBody.Required = false // huma takes every raw body for required
			}
			content := op.Responses["default"].Content
			if m := content[contentText]; m != nil {
				delete(content, contentText)
				content["text/plain"] = m
			}
		}
	}
}

func setDefaultMap[K comparable, V any](m *map[K]V) {
	if *m == nil {
		*m = map[K]V{}
	}
}

// document returns the OpenAPI document, made at the first call.
func (a *API) document() (asJSON, asYAML func() ([]byte, error)) {
	asJSON = sync.OnceValues(func() ([]byte, error) { return json.Marshal(a.huma.OpenAPI()) })
	asYAML = sync.OnceValues(func() ([]byte, error) { return a.huma.OpenAPI().YAML() })
	return asJSON, asYAML
}

// checkWorkspace answers 404 in a workspace that does not exist or is archived.
func (a *API) checkWorkspace(ctx huma.Context, next func(huma.Context)) {
	id := ctx.Param("workspace")
	if !strings.Contains(ctx.Operation().Path, "{workspace}") || id == adminsID && ctx.Operation().Metadata[metaAdmins] == true {
		next(ctx)
		return
	}
	ok, err := a.e.WorkspaceOpen(ctx.Context(), id)
	if err == nil && !ok {
		err = noWorkspace(id)
	}
	if err != nil {
		r, w := humago.Unwrap(ctx)
		a.refuse(w, r, err)
		return
	}
	next(ctx)
}

// optional is a query parameter that may be left out.
type optional[T any] struct {
	Value T
	Set   bool
}

// Schema describes the parameter.
func (o optional[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// Receiver is where huma stores the parameter.
func (o *optional[T]) Receiver() reflect.Value { return reflect.ValueOf(o).Elem().Field(0) }

// OnParamSet notes whether the parameter was given.
func (o *optional[T]) OnParamSet(set bool, _ any) { o.Set = set }

// verbatim is a JSON body that is validated as a T and kept as it was sent.
type verbatim[T any] struct {
	Raw   json.RawMessage
	Value T
}

// Schema describes the body.
func (v verbatim[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// echoed describes what is shown as it was pushed, with what the server knows
// beside it.
func echoed[Pushed, Known any](r huma.Registry) *huma.Schema {
	return &huma.Schema{AllOf: []*huma.Schema{r.Schema(reflect.TypeFor[Pushed](), true, ""), r.Schema(reflect.TypeFor[Known](), true, "")}}
}

// UnmarshalJSON reads the body.
func (v *verbatim[T]) UnmarshalJSON(b []byte) error {
	v.Raw = bytes.Clone(b)
	return json.Unmarshal(b, &v.Value)
}

// jsonObject is a JSON object of any fields, kept as it was sent.
type jsonObject json.RawMessage

// Schema describes the object.
func (jsonObject) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Nullable: true, AdditionalProperties: true}
}

// UnmarshalJSON reads the object; null is none.
func (o *jsonObject) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*o = nil
		return nil
	}
	*o = bytes.Clone(b)
	return nil
}

// MarshalJSON writes the object.
func (o jsonObject) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("null"), nil
	}
	return o, nil
}

// anyJSON is any JSON value, kept as it is.
type anyJSON json.RawMessage

// Schema describes the value.
func (anyJSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

// UnmarshalJSON reads the value.
func (v *anyJSON) UnmarshalJSON(b []byte) error {
	*v = bytes.Clone(b)
	return nil
}

// MarshalJSON writes the value.
func (v anyJSON) MarshalJSON() ([]byte, error) {
	if len(v) == 0 {
		return []byte("null"), nil
	}
	return v, nil
}

// schemaOf returns a reference to the schema of v's type.
func (a *API) schemaOf(hint string, v any) *huma.Schema {
	return a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(v), true, hint)
}
