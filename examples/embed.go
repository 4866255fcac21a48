// Package examples holds scripts, flows and schedules to start from, in Windmill's file format.
package examples

import "embed"

// Files are these and their settings, from the folder f on.
//
//go:embed all:f
var Files embed.FS
