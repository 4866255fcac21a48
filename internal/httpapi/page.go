package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"html/template"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/store"
)

const pageStyle = `
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --paper: #fbfcfd; --accent: #0b6e75 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #97a3b3; --line: #2c3643; --paper: #12171e; --accent: #5cc8cf } }
* { box-sizing: border-box }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
main { max-width: 44rem; margin: 12vh auto 4rem; padding: 0 1.5rem }
h1 { font-size: 1.75rem; margin: 0; letter-spacing: -.01em }
p { margin: .5rem 0 1.5rem; color: var(--soft) }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: 1px; margin: 2rem 0; padding: 0; border: 1px solid var(--line); border-radius: .5rem; overflow: hidden; background: var(--line) }
dl div { padding: .9rem 1rem; background: var(--paper) }
dt { color: var(--soft); font-size: .85rem }
dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums }
a { color: var(--accent) }
ul { list-style: none; margin: 0; padding: 0; border-top: 1px solid var(--line) }
li { padding: .55rem 0; border-bottom: 1px solid var(--line); color: var(--soft) }
li a { display: inline-block; min-width: 11rem }
`

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice</title>
<style>{{.Style}}</style>
<main>
<h1>Sluice</h1>
<p>A job server with exact concurrency limits. Version {{.Version}}{{with .Instance}} on {{.}}{{end}}.</p>
{{with .Counts}}<dl>
<div><dt>Running</dt><dd>{{.Running}}</dd></div>
<div><dt>Waiting</dt><dd>{{.Queued}}</dd></div>
<div><dt>Due later</dt><dd>{{.Scheduled}}</dd></div>
<div><dt>Workers</dt><dd>{{.Workers}}</dd></div>
<div><dt>Free places</dt><dd>{{.Free}}</dd></div>
</dl>{{else}}<p>The server is running. Whoever sends a token sees here what it is doing.</p>{{end}}
<ul>
<li><a href="/health">/health</a> whether the process answers</li>
<li><a href="/ready">/ready</a> whether its database does</li>
<li><a href="/api/version">/api/version</a> the API that it speaks</li>
<li><a href="/openapi.json">/openapi.json</a> every call, described (with a token)</li>
<li><a href="/metrics">/metrics</a> counters for Prometheus (with a token)</li>
</ul>
</main>
</html>
`))

var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

type pageCounts struct {
	store.Counts
	Workers, Free int
}

// page shows what is running; how much of it only to a caller with a token.
func (a *API) page(ctx context.Context, _ *none) (func(huma.Context), error) {
	data := struct {
		Style             template.CSS
		Version, Instance string
		Counts            *pageCounts
	}{Style: template.CSS(pageStyle), Version: a.o.Version}
	if callerOf(ctx).SuperAdmin {
		m, err := a.e.Metrics(ctx)
		if err != nil {
			return nil, err
		}
		data.Instance = a.o.Instance
		sum := sumCounts(m.Counts)
		data.Counts = &pageCounts{Counts: sum, Workers: m.Workers, Free: max(m.Places-int(sum.Running), 0)}
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		return nil, &sluice.Error{Code: sluice.CodeInternal, Message: "cannot write the page", Err: err}
	}
	return func(hc huma.Context) {
		hc.SetHeader("Content-Security-Policy", pagePolicy)
		hc.SetHeader("X-Frame-Options", "DENY")
		writeBytes(contentHTML, b.Bytes())(hc)
	}, nil
}

func sumCounts(byTag map[string]store.Counts) store.Counts {
	var sum store.Counts
	for _, c := range byTag {
		sum.Scheduled += c.Scheduled
		sum.Queued += c.Queued
		sum.Running += c.Running
	}
	return sum
}
