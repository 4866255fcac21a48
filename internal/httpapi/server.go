package httpapi

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sluice"
)

const readyTimeout = 2 * time.Second

type none struct{}

type healthJSON struct {
	Status   string `json:"status" doc:"ok"`
	Version  string `json:"version"`
	Instance string `json:"instance,omitempty"`
}

// addServer registers what concerns the server as a whole.
func (a *API) addServer() {
	addText(a, "GET /api/version", "version", "The version of Windmill's API that this server speaks",
		func(context.Context, *none) (string, error) { return CompatVersion, nil }, public)

	health := func(ctx context.Context, _ *none) (healthJSON, error) {
		h := healthJSON{Status: "ok", Version: a.o.Version}
		if callerOf(ctx).SuperAdmin {
			h.Instance = a.o.Instance
		}
		return h, nil
	}
	addJSON(a, "GET /api/health", "health", "Whether the process answers", health, public)
	addJSON(a, "GET /health", "healthAtRoot", "Whether the process answers", health, public)
	addJSON(a, "GET /api/health/detailed", "healthDetailed", "How the parts of the server are", a.detailedHealth)
	addText(a, "GET /api/ready", "ready", "Whether the server can do its work: its database answers", a.ready, public)
	addText(a, "GET /ready", "readyAtRoot", "Whether the server can do its work: its database answers", a.ready, public)

	text := &huma.Schema{Type: huma.TypeString}
	asJSON, asYAML := a.document()
	serve := func(contentType string, doc func() ([]byte, error)) func(context.Context, *none) (func(huma.Context), error) {
		return func(context.Context, *none) (func(huma.Context), error) {
			b, err := doc()
			if err != nil {
				return nil, err
			}
			return writeBytes(contentType, b), nil
		}
	}
	object := &huma.Schema{Type: huma.TypeObject}
	addRaw(a, "GET /openapi.json", "openapi", "This document", contentJSON, object, serve(contentJSON, asJSON))
	addRaw(a, "GET /openapi", "openapiDefault", "This document", contentJSON, object, serve(contentJSON, asJSON))
	addRaw(a, "GET /openapi.yaml", "openapiYAML", "This document", contentYAML, text, serve(contentYAML, asYAML))
	addRaw(a, "GET /metrics", "metrics", "Counters for Prometheus", contentProm, text,
		func(context.Context, *none) (func(huma.Context), error) {
			return func(hc huma.Context) {
				r, w := humago.Unwrap(hc)
				a.metrics.ServeHTTP(w, r)
			}, nil
		})
}

func writeBytes(contentType string, b []byte) func(huma.Context) {
	return func(hc huma.Context) {
		hc.SetHeader("Content-Type", contentType)
		_, _ = hc.BodyWriter().Write(b) // whoever left does not read it
	}
}

func (a *API) ready(ctx context.Context, _ *none) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if a.closed.Err() != nil {
		return "", sluice.Errorf(sluice.CodeUnavailable, "the server is shutting down")
	}
	if _, err := a.e.Now(ctx); err != nil {
		a.log.Warn("not ready", "error", err)
		return "", sluice.Errorf(sluice.CodeUnavailable, "the database does not answer")
	}
	return "ready", nil
}
