// Package ui serves the page for people: one single-page application that is
// embedded in the program and stands on the public HTTP API alone.
//
// Its source is in this folder; `make ui` builds it into dist/page, which is
// not kept in git. A program that was built without it serves a page that says
// so, so that neither `go build` nor `go test` needs Node.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

//go:embed placeholder.html
var placeholder []byte

// New returns the page as it was built into this program.
func New() *Page {
	built, err := fs.Sub(dist, "dist/page")
	if err != nil {
		panic("ui: " + err.Error()) // the name above is no path
	}
	return newPage(built)
}
